"""GuidancePredictor: one blurred photo and a random latent to one plausible motion guidance.

Paper: Animation from Blur: Multi-modal Blur Decomposition with Motion Guidance (Zhong et al.,
ECCV 2022), section 3.3, Fig. 4 and Eq. 9. Our implementation; no code or weights of the authors.

From the paper: a cVAE-GAN. An encoder turns the true guidance into a latent z ~ N(0, 1), a
generator turns z and the photo back into guidance, a discriminator judges samples of it by
Gumbel-softmax. At test time z is drawn at random, and each z gives another plausible guidance.

As the authors have it, where the paper is silent: the generator is a U-Net of eight levels of 4x4
convolutions of stride 2, 64 to 512 channels, with instance norm, dropout in its middle and z, four
numbers, tiled into every level on the way down; its outputs are the logits of five classes. The
encoder is residual and sees the guidance alone. There are two discriminators of patches, at full
size and at a half, which see the guidance alone, too. Weights begin as Glorot's normal ones.

Ours:

* Any size. A photo is encoded with at most 256 pixels on its longest side, never in tiles, and
  padded inside; theirs takes 256x256 only.
* In evaluation mode there is no dropout: the answer is a function of photo and z.
* A compact form with gated blocks, for CPUs. A photo tells what moves and along which line, and
  only not which way, so z has no say in the former: still and the two diagonals are answered
  without it, the sign along each with it, in every level on the way up. The network is told from
  how many pixels on things move, as that shrinks with the photo. Its way down is that of the
  animator, so that it can begin with what the animator has learnt to see.
* A pixel moves where the four quadrants together are likelier than still.
* Convolutions before an instance norm have no bias, which the norm would take away again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from b2m.errors import check_minimum, check_seed
from b2m.guidance.palette import CLASS_OF, PALETTE
from b2m.guidance.quantize import quantize
from b2m.hub import HubModel
from b2m.losses import guidance_loss, lsgan_discriminator_loss
from b2m.models.layers import GatedBlock, Pointwise, pad_to_multiple
from b2m.models.recipe_presets import PAPER, TINY, ZHONG_AUGMENTATIONS
from b2m.motion.fields import STILL_THRESHOLD
from b2m.registry import register_model

MAX_SIDE = 256
"""Larger photos are shrunk so that their longest side has so many pixels."""

CLASSES = len(PALETTE)
"""Still, and the four quadrants."""

_SLOPE = 0.2  # of the leaky rectifiers
_SMALLEST_SCALE = 1 / 6  # of a photo, down to which the compact form is trained
_DROPPED = 3  # levels with dropout on the way up, the innermost first


@dataclass(frozen=True)
class GuidancePredictorConfig:
    """Sizes of a GuidancePredictor.

    Attributes:
        width: channels at half the resolution; doubled at each further level.
        widest: channels at most.
        levels: how often the resolution is halved.
        blocks: gated blocks at each level, one number for each, on the way down; there is one at
            each on the way up, which begins at the deepest. Empty for the paper's convolutions and
            nothing else.
        latent: numbers of z.
        encoder: channels of the encoder's first convolution.
    """

    width: int = 32
    widest: int = 128
    levels: int = 5
    blocks: tuple[int, ...] = (1, 2, 3, 1, 0)
    latent: int = 4
    encoder: int = 12

    def __post_init__(self) -> None:
        """Raise a ValueError for impossible sizes."""
        check_minimum(self, width=1, widest=1, latent=1, encoder=1, levels=2)
        if self.blocks and len(self.blocks) != self.levels:
            raise ValueError(f"blocks {self.blocks} must be one number for each level, or none")

    @classmethod
    def paper(cls) -> Self:
        """The authors' size: 54.6 million parameters of the generator, for 256x256."""
        return cls(width=64, widest=512, levels=8, blocks=(), encoder=64)

    @classmethod
    def compact(cls) -> Self:
        """The size that ships with b2m: 1.4 million parameters."""
        return cls()

    @classmethod
    def tiny(cls) -> Self:
        """A size for tests."""
        return cls(width=8, widest=16, levels=3, blocks=(1, 1, 1), encoder=4)

    @property
    def widths(self) -> list[int]:
        """Channels at each level."""
        return [min(self.width * 2**level, self.widest) for level in range(self.levels)]


