"""Weights in and out: what is saved comes back, and anything else is one clear sentence."""

import contextlib
import dataclasses
import json
import math
import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hub_client import Handler, connect, serving

from b2m import hub
from b2m.errors import InputError, OutputError
from b2m.hub import HubModel, find_weights


@dataclasses.dataclass(frozen=True)
class TinyConfig:
    width: int
    slope: float = 0.1
    name: str = "tiny"
    stages: tuple[int, ...] = (1, 2)
    limit: int | None = None

    def __post_init__(self):
        if self.width < 1:
            raise ValueError(f"width is {self.width}; at least 1")


class TinyModel(HubModel):
    config_class = TinyConfig
    weights_name = "tiny"

    def __init__(self, config):
        super().__init__(config)
        self.layer = torch.nn.Linear(3, config.width)
        self.norm = torch.nn.BatchNorm1d(config.width)  # has an integer buffer


class OtherModel(TinyModel):
    pass


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv("B2M_WEIGHTS", raising=False)


@pytest.fixture
def model():
    torch.manual_seed(1)
    return TinyModel(TinyConfig(4, slope=1, stages=(3, 4, 5), limit=7))


@pytest.fixture
def folder(model, tmp_path):
    """Where the model was saved."""
    model.save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def edit(folder, **changes):
    path = folder / hub.CONFIG_FILE
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in values.items() if v != "REMOVE"}))


def rewrite(folder, change):
    path = folder / hub.WEIGHTS_FILE
    tensors = safetensors.torch.load_file(path)
    change(tensors)
    safetensors.torch.save_file(tensors, path)


def test_round_trip_is_bit_equal(model, folder, tmp_path):
    edit(folder, limit=None)  # an optional value
    assert TinyModel.from_pretrained(folder).config.limit is None
    edit(folder, limit=7)
    loaded = TinyModel.from_pretrained(folder)
    assert loaded.config == model.config
    assert isinstance(loaded.config.slope, float)
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    loaded.save_pretrained(tmp_path / "again")
    again = tmp_path / "again" / hub.WEIGHTS_FILE
    assert (folder / hub.WEIGHTS_FILE).read_bytes() == again.read_bytes()
    # Whoever reads the config reads the weights.
    assert again.stat().st_mode == (tmp_path / "again" / hub.CONFIG_FILE).stat().st_mode


def test_half_precision_on_disk_single_in_memory(model, tmp_path):
    model.save_pretrained(tmp_path / "half", dtype=torch.float16)
    stored = safetensors.torch.load_file(tmp_path / "half" / hub.WEIGHTS_FILE)
    assert stored["layer.weight"].dtype == torch.float16
    assert stored["norm.num_batches_tracked"].dtype == torch.int64
    loaded = TinyModel.from_pretrained(tmp_path / "half")
    assert loaded.layer.weight.dtype == torch.float32
    torch.testing.assert_close(loaded.layer.weight, model.layer.weight, atol=1e-3, rtol=1e-3)


def test_values_that_do_not_fit_are_refused(model, tmp_path):
    with torch.no_grad():
        model.layer.weight[0, 0] = 1e6
    with pytest.raises(InputError, match=r"layer\.weight"):
        model.save_pretrained(tmp_path / "half", dtype=torch.float16)
    assert not (tmp_path / "half").exists()
    with pytest.raises(InputError, match="takes a TinyConfig, not a dict"):
        TinyModel({"width": 3})


def test_shared_tensors_are_saved(tmp_path):
    model = TinyModel(TinyConfig(3))
    model.norm.weight = model.layer.bias
    model.save_pretrained(tmp_path)
    assert torch.equal(TinyModel.from_pretrained(tmp_path).norm.weight, model.layer.bias)


def test_card_and_no_leftovers(model, folder):
    model.save_pretrained(folder, card="# Tiny\n")
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md",
        hub.CONFIG_FILE,
        hub.WEIGHTS_FILE,
    ]


def test_loading_is_quiet_and_leaves_the_random_stream(folder, capfd):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    TinyModel.from_pretrained(folder)
    assert torch.equal(torch.rand(3), expected)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"colour": 1}, "unknown colour"),
        ({"slope": "REMOVE"}, "missing slope"),
        ({"width": "wide"}, "width is 'wide'"),
        ({"width": 4.0}, "width is 4.0"),
        ({"width": True}, "width is True"),
        ({"stages": [1, "x"]}, "stages is 'x'"),
        ({"stages": 3}, "stages is 3"),
        ({"limit": "none"}, "limit is 'none'"),
        ({"width": 0}, "at least 1"),
        ({"model": "OtherModel"}, "of OtherModel, not of TinyModel"),
        ({"model": "REMOVE"}, "does not say which model"),
        ({"width": 5}, r"layer\.weight is \(4, 3\), not \(5, 3\)"),
    ],
)
def test_config_is_checked(folder, changes, words):
    edit(folder, **changes)
    with pytest.raises(InputError, match=words):
        TinyModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("layer.bias"), r"missing layer\.bias"),
        (lambda t: t.update(extra=torch.zeros(1)), "unexpected extra"),
        (lambda t: t.update({"layer.bias": torch.zeros(4, dtype=torch.int32)}), "int32"),
        (lambda t: t["layer.weight"].fill_(math.nan), r"layer\.weight holds values that are no nu"),
        (lambda t: t["layer.weight"].fill_(math.inf), r"layer\.weight holds values that are no nu"),
    ],
)
def test_tensors_are_checked(folder, change, words):
    rewrite(folder, change)
    with pytest.raises(InputError, match=words):
        TinyModel.from_pretrained(folder)


