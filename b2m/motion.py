"""Motion fields: warping along them, estimating, storing and colouring them.

A flow is a displacement in pixels over the whole exposure, x to the right and y down. As an array
it is (H, W, 2) float32, as a tensor (B, 2, H, W).
"""

from __future__ import annotations

import torch
from torch.nn import functional


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
