"""What stands after kill -9, a full disk, no home, another locale, odd names, two at once.

    python benchmarks/robustness/faults.py kill --count 50 --seed 0
    python benchmarks/robustness/faults.py surroundings

`kill` ends processes that save clips, build data sets and train at random moments: no reader may
ever see half a file, and started again they end as an undisturbed run does, to the bit.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
B2M = [sys.executable, "-m", "b2m.cli"]

SAVE = """
import sys, numpy as np
from b2m.media import video
from b2m.media.image import write_png
frames = [np.random.default_rng(i).integers(0, 256, (96, 128, 3), np.uint8) for i in range(12)]
print("ready", flush=True)
while True:
    for place in sys.argv[1:]:
        if place.endswith(".png"):
            write_png(place, frames[0])
        else:
            getattr(video, "write_" + place.rpartition(".")[2])(place, frames, 10)
"""


def digest(folder: Path) -> dict[str, str]:
    """Of every file that is not hidden."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def killed(command: list[str], seconds: float, ready: str = "") -> None:
    """Run a command and end it after so many seconds, from its word on."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    if ready:
        while ready not in process.stdout.readline():
            pass
    time.sleep(seconds)
    process.kill()
    process.communicate()


def kill_saving(folder: Path, count: int, rng: np.random.Generator) -> list[str]:
    """Kill what writes one file after the other; each that is there must be whole."""
    names = ["clip.mp4", "clip.gif", "clip.webp", "photo.png"]
    faults = []
    for number in range(count):
        names = [*names[1:], names[0]]
        killed(
            [sys.executable, "-c", SAVE, *(str(folder / name) for name in names)],
            rng.uniform(0, 3),
            "ready",
        )
        for name in names:
            if (folder / name).exists() and (fault := broken(folder / name)):
                faults.append(f"saving, kill {number}: {fault}")
    return faults


def broken(path: Path) -> str:
    """What is wrong with a picture or a clip, or nothing."""
    from b2m.errors import InputError
    from b2m.media.video import read_video

    try:
        if path.suffix == ".mp4":
            assert len(list(read_video(path))) == 12
        else:
            with Image.open(path) as image:
                for place in range(getattr(image, "n_frames", 1)):
                    image.seek(place)
                    image.load()
    except (InputError, OSError, SyntaxError, AssertionError) as error:
        return f"{path.name}: {error!r}"
    return ""


def kill_resuming(
    what: str, command: Callable[[Path], list[str]], place: Path, count: int,
    rng: np.random.Generator, seconds: float,
) -> list[str]:  # fmt: skip
    """Kill and start again; in the end it must be as it is without."""
    undisturbed, disturbed = place / "undisturbed", place / "disturbed"
    start = time.monotonic()
    subprocess.run(command(undisturbed), check=True, capture_output=True, cwd=ROOT)
    seconds = max(seconds, time.monotonic() - start)
    for _ in range(count):
        killed(command(disturbed), rng.uniform(0.3, 1) * seconds)
    subprocess.run(command(disturbed), check=True, capture_output=True, cwd=ROOT)
    return [] if digest(undisturbed) == digest(disturbed) else [f"{what}: another result"]


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


def kill(count: int, seed: int) -> list[str]:
    """All that is killed."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "saved").mkdir()
        faults = kill_saving(place / "saved", count, rng)
        clips = clips_of(place)

        def building(out: Path) -> list[str]:
            more = ["--source", str(clips), "-o", str(out), "--workers", "1"]
            return [*B2M, "data", "build", "--recipe", "video", *more]

        return faults + kill_resuming("building", building, place, count, rng, 1)


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
    given = parser.parse_args()
    start = time.monotonic()
    faults = kill(given.count, given.seed) if given.what == "kill" else surroundings()
    print("\n".join([*faults, f"{len(faults)} faults in {time.monotonic() - start:.0f} s"]))
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
