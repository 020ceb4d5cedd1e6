"""Notebooks run from top to bottom, their sources are in step, and nothing is left in them."""

import ast
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import pytest

jupytext = pytest.importorskip(
    "jupytext", reason="jupytext, which pairs notebooks with scripts, is not installed"
)
nb_run = pytest.importorskip(
    "nbmake.nb_run", reason="nbmake, which runs notebooks, is not installed"
)

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SECRETS = r"\b(hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|AKIA[A-Z0-9]{16})"
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
COLAB = "https://colab.research.google.com/github/OWNER/b2m/blob/main/"
HOSTS = {"arxiv.org", "colab.research.google.com", "github.com", "huggingface.co"}

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_there_are_notebooks():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04"]
    assert [path.with_suffix(".py") for path in NOTEBOOKS] == sorted(FOLDER.glob("*.py"))


@each
def test_sources_are_in_step(path):
    notebook, source = jupytext.read(path), jupytext.read(path.with_suffix(".py"))
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in source.cells
    ]


@each
def test_outputs_are_small_and_of_no_one_machine(path):
    text = path.read_text(encoding="utf-8")
    assert len(text) < 800_000
    assert not re.search(r"(?<![\w.])/(home|root|work|tmp|var|mnt|Users)/|[A-Z]:\\\\Users", text)
    assert not re.search(SECRETS, text)
    assert '"output_type": "error"' not in text
    assert '"name": "stderr"' not in text
    cells = jupytext.read(path).cells
    code = [cell for cell in cells if cell.cell_type == "code" and cell.source.strip()]
    assert all(cell.execution_count for cell in code)  # all of it was run
    assert any(cell.get("outputs") for cell in cells)


@each
def test_the_first_picture_comes_in_the_first_cell_after_the_installation(path):
    code = [cell for cell in jupytext.read(path).cells if cell.cell_type == "code"]
    assert "%pip install" in code[0].source
    assert "image/jpeg" in str(code[1].outputs)
    assert len(code[1].source.splitlines()) <= 16


@each
def test_pictures_have_a_text_for_those_who_cannot_see_them(path):
    outputs = [output for cell in jupytext.read(path).cells for output in cell.get("outputs", ())]
    assert "image/jpeg" in str(outputs)
    for output in outputs:
        for kind, content in output.get("data", {}).items():
            if kind.startswith("image/"):
                assert len(output.metadata[kind]["alt"]) > 20
            if kind == "text/html" and "<video" in content:
                assert "aria-label=" in content


@each
def test_motion_fields_stand_beside_their_colour_wheel(path):
    calls = [
        {word.arg: word.value for word in node.keywords}
        for node in ast.walk(ast.parse(path.with_suffix(".py").read_text("utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "show"
        and "flow_to_color" in ast.unparse(node)
    ]
    assert calls
    assert all(ast.unparse(words["wheel"]) == "True" for words in calls)


@each
def test_the_badge_opens_this_notebook(path):
    first = jupytext.read(path).cells[0].source
    badge = f"[![Open in Colab]({BADGE})]({COLAB}notebooks/{path.name})"
    assert badge in first


@each
def test_links_have_the_form_of_links(path):
    source = path.with_suffix(".py").read_text(encoding="utf-8")
    links = re.findall(r"https?://[^\s)\"'<>`]+", source)
    assert links
    for link in links:
        parts = urlsplit(link)
        assert parts.scheme == "https" and parts.netloc in HOSTS, link
        assert re.fullmatch(r"/[\w./@-]+", parts.path) and not parts.query, link
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", source):
        assert (FOLDER / link).exists(), link


@each
def test_it_says_what_it_installs_and_leaves_torch_alone(path):
    installs = re.findall(r"%pip install (.+)", path.with_suffix(".py").read_text("utf-8"))
    assert len(installs) == 1
    assert "git+https://github.com/OWNER/b2m" in installs[0]
    assert not re.search(r"\s(torch|numpy|--upgrade|-U)\b", installs[0])


@each
def test_its_installation_holds_torch_and_numpy_as_they_are(path, monkeypatch, tmp_path):
    source = path.with_suffix(".py").read_text("utf-8")
    (missing,) = [
        handler
        for part in ast.parse(source).body
        if isinstance(part, ast.Try)
        for handler in part.handlers
        if isinstance(handler.type, ast.Name) and "constraints.txt" in ast.unparse(handler)
    ]
    assert "%pip install --quiet -c constraints.txt" in source
    monkeypatch.chdir(tmp_path)
    exec(ast.unparse(ast.Module(missing.body, [])), {})
    held = (tmp_path / "constraints.txt").read_text("utf-8").split()
    assert {f"{name}=={version(name)}" for name in ("torch", "numpy")} <= set(held)


def test_the_readme_names_them_all():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        assert f"[![Open in Colab]({BADGE})]({COLAB}notebooks/{path.name})" in text
        assert f"(notebooks/{path.name})" in text


def test_the_environment_asks_for_extras_that_there_are():
    tomllib, yaml = (
        pytest.importorskip("tomllib", reason="tomllib is of Python 3.11 and newer"),
        pytest.importorskip("yaml", reason="PyYAML, which reads environment.yml, is not installed"),
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (pip,) = [part["pip"] for part in environment["dependencies"] if isinstance(part, dict)]
    (wanted,) = [re.fullmatch(r"-e \.\[([\w,]+)\]", line) for line in pip]
    assert set(wanted[1].split(",")) <= set(project["optional-dependencies"])
    assert "notebooks" in wanted[1]
    # That they can be had together; nothing is installed.
    asked = f"{ROOT}[{wanted[1]}]"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", asked]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


@each
def test_it_runs_in_an_empty_folder(path, monkeypatch, tmp_path):
    """As in Colab, where there is no checkout around the notebook."""
    monkeypatch.setenv("B2M_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("B2M_QUICK", "1")
    monkeypatch.chdir(tmp_path)
    error = (
        nb_run.NotebookRun(Path(shutil.copy(path, tmp_path)), default_timeout=300).execute().error
    )
    assert error is None, error.trace
    if path.stem.startswith("03"):
        made = {one.name for one in (tmp_path / "results").iterdir()}
        assert {"clip.mp4", "clip.gif", "sheet.png", "slow.mp4"} <= made
