"""Writing clips: H.264, GIF, WebP, folders of PNG, from streams of frames, atomically."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from b2m.errors import InputError, OutputError
from b2m.files import atomic_path, explain_write_error
from b2m.media.image import Pixels
from b2m.media.video_reader import Video as Video
from b2m.media.video_reader import drain
from b2m.media.video_reader import read_video as read_video

_SPOOL_BYTES = 256 << 20
# Rows Y, Cb, Cr of BT.709 in studio range, from 8-bit RGB; the last column is the offset.
_BT709 = np.array(
    [
        [0.182586, 0.614231, 0.062007, 16],
        [-0.100644, -0.338572, 0.439216, 128],
        [0.439216, -0.398942, -0.040274, 128],
    ]
)
_H264_SIDE, _WEBP_SIDE, _GIF_SIDE = 16384, 16383, 65535  # pixels
_MAX_SECONDS = 3600  # that a frame is shown
_MAX_GIF = 65535 / 100  # seconds, in a GIF
_GIF_TIME_BASE = Fraction(1, 100)  # seconds
_FRAME_NAME = re.compile(r"frame_\d{4,}\.png")


def write_mp4(path: str | os.PathLike[str], frames: Iterable[Pixels], fps: float) -> None:
    """Write H.264 that plays in every browser: yuv420p, BT.709, index first.

    Args:
        path: of the file; its folder must exist.
        frames: (H, W, 3) uint8 sRGB, all of one size; odd sides are padded by repeating the edge.
        fps: frames per second, from one in an hour to 1000.

    Raises:
        InputError: no frames, frames that are not alike, or a wrong ``fps``.
        OutputError: the folder is missing, not writable or full.
    """
    rate = _rate(fps)
    write_timed_mp4(path, ((frame, number) for number, frame in enumerate(frames)), 1 / rate, rate)


def write_timed_mp4(
    path: str | os.PathLike[str],
    frames: Iterable[tuple[Pixels, int]],
    time_base: Fraction,
    rate: Fraction,
    end: Callable[[], int] | None = None,
) -> None:
    """Write H.264 as :func:`write_mp4` does, each frame at a time of its own.

    Args:
        path: of the file; its folder must exist.
        frames: (H, W, 3) uint8 sRGB and when it is shown, in ticks; these grow from frame to frame.
        time_base: seconds.
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

    options = {"movflags": "+faststart"}
    with (
        atomic_path(path) as temporary,
        _encoding(path),
        av.open(str(temporary), "w", format="mp4", options=options) as container,
    ):
        stream: Any = None
        for frame in _alike(pictures(), _H264_SIDE, "H.264"):
            height, width = frame.shape[:2]
            even: Any = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
            if stream is None:
                stream = container.add_stream("libx264", rate=rate)
                stream.width, stream.height = even.shape[1], even.shape[0]
                stream.pix_fmt = "yuv420p"
                stream.options = {"crf": "17", "preset": "veryfast"}
                if end:
                    # Where packets are out of order, the last one is not the last frame's.
                    stream.options |= {"bf": "0"}
                stream.time_base = time_base
                context = stream.codec_context
                context.time_base = time_base
                context.color_primaries = context.color_trc = context.colorspace = 1
                context.color_range = 1
            picture = av.VideoFrame.from_ndarray(_to_yuv420(even), format="yuv420p")
            picture.colorspace = picture.color_range = 1
            picture.pts, picture.time_base = shown.popleft(), time_base
            container.mux(stream.encode(picture))
        for packet in stream.encode(None):
            if end and packet.pts == picture.pts:
                packet.duration = end() - packet.pts
            container.mux(packet)


