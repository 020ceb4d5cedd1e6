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
from b2m.evaluate.methods import Method, animated, keep_last, load_if_there, true_guidance
from b2m.evaluate.scoring import (
    FOUND,
    MIN_MOVING,
    PHOTO,
    TRIES,
    Label,
    Mask,
    ScoredClip,
    Scorer,
    Scores,
    Weighted,
    best_of,
    direction_accuracy,
    fraction,
    moving_pixels,
)
from b2m.evaluate.table import Group, Options, Table
from b2m.evaluate.test_sets import clip_samples
from b2m.guidance.quantize import from_flow
from b2m.inference.animator import BlurAnimator
from b2m.inference.hypotheses import MIN_DIFFERENCE
from b2m.models.guidance_predictor import GuidancePredictor
from b2m.motion.fields import STILL_THRESHOLD, magnitude
from b2m.registry import register_table

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


def hypothesis_methods(animator: BlurAnimator, predictor: GuidancePredictor | None) -> list[Method]:
    """True guidance, then the ways to propose motions; the photo is encoded once for all.

    Args:
        animator: whose clips are compared.
        predictor: of guidance, whose samples are the second way; None for the first alone.
    """
    regions = BlurAnimator(animator.model)
    prepare = keep_last(regions.prepare)
    ways = {REGIONS: regions}
    if predictor is not None:
        ways[SAMPLES] = BlurAnimator(animator.model, predictor)
    return [
        animated(TRUE, regions, true_guidance, projected=True, prepare=prepare),
        *(
            animated(name, way, tries=TRIES, projected=True, prepare=prepare)
            for name, way in ways.items()
        ),
    ]


@register_table("motions")
class HypothesesTable(Table):
    """How often the true motion is among the first five hypotheses.

    Args:
        options: what it is computed from.
        methods: as `hypothesis_methods` gives them, true guidance first; None for those of the
            animator with the options' weights, and of the guidance predictor where it has any.
    """

    columns = COLUMNS
    default_samples = 200

    def __init__(self, options: Options, methods: Sequence[Method] | None = None) -> None:
        super().__init__(options, methods)
        labels = [method.label(tries) for method in self.methods for tries in method.tries]
        self.row_labels = (PHOTO, *labels)

    def load_methods(self) -> Sequence[Method]:
        """The animator with the options' weights, and the guidance predictor beside it."""
        animator = BlurAnimator.from_pretrained(self.options.weights)
        name = GuidancePredictor.weights_name
        predictor = load_if_there(GuidancePredictor, name, device=animator.device)
        return hypothesis_methods(animator, predictor)

    @property
    def windows(self) -> int:
        """Of each clip, at most."""
        return min(self.sample_count or WINDOWS, WINDOWS)

    def groups(self) -> Iterator[Group]:
        """Half of the scenes of each kind, and each real clip."""
        yield from self.half_movers_half_camera("all scenes")
        for path in self.clip_paths():
            yield Group(path.stem, clip_samples(path, self.windows), unit="window")

    def score(self, sample: Sample) -> Iterator[tuple[Label, Scores]]:
        """Nothing where hardly anything moves."""
        flow = sample.known_flow
        moving = moving_pixels(flow)
        if moving.mean() < MIN_MOVING:
            return
        scorer, pixels = Scorer(sample), float(moving.sum())
        still = scorer.photo.given
        yield PHOTO, {"psnr": still}
        true_method, *proposing = self.methods
        (true,) = scorer.clips(true_method)
        right = Weighted(direction_accuracy(true.known_flow, flow, moving), pixels)
        yield TRUE, {"psnr": true.given, "gain": true.given - still, "way": right}
        for method in proposing:
            clips = scorer.clips(method)
            rights = [direction_accuracy(clip.known_flow, flow, moving) for clip in clips]
            for tries, best, better in best_of(clips, method.tries):
                scores: dict[str, Any] = {
                    "psnr": best.given,
                    "gain": best.given - still,
                    "behind": true.given - best.given,
                    "psnr_better": better,
                    "gain_better": better - still,
                    "found": float(max(rights[:tries]) >= FOUND),
                    "way": Weighted(rights[clips.index(best)], pixels),
                    **_guidance_scores(best, sample, moving),
                }
                if tries == max(TRIES):
                    scores["different"] = float(_two_motions(clips, sample))
                yield method.label(tries), scores

    def notes(self) -> list[str]:
        """What was measured, and how."""
        notes = [
            f"{self.sample_count} scenes of {self.size}x{self.size} from the {self.options.split} "
            f"split, longest blur {self.blur[0]:g} to {self.blur[1]:g} px, and up to "
            f"{self.windows} windows of each clip. Photos in which under {MIN_MOVING:.1%} of the "
            "pixels move are left out. PSNR of 8-bit sRGB, of clips as they are returned; on real "
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
            f"the five are opposite in {MIN_DIFFERENCE / 2:.0%} or more of the true motion.",
        ]
        if SAMPLES not in {method.name for method in self.methods}:
            notes.append("Without the cVAE-GAN, as no weights of it were found.")
        return notes


def _guidance_scores(clip: ScoredClip, sample: Sample, moving: Mask) -> dict[str, Weighted]:
    """Weighted by pixels, which are of those of all photos: one with little motion says little."""
    truth = from_flow(sample.known_flow)
    assert clip.guidance is not None
    moved = np.asarray(clip.guidance.any(axis=-1))
    same = np.asarray((clip.guidance == truth).all(axis=-1))
    return {
        "moving": Weighted(fraction(same, moving), float(moving.sum())),
        "still": Weighted(fraction(~moved, ~moving), float((~moving).sum())),
        "moving_or_still": Weighted(float((moved == moving).mean()), float(moving.size)),
    }


def _two_motions(clips: Sequence[ScoredClip], sample: Sample) -> bool:
    """Whether any two clips run against each other in enough of the true motion."""
    length = magnitude(sample.known_flow)
    for number, clip in enumerate(clips):
        for other in clips[:number]:
            opposite = (clip.known_flow * other.known_flow).sum(axis=-1) < 0
            if length[opposite].sum() >= MIN_DIFFERENCE / 2 * length.sum():
                return True
    return False
