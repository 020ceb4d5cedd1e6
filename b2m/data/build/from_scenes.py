"""Rendered samples: rotating cameras in panoramas and before photos, and scenes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from b2m.data.build.task import PROCEDURAL, Outcome, SourcePlan, Task, record_of
from b2m.data.footage import Source
from b2m.data.layouts import known_licences
from b2m.data.recipes import DatasetRecipe
from b2m.data.rotation import render_panorama, render_rotation, shrink_panorama
from b2m.data.sample import Sample, SampleBatch
from b2m.data.scenes import render_named
from b2m.data.splits import SPLITS, photos_in
from b2m.data.storage import Skip
from b2m.data.textures import Textures, load_textures, pack_textures, split_files
from b2m.errors import InputError
from b2m.media.image import read_image
from b2m.tensors import to_float_array, to_pixels

_OURS = "drawn by b2m"


class Origin(NamedTuple):
    """Sources of a scene: see `b2m.data.storage.Record`."""

    names: tuple[str, ...]
    licence: str


Rendered = tuple[SampleBatch, list[Origin | None]]
"""Samples, and what each is made from where that is not its source."""


def plan_photos(recipe: DatasetRecipe, source: Source, index: int, sources: int) -> SourcePlan:
    """An equal share of all samples; see `Generator`."""
    share = recipe.count * index // sources, recipe.count * (index + 1) // sources
    return SourcePlan(source, range(share[1] - share[0]))


def rendering_generator(
    draw: Callable[[DatasetRecipe, Source, int, int], Rendered],
) -> Callable[[DatasetRecipe, Task], Iterator[Outcome]]:
    """A generator's `make`, from a function that renders a number of samples by a seed."""

    def generate(recipe: DatasetRecipe, task: Task) -> Iterator[Outcome]:
        seed = recipe.seed * 1_000_003 + task.numbers[0]
        try:
            scenes, origins = draw(recipe, task.source, len(task.numbers), seed)
        except InputError as error:
            for number in task.numbers:
                yield Skip(number, task.source.name, str(error))
            return
        for index, origin in enumerate(origins):
            sample = Sample(
                to_pixels(scenes.photo[index]),
                to_pixels(scenes.frames[index]),
                to_float_array(scenes.flow[index]),
            )
            known = {"made_from": origin.names, "licence": origin.licence} if origin else {}
            yield record_of(recipe, task, index, sample, 0, flow_from="exact", **known), sample

    return generate


def draw_rotation(recipe: DatasetRecipe, source: Source, count: int, seed: int) -> Rendered:
    """A camera that turns before a photo.

    Raises:
        InputError: it cannot be read, or is smaller than the samples.
    """
    photo = read_image(source.path).pixels
    height, width = photo.shape[:2]
    size = recipe.rotation.size
    if min(height, width) < size:
        raise InputError(
            f"{source.path} is {width}x{height}: photos are not enlarged to {size}x{size}; give a "
            "smaller --size"
        )
    opaque = np.full((*photo.shape[:2], 1), 255, np.uint8)
    textures = pack_textures([np.concatenate([photo, opaque], 2)])
    return render_rotation(textures, recipe.rotation, count, seed), [None] * count


def draw_panorama(recipe: DatasetRecipe, source: Source, count: int, seed: int) -> Rendered:
    """A camera that turns in a panorama."""
    panorama = read_image(source.path).pixels
    try:
        panorama = shrink_panorama(panorama, recipe.rotation)
    except InputError as error:
        raise InputError(f"{source.path}: {error}") from None
    each = [render_panorama(panorama, recipe.rotation, seed + index) for index in range(count)]
    return SampleBatch(*(torch.cat(parts) for parts in zip(*each, strict=True))), [None] * count


# --- scenes ---------------------------------------------------------------------------------------


def scene_sources(recipe: DatasetRecipe, folder: Path | None, _: str | None) -> list[Source]:
    """One for each split that gets any scenes.

    Raises:
        InputError: no photos in a split, or one picture in two.
    """
    sources = [
        Source(f"scenes-{split}", split, folder.absolute() if folder else PROCEDURAL)
        for split in SPLITS
        if _scene_counts(recipe)[split]
    ]
    if folder is None:
        return sources
    seen: dict[str, tuple[str, Path]] = {}
    for source in sources:
        split_files(photos_in(folder), source.split)  # sees that there are any
        for path in _texture_files(folder, source.split):
            split, other = seen.setdefault(_digest(path), (source.split, path))
            if split != source.split:
                raise InputError(
                    f"{other} and {path} are one picture: remove one, as nothing may be in two "
                    "splits"
                )
    return sources


def _scene_counts(recipe: DatasetRecipe) -> dict[str, int]:
    """Eight tenths to train on."""
    tenth = recipe.count // 10
    return {"train": recipe.count - 2 * tenth, "val": tenth, "test": tenth}


def plan_scenes(recipe: DatasetRecipe, source: Source, *_: int) -> SourcePlan:
    """The scenes of a split; see `Generator`."""
    return SourcePlan(source, range(_scene_counts(recipe)[source.split]))


def _cutouts_in(folder: Path) -> Path | None:
    return folder / "cutouts" if (folder / "cutouts").is_dir() else None


def _texture_files(folder: Path, split: str) -> list[Path]:
    cutouts = _cutouts_in(folder)
    found = split_files(photos_in(folder), split)
    return found + (split_files(cutouts, split) if cutouts else [])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@lru_cache(maxsize=1)
def _scene_textures(folder: Path, split: str) -> tuple[Textures, Textures, dict[str, str]]:
    """Photos and cut-outs: folders of these names, or photos alone, or procedural; and licences."""
    parts: list[Textures] = []
    licences: dict[str, str] = {}
    known = {} if folder == PROCEDURAL else known_licences(folder)
    for kind in ("photos", "cutouts"):
        where = None
        if folder != PROCEDURAL:
            where = photos_in(folder) if kind == "photos" else _cutouts_in(folder)
        textures = load_textures(where, split, cutouts=kind == "cutouts")
        if where is None:
            names = {f"procedural/{split}/{kind}-{n}": _OURS for n in range(len(textures))}
        else:
            names = {
                f"{path.relative_to(folder).as_posix()}#{_digest(path)}": known.get(
                    path.absolute(), "unknown"
                )
                for path in split_files(where, split)
            }
        licences |= names
        parts.append(replace(textures, names=tuple(names)))
    return parts[0], parts[1], licences


def draw_scenes(recipe: DatasetRecipe, source: Source, count: int, seed: int) -> Rendered:
    """Layered scenes, and the photos and cut-outs in them."""
    photos, cutouts, licences = _scene_textures(source.path, source.split)
    scenes, names = render_named(photos, cutouts, recipe.scenes, count, seed)
    return scenes, [
        Origin(tuple(dict.fromkeys(used)), "; ".join(sorted({licences[name] for name in used})))
        for used in names
    ]
