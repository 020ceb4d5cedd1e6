"""Moving-object segmentation from one motion field (an application of Argaw et al. 2021b, Fig. 7).

The paper feeds flow and photo to a segmentation network. Ours needs no weights: the camera motion
is fitted robustly to the field as a homography, from the positions of points when the shutter opens
to those when it closes, and connected outliers are moving objects, unless their motion would hardly
be visible in the photo. Imports no model.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from b2m.media.image import Pixels, limit_side
from b2m.motion.fields import (
    VISIBLE_CHANGE,
    Flow,
    change_between,
    magnitude,
    resize_flow,
)
from b2m.motion.orientation import coherent_signs

MIN_MOTION = 1.0
"""Pixels over the exposure against the background, from which on something counts as moving."""

_POINTS = 60  # on the longest side of the grid to which the camera is fitted
_TOLERANCES = (1.5, 3.0)  # pixels, of the fit; the second for coarse flow, where the first fails
_MIN_INLIERS = 0.25  # of the points; with fewer, no camera motion explains the field
_SHARE = 0.4  # of the camera's motion: the error of estimated motion
_MIN_AREA = 0.002  # of the photo; smaller objects are errors
_MEDIAN_SIDE = 5  # pixels: least side of the median filter; else a 150th of the longest side
_MAX_SIDE = 2048  # pixels; larger photos are segmented at this size
# In areas without texture the flow is arbitrary, mostly zero. An object is kept if this share of it
# would change visibly (`VISIBLE_CHANGE`) along the camera's motion or its own. On 61
# validation scenes with true flow this loses nothing up to 0.2, and moving objects from 0.3 on.
_VISIBLE_SHARE = 0.2


def segment(photo: Pixels, flow: Flow) -> NDArray[np.bool_]:
    """Segment what moves relative to the background in a photo of any size.

    Args:
        photo: (H, W, 3) uint8 sRGB.
        flow: (H, W, 2) pixels over the whole exposure. The signs of its vectors do not matter.

    Returns:
        (H, W) bool.
    """
    height, width = photo.shape[:2]
    small = limit_side(photo, _MAX_SIDE)
    field = resize_flow(flow, small.shape[:2])
    mask = moving_mask(field, MIN_MOTION * small.shape[1] / width, small)
    if mask.shape == (height, width):
        return mask
    soft: Any = cv2.resize(255 * mask.astype(np.uint8), (width, height))
    return np.asarray(soft > 127, np.bool_)


def moving_mask(
    flow: Flow, threshold: float = MIN_MOTION, photo: Pixels | None = None
) -> NDArray[np.bool_]:
    """Pixels that move relative to the background.

    Args:
        flow: (H, W, 2) pixels over the whole exposure. The signs of its vectors do not matter.
        threshold: pixels; what differs by less from the camera's motion belongs to the background.
        photo: (H, W, 3) uint8 sRGB, in which the motion must be visible; None skips this test.

    Returns:
        (H, W) bool.
    """
    flow = coherent_signs(np.asarray(flow, np.float32))
    height, width = flow.shape[:2]
    rows, columns = np.indices((height, width), np.float32)
    middle = np.stack((columns, rows), axis=-1)
    camera = _camera(middle, flow)
    first, last = middle - flow / 2, middle + flow / 2
    # The sign of each vector is open: the nearer one counts.
    residual = np.minimum(_error(camera, first, last), _error(camera, last, first))
    expected = _error(camera, first, first)
    moving = (residual > np.maximum(threshold, _SHARE * expected)).astype(np.uint8)
    side = max(_MEDIAN_SIDE, max(height, width) // 150) | 1
    moving = np.asarray(cv2.medianBlur(moving, side), np.uint8)
    shows = None
    if photo is not None:
        displaced = _displaced(camera, middle) - middle
        ways = (change_between(photo, way, -way).max(axis=-1) for way in (displaced, flow))
        shows = np.maximum(*ways) > VISIBLE_CHANGE
    return _components(moving, _MIN_AREA * height * width, shows)


def _camera(middle: NDArray[Any], flow: Flow) -> NDArray[np.float64]:
    """The homography (3, 3) from shutter open to shutter closed that fits most of the field."""
    step = max(1, max(flow.shape[:2]) // _POINTS)
    offset = min(step // 2, min(flow.shape[:2]) - 1)
    points = middle[offset::step, offset::step].reshape(-1, 2)
    half = flow[offset::step, offset::step].reshape(-1, 2) / 2
    if len(points) < 8:
        return np.eye(3)
    fitted: Any
    for tolerance in _TOLERANCES:
        cv2.setRNGSeed(0)
        fitted, inliers = cv2.findHomography(
            points - half, points + half, cv2.USAC_MAGSAC, tolerance, maxIters=2000
        )
        if fitted is not None and inliers is not None and inliers.mean() >= _MIN_INLIERS:
            return np.asarray(fitted, np.float64)
    return np.eye(3)


def _displaced(camera: NDArray[np.float64], start: NDArray[Any]) -> NDArray[np.float32]:
    """(H, W, 2) pixels: the starts, displaced by the camera's motion."""
    taken: Any = cv2.perspectiveTransform(start.reshape(-1, 1, 2), camera)
    return np.asarray(taken.reshape(start.shape), np.float32)


def _error(camera: NDArray[np.float64], start: NDArray[Any], end: NDArray[Any]) -> NDArray[Any]:
    """(H, W) pixels: distance of the ends from the starts displaced by the camera's motion."""
    distance = _displaced(camera, start) - end
    return magnitude(distance).astype(np.float32)


def _components(
    mask: NDArray[np.uint8], least: float, shows: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """The connected components of a mask that are large and visible enough.

    Args:
        mask: (H, W) 0 or 1.
        least: pixels.
        shows: (h, w) where motion is visible, at every pixel or every second one; None for all.
    """
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    kept = boxes[:, cv2.CC_STAT_AREA] >= least
    if shows is not None:
        step = -(-len(labels) // len(shows))
        part = labels[::step, ::step].ravel()
        showing = np.bincount(part, shows.ravel(), len(kept))
        kept &= showing >= _VISIBLE_SHARE * np.bincount(part, minlength=len(kept))
    kept[0] = False
    return np.asarray(kept[labels], np.bool_)
