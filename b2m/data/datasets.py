"""Samples for PyTorch: data sets on disk, what is rendered on the fly, and mixes of them.

Every item is a function of seed, epoch and number alone: whichever process or worker fetches it,
and after whatever stop, it is the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, get_worker_info

from b2m.data.sensor import simulate_sensor
from b2m.data.storage import read_index, read_sample
from b2m.data.stream import SceneStream, augment
from b2m.errors import InputError
from b2m.guidance.quantize import quantise
from b2m.motion.fields import to_middle_grid
from b2m.tensors import to_photo, to_tensor

Item = dict[str, Tensor]
"""photo (3, H, W) and frames (T, 3, H, W), sRGB in [0, 1]; flow (2, H, W), pixels over the exposure
on the middle frame's grid; guidance (2, H, W), float of -1, 0 and 1."""


def _generator(*parts: int) -> torch.Generator:
    mixed = 0
    for part in parts:  # distinct odd multipliers keep the streams apart
        mixed = (mixed * 1_000_003 + part + 7_919) % 2**63
    return torch.Generator().manual_seed(mixed)


def _varied(
    photo: Tensor, frames: Tensor, flow: Tensor, draw: torch.Generator, noise: bool
) -> Item:
    """Turn, mirror, reverse and recolour one sample, and put a camera's noise on its photo.

    Shapes stay: what is not square is turned by halves only.

    Args:
        photo: (3, H, W).
        frames: (T, 3, H, W).
        flow: (2, H, W).
        draw: what is done.
        noise: of the sensor.
    """
    turns, mirror, backwards = (int(torch.randint(high, (), generator=draw)) for high in (4, 2, 2))
    if photo.shape[-2] != photo.shape[-1]:
        turns = turns // 2 * 2  # a quarter turn would give another shape, which no batch can hold
    colours = torch.randperm(3, generator=draw)
    seed = int(torch.randint(2**31, (), generator=draw))
    photo, _ = augment(photo[None, None], flow[None], turns, mirror == 1, False)
    frames, flow = augment(frames[None], flow[None], turns, mirror == 1, backwards == 1)
    photo = photo[:, 0, colours]
    return {
        "photo": (simulate_sensor(photo, seed) if noise else photo)[0].contiguous(),
        "frames": frames[0, :, colours].contiguous(),
        "flow": flow[0].contiguous(),
        "guidance": quantise(flow)[0].float(),
    }


class BlurClipDataset(Dataset[Item]):
    """One split of a data set on disk, as `b2m data build` makes it.

    Args:
        folder: of the data set.
        split: "train", "val" or "test".
        size: side of random crops, pixels; None for whole samples, which a `DataLoader` can put
            together where all are of one size.
        frames: sharp frames, as many as were kept or evenly fewer of them; None for all.
        vary: turn, mirror, reverse, recolour, and put noise on photos; by default only "train".
        seed: of crops and augmentation.

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
        vary: bool | None = None,
        seed: int = 0,
    ) -> None:
        self.folder, self.size, self.seed, self.epoch = Path(folder), size, seed, 0
        self.vary = split == "train" if vary is None else vary
        self.records = [one for one in read_index(folder) if one.split == split and one.flow_grid]
        if not self.records:
            raise InputError(f"{folder} holds no samples with motion of the split '{split}'")
        self.frames = frames or self.records[0].frames
        for one in self.records:
            if self.frames < 2 or (one.frames - 1) % (self.frames - 1):
                raise InputError(
                    f"sample {one.number} of {folder} has {one.frames} frames, of which "
                    f"{self.frames} cannot be taken evenly: give another number"
                )
            if size is not None and min(one.width, one.height) < size:
                raise InputError(
                    f"sample {one.number} of {folder} is {one.width}x{one.height}: crops of "
                    f"{size}x{size} do not fit"
                )

    def __len__(self) -> int:
        return len(self.records)

    def set_epoch(self, epoch: int) -> None:
        """Cut and turn otherwise from now on; call it before each epoch's workers start."""
        self.epoch = epoch

    def __getitem__(self, number: int) -> Item:
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self.item(number)

    def item(self, number: int) -> Item:
        """An item; numbers beyond the length are the same samples, cut and turned otherwise.

        Raises:
            InputError: a file is missing or damaged.
        """
        record = self.records[number % len(self)]
        sample, _ = read_sample(self.folder, record)
        assert sample.flow is not None  # the constructor took only those
        flow = to_middle_grid(sample.flow) if record.flow_grid == "first" else sample.flow
        draw = _generator(self.seed, self.epoch, number)
        window: tuple[slice, ...] = ()
        if self.size is not None:
            slack = record.height - self.size, record.width - self.size
            top, left = (int(torch.randint(one + 1, (), generator=draw)) for one in slack)
            window = slice(top, top + self.size), slice(left, left + self.size)
        stride = (record.frames - 1) // (self.frames - 1)
        photo = to_photo(sample.photo[window])[0]
        frames = torch.cat([to_photo(frame[window]) for frame in sample.frames[::stride]])
        vectors = to_tensor(flow[window])[0]
        if self.vary:
            return _varied(photo, frames, vectors, draw, True)
        guidance = quantise(vectors[None])[0].float()
        return {
            "photo": photo,
            "frames": frames,
            "flow": vectors.contiguous(),
            "guidance": guidance,
        }


