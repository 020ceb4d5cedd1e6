"""The page that runs in the browser alone: the network it takes along, and a real browser in it."""

import base64
import contextlib
import functools
import http.server
import importlib.util
import io
import itertools
import json
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from chromium import chromium, on_phone, wait_for
from made_pictures import file_of, png_claiming
from PIL import Image

from b2m.api import BlurAnimator
from b2m.errors import InputError
from b2m.guidance import reverse
from b2m.hub_client import plan
from b2m.inference.assessment import Assessment
from b2m.models import MotionAnimator

ROOT = Path(__file__).parents[1]
WEB, EXAMPLES = ROOT / "demo" / "web", ROOT / "examples"
APART = EXAMPLES / "moving-apart.jpg"
TIMES = (-1.0, -0.5, 0.0, 0.3, 1.0)
FRAMES = 15  # of which the page takes the mean


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("web_build", WEB / "build.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["web_build"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(build, tmp_path_factory):
    """The page, whole, in a folder of its own."""
    folder = tmp_path_factory.mktemp("site")
    try:
        build.fetch_runtime()
    except InputError as error:
        pytest.skip(str(error))
    build.build(folder)
    return folder


@pytest.fixture(scope="module")
def animator():
    return BlurAnimator.from_pretrained(device="cpu")


# --- the network that is taken along -------------------------------------------------------------


@pytest.mark.parametrize("said", [False, True])
def test_the_export_computes_what_pytorch_does(site, said):
    runtime = pytest.importorskip(
        "onnxruntime", reason="onnxruntime, which runs the export, is not installed"
    )
    described = json.loads((site / "assets" / "model.json").read_text())
    features, decode = (
        runtime.InferenceSession(site / "assets" / f"{part}.onnx")
        for part in ("features", "decode")
    )
    model = MotionAnimator.from_pretrained(device="cpu")
    stride = described["stride"]
    for height, width in ((2, 3), (7, 4)):
        photo = torch.rand(1, 3, stride * height, stride * width)
        guidance = torch.sign(torch.randn(1, 2, *photo.shape[-2:]))
        guidance = guidance * (torch.rand(1, 1, *photo.shape[-2:]) > 0.3)
        with torch.inference_mode():
            encoding = model.encode(photo, guidance if said else None)
        names = [output.name for output in features.get_outputs()]
        kept = dict(zip(names, features.run(None, {"photo": photo.numpy()}), strict=True))
        given = {"guidance": guidance.numpy(), "given": np.float32([said])}
        found = decode.run(None, {"photo": photo.numpy(), **kept, **given})
        assert list(encoding._fields) == [output.name for output in decode.get_outputs()]
        for name, got in zip(encoding._fields, found, strict=True):
            wanted = getattr(encoding, name)
            assert got.shape == wanted.shape and described["maps"][name] == got.shape[1]
            assert np.abs(got - wanted.numpy()).max() <= 1e-3 * max(1, wanted.abs().max()), name


def test_the_runtime_is_pinned(build, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = tmp_path / "package.tgz"  # in which every file is another
    with contextlib.closing(build.tarfile.open(path, "w:gz")) as package:
        for name in build.FILES:
            package.addfile(build.tarfile.TarInfo(f"package/dist/{name}"))
    monkeypatch.setattr(build, "_package", lambda folder: path)
    with pytest.raises(InputError, match=r"is not the file that was pinned"):
        build.fetch_runtime()


def test_it_is_a_static_space(site):
    upload = plan(site, "user/space", space=True)
    assert upload.sdk == "static" and {"index.html", "assets/decode.onnx"} <= upload.files.keys()
    kept = json.loads(upload.files["assets/files.js"].read_text().split("=", 1)[1].rstrip(";\n"))
    assert set(kept["files"]) - {"./"} <= upload.files.keys()
    card = yaml.safe_load((site / "README.md").read_text("utf-8").split("---")[1])
    assert card["license"] == "mit" and len(card["short_description"]) <= 60
    assert card["custom_headers"] == {
        "cross-origin-embedder-policy": "require-corp",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "cross-origin",
    }


# --- in the browser ------------------------------------------------------------------------------


class Handler(http.server.SimpleHTTPRequestHandler):
    isolated = False

    def end_headers(self):
        if self.isolated:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serve(folder, isolated):
    handler = type("Own", (Handler,), {"isolated": isolated})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=folder)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def address(site):
    with serve(site, isolated=True) as address:
        yield address


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("log") / "network.json"


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


def zipped(downloads):
    """The frames of a saved ZIP."""
    with zipfile.ZipFile(io.BytesIO(saved(downloads, ".zip"))) as archive:
        assert archive.testzip() is None
        return [Image.open(io.BytesIO(archive.read(name))) for name in archive.namelist()]


@pytest.fixture(scope="module")
def browser(tmp_path_factory, downloads, log):
    given = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")  # no graphics processor
    given += ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    given += ("--window-size=1280,1100", f"--log-net-log={log}")
    folder = tmp_path_factory.mktemp("chromium")
    with chromium(folder, *given, downloads=downloads) as browser:
        browser.set_script_timeout(120)
        yield browser


@pytest.fixture
def page(browser, address):
    if not browser.current_url.startswith(address):
        visit(browser, address)
    return browser


def visit(browser, address):
    browser.get(address)
    wait_for(lambda: "Ready" in status(browser))


def element(page, selector):
    return page.find_element("css selector", selector)


def status(page):
    return element(page, "#status").text


def settled(page, words="Drag over"):
    wait_for(lambda: words in status(page))
    return status(page)


def awaited(page, script, *arguments):
    """The value of an asynchronous expression in the page; arrays of numbers come as bytes."""
    return page.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "const packed = (a) => { let text = '';"
        " const bytes = new Uint8Array(a.buffer, a.byteOffset, a.byteLength);"
        " for (let i = 0; i < bytes.length; i += 32768)"
        "  text += String.fromCharCode(...bytes.subarray(i, i + 32768)); return btoa(text); };"
        "const drawn = (time) => { const { renderer } = b2m, { gl } = renderer;"
        " const { width, height } = gl.canvas, out = new Uint8Array(4 * width * height);"
        " if (time !== null) renderer.draw(time);"
        " gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, out);"
        " return packed(out); };"
        f"(async (given) => {{ {script} }})(arguments[0])"
        ".then(done, (error) => done(String(error)))",
        *arguments,
    )


