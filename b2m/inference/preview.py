"""Photos at the size at which a page shows them, and the same clip at the photo's own size."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from b2m.guidance.quantize import from_flow
from b2m.inference.animator import BlurAnimator
from b2m.inference.assessment import Assessment
from b2m.inference.clip import Clip
from b2m.inference.renderers import Prepared
from b2m.media.image import ImageLike, limit_side, read_image
from b2m.motion.fields import resize_flow

PREVIEW_PIXELS = 2**20
"""As many as a page shows of a photo at once; larger ones are shrunk."""


class Preview(NamedTuple):
    """A photo encoded at the size at which a page shows it.

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

    def assessment(self, clip: Clip) -> Assessment:
        """What is said of a clip of the preview; lengths are in pixels of the photo itself."""
        return clip.assessment._replace(fastest=clip.fastest * self.scale)


def preview(animator: BlurAnimator, image: ImageLike, max_pixels: int = PREVIEW_PIXELS) -> Preview:
    """Encode a photo at the size at which a page shows it.

    Args:
        animator: that encodes.
        image: as for `BlurAnimator.prepare`.
        max_pixels: of the preview; smaller photos stay as they are.

    Raises:
        InputError: not a photo that can be read.
    """
    source = read_image(image)
    height, width = source.pixels.shape[:2]
    share = min(1.0, math.sqrt(max_pixels / (height * width)))
    prepared = animator.prepare(limit_side(source.pixels, int(share * max(height, width))))
    small = replace(source, pixels=prepared.photo)
    return Preview(replace(prepared, source=small), (height, width))


def at_full_size(animator: BlurAnimator, image: ImageLike, clip: Clip) -> Clip:
    """A clip of the preview rendered at the size of the photo, with the same directions.

    Args:
        animator: that made the clip.
        image: the photo.
        clip: as it is shown.

    Raises:
        InputError: not a photo that can be read.
    """
    prepared = animator.prepare(image)
    guidance = from_flow(resize_flow(clip.flow, prepared.photo.shape[:2]))
    return animator.animate(prepared, guidance=guidance, frames=clip.count, seed=clip.seed)[0]
