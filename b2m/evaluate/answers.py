"""The ways of animating that the tables compare, and what they cost."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from b2m.guidance.edit import reverse
from b2m.guidance.quantize import Guidance, resize
from b2m.inference.animator import BlurAnimator
from b2m.inference.multiscale import working_photo
from b2m.media.image import Photo, Pixels, fit
from b2m.models.animator import MotionAnimator
from b2m.motion.fields import Flow, resize_flow

COST_SIZE = (540, 960)
COST_RUNS = 5
COST_THREADS = 2


Cost = tuple[float | None, float | None]  # 10^9 multiply-adds, seconds


class Answer(NamedTuple):
    """What one way of animating makes of a photo.

    Attributes:
        name: of the way.
        frames: (T, H, W, 3) uint8.
        flow: (H, W, 2) pixels over the exposure, on the middle frame's grid.
        either_order: judged in the better of its two orders.
    """

    name: str
    frames: NDArray[np.uint8]
    flow: Flow
    either_order: bool


Answers = Callable[[Pixels, Guidance, int], Iterator[Answer]]
"""From a photo (H, W, 3), its true guidance (H, W, 2) and a number of frames to all answers."""

GIVEN = "animator, true guidance"
REVERSED = "animator, guidance reversed, better order"
FREE = "animator, no guidance, better order"
PROJECTED = "animator, true guidance, projected"
PHOTO = "photo repeated"

ENLARGED = (1, 2, 4)
"""Times to which photos are enlarged in the table "enlarged"."""

LARGE = 2.4
"""Times as long as their working size photos are in the table "large", as with 12 megapixels."""


def animator_answers(animator: BlurAnimator) -> Answers:
    """The ways of animating that the tables compare; the photo is encoded once for all.

    Frames are the network's own, but for `PROJECTED`, which has what `BlurAnimator` gives a
    person: frames moved so that they average to the photo.
    """

    def answers(photo: Pixels, guidance: Guidance, count: int) -> Iterator[Answer]:
        prepared = animator.prepare(photo)
        for name, said in ((GIVEN, guidance), (REVERSED, reverse(guidance)), (FREE, None)):
            clip = animator.animate(prepared, guidance=said, frames=count)[0]
            yield Answer(name, clip.raw_frames, clip.flow, name != GIVEN)
        clip = animator.animate(prepared, guidance=guidance, frames=count)[0]
        yield Answer(PROJECTED, clip.frames, clip.flow, False)

    return answers


def enlarged_answers(animator: BlurAnimator) -> Answers:
    """What a person gets for a photo that was enlarged: without new detail, its blur is longer.

    Frames and motion are brought back to the photo's size, where the truth is.
    """

    def answers(photo: Pixels, guidance: Guidance, count: int) -> Iterator[Answer]:
        size = photo.shape[:2]
        for times in ENLARGED:
            larger = (times * size[0], times * size[1])
            given = cv2.resize(photo, larger[::-1], interpolation=cv2.INTER_CUBIC).astype(np.uint8)
            clip = animator.animate(given, guidance=resize(guidance, larger), frames=count)[0]
            frames = np.stack([fit(frame, max(size)) for frame in clip.frames])
            name = "at its size" if times == 1 else f"enlarged {times} times"
            yield Answer(name, frames, resize_flow(clip.flow, size), False)

    return answers


def large_answers(animator: BlurAnimator) -> Answers:
    """What a person gets for a photo that is larger than its working size, with all its detail."""

    assert isinstance(animator.model, MotionAnimator)
    encode = animator.model.encode

    def answers(photo: Pixels, guidance: Guidance, count: int) -> Iterator[Answer]:
        pixels = photo.shape[0] * photo.shape[1]
        smaller = working_photo(photo, round(pixels / LARGE**2))
        prepared = animator.look(Photo(photo), smaller)
        once, again = replace(prepared, look=None), replace(prepared, look=encode)
        for name, seen in (("looked at as a whole", once), ("and again, tile by tile", again)):
            clip = animator.animate(seen, guidance=guidance, frames=count)[0]
            yield Answer(name, clip.frames, clip.flow, False)

    return answers


def measure_costs(animator: BlurAnimator) -> dict[str, Cost]:
    """What each row costs, at `COST_SIZE` to 7 frames: 10^9 multiply-adds and seconds, by name."""
    height, width = COST_SIZE
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    guidance = np.ones((height, width, 2), np.int8)
    tensor = to_tensor(photo).to(animator.device) / 255
    direction = to_tensor(guidance).to(animator.device)

    def raw() -> None:
        with torch.inference_mode():
            # Copied out, so that a GPU's queue is waited for.
            animator.model(tensor, direction, 7).frames.cpu()

    def whole() -> None:
        _ = animator.animate(photo, guidance=guidance, frames=7)[0].frames

    threads = torch.get_num_threads()
    torch.set_num_threads(COST_THREADS)
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            animator.model(tensor, direction, 7)
        gmacs = counter.get_total_flops() / 2e9
        plain, projected = _median_seconds(raw), _median_seconds(whole)
    finally:
        torch.set_num_threads(threads)
    return dict.fromkeys((GIVEN, REVERSED, FREE), (gmacs, plain)) | {PROJECTED: (gmacs, projected)}


def _median_seconds(work: Callable[[], None]) -> float:
    work()
    seconds = []
    for _ in range(COST_RUNS):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)


def to_tensor(array: NDArray[np.generic]) -> torch.Tensor:
    """(H, W, C) to float (1, C, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)[None].float()


def to_pixels(images: torch.Tensor) -> NDArray[np.uint8]:
    """(B, 3, H, W) in [0, 1] to (B, H, W, 3) uint8."""
    codes = images.clamp(0, 1).mul_(255).round_().to(torch.uint8)
    return np.ascontiguousarray(codes.permute(0, 2, 3, 1).cpu().numpy())


def to_flow(flow: torch.Tensor) -> Flow:
    """(2, H, W) to (H, W, 2)."""
    return np.ascontiguousarray(flow.permute(1, 2, 0).float().cpu().numpy())
