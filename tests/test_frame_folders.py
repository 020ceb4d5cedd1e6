"""Folders of frames as they come from other machines, and processes that fork."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from b2m.cli.app import main
from b2m.data.clips import find_clips
from b2m.data.footage import Source, examine, frame_files
from b2m.data.textures import load_textures
from b2m.errors import InputError

APPLE_DOUBLE = b"\0\5\x16\7\0\2\0\0Mac OS X".ljust(120, b"\0")


@pytest.fixture
def clips(tmp_path):
    """A folder with one clip of 14 frames."""
    folder = tmp_path / "clips" / "one"
    folder.mkdir(parents=True)
    y, x = np.mgrid[:96, :128]
    picture = np.stack([128 + 90 * np.sin(x / 5 + c) * np.cos(y / 7) for c in range(3)], -1)
    for number in range(14):
        frame = np.roll(picture, 2 * number, 1).astype(np.uint8)
        Image.fromarray(frame).save(folder / f"{number:06d}.png")
    return folder


def built(clips, out, capsys):
    arguments = ["--source", str(clips.parent), "-o", str(out), "--workers", "1"]
    code = main(["data", "build", "--recipe", "video", *arguments])
    return code, capsys.readouterr().err


def test_files_that_macos_leaves_are_passed_over(clips, tmp_path, capsys):
    names = frame_files(clips)
    for name in names:
        (clips / f"._{name}").write_bytes(APPLE_DOUBLE)
    (clips.parent / "._one").write_bytes(APPLE_DOUBLE)
    (clips.parent / "._film.mp4").write_bytes(APPLE_DOUBLE)
    (clips.parent / ".DS_Store").write_bytes(b"\0")
    assert frame_files(clips) == names
    code, said = built(clips, tmp_path / "out", capsys)
    assert code == 0, said
    with pytest.raises(InputError, match="holds no"):
        find_clips(clips.parent, "train")
    with pytest.raises(InputError):
        load_textures(clips.parent, "train")


@pytest.mark.parametrize(
    "copy", ["000009 (1).png", "000009 - Copy.png", "000009 copy.png", "000009 copy 2.png"]
)
def test_copies_among_the_frames_are_refused(clips, tmp_path, capsys, copy):
    (clips / copy).write_bytes((clips / "000009.png").read_bytes())
    with pytest.raises(InputError, match="in doubt") as refused:
        examine(Source("one", "train", clips, frame_files(clips)))
    assert copy in str(refused.value)
    code, said = built(clips, tmp_path / "out", capsys)
    assert code != 0 and "in doubt" in said


def test_the_same_number_twice_is_refused(clips):
    Image.open(clips / "000009.png").save(clips / "000009.bmp")
    with pytest.raises(InputError, match=r"000009\.bmp' and '000009\.png' have the same number"):
        examine(Source("one", "train", clips, frame_files(clips)))


def test_numbers_in_brackets_are_an_order(clips):
    for number, path in enumerate(sorted(clips.iterdir())):
        path.rename(clips / f"frame ({number + 1}).png")
    footage = examine(Source("one", "train", clips, frame_files(clips)))
    assert footage.frames == 14


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork processes")
def test_a_child_of_a_process_that_used_the_model():
    code = """
import cv2, os, sys, time, numpy as np, torch, b2m
torch.set_num_threads(2)
cv2.setNumThreads(2)
cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.float32), (31, 31), 5)
photo = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
b2m.animate(photo)[0].middle
layer, large = torch.nn.Conv2d(32, 32, 3), torch.randn(1, 32, 128, 128)
layer(large)
child = os.fork()
if child == 0:
    layer(large)
    b2m.animate(photo)[0].middle
    os._exit(7)
for _ in range(600):
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        sys.exit(os.waitstatus_to_exitcode(status))
    time.sleep(0.1)
os.kill(child, 9)
"""
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 7
