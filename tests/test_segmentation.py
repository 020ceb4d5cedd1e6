"""What moves against the camera is found, whatever the camera does."""

import numpy as np
import pytest

from b2m.segmentation import moving_mask

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


def test_crumbs_do_not_count():
    flow = CAMERAS["still"].copy()
    flow[50:54, 60:64] = 20
    assert not moving_mask(flow).any()


@pytest.mark.parametrize("size", [(16, 16), (16, 200), (33, 17)])
def test_any_size(size):
    mask = moving_mask(np.random.default_rng(0).normal(0, 5, (*size, 2)).astype(np.float32))
    assert mask.shape == size
    assert mask.dtype == bool
