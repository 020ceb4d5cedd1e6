"""From official folders to numbers: data sets that were built train models and are measured."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from made_models import use_recipe
from test_build import gopro_tree, monkaa_scene, panning, texture, write_frames

from b2m.cli import main
from b2m.data import raft
from b2m.data.datasets import BuiltStream, open_mix, validation_samples
from b2m.data.sample import SampleBatch
from b2m.data.storage import read_index
from b2m.errors import InputError
from b2m.evaluate.run import evaluate
from b2m.media.video import write_mp4
from b2m.models.blur_flow import BlurFlowNetConfig
from b2m.train.loop import train
from b2m.train.recipes import find_recipe

SEQUENCES = ("train/GOPR0374_11_00", "train/GOPR0374_11_01", "test/GOPR0384_11_00")


pytestmark = pytest.mark.usefixtures("few_textures")


@pytest.fixture(scope="module", autouse=True)
def no_costs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("b2m.evaluate.methods.measure_cost", lambda *_: (None, None))  # takes minutes
        yield


def build(tmp, recipe, source, *more):
    out = tmp / f"{recipe}-set"
    command = ["data", "build", "--recipe", recipe, "--source", str(source), "-o", str(out)]
    assert main([*command, "--workers", "1", *map(str, more)]) == 0
    return out


def pairs_tree(folder):
    frames = panning(3)
    for name in SEQUENCES:
        write_frames(folder / name / "sharp", frames, first=47)
        write_frames(folder / name / "blur", [frame // 2 + 30 for frame in frames], first=47)
    return folder


def monkaa_tree(folder):
    for scene in ("eating_x2", "flower_storm_x2", "lonetree_x2"):
        monkaa_scene(folder, scene, panning(4, 6), [6] * 4)
    return folder


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    tmp = tmp_path_factory.mktemp("sets")
    for split in ("train", "val", "test"):
        write_frames(tmp / "walls" / split, [texture(3, 128, 256)], split + ".png")
    return {
        "gopro": build(tmp, "gopro", gopro_tree(tmp / "gopro", 30, SEQUENCES)),
        "gopro-pairs": build(tmp, "gopro-pairs", pairs_tree(tmp / "pairs")),
        "monkaa": build(tmp, "monkaa", monkaa_tree(tmp / "monkaa")),
        "panorama": build(tmp, "panorama", tmp / "walls", "--count", 9, "--size", 48),
    }


def rows_of(path):
    return {row["name"]: row for row in json.loads(path.read_text())["rows"]}


def test_films_train_and_are_measured(sets, tmp_path, capsys):
    """GoPro and panoramas to the animator by the command line, then 2021b-T1 on each."""
    named = [str(sets["gopro"]), f"{sets['panorama']}=2"]
    run = tmp_path / "run"
    command = ["train", "animator-tiny", "--data", *named, "--samples", "12", "-o", str(run)]
    assert main(command) == 0
    checkpoint = torch.load(run / "checkpoint.pt", weights_only=True)
    assert checkpoint["step"] == 6
    scores = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    assert scores["samples"] == 12 and 5 < scores["psnr"] < 60
    command = ["evaluate", "--table", "2021b-T1", "--data", *named[:1], str(sets["panorama"])]
    assert main([*command, "--samples", "1", "-o", str(tmp_path)]) == 0
    rows = rows_of(tmp_path / "2021b-T1.json")
    truth = rows["gopro-set: no motion"]["epe"]
    # Three pixels a frame over six steps.
    assert truth == pytest.approx(18, abs=1)
    assert {"panorama-set: BlurFlowNet", "gopro-set: animator"} <= rows.keys()
    assert rows["gopro-set: no motion"]["samples"] == 1


def test_a_paper_trains_on_its_own_data(sets, tmp_path, monkeypatch):
    """Monkaa to the network of 2021b, at a tiny size, by the paper's recipe."""
    paper = find_recipe("blur-flow-paper")
    assert paper.augmentations == () and paper.centred and paper.crop == 256
    tiny = dataclasses.replace(BlurFlowNetConfig.tiny(), norm=False)
    small = dataclasses.replace(paper, config=tiny, crop=48, scene=64, batch=2)
    use_recipe(monkeypatch, small)
    train("blur-flow-paper", data=[sets["monkaa"]], output=tmp_path / "run", samples=8)
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] == 4


