"""JinSequence: one blurred photo to seven frames, by four networks from the middle outwards.

Paper: Learning to Extract a Video Sequence from a Single Motion-Blurred Image (Jin, Meishvili and
Favaro, CVPR 2018), the baseline of the three papers that b2m is about. Our implementation; no code
or weights of the authors.

From the paper: a network finds the middle frame, a second one the pair beside it (frames 3 and 5),
a third and a fourth the pairs further out, each from the photo and frames found before it. The
networks are trained one after the other: pairs by a loss that does not ask which of the two comes
first, so that the second network chooses a direction and the others follow it. Each sees a large
surrounding, because it works on a photo folded into few pixels of many channels, with dilated
convolutions.

As the authors have it, where we know the paper by its descriptions only: the folding by 4 for the
middle frame and by 5 for pairs; each colour by itself through the same trunk; groups of residual
blocks (instance norm, ReLU and a convolution, twice, beside a 1x1 one and the identity), what each
group gives reduced and added to the picture, and a small network that brings the colours together.
Frames 3 and 5 have a trunk each, the second of which sees what the first gave; 2 and 6 share one,
so do 1 and 7, and which frames they see says which of the two is meant. 18.2 million parameters.

Ours:

* The last convolution starts near zero, so that all frames start as the photo.
* Sizes that are no multiple of twenty are padded inside and cropped back.
* Smaller sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from b2m.errors import check_minimum
from b2m.hub import HubModel
from b2m.losses import sequence_losses
from b2m.models.layers import init_near_zero, pad_to_multiple
from b2m.models.recipe_presets import FROM_SCRATCH, LARGE_CROPS, PAPER_ADAM
from b2m.registry import register_model

_MIDDLE_FOLD, _PAIR_FOLD = 4, 5

# Pixels that photos are padded by at least, to the right and below. Training crops of 96, 176 and
# 256 are padded by 4, which the loss ignores, so that the network is not trained there.
_MARGIN = 4

STRIDE = _MIDDLE_FOLD * _PAIR_FOLD
"""The photo is padded to a multiple of this."""

FRAMES = 7
"""How many frames there are."""

# Dilations of the two 3x3 convolutions of each block that looks far.
_MIDDLE_REACH = (((1, 2), (2, 4), (4, 8)), ((8, 4), (4, 2), (2, 1)))
_PAIR_REACH = (((1, 2), (4, 8), (8, 4), (2, 1)),)


@dataclass(frozen=True)
class JinSequenceConfig:
    """Sizes of a JinSequence.

    Attributes:
        middle: channels of the trunk that finds the middle frame.
        pair: channels of each trunk that finds a frame of a pair; a multiple of 4.
        colour: channels where the colours of a pair come together; twice as many in the middle.
        middle_blocks: blocks that look near, before and after those that look far.
        near_blocks: the same for frames 3 and 5.
        far_blocks: the same for the other pairs.
    """

    middle: int = 18
    pair: int = 16
    colour: int = 4
    middle_blocks: int = 2
    near_blocks: int = 2
    far_blocks: int = 1

    def __post_init__(self) -> None:
        """Raise a ValueError for impossible sizes."""
        check_minimum(self, middle=1, colour=1, middle_blocks=1, near_blocks=1, far_blocks=1)
        if self.pair < 4 or self.pair % 4:
            raise ValueError(f"pair {self.pair} must be a multiple of 4")

    @classmethod
    def paper(cls) -> Self:
        """The authors' size: 18.2 million parameters, 222 GMAC for a photo of 256x256."""
        return cls(144, 128, 32, middle_blocks=3, near_blocks=4, far_blocks=2)

    @classmethod
    def compact(cls) -> Self:
        """A size for CPUs: 0.3 million parameters, 3.9 GMAC for a photo of 256x256."""
        return cls()

    @classmethod
    def tiny(cls) -> Self:
        """A size for tests."""
        return cls(8, 8, 4, middle_blocks=1, near_blocks=1, far_blocks=1)


