"""The working resolution: blur of any length, by a network that knows that of 36 pixels.

A photo that holds no detail at its own size, as one that was enlarged, is encoded smaller. Then,
shrunk to half, a photo has blur half as long: where the smaller photo shows long motion, what it
says is taken, enlarged; elsewhere what the larger one says. Level by level this covers blur up to
eight times as long as that of training.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from b2m.inference.ensemble import ENSEMBLES, Axes, mirrored, mirrored_vectors
from b2m.inference.precision import network_precision
from b2m.media.image import Pixels, fit, row_strips
from b2m.models.animator import Encoding, Features, MotionAnimator

WORKING_PIXELS = 2**21
"""Larger photos are shrunk to so many pixels before they are encoded."""

LEVELS = 4
"""Sizes at most: the photo's own, a half, a quarter and an eighth."""

_LEAST_SIDE = 48
_LARGEST = 2**25  # pixels
_LARGER = 1.5  # times the pixels, from which on a photo may hold more than its working size
# Detail at a size and all larger ones, as a share of that at half the size: photos, blurred or not,
# have 0.39 and more, enlarged to twice their size 0.29 and less.
_LEAST_DETAIL = 0.34
_LEAST_CONTENT = 1.0  # sRGB codes; a photo flatter than this says nothing of its detail
# Pixels of the larger photo: from shorter motion on it is to be trusted, from longer on the smaller
# one is. Measured on validation scenes with blur of 6 to 110 px; see docs/experiments.md.
_SHORT, _LONG = 16.0, 28.0
_AROUND = 9  # pixels about which motion decides together, so that things are not cut apart


