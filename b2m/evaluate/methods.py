"""Evaluated methods: what they make of a sample, by name, and what they cost.

Clips are scored as the network gives them, before the projection that users' clips get; those of
`PROJECTED`, and of the tables "motions", "enlarged" and "large", are scored as users get them.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from b2m.assets import runs_folder
from b2m.data.sample import Sample
from b2m.errors import InputError
from b2m.evaluate.scoring import TRIES, BestOf, Frames, Label, Prediction
from b2m.guidance.corrupt import dilate, erode, shuffle
from b2m.guidance.edit import reverse
from b2m.guidance.quantize import Guidance, from_flow, quantize_directions, resize
from b2m.hub import HubModel, find_weights
from b2m.hub_client import CONFIG_FILE
from b2m.inference.animator import BlurAnimator
from b2m.inference.ensemble import ENSEMBLES, mirrored_vectors
from b2m.inference.multiscale import working_photo
from b2m.inference.renderers import EncodedPhoto, Prepared
from b2m.media.image import Photo, Pixels, limit_side
from b2m.models.guidance_predictor import GuidancePredictor
from b2m.motion.fields import Flow, estimate_flow, resize_flow, to_middle_grid
from b2m.motion.orientation import coherent_signs
from b2m.registry import MODELS
from b2m.tensors import to_channels_last, to_float_array, to_pixels, to_tensor
from b2m.train.recipes import find_recipe

_T = TypeVar("_T")
_Model = TypeVar("_Model", bound=HubModel)
Weights = str | os.PathLike[str] | None

COST_SIZE = (540, 960)
COST_RUNS = 5
COST_SECONDS = 5.0  # after which no further run begins
COST_THREADS = 2
Cost = tuple[float | None, float | None]  # 10^9 multiply-adds, seconds
Workload = Callable[[Tensor, Tensor], object]
"""What costs are measured of: from a photo (1, 3, H, W) in [0, 1] and guidance (1, B, H, W)."""


@dataclass(frozen=True)
class Method:
    """One way to see motion in a photo, and how it is scored.

    Attributes:
        name: as rows say.
        predict: from a sample to clips, the likeliest first; none where it gives flow alone.
        model: whose cost is shown; None for none.
        tries: how many first clips the best is taken of; a row for each.
        order_invariant: scored in the better of its two orders: without temporal direction.
        flow: from a sample to motion, (H, W, 2) pixels on the middle grid; None for that of its
            first clip.
        counted: what the multiply-adds are counted of; None for the model.
        timed: what is timed; None for what is counted.
    """

    name: str
    predict: Callable[[Sample], Sequence[Prediction]] = lambda sample: ()
    model: HubModel | None = None
    tries: tuple[int, ...] = (1,)
    order_invariant: bool = False
    flow: Callable[[Sample], Flow] | None = None
    counted: Workload | None = None
    timed: Workload | None = None

    def motion(self, sample: Sample) -> Flow:
        """The motion that it sees in a photo, (H, W, 2) pixels on the middle grid.

        Of a method that gives frames alone it is the optical flow (DIS) from the first to the last.
        """
        if self.flow is not None:
            return self.flow(sample)
        clip = self.predict(sample)[0]
        if clip.flow is not None:
            return clip.flow
        return to_middle_grid(estimate_flow(clip.frames[0], clip.frames[-1]))

    def label(self, tries: int) -> Label:
        """Of the row that has the best of so many clips."""
        return BestOf(self.name, tries) if len(self.tries) > 1 else self.name


# --- what they make of a photo --------------------------------------------------------------------

_Hint = Callable[[Sample], Guidance | None]
_Factory = Callable[[str, HubModel, Weights], Method | None]
"""From a name, a model and the folder of other weights; None where these lack what it needs."""


def _run(model: HubModel, sample: Sample, guidance: Guidance | Tensor | None = None) -> Frames:
    device = next(model.parameters()).device
    photo = to_tensor(sample.photo).to(device) / 255
    if guidance is not None and not isinstance(guidance, Tensor):
        guidance = to_tensor(guidance)
    with torch.inference_mode():
        found: Tensor = model(photo, None if guidance is None else guidance.to(device))
    return to_pixels(found[0])


def _framed(guidance: Callable[[Sample], Guidance | Tensor | None], **fields: Any) -> _Factory:
    """A network that gives frames; with guidance, or with None of it; more fields of `Method`."""

    def make(name: str, model: HubModel, weights: Weights) -> Method:
        def predict(sample: Sample) -> list[Prediction]:
            return [Prediction(_run(model, sample, guidance(sample)))]

        return Method(name, predict, model, **fields)

    return make


def true_guidance(sample: Sample) -> Guidance:
    """(H, W, 2) int8: guidance of the true flow."""
    return from_flow(sample.known_flow)


def _spoilt(change: Callable[[Guidance], Guidance]) -> _Hint:
    return lambda sample: change(true_guidance(sample))


def _hint(sample: Sample) -> Guidance | None:
    return sample.hint


def _finer_guidance(name: str, model: HubModel, weights: Weights) -> Method | None:
    """True guidance in more or fewer directions than four."""
    bits = model.config.bits
    make = _framed(lambda sample: quantize_directions(to_tensor(sample.known_flow), bits))
    return make(name, model, weights)


def _sampled(name: str, model: HubModel, weights: Weights) -> Method | None:
    """Guidance by samples of the predictor, as Zhong 2022 has it; None where it is not there."""
    predictor = load_if_there(GuidancePredictor, "guidance-predictor", weights)
    if predictor is None:
        return None

    def predict(sample: Sample) -> list[Prediction]:
        with torch.inference_mode():
            latents = predictor.sample_latents(max(TRIES), seed=0)
            drawn = predictor.predict(to_tensor(sample.photo) / 255, latents)
        given = [resize(to_channels_last(one), sample.photo.shape[:2]) for one in drawn]
        return [Prediction(_run(model, sample, guidance), None, guidance) for guidance in given]

    return Method(name, predict, model, TRIES)


def animated(
    name: str,
    animator: BlurAnimator,
    guidance: _Hint | None = None,
    *,
    projected: bool = False,
    prepare: Callable[[Pixels], Prepared] | None = None,
    **fields: Any,
) -> Method:
    """An animator with guidance, or its own proposals.

    Args:
        name: as rows say.
        animator: that makes the clips.
        guidance: that it is given for a sample; None for its own proposals.
        projected: take the frames that users get, which average to the photo.
        prepare: encodes a photo; None for the animator's own.
        fields: more of the `Method`.
    """
    encode = prepare or animator.prepare
    motions = max(fields.get("tries", (1,)))

    def predict(sample: Sample) -> list[Prediction]:
        guide, count = guidance and guidance(sample), len(sample.frames)
        photo = encode(sample.photo)
        clips = animator.animate(photo, guidance=guide, frames=count, motions=motions)
        return [
            Prediction(clip.frames if projected else clip.raw_frames, clip.flow, clip.guidance)
            for clip in clips
        ]

    def flow(sample: Sample) -> Flow:
        return animator.animate(encode(sample.photo))[0].flow

    return Method(name, predict, animator.model, flow=None if guidance else flow, **fields)


def _animator(guidance: _Hint | None = None, **fields: Any) -> _Factory:
    return lambda name, model, weights: animated(name, BlurAnimator(model), guidance, **fields)


def _flow_alone(name: str, model: HubModel, weights: Weights) -> Method:
    """Motion without frames, with the signs that users get: see `b2m.flow`."""

    def flow(sample: Sample) -> Flow:
        with torch.inference_mode():
            return coherent_signs(to_float_array(model(to_tensor(sample.photo) / 255)[0]))

    return Method(name, model=model, order_invariant=True, flow=flow)


def no_motion(name: str) -> Method:
    """All is still: what other flow is compared with."""
    return Method(name, flow=lambda sample: np.zeros_like(sample.known_flow))


# --- methods by name -----------------------------------------------------------------------------

_unguided = _framed(lambda sample: None, order_invariant=True)
_PROPOSALS, _ALONE = _animator(tries=TRIES), _animator(order_invariant=True)
_METHODS: dict[str, tuple[str, _Factory]] = {
    "Jin": ("jin-compact", _unguided),
    "VideoRestorer": ("video-restorer-compact", _unguided),
    "Jin, trained on rotation": ("jin-rotation", _unguided),
    "VideoRestorer, trained on rotation": ("video-restorer-rotation", _unguided),
    "decomposer": ("decomposer-compact", _sampled),
    "decomposer, true guidance": ("decomposer-compact", _framed(true_guidance)),
    "decomposer, guidance from video": ("decomposer-compact", _framed(_hint)),
    "decomposer, eroded guidance": ("decomposer-compact", _framed(_spoilt(erode))),
    "decomposer, dilated guidance": ("decomposer-compact", _framed(_spoilt(dilate))),
    "decomposer, random guidance": ("decomposer-compact", _framed(_spoilt(shuffle))),
    "decomposer of one stage, true guidance": ("decomposer-one-stage", _framed(true_guidance)),
    "decomposer, direct": ("decomposer-direct", _framed(true_guidance)),
    "decomposer of one stage, direct": (
        "decomposer-direct-one-stage",
        _framed(true_guidance),
    ),
    "decomposer, 2 directions": ("decomposer-2-directions", _finer_guidance),
    "decomposer, 8 directions": ("decomposer-8-directions", _finer_guidance),
    "decomposer, 16 directions": ("decomposer-16-directions", _finer_guidance),
    "decomposer trained without guidance": ("decomposer-unguided", _unguided),
    "animator": ("animator", _PROPOSALS),
    "animator, better order": ("animator", _ALONE),
    "animator, true guidance": ("animator", _animator(true_guidance)),
    "animator, guidance from video": ("animator", _animator(_hint)),
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
    "VideoRestorer, trained further": ("video-restorer-further", _unguided),
    "VideoRestorer, trained further without penalty": ("video-restorer-further-pml-tcl", _unguided),
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
    names: Iterable[str], weights: Weights = None, runs: Path | None = None
) -> tuple[list[Method], list[str]]:
    """Methods whose trained weights are there, and the names of the others.

    Args:
        names: of `NAMES`.
        weights: a folder of checkpoints; see `b2m.hub.find_weights`.
        runs: folder of trainings, for models that are not shipped: RECIPE/released or
            RECIPE/weights in it; None for `b2m.assets.runs_folder()`.
    """
    models: dict[str, HubModel | None] = {}
    found: dict[str, Method | None] = {}
    for name in names:
        recipe, make = _METHODS[name]
        if recipe not in models:
            kind = MODELS[recipe] if recipe in MODELS else find_recipe(recipe).model
            models[recipe] = load_if_there(kind, recipe, weights, runs or runs_folder())
        model = models[recipe]
        found[name] = None if model is None else make(name, model, weights)
    there = [method for method in found.values() if method is not None]
    return there, [name for name, method in found.items() if method is None]


def load_if_there(
    kind: type[_Model],
    name: str,
    weights: Weights = None,
    runs: Path | None = None,
    device: str | torch.device = "cpu",
) -> _Model | None:
    """A recipe's model with its weights, of `runs` before others; None where there are none."""
    for folder in (runs / name / "released", runs / name / "weights") if runs else ():
        if (folder / CONFIG_FILE).is_file():
            return kind.from_pretrained(folder, device=device)
    try:
        folder = find_weights(name, weights)
    except InputError:
        return None
    return kind.from_pretrained(folder, device=device)


