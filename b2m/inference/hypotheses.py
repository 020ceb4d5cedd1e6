"""Ranked motion hypotheses: the sign of the motion of each coherent region, likelier ones first.

A clip played in reverse leaves the same blur, and so does each of its regions reversed alone. Every
assignment of signs to coherent regions (`b2m.motion.regions`) therefore explains the photo equally
well; they are ranked by how regions usually move together.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from b2m.guidance.quantize import Guidance, resize
from b2m.media.image import Pixels
from b2m.motion.fields import STILL_THRESHOLD, change_between, magnitude
from b2m.motion.regions import Labels, boundary_lengths, fill_nearest, neighbours
from b2m.tensors import to_channels_last

if TYPE_CHECKING:
    from b2m.models.guidance_predictor import GuidancePredictor

MIN_DIFFERENCE = 0.1
"""Two hypotheses differ clearly if their flows differ by this share of the motion, averaged over
moving pixels. A region counts from half of that on: reversed, its flow changes by twice its length.
"""

MIN_VISIBLE = 0.1
"""And if the frames show it: by this share of the change that reversing everything makes. Areas
without texture look the same either way."""

MAX_REGIONS = 6

# Penalties in dB, subtracted from the agreement with the photo.
REVERSAL_PENALTY = 0.02
"""The whole clip reversed: as likely, so just enough to fix the order."""
REGION_PENALTY = 0.1
"""Each region reversed alone; up to twice that for a small one."""
SPLIT_PENALTY = 1.0
"""A region reversed against one that it moves with along its whole boundary."""
GUIDANCE_PENALTY = 1.0
"""A region reversed against guidance."""


class Hypothesis(NamedTuple):
    """One assignment of signs.

    Attributes:
        penalty: dB, 0 for the flow as given, more for what is less plausible.
        flipped: (n,) bool, the regions that move against the flow as given.
        labels: (h, w) uint8, the region of each pixel, 0 to n - 1.
    """

    penalty: float
    flipped: NDArray[np.bool_]
    labels: Labels

    @property
    def backwards(self) -> bool:
        """Whether all regions are flipped: the clip in reverse."""
        return bool(self.flipped.all())

    def signs(self) -> NDArray[np.float32]:
        """(h, w) of 1 and -1, to multiply the flow by."""
        return np.where(self.flipped, -1, 1).astype(np.float32)[self.labels]


def enumerate_hypotheses(
    flow: NDArray[np.float32],
    regions: Labels,
    max_count: int,
    guidance: Guidance | None = None,
    photo: Pixels | None = None,
) -> list[Hypothesis]:
    """Clearly different signs for the regions of a photo, the most plausible first.

    Args:
        flow: (h, w, 2) pixels over the whole exposure; the first hypothesis.
        regions: (h, w) uint8 of `b2m.motion.regions.find_regions`.
        max_count: how many at most, at least 1.
        guidance: (h, w, 2) the user's guidance. Regions that it does not cover vary first, covered
            ones after, and the reversal of all comes last.
        photo: (h, w, 3) uint8 sRGB, to drop regions whose reversal would not be visible; None
            judges by the motion alone.

    Returns:
        At least one. Still pixels stay still in all of them, and none nearly duplicates another.
    """
    length = magnitude(flow)
    motion = np.bincount(regions.ravel(), length.ravel(), minlength=2)
    motion[0] = 0
    total = float(motion.sum())
    if not total:
        return [Hypothesis(0.0, np.zeros(1, bool), np.zeros_like(regions))]
    shares = motion / total
    # A region too small to make a difference follows the nearest that does.
    counts = shares >= MIN_DIFFERENCE / 2
    if photo is not None:
        counts &= _visible_shares(flow, regions, photo, len(shares)) >= MIN_VISIBLE
    chosen = np.flatnonzero(counts)
    chosen = chosen[np.argsort(-shares[chosen], kind="stable")][:MAX_REGIONS]
    if not len(chosen):
        chosen = np.array([int(np.argmax(shares))])
    renumber = np.zeros(256, np.uint8)
    renumber[chosen] = np.arange(1, len(chosen) + 1)
    labels = fill_nearest(renumber[regions]) - 1
    weights = np.zeros(len(chosen))
    np.add.at(weights, labels.ravel(), (length * (regions > 0)).ravel())
    weights /= weights.sum()
    guided = np.zeros(len(chosen), bool)
    if guidance is not None:
        named = guidance.any(axis=-1) & (regions > 0)
        covered = np.bincount(labels[named], length[named], minlength=len(chosen))
        guided = covered > 0.1 * weights * total
    boundaries = _shared_boundaries(flow, length >= STILL_THRESHOLD, labels, len(chosen))
    kept: list[Hypothesis] = []
    for penalty, flipped in sorted(_ranked(weights, boundaries, guided), key=lambda one: one[0]):
        differences = [2 * float(weights[flipped != other.flipped].sum()) for other in kept]
        if all(difference >= MIN_DIFFERENCE for difference in differences):
            kept.append(Hypothesis(penalty, flipped, labels))
        if len(kept) == max_count:
            break
    return kept


def differ(
    flow: NDArray[np.float32],
    other: NDArray[np.float32],
    photo: Pixels | None = None,
    visible: float = MIN_VISIBLE,
) -> bool:
    """Whether two motions of one photo differ clearly, see `MIN_DIFFERENCE` and `MIN_VISIBLE`.

    Args:
        flow, other: (h, w, 2) pixels over the whole exposure.
        photo: (h, w, 3) uint8 sRGB; None judges by the motion alone.
        visible: least share of the change that reversing everything makes.
    """
    apart = flow - other
    motion = max(float(np.hypot(*each.T).sum()) for each in (flow, other))
    if not np.hypot(*apart.T).sum() >= MIN_DIFFERENCE * motion > 0:
        return False
    if photo is None:
        return True
    reversal = max(int(change_between(photo, each, -each).sum()) for each in (flow, other))
    return bool(change_between(photo, flow, other).sum() >= visible * reversal)


def sampled_guidance(
    predictor: GuidancePredictor, photo: Tensor, size: tuple[int, int], motions: int, seed: int
) -> Iterator[Guidance]:
    """Samples of a guidance predictor, at the photo's size; they may nearly duplicate each other.

    Args:
        predictor: in evaluation mode.
        photo: (1, 3, h, w) sRGB in [0, 1] at working size, on the predictor's device.
        size: height and width of the photo itself.
        motions: clearly different ones that are wanted.
        seed: of the latents.
    """
    drawn = 3 * motions if motions > 1 else 1  # of which some are alike
    for latent in predictor.sample_latents(drawn, seed):
        with torch.inference_mode():
            found = predictor.predict(photo, latent[None], photo.shape[-1] / size[1])[0]
        yield resize(to_channels_last(found), size)


def split_penalty(
    flow: NDArray[np.float32], coherent: NDArray[np.float32], regions: Labels
) -> float:
    """Penalty of a motion that splits coherent regions: dB, 0 to half of `SPLIT_PENALTY`.

    Args:
        flow: (h, w, 2) pixels over the whole exposure.
        coherent: (h, w, 2) the same motion axes, with signs on which neighbours agree.
        regions: (h, w) uint8 of `b2m.motion.regions.find_regions`.
    """
    length = magnitude(flow) * (regions > 0)
    if not length.any():
        return 0.0
    along = (flow * coherent).sum(axis=-1) > 0
    ways = [np.bincount(regions[way], length[way], minlength=256) for way in (along, ~along)]
    return SPLIT_PENALTY * float(np.minimum(*ways).sum() / length.sum())


def _visible_shares(
    flow: NDArray[np.float32], regions: Labels, photo: Pixels, count: int
) -> NDArray[np.float64]:
    """Share of each region in the visible change that reversing everything makes: (count,)."""
    change = change_between(photo, flow, -flow).sum(axis=-1)
    step = -(-len(flow) // len(change))
    seen = np.bincount(regions[::step, ::step].ravel(), change.ravel(), minlength=count)
    seen[0] = 0
    return np.asarray(seen / max(float(seen.sum()), 1))


def _ranked(
    weights: NDArray[np.float64], boundaries: NDArray[np.float64], guided: NDArray[np.bool_]
) -> Iterator[tuple[float, NDArray[np.bool_]]]:
    """Every assignment: its penalty in dB, and which regions are flipped."""
    alone = REGION_PENALTY * (2 - weights)
    for flipped in map(np.array, product((False, True), repeat=len(weights))):
        split = SPLIT_PENALTY * float(boundaries[np.ix_(flipped, ~flipped)].sum())
        # Some are flipped, or the whole clip is reversed and the rest flipped: the lesser.
        penalty = split + min(alone[flipped].sum(), alone[~flipped].sum() + REVERSAL_PENALTY)
        penalty += GUIDANCE_PENALTY * bool((flipped & guided).any())
        yield float(penalty), flipped


def _shared_boundaries(
    flow: NDArray[np.float32], moving: NDArray[np.bool_], labels: Labels, count: int
) -> NDArray[np.float64]:
    """How closely pairs of regions move together: (count, count), symmetric, 0 to 1.

    It is the share of the boundary of the smaller region along which both touch and move the same
    way.
    """
    together = np.zeros((count, count))
    boundary = boundary_lengths(labels, moving, count)
    for here, there in neighbours():
        across = moving[here] & moving[there] & (labels[here] != labels[there])
        before, after = flow[here][across], flow[there][across]
        lengths = magnitude(before) * magnitude(after)
        cosine = (before * after).sum(axis=1) / np.maximum(lengths, 1e-9)
        np.add.at(together, (labels[here][across], labels[there][across]), cosine)
    together += together.T
    least = np.minimum(boundary[:, None], boundary[None])
    return np.clip(together / np.maximum(least, 1), 0, 1)
