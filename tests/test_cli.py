"""The command line as a person uses it: files, one table, one clear sentence when it cannot."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from b2m import __version__
from b2m.cli import app as cli
from b2m.cli import console
from b2m.media.video import write_mp4

ROOT = Path(__file__).parent.parent


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


@pytest.fixture
def photo(tmp_path):
    """A photo of 80 x 64 with a streak in it."""
    return make_photo(tmp_path / "photo.jpg")


def make_photo(path, seed=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 255, (8, 10, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((80, 64), Image.Resampling.BICUBIC)
    pixels = np.asarray(image).astype(np.float32)
    pixels = np.mean([np.roll(pixels, shift, axis=1) for shift in range(8)], axis=0)
    Image.fromarray(pixels.astype(np.uint8)).save(path, **options)
    return path


def one_sentence(capsys, *words):
    """The one complaint on standard error: a line with these words, and nothing of Python's."""
    lines = capsys.readouterr().err.splitlines()
    assert "Traceback" not in "".join(lines)
    # Warnings on a photo begin with its name.
    complaints = [line for line in lines if line.startswith("b2m: ")]
    assert len(complaints) == 1, lines
    said = complaints[0]
    for word in words:
        assert str(word) in said, said
    return said


# --- what needs no photo -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (("--frames", "seven"), "--frames is 'seven': give a valid integer"),
        (("--fps=fast",), "--fps is 'fast': give a valid number"),
    ],
)
def test_errors_name_the_value_of_an_option(capsys, option, sentence):
    assert cli.main(["animate", "photo.jpg", *option]) == 2
    assert sentence in capsys.readouterr().err


