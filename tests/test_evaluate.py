"""Tables against answers whose scores are known, and windows of clips against plain loops."""

from __future__ import annotations

import json
import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_pictures import light, psnr, srgb

from b2m import evaluate as evaluation
from b2m.assets import examples, results
from b2m.blur import average_frames, linear_to_srgb8
from b2m.data import clips, textures
from b2m.data.sample import Sample
from b2m.data.scenes import SceneConfig, render
from b2m.data.sensor import simulate_sensor
from b2m.data.swept import swept_mask
from b2m.data.textures import load_textures
from b2m.errors import InputError
from b2m.evaluate import methods
from b2m.evaluate.methods import (
    FREE,
    FREE_ENSEMBLE,
    GIVEN,
    GIVEN_ENSEMBLE,
    PROJECTED,
    REVERSED,
    Method,
    animator_methods,
    enlarged_methods,
    large_methods,
    measure_costs,
)
from b2m.evaluate.report import (
    any_earlier,
    command_line,
    grouped_markdown,
    report_of,
    with_earlier,
    with_other_methods,
    write_report,
)
from b2m.evaluate.scoring import PHOTO, Prediction
from b2m.evaluate.table import Options, Table
from b2m.evaluate.tables import animator as evaluate_animator
from b2m.evaluate.tables import video as evaluate_video
from b2m.guidance.quantize import from_flow
from b2m.inference.animator import BlurAnimator
from b2m.media import video
from b2m.models.animator import MotionAnimator, MotionAnimatorConfig

