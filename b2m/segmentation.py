"""What moves against the camera, from one motion field (the use of Argaw et al. 2021b, Fig. 7).

They feed flow to a network for segmentation together with the picture. Ours needs no weights: the
camera's motion is fitted robustly to the field as a homography, from the positions of points when
the shutter opens to those when it closes, and what disagrees moves by itself. Pure: imports no
model.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from b2m.guidance import STILL_THRESHOLD
from b2m.motion import Flow
from b2m.signs import coherent_signs

_POINTS = 60  # on the longest side of the grid to which the camera is fitted
_TOLERANCE = 1.5  # pixels, of the fit
_LEAST_INLIERS = 0.25  # of the points; with fewer, no camera motion explains the field
_SHARE = 0.4  # of the camera's motion, by which seen motion errs
_LEAST_AREA = 0.002  # of the photo; smaller things are errors
_CALM = 5  # pixels over which the mask is smoothed, at least; a 150th of the longest side


def moving_mask(flow: Flow, threshold: float = STILL_THRESHOLD) -> NDArray[np.bool_]:
    """Which pixels move against the camera.

    Args:
        flow: (H, W, 2) pixels over the whole exposure. The signs of its vectors do not matter.
        threshold: pixels; what differs by less from the camera's motion goes with it.

    Returns:
        (H, W) bool.
    """
    flow = coherent_signs(np.asarray(flow, np.float32))
    height, width = flow.shape[:2]
    rows, columns = np.indices((height, width), np.float32)
    middle = np.stack((columns, rows), axis=-1)
    camera = _camera(middle, flow)
    first, last = middle - flow / 2, middle + flow / 2
    # A thing whose sign was taken wrongly goes with the camera all the same.
    apart = np.minimum(_error(camera, first, last), _error(camera, last, first))
    expected = _error(camera, first, first)
    moving = (apart > np.maximum(threshold, _SHARE * expected)).astype(np.uint8)
    side = max(_CALM, max(height, width) // 150) | 1
    moving = np.asarray(cv2.medianBlur(moving, side), np.uint8)
    return _without_crumbs(moving, _LEAST_AREA * height * width)


def _camera(middle: NDArray[Any], flow: Flow) -> NDArray[np.float64]:
    """The homography (3, 3) from shutter open to shutter closed that most of the field obeys."""
    step = max(1, max(flow.shape[:2]) // _POINTS)
    offset = min(step // 2, min(flow.shape[:2]) - 1)
    points = middle[offset::step, offset::step].reshape(-1, 2)
    half = flow[offset::step, offset::step].reshape(-1, 2) / 2
    if len(points) < 8:
        return np.eye(3)
    cv2.setRNGSeed(0)
    fitted: Any
    fitted, inliers = cv2.findHomography(
        points - half, points + half, cv2.USAC_MAGSAC, _TOLERANCE, maxIters=2000
    )
    if fitted is None or inliers is None or inliers.mean() < _LEAST_INLIERS:
        return np.eye(3)
    return np.asarray(fitted, np.float64)


def _error(camera: NDArray[np.float64], start: NDArray[Any], end: NDArray[Any]) -> NDArray[Any]:
    """(H, W) pixels from where the camera's motion takes the starts to the ends."""
    taken: Any = cv2.perspectiveTransform(start.reshape(-1, 1, 2), camera)
    distance = taken.reshape(start.shape) - end
    return np.hypot(distance[..., 0], distance[..., 1]).astype(np.float32)


def _without_crumbs(mask: NDArray[np.uint8], least: float) -> NDArray[np.bool_]:
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    large = boxes[:, cv2.CC_STAT_AREA] >= least
    large[0] = False
    return np.asarray(large[labels], np.bool_)
