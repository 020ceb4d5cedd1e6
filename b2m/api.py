"""The one way in: a blurred photo to clips, flow and a sharp frame.

    clips = b2m.animate("photo.jpg")
    clips[0].save("clip.mp4")

The photo is looked at once, at a working size of at most about two megapixels (see `b2m.scales`);
everything else is rendered from that when it is asked for, at any number of frames and any size
(see `b2m.clip`).
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from b2m import ambiguity, film, scales
from b2m import guidance as guidance_rules
from b2m.clip import Clip, Prepared, check_frames, to_array
from b2m.errors import InputError
from b2m.guidance import Guidance
from b2m.guided import follow
from b2m.hub import find_weights
from b2m.media import ImageLike, Pixels, read_image
from b2m.models.animator import MotionAnimator
from b2m.models.guidance_predictor import GuidancePredictor
from b2m.motion import Flow

GUIDANCE_PREDICTORS = ("regions", "cvae-gan")
"""Who says which way things may have gone: the coherent regions of a photo, each forwards or
backwards (`b2m.ambiguity`), or samples of Zhong's network, the `GuidancePredictor`."""

_TRIES = 3  # samples for each clip that is asked for, as some are alike


class BlurAnimator:
    """Animates photos with one model; `from_pretrained` makes one.

    Args:
        model: in evaluation mode.
        predictor: draws guidance where none is given; None leaves it to coherent regions.
    """

    def __init__(self, model: MotionAnimator, predictor: GuidancePredictor | None = None) -> None:
        self.model, self.predictor = model, predictor

    @classmethod
    def from_pretrained(
        cls,
        weights: str | os.PathLike[str] | None = None,
        *,
        model: str = "animator",
        guidance_predictor: str | None = None,
        revision: str | None = None,
        device: str = "auto",
    ) -> BlurAnimator:
        """Load weights: a folder, a Hub id, or None for those that b2m finds by itself.

        Args:
            weights: see `b2m.hub.find_weights`.
            model: "animator".
            guidance_predictor: one of `GUIDANCE_PREDICTORS`; None for "regions".
            revision: branch, tag or commit on the Hub.
            device: "auto" for a GPU where there is one, or as torch names it.

        Raises:
            InputError: an unknown model, guidance predictor or device, or weights that are
                missing, damaged or of another model.
        """
        if model != "animator":
            raise InputError(f"no model is called '{model}'; there is 'animator'.")
        if guidance_predictor not in (None, *GUIDANCE_PREDICTORS):
            raise InputError(
                f"no guidance predictor is called '{guidance_predictor}'; "
                f"there are {' and '.join(map(repr, GUIDANCE_PREDICTORS))}."
            )
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        folder = find_weights(model, weights, revision=revision)
        try:
            predictor = None
            if guidance_predictor == "cvae-gan":
                predictor = GuidancePredictor.from_pretrained(device=device)
            return cls(MotionAnimator.from_pretrained(folder, device=device), predictor)
        except (RuntimeError, AssertionError) as error:
            if device == "cpu":
                raise
            reason = str(error).splitlines()[0]
            raise InputError(f"the device '{device}' cannot be used: {reason}") from error

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def prepare(self, image: ImageLike) -> Prepared:
        """Look at a photo: the expensive part, once per photo.

        In a photo without motion blur nothing moves, whatever guidance says.

        Args:
            image: path, bytes, PIL image or NumPy array (see `b2m.media.read_image`).

        Raises:
            InputError: not a photo that can be read.
        """
        source = read_image(image)
        working = scales.working_photo(source.pixels)
        with torch.inference_mode():
            encoding = scales.encode(self.model, _to_tensor(working, self.device) / 255)
        return Prepared(source, working, encoding).unless_still()

    def animate(
        self,
        image: ImageLike | Prepared,
        *,
        guidance: Guidance | None = None,
        frames: int = 7,
        motions: int = 1,
        seed: int = 0,
    ) -> list[Clip]:
        """Clips of a photo, best first.

        Args:
            image: a prepared photo, which is cheap, or anything that `prepare` takes.
            guidance: (H, W, 2) int8 for the photo as it is shown, upright: (0, 0) for still, else
                (±1, ±1), the signs of the motion to the right and down, which moves along its own
                line. What is still stays as it is in the photo. None leaves it all open.
            frames: of each clip, at least 2.
            motions: clips at the most. Each thing may have gone either way and leave the same blur,
                so these are choices for each coherent region, clearly different ones, the most
                plausible first; a photo in which all moves as one has two. With guidance the first
                follows it, and the others vary first what it leaves open, that is still though it
                moves, and only then what it says. Where a `GuidancePredictor` is at hand and no
                guidance is given, they are its samples instead, none the near duplicate of another.
            seed: kept with the clips; the same seed gives the same clips.

        Raises:
            InputError: an unreadable photo, or guidance, frames or motions that are not possible.
        """
        check_frames(frames)
        if isinstance(motions, bool) or not isinstance(motions, int | np.integer) or motions < 1:
            raise InputError(f"motions={motions!r} is not possible; give a whole number above 0.")
        prepared = image if isinstance(image, Prepared) else self.prepare(image)
        if guidance is None and self.predictor is not None:
            return self._sampled(self.predictor, prepared, frames, motions, seed)
        said: Guidance | None = None
        with torch.inference_mode():
            flow = _to_tensor(guidance_rules.coherent_signs(prepared.line), self.device)
            if guidance is not None:
                guidance = guidance_rules.validate(guidance, *prepared.photo.shape[:2])
                prepared, flow, said = self._directed(prepared, flow, guidance)
        clips = [Clip(prepared, flow, frames, seed, guidance)]
        if motions > 1:
            found = ambiguity.choices(to_array(flow), prepared.regions, motions, said)
            for choice in found[1:]:
                signs = torch.from_numpy(choice.signs()).to(flow)
                against = -guidance if guidance is not None and choice.backwards else None
                clips.append(Clip(prepared, signs * flow, frames, seed, against, choice.penalty))
        return clips

    def _directed(
        self, prepared: Prepared, coherent: torch.Tensor, guidance: Guidance
    ) -> tuple[Prepared, torch.Tensor, Guidance]:
        """The photo that moves as guidance says, its flow, and the guidance at working size."""
        (height, width), size = prepared.photo.shape[:2], prepared.working.shape[:2]
        said = guidance_rules.resize(guidance, size) if size != (height, width) else guidance
        held, flow = follow(
            prepared.encoding,
            coherent,
            _to_tensor(said, self.device),
            guidance_rules.STILL_THRESHOLD * size[1] / width,
        )
        return replace(prepared, encoding=held), flow, said

    def _sampled(
        self,
        predictor: GuidancePredictor,
        prepared: Prepared,
        frames: int,
        motions: int,
        seed: int,
    ) -> list[Clip]:
        """Clips by samples of a guidance predictor, clearly different ones, best first."""
        size = prepared.photo.shape[:2]
        clips: list[Clip] = []
        flows: list[Flow] = []
        with torch.inference_mode():
            signed = guidance_rules.coherent_signs(prepared.line)
            coherent = _to_tensor(signed, self.device)
            photo = _to_tensor(prepared.working, self.device) / 255
            scale = prepared.working.shape[1] / size[1]
            tries = _TRIES * motions if motions > 1 else 1
            for latent in predictor.draw_latents(tries, seed):
                found = predictor.predict(photo, latent[None], scale)[0]
                small = np.ascontiguousarray(found.permute(1, 2, 0).cpu().numpy())
                guidance = guidance_rules.resize(small, size)
                directed, flow, _ = self._directed(prepared, coherent, guidance)
                field = to_array(flow)
                if all(ambiguity.differ(field, other) for other in flows):
                    flows.append(field)
                    penalty = ambiguity.tornness(field, signed, prepared.regions)
                    clips.append(Clip(directed, flow, frames, seed, guidance, penalty))
                if len(clips) == motions:
                    break
        return sorted(clips, key=lambda clip: -clip.score) if len(clips) > 1 else clips

    def animate_video(
        self,
        source: str | os.PathLike[str],
        target: str | os.PathLike[str],
        *,
        frames: int = 7,
        fps: float | None = None,
        shutter: float = 1.0,
    ) -> Path:
        """Turn a blurred video into a sharp one; see `b2m.animate_video`."""
        return film.animate_video(self, source, target, frames=frames, fps=fps, shutter=shutter)


