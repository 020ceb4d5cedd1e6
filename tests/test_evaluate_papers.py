"""The papers' tables: protocols on answers that are known, and every table on a few photos."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from b2m import metrics
from b2m.data.rotation import RotationConfig
from b2m.data.sample import Sample
from b2m.data.scenes import SceneConfig
from b2m.errors import InputError
from b2m.evaluate import methods
from b2m.evaluate.methods import Method, find_methods, measure_cost
from b2m.evaluate.paper_tables import PAPER_TABLES, PaperSpec
from b2m.evaluate.run import all_tables, evaluate
from b2m.evaluate.scoring import PHOTO, BestOf, Prediction
from b2m.evaluate.table import Group, Options
from b2m.evaluate.tables import papers as evaluate_papers
from b2m.evaluate.tables.papers import ZERO, PaperTable
from b2m.evaluate.test_sets import rotation_samples, scene_samples, video_samples
from b2m.guidance.corrupt import dilate, erode, shuffle
from b2m.media.video import write_mp4
from b2m.models import BlurDecomposer, GuidancePredictor, JinSequence, VideoRestorer
from b2m.train.recipes import all_recipes

pytestmark = pytest.mark.usefixtures("few_textures")
SIZE = (96, 128)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small photos, quick costs, and no perceptual metric."""
    monkeypatch.setattr(PaperTable, "size", 48)
    monkeypatch.setattr(PaperTable, "blur", (8.0, 12.0))
    monkeypatch.setattr(methods, "measure_cost", lambda *_: (1.0, 2.0))
    monkeypatch.setattr(evaluate_papers, "load_lpips", lambda: None)


def noisy(frames, sigma, seed=0):
    noise = np.random.default_rng(seed).normal(0, sigma, frames.shape)
    return (frames + noise).clip(0, 255).round().astype(np.uint8)


@pytest.fixture
def case():
    """A texture that moves 12 px to the right."""
    noise = np.random.default_rng(3).normal(size=(*SIZE, 3))
    picture = ndimage.gaussian_filter(noise, (2, 2, 0))
    picture = 255 * (picture - picture.min()) / np.ptp(picture)
    steps = range(-6, 7, 2)
    frames = [ndimage.shift(picture, (0, step, 0), order=1, mode="nearest") for step in steps]
    frames = np.stack(frames).round().astype(np.uint8)
    flow = np.zeros((*SIZE, 2), np.float32)
    flow[..., 0] = 12
    return Sample(frames.mean(0).round().astype(np.uint8), frames, flow)


def method(name, *clips, **fields):
    """A method that gives the same clips for any photo."""
    return Method(name, lambda _: [Prediction(frames) for frames in clips], **fields)


def rows_of(found, cases, **spec):
    """Rows of known samples and methods."""

    class Known(PaperTable):
        def groups(self):
            yield Group("g", cases)

    Known.spec = PaperSpec("title", "finding", (), {}, **spec)
    rows = Known(Options(), found).compute()
    return {row["name"].removeprefix("g: "): row for row in rows}


def frame_rows(case, *several, instants=7):
    return rows_of(several, [case] * 2, instants=instants)


def test_the_order_counts_where_it_was_told(case):
    found = noisy(case.frames[::-1], 5)
    told = method("told", found)
    free = method("free", found, order_invariant=True)
    rows = frame_rows(case, told, free)
    for name in ("told", "free"):
        assert rows[name]["psnr_better"] == pytest.approx(20 * np.log10(255 / 5), abs=0.2)
        assert rows[name]["psnr_given"] < 25
    assert rows["told"]["psnr"] == rows["told"]["psnr_given"]
    assert rows["free"]["psnr"] == rows["free"]["psnr_better"]
    assert rows["free"]["samples"] == 2
    base = np.mean([metrics.psnr(case.photo, frame) for frame in case.frames[[0, 1, 2, 4, 5, 6]]])
    middle = metrics.psnr(case.photo, case.frames[3])
    assert rows[PHOTO]["psnr"] == pytest.approx((6 * base + middle) / 7)
    assert rows[PHOTO]["middle"] == pytest.approx(middle)
    assert rows["free"]["gain"] == pytest.approx(rows["free"]["psnr"] - rows[PHOTO]["psnr"])


def test_the_first_and_last_frames_follow_the_order_that_counts(case):
    found = case.frames[::-1].copy()
    found[0] = noisy(found[0], 20)  # the true last one
    free = method("free", found, order_invariant=True)
    row = frame_rows(case, free)["free"]
    assert row["last"] == pytest.approx(20 * np.log10(255 / 20), abs=0.5)
    assert row["first"] == row["middle"] == 100


