"""Losses against loops over single numbers."""

import math

import numpy as np
import pytest
import torch

from b2m.losses import charbonnier, line_loss

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


def test_charbonnier_is_absolute_far_off_and_quadratic_nearby():
    zero = torch.zeros(1, dtype=torch.float64)
    assert charbonnier(zero + 10, zero).item() == pytest.approx(10, abs=2e-3)
    assert charbonnier(zero + 1e-5, zero).item() == pytest.approx(1e-10 / 2e-3, rel=1e-3)
    assert charbonnier(zero, zero).item() == 0


def test_line_loss_is_its_equation():
    line, truth = RNG.normal(0, 5, size=(2, 2, 2, 3, 4))
    total = 0.0
    for b, y, x in np.ndindex(2, 3, 4):
        squared = sum((line[b, c, y, x] - truth[b, c, y, x]) ** 2 for c in range(2))
        total += math.sqrt(squared + 0.01) - 0.1
    found = line_loss(torch.from_numpy(line), torch.from_numpy(truth))
    assert found.item() == pytest.approx(total / 24, rel=1e-9)


@pytest.mark.parametrize("loss", [charbonnier, line_loss])
def test_gradients_are_finite_where_estimate_and_truth_agree(loss):
    estimate = torch.ones(1, 2, 3, 3, requires_grad=True)
    loss(estimate, torch.ones(1, 2, 3, 3)).backward()
    assert estimate.grad.abs().max() < 1e-6


@pytest.mark.parametrize("loss", [charbonnier, line_loss])
def test_gradients_are_those_of_differences(loss):
    truth = torch.from_numpy(RNG.normal(size=(1, 2, 2, 2)))
    estimate = torch.from_numpy(RNG.normal(size=(1, 2, 2, 2))).requires_grad_()
    assert torch.autograd.gradcheck(lambda given: loss(given, truth), estimate)
