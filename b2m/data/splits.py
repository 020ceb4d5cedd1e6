"""What is taken from folders, by its suffix, and in which split it is."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

SPLITS = ("train", "val", "test")

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg"})


def split_by_hash(name: str) -> str:
    """Split of a name by its hash, where the data set has none: eight tenths train."""
    tenth = zlib.crc32(name.encode()) % 10
    return "test" if tenth == 9 else "val" if tenth == 8 else "train"


def visible(paths: Iterable[Path]) -> list[Path]:
    """Sorted paths without hidden files, as macOS leaves beside every file on foreign disks."""
    return sorted(path for path in paths if not path.name.startswith("."))


def photos_in(folder: Path) -> Path:
    """Where the photos of a folder are: an open pack has one of them beside cut-outs and videos."""
    return folder / "photos" if (folder / "photos").is_dir() else folder