# --- the animator, for tables of its own ---------------------------------------------------------

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


def keep_last(prepare: Callable[[Pixels], _T]) -> Callable[[Pixels], _T]:
    """The same function, but that it keeps what it made of the last photo for other methods."""
    last: list[tuple[Pixels, _T]] = []

    def prepare_once(photo: Pixels) -> _T:
        if not last or last[0][0] is not photo:
            last[:] = [(photo, prepare(photo))]
        return last[0][1]

    return prepare_once


def animator_methods(animator: BlurAnimator) -> list[Method]:
    """The methods of the tables "scenes" and "clips"; the photo is encoded once for all, and once
    more by the ensemble."""
    model, ensemble = animator.model, BlurAnimator(animator.model, ensemble=4)

    def by_ensemble(photo: Tensor, guidance: Tensor) -> None:
        for axes in ENSEMBLES[4][1:]:
            model(photo.flip(axes), mirrored_vectors(guidance, axes), 2)
        model(photo, guidance)

    def whole(photo: Tensor, guidance: Tensor) -> None:
        directions = to_channels_last(guidance[0].to(torch.int8))
        _ = animator.animate(to_pixels(photo[0]), guidance=directions, frames=7)[0].frames

    def backwards(sample: Sample) -> Guidance:
        return reverse(true_guidance(sample))

    once: dict[str, Any] = {"prepare": keep_last(animator.prepare)}
    again: dict[str, Any] = {"prepare": keep_last(ensemble.prepare), "counted": by_ensemble}
    free: dict[str, Any] = {"order_invariant": True}
    return [
        animated(GIVEN, animator, true_guidance, **once),
        animated(REVERSED, animator, backwards, **free, **once),
        animated(FREE, animator, **free, **once),
        animated(GIVEN_ENSEMBLE, animator, true_guidance, **again),
        animated(FREE_ENSEMBLE, animator, **free, **again),
        animated(PROJECTED, animator, true_guidance, projected=True, timed=whole, **once),
    ]


