"""The folders of the two Spaces, as they run elsewhere: alone, with b2m from its wheel."""

import importlib.metadata
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import yaml
from demo_server import free_port, serve
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from b2m.cli import demo as pages
from b2m.cli import main
from b2m.hub_client import OWNER

ROOT = Path(__file__).parents[1]
SPACES = {name: ROOT / "demo" / name for name in ("gradio", "streamlit")}
COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


def front_matter(folder):
    text = (folder / "README.md").read_text("utf-8")
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)[1])


@pytest.mark.parametrize("name", SPACES)
def test_front_matter(name):
    card = front_matter(SPACES[name])
    assert card["title"] and card["license"] == "mit" and len(card["short_description"]) <= 60
    assert {card["colorFrom"], card["colorTo"]} <= COLORS
    if name == "gradio":
        assert card["sdk"] == "gradio" and (SPACES[name] / card["app_file"]).is_file()
        assert SpecifierSet(">=3.11").contains(card["python_version"])
        (gradio,) = [r for r in requirements(name) if r.name == "gradio"]
        assert gradio.specifier.contains(card["sdk_version"])
        assert card["models"] == [f"{OWNER}/b2m-animator"] and "mcp-server" in card["tags"]
    else:
        assert (card["sdk"], card["app_port"]) == ("docker", 8501)


def requirements(name):
    lines = (SPACES[name] / "requirements.txt").read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("--")]


@pytest.mark.parametrize("name", SPACES)
def test_requirements(name):
    ours, *others = requirements(name)
    # There is no b2m on PyPI.
    assert (ours.name, ours.url) == ("b2m", f"git+https://github.com/{OWNER}/b2m")
    if name == "gradio":  # the CPU build of PyTorch
        first = (SPACES[name] / "requirements.txt").read_text("utf-8").splitlines()[0]
        assert first == "--extra-index-url https://download.pytorch.org/whl/cpu"
    for other in others:
        assert other.specifier.contains(importlib.metadata.version(other.name))


def test_the_image_runs_as_spaces_do():
    text = (SPACES["streamlit"] / "Dockerfile").read_text("utf-8")
    lines = text.splitlines()
    assert "EXPOSE 8501" in lines and "USER user" in lines
    assert "STREAMLIT_CLIENT_TOOLBAR_MODE=minimal" in text  # nobody who visits is to deploy it
    assert re.search(r"useradd .*--uid 1000 user", text)
    assert '"--server.port=8501"' in lines[-1] and '"--server.address=0.0.0.0"' in lines[-1]
    assert lines.index("USER user") < lines.index("COPY --chown=user . .")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """What `make docker` hands to Docker, of which there is none here but one that takes notes."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "docker").write_text(f'#!/bin/sh\necho "$@" >{folder}/asked')
    (folder / "docker").chmod(0o755)
    context, python = folder / "context", Path(sys.executable).parent
    made = subprocess.run(
        ["make", "docker", f"BIN={python}", f"CONTEXT={context}"],
        env=os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if made.returncode and "hatchling" in made.stderr:
        pytest.skip("hatchling, which builds the wheel, cannot be fetched here")
    assert made.returncode == 0, made.stderr
    assert (folder / "asked").read_text().split() == ["build", "-t", "b2m-streamlit", str(context)]
    return context


def test_make_docker_brings_its_own_b2m(image):
    (wheel,) = image.glob("b2m-*.whl")
    ours, *others = (image / "requirements.txt").read_text().splitlines()
    assert ours == f"./{wheel.name}"
    assert others == (SPACES["streamlit"] / "requirements.txt").read_text().splitlines()[1:]
    for name in ("app.py", "Dockerfile"):
        assert (image / name).read_bytes() == (SPACES["streamlit"] / name).read_bytes()
    # What the image copies before it installs, and pip finds it from there.
    assert "COPY requirements.txt *.whl ./" in (image / "Dockerfile").read_text().splitlines()
    command = ["install", "--dry-run", "--no-index", "--no-deps", "-r", "requirements.txt"]
    done = subprocess.run([sys.executable, "-m", "pip", *command], cwd=image, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(image):
    """Where b2m lies as it was built, with no checkout around."""
    (path,) = image.glob("b2m-*.whl")
    with zipfile.ZipFile(path) as opened:
        opened.extractall(image.parent / "site")
    return image.parent / "site"


def test_b2m_demo_serves_the_page_from_the_wheel(wheel):
    pytest.importorskip("gradio", reason="gradio, which serves the page, is not installed")
    from gradio_client import handle_file

    photo = ROOT / "examples" / "cat-roll.jpg"
    with serve("-m", "b2m.cli", "demo", PYTHONPATH=str(wheel)) as server:
        running = Path(f"/proc/{server.process.pid}/cmdline").read_text()
        assert str(wheel / "b2m" / "demo" / "gradio" / "app.py") in running
        client = server.client()
        sharp = client.predict(handle_file(photo), api_name="/deblur")
        assert Path(sharp).name == "cat-roll-sharp.png"
        tiles = [c for c in client.config["components"] if c["props"].get("elem_id") == "examples"]
        assert len(tiles[0]["props"]["value"]["tiles"]) == len([*photo.parent.glob("*.jpg")])


def test_b2m_demo_says_what_it_lacks(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(pages.importlib.util, "find_spec", lambda _: None)
    assert main(["demo"]) == 1
    assert "run pip install 'gradio[mcp]'" in capsys.readouterr().err
    monkeypatch.setattr(pages, "_PLACES", (tmp_path,))
    assert main(["demo"]) == 1
    assert "run make demo in a clone" in capsys.readouterr().err


def test_make_serves_the_research_view_to_this_machine_alone_and_asks_nothing(tmp_path):
    pytest.importorskip(
        "streamlit", reason="streamlit, which serves the research view, is not installed"
    )
    port = free_port()
    terminal, stdin = pty.openpty()  # only there does Streamlit ask for an address of mail
    environment = {name: text for name, text in os.environ.items() if "STREAMLIT" not in name}
    process = subprocess.Popen(
        ["make", "demo-streamlit", "DEMO=", f"BIN={Path(sys.executable).parent}"],
        env=environment
        | {"HOME": str(tmp_path), "STREAMLIT_SERVER_PORT": str(port), "DISPLAY": ":0"}
        | {"BROWSER": "true"},
        cwd=ROOT,
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(120):
            if places := [place for place in listening() if place.endswith(f":{port:04X}")]:
                break
            assert process.poll() is None, "it has ended"
            time.sleep(0.5)
        localhost = ("0100007F", "00000000000000000000000001000000")
        assert places and all(place.startswith(localhost) for place in places)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
        os.close(terminal)
        os.close(stdin)


def listening():
    """Addresses and ports at which something listens on this machine."""
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net") / table
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            _, place, _, state, *_ = line.split()
            if state == "0A":
                yield place


def test_streamlit_runs_alone(wheel, tmp_path):
    pytest.importorskip(
        "streamlit", reason="streamlit, which serves the research view, is not installed"
    )
    shutil.copy(SPACES["streamlit"] / "app.py", tmp_path)
    code = (
        "from streamlit.testing.v1 import AppTest\n"
        "app = AppTest.from_file('app.py', default_timeout=120)\n"
        "app.run()\n"
        "app.selectbox(key='example').select('cat-roll').run()\n"
        "import b2m\n"
        "print(len(app.table[0].value.columns), app.exception, b2m.__file__)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(wheel), "HOME": str(tmp_path), "PATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert result.returncode == 0, result.stderr
    rows, *_, where = result.stdout.split()
    assert int(rows) == 2 and where.startswith(str(wheel))
