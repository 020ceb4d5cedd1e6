"""The table of sharp photos: what moves is counted, the worst comes first."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from b2m.evaluate.run import evaluate
from b2m.evaluate.table import Group, Options
from b2m.evaluate.tables.sharp import SharpTable
from b2m.models import MotionAnimator


class Mover:
    """Moves as many columns of a photo by 10 pixels as its name says."""

    def animate(self, path):
        flow = np.zeros((10, 100, 2), np.float32)
        flow[:, : int(path.stem), 0] = 10
        flow[:, 99, 1] = 2  # too little to count
        moves = bool(int(path.stem))
        return [SimpleNamespace(flow=flow, is_still=not moves, fastest=10.0 * moves)]


def test_what_moves_is_counted_the_worst_first():
    class Known(SharpTable):
        def groups(self):
            yield Group("all photos", [Path(f"{name}.png") for name in (0, 5, 40)])

    table = Known(Options(split="val"), Mover())
    rows, notes = table.compute(), table.notes()
    assert [row["name"] for row in rows] == ["all photos", "40", "5"]
    assert rows[0]["samples"] == 3 and rows[0]["still"] == 1
    assert rows[0]["moving"] == pytest.approx(0.15) and rows[0]["fastest"] == 10
    assert [row["moving"] for row in rows[1:]] == pytest.approx([0.4, 0.05])
    assert "val split" in notes[0]


def test_the_table(tmp_path):
    MotionAnimator(MotionAnimator.config_class.tiny()).save_pretrained(tmp_path / "w" / "animator")
    for split in ("train", "test"):
        (tmp_path / "photos" / split).mkdir(parents=True)
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 256, (64, 96, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / "test" / f"{number}.png")
    options = {"photos": tmp_path / "photos", "weights": tmp_path / "w", "output": tmp_path}
    path = evaluate("sharp", samples=1, **options)
    assert json.loads(path.read_text())["rows"][0]["samples"] == 1
    assert "--table sharp --samples 1" in path.with_suffix(".md").read_text()
