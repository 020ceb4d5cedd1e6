"""The weights that ship, on a scene whose motion is known: what a person directs, happens."""

import cv2
import numpy as np
import pytest
import torch
from made_pictures import leaves

import b2m
from b2m import guidance as guidance_of
from b2m.blur import average_frames, linear_to_srgb8
from b2m.registry import MODELS

LEFT, RIGHT = (slice(70, 170), slice(40, 140)), (slice(70, 170), slice(200, 300))
"""Where two squares are at the middle of the exposure: one goes to the right, one down."""

SLIDES = {"left": (14, 0), "right": (0, 14)}


@pytest.fixture(scope="module")
def photo():
    ground = cv2.GaussianBlur(leaves(240, 340), (0, 0), 1.0)
    # Half as large, so that no disc fills a thing: what has no texture shows no motion.
    fine = [
        cv2.resize(leaves(200, 200, seed), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        for seed in (1, 2)
    ]
    squares = dict(zip(("left", "right"), fine, strict=True))
    frames = []
    for time in np.linspace(-0.5, 0.5, 15):
        frame = ground.copy()
        for (rows, columns), (name, square) in zip((LEFT, RIGHT), squares.items(), strict=True):
            across, down = (round(time * part) for part in SLIDES[name])
            top, left = rows.start + down, columns.start + across
            frame[top : top + 100, left : left + 100] = square
        frames.append(frame)
    return linear_to_srgb8(average_frames(np.stack(frames)))


@pytest.fixture(scope="module")
def animator():
    return b2m.BlurAnimator.from_pretrained()


@pytest.fixture(scope="module")
def prepared(animator, photo):
    return animator.prepare(photo)


def inner(part, margin=15):
    return tuple(slice(side.start + margin, side.stop - margin) for side in part)


def towards(flow, vector):
    """Share of the vectors that are less than 45 degrees from a direction."""
    direction = np.asarray(vector) / np.hypot(*vector)
    return (flow @ direction > np.cos(np.pi / 4) * np.linalg.norm(flow, axis=-1)).mean()


def cosine(flow, other):
    return (flow * other).sum() / (np.linalg.norm(flow) * np.linalg.norm(other))


def test_it_sees_what_moves(animator, prepared):
    (clip,) = animator.animate(prepared)
    length = np.linalg.norm(clip.flow, axis=2)
    for part, slide in ((LEFT, (14, 0)), (RIGHT, (0, 14))):
        assert 6 < np.median(length[inner(part)]) < 20
        seen = clip.flow[inner(part)]
        assert max(towards(seen, slide), towards(-seen, slide)) > 0.8
    ground = np.ones(length.shape, bool)
    ground[50:190, 20:320] = False
    assert (length[ground] < 2).mean() > 0.9
    assert clip.warnings == []


def test_the_true_motion_is_among_the_first(animator, prepared):
    clips = animator.animate(prepared, motions=5)
    assert 2 <= len(clips) <= 5
    ways = {
        tuple(
            bool(towards(clip.flow[inner(part)], slide) > 0.8)
            for part, slide in ((LEFT, (14, 0)), (RIGHT, (0, 14)))
        )
        for clip in clips
    }
    assert (True, True) in ways and len(ways) >= 2


@pytest.mark.parametrize("degrees", [0, 60, 150, 210])
def test_a_stroke_moves_all_of_a_thing(animator, prepared, degrees):
    """Along its line of motion, which is level, the way that the stroke goes."""
    (clip,) = animator.animate(prepared)
    end = 30 * np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    middle = np.array([90, 120])
    stroke = np.array([middle - end, middle + end])
    said = guidance_of.from_strokes([stroke], base=clip)
    (other,) = animator.animate(prepared, guidance=said)
    way = (1, 0) if np.cos(np.radians(degrees)) > 0 else (-1, 0)
    assert towards(other.flow[inner(LEFT)], way) > 0.8
    assert cosine(other.flow[inner(RIGHT)], clip.flow[inner(RIGHT)]) > 0.9


def test_the_flow_estimator_of_2021b_sees_how_a_camera_moved():
    wall = cv2.GaussianBlur(leaves(240, 340), (0, 0), 1.0)
    for across, down in ((16, 0), (0, 16)):
        steps = [(round(across * t), round(down * t)) for t in np.linspace(-0.5, 0.5, 17)]
        frames = [wall[20 - y : 212 - y, 20 - x : 308 - x] for x, y in steps]
        flow = b2m.flow(linear_to_srgb8(average_frames(np.stack(frames))), model="blur-flow")
        missed = np.hypot(flow[..., 0] - across, flow[..., 1] - down)
        missed_back = np.hypot(flow[..., 0] + across, flow[..., 1] + down)
        assert np.minimum(missed, missed_back).mean() < 0.6 * 16


@pytest.mark.parametrize("name", ["jin", "video-restorer", "decomposer"])
def test_models_of_the_papers_leave_a_plain_photo_plain(name):
    # At sizes that need padding inside, and at those that do not.
    model = MODELS[name].from_pretrained()
    for height, width in ((96, 160), (99, 100), (120, 128), (64, 197)):
        photo = torch.full((1, 3, height, width), 0.5)
        guidance = torch.ones(1, 2, height, width) if model.guided else None
        with torch.inference_mode():
            frames = model(photo, guidance)
        assert (frames - 0.5).abs().max() < 0.06, (height, width)