pytestmark = pytest.mark.usefixtures("few_textures")
SIZE = 32
WAYS = (PHOTO, GIVEN, REVERSED, FREE, GIVEN_ENSEMBLE, FREE_ENSEMBLE, PROJECTED)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A folder with one clip: a square that goes to the right by 2 px a frame, over noise."""
    random = np.random.default_rng(0)
    behind = random.integers(40, 120, (80, 112, 3), np.uint8).repeat(2, 0).repeat(2, 1)[:80, :112]
    square = random.integers(150, 250, (12, 12, 3), np.uint8).repeat(2, 0).repeat(2, 1)
    frames = np.stack([behind] * 33)
    for index, frame in enumerate(frames):
        frame[28:52, 6 + 2 * index : 30 + 2 * index] = square
    folder = tmp_path_factory.mktemp("clips")
    video.write_mp4(folder / "square.mp4", frames, 30)
    return folder


@pytest.fixture
def cheap(monkeypatch):
    """Scenes and costs of a size for tests."""
    monkeypatch.setattr(Table, "size", SIZE)
    monkeypatch.setattr(methods, "measure_cost", lambda *_: (1.0, 2.0))


def scenes_rows(compared, samples, size=SIZE, seed=0):
    """Rows of the table of scenes, at a size for tests."""
    table = type("Small", (evaluate_animator.ScenesTable,), {"size": size})
    return table(Options(samples=samples, seed=seed), compared).compute()


def clips_rows(compared, folder, samples=None):
    """Rows and notes of the table of clips."""
    table = evaluate_animator.ClipsTable(Options(samples=samples, clips=folder), compared)
    return table.compute(), table.notes()


def counting(function, calls):
    """The same function, which notes that it was called."""

    def counted(*arguments):
        calls.append(arguments)
        return function(*arguments)

    return counted


def by_name(rows):
    return {row["name"]: row for row in rows}


def first_scenes(kind, seed=0):
    """The first batch of a kind, as the table renders it, on procedural textures."""
    both = load_textures(None, "test"), load_textures(None, "test", cutouts=True)
    config = SceneConfig(size=SIZE, blur=Table.blur, kind=kind)
    number = ((2 * seed + ("movers", "camera").index(kind)) << 20) + 0
    scenes = render(*both, config, 8, number)
    return scenes, simulate_sensor(scenes.photo, number)


def to_bytes(tensor):
    return np.rint(tensor.clamp(0, 1).numpy() * 255).astype(np.uint8)


# --- scenes ---------------------------------------------------------------------------------------


def test_photo_repeated_is_what_a_loop_computes():
    found = scenes_rows([], 6)
    assert found != scenes_rows([], 6, seed=1)
    rows = by_name(found)
    both = {"psnr": [], "epe": []}
    for kind in ("movers", "camera"):
        scenes, photo = first_scenes(kind)
        table = np.array(
            [
                [psnr(to_bytes(photo[i]), to_bytes(frame)) for frame in scenes.frames[i]]
                for i in range(3)
            ]
        )
        lengths = scenes.flow[:3].norm(dim=1).mean().item()
        row = rows[f"{kind}: {PHOTO}"]
        assert row["samples"] == 3
        assert row["psnr"] == pytest.approx(table.mean(), abs=1e-4)
        assert row["psnr_std"] == pytest.approx(table.mean(1).std(), abs=1e-4)
        assert row["first"] == pytest.approx(table[:, 0].mean(), abs=1e-4)
        assert row["middle"] == pytest.approx(table[:, 3].mean(), abs=1e-4)
        assert row["last"] == pytest.approx(table[:, 6].mean(), abs=1e-4)
        others = np.delete(table, 3, 1).mean()
        assert row["non_middle"] == pytest.approx(others, abs=1e-4)
        assert row["epe"] == row["epe_zero"] == pytest.approx(lengths, rel=1e-4)
        assert row["epe_ratio"] == 1
        assert row["gain"] == row["gain_least_frame"] == 0
        both["psnr"].append(row["psnr"])
        both["epe"].append(row["epe"])
    everything = rows[f"all: {PHOTO}"]
    assert everything["samples"] == 6
    assert everything["psnr"] == pytest.approx(np.mean(both["psnr"]))
    assert everything["epe"] == pytest.approx(np.mean(both["epe"]))


def test_the_truth_scores_best_and_its_reverse_needs_the_better_order():
    known = {}
    for kind in ("movers", "camera"):
        scenes, photo = first_scenes(kind)
        for i, seen in enumerate(photo):
            pixels = np.ascontiguousarray(to_bytes(seen).transpose(1, 2, 0))
            frames = to_bytes(scenes.frames[i]).transpose(0, 2, 3, 1)
            flow = scenes.flow[i].permute(1, 2, 0).numpy()
            known[pixels.tobytes()] = frames, flow

    def truth(sample):
        frames, flow = known[sample.photo.tobytes()]
        assert len(sample.frames) == 7
        np.testing.assert_array_equal(methods.true_guidance(sample), from_flow(flow))
        return [Prediction(frames, flow)]

    def backwards(sample):
        (clip,) = truth(sample)
        return [Prediction(clip.frames[::-1], -clip.flow)]

    compared = [
        Method("truth", truth),
        Method("backwards", backwards),
        Method("backwards, better order", backwards, order_invariant=True),
    ]
    rows = by_name(scenes_rows(compared, 4))
    for kind in ("movers", "camera", "all"):
        best, wrong = rows[f"{kind}: truth"], rows[f"{kind}: backwards"]
        assert best["psnr"] == best["psnr_given"] == best["psnr_better"] == 100
        assert best["ssim"] == pytest.approx(1)
        assert best["epe"] == best["epe_ratio"] == 0
        assert best["gain"] == pytest.approx(100 - rows[f"{kind}: {PHOTO}"]["psnr"])
        assert best["gain_least_frame"] > 10
        assert wrong["psnr"] == wrong["psnr_given"] < 100 == wrong["psnr_better"]
        assert wrong["middle"] == 100
        assert wrong["epe_ratio"] == pytest.approx(2)
        saved = rows[f"{kind}: backwards, better order"]
        assert {**saved, "name": None, "psnr_given": None} == {
            **best, "name": None, "psnr_given": None
        }  # fmt: skip
        assert saved["psnr_given"] == wrong["psnr"]


def test_ways_of_animating(weights, monkeypatch):
    # Weights that have learnt nothing see motion that changes nothing.
    monkeypatch.setattr("b2m.inference.diagnostics.is_static", lambda *_: False)
    animator = BlurAnimator.from_pretrained(weights, device="cpu")
    random = np.random.default_rng(0)
    photo = random.integers(0, 256, (40, 48, 3), np.uint8)
    guidance = np.ones((40, 48, 2), np.int8)
    guidance[:, :20] = -1
    sample = Sample(photo, np.stack([photo] * 5), 8.0 * guidance)
    encoded = []
    monkeypatch.setattr(BlurAnimator, "prepare", counting(BlurAnimator.prepare, encoded))
    compared = animator_methods(animator)
    answers = {method.name: method.predict(sample)[0] for method in compared}
    assert len(encoded) == 2  # once for all methods, and once by the ensemble
    assert tuple(answers) == WAYS[1:]
    in_better_order = {method.name for method in compared if method.order_invariant}
    assert in_better_order == {REVERSED, FREE, FREE_ENSEMBLE}
    for answer in answers.values():
        assert answer.frames.shape == (5, 40, 48, 3) and answer.frames.dtype == np.uint8
        assert answer.flow.shape == (40, 48, 2)
    with torch.inference_mode():
        expected = animator.model(
            torch.from_numpy(photo).permute(2, 0, 1)[None] / 255,
            torch.from_numpy(guidance).permute(2, 0, 1)[None].float(),
            5,
        )
    own = to_bytes(expected.frames[0]).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(answers[GIVEN].frames.astype(int), own, atol=1)
    np.testing.assert_allclose(answers[GIVEN].flow, expected.flow[0].permute(1, 2, 0), atol=1e-5)
    # Guidance only chooses the way along the path.
    np.testing.assert_allclose(answers[REVERSED].flow, -answers[GIVEN].flow, atol=1e-5)
    np.testing.assert_array_equal(answers[REVERSED].frames[::-1], answers[GIVEN].frames)
    whole = animator.animate(photo, guidance=guidance, frames=5)[0]
    np.testing.assert_array_equal(answers[PROJECTED].frames, whole.frames)
    free = animator.animate(photo, frames=5)[0]
    np.testing.assert_allclose(answers[FREE].flow, free.flow, atol=1e-5)


# --- real clips -----------------------------------------------------------------------------------


def test_windows_are_averages_in_linear_light(clip):
    frames = list(video.read_video(clip / "square.mp4"))
    windows = list(clips.read_windows(clip / "square.mp4"))
    assert [window.meta["start"] for window in windows] == [0, 3, 6, 9, 12, 15, 18]
    assert [len(window.frames) for window in windows] == [7, 9, 11, 13, 15, 7, 9]
    for window in windows:
        start = window.meta["start"]
        averaged = np.stack(frames[start : start + len(window.frames)])
        np.testing.assert_array_equal(window.frames, averaged)
        # Rounding to 8 bits, and a little for the table by which sRGB is encoded.
        np.testing.assert_allclose(window.photo, 255 * srgb(light(averaged).mean(0)), atol=0.55)


def test_windows_are_spread_over_the_clip():
    assert clips.pick_starts(33, None) == [0, 3, 6, 9, 12, 15, 18]
    assert clips.pick_starts(33, 100) == [0, 3, 6, 9, 12, 15, 18]
    assert clips.pick_starts(33, 3) == [0, 9, 18]
    assert clips.pick_starts(33, 1) == [0]
    assert clips.pick_starts(15, None) == [0]
    with pytest.raises(InputError, match=r"14 frames: 15"):
        clips.pick_starts(14, None)


def test_crossed_is_the_way_of_what_moves():
    flow = np.zeros((40, 60, 2), np.float32)
    flow[10:20, 20:30] = (10, 0)
    flow[30:35, 20:30] = (2, 0)  # counts as still
    expected = np.zeros((40, 60), np.bool_)
    expected[10:20, 15:35] = True
    np.testing.assert_array_equal(swept_mask(flow), expected)
    assert not swept_mask(np.zeros((8, 9, 2), np.float32)).any()
    out = swept_mask(np.full((8, 9, 2), 40, np.float32))
    assert out.all()


def test_clips_on_known_answers(clip, monkeypatch):
    windows = {w.photo.tobytes(): w for w in clips.read_windows(clip / "square.mp4")}

    def truth(sample):
        window = windows[sample.photo.tobytes()]
        flow = clips.flow_over(window.frames)
        np.testing.assert_array_equal(sample.flow, flow)
        assert len(sample.frames) == len(window.frames)
        return [Prediction(window.frames, flow)]

    def backwards(sample):
        (found,) = truth(sample)
        return [Prediction(found.frames[::-1], -found.flow)]

    compared = [
        Method("truth", truth),
        Method("backwards, better order", backwards, order_invariant=True),
    ]
    rows, notes = clips_rows(compared, clip, 100)
    table = by_name(rows)
    assert list(table) == [
        f"square: {name}" for name in (PHOTO, "truth", "backwards, better order")
    ]
    photo, best = table[f"square: {PHOTO}"], table["square: truth"]
    assert photo["samples"] == best["samples"] == 7
    assert best["psnr"] == best["psnr_moving"] == 100
    assert best["epe"] == best["epe_moving"] == 0
    assert photo["gain_moving"] == photo["gain_moving_std"] == 0
    assert best["gain_moving_std"] == pytest.approx(photo["psnr_moving_std"])
    assert photo["psnr_moving"] < photo["psnr"] < 40
    assert table["square: backwards, better order"]["psnr_moving"] == 100
    assert any("0 of 7 in square" in note for note in notes)
    plain = [np.mean([psnr(w.photo, frame) for frame in w.frames]) for w in windows.values()]
    assert photo["psnr"] == pytest.approx(np.mean(plain), abs=1e-3)
    assert photo["psnr_std"] == pytest.approx(np.std(plain), abs=1e-3)

    masked = []
    for w in windows.values():
        mask = swept_mask(clips.flow_over(w.frames))
        masked.append(np.mean([psnr(w.photo[mask], frame[mask]) for frame in w.frames]))
    assert photo["psnr_moving"] == pytest.approx(np.mean(masked), abs=1e-3)


def test_still_clips_are_left_out_and_counted(tmp_path):
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    video.write_mp4(tmp_path / "still.mp4", [frame] * 18, 30)
    rows, notes = clips_rows([], tmp_path)
    assert [row["samples"] for row in rows] == [0]
    assert rows[0]["psnr"] is None
    assert any("2 of 2 in still" in note for note in notes)


def test_find_clips(tmp_path, clip):
    assert clips.find_clips(clip, "test") == [clip / "square.mp4"]
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "b.MP4").touch()
    (tmp_path / "val" / "a.mov").touch()
    (tmp_path / "val" / "notes.txt").touch()
    assert [path.name for path in clips.find_clips(tmp_path, "val")] == ["a.mov", "b.MP4"]
    with pytest.raises(InputError, match="holds no"):
        clips.find_clips(tmp_path, "test")
    with pytest.raises(InputError, match="not a folder"):
        clips.find_clips(tmp_path / "none", "test")


# --- the whole way --------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["scenes", "clips"])
def test_evaluate_writes_and_prints(cheap, capsys, tmp_path, weights, clip, table):
    folder = {"clips": clip} if table == "clips" else {}
    path = evaluation.evaluate(
        table, samples=2, weights=weights, output=tmp_path / "new" / "results", **folder
    )
    assert path == tmp_path / "new" / "results" / f"{table}.json"
    assert sorted(p.name for p in path.parent.iterdir()) == [f"{table}.json", f"{table}.md"]

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    result = json.loads(path.read_text("utf-8"), parse_constant=refuse)
    assert list(result) == ["table", "command", "machine", "notes", "rows"]
    assert result["table"] == table
    assert result["command"].startswith(f"b2m evaluate --table {table} --samples 2")
    assert str(tmp_path) not in path.read_text("utf-8")
    groups = ["square"] if table == "clips" else ["movers", "camera", "all"]
    assert [row["name"] for row in result["rows"]] == [f"{g}: {w}" for g in groups for w in WAYS]
    for row in result["rows"]:
        assert {"name", "psnr", "ssim", "lpips", "epe", "gmacs", "seconds", "paper"} <= set(row)
        assert math.isfinite(row["psnr"]) and math.isfinite(row["ssim"])
        assert row["lpips"] is None and row["paper"] is None
        if PHOTO in row["name"]:
            assert row["gmacs"] is None and row["seconds"] is None
        else:
            assert row["gmacs"] > 0 and row["seconds"] > 0
    text = path.with_suffix(".md").read_text("utf-8")
    assert capsys.readouterr().out.strip() == text.strip()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(result["rows"])
    assert len({line.count("|") for line in lines}) == 1
    assert "LPIPS" not in text
    assert ("±" in lines[2]) == (table == "clips")


def test_video_table(tmp_path, capsys, weights, clip, monkeypatch):
    monkeypatch.setattr("b2m.inference.diagnostics.is_static", lambda *_: False)
    path = evaluation.evaluate("video", samples=4, clips=clip, weights=weights, output=tmp_path)
    result = json.loads(path.read_text("utf-8"))
    assert result["command"].startswith("b2m evaluate --table video --samples 4")
    rows = {row["name"].removeprefix("square: "): row for row in result["rows"]}
    assert list(rows) == [
        PHOTO, evaluate_video.NEIGHBOURS, evaluate_video.TRUE, evaluate_video.FILM,
        evaluate_video.SHARP,
    ]  # fmt: skip
    assert all(row["samples"] == 4 for row in rows.values())

    # By plain loops, of the frames that come back from disk.
    frames = np.stack(list(video.read_video(next(clip.iterdir()))))[:28].reshape(4, 7, 80, 112, 3)
    repeated, joins, steps, photos = [], [], [], []
    for number, run in enumerate(frames):
        photos.append(linear_to_srgb8(average_frames(run)))
        seen = swept_mask(clips.flow_over(run))
        repeated.append(np.mean([psnr(photos[-1][seen], frame[seen]) for frame in run]))
        steps.append(np.abs(np.diff(run.astype(int), axis=0))[:, seen].mean())
        if number:
            joins.append(np.abs(run[0][seen].astype(int) - frames[number - 1, -1][seen]).mean())
    still, sharp = rows[PHOTO], rows[evaluate_video.SHARP]
    assert still["psnr_moving"] == pytest.approx(np.mean(repeated), abs=1e-4)
    assert (still["gain_moving"], still["step"]) == (0, 0) and "join_ratio" not in still
    assert sharp["join"] == pytest.approx(np.mean(joins), rel=1e-5)
    assert sharp["step"] == pytest.approx(np.mean(steps), rel=1e-5)
    # Any motion axis can go along with a flow that is right.
    assert rows[evaluate_video.TRUE]["right_way"] > 0.8
    assert rows[evaluate_video.FILM]["join_ratio"] < 1.3
    assert "right quadrant" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"table": "zork"}, "zork.*scenes, clips"),
        ({"table": "scenes", "samples": 0}, "0"),
        ({"table": "scenes", "split": "exam"}, "exam.*train, val, test"),
        ({"table": "scenes", "methods": ["Jin"]}, "scenes.*--method.*2021a-T2"),
        ({"table": "direction", "methods": ["Jim"], "weights": None}, "'Jim'.*Jin; VideoRestorer"),
        ({"table": "clips"}, "--clips"),
        ({"table": "video"}, "--clips"),
        ({"table": "clips", "clips": "nowhere"}, "nowhere"),
        ({"table": "scenes", "photos": "nowhere"}, "nowhere"),
        ({"table": "scenes", "weights": "nowhere"}, "nowhere"),
    ],
)
def test_bad_requests(cheap, tmp_path, weights, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words):
        evaluation.evaluate(**{"weights": weights, **options})
    assert not list(tmp_path.rglob("*.*"))


def test_rows_without_weights_stand_as_the_same_command_measured_them(tmp_path):
    """Those of another command, or of a method that was run, do not."""
    earlier = [
        {"name": "movers: small", "psnr": 20.0},
        {"name": "movers: large, best of 3", "psnr": 21.0},
        {"name": "movers: largest", "psnr": 22.0},
    ]
    write_report(tmp_path, "t", "b2m here", earlier, {"psnr": ("PSNR", ".1f")})
    rows = [{"name": "movers: small", "psnr": 19.0}, {"name": "movers: large (not run)"}]
    assert report_of(tmp_path, "other") == ("", [])
    assert with_earlier([], rows) == rows and not any_earlier(rows)
    kept = [rows[0], {"name": "movers: large, best of 3 (earlier run)", "psnr": 21.0}]
    for _ in range(2):  # and again from what this wrote
        command, before = report_of(tmp_path, "t")
        found = with_earlier(before, rows)
        assert command == "b2m here" and found == kept and any_earlier(found)
        write_report(tmp_path, "t", "b2m here", found, {"psnr": ("PSNR", ".1f")})


def test_rows_of_methods_that_were_not_asked_for_stay():
    def rows(*names):
        return [{"name": name} for name in names]

    before = rows(
        "movers: photo",
        "movers: large (not run)",
        "movers: large, better order (earlier run)",
        "camera: photo",
        "camera: large, best of 1",
        "camera: large, best of 3",
    )
    found = with_other_methods(
        before,
        rows(
            "movers: photo",
            "movers: large, best of 1",
            "movers: large, best of 5",
            "movers: new",
            "camera: large (not run)",
        ),
    )
    assert [row["name"] for row in found] == [
        "movers: photo",
        "movers: large, best of 1",
        "movers: large, best of 5",
        "movers: large, better order (earlier run)",
        "movers: new",
        "camera: photo",
        "camera: large (not run)",
    ]


def test_report_has_no_number_that_json_lacks(tmp_path):
    rows = [{"name": "a", "x": math.nan, "y": 1.0, "y_std": 0.5}, {"name": "b", "x": math.inf}]
    columns = {"x": ("X", ".1f"), "y": ("Y", ".1f")}
    path, text = write_report(tmp_path, "t", "b2m", rows, columns, ["Note."], std=True)
    assert [row["x"] for row in json.loads(path.read_text("utf-8"))["rows"]] == [None, None]
    assert "|  | Y |\n|---|---:|\n| a | 1.0 ± 0.50 |\n| b | – |" in text
    assert text.endswith("\n\nNote.\n")


def test_command_line_hides_where_folders_begin(tmp_path):
    shown = command_line(["b2m"], {"n": 3, "photos": tmp_path / "my photos", "x": None, "y": "a/b"})
    assert shown == f"b2m --n 3 --photos '{tmp_path.name}/my photos' --y a/b"


def test_cost_counts_multiply_adds(weights, monkeypatch):
    monkeypatch.setattr(methods, "COST_SIZE", (32, 48))
    monkeypatch.setattr(methods, "COST_RUNS", 1)
    animator = BlurAnimator.from_pretrained(weights, device="cpu")
    threads = torch.get_num_threads()
    costs = measure_costs(animator_methods(animator))
    assert tuple(costs) == WAYS[1:]
    assert torch.get_num_threads() == threads
    stem = 32 * 24 * 9 * 12 * 8 / 4 / 1e9 * 2  # padded to 32x64, half resolution, 12 to 8 channels
    for gmacs, seconds in costs.values():
        assert gmacs > stem and seconds > 0
    once = costs[GIVEN]
    assert costs[FREE] == costs[REVERSED] == once and costs[PROJECTED][0] == once[0]
    assert costs[GIVEN_ENSEMBLE] == costs[FREE_ENSEMBLE]
    assert costs[GIVEN_ENSEMBLE][0] == pytest.approx(4 * once[0])


def test_enlarged_photos_are_scored_at_their_own_size():
    """An animator that repeats its photo scores as that, but for what resizing loses."""
    seen = []

    class Repeater:
        def animate(self, photo, *, guidance, frames):
            height, width = photo.shape[:2]
            assert guidance.shape == (height, width, 2)
            seen.append(height)
            flow = np.full((height, width, 2), height / 32, np.float32)
            return [SimpleNamespace(frames=np.stack([photo] * frames), flow=flow)]

    rows = scenes_rows(enlarged_methods(Repeater()), 2)
    assert seen == [32, 64, 128] * 2
    scores = {row["name"].split(": ")[1]: row for row in rows}
    assert set(scores) == {"photo repeated", "at its size", "enlarged 2 times", "enlarged 4 times"}
    assert scores["at its size"]["gain"] == 0
    # Flow is scaled with the photo: the same error at all sizes.
    errors = [scores[name]["epe"] for name in scores if name != "photo repeated"]
    np.testing.assert_allclose(errors, errors[0], rtol=1e-5)
    assert all(abs(row["gain"]) < 1 for row in scores.values())


def test_large_photos_are_looked_at_whole_and_in_tiles(monkeypatch):
    # Small textures have no detail that shrinking could lose.
    large = partial(textures.procedural_textures.func, count=4)
    monkeypatch.setattr(textures, "procedural_textures", large)
    torch.manual_seed(0)
    model = MotionAnimator(MotionAnimatorConfig.tiny()).eval()
    with torch.no_grad():
        model.head.weight.mul_(60)  # moves by some pixels
    rows = scenes_rows(large_methods(BlurAnimator(model)), 2, size=96)
    names = {row["name"].split(": ")[1] for row in rows}
    assert names == {"photo repeated", "encoded as a whole", "and again, tile by tile"}
    gains = {row["name"].split(": ")[1]: row["gain"] for row in rows if row["name"][:3] == "all"}
    assert gains["encoded as a whole"] != gains["and again, tile by tile"]


def test_rows_in_groups_for_narrow_pages():
    columns = {"n": ("n", "d"), "psnr": ("PSNR", ".1f"), "none": ("none", "d")}
    rows = [
        {"name": "alone", "n": 1, "psnr": None},
        {"name": "some: photo", "n": 2, "psnr": 30.25},
        {"name": "some: ours", "n": 2, "psnr": 31.0},
        {"name": "others: photo", "n": 3, "psnr": 20.0},
    ]
    assert grouped_markdown(rows, columns).splitlines() == [
        "|  | n | PSNR |",
        "|---|---:|---:|",
        "| alone | 1 | – |",
        "| **some** | | |",
        "| photo | 2 | 30.2 |",
        "| ours | 2 | 31.0 |",
        "| **others** | | |",
        "| photo | 3 | 20.0 |",
    ]


def test_what_comes_with_b2m(monkeypatch, tmp_path):
    assert {path.stem for path in examples().glob("*.jpg")} >= {"cat-roll", "moving-apart"}
    assert {"2022-T1", "scenes"} <= {path.stem for path in results().glob("*.json")}
    monkeypatch.setattr("b2m.assets.__file__", str(tmp_path / "b2m" / "assets.py"))
    with pytest.raises(InputError, match="'examples' is missing"):
        examples()
