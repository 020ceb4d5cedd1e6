"""Named trainings: one frozen Recipe each."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from b2m.data.scenes import SceneConfig
from b2m.errors import InputError
from b2m.hub import HubModel
from b2m.models.animator import MotionAnimator, MotionAnimatorConfig
from b2m.models.guidance_predictor import GuidancePredictor, GuidancePredictorConfig
from b2m.objectives import AnimatorObjective, Objective, PredictorObjective


@dataclass(frozen=True)
class Recipe:
    """One training.

    Attributes:
        name: as `b2m train NAME` takes it.
        config: of the model.
        model: its class.
        objective: what it minimises.
        scene: side of the rendered scenes, pixels.
        crop: side of the training crops, pixels.
        batch: samples per step.
        blur: longest blur at the start and at the end of the curriculum, pixels.
        blur_samples: samples over which the blur grows from the one to the other.
        reuse: times a rendered scene is used, each time cropped, turned and lit anew.
        defocus: share of the scenes with a background out of focus, which is not to be taken for
            motion.
        still: share of the scenes in which nothing moves.
        real_share: share of the samples that are cut from real clips, where there are any.
        learning_rate: constant after the warm-up.
        warmup: steps.
        betas: of the optimiser, AdamW.
        weight_decay: of matrices; vectors have none.
        clip_norm: longest gradient of each group.
        ema: decay of the averaged weights, which are the ones kept.
        line_weight: weight of the animator's loss on the lines of motion, per pixel.
        divergence: weight of the guidance predictor's loss on what its latent tells. The less it
            weighs, the more is told of small things, and the less alike are latents drawn at
            random.
    """

    name: str
    config: MotionAnimatorConfig | GuidancePredictorConfig = field(
        default_factory=MotionAnimatorConfig
    )
    model: type[HubModel] = MotionAnimator
    objective: type[Objective] = AnimatorObjective
    scene: int = 128
    crop: int = 96
    batch: int = 8
    blur: tuple[float, float] = (12.0, 36.0)
    blur_samples: int = 60_000
    reuse: int = 8
    defocus: float = 0.3
    still: float = 0.12
    real_share: float = 0.15
    learning_rate: float = 6e-4
    warmup: int = 250
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    clip_norm: float = 0.1
    ema: float = 0.999
    line_weight: float = 0.003
    divergence: float = 0.5

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
        return SceneConfig(
            size=self.scene, blur=(0.4 * longest, longest), defocus=self.defocus, still=self.still
        )


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
        Recipe(
            "guidance-predictor",
            config=GuidancePredictorConfig.compact(),
            model=GuidancePredictor,
            objective=PredictorObjective,
            blur=(20.0, 36.0),
            blur_samples=30_000,
            betas=(0.5, 0.999),
            clip_norm=1.0,
        ),
        # The paper's network with the authors' optimiser, for a GPU; `--decay` ends it as theirs
        # does, by a rate that falls in a line. Its scenes are ours.
        Recipe(
            "guidance-predictor-paper",
            config=GuidancePredictorConfig.paper(),
            model=GuidancePredictor,
            objective=PredictorObjective,
            scene=288,
            crop=256,
            blur=(12.0, 40.0),
            reuse=2,
            learning_rate=2e-4,
            warmup=1,
            betas=(0.5, 0.999),
            weight_decay=0.0,
            clip_norm=math.inf,
            divergence=0.1,
        ),
        Recipe(
            "guidance-predictor-tiny",
            config=GuidancePredictorConfig.tiny(),
            model=GuidancePredictor,
            objective=PredictorObjective,
            scene=64,
            crop=48,
            batch=2,
            blur=(4.0, 8.0),
            reuse=2,
            warmup=2,
        ),
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
