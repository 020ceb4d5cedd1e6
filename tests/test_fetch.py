"""The open pack: what the list says is what is made, whatever client or checksum is missing."""

import gzip
import hashlib
import io
import itertools
import json
import re
import shutil
import subprocess
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from b2m.cli import main
from b2m.data import fetch as fetching
from b2m.data.fetch import Archive, Item, Pack, fetch, read_pack
from b2m.errors import InputError
from b2m.media.video import read_video, write_mp4


def picture(width, height, mode="RGB", form="PNG"):
    rng = np.random.default_rng(width)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, len(mode)), np.uint8), mode)
    data = io.BytesIO()
    image = coarse.resize((width, height), Image.Resampling.BICUBIC)
    if mode == "RGBA":
        alpha = Image.new("L", (width, height))
        alpha.paste(255, (width // 4, height // 4, 3 * width // 4, 3 * height // 4))
        image.putalpha(alpha)
    image.save(data, form)
    return data.getvalue()


@pytest.fixture
def pack(tmp_path, monkeypatch):
    """Three archives, one of each registry, and clients that hand them over."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    clip = shelf / "clip.mp4"
    write_mp4(clip, (np.full((64, 48, 3), 10 * i, np.uint8) for i in range(20)), 30)
    contents = {
        "kit-1.0.0.tgz": {"package/a.jpg": picture(200, 100, form="JPEG")},
        "wheel-2.0-py3-none-any.whl": {"wheel/demo.mp4": clip.read_bytes()},
        "stamps_3_all.deb": {
            "usr/stamp.png": picture(80, 60, "RGBA"),
            "usr/clip.mp4.gz": gzip.compress(clip.read_bytes()),
            "usr/blurred.png": picture(40, 40),
        },
    }
    archives = []
    for registry, (name, files) in zip(("npm", "pypi", "debian"), contents.items(), strict=True):
        path = shelf / name
        if name.endswith(".whl"):
            with zipfile.ZipFile(path, "w") as wheel:
                for member, data in files.items():
                    wheel.writestr(member, data)
        elif name.endswith(".tgz"):
            with tarfile.open(path, "w:gz") as tar:
                for member, data in files.items():
                    entry = tarfile.TarInfo(member)
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
        else:
            if shutil.which("dpkg-deb") is None:
                pytest.skip("dpkg-deb, which packs the archives of the test, is not installed")
            root = tmp_path / "root"
            (root / "DEBIAN").mkdir(parents=True)
            (root / "DEBIAN" / "control").write_text(
                "Package: stamps\nVersion: 3\nArchitecture: all\n"
                "Maintainer: me <me@example.org>\nDescription: stamps\n"
            )
            for member, data in files.items():
                (root / member).parent.mkdir(exist_ok=True)
                (root / member).write_bytes(data)
            subprocess.run(["dpkg-deb", "-b", root, path], check=True, capture_output=True)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        archives.append(Archive(registry, name.split("-")[0], "1", name, digest, f"{registry} | x"))
    items = [
        Item("photos/train/a.jpg", 0, "package/a.jpg", 100, 50, author="Ann"),
        Item("video/test/demo.mp4", 1, "wheel/demo.mp4", 24, 32, frames=(3, 12), fps="30/1"),
        Item("cutouts/train/stamp.webp", 2, "usr/stamp.png", 40, 30, box=(20, 15, 60, 45)),
        Item("video/val/clip.mp4", 2, "usr/clip.mp4.gz", 48, 64, fps="30/1", licence="CC0-1.0"),
        Item("real_blur/test/blurred.png", 2, "usr/blurred.png", 40, 40),
    ]
    monkeypatch.setattr(
        fetching, "_download", lambda archive, folder: shutil.copy(shelf / archive.file, folder)
    )
    return Pack(archives, items, "40 are left out")


@pytest.fixture
def asked(pack, monkeypatch):
    """The archives that are asked for."""
    found, download = [], fetching._download
    monkeypatch.setattr(
        fetching,
        "_download",
        lambda archive, to: found.append(archive.file) or download(archive, to),
    )
    return found


def test_a_pack_is_made_as_its_list_says(pack, asked, tmp_path):
    out = tmp_path / "pack"
    assert fetch(out, pack=pack) == (5, {}, False)
    assert len(asked) == 3
    photo = Image.open(out / "photos" / "train" / "a.jpg")
    assert photo.size == (100, 50) and photo.format == "JPEG"
    frames = list(read_video(out / "video" / "test" / "demo.mp4"))
    assert len(frames) == 10 and frames[0].shape == (32, 24, 3)
    assert frames[0].mean() == pytest.approx(30, abs=3)
    assert len(list(read_video(out / "video" / "val" / "clip.mp4"))) == 20
    blurred = (out / "real_blur" / "test" / "blurred.png").read_bytes()
    assert blurred == picture(40, 40)  # as it came
    records = {record["path"]: record for record in json.loads((out / "index.json").read_text())}
    assert records["photos/train/a.jpg"]["author"] == "Ann"
    assert records["video/val/clip.mp4"]["licence"] == "CC0-1.0"
    assert records["video/test/demo.mp4"]["split"] == "test"
    assert [records[item.path]["kind"] for item in pack.items] == [
        "photo", "video", "cutout", "video", "real_blur",
    ]  # fmt: skip
    demo, clip = records["video/test/demo.mp4"], records["video/val/clip.mp4"]
    assert (demo["fps"], demo["fps_fraction"], demo["frames"]) == (30.0, "30/1", 10)
    assert demo["source_frames"] == [3, 12]
    assert clip["frames"] == 20 and "source_frames" not in clip
    assert "fps" not in records["photos/train/a.jpg"]
    table = (out / "LICENCES.md").read_text()
    assert table.count("\n| ") == 5 and "CC0-1.0" in table
    # There already: nothing is asked for again.
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*/*")}
    assert fetch(out, pack=pack).files == 5 and len(asked) == 3
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_cut_out_is_premultiplied_and_filled_outwards(pack, tmp_path):
    fetch(tmp_path / "pack", ["cutouts"], pack=pack)
    cutout = Image.open(tmp_path / "pack" / "cutouts" / "train" / "stamp.webp")
    assert cutout.size == (40, 30)
    assert (np.asarray(cutout.convert("RGBA"))[..., 3] == 255).all()  # the box was opaque
    wider = Item("cutouts/train/wide.webp", 2, "usr/stamp.png", 40, 30)
    fetch(tmp_path / "wide", pack=pack._replace(items=[wider]))
    pixels = np.asarray(Image.open(tmp_path / "wide" / wider.path)).astype(int)
    assert pixels[0, 0, 3] == 0 and pixels[15, 20, 3] == 255
    # Outside, the colour of the nearest opaque pixel goes on.
    assert np.abs(pixels[8, 0, :3] - pixels[8, 11, :3]).max() < 40  # WebP is lossy


def test_archives_are_kept_and_used_again(pack, asked, tmp_path):
    fetch(tmp_path / "one", ["photos"], archives=tmp_path / "kept", pack=pack)
    fetch(tmp_path / "two", ["photos"], archives=tmp_path / "kept", pack=pack)
    assert asked == ["kit-1.0.0.tgz"]
    assert (tmp_path / "kept" / "kit-1.0.0.tgz").is_file()


def test_another_archive_is_refused_and_the_rest_made(pack, tmp_path):
    wrong = [replace(pack.archives[0], sha256="0" * 64), *pack.archives[1:]]
    fetched = fetch(tmp_path / "pack", pack=pack._replace(archives=wrong))
    assert fetched.files == 4 and fetched.failed
    assert fetched.missing == {"kit-1.0.0.tgz is not the one expected: its checksum differs": 1}


def test_an_archive_that_lacks_a_file_says_so(pack, tmp_path):
    more = [*pack.items, Item("photos/train/b.jpg", 0, "package/b.jpg", 10, 10)]
    fetched = fetch(tmp_path / "pack", pack=pack._replace(items=more))
    assert fetched.files == 5 and fetched.failed
    assert fetched.missing == {"kit-1.0.0.tgz lacks package/b.jpg": 1}


def test_a_client_that_is_missing_is_said_and_no_failure(pack, tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(fetching.shutil, "which", lambda client: None)
    # As in an environment that uv makes: Python is there, its pip is not.
    monkeypatch.setattr(fetching.importlib.util, "find_spec", lambda name: None)
    fetched = fetch(tmp_path / "pack", pack=pack)
    assert not fetched.failed and fetched.files == 0
    assert fetched.missing == {
        "npm is not installed: packages of npm are left out": 1,
        "pip is not installed: packages of pypi are left out": 1,
        "apt-get is not installed: packages of debian are left out": 3,
    }


def test_a_client_that_fails_is_quoted(pack, tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(fetching.shutil, "which", lambda client: client)
    failed = subprocess.CompletedProcess([], 1, "", "404\nnot found")
    monkeypatch.setattr(fetching.subprocess, "run", lambda *_, **__: failed)
    fetched = fetch(tmp_path / "pack", ["photos", "real_blur"], pack=pack)
    assert fetched.failed and "npm cannot get kit 1 (404 not found)" in fetched.missing
    (debian,) = (said for said in fetched.missing if said.startswith("apt-get"))
    assert "Debian 12 (bookworm)" in debian and "apt-get update" in debian


def test_another_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match="choose from"):
        fetch(tmp_path, ["songs"])
    assert main(["data", "fetch", "-o", str(tmp_path), "--kind", "songs"]) == 2


# --- the list itself -----------------------------------------------------------------------------


def test_the_list_is_whole():
    pack = read_pack()
    kinds = {(item.kind, item.path.split("/")[1]) for item in pack.items}
    splits = itertools.product(("photos", "cutouts", "video"), ("train", "val", "test"))
    assert kinds == {*splits, ("real_blur", "test")}
    assert len({item.path for item in pack.items}) == len(pack.items)
    assert {item.archive for item in pack.items} == set(range(len(pack.archives)))
    for archive in pack.archives:
        assert re.fullmatch(r"[0-9a-f]{64}", archive.sha256)
        assert archive.registry in ("npm", "pypi", "debian") and archive.licence
    for item in pack.items:
        assert not item.path.startswith("/") and ".." not in item.path
        if item.box:
            left, top, right, bottom = item.box
            assert 0 <= left < right and 0 <= top < bottom


def test_splits_share_no_source():
    """Packages are the unit of photos; two are of videos, whose parts are told in the pack."""
    splits = {}
    for item in read_pack().items:
        if item.kind == "photos":
            splits.setdefault(item.archive, set()).add(item.path.split("/")[1])
    assert all(len(found) == 1 for found in splits.values())
