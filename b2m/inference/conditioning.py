"""Condition an encoding on guidance.

Where guidance names a quadrant it chooses the sign of the motion. Where it is still, predicted
motion is suppressed, except for pixels that something moving passes over.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from b2m.models.animator import Encoding, fill_still

# The network and the threshold need not agree to the pixel, so motion fades out between the
# threshold and half as much again.
_FADE = 0.5
_MAX_OCCLUSION_DISTANCE = 40.0  # pixels from a moving object, within which it covers others
_SMOOTHING = 5  # pixels over which held and moving parts join

CERTAIN = 20.0
"""Logit of a mask that is given, not predicted."""


def apply_guidance(
    encoding: Encoding, coherent: Tensor, guidance: Tensor, threshold: float
) -> tuple[Encoding, Tensor]:
    """Condition an encoding on guidance.

    Args:
        encoding: of the photo, decoded with the guidance, batch of one.
        coherent: (1, 2, H, W) pixels, motion axes with signs on which neighbours agree.
        guidance: (1, 2, H, W) float in {-1, 0, 1}.
        threshold: pixels over the exposure; shorter motion is called still.

    Returns:
        The encoding, with suppressed motion taken out, and the flow (1, 2, H, W). Guidance that is
        still everywhere gives no motion.
    """
    agreement = torch.sign((coherent * guidance).sum(1, keepdim=True))
    # Pixels without guidance take the sign of the nearest ones with it.
    flow = torch.where(fill_still(agreement) < 0, -coherent, coherent)
    share = _moving_share(flow, guidance, threshold)
    moving = torch.where((guidance != 0).any(1, keepdim=True), CERTAIN, -CERTAIN)
    return attenuate(encoding, share)._replace(moving_logits=moving), flow * share


def attenuate(encoding: Encoding, share: Tensor) -> Encoding:
    """The maps of a motion shortened to a share of its length, (1, 1, H, W); the axis stays."""
    return encoding._replace(
        curve=encoding.curve * share**2,
        even=encoding.even * share**2,
        odd=encoding.odd * share,
    )


def _moving_share(flow: Tensor, guidance: Tensor, threshold: float) -> Tensor:
    """How much of its motion each pixel keeps, (1, 1, H, W) in [0, 1]."""
    length = flow.norm(dim=1, keepdim=True)
    share = ((1 + _FADE - length / threshold) / _FADE).clamp(0, 1)
    still = (guidance == 0).all(1)[0].cpu().numpy().astype(np.uint8)
    if still.all():
        return torch.zeros_like(share)
    away = torch.from_numpy(cv2.distanceTransform(still, cv2.DIST_L2, 5)).to(flow)
    # Next to a moving object the background is crossed by it: frames there are not the photo.
    crossed = away <= length.clamp(max=_MAX_OCCLUSION_DISTANCE)
    share = torch.where(crossed, torch.ones_like(share), share)
    share = F.avg_pool2d(share, _SMOOTHING, 1, _SMOOTHING // 2, count_include_pad=False)
    return torch.where(away == 0, torch.ones_like(share), share)
