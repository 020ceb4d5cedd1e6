"""Coherent regions: what moved as one thing, found from the motion axes and the photo's edges.

Blur shows each pixel's motion axis, not the sign along it. That choice is one for each thing
that moves, not one for each pixel, and here is what takes pixels together. Pure: imports no model.
"""

from __future__ import annotations

import heapq
import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from b2m.media.image import row_strips
from b2m.motion.orientation import coarse_lines, doubled_angle, halved_angle, length_of

Labels = NDArray[np.uint8]
Cells = NDArray[np.float32]

_GRID = 192
_SAMPLES = 4  # of the line on each side of a cell; more say no more
_MOVING_SHARE = 0.25  # of a cell's pixels, from which on the cell moves
_PATCH = 5  # cells; the side of a patch, about
_CLUSTER_STEPS = 4
_REACH = 2  # cells; both sides of a border are compared so far from it, as motion fades across it
_CLEAR_EDGE = 20.0  # difference in CIE Lab that is an edge beyond doubt
_JUMP = 0.42  # of the motion, across a border; less is one thing
_CRUMB = 0.003  # of all motion; less is no thing of its own unless it stands apart
_SMALL = 0.02  # of all motion; so little needs twice the jump
_ALIKE = 0.3  # of the motion; what differs by less on the whole needs twice the jump, too
# A rim, where the motion of a thing fades into the ground, is no thing of its own.
_RIM = 0.06  # of all motion; more is none
_RIM_SLOWER = 0.6  # than what it belongs to
_RIM_TOUCHES = 0.25  # of its outline
_RIM_ANGLE = math.radians(35)  # between both motion axes
_MOST = 250
_SMOOTH = 8  # the outline of crumbs matters to nobody
_CLICK_TOLERANCE = 0.03  # of the longest side; a point so close to a region means it
_CLICK_CELLS = 32  # so finely, to each side
_GUIDANCE_GRID = 768  # cells on the longest side


