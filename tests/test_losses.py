"""Losses against loops over single numbers."""

import math

import numpy as np
import pytest
import torch

from b2m.errors import InputError
from b2m.losses import (
    EPE_WEIGHTS,
    axis_loss,
    charbonnier,
    guidance_cross_entropy,
    guidance_loss,
    kl_to_standard_normal,
    lsgan_discriminator_loss,
    lsgan_generator_loss,
    multiscale_epe,
    multiscale_photometric,
    pair_loss,
    staged_mse,
    symmetry_penalty,
    transformation_consistency,
    video_restoration_loss,
)

RNG = np.random.default_rng(0)


def test_charbonnier_is_its_equation():
    estimate, truth = RNG.normal(size=(2, 2, 3, 4, 5))
    for epsilon in (1e-3, 0.5):
        total = 0.0
        for place in np.ndindex(estimate.shape):
            total += math.sqrt((estimate[place] - truth[place]) ** 2 + epsilon**2) - epsilon
        found = charbonnier(torch.from_numpy(estimate), torch.from_numpy(truth), epsilon)
        assert found.shape == ()
        assert found.item() == pytest.approx(total / estimate.size, rel=1e-9)


def test_axis_loss_is_its_equation():
    axis, truth = RNG.normal(0, 5, size=(2, 2, 2, 3, 4))
    total = 0.0
    for b, y, x in np.ndindex(2, 3, 4):
        squared = sum((axis[b, c, y, x] - truth[b, c, y, x]) ** 2 for c in range(2))
        total += math.sqrt(squared + 0.01) - 0.1
    found = axis_loss(torch.from_numpy(axis), torch.from_numpy(truth))
    assert found.item() == pytest.approx(total / 24, rel=1e-9)


def test_axis_loss_counts_the_pixels_of_a_mask():
    axis, truth = torch.randn(2, 1, 2, 30, 30)
    mask = torch.zeros(1, 30, 30, dtype=torch.bool)
    mask[:, 10:] = True
    cut = axis_loss(axis[..., 10:, :], truth[..., 10:, :])
    torch.testing.assert_close(axis_loss(axis, truth, mask), cut)
    few = torch.zeros_like(mask)
    few[:, 0, :10] = True  # of a few pixels the loss is small, not noisy
    assert axis_loss(axis, truth, few) < 0.1 * axis_loss(axis[..., :1, :10], truth[..., :1, :10])


@pytest.mark.parametrize("loss", [charbonnier, axis_loss])
def test_gradients_are_finite_where_estimate_and_truth_agree(loss):
    estimate = torch.ones(1, 2, 3, 3, requires_grad=True)
    loss(estimate, torch.ones(1, 2, 3, 3)).backward()
    assert estimate.grad.abs().max() < 1e-6


# --- the papers' losses --------------------------------------------------------------------------


def normal(*shape):
    return RNG.normal(size=shape)


def tensors(arrays):
    return [torch.from_numpy(array) for array in arrays]


def shrunk(image, height, width):
    """Bilinear sampling of (H, W) at the centres of a coarser grid, one pixel at a time."""
    full_height, full_width = image.shape
    small = np.zeros((height, width))
    for y, x in np.ndindex(height, width):
        row = (y + 0.5) * full_height / height - 0.5
        column = (x + 0.5) * full_width / width - 0.5
        top, left = int(row), int(column)
        down, right = row - top, column - left
        for dy, dx in np.ndindex(2, 2):
            share = (down if dy else 1 - down) * (right if dx else 1 - right)
            if share:
                small[y, x] += share * image[top + dy, left + dx]
    return small


def naive_photometric(images, truth, weights):
    total = 0.0
    for image, weight in zip(images, weights, strict=True):
        batch, frames, channels, height, width = image.shape
        for b, n, c in np.ndindex(batch, frames, channels):
            small = shrunk(truth[b, n, c], height, width)
            for y, x in np.ndindex(height, width):
                difference = abs(image[b, n, c, y, x] - small[y, x])
                total += weight * difference / (batch * channels * height * width)
    return total


def naive_consistency(transforms):
    total = 0.0
    for level in range(len(transforms) - 1):
        one, other = transforms[level], transforms[level + 1]
        for place in np.ndindex(one.shape):
            total += (one[place] - other[place]) ** 2 / (len(one) * 6)
    return total


def naive_penalty(frames, truth):
    total, (batch, count) = 0.0, frames.shape[:2]
    for b, n, c, y, x in np.ndindex(frames.shape):
        if n != count // 2:
            opposite = truth[b, count - 1 - n, c, y, x]
            total -= abs(frames[b, n, c, y, x] - opposite) / (batch * frames[0, 0].size)
    return total


