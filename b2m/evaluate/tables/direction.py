"""The table "direction": whether the end frames of a clip gain alike, whichever way it moves.

No photo tells the temporal order of its clip. A network that is trained on one order, such as the
one in which things move to the right, has to guess where motion is vertical, and its first and last
frame become the mean of both ends there. One that is compared in the nearer of both orders of the
whole clip does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice, tee

import numpy as np

from b2m.data.sample import Sample
from b2m.errors import InputError
from b2m.evaluate.methods import Method, recipe_of
from b2m.evaluate.report import Row
from b2m.evaluate.scoring import Label, Scorer, Scores, ScoresOfRows
from b2m.evaluate.table import Group, Rows, Table
from b2m.registry import register_table

_METHODS = (
    "Jin",
    "VideoRestorer",
    "VideoRestorer without refining block",
    "VideoRestorer, trained further",
    "animator, better order",
)
_STEEP = 2.0  # as much of one component as of the other, in the mean over the photo


COLUMNS = {
    "samples": ("n", "d"),
    "ends": ("first and last frame over photo", "+.2f"),
    "ends_std": ("standard deviation", ".2f"),
    "middle": ("middle frame over photo", "+.2f"),
}


@register_table("direction")
class DirectionTable(Table):
    """Gain of the end frames by the direction in which the camera moves."""

    columns = COLUMNS
    std_keys = ("ends",)
    default_samples = 64
    compares_models = True
    required_keys = ()
    size = 96
    blur = (10.0, 20.0)

    def load_methods(self) -> Sequence[Method]:
        """Those whose weights are there."""
        there = self.find_methods(_METHODS)
        if not there:
            wanted = ", ".join(sorted({recipe_of(name) for name in self.missing}))
            raise InputError(f"no weights for this table: train any of {wanted} first")
        return there

    def groups(self) -> Iterator[Group]:
        """Scenes of a moving camera, sorted by the mean of their motion; others are left out."""
        count = self.sample_count or 0
        scenes = self.scene_group("camera", "camera", 16 * count, self.options.seed).samples
        for along, (name, same) in enumerate(
            zip(("across", "up or down"), tee(scenes), strict=True)
        ):
            steep = filter(partial(_is_along, along), same)
            yield Group(name, islice(steep, count), count, "scene")

    def score(self, sample: Sample) -> Iterator[tuple[Label, Scores]]:
        """Gains over the photo repeated, dB."""
        for method in self.methods:
            prediction = method.predict(sample)[0]
            # A restorer of three frames has these instants alone.
            scorer = Scorer(sample, len(prediction.frames))
            gain = scorer.clip(prediction, method.order_invariant).psnr - scorer.photo.psnr
            yield method.name, {"ends": gain[[0, -1]].mean(), "middle": gain[len(gain) // 2]}

    def finish(self, group: Group, rows: Rows, scores: ScoresOfRows) -> Iterable[Row]:
        """Add what was not run."""
        return [*rows.values(), *self.not_run(group.name).values()]

    def notes(self) -> list[str]:
        """What was measured, and how."""
        return [
            f"{self.sample_count} scenes of {self.size}x{self.size} of each direction from the "
            f"{self.options.split} split{self.texture_remark}, whose mean motion has {_STEEP:g} "
            f"times as much of one component as of the other; longest blur {self.blur[0]:g} to "
            f"{self.blur[1]:g} px.",
            "dB over the photo repeated, in the better of both orders of the whole clip.",
            "VideoRestorer sees the photo as it lies and transposed, and what moves more counts "
            "more; in earlier runs it saw it once.",
        ]


def _is_along(component: int, sample: Sample) -> bool:
    mean = np.abs(sample.known_flow.mean((0, 1)))
    return bool(mean[component] > _STEEP * mean[1 - component])
