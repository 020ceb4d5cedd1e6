"""Motion fields: warping, estimation, and flips, rotations and resizes of grid and vectors.

A flow is a displacement in pixels over the whole exposure, x to the right and y down. As an array
it is (H, W, 2) float32, as a tensor (B, 2, H, W). Unless another grid is named, a vector belongs to
the surface seen at the middle instant, at that pixel of the middle frame.
"""

from __future__ import annotations

from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from b2m.errors import InputError
from b2m.media.image import Pixels
from b2m.tensors import to_array, to_tensor

Flow = NDArray[np.float32]
_Scalar = TypeVar("_Scalar", bound=np.generic)

STILL_THRESHOLD = 3.0
"""Pixels over the whole exposure under which a pixel counts as still: 0.5 px for each of the six
steps between seven frames (Zhong et al. 2022)."""

_SPARSE = 320  # pixels on the longest side, from which on every second one is sampled


def warp(image: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
    """Backward warp: ``out(x) = image(x + displacement(x))``, bilinear, borders repeated.

    Args:
        image: (B, C, H, W), any float type.
        displacement: (B, 2, H, W) in pixels; channel 0 to the right, channel 1 down.

    Returns:
        (B, C, H, W) of the image's type. Differentiable in both arguments. Coordinates are always
        float32 or better: in half precision they would be off by whole pixels.
    """
    height, width = displacement.shape[-2:]
    dtype = torch.promote_types(displacement.dtype, torch.float32)
    displacement = displacement.to(dtype)
    # Each plane is written once, in grid_sample's [-1, 1], and once more by the stack.
    columns = torch.linspace(-1, 1, width, dtype=dtype, device=displacement.device)
    rows = torch.linspace(-1, 1, height, dtype=dtype, device=displacement.device)[:, None]
    grid = torch.stack(
        (
            torch.add(columns, displacement[:, 0], alpha=2 / max(width - 1, 1)),
            torch.add(rows, displacement[:, 1], alpha=2 / max(height - 1, 1)),
        ),
        dim=-1,
    )
    warped = functional.grid_sample(
        image.to(dtype), grid, mode="bilinear", padding_mode="border", align_corners=True
    )
    return warped.to(image.dtype)


def warp_array(image: NDArray[Any], displacement: NDArray[np.float32]) -> NDArray[Any]:
    """`warp` of one array.

    Args:
        image: (H, W, C), or (H, W), of a type that OpenCV knows.
        displacement: (H, W, 2) float32 pixels.

    Returns:
        The image at p + displacement(p), bilinear, the border repeated; of the image's type.
    """
    height, width = displacement.shape[:2]
    x = np.arange(width, dtype=np.float32) + displacement[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + displacement[..., 1]
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def magnitude(vectors: NDArray[Any]) -> NDArray[Any]:
    """Lengths of vectors: (..., 2) to (...)."""
    return np.hypot(vectors[..., 0], vectors[..., 1])


def double_angle(flow: torch.Tensor) -> torch.Tensor:
    """Motion axes m (cos 2a, sin 2a) of vectors m (cos a, sin a), (B, 2, H, W) both."""
    across, down = flow.unbind(1)
    length = (across**2 + down**2).sqrt().clamp_min(1e-6)
    return torch.stack([(across**2 - down**2) / length, 2 * across * down / length], 1)


def half_angle(axis: torch.Tensor) -> torch.Tensor:
    """One of the two vectors on each axis, (B, 2, H, W) both: the inverse of `double_angle`.

    It points to the right where the motion is flatter than 45 degrees, down where it is steeper.
    """
    cosine, sine = axis.unbind(1)
    length = (cosine**2 + sine**2 + 1e-6).sqrt()
    # The half-angle formula in the form that does not cancel, and has no infinite slope.
    longer = length + cosine.abs()
    flat = cosine >= 0
    across, down = torch.where(flat, longer, sine), torch.where(flat, sine, longer)
    scale = length / (longer**2 + sine**2).sqrt()
    return torch.stack([across * scale, down * scale], 1)


def estimate_flow(first: NDArray[np.uint8], last: NDArray[np.uint8]) -> Flow:
    """Optical flow from one frame to another by OpenCV's DIS (Kroeger et al., ECCV 2016), medium.

    Args:
        first, last: (H, W, 3) uint8 RGB of one size, sides of 16 or more.

    Returns:
        (H, W, 2) float32 pixels on the grid of ``first``.

    Raises:
        InputError: the frames differ in size or type.
    """
    if (
        first.shape != last.shape
        or first.ndim != 3
        or {first.dtype, last.dtype} != {np.dtype(np.uint8)}
    ):
        raise InputError(
            f"flow needs two (H, W, 3) uint8 frames of one size, not {first.shape} {first.dtype} "
            f"and {last.shape} {last.dtype}"
        )
    height, width = first.shape[:2]
    # DIS fails or stays at zero where its pyramid of 8x8 patches has no room.
    bottom, right = max(0, 64 - height), max(0, 64 - width)
    grey = []
    for frame in (first, last):
        plane = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
        grey.append(cv2.copyMakeBorder(plane, 0, bottom, 0, right, cv2.BORDER_REFLECT))
    dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = dis.calc(grey[0], grey[1], None)
    return np.ascontiguousarray(flow[:height, :width], dtype=np.float32)


def to_first_grid(flow: Flow, iterations: int = 20) -> Flow:
    """Move a flow from the middle frame's grid to the first frame's: f0(x) = fm(x + f0(x) / 2).

    Args:
        flow: (H, W, 2) pixels over the whole exposure.
        iterations: of the fixed-point equation at most; fewer once it has converged.

    Returns:
        (H, W, 2) float32. Where a surface is hidden at one of the two instants no vector satisfies
        the equation, and one of the neighbouring surfaces' is returned.
    """
    return _move_grid(flow, 0.5, iterations)


def to_middle_grid(flow: Flow, iterations: int = 20) -> Flow:
    """Move a flow from the first frame's grid to the middle frame's: fm(x) = f0(x - fm(x) / 2).

    Arguments and result as in :func:`to_first_grid`.
    """
    return _move_grid(flow, -0.5, iterations)


@torch.no_grad()
def _move_grid(flow: Flow, share: float, iterations: int) -> Flow:
    source = to_tensor(flow)
    moved = source
    for _ in range(iterations):
        following = warp(source, moved * share)
        done = float((following - moved).abs().max()) < 1e-3
        moved = following
        if done:
            break
    return to_array(moved)


# --- flips, rotations and resizes change the vectors, too -----------------------------------------


def flip_flow(flow: NDArray[_Scalar], *, horizontal: bool = True) -> NDArray[_Scalar]:
    """Mirror (H, W, 2) left to right, or top to bottom, positions and vectors alike."""
    flipped = (flow[:, ::-1] if horizontal else flow[::-1]).copy()
    channel = flipped[..., 0 if horizontal else 1]
    np.negative(channel, out=channel)
    return flipped


def rotate90_flow(flow: NDArray[_Scalar], turns: int = 1) -> NDArray[_Scalar]:
    """Turn (H, W, 2) counter-clockwise by quarter turns, positions (as np.rot90) and vectors."""
    turned = np.rot90(flow, turns)
    u, v = turned[..., 0], turned[..., 1]
    quarter = turns % 4
    pairs = {0: (u, v), 1: (v, -u), 2: (-u, -v), 3: (-v, u)}
    return np.stack(pairs[quarter], axis=-1)


def resize_flow(flow: Flow, size: tuple[int, int]) -> Flow:
    """Resize (H, W, 2) to ``size`` = (height, width) and scale the vectors with it.

    Area averages downwards, bilinear upwards. Needs no memory beside its result.
    """
    height, width = size
    if flow.shape[:2] == (height, width):
        return flow.astype(np.float32)
    shrink = height * width < flow.shape[0] * flow.shape[1]
    resized: Any = cv2.resize(
        flow.astype(np.float32, copy=False),
        (width, height),
        interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR,
    )
    resized[..., 0] *= width / flow.shape[1]
    resized[..., 1] *= height / flow.shape[0]
    return resized


# --- visibility of a motion -----------------------------------------------------------------------


VISIBLE_CHANGE = 12
"""sRGB codes between the first and last frame, from which on motion counts as visible."""


def change_between(
    photo: Pixels, flow: NDArray[np.float32], other: NDArray[np.float32]
) -> NDArray[np.int16]:
    """Approximate difference of the last frames of two motions: the photo warped along either.

    Args:
        photo: (H, W, 3) uint8 sRGB.
        flow, other: (H, W, 2) pixels over the whole exposure.

    Returns:
        (h, w, 3) 0 to 255; of a large photo, of every second pixel.
    """
    step = sampling_step(flow)
    rows, columns = np.indices(flow[::step, ::step].shape[:2], np.float32) * step

    def last(way: NDArray[np.float32]) -> NDArray[np.int16]:
        half = way[::step, ::step] / 2
        x, y, border = columns + half[..., 0], rows + half[..., 1], cv2.BORDER_REPLICATE
        return cv2.remap(photo, x, y, cv2.INTER_LINEAR, borderMode=border).astype(np.int16)

    return np.abs(last(flow) - last(other))


def sampling_step(flow: NDArray[np.float32]) -> int:
    """Step at which a field is sampled: 2 where it is large, else 1."""
    return 2 if max(flow.shape[:2]) >= _SPARSE else 1
