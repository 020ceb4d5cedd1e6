"""Evaluated methods: what they make of a sample, by name, and what they cost.

The methods of the papers' tables are judged by their own frames, before the projection that clips
get; so are those of the animator's tables, but for `PROJECTED`.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from b2m.assets import runs_folder
from b2m.data.sample import Sample
from b2m.errors import InputError
from b2m.evaluate.scoring import TRIES, Frames
from b2m.guidance.edit import reverse
from b2m.guidance.quantize import Guidance, from_flow, quantise_finer, resize
from b2m.hub import HubModel, find_weights
from b2m.hub_client import CONFIG_FILE
from b2m.inference.animator import BlurAnimator
from b2m.inference.ensemble import ENSEMBLES, mirrored_vectors
from b2m.inference.multiscale import working_photo
from b2m.media.image import Photo, Pixels, fit, from_nearest
from b2m.models.animator import MotionAnimator
from b2m.models.guidance_predictor import GuidancePredictor
from b2m.motion.fields import Flow, estimate_flow, resize_flow, to_middle_grid
from b2m.motion.orientation import coherent_signs
from b2m.registry import MODELS
from b2m.tensors import to_flow, to_pixels, to_planes_last, to_tensor
from b2m.train.recipes import find_recipe

Weights = str | os.PathLike[str] | None

COST_SIZE = (540, 960)
COST_RUNS = 5
COST_THREADS = 2
Cost = tuple[float | None, float | None]  # 10^9 multiply-adds, seconds

_NETWORK_RUNS = 3
_EDGE = 9  # pixels of a 192-pixel scene by which guidance is eroded or dilated


@dataclass(frozen=True)
class Method:
    """One way to make clips, and how it is judged.

    Attributes:
        name: as rows say.
        clips: from a sample to clips (T, H, W, 3), the likeliest first.
        model: whose cost is shown.
        tries: how many first clips the best is taken of; a row for each.
        order_invariant: judged in the better of its two orders: without temporal direction.
        flow: from a sample to motion, (H, W, 2) pixels on the middle grid; None for the optical
            flow (DIS) from the first of its frames to the last.
    """

    name: str
    clips: Callable[[Sample], list[Frames]]
    model: HubModel
    tries: tuple[int, ...] = (1,)
    order_invariant: bool = False
    flow: Callable[[Sample], Flow] | None = None

    def motion(self, sample: Sample) -> Flow:
        """The motion that it sees in a photo, (H, W, 2) pixels on the middle grid."""
        if self.flow is not None:
            return self.flow(sample)
        frames = self.clips(sample)[0]
        return to_middle_grid(estimate_flow(frames[0], frames[-1]))


def find_method(name: str, weights: Weights, runs: Path) -> Method | None:
    """A method with its trained weights; None where there are none.

    Args:
        name: one of `NAMES`.
        weights: a folder of checkpoints; see `b2m.hub.find_weights`.
        runs: folder of trainings, for models that are not shipped: RECIPE/released or
            RECIPE/weights in it.
    """
    recipe, make = _METHODS[name]
    kind = MODELS[recipe] if recipe in MODELS else find_recipe(recipe).model
    model = _load(kind, recipe, weights, runs)
    return None if model is None else make(name, model, weights)


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

_Maker = Callable[[str, HubModel, Weights], Method | None]
"""From a name, a model and the folder of other weights; None where these lack what it needs."""


def _run(model: nn.Module, sample: Sample, guidance: Guidance | None = None) -> Frames:
    device = next(model.parameters()).device
    photo = to_tensor(sample.photo).to(device) / 255
    given = None if guidance is None else to_tensor(guidance).to(device)
    with torch.inference_mode():
        found: Tensor = model(photo, given)
    return to_pixels(found[0])


def _unguided(name: str, model: HubModel, weights: Weights) -> Method:
    return Method(name, lambda sample: [_run(model, sample)], model, order_invariant=True)


def _guided(guidance: Callable[[Sample], Guidance | None]) -> _Maker:
    """A model of frames that is given guidance."""

    def make(name: str, model: HubModel, weights: Weights) -> Method:
        return Method(name, lambda sample: [_run(model, sample, guidance(sample))], model)

    return make


def _true(sample: Sample) -> Guidance:
    return from_flow(sample.known_flow)


def _hint(sample: Sample) -> Guidance | None:
    return sample.hint


def _finer_guidance(name: str, model: HubModel, weights: Weights) -> Method:
    """True guidance in more or fewer directions than four."""

    def clips(sample: Sample) -> list[Frames]:
        bits = quantise_finer(to_tensor(sample.known_flow), model.config.bits)
        with torch.inference_mode():
            return [to_pixels(model(to_tensor(sample.photo) / 255, bits)[0])]

    return Method(name, clips, model)


def _sampled(name: str, model: HubModel, weights: Weights) -> Method | None:
    """Guidance by samples of the predictor, as Zhong 2022 has it; None where it is not there."""
    try:
        predictor = GuidancePredictor.from_pretrained(weights)
    except InputError:
        return None

    def clips(sample: Sample) -> list[Frames]:
        found = []
        with torch.inference_mode():
            latents = predictor.draw_latents(max(TRIES), seed=0)
            for drawn in predictor.predict(to_tensor(sample.photo) / 255, latents):
                small = to_planes_last(drawn)
                found.append(_run(model, sample, resize(small, sample.photo.shape[:2])))
        return found

    return Method(name, clips, model, TRIES)


def _animated(
    guidance: Callable[[Sample], Guidance | None] | None = None,
    tries: tuple[int, ...] = (1,),
    order_invariant: bool = False,
) -> _Maker:
    """The animator with guidance, or its own proposals."""

    def make(name: str, model: HubModel, weights: Weights) -> Method:
        animator = BlurAnimator(model)

        def clips(sample: Sample) -> list[Frames]:
            guide, count = guidance and guidance(sample), len(sample.frames)
            found = animator.animate(sample.photo, guidance=guide, frames=count, motions=max(tries))
            return [clip.raw_frames for clip in found]

        def flow(sample: Sample) -> Flow:
            return animator.animate(sample.photo)[0].flow

        return Method(name, clips, model, tries, order_invariant, None if guidance else flow)

    return make


def _flow_alone(name: str, model: HubModel, weights: Weights) -> Method:
    """Motion without frames, with the signs that users get: see `b2m.flow`."""

    def flow(sample: Sample) -> Flow:
        with torch.inference_mode():
            return coherent_signs(to_flow(model(to_tensor(sample.photo) / 255)[0]))

    return Method(name, lambda sample: [], model, order_invariant=True, flow=flow)


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
    nearest, away = from_nearest(guidance, moving)
    return np.where((away <= pixels)[..., None], nearest, 0).astype(np.int8)


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


# --- methods by name -----------------------------------------------------------------------------

_PROPOSALS, _ALONE = _animated(tries=TRIES), _animated(order_invariant=True)
_METHODS: dict[str, tuple[str, _Maker]] = {
    "Jin": ("jin-compact", _unguided),
    "VideoRestorer": ("video-restorer-compact", _unguided),
    "Jin, trained on rotation": ("jin-rotation", _unguided),
    "VideoRestorer, trained on rotation": ("video-restorer-rotation", _unguided),
    "decomposer": ("decomposer-compact", _sampled),
    "decomposer, true guidance": ("decomposer-compact", _guided(_true)),
    "decomposer, guidance from video": ("decomposer-compact", _guided(_hint)),
    "decomposer, eroded guidance": ("decomposer-compact", _guided(lambda s: erode(_true(s)))),
    "decomposer, dilated guidance": ("decomposer-compact", _guided(lambda s: dilate(_true(s)))),
    "decomposer, random guidance": ("decomposer-compact", _guided(lambda s: shuffle(_true(s)))),
    "decomposer of one stage, true guidance": ("decomposer-one-stage", _guided(_true)),
    "decomposer, from nothing": ("decomposer-from-nothing", _guided(_true)),
    "decomposer of one stage, from nothing": ("decomposer-from-nothing-one-stage", _guided(_true)),
    "decomposer, 2 directions": ("decomposer-2-directions", _finer_guidance),
    "decomposer, 8 directions": ("decomposer-8-directions", _finer_guidance),
    "decomposer, 16 directions": ("decomposer-16-directions", _finer_guidance),
    "decomposer trained without guidance": ("decomposer-unguided", _unguided),
    "animator": ("animator", _PROPOSALS),
    "animator, better order": ("animator", _ALONE),
    "animator, true guidance": ("animator", _animated(_true)),
    "animator, guidance from video": ("animator", _animated(_hint)),
    "animator on the same budget": ("animator-short", _PROPOSALS),
    "animator on the same budget, better order": ("animator-short", _ALONE),
    "animator of scenes": ("animator-short-scenes", _ALONE),
    "animator of scenes and rotation": ("animator-short-rotation", _ALONE),
    "animator of scenes and real clips": ("animator-short-clips", _ALONE),
    "animator of the mix": ("animator-short-mix", _ALONE),
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

NAMES = tuple(_METHODS)


def recipe_of(name: str) -> str:
    """The recipe whose weights a method has."""
    return _METHODS[name][0]


def find_methods(
    names: Sequence[str], weights: Weights
) -> tuple[list[Method], list[str], dict[str, Cost]]:
    """Methods whose trained weights are there, names of the others, and what the former cost.

    Args:
        names: of `NAMES`.
        weights: a folder of checkpoints, beside those of trainings in `b2m.assets.runs_folder()`.
    """
    found = {name: find_method(name, weights, runs_folder()) for name in names}
    there = [method for method in found.values() if method is not None]
    measured = {recipe_of(one.name): one.model for one in there}
    costs = {recipe: cost(model) for recipe, model in measured.items()}
    missing = [name for name, method in found.items() if method is None]
    return there, missing, {one.name: costs[recipe_of(one.name)] for one in there}


# --- the animator, for tables of its own ---------------------------------------------------------


class Prediction(NamedTuple):
    """What a method makes of a sample.

    Attributes:
        name: of the method.
        frames: (T, H, W, 3) uint8.
        flow: (H, W, 2) pixels over the exposure, on the middle frame's grid.
        order_invariant: judged in the better of its two orders.
    """

    name: str
    frames: NDArray[np.uint8]
    flow: Flow
    order_invariant: bool


Predict = Callable[[Pixels, Guidance, int], Iterator[Prediction]]
"""From a photo (H, W, 3), its true guidance (H, W, 2) and a number of frames to all predictions."""

GIVEN = "animator, true guidance"
REVERSED = "animator, guidance reversed, better order"
FREE = "animator, no guidance, better order"
PROJECTED = "animator, true guidance, projected"
GIVEN_ENSEMBLE = "animator, true guidance, ensemble of 4"
FREE_ENSEMBLE = "animator, no guidance, ensemble of 4, better order"

ENLARGED = (1, 2, 4)
"""Times to which photos are enlarged in the table "enlarged"."""

LARGE = 2.4
"""Times as long as their working size photos are in the table "large", as with 12 megapixels."""


def animator_methods(animator: BlurAnimator) -> Predict:
    """The methods of the tables "scenes" and "clips"; the photo is encoded once for all, and once
    more by the ensemble.

    Frames are the network's own, but for `PROJECTED`, which has what `BlurAnimator`
    gives: frames moved so that they average to the photo.
    """

    several = BlurAnimator(animator.model, ensemble=4)

    def predict(photo: Pixels, guidance: Guidance, count: int) -> Iterator[Prediction]:
        prepared, again = animator.prepare(photo), several.prepare(photo)
        for name, seen, guide in (
            (GIVEN, prepared, guidance),
            (REVERSED, prepared, reverse(guidance)),
            (FREE, prepared, None),
            (GIVEN_ENSEMBLE, again, guidance),
            (FREE_ENSEMBLE, again, None),
        ):
            clip = animator.animate(seen, guidance=guide, frames=count)[0]
            order_invariant = name not in (GIVEN, GIVEN_ENSEMBLE)
            yield Prediction(name, clip.raw_frames, clip.flow, order_invariant)
        clip = animator.animate(prepared, guidance=guidance, frames=count)[0]
        yield Prediction(PROJECTED, clip.frames, clip.flow, False)

    return predict


def enlarged_methods(animator: BlurAnimator) -> Predict:
    """What `BlurAnimator` gives for an enlarged photo: without new detail, its blur is longer.

    Frames and motion are brought back to the photo's size, where the truth is.
    """

    def predict(photo: Pixels, guidance: Guidance, count: int) -> Iterator[Prediction]:
        size = photo.shape[:2]
        for times in ENLARGED:
            larger = (times * size[0], times * size[1])
            given = cv2.resize(photo, larger[::-1], interpolation=cv2.INTER_CUBIC).astype(np.uint8)
            clip = animator.animate(given, guidance=resize(guidance, larger), frames=count)[0]
            frames = np.stack([fit(frame, max(size)) for frame in clip.frames])
            name = "at its size" if times == 1 else f"enlarged {times} times"
            yield Prediction(name, frames, resize_flow(clip.flow, size), False)

    return predict


def large_methods(animator: BlurAnimator) -> Predict:
    """What `BlurAnimator` gives for a photo larger than its working size, with all its detail."""

    assert isinstance(animator.model, MotionAnimator)
    encode = animator.model.encode

    def predict(photo: Pixels, guidance: Guidance, count: int) -> Iterator[Prediction]:
        pixels = photo.shape[0] * photo.shape[1]
        smaller = working_photo(photo, round(pixels / LARGE**2))
        prepared = animator.encode(Photo(photo), smaller)
        once, again = replace(prepared, encode_detail=None), replace(prepared, encode_detail=encode)
        for name, seen in (("encoded as a whole", once), ("and again, tile by tile", again)):
            clip = animator.animate(seen, guidance=guidance, frames=count)[0]
            yield Prediction(name, clip.frames, clip.flow, False)

    return predict


# --- what they cost -------------------------------------------------------------------------------


def measure_costs(animator: BlurAnimator) -> dict[str, Cost]:
    """What each row of "scenes" costs, at `COST_SIZE` to 7 frames: by name."""
    height, width = COST_SIZE
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    guidance = np.ones((height, width, 2), np.int8)
    tensor = to_tensor(photo).to(animator.device) / 255
    direction = to_tensor(guidance).to(animator.device)

    def raw() -> None:
        # Copied out, so that a GPU's queue is waited for.
        animator.model(tensor, direction, 7).frames.cpu()

    def whole() -> None:
        _ = animator.animate(photo, guidance=guidance, frames=7)[0].frames

    def several() -> None:
        for axes in ENSEMBLES[4][1:]:
            animator.model(tensor.flip(axes), mirrored_vectors(direction, axes), 2)
        raw()

    ensemble = _measured(several, COST_RUNS)
    gmacs, plain = _measured(raw, COST_RUNS)
    _, projected = _measured(whole, COST_RUNS)
    costs: dict[str, Cost] = dict.fromkeys((GIVEN, REVERSED, FREE), (gmacs, plain))
    costs |= dict.fromkeys((GIVEN_ENSEMBLE, FREE_ENSEMBLE), ensemble)
    return costs | {PROJECTED: (gmacs, projected)}


def cost(model: HubModel, runs: int = _NETWORK_RUNS) -> tuple[float, float]:
    """10^9 multiply-adds, and seconds, of one photo of `COST_SIZE`; median of some runs."""
    photo = torch.rand(1, 3, *COST_SIZE, generator=torch.Generator().manual_seed(0))
    guidance = torch.ones(1, getattr(model.config, "bits", 2), *COST_SIZE)
    device = next(model.parameters()).device
    given = photo.to(device), guidance.to(device)
    return _measured(lambda: model(*given), runs)


def _measured(work: Callable[[], object], runs: int) -> tuple[float, float]:
    """10^9 multiply-adds of some work, and its seconds: the median of some runs after a first."""
    threads = torch.get_num_threads()
    torch.set_num_threads(COST_THREADS)
    try:
        with torch.inference_mode():
            with FlopCounterMode(display=False) as counter:
                work()
            seconds = []
            for _ in range(runs):
                begun = time.perf_counter()
                work()
                seconds.append(time.perf_counter() - begun)
    finally:
        torch.set_num_threads(threads)
    return counter.get_total_flops() / 2e9, statistics.median(seconds)
