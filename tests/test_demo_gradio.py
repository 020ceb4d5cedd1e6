"""The page: its edits, its files, and its endpoints for programs; test_demo_page.py opens it."""

import asyncio
import base64
import io
import json
import os
import struct
import sys
import time
import urllib.request
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

gradio = pytest.importorskip("gradio")
from demo_server import APP, serve  # noqa: E402
from gradio_client import Client, handle_file  # noqa: E402
from gradio_client.exceptions import AppError  # noqa: E402

from b2m import video  # noqa: E402

EXAMPLES = Path(__file__).parents[1] / "examples"
APART = EXAMPLES / "moving-apart.jpg"
LEFT, RIGHT = np.s_[190:240, 175:215], np.s_[270:320, 420:500]  # the two things in it
CLIENTS = 20


@pytest.fixture(scope="module")
def app():
    """The modules of the page."""
    sys.path.insert(0, str(APP.parent))
    import actions
    import clips

    yield clips, actions
    sys.path.remove(str(APP.parent))


# --- what edits do -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def directed(app):
    clips, _ = app
    prepared = clips.look(str(APART), "animator").prepared
    return lambda *edits: clips.directed(prepared, "animator", edits)


def across(clip, thing):
    return float(np.median(clip.flow[thing][..., 0]))


def test_a_tap_turns_one_thing_round(directed):
    before = directed()
    tap = {"kind": "tap", "point": (195.0, 215.0)}
    after = directed(tap)
    assert across(after, LEFT) == pytest.approx(-across(before, LEFT), rel=0.01)
    assert across(after, RIGHT) == pytest.approx(across(before, RIGHT), rel=0.01)
    np.testing.assert_array_equal(directed(tap, tap).frames, before.frames)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_stroke_says_which_way(directed, sign):
    points = [(195.0 - sign * 20, 215.0), (195.0 + sign * 20, 215.0)]
    assert sign * across(directed({"kind": "stroke", "points": points}), LEFT) > 3


def test_words_and_holding_still(directed):
    for where, sign in (("right", 1), ("left", -1)):
        clip = directed({"kind": "direction", "where": where})
        assert sign * across(clip, LEFT) > 3
        assert sign * across(clip, RIGHT) > 3
    turned = directed({"kind": "backwards"})
    assert across(turned, LEFT) == pytest.approx(-across(directed(), LEFT), rel=1e-4)
    held = directed({"kind": "hold", "point": (195.0, 215.0)})
    assert np.abs(held.flow[LEFT]).max() < 3
    assert abs(across(held, RIGHT)) > 3


def test_paint_says_it_for_what_it_covers(directed):
    def brush(color):
        return {"kind": "paint", "points": [(195, 195), (195, 235)], "radius": 20, "color": color}

    before, after = directed(), directed(brush("yellow"))
    inside, outside = np.s_[195:235, 190:200], np.s_[195:235, 240:]
    assert (after.guidance[inside] == (-1, 1)).all()
    np.testing.assert_array_equal(after.guidance[outside], before.guidance[outside])
    assert across(after, inside) < -3 < 3 < across(before, inside)
    assert (directed(brush("black")).guidance[inside] == 0).all()


def test_a_surprise_turns_whole_things_and_is_the_same_again(directed):
    before, seen = directed(), set()
    for seed in range(6):
        edit = {"kind": "surprise", "seed": seed}
        clip = directed(edit)
        assert across(clip, LEFT) == across(directed(edit), LEFT)
        ways = [across(clip, thing) / across(before, thing) for thing in (LEFT, RIGHT)]
        np.testing.assert_allclose(np.abs(ways), 1, rtol=0.01)
        seen.add(tuple(np.sign(ways)))
    assert len(seen) > 1


