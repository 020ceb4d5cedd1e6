"""The research view: each control, by Streamlit's own driver."""

from pathlib import Path

import numpy as np
import pytest
from chromium import chromium, find, on_phone, wait_for
from demo_server import serve
from made_pictures import file_of
from PIL import Image

st = pytest.importorskip(
    "streamlit", reason="streamlit, which serves the research view, is not installed"
)
from streamlit.testing.v1 import AppTest  # noqa: E402

from b2m import api  # noqa: E402
from b2m.inference import preview as previews  # noqa: E402
from b2m.media.video import read_video  # noqa: E402
from b2m.motion.io import read_flow  # noqa: E402

APP = Path(__file__).parents[1] / "demo" / "streamlit" / "app.py"


def start():
    app = AppTest.from_file(str(APP), default_timeout=120).run()
    assert not app.exception
    return app


def numbers(app):
    """The tables, one of each model, as a list of options."""
    return [row for shown in app.table for row in shown.value.to_dict().values()]


def choose(app, example="cat-roll"):
    app.selectbox(key="example").select(example).run()
    assert not app.exception
    return app


def test_an_example_and_its_controls():
    app = choose(start())
    rows = numbers(app)
    assert len(rows) == 2  # a camera's motion goes one way or the other
    assert float(rows[0]["Re-blur check of the motion alone, dB"]) > 30
    assert rows[0]["Re-blur check, dB"] == "exact"
    assert float(rows[0]["Fastest parts, px"]) > 5
    app.slider(key="motions").set_value(1).run()
    assert len(numbers(app)) == 1
    app.radio(key="source").set_value("Reverse").run()
    assert not app.exception
    app.radio(key="source").set_value("Samples of the guidance predictor").run()
    assert not app.exception and len(numbers(app)) == 1
    assert "animator (bundled). Computed on CPU" in app.caption[0].value
    app.slider(key="motions").set_value(2).run()
    app.selectbox(key="motion-left").select(2).run()
    assert not app.exception
    assert {button.label for button in app.get("download_button")} == {
        "MP4", "GIF", "Motion Photo", "Motion field (.flo)", "Contact sheet"
    }  # fmt: skip


