"""Guidance as a picture in five pure colours, those of Zhong et al. (Animation from Blur, 2022).

Here only colours and vectors are told from each other; what a guidance is, `b2m.guidance` knows.
"""

from __future__ import annotations

import os

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
            smoothed edge, with two or more of the colours up to 3 pixels away, is taken for the
            nearest of these; a speck of up to 3 pixels that is a mix of black and one colour, for
            the nearer of both.

    Returns:
        (H, W, 2) int8 of the picture's size.

    Raises:
        InputError: not an image, or pixels of another colour, the first named with its place.
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
        (h, w), `_NONE` where a pixel is neither on an edge nor of a speck.
    """
    rows, columns = np.nonzero(classes == _NONE)
    if not len(rows):
        return classes
    window = np.ones((2 * _REACH + 1, 2 * _REACH + 1), np.uint8)
    masks = [cv2.dilate((classes == number).astype(np.uint8), window) for number in range(_NONE)]
    beside = np.stack([mask[rows, columns] > 0 for mask in masks], axis=-1)
    colors = pixels[rows, columns, :3].astype(np.float32)
    away = np.linalg.norm(colors[:, None] - _COLORS, axis=-1)
    nearest = np.where(beside, away, np.inf).argmin(axis=1)
    found = np.where(beside.sum(axis=1) > 1, nearest, _NONE)
    # Of a speck that was scaled down nothing pure is left: it may be one colour over black.
    pure = _COLORS[1:].astype(np.float32)
    shares = np.clip(colors @ pure.T / (pure * pure).sum(axis=1), 0, 1)
    rest = np.linalg.norm(colors[:, None] - shares[..., None] * pure, axis=-1)
    color, each = rest.argmin(axis=1), np.arange(len(rest))
    mixed = (found == _NONE) & _specks(classes == _NONE)[rows, columns]
    mixed &= rest[each, color] <= SNAP_DISTANCE
    found[mixed] = np.where(shares[each, color] > 0.5, color + 1, 0)[mixed]
    classes = classes.copy()
    classes[rows, columns] = found
    return classes


def _specks(unknown: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of those pieces that are nowhere wider than `_SPECK` pixels."""
    number, pieces = cv2.connectedComponents(unknown.astype(np.uint8), connectivity=8)
    square = np.ones((_SPECK + 1, _SPECK + 1), np.uint8)
    wide = np.zeros(number, bool)
    wide[pieces[cv2.morphologyEx(unknown.astype(np.uint8), cv2.MORPH_OPEN, square) > 0]] = True
    return unknown & ~wide[pieces]


def _classes(guidance: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Class numbers 0 to 4 in the order of :data:`PALETTE`."""
    u, v = guidance[..., 0], guidance[..., 1]
    return _CLASS_OF[3 * (v + 1) + (u + 1)]
