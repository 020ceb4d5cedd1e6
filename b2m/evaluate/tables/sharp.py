"""The table "sharp": what the animator takes for moving in photos in which nothing is.

A sharp photo has no motion blur, so all that moves in its clip is an error. What is out of focus is
blurred, too, and the network knows little of that.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from b2m.data.textures import split_files
from b2m.evaluate.report import Row
from b2m.evaluate.scoring import Label, Scores, ScoresOfRows, moving_pixels
from b2m.evaluate.table import Group, Options, Rows, Table
from b2m.inference.animator import BlurAnimator
from b2m.motion.fields import STILL_THRESHOLD
from b2m.registry import register_table


@register_table("sharp")
class SharpTable(Table):
    """Sharp photos that are taken for moving: all together, then each, the worst first."""

    columns = {  # noqa: RUF012
        "samples": ("n", "d"),
        "still": ("said to be still", "d"),
        "moving": ("moving pixels", ".1%"),
        "fastest": ("fastest, px", ".1f"),
    }
    required_inputs = ("photos",)
    command_options = ("photos", "weights")
    required_keys = ()

    def __init__(self, options: Options, animator: BlurAnimator | None = None) -> None:
        super().__init__(options)
        self.animator = animator or BlurAnimator.from_pretrained(options.weights)

    def groups(self) -> Iterator[Group]:
        """The photos of the split."""
        assert self.options.photos is not None
        paths = split_files(self.options.photos, self.options.split)[: self.sample_count]
        yield Group("all photos", paths, len(paths))

    def score(self, sample: Path) -> Iterator[tuple[Label, Scores]]:
        """A row for each photo."""
        (clip,) = self.animator.animate(sample)
        moving = float(moving_pixels(clip.flow).mean())
        still = int(clip.is_still)
        yield sample.stem, {"still": still, "moving": moving, "fastest": clip.fastest}

    def finish(self, group: Group, rows: Rows, scores: ScoresOfRows) -> list[Row]:
        """Sum up, and show the photos that are not said to be still."""
        each: list[Row] = [{"name": name, "samples": 1, **one} for name, (one,) in scores.items()]
        whole: Row = {
            "name": group.name,
            "samples": len(each),
            "still": sum(row["still"] for row in each),
            "moving": float(np.mean([row["moving"] for row in each])),
            "fastest": max(row["fastest"] for row in each),
        }
        moved = sorted((row for row in each if not row["still"]), key=lambda row: -row["moving"])
        return [whole, *moved]

    def notes(self) -> list[str]:
        """What was measured, and how."""
        return [
            f"Sharp photos of the {self.options.split} split at their own size; moving: by "
            f"{STILL_THRESHOLD:g} px or more over the exposure. Photos that are not said to be "
            "still have a row each.",
        ]
