"""Layers that models share, each against something independent."""

import math

import numpy as np
import torch
from scipy import ndimage

from b2m.models.layers import (
    ContextNetwork,
    DenseBlock,
    SpatialTransformer,
    affine_warp,
    bilinear_upsampling_conv,
    local_contrast,
)


def picture(height, width, channels=3, seed=0):
    noise = np.random.default_rng(seed).normal(size=(channels, height, width))
    smooth = ndimage.gaussian_filter(noise, (0, 3, 3))
    return torch.from_numpy(smooth / smooth.std()).float()[None]


def test_local_contrast_is_its_definition():
    photo = np.random.default_rng(0).random((3, 25, 30))

    def around(plane, y, x, reach):
        rows = slice(max(0, y - reach), y + reach + 1)
        return plane[rows, max(0, x - reach) : x + reach + 1]

    detail, expected = np.empty_like(photo), np.empty_like(photo)
    for c, y, x in np.ndindex(photo.shape):
        detail[c, y, x] = photo[c, y, x] - around(photo[c], y, x, 4).mean()
    energy = (detail**2).mean(0)
    for y, x in np.ndindex(energy.shape):
        expected[:, y, x] = detail[:, y, x] / (np.sqrt(around(energy, y, x, 8).mean()) + 0.02)
    found = local_contrast(torch.from_numpy(photo)[None])[0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-9)
    assert local_contrast(torch.full((1, 3, 20, 20), 0.7)).abs().max() < 1e-4


def test_a_transform_is_the_affine_map_it_says():
    """Against SciPy, whose maps go from pixel to pixel, rows first."""
    height, width = 48, 60
    angle, scale, shift = 0.2, 1.1, (0.1, -0.05)
    transform = torch.tensor(
        [
            [scale * math.cos(angle), -scale * math.sin(angle), shift[0]],
            [scale * math.sin(angle), scale * math.cos(angle), shift[1]],
        ]
    )
    moved = picture(height, width, channels=1)
    result = affine_warp(moved, transform[None])
    # From pixels to [-1, 1] between the outer edges, through the map, and back; (y, x, 1).
    unit = np.array([[0, 2 / width, 1 / width - 1], [2 / height, 0, 1 / height - 1], [0, 0, 1]])
    whole = np.linalg.inv(unit) @ np.vstack([transform.numpy(), [0, 0, 1]]) @ unit
    expected = ndimage.affine_transform(
        moved[0, 0].numpy(), whole[:2, :2], whole[:2, 2], order=1, mode="nearest"
    )
    np.testing.assert_allclose(result[0, 0].numpy(), expected, atol=1e-4)


def test_a_transform_means_the_same_at_all_scales():
    transform = torch.tensor([[[0.95, 0.1, 0.2], [-0.08, 1.05, -0.1]]])
    large = torch.nn.functional.interpolate(picture(32, 40), scale_factor=4, mode="bicubic")
    halve = torch.nn.AvgPool2d(2)
    one, other = halve(affine_warp(large, transform)), affine_warp(halve(large), transform)
    assert (one - other)[..., 4:-4, 4:-4].abs().mean() < 0.02 * one.std()


def test_a_transformer_recovers_a_known_map():
    torch.manual_seed(0)
    transformer = SpatialTransformer(3, 8)
    wanted = torch.tensor([[[0.95, 0.1, 0.1], [-0.08, 1.03, -0.1]]])
    moved = picture(48, 48)
    truth = affine_warp(moved, wanted)
    optimizer = torch.optim.Adam(transformer.parameters(), lr=3e-3)
    for _ in range(120):
        result, transform = transformer(moved, moved)
        loss = (result - truth).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (transform - wanted).abs().max() < 0.02


def test_dense_convolutions_see_all_before_them():
    block = DenseBlock(5, (4, 3, 2))
    assert [layer[0].in_channels for layer in block.layers] == [5, 9, 12]
    x = torch.rand(1, 5, 8, 8)
    seen = [x]
    for layer in block.layers:
        seen.append(layer(torch.cat(seen, 1)))
    torch.testing.assert_close(block(x), seen[-1])


def test_context_reaches_far_and_begins_near_nothing():
    torch.manual_seed(0)
    context = ContextNetwork(4, 2, (8, 8, 8, 8, 8, 8))
    features = torch.rand(1, 4, 80, 80, requires_grad=True)
    maps = torch.rand(1, 2, 80, 80)
    result = context(features, maps)
    assert (result - maps).abs().max() < 0.05
    result[0, 0, 40, 40].backward()
    reached = features.grad.abs().sum((0, 1)).nonzero()
    far = sum((1, 2, 4, 8, 16, 1, 1))
    assert reached.min() >= 40 - far
    assert reached.min() < 40 - far + 4
    assert reached.max() <= 40 + far


def test_doubled_maps_begin_bilinear():
    maps = torch.rand(1, 2, 6, 7)
    expected = torch.nn.functional.interpolate(maps, scale_factor=2, mode="bilinear")
    found = bilinear_upsampling_conv(2)(maps)
    torch.testing.assert_close(found[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])
