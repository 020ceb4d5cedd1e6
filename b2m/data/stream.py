"""Training batches from scenes rendered on the fly, each scene used several times.

Every batch is a function of the seed and the number of the step alone, so a training that goes on
from a checkpoint sees what it would have seen. `b2m train` learns from it, and with `--data` from
`b2m.data.datasets.BuiltStream`, which reads data sets from disk.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from b2m.data.augmentation import augment
from b2m.data.rotation import RotationConfig, render_rotation
from b2m.data.sample import PackedSamples, SampleBatch
from b2m.data.scenes import SceneConfig, render
from b2m.data.textures import Textures
from b2m.files import atomic_path, make_folder

_SCENES_AT_ONCE = 16
_CHUNK_SCENES = 256


class SceneStream:
    """Batches of augmented crops.

    Args:
        photos, cutouts: textures on the device of the training.
        scenes: configuration at a number of samples, as the curriculum has it, from two uniform
            draws in [0, 1): of the length of blur and of the kind of scene.
        crop: side, pixels.
        centred: whether crops are the middle of what is rendered or real, not anywhere in it.
        batch: samples.
        reuse: times each scene is used.
        rotation_share: of what is rendered, that in which only the camera rotates.
        real: squares of real clips, at least as large as the crop, mixed in; None for none.
        real_share: of the samples.
        cache: a folder where what is rendered is kept, and from which it is read if it is there, so
            that trainings that see the same scenes render them once; None for none. It takes a
            gigabyte for every 20,000 samples of scenes of 128x128 used 8 times, and is to be
            emptied when the renderer is changed.
        seed: of scenes, crops and augmentation.
        rank, ranks: this process among those that train together.
    """

    def __init__(
        self,
        photos: Textures,
        cutouts: Textures,
        scenes: Callable[[int, float, float], SceneConfig],
        *,
        crop: int,
        batch: int,
        reuse: int,
        centred: bool = False,
        rotation_share: float = 0.0,
        real: PackedSamples | None = None,
        real_share: float = 0.0,
        cache: Path | None = None,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.photos, self.cutouts, self.scenes = photos, cutouts, scenes
        self.crop, self.batch, self.reuse = crop, batch, reuse
        self.centred, self.rotation_share = centred, rotation_share
        self.seed, self.rank, self.ranks = seed, rank, ranks
        self.device = photos.pixels.device
        self.real, self.real_share = real, real_share if real is not None else 0.0
        self.cache = cache
        if cache is not None:
            make_folder(cache)
            parts = (
                part.cpu().numpy()
                for textures in (photos, cutouts)
                for part in (textures.pixels, textures.table)
            )
            self._textures = b"".join(hashlib.sha256(part.tobytes()).digest() for part in parts)
        # A chunk of scenes is rendered, used up, and replaced.
        self.chunk_scenes = math.ceil(_CHUNK_SCENES / batch) * batch if reuse > 1 else batch
        self.chunk_steps = self.chunk_scenes * reuse // batch
        self._chunk_number = -1
        self._chunk = PackedSamples(torch.empty(0), torch.empty(0))

    def _generator(self, kind: int, number: int) -> torch.Generator:
        # Distinct odd multipliers keep the streams apart.
        mixed = self.seed * 1_000_003 + kind * 7_919 + number * 104_729 + self.rank * 15_485_863
        return torch.Generator().manual_seed(mixed % 2**63)

    def _render_chunk(self, number: int) -> None:
        generator, kinds = self._generator(1, number), self._generator(4, number)
        plan: list[tuple[SceneConfig, int, int, bool]] = []
        samples = number * self.chunk_scenes * self.reuse * self.ranks
        planned, rendered = 0, self.chunk_scenes - round(self.real_share * self.chunk_scenes)
        while planned < rendered:
            count = min(_SCENES_AT_ONCE, rendered - planned)
            ceiling = float(torch.rand((), generator=generator))
            seed = int(torch.randint(2**62, (), generator=generator))
            rotates = self.rotation_share > float(torch.rand((), generator=generator))
            kind = float(torch.rand((), generator=kinds))
            plan.append((self.scenes(samples, ceiling, kind), count, seed, rotates))
            planned += count
        self._chunk, self._chunk_number = self._rendered(plan), number
        if self.real is not None and rendered < self.chunk_scenes:
            rows = torch.randint(
                len(self.real.clips), (self.chunk_scenes - rendered,), generator=generator
            )
            self._chunk = PackedSamples(
                *(
                    torch.cat([drawn, real[rows].to(self.device)])
                    for drawn, real in zip(self._chunk, self.real, strict=True)
                )
            )

    def _rendered(self, plan: list[tuple[SceneConfig, int, int, bool]]) -> PackedSamples:
        """The samples of a plan, from the cache where they are in it."""
        cached = None
        if self.cache is not None:
            # The plan and the textures say all about what is rendered, but for the code.
            digest = hashlib.sha256(self._textures + repr(plan).encode()).hexdigest()
            cached = self.cache / f"{digest[:24]}.safetensors"
            if cached.is_file():
                return PackedSamples(**load_file(cached, device=str(self.device)))
        parts = [self._render(*scenes) for scenes in plan]
        photos_and_frames = [torch.cat([part.photo[:, None], part.frames], 1) for part in parts]
        clips = torch.cat([(each * 255).round().to(torch.uint8) for each in photos_and_frames])
        flows = torch.cat([torch.stack([part.flow, part.path], 1) for part in parts]).half()
        packed = PackedSamples(clips.contiguous(), flows.contiguous())
        if cached is not None:
            with atomic_path(cached) as path:
                save_file(packed._asdict(), path)
        return packed

    def _render(self, config: SceneConfig, count: int, seed: int, rotates: bool) -> SampleBatch:
        if not rotates:
            return render(self.photos, self.cutouts, config, count, seed, self.device)
        rotation = RotationConfig(size=config.size, frames=config.frames, blur=config.blur)
        return render_rotation(self.photos, rotation, count, seed, self.device)

    def __call__(self, step: int) -> SampleBatch:
        """The batch of a step."""
        number, position = divmod(step, self.chunk_steps)
        if number != self._chunk_number:
            self._render_chunk(number)
        round_, position = divmod(position, self.chunk_scenes // self.batch)
        order = torch.randperm(
            self.chunk_scenes, generator=self._generator(2, number * self.reuse + round_)
        )
        rows = order[position * self.batch : (position + 1) * self.batch].to(self.device)
        generator = self._generator(3, step)
        clips, flows = self._chunk
        slack = clips.shape[-1] - self.crop
        top, left = (int(torch.randint(slack + 1, (), generator=generator)) for _ in range(2))
        if self.centred:
            top = left = slack // 2
        window = (..., slice(top, top + self.crop), slice(left, left + self.crop))
        clips, flows = clips[rows][window].float() / 255, flows[rows][window].float()
        flow, path = flows.unbind(1)
        return augment(clips[:, 0], clips[:, 1:], flow, generator, path=path)
