"""Readers of the published layouts of data sets: from a folder to its sources.

Each knows the official folders, names and splits of one data set, and refuses a folder that is laid
out otherwise with what was expected and what was found.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from inspect import getdoc
from pathlib import Path

from b2m.data.footage import Source, frame_files
from b2m.data.splits import (
    IMAGE_SUFFIXES,
    SPLITS,
    VIDEO_SUFFIXES,
    photos_in,
    split_by_hash,
    visible,
)
from b2m.errors import InputError
from b2m.registry import LAYOUTS, register_layout

GOPRO_TEST = tuple(
    f"GOPR{number}_11_{part}"
    for number, part in (
        ("0384", "00"), ("0384", "05"), ("0385", "01"), ("0396", "00"), ("0410", "00"),
        ("0854", "00"), ("0862", "00"), ("0868", "00"), ("0869", "00"), ("0871", "00"),
        ("0881", "01"),
    )
)  # fmt: skip
"""The 11 test videos of Nah et al. 2017, which 2021a tests on, too."""

GOPRO_TEST_OF_8 = GOPRO_TEST[3:]
"""Eight test videos, as many as 2021b has. It does not say which: here those three go to training
whose recordings (GOPR0384, GOPR0385) training videos come from, too."""

DVD_TEST = (
    "720p_240fps_2", "IMG_0003", "IMG_0021", "IMG_0030", "IMG_0031", "IMG_0032", "IMG_0033",
    "IMG_0037", "IMG_0039", "IMG_0049",
)  # fmt: skip
"""The 10 of 71 videos that Su et al. 2017 test on, as they name them where their code is."""

PAIRS = (("input", "GT"), ("blur", "sharp"))
"""Folders of pairs, blurred and sharp: DVD's and GoPro's."""

_DVD_VIDEOS = "original_high_fps_videos"
_SEQUENCE = re.compile(r"GOPR\d{4}_(\d\d)_\d\d")
_LISTED = 6
_INDEX_ABOVE = 3  # folders: as for pack/video/train/NAME.mp4


def read_layout(layout: str, folder: str | Path, split: str | None = None) -> list[Source]:
    """The sources in a folder, in the order of their names.

    Args:
        layout: one of `LAYOUTS`.
        folder: what was downloaded and unpacked; a single video is possible, too, for "video".
        split: a named scheme: for "gopro" "2021a" (22 videos to train on, 11 to test on: the
            official one, and the default) or "2021b" (25 and 8); for "aist" "pose" (the default:
            no dancer in two splits) or "crossmodal".

    Raises:
        InputError: no folder, another layout, another split, or one source in two splits.
    """
    path = Path(folder)
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path of the source")
    if path.is_file() and layout != "video":
        raise InputError(f"{path} is a file: the layout {layout} is a folder")
    read, schemes = LAYOUTS[layout]
    if split is not None and split not in schemes:
        offered = f"choose from {', '.join(schemes)}" if schemes else "leave it out"
        raise InputError(f"'{split}' is no split of {layout}: {offered}")
    scheme = split or (schemes[0] if schemes else "")
    sources = sorted(read(path, scheme), key=lambda source: source.name)
    if not sources:
        expected = (getdoc(read) or "").partition("\n")[0].rstrip(".")
        raise _wrong(path, layout, expected)
    names: dict[str, Source] = {}
    for source in sources:
        if (other := names.setdefault(source.name, source)) is not source:
            raise InputError(
                f"{other.path} and {source.path} would both be called {source.name}: rename one, "
                "as nothing may be in two splits"
            )
    known = known_licences(path)
    return [
        replace(source, licence=known.get(source.path.absolute(), source.licence))
        for source in sources
    ]


def known_licences(folder: Path) -> dict[Path, str]:
    """Licences of files by their paths, as an open pack's index.json in or above a folder says.

    See `b2m.data.fetch`; there are none where there is no such file.
    """
    folder = folder.absolute()
    for root in (folder, *folder.parents[:_INDEX_ABOVE]):
        try:
            rows = json.loads((root / "index.json").read_text("utf-8"))
            return {root / row["path"]: str(row["licence"]) for row in rows}
        except (OSError, ValueError, TypeError, KeyError):
            continue  # none, or something else of that name
    return {}


def _wrong(folder: Path, name: str, expected: str, hint: str = "") -> InputError:
    found = [path.name + "/" * path.is_dir() for path in visible(folder.iterdir())]
    listed = ", ".join(found[:_LISTED]) + (" …" if len(found) > _LISTED else "")
    return InputError(
        f"{folder} is not laid out as {name}: expected {expected}, found {listed or 'nothing'}"
        f"{'; ' + hint if hint else ''}"
    )


def _folders(folder: Path) -> list[Path]:
    return [path for path in visible(folder.iterdir()) if path.is_dir()]


def _videos(folder: Path) -> list[Path]:
    found = (path for path in visible(folder.iterdir()) if path.is_file())
    return [path for path in found if path.suffix.lower() in VIDEO_SUFFIXES]


def _by_split(folder: Path) -> list[tuple[str | None, Path]]:
    """The folders train, val and test inside a folder; itself, of no split, where there is none."""
    inside = [(split, folder / split) for split in SPLITS if (folder / split).is_dir()]
    return [*inside] or [(None, folder)]


# --- one data set each ----------------------------------------------------------------------------


@register_layout("gopro", schemes=("2021a", "2021b"))
def _gopro(folder: Path, scheme: str) -> list[Source]:
    """GOPRO_Large_all: train/GOPR0372_07_00/000047.png, all frames at 240 per second."""
    sources = []
    for split, inside in _by_split(folder):
        for sequence in _folders(inside):
            if not _SEQUENCE.fullmatch(sequence.name):
                continue
            files = frame_files(sequence)
            if not files:
                hint = ""
                if (sequence / "sharp").is_dir():
                    hint = (
                        "this is GOPRO_Large: take the recipe gopro-pairs, or get GOPRO_Large_all, "
                        "with all frames at 240 fps"
                    )
                raise _wrong(sequence, "GoPro", "its frames 000001.png, 000002.png …", hint)
            if scheme == "2021b":
                chosen = "test" if sequence.name in GOPRO_TEST_OF_8 else "train"
            else:
                chosen = split or ("test" if sequence.name in GOPRO_TEST else "train")
            sources.append(
                Source(sequence.name, chosen, sequence, files, 240.0, "CC BY 4.0 (GoPro, Nah 2017)")
            )
    return sources


@register_layout("gopro-pairs")
def _gopro_pairs(folder: Path, _: str) -> list[Source]:
    """GOPRO_Large: train/GOPR0372_07_00/{blur,sharp}/000047.png, and 1,111 pairs in test/."""
    return [
        Source(
            sequence.name,
            split or ("test" if sequence.name in GOPRO_TEST else "train"),
            sequence,
            frame_files(sequence / "sharp"),
            licence="CC BY 4.0 (GoPro, Nah 2017)",
            pairs=True,
        )
        for split, inside in _by_split(folder)
        for sequence in _folders(inside)
        if _SEQUENCE.fullmatch(sequence.name)
        and all((sequence / name).is_dir() for name in PAIRS[1])
    ]


def gopro_window(source: Source) -> int:
    """Frames that the original set averages of a video: 7, 11 or 13, the middle of its name.

    Raises:
        InputError: another name.
    """
    found = _SEQUENCE.fullmatch(source.name)
    if not found:
        raise InputError(
            f"{source.name} does not say how many frames to average, as GOPR0372_07_00 does: give "
            "a number for the window"
        )
    return int(found[1])


@register_layout("dvd")
def _dvd(folder: Path, _: str) -> list[Source]:
    """original_high_fps_videos/*.mov|mp4, 240 fps; or quantitative_datasets/NAME/{input,GT}.

    The 10 official test videos are to test on, by name in both, all others to train on.
    """
    licence = "as the authors of DVD (Su 2017) say"
    inner = folder / _DVD_VIDEOS
    inner = inner if inner.is_dir() else folder
    sources = [
        Source(path.stem, _dvd_split(path.stem), path, licence=licence) for path in _videos(inner)
    ]
    inner = folder / "quantitative_datasets"
    for pair in _folders(inner if inner.is_dir() else folder):
        if all((pair / name).is_dir() for name in PAIRS[0]):
            files = frame_files(pair / PAIRS[0][1])
            # Its video, in the same split, may have the same name.
            name = f"{pair.name}-pairs"
            split = _dvd_split(pair.name)
            sources.append(Source(name, split, pair, files, licence=licence, pairs=True))
    return sources


def _dvd_split(name: str) -> str:
    return "test" if name in DVD_TEST else "train"


@register_layout("reds")
def _reds(folder: Path, _: str) -> list[Source]:
    """train/000/00000000.png … at 120 fps; the official archives put train_orig/ between."""
    sources = []
    for split, inside in _by_split(folder):
        nested = inside / f"{split}_orig"
        for sequence in _folders(nested if nested.is_dir() else inside):
            if split and re.fullmatch(r"\d{3}", sequence.name) and (files := frame_files(sequence)):
                name = f"{split}_{sequence.name}"
                licence = "CC BY 4.0 (REDS, Nah 2019)"
                sources.append(Source(name, split, sequence, files, 120.0, licence))
    return sources


@register_layout("nfs")
def _nfs(folder: Path, _: str) -> list[Source]:
    """NAME/240/NAME/00001.jpg …; 70 of 100 videos to train on, as 2021b, 15 each to val and test.

    2021b does not say which: here they are counted in the order of their names.
    """
    found = [
        path for path in visible(folder.glob("*/240/*")) if path.is_dir() and frame_files(path)
    ]
    shares = [(index + 0.5) / len(found) for index in range(len(found))]
    return [
        Source(
            path.parents[1].name,
            "train" if share < 0.7 else "val" if share < 0.85 else "test",
            path,
            frame_files(path),
            240.0,
            "as the authors of NfS (Galoogahi 2017) say",
        )
        for path, share in zip(found, shares, strict=True)
    ]


@register_layout("aist", schemes=("pose", "crossmodal"))
def _aist(folder: Path, scheme: str) -> list[Source]:
    """*.mp4 at 60 fps with splits/pose_train.txt …, in which all cameras are called cAll."""
    videos = _videos(folder / "videos") if (folder / "videos").is_dir() else _videos(folder)
    lists = {split: folder / "splits" / f"{scheme}_{split}.txt" for split in SPLITS}
    split_of = {
        name: split
        for split, path in lists.items()
        if path.is_file()
        for name in path.read_text("utf-8").split()
    }
    licence = "as the authors of AIST++ (Li 2021) say"
    sources = []
    for path in videos:
        # One performance, seen by nine cameras.
        split = split_of.get(re.sub(r"_c\d\d_", "_cAll_", path.stem)) or split_of.get(path.stem)
        if split:
            sources.append(Source(path.stem, split, path, licence=licence))
    return sources


@register_layout("monkaa")
def _monkaa(folder: Path, _: str) -> list[Source]:
    """frames_cleanpass/SCENE/left/0000.png and optical_flow/SCENE/into_future/left/*.pfm."""
    scenes = folder / "frames_cleanpass"
    whole = scenes.is_dir() and (folder / "optical_flow").is_dir()
    sources = []
    for scene in _folders(scenes) if whole else ():
        for side in ("left", "right"):
            if (scene / side).is_dir() and (files := frame_files(scene / side)):
                # Both eyes of a scene are one source of the split.
                name, licence = f"{scene.name}/{side}", "as the authors of Monkaa (Mayer 2016) say"
                split = split_by_hash(scene.name)
                sources.append(Source(name, split, scene / side, files, None, licence))
    return sources


@register_layout("images")
def _images(folder: Path, _: str) -> list[Source]:
    """JPEG or PNG, in train/, val/ and test/ or dealt out by their names; of a pack in photos/."""
    return [
        Source(path.stem, split or split_by_hash(path.name), path)
        for split, inside in _by_split(photos_in(folder))
        for path in visible(inside.iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]


@register_layout("video")
def _video(folder: Path, _: str) -> list[Source]:
    """Videos or folders of frames, in train/, val/ and test/ or dealt by names; or one video."""
    if folder.is_file():
        return [Source(folder.stem, "train", folder)]
    sources = []
    for split, inside in _by_split(folder):
        for path in _videos(inside):
            sources.append(Source(path.stem, split or split_by_hash(path.stem), path))
        for path in _folders(inside):
            if files := frame_files(path):
                sources.append(Source(path.name, split or split_by_hash(path.name), path, files))
    return sources


@register_layout("genblur", schemes=("2021a", "2021b"))
def _genblur(folder: Path, scheme: str) -> list[Source]:
    """What GenBlur is made of: GoPro, DVD's original videos and one's own, in any folder of it."""
    sources: list[Source] = []
    for part in (folder, *_folders(folder)):
        for read in (_gopro, _dvd, _video):
            if read is _dvd and not (part / _DVD_VIDEOS).is_dir():
                continue  # one's own videos are no part of DVD, with its split and licence
            try:
                known = {source.path for source in sources}
                sources += [source for source in read(part, scheme) if source.path not in known]
            except InputError:
                continue
    return [source for source in sources if not source.pairs] or _video(folder, scheme)
