"""Guidance as arrays: quantized from flow, validated, resized. Exported by `b2m.guidance`."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from b2m.errors import InputError
from b2m.media.image import row_strips
from b2m.motion.fields import STILL_THRESHOLD

Guidance = NDArray[np.int8]

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


def quantize(flow: torch.Tensor, threshold: float = STILL_THRESHOLD) -> torch.Tensor:
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


def quantize_directions(
    flow: torch.Tensor, bits: int, threshold: float = STILL_THRESHOLD
) -> torch.Tensor:
    """Quantise flow into 2, 4, 8 or 16 directions (Zhong 2022, appendix B), a bit for each halving.

    Args:
        flow: (B, 2, H, W) pixels over the whole exposure.
        bits: 1 to 4: right or left; up or down, which are the quadrants of :func:`quantize`;
            flatter or steeper than 45 degrees; nearer to or farther from the axis than 22.5.
        threshold: shorter vectors are still.

    Returns:
        (B, bits, H, W) float of 1 and -1, all 0 where still.
    """
    quadrants = quantize(flow, threshold).float()
    across, down = flow.float().abs().unbind(1)
    steep = torch.where(down > across, 1.0, -1.0)
    # From the nearer axis: a ratio above tan 22.5 degrees.
    between = torch.minimum(across, down) > (2**0.5 - 1) * torch.maximum(across, down)
    finer = torch.stack([steep, torch.where(between, 1.0, -1.0)], 1)
    finer = finer * quadrants[:, :1].abs()
    return torch.cat([quadrants, finer], 1)[:, :bits]


def from_flow(flow: NDArray[np.floating[Any]], threshold: float = STILL_THRESHOLD) -> Guidance:
    """Quantise a flow array; the rule is :func:`quantize`'s.

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
    # The same as `quantize` without its temporaries in floating point: ten times as fast.
    for rows in row_strips(*flow.shape[:2]):
        strip = flow[rows].astype(np.float32, copy=False)
        signs = (strip > 0).view(np.int8) - (strip < 0).view(np.int8)
        u, v = strip[..., 0], strip[..., 1]
        signs *= (u * u + v * v >= threshold * threshold)[..., None]
        ties = (signs[..., 0] == 0) != (signs[..., 1] == 0)
        if ties.any():
            right, down = signs[ties].T
            signs[ties] = np.stack((right + down, down - right), axis=-1)
        guidance[rows] = signs
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
            "height and width as shown (after EXIF rotation); b2m.guidance.resize scales it"
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


def resize(guidance: Guidance, size: tuple[int, int]) -> Guidance:
    """Scale guidance to ``size`` = (height, width); nearest neighbour.

    Raises:
        InputError: not a guidance, or a side below 1.
    """
    shape = np.shape(guidance)
    guidance = validate(guidance, *(shape[:2] if len(shape) == 3 else (0, 0)))
    if min(size) < 1 or not guidance.size:
        raise InputError(f"guidance of {shape} cannot be scaled to {size}: both need pixels")
    resized: Any = cv2.resize(guidance, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized)


def quadrant(x: float, y: float) -> tuple[int, int]:
    """The vector of guidance for a direction of any length but 0, by the rule of :func:`quantize`.

    Args:
        x, y: to the right and down.
    """
    if not (x or y):
        raise InputError("a direction of length 0 points nowhere")
    signs = np.sign(np.array([[[x, y]]], np.float64))
    u, v = from_flow(signs, threshold=0.5)[0, 0].tolist()
    return u, v
