"""BlurFlowNet: one blurred photo to the motion field of its exposure.

Paper: Optical Flow Estimation from a Single Motion-blurred Image (Argaw et al., AAAI 2021), which
calls it B2F-net. Our implementation; the paper has no public code.

From the paper: an encoder of six levels, each of two 3x3 convolutions of stride 2 and 1 with ReLU.
Two decoders give features of the first and of the last frame, from the coarsest level to the
finest: a spatial transformer moves the encoder's features as a whole (Eq. 1), and a refining block
of five dense convolutions sees them moved, as they were, and what the coarser level gave, doubled
by a 4x4 transposed convolution (Eq. 2). Then flow as between two sharp frames: at each level the
features of the last frame are warped by the flow so far (Eq. 3), correlated with those of the first
within 4 pixels, decoded by five dense convolutions (Eq. 4), and a convolution predicts the flow
(Eq. 5). Seven dilated convolutions refine the finest. Without refining blocks the moved features
stand for the frames', without transformers the refining blocks see the encoder's alone, and without
either flow comes from the encoder's features as they are: the ablations of the paper's Table 3.

Chosen, where the paper is silent: numbers of channels as in PWC-Net (Sun et al. 2018), on which its
flow estimator is built, and half as many in the inner layers of a refining block; correlations as
means over channels; the same 4x4 transposed convolution for decoded flow features. The last of the
seven dilated convolutions has no ReLU, since flow has a sign, and they give a correction, as in
PWC-Net.

Ours, in `BlurFlowNetConfig.paper` too:

* The finest flow is enlarged bilinearly to the resolution of the photo.
* Transformers start at the identity, doubled flow starts bilinear, the refinement near zero.
* Sizes that are no multiple of the coarsest pixel are padded inside and cropped back.

Ours, in the form for short trainings (`BlurFlowNetConfig.norm`) alone:

* The encoder sees the photo's local contrast, without its colours at large. From colours as they
  are the compact size saw no motion in 13,000 samples, from contrast it does in 1,000; see
  docs/experiments.md.
* A photo has no temporal direction, so each level predicts motion axes, vectors of
  doubled angle that are the same for both ways, and one of the two ways is taken for warping.
* Batch norms, by which motion is seen sooner, and smaller sizes with fewer levels.
* In training, a photo of short motion weighs more than one of long motion.

And in the compact size (`BlurFlowNetConfig.finest`) the finest flow has a quarter of the resolution
in place of half: it trains four times as fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from b2m.errors import check_minimum
from b2m.hub import HubModel
from b2m.losses import EPE_WEIGHTS, closest_sign, multiscale_epe
from b2m.models.layers import (
    ContextNetwork,
    DenseBlock,
    PyramidEncoder,
    SpatialTransformer,
    bilinear_upsampling_conv,
    local_contrast,
    pad_to_multiple,
    upsampling_conv,
)
from b2m.models.recipe_presets import FROM_SCRATCH, LARGE_CROPS, PAPER_ADAM
from b2m.motion.fields import double_angle, half_angle, warp
from b2m.registry import register_model

MAX_DISPLACEMENT = 4
"""Correlation reaches so many pixels of a level."""

_COLUMNS = 48  # that are correlated at once

_FLOW_SCALE = 20.0  # pixels; inside, flows are in this unit, so that they are of order 1

_WEIGHED_LENGTH = 8.0  # pixels; photos of longer mean motion have less weight in training

_Five = tuple[int, int, int, int, int]
_Six = tuple[int, int, int, int, int, int]


@dataclass(frozen=True)
class BlurFlowNetConfig:
    """Sizes of a BlurFlowNet.

    Attributes:
        widths: channels of the encoder's levels, from half the resolution downwards.
        decoder: channels of the five dense convolutions that decode flow.
        context: channels of the dilated convolutions before the last.
        transformer: channels inside a spatial transformer.
        transformed: whether the decoders have spatial transformers.
        refined: whether the decoders have refining blocks.
        norm: whether the network has our form for short trainings: convolutions have batch norms,
            the photo's local contrast is seen, motion axes are predicted. Without, it is the
            paper's: no norms, RGB is seen, vectors are predicted, and all photos weigh alike.
        finest: the level of the finest flow: 0, the paper's, has half the resolution, 1 a quarter.
    """

    widths: tuple[int, ...] = (12, 16, 24, 28, 32)
    decoder: _Five = (16, 16, 16, 12, 8)
    context: _Six = (16, 16, 16, 12, 12, 8)
    transformer: int = 8
    transformed: bool = True
    refined: bool = True
    norm: bool = True
    finest: int = 1

    def __post_init__(self) -> None:
        """Raise a ValueError for impossible sizes."""
        check_minimum(self, widths=2, decoder=1, context=1, transformer=1, finest=0)
        if self.finest > len(self.widths) - 2:
            raise ValueError(
                f"finest {self.finest} must leave two of the {len(self.widths)} levels or more"
            )

    # One switch for all three: saved configs have these keys and no others, and loading is strict.
    @property
    def contrast(self) -> bool:
        """Whether the encoder sees the photo's local contrast instead of its colours."""
        return self.norm

    @property
    def predicts_axes(self) -> bool:
        """Whether motion axes are predicted, vectors of doubled angle, instead of vectors."""
        return self.norm

    @classmethod
    def paper(cls) -> Self:
        """The paper's network: RGB to vectors at six levels, without norms.

        26 million parameters, 40 GMAC for a photo of 256x256. What the paper leaves open is chosen;
        see the head of this file.
        """
        return cls(
            widths=(16, 32, 64, 96, 128, 196),
            decoder=(128, 128, 96, 64, 32),
            context=(128, 128, 128, 96, 64, 32),
            norm=False,
            transformer=32,
            finest=0,
        )

    @classmethod
    def compact(cls) -> Self:
        """A size for CPUs, of five levels: 1.0 million parameters, 1.0 GMAC for 256x256."""
        return cls()

    @classmethod
    def tiny(cls) -> Self:
        """A size for tests."""
        return cls(
            widths=(4, 6, 8),
            decoder=(4, 4, 4, 4, 4),
            context=(4, 4, 4, 4, 4, 4),
            transformer=4,
            finest=0,
        )