class Posterior(NamedTuple):
    """The encoder's posterior of the latent of a guidance.

    Attributes:
        mean: (B, Z).
        log_variance: (B, Z).
    """

    mean: Tensor
    log_variance: Tensor


def to_classes(guidance: Tensor) -> Tensor:
    """Class numbers (B, H, W) int64, 0 to 4, of guidance (B, 2, H, W) in {-1, 0, 1}."""
    number = torch.from_numpy(CLASS_OF).long().to(guidance.device)
    return number[(3 * (guidance[:, 1] + 1) + guidance[:, 0] + 1).long()]


def to_guidance(classes: Tensor) -> Tensor:
    """Guidance (B, 2, H, W) int8 of class numbers (B, H, W): the inverse of `to_classes`."""
    vectors = torch.tensor(list(PALETTE), dtype=torch.int8, device=classes.device)
    return vectors[classes].permute(0, 3, 1, 2)


def one_hot(classes: Tensor) -> Tensor:
    """(B, 5, H, W) float of class numbers (B, H, W)."""
    return F.one_hot(classes, CLASSES).permute(0, 3, 1, 2).float()


def logits_to_classes(logits: Tensor) -> Tensor:
    """Class numbers (B, H, W) of logits (B, 5, H, W).

    A pixel moves where the four quadrants together are likelier than still, though each of them
    may be less likely because the way is open; then it goes the likeliest way.
    """
    moving = logits[:, 1:].logsumexp(1) > logits[:, 0]
    return torch.where(moving, 1 + logits[:, 1:].argmax(1), 0)


