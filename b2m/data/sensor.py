"""What a camera does to the light that reaches it: noise, 8 bits, JPEG-like artefacts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from b2m.blur import linear_to_srgb, srgb_to_linear
from b2m.data.trajectories import Random


@dataclass(frozen=True)
class SensorConfig:
    """What a camera does to the light.

    Attributes:
        read_noise: largest standard deviation in the dark, linear light.
        shot_noise: largest variance per unit of linear light.
        compressed: share of photos stored as JPEG.
        quality: least and largest JPEG quality.
    """

    read_noise: float = 0.004
    shot_noise: float = 0.001
    compressed: float = 0.5
    quality: tuple[int, int] = (70, 98)


def simulate_sensor(photo: Tensor, seed: int, config: SensorConfig | None = None) -> Tensor:
    """Put noise, JPEG-like artefacts and 8-bit rounding on clean photos.

    Args:
        photo: (B, 3, H, W) sRGB in [0, 1].
        seed: the same seed gives the same noise on one kind of device.
        config: strengths; each photo draws its own below them.

    Returns:
        (B, 3, H, W) sRGB in [0, 1], multiples of 1/255.
    """
    config = config or SensorConfig()
    random = Random(seed, photo.device)
    batch = photo.shape[0]
    linear = srgb_to_linear(photo)
    read = config.read_noise * random.uniform(batch, 1, 1, 1) ** 2
    shot = config.shot_noise * random.uniform(batch, 1, 1, 1) ** 2
    generator = torch.Generator(photo.device).manual_seed(seed)
    noise = torch.randn(photo.shape, generator=generator, device=photo.device)
    noisy = linear_to_srgb(linear + noise * (read**2 + shot * linear).sqrt())
    quality = random.uniform(batch, low=config.quality[0], high=config.quality[1])
    stored = random.chance(config.compressed, batch)[:, None, None, None]
    compressed = jpeg_like(noisy, quality) if stored.any() else noisy
    return (torch.where(stored, compressed, noisy).clamp(0, 1) * 255).round() / 255


# Example tables of the JPEG standard (ITU-T T.81, annex K).
_LUMINANCE = (
    "16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 "
    "14 17 22 29 51 87 80 62 18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 "
    "49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"
)
_CHROMINANCE = (
    "17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 "
    "47 66 99 99 99 99 99 99 " + "99 " * 32
)


def _cosine_basis(device: torch.device) -> Tensor:
    """Orthonormal 8-point DCT-II, (8, 8)."""
    frequency, place = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    basis = torch.cos(math.pi * frequency * (2 * place + 1) / 16) / 2
    basis[0] /= math.sqrt(2)
    return basis.to(device)


def jpeg_like(photo: Tensor, quality: Tensor) -> Tensor:
    """Quantise 8x8 cosine blocks as JPEG does (without chroma subsampling).

    Args:
        photo: (B, 3, H, W) sRGB in [0, 1].
        quality: (B,) as the usual encoders' 1 to 100.

    Returns:
        (B, 3, H, W), not clipped.
    """
    height, width = photo.shape[-2:]
    rgb = F.pad(photo * 255, (0, -width % 8, 0, -height % 8), mode="replicate")
    red, green, blue = rgb.unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = torch.stack([luma - 128, (blue - luma) / 1.772, (red - luma) / 1.402], 1)
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)
    tables = torch.tensor(
        [[float(step) for step in text.split()] for text in (_LUMINANCE, _CHROMINANCE)],
        device=photo.device,
    ).view(2, 8, 8)[[0, 1, 1]]
    steps = ((tables * scale[:, None, None, None] + 50) / 100).floor().clamp(1, 255)
    basis = _cosine_basis(photo.device)
    blocks = planes.unfold(2, 8, 8).unfold(3, 8, 8)  # (B, 3, H/8, W/8, 8, 8)
    steps = steps[:, :, None, None]
    blocks = ((basis @ blocks @ basis.T) / steps).round() * steps
    blocks = basis.T @ blocks @ basis
    luma, second, third = blocks.transpose(3, 4).reshape(planes.shape).unbind(1)
    luma = luma + 128
    blue, red = luma + 1.772 * second, luma + 1.402 * third
    green = (luma - 0.299 * red - 0.114 * blue) / 0.587
    return torch.stack([red, green, blue], 1)[..., :height, :width] / 255
