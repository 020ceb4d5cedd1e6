"""How samples are scored, and how scores become rows. The thresholds of all tables are here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from b2m.evaluate.report import Row
from b2m.metrics import psnr
from b2m.motion.fields import STILL_THRESHOLD, Flow
from b2m.motion.orientation import length_of

Frames = NDArray[np.uint8]
Mask = NDArray[np.bool_]

PHOTO = "photo repeated"
"""The row of the blurred photo as every frame: what doing nothing scores."""

EXACT = 100.0
"""dB; stands for an infinite PSNR, which no mean could hold."""

LEAST_MOVING = 0.005
"""Share of moving pixels below which a photo says nothing about motion."""

TRIES = (1, 3, 5)
"""P1, P3 and P5 of Zhong 2022: the best of so many motions."""


class Weighted(NamedTuple):
    """A score whose mean over samples is weighted, as by how many pixels move."""

    value: float
    weight: float


Scores = Mapping[str, Any]
"""Of one row on one sample: numbers, which are averaged, `Weighted` ones, and arrays, which are
left to `b2m.evaluate.table.Table.finish`."""


class Tally:
    """Scores by row, sample by sample.

    Args:
        names: of rows that are there even where nothing was scored.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.scores: dict[str, list[Scores]] = {name: [] for name in names}

    def add(self, name: str, scores: Scores) -> None:
        """Add the scores of one sample."""
        self.scores.setdefault(name, []).append(scores)

    def take(self, other: Tally) -> None:
        """Add all that another one holds."""
        for name, scores in other.scores.items():
            self.scores.setdefault(name, []).extend(scores)

    def rows(self, group: str, always: Iterable[str] = (), spread: Iterable[str] = ()) -> list[Row]:
        """Means over samples, a row for each name.

        Args:
            group: that names begin with.
            always: keys that are null where they were not scored.
            spread: keys whose standard deviation is kept, too, as KEY_std.
        """
        rows = []
        for name, scores in self.scores.items():
            row: Row = {"name": f"{group}: {name}", "samples": len(scores), **dict.fromkeys(always)}
            for key in dict.fromkeys(key for one in scores for key in one):
                values = [one[key] for one in scores if key in one]
                if isinstance(values[0], Weighted):
                    numbers, weights = zip(*values, strict=True)
                    if sum(weights):
                        row[key] = float(np.average(numbers, weights=weights))
                elif not np.ndim(values[0]):
                    row[key] = float(np.mean(values))
                    if key in spread:
                        row[f"{key}_std"] = float(np.std(values))
            rows.append(row)
        return rows


def frame_psnr(frames: Frames, truth: Frames, mask: Mask | None = None) -> NDArray[np.float64]:
    """(T,) dB of each frame, at most `EXACT`."""
    pairs = zip(frames, truth, strict=True)
    return np.array([min(psnr(frame, target, mask), EXACT) for frame, target in pairs])


def moving_pixels(flow: Flow) -> Mask:
    """(H, W) bool: what moves by `STILL_THRESHOLD` or more over the exposure."""
    return np.asarray(length_of(flow) >= STILL_THRESHOLD)


def share(right: Mask, where: Mask) -> float:
    """The share of some pixels that are right; 0 of none."""
    return float(right[where].mean()) if where.any() else 0.0


def right_way(flow: Flow, truth: Flow, where: Mask) -> float:
    """The share of some pixels whose motion is less than a right angle from the true one."""
    return share((flow * truth).sum(axis=-1) > 0, where)


def best_of(means: Sequence[float], tries: int) -> int:
    """Which of the first few clips is the best: that one gives all its scores.

    The authors' script of Zhong 2022 takes each score's own best.
    """
    return int(np.argmax(means[:tries]))
