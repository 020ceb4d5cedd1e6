"""Samples from footage: averaged windows, pairs, and interpolated gaps."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from b2m.data.averaging import Averaging, average_instants, expose, frames_at
from b2m.data.build.task import TASK_SAMPLES, Outcome, SourcePlan, Task, record_of
from b2m.data.clips import flow_over
from b2m.data.footage import Reader, Source, examine, number_of
from b2m.data.interpolate import Interpolator, interpolator
from b2m.data.layouts import PAIRS, gopro_window
from b2m.data.raft import raft_flow
from b2m.data.recipes import DatasetRecipe
from b2m.data.sample import Sample
from b2m.data.splits import visible
from b2m.data.storage import Skip
from b2m.errors import InputError
from b2m.motion.fields import estimate_flow
from b2m.motion.io import read_flow

ESTIMATORS = {"dis": estimate_flow, "raft": raft_flow}
"""What estimates flow, by the name that `Averaging.flow` has."""

_READ_AT_ONCE = 16  # samples of a task, where they are made nearly as fast as frames are read
_MAX_TASK = 1024  # samples, where a video has hardly a frame to begin with
_MONKAA_LEAST, _MONKAA_LONGEST = 5, 100


# --- frames averaged ------------------------------------------------------------------------------


def plan_windows(recipe: DatasetRecipe, source: Source, *_: int) -> SourcePlan:
    """All windows of a source; see `Generator`."""
    footage = examine(source)
    if recipe.fps and footage.fps and abs(footage.fps / recipe.fps - 1) > 0.05:
        raise InputError(
            f"{source.path} has {footage.fps:g} frames per second, and the recipe {recipe.name} "
            f"is for {recipe.fps:g}: say --fps {footage.fps:g} to take it all the same, or use the "
            "recipe video"
        )
    how = _averaging(recipe, source)
    starts = how.starts(footage.frames)
    if not starts:
        needed = how.needed(0)[1]
        raise InputError(f"{source.path} has {footage.frames} frames: {needed} are needed at least")
    return SourcePlan(source, array("d", starts), footage)


def _averaging(recipe: DatasetRecipe, source: Source) -> Averaging:
    if recipe.averaging.average:
        return recipe.averaging
    return replace(recipe.averaging, average=gopro_window(source))


def may_end_windows(recipe: DatasetRecipe, source_plan: SourcePlan, index: int, count: int) -> bool:
    """Start tasks at key frames, so that no frame is decoded twice.

    Interpolation takes so much longer than decoding that it does not matter there.
    """
    if recipe.averaging.interpolate != "none":
        return count == TASK_SAMPLES
    if source_plan.source.files or count >= _MAX_TASK:
        return count >= _READ_AT_ONCE
    if source_plan.footage is None or count < _READ_AT_ONCE:
        return False
    before, here = (
        bisect_right(source_plan.footage.keyframes, source_plan.starts[position])
        for position in (index - 1, index)
    )
    return here > before


@lru_cache(maxsize=1)
def _interpolator(name: str) -> Interpolator | None:
    return None if name == "none" else interpolator(name)


def average_windows(recipe: DatasetRecipe, task: Task) -> Iterator[Outcome]:
    """The mean of each window, and the frames that are kept of it; see `Generator`."""
    how = _averaging(recipe, task.source)
    footage = task.footage or examine(task.source)
    fps = footage.fps or recipe.fps
    reader = Reader(task.source, footage)
    for index, start in enumerate(task.starts):
        begin, end = how.needed(start)
        try:
            frames = reader.read(begin, end)
            blur, sharp, averaged = expose(frames, start, how, _interpolator(how.interpolate))
            sample = Sample(blur, sharp, flow_over(sharp, ESTIMATORS[how.flow]))
        except InputError as error:
            yield Skip(task.numbers[index], task.source.name, str(error))
            continue
        record = record_of(
            recipe, task, index, sample, averaged,
            start=begin, fps=fps, exposure=how.span / fps if fps else None,
            curve=how.curve, flow_from=how.flow,
        )  # fmt: skip
        yield record, sample


# --- pairs ----------------------------------------------------------------------------------------


def plan_pairs(recipe: DatasetRecipe, source: Source, *_: int) -> SourcePlan:
    """A sample of each file; see `Generator`."""
    return SourcePlan(source, range(len(source.files)))


def read_pairs(recipe: DatasetRecipe, task: Task) -> Iterator[Outcome]:
    """Photos that are blurred already, each with one sharp frame and no known motion."""
    folder, files = task.source.path, task.source.files
    blur, sharp = next(names for names in PAIRS if (folder / names[0]).is_dir())
    blurred = {path.stem: path.name for path in visible((folder / blur).iterdir())}
    for index, start in enumerate(task.starts):
        name = files[int(start)]
        try:
            if not name:
                raise InputError(f"{folder / sharp}: frame {index} is missing: put it in")
            if Path(name).stem not in blurred:
                raise InputError(f"{folder / blur} has no {Path(name).stem}: get a complete copy")
            pair = [
                Reader(replace(task.source, path=folder / inner, files=(file,))).read(0, 1)[0]
                for inner, file in ((blur, blurred[Path(name).stem]), (sharp, name))
            ]
            if pair[0].shape != pair[1].shape:
                raise InputError(f"{folder}: {blur} and {sharp} of {name} differ in size")
            sample = Sample(pair[0], pair[1][None], None)
        except InputError as error:
            yield Skip(task.numbers[index], task.source.name, str(error))
            continue
        known: dict[str, Any] = {"start": int(start), "flow_grid": None, "flow_from": None}
        yield record_of(recipe, task, index, sample, 0, **known), sample


# --- frames between two ---------------------------------------------------------------------------


def plan_gaps(recipe: DatasetRecipe, source: Source, *_: int) -> SourcePlan:
    """A sample between each two files; see `Generator`."""
    return SourcePlan(source, range(len(source.files) - 1), examine(source))


def interpolate_between(recipe: DatasetRecipe, task: Task) -> Iterator[Outcome]:
    """Monkaa (2021b): max(|s|, 5) frames between two, s the longest true displacement in pixels."""
    how = recipe.averaging
    between = _interpolator(how.interpolate)
    reader = Reader(task.source, task.footage)
    scene, side = task.source.name.split("/")
    flows = task.source.path.parents[2] / "optical_flow" / scene / "into_future" / side
    for index, start in enumerate(task.starts):
        number = task.numbers[index]
        first = int(start)
        stem = Path(task.source.files[first]).stem
        try:
            if not stem:
                reader.read(first, first + 1)  # says what is missing
            flow = read_flow(flows / f"OpticalFlowIntoFuture_{stem}_{side[0].upper()}.pfm")
            if not np.isfinite(flow).all():
                raise InputError(
                    f"{flows}: the flow of frame {stem} is not known everywhere: get a complete "
                    "copy"
                )
            longest = float(np.linalg.norm(flow, axis=-1).max(initial=0))
            if longest > _MONKAA_LONGEST:
                reason = f"moves by {longest:.0f} px: more than {_MONKAA_LONGEST} are left out"
                yield Skip(number, task.source.name, f"frame {stem} {reason}", meant=True)
                continue
            frames = reader.read(first, first + 2)
            after = task.source.files[first + 1]
            if number_of(after) != number_of(stem) + 1:
                raise InputError(
                    f"{task.source.path}: the flow of frame {stem} leads to the next one, which is "
                    f"missing before {after}: get a complete copy"
                )
            if flow.shape[:2] != frames[0].shape[:2]:
                raise InputError(f"{flows}: the flow of frame {stem} has another size than it")
            count = max(math.ceil(longest), _MONKAA_LEAST) + 2
            times = [step / (count - 1) for step in range(count)]
            instants = frames_at(frames, times, between)
            blur, sharp, averaged = average_instants(instants, count, how)
        except InputError as error:
            yield Skip(number, task.source.name, str(error))
            continue
        sample = Sample(blur, sharp, flow)
        known = {"curve": how.curve, "flow_grid": "first", "flow_from": "given"}
        yield record_of(recipe, task, index, sample, averaged, start=first, **known), sample
