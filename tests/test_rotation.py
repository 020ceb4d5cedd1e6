"""Turning cameras: against closed forms, SciPy and corners computed by hand."""

import itertools
import math

import cv2
import numpy as np
import pytest
import torch
from made_pictures import decoded
from scipy import ndimage
from scipy.spatial.transform import Rotation, Slerp

from b2m.blur import linear_to_srgb8, srgb8_to_linear
from b2m.data import rotation
from b2m.data.rotation import RotationConfig, render_panorama, render_rotation, render_view
from b2m.data.textures import Textures, pack_textures, procedural_textures
from b2m.errors import InputError
from b2m.motion.fields import warp


@pytest.fixture(scope="module")
def panorama():
    """Smooth noise that goes round."""
    noise = np.random.default_rng(0).normal(size=(180, 360, 3))
    image = ndimage.gaussian_filter(noise, (2, 2, 0), mode="wrap")
    return np.uint8(np.clip(128 + 40 * image / image.std(), 0, 255))


@pytest.fixture(scope="module")
def photos() -> Textures:
    return procedural_textures(count=3, side=160)


# --- rotations -----------------------------------------------------------------------------------


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, 0, 0), (0, 20, 0), (0, 0, 45), (170, -40, 25)])
def test_euler_angles_are_products_of_three_matrices(angles):
    yaw, pitch, roll = np.radians(angles)

    def about(axis, angle):
        """Rodrigues' formula."""
        matrix, _ = cv2.Rodrigues(angle * np.eye(3)[axis])
        return matrix

    ours = rotation.orientations(torch.tensor([[yaw, pitch, roll]])).as_matrix()[0]
    np.testing.assert_allclose(ours, about(1, yaw) @ about(0, pitch) @ about(2, roll), atol=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("last", [(35, -20, 10), (-175, 60, 120), (10.00001, 0, 0)])
def test_slerp_is_scipys(last, share):
    first = (10, 0, 0)
    ends = (
        rotation.orientations(torch.tensor([angles], dtype=torch.float64).deg2rad())
        for angles in (first, last)
    )
    ours = rotation.Turn(*ends, torch.eye(3).double()[None]).at(share)[0].numpy()
    pair = Rotation.from_euler("YXZ", [first, last], degrees=True)
    np.testing.assert_allclose(ours, Slerp([0, 1], pair)(share).as_matrix(), atol=1e-7)


# --- views of a panorama -------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [1, 17, 180, -90])
def test_pure_yaw_shifts_the_panorama(panorama, columns):
    yaw = columns * 360 / panorama.shape[1]
    turned = render_view(panorama, yaw, 10, 5, 50, (48, 64))
    shifted = render_view(np.roll(panorama, -columns, axis=1), 0, 10, 5, 50, (48, 64))
    # Rounding of coordinates may tip a code over.
    assert np.abs(turned.astype(int) - shifted).max() <= 1


def test_straight_ahead_is_the_middle_and_up_is_up():
    panorama = np.zeros((90, 180, 3), np.uint8)
    panorama[:45, :, 2] = 255  # blue sky
    panorama[45:, :, 1] = 255  # green ground
    panorama[:, 90:, 0] = 255  # red to the right of straight ahead
    view = render_view(panorama, 0, 0, 0, 90, 64)
    assert view[0, 0].tolist() == [0, 0, 255]
    assert view[0, -1].tolist() == [255, 0, 255]
    assert view[-1, 0].tolist() == [0, 255, 0]
    assert render_view(panorama, 0, 60, 0, 40, 16)[..., 2].min() == 255  # looks up
    assert render_view(panorama, 60, 0, 0, 40, 16)[..., 0].min() == 255  # looks right
    # Rolled clockwise by a quarter, its top is where the right was.
    rolled = render_view(panorama, 0, 0, 90, 40, 32)
    assert rolled[0, 0].tolist() == [255, 0, 255] and rolled[-1, 0].tolist() == [0, 0, 255]


def test_a_view_is_what_a_ray_hits_one_by_one(panorama):
    yaw, pitch, roll, fov, (height, width) = 40.0, 25.0, -10.0, 60.0, (9, 13)
    view = render_view(panorama, yaw, pitch, roll, fov, (height, width))
    focal = width / 2 / math.tan(math.radians(fov) / 2)
    turned = Rotation.from_euler("YXZ", [yaw, pitch, roll], degrees=True)
    light = srgb8_to_linear(panorama)
    for row in range(height):
        for column in range(width):
            subpixels = []
            fine = max(1, round(panorama.shape[1] / (2 * math.pi * focal)))
            for i in range(fine):
                for j in range(fine):
                    x = (column + (j + 0.5) / fine - width / 2) / focal
                    y = (row + (i + 0.5) / fine - height / 2) / focal
                    ray = turned.apply([x, y, 1])
                    u = (math.atan2(ray[0], ray[2]) / (2 * math.pi) + 0.5) * 360 - 0.5
                    latitude = math.asin(-ray[1] / np.linalg.norm(ray))
                    v = (0.5 - latitude / math.pi) * 180 - 0.5
                    subpixels.append(
                        [
                            ndimage.map_coordinates(
                                light[..., c], [[v], [u]], order=1, mode="grid-wrap"
                            )[0]
                            for c in range(3)
                        ]
                    )
            expected = linear_to_srgb8(np.float32(np.mean(subpixels, axis=0)))
            assert np.abs(view[row, column].astype(int) - expected).max() <= 1


def test_views_across_the_seam_have_none(panorama):
    behind = render_view(panorama, 180, 0, 0, 60, 64).astype(int)
    steps = np.abs(np.diff(behind, axis=1)).mean((0, 2))
    assert steps[31] < 2 * steps.mean()


@pytest.mark.parametrize(
    ("image", "fov", "size"),
    [
        (np.zeros((10, 30, 3), np.uint8), 60, 8),
        (np.zeros((10, 20), np.uint8), 60, 8),
        (np.zeros((10, 20, 3), np.float32), 60, 8),
        (np.zeros((10, 20, 3), np.uint8), 180, 8),
        (np.zeros((10, 20, 3), np.uint8), 60, 0),
    ],
)
def test_what_is_no_panorama_or_view_is_refused(image, fov, size):
    with pytest.raises(InputError):
        render_view(image, 0, 0, 0, fov, size)


def test_shrinking_a_panorama_keeps_its_light(panorama):
    config = RotationConfig(size=16)
    small = rotation.shrink_panorama(panorama, config)
    assert small.shape[0] < 180 and 180 % small.shape[0] == 0
    assert small.shape[1] == 2 * small.shape[0]
    mean = srgb8_to_linear(panorama).mean((0, 1))
    np.testing.assert_allclose(srgb8_to_linear(small).mean((0, 1)), mean, atol=2e-3)
    assert rotation.shrink_panorama(panorama, RotationConfig(size=128)) is panorama


# --- flow ----------------------------------------------------------------------------------------


def test_flow_of_pure_yaw_by_hand():
    """A ray at angle a is at f tan(a + yaw / 2) in the first frame, at f tan(a - yaw / 2) last."""
    half = math.radians(3)
    focal = 100.0
    first, last = (
        rotation.orientations(torch.tensor([[yaw, 0, 0]], dtype=torch.float64))
        for yaw in (-half, half)
    )
    camera = rotation.camera_matrix(torch.tensor([focal], dtype=torch.float64))
    turn = rotation.Turn(first, last, camera)
    for x in (-30.0, 0.0, 50.0):
        flow = turn.displacement(torch.tensor([[x, 0.0]], dtype=torch.float64))[0, 0]
        angle = math.atan(x / focal)
        expected = focal * (math.tan(angle - half) - math.tan(angle + half))
        assert flow.tolist() == pytest.approx([expected, 0.0], abs=1e-9)


def test_corners_follow_the_homography(photos):
    """OpenCV's perspectiveTransform with K R K^-1 composed by SciPy."""
    lean = torch.tensor([[0.3, -0.8, 0.5]])
    camera = rotation.camera_matrix(torch.tensor([120.0]), torch.tensor([[11.0, -7.0]]))
    turn = rotation._turned_by(lean, camera, torch.tensor([12.0]), 64)
    corners = np.array([[[-31.5, -31.5]], [[31.5, -31.5]], [[-31.5, 31.5]], [[31.5, 31.5]]])
    k = camera[0].double().numpy()
    ends = []
    for orientation in (turn.first, turn.last):
        r = orientation.as_matrix()[0]
        ends.append(cv2.perspectiveTransform(corners, k @ r.T @ np.linalg.inv(k))[:, 0])
    ours = turn.displacement(torch.from_numpy(corners[:, 0]).float())[0].numpy()
    np.testing.assert_allclose(ours, ends[1] - ends[0], atol=1e-3)
    assert np.linalg.norm(ours, axis=1).max() <= 12.01


@pytest.mark.parametrize("longest", [3.0, 24.0])
def test_the_longest_displacement_is_as_asked(photos, longest):
    config = RotationConfig(size=48, blur=(longest, longest))
    scenes = render_rotation(photos, config, 4, seed=1)
    lengths = scenes.flow.norm(dim=1).flatten(1).amax(1)
    torch.testing.assert_close(lengths, torch.full((4,), longest), rtol=0.02, atol=0)


@pytest.mark.parametrize("source", ["photos", "panorama"])
def test_flow_carries_the_middle_frame_to_the_ends(panorama, source):
    if source == "panorama":
        scenes = render_panorama(panorama, RotationConfig(size=64, angle=3.0), seed=4)
    else:
        smooth = np.concatenate([panorama[:, :180], np.full((180, 180, 1), 255, np.uint8)], 2)
        config = RotationConfig(size=64, blur=(8.0, 10.0), saturation=0, softness=0)
        scenes = render_rotation(pack_textures([smooth]), config, 2, seed=3)
    # The first frame at x - flow / 2, nearly, is the last one at x + flow / 2.
    frames, flow = scenes.frames, scenes.flow
    middle = frames[:, 3]
    inner = (..., slice(10, -10), slice(10, -10))
    for frame, share in ((frames[:, 0], -0.5), (frames[:, -1], 0.5)):
        warped = warp(frame, share * flow)
        off = (warped - middle)[inner].abs().mean()
        assert off < 0.1 * (frame - middle)[inner].abs().mean()


# --- photos --------------------------------------------------------------------------------------


def test_seven_near_instants_average_to_the_photo(photos):
    config = RotationConfig(size=32, blur=(1.0, 5.0), saturation=0)
    scenes = render_rotation(photos, config, 3, seed=5)
    mean = decoded(scenes.frames).mean(1)
    np.testing.assert_allclose(mean, decoded(scenes.photo), atol=1e-5)


def test_instants_grow_with_the_angle(panorama, monkeypatch):
    calls = []
    seen = rotation._seen
    monkeypatch.setattr(rotation, "_seen", lambda *args: calls.append(1) or seen(*args))
    counts = []
    for per_degree in (1.0, 2.0, 4.0):
        calls.clear()
        config = RotationConfig(size=16, frames_per_degree=per_degree)
        render_panorama(panorama, config, seed=0)
        counts.append(len(calls))
    assert all((count - 1) % 6 == 0 for count in counts)
    assert counts[2] - 1 == pytest.approx(4 * (counts[0] - 1), abs=18)
    assert counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize("size", [128, 256])
def test_no_pixel_of_a_panorama_moves_by_more_than_one_from_instant_to_instant(
    panorama, monkeypatch, size
):
    """Corners carried by SciPy's rotations; at 128 there are four instants a degree as ever."""
    seen = []

    def blank(panorama, orientation, camera, grid):
        seen.append((orientation[0].double().numpy(), camera[0].double().numpy()))
        return torch.zeros(1, 3, len(grid))

    monkeypatch.setattr(rotation, "_seen", blank)
    config = RotationConfig(size=size, field_of_view=(40.0, 40.0))
    for seed in range(3):
        seen.clear()
        render_panorama(panorama, config, seed)
        angle = Rotation.from_matrix(seen[0][0].T @ seen[-1][0]).magnitude() * 180 / math.pi
        if size == 128:
            assert len(seen) == 6 * math.ceil(math.ceil(4 * angle) / 6) + 1
        edge = (size - 1) / 2
        corners = np.array([[[x, y]] for x in (-edge, edge) for y in (-edge, edge)])
        for (one, camera), (other, _) in itertools.pairwise(seen):
            matrix = camera @ other.T @ one @ np.linalg.inv(camera)
            moved = cv2.perspectiveTransform(corners, matrix) - corners
            assert np.linalg.norm(moved, axis=-1).max() <= 1.001


@pytest.mark.parametrize(("size", "frames"), [(33, 7), (40, 5), (24, 2)])
def test_shapes_ranges_and_seeds(photos, size, frames):
    config = RotationConfig(size=size, frames=frames, blur=(2.0, 9.0))
    state = torch.get_rng_state()
    scenes = render_rotation(photos, config, 2, seed=1)
    assert torch.equal(state, torch.get_rng_state())
    assert scenes.photo.shape == (2, 3, size, size)
    assert scenes.frames.shape == (2, frames, 3, size, size)
    assert scenes.flow.shape == (2, 2, size, size)
    assert scenes.guidance.shape == (2, 2, size, size) and scenes.guidance.dtype == torch.float32
    assert scenes.moving.shape == (2, 1, size, size) and not scenes.moving.any()
    for image in (scenes.photo, scenes.frames):
        assert float(image.min()) >= 0 and float(image.max()) <= 1
    again = render_rotation(photos, config, 2, seed=1)
    other = render_rotation(photos, config, 2, seed=2)
    assert torch.equal(scenes.photo, again.photo) and not torch.equal(scenes.photo, other.photo)
