"""Sources of high-speed frames: videos, and folders of numbered images, read window by window."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from b2m.data.splits import IMAGE_SUFFIXES, visible
from b2m.errors import InputError
from b2m.files import check_file
from b2m.media.image import Pixels

_FARTHER_BACK = 64  # frames
_WIDEST_GAP = 1000  # frames; more stand for a break, however long
_SAMPLED = 32  # frames whose size is checked before any is read
_FEWEST_NAMES = 7  # frames; fewer tell nothing of how they are numbered
_NUMBER = re.compile(r"(\d+)\D*$")


@dataclass(frozen=True)
class Source:
    """A source of samples.

    Attributes:
        name: unique in a data set; the unit that must not be in two splits.
        split: "train", "val" or "test".
        path: a video, an image, or a folder of frames.
        files: names of the frames in that folder, in order, "" for those whose numbers are missing
            between others; none for a file.
        fps: frames per second, or None where only the file itself knows.
        licence: of the source.
        pairs: these are sharp, and there are blurred ones of the same names, in folders that
            `b2m.data.layouts` knows.
    """

    name: str
    split: str
    path: Path
    files: tuple[str, ...] = ()
    fps: float | None = None
    licence: str = "unknown"
    pairs: bool = False


@dataclass(frozen=True)
class Footage:
    """Properties of a source that are known before its frames are read.

    Attributes:
        frames: how many there are, or should be.
        fps: frames per second, or None.
        origin: when the first comes, in ticks of the file; None where it does not say.
        period: ticks from each to the next.
        keyframes: numbers of those with which decoding can begin, where known; in order.
        size: (height, width) that most frames have, pixels; None where it is not known yet.
    """

    frames: int
    fps: float | None
    origin: float | None = None
    period: float = 1.0
    keyframes: tuple[int, ...] = ()
    size: tuple[int, int] | None = None


def frame_files(folder: Path) -> tuple[str, ...]:
    """Names of the images in a folder, by their numbers; "" for each that is missing between two.

    So what belongs to a number stays where it is when what is missing is put in. Numbers that go
    up by always as much are those of consecutive frames. Nothing is known to be missing where most
    lie farther apart, as times do: `examine` refuses those.
    """
    names = [p.name for p in visible(folder.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES]
    names.sort(key=lambda name: (number_of(name), name))
    stride = _stride(names)
    filled = names[:1]
    for before, name in pairwise(names):
        gap = (number_of(name) - number_of(before)) // stride - 1 if stride else 0
        filled += [""] * min(max(0, gap), _WIDEST_GAP)
        filled.append(name)
    return tuple(filled)


def _stride(names: Sequence[str]) -> int:
    """From number to number of consecutive frames; 0 where there is no such step."""
    if len(names) < _FEWEST_NAMES:
        return 1
    gaps = [number_of(name) - number_of(before) for before, name in pairwise(names)]
    stride = math.gcd(*gaps) or 1
    return stride if statistics.median_low(gaps) <= stride else 0


def number_of(name: str) -> int:
    """The last number in a file's name, its suffix aside; -1 where there is none."""
    found = _NUMBER.search(Path(name).stem)
    return int(found[1]) if found else -1


def examine(source: Source) -> Footage:
    """Count the frames of a source without decoding them.

    Raises:
        InputError: not a video, one whose frames do not come at a constant rate, or one of more
            than 8 bits; or files whose names do not count them.
    """
    if source.files:
        names = [name for name in source.files if name]
        _check_order(source.path, names)
        stride = _stride(names)
        if not stride:
            raise InputError(
                f"{source.path}: the numbers of its frames ({names[0]}, {names[1]}, {names[2]} …) "
                "lie unevenly apart, as times do: number them 000000, 000001 and so on"
            )
        fps = source.fps and source.fps / stride
        return Footage(len(source.files), fps, size=_usual_size(source))
    file = check_file(source.path, "video")
    state = file.stat()
    footage = _examine_video(file, state.st_mtime_ns, state.st_size)
    return replace(footage, fps=source.fps or footage.fps)


def _check_order(folder: Path, names: Sequence[str]) -> None:
    """Refuse names without a clear order, as with a browser's copies between the frames."""
    patterns = [re.sub(r"\d+", "#", Path(name).stem) for name in names]
    (usual, _), *others = Counter(patterns).most_common()
    if others:
        odd = names[patterns.index(others[0][0])]
        one = names[patterns.index(usual)]
        raise InputError(
            f"{folder}: '{odd}' is named unlike '{one}', so that its place among the frames is in "
            "doubt: rename it, or remove it if it is a copy"
        )
    for before, name in pairwise(names):
        if number_of(before) == number_of(name):
            raise InputError(
                f"{folder}: '{before}' and '{name}' have the same number, so that their order is "
                "in doubt: remove one"
            )


