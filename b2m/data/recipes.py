"""From sources to samples: the recipes of the papers and of b2m itself.

A recipe plans tasks, each a few samples of one source, and makes them. Making is a function of the
recipe and the task alone, so that tasks may run anywhere, in any order, and again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from b2m.data.averaging import Averaging, average_instants, expose
from b2m.data.clips import flow_over
from b2m.data.folders import SPLITS
from b2m.data.footage import Reader, Source, examine
from b2m.data.interpolate import Between, interpolator
from b2m.data.layouts import gopro_window, read_layout
from b2m.data.rotation import (
    RotationConfig,
    render_panorama,
    render_rotation,
    shrink_panorama,
)
from b2m.data.samples import Record, Sample, Skip
from b2m.data.scenes import SceneConfig, Scenes, render
from b2m.data.textures import Textures, load_textures, pack_textures, split_files
from b2m.errors import InputError
from b2m.media import Pixels, read_image
from b2m.motion import read_flow

MADE_UP = Path()
"""Stands for the folder of textures that are made up."""

_WINDOWS_AT_ONCE = 4
_MONKAA_LEAST, _MONKAA_LONGEST = 5, 100


@dataclass(frozen=True)
class Recipe:
    """How samples are made.

    Attributes:
        name: what the index says.
        layout: of the sources, one of `b2m.data.layouts.LAYOUTS`.
        averaging: of frames.
        fps: frames per second that sources must have, or None for any.
        rotation: camera turns, for "panorama" and "rotation".
        scenes: what is drawn, for "scenes".
        count: samples in all, where they are rendered.
        seed: of what is rendered.
    """

    name: str
    layout: str
    averaging: Averaging = field(default_factory=Averaging)
    fps: float | None = None
    rotation: RotationConfig = field(default_factory=RotationConfig)
    scenes: SceneConfig = field(default_factory=SceneConfig)
    count: int = 1000
    seed: int = 0


_DENSE = Averaging(average=128, factor=32, interpolate="flow")  # 240 to 7680 fps

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("gopro", "gopro", fps=240),
        Recipe("dvd", "dvd", fps=240),
        Recipe("nfs", "nfs", fps=240),
        # 120 to 1920 fps, of which 80 make one of 24 blurred frames a second.
        Recipe("reds", "reds", Averaging(80, factor=16, interpolate="flow"), fps=120),
        Recipe("genblur", "genblur", replace(_DENSE, size=(540, 960)), fps=240),
        Recipe("aist", "aist", replace(_DENSE, size=(720, 960)), fps=60),
        Recipe("video", "video"),
        Recipe("monkaa", "monkaa", Averaging(interpolate="flow")),
        Recipe("panorama", "images"),
        Recipe("rotation", "images"),
        Recipe("scenes", "images"),
    )
}
"""By name. 2021a and 2021b average 7 frames of GoPro and NfS; Zhong et al. 2022 make GenBlur and
B-AIST++; REDS is as Nah et al. 2019 have it, at the full length of a blurred frame."""


class Task(NamedTuple):
    """A few samples of one source.

    Attributes:
        number: of the first.
        source: of all.
        starts: where each begins: a window in frames, a pair by its first frame, or a count.
    """

    number: int
    source: Source
    starts: tuple[float, ...]


Made = tuple[Record, Sample] | Skip


def plan(
    recipe: Recipe, folder: Path | None, split: str | None = None
) -> tuple[list[Task], list[Skip]]:
    """What there is to make, numbered in the order of sources.

    Args:
        recipe: how.
        folder: the sources; None for made-up textures, where they are rendered.
        split: see `read_layout`.

    Returns:
        The tasks, and the sources of which nothing can be made.

    Raises:
        InputError: no such folder, or another layout.
    """
    tasks: list[Task] = []
    skips: list[Skip] = []
    number = 0
    for source, starts in _places(recipe, folder, split, skips):
        for first in range(0, len(starts), _WINDOWS_AT_ONCE):
            some = tuple(starts[first : first + _WINDOWS_AT_ONCE])
            tasks.append(Task(number, source, some))
            number += len(some)
    return tasks, skips


def _places(
    recipe: Recipe, folder: Path | None, split: str | None, skips: list[Skip]
) -> Iterator[tuple[Source, Sequence[float]]]:
    if recipe.name == "scenes":
        yield from _scene_places(recipe, folder)
        return
    if folder is None:
        raise InputError(f"the recipe {recipe.name} needs a source: give a folder")
    sources = read_layout(recipe.layout, folder, split)
    for place, source in enumerate(sources):
        if recipe.name in ("panorama", "rotation"):
            share = recipe.count * place // len(sources), recipe.count * (place + 1) // len(sources)
            yield source, range(share[1] - share[0])
        elif recipe.name == "monkaa":
            yield source, range(len(source.files) - 1)
        elif (source.path / "GT").is_dir():
            yield source, range(len(source.files))
        else:
            try:
                yield source, _window_places(recipe, source)
            except InputError as error:
                skips.append(Skip(-1, source.name, str(error)))


def _window_places(recipe: Recipe, source: Source) -> list[float]:
    footage = examine(source)
    if recipe.fps and footage.fps and abs(footage.fps / recipe.fps - 1) > 0.05:
        raise InputError(
            f"{source.path} has {footage.fps:g} frames per second, and the recipe {recipe.name} "
            f"is for {recipe.fps:g}: use the recipe video"
        )
    how = _averaging(recipe, source)
    starts = how.starts(footage.frames)
    if not starts:
        needed = how.needed(0)[1]
        raise InputError(f"{source.path} has {footage.frames} frames: {needed} are needed at least")
    return starts


def _averaging(recipe: Recipe, source: Source) -> Averaging:
    if recipe.averaging.average:
        return recipe.averaging
    return replace(recipe.averaging, average=gopro_window(source))


def make(recipe: Recipe, task: Task) -> Iterator[Made]:
    """Make the samples of a task, one after the other, each with its record; or say why not."""
    if recipe.name in ("panorama", "rotation", "scenes"):
        maker = _render
    elif recipe.name == "monkaa":
        maker = _interpolate_pairs
    elif (task.source.path / "GT").is_dir():
        maker = _read_pairs
    else:
        maker = _average_windows
    yield from maker(recipe, task)


def _record(recipe: Recipe, task: Task, place: int, sample: Sample, averaged: int) -> Record:
    return Record(
        number=task.number + place,
        source=task.source.name,
        split=task.source.split,
        recipe=recipe.name,
        width=sample.blur.shape[1],
        height=sample.blur.shape[0],
        frames=len(sample.frames),
        averaged=averaged,
        licence=task.source.licence,
    )


# --- frames averaged ------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _between(name: str) -> Between | None:
    return None if name == "none" else interpolator(name)


def _average_windows(recipe: Recipe, task: Task) -> Iterator[Made]:
    how = _averaging(recipe, task.source)
    fps = examine(task.source).fps or recipe.fps
    reader = Reader(task.source)
    for place, start in enumerate(task.starts):
        begin, end = how.needed(start)
        try:
            frames = reader.read(begin, end)
            blur, sharp, averaged = expose(frames, start, how, _between(how.interpolate))
            sample = Sample(blur, sharp, flow_over(sharp))
        except InputError as error:
            yield Skip(task.number + place, task.source.name, str(error))
            continue
        record = _record(recipe, task, place, sample, averaged)
        exposure = how.span / fps if fps else None
        yield (
            replace(record, start=begin, fps=fps, exposure=exposure, curve=how.curve),
            sample,
        )


def _read_pairs(recipe: Recipe, task: Task) -> Iterator[Made]:
    """Photos that are blurred already, each with one sharp frame and no known motion: DVD's."""
    folder, files = task.source.path, task.source.files
    blurred = {Path(name).stem: name for name in _names(folder / "input")}
    for place, start in enumerate(task.starts):
        name = files[int(start)]
        try:
            if Path(name).stem not in blurred:
                raise InputError(
                    f"{folder / 'input'} has no {Path(name).stem}: get a complete copy"
                )
            pair = [
                Reader(replace(task.source, path=folder / inner, files=(file,))).read(0, 1)[0]
                for inner, file in (("input", blurred[Path(name).stem]), ("GT", name))
            ]
            if pair[0].shape != pair[1].shape:
                raise InputError(f"{folder}: input and GT of {name} differ in size")
            sample = Sample(pair[0], pair[1][None], None)
        except InputError as error:
            yield Skip(task.number + place, task.source.name, str(error))
            continue
        record = _record(recipe, task, place, sample, 0)
        yield replace(record, start=int(start), flow_grid=None, flow_from=None), sample


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _interpolate_pairs(recipe: Recipe, task: Task) -> Iterator[Made]:
    """Monkaa (2021b): max(|s|, 5) frames between two, s the longest true displacement in pixels."""
    how = recipe.averaging
    between = _between(how.interpolate)
    reader = Reader(task.source)
    scene, side = task.source.name.split("/")
    flows = task.source.path.parents[2] / "optical_flow" / scene / "into_future" / side
    for place, start in enumerate(task.starts):
        number = task.number + place
        index = int(start)
        stem = Path(task.source.files[index]).stem
        try:
            flow = read_flow(flows / f"OpticalFlowIntoFuture_{stem}_{side[0].upper()}.pfm")
            longest = float(np.linalg.norm(flow, axis=-1).max(initial=0))
            if not longest <= _MONKAA_LONGEST:
                reason = f"moves by {longest:.0f} px: more than {_MONKAA_LONGEST} are left out"
                yield Skip(number, task.source.name, f"frame {stem} {reason}", meant=True)
                continue
            frames = reader.read(index, index + 2)
            if flow.shape[:2] != frames[0].shape[:2]:
                raise InputError(f"{flows}: the flow of frame {stem} has another size than it")
            count = max(math.ceil(longest), _MONKAA_LEAST) + 2
            blur, sharp, averaged = average_instants(
                _pair_instants(frames, count, between), count, how
            )
        except InputError as error:
            yield Skip(number, task.source.name, str(error))
            continue
        sample = Sample(blur, sharp, flow)
        record = _record(recipe, task, place, sample, averaged)
        yield (
            replace(record, start=index, curve=how.curve, flow_grid="first", flow_from="given"),
            sample,
        )


