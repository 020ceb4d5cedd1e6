"""Who competes in the papers' tables: models by name, what they make of a photo, what they cost.

All are judged by their own frames, before the projection that a person's clips get.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from b2m.errors import InputError
from b2m.evaluate.answers import COST_SIZE, COST_THREADS, to_flow, to_pixels, to_tensor
from b2m.evaluate.test_sets import Case
from b2m.guidance.quantize import Guidance, from_flow, quantise_finer, resize
from b2m.hub import CONFIG_FILE, HubModel, find_weights
from b2m.inference.animator import BlurAnimator
from b2m.models.animator import MotionAnimator
from b2m.models.guidance_predictor import GuidancePredictor
from b2m.motion.fields import Flow, estimate_flow, to_middle_grid
from b2m.registry import MODELS
from b2m.train.recipes import find_recipe

Frames = NDArray[np.uint8]
Weights = str | os.PathLike[str] | None

TRIES = (1, 3, 5)
"""P1, P3 and P5 of Zhong 2022: the best of so many motions."""

_COST_RUNS = 3
_EDGE = 9  # pixels of a 192-pixel scene by which guidance is eroded or dilated


@dataclass(frozen=True)
class Contender:
    """One way to make clips, and how it is judged.

    Attributes:
        name: as rows say.
        clips: from a case to clips (T, H, W, 3), the likeliest first.
        model: whose cost is shown.
        tries: how many first clips the best is taken of; a row for each.
        either_order: judged in the better of its two orders, as what knows of none has to be.
        flow: from a case to motion, (H, W, 2) pixels on the middle grid; None for the optical flow
            (DIS) from the first of its frames to the last.
    """

    name: str
    clips: Callable[[Case], list[Frames]]
    model: HubModel
    tries: tuple[int, ...] = (1,)
    either_order: bool = False
    flow: Callable[[Case], Flow] | None = None

    def motion(self, case: Case) -> Flow:
        """The motion that it sees in a photo, (H, W, 2) pixels on the middle grid."""
        if self.flow is not None:
            return self.flow(case)
        frames = self.clips(case)[0]
        return to_middle_grid(estimate_flow(frames[0], frames[-1]))


def find_contender(name: str, weights: Weights, runs: Path) -> Contender | None:
    """A contender with its trained weights; None where there are none.

    Args:
        name: one of `NAMES`.
        weights: a folder of checkpoints; see `b2m.hub.find_weights`.
        runs: folder of trainings, for models that are not shipped: RECIPE/released or
            RECIPE/weights in it.
    """
    recipe, make = _CONTENDERS[name]
    kind = MODELS[recipe] if recipe in MODELS else find_recipe(recipe).model
    try:
        model = _load(kind, recipe, weights, runs)
        return None if model is None else make(name, model, weights)
    except _Missing:
        return None


class _Missing(Exception):
    """Something that a contender needs beside its own weights is not there."""


_Model = TypeVar("_Model", bound=HubModel)


def _load(kind: type[_Model], recipe: str, weights: Weights, runs: Path) -> _Model | None:
    for place in (runs / recipe / "released", runs / recipe / "weights"):
        if (place / CONFIG_FILE).is_file():
            return kind.from_pretrained(place)
    try:
        folder = find_weights(recipe, weights)
    except InputError:
        return None
    return kind.from_pretrained(folder)


# --- what they make of a photo --------------------------------------------------------------------


def _run(model: nn.Module, case: Case, guidance: Guidance | None = None) -> Frames:
    device = next(model.parameters()).device
    photo = to_tensor(case.photo).to(device) / 255
    said = None if guidance is None else to_tensor(guidance).to(device)
    with torch.inference_mode():
        found: Tensor = model(photo, said)
    return to_pixels(found[0])


def _unguided(name: str, model: HubModel, weights: Weights) -> Contender:
    return Contender(name, lambda case: [_run(model, case)], model, either_order=True)


def _true_guidance(name: str, model: HubModel, weights: Weights) -> Contender:
    return Contender(name, lambda case: [_run(model, case, from_flow(case.flow))], model)


def _finer_guidance(name: str, model: HubModel, weights: Weights) -> Contender:
    """True guidance in more or fewer directions than four."""

    def clips(case: Case) -> list[Frames]:
        bits = quantise_finer(to_tensor(case.flow), model.config.bits)
        with torch.inference_mode():
            return [to_pixels(model(to_tensor(case.photo) / 255, bits)[0])]

    return Contender(name, clips, model)


def _told_by_video(name: str, model: HubModel, weights: Weights) -> Contender:
    return Contender(name, lambda case: [_run(model, case, case.told)], model)


def _eroded(name: str, model: HubModel, weights: Weights) -> Contender:
    return Contender(name, lambda case: [_run(model, case, erode(from_flow(case.flow)))], model)


def _dilated(name: str, model: HubModel, weights: Weights) -> Contender:
    return Contender(name, lambda case: [_run(model, case, dilate(from_flow(case.flow)))], model)


def _random(name: str, model: HubModel, weights: Weights) -> Contender:
    return Contender(name, lambda case: [_run(model, case, shuffle(from_flow(case.flow)))], model)


def _sampled(name: str, model: HubModel, weights: Weights) -> Contender:
    """Guidance by samples of the predictor, as Zhong 2022 has it."""
    try:
        predictor = GuidancePredictor.from_pretrained(weights)
    except InputError as error:
        raise _Missing from error

    def clips(case: Case) -> list[Frames]:
        found = []
        with torch.inference_mode():
            latents = predictor.draw_latents(max(TRIES), seed=0)
            for sample in predictor.predict(to_tensor(case.photo) / 255, latents):
                small = np.ascontiguousarray(sample.permute(1, 2, 0).numpy())
                found.append(_run(model, case, resize(small, case.photo.shape[:2])))
        return found

    return Contender(name, clips, model, TRIES)


def _animated(name: str, model: HubModel, weights: Weights) -> Contender:
    """The animator's own proposals."""
    assert isinstance(model, MotionAnimator)
    animator = BlurAnimator(model)

    def clips(case: Case) -> list[Frames]:
        found = animator.animate(case.photo, frames=len(case.frames), motions=max(TRIES))
        return [clip.raw_frames for clip in found]

    def flow(case: Case) -> Flow:
        return animator.animate(case.photo)[0].flow

    return Contender(name, clips, model, TRIES, flow=flow)


