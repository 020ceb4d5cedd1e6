"""Time the page of demo/web in Chromium: `make web && python benchmarks/web.py`.

Wall-clock seconds from handing the page a photo to its clip playing, for three photos of 640×360,
with cross-origin isolation (as many threads as cores, at most four) and without it (one thread).
In headless Chromium a software renderer draws the page on the same cores.
"""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

ROOT = Path(__file__).parent.parent
WEB, EXAMPLES = ROOT / "demo" / "web", ("cat-roll", "moving-apart", "temple-shake")
SHOW = "b2m.show(arguments[0]).then(arguments[1])"
FLAGS = ("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep requests off the screen."""


class _Isolated(_Handler):
    def end_headers(self) -> None:
        """Ask the browser to isolate the page, which threads need."""
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


def seconds(folder: str, photos: list[str], isolated: bool) -> list[float]:
    """For each photo, from the photo to its clip."""
    kind = _Isolated if isolated else _Handler
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(kind, directory=folder)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in FLAGS:
        options.add_argument(flag)
    browser = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    browser.set_script_timeout(120)
    found = []
    try:
        browser.get(f"http://127.0.0.1:{server.server_port}/index.html")
        time.sleep(6)  # as a person who chooses a photo
        for photo in photos:
            begun = time.perf_counter()
            browser.execute_async_script(SHOW, photo)
            found.append(time.perf_counter() - begun)
    finally:
        browser.quit()
        server.shutdown()
    return found


def main() -> None:
    """Print both rows."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(WEB, folder, dirs_exist_ok=True)
        photos = []
        for name in EXAMPLES:
            photos.append(f"timed-{name}.png")
            with Image.open(ROOT / "examples" / f"{name}.jpg") as image:
                image.convert("RGB").resize((640, 360)).save(Path(folder, photos[-1]))
        print(f"seconds for {len(photos)} photos of 640×360, {os.cpu_count()} cores")
        for isolated in (True, False):
            row = ", ".join(f"{value:.1f}" for value in seconds(folder, photos, isolated))
            print(f"{'threads' if isolated else 'one thread'}: {row}")


if __name__ == "__main__":
    main()
