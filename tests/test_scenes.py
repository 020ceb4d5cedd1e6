"""Scenes obey physics: light adds up, flow says where things went, cameras turn as cameras do."""

import itertools
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import scipy.linalg
import torch
from made_pictures import decoded
from scipy import ndimage
from scipy.spatial.transform import Rotation

from b2m.data import scenes
from b2m.data import trajectories as paths
from b2m.data.scenes import SceneConfig, render
from b2m.data.textures import Textures, pack_textures, procedural_cutouts, procedural_textures
from b2m.motion.fields import warp


@pytest.fixture(scope="module")
def photos():
    return procedural_textures(count=3, side=128)


@pytest.fixture(scope="module")
def cutouts():
    return procedural_cutouts(count=3, side=64)


def smooth(sigma) -> Textures:
    """Photos that bear interpolation, so that errors of a tenth of a pixel show."""

    def photo(seed):
        noise = np.random.default_rng(seed).normal(size=(192, 192, 3))
        image = ndimage.gaussian_filter(noise, (sigma, sigma, 0), mode="wrap")
        image = 0.5 + 0.12 * image / image.std()
        opaque = np.ones((192, 192, 1))
        return (np.clip(np.concatenate([image, opaque], 2), 0, 1) * 255).astype(np.uint8)

    return pack_textures(photo(seed) for seed in range(3))


def lengths(flow):
    return flow.norm(dim=1)


def psnr(one, other):
    return -10 * math.log10(float(((one - other) ** 2).mean()))


# --- what a scene is -----------------------------------------------------------------------------


def test_a_seed_gives_the_same_scenes_and_another_others(photos, cutouts):
    config = SceneConfig(size=32, blur=(2.0, 6.0))
    state = torch.get_rng_state()
    first = render(photos, cutouts, config, 3, seed=7)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(99)
    again = render(photos, cutouts, config, 3, seed=7)
    other = render(photos, cutouts, config, 3, seed=8)
    torch.set_rng_state(state)
    for one, two, three in zip(first, again, other, strict=True):
        assert torch.equal(one, two)
        assert not torch.equal(one, three) or one.dtype == torch.bool


def test_scenes_name_what_they_are_made_from(cutouts):
    """Photos of one colour each: what channels a scene shows tells which one is behind."""
    hues = ("r", "g", "b", "rg", "rb", "gb")
    flat = np.zeros((6, 96, 96, 4), np.uint8)
    flat[..., 3] = 255
    for photo, hue in zip(flat, hues, strict=True):
        photo[..., ["rgb".index(channel) for channel in hue]] = 120
    photos = replace(pack_textures(flat), names=hues)
    named = replace(cutouts, names=("x", "y", "z"))
    config = SceneConfig(size=32, blur=(1.0, 2.0), saturation=0.0, kind="camera")
    made, names = scenes.render_named(photos, named, config, 24, seed=3)
    for one, other in zip(made, render(photos, cutouts, config, 24, seed=3), strict=True):
        assert torch.equal(one, other)
    lit = made.photo.amax((2, 3)) > 0
    assert [["".join(np.array(list("rgb"))[row])] for row in lit.numpy()] == names
    config = replace(config, kind="movers", layers=3)
    _, names = scenes.render_named(photos, named, config, 24, seed=3)
    assert {len(one) for one in names} == {2, 3, 4}
    assert {name for one in names for name in one[1:]} == {*hues, "x", "y", "z"}


@pytest.mark.parametrize(("size", "frames"), [(33, 7), (48, 4), (17, 2), (31, 9)])
@pytest.mark.parametrize("kind", ["mixed", "camera"])
def test_shapes_types_and_ranges(photos, cutouts, size, frames, kind):
    scene = render(photos, cutouts, SceneConfig(size, frames, (1.0, 5.0), kind), 2, seed=1)
    assert scene.photo.shape == (2, 3, size, size)
    assert scene.frames.shape == (2, frames, 3, size, size)
    assert scene.flow.shape == (2, 2, size, size)
    assert scene.guidance.shape == (2, 2, size, size)
    assert scene.guidance.dtype == torch.float32
    assert scene.moving.shape == (2, 1, size, size)
    assert scene.moving.dtype == torch.bool
    for image in (scene.photo, scene.frames):
        assert image.min() >= 0
        assert image.max() <= 1
        assert image.std() > 0.05
    assert scene.flow.isfinite().all()


