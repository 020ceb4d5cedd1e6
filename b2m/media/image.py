"""Images in and out, and the one way every file of b2m is written: whole or not at all."""

from __future__ import annotations

import contextlib
import io
import math
import os
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from b2m.errors import InputError
from b2m.files import atomic_path, check_file

MIN_SIDE = 16
MAX_PIXELS = 200_000_000
"""Larger images are refused from their header alone, before anything is decoded."""

ImageLike = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | NDArray[Any]
Pixels = NDArray[np.uint8]

_FORMATS = "JPEG, PNG, WebP, AVIF, TIFF, GIF or BMP"
_ANIMATED = {"GIF", "WEBP", "PNG", "AVIF", "TIFF"}  # not MPO: its further pictures are previews
_JPEG_START = b"\xff\xd8\xff"
_STRIP_PIXELS = 1 << 20
# Pillow's own guard sits below MAX_PIXELS and is global, so it is lifted under a lock.
_open_lock = threading.Lock()


@dataclass(frozen=True)
class Photo:
    """A photo as a person sees it: upright, in sRGB, opaque.

    Attributes:
        pixels: (H, W, 3) uint8 sRGB, its own memory.
        warnings: sentences about what was left out, such as further frames of an animation.
        exposure_time: seconds, from the EXIF tag, or None.
        name: the file's name, or "image".
        jpeg: the file itself, byte by byte, where it was a JPEG.
        exif: of a file that was none, as Pillow keeps it.
    """

    pixels: Pixels
    warnings: tuple[str, ...] = ()
    exposure_time: float | None = None
    name: str = "image"
    jpeg: bytes | None = None
    exif: bytes | None = None


def read_image(image: ImageLike) -> Photo:
    """Read a photo from a path, bytes, a PIL image or an array.

    EXIF orientation is applied, colour profiles are converted to sRGB, transparency is flattened
    on white, CMYK, palette, grey and 16-bit images become 8-bit RGB, and of an animation the
    first frame is taken with a warning.

    Args:
        image: path, file contents, PIL image, or (H, W[, 1|3|4]) array of uint8, uint16 or float
            in [0, 1].

    Raises:
        InputError: no image, a broken one, or one smaller than 16x16 or larger than 200 million
            pixels.
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
        deep = None if isinstance(source, Image.Image) else _read_16_bit_colour(source, opened)
        _load(opened, name)
        if deep is not None:
            pixels = _flatten_array(deep)
            profile = opened.info.get("icc_profile")
            if profile and not _is_srgb(profile):
                pixels = _pixels(_to_srgb(Image.fromarray(pixels), profile, name, notes))
        else:
            pixels = _to_rgb(opened, name, notes)
        orientation, exposure_time = _exif(opened)
        pixels = _upright(pixels, orientation)
    finally:
        if opened is not source:
            opened.close()
        elif frame:
            opened.seek(frame)
    jpeg = _read_jpeg(source)
    exif = None if jpeg else opened.info.get("exif")
    return Photo(pixels, tuple(notes), exposure_time, name, jpeg, exif)


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
    with _open_lock, _quiet():
        previous, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            opened = Image.open(file)
        except MemoryError:
            raise
        except Exception as error:
            raise InputError(_not_an_image(name, source)) from error
        finally:
            Image.MAX_IMAGE_PIXELS = previous
    try:
        _check_size(opened.size, name)
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


def fit(image: Pixels, max_side: int) -> Pixels:
    """Shrink (H, W[, C]) so that its longest side is at most ``max_side``, averaging over areas.

    Images that fit already are returned as they are.
    """
    height, width = image.shape[:2]
    longest = max(height, width)
    if longest <= max_side:
        return image
    size = (max(1, round(width * max_side / longest)), max(1, round(height * max_side / longest)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(image.dtype, copy=False)


def row_strips(height: int, width: int) -> Iterator[slice]:
    """Row ranges of about a million pixels, so that no temporary is as large as the image."""
    rows = max(1, _STRIP_PIXELS // max(width, 1))
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


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


def _not_an_image(name: str, source: Any) -> str:
    head = b""
    if isinstance(source, bytes | bytearray | memoryview):
        head = bytes(source[:16])
    else:
        with contextlib.suppress(OSError), open(source, "rb") as stream:
            head = stream.read(16)
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
        return f"{name} is a HEIC photo, which is not read here: save it as JPEG first"
    if head[4:8] == b"ftyp" or head[:4] == b"\x1aE\xdf\xa3":
        return f"{name} is a video, not a photo: give one image ({_FORMATS})"
    return f"{name} is not an image that can be read, or it is damaged: give a {_FORMATS} file"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's remarks on large sizes and damaged EXIF off the screen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _damage_named(name: str) -> Iterator[None]:
    """Pillow meets damage with whatever error its parser ran into: make it one sentence."""
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


def _to_rgb(opened: Image.Image, name: str, notes: list[str]) -> Pixels:
    mode = opened.mode
    if mode.startswith("I") or mode == "F":
        array = np.asarray(opened)
        if mode == "I" and array.size and (array.min() < 0 or array.max() > 65535):
            raise InputError(f"{name} has 32-bit values: save it with 8 or 16 bits per channel")
        if mode == "I" and array.size and array.max() < 256:
            notes.append(f"{name} is nearly black: its values end at {array.max()} of 65535")
        pixels = _from_array(array if mode == "F" else array.astype(np.uint16, copy=False), name)
        opened = Image.fromarray(pixels[..., 0])
        mode = "L"
    profile = opened.info.get("icc_profile")
    transparent = mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in opened.info
    if transparent:
        image = opened.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("L" if mode in ("L", "LA", "La") else "RGB")
    else:
        alpha = None
        # A profile speaks of the file's own channels: keep grey and CMYK until it was applied.
        keep = ("RGB", "L", "CMYK") if profile else ("RGB",)
        image = opened if mode in keep else opened.convert("L" if mode == "1" else "RGB")
    if profile and not _is_srgb(profile):
        image = _to_srgb(image, profile, name, notes)
    return _pixels(image if image.mode == "RGB" else image.convert("RGB"), alpha)


def _pixels(image: Image.Image, alpha: Image.Image | None = None) -> Pixels:
    """RGB image (and alpha) to (H, W, 3) uint8 on white."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for rows in row_strips(image.height, image.width):
        box = (0, rows.start, image.width, rows.stop)
        strip = np.asarray(image.crop(box))
        pixels[rows] = strip if alpha is None else on_white(strip, np.asarray(alpha.crop(box)))
    return pixels


