"""The page in a real browser: what a person sees, touches, hears read out, and takes along."""

import base64
import importlib.util
import io
import time
from pathlib import Path

import numpy as np
import pytest
from chromium import chromium, find, on_phone, wait_for
from PIL import Image

from b2m.media.video import write_mp4
from b2m.motion.io import read_flow

EXAMPLES = Path(__file__).parents[1] / "examples"
APART = EXAMPLES / "moving-apart.jpg"
SIZE = (320, 213)  # half of its own, at which clips are made in a quarter of the time
THINGS = {"left": (97, 107), "right": (230, 147)}  # in pixels of this size
WAYS = {"right": [(255, 0, 0), (0, 0, 255)], "left": [(0, 255, 0), (255, 255, 0)]}


@pytest.fixture(scope="module")
def address(page_server):
    return page_server.address


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(tmp_path_factory, downloads):
    given = ("--disable-gpu", "--disable-quic", "--window-size=1280,1400")
    given += ("--autoplay-policy=no-user-gesture-required",)
    folder = tmp_path_factory.mktemp("chromium")
    with chromium(folder, *given, downloads=downloads) as browser:
        yield browser


def played(browser):
    """The address of the clip, once it plays."""
    for element in find(browser, "#clip video"):
        if browser.execute_script("return arguments[0].currentTime", element) > 0:
            return element.get_attribute("src")
    return None


def opened(browser, address):
    browser.get(f"{address}/?__theme=light")
    wait_for(lambda: find(browser, "#photo input[type=file]"))
    return browser


@pytest.fixture
def page(browser, address):
    return opened(browser, address)


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    path = tmp_path_factory.mktemp("half") / "half.png"
    with Image.open(APART) as photo:
        photo.resize(SIZE, Image.Resampling.LANCZOS).save(path)
    return path


@pytest.fixture
def apart(browser, address, half):
    """The page with a photo in it, as its clip has come; it stays loaded from test to test.

    A test that changes more than edits, options and tabs says so by `spoilt`.
    """
    if not browser.execute_script("return window.b2mApart"):
        upload(opened(browser, address), half)
        settled(browser)
        browser.execute_script("window.b2mApart = true")
    browser.execute_script("scrollTo(0, 0)")
    tab(browser, "Photo")
    tab(browser, "Edit motion")
    if find(browser, "#reset")[0].is_enabled():
        press(browser, "#reset")
        wait_for(lambda: not find(browser, "#reset")[0].is_enabled())
        wait_for(lambda: not find(browser, "#status button"))
    became(browser, "right", "right")
    return browser


def spoilt(page):
    """The next test is to load the page anew."""
    page.execute_script("window.b2mApart = false")


def upload(page, path):
    find(page, "#photo input[type=file]")[0].send_keys(str(path))


def settled(page):
    """Wait for all that follows a clip; then the clip's address."""
    source = wait_for(lambda: played(page))
    wait_for(lambda: find(page, "#motions button"))
    return source


def tab(page, name):
    (button,) = [
        b for b in find(page, "button[role=tab]") if b.get_attribute("textContent").strip() == name
    ]
    page.execute_script("arguments[0].click()", button)


def ways(page):
    """Which way the two things go, by the colours of the guidance under "Details"."""
    tab(page, "Details")
    images = wait_for(lambda: find(page, "#why img:not(.wheel)"))
    data = base64.b64decode(images[2].get_attribute("src").split(",")[1])
    with Image.open(io.BytesIO(data)) as picture:
        colors = np.asarray(picture.convert("RGB").resize(SIZE)).astype(int)
    tab(page, "Edit motion")
    found = {}
    for thing, (x, y) in THINGS.items():
        color = np.median(colors[y - 4 : y + 4, x - 4 : x + 4].reshape(-1, 3), axis=0)
        found[thing] = next(
            way for way, pure in WAYS.items() if any(np.abs(color - c).max() < 60 for c in pure)
        )
    return found