def test_each_side_shows_the_motion_and_the_frame_that_are_chosen(monkeypatch):
    images = []
    monkeypatch.setattr(st, "image", lambda picture, caption: images.append((caption, picture)))
    app = choose(start())

    def changed_by(widget):
        """The parts of the page that look different afterwards; the left side is drawn first."""
        before = images.copy()
        images.clear()
        widget.run()
        assert len(images) == len(before) == 8
        sides = ["left"] * 4 + ["right"] * 4
        return {
            (side, caption.split(" =")[0])
            for side, (_, old), (caption, new) in zip(sides, before, images, strict=True)
            if not np.array_equal(old, new)
        }

    assert app.selectbox(key="motion-left").value == 1
    assert app.selectbox(key="motion-right").value == 2
    titles = [title.value for title in app.subheader]
    assert titles == ["animator: Most likely", "animator: Option 2"]
    assert changed_by(app.slider(key="frame").set_value(1)) == {("left", "t"), ("right", "t")}
    assert images[0][0] == "t = 0.00"
    found = changed_by(app.selectbox(key="motion-right").select(1))
    assert {side for side, _ in found} == {"right"}
    for (_, left), (_, right) in zip(images[:4], images[4:], strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.fixture
def offered(monkeypatch):
    """What makes the contents of each file that can be downloaded, by its name."""
    found = {}

    def button(label, data, file_name, **options):
        found[file_name] = data

    monkeypatch.setattr(st, "download_button", button)
    return found


def test_downloads_are_what_they_say(tmp_path, offered):
    choose(start())
    for name, data in offered.items():
        (tmp_path / name).write_bytes(data())
    example = Image.open(APP.parents[2] / "examples" / "cat-roll.jpg")
    one, other = (f"cat-roll-animator-{number}" for number in (1, 2))
    forth, back = (read_flow(tmp_path / f"{name}.flo") for name in (one, other))
    assert forth.shape == (example.height, example.width, 2)
    np.testing.assert_allclose(forth, -back, atol=1e-4)
    assert len(list(read_video(tmp_path / f"{one}.mp4"))) == 7
    assert Image.open(tmp_path / f"{one}.gif").n_frames == 7
    assert Image.open(tmp_path / f"{one}.MP.jpg").size == example.size
    assert b"ftyp" in (tmp_path / f"{one}.MP.jpg").read_bytes()
    assert min(Image.open(tmp_path / f"{one}.png").size) > 300


def test_what_is_shown_already_is_not_made_again(monkeypatch):
    made = []
    animate, deciding = api.BlurAnimator.animate, ["frames", "motions", "seed"]

    def counted(self, *args, **options):
        made.append([options[name] for name in deciding if name in options])
        return animate(self, *args, **options)

    monkeypatch.setattr(api.BlurAnimator, "animate", counted)
    app = choose(start())
    assert made == [[7, 3, 0]]  # one model on both sides
    (kept,) = app.session_state["results"].values()
    rows, pictures = kept[0].numbers, kept[0].pictures
    app.slider(key="frame").set_value(2).run()
    app.selectbox(key="motion-right").select(1).run()
    assert made == [[7, 3, 0]]
    (still,) = app.session_state["results"].values()
    assert still[0].numbers is rows and still[0].pictures is pictures
    app.number_input(key="seed").set_value(4).run()
    assert made[1:] == [[7, 3, 4]]
    app.slider(key="frames").set_value(9).run()
    assert made[2:] == [[9, 3, 4]] and app.slider(key="frame").max == 9
    choose(app, "portrait-shake")
    assert made[3:] == [[9, 3, 4]] and len(app.session_state["results"]) == 1
    app.radio(key="source").set_value("Everything in one direction").run()
    app.selectbox(key="direction").select("left").run()
    before = len(made)
    app.slider(key="frame").set_value(3).run()
    assert len(made) == before and not app.exception


def test_two_models_side_by_side(tmp_path, monkeypatch):
    import torch

    from b2m.models import BlurDecomposer, BlurDecomposerConfig

    torch.manual_seed(0)
    model = BlurDecomposer(BlurDecomposerConfig.compact())
    model.save_pretrained(tmp_path / "weights" / BlurDecomposer.weights_name)
    monkeypatch.setenv("B2M_WEIGHTS", str(tmp_path / "weights"))
    st.cache_data.clear()
    try:
        app = choose(start())
        app.slider(key="frames").set_value(5).run()
        app.selectbox(key="model-right").select("decomposer").run()
        assert not app.exception and not [error.value for error in app.error]
        headings = [text.value for text in app.markdown]
        assert headings.index("**animator**") < headings.index("**decomposer**")
        assert len(app.table) == 2
        titles = ["animator: Most likely", "decomposer: Most likely"]
        assert [title.value for title in app.subheader] == titles
        assert app.slider(key="frame").max == 7  # the decomposer has no other number
        titles = [warning.value.split(":")[0] for warning in app.warning]
        assert "decomposer" in titles  # which knows nothing, and says so of its own clip
        assert f"decomposer (folder {BlurDecomposer.weights_name})" in app.caption[0].value
        app.selectbox(key="model-left").select("decomposer").run()
        assert not app.exception
        assert len(app.table) == 1
        assert all(title.value.startswith("decomposer: ") for title in app.subheader)
    finally:
        st.cache_data.clear()
        st.cache_resource.clear()


def upload(app, key, name, content):
    """Hand over a file: bytes, or a picture as PNG."""
    content = content if isinstance(content, bytes) else file_of(content)
    app.file_uploader(key=key).upload(name, content, "image/png").run()
    assert not app.exception


def test_uploads_good_and_bad():
    app = start()
    photo = np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)
    upload(app, "photo", "mine.png", Image.fromarray(photo))
    assert len(app.table) == 1
    assert not [box for box in app.selectbox if box.label == "Option"]  # there is one alone
    assert any("This photo looks sharp" in text.value for text in app.markdown)
    upload(app, "photo", "letter.jpg", b"Dear photo,")
    assert app.error[0].value.startswith("letter.jpg is not an image")


