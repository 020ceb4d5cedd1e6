"""Frames that average to the photo, and where its noise goes."""

import numpy as np
import pytest

from b2m.inference.projection import DARK, projection


def frames_of(photo, count=7, seed=0, size=0.05):
    """Frames about a photo, of linear light."""
    rng = np.random.default_rng(seed)
    return photo * (1 + size * rng.normal(size=(count, *photo.shape))).astype(np.float32)


def made(photo, frames, lengths):
    times = np.linspace(-1, 1, len(frames)).tolist()
    project = projection(photo, frames.mean(0), lengths, times)
    changes = [project.change(frame, time) for frame, time in zip(frames, times, strict=True)]
    return photo + (photo + DARK) * np.stack(changes)


@pytest.mark.parametrize("count", [2, 3, 7, 31])
@pytest.mark.parametrize("length", [None, 0.0, 0.7, 30.0])
def test_frames_average_to_the_photo(count, length):
    photo = np.random.default_rng(1).uniform(0, 0.9, (12, 15, 3)).astype(np.float32)
    lengths = None if length is None else np.full((12, 15), length, np.float32)
    found = made(photo, frames_of(photo, count, size=0.3), lengths)
    np.testing.assert_allclose(found.mean(0), photo, atol=1e-6)


def test_frames_are_scaled_by_what_they_leave_unexplained():
    photo = np.random.default_rng(1).uniform(0.1, 0.9, (12, 15, 3)).astype(np.float32)
    frames = frames_of(photo)
    mean = frames.mean(0)
    floor = np.where(photo < mean, 0, 0.01)
    expected = photo + (frames - mean) * (photo + floor) / (mean + floor)
    np.testing.assert_allclose(made(photo, frames, None), expected, rtol=1e-5)
    # What does not move has the same in all of its frames.
    still = made(photo, frames, np.zeros((12, 15), np.float32))
    np.testing.assert_allclose(still, expected, rtol=1e-4)


def test_noise_comes_to_all_frames_alike():
    """A grey wall slides by 8 px; the model takes the noise of the photo for the wall's."""
    rng = np.random.default_rng(0)
    noise = 0.02 * rng.normal(size=(64, 96, 3))
    photo = (0.5 + noise).astype(np.float32)
    shifts = [-4, -3, -1, 0, 1, 3, 4]
    frames = np.stack([np.roll(photo, shift, 1) for shift in shifts])
    alike = made(photo, frames, None).std((1, 2, 3))
    found = made(photo, frames, np.full((64, 96), 8, np.float32)).std((1, 2, 3))
    assert alike[3] > 1.3 * alike[0]
    assert found[3] < 1.1 * found[0]
    assert found[3] < alike[3] - 0.005 and found[0] < alike[0] + 0.003
