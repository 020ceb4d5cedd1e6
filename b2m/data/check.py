"""Does a data set hold what its index says, and do its photos, frames, flow and guidance agree?"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from b2m.data.averaging import decode, encode
from b2m.data.samples import FOLDERS, Record, Sample, guidance_of, read_index, read_sample
from b2m.errors import InputError

_CLIPPED = 250
"""Codes from here on may stand for more light than a frame can tell."""

_CLOSE = 30.0
"""Decibels, between the photo and the mean of frames that lie farther apart than its instants."""


def check(folder: str | Path) -> Iterator[str]:
    """Read a whole data set, and say what is wrong with it, a sentence each.

    - Files: each is there, can be read and has the size that the index says; there are no others.
    - Splits: no source is in two, and no photo or cut-out of a scene.
    - Physics: the mean of the frames in linear light is the photo, to a code where all averaged
      frames were kept. Where the photo is of more instants, both are first smoothed over the way
      from frame to frame, and agree to 30 dB where nothing is burnt out.
    - Guidance is that of the flow.

    Raises:
        InputError: there is no index, or it is damaged.
    """
    folder = Path(folder)
    records = read_index(folder)
    yield from _splits(records)
    expected = {path for record in records for path in record.files}
    for name in FOLDERS:
        for entry in os.scandir(folder / name) if (folder / name).is_dir() else ():
            path = f"{name}/{entry.name}"
            if path not in expected:
                yield f"{path} belongs to no sample: remove it, or build the data set anew"
    for record in tqdm(records, unit=" samples", dynamic_ncols=True):
        try:
            sample, guidance = read_sample(folder, record)
        except InputError as error:
            yield f"sample {record.number}: {error}"
            continue
        yield from (f"sample {record.number}: {text}" for text in _physics(record, sample))
        if sample.flow is not None and guidance is not None:
            wrong = (guidance_of(sample.flow, record.flow_grid) != guidance).any(-1)
            if wrong.any():
                y, x = np.unravel_index(int(wrong.argmax()), wrong.shape)
                yield (
                    f"sample {record.number}: guidance is not that of the flow at {wrong.sum()} "
                    f"pixels, the first at x={x}, y={y}"
                )


def _splits(records: list[Record]) -> Iterator[str]:
    splits = defaultdict(set)
    names = defaultdict(set)
    for record in records:
        splits[record.source].add(record.split)
        names[record.source].add(record.source)
        for texture in record.made_from:
            # What a picture is called may differ; what is in it may not.
            name, _, digest = texture.rpartition("#")
            splits[digest].add(record.split)
            names[digest].add(name or digest)
    for source, found in splits.items():
        if len(found) > 1:
            called = " or ".join(sorted(names[source]))
            yield f"the source {called} is in the splits {' and '.join(sorted(found))}"


def _physics(record: Record, sample: Sample) -> Iterator[str]:
    if sample.flow is not None and not np.isfinite(sample.flow).all():
        yield "its flow is not known everywhere"
    if record.frames < 2:
        return
    gamma = 0.0 if record.curve == "srgb" else float(record.curve)
    light = np.zeros(sample.blur.shape, np.float32)
    for frame in sample.frames:
        light += decode(frame, gamma)
    light /= len(sample.frames)
    mean = encode(light, gamma)
    if record.averaged == record.frames:
        off = np.abs(mean.astype(np.int16) - sample.blur).max()
        if off > 1:
            yield f"the mean of its frames is not its photo: they differ by up to {off} of 255"
        return
    way = 0.0 if sample.flow is None else float(np.linalg.norm(sample.flow, axis=-1).max())
    side = 2 * math.ceil(way / (len(sample.frames) - 1)) + 1
    told = cv2.erode(
        (sample.frames.max((0, -1)) < _CLIPPED).astype(np.uint8), np.ones((side, side))
    )
    smooth = [
        encode(np.asarray(cv2.blur(one, (side, side)), np.float32), gamma).astype(np.float32)
        for one in (light, decode(sample.blur, gamma))
    ]
    error = ((smooth[0] - smooth[1]) ** 2)[told > 0]
    if error.size and error.mean() > 255**2 / 10 ** (_CLOSE / 10):
        reached = 10 * math.log10(255**2 / error.mean())
        yield f"the mean of its frames does not explain its photo: {reached:.1f} dB, smoothed"
