"""Which clips are shown of all that one blur allows: counted by hand for known things."""

from __future__ import annotations

import numpy as np
import pytest

from b2m.inference import hypotheses as ambiguity
from b2m.inference.hypotheses import enumerate_hypotheses

SIZE = (60, 80)


def things(*boxes):
    """A flow and its regions: (left, top, right, bottom, u, v) each."""
    flow, regions = np.zeros((*SIZE, 2), np.float32), np.zeros(SIZE, np.uint8)
    for number, (left, top, right, bottom, *vector) in enumerate(boxes, 1):
        flow[top:bottom, left:right] = vector
        regions[top:bottom, left:right] = number
    return flow, regions


def flows(flow, found):
    return [flow * hypothesis.signs()[..., None] for hypothesis in found]


def difference(one, other, flow):
    """Mean length of the difference over what moves, as a share of the mean motion there."""
    moving = np.hypot(flow[..., 0], flow[..., 1]) >= 3
    apart = np.hypot(*np.moveaxis(one - other, -1, 0))
    return apart[moving].mean() / np.hypot(flow[..., 0], flow[..., 1])[moving].mean()


APART = ((5, 5, 35, 55, 10.0, 0.0), (50, 5, 70, 35, 0.0, 10.0))


def test_two_things_have_four_stories():
    flow, regions = things(*APART)
    found = enumerate_hypotheses(flow, regions, 9)
    told = {
        tuple(np.sign((candidate * flow).sum(-1)[at]) for at in ((10, 10), (10, 60)))
        for candidate in flows(flow, found)
    }
    assert told == {(1, 1), (-1, -1), (-1, 1), (1, -1)}
    first, second, *others = flows(flow, found)
    assert (first == flow).all() and (second == -flow).all()
    penalties = [hypothesis.penalty for hypothesis in found]
    assert penalties[0] == 0 and penalties == sorted(penalties)
    assert len(set(penalties)) == 4
    assert found[1].backwards and not found[0].backwards
    for candidate in others:
        np.testing.assert_array_equal(np.abs(candidate), np.abs(flow))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_as_many_as_asked(count):
    flow, regions = things(*APART)
    assert len(enumerate_hypotheses(flow, regions, count)) == min(count, 4)
    one = things(APART[0])
    assert len(enumerate_hypotheses(*one, count)) == min(count, 2)


def test_none_is_the_near_duplicate_of_another():
    # The third has 2 % of all motion.
    flow, regions = things(*APART, (72, 50, 76, 58, 12.0, 0.0))
    found = enumerate_hypotheses(flow, regions, 20)
    told = flows(flow, found)
    for index, one in enumerate(told):
        for other in told[:index]:
            assert difference(one, other, flow) >= ambiguity.MIN_DIFFERENCE
    assert len(found) == 4
    # It goes with its neighbour, the second thing.
    for candidate in told:
        signs = np.sign((candidate * flow).sum(-1))
        assert signs[54, 74] == signs[10, 60]


def pictured(*boxes, contrast):
    """Two things of stripes, each with its own contrast, on grey."""
    photo = np.full((*SIZE, 3), 128, np.uint8)
    for (left, top, right, bottom, *_), strength in zip(boxes, contrast, strict=True):
        wave = np.sin(np.arange(80) / 2) * strength + np.sin(np.arange(60) / 2)[:, None] * strength
        photo[top:bottom, left:right] = (128 + wave)[top:bottom, left:right, None]
    return photo


def test_turning_plain_ground_is_no_story_of_its_own():
    flow, regions = things(*APART)
    seen = enumerate_hypotheses(flow, regions, 5, photo=pictured(*APART, contrast=(40, 40)))
    assert [hypothesis.flipped.tolist() for hypothesis in seen] == [
        hypothesis.flipped.tolist() for hypothesis in enumerate_hypotheses(flow, regions, 5)
    ]
    for contrast in ((40, 0), (0, 40)):
        found = enumerate_hypotheses(flow, regions, 5, photo=pictured(*APART, contrast=contrast))
        assert len(found) == 2 and found[1].backwards
        # The plain one goes with the other, both ways.
        first, second = flows(flow, found)
        assert (first == flow).all() and (second == -flow).all()


def test_what_looks_alike_does_not_differ():
    flow, regions = things(*APART)
    turned = np.where(regions[..., None] == 2, -flow, flow)
    assert ambiguity.differ(flow, turned)
    assert ambiguity.differ(flow, turned, pictured(*APART, contrast=(40, 40)))
    assert not ambiguity.differ(flow, turned, pictured(*APART, contrast=(40, 0)))
    # Nor does it count if all is large, of which only every second pixel is looked at.
    wide = [np.kron(field, np.ones((6, 6, 1), np.float32)) * 6 for field in (flow, turned)]
    photo = np.kron(pictured(*APART, contrast=(40, 0)), np.ones((6, 6, 1), np.uint8))
    assert not ambiguity.differ(*wide, photo)
    assert ambiguity.differ(wide[0], -wide[0], photo)


def test_what_went_together_is_parted_last():
    """Two that touch on the same line, a third apart from them with less motion than either."""
    flow, regions = things(
        (5, 5, 25, 55, 10.0, 1.0), (25, 5, 45, 55, 10.0, -1.0), (55, 5, 75, 45, 10.0, 0.0)
    )
    found = enumerate_hypotheses(flow, regions, 8)
    assert len(found) == 8
    torn = [hypothesis.signs()[20, 10] != hypothesis.signs()[20, 40] for hypothesis in found]
    assert torn == [False] * 4 + [True] * 4
    assert found[4].penalty - found[3].penalty > 0.2


def test_touching_on_other_lines_costs_nothing():
    flow, regions = things((5, 5, 25, 55, 10.0, 0.0), (25, 5, 45, 55, 0.0, 10.0))
    apart = things((5, 5, 25, 55, 10.0, 0.0), (35, 5, 55, 55, 0.0, 10.0))
    penalties = [
        [hypothesis.penalty for hypothesis in enumerate_hypotheses(*pair, 4)]
        for pair in ((flow, regions), apart)
    ]
    np.testing.assert_allclose(*penalties)


def test_guidance_leaves_open_what_it_does_not_speak_of():
    flow, regions = things(*APART, (50, 40, 75, 55, 10.0, 0.0))
    said = np.zeros((*SIZE, 2), np.int8)
    said[5:55, 5:35] = (1, -1)
    found = enumerate_hypotheses(flow, regions, 8, said)
    kept = [hypothesis.signs()[20, 20] == 1 for hypothesis in found]
    assert kept == [True] * 4 + [False] * 4
    everything = np.where(regions[..., None] > 0, np.int8(1), np.int8(0)).repeat(2, -1)
    assert enumerate_hypotheses(flow, regions, 2, everything)[1].backwards


def test_nothing_moves():
    flow, regions = np.zeros((*SIZE, 2), np.float32), np.zeros(SIZE, np.uint8)
    (only,) = enumerate_hypotheses(flow, regions, 5)
    assert (only.signs() == 1).all() and only.penalty == 0


def test_many_crumbs():
    boxes = [(x, y, x + 3, y + 3, 5.0, 0.0) for x in range(0, 80, 5) for y in range(0, 60, 5)]
    flow, regions = things(*boxes)
    assert 1 <= len(enumerate_hypotheses(flow, regions, 5)) <= 2
