"""b2m, blur to motion: one motion-blurred photo in, a short sharp clip and its motion field out.

The public names are loaded on first use, so that ``import b2m`` costs nothing.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from b2m import blur, data, evaluate, guidance, hub, losses, media, metrics, models, motion
    from b2m.api import BlurAnimator, animate, animate_video, deblur, flow, segment_motion
    from b2m.deconvolution import deblur_with_flow
    from b2m.errors import InputError, OutputError
    from b2m.inference.clip import Clip
    from b2m.inference.renderers import Prepared

__version__ = "0.1.0"

__all__ = [
    "BlurAnimator",
    "Clip",
    "InputError",
    "OutputError",
    "Prepared",
    "__version__",
    "animate",
    "animate_video",
    "blur",
    "data",
    "deblur",
    "deblur_with_flow",
    "evaluate",
    "flow",
    "guidance",
    "hub",
    "losses",
    "media",
    "metrics",
    "models",
    "motion",
    "segment_motion",
]

_NAMES = {
    **dict.fromkeys(
        ("BlurAnimator", "animate", "animate_video", "deblur", "flow", "segment_motion"), "b2m.api"
    ),
    "Clip": "b2m.inference.clip",
    "Prepared": "b2m.inference.renderers",
    "deblur_with_flow": "b2m.deconvolution",
    **dict.fromkeys(("InputError", "OutputError"), "b2m.errors"),
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name in _NAMES:
        value = getattr(import_module(_NAMES[name]), name)
    elif name in __all__:
        return import_module(f"b2m.{name}")
    else:
        raise AttributeError(f"module 'b2m' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def _use_one_thread() -> None:
    """A forked child has none of PyTorch's threads, and would wait for them forever.

    OpenCV does a missing thread's share itself; to change its number of threads would hang, as it
    then waits for those of the parent to end.
    """
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_use_one_thread)
