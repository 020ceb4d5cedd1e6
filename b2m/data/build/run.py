"""Build a data set: plan, make samples on all cores or machines, resume after a stop.

What is written depends on sources and settings alone, never on the order of work, so that a build
that was killed and started again ends with the same bytes as one that was not. Where sources are
mended or added between two builds, theirs come after what there is, of which nothing changes. Files
of samples that are gone are made again.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tqdm.auto import tqdm

from b2m.data.build.generators import is_rendered, plan_sources, tasks_of
from b2m.data.build.progress import BuildProgress
from b2m.data.build.task import SourcePlan
from b2m.data.build.workers import on_processes, on_ray
from b2m.data.recipes import DatasetRecipe
from b2m.data.storage import (
    FOLDERS,
    SETTINGS,
    SOURCES,
    Skip,
    export_parquet,
    is_parquet_old,
    parse_sample_path,
    read_lines,
    write_lines,
)
from b2m.errors import InputError, OutputError
from b2m.files import atomic_path, explain_write_error, make_folder

ENGINES = {"local": on_processes, "ray": on_ray}
_LOCK = ".lock"
_TEMPORARY = re.compile(r"\.+(dataset|sources|index|skipped|progress)\.[0-9a-f]{8}\.jsonl?")


class BuildResult(NamedTuple):
    """What came of a build.

    Attributes:
        samples: in the data set.
        left_out: places of which the recipe wants no sample.
        skipped: samples and whole sources that could not be made; `b2m.data.storage.read_skips`
            tells which, and why.
    """

    samples: int
    left_out: int
    skipped: int


@dataclass(frozen=True)
class Part:
    """A run of samples of one source: a line of sources.jsonl.

    Attributes:
        number: of its first sample.
        source: name.
        split: "train", "val" or "test".
        first: place of the first sample among those of the source.
        count: of samples.
        begins: name of the source's first frame, where frames are files.
    """

    number: int
    source: str
    split: str
    first: int
    count: int
    begins: str | None


def build(
    recipe: DatasetRecipe,
    source: str | Path | None,
    out: str | Path,
    *,
    split: str | None = None,
    licence: str | None = None,
    workers: int = 1,
    engine: str = "local",
) -> BuildResult:
    """Build a data set, resume a build, or find it complete.

    Args:
        recipe: see `b2m.data.recipes.DATASET_RECIPES`.
        source: what was downloaded; None for procedural textures, where samples are rendered.
        out: folder of the data set; see `b2m.data.storage` for what is in it.
        split: see `b2m.data.layouts.read_layout`.
        licence: of the sources, instead of what they say themselves; also of what is there already.
        workers: processes on this machine; more than one need a main module that can be imported.
        engine: "local", or "ray" for a Ray cluster whose machines all see source and out.

    Returns:
        What there is now. What was skipped is tried again by the next build.

    Raises:
        InputError: the source is laid out otherwise, out holds something else, or its
            index.parquet has become old and pyarrow is not installed.
        OutputError: out is being written by another build, not writable or full. What is done is
            kept.
    """
    if engine not in ENGINES:
        raise InputError(f"'{engine}' is no engine: choose from {', '.join(ENGINES)}")
    folder = Path(out)
    make_folder(folder)
    with _locked(folder):
        before = _read_settings(folder, recipe)
        plans, failed = plan_sources(recipe, Path(source) if source is not None else None, split)
        licence = licence or before.get("licence")
        settings = {"recipe": _as_json(recipe), "licence": licence}
        if not before:
            _write_settings(folder, settings)
        parts = _assign_numbers(folder, recipe, plans, failed)
        progress = BuildProgress(folder, sum(part.count for part in parts))
        if before not in ({}, settings):
            progress.reopen()
            _write_settings(folder, settings)
        _scan_files(folder, progress)
        for name in FOLDERS:
            (folder / name).mkdir(exist_ok=True)
        if progress.done < progress.total or not progress.is_finished:
            progress.begin()
            by_source = {source_plan.source.name: source_plan for source_plan in plans}
            tasks = (
                task
                for part in parts
                if (source_plan := by_source.get(part.source))
                for task in tasks_of(
                    recipe, source_plan, part.number, part.first, part.count, progress.is_done
                )
            )
            with tqdm(
                total=progress.total, initial=progress.done, unit=" samples", dynamic_ncols=True
            ) as bar:
                try:
                    for count in progress.append(ENGINES[engine](recipe, tasks, folder, workers)):
                        bar.update(min(count, progress.total - bar.n))
                except OSError as error:
                    if explained := explain_write_error(error, folder):
                        raise explained from error
                    raise
        result = BuildResult(*progress.finish(failed, licence))
        if is_parquet_old(folder):
            export_parquet(folder)
        return result


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


def _as_json(recipe: DatasetRecipe) -> dict[str, Any]:
    """As JSON gives it back."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(recipe)))
    if values["averaging"]["flow"] == "dis":
        del values["averaging"]["flow"]  # as in folders that were begun before there was another
    return values