def touch(page, start, *moves):
    """Press on the pad at a point of the photo, move, and let go."""
    from selenium.webdriver import ActionChains

    canvas = wait_for(lambda: find(page, "#pad canvas"))[0]
    wait_for(lambda: canvas.size["height"] > 100)
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    scale = canvas.size["width"] / SIZE[0]
    offset = [round((at - side / 2) * scale) for at, side in zip(start, SIZE, strict=True)]
    actions = ActionChains(page).move_to_element_with_offset(canvas, *offset).click_and_hold()
    for x, y in moves:
        actions.move_by_offset(round(x * scale), round(y * scale))
    actions.release().perform()


def keys(page, letter):
    """Ctrl and a letter; a capital one with Shift."""
    from selenium.webdriver import ActionChains, Keys

    chain = ActionChains(page).key_down(Keys.CONTROL)
    chain = chain.key_down(Keys.SHIFT) if letter.isupper() else chain
    chain.send_keys(letter.lower()).key_up(Keys.SHIFT).key_up(Keys.CONTROL).perform()


def press(page, selector):
    """A button, once it can be pressed."""
    button = wait_for(lambda: [b for b in find(page, selector) if b.is_enabled()])[0]
    page.execute_script("arguments[0].click()", button)


def saved(downloads, name):
    """A file that was taken along."""
    path = downloads / name
    wait_for(lambda: path.exists() and path.stat().st_size, 300)
    return path


def film(path, size, count):
    """A video in which nothing moves."""
    with Image.open(APART) as photo:
        write_mp4(path, [np.asarray(photo.resize(size))] * count, 30)
    return path


def animate_video(page, path):
    """Give the tab of videos one, and have it made slow."""
    wait_for(lambda: find(page, "#blurry input[type=file]"))[0].send_keys(str(path))
    wait_for(lambda: find(page, "#blurry video[aria-label='Your blurred video']"))
    press(page, "#make-slow")


def became(page, left, right):
    """Wait until the two things go these ways."""
    wait_for(lambda: ways(page) == {"left": left, "right": right})


def test_directing_by_hand_and_by_key(apart):
    page = apart
    touch(page, THINGS["left"], (-10, 1), (-10, 1))  # a stroke from right to left
    touch(page, THINGS["right"])  # a tap, while the clip is still made anew
    became(page, "left", "left")
    # A step back and forth and back, by the keys and by the buttons.
    keys(page, "z")
    became(page, "left", "right")
    keys(page, "Z")
    became(page, "left", "left")
    assert not find(page, "#redo")[0].is_enabled()
    press(page, "#undo")
    became(page, "left", "right")
    assert not find(page, "#motions button[aria-pressed=true]")  # edited, it is no option any more
    # The same without a pointer: the cross goes to the thing on the left.
    from selenium.webdriver import Keys

    tap = find(page, "#pad input[value=tap]")[0]
    page.execute_script("arguments[0].click()", tap)
    find(page, "#pad canvas")[0].send_keys(Keys.ARROW_LEFT * 8, Keys.ENTER)
    became(page, "right", "right")


def test_the_first_view_is_a_finished_example(page):
    photo, clip = find(page, "#intro img")
    data = base64.b64decode(clip.get_attribute("src").split(",")[1])
    with Image.open(io.BytesIO(data)) as playing:
        assert playing.n_frames == 12  # seven forwards, and back
    assert photo.is_displayed() and clip.is_displayed() and not find(page, "#clip video")
    assert find(page, "#first p")[0].text.count(".") == 1  # one line says what to do
    assert not find(page, "#go")[0].is_enabled()
    assert "Photos stay on this machine" in find(page, "body")[0].text
    upload(page, EXAMPLES / "cat-roll.jpg")
    wait_for(lambda: find(page, "#motions .tile"))
    place = find(page, "#pad canvas")[0].location["y"]
    settled(page)
    assert not [part for part in find(page, "#intro img") if part.is_displayed()]
    assert find(page, "#go")[0].is_enabled()
    assert find(page, "#pad canvas")[0].location["y"] == place  # not moved by what came after it
    said = find(page, "#known")[0].text
    assert "of the photo moved" in said and "dB" not in said
    tab(page, "Details")
    wait_for(lambda: "dB" in find(page, "#why")[0].text)
    assert len(find(page, "#why img.wheel")) == 1


