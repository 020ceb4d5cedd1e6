"""Photos in the size in which a page shows them, so that the largest one is as quick as others.

seen = looks.look(animator, "photo.jpg")
clip = animator.animate(seen.prepared)[0]          # small, within seconds
full = animator.animate("photo.jpg")[0]            # for those who take it along
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from b2m.api import BlurAnimator
from b2m.clip import Clip, Prepared
from b2m.guidance import from_flow
from b2m.media.image import ImageLike, fit, read_image
from b2m.motion.fields import resize_flow

SHOWN_PIXELS = 2**20
"""As many as a page shows of a photo at once; larger ones are shrunk."""


class Look(NamedTuple):
    """A photo that was looked at in the size in which it is shown.

    Attributes:
        prepared: the photo in that size, with all else that the file says.
        size: height and width of the photo itself.
    """

    prepared: Prepared
    size: tuple[int, int]

    @property
    def scale(self) -> float:
        """Pixels of the photo to one of those that are shown."""
        return self.size[1] / self.prepared.photo.shape[1]


def look(animator: BlurAnimator, image: ImageLike, most: int = SHOWN_PIXELS) -> Look:
    """Look at a photo in the size in which it is shown.

    Args:
        animator: that looks.
        image: as for `BlurAnimator.prepare`.
        most: pixels; smaller photos stay as they are.

    Raises:
        InputError: not a photo that can be read.
    """
    source = read_image(image)
    height, width = source.pixels.shape[:2]
    share = min(1.0, math.sqrt(most / (height * width)))
    prepared = animator.prepare(fit(source.pixels, int(share * max(height, width))))
    small = replace(source, pixels=prepared.photo)
    return Look(replace(prepared, source=small), (height, width))


def in_full(animator: BlurAnimator, image: ImageLike, clip: Clip) -> Clip:
    """The clip in the photo's own size, which goes the ways that the small one goes.

    Args:
        animator: that made the clip.
        image: the photo.
        clip: as it is shown.

    Raises:
        InputError: not a photo that can be read.
    """
    prepared = animator.prepare(image)
    ways = from_flow(resize_flow(clip.flow, prepared.photo.shape[:2]))
    return animator.animate(prepared, guidance=ways, frames=clip.count, seed=clip.seed)[0]
