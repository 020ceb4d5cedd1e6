"""How samples are scored, and how scores become rows. The thresholds of all tables are here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from b2m.data.sample import Sample
from b2m.evaluate.report import Row
from b2m.guidance.quantize import Guidance
from b2m.metrics import psnr
from b2m.motion.fields import STILL_THRESHOLD, Flow, magnitude
from b2m.tensors import evenly_spaced

if TYPE_CHECKING:
    from b2m.evaluate.methods import Method

Frames = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Metric = Callable[[Frames, Frames], float]

PHOTO = "photo repeated"
"""The row of the blurred photo as every frame: what doing nothing scores."""

MAX_PSNR = 100.0
"""dB; stands for an infinite PSNR, which no mean could hold."""

MIN_MOVING = 0.005
"""Fraction of moving pixels below which a photo says nothing about motion."""

MIN_INDEPENDENT = 0.01
"""Fraction of pixels moving against the background below which there is nothing to segment."""

FOUND = 0.8
"""A motion is found if so many of the moving pixels go the right way, less than a right angle from
the true one."""

TRIES = (1, 3, 5)
"""P1, P3 and P5 of Zhong 2022: the best of so many motions."""


class BestOf(NamedTuple):
    """The label of a row that has the best of a method's first few clips."""

    method: str
    tries: int

    def __str__(self) -> str:
        return f"{self.method}, best of {self.tries}"


Label = str | BestOf
"""Of a row within its group: what was scored."""


def method_of(label: Label) -> str:
    """The method whose row it is."""
    return label.method if isinstance(label, BestOf) else label


class Weighted(NamedTuple):
    """A score whose mean over samples is weighted, as by how many pixels move."""

    value: float
    weight: float


Scores = Mapping[str, Any]
"""Of one row on one sample: numbers, which are averaged, `Weighted` ones, and arrays, which are
left to `b2m.evaluate.table.Table.finish`."""


ScoresOfRows = dict[Label, list[Scores]]
"""Of each row on each of its samples."""


def mean_rows(
    group: str, scores: ScoresOfRows, required: Iterable[str] = (), std: Iterable[str] = ()
) -> dict[Label, Row]:
    """Means over samples, a row for each label.

    Args:
        group: that names begin with.
        scores: to average.
        required: keys that are null where they were not scored.
        std: keys whose standard deviation is kept, too, as KEY_std.
    """
    rows = {}
    for label, samples in scores.items():
        row: Row = {"name": f"{group}: {label}", "samples": len(samples), **dict.fromkeys(required)}
        for key in dict.fromkeys(key for one in samples for key in one):
            values = [one[key] for one in samples if key in one]
            if isinstance(values[0], Weighted):
                numbers, weights = zip(*values, strict=True)
                if sum(weights):
                    row[key] = float(np.average(numbers, weights=weights))
            elif not np.ndim(values[0]):
                row[key] = float(np.mean(values))
                if key in std:
                    row[f"{key}_std"] = float(np.std(values))
        rows[label] = row
    return rows


