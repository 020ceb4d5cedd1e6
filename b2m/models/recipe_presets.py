"""Settings that trainings of several models share: values of `b2m.train.recipes.Recipe`."""

import math
from typing import Any

TINY: dict[str, Any] = {"batch": 2, "blur": (4.0, 8.0), "reuse": 2, "warmup": 2}
"""Seconds on any machine: for tests and to see the loop work."""

SHARES = {"scenes": 0.75, "rotation": 0.15, "clips": 0.10}
"""Of the animator's mix: there are only three real clips to train on."""

FROM_SCRATCH: dict[str, Any] = {
    "blur": (28.0, 36.0),
    "blur_samples": 20_000,
    "camera_samples": 8_000,
}
"""From random weights in 30,000 samples; it begins with the easiest motion there is."""

LARGE_CROPS: dict[str, Any] = {
    "batch": 4,
    "blur": (36.0, 40.0),
    "camera_samples": 0,
    "cosine": 10_000,
}
"""To continue with on crops of a size that the recipe names, from weights trained on crops of 96
pixels: there coarse levels see borders alone, and what they learn errs on larger photos; see
docs/experiments.md."""

PAPER: dict[str, Any] = {
    "scene": 288,
    "crop": 256,
    "blur": (12.0, 40.0),
    "reuse": 2,
    "warmup": 1,
    "clip_norm": math.inf,
}
"""For a GPU, with the optimisers, batches and schedules of the papers; epochs are counted in
samples. Scenes are ours, cropped anywhere but where "centred" says otherwise, turned, mirrored and
reversed, and the averaged weights are kept."""

ZHONG_AUGMENTATIONS = ("turn", "mirror", "reverse")
"""Augmentations of Zhong 2022: flips and quarter turns, and each film with its reverse."""

PAPER_ADAM: dict[str, Any] = {
    **PAPER,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "weight_decay": 0.0,
}
