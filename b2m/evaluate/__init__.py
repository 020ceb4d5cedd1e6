"""Evaluation: tables of numbers, one loop for all of them."""

from b2m.evaluate.run import evaluate, tables

__all__ = ["evaluate", "tables"]
