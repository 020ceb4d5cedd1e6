"""Coherent regions: pixels that move as one, found from the motion axes and the photo's edges.

Blur shows each pixel's motion axis, not the sign along it. The sign is open for each moving object,
not for each pixel. Superpixels of motion and color (SLIC) are merged hierarchically for as long as
motion is continuous across their boundary. Imports no model.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from b2m.media.image import row_strips
from b2m.motion.fields import magnitude
from b2m.motion.orientation import coarse_axes, double_angle_array, half_angle_array

Labels = NDArray[np.uint8]
Cells = NDArray[np.float32]

_GRID = 192
_SAMPLES = 4  # of the motion axis on each side of a cell
_MOVING_SHARE = 0.25  # of a cell's pixels, from which on the cell moves
_SUPERPIXEL = 5  # cells; approximate side of a superpixel
_SLIC_ITERATIONS = 4
_REACH = 2  # cells; motion fades across a boundary, so both sides are compared this far from it
_CLEAR_EDGE = 20.0  # difference in CIE Lab of a certain edge
_DISCONTINUITY = 0.42  # of the motion, across a boundary; less is merged
_NEGLIGIBLE = 0.003  # of all motion; a smaller region is merged into any neighbour
_SMALL = 0.02  # of all motion; a smaller region is merged up to twice the discontinuity
_SIMILAR = 0.3  # of the motion; so are regions whose mean motions differ by less
# A fringe, where the motion of a region fades into the still background, is no region.
_FRINGE = 0.06  # of all motion, at most
_FRINGE_SPEED = 0.6  # of the speed of the region it belongs to, at most
_FRINGE_CONTACT = 0.25  # of its boundary is shared with that region, at least
_FRINGE_ANGLE = math.radians(35)  # between both motion axes
_MAX_REGIONS = 250
_INTERPOLATED = 8  # so many regions, the largest, get interpolated boundaries
_CLICK_TOLERANCE = 0.03  # of the longest side; a point this close to a region selects it
_CLICK_CELLS = 32  # searched to each side
_GUIDANCE_GRID = 768  # cells on the longest side


def find_regions(
    axis: NDArray[np.float32], photo: NDArray[np.uint8] | None = None, *, threshold: float
) -> Labels:
    """Segment the pixels that move as one.

    On a coarse grid, superpixels that follow the edges of motion and photo are merged for as long
    as the motion is continuous across their boundary; at an edge of the photo a smaller
    discontinuity separates them. Still pixels are in no region, and separate regions.

    Args:
        axis: (H, W, 2) pixels over the whole exposure; the sign of each vector has no meaning.
        photo: (H, W, 3) uint8; None uses the motion alone.
        threshold: pixels; shorter vectors are still.

    Returns:
        (H, W) uint8: 0 where still, else the number of the region, from 1 on, in order of falling
        motion (area times length).
    """
    height, width = axis.shape[:2]
    cell = max(max(height, width) / _GRID, 1)
    size = (max(1, round(width / cell)), max(1, round(height / cell)))
    step = max(1, int(cell / _SAMPLES))
    sparse = axis[::step, ::step]
    cells = coarse_axes(sparse, size)
    moves = magnitude(sparse) >= threshold
    share = cv2.resize(moves.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    moving = share.reshape(size[::-1]) >= _MOVING_SHARE
    colors: Any = None
    if photo is not None:
        small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        colors = cv2.cvtColor(small.reshape(*size[::-1], 3).astype(np.float32) / 255,
                              cv2.COLOR_RGB2LAB)  # fmt: skip
    coarse = _numbered_by_motion(_segmented(cells, moving, colors), cells, moving)
    return enlarge(coarse, axis, threshold)


def enlarge(labels: Labels, axis: NDArray[Any], threshold: float) -> Labels:
    """Resize regions to the size of ``axis``: every moving pixel gets the nearest region.

    Args:
        labels: (h, w) uint8, of a smaller grid or the same; 0 for none.
        axis: (H, W, 2) pixels.
        threshold: pixels; shorter vectors are still, and 0.

    Returns:
        (H, W) uint8.
    """
    height, width = axis.shape[:2]
    whole = fill_nearest(labels)
    if whole.shape != (height, width):
        whole = _smoothly_resized(whole, (width, height))
    elif whole is labels:
        whole = whole.copy()
    for rows in row_strips(height, width):
        u, v = axis[rows, :, 0], axis[rows, :, 1]
        whole[rows] *= u * u + v * v >= threshold * threshold  # false for NaN
    return whole


def fill_nearest(labels: Labels) -> Labels:
    """(h, w) uint8: each pixel in no region gets the nearest one; zeros if there is none."""
    from scipy.ndimage import distance_transform_edt

    if labels.all() or not labels.any():
        return labels
    nearest = distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    return np.asarray(labels[nearest[0], nearest[1]])


def label_near(
    labels: Labels, points: NDArray[np.float64]
) -> tuple[Labels, NDArray[np.intp], NDArray[np.intp]]:
    """The region under each point, or the closest one within a tolerance.

    Areas without texture inside an object show no motion, and clicks are not exact.

    Args:
        labels: (H, W) uint8, 0 for none.
        points: (N, 2) x and y inside.

    Returns:
        Numbers, and the row and column where each was found: (N,) each. 0 where there is none.
    """
    height, width = labels.shape
    columns, rows = points.astype(np.intp).T
    reach = int(np.ceil(_CLICK_TOLERANCE * max(height, width)))
    step = max(1, reach // _CLICK_CELLS)
    for index in np.flatnonzero(labels[rows, columns] == 0).tolist():
        y, x = int(rows[index]), int(columns[index])
        top, left = max(y - reach, 0), max(x - reach, 0)
        ys, xs = np.nonzero(labels[top : y + reach + 1 : step, left : x + reach + 1 : step])
        ys, xs = top + ys * step, left + xs * step
        squared = (ys - y) ** 2 + (xs - x) ** 2
        if len(squared) and squared.min() <= reach**2:
            nearest = int(squared.argmin())
            rows[index], columns[index] = ys[nearest], xs[nearest]
    return labels[rows, columns], rows, columns


def guidance_regions(guidance: NDArray[np.int8]) -> Labels:
    """Regions of guidance: connected pixels whose directions are not opposite.

    Args:
        guidance: (H, W, 2) int8.

    Returns:
        (H, W) uint8: 0 where still, else numbers from 1 on, the largest region first.
    """
    height, width = guidance.shape[:2]
    step = max(1, max(height, width) // _GUIDANCE_GRID)
    coarse = np.ascontiguousarray(guidance[step // 2 :: step, step // 2 :: step])
    number = np.arange(coarse.shape[0] * coarse.shape[1]).reshape(coarse.shape[:2])
    links = []
    for here, there in neighbours():
        one, other = coarse[here].astype(np.int16), coarse[there].astype(np.int16)
        linked = one.any(axis=-1) & other.any(axis=-1) & ((one * other).sum(axis=-1) >= 0)
        links.append((number[here][linked], number[there][linked]))
    moving = np.asarray(coarse.any(axis=-1))
    vectors = coarse.astype(np.float32)
    return enlarge(
        _numbered_by_motion(_connected(links, moving.shape), vectors, moving), guidance, 1.0
    )


def _connected(
    links: Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]], shape: tuple[int, ...]
) -> NDArray[np.intp]:
    """Connected component of each cell of a grid, by pairs of cells that are linked."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    start, end = (np.concatenate(ends) for ends in zip(*links, strict=True))
    size = math.prod(shape)
    graph = coo_array((np.ones(len(start), np.int8), (start, end)), (size, size))
    _, piece = connected_components(graph.tocsr(), directed=False)
    return np.asarray(piece, np.intp).reshape(shape)