def test_photometric_loss_is_its_equation():
    images = [normal(2, 3, 3, side, side + 4 // (8 // side)) for side in (2, 4, 8)]
    truth = normal(2, 3, 3, 8, 12)
    for weights in (None, (0.5, 0.25, 2.0)):
        found = multiscale_photometric(tensors(images), torch.from_numpy(truth), weights)
        expected = naive_photometric(images, truth, weights or (1, 1, 1))
        assert found.item() == pytest.approx(expected, rel=1e-6)


def test_transformation_consistency_is_its_equation():
    transforms = [normal(2, 4, 2, 3) for _ in range(3)]
    found = transformation_consistency(tensors(transforms))
    assert found.item() == pytest.approx(naive_consistency(transforms), rel=1e-9)
    assert transformation_consistency(tensors(transforms[:1])).item() == 0


@pytest.mark.parametrize("count", [3, 7])
def test_symmetry_penalty_is_its_equation(count):
    frames, truth = normal(2, 2, count, 3, 4, 5)
    found = symmetry_penalty(*tensors((frames, truth)))
    assert found.item() == pytest.approx(naive_penalty(frames, truth), rel=1e-9)
    assert found.item() < 0


def test_the_restorers_loss_is_the_sum():
    images = [normal(1, 3, 3, side, side) for side in (4, 8)]
    truth, transforms = normal(1, 3, 3, 8, 8), [normal(1, 2, 2, 3) for _ in range(3)]
    found = video_restoration_loss(
        tensors(images),
        torch.from_numpy(truth),
        tensors(transforms),
        weights=(0.5, 1.0),
        consistency=0.3,
        penalty=0.2,
    )
    expected = naive_photometric(images, truth, (0.5, 1.0))
    expected += 0.3 * naive_consistency(transforms) + 0.2 * naive_penalty(images[-1], truth)
    assert found.item() == pytest.approx(expected, rel=1e-6)
    without = video_restoration_loss(tensors(images), torch.from_numpy(truth), [], penalty=0)
    assert without.item() == pytest.approx(naive_photometric(images, truth, (1, 1)), rel=1e-6)


def test_endpoint_error_is_its_equation():
    flows = [5 * normal(2, 2, 4 * 2**level, 2 * 2**level) for level in range(3)]
    truth = 5 * normal(2, 2, 32, 16)
    weights, total = (0.32, 0.08, 0.01), 0.0
    for flow, weight in zip(flows, weights, strict=True):
        height, width = flow.shape[2:]
        for b in range(2):
            small = [shrunk(truth[b, c], height, width) for c in range(2)]
            for y, x in np.ndindex(height, width):
                across, down = (flow[b, c, y, x] - small[c][y, x] for c in range(2))
                total += weight * math.hypot(across, down) / 2
    found = multiscale_epe(tensors(flows), torch.from_numpy(truth), weights)
    assert found.item() == pytest.approx(total, rel=1e-6)


def test_endpoint_error_has_the_papers_weights():
    assert EPE_WEIGHTS == (0.32, 0.08, 0.04, 0.02, 0.01, 0.005)
    truth = torch.zeros(1, 2, 32, 32)
    flows = [torch.zeros(1, 2, side, side) for side in (1, 2, 4, 8, 16, 32)]
    for flow, weight in zip(flows, EPE_WEIGHTS, strict=True):
        flow[0, :, 0, 0] = torch.tensor([3.0, 4.0])
        assert multiscale_epe(flows, truth).item() == pytest.approx(5 * weight, rel=1e-5)
        flow.zero_()


def test_endpoint_error_has_a_gradient_where_flow_is_right():
    truth = torch.ones(1, 2, 4, 4)
    flow = truth.clone().requires_grad_()
    multiscale_epe([flow], truth, [1.0]).backward()
    assert flow.grad.abs().max() == 0


def test_staged_error_is_its_equation():
    stages, truth = normal(2, 2, 7, 3, 4, 5), normal(2, 7, 3, 4, 5)
    total = 0.0
    for b, s, n, c, y, x in np.ndindex(stages.shape):
        total += (stages[b, s, n, c, y, x] - truth[b, n, c, y, x]) ** 2 / truth.size
    found = staged_mse(*tensors((stages, truth)))
    assert found.item() == pytest.approx(total, rel=1e-9)


def test_adversarial_losses_are_their_equations():
    real, made = ([normal(2, 1, side, side) for side in (3, 6)] for _ in range(2))
    generator = discriminator = 0.0
    for true_scores, made_scores in zip(real, made, strict=True):
        for place in np.ndindex(made_scores.shape):
            generator += (made_scores[place] - 1) ** 2 / made_scores.size
            discriminator += (true_scores[place] - 1) ** 2 / true_scores.size
            discriminator += made_scores[place] ** 2 / made_scores.size
    found = lsgan_generator_loss(tensors(made))
    assert found.item() == pytest.approx(generator, rel=1e-9)
    found = lsgan_discriminator_loss(tensors(real), tensors(made))
    assert found.item() == pytest.approx(discriminator, rel=1e-9)
    perfect = [torch.ones(1, 1, 2, 2)], [torch.zeros(1, 1, 2, 2)]
    assert lsgan_discriminator_loss(*perfect).item() == 0


def naive_cross_entropy(logits, classes):
    total = 0.0
    for b, y, x in np.ndindex(classes.shape):
        partition = sum(math.exp(logits[b, c, y, x]) for c in range(5))
        total += math.log(partition) - logits[b, classes[b, y, x], y, x]
    return total / classes.size


def naive_divergence(mean, log_variance):
    total = 0.0
    for place in np.ndindex(mean.shape):
        variance = math.exp(log_variance[place])
        total += 0.5 * (mean[place] ** 2 + variance - 1 - log_variance[place])
    return total / len(mean)


def test_cross_entropy_is_its_equation():
    logits, classes = 3 * normal(2, 5, 4, 3), RNG.integers(0, 5, (2, 4, 3))
    found = guidance_cross_entropy(*tensors((logits, classes)))
    assert found.item() == pytest.approx(naive_cross_entropy(logits, classes), rel=1e-9)


def test_divergence_is_its_equation_and_its_integral():
    mean, log_variance = normal(2, 3, 4)
    found = kl_to_standard_normal(*tensors((mean, log_variance))).item()
    assert found == pytest.approx(naive_divergence(mean, log_variance), rel=1e-9)
    assert kl_to_standard_normal(torch.zeros(2, 4), torch.zeros(2, 4)).item() == 0
    # The definition, the mean of log q / p under q, of a single number.
    grid = np.linspace(-20, 20, 400_001)
    q = np.exp(-((grid - 0.7) ** 2) / (2 * 0.5)) / math.sqrt(2 * math.pi * 0.5)
    log_ratio = -((grid - 0.7) ** 2) + grid**2 / 2 - 0.5 * math.log(0.5)
    expected = np.sum(q * log_ratio) * (grid[1] - grid[0])
    one = torch.tensor([[0.7]]).double(), torch.tensor([[math.log(0.5)]]).double()
    assert kl_to_standard_normal(*one).item() == pytest.approx(expected, rel=1e-6)


def test_the_predictors_loss_is_the_sum():
    judged, logits = [normal(2, 1, 3, 3)], normal(2, 5, 4, 4)
    classes, mean, log_variance = RNG.integers(0, 5, (2, 4, 4)), normal(2, 4), normal(2, 4)
    given = (tensors(judged), *tensors((logits, classes, mean, log_variance)))
    expected = 0.1 * ((judged[0] - 1) ** 2).mean() + 10 * naive_cross_entropy(logits, classes)
    expected += 0.1 * naive_divergence(mean, log_variance)
    assert guidance_loss(*given).item() == pytest.approx(expected, rel=1e-9)
    alone = guidance_loss(*given, adversarial=0, entropy=0, divergence=0.01).item()
    assert alone == pytest.approx(0.01 * naive_divergence(mean, log_variance), rel=1e-9)


ZEROS = torch.zeros(1, 3, 3, 4, 4)


@pytest.mark.parametrize(
    "call",
    [
        lambda: multiscale_photometric([], ZEROS),
        lambda: multiscale_photometric([ZEROS], ZEROS, [1.0, 1.0]),
        lambda: multiscale_photometric([ZEROS[:, :2]], ZEROS),
        lambda: transformation_consistency([]),
        lambda: transformation_consistency([torch.zeros(1, 2, 2, 3), torch.zeros(1, 1, 2, 3)]),
        lambda: symmetry_penalty(ZEROS, ZEROS[:, :1]),
        lambda: symmetry_penalty(ZEROS[:, :2], ZEROS[:, :2]),
        lambda: multiscale_epe([torch.zeros(1, 2, 4, 4)], torch.zeros(1, 2, 4, 4)),
        lambda: staged_mse(ZEROS, ZEROS),
        lambda: staged_mse(ZEROS[:, None], ZEROS[:, :1]),
        lambda: lsgan_generator_loss([]),
        lambda: lsgan_discriminator_loss([ZEROS], []),
        lambda: guidance_cross_entropy(torch.zeros(1, 5, 4, 4), torch.zeros(1, 4, 3).long()),
        lambda: kl_to_standard_normal(torch.zeros(1, 4), torch.zeros(1, 3)),
        lambda: pair_loss(ZEROS, ZEROS),
    ],
)
def test_shapes_that_do_not_go_together_are_named(call):
    with pytest.raises(InputError):
        call()
