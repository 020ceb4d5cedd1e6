"""Signs of motion axes: blur shows each pixel's axis; signs are chosen so that neighbours agree."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from b2m.media.image import row_strips
from b2m.motion.fields import magnitude

_GRID = 48  # cells on the longest side
_MIN_MOTION = 0.5  # pixels; a cell's mean, so that small movers in a still cell still count
_MIN_COSINE = 0.5  # axes more than 60 degrees apart do not determine each other's sign


def coherent_signs(axis: NDArray[np.float32]) -> NDArray[np.float32]:
    """Choose the signs of motion axes so that neighbours agree.

    Blur shows each pixel's motion axis, not the sign along it. Cells of a coarse grid that
    move are joined into regions by a maximum spanning tree, which passes the sign over the pairs
    that agree best. A region as a whole goes to the right, or down where it is nearly vertical;
    one that turns or zooms on the spot goes clockwise or outwards.

    Args:
        axis: (H, W, 2) pixels over the whole exposure; the sign of each vector has no meaning.

    Returns:
        (H, W, 2) float32, each vector that of ``axis`` or its negative.
    """
    height, width = axis.shape[:2]
    cell = max(height, width) / _GRID
    size = (max(1, round(width / max(cell, 1))), max(1, round(height / max(cell, 1))))
    coarse = _signed_cells(coarse_axes(axis, size))
    signed = np.empty((height, width, 2), np.float32)
    # The steps of cv2.resize, done by strips: only the rows between two cells are in memory.
    place = (np.arange(height, dtype=np.float32) + 0.5) * (size[1] / height) - 0.5
    place = place.clip(0, size[1] - 1)
    wide = cv2.resize(coarse, (width, size[1]), interpolation=cv2.INTER_LINEAR)
    upper = place.astype(np.intp)
    lower, share = np.minimum(upper + 1, size[1] - 1), (place - upper)[:, None, None]
    for rows in row_strips(height, width):
        guide = wide[upper[rows]] * (1 - share[rows]) + wide[lower[rows]] * share[rows]
        against = (guide * axis[rows]).sum(axis=-1, keepdims=True) < 0
        np.copyto(signed[rows], axis[rows])
        np.negative(signed[rows], out=signed[rows], where=against)
    return signed


def coarse_axes(axis: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Mean motion axis per cell, (h, w, 2); its sign has no meaning."""
    doubled = np.empty((*axis.shape[:2], 2), np.float32)
    for rows in row_strips(*axis.shape[:2]):
        doubled[rows] = double_angle_array(axis[rows])
    mean: Any = cv2.resize(doubled, size, interpolation=cv2.INTER_AREA)
    return half_angle_array(mean.reshape(size[1], size[0], 2))


def double_angle_array(axis: NDArray[np.float32]) -> NDArray[np.float32]:
    """Double-angle vectors m (cos 2a, sin 2a), in which opposite signs agree; NaN counts as 0."""
    u, v = np.nan_to_num(axis[..., 0]), np.nan_to_num(axis[..., 1])
    length = np.maximum(np.hypot(u, v), 1e-9)
    return np.stack(((u * u - v * v) / length, 2 * u * v / length), axis=-1)


def half_angle_array(doubled: NDArray[np.float32]) -> NDArray[np.float32]:
    """One of the two vectors of each motion axis."""
    length, angle = magnitude(doubled), np.arctan2(doubled[..., 1], doubled[..., 0]) / 2
    halved = length[..., None] * np.stack((np.cos(angle), np.sin(angle)), axis=-1)
    return halved.astype(np.float32)


def _signed_cells(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    # SciPy is imported here because machines that only train may lack it.
    from scipy.ndimage import distance_transform_edt
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, connected_components
    from scipy.sparse.csgraph import minimum_spanning_tree as spanning_tree

    height, width = cells.shape[:2]
    vectors = cells.reshape(-1, 2).astype(np.float64)
    lengths = magnitude(vectors)
    moving = lengths > _MIN_MOTION
    if not moving.any():
        return cells
    # SciPy before 1.15 builds trees of 32-bit indices alone.
    number = np.arange(height * width, dtype=np.int32).reshape(height, width)
    pairs = (
        (number[:, :-1], number[:, 1:]),
        (number[:-1], number[1:]),
        (number[:-1, :-1], number[1:, 1:]),
        (number[:-1, 1:], number[1:, :-1]),
    )
    start = np.concatenate([a.ravel() for a, _ in pairs])
    end = np.concatenate([b.ravel() for _, b in pairs])
    both = moving[start] & moving[end]
    start, end = start[both], end[both]
    cosine = np.abs((vectors[start] * vectors[end]).sum(axis=1)) / (lengths[start] * lengths[end])
    similar = cosine > _MIN_COSINE
    start, end, cosine = start[similar], end[similar], cosine[similar]
    weight = cosine * np.minimum(lengths[start], lengths[end])
    shape = (len(vectors), len(vectors))
    # The tree of least negative weight is the one of greatest weight.
    tree = spanning_tree(coo_array((-weight, (start, end)), shape).tocsr())
    count, region = connected_components(tree, directed=False)
    both_ways = tree + tree.T
    y, x = np.divmod(np.arange(len(vectors)), width)
    members = np.split(np.argsort(region, kind="stable"), np.bincount(region).cumsum()[:-1])
    for inside in members[:count]:
        if not moving[inside[0]]:
            continue
        order, parents = breadth_first_order(both_ways, inside[0], directed=False)
        for child in order[1:]:
            if vectors[child] @ vectors[parents[child]] < 0:
                vectors[child] *= -1
        if _needs_reversal(vectors[inside], x[inside], y[inside]):
            vectors[inside] *= -1
    # Still cells take the sign of the nearest moving one.
    nearest = distance_transform_edt(
        ~moving.reshape(height, width), return_distances=False, return_indices=True
    )
    signed = vectors.reshape(height, width, 2)[nearest[0], nearest[1]]
    return signed.astype(np.float32)


def _needs_reversal(vectors: NDArray[np.float64], x: NDArray[np.intp], y: NDArray[np.intp]) -> bool:
    """Whether a region must be reversed to follow the convention of :func:`coherent_signs`."""
    total = vectors.sum(axis=0)
    if np.hypot(*total) > 0.1 * magnitude(vectors).sum():
        chosen = total[0] if abs(total[0]) > 0.2 * abs(total[1]) else total[1]
        return bool(chosen < 0)
    right, down = x - x.mean(), y - y.mean()
    clockwise = float((right * vectors[:, 1] - down * vectors[:, 0]).sum())
    outwards = float((right * vectors[:, 0] + down * vectors[:, 1]).sum())
    return max(clockwise, outwards, key=abs) < 0