def _pair_instants(
    frames: Sequence[Pixels], count: int, between: Between | None
) -> Iterator[Pixels]:
    if between is None:
        raise InputError("frames between frames are wanted: choose an interpolator")
    yield frames[0]
    yield from between(frames[0], frames[1], [step / (count - 1) for step in range(1, count - 1)])
    yield frames[1]


# --- rendered -------------------------------------------------------------------------------------


def _scene_places(recipe: Recipe, folder: Path | None) -> Iterator[tuple[Source, Sequence[float]]]:
    """Eight tenths of the scenes to train on, where there are photos for all three splits."""
    tenth = recipe.count // 10
    counts = {"train": recipe.count - 2 * tenth, "val": tenth, "test": tenth}
    for split in SPLITS:
        if counts[split]:
            if folder is not None:
                split_files(_photos_in(folder), split)  # sees that there are any
            yield Source(f"scenes-{split}", split, folder or MADE_UP), range(counts[split])


def _photos_in(folder: Path) -> Path:
    return folder / "photos" if (folder / "photos").is_dir() else folder


@lru_cache(maxsize=1)
def _scene_textures(folder: Path, split: str) -> tuple[Textures, Textures]:
    """Photos and cut-outs: folders of these names, or photos alone, or made up."""
    if folder == MADE_UP:
        return load_textures(None, split), load_textures(None, split, cutouts=True)
    cutouts = folder / "cutouts" if (folder / "cutouts").is_dir() else None
    return load_textures(_photos_in(folder), split), load_textures(cutouts, split, cutouts=True)


