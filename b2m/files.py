"""Files: checked before they are read, and written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from b2m.errors import InputError, OutputError

_STALE_SECONDS = 86400  # since a temporary file was written to


def check_file(path: Path, kind: str) -> Path:
    """The path, if it is a file that can be read and is not empty; else an InputError."""
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder: give the path of one {kind}")
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is a device or pipe: give the path of one {kind}")
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: check the path of the {kind}") from None
    except PermissionError:
        raise InputError(f"{path} may not be read: change its permissions") from None
    except InputError:
        raise
    except (OSError, ValueError) as error:  # a null byte in the name is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path!s:.200} cannot be read: {reason}; check the path") from None
    if empty:
        raise InputError(f"{path} is empty (0 bytes): give a complete {kind}")
    return path


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside ``path``; it becomes ``path`` on success, vanishes on failure.

    The temporary name keeps the suffix, by which many writers choose their format.

    Raises:
        OutputError: the folder is missing, not writable or full, or ``path`` is no file.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise OutputError(f"{path} is a folder: give the name of a file")
    if target.exists() and not target.is_file():
        raise OutputError(f"{path} is a device or pipe: give the name of a file")
    if not target.parent.is_dir():
        raise OutputError(f"folder {target.parent} does not exist: create it or choose another")
    start, end = _temporary_name_parts(target)
    temporary = target.with_name(f"{start}{secrets.token_hex(4)}{end}")
    try:
        yield temporary
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and (explained := explain_write_error(error, path)):
            raise explained from error
        raise


def remove_stale_temporaries(path: str | os.PathLike[str]) -> None:
    """Remove the temporary files beside ``path`` of runs that were killed a day ago or more."""
    target = Path(os.path.realpath(path))
    start, end = _temporary_name_parts(target)
    name = re.compile(re.escape(start) + "[0-9a-f]{8}" + re.escape(end))
    with contextlib.suppress(OSError):
        for other in target.parent.iterdir():
            # Not those of a run that goes on meanwhile.
            if name.fullmatch(other.name) and time.time() - other.stat().st_mtime > _STALE_SECONDS:
                other.unlink()


def _temporary_name_parts(target: Path) -> tuple[str, str]:
    """How the names of its temporary files begin and end."""
    return f".{target.stem[:80]}.", target.suffix


def make_folder(folder: Path) -> None:
    """Make a folder for results, and see that one may write into it.

    Raises:
        OutputError: it cannot be made or written into.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Tried now, before a long computation whose result could not be written.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(
            f"cannot write into {folder} ({reason}): choose another folder"
        ) from error


@contextlib.contextmanager
def results_folder(folder: Path) -> Iterator[None]:
    """Make a folder as `make_folder` does; where nothing comes into it, it goes again.

    Raises:
        OutputError: it cannot be made or written into.
    """
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        make_folder(folder)
        yield
    finally:
        with contextlib.suppress(OSError):  # not empty
            for place in new:
                place.rmdir()


def explain_write_error(error: OSError, path: str | os.PathLike[str]) -> OutputError | None:
    """The clear error for a failed write of ``path``, or None where the cause is another."""
    if isinstance(error, OutputError):
        return None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        sentence = f"the disk is full: {path} was not written; free some space or choose another"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        sentence = f"{path} cannot be written: the folder is not writable; choose another"
    elif error.errno == errno.EFBIG:
        sentence = f"{path} would be larger than this disk or account allows; choose another folder"
    elif error.errno == errno.ENAMETOOLONG:
        sentence = f"{path} has too long a name for this disk; choose a shorter one"
    else:
        return None
    # Not OutputError(errno, sentence): its text would begin with "[Errno 28]".
    explained = OutputError(sentence)
    explained.errno = error.errno
    return explained
