"""What makes a clip doubtful: sentences that a person should read before trusting it.

Pure: imports no model.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from b2m.media import Pixels
from b2m.signs import length_of

STILL = "no motion blur found: the clip is still"
STREAKS = (
    "lights have burnt out into streaks: how bright they were is lost, and frames there are a guess"
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
_SPARSE = 320  # pixels on the longest side, from which on every second one says enough

_LONG_SHARE = 0.25
_PERCENTILE = 99.0  # of the lengths

_BURNT = 245  # sRGB code of all channels from which on the sensor may have been full
_LEAST_STREAK = 6.0  # pixels of motion; under that a light is a dot
_LARGEST_STREAK = 0.02  # of the photo; more is a sky or a window
_SLENDER = 2.0  # length over width
_OWN_MOTION = 0.6  # a point that moves leaves a streak as long as its motion; this much counts
_MOST_STREAKS = 200


def stands_still(photo: Pixels, line: NDArray[np.float32], threshold: float) -> bool:
    """Whether what is taken for motion would change next to nothing in the photo.

    Args:
        photo: (H, W, 3) uint8 sRGB.
        line: (H, W, 2) pixels over the whole exposure; the signs do not matter.
        threshold: pixels; shorter vectors are still.
    """
    step = 2 if max(line.shape[:2]) >= _SPARSE else 1
    sparse = line[::step, ::step]
    rows, columns = np.indices(sparse.shape[:2], np.float32) * step
    moving = length_of(sparse) >= threshold

    def seen(time: float) -> NDArray[np.int16]:
        x, y = columns + time * sparse[..., 0], rows + time * sparse[..., 1]
        border = cv2.BORDER_REPLICATE
        return cv2.remap(photo, x, y, cv2.INTER_LINEAR, borderMode=border).astype(np.int16)

    change = np.abs(seen(0.5) - seen(-0.5)).max(axis=-1)
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


def too_long(flow: NDArray[np.float32]) -> float | None:
    """The length of the motion in pixels if it is more than a quarter of the shorter side.

    Args:
        flow: (H, W, 2) pixels over the whole exposure.
    """
    length = fastest(flow)
    return length if length > _LONG_SHARE * min(flow.shape[:2]) else None


def burnt_streaks(photo: Pixels, flow: NDArray[np.float32]) -> bool:
    """Whether lights burn out into streaks along the motion.

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
            continue
        along = columns * np.cos(direction) + rows * np.sin(direction)
        across = rows * np.cos(direction) - columns * np.sin(direction)
        # Of an even bar the standard deviation is its length by the root of twelve.
        long, wide = np.sqrt(12 * np.var(along)) + 1, np.sqrt(12 * np.var(across)) + 1
        if long >= _SLENDER * wide and long >= _OWN_MOTION * motion:
            return True
    return False
