"""A training is one frozen Recipe; models are registered with theirs."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Literal

from b2m.data.augmentation import AUGMENTATIONS
from b2m.data.scenes import Kind, SceneConfig
from b2m.errors import InputError
from b2m.hub import HubModel
from b2m.registry import MODELS
from b2m.train.objectives import OBJECTIVES, Objective

_MIN_RATE = 1e-6  # at which a cosine ends, as in Zhong 2022


@dataclass(frozen=True)
class Recipe:
    """One training.

    Attributes:
        name: as `b2m train NAME` takes it.
        model: the class that is trained.
        config: of the model.
        scene: side of the rendered scenes, pixels.
        crop: side of the training crops, pixels.
        centred: whether they are the middle of scenes and real squares, not anywhere in them.
        augmentations: of samples of built data sets, some of `AUGMENTATIONS`; scenes get all.
        batch: samples per step.
        blur: longest blur at the start and at the end of the curriculum, pixels.
        blur_samples: samples over which the blur grows from the one to the other.
        kinds: shares of the kinds of scenes.
        camera_samples: up to this number, all that is rendered is long blur by the camera: a
            network finds out what motion looks like where the whole photo tells of one.
        reuse: times a rendered scene is used, each time cropped and augmented anew.
        defocus_share: of the scenes, those with a background out of focus, which is not to be
            taken for motion.
        still_share: of the scenes, those in which nothing moves.
        rotation_share: of what is rendered, that in which only the camera rotates (Argaw 2021a,
            section 3).
        real_share: share of the samples that are cut from real clips, where there are any.
        optimizer: "adam", whose weight decay is part of the gradient, "adamw", or "muon" for the
            inner matrices of a network and "adamw" for the rest of it.
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
        frozen_norms: whether batch norms use their running statistics in training, too, and leave
            them as they are: those of a small batch are noise. From trained weights alone.
        loss: weights of terms of the model's own `loss`.
    """

    name: str
    model: type[HubModel]
    config: Any
    scene: int = 128
    crop: int = 96
    centred: bool = False
    augmentations: tuple[str, ...] = AUGMENTATIONS
    batch: int = 8
    blur: tuple[float, float] = (12.0, 36.0)
    blur_samples: int = 60_000
    kinds: Mapping[Kind, float] = field(default_factory=lambda: {"mixed": 1.0})
    camera_samples: int = 0
    reuse: int = 8
    defocus_share: float = 0.3
    still_share: float = 0.12
    rotation_share: float = 0.0
    real_share: float = 0.15
    optimizer: Literal["adam", "adamw", "muon"] = "adamw"
    learning_rate: float = 6e-4
    milestones: tuple[int, ...] = ()
    cosine: int = 0
    warmup: int = 250
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    clip_norm: float = 0.1
    ema: float = 0.999
    frozen_norms: bool = False
    loss: Mapping[str, float] = field(default_factory=dict)

    @property
    def objective(self) -> type[Objective]:
        """How the training is scored and drawn."""
        return OBJECTIVES[self.model.output_kind]

    def longest_blur(self, samples: int) -> float:
        """The longest blur, in pixels, after a number of samples."""
        share = min(1.0, samples / max(1, self.blur_samples))
        return self.blur[0] + share * (self.blur[1] - self.blur[0])

    def rate(self, samples: int) -> float:
        """The learning rate after a number of samples, apart from warm-up and decay."""
        rate = self.learning_rate * 0.5 ** sum(samples >= end for end in self.milestones)
        if not self.cosine:
            return rate
        share = min(1.0, samples / self.cosine)
        return _MIN_RATE + (rate - _MIN_RATE) * (1 + math.cos(math.pi * share)) / 2

    def scenes(self, samples: int, share: float, kind: float) -> SceneConfig:
        """What is rendered for training.

        Args:
            samples: seen so far.
            share: in [0, 1], uniform; how far up to the longest blur this handful of scenes goes.
                Scenes of like blur are rendered together, because short blur needs few instants.
            kind: in [0, 1), uniform; which of the kinds these scenes are.
        """
        if samples < self.camera_samples:
            longest = self.longest_blur(samples)
            return SceneConfig(size=self.scene, blur=(0.4 * longest, longest), kind="camera")
        longest = 4.0 + share**0.7 * (self.longest_blur(samples) - 4.0)
        shares = list(accumulate(self.kinds.values()))
        return SceneConfig(
            size=self.scene,
            blur=(0.4 * longest, longest),
            kind=list(self.kinds)[bisect(shares, kind * shares[-1])],
            defocus=self.defocus_share,
            still=self.still_share,
        )


def all_recipes() -> dict[str, Recipe]:
    """The recipes that models are registered with, by name."""
    return {
        name: Recipe(name, model=model, **values)
        for model in MODELS.values()
        for name, values in model.recipes.items()
    }


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        InputError: there is none.
    """
    recipes = all_recipes()
    if name not in recipes:
        raise InputError(f"no recipe is called '{name}'; there are {', '.join(sorted(recipes))}.")
    return recipes[name]
