"""The page: its edits, its files and what it tells; test_demo_server.py asks it as programs do."""

import asyncio
import base64
import io
import os
import shutil
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

gradio = pytest.importorskip("gradio", reason="gradio, which serves the page, is not installed")
from demo_server import small_photo  # noqa: E402

from b2m.media import video  # noqa: E402

EXAMPLES = Path(__file__).parents[1] / "examples"
APART = EXAMPLES / "moving-apart.jpg"
BLANK = np.zeros((426, 640, 3))
LEFT, RIGHT = np.s_[190:240, 175:215], np.s_[270:320, 420:500]  # the two things in it
LENGTHS = 18, 24  # pixels to the side over the exposure, as `examples/make.py` moved them
"""Guidance is an input of the network: once something was said, lengths are found anew."""


@pytest.fixture(scope="module")
def clips(page_modules):
    """The module of the page that makes clips."""
    import clips

    return clips


@pytest.fixture(scope="module")
def actions(page_modules):
    """The module of the page that answers."""
    import actions

    return actions


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """The example at half its size, for what takes many clips."""
    path = tmp_path_factory.mktemp("half") / "half.png"
    with Image.open(APART) as opened:
        opened.resize((320, 213), Image.Resampling.LANCZOS).save(path)
    return str(path)


# --- what edits do -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def directed(clips):
    prepared = clips.preview(str(APART), "animator").prepared
    return lambda *edits: clips.directed(prepared, "animator", edits)


def across(clip, thing):
    return float(np.median(clip.flow[thing][..., 0]))


def assert_moves(clip, before, left=1, right=1):
    """Both things go as far as they truly went, and as before or, at -1, the other way."""
    for thing, length, way in zip((LEFT, RIGHT), LENGTHS, (left, right), strict=True):
        true = way * np.sign(across(before, thing)) * length
        assert across(clip, thing) == pytest.approx(true, rel=0.5)


def test_a_tap_turns_one_thing_round(directed):
    before = directed()
    tap = {"kind": "tap", "point": (195.0, 215.0)}
    after = directed(tap)
    assert_moves(after, before, left=-1)
    again = directed(tap, tap)
    assert (again.guidance == before.guidance).mean() > 0.99
    assert_moves(again, before)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_stroke_says_which_way(directed, sign):
    points = [(195.0 - sign * 20, 215.0), (195.0 + sign * 20, 215.0)]
    assert sign * across(directed({"kind": "stroke", "points": points}), LEFT) > 3


def test_words_and_holding_still(directed):
    for where, sign in (("right", 1), ("left", -1)):
        clip = directed({"kind": "direction", "where": where})
        assert sign * across(clip, LEFT) > 3
        assert sign * across(clip, RIGHT) > 3
    turned = directed({"kind": "reverse"})
    assert_moves(turned, directed(), left=-1, right=-1)
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


def test_long_lines_lose_points_and_nothing_else(clips):
    angles = np.linspace(0, 12 * np.pi, 6000)
    spiral = np.stack([300 + 20 * angles * np.cos(angles), 200 + 5 * angles * np.sin(angles)], 1)
    line = np.array(clips.edit_with("stroke", spiral, BLANK)["points"])
    assert len(line) <= clips.MAX_POINTS
    np.testing.assert_allclose(line[[0, -1]], spiral[[0, -1]], atol=1e-3)
    starts, steps = line[:-1, None], np.diff(line, axis=0)[:, None]  # pieces, then points
    share = ((spiral - starts) * steps).sum(-1) / (steps**2).sum(-1)
    nearest = starts + share.clip(0, 1)[..., None] * steps
    assert np.linalg.norm(spiral - nearest, axis=-1).min(0).max() < 0.6
    wild = np.random.default_rng(0).uniform(0, 400, (5000, 2))
    assert len(clips.edit_with("stroke", wild, BLANK)["points"]) <= clips.MAX_POINTS


