"""Features of photo files that Pillow ignores: oversized texts, 16 bits, colour code points."""

from __future__ import annotations

import contextlib
import io
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from b2m.errors import InputError

PNG_START = b"\x89PNG\r\n\x1a\n"
_TIFF_STARTS = (b"II*\0", b"MM\0*")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_KEPT_TEXTS = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0", b"Raw profile type APP1\0")
_MAX_TEXT = 1 << 20  # bytes, of what is kept; Pillow refuses the whole file for more
_CFA, _LINEAR_RAW = 32803, 34892  # photometric interpretations of raw photos
_DARK = 16384  # 14 of 16 bits


# --- PNG ------------------------------------------------------------------------------------------


def png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and length of each chunk of a PNG, the whole of it, from first to last."""
    file.seek(0, io.SEEK_END)
    size, at = file.tell(), len(PNG_START)
    while at + 12 <= size:
        file.seek(at)
        head = file.read(8)
        length = int.from_bytes(head[:4], "big") + 12
        yield head[4:], at, length
        at += length


def without_texts(file: BinaryIO) -> BinaryIO | None:
    """A PNG without texts, which may be as long as they like; None where there are none.

    XMP and EXIF are kept, if they are not too long.
    """
    chunks = list(png_chunks(file))
    if not any(name in _TEXTS for name, _, _ in chunks):
        return None
    left = io.BytesIO()
    left.write(PNG_START)
    for name, start, length in chunks:
        file.seek(start)
        if name in _TEXTS:
            text = file.read(length)
            if length < _MAX_TEXT and text[8:].startswith(_KEPT_TEXTS) and _short(name, text):
                left.write(text)
        else:
            left.write(file.read(length))
    left.seek(0)
    return left


def _short(name: bytes, chunk: bytes) -> bool:
    """Whether a text is not too long once it is unpacked."""
    start = 8 + chunk[8:].index(b"\0") + 2
    if name == b"tEXt" or (name == b"iTXt" and chunk[start - 1] == 0):
        return True
    with contextlib.suppress(zlib.error):
        unpacking = zlib.decompressobj()
        # Of iTXt, two more texts come before what is packed.
        packed = chunk[start:-4] if name == b"zTXt" else chunk[start + 1 : -4].split(b"\0", 2)[-1]
        unpacking.decompress(packed, _MAX_TEXT)
        return not unpacking.unconsumed_tail
    return False


def read_cicp(file: BinaryIO, format: str | None) -> tuple[int, int] | None:
    """Colour primaries and transfer characteristic of H.273 that a PNG or AVIF names, or None."""
    if format == "PNG":
        for name, start, length in png_chunks(file):
            if name == b"cICP" and length == 16:
                file.seek(start + 8)
                return tuple(file.read(2))  # type: ignore[return-value]
            if name == b"IDAT":
                return None
    if format == "AVIF":
        file.seek(0)
        return _of_boxes(file.read(1 << 20))
    return None


def _of_boxes(data: bytes) -> tuple[int, int] | None:
    """From the first box of colour in an AVIF's metadata, which is that of the picture itself."""
    start, end = 0, len(data)
    for name in (b"meta", b"iprp", b"ipco"):
        found = next((box for box in _boxes(data, start, end) if box[0] == name), None)
        if found is None:
            return None
        _, start, end = found
        start += 4 * (name == b"meta")  # its version
    for name, inside, _ in _boxes(data, start, end):
        if name == b"colr" and data[inside : inside + 4] == b"nclx":
            numbers = data[inside + 4 : inside + 8]
            return int.from_bytes(numbers[:2], "big"), int.from_bytes(numbers[2:], "big")
    return None


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start of the contents and end of each box."""
    while start + 8 <= end:
        length = int.from_bytes(data[start : start + 4], "big")
        if length < 8:
            return
        yield data[start + 4 : start + 8], start + 8, min(start + length, end)
        start += length


# --- TIFF -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tiff:
    """Properties of the first directory of a TIFF.

    Attributes:
        bits: per channel.
        float: whether the values are floating-point numbers.
        planar: whether each channel is stored by itself.
        white_is_zero: whether light is small.
        raw: whether it is a camera's raw photo, of which this is a thumbnail.
    """

    bits: int = 8
    float: bool = False
    planar: bool = False
    white_is_zero: bool = False
    raw: bool = False


def read_tiff(file: BinaryIO) -> Tiff | None:
    """Read a TIFF's header; None where the file is no TIFF, or damaged."""
    file.seek(0)
    head = file.read(8)
    if head[:4] not in _TIFF_STARTS:
        return None
    try:
        tags = _directory(
            head, file, int.from_bytes(head[4:], "little" if head[:2] == b"II" else "big")
        )
        others = tags.get(330, ())
        others = others if isinstance(others, tuple) else (others,)
        kinds = {tags.get(262)}
        kinds |= {_directory(head, file, place).get(262) for place in others[:16]}
        bits = tags.get(258, 1)
        bits = max(bits) if isinstance(bits, tuple) else bits
        kind = tags.get(339, 1)
        kind = max(kind) if isinstance(kind, tuple) else kind
    except Exception:  # whatever the parser ran into; Pillow will say that it is damaged
        return None
    planar = tags.get(284) == 2 and tags.get(277, 1) > 1
    raw = 50706 in tags or bool(kinds & {_CFA, _LINEAR_RAW})
    return Tiff(bits, kind == 3, planar, tags.get(262) == 0, raw)