def _read_settings(folder: Path, recipe: DatasetRecipe) -> dict[str, Any]:
    """The settings with which the folder was begun; none where it is new."""
    path = folder / SETTINGS
    if not path.is_file():
        if other := sorted(name for name in os.listdir(folder) if not name.startswith(".")):
            raise InputError(f"{folder} holds {other[0]}: choose a folder that is new or empty")
        return {}
    try:
        before: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError:
        raise InputError(f"{path} is damaged: choose another folder") from None
    averaging = before.get("recipe", {}).get("averaging", {})
    if "most" in averaging:  # as folders call it that were begun by earlier versions
        averaging["max_factor"] = averaging.pop("most")
    if before.get("recipe") != _as_json(recipe):
        raise InputError(f"{folder} was begun with other settings: choose another folder")
    return before


def _write_settings(folder: Path, settings: dict[str, Any]) -> None:
    with atomic_path(folder / SETTINGS) as temporary:
        temporary.write_text(json.dumps(settings, indent=2) + "\n", "utf-8")


def _assign_numbers(
    folder: Path, recipe: DatasetRecipe, plans: list[SourcePlan], failed: list[Skip]
) -> list[Part]:
    """Number the samples: those of the folder first, then new ones."""
    path = folder / SOURCES
    parts = [Part(**line) for line in read_lines(path)] if path.is_file() else []
    known: dict[str, list[Part]] = {}
    for part in parts:
        known.setdefault(part.source, []).append(part)
    assigned = len(parts)
    number = sum(part.count for part in parts)
    other = f"{folder} was begun with other sources"
    missing = (
        known.keys()
        - {source_plan.source.name for source_plan in plans}
        - {skip.source for skip in failed}
    )
    if missing:
        raise InputError(
            f"{other}: {min(missing)} is missing; put it back, or choose another folder"
        )
    for source_plan in plans:
        source, count = source_plan.source, len(source_plan.starts)
        begins = source.files[0] if source.files else None
        earlier = known.get(source.name, [])
        first = sum(part.count for part in earlier)
        alike = all((part.split, part.begins) == (source.split, begins) for part in earlier)
        # Samples that are drawn are shared out among all sources: no more can come.
        more = assigned and is_rendered(recipe) and first != count
        if not alike or count < first or more:
            raise InputError(
                f"{other}: {source.name} has another split, beginning or number of samples; choose "
                "another folder"
            )
        if count > first:
            parts.append(Part(number, source.name, source.split, first, count - first, begins))
            number += count - first
    if len(parts) > assigned:
        write_lines(path, map(asdict, parts))
    return parts


def _scan_files(folder: Path, progress: BuildProgress) -> None:
    """Remove the temporary files of a killed build; find missing files of samples.

    Their samples are made again.
    """
    for entry in os.scandir(folder):
        if _TEMPORARY.fullmatch(entry.name):
            os.unlink(entry.path)
    for name in FOLDERS:
        for entry in os.scandir(folder / name) if (folder / name).is_dir() else ():
            if entry.name.startswith("."):
                os.unlink(entry.path)
            elif file := parse_sample_path(name, entry.name):
                progress.count_file(file)
    progress.forget_incomplete()
