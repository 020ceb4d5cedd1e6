"""What a motion passes over: flow at the middle instant, extended to the whole exposure."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from b2m.media.image import fill_from_nearest
from b2m.motion.fields import STILL_THRESHOLD, Flow, magnitude


def swept_mask(flow: Flow, threshold: float = STILL_THRESHOLD) -> NDArray[np.bool_]:
    """Where something moving is seen at any time of the exposure.

    Args:
        flow: (H, W, 2) pixels over the exposure, on the middle frame's grid.
        threshold: pixels; shorter motion does not count.

    Returns:
        (H, W) bool: the moving pixels of the middle frame, carried half their way forth and back.
    """
    height, width = flow.shape[:2]
    length = magnitude(flow)
    moving = length >= threshold
    mask = moving.copy()
    rows, columns = moving.nonzero()
    vectors = flow[moving]
    for time in np.linspace(-0.5, 0.5, 1 + int(np.ceil(length.max(initial=0.0)))):
        x = np.rint(columns + time * vectors[:, 0]).astype(np.intp)
        y = np.rint(rows + time * vectors[:, 1]).astype(np.intp)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        mask[y[inside], x[inside]] = True
    # Where neighbours move apart, the places they are carried to leave pinholes.
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    return closed.astype(np.bool_) | mask


def swept_path(flow: Flow, threshold: float = STILL_THRESHOLD) -> Flow:
    """A flow, extended to where something moving is seen at any time of the exposure.

    Args:
        flow: (H, W, 2) pixels over the exposure, on the middle frame's grid.
        threshold: pixels; shorter motion does not count.

    Returns:
        (H, W, 2): where something only passes, the vector of the nearest pixel that moves.
    """
    moving = magnitude(flow) >= threshold
    passed = swept_mask(flow, threshold) & ~moving
    if not passed.any():
        return flow
    return np.where(passed[..., None], fill_from_nearest(flow, moving)[0], flow)
