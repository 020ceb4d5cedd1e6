"""Scores against scikit-image, and protocols against clips whose answer is known."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import metrics as reference

from b2m import metrics
from b2m.errors import InputError
from b2m.metrics import sharpness, shift_tolerant_psnr

RANDOM = np.random.default_rng(0)


def pair(seed: int = 0, shape: tuple[int, ...] = (40, 53, 3)) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 256, shape, np.uint8)
    noisy = np.clip(truth + random.normal(0, 5 + 5 * seed, shape), 0, 255).astype(np.uint8)
    return noisy, truth


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 50), st.sampled_from([(11, 11, 3), (40, 53, 3), (30, 17)]))
def test_psnr_and_ssim_agree_with_scikit_image(seed: int, shape: tuple[int, ...]) -> None:
    image, truth = pair(seed, shape)
    expected = reference.peak_signal_noise_ratio(truth, image, data_range=255)
    assert metrics.psnr(image, truth) == pytest.approx(expected, abs=1e-4)
    expected = reference.structural_similarity(
        truth, image, data_range=255, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, channel_axis=2 if len(shape) == 3 else None,
    )  # fmt: skip
    assert metrics.ssim(image, truth) == pytest.approx(expected, abs=1e-6)


def test_masks() -> None:
    image, truth = pair()
    mask = RANDOM.random(image.shape[:2]) < 0.3
    error = ((image.astype(float) - truth) ** 2)[mask].mean()
    assert metrics.psnr(image, truth, mask) == pytest.approx(10 * math.log10(255**2 / error))
    whole = np.ones_like(mask)
    assert metrics.psnr(image, truth, whole) == pytest.approx(metrics.psnr(image, truth))
    assert metrics.ssim(image, truth, whole) == pytest.approx(metrics.ssim(image, truth))
    full = reference.structural_similarity(
        truth, image, data_range=255, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, channel_axis=2, full=True,
    )[1]  # fmt: skip
    inner = np.zeros_like(mask)
    inner[5:-5, 5:-5] = mask[5:-5, 5:-5]
    assert metrics.ssim(image, truth, mask) == pytest.approx(full[inner].mean(), abs=1e-6)
    nothing = np.zeros_like(mask)
    assert math.isnan(metrics.psnr(image, truth, nothing))
    assert math.isnan(metrics.ssim(image, truth, nothing))


def test_same_images_and_floats() -> None:
    image, truth = pair()
    assert metrics.psnr(truth, truth) == math.inf
    assert metrics.ssim(truth, truth) == pytest.approx(1)
    assert metrics.psnr(image / 255, truth) == pytest.approx(metrics.psnr(image, truth))
    beyond = truth / 255 + np.where(truth == 255, 0.7, 0.0) + 0.4 / 255
    assert metrics.psnr(beyond, truth) == math.inf, "clipped and rounded first"


def test_refusals() -> None:
    image, truth = pair()
    with pytest.raises(InputError, match="shape"):
        metrics.psnr(image, truth[1:])
    with pytest.raises(InputError, match="int64"):
        metrics.psnr(image.astype(int), truth.astype(int))
    with pytest.raises(InputError, match="mask"):
        metrics.psnr(image, truth, np.ones((2, 2), bool))
    with pytest.raises(InputError, match="10x10"):
        metrics.ssim(image[:10, :10], truth[:10, :10])
    with pytest.raises(InputError, match="flows"):
        metrics.epe(np.zeros((4, 4, 2)), np.zeros((4, 5, 2)))


def test_epe() -> None:
    flow, truth = RANDOM.normal(0, 5, (2, 9, 8, 2)).astype(np.float32)
    distances = np.linalg.norm(flow - truth, axis=-1)
    assert metrics.epe(flow, truth) == pytest.approx(distances.mean(), rel=1e-5)
    mask = RANDOM.random((9, 8)) < 0.5
    assert metrics.epe(flow, truth, mask) == pytest.approx(distances[mask].mean(), rel=1e-5)
    truth[0, 0] = np.nan
    assert metrics.epe(flow, truth) == pytest.approx(distances.ravel()[1:].mean(), rel=1e-5)
    assert metrics.epe(np.zeros_like(flow), np.full_like(flow, 3) * (1, 4 / 3)) == pytest.approx(5)


def test_either_sign_is_one_choice_per_image() -> None:
    truth = np.ones((4, 4, 2), np.float32)
    assert metrics.flow_epe_either_sign(-truth, truth) == 0
    mixed = truth.copy()
    mixed[:1] *= -1
    quarter = 2 * math.sqrt(2) / 4
    assert metrics.flow_epe_either_sign(mixed, truth) == pytest.approx(quarter)
    assert metrics.flow_epe_either_sign(-mixed, truth) == pytest.approx(quarter)


def test_shift_tolerant_psnr_is_its_definition() -> None:
    rng = np.random.default_rng(4)
    image, truth = rng.integers(0, 256, (2, 30, 41, 3)).astype(np.uint8)
    mask = rng.random((30, 41)) < 0.4
    padded = np.pad(image.astype(float), ((2, 2), (2, 2), (0, 0)), "edge")
    total = 0.0
    for top in range(0, 30, 12):
        for left in range(0, 41, 12):
            rows, columns = slice(top, min(top + 12, 30)), slice(left, min(left + 12, 41))
            errors = []
            for down in range(5):
                for right in range(5):
                    slid = padded[down : down + 30, right : right + 41][rows, columns]
                    squared = ((slid - truth[rows, columns]) ** 2).mean(2)
                    errors.append(squared[mask[rows, columns]].sum())
            total += min(errors)
    expected = 10 * np.log10(255**2 / (total / mask.sum()))
    assert shift_tolerant_psnr(image, truth, mask, block=12, reach=2) == pytest.approx(expected)


def test_what_slid_costs_nothing_and_blur_does() -> None:
    rng = np.random.default_rng(5)
    wide = cv2.GaussianBlur(rng.integers(0, 256, (64, 72, 3)).astype(np.uint8), (0, 0), 1)
    truth, slid = wide[:, 4:68], wide[:, 2:66]
    inner = np.zeros((64, 64), bool)
    inner[8:-8, 8:-8] = True
    assert shift_tolerant_psnr(slid, truth, inner) == math.inf
    soft = cv2.GaussianBlur(truth, (0, 0), 2)
    assert shift_tolerant_psnr(soft, truth, inner) < 40
    assert sharpness(truth, truth) == pytest.approx(1)
    assert sharpness(slid, truth) == pytest.approx(1, abs=0.1)
    assert sharpness(soft, truth) < 0.6
    assert math.isnan(sharpness(truth, truth, np.zeros((64, 64), bool)))
