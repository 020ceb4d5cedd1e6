"""Publishing on the Hub: what would be sent, and sending it to a server that speaks as the Hub."""

import base64
import hashlib
import json
import os
from pathlib import Path

import pytest
from hub_client import Handler, connect, serving

from b2m.cli import main
from b2m.errors import InputError
from b2m.hub_client import plan
from b2m.models import MotionAnimator, MotionAnimatorConfig
from b2m.train.hub_sync import keep_run, open_run

ROOT = Path(__file__).parents[1]
ANIMATOR, PAGE = ROOT / "weights" / "animator", ROOT / "demo" / "gradio"
TOKEN = "hf_for_the_tests"


class Hub(Handler):
    """The few endpoints that a push uses; what arrives is kept."""

    def download(self, path):
        """What the last commit left."""
        small, large = committed(self.server.kept["commits"][-1])
        files = small | {name: self.server.kept["large"][oid] for name, oid in large.items()}
        if "/tree/" in path:
            return 200, [
                {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                for name, content in files.items()
            ]
        if "/resolve/" not in path:
            listed = [{"rfilename": name} for name in files]
            return 200, {"id": path, "sha": "0" * 40, "private": True, "siblings": listed}
        content = files[path.split("/resolve/")[1].split("/", 1)[1]]
        return 200, content

    def answer(self, method, path, body):
        kept = self.server.kept
        kept["asked"].append(f"{method} {path}")
        if method == "PUT":
            kept["large"][path.rsplit("/", 1)[1]] = body
            return 200, {}
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid credentials in Authorization header"}
        if path == "/api/repos/create":
            kept["created"].append(json.loads(body))
            repo = "/".join(
                kept["created"][-1].get(key, "user") for key in ("organization", "name")
            )
            return 200, {"url": f"{self.server.address}/{repo}", "name": repo}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if method in ("GET", "HEAD"):
            return self.download(path)
        if "/preupload/" in path:
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            return 200, {"files": files}
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                {
                    "oid": item["oid"],
                    "size": item["size"],
                    "actions": {"upload": {"href": f"{self.server.address}/lfs/{item['oid']}"}},
                }
                for item in json.loads(body)["objects"]
            ]
            return 200, {"transfer": "basic", "objects": objects}
        if "/commit/" in path:
            kept["commits"].append([json.loads(line) for line in body.splitlines()])
            page = path.removeprefix("/api/").removeprefix("models/").removesuffix("main")
            url = f"{self.server.address}/{page}{'0' * 40}"
            return 200, {"commitUrl": url, "commitOid": "0" * 40}
        return 404, {"error": f"nothing at {path}"}


def log_in(monkeypatch, endpoint, token=TOKEN):
    connect(monkeypatch, endpoint, HF_TOKEN_PATH=os.devnull)
    monkeypatch.setenv("HF_TOKEN", token or "")


@pytest.fixture
def hub(monkeypatch):
    kept = {"asked": [], "created": [], "large": {}, "commits": []}
    with serving(Hub, kept=kept) as server:
        log_in(monkeypatch, server.address)
        yield server


def one_error(capsys, *words):
    (said,) = capsys.readouterr().err.splitlines()
    assert all(word in said for word in words)


def committed(commit):
    """Contents of the small files of a commit, and the hashes of the large ones."""
    small = {
        entry["value"]["path"]: base64.b64decode(entry["value"]["content"])
        for entry in commit
        if entry["key"] == "file"
    }
    large = {e["value"]["path"]: e["value"]["oid"] for e in commit if e["key"] == "lfsFile"}
    return small, large


def is_private(repo):
    """As newer clients ask for it, or older ones."""
    return repo.get("visibility") == "private" or repo.get("private")


