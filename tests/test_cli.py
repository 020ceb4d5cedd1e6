"""The command line as a person uses it: files, one table, one clear sentence when it cannot."""

import os
import resource
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

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


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help(capsys, arguments):
    assert run(*arguments) == 0
    shown = capsys.readouterr().out
    for command in ("animate", "flow", "deblur", "video", "data", "train", "evaluate"):
        assert f"\n  {command} " in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    "command", ["animate", "flow", "deblur", "video", "data preview", "train", "evaluate"]
)
def test_help_of_each_command(capsys, command):
    assert run(*command.split(), "--help") == 0
    assert "Usage: b2m " + command in capsys.readouterr().out


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
        (["animate", "x.jpg", "--frames", "-3"], ["-3"]),
        (["animate", "x.jpg", "--frames", "many"], ["--frames"]),
        (["animate", "x.jpg", "--format", "avi"], ["avi", "mp4", "gif", "flo"]),
        (["animate", "x.jpg", "--format", "mp4,,gif"], ["--format"]),
        (["animate", "x.jpg", "--format", ""], ["--format"]),
        (["animate", "x.jpg", "--direction", "sideways"], ["sideways", "right", "left"]),
        (["animate", "x.jpg", "--fps", "0"], ["--fps", "0"]),
        (["animate", "x.jpg", "--fps", "nan"], ["--fps", "nan"]),
        (["animate", "x.jpg", "--max-side", "3"], ["--max-side", "3"]),
        (["animate", "x.jpg", "--device", "toaster"], ["toaster"]),
        (["animate", "x.jpg", "--guidance", "nowhere.png"], ["--guidance", "nowhere.png"]),
        (["animate", "x", "--guidance", "g.png", "--direction", "up"], ["one of them"]),
        (["animate", "x", "--scale-guidance"], ["--scale-guidance", "--guidance"]),
        (["animate", "x", "--motions", "0"], ["--motions", "0", "at least 1"]),
        (["animate", "x", "--motions", "-4"], ["--motions", "-4"]),
        (["animate", "x", "--seed", "-1"], ["--seed", "-1", "from 0 to 4294967295"]),
        (["data", "preview", "--seed", "9" * 20], ["--seed", "9" * 20]),
        (["animate", "x", "--stroke", "1,2"], ["--stroke", "1,2", "x0,y0,x1,y1"]),
        (["animate", "x", "--stroke", "1,2,3"], ["--stroke"]),
        (["animate", "x", "--stroke", "1,2,3,inf"], ["--stroke", "inf"]),
        (["animate", "x", "--stroke", "here"], ["--stroke", "here"]),
        (["animate", "x", "--reverse", "1,2,3,4"], ["--reverse", "x,y"]),
        (["animate", "x", "--reverse", ""], ["--reverse"]),
        (["animate", "x", "--reverse", "nan,2"], ["--reverse", "nan"]),
        (["animate", "x", "--model", "oracle"], ["--model", "oracle", "animator", "jin"]),
        (["animate", "x", "--guidance-predictor", "dice"], ["dice", "regions", "cvae-gan"]),
        (["flow", "x", "--model", "oracle"], ["--model", "oracle", "blur-flow"]),
        (["segment", "x", "--model", "oracle"], ["--model", "oracle", "blur-flow"]),
        (["deblur", "x", "--model", "blur-flow"], ["--model blur-flow", "--deconvolve"]),
        (["deblur", "x", "--model", "oracle", "--deconvolve"], ["oracle", "blur-flow"]),
        (["deblur", "x", "--model", "oracle"], ["--model", "oracle", "jin"]),
        (["train"], ["RECIPE"]),
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
    def names(*paths):
        return console.names([Path(path) for path in paths])

    assert names("a.jpg", "b.png") == ["a", "b"]
    assert names("x/a.jpg", "a.png", "b.png", "y/a.jpg") == ["a-a", "a-b", "b", "a-c"]
    assert names("A.jpg", "a.png") == ["A-a", "a-b"]
    assert names("a.jpg", "a.png", "a-a.jpg") == ["a-b", "a-c", "a-a"]
    assert names("my.photo.jpg") == ["my.photo"]
    # With more results of each, those must not be another's.
    for results in (1, 2, 5):
        paths = [Path(p) for p in ("a.jpg", "a-2.jpg", "A.png", "b.jpg", "b-3.jpg", "b-3-2.jpg")]
        found = console.names(paths, results)
        written = [
            console.numbered(name, number).casefold()
            for name in found
            for number in range(1, results + 1)
        ]
        assert len(set(written)) == len(written)
        assert found[3] == "b"
    assert console.numbered("a", 1) == "a" and console.numbered("a", 3) == "a-3"
    many = names(*["a.jpg"] * 60)
    assert len(set(many)) == 60
    assert many[25:28] == ["a-z", "a-aa", "a-ab"]


