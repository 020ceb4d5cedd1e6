"""The page for programs: endpoints, tools, many at once, those who leave, and what stays hidden."""

import asyncio
import base64
import json
import shutil
import textwrap
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from made_pictures import png_claiming
from PIL import Image

pytest.importorskip("gradio", reason="gradio, which serves the page, is not installed")
from demo_server import APP, serve, small_photo
from gradio_client import handle_file
from gradio_client.exceptions import AppError

from b2m.media import video

EXAMPLES = Path(__file__).parents[1] / "examples"
CLIENTS = 10
USUAL = {
    "animate": [7, 1.0, False, 1, "", "", None, None, None],
    "video": [1.0, ""],
}  # what follows a file


@pytest.fixture
def server(page_server):
    return page_server


def test_endpoints(server):
    client, cat = server.client(), handle_file(EXAMPLES / "cat-roll.jpg")
    clip, known = client.predict(cat, frames=5, api_name="/animate")
    forwards = list(video.read_video(clip))
    assert len(forwards) == 5 and "of the photo moved" in known
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


def test_an_empty_name_is_the_usual_model(server, tmp_path):
    photo = handle_file(small_photo(tmp_path, 0))
    client = server.client()
    _, known = client.predict(photo, model="", api_name="/animate")
    assert "Model: animator (bundled)" in known
    assert client.predict(handle_file(black(tmp_path)), model="", api_name="/video")


def black(folder):
    """A short video."""
    path = folder / "film.mp4"
    video.write_mp4(path, [np.zeros((32, 32, 3), np.uint8)] * 3, 30)
    return path


def test_requests_that_leave_values_out_are_told_which_there_are(server, monkeypatch):
    monkeypatch.setitem(USUAL, "video", [1.0])
    said = answered(server, "video", {})
    told = json.loads(said.split("data: ")[1])["error"]
    names = "Short blurred video, Shutter fraction (180° = 0.5), Model"
    assert told == f"2 values came; this takes 3: {names}"


def test_the_example_in_the_readme(server, monkeypatch, tmp_path):
    text = (APP.parent / "README.md").read_text("utf-8")
    code = textwrap.dedent(text.split("```python\n")[1].split("```")[0])
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(EXAMPLES / "cat-roll.jpg", tmp_path / "photo.jpg")
    found = {}
    exec(code.replace("http://127.0.0.1:7860", server.address), found)
    assert len(list(video.read_video(found["clip"]))) == 15
    assert "of the photo moved" in found["known"]


def test_a_web_address_that_is_not_for_the_server_is_told_in_plain_words(server):
    for address in ("http://127.0.0.1:9/a.jpg", "http://169.254.169.254/latest/a.jpg"):
        said = answered(server, "deblur", file_data(address))
        assert "event: error" in said and "cannot be fetched from here" in said, said


def as_data(path, mime):
    """A file as an address that holds it: how tools of a server on this machine take files."""
    return f"data:{mime};base64,{base64.b64encode(path.read_bytes()).decode()}"


