"""Batches: turning a clip turns its vectors, and a batch depends on its number alone."""

import itertools

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from b2m.blur import linear_to_srgb, srgb_to_linear
from b2m.data import stream
from b2m.data.augmentation import turn_and_reverse
from b2m.data.sample import PackedSamples, SampleBatch
from b2m.data.scenes import SceneConfig
from b2m.data.stream import SceneStream
from b2m.data.textures import Textures, procedural_cutouts, procedural_textures
from b2m.models.recipe_presets import SHARES
from b2m.train.recipes import find_recipe

EVERY = list(itertools.product(range(4), (False, True), (False, True)))


@pytest.mark.parametrize(("turns", "mirror", "backwards"), EVERY)
def test_flow_measured_after_turning_is_the_flow_that_was_turned(turns, mirror, backwards):
    # A texture that slides by (5, -3) from the first frame to the last, in a frame not square.
    u, v = 5, -3
    world = np.random.default_rng(0).random((80, 100)).astype(np.float32)
    world = ndimage.gaussian_filter(world, 1.5)
    first, last = world[10:58, 20:84], world[10 - v : 58 - v, 20 - u : 84 - u]
    frames = torch.from_numpy(np.stack([first, last]))[None, :, None]  # (1, 2, 1, 48, 64)
    flow = torch.tensor([u, v], dtype=torch.float32).view(1, 2, 1, 1).expand(1, 2, 48, 64)
    frames, flow = turn_and_reverse(frames, flow, turns, mirror, backwards)
    assert frames.shape[-2:] == flow.shape[-2:] == ((48, 64) if turns % 2 == 0 else (64, 48))
    one, other = (np.ascontiguousarray(frame[0].numpy()) for frame in frames[0])
    window = cv2.createHanningWindow(one.shape[::-1], cv2.CV_32F)
    (found_u, found_v), _ = cv2.phaseCorrelate(one - one.mean(), other - other.mean(), window)
    assert (flow[0, 0] == flow[0, 0, 0, 0]).all()
    assert (flow[0, 1] == flow[0, 1, 0, 0]).all()
    assert flow[0, 0, 0, 0].item() == pytest.approx(found_u, abs=0.3)
    assert flow[0, 1, 0, 0].item() == pytest.approx(found_v, abs=0.3)


@pytest.mark.parametrize(("turns", "mirror", "backwards"), EVERY)
def test_each_vector_goes_with_its_pixel(turns, mirror, backwards):
    # Pixels that know where they came from, and vectors that differ from pixel to pixel.
    height, width = 9, 13
    row, column = np.mgrid[:height, :width]
    rng = np.random.default_rng(1)
    vectors = rng.integers(-4, 5, (2, height, width))
    source = torch.from_numpy(np.stack([column, row])).float()[None, None]
    flow = torch.from_numpy(vectors).float()[None]
    places, turned = turn_and_reverse(source, flow, turns, mirror, backwards)
    places, turned = places[0, 0].numpy().astype(int), turned[0].numpy().astype(int)
    sign = -1 if backwards else 1
    checked = 0
    for y, x in np.ndindex(places.shape[1:]):
        end_x, end_y = x + turned[0, y, x], y + turned[1, y, x]
        if not (0 <= end_y < places.shape[1] and 0 <= end_x < places.shape[2]):
            continue
        from_x, from_y = places[:, y, x]
        expected = [from_x, from_y] + sign * vectors[:, from_y, from_x]
        assert places[:, end_y, end_x].tolist() == expected.tolist()
        checked += 1
    assert checked > 20


# --- batches -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def textures():
    return procedural_textures(count=2, side=64), procedural_cutouts(count=2, side=48)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(stream, "_CHUNK_SCENES", 4)


def make(textures, **options):
    settings = {"crop": 24, "batch": 2, "reuse": 2} | options
    side = settings.pop("side", 32)

    def scenes(samples, share, kind):
        return SceneConfig(size=side, frames=3, blur=(1.0, 2.0 + 2.0 * share))

    return SceneStream(*textures, scenes, **settings)


def equal(one, other):
    return all(map(torch.equal, one, other))


def test_a_batch_has_its_shapes_and_its_guidance_follows_its_flow(textures):
    batch = make(textures)(0)
    assert batch.photo.shape == (2, 3, 24, 24)
    assert batch.frames.shape == (2, 3, 3, 24, 24)
    assert batch.flow.shape == batch.guidance.shape == (2, 2, 24, 24)
    flow, guidance = batch.flow.numpy(), batch.guidance.numpy()
    moving = np.hypot(flow[:, 0], flow[:, 1]) >= 3
    assert (np.abs(guidance).sum(1) == 2 * moving).all()
    assert (guidance * flow >= 0)[np.repeat(moving[:, None], 2, 1) & (flow != 0)].all()