def test_cancel_ends_the_work_and_clears_the_page(page, tmp_path):
    with Image.open(APART) as photo:
        photo.resize((3000, 1997)).save(tmp_path / "large.jpg")
    upload(page, tmp_path / "large.jpg")
    cancel = wait_for(lambda: find(page, "#status button"))[0]
    said = find(page, "#status")[0].text
    assert said.startswith(("Estimating the motion: about ", "Reading the photo"))
    page.execute_script("arguments[0].click()", cancel)
    wait_for(lambda: find(page, "#status")[0].text == "Cancelled.")
    wait_for(lambda: is_empty(page))
    upload(page, EXAMPLES / "cat-roll.jpg")  # the slot is free again
    settled(page)
    assert not find(page, "#status")[0].text


def test_cancel_ends_a_video_and_frees_its_slot(page, tmp_path):
    tab(page, "Video")
    assert not find(page, "#make-slow")[0].is_enabled()
    animate_video(page, film(tmp_path / "long.mp4", (640, 426), 60))  # minutes of work
    cancel = wait_for(lambda: find(page, "#video_status button"))[0]
    assert find(page, "#video_status")[0].text.startswith("Creating slow motion")
    began = time.monotonic()
    page.execute_script("arguments[0].click()", cancel)
    wait_for(lambda: find(page, "#video_status")[0].text == "Cancelled.")
    time.sleep(1)  # which the end of the work does not undo
    assert find(page, "#video_status")[0].text == "Cancelled." and not find(page, "#slow video")
    assert not [part for part in find(page, "#slow .error") if part.is_displayed()]
    page.execute_script("arguments[0].click()", find(page, "#blurry button[aria-label='Clear']")[0])
    # One video at a time is made, and this one is.
    animate_video(page, film(tmp_path / "short.mp4", (96, 64), 3))
    wait_for(lambda: find(page, "#slow video[aria-label^='The sharp video']"))
    assert time.monotonic() - began < 60


def test_frame_by_frame(apart):
    from selenium.webdriver import Keys

    page = apart
    now = "const v = document.querySelector('#clip video'); return [v.paused, v.currentTime]"
    step = find(page, "#player button")[1]
    page.execute_script("arguments[0].click()", step)
    paused, _ = page.execute_script(now)
    assert paused
    slider = find(page, "#player input")[0]
    slider.send_keys(Keys.ARROW_LEFT)
    slider.send_keys(Keys.HOME)
    assert find(page, "#player output")[0].text == "Frame 1 of 7"
    assert page.execute_script(now)[1] == pytest.approx(0.5 / 7, abs=0.01)
    find(page, "#clip video")[0].send_keys(Keys.ARROW_RIGHT * 2)
    assert find(page, "#player output")[0].text == "Frame 3 of 7"
    assert page.execute_script(now)[1] == pytest.approx(2.5 / 7, abs=0.01)
    slider.send_keys(Keys.END)
    assert find(page, "#player output")[0].text == "Frame 7 of 7"


