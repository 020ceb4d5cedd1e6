"""Clips in and out: H.264, GIF, WebP, folders of PNG. Frames stream; files appear whole or not."""

from __future__ import annotations

import contextlib
import math
import os
import re
import secrets
import shutil
import struct
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from b2m.errors import InputError, OutputError
from b2m.files import atomic_path, explain_write_error
from b2m.media.image import Pixels
from b2m.media.video_reader import Video as Video
from b2m.media.video_reader import read_video as read_video

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
_H264_SIDE, _WEBP_SIDE, _GIF_SIDE = 16384, 16383, 65535  # pixels
_LONGEST_SECONDS = 3600  # that a frame is shown
_LONGEST_GIF = 65535 / 100  # seconds, in a GIF
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

    with atomic_path(path) as temporary, _encoding(path), contextlib.ExitStack() as opened:
        stream: Any = None
        for frame in _alike(pictures(), _H264_SIDE, "H.264"):
            height, width = frame.shape[:2]
            even: Any = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
            if stream is None:
                container: Any = opened.enter_context(
                    av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"})
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


def write_webp(path: str | os.PathLike[str], frames: Iterable[Pixels], fps: float) -> None:
    """Write an animated WebP that loops for ever. Arguments and errors as :func:`write_mp4`."""
    rate = _rate(fps)
    import av

    with atomic_path(path) as temporary, _encoding(path), contextlib.ExitStack() as opened:
        stream: Any = None
        for frame in _alike(frames, _WEBP_SIDE, "WebP"):
            if stream is None:
                container: Any = opened.enter_context(
                    av.open(str(temporary), "w", format="webp", options={"loop": "0"})
                )
                stream = container.add_stream("libwebp_anim", rate=rate)
                stream.width, stream.height = frame.shape[1], frame.shape[0]
                stream.pix_fmt = "bgra"
                stream.options = {"quality": "88", "loop": "0"}
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
    rate = _rate(fps)
    too_slow = InputError(
        f"fps is {fps:g}: a GIF shows a picture for {_LONGEST_GIF:.0f} s at the most; give at "
        "least 0.02, or write another format"
    )
    if rate * _LONGEST_GIF < 1:
        raise too_slow
    with (
        tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as spool,
        atomic_path(path) as temporary,
    ):
        shape: tuple[int, ...] = ()
        samples: list[Pixels] = []
        for frame in _alike(frames, _GIF_SIDE, "GIF"):
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
        try:
            next(stream).save(
                temporary, format="GIF", save_all=True, append_images=stream, duration=lasts,
                loop=0, optimize=False, disposal=1,
            )  # fmt: skip
        except struct.error as error:  # of pictures that are alike, Pillow makes one
            raise too_slow from error


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
    if fps * _LONGEST_SECONDS < 1:
        raise InputError(
            f"fps is {fps}: every frame would be shown for more than an hour; give at least "
            f"{1 / _LONGEST_SECONDS:.2g}"
        )
    return as_rate(float(fps))


def as_rate(fps: float) -> Fraction:
    """A frame rate as a fraction that is above 0, however slow it is."""
    return Fraction(fps).limit_denominator(1001 if fps >= 1 else 10**6) or Fraction(1, 10**6)


@contextlib.contextmanager
def _encoding(path: str | os.PathLike[str]) -> Iterator[None]:
    """What an encoder will not do, as a sentence; what the disk will not do is told elsewhere."""
    import av

    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, OSError) and explain_write_error(error, path):
            raise
        raise InputError(
            f"{path} cannot be encoded ({error.strerror}): choose another size or format"
        ) from error


def _alike(frames: Iterable[Pixels], most: int | None = None, kind: str = "") -> Iterator[Pixels]:
    """The frames, each checked to be as the first; at least one, no side above what a file has."""
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
        if most is not None and max(shape[:2]) > most:
            raise InputError(
                f"frames of {shape[1]}x{shape[0]} pixels are too large for {kind}: its sides have "
                f"at most {most}; make the clip smaller"
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
