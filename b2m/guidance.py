"""Guidance: which way things moved, one of five answers per pixel. Pure: imports no model.

A guidance is (H, W, 2) int8 with the vectors (0, 0) still, or (+-1, +-1), x to the right and y
down (Zhong et al., Animation from Blur, ECCV 2022).
"""

from __future__ import annotations

import os
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from b2m.errors import InputError
from b2m.media import ImageLike, atomic_path, decode, row_strips

Guidance = NDArray[np.int8]

STILL_THRESHOLD = 3.0
"""Pixels over the whole exposure under which a pixel counts as still: 0.5 px for each of the six
steps between seven frames, Zhong's rule."""

PALETTE: dict[tuple[int, int], tuple[int, int, int]] = {
    (0, 0): (0, 0, 0),
    (1, -1): (255, 0, 0),
    (-1, -1): (0, 255, 0),
    (-1, 1): (255, 255, 0),
    (1, 1): (0, 0, 255),
}
"""The colour of each vector, in the order of Zhong's class numbers 0 to 4."""

SNAP_DISTANCE = 64

DIRECTIONS = {
    "right": (1, 0),
    "down-right": (1, 1),
    "down": (0, 1),
    "down-left": (-1, 1),
    "left": (-1, 0),
    "up-left": (-1, -1),
    "up": (0, -1),
    "up-right": (1, -1),
}

_MEANINGS = {
    "black (or transparent)": "still",
    "red": "up-right",
    "green": "up-left",
    "yellow": "down-left",
    "blue": "down-right",
}
_VECTORS = np.array(list(PALETTE), np.int8)
_COLORS = np.array(list(PALETTE.values()), np.uint8)
_CLASS_OF = np.zeros(9, np.uint8)
_CLASS_OF[3 * (_VECTORS[:, 1] + 1) + _VECTORS[:, 0] + 1] = np.arange(5)

_LONGEST_GRID = 48
_LEAST_MOTION = 0.5  # pixels; a cell's mean, so that small movers in a still cell still count
_LEAST_COSINE = 0.5  # lines further apart than 60 degrees say nothing of each other's sign


def quantise(flow: torch.Tensor, threshold: float = STILL_THRESHOLD) -> torch.Tensor:
    """Quantise flow to guidance.

    Args:
        flow: (B, 2, H, W) pixels over the whole exposure.
        threshold: shorter vectors are still; for video scale it by interval / exposure.

    Returns:
        (B, 2, H, W) int8: (0, 0) where still or NaN, else the signs of u and v. Ties on an
        axis: right (1, -1), left (-1, 1), down (1, 1), up (-1, -1).
    """
    u, v = flow[:, 0].float(), flow[:, 1].float()
    # NaN (no flow known) compares false, so it counts as still.
    moving = u * u + v * v >= threshold * threshold
    sign_u, sign_v = torch.sign(u), torch.sign(v)
    signs = torch.stack(
        (torch.where(u == 0, sign_v, sign_u), torch.where(v == 0, -sign_u, sign_v)), dim=1
    )
    return torch.where(moving[:, None], signs, 0.0).to(torch.int8)


def from_flow(flow: NDArray[np.floating[Any]], threshold: float = STILL_THRESHOLD) -> Guidance:
    """Quantise a flow array; the rule is :func:`quantise`'s.

    Args:
        flow: (H, W, 2) pixels over the whole exposure.
        threshold: shorter vectors are still.

    Returns:
        (H, W, 2) int8.

    Raises:
        InputError: not an (H, W, 2) array of numbers.
    """
    flow = np.asarray(flow)
    if flow.ndim != 3 or flow.shape[2] != 2 or flow.dtype.kind not in "fiu":
        raise InputError(f"a flow is (H, W, 2) of numbers, not {flow.shape} {flow.dtype}")
    guidance = np.empty(flow.shape, np.int8)
    for rows in row_strips(*flow.shape[:2]):
        strip = torch.from_numpy(flow[rows].astype(np.float32)).permute(2, 0, 1)[None]
        guidance[rows] = quantise(strip, threshold)[0].permute(1, 2, 0).numpy()
    return guidance