def boundary_lengths(
    labels: NDArray[Any], moving: NDArray[np.bool_], count: int
) -> NDArray[np.float64]:
    """Length of the boundary of each region, (count,) pairs of neighbouring cells."""
    lengths = np.zeros(count)
    for here, there in neighbours():
        for one, other in ((here, there), (there, here)):
            leaves = moving[one] & (~moving[other] | (labels[one] != labels[other]))
            lengths += np.bincount(labels[one][leaves], minlength=count)
    return lengths


def _smoothly_resized(labels: Labels, size: tuple[int, int]) -> Labels:
    """Resize labels with interpolated boundaries, not the corners of cells."""
    present = np.unique(labels)
    resized: Any = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    for number in present[present <= _INTERPOLATED] if len(present) > 1 else ():
        inside = cv2.resize((labels == number).astype(np.uint8) * 255, size)
        np.copyto(resized, number, where=inside > 127)
    return np.asarray(resized)


def _numbered_by_motion(
    labels: NDArray[np.intp], cells: Cells, moving: NDArray[np.bool_]
) -> Labels:
    """Number regions from 1 on by falling motion; 0 where still."""
    motion = np.bincount(labels[moving], magnitude(cells)[moving])
    rank = np.empty(len(motion), np.intp)
    rank[np.argsort(-motion, kind="stable")] = np.arange(1, len(motion) + 1)
    numbered = np.zeros(moving.shape, np.uint8)
    numbers = rank[labels[moving]]
    numbered[moving] = np.where(numbers > _MAX_REGIONS, 0, numbers)
    return numbered


