"""Recipes: how the papers, and b2m itself, make samples of sources."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from b2m.data.averaging import Averaging
from b2m.data.rotation import RotationConfig
from b2m.data.scenes import SceneConfig


@dataclass(frozen=True)
class DatasetRecipe:
    """How samples are made.

    Attributes:
        name: what the index says.
        generator: that makes them, one of `b2m.data.build.generators.GENERATORS`.
        layout: of the sources, one of `b2m.data.layouts.LAYOUTS`.
        averaging: of frames.
        fps: frames per second that sources must have, or None for any.
        rotation: camera turns, for "panorama" and "rotation".
        scenes: what is drawn, for "scenes".
        count: samples in all, where they are rendered.
        seed: of what is rendered.
    """

    name: str
    generator: Literal["average", "interpolate", "pairs", "panorama", "rotation", "scenes"]
    layout: str
    averaging: Averaging = field(default_factory=Averaging)
    fps: float | None = None
    rotation: RotationConfig = field(default_factory=RotationConfig)
    scenes: SceneConfig = field(default_factory=SceneConfig)
    count: int = 1000
    seed: int = 0


_DENSE = Averaging(average=128, factor=32, interpolate="flow")  # 240 to 7680 fps

DATASET_RECIPES = {
    recipe.name: recipe
    for recipe in (
        DatasetRecipe("gopro", "average", "gopro", fps=240),
        DatasetRecipe("gopro-pairs", "pairs", "gopro-pairs"),
        DatasetRecipe("dvd", "average", "dvd", fps=240),
        DatasetRecipe("nfs", "average", "nfs", fps=240),
        # 120 to 1920 fps, of which 80 make one of 24 blurred frames a second.
        DatasetRecipe(
            "reds", "average", "reds", Averaging(80, factor=16, interpolate="flow"), fps=120
        ),
        DatasetRecipe("genblur", "average", "genblur", replace(_DENSE, size=(540, 960)), fps=240),
        DatasetRecipe("aist", "average", "aist", replace(_DENSE, size=(720, 960)), fps=60),
        DatasetRecipe("video", "average", "video"),
        DatasetRecipe("monkaa", "interpolate", "monkaa", Averaging(interpolate="flow")),
        DatasetRecipe("panorama", "panorama", "images"),
        DatasetRecipe("rotation", "rotation", "images"),
        DatasetRecipe("scenes", "scenes", "images"),
    )
}
"""By name. 2021a and 2021b average 7 frames of GoPro and NfS; Zhong et al. 2022 make GenBlur and
B-AIST++; REDS is as Nah et al. 2019 have it, at the full length of a blurred frame."""