def validate(guidance: object, height: int, width: int) -> Guidance:
    """Check that ``guidance`` is one for a photo of ``height`` x ``width``.

    Args:
        guidance: (H, W, 2) array of integers, each vector (0, 0) or (+-1, +-1).
        height: of the photo, in pixels.
        width: of the photo, in pixels.

    Returns:
        (H, W, 2) int8, contiguous.

    Raises:
        InputError: another shape, type or vector; the first wrong vector is named with its place.
    """
    array = np.asarray(guidance)
    if array.shape != (height, width, 2):
        raise InputError(
            f"guidance has shape {array.shape}: this photo needs ({height}, {width}, 2), its "
            "height and width as shown (after EXIF rotation)"
        )
    if array.dtype.kind not in "iu":
        raise InputError(
            f"guidance has type {array.dtype}: int8 is needed; b2m.guidance.from_flow makes it "
            "from a flow"
        )
    u, v = array[..., 0], array[..., 1]
    wrong = (u < -1) | (u > 1) | (v < -1) | (v > 1) | ((u == 0) != (v == 0))
    if wrong.any():
        y, x = np.unravel_index(int(wrong.argmax()), wrong.shape)
        raise InputError(
            f"guidance is ({u[y, x]}, {v[y, x]}) at x={x}, y={y}: only (0, 0) for still and "
            "(1, 1), (1, -1), (-1, 1), (-1, -1) are allowed"
        )
    return np.ascontiguousarray(array, dtype=np.int8)


def reverse(guidance: Guidance) -> Guidance:
    """The same motion backwards: every vector of (H, W, 2) int8 turned round."""
    return -np.asarray(guidance)


def from_direction(
    flow: NDArray[np.floating[Any]], direction: str, threshold: float = STILL_THRESHOLD
) -> Guidance:
    """Guidance in which everything moves along its own line, but towards ``direction``.

    Args:
        flow: (H, W, 2) pixels over the whole exposure; its signs do not matter.
        direction: one of "right", "down-right", "down", "down-left", "left", "up-left", "up",
            "up-right".
        threshold: shorter vectors are still.

    Returns:
        (H, W, 2) int8. A line at right angles to ``direction`` turns clockwise from it.

    Raises:
        InputError: another direction, named with the eight that exist.
    """
    if direction not in DIRECTIONS:
        raise InputError(f"direction {direction!r} is none of {', '.join(DIRECTIONS)}")
    x, y = DIRECTIONS[direction]
    u, v = flow[..., 0], flow[..., 1]
    along, across = u * x + v * y, v * x - u * y
    backwards = (along < 0) | ((along == 0) & (across < 0))
    guidance = from_flow(flow, threshold)
    np.negative(guidance, out=guidance, where=backwards[..., None])
    return guidance


# --- as a picture ---------------------------------------------------------------------------------


def to_color(guidance: Guidance) -> NDArray[np.uint8]:
    """(H, W, 2) int8 to (H, W, 3) uint8 RGB in the five colours of :data:`PALETTE`."""
    return _COLORS[_classes(guidance)]


def to_png(guidance: Guidance, path: str | os.PathLike[str]) -> None:
    """Write guidance as a palette PNG, whole or not at all.

    Raises:
        InputError: not a guidance.
        OutputError: the folder is missing, not writable or full.
    """
    shape = np.shape(guidance)
    guidance = validate(guidance, *(shape[:2] if len(shape) == 3 else (0, 0)))
    picture = Image.fromarray(_classes(guidance))
    picture.putpalette(_COLORS.tobytes())
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG", bits=4)


def from_png(image: ImageLike) -> Guidance:
    """Read guidance from a picture in the five colours of :data:`PALETTE`.

    Args:
        image: path, bytes, PIL image, or (H, W, 3|4) uint8 array. Transparent pixels are still; a
            pixel within 64 (Euclidean, 0 to 255) of one of the colours is taken for it.

    Returns:
        (H, W, 2) int8 of the picture's size.

    Raises:
        InputError: not an image, or a pixel of another colour, named with its place.
    """
    if isinstance(image, np.ndarray):
        pixels = image
        if pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or pixels.dtype != np.uint8:
            raise InputError(
                f"a guidance picture is (H, W, 3) or (H, W, 4) uint8, not {pixels.shape} "
                f"{pixels.dtype}"
            )
    else:
        pixels = np.asarray(decode(image).convert("RGBA"))
    guidance = np.empty((*pixels.shape[:2], 2), np.int8)
    for rows in row_strips(*pixels.shape[:2]):
        strip = pixels[rows]
        difference = strip[..., None, :3].astype(np.int32) - _COLORS
        distance = (difference * difference).sum(axis=-1)
        if strip.shape[2] == 4:
            distance[strip[..., 3] < 128, 0] = 0
        classes = distance.argmin(axis=-1)
        if (wrong := distance.min(axis=-1) > SNAP_DISTANCE**2).any():
            y, x = np.unravel_index(int(wrong.argmax()), wrong.shape)
            allowed = ", ".join(f"{name} for {meaning}" for name, meaning in _MEANINGS.items())
            raise InputError(
                f"guidance has the colour {tuple(strip[y, x, :3].tolist())} at x={x}, "
                f"y={y + rows.start}: use pure {allowed}; save it as PNG, without smoothing"
            )
        guidance[rows] = _VECTORS[classes]
    return guidance


