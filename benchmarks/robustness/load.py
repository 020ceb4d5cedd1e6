"""The page under many visitors on loopback: answers, refusals, times, memory.

    python benchmarks/robustness/load.py --clients 50 --minutes 10

Every visitor asks for one small photo after the other. An answer or "try again in about N s", which
is waited for, is right; anything else is an error.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from gradio_client import Client, handle_file

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from demo_server import Server, serve, small_photo

_AGAIN = re.compile(r"try again in about (\d+) s")


def visit(server: Server, photo: Path, until: float, times: list[float], told: list[str]) -> None:
    """Ask again and again, and note how long each answer took, and what was said instead."""
    client = Client(server.address, verbose=False)
    while time.monotonic() < until:
        start = time.monotonic()
        try:
            client.predict(handle_file(photo), api_name="/animate")
            times.append(time.monotonic() - start)
        except Exception as error:
            told.append(str(error))
            again = _AGAIN.search(str(error))
            time.sleep(min(float(again[1]) if again else 1, max(0.0, until - time.monotonic())))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10)
    given = parser.parse_args()
    times: list[float] = []
    told: list[str] = []
    memory = []
    with tempfile.TemporaryDirectory() as folder, serve() as server:
        until = time.monotonic() + 60 * given.minutes
        visitors = [
            threading.Thread(
                target=visit,
                args=(server, small_photo(Path(folder), number), until, times, told),
                daemon=True,
            )
            for number in range(given.clients)
        ]
        for visitor in visitors:
            visitor.start()
        while time.monotonic() < until:
            time.sleep(min(10, 6 * given.minutes))
            memory.append(server.memory() >> 20)
        for visitor in visitors:
            visitor.join(120)
    errors = [sentence for sentence in told if not _AGAIN.search(sentence)]
    p50, p95 = np.percentile(times, [50, 95]) if times else (np.nan, np.nan)
    print(
        f"{given.clients} visitors, {given.minutes:g} minutes: {len(times)} answers, "
        f"p50 {p50:.1f} s, p95 {p95:.1f} s; "
        f"told to come again {len(told) - len(errors)} times; {len(errors)} errors"
    )
    print(f"memory in MiB over time: {memory}")
    print("\n".join(sorted(set(errors))[:10]))
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main())
