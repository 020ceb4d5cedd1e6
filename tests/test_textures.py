"""Textures: which file is in which split, and sampling against NumPy."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from b2m.data import textures
from b2m.errors import InputError


def write(path, side=(12, 9), mode="RGB", seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"RGB": 3, "RGBA": 4, "L": 1}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (side[1], side[0], channels))
    Image.fromarray(pixels.astype(np.uint8).squeeze(), mode).save(path)
    return pixels.astype(np.uint8)


def stored(packed, image, level=0):
    """An image of a pack as (H, W, 4) NumPy."""
    offset, width, height = packed.table[image, level].tolist()
    return packed.pixels[offset : offset + width * height].view(height, width, 4).numpy()


# --- splits --------------------------------------------------------------------------------------


def test_folders_named_after_splits_are_the_splits(tmp_path):
    for split, names in {"train": "bac", "val": "d", "test": "ef"}.items():
        for name in names:
            write(tmp_path / split / f"{name}.png")
    write(tmp_path / "stray.png")
    (tmp_path / "train" / "notes.txt").write_text("no image")
    for split, names in {"train": "abc", "val": "d", "test": "ef"}.items():
        found = textures.split_files(tmp_path, split)
        assert [path.stem for path in found] == list(names)
        assert {path.parent.name for path in found} == {split}


def test_a_flat_folder_is_dealt_out(tmp_path):
    names = {f"photo-{number:03d}.jpg" for number in range(300)} | {"UPPER.JPG", "web.webp"}
    for name in [*names, "notes.txt"]:
        (tmp_path / name).touch()
    dealt = {
        split: {path.name for path in textures.split_files(tmp_path, split)}
        for split in ("train", "val", "test")
    }
    assert set.union(*dealt.values()) == names
    assert sum(map(len, dealt.values())) == len(names)  # disjoint
    assert 0.7 < len(dealt["train"]) / len(names) < 0.9
    # A name stays in its split whatever else comes and goes.
    for name in sorted(names)[::2]:
        (tmp_path / name).unlink()
    for split, before in dealt.items():
        assert {path.name for path in textures.split_files(tmp_path, split)} <= before


@pytest.mark.parametrize("split", ["train", "val", "tst"])
def test_nothing_in_a_split(tmp_path, split):
    write(tmp_path / "test" / "a.png")
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match=f"no image .*for the split '{split}'"):
        textures.load_textures(tmp_path, split)


def test_what_is_no_folder_no_split_or_no_image(tmp_path):
    write(tmp_path / "train" / "good.png")
    (tmp_path / "train" / "bad.jpg").write_bytes(b"not a picture")
    for folder, split, words in (
        (tmp_path / "nowhere", "train", "nowhere is not a folder"),
        (tmp_path / "train" / "good.png", "train", "is not a folder"),
        (None, "tst", "'tst' is no split"),
        (tmp_path, "train", r"bad\.jpg is not a readable image"),
    ):
        with pytest.raises(InputError, match=words):
            textures.load_textures(folder, split)


# --- reading -------------------------------------------------------------------------------------


def test_every_kind_of_pixel_becomes_rgba(tmp_path):
    folder = tmp_path / "train"
    colour = write(folder / "a.png", (12, 9))
    clear = write(folder / "b.png", (7, 11), "RGBA", seed=1)
    grey = write(folder / "c.png", (5, 6), "L", seed=2)
    deep = np.random.default_rng(3).integers(0, 65536, (4, 8, 3)).astype(np.uint16)
    cv2.imwrite(str(folder / "d.png"), deep[..., ::-1])
    packed = textures.load_textures(tmp_path, "train")
    assert len(packed) == 4
    np.testing.assert_array_equal(stored(packed, 0)[..., :3], colour)
    assert (stored(packed, 0)[..., 3] == 255).all()
    np.testing.assert_array_equal(stored(packed, 1), clear)
    np.testing.assert_array_equal(stored(packed, 2)[..., :3], np.repeat(grey, 3, 2))
    assert (stored(packed, 2)[..., 3] == 255).all()
    np.testing.assert_array_equal(stored(packed, 3)[..., :3], np.rint(deep / 257))


def test_smaller_copies_are_means_of_two_by_two(tmp_path):
    image = write(tmp_path / "train" / "a.png", (16, 32)).astype(float)
    packed = textures.load_textures(tmp_path, "train")
    for level in range(textures.LEVELS):
        height, width = image.shape[:2]
        assert packed.table[0, level, 1:].tolist() == [width, height]
        assert np.abs(stored(packed, 0, level)[..., :3] - image).max() <= 0.51 + level
        image = image.reshape(height // 2, 2, width // 2, 2, 3).mean((1, 3))


def test_what_is_transparent_lends_no_colour(tmp_path):
    image = np.zeros((32, 32, 4), np.uint8)
    image[..., 1] = 255  # green nobody should see
    image[8:21, 5:18] = (200, 0, 50, 255)
    (tmp_path / "train").mkdir()
    Image.fromarray(image).save(tmp_path / "train" / "a.png")
    packed = textures.load_textures(tmp_path, "train")
    for level in range(1, textures.LEVELS):
        small = stored(packed, 0, level)
        seen = small[small[..., 3] > 8].astype(int)
        assert len(seen)
        assert np.abs(seen[:, :3] - (200, 0, 50)).max() <= 2 * level
        covered = image[..., 3].reshape(32 >> level, 1 << level, 32 >> level, 1 << level)
        assert np.abs(small[..., 3] - covered.mean((1, 3))).max() <= 0.51 + level


# --- sampling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reflect", [True, False])
def test_sampling_is_indexing(tmp_path, reflect):
    sizes = [(12, 9), (31, 4), (2, 17)]
    for number, size in enumerate(sizes):
        write(tmp_path / "train" / f"{number}.png", size, "RGBA", seed=number)
    packed = textures.load_textures(tmp_path, "train")
    rng = np.random.default_rng(5)
    count = 8
    image, level = rng.integers(0, 3, count), rng.integers(0, 2, count)
    x, y = rng.uniform(-40, 60, (2, count, 6, 7))
    found = packed.sample(*map(torch.from_numpy, (image, level, x, y)), reflect)
    assert found.dtype == torch.uint8
    for n in range(count):
        pixels = stored(packed, image[n], level[n])
        height, width = pixels.shape[:2]
        padding = ((100, 100), (100, 100), (0, 0))
        padded = np.pad(pixels, padding, mode="reflect" if reflect else "constant")
        rows, columns = np.rint(y[n]).astype(int) + 100, np.rint(x[n]).astype(int) + 100
        np.testing.assert_array_equal(found[n], padded[rows, columns], err_msg=f"{height}x{width}")


# --- procedural textures -------------------------------------------------------------------------


def test_procedural_textures_are_the_same_each_time_and_of_each_split_others():
    first = textures.procedural_textures(count=3, side=32, seed=4)
    again = textures.procedural_textures(count=3, side=32, seed=4)
    other = textures.procedural_textures(count=3, side=32, seed=5)
    assert torch.equal(first.pixels, again.pixels)
    assert not torch.equal(first.pixels, other.pixels)
    assert (first.pixels[:, 3] == 255).all()
    cut = stored(textures.procedural_cutouts(count=1, side=64), 0)
    assert cut[32, 32, 3] == 255
    assert (cut[[0, 0, -1, -1], [0, -1, 0, -1], 3] == 0).all()


def test_splits_of_procedural_textures_share_nothing(few_textures):
    photos = [textures.load_textures(None, split).pixels for split in ("train", "val", "test")]
    for one in range(3):
        for other in range(one):
            assert not torch.equal(photos[one], photos[other])
