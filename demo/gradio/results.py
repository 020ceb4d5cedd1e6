"""Files of visitors: a private folder of this process, swept as it runs, removed at its end."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

KEEP_SECONDS = 3600  # how long results lie on disk
HOME = Path(tempfile.mkdtemp(prefix="b2m-demo-"))  # for the eyes of this user alone
RESULTS = HOME / "results"
# Gradio's own is the same for all users of a machine, of whom only the first may write there.
if not os.environ.get("GRADIO_TEMP_DIR"):
    os.environ["GRADIO_TEMP_DIR"] = str(HOME / "uploads")


@atexit.register
def clear() -> None:
    """Remove it all."""
    shutil.rmtree(HOME, ignore_errors=True)


def folder() -> Path:
    """A new folder for results, with an unguessable name."""
    RESULTS.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=RESULTS))


def remove_old_results() -> None:
    """Remove results older than an hour, and those of killed processes."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(HOME)  # so that no other process takes it for left
    left = [place for place in HOME.parent.glob("b2m-demo-*") if place != HOME]
    for old in [*left, *(RESULTS.iterdir() if RESULTS.is_dir() else ())]:
        with contextlib.suppress(FileNotFoundError):  # swept by another
            if time.time() - old.stat().st_mtime > KEEP_SECONDS:
                shutil.rmtree(old, ignore_errors=True)


def keep_sweeping(seconds: float = 600) -> None:
    """Sweep now and every ten minutes, for as long as the program runs."""

    def work() -> None:
        while True:
            remove_old_results()
            time.sleep(seconds)

    threading.Thread(target=work, daemon=True).start()
