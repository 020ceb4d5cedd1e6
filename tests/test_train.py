"""The training loop: resumes to the bit, writes what it says, refuses what it must."""

import io
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_models import use_recipe
from PIL import Image

from b2m.data import stream
from b2m.data.sample import SampleBatch
from b2m.errors import InputError
from b2m.guidance.quantize import quantize
from b2m.hub import find_weights
from b2m.hub_client import plan
from b2m.models.animator import Animation, MotionAnimator, MotionAnimatorConfig
from b2m.models.blur_flow import BlurFlowNet, BlurFlowNetConfig
from b2m.models.guidance_predictor import (
    GuidanceDiscriminator,
)
from b2m.train import loop as training
from b2m.train.objectives import AnimatorObjective
from b2m.train.recipes import all_recipes, find_recipe
from b2m.visualize import plots
from b2m.visualize.notebook import live_view

RECIPE = "animator-tiny"


@pytest.fixture(scope="module")
def textures(tmp_path_factory):
    """Folders of photos and of cut-outs, with the splits that training reads."""
    folder = tmp_path_factory.mktemp("textures")
    rng = np.random.default_rng(0)
    for kind, mode in (("photos", "RGB"), ("cutouts", "RGBA")):
        for split in ("train", "val"):
            (folder / kind / split).mkdir(parents=True)
            for number in range(2):
                coarse = rng.integers(0, 256, (9, 9, len(mode)), dtype=np.uint8)
                image = Image.fromarray(coarse, mode).resize((80, 72), Image.Resampling.BICUBIC)
                image.save(folder / kind / split / f"{number}.png")
    return {"photos": folder / "photos", "cutouts": folder / "cutouts"}


CURVE = plots.training_curve


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(stream, "_CHUNK_SCENES", 4)  # so that runs of ten steps cross chunks
    monkeypatch.setattr(training, "_VALIDATION_SCENES", 3)
    # Half of the time of runs as short as these.
    monkeypatch.setattr(plots, "training_curve", lambda *_: None)


def train(folder, textures, samples, **options):
    return training.train(RECIPE, output=folder, samples=samples, **(textures | options))