def test_a_brush_covers_all_of_its_way(clips):
    zigzag = [(x, y) for y in range(20, 410, 15) for x in range(20, 620, 2)]
    for points in (zigzag, [(100.0, 200.0)]):
        edit = clips.edit_with("red", points, BLANK)
        mask = clips.painted(edit["points"], 10, 426, 640)
        canvas = np.zeros((426, 640), np.uint8)
        for x, y in points:
            cv2.circle(canvas, (int(x), int(y)), 10, 1, -1)
        # Nothing is left out, and beyond the rim only the ways back to the left are added.
        assert (mask | ~canvas.astype(bool)).mean() > 0.999
    assert mask.sum() == pytest.approx(np.pi * 10.5**2, rel=0.1)
    wide = np.zeros((400, 600, 3))
    sizes = [clips.edit_with("red", [(9, 9)], wide, brush)["radius"] for brush in (0.02, 0.1, 9)]
    assert sizes == [6, 30, 90]


@pytest.mark.parametrize("tool", ["wand", "reverse", "shuffle", ""])
def test_unknown_tools_are_refused(clips, directed, tool):
    with pytest.raises(clips.b2m.InputError, match=f"no tool '{tool}'"):
        clips.edit_with(tool, [(1, 2)], BLANK)
    if tool in ("wand", ""):
        with pytest.raises(clips.b2m.InputError, match="nothing that can be done"):
            directed({"kind": tool})


@pytest.mark.parametrize("points", [[], None, [1, 2, 3], [("a", 1)], [(float("nan"), 1)]])
def test_lines_without_points_are_refused(clips, points):
    with pytest.raises(clips.b2m.InputError, match="draw it again"):
        clips.edit_with("stroke", points, BLANK)


def test_videos_are_made_by_the_animator_or_not_at_all(actions, tmp_path):
    with pytest.raises(gradio.Error, match="'decomposer' makes no videos"):
        actions.video(str(tmp_path / "clip.mp4"), model="decomposer")


