"""Data sets for PyTorch: what is on disk, turned alike, in an order that can be repeated."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from b2m.data.augmentation import AUGMENTATIONS, augment
from b2m.data.build.run import build
from b2m.data.datasets import (
    BlurClipDataset,
    MixedClips,
    MixSampler,
    mixed_loader,
)
from b2m.data.recipes import DATASET_RECIPES
from b2m.data.rotation import RotationConfig
from b2m.data.storage import read_index, read_sample
from b2m.errors import InputError
from b2m.guidance.quantize import quantize
from b2m.media.image import write_png
from b2m.models.recipe_presets import SHARES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos in front of which a camera turned: six to train on, two to test on."""
    root = tmp_path_factory.mktemp("data")
    for split, count in (("train", 3), ("test", 1)):
        (root / "in" / split).mkdir(parents=True)
        for number in range(count):
            noise = np.random.default_rng(number).integers(0, 256, (12, 12, 3), np.uint8)
            picture = noise.repeat(8, 0).repeat(8, 1)
            write_png(root / "in" / split / f"{split}{number}.png", picture)
    rotation = RotationConfig(size=40, blur=(5.0, 12.0), saturation=0.0)
    recipe = replace(DATASET_RECIPES["rotation"], rotation=rotation, count=8)
    build(recipe, root / "in", root / "set")
    return root / "set"


def augmented(item, draw):
    """The item, augmented without noise."""
    parts = (item[name][None] for name in ("photo", "frames", "flow"))
    batch = augment(*parts, draw, AUGMENTATIONS[:4])
    return {name: part[0] for name, part in batch._asdict().items()}


# --- items ---------------------------------------------------------------------------------------


def test_whole_samples_are_what_is_on_disk(folder):
    data = BlurClipDataset(folder, "test")
    assert len(data) == 2
    record = [one for one in read_index(folder) if one.split == "test"][1]
    sample, guidance = read_sample(folder, record)
    item = data[1]
    np.testing.assert_array_equal((item["photo"] * 255).permute(1, 2, 0).byte(), sample.photo)
    assert item["frames"].shape == (7, 3, 40, 40)
    np.testing.assert_array_equal(
        (item["frames"][3] * 255).permute(1, 2, 0).byte(), sample.frames[3]
    )
    np.testing.assert_array_equal(item["flow"].permute(1, 2, 0), sample.flow)
    np.testing.assert_array_equal(item["guidance"].permute(1, 2, 0), guidance)
    assert len(list(data)) == 2


def test_crops_hold_together(folder):
    """The same window of photo, frames, flow and guidance, somewhere in the sample."""
    data = BlurClipDataset(folder, "train", 16, 3, augment=False)
    whole = BlurClipDataset(folder, "train", augment=False)
    corners = set()
    for number in range(len(data)):
        item, full = data[number], whole[number]
        found = [
            (top, left)
            for top, left in itertools.product(range(25), repeat=2)
            if torch.equal(full["photo"][:, top : top + 16, left : left + 16], item["photo"])
        ]
        assert len(found) == 1
        top, left = found[0]
        corners.add(found[0])
        window = (..., slice(top, top + 16), slice(left, left + 16))
        assert torch.equal(item["frames"], full["frames"][::3][window])
        assert torch.equal(item["flow"], full["flow"][window])
        assert torch.equal(item["guidance"], full["guidance"][window])
    assert len(corners) > 1


def test_items_depend_on_seed_epoch_and_number_alone(folder):
    def items(epoch, seed=0, order=range(6)):
        data = BlurClipDataset(folder, "train", 24, seed=seed)
        data.set_epoch(epoch)
        return {number: data[number]["photo"] for number in order}

    first, again = items(3), items(3, order=[5, 0, 3, 1, 2, 4])
    assert all(torch.equal(first[number], again[number]) for number in range(6))
    for other in (items(4), items(3, seed=1)):
        assert not any(torch.equal(first[number], other[number]) for number in range(6))