def working_photo(photo: Pixels, most: int | None = None) -> Pixels:
    """A photo at its working resolution.

    Args:
        photo: (H, W, 3) uint8 sRGB.
        most: pixels; None for `WORKING_PIXELS`.

    Returns:
        (h, w, 3) uint8 sRGB, the photo itself or smaller, with at most so many pixels.
    """
    most = most or WORKING_PIXELS
    pixels = photo.shape[0] * photo.shape[1]
    if pixels > most:
        photo = fit(photo, int(max(photo.shape[:2]) * math.sqrt(most / pixels)))
    chosen, finer, larger = photo, 0.0, photo
    for octave in range(LEVELS):
        smaller = fit(larger, max(larger.shape[:2]) // 2)
        content = _detail(larger, smaller) ** 2
        if octave and content > _LEAST_CONTENT**2 and finer < _LEAST_DETAIL**2 * content:
            chosen = larger
        finer, larger = finer + content, smaller
        if min(larger.shape[:2]) < 2 * _LEAST_SIDE:
            break
    return chosen


def holds_more(photo: Pixels, working: Pixels) -> bool:
    """Whether a photo has detail that is lost at the resolution at which it is encoded as a whole.

    Of photos above 32 megapixels that is not asked: it would take minutes to look for.
    """
    pixels, seen = (image.shape[0] * image.shape[1] for image in (photo, working))
    for_its_size = seen > WORKING_PIXELS / 2  # it was shrunk, rather than for want of detail
    if not (for_its_size and _LARGER * seen <= pixels <= _LARGEST):
        return False
    finer = content = 0.0
    for rows in row_strips(*photo.shape[:2]):  # a large photo's differences would fill gigabytes
        strip = photo[rows]
        half, quarter = (fit(strip, max(strip.shape[:2]) // step) for step in (2, 4))
        finer += strip.size * _detail(strip, half) ** 2
        content += strip.size * _detail(half, quarter) ** 2
    return content > _LEAST_CONTENT**2 * photo.size and finer >= _LEAST_DETAIL**2 * content


def _detail(photo: Pixels, smaller: Pixels) -> float:
    """Root mean square in sRGB codes of what a photo loses when it is shrunk."""
    enlarged = cv2.resize(smaller, photo.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return float(np.sqrt(np.mean(np.square(cv2.subtract(photo, enlarged, dtype=cv2.CV_32F)))))


class MultiscaleEncoder:
    """Encodes a photo at its own size, with the help of smaller ones.

    What guidance does not reach is computed once per size, and kept in half precision.

    Args:
        model: in evaluation mode.
        photo: (1, 3, H, W) sRGB in [0, 1].
        levels: sizes at most; 1 is the model's own `encode`.
        predictions: whose mean is taken, one of `b2m.inference.ensemble.ENSEMBLES`.
    """

    def __init__(
        self, model: MotionAnimator, photo: Tensor, levels: int = LEVELS, predictions: int = 1
    ) -> None:
        self.model, self.predictions = model, predictions
        self.sizes = [photo]
        while len(self.sizes) < levels and min(self.sizes[-1].shape[-2:]) >= 2 * _LEAST_SIDE:
            height, width = self.sizes[-1].shape[-2:]
            half = (round(height / 2), round(width / 2))
            self.sizes.append(F.interpolate(self.sizes[-1], size=half, mode="area"))
        self._kept: dict[tuple[int, Axes], tuple[Tensor, Tensor]] = {}

    def _precision(self, level: int) -> torch.autocast:
        """Smaller sizes are cheap, and what they are off by is enlarged: always float32."""
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
        """The mean of the predictions, summed one by one, as each is as large as some photos."""
        total: Encoding | None = None
        for axes in ENSEMBLES[self.predictions]:
            said = None if guidance is None else mirrored_vectors(guidance, axes)
            features = self._features(level, axes)
            with self._precision(level):
                found = mirrored(self.model.decode(features, said), axes)
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
        smaller: tuple[Encoding, Tensor] | None = None  # what is known so far, and of which photo
        for level, photo in reversed(list(enumerate(self.sizes))):
            if level and smaller is not None:
                # Where nothing moves far even in the next size, this one would not be asked.
                line = smaller[0].line * _ratio(self.sizes[level - 1], smaller[1])
                if line.norm(dim=1).max() < _SHORT / 2:
                    continue
            said = guidance
            if guidance is not None and level:
                said = F.interpolate(guidance, size=photo.shape[-2:], mode="nearest")
            encoding = self._encode(level, said)
            if smaller is not None:
                encoding = _fuse(encoding, photo, *smaller)
            smaller = encoding, photo
        assert smaller is not None
        return smaller[0]


def _ratio(photo: Tensor, smaller: Tensor) -> float:
    return max(photo.shape[-2:]) / max(smaller.shape[-2:])


def _fuse(encoding: Encoding, photo: Tensor, coarse: Encoding, smaller: Tensor) -> Encoding:
    """An encoding, with that of a smaller photo enlarged where this shows long motion."""
    ratio = _ratio(photo, smaller)

    def enlarged(maps: Tensor) -> Tensor:
        return F.interpolate(maps, size=photo.shape[-2:], mode="bilinear")

    line = ratio * enlarged(coarse.line)
    trust = trusted(line)
    if not trust.any():
        return encoding
    return blend(
        encoding,
        Encoding(
            middle=photo + enlarged(coarse.middle - smaller),
            line=line,
            curve=ratio * enlarged(coarse.curve),
            even=enlarged(coarse.even),
            odd=enlarged(coarse.odd),
            swept=enlarged(coarse.swept),
            moving=enlarged(coarse.moving),
        ),
        trust,
    )


def trusted(line: Tensor) -> Tensor:
    """How far a smaller photo is to be believed, rather than the larger one.

    Args:
        line: (1, 2, H, W) motion axes seen in the smaller photo, in pixels of the larger one.

    Returns:
        (1, 1, H, W) in [0, 1]; 1 where motion is too long for the larger photo.
    """
    length = line.norm(dim=1, keepdim=True)
    if length.max() <= _SHORT:
        return torch.zeros_like(length)
    # One axis after the other: four times as fast.
    for window, margin in (((_AROUND, 1), (_AROUND // 2, 0)), ((1, _AROUND), (0, _AROUND // 2))):
        length = F.max_pool2d(length, window, 1, margin)
    length = F.avg_pool2d(length, _AROUND, 1, _AROUND // 2, count_include_pad=False)
    return ((length - _SHORT) / (_LONG - _SHORT)).clamp(0, 1)


def blend(encoding: Encoding, other: Encoding, trust: Tensor) -> Encoding:
    """An encoding and another of the same size, which counts by a share (1, 1, H, W)."""
    return Encoding(*(torch.lerp(a, b, trust) for a, b in zip(encoding, other, strict=True)))