# --- clips ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Prediction:
    """A clip that a method makes of a sample.

    Attributes:
        frames: (T, H, W, 3) uint8.
        flow: (H, W, 2) pixels over the exposure, on the middle frame's grid; None where the method
            gives frames alone.
        guidance: (H, W, 2) int8, that the clip follows; None likewise.
    """

    frames: Frames
    flow: Flow | None = None
    guidance: Guidance | None = None

    @property
    def known_flow(self) -> Flow:
        """The flow of a clip that has one."""
        assert self.flow is not None
        return self.flow


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoredClip(Prediction):
    """A clip in the order that counts, and its PSNR.

    Attributes:
        psnr: (T,) dB of each frame.
        given: dB, mean over the frames in the order in which they were given.
        backwards: dB, the same of the reversed clip.
    """

    psnr: NDArray[np.float64]
    given: float
    backwards: float

    @property
    def better(self) -> float:
        """dB, in the better of the two orders."""
        return max(self.given, self.backwards)

    def scores(self, key: str = "psnr") -> dict[str, float]:
        """PSNR as it stands in rows: of the clip, and of its first, middle and last frame.

        Args:
            key: of the mean, and what those of the two orders begin with.
        """
        first, middle, last = self.psnr[[0, len(self.psnr) // 2, -1]]
        means = {f"{key}_given": self.given, f"{key}_better": self.better, key: self.psnr.mean()}
        return {**means, "first": first, "middle": middle, "last": last}


class Scorer:
    """Compares clips with the truth of one sample, over its `judged` pixels.

    A method whose clips have no temporal direction (`Method.order_invariant`) is scored in the
    better of the two orders: one choice for the whole clip, its frames and its flow.

    Args:
        sample: with its truth.
        instants: how many frames are compared, evenly over the exposure; None for all.
    """

    def __init__(self, sample: Sample, instants: int | None = None) -> None:
        self.sample = sample
        total = len(sample.frames)
        self.truth = sample.frames[evenly_spaced(total, instants or total)]
        still = np.broadcast_to(sample.photo, self.truth.shape)
        nothing = None if sample.flow is None else np.zeros_like(sample.flow)
        self.photo = self.clip(Prediction(still, nothing))
        """The photo repeated."""

    def clip(self, prediction: Prediction, order_invariant: bool = False) -> ScoredClip:
        """A clip with its PSNR; of more frames than are compared, those at their instants."""
        frames, flow = prediction.frames, prediction.flow
        if len(frames) != len(self.truth):
            frames = frames[evenly_spaced(len(frames), len(self.truth))]
        psnr = given = frame_psnr(frames, self.truth, self.sample.judged)
        backwards = frame_psnr(frames[::-1], self.truth, self.sample.judged)
        if order_invariant and backwards.mean() > given.mean():
            frames, flow, psnr = frames[::-1], None if flow is None else -flow, backwards
        means = {"given": float(given.mean()), "backwards": float(backwards.mean())}
        guidance = prediction.guidance
        return ScoredClip(frames=frames, flow=flow, guidance=guidance, psnr=psnr, **means)

    def clips(self, method: Method) -> list[ScoredClip]:
        """All clips of a method, the likeliest first."""
        return [self.clip(one, method.order_invariant) for one in method.predict(self.sample)]

    def best_clips(self, methods: Iterable[Method]) -> Iterator[tuple[Label, ScoredClip, float]]:
        """The photo repeated, then the rows of each method, as `best_of` has them.

        Yields:
            The label of the row, the clip, and the highest PSNR of its tries in either order.
        """
        yield PHOTO, self.photo, self.photo.better
        for method in methods:
            for tries, best, better in best_of(self.clips(method), method.tries):
                yield method.label(tries), best, better

    def mean(self, metric: Metric, clip: ScoredClip, indices: Iterable[int]) -> float:
        """The mean of a metric over some frames of a clip, each compared with the true one."""
        return float(np.mean([metric(clip.frames[i], self.truth[i]) for i in indices]))


def best_of(
    clips: Sequence[ScoredClip], tries: Iterable[int]
) -> Iterator[tuple[int, ScoredClip, float]]:
    """The best of the first few clips: that one gives all its scores.

    The authors' script of Zhong 2022 takes each score's own best.

    Args:
        clips: the likeliest first; of none nothing is the best.
        tries: how many of them.

    Yields:
        Each number of tries, the clip with the highest PSNR in the order in which it was given, and
        the highest PSNR of all of them in either order.
    """
    for count in tries if clips else ():
        some = clips[:count]
        yield count, max(some, key=lambda clip: clip.given), max(clip.better for clip in some)


def frame_psnr(frames: Frames, truth: Frames, mask: Mask | None = None) -> NDArray[np.float64]:
    """(T,) dB of each frame, at most `MAX_PSNR`."""
    pairs = zip(frames, truth, strict=True)
    return np.array([min(psnr(frame, target, mask), MAX_PSNR) for frame, target in pairs])


def ends_and_middle(count: int) -> tuple[int, ...]:
    """Indices of the first, middle and last of some frames; of one frame its own."""
    return tuple(dict.fromkeys((0, count // 2, count - 1)))


# --- motion ---------------------------------------------------------------------------------------


def moving_pixels(flow: Flow) -> Mask:
    """(H, W) bool: what moves by `STILL_THRESHOLD` or more over the exposure."""
    return np.asarray(magnitude(flow) >= STILL_THRESHOLD)


def fraction(right: Mask, where: Mask) -> float:
    """The fraction of some pixels that are right; 0 of none."""
    return float(right[where].mean()) if where.any() else 0.0


def direction_accuracy(flow: Flow, truth: Flow, where: Mask) -> float:
    """The fraction of some pixels whose motion is less than a right angle from the true one."""
    return fraction((flow * truth).sum(axis=-1) > 0, where)


def epe_ratio(row: Row) -> float | None:
    """The end-point error of a row over that of no motion; None where nothing moves."""
    return row["epe"] / row["epe_zero"] if row["epe_zero"] else None