def _segmented(
    cells: Cells, moving: NDArray[np.bool_], colors: NDArray[np.float32] | None
) -> NDArray[np.intp]:
    """Regions of a grid: (h, w) numbers, valid where it moves."""
    if not moving.any():
        return np.zeros(moving.shape, np.intp)
    superpixels, count = _superpixels(cells, moving, colors)
    first, second, discontinuities = _boundaries(cells, moving, colors, superpixels)
    inside, doubled = superpixels[moving], double_angle_array(cells)[moving]
    motion, axis_sums = np.zeros(count), np.zeros((count, 3))
    np.add.at(motion, inside, magnitude(cells)[moving])
    np.add.at(axis_sums, inside, np.column_stack((doubled, np.ones(len(doubled)))))
    joined = _merge(count, first, second, discontinuities, motion, axis_sums)
    _, joined = np.unique(joined, return_inverse=True)
    moved = np.bincount(joined, motion).astype(np.float64)
    together = np.column_stack([np.bincount(joined, column) for column in axis_sums.T]).astype(
        float
    )
    regions = joined[superpixels]
    return _fringe_owners(regions, moving, moved, together)[regions]


def _fringe_owners(
    regions: NDArray[np.intp],
    moving: NDArray[np.bool_],
    motion: NDArray[np.float64],
    axis_sums: NDArray[np.float64],
) -> NDArray[np.intp]:
    """For each region its own number, or, for a fringe, that of its owner; see `_merge`."""
    count = len(motion)
    boundary, shared = boundary_lengths(regions, moving, count), np.zeros((count, count))
    for here, there in neighbours():
        both = moving[here] & moving[there] & (regions[here] != regions[there])
        np.add.at(shared, (regions[here][both], regions[there][both]), 1)
    shared += shared.T
    speed, directions = motion / axis_sums[:, 2], axis_sums[:, :2]
    owners = np.arange(count)
    for fringe in np.flatnonzero(motion < _FRINGE * motion.sum()):
        owner = int(shared[fringe].argmax())
        lengths = np.linalg.norm(directions[fringe]) * np.linalg.norm(directions[owner])
        # Of doubled angles.
        similar = directions[fringe] @ directions[owner] >= math.cos(2 * _FRINGE_ANGLE) * lengths
        slower = speed[fringe] < _FRINGE_SPEED * speed[owner] and motion[fringe] < motion[owner] / 3
        if similar and slower and shared[fringe, owner] >= _FRINGE_CONTACT * boundary[fringe]:
            owners[fringe] = owner
    for _ in range(2):  # a fringe of a fringe
        owners = owners[owners]
    return owners


def _superpixels(
    cells: Cells, moving: NDArray[np.bool_], colors: NDArray[np.float32] | None
) -> tuple[NDArray[np.intp], int]:
    """Connected superpixels: their numbers, valid where it moves, and how many there are."""
    height, width = moving.shape
    length = np.maximum(magnitude(cells), 1.0)
    # Scaled so that a difference of about 1 is an edge.
    features = [2 * double_angle_array(cells) / length[..., None], 2 * np.log(length)[..., None]]
    if colors is not None:
        features.append(colors / _CLEAR_EDGE)
    basins = _slic(np.concatenate(features, axis=-1).astype(np.float32))
    # A still gap may cut a basin in two.
    number = np.arange(height * width).reshape(height, width)
    links = []
    for here, there in neighbours():
        same = moving[here] & moving[there] & (basins[here] == basins[there])
        links.append((number[here][same], number[there][same]))
    piece = _connected(links, moving.shape)
    used, compact = np.unique(piece[moving], return_inverse=True)
    superpixels = np.zeros((height, width), np.intp)
    superpixels[moving] = compact
    return superpixels, len(used)


