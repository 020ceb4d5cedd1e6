"""A window of high-speed frames becomes a blurred photo and the sharp frames that explain it.

Frames are averaged in linear light: decoded by the sRGB curve, or by a power law as data sets with
an unknown camera do (Nah et al. 2017: 2.2), averaged and encoded again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from b2m.blur import average_frames, linear_to_srgb8
from b2m.data.interpolate import Interpolator
from b2m.errors import InputError
from b2m.media.image import Pixels
from b2m.motion.fields import estimate_flow

_FASTEST = 0.999
"""Share of pixels that must not step farther; the rest are errors of the estimated flow."""


@dataclass(frozen=True)
class Averaging:
    """How windows are cut and averaged.

    Attributes:
        average: frames averaged, after interpolation; 0 for as many as a GoPro video's name says.
        step: from window to window, in the same frames; 0 for windows that touch.
        factor: frames after interpolation for each one before.
        interpolate: "flow", "rife", or "none".
        max_step: pixels; where given, the factor is the smallest that makes no step longer, instead
            of the recipe's; windows stay as long in time.
        max_factor: largest such factor.
        gamma: exponent of the power law; 0 for the sRGB curve.
        frames: sharp ones kept, evenly spaced, the first and the last of the window among them.
            Where the instants do not divide so, each is the nearest to its even place: of 11 (as in
            GoPro's original windows) numbers 0, 2, 3, 5, 7, 8 and 10 are kept, off by up to a third
            of the time between two instants.
        flow: what estimates motion between sharp frames, "dis" or "raft".
        size: (height, width) to which frames are cropped about their middle and shrunk; None to
            leave them.
    """

    average: int = 7
    step: int = 0
    factor: int = 1
    interpolate: str = "none"
    max_step: float | None = None
    max_factor: int = 8
    gamma: float = 0.0
    frames: int = 7
    flow: str = "dis"
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Raise an InputError for impossible settings."""
        dense = self.factor > 1 or self.max_step is not None
        few = 0 < self.average < self.frames and self.max_step is None
        wrong = {
            f"no interpolation is called '{self.interpolate}': choose flow, rife or none": (
                self.interpolate not in ("flow", "rife", "none")
            ),
            f"no flow is called '{self.flow}': choose dis or raft": (
                self.flow not in ("dis", "raft")
            ),
            f"{self.frames} frames kept: give an odd number of at least 3, so that one is in the "
            "middle": self.frames < 3 or self.frames % 2 == 0,
            f"a window of {self.average}: {self.frames} frames are kept of it": few,
            f"a factor of {self.factor}: give 1 or more": self.factor < 1 or self.max_factor < 1,
            f"a step of {self.step}: give 1 or more": self.step < 0,
            f"a gamma of {self.gamma:g}: give 0 for sRGB, or 1 to 4": self.gamma != 0
            and not 1 <= self.gamma <= 4,
            f"a largest step of {self.max_step} px: give more than 0": self.max_step is not None
            and self.max_step <= 0,
            "--interpolate none: more frames are wanted than there are; choose flow or rife": dense
            and self.interpolate == "none",
        }
        for sentence, happens in wrong.items():
            if happens:
                raise InputError(sentence)

    @property
    def span(self) -> float:
        """From the first to the last instant of a window, in frames of the source."""
        return (self.average - 1) / self.factor

    def starts(self, count: int) -> list[float]:
        """Starts of the windows in a source of `count` frames, in its frames."""
        step = (self.step or self.average) / self.factor
        windows = 1 + math.floor((count - 1 - math.ceil(self.span)) / step)
        starts = (window * step for window in range(max(0, windows)))
        return [start for start in starts if math.ceil(start + self.span) < count]

    def needed(self, start: float) -> tuple[int, int]:
        """The frames from and before which a window is made."""
        return math.floor(start), math.ceil(start + self.span) + 1

    @property
    def curve(self) -> str | float:
        """As the index names it."""
        return self.gamma or "srgb"


def fit_frame(frame: Pixels, size: tuple[int, int] | None) -> Pixels:
    """Crop a frame about its middle to the shape of a size, and shrink it to that by areas.

    Raises:
        InputError: the frame is smaller.
    """
    if size is None or frame.shape[:2] == size:
        return frame
    height, width = frame.shape[:2]
    scale = min(height / size[0], width / size[1])
    if scale < 1:
        raise InputError(
            f"frames are {width}x{height}, and are not enlarged to {size[1]}x{size[0]}: give a "
            "smaller --size"
        )
    rows, columns = round(size[0] * scale), round(size[1] * scale)
    top, left = (height - rows) // 2, (width - columns) // 2
    cut = frame[top : top + rows, left : left + columns]
    small = cv2.resize(cut, size[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def longest_step(frames: Sequence[Pixels]) -> float:
    """Pixels from one frame to the next, by DIS, of the fastest but a thousandth of the pixels."""
    lengths = [
        np.quantile(np.linalg.norm(estimate_flow(one, other), axis=-1), _FASTEST)
        for one, other in pairwise(frames)
    ]
    return float(max(lengths, default=0.0))


def expose(
    frames: Sequence[Pixels], start: float, how: Averaging, between: Interpolator | None
) -> tuple[Pixels, NDArray[np.uint8], int]:
    """Average a window.

    Args:
        frames: of the source, those `how.needed` names, (H, W, 3) uint8 each.
        start: of the window, in frames of the source.
        how: settings.
        between: an interpolator, where frames between those are needed.

    Returns:
        The photo (H, W, 3) uint8, the kept frames (T, H, W, 3) uint8, and how many were averaged.
    """
    frames = [fit_frame(frame, how.size) for frame in frames]
    factor = how.factor
    if how.max_step is not None:
        factor = max(1, min(how.max_factor, math.ceil(longest_step(frames) / how.max_step)))
    first = start - math.floor(start)
    times = [first + step / factor for step in range(1 + math.floor(how.span * factor + 1e-9))]
    return average_instants(frames_at(frames, times, between), len(times), how)


def average_instants(
    instants: Iterator[Pixels], count: int, how: Averaging
) -> tuple[Pixels, NDArray[np.uint8], int]:
    """Mean of a sequence of frames, and the frames that are kept."""
    if count < how.frames:
        raise InputError(f"a window has {count} instants: {how.frames} frames are kept of it")
    numbers = {round(number) for number in np.linspace(0, count - 1, how.frames).tolist()}
    sharp: list[Pixels] = []

    def watched() -> Iterator[Pixels]:
        for number, frame in enumerate(instants):
            if number in numbers:
                sharp.append(frame)
            yield frame

    photo = linear_to_srgb8(average_frames(watched(), how.gamma), how.gamma)
    return photo, np.stack(sharp), count


def frames_at(
    frames: Sequence[Pixels], times: Sequence[float], between: Interpolator | None
) -> Iterator[Pixels]:
    """The frames at increasing times; those between two frames are interpolated."""
    for index, inside in groupby(times, lambda time: math.floor(time + 1e-9)):
        shares = [time - index for time in inside]
        if abs(shares[0]) < 1e-9:
            yield frames[index]
            del shares[0]
        if shares:
            if between is None:
                raise InputError("frames between frames are wanted: choose an interpolator")
            yield from between(frames[index], frames[index + 1], shares)
