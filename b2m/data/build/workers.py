"""Workers of a build: this process, the cores of this machine, or a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import islice
from multiprocessing import connection
from multiprocessing.synchronize import Event
from pathlib import Path

import cv2
import torch

from b2m.data.build.generators import make
from b2m.data.build.progress import Line
from b2m.data.build.task import PROCEDURAL, Task
from b2m.data.recipes import DatasetRecipe
from b2m.data.storage import Skip, write_sample
from b2m.errors import InputError, OutputError

RAY_RETRIES = 4
"""Times that a task is begun again on a cluster whose machines or workers die over it."""


def run_task(recipe: DatasetRecipe, task: Task, folder: Path) -> Iterator[Line]:
    """Make and write the samples of a task; returns their lines for the index or the skips."""
    for outcome in make(recipe, task):
        if isinstance(outcome, Skip):
            yield asdict(outcome)
        else:
            write_sample(folder, *outcome)
            yield outcome[0].to_json()


def _lines_of(recipe: DatasetRecipe, task: Task, folder: Path) -> list[Line]:
    """In a worker: all lines of a task, or fewer where the build is stopped."""
    lines = []
    for line in run_task(recipe, task, folder):
        lines.append(line)
        if _stopped is not None and _stopped.is_set():
            break
    return lines


_stopped: Event | None = None
"""In a worker: set when the build ends, for whatever reason."""


@contextmanager
def _one_thread() -> Iterator[None]:
    """DIS splits its work by threads: only with one is its flow the same on every machine."""
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


def _begin_worker(stopped: Event) -> None:
    """One thread for the work, and one that ends it with its parent, however that ends."""
    global _stopped
    _stopped = stopped
    _use_one_thread()
    # A person's Ctrl-C reaches all processes; this one ends when the first has heard it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def on_processes(
    recipe: DatasetRecipe, tasks: Iterator[Task], folder: Path, workers: int
) -> Iterator[list[Line]]:
    """The lines of all tasks, as they are done, from `workers` processes.

    Raises:
        OutputError: the folder is not writable or full, or a worker was killed.
    """
    if workers == 1:
        with _one_thread():
            for task in tasks:
                for line in run_task(recipe, task, folder):
                    yield [line]
        return
    context = multiprocessing.get_context("spawn")
    stopped = context.Event()
    pool = ProcessPoolExecutor(workers, context, _begin_worker, (stopped,))
    try:
        # Few at a time, so that memory does not grow with the data set.
        running = {
            pool.submit(_lines_of, recipe, task, folder) for task in islice(tasks, 2 * workers)
        }
        while running:
            ready: set[Future[list[Line]]]
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ready:
                for task in islice(tasks, 1):
                    running.add(pool.submit(_lines_of, recipe, task, folder))
                yield future.result()
    except BrokenProcessPool as error:
        raise OutputError(
            "a worker was killed, perhaps for want of memory: run the same build again with fewer "
            "--workers; what is done is kept"
        ) from error
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)


def on_ray(
    recipe: DatasetRecipe, tasks: Iterator[Task], folder: Path, workers: int
) -> Iterator[list[Line]]:
    """The same over a Ray cluster; tasks of machines that die are made again, `RAY_RETRIES` times.

    Raises:
        InputError: Ray is not installed.
        OutputError: the folder is not writable or full, or workers died over one task each time.
    """
    try:
        import ray
    except ImportError:
        raise InputError("Ray is not installed: pip install 'b2m[ray]'") from None

    def run(task: Task) -> list[Line]:
        with _one_thread():
            return list(run_task(recipe, task, folder))

    remote = ray.remote(num_cpus=1, max_retries=RAY_RETRIES)(run)
    if not ray.is_initialized():
        # The cluster that RAY_ADDRESS names, or else a small one on this machine.
        ray.init(num_cpus=None if "RAY_ADDRESS" in os.environ else workers, log_to_driver=False)
    folder = folder.absolute()
    limit = 2 * max(workers, int(ray.cluster_resources().get("CPU", 1)))
    running = {remote.remote(_with_absolute_path(task)): task for task in islice(tasks, limit)}
    while running:
        for reference in ray.wait(list(running))[0]:
            task = running.pop(reference)
            running |= {remote.remote(_with_absolute_path(more)): more for more in islice(tasks, 1)}
            try:
                lines = ray.get(reference)
            except ray.exceptions.RayTaskError:
                raise  # of the task's own, as a full disk
            except ray.exceptions.RayError as error:
                raise OutputError(
                    f"workers died {RAY_RETRIES + 1} times over sample {task.numbers[0]} and those "
                    f"after it, of {task.source.name} ({type(error).__name__}), perhaps for want "
                    "of memory: run the same build again; what is done is kept"
                ) from error
            yield lines


def _with_absolute_path(task: Task) -> Task:
    """The task, for workers that stand in another folder."""
    if task.source.path == PROCEDURAL:
        return task
    return task._replace(source=replace(task.source, path=task.source.path.absolute()))