@pytest.mark.parametrize("kind", ["mixed", "movers", "camera"])
def test_guidance_is_the_rule_applied_to_the_flow(photos, cutouts, kind):
    scene = render(photos, cutouts, SceneConfig(48, 3, (2.0, 12.0), kind), 4, seed=2)
    flow, guidance = scene.flow.numpy(), scene.guidance.numpy()
    for b, y, x in np.ndindex(4, 48, 48):
        u, v = flow[b, :, y, x]
        expected = (0, 0)
        if math.hypot(u, v) / 6 >= 0.5:
            expected = (np.sign(u) or np.sign(v), np.sign(v) or -np.sign(u))
        assert tuple(guidance[b, :, y, x]) == expected


# --- light ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mixed", "camera"])
def test_the_blur_is_the_mean_of_all_instants_in_linear_light(photos, cutouts, kind):
    # With as many frames as pixels of blur every instant is a frame.
    config = SceneConfig(40, 9, (4.0, 8.0), kind, saturation=0.0, softness=0.5)
    scene = render(photos, cutouts, config, 6, seed=3)
    mean = decoded(scene.frames).mean(1)
    unclipped = (scene.frames < 0.9999).all(1).numpy()
    assert unclipped.mean() > 0.5
    np.testing.assert_allclose(decoded(scene.photo)[unclipped], mean[unclipped], atol=2e-6)
    # Light beyond what the sensor can tell still counts while it is being added up.
    assert (decoded(scene.photo) >= mean - 2e-6).all()


def test_instants_are_at_most_a_pixel_apart(photos, cutouts):
    few = SceneConfig(40, 3, (8.0, 12.0), "camera", saturation=0.0)
    many = SceneConfig(40, 25, (8.0, 12.0), "camera", saturation=0.0)
    coarse, fine = (render(photos, cutouts, config, 2, seed=4) for config in (few, many))
    # The frames of the one are among those of the other: the ends and the middle.
    torch.testing.assert_close(coarse.frames, fine.frames[:, ::12])
    found = psnr(coarse.photo, fine.photo)
    assert found > 36
    assert psnr(coarse.frames.mean(1), fine.photo) < found - 6  # three instants alone are no blur


def test_saturated_lights_leave_brighter_streaks(photos, cutouts):
    plain = SceneConfig(40, 9, (4.0, 8.0), "camera", saturation=0.0, softness=0.0)
    lit = SceneConfig(40, 9, (4.0, 8.0), "camera", saturation=1.0, softness=0.0)
    dark, bright = (render(photos, cutouts, config, 4, seed=5) for config in (plain, lit))
    assert (bright.photo >= dark.photo - 1e-6).all()
    assert (bright.photo > dark.photo + 0.02).any()
    clipped = decoded(bright.frames).mean(1)
    assert (decoded(bright.photo) > clipped + 0.02).any()


# --- motion --------------------------------------------------------------------------------------


def without_curvature(monkeypatch):
    """Straight paths, on which a point is at -flow/2 first and at flow/2 last."""
    for name in ("camera_motion", "thing_motion"):
        curved = getattr(paths, name)

        def straight(*arguments, curved=curved):
            linear, bend = curved(*arguments)
            return linear, torch.zeros_like(bend)

        monkeypatch.setattr(scenes, name, straight)