def test_some_methods_alone_are_measured_anew(tmp_path):
    def rows(**options):
        path = evaluate("2021b-T1", samples=1, output=tmp_path, **options)
        return path, json.loads(path.read_text("utf-8"))

    command = "b2m evaluate --table 2021b-T1 --samples 1"
    for count, method in enumerate(("BlurFlowNet", "Jin", "Jin"), 1):
        _, alone = rows(methods=[method])
        names = ["BlurFlowNet", "Jin"][:count]
        assert alone["command"] == command + "".join(f" --method {name}" for name in names)
        assert {row["name"].split(": ")[1] for row in alone["rows"]} == {"no motion", *names}
    with pytest.raises(InputError, match=r"of another command.*--samples 1.*--samples 2"):
        evaluate("2021b-T1", samples=2, output=tmp_path, methods=["Jin"])
    path, whole = rows()
    assert whole["command"] == command
    stale = whole | {"rows": [row | {"epe": 99.0} for row in whole["rows"]]}
    path.write_text(json.dumps(stale), encoding="utf-8")
    _, again = rows(methods=["BlurFlowNet"])
    assert again["command"] == whole["command"]
    assert "Computed last: BlurFlowNet, and" in again["notes"][-1]
    for old, new in zip(whole["rows"], again["rows"], strict=True):
        computed = old["name"].split(": ")[1] in ("no motion", "BlurFlowNet")
        assert new == (old if computed else old | {"epe": 99.0})


def test_best_of_n_takes_all_scores_of_one_clip(case):
    tries = [noisy(case.frames, sigma) for sigma in (20, 30, 10, 40, 5)]
    rows = frame_rows(case, method("some", *tries, tries=(1, 3, 5)))
    for best, sigma in ((1, 20), (3, 10), (5, 5)):
        row = rows[f"some, best of {best}"]
        assert row["psnr"] == pytest.approx(20 * np.log10(255 / sigma), abs=0.5)
        index = (20, 30, 10, 40, 5).index(sigma)
        likeness = [metrics.ssim(tries[index][i], case.frames[i]) for i in (0, 3, 6)]
        assert row["ssim"] == pytest.approx(np.mean(likeness))


def test_clips_of_three_and_of_seven_frames_are_scored_at_the_same_instants(case):
    found = case.frames.copy()
    found[[1, 2, 4, 5]] = 0
    three = method("three", case.frames[[0, 3, 6]])
    seven = method("seven", found)
    rows = frame_rows(case, three, seven, instants=3)
    assert rows["three"]["psnr"] == rows["seven"]["psnr"] == 100
    base = [metrics.psnr(case.photo, frame) for frame in case.frames[[0, 3, 6]]]
    assert rows[PHOTO]["psnr"] == pytest.approx(np.mean(base))
    assert rows["three"]["gain"] == rows["seven"]["gain"] == pytest.approx(100 - np.mean(base))


def test_only_the_middle_frame_is_scored(case):
    clip = method("clip", noisy(case.frames, 10))
    frame = method("frame", case.frames[3:4])
    rows = frame_rows(case, clip, frame, instants=1)
    assert rows["clip"]["psnr"] == pytest.approx(20 * np.log10(255 / 10), abs=0.5)
    assert rows["frame"]["psnr"] == 100
    assert rows[PHOTO]["psnr"] == pytest.approx(metrics.psnr(case.photo, case.frames[3]))


def test_only_what_moves_is_scored_in_video(case):
    judged = np.zeros(SIZE, bool)
    judged[:10] = True
    found = case.frames.copy()
    found[:, 10:] = 0
    rows = frame_rows(case._replace(judged=judged), method("c", found))
    assert rows["c"]["psnr"] == 100


def test_flow_is_scored_up_to_its_sign(case):
    half = method("half", flow=lambda _: -case.flow / 2)
    frames = method("frames", case.frames[::-1])
    rows = rows_of([half, frames], [case], flow=True)
    assert rows["half"]["epe"] == pytest.approx(6)
    assert rows["half"]["epe_ratio"] == pytest.approx(0.5)
    assert rows[ZERO]["epe"] == pytest.approx(12)
    assert rows["frames"]["epe"] < 4  # optical flow between its ends


def test_photos_in_which_nothing_moves_are_left_out(case):
    (row,) = frame_rows(case._replace(flow=np.zeros_like(case.flow))).values()
    assert row["samples"] == 0


# --- guidance that is wrong -----------------------------------------------------------------------


def square():
    guidance = np.zeros((40, 50, 2), np.int8)
    guidance[10:30, 12:40] = (1, -1)
    return guidance


