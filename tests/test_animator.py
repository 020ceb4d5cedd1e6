"""MotionAnimator: its equations against NumPy and SciPy, and the promises of its form."""

import math

import numpy as np
import pytest
import torch
from made_models import learn, photos
from scipy import ndimage
from torch import Tensor

from b2m.losses import charbonnier
from b2m.models.animator import (
    Encoding,
    MotionAnimator,
    MotionAnimatorConfig,
    deconvolution_features,
    fill_still,
    orient,
    render,
)
from b2m.motion.fields import double_angle, half_angle

TINY = MotionAnimatorConfig.tiny()
_MASKS = {"swept_logits": 1, "moving_logits": 1}
CHANNELS = {"middle": 3, "axis": 2, "curve": 2, "even": 3, "odd": 6} | _MASKS


def make(config=TINY, seed=0, lively=True):
    """An untrained model; a lively one predicts motion and residuals of some size."""
    torch.manual_seed(seed)
    model = MotionAnimator(config).eval()
    if lively:
        with torch.no_grad():
            model.head.weight.mul_(40)
            model.detail_head.weight.mul_(40)
            torch.nn.init.normal_(model.guidance_stem.weight, std=0.2)
    return model


def directions(batch, height, width, seed=0):
    """Guidance in patches, some of it still."""
    rng = np.random.default_rng(seed)
    choices = np.array([(0, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)], np.float32)
    patches = choices[rng.integers(0, 5, (batch, -(-height // 8), -(-width // 8)))]
    whole = patches.repeat(8, 1).repeat(8, 2)[:, :height, :width]
    return torch.from_numpy(whole).permute(0, 3, 1, 2).contiguous()


def still(batch, height, width, **parts: Tensor) -> Encoding:
    """An encoding in which nothing moves, but for what is given."""
    zeros = {
        name: torch.zeros(batch, channels, height, width) for name, channels in CHANNELS.items()
    }
    return Encoding(**(zeros | parts))


# --- lines and signs -----------------------------------------------------------------------------


def test_spread_keeps_what_is_given_and_fills_the_rest():
    guidance = torch.zeros(1, 2, 21, 34)
    guidance[0, :, 3, 5] = torch.tensor([1.0, -1.0])
    guidance[0, :, 18, 30] = torch.tensor([-1.0, -1.0])
    filled = fill_still(guidance)
    given = (guidance != 0).any(1)
    assert torch.equal(filled.movedim(1, -1)[given], guidance.movedim(1, -1)[given])
    assert (filled != 0).any(1).all()
    # Nearby pixels follow the nearer of the two.
    assert filled[0, :, 2, 4].sign().tolist() == [1, -1]
    assert filled[0, :, 19, 31].sign().tolist() == [-1, -1]


def test_spread_is_the_mean_of_the_nearest_block_that_moves():
    guidance = directions(1, 16, 24, seed=3) * (torch.rand(1, 1, 16, 24) < 0.05)
    filled = fill_still(guidance)[0].numpy()
    given = guidance[0].numpy()

    def mean(level, y, x):
        """Mean of means, as blocks of four are joined again and again; zeros stand for nothing."""
        if level == 0:
            return given[:, y, x]
        found = [
            mean(level - 1, row, column)
            for row in (2 * y, 2 * y + 1)
            for column in (2 * x, 2 * x + 1)
            if row < -(-16 // 2 ** (level - 1)) and column < -(-24 // 2 ** (level - 1))
        ]
        return np.mean(found, 0)

    for y, x in np.ndindex(16, 24):
        level = 0
        while not mean(level, y >> level, x >> level).any() and level < 5:
            level += 1
        np.testing.assert_allclose(filled[:, y, x], mean(level, y >> level, x >> level), atol=1e-6)


def test_nothing_to_spread():
    assert (fill_still(torch.zeros(2, 2, 9, 5)) == 0).all()
    assert fill_still(torch.ones(1, 2, 1, 1)).flatten().tolist() == [1, 1]


def test_orient_turns_vectors_to_go_with_the_guidance():
    rng = torch.Generator().manual_seed(0)
    vectors = torch.randn(2, 2, 20, 20, generator=rng)
    guidance = directions(2, 20, 20)
    found = orient(vectors, guidance)
    same = (found == vectors).all(1)
    turned = (found == -vectors).all(1)
    assert (same | turned).all()
    for b, y, x in np.ndindex(2, 20, 20):
        if guidance[b, :, y, x].any():
            product = float(vectors[b, :, y, x] @ guidance[b, :, y, x])
            assert bool(same[b, y, x]) == (product >= 0)


# --- frames --------------------------------------------------------------------------------------


def test_the_frame_in_the_middle_is_the_middle():
    with torch.inference_mode():
        model = make()
        photo = photos(1, 32, 48)
        guidance = directions(1, 32, 48)
        encoding = model.encode(photo, guidance)
        animation = model(photo, guidance, frames=9)
    assert torch.equal(animation.frames[:, 4], encoding.middle)


def test_reversed_guidance_gives_the_reversed_clip():
    model = make()
    photo, guidance = photos(2, 33, 47), directions(2, 33, 47)
    with torch.inference_mode():
        for frames in (2, 7, 10):
            forth = model(photo, guidance, frames=frames)
            back = model(photo, -guidance, frames=frames)
            assert torch.equal(forth.flow, -back.flow)
            assert forth.flow.norm(dim=1).mean() > 0.2  # there is motion to be reversed
            torch.testing.assert_close(forth.frames, back.frames.flip(1), atol=1e-4, rtol=0)
            assert not torch.allclose(forth.frames[:, 0], back.frames[:, 0], atol=1e-3)


def test_a_frame_is_its_equation():
    height, width = 9, 11
    rng = np.random.default_rng(4)
    scales = {
        "middle": (3, 0.3),
        "axis": (2, 1),
        "curve": (2, 1),
        "even": (3, 0.1),
        "odd": (6, 0.1),
        "swept_logits": (1, 1),
        "moving_logits": (1, 1),
    }
    parts = {name: rng.normal(0, s, (1, n, height, width)) for name, (n, s) in scales.items()}
    flow = rng.normal(0, 3, (1, 2, height, width))
    encoding = Encoding(**{name: torch.from_numpy(part) for name, part in parts.items()})
    for time in (-1.0, -0.4, 0.7, 1.0):
        found = render(encoding, torch.from_numpy(flow), time)[0].numpy()
        for y, x in np.ndindex(height, width):
            v, c = flow[0, :, y, x], parts["curve"][0, :, y, x]
            from_x, from_y = (x, y) - (time * v / 2 + c * time**2)
            matrix = parts["odd"][0, :, y, x].reshape(2, 3).T  # 3x2
            for channel in range(3):
                moved = ndimage.map_coordinates(
                    parts["middle"][0, channel], [[from_y], [from_x]], order=1, mode="nearest"
                )[0]
                odd = matrix[channel] @ v / math.sqrt(v @ v + 1)
                expected = moved + time**2 * parts["even"][0, channel, y, x] + time * odd
                assert found[channel, y, x] == pytest.approx(expected, abs=1e-6)


def test_a_texture_slides_as_its_flow_says():
    image = photos(1, 40, 50)
    u, v = 6.0, -2.5
    flow = torch.tensor([u, v]).view(1, 2, 1, 1).expand(1, 2, 40, 50)
    encoding = still(1, 40, 50, middle=image, axis=double_angle(flow))
    oriented = orient(half_angle(encoding.axis), flow.sign())
    torch.testing.assert_close(oriented, flow, atol=1e-4, rtol=0)
    for time in (-1.0, -0.5, 0.5, 1.0):
        shift = (0, v * time / 2, u * time / 2)
        expected = ndimage.shift(image[0].numpy(), shift, order=1, mode="nearest")
        found = render(encoding, oriented, time)[0].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)


# --- the network ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(33, 47), (17, 130), (1, 1)])
def test_any_size(size):
    model = make()
    with torch.inference_mode():
        encoding = model.encode(photos(2, *size) if min(size) > 1 else torch.rand(2, 3, 1, 1))
        animation = model(torch.rand(1, 3, *size), directions(1, *size), frames=4)
        unguided = model(torch.rand(1, 3, *size))
    for name, part in encoding._asdict().items():
        assert part.shape == (2, CHANNELS[name], *size)
        assert part.isfinite().all()
    assert animation.frames.shape == (1, 4, 3, *size)
    assert animation.flow.shape == (1, 2, *size)
    assert animation.frames.isfinite().all()
    assert unguided.frames.shape == (1, 7, 3, *size)


def test_an_untrained_model_repeats_the_photo():
    model = make(lively=False)
    photo = photos(1, 32, 32)
    with torch.inference_mode():
        assert (model(photo).frames - photo[:, None]).abs().max() < 0.05


@pytest.mark.parametrize("origin", [(32, 64), (64, 16)])
def test_tiles_agree(origin):
    model = make()
    photo = photos(1, 512, 480)
    top, left = origin
    margin, side = 176, 416  # wider than what the blocks of this size see
    with torch.inference_mode():
        whole = model.encode(photo)
        tile = model.encode(photo[..., top : top + side, left : left + side])
    inside = (..., slice(margin, -margin), slice(margin, -margin))
    for one, other in zip(whole, tile, strict=True):
        one, other = one[..., top : top + side, left : left + side][inside], other[inside]
        assert one.std() > 0
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


# --- guidance ------------------------------------------------------------------------------------


def test_features_are_computed_once_and_decoded_as_often_as_wanted():
    model, photo, guidance = make(), photos(1, 33, 40), directions(1, 33, 40)
    with torch.inference_mode():
        features = model.features(photo)
        for said in (None, guidance):
            for one, other in zip(
                model.decode(features, said), model.encode(photo, said), strict=True
            ):
                assert torch.equal(one, other)


def test_guidance_changes_the_encoding_and_its_reverse_does_not():
    model, photo, guidance = make(), photos(1, 48, 48), directions(1, 48, 48)
    with torch.inference_mode():
        told, reversed_, free = (model.encode(photo, g) for g in (guidance, -guidance, None))
    for one, other, none in zip(told, reversed_, free, strict=True):
        assert torch.equal(one, other)
        assert not torch.equal(one, none)


def test_a_batch_may_hold_samples_with_and_without_guidance():
    model, photo, guidance = make(), photos(2, 32, 32), directions(2, 32, 32)
    with torch.inference_mode():
        mixed = model.decode(model.features(photo), guidance, torch.tensor([1.0, 0.0]))
        told, free = model.encode(photo[:1], guidance[:1]), model.encode(photo[1:])
    for one, first, second in zip(mixed, told, free, strict=True):
        torch.testing.assert_close(one, torch.cat([first, second]), atol=1e-5, rtol=1e-5)


def test_the_flow_is_still_where_guidance_is():
    model, guidance = make(), directions(1, 48, 48)
    with torch.inference_mode():
        flow = model(photos(1, 48, 48), guidance).flow
    still_pixels = (guidance == 0).all(1)[0]
    assert (flow[0, :, still_pixels] == 0).all()
    assert (flow[0, :, ~still_pixels] != 0).any()


def test_it_learns_a_batch_by_heart():
    torch.manual_seed(0)
    model = MotionAnimator(TINY)
    sharp = photos(2, 32, 38, seed=9)
    frames = torch.stack([sharp[..., shift : shift + 32] for shift in (6, 3, 0)], 1)
    flow = torch.tensor([6.0, 0.0]).view(1, 2, 1, 1).expand(2, 2, 32, 32)
    photo, guidance = frames.mean(1), torch.ones_like(flow)

    def loss():
        animation = model(photo, guidance, frames=3)
        axis = (double_angle(animation.flow) - double_angle(flow)).abs().mean()
        return charbonnier(animation.frames, frames) + 0.003 * axis

    begun = loss().item()
    learn(model, loss, lambda: loss() < 0.4 * begun, 100, 3e-3)


def test_evidence_tells_whether_paths_are_too_short_or_too_long():
    """A photo blurred along level paths of 12 pixels, and its sharp frame."""
    rng = np.random.default_rng(5)
    wide = ndimage.gaussian_filter(rng.random((64, 160)), 1.5)
    wide = (wide - wide.min()) / (wide.max() - wide.min())
    blurred = ndimage.uniform_filter1d(wide, 13, axis=1)
    frame, photo = (
        torch.tensor(image[:, 32:128], dtype=torch.float32).expand(1, 3, -1, -1) ** (1 / 2.2)
        for image in (wide, blurred)
    )
    left = {}
    for length in (0.0, 8.0, 12.0, 16.0):
        path = torch.zeros(1, 2, 32, 48)
        path[:, 0] = length / 2  # pixels of half the size
        evidence = deconvolution_features(photo, frame, path)
        assert evidence.shape == (1, 6, 32, 48) and torch.isfinite(evidence).all()
        left[length] = float(evidence[:, 4, 4:-4, 10:-10].abs().mean())  # of the predicted length
    assert min(left, key=left.get) == 12.0 and left[12.0] < 0.3 * left[0.0]
    back = deconvolution_features(photo, frame, -path)  # the film run backwards blurs alike
    torch.testing.assert_close(evidence, back, atol=1e-4, rtol=0)
