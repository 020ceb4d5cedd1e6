"""Parts of a JPEG file around its picture: segments, MPF, Samsung's trailer, clips."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

MPF = b"MPF\0"
EOI, SOS, APP0, APP1, APP2 = 0xD9, 0xDA, 0xE0, 0xE1, 0xE2
_STANDALONE_MARKERS = {0x01, *range(0xD0, 0xD8)}  # markers that have no length
_MP_ENTRIES = 0xB002
_SAMSUNG_CLIP = (0x0A30, 0x0A31)  # MotionPhoto_Data and MotionPhoto_Version


class Segment(NamedTuple):
    """Of a JPEG: its marker, where it starts, where its contents start, and where it ends."""

    marker: int
    start: int
    inside: int
    end: int


def segments(jpeg: bytes) -> Iterator[Segment]:
    """The segments before the picture's data."""
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if marker == 0xFF:  # one that fills a gap
            at += 1
        elif marker in _STANDALONE_MARKERS:
            at += 2
        elif marker in (SOS, EOI):
            return
        else:
            end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4])
            yield Segment(marker, at, at + 4, end)
            at = end


def end_of_picture(jpeg: bytes) -> int:
    """Where the first picture of a file ends; previews and the like may follow."""
    at = max((segment.end for segment in segments(jpeg)), default=2)
    while (at := jpeg.find(b"\xff", at)) >= 0 and at + 1 < len(jpeg):
        marker = jpeg[at + 1]
        if marker == EOI:
            return at + 2
        if marker in (0x00, 0xFF) or marker in _STANDALONE_MARKERS:  # data, or a pause within them
            at += 1 if marker == 0xFF else 2
        else:
            at += 2 + int.from_bytes(jpeg[at + 2 : at + 4])
    return len(jpeg)


def replaced(jpeg: bytes, start: int, end: int, segment: bytes) -> bytes:
    """A JPEG with a segment in place of what was there; where further pictures lie is amended.

    The Multi-Picture Format (CIPA DC-007) counts from its own segment on, and from the file's
    beginning for the first picture's size.
    """
    more = len(segment) - (end - start)
    changed = bytearray(jpeg[:start] + segment + jpeg[end:])
    for part in segments(jpeg):
        if part.marker != APP2 or not jpeg.startswith(MPF, part.inside):
            continue
        base = part.inside + len(MPF)
        moved = more if base >= end else 0
        for entry, order in _mp_entries(jpeg, base, part.end):
            size, offset = struct.unpack_from(order + "II", jpeg, entry + 4)
            if offset == 0:
                size += more if start < size else 0
            else:
                offset += (more if base + offset >= end else 0) - moved
            if 0 <= size < 1 << 32 and 0 <= offset < 1 << 32:
                struct.pack_into(order + "II", changed, entry + moved + 4, size, offset)
    return bytes(changed)


def _mp_entries(jpeg: bytes, base: int, end: int) -> Iterator[tuple[int, str]]:
    """Where the entries of an MPF segment lie, and the order of its bytes; none if it is broken."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(jpeg[base : base + 4])
    if order is None or base + 10 > end:
        return
    directory = base + struct.unpack_from(order + "I", jpeg, base + 4)[0]
    if directory + 2 > end:
        return
    for number in range(struct.unpack_from(order + "H", jpeg, directory)[0]):
        place = directory + 2 + 12 * number
        if place + 12 > end:
            return
        tag, _, count, where = struct.unpack_from(order + "HHII", jpeg, place)
        if tag == _MP_ENTRIES:
            for entry in range(base + where, min(base + where + count, end) - 15, 16):
                yield entry, order


def without_clip(jpeg: bytes, lengths: list[int]) -> bytes:
    """Remove the clip of an existing Motion Photo.

    Args:
        jpeg: the file.
        lengths: of the clip, as XMP tells them.
    """
    jpeg = _without_samsung(jpeg)
    for length in lengths:
        start = len(jpeg) - length
        if 0 < length < len(jpeg) and jpeg[start + 4 : start + 8] == b"ftyp":
            return _without_samsung(jpeg[:start])
    at = end_of_picture(jpeg)
    while (at := jpeg.find(b"ftyp", at)) >= 0:
        if _is_movie(jpeg, at - 4):
            return _without_samsung(jpeg[: at - 4])
        at += 4
    return jpeg


def _is_movie(data: bytes, start: int) -> bool:
    """Whether boxes of an MP4 lead from here exactly to the end."""
    names = set()
    while start + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, start)
        if length == 1 and start + 16 <= len(data):
            (length,) = struct.unpack_from(">Q", data, start + 8)
        length = len(data) - start if length == 0 else length
        if length < 8:
            return False
        names.add(name)
        start += length
    return start == len(data) and b"moov" in names


def _without_samsung(jpeg: bytes) -> bytes:
    """Remove the clip from Samsung's trailer, and keep the rest of it."""
    if jpeg[-4:] != b"SEFT" or len(jpeg) < 20:
        return jpeg
    (length,) = struct.unpack_from("<I", jpeg, len(jpeg) - 8)
    head = len(jpeg) - 8 - length
    if head < 0 or length < 12 or jpeg[head : head + 4] != b"SEFH":
        return jpeg
    version, count = struct.unpack_from("<II", jpeg, head + 4)
    if 12 + 12 * count > length:
        return jpeg
    entries = [struct.unpack_from("<HHII", jpeg, head + 12 + 12 * n) for n in range(count)]
    if any(size > offset or offset > head for _, _, offset, size in entries):
        return jpeg
    kept = [entry for entry in entries if entry[1] not in _SAMSUNG_CLIP]
    if len(kept) == count:
        return jpeg
    start = head - max(offset for _, _, offset, _ in entries)
    if not kept:
        return jpeg[:start]
    blocks = [jpeg[head - offset : head - offset + size] for _, _, offset, size in kept]
    left, table = sum(map(len, blocks)), b""
    for (mark, kind, _, size), block in zip(kept, blocks, strict=True):
        table += struct.pack("<HHII", mark, kind, left, size)
        left -= len(block)
    trailer = b"SEFH" + struct.pack("<II", version, len(kept)) + table
    end = struct.pack("<I", len(trailer)) + b"SEFT"
    return jpeg[:start] + b"".join(blocks) + trailer + end
