"""The two errors a person can meet: bad input, and output that could not be written."""

from __future__ import annotations


class InputError(ValueError):
    """Something given to b2m cannot be used; one sentence: what was given, what is allowed."""


class OutputError(OSError):
    """A result could not be written; one sentence: where, why, and what to do about it."""
