"""Reading videos: only the file itself is opened, and frames are as a player shows them."""

from __future__ import annotations

import contextlib
import os
import types
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np

from b2m.errors import InputError
from b2m.files import check_file
from b2m.media.color_spaces import GAMUTS, HDR_TRANSFERS, cicp_to_srgb
from b2m.media.file_kinds import HEAD_BYTES, is_playlist, kind_of, photo_kind
from b2m.media.image import Pixels, on_white, reoriented

MAX_FRAME_PIXELS = 50_000_000
"""Videos with larger frames are refused from their header, before anything is decoded."""

CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,av1,obu,ivf,"
    "gif,apng,webp,flv,asf,ogg,mxf,dv,nut,mjpeg,yuv4mpegpipe"
)
"""Containers that FFmpeg may read, by their contents. None of them names other files to open."""

_SLICED_PIXELS = 9_000_000  # frames above are decoded one at a time, as each takes much memory
_MAX_ASPECT = 8  # of a pixel's sides; beyond, the number is wrong
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # RFC 8794 and 9559


@dataclass(frozen=True)
class Video:
    """A video on disk. Iterating decodes it from the start: (H, W, 3) uint8 sRGB, upright.

    Frames have square pixels and are deinterlaced; HDR is mapped to the range of sRGB, and what is
    transparent is white.

    Attributes:
        path: of the file.
        fps: mean frames per second.
        width: in pixels, as shown.
        height: in pixels, as shown.
        frames: as the file claims, or 0 where it does not say.
        time_base: seconds; the file's times are multiples of it.
        warnings: sentences about what was changed.
        max_pixels: that a frame may have.
    """

    path: Path
    fps: float
    width: int
    height: int
    frames: int
    time_base: Fraction = Fraction(1, 90000)
    warnings: tuple[str, ...] = ()
    max_pixels: int = MAX_FRAME_PIXELS

    def __iter__(self) -> Iterator[Pixels]:
        """Decode one frame at a time.

        Raises:
            InputError: the file turns out to be damaged, or its frames differ in size.
        """
        return (pixels for pixels, _ in self.frames_with_times())

    def frames_with_times(self) -> Iterator[tuple[Pixels, tuple[Fraction, Fraction]]]:
        """The same with the times at which a frame comes and goes, if no other came: seconds.

        Both count from the beginning of the file, and grow from frame to frame.

        Raises:
            InputError: the file turns out to be damaged, or its frames differ in size.
        """
        usual = 1 / Fraction(self.fps).limit_denominator(1_000_000)
        with open_video(self.path, self.max_pixels) as (container, stream):
            last = ((stream.start_time or 0) + (stream.duration or 0)) * self.time_base
            aspect = sample_aspect_ratio(stream)
            count, start, end, moved = 0, Fraction(0), Fraction(0), Fraction(0)
            for frame in decode(container, stream, self.path):
                # Some files do not say when a frame comes, or say that it comes before another.
                known = end if frame.pts is None else frame.pts * frame.time_base + moved
                if count and known < start - usual:  # a stream that was joined to another
                    moved, last, known = moved + end - known, Fraction(0), end
                start = max(known, start + self.time_base) if count else known
                end = start + (frame.duration * frame.time_base if frame.duration else usual)
                # Where frames are stored in another order, the duration may be another frame's.
                end = min(end, last) if start < last else end
                count += 1
                yield to_upright_rgb(frame, aspect), (start, end)
            # What has no index may end in silence where it was cut.
            if not len(stream.index_entries) and count < 0.9 * self.frames:
                raise InputError(_damaged(self.path))

    def count(self) -> int:
        """How many frames there are, counted without decoding them, in a fraction of the time.

        Raises:
            InputError: the file is damaged.
        """
        import av

        with open_video(self.path, self.max_pixels) as (container, stream):
            try:
                return sum(p.size > 0 and not p.is_discard for p in container.demux(stream))
            except av.error.FFmpegError as error:
                raise InputError(_damaged(self.path)) from error


