"""Guidance that is wrong: how much of that a model bears (Zhong et al. 2022, Fig. 8)."""

from __future__ import annotations

import cv2
import numpy as np

from b2m.guidance.quantize import Guidance
from b2m.media.image import fill_from_nearest

_EDGE = 9  # pixels of a 192-pixel scene


def erode(guidance: Guidance, pixels: int = _EDGE) -> Guidance:
    """Guidance that misses the rim of what moves.

    Args:
        guidance: (H, W, 2) int8.
        pixels: width of the rim.
    """
    moving = np.asarray(guidance.any(axis=-1))
    # The frame's own border is no rim.
    padded = np.pad(moving, pixels, mode="edge").astype(np.uint8)
    inside = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[pixels:-pixels, pixels:-pixels]
    return np.where((inside > pixels)[..., None], guidance, 0).astype(np.int8)


def dilate(guidance: Guidance, pixels: int = _EDGE) -> Guidance:
    """Guidance that calls still surroundings moving: each pixel goes as the nearest that moves.

    Args:
        guidance: (H, W, 2) int8.
        pixels: how far around.
    """
    moving = np.asarray(guidance.any(axis=-1))
    if not moving.any():
        return guidance.copy()
    nearest, away = fill_from_nearest(guidance, moving)
    return np.where((away <= pixels)[..., None], nearest, 0).astype(np.int8)


def shuffle(guidance: Guidance, seed: int = 0) -> Guidance:
    """Guidance whose quadrants were each drawn at random: what moves is right, not its way.

    Args:
        guidance: (H, W, 2) int8.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    result = guidance.copy()
    for across in (-1, 1):
        for down in (-1, 1):
            of_this = (guidance == (across, down)).all(axis=-1)
            result[of_this] = rng.choice((-1, 1), size=2)
    return result
