"""The one way in: a blurred photo to clips, flow and a sharp frame.

    clips = b2m.animate("photo.jpg")
    clips[0].save("clip.mp4")

The photo is looked at once, at a working size of at most about two megapixels (see `b2m.scales`);
everything else is rendered from that when it is asked for, at any number of frames and any size
(see `b2m.clip`). Only full-size frames of a larger photo are looked for again (see `b2m.detail`).
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from b2m import ambiguity, film, scales, sequences
from b2m import guidance as guidance_rules
from b2m.clip import Clip, Prepared, check_frames, to_array
from b2m.errors import InputError, check_seed
from b2m.guidance import Guidance
from b2m.guided import follow
from b2m.hub import HubModel, find_weights, models_at_hand
from b2m.media.image import ImageLike, Photo, Pixels, read_image
from b2m.models.animator import Encoding, MotionAnimator
from b2m.models.blur_flow import BlurFlowNet
from b2m.models.guidance_predictor import GuidancePredictor
from b2m.motion.fields import Flow
from b2m.motion.segmentation import segment
from b2m.sequences import FRAME_MODELS, FrameModel

ANIMATORS: dict[str, type[MotionAnimator | FrameModel]] = {
    "animator": MotionAnimator,
    **FRAME_MODELS,
}
"""The models that give clips. Those of the papers have a fixed number of frames, and no motion of
their own: see `b2m.sequences`."""

FLOW_MODELS = (*ANIMATORS, "blur-flow")
"""The models that give a motion field."""

GUIDANCE_PREDICTORS = ("regions", "cvae-gan")
"""Who says which way things may have gone: the coherent regions of a photo, each forwards or
backwards (`b2m.ambiguity`), or samples of Zhong's network, the `GuidancePredictor`."""


class BlurAnimator:
    """Animates photos with one model; `from_pretrained` makes one.

    Args:
        model: in evaluation mode.
        predictor: draws guidance where none is given; None leaves it to coherent regions, or, with
            a model of the papers, lets all go to the right.
    """

    def __init__(
        self, model: MotionAnimator | FrameModel, predictor: GuidancePredictor | None = None
    ) -> None:
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
            model: one of `ANIMATORS`.
            guidance_predictor: one of `GUIDANCE_PREDICTORS`; None for "regions" with the animator,
                "cvae-gan" with the decomposer. The other models take none.
            revision: branch, tag or commit on the Hub.
            device: "auto" for a GPU where there is one, or as torch names it.

        Raises:
            InputError: an unknown model, guidance predictor or device, or weights that are
                missing, damaged or of another model.
        """
        kind = ANIMATORS[checked_model(model, ANIMATORS)]
        if guidance_predictor not in (None, *GUIDANCE_PREDICTORS):
            raise InputError(
                f"no guidance predictor is called '{guidance_predictor}'; "
                f"there are {' and '.join(map(repr, GUIDANCE_PREDICTORS))}."
            )
        taken = {"animator": GUIDANCE_PREDICTORS, "decomposer": ("cvae-gan",)}.get(model, ())
        if guidance_predictor is not None and guidance_predictor not in taken:
            only = f"only {taken[0]!r}" if taken else "no guidance predictor"
            raise InputError(f"the model '{model}' takes {only}, not '{guidance_predictor}'.")
        predictor = None
        if guidance_predictor == "cvae-gan" or model == "decomposer":
            predictor = _load(GuidancePredictor, None, None, device)
        return cls(_load(kind, weights, revision, device), predictor)

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
        if not isinstance(self.model, MotionAnimator):
            return sequences.prepare(self.model, image, self.device)
        source = read_image(image)
        return self.look(source, scales.working_photo(source.pixels))

    def look(self, source: Photo, working: Pixels) -> Prepared:
        """Look at a photo at a size.

        Args:
            source: the photo.
            working: (h, w, 3) uint8 sRGB, the same, not larger.
        """
        assert isinstance(self.model, MotionAnimator)
        with torch.inference_mode():
            encoding = scales.encode(self.model, _to_tensor(working, self.device) / 255)
        # The network leaves channels last; frames are put together faster plane by plane.
        encoding = Encoding(*(part.contiguous() for part in encoding))
        again = self.model.encode if scales.holds_more(source.pixels, working) else None
        return Prepared(source, working, encoding, again).unless_still()

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
            InputError: an unreadable photo, or guidance, frames, motions or a seed that are not
                possible.
        """
        check_frames(frames)
        if isinstance(motions, bool) or not isinstance(motions, int | np.integer) or motions < 1:
            raise InputError(f"motions={motions!r} is not possible; give a whole number above 0.")
        seed = check_seed(seed)
        prepared = image if isinstance(image, Prepared) else self.prepare(image)
        if not isinstance(self.model, MotionAnimator):
            return sequences.animate(
                self.model,
                self.predictor,
                prepared,
                guidance=guidance,
                frames=frames,
                motions=motions,
                seed=seed,
            )
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
            found = ambiguity.choices(
                to_array(flow), prepared.regions, motions, said, prepared.working
            )
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
            for latent in predictor.draw_latents(ambiguity.tries(motions), seed):
                found = predictor.predict(photo, latent[None], scale)[0]
                small = np.ascontiguousarray(found.permute(1, 2, 0).cpu().numpy())
                guidance = guidance_rules.resize(small, size)
                directed, flow, _ = self._directed(prepared, coherent, guidance)
                field = to_array(flow)
                if all(ambiguity.differ(field, other, prepared.working) for other in flows):
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
        if not isinstance(self.model, MotionAnimator):
            raise InputError(
                f"videos are made with model='animator', not with a {type(self.model).__name__}: "
                "leave the model out"
            )
        return film.animate_video(self, source, target, frames=frames, fps=fps, shutter=shutter)