def read_video(path: str | os.PathLike[str], *, max_pixels: int = MAX_FRAME_PIXELS) -> Video:
    """Open a video; its frames come by iterating over the result, as often as wanted.

    Args:
        path: of the file.
        max_pixels: that a frame may have; larger ones are refused before one is decoded.

    Raises:
        InputError: missing, a folder, unreadable, empty, not a video, truncated, or with too large
            frames.
    """
    file = check_file(Path(path), "video")
    with open_video(file, max_pixels) as (container, stream):
        if is_truncated(file):
            raise InputError(f"{path} is truncated: get a complete copy of it")
        if _lacks_data(file, stream):
            raise InputError(_damaged(file))
        first = next(decoded_frames(container, stream, file), None)
        if first is None:
            raise InputError(f"{path} is not a video that can be read, or it is damaged")
        height, width = to_upright_rgb(first, sample_aspect_ratio(stream)).shape[:2]
        notes = []
        if name := HDR_TRANSFERS.get(int(first.color_trc)):
            notes.append(
                f"{Path(path).name} is an HDR video ({name}): its brightness was mapped to the "
                "range of ordinary screens"
            )
        if first.interlaced_frame:
            notes.append(f"{Path(path).name} is interlaced: it was deinterlaced")
        rate = stream.average_rate or stream.guessed_rate or 25
        time_base = stream.time_base or Fraction(1, 90000)
        return Video(
            file, float(rate), width, height, stream.frames, time_base, tuple(notes), max_pixels
        )


@contextlib.contextmanager
def open_video(path: Path, max_pixels: int = MAX_FRAME_PIXELS) -> Iterator[tuple[Any, Any]]:
    """Open a video so that FFmpeg sees its bytes and nothing else.

    It is read through Python's file, so that neither its name nor its contents can make FFmpeg open
    another file or an address; and only `CONTAINERS` are tried.

    Args:
        path: of the file.
        max_pixels: that a frame may have.

    Yields:
        PyAV's container, and its stream of video.

    Raises:
        InputError: not such a video, or one with too large frames.
    """
    import av

    def refuse(*_: object) -> BinaryIO:
        raise InputError(f"{path} names other files, which are not opened: give the video itself")

    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if is_playlist(head) or kind_of(head):
            raise InputError(_not_a_video(path, head))
        file.seek(0)
        # Without a name, by which FFmpeg would choose among containers.
        nameless = types.SimpleNamespace(read=file.read, seek=file.seek, tell=file.tell)
        limits = {"max_pixels": str(max_pixels)}
        options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "none", **limits}
        try:
            container = av.open(
                nameless, "r", options=options, io_open=refuse, metadata_errors="replace"
            )
        except (av.error.FFmpegError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(_not_a_video(path, head)) from error
        with container:
            # Not a cover, nor a still picture beside the film.
            stream: Any = container.streams.best("video")
            if stream is None or stream.codec_context is None:
                raise InputError(_not_a_video(path, head))
            context = stream.codec_context
            if context.width * context.height > max_pixels:
                raise InputError(
                    f"{path} has frames of {context.width}x{context.height} pixels: at most "
                    f"{max_pixels / 1e6:g} million are read; make it smaller first"
                )
            large = context.width * context.height > _SLICED_PIXELS
            stream.thread_type = "SLICE" if large else "AUTO"
            context.options = {**context.options, **limits}
            yield container, stream


def _not_a_video(path: Path, head: bytes) -> str:
    if kind := kind_of(head):
        return f"{path} is {kind}: give the video itself"
    if kind := photo_kind(head):
        return f"{path} is {kind}, not a video that can be read: animate it as a photo"
    return f"{path} is not a video that can be read, or it is damaged"


def _damaged(path: Path) -> str:
    return f"{path} is damaged or truncated: get a complete copy of it"


# --- frames ---------------------------------------------------------------------------------------


def decode(container: Any, stream: Any, path: Path) -> Iterator[Any]:
    """PyAV's frames, deinterlaced where they are interlaced.

    Where a clip was cut out of another without encoding it anew, what comes before its first whole
    frame cannot be shown, and is passed over, as players do.

    Raises:
        InputError: a frame is damaged, or of another size than the first.
    """
    frames = decoded_frames(container, stream, path)
    for frame in frames:
        if frame.interlaced_frame:
            yield from _deinterlaced(frame, frames)
            return
        yield frame


def decoded_frames(container: Any, stream: Any, path: Path) -> Iterator[Any]:
    """PyAV's frames as they are stored; see `decode`."""
    import av

    decoder: Any = stream
    if stream.codec_context.name in ("vp8", "vp9") and stream.metadata.get("alpha_mode") == "1":
        # FFmpeg's own decoders leave transparency out.
        name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}[stream.codec_context.name]
        with contextlib.suppress(av.error.FFmpegError, ValueError):
            decoder = av.CodecContext.create(name, "r")
    size, count = None, 0
    key: Any = None  # when the first frame comes that needs no other
    try:
        packets = container.demux(stream)
        while (packet := next(packets, None)) is not None:
            if key is None and packet.is_keyframe:
                key = packet.pts or 0
            try:
                frames = decoder.decode(packet if packet.size or decoder is stream else None)
            except EOFError:
                return
            except av.error.FFmpegError:
                if key is None and packet.size:
                    continue
                raise
            for frame in frames:
                if frame.is_corrupt:
                    if key is None or (frame.pts is not None and frame.pts < key and not count):
                        continue
                    raise InputError(_damaged(path))
                if (frame.width, frame.height) != (size := size or (frame.width, frame.height)):
                    raise InputError(
                        f"{path} changes its size: frame {count} is {frame.width}x{frame.height} "
                        f"pixels, those before are {size[0]}x{size[1]}; cut it there"
                    )
                if frame.time_base is None:
                    frame.time_base = stream.time_base or Fraction(1, 90000)
                count += 1
                yield frame
    except av.error.FFmpegError as error:
        raise InputError(_damaged(path)) from error


