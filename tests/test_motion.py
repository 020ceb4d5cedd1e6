"""Warping, flow estimation, grids, files and colours, each against another implementation."""

from __future__ import annotations

import cmath
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from b2m import motion
from b2m.errors import InputError, OutputError
from b2m.motion.fields import double_angle, half_angle

RANDOM = np.random.default_rng(0)


def textured(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)
    smooth = ndimage.gaussian_filter(noise, (2, 2, 0))
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return (smooth * 255).astype(np.uint8)


def rotation(height: int, width: int, strength: float = 0.1) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.dstack((-(y - height / 2), x - width / 2)) * np.float32(strength)


@pytest.mark.parametrize("shape", [(17, 23), (1, 5), (6, 1)])
def test_warp_agrees_with_scipy(shape: tuple[int, int]) -> None:
    image = torch.rand(2, 3, *shape, dtype=torch.float64)
    displacement = torch.randn(2, 2, *shape, dtype=torch.float64) * 4
    warped = motion.warp(image, displacement)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    for sample in range(2):
        u, v = displacement[sample].numpy()
        for channel in range(3):
            expected = ndimage.map_coordinates(
                image[sample, channel].numpy(), (rows + v, columns + u), order=1, mode="nearest"
            )
            np.testing.assert_allclose(warped[sample, channel], expected, atol=1e-9)


