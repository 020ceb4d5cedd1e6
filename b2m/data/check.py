"""Check that a data set holds what its index says, and that its parts are consistent."""

from __future__ import annotations

import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from tqdm.auto import tqdm

from b2m.blur import average_frames, linear_to_srgb8, srgb8_to_linear
from b2m.data.build.progress import is_unfinished
from b2m.data.sample import Sample
from b2m.data.storage import (
    FOLDERS,
    Record,
    guidance_of,
    iter_index,
    parse_sample_path,
    read_sample,
)
from b2m.errors import InputError

_CLIPPED = 250
"""Codes from here on may stand for more light than a frame can tell."""

_BLANK = 8
"""Codes between the darkest and the brightest pixel of frames in which nothing is to be seen."""

_CLOSE = 30.0
"""Decibels, between the photo and the mean of frames that lie farther apart than its instants."""


def check(folder: str | Path) -> Iterator[str]:
    """Read a whole data set, and report each error in a sentence.

    - Files: each is there, can be read and has the size that the index says; there are no others,
      but of a build that was not finished.
    - Splits: no source is in two, no photo or cut-out of a scene, and no clip under two names: none
      whose first samples have the same frames.
    - Physics: the mean of the frames in linear light is the photo, to a code where all averaged
      frames were kept. Where the photo is of more instants, both are first smoothed over the way
      from frame to frame, and agree to 30 dB where nothing is burnt out.
    - Guidance is that of the flow.

    In memory there are a hundred bytes for each sample, and a few names for each source.

    Raises:
        InputError: there is no index, or it is damaged.
    """
    folder = Path(folder)
    expected: dict[int, tuple[int, bool]] = {}  # by number: frames, and whether there is motion

    def note(record: Record) -> Record:
        expected[record.number] = record.frames, record.flow_grid is not None
        return record

    yield from _splits(map(note, iter_index(folder)))
    if is_unfinished(folder):
        yield "its build was begun and not finished: run the same build again, then check again"
    else:
        yield from _unexpected_files(folder, expected)
    first: dict[str, Record] = {}
    for record in tqdm(
        iter_index(folder), total=len(expected), unit=" samples", dynamic_ncols=True
    ):
        try:
            sample, guidance = read_sample(folder, record)
        except InputError as error:
            yield f"sample {record.number}: {error}"
            continue
        yield from _duplicates(first, record, sample)
        yield from (f"sample {record.number}: {text}" for text in _physics(record, sample))
        if sample.flow is not None and guidance is not None:
            wrong = (guidance_of(sample.flow, record.flow_grid) != guidance).any(-1)
            if wrong.any():
                y, x = np.unravel_index(int(wrong.argmax()), wrong.shape)
                yield (
                    f"sample {record.number}: guidance is not that of the flow at {wrong.sum()} "
                    f"pixels, the first at x={x}, y={y}"
                )


def _unexpected_files(folder: Path, expected: dict[int, tuple[int, bool]]) -> Iterator[str]:
    for name in FOLDERS:
        for entry in os.scandir(folder / name) if (folder / name).is_dir() else ():
            file = parse_sample_path(name, entry.name)
            frames, moves = expected.get(file.number, (0, False)) if file else (0, False)
            if not file or file.frame >= frames or not (moves or name in ("blur", "sharp")):
                yield (
                    f"{name}/{entry.name} belongs to no sample: remove it, or build the data set "
                    "anew"
                )


def _duplicates(first: dict[str, Record], record: Record, sample: Sample) -> Iterator[str]:
    """Whether a source that is seen for the first time begins as another; by their digests."""
    if record.source in first:
        return
    first[record.source] = record
    if np.ptp(sample.frames) <= _BLANK:
        return  # many clips begin in black
    digest = hashlib.blake2b(sample.frames.tobytes(), digest_size=16).hexdigest()
    other = first.setdefault(f"#{digest}", record)
    if other.split != record.split:
        yield (
            f"the sources {other.source} and {record.source} begin with the same frames, and are "
            f"in the splits {other.split} and {record.split}: if they are one clip under two "
            "names, remove one and build anew"
        )


def _splits(records: Iterable[Record]) -> Iterator[str]:
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
            alias = " or ".join(sorted(names[source]))
            yield f"the source {alias} is in the splits {' and '.join(sorted(found))}"


def _physics(record: Record, sample: Sample) -> Iterator[str]:
    if sample.flow is not None and not np.isfinite(sample.flow).all():
        yield "its flow is not known everywhere"
    if record.frames < 2:
        return
    gamma = 0.0 if record.curve == "srgb" else float(record.curve)
    light = average_frames(sample.frames, gamma)
    mean = linear_to_srgb8(light, gamma)
    if record.averaged == record.frames:
        off = np.abs(mean.astype(np.int16) - sample.photo).max()
        if off > 1:
            yield f"the mean of its frames is not its photo: they differ by up to {off} of 255"
        return
    flow = np.zeros(1) if sample.flow is None else np.nan_to_num(sample.flow)
    # Farther than across the photo nothing is seen to go.
    longest = min(float(np.linalg.norm(flow, axis=-1).max()), math.hypot(*sample.photo.shape[:2]))
    side = 2 * math.ceil(longest / (len(sample.frames) - 1)) + 1
    reliable = cv2.erode(
        (sample.frames.max((0, -1)) < _CLIPPED).astype(np.uint8), np.ones((side, side))
    )
    box = side, side
    smooth = [
        linear_to_srgb8(np.asarray(cv2.blur(one, box), np.float32), gamma).astype(np.float32)
        for one in (light, srgb8_to_linear(sample.photo, gamma))
    ]
    error = ((smooth[0] - smooth[1]) ** 2)[reliable > 0]
    if error.size and error.mean() > 255**2 / 10 ** (_CLOSE / 10):
        reached = 10 * math.log10(255**2 / error.mean())
        yield f"the mean of its frames does not explain its photo: {reached:.1f} dB, smoothed"
