"""Contact sheets of scenes and data sets, to inspect before training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from b2m.data.scenes import SceneConfig, render
from b2m.data.sensor import simulate_sensor
from b2m.data.storage import read_index, read_sample
from b2m.data.textures import load_textures
from b2m.errors import InputError
from b2m.guidance.palette import to_color
from b2m.media.image import Pixels, limit_side
from b2m.motion.color import flow_to_color
from b2m.tensors import to_channels_last, to_pixels
from b2m.visualize.contact_sheet import grid, legend

_MAX_BLUR = 32.0  # pixels; on small pictures a sixth of the side
_SCENES_AT_ONCE = 8


def preview_sheet(
    photos: str | Path | None,
    cutouts: str | Path | None,
    *,
    seed: int,
    count: int,
    size: int,
) -> Pixels:
    """Draw scenes of default settings: photo, frames, motion, its legend, guidance, what moves.

    Args:
        photos: folder of sharp photos; None for procedural textures.
        cutouts: folder of cut-outs with alpha; None for procedural shapes.
        seed: the same seed gives the same scenes.
        count: scenes, a row each.
        size: side of each picture, pixels.

    Returns:
        (H, W, 3) uint8 sRGB.

    Raises:
        InputError: a folder is missing, has no images in that split, or one is unreadable.
    """
    config = SceneConfig(size=size, blur=(2.0, max(2.0, min(_MAX_BLUR, size / 6))))
    textures = load_textures(photos, "train"), load_textures(cutouts, "train", cutouts=True)
    tiles: list[Pixels] = []
    labels: list[str] = []
    for first in range(0, count, _SCENES_AT_ONCE):
        batch = min(_SCENES_AT_ONCE, count - first)
        scenes = render(*textures, config, batch, seed + first)
        blur = simulate_sensor(scenes.photo, seed + first)
        flows, moving = to_channels_last(scenes.flow), to_channels_last(scenes.moving)
        guidance = to_channels_last(scenes.guidance.to(torch.int8))
        last = scenes.frames.shape[1] - 1
        for row in range(batch):
            longest = float(np.linalg.norm(flows[row], axis=-1).max())
            pictures = {
                f"photo {first + row + 1}": to_pixels(blur[row]),
                "first frame": to_pixels(scenes.frames[row, 0]),
                "middle frame": to_pixels(scenes.frames[row, last // 2]),
                "last frame": to_pixels(scenes.frames[row, last]),
                _motion(longest): flow_to_color(flows[row]),
                f"rim: {longest:.0f} px": legend(size),
                "guidance": to_color(guidance[row]),
                "moves by itself": np.repeat(moving[row].astype(np.uint8) * 255, 3, -1),
            }
            tiles += pictures.values()
            labels += pictures
    return grid(tiles, labels, columns=len(pictures), font_size=max(10, min(15, size // 11)))


def dataset_sheet(folder: str | Path, *, count: int, size: int) -> Pixels:
    """Draw samples of a data set, evenly spread: photo, frames, motion, its legend and guidance.

    Each sample is a row.

    Args:
        folder: of the data set.
        count: rows.
        size: longest side of each picture, pixels.

    Returns:
        (H, W, 3) uint8 sRGB.

    Raises:
        InputError: there is no data set, it is empty, or a file is missing or damaged.
    """
    records = read_index(folder)
    if not records:
        raise InputError(f"{folder} holds no samples: there is nothing to draw")
    chosen = sorted({round(row) for row in np.linspace(0, len(records) - 1, count).tolist()})
    tiles: list[Pixels] = []
    labels: list[str] = []
    for record in (records[row] for row in chosen):
        sample, guidance = read_sample(folder, record)
        last = len(sample.frames) - 1
        tiles += [sample.photo, *(sample.frames[place] for place in (0, last // 2, last))]
        labels += [f"{record.number}, {record.split}", "first frame", "middle frame", "last frame"]
        if sample.flow is None or guidance is None:
            tiles += [np.zeros_like(sample.photo)] * 3
            labels += ["motion unknown", "", ""]
            continue
        longest = float(np.linalg.norm(np.nan_to_num(sample.flow), axis=-1).max())
        wheel = legend(min(limit_side(sample.photo, size).shape[:2]))
        tiles += [flow_to_color(sample.flow), wheel, to_color(guidance)]
        labels += [_motion(longest), f"rim: {longest:.0f} px", "guidance"]
    small = [limit_side(tile, size) for tile in tiles]
    return grid(small, labels, columns=7, font_size=max(10, min(15, size // 11)))


def _motion(longest: float) -> str:
    """What is written below the flow."""
    return f"up to {longest:.0f} px" if longest >= 1 else "still"