def test_warp_is_differentiable_in_both() -> None:
    image = torch.rand(1, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    displacement = torch.rand(1, 2, 5, 6, dtype=torch.float64) * 0.8 + 0.1
    displacement.requires_grad_()
    assert torch.autograd.gradcheck(motion.warp, (image, displacement), atol=1e-6)


def test_warp_keeps_type_and_half_precision_stays_in_place() -> None:
    image = torch.rand(1, 3, 8, 2000)
    shift = torch.ones(1, 2, 8, 2000)
    warped = motion.warp(image.bfloat16(), shift.bfloat16())
    assert warped.dtype == torch.bfloat16
    exact = motion.warp(image.bfloat16().float(), shift)
    torch.testing.assert_close(warped.float(), exact, atol=5e-3, rtol=0)


def test_estimate_flow_finds_a_shift() -> None:
    first = textured(120, 160)
    last = np.roll(first, (3, 7), (0, 1))
    flow = motion.estimate_flow(first, last)
    assert flow.shape == (120, 160, 2) and flow.dtype == np.float32
    np.testing.assert_allclose(np.median(flow, axis=(0, 1)), (7, 3), atol=0.2)


@pytest.mark.parametrize("size", [(16, 16), (16, 200), (33, 17), (75, 20)])
def test_estimate_flow_on_small_images(size: tuple[int, int]) -> None:
    first = textured(*size)
    flow = motion.estimate_flow(first, np.roll(first, 2, 1))
    assert flow.shape == (*size, 2)
    assert np.isfinite(flow).all()
    assert abs(np.median(flow[..., 0]) - 2) < 1


def test_estimate_flow_refuses_two_sizes_and_types() -> None:
    image = textured(20, 20)
    with pytest.raises(InputError, match="one size"):
        motion.estimate_flow(image, image[:18])
    with pytest.raises(InputError, match="float64"):
        motion.estimate_flow(image, image.astype(float))


def test_grids_satisfy_their_equation_and_invert_each_other() -> None:
    middle = rotation(60, 80)
    first = motion.to_first_grid(middle)
    rows, columns = np.mgrid[:60, :80]
    for channel in range(2):
        there = ndimage.map_coordinates(
            middle[..., channel],
            (rows + first[..., 1] / 2, columns + first[..., 0] / 2),
            order=1,
            mode="nearest",
        )
        np.testing.assert_allclose(first[..., channel], there, atol=5e-3)
    inner = (slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(motion.to_middle_grid(first)[inner], middle[inner], atol=0.02)


def test_first_grid_of_a_rotation_is_the_turned_field() -> None:
    # v(x) = M x at the middle, so f0 = M (I - M/2)^-1 x on the first frame.
    matrix = np.array([[0, -0.1], [0.1, 0]])
    first = motion.to_first_grid(rotation(61, 81))
    at_first = matrix @ np.linalg.inv(np.eye(2) - matrix / 2)
    y, x = 40, 55
    np.testing.assert_allclose(first[y, x], at_first @ (x - 40.5, y - 30.5), atol=2e-3)


def test_flip_and_turn_move_vectors_with_the_picture() -> None:
    first = textured(90, 90)
    last = np.roll(first, (2, 6), (0, 1))
    flow = motion.estimate_flow(first, last)

    def median(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        estimated = motion.estimate_flow(np.ascontiguousarray(a), np.ascontiguousarray(b))
        return np.median(estimated, axis=(0, 1))

    flipped = motion.flip_flow(flow)
    np.testing.assert_allclose(
        np.median(flipped, axis=(0, 1)), median(first[:, ::-1], last[:, ::-1]), atol=0.2
    )
    upside = motion.flip_flow(flow, horizontal=False)
    np.testing.assert_allclose(
        np.median(upside, axis=(0, 1)), median(first[::-1], last[::-1]), atol=0.2
    )
    for turns in range(-1, 5):
        turned = motion.rotate90_flow(flow, turns)
        expected = median(np.rot90(first, turns), np.rot90(last, turns))
        np.testing.assert_allclose(np.median(turned, axis=(0, 1)), expected, atol=0.2)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 4))
def test_turning_and_flipping_form_a_group(height: int, width: int, turns: int) -> None:
    flow = np.random.default_rng(height * 10 + width).integers(-1, 2, (height, width, 2), np.int8)
    original = flow.copy()
    back = motion.rotate90_flow(motion.rotate90_flow(flow, turns), -turns)
    np.testing.assert_array_equal(back, flow)
    np.testing.assert_array_equal(motion.flip_flow(motion.flip_flow(flow)), flow)
    # Two mirrors make a half turn.
    mirrored = motion.flip_flow(motion.flip_flow(flow), horizontal=False)
    np.testing.assert_array_equal(mirrored, motion.rotate90_flow(flow, 2))
    np.testing.assert_array_equal(flow, original)


def test_resize_scales_vectors() -> None:
    flow = np.full((20, 30, 2), (6, -4), np.float32)
    resized = motion.resize_flow(flow, (10, 90))
    assert resized.shape == (10, 90, 2) and resized.dtype == np.float32
    np.testing.assert_allclose(resized, np.broadcast_to((18, -2), (10, 90, 2)), atol=1e-5)
    same = motion.resize_flow(flow, (20, 30))
    np.testing.assert_array_equal(same, flow)
    assert not np.shares_memory(same, flow)


def test_flo_agrees_with_opencv(tmp_path: Path) -> None:
    flow = RANDOM.normal(0, 30, (13, 21, 2)).astype(np.float32)
    ours, theirs = tmp_path / "ours.flo", tmp_path / "theirs.flo"
    motion.write_flow(ours, flow)
    cv2.writeOpticalFlow(str(theirs), flow)
    assert ours.read_bytes() == theirs.read_bytes()
    np.testing.assert_array_equal(cv2.readOpticalFlow(str(ours)), flow)


def test_pfm_agrees_with_opencv(tmp_path: Path) -> None:
    flow = RANDOM.normal(0, 30, (13, 21, 2)).astype(np.float32)
    path = tmp_path / "flow.pfm"
    motion.write_flow(path, flow)
    decoded = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded[..., 2:0:-1], flow)
    np.testing.assert_array_equal(decoded[..., 0], 0)