def test_the_motion_field_takes_the_photo_over_and_is_cleared_with_it(page):
    def photo():
        return [
            picture.get_attribute("src").rpartition("/")[2] for picture in find(page, "#given img")
        ]

    def wheel():
        return [part for part in find(page, "#wheel img") if part.is_displayed()]

    tab(page, "Motion field")
    assert not [part for part in find(page, "#find, #part, #sharpen") if part.is_enabled()]
    tab(page, "Photo")
    upload(page, EXAMPLES / "cat-roll.jpg")
    settled(page)
    tab(page, "Motion field")
    wait_for(lambda: photo() == ["cat-roll.jpg"])
    for button, result in (("#find", "#numbers a"), ("#sharpen", "#still img")):
        press(page, button)
        wait_for(lambda result=result: find(page, result))
    wait_for(wheel)
    field = find(page, "#colored img")[0].get_attribute("src")
    press(page, "#part")
    wait_for(lambda: find(page, "#colored img")[0].get_attribute("src") != field)
    wait_for(lambda: not wheel())  # a mask has no colours
    tab(page, "Photo")
    tab(page, "Motion field")
    time.sleep(1)
    assert find(page, "#numbers a") and find(page, "#still img")  # of the same photo, and stay
    tab(page, "Photo")
    find(page, "#examples button")[0].click()
    wait_for(lambda: "Estimating" in find(page, "#status")[0].text)
    tab(page, "Motion field")
    wait_for(lambda: photo() == ["box-carried.jpg"])
    wait_for(lambda: not find(page, "#numbers a, #still img, #colored img"))
    find(page, "#given button[aria-label='Remove Image']")[0].click()
    wait_for(lambda: not find(page, "#find")[0].is_enabled())


def test_a_link_holds_the_settings(browser, address):
    browser.get(f"{address}/?frames=5&pingpong=true")
    wait_for(lambda: find(browser, "#photo input[type=file]"))
    open_settings(browser)
    wait_for(lambda: "5" in [part.get_attribute("value") for part in find(browser, "input")])
    upload(browser, EXAMPLES / "cat-roll.jpg")
    settled(browser)
    wait_for(lambda: find(browser, "#player output")[0].text.endswith("of 5"))
    press(browser, "#share")
    shown = wait_for(lambda: find(browser, "#link textarea, #link input"))[0]
    wait_for(lambda: "frames=5" in shown.get_attribute("value"))
    link = shown.get_attribute("value")
    assert "pingpong=true" in link and "cat" not in link and link.startswith(address)


def test_picking_an_example_a_motion_and_the_photo_underneath(page, downloads):
    from selenium.webdriver import ActionChains

    names = [image.get_attribute("alt") for image in find(page, "#examples img")]
    find(page, "#examples button")[names.index("Example photo: moving apart")].click()
    first = settled(page)
    before = ways(page)
    page.execute_script("arguments[0].click()", find(page, "#motions button")[1])
    wait_for(lambda: (now := played(page)) and now != first)
    became(page, "left", "left")
    assert find(page, "#motions button")[1].get_attribute("aria-pressed") == "true"
    # The same photo anew: its first motion again, and no other is marked.
    find(page, "#go")[0].click()
    wait_for(lambda: not find(page, "#motions button[aria-pressed=true]"))
    marked = wait_for(lambda: find(page, "#motions button[aria-pressed=true]"))
    assert marked == [find(page, "#motions button")[0]]
    became(page, **before)
    peek = find(page, "#peek")[0]
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", peek)
    ActionChains(page).click_and_hold(peek).perform()
    cover = wait_for(lambda: find(page, "#cover"))[0]
    clip = find(page, "#clip video")[0]
    assert abs(cover.rect["width"] - clip.rect["width"]) < 2
    assert cover.get_attribute("alt") == "Your photo"
    ActionChains(page).release().perform()
    assert not find(page, "#cover")
    tab(page, "Download")
    wait_for(lambda: find(page, "#kinds button"))
    for kind, name in (("GIF", "moving-apart.gif"), ("Motion field", "moving-apart.flo")):
        (button,) = [b for b in find(page, "#kinds button") if b.text == kind]
        page.execute_script("arguments[0].click()", button)  # and no more than that
        path = saved(downloads, name)
    assert read_flow(path).shape == (426, 640, 2)
    with Image.open(downloads / "moving-apart.gif") as gif:
        assert gif.size == (640, 426) and gif.n_frames == 7


def open_settings(page):
    (button,) = [b for b in find(page, "button.label-wrap") if b.text.startswith("Settings")]
    if "open" not in button.get_attribute("class").split():
        button.click()
    wait_for(lambda: find(page, "#share")[0].is_displayed())


def toasts(page):
    return [toast.text for toast in find(page, ".toast-body")]


