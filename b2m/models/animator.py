"""MotionAnimator: one blurred photo to any number of frames and a motion field, in one pass.

Ours; it builds on Animation from Blur (Zhong et al., ECCV 2022), from which the guidance and the
task are taken, and on Argaw et al. 2021a (frames as transformations of the middle one).

A blurred photo looks the same when the film runs backwards, so it determines each pixel's path only
up to reversal: x(t) = even(t) + s * odd(t), with s = +1 or -1. The network predicts

* the middle frame M,
* the motion axis as a double-angle vector q = m (cos 2a, sin 2a), which is continuous where a
  signed vector has to jump; v = m (cos a, sin a) is the displacement over the exposure,
* the curvature c of the path, and residuals for what a displaced middle frame cannot show:
  an even one, R, and an odd one, A v / sqrt(|v|^2 + 1) with a 3x2 matrix A at each pixel,
* two masks: where anything moves past during the exposure (swept), and where the surface that is
  seen at the middle instant moves.

With t from -1 to 1 the frame is

    I(x, t) = M(x - s v t/2 - c t^2) + t^2 R + s t A v / sqrt(|v|^2 + 1).

Two motion fields are in it. Frames need motion wherever a moving object passes, so the axis is that
of the swept path and is gated by the swept mask. The motion of the surface seen at the middle
instant, which is `flow`, is the same field where that surface moves and zero elsewhere.

The network is a U-Net of plain residual blocks, which are the fastest per parameter on CPUs with
matrix units, on the photo at a quarter of its resolution (pixel-unshuffled, beside its local
contrast), and a short stage at half resolution for detail. Guidance enters late: what does not
change under reversal (moving or still, and on which diagonal) is an input of the last blocks;
which of the two ways is chosen by the sign s. So `features` is computed once per photo, and
reversing the guidance reverses the clip exactly.

A second stage (`Refinement`) corrects all of it. It sees what the physics of the exposure says of
the first: the middle frame is sharpened along the predicted paths, and along shorter and longer
ones, by a few steps of Richardson (1972) and Lucy (1974), and re-blurred along them. Where a path
is too long the result rings, where it is too short blur is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from b2m.hub import HubModel
from b2m.losses import axis_loss, charbonnier
from b2m.models.layers import (
    Float32Conv2d,
    Pointwise,
    ResidualBlock,
    init_near_zero,
    local_contrast,
    pad_to_multiple,
)
from b2m.models.recipe_presets import FROM_SCRATCH, SHARES, TINY
from b2m.motion.fields import double_angle, half_angle, warp
from b2m.registry import register_model

STRIDE = 16
"""The photo is padded to a multiple of this, the stride of the coarsest level."""

_AXIS_SCALE = 10.0  # pixels; brings the displacements to the size of the other outputs
_CONTRAST_SCALE = 0.3  # the same for the local contrast
_COLOR = {"middle": 3, "even": 3, "odd": 6}  # predicted at full resolution
_MOTION = {"axis": 2, "curve": 2, "swept": 1, "moving": 1}  # at half resolution
_GUIDANCE_PLANES = 3  # planes of guidance
_MOVING_THRESHOLD = 1.5  # pixels over the exposure, from which on the masks are to say so
_MAX_BOUNDARY_ERROR = 4  # pixels at most by which an outline of guidance is off in training
_PATH_SCALES = (0.75, 1.0, 1.35)  # along so scaled paths the middle frame is sharpened
_EXPOSURE_SAMPLES = 9  # of an exposure, averaged
_RICHARDSON_LUCY_STEPS = 3
_OVERRELAXATION = 1.5  # exponent of each step; fewer steps do
_LUMINANCE = (0.3, 0.55, 0.15)


@dataclass(frozen=True)
class MotionAnimatorConfig:
    """Sizes of a MotionAnimator.

    Attributes:
        widths: channels at a quarter, an eighth, a sixteenth of the resolution.
        blocks: residual blocks of the encoder at a quarter and an eighth, at a sixteenth, and of
            the decoder at an eighth and a quarter; the last see guidance.
        detail_width: channels of the stage at half resolution.
        detail_blocks: residual blocks of that stage.
        refinement_widths: channels of the second stage at a half, a quarter and an eighth.
    """

    widths: tuple[int, int, int] = (96, 160, 192)
    blocks: tuple[int, int, int, int, int] = (2, 2, 3, 2, 3)
    detail_width: int = 32
    detail_blocks: int = 2
    refinement_widths: tuple[int, int, int] = (32, 80, 96)

    @classmethod
    def compact(cls) -> Self:
        """The size that ships with b2m."""
        return cls()

    @classmethod
    def tiny(cls) -> Self:
        """A size for tests."""
        return cls(
            widths=(16, 16, 16),
            blocks=(1, 1, 1, 1, 1),
            detail_width=8,
            detail_blocks=1,
            refinement_widths=(8, 8, 8),
        )


class Features(NamedTuple):
    """What `MotionAnimator.features` gives: the part of the network that guidance does not reach.

    Attributes:
        photo: (B, 3, H, W) sRGB, as it was given.
        coarse: (B, widths[0], h/4, w/4), h and w the padded sides.
        fine: (B, detail_width, h/2, w/2).
    """

    photo: Tensor
    coarse: Tensor
    fine: Tensor


class Encoding(NamedTuple):
    """What the network predicts; every tensor on the photo's grid.

    Attributes:
        middle: (B, 3, H, W) sRGB, the frame at the middle of the exposure, not clipped.
        axis: (B, 2, H, W) double-angle vector of the displacement along the swept path, pixels per
            exposure, gated by the swept mask.
        curve: (B, 2, H, W) pixels; the path bends by this at both ends.
        even: (B, 3, H, W) sRGB residual that grows with the square of time.
        odd: (B, 6, H, W) sRGB residual per unit of displacement, three for x and three for y.
        swept_logits: (B, 1, H, W); above 0, something moves past this pixel during the exposure.
        moving_logits: (B, 1, H, W); above 0, the surface seen here at the middle instant moves.
    """

    middle: Tensor
    axis: Tensor
    curve: Tensor
    even: Tensor
    odd: Tensor
    swept_logits: Tensor
    moving_logits: Tensor


class Animation(NamedTuple):
    """What `MotionAnimator.forward` returns.

    Attributes:
        frames: (B, T, 3, H, W) sRGB, not clipped.
        flow: (B, 2, H, W) pixels over the exposure, on the middle frame's grid.
    """

    frames: Tensor
    flow: Tensor


def fill_still(guidance: Tensor) -> Tensor:
    """Fill still pixels with the mean direction of the nearest moving ones, coarse to fine.

    Args:
        guidance: (B, 2, H, W) float in {-1, 0, 1}.

    Returns:
        (B, 2, H, W) float; given directions are kept, zeros stay only if all is still.
    """
    if min(guidance.shape[-2:]) == 1 and max(guidance.shape[-2:]) == 1:
        return guidance
    coarse = fill_still(F.avg_pool2d(guidance, 2, ceil_mode=True, count_include_pad=False))
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
    agreement = (vectors.detach() * fill_still(guidance.to(vectors.dtype))).sum(1, keepdim=True)
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
        flow: (B, 2, H, W) pixels, the oriented displacement along the swept path.
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


def sign_invariant_planes(guidance: Tensor) -> Tensor:
    """The part of guidance that does not change under reversal.

    Args:
        guidance: (B, 2, H, W) in {-1, 0, 1}.

    Returns:
        (B, 3, H, W): ones, 1 where it moves, and the product of both signs (the diagonal).
    """
    moving = (guidance != 0).any(1, keepdim=True).to(guidance.dtype)
    return torch.cat([torch.ones_like(moving), moving, guidance[:, :1] * guidance[:, 1:]], 1)


def perturb_boundaries(guidance: Tensor) -> Tensor:
    """Guidance with inexact boundaries, as if drawn by hand: a fifth dilated, a fifth eroded.

    Args:
        guidance: (B, 2, H, W) in {-1, 0, 1}.

    Returns:
        The same shape; dilated pixels take the direction of those next to them.
    """
    rough = []
    for sample in guidance[:, None]:  # (1, 2, H, W)
        draw, reach = float(torch.rand(())), int(torch.randint(1, _MAX_BOUNDARY_ERROR + 1, ()))
        moving = sample.any(1, keepdim=True).to(sample)
        window = (2 * reach + 1, 1, reach)
        if draw < 0.2:
            wider = (F.max_pool2d(moving, *window) > 0) & (moving == 0)
            sample = torch.where(wider, torch.where(fill_still(sample) < 0, -1.0, 1.0), sample)
        elif draw < 0.4:
            sample = sample * (F.max_pool2d(1 - moving, *window) == 0)
        rough.append(sample)
    return torch.cat(rough)


def _unshuffled(maps: Tensor, factor: int) -> Tensor:
    return F.pixel_unshuffle(maps, factor).contiguous(memory_format=torch.channels_last)


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*[ResidualBlock(width) for _ in range(count)])


@torch.no_grad()
def deconvolution_features(photo: Tensor, middle: Tensor, path: Tensor) -> Tensor:
    """What the physics of the exposure says of a middle frame and of the paths, at half resolution.

    The frame's luminance is sharpened by a few steps of Richardson and Lucy, so that its mean along
    each path becomes the photo's, for paths of three lengths.

    Args:
        photo, middle: (B, 3, H, W) sRGB, even sides.
        path: (B, 2, H/2, W/2) displacement over the exposure, pixels of that grid.

    Returns:
        (B, 6, H/2, W/2) natural logarithms: the sharpened frame over the photo for each length, and
        the photo over the re-blurred frame for each length.
    """
    height, width = path.shape[-2:]
    weights = photo.new_tensor(_LUMINANCE)[:, None, None]

    def luminance(image: Tensor) -> Tensor:  # (B, 1, H/2, W/2), about linear, never zero
        light = (image.clamp(0.0, 1.0) + 0.02).pow(2.2)
        return F.avg_pool2d((light * weights).sum(1, keepdim=True), 2)

    unit = path.new_tensor([2 / (width - 1), 2 / (height - 1)])  # of a grid from -1 to 1
    columns = torch.arange(width, device=path.device) * unit[0] - 1
    rows = torch.arange(height, device=path.device) * unit[1] - 1
    start = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)  # (H/2, W/2, 2)
    step = torch.cat([path * length for length in _PATH_SCALES]).permute(0, 2, 3, 1) * unit
    grids = [start + step * ((i + 0.5) / _EXPOSURE_SAMPLES - 0.5) for i in range(_EXPOSURE_SAMPLES)]

    def blurred(image: Tensor) -> Tensor:
        looks = [
            F.grid_sample(image, grid, padding_mode="border", align_corners=True) for grid in grids
        ]
        return torch.stack(looks).mean(0)

    seen, sharp = (
        luminance(image).repeat(len(_PATH_SCALES), 1, 1, 1)  # (3 B, 1, H/2, W/2)
        for image in (photo, middle)
    )
    first = None
    for _ in range(_RICHARDSON_LUCY_STEPS):
        ratio = seen / blurred(sharp).clamp_min(1e-3)
        first = ratio if first is None else first
        # Nearly its own transpose, as paths change slowly.
        sharp = sharp * blurred(ratio).clamp(0.2, 5.0).pow(_OVERRELAXATION)
    assert first is not None
    maps = [*(sharp / seen).chunk(len(_PATH_SCALES)), *first.chunk(len(_PATH_SCALES))]
    return torch.cat(maps, 1).log().clamp(-2.0, 2.0)


class Refinement(nn.Module):
    """The second stage: corrections of all maps from what the physics of the exposure says.

    Args:
        config: sizes.
    """

    def __init__(self, config: MotionAnimatorConfig) -> None:
        super().__init__()
        half, quarter, eighth = config.refinement_widths
        inputs = config.detail_width + 2 * len(_PATH_SCALES) + 4 + 3 * 4
        self.stem = Float32Conv2d(inputs, half, 3, padding=1)
        self.skip = Pointwise(config.widths[0], quarter, bias=False)
        self.down = nn.ModuleList(
            [nn.Conv2d(half, quarter, 2, stride=2), nn.Conv2d(quarter, eighth, 2, stride=2)]
        )
        self.encoder = nn.ModuleList([_blocks(half, 1), _blocks(quarter, 1), _blocks(eighth, 1)])
        self.up = nn.ModuleList(
            [Pointwise(eighth, 4 * quarter, bias=False), Pointwise(quarter, 4 * half, bias=False)]
        )
        self.decoder = nn.ModuleList([_blocks(quarter, 1), _blocks(half, 1)])
        maps = 4 * sum(_COLOR.values()) + sum(_MOTION.values())
        self.head = init_near_zero(Float32Conv2d(half, maps, 3, padding=1))

    def forward(
        self, photo: Tensor, color: Tensor, motion: Tensor, coarse: Tensor, fine: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Corrected maps.

        Args:
            photo: (B, 3, H, W) sRGB, sides multiples of the stride.
            color: (B, 12, H, W), maps of the first stage, the middle frame less the photo first.
            motion: (B, 6, H, W), as its head gives them: not scaled and not gated.
            coarse: (B, widths[0], H/4, W/4), what the first stage's head saw.
            fine: (B, detail_width, H/2, W/2), what its head for detail saw.

        Returns:
            color and motion, of the same shapes.
        """
        axis, _, swept, moving = F.avg_pool2d(motion, 2).split(list(_MOTION.values()), 1)
        axis = axis * swept.sigmoid()
        with torch.autocast(photo.device.type, enabled=False):
            path = half_angle(_AXIS_SCALE * axis.detach().float()) / 2  # pixels of half the size
            evidence = deconvolution_features(photo.float(), (photo + color[:, :3]).float(), path)
        masks = torch.cat([swept, moving], 1).clamp(-8.0, 8.0) / 4
        seen = [fine, evidence, axis, masks, F.pixel_unshuffle(color[:, :3].detach(), 2)]
        x = torch.cat([part.float() for part in seen], 1)
        x = self.encoder[0](self.stem(x.contiguous(memory_format=torch.channels_last)))
        y = self.encoder[1](self.down[0](x) + self.skip(coarse))
        z = self.encoder[2](self.down[1](y))  # (B, refinement_widths[2], H/8, W/8)
        y = self.decoder[0](y + F.pixel_shuffle(self.up[0](z), 2))
        x = self.decoder[1](x + F.pixel_shuffle(self.up[1](y), 2))
        maps = self.head(x)
        split = 4 * sum(_COLOR.values())
        return (
            color + F.pixel_shuffle(maps[:, :split], 2),
            motion + F.interpolate(maps[:, split:], scale_factor=2.0, mode="bilinear"),
        )