def test_too_little_memory_is_told_in_plain_words(monkeypatch):
    def hungry(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: not enough memory")

    monkeypatch.setattr(api.BlurAnimator, "animate", hungry)
    app = choose(start())
    assert "not enough memory for this photo" in app.error[0].value


def test_guidance_from_a_picture():
    app = choose(start())
    app.radio(key="source").set_value("Guidance picture").run()
    assert "Upload a guidance picture" in app.info[0].value
    upload(app, "guidance", "red.png", Image.new("RGB", (20, 20), (255, 0, 0)))
    assert not app.error
    upload(app, "guidance", "grey.png", Image.new("RGB", (20, 20), (128, 128, 128)))
    # What is wrong with it is not said of the photo.
    assert app.error[0].value.startswith("grey.png has the colour")
    upload(app, "guidance", "letter.png", b"Dear,")
    assert app.error[0].value.startswith("letter.png is not an image")


def test_large_photos_are_shown_small_and_saved_in_full(tmp_path, monkeypatch, offered):
    monkeypatch.setattr(previews.preview, "__defaults__", (320 * 213,))
    st.cache_resource.clear()
    try:
        app = choose(start(), "moving-apart")
        assert "640 × 426 px, shown in 320 × 213; downloads are full size" in app.caption[0].value
        (kept,) = app.session_state["results"].values()
        assert {shown.clip.photo.shape for shown in kept} == {(213, 320, 3)}
        (tmp_path / "clip.MP.jpg").write_bytes(offered["moving-apart-animator-1.MP.jpg"]())
        assert len(kept) > 1
        (tmp_path / "last.flo").write_bytes(offered[f"moving-apart-animator-{len(kept)}.flo"]())
    finally:
        st.cache_resource.clear()
    assert Image.open(tmp_path / "clip.MP.jpg").size == (640, 426)
    flow, small = read_flow(tmp_path / "last.flo"), kept[-1].clip.flow
    assert flow.shape == (426, 640, 2)
    for y, x in ((215, 195), (295, 460)):
        assert np.sign(flow[y, x, 0]) == np.sign(small[y // 2, x // 2, 0])


def test_weights_that_cannot_be_had_are_told_and_not_kept_in_mind(tmp_path, monkeypatch):
    monkeypatch.setenv("B2M_WEIGHTS", str(tmp_path / "nowhere"))
    st.cache_data.clear()
    st.cache_resource.clear()
    app = start()
    assert "B2M_WEIGHTS" in app.error[0].value and "does not exist" in app.error[0].value
    monkeypatch.undo()
    app = start()
    assert not app.error
    assert app.selectbox(key="model-left").options[0] == "animator"


def test_it_fits_a_phone_in_a_browser(tmp_path):
    """The uploader lies in the page, photo and clip come, and nothing scrolls sideways."""
    arguments = ["-m", "streamlit", "run", APP, "--server.headless=true"]
    arguments += ["--server.address=127.0.0.1", "--browser.gatherUsageStats=false"]
    with (
        serve(*arguments, ready="_stcore/health") as server,
        chromium(tmp_path / "profile", "--disable-gpu") as browser,
    ):
        on_phone(browser)
        browser.get(server.address)
        place = wait_for(lambda: find(browser, "[data-testid=stMain] input[type=file]"), 300)[0]
        place.send_keys(str(APP.parents[2] / "examples" / "cat-roll.jpg"))
        media = "const all = [...document.querySelectorAll('[data-testid=stMain] video')];"
        media += "return all.length == 2 && all.every(v => v.autoplay && v.muted && !v.error)"
        wait_for(lambda: browser.execute_script(media), 300)
        playing = "const one = document.querySelector('[data-testid=stMain] video');"
        playing += "one.scrollIntoView(); return one.currentTime > 0 && !one.paused"
        wait_for(lambda: browser.execute_script(playing))
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
        for table in find(browser, "[data-testid=stTable]"):  # whole, without scrolling
            inner, outer = table.find_element("css selector", "table").rect, table.rect
            assert outer["x"] >= 0 and outer["x"] + outer["width"] <= 360
            assert inner["width"] <= outer["width"] + 1
        assert find(browser, "[data-testid=stTable] td")
        assert not find(browser, "[data-testid=stException]")
