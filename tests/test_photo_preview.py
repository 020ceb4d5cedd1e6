"""Photos in the size in which a page shows them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import b2m
from b2m.inference import preview as previews
from b2m.inference.clip import Clip
from b2m.media.video import read_video

APART = Path(__file__).parents[1] / "examples" / "moving-apart.jpg"


@pytest.fixture(scope="module")
def animator():
    return b2m.BlurAnimator.from_pretrained()


def test_a_large_photo_is_looked_at_small_and_keeps_all_else(animator, tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x829A] = 0.1
    path = tmp_path / "large.jpg"
    with Image.open(APART) as opened:
        opened.save(path, exif=exif, quality=95)
        upright = np.asarray(opened)
    seen = previews.preview(animator, path, 320 * 213)
    assert (seen.size, seen.scale) == ((426, 640), 2)
    expected = cv2.resize(upright, (320, 213), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(seen.prepared.photo - expected).mean() < 2  # JPEG
    clip = animator.animate(seen.prepared)[0]
    assert clip.exposure_time == pytest.approx(0.1)
    assert clip.frames.shape == (7, 213, 320, 3)
    assert seen.prepared.source.jpeg == path.read_bytes()


@pytest.fixture(scope="module")
def small(animator):
    """Clips of a photo that is shown at half its size."""
    return animator.animate(
        previews.preview(animator, APART, 320 * 213).prepared, motions=4, frames=5
    )


@pytest.mark.parametrize("motion", [0, 2])
def test_the_clip_in_full_size_goes_where_the_small_one_goes(animator, small, motion):
    full = previews.at_full_size(animator, APART, small[motion])
    assert full.frames.shape == (5, 426, 640, 3)
    # Pixels to the side over the exposure, as `examples/make.py` moved them.
    for thing, length in ((np.s_[190:240, 175:215], 18), (np.s_[270:320, 420:500], 24)):
        half = tuple(slice(part.start // 2, part.stop // 2) for part in thing)
        way = np.sign(np.median(small[motion].flow[half][..., 0]))
        across = np.median(full.flow[thing][..., 0])
        assert way and across == pytest.approx(way * length, rel=0.5)


def test_frames_that_are_there_are_not_made_again(animator, tmp_path, monkeypatch):
    clip, other = (animator.animate(APART, frames=5)[0] for _ in range(2))
    other.save(tmp_path / "other.mp4", pingpong=True)
    frames, psnr = clip.frames, other.reblur_psnr
    monkeypatch.setattr(Clip, "_fill", lambda *_: pytest.fail("made again"))
    clip.save(tmp_path / "clip.mp4", pingpong=True)
    assert clip.reblur_psnr == psnr
    for one, two in zip(
        read_video(tmp_path / "clip.mp4"), read_video(tmp_path / "other.mp4"), strict=True
    ):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(np.stack(list(clip.render(5))), frames)


def test_each_edit_costs_the_same(animator, monkeypatch):
    """Each is one more pass of the part that guidance reaches, however many came before."""
    with Image.open(APART) as opened:
        photo = np.asarray(opened)[100:228, 100:260]
    prepared = animator.prepare(photo)
    passes = []
    for name in ("features", "decode"):
        real = getattr(animator.model, name)
        monkeypatch.setattr(
            animator.model, name, lambda *a, name=name, real=real: passes.append(name) or real(*a)
        )
    clip = animator.animate(prepared, frames=3)[0]
    counts = []
    for number in range(4):
        line = [(20.0 + 9 * number, 60.0), (60.0, 20.0 + 9 * number)]
        guidance = b2m.guidance.from_strokes([line], clip)
        clip = animator.animate(prepared, guidance=guidance, frames=3)[0]
        _ = clip.frames
        counts.append(len(passes) - sum(counts))
    # The first may find sizes that had not been asked before.
    assert set(counts[1:]) == {counts[1]} and counts[0] <= 2 * counts[1]
    assert passes.count("features") <= 2
