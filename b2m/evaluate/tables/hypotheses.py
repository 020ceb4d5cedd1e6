"""The table "motions": how often the true motion is among the first few that b2m proposes.

A blur allows many motions, and b2m proposes up to five, the likeliest first. Each row is of the
best of so many tries: the clip with the highest PSNR, in the order in which it is given, whose
other scores count, too. Beside it stands the PSNR when each try may be played backwards as well.
Compared are the two ways to propose: signs of coherent regions, and samples of the guidance
predictor.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from b2m.data.scenes import Kind, SceneConfig
from b2m.errors import InputError
from b2m.evaluate.report import Row
from b2m.evaluate.test_sets import Case, clip_cases, scene_cases
from b2m.guidance.quantize import from_flow
from b2m.hub import find_weights
from b2m.inference.animator import BlurAnimator
from b2m.inference.clip import Clip
from b2m.inference.hypotheses import APART
from b2m.metrics import psnr
from b2m.models.guidance_predictor import GuidancePredictor
from b2m.motion.fields import STILL_THRESHOLD
from b2m.motion.orientation import length_of

TRIES = (1, 3, 5)

FOUND = 0.8
"""A motion is found if so many of the moving pixels go the right way, less than a right angle from
the true one."""

LEAST_MOVING = 0.005
"""Share of moving pixels below which a photo says nothing about motion."""

WINDOWS = 20
"""Of each real clip at most: a dozen clips are rendered for each, all their frames at full size."""

PHOTO = "photo repeated"
TRUE = "true guidance"
REGIONS = "signs of regions"
SAMPLES = "samples of the cVAE-GAN"

COLUMNS = {
    "samples": ("n", "d"),
    "psnr": ("PSNR", ".2f"),
    "gain": ("over photo", "+.2f"),
    "behind": ("behind true guidance", ".2f"),
    "psnr_better": ("better order", ".2f"),
    "gain_better": ("over photo", "+.2f"),
    "moving": ("right quadrant", ".1%"),
    "still": ("still", ".1%"),
    "moving_or_still": ("moving or still", ".1%"),
    "way": ("right way", ".1%"),
    "found": ("found", ".1%"),
    "different": ("two motions", ".1%"),
}

_EXACT = 100.0  # dB; stands for an infinite PSNR, which no mean could hold

Frames = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def motions_rows(
    animator: BlurAnimator,
    photos: str | os.PathLike[str] | None,
    cutouts: str | os.PathLike[str] | None,
    clips: Sequence[Path],
    *,
    scenes: int,
    windows: int,
    size: int,
    blur: tuple[float, float],
    split: str = "test",
    seed: int = 0,
) -> tuple[list[Row], list[str]]:
    """Rows and notes of the table.

    Args:
        animator: what is judged, with the weights of the guidance predictor where there are any.
        photos, cutouts: folders for the scenes; None for made-up textures.
        clips: real ones; there may be none.
        scenes: in all, half of them of each kind.
        windows: of each clip, at most.
        size: side of the scenes, pixels.
        blur: least and largest of their longest displacement, pixels.
        split: of the folders.
        seed: of the scenes and their noise.
    """
    notes = [
        f"{scenes} scenes of {size}x{size} from the {split} split, longest blur {blur[0]:g} to "
        f"{blur[1]:g} px, and up to {windows} windows of each clip. Photos in which under "
        f"{LEAST_MOVING:.1%} of the pixels move are left out. PSNR of 8-bit sRGB, of clips as they "
        "are given to a person; on real clips of what something moving crosses.",
        "Best of N: of the first N motions the one with the highest PSNR in the order in which it "
        "is given, which gives the row its scores; better order: the highest PSNR of all of them, "
        "each forwards or backwards. Right quadrant, right way: share of the truly moving pixels "
        f"({STILL_THRESHOLD:g} px or more) of all photos at which the guidance is the true one, "
        "and at which the motion is less than a right angle from the true one. Still: share of "
        "the truly still pixels that the guidance calls so. Moving or still: share of all pixels "
        "at which it is right about that.",
        f"Found: share of the photos for which any of the N motions goes the right way in "
        f"{FOUND:.0%} of the moving pixels. Two motions: share of the photos for which two of the "
        f"five are opposite in {APART / 2:.0%} or more of the true motion.",
    ]
    ways = {REGIONS: BlurAnimator(animator.model)}
    predictor = animator.predictor
    if predictor is None:
        try:
            folder = find_weights(GuidancePredictor.weights_name)
        except InputError:
            notes.append("Without the cVAE-GAN, as no weights of it were found.")
        else:
            predictor = GuidancePredictor.from_pretrained(folder, device=animator.device)
    if predictor is not None:
        ways[SAMPLES] = BlurAnimator(animator.model, predictor)
    rows: list[Row] = []
    pooled: dict[str, _Tally] = {}
    kinds: dict[Kind, int] = {"movers": scenes - scenes // 2, "camera": scenes // 2}
    for place, (kind, count) in enumerate(kinds.items()):
        config = SceneConfig(size=size, blur=blur, kind=kind)
        number = (seed * 2 + place) << 20
        cases = scene_cases(photos, cutouts, config, count, split=split, number=number)
        tallies = _tallies(ways, tqdm(cases, kind, total=count, unit="scene"))
        rows += _rows(kind, tallies)
        for name, tally in tallies.items():
            pooled.setdefault(name, _Tally()).take(tally)
    rows += _rows("all scenes", pooled)
    for path in clips:
        tallies = _tallies(ways, tqdm(clip_cases(path, windows), path.stem, unit="window"))
        rows += _rows(path.stem, tallies)
    return rows, notes


class _Tally:
    """Scores of one row, case by case."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}
        self.pixels: dict[str, list[float]] = {}

    def add(self, pixels: float = 1.0, **scores: float) -> None:
        for name, score in scores.items():
            self.values.setdefault(name, []).append(score)
            self.pixels.setdefault(name, []).append(pixels)

    def take(self, other: _Tally) -> None:
        """Add all that another one holds."""
        for name, values in other.values.items():
            self.values.setdefault(name, []).extend(values)
            self.pixels.setdefault(name, []).extend(other.pixels[name])

    def row(self) -> dict[str, Any]:
        # Shares of pixels are of those of all photos: one with little motion says little.
        return {
            name: float(np.average(values, weights=self.pixels[name]))
            for name, values in self.values.items()
            if sum(self.pixels[name])
        }


