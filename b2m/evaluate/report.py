"""Tables of numbers as files: JSON and Markdown."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from b2m.files import atomic_path

Row = dict[str, Any]
Columns = Mapping[str, tuple[str, str]]
"""From a key of the rows to its heading and the format of its numbers."""


def write_report(
    folder: Path,
    name: str,
    command: str,
    rows: Sequence[Row],
    columns: Columns,
    notes: Sequence[str] = (),
    std: bool = False,
) -> tuple[Path, str]:
    """Write a table as `folder`/`name`.json and as Markdown beside it.

    Args:
        folder: exists.
        name: of the table.
        command: that makes it.
        rows: each with its "name"; NaN and infinity, which JSON does not know, become null.
        columns: of the Markdown, in order. Those without any number are left out.
        notes: sentences below the table.
        std: show KEY_std of a row beside KEY.

    Returns:
        The JSON file, and the Markdown.

    Raises:
        OutputError: the files cannot be written.
    """
    result = {
        "table": name,
        "command": command,
        "machine": machine(),
        "notes": list(notes),
        "rows": [_finite(row) for row in rows],
    }
    text = _markdown(result, columns, std)
    with atomic_path(folder / f"{name}.md") as path:
        path.write_text(text, encoding="utf-8")
    with atomic_path(folder / f"{name}.json") as path:
        path.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return folder / f"{name}.json", text


NOT_RUN = " (not run)"
"""Ends the name of a row whose weights are not there."""

_EARLIER = " (earlier run)"


EARLIER_NOTE = (
    "Earlier run: the weights of these rows do not come with b2m; the numbers, seconds on another "
    "machine among them, are those that this command gave when they were there."
)
"""Below a table where `any_earlier` is true."""


def report_of(folder: Path, name: str) -> tuple[str, list[Row]]:
    """Command and rows of a report; "" and none where there is none."""
    path = folder / f"{name}.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return before.get("command", ""), list(before.get("rows", ()))


def with_earlier(before: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
    """Rows that could not be run, as the same command measured them before.

    Args:
        before: rows of the report of before.
        rows: those that could not be run end in `NOT_RUN`.
    """
    kept: list[Row] = []
    for row in rows:
        found: list[Row] = []
        if row["name"].endswith(NOT_RUN):
            found = [
                old | {"name": old["name"].removesuffix(_EARLIER) + _EARLIER}
                for old in before
                if _method(old) == _method(row) and not old["name"].endswith(NOT_RUN)
            ]
        kept += found or [row]
    return kept


def with_other_methods(before: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
    """A report's rows, those of some methods computed anew.

    Args:
        before: rows of the report.
        rows: replace all rows of their method in their group; those of others come last in it.
    """
    new: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        new.setdefault(_method(row), []).append(row)
    merged: list[Row] = []
    computed = set(new)
    for row in before:
        merged += new.pop(_method(row), []) if _method(row) in computed else [row]
    for (group, _), found in new.items():
        places = [place for place, row in enumerate(merged, 1) if _method(row)[0] == group]
        place = max(places, default=len(merged))
        merged[place:place] = found
    return merged


def any_earlier(rows: Sequence[Row]) -> bool:
    """Whether a row is of an earlier run, as its weights are not there."""
    return any(row["name"].endswith(_EARLIER) for row in rows)


def _method(row: Row) -> tuple[str, str]:
    """Group and method of a row "group: method, best of 3 (earlier run)"."""
    group, _, method = str(row["name"]).rpartition(": ")
    return group, re.sub(r"(, best of \d+)?( \((not|earlier) run\))?$", "", method)


def grouped_markdown(rows: Sequence[Row], columns: Columns) -> str:
    """Rows as a Markdown table for narrow pages, a line above those of each group.

    Args:
        rows: of a report; a name is "group: name", or without a group.
        columns: in order. Those without any number are left out.
    """
    keys, lines = _head(rows, columns)
    last = ""
    for row in rows:
        group, _, name = row["name"].rpartition(": ")
        if group != last:
            lines.append(f"| **{group}** |" + " |" * len(keys))
            last = group
        lines.append("| " + " | ".join([name, *(_cell(row, key, columns) for key in keys)]) + " |")
    return "\n".join(lines)


def command_line(words: Sequence[str], options: Mapping[str, Any]) -> str:
    """A command as it is typed; options that are None are left out, and several values repeat one.

    Absolute paths are cut to their last two parts: where they begin is this machine's business.
    """
    shown = list(words)
    for name, value in options.items():
        for one in value if isinstance(value, tuple | list) else (value,):
            if one is None:
                continue
            text = os.fspath(one) if isinstance(one, os.PathLike) else str(one)
            if os.path.isabs(text):
                text = str(Path(*Path(text).parts[-2:]))
            shown += [f"--{name}", text]
    return shlex.join(shown)


def machine() -> str:
    """A description of system, processor, cores and versions."""
    import torch

    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    told = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    if found := re.search(r"^model name\s*:\s*(.*)", told, re.MULTILINE):
        processor = found[1].strip()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{platform.system()} {platform.machine()}, {processor}, {os.cpu_count()} cores{gpu}, "
        f"Python {platform.python_version()}, PyTorch {torch.__version__}"
    )


def _markdown(result: Mapping[str, Any], columns: Columns, std: bool) -> str:
    rows = result["rows"]
    keys, lines = _head(rows, columns)
    for row in rows:
        cells = [_cell(row, key, columns, std) for key in keys]
        lines.append("| " + " | ".join([row["name"], *cells]) + " |")
    head = [f"# {result['table']}", f"`{result['command']}`", f"On {result['machine']}."]
    return "\n\n".join([*head, "\n".join(lines), *result["notes"]]) + "\n"


def _head(rows: Sequence[Row], columns: Columns) -> tuple[list[str], list[str]]:
    """The columns with a number in any row, and the lines above those of rows."""
    keys = [key for key in columns if any(row.get(key) is not None for row in rows)]
    heading = "| " + " | ".join(["", *(columns[key][0] for key in keys)]) + " |"
    return keys, [heading, "|---|" + "---:|" * len(keys)]


def _cell(row: Row, key: str, columns: Columns, std: bool = False) -> str:
    value, deviation = row.get(key), row.get(f"{key}_std")
    if value is None:
        return "–"
    text = format(value, columns[key][1])
    return f"{text} ± {deviation:.2f}" if std and deviation is not None else text


def _finite(row: Row) -> Row:
    unknown = {k for k, v in row.items() if isinstance(v, float) and not math.isfinite(v)}
    return {key: None if key in unknown else value for key, value in row.items()}