def test_why(app, directed):
    import pictures

    clip = directed()
    told = pictures.figures(clip)
    # The meter is for the mean of the frames before they were made to fit.
    error = clip.reblurred.astype(float) - clip.photo
    expected = 10 * np.log10(255**2 / (error**2).mean())
    assert told["meter"] == pytest.approx(expected, abs=0.01)
    assert f"to {expected:.0f} dB" == told["raw"]
    assert len(told["pictures"]) == 5 and all(part["text"] for part in told["pictures"])
    tiles = pictures.tiles([clip])["tiles"]
    with Image.open(io.BytesIO(base64.b64decode(tiles[0]["picture"].split(",")[1]))) as small:
        assert small.size == (240, 320) and small.n_frames == 7  # clip and guidance
    assert tiles[0]["alt"] and tiles[0]["caption"] == "most plausible"


def test_looks_and_clips_are_few(app, tmp_path):
    clips, _ = app
    for number in range(5):
        clips.clip_of(str(small_photo(tmp_path, number)), "animator", [])
    assert len(clips._looks) <= clips.KEPT_PHOTOS
    assert len(clips._clips) <= clips.KEPT_CLIPS


@pytest.fixture
def large(app, tmp_path, monkeypatch):
    """The example as a photo that is too large to be shown, and knows its exposure time."""
    monkeypatch.setattr(app[0], "SHOWN_PIXELS", 320 * 213)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x829A] = 0.1
    path = tmp_path / "large.jpg"
    with Image.open(APART) as opened:
        opened.save(path, exif=exif, quality=95)
    return str(path)


def test_what_is_told(app):
    clips, _ = app
    clip, seen = clips.clip_of(str(APART), "animator", []), clips.look(str(APART), "animator")
    said = clips.told(clip, "animator", seen)
    assert "average back to your photo" in said and "animator (bundled), on CPU" in said
    assert "640 × 426 px. " in said and "times slower" not in said


def test_what_is_told_of_a_large_photo(app, large):
    clips, _ = app
    clip, seen = clips.clip_of(large, "animator", []), clips.look(large, "animator")
    said = clips.told(clip, "animator", seen, speed=0.5)
    assert "Exposure 1/10 s: the clip plays 20 times slower" in said
    fastest = clip.fastest * 2
    assert f"moved {fastest:.0f} px" in said and f"{fastest * 10:.0f} px a second" in said
    assert "640 × 426 px, shown in 320 × 213; downloads can be full size" in said


def test_large_photos_are_shown_small_and_saved_in_full(app, large):
    clips, actions = app
    assert clips.look(large, "animator").scale == 2
    edits = [{"kind": "tap", "point": [97.5, 107.5]}]
    before = clips.full_clip_of(large, "animator", [], frames=3)
    full = clips.full_clip_of(large, "animator", edits, frames=3)
    assert full.photo.shape == (426, 640, 3)
    assert across(full, LEFT) == pytest.approx(-across(before, LEFT), rel=0.05)
    assert across(full, RIGHT) == pytest.approx(across(before, RIGHT), rel=0.05)
    for kind in ("Sharp photo, full size", "Motion Photo"):
        saved = actions.save(large, edits, 1, 3, 1.0, False, "animator", kind)
        with Image.open(saved) as photo:
            assert photo.size == (640, 426)


def test_models_at_hand(app, monkeypatch):
    clips, _ = app
    clips.models.cache_clear()
    assert clips.models()["animator"] == "bundled"
    assert clips.default_model() == "animator"
    assert clips.animator.cache_info().maxsize == 1  # one in memory


