"""Named trainings: one frozen Recipe each."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from b2m.data.scenes import SceneConfig
from b2m.data.stream import SHARES
from b2m.errors import InputError
from b2m.hub import HubModel
from b2m.models.animator import MotionAnimator, MotionAnimatorConfig
from b2m.models.blur_flow import BlurFlowNet, BlurFlowNetConfig
from b2m.models.decomposer import BlurDecomposer, BlurDecomposerConfig
from b2m.models.guidance_predictor import GuidancePredictor, GuidancePredictorConfig
from b2m.models.jin import JinSequence, JinSequenceConfig
from b2m.models.nafnet import NAFNet, NAFNetConfig
from b2m.models.video_restorer import VideoRestorer, VideoRestorerConfig
from b2m.train.objectives import AnimatorObjective, Objective, PredictorObjective
from b2m.train.paper_objectives import (
    ConsistentObjective,
    DeblurObjective,
    DecomposerObjective,
    FlowObjective,
    PhotometricObjective,
    RestorerObjective,
    SequenceObjective,
)

# Where some thousand samples are the budget: small batches, and blur that is long enough to be seen
# from the beginning.
_SHORT: dict[str, Any] = {"batch": 4, "blur": (20.0, 36.0), "blur_samples": 20_000}
# From random weights in 30,000 samples; it begins with the easiest motion there is.
_SCRATCH: dict[str, Any] = {
    "blur": (28.0, 36.0),
    "blur_samples": 20_000,
    "camera_samples": 8_000,
}
_TURNING = SHARES["rotation"] / (1 - SHARES["clips"])  # of what is rendered
_LEAST_RATE = 1e-6  # at which a cosine ends, as in Zhong 2022

Config = (
    BlurDecomposerConfig
    | BlurFlowNetConfig
    | GuidancePredictorConfig
    | JinSequenceConfig
    | MotionAnimatorConfig
    | NAFNetConfig
    | VideoRestorerConfig
)


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
        centred: whether they are the middle of scenes and real squares, not anywhere in them.
        batch: samples per step.
        blur: longest blur at the start and at the end of the curriculum, pixels.
        blur_samples: samples over which the blur grows from the one to the other.
        camera_samples: until so many have been seen, all that is rendered is long blur by the
            camera: a network finds out what motion looks like where the whole photo tells of one.
        reuse: times a rendered scene is used, each time cropped, turned and lit anew.
        defocus: share of the scenes with a background out of focus, which is not to be taken for
            motion.
        still: share of the scenes in which nothing moves.
        turning: share of what is rendered in which only the camera turns (Argaw 2021a, section 3).
        real_share: share of the samples that are cut from real clips, where there are any.
        optimizer: "adam", whose weight decay is part of the gradient, or "adamw".
        learning_rate: after the warm-up; constant but for the next two.
        milestones: numbers of samples after each of which the rate is halved.
        cosine: samples over which the rate falls along half a cosine, to 1e-6, where it stays;
            0 for none.
        warmup: steps.
        betas: of the optimiser.
        weight_decay: with "adamw" of matrices alone, with "adam" of every parameter, as it is in
            the papers whose recipes take it.
        clip_norm: longest gradient of each group.
        ema: decay of the averaged weights, which are the ones kept.
        line_weight: weight of the animator's loss on the lines of motion, per pixel.
        divergence: weight of the guidance predictor's loss on what its latent tells. The less it
            weighs, the more is told of small things, and the less alike are latents drawn at
            random.
    """

    name: str
    config: Config = field(default_factory=MotionAnimatorConfig)
    model: type[HubModel] = MotionAnimator
    objective: type[Objective] = AnimatorObjective
    scene: int = 128
    crop: int = 96
    centred: bool = False
    batch: int = 8
    blur: tuple[float, float] = (12.0, 36.0)
    blur_samples: int = 60_000
    camera_samples: int = 0
    reuse: int = 8
    defocus: float = 0.3
    still: float = 0.12
    turning: float = 0.0
    real_share: float = 0.15
    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = 6e-4
    milestones: tuple[int, ...] = ()
    cosine: int = 0
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

    def rate(self, samples: int) -> float:
        """The learning rate after so many samples, apart from warm-up and decay."""
        rate = self.learning_rate * 0.5 ** sum(samples >= end for end in self.milestones)
        if not self.cosine:
            return rate
        share = min(1.0, samples / self.cosine)
        return _LEAST_RATE + (rate - _LEAST_RATE) * (1 + math.cos(math.pi * share)) / 2

    def scenes(self, samples: int, share: float) -> SceneConfig:
        """What is rendered for training.

        Args:
            samples: seen so far.
            share: in [0, 1], uniform; how far up to the longest blur this handful of scenes goes.
                Scenes of like blur are rendered together, because short blur needs few instants.
        """
        if samples < self.camera_samples:
            longest = self.longest_blur(samples)
            return SceneConfig(size=self.scene, blur=(0.4 * longest, longest), kind="camera")
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
        # Larger crops and batches; made for a GPU, where scenes are rendered faster than used. The
        # beginning of `_SCRATCH`, for as many steps.
        Recipe(
            "animator-gpu",
            crop=128,
            scene=160,
            batch=64,
            blur=(28.0, 36.0),
            blur_samples=160_000,
            camera_samples=64_000,
            reuse=2,
        ),
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
        # The papers' other models, at sizes for CPUs, with the same scenes as the animator. The
        # tables compare them after 24,000 samples and a decay of 6,000.
        Recipe(
            "decomposer-compact",
            config=BlurDecomposerConfig.compact(),
            model=BlurDecomposer,
            objective=DecomposerObjective,
            **_SCRATCH,
            learning_rate=1e-3,
            clip_norm=1.0,
        ),
        Recipe(
            "jin-compact",
            config=JinSequenceConfig.compact(),
            model=JinSequence,
            objective=SequenceObjective,
            **_SCRATCH,
            learning_rate=5e-4,
            clip_norm=1.0,
        ),
        Recipe(
            "video-restorer-compact",
            config=VideoRestorerConfig.compact(),
            model=VideoRestorer,
            objective=RestorerObjective,
            **_SCRATCH,
            learning_rate=1e-3,
            clip_norm=1.0,
        ),
        Recipe(
            "blur-flow-compact",
            config=BlurFlowNetConfig.compact(),
            model=BlurFlowNet,
            objective=FlowObjective,
            **_SCRATCH,
            learning_rate=1e-3,
            clip_norm=100.0,  # the loss is a sum over pixels, and so is its gradient
        ),
        Recipe(
            "nafnet-compact",
            config=NAFNetConfig.compact(),
            model=NAFNet,
            objective=DeblurObjective,
            **_SCRATCH,
            learning_rate=1e-3,
            clip_norm=1.0,
        ),
        # At the papers' sizes, for a GPU, with their optimisers, batches and schedules; epochs are
        # counted in samples. Scenes are ours, cropped anywhere but where "centred" says otherwise,
        # turned, mirrored and reversed, and the averaged weights are kept.
        # Zhong 2022 on GenBlur: 500 epochs. How many photos its 161 videos gave is not said:
        # 10,000 chosen, half of them reversed.
        Recipe(
            "decomposer-paper",
            config=BlurDecomposerConfig.paper(),
            model=BlurDecomposer,
            objective=DecomposerObjective,
            scene=288,
            crop=256,
            batch=16,
            blur=(12.0, 40.0),
            reuse=2,
            learning_rate=2e-4,
            cosine=5_000_000,
            warmup=1,
            weight_decay=1e-4,
            clip_norm=math.inf,
        ),
        # The same on B-AIST++: 400 epochs; 10,000 photos of its 73 videos chosen. The paper frames
        # the dancer and shrinks that to 192; of clips (`--clips`) half of the squares are about
        # something that moves.
        Recipe(
            "decomposer-paper-aist",
            config=BlurDecomposerConfig.paper(),
            model=BlurDecomposer,
            objective=DecomposerObjective,
            scene=216,
            crop=192,
            blur=(12.0, 40.0),
            reuse=2,
            learning_rate=1e-4,
            cosine=4_000_000,
            warmup=1,
            weight_decay=1e-4,
            clip_norm=math.inf,
        ),
        # None of the three papers tells the authors' own schedule. Zhong 2022 trained it for as
        # long as the decomposer; the rate, the batch and Adam are chosen.
        Recipe(
            "jin-paper",
            config=JinSequenceConfig.paper(),
            model=JinSequence,
            objective=SequenceObjective,
            scene=288,
            crop=256,
            blur=(12.0, 40.0),
            reuse=2,
            optimizer="adam",
            learning_rate=1e-4,
            cosine=5_000_000,
            warmup=1,
            weight_decay=0.0,
            clip_norm=math.inf,
        ),
        # Argaw 2021a: 80 epochs, halved at 40 and 60. The text lost the rate, the crops and how
        # many images there were: 1e-4 (as in 2021b), 256 and 20,000 chosen.
        Recipe(
            "video-restorer-paper",
            config=VideoRestorerConfig.paper(),
            model=VideoRestorer,
            objective=RestorerObjective,
            scene=288,
            crop=256,
            batch=4,
            blur=(12.0, 40.0),
            reuse=2,
            optimizer="adam",
            learning_rate=1e-4,
            milestones=(800_000, 1_200_000),
            warmup=1,
            weight_decay=0.0,
            clip_norm=math.inf,
        ),
        # The same for the first, middle and last frame, as on rotational blur; crops of 128 chosen.
        Recipe(
            "video-restorer-paper-three-frames",
            config=VideoRestorerConfig.paper().three_frames(),
            model=VideoRestorer,
            objective=RestorerObjective,
            scene=160,
            crop=128,
            blur=(12.0, 40.0),
            reuse=2,
            optimizer="adam",
            learning_rate=1e-4,
            milestones=(800_000, 1_200_000),
            warmup=1,
            weight_decay=0.0,
            clip_norm=math.inf,
        ),
        # Argaw 2021b on Monkaa, 10,000 images: 300 epochs, halved at 100, 150, 200 and 250. Its
        # flow has the sign of the film, which no photo tells: here both are as frequent.
        Recipe(
            "blur-flow-paper",
            config=BlurFlowNetConfig.paper(),
            model=BlurFlowNet,
            objective=FlowObjective,
            scene=288,
            crop=256,
            centred=True,
            batch=4,
            blur=(12.0, 40.0),
            reuse=2,
            optimizer="adam",
            learning_rate=1e-4,
            milestones=(1_000_000, 1_500_000, 2_000_000, 2_500_000),
            warmup=1,
            weight_decay=4e-4,
            clip_norm=math.inf,
        ),
        # Its fine-tuning on real video (`--init` its weights, `--clips`): 120 epochs, halved at 60,
        # 80 and 100. How many images there were is not said: 10,000 chosen.
        Recipe(
            "blur-flow-paper-fine-tuning",
            config=BlurFlowNetConfig.paper(),
            model=BlurFlowNet,
            objective=FlowObjective,
            scene=288,
            crop=256,
            centred=True,
            batch=4,
            blur=(40.0, 40.0),
            reuse=2,
            real_share=0.9,
            optimizer="adam",
            learning_rate=1e-4,
            milestones=(600_000, 800_000, 1_000_000),
            warmup=1,
            weight_decay=4e-4,
            clip_norm=math.inf,
        ),
    )
}


