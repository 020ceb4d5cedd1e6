"""Fetch large sharp photos, cut in tiles to train on: `python examples/training_photos.py OUT`.

These are the train photos of the open pack at the size that their packages hold, and those that
`training_photos.json` lists. None of the latter shows what a val or test photo of the pack shows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from b2m.data import fetch as fetching
from b2m.errors import InputError
from b2m.files import atomic_path
from b2m.media.image import read_image

LIST = Path(__file__).with_suffix(".json")
SIDES = (640, 1000, 1600)  # longest sides that each photo is shrunk to, pixels
TILE = 640  # longest side of a tile, pixels
OVERLAP = 64  # of neighbouring tiles, at least, pixels


def sizes(longest: int) -> dict[int, int]:
    """The sides of `SIDES`, and what each is of a photo: never larger, never nearly the same."""
    found: dict[int, int] = {}
    for side in SIDES:
        if not found or min(side, longest) > 1.2 * max(found.values()):
            found[side] = min(side, longest)
    return found


def starts(length: int) -> list[int]:
    """Where tiles begin along a side, evenly, so that they cover it."""
    count = max(1, -(-(length - OVERLAP) // (TILE - OVERLAP)))
    return [int(at) for at in np.linspace(0, max(0, length - TILE), count).round()]


def tiles(photo: Image.Image) -> Iterator[tuple[str, Image.Image]]:
    """Name and picture of each tile, largest photo first; the last is 640-0-0."""
    for side, longest in reversed(sizes(max(photo.size)).items()):
        scale = longest / max(photo.size)
        width, height = (max(1, round(length * scale)) for length in photo.size)
        small = photo.resize((width, height), Image.Resampling.LANCZOS)
        for y in reversed(starts(height)):
            for x in reversed(starts(width)):
                box = (x, y, min(x + TILE, width), min(y + TILE, height))
                yield f"{side}-{x}-{y}", small.crop(box)


def read_list(path: Path = LIST) -> tuple[fetching.Pack, dict[str, slice]]:
    """The photos as a pack, and those that are parts of a file: of KDE's archives of resources."""
    found = json.loads(path.read_text("utf-8"))
    items, parts = [], {}
    for line in found["files"]:
        item = fetching.Item(f"{line['name']}.jpg", line["archive"], line["member"], 0, 0)
        items.append(item)
        if "slice" in line:
            start, length = line["slice"]
            parts[item.path] = slice(start, start + length)
    return fetching.Pack([fetching.Archive(**line) for line in found["archives"]], items, ""), parts


def make(out: Path, pack: fetching.Pack, parts: dict[str, slice]) -> list[str]:
    """Fetch a pack's photos and write their tiles; returns what could not be had."""
    out.mkdir(parents=True, exist_ok=True)
    failed = []
    for number, archive in enumerate(tqdm(pack.archives, unit="package")):
        wanted = [item for item in pack.items if item.archive == number]
        last = {item.path: out / f"{Path(item.path).stem}__640-0-0.jpg" for item in wanted}
        todo = [item for item in wanted if not last[item.path].is_file()]
        if not todo:
            continue
        try:
            with fetching.open_archive(archive, None) as path:
                for item, data in fetching.read_members(path, todo):
                    photo = read_image(data[parts.get(item.path, slice(None))]).pixels
                    for name, tile in tiles(Image.fromarray(photo).crop(item.box)):
                        target = out / f"{Path(item.path).stem}__{name}.jpg"
                        with atomic_path(target) as temporary:
                            tile.save(temporary, format="JPEG", quality=93)
        except InputError as error:
            failed.append(str(error))
    return failed


def main() -> int:
    """Make them."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    pack = fetching.read_pack()
    trained = [item for item in pack.items if item.path.startswith("photos/train/")]
    more, parts = read_list()
    out = Path(sys.argv[1])
    failed = make(out, pack._replace(items=trained), {}) + make(out, more, parts)
    print(*failed, f"{len(list(out.glob('*.jpg')))} tiles in {out}", sep="\n")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