class MixedClips(Dataset[Item]):
    """Several data sets on disk as one; `MixSampler` says which item comes when.

    Args:
        parts: by name.

    Raises:
        InputError: they give items of different sizes or numbers of frames.
    """

    def __init__(self, parts: Mapping[str, BlurClipDataset]) -> None:
        self.parts = dict(parts)
        for what, found in (
            ("sizes", {part.size for part in self.parts.values()}),
            ("numbers of frames", {part.frames for part in self.parts.values()}),
        ):
            if len(found) > 1:
                raise InputError(f"the parts of the mix have different {what}: {found}")

    def __len__(self) -> int:
        return sum(map(len, self.parts.values()))

    def set_epoch(self, epoch: int) -> None:
        """See `BlurClipDataset`."""
        for part in self.parts.values():
            part.set_epoch(epoch)

    def __getitem__(self, place: tuple[str, int]) -> Item:
        name, number = place
        return self.parts[name].item(number)


class MixSampler(Sampler[tuple[str, int]]):
    """Which items of a mix come when: each part in its share, all of it before any of it again.

    The order is a function of seed, epoch and number of samples; each of the processes that train
    together takes every so manyth of it.

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
        draw = _generator(self.seed, self.epoch)
        places: list[tuple[str, int]] = []
        for name, count in self._counts().items():
            size = self.sizes[name]
            for again in range(math.ceil(count / size)):
                order = torch.randperm(size, generator=draw) + again * size
                places += [(name, number) for number in order[: count - again * size].tolist()]
        order = torch.randperm(self.samples, generator=draw)[self.rank :: self.ranks]
        return (places[row] for row in order[: len(self)].tolist())

    def _counts(self) -> dict[str, int]:
        """Samples of each part: whole numbers that add up."""
        total, names = sum(self.shares.values()), list(self.shares)
        ends = [
            round(self.samples * sum(self.shares[name] for name in names[: place + 1]) / total)
            for place in range(len(names))
        ]
        return {
            name: end - begin for name, begin, end in zip(names, [0, *ends], ends, strict=False)
        }


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
) -> DataLoader[Item]:
    """Batches of one epoch of a mix, the same whatever the number of workers.

    Args:
        parts: by name, as "scenes", "rotation" and "clips".
        shares: by name, as `b2m.data.stream.SHARES`.
        samples: in the epoch, over all processes.
        batch: samples.
        epoch: another one, other crops in another order.
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


class StreamBatches(IterableDataset[Item]):
    """Batches that are rendered on the fly, for a `DataLoader` with batch_size=None.

    Each worker is a process of its own to the stream and renders other scenes, keeps and reuses
    them (see `SceneStream`); batches of all workers come in turn.

    Args:
        stream: from this process's number and how many there are to a stream.
        steps: batches in an epoch, of this process and all its workers.
        rank, ranks: this process among those that train together.
    """

    def __init__(
        self,
        stream: Callable[[int, int], SceneStream],
        steps: int,
        *,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.stream, self.steps, self.rank, self.ranks, self.epoch = stream, steps, rank, ranks, 0

    def __len__(self) -> int:
        return self.steps

    def set_epoch(self, epoch: int) -> None:
        """Go on to where another epoch begins; call it before its workers start."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Item]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        mine = math.ceil((self.steps - number) / workers)
        stream = self.stream(self.rank * workers + number, self.ranks * workers)
        first = self.epoch * math.ceil(self.steps / workers)
        return (stream(first + step) for step in range(mine))
