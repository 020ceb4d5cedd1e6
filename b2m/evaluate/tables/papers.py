"""The tables of the three papers, on open data.

Frames are judged in the order in which they are given where guidance says which way things went;
methods without temporal direction have the better of their two, one choice for the whole clip. Both
figures are always shown. Best of N: of the first N clips the one with the highest PSNR gives all
its scores (the authors' script of Zhong 2022 takes each score's own best). Methods whose weights
are not there have a row that says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from b2m.assets import runs_folder
from b2m.data.datasets import records_of
from b2m.data.rotation import RotationConfig
from b2m.data.sample import Sample
from b2m.errors import InputError
from b2m.evaluate.methods import Method, no_motion, recipe_of
from b2m.evaluate.paper_tables import PAPER_TABLES, PaperSpec
from b2m.evaluate.report import Row
from b2m.evaluate.scoring import (
    MIN_MOVING,
    PHOTO,
    Label,
    Mask,
    ScoredClip,
    Scorer,
    Scores,
    ScoresOfRows,
    ends_and_middle,
    epe_ratio,
    method_of,
    moving_pixels,
)
from b2m.evaluate.table import COST_COLUMNS, NO_COST, Group, Options, Rows, Table
from b2m.evaluate.test_sets import INSTANTS, built_samples, rotation_samples, video_samples
from b2m.metrics import epe, flow_epe_either_sign, load_lpips, ssim
from b2m.motion.fields import STILL_THRESHOLD, magnitude, to_first_grid
from b2m.registry import register_table
from b2m.visualize import plots
from b2m.visualize.plots import PhotoScores

ZERO = "no motion"
_ZERO = no_motion(ZERO)

_COMPACT = (
    "Compact forms differ from the papers' own: the restorer and BlurFlowNet see the photo's local "
    "contrast and have batch norms, the restorer sees the photo transposed, too (not in earlier "
    "runs), BlurFlowNet predicts axes without a sign, at a quarter of the resolution (at half in "
    "earlier runs), and the decomposer's "
    "first stage gives a change of the photo, which the paper leaves to the second. Recipes ending "
    "in -paper train the papers' own."
)
_BUILT = (
    "Measured on data sets that were built, whole photos at their own size; what is said below of "
    "scenes and clips is of the usual groups."
)

_LPIPS_EVERY = 5  # samples: it takes longer than all the rest

COLUMNS = {
    "samples": ("n", "d"),
    "psnr": ("PSNR", ".2f"),
    "gain": ("over photo", "+.2f"),
    "psnr_given": ("given order", ".2f"),
    "psnr_better": ("better order", ".2f"),
    "first": ("first", ".2f"),
    "middle": ("middle", ".2f"),
    "last": ("last", ".2f"),
    "ssim": ("SSIM", ".4f"),
    "lpips": ("ST-LPIPS", ".4f"),
    "epe": ("EPE", ".2f"),
    "epe_first": ("EPE, first grid", ".2f"),
    "epe_ratio": ("of zero", ".2f"),
    "epe_moving": ("EPE moving", ".2f"),
    **COST_COLUMNS,
    "paper": ("paper", ".2f"),
}


class PaperTable(Table):
    """One table of a paper.

    Args:
        options: what it is computed from.
        methods: what is compared; None for those of the table whose weights are there.
    """

    columns = COLUMNS
    default_samples = 60  # of each group: kinds of scenes, rotation, each real clip
    compares_models = True
    takes_data = True
    measures_costs = True
    required_keys = ("psnr",)
    spec: ClassVar[PaperSpec]

    def __init__(self, options: Options, methods: Sequence[Method] | None = None) -> None:
        super().__init__(options, methods)
        self.built = [self.data_set(folder) for folder in options.data]
        self.photo_scores: list[PhotoScores] = []
        self.lpips = None if self.spec.flow else load_lpips()
        self.seen = 0

    def load_methods(self) -> Sequence[Method]:
        """The methods of the table whose weights are there."""
        there = self.find_methods(self.spec.methods)
        if not there:
            wanted = ", ".join(sorted({recipe_of(name) for name in self.missing}))
            raise InputError(f"no weights for this table: train any of {wanted} first")
        return there

    def data_set(self, folder: str) -> Group:
        """The split of a data set that was built, evenly as many samples as are asked for.

        Raises:
            InputError: it is no whole data set, has none of the split, or its frames are too few.
        """
        only_middle = self.spec.instants == 1 and not self.spec.flow
        records = records_of(folder, self.options.split, motion=not only_middle)
        least = 1 if self.spec.flow else self.spec.instants
        for one in records:
            if one.frames < least:
                raise InputError(
                    f"sample {one.number} of {folder} has {one.frames} sharp frames, and this "
                    f"table judges {least}: build it with more (--frames)"
                )
        chosen = records[:: max(1, -(-len(records) // (self.sample_count or len(records))))]
        # The paper's numbers are of these data sets, where it names them.
        found = {"aist": "movers", "genblur": "camera"}
        found |= dict.fromkeys(("panorama", "rotation"), "rotation")
        kind = found.get(records[0].recipe, "video")
        name = Path(folder).resolve().name
        return Group(name, built_samples(folder, chosen), len(chosen), kind=kind)

    def groups(self) -> Iterator[Group]:
        """Those of the paper's table: kinds of scenes, rotation, each real clip."""
        options, count, wanted = self.options, self.sample_count or 0, self.spec.groups
        if options.data:
            yield from self.built
            return
        number = 3 * options.seed
        if "movers" in wanted:
            yield self.scene_group("movers", "movers", count, number)
        if "camera" in wanted:
            yield self.scene_group("camera", "camera", count, number + 1)
        if "rotation" in wanted:
            turning = RotationConfig(size=self.size, blur=self.blur)
            found = rotation_samples(
                options.photos, turning, count, split=options.split, number=(number + 2) << 20
            )
            yield Group("rotation", found, count, kind="rotation")
        if "video" in wanted:
            for path in self.clip_paths():
                yield Group(path.stem, video_samples(path, count), count, kind="video")

    def score(self, sample: Sample) -> Iterator[tuple[Label, Scores]]:
        """Nothing where hardly anything moves."""
        if sample.flow is None:  # a pair without motion
            yield from self.frame_scores(sample)
            return
        moving = moving_pixels(sample.flow)
        if moving.mean() >= MIN_MOVING:
            flow = self.spec.flow
            yield from self.flow_scores(sample, moving) if flow else self.frame_scores(sample)

    def flow_scores(self, sample: Sample, moving: Mask) -> Iterator[tuple[Label, Scores]]:
        """Errors of motion, of the better sign."""
        truth = sample.known_flow
        first = to_first_grid(truth)
        for method in (_ZERO, *self.methods):
            flow = method.motion(sample)
            scores = {
                "epe": flow_epe_either_sign(flow, truth),
                # The first frame of one sign is the last of the other.
                "epe_first": min(epe(to_first_grid(sign * flow), first) for sign in (1, -1)),
                "epe_zero": epe(np.zeros_like(flow), truth),
                "epe_moving": flow_epe_either_sign(flow, truth, moving),
            }
            yield method.name, scores

    def frame_scores(self, sample: Sample) -> Iterator[tuple[Label, Scores]]:
        """Scores of frames: of the photo repeated, and of each method by its tries."""
        several = self.spec.instants > 1
        longest = 0.0 if sample.flow is None else float(magnitude(sample.flow).max())
        lpips = self.lpips if self.seen % _LPIPS_EVERY == 0 else None
        self.seen += 1
        scorer = Scorer(sample, self.spec.instants)
        shown = ends_and_middle(len(scorer.truth))

        @cache
        def scored(name: str, clip: ScoredClip) -> Scores:
            self.photo_scores.append(PhotoScores(name, clip.psnr, longest))
            mean = clip.psnr.mean()
            scores = {"psnr": mean, "gain": mean - scorer.photo.given}
            scores["ssim"] = scorer.mean(ssim, clip, shown)
            if several:
                scores |= clip.scores()
            if lpips is not None:
                scores["lpips"] = scorer.mean(lpips, clip, shown)
            return scores

        for label, clip, better in scorer.best_clips(self.methods):
            more = {"psnr_better": better} if several else {}
            yield label, {**scored(method_of(label), clip), **more}

    def finish(self, group: Group, rows: Rows, scores: ScoresOfRows) -> Iterable[Row]:
        """Add ratios, the papers' numbers, and what was not run."""
        if self.spec.flow:
            for row in rows.values():
                row["epe_ratio"] = epe_ratio(row)
        empty = {"name": f"{group.name}: nothing in it moves enough", "samples": 0, **NO_COST}
        rows = rows or {"": empty}
        for label, row in self.not_run(group.name).items():
            rows[label] = row | {"psnr": None, **NO_COST}
        for label, row in rows.items():
            row["paper"] = self.spec.published(group.kind, label)
        return rows.values()

    def notes(self) -> list[str]:
        """What was measured, and how."""
        notes = [
            self.spec.finding,
            *([_BUILT] if self.options.data else []),
            f"Up to {self.sample_count} photos of each group from the {self.options.split} split"
            f"{self.texture_remark}. movers, camera, rotation: rendered, {self.size}x{self.size}, "
            f"longest blur {self.blur[0]:g} to {self.blur[1]:g} px, with sensor noise and 8 bits. "
            f"Others: every {INSTANTS} frames of a real clip averaged in linear light, judged at "
            f"what something moving by {STILL_THRESHOLD:g} px or more crosses; their motion is "
            "optical flow (DIS) between sharp frames, an estimate. Left out where under "
            f"{MIN_MOVING:.1%} move.",
            self.spec.budget,
            _COMPACT,
            self.cost_note("the network alone") + " paper: the paper's own PSNR (mean of its "
            "frames) or EPE, on its own data, at its own size and budget: compare the order of "
            "rows, not numbers.",
        ]
        if self.spec.flow:
            return [
                *notes,
                "EPE in pixels of the better sign, one for the whole photo, on the middle frame's "
                "grid and, as in the paper, on the first's. Jin, VideoRestorer: "
                "optical flow (DIS) from the first to the last of their frames.",
            ]
        judged_frames, seen = (
            f"{self.spec.instants} frames of each clip are judged, evenly from its first to its "
            "last.",
            "SSIM of the first, middle and last, whole.",
        )
        if self.spec.instants == 1:
            judged_frames, seen = "The middle frame alone is judged.", "SSIM of the whole frame."
        return [
            *notes,
            "PSNR: in the given order for what guidance directs and best of N, in the better order "
            "for the others; first, middle, last and SSIM as PSNR. "
            f"{judged_frames} {seen} "
            "ST-LPIPS (Ghildyal and Liu 2022), where its package is installed: of the same frames "
            f"of every {_LPIPS_EVERY}th photo.",
        ]

    def draw(self, folder: Path, rows: Sequence[Row]) -> list[Path]:
        """The table as bars, and the figures of the paper that go with it."""
        name = self.name
        written = [folder / f"{name}.png"]
        if self.spec.flow:
            plots.draw_table(written[0], name, rows, "epe", "EPE (px)")
        else:
            plots.draw_table(written[0], name, rows, "gain", "PSNR over the photo repeated (dB)")
        # Scores of each photo are those of this run; where it left out methods, figures stay.
        complete = not self.options.methods
        if name == "2021a-T1" and complete:
            written.append(folder / f"{name}-blur.png")
            plots.draw_blur(written[1], self.photo_scores, [PHOTO, *self.spec.methods])
        elif name == "2021a-T2" and complete:
            written.append(folder / f"{name}-errors.png")
            shown = ["Jin", "VideoRestorer", "animator, better order"]
            plots.draw_errors(written[1], self.photo_scores, shown)
        elif self.spec.curves:
            logs = {
                label: runs_folder() / recipe / "log.jsonl"
                for label, recipe in self.spec.curves.items()
            }
            if all(log.is_file() for log in logs.values()):  # else a figure of before stays
                written.append(folder / f"{name}-training.png")
                label = "clip PSNR, better order (dB)"
                plots.draw_training(written[1], logs, "psnr", label)
        return written


for _name, _spec in PAPER_TABLES.items():
    _values = {
        "__doc__": _spec.title,
        "spec": _spec,
        "required_inputs": ("clips",) if _spec.groups == ("video",) else (),
    }
    register_table(_name)(type("PaperTable", (PaperTable,), _values))