# Found in docs/experiments.md.
_RECIPE: dict[str, Any] = {
    "config": MotionAnimatorConfig.compact(),
    "batch": 10,
    "crop": 160,  # smaller ones do not teach what large photos ask for
    "scene": 192,
    "blur": (28.0, 40.0),
    "optimizer": "muon",
    "learning_rate": 4e-4,
    "warmup": 60,
    "clip_norm": 0.3,
    "ema": 0.9985,
    "kinds": {"camera": 0.3, "movers": 0.35, "mixed": 0.35},
}
_SMALL: dict[str, Any] = _RECIPE | {"crop": 96, "scene": 128}
# Where some thousand samples are the budget: small batches, and blur that is long enough to be seen
# from the beginning.
_SHORT = _SMALL | {"batch": 4, "blur": (20.0, 36.0), "blur_samples": 20_000}
_CLIPS, _NO_CLIPS = {"real_share": SHARES["clips"]}, {"real_share": 0.0}
_ROTATION = {"rotation_share": SHARES["rotation"] / (1 - SHARES["clips"])}  # of what is rendered


@register_model(
    "animator",
    recipes={
        "animator": _RECIPE,
        "animator-tiny": {**TINY, "config": MotionAnimatorConfig.tiny(), "scene": 48, "crop": 32},
        # Larger crops and batches; made for a GPU, where scenes are rendered faster than used. The
        # beginning of `FROM_SCRATCH`, for as many steps.
        "animator-gpu": {
            **_RECIPE,
            "crop": 192,
            "scene": 224,
            "batch": 64,
            "blur_samples": 160_000,
            "camera_samples": 64_000,
            "reuse": 2,
        },
        "animator-short": {**_SMALL, **FROM_SCRATCH},
        # Scenes, turning cameras and real clips (`--clips`), as in `SHARES`; and what each adds on
        # the same small budget: `b2m evaluate --table mix` compares them.
        "animator-mix": {**_RECIPE, **_ROTATION, **_CLIPS},
        "animator-short-scenes": {**_SHORT, **_NO_CLIPS},
        "animator-short-rotation": {**_SHORT, **_NO_CLIPS, "rotation_share": SHARES["rotation"]},
        "animator-short-clips": {**_SHORT, **_CLIPS},
        "animator-short-mix": {**_SHORT, **_ROTATION, **_CLIPS},
    },
)
class MotionAnimator(HubModel):
    """Blurred photo to encoding to frames; see the head of this file.

    Args:
        config: sizes.
    """

    config_class = MotionAnimatorConfig
    weights_name = "animator"
    output_kind = "animation"
    config: MotionAnimatorConfig

    native_frames = None
    """Any number of frames."""

    guidance_predictors = ("regions", "cvae-gan")

    def __init__(self, config: MotionAnimatorConfig | None = None) -> None:
        config = config or MotionAnimatorConfig()
        super().__init__(config)
        quarter, eighth, sixteenth = config.widths
        fine = config.detail_width

        self.stem = nn.Conv2d(2 * 3 * 16, quarter, 3, padding=1)
        self.encoder = nn.ModuleList(
            [_blocks(quarter, config.blocks[0]), _blocks(eighth, config.blocks[1])]
        )
        self.down = nn.ModuleList(
            [nn.Conv2d(quarter, eighth, 2, stride=2), nn.Conv2d(eighth, sixteenth, 2, stride=2)]
        )
        self.middle = _blocks(sixteenth, config.blocks[2])
        self.up = nn.ModuleList(
            [
                Pointwise(sixteenth, 4 * eighth, bias=False),
                Pointwise(eighth, 4 * quarter, bias=False),
            ]
        )
        self.decoder = nn.ModuleList(
            [_blocks(eighth, config.blocks[3]), _blocks(quarter, config.blocks[4])]
        )
        color, motion = sum(_COLOR.values()), sum(_MOTION.values())
        self.head = init_near_zero(Float32Conv2d(quarter, 16 * color + 4 * motion, 3, padding=1))
        self.guidance_stem = nn.Conv2d(16 * _GUIDANCE_PLANES, quarter, 3, padding=1)
        nn.init.zeros_(self.guidance_stem.weight)
        nn.init.zeros_(self.guidance_stem.bias)  # type: ignore[arg-type]
        self.detail_stem = nn.Conv2d(2 * 3 * 4, fine, 3, padding=1)
        self.detail_up = Pointwise(quarter, 4 * fine, bias=False)
        self.detail = _blocks(fine, config.detail_blocks)
        self.detail_head = init_near_zero(Float32Conv2d(fine, 4 * color, 3, padding=1))
        self.refinement = Refinement(config)

    def features(self, photo: Tensor) -> Features:
        """The part that does not depend on guidance.

        Args:
            photo: (B, 3, H, W) sRGB in [0, 1], any size.
        """
        padded = pad_to_multiple(photo, STRIDE)
        contrast = _CONTRAST_SCALE * local_contrast(padded)
        quarter, half = (
            torch.cat([F.pixel_unshuffle(padded, s) - 0.5, F.pixel_unshuffle(contrast, s)], 1)
            for s in (4, 2)
        )
        fine = self.encoder[0](self.stem(quarter.contiguous(memory_format=torch.channels_last)))
        skip = self.encoder[1](self.down[0](fine))
        x = self.middle(self.down[1](skip))  # (B, widths[2], h/16, w/16)
        x = self.decoder[0](F.pixel_shuffle(self.up[0](x), 2) + skip)
        coarse = F.pixel_shuffle(self.up[1](x), 2) + fine  # (B, widths[0], h/4, w/4)
        detail = self.detail_stem(half.contiguous(memory_format=torch.channels_last))
        return Features(photo, coarse, detail)

    def decode(
        self, features: Features, guidance: Tensor | None = None, given: Tensor | None = None
    ) -> Encoding:
        """The part of the network that depends on guidance.

        Args:
            features: of the photo.
            guidance: (B, 2, H, W) in {-1, 0, 1}, or None.
            given: (B,) 1 for the samples whose guidance counts, 0 for those that have none, where a
                batch holds both; None for all.

        Returns:
            Encoding at the photo's size. It does not change when guidance is reversed.
        """
        photo, x, detail = features
        height, width = photo.shape[-2:]
        if guidance is not None:
            planes = pad_to_multiple(sign_invariant_planes(guidance.to(photo.dtype)), STRIDE)
            condition = self.guidance_stem(_unshuffled(planes, 4))
            x = x + (condition if given is None else condition * given[:, None, None, None])
        x = self.decoder[1](x)
        maps = self.head(x)
        detail = self.detail(detail + F.pixel_shuffle(self.detail_up(x), 2))
        split = 16 * sum(_COLOR.values())
        color = F.pixel_shuffle(maps[:, :split], 4)
        color = color + F.pixel_shuffle(self.detail_head(detail), 2)
        # Motion has no detail below two pixels.
        motion = F.interpolate(
            F.pixel_shuffle(maps[:, split:], 2), scale_factor=2.0, mode="bilinear"
        )
        padded = pad_to_multiple(photo, STRIDE)
        color, motion = self.refinement(padded, color, motion, x, detail)
        color, motion = color[..., :height, :width], motion[..., :height, :width]
        middle, even, odd = color.split(list(_COLOR.values()), 1)
        axis, curve, swept, moving = motion.split(list(_MOTION.values()), 1)
        return Encoding(
            middle=photo + middle,
            axis=_AXIS_SCALE * axis * swept.sigmoid(),
            curve=_AXIS_SCALE / 4 * curve,
            even=even,
            odd=odd,
            swept_logits=swept,
            moving_logits=moving,
        )

    def encode(self, photo: Tensor, guidance: Tensor | None = None) -> Encoding:
        """`features` and `decode` in one.

        Args:
            photo: (B, 3, H, W) sRGB in [0, 1], any size.
            guidance: (B, 2, H, W) in {-1, 0, 1}, or None.

        Returns:
            Encoding at the photo's size.
        """
        return self.decode(self.features(photo), guidance)

    def loss(
        self,
        batch: Mapping[str, Tensor],
        step: int,
        *,
        axis: float = 0.005,
        masks: float = 0.025,
        guided: float = 0.4,
    ) -> dict[str, Tensor]:
        """Distance of frames, of the motion axis where anything passes, and of both masks.

        Ends and middle are always compared, the frames between alternate with the step. Not every
        sample comes with guidance, as most photos have none, and its boundaries are inexact, as if
        drawn by hand. The sign is always given, as no photo determines it.

        Args:
            batch, step: see `HubModel.loss`.
            axis: weight of the error of the motion axis, per pixel.
            masks: weight of the cross-entropy of both masks.
            guided: share of samples with guidance.
        """
        frames = batch["frames"]
        last = frames.shape[1] - 1
        inner = 1 + step % max(1, last // 2 - 1)
        given = (torch.rand(len(frames)) < guided).to(frames)
        encoding = self.decode(
            self.features(batch["photo"]), perturb_boundaries(batch["guidance"]), given
        )
        with torch.autocast(frames.device.type, enabled=False):
            path = orient(half_angle(encoding.axis), batch["guidance"])
            odd = odd_residual(encoding, path)
            picked = sorted({0, inner, last // 2, last - inner, last})
            distance = torch.stack(
                [
                    charbonnier(render(encoding, path, 2 * index / last - 1, odd), frames[:, index])
                    for index in picked
                ]
            ).mean()
            moved = [batch[name].norm(dim=1) >= _MOVING_THRESHOLD for name in ("path", "flow")]
            swept, moving = moved
            axis_error = axis_loss(encoding.axis, double_angle(batch["path"]), swept)
            mask_error = torch.stack(
                [
                    F.binary_cross_entropy_with_logits(logit[:, 0], truth.to(logit))
                    for logit, truth in (
                        (encoding.swept_logits, swept),
                        (encoding.moving_logits, moving),
                    )
                ]
            ).sum()
        return {"model": distance + axis * axis_error + masks * mask_error}

    def forward(self, photo: Tensor, guidance: Tensor | None = None, frames: int = 7) -> Animation:
        """Frames and flow.

        Args:
            photo: (B, 3, H, W) sRGB in [0, 1].
            guidance: (B, 2, H, W) in {-1, 0, 1}, or None for any one sign at each pixel. Where it
                is still, so is the flow.
            frames: how many, at least 2.
        """
        encoding = self.encode(photo, guidance)
        path = half_angle(encoding.axis)
        moving = encoding.moving_logits > 0
        if guidance is not None:
            path = orient(path, guidance)
            moving = (guidance != 0).any(1, keepdim=True)
        odd = odd_residual(encoding, path)
        times = torch.linspace(-1, 1, frames).tolist()
        return Animation(
            torch.stack([render(encoding, path, t, odd) for t in times], 1), path * moving
        )