def test_files_to_take_home(app):
    _, actions = app
    found = {}
    for kind in actions.KINDS:
        path = Path(actions.save(str(APART), [], 1, 5, 1.0, True, "animator", kind))
        found[path.name] = path
    assert sorted(found) == [
        "moving-apart-frames.zip",
        "moving-apart-sharp.png",
        "moving-apart.MP.jpg",
        "moving-apart.gif",
        "moving-apart.mp4",
        "moving-apart.png",
        "moving-apart.webp",
    ]
    with zipfile.ZipFile(found["moving-apart-frames.zip"]) as frames:
        assert len([name for name in frames.namelist() if name.endswith(".png")]) == 5
    with Image.open(found["moving-apart.gif"]) as gif:
        assert gif.n_frames == 8  # five forwards, and back without the ends
    assert found["moving-apart.gif"].stat().st_size < 5e6
    with Image.open(found["moving-apart-sharp.png"]) as sharp:
        assert sharp.size == (640, 426)
    assert len(list(video.read_video(found["moving-apart.mp4"]))) == 8


def test_results_go_after_an_hour(app, monkeypatch, tmp_path):
    import results

    mine, alive, left = (tmp_path / f"b2m-demo-{name}" for name in ("mine", "alive", "left"))
    for place in (mine, alive, left):
        (place / "results").mkdir(parents=True)
    monkeypatch.setattr(results, "HOME", mine)
    monkeypatch.setattr(results, "RESULTS", mine / "results")
    old, new = results.folder(), results.folder()
    (old / "clip.mp4").write_text("x")
    assert old.stat().st_mode & 0o077 == 0
    for place in (mine, old, left):
        os.utime(place, times=(0, time.time() - 3700))
    results.sweep()
    assert not old.exists() and new.exists()
    assert mine.stat().st_mtime > time.time() - 60
    assert alive.exists() and not left.exists()  # that of another process, and of one long gone


def test_two_on_one_machine_have_a_folder_each_that_goes_with_them(tmp_path):
    places = []
    with serve(TMPDIR=str(tmp_path)) as one, serve(TMPDIR=str(tmp_path)) as other:
        for server in (one, other):
            places.append(post_file(server, EXAMPLES / "cat-roll.jpg"))
        homes = sorted(tmp_path.iterdir())
        assert len(homes) == 2 and all(home.stat().st_mode & 0o077 == 0 for home in homes)
        assert sorted(Path(place).relative_to(tmp_path).parts[0] for place in places) == [
            home.name for home in homes
        ]
    assert not [*tmp_path.iterdir()]


def test_errors_are_told_without_paths_of_the_machine(app, tmp_path):
    _, actions = app
    with pytest.raises(gradio.Error) as caught:
        actions.deblur(str(tmp_path / "gone.jpg"))
    assert "gone.jpg" in str(caught.value) and str(tmp_path) not in str(caught.value)

    @actions.in_plain_words
    def hungry():
        raise RuntimeError("DefaultCPUAllocator: not enough memory")

    with pytest.raises(gradio.Error, match="too large for this machine"):
        hungry()


# --- the page for programs -----------------------------------------------------------------------


@pytest.fixture
def server(page_server):
    return page_server


def small_photo(folder, number):
    """A photo whose size and colour are its own."""
    random = np.random.default_rng(number)
    color = random.integers(60, 200, 3)
    noise = random.integers(-40, 40, (72, 100 + 4 * number, 1)).cumsum(axis=1) % 80 - 40
    path = folder / f"photo-{number}.png"
    Image.fromarray((color + noise).clip(0, 255).astype(np.uint8)).save(path)
    return path


def test_endpoints(server):
    client, cat = Client(server.address, verbose=False), handle_file(EXAMPLES / "cat-roll.jpg")
    clip, known = client.predict(cat, frames=5, api_name="/animate")
    forwards = list(video.read_video(clip))
    assert len(forwards) == 5 and "average back" in known
    clip, _ = client.predict(cat, frames=5, motion=2, api_name="/animate")
    backwards = list(video.read_video(clip))  # a camera's motion goes one way or the other
    for first, last in zip(forwards, backwards[::-1], strict=True):
        assert np.abs(first.astype(float) - last).mean() < 2
    picture, numbers = client.predict(cat, api_name="/flow")
    assert Path(picture).read_bytes()[:4] == b"\x89PNG"
    assert Path(numbers).read_bytes()[:4] == b"PIEH"
    sharp = client.predict(cat, api_name="/deblur")
    assert Path(sharp).name == "cat-roll-sharp.png"
    with Image.open(client.predict(cat, api_name="/segment")) as mask:
        assert set(np.unique(mask)) <= {0, 255}


