"""Chromium, for the tests that open pages."""

import contextlib
import shutil
import time

import pytest


@contextlib.contextmanager
def chromium(folder, *arguments, downloads=None):
    """A browser with its profile in a folder, which saves files in another."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip(
            "the pages are opened in Chromium, and chromium and chromedriver are not installed"
        )
    selenium = pytest.importorskip(
        "selenium.webdriver", reason="selenium, which drives Chromium, is not installed"
    )
    from selenium.webdriver.chrome.service import Service

    options = selenium.ChromeOptions()
    options.binary_location = program
    prefs = {
        "download.default_directory": str(downloads),
        # What is no person's click may take one file only, else.
        "profile.default_content_setting_values.automatic_downloads": 1,
    }
    options.add_experimental_option("prefs", prefs)
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={folder}",
        *arguments,
    ):
        options.add_argument(argument)
    browser = selenium.Chrome(options=options, service=Service(driver))
    try:
        yield browser
    finally:
        browser.quit()


def wait_for(probe, seconds=90):
    """What a probe finds, once it finds something; elements may be missing or replaced by then."""
    from selenium.common.exceptions import StaleElementReferenceException

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(StaleElementReferenceException, IndexError):
            if found := probe():
                return found
        time.sleep(0.1)
    raise AssertionError(f"nothing came in {seconds} s")


def find(page, selector):
    return page.find_elements("css selector", selector)


def on_phone(page, width=360):
    """Give the page the size of a phone, or one of another width."""
    size = {"width": width, "height": 780, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
