"""Folders beside the code: example photos, the papers' tables as computed, and training runs."""

from __future__ import annotations

import os
from pathlib import Path

from b2m.errors import InputError


def examples() -> Path:
    """The folder of blurred example photos, JPEG files.

    Raises:
        InputError: it is missing.
    """
    return _folder("examples", "examples")


def results() -> Path:
    """The folder of tables as `b2m evaluate` writes them: JSON, Markdown and plots.

    Raises:
        InputError: it is missing.
    """
    return _folder("results", "benchmarks/results")


def runs_folder() -> Path:
    """Where runs live: $B2M_RUNS, or b2m/runs in the user's cache folder."""
    return Path(os.environ.get("B2M_RUNS") or cache_folder() / "runs")


def cache_folder() -> Path:
    """Where downloads and runs are kept: b2m in $XDG_CACHE_HOME, by default ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "b2m"


def _folder(installed: str, checkout: str) -> Path:
    package = Path(__file__).parent
    for place in (package / installed, package.parent / checkout):
        if place.is_dir():
            return place
    raise InputError(f"b2m's folder '{installed}' is missing: install b2m anew")
