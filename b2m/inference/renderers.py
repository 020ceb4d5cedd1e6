"""Clips from models whose frames are what they are: those of the papers.

They give a fixed number of frames and nothing between them, and no motion: it is measured by
optical flow (DIS) from the first frame to the last, and put on the middle one's grid. What a person
gets is projected as all clips are, so that the frames average to the photo.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from b2m import guidance as guidance_rules
from b2m.blur import decode_frame
from b2m.errors import InputError
from b2m.guidance.quantize import Guidance
from b2m.hub import HubModel
from b2m.inference import diagnostics as doubts
from b2m.inference import hypotheses as ambiguity
from b2m.inference import multiscale as scales
from b2m.inference.clip import Clip, Prepared
from b2m.inference.conditioning import CERTAIN
from b2m.inference.projection import LinearImage
from b2m.media.image import ImageLike, Pixels, read_image
from b2m.models.animator import Encoding
from b2m.models.blur_flow import BlurFlowNet
from b2m.models.guidance_predictor import GuidancePredictor
from b2m.motion.fields import Flow, double_angle, estimate_flow, resize_flow, to_middle_grid
from b2m.tensors import to_array, to_photo, to_planes_last, to_tensor


@dataclass(frozen=True)
class PreparedFrames(Prepared):
    """A photo for a model of frames.

    Attributes:
        frames: (T, 3, h, w) sRGB at working size, in the order in which the model gave them; None
            where the model wants guidance first.
    """

    frames: Tensor | None = None


class FrameClip(Clip):
    """A clip of just the frames that a model gave.

    Args:
        prepared: the photo.
        frames: (T, 3, h, w) sRGB at working size.
        seed: of the motion.
        guidance: that was given to the model.
    """

    _least_instants = 2
    _displaced = False

    def __init__(
        self, prepared: Prepared, frames: Tensor, seed: int, guidance: Guidance | None = None
    ) -> None:
        field = _motion(frames)
        flow = to_tensor(field)
        nothing = torch.zeros_like(flow)
        known = torch.full_like(flow[:, :1], CERTAIN)
        middle, line = frames[len(frames) // 2][None], double_angle(flow)
        encoding = Encoding(middle, line, nothing, nothing, nothing, known, known)
        super().__init__(replace(prepared, encoding=encoding), flow, len(frames), seed, guidance)
        self._given_frames = frames

    @cached_property
    def warnings(self) -> list[str]:
        """Sentences a person should read before trusting the clip; see `Clip.warnings`."""
        # Small frames that hardly differ say more about the model than about the photo.
        return [doubts.UNMOVED if told == doubts.STILL else told for told in super().warnings]

    def render(
        self, frames: int | None = None, size: tuple[int, int] | None = None
    ) -> Iterator[Pixels]:
        """The frames one by one, at any size; see `Clip.render`.

        Raises:
            InputError: another number of frames than there are.
        """
        if frames not in (None, self.count):
            raise InputError(_only(self.count, frames))
        return super().render(self.count, size)

    def _working_frame(self, time: float) -> LinearImage:
        index = (time + 1) / 2 * (self.count - 1)
        if not 0 <= round(index) < self.count or abs(index - round(index)) > 1e-6:
            raise InputError(
                f"this model's {self.count} frames have none at time {time:g}; take one of theirs, "
                "or model='animator', which has them all"
            )
        return decode_frame(self._given_frames[round(index)][None])


def prepare(model: HubModel, image: ImageLike, device: torch.device) -> PreparedFrames:
    """Look at a photo: for models without guidance all of the work, for others none yet."""
    source = read_image(image)
    working = scales.working_photo(source.pixels)
    photo = to_photo(working, device)
    nothing = torch.zeros_like(photo[:, :2])
    known = torch.full_like(photo[:, :1], CERTAIN)
    encoding = Encoding(photo, nothing, nothing, nothing, nothing, known, known)
    frames = None
    if not model.guided:
        with torch.inference_mode():
            frames = model(photo)[0].clamp(0, 1)
    return PreparedFrames(source, working, encoding, frames=frames)


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

    A model that takes guidance has one for each that is clearly different: what was given, or
    samples of the predictor. Others have their frames forwards and backwards; guidance chooses the
    order that agrees better with it.

    Args:
        model: in evaluation mode.
        predictor: of guidance; without it, all goes to the right.
        prepared: by `prepare`, for this model.
        guidance: (H, W, 2) int8, or None.
        frames: as many as the model has.
        motions: clips at the most.
        seed: of the predictor's samples.

    Raises:
        InputError: another number of frames, guidance that is none, or a photo that was prepared
            for another model.
    """
    if frames != model.native_frames:
        raise InputError(_only(model.native_frames, frames))
    if not isinstance(prepared, PreparedFrames) or (prepared.frames is None) != model.guided:
        raise InputError("the photo was prepared for another model: prepare it with this one")
    if guidance is not None:
        guidance = guidance_rules.validate(guidance, *prepared.photo.shape[:2])
    if prepared.frames is None:
        clips = _guided(model, predictor, prepared, guidance, motions, seed)
        found = _different(clips, motions)
        return found if guidance is not None else sorted(found, key=lambda clip: -clip.score)
    orders: list[Clip] = [
        FrameClip(prepared, order, seed) for order in (prepared.frames, prepared.frames.flip(0))
    ]
    if guidance is not None and (orders[0].flow * guidance).sum() < 0:
        orders.reverse()
    return orders[:motions]


