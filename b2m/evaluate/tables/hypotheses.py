"""The table "motions": how often the true motion is among the first few hypotheses.

A blur allows many motions, and b2m proposes up to five, the likeliest first. Each row is of the
best of so many tries: the clip with the highest PSNR, in the order in which it is given, whose
other scores count, too. Beside it stands the PSNR when each try may be played backwards as well.
Compared are the two ways to propose: signs of coherent regions, and samples of the guidance
predictor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from b2m.data.sample import Sample
from b2m.errors import InputError
from b2m.evaluate.scoring import (
    LEAST_MOVING,
    PHOTO,
    TRIES,
    Frames,
    Mask,
    Scores,
    Weighted,
    best_of,
    frame_psnr,
    moving_pixels,
    right_way,
    share,
)
from b2m.evaluate.table import Group, Options, Table
from b2m.evaluate.tables import animator as animator_tables
from b2m.evaluate.test_sets import clip_samples
from b2m.guidance.quantize import from_flow
from b2m.hub import find_weights
from b2m.inference.animator import BlurAnimator
from b2m.inference.clip import Clip
from b2m.inference.hypotheses import LEAST_DIFFERENCE
from b2m.models.guidance_predictor import GuidancePredictor
from b2m.motion.fields import STILL_THRESHOLD
from b2m.motion.orientation import length_of
from b2m.registry import register_table

FOUND = 0.8
"""A motion is found if so many of the moving pixels go the right way, less than a right angle from
the true one."""

WINDOWS = 20
"""Of each real clip at most: a dozen clips are rendered for each, all their frames at full size."""

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


@register_table("motions")
class HypothesesTable(Table):
    """How often the true motion is among the first few; arguments as for `Table`.

    Args:
        options: what it is computed from.
        animator: what is judged, with the weights of the guidance predictor where there are any;
            None for the one with the options' weights.
    """

    columns = COLUMNS
    samples = 200

    def __init__(self, options: Options, animator: BlurAnimator | None = None) -> None:
        super().__init__(options)
        animator = animator or BlurAnimator.from_pretrained(options.weights)
        self.methods = {REGIONS: BlurAnimator(animator.model)}
        predictor = animator.predictor
        if predictor is None:
            try:
                folder = find_weights(GuidancePredictor.weights_name)
            except InputError:
                pass
            else:
                predictor = GuidancePredictor.from_pretrained(folder, device=animator.device)
        if predictor is not None:
            self.methods[SAMPLES] = BlurAnimator(animator.model, predictor)
        self.names = (PHOTO, TRUE, *(_best(way, n) for way in self.methods for n in TRIES))
        self.size, self.blur = animator_tables.SCENE_SIZE, animator_tables.SCENE_BLUR

    @property
    def windows(self) -> int:
        """Of each clip, at most."""
        return min(self.asked or WINDOWS, WINDOWS)

    def groups(self) -> Iterator[Group]:
        """Half of the scenes of each kind, and each real clip."""
        yield from self.movers_and_camera(self.size, self.blur, "all scenes")
        for path in self.clips():
            yield Group(path.stem, clip_samples(path, self.windows), unit="window")

    def judge(self, sample: Sample) -> Iterator[tuple[str, Scores]]:
        """Nothing where hardly anything moves."""
        moving = moving_pixels(sample.known_flow)
        if moving.mean() < LEAST_MOVING:
            return
        frames, pixels = len(sample.frames), float(moving.sum())
        still = _psnr(sample, np.broadcast_to(sample.photo, sample.frames.shape))
        yield PHOTO, {"psnr": still}
        animator = self.methods[REGIONS]
        prepared = animator.prepare(sample.photo)
        guidance = from_flow(sample.known_flow)
        guided = animator.animate(prepared, guidance=guidance, frames=frames)[0]
        true = _psnr(sample, guided.frames)
        right = right_way(guided.flow, sample.known_flow, moving)
        yield TRUE, {"psnr": true, "gain": true - still, "way": Weighted(right, pixels)}
        for name, method in self.methods.items():
            clips = method.animate(prepared, frames=frames, motions=max(TRIES))
            given = [_psnr(sample, clip.frames) for clip in clips]
            backwards = [_psnr(sample, clip.frames[::-1]) for clip in clips]
            ways = [right_way(clip.flow, sample.known_flow, moving) for clip in clips]
            for tries in TRIES:
                best = best_of(given, tries)
                better = max(given[:tries] + backwards[:tries])
                scores: dict[str, Any] = {
                    "psnr": given[best],
                    "gain": given[best] - still,
                    "behind": true - given[best],
                    "psnr_better": better,
                    "gain_better": better - still,
                    "found": float(max(ways[:tries]) >= FOUND),
                    "way": Weighted(ways[best], pixels),
                    **_shares(clips[best], sample, moving),
                }
                if tries == max(TRIES):
                    scores["different"] = float(_two_motions(clips, sample))
                yield _best(name, tries), scores

    def notes(self) -> list[str]:
        """What was measured, and how."""
        notes = [
            f"{self.asked} scenes of {self.size}x{self.size} from the {self.options.split} split, "
            f"longest blur {self.blur[0]:g} to {self.blur[1]:g} px, and up to {self.windows} "
            f"windows of each clip. Photos in which under {LEAST_MOVING:.1%} of the pixels move "
            "are left out. PSNR of 8-bit sRGB, of clips as they are returned; on real "
            "clips of what something moving crosses.",
            "Best of N: of the first N motions the one with the highest PSNR in the order in which "
            "it is given, which gives the row its scores; better order: the highest PSNR of all of "
            "them, each forwards or backwards. Right quadrant, right way: share of the truly "
            f"moving pixels ({STILL_THRESHOLD:g} px or more) of all photos at which the guidance "
            "is the true one, and at which the motion is less than a right angle from the true "
            "one. Still: share of the truly still pixels that the guidance calls so. Moving or "
            "still: share of all pixels at which it is right about that.",
            f"Found: share of the photos for which any of the N motions goes the right way in "
            f"{FOUND:.0%} of the moving pixels. Two motions: share of the photos for which two of "
            f"the five are opposite in {LEAST_DIFFERENCE / 2:.0%} or more of the true motion.",
        ]
        if SAMPLES not in self.methods:
            notes.append("Without the cVAE-GAN, as no weights of it were found.")
        return notes


def _best(method: str, tries: int) -> str:
    return f"{method}, best of {tries}"


def _shares(clip: Clip, sample: Sample, moving: Mask) -> dict[str, Weighted]:
    """Shares of pixels, which are of those of all photos: one with little motion says little."""
    found, truth = clip.guidance, from_flow(sample.known_flow)
    moved = np.asarray(found.any(axis=-1))
    same = np.asarray((found == truth).all(axis=-1))
    return {
        "moving": Weighted(share(same, moving), float(moving.sum())),
        "still": Weighted(share(~moved, ~moving), float((~moving).sum())),
        "moving_or_still": Weighted(float((moved == moving).mean()), float(moving.size)),
    }


def _two_motions(clips: Sequence[Clip], sample: Sample) -> bool:
    """Whether any two clips run against each other in enough of the true motion."""
    length = length_of(sample.known_flow)
    for number, clip in enumerate(clips):
        for other in clips[:number]:
            opposite = (clip.flow * other.flow).sum(axis=-1) < 0
            if length[opposite].sum() >= LEAST_DIFFERENCE / 2 * length.sum():
                return True
    return False


def _psnr(sample: Sample, frames: Frames) -> float:
    return float(np.mean(frame_psnr(frames, sample.frames, sample.judged)))
