"""Data sets: their physics against NumPy, and that nothing stops them from ending the same."""

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from made_pictures import encoded, light
from PIL import Image

from b2m.blur import linear_to_srgb8, srgb8_to_linear
from b2m.cli import main
from b2m.data import footage
from b2m.data.averaging import Averaging, fit_frame
from b2m.data.build import run as building
from b2m.data.build import workers as engines
from b2m.data.build.generators import make, plan_sources, tasks_of
from b2m.data.build.progress import BuildProgress
from b2m.data.build.run import build
from b2m.data.check import check
from b2m.data.recipes import DATASET_RECIPES
from b2m.data.rotation import RotationConfig
from b2m.data.scenes import SceneConfig
from b2m.data.storage import read_index, read_sample, read_skips
from b2m.errors import InputError, OutputError
from b2m.guidance.quantize import from_flow
from b2m.media.video import write_mp4
from b2m.motion.fields import to_middle_grid
from b2m.motion.io import write_pfm

GOPRO = DATASET_RECIPES["gopro"]
SMALL_SCENES = replace(
    DATASET_RECIPES["scenes"], count=12, scenes=SceneConfig(size=32, blur=(2.0, 6.0))
)


pytestmark = pytest.mark.usefixtures("few_textures")


def texture(seed, height, width):
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    image = cv2.GaussianBlur(noise, None, 2.0)
    return np.uint8(np.clip(128 + 40 * image / image.std(), 0, 255))


def panning(count, speed=1, size=(64, 96)):
    """Frames of a camera that looks farther right, whole pixels a frame, things going left."""
    wall = texture(0, size[0], size[1] + speed * count)
    return [wall[:, speed * i : speed * i + size[1]] for i in range(count)]