@lru_cache(maxsize=2)
def _loaded(
    weights: str | None, chosen: str | None, device: str, predictor: str | None
) -> BlurAnimator:
    """The animator of plain function calls; `chosen` is $B2M_WEIGHTS, which may change."""
    return BlurAnimator.from_pretrained(weights, guidance_predictor=predictor, device=device)


def _animator(
    weights: str | os.PathLike[str] | None, device: str, predictor: str | None = None
) -> BlurAnimator:
    named = None if weights is None else os.fspath(weights)
    return _loaded(named, os.environ.get("B2M_WEIGHTS"), device, predictor)


def animate(
    image: ImageLike,
    *,
    guidance: Guidance | None = None,
    frames: int = 7,
    motions: int = 1,
    seed: int = 0,
    guidance_predictor: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
) -> list[Clip]:
    """Clips of a blurred photo, best first; see `BlurAnimator.animate`."""
    return _animator(weights, device, guidance_predictor).animate(
        image, guidance=guidance, frames=frames, motions=motions, seed=seed
    )


def animate_video(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    frames: int = 7,
    fps: float | None = None,
    shutter: float = 1.0,
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
) -> Path:
    """Turn a blurred video into a sharp one: every frame becomes several, joined without a jump.

    Which way things moved is told by the neighbouring frames, though not across a scene's cut.
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
        weights: see `b2m.hub.find_weights`.
        device: "auto", or as torch names it.

    Returns:
        The target.

    Raises:
        InputError: no such video, a damaged or truncated one (nothing of it is kept), a single
            frame, the target being the source or not an `.mp4`, or numbers that are not possible.
        OutputError: the target cannot be written.
    """
    return _animator(weights, device).animate_video(
        source, target, frames=frames, fps=fps, shutter=shutter
    )


def flow(
    image: ImageLike,
    *,
    guidance: Guidance | None = None,
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
) -> Flow:
    """The motion field of a blurred photo: (H, W, 2) float32 pixels over the exposure.

    A photo does not tell a motion from its reverse; guidance does.
    """
    return animate(image, guidance=guidance, weights=weights, device=device)[0].flow


def segment_motion(
    image: ImageLike,
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
) -> NDArray[np.bool_]:
    """(H, W) bool: what moves against the camera in a blurred photo.

    The camera's motion is fitted to the motion field; what disagrees moves by itself (the use of
    Argaw et al. 2021b, with this fit in place of their network).
    """
    return _animator(weights, device).animate(image)[0].moving


def deblur(
    image: ImageLike,
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
) -> Pixels:
    """The sharp photo, the middle instant: (H, W, 3) uint8 sRGB."""
    return animate(image, weights=weights, device=device)[0].middle


def _to_tensor(array: NDArray[np.generic], device: torch.device) -> torch.Tensor:
    """(h, w, C) to float (1, C, h, w)."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(device).permute(2, 0, 1)[None].float()