def on_white(color: Pixels, alpha: Pixels) -> Pixels:
    """(H, W, 3) and the opacity (H, W), uint8, as it looks on white."""
    opacity = alpha[..., None].astype(np.uint16)
    return ((color * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)


def _is_srgb(profile: bytes) -> bool:
    """Whether the profile names itself sRGB: converting from it would only round."""
    head = profile[:4096]
    return b"sRGB" in head or "sRGB".encode("utf-16-be") in head


def _to_srgb(image: Image.Image, profile: bytes, name: str, notes: list[str]) -> Image.Image:
    try:
        from PIL import ImageCms

        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[space]
        if (image.mode, mode) == ("L", "RGB"):
            image = image.convert(mode)
        if image.mode != mode:
            raise ValueError(f"a {space} profile on a {image.mode} image")
        converted = ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
        return image.convert("RGB") if converted is None else converted
    except MemoryError:
        raise
    except Exception:
        notes.append(f"the colour profile of {name} could not be applied: colours may be off")
        return image.convert("RGB")


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


def _read_16_bit_colour(source: ImageLike, opened: Image.Image) -> NDArray[np.uint16] | None:
    """16-bit RGB or RGBA, of which Pillow would keep the upper bytes only; else None."""
    if opened.format != "PNG" or opened.mode not in ("RGB", "RGBA"):
        return None
    data = source if isinstance(source, bytes) else None
    if data is None and isinstance(source, bytearray | memoryview):
        data = bytes(source)
    if data is None:
        with open(source, "rb") as stream:  # type: ignore[arg-type]
            head = stream.read(25)
            if len(head) < 25 or head[24] != 16:
                return None
            data = head + stream.read()
    if len(data) < 25 or data[24] != 16 or "transparency" in opened.info:
        return None
    try:
        deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    expected = (opened.height, opened.width, len(opened.mode))
    if deep is None or deep.dtype != np.uint16 or deep.shape != expected:
        return None
    code = cv2.COLOR_BGRA2RGBA if opened.mode == "RGBA" else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(deep, code)  # type: ignore[return-value]


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


def _exif(opened: Image.Image) -> tuple[int, float | None]:
    """Orientation 1 to 8 and exposure time; damaged EXIF counts as none."""
    orientation, exposure = 1, None
    try:
        with _quiet():
            exif = opened.getexif()
            tag = exif.get(ExifTags.Base.Orientation, 1)
            orientation = tag if tag in range(1, 9) else 1
            value = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ExposureTime)
            value = value if value is not None else exif.get(ExifTags.Base.ExposureTime)
            exposure = float(value) if value is not None else None
    except Exception:
        return orientation, None
    if exposure is not None and not (math.isfinite(exposure) and exposure > 0):
        exposure = None
    return orientation, exposure


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    if orientation == 1:
        return pixels
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
