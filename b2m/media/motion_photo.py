"""Motion Photos: a JPEG with its clip inside, which galleries on Android play (format 1.0).

The file is a JPEG as any other, and an MP4 comes after its end. XMP metadata in the JPEG say so:
https://developer.android.com/media/platform/motion-photo-format.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.dom import minidom
from xml.parsers.expat import ExpatError

from PIL import Image

from b2m.errors import InputError
from b2m.files import atomic_path
from b2m.media.image import Photo, Pixels
from b2m.media.video import write_mp4

SUFFIX = ".MP.jpg"
"""By which galleries know a Motion Photo; the case of its letters counts there."""

_CAMERA = "http://ns.google.com/photos/1.0/camera/"
_CONTAINER = "http://ns.google.com/photos/1.0/container/"
_ITEM = "http://ns.google.com/photos/1.0/container/item/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMLNS = "http://www.w3.org/2000/xmlns/"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_EXIF = b"Exif\0\0"
_START, _END, _SCAN, _APP0, _APP1 = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1
_BARE = {0x01, *range(0xD0, 0xD8)}  # markers that have no length
_MOST = 65533  # bytes of a segment after its two bytes of length
_QUALITY = 95  # of a photo that was no JPEG
# A document is Any here: minidom's types allow for nodes that cannot come up.
_EMPTY = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}"/></x:xmpmeta>'


class _Segment(NamedTuple):
    """Of a JPEG: its marker, where it starts, where its contents start, and where it ends."""

    marker: int
    start: int
    inside: int
    end: int


def is_motion_photo(path: str | os.PathLike[str]) -> bool:
    """Whether a name asks for a Motion Photo: NAME.MP.jpg, in letters of any case."""
    return os.fspath(path).lower().endswith((SUFFIX.lower(), ".mp.jpeg"))


def write_motion_photo(
    path: str | os.PathLike[str],
    photo: Photo,
    frames: Iterable[Pixels],
    fps: float,
    shown: int,
) -> None:
    """Write a photo with its clip inside.

    A JPEG stays as it is, byte by byte, but for the XMP segment that tells of the clip; a clip that
    was in it already is replaced. Photos of other formats become JPEGs, with their EXIF.

    Args:
        path: of the file, NAME.MP.jpg.
        photo: as it was read.
        frames: (H, W, 3) uint8 sRGB, upright, all of one size.
        fps: frames per second.
        shown: number of the frame, from 0 on, that shows the photo's instant.

    Raises:
        InputError: no frames, a wrong ``fps``, or a photo whose XMP leaves no room.
        OutputError: the folder is missing, not writable or full.
    """
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        write_mp4(clip, frames, fps)
        movie = clip.read_bytes()
    still = _without_movie(photo.jpeg or _encoded(photo))
    whole = _with_xmp(still, len(movie), round(1e6 * shown / fps)) + movie
    with atomic_path(path) as temporary:
        temporary.write_bytes(whole)


def _encoded(photo: Photo) -> bytes:
    """A photo as a JPEG, with the EXIF it came with, now that it is upright."""
    buffer = io.BytesIO()
    exif = Image.Exif()
    if photo.exif:
        exif.load(photo.exif)
        exif.pop(0x0112, None)
    Image.fromarray(photo.pixels).save(buffer, "JPEG", quality=_QUALITY, subsampling=0, exif=exif)
    return buffer.getvalue()


# --- segments of a JPEG --------------------------------------------------------------------------


def _segments(jpeg: bytes) -> Iterator[_Segment]:
    """The segments before the picture's data."""
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if marker == 0xFF:  # one that fills a gap
            at += 1
        elif marker in _BARE:
            at += 2
        elif marker in (_SCAN, _END):
            return
        else:
            end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4])
            yield _Segment(marker, at, at + 4, end)
            at = end


def _end_of_picture(jpeg: bytes) -> int:
    """Where the first picture of a file ends; previews and the like may follow."""
    at = max((segment.end for segment in _segments(jpeg)), default=2)
    while (at := jpeg.find(b"\xff", at)) >= 0 and at + 1 < len(jpeg):
        marker = jpeg[at + 1]
        if marker == _END:
            return at + 2
        if marker in (0x00, 0xFF) or marker in _BARE:  # data, or a pause within them
            at += 1 if marker == 0xFF else 2
        else:
            at += 2 + int.from_bytes(jpeg[at + 2 : at + 4])
    return len(jpeg)


def _xmp_of(jpeg: bytes) -> _Segment | None:
    for segment in _segments(jpeg):
        if segment.marker == _APP1 and jpeg.startswith(_XMP, segment.inside):
            return segment
    return None


def _with_xmp(jpeg: bytes, length: int, time: int) -> bytes:
    """Put in the XMP that tells of a movie of so many bytes, or amend what there is."""
    old = _xmp_of(jpeg)
    document = _parsed(jpeg, old)
    _forget(document)
    _announce(document, length, time, padding=len(jpeg) - _end_of_picture(jpeg))
    packet = document.documentElement.toxml(encoding="utf-8")
    begin = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'.encode()
    body = _XMP + begin + packet + b'<?xpacket end="w"?>'
    if len(body) > _MOST:
        raise InputError(
            "the photo's own XMP metadata leave no room to tell of a clip: save it as .mp4"
        )
    segment = bytes((0xFF, _APP1)) + (len(body) + 2).to_bytes(2) + body
    if old:
        return jpeg[: old.start] + segment + jpeg[old.end :]
    at = 2  # after JFIF and EXIF, which have to come first
    for before in _segments(jpeg):
        exif = before.marker == _APP1 and jpeg.startswith(_EXIF, before.inside)
        if not exif and before.marker != _APP0:
            break
        at = before.end
    return jpeg[:at] + segment + jpeg[at:]