def _deinterlaced(first: Any, frames: Iterator[Any]) -> Iterator[Any]:
    """One frame for each, by FFmpeg's filter, which leaves those alone that are not interlaced."""
    import av

    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=first.width, height=first.height, format=first.format, time_base=first.time_base
    )
    graph.link_nodes(
        source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")
    ).configure()

    graph.vpush(first)
    for frame in frames:
        yield from drain(graph)
        graph.vpush(frame)
    graph.vpush(None)
    yield from drain(graph)


def drain(graph: Any) -> Iterator[Any]:
    """The frames that a graph of filters has ready."""
    while True:
        try:
            yield graph.vpull()
        except (BlockingIOError, EOFError):
            return


def sample_aspect_ratio(stream: Any) -> Fraction:
    """Pixel aspect ratio of PyAV's stream, within plausible limits."""
    aspect = stream.sample_aspect_ratio
    if not aspect or not 1 / _MAX_ASPECT <= aspect <= _MAX_ASPECT:
        return Fraction(1)
    pixels = stream.codec_context.width * stream.codec_context.height
    return Fraction(aspect if pixels * max(aspect, 1 / aspect) <= MAX_FRAME_PIXELS else 1)


def to_upright_rgb(frame: Any, aspect: Fraction) -> Pixels:
    """A decoded frame of PyAV as it is shown: (H, W, 3) uint8 sRGB, square pixels, upright.

    Args:
        frame: as it is stored.
        aspect: see `sample_aspect_ratio`; the longer side of a pixel is kept.
    """
    pixels = _srgb(frame)
    height, width = pixels.shape[:2]
    size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
    if size != (width, height):
        scaled = cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC)
        pixels = scaled.astype(np.uint8, copy=False)
    return reoriented(pixels, *_orientation(frame))


