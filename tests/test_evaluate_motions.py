"""The table of motions against answers that are known, and the samples that it compares."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import b2m
from b2m import evaluate as evaluation
from b2m.data.sample import Sample
from b2m.evaluate.methods import Method
from b2m.evaluate.scoring import MAX_PSNR, PHOTO, TRIES, Prediction
from b2m.evaluate.table import Group, Options, Table
from b2m.evaluate.tables import animator as evaluate_animator
from b2m.evaluate.tables.hypotheses import (
    REGIONS,
    SAMPLES,
    TRUE,
    HypothesesTable,
    hypothesis_methods,
)
from b2m.guidance.quantize import from_flow
from b2m.inference.animator import BlurAnimator
from b2m.inference.hypotheses import SPLIT_PENALTY, differ, split_penalty
from b2m.models import GuidancePredictor, GuidancePredictorConfig
from b2m.models.animator import MotionAnimator, MotionAnimatorConfig

pytestmark = pytest.mark.usefixtures("few_textures")
SIZE = (20, 30)
LEFT = np.s_[:, :10]  # the third that moves


@pytest.fixture(scope="module")
def animator():
    torch.manual_seed(0)
    return BlurAnimator(MotionAnimator(MotionAnimatorConfig.tiny()).eval())


@pytest.fixture(scope="module")
def sampling(animator):
    torch.manual_seed(1)
    predictor = GuidancePredictor(GuidancePredictorConfig.tiny()).eval()
    with torch.no_grad():  # random weights hardly listen
        for layer in predictor.generator.latent:
            layer.weight.mul_(50)
    return BlurAnimator(animator.model, predictor)


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


# --- samples --------------------------------------------------------------------------------------


def test_samples_differ_clearly_and_come_best_first(sampling, photo):
    prepared = sampling.prepare(photo)
    clips = sampling.animate(prepared, motions=4, seed=3)
    assert 1 < len(clips) <= 4
    assert [clip.score for clip in clips] == sorted((clip.score for clip in clips), reverse=True)
    for number, clip in enumerate(clips):
        b2m.guidance.validate(clip.guidance, 48, 64)
        assert clip.seed == 3
        assert all(differ(clip.flow, other.flow) for other in clips[:number])


def test_the_same_seed_gives_the_same_samples(sampling, photo):
    one, again = (sampling.animate(photo, motions=3, seed=5) for _ in range(2))
    assert len(one) == len(again)
    for clip, other in zip(one, again, strict=True):
        assert np.array_equal(clip.guidance, other.guidance)
        assert np.array_equal(clip.frames, other.frames)
    first = [sampling.animate(photo, seed=seed)[0].guidance for seed in range(4)]
    assert any(not np.array_equal(first[0], other) for other in first[1:])


def test_a_sample_is_treated_as_a_persons_guidance(sampling, animator, photo):
    (clip,) = sampling.animate(photo, frames=5)
    (said,) = animator.animate(photo, guidance=clip.guidance, frames=5)
    assert np.array_equal(clip.frames, said.frames)
    assert np.array_equal(clip.flow, said.flow)


def test_guidance_that_is_given_comes_before_samples(sampling, animator, photo):
    guidance = np.ones((48, 64, 2), np.int8)
    for one, other in zip(
        sampling.animate(photo, guidance=guidance, motions=2),
        animator.animate(photo, guidance=guidance, motions=2),
        strict=True,
    ):
        assert np.array_equal(one.flow, other.flow)


def test_the_predictor_is_found_where_its_weights_are(sampling, photo, tmp_path, monkeypatch):
    sampling.model.save_pretrained(tmp_path / "animator")
    monkeypatch.setenv("B2M_WEIGHTS", str(tmp_path))
    assert BlurAnimator.from_pretrained(guidance_predictor="regions").predictor is None
    sampling.predictor.save_pretrained(tmp_path / "guidance-predictor")
    (clip,) = b2m.animate(photo, guidance_predictor="cvae-gan", seed=2)
    (same,) = sampling.animate(photo, seed=2)
    assert np.array_equal(clip.guidance, same.guidance)


def test_motions_differ_by_their_share_of_the_motion():
    flow = np.zeros((10, 10, 2), np.float32)
    assert not differ(flow, flow)
    flow[:, :5] = (6, 8)
    assert differ(flow, 0 * flow)
    assert differ(flow, -flow)
    for columns, clear in ((1, True), (0, False)):
        other = flow.copy()
        other[:, :columns] *= -1
        assert differ(flow, other) == clear
    other = flow.copy()
    other[:2, 0] *= -1  # 2 of 50 pixels by twice their length: 8 %
    assert not differ(flow, other)
    other[2, 0] *= -1  # 12 %
    assert differ(flow, other)


def test_what_tears_a_thing_apart_is_less_plausible():
    flow, regions = np.zeros((10, 12, 2), np.float32), np.zeros((10, 12), np.uint8)
    flow[:, :4], regions[:, :4] = (6, 8), 1
    flow[:, 8:], regions[:, 8:] = (0, 10), 2
    assert split_penalty(flow, flow, regions) == split_penalty(-flow, flow, regions) == 0
    one = flow.copy()
    one[:, 8:] *= -1
    assert split_penalty(one, flow, regions) == 0
    one[:3, :4] *= -1  # 12 of 80 pixels
    assert split_penalty(one, flow, regions) == pytest.approx(12 / 80 * SPLIT_PENALTY)
    one[:8, :4] = flow[:8, :4]
    one[:8, :4] *= -1  # now most of the thing, so that the other 8 are what is torn off
    assert split_penalty(one, flow, regions) == pytest.approx(8 / 80 * SPLIT_PENALTY)
    assert split_penalty(0 * flow, flow, regions) == 0


# --- the table ------------------------------------------------------------------------------------


def case(speed=6.0):
    flow = np.zeros((*SIZE, 2), np.float32)
    flow[LEFT] = (speed, speed)
    frames = np.full((3, *SIZE, 3), 100, np.uint8)
    return Sample(np.full((*SIZE, 3), 110, np.uint8), frames, flow, None)


def clip(flow, level):
    """A clip that is as wrong as its level is from 100."""
    return Prediction(np.full((3, *SIZE, 3), level, np.uint8), flow, from_flow(flow))


def rows_of(clips, *groups):
    """Rows of known clips; several groups of samples are pooled, too."""

    class Known(HypothesesTable):
        required_keys = ("psnr",)

        def groups(self):
            for cases in groups:
                yield Group("group", cases, pool="pooled" if len(groups) > 1 else None)

    guided = Method(TRUE, lambda sample: [clip(case().flow, 101)])
    return Known(Options(), [guided, Method(REGIONS, lambda sample: clips, tries=TRIES)]).compute()


def db(error):
    return 20 * np.log10(255 / error)


def test_the_best_of_so_many_gives_all_its_scores():
    truth = case().flow
    backwards, across, partly = -truth, truth.copy(), truth.copy()
    across[..., 1] *= -1  # another quadrant, a right angle away
    partly[:5] = 0  # a quarter of what moves is held still
    partly[:, 29] = (5, 5)  # and a column of what is still moves
    clips = [clip(backwards, 104), clip(across, 105), clip(backwards, 106), clip(partly, 102)]
    still = case(speed=1.0)
    rows = rows_of(clips, [case(), still, case()])
    rows = {row["name"].removeprefix("group: "): row for row in rows}
    assert list(rows) == [PHOTO, TRUE, *(f"{REGIONS}, best of {n}" for n in (1, 3, 5))]
    assert {row["samples"] for row in rows.values()} == {2}
    assert rows[PHOTO] == {"name": f"group: {PHOTO}", "samples": 2, "psnr": db(10)}
    assert rows[TRUE]["gain"] == pytest.approx(db(1) - db(10))
    assert rows[TRUE]["way"] == 1
    one, three, five = (rows[f"{REGIONS}, best of {n}"] for n in (1, 3, 5))
    for row, error in ((one, 4), (three, 4), (five, 2)):
        assert row["psnr"] == pytest.approx(db(error))
        assert row["gain"] == pytest.approx(db(error) - db(10))
        assert row["behind"] == pytest.approx(db(1) - db(error))
    assert five["different"] == 1
    for row in (one, three):
        assert (row["moving"], row["way"], row["found"]) == (0, 0, 0)
        assert (row["still"], row["moving_or_still"]) == (1, 1)
    assert five["moving"] == five["way"] == pytest.approx(0.75)
    assert five["still"] == pytest.approx(1 - 20 / 400)
    assert five["moving_or_still"] == pytest.approx(1 - (50 + 20) / 600)
    assert five["found"] == 0  # four fifths are asked for


def test_shares_are_of_the_pixels_of_all_photos():
    few = case()
    few.flow[10:] = 0  # half as many pixels move
    clips = [clip(case().flow, 104)]
    (row,) = (row for row in rows_of(clips, [case(), few]) if row["name"].endswith("best of 5"))
    assert row["moving"] == 1
    assert row["still"] == pytest.approx(1 - 100 / (400 + 500))
    assert row["different"] == 0


def test_found_is_any_of_the_tries():
    truth = case().flow
    rows = rows_of([clip(-truth, 101), clip(truth, 109)], [case()])
    found = {row["name"][-1]: row["found"] for row in rows if "found" in row}
    assert found == {"1": 0, "3": 1, "5": 1}
    (way,) = {row["way"] for row in rows if row["name"].endswith("best of 3")}
    assert way == 0  # the scores are still those of the one with the highest PSNR


def test_the_better_order_may_be_backwards():
    wanted = case()
    wanted.frames[0] = 120
    clips = [clip(wanted.flow, 100), clip(wanted.flow, 100)]
    clips[0].frames[2] = 120  # the true clip, backwards
    clips[1].frames[1] = 120
    # The middle frame is right, and the first and last are wrong by 20; the other way, one is.
    rows = rows_of(clips, [wanted])
    rows = {row["name"][-1]: row for row in rows if "psnr_better" in row}
    exact = MAX_PSNR
    for tries in "135":
        row = rows[tries]
        assert row["psnr"] == pytest.approx((exact + 2 * db(20)) / 3)
        assert row["psnr_better"] == pytest.approx(exact)
        assert row["gain_better"] - row["gain"] == pytest.approx(exact - row["psnr"])


def test_the_scenes_are_those_of_the_table_of_scenes(monkeypatch, animator):
    monkeypatch.setattr(Table, "size", 32)
    options = Options(samples=4, seed=1)
    tables = (
        HypothesesTable(options, hypothesis_methods(animator, None)),
        evaluate_animator.ScenesTable(options, []),
    )
    one, other = ([s for group in table.groups() for s in group.samples] for table in tables)
    assert len(one) == 4
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine.flow, theirs.flow)
        np.testing.assert_array_equal(mine.photo, theirs.photo)
        assert mine.frames.shape == (7, 32, 32, 3)


def test_methods_are_clips_as_users_get_them(sampling, photo):
    guided, regions, samples = hypothesis_methods(sampling, sampling.predictor)
    assert (guided.name, regions.name, samples.name) == (TRUE, REGIONS, SAMPLES)
    flow = np.full((48, 64, 2), 5, np.float32)
    sample = Sample(photo, np.stack([photo] * 3), flow)
    alone = BlurAnimator(sampling.model)
    (said,) = alone.animate(photo, guidance=from_flow(flow), frames=3)
    for method, clips in (
        (guided, [said]),
        (regions, alone.animate(photo, frames=3, motions=5)),
        (samples, sampling.animate(photo, frames=3, motions=5)),
    ):
        for one, expected in zip(method.predict(sample), clips, strict=True):
            np.testing.assert_array_equal(one.frames, expected.frames)
            np.testing.assert_array_equal(one.flow, expected.flow)
            np.testing.assert_array_equal(one.guidance, expected.guidance)


@pytest.mark.parametrize("with_predictor", [True, False])
def test_the_whole_table(sampling, tmp_path, monkeypatch, with_predictor):
    sampling.model.save_pretrained(tmp_path / "weights/animator")
    if with_predictor:
        sampling.predictor.save_pretrained(tmp_path / "weights/guidance-predictor")
    else:
        monkeypatch.setattr("b2m.hub._REPOSITORY_WEIGHTS", tmp_path)
    monkeypatch.setenv("B2M_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(Table, "size", 32)
    path = evaluation.evaluate("motions", samples=2, output=tmp_path / "results")
    report = json.loads(path.read_text())
    ways = (REGIONS, SAMPLES) if with_predictor else (REGIONS,)
    names = [PHOTO, TRUE, *(f"{way}, best of {n}" for way in ways for n in (1, 3, 5))]
    expected = [f"{kind}: {name}" for kind in ("movers", "camera", "all scenes") for name in names]
    assert [row["name"] for row in report["rows"]] == expected
    assert report["table"] == "motions"
    assert str(tmp_path) not in path.read_text()
    assert any("no weights" in note for note in report["notes"]) is not with_predictor


def test_the_pooled_row_is_of_all_photos():
    truth = case().flow
    clips = [clip(truth, 104), clip(-truth, 105)]
    rows = rows_of(clips, [case()], [case()] * 2)
    pooled = [row for row in rows if row["name"].startswith("pooled")]
    together = rows_of(clips, [case()] * 3)
    assert [{**row, "name": 0} for row in pooled] == [{**row, "name": 0} for row in together]
    assert {row["samples"] for row in pooled} == {3}