def _animated_alone(name: str, model: HubModel, weights: Weights) -> Contender:
    """The animator's first proposal, in the better order."""
    proposals = _animated(name, model, weights)
    assert isinstance(model, MotionAnimator)
    animator = BlurAnimator(model)

    def clips(case: Case) -> list[Frames]:
        return [animator.animate(case.photo, frames=len(case.frames))[0].raw_frames]

    return Contender(name, clips, model, either_order=True, flow=proposals.flow)


def _animated_as(
    guidance: Callable[[Case], Guidance | None],
) -> Callable[[str, HubModel, Weights], Contender]:
    """The animator, told which way things went."""

    def make(name: str, model: HubModel, weights: Weights) -> Contender:
        assert isinstance(model, MotionAnimator)
        animator = BlurAnimator(model)

        def clips(case: Case) -> list[Frames]:
            said = guidance(case)
            clip = animator.animate(case.photo, guidance=said, frames=len(case.frames))[0]
            return [clip.raw_frames]

        return Contender(name, clips, model)

    return make


def _flow_alone(name: str, model: HubModel, weights: Weights) -> Contender:
    """Motion without frames."""

    def flow(case: Case) -> Flow:
        with torch.inference_mode():
            return to_flow(model(to_tensor(case.photo) / 255)[0])

    return Contender(name, lambda case: [], model, either_order=True, flow=flow)


# --- guidance that is wrong -----------------------------------------------------------------------


def erode(guidance: Guidance, pixels: int = _EDGE) -> Guidance:
    """Guidance that misses the rim of what moves.

    Args:
        guidance: (H, W, 2) int8.
        pixels: width of the rim.
    """
    moving = np.asarray(guidance.any(axis=-1))
    # The frame's own border is no rim.
    padded = np.pad(moving, pixels, mode="edge").astype(np.uint8)
    inside = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[pixels:-pixels, pixels:-pixels]
    return np.where((inside > pixels)[..., None], guidance, 0).astype(np.int8)