def neighbours() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Slices of each cell and its neighbour, to the right and below."""
    return (np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])


def _slic(features: NDArray[np.float32]) -> NDArray[np.intp]:
    """Superpixels (SLIC, Achanta et al., PAMI 2012) of features of which 1 apart is an edge.

    Cells of a number need not be connected.
    """
    height, width, _ = features.shape
    rows, columns = -(-height // _SUPERPIXEL), -(-width // _SUPERPIXEL)
    y, x = np.mgrid[:height, :width].astype(np.float32) / _SUPERPIXEL
    features = np.dstack((features, y, x))
    square = (y.astype(np.intp), x.astype(np.intp))
    chosen = square[0] * columns + square[1]
    flat = features.reshape(height * width, -1)
    for _ in range(_SLIC_ITERATIONS):
        count = np.bincount(chosen.ravel(), minlength=rows * columns)
        sums = [np.bincount(chosen.ravel(), plane, rows * columns) for plane in flat.T]
        centres = np.stack(sums, axis=-1) / np.maximum(count, 1)[:, None]
        centres[count == 0] = np.inf
        best = np.full((height, width), np.inf, np.float32)
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                row, column = square[0] + down, square[1] + right
                inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
                number = np.where(inside, row * columns + column, 0)
                difference = features - centres.astype(np.float32)[number]
                far = np.where(inside, (difference * difference).sum(axis=-1), np.inf)
                closer = far < best
                best[closer], chosen[closer] = far[closer], number[closer]
    return chosen


def _boundaries(
    cells: Cells,
    moving: NDArray[np.bool_],
    colors: NDArray[np.float32] | None,
    superpixels: NDArray[np.intp],
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Pairs of neighbouring cells of two superpixels: both superpixels, and the discontinuity."""
    number = np.arange(moving.size).reshape(moving.shape)
    height, width = moving.shape
    smoothed = _superpixel_means(cells, superpixels, moving)
    vectors, lengths = smoothed.reshape(-1, 2), magnitude(smoothed).reshape(-1)
    there_itself = magnitude(cells).reshape(-1)
    firsts, seconds, discontinuities = [], [], []
    for (here, there), stride, limit in zip(neighbours(), (1, width), (width, height), strict=True):
        across = moving[here] & moving[there] & (superpixels[here] != superpixels[there])
        before, after = number[here][across], number[there][across]
        if not len(before):
            continue
        place = before % width if stride == 1 else before // width
        back, forth = before, after
        for reach in range(1, _REACH + 1):
            # Only as long as cells move.
            candidate = before - reach * stride * (place >= reach)
            held = (back == before - (reach - 1) * stride) & moving.reshape(-1)[candidate]
            back = np.where(held, candidate, back)
            candidate = after + reach * stride * (place + 1 + reach < limit)
            held = (forth == after + (reach - 1) * stride) & moving.reshape(-1)[candidate]
            forth = np.where(held, candidate, forth)
        one, other = vectors[back], vectors[forth]
        longest = np.maximum(np.maximum(lengths[back], lengths[forth]), 1e-6)
        discontinuity = np.minimum(magnitude(one - other), magnitude(one + other)) / longest
        # Between two regions that do not touch, the motion is shorter than on both sides.
        sides = np.maximum(np.minimum(lengths[back], lengths[forth]), 1e-6)
        dip = 1 - np.minimum(there_itself[before], there_itself[after]) / sides
        edge = np.full(len(before), 0.5)
        if colors is not None:
            lab = colors.reshape(-1, 3)
            difference = np.linalg.norm(lab[back] - lab[forth], axis=1)
            edge = np.minimum(difference / _CLEAR_EDGE, 1)
        firsts.append(superpixels.reshape(-1)[before])
        seconds.append(superpixels.reshape(-1)[after])
        discontinuities.append(np.maximum(discontinuity, dip) * (0.75 + 0.5 * edge))
    if not firsts:
        nothing = np.empty(0, np.intp)
        return nothing, nothing, np.empty(0)
    return np.concatenate(firsts), np.concatenate(seconds), np.concatenate(discontinuities)


