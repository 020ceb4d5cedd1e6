"""Made pictures, and what happens to them while a shutter is open."""

import cv2
import numpy as np
from scipy import ndimage


def slid(photo, vector, count=9):
    """Frames of a picture that slides, with the middle one in place."""
    times = np.linspace(-0.5, 0.5, count)
    moved = [ndimage.shift(photo, (vector[1] * t, vector[0] * t, 0), order=1) for t in times]
    return np.stack(moved)


def leaves(height, width, seed=0):
    """A picture of edges in every octave: discs that cover each other (Lee et al. 2001)."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.uint8)
    for radius in (4 / np.sqrt(rng.uniform(0.004, 1, 3000))).astype(int):  # as many as r^-3
        centre = rng.integers(0, (width, height)).tolist()
        color = rng.integers(20, 236, 3).tolist()
        cv2.circle(picture, centre, int(radius), color, -1, cv2.LINE_AA)
    return picture
