"""Augmentation: samples turned, mirrored, reversed, in other colours and with a camera's noise."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from b2m.data.sample import SampleBatch
from b2m.data.sensor import simulate_sensor

AUGMENTATIONS = ("turn", "mirror", "reverse", "recolour", "noise")
"""Quarter turns, left to right, the film backwards, colours permuted, and a camera's noise on the
photo."""


def augment(
    photo: Tensor,
    frames: Tensor,
    flow: Tensor,
    generator: torch.Generator,
    augmentations: Collection[str] = AUGMENTATIONS,
    *,
    path: Tensor | None = None,
) -> SampleBatch:
    """Augment samples, all of them alike.

    Args:
        photo: (B, 3, H, W) sRGB in [0, 1].
        frames: (B, T, 3, H, W) sRGB in [0, 1].
        flow: (B, 2, H, W) pixels over the exposure.
        generator: on the CPU. It is drawn from alike whatever the augmentations are.
        augmentations: some of `AUGMENTATIONS`. What is not square is turned by halves only: a
            quarter turn would give another shape, which no batch can hold.
        path: (B, 2, H, W), see `SampleBatch`; None to derive it from the flow.
    """
    turns, mirror, backwards = (
        int(torch.randint(high, (), generator=generator)) * (name in augmentations)
        for name, high in (("turn", 4), ("mirror", 2), ("reverse", 2))
    )
    if photo.shape[-2] != photo.shape[-1]:
        turns = turns // 2 * 2
    # Permuting channels changes colours and leaves exposure physics as it is.
    colours = torch.randperm(3, generator=generator).to(photo.device)
    if "recolour" not in augmentations:
        colours = colours.sort().values
    seed = int(torch.randint(2**31, (), generator=generator))
    vectors = torch.cat([flow] if path is None else [flow, path])
    photo, _ = turn_and_reverse(photo[:, None], vectors, turns, mirror == 1, False)
    frames, vectors = turn_and_reverse(frames, vectors, turns, mirror == 1, backwards == 1)
    flow, path = vectors[: len(photo)], None if path is None else vectors[len(photo) :]
    photo, frames = photo[:, 0, colours], frames[:, :, colours].contiguous()
    if "noise" in augmentations:
        photo = simulate_sensor(photo, seed)
    return SampleBatch.of(photo, frames, flow, path=path)


def turn_and_reverse(
    frames: Tensor, flow: Tensor, turns: int, mirror: bool, backwards: bool
) -> tuple[Tensor, Tensor]:
    """Turn, mirror and reverse a clip, and its vectors with it.

    Args:
        frames: (..., H, W).
        flow: (B, 2, H, W) pixels.
        turns: quarter turns, counter-clockwise.
        mirror: left to right, before the turns.
        backwards: time; frames are reversed along the second axis.

    Returns:
        The same shapes, sides swapped where the number of turns is odd.
    """
    if mirror:
        frames = frames.flip(-1)
        flow = flow.flip(-1) * flow.new_tensor([-1.0, 1.0])[:, None, None]
    frames = frames.rot90(turns, (-2, -1))
    flow = flow.rot90(turns, (-2, -1))
    for _ in range(turns % 4):  # right (1, 0) turns up (0, -1); down (0, 1) turns right
        flow = torch.stack([flow[:, 1], -flow[:, 0]], 1)
    if backwards:
        frames, flow = frames.flip(1), -flow
    return frames, flow
