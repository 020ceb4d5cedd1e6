"""Reading photos, writing PNG."""

from __future__ import annotations

import contextlib
import io
import math
import os
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from b2m.errors import InputError
from b2m.files import atomic_path, check_file
from b2m.media import photo_files
from b2m.media.color_spaces import row_strips as row_strips
from b2m.media.file_kinds import HEAD_BYTES, HEIC, is_video, kind_of
from b2m.media.photo_color import is_adobe_rgb, to_srgb

MIN_SIDE = 16
MAX_PIXELS = 200_000_000
"""Larger images are refused from their header alone, before anything is decoded."""
MAX_SIDE = 32_766
"""Pixels; OpenCV moves nothing longer."""

ImageLike = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | NDArray[Any]
Pixels = NDArray[np.uint8]
_Value = TypeVar("_Value", bound=np.generic)

_FORMATS = "JPEG, PNG, WebP, AVIF, TIFF, GIF or BMP"
_ANIMATED = {"GIF", "WEBP", "PNG", "AVIF", "TIFF"}  # not MPO: its further pictures are previews
# Others would start programs (EPS), or hold thumbnails of what cannot be read.
_OPENED = ["JPEG", "MPO", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "DIB", "PPM", "JPEG2000"]
_HEIF = "HEIF"  # opened where pillow-heif is installed
_NOT_READ = "which is not read here: save it as JPEG or PNG first"
_DESCRIPTIVE = frozenset(  # tags of what a photo shows, by whom and when
    {0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x4749, 0x8298}
    | {0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F, 0x829A, 0x829D}
)
_EMPTY_EXIF = 20  # bytes
_JPEG_START = b"\xff\xd8\xff"
# Pillow's own guard sits below MAX_PIXELS and is global, so it is lifted under a lock.
_open_lock = threading.Lock()


@dataclass(frozen=True)
class Photo:
    """A photo as it is shown: upright, in sRGB, opaque.

    Attributes:
        pixels: (H, W, 3) uint8 sRGB, its own memory.
        warnings: sentences about what was left out, such as further frames of an animation.
        exposure_time: seconds, from the EXIF tag, or None.
        name: the file's name, or "image".
        jpeg: the file itself, byte by byte, where it was a JPEG.
        exif: of a source that was not a JPEG, with orientation 1.
        xmp: likewise.
    """

    pixels: Pixels
    warnings: tuple[str, ...] = ()
    exposure_time: float | None = None
    name: str = "image"
    jpeg: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None


def read_image(image: ImageLike) -> Photo:
    """Read a photo from a path, bytes, a PIL image or an array.

    EXIF orientation is applied, colours become those of sRGB by what the file says of them (ICC
    profile, code points of AVIF and PNG, gamma of PNG, EXIF), transparency is flattened on white,
    CMYK, palette, grey and 16-bit images become 8-bit RGB, and of an animation the first frame is
    taken with a warning.

    Args:
        image: path, file contents, PIL image, or (H, W[, 1|3|4]) array of uint8, uint16 or float
            in [0, 1].

    Raises:
        InputError: no image, a broken one, one smaller than 16x16 or larger than 200 million
            pixels, one that nothing can be seen of, or a raw photo.
    """
    if isinstance(image, np.ndarray):
        return Photo(_from_array(image))
    name, source = _name(image), image
    opened: Image.Image
    if isinstance(source, Image.Image):
        opened = source
        _check_size(opened.size, name)
    else:
        opened = open_image(source)
    notes: list[str] = []
    frame = 0
    try:
        if opened.format in _ANIMATED:
            with _damage_named(name):
                frames, frame = getattr(opened, "n_frames", 1), opened.tell()
                opened.seek(0)
            if frames > 1:
                notes.append(f"{name} holds {frames} frames: the first was taken")
        deep, tiff, points = None, None, None
        if not isinstance(source, Image.Image):
            with photo_files.whole_file(source) as file:
                tiff = photo_files.read_tiff(file) if opened.format == "TIFF" else None
                deep = photo_files.read_16_bit(file, opened, tiff)
                points = photo_files.read_cicp(file, opened.format)
        _load(opened, name)
        exif = _exif(opened)
        with _damage_named(name):
            channels, alpha = _channels(opened, deep, name, notes)
            if tiff is not None and tiff.white_is_zero and channels.dtype == np.uint16:
                channels = 65535 - channels
            adobe = exif is not None and _quietly(is_adobe_rgb, exif, False)
            pixels = to_srgb(channels, opened, name, notes, points=points, adobe=adobe)
        if alpha is not None:
            pixels = _flattened(pixels, alpha, name)
        orientation = _quietly(_orientation, exif, 1)
        exposure_time = _quietly(_exposure, exif, None)
        down, across = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
        pixels = reoriented(pixels, orientation > 4, down, across)
        xmp = opened.info.get("xmp")
        kept = _quietly(lambda exif: _kept(exif, opened), exif, None)
    finally:
        if opened is not source:
            opened.close()
        elif frame:
            opened.seek(frame)
    jpeg = _read_jpeg(source)
    if jpeg:
        kept = xmp = None
    return Photo(pixels, tuple(notes), exposure_time, name, jpeg, kept, xmp)


