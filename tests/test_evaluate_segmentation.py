"""The table of segmentation: overlaps that are known by counting, and a few scenes."""

import json

import numpy as np
import pytest
import torch

from b2m.evaluate import methods
from b2m.evaluate.methods import Method
from b2m.evaluate.run import evaluate
from b2m.evaluate.table import Options
from b2m.evaluate.tables.flow_applications import (
    TRUE,
    DeconvolutionTable,
    SegmentationTable,
)
from b2m.metrics import overlap
from b2m.models import MotionAnimator

pytestmark = pytest.mark.usefixtures("few_textures")


def test_overlap():
    truth, found = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    truth[:, :4] = True
    found[:, 2:8] = True
    keys = ("iou", "precision", "recall")
    known = dict(zip(keys, (20 / 80, 20 / 60, 20 / 40), strict=True))
    assert overlap(found, truth) == pytest.approx(known)
    assert overlap(truth, truth) == dict.fromkeys(keys, 1)
    assert overlap(np.zeros_like(truth), truth) == dict.fromkeys(keys, 0)


def test_the_true_flow_finds_what_moves(monkeypatch):
    monkeypatch.setattr(SegmentationTable, "size", 96)
    nothing = Method("nothing", flow=lambda sample: np.zeros_like(sample.flow))
    table = SegmentationTable(Options(samples=6), [nothing])
    by_name = {row["name"]: row for row in table.compute()}
    for group in ("static camera", "any motion"):
        assert by_name[f"{group}: {TRUE}"]["iou"] > 0.6
        assert by_name[f"{group}: nothing"]["iou"] == 0
        assert 0 < by_name[f"{group}: {TRUE}"]["samples"] <= 6
    assert "procedural" in table.notes()[0]


@pytest.mark.parametrize("table", ["segmentation", "2021b-T2"])
def test_the_tables_say_what_was_not_run(table, tmp_path, monkeypatch, capsys):
    from PIL import Image

    monkeypatch.setenv("B2M_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(SegmentationTable, "size", 64)
    monkeypatch.setattr(DeconvolutionTable, "photo_size", (64, 96))
    monkeypatch.setattr(methods, "COST_SIZE", (32, 48))
    torch.manual_seed(0)
    MotionAnimator(MotionAnimator.config_class.tiny()).save_pretrained(tmp_path / "w" / "animator")
    noise = np.random.default_rng(0).integers(0, 256, (80, 120, 3), np.uint8)
    (tmp_path / "photos" / "train").mkdir(parents=True)
    (tmp_path / "photos" / "test").mkdir()
    Image.fromarray(noise).save(tmp_path / "photos" / "test" / "noise.png")
    photos = tmp_path / "photos" if table == "2021b-T2" else None
    path = evaluate(table, samples=1, photos=photos, weights=tmp_path / "w", output=tmp_path)
    names = [row["name"] for row in json.loads(path.read_text())["rows"]]
    assert any(name.endswith(": animator") for name in names)
    assert names[-1] == "all: BlurFlowNet (not run)"
    assert (tmp_path / f"{table}.png").stat().st_size > 3000
    assert "PSNR" in capsys.readouterr().out or table == "segmentation"
