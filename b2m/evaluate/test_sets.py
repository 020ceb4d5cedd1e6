"""Blurred photos of which the truth is known: what the tables are measured on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from b2m.blur import average_bytes, encode_bytes
from b2m.data.clips import crossed, flow_over, read_windows
from b2m.data.rotation import RotationConfig, render_rotation
from b2m.data.scenes import SceneConfig, Scenes, render
from b2m.data.sensor import develop
from b2m.data.textures import load_textures
from b2m.evaluate.answers import to_pixels
from b2m.guidance.quantize import Guidance, from_flow
from b2m.media.image import Pixels
from b2m.media.video import read_video
from b2m.motion.fields import STILL_THRESHOLD, Flow, estimate_flow

INSTANTS = 7
"""Frames of the papers' models, and sharp frames to a blurred one of a video."""

_BATCH = 8


class Case(NamedTuple):
    """A blurred photo with its true motion.

    Attributes:
        photo: (H, W, 3) uint8.
        frames: (T, H, W, 3) uint8.
        flow: (H, W, 2) pixels over the exposure, on the middle frame's grid.
        judged: (H, W) bool, the pixels whose PSNR is taken; None for all.
        told: (H, W, 2) guidance that a neighbouring frame of the video gives; None without one.
        moving: (H, W) bool, what moves against the background; None where that is not known.
    """

    photo: Pixels
    frames: NDArray[np.uint8]
    flow: Flow
    judged: NDArray[np.bool_] | None = None
    told: Guidance | None = None
    moving: NDArray[np.bool_] | None = None


def scene_cases(
    photos: str | os.PathLike[str] | None,
    cutouts: str | os.PathLike[str] | None,
    config: SceneConfig,
    count: int,
    *,
    split: str,
    number: int,
) -> Iterator[Case]:
    """Rendered scenes: those of the table "scenes", given the same configuration and number."""
    textures = (
        load_textures(None if photos is None else Path(photos), split),
        load_textures(None if cutouts is None else Path(cutouts), split, cutouts=True),
    )
    return _rendered(lambda seed: render(*textures, config, _BATCH, seed), count, number)


def rotation_cases(
    photos: str | os.PathLike[str] | None,
    config: RotationConfig,
    count: int,
    *,
    split: str,
    number: int,
) -> Iterator[Case]:
    """Ordinary photos before which the camera turns (Argaw 2021a, section 3)."""
    textures = load_textures(None if photos is None else Path(photos), split)
    return _rendered(lambda seed: render_rotation(textures, config, _BATCH, seed), count, number)


def _rendered(draw: Callable[[int], Scenes], count: int, number: int) -> Iterator[Case]:
    for start in range(0, count, _BATCH):
        # Always whole batches, so that the first scenes of a longer run are the same.
        scenes = draw(number + start)
        blurred = to_pixels(develop(scenes.blur, number + start))
        for index in range(min(_BATCH, count - start)):
            flow = scenes.flow[index].permute(1, 2, 0).contiguous().cpu().numpy()
            moving = scenes.moving[index, 0].cpu().numpy()
            yield Case(blurred[index], to_pixels(scenes.frames[index]), flow, moving=moving)


def clip_cases(path: Path, count: int) -> Iterator[Case]:
    """Windows of a real clip, those of the table "clips"."""
    for window in read_windows(path, count):
        flow = flow_over(window.frames)
        yield Case(window.photo, window.frames, flow, crossed(flow))


def video_cases(path: Path, count: int | None = None) -> Iterator[Case]:
    """Every seven frames of a real clip averaged, one photo after the other, from the beginning.

    What a photo is told is minus the optical flow (DIS) from it to the one before, as in Zhong
    2022, section 3.3; the first is told by the one after it.

    Args:
        path: of the video.
        count: photos at the most.
    """
    groups = _groups(path, count)
    photo, frames = next(groups, (None, None))
    if photo is None or frames is None:
        return
    # Exposed for six of the seven steps from one photo to the next.
    exposed = np.float32((INSTANTS - 1) / INSTANTS)
    first = True
    for later, following in groups:
        if first:
            ahead = exposed * estimate_flow(photo, later)
            yield _of_video(photo, frames, ahead)
            first = False
        back = exposed * estimate_flow(later, photo)
        yield _of_video(later, following, -back)
        photo = later


def _of_video(photo: Pixels, frames: NDArray[np.uint8], told: Flow) -> Case:
    flow = flow_over(frames)
    return Case(photo, frames, flow, crossed(flow), from_flow(told, STILL_THRESHOLD))


def _groups(path: Path, count: int | None) -> Iterator[tuple[Pixels, NDArray[np.uint8]]]:
    held: list[Pixels] = []
    given = 0
    for frame in read_video(path):
        held.append(frame)
        if len(held) == INSTANTS:
            frames = np.stack(held)
            yield encode_bytes(average_bytes(frames)), frames
            held, given = [], given + 1
        if given == count:
            return
