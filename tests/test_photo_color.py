"""Colours of photos by what their files say, against littleCMS and the standards' own formulae."""

import io
import struct
import zlib

import numpy as np
import pytest
from made_pictures import (
    BT2020,
    DISPLAY_P3,
    file_of,
    hlg,
    light,
    mean_apart,
    pattern,
    png,
    pq,
    srgb,
    to_bt2020,
)
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

from b2m.errors import InputError
from b2m.media.color_spaces import read_profile
from b2m.media.image import read_image

PIXELS = pattern(96, 128)
SRGB = [(0.4360747, 0.2225045, 0.0139322), (0.3850649, 0.7168786, 0.0971045)]
SRGB += [(0.1430804, 0.0606169, 0.7141733)]  # XYZ under D50
ADOBE = [(0.6097559, 0.3111242, 0.0194811), (0.2052401, 0.6256560, 0.0608902)]
ADOBE += [(0.1492240, 0.0632197, 0.7448387)]


def fixed(*values):
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def profile(name="a profile", columns=SRGB, curve=2.2, space=b"RGB "):
    """An ICC profile; its curve is a gamma, an array in [0, 1], or (kind, parameters …)."""
    if isinstance(curve, tuple):
        trc = b"para\0\0\0\0" + struct.pack(">HH", curve[0], 0) + fixed(*curve[1:])
    elif isinstance(curve, np.ndarray):
        values = np.rint(curve * 65535).astype(">u2").tobytes()
        trc = b"curv\0\0\0\0" + struct.pack(">I", len(curve)) + values
    elif curve == 1:
        trc = b"curv\0\0\0\0" + struct.pack(">I", 0)
    else:
        trc = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(curve * 256))
    text = name.encode() + b"\0"
    tags = [(b"desc", b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78))]
    tags += [(b"cprt", b"text\0\0\0\0x\0"), (b"wtpt", b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249))]
    if space == b"GRAY":
        tags.append((b"kTRC", trc))
    else:
        tags += [(k, b"XYZ \0\0\0\0" + fixed(*v)) for k, v in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)]  # noqa: E501  # fmt: skip
        tags += [(k, trc) for k in (b"rTRC", b"gTRC", b"bTRC")]
    place, table, data = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for key, value in tags:
        table += key + struct.pack(">II", place + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    head = struct.pack(
        ">I4sI4s4s4s", place + len(data), b"lcms", 0x02400000, b"mntr", space, b"XYZ "
    )
    head += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + fixed(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + table + data


def seen(data):
    return read_image(data).pixels


def stored(*given, **options):
    """What is seen of a picture of Pillow's that was put into a file."""
    return seen(file_of(*given, **options))


def iccp(data):
    return b"iCCP", b"name\0\0" + zlib.compress(data)


def by_littlecms(image, data):
    source = ImageCms.ImageCmsProfile(io.BytesIO(data))
    target = ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.profileToProfile(image, source, target, outputMode="RGB"))


CURVES = {
    "linear": 1,
    "gamma 1.8": 1.8,
    "table": np.linspace(0, 1, 300) ** 1.5,
    "para 0": (0, 2.4),
    "para 3": (3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
    "para 4": (4, 2.0, 0.9, 0.1, 0.2, 0.3, 0.0, 0.0),
}


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
@pytest.mark.parametrize("columns", [SRGB, ADOBE], ids=["sRGB", "Adobe"])
@pytest.mark.parametrize("name", ["sRGB IEC61966-2.1", "another"])
def test_profiles_count_by_their_numbers(curve, columns, name):
    data = profile(name, columns, curve)
    read = seen(png(PIXELS, iccp(data)))
    assert np.abs(read.astype(int) - by_littlecms(Image.fromarray(PIXELS), data)).max() <= 3
    deep = seen(png(PIXELS.astype(np.uint16) * 257, iccp(data)))
    assert np.abs(deep.astype(int) - read).max() <= 1


def test_what_is_srgb_is_left_alone():
    for data in (
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        profile("no name", SRGB, (3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)),
    ):
        np.testing.assert_array_equal(seen(png(PIXELS, iccp(data))), PIXELS)


def test_16_bits_go_through_the_profile():
    """The darkest twelfth of linear light holds 81 of the 256 values of sRGB."""
    ramp = np.tile(np.linspace(0, 0.08, 320), (16, 1))
    deep = np.rint(ramp * 65535).astype(np.uint16)
    linear = profile("linear", SRGB, 1)
    read = seen(png(np.dstack([deep] * 3), iccp(linear)))
    assert np.abs(read[..., 0] - 255 * srgb(ramp)).max() <= 1
    assert len(np.unique(read)) == 81
    alpha = np.full_like(deep, 65535)
    read = seen(png(np.dstack([deep] * 3 + [alpha]), iccp(linear)))
    assert len(np.unique(read)) == 81
    grey = profile("grey", curve=1, space=b"GRAY")
    for picture in (deep, np.dstack([deep, alpha])):
        read = seen(png(picture, iccp(grey)))
        assert np.abs(read[..., 1] - 255 * srgb(ramp)).max() <= 1
    assert len(np.unique(stored(Image.fromarray(deep), "TIFF", icc_profile=grey))) == 81


def test_profiles_of_grey_and_palette_files():
    grey = PIXELS[..., 0]
    data = profile("grey", curve=1.0, space=b"GRAY")
    read = seen(png(grey, iccp(data)))
    expected = np.rint(255 * srgb(grey / 255))
    assert np.abs(read - expected[..., None]).max() <= 1
    colors = profile("Adobe", ADOBE, 2.2)
    image = Image.fromarray(PIXELS).quantize(64)
    reference = by_littlecms(image.convert("RGB"), colors)
    assert np.abs(stored(image, "PNG", icc_profile=colors).astype(int) - reference).max() <= 3
    # A profile of grey on a palette of greys, and on one of colours.
    photo = read_image(file_of(Image.fromarray(grey).quantize(64), "PNG", icc_profile=data))
    assert not photo.warnings and photo.pixels.mean() > grey.mean() + 20
    assert "could not be applied" in read_image(file_of(image, "PNG", icc_profile=data)).warnings[0]


def test_broken_profiles_do_no_harm():
    whole = profile("Adobe", ADOBE, 2.2)
    rng = np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(whole[: rng.integers(100, len(whole) + 1)])
        for place in rng.integers(0, len(broken), 3):
            broken[place] = rng.integers(256)
        read_profile(bytes(broken))
        read_image(png(PIXELS[:16, :16], iccp(bytes(broken))))


def exif_of(color_space, index):
    exif = Image.Exif()
    detail = exif.get_ifd(0x8769)
    detail[0xA001] = color_space
    if index:
        detail[0xA005] = {1: index}
    return exif


@pytest.mark.parametrize(("color_space", "index"), [(65535, "R03"), (2, None)])
def test_adobe_rgb_by_exif(color_space, index):
    data = profile("Adobe", ADOBE, 563 / 256)
    to_adobe = ImageCms.profileToProfile(
        Image.fromarray(PIXELS), ImageCms.createProfile("sRGB"),
        ImageCms.ImageCmsProfile(io.BytesIO(data)), outputMode="RGB",
    )  # fmt: skip
    assert (
        mean_apart(
            seen(
                file_of(
                    to_adobe, "JPEG", quality=99, subsampling=0, exif=exif_of(color_space, index)
                )
            ),
            PIXELS,
        )
        < 1.5
    )
    assert (
        mean_apart(
            seen(file_of(Image.fromarray(PIXELS), "JPEG", quality=99, exif=exif_of(1, "R98"))),
            PIXELS,
        )
        < 1.5
    )


@pytest.mark.parametrize(
    ("points", "encode", "told"),
    [
        ((12, 13), lambda p: srgb(light(p) @ DISPLAY_P3.T), ""),
        ((9, 13), lambda p: srgb(light(p) @ BT2020.T), ""),
        ((1, 8), light, ""),
        ((1, 4), lambda p: light(p) ** (1 / 2.2), ""),
        ((9, 16), lambda p: pq(to_bt2020(p)), "PQ"),
        ((9, 18), lambda p: hlg(to_bt2020(p)), "HLG"),
        ((1, 13), lambda p: p / 255, ""),
        ((2, 2), lambda p: p / 255, ""),
    ],
)
def test_code_points_of_png(points, encode, told):
    deep = np.rint(np.clip(encode(PIXELS), 0, 1) * 65535).astype(np.uint16)
    photo = read_image(png(deep, (b"cICP", bytes([*points, 0, 1]))))
    assert mean_apart(photo.pixels, PIXELS) < 1
    assert [told in sentence for sentence in photo.warnings] == [True] * bool(told)


def test_code_points_of_avif(tmp_path):
    """Written by Pillow as sRGB, with other numbers put into the box that tells the colours."""
    wide = np.rint(255 * srgb(light(PIXELS) @ DISPLAY_P3.T)).astype(np.uint8)
    data = bytearray(file_of(Image.fromarray(wide), "AVIF", quality=100, subsampling="4:4:4"))
    where = data.index(b"nclx") + 4
    assert data[where : where + 2] == b"\0\1"
    assert mean_apart(seen(bytes(data)), wide) < 2
    data[where : where + 2] = b"\0\x0c"
    assert mean_apart(seen(bytes(data)), PIXELS) < 2


def test_gamma_and_chromaticities_of_png():
    linear = np.rint(light(PIXELS) * 65535).astype(np.uint16)
    assert mean_apart(seen(png(linear, (b"gAMA", struct.pack(">I", 100000)))), PIXELS) < 1
    wide = np.rint(255 * srgb(light(PIXELS) @ DISPLAY_P3.T)).astype(np.uint8)
    p3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    chunks = [(b"gAMA", struct.pack(">I", 45455)), (b"cHRM", p3)]
    assert mean_apart(seen(png(wide, *chunks)), PIXELS) < 1
    np.testing.assert_array_equal(seen(png(wide, *chunks, (b"sRGB", b"\0"))), wide)
    np.testing.assert_array_equal(seen(png(wide, chunks[0])), wide)


# --- what is stored in another way ----------------------------------------------------------------


def tiff(array, mode=None, **tags):
    """A TIFF by Pillow; tags are set by their names."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        info[getattr(TiffImagePlugin, name)] = value
    return file_of(Image.fromarray(array, mode), "TIFF", tiffinfo=info)


def test_white_may_be_zero():
    grey = PIXELS[..., 0].astype(np.uint16) * 257
    data = bytearray(tiff(65535 - grey))
    where = data.index(struct.pack("<HHI", 262, 3, 1)) + 8
    data[where] = 0
    np.testing.assert_array_equal(seen(bytes(data))[..., 0], PIXELS[..., 0])


def test_values_that_end_early_are_told():
    grey = PIXELS[..., 0].astype(np.uint16) * 16
    for array in (grey, np.dstack([grey] * 3)):
        (said,) = read_image(png(array)).warnings
        assert "nearly black" in said and "12 bits" in said and "multiply them by 16" in said
    assert not read_image(png(PIXELS[..., 0].astype(np.uint16) * 257)).warnings


def test_raw_photos_are_no_thumbnails():
    small = PIXELS[::4, ::4]
    with pytest.raises(InputError, match="raw photo, in which only a thumbnail"):
        read_image(raw_tiff(small))
    with pytest.raises(InputError, match="raw photo"):
        read_image(b"II*\0\x10\0\0\0CR\x02\0" + bytes(100))


def raw_tiff(small):
    """A DNG: its first directory is a thumbnail."""
    data = bytearray(tiff(small))
    (place,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, place)
    entries = [data[place + 2 + 12 * i : place + 14 + 12 * i] for i in range(count)]
    entries.append(struct.pack("<HHI4B", 50706, 1, 4, 1, 4, 0, 0))
    start = len(data)
    data += struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    struct.pack_into("<I", data, 4, start)
    return bytes(data)


@pytest.mark.parametrize(
    ("tags", "says"),
    [({339: 3, 258: 32}, "floating-point"), ({284: 2, 258: 16}, "one after the other")],
)
def test_what_would_be_read_wrong_is_refused(tags, says):
    data = bytearray(tiff(PIXELS))
    (place,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, place)
    entries = [bytes(data[place + 2 + 12 * i : place + 14 + 12 * i]) for i in range(count)]
    entries = [e for e in entries if struct.unpack_from("<H", e)[0] not in tags]
    entries += [struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items()]
    start = len(data)
    data += struct.pack("<H", len(entries)) + b"".join(sorted(entries)) + bytes(4)
    struct.pack_into("<I", data, 4, start)
    with pytest.raises(InputError, match=says):
        read_image(bytes(data))


def test_grey_floating_point_is_read():
    grey = np.linspace(0, 1, 32 * 64, dtype=np.float32).reshape(32, 64)
    assert np.abs(seen(tiff(grey))[..., 0] - 255 * grey).max() <= 0.5


def test_nothing_to_see_is_refused():
    with pytest.raises(InputError, match="transparent all over"):
        read_image(png(np.dstack([PIXELS, 0 * PIXELS[..., 0]])))


@pytest.mark.parametrize("compressed", [False, True])
def test_long_texts_do_not_matter(compressed):
    """As in pictures of programs that keep their whole workflow there."""
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", "x" * 3_000_000, zip=compressed)
    info.add_itxt("prompt", "y" * 3_000_000, zip=compressed)
    exif = Image.Exif()
    exif[0x0112] = 6
    np.testing.assert_array_equal(
        stored(Image.fromarray(PIXELS), "PNG", pnginfo=info, exif=exif),
        np.rot90(PIXELS, -1),
    )


def test_orientation_is_that_of_exif():
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
        b'syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
        b'tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    assert stored(Image.fromarray(PIXELS), "JPEG", xmp=xmp).shape == PIXELS.shape


OTHERS = {
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 200 100\n%%EOF\n": "an EPS or PostScript file",
    b"\0\0\0\x18ftypcrx " + bytes(99): "a raw photo",
    b"\0\0\0\x18ftypheic" + bytes(99): "a HEIC photo",
    b"8BPS\0\1" + bytes(99): "a Photoshop file",
    b"%PDF-1.7\n": "a PDF document",
    b"\xff\x0a" + bytes(99): "a JPEG XL image",
    b"<!DOCTYPE html><html><body>": "a web page",
    b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>': "an SVG drawing",
    b"PK\x03\x04" + bytes(99): "a ZIP archive",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n": "a Git LFS pointer",
    b"\0\5\x16\7\0\2\0\0Mac OS X".ljust(99, b"\0"): "an AppleDouble file",
}


@pytest.mark.parametrize("data", OTHERS, ids=OTHERS.values())
def test_other_files_are_called_what_they_are(data):
    with pytest.raises(InputError, match=f"is {OTHERS[data]}"):
        read_image(data)


def test_lab_tiff():
    lab = ImageCms.profileToProfile(
        Image.fromarray(PIXELS), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )  # fmt: skip
    assert mean_apart(stored(lab, "TIFF"), PIXELS) < 3
