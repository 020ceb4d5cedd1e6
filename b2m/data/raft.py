"""RAFT as a teacher of flow, where torchvision and its weights are at hand.

Paper: RAFT: Recurrent All-Pairs Field Transforms for Optical Flow (Teed and Deng, ECCV 2020);
torchvision's implementation and weights (BSD-3-Clause), fetched on first use.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from b2m.errors import InputError
from b2m.motion.fields import Flow
from b2m.tensors import to_float_array, to_photo

_MIN_SIDE = 128  # pixels, below which its pyramid has no room
_STRIDE = 8


def raft_flow(first: NDArray[np.uint8], last: NDArray[np.uint8]) -> Flow:
    """Flow from one frame to another, (H, W, 3) uint8 both: (H, W, 2) pixels on the first's grid.

    Raises:
        InputError: torchvision is not installed, or the weights cannot be fetched.
    """
    height, width = first.shape[:2]
    pair = torch.cat([to_photo(first), to_photo(last)])
    below, beside = (max(_MIN_SIDE - side, -side % _STRIDE) for side in (height, width))
    pair = nn.functional.pad(2 * pair - 1, (0, beside, 0, below), mode="replicate")
    with torch.inference_mode():
        found = _raft()(pair[:1], pair[1:])[-1]
    return to_float_array(found[0, :, :height, :width])


@lru_cache(maxsize=1)
def _raft() -> nn.Module:
    try:
        from torchvision.models.optical_flow import Raft_Large_Weights, raft_large
    except ImportError:
        raise InputError("--flow raft needs torchvision: pip install 'b2m[train]'") from None
    try:
        model: nn.Module = raft_large(weights=Raft_Large_Weights.C_T_SKHT_V2, progress=False)
    except Exception as error:  # of the network, by stage
        raise InputError(
            "the weights of RAFT cannot be fetched: check the network, or take --flow dis"
        ) from error
    return model.eval()