class Pieces(NamedTuple):
    """Outputs of the four networks, (B, 1 or 2, 3, H, W) sRGB, not clipped.

    A piece has a gradient to its own network only, as the four are trained one after the other.

    Attributes:
        middle: frame 4.
        near: frames 3 and 5.
        far: frames 2 and 6.
        outer: frames 1 and 7.
    """

    middle: Tensor
    near: Tensor
    far: Tensor
    outer: Tensor


class _Branches(nn.Module):
    """Norm, ReLU and a 1x1 convolution beside the same with a 3x3 one, added."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.near = _norm_relu_conv(in_channels, out_channels, 1)
        self.wide = _norm_relu_conv(in_channels, out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        near: Tensor = self.near(x)
        return near + self.wide(x)


class _Block(nn.Module):
    """Residual block of a 1x1 convolution and two dilated 3x3 ones, side by side."""

    def __init__(self, width: int, dilations: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.near = _norm_relu_conv(width, width, 1)
        self.wide = nn.Sequential(
            *_norm_relu_conv(width, width, 3, dilations[0]),
            *_norm_relu_conv(width, width, 3, dilations[1]),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) to the same shape."""
        near: Tensor = self.near(x)
        return x + near + self.wide(x)


def _norm_relu_conv(
    in_channels: int, out_channels: int, kernel: int, dilation: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.InstanceNorm2d(in_channels, affine=True),
        nn.ReLU(inplace=True),
        nn.Conv2d(
            in_channels, out_channels, kernel, 1, kernel // 2 * dilation, dilation, bias=False
        ),
    )


class _Trunk(nn.Module):
    """Pictures, each colour by itself, to the change of the last of them.

    Squares of `fold` pixels become channels, `stems` of each picture; blocks look near before and
    after those that look far, and `together` brings the colours together.
    """

    def __init__(
        self,
        fold: int,
        stems: tuple[int, ...],
        blocks: int,
        reach: tuple[tuple[tuple[int, int], ...], ...],
        together: _Block | _Branches,
        colour: int,
    ) -> None:
        super().__init__()
        self.fold = fold
        width = sum(stems)
        self.stems = nn.ModuleList(
            nn.Conv2d(fold**2, stem, 5, padding=2, bias=False) for stem in stems
        )
        near = [[(1, 1)] * blocks]
        groups = [*near, *reach, *near]
        self.groups = nn.ModuleList(
            nn.Sequential(*(_Block(width, dilations) for dilations in group)) for group in groups
        )
        self.reduce = nn.ModuleList(_Branches(width, fold**2) for _ in groups)
        self.colours = nn.Sequential(
            nn.Conv2d(3, colour, 3, padding=1, bias=False), together, *_norm_relu_conv(colour, 3, 3)
        )
        init_near_zero(self.colours[-1])  # type: ignore[arg-type]

    def forward(self, *pictures: Tensor) -> Tensor:
        """(B, 3, H, W) each, H and W multiples of the fold, to (B, 3, H, W)."""
        folded = [
            F.pixel_unshuffle(picture.reshape(-1, 1, *picture.shape[-2:]), self.fold)
            for picture in pictures
        ]
        stems = zip(self.stems, folded, strict=True)
        x = torch.cat([stem(each) for stem, each in stems], 1)  # (3B, width, H/fold, W/fold)
        total = folded[-1]
        for group, reduce in zip(self.groups, self.reduce, strict=True):
            x = group(x)
            total = total + reduce(x)
        change: Tensor = self.colours(F.pixel_shuffle(total, self.fold).view_as(pictures[-1]))
        return change.float()


_COMPACT: dict[str, Any] = {
    "config": JinSequenceConfig.compact(),
    **FROM_SCRATCH,
    "learning_rate": 5e-4,
    "clip_norm": 1.0,
}