def correlate(first: Tensor, last: Tensor, reach: int = MAX_DISPLACEMENT) -> Tensor:
    """Local correlation of the features of two frames.

        c(x, d) = mean over channels of first(x) last(x + d),    |d_x|, |d_y| <= reach

    Args:
        first: (B, C, H, W).
        last: the same shape; zero outside.
        reach: pixels.

    Returns:
        (B, (2 reach + 1)^2, H, W), d from the upper left by rows.
    """
    (height, width), steps = first.shape[-2:], 2 * reach + 1
    seen = first.permute(0, 2, 3, 1)  # (B, H, W, C)
    rows = F.pad(last, (reach,) * 4).permute(0, 2, 1, 3)  # (B, H + 2 reach, C, W + 2 reach)
    columns = []
    # As matrix products of a row with another, of which a band is kept: several times faster than a
    # product for each d. Some columns at a time, so that little is computed in vain.
    for left in range(0, width, _COLUMNS):
        part = seen[:, :, left : left + _COLUMNS]
        count = part.shape[2]
        band = torch.arange(count)[:, None] + torch.arange(steps)
        band = band.to(first.device).expand(*part.shape[:3], steps)
        right = left + count + 2 * reach
        columns.append(
            torch.cat(
                [
                    (part @ rows[:, down : down + height, :, left:right]).gather(-1, band)
                    for down in range(steps)
                ],
                -1,
            )
        )
    return torch.cat(columns, 2).permute(0, 3, 1, 2) / first.shape[1]


