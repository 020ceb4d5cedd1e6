"""Squares of real clips for training, against frames whose motion is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_pictures import light, srgb

from b2m.data.clips import cut_crops
from b2m.data.swept import swept_path
from b2m.errors import InputError
from b2m.media.video import write_mp4

SPEED = 2  # pixels per frame, to the right
SIDE = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of smooth noise that moves to the right."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (24, 64, 3)).repeat(6, 0).repeat(6, 1).astype(np.float64)
    kernel = np.ones(5) / 5
    for axis in (0, 1):
        coarse = np.apply_along_axis(np.convolve, axis, coarse, kernel, "same")
    texture = coarse.astype(np.uint8)
    frames = [texture[:128, 128 - SPEED * t : 288 - SPEED * t] for t in range(31)]
    root = tmp_path_factory.mktemp("clips")
    (root / "train").mkdir()
    write_mp4(root / "train" / "pan.mp4", iter(frames), 30)
    return root


def test_squares_have_frames_that_average_to_the_photo_and_the_known_motion(folder):
    crops = cut_crops(folder, SIDE, windows=6, per_window=2)
    assert crops.clips.shape[1:] == (8, 3, SIDE, SIDE)
    assert crops.flows.shape[1:] == (2, 2, SIDE, SIDE) and len(crops.flows) == len(crops.clips)
    flows = crops.flows[:, 0].float().numpy()
    lengths = np.median(flows[:, 0], axis=(1, 2))
    # 7 frames are 6 steps, 13 are 12; every other window is shrunk to 0.6.
    expected = [SPEED * steps * scale for steps in (6, 12) for scale in (1.0, 0.6)]
    for length in lengths:
        assert min(abs(length - value) for value in expected) < 1.0
    assert np.abs(np.median(flows[:, 1], axis=(1, 2))).max() < 0.5
    for clip, length in zip(crops.clips.numpy(), lengths, strict=True):
        if min(abs(length - 12), abs(length - 7.2)) > 1:
            continue  # of 13 frames only every second one is kept
        assert np.abs(255 * srgb(light(clip[1:]).mean(0)) - clip[0]).max() < 1.5


def test_squares_are_the_same_each_time(folder):
    first, again = (cut_crops(folder, SIDE, windows=2, per_window=2) for _ in range(2))
    assert (first.clips == again.clips).all() and (first.flows == again.flows).all()


def test_frames_smaller_than_the_squares_are_refused(folder):
    with pytest.raises(InputError, match="160x128"):
        cut_crops(folder, 144)


def test_the_path_extends_the_flow_to_where_it_passes():
    flow = np.zeros((40, 60, 2), np.float32)
    flow[15:25, 20:30, 0] = 12.0
    path = swept_path(flow)
    assert (path[15:25, 14:36, 0] == 12).all()
    assert (path[:13] == 0).all() and (path[:, :12] == 0).all() and (path[:, 38:] == 0).all()
    assert not swept_path(np.zeros_like(flow)).any()
