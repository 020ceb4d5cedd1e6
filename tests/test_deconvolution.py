"""Deconvolution along a flow: its operators against loops, and what becomes of pictures."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from b2m import deconvolution
from b2m.blur import linear_to_srgb8
from b2m.deconvolution import (
    LineBlur,
    deblur_with_flow,
    deconvolve,
    differences,
    differences_adjoint,
    shrink,
)
from b2m.errors import InputError

RNG = np.random.default_rng(0)


def scene(height, width, seed=0):
    """Linear light: sharp-edged discs before a soft background, (1, 3, H, W) in [0, 1]."""
    generator = np.random.default_rng(seed)
    picture = ndimage.gaussian_filter(generator.normal(size=(3, height, width)), (0, 12, 12))
    picture = 0.4 + 0.1 * picture / picture.std()
    rows, columns = np.mgrid[:height, :width]
    for _ in range(height * width // 400):
        row, column, radius = generator.uniform(0, (height, width, 9))
        inside = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
        picture[:, inside] = generator.uniform(0.05, 0.8, (3, 1))
    return torch.from_numpy(picture.clip(0, 0.9)).float()[None]


def turning(height, width, longest=10.0):
    """Flow of a camera that turns and drifts, (1, 2, H, W)."""
    rows, columns = torch.meshgrid(
        torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
    )
    flow = torch.stack([1 - 0.6 * rows, 0.5 + 0.6 * columns])[None]
    return flow * (longest / flow.norm(dim=1).max())


def psnr(found, truth):
    return float(-10 * (found - truth).square().mean().log10())


def codes(light):
    return linear_to_srgb8(light[0].permute(1, 2, 0).numpy())


def as_flow(field):
    return field[0].permute(1, 2, 0).numpy()


def naive_blur(picture, flow, instants):
    """The equation, number by number, for one channel."""
    height, width = picture.shape
    blurred = np.zeros((height, width))
    for y, x in np.ndindex(height, width):
        for index in range(instants):
            time = (index + 0.5) / instants - 0.5
            column = min(max(x + time * flow[0, y, x], 0), width - 1)
            row = min(max(y + time * flow[1, y, x], 0), height - 1)
            left, top = min(int(column), width - 2), min(int(row), height - 2)
            right, down = column - left, row - top
            blurred[y, x] += (
                (1 - down) * (1 - right) * picture[top, left]
                + (1 - down) * right * picture[top, left + 1]
                + down * (1 - right) * picture[top + 1, left]
                + down * right * picture[top + 1, left + 1]
            ) / instants
    return blurred


def test_blur_is_its_equation():
    flow = torch.from_numpy(RNG.uniform(-6, 6, (1, 2, 9, 11)))
    picture = torch.from_numpy(RNG.uniform(size=(1, 2, 9, 11)))
    blur = LineBlur(flow)
    assert blur.instants % 2 == 1
    assert blur.instants >= float(flow.norm(dim=1).max())
    expected = [naive_blur(plane, flow[0].numpy(), blur.instants) for plane in picture[0].numpy()]
    np.testing.assert_allclose(blur(picture)[0].numpy(), expected, atol=1e-10)


def test_blur_keeps_light_and_does_not_know_the_sign():
    flow, picture = turning(20, 30), torch.rand(1, 3, 20, 30)
    torch.testing.assert_close(LineBlur(flow)(torch.ones(1, 3, 20, 30)), torch.ones(1, 3, 20, 30))
    torch.testing.assert_close(LineBlur(flow)(picture), LineBlur(-flow)(picture))
    torch.testing.assert_close(LineBlur(0 * flow)(picture), picture)


def test_uniform_blur_is_a_box():
    flow = torch.zeros(1, 2, 8, 40)
    flow[:, 0] = 7
    picture = torch.rand(1, 1, 8, 40)
    expected = ndimage.uniform_filter1d(picture.numpy(), 7, mode="nearest")
    np.testing.assert_allclose(LineBlur(flow)(picture).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("longest", [0.0, 3.0, 14.0])
def test_the_adjoint_is_the_transpose(longest):
    flow = longest * torch.from_numpy(RNG.uniform(-1, 1, (1, 2, 12, 17)))
    one, other = torch.from_numpy(RNG.normal(size=(2, 1, 3, 12, 17)))
    blur = LineBlur(flow)
    there, back = (blur(one) * other).sum(), (one * blur.adjoint(other)).sum()
    assert float(there) == pytest.approx(float(back), rel=1e-9)


def test_differences_and_their_adjoint():
    picture = torch.from_numpy(RNG.normal(size=(1, 2, 5, 6)))
    pair = torch.from_numpy(RNG.normal(size=(2, 1, 2, 5, 6)))
    across, down = differences(picture)
    np.testing.assert_allclose(across[..., :-1], np.diff(picture, axis=3))
    np.testing.assert_allclose(down[..., :-1, :], np.diff(picture, axis=2))
    assert across[..., -1].abs().max() == down[..., -1, :].abs().max() == 0
    there, back = (differences(picture) * pair).sum(), (picture * differences_adjoint(pair)).sum()
    assert float(there) == pytest.approx(float(back), rel=1e-9)


@pytest.mark.parametrize("exponent", [0.5, 2 / 3, 0.8, 1.0])
@pytest.mark.parametrize("beta", [1.0, 23.0, 512.0])
def test_shrinking_finds_the_least_value(exponent, beta):
    values = torch.linspace(-3, 3, 301).double() * 3 / beta ** (1 / (2 - exponent))
    grid = torch.linspace(0, 1, 4001).double() * values.abs()[:, None]
    energy = grid**exponent + beta / 2 * (grid - values.abs()[:, None]).square()
    found = shrink(values, beta, exponent)
    at_found = found.abs() ** exponent + beta / 2 * (found - values).square()
    assert (at_found <= energy.min(1).values + 1e-4 / beta**0.5).all()
    assert (found * values >= 0).all()


def test_it_lowers_what_it_minimises():
    sharp, flow, noise = scene(64, 80), turning(64, 80), 0.01
    photo = LineBlur(flow)(sharp) + noise * torch.randn(sharp.shape)

    def energy(x):
        data = (photo - LineBlur(flow)(x)).square().sum() / 2
        return float(data + noise**2 / 0.2 * (differences(x).abs() ** 0.8).sum())

    found = deconvolve(photo, flow, noise)
    assert energy(found) < 0.6 * energy(photo)
    assert energy(found) < 1.3 * energy(sharp)


@pytest.mark.parametrize("size", [(96, 128), (95, 127)])
def test_long_blur_begun_at_half_size_comes_closer(size):
    sharp, flow = scene(*size), turning(*size, 30.0)
    photo = LineBlur(flow)(sharp) + 0.003 * torch.randn(sharp.shape)
    error, of_one_size = (
        float((found - sharp).square().mean())
        for found in (
            deconvolve(photo, flow, 0.003),
            deconvolution._split(photo, flow, 0.003, photo, deconvolution._BETAS),
        )
    )
    assert error < of_one_size


@pytest.mark.parametrize(("longest", "gain"), [(8.0, 5.0), (17.0, 4.0)])
def test_the_true_flow_makes_pictures_sharp(longest, gain):
    sharp, flow = scene(96, 128), turning(96, 128, longest)
    photo = codes(LineBlur(flow)(sharp))
    truth = torch.from_numpy(codes(sharp)).double() / 255

    def quality(pixels):
        return psnr(torch.from_numpy(pixels).double() / 255, truth)

    blurred = quality(photo)
    found = quality(deblur_with_flow(photo, as_flow(flow), noise=0.003))
    across = quality(
        deblur_with_flow(photo, as_flow(flow.flip(1) * torch.tensor([[[-1.0]], [[1]]])))
    )
    assert found > blurred + gain, (blurred, found)
    assert across < found - gain
    reversed_flow = deblur_with_flow(photo, -as_flow(flow), noise=0.003)
    assert abs(quality(reversed_flow) - found) < 0.1


def test_what_does_not_move_stays_as_it_is():
    photo = codes(scene(48, 64))
    flow = np.zeros((48, 64, 2), np.float32)
    assert np.array_equal(deblur_with_flow(photo, flow), photo)
    flow[:, 32:, 0] = 6
    result = deblur_with_flow(photo, flow)
    assert np.array_equal(result[:, :32], photo[:, :32])
    assert (result[:, 32:] != photo[:, 32:]).any()


def test_clipped_light_makes_no_ripples():
    """A lamp ten times as bright as white, drawn out by the blur."""
    sharp, flow = scene(64, 96), turning(64, 96, 9)
    sharp[..., 30:34, 44:48] = 10
    light = LineBlur(flow)(sharp)
    found = deconvolve(light.clamp(max=1), flow, 0.003)
    naive = deconvolve(light.clamp(max=1 - 1e-6), flow, 0.003)
    about = torch.zeros_like(sharp, dtype=torch.bool)
    about[..., 14:50, 24:68] = True
    about &= LineBlur(flow)(sharp) == LineBlur(flow)(sharp.clamp(max=1))  # not under the lamp
    assert (found - sharp)[about].square().mean() < 0.5 * (naive - sharp)[about].square().mean()


def test_tiles_do_not_show(monkeypatch):
    sharp, flow = scene(96, 150), turning(96, 150, 5)
    photo = codes(LineBlur(flow)(sharp))
    whole = deblur_with_flow(photo, as_flow(flow)).astype(int)
    monkeypatch.setattr(deconvolution, "_TILE", 64)
    tiled = deblur_with_flow(photo, as_flow(flow)).astype(int)
    assert tiled.shape == whole.shape
    assert np.abs(tiled - whole).mean() < 0.5
    # No more at the joins than elsewhere.
    joins = np.abs(tiled - whole)[:, [63, 64, 127, 128]].mean()
    assert joins < 1


@pytest.mark.parametrize(
    ("flow", "noise", "word"),
    [
        (np.zeros((20, 31, 2)), 0.01, "shape"),
        (np.zeros((20, 30)), 0.01, "shape"),
        (np.full((20, 30, 2), math.nan), 0.01, "unknown"),
        (np.zeros((20, 30, 2)), 0.0, "noise"),
        (np.zeros((20, 30, 2)), 2.0, "noise"),
        (np.zeros((20, 30, 2)), "a", "noise='a'"),
        (np.zeros((20, 30, 2)), True, "noise=True"),
        (np.zeros((20, 30, 2)), math.nan, "noise=nan"),
        (None, 0.01, "flow is of type NoneType"),
        (np.full((20, 30, 2), "a"), 0.01, "flow is of type array of"),
        (np.full((20, 30, 2), 1e6), 0.01, "1.414e.06 pixels, .* diagonal of 36"),
        (np.full((20, 30, 2), (0, 37)), 0.01, "37 pixels, .* diagonal of 36"),
    ],
)
def test_what_cannot_be_used_is_named(flow, noise, word):
    with pytest.raises(InputError, match=word):
        deblur_with_flow(np.zeros((20, 30, 3), np.uint8), flow, noise=noise)


def test_with_caution_more_of_the_photo_stays_along_a_wrong_flow():
    sharp, flow = scene(96, 128), turning(96, 128, 10.0)
    photo = codes(LineBlur(flow)(sharp)).astype(int)
    wrong = as_flow(flow.flip(1) * torch.tensor([[[-1.4]], [[1.4]]]))
    bold = deblur_with_flow(photo.astype(np.uint8), wrong)
    cautious = deblur_with_flow(photo.astype(np.uint8), wrong, cautious=True)
    truth = codes(sharp).astype(int)
    assert np.square(cautious - truth).mean() < np.square(bold - truth).mean()
    assert np.abs(cautious - photo).mean() < 0.8 * np.abs(bold - photo).mean()


def test_vectors_may_be_as_long_as_the_diagonal():
    photo = np.full((18, 24, 3), 90, np.uint8)
    flow = np.zeros((18, 24, 2), np.float32)
    flow[9, 12] = 18, 24  # of length 30
    assert np.abs(deblur_with_flow(photo, flow).astype(int) - 90).max() <= 1
