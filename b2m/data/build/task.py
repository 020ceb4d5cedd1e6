"""Tasks of a build, and the interface of its generators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from b2m.data.footage import Footage, Source
from b2m.data.layouts import read_layout
from b2m.data.recipes import DatasetRecipe
from b2m.data.sample import Sample
from b2m.data.storage import Record, Skip
from b2m.errors import InputError

PROCEDURAL = Path()
"""In place of a folder: procedural textures."""

TASK_SAMPLES = 4
"""Samples of a task, unless a generator has its own rule."""


class Task(NamedTuple):
    """A few samples of one source.

    Attributes:
        numbers: of the samples in the data set.
        source: of all.
        starts: where each begins: a window in frames, a pair by its first frame, or a count.
        footage: what is known of the source, where it is read window by window.
    """

    numbers: tuple[int, ...]
    source: Source
    starts: tuple[float, ...]
    footage: Footage | None = None


@dataclass(frozen=True)
class SourcePlan:
    """The samples to make of one source.

    Attributes:
        source: which.
        starts: of all its samples, in order; see `Task`.
        footage: see `Task`.
    """

    source: Source
    starts: Sequence[float]
    footage: Footage | None = None


Outcome = tuple[Record, Sample] | Skip
"""A sample with its record, or why there is none."""


def fixed_size(recipe: DatasetRecipe, source_plan: SourcePlan, index: int, count: int) -> bool:
    """End tasks after `TASK_SAMPLES`; see `Generator`."""
    return count == TASK_SAMPLES


class Generator(NamedTuple):
    """One way to make samples.

    Attributes:
        sources: of a recipe, in a folder, split as named.
        plan: from a source, its index among the sources, and how many there are.
        make: the samples of a task, one after the other, each with its record; or says why not.
        may_end: whether a task may end before a sample, by its number among those of the source and
            how many the task has.
        rendered: whether samples are drawn, as many as the recipe counts; a task is then made
            wholly or not at all.
    """

    sources: Callable[[DatasetRecipe, Path | None, str | None], list[Source]]
    plan: Callable[[DatasetRecipe, Source, int, int], SourcePlan]
    make: Callable[[DatasetRecipe, Task], Iterator[Outcome]]
    may_end: Callable[[DatasetRecipe, SourcePlan, int, int], bool] = fixed_size
    rendered: bool = False


def record_of(
    recipe: DatasetRecipe, task: Task, index: int, sample: Sample, averaged: int, **known: Any
) -> Record:
    """The record of a sample, by its index in the task; averaged: the instants whose mean it is.

    What else is known of it has the names of the record's fields, and prevails.
    """
    source, (height, width) = task.source, sample.photo.shape[:2]
    known = {"licence": source.licence} | known
    number, frames = task.numbers[index], len(sample.frames)
    return Record(
        number, source.name, source.split, recipe.name, width, height, frames, averaged, **known
    )


def sources_of_layout(
    recipe: DatasetRecipe, folder: Path | None, split: str | None
) -> list[Source]:
    """The sources in a folder of the recipe's layout; see `Generator`."""
    if folder is None:
        raise InputError(f"the recipe {recipe.name} needs a source: give a folder")
    try:
        return read_layout(recipe.layout, folder, split)
    except InputError:
        if recipe.generator != "average" or split is not None:
            raise
        try:  # one's own films, averaged as those of the data set are
            return read_layout("video", folder)
        except InputError:
            pass
        raise
