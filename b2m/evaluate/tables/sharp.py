"""The table "sharp": what the animator takes for moving in photos in which nothing is.

A sharp photo has no motion blur, so all that moves in its clip is an error. What is out of focus is
blurred, too, and the network knows little of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from b2m.evaluate.report import Row
from b2m.inference.animator import BlurAnimator
from b2m.inference.diagnostics import STILL
from b2m.motion.fields import STILL_THRESHOLD
from b2m.motion.orientation import length_of

COLUMNS = {
    "samples": ("n", "d"),
    "still": ("said to be still", "d"),
    "moving": ("moving pixels", ".1%"),
    "fastest": ("fastest, px", ".1f"),
}


def sharp_rows(
    animator: BlurAnimator, photos: Sequence[Path], split: str
) -> tuple[list[Row], list[str]]:
    """Rows and notes of the table: all photos together, then each that moves, the worst first.

    Args:
        animator: what is judged.
        photos: sharp ones.
        split: of which they are.
    """
    each: list[Row] = []
    for path in tqdm(photos, "photos", unit="photo"):
        (clip,) = animator.animate(path)
        moving = float((length_of(clip.flow) >= STILL_THRESHOLD).mean())
        still = int(STILL in clip.warnings)
        row: Row = {"name": path.stem, "samples": 1, "still": still, "moving": moving}
        each.append(row | {"fastest": clip.fastest})
    whole: Row = {
        "name": "all photos",
        "samples": len(each),
        "still": sum(row["still"] for row in each),
        "moving": float(np.mean([row["moving"] for row in each])),
        "fastest": max(row["fastest"] for row in each),
    }
    moved = sorted((row for row in each if not row["still"]), key=lambda row: -row["moving"])
    return [whole, *moved], [
        f"Sharp photos of the {split} split at their own size; moving: by {STILL_THRESHOLD:g} px "
        "or more over the exposure. Photos that are not said to be still have a row each.",
    ]
