"""What clips are rendered from: photos as models see them, and two kinds of frames.

`MotionRenderer` has the frame at any time of the exposure, out of an encoding and a path for each
pixel. `FixedFrames` has just the frames that a model gave.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from b2m.blur import PROJECTION_INSTANTS, frame_to_linear
from b2m.errors import InputError
from b2m.inference import diagnostics
from b2m.inference.conditioning import CERTAIN
from b2m.inference.multiscale import MultiscaleEncoder
from b2m.inference.projection import LinearImage
from b2m.inference.tiling import LargePhoto
from b2m.media.image import Photo, Pixels
from b2m.models.animator import Encoding, odd_residual, render
from b2m.motion.fields import (
    STILL_THRESHOLD,
    Flow,
    double_angle,
    estimate_flow,
    half_angle,
    to_middle_grid,
)
from b2m.motion.regions import Labels, find_regions
from b2m.tensors import to_array, to_photo, to_pixels, to_tensor

_MIN_WORKING_MOTION = 1.0  # pixels; what the network sees of less is not worth a region


@dataclass(frozen=True)
class Prepared:
    """A photo made ready for a model; `BlurAnimator.animate` takes it as often as wanted.

    Attributes:
        source: the photo as it is shown, full size.
        working: (h, w, 3) uint8, the photo at working size.
    """

    source: Photo
    working: Pixels

    @property
    def photo(self) -> Pixels:
        """(H, W, 3) uint8 sRGB, full size, upright."""
        return self.source.pixels

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about the photo itself."""
        return self.source.warnings

    @property
    def threshold(self) -> float:
        """Pixels at working size; shorter motion counts as still."""
        scale = self.working.shape[1] / self.photo.shape[1]
        return max(STILL_THRESHOLD * scale, _MIN_WORKING_MOTION)


@dataclass(frozen=True)
class EncodedPhoto(Prepared):
    """A photo with its encoding, from which frames at any time are rendered.

    Attributes:
        encoding: what the network predicts, batch of one at working size.
        encode_detail: encodes the photo at its own size; None where the working size shows all
            of it.
        encoder: encodes the working photo again, with guidance; None where nothing moves.
        guidance: (1, 2, h, w) the guidance with which it was encoded, at working size, or None.
        unsuppressed: itself before `suppress_static`, where that took motion away, else None.
    """

    encoding: Encoding
    encode_detail: Callable[[Tensor, Tensor | None], Encoding] | None = None
    encoder: MultiscaleEncoder | None = None
    guidance: Tensor | None = None
    unsuppressed: EncodedPhoto | None = None

    def suppress_static(self) -> EncodedPhoto:
        """Itself; or, where what seems to move changes next to nothing, with nothing that moves."""
        if not diagnostics.is_static(self.working, self.flow_axis, self.threshold):
            return self
        zeros = Encoding(*map(torch.zeros_like, self.encoding))
        still = zeros._replace(
            middle=to_photo(self.working).to(zeros.middle),
            swept_logits=zeros.swept_logits - CERTAIN,
            moving_logits=zeros.moving_logits - CERTAIN,
        )
        return replace(
            self,
            encoding=still,
            encoder=None,
            encode_detail=None,
            unsuppressed=self,
        )

    @cached_property
    def path_axis(self) -> Flow:
        """(h, w, 2) pixels at working size: the swept path at each pixel, up to its sign."""
        return to_array(half_angle(self.encoding.axis))

    @cached_property
    def flow_axis(self) -> Flow:
        """(h, w, 2) pixels at working size: the motion of what is seen at the middle instant, up to
        its sign."""
        return self.path_axis * to_array(self.encoding.moving_logits > 0)

    @cached_property
    def regions(self) -> Labels:
        """(h, w) uint8 at working size: what moved as one thing, see `find_regions`."""
        return find_regions(self.flow_axis, self.working, threshold=self.threshold)


