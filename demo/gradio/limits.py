"""Limits for each visitor: size of files, time, places in the queue, and host names.

None of it is needed by a single person on their own machine; it keeps a page going that many use.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import os
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from gradio.server_messages import ProcessCompletedMessage

import b2m
from b2m.media.image import open_image

MAX_PHOTO = 50_000_000  # pixels
MAX_VIDEO_FRAME = 10_000_000  # pixels of each frame
PHOTO_SECONDS = 180  # that a job may take
VIDEO_SECONDS = 900
MAX_WAITING = 64  # jobs
MAX_OF_ONE = 8  # of these, of one page
MAX_OF_ADDRESS = 32  # of one address, behind which there may be several people
_USUAL_SECONDS = 5.0  # of a job, until some were done

Scope = MutableMapping[str, Any]


def check_photo(photo: str) -> None:
    """Refuse a photo that is too large for this page, by its header alone.

    Raises:
        b2m.InputError: it is, or is none.
    """
    with open_image(photo) as opened:
        width, height = opened.size
    if width * height > MAX_PHOTO:
        raise b2m.InputError(
            f"the photo has {width} × {height} pixels, and this page takes up to "
            f"{MAX_PHOTO // 10**6} megapixels: make it smaller, or run 'b2m animate' on your own "
            "machine"
        )


# --- time -----------------------------------------------------------------------------------------


class OutOfTime(BaseException):
    """Raised in a job that takes too long; no handler takes it for a damaged file."""


class Cancelled(BaseException):
    """Raised in a job that its visitor has cancelled."""


class _Job:
    """The job of a thread."""

    def __init__(self) -> None:
        self.worker, self.lock, self.done = threading.get_ident(), threading.Lock(), False

    def end(self, reason: type[BaseException]) -> None:
        """Raise this in the job's thread, unless it is done."""
        with self.lock:
            if not self.done:
                self.done = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self.worker), ctypes.py_object(reason)
                )


_jobs: list[tuple[str, str | None, _Job]] = []  # after whose they are, and of which photo


@contextmanager
def at_most(seconds: float, visitor: str = "", photo: str | None = None) -> Iterator[None]:
    """Stop a job after so many seconds, or when its visitor cancels.

    Args:
        seconds: that it may take.
        visitor: the page that asked for it.
        photo: what the page shows meanwhile, where the work is of no use without it.

    Raises:
        OutOfTime: it took longer.
        Cancelled: `cancel` or `supersede` was called for this visitor.
    """
    job = _Job()
    entry = visitor, photo, job
    _jobs.append(entry)
    timer = threading.Timer(seconds, job.end, (OutOfTime,))
    timer.daemon = True
    try:
        timer.start()  # which may end it already
        yield
    finally:
        with job.lock:
            job.done = True
        timer.cancel()
        _jobs.remove(entry)


async def cancel(queue: Any, visitor: str) -> None:
    """End the jobs of a page: those that wait and those that are being done."""
    for line in _lines(queue):
        for event in [waiting for waiting in line if waiting.session_hash == visitor]:
            await queue.remove_from_queue(event._id)
            output = {"error": "Cancelled.", "visible": False}
            queue.send_message(event, ProcessCompletedMessage(output=output, success=False))
    for whose, _, job in list(_jobs):
        if whose == visitor:
            job.end(Cancelled)


def supersede(visitor: str, photo: str | None) -> None:
    """End the jobs of a page whose photo it no longer shows."""
    for whose, of, job in list(_jobs):
        if whose == visitor and of not in (None, photo):
            job.end(Cancelled)


# --- memory ---------------------------------------------------------------------------------------

_ARENA_MAX = -8  # of glibc's mallopt


def few_arenas() -> None:
    """Limit malloc to few arenas, as MALLOC_ARENA_MAX=2 does, so that threads reuse freed memory.

    Under 50 visitors memory then stays where it is after the first minute.
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 2)


# --- the queue ------------------------------------------------------------------------------------


def share_fairly(queue: Any) -> None:
    """Round-robin of visitors in Gradio's queue; a full queue tells when to try again."""
    push = queue.push

    async def fair(body: Any, request: Any, username: str | None) -> Any:
        waiting = [event for line in _lines(queue) for event in line]
        page = [event for event in waiting if body.session_hash == event.session_hash]
        address = [event for event in waiting if _address(event.request) == _address(request)]
        full = len(waiting) >= MAX_WAITING or len(address) >= MAX_OF_ADDRESS
        if full or len(page) >= MAX_OF_ONE:
            what = "the queue is full" if full else f"{len(page)} of your jobs are waiting"
            return False, f"{what}: try again in about {_seconds(queue)} s", "queue_full"
        result = await push(body, request, username)
        for line in _lines(queue):
            _take_turns(line)
        return result

    queue.push = fair


def _lines(queue: Any) -> list[list[Any]]:
    return [line.queue for line in queue.event_queue_per_concurrency_id.values()]


def _take_turns(line: list[Any]) -> None:
    """The first job of every visitor, then their second ones; else in order of arrival."""
    seen: Counter[Any] = Counter()
    turns = {}
    for event in sorted(line, key=lambda event: event.enqueue_time):
        visitor = _address(event.request), event.session_hash if _has_page(event) else ""
        turns[event._id] = seen[visitor]
        seen[visitor] += 1
    line.sort(key=lambda event: (turns[event._id], event.enqueue_time))


def _has_page(event: Any) -> bool:
    return event.session_hash != event._id


def _address(request: Any) -> str:
    """The visitor's address; behind a proxy, as it forwards it."""
    headers = getattr(request, "headers", {})
    forwarded = headers.get("x-forwarded-for", "") if os.environ.get("SPACE_HOST") else ""
    client = getattr(request, "client", None)
    return forwarded.split(",")[0].strip() or (client.host if client else "")


def _seconds(queue: Any) -> int:
    """Estimated seconds until a quarter of the queue is done."""
    times = [spent.avg_time for spent in queue.process_time_per_fn.values() if spent.count]
    usual = sum(times) / len(times) if times else _USUAL_SECONDS
    longest = max((len(line) for line in _lines(queue)), default=0)
    return max(5, round(usual * longest / 4))


# --- who is asked ---------------------------------------------------------------------------------


class Guard:
    """Adds nosniff headers, and refuses foreign host names.

    A page of another site may give its own name this machine's address, and would then be taken for
    this one (DNS rebinding). So requests are answered under this machine's names, those in
    `$B2M_HOSTS` (with commas), and addresses in numbers.
    """

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app
        names = {"localhost", "testserver", *os.environ.get("B2M_HOSTS", "").lower().split(",")}
        with_network = {socket.gethostname(), socket.getfqdn(), os.environ.get("SPACE_HOST", "")}
        names |= {name.lower() for name in with_network}
        self.names = {name.strip() for name in names if name.strip()}

    def _knows(self, host: str) -> bool:
        name = host.rsplit(":", 1)[0] if host.count(":") == 1 else host
        name = name.partition("]")[0].lstrip("[") if host.startswith("[") else name
        name = name.lower().rstrip(".")
        if name in self.names or name.removesuffix(".local") in self.names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()), (b"x-content-type-options", b"nosniff")
                ]  # fmt: skip
            await send(message)

        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        if self._knows(host):
            await self.app(scope, receive, guarded)
            return
        body = b"this page is not known under this name: set B2M_HOSTS to it where the page is run"
        kind = [(b"content-type", b"text/plain; charset=utf-8")]
        await guarded({"type": "http.response.start", "status": 421, "headers": kind})
        await send({"type": "http.response.body", "body": body})
