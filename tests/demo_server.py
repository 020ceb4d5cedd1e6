"""The Gradio page as a process of its own, for the tests that ask it or open it."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

APP = Path(__file__).parents[1] / "demo" / "gradio" / "app.py"


@dataclass(frozen=True)
class Server:
    address: str
    process: subprocess.Popen
    temporary: Path  # where its temporary files are

    def client(self):
        """One that waits for a machine that is busy."""
        from gradio_client import Client

        return Client(self.address, verbose=False, httpx_kwargs={"timeout": 60})

    def log(self):
        """What the process has written of errors."""
        return (self.temporary.parent / f"{self.temporary.name}.log").read_text()

    def memory(self):
        """Bytes that the process holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(status.split("VmRSS:")[1].split()[0])


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def serve(*arguments, ready="config", **environment):
    """What Python makes of the arguments, by default the page; it knows nothing of a checkout."""
    port = free_port()
    with tempfile.TemporaryDirectory() as temporary:
        environment = os.environ | {
            "GRADIO_SERVER_PORT": str(port),
            "STREAMLIT_SERVER_PORT": str(port),
            "GRADIO_ANALYTICS_ENABLED": "False",
            "HF_HUB_OFFLINE": "1",
            "TMPDIR": temporary,
            "GRADIO_TEMP_DIR": "",
            **environment,
        }
        command = [sys.executable, *(arguments or [APP])]
        log = Path(f"{temporary}.log")
        with log.open("w") as errors:
            process = subprocess.Popen(command, env=environment, cwd=temporary, stderr=errors)
        address = f"http://127.0.0.1:{port}"
        try:
            for _ in range(1200):
                try:
                    urllib.request.urlopen(f"{address}/{ready}", timeout=5).close()
                    break
                except OSError:
                    assert process.poll() is None, f"the app has ended: {log.read_text()}"
                    time.sleep(0.5)
            yield Server(address, process, Path(temporary))
        finally:
            process.terminate()
            process.wait(20)
            log.unlink()


def small_photo(folder, number):
    """A photo whose size and colour are its own."""
    random = np.random.default_rng(number)
    color = random.integers(60, 200, 3)
    noise = random.integers(-40, 40, (72, 100 + 4 * number, 1)).cumsum(axis=1) % 80 - 40
    path = folder / f"photo-{number}.png"
    Image.fromarray((color + noise).clip(0, 255).astype(np.uint8)).save(path)
    return path
