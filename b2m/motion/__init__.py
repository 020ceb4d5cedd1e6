"""Motion fields: (H, W, 2) float32 pixels over the whole exposure, x to the right and y down."""

from b2m.motion.color import color_wheel, flow_to_color
from b2m.motion.fields import (
    STILL_THRESHOLD,
    Flow,
    estimate_flow,
    flip_flow,
    resize_flow,
    rotate90_flow,
    to_first_grid,
    to_middle_grid,
    warp,
)
from b2m.motion.io import read_flow, write_flow

__all__ = [
    "STILL_THRESHOLD",
    "Flow",
    "color_wheel",
    "estimate_flow",
    "flip_flow",
    "flow_to_color",
    "read_flow",
    "resize_flow",
    "rotate90_flow",
    "to_first_grid",
    "to_middle_grid",
    "warp",
    "write_flow",
]