def test_weights_and_a_space_arrive_whole(hub, capsys):
    assert main(["push", str(ANIMATOR), "user/b2m-animator", "--yes"]) == 0
    assert main(["push", str(PAGE), "user/b2m", "--space", "--owner", "someone", "--yes"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line.startswith("sent")] == [
        f"sent: {hub.address}/user/b2m-animator",
        f"sent: {hub.address}/spaces/user/b2m",
    ]
    model, space = hub.kept["created"]
    assert (model["name"], model.get("type", "model")) == ("b2m-animator", "model")
    assert (space["name"], space["type"], space["sdk"]) == ("b2m", "space", "gradio")
    first, second = hub.kept["commits"]
    small, large = committed(first)
    weights = (ANIMATOR / "model.safetensors").read_bytes()
    assert large == {"model.safetensors": hashlib.sha256(weights).hexdigest()}
    assert hub.kept["large"] == {large["model.safetensors"]: weights}
    assert sorted(small) == sorted(
        path.name for path in ANIMATOR.iterdir() if path.name != "model.safetensors"
    )
    assert small["config.json"] == (ANIMATOR / "config.json").read_bytes()
    small, large = committed(second)
    assert not large and {"app.py", "README.md", "requirements.txt"} <= small.keys()
    assert small["app.py"] == (PAGE / "app.py").read_bytes()
    assert b"github.com/someone/b2m" in small["requirements.txt"]
    head = small["README.md"].decode().split("---\n")[1]
    assert "OWNER" not in head and "/spaces/user/b2m/resolve/main/card.jpg" in head
    assert "\n  - user/b2m-animator\n" in head
    assert "card.jpg" in small
    assert not any(name.startswith((".", "__pycache__")) for name in small)


def test_a_training_goes_on_on_another_machine(hub, tmp_path):
    run, other, new = (tmp_path / name for name in ("run", "other", "new"))
    (run / "weights").mkdir(parents=True)
    files = {"checkpoint.pt": b"all", "log.jsonl": b"{}\n", "weights/model.safetensors": b"some"}
    for name, content in files.items():
        (run / name).write_bytes(content)
    for folder in (other, new):
        folder.mkdir()
    (other / "checkpoint.pt").write_bytes(b"more")
    keep_run(run, "user/run")
    for folder in (other, new):
        open_run("user/run", folder)
    assert all(repo["name"] == "run" and is_private(repo) for repo in hub.kept["created"])
    assert {name: (new / name).read_bytes() for name in files} == files
    assert [path.name for path in other.iterdir()] == ["checkpoint.pt"]
    assert (other / "checkpoint.pt").read_bytes() == b"more"  # what is there is not replaced


def test_a_model_publishes_itself(hub):
    model = MotionAnimator(MotionAnimatorConfig.tiny())
    address = model.push_to_hub("user/tiny", card="# x", private=True, token=TOKEN)
    assert address == f"{hub.address}/user/tiny"
    (repo,), (commit,) = hub.kept["created"], hub.kept["commits"]
    assert repo["name"] == "tiny" and is_private(repo)
    small, large = committed(commit)
    assert {*small, *large} == {"README.md", "config.json", "model.safetensors"}
    with pytest.raises(InputError, match="say where to publish"):
        model.push_to_hub()


UNUSABLE = pytest.mark.parametrize(
    ("token", "words"),
    [
        ("hf_wrong", "log in with 'hf auth login'"),
        (None, "you are not logged in"),
        (TOKEN, "cannot be reached for 'user/run'"),  # at an address where nothing listens
    ],
)


@UNUSABLE
def test_a_training_that_cannot_be_kept(hub, tmp_path, monkeypatch, token, words):
    log_in(monkeypatch, "http://127.0.0.1:9" if token == TOKEN else hub.address, token)
    with pytest.raises(InputError, match=words):
        keep_run(tmp_path, "user/run")
    with pytest.raises(InputError, match=words):
        open_run("user/run", tmp_path)


@UNUSABLE
def test_a_refusal_is_one_sentence(hub, monkeypatch, capsys, token, words):
    log_in(monkeypatch, "http://127.0.0.1:9" if token == TOKEN else hub.address, token)
    assert main(["push", str(ANIMATOR), "user/run"]) == 0  # to look needs neither
    assert "nothing was sent; --yes sends it" in capsys.readouterr().out
    assert main(["push", str(ANIMATOR), "user/run", "--yes"]) == 1
    one_error(capsys, words)
    assert not hub.kept["commits"]


def test_a_dry_run_names_files_sizes_and_target(capsys, tmp_path):
    assert main(["push", str(ANIMATOR), "user/repo"]) == 0
    lines = capsys.readouterr().out.splitlines()
    sizes = {line.split()[0]: line.split(maxsplit=1)[1].strip() for line in lines}
    size = (ANIMATOR / "model.safetensors").stat().st_size
    assert sizes["model.safetensors"] == f"{size / 1e6:.1f} MB" and "config.json" in sizes
    assert any("/user/repo" in line and "to the model" in line for line in lines)
    assert lines[-1] == "nothing was sent; --yes sends it"


def space(folder, card="---\nsdk: gradio\n---\n", **files):
    (folder / "README.md").write_text(card)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def test_what_is_left_out(tmp_path):
    space(tmp_path, app_py="1", requirements_txt="b2m @ git+https://github.com/OWNER/b2m\n")
    for hidden in (".secret", ".git/config", "__pycache__/app.pyc"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_text("x")
    (tmp_path / "link").symlink_to("/etc/hostname")
    upload = plan(tmp_path, "user/name", space=True)
    assert sorted(upload.files) == ["README.md", "app.py", "requirements.txt"]
    assert upload.nameless == ("requirements.txt",)
    owned = plan(tmp_path, "user/name", space=True, owner="me")
    assert owned.files["requirements.txt"] == b"b2m @ git+https://github.com/me/b2m\n"
    assert owned.nameless == ()


@pytest.mark.parametrize(
    ("files", "options", "words"),
    [
        ({}, {}, "no whole checkpoint"),
        ({"app_py": "1"}, {}, "for a Space give --space"),
        ({"card": "---\nsdk: [\n---\n"}, {"space": True}, "not valid YAML"),
        ({"card": "---\nsdk: cobol\n---\n"}, {"space": True}, "must say sdk"),
        ({}, {"space": True}, r"lacks app\.py"),
        ({"card": "---\nsdk: docker\n---\n"}, {"space": True}, "lacks Dockerfile"),
        (
            {
                "card": "---\nsdk: static\n---\n",
                "index_html": '<link rel="preload" href="assets/model.json">',
            },
            {"space": True},
            r"lacks assets/model\.json",
        ),
    ],
)
def test_what_is_not_whole(tmp_path, files, options, words):
    with pytest.raises(InputError, match=words):
        plan(space(tmp_path, **files), "user/name", **options)


def test_bad_names(tmp_path):
    for repo_id in ("name", "a/b/c", "user/", "../x"):
        with pytest.raises(InputError, match="not a Hub id"):
            plan(ANIMATOR, repo_id)
    with pytest.raises(InputError, match="no folder"):
        plan(tmp_path / "nowhere", "user/name")


def test_a_space_that_could_not_be_installed_is_not_sent(monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert main(["push", str(PAGE), "user/b2m", "--space", "--yes"]) == 1
    assert "--owner" in capsys.readouterr().err
