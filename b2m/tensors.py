"""Conversions between NumPy and PyTorch layouts of images and fields; choice of frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def evenly_spaced(total: int, count: int) -> list[int]:
    """Numbers of some frames of a clip, from its first to its last; a single one is the middle."""
    assert total >= count
    last = total - 1
    return [last // 2] if count == 1 else [round(i * last / (count - 1)) for i in range(count)]


def to_tensor(array: NDArray[Any], device: torch.device | str = "cpu") -> Tensor:
    """(H, W, C) of any type to float (1, C, H, W)."""
    planes = torch.from_numpy(np.ascontiguousarray(array)).to(device)
    return planes.permute(2, 0, 1)[None].float()


def to_photo(pixels: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """(H, W, 3) uint8 to (1, 3, H, W) in [0, 1]."""
    return to_tensor(pixels, device) / 255


def to_array(tensor: Tensor) -> NDArray[np.float32]:
    """(1, C, H, W) to (H, W, C) float32."""
    return to_float_array(tensor[0])


def to_channels_last(planes: Tensor) -> NDArray[Any]:
    """(..., C, H, W) to (..., H, W, C) of the same type."""
    return np.ascontiguousarray(planes.movedim(-3, -1).cpu().numpy())


def to_float_array(planes: Tensor) -> NDArray[np.float32]:
    """(..., C, H, W) to (..., H, W, C) float32."""
    return to_channels_last(planes.float())


def to_pixels(images: Tensor) -> NDArray[np.uint8]:
    """(..., 3, H, W) in [0, 1], clipped, to (..., H, W, 3) uint8."""
    codes = images.clamp(0, 1).mul_(255).round_().to(torch.uint8)
    return to_channels_last(codes)
