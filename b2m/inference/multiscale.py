"""Working resolution and image pyramid: blur of any length, by a network trained up to 40 pixels.

A photo without detail at its own size, as after enlarging, is encoded at a lower resolution. In an
image pyramid blur halves from level to level: where a coarser level shows long motion its
prediction is taken, upsampled, elsewhere that of the finer one. Four levels cover blur up to eight
times as long as that of training.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from b2m.inference.ensemble import ENSEMBLES, Axes, mirrored, mirrored_vectors
from b2m.inference.precision import network_precision
from b2m.media.image import Pixels, limit_side, row_strips
from b2m.models.animator import Encoding, Features, MotionAnimator

WORKING_PIXELS = 2**21
"""Larger photos are shrunk to so many pixels before they are encoded."""

LEVELS = 4
"""Sizes at most: the photo's own, a half, a quarter and an eighth."""

_MIN_SIDE = 48
_LARGEST = 2**25  # pixels
_LARGER = 1.5  # times the working size, from which on a photo may hold more detail
# Detail at a size and all larger ones, as a share of that at half the size: photos, blurred or not,
# have 0.39 and more, enlarged to twice their size 0.29 and less.
_MIN_DETAIL = 0.34
_MIN_CONTENT = 1.0  # sRGB codes; flatter photos do not show whether they have detail
# Pixels of the finer level: it is used below the first length, the coarser one above the second.
# Measured on validation scenes with blur of 6 to 110 px; see docs/experiments.md.
_SHORT, _LONG = 16.0, 28.0
_AROUND = 9  # pixels over which the weights are dilated and smoothed