def flow(model: BlurFlowNet, image: ImageLike) -> Flow:
    """The motion field of a photo by the flow network, (H, W, 2) float32 pixels.

    The network lets each vector point to the right by itself; neighbours are made to agree.

    Args:
        model: in evaluation mode, on any device.
        image: as for `b2m.flow`.
    """
    source = read_image(image)
    working = scales.working_photo(source.pixels)
    with torch.inference_mode():
        found = model(to_photo(working, next(model.parameters()).device))
    signed = guidance_rules.coherent_signs(to_array(found))
    return resize_flow(signed, source.pixels.shape[:2])


def _guided(
    model: HubModel,
    predictor: GuidancePredictor | None,
    prepared: PreparedFrames,
    guidance: Guidance | None,
    motions: int,
    seed: int,
) -> Iterator[Clip]:
    """A clip for what was said, and its reverse, or for one sample of guidance after another."""
    size, working = prepared.photo.shape[:2], prepared.working.shape[:2]
    device = next(model.parameters()).device
    photo = to_photo(prepared.working, device)

    def sampled() -> Iterator[Guidance]:
        assert predictor is not None
        for latent in predictor.draw_latents(ambiguity.tries(motions), seed):
            with torch.inference_mode():
                found = predictor.predict(photo, latent[None], working[1] / size[1])[0]
            small = to_planes_last(found)
            yield guidance_rules.resize(small, size)

    if guidance is None and predictor is not None:
        proposals = sampled()
    else:
        said = np.full((*size, 2), (1, -1), np.int8) if guidance is None else guidance
        proposals = iter([said, -said])
    for proposal in proposals:
        small = proposal if working == size else guidance_rules.resize(proposal, working)
        given = to_tensor(small, device)
        with torch.inference_mode():
            frames = model(photo, given)[0].clamp(0, 1)
        yield FrameClip(prepared, frames, seed, proposal)


def _different(clips: Iterator[Clip], motions: int) -> list[Clip]:
    """The first few that clearly differ from those before."""
    kept: list[Clip] = []
    for clip in clips:
        if all(ambiguity.differ(clip.flow, other.flow, clip.photo) for other in kept):
            kept.append(clip)
        if len(kept) == motions:
            break
    return kept


def _only(count: int | None, frames: object) -> str:
    return (
        f"frames={frames!r} is not possible with this model, which gives {count}: ask for {count}, "
        "or take model='animator', which gives any number"
    )


def _motion(frames: Tensor) -> Flow:
    """From the first of (T, 3, h, w) to the last, on the middle grid: (h, w, 2) pixels."""
    ends = [to_array(255 * frames[place][None]).round().astype(np.uint8) for place in (0, -1)]
    return to_middle_grid(estimate_flow(*ends))