def _orientation(frame: Any) -> tuple[bool, bool, bool]:
    """The display matrix of a frame, to the nearest quarter turn; see `turned`."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return False, False, False
    # A point (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d, *_ = np.frombuffer(bytes(matrix), np.int32)[:9].tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, d < 0, a < 0
    return True, b < 0, c < 0


def _srgb(frame: Any) -> Pixels:
    """(H, W, 3) uint8 sRGB of a frame as it is stored."""
    # Where a file does not say, players take the small ones for BT.601.
    unsaid = "ITU709" if frame.height >= 720 else "ITU601"
    hdr = int(frame.color_trc) in HDR_TRANSFERS
    if hdr or int(frame.color_primaries) == 9:
        unsaid = "BT2020"
    matrix = {1: "ITU709", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: "BT2020", 10: "BT2020"}
    color = matrix.get(int(frame.colorspace), unsaid)
    # More threads would be started for each frame and live until garbage is collected, which hangs
    # in a forked process.
    how = {"src_colorspace": color, "dst_colorspace": color, "threads": 1}
    gamut = int(frame.color_primaries)
    if hdr:
        deep = frame.to_ndarray(format="rgb48le", **how)
        found, _ = cicp_to_srgb(deep, gamut if gamut in GAMUTS else 9, int(frame.color_trc))
        assert found is not None
        return found
    if any(component.is_alpha for component in frame.format.components) or (
        frame.format.name == "pal8"
    ):
        rgba = frame.to_ndarray(format="rgba", **how)
        pixels = on_white(rgba[..., :3], rgba[..., 3])
    else:
        pixels = frame.to_ndarray(format="rgb24", **how)
    converted, _ = cicp_to_srgb(pixels, gamut, 1)
    return pixels if converted is None else converted


# --- what was cut ---------------------------------------------------------------------------------


def is_truncated(path: Path) -> bool:
    """Whether a file that does not say how many frames it has ends before its last part does.

    These are Matroska and WebM, MP4 in fragments, and transport streams. A Matroska file that was
    written live does not say how long it is, either, and cannot be judged.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(HEAD_BYTES)
        if start[4:8] == b"ftyp" and _ends_in_fragment(file, size):
            return True
    if start[:4] == _EBML:
        return size < _matroska_length(start)
    # Packets, each of which begins with the same byte; on discs, with a time of four bytes before.
    for packet, offset in ((188, 0), (192, 4), (204, 0)):
        if set(start[offset::packet]) == {0x47}:
            return size % packet > 0
    return False


def _lacks_data(path: Path, stream: Any) -> bool:
    """Whether an AVI or MP4 file ends before the frames do that its index tells of."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(12)
    if start[:4] == b"RIFF" and start[8:] == b"AVI " and not len(stream.index_entries):
        return size < 8 + int.from_bytes(start[4:8], "little")
    if start[4:8] in (b"ftyp", b"moov", b"wide", b"mdat", b"free", b"skip"):
        return any(entry.pos + entry.size > size for entry in stream.index_entries)
    return False


def _ends_in_fragment(stream: BinaryIO, size: int) -> bool:
    """Whether an MP4 file in fragments lacks the end of its last box."""
    place, fragments = 0, False
    while place < size:
        stream.seek(place)
        head = stream.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:  # the real one follows the name
            length = int.from_bytes(head[8:], "big")
        if length < 8:  # 0 is up to the end of the file
            return False
        fragments |= head[4:8] == b"moof"
        place += length
    return fragments and place > size


def _matroska_length(start: bytes) -> int:
    """Bytes that a Matroska file should have by its first ones; 0 where it does not say."""
    place = 0
    while place < len(start) - 12:
        # An element is a name, a length, and what it holds. The first bit that is set in the
        # first byte tells how many bytes a name or a length has.
        name_bytes = 9 - start[place].bit_length()
        name = start[place : place + name_bytes]
        place += name_bytes
        length_bytes = 9 - start[place].bit_length()
        unknown = (1 << 7 * length_bytes) - 1
        length = int.from_bytes(start[place : place + length_bytes], "big") & unknown
        place += length_bytes + length
        if name == _SEGMENT:
            return 0 if length == unknown else place
    return 0
