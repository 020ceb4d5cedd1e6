"""The two errors a person can meet: bad input, and output that could not be written."""

from __future__ import annotations


class InputError(ValueError):
    """Something given to b2m cannot be used; one sentence: what was given, what is allowed."""


class OutputError(OSError):
    """A result could not be written; one sentence: where, why, and what to do about it."""


def shortened(value: object) -> str:
    """A value as a sentence can name it: in one line, and larger arrays by shape and type."""
    if (shape := getattr(value, "shape", None)) and max(shape) > 4:
        return f"an array {tuple(shape)} {getattr(value, 'dtype', '')}".rstrip()
    line = " ".join(repr(value).split())
    return line if len(line) <= 80 else f"{line[:79]}…"