def _usual_size(source: Source) -> tuple[int, int] | None:
    """(height, width) of most frames of a folder, by their headers; None where none has one."""
    paths = [source.path / name for name in source.files if name]
    spread = paths[:: max(1, len(paths) // _SAMPLED)]
    sizes = Counter(size for path in spread if (size := _size_of(path)))
    if not sizes:
        sizes.update(islice(filter(None, map(_size_of, paths)), 1))
    return sizes.most_common(1)[0][0] if sizes else None


def _size_of(path: Path) -> tuple[int, int] | None:
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except Exception:  # damaged: whoever reads it will say so
        return None


class _Clock(NamedTuple):
    """Timestamps of a video's frames in ticks, and which of them are keyframes."""

    times: NDArray[np.int64]
    keyframes: tuple[int, ...]


@lru_cache(maxsize=64)
def _examine_video(file: Path, *_: int) -> Footage:
    import av

    from b2m.media.video_reader import decoded_frames, open_video

    with open_video(file) as (container, stream):
        first = next(decoded_frames(container, stream, file), None)
        interlaced = first is not None and first.interlaced_frame
    try:
        with open_video(file) as (container, stream):
            pixels = stream.codec_context.format
            if pixels is not None and pixels.components[0].bits > 8:
                raise InputError(
                    f"{file} has {pixels.components[0].bits} bits per channel ({pixels.name}): "
                    "samples have 8, and its curve of light may be another one; convert it to 8 "
                    "bits first"
                )
            rate, time_base, claimed = stream.average_rate, stream.time_base, stream.frames
            table = stream.index_entries
            # These tell all their frames in one table; others have to be read through.
            whole = "mp4" in container.format.name and 0 < claimed == len(table)
            clock = _clock_of_table(table, stream.start_time) if whole else None
            count = 0
            if clock is None:
                packets = [
                    (packet.pts, packet.is_keyframe)
                    for packet in container.demux(stream)
                    if packet.size
                ]
                count, clock = len(packets), _clock_of_packets(packets)
    except (av.error.FFmpegError, IndexError) as error:
        raise InputError(f"{file} is not a video that can be read, or it is damaged") from error
    fps = float(rate) if rate else None
    if clock is None:
        return Footage(max(claimed, count), fps)
    _check_rate(file, clock.times, float(time_base or 1))
    origin, period = _fit_line(clock.times)
    # Without an index a file was cut, and lacks some of what it claims.
    frames = len(clock.times) if whole else count if len(table) else max(claimed, count)
    places = np.rint((clock.times - origin) / period)
    # The filter that deinterlaces looks at the frame before: always read from the beginning, it
    # gives always the same.
    if interlaced or (places != np.arange(len(places))).any():
        return Footage(frames, fps)  # ticks too coarse to tell frames apart
    return Footage(frames, fps, origin, period, clock.keyframes)


def _clock_of_table(entries: Iterable[Any], start: int | None) -> _Clock | None:
    """From a container's table, which holds times of decoding: at a constant rate those of showing
    are as far apart."""
    shown = [entry for entry in entries if not entry.is_discard]
    if not shown:
        return None
    times = np.array([entry.timestamp for entry in shown], np.int64)
    times += (times[0] if start is None else start) - times[0]
    return _Clock(times, tuple(number for number, one in enumerate(shown) if one.is_keyframe))


def _clock_of_packets(packets: list[tuple[int | None, bool]]) -> _Clock | None:
    known = sorted((time, key) for time, key in packets if time is not None)
    if not known or len(known) < len(packets):
        return None
    times = np.array([time for time, _ in known], np.int64)
    return _Clock(times, tuple(number for number, (_, key) in enumerate(known) if key))


def _fit_line(times: NDArray[np.int64]) -> tuple[float, float]:
    """Least-squares start and frame interval of timestamps, in ticks."""
    if len(times) < 2:
        return float(times[0]), 1.0
    numbers = np.arange(len(times))
    ahead = (times - times[0]).astype(np.float64)
    period = float(np.polyfit(numbers, ahead, 1)[0])
    off = ahead - period * numbers
    return float(times[0] + (off.max() + off.min()) / 2), period


def _check_rate(file: Path, times: NDArray[np.int64], time_base: float) -> None:
    """Refuse times that are not those of a constant rate, rounded to ticks.

    Steps then differ by one tick at most, and evenly: a single longer step is a frame left out,
    however coarse the ticks are. A fiftieth of a step is left to clocks that are not exact.
    """
    if len(times) < 3:
        return
    steps = np.diff(times)
    _, period = _fit_line(times)
    off = times - times[0] - period * np.arange(len(times))
    least, most = int(steps.min()), int(steps.max())
    rare = min(int((steps == least).sum()), int((steps == most).sum()))
    if most - least <= max(1.0, 0.02 * period) and np.ptp(off) <= max(1.25, 0.25 * period):
        coarse = period < 4 and least < most
        if not coarse or rare > 1 or len(times) < 5:
            return
    raise InputError(
        f"{file} has a variable frame rate (frames last {1000 * least * time_base:.3g} to "
        f"{1000 * most * time_base:.3g} ms): convert it to a constant one first"
    )


class Reader:
    """Reads windows of frames of one source, forwards; frames that windows share are read once.

    Args:
        source: of the frames.
        footage: what `examine` found, where that is known.
    """

    def __init__(self, source: Source, footage: Footage | None = None) -> None:
        self.source, self._footage = source, footage
        self._buffer: dict[int, Pixels] = {}
        self._size: tuple[int, int] | None = None
        self._video: Iterator[tuple[int, Pixels]] | None = None

    def read(self, start: int, stop: int) -> list[Pixels]:
        """Frames from start to before stop, (H, W, 3) uint8 sRGB each.

        Raises:
            InputError: one is missing, damaged, or of another size than most.
        """
        if self._video is not None and not self._buffer.keys() & {start, start - 1}:
            self._video = None
        self._buffer = {i: frame for i, frame in self._buffer.items() if start <= i < stop}
        for index in range(start, stop):
            if index not in self._buffer:
                self._buffer[index] = self._file(index) if self.source.files else self._frame(index)
        return [self._buffer[index] for index in range(start, stop)]

    def _file(self, index: int) -> Pixels:
        files = self.source.files
        if not files[index]:
            before = next(name for name in files[index::-1] if name)
            after = next(name for name in files[index:] if name)
            raise InputError(
                f"{self.source.path}: frames are missing between {before} and {after}: put them in"
            )
        frame = _read_frame(self.source.path / files[index])
        self._footage = self._footage or examine(self.source)
        return self._checked_size(frame, files[index], self._footage.size)

    def _frame(self, index: int) -> Pixels:
        if self._video is None:
            self._footage = self._footage or examine(self.source)
            self._video = _decode(self.source.path, index, self._footage)
        for number, frame in self._video:
            if number == index:
                self._size = self._size or (frame.shape[0], frame.shape[1])
                return self._checked_size(frame, f"frame {index}", self._size)
        self._video = None
        raise InputError(
            f"{self.source.path} is damaged or truncated: frame {index} cannot be decoded; get a "
            "complete copy of it"
        )

    def _checked_size(self, frame: Pixels, name: str, size: tuple[int, int] | None) -> Pixels:
        if size is not None and frame.shape[:2] != size:
            raise InputError(
                f"{self.source.path}: {name} is {frame.shape[1]}x{frame.shape[0]}, other frames "
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


def _decode(path: Path, first: int, footage: Footage) -> Iterator[tuple[int, Pixels]]:
    """Frames of a video with their numbers, from the first wanted one to where it ends."""
    from b2m.media.video_reader import decode, open_video, sample_aspect_ratio, to_upright_rgb

    # Containers look for keys by the times of decoding, and may give one that is shown too late.
    begins = [first, max(0, first - _FARTHER_BACK), 0] if footage.origin is not None else [0]
    for begin in dict.fromkeys(begins):
        with open_video(path) as (container, stream):
            aspect = sample_aspect_ratio(stream)
            if begin and footage.origin is not None:
                # A little after the frame, as times are rounded.
                target = footage.origin + (begin + 0.4) * footage.period
                container.seek(math.floor(target), stream=stream)
            for count, frame in enumerate(decode(container, stream, path)):
                number = _frame_number(frame.pts, count, footage)
                if begin and count == 0 and number > first:
                    break
                if number >= first:
                    yield number, to_upright_rgb(frame, aspect)
            else:
                return


def _frame_number(time: int | None, count: int, footage: Footage) -> int:
    if time is None or footage.origin is None:
        return count
    return round((time - footage.origin) / footage.period)