def show(page, photo, words="Drag over"):
    """Have the page look at a photo, as pixels or as a path."""
    given = isinstance(photo, np.ndarray)
    data = file_of(Image.fromarray(photo)) if given else Path(photo).read_bytes()
    awaited(
        page,
        "const bytes = Uint8Array.from(atob(given), (c) => c.charCodeAt(0));"
        "await b2m.show(new Blob([bytes]), 'photo.png'); b2m.at(0);",
        base64.b64encode(data).decode(),
    )
    return settled(page, words)


def frame(page, moment=None):
    """What the page draws of a moment; of none, what it shows."""
    width, height = page.execute_script(
        "const { canvas } = b2m.renderer.gl; return [canvas.width, canvas.height]"
    )
    data = base64.b64decode(awaited(page, "return drawn(given);", moment))
    return np.frombuffer(data, np.uint8).reshape(height, width, 4)[::-1, :, :3].astype(int)


def scene(page):
    """Flow (h, w, 2), regions (h, w) with what is still in them, and the rest."""
    found = awaited(
        page,
        "const { flow, labels, ...rest } = b2m.scene;"
        "return { ...rest, flow: packed(flow), labels: packed(labels) };",
    )
    size = found["height"], found["width"]
    flow = np.frombuffer(base64.b64decode(found["flow"]), np.float32).reshape(2, *size)
    labels = np.frombuffer(base64.b64decode(found["labels"]), np.uint8).reshape(size)
    return found | {"flow": flow.transpose(1, 2, 0), "labels": labels}


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def small_apart():
    """Two things that go apart, 320x213, which the browser sees in a quarter of the time."""
    small = Image.fromarray(pixels(APART)).resize((320, 213), Image.Resampling.LANCZOS)
    return np.asarray(small)