def test_whole_samples_that_are_not_square_can_be_batched(tmp_path):
    """A quarter turn would make some of them portraits."""
    noise = np.random.default_rng(0).integers(0, 256, (10, 20, 3), np.uint8)
    wall = noise.repeat(4, 0).repeat(4, 1)
    for name in ("a", "b"):
        (tmp_path / "in" / "train" / name).mkdir(parents=True)
        for number in range(28):
            picture = np.ascontiguousarray(wall[:, number : number + 48])
            write_png(tmp_path / "in" / "train" / name / f"{number}.png", picture)
    build(DATASET_RECIPES["video"], tmp_path / "in", tmp_path / "set")
    data = BlurClipDataset(tmp_path / "set", "train")
    batch = next(iter(DataLoader(data, batch_size=8)))
    assert batch["photo"].shape == (8, 3, 40, 48) and batch["flow"].shape == (8, 2, 40, 48)
    plain = BlurClipDataset(tmp_path / "set", "train", augment=False)[0]
    ways = set()
    for seed in range(24):
        draw = torch.Generator().manual_seed(seed)
        item = augmented(plain, draw)
        assert item["photo"].shape == plain["photo"].shape
        # Motion is along the rows: half turns, mirrors and reversal leave it there.
        assert item["flow"][1].abs().mean() < 1
        ways.add(round(float(item["photo"][:, 0, 0].sum()), 3))
    assert len(ways) == 4  # the corners that come to be the first


# --- augmentation --------------------------------------------------------------------------------


def test_augmented_samples_obey_physics(folder):
    """Frames still average to the photo, and guidance is that of the flow."""
    plain = BlurClipDataset(folder, "train", augment=False)[0]
    seen = set()
    for seed in range(24):
        draw = torch.Generator().manual_seed(seed)
        item = augmented(plain, draw)
        assert torch.equal(item["guidance"], quantize(item["flow"][None])[0].float())
        before = (plain["frames"].mean(0) - plain["photo"]).abs().mean()
        after = (item["frames"].mean(0) - item["photo"]).abs().mean()
        torch.testing.assert_close(after, before)
        seen.add(tuple(item["flow"][:, 0, 0].tolist()))
    assert len(seen) >= 8  # the ways to turn, mirror and reverse


# --- mixes ---------------------------------------------------------------------------------------


def test_mixes_hold_their_shares_and_take_all_before_any_again():
    sizes = {"scenes": 40, "rotation": 300, "clips": 7}
    order = list(MixSampler(sizes, SHARES, 200))
    assert len(order) == 200
    assert Counter(name for name, _ in order) == {"scenes": 150, "rotation": 30, "clips": 20}
    scenes = Counter(number % 40 for name, number in order if name == "scenes")
    assert set(scenes.values()) == {3, 4}
    assert len({number for name, number in order if name == "scenes"}) == 150
    assert [name for name, _ in order] != sorted(name for name, _ in order)


def test_ranks_share_out_one_order():
    sizes, shares = {"a": 5, "b": 9}, {"a": 1.0, "b": 2.0}
    whole = list(MixSampler(sizes, shares, 30, seed=4))
    parts = [list(MixSampler(sizes, shares, 30, seed=4, rank=r, ranks=3)) for r in range(3)]
    assert [len(part) for part in parts] == [10, 10, 10]
    assert [place for row in zip(*parts, strict=True) for place in row] == whole
    sampler = MixSampler(sizes, shares, 30, seed=4)
    sampler.set_epoch(1)
    assert list(sampler) != whole


@pytest.mark.parametrize(
    ("shares", "samples"),
    [({"a": 1.0}, 8), ({"a": -1.0, "b": 2.0}, 8), ({"a": 0.0, "b": 0.0}, 8), ({"a": 1, "b": 1}, 0)],
)
def test_impossible_mixes_are_refused(shares, samples):
    with pytest.raises(InputError):
        MixSampler({"a": 5, "b": 9}, shares, samples)


def test_batches_of_a_mix_do_not_depend_on_workers(folder):
    def batches(workers):
        parts = {
            name: BlurClipDataset(folder, name, 24, 3, augment=True) for name in ("train", "test")
        }
        shares = {"train": 0.75, "test": 0.25}
        loader = mixed_loader(parts, shares, samples=8, batch=4, epoch=2, workers=workers)
        return list(loader)

    alone, helped = batches(0), batches(2)
    assert len(alone) == 2 and alone[0]["frames"].shape == (4, 3, 3, 24, 24)
    for one, other in zip(alone, helped, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_does_not_go_together_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="sizes"):
        MixedClips(
            {"a": BlurClipDataset(folder, "test", 24), "b": BlurClipDataset(folder, "test", 16)}
        )
    with pytest.raises(InputError, match="no samples"):
        BlurClipDataset(folder, "val")
    with pytest.raises(InputError, match="do not fit"):
        BlurClipDataset(folder, "test", 64)
    with pytest.raises(InputError, match="evenly"):
        BlurClipDataset(folder, "test", 16, 5)
    with pytest.raises(InputError, match="b2m data build"):
        BlurClipDataset(tmp_path, "test")
