"""One file per model; `layers.py` holds what they share. No model imports data."""

from b2m.models.animator import MotionAnimator, MotionAnimatorConfig
from b2m.models.decomposer import BlurDecomposer, BlurDecomposerConfig

__all__ = [
    "BlurDecomposer",
    "BlurDecomposerConfig",
    "MotionAnimator",
    "MotionAnimatorConfig",
]