def smeared(length):
    """A photo with a long blur, so that it is seen in smaller sizes only."""
    photo = pixels(EXAMPLES / "coffee-pan.jpg").astype(np.float64)[:240, :360]
    wide = np.pad(photo, ((0, 0), (length // 2, length // 2), (0, 0)), mode="reflect")
    total = np.cumsum(wide, axis=1)
    return np.rint((total[:, length:] - total[:, :-length]) / length).astype(np.uint8)


def alike(labels, regions):
    """Share of the moving pixels in the same region; regions of like size may swap numbers."""
    moving = regions > 0
    pairs = np.stack([regions[moving], labels[moving]]).astype(np.intp)
    joint = np.zeros((256, 256))
    np.add.at(joint, tuple(pairs), 1)
    return min(joint.max(axis=axis).sum() for axis in (0, 1)) / max(1, moving.sum())


@pytest.fixture(autouse=True)
def single_precision(monkeypatch):
    """As the browser computes; Python takes bfloat16 on some CPUs."""
    monkeypatch.setenv("B2M_BFLOAT16", "0")


@pytest.mark.parametrize("name", ["things apart", "camera", "long blur"])
def test_maps_signs_regions_and_instants_are_those_of_b2m(page, animator, name):
    photo = {
        "things apart": small_apart,
        "camera": lambda: pixels(EXAMPLES / "cat-roll.jpg"),
        "long blur": lambda: smeared(64),
    }[name]()
    show(page, photo)
    clip = animator.animate(animator.prepare(photo), frames=FRAMES)[0]
    found, flow = scene(page), clip.flow
    length = np.hypot(*flow.transpose(2, 0, 1))
    if name == "long blur":
        assert np.median(length) > 25
    # But for single pixels, as a mask has a threshold.
    assert np.mean(np.abs(found["flow"] - flow).max(axis=-1) < 0.02) > 0.9999
    assert alike(found["labels"], clip.regions) > 0.99
    for moment in TIMES:
        assert np.abs(frame(page, moment) - clip.at(moment)).max() <= 1
    assert found["warnings"] == clip.warnings
    assert told(page) == clip.summary


def told(page):
    """What the page says of a clip: the assessment in one paragraph, then the warnings."""
    sentences = scene(page)["sentences"]
    assert element(page, "#summary").text == " ".join(sentences)
    return sentences + [item.text for item in page.find_elements("css selector", "#warnings li")]


def test_it_has_the_sentences_of_b2m(page):
    """Whatever is to be said, in the same words."""
    given = [
        Assessment(*values)
        for values in itertools.product(
            (False, True),
            (0.004, 0.0349, 0.5, 0.97),
            (3.5, 127.4),
            (0.9, 1.32, 4.56),
            (0.0, 0.4),
            (None, 0.6, 0.8, 0.95),
        )
    ] + [Assessment(True, 0.0, 0.0, 1.0, 0.0, None)]
    found = awaited(
        page,
        "const { sentencesOf } = await import('./assessment.js'); return given.map(sentencesOf);",
        [said._asdict() for said in given],
    )
    assert found == [list(said.sentences) for said in given]


def lights():
    photo = np.full((180, 240, 3), 30, np.uint8)
    for k in range(8):
        photo[20 * k + 10 : 20 * k + 14, 20 + 20 * k : 60 + 20 * k] = 255
    return photo


def board():
    rows, columns = np.indices((200, 300)) // 25
    light = ((rows * 37 + columns * 101 + rows * columns * 13) % 200 + 30).astype(np.uint8)
    return np.stack([light, np.roll(light, 40), light[::-1]], axis=-1)


@pytest.mark.parametrize("photo", [lights, board])
def test_it_warns_of_what_b2m_warns_of(page, animator, photo):
    photo = photo()
    clip = animator.animate(photo)[0]
    assert clip.warnings
    show(page, photo, "")
    assert scene(page)["warnings"] == clip.warnings and told(page) == clip.summary
    tools = [tool.is_displayed() for tool in page.find_elements("css selector", ".directing")]
    assert tools and not any(tools) if clip.assessment.sharp else all(tools)
    if "the clip is still" in clip.warnings[0]:
        assert np.abs(frame(page, 1) - photo).max() <= 1


def follows(page, clip):
    """Whether the page shows what b2m makes of the same guidance, both ends and a time between.

    But for rims: there a mask has a threshold, and b2m keeps features in half precision.
    """
    for moment in (-1, 0.3, 1):
        apart = np.abs(frame(page, moment) - clip.at(moment))
        assert np.mean(apart <= 1) > 0.998 and apart.mean() < 0.05
    return True


def test_a_tap_reverses_one_thing_and_an_arrow_directs_it(page, animator):
    from selenium.webdriver import ActionChains

    photo = small_apart()
    show(page, photo)
    before, backwards, found = frame(page, 1), frame(page, -1), scene(page)
    prepared = animator.prepare(photo)
    first = animator.animate(prepared, frames=FRAMES)[0]
    x, y = 230, 147
    inside = found["labels"] == found["labels"][y, x]
    canvas = element(page, "#clip")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    scale = canvas.size["width"] / 320

    def pointed():
        start = ActionChains(page, duration=20)
        return start.move_to_element_with_offset(
            canvas, round((x - 160) * scale), round((y - 106.5) * scale)
        )

    # At once what was there is turned round; then the network follows.
    page.execute_script(
        "b2m.reverse([arguments[0] / 320, arguments[1] / 213]); b2m.renderer.draw(1)", x, y
    )
    turned = frame(page, 1)
    assert np.abs(turned - backwards)[inside].max() <= 1
    assert np.abs(turned - before)[~inside].max() <= 1
    assert np.abs(turned - before)[inside].mean() > 2
    settled(page, "Reversed")
    turned = animator.animate(prepared, frames=FRAMES, guidance=reverse(first, inside))[0]
    assert follows(page, turned) and told(page) == turned.summary
    labels = scene(page)["labels"]
    pointed().click().perform()
    settled(page, "Reversed")
    again = animator.animate(
        prepared, frames=FRAMES, guidance=reverse(turned, labels == labels[y, x])
    )
    assert follows(page, again[0])

    # Drawn against the motion as it now is, then along it.
    for radio in page.find_elements("css selector", "input[name=drag]"):
        if radio.get_attribute("value") == "arrow":
            radio.click()
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    way = scene(page)["flow"][y, x]
    u, v = way / np.hypot(*way) * 20 * scale
    for sign in (-1, 1):
        drag = pointed().click_and_hold()
        for _ in range(3):
            drag.move_by_offset(round(sign * u / 3), round(sign * v / 3))
        drag.release().perform()
        settled(page, "follows the arrow")
        assert sign * (scene(page)["flow"][y, x] @ way) > 0
    page.execute_script("document.querySelector('input[value=time]').click()")
    element(page, "#again").click()
    settled(page, "Directions are reset")
    time.sleep(0.5)  # what was drawn over is lit up for a moment
    assert np.abs(frame(page, 1) - before).max() <= 1


def test_dragging_scrubs_and_holding_shows_the_photo(page):
    from selenium.webdriver import ActionChains

    show(page, EXAMPLES / "cat-roll.jpg")
    canvas = element(page, "#clip")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    ActionChains(page).drag_and_drop_by_offset(canvas, round(canvas.size["width"] / 4), 0).perform()
    assert 0.3 < float(element(page, "#time").get_attribute("value")) < 0.8
    ActionChains(page).click_and_hold(canvas).pause(0.6).perform()
    assert element(page, "#compare").get_attribute("aria-pressed") == "true"
    held = frame(page)
    ActionChains(page).release().perform()
    photo = pixels(EXAMPLES / "cat-roll.jpg")
    assert np.abs(held - photo).max() <= 3  # JPEG decoders differ a little
    assert element(page, "#compare").get_attribute("aria-pressed") == "false"


def test_it_answers_to_keys(page):
    from selenium.webdriver import Keys

    show(page, small_apart())
    first, flow = frame(page, 1), scene(page)["flow"]
    slider = element(page, "#time")
    slider.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert float(slider.get_attribute("value")) == pytest.approx(0.02, abs=1e-6)
    canvas = element(page, "#clip")
    canvas.send_keys(*[Keys.ARROW_RIGHT] * 7, *[Keys.ARROW_DOWN] * 6, Keys.ENTER)
    settled(page, "Reversed")
    place = int(0.68 * 213), int(0.71 * 320)
    after = scene(page)["flow"][place]
    assert after @ flow[place] < -0.5 * np.hypot(*after) * np.hypot(*flow[place]) < 0
    element(page, "#again").send_keys(Keys.ENTER)
    settled(page, "Directions are reset")
    time.sleep(0.5)
    assert np.abs(frame(page, 1) - first).max() <= 1
    for way, axis, sign in (("1,0", 0, 1), ("-1,0", 0, -1)):
        element(page, f"[data-way='{way}']").send_keys(Keys.ENTER)
        settled(page, f"All motion is directed {'right' if sign > 0 else 'left'}")
        found = scene(page)
        for label in np.unique(found["labels"]):
            inside = (found["labels"] == label) & (
                np.hypot(*found["flow"].transpose(2, 0, 1)) >= found["threshold"]
            )
            assert found["flow"][inside][:, axis].sum() * sign >= -1e-3


def came(page, facts):
    wait_for(lambda: element(page, "#facts").text.startswith(facts))


def test_photos_come_by_file_paste_drop_and_camera(page, tmp_path):
    Image.fromarray(small_apart()[:96, :128]).save(tmp_path / "given.png")
    element(page, "#file").send_keys(str(tmp_path / "given.png"))
    came(page, "given.png, 128×96")
    for event, name in (
        ("new ClipboardEvent('paste', { clipboardData: data })", "pasted.png"),
        ("new DragEvent('drop', { dataTransfer: data })", "dropped.png"),
    ):
        awaited(
            page,
            "const bytes = Uint8Array.from(atob(given[0]), (c) => c.charCodeAt(0));"
            "const data = new DataTransfer();"
            f"data.items.add(new File([bytes], given[1], {{ type: 'image/png' }}));"
            f"dispatchEvent({event});",
            [base64.b64encode((tmp_path / "given.png").read_bytes()).decode(), name],
        )
        came(page, f"{name}, 128×96")
    element(page, "#camera").click()
    wait_for(lambda: element(page, "#shoot").is_displayed())
    element(page, "#shoot").click()
    came(page, "photo.png, ")


def test_orientation_and_animations(page, tmp_path):
    turned = Image.fromarray(small_apart()).resize((120, 80))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    turned.save(tmp_path / "turned.jpg", exif=exif)
    element(page, "#file").send_keys(str(tmp_path / "turned.jpg"))
    came(page, "turned.jpg, 80×120")
    turned.save(tmp_path / "two.gif", save_all=True, append_images=[turned.rotate(20)])
    element(page, "#file").send_keys(str(tmp_path / "two.gif"))
    came(page, "two.gif")
    assert "two.gif holds 2 frames: the first was taken" in element(page, "#warnings").text


def test_bad_files_get_one_sentence(page, tmp_path):
    bad = {
        "letter.jpg": (b"Dear photo,", "letter.jpg is not an image that can be read"),
        "empty.png": (b"", "empty.png is empty (0 bytes)"),
        "film.mp4": (b"\0\0\0\x18ftypisom" + bytes(64), "film.mp4 is a video, not a photo"),
        "phone.heic": (b"\0\0\0\x18ftypheic" + bytes(64), "phone.heic is a HEIC photo"),
    }
    small, huge = file_of(Image.new("RGB", (12, 40))), png_claiming(60000, 60000)
    bad["small.png"] = (small, "small.png is 12x40 pixels: at least 16x16")
    bad["huge.png"] = (huge, "huge.png claims 60000x60000 pixels: at most 200 million")
    for name, (content, sentence) in bad.items():
        (tmp_path / name).write_bytes(content)
        element(page, "#file").send_keys(str(tmp_path / name))
        wait_for(lambda sentence=sentence: sentence in status(page), 20)


def saved(downloads, ending):
    def done():
        found = [path for path in downloads.iterdir() if path.name.endswith(ending)]
        return found and found[0].stat().st_size and found[0]

    path = wait_for(done)
    data = path.read_bytes()
    path.unlink()
    return data


def test_what_is_saved_can_be_read(page, downloads):
    import av

    photo = pixels(EXAMPLES / "cat-roll.jpg")[60:190, 100:261]
    height, width = photo.shape[:2]
    show(page, photo, "")
    wanted = [frame(page, 2 * k / 14 - 1) for k in range(FRAMES)]

    element(page, "[data-save=png]").click()
    settled(page, "Saved photo.zip")
    for image, picture in zip(zipped(downloads), wanted, strict=True):
        assert np.array_equal(np.asarray(image.convert("RGB")), picture)

    element(page, "[data-save=mp4]").click()
    settled(page, "Saved photo.mp4")
    with av.open(io.BytesIO(saved(downloads, ".mp4"))) as video:
        frames = [f.to_ndarray(format="gray") for f in video.decode(video=0)]
        stream = video.streams.video[0]
        assert stream.average_rate == FRAMES
    assert (len(frames), *frames[0].shape) == (2 * FRAMES - 2, height // 2 * 2, width // 2 * 2)
    for k in (0, 7, 14):
        grey = wanted[k][: height // 2 * 2, : width // 2 * 2] @ [0.2126, 0.7152, 0.0722]
        assert np.abs(grey - frames[k]).mean() < 8  # of limited range, where that was not undone

    element(page, "[data-save=gif]").click()
    settled(page, "Saved photo.gif")
    with Image.open(io.BytesIO(saved(downloads, ".gif"))) as image:
        assert image.size == (width, height) and image.n_frames == 2 * FRAMES - 2
        image.seek(7)
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - wanted[7]).mean() < 6
    # And what is seen is as before.
    assert np.abs(frame(page, 1) - wanted[14]).max() == 0


def test_larger_photos_are_looked_at_smaller_and_saved_whole(page, downloads):
    photo = np.asarray(Image.fromarray(pixels(APART)).resize((960, 639), Image.Resampling.BICUBIC))
    photo = np.random.default_rng(0).integers(-20, 20, photo.shape) + photo  # detail of its own
    show(page, photo.clip(0, 255).astype(np.uint8))
    found = scene(page)
    assert found["width"] * found["height"] <= 2**19
    facts = element(page, "#facts").text
    assert "960×639" in facts and f"Motion estimated at {found['width']}×{found['height']}" in facts
    page.execute_script("document.querySelector('#frames').value = '7'")
    element(page, "[data-save=png]").click()
    settled(page, "7 frames of 960×639")
    assert {image.size for image in zipped(downloads)} == {(960, 639)}
    page.execute_script("document.querySelector('#frames').value = '15'")


def renderers(browser):
    """Processes of a browser that hold a page."""
    children, found = {}, [browser.service.process.pid]
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    for process in found:
        found.extend(children.get(process, []))
    kept = set()
    for process in found:
        with contextlib.suppress(OSError):
            if b"--type=renderer" in Path(f"/proc/{process}/cmdline").read_bytes():
                kept.add(process)
    return kept


def test_memory(page, address):
    """At 640x360, the largest that a process of the page was, with what it shares with others."""
    before = renderers(page)
    visit(page, address.replace("127.0.0.1", "localhost"))  # another site has another process
    show(page, pixels(APART)[:360])
    new = [Path(f"/proc/{process}/status").read_text() for process in renderers(page) - before]
    assert new
    assert max(int(text.split("VmHWM:")[1].split()[0]) for text in new) / 1024 < 600


def test_threads_need_isolation_and_one_is_enough(page, browser, site):
    isolated, threads = page.execute_script(
        "return [crossOriginIsolated, Math.min(4, navigator.hardwareConcurrency)]"
    )
    assert isolated
    photo = small_apart()
    show(page, photo)
    assert f"{threads} thread" in element(page, "#facts").text
    with serve(site, isolated=False) as plain:
        visit(browser, plain)
        assert not browser.execute_script("return crossOriginIsolated")
        show(browser, photo)
        assert "1 thread;" in element(browser, "#facts").text
        # From the second visit on the service worker isolates it.
        awaited(browser, "await navigator.serviceWorker.ready;")
        wait_for(lambda: browser.execute_script("return !!navigator.serviceWorker.controller"))
        visit(browser, f"{plain}/index.html")
        assert browser.execute_script("return crossOriginIsolated")
    # The server is gone.
    visit(browser, f"{plain}/")
    element(browser, "#examples button:has(img[alt='Example: cat roll'])").click()
    settled(browser)
    assert "cat-roll.jpg" in element(browser, "#facts").text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_can_be_read(page, scheme):
    axe = pytest.importorskip(
        "axe_core_python", reason="axe-core-python, which judges accessibility, is not installed"
    )
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    on_phone(page)
    try:
        show(page, EXAMPLES / "cat-roll.jpg")
        element(page, "#motion").click()
        element(page, "#motion").click()
        assert page.execute_script("return document.documentElement.scrollWidth") <= 360
        page.execute_script((Path(axe.__file__).parent / "axe.min.js").read_text("utf-8"))
        found = page.execute_async_script(
            "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']})"
            ".then(arguments[arguments.length - 1])"
        )
        assert not [(problem["id"], problem["nodes"][0]["html"]) for problem in found["violations"]]
        small = page.execute_script(
            "return [...document.querySelectorAll('button, .button, select')]"
            ".filter((e) => e.offsetParent && e.offsetHeight < 44).map((e) => e.outerHTML)"
        )
        assert not small
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_nothing_leaves_the_page(page, browser, address, log):
    """Comes last: of all that any page here has asked for, nothing was from elsewhere."""
    assert "connect-src 'self'" in (WEB / "index.html").read_text("utf-8")
    refused = awaited(
        page,
        "return fetch('http://localhost:9/').then(() => 'sent', (e) => String(e)).then((end) =>"
        " new Promise((resolve) => setTimeout(() => resolve(end), 100)));",
    )
    assert "Failed to fetch" in refused
    browser.quit()
    network = json.loads(log.read_text())
    begun = network["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    asked = [
        event["params"]["url"]
        for event in network["events"]
        if event["type"] == begun and "127.0.0.1" in event.get("params", {}).get("initiator", "")
    ]
    assert any(url.startswith(address) for url in asked)
    assert not [url for url in asked if not url.startswith("http://127.0.0.1:")]