@dataclass(frozen=True)
class FramedPhoto(Prepared):
    """A photo for a model of frames.

    Attributes:
        frames: (T, 3, h, w) sRGB at working size, in the order in which the model gave them; None
            where the model wants guidance first.
        limits: of the model, a sentence; empty for none.
    """

    frames: Tensor | None = None
    limits: str = ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about the photo itself, and what the model cannot do."""
        return (*self.source.warnings, *filter(None, [self.limits]))


class Renderer(ABC):
    """What a clip is rendered from, at working size.

    Attributes:
        prepared: the photo.
        path: (1, 2, h, w) pixels over the exposure, the path at each pixel.
    """

    count: int | None = None
    """How many frames there are; None for any number."""

    min_instants = PROJECTION_INSTANTS
    """Of which the mean is taken, where there are fewer frames."""

    displaced = True
    """Whether frames are the middle one displaced along the flow."""

    prepared: Prepared
    path: Tensor

    @property
    @abstractmethod
    def flow(self) -> Flow:
        """(h, w, 2) pixels: the motion of what is seen at the middle instant."""

    @property
    @abstractmethod
    def path_axis(self) -> Flow:
        """(h, w, 2) pixels: the motion that the model sees, up to its sign, whatever is held."""

    @property
    @abstractmethod
    def regions(self) -> Labels:
        """(h, w) uint8: what moved as one thing, see `find_regions`."""

    @property
    def certainty(self) -> float | None:
        """Mean probability that what moves does, 0 to 1; None where that is not known."""
        return None

    @abstractmethod
    def frame(self, time: float) -> LinearImage:
        """(h, w, 3) linear light at a time from -1 to 1."""

    def large(self) -> LargePhoto | None:
        """What renders full-size frames tile by tile, where the photo holds more detail."""
        return None


class MotionRenderer(Renderer):
    """Frames at any time, out of an encoding.

    Args:
        prepared: the photo with its encoding.
        path: (1, 2, h, w) pixels: the swept path at each pixel, with its sign.
    """

    def __init__(self, prepared: EncodedPhoto, path: Tensor) -> None:
        self.prepared: EncodedPhoto = prepared
        self.path = path

    @cached_property
    def flow(self) -> Flow:
        """The path where the surface itself moves, else zero."""
        return to_array(self.path * (self.prepared.encoding.moving_logits > 0))

    @property
    def path_axis(self) -> Flow:
        """The swept path of the encoding."""
        return self.prepared.path_axis

    @property
    def regions(self) -> Labels:
        """Those of the encoding, whatever the signs."""
        return self.prepared.regions

    @cached_property
    def certainty(self) -> float | None:
        """By the mask of what moves; None where guidance has said what does."""
        mask = self.prepared.encoding.moving_logits[0, 0]
        if self.prepared.guidance is not None or not (mask > 0).any():
            return None
        return float(mask[mask > 0].sigmoid().mean())

    @cached_property
    def _odd(self) -> Tensor:
        with torch.inference_mode():
            return odd_residual(self.prepared.encoding, self.path)

    def frame(self, time: float) -> LinearImage:
        """Rendered when it is asked for."""
        with torch.inference_mode():
            return frame_to_linear(render(self.prepared.encoding, self.path, time, self._odd))

    def large(self) -> LargePhoto | None:
        """Tiles that are encoded again, where that shows more."""
        seen = self.prepared
        if seen.encode_detail is None:
            return None
        return LargePhoto(
            seen.photo, seen.working, seen.encoding, self.path, seen.encode_detail, seen.guidance
        )


class FixedFrames(Renderer):
    """Just the frames that a model gave; their motion is optical flow (DIS) between the ends.

    Args:
        prepared: the photo.
        frames: (T, 3, h, w) sRGB at working size.
    """

    min_instants = 2
    displaced = False

    def __init__(self, prepared: Prepared, frames: Tensor) -> None:
        self.prepared, self.frames, self.count = prepared, frames, len(frames)
        first, last = to_pixels(frames[[0, -1]])
        self._motion = to_middle_grid(estimate_flow(first, last))
        self.path = to_tensor(self._motion)

    @property
    def flow(self) -> Flow:
        """The flow, on the middle frame's grid."""
        return self._motion

    @cached_property
    def path_axis(self) -> Flow:
        """The flow without its sign."""
        return to_array(half_angle(double_angle(self.path)))

    @cached_property
    def regions(self) -> Labels:
        """Those of the flow."""
        return find_regions(
            self.path_axis, self.prepared.working, threshold=self.prepared.threshold
        )

    def frame(self, time: float) -> LinearImage:
        """One of the model's frames.

        Raises:
            InputError: there is none at this time.
        """
        index = (time + 1) / 2 * (len(self.frames) - 1)
        if not 0 <= round(index) < len(self.frames) or abs(index - round(index)) > 1e-6:
            raise InputError(
                f"this model's {self.count} frames have none at time {time:g}; take one of theirs, "
                "or model='animator', which has them all"
            )
        return frame_to_linear(self.frames[round(index)][None])
