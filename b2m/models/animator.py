"""MotionAnimator: one blurred photo to any number of frames and a motion field, in one pass.

Ours; it builds on Animation from Blur (Zhong et al., ECCV 2022), from which the guidance and the
task are taken, and on Argaw et al. 2021a (frames as transformations of the middle one).

A blurred photo looks the same when the film runs backwards, so it tells each pixel's path only up
to reversal: x(t) = even(t) + s * odd(t), with s = +1 or -1. The network says, from the photo alone,

* the middle frame M,
* the line of motion as a double-angle vector q = m (cos 2a, sin 2a), which is continuous where a
  signed vector has to jump; v = m (cos a, sin a) is the displacement over the exposure,
* the curvature c of the path, and residuals for what a moving middle frame cannot show:
  an even one, R, and an odd one, A v / sqrt(|v|^2 + 1) with a 3x2 matrix A at each pixel.

With t from -1 to 1 the frame is

    I(x, t) = M(x - s v t/2 - c t^2) + t^2 R + s t A v / sqrt(|v|^2 + 1).

Guidance only chooses s at each pixel, so `encode` holds nearly all arithmetic and never sees it,
and reversing the guidance reverses the clip exactly.

The path also gives the blur operator itself, B(M) = mean over t of M moved along the path in linear
light, and B does not depend on s. With `deconvolution_steps` a few Richardson-Lucy steps sharpen
the middle frame, and a small block mends what they cannot know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from b2m.blur import linear_to_srgb, srgb_to_linear
from b2m.hub import HubModel
from b2m.models.layers import GatedBlock, Pointwise, pad_to_multiple, quiet
from b2m.motion.fields import half_angle, warp
from b2m.registry import register_model

STRIDE = 32
"""The photo is padded to a multiple of this, the side of an attention cell."""

_LINE_SCALE = 10.0  # pixels; brings the displacements to the size of the other outputs
_PARTS = {"middle": 3, "line": 2, "curve": 2, "even": 3, "odd": 6}


@dataclass(frozen=True)
class MotionAnimatorConfig:
    """Sizes of a MotionAnimator.

    Attributes:
        width: channels at half resolution; doubled at each further level.
        encoder: blocks at a half, a quarter, an eighth of the resolution.
        middle: blocks at a sixteenth.
        decoder: blocks at an eighth, a quarter, a half.
        deconvolution_steps: Richardson-Lucy steps along the predicted path; 0 for none.
        instants: points of the exposure at which those steps sum the blur; odd.
    """

    width: int = 32
    encoder: tuple[int, int, int] = (1, 2, 3)
    middle: int = 3
    decoder: tuple[int, int, int] = (2, 2, 1)
    deconvolution_steps: int = 0
    instants: int = 7

    @classmethod
    def compact(cls) -> Self:
        """The size that ships with b2m."""
        return cls()

    @classmethod
    def tiny(cls) -> Self:
        """A size for tests."""
        return cls(width=8, encoder=(1, 1, 1), middle=1, decoder=(1, 1, 1))


class Encoding(NamedTuple):
    """All that the photo alone tells; every tensor on the photo's grid.

    Attributes:
        middle: (B, 3, H, W) sRGB, the frame at the middle of the exposure, not clipped.
        line: (B, 2, H, W) double-angle vector of the displacement, pixels per exposure.
        curve: (B, 2, H, W) pixels; the path bends by this at both ends.
        even: (B, 3, H, W) sRGB residual that grows with the square of time.
        odd: (B, 6, H, W) sRGB residual per unit of displacement, three for x and three for y.
    """

    middle: Tensor
    line: Tensor
    curve: Tensor
    even: Tensor
    odd: Tensor


class Animation(NamedTuple):
    """What `MotionAnimator.forward` returns.

    Attributes:
        frames: (B, T, 3, H, W) sRGB, not clipped.
        flow: (B, 2, H, W) pixels over the exposure, on the middle frame's grid.
    """

    frames: Tensor
    flow: Tensor


def _smooth(maps: Tensor) -> Tensor:
    """The same maps with the resolution of the features: motion has no detail below two pixels."""
    coarse = F.avg_pool2d(maps, 2)
    return F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)


def spread(guidance: Tensor) -> Tensor:
    """Fill still pixels with the mean direction of the nearest moving ones, coarse to fine.

    Args:
        guidance: (B, 2, H, W) float in {-1, 0, 1}.

    Returns:
        (B, 2, H, W) float; given directions are kept, zeros stay only if all is still.
    """
    if min(guidance.shape[-2:]) == 1 and max(guidance.shape[-2:]) == 1:
        return guidance
    coarse = spread(F.avg_pool2d(guidance, 2, ceil_mode=True, count_include_pad=False))
    filled = F.interpolate(coarse, size=guidance.shape[-2:], mode="nearest")
    return torch.where((guidance == 0).all(1, keepdim=True), filled, guidance)


def orient(vectors: Tensor, guidance: Tensor) -> Tensor:
    """Choose the sign s of each vector so that it goes with the guidance.

    Args:
        vectors: (B, 2, H, W) pixels.
        guidance: (B, 2, H, W) in {-1, 0, 1}; still pixels follow their surroundings.

    Returns:
        (B, 2, H, W) pixels.
    """
    agreement = (vectors.detach() * spread(guidance.to(vectors.dtype))).sum(1, keepdim=True)
    return torch.where(agreement < 0, -vectors, vectors)


def odd_residual(encoding: Encoding, flow: Tensor) -> Tensor:
    """The residual that changes sign with time, at t = 1: A v / sqrt(|v|^2 + 1), (B, 3, H, W)."""
    across, down = (flow * (flow.square().sum(1, keepdim=True) + 1).rsqrt()).split(1, dim=1)
    odd_across, odd_down = encoding.odd.chunk(2, dim=1)
    return odd_across * across + odd_down * down


def render(encoding: Encoding, flow: Tensor, time: float, odd: Tensor | None = None) -> Tensor:
    """One frame.

    Args:
        encoding: of the photo.
        flow: (B, 2, H, W) pixels, the oriented displacement.
        time: -1 for the first frame, 0 for the middle, 1 for the last. Before and after, things go
            straight on as fast as they went then, and the residuals stay.
        odd: what `odd_residual` gave, to save computing it for every frame.

    Returns:
        (B, 3, H, W) sRGB, not clipped. At time 0 it is `encoding.middle` itself, not a copy.
    """
    if time == 0:
        return encoding.middle
    odd = odd_residual(encoding, flow) if odd is None else odd
    within = max(-1.0, min(time, 1.0))
    bend = within**2 + 2 * within * (time - within)  # the square, and its tangents at both ends
    path = torch.add(flow * (-time / 2), encoding.curve, alpha=-bend)
    moved = warp(encoding.middle, path)
    return moved.add_(encoding.even, alpha=within**2).add_(odd, alpha=within)


@register_model("animator")
class MotionAnimator(HubModel):
    """Blurred photo to encoding to frames; see the head of this file.

    Args:
        config: sizes.
    """

    config_class = MotionAnimatorConfig
    weights_name = "animator"
    gives = "animation"
    config: MotionAnimatorConfig

    native_frames = None
    """Any number of frames."""

    def __init__(self, config: MotionAnimatorConfig | None = None) -> None:
        config = config or MotionAnimatorConfig()
        super().__init__(config)
        width = config.width
        widths = [width, 2 * width, 4 * width, 8 * width]
        cells = [STRIDE // stride for stride in (2, 4, 8, 16)]

        def blocks(count: int, level: int) -> nn.Sequential:
            return nn.Sequential(*[GatedBlock(widths[level], cells[level]) for _ in range(count)])

        self.stem = nn.Conv2d(12, width, 3, padding=1)
        self.encoder = nn.ModuleList(blocks(n, level) for level, n in enumerate(config.encoder))
        self.down = nn.ModuleList(nn.Conv2d(w, 2 * w, 2, stride=2) for w in widths[:3])
        self.middle = blocks(config.middle, 3)
        self.up = nn.ModuleList(Pointwise(w, 2 * w, bias=False) for w in widths[:0:-1])
        self.decoder = nn.ModuleList(blocks(n, 2 - place) for place, n in enumerate(config.decoder))
        self.head = quiet(nn.Conv2d(width, 4 * sum(_PARTS.values()), 3, padding=1))
        if config.deconvolution_steps:
            # Sees the features, the change by the steps and what they leave unexplained.
            self.mend_stem = nn.Conv2d(width + 24, width, 3, padding=1)
            self.mend = GatedBlock(width, cells[0])
            self.mend_head = quiet(nn.Conv2d(width, 16, 3, padding=1))

    def _features(self, photo: Tensor) -> Tensor:
        x = self.stem(F.pixel_unshuffle(photo, 2))  # (B, width, H/2, W/2)
        skips = []
        for blocks, down in zip(self.encoder, self.down, strict=True):
            x = blocks(x)
            skips.append(x)
            x = down(x)
        x = self.middle(x)  # (B, 8 width, H/16, W/16)
        for up, blocks in zip(self.up, self.decoder, strict=True):
            x = blocks(F.pixel_shuffle(up(x), 2) + skips.pop())
        return x

    def encode(self, photo: Tensor) -> Encoding:
        """All that does not depend on guidance.

        Args:
            photo: (B, 3, H, W) sRGB in [0, 1], any size.

        Returns:
            Encoding at the photo's size.
        """
        height, width = photo.shape[-2:]
        padded = pad_to_multiple(photo, STRIDE)
        padded = padded.contiguous(memory_format=torch.channels_last)
        features = self._features(padded)
        maps = F.pixel_shuffle(self.head(features).float(), 2)
        middle, line, curve, even, odd = maps.split(list(_PARTS.values()), dim=1)
        line, curve = _LINE_SCALE * _smooth(line), _LINE_SCALE / 4 * _smooth(curve)
        encoding = Encoding(padded + middle, line, curve, even, odd)
        if self.config.deconvolution_steps:
            encoding = encoding._replace(middle=self._deconvolve(padded, encoding, features))
        return Encoding(*(part[..., :height, :width] for part in encoding))

    def _deconvolve(self, photo: Tensor, encoding: Encoding, features: Tensor) -> Tensor:
        """Richardson-Lucy steps from the predicted middle frame, then a learnt correction.

        The adjoint of moving along the path is taken to be moving back along it, which is exact
        where the motion is locally constant.
        """
        with torch.no_grad():
            # The steps are evidence to the block below, not a layer: path and first guess learn
            # from the frames, and training pays for no gradient through dozens of warps.
            velocity, curve = half_angle(encoding.line), encoding.curve
            seen = srgb_to_linear(photo).clamp_min(1e-3)
            sharp = srgb_to_linear(encoding.middle.clamp(0, 1)).clamp_min(1e-3)
            for _ in range(self.config.deconvolution_steps):
                exposed = self._expose(sharp, -velocity, -curve).clamp_min(1e-3)
                sharp = sharp * self._expose((seen / exposed).clamp(0.25, 4), velocity, curve)
            change = linear_to_srgb(sharp) - encoding.middle
            unexplained = photo - linear_to_srgb(exposed)  # before the last step; another is dear
        hints = F.pixel_unshuffle(torch.cat([change, unexplained], 1), 2)
        mended = self.mend(self.mend_stem(torch.cat([features, hints.to(features.dtype)], 1)))
        maps = F.pixel_shuffle(self.mend_head(mended).float(), 2)
        return encoding.middle + torch.sigmoid(maps[:, :1]) * change + maps[:, 1:]

    def _expose(self, image: Tensor, velocity: Tensor, curve: Tensor) -> Tensor:
        """Mean of an image (B, C, H, W) seen along a path, by the trapezoid rule."""
        total = torch.zeros_like(image)
        last = self.config.instants - 1
        for instant in range(last + 1):
            time = 2 * instant / last - 1
            weight = (0.5 if instant in (0, last) else 1.0) / last
            moved = image if time == 0 else warp(image, time / 2 * velocity + time**2 * curve)
            total = torch.add(total, moved, alpha=weight)
        return total

    def forward(self, photo: Tensor, guidance: Tensor | None = None, frames: int = 7) -> Animation:
        """Frames and flow.

        Args:
            photo: (B, 3, H, W) sRGB in [0, 1].
            guidance: (B, 2, H, W) in {-1, 0, 1}, or None for any one sign at each pixel.
            frames: how many, at least 2.
        """
        encoding = self.encode(photo)
        flow = half_angle(encoding.line)
        if guidance is not None:
            flow = orient(flow, guidance)
        odd = odd_residual(encoding, flow)
        times = torch.linspace(-1, 1, frames).tolist()
        return Animation(torch.stack([render(encoding, flow, t, odd) for t in times], 1), flow)
