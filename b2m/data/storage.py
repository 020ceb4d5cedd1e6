"""Samples on disk: one format for every source.

A data set is a folder:

    dataset.json                recipe and settings with which it was built
    sources.jsonl               the sources, their splits, and the numbers of their samples
    index.jsonl                 one record for each sample, in the order of their numbers
    index.parquet               the same; only where it was asked for, and then never older
    skipped.jsonl               what could not be made, and why; only where there is any
    blur/00000012.png           the photo
    sharp/00000012_003.png      its sharp frames, 000 the first
    flow/00000012.flo           pixels over the exposure; the record names its grid
    guidance/00000012.png       in the palette of `b2m.guidance.to_png`, on the middle frame's grid

Numbers belong to places in the sources, so that those of dropped or skipped samples are missing.
Those of a source that can be read only later, or that is added, follow the last ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from dataclasses import fields as dataclass_fields
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from b2m.data.sample import Sample
from b2m.errors import InputError
from b2m.files import atomic_path
from b2m.guidance.palette import from_png, to_png
from b2m.guidance.quantize import Guidance, from_flow
from b2m.media.image import Pixels, read_image
from b2m.motion.fields import Flow, to_middle_grid
from b2m.motion.io import read_flo, write_flo

INDEX = "index.jsonl"
PARQUET = "index.parquet"
SKIPPED = "skipped.jsonl"
SETTINGS = "dataset.json"
SOURCES = "sources.jsonl"
_FILE_NAMES = {
    "blur": "{:08d}.png",
    "sharp": "{:08d}_{:03d}.png",
    "flow": "{:08d}.flo",
    "guidance": "{:08d}.png",
}
FOLDERS = tuple(_FILE_NAMES)
_ROWS = 10_000
_NAME = re.compile(r"([0-9]{8,})(?:_([0-9]{3,}))?\.(?:png|flo)")


def _path(kind: str, number: int, frame: int = 0) -> str:
    return f"{kind}/{_FILE_NAMES[kind].format(number, frame)}"


@dataclass(frozen=True)
class Record:
    """What the index says about one sample.

    Attributes:
        number: in the data set.
        source: the video, photo or scene it was made from; never in two splits.
        split: "train", "val" or "test".
        recipe: by which it was made.
        width, height: pixels.
        frames: sharp frames kept.
        averaged: instants whose mean the photo is; 0 where that is not said.
        start: first frame in the source, or None.
        fps: frames per second of the source, or None.
        exposure: seconds from the first to the last instant, or None.
        curve: "srgb", or the exponent of the power law by which light was decoded.
        flow_grid: "middle" or "first": on which frame's grid the flow is; None without flow.
        flow_from: "exact", "given", or "dis" or "raft" (estimated); None without flow.
        licence: of the source, or those of all it is made from.
        made_from: photos and cut-outs of a scene, each with the first half of its SHA-256, as
            photos/train/a.jpg#0123456789abcdef; never in two splits, whatever they are called.
    """

    number: int
    source: str
    split: str
    recipe: str
    width: int
    height: int
    frames: int
    averaged: int
    start: int | None = None
    fps: float | None = None
    exposure: float | None = None
    curve: str | float = "srgb"
    flow_grid: str | None = "middle"
    flow_from: str | None = "dis"
    licence: str = "unknown"
    made_from: tuple[str, ...] = ()

    @property
    def blur(self) -> str:
        """Path of the photo in the data set."""
        return _path("blur", self.number)

    @property
    def sharp(self) -> list[str]:
        """Paths of the sharp frames, in order."""
        return [_path("sharp", self.number, frame) for frame in range(self.frames)]

    @property
    def flow(self) -> str | None:
        """Path of the flow, or None."""
        return _path("flow", self.number) if self.flow_grid else None

    @property
    def guidance(self) -> str | None:
        """Path of the guidance, or None."""
        return _path("guidance", self.number) if self.flow_grid else None

    @property
    def files(self) -> list[str]:
        """Paths of all its files."""
        return [self.blur, *self.sharp, *(path for path in (self.flow, self.guidance) if path)]

    def to_json(self) -> dict[str, Any]:
        """A line of the index."""
        paths = {"blur": self.blur, "sharp": self.sharp}
        return asdict(self) | paths | {"flow": self.flow, "guidance": self.guidance}

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> Record:
        """The record of a line.

        Raises:
            InputError: something is missing.
        """
        try:
            record = cls(**{name: line[name] for name in cls.__dataclass_fields__})
            return replace(record, made_from=tuple(record.made_from))
        except (KeyError, TypeError) as error:
            raise InputError(f"a line of {INDEX} lacks {error}: build the data set anew") from None


class SamplePath(NamedTuple):
    """What a file is.

    Attributes:
        kind: one of `FOLDERS`.
        number: of the sample.
        frame: which of its sharp frames; 0 for other files.
    """

    kind: str
    number: int
    frame: int


def parse_sample_path(kind: str, name: str) -> SamplePath | None:
    """What a file of one of `FOLDERS` is, by its name; None where no sample has such a file."""
    found = _NAME.fullmatch(name)
    if not found:
        return None
    file = SamplePath(kind, int(found[1]), int(found[2] or 0))
    return file if _path(*file) == f"{kind}/{name}" else None


@dataclass(frozen=True)
class Skip:
    """A sample that was not made.

    Attributes:
        number: it would have had; -1 for a whole source.
        source: of which.
        reason: one sentence.
        meant: by the recipe, as for motion that is too long; else something is wrong.
    """

    number: int
    source: str
    reason: str
    meant: bool = False


def guidance_of(flow: Flow, grid: str | None) -> Guidance:
    """Guidance of a flow on either grid: (H, W, 2) int8 on the middle frame's."""
    return from_flow(to_middle_grid(flow) if grid == "first" else flow)


