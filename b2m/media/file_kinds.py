"""Kinds of files by their first bytes, whatever their names."""

from __future__ import annotations

HEAD_BYTES = 4096
"""As many bytes of a file's beginning tell what it is."""

HEIC = "a HEIC photo"
_STARTS = (
    (b"8BPS", "a Photoshop file"),
    (b"%!PS", "an EPS or PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "an EPS file"),
    (b"%PDF", "a PDF document"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"v/1\x01", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance HDR image"),
    (b"#?RGBE", "a Radiance HDR image"),
    (b"FUJIFILMCCD-RAW", "a raw photo"),
    (b"FOVb", "a raw photo"),
    (b"\0MRM", "a raw photo"),
    (b"IIRO", "a raw photo"),
    (b"IIRS", "a raw photo"),
    (b"IIU\0", "a raw photo"),
    (b"SIMPLE  =", "a FITS image"),
    (b"gimp xcf", "a GIMP file"),
    (b"\0\0\1\0", "an icon"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\0\5\x16\7", "an AppleDouble file, which macOS keeps beside the real one"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
)
_PHOTOS = (
    (b"\xff\xd8\xff", "a JPEG photo"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"BM", "a BMP image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
)
_PLAYLISTS = (
    b"#extm3u", b"ffconcat", b"file '", b"file ", b"[playlist]", b"[reference]", b"v=0", b"<asx",
    b"<smil", b"rtsp://", b"http://", b"https://",
)  # fmt: skip
_HEIF = {b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"hevc", b"hevx"}


def kind_of(head: bytes) -> str | None:
    """The kind of a file that is neither photo nor video, or None.

    Args:
        head: its first `HEAD_BYTES` bytes.
    """
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    if brand in _HEIF:
        return HEIC
    if brand == b"crx " or (head[:4] in (b"II*\0", b"MM\0*") and head[8:10] == b"CR"):
        return "a raw photo"
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if is_playlist(head):
        return "a playlist, which only names other files"
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if b"<svg" in text[:1024]:
        return "an SVG drawing"
    return None


def is_playlist(head: bytes) -> bool:
    """Whether a file names other files that FFmpeg would open: M3U8, ffconcat, SDP, DASH …"""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<") and (b"<mpd" in text or b"<smoothstreaming" in text):
        return True
    return text.startswith(_PLAYLISTS)


def is_video(head: bytes) -> bool:
    """Whether a file is one of the usual videos."""
    if head[4:8] == b"ftyp":
        return head[8:12] not in _HEIF | {b"avif", b"avis", b"crx "}
    riff = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    return riff or head[4:8] in (b"moov", b"mdat") or head[:4] in (b"\x1aE\xdf\xa3", b"OggS")


def photo_kind(head: bytes) -> str | None:
    """What kind of photo a file is, or None."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a WebP image"
    if head[4:12] == b"ftypavif":
        return "an AVIF image"
    return next((kind for start, kind in _PHOTOS if head.startswith(start)), None)
