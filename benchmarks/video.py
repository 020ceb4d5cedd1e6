"""How fast a blurred video becomes a sharp one, and whether memory grows with its length.

    python benchmarks/video.py [--weights DIR]

Input frames a second, each to 7 frames, from file to file; and the peak resident memory of a
process that does so with a short and with a long video, which are small. Written to
benchmarks/results/video-speed.json and video-speed.md. Use an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from memory import run

import b2m
from b2m.blur import average_frames, linear_to_srgb8
from b2m.evaluate.report import command_line, write_report
from b2m.media.video import write_mp4

RESULTS = Path(__file__).parent / "results"
SPEED = 12  # pixels from frame to frame
FILM = """
import b2m, torch
torch.set_num_threads(int(sys.argv[3]))
b2m.animate_video(sys.argv[1], sys.argv[2], weights=sys.argv[4] or None, device="cpu")
"""


def film(width: int, height: int, count: int) -> Iterator[np.ndarray]:
    """Blurred frames of a camera that turns to the right and back before a textured wall."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (height // 8 + 1, (width + 9 * SPEED) // 8 + 1, 3), np.uint8)
    wall = cv2.resize(coarse, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
    for number in range(count):
        start = SPEED * (8 - abs(8 - number % 16))
        way = 1 if number % 16 < 8 else -1
        places = [start + way * step for step in range(SPEED)]
        instants = np.stack([wall[:height, x : x + width] for x in places])
        yield linear_to_srgb8(average_frames(instants))


def speed(
    folder: Path, size: str, count: int, runs: int, threads: int, weights: str | None
) -> dict:
    """A row: input frames a second, the median of some runs after one to warm up."""
    width, height = map(int, size.split("x"))
    source = folder / "speed.mp4"
    write_mp4(source, film(width, height, count), 25)
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    animator = b2m.BlurAnimator.from_pretrained(weights, device="cpu")
    seconds = []
    for _ in range(runs + 1):
        begun = time.perf_counter()
        animator.animate_video(source, folder / "sharp.mp4")
        seconds.append(time.perf_counter() - begun)
    taken = statistics.median(seconds[1:])
    name = f"{size}, {count} frames to {7 * count}"
    return {"name": name, "frames_per_second": count / taken, "seconds": taken}


def memory(folder: Path, size: str, count: int, threads: int, weights: str | None) -> dict:
    """A row: peak memory of a whole process."""
    width, height = map(int, size.split("x"))
    source = folder / f"{count}.mp4"
    write_mp4(source, film(width, height, count), 25)
    target = folder / "sharp.mp4"
    peak, seconds = run(FILM, str(source), str(target), str(threads), weights or "")
    return {"name": f"{size}, {count} frames to {7 * count}", "gib": peak, "seconds": seconds}


COLUMNS = {
    "frames_per_second": ("input frames/s", ".2f"),
    "gib": ("peak GiB", ".3f"),
    "ratio": ("ratio", ".3f"),
    "seconds": ("seconds", ".1f"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", help="folder or Hub id")
    parser.add_argument("--size", default="640x360", help="for speed (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=24, help="for speed (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="timed (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--small", default="128x96", help="size for memory (default: %(default)s)")
    parser.add_argument(
        "--lengths", default="100,1000", help="frames for memory (default: %(default)s)"
    )
    parser.add_argument("--only", choices=["speed", "memory"])
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.only in (None, "speed"):
            given = options.size, options.frames, options.runs, options.threads, options.weights
            rows.append(speed(folder, *given))
        if options.only in (None, "memory"):
            peaks = [
                memory(folder, options.small, int(count), options.threads, options.weights)
                for count in options.lengths.split(",")
            ]
            for row in peaks:
                row["ratio"] = row["gib"] / peaks[0]["gib"]
                print(f"{row['name']}: {row['gib']:.3f} GiB", file=sys.stderr)
            rows += peaks
    notes = [
        f"{options.threads} threads; from an H.264 file to an H.264 file, decoding and encoding "
        f"included. Speed: median of {options.runs} runs. Memory: peak resident memory of the "
        "whole process, and its ratio to that of the shortest video."
    ]
    changed = {
        name: value
        for name, value in vars(options).items()
        if value != parser.get_default(name) and name != "output"
    }
    options.output.mkdir(parents=True, exist_ok=True)
    command = command_line(["python", "benchmarks/video.py"], changed)
    print(write_report(options.output, "video-speed", command, rows, COLUMNS, notes)[1])


if __name__ == "__main__":
    main()
