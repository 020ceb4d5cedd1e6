"""A build over a Ray cluster: nothing lost and nothing twice, also when a worker is killed."""

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from b2m.data.build import workers as engines
from b2m.data.build.run import build
from b2m.data.recipes import RECIPES
from b2m.data.rotation import RotationConfig
from b2m.errors import OutputError
from b2m.media.image import write_png

ray = pytest.importorskip("ray")

ROTATION = RotationConfig(size=96, blur=(2.0, 20.0))
RECIPE = replace(RECIPES["rotation"], count=48, rotation=ROTATION)


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


def working():
    """Workers of Ray that this process started and that work on a task just now."""
    parents, titles = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                status = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(status[1])
                titles[int(entry.name)] = (entry / "cmdline").read_bytes()
            except OSError:
                continue

    def is_ours(process):
        while process > 1:
            process = parents.get(process, 0)
            if process == os.getpid():
                return True
        return False

    return [one for one, title in titles.items() if title.startswith(b"ray::run") and is_ours(one)]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="workers are found by /proc")
def test_a_killed_worker_costs_nothing(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 256, (20, 20, 3), np.uint8)
        write_png(source / f"{number}.png", noise.repeat(8, 0).repeat(8, 1))
    expected = build(RECIPE, source, tmp_path / "here")
    killed, done = [], threading.Event()

    def kill():
        progress = tmp_path / "there" / ".progress.jsonl"
        while not killed and not done.is_set():
            if progress.is_file() and progress.stat().st_size:
                for process in working()[:1]:
                    os.kill(process, signal.SIGKILL)
                    killed.append(process)
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        assert build(RECIPE, source, tmp_path / "there", engine="ray", workers=2) == expected
    finally:
        done.set()
        killer.join()
    assert killed
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


@pytest.mark.slow
def test_a_task_that_kills_its_workers_is_given_up_with_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 256, (20, 20, 3), np.uint8)
        write_png(tmp_path / "in" / f"{number}.png", noise.repeat(8, 0).repeat(8, 1))
    recipe = replace(RECIPE, count=8)
    expected = build(recipe, tmp_path / "in", tmp_path / "here")
    run_task, begun = engines.run_task, tmp_path / "begun"

    def deadly(recipe, task, folder):
        if task.numbers[0] == 4:
            with begun.open("a") as stream:
                stream.write("x")
            os._exit(1)
        yield from run_task(recipe, task, folder)

    monkeypatch.setattr(engines, "RAY_RETRIES", 2)
    monkeypatch.setattr(engines, "run_task", deadly)
    with pytest.raises(OutputError, match=r"died 3 times over sample 4 .*what is done is kept"):
        build(recipe, tmp_path / "in", tmp_path / "there", engine="ray", workers=2)
    assert begun.read_text() == "xxx"
    monkeypatch.undo()
    assert build(recipe, tmp_path / "in", tmp_path / "there", engine="ray") == expected
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