def test_jumping_to_a_step_gives_what_walking_there_gives(textures):
    walking = make(textures)
    walked = [walking(step) for step in range(10)]  # two and a half chunks
    for step in (9, 3, 4, 0):
        assert equal(make(textures)(step), walked[step])
    assert equal(walking(2), walked[2])  # and going back
    assert not any(equal(walked[a], walked[b]) for a in range(10) for b in range(a))


def test_kept_scenes_are_those_that_would_be_rendered(textures, tmp_path, monkeypatch):
    steps = range(0, 12, 3)
    rendered = [make(textures)(step) for step in steps]
    for _ in range(2):  # made and kept, then taken
        stream = make(textures, cache=tmp_path / "kept")
        for step, before in zip(steps, rendered, strict=True):
            assert equal(stream(step), before)
        monkeypatch.setattr(SceneStream, "_render", None)
    assert not list((tmp_path / "kept").glob("*.tmp*"))


def test_kept_scenes_are_not_taken_for_others(textures, tmp_path):
    before = make(textures, cache=tmp_path)(0)
    dark = Textures(textures[0].pixels // 2, textures[0].table)
    for others, options in ((textures, {"seed": 1}), ((dark, textures[1]), {})):
        after = make(others, cache=tmp_path, **options)(0)
        assert not torch.equal(before.photo, after.photo)
        torch.testing.assert_close(after.photo, make(others, **options)(0).photo)


@pytest.mark.parametrize("other", [{"seed": 1}, {"rank": 1, "ranks": 2}])
def test_other_seeds_and_other_ranks_see_other_batches(textures, other):
    first, second = make(textures)(1), make(textures, **other)(1)
    assert not torch.equal(first.photo, second.photo)
    assert not torch.equal(first.flow, second.flow)


def test_every_scene_is_used_equally_often(textures):
    whole = make(textures, crop=32, reuse=3)  # no crop: turning keeps the sum of the lengths
    assert whole.chunk_steps == 6
    sums = [
        round(length, 1)
        for step in range(6)
        for length in whole(step).flow.norm(dim=1).sum((1, 2)).tolist()
    ]
    _, times = np.unique(sums, return_counts=True)
    assert (times % 3 == 0).all()
    assert times.sum() == 12
    once = make(textures, reuse=1)
    assert once.chunk_steps == 1
    assert not equal(once(0), once(1))


def test_the_photo_lies_as_the_frames_do(textures):
    batches = make(textures)
    for step in range(6):
        batch = batches(step)
        blur = linear_to_srgb(srgb_to_linear(batch.frames).mean(1))
        error = (batch.photo - blur).square().mean()
        assert error < 1e-3
        others = [blur.flip(-1), blur.flip(-2), blur.transpose(-1, -2), blur.roll(1, 1)]
        assert all((batch.photo - other).square().mean() > 4 * error for other in others)


def test_the_curriculum_is_told_how_many_samples_all_ranks_have_seen(textures):
    told = []

    def scenes(samples, share, kind):
        told.append(samples)
        assert 0 <= share < 1
        return SceneConfig(size=24, frames=3, blur=(1.0, 2.0))

    batches = SceneStream(*textures, scenes, crop=24, batch=2, reuse=2, rank=1, ranks=3)
    for step in range(9):
        batches(step)
    # Chunks of four steps of two samples, on three ranks.
    assert told == [0, 24, 48]


def test_the_mix_has_its_shares(textures, monkeypatch):
    """What is rendered says by its light where it is from."""

    def marked(light):
        def draw(*given):
            config, count = given[-4:-2]
            frames = torch.full((count, config.frames, 3, config.size, config.size), light)
            flow = torch.zeros(count, 2, config.size, config.size)
            return SampleBatch.of(frames[:, 0], frames, flow)

        return draw

    monkeypatch.setattr(stream, "_CHUNK_SCENES", 256)
    monkeypatch.setattr(stream, "render", marked(0.2))
    monkeypatch.setattr(stream, "render_rotation", marked(0.4))
    real = PackedSamples(
        torch.full((2, 4, 3, 16, 16), 204, dtype=torch.uint8),
        torch.zeros(2, 2, 2, 16, 16, dtype=torch.float16),
    )
    recipe = find_recipe("animator-mix")
    made = SceneStream(
        *textures,
        lambda samples, share, kind: SceneConfig(size=16, frames=3),
        crop=16,
        batch=64,
        reuse=2,
        rotation_share=recipe.rotation_share,
        real=real,
        real_share=recipe.real_share,
    )
    lights = torch.cat([made(step).frames[:, 0, 0, 0, 0] for step in range(0, 640, 8)])
    shares = [float((lights - light).abs().lt(0.01).float().mean()) for light in (0.2, 0.4, 0.8)]
    assert sum(shares) == pytest.approx(1)
    np.testing.assert_allclose(shares, list(SHARES.values()), atol=0.03)