def enlarged_methods(animator: BlurAnimator) -> list[Method]:
    """What `BlurAnimator` gives for an enlarged photo: without new detail, its blur is longer.

    Frames and motion are brought back to the photo's size, where the truth is.
    """

    def enlarged(times: int) -> Method:
        def predict(sample: Sample) -> list[Prediction]:
            photo, size = sample.photo, sample.photo.shape[:2]
            larger = (times * size[0], times * size[1])
            given = cv2.resize(photo, larger[::-1], interpolation=cv2.INTER_CUBIC).astype(np.uint8)
            guidance = resize(true_guidance(sample), larger)
            clip = animator.animate(given, guidance=guidance, frames=len(sample.frames))[0]
            frames = np.stack([limit_side(frame, max(size)) for frame in clip.frames])
            return [Prediction(frames, resize_flow(clip.flow, size))]

        return Method("at its size" if times == 1 else f"enlarged {times} times", predict)

    return [enlarged(times) for times in ENLARGED]


def large_methods(animator: BlurAnimator) -> list[Method]:
    """What `BlurAnimator` gives for a photo larger than its working size, with all its detail."""

    def as_a_whole(photo: Pixels) -> EncodedPhoto:
        smaller = working_photo(photo, round(photo.shape[0] * photo.shape[1] / LARGE**2))
        return replace(animator.encode(Photo(photo), smaller), encode_detail=None)

    once = keep_last(as_a_whole)
    return [
        animated("encoded as a whole", animator, true_guidance, projected=True, prepare=once),
        animated(
            "and again, tile by tile",
            animator,
            true_guidance,
            projected=True,
            prepare=lambda photo: replace(once(photo), encode_detail=animator.encode_tile),
        ),
    ]