def test_help(capsys):
    commands = ("animate", "flow", "deblur", "video", "data", "train", "evaluate")
    for arguments in ((), ("--help",), ("-h",)):
        assert run(*arguments) == 0
        shown = capsys.readouterr().out
        assert all(f"\n  {command} " in shown for command in commands)
        assert max(map(len, shown.splitlines())) <= 80
    for command in (*commands, "data preview"):
        assert run(*command.split(), "--help") == 0
        assert "Usage: b2m " + command in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("train", ("animator ", "jin-compact ")),
        ("evaluate", ("scenes ", "2022-T1 ", "2021b-T2 ", "mix ")),
        ("data build", ("gopro ", "scenes ")),
    ],
)
def test_lists_name_what_there_is_a_line_each(capsys, command, names):
    assert run(*command.split(), "--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == sorted(lines)
    assert all(len(line.split(None, 1)) == 2 and len(line) <= 100 for line in lines)
    for name in names:
        assert sum(line.startswith(name) for line in lines) == 1


def test_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"b2m {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["animate"], ["PHOTO"]),
        (["dance"], ["dance"]),
        (["animate", "x.jpg", "--zork"], ["--zork"]),
        (["animate", "x.jpg", "--frames", "1"], ["--frames", "1", "at least 2"]),
        (["animate", "x.jpg", "--frames", "many"], ["--frames"]),
        (["animate", "x.jpg", "--format", "avi"], ["avi", "mp4", "gif", "flo"]),
        (["animate", "x.jpg", "--format", ""], ["--format"]),
        (["animate", "x.jpg", "--direction", "sideways"], ["sideways", "right", "left"]),
        (["animate", "x.jpg", "--fps", "0"], ["--fps", "0"]),
        (["animate", "x.jpg", "--max-side", "3"], ["--max-side", "3"]),
        (["animate", "x.jpg", "--device", "toaster"], ["toaster"]),
        (["animate", "x.jpg", "--guidance", "nowhere.png"], ["--guidance", "nowhere.png"]),
        (["animate", "x", "--guidance", "g.png", "--direction", "up"], ["one of them"]),
        (["animate", "x", "--scale-guidance"], ["--scale-guidance", "--guidance"]),
        (["animate", "x", "--motions", "0"], ["--motions", "0", "at least 1"]),
        (["animate", "x", "--seed", "-1"], ["--seed", "-1", "from 0 to 4294967295"]),
        (["data", "preview", "--seed", "9" * 20], ["--seed", "9" * 20]),
        (["animate", "x", "--stroke", "1,2"], ["--stroke", "1,2", "x0,y0,x1,y1"]),
        (["animate", "x", "--stroke", "1,2,3,inf"], ["--stroke", "inf"]),
        (["animate", "x", "--reverse", "1,2,3,4"], ["--reverse", "x,y"]),
        (["animate", "x", "--model", "oracle"], ["--model", "oracle", "animator", "jin"]),
        (["animate", "x", "--guidance-predictor", "dice"], ["dice", "regions", "cvae-gan"]),
        (["flow", "x", "--model", "oracle"], ["--model", "oracle", "blur-flow"]),
        (["deblur", "x", "--model", "blur-flow"], ["--model blur-flow", "--deconvolve"]),
        (["deblur", "x", "--model", "oracle"], ["--model", "oracle", "jin"]),
        (["train"], ["RECIPE"]),
        (["evaluate", "--table", "soup"], ["soup"]),
        (["train", "animator", "--hours", "0"], ["--hours"]),
        (["train", "animator", "--samples", "0"], ["--samples"]),
        (["evaluate"], ["--table"]),
        (["data"], []),
        (["data", "preview", "--count", "0"], ["--count"]),
    ],
)
def test_usage_errors(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    if words:
        one_sentence(capsys, *words)
    assert not list(tmp_path.iterdir())


def test_stems():
    def names(*paths, results=1):
        return console.result_names([Path(path) for path in paths], results)

    assert names("x/a.jpg", "a.png", "b.png", "y/a.jpg") == ["a-a", "a-b", "b", "a-c"]
    assert names("A.jpg", "a.png") == ["A-a", "a-b"]
    assert names("a.jpg", "a.png", "a-a.jpg") == ["a-b", "a-c", "a-a"]
    assert names("my.photo.jpg") == ["my.photo"]
    assert names(*["a.jpg"] * 60)[25:28] == ["a-z", "a-aa", "a-ab"]
    # With more results of each, those must not be another's.
    for results in (1, 2, 5):
        found = names("a.jpg", "a-2.jpg", "A.png", "b.jpg", "b-3.jpg", "b-3-2.jpg", results=results)
        numbers = range(1, results + 1)
        written = {console.numbered(name, n).casefold() for name in found for n in numbers}
        assert len(written) == 6 * results
        assert found[3] == "b"


def test_table(capsys):
    console.print_table(
        [
            console.Row("short.jpg", (640, 480), 12.34, 38.21, None, 1.26),
            console.Row("a longer name.jpg", (8000, 6000), 0.0, float("inf"), 0.02, 61.0),
            console.Row("odd.jpg", (16, 16), 0.0, float("nan"), None, 0.0),
        ]
    )
    printed = "".join(f"{line.rstrip()}\n" for line in capsys.readouterr().out.splitlines())
    assert printed == (
        "\n"
        "file                    size  seconds  motion px  re-blur dB  px/s\n"
        "short.jpg            640x480      1.3       12.3        38.2\n"
        "a longer name.jpg  8000x6000     61.0        0.0       exact     0\n"
        "odd.jpg                16x16      0.0        0.0        none\n"
    )


# --- photos in, files out ------------------------------------------------------------------------


def test_animate_writes_all_formats(capsys, tmp_path, photo):
    out = tmp_path / "new" / "out"
    kinds = ",".join(cli.FORMATS)
    assert run("animate", photo, "-o", out, "--format", kinds, "--frames", 3) == 0
    shown, said = capsys.readouterr()
    names = ["photo.mp4", "photo.gif", "photo.webp", "photo.png", "photo.flo", "photo.MP.jpg"]
    names.append("photo-frames/")
    lines = shown.splitlines()
    assert lines[:7] == [f"{out}/{name}" for name in names]
    assert lines[7] == ""
    assert lines[8].split() == ["file", "size", "seconds", "motion", "px", "re-blur", "dB"]
    assert lines[9].split()[:2] == ["photo.jpg", "80x64"]
    assert len(lines) == 10
    assert "Traceback" not in said
    assert sorted(path.name for path in out.iterdir()) == sorted(n.rstrip("/") for n in names)
    assert len(list((out / "photo-frames").glob("*.png"))) == 3
    assert (out / "photo.flo").stat().st_size == 12 + 80 * 64 * 2 * 4
    with Image.open(out / "photo.gif") as gif:
        assert gif.size == (80, 64)


def test_same_seed_same_bytes(tmp_path, photo):
    for name in ("one", "two"):
        assert run("animate", photo, "-o", tmp_path / name, "--format", "gif,flo,png") == 0
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_several_photos_with_a_bad_one(capsys, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("not an image")
    first = make_photo(tmp_path / "x" / "same.jpg")
    second = make_photo(tmp_path / "y" / "same.png", seed=1)
    out = tmp_path / "out"
    assert run("animate", first, bad, second, "-o", out, "--format", "flo") == 1
    shown, said = capsys.readouterr()
    assert sorted(path.name for path in out.iterdir()) == ["same-a.flo", "same-b.flo"]
    complaints = [line for line in said.splitlines() if line.startswith("b2m: ")]
    assert len(complaints) == 1
    assert "bad.jpg" in complaints[0]
    table = shown.split("\n\n")[1].splitlines()
    assert [line.split()[0] for line in table] == ["file", "same.jpg", "same.png"]


def test_guidance_picture_is_stretched(capsys, tmp_path, photo):
    from b2m.motion.io import read_flow

    Image.new("RGB", (40, 32), (0, 255, 0)).save(tmp_path / "g.png")
    arguments = ["animate", photo, "--format", "flo", "--guidance", tmp_path / "g.png", "-o"]
    assert run(*arguments, tmp_path / "a") == 2
    one_sentence(capsys, "g.png is 40x32", "80x64", "--scale-guidance")
    assert not (tmp_path / "a").exists()
    assert run(*arguments, tmp_path / "b", "--scale-guidance") == 0
    flow = read_flow(tmp_path / "b" / "photo.flo")
    assert (flow.sum(-1) <= 0).all()  # green: up and to the left


def moving_photo(path):
    """A disc that went to the right by 12 pixels, before a still background."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(60, 190, (12, 16, 3), dtype=np.uint8))
    background = np.asarray(coarse.resize((160, 120), Image.Resampling.BICUBIC)).astype(float)
    grain = random.integers(0, 255, (30, 30, 3)).repeat(3, 0).repeat(3, 1)
    rows, columns = np.mgrid[:120, :160]
    total = np.zeros_like(background)
    for shift in range(-6, 7):
        inside = (columns - 80 - shift) ** 2 + (rows - 60) ** 2 < 30**2
        frame = background.copy()
        frame[inside] = grain[(rows - 30)[inside], (columns - 80 - shift + 45)[inside]]
        total += (frame / 255) ** 2.2
    pixels = 255 * (total / 13) ** (1 / 2.2)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def test_segment(capsys, tmp_path):
    photo = Path(__file__).parents[1] / "examples" / "moving-apart.jpg"
    assert run("segment", photo, "-o", tmp_path) == 0
    mask = np.asarray(Image.open(tmp_path / "moving-apart-moving.png").convert("L"))
    assert mask.shape == (426, 640) and set(np.unique(mask)) <= {0, 255}
    for thing in (np.s_[260:340, 190:240], np.s_[240:300, 400:480]):
        assert mask[thing].mean() > 200
    assert mask[:, 280:330].mean() < 10


def test_motions_strokes_and_reversal(capsys, tmp_path):
    from b2m.motion.io import read_flow

    photo = moving_photo(tmp_path / "disc.png")

    def across(folder, name="disc"):
        """The motion of the disc's middle to the right."""
        return read_flow(tmp_path / folder / f"{name}.flo")[45:75, 65:95, 0].mean()

    base = ["animate", photo, "--format", "flo", "-o"]
    assert run(*base, tmp_path / "two", "--motions", 2) == 0
    shown, _ = capsys.readouterr()
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["disc-2.flo", "disc.flo"]
    table = shown.split("\n\n")[1].splitlines()
    assert [line.split("  ")[0] for line in table[1:]] == ["disc.png", "disc.png (2)"]
    assert across("two") > 2 and across("two", "disc-2") == pytest.approx(-across("two"), abs=1e-4)

    assert run(*base, tmp_path / "bent", "--stroke", "95,62,80,60,70,50") == 0
    assert across("bent") < -2
    # A direction first, then strokes, then what is turned round.
    told = ["--direction", "left", "--reverse", "80,60"]
    assert run(*base, tmp_path / "right", *told) == 0
    assert across("right") > 2
    told = ["--stroke", "90,60,70,60", "--reverse", "80,60", "--reverse", "75,55"]
    assert run(*base, tmp_path / "twice", *told) == 0
    assert across("twice") < -2


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (["--stroke", "10,10,900,10"], ["--stroke", "x=900", "159"]),
        (["--reverse", "-5,30"], ["--reverse", "x=-5"]),
    ],
)
def test_places_that_cannot_be_directed(capsys, tmp_path, told, words):
    photo = moving_photo(tmp_path / "disc.png")
    assert run("animate", photo, "-o", tmp_path / "out", *told) == 2
    one_sentence(capsys, "disc.png", *words)
    assert not (tmp_path / "out").exists()


