"""Guidance as a picture in five pure colours, those of Zhong et al. (Animation from Blur, 2022).

Here only colours and vectors are told from each other; what a guidance is, `b2m.guidance` knows.
"""

from __future__ import annotations

import os
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from b2m.errors import InputError
from b2m.files import atomic_path
from b2m.media.image import ImageLike, decode, row_strips

PALETTE: dict[tuple[int, int], tuple[int, int, int]] = {
    (0, 0): (0, 0, 0),
    (1, -1): (255, 0, 0),
    (-1, -1): (0, 255, 0),
    (-1, 1): (255, 255, 0),
    (1, 1): (0, 0, 255),
}
"""The colour of each vector, in the order of Zhong's class numbers 0 to 4."""

SNAP_DISTANCE = 64

_SPECK = 3  # pixels; what is no wider may have lost its pure colour when it was scaled down
_REACH = 3  # pixels; so far beside a smoothed edge are the colours that it mixes
_MEANINGS = {
    "black (or transparent)": "still",
    "red": "up-right",
    "green": "up-left",
    "yellow": "down-left",
    "blue": "down-right",
}
_VECTORS = np.array(list(PALETTE), np.int8)
_COLORS = np.array(list(PALETTE.values()), np.uint8)
_NONE = len(_COLORS)
_PLACES = np.array((1 << 16, 1 << 8, 1), np.int32)  # the three bytes of a colour as one number
_CLASS_OF = np.zeros(9, np.uint8)
_CLASS_OF[3 * (_VECTORS[:, 1] + 1) + _VECTORS[:, 0] + 1] = np.arange(5)


def to_color(guidance: NDArray[np.int8]) -> NDArray[np.uint8]:
    """(H, W, 2) int8 to (H, W, 3) uint8 RGB in the five colours of :data:`PALETTE`."""
    return _COLORS[_classes(guidance)]


def write_palette_png(guidance: NDArray[np.int8], path: str | os.PathLike[str]) -> None:
    """Write (H, W, 2) int8 as a palette PNG, whole or not at all.

    Raises:
        OutputError: the folder is missing, not writable or full.
    """
    picture = Image.fromarray(_classes(guidance))
    picture.putpalette(_COLORS.tobytes())
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG", bits=4)


def from_png(image: ImageLike) -> NDArray[np.int8]:
    """Read guidance from a picture in the five colours of :data:`PALETTE`.

    Args:
        image: path, bytes, PIL image, or (H, W, 3|4) uint8 array. Transparent pixels are still; a
            pixel within 64 (Euclidean, 0 to 255) of one of the colours is taken for it. One on a
            smoothed edge, within 64 of a mix of two or three of black and the colours that are
            found up to 3 pixels away, is taken for the nearest of these; so is a speck of up to 3
            pixels that is a mix of black and one colour.

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
    height, width = pixels.shape[:2]
    classes = np.empty((height, width), np.uint8)
    for rows in row_strips(height, width):
        classes[rows] = _nearly_pure(pixels[rows])
    guidance = np.empty((height, width, 2), np.int8)
    for rows in row_strips(height, width):
        top = max(rows.start - _REACH, 0)
        strip = _unsmoothed(classes[top : rows.stop + _REACH], pixels[top : rows.stop + _REACH])
        strip = strip[rows.start - top :][: rows.stop - rows.start]
        if (strip == _NONE).any():
            y, x = (np.argwhere(strip == _NONE)[0] + (rows.start, 0)).tolist()
            allowed = ", ".join(f"{name} for {meaning}" for name, meaning in _MEANINGS.items())
            name = image if isinstance(image, str | os.PathLike) else "guidance"
            raise InputError(
                f"{name} has the colour {tuple(pixels[y, x, :3].tolist())} at x={x}, y={y}: "
                f"use pure {allowed}; save it as PNG, without smoothing"
            )
        guidance[rows] = _VECTORS[strip]
    return guidance


def _nearly_pure(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Class numbers 0 to 4 of what is near one of the colours, `_NONE` of the rest."""
    color = pixels[..., :3].astype(np.int32) @ _PLACES
    classes = np.full(color.shape, _NONE, np.uint8)
    for number, pure in enumerate(_COLORS @ _PLACES):
        classes[color == pure] = number
    if pixels.shape[2] == 4:
        classes[pixels[..., 3] < 128] = 0
    impure = classes == _NONE
    difference = pixels[impure, None, :3].astype(np.int32) - _COLORS
    distance = (difference * difference).sum(axis=-1)
    nearest = distance.argmin(axis=-1)
    classes[impure] = np.where(distance.min(axis=-1) <= SNAP_DISTANCE**2, nearest, _NONE)
    return classes


