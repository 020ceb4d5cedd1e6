"""Ranked motion hypotheses: which things go forwards, which backwards, likelier ones first.

A film that runs backwards leaves the same blur, and so does each thing in it by itself. Every
choice of a direction for each coherent region (`b2m.motion.regions`) therefore explains the photo
equally well; what tells them apart is only how things use to move together.
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
from b2m.motion.fields import STILL_THRESHOLD, change_between
from b2m.motion.regions import Labels, everywhere
from b2m.tensors import to_planes_last

if TYPE_CHECKING:
    from b2m.models.guidance_predictor import GuidancePredictor

APART = 0.1
"""Two clips differ clearly if their flows do by this share of the motion, averaged over what
moves. So a region counts from half of that on, as its flow changes by twice its length."""

VISIBLE = 0.1
"""And if that is seen: by this share of the change that reversing everything makes. Plain ground
looks the same whichever way it goes."""

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


class Choice(NamedTuple):
    """One choice of directions.

    Attributes:
        penalty: dB, 0 for the flow as it was, more for what is less plausible.
        turned: (n,) bool, the things that go against the flow as it was.
        places: (h, w) uint8, the thing that each pixel goes with.
    """

    penalty: float
    turned: NDArray[np.bool_]
    places: Labels

    @property
    def backwards(self) -> bool:
        """Whether all is turned: the film runs backwards."""
        return bool(self.turned.all())

    def signs(self) -> NDArray[np.float32]:
        """(h, w) of 1 and -1, by which the flow has to be multiplied."""
        return np.where(self.turned, -1, 1).astype(np.float32)[self.places]


def choices(
    flow: NDArray[np.float32],
    regions: Labels,
    most: int,
    guidance: Guidance | None = None,
    photo: Pixels | None = None,
) -> list[Choice]:
    """Clearly different directions for the things in a photo, the most plausible first.

    Args:
        flow: (h, w, 2) pixels over the whole exposure; the first choice.
        regions: (h, w) uint8 of `b2m.motion.regions.find_regions`.
        most: how many at the most, at least 1.
        guidance: (h, w, 2) the user's guidance. Regions of which it says nothing are open and
            vary first; turning others comes after, and turning all last.
        photo: (h, w, 3) uint8 sRGB, by which is told what would be seen; None leaves it to the
            motion alone.

    Returns:
        At least one. What is still stays so in all of them, and none is another's near duplicate.
    """
    length = np.hypot(flow[..., 0], flow[..., 1])
    motion = np.bincount(regions.ravel(), length.ravel(), minlength=2)
    motion[0] = 0
    total = float(motion.sum())
    if not total:
        return [Choice(0.0, np.zeros(1, bool), np.zeros_like(regions))]
    shares = motion / total
    # What is too small to make a difference goes with the nearest that does.
    counts = shares >= APART / 2
    if photo is not None:
        counts &= _seen(flow, regions, photo, len(shares)) >= VISIBLE
    chosen = np.flatnonzero(counts)
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
    kept: list[Choice] = []
    for penalty, turned in sorted(_ranked(weights, seams, said), key=lambda ranked: ranked[0]):
        differences = [2 * float(weights[turned != other.turned].sum()) for other in kept]
        if all(difference >= APART for difference in differences):
            kept.append(Choice(penalty, turned, places))
        if len(kept) == most:
            break
    return kept


def differ(
    flow: NDArray[np.float32],
    other: NDArray[np.float32],
    photo: Pixels | None = None,
    visible: float = VISIBLE,
) -> bool:
    """Whether two motions of one photo differ clearly, see `APART` and `VISIBLE`.

    Args:
        flow, other: (h, w, 2) pixels over the whole exposure.
        photo: (h, w, 3) uint8 sRGB; None leaves it to the motion alone.
        visible: share of the change by reversing everything that is clear.
    """
    apart = flow - other
    motion = max(float(np.hypot(*each.T).sum()) for each in (flow, other))
    if not np.hypot(*apart.T).sum() >= APART * motion > 0:
        return False
    if photo is None:
        return True
    reversal = max(int(change_between(photo, each, -each).sum()) for each in (flow, other))
    return bool(change_between(photo, flow, other).sum() >= visible * reversal)


def sampled_guidance(
    predictor: GuidancePredictor, photo: Tensor, size: tuple[int, int], motions: int, seed: int
) -> Iterator[Guidance]:
    """Samples of a guidance predictor, at the photo's size; near duplicates are among them.

    Args:
        predictor: in evaluation mode.
        photo: (1, 3, h, w) sRGB in [0, 1] at working size, on the predictor's device.
        size: height and width of the photo itself.
        motions: wanted.
        seed: of the latents.
    """
    for latent in predictor.draw_latents(tries(motions), seed):
        with torch.inference_mode():
            found = predictor.predict(photo, latent[None], photo.shape[-1] / size[1])[0]
        yield resize(to_planes_last(found), size)


def tries(motions: int) -> int:
    """How many samples of guidance to look at for so many motions: some of them are alike."""
    return 3 * motions if motions > 1 else 1


def split_penalty(
    flow: NDArray[np.float32], coherent: NDArray[np.float32], regions: Labels
) -> float:
    """Plausibility penalty of a motion that tears coherent regions apart: dB, 0 to half of `TORN`.

    Args:
        flow: (h, w, 2) pixels over the whole exposure.
        coherent: (h, w, 2) the same motion axes, with signs on which neighbours agree.
        regions: (h, w) uint8 of `b2m.motion.regions.find_regions`.
    """
    length = np.hypot(flow[..., 0], flow[..., 1]) * (regions > 0)
    if not length.any():
        return 0.0
    along = (flow * coherent).sum(axis=-1) > 0
    ways = [np.bincount(regions[way], length[way], minlength=256) for way in (along, ~along)]
    return TORN * float(np.minimum(*ways).sum() / length.sum())


def _seen(
    flow: NDArray[np.float32], regions: Labels, photo: Pixels, count: int
) -> NDArray[np.float64]:
    """What part of the visible change by reversing everything is each region's: (count,)."""
    change = change_between(photo, flow, -flow).sum(axis=-1)
    step = -(-len(flow) // len(change))
    seen = np.bincount(regions[::step, ::step].ravel(), change.ravel(), minlength=count)
    seen[0] = 0
    return np.asarray(seen / max(float(seen.sum()), 1))


def _ranked(
    weights: NDArray[np.float64], seams: NDArray[np.float64], said: NDArray[np.bool_]
) -> Iterator[tuple[float, NDArray[np.bool_]]]:
    """Every choice with its penalty in dB: what is turned."""
    alone = AGAINST_THE_REST * (2 - weights)
    for turned in map(np.array, product((False, True), repeat=len(weights))):
        torn = TORN * float(seams[np.ix_(turned, ~turned)].sum())
        # Some turned against the rest, or the film backwards and the rest turned: the lesser.
        penalty = torn + min(alone[turned].sum(), alone[~turned].sum() + BACKWARDS)
        penalty += AGAINST_THE_WORD * bool((turned & said).any())
        yield float(penalty), turned


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
