"""Clips from models that predict a fixed number of frames: those of the papers.

They predict no motion: it is estimated by optical flow (DIS) from the first frame to the last, on
the middle frame's grid. The frames are projected, so that they average to the photo.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from b2m import guidance as guidance_rules
from b2m.errors import InputError
from b2m.guidance.quantize import Guidance
from b2m.hub import HubModel
from b2m.inference import hypotheses, multiscale
from b2m.inference.clip import Clip, only_frames
from b2m.inference.renderers import FixedFrames, FramedPhoto, Prepared
from b2m.media.image import ImageLike, read_image
from b2m.models.guidance_predictor import GuidancePredictor
from b2m.motion.fields import Flow, resize_flow
from b2m.tensors import to_array, to_photo, to_tensor


def prepare(model: HubModel, image: ImageLike, device: torch.device) -> FramedPhoto:
    """Prepare a photo: runs models that take no guidance, and only reads it for the others."""
    source = read_image(image)
    working = multiscale.working_photo(source.pixels)
    frames = None
    if not model.guided:
        with torch.inference_mode():
            frames = model(to_photo(working, device))[0].clamp(0, 1)
    return FramedPhoto(source, working, frames, model.limits)


def animate(
    model: HubModel,
    predictor: GuidancePredictor | None,
    prepared: Prepared,
    *,
    guidance: Guidance | None,
    frames: int,
    motions: int,
    seed: int,
) -> list[Clip]:
    """Clips of a photo; see `b2m.api.BlurAnimator.animate`.

    A model that takes guidance gives a clip for each clearly different guidance: the user's, or
    samples of the predictor. Other models give their frames forwards and in reverse; guidance
    chooses the order that agrees better with it.

    Args:
        model: in evaluation mode, which gives so many frames.
        predictor: of guidance; None assumes motion to the right.
        prepared, guidance, frames, motions, seed: see there.

    Raises:
        InputError: another number of frames, guidance that is none, or a photo that was prepared
            for another model.
    """
    if frames != model.native_frames:
        raise InputError(only_frames(model.native_frames, frames))
    if not isinstance(prepared, FramedPhoto) or (prepared.frames is None) != model.guided:
        raise InputError("the photo was prepared for another model: prepare it with this one")
    if guidance is not None:
        guidance = guidance_rules.validate(guidance, *prepared.photo.shape[:2])
    if prepared.frames is None:
        clips = _guided(model, predictor, prepared, guidance, motions, seed)
        found = _different(clips, motions)
        return found if guidance is not None else sorted(found, key=lambda clip: -clip.score)
    orders: list[Clip] = [
        Clip(FixedFrames(prepared, order), len(order), seed)
        for order in (prepared.frames, prepared.frames.flip(0))
    ]
    if guidance is not None and (orders[0].flow * guidance).sum() < 0:
        orders.reverse()
    return orders[:motions]


def flow(model: HubModel, image: ImageLike) -> Flow:
    """The motion field of a photo by a model of flow, (H, W, 2) float32 pixels.

    The network gives motion axes; their signs are chosen so that neighbours agree.

    Args:
        model: in evaluation mode, on any device.
        image: as for `b2m.flow`.
    """
    source = read_image(image)
    working = multiscale.working_photo(source.pixels)
    with torch.inference_mode():
        found = model(to_photo(working, next(model.parameters()).device))
    signed = guidance_rules.coherent_signs(to_array(found))
    return resize_flow(signed, source.pixels.shape[:2])


def _guided(
    model: HubModel,
    predictor: GuidancePredictor | None,
    prepared: FramedPhoto,
    guidance: Guidance | None,
    motions: int,
    seed: int,
) -> Iterator[Clip]:
    """Clips of the guidance and its reverse, or of one sample of guidance after another."""
    size, working = prepared.photo.shape[:2], prepared.working.shape[:2]
    device = next(model.parameters()).device
    photo = to_photo(prepared.working, device)

    if guidance is None and predictor is not None:
        proposals = hypotheses.sampled_guidance(predictor, photo, size, motions, seed)
    else:
        given_guidance = np.full((*size, 2), (1, -1), np.int8) if guidance is None else guidance
        proposals = iter([given_guidance, -given_guidance])
    for proposal in proposals:
        small = proposal if working == size else guidance_rules.resize(proposal, working)
        given = to_tensor(small, device)
        with torch.inference_mode():
            frames = model(photo, given)[0].clamp(0, 1)
        yield Clip(FixedFrames(prepared, frames), len(frames), seed, proposal)


def _different(clips: Iterator[Clip], motions: int) -> list[Clip]:
    """The first few that clearly differ from those before."""
    kept: list[Clip] = []
    for clip in clips:
        if all(hypotheses.differ(clip.flow, other.flow, clip.photo) for other in kept):
            kept.append(clip)
        if len(kept) == motions:
            break
    return kept
