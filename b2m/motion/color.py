"""Motion fields as pictures: the colour wheel of Baker et al. 2011."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from b2m.media.image import row_strips
from b2m.motion.fields import STILL_THRESHOLD, Flow, magnitude


@lru_cache(maxsize=1)
def _wheel() -> NDArray[np.float32]:
    """The 55 colours of Baker et al., A Database and Evaluation Methodology for Optical Flow."""
    ramps = ((15, 0, 1, 1), (6, 1, 0, -1), (4, 1, 2, 1), (11, 2, 1, -1), (13, 2, 0, 1),
             (6, 0, 2, -1))  # fmt: skip
    colors = []
    for count, full, changing, direction in ramps:
        ramp = np.zeros((count, 3), np.float32)
        step = np.floor(255 * np.arange(count) / count) / 255
        ramp[:, full] = 1
        ramp[:, changing] = step if direction > 0 else 1 - step
        colors.append(ramp)
    return np.concatenate(colors)


def flow_to_color(flow: Flow, max_magnitude: float | None = None) -> NDArray[np.uint8]:
    """Colour a flow as Middlebury does: hue is direction, white is still.

    The wheel is closed, unlike theirs, which goes from its first colour to its last and leaves an
    edge in smooth fields between what goes right and a little down and what goes a little up.

    Args:
        flow: (H, W, 2) pixels.
        max_magnitude: pixels at full saturation; longer vectors are darkened. By default the
            longest vector of this flow, but at least `STILL_THRESHOLD`, so that what counts as
            still stays pale.

    Returns:
        (H, W, 3) uint8 RGB; black where the flow is unknown (NaN).
    """
    height, width = flow.shape[:2]
    if max_magnitude is None:
        longest = (_longest(flow[rows]) for rows in row_strips(height, width))
        max_magnitude = max((STILL_THRESHOLD, *longest))
    scale = 1 / max(max_magnitude, 1e-9)
    wheel = _wheel()
    colors = np.empty((height, width, 3), np.uint8)
    for rows in row_strips(height, width):
        strip = flow[rows].astype(np.float32, copy=False)
        known = np.isfinite(strip[..., 0]) & np.isfinite(strip[..., 1])
        u, v = np.where(known, strip[..., 0], 0) * scale, np.where(known, strip[..., 1], 0) * scale
        radius = np.hypot(u, v)[..., None]
        place = (np.arctan2(-v, -u) / np.pi + 1) / 2 * len(wheel)
        lower = place.astype(np.int32)  # 55 where -v is 0 and not -0: the first colour again
        share = (place - lower)[..., None]
        color = (1 - share) * wheel[lower % len(wheel)] + share * wheel[(lower + 1) % len(wheel)]
        # The longest vector itself may come out a rounding step above 1.
        color = np.where(radius <= 1 + 1e-5, 1 - np.minimum(radius, 1) * (1 - color), color * 0.75)
        colors[rows] = np.rint(255 * color * known[..., None])
    return colors


def color_wheel(size: int) -> NDArray[np.uint8]:
    """The legend of :func:`flow_to_color`: (size, size, 4) uint8 RGBA, transparent outside.

    A vector from the centre to a point of the disc has that point's colour; the rim is
    ``max_magnitude``.
    """
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    vectors = np.stack(np.broadcast_arrays(axis[None], axis[:, None]), axis=-1)
    radius = magnitude(vectors)
    inside = vectors / np.maximum(radius, 1)[..., None]
    opacity = np.clip((1 - radius) * size / 2, 0, 1) * 255
    return np.dstack((flow_to_color(inside, 1.0), np.rint(opacity).astype(np.uint8)))


def _longest(flow: Flow) -> float:
    length = magnitude(flow)
    return float(length.max(where=np.isfinite(length), initial=0))
