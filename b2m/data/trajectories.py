"""Smooth random motion: curves of projective maps, and the random draws they are made of.

Paths are X(t) = exp(t A + t^2 B) X(0) with t from -1 to 1 and X(0) the middle instant. Turning a
camera about any axis is the case A = K [w]x K^-1, for which exp(t A) = K R(t) K^-1 exactly
(rotational blur, Argaw et al. 2021a, section 3).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class Random:
    """Draws on the CPU, so that every device renders the same scenes."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.device = device

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform draws between low and high."""
        draw = torch.rand(shape, generator=self.generator)
        return (low + (high - low) * draw).to(self.device)

    def normal(self, *shape: int) -> Tensor:
        """Gaussian draws of mean 0 and variance 1."""
        return torch.randn(shape, generator=self.generator).to(self.device)

    def integers(self, high: int, *shape: int) -> Tensor:
        """Uniform draws from 0 to high - 1, int64."""
        return torch.randint(high, shape, generator=self.generator).to(self.device)

    def chance(self, share: float, *shape: int) -> Tensor:
        """True in that share of draws."""
        return self.uniform(*shape) < share


def motion_generator(
    turn: Tensor, grow: Tensor, shift: Tensor, tilt: Tensor, focal: Tensor
) -> Tensor:
    """Generators of projective motion, (..., 3, 3).

    Args:
        turn: (...) roll, radians.
        grow: (...) logarithm of the zoom.
        shift: (..., 2) pixels.
        tilt: (..., 2) yaw and pitch, radians: K [w]x K^-1 with the focal length.
        focal: (...) pixels.
    """
    generator = torch.zeros(*turn.shape, 3, 3, device=turn.device)
    generator[..., 0, 0] = generator[..., 1, 1] = grow
    generator[..., 0, 1], generator[..., 1, 0] = -turn, turn
    generator[..., :2, 2] = shift + tilt * focal[..., None]
    generator[..., 2, :2] = -tilt / focal[..., None]
    return generator


def conjugate(generator: Tensor, pivot: Tensor) -> Tensor:
    """The same motion about another point: T(p) G T(-p), with pivot (..., 2) in pixels."""
    to_pivot = torch.eye(3, device=pivot.device).expand(*pivot.shape[:-1], 3, 3).clone()
    back = to_pivot.clone()
    to_pivot[..., :2, 2], back[..., :2, 2] = pivot, -pivot
    return to_pivot @ generator @ back


def apply_homography(matrix: Tensor, points: Tensor) -> Tensor:
    """Map points (..., N, 2) by matrices (..., 3, 3); returns (..., N, 2)."""
    homogeneous = F.pad(points, (0, 1), value=1.0) @ matrix.transpose(-1, -2)
    return homogeneous[..., :2] / homogeneous[..., 2:]


def longest_path(linear: Tensor, curved: Tensor, points: Tensor) -> Tensor:
    """Longest path from end to end by way of the middle, of points (..., N, 2): (...)."""
    first = apply_homography(torch.matrix_exp(curved - linear), points)
    last = apply_homography(torch.matrix_exp(curved + linear), points)
    path = (last - points).norm(dim=-1) + (points - first).norm(dim=-1)
    return path.amax(dim=-1)


def scaled_to(
    linear: Tensor, curved: Tensor, points: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Scale a motion so that its longest path over the points is target pixels."""
    for _ in range(3):  # the path is not quite linear in the generator
        ratio = (target / longest_path(linear, curved, points).clamp_min(1e-6))[..., None, None]
        linear, curved = linear * ratio, curved * ratio
    return linear, curved


def camera_motion(random: Random, batch: int, focal: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Hand shake, pans, rolls and zooms, as generators (B, 3, 3); their size is set later."""

    def draw() -> Tensor:
        # Each scene leans to one kind: shift, roll, zoom or turning about a tilted axis.
        lean = random.uniform(batch, 4) ** 3 + 0.02
        return motion_generator(
            turn=2.0 * lean[:, 1] * random.normal(batch) / size,
            grow=1.0 * lean[:, 2] * random.normal(batch) / size,
            shift=lean[:, 0, None] * random.normal(batch, 2),
            tilt=lean[:, 3, None] * random.normal(batch, 2) / focal[:, None],
            focal=focal,
        )

    bend = 0.4 * random.uniform(batch) * random.chance(0.6, batch)
    return _bent(draw(), draw(), bend, size)


def thing_motion(random: Random, total: int, size: int) -> tuple[Tensor, Tensor]:
    """Shifts, turns about a pivot (a limb about its joint) and growth: (P, 3, 3) each."""

    def draw() -> Tensor:
        generator = motion_generator(
            turn=3.0 / size * random.normal(total) * random.chance(0.5, total),
            grow=1.0 / size * random.normal(total) * random.chance(0.3, total),
            shift=random.normal(total, 2),
            tilt=torch.zeros(total, 2, device=random.device),
            focal=torch.ones(total, device=random.device),
        )
        return conjugate(generator, 0.2 * size * random.normal(total, 2))

    bend = 0.4 * random.uniform(total) * random.chance(0.5, total)
    return _bent(draw(), draw(), bend, size)


def _bent(linear: Tensor, curved: Tensor, bend: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Scale the curved part (N, 3, 3) so that it moves things by a share (N,) of the linear one."""
    # In pixels at half a frame's side from the middle; angles and shifts do not compare.
    reach = torch.tensor([size / 2, size / 2, 1.0], device=linear.device)
    straight, aside = ((part[:, :2] * reach).flatten(1).norm(dim=1) for part in (linear, curved))
    return linear, curved * (bend * straight / aside.clamp_min(1e-6))[:, None, None]
