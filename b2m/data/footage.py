"""Sources of high-speed frames: videos, and folders of numbered images, read window by window."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from b2m.data.folders import IMAGE_SUFFIXES
from b2m.errors import InputError
from b2m.files import check_file
from b2m.media import Pixels

_NUMBER = re.compile(r"(\d+)\D*$")


@dataclass(frozen=True)
class Source:
    """Something that samples are made from.

    Attributes:
        name: unique in a data set; the unit that must not be in two splits.
        split: "train", "val" or "test".
        path: a video, an image, or a folder of frames.
        files: names of the frames in that folder, in order; empty for a file.
        fps: frames per second, or None where only the file itself knows.
        licence: of the source.
    """

    name: str
    split: str
    path: Path
    files: tuple[str, ...] = ()
    fps: float | None = None
    licence: str = "unknown"


@dataclass(frozen=True)
class Footage:
    """What is known of a source before its frames are read.

    Attributes:
        frames: how many there are, or should be.
        fps: frames per second, or None.
    """

    frames: int
    fps: float | None


def frames_of(folder: Path) -> tuple[str, ...]:
    """Names of the images in a folder, by their numbers."""
    names = [path.name for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    return tuple(sorted(names, key=lambda name: (_number(name), name)))


def _number(name: str) -> int:
    found = _NUMBER.search(Path(name).stem)
    return int(found[1]) if found else -1


def examine(source: Source) -> Footage:
    """Count the frames of a source without decoding them.

    Raises:
        InputError: not a video, or one whose frames do not come at a constant rate.
    """
    if source.files:
        return Footage(len(source.files), source.fps)
    clock = _read_clock(source.path)
    if len(clock.times) > 2:
        steps = np.diff(clock.times)
        # Containers round times to their ticks.
        if steps.max() - steps.min() > max(2.0, 0.02 * float(np.median(steps))):
            shortest, longest = (
                1000 * float(step * clock.tick) for step in np.sort(steps)[[0, -1]]
            )
            raise InputError(
                f"{source.path} has a variable frame rate (frames last {shortest:.0f} to "
                f"{longest:.0f} ms): convert it to a constant one first"
            )
    return Footage(clock.frames, source.fps or clock.fps)


class _Clock(NamedTuple):
    """When the frames of a video come: sorted times in ticks, empty where the file does not say."""

    times: list[int]
    tick: Fraction
    frames: int
    fps: float | None


def _read_clock(path: Path) -> _Clock:
    """Read times and number of frames from the packets, without decoding them."""
    file = check_file(path, "video")
    state = file.stat()
    return _clock_of(file, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=64)  # each task asks, and the whole file has to be read
def _clock_of(file: Path, *_: int) -> _Clock:
    import av

    try:
        with av.open(str(file)) as container:
            stream = container.streams.video[0]
            claimed, rate, tick = stream.frames, stream.average_rate, stream.time_base
            times = [packet.pts for packet in container.demux(stream) if packet.size]
            known = sorted(time for time in times if time is not None)
    except (av.error.FFmpegError, IndexError) as error:
        raise InputError(f"{file} is not a video that can be read, or it is damaged") from error
    if tick is None or len(known) < len(times):
        known = []
    frames = max(claimed, len(times))
    return _Clock(known, tick or Fraction(1), frames, float(rate) if rate else None)


class Reader:
    """Reads windows of frames of one source, forwards; frames that windows share are read once."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._held: dict[int, Pixels] = {}
        self._size: tuple[int, int] | None = None
        self._video: Iterator[tuple[int, Pixels]] | None = None

    def read(self, start: int, stop: int) -> list[Pixels]:
        """Frames from start to before stop, (H, W, 3) uint8 sRGB each.

        Raises:
            InputError: one is missing, damaged, or unlike the first of the source.
        """
        if self._video is not None and not self._held.keys() & {start, start - 1}:
            self._video = None
        self._held = {index: frame for index, frame in self._held.items() if start <= index < stop}
        for index in range(start, stop):
            if index not in self._held:
                self._held[index] = self._file(index) if self.source.files else self._frame(index)
        return [self._held[index] for index in range(start, stop)]

    def _file(self, index: int) -> Pixels:
        files = self.source.files
        gap = index > 0 and _number(files[index]) - _number(files[index - 1]) > 1
        if gap and index - 1 in self._held:
            raise InputError(
                f"{self.source.path}: frames are missing between {files[index - 1]} and "
                f"{files[index]}"
            )
        if self._size is None:
            self._size = _read_frame(self.source.path / files[0]).shape[:2]
        frame = _read_frame(self.source.path / files[index])
        return self._alike(frame, files[index], self._size)

    def _frame(self, index: int) -> Pixels:
        if self._video is None:
            self._video = _decode(self.source.path, index)
        for place, frame in self._video:
            if place == index:
                self._size = self._size or (frame.shape[0], frame.shape[1])
                return self._alike(frame, f"frame {index}", self._size)
        self._video = None
        raise InputError(
            f"{self.source.path} is damaged or truncated: frame {index} cannot be decoded; get a "
            "complete copy of it"
        )

    def _alike(self, frame: Pixels, name: str, size: tuple[int, int]) -> Pixels:
        if frame.shape[:2] != size:
            raise InputError(
                f"{self.source.path}: {name} is {frame.shape[1]}x{frame.shape[0]}, the first frame "
                f"{size[1]}x{size[0]}: all frames of a clip need one size"
            )
        return frame


def _read_frame(path: Path) -> Pixels:
    file = check_file(path, "frame")
    try:
        with Image.open(file) as image:
            # Pillow would keep the upper bytes of 16-bit colour in silence.
            with file.open("rb") as stream:
                head = stream.read(25)
            deep = image.format == "PNG" and head[24] == 16
            if deep or image.mode.startswith(("I", "F")):
                raise InputError(
                    f"{path} has more than 8 bits per channel: convert the frames to 8 bits first"
                )
            return np.asarray(image.convert("RGB"))
    except InputError:
        raise
    except Exception as error:  # Pillow meets damage with whatever its parser ran into
        raise InputError(f"{path} is damaged or not an image: get a complete copy of it") from error


def _decode(path: Path, first: int) -> Iterator[tuple[int, Pixels]]:
    """Frames of a video with their numbers, from the first wanted one to where it ends."""
    import av

    from b2m.video import upright_rgb

    times = _read_clock(path).times if first else []
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if first < len(times):
                container.seek(times[first], stream=stream)
            for count, frame in enumerate(container.decode(stream)):
                place = count if frame.pts is None or not times else bisect_left(times, frame.pts)
                if place >= first:
                    yield place, upright_rgb(frame)
    except av.error.FFmpegError:
        return
