"""Guidance as a picture in five pure colours, those of Zhong et al. (Animation from Blur, 2022).

It converts between colours and vectors; `b2m.guidance` defines guidance.
"""

from __future__ import annotations

import os

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from b2m.errors import InputError
from b2m.files import atomic_path
from b2m.guidance.quantize import Guidance, validate
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

_SPECK = 3  # pixels; the width of smoothed edges and scaled strokes, whose colours are mixed
_MEANINGS = {
    "black (or transparent)": "still",
    "red": "up-right",
    "green": "up-left",
    "yellow": "down-left",
    "blue": "down-right",
}
_VECTORS = np.array(list(PALETTE), np.int8)
_COLORS = np.array(list(PALETTE.values()), np.uint8)
CLASS_OF = np.zeros(9, np.uint8)
CLASS_OF[3 * (_VECTORS[:, 1] + 1) + _VECTORS[:, 0] + 1] = np.arange(5)
"""Number in `PALETTE` of guidance (u, v), at 3 (v + 1) + u + 1."""


def to_color(guidance: NDArray[np.int8]) -> NDArray[np.uint8]:
    """(H, W, 2) int8 to (H, W, 3) uint8 RGB in the five colours of :data:`PALETTE`."""
    return _COLORS[_classes(guidance)]


def to_png(guidance: Guidance, path: str | os.PathLike[str]) -> None:
    """Write guidance as a palette PNG, whole or not at all; :func:`from_png` reads it.

    Raises:
        InputError: not a guidance.
        OutputError: the folder is missing, not writable or full.
    """
    shape = np.shape(guidance)
    picture = Image.fromarray(
        _classes(validate(guidance, *(shape[:2] if len(shape) == 3 else (0, 0))))
    )
    picture.putpalette(_COLORS.tobytes())
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG", bits=4)


def from_png(image: ImageLike) -> NDArray[np.int8]:
    """Read guidance from a picture in the five colours of :data:`PALETTE`.

    Args:
        image: path, bytes, PIL image, or (H, W, 3|4) uint8 array. Transparent pixels are still,
            others get the nearest colour. Areas wider than 3 pixels that are farther than 64
            (Euclidean, 0 to 255) from all of them are refused; smoothed edges are narrower.

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
    classes, impure = (np.empty(pixels.shape[:2], np.uint8) for _ in range(2))
    for rows in row_strips(*pixels.shape[:2]):
        classes[rows], impure[rows] = _nearest(pixels[rows])
    square = np.ones((_SPECK + 1, _SPECK + 1), np.uint8)
    wide = cv2.erode(impure, square, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    if wide.any():  # its upper left pixel
        y, x = np.unravel_index(int(wide.argmax()), wide.shape)
        allowed = ", ".join(f"{name} for {meaning}" for name, meaning in _MEANINGS.items())
        name = image if isinstance(image, str | os.PathLike) else "guidance"
        raise InputError(
            f"{name} has the colour {tuple(pixels[y, x, :3].tolist())} at x={x}, y={y}: "
            f"use pure {allowed}; save it as PNG, without smoothing"
        )
    guidance: NDArray[np.int8] = _VECTORS[classes]
    return guidance


def _nearest(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Class numbers 0 to 4 of the nearest colours, and where they are too far: (h, w) both."""
    classes, impure = np.zeros((2, *pixels.shape[:2]), np.uint8)
    opaque = np.ones(classes.shape, bool) if pixels.shape[2] == 3 else pixels[..., 3] >= 128
    difference = pixels[opaque, None, :3].astype(np.int32) - _COLORS  # (N, 5, 3)
    distance = (difference * difference).sum(axis=-1)
    classes[opaque] = distance.argmin(axis=-1)
    impure[opaque] = distance.min(axis=-1) > SNAP_DISTANCE**2
    return classes, impure.astype(bool)


def _classes(guidance: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Class numbers 0 to 4 in the order of :data:`PALETTE`."""
    u, v = guidance[..., 0], guidance[..., 1]
    return CLASS_OF[3 * (v + 1) + (u + 1)]