def _classes(guidance: Guidance) -> NDArray[np.uint8]:
    """Class numbers 0 to 4 in the order of :data:`PALETTE`."""
    u, v = guidance[..., 0], guidance[..., 1]
    return _CLASS_OF[3 * (v + 1) + (u + 1)]


# --- one sign for neighbours ----------------------------------------------------------------------


def coherent_signs(line: NDArray[np.float32]) -> NDArray[np.float32]:
    """Choose the signs of lines of motion so that neighbours agree.

    Blur shows each pixel's line of motion, not which way along it. Cells of a coarse grid that
    move are joined into regions by a maximum spanning tree, which passes the sign over the pairs
    that agree best. A region as a whole goes to the right, or down where it is nearly vertical;
    one that turns or zooms on the spot goes clockwise or outwards.

    Args:
        line: (H, W, 2) pixels over the whole exposure; the sign of each vector has no meaning.

    Returns:
        (H, W, 2) float32, each vector that of ``line`` or its negative.
    """
    height, width = line.shape[:2]
    cell = max(height, width) / _LONGEST_GRID
    size = (max(1, round(width / max(cell, 1))), max(1, round(height / max(cell, 1))))
    coarse = _signed_cells(_coarse_lines(line, size))
    signed = np.empty((height, width, 2), np.float32)
    # The steps of cv2.resize, done by strips: only the rows between two cells are in memory.
    place = (np.arange(height, dtype=np.float32) + 0.5) * (size[1] / height) - 0.5
    place = place.clip(0, size[1] - 1)
    wide = cv2.resize(coarse, (width, size[1]), interpolation=cv2.INTER_LINEAR)
    upper = place.astype(np.intp)
    lower, share = np.minimum(upper + 1, size[1] - 1), (place - upper)[:, None, None]
    for rows in row_strips(height, width):
        guide = wide[upper[rows]] * (1 - share[rows]) + wide[lower[rows]] * share[rows]
        against = (guide * line[rows]).sum(axis=-1, keepdims=True) < 0
        np.copyto(signed[rows], line[rows])
        np.negative(signed[rows], out=signed[rows], where=against)
    return signed


def _coarse_lines(line: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Mean line per cell, (h, w, 2) with a sign without meaning.

    Lines are averaged as double-angle vectors m (cos 2a, sin 2a), in which opposite signs agree.
    """
    doubled = np.empty((*line.shape[:2], 2), np.float32)
    for rows in row_strips(*line.shape[:2]):
        u, v = np.nan_to_num(line[rows, :, 0]), np.nan_to_num(line[rows, :, 1])
        length = np.maximum(np.hypot(u, v), 1e-9)
        doubled[rows, :, 0] = (u * u - v * v) / length
        doubled[rows, :, 1] = 2 * u * v / length
    mean = cv2.resize(doubled, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], 2)
    length = np.hypot(mean[..., 0], mean[..., 1])
    angle = np.arctan2(mean[..., 1], mean[..., 0]) / 2
    return (length[..., None] * np.stack((np.cos(angle), np.sin(angle)), axis=-1)).astype(
        np.float32
    )


def _signed_cells(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    # SciPy is imported here because machines that only train may lack it.
    from scipy.ndimage import distance_transform_edt
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, connected_components
    from scipy.sparse.csgraph import minimum_spanning_tree as spanning_tree

    height, width = cells.shape[:2]
    vectors = cells.reshape(-1, 2).astype(np.float64)
    lengths = np.hypot(vectors[:, 0], vectors[:, 1])
    moving = lengths > _LEAST_MOTION
    if not moving.any():
        return cells
    number = np.arange(height * width).reshape(height, width)
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
    alike = cosine > _LEAST_COSINE
    start, end, cosine = start[alike], end[alike], cosine[alike]
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
        if _goes_backwards(vectors[inside], x[inside], y[inside]):
            vectors[inside] *= -1
    # What lies between moving cells takes the sign of the nearest.
    nearest = distance_transform_edt(
        ~moving.reshape(height, width), return_distances=False, return_indices=True
    )
    signed = vectors.reshape(height, width, 2)[nearest[0], nearest[1]]
    return signed.astype(np.float32)


def _goes_backwards(vectors: NDArray[np.float64], x: NDArray[np.intp], y: NDArray[np.intp]) -> bool:
    """Whether a region must be turned round to go the way :func:`coherent_signs` promises."""
    total = vectors.sum(axis=0)
    if np.hypot(*total) > 0.1 * np.hypot(vectors[:, 0], vectors[:, 1]).sum():
        chosen = total[0] if abs(total[0]) > 0.2 * abs(total[1]) else total[1]
        return bool(chosen < 0)
    right, down = x - x.mean(), y - y.mean()
    clockwise = float((right * vectors[:, 1] - down * vectors[:, 0]).sum())
    outwards = float((right * vectors[:, 0] + down * vectors[:, 1]).sum())
    return max(clockwise, outwards, key=abs) < 0