def dilate(guidance: Guidance, pixels: int = _EDGE) -> Guidance:
    """Guidance that calls still surroundings moving: each pixel goes as the nearest that moves.

    Args:
        guidance: (H, W, 2) int8.
        pixels: how far around.
    """
    moving = np.asarray(guidance.any(axis=-1))
    if not moving.any():
        return guidance.copy()
    away, labels = cv2.distanceTransformWithLabels(
        (~moving).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.zeros((labels.max() + 1, 2), np.int8)
    nearest[labels[moving]] = guidance[moving]
    return np.where((away <= pixels)[..., None], nearest[labels], 0).astype(np.int8)


def shuffle(guidance: Guidance, seed: int = 0) -> Guidance:
    """Guidance whose quadrants were each drawn at random: what moves is right, not its way.

    Args:
        guidance: (H, W, 2) int8.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    result = guidance.copy()
    for across in (-1, 1):
        for down in (-1, 1):
            of_this = (guidance == (across, down)).all(axis=-1)
            result[of_this] = rng.choice((-1, 1), size=2)
    return result


# --- who there is ---------------------------------------------------------------------------------

_CONTENDERS: dict[str, tuple[str, Callable[[str, HubModel, Weights], Contender]]] = {
    "Jin": ("jin-compact", _unguided),
    "VideoRestorer": ("video-restorer-compact", _unguided),
    "Jin, trained on rotation": ("jin-rotation", _unguided),
    "VideoRestorer, trained on rotation": ("video-restorer-rotation", _unguided),
    "decomposer": ("decomposer-compact", _sampled),
    "decomposer, true guidance": ("decomposer-compact", _true_guidance),
    "decomposer, guidance from video": ("decomposer-compact", _told_by_video),
    "decomposer, eroded guidance": ("decomposer-compact", _eroded),
    "decomposer, dilated guidance": ("decomposer-compact", _dilated),
    "decomposer, random guidance": ("decomposer-compact", _random),
    "decomposer of one stage, true guidance": ("decomposer-one-stage", _true_guidance),
    "decomposer, 2 directions": ("decomposer-2-directions", _finer_guidance),
    "decomposer, 8 directions": ("decomposer-8-directions", _finer_guidance),
    "decomposer, 16 directions": ("decomposer-16-directions", _finer_guidance),
    "decomposer trained without guidance": ("decomposer-unguided", _unguided),
    "animator": ("animator", _animated),
    "animator, better order": ("animator", _animated_alone),
    "animator, true guidance": (
        "animator",
        _animated_as(lambda case: from_flow(case.flow)),
    ),
    "animator, guidance from video": ("animator", _animated_as(lambda case: case.told)),
    "animator on the same budget": ("animator-short", _animated),
    "animator on the same budget, better order": ("animator-short", _animated_alone),
    "animator of scenes": ("animator-short-scenes", _animated_alone),
    "animator of scenes and rotation": ("animator-short-rotation", _animated_alone),
    "animator of scenes and real clips": ("animator-short-clips", _animated_alone),
    "animator of the mix": ("animator-short-mix", _animated_alone),
    "BlurFlowNet": ("blur-flow-compact", _flow_alone),
    "BlurFlowNet, fine-tuned on video": ("blur-flow-fine-tuned", _flow_alone),
    "BlurFlowNet without refining block": ("blur-flow-stn", _flow_alone),
    "BlurFlowNet without transformers": ("blur-flow-rb", _flow_alone),
    "BlurFlowNet without both": ("blur-flow-plain", _flow_alone),
    "NAFNet": ("nafnet-compact", _unguided),
    "VideoRestorer of STN": ("video-restorer-stn", _unguided),
    "VideoRestorer of STN and LW": ("video-restorer-stn-lw", _unguided),
    "VideoRestorer of STN and ITN": ("video-restorer-stn-itn", _unguided),
    "VideoRestorer without refining block": ("video-restorer-unrefined", _unguided),
    "VideoRestorer by PML": ("video-restorer-pml", _unguided),
    "VideoRestorer by PML and TCL": ("video-restorer-pml-tcl", _unguided),
    "VideoRestorer of 3 frames": ("video-restorer-three", _unguided),
}

NAMES = tuple(_CONTENDERS)


def recipe_of(name: str) -> str:
    """The recipe whose weights a contender has."""
    return _CONTENDERS[name][0]


# --- what they cost -------------------------------------------------------------------------------


def cost(model: HubModel, runs: int = _COST_RUNS) -> tuple[float, float]:
    """10^9 multiply-adds, and seconds, of one photo of `COST_SIZE`; median of some runs."""
    photo = torch.rand(1, 3, *COST_SIZE, generator=torch.Generator().manual_seed(0))
    guidance = torch.ones(1, getattr(model.config, "bits", 2), *COST_SIZE)
    device = next(model.parameters()).device
    given = photo.to(device), guidance.to(device)
    threads = torch.get_num_threads()
    torch.set_num_threads(COST_THREADS)
    try:
        with torch.inference_mode():
            with FlopCounterMode(display=False) as counter:
                model(*given)
            seconds = []
            for _ in range(runs):
                begun = time.perf_counter()
                model(*given)
                seconds.append(time.perf_counter() - begun)
    finally:
        torch.set_num_threads(threads)
    return counter.get_total_flops() / 2e9, statistics.median(seconds)