def test_erosion_takes_the_rim():
    moving = square().any(-1)
    left = erode(square(), 4).any(-1)
    expected = ndimage.distance_transform_edt(moving) > 4
    assert np.mean(left != expected) < 0.02
    assert not (left & ~moving).any()
    whole = np.full((40, 50, 2), 1, np.int8)
    assert np.array_equal(erode(whole, 4), whole)  # the frame's border is no rim


def test_dilation_goes_on_as_the_nearest():
    guidance = square()
    guidance[10:30, 26:40] = (-1, 1)
    wide = dilate(guidance, 4)
    expected = ndimage.distance_transform_edt(~guidance.any(-1)) <= 4
    assert np.mean(wide.any(-1) != expected) < 0.02
    assert (wide[20, 9] == (1, -1)).all()
    assert (wide[20, 42] == (-1, 1)).all()
    assert np.array_equal(wide[10:30, 12:40], guidance[10:30, 12:40])
    still = np.zeros((8, 9, 2), np.int8)
    assert np.array_equal(dilate(still), still)


def test_random_guidance_keeps_what_moves():
    drawn = [shuffle(square(), seed) for seed in range(12)]
    for guidance in drawn:
        assert np.array_equal(guidance.any(-1), square().any(-1))
    assert len({tuple(guidance[20, 20]) for guidance in drawn}) == 4


# --- photos ---------------------------------------------------------------------------------------


def test_rendered_photos_are_the_mean_of_their_frames():
    config = SceneConfig(size=48, blur=(6.0, 8.0), frames=31, saturation=0.0)
    turning = RotationConfig(size=48, blur=(6.0, 8.0), frames=31, saturation=0.0)
    for cases in (
        scene_samples(None, None, config, 2, split="test", number=0),
        rotation_samples(None, turning, 2, split="test", number=0),
    ):
        for case in cases:
            light = (case.frames / 255.0) ** 2.2
            again = 255 * light.mean(0) ** (1 / 2.2)
            assert np.abs(again - case.photo)[4:-4, 4:-4].mean() < 6


def test_video_tells_the_way(clips):
    cases = list(video_samples(clips / "street.mp4"))
    assert len(cases) == 4
    assert len(list(video_samples(clips / "street.mp4", 2))) == 2
    for case in cases:
        assert case.frames.shape == (7, 64, 96, 3)
        assert np.median(case.flow[16:-16, 24:-24, 0]) == pytest.approx(12, abs=1)
        assert (case.hint[16:-16, 24:-24, 0] == 1).mean() > 0.9