def test_files_that_are_cut_off(folder):
    path = folder / hub.WEIGHTS_FILE
    whole = path.read_bytes()
    for keep in (0, 5, 60, -1):
        path.write_bytes(whole[:keep])
        with pytest.raises(InputError, match="broken or cut short"):
            TinyModel.from_pretrained(folder)
    (folder / hub.CONFIG_FILE).write_text('{"model": ')
    with pytest.raises(InputError, match="not valid JSON"):
        TinyModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
        (b"  <html><body>Sign in</body></html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (pickle.dumps({"layer.weight": 1}), "pickle, which may run code"),
        (None, "pickle, which may run code"),
    ],
)
def test_what_weights_turn_out_to_be(folder, content, words):
    path = folder / hub.WEIGHTS_FILE
    if content is None:
        torch.save({"layer.weight": torch.zeros(4, 3)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        TinyModel.from_pretrained(folder)


def test_random_changes_of_a_checkpoint_are_told_or_do_no_harm(folder):
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    rng = np.random.default_rng(0)
    for _ in range(400):
        for path, data in whole.items():
            changed = bytearray(data)
            for place in rng.integers(0, min(len(data), 400), rng.integers(0, 4)):
                changed[place] = rng.integers(256)
            length = rng.integers(1, len(data) + 1) if rng.random() < 0.3 else len(data)
            path.write_bytes(changed[:length])
        with contextlib.suppress(InputError):
            TinyModel.from_pretrained(folder)


def test_weights_missing_and_no_pickle_fallback(folder):
    (folder / hub.WEIGHTS_FILE).rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"has no model\.safetensors"):
        TinyModel.from_pretrained(folder)


def test_unwritable_folder(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        model.save_pretrained(tmp_path / "file" / "folder")


def test_failed_save_leaves_the_old_weights(model, folder, monkeypatch):
    before = (folder / hub.WEIGHTS_FILE).read_bytes()

    def fail(path, data):
        path.write_text("half")
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OutputError):
        model.save_pretrained(folder)
    assert (folder / hub.WEIGHTS_FILE).read_bytes() == before
    assert len(list(folder.iterdir())) == 2


# --- where weights are looked for ---


@pytest.fixture
def places(tmp_path, monkeypatch):
    for attribute in ("_PACKAGE_WEIGHTS", "_REPOSITORY_WEIGHTS"):
        monkeypatch.setattr(hub, attribute, tmp_path / attribute)
    return tmp_path


def checkpoint(folder):
    folder.mkdir(parents=True)
    (folder / hub.CONFIG_FILE).write_text("{}")
    return folder


def test_order_of_places(places, monkeypatch):
    with pytest.raises(InputError, match=r"no weights 'tiny'.*B2M_WEIGHTS"):
        find_weights("tiny")
    repository = checkpoint(places / "_REPOSITORY_WEIGHTS" / "tiny")
    assert find_weights("tiny") == repository
    package = checkpoint(places / "_PACKAGE_WEIGHTS" / "tiny")
    assert find_weights("tiny") == package
    variable = checkpoint(places / "variable" / "tiny")
    monkeypatch.setenv("B2M_WEIGHTS", str(places / "variable"))
    assert find_weights("tiny") == variable
    monkeypatch.setenv("B2M_WEIGHTS", str(variable))
    assert find_weights("tiny") == variable
    argument = checkpoint(places / "argument" / "tiny")
    assert find_weights("tiny", places / "argument") == argument
    assert find_weights("tiny", str(argument)) == argument


def test_variable_with_other_checkpoints_only(places, monkeypatch):
    package = checkpoint(places / "_PACKAGE_WEIGHTS" / "tiny")
    checkpoint(places / "variable" / "other")
    monkeypatch.setenv("B2M_WEIGHTS", str(places / "variable"))
    assert find_weights("tiny") == package


def test_a_named_place_is_never_passed_over(places, monkeypatch):
    checkpoint(places / "_PACKAGE_WEIGHTS" / "tiny")
    (places / "empty").mkdir()
    with pytest.raises(InputError, match=r"weights '.*empty' has no config\.json"):
        find_weights("tiny", places / "empty")
    with pytest.raises(InputError, match=r"weights '.*nowhere' does not exist"):
        find_weights("tiny", places / "nowhere")
    (places / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        find_weights("tiny", places / "file")
    monkeypatch.setenv("B2M_WEIGHTS", str(places / "nowhere"))
    with pytest.raises(InputError, match="B2M_WEIGHTS"):
        find_weights("tiny")


def test_model_without_weights_of_its_own(monkeypatch):
    monkeypatch.setattr(TinyModel, "weights_name", None)
    with pytest.raises(InputError, match="name a folder or a Hub id"):
        TinyModel.from_pretrained()


def test_hub_offline_is_one_sentence(tmp_path, monkeypatch, capfd):
    connect(monkeypatch, "http://127.0.0.1:9", HF_HUB_OFFLINE=True, HF_HUB_CACHE=tmp_path)
    with pytest.raises(InputError, match=r"^weights 'someone/nothing' is no folder here.*reached"):
        find_weights("tiny", "someone/nothing")
    assert capfd.readouterr() == ("", "")


PAGE = b"<!DOCTYPE html><html><body>Sign in to the network of this hotel</body></html>"


class BadHub(Handler):
    """The few endpoints that a download uses, and what can be wrong with them."""

    def answer(self, method, path, body):
        fault, whole = self.server.fault, self.server.whole
        self.server.asked.append(path)
        if fault == "no answer":
            threading.Event().wait(1)
        if fault == "404":
            return 404, b"", {"X-Error-Code": "RepoNotFound"}
        if fault == "no weights" and path.endswith("safetensors"):
            return 404, b"", {"X-Error-Code": "EntryNotFound"}
        if fault == "500":
            return 500, b""
        ends = {"page": "", "page for a file": "json", "page for the weights": "safetensors"}
        if fault in ends and path.endswith(ends[fault]):
            return 200, PAGE
        if "/tree/" in path:
            return 200, [
                {"type": "file", "path": n, "size": len(d), "oid": "0"} for n, d in whole.items()
            ]
        if "/resolve/" not in path:
            files = [{"rfilename": name} for name in whole]
            return 200, {"id": "a/b", "sha": "0" * 40, "siblings": files}
        data = whole[path.rsplit("/", 1)[1]]
        return 200, data[:-7] if fault == "damaged" else data  # and the Hub says so itself

    def sent(self, data):
        half = self.server.fault == "half" and "/resolve/" in self.path
        return data[: len(data) // 2] if half else data


@pytest.mark.parametrize(
    ("fault", "words"),
    {
        "no answer": "cannot be reached",
        "404": "has no 'a/b'",
        "no weights": "refused 'a/b'",
        "500": "cannot be reached",
        "page": "cannot be reached",
        "page for the weights": "is a web page",
        "page for a file": "not valid JSON",
        "half": "cannot be reached",
        "damaged": "not valid JSON",
    }.items(),
)
def test_a_hub_that_misbehaves_is_told_and_leaves_nothing_behind(
    model, folder, tmp_path, monkeypatch, fault, words
):
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    settings = {"HF_HUB_CACHE": tmp_path / "cache"}
    settings |= {"HF_HUB_DOWNLOAD_TIMEOUT": 0.3, "HF_HUB_ETAG_TIMEOUT": 0.3}
    with serving(BadHub, whole=whole, fault=fault, asked=[]) as server:
        connect(monkeypatch, server.address, **settings)
        with pytest.raises(InputError, match=words):
            TinyModel.from_pretrained("a/b")
        server.fault = ""
        assert TinyModel.from_pretrained("a/b").config == model.config
        assert not any("v1" in path for path in server.asked)
        assert TinyModel.from_pretrained("a/b@v1").config == model.config
        assert any(path.endswith("/revision/v1") for path in server.asked)


def test_models_at_hand_and_where_they_are_from(places, monkeypatch):
    monkeypatch.setattr(OtherModel, "weights_name", "other")
    models = {"tiny": TinyModel, "other": OtherModel}
    assert hub.available_models(models) == {}
    bundled = checkpoint(places / "_PACKAGE_WEIGHTS" / "tiny")
    edit(bundled, model="TinyModel")
    assert hub.available_models(models) == {"tiny": bundled}
    assert hub.source_of(bundled) == "bundled"
    mine = checkpoint(places / "mine" / "other")
    edit(mine, model="OtherModel")
    monkeypatch.setenv("B2M_WEIGHTS", str(places / "mine"))
    assert hub.available_models(models) == {"tiny": bundled, "other": mine}
    assert hub.source_of(mine) == "folder other"
    monkeypatch.setenv("B2M_WEIGHTS", str(mine))  # which is no weights of the other
    assert hub.available_models(models) == {"other": mine}
    monkeypatch.setenv("B2M_WEIGHTS", "someone/b2m@v1")
    snapshot = places / "models--someone--b2m" / "snapshots" / ("a1b2c3d" * 5)
    assert hub.source_of(snapshot) == "someone/b2m at a1b2c3d"