def test_tools(server, tmp_path):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def ask():
        async with (
            streamable_http_client(f"{server.address}/gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            answers = {name: await session.call_tool(name, given) for name, given in calls.items()}
            return (await session.list_tools()).tools, answers

    photo, film = small_photo(tmp_path, 0), tmp_path / "film.mp4"
    with Image.open(photo) as opened:
        video.write_mp4(film, [np.asarray(opened)] * 3, 30)
    picture = {"photo": as_data(photo, "image/png")}
    calls = dict.fromkeys(("flow", "deblur", "segment"), picture)
    calls["animate"] = {**picture, "frames": 3}
    calls["video"] = {"clip": as_data(film, "video/mp4")}
    listed, answers = asyncio.run(ask())
    for name, answer in answers.items():
        assert not answer.isError and answer.content, (name, answer.content)
    told = [getattr(part, "text", "") for part in answers["animate"].content]
    assert any("looks sharp" in text or "of the photo moved" in text for text in told)
    tools = {tool.name: tool for tool in listed}
    assert set(tools) == {"animate", "flow", "deblur", "segment", "video"}
    assert "motion-blurred photo" in tools["animate"].description
    strokes = tools["animate"].inputSchema["properties"]["strokes"]
    assert strokes["type"] == "array" and "under a stroke" in strokes["description"]
    assert {"photo", "direction", "reverse", "guidance"} <= set(
        tools["animate"].inputSchema["properties"]
    )
    assert set(server.client().view_api(return_format="dict")["named_endpoints"]) == {
        f"/{name}" for name in tools
    }


def refused(server, photo, **options):
    with pytest.raises(AppError) as caught:
        server.client().predict(photo, **options)
    return str(caught.value)


def test_bad_uploads_are_told_in_plain_words(server, tmp_path):
    bad = tmp_path / "letter.jpg"
    bad.write_text("Dear photo,")
    assert "letter.jpg is not an image" in refused(server, handle_file(bad), api_name="/animate")
    huge = tmp_path / "huge.png"
    huge.write_bytes(png_claiming(20000, 20000))
    assert "at most 200 million" in refused(server, handle_file(huge), api_name="/deblur")
    photo = handle_file(small_photo(tmp_path, 0))
    said = refused(server, photo, model="x", api_name="/animate")
    assert "Model: 'x' is not 'animator'" in said
    for value in (5000, 2):
        said = refused(server, photo, frames=value, api_name="/animate")
        assert f"Frames: '{value}' is not 3 to 31" in said
    said = refused(server, handle_file(black(tmp_path)), shutter=2, api_name="/video")
    assert "Shutter fraction (180° = 0.5): '2' is not 0.1 to 1" in said
    cat = handle_file(EXAMPLES / "cat-roll.jpg")
    for motion in (0, -1, 3):
        said = refused(server, cat, motion=motion, api_name="/animate")
        assert f"2 motions fit this photo, so there is no motion {motion}: give 1 to 2" in said
    wrong = {"frames": "x", "speed": None, "pingpong": "yes", "motion": "x", "model": ["animator"]}
    for name, value in wrong.items():
        said = refused(server, photo, **{name: value}, api_name="/animate")
        assert f"{str(value)!r} is not" in said
    for value in ("letter.jpg", 5):
        said = refused(server, value, api_name="/animate")
        assert f"Blurred photo: {str(value)!r} is not an uploaded file" in said
    # What failed failed alone; and the log holds nothing of it.
    assert "Traceback" not in server.log()
    assert server.client().predict(photo, api_name="/deblur")


def test_uploads_have_a_size(server):
    with pytest.raises((urllib.error.URLError, ConnectionError)) as caught:
        post_file(server, bytes(65 << 20))
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
    for picture in (
        file_data(str(photo)),
        {"path": str(photo)},  # which Gradio's own check passes over
        {"path": str(link)},
        {"path": str(tmp_path / "none.jpg")},
        {"path": f"{EXAMPLES}/../pyproject.toml"},
        {"path": code},
        file_data(None),
        {},
        {"path": 5},
        {"path": "x", "url": "http://127.0.0.1:9/a.jpg"},
    ):
        for endpoint in ("deblur", "animate", "flow", "segment", "video"):
            said = answered(server, endpoint, picture)
            assert "event: error" in said and "upload it first" in said
            assert "sharp.png" not in said and "is not an image" not in said
            assert "does not exist" not in said  # nor whether there is such a file


def answered(server, endpoint, picture):
    """What the endpoint says to a file."""
    data = [picture, *USUAL.get(endpoint, [])]  # a file and what follows it
    answer = post(server, f"/gradio_api/call/{endpoint}", {"data": data})
    where = f"{server.address}/gradio_api/call/{endpoint}/{answer['event_id']}"
    with urllib.request.urlopen(where, timeout=60) as stream:
        return stream.read().decode()


def file_data(path):
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def post(server, where, data):
    """Send an object as JSON, or a body of bytes with one file in it."""
    kind = "multipart/form-data; boundary=b" if isinstance(data, bytes) else "application/json"
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    request = urllib.request.Request(f"{server.address}{where}", data, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def post_file(server, content):
    body = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    return post(server, "/gradio_api/upload", body + content + b"\r\n--b--\r\n")[0]


def join(server, name, uploaded, *options):
    """Ask for something as a page does, which is to fetch it from its stream, and is gone."""
    event = {"data": [file_data(uploaded), *options], "fn_index": named(server, name)}
    post(server, "/gradio_api/queue/join", event | {"session_hash": "gone"})


def stream_of(server):
    where = f"{server.address}/gradio_api/queue/data?session_hash=gone"
    return urllib.request.urlopen(where, timeout=60)


def test_ten_at_once_get_their_own_answers_in_flat_memory(server, tmp_path):
    photos = [small_photo(tmp_path, number) for number in range(CLIENTS)]
    clients = [server.client() for _ in photos]

    def ask(client, photo, frames):
        clip, said = client.predict(handle_file(photo), frames=frames, api_name="/animate")
        return np.stack(list(video.read_video(clip))), said

    counts = [3 + number % 7 for number in range(CLIENTS)]
    memory = []
    for _ in range(2):
        with ThreadPoolExecutor(CLIENTS) as pool:
            answers = list(pool.map(ask, clients, photos, counts))
        for photo, count, (frames, said) in zip(photos, counts, answers, strict=True):
            with Image.open(photo) as opened:
                given = np.asarray(opened)
            height, width = given.shape[:2]
            assert frames.shape == (count, height, width, 3) and f"{width} × {height} px" in said
            # The frames of each average back to its own photo, whose colour no other has.
            mean = 255 * ((frames / 255.0) ** 2.2).mean(0) ** (1 / 2.2)
            assert np.abs(mean - given).mean() < 3
        memory.append(server.memory())
    assert memory[1] < memory[0] + 64e6


def test_whoever_vanishes_during_a_video_frees_the_slot(server, tmp_path):
    random = np.random.default_rng(0)
    wall = np.kron(random.integers(0, 255, (16, 60, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
    path = tmp_path / "long.mp4"
    video.write_mp4(path, (wall[:, 2 * n : 2 * n + 320] for n in range(280)), 30)
    join(server, "video", post_file(server, path.read_bytes()), 1.0, "animator")
    stream = stream_of(server)
    while b'"index":5,' not in (line := stream.readline()):  # so many frames were read
        assert line and b"process_completed" not in line, line
    assert [*server.temporary.rglob(".a-sharp.*.mp4")]
    stream.close()
    start = time.monotonic()
    client = server.client()
    assert client.predict(handle_file(small_photo(tmp_path, 3)), api_name="/deblur")
    assert time.monotonic() - start < 10  # the film would have taken a minute
    while [*server.temporary.rglob("*a-sharp*")]:  # goes where the next frame would be made
        assert time.monotonic() - start < 20
        time.sleep(0.1)


def test_two_on_one_machine_have_a_folder_each_that_goes_with_them(server):
    def homes():
        return {path.name for path in server.temporary.iterdir()}

    (first,) = homes()
    with serve(TMPDIR=str(server.temporary)) as other:
        (second,) = homes() - {first}
        assert all(path.stat().st_mode & 0o077 == 0 for path in server.temporary.iterdir())
        for one, home in ((server, first), (other, second)):
            uploaded = post_file(one, (EXAMPLES / "cat-roll.jpg").read_bytes())
            assert Path(uploaded).is_relative_to(server.temporary / home)
    assert homes() == {first}


def test_a_client_that_vanishes_frees_its_slot(server, tmp_path):
    client = server.client()
    photo = handle_file(EXAMPLES / "moving-apart.jpg")
    start = time.monotonic()
    client.predict(photo, frames=31, api_name="/animate")
    usual = time.monotonic() - start
    uploaded = post_file(server, (EXAMPLES / "temple-shake.jpg").read_bytes())
    for _ in range(3):  # asked for, and never fetched; one visitor may have no more waiting
        join(server, "animate", uploaded, 31, *USUAL["animate"][1:])
    stream = stream_of(server)
    stream.read(1)
    stream.close()
    start = time.monotonic()
    assert client.predict(handle_file(small_photo(tmp_path, 2)), api_name="/deblur")
    # One animation at the most is waited for, not all of them.
    assert time.monotonic() - start < 2 * usual + 3


def named(server, name):
    with urllib.request.urlopen(f"{server.address}/config", timeout=60) as answer:
        config = json.load(answer)
    return next(d["id"] for d in config["dependencies"] if d["api_name"] == name)
