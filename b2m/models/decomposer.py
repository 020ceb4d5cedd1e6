"""BlurDecomposer: one blurred photo and its motion guidance to seven frames, in two stages.

Paper: Animation from Blur: Multi-modal Blur Decomposition with Motion Guidance (Zhong et al.,
ECCV 2022), section 3.2 and Fig. 11. Our implementation; no code or weights of the authors.

From the paper: stage 1 takes the photo and the guidance and gives a rough sequence, stage 2 takes
the photo and that sequence, without guidance, and refines it as a residual. Both have one form: a
7x7 convolution, two steps down, twelve pre-activation residual blocks, two transposed convolutions
up, batch norm and ReLU between, and no skips past the bottleneck.

As the authors have it, where the paper is silent: each step down is a 3x3 convolution and one of
stride 2, each step up a 4x4 transposed one and a 3x3, and the photo stands in for the rough
sequence wherever guidance says still.

Ours:

* The residual of stage 2 may be negative. Theirs ends in a sigmoid, and can only brighten.
* Convolutions before a batch norm have no bias, which the norm would take away again.
* Sizes that are no multiple of four are padded inside and cropped back.
* Smaller sizes with smaller outer convolutions, whose first stage, too, predicts a change of the
  photo: at the paper's size it has the colours to learn first, for which a CPU has no time.
* The variants of the ablation tables: one stage of equal size, and without guidance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from b2m.errors import check_minimum
from b2m.guidance.quantize import quantize_directions
from b2m.hub import HubModel
from b2m.losses import staged_mse
from b2m.models.layers import PreActivationBlock, init_near_zero, pad_to_multiple
from b2m.models.recipe_presets import FROM_SCRATCH, PAPER, ZHONG_AUGMENTATIONS
from b2m.registry import register_model

STRIDE = 4
"""The photo is padded to a multiple of this."""

FRAMES = 7
"""How many frames there are."""

_RIGHT = (1.0, -1.0, -1.0, -1.0)  # the class of motion to the right, for unknown motion


@dataclass(frozen=True)
class BlurDecomposerConfig:
    """Sizes of a BlurDecomposer.

    Attributes:
        width: channels at full resolution; doubled at a half and again at a quarter.
        blocks: residual blocks of each stage, at a quarter of the resolution.
        kernel: side of the first and last convolution of each stage; odd.
        stages: 2, or 1 for the rough sequence alone.
        guided: whether stage 1 sees guidance.
        bits: of guidance: 2 for quadrants; 1, 3 or 4 for the paper's study of how many directions
            there should be, see `b2m.guidance.quantize.quantize_directions`.
        residual: whether stage 1 predicts a change of the photo, not the frames themselves.
    """

    width: int = 12
    blocks: int = 5
    kernel: int = 3
    stages: int = 2
    guided: bool = True
    bits: int = 2
    residual: bool = True

    def __post_init__(self) -> None:
        """Raise a ValueError for impossible sizes."""
        check_minimum(self, width=1, blocks=1)
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel {self.kernel} must be odd")
        if self.stages not in (1, 2):
            raise ValueError(f"there are 1 or 2 stages, not {self.stages}")
        if self.bits not in (1, 2, 3, 4):
            raise ValueError(f"guidance has 1 to 4 bits, not {self.bits}")

    @classmethod
    def paper(cls) -> Self:
        """The paper's size: 129.3 million parameters, 682 GMAC for a photo of 256x256."""
        return cls(width=128, blocks=12, kernel=7, residual=False)

    @classmethod
    def compact(cls) -> Self:
        """A size for CPUs: 0.6 million parameters, 3.9 GMAC for a photo of 256x256."""
        return cls()

    @classmethod
    def tiny(cls) -> Self:
        """A size for tests."""
        return cls(width=4, blocks=1)

    def one_stage(self) -> Self:
        """The same size in a single stage, widened as the paper's Table 3 has it.

        Nearly all parameters grow with the square of the width, so that it is wider by the root
        of two.
        """
        return replace(self, width=round(self.width * self.stages**0.5), stages=1)


