"""The tables of the three papers, on open data.

Frames are judged in the order in which they are given where guidance says which way things went;
methods without temporal direction have the better of their two, one choice for the whole clip. Both
figures are always shown. Best of N: of the first N clips the one with the highest PSNR gives all
its scores (the authors' script of Zhong 2022 takes each score's own best). Methods whose weights
are not there have a row that says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from b2m.assets import runs_folder
from b2m.data.datasets import records_of
from b2m.data.rotation import RotationConfig
from b2m.data.sample import Sample
from b2m.data.scenes import Kind, SceneConfig
from b2m.errors import InputError
from b2m.evaluate.methods import Cost, Method, find_methods, recipe_of
from b2m.evaluate.paper_tables import PAPER_TABLES, PaperTable
from b2m.evaluate.report import NOT_RUN, Row
from b2m.evaluate.scoring import (
    LEAST_MOVING,
    PHOTO,
    Frames,
    Mask,
    Scores,
    Tally,
    best_of,
    frame_psnr,
    moving_pixels,
)
from b2m.evaluate.table import Group, Options, Table
from b2m.evaluate.test_sets import INSTANTS, built_samples, rotation_samples, video_samples
from b2m.metrics import epe, flow_epe_either_sign, load_lpips, ssim
from b2m.motion.fields import STILL_THRESHOLD, Flow, to_first_grid
from b2m.motion.orientation import length_of
from b2m.registry import register_table
from b2m.tensors import evenly_spaced
from b2m.visualize import plots
from b2m.visualize.plots import PhotoScores

SIZE = 192
BLUR = (4.0, 32.0)

ZERO = "no motion"

_COMPACT = (
    "Compact forms differ from the papers' own: the restorer and BlurFlowNet see the photo's local "
    "contrast and have batch norms, BlurFlowNet predicts axes without a sign, and the decomposer's "
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
    "gmacs": ("GMAC", ".1f"),
    "seconds": ("seconds", ".2f"),
    "paper": ("paper", ".2f"),
}


class TableOfPaper(Table):
    """One table of a paper.

    Args:
        options: what it is computed from.
        methods: what is compared; None for those of the table whose weights are there.
    """

    columns = COLUMNS
    samples = 60  # of each group: kinds of scenes, rotation, each real clip
    many_models = True
    takes_data = True
    always = ("psnr",)
    paper: ClassVar[PaperTable]

    def __init__(self, options: Options, methods: Sequence[Method] | None = None) -> None:
        super().__init__(options)
        self.missing: list[str] = []
        self.costs: dict[str, Cost] = {}
        self.built = [self.data_set(folder) for folder in options.data]
        self.methods = self.find() if methods is None else methods
        self.everything: list[PhotoScores] = []
        self.lpips = None if self.paper.flow else load_lpips()
        self.seen = 0

    def find(self) -> list[Method]:
        """The methods whose weights are there, and what they cost."""
        names = tuple(self.paper.methods)
        there, self.missing, self.costs = find_methods(names, self.options.weights)
        if not there:
            wanted = ", ".join(sorted({recipe_of(name) for name in names}))
            raise InputError(f"no weights for this table: train any of {wanted} first")
        return there

    def data_set(self, folder: str) -> Group:
        """The split of a data set that was built, evenly as many samples as are asked for.

        Raises:
            InputError: it is no whole data set, has none of the split, or its frames are too few.
        """
        only_middle = self.paper.instants == 1 and not self.paper.flow
        records = records_of(folder, self.options.split, motion=not only_middle)
        least = 1 if self.paper.flow else self.paper.instants
        for one in records:
            if one.frames < least:
                raise InputError(
                    f"sample {one.number} of {folder} has {one.frames} sharp frames, and this "
                    f"table judges {least}: build it with more (--frames)"
                )
        chosen = records[:: max(1, -(-len(records) // (self.asked or len(records))))]
        # The paper's numbers are of these data sets, where it names them.
        found = {"aist": "movers", "genblur": "camera"}
        found |= dict.fromkeys(("panorama", "rotation"), "rotation")
        kind = found.get(records[0].recipe, "video")
        name = Path(folder).resolve().name
        return Group(name, built_samples(folder, chosen), len(chosen), kind=kind)

    def groups(self) -> Iterator[Group]:
        """Those of the paper's table: kinds of scenes, rotation, each real clip."""
        options, count, wanted = self.options, self.asked or 0, self.paper.groups
        if options.data:
            yield from self.built
            return
        kinds: tuple[Kind, ...] = ("movers", "camera")
        found: Iterator[Sample]
        for place, kind in enumerate(kinds):
            if kind in wanted:
                config = SceneConfig(size=SIZE, blur=BLUR, kind=kind)
                found = self.scenes(config, count, 3 * options.seed + place)
                yield Group(kind, found, count, kind=kind)
        if "rotation" in wanted:
            turning, number = RotationConfig(size=SIZE, blur=BLUR), (options.seed * 3 + 2) << 20
            found = rotation_samples(
                options.photos, turning, count, split=options.split, number=number
            )
            yield Group("rotation", found, count, kind="rotation")
        if "video" in wanted:
            for path in self.clips():
                yield Group(path.stem, video_samples(path, count), count, kind="video")

    def judge(self, sample: Sample) -> Iterator[tuple[str, Scores]]:
        """Nothing where hardly anything moves."""
        if sample.flow is None:  # a pair without motion
            yield from self.frames(sample)
            return
        moving = moving_pixels(sample.known_flow)
        if moving.mean() >= LEAST_MOVING:
            yield from self.flows(sample, moving) if self.paper.flow else self.frames(sample)

    def flows(self, sample: Sample, moving: Mask) -> Iterator[tuple[str, Scores]]:
        """Errors of motion, of the better sign."""

        first = to_first_grid(sample.known_flow)

        def scored(flow: Flow) -> Scores:
            return {
                "epe": flow_epe_either_sign(flow, sample.known_flow),
                # The first frame of one sign is the last of the other.
                "epe_first": min(epe(to_first_grid(sign * flow), first) for sign in (1, -1)),
                "epe_zero": epe(np.zeros_like(flow), sample.known_flow),
                "epe_moving": flow_epe_either_sign(flow, sample.known_flow, moving),
            }

        yield ZERO, scored(np.zeros_like(sample.known_flow))
        for method in self.methods:
            yield method.name, scored(method.motion(sample))

    def frames(self, sample: Sample) -> Iterator[tuple[str, Scores]]:
        """Scores of frames: of the photo repeated, and of each method by its tries."""
        instants = self.paper.instants
        longest = 0.0 if sample.flow is None else float(length_of(sample.flow).max())
        perceived = self.lpips if self.seen % _LPIPS_EVERY == 0 else None
        self.seen += 1
        truth = sample.frames[evenly_spaced(len(sample.frames), instants)]
        still = np.broadcast_to(sample.photo, truth.shape)
        base = frame_psnr(still, truth, sample.judged).mean()

        def scored(name: str, frames: Frames, order_invariant: bool) -> dict[str, Any]:
            given = frame_psnr(frames, truth, sample.judged)
            backwards = frame_psnr(frames[::-1], truth, sample.judged)
            chosen = given
            if order_invariant and backwards.mean() > given.mean():
                frames, chosen = frames[::-1], backwards
            self.everything.append(PhotoScores(name, chosen, longest))
            ends = tuple(dict.fromkeys((0, len(chosen) // 2, len(chosen) - 1)))
            pairs = [(frames[index], truth[index]) for index in ends]
            scores: dict[str, Any] = {
                "psnr": chosen.mean(),
                "gain": chosen.mean() - base,
                "ssim": np.mean([ssim(*pair) for pair in pairs]),
            }
            if instants > 1:
                scores |= {
                    "psnr_given": given.mean(),
                    "psnr_better": max(given.mean(), backwards.mean()),
                    **dict(zip(("first", "middle", "last"), chosen[list(ends)], strict=True)),
                }
            if perceived is not None:
                scores["lpips"] = np.mean([perceived(*pair) for pair in pairs])
            return scores

        yield PHOTO, scored(PHOTO, still, False)
        for method in self.methods:
            clips = [clip[evenly_spaced(len(clip), instants)] for clip in method.clips(sample)]
            given = [frame_psnr(clip, truth, sample.judged).mean() for clip in clips]
            backwards = [frame_psnr(clip[::-1], truth, sample.judged).mean() for clip in clips]
            results: dict[int, dict[str, Any]] = {}
            for tries in method.tries if clips else ():
                best = best_of(given, tries)
                name = f"{method.name}, best of {tries}" if len(method.tries) > 1 else method.name
                if best not in results:
                    results[best] = scored(name, clips[best], method.order_invariant)
                better = max(given[:tries] + backwards[:tries])
                yield name, results[best] | ({"psnr_better": better} if instants > 1 else {})

    def finish(self, group: Group, rows: list[Row], tally: Tally) -> list[Row]:
        """Add ratios, the papers' numbers, costs, and what was not run."""
        if not rows:
            rows = [{"name": f"{group.name}: nothing in it moves enough", "samples": 0}]
        elif self.paper.flow:
            for row in rows:
                row["epe_ratio"] = row["epe"] / row["epe_zero"] if row["epe_zero"] else None
        rows += [{"name": f"{group.name}: {name}{NOT_RUN}", "psnr": None} for name in self.missing]
        for row in rows:
            name = row["name"].removeprefix(f"{group.name}: ").removesuffix(NOT_RUN)
            row["paper"] = self.paper.published(group.kind, name)
            maker = name.rsplit(", best of", 1)[0]
            row["gmacs"], row["seconds"] = self.costs.get(maker, (None, None))
        return rows

    def notes(self) -> list[str]:
        """What was measured, and how."""
        notes = [
            self.paper.found,
            *([_BUILT] if self.options.data else []),
            f"Up to {self.asked} photos of each group from the {self.options.split} split"
            f"{self.made_up}. movers, camera, rotation: rendered, {SIZE}x{SIZE}, longest blur "
            f"{BLUR[0]:g} to {BLUR[1]:g} px, with sensor noise and 8 bits. Others: every "
            f"{INSTANTS} frames of a real clip averaged in linear light, judged at what something "
            f"moving by {STILL_THRESHOLD:g} px or more crosses; their motion is optical flow (DIS) "
            f"between sharp frames, an estimate. Left out where under {LEAST_MOVING:.1%} move.",
            self.paper.budget,
            _COMPACT,
            "GMAC (convolutions and products) and seconds (2 threads): the network alone, a photo "
            "of 960x540. paper: the paper's own PSNR (mean of its frames) or EPE, on its own data, "
            "at its own size and budget: compare the order of rows, not numbers.",
        ]
        if self.paper.flow:
            return [
                *notes,
                "EPE in pixels of the better sign, one for the whole photo, on the middle frame's "
                "grid and, as in the paper, on the first's. Jin, VideoRestorer: "
                "optical flow (DIS) from the first to the last of their frames.",
            ]
        judged_frames, seen = (
            f"{self.paper.instants} frames of each clip are judged, evenly from its first to its "
            "last.",
            "SSIM of the first, middle and last, whole.",
        )
        if self.paper.instants == 1:
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
        if self.paper.flow:
            plots.draw_table(written[0], name, rows, "epe", "EPE (px)")
        else:
            plots.draw_table(written[0], name, rows, "gain", "PSNR over the photo repeated (dB)")
        if name == "2021a-T1":
            written.append(folder / f"{name}-blur.png")
            plots.draw_blur(written[1], self.everything, [PHOTO, *self.paper.methods])
        elif name == "2021a-T2":
            written.append(folder / f"{name}-errors.png")
            shown = ["Jin", "VideoRestorer", "animator, better order"]
            plots.draw_errors(written[1], self.everything, shown)
        elif self.paper.curves:
            logs = {
                label: runs_folder() / recipe / "log.jsonl"
                for label, recipe in self.paper.curves.items()
            }
            if all(log.is_file() for log in logs.values()):  # else a figure of before stays
                written.append(folder / f"{name}-training.png")
                label = "clip PSNR, better order (dB)"
                plots.draw_training(written[1], logs, "psnr", label)
        return written


for _name, _paper in PAPER_TABLES.items():
    _needs = ("clips",) if _paper.groups == ("video",) else ()
    _values = {"paper": _paper, "needs": _needs}
    register_table(_name)(type("TableOfPaper", (TableOfPaper,), _values))
