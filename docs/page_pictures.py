"""Take the pictures of demo/gradio: `make demo`, then `python docs/page_pictures.py`."""

from __future__ import annotations

import base64
import io
import shutil
import sys
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

ROOT = Path(__file__).parent.parent
PHOTO = ROOT / "examples" / "moving-apart.jpg"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--hide-scrollbars",
    "--autoplay-policy=no-user-gesture-required",
)


def take(
    browser: webdriver.Chrome, address: str, scheme: str, size: tuple[int, int], *, result: bool
) -> Image.Image:
    """The page at first view, or with an example's result."""
    width, height = size
    phone = width < 600
    screen = {"width": width, "height": height, "deviceScaleFactor": 1 + phone, "mobile": phone}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get(f"{address}/?__theme={scheme}")
    wait_for(browser, "#photo input[type=file]")
    wait_for(browser, "#intro img")
    if result:
        browser.find_element("css selector", "#photo input[type=file]").send_keys(str(PHOTO))
        wait_for(browser, "#motions button")
        browser.execute_script("document.querySelector('#clip video').pause()")
        place = "document.querySelector('#status').scrollIntoView()" if phone else "scrollTo(0, 0)"
        browser.execute_script(place)
    time.sleep(2)
    picture = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    return Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")


def wait_for(browser: webdriver.Chrome, selector: str, seconds: float = 300) -> None:
    """Until there is such a part of the page."""
    end = time.monotonic() + seconds
    while not browser.find_elements("css selector", selector):
        if time.monotonic() > end:
            raise TimeoutError(selector)
        time.sleep(0.3)


def main() -> None:
    """Open the page, and write the pictures."""
    address = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7860"
    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium") or ""
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        for name, scheme, size, result in (
            ("page-first-view", "light", (1280, 800), False),
            ("page-wide-light", "light", (1280, 1250), True),
            ("page-wide-dark", "dark", (1280, 1250), True),
            ("page-phone-light", "light", (360, 900), True),
            ("page-phone-dark", "dark", (360, 900), True),
        ):
            picture = take(browser, address, scheme, size, result=result)
            picture.save(ROOT / "docs" / f"{name}.webp", quality=82, method=6)
    finally:
        browser.quit()


if __name__ == "__main__":
    main()
