"""VideoRestorer: one blurred photo to three or seven frames, with what moved between them.

Paper: Restoration of Video Frames from a Single Blurred Image with Motion Understanding (Argaw et
al., CVPR workshops 2021), section 4. Our implementation; the paper has no public code.

From the paper: an encoder of five levels, each of two 3x3 convolutions of stride 2 and 1. The
middle frame's decoder of five blocks: what the coarser block gave, features and picture, is doubled
by transposed convolutions, joined by the encoder's features of that size and passed through five
dense convolutions, which give a picture at each scale; a refining block improves the last one by
its wide surrounding. Every other frame has, at each level,

* a feature transformer network: a spatial transformer moves the encoder's features as a whole, a
  local warping layer along a flow that it finds from them; the results are joined (Eq. 1),
* an image transformer network: a spatial transformer moves the middle frame's picture,
* and a decoder, like that of the middle frame, which sees both and the encoder's features (Eq. 2),

with no weights in common between frames and scales. The ablations of the paper's Table 5 are
switches.

Chosen, where the paper is silent or our text of it lost symbols: ReLU after the encoder's
convolutions; transposed convolutions of 4x4; numbers of channels, half as many in the inner layers
of a dense block; at full scale, where the encoder has no features, the photo stands for them; image
transformers find their map from the encoder's features beside the picture that they move; the
refining block is PWC-Net's of seven dilated convolutions, which correct the picture, and only the
middle frame has one; the maps of both kinds of transformers, which mean the same in coordinates
from -1 to 1, are to agree across scales (Eq. 4).

Ours, in `VideoRestorerConfig.paper` too:

* Transformers start at the identity, local warping near none.
* Sizes that are no multiple of 32 are padded inside and cropped back.

Ours, in the form for short trainings (`VideoRestorerConfig.norm`) alone:

* Pictures are predicted as a change of the photo at their scale, so that all frames start as it.
* The encoder sees the photo's local contrast beside its colours: in contrast motion is found within
  thousands of samples; see docs/experiments.md.
* Batch norms, by which motion is seen sooner, and smaller sizes with fewer convolutions in each
  dense block.
* The photo is also restored transposed, and both clips are averaged by how much moves in each: an
  order of frames that is told by horizontal motion is no order where motion is vertical. So most
  samples that move up or down are transposed in training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from b2m.errors import check_minimum
from b2m.hub import HubModel
from b2m.losses import closest_temporal_order, video_restoration_loss
from b2m.models.layers import (
    ContextNetwork,
    DenseBlock,
    PyramidEncoder,
    SpatialTransformer,
    bilinear_upsampling_conv,
    box_mean,
    conv_relu,
    init_near_zero,
    local_contrast,
    pad_to_multiple,
    upsampling_conv,
)
from b2m.models.recipe_presets import FROM_SCRATCH, PAPER_ADAM
from b2m.motion.fields import warp
from b2m.registry import register_model
from b2m.tensors import evenly_spaced

_Five = tuple[int, int, int, int, int]
_Six = tuple[int, int, int, int, int, int]

STRIDE = 32
"""The photo is padded to a multiple of this."""

_AROUND = 31  # side of the square in which motion is compared, pixels


@dataclass(frozen=True)
class VideoRestorerConfig:
    """Sizes of a VideoRestorer.

    Attributes:
        widths: channels of the five levels, from half the resolution downwards.
        finest: channels of the decoders at full resolution.
        context: channels of the refining block's convolutions before the last.
        transformer: channels inside a spatial transformer.
        frames: how many; odd, 3 or 7 in the paper.
        transformed: whether features are moved as a whole (STN).
        warped: whether features are warped locally (LW).
        pictured: whether the middle frame's pictures are moved (ITN).
        refined: whether there is a refining block.
        dense: convolutions of a dense block; five in the paper.
        norm: whether the network has our form for short trainings: convolutions have batch norms,
            the photo's local contrast is seen beside its colours, changes of the photo are
            predicted, photos are restored as they lie and transposed. Without, it is the paper's:
            no norms, RGB is seen, once, and pictures are predicted.
    """

    widths: _Five = (8, 12, 16, 16, 20)
    finest: int = 4
    context: _Six = (8, 8, 8, 8, 8, 8)
    transformer: int = 6
    frames: int = 7
    transformed: bool = True
    warped: bool = True
    pictured: bool = True
    refined: bool = True
    dense: int = 3
    norm: bool = True

    def __post_init__(self) -> None:
        """Raise a ValueError for impossible sizes."""
        check_minimum(self, widths=2, context=1, finest=2, dense=1, transformer=1)
        if self.frames < 3 or self.frames % 2 == 0:
            raise ValueError(f"frames {self.frames} must be odd, and at least 3")

    # One switch for all: saved configs have these keys and no others, and loading is strict.
    @property
    def contrast(self) -> bool:
        """Whether the encoder sees the photo's local contrast beside its colours."""
        return self.norm

    @property
    def residual(self) -> bool:
        """Whether changes of the photo are predicted, not the pictures themselves."""
        return self.norm

    @classmethod
    def paper(cls) -> Self:
        """The paper's network, seven frames: RGB to pictures at five scales, without norms.

        50 million parameters, 73 GMAC for a photo of 256x256. What the paper leaves open, numbers
        of channels among it, is chosen; see the head of this file.
        """
        return cls(
            widths=(32, 64, 96, 128, 192),
            finest=16,
            context=(64, 64, 64, 48, 32, 16),
            dense=5,
            norm=False,
            transformer=32,
        )

    @classmethod
    def compact(cls) -> Self:
        """A size for CPUs: 0.9 million parameters, 5.1 GMAC for a photo of 256x256, seen twice."""
        return cls()

    @classmethod
    def tiny(cls) -> Self:
        """A size for tests."""
        return cls((4, 4, 4, 4, 4), 4, (4,) * 6, transformer=4, frames=3)

    def three_frames(self) -> Self:
        """The same for the first, middle and last frame alone."""
        return replace(self, frames=3)


