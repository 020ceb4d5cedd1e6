"""Training: one loop, named recipes, and the objectives that they minimise."""

from b2m.train.loop import CHECKPOINT, train

__all__ = ["CHECKPOINT", "train"]