class _Stage(nn.Sequential):
    """Encoder, residual blocks, decoder: (B, channels, H, W) to (B, 3 FRAMES, H, W).

    H and W are multiples of STRIDE.
    """

    def __init__(self, config: BlurDecomposerConfig, channels: int) -> None:
        width, side = config.width, config.kernel

        def conv_relu(convolution: nn.Module, width: int) -> list[nn.Module]:
            return [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]

        def plain(
            in_channels: int, out_channels: int, kernel: int, stride: int = 1
        ) -> list[nn.Module]:
            padding = kernel // 2
            return conv_relu(
                nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=False),
                out_channels,
            )

        def up(in_channels: int, out_channels: int) -> list[nn.Module]:
            return conv_relu(
                nn.ConvTranspose2d(in_channels, out_channels, 4, 2, 1, bias=False), out_channels
            )

        super().__init__(
            *plain(channels, width, side),
            *plain(width, 2 * width, 3),
            *plain(2 * width, 2 * width, 3, stride=2),
            *plain(2 * width, 4 * width, 3),
            *plain(4 * width, 4 * width, 3, stride=2),
            *(PreActivationBlock(4 * width) for _ in range(config.blocks)),
            *up(4 * width, 2 * width),
            *plain(2 * width, 2 * width, 3),
            *up(2 * width, width),
            *plain(width, width, 3),
            nn.Conv2d(width, 3 * FRAMES, side, padding=side // 2),
        )


def _compact(**changes: Any) -> dict[str, Any]:
    config = replace(BlurDecomposerConfig.compact(), **changes)
    return {"config": config, **FROM_SCRATCH, "learning_rate": 1e-3, "clip_norm": 1.0}


_SHORT: dict[str, Any] = {"scene": 96, "crop": 64, "blur": (20.0, 24.0), "camera_samples": 4_000}


@register_model(
    "decomposer",
    recipes={
        "decomposer-compact": _compact(),
        "decomposer-unguided": _compact(guided=False),
        "decomposer-one-stage": {
            **_compact(),
            "config": BlurDecomposerConfig.compact().one_stage(),
        },
        # The first stage predicts frames, as in the paper, not a residual of the photo. On small
        # crops and shorter blur: 10,000 samples, three times over, in an hour.
        "decomposer-direct": {**_compact(residual=False), **_SHORT},
        "decomposer-direct-one-stage": {
            **_compact(),
            **_SHORT,
            "config": replace(BlurDecomposerConfig.compact(), residual=False).one_stage(),
        },
        # Appendix B: 2, 8 and 16 directions instead of 4.
        **{f"decomposer-{2**bits}-directions": _compact(bits=bits) for bits in (1, 3, 4)},
        # On GenBlur: 500 epochs. How many photos its 161 videos gave is not said: 10,000 chosen,
        # half of them reversed.
        "decomposer-paper": {
            "config": BlurDecomposerConfig.paper(),
            **PAPER,
            "batch": 16,
            "augmentations": ZHONG_AUGMENTATIONS,
            "learning_rate": 2e-4,
            "cosine": 5_000_000,
            "weight_decay": 1e-4,
        },
        # On B-AIST++: 400 epochs; 10,000 photos of its 73 videos chosen. The paper frames the
        # dancer and shrinks that to 192; of clips (`--clips`) half of the squares are about
        # something that moves.
        "decomposer-paper-aist": {
            "config": BlurDecomposerConfig.paper(),
            **PAPER,
            "scene": 216,
            "crop": 192,
            "augmentations": ZHONG_AUGMENTATIONS,
            "learning_rate": 1e-4,
            "cosine": 4_000_000,
            "weight_decay": 1e-4,
        },
    },
)
class BlurDecomposer(HubModel):
    """Blurred photo and guidance to seven frames; see the head of this file.

    Args:
        config: sizes; None for the compact ones.
    """

    config_class = BlurDecomposerConfig
    weights_name = "decomposer-compact"
    shipped_limits = (
        "the compact decomposer moves things the right way by less than they moved, and sharpens "
        "little: the animator does more"
    )
    config: BlurDecomposerConfig

    native_frames = FRAMES
    guidance_predictors = ("cvae-gan",)

    def __init__(self, config: BlurDecomposerConfig | None = None) -> None:
        config = config or BlurDecomposerConfig()
        super().__init__(config)
        self.rough = _Stage(config, 3 + config.bits * config.guided)
        self.refine = _Stage(config, 3 + 3 * FRAMES) if config.stages == 2 else None
        if config.residual:  # begin near the photo
            init_near_zero(self.rough[-1])  # type: ignore[arg-type]
        if self.refine is not None:  # and near the rough sequence
            init_near_zero(self.refine[-1])  # type: ignore[arg-type]

    def forward(self, photo: Tensor, guidance: Tensor | None = None) -> Tensor:
        """Seven frames.

        Args:
            photo: (B, 3, H, W) sRGB in [0, 1], any size; made for sides of 64 pixels and more.
            guidance: (B, 2, H, W) in {-1, 0, 1}, as many channels as the config's bits; None says
                that everything goes right. A model without guidance ignores it.

        Returns:
            (B, 7, 3, H, W) sRGB, not clipped.
        """
        return self.stages(photo, guidance)[:, -1]

    def loss(self, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """Zhong 2022, Eq. 8: squared error after each stage, given the true guidance."""
        guidance = self.true_guidance(batch["guidance"], batch["flow"])
        return {"model": staged_mse(self.stages(batch["photo"], guidance), batch["frames"])}

    @property
    def guided(self) -> bool:
        """Whether the first stage sees guidance."""
        return self.config.guided

    def true_guidance(self, guidance: Tensor, flow: Tensor) -> Tensor:
        """Guidance in as many bits as the model takes, (B, bits, H, W), from (B, 2, H, W) both."""
        return guidance if self.config.bits == 2 else quantize_directions(flow, self.config.bits)

    def stages(self, photo: Tensor, guidance: Tensor | None = None) -> Tensor:
        """The frames after each stage, for `b2m.losses.staged_mse`.

        Args:
            photo: as in `forward`.
            guidance: as in `forward`.

        Returns:
            (B, S, 7, 3, H, W) sRGB, S the number of stages; not clipped, but for those of a first
            stage that is not residual, which are in [0, 1].
        """
        height, width = photo.shape[-2:]
        padded = pad_to_multiple(photo, STRIDE)
        rough = self._rough(padded, guidance)
        results = [rough]
        if self.refine is not None:
            results.append(rough + self.refine(torch.cat([padded, rough], 1)).float())
        frames = torch.stack(results, 1)[..., :height, :width]
        return frames.unflatten(2, (FRAMES, 3))

    def _rough(self, photo: Tensor, guidance: Tensor | None) -> Tensor:
        """Stage 1 on a padded photo, (B, 21, H, W)."""
        if not self.config.guided:
            return self._frames(photo, self.rough(photo))
        if guidance is None:
            way = photo.new_tensor(_RIGHT[: self.config.bits]).view(1, -1, 1, 1)
            guidance = way.expand(len(photo), -1, *photo.shape[-2:])
        guidance = pad_to_multiple(guidance.to(photo.dtype), STRIDE)
        frames = self._frames(photo, self.rough(torch.cat([photo, guidance], 1)))
        still = (guidance == 0).all(1, keepdim=True)
        return torch.where(still, photo.repeat(1, FRAMES, 1, 1), frames)

    def _frames(self, photo: Tensor, given: Tensor) -> Tensor:
        """Frames from what stage 1 gives."""
        if self.config.residual:
            return photo.repeat(1, FRAMES, 1, 1) + given.float()
        return torch.sigmoid(given.float())
