"""Assessment of a clip: how much moved, how much sharper it became, how certain that is.

The reblurring error shows none of it: a clip without motion averages to its photo exactly. Imports
no model.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from b2m.media.image import Pixels
from b2m.motion.fields import magnitude

SHARP = "This photo looks sharp"

# Calibrated on sharp validation photos and blurred scenes; coarse, to hold for other weights, too.
_SPECK = 0.002  # of the photo; smaller connected pieces are specks
_SCATTERED = 0.1  # of what moves, in specks
_SURE, _FAIRLY_SURE = 0.9, 0.78  # mean probability that what moves does
_LITTLE = 0.06  # of the photo; less, scattered and uncertain, counts as an error
_TINY = 0.01  # of the photo; less counts as an error where uncertain, and no speed is named
_CLEARLY, _SOMEWHAT = 1.5, 1.12  # times the detail along the motion


class Assessment(NamedTuple):
    """Assessment of a clip.

    Attributes:
        sharp: whether the photo looks sharp: no motion is found, or so little, scattered and
            uncertain that it is most likely an error.
        moved: share of the photo that moved, 0 to 1.
        fastest: pixels over the exposure, of its fastest parts.
        sharpened: ratio of the detail along the motion in the middle frame to that in the photo,
            over moving pixels; 1 without any.
        specks: share of what moved that is scattered in small pieces, 0 to 1.
        certainty: mean probability of motion over moving pixels, 0 to 1; None where the model
            gives none, or where guidance names what moves.
    """

    sharp: bool
    moved: float
    fastest: float
    sharpened: float
    specks: float
    certainty: float | None

    @property
    def sentences(self) -> tuple[str, ...]:
        """The assessment in plain words, for users."""
        if self.sharp and not self.moved:
            return (f"{SHARP}: no motion blur was found in it.",)
        share = f"{self.moved:.0%}" if self.moved >= _TINY else "less than 1%"
        if self.sharp:
            return (
                f"{SHARP}: what seems to move is {share} of it, and that is most likely an error.",
            )
        return (self._motion(share), self._detail(), *self._certainty_sentence())

    def _motion(self, share: str) -> str:
        moved = f"of the photo {'may have ' if self._unsure else ''}moved"
        if self.moved < _TINY:
            return f"Less than 1% {moved}."
        what = "All" if self.moved > 0.95 else f"About {share}"
        return f"{what} {moved}, the fastest parts by {self.fastest:.0f} px."

    def _detail(self) -> str:
        times = f"{self.sharpened:.1f} times the detail along the motion"
        if self.sharpened >= _CLEARLY:
            return f"What moved became clearly sharper ({times})."
        if self.sharpened >= _SOMEWHAT:
            return f"What moved became a little sharper ({times})."
        return "What moved hardly became sharper: the clip shows the motion, not new detail."

    @property
    def _unsure(self) -> bool:
        vague = self.certainty is not None and self.certainty < _FAIRLY_SURE
        return vague or self.specks > _SCATTERED

    def _certainty_sentence(self) -> tuple[str, ...]:
        if self.specks > _SCATTERED:
            return ("b2m is not sure of this motion: part of it is scattered in small specks.",)
        if self.certainty is None:
            return ()
        if self.certainty >= _SURE:
            return ("b2m is sure of what moved; forwards or backwards, blur does not tell.",)
        if self.certainty >= _FAIRLY_SURE:
            return ("b2m is fairly sure of what moved; forwards or backwards, blur does not tell.",)
        vague = "where it ends is vague, and that part of the photo may be sharp"
        return (f"b2m is not sure of this motion: {vague}.",)


def assess(
    photo: Pixels,
    middle: Pixels,
    flow: NDArray[np.float32],
    *,
    threshold: float,
    fastest: float,
    still: bool,
    certainty: float | None = None,
) -> Assessment:
    """Judge a clip.

    Args:
        photo: (H, W, 3) uint8 sRGB.
        middle: (H, W, 3) uint8 sRGB, the sharp frame.
        flow: (H, W, 2) pixels over the exposure.
        threshold: pixels; shorter motion counts as still.
        fastest: length of the fastest motion, pixels.
        still: whether no motion blur was found in the photo.
        certainty: see `Assessment`.
    """
    moving = magnitude(flow) >= threshold
    if still or not moving.any():
        return Assessment(still, 0.0, 0.0, 1.0, 0.0, None)
    moved = float(moving.mean())
    pieces = cv2.connectedComponentsWithStats(moving.astype(np.uint8))[2][1:, cv2.CC_STAT_AREA]
    specks = float(pieces[pieces < _SPECK * moving.size].sum() / pieces.sum())
    unsure = certainty is not None and certainty < _FAIRLY_SURE
    sharp = unsure and (moved < _TINY or (specks > _SCATTERED and moved < _LITTLE))
    detail = [_derivative_along(image, flow)[moving] for image in (middle, photo)]
    energy, before = (max(float(np.square(d).mean()), 1e-6) for d in detail)
    return Assessment(sharp, moved, fastest, (energy / before) ** 0.5, specks, certainty)


def _derivative_along(image: Pixels, flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Derivative of an image along a motion, sRGB codes per pixel: (H, W)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    down, across = np.gradient(grey)
    change = across * flow[..., 0] + down * flow[..., 1]
    return np.asarray(change / np.maximum(magnitude(flow), 1e-6))
