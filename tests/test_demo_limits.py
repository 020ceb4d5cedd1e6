"""What one visitor may ask of the page: sizes, time, places in the queue, and its name."""

import asyncio
import contextlib
import threading
import time
import urllib.error
import urllib.request
from types import SimpleNamespace

import numpy as np
import pytest
from made_pictures import png_claiming
from PIL import Image

gradio = pytest.importorskip("gradio", reason="gradio, which serves the page, is not installed")

import b2m  # noqa: E402
from b2m.media import video  # noqa: E402


@pytest.fixture(scope="module")
def modules(page_modules):
    import actions
    import limits

    return SimpleNamespace(actions=actions, limits=limits)


def test_a_large_photo_is_refused_by_its_header(modules, tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(png_claiming(14000, 14000))
    start = time.perf_counter()
    for action in (modules.actions.flow, modules.actions.deblur, modules.actions.segment):
        with pytest.raises(gradio.Error, match="up to 50 megapixels"):
            action(str(path))
    assert time.perf_counter() - start < 1
    Image.fromarray(np.zeros((7000, 7100), np.uint8)).save(tmp_path / "fits.png")
    modules.limits.check_photo(str(tmp_path / "fits.png"))


def test_large_frames_are_refused_before_they_are_decoded(modules, tmp_path, monkeypatch):
    path = tmp_path / "clip.mp4"
    video.write_mp4(path, [np.zeros((64, 64, 3), np.uint8)] * 3, 10)
    monkeypatch.setattr(modules.actions, "MAX_VIDEO_FRAME", 64 * 64 - 1)
    with pytest.raises(gradio.Error, match="64x64 pixels: at most 0"):
        modules.actions.video(str(path))


def test_a_job_ends_in_time(modules, monkeypatch):
    """Also where code on the way takes every exception for damage."""
    monkeypatch.setattr(modules.actions, "PHOTO_SECONDS", 0.2)

    @modules.actions.in_plain_words
    def long(photo):
        while True:
            try:
                time.sleep(0.01)
            except Exception as error:
                raise b2m.InputError("damaged") from error

    start = time.perf_counter()
    with pytest.raises(gradio.Error, match=r"longer than 0\.2 s"):
        long("photo")
    assert time.perf_counter() - start < 5
    for _ in range(200):  # nothing of it is left for the next one
        assert modules.actions.in_plain_words(lambda: sum(range(100)))() == 4950
    for _ in range(200):
        with contextlib.suppress(modules.limits.OutOfTime), modules.limits.at_most(0.001):
            pass
    assert threading.active_count() < 50


def event(page, address, number):
    request = SimpleNamespace(headers={}, client=SimpleNamespace(host=address))
    return SimpleNamespace(
        session_hash=page, _id=f"id-{number}", enqueue_time=number, request=request
    )


def queue_of(modules, events):
    line = SimpleNamespace(queue=events)

    class Queue:
        event_queue_per_concurrency_id = {"model": line}  # noqa: RUF012
        process_time_per_fn = {1: SimpleNamespace(count=2, avg_time=8.0)}  # noqa: RUF012

        async def push(self, body, request, username):
            line.queue.append(event(body.session_hash, request.client.host, len(line.queue)))
            return True, "id", "success"

    queue = Queue()
    modules.limits.share_fairly(queue)

    def ask(page, address="1.1.1.1"):
        request = SimpleNamespace(headers={}, client=SimpleNamespace(host=address))
        return asyncio.run(queue.push(SimpleNamespace(session_hash=page), request, None))

    return line, ask


def test_visitors_take_turns(modules):
    line, ask = queue_of(modules, [])
    for page in "aaaab":
        assert ask(page)[0]
    assert ask("c", "2.2.2.2")[0]
    assert [waiting.session_hash for waiting in line.queue] == ["a", "b", "c", "a", "a", "a"]
    for _ in range(4):
        assert ask("a")[0]
    assert ask("a") == (False, "8 of your jobs are waiting: try again in about 20 s", "queue_full")
    assert ask("b")[0]


def test_a_full_queue_tells_when_to_come_again(modules):
    _, ask = queue_of(modules, [event(f"p{n}", f"9.9.9.{n % 2}", n) for n in range(64)])
    done, said, kind = ask("new", "3.3.3.3")
    assert (done, kind) == (False, "queue_full")
    assert said == "the queue is full: try again in about 128 s"
    _, ask = queue_of(modules, [event(f"p{n}", "9.9.9.9", n) for n in range(32)])
    assert not ask("new", "9.9.9.9")[0] and ask("new", "3.3.3.3")[0]


def fetch(address, **headers):
    request = urllib.request.Request(address, headers=headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.status, dict(answer.headers)


def test_links_to_the_page_show_its_own_card(page_server):
    with urllib.request.urlopen(page_server.address, timeout=20) as answer:
        text = answer.read().decode()
        assert int(answer.headers.get("content-length", len(text.encode()))) == len(text.encode())
    assert text.count("og:title") == text.count("og:image") == 1
    assert 'property="og:title" content="Blur to motion"' in text
    assert f'property="og:image" content="{page_server.address}/card.jpg"' in text
    status, headers = fetch(page_server.address + "/card.jpg")
    assert status == 200 and headers["content-type"] == "image/jpeg"


def test_headers(page_server):
    for place in ("/", "/config", "/gradio_api/info"):
        status, headers = fetch(page_server.address + place)
        assert status == 200
        assert headers["x-content-type-options"] == "nosniff"
    port = page_server.address.rsplit(":", 1)[1]
    for host in (f"localhost:{port}", "127.0.0.1", "[::1]:80", "192.168.1.5:7860"):
        assert fetch(page_server.address + "/config", Host=host)[0] == 200
    for host in ("evil.example", "evil.example:7860", "127.0.0.1.evil.example", ""):
        with pytest.raises(urllib.error.HTTPError) as refused:
            fetch(page_server.address + "/config", Host=host)
        assert refused.value.code == 421
        assert refused.value.headers["x-content-type-options"] == "nosniff"


def test_names_of_its_own(modules, monkeypatch):
    monkeypatch.setenv("B2M_HOSTS", "b2m.example, other.example")
    guard = modules.limits.Guard(None)
    assert guard._knows("B2M.example:443") and guard._knows("other.example.")
    assert not guard._knows("third.example")