def test_a_photo_is_never_overwritten(capsys, tmp_path):
    photo = make_photo(tmp_path / "photo.png")
    before = photo.read_bytes()
    assert run("animate", photo, "-o", tmp_path, "--format", "png") == 1
    one_sentence(capsys, "photo.png", "-o")
    assert photo.read_bytes() == before


def test_names_of_results(capsys, tmp_path, photo):
    for command, names in (
        ("flow", ("photo.flo", "photo-flow.png")),
        ("deblur", ["photo-sharp.png"]),
    ):
        assert run(command, photo, "-o", tmp_path) == 0
        assert capsys.readouterr().out.split() == [f"{tmp_path}/{name}" for name in names]
        with Image.open(tmp_path / names[-1]) as picture:
            assert (picture.size, picture.mode) == ((80, 64), "RGB")


def test_deblurring_along_the_motion(capsys, tmp_path, photo):
    from b2m import animate, deblur_with_flow

    assert run("deblur", photo, "-o", tmp_path, "--deconvolve") == 0
    with Image.open(tmp_path / "photo-sharp.png") as picture:
        expected = deblur_with_flow(photo, animate(photo)[0].flow)
        assert np.array_equal(np.asarray(picture), expected)


def test_other_models(capsys, tmp_path, photo):
    from b2m import models, motion

    for name, kind in {"jin": models.JinSequence, "flow": models.BlurFlowNet}.items():
        kind(kind.config_class.tiny()).save_pretrained(tmp_path / name)
    jin = ["--model", "jin", "--weights", tmp_path / "jin", "-o", tmp_path]
    assert run("animate", photo, *jin, "--format", "flo", "--motions", 3) == 0
    assert "no more than 2 ways" in capsys.readouterr().err
    forwards, backwards = (motion.read_flow(tmp_path / f"photo{n}.flo") for n in ("", "-2"))
    assert forwards.shape == backwards.shape == (64, 80, 2)
    assert run("animate", photo, *jin, "--frames", 9) == 1
    one_sentence(capsys, "frames=9", "7", "model='animator'")
    assert run("deblur", photo, *jin) == 0
    assert run("animate", photo, *jin, "--guidance-predictor", "cvae-gan") == 1
    one_sentence(capsys, "jin", "cvae-gan")
    flow = ["--model", "blur-flow", "--weights", tmp_path / "flow", "-o", tmp_path / "found"]
    assert run("flow", photo, *flow) == 0
    assert motion.read_flow(tmp_path / "found" / "photo.flo").shape == (64, 80, 2)
    assert "BlurFlowNet" not in capsys.readouterr().err  # whose limits are those of other weights
    assert run("segment", photo, *flow) == 0
    assert run("deblur", photo, *flow, "--deconvolve") == 0
    for made in ("moving", "sharp"):
        with Image.open(tmp_path / "found" / f"photo-{made}.png") as picture:
            assert picture.size == (80, 64)


