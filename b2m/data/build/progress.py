"""Progress of a build, kept on disk; thirteen bytes for each sample are in memory."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import chain, takewhile
from pathlib import Path
from typing import Any

from b2m.data.storage import INDEX, SKIPPED, SamplePath, Skip, read_lines, to_line, write_lines
from b2m.errors import InputError
from b2m.files import atomic_path

Line = dict[str, Any]

_PROGRESS = ".progress.jsonl"
_TODO, _DONE, _LEFT_OUT, _FAILED = range(4)


def is_unfinished(folder: Path) -> bool:
    """Whether a build of a data set was begun that has not ended."""
    return (folder / _PROGRESS).is_file()


class BuildProgress:
    """Lines of records and skips by their numbers.

    A build that has anything to do begins by copying them into a progress file, to which each
    finished sample adds its line, and ends by writing the index from that. Killed in between, the
    progress file is all that the next build needs.

    Args:
        folder: of the data set.
        total: numbers that there are.

    Raises:
        InputError: what the folder holds is damaged.
    """

    def __init__(self, folder: Path, total: int) -> None:
        self.folder, self.total = folder, total
        self._progress = folder / _PROGRESS
        self._states = bytearray(total)
        self._offsets = array("q", bytes(8 * total))
        self._missing = array("i", bytes(4 * total))
        for line in self._lines_so_far():
            self._record_state(line)

    def is_done(self, number: int) -> bool:
        """Whether a sample is made, or skipped as the recipe says."""
        return self._states[number] in (_DONE, _LEFT_OUT)

    @property
    def done(self) -> int:
        """How many are done."""
        return self._states.count(_DONE) + self._states.count(_LEFT_OUT)

    @property
    def is_finished(self) -> bool:
        """Whether the index is written."""
        return (self.folder / INDEX).is_file() and not self._progress.is_file()

    def _lines_so_far(self) -> Iterator[Line]:
        for name in (INDEX, SKIPPED, _PROGRESS):
            path = self.folder / name
            if path.is_file():
                lines = read_lines(path, torn=name == _PROGRESS)
                yield from (line for line in lines if line["number"] >= 0)

    def _record_state(self, line: Line) -> int:
        number: int = line["number"]
        if number >= self.total:
            raise InputError(
                f"{self.folder} holds sample {number}, of which its sources know nothing: choose "
                "another folder"
            )
        skipped = "reason" in line
        self._states[number] = (_LEFT_OUT if line["meant"] else _FAILED) if skipped else _DONE
        # The photo and its sharp frames; flow and guidance.
        files = 1 + line.get("frames", 0) + (2 if line.get("flow_grid") else 0)
        self._missing[number] = 0 if skipped else files
        return number

    def count_file(self, file: SamplePath) -> None:
        """Count a file that is there."""
        if file.number < self.total and self._missing[file.number]:
            self._missing[file.number] -= 1

    def forget_incomplete(self) -> None:
        """After all files were counted: samples that lack any are made again."""
        for number, state in enumerate(self._states):
            if state == _DONE and self._missing[number]:
                self._states[number] = _TODO

    def begin(self) -> None:
        """Gather all lines in the progress file.

        Raises:
            OutputError: the folder is not writable or full.
        """
        with atomic_path(self._progress) as temporary, temporary.open("wb") as stream:
            for line in self._lines_so_far():
                self._offsets[line["number"]] = stream.tell()
                stream.write(to_line(line))

    def reopen(self) -> None:
        """Gather all lines, and take the index away, so that it is written anew."""
        self.begin()
        (self.folder / INDEX).unlink(missing_ok=True)
        (self.folder / SKIPPED).unlink(missing_ok=True)

    def append(self, results: Iterable[list[Line]]) -> Iterator[int]:
        """Add lines as they come; gives how many, each time they are on disk."""
        with self._progress.open("ab") as stream:
            for lines in results:
                for line in lines:
                    self._offsets[self._record_state(line)] = stream.tell()
                    stream.write(to_line(line))
                stream.flush()
                yield len(lines)

    def finish(self, failed: list[Skip], licence: str | None) -> tuple[int, int, int]:
        """Write the index, and what was skipped.

        Args:
            lost: whole sources.
            licence: of all samples, instead of what their lines say.

        Returns:
            How many samples there are, were left out as the recipe says, and were skipped.
        """
        counts = [self._states.count(state) for state in (_DONE, _LEFT_OUT, _FAILED)]
        sources = [asdict(skip) for skip in failed]
        if self._progress.is_file():
            changed = {} if licence is None else {"licence": licence}
            write_lines(self.folder / INDEX, (line | changed for line in self._lines_of(_DONE)))
            self._write_skipped(sources, self._lines_of(_LEFT_OUT, _FAILED), sum(counts[1:]))
            self._progress.unlink()
        else:
            path = self.folder / SKIPPED
            lines = read_lines(path) if path.is_file() else iter(())
            # Sources come first.
            if list(takewhile(lambda line: line["number"] < 0, lines)) != sources:
                others = (line for line in read_lines(path) if line["number"] >= 0)
                self._write_skipped(sources, others, sum(counts[1:]))
        return counts[0], counts[1], counts[2] + len(failed)

    def _write_skipped(self, sources: list[Line], lines: Iterable[Line], count: int) -> None:
        if sources or count:
            write_lines(self.folder / SKIPPED, chain(sources, lines))
        else:
            (self.folder / SKIPPED).unlink(missing_ok=True)

    def _lines_of(self, *states: int) -> Iterator[Line]:
        """Lines of the progress file, in the order of their numbers."""
        with self._progress.open("rb") as stream:
            for number, state in enumerate(self._states):
                if state in states:
                    stream.seek(self._offsets[number])
                    yield json.loads(stream.readline())
