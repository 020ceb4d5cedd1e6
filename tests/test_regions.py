"""What moves as one thing: known things, painted into a field of motion, must be found again."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from b2m.guidance.quantize import from_flow
from b2m.motion.fields import STILL_THRESHOLD
from b2m.motion.regions import enlarge, fill_nearest, find_regions, guidance_regions, label_near

HEIGHT, WIDTH = 240, 320


def find(flow, photo=None):
    return find_regions(flow, photo, threshold=STILL_THRESHOLD)


def still():
    return np.zeros((HEIGHT, WIDTH, 2), np.float32)


def unsigned(flow, seed=0):
    """The same lines, each with a sign of its own."""
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), flow.shape[:2])
    return (flow * signs[..., None]).astype(np.float32)


def texture(seed=0, sigma=3.0):
    noise = np.random.default_rng(seed).normal(size=(HEIGHT, WIDTH, 3))
    smooth = ndimage.gaussian_filter(noise, (sigma, sigma, 0))
    return np.clip(128 + 45 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def overlap(one, other):
    """Intersection over union."""
    return (one & other).sum() / (one | other).sum()


def disc(x, y, radius):
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


def box(left, top, right, bottom):
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (columns >= left) & (columns < right) & (rows >= top) & (rows < bottom)


def assert_things(labels, *things):
    """Exactly these things are there, each nearly all one region."""
    found = set()
    for thing in things:
        numbers = np.bincount(labels[thing], minlength=2)
        number = int(numbers[1:].argmax()) + 1
        assert overlap(labels == number, thing) > 0.88
        found.add(number)
    assert len(found) == len(things)
    crumbs = (labels > 0) & ~np.isin(labels, list(found))
    assert crumbs.mean() < 0.005


def test_things_apart():
    flow = still()
    ball, bar = disc(80, 70, 45), box(180, 130, 300, 190)
    flow[ball], flow[bar] = (9, -4), (1, 7)
    labels = find(unsigned(flow), texture())
    assert labels.dtype == np.uint8
    assert_things(labels, ball, bar)
    assert not labels[~(ball | bar)].any()


def test_most_motion_first():
    flow = still()
    large_slow, small_fast = box(10, 10, 150, 110), box(200, 150, 260, 200)
    flow[large_slow], flow[small_fast] = (4, 0), (0, 30)
    motion = [large_slow.sum() * 4, small_fast.sum() * 30]
    labels = find(flow)
    first = small_fast if motion[1] > motion[0] else large_slow
    assert (labels[first] == 1).all()
    assert labels.max() == 2


@pytest.mark.parametrize("photo", [None, texture()])
def test_touching_things_on_other_lines(photo):
    flow = still()
    one, other = box(60, 60, 160, 180), box(160, 60, 260, 180)
    flow[one], flow[other] = (10, 0), (0, 10)
    assert_things(find(unsigned(flow), photo), one, other)


def test_a_still_gap_parts():
    flow = still()
    one, other = box(40, 60, 150, 180), box(158, 60, 280, 180)
    flow[one | other] = (0, 11)
    assert_things(find(unsigned(flow), texture()), one, other)


def test_a_hand_before_a_turning_camera():
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    flow = np.dstack((-(rows + 300), columns + 20)).astype(np.float32) * 0.03
    hand = disc(200, 120, 40)
    flow[hand] = (2, -12)
    labels = find(unsigned(flow), texture())
    assert_things(labels, hand, ~hand)


def test_an_edge_of_the_photo_parts_what_the_motion_leaves_open():
    """Of two steps of the motion that are alike, the one on an edge parts."""
    flow = still()
    flow[...] = (10, 0)
    flow[:, 160:] = (6.6, 0)
    plain = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    edged = plain.copy()
    edged[:, 160:] = (30, 60, 200)
    assert find(flow, plain).max() == 1
    assert_things(find(flow, edged), box(0, 0, 160, HEIGHT), box(160, 0, WIDTH, HEIGHT))


@pytest.mark.parametrize("kind", ["shake", "roll", "zoom"])
def test_camera_motion_is_one_region(kind):
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    right, down = columns - WIDTH / 2, rows - HEIGHT / 2
    flow = {
        "shake": np.dstack((np.full_like(right, 9), np.full_like(right, -5))),
        "roll": np.dstack((-down, right)) * 0.1,
        "zoom": np.dstack((right, down)) * 0.1,
    }[kind]
    noise = np.random.default_rng(0).normal(0, 0.8, flow.shape)
    noise = ndimage.gaussian_filter(noise, (1, 1, 0)) * 2.5
    flow = (flow + noise).astype(np.float32)
    # A photo full of edges cuts nothing in two that moves as one.
    labels = find(unsigned(flow), texture(sigma=6.0))
    motion = np.hypot(flow[..., 0], flow[..., 1])
    assert motion[labels == 1].sum() > 0.97 * motion[labels > 0].sum()


def test_what_is_still_belongs_to_nothing():
    assert not find(still(), texture()).any()
    slow = np.full((HEIGHT, WIDTH, 2), (1.5, 1.5), np.float32)
    assert not find(slow).any()
    flow = still()
    flow[disc(150, 100, 50)] = (8, 8)
    flow[disc(150, 100, 5)] = 0.5
    labels = find(flow)
    np.testing.assert_array_equal(labels > 0, np.hypot(flow[..., 0], flow[..., 1]) >= 3)


def test_signs_and_nothing_known():
    flow = still()
    flow[disc(80, 70, 45)], flow[box(180, 130, 300, 190)] = (9, -4), (1, 7)
    first, second = (find(unsigned(flow, seed), texture()) for seed in (1, 2))
    np.testing.assert_array_equal(first, second)
    unknown = flow.copy()
    unknown[:20] = np.nan
    labels = find(unknown)
    assert not labels[:20].any()
    assert labels.max() == 2


@pytest.mark.parametrize("size", [(16, 16), (1, 40), (17, 150), (300, 60), (700, 1100)])
def test_any_size(size):
    flow = np.full((*size, 2), (6, -6), np.float32)
    assert (find(flow) == 1).all()
    photo = np.zeros((*size, 3), np.uint8)
    assert (find(flow, photo) == 1).all()


# --- labels --------------------------------------------------------------------------------------


def test_enlarging_keeps_still_pixels_out():
    small = np.zeros((4, 6), np.uint8)
    small[:, :2], small[:, 4:] = 1, 2
    flow = np.full((40, 60, 2), (5, 0), np.float32)
    flow[:10] = 0
    labels = enlarge(small, flow, 3.0)
    assert not labels[:10].any()
    assert (labels[10:, :27] == 1).all() and (labels[10:, 33:] == 2).all()
    np.testing.assert_array_equal(small[:, 2:4], 0)
    np.testing.assert_array_equal(fill_nearest(np.zeros((3, 3), np.uint8)), 0)


def test_a_point_means_the_nearest_thing():
    labels = np.zeros((100, 200), np.uint8)
    labels[40:60, 50:70] = 3
    points = np.array([[60.0, 50.0], [10.0, 10.0]])
    found, rows, columns = label_near(labels, points)
    assert found.tolist() == [3, 0]
    assert (rows[0], columns[0]) == (50, 60)
    # Near, by a hundredth of the longest side or so.
    found, rows, columns = label_near(labels, np.array([[72.0, 50.0]]))
    assert found.tolist() == [3] and (rows[0], columns[0]) == (50, 69)
    assert label_near(labels, np.array([[90.0, 50.0]]))[0].tolist() == [0]


def test_regions_of_guidance_alone():
    flow = still()
    wheel = disc(80, 100, 60)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    flow[wheel] = np.dstack((-(rows - 100.0), columns - 80.0))[wheel]
    flow[disc(80, 100, 8)] = 5  # no still hub
    flow[box(200, 40, 240, 200)], flow[box(240, 40, 290, 200)] = (5, 5), (-5, -5)
    labels = guidance_regions(from_flow(flow))
    assert_things(labels, wheel, box(200, 40, 240, 200), box(240, 40, 290, 200))
    assert not guidance_regions(np.zeros((20, 30, 2), np.int8)).any()


def test_one_thing_of_many_colors_whose_motion_is_seen_roughly():
    """A figure in striped clothes: each part's motion errs a little, and all goes one way."""
    random = np.random.default_rng(4)
    flow, photo = still(), np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    figure = box(100, 40, 160, 200)
    error = ndimage.gaussian_filter(random.normal(size=(HEIGHT, WIDTH, 2)), (10, 10, 0))
    flow[figure] = ((15.0, -6.0) + 3.0 * error / error.std())[figure]
    for number, top in enumerate(range(40, 200, 40)):
        photo[top : top + 40, 100:160] = ((230, 40, 30), (20, 20, 20))[number % 2]
    assert_things(find(unsigned(flow), photo), figure)


def test_a_rim_where_motion_fades_belongs_to_its_thing():
    flow = still()
    thing, rim = box(80, 60, 220, 160), box(80, 160, 220, 176)
    flow[thing], flow[rim] = (20, 4), (6, -1)
    labels = find(unsigned(flow))
    assert_things(labels, thing | rim)
    # Not so if it moves along another line.
    flow[rim] = (0, 6)
    assert_things(find(unsigned(flow)), thing, rim)
