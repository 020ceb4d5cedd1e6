"""One file per model; `layers.py` holds what they share. No model imports data."""

from b2m.models.animator import MotionAnimator, MotionAnimatorConfig

__all__ = ["MotionAnimator", "MotionAnimatorConfig"]