def write_sample(folder: Path, record: Record, sample: Sample) -> None:
    """Write the files of a sample, each whole or not at all.

    Raises:
        OutputError: the folder is missing, not writable or full.
    """
    _write_png(folder / record.blur, sample.photo)
    for path, frame in zip(record.sharp, sample.frames, strict=True):
        _write_png(folder / path, frame)
    if record.flow and record.guidance and sample.flow is not None:
        write_flo(folder / record.flow, sample.flow)
        to_png(guidance_of(sample.flow, record.flow_grid), folder / record.guidance)


# Of what is without loss, fast before small: choosing the filter anew for each row, as is usual,
# takes twice as long, for files a tenth smaller.
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
if hasattr(cv2, "IMWRITE_PNG_FILTER"):  # not in the oldest OpenCV that will do
    _PNG += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]


def _write_png(path: Path, pixels: Pixels) -> None:
    data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), _PNG)[1]
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())


def read_sample(folder: str | Path, record: Record) -> tuple[Sample, Guidance | None]:
    """Read a sample, and its guidance.

    Raises:
        InputError: a file is missing, damaged or of another size.
    """
    folder = Path(folder)

    def picture(path: str) -> Pixels:
        pixels = read_image(folder / path).pixels
        if pixels.shape[:2] != (record.height, record.width):
            raise InputError(
                f"{folder / path} is {pixels.shape[1]}x{pixels.shape[0]}, the index says "
                f"{record.width}x{record.height}: build the data set anew"
            )
        return pixels

    blur = picture(record.blur)
    frames = np.stack([picture(path) for path in record.sharp])
    flow = read_flo(folder / record.flow) if record.flow else None
    size = (record.height, record.width)
    guidance = from_png(folder / record.guidance) if record.guidance else None
    for name, field in (("flow", flow), ("guidance", guidance)):
        if field is not None and field.shape[:2] != size:
            raise InputError(
                f"the {name} of sample {record.number} is {field.shape[1]}x{field.shape[0]}, its "
                f"photo {record.width}x{record.height}: build the data set anew"
            )
    return Sample(blur, frames, flow), guidance


def on_middle_grid(sample: Sample, record: Record) -> Sample:
    """A sample with its flow, if it has one, on the middle frame's grid."""
    if sample.flow is None or record.flow_grid == "middle":
        return sample
    return sample._replace(flow=to_middle_grid(sample.flow))


def read_index(folder: str | Path) -> list[Record]:
    """The records of a data set.

    Raises:
        InputError: there is no index, or it is damaged.
    """
    return list(iter_index(folder))


def iter_index(folder: str | Path) -> Iterator[Record]:
    """The records of a data set, one after the other; raises as `read_index`."""
    path = Path(folder) / INDEX
    if not path.is_file():
        raise InputError(
            f"{folder} has no {INDEX}: give a folder that `b2m data build` has finished, or run "
            "the same build again"
        )
    yield from map(Record.from_json, read_lines(path))


def read_lines(path: Path, torn: bool = False) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines.

    Args:
        path: of the file.
        torn: the last line may be cut off, and is then left out.

    Raises:
        InputError: a line is damaged.
    """
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if torn and not line.endswith(b"\n"):
                return
            try:
                yield json.loads(line)
            except ValueError:
                raise InputError(
                    f"{path}, line {number}, is damaged: build the data set anew"
                ) from None


def write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Write JSON lines, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.writelines(map(to_line, lines))


def to_line(line: dict[str, Any]) -> bytes:
    """A line of a file of JSON lines."""
    return (json.dumps(line, ensure_ascii=False) + "\n").encode()


def read_skips(folder: str | Path) -> Iterator[Skip]:
    """What could not be made of a data set, and what was not meant to be."""
    path = Path(folder) / SKIPPED
    yield from (Skip(**line) for line in read_lines(path)) if path.is_file() else ()


def is_parquet_old(folder: Path) -> bool:
    """Whether there is an index.parquet, and the index has been written since."""
    path = folder / PARQUET
    return path.is_file() and path.stat().st_mtime_ns < (folder / INDEX).stat().st_mtime_ns


def export_parquet(folder: str | Path) -> Path:
    """Write the index as index.parquet, which `datasets.load_dataset("parquet", …)` reads.

    Raises:
        InputError: there is no index, or pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError("--parquet needs pyarrow: pip install 'b2m[data]'") from None
    text, whole, real = pyarrow.string(), pyarrow.int64(), pyarrow.float64()
    kinds = {
        "int": whole, "int | None": whole, "float | None": real, "str": text, "str | None": text,
        # A power law's exponent and the word "srgb" share a column.
        "str | float": text, "tuple[str, ...]": pyarrow.list_(text),
    }  # fmt: skip
    fields = {field.name: kinds[str(field.type)] for field in dataclass_fields(Record)}
    fields |= dict.fromkeys(("blur", "flow", "guidance"), text) | {"sharp": pyarrow.list_(text)}
    schema = pyarrow.schema(fields.items())
    path = Path(folder) / PARQUET
    rows = (record.to_json() | {"curve": str(record.curve)} for record in iter_index(folder))
    with atomic_path(path) as temporary, pyarrow.parquet.ParquetWriter(temporary, schema) as writer:
        # Some at a time, so that memory does not grow with the data set.
        while batch := list(islice(rows, _ROWS)):
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))
    return path
