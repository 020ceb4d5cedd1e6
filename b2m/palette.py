"""Guidance as a picture in five pure colours, those of Zhong et al. (Animation from Blur, 2022).

Here only colours and vectors are told from each other; what a guidance is, `b2m.guidance` knows.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from b2m.errors import InputError
from b2m.files import atomic_path
from b2m.media import ImageLike, decode, row_strips

PALETTE: dict[tuple[int, int], tuple[int, int, int]] = {
    (0, 0): (0, 0, 0),
    (1, -1): (255, 0, 0),
    (-1, -1): (0, 255, 0),
    (-1, 1): (255, 255, 0),
    (1, 1): (0, 0, 255),
}
"""The colour of each vector, in the order of Zhong's class numbers 0 to 4."""

SNAP_DISTANCE = 64

_MEANINGS = {
    "black (or transparent)": "still",
    "red": "up-right",
    "green": "up-left",
    "yellow": "down-left",
    "blue": "down-right",
}
_VECTORS = np.array(list(PALETTE), np.int8)
_COLORS = np.array(list(PALETTE.values()), np.uint8)
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
        color = strip[..., :3].astype(np.int32) @ _PLACES
        classes = np.full(color.shape, len(_COLORS), np.uint8)
        for number, pure in enumerate(_COLORS @ _PLACES):
            classes[color == pure] = number
        if strip.shape[2] == 4:
            classes[strip[..., 3] < 128] = 0
        impure = classes == len(_COLORS)
        difference = strip[impure, None, :3].astype(np.int32) - _COLORS
        distance = (difference * difference).sum(axis=-1)
        if (wrong := distance.min(axis=-1) > SNAP_DISTANCE**2).any():
            y, x = np.argwhere(impure)[int(wrong.argmax())].tolist()
            allowed = ", ".join(f"{name} for {meaning}" for name, meaning in _MEANINGS.items())
            raise InputError(
                f"guidance has the colour {tuple(strip[y, x, :3].tolist())} at x={x}, "
                f"y={y + rows.start}: use pure {allowed}; save it as PNG, without smoothing"
            )
        classes[impure] = distance.argmin(axis=-1)
        guidance[rows] = _VECTORS[classes]
    return guidance


def _classes(guidance: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Class numbers 0 to 4 in the order of :data:`PALETTE`."""
    u, v = guidance[..., 0], guidance[..., 1]
    return _CLASS_OF[3 * (v + 1) + (u + 1)]
