"""The tables "scenes", "enlarged", "large" and "clips": how good the animator is.

A clip made with true guidance is scored in the order in which it is given; one made without, in the
better of its two orders, one choice for the whole clip, its frames and its flow (see
`b2m.evaluate.scoring.Scorer`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from b2m.data.clips import flow_over, read_windows
from b2m.data.sample import Sample
from b2m.data.swept import swept_mask
from b2m.evaluate.methods import (
    COST_RUNS,
    Method,
    animator_methods,
    enlarged_methods,
    large_methods,
)
from b2m.evaluate.report import Row
from b2m.evaluate.scoring import (
    MAX_PSNR,
    MIN_MOVING,
    PHOTO,
    Label,
    ScoredClip,
    Scorer,
    Scores,
    ScoresOfRows,
    ends_and_middle,
    epe_ratio,
    frame_psnr,
    moving_pixels,
)
from b2m.evaluate.table import COST_COLUMNS, Group, Options, Rows, Table
from b2m.inference.animator import BlurAnimator
from b2m.metrics import epe, sharpness, shift_tolerant_psnr, ssim
from b2m.motion.fields import STILL_THRESHOLD
from b2m.registry import register_table

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
    **COST_COLUMNS,
}


class AnimatorTable(Table):
    """What the tables of the animator share: how a clip is scored."""

    columns = COLUMNS
    std_keys = ("psnr", "psnr_moving", "gain", "gain_moving")
    measures_costs = True
    make_methods = staticmethod(animator_methods)

    def load_methods(self) -> Sequence[Method]:
        """The animator with the options' weights."""
        return self.make_methods(BlurAnimator.from_pretrained(self.options.weights))

    def score(self, sample: Sample) -> Iterator[tuple[Label, Scores]]:
        """The photo repeated, then the first clip of every method, with its gain over that."""
        scorer = Scorer(sample)
        base: dict[str, Any] = {}
        for label, clip, _ in scorer.best_clips(self.methods):
            scores = self.clip_scores(scorer, clip)
            base = base or dict(scores)
            for key, gain in (("psnr", "gain"), ("psnr_moving", "gain_moving")):
                if key in scores:
                    scores[gain] = scores[key] - base[key]
            yield label, scores

    def ssim_frames(self, count: int) -> Iterable[int]:
        """Indices of the frames whose SSIM is taken."""
        return range(count)

    def clip_scores(self, scorer: Scorer, clip: ScoredClip) -> dict[str, Any]:
        """Every score of one clip."""
        flow, truth, mask = clip.known_flow, scorer.sample.known_flow, scorer.sample.judged
        middle = len(clip.psnr) // 2
        centre = clip.frames[middle], scorer.truth[middle]
        scores: dict[str, Any] = {
            **clip.scores("psnr" if mask is None else "psnr_moving"),
            "non_middle": np.delete(clip.psnr, middle).mean(),
            "gain_per_frame": clip.psnr - scorer.photo.psnr,
            "ssim": scorer.mean(ssim, clip, self.ssim_frames(len(clip.psnr))),
            "epe": epe(flow, truth),
            "epe_zero": epe(np.zeros_like(flow), truth),
            "middle_ssim": ssim(*centre),
        }
        moving = moving_pixels(truth)
        if moving.any():
            scores["shift_tolerant"] = min(shift_tolerant_psnr(*centre, moving), MAX_PSNR)
            scores["sharpness"] = sharpness(*centre, moving)
        if mask is not None:
            scores["psnr"] = frame_psnr(clip.frames, scorer.truth).mean()
            scores["epe_moving"] = epe(flow, truth, mask)
        return scores

    def finish(self, group: Group, rows: Rows, scores: ScoresOfRows) -> Iterable[Row]:
        """Add ratios, and the gain of the frame that gains least."""
        for label, row in rows.items():
            gains = [one["gain_per_frame"] for one in scores[label]]
            if gains:
                row["epe_ratio"] = epe_ratio(row)
            if len({len(gain) for gain in gains}) == 1:
                row["gain_least_frame"] = float(np.mean(gains, axis=0).min())
        return rows.values()

    def cost_notes(self) -> list[str]:
        """How costs were measured, where they were."""
        return [self.cost_note(f"7 frames, median of up to {COST_RUNS} runs")] if self.costs else []


@register_table("scenes")
class ScenesTable(AnimatorTable):
    """Rendered scenes of several movers before a static camera, and of camera motion."""

    default_samples = 200

    def groups(self) -> Iterator[Group]:
        """Half of the samples of each kind."""
        return self.half_movers_half_camera("all")

    def notes(self) -> list[str]:
        """What was measured, and how."""
        return [
            f"{self.sample_count} scenes of {self.size}x{self.size} from the {self.options.split} "
            f"split{self.texture_remark}, longest blur {self.blur[0]:g} to {self.blur[1]:g} px, 7 "
            "frames, photo with sensor noise and 8 bits.",
            "movers: several things move before a static camera; camera: the camera moves. "
            "least gain: of the frame whose mean gain is least. "
            f"PSNR of 8-bit sRGB; where a frame is exact it counts as {MAX_PSNR:g} dB.",
            *self.cost_notes(),
        ]


@register_table("clips")
class ClipsTable(AnimatorTable):
    """Real clips, averaged into blurred photos; --samples is of each clip."""

    default_samples = 40
    required_inputs = ("clips",)
    shows_std = True
    row_labels = (PHOTO,)

    def __init__(self, options: Options, methods: Sequence[Method] | None = None) -> None:
        super().__init__(options, methods)
        self.left_out: dict[str, list[int]] = {}

    def groups(self) -> Iterator[Group]:
        """A group for each clip."""
        for path in self.clip_paths():
            self.left_out[path.stem] = self.seen = [0, 0]
            yield Group(path.stem, read_windows(path, self.sample_count), unit="window")

    def score(self, sample: Sample) -> Iterator[tuple[Label, Scores]]:
        """The same as of scenes, where enough moves; the truth is an estimate."""
        self.seen[1] += 1
        flow = flow_over(sample.frames)
        if moving_pixels(flow).mean() < MIN_MOVING:
            self.seen[0] += 1
        else:
            yield from super().score(sample._replace(flow=flow, judged=swept_mask(flow)))

    def ssim_frames(self, count: int) -> Iterable[int]:
        """First, middle and last: whole frames are large."""
        return ends_and_middle(count)

    def notes(self) -> list[str]:
        """What was measured, and how."""
        left_out = "; ".join(
            f"{out} of {seen} in {name}" for name, (out, seen) in self.left_out.items()
        )
        return [
            "Runs of 7, 9, 11, 13 and 15 frames in turn, every third frame a start, averaged in "
            "linear light; mean ± standard deviation over them. "
            f"Left out, as under {MIN_MOVING:.1%} of the pixels move: {left_out}.",
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

    measures_costs = False
    make_methods = staticmethod(enlarged_methods)


@register_table("large")
class LargeTable(ScenesTable):
    """Scenes larger than what is encoded as a whole, and tile by tile."""

    size = 768
    measures_costs = False
    make_methods = staticmethod(large_methods)