def test_endpoints_are_described(server):
    described = Client(server.address, verbose=False).view_api(return_format="dict")
    named = described["named_endpoints"]
    assert set(named) == {"/animate", "/flow", "/deblur", "/segment", "/video"}
    first, *others = named["/animate"]["parameters"]
    assert first["parameter_name"] == "photo" and not first["parameter_has_default"]
    assert all(parameter["parameter_has_default"] for parameter in others)


def test_tools(server):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def ask():
        async with (
            streamable_http_client(f"{server.address}/gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return (await session.list_tools()).tools

    tools = {tool.name: tool for tool in asyncio.run(ask())}
    assert set(tools) == {"animate", "flow", "deblur", "segment", "video"}
    assert "motion-blurred photo" in tools["animate"].description
    assert "photo" in tools["animate"].inputSchema["properties"]


def refused(server, photo, **options):
    with pytest.raises(AppError) as caught:
        Client(server.address, verbose=False).predict(photo, **options)
    return str(caught.value)


def test_bad_uploads_are_told_in_plain_words(server, tmp_path):
    bad = tmp_path / "letter.jpg"
    bad.write_text("Dear photo,")
    assert "letter.jpg is not an image" in refused(server, handle_file(bad), api_name="/animate")
    # 400 million pixels, of which nothing but the header is there.
    size = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", size), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        data += struct.pack(">I", len(body)) + kind + body + checksum
    huge = tmp_path / "huge.png"
    huge.write_bytes(data)
    assert "at most 200 million" in refused(server, handle_file(huge), api_name="/deblur")
    photo = handle_file(small_photo(tmp_path, 0))
    assert "choices" in refused(server, photo, model="x", api_name="/animate")
    assert "31" in refused(server, photo, frames=5000, api_name="/animate")
    # What failed failed alone.
    assert Client(server.address, verbose=False).predict(photo, api_name="/deblur")


def test_uploads_have_a_size(server):
    body = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    body += bytes(65 << 20) + b"\r\n--b--\r\n"
    request = urllib.request.Request(
        f"{server.address}/gradio_api/upload",
        body,
        {"Content-Type": "multipart/form-data; boundary=b"},
    )
    with pytest.raises((urllib.error.URLError, ConnectionError)) as caught:
        urllib.request.urlopen(request, timeout=60)
    assert getattr(caught.value, "code", 413) == 413


def test_no_path_of_the_server_is_reachable(server, tmp_path):
    secret = Path(__file__).resolve()
    code = f"{EXAMPLES}/make.py"
    for path in (secret, APP, "/etc/hostname", f"{EXAMPLES}/../pyproject.toml", code):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{server.address}/gradio_api/file={path}", timeout=30)
        assert caught.value.code in (403, 404)
    photo = small_photo(tmp_path, 1)
    link = tmp_path / "link.jpg"
    link.symlink_to(photo)
    meta = {"_type": "gradio.FileData"}
    for picture in (
        {"path": str(photo), "meta": meta},
        {"path": str(photo)},  # which Gradio's own check passes over
        {"path": str(link)},
        {"path": str(tmp_path / "none.jpg")},
        {"path": f"{EXAMPLES}/../pyproject.toml"},
        {"path": code},
    ):
        for endpoint in ("deblur", "animate", "flow", "segment", "video"):
            answer = post(server, f"/gradio_api/call/{endpoint}", {"data": [picture]})
            with urllib.request.urlopen(
                f"{server.address}/gradio_api/call/{endpoint}/{answer['event_id']}", timeout=60
            ) as stream:
                said = stream.read().decode()
            assert "event: error" in said
            assert "sharp.png" not in said and "is not an image" not in said
            assert "does not exist" not in said  # nor whether there is such a file


def post(server, where, data):
    request = urllib.request.Request(
        f"{server.address}{where}",
        json.dumps(data).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_twenty_at_once_get_their_own_answers_in_flat_memory(server, tmp_path):
    photos = [small_photo(tmp_path, number) for number in range(CLIENTS)]

    clients = [Client(server.address, verbose=False) for _ in photos]

    def ask(client, photo):
        with Image.open(client.predict(handle_file(photo), api_name="/deblur")) as sharp:
            return np.asarray(sharp)

    memory = []
    for _ in range(2):
        with ThreadPoolExecutor(CLIENTS) as pool:
            answers = list(pool.map(ask, clients, photos))
        for photo, answer in zip(photos, answers, strict=True):
            with Image.open(photo) as given:
                assert answer.shape == np.asarray(given).shape
                assert np.abs(np.asarray(given).astype(float) - answer).mean() < 12
        memory.append(server.memory())
    assert memory[1] < memory[0] + 64e6


def test_whoever_vanishes_during_a_video_frees_the_slot(server, tmp_path):
    random = np.random.default_rng(0)
    wall = np.kron(random.integers(0, 255, (16, 60, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
    path = tmp_path / "long.mp4"
    video.write_mp4(path, (wall[:, 2 * n : 2 * n + 320] for n in range(280)), 30)
    uploaded = post_file(server, path)
    data = [{"path": uploaded, "meta": {"_type": "gradio.FileData"}}, 1.0]
    event = {"data": data, "fn_index": named(server, "video"), "session_hash": "gone"}
    post(server, "/gradio_api/queue/join", event)
    stream = urllib.request.urlopen(
        f"{server.address}/gradio_api/queue/data?session_hash=gone", timeout=60
    )
    while b'"index":5,' not in (line := stream.readline()):  # so many frames were read
        assert line and b"process_completed" not in line, line
    assert [*server.temporary.rglob(".a-sharp.*.mp4")]
    stream.close()
    start = time.monotonic()
    client = Client(server.address, verbose=False)
    assert client.predict(handle_file(small_photo(tmp_path, 3)), api_name="/deblur")
    assert time.monotonic() - start < 10  # the film would have taken a minute
    assert not [*server.temporary.rglob("*a-sharp*")]


def test_a_client_that_vanishes_frees_its_slot(server, tmp_path):
    client = Client(server.address, verbose=False)
    photo = handle_file(APART)
    start = time.monotonic()
    client.predict(photo, frames=31, api_name="/animate")
    usual = time.monotonic() - start
    uploaded = post_file(server, EXAMPLES / "temple-shake.jpg")
    for _ in range(12):  # asked for, and never fetched
        data = [
            {"path": uploaded, "meta": {"_type": "gradio.FileData"}},
            31,
            1.0,
            False,
            1,
            "animator",
        ]
        event = {"data": data, "fn_index": named(server, "animate"), "session_hash": "gone"}
        post(server, "/gradio_api/queue/join", event)
    stream = urllib.request.urlopen(
        f"{server.address}/gradio_api/queue/data?session_hash=gone", timeout=60
    )
    stream.read(1)
    stream.close()
    start = time.monotonic()
    assert client.predict(handle_file(small_photo(tmp_path, 2)), api_name="/deblur")
    # One animation at the most is waited for, not all twelve.
    assert time.monotonic() - start < 2 * usual + 3


def named(server, name):
    with urllib.request.urlopen(f"{server.address}/config", timeout=60) as answer:
        config = json.load(answer)
    return next(d["id"] for d in config["dependencies"] if d["api_name"] == name)


def post_file(server, path):
    body = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    body += path.read_bytes() + b"\r\n--b--\r\n"
    request = urllib.request.Request(
        f"{server.address}/gradio_api/upload",
        body,
        {"Content-Type": "multipart/form-data; boundary=b"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)[0]
