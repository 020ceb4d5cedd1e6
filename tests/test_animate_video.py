"""Videos: in order, without jumps, at the right times, streamed, whole or not there at all."""

from __future__ import annotations

import errno
import os
import weakref
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from made_pictures import see_as, sliding
from scipy import ndimage

import b2m
from b2m.blur import average_frames, linear_to_srgb8
from b2m.cli import app as cli
from b2m.errors import InputError, OutputError
from b2m.inference import video
from b2m.inference.animator import BlurAnimator
from b2m.inference.video import TimedFrame
from b2m.media.video import Video, read_video, write_mp4, write_timed_mp4
from b2m.metrics import psnr
from b2m.models.animator import MotionAnimator, MotionAnimatorConfig
from b2m.motion.fields import estimate_flow

HEIGHT, WIDTH = 64, 112
PACE = 14  # pixels from frame to frame
FINE = 28  # instants rendered of each interval


def texture(height=HEIGHT, width=600, seed=0):
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    fine, coarse = (ndimage.gaussian_filter(noise, (sigma, sigma, 0)) for sigma in (2.5, 10))
    both = 30 * fine / fine.std() + 35 * coarse / coarse.std()
    return np.clip(128 + both, 10, 245).astype(np.float32)


def view(world, x):
    """What a camera sees whose left edge is at x, between pixels too."""
    shift = np.array([[1, 0, -x], [0, 1, 0]], np.float32)
    seen = cv2.warpAffine(world, shift, (WIDTH, world.shape[0]), flags=cv2.INTER_CUBIC)
    return np.rint(seen).clip(0, 255).astype(np.uint8)


def pan(count, direction=1, shutter=1.0):
    """Blurred frames of a camera that turns, and what it sees at any time, counted in intervals."""
    world, edge = texture(), 20.0 if direction > 0 else 20.0 + PACE * count

    def truth(time):
        return view(world, edge + direction * PACE * time)

    photos = []
    for number in range(count):
        middles = (np.arange(FINE) + 0.5) / FINE - 0.5
        frames = np.stack([truth(number + 0.5 + shutter * m) for m in middles])
        photos.append(linear_to_srgb8(average_frames(frames)))
    return photos, truth


def knowing(monkeypatch, pace, middles=None):
    """An animator that sees the line of motion of a pan, and the sharp middle where it is given."""
    animator = BlurAnimator(MotionAnimator(MotionAnimatorConfig.tiny()).eval())
    found = iter(middles or ())

    def encode(photo):
        sharp = next(found, None)
        middle = photo if sharp is None else torch.from_numpy(sharp / 255).permute(2, 0, 1)[None]
        return sliding(middle, (pace, 0.0))

    see_as(monkeypatch, animator.model, encode)
    return animator


@pytest.fixture
def animator(monkeypatch):
    return knowing(monkeypatch, PACE)


@pytest.fixture
def blurry(tmp_path):
    """A video of six frames, 25 a second."""
    path = tmp_path / "blurry.mp4"
    write_mp4(path, pan(6)[0], 25)
    return path


@pytest.fixture
def target(tmp_path):
    return tmp_path / "sharp.mp4"


def shots(photos):
    return [TimedFrame(photo, Fraction(i), Fraction(i + 1)) for i, photo in enumerate(photos)]


def made(animator, photos, shutter, frames=7):
    """The pictures of a slow motion, straight from the frames."""
    places = [video.Instant((i + 0.5) / frames, 0) for i in range(frames)]
    directed = video.estimate_directions(animator, shots(photos), shutter)
    rendered = video.render_instants(((frame, places) for frame in directed), shutter)
    return [frame for frame, _ in rendered]


def steps(frames):
    """How far things go to the left from frame to frame, pixels, in the middle of the frame."""
    inside = np.s_[12:-12, 30:-30]
    flows = [estimate_flow(a, b)[inside][..., 0] for a, b in pairwise(frames)]
    return np.array([-np.median(flow) for flow in flows])


