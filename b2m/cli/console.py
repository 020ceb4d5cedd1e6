"""Messages, names of results, and error handling of the command line."""

from __future__ import annotations

import itertools
import math
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from b2m.errors import ArgumentError, InputError, OutputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


Output = Annotated[
    Path,
    typer.Option(
        "-o", "--output", metavar="PLACE", help="Folder for the results; for one photo, a file."
    ),
]
_WIDE = 1000  # characters
_NOT_WRITTEN = {".mov", ".avi", ".mkv", ".webm", ".m4v", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}


def _seed(value: int) -> int:
    if not 0 <= value < 2**32:
        raise typer.BadParameter(f"{value} must be a whole number from 0 to {2**32 - 1}")
    return value


def _ensemble(value: int) -> int:
    if value not in (1, 2, 4):
        raise typer.BadParameter(f"{value} must be 1, 2 or 4")
    return value


Device = Annotated[str, typer.Option(metavar="NAME", help="Device: auto, cpu, cuda or mps.")]
Ensemble = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Self-ensemble over 1, 2 or 4 flips: slightly more accurate, N times slower.",
        callback=_ensemble,
    ),
]
Model = Annotated[
    str, typer.Option(metavar="NAME", help="Model: animator, decomposer, video-restorer or jin.")
]
Seed = Annotated[int, typer.Option(metavar="N", help="Random seed.", callback=_seed)]
Weights = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Other weights: a folder or a Hugging Face Hub id."),
]


def listing(what: str, lines: Callable[[], Iterable[str]]) -> Any:
    """An option --list, which prints lines and ends the command.

    Args:
        what: is listed, for the help.
        lines: called where the option is given.
    """

    def show(wanted: bool) -> None:
        if wanted:
            print(*lines(), sep="\n")
            raise typer.Exit

    return typer.Option("--list", callback=show, is_eager=True, help=f"List the {what} and exit.")


@dataclass
class Row:
    """One photo's row of the closing table."""

    name: str
    size: tuple[int, int]
    motion: float
    reblur: float
    exposure_time: float | None
    seconds: float = 0.0


def repeat_option(option: str, arguments: Sequence[str]) -> list[str]:
    """Arguments in which an option stands before each of the values that follow it."""
    named: list[str] = []
    inside = False
    for argument in map(str, arguments):
        if argument.startswith("-"):
            inside = False
        elif inside and named[-1] != option:
            named.append(option)
        inside |= argument == option
        named.append(argument)
    return named


def require_at_least(value: int, least: int, option: str, reason: str) -> None:
    """Refuse a value that is too small for its option."""
    if value < least:
        raise ArgumentError(f"{option} is {value}: give at least {least}, as {reason}")


# --- where results go ----------------------------------------------------------------------------


@dataclass(frozen=True)
class OutputTarget:
    """Where results go.

    Attributes:
        folder: of them all.
        name: of those of the one photo, where a file was named.
        kind: of that file.
        file: it.
    """

    folder: Path
    name: str | None = None
    kind: str | None = None
    file: Path | None = None


def output_target(output: Path, photos: Sequence[Path], endings: Mapping[str, str]) -> OutputTarget:
    """A folder, or a file by its ending, where it is not the name of a folder that is there.

    Args:
        output: as it was given.
        photos: whose results go there.
        endings: of the files that the command writes, by their kinds.

    Raises:
        ArgumentError: a file for several photos, or one of a kind that is not written.
    """
    if output.is_dir() or str(output).endswith(("/", "\\")):
        return OutputTarget(output)
    lower = output.name.lower()
    # The longer ones first: .mp.jpg is no .jpg.
    for kind, ending in sorted(endings.items(), key=lambda item: -len(item[1])):
        if lower.endswith(ending.lower()) and len(lower) > len(ending):
            if len(photos) > 1:
                raise ArgumentError(
                    f"-o {output} names one file, and there are {len(photos)} photos: name a folder"
                )
            return OutputTarget(output.parent, output.name[: -len(ending)], kind, output)
    if output.suffix.lower() in _NOT_WRITTEN:
        raise ArgumentError(
            f"-o {output} ends in {output.suffix}, which is not written here: end it in "
            f"{', '.join(endings.values())}, or name a folder"
        )
    return OutputTarget(output)


# --- work on several photos ----------------------------------------------------------------------