def test_flow_moves_the_middle_frame_to_both_ends(cutouts, monkeypatch):
    without_curvature(monkeypatch)
    config = SceneConfig(64, 3, (5.0, 8.0), "camera", saturation=0.0, softness=0.0)
    scene = render(smooth(4), cutouts, config, 6, seed=6)
    inner = (..., slice(8, -8), slice(8, -8))

    def quality(end, factor):
        found = warp(scene.frames[:, end], factor * scene.flow)
        return psnr(found[inner], scene.frames[:, 1][inner])

    for end, half in ((0, -0.5), (2, 0.5)):
        exact = quality(end, half)
        assert exact > 40
        for wrong in (0.0, 0.8 * half, 1.2 * half, -half):
            assert quality(end, wrong) < exact - 6


def test_flow_of_things_is_exact_where_they_stay_in_view(monkeypatch):
    without_curvature(monkeypatch)
    config = SceneConfig(64, 3, (5.0, 8.0), "movers", 1, saturation=0.0, softness=0.0)
    # Whole photos as things, drawn several times smaller than they are.
    scene = render(smooth(12), smooth(16), config, 12, seed=7)
    core = ndimage.binary_erosion(scene.moving[:, 0].numpy(), np.ones((1, 9, 9)), border_value=0)
    assert core.sum() > 500
    for end, half in ((0, -0.5), (2, 0.5)):
        moved = warp(scene.frames[:, end], half * scene.flow)
        error = (moved - scene.frames[:, 1]).abs().amax(1).numpy()[core]
        unmoved = (scene.frames[:, end] - scene.frames[:, 1]).abs().amax(1).numpy()[core]
        assert (error < 0.03).mean() > 0.97
        assert (unmoved < 0.03).mean() < 0.5


@pytest.mark.parametrize("kind", ["mixed", "movers", "camera"])
@pytest.mark.parametrize("blur", [(3.0, 6.0), (20.0, 24.0)])
def test_no_path_is_longer_than_asked_for(photos, cutouts, kind, blur):
    scene = render(photos, cutouts, SceneConfig(32, 2, blur, kind), 48, seed=8)
    longest = lengths(scene.flow).amax((1, 2))
    assert longest.max() <= 1.02 * blur[1]
    assert longest.median() > 0.5 * blur[0]
    if kind == "camera":  # curved paths are longer than their ends are apart
        assert longest.min() > 0.5 * blur[0]


def test_still_scenes(photos, cutouts):
    scene = render(photos, cutouts, SceneConfig(32, 5, (2.0, 6.0), "still"), 3, seed=9)
    assert (scene.flow == 0).all()
    assert not scene.moving.any()
    assert (scene.guidance == 0).all()
    assert (scene.frames == scene.frames[:, :1]).all()
    torch.testing.assert_close(scene.photo, scene.frames[:, 0], atol=1e-5, rtol=0)


def test_movers_pass_before_a_background_that_stands_still(photos, cutouts):
    config = SceneConfig(64, 5, (4.0, 8.0), "movers", saturation=0.0)
    scene = render(photos, cutouts, config, 12, seed=10)
    still = (scene.flow == 0).all(1)
    assert 0.2 < still.float().mean() < 0.95
    assert not (scene.moving[:, 0] & still).any()
    assert (lengths(scene.flow)[scene.moving[:, 0]] >= 0.999).all()
    assert scene.moving.flatten(1).any(1).float().mean() > 0.8
    # Far from all that moves nothing changes: no thing, no shadow, no camera.
    for clip, mask in zip(scene.frames, still, strict=True):
        far = torch.from_numpy(ndimage.distance_transform_edt(mask.numpy()) > 11)
        far[:11] = far[-11:] = far[:, :11] = far[:, -11:] = False  # things may come in
        assert (clip - clip[2]).abs().amax((0, 1))[far].sum() == 0


def test_a_camera_moves_everything_and_nothing_against_itself(photos, cutouts):
    scene = render(photos, cutouts, SceneConfig(48, 3, (4.0, 8.0), "camera"), 8, seed=11)
    assert not scene.moving.any()
    assert torch.equal(scene.path, scene.flow)
    # One smooth field: neighbours move alike.
    assert scene.flow.diff(dim=-1).abs().max() < 0.6
    assert scene.flow.diff(dim=-2).abs().max() < 0.6


