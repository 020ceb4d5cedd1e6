"""The page under many visitors on loopback: answers, refusals, times, memory.

    python benchmarks/robustness/load.py --clients 50 --minutes 10

Every visitor asks for one small photo after the other: a clip mostly, else its flow, its sharp
frame or what moves. An answer, or "try again in about N s", which is waited for, is right; anything
else is an error. Memory must stay, from the second minute to the last, within a tenth. Variables of
the environment, such as MALLOC_ARENA_MAX, reach the page.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import numpy as np
from gradio_client import Client, handle_file

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from demo_server import Server, serve, small_photo

_AGAIN = re.compile(r"try again in about (\d+) s")
_ASKED = ("/animate", "/animate", "/animate", "/flow", "/deblur", "/segment")


def _in_its_own_words(post: Any) -> Any:
    """The page says when to come again; the client would only say that the queue is full."""

    def asked(*arguments: Any, **options: Any) -> Any:
        answer = post(*arguments, **options)
        if answer.status_code == 503:
            raise RuntimeError(answer.json()["detail"])
        return answer

    return asked


@dataclass
class Report:
    """What visitors met.

    Attributes:
        times: seconds of each answer.
        told: how often somebody was told to come again.
        errors: what else was said.
        memory: MiB that the page holds, at regular times.
    """

    times: list[float] = field(default_factory=list)
    told: int = 0
    errors: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


def visit(server: Server, photo: Path, number: int, until: float, report: Report) -> None:
    """Ask again and again, and note how long each answer took, and what was said instead."""
    first = True  # however long opening took
    try:
        # A browser waits for longer than the client's five seconds, too.
        client = Client(server.address, verbose=False, httpx_kwargs={"timeout": 120})
        uploaded = handle_file(photo)
    except Exception as error:
        report.errors.append(f"opening the page: {error!r}")
        return
    while first or time.monotonic() < until:
        first = False
        start = time.monotonic()
        number += 1
        try:
            client.predict(uploaded, api_name=_ASKED[number % len(_ASKED)])
            report.times.append(time.monotonic() - start)
        except Exception as error:
            again = _AGAIN.search(str(error))
            if again:
                report.told += 1
            else:
                report.errors.append(repr(error))
            time.sleep(max(0.0, min(float(again[1]) if again else 1, until - time.monotonic())))


def load(server: Server, clients: int, seconds: float, every: float) -> Report:
    """Let so many visitors use the page for so long; memory is read every so many seconds."""
    report = Report()
    in_words = mock.patch.object(httpx, "post", _in_its_own_words(httpx.post))
    with tempfile.TemporaryDirectory() as folder, in_words:
        until = time.monotonic() + seconds
        visitors = [
            threading.Thread(
                target=visit,
                args=(server, small_photo(Path(folder), number), number, until, report),
                daemon=True,
            )
            for number in range(clients)
        ]
        for visitor in visitors:
            visitor.start()
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(every, left))
            report.memory.append(server.memory() >> 20)
        for visitor in visitors:
            visitor.join(240)
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10)
    given = parser.parse_args()
    with serve() as server:
        report = load(server, given.clients, 60 * given.minutes, min(60, 6 * given.minutes))
    p50, p95 = np.percentile(report.times, [50, 95]) if report.times else (np.nan, np.nan)
    print(
        f"{given.clients} visitors, {given.minutes:g} minutes: {len(report.times)} answers, "
        f"p50 {p50:.1f} s, p95 {p95:.1f} s; "
        f"told to come again {report.told} times; {len(report.errors)} errors"
    )
    print(f"memory in MiB, each minute: {report.memory}")
    print("\n".join(sorted(set(report.errors))[:10]))
    grown = max(report.memory[2:], default=0) > 1.1 * report.memory[1]
    return bool(report.errors or grown)


if __name__ == "__main__":
    sys.exit(main())