def process_photos(
    photos: Sequence[Path],
    work: Callable[[Path, str], Iterable[Row] | None],
    results: int = 1,
    name: str | None = None,
) -> tuple[list[Row], int]:
    """Process each photo; report those that fail and go on.

    Args:
        photos: what is worked on.
        work: takes a photo and the name of its results, and may give rows, each when it is done.
        results: most results of one photo, see `numbered`.
        name: of the results, where there is one photo and they are not named after it.

    Returns:
        The rows with the time that each took, and the exit code.
    """
    rows: list[Row] = []
    codes: set[int] = set()
    chosen = result_names(photos, results) if name is None else [name]
    for photo, name in zip(photos, chosen, strict=True):
        start = time.perf_counter()
        try:
            for row in work(photo, name) or ():
                rows.append(replace(row, seconds=time.perf_counter() - start))
                start = time.perf_counter()
        except ArgumentError as error:
            codes.add(print_error(error, 2))
        except BrokenPipeError:
            # Nobody listens any more (as in "b2m … | head"): no fault of this photo.
            raise
        except (InputError, OSError, MemoryError) as error:
            codes.add(print_error(_about(photo, error), 1))
        except typer.Exit:
            raise
        except Exception as error:
            # A fault of b2m, whose place is worth knowing; other photos need not suffer from it.
            traceback.print_exc()
            codes.add(print_error(f"{photo}: a fault in b2m, please report it: {error!r:.200}", 1))
    return rows, min(codes, default=0)


def result_names(photos: Sequence[Path], results: int = 1) -> list[str]:
    """Name the results: the photo's stem, and -a, -b, … where that would name another's, too."""
    # Folded, as many disks do not tell "A" from "a".
    stems = [photo.stem.casefold() for photo in photos]
    count = Counter(stems)
    shared = [count[stem] > 1 for stem in stems]
    taken: set[str] = set()
    chosen: dict[int, str] = {}
    for place in sorted(range(len(photos)), key=shared.__getitem__):
        stem = photos[place].stem
        lettered = (f"{stem}-{_letters(number)}" for number in itertools.count())
        offered = lettered if shared[place] else itertools.chain([stem], lettered)
        chosen[place] = next(n for n in offered if not _wanted(n.casefold(), results) & taken)
        taken |= _wanted(chosen[place].casefold(), results)
    return [chosen[place] for place in range(len(photos))]


def numbered(name: str, number: int) -> str:
    """The name of the first, second, third … result: NAME, NAME-2, NAME-3 …"""
    return name if number == 1 else f"{name}-{number}"


def _wanted(name: str, results: int) -> set[str]:
    return {numbered(name, number) for number in range(1, results + 1)}


def _letters(number: int) -> str:
    """Count a, b, … z, aa, ab, …"""
    higher, last = divmod(number, 26)
    return (_letters(higher - 1) if higher else "") + chr(ord("a") + last)


def refuse_overwriting_photos(target: Path, photos: Sequence[Path]) -> None:
    """Refuse to overwrite an input photo."""
    if target.exists() and any(p.exists() and target.samefile(p) for p in photos):
        raise OutputError(f"{target} is one of the photos: choose another folder with -o")


def check_device(device: str) -> None:
    """Refuse a device that is not available."""
    if device == "auto":
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ArgumentError(f"--device {device} is not there on this machine: try cpu") from error


# --- what is said --------------------------------------------------------------------------------


def print_table(rows: Sequence[Row]) -> None:
    """Print the closing table; nothing for no rows."""
    if not rows:
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="none")
    table.add_column("file", no_wrap=True)
    speeds = any(row.exposure_time for row in rows)
    for heading in ["size", "seconds", "motion px", "re-blur dB"] + ["px/s"] * speeds:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        cells = [row.name, f"{row.size[0]}x{row.size[1]}", f"{row.seconds:.1f}"]
        cells += [f"{row.motion:.1f}", _decibels(row.reblur)]
        if speeds:
            cells.append(f"{row.motion / row.exposure_time:.0f}" if row.exposure_time else "")
        table.add_row(*map(Text, cells))
    # Names are not cut where the output is no terminal.
    console = Console(width=None if sys.stdout.isatty() else _WIDE)
    console.print()
    console.print(table)


def _decibels(value: float) -> str:
    """A PSNR; pictures that are the same have no error to compare with."""
    return f"{value:.1f}" if math.isfinite(value) else "exact" if value > 0 else "none"


def dimensions(picture: NDArray[Any]) -> str:
    """Width and height of an (H, W, …) array, as WxH."""
    return f"{picture.shape[1]}x{picture.shape[0]}"


def warn(photo: Path, warnings: Sequence[str]) -> None:
    """Print warnings about a photo to standard error, each once."""
    for sentence in dict.fromkeys(warnings):
        print(f"{photo}: {sentence}", file=sys.stderr, flush=True)


def _sentence(error: BaseException | str) -> str:
    if isinstance(error, MemoryError):
        return "there is not enough memory for this photo: make it smaller"
    if isinstance(error, OSError) and error.strerror:
        # An OutputError carries its whole sentence there.
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{error.strerror}"
    return str(error)


def _about(photo: Path, error: BaseException) -> str:
    """Name the photo, unless the sentence does."""
    sentence = _sentence(error)
    return sentence if photo.name and photo.name in sentence else f"{photo}: {sentence}"


def print_error(error: BaseException | str, code: int) -> int:
    """Print an error to standard error in one line; returns the exit code."""
    print(f"b2m: {' '.join(_sentence(error).split())}", file=sys.stderr, flush=True)
    return code
