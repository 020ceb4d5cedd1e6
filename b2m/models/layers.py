"""Layers shared by models."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FLAT = 0.02  # of sRGB; detail fainter than this is not brought out


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


class Float32Conv2d(nn.Conv2d):
    """A convolution in float32, where autocast computes the others in bfloat16, too.

    For layers whose rounding would be seen: those that read and give the maps of pictures.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H', W'), float32."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


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


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a ReLU between them, beside the identity; no norm.

    Args:
        channels: of the input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.kaiming_normal_(self.first.weight, nonlinearity="relu")
        nn.init.kaiming_normal_(self.second.weight, nonlinearity="linear")
        with torch.no_grad():
            self.second.weight.mul_(0.2)  # begin near the identity
        for convolution in (self.first, self.second):
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        y: Tensor = self.second(F.relu(self.first(x), inplace=True))
        return x + y


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column of (B, C, H, W) until both sides are multiples."""
    return F.pad(x, (0, -x.shape[-1] % multiple, 0, -x.shape[-2] % multiple), mode="replicate")


def local_contrast(photo: Tensor) -> Tensor:
    """Local contrast of a photo: detail, normalised by its local standard deviation.

    Args:
        photo: (B, C, H, W) sRGB in [0, 1].

    Returns:
        (B, C, H, W): what differs from the mean about it, divided by the root mean square of that
        over a wider surrounding; about 1 where there is detail, near 0 in flat areas.
    """
    detail = photo - box_mean(photo, 9)
    energy = detail.square().mean(1, keepdim=True)
    return detail / (box_mean(energy, 17).sqrt() + _FLAT)


def box_mean(x: Tensor, side: int) -> Tensor:
    """Mean over a square of odd side about each pixel of (B, C, H, W), of what is inside it."""
    for window, margin in (((side, 1), (side // 2, 0)), ((1, side), (0, side // 2))):  # separable
        x = F.avg_pool2d(x, window, 1, margin, count_include_pad=False)
    return x


def conv_relu(
    in_channels: int, out_channels: int, stride: int = 1, dilation: int = 1, norm: bool = False
) -> nn.Sequential:
    """3x3 convolution and ReLU, a batch norm between them where asked for.

    A stride of 2 halves the sides, rounded up.
    """
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride, dilation, dilation, bias=not norm)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    if norm:  # which would take a bias away again
        return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return nn.Sequential(convolution, nn.ReLU(inplace=True))


class PyramidEncoder(nn.Module):
    """Features at a half, a quarter … of the resolution (the encoder of Argaw et al. 2021a and b).

    For each level two 3x3 convolutions, of stride 2 and 1, each with a ReLU.

    Args:
        widths: channels of each level, from the finest to the coarsest.
        in_channels: channels of the input.
        norm: whether there are batch norms.
    """

    def __init__(self, widths: tuple[int, ...], in_channels: int = 3, norm: bool = False) -> None:
        super().__init__()
        inputs = (in_channels, *widths)
        self.levels = nn.ModuleList(
            nn.Sequential(
                conv_relu(before, width, 2, norm=norm), conv_relu(width, width, norm=norm)
            )
            for before, width in zip(inputs, widths, strict=False)
        )

    def forward(self, photo: Tensor) -> list[Tensor]:
        """(B, in_channels, H, W) to (B, width, H / 2^l, W / 2^l) of each level, finest first."""
        features, x = [], photo
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features


class DenseBlock(nn.Module):
    """3x3 convolutions with ReLU, each of which sees all before it; gives what the last one gives.

    Args:
        in_channels: channels of the input.
        widths: channels of each convolution; five in Argaw et al. 2021a and b.
        norm: whether there are batch norms.
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...], norm: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            conv_relu(in_channels + sum(widths[:place]), width, norm=norm)
            for place, width in enumerate(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, widths[-1], H, W)."""
        for layer in self.layers[:-1]:
            x = torch.cat([x, layer(x)], 1)
        last: Tensor = self.layers[-1](x)
        return last


class ContextNetwork(nn.Module):
    """Context network: dilated convolutions that correct a map (Sun et al. 2018, PWC-Net).

    Args:
        features: channels of what describes the surrounding.
        channels: of the map.
        widths: of the convolutions before the last.
        norm: whether there are batch norms.
    """

    _DILATIONS = (1, 2, 4, 8, 16, 1)  # and 1 for the last

    def __init__(
        self, features: int, channels: int, widths: tuple[int, ...], norm: bool = False
    ) -> None:
        super().__init__()
        inputs = (features + channels, *widths)
        self.body = nn.Sequential(
            *(
                conv_relu(before, width, dilation=dilation, norm=norm)
                for before, width, dilation in zip(inputs, widths, self._DILATIONS, strict=False)
            )
        )
        self.head = init_near_zero(nn.Conv2d(widths[-1], channels, 3, padding=1))

    def forward(self, features: Tensor, maps: Tensor) -> Tensor:
        """(B, features, H, W) and (B, channels, H, W) to the shape of the latter."""
        correction: Tensor = self.head(self.body(torch.cat([features, maps.to(features)], 1)))
        return maps + correction.float()


class SpatialTransformer(nn.Module):
    """Spatial transformer (Jaderberg et al. 2015): moves a picture by an affine map found for it.

    A few convolutions, their mean over a grid of 4x4 cells whatever the size, and two linear layers
    find six numbers: an affine map in coordinates that go from -1 to 1 across the picture, which
    mean the same at all scales. It starts at the identity.

    Args:
        in_channels: of the features that the map is found from.
        width: channels inside.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.look = nn.Sequential(
            conv_relu(in_channels, width, stride=2),
            conv_relu(width, width, stride=2),
            nn.AdaptiveAvgPool2d(4),
        )
        self.decide = nn.Sequential(
            nn.Flatten(), nn.Linear(16 * width, width), nn.ReLU(inplace=True), nn.Linear(width, 6)
        )
        nn.init.zeros_(self.decide[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.decide[-1].bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Find a map and apply it.

        Args:
            features: (B, in_channels, h, w).
            image: (B, C, H, W), any channels and size.

        Returns:
            The image, moved, and the map, (B, 2, 3) float32: a pixel at p shows
            what was at map(p). The border is repeated.
        """
        change = self.decide(self.look(features)).float().view(-1, 2, 3)
        transform = change + torch.eye(2, 3, device=change.device)
        return affine_warp(image, transform), transform


def affine_warp(picture: Tensor, transform: Tensor) -> Tensor:
    """What is at transform(p), for each pixel p; bilinear, the border repeated.

    Args:
        picture: (B, C, H, W).
        transform: (B, 2, 3), an affine map in coordinates from -1 to 1 between the outer edges.

    Returns:
        (B, C, H, W) of the picture's type; the picture itself, to rounding, for the identity.
    """
    size = list(picture.shape)
    grid = F.affine_grid(transform, size, align_corners=False)
    moved = F.grid_sample(picture.to(grid.dtype), grid, padding_mode="border", align_corners=False)
    return moved.to(picture.dtype)


def init_near_zero(layer: nn.Conv2d) -> nn.Conv2d:
    """Make the output of a layer begin near zero."""
    nn.init.normal_(layer.weight, std=1e-3)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def upsampling_conv(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """4x4 transposed convolution of stride 2: twice the sides."""
    return nn.ConvTranspose2d(in_channels, out_channels, 4, 2, 1)


def bilinear_upsampling_conv(channels: int) -> nn.ConvTranspose2d:
    """The same for a map or picture whose channels begin apart: bilinear at first."""
    layer = upsampling_conv(channels, channels)
    weights = torch.tensor([0.25, 0.75, 0.75, 0.25])
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[range(channels), range(channels)] = weights[:, None] * weights
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