@register_model(
    "jin",
    recipes={
        "jin-compact": _COMPACT,
        "jin-large-crops": {
            **_COMPACT,
            **LARGE_CROPS,
            "scene": 256,
            "crop": 256,
            "batch": 3,
            "kinds": {"mixed": 0.4, "movers": 0.6},
            "real_share": 0.25,
            "learning_rate": 4e-4,
        },
        "jin-rotation": {**_COMPACT, "rotation_share": 1.0, "real_share": 0.0},
        # None of the three papers tells the authors' own schedule. Zhong 2022 trained it for as
        # long as the decomposer; the rate, the batch and Adam are chosen.
        "jin-paper": {"config": JinSequenceConfig.paper(), **PAPER_ADAM, "cosine": 5_000_000},
    },
)
class JinSequence(HubModel):
    """Blurred photo to seven frames; see the head of this file.

    Args:
        config: sizes; None for the compact ones.
    """

    config_class = JinSequenceConfig
    weights_name = "jin-compact"
    shipped_limits = (
        "the compact Jin sequence sharpens a little where the camera moved and finds next to no "
        "motion: the animator does"
    )
    config: JinSequenceConfig

    native_frames = FRAMES

    def __init__(self, config: JinSequenceConfig | None = None) -> None:
        config = config or JinSequenceConfig()
        super().__init__(config)

        def pair(blocks: int) -> _Trunk:
            stems = (config.pair // 2, config.pair // 4, config.pair // 4)
            together = _Branches(config.colour, config.colour)
            return _Trunk(_PAIR_FOLD, stems, blocks, _PAIR_REACH, together, config.colour)

        self.middle = _Trunk(
            _MIDDLE_FOLD,
            (config.middle,),
            config.middle_blocks,
            _MIDDLE_REACH,
            _Block(2 * config.colour),
            2 * config.colour,
        )
        self.near = nn.ModuleList(pair(config.near_blocks) for _ in range(2))  # frames 3 and 5
        self.far = pair(config.far_blocks)
        self.outer = pair(config.far_blocks)

    def groups(self) -> dict[str, nn.Module]:
        """The four networks by the names of their `Pieces`, each of which has its own loss."""
        return {name: getattr(self, name) for name in Pieces._fields}

    def loss(self, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """Jin et al. 2018: each of four networks by its own loss, all at the same time.

        The authors train one after the other. No network has a gradient from the losses of those
        after it, so that only what is seen early in training differs.
        """
        middle, *pairs = self.pieces(batch["photo"])
        losses = sequence_losses(middle, pairs, batch["frames"])
        return dict(zip(self.groups(), losses, strict=True))

    def forward(self, photo: Tensor, guidance: Tensor | None = None) -> Tensor:
        """Seven frames.

        Args:
            photo: (B, 3, H, W) sRGB in [0, 1], any size; made for sides of 64 pixels and more.
            guidance: not used: the networks choose a direction themselves.

        Returns:
            (B, 7, 3, H, W) sRGB, not clipped.
        """
        middle, near, far, outer = self.pieces(photo)
        return torch.cat(
            [outer[:, :1], far[:, :1], near[:, :1], middle, near[:, 1:], far[:, 1:], outer[:, 1:]],
            1,
        )

    def pieces(self, photo: Tensor) -> Pieces:
        """What each network gives, for `b2m.losses.sequence_losses`.

        Args:
            photo: as in `forward`.

        Returns:
            Pieces at the photo's size.
        """
        height, width = photo.shape[-2:]
        photo = pad_to_multiple(F.pad(photo, (0, _MARGIN, 0, _MARGIN), mode="replicate"), STRIDE)
        fourth = photo + self.middle(photo)
        known = fourth.detach()
        third = known + self.near[0](photo, known, known)
        fifth = known + self.near[1](photo, third, known)
        near = torch.stack([third, fifth], 1)
        far = _outwards(self.far, photo, torch.stack([known, known], 1), near)
        outer = _outwards(self.outer, photo, near, far)
        pieces = (fourth[:, None], near, far, outer)
        return Pieces(*(piece[..., :height, :width] for piece in pieces))


def _outwards(network: _Trunk, photo: Tensor, inner: Tensor, ends: Tensor) -> Tensor:
    """The next pair of frames, from the two pairs inside it.

    No gradient goes to the frames inside, (B, 2, 3, H, W), nor to the ends.
    """
    inside, end = inner.detach().flatten(0, 1), ends.detach().flatten(0, 1)  # (2B, 3, H, W)
    change = network(photo.repeat_interleave(2, 0), inside, end)
    return (end + change).view_as(ends)
