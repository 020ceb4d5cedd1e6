"""Losses, each a function with its equation.

Those of the three papers take their places here as their models do.
"""

from __future__ import annotations

from torch import Tensor


def charbonnier(estimate: Tensor, truth: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Smooth absolute difference, mean of sqrt(d^2 + epsilon^2) - epsilon (Charbonnier 1994).

    Args:
        estimate: any shape.
        truth: the same shape.
        epsilon: in the unit of both; below it the loss is quadratic.

    Returns:
        A scalar.
    """
    return ((estimate - truth).square() + epsilon**2).sqrt().mean() - epsilon


def line_loss(line: Tensor, truth: Tensor) -> Tensor:
    """Distance between lines of motion, which do not know their sign; mean over pixels.

    Args:
        line: (B, 2, H, W) double-angle vectors m (cos 2a, sin 2a), pixels.
        truth: (B, 2, H, W) the same.

    Returns:
        A scalar in pixels: mean of sqrt(|q - q*|^2 + 0.01) - 0.1.
    """
    return ((line - truth).square().sum(1) + 0.01).sqrt().mean() - 0.1
