"""Clips in and out: H.264, GIF, WebP, folders of PNG. Frames stream; files appear whole or not."""

from __future__ import annotations

import math
import os
import re
import secrets
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from b2m.errors import InputError, OutputError
from b2m.files import atomic_path, check_file, explain_write_error
from b2m.media.image import Pixels

_SPOOL_BYTES = 256 << 20
_SAMPLED_PIXELS = 1 << 16
# Rows Y, Cb, Cr of BT.709 in studio range, from 8-bit RGB; the last column is the offset.
_BT709 = np.array(
    [
        [0.182586, 0.614231, 0.062007, 16],
        [-0.100644, -0.338572, 0.439216, 128],
        [0.439216, -0.398942, -0.040274, 128],
    ]
)
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # RFC 8794 and 9559
_FRAME_NAME = re.compile(r"frame_\d{4,}\.png")


def write_mp4(path: str | os.PathLike[str], frames: Iterable[Pixels], fps: float) -> None:
    """Write H.264 that plays in every browser: yuv420p, BT.709, index first.

    Args:
        path: of the file; its folder must exist.
        frames: (H, W, 3) uint8 sRGB, all of one size; odd sides are padded by repeating the edge.
        fps: frames per second, above 0 and at most 1000.

    Raises:
        InputError: no frames, frames that are not alike, or a wrong ``fps``.
        OutputError: the folder is missing, not writable or full.
    """
    rate = _rate(fps)
    write_timed_mp4(path, ((frame, number) for number, frame in enumerate(frames)), 1 / rate, rate)


def write_timed_mp4(
    path: str | os.PathLike[str],
    frames: Iterable[tuple[Pixels, int]],
    tick: Fraction,
    rate: Fraction,
    end: Callable[[], int] | None = None,
) -> None:
    """Write H.264 as :func:`write_mp4` does, each frame at a time of its own.

    Args:
        path: of the file; its folder must exist.
        frames: (H, W, 3) uint8 sRGB and when it is shown, in ticks; these grow from frame to frame.
        tick: seconds.
        rate: frames per second, about; what the encoder plans its bits by.
        end: tells, once the frames are through, when the last one ends, in ticks; without it, that
            one lasts as the rate says.

    Raises:
        InputError: no frames, or frames that are not alike.
        OutputError: the folder is missing, not writable or full.
    """
    import av

    shown: deque[int] = deque()

    def pictures() -> Iterator[Pixels]:
        for frame, time in frames:
            shown.append(time)
            yield frame

    with atomic_path(path) as temporary:
        container: Any = None
        stream: Any = None
        try:
            for frame in _alike(pictures()):
                height, width = frame.shape[:2]
                even: Any = cv2.copyMakeBorder(
                    frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE
                )
                if container is None:
                    container = av.open(
                        str(temporary), "w", format="mp4", options={"movflags": "+faststart"}
                    )
                    stream = container.add_stream("libx264", rate=rate)
                    stream.width, stream.height = even.shape[1], even.shape[0]
                    stream.pix_fmt = "yuv420p"
                    stream.options = {"crf": "17", "preset": "veryfast"}
                    if end:
                        # Where packets are out of order, the last one is not the last frame's.
                        stream.options |= {"bf": "0"}
                    stream.time_base = tick
                    context = stream.codec_context
                    context.time_base = tick
                    context.color_primaries = context.color_trc = context.colorspace = 1
                    context.color_range = 1
                picture = av.VideoFrame.from_ndarray(_to_yuv420(even), format="yuv420p")
                picture.colorspace = picture.color_range = 1
                picture.pts, picture.time_base = shown.popleft(), tick
                container.mux(stream.encode(picture))
            for packet in stream.encode(None):
                if end and packet.pts == picture.pts:
                    packet.duration = end() - packet.pts
                container.mux(packet)
        finally:
            if container is not None:
                container.close()


