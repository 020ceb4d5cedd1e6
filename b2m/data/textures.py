"""What scenes are made of: photos for backgrounds, cut-outs for things that move.

All images of a folder lie in one flat tensor of pixels with a table of offsets, each at full,
half, quarter and eighth size, so that a batch of differently sized crops is one indexing
operation on CPU and GPU alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from b2m.data.splits import IMAGE_SUFFIXES, split_by_hash, visible
from b2m.errors import InputError

LEVELS = 4


@dataclass(frozen=True)
class Textures:
    """Images of any sizes in one tensor.

    Attributes:
        pixels: (N, 4) uint8, sRGB and alpha, all images and their smaller copies end to end.
        table: (images, LEVELS, 3) int64, the offset into pixels, width and height.
        names: of the images, where that matters.
    """

    pixels: Tensor
    table: Tensor
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.table.shape[0]

    def to(self, device: torch.device | str) -> Textures:
        """The same textures on another device."""
        return Textures(self.pixels.to(device), self.table.to(device), self.names)

    def sample(self, image: Tensor, level: Tensor, x: Tensor, y: Tensor, reflect: bool) -> Tensor:
        """Nearest pixels at given places.

        Args:
            image: (N,) int64, which image.
            level: (N,) int64, which size, 0 = full.
            x: (N, H or 1, W) float, pixels of that size.
            y: (N, H, W or 1) float, pixels of that size.
            reflect: mirror places outside the image; otherwise they are transparent black.

        Returns:
            (N, H, W, 4) uint8.
        """
        offset, width, height = (
            part[:, None, None] for part in self.table[image, level].unbind(-1)
        )
        column, row = x.round().long(), y.round().long()
        if reflect:
            index = offset + _reflect(row, height) * width + _reflect(column, width)
            return self.pixels[index]
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        index = (offset + row * width + column).where(inside, offset)
        return self.pixels[index] * inside[..., None]


def _reflect(index: Tensor, length: Tensor) -> Tensor:
    """Mirror integer indices into [0, length)."""
    period = (2 * length - 2).clamp(min=1)
    index = index.remainder(period)
    return index.minimum(period - index)


def pack_textures(images: Iterable[NDArray[np.uint8]]) -> Textures:
    """Lay images (H, W, 4) uint8, sRGB and alpha, end to end, each with its smaller copies."""
    pieces: list[NDArray[np.uint8]] = []
    table: list[list[tuple[int, int, int]]] = []
    offset = 0
    for image in images:
        sizes = []
        for level in range(LEVELS):
            if level:
                height, width = max(1, image.shape[0] // 2), max(1, image.shape[1] // 2)
                image = _smaller(image, width, height)
            pieces.append(image.reshape(-1, 4))
            sizes.append((offset, image.shape[1], image.shape[0]))
            offset += image.shape[0] * image.shape[1]
        table.append(sizes)
    return Textures(
        torch.from_numpy(np.concatenate(pieces)), torch.tensor(table, dtype=torch.int64)
    )


def _smaller(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Resize RGBA by area; what is transparent lends its neighbours no colour."""
    alpha = image[..., 3:].astype(np.float32)
    weighted = np.concatenate([image[..., :3] * alpha, alpha], 2)
    small = np.asarray(cv2.resize(weighted, (width, height), interpolation=cv2.INTER_AREA))
    colour = small[..., :3] / np.maximum(small[..., 3:], 1e-3)
    return np.clip(np.rint(np.concatenate([colour, small[..., 3:]], 2)), 0, 255).astype(np.uint8)


def _read_rgba(path: Path) -> NDArray[np.uint8]:
    decoded = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise InputError(f"{path} is not a readable image; remove it from the folder of textures.")
    image = np.asarray(decoded)
    if image.dtype == np.uint16:
        image = np.rint(image.astype(np.float32) / 257)
    image = image.astype(np.uint8, copy=False)
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    code = cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGBA
    return cv2.cvtColor(image, code).astype(np.uint8, copy=False)


def split_files(folder: str | os.PathLike[str], split: str) -> list[Path]:
    """The images of one split of a folder, in the order of their names.

    Folders named train, val and test inside it are the splits. A folder without them is dealt out
    by a hash of the names, eight tenths to train, so that a name is always in the same split.

    Raises:
        InputError: the folder is missing, or has no image in that split.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give a folder of images.")
    hashed = not (folder / "train").is_dir()
    paths = visible((folder if hashed else folder / split).glob("*"))
    paths = [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES]
    if hashed:
        paths = [path for path in paths if split_by_hash(path.name) == split]
    if not paths:
        raise InputError(
            f"{folder} holds no image (JPEG, PNG, WebP, BMP) for the split '{split}'; "
            "put images there or leave the folder out for procedural textures."
        )
    return paths


def load_textures(
    folder: str | os.PathLike[str] | None, split: str, *, cutouts: bool = False
) -> Textures:
    """Photos or cut-outs of one split; procedural ones where there is no folder.

    Raises:
        InputError: as `split_files`, an image is unreadable, or there is no such split.
    """
    if folder is None:
        seeds = {"train": 0, "val": 100, "test": 200}
        if split not in seeds:
            raise InputError(f"'{split}' is no split; there are {', '.join(seeds)}.")
        seed = seeds[split]
        return procedural_cutouts(seed=seed + 1) if cutouts else procedural_textures(seed=seed)
    return pack_textures(map(_read_rgba, split_files(folder, split)))


def _noise_photo(rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """A natural-looking texture: noise with a 1/f spectrum, and a few shapes with hard edges."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1.0
    image = np.empty((side, side, 3), np.float32)
    shared = rng.normal(size=(side, side))
    for channel in range(3):
        white = shared + 0.5 * rng.normal(size=(side, side))
        pink = np.fft.irfft2(np.fft.rfft2(white) / frequency ** rng.uniform(1.0, 1.6), (side, side))
        image[..., channel] = 0.5 + 0.18 * pink / pink.std()
    for _ in range(int(rng.integers(4, 12))):
        corners = rng.integers(0, side, 2) + rng.normal(0, side / 8, (int(rng.integers(3, 7)), 2))
        hull = cv2.convexHull(corners.astype(np.int32))
        cv2.fillPoly(image, [hull], rng.uniform(0, 1, 3).tolist())
    grain = rng.normal(0, 0.02, image.shape)
    return np.asarray(np.clip((image + grain) * 255, 0, 255), np.uint8)


def procedural_textures(count: int = 24, side: int = 256, seed: int = 0) -> Textures:
    """Photos where none are at hand: coloured 1/f noise with hard-edged shapes, opaque."""
    rng = np.random.default_rng(seed)
    opaque = np.full((side, side, 1), 255, np.uint8)
    return pack_textures(np.concatenate([_noise_photo(rng, side), opaque], 2) for _ in range(count))


def procedural_cutouts(count: int = 24, side: int = 128, seed: int = 1) -> Textures:
    """Cut-outs where none are at hand: blobs of the same textures with a soft edge."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:side, :side] - (side - 1) / 2
    angle, radius = np.arctan2(row, column), np.hypot(row, column)

    def blob() -> NDArray[np.uint8]:
        edge = np.full_like(angle, 0.36 * side)
        for order in range(1, 6):
            swing = rng.uniform(-0.25, 0.25) / order
            edge *= 1 + swing * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
        alpha = np.clip((edge - radius) / 1.5 + 0.5, 0, 1)
        mask = np.asarray(255 * alpha, np.uint8)
        return np.concatenate([_noise_photo(rng, side), mask[..., None]], 2)

    return pack_textures(blob() for _ in range(count))