def _init_xavier(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _concat_latent(features: Tensor, latent: Tensor) -> Tensor:
    """Features (B, C, H, W) and a latent (B, Z), the same at each pixel: (B, C + Z, H, W)."""
    return torch.cat([features, latent[:, :, None, None].expand(-1, -1, *features.shape[-2:])], 1)


class _UNetGenerator(nn.Module):
    """The paper's U-Net: (B, 3, H, W) and (B, Z) to (B, 5, H, W).

    H and W are multiples of 2 to the power of the levels.
    """

    def __init__(self, config: GuidancePredictorConfig) -> None:
        super().__init__()
        widths, last = config.widths, config.levels - 1
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, out_channels in enumerate(widths):
            # Nothing is left to norm at the innermost level, where a side of 256 has shrunk to 1.
            normed = 0 < level < last
            in_channels = 3 if level == 0 else widths[level - 1]
            layers: list[nn.Module] = [] if level == 0 else [nn.LeakyReLU(_SLOPE)]
            layers.append(
                nn.Conv2d(in_channels + config.latent, out_channels, 4, 2, 1, bias=not normed)
            )
            if normed:
                layers.append(nn.InstanceNorm2d(out_channels))
            self.down.append(nn.Sequential(*layers))
        for level in reversed(range(config.levels)):
            in_channels = widths[level] * (1 if level == last else 2)
            out_channels = widths[level - 1] if level else CLASSES
            layers = [
                nn.ReLU(),
                nn.ConvTranspose2d(in_channels, out_channels, 4, 2, 1, bias=level == 0),
            ]
            if level:
                layers.append(nn.InstanceNorm2d(out_channels))
            if level and last - _DROPPED <= level < last:
                layers.append(nn.Dropout(0.5))
            self.up.append(nn.Sequential(*layers))
        self.apply(_init_xavier)

    def forward(self, photo: Tensor, latent: Tensor, scale: float) -> Tensor:
        x, skips = 2 * photo - 1, []
        for down in self.down:
            x = down(_concat_latent(x, latent))
            skips.append(x)
        x = skips.pop()
        for number, up in enumerate(self.up):
            x = up(x if number == 0 else torch.cat([x, skips.pop()], 1))
        return x


class _GatedGenerator(nn.Module):
    """Ours: gated blocks, skips that add, and half the resolution at its finest.

    H and W are multiples of 2 to the power of the levels.
    """

    def __init__(self, config: GuidancePredictorConfig) -> None:
        super().__init__()
        widths = config.widths
        # Never tiled, so the cells of attention may be as large as the deepest level allows.
        cells = [2 ** (config.levels - 1 - level) for level in range(config.levels)]

        def blocks(count: int, level: int) -> nn.Sequential:
            return nn.Sequential(*[GatedBlock(widths[level], cells[level]) for _ in range(count)])

        self.stem = nn.Conv2d(12, widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            nn.Conv2d(one, other, 2, stride=2) for one, other in pairwise(widths)
        )
        self.scale = nn.ModuleList(nn.Linear(1, width) for width in widths)
        self.down_blocks = nn.ModuleList(
            blocks(count, level) for level, count in enumerate(config.blocks)
        )
        self.up = nn.ModuleList(
            Pointwise(other, 4 * one, bias=False) for one, other in pairwise(widths)
        )
        self.latent = nn.ModuleList(nn.Linear(config.latent, width) for width in widths)
        self.up_blocks = nn.ModuleList(blocks(1, level) for level in range(config.levels))
        self.head = nn.Conv2d(widths[0], CLASSES, 3, padding=1)
        with torch.no_grad():  # so as not to disturb what is taken over from an animator
            for parameter in self.scale.parameters():
                parameter.mul_(0.05)

    def forward(self, photo: Tensor, latent: Tensor, scale: float) -> Tensor:
        x, skips = self.stem(F.pixel_unshuffle(photo, 2)), []
        told = photo.new_full((1, 1), scale)
        for level, blocks in enumerate(self.down_blocks):
            if level:
                x = self.down[level - 1](x)
            x = blocks(x + self.scale[level](told)[:, :, None, None])
            skips.append(x)
        still, slash, backslash = self._up(skips, torch.zeros_like(latent))[:, :3].unbind(1)
        along, across = self._up(skips, latent)[:, 3:].unbind(1)
        # Up-right, up-left, down-left, down-right: each line's share, parted by its sign.
        quadrants = [slash + F.logsigmoid(along), backslash + F.logsigmoid(across)]
        quadrants += [slash + F.logsigmoid(-along), backslash + F.logsigmoid(-across)]
        return torch.stack([still, *quadrants], 1)

    def _up(self, skips: list[Tensor], latent: Tensor) -> Tensor:
        """(B, 5, H, W) from features of all levels, the finest first."""
        x = torch.zeros_like(skips[-1])
        for level in reversed(range(len(skips))):
            if level < len(self.up):
                x = F.pixel_shuffle(self.up[level](x), 2)
            # The latent tiled, and a 1x1 convolution of it: the same at each pixel.
            x = x + skips[level] + self.latent[level](latent)[:, :, None, None]
            x = self.up_blocks[level](x)
        # Smoothly, not each pixel by itself: where the way is open they would not agree.
        return F.interpolate(self.head(x).float(), scale_factor=2, mode="bilinear")


class _DownsamplingBlock(nn.Module):
    """Residual block to half the size: norm, rectifier and 3x3 convolution, twice."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.InstanceNorm2d(in_channels),
            nn.LeakyReLU(_SLOPE),
            nn.Conv2d(in_channels, in_channels, 3, padding=1, bias=False),
            nn.InstanceNorm2d(in_channels),
            nn.LeakyReLU(_SLOPE),
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
        )
        self.skip = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H/2, W/2), sides rounded down."""
        return F.avg_pool2d(self.skip(x) + self.body(x), 2)


class _Encoder(nn.Module):
    """Guidance as five planes (B, 5, H, W) to the posterior of the latent."""

    def __init__(self, config: GuidancePredictorConfig) -> None:
        super().__init__()
        widths = [min(number, 4) * config.encoder for number in range(1, 6)]
        self.stem = nn.Conv2d(CLASSES, widths[0], 4, 2, 1)
        self.blocks = nn.Sequential(*(_DownsamplingBlock(*pair) for pair in pairwise(widths)))
        self.mean = nn.Linear(widths[-1], config.latent)
        self.log_variance = nn.Linear(widths[-1], config.latent)
        self.apply(_init_xavier)

    def forward(self, planes: Tensor) -> Posterior:
        x = F.leaky_relu(self.blocks(self.stem(planes)), _SLOPE).mean((2, 3))
        return Posterior(self.mean(x), self.log_variance(x))


class GuidanceDiscriminator(nn.Module):
    """Discriminates true from generated guidance: patches at full and half size.

    Only training needs it; it is no part of the checkpoint.

    Args:
        width: channels of the first convolution at full size; half as many at half the size.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()

        def patches(width: int) -> nn.Sequential:
            def normed(in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
                convolution = nn.Conv2d(in_channels, out_channels, 4, stride, 1, bias=False)
                return [convolution, nn.InstanceNorm2d(out_channels), nn.LeakyReLU(_SLOPE)]

            return nn.Sequential(
                nn.Conv2d(CLASSES, width, 4, 2, 1),
                nn.LeakyReLU(_SLOPE),
                *normed(width, 2 * width, 2),
                *normed(2 * width, 4 * width, 2),
                *normed(4 * width, 8 * width, 1),
                nn.Conv2d(8 * width, 1, 4, 1, 1),
            )

        self.scales = nn.ModuleList([patches(width), patches(max(1, width // 2))])
        self.apply(_init_xavier)

    def forward(self, planes: Tensor) -> list[Tensor]:
        """Scores of patches, towards 1 for true guidance and 0 for generated.

        Args:
            planes: (B, 5, H, W), 1 in the plane of each pixel's class; sides of 48 and more.

        Returns:
            (B, 1, h, w) at each of the two scales.
        """
        half = F.avg_pool2d(planes, 3, 2, 1, count_include_pad=False)
        return [judge(x) for judge, x in zip(self.scales, (planes, half), strict=True)]


@register_model(
    "guidance-predictor",
    recipes={
        "guidance-predictor": {
            "config": GuidancePredictorConfig.compact(),
            "blur": (20.0, 36.0),
            "blur_samples": 30_000,
            "betas": (0.5, 0.999),
            "clip_norm": 1.0,
        },
        # The authors' optimiser; `--decay` ends it as theirs does, by a rate that falls in a line.
        "guidance-predictor-paper": {
            "config": GuidancePredictorConfig.paper(),
            **PAPER,
            "augmentations": ZHONG_AUGMENTATIONS,
            "learning_rate": 2e-4,
            "betas": (0.5, 0.999),
            "weight_decay": 0.0,
            "loss": {"divergence": 0.1},
        },
        "guidance-predictor-tiny": {
            "config": GuidancePredictorConfig.tiny(),
            **TINY,
            "scene": 64,
            "crop": 48,
        },
    },
)
class GuidancePredictor(HubModel):
    """Photo and latent to logits of guidance; see the head of this file.

    Args:
        config: sizes; None for the compact ones.
    """

    config_class = GuidancePredictorConfig
    weights_name = "guidance-predictor"
    output_kind = "guidance"
    config: GuidancePredictorConfig

    def __init__(self, config: GuidancePredictorConfig | None = None) -> None:
        config = config or GuidancePredictorConfig()
        super().__init__(config)
        self.generator = _GatedGenerator(config) if config.blocks else _UNetGenerator(config)
        self.encoder = _Encoder(config)

    def forward(
        self, photo: Tensor, latent: Tensor | None = None, threshold: float = STILL_THRESHOLD
    ) -> Tensor:
        """Logits of the five classes.

        Args:
            photo: (B, 3, H, W) sRGB in [0, 1]; any size, made for sides of up to 256 pixels.
            latent: (B, Z); None for zeros, the middle of all that is plausible.
            threshold: pixels of this photo; shorter motion over the exposure is still. A paper
                size knows only the usual one, and ignores it.

        Returns:
            (B, 5, H, W), classes in the order of `b2m.guidance.palette.PALETTE`.
        """
        height, width = photo.shape[-2:]
        if latent is None:
            latent = photo.new_zeros(len(photo), self.config.latent)
        scale = math.log2(threshold / STILL_THRESHOLD)
        padded = pad_to_multiple(photo, 2**self.config.levels)
        padded = padded.contiguous(memory_format=torch.channels_last)
        return self.generator(padded, latent, scale).float()[..., :height, :width]

    def loss(
        self,
        batch: Mapping[str, Tensor],
        step: int,
        *,
        discriminator: GuidanceDiscriminator,
        divergence: float = 0.5,
    ) -> dict[str, Tensor]:
        """Zhong 2022, Eq. 9, and the loss of the discriminators that judge the guidance.

        Args:
            batch, step: see `HubModel.loss`.
            discriminator: judges true and generated guidance.
            divergence: weight of what the latent tells. The less it weighs, the more detail of
                small things is kept, and the less alike are latents drawn at random.
        """
        threshold = STILL_THRESHOLD
        if self.config.blocks and torch.rand(()) < 0.5:
            # A large photo is encoded shrunk, and so is the motion that counts as still in it.
            threshold *= _SMALLEST_SCALE ** float(torch.rand(()))
        classes = to_classes(quantize(batch["flow"], threshold))
        planes = one_hot(classes)
        posterior = self.encode(planes)
        noise = torch.randn_like(posterior.mean)
        latent = posterior.mean + (posterior.log_variance / 2).exp() * noise
        logits = self(batch["photo"], latent, threshold)
        generated = F.gumbel_softmax(logits, tau=1.0, hard=True, dim=1)
        discriminator.requires_grad_(False)
        fake_scores = discriminator(generated)
        discriminator.requires_grad_(True)
        real, fake = discriminator(planes), discriminator(generated.detach())
        with torch.autocast(logits.device.type, enabled=False):
            loss = guidance_loss(fake_scores, logits, classes, *posterior, divergence=divergence)
            return {"model": loss, "discriminator": lsgan_discriminator_loss(real, fake)}

    def encode(self, planes: Tensor) -> Posterior:
        """The posterior of the latent, given true guidance.

        Args:
            planes: (B, 5, H, W), as `one_hot` makes them; sides of 32 pixels and more.
        """
        return Posterior(*(part.float() for part in self.encoder(planes)))

    def sample_latents(self, count: int, seed: int) -> Tensor:
        """Latents (count, Z) from N(0, 1), on the CPU.

        Of each two the second is the first one's opposite: each by itself is as random as any, but
        two of them are seldom alike.

        Raises:
            InputError: the seed is no whole number, or needs more than 63 bits.
        """
        generator = torch.Generator().manual_seed(check_seed(seed))
        drawn = torch.randn((count + 1) // 2, self.config.latent, generator=generator)
        return torch.stack([drawn, -drawn], 1).flatten(0, 1)[:count]

    def predict(self, photo: Tensor, latents: Tensor, scale: float = 1.0) -> Tensor:
        """Guidance of one photo, one for each latent.

        Args:
            photo: (1, 3, H, W) sRGB in [0, 1], any size. It is encoded with at most 256 pixels
                on its longest side.
            latents: (N, Z).
            scale: of the photo, where it is a smaller version of the one that is asked about.

        Returns:
            (N, 2, h, w) int8, of the size at which the photo was encoded.
        """
        shrunk = min(1.0, MAX_SIDE / max(photo.shape[-2:]))
        if shrunk < 1:
            size = [max(1, round(shrunk * side)) for side in photo.shape[-2:]]
            photo = F.interpolate(photo, size=size, mode="area")
        threshold = scale * shrunk * STILL_THRESHOLD
        latents = latents.to(photo)
        # One by one, so that an answer does not depend, to the last bit, on what is asked with it.
        classes = [logits_to_classes(self(photo, latent[None], threshold)) for latent in latents]
        return to_guidance(torch.cat(classes))
