"""What moves against the camera is found, whatever the camera does."""

import numpy as np
import pytest
from scipy import ndimage

from b2m.motion.segmentation import moving_mask, segment

HEIGHT, WIDTH = 180, 240
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
DISC = (COLUMNS - 80) ** 2 + (ROWS - 70) ** 2 < 35**2
BOX = (abs(COLUMNS - 180) < 20) & (abs(ROWS - 120) < 30)

CAMERAS = {
    "still": np.zeros((HEIGHT, WIDTH, 2), np.float32),
    "pan": np.full((HEIGHT, WIDTH, 2), (14.0, 3.0), np.float32),
    "roll": 0.12 * np.stack((ROWS - 90, 120 - COLUMNS), -1),
    "zoom": 0.1 * np.stack((COLUMNS - 120, ROWS - 90), -1),
}


def overlap(one, other):
    return (one & other).sum() / (one | other).sum()


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("signs", ["known", "unknown"])
def test_things_are_told_from_the_camera(camera, signs):
    random = np.random.default_rng(0)
    flow = CAMERAS[camera].copy()
    flow[DISC] += (-4.0, 12.0)
    flow[BOX] += (9.0, -8.0)
    flow += random.normal(0, 0.4, flow.shape).astype(np.float32)
    if signs == "unknown":
        flow *= random.choice((-1.0, 1.0), (HEIGHT, WIDTH, 1)).astype(np.float32)
    assert overlap(moving_mask(flow), DISC | BOX) > 0.85


@pytest.mark.parametrize("camera", CAMERAS)
def test_nothing_moves_by_itself(camera):
    flow = CAMERAS[camera] + np.random.default_rng(1).normal(0, 0.5, (HEIGHT, WIDTH, 2))
    assert not moving_mask(flow.astype(np.float32)).any()


def test_coarse_flow_of_a_camera_is_no_motion_of_things():
    """At 2.2 px of error a fifth of the points is within a pixel and a half of their place."""
    flow = CAMERAS["pan"] + np.random.default_rng(1).normal(0, 2.2, (HEIGHT, WIDTH, 2))
    assert not moving_mask(flow.astype(np.float32)).any()
    flow[DISC] += (-6.0, 14.0)
    assert overlap(moving_mask(flow.astype(np.float32)), DISC) > 0.7


def test_motion_of_a_pixel_and_a_half_counts():
    flow = CAMERAS["still"].copy()
    flow[DISC], flow[BOX] = (1.5, 0.0), (0.0, 0.7)
    assert overlap(moving_mask(flow), DISC) > 0.9


def test_crumbs_do_not_count():
    flow = CAMERAS["still"].copy()
    flow[50:54, 60:64] = 20
    assert not moving_mask(flow).any()


@pytest.mark.parametrize("size", [(16, 16), (16, 200), (33, 17)])
def test_any_size(size):
    mask = moving_mask(np.random.default_rng(0).normal(0, 5, (*size, 2)).astype(np.float32))
    assert mask.shape == size
    assert mask.dtype == bool


SKY = ROWS < 60


def textured(seed=0):
    """Blobs of about six pixels, (H, W, 3) uint8."""
    noise = np.random.default_rng(seed).normal(size=(HEIGHT, WIDTH, 3))
    soft = ndimage.gaussian_filter(noise, (3, 3, 0))
    return (128 + 50 * soft / soft.std()).clip(0, 255).astype(np.uint8)


def test_what_is_too_plain_to_show_motion_does_not_move():
    """A pan sees no motion in a sky; where the same stands still though it shows, it does move."""
    flow = CAMERAS["pan"].copy()
    flow[SKY] = 0
    photo = textured()
    assert overlap(segment(photo, flow), SKY) > 0.9
    photo[SKY] = (180, 200, 230)
    assert segment(photo, flow).mean() < 0.01
    # Clouds of a few codes change nothing, nor does the sensor's grain.
    photo[SKY] += (3 * np.sin(COLUMNS / 9))[SKY][:, None].astype(np.int8).view(np.uint8)
    assert segment(photo, flow).mean() < 0.01
    assert overlap(moving_mask(flow), SKY) > 0.9  # which knows no photo


@pytest.mark.parametrize("camera", ["still", "pan"])
def test_a_plain_thing_that_is_seen_to_move_is_found_whole(camera):
    flow, photo = CAMERAS[camera].copy(), textured()
    flow[DISC] += (-4.0, 12.0)
    photo[DISC] = (200, 30, 30)
    assert overlap(segment(photo, flow), DISC) > 0.85


def test_large_photos_and_small_ones_have_the_same_mask():
    flow, photo = CAMERAS["pan"].copy(), textured()
    flow[DISC] += (-8.0, 24.0)
    times = 9
    large = photo.repeat(times, 0).repeat(times, 1)
    found = segment(large, times * flow.repeat(times, 0).repeat(times, 1))
    assert found.shape == (times * HEIGHT, times * WIDTH) and found.dtype == bool
    assert overlap(found[times // 2 :: times, times // 2 :: times], segment(photo, flow)) > 0.9