def _unsmoothed(classes: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put pixels of smoothed edges into the nearest class of those beside them.

    Args:
        classes: (h, w) of `_nearly_pure`.
        pixels: (h, w, 3|4) they were found from.

    Returns:
        (h, w), `_NONE` where a pixel is no mix of the colours beside it.
    """
    rows, columns = np.nonzero(classes == _NONE)
    if not len(rows):
        return classes
    window = np.ones((2 * _REACH + 1, 2 * _REACH + 1), np.uint8)
    masks = [cv2.dilate((classes == number).astype(np.uint8), window) for number in range(_NONE)]
    beside = np.stack([mask[rows, columns] > 0 for mask in masks], axis=-1)
    beside[:, 0] = True  # two smoothed things that touch leave a dark seam
    # A picture of other colours may have many of each, and of them one answer is enough.
    held = np.concatenate((pixels[rows, columns, :3], beside.astype(np.uint8)), axis=1)
    kinds, kind = np.unique(held, axis=0, return_inverse=True)
    found = _unmixed(kinds[:, :3].astype(np.float32), kinds[:, 3:] > 0)[kind.reshape(-1)]
    classes = classes.copy()
    classes[rows, columns] = found
    rows, columns = np.nonzero(_specks(classes == _NONE))
    if len(rows):
        # Of a speck that was scaled down nothing pure is left: it may be any colour over black.
        colors = pixels[rows, columns, :3].astype(np.float32)
        mixed = np.full(len(rows), _NONE, np.uint8)
        for number in range(1, _NONE):
            two = np.zeros((len(rows), _NONE), bool)
            two[:, (0, number)] = True
            mixed = np.where(mixed == _NONE, _unmixed(colors, two), mixed)
        classes[rows, columns] = mixed
    return classes


def _specks(unknown: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of those pieces that are nowhere wider than `_SPECK` pixels."""
    number, pieces = cv2.connectedComponents(unknown.astype(np.uint8), connectivity=8)
    square = np.ones((_SPECK + 1, _SPECK + 1), np.uint8)
    wide = np.zeros(number, bool)
    wide[pieces[cv2.morphologyEx(unknown.astype(np.uint8), cv2.MORPH_OPEN, square) > 0]] = True
    return unknown & ~wide[pieces]


def _unmixed(colors: NDArray[np.float32], beside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The nearest class of a mix.

    Args:
        colors: (N, 3), 0 to 255.
        beside: (N, 5), the classes that it may be a mix of.

    Returns:
        (N,) class numbers, `_NONE` for what is no mix of two or three of them.
    """
    mixed = np.zeros(len(colors), bool)
    for count in (2, 3):
        for classes in map(list, combinations(range(_NONE), count)):
            open_ = np.flatnonzero(beside[:, classes].all(axis=1) & ~mixed)
            first, *others = _COLORS[classes].astype(np.float32)
            sides = np.stack([other - first for other in others])
            away = colors[open_] - first
            shares = away @ np.linalg.pinv(sides)
            # Between two the ends are near pure anyway; among three the edges are mixes of two.
            within = (shares >= 0).all(axis=1) & (shares.sum(axis=1) <= 1)
            near = np.linalg.norm(away - shares @ sides, axis=1) <= SNAP_DISTANCE
            mixed[open_] = within & near
    distance = np.linalg.norm(colors[:, None] - _COLORS, axis=-1)
    nearest = np.where(beside, distance, np.inf).argmin(axis=1)
    return np.where(mixed, nearest, _NONE).astype(np.uint8)


def _classes(guidance: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Class numbers 0 to 4 in the order of :data:`PALETTE`."""
    u, v = guidance[..., 0], guidance[..., 1]
    return _CLASS_OF[3 * (v + 1) + (u + 1)]
