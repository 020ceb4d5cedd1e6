"""Named trainings: one frozen Recipe each, and the objectives they minimise."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from b2m.data.scenes import SceneConfig
from b2m.errors import InputError
from b2m.losses import charbonnier, line_loss
from b2m.models.animator import (
    MotionAnimator,
    MotionAnimatorConfig,
    double_angle,
    half_angle,
    odd_residual,
    orient,
    render,
)


@dataclass(frozen=True)
class Recipe:
    """One training.

    Attributes:
        name: as `b2m train NAME` takes it.
        config: of the model.
        scene: side of the rendered scenes, pixels.
        crop: side of the training crops, pixels.
        batch: samples per step.
        blur: longest blur at the start and at the end of the curriculum, pixels.
        blur_samples: samples over which the blur grows from the one to the other.
        reuse: times a rendered scene is used, each time cropped, turned and lit anew.
        real_share: share of the samples that are cut from real clips, where there are any.
        learning_rate: constant after the warm-up.
        warmup: steps.
        weight_decay: of matrices; vectors have none.
        clip_norm: longest gradient.
        ema: decay of the averaged weights, which are the ones kept.
        line_weight: weight of the loss on the lines of motion, per pixel.
    """

    name: str
    config: MotionAnimatorConfig = field(default_factory=MotionAnimatorConfig)
    scene: int = 128
    crop: int = 96
    batch: int = 8
    blur: tuple[float, float] = (12.0, 36.0)
    blur_samples: int = 60_000
    reuse: int = 8
    real_share: float = 0.15
    learning_rate: float = 6e-4
    warmup: int = 250
    weight_decay: float = 0.01
    clip_norm: float = 0.1
    ema: float = 0.999
    line_weight: float = 0.003

    def longest_blur(self, samples: int) -> float:
        """The longest blur, in pixels, after so many samples."""
        share = min(1.0, samples / max(1, self.blur_samples))
        return self.blur[0] + share * (self.blur[1] - self.blur[0])

    def scenes(self, samples: int, share: float) -> SceneConfig:
        """What is rendered for training.

        Args:
            samples: seen so far.
            share: in [0, 1], uniform; how far up to the longest blur this handful of scenes goes.
                Scenes of like blur are rendered together, because short blur needs few instants.
        """
        longest = 4.0 + share**0.7 * (self.longest_blur(samples) - 4.0)
        return SceneConfig(size=self.scene, blur=(0.4 * longest, longest))


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("animator"),
        # The same network with a step of exposure physics inside: see docs/experiments.md.
        Recipe("animator-deconvolution", config=MotionAnimatorConfig(deconvolution_steps=1)),
        # Seconds on any machine: for tests and to see the loop work.
        Recipe(
            "animator-tiny",
            config=MotionAnimatorConfig.tiny(),
            scene=48,
            crop=32,
            batch=2,
            blur=(4.0, 8.0),
            reuse=2,
            warmup=2,
        ),
        # Larger crops and batches; made for a GPU, where scenes are rendered faster than used.
        Recipe("animator-gpu", crop=128, scene=160, batch=64, blur_samples=500_000, reuse=2),
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        InputError: there is none.
    """
    if name not in RECIPES:
        raise InputError(f"no recipe is called '{name}'; there are {', '.join(sorted(RECIPES))}.")
    return RECIPES[name]


class AnimatorObjective(nn.Module):
    """What the animator minimises: distance of frames, and of lines of motion.

    Args:
        model: trained in place.
        recipe: weights of the losses.
    """

    def __init__(self, model: MotionAnimator, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.line_weight = recipe.line_weight

    def forward(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Losses by the group of parameters that each is for; here one group, "model".

        Args:
            batch: photo (B, 3, H, W), frames (B, T, 3, H, W), flow (B, 2, H, W), guidance
                (B, 2, H, W).
            step: alternates the frames that are compared; ends and middle always are.
        """
        frames = batch["frames"]
        last = frames.shape[1] - 1
        inner = 1 + step % max(1, last // 2 - 1)
        encoding = self.model.encode(batch["photo"])
        with torch.autocast(frames.device.type, enabled=False):
            flow = orient(half_angle(encoding.line), batch["guidance"])
            odd = odd_residual(encoding, flow)
            picked = sorted({0, inner, last // 2, last - inner, last})
            loss = torch.stack(
                [
                    charbonnier(render(encoding, flow, 2 * index / last - 1, odd), frames[:, index])
                    for index in picked
                ]
            ).mean()
            loss = loss + self.line_weight * line_loss(encoding.line, double_angle(batch["flow"]))
        return {"model": loss}
