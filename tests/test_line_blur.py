"""Photos blurred along lines, and the table made of them."""

import numpy as np
import pytest

from b2m.data.line_blur import SETS, camera_field, line_samples
from b2m.errors import InputError
from b2m.evaluate.methods import Method
from b2m.evaluate.table import Options
from b2m.evaluate.tables.flow_applications import BLURRED, TRUE, DeconvolutionTable
from b2m.metrics import psnr

RNG = np.random.default_rng(0)
PHOTOS = [RNG.integers(0, 256, (24, 30, 3), np.uint8).repeat(4, 0).repeat(4, 1) for _ in range(2)]
SMALL = np.zeros((20, 20, 3), np.uint8)


def test_the_field_is_that_of_a_moving_camera():
    """Four numbers say it all: a similarity of the plane, linear in x and y."""
    flow = camera_field(60, 80, 17.0, np.random.default_rng(3)).astype(float)
    length = np.linalg.norm(flow, axis=2).max()
    assert 17 / 4 <= length <= 17.001
    dx, dy = np.gradient(flow, axis=1), np.gradient(flow, axis=0)
    np.testing.assert_allclose(dx[..., 0], dy[..., 1], atol=1e-5)  # zoom
    np.testing.assert_allclose(dx[..., 1], -dy[..., 0], atol=1e-5)  # turn
    assert dx.std((0, 1)).max() < 1e-5


def test_samples_depend_on_seed_and_number_alone():
    some = list(line_samples(PHOTOS, 3, 17.0, size=(64, 80), seed=1))
    more = list(line_samples([SMALL, *PHOTOS], 4, 17.0, size=(64, 80), seed=1))
    for one, other in zip(some, more, strict=False):
        for part, same in zip(one, other, strict=True):
            assert np.array_equal(part, same)
    assert not np.array_equal(some[0].flow, some[2].flow)
    other = next(line_samples(PHOTOS, 1, 17.0, size=(64, 80), seed=2))
    assert not np.array_equal(some[0].flow, other.flow)


def test_a_sample_is_a_crop_and_its_blur():
    sample = next(line_samples(PHOTOS, 1, 17.0, size=(64, 80)))
    assert sample.photo.shape == sample.frames[0].shape == (64, 80, 3)
    assert sample.flow.shape == (64, 80, 2)
    windows = np.lib.stride_tricks.sliding_window_view(PHOTOS[0], (64, 80), (0, 1))
    assert (windows == sample.frames[0].transpose(2, 0, 1)).all((2, 3, 4)).any()
    assert psnr(sample.photo, sample.frames[0]) < 30
    still = next(line_samples(PHOTOS, 1, 1e-6, size=(64, 80)))
    assert np.array_equal(still.photo, still.frames[0])


def test_photos_that_are_too_small_are_named():
    with pytest.raises(InputError, match="480x320"):
        next(line_samples([SMALL], 1, 17.0))


def test_the_table():
    class Small(DeconvolutionTable):
        photo_size = (64, 80)

        def photos(self):
            return PHOTOS

    nothing = Method("BlurFlowNet", flow=lambda sample: np.zeros_like(sample.flow))
    table = Small(Options(samples=2), [nothing])
    rows = table.compute()
    assert [row["name"] for row in rows] == [
        f"{name}: {way}" for name in SETS for way in (BLURRED, TRUE, "BlurFlowNet")
    ]
    assert len(table.notes()) == 3
    for blurred, true, none in (rows[:3], rows[3:]):
        assert set(none) == {"name", *Small.columns}
        assert true["gain"] > 1
        assert true["ssim"] > blurred["ssim"]
        assert true["epe"] == 0
        assert none["psnr"] == blurred["psnr"]
        assert none["epe"] == blurred["epe"] > 1