def test_the_gopro_benchmark_is_of_pairs(sets, tmp_path):
    path = evaluate("2021a-T3", data=[sets["gopro-pairs"]], output=tmp_path)
    rows = rows_of(path)
    photo = rows["gopro-pairs-set: photo repeated"]
    assert photo["samples"] == 3  # the test split's, all of them
    frame = panning(3)[0].astype(float)
    expected = -20 * np.log10(np.sqrt(((frame - (frame // 2 + 30)) ** 2).mean()) / 255)
    assert photo["psnr"] == pytest.approx(expected, abs=0.5)
    assert rows["gopro-pairs-set: Jin"]["psnr"] > 5


def test_the_hint_is_the_way_of_the_neighbour(sets, tmp_path):
    from b2m.data.datasets import records_of
    from b2m.evaluate.test_sets import built_samples

    records = records_of(sets["gopro"], "test")
    for sample in built_samples(str(sets["gopro"]), records):
        assert sample.hint is not None
        moves = (sample.hint != 0).any(-1)
        assert moves.mean() > 0.5
        assert ((sample.hint * sample.flow)[moves].sum(-1) > 0).mean() > 0.9


def test_batches_are_functions_of_the_step_and_shares_hold(sets):
    def stream(rank=0, ranks=1, **options):
        parts = [f"{sets['gopro']}=1", f"{sets['panorama']}=3"]
        mix = open_mix(parts, "train", size=32, frames=7, **options)
        return BuiltStream(*mix, batch=2, rank=rank, ranks=ranks), mix

    one, _ = stream()
    again, _ = stream()
    last = one.steps + 1
    for step in (last, 0):
        for name, part in one(step)._asdict().items():
            assert torch.equal(part, again(step)._asdict()[name]), name
    assert one(0).frames.shape == (2, 7, 3, 32, 32)
    batch = one(0)
    for derived, part in zip(SampleBatch.of(*batch[:3]), batch, strict=True):
        assert torch.equal(derived, part)  # guidance, what moves and path are those of the flow
    drawn = [name for step in range(one.steps) if one(step) for name, _ in one._order]
    panoramas = np.mean([name == str(sets["panorama"]) for name in drawn])
    assert panoramas == pytest.approx(0.75, abs=0.1)
    # Without variation photos are cut out of files as they are.
    plain, _ = stream(augment=(), centred=True)
    assert (one(0).photo != plain(0).photo).any()
    ranks = [stream(rank, 2)[0] for rank in (0, 1)]
    assert not torch.equal(ranks[0](0).photo, ranks[1](0).photo)


def test_only_val_validates(sets):
    found = validation_samples([sets["gopro"], sets["panorama"]], 8, 32, 7)
    assert found.photo.shape[1:] == (3, 32, 32) and len(found.photo) <= 8
    assert validation_samples([sets["gopro"]], 8, 32, 7) is None  # GoPro has no such split
    splits = {record.split for record in read_index(sets["gopro"])}
    assert splits == {"train", "test"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("crop", "crops of 32x32 do not fit"),
        ("gone", r"lacks blur/\d{8}\.png: run the same build again"),
        ("format", "a line of index.jsonl lacks"),
        ("pairs", "no samples whose motion is known of the split 'train'"),
        ("nothing", "has no index.jsonl"),
        ("weight", "'-1' is no weight"),
        ("twice", "named twice"),
        ("photos", "name either"),
    ],
)
def test_what_cannot_be_trained_on_is_said_before(sets, tmp_path, change, words):
    import shutil

    data, more = tmp_path / "set", {}
    shutil.copytree(sets["panorama"] if change != "pairs" else sets["gopro-pairs"], data)
    given = [data]
    if change == "crop":
        lines = [json.loads(line) for line in (data / "index.jsonl").read_text().splitlines()]
        small = [line | {"width": 20} for line in lines]
        (data / "index.jsonl").write_text("".join(json.dumps(line) + "\n" for line in small))
    elif change == "gone":
        used = [record for record in read_index(data) if record.split == "train"]
        (data / used[-1].blur).unlink()
    elif change == "format":
        (data / "index.jsonl").write_text('{"number": 0}\n')
    elif change == "nothing":
        (data / "index.jsonl").unlink()
    elif change == "weight":
        given = [f"{data}=-1"]
    elif change == "twice":
        given = [data, data]
    elif change == "photos":
        more = {"photos": tmp_path}
    with pytest.raises(InputError, match=words):
        train("animator-tiny", data=given, output=tmp_path / "run", samples=4, **more)
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_measured_is_said(sets, tmp_path, capsys):
    with pytest.raises(InputError, match=r"no samples .* of the split 'val'"):
        evaluate("2021b-T1", data=[sets["gopro"]], split="val", output=tmp_path)
    with pytest.raises(InputError, match="no samples whose motion is known"):
        evaluate("2022-T1", data=[sets["gopro-pairs"]], output=tmp_path)
    assert main(["evaluate", "--table", "motions", "--data", str(sets["gopro"])]) == 2
    assert "takes no data sets" in capsys.readouterr().err


def test_an_averaging_recipe_takes_any_film(tmp_path):
    (tmp_path / "films").mkdir()
    write_mp4(tmp_path / "mine.mp4", panning(15), 240)
    write_mp4(tmp_path / "films" / "one.mp4", panning(15), 240)
    write_frames(tmp_path / "films" / "two", panning(15))
    assert len(read_index(build(tmp_path, "gopro", tmp_path / "mine.mp4"))) == 2
    assert len(read_index(build(tmp_path, "nfs", tmp_path / "films"))) == 4


def test_another_teacher_of_flow(tmp_path, monkeypatch):
    """RAFT, here of random weights; without its own there is a sentence, and no flow of another."""
    write_mp4(tmp_path / "film.mp4", panning(7), 240)
    seen = []

    def build_raft(weights, progress):
        seen.append(weights)
        torch.manual_seed(0)
        return small()

    optical_flow = pytest.importorskip(
        "torchvision.models.optical_flow",
        reason="torchvision, another teacher of flow, is not installed",
    )
    small = optical_flow.raft_small
    raft._raft.cache_clear()
    monkeypatch.setattr(optical_flow, "raft_large", build_raft)
    (record,) = read_index(build(tmp_path, "video", tmp_path / "film.mp4", "--flow", "raft"))
    assert record.flow_from == "raft" and seen == [optical_flow.Raft_Large_Weights.C_T_SKHT_V2]
    found = raft.raft_flow(*panning(2))
    assert found.shape == (64, 96, 2) and found.dtype == np.float32

    def offline(weights, progress):
        raise OSError("no network")

    raft._raft.cache_clear()
    monkeypatch.setattr(optical_flow, "raft_large", offline)
    with pytest.raises(InputError, match="weights of RAFT cannot be fetched"):
        raft.raft_flow(*panning(2))
