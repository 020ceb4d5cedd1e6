"""What CONTRIBUTING shows: a model, a table and a layout are added by one file or function each."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from torch import nn

import b2m
from b2m.api import BlurAnimator, animators
from b2m.data.build import build
from b2m.data.footage import Source
from b2m.data.recipes import DATASET_RECIPES
from b2m.data.scenes import SceneConfig, render
from b2m.data.storage import read_index
from b2m.data.textures import procedural_cutouts, procedural_textures
from b2m.evaluate import all_tables
from b2m.evaluate.methods import Method
from b2m.evaluate.scoring import PHOTO, Prediction, Scorer
from b2m.evaluate.table import Group, Table
from b2m.evaluate.test_sets import scene_samples
from b2m.hub import HubModel
from b2m.losses import charbonnier
from b2m.media.video import write_mp4
from b2m.registry import LAYOUTS, MODELS, TABLES, register_layout, register_model, register_table
from b2m.train.recipes import find_recipe


@pytest.fixture(autouse=True)
def leave_no_trace():
    all_tables()  # a table that a test registers is not to be the first
    before = [dict(entries) for entries in (MODELS, TABLES, LAYOUTS)]
    yield
    for entries, known in zip((MODELS, TABLES, LAYOUTS), before, strict=True):
        entries.clear()
        entries.update(known)


def test_a_model():
    @dataclass(frozen=True)
    class TripletConfig:
        kernel: int = 3

    recipe = {"config": TripletConfig(), "scene": 48, "crop": 32, "batch": 2, "blur": (4.0, 8.0)}

    @register_model("triplet", recipes={"triplet": recipe})
    class Triplet(HubModel):
        """Blurred photo to three frames."""

        config_class = TripletConfig
        native_frames = 3

        def __init__(self, config=None):
            config = config or TripletConfig()
            super().__init__(config)
            self.change = nn.Conv2d(3, 9, config.kernel, padding="same")

        def forward(self, photo, guidance=None):
            """(B, 3, H, W) in [0, 1] to frames (B, 3, 3, H, W)."""
            return photo[:, None] + self.change(photo).unflatten(1, (3, 3))

        def loss(self, batch, step):
            """Smooth absolute difference of all three."""
            truth = batch["frames"][:, [0, 3, 6]]
            return {"model": charbonnier(self(batch["photo"]), truth)}

    assert animators()["triplet"] is Triplet
    photo = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    clips = BlurAnimator(Triplet().eval()).animate(photo, frames=3, motions=2)
    assert [clip.frames.shape for clip in clips] == [(3, 48, 64, 3)] * 2

    found = find_recipe("triplet")
    textures = procedural_textures(2, 64), procedural_cutouts(2, 64)
    scenes = render(*textures, SceneConfig(size=48, blur=(4.0, 8.0)), 2, seed=0)
    objective = found.objective(Triplet(), found)
    loss = objective(scenes._asdict(), step=0)["model"]
    loss.backward()
    assert all(part.grad is not None for part in objective.parameters())
    scores = found.objective.validate(objective.model.eval(), scenes)
    assert scores["psnr"] > 0


def test_a_table(tmp_path):
    @register_table("grey")
    class GreyTable(Table):
        """How bright the scenes are."""

        columns = {"samples": ("n", "d"), "grey": ("mean grey", ".1f")}  # noqa: RUF012
        default_samples = 3

        def groups(self):
            """Scenes of any motion."""
            config = SceneConfig(size=32)
            found = scene_samples(None, None, config, self.sample_count, split="test", number=0)
            yield Group("scenes", found, self.sample_count)

        def score(self, sample):
            """The photo alone."""
            yield PHOTO, {"grey": sample.photo.mean()}

        def notes(self):
            """What the numbers are."""
            return ["Of 8-bit sRGB."]

    path = b2m.evaluate.evaluate("grey", output=tmp_path)
    (row,) = json.loads(path.read_text("utf-8"))["rows"]
    assert row["name"] == f"scenes: {PHOTO}"
    assert row["samples"] == 3
    assert 0 < row["grey"] < 255
    assert "Of 8-bit sRGB." in path.with_suffix(".md").read_text("utf-8")


def test_a_table_that_compares_methods(tmp_path):
    @register_table("exposures")
    class ExposuresTable(Table):
        """How near the true frames are to themselves, but darker."""

        columns = {"samples": ("n", "d"), "psnr": ("PSNR", ".2f")}  # noqa: RUF012
        default_samples = 2

        def load_methods(self):
            """Frames of half the values."""
            return [Method("darker", lambda sample: [Prediction(sample.frames // 2)])]

        def groups(self):
            """Scenes of camera motion."""
            yield self.scene_group("camera", "camera", self.sample_count, 0)

        def score(self, sample):
            """The photo repeated, then the method."""
            for label, clip, _ in Scorer(sample).best_clips(self.methods):
                yield label, {"psnr": clip.psnr.mean()}

    path = b2m.evaluate.evaluate("exposures", output=tmp_path)
    photo, darker = json.loads(path.read_text("utf-8"))["rows"]
    assert (photo["name"], darker["name"]) == (f"camera: {PHOTO}", "camera: darker")
    assert 0 < darker["psnr"] < photo["psnr"]


def test_a_layout(tmp_path):
    @register_layout("holidays")
    def _holidays(folder, scheme):
        """YEAR/NAME.mp4: what was filmed before 2020 is to train on, the rest to test on."""
        return [
            Source(path.stem, "train" if path.parent.name < "2020" else "test", path)
            for path in sorted(folder.glob("[0-9]*/*.mp4"))
        ]

    frames = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8)
    for name in ("2019/beach", "2021/forest"):
        path = (tmp_path / "holidays" / name).with_suffix(".mp4")
        path.parent.mkdir(parents=True)
        write_mp4(path, frames, 30)
    recipe = replace(DATASET_RECIPES["video"], name="holidays", layout="holidays")
    assert build(recipe, tmp_path / "holidays", tmp_path / "set").samples == 2
    splits = {record.source: record.split for record in read_index(tmp_path / "set")}
    assert splits == {"beach": "train", "forest": "test"}


def test_a_name_is_registered_once():
    recipes = MODELS["decomposer"].recipes
    with pytest.raises(ValueError, match="'jin' is registered twice"):
        register_model("jin", recipes)(MODELS["decomposer"])