def open_image(source: ImageLike) -> Image.Image:
    """Open a path or the bytes of a file with Pillow, header only, saying clearly what is wrong.

    Raises:
        InputError: missing, a folder, unreadable, empty, not an image, or of a forbidden size.
    """
    name = _name(source)
    if isinstance(source, bytes | bytearray | memoryview):
        if len(source) == 0:
            raise InputError(f"{name} is empty (0 bytes): give the contents of an image file")
        file: Any = io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        file = check_file(Path(source), "image")
    else:
        raise InputError(
            f"an image cannot be a {type(source).__name__}: give a path, bytes, a PIL image or an "
            "(H, W[, 1|3|4]) NumPy array"
        )
    with photo_files.whole_file(source) as start:
        head = start.read(HEAD_BYTES)
        if head.startswith(photo_files.PNG_START):
            file = photo_files.without_texts(start) or file
        tiff = photo_files.read_tiff(start)
    with _open_lock, _quiet():
        previous, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            Image.init()
            formats = [kind for kind in _OPENED if kind in Image.OPEN]
            opened = Image.open(file, formats=[_HEIF] if _reads_heif(head) else formats)
        except MemoryError:
            raise
        except Exception as error:
            if tiff is not None:
                photo_files.refuse_tiff(tiff, name)
            raise InputError(_not_an_image(name, head)) from error
        finally:
            Image.MAX_IMAGE_PIXELS = previous
    try:
        _check_size(opened.size, name)
        if opened.format == "TIFF":
            if kind := kind_of(head):
                raise InputError(f"{name} is {kind}, {_NOT_READ}")
            if tiff is not None:
                photo_files.refuse_tiff(tiff, name, opened.mode)
    except InputError:
        opened.close()
        raise
    return opened


def decode(source: ImageLike) -> Image.Image:
    """Open and decode with Pillow, channels untouched; a PIL image comes back as it is.

    Raises:
        InputError: as :func:`open_image`, or damaged.
    """
    opened = source if isinstance(source, Image.Image) else open_image(source)
    _load(opened, _name(source))
    return opened


def write_png(path: str | os.PathLike[str], pixels: Pixels) -> None:
    """Write (H, W), (H, W, 3) or (H, W, 4) uint8 as PNG, whole or not at all.

    Raises:
        OutputError: the folder is missing, not writable or full.
    """
    with atomic_path(path) as temporary:
        Image.fromarray(np.ascontiguousarray(pixels)).save(
            temporary, format="PNG", compress_level=4
        )


def limit_side(image: Pixels, max_side: int) -> Pixels:
    """Shrink (H, W[, C]) so that its longest side is at most ``max_side``, averaging over areas.

    Images that fit already are returned as they are.
    """
    size = limited_size(image.shape, max_side)
    if size == image.shape[:2]:
        return image
    small = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    return small.astype(image.dtype, copy=False)


def limited_size(size: tuple[int, ...], max_side: int) -> tuple[int, int]:
    """Height and width of an image that `limit_side` has shrunk."""
    height, width = size[:2]
    longest = max(height, width)
    if longest <= max_side:
        return height, width
    return max(1, round(height * max_side / longest)), max(1, round(width * max_side / longest))


def fill_from_nearest(
    values: NDArray[_Value], known: NDArray[np.bool_]
) -> tuple[NDArray[_Value], NDArray[np.float32]]:
    """The value of the nearest pixel at which there is one.

    Args:
        values: (H, W, C).
        known: (H, W), where `values` counts; anywhere at least.

    Returns:
        (H, W, C), and the distance (H, W) to that pixel, in pixels.
    """
    away, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.zeros((labels.max() + 1, values.shape[2]), values.dtype)
    nearest[labels[known]] = values[known]
    return nearest[labels], np.asarray(away, np.float32)


# --- reading, step by step -----------------------------------------------------------------------


def _name(image: object) -> str:
    if isinstance(image, str | os.PathLike):
        return Path(image).name or str(image)
    filename = getattr(image, "filename", None)
    return Path(filename).name if isinstance(filename, str) and filename else "image"


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if min(width, height) < MIN_SIDE:
        raise InputError(
            f"{name} is {width}x{height} pixels: at least {MIN_SIDE}x{MIN_SIDE} are needed"
        )
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{name} claims {width}x{height} pixels: at most {MAX_PIXELS // 10**6} million are "
            "read; shrink it first"
        )
    if max(width, height) > MAX_SIDE:
        raise InputError(
            f"{name} is {width}x{height} pixels: a side may have at most {MAX_SIDE}; cut it in two"
        )


