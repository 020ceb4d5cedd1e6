"""Tables of numbers: `b2m evaluate --table NAME`. Each is one file of JSON and of Markdown."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from b2m.errors import ArgumentError, InputError
from b2m.evaluate.report import (
    EARLIER_NOTE,
    any_earlier,
    command_line,
    report_of,
    with_earlier,
    with_other_methods,
    write_report,
)
from b2m.evaluate.table import Options, PathLike, Table
from b2m.files import make_folder
from b2m.registry import TABLES, import_all

SPLITS = ("train", "val", "test")


def evaluate(
    table: str,
    *,
    samples: int | None = None,
    photos: PathLike | None = None,
    cutouts: PathLike | None = None,
    clips: PathLike | None = None,
    data: Sequence[PathLike] = (),
    weights: PathLike | None = None,
    methods: Sequence[str] = (),
    output: PathLike = "results",
    split: str = "test",
    seed: int = 0,
) -> Path:
    """Compute a table, print it as Markdown, and write `output`/TABLE.json and TABLE.md.

    Rows of models whose weights are not there are taken from a report of the same command in
    `output`, where there is one, and marked as of an earlier run.

    Args:
        table: one of `all_tables()`; `b2m evaluate --list` says what each measures.
        samples: how many; each table says of what, and how many there are by default.
        photos, cutouts: folders for the scenes (see `b2m.data.textures.split_files`); None for
            procedural textures.
        clips: folder of videos, or of one folder of them for each split.
        data: folders that `b2m data build` has made: tables of the papers are measured on their
            split instead, a group for each.
        weights: see `b2m.hub.find_weights`; for tables that compare models a folder of checkpoints,
            beside those of trainings in `b2m.assets.runs_folder()`.
        methods: names of those that are computed, of tables that compare models; none for all. The
            other rows stay as a report of the same command in `output` has them.
        output: folder, made when missing.
        split: "train", "val" or "test".
        seed: of the scenes and their noise.

    Returns:
        The JSON file: table, command, machine, notes and rows; a number that was not measured
        is null.

    Raises:
        InputError: an unknown table, split or method, no samples, bad folders, clips or weights, or
            with methods a report of another command in `output`.
        OutputError: the results cannot be written.
    """
    sets = tuple(str(folder) for folder in data)
    options = Options(samples, photos, cutouts, clips, sets, weights, split, seed, tuple(methods))
    kind = _checked(table, options)
    if kind.compares_models and weights is not None and not Path(weights).is_dir():
        raise InputError(
            f"there is no folder {os.fspath(weights)!r}: name one of checkpoints with weights=… "
            "(--weights), or none for those that come with b2m"
        )
    folder = Path(output)
    make_folder(folder)
    made = kind(options)
    given: dict[str, Any] = {"samples": made.sample_count}
    given |= {name: getattr(options, name) for name in made.command_options}
    given |= {"split": None if split == "test" else split, "seed": seed or None}
    command = command_line(["b2m", "evaluate", "--table", table], given)
    last_command, before = report_of(folder, table)
    of_all, _, named = last_command.partition(" --method ")
    if before and of_all != command:
        if methods:
            raise ArgumentError(
                f"{folder / table}.json is of another command, '{last_command}', so that its rows "
                f"cannot stand beside those of '{command}': give the same options or another "
                "folder (--output)"
            )
        before = []
    rows = with_earlier(before, made.compute())
    if methods:
        rows = with_other_methods(before, rows)
    notes = [*made.notes(), *([EARLIER_NOTE] if any_earlier(rows) else [])]
    if methods and before:
        notes.append(
            f"Computed last: {'; '.join(methods)}, and rows without a model. The others are of "
            "runs before that, perhaps on another machine."
        )
    if methods and (named or not before):  # there is no report of all methods
        last = [word for word in shlex.split(named) if word != "--method"]
        command = command_line(
            shlex.split(command), {"method": list(dict.fromkeys([*last, *methods]))}
        )
    path, text = write_report(folder, table, command, rows, made.columns, notes, made.shows_std)
    print(text)
    for picture in made.draw(folder, rows):
        print(picture)
    return path


def all_tables() -> dict[str, type[Table]]:
    """All tables by name."""
    import_all("b2m.evaluate.tables")
    return TABLES


def _checked(name: str, options: Options) -> type[Table]:
    """The table of a name, if it can be computed from such options."""
    known = all_tables()
    if name not in known:
        raise ArgumentError(f"no table is called '{name}'; there are {', '.join(known)}")
    if options.split not in SPLITS:
        raise ArgumentError(f"no split is called '{options.split}'; there are {', '.join(SPLITS)}")
    if options.samples is not None and options.samples < 1:
        raise ArgumentError(
            f"samples (--samples) is {options.samples}: give at least 1, there must be some to "
            "measure"
        )
    if options.data and not known[name].takes_data:
        which = ", ".join(name for name, table in known.items() if table.takes_data)
        raise ArgumentError(f"the table '{name}' takes no data sets (--data); these do: {which}")
    if options.methods and not known[name].compares_models:
        which = ", ".join(name for name, table in known.items() if table.compares_models)
        raise ArgumentError(
            f"the table '{name}' compares no models that methods (--method) could name; these do: "
            f"{which}"
        )
    needs = () if options.data else known[name].required_inputs
    for need in needs:
        if getattr(options, need) is None:
            what = "real clips" if need == "clips" else need
            raise ArgumentError(
                f"the table '{name}' needs {what}: name their folder with {need}=… (--{need})"
            )
    return known[name]
