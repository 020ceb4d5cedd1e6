"""What several test files share."""

import os
from functools import partial
from pathlib import Path

import pytest

# What tests compare with is float32, whatever the CPU; `test_precision.py` has the other.
os.environ.setdefault("B2M_BFLOAT16", "0")

CI = os.environ.get("CI", "").lower() not in ("", "0", "false")


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A folder with untrained weights of a tiny animator."""
    import torch

    from b2m.models import MotionAnimator

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    MotionAnimator(MotionAnimator.config_class.tiny()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def few_textures():
    """Procedural textures that are few and small: as many as there are take seconds to make."""
    from b2m.data import textures

    with pytest.MonkeyPatch.context() as patch:
        for name in ("procedural_textures", "procedural_cutouts"):
            patch.setattr(textures, name, partial(getattr(textures, name), count=4, side=96))
        yield


@pytest.fixture(scope="session")
def page_server():
    """The Gradio page, served; it takes seconds to start."""
    pytest.importorskip("gradio", reason="gradio, which serves the page, is not installed")
    from demo_server import serve

    with serve() as server:
        yield server


@pytest.fixture(scope="session")
def page_modules():
    """Lets tests import the modules of the page, which lie beside it."""
    folder = str(Path(__file__).parents[1] / "demo" / "gradio")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


def failed_under_ci(report):
    """The report, as a failure where it says that something was skipped under CI."""
    if CI and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        *_, reason = report.longrepr
        report.outcome = "failed"
        report.longrepr = f"Under CI nothing may be skipped, but this was. {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    return failed_under_ci((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return failed_under_ci((yield))
