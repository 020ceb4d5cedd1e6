"""Photos of every kind in, files out whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import struct
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from made_pictures import file_of, png_claiming
from PIL import ExifTags, Image, ImageCms, ImageOps
from PIL.TiffImagePlugin import IFDRational

from b2m import files
from b2m.errors import InputError, OutputError
from b2m.media import image as media

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (24, 36, 3), np.uint8)


def read(source: Any) -> np.ndarray:
    pixels = media.read_image(source).pixels
    assert pixels.dtype == np.uint8 and pixels.shape[2] == 3
    assert pixels.flags["C_CONTIGUOUS"] and pixels.flags["WRITEABLE"]
    return pixels


def test_all_ways_in_agree(tmp_path: Path) -> None:
    image = Image.fromarray(PIXELS)
    path = tmp_path / "photo.png"
    image.save(path)
    data = path.read_bytes()
    for source in (path, str(path), data, bytearray(data), memoryview(data), image, PIXELS):
        np.testing.assert_array_equal(read(source), PIXELS)
    assert media.read_image(path).name == "photo.png"
    assert media.read_image(data).name == "image"
    assert not np.shares_memory(read(PIXELS), PIXELS)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(tmp_path: Path, orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = file_of(Image.fromarray(PIXELS), kind, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    path = tmp_path / "photo"
    path.write_bytes(data)
    for source in (data, path, Image.open(io.BytesIO(data))):
        np.testing.assert_array_equal(read(source), expected)
    # A second look at the same PIL image sees the same.
    image = Image.open(io.BytesIO(data))
    read(image)
    np.testing.assert_array_equal(read(image), expected)


def test_exposure_time() -> None:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] = IFDRational(1, 8)
    assert media.read_image(file_of(Image.fromarray(PIXELS), "JPEG", exif=exif)).exposure_time == (
        pytest.approx(1 / 8)
    )
    assert media.read_image(PIXELS).exposure_time is None
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] = IFDRational(1, 0)
    photo = media.read_image(file_of(Image.fromarray(PIXELS), "JPEG", exif=exif))
    assert photo.exposure_time is None


def test_damaged_exif_is_ignored() -> None:
    data = file_of(Image.fromarray(PIXELS), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7fjunk")
    assert read(data).shape == PIXELS.shape


def on_white(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.rint(color * share + 255 * (1 - share))


def test_alpha_is_flattened_on_white() -> None:
    alpha = RANDOM.integers(0, 256, PIXELS.shape[:2], np.uint8)
    rgba = np.dstack((PIXELS, alpha))
    expected = on_white(PIXELS, alpha)
    for source in (rgba, Image.fromarray(rgba), file_of(Image.fromarray(rgba))):
        assert np.abs(read(source) - expected).max() <= 1
    grey = Image.merge("LA", (Image.fromarray(PIXELS[..., 0]), Image.fromarray(alpha)))
    expected = on_white(np.repeat(PIXELS[..., :1], 3, -1), alpha)
    assert np.abs(read(file_of(grey)) - expected).max() <= 1


def test_palette_with_transparency() -> None:
    image = Image.fromarray((np.indices((24, 36))[1] % 3).astype(np.uint8))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    assert image.mode == "P"
    opaque = read(file_of(image))
    np.testing.assert_array_equal(opaque[0, :3], [(255, 0, 0), (0, 255, 0), (0, 0, 255)])
    seen = read(file_of(image, transparency=1))
    np.testing.assert_array_equal(seen[0, :3], [(255, 0, 0), (255, 255, 255), (0, 0, 255)])


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV", "RGBX"])
def test_modes_agree_with_pillow(mode: str) -> None:
    image = Image.fromarray(PIXELS).convert(mode)
    np.testing.assert_array_equal(read(image), np.asarray(image.convert("RGB")))


def test_cmyk_jpeg() -> None:
    image = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    pixels = read(file_of(image, "JPEG", quality=95))
    assert np.abs(pixels.reshape(-1, 3).astype(int) - (255, 0, 0)).max() <= 6


def test_16_bit_grey_png_and_tiff() -> None:
    deep = RANDOM.integers(0, 65536, (24, 36)).astype(np.uint16)
    expected = np.repeat(np.rint(deep / 257)[..., None], 3, -1)
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(read(file_of(Image.fromarray(deep), kind)), expected)
    np.testing.assert_array_equal(read(deep), expected)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_colour(tmp_path: Path, channels: int, suffix: str) -> None:
    deep = RANDOM.integers(0, 65536, (24, 36, channels)).astype(np.uint16)
    if channels == 4:
        deep[..., 3] = 65535
    path = tmp_path / f"deep{suffix}"
    order = [2, 1, 0, 3][:channels] if channels == 4 else [2, 1, 0]
    cv2.imwrite(str(path), deep[..., order])
    expected = np.rint(deep[..., :3] / 257)
    tolerance = 0 if suffix == ".png" else 1
    for source in (path, path.read_bytes()):
        assert np.abs(read(source) - expected).max() <= tolerance
    np.testing.assert_array_equal(read(deep), expected)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.full((20, 20, 3), np.nan), "NaN"),
        (np.full((20, 20, 3), 255.0), "255"),
        (np.full((20, 20), -0.5, np.float32), "-0.5"),
        (np.full((20, 20), np.inf), "inf"),
        (np.zeros((20, 20, 2)), r"\(20, 20, 2\)"),
        (np.zeros((3, 20, 20)), "transpose"),
        (np.zeros(20), r"\(20,\)"),
        (np.zeros((20, 20), np.int32), "int32"),
        (np.zeros((20, 20), bool), "bool"),
        (np.zeros((15, 20, 3)), "20x15"),
        (np.zeros((1, 1, 3), np.uint8), "1x1"),
    ],
)
def test_bad_arrays(array: np.ndarray, says: str) -> None:
    with pytest.raises(InputError, match=says):
        media.read_image(array)


def test_strips_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rgba = RANDOM.integers(0, 256, (37, 29, 4), np.uint8)
    sources = (rgba, rgba / 255, file_of(Image.fromarray(rgba)))
    whole = [read(source) for source in sources]
    monkeypatch.setattr("b2m.media.color_spaces._STRIP_PIXELS", 64)
    for source, expected in zip(sources, whole, strict=True):
        np.testing.assert_array_equal(read(source), expected)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animation_gives_first_frame_and_a_warning(kind: str) -> None:
    colors = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    frames = [Image.new("RGB", (20, 20), color) for color in colors]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = file_of(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    photo = media.read_image(data)
    np.testing.assert_array_equal(photo.pixels[3, 3], (255, 0, 0))
    assert len(photo.warnings) == 1 and "3 frames" in photo.warnings[0]
    image = Image.open(io.BytesIO(data))
    image.seek(2)
    np.testing.assert_array_equal(read(image)[3, 3], (255, 0, 0))
    assert image.tell() == 2


def wide_gamut_profile() -> bytes:
    """sRGB with its red and green primaries exchanged, under another name."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    places = {}
    for index in range(struct.unpack(">I", data[128:132])[0]):
        tag, offset, _ = struct.unpack(">4sII", data[132 + 12 * index : 144 + 12 * index])
        places[tag] = (132 + 12 * index + 4, offset)
    (red_entry, red), (green_entry, green) = places[b"rXYZ"], places[b"gXYZ"]
    data[red_entry : red_entry + 4] = struct.pack(">I", green)
    data[green_entry : green_entry + 4] = struct.pack(">I", red)
    return (
        bytes(data)
        .replace("sRGB".encode("utf-16-be"), "XRGB".encode("utf-16-be"))
        .replace(b"sRGB", b"XRGB")
    )


