"""Diagnostics of a clip: warnings about limits of the method. Imports no model."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from b2m.media.image import Pixels
from b2m.motion.fields import VISIBLE_CHANGE, change_between, magnitude, sampling_step

NO_BLUR = "no motion blur was found, so the clip is still"
ALMOST_NO_MOTION = "this model found almost no motion, so its clip is nearly still"
FROZEN_BY_GUIDANCE = "guidance holds still all that moved, so the clip is still"
STREAKS = (
    "lights have burnt out into streaks: how bright they were is lost, and frames there are a guess"
)
POSSIBLE_STREAKS = (
    "bright bars may be lights that have burnt out into streaks: if so, something moved that was "
    "not found"
)
GUIDANCE_WITHOUT_MOTION = (
    "no motion was found in {share:.0%} of what guidance says moves, so most of it stays as it is: "
    "guidance gives motion its direction, it makes none"
)
VERY_LONG_BLUR = (
    "the blur is longer than a quarter of the photo ({length:.0f} px): expect little more than the "
    "way things went"
)

# In sharp photos the network takes skies and out-of-focus backgrounds for moving, which changes
# little. Calibrated on 35 sharp validation photos and 48 blurred scenes: see docs/experiments.md.
_NOTHING = 0.002  # of the pixels; if fewer change visibly, nothing moves
_LITTLE = 0.018  # of the pixels; nor if fewer do,
_VISIBLE_SHARE = 0.2  # and less than this share of the moving ones

_UNSEEN_SHARE = 0.5  # of the guidance
_LONG_SHARE = 0.25
_PERCENTILE = 99.0  # of the lengths

_BURNT = 245  # sRGB code of all channels from which on the sensor may have been full
_MIN_STREAK = 6.0  # pixels of motion; under that a light is a dot
_MAX_STREAK = 0.02  # of the photo; a larger area is a sky or a window
_SLENDER = 2.0  # length over width
_MIN_EXTENT = 0.6  # of the motion: the least length of a streak
_BEYOND = 0.25  # of the motion: distance beyond a streak's end at which it is dark again
_DARK = 180  # sRGB code of the least channel; that of white fading over black is 224 there
_MAX_STREAKS = 200
# Where no motion is found, several bars of similar direction and length indicate it, unless much of
# the photo is white, as snow or paper. None of 35 sharp validation photos has them.
_MAX_BURNT = 0.1  # of the photo
_MIN_BARS = 5
_BAR_LENGTH = 12.0  # pixels
_BAR_SLENDER = 4.0  # length over width
_BAR_ANGLE = 0.12  # radians, half a turn being none
_BAR_RATIO = 1.4  # of their lengths


def is_static(photo: Pixels, axis: NDArray[np.float32], threshold: float) -> bool:
    """Whether the predicted motion would change next to nothing in the photo.

    Args:
        photo: (H, W, 3) uint8 sRGB.
        axis: (H, W, 2) pixels over the whole exposure; the signs do not matter.
        threshold: pixels; shorter vectors are still.
    """
    change = change_between(photo, axis, -axis).max(axis=-1)
    step = sampling_step(axis)
    moving = magnitude(axis[::step, ::step]) >= threshold
    visible = float(((change > VISIBLE_CHANGE) & moving).mean())
    return visible < _NOTHING or (visible < _LITTLE and visible < _VISIBLE_SHARE * moving.mean())


def fastest(flow: NDArray[np.float32]) -> float:
    """Length of the fastest motion in pixels: its 99th percentile, robust to outliers.

    Args:
        flow: (H, W, 2) pixels over the whole exposure.
    """
    # A million pixels are enough, and need no further array of the photo's size.
    step = max(1, max(flow.shape[:2]) // 1024)
    return float(np.percentile(magnitude(flow[::step, ::step]), _PERCENTILE))


def unseen(guidance: NDArray[np.int8], flow: NDArray[np.float32], threshold: float) -> float | None:
    """The share of guided pixels in which no motion was found, if it is more than half.

    Args:
        guidance: (H, W, 2), of any size.
        flow: (h, w, 2) pixels over the whole exposure.
        threshold: pixels of that flow from which on guidance calls it moving; half of it suffices.
    """
    height, width = flow.shape[:2]
    rows = ((np.arange(height) + 0.5) * len(guidance) / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * guidance.shape[1] / width).astype(np.intp)
    guided = guidance[rows[:, None], columns].any(axis=-1)
    if not guided.any():
        return None
    share = float((magnitude(flow)[guided] < threshold / 2).mean())
    return share if share > _UNSEEN_SHARE else None


def too_long(flow: NDArray[np.float32]) -> float | None:
    """The length of the motion in pixels if it is more than a quarter of the shorter side.

    Args:
        flow: (H, W, 2) pixels over the whole exposure.
    """
    length = fastest(flow)
    return length if length > _LONG_SHARE * min(flow.shape[:2]) else None


def burnt_streaks(photo: Pixels, flow: NDArray[np.float32]) -> bool:
    """Whether saturated lights left streaks: along the motion, or where none is found, in parallel.

    The average of frames does not explain such pixels: the sensor saturated during the exposure.

    Args:
        photo: (H, W, 3) uint8 sRGB.
        flow: (H, W, 2) pixels over the whole exposure; the signs do not matter.
    """
    burnt = (photo.min(axis=-1) >= _BURNT).astype(np.uint8)
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(burnt, connectivity=8)
    area = boxes[1:, cv2.CC_STAT_AREA]
    longest = np.maximum(boxes[1:, cv2.CC_STAT_WIDTH], boxes[1:, cv2.CC_STAT_HEIGHT])
    likely = (area <= _MAX_STREAK * burnt.size) & (longest >= _MIN_EXTENT * _MIN_STREAK)
    numbers = 1 + np.flatnonzero(likely)
    bars = []
    for number in numbers[np.argsort(-area[numbers - 1])][:_MAX_STREAKS].tolist():
        left, top, width, height = boxes[number, :4].tolist()
        box = np.s_[top : top + height, left : left + width]
        rows, columns = np.nonzero(labels[box] == number)
        axis = flow[box][rows, columns]
        # The mean motion axis: of doubled angles, as signs have no meaning.
        angle = np.arctan2(axis[:, 1], axis[:, 0])
        length = magnitude(axis)
        mean = (length * np.exp(2j * angle)).mean()
        motion, direction = abs(mean), np.angle(mean) / 2
        if motion < _MIN_STREAK:
            # The direction of the streak itself, by second moments.
            (xx, xy), (_, yy) = np.cov(columns, rows, bias=True).reshape(2, 2)
            direction = np.arctan2(2 * xy, xx - yy) / 2
            long, wide = _extent(columns, rows, direction)
            if long >= max(_BAR_LENGTH, _BAR_SLENDER * wide):
                bars.append((direction, long))
            continue
        long, wide = _extent(columns, rows, direction)
        slender = long >= _SLENDER * wide and long >= _MIN_EXTENT * motion
        if slender and _ends_abruptly(photo, columns + left, rows + top, direction, motion):
            return True
    if burnt.mean() > _MAX_BURNT:
        return False
    directions, lengths = np.array(bars).reshape(-1, 2).T
    apart = np.abs(np.angle(np.exp(2j * (directions[:, None] - directions)))) / 2
    similar = (apart < _BAR_ANGLE) & (
        np.abs(np.log(lengths[:, None] / lengths)) < np.log(_BAR_RATIO)
    )
    return bool((similar.sum(axis=1) >= _MIN_BARS).any())


def _ends_abruptly(
    photo: Pixels,
    columns: NDArray[np.intp],
    rows: NDArray[np.intp],
    direction: float,
    motion: float,
) -> bool:
    """Whether a bright component is dark shortly beyond both of its ends.

    A white surface fades there over the length of the motion. A light far above saturation does
    not.
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
    # The standard deviation of a uniform bar is its length divided by the root of twelve.
    return float(np.sqrt(12 * np.var(along)) + 1), float(np.sqrt(12 * np.var(across)) + 1)