def test_things_that_do_nothing_ride_on_the_camera(photos, cutouts, monkeypatch):
    def nothing(random, total, size):
        return torch.zeros(2, total, 3, 3).unbind()

    monkeypatch.setattr(scenes, "thing_motion", nothing)
    monkeypatch.setattr(scenes, "_sway", lambda layers, points, time, back=False: points)
    scene = render(photos, cutouts, SceneConfig(48, 3, (4.0, 8.0), "mixed"), 12, seed=16)
    assert (lengths(scene.flow).amax((1, 2)) > 1).sum() > 3  # scenes with a moving camera
    assert not scene.moving.any()
    assert scene.flow.diff(dim=-1).abs().max() < 0.6


# --- paths ---------------------------------------------------------------------------------------


def test_turning_a_camera_is_k_r_k_inverse():
    rng = np.random.default_rng(12)
    for _ in range(20):
        focal, turning = rng.uniform(50, 400), rng.normal(0, 0.4, 3)
        intrinsics = np.diag([focal, focal, 1])
        rotation = Rotation.from_rotvec(turning).as_matrix()
        expected = intrinsics @ rotation @ np.linalg.inv(intrinsics)
        generator = paths.motion_generator(
            turn=torch.tensor(turning[2]),
            grow=torch.tensor(0.0),
            shift=torch.zeros(2),
            tilt=torch.tensor([turning[1], -turning[0]]),
            focal=torch.tensor(focal),
        ).double()
        found = torch.matrix_exp(generator)
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)
        # Half of the time is half of the turn.
        half = Rotation.from_rotvec(turning / 2).as_matrix()
        expected = intrinsics @ half @ np.linalg.inv(intrinsics)
        np.testing.assert_allclose(torch.matrix_exp(generator / 2), expected, rtol=2e-5, atol=2e-5)


def test_rolls_and_zooms_about_a_pivot():
    pivot, angle, zoom = np.array([12.0, -7.0]), 0.3, 1.25
    generator = paths.motion_generator(
        turn=torch.tensor(angle),
        grow=torch.tensor(math.log(zoom)),
        shift=torch.zeros(2),
        tilt=torch.zeros(2),
        focal=torch.tensor(1.0),
    )
    generator = paths.conjugate(generator, torch.tensor(pivot, dtype=torch.float32))
    points = np.random.default_rng(13).normal(0, 30, (9, 2))
    turn = zoom * Rotation.from_euler("z", angle).as_matrix()[:2, :2]
    expected = (points - pivot) @ turn.T + pivot
    matrix = torch.matrix_exp(generator)
    found = paths.apply_homography(matrix, torch.tensor(points, dtype=torch.float32))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(matrix, scipy.linalg.expm(generator.numpy()), rtol=1e-5, atol=1e-5)


def test_homographies_are_those_of_opencv():
    rng = np.random.default_rng(14)
    matrices = np.eye(3) + rng.normal(0, 1, (4, 3, 3)) * [[0.2, 0.2, 9], [0.2, 0.2, 9], [1e-3] * 3]
    points = rng.uniform(-50, 50, (4, 30, 2))
    found = paths.apply_homography(torch.from_numpy(matrices), torch.from_numpy(points))
    for matrix, given, mapped in zip(matrices, points, found.numpy(), strict=True):
        expected = cv2.perspectiveTransform(given[None], matrix)[0]
        np.testing.assert_allclose(mapped, expected, rtol=1e-9)


def test_motion_is_scaled_to_its_target():
    random = paths.Random(15, torch.device("cpu"))
    target = torch.linspace(0, 40, 64)
    focal = 64 * random.uniform(64, low=0.8, high=4.0)
    axis = torch.tensor([-32.0, 0.0, 32.0])
    points = torch.cartesian_prod(axis, axis).expand(64, 9, 2)
    linear, curved = paths.scaled_to(*paths.camera_motion(random, 64, focal, 64), points, target)
    for scene in range(64):
        places = []
        for time in (-1, 0, 1):
            generator = (time * linear[scene] + time**2 * curved[scene]).double().numpy()
            matrix = scipy.linalg.expm(generator)
            places.append(cv2.perspectiveTransform(points[scene].double().numpy()[None], matrix)[0])
        legs = [np.linalg.norm(b - a, axis=1) for a, b in itertools.pairwise(places)]
        assert sum(legs).max() == pytest.approx(target[scene].item(), rel=0.01, abs=1e-4)