def working_photo(photo: Pixels, max_pixels: int | None = None) -> Pixels:
    """A photo at its working resolution.

    Args:
        photo: (H, W, 3) uint8 sRGB.
        max_pixels: None for `WORKING_PIXELS`.

    Returns:
        (h, w, 3) uint8 sRGB, the photo itself or smaller, with at most so many pixels.
    """
    max_pixels = max_pixels or WORKING_PIXELS
    pixels = photo.shape[0] * photo.shape[1]
    if pixels > max_pixels:
        photo = limit_side(photo, int(max(photo.shape[:2]) * math.sqrt(max_pixels / pixels)))
    chosen, finer, larger = photo, 0.0, photo
    for octave in range(LEVELS):
        smaller = limit_side(larger, max(larger.shape[:2]) // 2)
        content = _detail(larger, smaller) ** 2
        if octave and content > _MIN_CONTENT**2 and finer < _MIN_DETAIL**2 * content:
            chosen = larger
        finer, larger = finer + content, smaller
        if min(larger.shape[:2]) < 2 * _MIN_SIDE:
            break
    return chosen


def holds_more(photo: Pixels, working: Pixels) -> bool:
    """Whether a photo has detail that is lost at its working resolution.

    Always False above 32 megapixels, where encoding in tiles would take minutes.
    """
    pixels, seen = (image.shape[0] * image.shape[1] for image in (photo, working))
    for_its_size = seen > WORKING_PIXELS / 2  # shrunk for its size, not for lack of detail
    if not (for_its_size and _LARGER * seen <= pixels <= _LARGEST):
        return False
    finer = content = 0.0
    for rows in row_strips(*photo.shape[:2]):  # a large photo's differences would fill gigabytes
        strip = photo[rows]
        half, quarter = (limit_side(strip, max(strip.shape[:2]) // step) for step in (2, 4))
        finer += strip.size * _detail(strip, half) ** 2
        content += strip.size * _detail(half, quarter) ** 2
    return content > _MIN_CONTENT**2 * photo.size and finer >= _MIN_DETAIL**2 * content


def _detail(photo: Pixels, smaller: Pixels) -> float:
    """Root mean square in sRGB codes of what a photo loses when it is shrunk."""
    enlarged = cv2.resize(smaller, photo.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return float(np.sqrt(np.mean(np.square(cv2.subtract(photo, enlarged, dtype=cv2.CV_32F)))))


class MultiscaleEncoder:
    """Encodes a photo by an image pyramid.

    What does not depend on guidance is computed once per level, and kept in half precision.

    Args:
        model: in evaluation mode.
        photo: (1, 3, H, W) sRGB in [0, 1].
        levels: at most; 1 is the model's own `encode`.
        predictions: averaged, one of `b2m.inference.ensemble.ENSEMBLES`.
    """

    def __init__(
        self, model: MotionAnimator, photo: Tensor, levels: int = LEVELS, predictions: int = 1
    ) -> None:
        self.model, self.predictions = model, predictions
        self.sizes = [photo]
        while len(self.sizes) < levels and min(self.sizes[-1].shape[-2:]) >= 2 * _MIN_SIDE:
            height, width = self.sizes[-1].shape[-2:]
            half = (round(height / 2), round(width / 2))
            self.sizes.append(F.interpolate(self.sizes[-1], size=half, mode="area"))
        self._kept: dict[tuple[int, Axes], tuple[Tensor, Tensor]] = {}

    def _precision(self, level: int) -> torch.autocast:
        """Coarse levels are cheap, and their errors are upsampled: always float32."""
        device = self.sizes[level].device
        return torch.autocast(device.type, enabled=False) if level else network_precision(device)

    def _features(self, level: int, axes: Axes) -> Features:
        photo = self.sizes[level].flip(axes) if axes else self.sizes[level]
        if kept := self._kept.get((level, axes)):
            coarse, fine = (part.float() for part in kept)
            return Features(photo, coarse, fine)
        with self._precision(level):
            features = self.model.features(photo)
        self._kept[level, axes] = features.coarse.half(), features.fine.half()
        return features

    def _encode(self, level: int, guidance: Tensor | None) -> Encoding:
        """The mean of the predictions, summed one by one to save memory."""
        total: Encoding | None = None
        for axes in ENSEMBLES[self.predictions]:
            given = None if guidance is None else mirrored_vectors(guidance, axes)
            features = self._features(level, axes)
            with self._precision(level):
                found = mirrored(self.model.decode(features, given), axes)
            total = found if total is None else Encoding(*map(torch.add, total, found))
        assert total is not None
        if self.predictions == 1:
            return total
        return Encoding(*(part / self.predictions for part in total))

    def encode(self, guidance: Tensor | None = None) -> Encoding:
        """Encode the photo.

        Args:
            guidance: (1, 2, H, W) in {-1, 0, 1}, or None.

        Returns:
            Encoding at the photo's size.
        """
        smaller: tuple[Encoding, Tensor] | None = None  # of the coarser level, and its photo
        for level, photo in reversed(list(enumerate(self.sizes))):
            if level and smaller is not None:
                # Without long motion in the next level this one would not be used.
                axis = smaller[0].axis * _ratio(self.sizes[level - 1], smaller[1])
                if axis.norm(dim=1).max() < _SHORT / 2:
                    continue
            given = guidance
            if guidance is not None and level:
                given = F.interpolate(guidance, size=photo.shape[-2:], mode="nearest")
            encoding = self._encode(level, given)
            if smaller is not None:
                encoding = _fuse(encoding, photo, *smaller)
            smaller = encoding, photo
        assert smaller is not None
        return smaller[0]


def _ratio(photo: Tensor, smaller: Tensor) -> float:
    return max(photo.shape[-2:]) / max(smaller.shape[-2:])


def _fuse(encoding: Encoding, photo: Tensor, coarse: Encoding, smaller: Tensor) -> Encoding:
    """The finer encoding, replaced by the coarser one where that shows long motion."""
    ratio = _ratio(photo, smaller)

    def resize(maps: Tensor) -> Tensor:
        return F.interpolate(maps, size=photo.shape[-2:], mode="bilinear")

    weight = coarse_weight(ratio * resize(coarse.axis))
    if not weight.any():
        return encoding
    return blend(encoding, upsample(coarse, smaller, photo, ratio, resize), weight)


def upsample(
    coarse: Encoding,
    smaller: Tensor,
    photo: Tensor,
    ratio: float,
    resize: Callable[[Tensor], Tensor],
) -> Encoding:
    """A coarse encoding on the grid of a larger photo, whose detail the middle frame takes.

    Args:
        coarse: of the smaller photo.
        smaller: (1, 3, h, w) sRGB.
        photo: (1, 3, H, W) sRGB, the larger one.
        ratio: pixels of the larger photo to one of the smaller.
        resize: from maps (1, C, h, w) to (1, C, H, W).
    """
    found = Encoding(*map(resize, coarse._replace(middle=coarse.middle - smaller)))
    return found._replace(
        middle=photo + found.middle, axis=ratio * found.axis, curve=ratio * found.curve
    )


def coarse_weight(axis: Tensor) -> Tensor:
    """Weight of a coarser level.

    Args:
        axis: (1, 2, H, W) motion axes predicted at the coarser level, in pixels of the finer one.

    Returns:
        (1, 1, H, W) in [0, 1]; 1 where motion is too long for the finer level.
    """
    length = axis.norm(dim=1, keepdim=True)
    if length.max() <= _SHORT:
        return torch.zeros_like(length)
    # Separable: four times as fast.
    for window, margin in (((_AROUND, 1), (_AROUND // 2, 0)), ((1, _AROUND), (0, _AROUND // 2))):
        length = F.max_pool2d(length, window, 1, margin)
    length = F.avg_pool2d(length, _AROUND, 1, _AROUND // 2, count_include_pad=False)
    return ((length - _SHORT) / (_LONG - _SHORT)).clamp(0, 1)


def blend(encoding: Encoding, other: Encoding, weight: Tensor) -> Encoding:
    """Interpolate from an encoding to another of the same size, by a weight (1, 1, H, W)."""
    return Encoding(*(torch.lerp(a, b, weight) for a, b in zip(encoding, other, strict=True)))