_Loaded = TypeVar("_Loaded", bound=HubModel)


def checked_model(model: str, models: Collection[str]) -> str:
    """The name of a model, if it is one of those.

    Raises:
        InputError: it is not.
    """
    if model not in models:
        named = " or ".join(map(repr, models))
        raise InputError(f"no model for this is called {model!r}; there is {named}.")
    return model


def _load(
    kind: type[_Loaded],
    weights: str | os.PathLike[str] | None,
    revision: str | None,
    device: str,
) -> _Loaded:
    """A model on a device; what cannot be used is said in words."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    folder = find_weights(kind.weights_name, weights, revision=revision)
    try:
        return kind.from_pretrained(folder, device=device)
    except (RuntimeError, AssertionError) as error:
        if device == "cpu":
            raise
        reason = str(error).splitlines()[0]
        raise InputError(f"the device '{device}' cannot be used: {reason}") from error


@lru_cache(maxsize=2)
def _loaded(
    weights: str | None, chosen: str | None, model: str, predictor: str | None, device: str
) -> BlurAnimator:
    """The animator of plain function calls; `chosen` is $B2M_WEIGHTS, which may change."""
    return BlurAnimator.from_pretrained(
        weights, model=model, guidance_predictor=predictor, device=device
    )


def _animator(
    weights: str | os.PathLike[str] | None,
    device: str,
    model: str = "animator",
    predictor: str | None = None,
) -> BlurAnimator:
    return _loaded(_named(weights), _chosen(), model, predictor, device)


@lru_cache(maxsize=1)
def _loaded_flow(weights: str | None, chosen: str | None, device: str) -> BlurFlowNet:
    return _load(BlurFlowNet, weights, None, device)


def _named(weights: str | os.PathLike[str] | None) -> str | None:
    return None if weights is None else os.fspath(weights)


def _chosen() -> str | None:
    """What weights are looked for next, so that what was loaded for others is not taken."""
    return os.environ.get("B2M_WEIGHTS")


def animators_at_hand() -> list[str]:
    """Those names of `ANIMATORS` whose weights are at hand, the usual one first; at least one.

    Raises:
        InputError: there are none.
    """
    if found := list(models_at_hand(ANIMATORS)):
        return found
    BlurAnimator.from_pretrained()  # which says why
    return ["animator"]


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
) -> list[Clip]:
    """Clips of a blurred photo, best first; see `BlurAnimator`, its loading and `animate`."""
    return _animator(weights, device, model, guidance_predictor).animate(
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
    model: str = "animator",
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
) -> Flow:
    """The motion field of a blurred photo: (H, W, 2) float32 pixels over the exposure.

    A photo does not tell a motion from its reverse; guidance does.

    Args:
        image: as for `BlurAnimator.prepare`.
        guidance: (H, W, 2) int8, see `BlurAnimator.animate`; "blur-flow" takes none.
        model: one of `FLOW_MODELS`. Models of frames have the optical flow (DIS) from their first
            frame to the last.
        weights: see `b2m.hub.find_weights`.
        device: "auto", or as torch names it.

    Raises:
        InputError: an unreadable photo, or a model, guidance, weights or a device that are not
            possible.
    """
    if checked_model(model, FLOW_MODELS) == "blur-flow":
        if guidance is not None:
            raise InputError("the model 'blur-flow' takes no guidance: leave it out.")
        return sequences.flow(_loaded_flow(_named(weights), _chosen(), device), image)
    return animate(image, guidance=guidance, model=model, weights=weights, device=device)[0].flow


def segment_motion(
    image: ImageLike,
    *,
    model: str = "animator",
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
) -> NDArray[np.bool_]:
    """(H, W) bool: what moves against the camera in a blurred photo.

    The camera's motion is fitted to the motion field; what disagrees moves by itself, if it shows
    (the use of Argaw et al. 2021b, with this fit in place of their network).

    Args:
        image: as for `BlurAnimator.prepare`.
        model: one of `FLOW_MODELS`, which finds the motion field.
        weights: see `b2m.hub.find_weights`.
        device: "auto", or as torch names it.

    Raises:
        InputError: an unreadable photo, or a model, weights or a device that are not possible.
    """
    photo = read_image(image).pixels
    return segment(photo, flow(photo, model=model, weights=weights, device=device))


def deblur(
    image: ImageLike,
    *,
    model: str = "animator",
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
) -> Pixels:
    """The sharp photo, the middle instant: (H, W, 3) uint8 sRGB; model one of `ANIMATORS`.

    `b2m.deblur_with_flow` sharpens the photo itself, along the `flow` of any of `FLOW_MODELS`.
    """
    return animate(image, model=model, weights=weights, device=device)[0].middle


def _to_tensor(array: NDArray[np.generic], device: torch.device) -> torch.Tensor:
    """(h, w, C) to float (1, C, h, w)."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(device).permute(2, 0, 1)[None].float()
