"""That tests are skipped where a machine lacks something, and under CI fail instead."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOOKS = Path(__file__).with_name("conftest.py")
TESTS = """
import pytest

@pytest.mark.skipif(True, reason="no moon here")
def test_marked(): ...

def test_called():
    pytest.skip("no sun here")

@pytest.fixture
def star():
    pytest.skip("no star here")

def test_set_up(star): ...

@pytest.mark.xfail
def test_known():
    assert False

def test_fine(): ...
"""


@pytest.mark.parametrize(
    ("ci", "outcomes"),
    [("true", "1 failed, 1 passed, 1 xfailed, 3 errors"), ("", "1 passed, 4 skipped, 1 xfailed")],
)
def test_skips(tmp_path, ci, outcomes):
    (tmp_path / "conftest.py").write_text(HOOKS.read_text("utf-8"))
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_whole_file.py").write_text(
        "import pytest\npytest.importorskip('no_such_thing')"
    )
    options = ["-rs", "--continue-on-collection-errors", "-p", "no:cacheprovider", "-c", os.devnull]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, tmp_path],
        env=os.environ | {"CI": ci},
        capture_output=True,
        text=True,
    )
    said = result.stdout
    assert result.returncode == (1 if ci else 0) and outcomes in said, said
    for reason in ("no moon here", "no sun here", "no star here", "no_such_thing"):
        assert reason in said
    assert said.count("Under CI nothing may be skipped") == (4 if ci else 0)
