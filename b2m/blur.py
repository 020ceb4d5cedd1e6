"""Image formation: sRGB and linear light, averaging over the exposure, reblurring error.

A sensor adds up light, not sRGB codes, so every average here is taken in linear light
(Zhong et al. 2022, Eq. 2, "through applying inverse gamma calibration"; IEC 61966-2-1 curve).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Projection needs the instants dense enough that their mean is the blur: with fewer than this
# many frames it is computed on a grid of this many instants instead.
PROJECTION_INSTANTS = 7

Scalar = TypeVar("Scalar", bound=np.generic)


def srgb_to_linear(srgb: Tensor) -> Tensor:
    """Decode sRGB in [0, 1] (any shape) to linear light in [0, 1], by the IEC 61966-2-1 curve."""
    return torch.where(
        srgb <= 0.04045, srgb / 12.92, ((srgb.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    )


def linear_to_srgb(linear: Tensor) -> Tensor:
    """Encode linear light (any shape) as sRGB; values are first clipped to [0, 1]."""
    linear = linear.clamp(0.0, 1.0)
    return torch.where(
        linear <= 0.0031308,
        linear * 12.92,
        1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055,
    )


@cache
def _decode_table() -> NDArray[np.float32]:
    codes = torch.arange(256, dtype=torch.float64) / 255
    return srgb_to_linear(codes).float().numpy()


# 2^14 steps keep the round trip of all 256 codes exact: the darkest codes lie 1/(255 * 12.92)
# apart, about five of these steps.
_STEPS = 16383


def _unit() -> Tensor:
    """Values of the 16-bit steps: [0, 1], and above 1 clipped."""
    return (torch.arange(2**16, dtype=torch.float64) / _STEPS).clamp_max(1)


@cache
def _encode_table() -> NDArray[np.uint8]:
    return (linear_to_srgb(_unit()) * 255).round().to(torch.uint8).numpy()


@cache
def _light_table() -> NDArray[np.float32]:
    return srgb_to_linear(_unit()).float().numpy()


def _look_up(table: NDArray[Scalar], values: NDArray[np.float32]) -> NDArray[Scalar]:
    """Entries of a table of 16-bit steps for values, clipped to [0, 1]."""
    # A weighted sum with nothing is OpenCV's fastest way to scale, round and clip at once.
    steps = cv2.addWeighted(_flat(values), _STEPS, _flat(values), 0, 0, dtype=cv2.CV_16U)
    indices = steps.astype(np.uint16, copy=False).reshape(values.shape)
    return table.take(indices, mode="clip")  # faster than to check every index


def _flat(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """Rows of one channel: what OpenCV is fastest with."""
    return array.reshape(array.shape[0] if array.ndim else 1, -1)


def srgb8_to_linear(codes: NDArray[np.uint8], gamma: float = 0.0) -> NDArray[np.float32]:
    """Decode uint8 codes (any shape) to float32 linear light in [0, 1] by table.

    Args:
        codes: by the sRGB curve, or by a power law.
        gamma: exponent of that power law; 0 for the sRGB curve.
    """
    if gamma:
        return ((np.arange(256) / 255) ** gamma).astype(np.float32)[codes]
    light = cv2.LUT(_flat(codes), _decode_table()).astype(np.float32, copy=False)
    return light.reshape(codes.shape)


def frame_to_linear(frame: Tensor) -> NDArray[np.float32]:
    """Decode an image to linear light by table, to 0.0001: faster than `srgb_to_linear`.

    Args:
        frame: (1, 3, H, W) sRGB, clipped to [0, 1].

    Returns:
        (H, W, 3) in [0, 1].
    """
    channels = [np.asarray(channel) for channel in frame[0].float().cpu()]
    return _look_up(_light_table(), cv2.merge(channels).astype(np.float32, copy=False))


def linear_to_srgb8(linear: NDArray[np.float32], gamma: float = 0.0) -> NDArray[np.uint8]:
    """Encode linear light (any shape, clipped to [0, 1]) to uint8 codes; see `srgb8_to_linear`."""
    if gamma:
        return np.rint(255 * np.clip(linear, 0, 1) ** (1 / gamma)).astype(np.uint8)
    return _look_up(_encode_table(), linear)


def _strips(height: int) -> list[slice]:
    """Rows at a time: decoded, a 48-megapixel frame would be another half gigabyte."""
    return [slice(top, top + 256) for top in range(0, height, 256)]


def average_frames(frames: Iterable[NDArray[np.uint8]], gamma: float = 0.0) -> NDArray[np.float32]:
    """Blurred photo of a clip: mean in linear light (Zhong et al. 2022, Eq. 2).

    Args:
        frames: (H, W, 3) uint8 one after the other, or an array of them; one at least.
        gamma: see `srgb8_to_linear`.

    Returns:
        (H, W, 3) linear light in [0, 1].
    """
    total, count = np.zeros((), np.float32), 0
    for count, frame in enumerate(frames, 1):
        total = total if count > 1 else np.zeros(frame.shape, np.float32)
        for rows in _strips(len(frame)):
            total[rows] += srgb8_to_linear(frame[rows], gamma)
    total /= count
    return total


def reblur_psnr(frames: Iterable[NDArray[np.uint8]], photo: NDArray[np.uint8]) -> float:
    """Reblurring PSNR in dB, sRGB: the mean of the frames in linear light against the photo.

    Args:
        frames: an array (T, H, W, 3) uint8 sRGB, or frames (H, W, 3) one after the other.
        photo: (H, W, 3) uint8 sRGB.

    Returns:
        dB on 8-bit codes; infinity when they agree exactly.
    """
    light, squared = average_frames(frames), 0.0
    for rows in _strips(len(photo)):
        mean = linear_to_srgb8(light[rows]).astype(np.int32)
        squared += float(((mean - photo[rows].astype(np.int32)) ** 2).sum())
    return float("inf") if squared == 0 else float(10 * np.log10(255.0**2 * photo.size / squared))
