"""Take the pictures of demo/web in Chromium: `make web && python docs/web_pictures.py`."""

from __future__ import annotations

import base64
import functools
import http.server
import io
import shutil
import threading
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

ROOT = Path(__file__).parent.parent
SHOW = "b2m.show(`assets/${arguments[0]}.jpg`).then(arguments[1])"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--hide-scrollbars",
)


def take(
    browser: webdriver.Chrome,
    address: str,
    example: str,
    scheme: str,
    size: tuple[int, int],
    *,
    motion: bool,
) -> Image.Image:
    """The page with an example: the clip, or its motion field."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    width, height = size
    phone = width < 600
    screen = {"width": width, "height": height, "deviceScaleFactor": 1 + phone, "mobile": phone}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get(address)
    browser.execute_async_script(SHOW, example)
    browser.execute_script("b2m.at(0)")
    if motion:
        browser.execute_script("document.getElementById('motion').click()")
    time.sleep(0.5)
    picture = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    return Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")


def main() -> None:
    """Serve the page, open it, and write the pictures."""
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=ROOT / "demo" / "web"
    )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium") or ""
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    browser.set_script_timeout(180)
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        wide = take(browser, address, "temple-shake", "light", (1100, 1155), motion=False)
        phone = take(browser, address, "moving-apart", "dark", (360, 980), motion=True)
    finally:
        browser.quit()
    wide.save(ROOT / "docs" / "web-wide-light.webp", quality=82, method=6)
    phone.save(ROOT / "docs" / "web-phone-dark.webp", quality=82, method=6)
    wide.save(ROOT / "weights" / "animator" / "browser.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