# --- whole tables ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Untrained weights of every recipe of the tables but two, and of the predictor."""
    folder = tmp_path_factory.mktemp("weights")
    recipes = {methods.recipe_of(name) for name in methods.NAMES}
    for recipe in recipes - {"animator-short", "jin-rotation"}:
        kind = all_recipes()[recipe].model
        config = kind.config_class.tiny()
        if kind is VideoRestorer:
            config = replace(config, frames=all_recipes()[recipe].config.frames)
        torch.manual_seed(0)
        kind(config).save_pretrained(folder / recipe)
    predictor = GuidancePredictor(GuidancePredictor.config_class.tiny())
    predictor.save_pretrained(folder / "guidance-predictor")
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A folder with one clip, in which all goes to the right by two pixels a frame."""
    noise = np.random.default_rng(0).normal(size=(64, 200, 3))
    wide = ndimage.gaussian_filter(noise, (1.5, 1.5, 0))
    wide = (255 * (wide - wide.min()) / np.ptp(wide)).astype(np.uint8)
    frames = (np.ascontiguousarray(wide[:, 60 - 2 * n : 156 - 2 * n]) for n in range(28))
    folder = tmp_path_factory.mktemp("clips")
    write_mp4(folder / "street.mp4", frames, 30)
    return folder


# What the others compare is among what these do.
OTHERS = {"2022-T2", "2021a-T1", "2021a-T3", "2021a-T5"}


@pytest.mark.parametrize("name", sorted(PAPER_TABLES.keys() - OTHERS))
def test_tables_on_a_few_photos(name, weights, clips, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("B2M_RUNS", str(tmp_path / "runs"))
    path = evaluate(name, samples=2, clips=clips, weights=weights, output=tmp_path)
    result = json.loads(path.read_text())
    table = PAPER_TABLES[name]
    names = [row["name"] for row in result["rows"]]
    groups = [group if group != "video" else "street" for group in table.groups]
    for group in groups:
        assert f"{group}: {ZERO if table.flow else PHOTO}" in names
        for method in table.methods:
            assert any(row.startswith(f"{group}: {method}") for row in names)
    score = "epe" if table.flow else "psnr"
    for row in result["rows"]:
        if "(not run)" in row["name"]:
            method = row["name"].split(": ", 1)[1].removesuffix(" (not run)")
            assert methods.recipe_of(method) in ("animator-short", "jin-rotation")
            assert row.get(score) is None
        else:
            assert np.isfinite(row[score])
    assert table.finding in path.with_suffix(".md").read_text()
    pictures = [line for line in capsys.readouterr().out.splitlines() if line.endswith(".png")]
    assert str(tmp_path / f"{name}.png") in pictures
    for picture in pictures:
        assert (tmp_path / picture).stat().st_size > 3000


def test_runs_come_before_what_is_shipped(tmp_path, weights):
    torch.manual_seed(1)
    JinSequence(JinSequence.config_class.tiny()).save_pretrained(
        tmp_path / "jin-compact" / "released"
    )
    (trained,), _ = find_methods(["Jin"], weights, tmp_path)
    (shipped,), _ = find_methods(["Jin"], weights, tmp_path / "none")
    one, other = (next(c.model.parameters()) for c in (trained, shipped))
    assert not torch.equal(one, other)
    lacking = "animator on the same budget"
    assert find_methods([lacking], weights, tmp_path) == ([], [lacking])


def test_a_table_without_any_weights(tmp_path, weights, monkeypatch):
    monkeypatch.setenv("B2M_RUNS", str(tmp_path))
    lacking = PaperSpec("title", "nothing", ("movers",), {"animator on the same budget": {}})
    monkeypatch.setattr(PaperTable, "spec", lacking, raising=False)
    with pytest.raises(InputError, match="train any of animator-short first"):
        PaperTable(Options(weights=weights))


def test_a_clip_in_which_nothing_moves_takes_nothing_from_the_other_groups(
    tmp_path, weights, monkeypatch
):
    still = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    write_mp4(tmp_path / "still.mp4", (still for _ in range(14)), 30)
    monkeypatch.setenv("B2M_RUNS", str(tmp_path / "runs"))

    class Known(PaperTable):
        spec = PaperSpec(
            "title", "none", ("movers", "video"), {"BlurFlowNet": {"movers": 9.9}}, flow=True
        )

    rows = Known(Options(samples=2, clips=tmp_path, weights=weights)).compute()
    found = {row["name"]: row for row in rows}
    row = found["movers: BlurFlowNet"]
    assert (row["gmacs"], row["seconds"], row["paper"]) == (1.0, 2.0, 9.9)
    assert found["still: nothing in it moves enough"]["samples"] == 0


def test_tables_that_lack_what_they_measure_are_refused(tmp_path):
    with pytest.raises(InputError, match="'2021a-T4' needs real clips"):
        evaluate("2021a-T4", samples=1, output=tmp_path)
    with pytest.raises(InputError, match="there is no folder 'nowhere'"):
        evaluate("2022-T1", samples=1, weights="nowhere", output=tmp_path)
    assert not list(tmp_path.iterdir())


def test_costs(monkeypatch):
    monkeypatch.setattr(methods, "COST_SIZE", (48, 64))
    model = BlurDecomposer(BlurDecomposer.config_class.tiny()).eval()
    gmacs, seconds = measure_cost(model, runs=1)
    counted = []

    def count(module, given, result):
        taken, side = module.weight.shape[0 if module.transposed else 1], module.kernel_size[0]
        places = given[0].shape if module.transposed else result.shape
        width = module.weight.shape[1] if module.transposed else result.shape[1]
        counted.append(taken * side * side * width * places[-2] * places[-1])

    for module in model.modules():
        if hasattr(module, "transposed"):
            module.register_forward_hook(count)
    model(torch.rand(1, 3, 48, 64), torch.ones(1, 2, 48, 64))
    assert gmacs == pytest.approx(sum(counted) / 1e9, rel=1e-3)
    assert seconds > 0


def test_tables_name_what_there_is():
    for table in PAPER_TABLES.values():
        assert set(table.methods) <= set(methods.NAMES)
        assert all(set(published) <= set(table.groups) for published in table.methods.values())
    published = PAPER_TABLES["2022-T1"].published
    assert published("camera", BestOf("decomposer", 3)) == 23.56
    assert published("movers", "Jin") == 17.01 and published("video", "Jin") is None
    assert {methods.recipe_of(name) for name in methods.NAMES} <= all_recipes().keys()
    assert set(PAPER_TABLES) < set(all_tables())