def _without_movie(jpeg: bytes) -> bytes:
    """Cut off the clip of what is a Motion Photo already."""
    document = _parsed(jpeg, _xmp_of(jpeg))
    lengths = [item.getAttributeNS(_ITEM, "Length") for item in _movies(document)]
    lengths += [
        node.getAttributeNS(_CAMERA, "MicroVideoOffset")  # as the format was called before
        for node in document.getElementsByTagNameNS(_RDF, "Description")
    ]
    for length in lengths:
        start = len(jpeg) - int(length) if length.isdecimal() else 0
        if start > 0 and jpeg[start + 4 : start + 8] == b"ftyp":
            return jpeg[:start]
    return jpeg


# --- XMP -----------------------------------------------------------------------------------------


def _parsed(jpeg: bytes, segment: _Segment | None) -> Any:
    """The XMP of a JPEG; where there is none, or it is broken, an empty one."""
    if segment is not None:
        # Room for later growth may follow, also as zeros.
        text = jpeg[segment.inside + len(_XMP) : segment.end].strip(b" \r\n\t\0")
        try:
            document = minidom.parseString(text)
        except (ExpatError, ValueError):
            pass
        else:
            if document.getElementsByTagNameNS(_RDF, "RDF"):
                return document
    return minidom.parseString(_EMPTY)


def _movies(document: Any) -> list[Any]:
    """Items of the directory that speak of a clip."""
    return [
        item
        for item in document.getElementsByTagNameNS(_CONTAINER, "Item")
        if item.getAttributeNS(_ITEM, "Semantic") == "MotionPhoto"
    ]


def _forget(document: Any) -> None:
    """Take out what is said about an earlier clip."""
    for item in _movies(document):
        entry = item.parentNode
        entry.parentNode.removeChild(entry)
    for node in document.getElementsByTagNameNS(_RDF, "Description"):
        for attribute in list(node.attributes.values()):
            if _speaks_of_a_clip(attribute):
                node.removeAttributeNode(attribute)
        for child in list(node.childNodes):  # XMP may be written either way
            if _speaks_of_a_clip(child):
                node.removeChild(child)


def _speaks_of_a_clip(node: Any) -> bool:
    name: str = node.localName or ""
    return node.namespaceURI == _CAMERA and name.startswith(("MotionPhoto", "MicroVideo"))


def _announce(document: Any, length: int, time: int, padding: int) -> None:
    """Say that a clip of so many bytes follows, and when in it the photo's instant is."""
    root = document.getElementsByTagNameNS(_RDF, "RDF")[0]
    descriptions = root.getElementsByTagNameNS(_RDF, "Description")
    if descriptions:  # readers expect it in the first
        told = descriptions[0]
    else:
        told = root.appendChild(document.createElementNS(_RDF, f"{root.prefix}:Description"))
        told.setAttributeNS(_RDF, f"{root.prefix}:about", "")
    # Readers on Android look for these very prefixes.
    for prefix, space in (("Camera", _CAMERA), ("Container", _CONTAINER), ("Item", _ITEM)):
        told.setAttributeNS(_XMLNS, f"xmlns:{prefix}", space)
    for name, value in (
        ("MotionPhoto", 1),
        ("MotionPhotoVersion", 1),
        ("MotionPhotoPresentationTimestampUs", time),
    ):
        told.setAttributeNS(_CAMERA, f"Camera:{name}", str(value))
    sequences = [
        sequence
        for directory in document.getElementsByTagNameNS(_CONTAINER, "Directory")
        for sequence in directory.getElementsByTagNameNS(_RDF, "Seq")
    ]
    if sequences:  # that of a gain map, which comes before the clip
        prefix = sequences[0].parentNode.prefix
        names = (prefix, "GContainerItem" if prefix == "GContainer" else "Item")
    else:
        directory = document.createElementNS(_CONTAINER, "Container:Directory")
        sequences = [document.createElementNS(_RDF, f"{root.prefix}:Seq")]
        told.appendChild(directory).appendChild(sequences[0])
        names = ("Container", "Item")
        _add_item(document, sequences[0], names, "image/jpeg", "Primary", 0, padding)
    _add_item(document, sequences[0], names, "video/mp4", "MotionPhoto", length, 0)


def _add_item(
    document: Any,
    sequence: Any,
    names: tuple[str, str],
    mime: str,
    semantic: str,
    length: int,
    padding: int,
) -> None:
    rdf, (container, prefix) = sequence.prefix, names
    entry = document.createElementNS(_RDF, f"{rdf}:li")
    entry.setAttributeNS(_RDF, f"{rdf}:parseType", "Resource")
    item = document.createElementNS(_CONTAINER, f"{container}:Item")
    item.setAttributeNS(_XMLNS, f"xmlns:{prefix}", _ITEM)
    for name, value in (
        ("Mime", mime),
        ("Semantic", semantic),
        ("Length", length),
        ("Padding", padding),
    ):
        item.setAttributeNS(_ITEM, f"{prefix}:{name}", str(value))
    entry.appendChild(item)
    sequence.appendChild(entry)
