"""Motion Photos: a JPEG with its clip inside, which galleries on Android play (format 1.0).

The file is a JPEG as any other, and an MP4 comes after its end. XMP metadata in the JPEG say so:
https://developer.android.com/media/platform/motion-photo-format.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.dom import minidom
from xml.parsers.expat import ExpatError

from PIL import Image

from b2m.errors import InputError
from b2m.files import atomic_path
from b2m.media.image import Photo, Pixels
from b2m.media.jpeg_parts import (
    APP0,
    APP1,
    Segment,
    end_of_picture,
    replaced,
    segments,
    without_clip,
)
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
_MOST = 65533  # bytes of a segment after its two bytes of length
_QUALITY = 95  # of a photo that was no JPEG
# A document is Any here: minidom's types allow for nodes that cannot come up.
_NAMESPACES = {  # of prefixes that are left undeclared at times
    b"rdf": _RDF.encode(),
    b"GCamera": _CAMERA.encode(),
    b"Camera": _CAMERA.encode(),
    b"Container": _CONTAINER.encode(),
    b"GContainer": _CONTAINER.encode(),
    b"Item": _ITEM.encode(),
    b"crs": b"http://ns.adobe.com/camera-raw-settings/1.0/",
    b"dc": b"http://purl.org/dc/elements/1.1/",
    b"exif": b"http://ns.adobe.com/exif/1.0/",
    b"hdrgm": b"http://ns.adobe.com/hdr-gain-map/1.0/",
    b"photoshop": b"http://ns.adobe.com/photoshop/1.0/",
    b"tiff": b"http://ns.adobe.com/tiff/1.0/",
    b"x": b"adobe:ns:meta/",
    b"xmp": b"http://ns.adobe.com/xap/1.0/",
    b"xmpMM": b"http://ns.adobe.com/xap/1.0/mm/",
}
_EMPTY = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}"/></x:xmpmeta>'


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
    was in it already is replaced. Photos of other formats become JPEGs, with their EXIF and XMP.

    Args:
        path: of the file, NAME.MP.jpg.
        photo: as it was read.
        frames: (H, W, 3) uint8 sRGB, upright, all of one size.
        fps: frames per second.
        shown: number of the frame, from 0 on, that shows the photo's instant.

    Raises:
        InputError: no frames, a wrong ``fps``, or a photo whose XMP or EXIF leave no room.
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
    """A photo as a JPEG, with the EXIF and XMP it came with, now that it is upright."""
    data = photo.exif or b""
    data = data if data.startswith(_EXIF) or not data else _EXIF + data
    if len(data) > _MOST:
        raise InputError(
            f"the EXIF metadata of {photo.name} have {len(data)} bytes, and a JPEG, which a Motion "
            f"Photo is, holds {_MOST}: save it as .mp4, or shorten them"
        )
    options: dict[str, Any] = {"exif": data} if data else {}
    if photo.xmp and len(photo.xmp) + len(_XMP) <= _MOST:
        options["xmp"] = photo.xmp
    buffer = io.BytesIO()
    Image.fromarray(photo.pixels).save(buffer, "JPEG", quality=_QUALITY, subsampling=0, **options)
    return buffer.getvalue()


# --- segments of a JPEG --------------------------------------------------------------------------


def _xmp_of(jpeg: bytes) -> Segment | None:
    for segment in segments(jpeg):
        if segment.marker == APP1 and jpeg.startswith(_XMP, segment.inside):
            return segment
    return None


def _with_xmp(jpeg: bytes, length: int, time: int) -> bytes:
    """Add the XMP of a movie of so many bytes, or amend the present one."""
    old = _xmp_of(jpeg)
    document = _parsed(jpeg, old) or minidom.parseString(_EMPTY)
    _remove_clip_entries(document)
    _add_clip_entries(document, length, time, padding=len(jpeg) - end_of_picture(jpeg))
    assert document.documentElement is not None
    packet = document.documentElement.toxml(encoding="utf-8")
    begin = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'.encode()
    body = _XMP + begin + packet + b'<?xpacket end="w"?>'
    if len(body) > _MOST:
        raise InputError(
            "the photo's own XMP metadata leave no room to tell of a clip: save it as .mp4"
        )
    segment = bytes((0xFF, APP1)) + (len(body) + 2).to_bytes(2) + body
    if old:
        return replaced(jpeg, old.start, old.end, segment)
    at = 2  # after JFIF and EXIF, which have to come first
    for before in segments(jpeg):
        exif = before.marker == APP1 and jpeg.startswith(_EXIF, before.inside)
        if not exif and before.marker != APP0:
            break
        at = before.end
    return replaced(jpeg, at, at, segment)


def _without_movie(jpeg: bytes) -> bytes:
    """Remove the clip of an existing Motion Photo."""
    lengths: list[str] = []
    if document := _parsed(jpeg, _xmp_of(jpeg)):
        lengths += [item.getAttributeNS(_ITEM, "Length") for item in _movies(document)]
        lengths += [
            node.getAttributeNS(_CAMERA, "MicroVideoOffset")  # as the format was called before
            for node in document.getElementsByTagNameNS(_RDF, "Description")
        ]
    return without_clip(jpeg, [int(length) for length in lengths if length.isdecimal()])


# --- XMP -----------------------------------------------------------------------------------------


def _parsed(jpeg: bytes, segment: Segment | None) -> Any:
    """The XMP of a JPEG; where there is none, an empty one; None where it is broken."""
    if segment is None:
        return minidom.parseString(_EMPTY)
    # Room for later growth may follow, also as zeros.
    text = jpeg[segment.inside + len(_XMP) : segment.end].strip(b" \r\n\t\0")
    if b"<!DOCTYPE" in text:  # of which XMP knows nothing, and which may grow without end
        return None
    try:
        document = minidom.parseString(_declared(text))
    except (ExpatError, ValueError):
        return None
    return document if document.getElementsByTagNameNS(_RDF, "RDF") else None


def _declared(text: bytes) -> bytes:
    """XMP with missing namespace declarations added, without which parsers refuse it."""
    used = set(re.findall(rb"[<\s/]([A-Za-z_][\w.-]*):[A-Za-z_][\w.-]*\s*(?=[=\s>/])", text))
    known = set(re.findall(rb"xmlns:([\w.-]+)\s*=", text)) | {b"xml", b"xmlns"}
    root = re.search(rb"<[A-Za-z_][\w.:-]*", text)
    if root is None or used <= known:
        return text
    spaces = b"".join(
        b' xmlns:%s="%s"' % (name, _NAMESPACES.get(name, b"urn:undeclared:" + name))
        for name in sorted(used - known)
    )
    return text[: root.end()] + spaces + text[root.end() :]


def _movies(document: Any) -> list[Any]:
    """Items of the directory that are clips."""
    return [
        item
        for item in document.getElementsByTagNameNS(_CONTAINER, "Item")
        if item.getAttributeNS(_ITEM, "Semantic") == "MotionPhoto"
    ]


def _remove_clip_entries(document: Any) -> None:
    """Remove the entries of an earlier clip."""
    for item in _movies(document):
        entry = item.parentNode
        entry.parentNode.removeChild(entry)
    for node in document.getElementsByTagNameNS(_RDF, "Description"):
        for attribute in list(node.attributes.values()):
            if _is_clip_attribute(attribute):
                node.removeAttributeNode(attribute)
        for child in list(node.childNodes):  # XMP may be written either way
            if _is_clip_attribute(child):
                node.removeChild(child)


def _is_clip_attribute(node: Any) -> bool:
    name: str = node.localName or ""
    return node.namespaceURI == _CAMERA and name.startswith(("MotionPhoto", "MicroVideo"))


def _add_clip_entries(document: Any, length: int, time: int, padding: int) -> None:
    """Add the entries of a clip of so many bytes, with the time of the photo in it."""
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
    values = {"": 1, "Version": 1, "PresentationTimestampUs": time}
    for name, value in values.items():
        told.setAttributeNS(_CAMERA, f"Camera:MotionPhoto{name}", str(value))
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
        still = {"Mime": "image/jpeg", "Semantic": "Primary", "Length": 0, "Padding": padding}
        _add_item(document, sequences[0], names, **still)
    clip = {"Mime": "video/mp4", "Semantic": "MotionPhoto", "Length": length, "Padding": 0}
    _add_item(document, sequences[0], names, **clip)


def _add_item(document: Any, sequence: Any, names: tuple[str, str], **told: object) -> None:
    rdf, (container, prefix) = sequence.prefix, names
    entry = document.createElementNS(_RDF, f"{rdf}:li")
    entry.setAttributeNS(_RDF, f"{rdf}:parseType", "Resource")
    item = document.createElementNS(_CONTAINER, f"{container}:Item")
    item.setAttributeNS(_XMLNS, f"xmlns:{prefix}", _ITEM)
    for name, value in told.items():
        item.setAttributeNS(_ITEM, f"{prefix}:{name}", str(value))
    entry.appendChild(item)
    sequence.appendChild(entry)
