"""The quantisation rule, the palette PNG, directions, and signs that agree with neighbours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from b2m import guidance, motion
from b2m.errors import InputError

VECTORS = ((0, 0), (1, -1), (-1, -1), (-1, 1), (1, 1))


def random_guidance(height: int, width: int, seed: int = 0) -> np.ndarray:
    classes = np.random.default_rng(seed).integers(0, 5, (height, width))
    return np.array(VECTORS, np.int8)[classes]


def field(*vectors: tuple[float, float]) -> np.ndarray:
    return np.array([vectors], np.float32)


def naive_rule(u: float, v: float, threshold: float) -> tuple[int, int]:
    if not (u * u + v * v) ** 0.5 >= threshold:
        return (0, 0)
    if v == 0:
        return (1, -1) if u > 0 else (-1, 1)
    if u == 0:
        return (1, 1) if v > 0 else (-1, -1)
    return (1 if u > 0 else -1, 1 if v > 0 else -1)


def test_the_rule() -> None:
    vectors = field((-0.0, 3), (2.99, 0), (2.2, -2.2), (2, 2), (-40, 0.01), (float("nan"), 9))
    expected = [[1, 1], [0, 0], [1, -1], [0, 0], [-1, 1], [0, 0]]
    assert guidance.from_flow(vectors)[0].tolist() == expected
    with pytest.raises(InputError, match=r"\(4, 4, 3\)"):
        guidance.from_flow(np.zeros((4, 4, 3)))


@given(st.lists(st.tuples(*(st.integers(-6, 6).map(float),) * 2), min_size=1, max_size=30),
       st.sampled_from([0.5, 3.0, 4.5]))  # fmt: skip
def test_the_rule_agrees_with_a_loop(vectors: list[tuple[float, float]], threshold: float) -> None:
    found = guidance.from_flow(field(*vectors), threshold)
    assert found.dtype == np.int8
    expected = [naive_rule(u, v, threshold) for u, v in vectors]
    assert [tuple(vector) for vector in found[0]] == expected


def test_tensor_and_array_agree_on_any_size() -> None:
    flow = torch.randn(2, 2, 9, 7) * 5
    tensor = guidance.quantize(flow)
    assert tensor.dtype == torch.int8 and tensor.shape == flow.shape
    for sample in range(2):
        array = guidance.from_flow(flow[sample].permute(1, 2, 0).numpy())
        np.testing.assert_array_equal(tensor[sample].permute(1, 2, 0).numpy(), array)


@given(st.integers(0, 3), st.integers(0, 5))
def test_turning_and_reversing_flow_turns_and_reverses_guidance(turns: int, seed: int) -> None:
    flow = np.random.default_rng(seed).integers(-6, 7, (5, 4, 2)).astype(np.float32)
    here = guidance.from_flow(flow)
    np.testing.assert_array_equal(
        guidance.from_flow(motion.rotate90_flow(flow, turns)), motion.rotate90_flow(here, turns)
    )
    np.testing.assert_array_equal(guidance.from_flow(-flow), guidance.reverse(here))


def test_validate_accepts_integers() -> None:
    given = random_guidance(6, 5)
    for dtype in (np.int8, np.int64, np.int16):
        checked = guidance.validate(given.astype(dtype), 6, 5)
        assert checked.dtype == np.int8
        np.testing.assert_array_equal(checked, given)
    np.testing.assert_array_equal(guidance.validate(given.tolist(), 6, 5), given)


@pytest.mark.parametrize("vector", [(1, 0), (0, -1), (2, 1), (1, -2), (-128, -128), (127, 1)])
def test_validate_names_the_first_wrong_vector(vector: tuple[int, int]) -> None:
    wrong = random_guidance(6, 5)
    wrong[4, 3] = wrong[5, 0] = vector
    with pytest.raises(InputError, match=r"x=3, y=4") as caught:
        guidance.validate(wrong, 6, 5)
    assert f"({vector[0]}, {vector[1]})" in str(caught.value)


def test_validate_refuses_shape_and_type() -> None:
    with pytest.raises(InputError, match=r"\(5, 6, 2\).*\(6, 5, 2\)"):
        guidance.validate(random_guidance(5, 6), 6, 5)
    with pytest.raises(InputError, match="float32"):
        guidance.validate(np.zeros((6, 5, 2), np.float32), 6, 5)
    with pytest.raises(InputError, match="shape"):
        guidance.validate(None, 6, 5)


def test_palette() -> None:
    colors = guidance.to_color(np.array([VECTORS], np.int8))
    expected = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (255, 255, 0), (0, 0, 255)]
    assert [tuple(color) for color in colors[0].tolist()] == expected


def test_png_round_trip(tmp_path: Path) -> None:
    original = random_guidance(20, 31)
    path = tmp_path / "guidance.png"
    guidance.to_png(original, path)
    assert Image.open(path).mode == "P"
    sources = [path, str(path), path.read_bytes(), Image.open(path), guidance.to_color(original)]
    for source in sources:
        np.testing.assert_array_equal(guidance.from_png(source), original)
    with pytest.raises(InputError, match=r"\(5, 1\)|values|vector|guidance is"):
        guidance.to_png(np.full((4, 4, 2), 5, np.int8), path)
    with pytest.raises(InputError, match="shape"):
        guidance.to_png(np.zeros((4, 4), np.int8), path)


def test_png_snaps_within_64_and_transparent_is_still() -> None:
    near = np.zeros((16, 16, 4), np.uint8)
    near[..., 3] = 255
    near[0, 0, :3] = (255 - 36, 36, 36)
    near[0, 1, :3] = (64, 0, 0)
    near[0, 2] = (90, 90, 90, 0)
    near[0, 3, :3] = (230, 240, 20)
    found = guidance.from_png(near)
    assert [tuple(vector) for vector in found[0, :4]] == [(1, -1), (0, 0), (0, 0), (-1, 1)]
    for color in ((128, 128, 128), (255, 255, 255), (128, 0, 128)):
        wrong = near.copy()
        wrong[7:11, 9:13, :3] = color
        with pytest.raises(InputError, match=r"x=9, y=7") as caught:
            guidance.from_png(wrong)
        for word in (str(color), "black", "red", "green", "yellow", "blue"):
            assert word in str(caught.value)


def ellipses(scale: int, first: str, second: str | None) -> Image.Image:
    """One or two, which overlap, on black: 160x120 times a scale, with hard edges."""
    picture = Image.new("RGB", (160 * scale, 120 * scale))
    draw = ImageDraw.Draw(picture)
    draw.ellipse([scale * side for side in (20, 20, 90, 90)], first)
    if second:
        draw.ellipse([scale * side for side in (60, 40, 130, 100)], second)
    return picture


@pytest.mark.parametrize("method", [Image.Resampling.BOX, Image.Resampling.LANCZOS])
@pytest.mark.parametrize(
    "colors", [("red", None), ("yellow", None), ("yellow", "blue"), ("red", "lime")]
)
def test_png_snaps_smoothed_edges(colors: tuple[str, str | None], method: Image.Resampling) -> None:
    picture = ellipses(4, *colors)
    found = guidance.from_png(picture.resize((160, 120), method))
    # Whatever is of one colour all around is that colour, and each edge pixel has one beside it.
    whole = guidance.from_png(picture).reshape(120, 4, 160, 4, 2).transpose(0, 2, 1, 3, 4)
    whole = whole.reshape(120, 160, 16, 2)
    one = (whole == whole[:, :, :1]).all(axis=(2, 3))
    np.testing.assert_array_equal(found[one], whole[one, 0])
    meant = (found[:, :, None] == whole).all(axis=-1).sum(axis=-1)
    assert (meant[~one] >= 4).mean() > 0.98
    assert 0 < (~one).mean() < 0.1
    with pytest.MonkeyPatch.context() as patch:  # alike in all strips
        patch.setattr("b2m.media.color_spaces._STRIP_PIXELS", 160 * 7)
        again = guidance.from_png(picture.resize((160, 120), method))
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("color", [(128, 0, 0), (255, 0, 255), (128, 128, 128), (255, 128, 0)])
def test_png_refuses_areas_of_other_colours(color: tuple[int, int, int]) -> None:
    picture = np.array(ellipses(1, "red", "yellow"))
    picture[35:65, 40:80] = color  # across an edge between both
    with pytest.raises(InputError, match="use pure black"):
        guidance.from_png(picture)


@pytest.mark.parametrize("method", [Image.Resampling.BOX, Image.Resampling.BICUBIC])
def test_png_snaps_specks_of_which_nothing_pure_is_left(method: Image.Resampling) -> None:
    picture = Image.new("RGB", (160, 120))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((41, 31, 43, 32), "red")
    draw.rectangle((101, 81, 102, 82), "yellow")
    small = picture.resize((80, 60), method)
    assert not ((np.array(small) == (255, 0, 0)).all(-1)).any()
    found = guidance.from_png(small)
    assert (found[15:17, 20:22] == (1, -1)).all(axis=-1).any()
    assert {tuple(vector) for vector in found.reshape(-1, 2)} <= {(0, 0), (1, -1), (-1, 1)}
    # Four pixels of dark red are no speck.
    wrong = np.zeros((60, 80, 3), np.uint8)
    wrong[20:23, 30:33] = (119, 0, 0)
    guidance.from_png(wrong)
    wrong[20:24, 30:34] = (119, 0, 0)
    with pytest.raises(InputError, match=r"\(119, 0, 0\) at x=30, y=20"):
        guidance.from_png(wrong)


def test_png_refuses_what_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        guidance.from_png(tmp_path / "none.png")
    with pytest.raises(InputError, match="uint8"):
        guidance.from_png(np.zeros((16, 16, 3)))


@pytest.mark.parametrize("direction", guidance.DIRECTIONS)
def test_direction_keeps_lines_and_turns_each_thing_as_one(direction: str) -> None:
    flow = np.zeros((60, 80, 2), np.float32)
    things = np.s_[10:50, 5:35], np.s_[10:50, 45:75]
    flow[things[0]] = rotation(40, 30, 0.1) + np.float32((7, 2))
    flow[things[1]] = (-3, 8)
    before = flow.copy()
    chosen = guidance.from_direction(flow, direction)
    np.testing.assert_array_equal(flow, before)
    base = guidance.from_flow(flow)
    for thing in things:
        forwards = flow[thing].sum((0, 1)) @ guidance.DIRECTIONS[direction] > 0
        np.testing.assert_array_equal(chosen[thing], base[thing] if forwards else -base[thing])
    np.testing.assert_array_equal(guidance.from_direction(-flow, direction), chosen)
    assert not chosen[:, 36:44].any()


def test_direction_at_right_angles_and_unknown() -> None:
    for v in (-9, 9):
        down = guidance.from_direction(np.full((20, 30, 2), (0, v), np.float32), "right")
        assert (down == 1).all()
    with pytest.raises(InputError, match="down-left"):
        guidance.from_direction(field((1, 2)), "sideways")
    with pytest.raises(InputError, match="motion axes"):
        guidance.from_direction(down, "right")


def shuffled_signs(flow: np.ndarray, seed: int = 0) -> np.ndarray:
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), flow.shape[:2])
    return (flow * signs[..., None]).astype(np.float32)


def rotation(height: int, width: int, strength: float = 0.15) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.dstack((-(y - height / 2), x - width / 2)) * np.float32(strength)


@pytest.mark.parametrize("size", [(120, 160), (97, 301), (40, 30)])
@pytest.mark.parametrize("kind", ["rotation", "zoom"])
def test_signs_of_cameras_go_clockwise_and_outwards(size: tuple[int, int], kind: str) -> None:
    flow = rotation(*size)
    if kind == "zoom":
        flow = np.ascontiguousarray(flow[..., ::-1] * np.float32([1, -1]))
    found = guidance.coherent_signs(shuffled_signs(flow))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(np.abs(found), np.abs(flow))
    away = np.hypot(flow[..., 0], flow[..., 1]) > 1.5
    assert ((found == flow).all(-1) | ~away).mean() > 0.995


def test_two_movers_each_get_one_sign() -> None:
    flow = np.zeros((150, 200, 2), np.float32)
    flow[20:60, 20:80] = (-12, 3)
    flow[80:140, 120:180] = (-1, -15)
    found = guidance.coherent_signs(shuffled_signs(flow))
    # The first goes to the right, the second, nearly vertical, goes down.
    np.testing.assert_array_equal(found[20:60, 20:80], np.broadcast_to((12, -3), (40, 60, 2)))
    np.testing.assert_array_equal(found[80:140, 120:180], np.broadcast_to((1, 15), (60, 60, 2)))
    np.testing.assert_array_equal(np.abs(found), np.abs(flow))


def test_touching_movers_at_right_angles_keep_their_own_sign() -> None:
    flow = np.zeros((96, 96, 2), np.float32)
    flow[:, :48], flow[:, 48:] = (10, 0), (0, 10)
    found = guidance.coherent_signs(shuffled_signs(flow))
    assert (found == flow).all(-1).mean() > 0.97


def test_signs_do_not_depend_on_the_signs_given() -> None:
    rng = np.random.default_rng(3)
    flow = rotation(60, 90) + rng.normal(0, 0.3, (60, 90, 2)).astype(np.float32)
    first = guidance.coherent_signs(shuffled_signs(flow, 1))
    second = guidance.coherent_signs(shuffled_signs(flow, 2))
    assert (first == second).all(-1).mean() > 0.999


def test_signs_of_nothing_and_of_tiny_images() -> None:
    still = np.zeros((16, 16, 2), np.float32)
    np.testing.assert_array_equal(guidance.coherent_signs(still), still)
    one = np.full((16, 16, 2), (-5, 0), np.float32)
    np.testing.assert_array_equal(guidance.coherent_signs(one), -one)


# --- strokes, masks and reversal ------------------------------------------------------------------

SIZE = (90, 120)
LEFT, RIGHT = np.s_[10:60, 10:50], np.s_[30:80, 70:110]


def two_movers(
    left: tuple[float, float] = (9, -2), right: tuple[float, float] = (1, 8)
) -> np.ndarray:
    flow = np.zeros((*SIZE, 2), np.float32)
    flow[LEFT], flow[RIGHT] = left, right
    return flow


ANGLES = [index * np.pi / 8 for index in range(16)]


def stroke(angle: float, x: float = 30, y: float = 35, length: float = 12) -> list[list[float]]:
    right, down = np.round((np.cos(angle), np.sin(angle)), 9) * length / 2
    return [[x - right, y - down], [x + right, y + down]]


@pytest.mark.parametrize("angle", ANGLES)
def test_strokes_snap_to_their_quadrant(angle: float) -> None:
    expected = naive_rule(*(np.round((np.cos(angle), np.sin(angle)), 9) * 9), 3)
    photo = np.zeros((*SIZE, 3), np.uint8)
    painted = guidance.from_strokes([stroke(angle)], "still", photo, radius=3)
    (x0, y0), (x1, y1) = stroke(angle)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    along = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / 144, 0, 1)
    away = np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))
    assert (painted[away < 2.5] == expected).all()
    assert not painted[away > 4.5].any()
    # Where guidance alone is known, all of the thing gets it, and nothing else.
    base = guidance.from_flow(two_movers())
    edited = guidance.from_strokes([stroke(angle)], base)
    assert (edited[LEFT] == expected).all()
    np.testing.assert_array_equal(edited[:, 60:], base[:, 60:])


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("line", [(9, -2), (-9, 2), (0, 7), (-5, -5)])
def test_a_stroke_chooses_the_sign_of_a_known_line(angle: float, line: tuple[float, float]) -> None:
    flow = two_movers(line)
    towards = line[0] * np.cos(angle) + line[1] * np.sin(angle)
    if abs(towards) < 1e-6:
        return  # at right angles neither sign is right
    edited = guidance.from_strokes([stroke(angle)], shuffled_signs(flow))
    signed = np.sign(towards) * np.array(line)
    assert (edited[LEFT] == naive_rule(*signed, 3)).all()
    assert not edited[:5].any()


def test_strokes_along_a_turning_thing() -> None:
    """Each piece of a bent stroke pulls where it is."""
    flow = np.zeros((*SIZE, 2), np.float32)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    wheel = (x - 60) ** 2 + (y - 45) ** 2 < 35**2
    flow[wheel] = np.dstack((45.0 - y, x - 60.0))[wheel] * 0.5
    turns = np.linspace(0, 1.5 * np.pi, 12)
    points = np.stack((60 + 25 * np.cos(turns), 45 + 25 * np.sin(turns)), -1)
    clockwise = guidance.from_flow(flow)
    for drawn, expected in ((points, clockwise), (points[::-1], -clockwise)):
        found = guidance.from_strokes([drawn.tolist()], shuffled_signs(flow))
        assert (found[wheel] == expected[wheel]).all(-1).mean() > 0.97


def test_several_strokes_and_the_rest() -> None:
    flow = two_movers()
    found = guidance.from_strokes([stroke(np.pi), stroke(-np.pi / 2, 90, 55)], flow)
    np.testing.assert_array_equal(found, guidance.from_flow(-flow))
    only = guidance.from_strokes([stroke(np.pi)], flow)
    np.testing.assert_array_equal(only[RIGHT], guidance.from_flow(flow)[RIGHT])
    # The later prevails; one over two things takes both.
    back = guidance.from_strokes([stroke(np.pi), stroke(0)], flow)
    np.testing.assert_array_equal(back, guidance.from_flow(flow))
    both = guidance.from_strokes([[(105, 45), (15, 45)]], two_movers((9, 0), (9, 1)))
    np.testing.assert_array_equal(both, guidance.from_flow(-two_movers((9, 0), (9, 1))))
    # What stands is painted.
    painted = guidance.from_strokes([[(5, 85), (60, 85)]], guidance.from_flow(flow), radius=2)
    assert (painted[84:87, 8:58] == (1, -1)).all()
    np.testing.assert_array_equal(painted[:80], guidance.from_flow(flow)[:80])
    # What is there is not written to.
    np.testing.assert_array_equal(flow, two_movers())
    base = guidance.from_flow(flow)
    kept = base.copy()
    guidance.from_strokes([stroke(np.pi)], base)
    guidance.reverse(base, (20, 20))
    guidance.from_mask(np.ones(SIZE, bool), "up", base)
    np.testing.assert_array_equal(base, kept)


@pytest.mark.parametrize(
    ("strokes", "words"),
    [
        ([], "no stroke"),
        ([[(5, 5)]], "single point"),
        ([[(5, 5), (5, 5)]], "single point"),
        ([(5, 5), (9, 9)], r"\[\[\(x0, y0\)"),
        ("5,5,9,9", "str"),
        ([[(5, 5), (9, 200)]], r"stroke 1 is outside.*y=200.*0 to 89"),
        ([[(5, 5), (9, 9)], [(-1, 5), (9, 9)]], r"stroke 2 is outside.*x=-1"),
        ([[(5, 5), (120, 9)]], r"x=120.*0 to 119"),
        ([[(5, 5), (float("nan"), 9)]], "stroke 1.*nan"),
        ([[(5, 5, 5), (9, 9, 9)]], "stroke 1"),
        ([["a", "b"], [1, 2]], "stroke 1"),
        ([[(17, 22), (23,)]], r"stroke 1 is \(23,\): give x and y"),
        ([[(60, 3), (62, 3)]], "nothing that moves"),
    ],
)
def test_wrong_strokes(strokes: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        guidance.from_strokes(strokes, two_movers())


def test_wrong_bases_and_brushes() -> None:
    photo = np.zeros((*SIZE, 3), np.uint8)
    with pytest.raises(InputError, match="still"):
        guidance.from_strokes([stroke(0)], "moving", photo)
    with pytest.raises(InputError, match="without a photo"):
        guidance.from_strokes([stroke(0)], "still")
    with pytest.raises(InputError, match="alike"):
        guidance.from_strokes([stroke(0)], two_movers(), photo[:80])
    with pytest.raises(InputError, match=r"\(5, 5\)"):
        guidance.from_strokes([stroke(0)], np.full((*SIZE, 2), 5, np.int8))
    for radius in (0, -3, float("nan"), 1e9, "a", [3], np.ones(3)):
        with pytest.raises(InputError, match="brush"):
            guidance.from_strokes([stroke(0)], "still", photo, radius=radius)
    ring = [(20, 20), (30, 20), (30, 30), (20, 20)]
    with pytest.raises(InputError, match="ends where it began"):
        guidance.from_strokes([ring], guidance.from_flow(two_movers()))
    for wrong, words in (
        ("photo.jpg", "'photo.jpg': give its pixels"),
        (Image.fromarray(photo), r"the photo is <PIL.*: give its pixels"),
        (photo[..., 0], r"an array \(90, 120\) uint8: give its pixels"),
        (photo.astype(float), r"an array \(90, 120, 3\) float64: give its pixels"),
    ):
        for base in (two_movers(), "still"):
            with pytest.raises(InputError, match=words):
                guidance.from_strokes([stroke(0)], base, wrong)
    for base in (None, 7, np.zeros(SIZE), np.zeros((*SIZE, 3))):
        with pytest.raises(InputError):
            guidance.from_strokes([stroke(0)], base)


@pytest.mark.parametrize("direction", [*guidance.DIRECTIONS, (3, -1), (-0.2, -7.0)])
def test_masks(direction: object) -> None:
    vector = guidance.DIRECTIONS.get(direction, direction)  # type: ignore[call-overload]
    mask = np.zeros(SIZE, bool)
    mask[LEFT] = True
    expected = naive_rule(*(np.array(vector, float) * 100), 3)
    painted = guidance.from_mask(mask, direction)
    assert (painted[mask] == expected).all() and not painted[~mask].any()
    base = guidance.from_flow(two_movers())
    edited = guidance.from_mask(mask, direction, base)
    assert (edited[mask] == expected).all()
    np.testing.assert_array_equal(edited[~mask], base[~mask])
    # Along its own line, where that is known.
    flow = two_movers((7, 5))
    towards = np.dot(vector, (7, 5))
    found = guidance.from_mask(mask, direction, shuffled_signs(flow))
    if towards:
        assert (found[mask] == np.sign(towards)).all()


def test_wrong_masks() -> None:
    mask = np.ones(SIZE, bool)
    for wrong, words in (
        (mask.astype(float), "float64: mask > 0"),
        (mask[0], "bool"),
        ([[True], [True, False]], "bool"),
    ):
        with pytest.raises(InputError, match=words):
            guidance.from_mask(wrong, "up")
    with pytest.raises(InputError, match="down-left"):
        guidance.from_mask(mask, "sideways")
    for direction in ((0, 0), (float("nan"), 1), (1, 2, 3), (1, "a"), [(1,), 2], np.ones((99, 99))):
        with pytest.raises(InputError, match="direction"):
            guidance.from_mask(mask, direction)
    with pytest.raises(InputError, match=r"\(90, 120\)"):
        guidance.from_mask(mask, "up", two_movers()[:50])
    nothing = np.zeros(SIZE, bool)
    for call in (
        lambda: guidance.from_mask(nothing, "left"),
        lambda: guidance.from_mask(nothing, "left", two_movers()),
        lambda: guidance.reverse(two_movers(), nothing),
        lambda: guidance.hold(two_movers(), nothing),
    ):
        with pytest.raises(InputError, match="False everywhere"):
            call()
    nothing[:5] = True
    with pytest.raises(InputError, match="nothing moves"):
        guidance.from_mask(nothing, "up", two_movers())


@pytest.mark.parametrize("known", ["flow", "guidance"])
def test_reverse_a_region(known: str) -> None:
    flow = two_movers()
    base = flow if known == "flow" else guidance.from_flow(flow)
    before = guidance.from_flow(flow)
    mask = np.zeros(SIZE, bool)
    mask[LEFT] = True
    for region in (mask, (30, 30), [12.4, 58.9], np.array([9, 30])):
        found = guidance.reverse(base, region)
        np.testing.assert_array_equal(found[mask], -before[mask])
        np.testing.assert_array_equal(found[~mask], before[~mask])
        held = guidance.hold(base, region)
        assert not held[mask].any()
        np.testing.assert_array_equal(held[~mask], before[~mask])
    np.testing.assert_array_equal(guidance.reverse(base), -before)


@pytest.mark.parametrize(
    ("region", "words"),
    [
        ((60, 3), "nothing moves at x=60, y=3"),
        ((200, 3), "outside.*x=200"),
        ((3, -2), "outside.*y=-2"),
        ((3, float("nan")), "nan"),
        ((3, 4, 5), "give x and y"),
        ("here", "here"),
        (np.ones((3, 3), bool), r"\(3, 3\)"),
        (np.ones(SIZE), r"\(90, 120\) float64: mask > 0"),
        (np.ones(SIZE, np.uint8), r"^a mask is \(H, W\) of bool, not \(90, 120\) uint8: mask > 0"),
        ([(1, 2), (3,)], r"is \[\(1, 2\), \(3,\)\]: give x and y"),
        (list(range(1000)), r"\[0, 1, 2, .{60,80}…: give x and y"),
    ],
)
def test_what_cannot_be_reversed(region: object, words: str) -> None:
    for base in (two_movers(), guidance.from_flow(two_movers())):
        with pytest.raises(InputError, match=words):
            guidance.reverse(base, region)
        with pytest.raises(InputError, match=words):
            guidance.hold(base, region)


def test_resize() -> None:
    small = random_guidance(3, 4)
    large = guidance.resize(small, (30, 20))
    np.testing.assert_array_equal(large[5::10, 2::5], small)
    np.testing.assert_array_equal(guidance.resize(large, (3, 4)), small)
    for size in ((0, 4), (-1, 4)):
        with pytest.raises(InputError, match="scaled"):
            guidance.resize(small, size)
    with pytest.raises(InputError, match=r"b2m\.guidance\.resize"):
        guidance.validate(small, 30, 20)


@pytest.mark.parametrize(("bits", "begin"), [(1, -90.0), (2, 0.0), (3, 0.0), (4, 0.0)])
def test_finer_guidance_halves_the_circle_again_and_again(bits, begin):
    from b2m.guidance.quantize import quantize_directions

    degrees = np.random.default_rng(bits).uniform(0, 360, 4000)
    radians = torch.from_numpy(np.deg2rad(degrees))
    flow = 9 * torch.stack([radians.cos(), radians.sin()])[None, :, None].float()
    codes = quantize_directions(flow, bits)[0, :, 0].T.numpy()
    assert codes.shape == (4000, bits)
    assert set(np.unique(codes)) == {-1, 1}
    sectors = ((degrees - begin) % 360 // (360 / 2**bits)).astype(int)
    pairs = {(sector, tuple(code)) for sector, code in zip(sectors, codes.tolist(), strict=True)}
    assert len(pairs) == 2**bits  # one code for each sector, one sector for each code
    assert not quantize_directions(flow / 9, bits).any()
    if bits == 2:
        assert torch.equal(quantize_directions(flow, 2), guidance.quantize(flow).float())


def test_a_stroke_leaves_what_it_only_grazes():
    flow = np.zeros((200, 300, 2), np.float32)
    flow[20:180, 220:260] = (10, 0)
    grazing = [(20, 100), (225, 100)]  # from right to left of nothing
    with pytest.raises(InputError, match="nothing that moves"):
        guidance.from_strokes([grazing], flow)
    # An arrow that begins on a thing means it, however far it flies.
    out = guidance.from_strokes([[(240, 100), (20, 100)]], flow)
    assert (out[20:180, 220:260] == (-1, 1)).all()
    assert not out[:, :200].any()


def test_a_direction_reaches_regions_of_every_size() -> None:
    """Also a hair a pixel wide that is longer than signs are looked at."""
    flow = np.zeros((700, 1400, 2), np.float32)
    for box, line in (
        (np.s_[33:34, 5:1395], (20, 3)),
        (np.s_[100:680, 20:600], (-9, 4)),
        (np.s_[120:126, 700:707], (7, -7)),
    ):
        flow[box] = line
    moving = flow.any(axis=-1)
    said = guidance.from_direction(flow, "left")
    assert (said[moving][:, 0] == -1).all()
    assert not said[~moving].any()
