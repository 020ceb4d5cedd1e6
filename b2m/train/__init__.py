"""Training: one loop, named recipes, and how each kind of model is trained."""

from b2m.train.loop import CHECKPOINT, train

__all__ = ["CHECKPOINT", "train"]
