"""The tables "scenes", "enlarged", "large" and "clips": how good the animator is.

A clip made with true guidance is judged in the order in which it is given; one made without, in the
better of its two orders, one choice for the whole clip, its frames and its flow (see
`b2m.metrics`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from b2m.data.clips import flow_over, read_windows
from b2m.data.sample import Sample
from b2m.data.swept import swept_mask
from b2m.evaluate import methods
from b2m.evaluate.methods import Predict, Prediction, measure_costs
from b2m.evaluate.report import Row
from b2m.evaluate.scoring import (
    EXACT,
    LEAST_MOVING,
    PHOTO,
    Scores,
    Tally,
    frame_psnr,
    moving_pixels,
)
from b2m.evaluate.table import ALWAYS, Group, Options, Table
from b2m.guidance.quantize import from_flow
from b2m.inference.animator import BlurAnimator
from b2m.metrics import epe, sharpness, shift_tolerant_psnr, ssim
from b2m.motion.fields import STILL_THRESHOLD
from b2m.registry import register_table

SCENE_SIZE = 192
LARGE_SIZE = 768  # pixels
SCENE_BLUR = (4.0, 32.0)

COLUMNS = {
    "samples": ("n", "d"),
    "psnr": ("PSNR", ".2f"),
    "gain": ("gain", "+.2f"),
    "gain_least_frame": ("least gain", "+.2f"),
    "psnr_moving": ("PSNR moving", ".2f"),
    "gain_moving": ("gain moving", "+.2f"),
    "psnr_given": ("given order", ".2f"),
    "psnr_better": ("better order", ".2f"),
    "psnr_moving_given": ("moving, given order", ".2f"),
    "psnr_moving_better": ("moving, better order", ".2f"),
    "first": ("first", ".2f"),
    "middle": ("middle", ".2f"),
    "last": ("last", ".2f"),
    "non_middle": ("non-middle", ".2f"),
    "ssim": ("SSIM", ".4f"),
    "middle_ssim": ("SSIM, middle", ".4f"),
    "shift_tolerant": ("shift-tolerant PSNR, middle, moving", ".2f"),
    "sharpness": ("sharpness, middle, moving", ".2f"),
    "epe": ("EPE", ".2f"),
    "epe_zero": ("EPE of zero", ".2f"),
    "epe_ratio": ("ratio", ".2f"),
    "epe_moving": ("EPE moving", ".2f"),
    "gmacs": ("GMAC", ".1f"),
    "seconds": ("seconds", ".2f"),
}


class AnimatorTable(Table):
    """What the tables of the animator share: how a clip is scored.

    Args:
        options: what it is computed from.
        predict: what is judged; None for the animator with the options' weights.
    """

    columns = COLUMNS
    spread = ("psnr", "psnr_moving", "gain", "gain_moving")

    def __init__(self, options: Options, predict: Predict | None = None) -> None:
        super().__init__(options)
        self.costs: dict[str, methods.Cost] = {}
        self.predict = predict or self.load()

    def load(self) -> Predict:
        """What is judged."""
        animator = BlurAnimator.from_pretrained(self.options.weights)
        self.costs = measure_costs(animator)
        return methods.animator_methods(animator)

    def judge(self, sample: Sample) -> Iterator[tuple[str, Scores]]:
        """The photo repeated, then every prediction with its gain over that."""
        guidance, count = from_flow(sample.known_flow), len(sample.frames)
        still = np.broadcast_to(sample.photo, sample.frames.shape)
        nothing = np.zeros_like(sample.known_flow)
        base = self.score(Prediction(PHOTO, still, nothing, False), sample)
        yield PHOTO, self.gained(base, base)
        for found in self.predict(sample.photo, guidance, count):
            yield found.name, self.gained(self.score(found, sample), base)

    def similar(self, count: int) -> range | tuple[int, ...]:
        """The frames whose SSIM is taken."""
        return range(count)

    def score(self, found: Prediction, sample: Sample) -> dict[str, Any]:
        """Every score of one prediction."""
        frames, flow, truth, mask = found.frames, found.flow, sample.frames, sample.judged
        judged = "psnr" if mask is None else "psnr_moving"
        given, backwards = frame_psnr(frames, truth, mask), frame_psnr(frames[::-1], truth, mask)
        chosen = given
        if found.order_invariant and backwards.mean() > given.mean():
            frames, flow, chosen = frames[::-1], -flow, backwards
        middle = len(chosen) // 2
        scores: dict[str, Any] = {
            f"{judged}_given": given.mean(),
            f"{judged}_better": max(given.mean(), backwards.mean()),
            judged: chosen.mean(),
            **dict(zip(("first", "middle", "last"), chosen[[0, middle, -1]], strict=True)),
            "non_middle": np.delete(chosen, middle).mean(),
            "per_frame": chosen,
            "ssim": np.mean([ssim(frames[i], truth[i]) for i in self.similar(len(truth))]),
            "epe": epe(flow, sample.known_flow),
            "epe_zero": epe(np.zeros_like(flow), sample.known_flow),
        }
        centre, moving = (frames[middle], truth[middle]), moving_pixels(sample.known_flow)
        scores["middle_ssim"] = ssim(*centre)
        if moving.any():
            scores["shift_tolerant"] = min(shift_tolerant_psnr(*centre, moving), EXACT)
            scores["sharpness"] = sharpness(*centre, moving)
        if mask is not None:
            scores["psnr"] = frame_psnr(frames, truth).mean()
            scores["epe_moving"] = epe(flow, sample.known_flow, mask)
        return scores

    @staticmethod
    def gained(scores: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
        """Scores with their gain over the photo repeated."""
        gains = {
            "gain": scores["psnr"] - base["psnr"],
            "gain_per_frame": scores["per_frame"] - base["per_frame"],
        }
        if "psnr_moving" in scores:
            gains["gain_moving"] = scores["psnr_moving"] - base["psnr_moving"]
        return scores | gains

    def finish(self, group: Group, rows: list[Row], tally: Tally) -> list[Row]:
        """Add ratios, the frame that gains least, and costs."""
        for row, scores in zip(rows, tally.scores.values(), strict=True):
            row["epe_ratio"] = row["epe"] / row["epe_zero"] if row["epe_zero"] else None
            gains = [one["gain_per_frame"] for one in scores]
            if len({len(gain) for gain in gains}) == 1:
                row["gain_least_frame"] = float(np.mean(gains, axis=0).min())
            name = row["name"].split(": ", 1)[1]
            if self.costs:
                row["gmacs"], row["seconds"] = self.costs.get(name, (None, None))
        return rows

    def cost_notes(self) -> list[str]:
        """How costs were measured, where they were."""
        height, width = methods.COST_SIZE
        return [
            f"GMAC (convolutions and products) and seconds: a photo of {width}x{height} to 7 "
            f"frames, median of {methods.COST_RUNS} runs, {methods.COST_THREADS} threads."
        ] * bool(self.costs)


@register_table("scenes")
class ScenesTable(AnimatorTable):
    """Rendered scenes: several movers before a static camera, and camera motion."""

    samples = 200

    @property
    def size(self) -> int:
        """Side of the scenes, pixels."""
        return SCENE_SIZE

    def groups(self) -> Iterator[Group]:
        """Half of the samples of each kind."""
        return self.movers_and_camera(self.size, SCENE_BLUR, "all")

    def notes(self) -> list[str]:
        """What was measured, and how."""
        return [
            f"{self.asked} scenes of {self.size}x{self.size} from the {self.options.split} split"
            f"{self.made_up}, longest blur "
            f"{SCENE_BLUR[0]:g} to {SCENE_BLUR[1]:g} px, 7 frames, photo with sensor noise and 8 "
            "bits.",
            "movers: several things move before a static camera; camera: the camera moves. "
            "least gain: of the frame whose mean gain is least. "
            f"PSNR of 8-bit sRGB; where a frame is exact it counts as {EXACT:g} dB.",
            *self.cost_notes(),
        ]


@register_table("clips")
class ClipsTable(AnimatorTable):
    """Windows of real clips, averaged into blurred photos, each clip by itself."""

    samples = 40
    needs = ("clips",)
    shows_spread = True

    def __init__(self, options: Options, predict: Predict | None = None) -> None:
        super().__init__(options, predict)
        self.left_out: dict[str, list[int]] = {}

    def groups(self) -> Iterator[Group]:
        """A group for each clip."""
        for path in self.clips():
            self.left_out[path.stem] = self.seen = [0, 0]
            yield Group(path.stem, read_windows(path, self.asked), unit="window")

    def judge(self, sample: Sample) -> Iterator[tuple[str, Scores]]:
        """The same as of scenes, where enough moves; the truth is an estimate."""
        self.seen[1] += 1
        flow = flow_over(sample.frames)
        if moving_pixels(flow).mean() < LEAST_MOVING:
            self.seen[0] += 1
        else:
            yield from super().judge(sample._replace(flow=flow, judged=swept_mask(flow)))

    def similar(self, count: int) -> range | tuple[int, ...]:
        """First, middle and last: whole frames are large."""
        return (0, count // 2, count - 1)

    def finish(self, group: Group, rows: list[Row], tally: Tally) -> list[Row]:
        """As of scenes; a clip in which nothing moves still has its place in the table."""
        nothing = {"name": f"{group.name}: {PHOTO}", "samples": 0, **dict.fromkeys(ALWAYS)}
        return super().finish(group, rows, tally) or [nothing]

    def notes(self) -> list[str]:
        """What was measured, and how."""
        left_out = "; ".join(
            f"{out} of {seen} in {name}" for name, (out, seen) in self.left_out.items()
        )
        return [
            "Runs of 7, 9, 11, 13 and 15 frames in turn, every third frame a start, averaged in "
            "linear light; mean ± standard deviation over them. "
            f"Left out, as under {LEAST_MOVING:.1%} of the pixels move: {left_out}.",
            f"moving: pixels that something moving by {STILL_THRESHOLD:g} px or more over the "
            "exposure crosses; they choose the order, and first, middle, last and non-middle are "
            "of them. SSIM: whole first, middle and last frame.",
            "Motion, so guidance and EPE too, is measured by optical flow (DIS) between the "
            "frames: an estimate, not the truth.",
            *self.cost_notes(),
        ]


@register_table("enlarged")
class EnlargedTable(ScenesTable):
    """Scenes whose blurred photos were enlarged."""

    def load(self) -> Predict:
        """One row for each size."""
        return methods.enlarged_methods(BlurAnimator.from_pretrained(self.options.weights))


@register_table("large")
class LargeTable(ScenesTable):
    """Scenes larger than what is encoded as a whole."""

    @property
    def size(self) -> int:
        """Side of the scenes, pixels."""
        return LARGE_SIZE

    def load(self) -> Predict:
        """Encoded as a whole, and again tile by tile."""
        return methods.large_methods(BlurAnimator.from_pretrained(self.options.weights))
