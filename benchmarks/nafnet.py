"""NAFNet (Chen et al., Simple Baselines for Image Restoration, ECCV 2022), written from the paper.

One deblurred frame of one photo: what a person would use instead. Here only to be timed, with
random weights. Width 32 with blocks [1, 1, 1, 28], 1, [1, 1, 1, 1] has 17.1 million parameters and
16 GMAC at 256x256, as the paper has it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm2d(nn.Module):
    """Over the channels of each pixel, (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, dim=1, keepdim=True, correction=0)
        normal = (x - mean) * (variance + 1e-6).rsqrt()
        return normal * self.weight[:, None, None] + self.bias[:, None, None]


def simple_gate(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=1)
    return first * second


class NAFBlock(nn.Module):
    """Figure 3 of the paper: convolution, gate and channel attention, then gate alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = LayerNorm2d(channels), LayerNorm2d(channels)
        self.widen = nn.Conv2d(channels, 2 * channels, 1)
        self.spatial = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.attention = nn.Conv2d(channels, channels, 1)
        self.narrow = nn.Conv2d(channels, channels, 1)
        self.feed_in = nn.Conv2d(channels, 2 * channels, 1)
        self.feed_out = nn.Conv2d(channels, channels, 1)
        self.beta = nn.Parameter(torch.zeros(channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = simple_gate(self.spatial(self.widen(self.norm1(x))))
        y = self.narrow(y * self.attention(y.mean((2, 3), keepdim=True)))
        x = x + y * self.beta
        return x + self.feed_out(simple_gate(self.feed_in(self.norm2(x)))) * self.gamma


class NAFNet(nn.Module):
    """A U-Net of such blocks; the photo is added to the result."""

    def __init__(
        self,
        width: int = 32,
        encoder: tuple[int, ...] = (1, 1, 1, 28),
        middle: int = 1,
        decoder: tuple[int, ...] = (1, 1, 1, 1),
    ) -> None:
        super().__init__()
        self.multiple = 2 ** len(encoder)
        widths = [width * 2**level for level in range(len(encoder) + 1)]

        def blocks(count: int, channels: int) -> nn.Sequential:
            return nn.Sequential(*(NAFBlock(channels) for _ in range(count)))

        self.intro = nn.Conv2d(3, width, 3, padding=1)
        self.encoder = nn.ModuleList(map(blocks, encoder, widths))
        self.down = nn.ModuleList(nn.Conv2d(w, 2 * w, 2, stride=2) for w in widths[:-1])
        self.middle = blocks(middle, widths[-1])
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(w, 2 * w, 1, bias=False), nn.PixelShuffle(2))
            for w in widths[:0:-1]
        )
        self.decoder = nn.ModuleList(map(blocks, decoder, widths[-2::-1]))
        self.ending = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, photo: Tensor) -> Tensor:
        """(B, 3, H, W) of any size to the same."""
        height, width = photo.shape[-2:]
        padded = F.pad(photo, (0, -width % self.multiple, 0, -height % self.multiple))
        x, skips = self.intro(padded), []
        for blocks, down in zip(self.encoder, self.down, strict=True):
            x = blocks(x)
            skips.append(x)
            x = down(x)
        x = self.middle(x)
        for up, blocks in zip(self.up, self.decoder, strict=True):
            x = blocks(up(x) + skips.pop())
        return (self.ending(x) + padded)[..., :height, :width]
