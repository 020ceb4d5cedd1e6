"""Blurred photos from real clips: runs of consecutive frames averaged in linear light.

What happened in such a photo is known from the frames themselves, and how far things moved from
optical flow between them, which is an estimate.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from b2m.blur import average_frames, linear_to_srgb8
from b2m.data.sample import PackedSamples, Sample
from b2m.data.splits import VIDEO_SUFFIXES, visible
from b2m.data.swept import swept_path
from b2m.errors import InputError
from b2m.media.image import Pixels
from b2m.media.video import Video, read_video
from b2m.motion.fields import STILL_THRESHOLD, Flow, estimate_flow, magnitude

LENGTHS = (7, 9, 11, 13, 15)
"""Frames averaged, cycled through from window to window; odd, so that one is the middle."""

STEP = 3
"""Frames from the start of one window to the next."""


def find_clips(folder: str | Path, split: str) -> list[Path]:
    """The videos of a folder, of its subfolder named after the split where it has one, by name.

    Raises:
        InputError: no folder, or no video in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give one of videos, or of folders of them")
    inside = folder / split
    folder = inside if inside.is_dir() else folder
    paths = [p for p in visible(folder.iterdir()) if p.suffix.lower() in VIDEO_SUFFIXES]
    if not paths:
        raise InputError(f"{folder} holds no {', '.join(sorted(VIDEO_SUFFIXES))}: put videos there")
    return paths


def read_windows(path: str | Path, count: int | None = None) -> Iterator[Sample]:
    """Windows of a clip, in order, without flow; one at a time is in memory.

    Args:
        path: of the video.
        count: of windows at most, evenly spread over the clip; None for all.

    Raises:
        InputError: not a video, or one shorter than the longest window.
    """
    video = read_video(path)
    yield from _windows(video, pick_starts(video.count(), count, path))


_CROP_FRAMES = 7
_SCALES = (1.0, 0.6)  # real footage is soft at its own size and crisp when it is shrunk


def cut_crops(
    folder: str | Path, size: int, *, windows: int = 36, per_window: int = 6
) -> PackedSamples:
    """Squares of the clips to train on, half of them around something that moves.

    The photo is the mean of 7 frames, or of 13, every second one kept; the flow is by DIS.

    Args:
        folder: see `find_clips`.
        size: side of the squares, pixels.
        windows: of each clip, at most, evenly spread.
        per_window: squares from each.

    Raises:
        InputError: no clips, or frames smaller than the squares.
    """
    rng = np.random.default_rng(0)
    clips: list[NDArray[np.uint8]] = []
    flows: list[NDArray[np.float32]] = []  # (2, S, S, 2), flow and path
    for path in find_clips(folder, "train"):
        for number, window in enumerate(read_windows(path, windows)):
            scale = _SCALES[number % len(_SCALES)]
            stride = 2 if len(window.frames) > 2 * (_CROP_FRAMES - 1) else 1
            frames = _shrunk(window.frames[: stride * (_CROP_FRAMES - 1) + 1], scale, size, path)
            photo = linear_to_srgb8(average_frames(frames))
            flow = flow_over(frames)
            fields = np.stack([flow, swept_path(flow)])
            stack = np.concatenate([photo[None], frames[::stride]])
            moving = np.argwhere(magnitude(flow) >= STILL_THRESHOLD)
            limits = np.array(flow.shape[:2]) - size
            for crop in range(per_window):
                corner = rng.integers(0, limits + 1)
                if crop % 2 and len(moving):
                    about = moving[rng.integers(len(moving))] - rng.integers(0, size, 2)
                    corner = np.clip(about, 0, limits)
                top, left = corner.tolist()
                square = (slice(None), slice(top, top + size), slice(left, left + size))
                clips.append(stack[square])
                flows.append(fields[square])
    planes = (torch.from_numpy(np.stack(each)).movedim(-1, 2) for each in (clips, flows))
    pixels, motion = (each.contiguous() for each in planes)
    return PackedSamples(pixels, motion.half())


def _shrunk(frames: NDArray[np.uint8], scale: float, least: int, path: Path) -> NDArray[np.uint8]:
    height, width = frames.shape[1:3]
    if min(height, width) < least:
        raise InputError(f"{path} is {width}x{height}: at least {least}x{least} is needed")
    if min(height, width) * scale < least or scale == 1:
        return frames
    size = (round(width * scale), round(height * scale))
    return np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames]).astype(
        np.uint8, copy=False
    )


def pick_starts(total: int, count: int | None, path: str | Path = "the clip") -> list[int]:
    """First frames of the windows of a clip of `total` frames; see `read_windows`."""
    # Each has room for the longest, so that any of them may be given any length.
    starts = range(0, total - max(LENGTHS) + 1, STEP)
    if not starts:
        raise InputError(f"{path} has {total} frames: {max(LENGTHS)} are needed at least")
    if count is None or count >= len(starts):
        return list(starts)
    return [starts[round(place)] for place in np.linspace(0, len(starts) - 1, count).tolist()]


def _windows(video: Video, starts: list[int]) -> Iterator[Sample]:
    recent: deque[Pixels] = deque(maxlen=max(LENGTHS))
    waiting = list(enumerate(starts))[::-1]
    for index, frame in enumerate(video):
        recent.append(frame)
        if waiting and waiting[-1][1] + max(LENGTHS) - 1 == index:
            number, start = waiting.pop()
            frames = np.stack(list(recent)[: LENGTHS[number % len(LENGTHS)]])
            photo = linear_to_srgb8(average_frames(frames))
            yield Sample(photo, frames, meta={"start": start})
        if not waiting:
            return


def flow_over(
    frames: NDArray[np.uint8], estimate: Callable[[Pixels, Pixels], Flow] = estimate_flow
) -> Flow:
    """Motion from the first to the last of an odd number of frames, by DIS: an estimate.

    Args:
        frames: (T, H, W, 3) uint8.
        estimate: flow from one to another, another one than DIS.

    Returns:
        (H, W, 2) pixels on the middle frame's grid: the flow from there to the last frame less the
        one to the first, so that no grid has to be changed.
    """
    middle = frames[len(frames) // 2]
    flow: Flow = estimate(middle, frames[-1]) - estimate(middle, frames[0])
    return flow
