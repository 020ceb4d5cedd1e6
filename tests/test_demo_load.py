"""The page under eight visitors; `benchmarks/robustness/load.py` has more of them, for longer."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "robustness" / "load.py"


def test_every_visitor_is_answered(page_server, monkeypatch):
    pytest.importorskip(
        "gradio_client", reason="gradio_client, which calls the page, is not installed"
    )
    spec = importlib.util.spec_from_file_location("load", SCRIPT)
    load = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "load", load)  # where its dataclass looks
    spec.loader.exec_module(load)
    report = load.load(page_server, clients=8, seconds=5, every=1)
    assert not report.errors, report.errors
    assert len(report.times) >= 8  # one each, at least
    assert page_server.process.poll() is None