def _reads_heif(head: bytes) -> bool:
    """Whether a file is a HEIC photo, and pillow-heif is there to read it."""
    if kind_of(head) != HEIC:
        return False
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def _not_an_image(name: str, head: bytes) -> str:
    if _reads_heif(head):
        return f"{name} is {HEIC} that is damaged: export it again, or save it as JPEG"
    if kind := kind_of(head):
        return f"{name} is {kind}, {_NOT_READ}"
    if is_video(head):
        return f"{name} is a video, not a photo: give one image ({_FORMATS})"
    return f"{name} is not an image that can be read, or it is damaged: give a {_FORMATS} file"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Pillow's warnings about large sizes and damaged EXIF."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _damage_named(name: str) -> Iterator[None]:
    """Turn any error of Pillow's parsers into one sentence."""
    try:
        with _quiet():
            yield
    except MemoryError:
        raise
    except Exception as error:
        raise InputError(
            f"{name} is damaged or truncated and cannot be decoded: get a complete copy of it"
        ) from error


def _load(opened: Image.Image, name: str) -> None:
    with _damage_named(name):
        opened.load()


def _channels(
    opened: Image.Image, deep: NDArray[np.uint16] | None, name: str, notes: list[str]
) -> tuple[NDArray[Any], Pixels | None]:
    """Colours as stored, (H, W, 1 | 3) uint8 or uint16 or (H, W, 4) CMYK, and opacity (H, W)."""
    if deep is not None:
        photo_files.note_dark(deep[..., :3], name, notes)
        alpha = _flatten_array(deep[..., 3:])[..., 0] if deep.shape[2] == 4 else None
        return deep[..., :3], alpha
    mode = opened.mode
    if mode.startswith("I") or mode == "F":
        array = np.asarray(opened)
        if mode == "F":
            return _from_array(array, name)[..., :1], None
        if array.size and (array.min() < 0 or array.max() > 65535):
            raise InputError(
                f"{name} has values from {array.min()} to {array.max()}: save it with 8 or 16 bits "
                "per channel, from 0 up"
            )
        grey = array.astype(np.uint16, copy=False)
        photo_files.note_dark(grey, name, notes)
        return grey[..., None], None
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in opened.info:
        image = opened.convert("RGBA")
        alpha = _pixels(image.getchannel("A"))[..., 0]
        return _pixels(image.convert("L" if mode in ("L", "LA", "La") else "RGB")), alpha
    if mode == "LAB":
        from PIL import ImageCms

        lab, target = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(opened, lab, target, outputMode="RGB")
        opened.info.pop("icc_profile", None)  # which speaks of a printer
        return _pixels(converted or opened.convert("RGB")), None
    # A profile speaks of the file's own channels.
    keep = ("RGB", "L", "CMYK")
    return _pixels(opened if mode in keep else opened.convert("L" if mode == "1" else "RGB")), None


def _pixels(image: Image.Image) -> Pixels:
    """(H, W, C) uint8 of a Pillow image, its own memory."""
    pixels = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
    for rows in row_strips(image.height, image.width):
        strip = np.asarray(image.crop((0, rows.start, image.width, rows.stop)))
        pixels[rows] = strip if strip.ndim == 3 else strip[..., None]
    return pixels


def _flattened(pixels: Pixels, alpha: Pixels, name: str) -> Pixels:
    """(H, W, 3) uint8 on white by the opacity, (H, W) uint8."""
    if alpha.size and not alpha.any():
        raise InputError(
            f"{name} is transparent all over, so nothing of it can be seen: save it without its "
            "alpha channel"
        )
    for rows in row_strips(*alpha.shape):
        pixels[rows] = on_white(pixels[rows], alpha[rows])
    return pixels