def test_kitti_layout(tmp_path: Path) -> None:
    path = tmp_path / "flow.png"
    flow = np.full((4, 5, 2), (1.5, -2.25), np.float32)
    flow[0, 0] = np.nan
    motion.write_flow(path, flow)
    blue, green, red = cv2.split(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    assert red[1, 1] == 32768 + 96 and green[1, 1] == 32768 - 144
    assert blue[0, 0] == 0 and blue[1, 1] == 1
    np.testing.assert_array_equal(motion.read_flow(path), flow)
    with pytest.raises(InputError, match="512"):
        motion.write_flow(path, np.full((4, 5, 2), 600, np.float32))


def test_unknown_flow_is_nan_both_ways(tmp_path: Path) -> None:
    flow = np.ones((3, 4, 2), np.float32)
    flow[1, 2] = np.nan
    motion.write_flow(tmp_path / "a.flo", flow)
    np.testing.assert_array_equal(motion.read_flow(tmp_path / "a.flo"), flow)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.flo", b"", "empty"),
        ("a.flo", b"JUNKJUNKJUNKJUNK", "PIEH"),
        ("a.flo", b"PIEH" + struct.pack("<ii", 4, 4) + b"\0" * 100, "truncated"),
        ("a.flo", b"PIEH" + struct.pack("<ii", 4, 4) + b"\0" * 200, "too long"),
        ("a.flo", b"PIEH" + struct.pack("<ii", -4, 4), "-4x4"),
        ("a.flo", b"PIEH" + struct.pack("<ii", 2**31 - 1, 2**31 - 1), "damaged"),
        ("a.pfm", b"PF\n4 4\n-1\n", "truncated"),
        ("a.pfm", b"Pf\n4 4\n-1\n", "three channels"),
        ("a.pfm", b"PF", "header"),
        ("a.png", b"not a png", "KITTI"),
        ("a.txt", b"", r"\.flo, \.pfm or \.png"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        motion.read_flow(path)
    assert name in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        motion.read_flow(tmp_path / "none.flo")
    with pytest.raises(OutputError, match="does not exist"):
        motion.write_flow(tmp_path / "none" / "a.flo", np.zeros((2, 2, 2), np.float32))
    with pytest.raises(InputError, match=r"\(H, W, 2\)"):
        motion.write_flow(tmp_path / "a.flo", np.zeros((2, 2, 3), np.float32))


def naive_color(u: float, v: float) -> tuple[int, ...]:
    """One pixel, written out from the description in Baker et al., with a closed wheel."""
    wheel = []
    for i in range(15):
        wheel.append((255, 255 * i // 15, 0))
    for i in range(6):
        wheel.append((255 - 255 * i // 6, 255, 0))
    for i in range(4):
        wheel.append((0, 255, 255 * i // 4))
    for i in range(11):
        wheel.append((0, 255 - 255 * i // 11, 255))
    for i in range(13):
        wheel.append((255 * i // 13, 0, 255))
    for i in range(6):
        wheel.append((255, 0, 255 - 255 * i // 6))
    place = (np.arctan2(-v, -u) / np.pi + 1) / 2 * 55
    below = int(place) % 55
    share = place % 1
    radius = np.hypot(u, v)
    color = []
    for a, b in zip(wheel[below], wheel[(below + 1) % 55], strict=True):
        value = ((1 - share) * a + share * b) / 255
        value = 1 - radius * (1 - value) if radius <= 1 else value * 0.75
        color.append(round(255 * value))
    return tuple(color)


def test_colors_agree_with_a_loop() -> None:
    flow = RANDOM.normal(0, 0.6, (12, 15, 2)).astype(np.float32)
    colored = motion.flow_to_color(flow, 1.0).astype(int)
    expected = [[naive_color(*vector) for vector in row] for row in flow]
    assert np.abs(colored - expected).max() <= 1


def test_color_conventions() -> None:
    flow = np.zeros((2, 3, 2), np.float32)
    assert (motion.flow_to_color(flow) == 255).all(), "still is white"
    flow[0, 0], flow[0, 1], flow[0, 2] = (5, 0), (np.nan, 1), (5, -0.0)
    colored = motion.flow_to_color(flow)
    np.testing.assert_array_equal(colored[0, 0], (255, 0, 0))
    np.testing.assert_array_equal(colored[0, 2], (255, 0, 0), "nothing down, whichever its sign")
    np.testing.assert_array_equal(colored[0, 1], 0)
    assert motion.flow_to_color(np.empty((0, 3, 2), np.float32)).shape == (0, 3, 3)


def test_there_is_no_edge_between_directions() -> None:
    angles = np.linspace(0, 2 * np.pi, 720, dtype=np.float32)
    around = np.stack((np.cos(angles), np.sin(angles)), axis=-1)[None]
    colored = motion.flow_to_color(around, 1.0)[0].astype(int)
    assert np.abs(np.diff(colored, axis=0)).max() <= 32  # of the steepest ramp, 4 colours
    np.testing.assert_array_equal(colored[0], colored[-1])


def test_what_counts_as_still_looks_still() -> None:
    flow = np.full((2, 3, 2), (0.001, 0), np.float32)
    assert motion.flow_to_color(flow).min() >= 254
    flow[0, 0] = (1.5, 0)
    np.testing.assert_array_equal(motion.flow_to_color(flow)[0, 0], (255, 128, 128))
    flow[0, 0] = (30, 0)
    np.testing.assert_array_equal(motion.flow_to_color(flow)[0, 0], (255, 0, 0))


def test_color_wheel_is_the_legend() -> None:
    wheel = motion.color_wheel(101)
    assert wheel.shape == (101, 101, 4)
    assert wheel[0, 0, 3] == 0 and wheel[50, 50, 3] == 255
    np.testing.assert_array_equal(wheel[50, 50, :3], 255)
    right = motion.flow_to_color(np.array([[[80 / 101, 0]]], np.float32), 1.0)[0, 0]
    np.testing.assert_array_equal(wheel[50, 90, :3], right)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40))
def test_strips_do_not_show(height: int, width: int) -> None:
    flow = np.random.default_rng(height).normal(0, 3, (height, width, 2)).astype(np.float32)
    whole = motion.flow_to_color(flow)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("b2m.media.color_spaces._STRIP_PIXELS", 37)
        np.testing.assert_array_equal(motion.flow_to_color(flow), whole)


def test_a_line_is_the_square_of_its_vector() -> None:
    # As complex numbers, m (cos 2a, sin 2a) = w^2 / |w|.
    vectors = np.random.default_rng(0).normal(0, 8, (2, 2, 5, 6))
    lines = double_angle(torch.from_numpy(vectors)).numpy()
    for b, y, x in np.ndindex(2, 5, 6):
        w = complex(*vectors[b, :, y, x])
        assert complex(*lines[b, :, y, x]) == pytest.approx(w * w / abs(w), rel=1e-9)


def test_a_vector_is_the_root_of_its_line() -> None:
    lines = np.random.default_rng(1).normal(0, 8, (2, 2, 5, 6))
    vectors = half_angle(torch.from_numpy(lines)).numpy()
    for b, y, x in np.ndindex(2, 5, 6):
        q = complex(*lines[b, :, y, x])
        root = cmath.rect(abs(q), cmath.phase(q) / 2)
        found = complex(*vectors[b, :, y, x])
        assert min(abs(found - root), abs(found + root)) < 1e-5
        # Flat motion points to the right, steep motion down.
        assert found.real > 0 if abs(found.real) > abs(found.imag) else found.imag > 0


def test_lines_are_continuous_where_vectors_have_to_jump() -> None:
    vectors = torch.tensor([[-3.0, 1e-4], [-3.0, -1e-4], [3.0, 1e-4]]).T[None, :, None]
    lines = double_angle(vectors)
    assert (lines - lines[..., :1]).abs().max() < 1e-3


@pytest.mark.parametrize("function", [half_angle, double_angle])
def test_no_motion_has_finite_gradients(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    zero = torch.zeros(1, 2, 2, 2, requires_grad=True)
    function(zero).sum().backward()
    if function is half_angle:
        assert zero.grad.isfinite().all()
    assert function(zero).abs().max() < 2e-3
