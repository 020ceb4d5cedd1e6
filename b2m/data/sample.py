"""The sample type: a blurred photo with its truth, for storage, training and evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from b2m.data.swept import swept_path
from b2m.guidance.quantize import Guidance, quantize
from b2m.media.image import Pixels
from b2m.motion.fields import STILL_THRESHOLD, Flow
from b2m.tensors import to_float_array, to_tensor


class Sample(NamedTuple):
    """A blurred photo with its truth.

    Attributes:
        photo: (H, W, 3) uint8 sRGB.
        frames: (T, H, W, 3) uint8 sRGB, evenly spaced over the exposure.
        flow: (H, W, 2) pixels over the exposure, on the middle frame's grid; None where it is not
            known.
        judged: (H, W) bool, the pixels that scores are taken of; None for all.
        hint: (H, W, 2) guidance that a neighbouring frame of the video gives; None without one.
        moving: (H, W) bool, what moves against the background; None where that is not known.
        meta: whatever else its source says, such as the first frame's number, "start".
    """

    photo: Pixels
    frames: NDArray[np.uint8]
    flow: Flow | None = None
    judged: NDArray[np.bool_] | None = None
    hint: Guidance | None = None
    moving: NDArray[np.bool_] | None = None
    meta: Mapping[str, Any] = {}

    @property
    def known_flow(self) -> Flow:
        """The flow of a sample that has one."""
        assert self.flow is not None
        return self.flow


class SampleBatch(NamedTuple):
    """A batch of samples with their truth, as tensors: what is rendered, trained and validated on.

    Models and users get its fields by name, as a mapping.

    Attributes:
        photo: (B, 3, H, W) sRGB in [0, 1]; what renders leaves the sensor noise out.
        frames: (B, T, 3, H, W) sRGB in [0, 1], the sharp frames.
        flow: (B, 2, H, W) pixels over the exposure, on the middle frame's grid.
        guidance: (B, 2, H, W) float of -1, 0 and 1.
        moving: (B, 1, H, W) bool, things that move against the background; all that moves where
            that is not known.
        path: (B, 2, H, W) pixels over the exposure: the flow, and, where something moving against
            the background only passes, the motion of that.
    """

    photo: Tensor
    frames: Tensor
    flow: Tensor
    guidance: Tensor
    moving: Tensor
    path: Tensor

    @classmethod
    def of(
        cls,
        photo: Tensor,
        frames: Tensor,
        flow: Tensor,
        *,
        moving: Tensor | None = None,
        path: Tensor | None = None,
    ) -> Self:
        """A batch with its guidance, which the flow determines.

        Args:
            photo, frames, flow: as in the batch.
            moving: as in the batch; None for all pixels that move by `STILL_THRESHOLD` or more.
            path: as in the batch; None for the flow extended by `swept_path`.
        """
        if moving is None:
            moving = flow.norm(dim=1, keepdim=True) >= STILL_THRESHOLD
        if path is None:
            paths = map(swept_path, to_float_array(flow))
            path = torch.cat([to_tensor(one, flow.device) for one in paths])
        return cls(photo, frames, flow, quantize(flow).float(), moving, path)

    def to(self, device: torch.device | str) -> Self:
        """The same on a device."""
        return type(self)(*(part.to(device) for part in self))


class PackedSamples(NamedTuple):
    """Samples in little memory, as training keeps those that it uses several times.

    Attributes:
        clips: (N, 1 + T, 3, H, W) uint8 sRGB, the photo before its sharp frames.
        flows: (N, 2, 2, H, W) float16 pixels over the exposure, flow and path of a `SampleBatch`.
    """

    clips: Tensor
    flows: Tensor