def on_white(color: Pixels, alpha: Pixels) -> Pixels:
    """(H, W, 3) and the opacity (H, W), uint8, as it looks on white."""
    opacity = alpha[..., None].astype(np.uint16)
    return ((color * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)


def _read_jpeg(source: ImageLike) -> bytes | None:
    """The bytes of a JPEG file; None of anything else."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source) if bytes(source[:3]) == _JPEG_START else None
    if not isinstance(source, str | os.PathLike):
        return None
    with contextlib.suppress(OSError), open(source, "rb") as stream:
        if stream.read(3) == _JPEG_START:
            return _JPEG_START + stream.read()
    return None


def _from_array(array: NDArray[Any], name: str = "the array") -> Pixels:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        hint = ""
        if array.ndim == 3 and array.shape[0] in (1, 3, 4):
            hint = "; move its first axis last: array.transpose(1, 2, 0)"
        raise InputError(
            f"{name} has shape {array.shape}: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) is "
            f"needed{hint}"
        )
    _check_size((array.shape[1], array.shape[0]), name)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype not in (np.uint8, np.uint16) and not np.issubdtype(array.dtype, np.floating):
        raise InputError(
            f"{name} has type {array.dtype}: uint8, uint16 or float in [0, 1] is needed"
        )
    return _flatten_array(array, name)


def _flatten_array(array: NDArray[Any], name: str = "the array") -> Pixels:
    """(H, W[, 1|3|4]) of uint8, uint16 or float to a new (H, W, 3) uint8 on white."""
    height, width = array.shape[:2]
    pixels = np.empty((height, width, 3), np.uint8)
    for rows in row_strips(height, width):
        strip = array[rows]
        if strip.dtype == np.uint16:
            strip = ((strip.astype(np.uint32) + 128) // 257).astype(np.uint8)
        elif strip.dtype != np.uint8:
            # A hair beyond the range is what resampling leaves; NaN fails both comparisons.
            low, high = float(strip.min()), float(strip.max())
            if not (low >= -1e-4 and high <= 1 + 1e-4):
                raise InputError(
                    f"{name} is float with values from {low:.4g} to {high:.4g}: float images must "
                    "lie in [0, 1] without NaN; divide by the white value"
                )
            strip = np.rint(np.clip(strip, 0, 1) * np.float32(255)).astype(np.uint8)
        if strip.ndim == 3 and strip.shape[2] == 4:
            strip = on_white(strip[..., :3], strip[..., 3])
        pixels[rows] = strip[..., None] if strip.ndim == 2 else strip
    return pixels


def _exif(opened: Image.Image) -> Image.Exif | None:
    """EXIF of a file; None where it has none, or a damaged one.

    Pillow would take the orientation from XMP, too, which neither browsers nor galleries do.
    """
    names = ("xmp", "XML:com.adobe.xmp")
    aside = {name: opened.info.pop(name) for name in names if name in opened.info}
    try:
        with _quiet():
            return opened.getexif()
    except Exception:
        return None
    finally:
        opened.info.update(aside)


def _quietly(read: Callable[[Image.Exif], Any], exif: Image.Exif | None, else_: Any) -> Any:
    """A value from EXIF; damaged EXIF counts as none."""
    if exif is None:
        return else_
    try:
        with _quiet():
            return read(exif)
    except Exception:
        return else_


def _orientation(exif: Image.Exif) -> int:
    tag = exif.get(ExifTags.Base.Orientation, 1)
    return tag if tag in range(1, 9) else 1


def _exposure(exif: Image.Exif) -> float | None:
    everywhere = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    exposure = float(everywhere.get(ExifTags.Base.ExposureTime, 0))
    return exposure if 0 < exposure < math.inf else None


def _kept(exif: Image.Exif, opened: Image.Image) -> bytes | None:
    """EXIF for a file of the photo as it is shown."""
    data = opened.info.get("exif")
    if isinstance(data, bytes) and opened.format != "TIFF":
        return _turned_upright(data)
    # Of a TIFF, without what tells how that one is stored.
    kept = Image.Exif()
    for tag, value in exif.items():
        if tag in _DESCRIPTIVE:
            kept[tag] = value
    for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        if tag in exif:
            kept.get_ifd(tag).update(exif.get_ifd(tag))
    data = kept.tobytes()
    return data if len(data) > _EMPTY_EXIF else None


def _turned_upright(exif: bytes) -> bytes | None:
    """EXIF with orientation 1, else byte by byte as it is; None if it is broken."""
    changed = bytearray(exif)
    base = 6 if exif.startswith(b"Exif\0\0") else 0
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[base : base + 4])
    if order is None:
        return None
    place = base + struct.unpack_from(order + "I", exif, base + 4)[0]
    for number in range(struct.unpack_from(order + "H", exif, place)[0]):
        entry = place + 2 + 12 * number
        if struct.unpack_from(order + "H", exif, entry)[0] == ExifTags.Base.Orientation:
            struct.pack_into(order + "HIHH", changed, entry + 2, 3, 1, 1, 0)
    return bytes(changed)


def reoriented(pixels: Pixels, swapped: bool, upside_down: bool, mirrored: bool) -> Pixels:
    """An image (H, W, C) with its axes swapped, and then turned upside down, or left to right."""
    if swapped:
        pixels = pixels.swapaxes(0, 1)
    if upside_down:
        pixels = pixels[::-1]
    if mirrored:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
