"""Animate photos with one model: encode once, then render as often as wanted."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import torch

from b2m import guidance as guidance_rules
from b2m.errors import InputError, check_seed
from b2m.guidance.quantize import Guidance
from b2m.hub import HubModel, available_models, find_weights
from b2m.inference import frame_models, hypotheses, multiscale, video
from b2m.inference.clip import Clip, check_frames, only_frames
from b2m.inference.conditioning import apply_guidance
from b2m.inference.ensemble import check_ensemble
from b2m.inference.renderers import EncodedPhoto, MotionRenderer, Prepared
from b2m.media.image import ImageLike, Photo, Pixels, read_image
from b2m.models.animator import Encoding, MotionAnimator
from b2m.models.guidance_predictor import GuidancePredictor
from b2m.motion.fields import Flow
from b2m.registry import MODELS
from b2m.tensors import to_array, to_photo, to_tensor

GUIDANCE_PREDICTORS = ("regions", "cvae-gan")
"""What proposes motion hypotheses: the coherent regions of a photo, each forwards or
backwards (`b2m.inference.hypotheses`), or samples of Zhong's network, the `GuidancePredictor`."""

_PART = 0.5  # of the photo; guidance of less than that is of single objects


def animators() -> dict[str, type[HubModel]]:
    """The models that give clips, by name, the usual one first.

    Those of the papers have a fixed number of frames, and no motion of their own: see
    `b2m.inference.renderers`.
    """
    kinds = ("animation", "frames")
    return {name: model for name, model in MODELS.items() if model.output_kind in kinds}


def flow_models() -> tuple[str, ...]:
    """Names of the models that give a motion field."""
    flows = (name for name, model in MODELS.items() if model.output_kind == "flow")
    return (*animators(), *flows)


