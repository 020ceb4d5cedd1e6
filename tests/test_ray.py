"""A build over a Ray cluster: nothing lost and nothing twice, also when workers are killed."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from b2m.data.build import workers as engines
from b2m.data.build.run import build
from b2m.data.recipes import DATASET_RECIPES
from b2m.data.rotation import RotationConfig
from b2m.errors import OutputError
from b2m.media.image import write_png

ray = pytest.importorskip("ray", reason="ray, which builds data on many machines, is not installed")

RECIPE = replace(
    DATASET_RECIPES["rotation"], count=8, rotation=RotationConfig(size=48, blur=(2.0, 9.0))
)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """It takes many seconds to start; its workers are not to wait for what runs beside them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


def contents(folder):
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture
def source(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 256, (10, 10, 3), np.uint8)
        write_png(tmp_path / "in" / f"{number}.png", noise.repeat(8, 0).repeat(8, 1))
    return tmp_path / "in"


@pytest.fixture
def expected(source, tmp_path):
    build(RECIPE, source, tmp_path / "here")
    return contents(tmp_path / "here")


@pytest.fixture
def deadly(monkeypatch, tmp_path):
    """Makes the worker be killed between samples 4 and 5, so many times; notes each attempt."""
    run_task, begun = engines.run_task, tmp_path / "begun"

    def make(deaths):
        def run(recipe, task, folder):
            lines = run_task(recipe, task, folder)
            if task.numbers[0] == 4:
                yield next(lines)
                with begun.open("a") as stream:
                    stream.write("x")
                if begun.stat().st_size <= deaths:
                    os.kill(os.getpid(), signal.SIGKILL)
            yield from lines

        monkeypatch.setattr(engines, "run_task", run)
        return begun

    return make


@pytest.mark.slow
def test_a_killed_worker_costs_nothing(source, expected, deadly, tmp_path):
    begun = deadly(1)
    build(RECIPE, source, tmp_path / "there", engine="ray", workers=2)
    assert begun.read_text() == "xx"
    assert contents(tmp_path / "there") == expected


@pytest.mark.slow
def test_a_task_that_kills_its_workers_is_given_up(source, expected, deadly, tmp_path, monkeypatch):
    begun = deadly(9)
    monkeypatch.setattr(engines, "RAY_RETRIES", 1)
    with pytest.raises(OutputError, match=r"died 2 times over sample 4 .*what is done is kept"):
        build(RECIPE, source, tmp_path / "there", engine="ray", workers=2)
    assert begun.read_text() == "xx"
    monkeypatch.undo()
    build(RECIPE, source, tmp_path / "there")
    assert contents(tmp_path / "there") == expected
