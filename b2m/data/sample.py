"""The sample type: a blurred photo with its truth, for storage, training and evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from b2m.guidance.quantize import Guidance
from b2m.media.image import Pixels
from b2m.motion.fields import Flow


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
    """A batch of rendered samples, as tensors.

    Attributes:
        blur: (B, 3, H, W) sRGB in [0, 1], the photo before any sensor noise.
        frames: (B, T, 3, H, W) sRGB in [0, 1], the sharp frames.
        flow: (B, 2, H, W) pixels over the exposure, on the middle frame's grid.
        guidance: (B, 2, H, W) int8.
        moving: (B, 1, H, W) bool, things that move against the background; all that
            moves where that is not known.
        path: (B, 2, H, W) pixels over the exposure: the flow, and, where something moving against
            the background only passes, the motion of that.
    """

    blur: Tensor
    frames: Tensor
    flow: Tensor
    guidance: Tensor
    moving: Tensor
    path: Tensor
