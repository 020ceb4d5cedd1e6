"""Notebooks run from top to bottom, their sources are in step, and nothing is left in them."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

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
COLAB = "https://colab.research.google.com/github/OWNER/b2m/blob/main/"

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


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
def test_its_badge_opens_it_and_its_installation_holds_torch_and_numpy(path, monkeypatch, tmp_path):
    source = path.with_suffix(".py").read_text("utf-8")
    assert f"({COLAB}notebooks/{path.name})" in source
    (installed,) = re.findall(r"%pip install (.+)", source)
    assert "git+https://github.com/OWNER/b2m" in installed
    assert not re.search(r"\s(torch|numpy|--upgrade|-U)\b", installed)
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


def test_the_environment_asks_for_extras_that_there_are():
    yaml = pytest.importorskip(
        "yaml", reason="PyYAML, which reads environment.yml, is not installed"
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
