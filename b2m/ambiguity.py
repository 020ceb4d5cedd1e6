"""All the motions one blur allows: which things go forwards, which backwards, likelier ones first.

A film that runs backwards leaves the same blur, and so does each thing in it by itself. Every
choice of a direction for each coherent region (`b2m.regions`) therefore explains the photo equally
well; what tells them apart is only how things use to move together. Pure: imports no model.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from b2m.guidance import STILL_THRESHOLD, Guidance
from b2m.regions import Labels, everywhere

APART = 0.1
"""Two clips differ clearly if their flows do by this share of the motion, averaged over what
moves. So a region counts from half of that on, as its flow changes by twice its length."""

MOST_REGIONS = 6

# In dB, as they are taken from the agreement with the photo.
BACKWARDS = 0.02
"""The whole film backwards: as likely, so only what keeps the order."""
AGAINST_THE_REST = 0.1
"""Each region turned by itself, twice that for one that is hardly there."""
TORN = 1.0
"""A region whose whole outline parts what went together."""
AGAINST_THE_WORD = 1.0
"""Something turned that guidance has spoken of."""


class Choice:
    """One choice of directions.

    Attributes:
        penalty: dB, 0 for the flow as it was, more for what is less plausible.
    """

    def __init__(self, signs: NDArray[np.float32], places: Labels, penalty: float) -> None:
        self._signs, self._places, self.penalty = signs, places, penalty

    def apply(self, flow: NDArray[np.float32]) -> NDArray[np.float32]:
        """(h, w, 2) pixels, each vector of ``flow`` or its negative."""
        if (self._signs == self._signs[0]).all():
            return flow * self._signs[0]
        return flow * self._signs[self._places][..., None]


def choices(
    flow: NDArray[np.float32],
    regions: Labels,
    most: int,
    guidance: Guidance | None = None,
) -> list[Choice]:
    """Clearly different directions for the things in a photo, the most plausible first.

    Args:
        flow: (h, w, 2) pixels over the whole exposure; the first choice.
        regions: (h, w) uint8 of `b2m.regions.find_regions`.
        most: how many at the most, at least 1.
        guidance: (h, w, 2) what a person has said. Regions of which it says nothing are open and
            vary first; turning others comes after, and turning all last.

    Returns:
        At least one. What is still stays so in all of them, and none is another's near duplicate.
    """
    length = np.hypot(flow[..., 0], flow[..., 1])
    motion = np.bincount(regions.ravel(), length.ravel(), minlength=2)
    motion[0] = 0
    total = float(motion.sum())
    if not total:
        return [Choice(np.ones(1, np.float32), np.zeros((1, 1), np.uint8), 0.0)]
    shares = motion / total
    # What is too small to make a difference goes with the nearest that does.
    chosen = np.flatnonzero(shares >= APART / 2)
    chosen = chosen[np.argsort(-shares[chosen], kind="stable")][:MOST_REGIONS]
    if not len(chosen):
        chosen = np.array([int(np.argmax(shares))])
    renumber = np.zeros(256, np.uint8)
    renumber[chosen] = np.arange(1, len(chosen) + 1)
    places = everywhere(renumber[regions]) - 1
    weights = np.zeros(len(chosen))
    np.add.at(weights, places.ravel(), (length * (regions > 0)).ravel())
    weights /= weights.sum()
    said = np.zeros(len(chosen), bool)
    if guidance is not None:
        spoken = guidance.any(axis=-1) & (regions > 0)
        covered = np.bincount(places[spoken], length[spoken], minlength=len(chosen))
        said = covered > 0.1 * weights * total
    seams = _seams(flow, length >= STILL_THRESHOLD, places, len(chosen))
    ranked = sorted(_ranked(weights, seams, said), key=lambda found: found[0])
    kept: list[tuple[float, NDArray[np.float32]]] = []
    for penalty, signs in ranked:
        differences = [2 * float(weights[signs != other].sum()) for _, other in kept]
        if all(difference >= APART for difference in differences):
            kept.append((penalty, signs))
        if len(kept) == most:
            break
    return [Choice(signs, places, penalty) for penalty, signs in kept]


def _ranked(
    weights: NDArray[np.float64], seams: NDArray[np.float64], said: NDArray[np.bool_]
) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Every choice of signs with its penalty in dB."""
    alone = AGAINST_THE_REST * (2 - weights)
    for turned in product((False, True), repeat=len(weights)):
        against = np.array(turned)
        torn = TORN * float(seams[np.ix_(against, ~against)].sum())
        # Some turned against the rest, or the film backwards and the rest turned: the lesser.
        penalty = torn + min(alone[against].sum(), alone[~against].sum() + BACKWARDS)
        penalty += AGAINST_THE_WORD * bool((against & said).any())
        yield float(penalty), np.where(against, -1, 1).astype(np.float32)


def _seams(
    flow: NDArray[np.float32], moving: NDArray[np.bool_], places: Labels, count: int
) -> NDArray[np.float64]:
    """How closely each region goes with each other: (count, count), symmetric, 0 to 1.

    It is the share of the outline of the smaller of both along which they touch and move the same
    way.
    """
    together = np.zeros((count, count))
    outline = np.zeros(count)
    for here, there in (((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
                        ((slice(None, -1),), (slice(1, None),))):  # fmt: skip
        for one, other in ((here, there), (there, here)):
            leaves = moving[one] & (~moving[other] | (places[one] != places[other]))
            outline += np.bincount(places[one][leaves], minlength=count)
        across = moving[here] & moving[there] & (places[here] != places[there])
        before, after = flow[here][across], flow[there][across]
        lengths = np.hypot(before[:, 0], before[:, 1]) * np.hypot(after[:, 0], after[:, 1])
        cosine = (before * after).sum(axis=1) / np.maximum(lengths, 1e-9)
        np.add.at(together, (places[here][across], places[there][across]), cosine)
    together += together.T
    least = np.minimum(outline[:, None], outline[None])
    return np.clip(together / np.maximum(least, 1), 0, 1)