def _variant(of: str, name: str, model: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    """A recipe with some things changed, of its model or of itself."""
    recipe = RECIPES[of]
    return replace(recipe, name=name, config=replace(recipe.config, **(model or {})), **changes)


# What the papers' tables compare: each is a compact recipe with one thing changed.
RECIPES |= {
    recipe.name: recipe
    for recipe in (
        _variant("animator", "animator-short", **_SCRATCH),
        # Scenes, turning cameras and real clips (`--clips`), as in `b2m.data.stream.SHARES`; and
        # what each adds on the same small budget: `b2m evaluate --table mix` compares them.
        _variant("animator", "animator-mix", turning=_TURNING, real_share=SHARES["clips"]),
        *(
            _variant(
                "animator", f"animator-short-{name}", turning=turning, real_share=real, **_SHORT
            )
            for name, turning, real in (
                ("scenes", 0.0, 0.0),
                ("rotation", SHARES["rotation"], 0.0),
                ("clips", 0.0, SHARES["clips"]),
                ("mix", _TURNING, SHARES["clips"]),
            )
        ),
        replace(
            RECIPES["decomposer-compact"],
            name="decomposer-one-stage",
            config=BlurDecomposerConfig.compact().one_stage(),
        ),
        _variant("decomposer-compact", "decomposer-unguided", {"guided": False}),
        # Zhong 2022, appendix B: 2, 8 and 16 directions instead of 4.
        *(
            _variant("decomposer-compact", f"decomposer-{2**bits}-directions", {"bits": bits})
            for bits in (1, 3, 4)
        ),
        _variant("jin-compact", "jin-rotation", turning=1.0, real_share=0.0),
        _variant(  # the paper's, on rotation, gives the first, middle and last frame
            "video-restorer-compact",
            "video-restorer-rotation",
            {"frames": 3},
            turning=1.0,
            real_share=0.0,
        ),
        # Begins with `--init` the compact weights, at the blur that they have seen.
        _variant(
            "blur-flow-compact",
            "blur-flow-fine-tuned",
            blur=(36.0, 36.0),
            camera_samples=0,
            real_share=0.9,
        ),
        # Argaw 2021a, Table 5, of three frames, which cost half of seven: all parts, and some.
        *(
            _variant("video-restorer-compact", f"video-restorer-{name}", {"frames": 3, **parts})
            for name, parts in (
                ("three", {}),
                ("stn", {"warped": False, "pictured": False}),
                ("stn-lw", {"pictured": False}),
                ("stn-itn", {"warped": False}),
                ("unrefined", {"refined": False}),
            )
        ),
        *(
            _variant("video-restorer-compact", name, {"frames": 3}, objective=objective)
            for name, objective in (
                ("video-restorer-pml", PhotometricObjective),
                ("video-restorer-pml-tcl", ConsistentObjective),
            )
        ),
        # Argaw 2021b, Table 3: without refining block, without spatial transformers, without both.
        _variant("blur-flow-compact", "blur-flow-stn", {"refined": False}),
        _variant("blur-flow-compact", "blur-flow-rb", {"transformed": False}),
        _variant("blur-flow-compact", "blur-flow-plain", {"refined": False, "transformed": False}),
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
