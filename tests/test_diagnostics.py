"""Warnings come where they are due, and nowhere else."""

import cv2
import numpy as np
import pytest
from scipy import ndimage

from b2m.inference import diagnostics


def uniform(vector, height=120, width=160):
    return np.broadcast_to(np.float32(vector), (height, width, 2)).copy()


def scene(vector, lights, size=1):
    """A dim photo, moved along a vector, with lights far brighter than the sensor can tell."""
    random = np.random.default_rng(0)
    light = 0.1 + 0.1 * ndimage.gaussian_filter(random.random((120, 160, 3)), (2, 2, 0))
    for row, column in lights:
        light[row : row + size, column : column + size] = 200
    steps = np.linspace(-0.5, 0.5, 41)
    moved = [ndimage.shift(light, (vector[1] * s, vector[0] * s, 0), order=1) for s in steps]
    exposure = np.clip(np.mean(moved, 0), 0, 1)
    return np.rint(255 * exposure ** (1 / 2.2)).astype(np.uint8)


@pytest.mark.parametrize("vector", [(20, 0), (0, 14), (-15, 12), (10, 10)])
def test_lights_that_move_leave_streaks(vector):
    photo = scene(vector, [(60, 80), (30, 50)])
    assert photo.max() == 255
    assert diagnostics.burnt_streaks(photo, uniform(vector))
    assert diagnostics.burnt_streaks(photo, -uniform(vector))
    # Something else moved, or moved another way, or nothing.
    assert not diagnostics.burnt_streaks(photo, uniform((-vector[1], vector[0])))
    assert not diagnostics.burnt_streaks(photo, uniform((0, 0)))


def test_dots_skies_and_dim_photos_are_no_streaks():
    assert not diagnostics.burnt_streaks(scene((1, 0), [(60, 80)], size=3), uniform((1, 0)))
    assert not diagnostics.burnt_streaks(scene((20, 0), []), uniform((20, 0)))
    sky = scene((20, 0), [])
    sky[:50] = 255
    assert not diagnostics.burnt_streaks(sky, uniform((20, 0)))
    disc = scene((12, 0), [])
    cv2.circle(disc, (80, 60), 15, (255, 255, 255), -1)
    assert not diagnostics.burnt_streaks(disc, uniform((12, 0)))


@pytest.mark.parametrize("vector", [(20, 0), (0, 14), (-15, 12)])
def test_what_is_white_is_no_light(vector):
    """Its ends fade over the length of its motion, however slender it is."""
    light = np.full((120, 160, 3), 0.05)
    along = np.float64(vector) / np.hypot(*vector)
    ends = [tuple(np.rint((80, 60) + side * 35 * along).astype(int).tolist()) for side in (-1, 1)]
    cv2.line(light, *ends, (1, 1, 1), 3)
    steps = np.linspace(-0.5, 0.5, 41)
    moved = [ndimage.shift(light, (vector[1] * s, vector[0] * s, 0), order=1) for s in steps]
    photo = np.rint(255 * np.mean(moved, 0) ** (1 / 2.2)).astype(np.uint8)
    assert (photo.min(axis=-1) >= 245).sum() > 50
    assert not diagnostics.burnt_streaks(photo, uniform(vector))


def test_bars_alike_tell_of_motion_that_was_not_found():
    places = [(20, 30), (40, 90), (60, 60), (80, 110), (100, 45)]
    still = uniform((0, 0))
    assert diagnostics.burnt_streaks(scene((16, 12), places), still)
    assert not diagnostics.burnt_streaks(scene((16, 12), places[:2]), still)
    # Bars in all directions are no motion.
    star = scene((0, 0), [])
    for turn, (row, column) in enumerate(places):
        x, y = 12 * np.cos(turn * np.pi / 5), 12 * np.sin(turn * np.pi / 5)
        ends = [(round(column + s * x), round(row + s * y)) for s in (-1, 1)]
        cv2.line(star, *ends, (255, 255, 255), 2)
    assert not diagnostics.burnt_streaks(star, still)


def test_streaks_of_different_signs_are_lines():
    """The signs of a line mean nothing: a streak whose halves differ is one still."""
    flow = uniform((20, 0))
    flow[:, ::2] *= -1
    assert diagnostics.burnt_streaks(scene((20, 0), [(60, 80)]), flow)


def test_blur_longer_than_a_quarter():
    assert diagnostics.too_long(uniform((20, 20))) is None
    assert diagnostics.too_long(uniform((18, 25))) == pytest.approx(np.hypot(18, 25), rel=1e-5)
    flow = uniform((0, 0))
    flow[:3, :30] = 100  # a few pixels err
    assert diagnostics.too_long(flow) is None


def test_motion_that_changes_nothing_stands_still():
    random = np.random.default_rng(1)
    detail = ndimage.gaussian_filter(random.normal(0, 300, (120, 160, 3)), (2, 2, 0))
    smooth = ndimage.gaussian_filter(random.normal(0, 1000, (120, 160, 3)), (30, 30, 0))
    for photo, still in ((128 + detail, False), (128 + smooth, True)):
        photo = photo.clip(0, 255).astype(np.uint8)
        assert diagnostics.is_static(photo, uniform((8, 3)), 3.0) == still
        assert diagnostics.is_static(photo, uniform((2, 1)), 3.0)
    # A small thing that moves is motion; the signs mean nothing.
    line = uniform((0, 0))
    line[40:50, 60:70] = (8, 3)
    line[::2] *= -1
    assert not diagnostics.is_static((128 + detail).clip(0, 255).astype(np.uint8), line, 3.0)


def test_guidance_of_what_does_not_move():
    flow = uniform((0, 0))
    flow[:, :40] = (8, 0)
    guidance = np.zeros((240, 320, 2), np.int8)  # twice the size
    guidance[:, :80] = 1
    assert diagnostics.unseen(guidance, flow, 3) is None
    guidance[:, 80:120] = 1
    assert diagnostics.unseen(guidance, flow, 3) is None
    guidance[:, 120:240] = -1
    assert diagnostics.unseen(guidance, flow, 3) == pytest.approx(2 / 3)
    assert diagnostics.unseen(np.zeros_like(guidance), flow, 3) is None
