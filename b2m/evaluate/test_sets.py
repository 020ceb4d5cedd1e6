"""Samples of which the truth is known: what the tables are measured on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from b2m.blur import average_frames, linear_to_srgb8
from b2m.data.clips import flow_over, read_windows
from b2m.data.rotation import RotationConfig, render_rotation
from b2m.data.sample import Sample, SampleBatch
from b2m.data.scenes import SceneConfig, render
from b2m.data.sensor import simulate_sensor
from b2m.data.storage import Record, on_middle_grid, read_index, read_sample
from b2m.data.swept import swept_mask
from b2m.data.textures import load_textures
from b2m.guidance.quantize import from_flow
from b2m.media.image import Pixels, read_image
from b2m.media.video import read_video
from b2m.motion.fields import STILL_THRESHOLD, Flow, estimate_flow
from b2m.tensors import to_float_array, to_pixels

INSTANTS = 7
"""Frames of the papers' models, and sharp frames to a blurred one of a video."""

_BATCH = 8


def scene_samples(
    photos: str | os.PathLike[str] | None,
    cutouts: str | os.PathLike[str] | None,
    config: SceneConfig,
    count: int,
    *,
    split: str,
    number: int,
) -> Iterator[Sample]:
    """Rendered scenes: those of the table "scenes", given the same configuration and number."""
    textures = load_textures(photos, split), load_textures(cutouts, split, cutouts=True)
    return _rendered(lambda seed: render(*textures, config, _BATCH, seed), count, number)


def rotation_samples(
    photos: str | os.PathLike[str] | None,
    config: RotationConfig,
    count: int,
    *,
    split: str,
    number: int,
) -> Iterator[Sample]:
    """Ordinary photos before which the camera turns (Argaw 2021a, section 3)."""
    textures = load_textures(photos, split)
    return _rendered(lambda seed: render_rotation(textures, config, _BATCH, seed), count, number)


def _rendered(draw: Callable[[int], SampleBatch], count: int, number: int) -> Iterator[Sample]:
    for start in range(0, count, _BATCH):
        # Always whole batches, so that the first scenes of a longer run are the same.
        scenes = draw(number + start)
        blurred = to_pixels(simulate_sensor(scenes.photo, number + start))
        for index in range(min(_BATCH, count - start)):
            flow = to_float_array(scenes.flow[index])
            moving = scenes.moving[index, 0].cpu().numpy()
            yield Sample(blurred[index], to_pixels(scenes.frames[index]), flow, moving=moving)


def built_samples(folder: str, records: Sequence[Record]) -> Iterator[Sample]:
    """Samples of a data set that was built, with the guidance that a neighbour of each gives."""
    index = {record.number: record for record in read_index(folder)}
    for record in records:
        sample = on_middle_grid(read_sample(folder, record)[0], record)
        hint = None
        for side in (-1, 1):  # the one before, or for the first the one after it
            other = index.get(record.number + side)
            if sample.flow is None or other is None or None in (record.start, other.start):
                continue
            if (other.source, other.frames) != (record.source, record.frames):
                continue
            apart = (other.start - record.start) / (record.fps or 1)  # type: ignore[operator]
            neighbour = read_image(Path(folder) / other.blur).pixels
            between = estimate_flow(sample.photo, neighbour)
            exposure = record.exposure if record.exposure and record.fps else abs(apart)
            hint = from_flow(between * np.float32(exposure / apart), STILL_THRESHOLD)
            break
        yield sample._replace(hint=hint)


def clip_samples(path: Path, count: int) -> Iterator[Sample]:
    """Windows of a real clip, those of the table "clips"."""
    for window in read_windows(path, count):
        flow = flow_over(window.frames)
        yield Sample(window.photo, window.frames, flow, swept_mask(flow), meta=window.meta)


def video_samples(path: Path, count: int | None = None) -> Iterator[Sample]:
    """Every seven frames of a real clip averaged, one photo after the other, from the beginning.

    The hint is minus the optical flow (DIS) from it to the one before, as in Zhong
    2022, section 3.3; the first takes it from the one after it.

    Args:
        path: of the video.
        count: photos at the most.
    """
    # Exposed for six of the seven steps from one photo to the next.
    exposed = np.float32((INSTANTS - 1) / INSTANTS)
    pairs = pairwise(averaged_frames(path, count))
    for number, ((photo, frames), (later, following)) in enumerate(pairs):
        if number == 0:
            yield _of_video(photo, frames, exposed * estimate_flow(photo, later))
        yield _of_video(later, following, -exposed * estimate_flow(later, photo))


def _of_video(photo: Pixels, frames: NDArray[np.uint8], hint: Flow) -> Sample:
    flow = flow_over(frames)
    return Sample(photo, frames, flow, swept_mask(flow), from_flow(hint, STILL_THRESHOLD))


def averaged_frames(
    path: Path, count: int | None = None
) -> Iterator[tuple[Pixels, NDArray[np.uint8]]]:
    """Every seven frames of a real clip averaged, one photo after the other, from the beginning.

    Args:
        path: of the video.
        count: photos at the most.

    Yields:
        The photo (H, W, 3) uint8, and the frames (7, H, W, 3) uint8.
    """
    held: list[Pixels] = []
    given = 0
    for frame in read_video(path):
        held.append(frame)
        if len(held) == INSTANTS:
            frames = np.stack(held)
            yield linear_to_srgb8(average_frames(frames)), frames
            held, given = [], given + 1
        if given == count:
            return
