"""Sizes at which a photo is looked at: what holds detail, and whom to believe about long motion."""

import cv2
import numpy as np
import pytest
import torch

from b2m.inference import multiscale as scales
from b2m.inference.multiscale import MultiscaleEncoder
from b2m.inference.precision import SWITCH
from b2m.models.animator import Encoding, Features, MotionAnimator, MotionAnimatorConfig


def natural(height, width, seed=0):
    """A picture with as much detail in every octave: noise with a spectrum of 1/f."""
    rng = np.random.default_rng(seed)
    across, down = np.fft.rfftfreq(width), np.fft.fftfreq(height)
    frequency = np.hypot(down[:, None], across[None]).clip(1 / max(height, width))
    phase = np.fft.rfft2(rng.normal(size=(3, height, width)))
    image = np.fft.irfft2(phase / frequency, s=(height, width)).transpose(1, 2, 0)
    return (128 + 40 * image / image.std()).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("method", [cv2.INTER_LINEAR, cv2.INTER_CUBIC])
def test_an_enlarged_photo_is_looked_at_smaller(factor, method):
    photo = natural(192, 256)
    larger = cv2.resize(photo, None, fx=factor, fy=factor, interpolation=method)
    working = scales.working_photo(larger)
    assert max(working.shape) <= 1.5 * 256
    assert min(working.shape[:2]) >= 190


def test_a_photo_with_detail_is_looked_at_as_it_is():
    photo = natural(240, 321)
    assert scales.working_photo(photo) is photo
    # Blur along one line leaves the detail across it.
    streaks = cv2.blur(photo, (31, 1))
    assert scales.working_photo(streaks) is streaks


@pytest.mark.parametrize("shape", [(16, 16), (16, 2000), (95, 97), (300, 300)])
def test_flat_and_small_photos_stay_as_they_are(shape):
    flat = np.full((*shape, 3), 90, np.uint8)
    assert scales.working_photo(flat) is flat


class Shortsighted:
    """Sees the motion of each pixel, but never more than some pixels of it."""

    def __init__(self, motion, sight):
        self.motion, self.sight, self.sizes = motion, sight, []

    def features(self, photo):
        return Features(photo, photo, photo)

    def decode(self, features, guidance=None):
        photo = features.photo
        height, width = photo.shape[-2:]
        self.sizes.append((height, width))
        scale = width / self.motion.shape[-1]
        motion = cv2.resize(self.motion, (width, height), interpolation=cv2.INTER_AREA) * scale
        across = torch.from_numpy(motion).clamp(max=self.sight)[None, None]
        line = torch.cat([across, torch.zeros_like(across)], 1)  # double angle of a level line
        zero = torch.zeros_like(photo)
        return Encoding(
            photo + 0.1, line, torch.zeros_like(line), zero, torch.cat([zero, zero], 1),
            across, across,
        )  # fmt: skip


def test_long_motion_is_seen_in_a_smaller_photo():
    motion = np.zeros((384, 512), np.float32)
    motion[:, 256:] = 100.0
    model = Shortsighted(motion, sight=20)
    photo = torch.rand(1, 3, 384, 512)
    encoding = MultiscaleEncoder(model, photo).encode()
    assert model.sizes == [(48, 64), (96, 128), (192, 256), (384, 512)]
    seen = encoding.axis[0, 0]
    torch.testing.assert_close(
        seen[:, 320:], torch.full_like(seen[:, 320:], 100), rtol=0.05, atol=0
    )
    assert seen[:, :200].abs().max() < 0.5
    # Detail is that of the photo itself, whoever is asked about the change.
    torch.testing.assert_close(encoding.middle, photo + 0.1)


def test_short_motion_is_left_to_the_photo_itself():
    model = Shortsighted(np.full((384, 512), 4.0, np.float32), sight=20)
    encoding = MultiscaleEncoder(model, torch.rand(1, 3, 384, 512)).encode()
    assert model.sizes == [(48, 64), (384, 512)]
    torch.testing.assert_close(encoding.axis[:, 0], torch.full((1, 384, 512), 4.0))


@pytest.mark.parametrize("size", [(16, 16), (95, 180), (101, 203)])
def test_one_level_is_the_model_itself(size, monkeypatch):
    monkeypatch.setenv(SWITCH, "0")
    torch.manual_seed(0)
    model = MotionAnimator(MotionAnimatorConfig.tiny()).eval()
    photo = torch.rand(1, 3, *size)
    with torch.inference_mode():
        alone = MultiscaleEncoder(model, photo, 1)
        for one, other in zip(alone.encode(), model.encode(photo), strict=True):
            assert torch.equal(one, other)
        guidance = torch.ones(1, 2, *size)
        told = alone.encode(guidance)
        for one, other in zip(told, model.encode(photo, guidance), strict=True):
            torch.testing.assert_close(one, other, atol=0.01, rtol=0.01)  # kept in half precision
        for one, other in zip(told, alone.encode(-guidance), strict=True):
            assert torch.equal(one, other)
        assert MultiscaleEncoder(model, photo).encode().middle.shape == photo.shape
