"""Photos larger than their working size: looked at again, tile by tile."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from made_pictures import apart, leaves, slid, sliding
from scipy import ndimage

import b2m
from b2m.blur import average_frames, linear_to_srgb8
from b2m.inference import multiscale as scales
from b2m.inference import tiling as detail
from b2m.inference.animator import BlurAnimator
from b2m.inference.tiling import LargePhoto
from b2m.metrics import psnr

TIMES = np.linspace(-1, 1, 7).tolist()


def texture(height, width, seed=0, sigma=0.8):
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width, 3))
    soft = ndimage.gaussian_filter(noise, (sigma, sigma, 0))
    return (127.5 + (soft - 127.5) * 50 / soft.std()).clip(10, 245).astype(np.uint8)


def large(photo, step=2, vector=(3.0, 1.0), sign=1.0, **changes):
    """A photo shrunk by a step, seen to slide by a vector at that size, and by as much from near.

    The middle frame is the photo itself. Returns also the sizes of the tiles that were asked for.
    """
    height, width = photo.shape[:2]
    size = (height // step, width // step)
    working = cv2.resize(photo, size[::-1], interpolation=cv2.INTER_AREA)
    middle = torch.from_numpy(working).permute(2, 0, 1)[None].float() / 255
    coarse = sliding(middle, vector)
    flow = sign * torch.tensor(vector).view(1, 2, 1, 1).expand(1, 2, *size)
    asked = []

    def encode(seen, guidance):
        asked.append(tuple(seen.shape[-2:]))
        return sliding(seen, tuple(step * part for part in vector))

    made = LargePhoto(photo, working, coarse, flow, encode)
    return replace(made, **changes), asked


def filled(made, times=TIMES):
    frames = np.empty((len(times), *made.photo.shape), np.uint8)
    made.fill(frames, times, TIMES)
    return frames


@pytest.mark.parametrize("size", [(96, 130), (67, 250), (200, 65)])
def test_tiles_meet(monkeypatch, size):
    made, asked = large(texture(*size))
    whole = filled(made)
    assert asked == [size]
    monkeypatch.setattr(detail, "_TILE", 32)
    monkeypatch.setattr(detail, "_MARGIN", 32)
    assert apart(filled(made), whole) <= 1
    assert len(asked) > 6
    assert max(height * width for height, width in asked) < 160 * 160


def test_frames_are_the_photo_moved(monkeypatch):
    """Against SciPy: the middle frame is the photo, which slides, made to average to the photo."""
    photo = ndimage.gaussian_filter(texture(96, 128), (3, 3, 0))
    made, _ = large(photo, vector=(2.0, -1.0))
    frames = filled(made)
    assert psnr(linear_to_srgb8(average_frames(frames)), photo) > 50
    # What the frames average to is the photo again, as little as it fits here; so compare motion.
    inner = (slice(20, -20), slice(20, -20))
    for time in (-1.0, 1.0):
        moved = ndimage.shift(photo.astype(float), (-1 * time, 2 * time, 0), order=1)
        frame = frames[TIMES.index(time)]
        there, back = (
            np.abs(frame[inner].astype(float) - other[inner]).mean()
            for other in (moved, 2.0 * photo - moved)
        )
        assert there < 0.5 * back


def test_the_signs_are_those_of_the_working_size():
    photo = texture(96, 128)
    forwards, backwards = (filled(large(photo, sign=sign)[0]) for sign in (1.0, -1.0))
    assert apart(forwards, backwards[::-1]) <= 1
    assert apart(forwards[0], forwards[-1]) > 20


def test_what_is_held_still_is_the_photo():
    photo = texture(96, 128)
    made, asked = large(photo, sign=0.0)
    assert (filled(made) == photo).all() and not asked
    flow = large(photo)[0].flow.clone()
    flow[..., :32] = 0  # the left half is held, though from near it seems to move
    frames = filled(replace(made, flow=flow))
    assert (frames[:, :, :60] == photo[:, :60]).all()
    assert apart(frames[0, :, 80:], photo[:, 80:]) > 20


def test_long_motion_is_left_to_the_working_size():
    made, asked = large(texture(160, 192), vector=(20.0, 0.0))
    frames = filled(made)
    assert not asked
    assert apart(frames[0], frames[-1]) > 20


def test_only_photos_with_detail_are_looked_at_again(monkeypatch):
    monkeypatch.setattr(scales, "WORKING_PIXELS", 96 * 128)
    photo = texture(192, 256)

    def more(seen):
        return scales.holds_more(seen, scales.working_photo(seen))

    assert more(photo)
    assert more(cv2.blur(photo, (9, 1)))  # motion blur leaves the detail across it
    assert not more(photo[:100, :140])  # hardly larger
    assert not more(cv2.resize(photo, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC))
    assert not more(np.full_like(photo, 77))
    monkeypatch.undo()
    # Looked at smaller for want of detail, not for its size.
    noisy = cv2.resize(photo, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC).astype(int)
    noisy += np.random.default_rng(0).normal(0, 2, noisy.shape).round().astype(int)
    assert not more(noisy.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def trained():
    return BlurAnimator.from_pretrained()


def test_a_large_photo_gets_its_fine_detail_back(trained, monkeypatch):
    monkeypatch.setattr(scales, "WORKING_PIXELS", 160 * 200)
    frames = slid(leaves(400, 500), (10.0, 3.0))
    photo = linear_to_srgb8(average_frames(frames))
    guidance = np.full((400, 500, 2), 1, np.int8)
    prepared = trained.prepare(photo)
    assert prepared.encode_detail is not None
    again, once = (
        trained.animate(seen, guidance=guidance, frames=9)[0]
        for seen in (prepared, replace(prepared, encode_detail=None))
    )

    def quality(clip):
        inner = (slice(None), slice(20, -20), slice(20, -20))
        return np.mean(
            [psnr(*pair) for pair in zip(clip.frames[inner], frames[inner], strict=True)]
        )

    assert quality(again) > quality(once) + 0.5
    assert psnr(again.middle, frames[4]) > psnr(photo, frames[4]) + 0.5
    assert apart(again.middle, again.frames[4]) == 0
    assert apart(np.stack(list(again.render(9))), again.frames) == 0
    assert again.reblur_psnr > 40


def test_tiles_of_the_trained_network_meet(trained, monkeypatch):
    monkeypatch.setattr(scales, "WORKING_PIXELS", 160 * 200)
    photo = linear_to_srgb8(average_frames(slid(leaves(400, 500), (10.0, 3.0))))
    (clip,) = trained.animate(photo)
    whole = clip.frames
    monkeypatch.setattr(detail, "_TILE", 128)
    (clip,) = trained.animate(photo)
    difference = np.abs(clip.frames.astype(int) - whole)
    assert difference.mean() < 0.1 and np.quantile(difference, 0.999) <= 3


def test_full_size_frames_come_in_small_numbers(trained, monkeypatch, tmp_path):
    monkeypatch.setattr(scales, "WORKING_PIXELS", 96 * 128)
    monkeypatch.setattr("b2m.inference.clip._MAX_BYTES", 2 * 3 * 192 * 256)
    photo = cv2.blur(texture(192, 256), (7, 1))
    (clip,) = b2m.animate(photo, frames=5)
    path = clip.save(tmp_path / "frames", pingpong=True)
    files = sorted(path.iterdir())
    assert len(files) == 8
    for file, index in zip(files, [0, 1, 2, 3, 4, 3, 2, 1], strict=True):
        assert apart(cv2.imread(str(file))[..., ::-1], clip.frames[index]) == 0