def test_defocus_spreads_light_over_a_disc(photos, cutouts, monkeypatch):
    """Against SciPy's convolution with a disc; what is not chosen stays as it was."""
    random = paths.Random(3, torch.device("cpu"))
    canvas = torch.rand(4, 4, 60, 60, generator=torch.Generator().manual_seed(1))
    before = canvas.clone()
    drawn = []
    uniform = random.uniform

    def spy(*shape, low=0.0, high=1.0):
        drawn.append(uniform(*shape, low=low, high=high))
        return drawn[-1]

    monkeypatch.setattr(random, "uniform", spy)
    monkeypatch.setattr(random, "chance", lambda share, *shape: torch.tensor(False))
    scenes._defocus(canvas, torch.tensor([True, False, True, False]), random)
    assert (canvas[[1, 3]] == before[[1, 3]]).all() and (canvas[:, 3] == before[:, 3]).all()
    rows, columns = np.mgrid[-12:13, -12:13]
    for row, radius in zip((0, 2), drawn[::2], strict=True):
        disc = np.clip(float(radius) + 0.5 - np.hypot(rows, columns), 0, 1)
        for channel in range(3):
            expected = ndimage.convolve(
                before[row, channel].double().numpy(), disc / disc.sum(), mode="mirror"
            )
            np.testing.assert_allclose(canvas[row, channel], expected, atol=1e-5)


def test_defocus_comes_without_motion(photos, cutouts):
    """Frames get smoother, and nothing else of the scenes changes its distribution."""
    sharp = SceneConfig(size=48, blur=(4.0, 8.0), kind="still", softness=0.0, saturation=0.0)
    soft = SceneConfig(**{**vars(sharp), "defocus": 1.0})
    one, other = (render(photos, cutouts, config, 8, seed=5) for config in (sharp, soft))
    detail = [scene.frames.diff(dim=-1).abs().mean() for scene in (one, other)]
    assert detail[1] < 0.8 * detail[0]
    assert not other.flow.any()
    assert not other.guidance.any()


def test_still_share(photos, cutouts):
    config = SceneConfig(size=16, blur=(4.0, 8.0), still=0.5)
    flow = render(photos, cutouts, config, 64, seed=2).flow
    assert 0.3 < (flow.abs().amax((1, 2, 3)) == 0).float().mean() < 0.7


# --- paths ---------------------------------------------------------------------------------------


def test_the_path_is_that_of_whatever_passes(photos, cutouts):
    config = SceneConfig(size=64, blur=(8.0, 12.0), kind="movers", saturation=0, softness=0)
    made = render(photos, cutouts, config, 6, seed=3)
    moving = made.moving[:, 0]
    assert torch.equal(made.path.movedim(1, -1)[moving], made.flow.movedim(1, -1)[moving])
    # Before a static camera a pixel changes only where something passes.
    changes = (made.frames - made.frames[:, 3:4]).abs().amax((1, 2)) > 0.1
    passed = made.path.norm(dim=1) > 0.5
    wider = torch.nn.functional.max_pool2d(passed.float()[:, None], 7, 1, 3)[:, 0] > 0
    assert changes.any()
    assert (changes & ~wider).sum() < 0.005 * changes.sum()
    assert (passed & ~moving).sum() > 0.05 * moving.sum()
    # What only passes has the vector of something that moves in that scene.
    for path, flow, passes in zip(made.path, made.flow, passed & ~moving, strict=True):
        vectors = flow[:, flow.norm(dim=0) > 0].T
        if passes.any() and len(vectors):
            assert torch.cdist(path[:, passes].T, vectors).amin(1).median() < 1.5
