"""PyTorch data sets: built ones on disk, and mixes of them.

Every item is a function of seed, epoch and number alone: whichever process or worker fetches it,
and after whatever stop, it is the same.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from b2m.data.augmentation import AUGMENTATIONS, augment
from b2m.data.sample import SampleBatch
from b2m.data.storage import FOLDERS, Record, iter_index, on_middle_grid, read_index, read_sample
from b2m.errors import InputError
from b2m.tensors import evenly_spaced, to_photo, to_tensor

_READERS = 4  # files that are read at the same time


def _generator(*parts: int) -> torch.Generator:
    mixed = 0
    for part in parts:  # distinct odd multipliers keep the streams apart
        mixed = (mixed * 1_000_003 + part + 7_919) % 2**63
    return torch.Generator().manual_seed(mixed)


class BlurClipDataset(Dataset[dict[str, Tensor]]):
    """One split of a data set on disk, as `b2m data build` makes it.

    An item holds the fields of one sample of a `SampleBatch` by name, without the first axis.

    Args:
        folder: of the data set.
        split: "train", "val" or "test".
        size: side of random crops, pixels; None for whole samples, which a `DataLoader` can put
            together where all are of one size.
        frames: sharp frames, as many as were kept or evenly fewer of them, 1 for the middle one;
            None for all.
        augment: whether samples are augmented, or by which of `AUGMENTATIONS`; by default only
            those of "train".
        seed: of crops and augmentation.
        centred: whether crops are the middle of samples, not anywhere in them.
        motion: whether samples whose motion is not known are left out; else theirs is zero.

    Raises:
        InputError: no data set, none of the split, or samples too small or of other frames.
    """

    def __init__(
        self,
        folder: str | Path,
        split: str,
        size: int | None = None,
        frames: int | None = None,
        *,
        augment: bool | Collection[str] | None = None,
        seed: int = 0,
        centred: bool = False,
        motion: bool = True,
    ) -> None:
        self.folder, self.size, self.seed, self.epoch = Path(folder), size, seed, 0
        self.centred = centred
        augment = split == "train" if augment is None else augment
        self.augmentations: Collection[str] = AUGMENTATIONS if augment is True else augment or ()
        self.records = records_of(folder, split, motion)
        self.frames = frames or self.records[0].frames
        for record in self.records:
            if (
                self.frames > 1 and (record.frames - 1) % (self.frames - 1)
            ) or record.frames < self.frames:
                raise InputError(
                    f"sample {record.number} of {folder} has {record.frames} frames, of which "
                    f"{self.frames} cannot be taken evenly: build it with --frames {self.frames}, "
                    "or take a model of another number"
                )
            if size is not None and min(record.width, record.height) < size:
                raise InputError(
                    f"sample {record.number} of {folder} is {record.width}x{record.height}: crops "
                    f"of {size}x{size} do not fit"
                )

    def __len__(self) -> int:
        return len(self.records)

    def set_epoch(self, epoch: int) -> None:
        """Crop and augment otherwise from now on; call it before each epoch's workers start."""
        self.epoch = epoch

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self.item(number)

    def item(self, number: int) -> dict[str, Tensor]:
        """An item; numbers beyond the length are the same samples, cropped and augmented otherwise.

        Raises:
            InputError: a file is missing or damaged.
        """
        record = self.records[number % len(self)]
        sample = on_middle_grid(read_sample(self.folder, record)[0], record)
        flow = sample.flow
        if flow is None:
            flow = np.zeros((record.height, record.width, 2), np.float32)
        generator = _generator(self.seed, self.epoch, number)
        window: tuple[slice, ...] = ()
        if self.size is not None:
            slack = record.height - self.size, record.width - self.size
            top, left = (int(torch.randint(rest + 1, (), generator=generator)) for rest in slack)
            if self.centred:
                top, left = (rest // 2 for rest in slack)
            window = slice(top, top + self.size), slice(left, left + self.size)
        chosen = sample.frames[evenly_spaced(len(sample.frames), self.frames)]
        frames = torch.cat([to_photo(frame[window]) for frame in chosen])[None]
        photo, vectors = to_photo(sample.photo[window]), to_tensor(flow[window])
        batch = augment(photo, frames, vectors, generator, self.augmentations)
        return {name: part[0].contiguous() for name, part in batch._asdict().items()}


def records_of(folder: str | Path, split: str, motion: bool = True) -> list[Record]:
    """The samples of a split of a data set, all of whose files are there.

    Args:
        folder: of the data set.
        split: "train", "val" or "test".
        motion: whether those whose motion is not known are left out.

    Raises:
        InputError: no data set, none of the split, or files are missing.
    """
    index = read_index(folder)
    records = [row for row in index if row.split == split and (row.flow_grid or not motion)]
    if not records:
        others = ", ".join(sorted({row.split for row in index})) or "no sample at all"
        known = " whose motion is known" if motion else ""
        raise InputError(
            f"{folder} holds no samples{known} of the split '{split}' (it has {others}): build it "
            "from sources that have some"
        )
    present = {
        f"{kind}/{name}"
        for kind in FOLDERS
        if (Path(folder) / kind).is_dir()
        for name in os.listdir(Path(folder) / kind)
    }
    for record in records:
        if missing := [path for path in record.files if path not in present]:
            raise InputError(
                f"{folder} lacks {missing[0]}: run the same build again, which makes it"
            )
    return records


class MixedClips(Dataset[dict[str, Tensor]]):
    """Several data sets on disk as one; `MixSampler` orders their items.

    Args:
        parts: by name.

    Raises:
        InputError: they give items of different sizes or numbers of frames.
    """

    def __init__(self, parts: Mapping[str, BlurClipDataset]) -> None:
        self.parts = dict(parts)
        for what, values in (
            ("sizes", {part.size for part in self.parts.values()}),
            ("numbers of frames", {part.frames for part in self.parts.values()}),
        ):
            if len(values) > 1:
                raise InputError(f"the parts of the mix have different {what}: {values}")

    def __len__(self) -> int:
        return sum(map(len, self.parts.values()))

    def set_epoch(self, epoch: int) -> None:
        """See `BlurClipDataset`."""
        for part in self.parts.values():
            part.set_epoch(epoch)

    def __getitem__(self, key: tuple[str, int]) -> dict[str, Tensor]:
        name, number = key
        return self.parts[name].item(number)


class MixSampler(Sampler[tuple[str, int]]):
    """Order of the items of a mix: each part by its share, without repetition before it is used up.

    The order is a function of seed, epoch and number of samples; the processes that train together
    take its items in turn.

    Args:
        sizes: of the parts, by name.
        shares: of the samples, by name; they are scaled to sum to one.
        samples: in an epoch, over all processes.
        seed: of the order.
        rank, ranks: this process among those that train together.

    Raises:
        InputError: other names, no samples, or shares that cannot be.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        shares: Mapping[str, float],
        samples: int,
        *,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        if sizes.keys() != shares.keys():
            raise InputError(f"shares are of {', '.join(shares)}, the parts {', '.join(sizes)}")
        if min(shares.values()) < 0 or not sum(shares.values()) or samples < ranks:
            raise InputError(f"a mix of {dict(shares)} over {samples} samples is not possible")
        self.sizes, self.shares, self.samples = dict(sizes), dict(shares), samples
        self.seed, self.rank, self.ranks, self.epoch = seed, rank, ranks, 0

    def __len__(self) -> int:
        return self.samples // self.ranks

    def set_epoch(self, epoch: int) -> None:
        """Another order from now on."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[str, int]]:
        generator = _generator(self.seed, self.epoch)
        keys: list[tuple[str, int]] = []
        for name, count in self._counts().items():
            size = self.sizes[name]
            for first in range(0, count, size):
                order = torch.randperm(size, generator=generator) + first
                keys += [(name, number) for number in order[: count - first].tolist()]
        order = torch.randperm(self.samples, generator=generator)[self.rank :: self.ranks]
        return (keys[row] for row in order[: len(self)].tolist())

    def _counts(self) -> dict[str, int]:
        """Samples of each part: whole numbers that add up."""
        ends = np.cumsum([0.0, *self.shares.values()])
        counts = np.diff(np.rint(self.samples * ends / ends[-1])).astype(int)
        return dict(zip(self.shares, counts.tolist(), strict=True))


def mixed_loader(
    parts: Mapping[str, BlurClipDataset],
    shares: Mapping[str, float],
    *,
    samples: int,
    batch: int,
    epoch: int = 0,
    seed: int = 0,
    rank: int = 0,
    ranks: int = 1,
    workers: int = 0,
) -> DataLoader[dict[str, Tensor]]:
    """Batches of one epoch of a mix, the same whatever the number of workers.

    Args:
        parts: by name, as "scenes", "rotation" and "clips".
        shares: by name, as `b2m.models.recipe_presets.SHARES`.
        samples: in the epoch, over all processes.
        batch: samples.
        epoch: each has other crops in another order.
        seed: of the order; crops have that of their data set.
        rank, ranks: this process among those that train together.
        workers: processes that read.

    Raises:
        InputError: parts that do not go together.
    """
    mix = MixedClips(parts)
    mix.set_epoch(epoch)
    sizes = {name: len(part) for name, part in parts.items()}
    sampler = MixSampler(sizes, shares, samples, seed=seed, rank=rank, ranks=ranks)
    sampler.set_epoch(epoch)
    return DataLoader(mix, batch, sampler=sampler, num_workers=workers, drop_last=True)


class BuiltStream:
    """Batches of built data sets as `b2m train` takes them: functions of seed and step alone.

    Args:
        parts: data sets by name, with crops of one size and as many frames.
        shares: of the samples, by name.
        batch: samples.
        seed: of the order.
        rank, ranks: this process among those that train together.
        device: where batches go.
    """

    def __init__(
        self,
        parts: Mapping[str, BlurClipDataset],
        shares: Mapping[str, float],
        *,
        batch: int,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        self.mix, self.batch, self.device = MixedClips(parts), batch, device
        sizes = {name: len(part) for name, part in parts.items()}
        # An epoch sees as many samples as there are, of which the last few make no whole batch.
        samples = max(batch * ranks, len(self.mix))
        self.sampler = MixSampler(sizes, shares, samples, seed=seed, rank=rank, ranks=ranks)
        self.steps = len(self.sampler) // batch
        self._order: list[tuple[str, int]] = []
        self._epoch = -1
        self._readers = ThreadPoolExecutor(_READERS)

    def __call__(self, step: int) -> SampleBatch:
        """The batch of a step."""
        epoch, position = divmod(step, self.steps)
        if epoch != self._epoch:
            self._epoch = epoch
            self.mix.set_epoch(epoch)
            self.sampler.set_epoch(epoch)
            self._order = list(self.sampler)
        chosen = self._order[position * self.batch : (position + 1) * self.batch]
        items = list(self._readers.map(self.mix.__getitem__, chosen))
        return SampleBatch(**default_collate(items)).to(self.device)


def parse_mix(data: Sequence[str | Path]) -> dict[str, float | None]:
    """Folders of data sets and their weights, of "DIR" or "DIR=WEIGHT"; None where none is given.

    Raises:
        InputError: a folder twice, or a weight that is none.
    """
    mix: dict[str, float | None] = {}
    for entry in map(str, data):
        folder, equals, weight = entry.rpartition("=")
        if not equals or Path(entry).exists():
            folder, weight = entry, ""
        try:
            share = float(weight) if weight else None
        except ValueError:
            share = math.nan
        if share is not None and not 0 < share < math.inf:
            raise InputError(f"'{weight}' is no weight of {folder}: give a number above 0")
        if folder in mix:
            raise InputError(f"{folder} is named twice: name it once, with a weight {folder}=2")
        mix[folder] = share
    return mix


def open_mix(
    data: Sequence[str | Path], split: str, **options: Any
) -> tuple[dict[str, BlurClipDataset], dict[str, float]]:
    """Data sets, and the share of each; by their number of samples where no weight is given.

    Args:
        data: see `parse_mix`.
        split: of all.
        options: of `BlurClipDataset`.

    Raises:
        InputError: as of both.
    """
    mix = parse_mix(data)
    parts = {folder: BlurClipDataset(folder, split, **options) for folder in mix}
    if any(weight is not None for weight in mix.values()):
        return parts, {folder: 1.0 if weight is None else weight for folder, weight in mix.items()}
    return parts, {folder: float(len(part)) for folder, part in parts.items()}


def validation_samples(
    data: Sequence[str | Path], count: int, size: int, frames: int, motion: bool = True
) -> SampleBatch | None:
    """Middles of samples of the validation splits, evenly of all; None where no set has one.

    Args:
        data: see `parse_mix`.
        count: at most.
        size: of the squares, pixels.
        frames: of each.
        motion: see `BlurClipDataset`.
    """
    parts = []
    for folder in parse_mix(data):
        if any(record.split == "val" for record in iter_index(folder)):
            options: dict[str, Any] = {"centred": True, "motion": motion}
            parts.append(BlurClipDataset(folder, "val", size, frames, augment=False, **options))
    items = [
        part[number]
        for part in parts
        for number in range(0, len(part), -(-len(part) * len(parts) // count))
    ]
    return SampleBatch(**default_collate(items)) if items else None
