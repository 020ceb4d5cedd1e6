"""The table "segmentation": what moves against the camera, on scenes of which that is known.

The use of Argaw et al. 2021b, Fig. 7, of which the paper gives pictures and no numbers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from b2m.data.scenes import Kind, SceneConfig
from b2m.evaluate.report import Row
from b2m.evaluate.test_sets import Case, scene_cases
from b2m.motion.fields import Flow
from b2m.motion.segmentation import segment

SIZE = 192
BLUR = (8.0, 32.0)
SAMPLES = 100

TRUE = "true flow"

COLUMNS = {
    "samples": ("n", "d"),
    "iou": ("IoU", ".3f"),
    "precision": ("precision", ".3f"),
    "recall": ("recall", ".3f"),
}

_LEAST_MOVING = 0.01  # of the pixels, for there to be something to find


def segmentation_rows(
    flows: Mapping[str, Callable[[Case], Flow]],
    photos: str | os.PathLike[str] | None,
    cutouts: str | os.PathLike[str] | None,
    *,
    samples: int = SAMPLES,
    split: str = "test",
    seed: int = 0,
) -> tuple[list[Row], list[str]]:
    """Rows and notes of the table.

    Args:
        flows: from the name of a row to what estimates flow from a blurred photo.
        photos, cutouts: folders for the scenes; None for made-up textures.
        samples: scenes of each kind.
        split: of the folders.
        seed: of the scenes.
    """
    rows: list[Row] = []
    kinds: dict[str, Kind] = {"static camera": "movers", "any motion": "mixed"}
    for place, (group, kind) in enumerate(kinds.items()):
        config = SceneConfig(size=SIZE, blur=BLUR, kind=kind)
        number = (seed * 2 + place) << 20
        cases = scene_cases(photos, cutouts, config, samples, split=split, number=number)
        ways = {TRUE: lambda case: case.flow, **flows}
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
        for case in tqdm(cases, group, total=samples, unit="scene"):
            if case.moving is None or case.moving.mean() < _LEAST_MOVING:
                continue
            for name, way in ways.items():
                found[name].append(overlap(segment(case.photo, way(case)), case.moving))
        for name, scores in found.items():
            iou, precision, recall = np.mean(scores, axis=0).tolist() if scores else (None,) * 3
            row: Row = {"name": f"{group}: {name}", "samples": len(scores), "iou": iou}
            rows.append(row | {"precision": precision, "recall": recall})
    return rows, [
        f"Up to {samples} scenes of {SIZE}x{SIZE} of each kind from the {split} split"
        f"{' (made-up textures)' if photos is None else ''}, longest blur {BLUR[0]:g} to "
        f"{BLUR[1]:g} px; left out are those in which under {_LEAST_MOVING:.0%} of the pixels move "
        "by themselves. The truth is what moves by 1 px or more against the background, at the "
        "middle instant. Means over scenes.",
        "The camera's motion is fitted to the flow (MAGSAC); what disagrees moves, if it shows in "
        "the photo. The paper's network for segmentation is not built.",
    ]


def overlap(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Intersection over union, precision and recall of a mask; nothing found has a precision of 0.

    Args:
        found, truth: (H, W) bool; the truth is not empty.
    """
    both = float((found & truth).sum())
    return both / float((found | truth).sum()), both / max(1.0, found.sum()), both / truth.sum()
