"""Build a data set: plan, make on all cores or machines, go on after a stop, and end the same.

Each finished task leaves its lines in a progress file; the index is written when all are done. What
is written depends on sources and settings alone, never on the order of work, so that a build that
was killed and started again ends with the same bytes as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import islice
from multiprocessing import connection
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import torch
from tqdm import tqdm

from b2m.data.recipes import MADE_UP, Recipe, Task, make, plan
from b2m.data.samples import (
    FOLDERS,
    INDEX,
    SETTINGS,
    SKIPPED,
    Skip,
    read_lines,
    write_lines,
    write_sample,
)
from b2m.errors import InputError, OutputError
from b2m.files import atomic_path, explain_write_error, make_folder

ENGINES = ("local", "ray")
_PROGRESS = ".progress.jsonl"
_LOCK = ".lock"
_TEMPORARY = re.compile(r"\.+(dataset|index|skipped|progress)\.[0-9a-f]{8}\.jsonl?")

Line = dict[str, Any]


class Built(NamedTuple):
    """What came of a build.

    Attributes:
        samples: in the data set.
        left_out: places of which the recipe wants no sample.
        skipped: what could not be made, and why.
    """

    samples: int
    left_out: int
    skipped: list[Skip]


def build(
    recipe: Recipe,
    source: str | Path | None,
    out: str | Path,
    *,
    split: str | None = None,
    licence: str | None = None,
    workers: int = 1,
    engine: str = "local",
) -> Built:
    """Build a data set, or go on with it, or see that it is done.

    Args:
        recipe: see `b2m.data.recipes.RECIPES`.
        source: what was downloaded; None for made-up textures, where samples are rendered.
        out: folder of the data set; see `b2m.data.samples` for what is in it.
        split: see `b2m.data.layouts.read_layout`.
        licence: of the sources, where they do not say it themselves.
        workers: processes on this machine; more than one need a main module that can be imported.
        engine: "local", or "ray" for a Ray cluster whose machines all see source and out.

    Returns:
        What there is now. What was skipped is tried again by the next build.

    Raises:
        InputError: the source is laid out otherwise, or out holds something else.
        OutputError: out is being written by another build, not writable or full. What is done is
            kept.
    """
    if engine not in ENGINES:
        raise InputError(f"'{engine}' is no engine: choose from {', '.join(ENGINES)}")
    folder = Path(out)
    make_folder(folder)
    with _locked(folder):
        tasks, lost = plan(recipe, Path(source) if source is not None else None, split)
        if licence:
            tasks = [task._replace(source=replace(task.source, licence=licence)) for task in tasks]
        _settle(folder, recipe, tasks)
        lines = _lines_so_far(folder)
        todo = [task for task in tasks if not _is_done(task, lines)]
        if todo or not (folder / INDEX).is_file():
            _clean(folder)
            run = _on_ray if engine == "ray" else _on_processes
            results = run(recipe, todo, folder, workers)
            _gather(folder, lines, results, sum(len(task.starts) for task in tasks))
        return _finish(folder, lines, lost)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / _LOCK, timeout=0):
            yield
    except Timeout:
        raise OutputError(
            f"another build is writing into {folder}: wait for it, or choose another folder"
        ) from None


def _settle(folder: Path, recipe: Recipe, tasks: list[Task]) -> None:
    """Write the settings; or see that they are those with which the folder was begun."""
    places = [(task.number, task.source.name, task.source.split, task.starts) for task in tasks]
    digest = hashlib.sha256(json.dumps(places).encode()).hexdigest()
    settings = json.loads(json.dumps({"recipe": asdict(recipe), "places": digest}))
    path = folder / SETTINGS
    if not path.is_file():
        if other := sorted(name for name in os.listdir(folder) if not name.startswith(".")):
            raise InputError(f"{folder} holds {other[0]}: choose a folder that is new or empty")
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
    try:
        before = json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError:
        raise InputError(f"{path} is damaged: choose another folder") from None
    if before != settings:
        what = "other settings" if before["recipe"] != settings["recipe"] else "other sources"
        raise InputError(f"{folder} was begun with {what}: choose another folder")
    for name in FOLDERS:
        (folder / name).mkdir(exist_ok=True)


def _clean(folder: Path) -> None:
    """Remove the temporary files of a build that was killed."""
    for entry in os.scandir(folder):
        if _TEMPORARY.fullmatch(entry.name):
            os.unlink(entry.path)
    for name in FOLDERS:
        for entry in os.scandir(folder / name):
            if entry.name.startswith("."):
                os.unlink(entry.path)


# --- what is done ---------------------------------------------------------------------------------


def _lines_so_far(folder: Path) -> dict[int, Line]:
    """Lines of records and skips by their numbers."""
    lines: dict[int, Line] = {}
    for name in (INDEX, SKIPPED, _PROGRESS):
        if (folder / name).is_file():
            found = list(read_lines(folder / name, torn=name == _PROGRESS))
            lines |= {line["number"]: line for line in found if line["number"] >= 0}
    return lines


def _is_done(task: Task, lines: dict[int, Line]) -> bool:
    numbers = range(task.number, task.number + len(task.starts))
    return all(number in lines and lines[number].get("meant", True) for number in numbers)


def _gather(
    folder: Path, lines: dict[int, Line], results: Iterable[list[Line]], total: int
) -> None:
    """Take in what tasks give, and note it at once."""
    path = folder / _PROGRESS
    done = sum(line.get("meant", True) for line in lines.values())
    # Its last line may have been torn, and it may be left from before the index was written.
    write_lines(path, lines.values())
    try:
        with (
            path.open("a", encoding="utf-8") as stream,
            tqdm(total=total, initial=done, unit=" samples", dynamic_ncols=True) as bar,
        ):
            for result in results:
                for line in result:
                    lines[line["number"]] = line
                    stream.write(json.dumps(line, ensure_ascii=False) + "\n")
                stream.flush()
                bar.update(min(len(result), total - bar.n))
    except OSError as error:
        if explained := explain_write_error(error, path):
            raise explained from error
        raise


def _finish(folder: Path, lines: dict[int, Line], lost: list[Skip]) -> Built:
    ordered = [lines[number] for number in sorted(lines)]
    records = [line for line in ordered if "reason" not in line]
    skips = [*map(asdict, lost), *(line for line in ordered if "reason" in line)]
    for name, found in ((INDEX, records), (SKIPPED, skips)):
        path = folder / name
        if not found and name == SKIPPED:
            path.unlink(missing_ok=True)
        elif not path.is_file() or list(read_lines(path)) != found:
            write_lines(path, found)
    (folder / _PROGRESS).unlink(missing_ok=True)
    unmeant = [Skip(**line) for line in skips if not line["meant"]]
    return Built(len(records), len(skips) - len(unmeant), unmeant)


# --- engines --------------------------------------------------------------------------------------


def run_task(recipe: Recipe, task: Task, folder: Path) -> list[Line]:
    """Make and write the samples of a task; their lines for the index, or for what was skipped."""
    lines = []
    for made in make(recipe, task):
        if isinstance(made, Skip):
            lines.append(asdict(made))
        else:
            write_sample(folder, *made)
            lines.append(made[0].to_json())
    return lines


@contextmanager
def _one_thread() -> Iterator[None]:
    """DIS cuts its work by threads: only with one are its flows everywhere the same."""
    threads = cv2.getNumThreads(), torch.get_num_threads()
    _use_one_thread()
    try:
        yield
    finally:
        cv2.setNumThreads(threads[0])
        torch.set_num_threads(threads[1])


def _use_one_thread() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _begin_worker() -> None:
    """One thread for the work, and one that ends it with its parent, however that ends."""
    _use_one_thread()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
    # A person's Ctrl-C reaches all processes; this one ends when the first has heard it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _on_processes(
    recipe: Recipe, tasks: list[Task], folder: Path, workers: int
) -> Iterator[list[Line]]:
    if workers == 1 or len(tasks) < 2:
        with _one_thread():
            for task in tasks:
                yield run_task(recipe, task, folder)
        return
    pool = ProcessPoolExecutor(
        min(workers, len(tasks)), multiprocessing.get_context("spawn"), _begin_worker
    )
    waiting = iter(tasks)
    try:
        # Few at a time, so that memory does not grow with the data set.
        running = {
            pool.submit(run_task, recipe, task, folder) for task in islice(waiting, 2 * workers)
        }
        while running:
            ready: set[Future[list[Line]]]
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ready:
                for task in islice(waiting, 1):
                    running.add(pool.submit(run_task, recipe, task, folder))
                yield future.result()
    except BrokenProcessPool as error:
        raise OutputError(
            "a worker was killed, perhaps for want of memory: run the same build again with fewer "
            "--workers; what is done is kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _on_ray(recipe: Recipe, tasks: list[Task], folder: Path, workers: int) -> Iterator[list[Line]]:
    """The same function mapped over a Ray cluster; tasks of machines that die are made again."""
    try:
        import ray
    except ImportError:
        raise InputError("Ray is not installed: pip install 'b2m[ray]'") from None

    def run(task: Task) -> list[Line]:
        with _one_thread():
            return run_task(recipe, task, folder)

    remote = ray.remote(num_cpus=1, max_retries=-1)(run)
    if not ray.is_initialized():
        # The cluster that RAY_ADDRESS names, or else a small one on this machine.
        ray.init(num_cpus=None if "RAY_ADDRESS" in os.environ else workers, log_to_driver=False)
    folder = folder.absolute()
    waiting = map(_anywhere, tasks)
    most = 2 * max(workers, int(ray.cluster_resources().get("CPU", 1)))
    running = [remote.remote(task) for task in islice(waiting, most)]
    while running:
        ready, running = ray.wait(running)
        running += [remote.remote(task) for task in islice(waiting, len(ready))]
        yield from ray.get(ready)


def _anywhere(task: Task) -> Task:
    """The task, for workers that stand in another folder."""
    if task.source.path == MADE_UP:
        return task
    return task._replace(source=replace(task.source, path=task.source.path.absolute()))
