"""How much memory a large photo takes: peak resident memory of one process each.

    python benchmarks/memory.py [--weights DIR]

A JPEG of 48 megapixels to 7 frames as an array, and by the command line into mp4, gif, png and
flo; and one of 12 megapixels, whose blur is short, to 7 frames, for which it is looked at tile by
tile. Written to benchmarks/results/memory.json and memory.md.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from b2m.evaluate.report import command_line, write_report

RESULTS = Path(__file__).parent / "results"
EXAMPLE = Path(__file__).parent.parent / "examples" / "coffee-pan.jpg"

# Each runs in a process of its own and prints its peak in bytes as its last line.
PEAK = """
import resource, sys
from pathlib import Path

def peak():
    # Where a process was started by a larger one, ru_maxrss of Linux starts at that one's size;
    # VmHWM is of this program alone.
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return 1024 * int(line.split()[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
"""
MAKE = """
import cv2, numpy as np
path, example, (width, height, zoom) = sys.argv[1], sys.argv[2], map(int, sys.argv[3:6])
one = cv2.resize(cv2.imread(example), None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
times = -(-height // one.shape[0]), -(-width // one.shape[1]), 1
assert cv2.imwrite(path, np.tile(one, times)[:height, :width], [cv2.IMWRITE_JPEG_QUALITY, 92])
"""
LOAD = """
import b2m
b2m.BlurAnimator.from_pretrained(sys.argv[4] or None)
"""
ARRAY = """
import b2m
clip = b2m.animate(sys.argv[1], frames=7, weights=sys.argv[4] or None)[0]
frames = clip.frames
assert frames.shape == (7, int(sys.argv[3]), int(sys.argv[2]), 3), frames.shape
assert (frames[0] != frames[-1]).any()
"""
COMMAND = """
from b2m.cli import main
words = ["animate", sys.argv[1], "-o", sys.argv[1] + "-out", "--format", "mp4,gif,png,flo"]
code = main(words + (["--weights", sys.argv[4]] if sys.argv[4] else []))
assert code == 0, code
assert len(list(Path(sys.argv[1] + "-out").iterdir())) == 4
"""


def run(code: str, *arguments: str) -> tuple[float, float]:
    """Run code in a new process: its peak in GiB, and seconds."""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", f"{PEAK}{code}\nprint(peak())", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(done.stdout.split()[-1]) / 2**30, time.perf_counter() - begun


def size(text: str) -> str:
    """WIDTHxHEIGHT, as argparse checks it."""
    if re.fullmatch(r"[1-9]\d*x[1-9]\d*", text) is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no size: give WIDTHxHEIGHT in pixels")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", help="folder or Hub id")
    parser.add_argument(
        "--size", type=size, default="8000x6000", help="of the photo (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    megapixels = width * height / 1e6
    # An example again and again: enlarged so that its blur is seen at any working size, and as it
    # is, when only the photo itself shows all of it.
    coarse = width, height, 6
    fine = width // 2, height // 2, 1
    works = {
        "import and weights alone": (LOAD, coarse),
        f"{megapixels:.3g}-megapixel JPEG to 7 frames as an array": (ARRAY, coarse),
        "the same by b2m animate, with mp4, gif, png and flo": (COMMAND, coarse),
        f"{megapixels / 4:.3g}-megapixel JPEG to 7 frames, tile by tile": (ARRAY, fine),
    }
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (code, (across, down, zoom)) in works.items():
            photo = str(Path(folder) / f"{across}.jpg")
            if not Path(photo).exists():
                run(MAKE, photo, str(EXAMPLE), *map(str, (across, down, zoom)))
            peak, seconds = run(code, photo, str(across), str(down), options.weights or "")
            rows.append({"name": name, "gib": peak, "seconds": seconds})
            print(f"{name}: {peak:.2f} GiB", file=sys.stderr)
    columns = {"gib": ("peak GiB", ".2f"), "seconds": ("seconds", ".1f")}
    notes = [
        "Peak resident memory of the whole process. The frames alone take 7 x W x H x 3 bytes."
    ]
    options.output.mkdir(parents=True, exist_ok=True)
    given = {"weights": options.weights}
    given |= {"size": None if options.size == parser.get_default("size") else options.size}
    command = command_line(["python", "benchmarks/memory.py"], given)
    print(write_report(options.output, "memory", command, rows, columns, notes)[1])


if __name__ == "__main__":
    main()
