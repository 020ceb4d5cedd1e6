"""Diagnostics of a clip: warnings to read before trusting it.

Pure: imports no model.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from b2m.media.image import Pixels
from b2m.motion.fields import change_between, sampling_step
from b2m.motion.orientation import length_of

STILL = "no motion blur was found, so the clip is still"
UNMOVED = "this model found next to no motion, so its clip all but stands still"
HELD = "guidance holds still all that moved, so the clip is still"
STREAKS = (
    "lights have burnt out into streaks: how bright they were is lost, and frames there are a guess"
)
UNFOLLOWED = (
    "bright bars may be lights that have burnt out into streaks: if so, something moved that was "
    "not found"
)
UNSEEN = (
    "no motion was found in {share:.0%} of what guidance says moves, so most of it stays as it is: "
    "guidance gives motion its direction, it makes none"
)
LONG = (
    "the blur is longer than a quarter of the photo ({length:.0f} px): expect little more than the "
    "way things went"
)

# A pixel changes visibly by more than so many sRGB codes from one end of its motion to the other.
# In sharp photos the network takes skies and out-of-focus grounds for moving, which changes little.
# Chosen on 35 sharp validation photos and 48 blurred scenes: see docs/experiments.md.
_VISIBLE = 12
_NOTHING = 0.002  # of the pixels that change visibly: nothing moves
_LITTLE = 0.018  # nothing moves either, if of those that are said to move
_CONVINCED = 0.2  # less than this share changes visibly

_UNSEEN_SHARE = 0.5  # of the guidance
_LONG_SHARE = 0.25
_PERCENTILE = 99.0  # of the lengths

_BURNT = 245  # sRGB code of all channels from which on the sensor may have been full
_LEAST_STREAK = 6.0  # pixels of motion; under that a light is a dot
_LARGEST_STREAK = 0.02  # of the photo; more is a sky or a window
_SLENDER = 2.0  # length over width
_OWN_MOTION = 0.6  # a point that moves leaves a streak as long as its motion; this much counts
_BEYOND = 0.25  # of the motion; there it is dark again beyond a streak's end
_DARK = 180  # sRGB code of the least channel; of white that fades in front of black it is 224
_MOST_STREAKS = 200
# Where no motion is found, bars tell of it if there are so many alike, before a ground that is no
# snow or paper. None of 35 sharp validation photos has them.
_MOST_BURNT = 0.1  # of the photo
_LEAST_BARS = 5
_BAR_LENGTH = 12.0  # pixels
_BAR_SLENDER = 4.0  # length over width
_BAR_ANGLE = 0.12  # radians, half a turn being none
_BAR_RATIO = 1.4  # of their lengths


def stands_still(photo: Pixels, line: NDArray[np.float32], threshold: float) -> bool:
    """Whether what is taken for motion would change next to nothing in the photo.

    Args:
        photo: (H, W, 3) uint8 sRGB.
        line: (H, W, 2) pixels over the whole exposure; the signs do not matter.
        threshold: pixels; shorter vectors are still.
    """
    change = change_between(photo, line, -line).max(axis=-1)
    step = sampling_step(line)
    moving = length_of(line[::step, ::step]) >= threshold
    visible = float(((change > _VISIBLE) & moving).mean())
    return visible < _NOTHING or (visible < _LITTLE and visible < _CONVINCED * moving.mean())


def fastest(flow: NDArray[np.float32]) -> float:
    """Length in pixels of the fastest motion: its 99th percentile, as single pixels err.

    Args:
        flow: (H, W, 2) pixels over the whole exposure.
    """
    # A million pixels say it as well as fifty, without another array of the photo's size.
    step = max(1, max(flow.shape[:2]) // 1024)
    return float(np.percentile(length_of(flow[::step, ::step]), _PERCENTILE))


def unseen(guidance: NDArray[np.int8], flow: NDArray[np.float32], threshold: float) -> float | None:
    """The share of guidance under which nothing moves, if it is more than half.

    Args:
        guidance: (H, W, 2), of any size.
        flow: (h, w, 2) pixels over the whole exposure.
        threshold: pixels of that flow from which on guidance calls it moving; half of it counts.
    """
    height, width = flow.shape[:2]
    rows = ((np.arange(height) + 0.5) * len(guidance) / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * guidance.shape[1] / width).astype(np.intp)
    said = guidance[rows[:, None], columns].any(axis=-1)
    if not said.any():
        return None
    share = float((length_of(flow)[said] < threshold / 2).mean())
    return share if share > _UNSEEN_SHARE else None


def too_long(flow: NDArray[np.float32]) -> float | None:
    """The length of the motion in pixels if it is more than a quarter of the shorter side.

    Args:
        flow: (H, W, 2) pixels over the whole exposure.
    """
    length = fastest(flow)
    return length if length > _LONG_SHARE * min(flow.shape[:2]) else None


def burnt_streaks(photo: Pixels, flow: NDArray[np.float32]) -> bool:
    """Whether lights burn out into streaks, along the motion or, where none is found, side by side.

    Averaging does not explain such pixels: the sensor was full before the shutter closed.

    Args:
        photo: (H, W, 3) uint8 sRGB.
        flow: (H, W, 2) pixels over the whole exposure; the signs do not matter.
    """
    burnt = (photo.min(axis=-1) >= _BURNT).astype(np.uint8)
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(burnt, connectivity=8)
    area = boxes[1:, cv2.CC_STAT_AREA]
    longest = np.maximum(boxes[1:, cv2.CC_STAT_WIDTH], boxes[1:, cv2.CC_STAT_HEIGHT])
    likely = (area <= _LARGEST_STREAK * burnt.size) & (longest >= _OWN_MOTION * _LEAST_STREAK)
    numbers = 1 + np.flatnonzero(likely)
    bars = []
    for number in numbers[np.argsort(-area[numbers - 1])][:_MOST_STREAKS].tolist():
        left, top, width, height = boxes[number, :4].tolist()
        box = np.s_[top : top + height, left : left + width]
        rows, columns = np.nonzero(labels[box] == number)
        line = flow[box][rows, columns]
        # The mean line: of doubled angles, as signs have no meaning.
        angle = np.arctan2(line[:, 1], line[:, 0])
        length = np.hypot(line[:, 0], line[:, 1])
        mean = (length * np.exp(2j * angle)).mean()
        motion, direction = abs(mean), np.angle(mean) / 2
        if motion < _LEAST_STREAK:
            # Its own direction, by its second moments.
            (xx, xy), (_, yy) = np.cov(columns, rows, bias=True).reshape(2, 2)
            direction = np.arctan2(2 * xy, xx - yy) / 2
            long, wide = _extent(columns, rows, direction)
            if long >= max(_BAR_LENGTH, _BAR_SLENDER * wide):
                bars.append((direction, long))
            continue
        long, wide = _extent(columns, rows, direction)
        slender = long >= _SLENDER * wide and long >= _OWN_MOTION * motion
        if slender and _ends_abruptly(photo, columns + left, rows + top, direction, motion):
            return True
    if burnt.mean() > _MOST_BURNT:
        return False
    directions, lengths = np.array(bars).reshape(-1, 2).T
    apart = np.abs(np.angle(np.exp(2j * (directions[:, None] - directions)))) / 2
    alike = (apart < _BAR_ANGLE) & (np.abs(np.log(lengths[:, None] / lengths)) < np.log(_BAR_RATIO))
    return bool((alike.sum(axis=1) >= _LEAST_BARS).any())


def _ends_abruptly(
    photo: Pixels,
    columns: NDArray[np.intp],
    rows: NDArray[np.intp],
    direction: float,
    motion: float,
) -> bool:
    """Whether a bright piece is dark shortly beyond both of its ends.

    What is merely white fades there over the length of the motion. A light that fills the sensor
    many times over still fills it where it stood for a moment only.
    """
    along = columns * np.cos(direction) + rows * np.sin(direction)
    beyond = max(2.0, _BEYOND * motion)
    for sign in (-1, 1):
        reached = sign * along
        last = reached >= reached.max() - 1
        x = columns[last].mean() + sign * beyond * np.cos(direction)
        y = rows[last].mean() + sign * beyond * np.sin(direction)
        row, column = round(float(y)), round(float(x))
        inside = 0 <= row < photo.shape[0] and 0 <= column < photo.shape[1]
        if inside and photo[row, column].min() > _DARK:
            return False
    return True


def _extent(
    columns: NDArray[np.intp], rows: NDArray[np.intp], direction: float
) -> tuple[float, float]:
    """Length of a spot along a direction (radians) and across it, pixels."""
    along = columns * np.cos(direction) + rows * np.sin(direction)
    across = rows * np.cos(direction) - columns * np.sin(direction)
    # Of an even bar the standard deviation is its length by the root of twelve.
    return float(np.sqrt(12 * np.var(along)) + 1), float(np.sqrt(12 * np.var(across)) + 1)