def is_empty(page):
    """Whether the page is as it was before there was a photo."""
    hint = [part for part in find(page, "#intro img") if part.is_displayed()]
    shown = [part for part in find(page, "#motions, #pad, #words") if part.is_displayed()]
    clips = [clip for clip in find(page, "#clip video") if clip.is_displayed()]
    return bool(hint) and not shown and not clips


def test_a_photo_that_goes_takes_all_with_it(apart, half):
    page, before = apart, played(apart)
    spoilt(page)
    open_settings(page)
    (box,) = find(page, "input[type=checkbox]")
    page.execute_script("arguments[0].click()", box)
    wait_for(lambda: (now := played(page)) and now != before)
    assert not is_empty(page)
    (clear,) = find(page, "#photo button[aria-label='Remove Image']")
    clear.click()
    wait_for(lambda: is_empty(page))
    assert not toasts(page)
    upload(page, half)
    settled(page)
    assert not is_empty(page)


def test_settings_answer_to_keys_and_a_mis_tap_leaves_the_clip_in_sight(apart):
    from selenium.webdriver import Keys

    page, first = apart, settled(apart)
    spoilt(page)
    open_settings(page)
    find(page, "input[type=range]")[0].send_keys(Keys.ARROW_RIGHT)
    second = wait_for(lambda: (now := played(page)) != first and now)
    touch(page, (15, 200))
    wait_for(lambda: any("Nothing moves there" in text for text in toasts(page)))
    assert not [part for part in find(page, "#clip .error, #known .error") if part.is_displayed()]
    wait_for(lambda: played(page) == second, 10)  # not where the clip has just begun again


def test_what_was_drawn_stays_to_be_seen(apart):
    inked = """const canvas = document.querySelector("#pad canvas");
        const [x, y, width] = arguments, scale = canvas.width / width, size = 8;
        const corner = [x, y].map((value) => Math.round(value * scale) - size / 2);
        const data = canvas.getContext("2d").getImageData(...corner, size, size).data;
        return data.filter((value, place) => place % 4 === 3 && value).length / (size * size)"""

    def ink(point):
        return page.execute_script(inked, *point, SIZE[0])

    page = apart
    touch(page, THINGS["left"], (-10, 1), (-10, 1))
    end = (77, 109)
    became(page, "left", "right")  # also once the clip has come
    wait_for(lambda: ink(end) > 0.05)
    touch(page, THINGS["right"])
    became(page, "left", "left")
    x, y = THINGS["right"]
    x += 12 * SIZE[0] / find(page, "#pad canvas")[0].size["width"]  # a ring of 12 px
    wait_for(lambda: ink((x, y)) > 0.05)
    assert ink(THINGS["right"]) == 0  # a ring
    press(page, "#undo")
    wait_for(lambda: ink((x, y)) == 0)
    assert ink(end) > 0.05
    press(page, "#reset")
    wait_for(lambda: ink(end) == 0)


def test_where_the_keys_go_can_be_seen(apart):
    from selenium.webdriver import ActionChains, Keys

    def focused(*keys):
        ActionChains(page).send_keys(*keys).perform()
        return page.execute_script(
            "const e = document.activeElement; return [e.id, e.type, getComputedStyle(e).outline,"
            " e.getBoundingClientRect().top, "
            " document.querySelector('#clip').getBoundingClientRect().bottom]"
        )

    page = apart
    open_settings(page)
    seen = set()
    page.execute_script("document.querySelector('#go').focus()")
    for _ in range(60):
        name, kind, outline, top, below = focused(Keys.TAB)
        if kind in ("range", "checkbox", "radio"):
            assert "solid 3px" in outline or "3px solid" in outline, (name, kind, outline)
            seen.add(kind)
        if name == "peek":
            assert top > below  # not under the clip
            seen.add(name)
    assert seen == {"range", "checkbox", "radio", "peek"}


def test_the_page_stands_still_between_its_tabs(apart):
    edge = "return document.querySelector('h1').getBoundingClientRect().left"
    lefts = set()
    for name in ("Photo", "Video", "Motion field"):
        tab(apart, name)
        time.sleep(0.3)
        lefts.add(apart.execute_script(edge))
    assert len(lefts) == 1


