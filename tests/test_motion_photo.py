"""Motion Photos, read by others: Pillow's XMP, markers walked by hand, PyAV for the clip inside."""

import io
import re
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import b2m
from b2m.cli import main
from b2m.media.image import read_image
from b2m.media.motion_photo import write_motion_photo

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