def test_preview(capsys, tmp_path, few_textures):
    sheet = tmp_path / "preview.png"
    assert run("data", "preview", "-o", sheet, "--count", 2, "--size", 48) == 0
    assert capsys.readouterr().out == f"{sheet}\n"
    with Image.open(sheet) as picture:
        assert picture.height >= 2 * 48


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_output_is_no_folder(capsys, tmp_path, photo, place):
    (tmp_path / "file").write_text("kept")
    assert run("animate", photo, "-o", tmp_path / place) == 1
    one_sentence(capsys, tmp_path / place, "another folder")
    assert (tmp_path / "file").read_text() == "kept"


def test_files_that_cannot_grow(tmp_path, photo):
    """Real failed writes: no file of this process may exceed 200 bytes."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))

    out = tmp_path / "out"
    code = """
import sys
from b2m.cli import app
photo, out = sys.argv[1:]
print(*[app.main(["animate", photo, "-o", out, "--format", kind]) for kind in app.FORMATS])
"""
    result = subprocess.run(
        [sys.executable, "-c", code, photo, out],
        preexec_fn=limit,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert result.stdout.split() == ["1"] * len(cli.FORMATS), result.stderr
    complaints = [line for line in result.stderr.splitlines() if line.startswith("b2m: ")]
    assert len(complaints) == len(cli.FORMATS), result.stderr
    assert "Traceback" not in result.stderr
    left = [path for path in out.rglob("*") if path.is_file()]
    assert not left


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_leaves_nothing_behind(tmp_path, name):
    frames = [np.full((48, 64, 3), 10 * number, np.uint8) for number in range(20)]
    write_mp4(tmp_path / "film.mp4", frames, 10)
    out = tmp_path / "out"
    out.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "b2m.cli", "video", tmp_path / "film.mp4", "-o", out / "sharp.mp4",
         "--frames", "99"],
        # Whoever runs the tests in the background may have it ignored.
        preexec_fn=lambda: signal.signal(getattr(signal, name), signal.default_int_handler
                                         if name == "SIGINT" else signal.SIG_DFL),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while process.poll() is None and not list(out.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [path.suffix for path in out.iterdir()] == [".mp4"], "a half-written file"
    process.send_signal(getattr(signal, name))
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "b2m: stopped" and "Traceback" not in said
    assert list(out.iterdir()) == []


# --- where results go ----------------------------------------------------------------------------


def test_a_name_with_a_known_ending_is_the_file(tmp_path, photo, capsys):
    place = tmp_path / "new" / "clip.mp4"
    assert run("animate", photo, "-o", place) == 0
    assert capsys.readouterr().out.splitlines()[0] == str(place)
    assert [path.name for path in place.parent.iterdir()] == ["clip.mp4"] and place.is_file()
    made = {"field.flo": "flow", "field.PNG": "flow", "d.png": "deblur", "s.png": "segment"}
    for name, command in made.items():
        assert run(command, photo, "-o", tmp_path / name) == 0
    assert (tmp_path / "field.flo").read_bytes()[:4] == b"PIEH"
    names = {path.name for path in tmp_path.iterdir() if path.suffix.lower() in (".png", ".flo")}
    assert names == set(made)
    assert run("animate", photo, "-o", tmp_path / "a.MP.jpg") == 0
    assert (tmp_path / "a.MP.jpg").read_bytes().count(b"ftyp") == 1
    folder = tmp_path / "folder.mp4"
    folder.mkdir()
    assert run("animate", photo, "-o", folder, "--format", "flo") == 0
    assert [path.suffix for path in folder.iterdir()] == [".flo"]


@pytest.mark.parametrize(
    ("name", "more", "says"),
    [
        ("clip.mp4", ["PHOTO"], "there are 2 photos"),
        ("clip.mp4", ["--format", "gif"], "name a folder"),
        ("clip.mov", [], "which is not written here"),
        ("clip.jpg", [], "which is not written here"),
    ],
)
def test_files_that_cannot_be_meant(tmp_path, photo, capsys, name, more, says):
    more = [photo if word == "PHOTO" else word for word in more]
    assert run("animate", photo, *more, "-o", tmp_path / name) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("command", ["animate", "flow", "deblur", "segment"])
def test_no_empty_folder_is_left(tmp_path, capsys, command):
    (tmp_path / "bad.png").write_text("text")
    for place in ("a/b", "a/clip.png"):
        assert run(command, tmp_path / "bad.png", "-o", tmp_path / place) == 1
        one_sentence(capsys, "bad.png")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.png"]


def test_a_fault_of_b2m_does_not_end_the_batch(tmp_path, photo, capsys, monkeypatch):
    from b2m.inference.animator import BlurAnimator

    prepare = BlurAnimator.prepare
    calls = []

    def failing(self, image):
        calls.append(image)
        if len(calls) == 1:
            raise KeyError("a bug")
        return prepare(self, image)

    monkeypatch.setattr(BlurAnimator, "prepare", failing)
    assert run("animate", photo, photo, "-o", tmp_path, "--format", "flo") == 1
    said = capsys.readouterr()
    assert "Traceback" in said.err and "a fault in b2m, please report it" in said.err
    assert said.out.splitlines()[0].endswith(".flo")


def test_slow_clips_are_written_or_refused_in_a_sentence(tmp_path, photo, capsys):
    for number, (kind, fps, code) in enumerate(
        [("mp4", "0.0004", 0), ("gif", "0.02", 0), ("gif", "0.001", 1), ("mp4", "0.0001", 1)]
    ):
        place = tmp_path / str(number)
        assert run("animate", photo, "-o", place, "--format", kind, "--fps", fps) == code
        assert ("give at least" in capsys.readouterr().err) == (code == 1)
        assert place.exists() == (code == 0)


def test_windows_expands_patterns(monkeypatch, tmp_path, photo):
    """Typer does, where it is not handed the arguments itself."""
    handed = []
    monkeypatch.setattr("b2m.cli.app.app", lambda given, **_: handed.append(given) or 0)
    monkeypatch.setattr("sys.argv", ["b2m", "animate", "*.jpg"])
    cli.main()
    monkeypatch.setattr("sys.argv", ["b2m"])
    cli.main()
    cli.main(["flow", "x.jpg"])
    assert handed == [None, ["--help"], ["flow", "x.jpg"]]