def times(path):
    """When each frame of a video is shown, and the end, seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoded = list(container.decode(stream))
        last = decoded[-1]
        ends = [frame.pts for frame in decoded] + [last.pts + last.duration]
        return [float(pts * stream.time_base) for pts in ends]


# --- order and joins ------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", [1, -1])
def test_frames_come_in_order_and_join_without_a_jump(tmp_path, target, animator, direction):
    source = tmp_path / "blurry.mp4"
    write_mp4(source, pan(6, direction)[0], 25)
    assert animator.animate_video(source, target) == target
    frames = list(read_video(target))
    assert len(frames) == 6 * 7
    found = steps(frames) * direction
    # The ends have no neighbour on one side; everywhere else time flows evenly.
    assert (found > 0).all()
    np.testing.assert_allclose(found[7:-7], PACE / 7, atol=0.7)
    joins, ordinary = found[6::7], np.delete(found, np.s_[6::7])[6:-6]
    assert np.mean(joins) < 1.25 * np.mean(ordinary)


@pytest.mark.parametrize("shutter", [1.0, 0.5])
def test_what_is_shown_is_what_was_there(monkeypatch, shutter):
    photos, truth = pan(5, shutter=shutter)
    sharp = [truth(i + 0.5) for i in range(5)]
    frames = made(knowing(monkeypatch, PACE * shutter, sharp), photos, shutter)
    scores, repeated = [], []
    for number, frame in enumerate(frames):
        there = truth((number + 0.5) / 7)
        # Sideways, half an interval of the world has not been seen.
        inside = np.s_[:, 2 * PACE : -2 * PACE]
        scores.append(psnr(frame[inside], there[inside]))
        repeated.append(psnr(photos[number // 7][inside], there[inside]))
    assert np.mean(scores) > np.mean(repeated) + 6
    assert min(scores) > 24
    changes = np.array([np.abs(a.astype(int) - b).mean() for a, b in pairwise(frames)])
    assert changes[6::7].max() < 1.3 * np.delete(changes, np.s_[6::7]).mean()


def test_a_clip_that_knows_too_little_of_the_motion_still_joins(monkeypatch):
    # As networks do: they see a third of a long path.
    photos, _ = pan(5)
    found = steps(made(knowing(monkeypatch, PACE / 3), photos, 1.0))
    joins, ordinary = found[6::7], np.delete(found, np.s_[6::7])
    assert (found[3:-3] > 0.5).all()
    assert np.mean(joins) < 1.25 * np.mean(ordinary[3:-3])


# --- which way ------------------------------------------------------------------------------------


def test_flow_over_the_exposure_from_both_neighbours_or_one():
    photos, _ = pan(3)
    before, after = video.flow_pair(photos[0], photos[1]), video.flow_pair(photos[1], photos[2])
    inside = np.s_[16:-16, 32:-32]
    for pair in ((before, after), (before, None), (None, after)):
        whole, half = video.neighbour_flow(*pair), video.neighbour_flow(*pair, 0.5)
        assert np.median(whole[inside][..., 0]) == pytest.approx(-PACE, abs=0.5)
        assert np.median(np.abs(whole[inside][..., 1])) < 0.5
        np.testing.assert_allclose(half, whole / 2, rtol=1e-4)
    assert video.neighbour_flow(None, None) is None


def test_cuts_are_told_from_pans_and_lights():
    world, other = texture(width=600), texture(width=600, seed=5) * [0.4, 0.6, 1.0]
    here = view(world, 50)
    assert video.is_scene_cut(here, view(other.astype(np.float32), 50))
    assert video.is_scene_cut(here, np.zeros_like(here))
    assert not video.is_scene_cut(here, here)
    assert not video.is_scene_cut(here, view(world, 50 + WIDTH // 3))
    assert not video.is_scene_cut(here, (here * 0.6).astype(np.uint8))
    black = np.zeros_like(here)
    assert not video.is_scene_cut(black, black)


@pytest.mark.parametrize("shutter", [1.0, 0.3])
def test_nothing_leads_across_a_cut(animator, shutter):
    photos, _ = pan(2)
    others = [(photo * [0.2, 0.2, 1.0]).astype(np.uint8) for photo in photos]
    others = [np.ascontiguousarray(photo[::-1]) for photo in others]
    directed = video.estimate_directions(animator, shots(photos + others), 1.0)
    assert [frame.continues for frame in directed] == [True, False, True, False]
    frames = made(animator, photos + others, shutter)
    reds = [frame[..., 0].mean() for frame in frames]
    assert min(reds[:14]) > 90 and max(reds[14:]) < 40
    # A frame between two cuts knows of no neighbour, and is animated all the same.
    alone = [photos[0], others[0], photos[1]]
    scenes = list(video.estimate_directions(animator, shots(alone), 1.0))
    assert [scene.flow is None for scene in scenes] == [True, True, True]
    assert len(made(animator, alone, 1.0)) == 21


# --- time -----------------------------------------------------------------------------------------


def test_slow_motion_keeps_the_frame_rate(target, animator, blurry):
    animator.animate_video(blurry, target, frames=3)
    new = read_video(target)
    assert (new.frames, new.fps) == (18, 25)
    np.testing.assert_allclose(times(target), np.arange(19) / 25, atol=1e-6)


@pytest.mark.parametrize(("fps", "count"), [(60, 14), (25, 6), (10, 2), (29.97, 7), (5, 1)])
def test_real_time_keeps_the_duration(target, animator, blurry, fps, count):
    animator.animate_video(blurry, target, fps=fps)
    new = read_video(target)
    assert (new.frames, len(list(new))) == (count, count)
    assert times(target)[-1] == pytest.approx(count / fps, abs=1e-3)
    assert abs(count / fps - 6 / 25) <= 0.5 / fps + 1e-6


def test_real_time_takes_instants_from_the_right_exposure(target, animator, blurry):
    # At 75 frames per second there are three instants of each frame.
    animator.animate_video(blurry, target, fps=75)
    frames = list(read_video(target))
    np.testing.assert_allclose(steps(frames)[3:-3], PACE / 3, atol=0.8)
    _, truth = pan(6)
    for number in (4, 7, 10, 13):
        there = truth((number + 0.5) / 3)
        moved = estimate_flow(there, frames[number])[12:-12, 30:-30, 0]
        assert abs(np.median(moved)) < 1


def test_a_variable_frame_rate_is_kept(tmp_path, target, animator):
    source = tmp_path / "phone.mp4"
    shown = [0, 40, 80, 160, 200, 320]
    write_timed_mp4(
        source, zip(pan(6)[0], shown, strict=True), Fraction(1, 1000), Fraction(20), lambda: 400
    )
    ends = np.array([*shown, 400]) / 1000
    np.testing.assert_allclose(times(source), ends, atol=1e-3)
    animator.animate_video(source, target, frames=4)
    lasts = np.repeat(np.diff(ends), 4)
    np.testing.assert_allclose(np.diff(times(target)), lasts, atol=1e-3)
    # In real time there are as many pictures of each frame as it was long.
    animator.animate_video(source, target, fps=50)
    assert read_video(target).frames == 20
    assert times(target)[-1] == pytest.approx(0.4, abs=1e-3)


# --- all kinds of video ---------------------------------------------------------------------------


def test_three_frames_at_most_are_held(tmp_path, target, animator, monkeypatch):
    source = tmp_path / "blurry.mp4"
    write_mp4(source, pan(12)[0], 25)
    held, most, read = set(), [], []
    timed = Video.frames_with_times

    def watched(self):
        for number, (photo, time) in enumerate(timed(self)):
            held.add(number)
            weakref.finalize(photo, held.discard, number)
            most.append(len(held))
            read.append(number)
            yield photo, time
            del photo

    monkeypatch.setattr(Video, "frames_with_times", watched)
    ahead = []
    rendered = video.cross_fade

    def shown(*arguments):
        ahead.append(len(read))
        return rendered(*arguments)

    monkeypatch.setattr(video, "cross_fade", shown)
    animator.animate_video(source, target)
    assert len(read) == 12
    assert max(most) <= 3
    # Reading is never far ahead of showing.
    assert all(count <= index // 7 + 3 for index, count in enumerate(ahead))


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (RuntimeError("the network gave up"), RuntimeError),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), OutputError),
    ],
)
def test_an_interrupted_run_leaves_nothing(
    tmp_path, target, animator, blurry, monkeypatch, error, raised
):
    encode, calls = animator.model.encode, []

    def failing(photo):
        calls.append(photo)
        if len(calls) == 3:
            raise error
        return encode(photo)

    monkeypatch.setattr(animator.model, "features", failing)
    target.write_bytes(b"an older one")
    with pytest.raises(raised):
        animator.animate_video(blurry, target)
    assert target.read_bytes() == b"an older one"
    assert {path.name for path in tmp_path.iterdir()} == {"blurry.mp4", "sharp.mp4"}


def test_bad_numbers(target, animator, blurry):
    for options, says in (
        ({"frames": 1}, "at least 2"),
        ({"frames": 2.5}, "frames=2.5"),
        ({"fps": 0}, "more than 0"),
        ({"fps": -3}, "-3"),
        ({"fps": float("nan")}, "more than 0"),
        ({"fps": 1}, "nothing is shown"),
        ({"shutter": 0}, "above 0"),
        ({"shutter": 1.5}, "1.5"),
        ({"shutter": float("nan")}, "above 0"),
        ({"fps": "60"}, "'60' frames per second"),
        ({"shutter": None}, "a shutter of None"),
    ):
        with pytest.raises(InputError, match=says):
            animator.animate_video(blurry, target, **options)
    assert not target.exists()


def test_bad_files(tmp_path, target, animator, blurry):

    def refused(source, to, error, says):
        before = set(tmp_path.iterdir())
        with pytest.raises(error, match=says):
            animator.animate_video(source, to)
        assert set(tmp_path.iterdir()) == before

    refused(tmp_path / "none.mp4", target, InputError, "does not exist")
    refused(None, target, InputError, "by its path, not as None")
    refused(blurry, 7, InputError, "by its path, not as 7")
    refused(tmp_path, target, InputError, "is a folder")
    single = tmp_path / "single.mp4"
    write_mp4(single, pan(1)[0], 25)
    refused(single, target, InputError, "one frame")
    refused(blurry, blurry, InputError, "the video itself")
    refused(blurry, tmp_path / "sharp.gif", InputError, "sharp.gif")
    refused(blurry, tmp_path / "sharp", InputError, ".mp4")
    refused(blurry, tmp_path / "none" / "sharp.mp4", OutputError, "does not exist")
    (tmp_path / "folder.mp4").mkdir()
    refused(blurry, tmp_path / "folder.mp4", OutputError, "is a folder")
    small = tmp_path / "small.mp4"
    write_mp4(small, [np.zeros((8, 8, 3), np.uint8)] * 3, 25)
    refused(small, target, InputError, "8x8")


# --- on the command line --------------------------------------------------------------------------


def test_the_command(tmp_path, blurry, weights, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["--weights", str(weights), "--frames", "2", "--device", "cpu"]
    assert cli.main(["video", str(blurry), "-o", "sharp.mp4", *given]) == 0
    assert capsys.readouterr().out == "sharp.mp4\n"
    assert read_video("sharp.mp4").frames == 12
    assert cli.main(["video", str(blurry), *given, "--fps", "25", "--shutter", "0.5"]) == 0
    assert capsys.readouterr().out == f"out{os.sep}blurry.mp4\n"
    assert read_video(Path("out") / "blurry.mp4").frames == 6
    b2m.animate_video(blurry, "again.mp4", frames=2, weights=weights, device="cpu")
    assert Path("again.mp4").read_bytes() == Path("sharp.mp4").read_bytes()
    side = max(read_video(blurry).width, read_video(blurry).height) // 2
    assert cli.main(["video", str(blurry), *given, "-o", "small.mp4", "--max-side", str(side)]) == 0
    small, whole = read_video("small.mp4"), read_video("sharp.mp4")
    assert max(small.width, small.height) == side
    assert small.width * whole.height == pytest.approx(small.height * whole.width, rel=0.05)


def test_the_command_says_what_is_wrong(tmp_path, target, blurry, weights, capsys):
    for words, code, says in (
        ([blurry, "--frames", 1], 2, "at least 2"),
        ([blurry, "--fps", 0], 2, "more than 0"),
        ([blurry, "--shutter", 2], 2, "above 0"),
        ([blurry, "--max-side", 8], 2, "at least 16"),
        ([__file__], 1, "not a video"),
    ):
        assert cli.main(["video", *map(str, words), "-o", str(target)]) == code
        said = [line for line in capsys.readouterr().err.splitlines() if "b2m: " in line]
        assert len(said) == 1 and says in said[0]
    assert cli.main(["video", str(blurry), "-o", str(tmp_path / "sharp.avi")]) == 2
    assert not target.exists()


@pytest.mark.parametrize("model", ["decomposer", "jin"])
def test_a_model_of_the_papers_makes_a_video(model, tmp_path):
    """Its seven frames for each, which go on the way the video goes, to the right."""
    wide = texture(64, 200).astype(np.uint8)
    frames = [wide[:, 90 - n : 170 - n] for n in range(42)]
    windows = [np.stack(frames[7 * n : 7 * n + 7]) for n in range(6)]
    blurred = [linear_to_srgb8(average_frames(window)) for window in windows]
    write_mp4(tmp_path / "in.mp4", blurred, 10)
    b2m.animate_video(tmp_path / "in.mp4", tmp_path / "out.mp4", model=model)
    found = list(read_video(tmp_path / "out.mp4"))
    assert len(found) == 42 and found[0].shape == (64, 80, 3)
    moves = [
        estimate_flow(found[7 * n + 1], found[7 * n + 5])[8:-8, 16:-16, 0].mean() for n in range(6)
    ]
    if model == "decomposer":  # in what the other finds here there is hardly any motion
        assert np.mean(moves) > 0.2, moves
    b2m.animate_video(tmp_path / "in.mp4", tmp_path / "real.mp4", fps=30, model=model)
    assert len(list(read_video(tmp_path / "real.mp4"))) == 18
    with pytest.raises(InputError, match="ask for 7"):
        b2m.animate_video(tmp_path / "in.mp4", tmp_path / "no.mp4", frames=5, model=model)
    assert not (tmp_path / "no.mp4").exists()
