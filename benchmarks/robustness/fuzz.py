"""Damaged photos and videos through b2m: each gives a result or one sentence, in time.

    python benchmarks/robustness/fuzz.py photos --count 2000 --seed 0
    python benchmarks/robustness/fuzz.py videos --count 300 --keep tests/corpus

Files are read in a process of their own, with a limit of memory and ten seconds for each; one
photo in forty that can be read is animated and saved, too. What crashed, hung or raised anything
but an InputError is kept.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from mutations import mutated, photos, videos

SECONDS = 10.0
MEMORY = 6 << 30  # bytes of addresses, most of which PyTorch's libraries take
MAX_SENTENCE = 500


def attempt(kind: str, path: Path, animate: bool) -> str:
    """What comes of a file: "read", "refused: SENTENCE", or "fault: …"."""
    from b2m.errors import InputError

    try:
        if kind == "videos":
            from b2m.media.video import read_video

            shapes = {frame.shape for frame in read_video(path)}
            assert len(shapes) <= 1, "frames of several sizes"
        else:
            from b2m.media.image import read_image

            photo = read_image(path)
            assert photo.pixels.dtype == np.uint8 and photo.pixels.shape[2] == 3
            if animate and max(photo.pixels.shape) <= 512:
                import b2m

                clip = b2m.animate(path, frames=3)[0]
                for ending in (".mp4", ".MP.jpg"):
                    clip.save(path.with_name(f"out{ending}"))
                    path.with_name(f"out{ending}").unlink()
    except InputError as error:
        sentence = str(error)
        if "\n" in sentence or len(sentence) > MAX_SENTENCE:
            return f"fault: no sentence: {sentence!r}"
        return f"refused: {sentence}"
    except Exception:
        return f"fault: {traceback.format_exc()}"
    left = [other.name for other in path.parent.iterdir() if other != path]
    return f"fault: left behind: {left}" if left else "read"


def work(kind: str, orders: Connection) -> None:
    """Read what is asked for, with little memory."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        path, animate = orders.recv()
        result = attempt(kind, path, animate)
        orders.send((result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


class Worker:
    """A process that reads files, made anew after it has crashed or hung."""

    def __init__(self, kind: str) -> None:
        self.kind, self.process = kind, None

    def ask(self, path: Path, animate: bool, seconds: float) -> tuple[str, int]:
        """What comes of a file, and the most memory so far in KiB."""
        if self.process is None:
            self.orders, theirs = multiprocessing.Pipe()
            context = multiprocessing.get_context("spawn")
            self.process = context.Process(target=work, args=(self.kind, theirs), daemon=True)
            self.process.start()
            seconds += 60  # to import
        self.orders.send((path, animate))
        start, spent = time.monotonic(), self._spent()
        try:
            # Time of the processor, as others may need it, too; and not for ever, if it sleeps.
            while self._spent() - spent < seconds and time.monotonic() - start < 20 * seconds:
                if self.orders.poll(1):
                    return self.orders.recv()
            fault = f"fault: took longer than {SECONDS:.0f} s"
        except (EOFError, ConnectionError):
            self.process.join(5)
            fault = f"fault: crashed ({self.process.exitcode})"
        self.close()
        return fault, 0

    def _spent(self) -> float:
        """Seconds of the processor."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended, or there is no such folder here
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None


def fuzz(
    kind: str, count: int, seed: int, keep: Path | None = None, every: int = 40, say: Any = print
) -> list[str]:
    """Faults that were found among so many damaged files; of photos, every 40th is animated."""
    faults: list[str] = []
    told: Counter[str] = Counter()
    worker, peaks = Worker(kind), []
    with tempfile.TemporaryDirectory() as place:
        (folder := Path(place, "one")).mkdir()
        (wholes_at := Path(place, "wholes")).mkdir()
        wholes = photos() if kind == "photos" else videos(wholes_at)
        for number in range(count):
            rng = np.random.default_rng((seed, number))
            name, data = mutated(wholes, rng)
            path = folder / f"{number}{Path(name).suffix}"
            path.write_bytes(data)
            animate = kind == "photos" and every > 0 and number % every == 0
            result, peak = worker.ask(path, animate, SECONDS + 50 * animate)
            told[result.partition(":")[0]] += 1
            peaks.append(peak)
            if result.startswith("fault"):
                faults.append(f"{name}, number {number}: {result}")
                say(faults[-1])
                if keep:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{kind}-{seed}-{number}{path.suffix}").write_bytes(data)
            for other in folder.iterdir():
                other.unlink()
        worker.close()
    say(f"{kind}: {dict(told)} of {count}, seed {seed}; most memory {max(peaks) >> 10} MiB")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["photos", "videos"])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for files that make a fault")
    given = parser.parse_args()
    start = time.monotonic()
    faults = fuzz(given.kind, given.count, given.seed, given.keep)
    print(f"{len(faults)} faults in {time.monotonic() - start:.0f} s")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
