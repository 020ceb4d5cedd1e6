"""The tables of the three papers, on open data: who competes, on what, and how they are judged.

Frames are judged in the order in which they are given where guidance says which way things went;
what knows no order has the better of its two, one choice for the whole clip. Both figures are
always shown. Best of N: of the first N clips the one with the highest PSNR gives all its scores
(the authors' script of Zhong 2022 takes each score's own best). Models whose weights are not there
have a row that says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from b2m.data.rotation import RotationConfig
from b2m.data.scenes import Kind, SceneConfig
from b2m.errors import InputError
from b2m.evaluate.methods import Contender, Frames, Weights, cost, find_contender, recipe_of
from b2m.evaluate.paper_tables import TABLES, PaperTable
from b2m.evaluate.report import Row
from b2m.evaluate.test_sets import INSTANTS, Case, rotation_cases, scene_cases, video_cases
from b2m.metrics import epe, flow_epe_either_sign, load_lpips, psnr, ssim
from b2m.motion.fields import STILL_THRESHOLD, Flow
from b2m.visualize import plots
from b2m.visualize.plots import Sample

SIZE = 192
BLUR = (4.0, 32.0)
SAMPLES = 60
"""Of each group: kinds of scenes, rotation, each real clip."""

LEAST_MOVING = 0.005
"""Share of moving pixels below which a photo of a real clip says nothing about motion."""

PHOTO = "photo repeated"
ZERO = "no motion"

_EXACT = 100.0  # dB; stands for an infinite PSNR, which no mean could hold
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
    "epe_ratio": ("of zero", ".2f"),
    "epe_moving": ("EPE moving", ".2f"),
    "gmacs": ("GMAC", ".1f"),
    "seconds": ("seconds", ".2f"),
    "paper": ("paper", ".2f"),
}


def paper_rows(
    table: PaperTable,
    *,
    photos: str | os.PathLike[str] | None,
    cutouts: str | os.PathLike[str] | None,
    clips: Sequence[Path],
    weights: Weights,
    runs: Path,
    samples: int = SAMPLES,
    split: str = "test",
    seed: int = 0,
) -> tuple[list[Row], list[str], list[Sample]]:
    """Rows and notes of a table, and what its plots are drawn from.

    Args:
        table: which.
        photos, cutouts: folders for rendered photos; None for made-up textures.
        clips: real ones; groups of them are left out where there are none.
        weights: a folder of checkpoints; see `b2m.hub.find_weights`.
        runs: folder of trainings whose weights are not shipped.
        samples: of each group, at most.
        split: of the folders.
        seed: of what is rendered.
    """
    found = {name: find_contender(name, weights, runs) for name in table.contenders}
    there = [contender for contender in found.values() if contender is not None]
    if not there:
        wanted = ", ".join(sorted({recipe_of(name) for name in found}))
        raise InputError(f"no weights for this table: train any of {wanted} first")
    measured = {recipe_of(one.name): one.model for one in there}
    recipes = {recipe: cost(model) for recipe, model in measured.items()}
    costs = {contender.name: recipes[recipe_of(contender.name)] for contender in there}
    rows: list[Row] = []
    everything: list[Sample] = []
    groups = _groups(table, photos, cutouts, clips, samples, split, seed)
    for group, kind, cases in groups:
        judge = _FlowJudge(there) if table.flow else _FrameJudge(there, table.instants)
        for case in tqdm(cases, group, total=samples, unit="photo"):
            judge.add(case)
        everything += judge.samples
        begin = len(rows)
        rows += judge.rows(group)
        if len(rows) == begin:
            rows.append({"name": f"{group}: nothing in it moves enough", "samples": 0})
        missing = [name for name, contender in found.items() if contender is None]
        rows += [{"name": f"{group}: {name} (not run)", "psnr": None} for name in missing]
        for row in rows[begin:]:
            name = row["name"].removeprefix(f"{group}: ").removesuffix(" (not run)")
            row["paper"] = table.paper.get((kind, name))
            maker = name.rsplit(", best of", 1)[0]
            row["gmacs"], row["seconds"] = costs.get(maker, (None, None))
    return rows, _notes(table, samples, photos is None, split), everything


def _groups(
    table: PaperTable,
    photos: str | os.PathLike[str] | None,
    cutouts: str | os.PathLike[str] | None,
    clips: Sequence[Path],
    samples: int,
    split: str,
    seed: int,
) -> Iterator[tuple[str, str, Iterator[Case]]]:
    """Name, kind and photos of each group."""
    kinds: tuple[Kind, ...] = ("movers", "camera")
    for place, kind in enumerate(kinds):
        if kind in table.groups:
            config = SceneConfig(size=SIZE, blur=BLUR, kind=kind)
            number = (seed * 3 + place) << 20
            yield (
                kind,
                kind,
                scene_cases(photos, cutouts, config, samples, split=split, number=number),
            )
    if "rotation" in table.groups:
        turning, number = RotationConfig(size=SIZE, blur=BLUR), (seed * 3 + 2) << 20
        cases = rotation_cases(photos, turning, samples, split=split, number=number)
        yield "rotation", "rotation", cases
    if "video" in table.groups:
        for path in clips:
            yield path.stem, "video", video_cases(path, samples)


def _notes(table: PaperTable, samples: int, made_up: bool, split: str) -> list[str]:
    notes = [
        table.found,
        f"Up to {samples} photos of each group from the {split} split"
        f"{' (made-up textures)' if made_up else ''}. movers, camera, rotation: rendered, "
        f"{SIZE}x{SIZE}, longest blur {BLUR[0]:g} to {BLUR[1]:g} px, with sensor noise and 8 bits. "
        f"Others: every {INSTANTS} frames of a real clip averaged in linear light, judged at what "
        f"something moving by {STILL_THRESHOLD:g} px or more crosses; their motion is optical flow "
        f"(DIS) between sharp frames, an estimate. Left out where under {LEAST_MOVING:.1%} move.",
        table.budget,
        "GMAC (convolutions and products) and seconds (2 threads): the network alone, a photo of "
        "960x540. paper: the paper's own PSNR (mean of its frames) or EPE, on its own data, at its "
        "own size and budget: compare the order of rows, not numbers.",
    ]
    if table.flow:
        notes.append(
            "EPE in pixels of the better sign, one for the whole photo. Jin, VideoRestorer: "
            "optical flow (DIS) from the first to the last of their frames."
        )
    else:
        notes.append(
            "PSNR: in the given order for what guidance directs and best of N, in the better order "
            "for the others; first, middle, last and SSIM as PSNR. "
            f"{_told(table.instants)} {_perceived(table.instants)} "
            "ST-LPIPS (Ghildyal and Liu 2022), where its package is installed: of the same frames "
            f"of every {_LPIPS_EVERY}th photo."
        )
    return notes


def _told(instants: int) -> str:
    if instants == 1:
        return "The middle frame alone is judged."
    return f"{instants} frames of each clip are judged, evenly from its first to its last."


def _perceived(instants: int) -> str:
    if instants == 1:
        return "SSIM of the whole frame."
    return "SSIM of the first, middle and last, whole."


def draw(
    name: str, folder: Path, rows: Sequence[Row], samples: Sequence[Sample], runs: Path
) -> list[Path]:
    """Draw a table, and the figures of the paper that go with it.

    Args:
        name: of the table.
        folder: for the PNG files.
        rows, samples: of `paper_rows`.
        runs: folder of trainings, for curves.

    Returns:
        What was written.
    """
    table = TABLES[name]
    written = [folder / f"{name}.png"]
    if table.flow:
        plots.draw_table(written[0], name, rows, "epe", "EPE (px)")
    else:
        plots.draw_table(written[0], name, rows, "gain", "PSNR over the photo repeated (dB)")
    if name == "2021a-T1":
        written.append(folder / f"{name}-blur.png")
        plots.draw_blur(written[1], samples, [PHOTO, *table.contenders])
    elif name == "2021a-T2":
        written.append(folder / f"{name}-errors.png")
        plots.draw_errors(written[1], samples, ["Jin", "VideoRestorer", "animator, better order"])
    elif name in ("2022-T3", "2022-directions"):
        recipes = {"4 directions": "decomposer-compact"}
        if name == "2022-T3":
            recipes = {"with guidance": "decomposer-compact", "without": "decomposer-unguided"}
        else:
            recipes |= {f"{n} directions": f"decomposer-{n}-directions" for n in (2, 8, 16)}
        logs = {told: runs / recipe / "log.jsonl" for told, recipe in recipes.items()}
        if all(log.is_file() for log in logs.values()):  # else a figure of before stays
            written.append(folder / f"{name}-training.png")
            plots.draw_training(written[1], logs, "psnr", "clip PSNR, better order (dB)")
    return written


# --- judging --------------------------------------------------------------------------------------


class _Judge:
    """Scores of all contenders of one group."""

    def __init__(self, contenders: Sequence[Contender]) -> None:
        self.contenders = contenders
        self.tallies: dict[str, list[dict[str, float]]] = {}
        self.samples: list[Sample] = []

    def add(self, case: Case) -> None:
        """Judge one photo, unless hardly anything moves in it."""
        moving = np.hypot(case.flow[..., 0], case.flow[..., 1]) >= STILL_THRESHOLD
        if moving.mean() >= LEAST_MOVING:
            for name, scores in self.judge(case, moving):
                self.tallies.setdefault(name, []).append(scores)

    def judge(
        self, case: Case, moving: NDArray[np.bool_]
    ) -> Iterator[tuple[str, dict[str, float]]]:
        """Name and scores of each row."""
        raise NotImplementedError

    def rows(self, group: str) -> list[Row]:
        """Means over photos."""
        rows: list[Row] = []
        for name, scores in self.tallies.items():
            row: Row = {"name": f"{group}: {name}", "samples": len(scores), "psnr": None}
            for key in dict.fromkeys(key for one in scores for key in one):
                row[key] = float(np.mean([one[key] for one in scores if key in one]))
            self.finish(row)
            rows.append(row)
        return rows

    def finish(self, row: Row) -> None:
        """Complete a row of means."""


class _FrameJudge(_Judge):
    def __init__(self, contenders: Sequence[Contender], instants: int) -> None:
        super().__init__(contenders)
        self.lpips, self.seen, self.instants = load_lpips(), 0, instants

    def judge(
        self, case: Case, moving: NDArray[np.bool_]
    ) -> Iterator[tuple[str, dict[str, float]]]:
        longest = float(np.hypot(case.flow[..., 0], case.flow[..., 1]).max())
        perceived = self.lpips is not None and self.seen % _LPIPS_EVERY == 0
        self.seen += 1
        still = np.broadcast_to(case.photo, (self.instants, *case.photo.shape))
        base = _psnrs(still, case)

        def scored(name: str, frames: Frames, either_order: bool) -> dict[str, float]:
            given, backwards = _psnrs(frames, case), _psnrs(frames[::-1], case)
            chosen = given
            if either_order and backwards.mean() > given.mean():
                frames, chosen = frames[::-1], backwards
            self.samples.append(Sample(name, chosen, longest))
            ends = tuple(dict.fromkeys((0, len(chosen) // 2, len(chosen) - 1)))
            truth = _at_instants(case.frames, len(frames))
            pairs = [(frames[index], truth[index]) for index in ends]
            scores: dict[str, Any] = {
                "psnr": chosen.mean(),
                "gain": chosen.mean() - base.mean(),
                "ssim": np.mean([ssim(*pair) for pair in pairs]),
            }
            if self.instants > 1:
                scores |= {
                    "psnr_given": given.mean(),
                    "psnr_better": max(given.mean(), backwards.mean()),
                    **dict(zip(("first", "middle", "last"), chosen[list(ends)], strict=True)),
                }
            if perceived and self.lpips is not None:
                scores["lpips"] = np.mean([self.lpips(*pair) for pair in pairs])
            return scores

        yield PHOTO, scored(PHOTO, still, False)
        for contender in self.contenders:
            clips = contender.clips(case)
            if not clips:
                continue
            clips = [_at_instants(clip, self.instants) for clip in clips]
            means = [_psnrs(clip, case).mean() for clip in clips]
            results: dict[int, dict[str, float]] = {}
            for tries in contender.tries:
                best = int(np.argmax(means[:tries]))
                suffix = f", best of {tries}" if len(contender.tries) > 1 else ""
                name = contender.name + suffix
                if best not in results:
                    results[best] = scored(name, clips[best], contender.either_order)
                better = max(
                    max(mean, _psnrs(clip[::-1], case).mean())
                    for mean, clip in zip(means[:tries], clips[:tries], strict=True)
                )
                yield name, results[best] | ({"psnr_better": better} if self.instants > 1 else {})


class _FlowJudge(_Judge):
    def judge(
        self, case: Case, moving: NDArray[np.bool_]
    ) -> Iterator[tuple[str, dict[str, float]]]:
        yield ZERO, self._scores(np.zeros_like(case.flow), case, moving)
        for contender in self.contenders:
            yield contender.name, self._scores(contender.motion(case), case, moving)

    @staticmethod
    def _scores(flow: Flow, case: Case, moving: NDArray[np.bool_]) -> dict[str, float]:
        return {
            "epe": flow_epe_either_sign(flow, case.flow),
            "epe_zero": epe(np.zeros_like(flow), case.flow),
            "epe_moving": flow_epe_either_sign(flow, case.flow, moving),
        }

    def finish(self, row: Row) -> None:
        row["epe_ratio"] = row["epe"] / row["epe_zero"] if row["epe_zero"] else None


def _psnrs(frames: Frames, case: Case) -> NDArray[np.float64]:
    pairs = zip(frames, _at_instants(case.frames, len(frames)), strict=True)
    return np.array([min(psnr(frame, true, case.judged), _EXACT) for frame, true in pairs])


def _at_instants(frames: Frames, count: int) -> Frames:
    """Some frames of a clip, evenly from its first to its last; a single one is the middle one."""
    assert len(frames) >= count
    last = len(frames) - 1
    if count == 1:
        return frames[last // 2, None]
    return frames[np.linspace(0, last, count).round().astype(np.intp)]