def write_webp(path: str | os.PathLike[str], frames: Iterable[Pixels], fps: float) -> None:
    """Write an animated WebP that loops for ever. Arguments and errors as :func:`write_mp4`."""
    rate = _rate(fps)
    import av

    with atomic_path(path) as temporary:
        container: Any = None
        stream: Any = None
        try:
            for frame in _alike(frames):
                if container is None:
                    container = av.open(str(temporary), "w", format="webp", options={"loop": "0"})
                    stream = container.add_stream("libwebp_anim", rate=rate)
                    stream.width, stream.height = frame.shape[1], frame.shape[0]
                    stream.pix_fmt = "bgra"
                    stream.options = {"quality": "88", "loop": "0"}
                pixels: Any = cv2.cvtColor(frame, cv2.COLOR_RGB2BGRA)
                picture = av.VideoFrame.from_ndarray(pixels, format="bgra")
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        finally:
            if container is not None:
                container.close()


def write_gif(path: str | os.PathLike[str], frames: Iterable[Pixels], fps: float) -> None:
    """Write a GIF that loops for ever, with one palette for the whole clip.

    Dithering is ordered, so that what does not move does not shimmer. GIF counts time in
    hundredths of a second: frames last whole ones that add up right, and two at least.
    Arguments and errors as :func:`write_mp4`.
    """
    _rate(fps)
    with (
        tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as spool,
        atomic_path(path) as temporary,
    ):
        shape: tuple[int, ...] = ()
        samples: list[Pixels] = []
        for frame in _alike(frames):
            shape = frame.shape
            spool.write(frame.tobytes())
            step = max(1, math.isqrt(shape[0] * shape[1] // _SAMPLED_PIXELS))
            samples.append(frame[::step, ::step].reshape(-1, 3))
        count = len(samples)
        palette = _palette(np.concatenate(samples))
        indexed = _dithering(palette, shape)
        spool.seek(0)

        def pictures() -> Iterator[Image.Image]:
            for _ in range(count):
                data = spool.read(math.prod(shape))
                picture = Image.fromarray(indexed(np.frombuffer(data, np.uint8).reshape(shape)))
                picture.putpalette(palette.tobytes())
                yield picture

        ends = [round(100 * (i + 1) / fps) for i in range(count)]
        lasts = [max(2, b - a) * 10 for a, b in zip([0, *ends], ends, strict=False)]
        stream = pictures()
        next(stream).save(
            temporary, format="GIF", save_all=True, append_images=stream, duration=lasts, loop=0,
            optimize=False, disposal=1,
        )  # fmt: skip


def write_png_folder(path: str | os.PathLike[str], frames: Iterable[Pixels]) -> list[Path]:
    """Write ``frame_0000.png``, ``frame_0001.png`` … into a folder, all of them or none.

    The folder is made when missing (its parent must exist). Frames that an earlier, longer clip
    left there under these names are removed; other files are not touched.

    Args:
        path: of the folder.
        frames: (H, W, 3) uint8 sRGB, all of one size.

    Returns:
        The paths written, in order.

    Raises:
        InputError: no frames, or frames that are not alike.
        OutputError: the place is a file, missing, not writable or full.
    """
    folder = Path(os.path.realpath(path))
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{path} is a file: give a folder for the frames")
    if not folder.parent.is_dir():
        raise OutputError(f"folder {folder.parent} does not exist: create it or choose another")
    staging = folder.with_name(f".{folder.name[:80]}.{secrets.token_hex(4)}")
    try:
        staging.mkdir()
        names = []
        for number, frame in enumerate(_alike(frames)):
            names.append(f"frame_{number:04d}.png")
            Image.fromarray(frame).save(staging / names[-1], compress_level=4)
        if not folder.exists():
            staging.rename(folder)
        else:
            for name in names:
                os.replace(staging / name, folder / name)
            for old in folder.iterdir():
                if _FRAME_NAME.fullmatch(old.name) and old.name not in names:
                    old.unlink()
    except OSError as error:
        if explained := explain_write_error(error, path):
            raise explained from error
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return [folder / name for name in names]


@dataclass(frozen=True)
class Video:
    """A video on disk. Iterating decodes it from the start: (H, W, 3) uint8 sRGB, upright.

    Attributes:
        path: of the file.
        fps: mean frames per second.
        width: in pixels, as shown.
        height: in pixels, as shown.
        frames: as the file claims, or 0 where it does not say.
        tick: seconds; the file's times are multiples of it.
    """

    path: Path
    fps: float
    width: int
    height: int
    frames: int
    tick: Fraction = Fraction(1, 90000)

    def __iter__(self) -> Iterator[Pixels]:
        """Decode one frame at a time.

        Raises:
            InputError: the file turns out to be damaged.
        """
        return (pixels for pixels, _ in self.timed())

    def timed(self) -> Iterator[tuple[Pixels, tuple[Fraction, Fraction]]]:
        """The same with the times at which a frame comes and goes, if no other came: seconds.

        Both count from the beginning of the file, and grow from frame to frame.

        Raises:
            InputError: the file turns out to be damaged.
        """
        import av

        with av.open(str(self.path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            frames = container.decode(stream)
            complaint = f"{self.path} is damaged or truncated: get a complete copy of it"
            usual = 1 / Fraction(self.fps).limit_denominator(1001)
            last = ((stream.start_time or 0) + (stream.duration or 0)) * self.tick
            count, start, end = 0, Fraction(0), Fraction(0)
            while True:
                try:
                    frame = next(frames)
                except StopIteration:
                    break
                except av.error.FFmpegError as error:
                    raise InputError(complaint) from error
                if frame.is_corrupt:
                    raise InputError(complaint)
                # Some files do not say when a frame comes, or say that it comes before another.
                known = end if frame.pts is None else frame.pts * self.tick
                start = max(known, start + self.tick) if count else known
                end = start + (frame.duration * self.tick if frame.duration else usual)
                # Where frames are stored in another order, the duration may be another frame's.
                end = min(end, last) if start < last else end
                count += 1
                yield upright_rgb(frame), (start, end)
            # FFmpeg ends in silence where a file was cut; edit lists hide a few frames by right.
            if count < 0.9 * self.frames:
                raise InputError(complaint)

    def count(self) -> int:
        """How many frames there are, counted without decoding them, in a fraction of the time.

        Raises:
            InputError: the file was cut.
        """
        import av

        with av.open(str(self.path)) as container:
            packets = container.demux(container.streams.video[0])
            complaint = f"{self.path} is damaged or truncated: get a complete copy of it"
            try:
                count = sum(packet.size > 0 for packet in packets)
            except av.error.FFmpegError as error:
                raise InputError(complaint) from error
        if count < 0.9 * self.frames:
            raise InputError(complaint)
        return count


def read_video(path: str | os.PathLike[str]) -> Video:
    """Open a video; its frames come by iterating over the result, as often as wanted.

    Raises:
        InputError: missing, a folder, unreadable, empty, or not a video; or one of a kind that does
            not say how many frames it has, which shows at once that it was cut.
    """
    import av

    file = check_file(Path(path), "video")
    if _is_cut(file):
        raise InputError(f"{path} is truncated: get a complete copy of it")
    try:
        with av.open(str(file)) as container:
            stream = container.streams.video[0]
            first = next(container.decode(stream))
            turned = first.rotation % 180 != 0
            size = (first.height, first.width) if turned else (first.width, first.height)
            rate = stream.average_rate or stream.guessed_rate or 25
            tick = stream.time_base or Fraction(1, 90000)
            return Video(file, float(rate), *size, stream.frames, tick)
    except (av.error.FFmpegError, IndexError, StopIteration) as error:
        raise InputError(f"{path} is not a video that can be read, or it is damaged") from error


def _is_cut(path: Path) -> bool:
    """Whether a file that does not say how many frames it has ends before its last part does.

    These are Matroska and WebM, MP4 in fragments, and transport streams. A Matroska file that was
    written live does not say how long it is, either, and cannot be judged.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(4096)
        if start[4:8] == b"ftyp":
            return _ends_in_fragment(stream, size)
    if start[:4] == _EBML:
        return size < _matroska_length(start)
    # Packets, each of which begins with the same byte; on discs, with a time of four bytes before.
    for packet, offset in ((188, 0), (192, 4), (204, 0)):
        if set(start[offset::packet]) == {0x47}:
            return size % packet > 0
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


def upright_rgb(frame: Any) -> Pixels:
    """A decoded frame of PyAV as (H, W, 3) uint8 sRGB, turned as it is to be shown."""
    # Where a file does not say, players take the small ones for BT.601.
    color = {1: "ITU709", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: "BT2020"}.get(
        int(frame.colorspace), "ITU709" if frame.height >= 720 else "ITU601"
    )
    pixels = frame.to_ndarray(format="rgb24", src_colorspace=color, dst_colorspace=color)
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


# --- checks ---------------------------------------------------------------------------------------


def _rate(fps: float) -> Fraction:
    if not (isinstance(fps, int | float | Fraction | np.number) and 0 < fps <= 1000):
        raise InputError(f"fps is {fps}: a number above 0 and at most 1000 is needed")
    return Fraction(float(fps)).limit_denominator(1001)


def _alike(frames: Iterable[Pixels]) -> Iterator[Pixels]:
    """The frames, each checked to be as the first; at least one."""
    shape = None
    for number, frame in enumerate(frames):
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise InputError(
                f"frame {number} is {frame.shape} {frame.dtype}: (H, W, 3) uint8 is needed"
            )
        if frame.shape != (shape := shape or frame.shape):
            raise InputError(
                f"frame {number} is {frame.shape[1]}x{frame.shape[0]}, the first is "
                f"{shape[1]}x{shape[0]}: all frames of a clip need one size"
            )
        yield np.ascontiguousarray(frame)
    if shape is None:
        raise InputError("there are no frames to write: at least one is needed")


# --- colours --------------------------------------------------------------------------------------


def _to_yuv420(frame: Pixels) -> Pixels:
    """(H, W, 3) with even sides to the planes Y, Cb, Cr of BT.709, as (H * 3 / 2, W)."""
    height, width = frame.shape[:2]
    luma, blue, red = cv2.split(cv2.transform(frame, _BT709))
    half = (width // 2, height // 2)
    chroma = [cv2.resize(plane, half, interpolation=cv2.INTER_AREA) for plane in (blue, red)]
    planes = np.concatenate([np.ravel(plane) for plane in (luma, *chroma)])
    return planes.reshape(height * 3 // 2, width)


def _palette(samples: Pixels) -> Pixels:
    """At most 256 colours, (N, 3), by median cut and a few steps of k-means."""
    kept = samples[:: max(1, len(samples) // _SAMPLED_PIXELS)]
    picture = Image.fromarray(np.ascontiguousarray(kept[None]))
    # Pillow's k-means ends when a step moves fewer pixels than this to another colour.
    settled = 1 + len(kept) // 50
    chosen = picture.quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=settled)
    table = np.array(chosen.getpalette(), np.uint8).reshape(-1, 3)
    return np.unique(table, axis=0)


def _dithering(palette: Pixels, shape: tuple[int, ...]) -> Callable[[Pixels], Pixels]:
    """A function from (H, W, 3) to palette indices (H, W) that dithers the same at every time."""
    from scipy.spatial import KDTree

    tree = KDTree(palette.astype(np.float32))
    # Nearest colours by the upper six bits of each channel, found as they are met: a clip shows
    # few of the 2^18 cells, and finding them all would take longer than the rest of the GIF.
    nearest = np.zeros(1 << 18, np.uint8)
    found = np.zeros(1 << 18, np.bool_)
    # As strong as neighbouring colours of the palette are apart, so that flat areas stay clean.
    apart = tree.query(palette, k=2)[0][:, 1] if len(palette) > 1 else np.zeros(1)
    strength = float(np.clip(np.median(apart), 4, 24))
    offsets = np.rint((_bayer() - 0.5) * strength).astype(np.int16)
    tiles = (-(-shape[0] // 8), -(-shape[1] // 8))
    pattern = np.tile(offsets, tiles)[: shape[0], : shape[1], None]

    def indexed(frame: Pixels) -> Pixels:
        moved = np.clip(frame + pattern, 0, 255).astype(np.uint32) >> 2
        cells = (moved[..., 0] << 12) | (moved[..., 1] << 6) | moved[..., 2]
        met = np.zeros_like(found)
        met[cells] = True
        new = np.flatnonzero(met & ~found)
        centres = np.stack([new >> 12, new >> 6, new], axis=-1) % 64 * 4 + 1.5
        nearest[new] = tree.query(centres)[1]
        found[new] = True
        return nearest[cells]

    return indexed


def _bayer() -> NDArray[np.float32]:
    """The 8 x 8 threshold matrix of ordered dithering, values in (0, 1)."""
    matrix = np.zeros((1, 1))
    for _ in range(3):
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    return ((matrix + 0.5) / 64).astype(np.float32)
