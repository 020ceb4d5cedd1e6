"""Guidance: which way things moved, one of five answers per pixel. Pure: imports no model.

A guidance is (H, W, 2) int8 with the vectors (0, 0) still, or (+-1, +-1), x to the right and y
down (Zhong et al., Animation from Blur, ECCV 2022).
"""

from __future__ import annotations

import torch

STILL_THRESHOLD = 3.0
"""Pixels over the whole exposure under which a pixel counts as still: 0.5 px for each of the six
steps between seven frames, Zhong's rule."""


def quantise(flow: torch.Tensor, threshold: float = STILL_THRESHOLD) -> torch.Tensor:
    """Quantise flow to guidance.

    Args:
        flow: (B, 2, H, W) pixels over the whole exposure.
        threshold: shorter vectors are still; for video scale it by interval / exposure.

    Returns:
        (B, 2, H, W) int8: (0, 0) where still or not finite, else the signs of u and v. Ties on an
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