def checkpoint(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def tensors(state, name=""):
    """All tensors and numbers in a nest of dictionaries and lists."""
    if isinstance(state, dict):
        state = state.items()
    elif isinstance(state, list | tuple):
        state = enumerate(state)
    else:
        yield name, state
        return
    for key, part in state:
        yield from tensors(part, f"{name}.{key}")


def different(one, other):
    """Names of what differs between two checkpoints, but for the time that they took."""
    one, other = dict(tensors(one)), dict(tensors(other))
    assert one.keys() == other.keys()
    return [
        name
        for name, value in one.items()
        if name != ".seconds"
        and not (
            torch.equal(value, other[name])
            if isinstance(value, torch.Tensor)
            else value == other[name]
        )
    ]


@pytest.fixture(scope="module")
def run(textures, tmp_path_factory):
    """A run of ten steps, of two samples each."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "_CHUNK_SCENES", 4)
        patch.setattr(training, "_VALIDATION_SCENES", 3)
        weights = train(folder, textures, 20, validate_every=8)
    assert weights == folder / "weights"
    return folder


# --- what a run leaves ---------------------------------------------------------------------------


def test_a_run_writes_log_pictures_checkpoint_and_weights(run):
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [row["samples"] for row in rows] == [8, 16, 20]
    for row in rows:
        assert all(math.isfinite(value) for value in row.values())
        assert {"loss", "psnr", "psnr_photo", "epe", "epe_zero", "synthesis"} <= row.keys()
        assert 0 <= row["synthesis"] <= 1
    assert len({(row["psnr_photo"], row["epe_zero"]) for row in rows}) == 1  # the same scenes
    assert checkpoint(run)["step"] == 10


def test_what_a_run_leaves_can_be_published(run):
    upload = plan(run / "weights", "someone/animator", owner="someone")
    assert set(upload.files) == {"README.md", "config.json", "model.safetensors"}
    row = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    card = (run / "weights" / "README.md").read_text()
    assert "`b2m train animator-tiny`" in card and "20 samples" in card
    assert f"| animator, true guidance (clip PSNR (dB)) | {row['psnr']:.2f} |" in card


def test_a_notebook_sees_the_run_at_every_checkpoint(run, textures, tmp_path, monkeypatch):
    shown = []

    def display(picture, display_id):
        shown.append(picture)
        return SimpleNamespace(update=shown.append)

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr(plots, "training_curve", CURVE)
    train(tmp_path, textures, 4, validate_every=2, save_minutes=0, on_save=live_view())
    # A checkpoint after each of two steps and one at the end.
    assert len(shown) == 3 * 2
    for picture, name in zip(shown[-2:], ("curve.png", "sheet.png"), strict=True):
        written = np.asarray(Image.open(tmp_path / name).convert("RGB"), float)
        seen = np.asarray(Image.open(io.BytesIO(picture.data)), float)
        assert np.abs(written - seen).mean() < 5


def test_the_weights_are_the_averaged_ones_in_half_precision(run):
    model = MotionAnimator.from_pretrained(run / "weights")
    assert model.config == MotionAnimatorConfig.tiny()
    ema = checkpoint(run)["ema"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, ema[name].half().float()), name
    assert find_weights("animator", run / "weights") == run / "weights"


# --- going on ------------------------------------------------------------------------------------


def test_going_on_is_the_same_to_the_bit_as_never_having_stopped(run, textures, tmp_path):
    train(tmp_path, textures, 10)
    assert checkpoint(tmp_path)["step"] == 5
    assert different(checkpoint(tmp_path), checkpoint(run))
    torch.manual_seed(77)  # nothing may depend on it
    train(tmp_path, textures, 20)
    assert different(checkpoint(tmp_path), checkpoint(run)) == []


def test_a_run_that_is_done_stays_as_it_is(run, textures):
    before = checkpoint(run)
    train(run, textures, 20)
    assert different(checkpoint(run), before) == []
    train(run, textures, None, hours=0)
    assert different(checkpoint(run), before) == []


def test_a_decay_releases_weights_and_leaves_the_run_alone(run, textures):
    kept = {
        path: path.read_bytes()
        for path in (run / "checkpoint.pt", run / "log.jsonl", run / "weights/model.safetensors")
    }
    folder = train(run, textures, None, decay=8)
    assert folder == run / "released"
    released = MotionAnimator.from_pretrained(folder)
    before = MotionAnimator.from_pretrained(run / "weights")
    assert any(
        not torch.equal(one, other)
        for one, other in zip(released.parameters(), before.parameters(), strict=True)
    )
    for path, content in kept.items():
        assert path.read_bytes() == content, path
    log = (run / "decay.jsonl").read_bytes()
    train(run, textures, None, decay=8)
    assert len((run / "decay.jsonl").read_bytes().splitlines()) == len(log.splitlines())


@pytest.fixture
def rates(monkeypatch):
    """The learning rates of all steps that are made."""
    found, optimise = [], training.Run._optimise

    def watched(self, batch):
        (rate,) = {group["lr"] for group in self.optimizer.param_groups}
        found.append(rate)
        return optimise(self, batch)

    monkeypatch.setattr(training.Run, "_optimise", watched)
    return found


def test_the_rate_warms_up_stays_and_falls_to_zero_in_a_decay(textures, tmp_path, rates):
    train(tmp_path, textures, 8)
    train(tmp_path, textures, None, decay=8)
    rate = find_recipe(RECIPE).learning_rate
    expected = [0.5, 1, 1, 1, 1, 0.75, 0.5, 0.25]  # a warm-up of two steps
    assert rates == pytest.approx([rate * share for share in expected])


def test_a_decay_falls_from_the_rate_that_the_run_came_to(textures, tmp_path, monkeypatch, rates):
    recipe = replace(find_recipe(RECIPE), learning_rate=0.008, milestones=(2, 4), warmup=1)
    use_recipe(monkeypatch, recipe)
    train(tmp_path, textures, 2)
    train(tmp_path, textures, 6)  # the schedule goes on where it was
    train(tmp_path, textures, None, decay=8)
    assert rates == pytest.approx([0.008, 0.004, 0.002, 0.002, 0.0015, 0.001, 0.0005])


def test_starting_anew_forgets_the_checkpoint_and_puts_the_old_log_aside(textures, tmp_path):
    train(tmp_path, textures, 4)
    old = (tmp_path / "log.jsonl").read_text()
    train(tmp_path, textures, 2, resume=False)
    assert checkpoint(tmp_path)["step"] == 1
    assert (tmp_path / "log-before.jsonl").read_text() == old
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == len(old.splitlines())


def test_what_was_logged_after_the_checkpoint_is_forgotten(textures, tmp_path):
    train(tmp_path, textures, 2)
    before = (tmp_path / "log.jsonl").read_text()
    later = json.loads(before.splitlines()[-1]) | {"samples": 4}
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write(json.dumps(later) + "\n")  # as of a run that was killed then
        log.write('{"samples": 6')  # in the middle of the next row
    train(tmp_path, textures, 2)
    assert (tmp_path / "log.jsonl").read_text() == before


def test_a_run_starts_warm_from_given_weights_or_those_that_ship(
    run, textures, tmp_path, monkeypatch
):
    given = MotionAnimator.from_pretrained(run / "weights").state_dict()

    def starts_warm(folder, **options):
        train(folder, textures, 0, **options)
        state = checkpoint(folder)
        assert state["step"] == 0
        return all(
            torch.equal(state[kind][name], value)
            for name, value in given.items()
            for kind in ("model", "ema")
        )

    assert starts_warm(tmp_path / "given", init=run / "weights")
    monkeypatch.setenv("B2M_WEIGHTS", str(run / "weights"))  # as if they shipped
    assert starts_warm(tmp_path / "shipped")
    assert not starts_warm(tmp_path / "cold", init=training.RANDOM)
    # Where there is a checkpoint it counts, not the weights.
    train(tmp_path / "cold", textures, 2)
    before = checkpoint(tmp_path / "cold")
    train(tmp_path / "cold", textures, 2, init=run / "weights")
    assert different(checkpoint(tmp_path / "cold"), before) == []


# --- the papers' models --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "guidance-predictor",
        "decomposer-compact",
        "jin-compact",
        "video-restorer-compact",
        "blur-flow-compact",
    ],
)
def test_a_model_of_the_papers_trains_goes_on_and_is_released(
    name, textures, tmp_path, monkeypatch
):
    recipe = find_recipe(name)
    assert recipe.config == recipe.model.config_class.compact()
    config = recipe.model.config_class.tiny()
    small = replace(recipe, config=config, scene=64, crop=48, batch=2, blur=(4.0, 8.0), warmup=2)
    use_recipe(monkeypatch, small)
    for folder, stops in ((tmp_path / "whole", (4,)), (tmp_path / "parts", (2, 4))):
        for samples in stops:
            torch.manual_seed(samples)  # nothing may depend on it
            training.train(name, output=folder, samples=samples, **textures)
    state = checkpoint(tmp_path / "whole")
    assert different(state, checkpoint(tmp_path / "parts")) == []
    assert state["step"] == 2
    torch.manual_seed(0)
    model = recipe.model(config)
    trained = recipe.model.from_pretrained(tmp_path / "whole" / "weights")
    assert trained.config == config
    for key, value in trained.state_dict().items():
        assert value.isfinite().all(), key
        # How many batches there were is counted, not averaged.
        averaged = state["ema"][key]
        kept = averaged.half().float() if averaged.is_floating_point() else averaged
        assert torch.equal(value, kept), key
    start = dict(model.named_parameters())
    moved = [not torch.equal(start[key], value) for key, value in trained.named_parameters()]
    assert sum(moved) > 0.9 * len(moved)  # of so few channels some are dead
    if name == "guidance-predictor":
        start = GuidanceDiscriminator(config.width).state_dict()
        assert all(not torch.equal(start[key], now) for key, now in state["discriminator"].items())
    for row in (tmp_path / "whole" / "log.jsonl").read_text().splitlines():
        scores = json.loads(row)
        assert all(math.isfinite(value) for value in scores.values())
        assert {key for _, panel in recipe.objective.panels for key in panel} <= scores.keys()
    folder = training.train(name, output=tmp_path / "whole", decay=2, **textures)
    assert folder == tmp_path / "whole" / "released"
    assert recipe.model.from_pretrained(folder).config == config
    assert find_weights(recipe.model.weights_name, folder) == folder
    assert different(checkpoint(tmp_path / "whole"), state) == []


@pytest.mark.parametrize("name", [name for name in all_recipes() if "-paper" in name])
def test_recipes_of_the_papers_are_of_their_sizes(name):
    recipe = find_recipe(name)
    paper = recipe.model.config_class.paper()
    assert recipe.config == (paper.three_frames() if name.endswith("three-frames") else paper)
    # Neither warmed up nor clipped, which no paper does.
    assert (recipe.warmup, recipe.clip_norm) == (1, math.inf)


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        # Half a cosine at its start, third, middle and end: 500 epochs of 10,000.
        ("decomposer-paper", {0: 2e-4, 1_666_667: 1.5025e-4, 2_500_000: 1.005e-4, 5_000_000: 1e-6}),
        # 400 epochs of 10,000.
        ("decomposer-paper-aist", {0: 1e-4, 2_000_000: 5.05e-5, 4_000_000: 1e-6, 10**7: 1e-6}),
        ("jin-paper", {0: 1e-4, 2_500_000: 5.05e-5, 5_000_000: 1e-6}),
        # Epochs 40 and 60, of 20,000.
        ("video-restorer-paper", {0: 1e-4, 799_999: 1e-4, 800_000: 5e-5, 1_200_000: 2.5e-5}),
        ("video-restorer-paper-three-frames", {799_999: 1e-4, 800_000: 5e-5, 1_600_000: 2.5e-5}),
        # Epochs 100, 150, 200 and 250, of 10,000.
        ("blur-flow-paper", {999_999: 1e-4, 10**6: 5e-5, 1_500_000: 2.5e-5, 2_500_000: 6.25e-6}),
        # Epochs 60, 80 and 100.
        ("blur-flow-paper-fine-tuning", {599_999: 1e-4, 600_000: 5e-5, 10**6: 1.25e-5}),
        ("animator", {0: 4e-4, 10**9: 4e-4}),
    ],
)
def test_rates_are_the_papers(name, rates):
    for samples, rate in rates.items():
        assert find_recipe(name).rate(samples) == pytest.approx(rate, rel=1e-5), samples


@pytest.mark.parametrize(
    ("name", "optimizer", "batch", "crop"),
    [  # Zhong 2022, appendix C; Argaw 2021a and 2021b, implementation details
        ("decomposer-paper", ("adamw", 1e-4), 16, (256, False)),
        ("decomposer-paper-aist", ("adamw", 1e-4), 8, (192, False)),
        ("jin-paper", ("adam", 0.0), 8, (256, False)),
        ("video-restorer-paper", ("adam", 0.0), 4, (256, False)),
        ("video-restorer-paper-three-frames", ("adam", 0.0), 8, (128, False)),
        ("blur-flow-paper", ("adam", 4e-4), 4, (256, True)),
        ("blur-flow-paper-fine-tuning", ("adam", 4e-4), 4, (256, True)),
    ],
)
def test_batches_are_the_papers(name, optimizer, batch, crop):
    recipe = find_recipe(name)
    assert (recipe.optimizer, recipe.weight_decay) == optimizer
    assert (recipe.batch, recipe.crop, recipe.centred) == (batch, *crop)


def begun(recipe, folder, textures):
    """A run that is there, but has made no step."""
    run = training.Run(recipe, folder, 0)
    run.build(**textures, clips=None, init=training.RANDOM, resume=False)
    return run


@pytest.mark.parametrize("centred", [True, False])
def test_centred_crops_are_the_middle(centred, textures, tmp_path, monkeypatch):
    """Each pixel says where it was; turning and mirroring leave the middle where it is."""
    run = begun(replace(find_recipe(RECIPE), crop=30, centred=centred), tmp_path, textures)
    run.stream(0)
    monkeypatch.setattr(run.stream, "_render_chunk", lambda number: None)
    places = torch.arange(48.0).expand(48, 48)
    chunk = run.stream._chunk
    run.stream._chunk = chunk._replace(flows=torch.stack([places, places.T]).expand_as(chunk.flows))
    middles = {
        tuple(run.stream(step).flow.abs().mean((0, 2, 3)).sort()[0].tolist()) for step in range(8)
    }
    if centred:
        assert middles == {(23.5, 23.5)}  # of 0 to 47
    else:
        assert len(middles) > 4


@pytest.mark.parametrize(
    ("name", "kind", "decays"),
    [("adam", torch.optim.Adam, {0.25}), ("adamw", torch.optim.AdamW, {0.0, 0.25})],
)
def test_the_optimiser_is_the_recipes(name, kind, decays, textures, tmp_path):
    recipe = replace(find_recipe(RECIPE), optimizer=name, weight_decay=0.25, betas=(0.8, 0.9))
    run = begun(recipe, tmp_path, textures)
    optimizer = run.optimizer.optimizer
    assert type(optimizer) is kind
    assert {group["betas"] for group in optimizer.param_groups} == {(0.8, 0.9)}
    assert {group["weight_decay"] for group in optimizer.param_groups} == decays
    assert all(
        parameter.ndim > 1 or group["weight_decay"] == min(decays)
        for group in optimizer.param_groups
        for parameter in group["params"]
    )
    held = sum(len(group["params"]) for group in optimizer.param_groups)
    assert held == len(list(run.model.parameters()))


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_norms_keep_their_statistics(frozen, textures, tmp_path):
    recipe = find_recipe("blur-flow-compact")
    tiny = {"config": BlurFlowNetConfig.tiny(), "scene": 64, "crop": 48, "batch": 2, "warmup": 1}
    recipe = replace(recipe, frozen_norms=frozen, camera_samples=0, **tiny)
    BlurFlowNet(recipe.config).save_pretrained(tmp_path / "weights")
    run = training.Run(recipe, tmp_path / "run", 0)
    run.build(**textures, clips=None, init=tmp_path / "weights", resume=False)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.loop(4, None, 0, 100, 60.0)
    changed = {
        name.rsplit(".", 1)[-1]
        for name, value in run.model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    statistics = {"running_mean", "running_var"}
    assert {"weight", "bias"} <= changed
    assert changed & statistics == (set() if frozen else statistics)


# --- refusals ------------------------------------------------------------------------------------


def test_an_unknown_recipe(tmp_path):
    with pytest.raises(InputError, match="no recipe is called 'animater'; there are animator"):
        training.train("animater", output=tmp_path)


def test_frozen_norms_need_weights(textures, tmp_path):
    recipe = replace(find_recipe("blur-flow-compact"), frozen_norms=True)
    with pytest.raises(InputError, match="--init"):
        begun(recipe, tmp_path, textures)


@pytest.mark.parametrize("kind", ["photos", "cutouts"])
def test_folders_without_what_training_needs(textures, tmp_path, kind):
    (tmp_path / "train").mkdir()
    for folder, word in ((tmp_path, "split 'train'"), (tmp_path / "none", "is not a folder")):
        with pytest.raises(InputError, match=word):
            train(tmp_path / "run", textures | {kind: folder}, 2)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_seed_or_model(run, textures, monkeypatch):
    before = (run / "checkpoint.pt").read_bytes()
    with pytest.raises(InputError, match="was begun with seed 0, not 1"):
        train(run, textures, 8, seed=1)
    other = replace(find_recipe(RECIPE), name="other", config=MotionAnimatorConfig((16, 16, 32)))
    use_recipe(monkeypatch, other)
    with pytest.raises(InputError, match="of another model than recipe 'other'"):
        training.train("other", output=run, samples=2, **textures)
    assert (run / "checkpoint.pt").read_bytes() == before


def test_a_damaged_checkpoint(run, textures, tmp_path):
    for content in (b"", b"nothing", (run / "checkpoint.pt").read_bytes()[:5000]):
        (tmp_path / "checkpoint.pt").write_bytes(content)
        with pytest.raises(InputError, match=r"checkpoint\.pt cannot be read"):
            train(tmp_path, textures, 2)


@pytest.mark.parametrize("where", ["build", "_optimise"])
def test_too_little_memory(textures, tmp_path, monkeypatch, where):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(training.Run, where, full)
    with pytest.raises(InputError, match=r"memory is too small for recipe 'animator-tiny'.*"):
        train(tmp_path, textures, 4)


def test_a_decay_without_a_checkpoint(textures, tmp_path):
    with pytest.raises(InputError, match="holds no checkpoint to release"):
        train(tmp_path, textures, None, decay=4)


def test_a_warm_start_from_another_model(textures, tmp_path):
    MotionAnimator(MotionAnimatorConfig(widths=(16, 16, 32))).save_pretrained(tmp_path / "wide")
    with pytest.raises(InputError, match="of another size than recipe 'animator-tiny'"):
        train(tmp_path / "run", textures, 2, init=tmp_path / "wide")
    with pytest.raises(InputError):
        train(tmp_path / "run", textures, 2, init=tmp_path / "nowhere")


# --- parts ---------------------------------------------------------------------------------------


def test_runs_live_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("B2M_RUNS", str(tmp_path / "runs"))
    assert training.runs_folder() == tmp_path / "runs"
    monkeypatch.delenv("B2M_RUNS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert training.runs_folder() == tmp_path / "b2m" / "runs"


def test_validation_is_its_definition():
    rng = np.random.default_rng(1)
    count, frames = 11, 3
    truth, found = rng.random((2, count, frames, 3, 8, 9))
    found = found * 1.4 - 0.2  # some of it has to be clipped
    photo = rng.random((count, 3, 8, 9))
    flow, estimate = rng.normal(0, 5, (2, count, 2, 8, 9))
    rows = iter(range(count))

    def model(photo, guidance):
        picked = [next(rows) for _ in photo]
        assert torch.equal(guidance, scenes.guidance[picked])
        return Animation(torch.from_numpy(found[picked]), torch.from_numpy(estimate[picked]))

    flow_tensor = torch.from_numpy(flow)
    scenes = SampleBatch.of(torch.from_numpy(photo), torch.from_numpy(truth), flow_tensor)
    scores = AnimatorObjective.validate(model, scenes)
    expected = {name: [] for name in ("psnr", "psnr_photo", "epe", "epe_zero")}
    for b in range(count):
        for name, images in (("psnr", found[b]), ("psnr_photo", [photo[b]] * frames)):
            errors = [
                ((np.clip(i, 0, 1) - t) ** 2).mean() for i, t in zip(images, truth[b], strict=True)
            ]
            expected[name].append(np.mean([-10 * math.log10(error) for error in errors]))
        expected["epe"].append(np.hypot(*(estimate[b] - flow[b])).mean())
        expected["epe_zero"].append(np.hypot(*flow[b]).mean())
    assert scores == {name: pytest.approx(np.mean(rows)) for name, rows in expected.items()}


@pytest.mark.parametrize("name", all_recipes())
def test_recipes_hold_together(name):
    recipe = find_recipe(name)
    assert recipe.name == name
    assert recipe.crop <= recipe.scene
    assert recipe.longest_blur(0) == recipe.blur[0]
    assert recipe.longest_blur(10**9) == recipe.blur[1]
    for samples in (0, recipe.blur_samples // 2, 10**8):
        for share in (0.0, 0.5, 0.999):
            scenes = recipe.scenes(samples, share, share)
            first = samples < recipe.camera_samples
            assert scenes.kind in ({"camera"} if first else recipe.kinds)
            least, most = scenes.blur
            assert 0 < least < most <= max(4.0, recipe.longest_blur(samples))


def test_the_objective_compares_ends_middle_and_a_pair(textures):
    recipe = find_recipe(RECIPE)
    model = MotionAnimator(recipe.config)
    objective = AnimatorObjective(model, replace(recipe, loss={"guided": 1.0}))
    photo = torch.rand(1, 3, 32, 32)
    flow = torch.full((1, 2, 32, 32), 4.0)
    with torch.no_grad():
        animation = model(photo, quantize(flow).float())
    batch = {"photo": photo, "flow": flow, "path": flow, "guidance": quantize(flow).float()}
    seen = []
    for wrong in range(7):
        frames = animation.frames.clone()
        frames[:, wrong] += 1
        losses = [objective(batch | {"frames": frames}, step)["model"].item() for step in (0, 1)]
        right = objective(batch | {"frames": animation.frames}, 0)["model"].item()
        seen.append([round(loss - right, 2) for loss in losses])
    # A frame that is wrong by 1 costs one fifth where it is compared.
    always, even, odd = [0.2, 0.2], [0.2, 0], [0, 0.2]
    assert seen == [always, even, odd, always, odd, even, always]


def test_two_processes_train_together_in_bfloat16(textures, tmp_path):
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "bf16", "--dynamo_backend", "no"]
    script = tmp_path / "train.py"
    script.write_text(
        "import sys\nfrom b2m.cli import main\nfrom b2m.train import loop\n"
        "loop._VALIDATION_SCENES = 3\nsys.exit(main(['train', *sys.argv[1:]]))\n"
    )
    command = [sys.executable, *launch, "--main_process_port", "0", str(script), RECIPE]
    options = [f"--{kind}={path}" for kind, path in textures.items()]
    done = subprocess.run(
        [*command, *options, "--samples=8", f"--output={tmp_path}"],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    state = checkpoint(tmp_path)
    # Each step takes a batch of two in either process.
    assert (state["samples"], state["step"]) == (8, 2)
    for name, value in state["model"].items():
        assert value.dtype == torch.float32 and value.isfinite().all(), name


def test_a_cpu_does_not_train_in_bfloat16_where_nobody_asks(textures, tmp_path):
    assert begun(find_recipe(RECIPE), tmp_path, textures).accelerator.mixed_precision == "no"