def test_table(capsys):
    console.print_table(
        [
            console.Row("short.jpg", (640, 480), 12.34, 38.21, None, 1.26),
            console.Row("a longer name.jpg", (8000, 6000), 0.0, float("inf"), 0.02, 61.0),
            console.Row("odd.jpg", (16, 16), 0.0, float("nan"), None, 0.0),
        ]
    )
    assert capsys.readouterr().out == (
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


def test_speed_where_the_exposure_is_known(capsys, tmp_path):
    exif = Image.Exif()
    exif[0x829A] = TiffImagePlugin.IFDRational(1, 50)
    photo = make_photo(tmp_path / "photo.jpg", exif=exif)
    assert run("animate", photo, "-o", tmp_path / "out", "--format", "flo") == 0
    assert "px/s" in capsys.readouterr().out


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

    assert run(*base, tmp_path / "left", "--stroke", "90,60,70,58") == 0
    assert across("left") < -2
    assert run(*base, tmp_path / "bent", "--stroke", "70,50,80,60,95,62") == 0
    assert across("bent") > 2
    assert run(*base, tmp_path / "back", "--reverse", "80,60") == 0
    assert across("back") < -2
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
        (["--stroke", "80,60,80,60"], ["--stroke", "single point"]),
        (["--stroke", "2,2,20,2"], ["--stroke", "nothing that moves"]),
        (["--reverse", "5,130"], ["--reverse", "y=130", "119"]),
        (["--reverse", "-5,30"], ["--reverse", "x=-5"]),
        (["--reverse", "3,3"], ["--reverse", "nothing moves"]),
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


def test_flow(capsys, tmp_path, photo):
    out = tmp_path / "out"
    assert run("flow", photo, "-o", out) == 0
    assert capsys.readouterr().out == f"{out}/photo.flo\n{out}/photo-flow.png\n"
    with Image.open(out / "photo-flow.png") as picture:
        assert picture.size == (80, 64)


def test_deblur(capsys, tmp_path, photo):
    out = tmp_path / "out"
    assert run("deblur", photo, "-o", out) == 0
    assert capsys.readouterr().out == f"{out}/photo-sharp.png\n"
    with Image.open(out / "photo-sharp.png") as picture:
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


def test_unknown_recipe_and_table(capsys):
    assert run("train", "soup") in (1, 2)
    one_sentence(capsys, "soup")
    assert run("evaluate", "--table", "soup") in (1, 2)
    one_sentence(capsys, "soup")


# --- bad input -----------------------------------------------------------------------------------


def png_header(width, height):
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def bad_photo(kind, folder):
    path = folder / f"{kind}.jpg"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("# not an image\n")
    elif kind == "empty":
        path.touch()
    elif kind == "truncated":
        data = make_photo(path).read_bytes()
        path.write_bytes(data[: len(data) // 2])
    elif kind == "bomb":
        path.write_bytes(png_header(60_000, 60_000))
    elif kind.startswith("size"):
        side = int(kind.removeprefix("size"))
        Image.new("RGB", (side, side)).save(path)
    return path


@pytest.mark.parametrize(
    "kind", ["missing", "folder", "text", "empty", "truncated", "bomb", "size1", "size15"]
)
@pytest.mark.parametrize("command", ["animate", "flow", "deblur"])
def test_bad_photos(capsys, tmp_path, kind, command):
    path = bad_photo(kind, tmp_path)
    out = tmp_path / "out"
    assert run(command, path, "-o", out) == 1
    one_sentence(capsys, path.name)
    assert not out.exists()


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_output_is_no_folder(capsys, tmp_path, photo, place):
    (tmp_path / "file").write_text("kept")
    assert run("animate", photo, "-o", tmp_path / place) == 1
    one_sentence(capsys, tmp_path / place, "another folder")
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc here")
def test_output_folder_not_writable(capsys, photo):
    assert run("animate", photo, "-o", "/proc/self") == 1
    one_sentence(capsys, "/proc/self")


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


def test_weights_missing(capsys, tmp_path, photo):
    assert run("animate", photo, "-o", tmp_path / "out", "--weights", tmp_path / "none") == 1
    one_sentence(capsys, "none", "does not exist")


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
    assert cli.main(["animate", str(photo), "-o", str(place)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == str(place)
    assert [path.name for path in place.parent.iterdir()] == ["clip.mp4"] and place.is_file()
    assert cli.main(["flow", str(photo), "-o", str(tmp_path / "field.flo")]) == 0
    assert (tmp_path / "field.flo").read_bytes()[:4] == b"PIEH"
    assert cli.main(["flow", str(photo), "-o", str(tmp_path / "field.PNG")]) == 0
    for command in ("deblur", "segment"):
        assert cli.main([command, str(photo), "-o", str(tmp_path / f"{command}.png")]) == 0
    names = {path.name for path in tmp_path.iterdir() if path.suffix.lower() in (".png", ".flo")}
    names.discard(photo.name)
    assert names == {"field.flo", "field.PNG", "deblur.png", "segment.png"}
    assert cli.main(["animate", str(photo), "-o", str(tmp_path / "a.MP.jpg")]) == 0
    assert (tmp_path / "a.MP.jpg").read_bytes().count(b"ftyp") == 1
    folder = tmp_path / "folder.mp4"
    folder.mkdir()
    assert cli.main(["animate", str(photo), "-o", str(folder), "--format", "flo"]) == 0
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
    more = [str(photo) if word == "PHOTO" else word for word in more]
    assert cli.main(["animate", str(photo), *more, "-o", str(tmp_path / name)]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("command", ["animate", "flow", "deblur", "segment"])
def test_no_empty_folder_is_left(tmp_path, capsys, command):
    (tmp_path / "bad.png").write_text("text")
    for place in ("a/b", "a/clip.png"):
        assert cli.main([command, str(tmp_path / "bad.png"), "-o", str(tmp_path / place)]) == 1
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
    arguments = [str(photo), str(photo), "-o", str(tmp_path), "--format", "flo"]
    assert cli.main(["animate", *arguments]) == 1
    said = capsys.readouterr()
    assert "Traceback" in said.err and "a fault in b2m, please report it" in said.err
    assert said.out.splitlines()[0].endswith(".flo")


def test_slow_clips_are_written_or_refused_in_a_sentence(tmp_path, photo, capsys):
    for number, (kind, fps, code) in enumerate(
        [("mp4", "0.0004", 0), ("gif", "0.02", 0), ("gif", "0.001", 1), ("mp4", "0.0001", 1)]
    ):
        place = tmp_path / str(number)
        arguments = ["animate", str(photo), "-o", str(place), "--format", kind, "--fps", fps]
        assert cli.main(arguments) == code
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
