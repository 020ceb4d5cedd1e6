"""Layers shared by models."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of (B, C, H, W)."""

    def __init__(self, channels: int, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        # In channels-last memory the permutations cost nothing and the fused kernel is the fastest.
        x = F.layer_norm(
            x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.epsilon
        )
        return x.permute(0, 3, 1, 2)


class Pointwise(nn.Linear):
    """1x1 convolution of (B, C, H, W) as a matrix product.

    The same as nn.Conv2d(in, out, 1), but in channels-last memory up to four times faster on CPUs.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H, W)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class LocalAttention(nn.Module):
    """Channel attention over a window about each pixel rather than the whole image.

    The window is three cells of the given size wide. A mean over the whole image would change
    with the size of the image, so that tiles disagree and crops at training differ from photos
    at test (Chu et al. 2022, "Improving Image Restoration by Revisiting Global Information
    Aggregation"); cells keep it cheap, and between their centres the attention is interpolated,
    since steps would show in flat areas of the motion. Tiles agree where they start at multiples
    of the cell. The sides of the input are multiples of the cell.

    Args:
        channels: of the input and output.
        cell: side of a cell at this layer's resolution, pixels.
    """

    def __init__(self, channels: int, cell: int) -> None:
        super().__init__()
        self.cell = cell
        self.project = Pointwise(channels, channels)
        nn.init.ones_(self.project.bias)  # begin by letting all channels through

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        cells = F.avg_pool2d(x, self.cell)
        cells = F.avg_pool2d(cells, 3, stride=1, padding=1, count_include_pad=False)
        scale = self.project(cells)
        if self.cell > 1:
            scale = F.interpolate(scale, scale_factor=self.cell, mode="bilinear")
        return x * scale


class GatedBlock(nn.Module):
    """NAFNet's block (Chen et al. 2022), with channel attention over a local window.

    Its two gates are pairs of convolutions rather than halves of one: the same arithmetic, but
    without slices of channels, which are slow on CPUs. Its two learnt residual scales are folded
    into the convolutions before them.

    Args:
        channels: of the input and output.
        cell: side of an attention cell at this layer's resolution, pixels.
    """

    def __init__(self, channels: int, cell: int) -> None:
        super().__init__()

        def spatial() -> nn.Sequential:
            return nn.Sequential(
                Pointwise(channels, channels),
                nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            )

        self.spatial_norm = ChannelNorm(channels)
        self.spatial_value, self.spatial_gate = spatial(), spatial()
        self.attention = LocalAttention(channels, cell)
        self.spatial_out = Pointwise(channels, channels)
        self.channel_norm = ChannelNorm(channels)
        self.channel_value = Pointwise(channels, channels)
        self.channel_gate = Pointwise(channels, channels)
        self.channel_out = Pointwise(channels, channels)
        for out in (self.spatial_out, self.channel_out):  # begin near the identity
            nn.init.normal_(out.weight, std=0.3 / channels**0.5)
            nn.init.zeros_(out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        y = self.spatial_norm(x)
        x = x + self.spatial_out(self.attention(self.spatial_value(y) * self.spatial_gate(y)))
        y = self.channel_norm(x)
        return x + self.channel_out(self.channel_value(y) * self.channel_gate(y))


class PreActivationBlock(nn.Module):
    """Residual block with its norms before its convolutions (He et al. 2016b).

    Batch norm, ReLU and a 3x3 convolution, twice, beside the identity.

    Args:
        channels: of the input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()

        def half() -> list[nn.Module]:
            return [
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            ]

        self.body = nn.Sequential(*half(), *half())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        y: Tensor = self.body(x)
        return x + y


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column of (B, C, H, W) until both sides are multiples."""
    return F.pad(x, (0, -x.shape[-1] % multiple, 0, -x.shape[-2] % multiple), mode="replicate")