def test_a_bad_upload_gives_a_toast(apart, tmp_path):
    page = apart
    spoilt(page)
    find(page, "#photo button[aria-label='Remove Image']")[0].click()
    wait_for(lambda: find(page, "#photo input[type=file]"))
    bad = tmp_path / "letter.jpg"
    bad.write_text("Dear photo,")
    upload(page, bad)
    wait_for(lambda: any("is not an image" in text for text in toasts(page)))
    wait_for(lambda: is_empty(page))  # nothing of the photo before is left
    wait_for(lambda: find(page, "#photo input[type=file]"))
    assert not find(page, "#photo img")  # nor a broken one


def test_it_fits_a_phone(page, half):
    on_phone(page)
    try:
        upload(page, half)
        settled(page)
        assert page.execute_script("return document.documentElement.scrollWidth") <= 360
        # The clip has come into sight by itself, and no tab hides in a menu.
        top = "return document.querySelector('#clip').getBoundingClientRect().top"
        wait_for(lambda: -5 < page.execute_script(top) < 100)
        for name in ("Edit motion", "Compare", "Details", "Download"):
            tab(page, name)
        for width in (800, 360):
            on_phone(page, width)
            assert not [part for part in find(page, ".overflow-menu button") if part.is_displayed()]
        tab(page, "Edit motion")
        labels = wait_for(lambda: find(page, "#pad label"))
        wait_for(lambda: labels[0].is_displayed())
        assert all(min(label.size.values()) >= 24 for label in labels)
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_everybody_can_use_it(page, address, half, tmp_path):
    found = importlib.util.find_spec("axe_core_python")
    if found is None:
        pytest.skip("axe-core-python, which judges accessibility, is not installed")
    page.execute_script((Path(found.origin).parent / "axe.min.js").read_text("utf-8"))
    page.execute_script(  # colours change at once
        "document.head.append(Object.assign(document.createElement('style'),"
        " { textContent: '* { transition: none !important }' }))"
    )

    def problems():
        """In light colours and in dark ones."""
        return [
            f"{problem['id']}: {node['html'][:200]}"
            for dark in (True, False)
            for problem in page.execute_async_script(
                "const [dark, done] = arguments; document.body.classList.toggle('dark', dark);"
                "axe.run(document).then((found) => done(found.violations))",
                dark,
            )
            if problem["impact"] in ("serious", "critical")
            for node in problem["nodes"]
        ]

    assert not problems()
    upload(page, half)
    settled(page)
    tab(page, "Compare")
    wait_for(lambda: len(find(page, "#compare img")) == 2)
    alts = [picture.get_attribute("alt") for picture in find(page, "#photo img, #compare img")]
    assert alts == ["Your blurred photo", "Your blurred photo", "The sharp frame"]
    for name in ("Details", "Download", "Edit motion", "Video", "Motion field"):
        tab(page, name)
        if name == "Details":
            alts = [picture.get_attribute("alt") for picture in find(page, "#why img")]
            assert len(set(alts)) == 6 and all(alts)
        if name == "Video":
            animate_video(page, film(tmp_path / "film.mp4", (96, 64), 3))
            wait_for(lambda: find(page, "#slow video[aria-label^='The sharp video']"))
        if name == "Download":  # links to files have a colour of their own
            wait_for(lambda: find(page, "#kinds button"))[0].click()
            wait_for(lambda: find(page, "#file a"))
        if name == "Edit motion":
            press(page, "#reverse")
            wait_for(lambda: find(page, "#undo")[0].is_enabled())
        if name == "Motion field":
            wait_for(lambda: find(page, "#given img"))
            find(page, "#find")[0].click()
            wait_for(lambda: find(page, "#numbers a"))
        time.sleep(0.2)
        assert not problems(), name
    assert page.execute_script("return document.documentElement.lang")
    # And nobody else hears of it.
    asked = page.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    others = [name for name in asked if not name.startswith((address, "data:", "blob:"))]
    assert asked and not others