def _tallies(ways: dict[str, BlurAnimator], cases: Iterable[Case]) -> dict[str, _Tally]:
    """What each row scored on the cases in which something moves."""
    tallies: dict[str, _Tally] = {PHOTO: _Tally(), TRUE: _Tally()}
    tallies |= {_best(way, tries): _Tally() for way in ways for tries in TRIES}
    for case in cases:
        moving = length_of(case.flow) >= STILL_THRESHOLD
        if moving.mean() >= LEAST_MOVING:
            _judge(case, moving, ways, tallies)
    return tallies


def _rows(group: str, tallies: dict[str, _Tally]) -> list[Row]:
    return [
        {
            "name": f"{group}: {name}",
            "samples": len(tally.values.get("psnr", ())),
            "psnr": None,
            **tally.row(),
        }
        for name, tally in tallies.items()
    ]


def _judge(
    case: Case, moving: Mask, ways: dict[str, BlurAnimator], tallies: dict[str, _Tally]
) -> None:
    """Add the scores of one photo."""
    frames = len(case.frames)
    still = _psnr(case, np.broadcast_to(case.photo, case.frames.shape))
    tallies[PHOTO].add(psnr=still)
    animator = ways[REGIONS]
    prepared = animator.prepare(case.photo)
    guided = animator.animate(prepared, guidance=from_flow(case.flow), frames=frames)[0]
    true = _psnr(case, guided.frames)
    tallies[TRUE].add(psnr=true, gain=true - still)
    tallies[TRUE].add(float(moving.sum()), way=_right_way(guided, case, moving))
    for name, way in ways.items():
        clips = way.animate(prepared, frames=frames, motions=max(TRIES))
        scores = [_psnr(case, clip.frames) for clip in clips]
        backwards = [_psnr(case, clip.frames[::-1]) for clip in clips]
        right = [_right_way(clip, case, moving) for clip in clips]
        for tries in TRIES:
            tally = tallies[_best(name, tries)]
            best = int(np.argmax(scores[:tries]))
            tally.add(psnr=scores[best], gain=scores[best] - still, behind=true - scores[best])
            better = max(scores[:tries] + backwards[:tries])
            tally.add(psnr_better=better, gain_better=better - still)
            tally.add(found=float(max(right[:tries]) >= FOUND))
            _add_shares(tally, case, moving, clips[best])
        tallies[_best(name, max(TRIES))].add(different=float(_two_motions(clips, case)))


def _add_shares(tally: _Tally, case: Case, moving: Mask, clip: Clip) -> None:
    found, truth = clip.guidance, from_flow(case.flow)
    moved = np.asarray(found.any(axis=-1))
    same = np.asarray((found == truth).all(axis=-1))
    tally.add(float(moving.sum()), moving=_share(same, moving))
    tally.add(float(moving.sum()), way=_right_way(clip, case, moving))
    tally.add(float((~moving).sum()), still=_share(~moved, ~moving))
    tally.add(float(moving.size), moving_or_still=float((moved == moving).mean()))


def _two_motions(clips: Sequence[Clip], case: Case) -> bool:
    """Whether any two clips run against each other in enough of the true motion."""
    length = length_of(case.flow)
    for number, clip in enumerate(clips):
        for other in clips[:number]:
            opposite = (clip.flow * other.flow).sum(axis=-1) < 0
            if length[opposite].sum() >= APART / 2 * length.sum():
                return True
    return False


def _best(way: str, tries: int) -> str:
    return f"{way}, best of {tries}"


def _psnr(case: Case, frames: Frames) -> float:
    pairs = zip(frames, case.frames, strict=True)
    return float(np.mean([min(psnr(one, true, case.judged), _EXACT) for one, true in pairs]))


def _right_way(clip: Clip, case: Case, moving: Mask) -> float:
    return _share((clip.flow * case.flow).sum(axis=-1) > 0, moving)


def _share(right: Mask, where: Mask) -> float:
    return float(right[where].mean()) if where.any() else 0.0