@pytest.mark.parametrize("most", [10**9, 5 * 48 * 36])
def test_a_large_video_is_shrunk_and_that_is_told(actions, tmp_path, monkeypatch, most):
    said = []
    monkeypatch.setattr(actions, "MAX_VIDEO", most)
    monkeypatch.setattr(actions.gr, "Info", said.append)
    random = np.random.default_rng(0)
    wall = np.kron(random.integers(0, 255, (9, 30, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    path = tmp_path / "pan.mp4"
    video.write_mp4(path, (wall[:, 3 * n : 3 * n + 96] for n in range(5)), 10)
    sharp = Path(actions.video(str(path)))
    made = video.read_video(sharp)
    size = (96, 72) if most > 10**6 else (48, 36)
    assert (made.width, made.height, made.count()) == (*size, 35)
    assert made.fps == pytest.approx(10, rel=0.05)
    assert [text for text in said if "96 × 72" in text and "48 × 36" in text] == said
    assert len(said) == (size == (48, 36))
    assert [*sharp.parent.iterdir()] == [sharp]


def test_a_shuffle_turns_whole_things_and_is_the_same_again(clips, directed):
    made = clips.animator("animator")
    prepared = clips.preview(str(APART), "animator").prepared
    before, seen = directed(), set()
    for seed in range(4):
        edit = {"kind": "shuffle", "seed": seed}
        guidance = clips._guidance_of_edit(edit, before)
        np.testing.assert_array_equal(guidance, clips._guidance_of_edit(edit, before))
        clip = made.animate(prepared, guidance=guidance)[0]
        ways = [np.sign(across(clip, thing) / across(before, thing)) for thing in (LEFT, RIGHT)]
        assert_moves(clip, before, *ways)
        seen.add(tuple(ways))
    assert len(seen) > 1


def test_why(page_modules, directed):
    import pictures

    clip = directed()
    told = pictures.figures(clip)
    # The meter is for the mean of the frames before they were made to fit.
    error = clip.reblurred.astype(float) - clip.photo
    expected = 10 * np.log10(255**2 / (error**2).mean())
    assert told["meter"] == pytest.approx(expected, abs=0.01)
    assert f"{expected:.0f} dB" == told["raw"]
    assert len(told["pictures"]) == 5 and all(part["text"] for part in told["pictures"])
    tiles = pictures.tiles([clip])["tiles"]
    with Image.open(io.BytesIO(base64.b64decode(tiles[0]["picture"].split(",")[1]))) as small:
        assert small.size == (240, 320) and small.n_frames == 7  # clip and guidance
    assert tiles[0]["alt"] and tiles[0]["caption"] == "Most likely"
    assert [bool(part["wheel"]) for part in told["pictures"]].count(True) == 1
    assert pictures.tiles([clip])["wheel"].startswith("data:image/png")


def test_few_previews_and_clips_are_cached(clips, tmp_path):
    for number in range(5):
        clips.clip_of(str(small_photo(tmp_path, number)), "animator", [])
    assert len(clips._previews) <= clips.KEPT_PHOTOS
    assert len(clips._clips) <= clips.KEPT_CLIPS


@pytest.fixture
def large(clips, tmp_path, monkeypatch):
    """The example as a photo that is too large to be shown, and knows its exposure time."""
    monkeypatch.setattr(clips, "PREVIEW_PIXELS", 320 * 213)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x829A] = 0.1
    path = tmp_path / "large.jpg"
    with Image.open(APART) as opened:
        opened.save(path, exif=exif, quality=95)
    return str(path)


def test_what_is_told(clips):
    clip, seen = clips.clip_of(str(APART), "animator", []), clips.preview(str(APART), "animator")
    said = clips.describe(clip, seen)
    moved = np.hypot(*clip.flow.transpose(2, 0, 1)) >= 3
    assert f"About {moved.mean():.0%} of the photo moved" in said
    assert f"the fastest parts by {clip.fastest:.0f} px" in said and "dB" not in said
    more = clips.details(clip, "animator", seen)
    assert "animator (bundled), on CPU" in more
    assert "640 × 426 px. " in more and "times slower" not in more


def test_what_is_told_of_a_large_photo(clips, large):
    clip, seen = clips.clip_of(large, "animator", []), clips.preview(large, "animator")
    fastest = clip.fastest * 2
    assert f"the fastest parts by {fastest:.0f} px" in clips.describe(clip, seen)
    said = clips.details(clip, "animator", seen, speed=0.5)
    assert f"Exposure 1/10 s: the fastest parts moved {fastest * 10:.0f} px a second" in said
    assert "the clip plays 20 times slower" in said
    assert "640 × 426 px, shown in 320 × 213; downloads are full size" in said


def test_a_sharp_photo_is_told_so_and_gets_no_tools(actions, tmp_path):
    rows, columns = np.indices((160, 200)) // 20
    board = ((rows * 37 + columns * 101 + rows * columns * 13) % 200 + 30).astype(np.uint8)
    Image.fromarray(np.stack([board] * 3, -1)).save(tmp_path / "board.png")
    photo = str(tmp_path / "board.png")
    _, known, _, _, more, status = actions.again(photo, [], 1, 7, 1.0, False, "animator")
    assert known.startswith("**This photo looks sharp") and "\n" not in known
    assert not more.visible and status == actions.IDLE
    shown, column = actions.propose(photo, 7, "animator")
    assert shown["tiles"] == [] and not column.visible
    assert actions.introduce(photo, 7, "animator") == gradio.skip()


def test_options_that_look_alike_are_not_shown(clips, monkeypatch):
    prepared = clips.preview(str(APART), "animator").prepared
    first = clips.directed(prepared, "animator", [])
    found = clips.fitting(first, prepared, "animator")
    assert 2 <= len(found) <= 4
    monkeypatch.setattr(clips, "DISTINCT", 2.0)  # more than a reversal makes
    assert len(clips.fitting(first, prepared, "animator")) == 1


def test_the_tenth_edit_costs_what_the_first_does(clips, half, monkeypatch):
    made, animate = [], clips.b2m.BlurAnimator.animate
    monkeypatch.setattr(
        clips.b2m.BlurAnimator,
        "animate",
        lambda self, *given, **options: made.append(1) or animate(self, *given, **options),
    )
    edits, counts = [], []
    for number in range(6):
        edits = [*edits, {"kind": "tap", "point": [97.0 + number, 107.0]}]
        before = len(made)
        clips.clip_of(half, "animator", edits, frames=3)
        counts.append(len(made) - before)
    assert counts[0] <= 2 and set(counts[1:]) == {1}
    clips.clip_of(half, "animator", edits[:2], frames=3)  # a step back
    assert len(made) - sum(counts) == 1


def test_undo_redo_and_reset(actions, half):
    settings = (1, 3, 1.0, False, "animator")

    def say(edits, undone, where):
        *_, edits, undone = actions.directed_edit(half, edits, *settings, undone, where)
        return edits, undone

    one, none = say([], [], "left")
    two, none = say(one, none, "reverse")
    assert len(two) == 2 and none == []
    back, undone = say(two, none, "undo")
    assert (back, undone) == (one, two[1:])
    assert say(back, undone, "redo") == (two, [])
    assert say(two, [], "reset") == ([], two)
    assert say(*say([], two, "redo"), "redo") == (two, [])
    assert say(back, undone, "up")[1] == []  # what follows anew cannot be redone


@pytest.fixture
def made(clips, actions, monkeypatch):
    """The clips that are made while a test asks."""
    found, seen = [], clips.clip_of
    monkeypatch.setattr(actions, "clip_of", lambda *given: found.append(seen(*given)) or found[-1])
    return found


def test_the_endpoint_takes_directions(actions, half, tmp_path, made):
    def asked(**options):
        actions.animate(half, frames=3, **options)
        return [across(made[-1], np.s_[95:120, 87:107]), across(made[-1], np.s_[135:160, 210:250])]

    assert asked(direction="left")[0] < -2
    assert asked(direction="left", strokes=[[[87, 107], [107, 107]]])[0] > 2
    left, right = asked(direction="left", reverse=[[97, 107]])
    assert left > 2 > -2 > right
    Image.new("RGB", (64, 42), (255, 255, 0)).save(tmp_path / "yellow.png")
    assert asked(guidance=str(tmp_path / "yellow.png"))[0] < -2
    for wrong, words in (
        ({"strokes": [[[9000, 5], [1, 1]]]}, "x=9000, y=5 is outside of the photo, 320 × 213 px"),
        ({"strokes": 5}, "strokes is '5'"),
        ({"reverse": [["a"]]}, "draw it again"),
        ({"reverse": [[20, 20]]}, "nothing moves at"),
        ({"direction": "north"}, "is none of"),
    ):
        with pytest.raises(gradio.Error, match=words):
            asked(**wrong)


def test_edits_of_a_large_photo_are_in_its_own_pixels(actions, large, made):
    actions.animate(large, frames=3, direction="left", reverse=[[195, 215]])
    small = tuple(slice(part.start // 2, part.stop // 2) for part in LEFT)
    assert across(made[-1], small) > 1


def test_a_link_holds_settings_alone(page_modules):
    import app as page

    def asked(**given):
        return page.chosen(SimpleNamespace(query_params=given))

    assert asked(frames="9", speed="0.5", pingpong="true", model="animator") == (
        9.0, 0.5, True, "animator",
    )  # fmt: skip
    wrong = asked(frames="900", speed="x", model="<script>")
    assert wrong == (gradio.skip(),) * 4


def endless_job(photo=None):
    """A thread with a job of the visitor "page", and a list that is filled when it is cancelled."""
    import limits

    ended, begun = [], threading.Event()

    def work():
        try:
            with limits.at_most(60, "page", photo):
                begun.set()
                while True:
                    time.sleep(0.01)
        except limits.Cancelled:
            ended.append(True)

    worker = threading.Thread(target=work)
    worker.start()
    assert begun.wait(10)
    return worker, ended


def test_a_job_can_be_cancelled(page_modules):
    import limits

    worker, ended = endless_job()
    queue = SimpleNamespace(event_queue_per_concurrency_id={})
    asyncio.run(limits.cancel(queue, "another page"))
    assert worker.is_alive()
    asyncio.run(limits.cancel(queue, "page"))
    worker.join(10)
    assert ended and not limits._jobs


@pytest.fixture
def page(actions, monkeypatch):
    """The request of the one page that is open."""
    import visitors

    for module in (visitors, actions):
        monkeypatch.setattr(module, "visitor", lambda: "page")
    return SimpleNamespace(session_hash="page")


def test_what_another_photo_asked_for_is_not_shown(actions, page, tmp_path):
    import limits
    import visitors

    first, second = (str(small_photo(tmp_path, number)) for number in (1, 2))
    worker, ended = endless_job(first)
    actions.begin(first, page)  # the same photo anew needs it still
    actions.begin(second, SimpleNamespace(session_hash="another page"))
    assert worker.is_alive()
    actions.begin(second, page)
    worker.join(10)
    assert ended and not limits._jobs
    assert actions.propose(first, 7, "animator") == gradio.skip()
    assert actions.propose(second, 7, "animator") == gradio.skip()  # its clip comes first
    assert actions.again(second, [], 1, 7, 1.0, False, "animator") != gradio.skip()
    assert actions.propose(second, 7, "animator") != gradio.skip()
    assert not visitors.leave("page")  # the clip is there, and stays
    actions.begin(first, page)
    assert visitors.leave("page")  # cancelled before the work has come to the server
    assert actions.again(first, [], 1, 7, 1.0, False, "animator") == gradio.skip()


def test_a_photo_that_follows_at_once_is_not_lost(actions, page, tmp_path):
    """Gradio drops what waits behind an event that fails."""
    settings = ([], 1, 7, 1.0, False, "animator")
    photo, none = str(small_photo(tmp_path, 1)), tmp_path / "none.png"
    none.write_text("Dear photo,")

    actions.begin(None, page)
    actions.begin(str(none), page)
    cleared = actions.again(None, *settings)  # comes when the page has the next one already
    assert len(cleared) == actions.SHOWN and cleared[-1] == actions.IDLE
    with pytest.raises(gradio.Error, match="is not an image"):
        actions.again(str(none), *settings)

    @actions.in_plain_words
    def again(photo, follows):
        actions.begin(follows, page)
        raise ValueError

    with pytest.raises(ValueError):
        again(str(none), str(none))
    assert again(str(none), photo) == gradio.skip()
    assert actions.again(photo, *settings) != gradio.skip()


def test_large_photos_are_shown_small_and_saved_in_full_whatever_their_format(
    clips, actions, large, tmp_path
):
    edits = [{"kind": "tap", "point": [97.5, 107.5]}]
    before = clips.full_clip_of(large, "animator", [], frames=3)
    assert_moves(clips.full_clip_of(large, "animator", edits, frames=3), before, left=-1)
    with Image.open(APART) as opened:
        opened.save(tmp_path / "large.png")
        given = np.asarray(opened).astype(float)
    for photo in (large, str(tmp_path / "large.png")):
        assert clips.preview(photo, "animator").scale == 2
        saved = actions.save(photo, [], 1, 3, 1.0, False, "animator", "Motion Photo")
        with Image.open(saved) as kept:
            assert kept.size == (640, 426)
            assert np.abs(np.asarray(kept) - given).mean() < 2


@pytest.fixture
def weights(clips, monkeypatch):
    """Says where weights are, for a while."""

    def forgotten():
        for kept in (clips.models, clips.loaded):
            kept.cache_clear()
        clips._clips.clear()
        clips._previews.clear()

    def said(value):
        forgotten()
        monkeypatch.setenv("B2M_WEIGHTS", str(value))

    yield said
    monkeypatch.undo()
    forgotten()


def test_weights_that_cannot_be_had_are_told_and_not_kept_in_mind(clips, weights, tmp_path):
    weights(tmp_path / "nowhere")
    with pytest.raises(clips.b2m.InputError, match=r"B2M_WEIGHTS .* does not exist"):
        clips.models()
    shutil.copytree(EXAMPLES.parent / "weights" / "animator", tmp_path / "nowhere" / "animator")
    assert clips.default_model() == "animator"  # by now they are there
    clip, seen = clips.clip_of(str(APART), "animator", []), clips.preview(str(APART), "animator")
    assert "Model: animator (folder animator)" in clips.details(clip, "animator", seen)


def test_a_page_without_weights_does_not_start(weights, tmp_path, monkeypatch):
    import app as page

    for name in ("few_arenas", "keep_sweeping"):  # which are for a process of its own
        monkeypatch.setattr(page, name, lambda: None)
    monkeypatch.setattr(page.signal, "signal", lambda *_: None)
    monkeypatch.setenv("GRADIO_RUN_HISTORY", "False")
    weights(tmp_path / "nowhere")
    with pytest.raises(SystemExit, match="does not exist: name a folder"):
        page.main()


@pytest.fixture
def decomposer(weights, tmp_path):
    import torch

    from b2m.models import BlurDecomposer, BlurDecomposerConfig

    torch.manual_seed(0)
    BlurDecomposer(BlurDecomposerConfig.compact()).save_pretrained(
        tmp_path / BlurDecomposer.weights_name
    )
    weights(tmp_path)
    return BlurDecomposer


def test_a_model_with_its_own_number_of_frames_makes_so_many(actions, decomposer, tmp_path):
    photo = str(small_photo(tmp_path, 0))
    clip, known = actions.animate(photo, frames=9, model="decomposer")
    assert len(list(video.read_video(clip))) == 7 and "always makes 7 frames" in known
    shown, column = actions.propose(photo, 9, "decomposer")
    assert column.visible == (len(shown["tiles"]) > 1)


def test_a_dear_model_looks_once_for_the_clip_and_once_for_its_other_motion(
    actions, decomposer, tmp_path, monkeypatch
):
    passes = []
    forward = decomposer.forward
    monkeypatch.setattr(decomposer, "forward", lambda *given: passes.append(1) or forward(*given))
    photo = str(small_photo(tmp_path, 0))
    actions.animate(photo, model="decomposer")
    actions.introduce(photo, 7, "decomposer")
    assert len(passes) == 1
    actions.propose(photo, 7, "decomposer")
    assert len(passes) <= 2


def test_files_to_take_home(actions):
    found = {}
    for kind in actions.KINDS:
        path = Path(actions.save(str(APART), [], 1, 5, 1.0, True, "animator", kind))
        found[path.name] = path
    assert sorted(found) == [
        "moving-apart-frames.zip",
        "moving-apart-sharp.png",
        "moving-apart.MP.jpg",
        "moving-apart.flo",
        "moving-apart.gif",
        "moving-apart.mp4",
        "moving-apart.png",
        "moving-apart.webp",
    ]
    with zipfile.ZipFile(found["moving-apart-frames.zip"]) as frames:
        names = [f"moving-apart-frames/frame_{number:04d}.png" for number in range(5)]
        assert frames.namelist() == names
    with Image.open(found["moving-apart.gif"]) as gif:
        assert gif.n_frames == 8  # five forwards, and back without the ends
    assert found["moving-apart.gif"].stat().st_size < 5e6
    with Image.open(found["moving-apart-sharp.png"]) as sharp:
        assert sharp.size == (640, 426)
    assert len(list(video.read_video(found["moving-apart.mp4"]))) == 8


def test_without_a_photo_the_page_is_empty(actions):
    assert actions.again(None, [], 1, 7, 1.0, True, "animator")[0] is None
    assert actions.begin(None, gradio.Request())[:3] == (1, [], [])
    assert actions.explain(None, [], 1, 7, "animator") == gradio.skip()
    assert actions.propose(None, 7, "animator") == gradio.skip()
    with pytest.raises(gradio.Error, match="no photo yet"):  # who presses the button is told
        actions.animate(None)


def test_results_go_after_an_hour(page_modules, monkeypatch, tmp_path):
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
    results.remove_old_results()
    assert not old.exists() and new.exists()
    assert mine.stat().st_mtime > time.time() - 60
    assert alive.exists() and not left.exists()  # that of another process, and of one long gone


def test_errors_are_told_without_paths_of_the_machine(actions, tmp_path):
    with pytest.raises(gradio.Error) as caught:
        actions.deblur(str(tmp_path / "gone.jpg"))
    assert "gone.jpg" in str(caught.value) and str(tmp_path) not in str(caught.value)

    @actions.in_plain_words
    def hungry():
        raise RuntimeError("DefaultCPUAllocator: not enough memory")

    with pytest.raises(gradio.Error, match="too large for this machine"):
        hungry()
