"""Exposure physics against closed forms in float64, loops and scikit-image."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from b2m import blur


def decode(srgb):
    """IEC 61966-2-1, one number at a time."""
    return srgb / 12.92 if srgb <= 0.04045 else ((srgb + 0.055) / 1.055) ** 2.4


def encode(linear):
    linear = min(max(linear, 0.0), 1.0)
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


def test_curves_are_the_standards():
    values = [0.0, 1e-5, 0.002, 0.0031308, 0.0032, 0.04, 0.04045, 0.0405, 0.18, 0.5, 0.999, 1.0]
    given = torch.tensor(values, dtype=torch.float64)
    expected = [decode(value) for value in values]
    np.testing.assert_allclose(blur.srgb_to_linear(given), expected, rtol=1e-12)
    expected = [encode(value) for value in values]
    np.testing.assert_allclose(blur.linear_to_srgb(given), expected, rtol=1e-12, atol=1e-15)


def test_encoding_clips():
    light = torch.tensor([-0.5, -1e-9, 1.0 + 1e-6, 7.0])
    assert blur.linear_to_srgb(light).tolist() == pytest.approx([0, 0, 1, 1])


def test_gradients_are_finite_and_right():
    values = torch.tensor([0.0, 0.01, 0.05, 0.3, 1.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(blur.srgb_to_linear(values).sum(), values)
    step = 1e-7
    for value, found in zip(values.tolist(), slope.tolist(), strict=True):
        measured = (decode(value + step) - decode(value - step)) / (2 * step)
        assert found == pytest.approx(measured, rel=1e-5)
    light = torch.tensor([0.0, 1e-4, 0.5], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(blur.linear_to_srgb(light).sum(), light)
    assert slope.isfinite().all()


def test_average_is_that_of_a_loop():
    frames = random_clip(4, 6, frames=5)
    averaged = blur.average_frames(iter(frames))
    squared = blur.average_frames(frames, gamma=2.0)
    for place in np.ndindex(4, 6, 3):
        codes = [int(frame[place]) / 255 for frame in frames]
        assert averaged[place] == pytest.approx(math.fsum(map(decode, codes)) / 5, abs=1e-6)
        assert squared[place] == pytest.approx(math.fsum(c * c for c in codes) / 5, abs=1e-6)


def test_tables_agree_with_the_curves_and_go_round():
    codes = np.arange(256, dtype=np.uint8)
    light = blur.srgb8_to_linear(codes)
    assert light.dtype == np.float32
    np.testing.assert_allclose(light, [decode(code / 255) for code in range(256)], rtol=1e-6)
    np.testing.assert_array_equal(blur.linear_to_srgb8(light), codes)


def test_encoding_by_table_is_rounding_but_for_ties():
    light = np.random.default_rng(1).random(2000).astype(np.float32) ** 3
    exact = np.array([255 * encode(float(value)) for value in light])
    coded = blur.linear_to_srgb8(light)
    assert coded.dtype == np.uint8
    assert np.abs(coded - exact).max() < 0.6
    given = np.array([-1.0, 2.0], np.float32)
    assert blur.linear_to_srgb8(given).tolist() == [0, 255]
    assert given.tolist() == [-1.0, 2.0]  # left as it was


def random_clip(height, width, frames=4):
    rng = np.random.default_rng(2)
    return rng.integers(0, 256, (frames, height, width, 3)).astype(np.uint8)


def exact_blur(clip):
    light = np.vectorize(decode)(np.arange(256) / 255)[clip].mean(0)
    return np.rint(255 * np.vectorize(encode)(light)).astype(np.uint8)


@pytest.mark.parametrize("height", [16, 300])  # one strip, and two
def test_reblur_psnr_is_that_of_scikit_image(height):
    clip = random_clip(height, 20)
    photo = exact_blur(clip)
    noise = np.random.default_rng(3).normal(0, 6, photo.shape)
    noisy = np.clip(photo + noise, 0, 255).astype(np.uint8)
    expected = peak_signal_noise_ratio(photo, noisy)
    assert blur.reblur_psnr(clip, noisy) == pytest.approx(expected, abs=0.01)


def test_reblur_psnr_of_what_explains_the_photo_wholly():
    frame = random_clip(16, 20)[0]
    assert blur.reblur_psnr(np.stack([frame] * 3), frame) == math.inf


def test_decoding_a_frame_by_table():
    frame = torch.rand(1, 3, 41, 53, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2
    exact = blur.srgb_to_linear(frame.clamp(0, 1).double())[0].permute(1, 2, 0).numpy()
    found = blur.frame_to_linear(frame)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert np.abs(found - exact).max() < 1e-4
    ends = blur.frame_to_linear(torch.tensor([0.0, 1.0, 2.0]).view(1, 3, 1, 1))
    assert ends.ravel().tolist() == [0, 1, 1]
