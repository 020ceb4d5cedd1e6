"""Photos blurred along a straight line per pixel, with that flow.

The sets BSD-M and BSD-S of Argaw et al. 2021b, Table 2, which Gong et al. 2017 (section 5.1) made
from photos of the Berkeley segmentation data set: 480x320 pixels, under the motion field of a
camera that moves sideways, forwards and turns about its axis, at most 17 and 36 pixels long.

Chosen, where the papers' texts leave it open: the four parts are drawn from one normal distribution
each, and the whole is scaled so that the longest vector is between a quarter of the greatest length
and all of it. Blur is summed in linear light, as everywhere in b2m, and rounded to 8 bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from b2m.blur import linear_to_srgb8, srgb8_to_linear
from b2m.data.sample import Sample
from b2m.deconvolution import LineBlur
from b2m.errors import InputError
from b2m.media.image import Pixels
from b2m.motion.fields import Flow
from b2m.tensors import to_array, to_tensor

SETS = {"BSD-M": 17.0, "BSD-S": 36.0}
"""Greatest length of a vector, pixels."""

SIZE = (320, 480)
"""Height and width, pixels."""


def camera_field(height: int, width: int, longest: float, generator: np.random.Generator) -> Flow:
    """Motion field of a camera that moves sideways and forwards and turns about its axis.

    Args:
        height, width: pixels.
        longest: the greatest length a vector may have, pixels.
        generator: of the four numbers and of the length.

    Returns:
        (H, W, 2) pixels.
    """
    across, down, forwards, turn = generator.normal(size=4)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    x = (2 * columns + 1 - width) / width  # -1 to 1, and by the same measure downwards
    y = (2 * rows + 1 - height) / width
    flow = np.stack([across + forwards * x - turn * y, down + forwards * y + turn * x], 2)
    length = longest * generator.uniform(0.25, 1)
    scaled: NDArray[np.float32] = flow * (length / np.linalg.norm(flow, axis=2).max())
    return scaled.astype(np.float32)


def line_samples(
    photos: Sequence[Pixels],
    count: int,
    longest: float,
    *,
    size: tuple[int, int] = SIZE,
    seed: int = 0,
) -> Iterator[Sample]:
    """Blurred crops of photos, each photo in turn, with one sharp frame each.

    They are a function of the seed and the number alone.

    Args:
        photos: (H, W, 3) uint8 sRGB each; those smaller than a crop are left out.
        count: samples.
        longest: the greatest length of a vector, pixels.
        size: height and width of the crops.
        seed: of crops and motions.

    Raises:
        InputError: no photo is large enough.
    """
    height, width = size
    large = [photo for photo in photos if photo.shape[0] >= height and photo.shape[1] >= width]
    if not large:
        raise InputError(f"none of {len(photos)} photos has {width}x{height} pixels or more")
    for number in range(count):
        generator = np.random.default_rng([seed, number])
        photo = large[number % len(large)]
        top = int(generator.integers(photo.shape[0] - height + 1))
        left = int(generator.integers(photo.shape[1] - width + 1))
        sharp = np.ascontiguousarray(photo[top : top + height, left : left + width])
        flow = camera_field(height, width, longest, generator)
        light = to_tensor(srgb8_to_linear(sharp))
        blurred = LineBlur(to_tensor(flow))(light)
        yield Sample(linear_to_srgb8(to_array(blurred)), sharp[None], flow)