def _render(recipe: Recipe, task: Task) -> Iterator[Made]:
    seed = recipe.seed * 1_000_003 + task.number
    count = len(task.starts)
    try:
        scenes = _drawn(recipe, task.source, count, seed)
    except InputError as error:
        for place in range(count):
            yield Skip(task.number + place, task.source.name, str(error))
        return
    for place in range(count):
        sample = Sample(
            _to_bytes(scenes.blur[place]),
            np.stack([_to_bytes(frame) for frame in scenes.frames[place]]),
            scenes.flow[place].permute(1, 2, 0).numpy(),
        )
        record = _record(recipe, task, place, sample, 0)
        yield replace(record, flow_from="exact"), sample


def _drawn(recipe: Recipe, source: Source, count: int, seed: int) -> Scenes:
    if recipe.name == "scenes":
        return render(*_scene_textures(source.path, source.split), recipe.scenes, count, seed)
    photo = read_image(source.path).pixels
    if recipe.name == "rotation":
        opaque = np.full((*photo.shape[:2], 1), 255, np.uint8)
        textures = pack_textures([np.concatenate([photo, opaque], 2)])
        return render_rotation(textures, recipe.rotation, count, seed)
    panorama = shrink_panorama(photo, recipe.rotation)
    each = [render_panorama(panorama, recipe.rotation, seed + place) for place in range(count)]
    return Scenes(*(torch.cat(parts) for parts in zip(*each, strict=True)))


def _to_bytes(picture: Tensor) -> Pixels:
    return (picture.permute(1, 2, 0) * 255).round().byte().numpy()