class BlurAnimator:
    """Animates photos with one model; `from_pretrained` makes one.

    Args:
        model: in evaluation mode.
        predictor: draws guidance where none is given; None leaves it to coherent regions, or, with
            a model of the papers, lets all go to the right.
        ensemble: predictions, 1, 2 or 4, whose mean is taken; see `from_pretrained`.

    Raises:
        InputError: another number, or more than one with a model of the papers.
    """

    def __init__(
        self, model: HubModel, predictor: GuidancePredictor | None = None, *, ensemble: int = 1
    ) -> None:
        self.model, self.predictor = model, predictor
        self.ensemble = check_ensemble(ensemble)
        if ensemble > 1 and model.output_kind != "animation":
            raise InputError(f"ensemble={ensemble} is of the animator; other models take 1.")

    @classmethod
    def from_pretrained(
        cls,
        weights: str | os.PathLike[str] | None = None,
        *,
        model: str = "animator",
        guidance_predictor: str | None = None,
        revision: str | None = None,
        device: str = "auto",
        ensemble: int = 1,
    ) -> BlurAnimator:
        """Load weights: a folder, a Hub id, or None for those that b2m finds by itself.

        Args:
            weights: see `b2m.hub.find_weights`.
            model: one of `animators`.
            guidance_predictor: one of `GUIDANCE_PREDICTORS`; None for "regions" with the animator,
                "cvae-gan" with the decomposer. The other models take none.
            revision: branch, tag or commit on the Hub.
            device: "auto" for a GPU where there is one, or a device string of torch.
            ensemble: the mean of so many predictions is taken, of the photo and its mirror images:
                2 or 4 are a little closer to the truth, and take as many times as long.

        Raises:
            InputError: an unknown model, guidance predictor or device, an impossible ensemble, or
                weights that are missing, damaged or of another model.
        """
        kind = animators()[checked_model(model, animators())]
        if guidance_predictor not in (None, *GUIDANCE_PREDICTORS):
            raise InputError(
                f"no guidance predictor is called '{guidance_predictor}'; "
                f"there are {' and '.join(map(repr, GUIDANCE_PREDICTORS))}."
            )
        taken = kind.guidance_predictors
        if guidance_predictor is not None and guidance_predictor not in taken:
            only = f"only {taken[0]!r}" if taken else "no guidance predictor"
            raise InputError(f"the model '{model}' takes {only}, not '{guidance_predictor}'.")
        predictor = None
        if "cvae-gan" in (guidance_predictor, *taken[:1]):
            predictor = load_model(GuidancePredictor, None, None, device)
        return cls(load_model(kind, weights, revision, device), predictor, ensemble=ensemble)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def _motion_animator(self) -> MotionAnimator:
        """The model, where it gives animations."""
        return cast(MotionAnimator, self.model)

    def prepare(self, image: ImageLike) -> Prepared:
        """Encode a photo: the expensive part, once per photo.

        In a photo without visible motion blur motion is suppressed, except where guidance names it.

        Args:
            image: path, bytes, PIL image or NumPy array (see `b2m.media.read_image`).

        Raises:
            InputError: not a photo that can be read.
        """
        if self.model.output_kind != "animation":
            return frame_models.prepare(self.model, image, self.device)
        source = read_image(image)
        return self.encode(source, multiscale.working_photo(source.pixels))

    def encode(self, source: Photo, working: Pixels) -> EncodedPhoto:
        """Encode a photo at a size.

        Args:
            source: the photo.
            working: (h, w, 3) uint8 sRGB, the same, not larger.
        """
        with torch.inference_mode():
            encoder = multiscale.MultiscaleEncoder(
                self._motion_animator,
                to_photo(working, self.device),
                predictions=self.ensemble,
            )
            encoding = _contiguous(encoder.encode())
        again = self.encode_tile if multiscale.holds_more(source.pixels, working) else None
        return EncodedPhoto(source, working, encoding, again, encoder).suppress_static()

    def encode_tile(self, photo: torch.Tensor, guidance: torch.Tensor | None = None) -> Encoding:
        """Encode a photo, or a part of one, at its own size alone.

        Args:
            photo: (1, 3, h, w) sRGB in [0, 1].
            guidance: (1, 2, h, w) in {-1, 0, 1}, or None.
        """
        model = self._motion_animator
        return multiscale.MultiscaleEncoder(model, photo, 1, self.ensemble).encode(guidance)

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
                (±1, ±1), the signs of the motion to the right and down, along the motion axis
                found. Still pixels stay as in the photo. None leaves all of it open.
            frames: of each clip, at least 2.
            motions: maximum number of clips, each a clearly different motion hypothesis, the most
                plausible first. Blur leaves the direction of each coherent region open; a photo
                that moves as one region has two. With guidance the first follows it, and the others
                vary first regions that it does not cover, then those it does. With a
                `GuidancePredictor` and no guidance they are its samples instead, without near
                duplicates.
            seed: kept with the clips; the same seed gives the same clips.

        Returns:
            At least one `Clip`, the most plausible first.

        Raises:
            InputError: an unreadable photo, or guidance, frames, motions or a seed that are not
                possible.
        """
        check_frames(frames)
        if isinstance(motions, bool) or not isinstance(motions, int | np.integer) or motions < 1:
            raise InputError(f"motions={motions!r} is not possible; give a whole number above 0.")
        seed = check_seed(seed)
        prepared = image if isinstance(image, Prepared) else self.prepare(image)
        if self.model.output_kind != "animation":
            return frame_models.animate(
                self.model,
                self.predictor,
                prepared,
                guidance=guidance,
                frames=frames,
                motions=motions,
                seed=seed,
            )
        if not isinstance(prepared, EncodedPhoto):
            raise InputError("the photo was prepared for another model: prepare it with this one")
        encoded = prepared
        if guidance is None and self.predictor is not None:
            return self._sampled(self.predictor, prepared, frames, motions, seed)
        small_guidance: Guidance | None = None
        with torch.inference_mode():
            moving = prepared.encoding.moving_logits > 0
            if guidance is None:
                path = to_tensor(guidance_rules.coherent_signs(prepared.path_axis), self.device)
            else:
                guidance = guidance_rules.validate(guidance, *prepared.photo.shape[:2])
                prepared, path, small_guidance = self._directed(prepared, guidance)
        clips = [Clip(MotionRenderer(prepared, path), frames, seed, guidance)]
        if motions > 1:
            # Regions that guidance suppresses vary, too.
            moving = moving | (prepared.encoding.moving_logits > 0)
            field = to_array(path * moving)
            found = hypotheses.enumerate_hypotheses(
                field, encoded.regions, motions, small_guidance, prepared.working
            )
            for hypothesis in found[1:]:
                signs = torch.from_numpy(hypothesis.signs()).to(path)
                against = -guidance if guidance is not None and hypothesis.backwards else None
                renderer = MotionRenderer(prepared, signs * path)
                clips.append(Clip(renderer, frames, seed, against, hypothesis.penalty))
        return clips

    def _directed(
        self, prepared: EncodedPhoto, guidance: Guidance
    ) -> tuple[EncodedPhoto, torch.Tensor, Guidance]:
        """The photo conditioned on guidance, its path, and the guidance at working size."""
        (height, width), size = prepared.photo.shape[:2], prepared.working.shape[:2]
        small_guidance = (
            guidance_rules.resize(guidance, size) if size != (height, width) else guidance
        )
        planes = to_tensor(small_guidance, self.device)
        # Without guidance single objects may be missed, motion of the whole photo is not.
        part = small_guidance.any(axis=-1).mean() < _PART
        unsuppressed = prepared.unsuppressed if part else None
        prepared = unsuppressed or prepared
        if prepared.encoder is not None:
            encoding = _contiguous(prepared.encoder.encode(planes))
            prepared = replace(prepared, encoding=encoding, guidance=planes)
        held, path = apply_guidance(
            prepared.encoding,
            to_tensor(guidance_rules.coherent_signs(prepared.path_axis), self.device),
            planes,
            guidance_rules.STILL_THRESHOLD * size[1] / width,
        )
        moved = replace(prepared, encoding=held)
        return (moved.suppress_static() if unsuppressed else moved), path, small_guidance

    def _sampled(
        self,
        predictor: GuidancePredictor,
        prepared: EncodedPhoto,
        frames: int,
        motions: int,
        seed: int,
    ) -> list[Clip]:
        """Clips by samples of a guidance predictor, clearly different ones, best first."""
        size = prepared.photo.shape[:2]
        clips: list[Clip] = []
        flows: list[Flow] = []
        signed = guidance_rules.coherent_signs(prepared.path_axis)
        photo = to_photo(prepared.working, self.device)
        for guidance in hypotheses.sampled_guidance(predictor, photo, size, motions, seed):
            with torch.inference_mode():
                directed, path, _ = self._directed(prepared, guidance)
            renderer = MotionRenderer(directed, path)
            if all(hypotheses.differ(renderer.flow, other, prepared.working) for other in flows):
                flows.append(renderer.flow)
                penalty = hypotheses.split_penalty(renderer.flow, signed, prepared.regions)
                clips.append(Clip(renderer, frames, seed, guidance, penalty))
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
        max_side: int | None = None,
    ) -> Path:
        """Turn a blurred video into a sharp one; see `b2m.animate_video`."""
        count = self.model.native_frames
        if fps is None and count not in (None, frames):
            raise InputError(only_frames(count, frames))
        return video.animate_video(
            self, source, target, frames=frames, fps=fps, shutter=shutter, max_side=max_side
        )


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


def load_model(
    kind: type[_Loaded],
    weights: str | os.PathLike[str] | None,
    revision: str | None,
    device: str,
) -> _Loaded:
    """A model on a device.

    Raises:
        InputError: the device cannot be used.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    folder = find_weights(kind.weights_name, weights, revision=revision)
    try:
        model = kind.from_pretrained(folder, device=device)
        model.limits = kind.shipped_limits if weights is None else ""
        return model
    except (RuntimeError, AssertionError) as error:
        if device == "cpu":
            raise
        reason = str(error).splitlines()[0]
        raise InputError(f"the device '{device}' cannot be used: {reason}") from error


def available_animators() -> list[str]:
    """Those names of `animators` whose weights are at hand, the usual one first; at least one.

    Raises:
        InputError: there are none.
    """
    if found := list(available_models(animators())):
        return found
    BlurAnimator.from_pretrained()  # which says why
    return ["animator"]


def _contiguous(encoding: Encoding) -> Encoding:
    """The network leaves channels last; frames are put together faster plane by plane."""
    return Encoding(*(part.contiguous() for part in encoding))