def test_colour_profile_becomes_srgb() -> None:
    image = Image.fromarray(PIXELS)
    swapped = read(file_of(image, icc_profile=wide_gamut_profile()))
    assert np.abs(swapped.astype(int) - PIXELS[..., [1, 0, 2]]).max() <= 2
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(read(file_of(image, icc_profile=own)), PIXELS)


def test_broken_colour_profile_is_a_warning() -> None:
    photo = media.read_image(file_of(Image.fromarray(PIXELS), icc_profile=b"junk" * 50))
    np.testing.assert_array_equal(photo.pixels, PIXELS)
    assert "colour profile" in photo.warnings[0]


JPEG = file_of(Image.fromarray(np.repeat(np.repeat(PIXELS, 4, 0), 4, 1)), "JPEG")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"hello, this is text", "not an image"),
        (JPEG[: len(JPEG) // 2], "truncated"),
        (JPEG[:20], "not an image"),
        (file_of(Image.fromarray(PIXELS))[:200], "truncated"),
        (file_of(Image.new("RGB", (1, 1))), "1x1"),
        (file_of(Image.new("RGB", (15, 15))), "15x15"),
        (file_of(Image.new("RGB", (400, 15))), "400x15"),
        (png_claiming(60000, 60000), "60000x60000"),
        (png_claiming(20001, 10000), "20001x10000"),
        (png_claiming(2000, 2000), "truncated"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 40, "HEIC"),
        (b"\0\0\0\x18ftypisom" + b"\0" * 40, "video"),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(InputError, match=says) as caught:
            media.read_image(source)
        assert "\n" not in str(caught.value)
    assert "image" in str(caught.value)
    with pytest.raises(InputError, match=r"bad\.jpg"):
        media.read_image(path)


def test_heic_is_read_where_pillow_heif_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    heif = pytest.importorskip(
        "pillow_heif", reason="pillow-heif, which reads HEIC, is not installed"
    )
    wide = np.uint8([[[3 * x, 4 * y, 120] for x in range(64)] for y in range(48)])
    stream = io.BytesIO()
    heif.from_bytes("RGB", (64, 48), wide.tobytes()).save(stream, quality=100)
    read = media.read_image(stream.getvalue())
    assert read.pixels.shape == (48, 64, 3)
    assert np.abs(read.pixels.astype(int) - wide).mean() < 3
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InputError, match="HEIC photo, which is not read here"):
        media.read_image(stream.getvalue())


def test_200_megapixels_are_allowed_and_pillow_is_left_alone() -> None:
    before = Image.MAX_IMAGE_PIXELS
    with media.open_image(png_claiming(16320, 12240)) as opened:
        assert opened.size == (16320, 12240)
    assert before == Image.MAX_IMAGE_PIXELS


def test_missing_folder_and_wrong_type(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        media.read_image(tmp_path / "none.jpg")
    with pytest.raises(InputError, match="folder"):
        media.read_image(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        media.read_image("a\0b")
    with pytest.raises(InputError, match="cannot be read"):
        media.read_image("x" * 5000)
    for wrong in (None, 5, [1, 2]):
        with pytest.raises(InputError, match=type(wrong).__name__):
            media.read_image(wrong)  # type: ignore[arg-type]


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(file_of(Image.fromarray(PIXELS)))

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    with pytest.raises(InputError, match="permissions"):
        media.read_image(path)


def test_png_round_trip_and_file_mode(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    media.write_png(path, PIXELS)
    np.testing.assert_array_equal(read(path), PIXELS)
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert path.stat().st_mode == plain.stat().st_mode


def test_atomic_path_keeps_the_old_file_on_failure(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), files.atomic_path(path) as temporary:
        assert temporary.parent == path.parent and temporary.suffix == ".txt"
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    with pytest.raises(KeyboardInterrupt), files.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    with files.atomic_path(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EACCES, "not writable"),
        (errno.EROFS, "not writable"),
        (errno.EFBIG, "larger than"),
    ],
)
def test_atomic_path_explains(tmp_path: Path, number: int, says: str) -> None:
    path = tmp_path / "a.png"
    with pytest.raises(OutputError, match=says) as caught, files.atomic_path(path):
        raise OSError(number, os.strerror(number))
    assert "a.png" in str(caught.value)
    assert caught.value.errno == number
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_is_swept_away(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with files.atomic_path(path) as temporary:
        temporary.write_bytes(b"new")
    names = [temporary.name, ".clip.0abd85dd.mp4", ".clip.0abd85de.mp4", ".other.0abd85dd.mp4"]
    for name in names:
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (0, 0))
    os.utime(tmp_path / names[2])  # goes on meanwhile
    files.remove_stale_temporaries(path)
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {"clip.mp4", names[2], names[3]}


def test_atomic_path_refuses_folders_and_missing_ones(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"), files.atomic_path(tmp_path):
        pass
    with pytest.raises(OutputError, match="does not exist"), files.atomic_path(tmp_path / "a/b"):
        pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_and_devices_are_left_alone(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe.png", tmp_path / "link.png"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        with pytest.raises(OutputError, match="device or pipe"), files.atomic_path(path):
            pass
        with pytest.raises(InputError, match="device or pipe"):  # and does not wait for a writer
            media.read_image(path)
    assert pipe.is_fifo()


def test_limit_side() -> None:
    image = RANDOM.integers(0, 256, (40, 60, 3), np.uint8)
    assert media.limit_side(image, 60) is image
    small = media.limit_side(image, 30)
    assert small.shape == (20, 30, 3)
    blocks = image.reshape(20, 2, 30, 2, 3).mean((1, 3))
    assert np.abs(small - blocks).max() <= 0.51
    assert media.limit_side(np.zeros((1000, 2, 3), np.uint8), 100).shape == (100, 1, 3)
