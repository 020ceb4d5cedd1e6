"""Motion Photos, read by others: Pillow's XMP, markers walked by hand, PyAV for the clip inside."""

import io
import re
import shutil
import struct
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

import b2m
from b2m.cli import main
from b2m.media.image import read_image
from b2m.media.motion_photo import write_motion_photo
from b2m.media.video import write_mp4

EXAMPLE = Path(__file__).parents[1] / "examples" / "cat-roll.jpg"
# Of the format's description, which galleries go by.
NAME = re.compile(r"^([^\s\/\\][^\/\\]*MP)\.(JPG|jpg|JPEG|jpeg|HEIC|heic|AVIF|avif)$")


def jpeg(size=(96, 64), **options):
    cells = np.random.default_rng(0).integers(0, 256, (size[1] // 8, size[0] // 8, 3), np.uint8)
    pixels = cells.repeat(8, 0).repeat(8, 1)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, options.pop("format", "JPEG"), **options)
    return buffer.getvalue()


def frames(count=5):
    for number in range(count):
        yield np.full((48, 64, 3), 40 * number, np.uint8)


def written(folder, data, fps=10.0, shown=2):
    path = folder / "photo.MP.jpg"
    write_motion_photo(path, read_image(data), frames(), fps, shown)
    return path


def segments(data):
    """(marker, contents) of all segments before the picture's data, with where they start."""
    assert data[:2] == b"\xff\xd8"
    at, found = 2, []
    while data[at + 1] != 0xDA:
        assert data[at] == 0xFF
        length = data[at + 2] * 256 + data[at + 3]
        found.append((data[at + 1], data[at + 4 : at + 2 + length], at))
        at += 2 + length
    return found


def description(path):
    """Of the XMP as Pillow reads it: the description and the items of the directory."""
    with Image.open(path) as opened:
        found = opened.getxmp()["xmpmeta"]["RDF"]["Description"]
    items = [entry["Item"] for entry in found["Directory"]["Seq"]["li"]]
    return found, items


def clip_inside(path, length):
    data = path.read_bytes()
    with av.open(io.BytesIO(data[-length:])) as container:
        stream = container.streams.video[0]
        return stream.codec_context.name, [
            (frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)
        ]


def test_the_format(tmp_path):
    data = jpeg()
    path = written(tmp_path, data)
    assert NAME.match(path.name)
    told, (still, movie) = description(path)
    assert (told["MotionPhoto"], told["MotionPhotoVersion"]) == ("1", "1")
    assert told["MotionPhotoPresentationTimestampUs"] == "200000"
    assert (still["Semantic"], still["Mime"]) == ("Primary", "image/jpeg")
    assert (still["Length"], still["Padding"]) == ("0", "0")
    assert (movie["Semantic"], movie["Mime"]) == ("MotionPhoto", "video/mp4")
    codec, shown = clip_inside(path, int(movie["Length"]))
    assert codec == "h264"
    times = [time for time, _ in shown]
    np.testing.assert_allclose(times, np.arange(5) / 10, atol=1e-6)
    assert [round(frame.mean() / 40) for _, frame in shown] == list(range(5))
    # The photo, but for one segment, is as it was, and the clip comes right after it.
    whole = path.read_bytes()
    assert whole[-int(movie["Length"]) :][4:8] == b"ftyp"
    (marker, body, at), *others = [s for s in segments(whole) if b"ns.adobe.com/xap" in s[1]]
    assert marker == 0xE1 and not others and body.startswith(b"http://ns.adobe.com/xap/1.0/\0")
    photo = whole[: -int(movie["Length"])]
    assert photo[:at] + photo[at + len(body) + 4 :] == data
    assert segments(whole)[0][0] == 0xE0  # JFIF stays first
    # The names as readers on Android look for them, which know no namespaces.
    for name in (b"Camera:MotionPhoto=", b"<Container:Directory>", b"Item:Semantic="):
        assert name in body


def test_exif_stays_before_it_and_orientation_is_kept(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    data = jpeg(exif=exif)
    path = written(tmp_path, data)
    kinds = [body[:6] for marker, body, _ in segments(path.read_bytes()) if marker == 0xE1]
    assert kinds[0] == b"Exif\0\0" and len(kinds) == 2
    with Image.open(path) as opened:
        assert (opened.getexif()[0x0112], opened.getexif()[0x010F]) == (6, "Maker")
        assert opened.size == (96, 64)
    np.testing.assert_array_equal(read_image(path).pixels, read_image(data).pixels)


def test_what_was_no_jpeg_becomes_one(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    data = jpeg(format="PNG", exif=exif)
    path = written(tmp_path, data)
    upright = read_image(data).pixels
    with Image.open(path) as opened:
        assert opened.getexif()[0x010F] == "Maker"
        assert opened.getexif().get(0x0112, 1) == 1
        assert opened.size == (64, 96)
        assert np.abs(np.asarray(opened).astype(float) - upright).mean() < 2
    assert description(path)[1][1]["Semantic"] == "MotionPhoto"


@pytest.mark.parametrize("given", ["array", "image"])
def test_photos_from_memory(tmp_path, given):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    image = pixels if given == "array" else Image.fromarray(pixels)
    assert len(clip_inside(path := written(tmp_path, image), length(path))[1]) == 5


def length(path):
    return int(description(path)[1][-1]["Length"])


XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"
 {spaces} hdrgm:Version="1.0" dc:format="image/jpeg">{inside}</rdf:Description></rdf:RDF>
</x:xmpmeta>"""
GAIN_MAP = """<Container:Directory><rdf:Seq>
<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="Primary" Item:Mime="image/jpeg"/>
</rdf:li><rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="GainMap"
 Item:Mime="image/jpeg" Item:Length="7"/></rdf:li></rdf:Seq></Container:Directory>"""
SPACES = (
    'xmlns:Container="http://ns.google.com/photos/1.0/container/" '
    'xmlns:Item="http://ns.google.com/photos/1.0/container/item/"'
)


def test_other_xmp_and_a_gain_map_stay(tmp_path):
    data = jpeg(xmp=XMP.format(spaces=SPACES, inside=GAIN_MAP).encode()) + b"GAINMAP"
    path = written(tmp_path, data)
    told, items = description(path)
    assert (told["Version"], told["format"], told["MotionPhoto"]) == ("1.0", "image/jpeg", "1")
    assert [item["Semantic"] for item in items] == ["Primary", "GainMap", "MotionPhoto"]
    whole, size = path.read_bytes(), int(items[2]["Length"])
    assert whole[-size - 7 : -size] == b"GAINMAP"  # where its length says it is
    assert sum(b"ns.adobe.com/xap" in body for _, body, _ in segments(whole)) == 1


def test_what_lies_between_photo_and_clip_is_counted(tmp_path):
    path = written(tmp_path, jpeg(progressive=True) + b"a preview")
    still, movie = description(path)[1]
    assert still["Padding"] == "9"
    assert path.read_bytes()[-int(movie["Length"]) - 11 :].startswith(b"\xff\xd9a preview")


def test_a_clip_that_was_there_is_replaced(tmp_path):
    first = written(tmp_path, jpeg()).read_bytes()
    again = written(tmp_path, first, fps=5.0, shown=1)
    assert again.read_bytes().count(b"ftyp") == 1
    told, items = description(again)
    assert [item["Semantic"] for item in items] == ["Primary", "MotionPhoto"]
    assert told["MotionPhotoPresentationTimestampUs"] == "200000"
    assert len(clip_inside(again, int(items[1]["Length"]))[1]) == 5


def test_the_older_format_is_replaced_too(tmp_path):
    movie = b"\0\0\0\x18ftypmp42" + bytes(12)
    old = 'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MicroVideo="1" '
    spaces = f'{old} GCamera:MicroVideoOffset="{len(movie)}"'
    path = written(tmp_path, jpeg(xmp=XMP.format(spaces=spaces, inside="").encode()) + movie)
    told, _ = description(path)
    assert told["MotionPhoto"] == "1" and "MicroVideo" not in told
    assert path.read_bytes().count(b"ftyp") == 1


def test_broken_xmp_does_no_harm_and_full_xmp_is_told(tmp_path):
    assert description(written(tmp_path, jpeg(xmp=b"<x:xmp")))[0]["MotionPhoto"] == "1"
    full = XMP.format(spaces=f'dc:title="{"a" * 64800}"', inside="").encode()
    with pytest.raises(b2m.InputError, match="leave no room"):
        written(tmp_path / "..", jpeg(xmp=full))


UNDECLARED = (
    'crs:Version="1" Camera:Trait="x" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5"'
)


def test_xmp_with_undeclared_prefixes_is_kept(tmp_path):
    told, _ = description(
        written(tmp_path, jpeg(xmp=XMP.format(spaces=UNDECLARED, inside="").encode()))
    )
    assert (told["Rating"], told["format"], told["MotionPhoto"]) == ("5", "image/jpeg", "1")


def movie_bytes(tmp_path):
    path = tmp_path / "old.mp4"
    write_mp4(path, frames(7), 25)
    return path.read_bytes()


@pytest.mark.parametrize("xmp", [None, b"<x:xmp", "offset", "undeclared"])
def test_an_old_clip_is_replaced_whatever_tells_of_it(tmp_path, xmp):
    movie = movie_bytes(tmp_path)
    if isinstance(xmp, str):
        spaces = 'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" ' * (xmp == "offset")
        spaces += f'GCamera:MicroVideo="1" GCamera:MicroVideoOffset="{len(movie)}"'
        xmp = XMP.format(spaces=spaces, inside="").encode()
    data = jpeg(xmp=xmp) if xmp else jpeg()
    whole = written(tmp_path, data + movie).read_bytes()
    assert movie not in whole and whole.count(b"ftyp") == 1


def samsung(movie, *others):
    """A trailer of Samsung's: (kind, contents), the clip among them."""
    blocks, table, left = [], b"", 0
    for kind, name, body in [(0x0A01, b"Image_UTC_Data", b"1700000000000"), *others, movie]:
        blocks.append(struct.pack("<HHI", 0, kind, len(name)) + name + body)
    left = sum(map(len, blocks))
    for block in blocks:
        table += block[:4] + struct.pack("<II", left, len(block))
        left -= len(block)
    head = b"SEFH" + struct.pack("<II", 107, len(blocks)) + table
    return b"".join(blocks) + head + struct.pack("<I", len(head)) + b"SEFT"


def test_the_clip_of_samsung_goes_and_the_rest_stays(tmp_path):
    movie = movie_bytes(tmp_path)
    trailer = samsung((0x0A30, b"MotionPhoto_Data", movie))
    path = written(tmp_path, jpeg() + trailer)
    whole = path.read_bytes()
    assert movie not in whole and b"MotionPhoto_Data" not in whole
    still = whole[: -length(path)]
    assert still[-4:] == b"SEFT"
    (size,) = struct.unpack_from("<I", still, len(still) - 8)
    head = len(still) - 8 - size
    magic, _, count, _, kind, offset, length_ = struct.unpack_from("<4sIIHHII", still, head)
    assert (magic, count, kind) == (b"SEFH", 1, 0x0A01)
    assert still[head - offset : head - offset + length_].endswith(b"Image_UTC_Data1700000000000")


def mpf(first, second, order, before, xmp):
    """A JPEG with a second picture, by the Multi-Picture Format; XMP stands on either side."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    entries = struct.pack(order + "HHI", 0xB000, 7, 4) + b"0100"
    entries += struct.pack(order + "HHII", 0xB001, 4, 1, 2)
    entries += struct.pack(order + "HHII", 0xB002, 7, 32, 8 + 2 + 36 + 4)
    directory = struct.pack(order + "H", 3) + entries + bytes(4)

    def segment(offset, size):
        table = struct.pack(order + "IIIHH", 0x30000, size, 0, 0, 0)
        table += struct.pack(order + "IIIHH", 0, len(second), offset, 0, 0)
        body = b"MPF\0" + head + directory + table
        return b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body

    space = b"http://ns.adobe.com/xap/1.0/\0" + xmp
    space = b"\xff\xe1" + struct.pack(">H", len(space) + 2) + space if xmp else b""
    app0, rest = first[: 2 + 18], first[2 + 18 :]
    size = len(first) + len(space) + len(segment(0, 0))
    base = len(app0) + 8 + len(space) * before
    parts = segment(size - base, size)
    return app0 + (space + parts if before else parts + space) + rest + second


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("has_xmp", [False, True])
def test_further_pictures_are_found_where_they_are(tmp_path, order, before, has_xmp):
    second = jpeg((64, 48))
    # With a gain map's, Pillow takes no further pictures.
    xmp = XMP.format(spaces="", inside="").replace('hdrgm:Version="1.0"', "").encode()
    xmp = xmp if has_xmp else b""
    data = mpf(jpeg(), second, order, before, xmp)
    for whole in (data, written(tmp_path, data).read_bytes()):
        with Image.open(io.BytesIO(whole)) as opened:
            assert opened.format == "MPO" and opened.n_frames == 2
            opened.seek(1)
            np.testing.assert_array_equal(opened.convert("RGB"), Image.open(io.BytesIO(second)))
        start = opened.mpinfo[0xB002][0]["Size"]
        assert whole[start : start + len(second)] == second


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "WEBP", "AVIF"])
def test_exif_and_xmp_of_other_formats_are_kept(tmp_path, kind):
    exif = Image.Exif()
    exif[0x010F], exif[0x8298] = "Canon", "somebody"
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    exif.get_ifd(0x8825)[1] = "N"
    exif[0x0112] = 6
    options = {"exif": exif}
    xmp = XMP.format(spaces="", inside="").encode()
    if kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    elif kind == "TIFF":
        options["tiffinfo"] = TiffImagePlugin.ImageFileDirectory_v2()
        for tag, value in ((0x010F, "Canon"), (0x8298, "somebody"), (700, xmp)):
            options["tiffinfo"][tag] = value
    else:
        options["xmp"] = xmp
    data = jpeg(format=kind, **options)
    if kind == "TIFF":  # of which Pillow writes no more directories
        if not shutil.which("exiftool"):
            pytest.skip("exiftool, which writes the further tags, is not installed")
        given = tmp_path / "given.tif"
        given.write_bytes(data)
        tags = ["-DateTimeOriginal=2024:05:06 07:08:09", "-GPSLatitudeRef=N"]
        subprocess.run(["exiftool", "-q", "-overwrite_original", *tags, given], check=True)
        data = given.read_bytes()
    path = written(tmp_path, data)
    with Image.open(path) as opened:
        kept = opened.getexif()
        assert (kept[0x010F], kept[0x8298]) == ("Canon", "somebody")
        assert kept.get_ifd(0x8769)[0x9003] == "2024:05:06 07:08:09"
        assert kept.get_ifd(0x8825)[1] == "N"
        assert kept.get(0x0112, 1) == 1, "upright by now"
        assert 256 not in kept and 273 not in kept, "how the TIFF was stored"
    assert description(path)[0]["format"] == "image/jpeg"


def test_exif_that_a_jpeg_cannot_hold_is_told(tmp_path):
    exif = Image.Exif()
    exif[0x8769] = {37500: bytes(90000)}
    with pytest.raises(b2m.InputError, match=r"have \d+ bytes, and a JPEG"):
        written(tmp_path, jpeg(format="PNG", exif=exif))
    assert not list(tmp_path.iterdir())
    path = written(tmp_path, jpeg(format="WEBP", exif=b"Exif\0\0http://ns.adobe.com"))
    assert description(path)[0]["MotionPhoto"] == "1"


def test_clips_save_it_and_the_command_line_writes_it(tmp_path, capsys):
    clip = b2m.animate(EXAMPLE, frames=5)[0]
    path = clip.save(tmp_path / "cat.MP.jpg", max_side=200)
    told, (_, movie) = description(path)
    assert told["MotionPhotoPresentationTimestampUs"] == "400000"  # the middle one of five
    _, shown = clip_inside(path, int(movie["Length"]))
    assert len(shown) == 5 and max(shown[0][1].shape) == 200
    assert main(["animate", str(EXAMPLE), "-o", str(tmp_path), "--format", "mp.jpg"]) == 0
    assert "cat-roll.MP.jpg" in capsys.readouterr().out
    assert (tmp_path / "cat-roll.MP.jpg").read_bytes().count(b"ftyp") == 1
    with pytest.raises(b2m.InputError, match=r"\.MP\.jpg"):
        clip.save(tmp_path / "cat.jpg")