def write_webp(path: str | os.PathLike[str], frames: Iterable[Pixels], fps: float) -> None:
    """Write an animated WebP that loops for ever. Arguments and errors as :func:`write_mp4`."""
    rate = _rate(fps)
    import av

    options = {"loop": "0"}
    with (
        atomic_path(path) as temporary,
        _encoding(path),
        av.open(str(temporary), "w", format="webp", options=options) as container,
    ):
        stream: Any = None
        for frame in _alike(frames, _WEBP_SIDE, "WebP"):
            if stream is None:
                stream = container.add_stream("libwebp_anim", rate=rate)
                stream.width, stream.height, stream.pix_fmt = *frame.shape[1::-1], "bgra"
                stream.options = options | {"quality": "88"}
            pixels: Any = cv2.cvtColor(frame, cv2.COLOR_RGB2BGRA)
            picture = av.VideoFrame.from_ndarray(pixels, format="bgra")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def write_gif(path: str | os.PathLike[str], frames: Iterable[Pixels], fps: float) -> None:
    """Write a GIF that loops for ever, with one palette for the whole clip.

    Dithering is ordered, so that what does not move does not shimmer. GIF counts time in
    hundredths of a second: frames last whole ones that add up right, and two at least.
    Arguments and errors as :func:`write_mp4`.
    """
    if _rate(fps) * _MAX_GIF < 1:
        raise InputError(
            f"fps is {fps:g}: a GIF shows a picture for {_MAX_GIF:.0f} s at the most; give at "
            "least 0.02, or write another format"
        )
    import av

    with (
        tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as spool,
        atomic_path(path) as temporary,
        _encoding(path),
    ):
        # The palette is known once all frames have been seen.
        alike = _alike(frames, _GIF_SIDE, "GIF")
        first = next(alike)
        height, width, _ = first.shape
        kind = {"width": width, "height": height, "format": "rgb24", "time_base": _GIF_TIME_BASE}
        search, count = av.filter.Graph(), 0
        nodes = search.add_buffer(**kind), search.add("palettegen", "reserve_transparent=0")
        search.link_nodes(*nodes, search.add("buffersink")).configure()
        for count, frame in enumerate(chain([first], alike), 1):
            spool.write(frame.tobytes())
            search.vpush(_rgb(frame, count))
        search.vpush(None)
        (palette,) = drain(search)
        palette.pts = 0
        ends = [round(100 * number / fps) for number in range(count + 1)]
        lasts = [max(2, after - before) for before, after in pairwise(ends)]
        dither = av.filter.Graph()
        source = dither.add_buffer(**kind)
        kind |= {"width": palette.width, "height": palette.height, "format": palette.format.name}
        colors = dither.add_buffer(**kind)
        mix = dither.add("paletteuse", "dither=bayer:bayer_scale=4")
        source.link_to(mix, 0, 0)
        colors.link_to(mix, 0, 1)
        mix.link_to(dither.add("buffersink"))
        dither.configure()
        options = {"final_delay": str(lasts[-1])}
        with av.open(str(temporary), "w", format="gif", options=options) as container:
            stream: Any = container.add_stream("gif")
            stream.width, stream.height, stream.pix_fmt = width, height, "pal8"
            stream.time_base = stream.codec_context.time_base = _GIF_TIME_BASE
            colors.push(palette)
            colors.push(None)
            spool.seek(0)
            for time in accumulate(lasts[:-1], initial=0):
                pixels = np.frombuffer(spool.read(first.nbytes), np.uint8).reshape(first.shape)
                source.push(_rgb(pixels, time))
                for picture in drain(dither):
                    container.mux(stream.encode(picture))
            source.push(None)
            for picture in drain(dither):
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))


def _rgb(frame: Pixels, time: int) -> Any:
    """PyAV's frame of a GIF, shown at a time in hundredths of a second."""
    import av

    picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
    picture.pts, picture.time_base = time, _GIF_TIME_BASE
    return picture


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


# --- checks ---------------------------------------------------------------------------------------


def _rate(fps: float) -> Fraction:
    if not (isinstance(fps, int | float | Fraction | np.number) and 0 < fps <= 1000):
        raise InputError(f"fps is {fps}: a number above 0 and at most 1000 is needed")
    if fps * _MAX_SECONDS < 1:
        raise InputError(
            f"fps is {fps}: every frame would be shown for more than an hour; give at least "
            f"{1 / _MAX_SECONDS:.2g}"
        )
    return as_rate(float(fps))


def as_rate(fps: float) -> Fraction:
    """A frame rate as a fraction that is above 0, however slow it is."""
    return Fraction(fps).limit_denominator(1001 if fps >= 1 else 10**6) or Fraction(1, 10**6)


@contextlib.contextmanager
def _encoding(path: str | os.PathLike[str]) -> Iterator[None]:
    """Errors of an encoder as a sentence."""
    import av

    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, OSError) and explain_write_error(error, path):
            raise
        raise InputError(
            f"{path} cannot be encoded ({error.strerror}): choose another size or format"
        ) from error


def _alike(
    frames: Iterable[Pixels], max_side: int | None = None, kind: str = ""
) -> Iterator[Pixels]:
    """The frames, each checked against the size of the first and the limits of the format."""
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
        if max_side is not None and max(shape[:2]) > max_side:
            raise InputError(
                f"frames of {shape[1]}x{shape[0]} pixels are too large for {kind}: its sides have "
                f"at most {max_side}; make the clip smaller"
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
