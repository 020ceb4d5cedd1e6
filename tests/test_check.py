"""What `b2m data check` says about data sets that were harmed, and that it stays small."""

import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from b2m.data import check as checking
from b2m.data.build import run as building
from b2m.data.build.run import build
from b2m.data.check import check
from b2m.data.recipes import DATASET_RECIPES
from b2m.data.scenes import SceneConfig
from b2m.data.storage import FOLDERS, Record, read_index, write_lines
from b2m.motion.io import read_flo, write_flo

SCENES = replace(DATASET_RECIPES["scenes"], count=4, scenes=SceneConfig(size=32, blur=(2.0, 6.0)))
VIDEO = DATASET_RECIPES["video"]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory, few_textures):
    """Four scenes."""
    out = tmp_path_factory.mktemp("scenes") / "set"
    build(SCENES, None, out)
    return out


def clip(folder, seed, count=7):
    """Frames of a camera that looks farther right."""
    noise = np.random.default_rng(seed).normal(size=(48, 64 + 2 * count, 3))
    wall = cv2.GaussianBlur(noise, None, 2.0)
    wall = np.uint8(np.clip(128 + 40 * wall / wall.std(), 0, 255))
    folder.mkdir(parents=True)
    for index in range(count):
        Image.fromarray(wall[:, 2 * index : 2 * index + 64]).save(folder / f"{index:03d}.png")


def test_unknown_flow_is_said_and_the_rest_is_looked_at(scenes, tmp_path):
    out = Path(shutil.copytree(scenes, tmp_path / "set"))
    flow = read_flo(out / "flow" / "00000001.flo")
    flow[5, 7] = np.nan
    write_flo(out / "flow" / "00000001.flo", flow)
    assert read_index(out)[1].averaged != read_index(out)[1].frames
    shutil.copy(out / "blur" / "00000000.png", out / "blur" / "00000002.png")
    said = list(check(out))
    assert "sample 1: its flow is not known everywhere" in said
    assert any(sentence.startswith("sample 2: the mean") for sentence in said)
    assert not any("sample 3" in sentence for sentence in said)


def test_flow_beyond_all_reason_is_no_larger_than_the_photo(scenes, tmp_path):
    out = Path(shutil.copytree(scenes, tmp_path / "set"))
    flow = read_flo(out / "flow" / "00000001.flo")
    write_flo(out / "flow" / "00000001.flo", np.full_like(flow, 5e8))
    assert any("sample 1: guidance" in sentence for sentence in check(out))


def test_a_build_that_goes_on_is_not_taken_for_strays(tmp_path, monkeypatch):
    clip(tmp_path / "in" / "a", 0)
    build(VIDEO, tmp_path / "in", tmp_path / "set")
    clip(tmp_path / "in" / "b", 1, 14)
    append = building.BuildProgress.append

    def stopped(self, results):
        for count in append(self, results):
            yield count
            raise KeyboardInterrupt

    monkeypatch.setattr(building.BuildProgress, "append", stopped)
    with pytest.raises(KeyboardInterrupt):
        build(VIDEO, tmp_path / "in", tmp_path / "set")
    monkeypatch.undo()
    assert (tmp_path / "set" / "blur" / "00000001.png").is_file()
    (said,) = check(tmp_path / "set")
    assert "not finished: run the same build again" in said
    build(VIDEO, tmp_path / "in", tmp_path / "set")
    assert list(check(tmp_path / "set")) == []


def test_one_clip_under_two_names_must_not_be_in_two_splits(tmp_path):
    clip(tmp_path / "in" / "train" / "street", 0)
    clip(tmp_path / "in" / "train" / "again", 0)
    clip(tmp_path / "in" / "test" / "other", 1)
    build(VIDEO, tmp_path / "in", tmp_path / "one")
    assert list(check(tmp_path / "one")) == []
    shutil.copytree(tmp_path / "in" / "train" / "street", tmp_path / "in" / "test" / "avenue")
    build(VIDEO, tmp_path / "in", tmp_path / "two")
    (said,) = check(tmp_path / "two")
    assert said.startswith("the sources again and avenue begin with the same frames")
    assert "train and test" in said


def test_clips_that_begin_in_black_are_not_one(tmp_path):
    for split in ("train", "test"):
        folder = tmp_path / "in" / split / split
        folder.mkdir(parents=True)
        for index in range(7):
            Image.new("RGB", (64, 48), (2, 2, 2)).save(folder / f"{index}.png")
    build(VIDEO, tmp_path / "in", tmp_path / "set")
    assert list(check(tmp_path / "set")) == []


def test_a_large_index_is_not_held_in_memory(tmp_path, monkeypatch):
    """Of two thousand samples; an order that is not that of the numbers changes nothing."""
    monkeypatch.setattr(checking, "read_sample", unread)
    count = 2_000
    records = (Record(n, "a", "train", "video", 9, 9, 7, 7) for n in reversed(range(count)))
    write_lines(tmp_path / "index.jsonl", map(Record.to_json, records))
    for name in FOLDERS:
        (tmp_path / name).mkdir()
    for path in ("blur/00000003.png", "sharp/00000003_006.png", "sharp/00000003_007.png"):
        (tmp_path / path).touch()
    tracemalloc.start()
    try:
        said = [sentence for sentence in check(tmp_path) if "sample 0" not in sentence]
        assert tracemalloc.get_traced_memory()[1] < 4e5
    finally:
        tracemalloc.stop()
    assert said == [
        "sharp/00000003_007.png belongs to no sample: remove it, or build the data set anew"
    ]


def unread(folder, record):
    blank = np.zeros((9, 9, 3), np.uint8)
    return checking.Sample(blank, np.repeat(blank[None], 7, 0), None), None