def find_regions(
    line: NDArray[np.float32], photo: NDArray[np.uint8] | None = None, *, threshold: float
) -> Labels:
    """Take the pixels that move as one thing together.

    On a coarse grid, small patches that follow the edges of motion and photo are joined for as
    long as the motion jumps little across their common border; where the photo has an edge a
    smaller jump is enough to part them. What is still belongs to nothing, and parts what it lies
    between.

    Args:
        line: (H, W, 2) pixels over the whole exposure; the sign of each vector has no meaning.
        photo: (H, W, 3) uint8; None leaves it to the motion alone.
        threshold: pixels; shorter vectors are still.

    Returns:
        (H, W) uint8: 0 where still, else the number of the region, from 1 on, those with most
        motion (area times length) first.
    """
    height, width = line.shape[:2]
    cell = max(max(height, width) / _GRID, 1)
    size = (max(1, round(width / cell)), max(1, round(height / cell)))
    step = max(1, int(cell / _SAMPLES))
    sparse = line[::step, ::step]
    cells = coarse_lines(sparse, size)
    moves = length_of(sparse) >= threshold
    share = cv2.resize(moves.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    moving = share.reshape(size[::-1]) >= _MOVING_SHARE
    colors: Any = None
    if photo is not None:
        small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        colors = cv2.cvtColor(small.reshape(*size[::-1], 3).astype(np.float32) / 255,
                              cv2.COLOR_RGB2LAB)  # fmt: skip
    coarse = _by_motion(_joined(cells, moving, colors), cells, moving)
    return enlarge(coarse, line, threshold)


def enlarge(labels: Labels, line: NDArray[Any], threshold: float) -> Labels:
    """Bring regions to the size of ``line``: every pixel that moves gets the nearest region.

    Args:
        labels: (h, w) uint8, of a smaller grid or the same; 0 for none.
        line: (H, W, 2) pixels.
        threshold: pixels; shorter vectors are still, and 0.

    Returns:
        (H, W) uint8.
    """
    height, width = line.shape[:2]
    whole = everywhere(labels)
    if whole.shape != (height, width):
        whole = _smoothly_resized(whole, (width, height))
    elif whole is labels:
        whole = whole.copy()
    for rows in row_strips(height, width):
        u, v = line[rows, :, 0], line[rows, :, 1]
        whole[rows] *= u * u + v * v >= threshold * threshold  # not so where it is NaN
    return whole


def everywhere(labels: Labels) -> Labels:
    """(h, w) uint8: each pixel that is in no region put into the nearest; zeros if none is."""
    from scipy.ndimage import distance_transform_edt

    if labels.all() or not labels.any():
        return labels
    nearest = distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    return np.asarray(labels[nearest[0], nearest[1]])


def label_near(
    labels: Labels, points: NDArray[np.float64]
) -> tuple[Labels, NDArray[np.intp], NDArray[np.intp]]:
    """The region under each point, or, on still ground, the one that it is closest to.

    Clicks have a tolerance, and a plain surface inside an object shows no motion.

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


def touching(guidance: NDArray[np.int8]) -> Labels:
    """Regions of guidance alone: what hangs together, though not across a border of opposites.

    Args:
        guidance: (H, W, 2) int8.

    Returns:
        (H, W) uint8: 0 where still, else numbers from 1 on, the largest region first.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    height, width = guidance.shape[:2]
    step = max(1, max(height, width) // _GUIDANCE_GRID)
    coarse = np.ascontiguousarray(guidance[step // 2 :: step, step // 2 :: step])
    number = np.arange(coarse.shape[0] * coarse.shape[1]).reshape(coarse.shape[:2])
    starts, ends = [], []
    for here, there in _neighbours():
        one, other = coarse[here].astype(np.int16), coarse[there].astype(np.int16)
        linked = one.any(axis=-1) & other.any(axis=-1) & ((one * other).sum(axis=-1) >= 0)
        starts.append(number[here][linked])
        ends.append(number[there][linked])
    start, end = np.concatenate(starts), np.concatenate(ends)
    graph = coo_array((np.ones(len(start), np.int8), (start, end)), (number.size, number.size))
    _, piece = connected_components(graph.tocsr(), directed=False)
    moving = np.asarray(coarse.any(axis=-1))
    vectors = coarse.astype(np.float32)
    return enlarge(_by_motion(piece.reshape(moving.shape), vectors, moving), guidance, 1.0)


def _smoothly_resized(labels: Labels, size: tuple[int, int]) -> Labels:
    """Borders between regions are drawn between the cells, without the cells' corners."""
    present = np.unique(labels)
    resized: Any = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    for number in present[present <= _SMOOTH] if len(present) > 1 else ():
        inside = cv2.resize((labels == number).astype(np.uint8) * 255, size)
        np.copyto(resized, number, where=inside > 127)
    return np.asarray(resized)


def _by_motion(labels: NDArray[np.intp], cells: Cells, moving: NDArray[np.bool_]) -> Labels:
    """Number regions from 1 on by their motion; 0 for what is still."""
    motion = np.bincount(labels[moving], length_of(cells)[moving])
    rank = np.empty(len(motion), np.intp)
    rank[np.argsort(-motion, kind="stable")] = np.arange(1, len(motion) + 1)
    numbered = np.zeros(moving.shape, np.uint8)
    numbers = rank[labels[moving]]
    numbered[moving] = np.where(numbers > _MOST, 0, numbers)
    return numbered


def _joined(
    cells: Cells, moving: NDArray[np.bool_], colors: NDArray[np.float32] | None
) -> NDArray[np.intp]:
    """Regions of a grid: (h, w) numbers that mean something where it moves."""
    if not moving.any():
        return np.zeros(moving.shape, np.intp)
    patches, count = _patches(cells, moving, colors)
    first, second, jumps = _borders(cells, moving, colors, patches)
    inside, doubled = patches[moving], doubled_angle(cells)[moving]
    motion, lines = np.zeros(count), np.zeros((count, 3))
    np.add.at(motion, inside, length_of(cells)[moving])
    np.add.at(lines, inside, np.column_stack((doubled, np.ones(len(doubled)))))
    joined = _merge(count, first, second, jumps, motion, lines)
    _, joined = np.unique(joined, return_inverse=True)
    moved = np.bincount(joined, motion).astype(np.float64)
    together = np.column_stack([np.bincount(joined, column) for column in lines.T]).astype(float)
    regions = joined[patches]
    return _without_rims(regions, moving, moved, together)[regions]


def _without_rims(
    regions: NDArray[np.intp],
    moving: NDArray[np.bool_],
    motion: NDArray[np.float64],
    lines: NDArray[np.float64],
) -> NDArray[np.intp]:
    """For each region itself, or, of a rim, the number of what it is the rim of.

    Args:
        regions: (h, w) numbers from 0 on, that mean something where it moves.
        moving: (h, w).
        motion, lines: of each region, see `_merge`.
    """
    count = len(motion)
    outline, shared = np.zeros(count), np.zeros((count, count))
    for here, there in _neighbours():
        for one, other in ((here, there), (there, here)):
            leaves = moving[one] & (~moving[other] | (regions[one] != regions[other]))
            outline += np.bincount(regions[one][leaves], minlength=count)
            both = leaves & moving[other]
            np.add.at(shared, (regions[one][both], regions[other][both]), 1)
    speed, directions = motion / lines[:, 2], lines[:, :2]
    belongs = np.arange(count)
    for rim in np.flatnonzero(motion < _RIM * motion.sum()):
        thing = int(shared[rim].argmax())
        lengths = np.linalg.norm(directions[rim]) * np.linalg.norm(directions[thing])
        # Of doubled angles.
        alike = directions[rim] @ directions[thing] >= math.cos(2 * _RIM_ANGLE) * lengths
        slower = speed[rim] < _RIM_SLOWER * speed[thing] and motion[rim] < motion[thing] / 3
        if alike and slower and shared[rim, thing] >= _RIM_TOUCHES * outline[rim]:
            belongs[rim] = thing
    for _ in range(2):  # the rim of a rim
        belongs = belongs[belongs]
    return belongs


def _patches(
    cells: Cells, moving: NDArray[np.bool_], colors: NDArray[np.float32] | None
) -> tuple[NDArray[np.intp], int]:
    """Small connected pieces, whose outlines follow the edges: numbers where it moves, how many."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    height, width = moving.shape
    length = np.maximum(length_of(cells), 1.0)
    # All so that a difference of about 1 is an edge.
    features = [2 * doubled_angle(cells) / length[..., None], 2 * np.log(length)[..., None]]
    if colors is not None:
        features.append(colors / _CLEAR_EDGE)
    basins = _clustered(np.concatenate(features, axis=-1).astype(np.float32))
    # A still gap may cut a basin in two.
    number = np.arange(height * width).reshape(height, width)
    links = []
    for here, there in _neighbours():
        same = moving[here] & moving[there] & (basins[here] == basins[there])
        links.append((number[here][same], number[there][same]))
    start, end = (np.concatenate(ends) for ends in zip(*links, strict=True))
    graph = coo_array((np.ones(len(start), np.int8), (start, end)), (number.size, number.size))
    _, piece = connected_components(graph.tocsr(), directed=False)
    used, compact = np.unique(piece.reshape(height, width)[moving], return_inverse=True)
    patches = np.zeros((height, width), np.intp)
    patches[moving] = compact
    return patches, len(used)


def _neighbours() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Where a cell and the next one are, to the right and down."""
    return (np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])


def _clustered(features: NDArray[np.float32]) -> NDArray[np.intp]:
    """Clusters of neighbours that are alike (Achanta et al., SLIC superpixels, PAMI 2012).

    Args:
        features: (h, w, C), where a difference of 1 is much.

    Returns:
        (h, w) numbers; cells of a number need not hang together.
    """
    height, width, _ = features.shape
    rows, columns = -(-height // _PATCH), -(-width // _PATCH)
    y, x = np.mgrid[:height, :width].astype(np.float32) / _PATCH
    features = np.dstack((features, y, x))
    square = (y.astype(np.intp), x.astype(np.intp))
    chosen = square[0] * columns + square[1]
    flat = features.reshape(height * width, -1)
    for _ in range(_CLUSTER_STEPS):
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


def _borders(
    cells: Cells,
    moving: NDArray[np.bool_],
    colors: NDArray[np.float32] | None,
    patches: NDArray[np.intp],
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """All pairs of neighbouring cells of two patches: both patches, and how motion jumps there."""
    number = np.arange(moving.size).reshape(moving.shape)
    height, width = moving.shape
    calm = _calmed(cells, patches, moving)
    vectors, lengths = calm.reshape(-1, 2), length_of(calm).reshape(-1)
    there_itself = length_of(cells).reshape(-1)
    firsts, seconds, jumps = [], [], []
    for (here, there), stride, limit in zip(
        _neighbours(), (1, width), (width, height), strict=True
    ):
        across = moving[here] & moving[there] & (patches[here] != patches[there])
        before, after = number[here][across], number[there][across]
        if not len(before):
            continue
        place = before % width if stride == 1 else before // width
        back, forth = before, after
        for reach in range(1, _REACH + 1):
            # As far as it goes on moving.
            candidate = before - reach * stride * (place >= reach)
            held = (back == before - (reach - 1) * stride) & moving.reshape(-1)[candidate]
            back = np.where(held, candidate, back)
            candidate = after + reach * stride * (place + 1 + reach < limit)
            held = (forth == after + (reach - 1) * stride) & moving.reshape(-1)[candidate]
            forth = np.where(held, candidate, forth)
        one, other = vectors[back], vectors[forth]
        longest = np.maximum(np.maximum(lengths[back], lengths[forth]), 1e-6)
        jump = np.minimum(length_of(one - other), length_of(one + other)) / longest
        # Where two lines meet their mean is short; between two things that keep apart all is still.
        sides = np.maximum(np.minimum(lengths[back], lengths[forth]), 1e-6)
        dip = 1 - np.minimum(there_itself[before], there_itself[after]) / sides
        edge = np.full(len(before), 0.5)
        if colors is not None:
            lab = colors.reshape(-1, 3)
            difference = np.linalg.norm(lab[back] - lab[forth], axis=1)
            edge = np.minimum(difference / _CLEAR_EDGE, 1)
        firsts.append(patches.reshape(-1)[before])
        seconds.append(patches.reshape(-1)[after])
        jumps.append(np.maximum(jump, dip) * (0.75 + 0.5 * edge))
    if not firsts:
        nothing = np.empty(0, np.intp)
        return nothing, nothing, np.empty(0)
    return np.concatenate(firsts), np.concatenate(seconds), np.concatenate(jumps)


def _calmed(cells: Cells, patches: NDArray[np.intp], moving: NDArray[np.bool_]) -> Cells:
    """The mean line of each cell's patch: one cell's error is no border, and none is blurred."""
    doubled, inside = doubled_angle(cells), patches[moving]
    count = np.maximum(np.bincount(inside), 1)
    means = [np.bincount(inside, doubled[..., axis][moving]) / count for axis in (0, 1)]
    calm = np.zeros_like(cells)
    calm[moving] = halved_angle(np.stack(means, axis=-1).astype(np.float32))[inside]
    return calm


def _merge(
    count: int,
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    jumps: NDArray[np.float64],
    motion: NDArray[np.float64],
    lines: NDArray[np.float64],
) -> NDArray[np.intp]:
    """Join patches, the least mean jump across a border first, until the least is too much.

    Args:
        count: of patches.
        first, second: patches on both sides of each step across a border.
        jumps: of the motion there, as a share of it.
        motion: (count,) of each patch, area times length.
        lines: (count, 3) sum of the doubled angles of each patch, and their number.

    Returns:
        For each patch the region it has become part of, numbers of no meaning.
    """
    borders: list[dict[int, tuple[float, int]]] = [{} for _ in range(count)]
    low, high = np.minimum(first, second), np.maximum(first, second)
    pairs, place = np.unique(low * max(count, 1) + high, return_inverse=True)
    sums, cells = np.bincount(place, jumps), np.bincount(place)
    for pair, total, length in zip(pairs.tolist(), sums.tolist(), cells.tolist(), strict=True):
        one, other = divmod(pair, count)
        borders[one][other] = borders[other][one] = (total, length)
    parent = list(range(count))
    weight, lines = motion.tolist(), lines.copy()
    everything = max(sum(weight), 1e-9)

    def jump(one: int, other: int) -> float:
        total, length = borders[one][other]
        return total / length

    def patience(one: int, other: int) -> float:
        share = min(weight[one], weight[other]) / everything
        if share < _CRUMB:
            return math.inf
        means = lines[[one, other], :2] / lines[[one, other], 2:]
        longest = max(np.hypot(*means[0]), np.hypot(*means[1]), 1e-9)
        alike = np.hypot(*(means[0] - means[1])) < _ALIKE * longest
        return 2 * _JUMP if share < _SMALL or alike else _JUMP

    for lenient in (False, True):  # what is small can only be told once the large have grown
        heap = [(jump(a, b), a, b) for a in range(count) for b in borders[a] if a < b]
        heapq.heapify(heap)
        while heap:
            price, one, other = heapq.heappop(heap)
            # What has been joined since has another border, and another entry.
            if other not in borders[one] or jump(one, other) != price:
                continue
            if price > (patience(one, other) if lenient else _JUMP):
                continue
            keep, gone = (one, other) if len(borders[one]) >= len(borders[other]) else (other, one)
            parent[gone] = keep
            weight[keep] += weight[gone]
            lines[keep] += lines[gone]
            del borders[keep][gone], borders[gone][keep]
            for beside, (total, length) in borders[gone].items():
                del borders[beside][gone]
                known = borders[keep].get(beside, (0.0, 0))
                borders[keep][beside] = (total + known[0], length + known[1])
                borders[beside][keep] = borders[keep][beside]
                heapq.heappush(heap, (jump(keep, beside), min(keep, beside), max(keep, beside)))
            borders[gone] = {}
    roots = np.empty(count, np.intp)
    for patch in range(count):
        root = patch
        while parent[root] != root:
            root = parent[root]
        roots[patch] = root
    return roots
