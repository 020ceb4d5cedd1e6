"""Guidance: which way things moved, one of five classes per pixel. Imports no model.

A guidance is (H, W, 2) int8 with the vectors (0, 0) still, or (+-1, +-1), x to the right and y
down (Zhong et al., Animation from Blur, ECCV 2022).
"""

from b2m.guidance.edit import from_direction, from_mask, from_strokes, hold, reverse
from b2m.guidance.palette import PALETTE, from_png, to_color, to_png
from b2m.guidance.quantize import (
    DIRECTIONS,
    Guidance,
    from_flow,
    quadrant,
    quantize,
    resize,
    validate,
)
from b2m.motion.fields import STILL_THRESHOLD
from b2m.motion.orientation import coherent_signs

__all__ = [
    "DIRECTIONS",
    "PALETTE",
    "STILL_THRESHOLD",
    "Guidance",
    "coherent_signs",
    "from_direction",
    "from_flow",
    "from_mask",
    "from_png",
    "from_strokes",
    "hold",
    "quadrant",
    "quantize",
    "resize",
    "reverse",
    "to_color",
    "to_png",
    "validate",
]