def write_frames(folder, frames, names="{:06d}.png", first=0, step=1):
    """Frames that are numbered in their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / names.format(first + step * index))


def gopro_tree(folder, frames=30, sequences=("train/GOPR0374_11_00", "test/GOPR0384_11_00")):
    for place, name in enumerate(sequences):
        write_frames(folder / name, panning(frames, 1 + place), first=1)
    return folder


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def gopro(tmp_path_factory):
    return gopro_tree(tmp_path_factory.mktemp("gopro"))


@pytest.fixture(scope="module")
def built(gopro, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "set"
    return out, build(GOPRO, gopro, out)


def contents(folder):
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def skips(folder):
    return list(read_skips(folder))


# --- what is averaged ----------------------------------------------------------------------------


def test_gopro_windows_touch_and_are_averaged_in_linear_light(built, gopro):
    out, result = built
    assert result == (8, 0, 0)
    records = read_index(out)
    assert [record.number for record in records] == list(range(8))
    assert [record.start for record in records] == [0, 7, 14, 21] * 2
    for record in (records[0], records[6]):
        folder = next(gopro.glob(f"*/{record.source}"))
        files = sorted(folder.iterdir())[record.start : record.start + 7]
        frames = np.stack([np.asarray(Image.open(file)) for file in files])
        sample, guidance = read_sample(out, record)
        np.testing.assert_array_equal(sample.frames, frames)
        expected = encoded(light(frames).mean(0)).astype(int)
        assert np.abs(sample.photo - expected).max() <= 1
        np.testing.assert_array_equal(guidance, from_flow(sample.flow))
        # Things go left by the camera's speed, six steps from first to last.
        speed = -6 * (1 if record.split == "train" else 2)
        assert np.median(sample.flow[8:-8, 16:-16], axis=(0, 1)) == pytest.approx(
            [speed, 0], abs=0.3
        )
        assert record.exposure == pytest.approx(6 / 240) and record.fps == 240
        assert record.licence.startswith("CC BY 4.0")


@pytest.mark.parametrize("gamma", [2.2, 1.0])
def test_the_power_law_of_the_data_sets(gopro, tmp_path, gamma):
    recipe = replace(GOPRO, averaging=Averaging(gamma=gamma))
    build(recipe, gopro, tmp_path / "set")
    record = read_index(tmp_path / "set")[2]
    assert record.curve == gamma
    sample, _ = read_sample(tmp_path / "set", record)
    light = ((sample.frames / 255.0) ** gamma).mean(0)
    assert np.abs(sample.photo - 255 * light ** (1 / gamma)).max() < 0.51
    assert list(check(tmp_path / "set")) == []


@pytest.mark.parametrize("gamma", [0.0, 1.0, 1.8, 2.2])
def test_curves_bring_every_code_back(gamma):
    codes = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(linear_to_srgb8(srgb8_to_linear(codes, gamma), gamma), codes)


def test_original_windows_are_as_long_as_names_say(tmp_path):
    names = ("train/GOPR0372_07_00", "train/GOPR0374_11_00", "train/GOPR0378_13_00")
    source = gopro_tree(tmp_path / "in", 26, names)
    recipe = replace(GOPRO, averaging=Averaging(average=0))
    build(recipe, source, tmp_path / "set")
    starts = {}
    for record in read_index(tmp_path / "set"):
        starts.setdefault((record.source[4:8], record.averaged), []).append(record.start)
    assert starts == {("0372", 7): [0, 7, 14], ("0374", 11): [0, 11], ("0378", 13): [0, 13]}


def test_dense_windows_average_what_they_say(tmp_path):
    """Where nothing can be mistaken, 128 instants are those of a line integral."""
    ramp = np.tile(np.linspace(40, 200, 96)[None, :, None], (64, 1, 3))
    frames = [np.uint8(np.rint(ramp + 1.25 * i)) for i in range(9)]
    write_frames(tmp_path / "in" / "clip", frames)
    recipe = replace(
        DATASET_RECIPES["video"], averaging=Averaging(128, factor=32, interpolate="flow")
    )
    build(recipe, tmp_path / "in", tmp_path / "set")
    records = read_index(tmp_path / "set")
    assert [record.averaged for record in records] == [128, 128]
    assert [record.start for record in records] == [0, 4]
    sample, _ = read_sample(tmp_path / "set", records[0])
    times = np.arange(128) / 32
    blur = encoded(np.mean([light(ramp + 1.25 * t) for t in times], axis=0)).astype(int)
    inner = (slice(8, -8), slice(12, -12))
    assert np.abs(sample.photo - blur)[inner].max() <= 3
    # Seven, evenly: 0, 127/6 … 127 of 128 instants.
    for frame, place in zip(sample.frames, np.round(np.linspace(0, 127, 7)), strict=True):
        assert np.abs(frame - (ramp + 1.25 * place / 32))[inner].max() <= 3


def test_largest_step_decides_how_many_frames_are_put_between(tmp_path):
    for name, speed in (("slow", 1), ("fast", 3)):
        write_frames(tmp_path / "in" / name, panning(8, speed))
    how = Averaging(max_step=1.5, interpolate="flow")
    build(replace(DATASET_RECIPES["video"], averaging=how), tmp_path / "in", tmp_path / "set")
    averaged = {record.source: record.averaged for record in read_index(tmp_path / "set")}
    assert averaged["slow"] == 7
    assert averaged["fast"] >= 13 and (averaged["fast"] - 1) % 6 == 0
    bounded = replace(how, max_step=0.01, max_factor=2)
    build(replace(DATASET_RECIPES["video"], averaging=bounded), tmp_path / "in", tmp_path / "two")
    assert {record.averaged for record in read_index(tmp_path / "two")} == {13}


def test_frames_are_cut_about_the_middle_and_shrunk():
    frame = texture(1, 90, 160)
    fitted = fit_frame(frame, (36, 48))  # 4:3 out of 16:9
    expected = cv2.resize(frame[:, 20:140], (48, 36), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(fitted, expected)
    with pytest.raises(InputError, match="not enlarged"):
        fit_frame(frame, (100, 160))


def test_what_cannot_be_averaged_is_refused():
    for settings in (
        {"frames": 6},
        {"frames": 1},
        {"average": 5},
        {"gamma": 9.0},
        {"max_step": 1.0},
        {"max_step": -1.0, "interpolate": "flow"},
        {"factor": 4},
        {"interpolate": "foo"},
    ):
        with pytest.raises(InputError):
            Averaging(**settings)


# --- other recipes -------------------------------------------------------------------------------


@pytest.fixture
def monkaa(tmp_path):
    return monkaa_scene(tmp_path / "monkaa", "eating_x2", panning(6, 8), (8.0, 2.0, 100.5))


def monkaa_scene(root, name, frames, lengths):
    """A scene of Monkaa: frames, and flows to the left by these lengths."""
    write_frames(root / "frames_cleanpass" / name / "left", frames, "{:04d}.png")
    flows = root / "optical_flow" / name / "into_future" / "left"
    flows.mkdir(parents=True)
    for index, length in enumerate(lengths):
        flow = np.zeros((64, 96, 2), np.float32)
        flow[..., 0] = -length
        write_pfm(flows / f"OpticalFlowIntoFuture_{index:04d}_L.pfm", flow)
    return root


def test_monkaa_puts_as_many_frames_between_as_things_move(monkaa, tmp_path):
    out = tmp_path / "set"
    result = build(DATASET_RECIPES["monkaa"], monkaa, out)
    records = read_index(out)
    # n = max(|s|, 5) between the two: 8 + 2 and 5 + 2.
    assert [record.averaged for record in records] == [10, 7]
    assert result.left_out == 1 and "100" in (out / "skipped.jsonl").read_text()
    assert result.skipped == 2 and "does not exist" in skips(out)[1].reason
    sample, guidance = read_sample(out, records[0])
    assert records[0].flow_grid == "first" and records[0].flow_from == "given"
    np.testing.assert_array_equal(sample.flow[..., 0], -8)
    np.testing.assert_array_equal(guidance, from_flow(to_middle_grid(sample.flow)))
    assert list(check(out)) == []


def test_flow_that_is_not_known_is_no_long_way(monkaa, tmp_path):
    path = next(monkaa.glob("optical_flow/*/into_future/left/*0001_L.pfm"))
    flow = np.full((64, 96, 2), 2.0, np.float32)
    flow[3, 4] = np.nan
    write_pfm(path, flow)
    assert build(DATASET_RECIPES["monkaa"], monkaa, tmp_path / "set")[:2] == (1, 1)
    (unknown,) = (skip for skip in skips(tmp_path / "set") if skip.number == 1)
    assert not unknown.meant and "frame 0001 is not known everywhere" in unknown.reason


def test_flow_to_a_frame_that_was_left_out_is_of_no_use(monkaa, tmp_path):
    folder = monkaa / "frames_cleanpass" / "eating_x2" / "left"
    shutil.rmtree(folder)
    write_frames(folder, panning(8, 8), "{:04d}.png", step=2)
    result = build(DATASET_RECIPES["monkaa"], monkaa, tmp_path / "set")
    assert result.samples == 0
    assert "missing before 0002.png" in skips(tmp_path / "set")[0].reason


def test_dvds_pairs_are_taken_as_they_are(tmp_path):
    inner = tmp_path / "in" / "quantitative_datasets" / "clip_1"
    for kind, seed in (("input", 1), ("GT", 2)):
        pictures = [texture(seed + index, 32, 48) for index in range(3)]
        write_frames(inner / kind, pictures, "{:05d}.png")
    (inner / "input" / "00002.png").unlink()
    result = build(DATASET_RECIPES["dvd"], tmp_path / "in", tmp_path / "set")
    assert result.samples == 2 and result.skipped == 1
    record = read_index(tmp_path / "set")[0]
    sample, guidance = read_sample(tmp_path / "set", record)
    assert sample.flow is None and guidance is None and record.frames == 1
    assert list(check(tmp_path / "set")) == []


@pytest.mark.parametrize("name", ["rotation", "panorama"])
def test_camera_turns_in_images(tmp_path, name):
    folder = tmp_path / "in"
    for split in ("train", "test"):
        write_frames(folder / split, [texture(n, 96, 192) for n in range(2)], split + "{}.jpg")
    rotation = RotationConfig(size=32, blur=(2.0, 6.0), angle=4.0)
    recipe = replace(DATASET_RECIPES[name], rotation=rotation, count=9)
    assert build(recipe, folder, tmp_path / "set") == (9, 0, 0)
    records = read_index(tmp_path / "set")
    assert {record.flow_from for record in records} == {"exact"}
    assert {record.source: record.split for record in records} == {
        "train0": "train", "train1": "train", "test0": "test", "test1": "test",
    }  # fmt: skip
    assert list(check(tmp_path / "set")) == []


def test_an_ordinary_photo_is_no_panorama(tmp_path):
    write_frames(tmp_path / "in", [texture(0, 60, 80)], "a{}.jpg")
    result = build(replace(DATASET_RECIPES["panorama"], count=2), tmp_path / "in", tmp_path / "set")
    reason = skips(tmp_path / "set")[0].reason
    assert result.samples == 0 and "twice as wide" in reason and "a0.jpg" in reason


def test_photos_are_not_enlarged(tmp_path):
    for name, side in (("large", 48), ("small", 20)):
        write_frames(tmp_path / "in" / "train", [texture(0, side, 64)], name + ".png")
    recipe = replace(DATASET_RECIPES["rotation"], rotation=RotationConfig(size=32), count=4)
    assert build(recipe, tmp_path / "in", tmp_path / "set") == (2, 0, 2)
    assert {record.source for record in read_index(tmp_path / "set")} == {"large"}
    assert "small.png is 64x20: photos are not enlarged" in skips(tmp_path / "set")[0].reason


def test_scenes_of_all_splits_without_any_source(tmp_path):
    assert build(SMALL_SCENES, None, tmp_path / "set").samples == 12
    splits = [record.split for record in read_index(tmp_path / "set")]
    assert (splits.count("train"), splits.count("val"), splits.count("test")) == (10, 1, 1)
    assert list(check(tmp_path / "set")) == []


def official_trees(root):
    """Each data set as it is given out, in small; and how many samples come of it."""
    frames = panning(11)
    write_frames(root / "reds" / "train" / "000", frames, "{:08d}.png")
    write_frames(root / "nfs" / "ball" / "240" / "ball", frames, "{:05d}.jpg")
    (root / "aist" / "splits").mkdir(parents=True)
    write_mp4(root / "aist" / "gBR_sBM_c01_d04_mBR0_ch01.mp4", frames, 60)
    (root / "aist" / "splits" / "pose_test.txt").write_text("gBR_sBM_cAll_d04_mBR0_ch01\n")
    (root / "dvd" / "original_high_fps_videos").mkdir(parents=True)
    write_mp4(root / "dvd" / "original_high_fps_videos" / "IMG_0001.mp4", frames, 240)
    gopro_tree(root / "genblur", 9)
    return {"reds": 2, "nfs": 1, "aist": 2, "dvd": 1, "genblur": 4}


def test_every_official_layout_becomes_a_data_set(tmp_path):
    for recipe, count in official_trees(tmp_path).items():
        given = ["--recipe", recipe, "--source", tmp_path / recipe, "--workers", 1]
        given += ["--size", "64x48"] if recipe in ("aist", "genblur") else []
        out = tmp_path / "sets" / recipe
        assert run("data", "build", *given, "-o", out) == 0
        records = read_index(out)
        assert len(records) == count and list(check(out)) == []
        dense = {"reds": (80, 5, 120), "aist": (128, 4, 60), "genblur": (128, 4, 240)}
        averaged, step, fps = dense.get(recipe, (7, 7, 240))
        for place, record in enumerate(record for record in records if record.number < 2):
            assert (record.averaged, record.frames) == (averaged, 7)
            assert record.start == place * step and record.fps == fps
            factor = 32 if averaged == 128 else 16 if averaged == 80 else 1
            assert record.exposure == pytest.approx((averaged - 1) / factor / fps)
    assert read_index(tmp_path / "sets" / "genblur")[0].width == 64


# --- going on ------------------------------------------------------------------------------------


def test_a_second_run_does_nothing(built, gopro):
    out, first = built
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.name != ".lock"}
    assert build(GOPRO, gopro, out) == first
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.parametrize(
    "gone", ["sharp/00000002_004.png", "blur/00000005.png", "flow/00000001.flo", "guidance"]
)
def test_files_that_are_gone_are_made_again(built, gopro, tmp_path, gone):
    out = Path(shutil.copytree(built[0], tmp_path / "set"))
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*")}
    shutil.rmtree(out / gone) if gone == "guidance" else (out / gone).unlink()
    assert build(GOPRO, gopro, out) == built[1]
    assert contents(out) == contents(built[0])
    if gone != "guidance":
        number = gone.partition("/")[2][:8]
        assert all(
            path.stat().st_mtime_ns == time
            for path, time in before.items()
            if number not in path.name
        )


def test_processes_give_the_same_bytes_and_may_be_killed(built, gopro, tmp_path):
    ended = threading.Event()

    def kill():
        # Not before both are there: Python's pool waits for ever for one that it begins just then.
        while not ended.wait(0.01):
            if len(workers := multiprocessing.active_children()) == 2:
                ended.wait(0.3)
                workers[0].kill()
                return

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(OutputError, match="worker was killed"):
        build(GOPRO, gopro, tmp_path / "two", workers=2)
    ended.set()
    killer.join()
    build(GOPRO, gopro, tmp_path / "two", workers=2)
    assert contents(tmp_path / "two") == contents(built[0])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists the processes that live")
def test_workers_do_not_outlive_a_kill(gopro, tmp_path):
    out = tmp_path / "set"
    code = (
        "import sys, multiprocessing\n"
        "from b2m.data.build import build\n"
        "from b2m.data.recipes import DATASET_RECIPES\n"
        "if __name__ == '__main__':\n"
        "    build(DATASET_RECIPES['gopro'], sys.argv[1], sys.argv[2], workers=2)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    process = subprocess.Popen(
        [sys.executable, str(script), str(gopro), str(out)], stderr=subprocess.DEVNULL
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    workers = []
    while process.poll() is None and len(workers) < 2:
        workers = [
            int(pid)
            for pid in children.read_text().split()
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        time.sleep(0.02)
    time.sleep(2)  # until they have begun
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    left = [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    assert workers and not left


@pytest.mark.parametrize(
    ("error", "raised", "said"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt, ""),
        (OSError(28, "No space left on device"), OutputError, "disk is full"),
    ],
)
def test_what_is_stopped_and_started_again_ends_the_same(
    built, gopro, tmp_path, monkeypatch, error, raised, said
):
    write, calls, out = engines.write_sample, [], tmp_path / "set"

    def stopped(*given):
        calls.append(given)
        if len(calls) == 5:
            raise error
        write(*given)

    monkeypatch.setattr(engines, "write_sample", stopped)
    with pytest.raises(raised, match=said):
        build(GOPRO, gopro, out)
    monkeypatch.undo()
    assert (out / ".progress.jsonl").read_text().count("\n") == 4
    assert not (out / "index.jsonl").exists()
    # As a process that is killed leaves them.
    (out / "blur" / ".00000003.abcd.png").write_bytes(b"left over")
    (out / ".index.0123abcd.jsonl").write_bytes(b"left over")
    with (out / ".progress.jsonl").open("a") as stream:
        stream.write('{"number": 5, "torn')
    assert build(GOPRO, gopro, out) == built[1]
    assert contents(out) == contents(built[0])


def test_a_mended_source_joins_what_there_is(tmp_path):
    """A video that cannot be opened, one that is cut off, and frames that are missing."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for source in (whole, broken):
        source.mkdir()
        for name in ("a", "b", "d"):
            write_mp4(source / f"{name}.mp4", panning(30), 30)
        write_frames(source / "c", panning(30), "{:03d}.png")
    data = (whole / "a.mp4").read_bytes()
    (broken / "a.mp4").write_bytes(data[: len(data) // 3])  # its table is at the beginning
    (broken / "b.mp4").write_bytes(data[40:])
    (broken / "c" / "010.png").unlink()
    (broken / "c" / "029.png").unlink()
    first = build(DATASET_RECIPES["video"], broken, tmp_path / "set")
    assert first.skipped >= 3
    before = contents(tmp_path / "set")
    listed = {skip.source for skip in skips(tmp_path / "set")}
    assert listed == {"a", "b", "c"}
    shutil.rmtree(broken)
    shutil.copytree(whole, broken)
    assert build(DATASET_RECIPES["video"], broken, tmp_path / "set") == (16, 0, 0)
    after = contents(tmp_path / "set")
    changed = {name for name, data in before.items() if after.get(name) != data}
    assert changed == {"index.jsonl", "skipped.jsonl", "sources.jsonl"}
    assert list(check(tmp_path / "set")) == []
    build(DATASET_RECIPES["video"], whole, tmp_path / "at once")
    found = [
        {
            (record.source, record.start): (tmp_path / name / record.blur).read_bytes()
            for record in read_index(tmp_path / name)
        }
        for name in ("set", "at once")
    ]
    assert found[0] == found[1] and len(found[0]) == 16


def test_a_source_may_be_added_but_none_taken_away(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    write_mp4(source / "b.mp4", panning(15), 30)
    assert build(DATASET_RECIPES["video"], source, tmp_path / "set").samples == 2
    before = contents(tmp_path / "set")
    write_mp4(source / "a.mp4", panning(15), 30)
    assert build(DATASET_RECIPES["video"], source, tmp_path / "set").samples == 4
    after = contents(tmp_path / "set")
    assert [record.source for record in read_index(tmp_path / "set")] == ["b", "b", "a", "a"]
    assert after["index.jsonl"].startswith(before.pop("index.jsonl"))
    assert after["sources.jsonl"].startswith(before.pop("sources.jsonl"))
    assert before.items() <= after.items()
    (source / "b.mp4").unlink()
    with pytest.raises(InputError, match="b is missing; put it back"):
        build(DATASET_RECIPES["video"], source, tmp_path / "set")
    assert contents(tmp_path / "set") == after


def test_a_licence_is_applied_to_what_is_built(gopro, tmp_path):
    out = tmp_path / "set"
    first = build(GOPRO, gopro, out)
    before = contents(out)
    assert build(GOPRO, gopro, out, licence="ask the author") == first
    assert {record.licence for record in read_index(out)} == {"ask the author"}
    after = contents(out)
    assert {name for name in before if before[name] != after[name]} == {
        "dataset.json",
        "index.jsonl",
    }
    assert build(GOPRO, gopro, out) == first  # remembered
    assert contents(out) == after


def test_each_frame_of_a_video_is_decoded_about_once(tmp_path, monkeypatch):
    source = tmp_path / "in"
    source.mkdir()
    with av.open(str(source / "long.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=240, options={"g": "50"})
        stream.width, stream.height = 96, 64
        for frame in panning(700):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    decoded = []

    def counted(time, *given):
        decoded.append(time)
        return number(time, *given)

    number = footage._frame_number
    monkeypatch.setattr(footage, "_frame_number", counted)
    recipe = DATASET_RECIPES["video"]
    offers, _ = plan_sources(recipe, source)
    tasks = list(tasks_of(recipe, offers[0], 0, 0, 100, lambda number: False))
    assert 4 <= len(tasks) <= 7  # for several cores
    assert [start for task in tasks for start in task.starts] == list(range(0, 700, 7))
    keys = offers[0].footage.keyframes
    for task in tasks[1:]:
        assert any(task.starts[0] - 7 < key <= task.starts[0] for key in keys)
    read = [made for task in tasks for made in make(recipe, task)]
    assert len(read) == 100 and all(record.start % 7 == 0 for record, _ in read)
    assert 700 <= len(decoded) <= 700 + 14 * len(tasks)


def test_a_build_forgets_what_it_has_written(tmp_path):
    """Of four thousand lines of a kilobyte memory holds a few bytes each."""
    lines = 4_000
    ledger = BuildProgress(tmp_path, lines)
    ledger.begin()
    line = {"source": "a" * 900, "meant": True}
    tracemalloc.start()
    try:
        numbers = np.random.default_rng(0).permutation(lines).tolist()
        results = ([{"number": number} | line] for number in numbers)
        assert sum(ledger.append(results)) == lines == ledger.done
        assert ledger.finish([], None) == (lines, 0, 0)
        assert tracemalloc.get_traced_memory()[1] < 1e6  # the numbers of this test among it
    finally:
        tracemalloc.stop()
    found = [row["number"] for row in map(json.loads, (tmp_path / "index.jsonl").open())]
    assert found == list(range(lines))


def test_scenes_name_their_photos_and_licences(tmp_path):
    pack = tmp_path / "pack"
    rows = []
    for kind, suffix in (("photos", "jpg"), ("cutouts", "png")):
        for place, split in enumerate(("train", "val", "test")):
            (pack / kind / split).mkdir(parents=True)
            path = pack / kind / split / f"{kind}{place}.{suffix}"
            Image.fromarray(texture(place, 64, 64)).save(path)
            rows.append({"path": str(path.relative_to(pack)), "licence": f"{kind} of {split}"})
    (pack / "index.json").write_text(json.dumps(rows))
    recipe = replace(SMALL_SCENES, count=20)
    assert build(recipe, pack, tmp_path / "set") == (20, 0, 0)
    seen = set()
    for record in read_index(tmp_path / "set"):
        named = [name.partition("#")[0] for name in record.made_from]
        digests = [hashlib.sha256((pack / name).read_bytes()).hexdigest()[:16] for name in named]
        assert record.made_from == tuple(map("#".join, zip(named, digests, strict=True)))
        assert named[0].startswith("photos/") and all(record.split in name for name in named)
        kinds = sorted({f"{name.split('/')[0]} of {record.split}" for name in named})
        assert record.licence == "; ".join(kinds)
        seen.update(named)
    assert len(seen) >= 4
    assert list(check(tmp_path / "set")) == []
    # One picture in two splits, whatever it is called: refused, and found where it was not.
    shutil.copy(pack / "photos" / "train" / "photos0.jpg", pack / "photos" / "test" / "other.jpg")
    with pytest.raises(InputError, match="are one picture"):
        build(recipe, pack, tmp_path / "other")
    lines = (tmp_path / "set" / "index.jsonl").read_text().splitlines()
    last, first = json.loads(lines[-1]), json.loads(lines[0])
    last["made_from"] = [first["made_from"][0].replace("photos/train/photos0", "photos/test/x")]
    (tmp_path / "set" / "index.jsonl").write_text("\n".join([*lines[:-1], json.dumps(last)]) + "\n")
    (said,) = check(tmp_path / "set")
    assert said == (
        "the source photos/test/x.jpg or photos/train/photos0.jpg is in the splits test and train"
    )


def test_videos_of_a_pack_bring_their_licences(tmp_path):
    (tmp_path / "pack" / "video" / "train").mkdir(parents=True)
    write_mp4(tmp_path / "pack" / "video" / "train" / "a.mp4", panning(7), 30)
    rows = [{"path": "video/train/a.mp4", "licence": "Apache-2.0"}]
    (tmp_path / "pack" / "index.json").write_text(json.dumps(rows))
    build(DATASET_RECIPES["video"], tmp_path / "pack" / "video", tmp_path / "set")
    assert [record.licence for record in read_index(tmp_path / "set")] == ["Apache-2.0"]


def test_the_folder_one_stands_in_is_a_source_like_any_other(tmp_path, monkeypatch):
    for split in ("train", "val", "test"):
        write_frames(tmp_path / "in" / split, [texture(len(split), 64, 64)], split + ".png")
    monkeypatch.chdir(tmp_path / "in")
    build(replace(SMALL_SCENES, count=4), ".", tmp_path / "set")
    assert {record.made_from[0][:9] for record in read_index(tmp_path / "set")} == {"train/tra"}


def test_two_builds_at_once_are_told_apart(gopro, tmp_path):
    (tmp_path / "set").mkdir()
    with building._locked(tmp_path / "set"), pytest.raises(OutputError, match="another"):
        # A lock counts between processes; within one, another object stands for it.
        build(GOPRO, gopro, tmp_path / "set")


def test_other_settings_or_sources_need_another_folder(built, gopro, tmp_path):
    (tmp_path / "diary.txt").write_text("dear")
    with pytest.raises(InputError, match=r"diary\.txt"):
        build(GOPRO, gopro, tmp_path)
    with pytest.raises(InputError, match="other settings"):
        build(replace(GOPRO, averaging=Averaging(gamma=2.2)), gopro, built[0])
    with pytest.raises(InputError, match="other sources"):
        build(GOPRO, gopro, built[0], split="2021b")


def test_a_folder_of_an_earlier_version_goes_on(built, gopro, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(built[0], folder)
    settings = folder / "dataset.json"
    settings.write_text(settings.read_text("utf-8").replace('"max_factor"', '"most"'), "utf-8")
    assert '"most"' in settings.read_text("utf-8")
    assert build(GOPRO, gopro, folder).samples == len(read_index(built[0]))


# --- what is wrong is skipped --------------------------------------------------------------------


def test_bad_frames_cost_only_their_windows(tmp_path):
    source = gopro_tree(tmp_path / "in")
    folder = source / "train" / "GOPR0374_11_00"
    good = (folder / "000009.png").read_bytes()
    (folder / "000009.png").write_bytes(good[:100])
    result = build(GOPRO, source, tmp_path / "set")
    assert result.samples == 7
    assert "000009.png is damaged" in skips(tmp_path / "set")[0].reason
    listed = [json.loads(line) for line in (tmp_path / "set" / "skipped.jsonl").open()]
    assert [line["number"] for line in listed] == [1]
    # Mended, the next run makes just that one, and nothing is listed any more.
    (folder / "000009.png").write_bytes(good)
    assert build(GOPRO, source, tmp_path / "set") == (8, 0, 0)
    assert not (tmp_path / "set" / "skipped.jsonl").exists()
    assert list(check(tmp_path / "set")) == []


@pytest.mark.parametrize("harm", ["truncated", "emptied", "enlarged"])
def test_a_bad_first_frame_costs_only_its_window(tmp_path, harm):
    folder = tmp_path / "in" / "clip"
    write_frames(folder, panning(22))
    first = folder / "000000.png"
    if harm == "enlarged":
        Image.fromarray(texture(0, 70, 100)).save(first)
    else:
        first.write_bytes(first.read_bytes()[: 100 if harm == "truncated" else 0])
    assert build(DATASET_RECIPES["video"], tmp_path / "in", tmp_path / "set") == (2, 0, 1)
    assert [record.start for record in read_index(tmp_path / "set")] == [7, 14]
    assert "000000.png" in skips(tmp_path / "set")[0].reason


def test_bad_sources_are_listed_and_the_rest_is_made(tmp_path, capsys):
    source = tmp_path / "in"
    source.mkdir()
    write_mp4(source / "good.mp4", panning(15), 30)
    write_mp4(source / "short.mp4", panning(5), 30)
    (source / "broken.mp4").write_bytes(b"no video")
    cut = (source / "good.mp4").read_bytes()
    (source / "cut.mp4").write_bytes(cut[: len(cut) * 2 // 3])
    command = ["data", "build", "--recipe", "video", "--source", source, "--workers", 1]
    assert run(*command, "-o", tmp_path / "set") == 1
    said = capsys.readouterr()
    assert "samples" in said.out
    assert "short.mp4 has 5 frames: 7 are needed" in said.err
    assert "broken.mp4 is not a video" in said.err
    assert "cut.mp4 is damaged or truncated" in said.err
    records = read_index(tmp_path / "set")
    assert [r.start for r in records if r.source == "good"] == [0, 7]
    assert list(check(tmp_path / "set")) == []


def test_footage_of_another_rate_is_not_of_the_recipe(tmp_path):
    (tmp_path / "in").mkdir()
    write_mp4(tmp_path / "in" / "slow.mp4", panning(15), 30)
    result = build(replace(DATASET_RECIPES["dvd"]), tmp_path / "in", tmp_path / "set")
    assert result.skipped == 1
    reason = skips(tmp_path / "set")[0].reason
    assert "30 frames per second" in reason and "--fps 30" in reason


# --- check ---------------------------------------------------------------------------------------


@pytest.fixture
def copy(built, tmp_path):
    return Path(shutil.copytree(built[0], tmp_path / "copy"))


def test_check_finds_each_kind_of_harm(copy):
    (copy / "sharp" / "00000000_003.png").unlink()
    blur = np.asarray(Image.open(copy / "blur" / "00000001.png"))
    Image.fromarray(np.clip(blur.astype(int) + 3, 0, 255).astype(np.uint8)).save(
        copy / "blur" / "00000001.png"
    )
    os.replace(copy / "guidance" / "00000007.png", copy / "guidance" / "00000002.png")
    flow = (copy / "flow" / "00000003.flo").read_bytes()
    (copy / "flow" / "00000003.flo").write_bytes(flow[:-8])
    Image.fromarray(blur[:-1]).save(copy / "blur" / "00000004.png")
    (copy / "blur" / "stray.png").write_bytes(b"")
    lines = (copy / "index.jsonl").read_text().splitlines()
    other = json.loads(lines[6]) | {"split": "train"}
    (copy / "index.jsonl").write_text("\n".join([*lines[:6], json.dumps(other), lines[7]]) + "\n")
    said = "\n".join(check(copy))
    for part in (
        "00000000_003.png does not exist",
        "sample 1: the mean of its frames is not its photo",
        "sample 2: guidance is not that of the flow",
        "00000003.flo is truncated",
        "00000004.png is 96x63",
        "blur/stray.png belongs to no sample",
        "GOPR0384_11_00 is in the splits test and train",
        "sample 7",
    ):
        assert part in said, part


# --- the command line ----------------------------------------------------------------------------


def test_commands_from_source_to_picture(gopro, tmp_path, capsys):
    pytest.importorskip("pyarrow", reason="pyarrow, which writes Parquet, is not installed")
    out = tmp_path / "set"
    command = ["data", "build", "--recipe", "gopro", "--source", gopro, "-o", out]
    assert run(*command, "--split", "2021b", "--workers", 1, "--parquet") == 0
    assert run("data", "check", out) == 0
    assert "all is well with 8 samples" in capsys.readouterr().out
    assert run("data", "preview", out, "-o", tmp_path / "sheet.png", "--count", 3) == 0
    assert np.asarray(Image.open(tmp_path / "sheet.png")).shape[2] == 3
    (out / "blur" / "00000000.png").unlink()
    assert run("data", "check", out) == 1


def test_parquet_holds_the_index_and_grows_with_it(tmp_path):
    parquet = pytest.importorskip(
        "pyarrow.parquet", reason="pyarrow, which reads Parquet, is not installed"
    )
    write_frames(tmp_path / "in" / "a", panning(7))
    out = tmp_path / "set"
    command = ["data", "build", "--recipe", "video", "--source", tmp_path / "in", "-o", out]
    assert run(*command, "--workers", 1, "--parquet") == 0
    write_frames(tmp_path / "in" / "b", panning(7, 2))
    assert run(*command, "--workers", 1) == 0
    rows = parquet.read_table(out / "index.parquet").to_pylist()
    assert [(row["number"], row["source"]) for row in rows] == [(0, "a"), (1, "b")]
    assert rows[0]["sharp"] == [f"sharp/00000000_{n:03d}.png" for n in range(7)]
    assert (out / rows[1]["blur"]).is_file()
    before = (out / "index.parquet").stat().st_mtime_ns
    assert run(*command, "--workers", 1, "--parquet") == 0
    assert (out / "index.parquet").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--recipe", "holiday"], "choose from"),
        (["--recipe", "scenes", "--window", "7"], "--window means nothing"),
        (["--recipe", "gopro", "--count", "7"], "--count means nothing"),
        (["--recipe", "gopro", "--window", "many"], "--window is many"),
        (["--recipe", "gopro", "--size", "9"], "--size is 9"),
        (["--recipe", "scenes", "--size", "64x32"], "square"),
        (["--recipe", "scenes", "--workers", "0"], "--workers"),
        (["--recipe", "scenes", "--blur", "9"], "as in 2-32"),
        (["--recipe", "scenes", "--blur", "9-4"], "smaller number first"),
        (["--recipe", "gopro", "--blur", "4-9"], "--blur means nothing"),
    ],
)
def test_commands_that_cannot_be_meant(tmp_path, capsys, arguments, said):
    assert run("data", "build", *arguments, "-o", tmp_path / "set") == 2
    assert said in capsys.readouterr().err


def test_rendered_samples_take_their_settings(tmp_path):
    given = ["--count", 3, "--size", 32, "--blur", "2-4", "--frames", 3, "--workers", 1]
    assert run("data", "build", "--recipe", "scenes", *given, "-o", tmp_path / "set") == 0
    records = read_index(tmp_path / "set")
    assert [(one.width, one.frames) for one in records] == [(32, 3)] * 3
    longest = [
        np.linalg.norm(read_sample(tmp_path / "set", one)[0].flow, axis=-1).max() for one in records
    ]
    assert max(longest) < 8  # paths from the middle outwards; what bends goes a little farther


def test_a_source_is_needed(tmp_path, capsys):
    assert run("data", "build", "--recipe", "gopro", "-o", tmp_path / "set") == 1
    assert "needs a source" in capsys.readouterr().err
