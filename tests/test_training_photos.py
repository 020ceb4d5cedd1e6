"""Photos to train on: what a package holds becomes tiles that cover it, at several sizes."""

import importlib.util
import json
import zipfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from made_pictures import file_of
from PIL import Image

from b2m.data import fetch as fetching

SCRIPT = Path(__file__).parents[1] / "examples" / "training_photos.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("training_photos", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ramp(width, height):
    """Red tells the column, green the row, in units of eight pixels."""
    x, y = np.meshgrid(np.arange(width) // 8, np.arange(height) // 8)
    return Image.fromarray(np.stack([x, y, 0 * x], 2).astype(np.uint8))


@pytest.mark.parametrize("size", [(1600, 1000), (640, 480), (300, 200), (2000, 900), (700, 1024)])
def test_tiles_cover_every_size(script, size):
    found = {}
    for name, tile in script.tiles(ramp(*size)):
        side, x, y = map(int, name.split("-"))
        assert max(tile.size) <= 640
        found.setdefault(side, []).append((x, y, tile))
    assert list(found) == sorted(found, reverse=True) and name == "640-0-0"
    for side, parts in found.items():
        scale = min(1, side / max(size))
        seen = np.zeros([round(length * scale) for length in reversed(size)], int)
        for x, y, tile in parts:
            seen[y : y + tile.height, x : x + tile.width] += 1
            if scale == 1:
                assert tile.getpixel((0, 0)) == (x // 8, y // 8, 0)
        assert seen.min() == 1  # all of it, and nothing beyond
    assert set(found) == {s for s in (640, 1000, 1600) if s == 640 or max(size) >= s * 0.95}


def test_a_package_becomes_tiles(script, tmp_path, monkeypatch):
    whole, part = file_of(ramp(1100, 700)), file_of(ramp(400, 300))
    shelf = tmp_path / "kit-1-py3-none-any.whl"
    with zipfile.ZipFile(shelf, "w") as wheel:
        wheel.writestr("kit/a.png", whole)
        wheel.writestr("kit/all.rcc", b"1234" + part + b"5")
    archive = {"registry": "pypi", "package": "kit", "version": "1", "file": shelf.name}
    files = [
        {"archive": 0, "member": "kit/a.png", "name": "a"},
        {"archive": 0, "member": "kit/all.rcc", "name": "b", "slice": [4, len(part)]},
    ]
    listed = tmp_path / "list.json"
    checksum = sha256(shelf.read_bytes()).hexdigest()
    listed.write_text(
        json.dumps(
            {"archives": [archive | {"sha256": checksum, "licence": "CC0-1.0"}], "files": files}
        )
    )

    def download(_, folder):
        (folder / shelf.name).write_bytes(shelf.read_bytes())

    monkeypatch.setattr(fetching, "_download", download)
    out = tmp_path / "out"
    assert script.make(out, *script.read_list(listed)) == []
    names = {path.name for path in out.glob("*")}
    assert names == {
        *(f"a__1000-{x}-0.jpg" for x in (0, 360)),
        "a__640-0-0.jpg",
        "b__640-0-0.jpg",
    }
    assert Image.open(out / "a__1000-360-0.jpg").size == (640, 636)
    assert Image.open(out / "b__640-0-0.jpg").size == (400, 300)

    def refuse(*_):
        raise AssertionError("all is there")

    monkeypatch.setattr(fetching, "_download", refuse)
    assert script.make(out, *script.read_list(listed)) == []


def test_nothing_of_val_or_test_is_listed(script):
    pack, parts = script.read_list()
    names = [item.path for item in pack.items]
    assert len(set(names)) == len(names) > 150 and set(parts) <= set(names)
    ours = fetching.read_pack()
    kept = {
        ours.archives[item.archive].package
        for item in ours.items
        if item.path.startswith(("photos/val", "photos/test"))
    }
    assert not kept & {archive.package for archive in pack.archives}
