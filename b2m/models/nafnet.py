"""NAFNet: one blurred photo to one sharp frame, the usual alternative.

Paper: Simple Baselines for Image Restoration (Chen et al., ECCV 2022). Our implementation, from the
paper; here as the baseline of a single sharp image, in the table on middle frames and in the
benchmark of speed.

From the paper: a U-Net of blocks without activation functions (layer norm over channels, 1x1 and
depthwise 3x3 convolutions, a gate that multiplies two halves, channel attention), whose result is
added to the photo.

Ours: sizes that are no multiple of the U-Net's stride are padded inside and cropped back; a smaller
size for CPUs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from b2m.errors import check_minimum
from b2m.hub import HubModel
from b2m.models.layers import ChannelNorm, pad_to_multiple
from b2m.models.recipe_presets import FROM_SCRATCH
from b2m.registry import register_model
from b2m.tensors import evenly_spaced

_Four = tuple[int, int, int, int]


@dataclass(frozen=True)
class NAFNetConfig:
    """Sizes of a NAFNet.

    Attributes:
        width: channels at full resolution; doubled at each of four levels below.
        encoder: blocks at each level, from full resolution downwards.
        middle: blocks at the coarsest.
        decoder: blocks at each level, back up.
    """

    width: int = 24
    encoder: _Four = (1, 1, 1, 4)
    middle: int = 1
    decoder: _Four = (1, 1, 1, 1)

    def __post_init__(self) -> None:
        """Raise a ValueError for impossible sizes."""
        check_minimum(self, width=1, encoder=0, middle=0, decoder=0)

    @classmethod
    def paper(cls) -> Self:
        """NAFNet of width 32 for GoPro: 17.1 million parameters, 16 GMAC for a photo of 256x256."""
        return cls(width=32, encoder=(1, 1, 1, 28))

    @classmethod
    def compact(cls) -> Self:
        """A size for CPUs: 3.3 million parameters, 3.6 GMAC for a photo of 256x256."""
        return cls()

    @classmethod
    def tiny(cls) -> Self:
        """A size for tests."""
        return cls(width=4, encoder=(1, 1, 0, 0), middle=1, decoder=(0, 0, 1, 1))


def _gate(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=1)
    return first * second


class _Block(nn.Module):
    """Figure 3 of the paper: convolution, gate and channel attention, then gate alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial_norm, self.channel_norm = ChannelNorm(channels), ChannelNorm(channels)
        self.widen = nn.Conv2d(channels, 2 * channels, 1)
        self.spatial = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.attention = nn.Conv2d(channels, channels, 1)
        self.narrow = nn.Conv2d(channels, channels, 1)
        self.feed_in = nn.Conv2d(channels, 2 * channels, 1)
        self.feed_out = nn.Conv2d(channels, channels, 1)
        self.beta = nn.Parameter(torch.zeros(channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        y = _gate(self.spatial(self.widen(self.spatial_norm(x))))
        y = self.narrow(y * self.attention(y.mean((2, 3), keepdim=True)))
        x = x + y * self.beta
        return x + self.feed_out(_gate(self.feed_in(self.channel_norm(x)))) * self.gamma


@register_model(
    "nafnet",
    recipes={
        "nafnet-compact": {
            "config": NAFNetConfig.compact(),
            **FROM_SCRATCH,
            "learning_rate": 1e-3,
            "clip_norm": 1.0,
        }
    },
)
class NAFNet(HubModel):
    """Blurred photo to its sharp middle frame; see the head of this file.

    Args:
        config: sizes; None for the compact ones.
    """

    config_class = NAFNetConfig
    weights_name = "nafnet-compact"
    config: NAFNetConfig

    output_kind = "sharp frame"
    native_frames = 1

    def __init__(self, config: NAFNetConfig | None = None) -> None:
        config = config or NAFNetConfig()
        super().__init__(config)
        self.stride = 2 ** len(config.encoder)
        widths = [config.width * 2**level for level in range(len(config.encoder) + 1)]

        def blocks(count: int, channels: int) -> nn.Sequential:
            return nn.Sequential(*(_Block(channels) for _ in range(count)))

        self.intro = nn.Conv2d(3, config.width, 3, padding=1)
        self.encoder = nn.ModuleList(map(blocks, config.encoder, widths))
        self.down = nn.ModuleList(nn.Conv2d(w, 2 * w, 2, stride=2) for w in widths[:-1])
        self.middle = blocks(config.middle, widths[-1])
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(w, 2 * w, 1, bias=False), nn.PixelShuffle(2))
            for w in widths[:0:-1]
        )
        self.decoder = nn.ModuleList(map(blocks, config.decoder, widths[-2::-1]))
        self.ending = nn.Conv2d(config.width, 3, 3, padding=1)

    def forward(self, photo: Tensor, guidance: Tensor | None = None) -> Tensor:
        """The sharp frame.

        Args:
            photo: (B, 3, H, W) sRGB in [0, 1], any size.
            guidance: not used: the middle frame has no direction.

        Returns:
            (B, 1, 3, H, W) sRGB, not clipped.
        """
        height, width = photo.shape[-2:]
        padded = pad_to_multiple(photo, self.stride)
        x, skips = self.intro(padded), []
        for blocks, down in zip(self.encoder, self.down, strict=True):
            x = blocks(x)
            skips.append(x)
            x = down(x)
        x = self.middle(x)
        for up, blocks in zip(self.up, self.decoder, strict=True):
            x = blocks(up(x) + skips.pop())
        sharp = self.ending(x).float() + padded
        return sharp[:, None, :, :height, :width]

    def loss(self, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """Minus the PSNR of the middle frame, dB (Chen et al. 2022)."""
        truth = batch["frames"][:, evenly_spaced(batch["frames"].shape[1], 1)]
        error = (self(batch["photo"]) - truth).square().mean((1, 2, 3, 4))
        return {"model": 10 * (error + 1e-8).log10().mean()}
