"""Public inference API: a blurred photo to clips, flow and a sharp frame.

    clips = b2m.animate("photo.jpg")
    clips[0].save("clip.mp4")

Features of the photo are computed once, at a working size of at most about two megapixels
(`b2m.inference.multiscale`). Everything else is rendered lazily from that encoding, at any number
of frames and any size (`b2m.inference.clip`). Only full-size frames of a larger photo need it
encoded again, tile by tile (`b2m.inference.tiling`).
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from b2m.errors import InputError
from b2m.guidance.quantize import Guidance
from b2m.hub import HubModel
from b2m.inference import frame_models
from b2m.inference.animator import (
    GUIDANCE_PREDICTORS,
    BlurAnimator,
    animators,
    available_animators,
    checked_model,
    flow_models,
    load_model,
)
from b2m.inference.clip import Clip
from b2m.media.image import ImageLike, Pixels, read_image
from b2m.motion.fields import Flow
from b2m.motion.segmentation import segment
from b2m.registry import MODELS

__all__ = [
    "GUIDANCE_PREDICTORS",
    "BlurAnimator",
    "animate",
    "animate_video",
    "animators",
    "available_animators",
    "checked_model",
    "deblur",
    "flow",
    "flow_models",
    "segment_motion",
]


def _weights_key(weights: str | os.PathLike[str] | None) -> tuple[str | None, str | None]:
    """Key of the caches: the weights as named, and $B2M_WEIGHTS, which may change."""
    return None if weights is None else os.fspath(weights), os.environ.get("B2M_WEIGHTS")


@lru_cache(maxsize=2)
def _loaded(weights: str | None, chosen: str | None, **options: Any) -> BlurAnimator:
    """The animator of plain function calls."""
    return BlurAnimator.from_pretrained(weights, **options)


@lru_cache(maxsize=1)
def _loaded_flow(model: str, weights: str | None, chosen: str | None, device: str) -> HubModel:
    return load_model(MODELS[model], weights, None, device)


def _animator(
    weights: str | os.PathLike[str] | None,
    device: str,
    model: str,
    ensemble: int,
    predictor: str | None = None,
) -> BlurAnimator:
    options = {"device": device, "model": model, "ensemble": ensemble}
    return _loaded(*_weights_key(weights), guidance_predictor=predictor, **options)


def animate(
    image: ImageLike,
    *,
    guidance: Guidance | None = None,
    frames: int = 7,
    motions: int = 1,
    seed: int = 0,
    model: str = "animator",
    guidance_predictor: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
    ensemble: int = 1,
) -> list[Clip]:
    """Clips of a blurred photo, best first.

    Args:
        image: a path, bytes, an open file, a PIL image or an (H, W, 3) uint8 sRGB array.
        guidance: (H, W, 2) int8 in {-1, 0, 1}, the signs of the motion to the right and down, zero
            for still; None leaves the direction open.
        frames: of each clip, at least 2. Models of the papers have 7.
        motions: maximum number of clips, each a clearly different motion hypothesis.
        seed: of samples of a guidance predictor.
        model: one of `animators`.
        guidance_predictor: one of `GUIDANCE_PREDICTORS`, whose samples are the hypotheses; None for
            "regions" with the animator, "cvae-gan" with the decomposer. Other models take none.
        weights: see `b2m.hub.find_weights`.
        device: "auto", or a device string of torch.
        ensemble: number of mirrored predictions to average (self-ensemble): 1, 2 or 4.

    Returns:
        At least one `Clip`.

    Raises:
        InputError: an unreadable photo, or any other value that is not possible.
    """
    return _animator(weights, device, model, ensemble, guidance_predictor).animate(
        image, guidance=guidance, frames=frames, motions=motions, seed=seed
    )


def animate_video(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    frames: int = 7,
    fps: float | None = None,
    shutter: float = 1.0,
    max_side: int | None = None,
    model: str = "animator",
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
    ensemble: int = 1,
) -> Path:
    """Turn a blurred video into a sharp one: every frame becomes several, joined without a jump.

    The sign of the motion comes from the neighbouring frames, though not across a scene's cut.
    Frames stream, so that memory does not grow with the video's length. Sound is dropped.

    Args:
        source: a video, with a constant or a variable frame rate; a phone's comes out upright.
        target: the new one, H.264 in `.mp4`. It appears whole or not at all.
        frames: for each frame of the source, at least 2. They are shown at its frame rate, so that
            all is as many times slower, and each of them for as long as that frame was.
        fps: the new frame rate, for real time instead of slow motion: the duration stays, and
            `frames` has no meaning.
        shutter: share of the time for which the shutter is open, above 0 and up to 1: 0.5 for the
            180 degrees of the cinema. What was not exposed is bridged: things go straight on, and
            one frame dissolves into the next.
        max_side: pixels; a larger video is shrunk to it first. None leaves its size.
        model: one of `animators`. Those of the papers show the frames that they have, 7 for each
            frame of the source; the "decomposer" takes the guidance that the neighbours give, as
            in Zhong 2022.
        weights: see `b2m.hub.find_weights`.
        device: "auto", or a device string of torch.
        ensemble: number of mirrored predictions to average (self-ensemble): 1, 2 or 4.

    Returns:
        The target.

    Raises:
        InputError: no such video, a damaged or truncated one (nothing of it is kept), a single
            frame, the target being the source or not an `.mp4`, or numbers that are not possible.
        OutputError: the target cannot be written.
    """
    return _animator(weights, device, model, ensemble).animate_video(
        source, target, frames=frames, fps=fps, shutter=shutter, max_side=max_side
    )


def flow(
    image: ImageLike,
    *,
    guidance: Guidance | None = None,
    model: str = "animator",
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
    ensemble: int = 1,
) -> Flow:
    """The motion field of a blurred photo: (H, W, 2) float32 pixels over the exposure.

    A photo does not tell a motion from its reverse; guidance does.

    Args:
        image: as for `BlurAnimator.prepare`.
        guidance: (H, W, 2) int8, see `BlurAnimator.animate`; models of flow take none.
        model: one of `flow_models`. Models of frames have the optical flow (DIS) from their first
            frame to the last.
        weights: see `b2m.hub.find_weights`.
        device: "auto", or a device string of torch.
        ensemble: number of mirrored predictions to average (self-ensemble): 1, 2 or 4.

    Raises:
        InputError: an unreadable photo, or a model, guidance, weights or a device that are not
            possible.
    """
    if MODELS[checked_model(model, flow_models())].output_kind == "flow":
        if guidance is not None:
            raise InputError(f"the model '{model}' takes no guidance: leave it out.")
        if ensemble != 1:
            raise InputError(f"ensemble={ensemble} is of the animator; '{model}' takes 1.")
        return frame_models.flow(_loaded_flow(model, *_weights_key(weights), device), image)
    clips = animate(
        image, guidance=guidance, model=model, weights=weights, device=device, ensemble=ensemble
    )
    return clips[0].flow


def segment_motion(
    image: ImageLike,
    *,
    model: str = "animator",
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
    ensemble: int = 1,
) -> NDArray[np.bool_]:
    """(H, W) bool: what moves against the camera in a blurred photo.

    The camera's motion is fitted to the motion field; what disagrees moves by itself, if it shows
    (the use of Argaw et al. 2021b, with this fit in place of their network).

    Args:
        image: as for `BlurAnimator.prepare`.
        model: one of `flow_models`, which finds the motion field.
        weights: see `b2m.hub.find_weights`.
        device: "auto", or a device string of torch.
        ensemble: number of mirrored predictions to average (self-ensemble): 1, 2 or 4.

    Raises:
        InputError: an unreadable photo, or a model, weights or a device that are not possible.
    """
    photo = read_image(image).pixels
    found = flow(photo, model=model, weights=weights, device=device, ensemble=ensemble)
    return segment(photo, found)


def deblur(
    image: ImageLike,
    *,
    model: str = "animator",
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
    ensemble: int = 1,
) -> Pixels:
    """The sharp photo at the middle of the exposure.

    `b2m.deblur_with_flow` sharpens the photo itself, along the `flow` of any of `flow_models`.

    Args:
        image: as for `animate`.
        model: one of `animators`.
        weights: see `b2m.hub.find_weights`.
        device: "auto", or a device string of torch.
        ensemble: number of mirrored predictions to average (self-ensemble): 1, 2 or 4.

    Returns:
        (H, W, 3) uint8 sRGB.

    Raises:
        InputError: an unreadable photo, or a model, weights or a device that are not possible.
    """
    clips = animate(image, model=model, weights=weights, device=device, ensemble=ensemble)
    return clips[0].middle