def _directory(head: bytes, file: BinaryIO, place: int) -> dict[int, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tags = TiffImagePlugin.ImageFileDirectory_v2(head)
        file.seek(place)
        tags.load(file)
        wanted = (258, 262, 277, 284, 330, 339, 50706)
        return {tag: tags[tag] for tag in wanted if tag in tags}


def refuse_tiff(tiff: Tiff, name: str, mode: str = "") -> None:
    """Refuse kinds of TIFF that would be read wrong.

    Args:
        tiff: what its header says.
        name: for the sentence.
        mode: as Pillow opened it; "F" is grey, which it reads.

    Raises:
        InputError: a raw photo, floating-point colours, or 16-bit channels one after the other.
    """
    if tiff.raw:
        raise InputError(
            f"{name} is a raw photo, in which only a thumbnail could be read: develop it first, "
            "and save it as JPEG or 16-bit TIFF"
        )
    if tiff.float and mode != "F":
        raise InputError(
            f"{name} holds floating-point numbers ({tiff.bits} bits): save it with 8 or 16 bits "
            "per channel"
        )
    if tiff.planar and tiff.bits > 8:
        raise InputError(
            f"{name} stores its {tiff.bits}-bit channels one after the other (planar), which is "
            "not read here: save it interleaved"
        )


# --- 16 bits --------------------------------------------------------------------------------------


def read_16_bit(file: BinaryIO, opened: Image.Image, tiff: Tiff | None) -> Any:
    """16-bit colour, of which Pillow would keep the upper bytes only.

    Args:
        file: the photo's, whole.
        opened: by Pillow.
        tiff: what its header says, of a TIFF.

    Returns:
        (H, W, 3 | 4) uint16, or None where the photo is another.
    """
    if opened.mode not in ("RGB", "RGBA", "LA") or "transparency" in opened.info:
        return None
    file.seek(0)
    if tiff is not None:
        if tiff.bits != 16 or opened.mode == "LA":
            return None
    elif opened.format != "PNG" or file.read(25)[24:] != b"\x10":
        return None
    file.seek(0)
    try:
        deep = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    channels = 3 if opened.mode == "RGB" else 4
    shape = (opened.height, opened.width, channels)
    if deep is None or deep.dtype != np.uint16 or deep.shape != shape:
        return None
    return cv2.cvtColor(deep, cv2.COLOR_BGRA2RGBA if channels == 4 else cv2.COLOR_BGR2RGB)


def note_dark(values: NDArray[np.uint16], name: str, notes: list[str]) -> None:
    """Warn of 16-bit values that use a part of the range, as those of 12-bit cameras."""
    most = int(values.max()) if values.size else 65535
    if most < _DARK:
        bits = max(8, most.bit_length())
        bits += bits % 2
        notes.append(
            f"{name} is nearly black: its values end at {most} of 65535; if they have {bits} "
            f"bits, multiply them by {1 << 16 - bits}"
        )


@contextlib.contextmanager
def whole_file(source: Any) -> Iterator[BinaryIO]:
    """A path or the bytes of a file, to be read."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source)
    else:
        with Path(source).open("rb") as file:
            yield file