# --- what they cost -------------------------------------------------------------------------------


def measure_costs(methods: Iterable[Method]) -> dict[str, Cost]:
    """What methods that have a model cost, by name; those that do the same are measured once."""
    works = {m.name: (m.model, m.counted, m.timed) for m in methods if m.model is not None}
    costs = {work: measure_cost(*work) for work in dict.fromkeys(works.values())}
    return {name: costs[work] for name, work in works.items()}


def measure_cost(
    model: HubModel,
    counted: Workload | None = None,
    timed: Workload | None = None,
    runs: int = COST_RUNS,
) -> Cost:
    """10^9 multiply-adds, and seconds, of one photo of `COST_SIZE`.

    Args:
        model: its device and the bits of its guidance are used.
        counted: what the multiply-adds are counted of; None for the model.
        timed: what is timed; None for the same.
        runs: of which the median is taken, after the one that is counted; fewer where they take
            over `COST_SECONDS`.
    """
    counted = counted or model
    timed = timed or counted
    device = next(model.parameters()).device
    photo = torch.rand(1, 3, *COST_SIZE, generator=torch.Generator().manual_seed(0)).to(device)
    guidance = torch.ones(1, getattr(model.config, "bits", 2), *COST_SIZE, device=device)
    threads = torch.get_num_threads()
    torch.set_num_threads(COST_THREADS)
    seconds: list[float] = []
    try:
        with torch.inference_mode():
            with FlopCounterMode(display=False) as counter:
                counted(photo, guidance)
            while len(seconds) < runs and sum(seconds) < COST_SECONDS:
                begun = time.perf_counter()
                timed(photo, guidance)
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                seconds.append(time.perf_counter() - begun)
    finally:
        torch.set_num_threads(threads)
    return counter.get_total_flops() / 2e9, statistics.median(seconds)
