"""The page: its edits, its endpoints for programs, and the page itself in a real browser."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

gradio = pytest.importorskip("gradio")
from gradio_client import Client, handle_file  # noqa: E402
from gradio_client.exceptions import AppError  # noqa: E402

from b2m import video  # noqa: E402

ROOT = Path(__file__).parents[1]
APP = ROOT / "demo" / "gradio" / "app.py"
EXAMPLES = ROOT / "examples"
APART = EXAMPLES / "moving-apart.jpg"
LEFT, RIGHT = np.s_[190:240, 175:215], np.s_[270:320, 420:500]  # the two things in it


# --- what edits do -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def app():
    spec = importlib.util.spec_from_file_location("gradio_clips", APP.with_name("clips.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def prepared(app):
    return app.look(str(APART))


def across(clip, thing):
    return float(np.median(clip.flow[thing][..., 0]))


def test_a_tap_turns_one_thing_round(app, prepared):
    before = app.directed(prepared, [])
    tap = {"kind": "tap", "point": (195.0, 215.0)}
    after = app.directed(prepared, [tap])
    assert across(after, LEFT) == pytest.approx(-across(before, LEFT), rel=0.01)
    assert across(after, RIGHT) == pytest.approx(across(before, RIGHT), rel=0.01)
    twice = app.directed(prepared, [tap, tap])
    np.testing.assert_array_equal(twice.frames, before.frames)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_stroke_says_which_way(app, prepared, sign):
    points = [(195.0 - sign * 20, 215.0), (195.0 + sign * 20, 215.0)]
    clip = app.directed(prepared, [{"kind": "stroke", "points": points}])
    assert sign * across(clip, LEFT) > 3


def test_words_and_holding_still(app, prepared):
    for where, sign in (("right", 1), ("left", -1)):
        clip = app.directed(prepared, [{"kind": "direction", "where": where}])
        assert sign * across(clip, LEFT) > 3
        assert sign * across(clip, RIGHT) > 3
    turned = app.directed(prepared, [{"kind": "backwards"}])
    assert across(turned, LEFT) == pytest.approx(
        -across(app.directed(prepared, []), LEFT), rel=1e-4
    )
    held = app.directed(prepared, [{"kind": "hold", "point": (195.0, 215.0)}])
    assert np.abs(held.flow[LEFT]).max() < 3
    assert abs(across(held, RIGHT)) > 3


def test_looks_are_few(app, prepared):
    for path in [*sorted(EXAMPLES.glob("*.jpg"))[:1], APART]:
        app.look(str(path))
        app.look(str(path))
    assert len(app._looks) <= app.KEPT_PHOTOS


# --- the page for programs -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
    }
    process = subprocess.Popen([sys.executable, APP], env=environment)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/config", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, "the app has ended"
                time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait(20)


def test_endpoints(address):
    client, cat = Client(address, verbose=False), handle_file(EXAMPLES / "cat-roll.jpg")
    clip, *rest = client.predict(cat, frames=5, api_name="/animate")
    frames = list(video.read_video(clip))
    assert len(frames) == 5
    assert any("average back" in text for text in rest if isinstance(text, str))
    picture, numbers = client.predict(cat, api_name="/flow")
    assert Path(picture).read_bytes()[:4] == b"\x89PNG"
    assert Path(numbers).read_bytes()[:4] == b"PIEH"
    sharp = client.predict(cat, api_name="/deblur")
    assert Path(sharp).name == "cat-roll-sharp.png"


def test_a_bad_upload_is_told_in_plain_words(address, tmp_path):
    bad = tmp_path / "letter.jpg"
    bad.write_text("Dear photo,")
    with pytest.raises(AppError, match=r"letter\.jpg is not an image"):
        Client(address, verbose=False).predict(handle_file(bad), api_name="/animate")


def test_everybody_gets_their_own_answer(address):
    photos = [EXAMPLES / f"{name}.jpg" for name in ("cat-roll", "portrait-shake", "temple-shake")]

    def ask(photo):
        return Client(address, verbose=False).predict(handle_file(photo), api_name="/deblur")

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, photos * 2))
    names = [Path(answer).name for answer in answers]
    assert names == [f"{photo.stem}-sharp.png" for photo in photos * 2]


# --- the page in a browser -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no chromium and chromedriver here")
    selenium = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    options = selenium.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--autoplay-policy=no-user-gesture-required",
        "--window-size=1280,1400",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(argument)
    browser = selenium.Chrome(options=options, service=Service(driver))
    yield browser
    browser.quit()


def wait_for(probe, seconds=90):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := probe():
            return found
        time.sleep(0.3)
    raise AssertionError(f"nothing came in {seconds} s")


def find(browser, selector):
    return browser.find_elements("css selector", selector)


def played(browser):
    """The address of the clip, once it plays."""
    from selenium.common.exceptions import StaleElementReferenceException

    for element in find(browser, "#clip video"):
        try:
            if browser.execute_script("return arguments[0].currentTime", element) > 0:
                return element.get_attribute("src")
        except StaleElementReferenceException:
            return None
    return None


@pytest.fixture
def page(browser, address):
    browser.get(address)
    wait_for(lambda: find(browser, "#photo input[type=file]"))
    return browser


def upload(page, path):
    find(page, "#photo input[type=file]")[0].send_keys(str(path))


def test_upload_plays_and_directing_changes_the_clip(page):
    from selenium.webdriver import ActionChains

    upload(page, APART)
    first = wait_for(lambda: played(page))
    wait_for(lambda: len(find(page, "#motions img")) >= 2)
    canvas = wait_for(lambda: find(page, "#pad canvas"))[0]
    wait_for(lambda: canvas.size["height"] > 100)
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    width = canvas.size["width"]
    # From right to left over the thing on the left.
    actions = ActionChains(page).move_to_element_with_offset(canvas, round(-0.17 * width), 5)
    actions.click_and_hold().move_by_offset(-20, 2).move_by_offset(-20, 2).release().perform()
    second = wait_for(lambda: (now := played(page)) and now != first and now)
    # Another of the motions.
    page.execute_script("window.scrollTo(0, 0)")
    find(page, "#motions button.thumbnail-item")[1].click()
    wait_for(lambda: (now := played(page)) and now not in (first, second))


def test_a_bad_upload_gives_a_toast(page, tmp_path):
    bad = tmp_path / "letter.jpg"
    bad.write_text("Dear photo,")
    upload(page, bad)
    wait_for(lambda: any("is not an image" in e.text for e in find(page, ".toast-body")))


def test_it_fits_a_phone(page):
    size = {"width": 360, "height": 780, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        upload(page, APART)
        wait_for(lambda: played(page))
        assert page.execute_script("return document.documentElement.scrollWidth") <= 360
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