class Restoration(NamedTuple):
    """What training needs; see `b2m.losses.video_restoration_loss`.

    Attributes:
        images: (B, N, 3, h, w) sRGB for each scale, from a sixteenth to the full one, not clipped.
        transforms: (B, N - 1, 2, 3) for each spatial transformer of the frames but the middle one,
            from the coarsest to the finest scale; none without transformers.
    """

    images: list[Tensor]
    transforms: list[Tensor]


class _Decoder(nn.Module):
    """Features to pictures at five scales, from the coarsest to the full one.

    It has as many channels at each scale as the encoder has there, and is joined by those `seen`.
    """

    def __init__(self, deepest: int, seen: list[int], config: VideoRestorerConfig) -> None:
        super().__init__()
        self.residual = config.residual
        widths = [*reversed(config.widths[:4]), config.finest]
        self.doubled = nn.ModuleList(map(upsampling_conv, [deepest, *widths], widths))
        self.doubled_picture = nn.ModuleList(bilinear_upsampling_conv(3) for _ in widths[1:])
        self.blocks = nn.ModuleList()
        heads = (nn.Conv2d(width, 3, 3, padding=1) for width in widths)
        # Changes begin near none, so that frames begin as the photo.
        self.predict = nn.ModuleList(map(init_near_zero, heads) if config.residual else heads)
        for place, (joining, width) in enumerate(zip(seen, widths, strict=True)):
            taken = width + joining + (3 if place else 0)
            inner = (width // 2,) * (config.dense - 1)
            self.blocks.append(DenseBlock(taken, (*inner, width), config.norm))

    def forward(
        self, features: Tensor, seen: list[Tensor], photos: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """The last features, (B, widths[-1], H, W), and a picture for each scale, out of
        (B, deepest, H / 32, W / 32) and what is seen at the scales, a sixteenth to the full one."""
        images: list[Tensor] = []
        for place, (joining, photo) in enumerate(zip(seen, photos, strict=True)):
            parts = [self.doubled[place](features), joining]
            if images:
                parts.append(self.doubled_picture[place - 1](images[-1].to(joining)))
            features = self.blocks[place](torch.cat(parts, 1))
            picture = self.predict[place](features).float()
            images.append(photo + picture if self.residual else picture)
        return features, images


class _LocalWarp(nn.Module):
    """Features along a flow that is found from them, (B, width, H, W) to the same shape."""

    def __init__(self, width: int, norm: bool) -> None:
        super().__init__()
        self.look = nn.Sequential(*(conv_relu(width, width, norm=norm) for _ in range(2)))
        self.flow = init_near_zero(nn.Conv2d(width, 2, 3, padding=1))

    def forward(self, features: Tensor) -> Tensor:
        """Warp along a flow in pixels of the features."""
        return warp(features, self.flow(self.look(features)))


class _NonMiddleFrame(nn.Module):
    """The networks of one frame other than the middle one: Eq. 1 and 2."""

    def __init__(self, config: VideoRestorerConfig) -> None:
        super().__init__()
        widths, inside = config.widths, config.transformer
        self.transformers = nn.ModuleList(
            SpatialTransformer(width, inside) for width in widths if config.transformed
        )
        self.warps = nn.ModuleList(
            _LocalWarp(width, config.norm) for width in widths if config.warped
        )
        self.picture_transformers = nn.ModuleList(
            SpatialTransformer(width + 3, inside) for width in (3, *widths[:4]) if config.pictured
        )
        parts = 1 + config.transformed + config.warped
        seen = [3, *(parts * width for width in widths[:4])]
        self.decoder = _Decoder(
            parts * widths[4],
            [channels + 3 * config.pictured for channels in reversed(seen)],
            config,
        )

    def forward(
        self, encoded: list[Tensor], middle: list[Tensor], photos: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """A picture for each scale, and (B, 2, 3) maps from the coarsest to the finest.

        The encoder's features come finest first, pictures from a sixteenth to the full scale.
        """
        transforms: list[Tensor] = []
        features = self._moved(4, encoded[4], transforms)
        seen = []
        for level, picture in zip((3, 2, 1, 0, -1), middle, strict=True):
            blurred = encoded[level] if level >= 0 else photos[-1].to(features)
            parts = [self._moved(level, blurred, transforms) if level >= 0 else blurred]
            if self.picture_transformers:
                picture = picture.to(blurred)
                moved, transform = self.picture_transformers[level + 1](
                    torch.cat([blurred, picture], 1), picture
                )
                parts.append(moved)
                transforms.append(transform)
            seen.append(torch.cat(parts, 1))
        return self.decoder(features, seen, photos)[1], transforms

    def _moved(self, level: int, features: Tensor, transforms: list[Tensor]) -> Tensor:
        """The feature transformer network: what was moved beside what was not."""
        parts = [features]
        if self.transformers:
            moved, transform = self.transformers[level](features, features)
            parts.append(moved)
            transforms.append(transform)
        if self.warps:
            parts.append(self.warps[level](features))
        return torch.cat(parts, 1)


def _mostly_across(photo: Tensor, frames: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Samples that move up or down rather than across, transposed; every fourth stays as it is.

    Args:
        photo: (B, 3, H, H).
        frames: (B, T, 3, H, H).
        flow: (B, 2, H, H).
    """
    across, down = flow.abs().mean((2, 3)).unbind(1)
    transposed = down > across
    transposed[3::4] = False  # `merge_clips` weighs what is said of such photos, too
    chosen = transposed.view(-1, 1, 1, 1)
    photo = torch.where(chosen, photo.mT, photo)
    return photo, torch.where(chosen[:, None], frames.mT, frames)


def merge_clips(clip: Tensor, other: Tensor) -> Tensor:
    """The weighted mean of two clips of a photo, (B, N, 3, H, W), in that of their two orders in
    which they agree better.

    Each counts by the square of the mean squared difference of its ends around a pixel: where the
    order of time could not be told, both ends became their mean, and nothing moves. There is one
    order for the whole photo: of two things that move apart one may be blended with its reverse.
    """
    other = closest_temporal_order(clip, other)
    weights = []
    for frames in (clip, other):
        change = (frames[:, 0] - frames[:, -1]).square().mean(1, keepdim=True)  # (B, 1, H, W)
        weights.append(box_mean(change, _AROUND).square()[:, None] + 1e-12)
    return (weights[0] * clip + weights[1] * other) / (weights[0] + weights[1])


def _compact(loss: dict[str, float] | None = None, **changes: Any) -> dict[str, Any]:
    config = replace(VideoRestorerConfig.compact(), **changes)
    known = {"config": config, **FROM_SCRATCH, "learning_rate": 1e-3, "clip_norm": 1.0}
    return known | ({"loss": loss} if loss else {})


_FURTHER: dict[str, Any] = {
    "blur": (36.0, 40.0),
    "camera_samples": 0,
    "cosine": 6_000,
    "reuse": 10,
    "real_share": 0.12,
    "kinds": {"camera": 0.3, "movers": 0.45, "mixed": 0.25},
    "learning_rate": 4e-4,
}

# 80 epochs, halved at 40 and 60. The text lost the rate, the crops and how many images there were:
# 1e-4 (as in 2021b), 256 and 20,000 chosen.
# Images "are cropped … without resizing", of which nothing else is said: in the order of the film.
_PAPER: dict[str, Any] = {
    **PAPER_ADAM,
    "batch": 4,
    "milestones": (800_000, 1_200_000),
    "augmentations": (),
}


@register_model(
    "video-restorer",
    recipes={
        "video-restorer-compact": _compact(),
        # The paper's, on rotation, gives the first, middle and last frame.
        "video-restorer-rotation": {**_compact(frames=3), "rotation_share": 1.0, "real_share": 0.0},
        # Table 5, of three frames, which cost half of seven: all parts, and some.
        "video-restorer-three": _compact(frames=3),
        "video-restorer-stn": _compact(frames=3, warped=False, pictured=False),
        "video-restorer-stn-lw": _compact(frames=3, pictured=False),
        "video-restorer-stn-itn": _compact(frames=3, warped=False),
        "video-restorer-unrefined": _compact(frames=3, refined=False),
        # Its losses: Eq. 3 alone, and Eq. 3 and 4.
        "video-restorer-pml": _compact({"consistency": 0.0, "penalty": 0.0}, frames=3),
        "video-restorer-pml-tcl": _compact({"penalty": 0.0}, frames=3),
        # From the weights that ship, for a short time, with and without the penalty at 7 frames.
        "video-restorer-further": {**_compact(), **_FURTHER},
        "video-restorer-further-pml-tcl": {**_compact({"penalty": 0.0}), **_FURTHER},
        # What the weights that ship went on with, but for the rate: theirs was constant for
        # 16,000 samples, then fell to zero.
        "video-restorer-continued": {
            **_compact(),
            **_FURTHER,
            "kinds": {"camera": 0.35, "movers": 0.4, "mixed": 0.25},
            "cosine": 22_000,
            "learning_rate": 6e-4,
        },
        "video-restorer-paper": {"config": VideoRestorerConfig.paper(), **_PAPER},
        # For the first, middle and last frame, as on rotational blur; crops of 128 chosen.
        "video-restorer-paper-three-frames": {
            "config": VideoRestorerConfig.paper().three_frames(),
            **_PAPER,
            "scene": 160,
            "crop": 128,
            "batch": 8,
        },
    },
)
class VideoRestorer(HubModel):
    """Blurred photo to frames; see the head of this file.

    A photo has no temporal direction: the frames may come in reverse.

    Args:
        config: sizes; None for the compact ones.
    """

    config_class = VideoRestorerConfig
    weights_name = "video-restorer-compact"
    shipped_limits = (
        "the compact VideoRestorer restores the motion of a camera in part, and that of things "
        "hardly: the animator does more"
    )
    config: VideoRestorerConfig

    def __init__(self, config: VideoRestorerConfig | None = None) -> None:
        config = config or VideoRestorerConfig()
        super().__init__(config)
        self.native_frames: int = config.frames
        widths = config.widths
        self.encoder = PyramidEncoder(widths, 6 if config.contrast else 3, config.norm)
        self.middle = _Decoder(widths[4], [*reversed(widths[:4]), 3], config)
        self.refine = None
        if config.refined:
            self.refine = ContextNetwork(config.finest, 3, config.context, config.norm)
        self.others = nn.ModuleList(_NonMiddleFrame(config) for _ in range(config.frames - 1))

    def loss(
        self,
        batch: Mapping[str, Tensor],
        step: int,
        *,
        consistency: float = 1.0,
        penalty: float = 0.1,
    ) -> dict[str, Tensor]:
        """Argaw 2021a, Eq. 6: photometric loss at all scales, consistency, and the penalty term.

        The paper compares with the order in which the video was filmed. No photo tells that order
        from its reverse, and what is as frequent as its reverse would be learnt as the mean of
        both: so each clip is compared in the nearer of its two orders, as the paper judges it. In
        the form for short trainings most square samples that move up or down are transposed.

        Args:
            batch, step: see `HubModel.loss`.
            consistency: lambda_1; 0 leaves the transformation consistency loss out.
            penalty: lambda_2; 0 leaves the penalty term out.
        """
        photo, frames = batch["photo"], batch["frames"]
        if self.config.norm and photo.shape[-2] == photo.shape[-1]:
            photo, frames = _mostly_across(photo, frames, batch["flow"])
        frames = frames[:, evenly_spaced(frames.shape[1], self.config.frames)]
        truth = pad_to_multiple(frames.flatten(0, 1), STRIDE).unflatten(0, frames.shape[:2])
        images, transforms = self.scales(photo)
        truth = closest_temporal_order(images[-1], truth)
        loss = video_restoration_loss(
            images, truth, transforms, consistency=consistency, penalty=penalty
        )
        return {"model": loss}

    def forward(self, photo: Tensor, guidance: Tensor | None = None) -> Tensor:
        """Frames at the full scale; see `VideoRestorerConfig.norm` for what runs twice.

        Args:
            photo: (B, 3, H, W) sRGB in [0, 1], any size; made for sides of 64 pixels and more.
            guidance: not used: the network chooses a direction itself.

        Returns:
            (B, N, 3, H, W) sRGB, not clipped.
        """
        height, width = photo.shape[-2:]
        photo = pad_to_multiple(photo, STRIDE)
        frames = self.scales(photo).images[-1]
        if self.config.norm:
            frames = merge_clips(frames, self.scales(photo.mT).images[-1].mT)
        return frames[..., :height, :width]

    def scales(self, photo: Tensor) -> Restoration:
        """Frames at all scales.

        Args:
            photo: as in `forward`. If its sides are no multiples of `STRIDE`, what is returned
                belongs to the padded photo, and the truth has to be padded alike to be compared.

        Returns:
            Restoration.
        """
        photo = pad_to_multiple(photo, STRIDE)
        contrast = [local_contrast(photo)] if self.config.contrast else []
        encoded = self.encoder(torch.cat([photo, *contrast], 1))
        photos = [F.avg_pool2d(photo, step) for step in (16, 8, 4, 2)] + [photo]
        seen = [*reversed(encoded[:4]), photo.to(encoded[0])]
        features, middle = self.middle(encoded[4], seen, photos)
        if self.refine is not None:
            middle[-1] = self.refine(features, middle[-1])
        others = [other(encoded, middle, photos) for other in self.others]
        frames = [images for images, _ in others]
        frames.insert(len(frames) // 2, middle)
        # From frames of scales to scales of frames.
        images = [torch.stack(scale, 1) for scale in zip(*frames, strict=True)]
        maps = zip(*(transforms for _, transforms in others), strict=True)
        return Restoration(images, [torch.stack(scale, 1) for scale in maps])