def _superpixel_means(
    cells: Cells, superpixels: NDArray[np.intp], moving: NDArray[np.bool_]
) -> Cells:
    """The mean motion axis of each cell's superpixel, which no error of a single cell moves."""
    doubled, inside = double_angle_array(cells), superpixels[moving]
    count = np.maximum(np.bincount(inside), 1)
    means = [np.bincount(inside, doubled[..., axis][moving]) / count for axis in (0, 1)]
    smoothed = np.zeros_like(cells)
    smoothed[moving] = half_angle_array(np.stack(means, axis=-1).astype(np.float32))[inside]
    return smoothed


def _merge(
    count: int,
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    discontinuities: NDArray[np.float64],
    motion: NDArray[np.float64],
    axis_sums: NDArray[np.float64],
) -> NDArray[np.intp]:
    """Merge superpixels hierarchically, the least mean discontinuity across a boundary first.

    Args:
        count: of superpixels.
        first, second: superpixels on both sides of each pair of cells at a boundary.
        discontinuities: discontinuity of the motion there, as a share of it.
        motion: (count,) of each superpixel, area times length.
        axis_sums: (count, 3) sum of the doubled angles of each superpixel, and their number.

    Returns:
        For each superpixel the number of its region.
    """
    boundaries: list[dict[int, tuple[float, int]]] = [{} for _ in range(count)]
    low, high = np.minimum(first, second), np.maximum(first, second)
    pairs, place = np.unique(low * max(count, 1) + high, return_inverse=True)
    sums, cells = np.bincount(place, discontinuities), np.bincount(place)
    for pair, total, length in zip(pairs.tolist(), sums.tolist(), cells.tolist(), strict=True):
        one, other = divmod(pair, count)
        boundaries[one][other] = boundaries[other][one] = (total, length)
    parent = list(range(count))
    weight, axis_sums = motion.tolist(), axis_sums.copy()
    everything = max(sum(weight), 1e-9)

    def discontinuity(one: int, other: int) -> float:
        total, length = boundaries[one][other]
        return total / length

    def threshold(one: int, other: int) -> float:
        share = min(weight[one], weight[other]) / everything
        if share < _NEGLIGIBLE:
            return math.inf
        means = axis_sums[[one, other], :2] / axis_sums[[one, other], 2:]
        longest = max(np.hypot(*means[0]), np.hypot(*means[1]), 1e-9)
        similar = np.hypot(*(means[0] - means[1])) < _SIMILAR * longest
        return 2 * _DISCONTINUITY if share < _SMALL or similar else _DISCONTINUITY

    for lenient in (False, True):  # which regions are small is known once the large have grown
        heap = [(discontinuity(a, b), a, b) for a in range(count) for b in boundaries[a] if a < b]
        heapq.heapify(heap)
        while heap:
            cost, one, other = heapq.heappop(heap)
            # Regions merged since have another boundary, and another entry.
            if other not in boundaries[one] or discontinuity(one, other) != cost:
                continue
            if cost > (threshold(one, other) if lenient else _DISCONTINUITY):
                continue
            keep, gone = (
                (one, other) if len(boundaries[one]) >= len(boundaries[other]) else (other, one)
            )
            parent[gone] = keep
            weight[keep] += weight[gone]
            axis_sums[keep] += axis_sums[gone]
            del boundaries[keep][gone], boundaries[gone][keep]
            for beside, (total, length) in boundaries[gone].items():
                del boundaries[beside][gone]
                known = boundaries[keep].get(beside, (0.0, 0))
                boundaries[keep][beside] = (total + known[0], length + known[1])
                boundaries[beside][keep] = boundaries[keep][beside]
                heapq.heappush(
                    heap, (discontinuity(keep, beside), min(keep, beside), max(keep, beside))
                )
            boundaries[gone] = {}
    roots = np.array(parent, np.intp)
    while (roots[roots] != roots).any():
        roots = roots[roots]
    return roots