class _FeatureDecoder(nn.Module):
    """Features of one frame from those of the blurred photo, at each level (Eq. 1 and 2)."""

    def __init__(self, config: BlurFlowNetConfig) -> None:
        super().__init__()
        widths = config.widths[config.finest :]
        self.transformers = nn.ModuleList()
        self.doubled = nn.ModuleList()
        self.refine = nn.ModuleList()
        for level, width in enumerate(widths):
            if config.transformed:
                self.transformers.append(SpatialTransformer(width, config.transformer))
            if config.refined:
                coarsest = level == len(widths) - 1
                if not coarsest:
                    self.doubled.append(upsampling_conv(widths[level + 1], width))
                parts = 1 + config.transformed + (not coarsest)
                inner = (width // 2,) * 4
                self.refine.append(DenseBlock(parts * width, (*inner, width), config.norm))

    def forward(self, encoded: list[Tensor]) -> list[Tensor]:
        """Features of each level, the finest first, to the same shapes."""
        decoded: list[Tensor] = []
        for level in reversed(range(len(encoded))):
            features = encoded[level]
            parts = [features]
            if self.transformers:
                parts.insert(0, self.transformers[level](features, features)[0])
            if not self.refine:
                decoded.insert(0, parts[0])
                continue
            if decoded:
                parts.append(self.doubled[level](decoded[0]))
            decoded.insert(0, self.refine[level](torch.cat(parts, 1)))
        return decoded


class _FlowLevel(nn.Module):
    """Flow at one level from features of both frames and the coarser level (Eq. 3 to 5)."""

    def __init__(
        self,
        width: int,
        decoder: _Five,
        stride: int,
        coarsest: bool,
        norm: bool,
        predicts_axes: bool,
    ) -> None:
        super().__init__()
        self.stride, self.predicts_axes = stride, predicts_axes
        given = (2 * MAX_DISPLACEMENT + 1) ** 2 + width
        self.doubled_line = None if coarsest else bilinear_upsampling_conv(2)
        self.doubled_features = None if coarsest else upsampling_conv(decoder[-1], decoder[-1])
        self.decode = DenseBlock(given if coarsest else given + decoder[-1] + 2, decoder, norm)
        self.predict = nn.Conv2d(decoder[-1], 2, 3, padding=1)

    def forward(
        self, first: Tensor, last: Tensor, coarser: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """Features (B, width, H, W) of both frames, and what the coarser level returned, to decoded
        features (B, decoder[-1], H, W) and motion axes or vectors (B, 2, H, W) in `_FLOW_SCALE`."""
        if coarser is None or self.doubled_line is None or self.doubled_features is None:
            seen = [correlate(first, last), first]
        else:
            features, axis = coarser
            axis = self.doubled_line(axis.to(features.dtype))
            if self.predicts_axes:
                # Without gradient: the sign of `half_angle` jumps at one angle.
                flow = half_angle(_FLOW_SCALE * axis.detach().float())
            else:
                flow = _FLOW_SCALE * axis.float()
            moved = warp(last, flow / self.stride)
            seen = [correlate(first, moved), first, self.doubled_features(features), axis]
        features = self.decode(torch.cat(seen, 1))
        return features, self.predict(features).float()


def _compact(**changes: Any) -> dict[str, Any]:
    config = replace(BlurFlowNetConfig.compact(), **changes)
    # The loss is a sum over pixels, and so is its gradient.
    return {"config": config, **FROM_SCRATCH, "learning_rate": 1e-3, "clip_norm": 100.0}


# "By centrally cropping inputs", and nothing else: films stay as they are.
_PAPER: dict[str, Any] = {
    "config": BlurFlowNetConfig.paper(),
    **PAPER_ADAM,
    "centred": True,
    "augmentations": (),
    "batch": 4,
    "weight_decay": 4e-4,
}


@register_model(
    "blur-flow",
    recipes={
        "blur-flow-compact": _compact(),
        "blur-flow-large-crops": {
            **_compact(),
            **LARGE_CROPS,
            "scene": 288,
            "crop": 288,
            "kinds": {"camera": 0.4, "mixed": 0.3, "movers": 0.3},
            "learning_rate": 3e-4,
            "frozen_norms": True,
        },
        # Begins with `--init` the compact weights, at the blur that they have seen.
        "blur-flow-fine-tuned": {
            **_compact(),
            "blur": (36.0, 36.0),
            "camera_samples": 0,
            "real_share": 0.9,
        },
        # Table 3: without refining block, without spatial transformers, without both.
        "blur-flow-stn": _compact(refined=False),
        "blur-flow-rb": _compact(transformed=False),
        "blur-flow-plain": _compact(refined=False, transformed=False),
        # On Monkaa, 10,000 images: 300 epochs, halved at 100, 150, 200 and 250.
        "blur-flow-paper": {
            **_PAPER,
            "milestones": (1_000_000, 1_500_000, 2_000_000, 2_500_000),
        },
        # Fine-tuning on real video (`--init` its weights, `--clips`): 120 epochs, halved at 60, 80
        # and 100. How many images there were is not said: 10,000 chosen.
        "blur-flow-paper-fine-tuning": {
            **_PAPER,
            "blur": (40.0, 40.0),
            "real_share": 0.9,
            "milestones": (600_000, 800_000, 1_000_000),
        },
    },
)
class BlurFlowNet(HubModel):
    """Blurred photo to flow; see the head of this file.

    The flow is right up to its sign, for the whole photo or parts of it. Where motion axes are
    predicted (`BlurFlowNetConfig.predicts_axes`), it points to the right, or down where it is
    steeper than 45 degrees; vectors have the sign that the network gives them.

    Args:
        config: sizes; None for the compact ones.
    """

    config_class = BlurFlowNetConfig
    earlier_config: ClassVar[Mapping[str, Any]] = {"finest": 0}
    weights_name = "blur-flow-compact"
    uncertain_flow = True
    shipped_limits = (
        "the compact BlurFlowNet finds the motion of a camera roughly, and that of things hardly: "
        "the animator's motion field is better"
    )
    output_kind = "flow"
    config: BlurFlowNetConfig

    def __init__(self, config: BlurFlowNetConfig | None = None) -> None:
        config = config or BlurFlowNetConfig()
        super().__init__(config)
        self.encoder = PyramidEncoder(config.widths, norm=config.norm)
        decodes = config.transformed or config.refined
        self.decoders = nn.ModuleList(_FeatureDecoder(config) for _ in range(2 * decodes))
        coarsest = len(config.widths) - 1
        self.levels = nn.ModuleList(
            _FlowLevel(
                width,
                config.decoder,
                2 ** (level + 1),
                level == coarsest,
                config.norm,
                config.predicts_axes,
            )
            for level, width in enumerate(config.widths)
            if level >= config.finest
        )
        self.context = ContextNetwork(config.decoder[-1], 2, config.context, config.norm)

    @property
    def stride(self) -> int:
        """The photo is padded to a multiple of this: the side of the coarsest level's pixels."""
        return 2 ** len(self.config.widths)

    def loss(self, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """Argaw 2021b, Eq. 6: endpoint error at all scales.

        The truth is on the middle frame's grid, as is all flow of b2m; the paper's is on the
        first's. In the paper's form (`BlurFlowNetConfig.paper`) it is that of vectors, in the
        nearer of both signs for each photo: no photo tells them apart, and where both are as
        frequent, that of the film would teach their mean, which is no motion. Ours, where the
        network predicts motion axes: it is that of vectors of doubled angle, and each photo has the
        weight 8 / (8 + its mean length of motion in pixels).
        """
        found = self.scales(batch["photo"])
        if self.config.predicts_axes:
            truth = double_angle(batch["flow"])
            # Without weights long motion would count most, though short motion is seen as well.
            length = torch.linalg.vector_norm(truth, dim=1).mean((1, 2))[:, None, None, None]
            weight = _WEIGHED_LENGTH / (_WEIGHED_LENGTH + length)
            truth, found = weight * truth, [weight * flow for flow in found]
        else:
            truth = closest_sign(found[-1], batch["flow"])
        # A model of fewer levels leaves out the coarsest, and the finest before `finest`.
        weights = EPE_WEIGHTS[-len(self.config.widths) :][: len(found)]
        return {"model": multiscale_epe(found, pad_to_multiple(truth, self.stride), weights)}

    def forward(self, photo: Tensor, guidance: Tensor | None = None) -> Tensor:
        """Flow from the first to the last frame.

        Args:
            photo: (B, 3, H, W) sRGB in [0, 1], any size; made for sides of 64 pixels and more.
            guidance: not used: the network chooses a direction itself.

        Returns:
            (B, 2, H, W) pixels over the exposure, on the grid of the flow it was trained with: the
            first frame's in the paper.
        """
        height, width = photo.shape[-2:]
        finest, factor = self.scales(photo)[-1], 2 ** (self.config.finest + 1)
        found = F.interpolate(finest, scale_factor=factor, mode="bilinear", align_corners=False)
        found = found[..., :height, :width]
        return half_angle(found) if self.config.predicts_axes else found

    def scales(self, photo: Tensor) -> list[Tensor]:
        """What is predicted at each level, for `b2m.losses.multiscale_epe`.

        Args:
            photo: as in `forward`. If its sides are no multiples of `stride`, the motion is that of
                the padded photo, and the truth has to be padded alike to be compared.

        Returns:
            (B, 2, h, w) each in pixels of the photo, from the coarsest to the finest:
            motion axes, vectors of doubled angle (`b2m.motion.fields.double_angle`), where
            `BlurFlowNetConfig.predicts_axes` says so, else vectors.
        """
        seen = pad_to_multiple(photo, self.stride)
        encoded = self.encoder(local_contrast(seen) if self.config.contrast else seen)
        encoded = encoded[self.config.finest :]
        first, last = [decode(encoded) for decode in self.decoders] or [encoded, encoded]
        predicted = []
        coarser = None
        for level in reversed(range(len(encoded))):
            coarser = self.levels[level](first[level], last[level], coarser)
            predicted.append(coarser[1])
        assert coarser is not None
        predicted[-1] = self.context(*coarser)
        return [_FLOW_SCALE * motion for motion in predicted]
