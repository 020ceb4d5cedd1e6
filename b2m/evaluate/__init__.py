"""Evaluation: tables of numbers, one loop for all of them."""

from b2m.evaluate.run import all_tables, evaluate

__all__ = ["all_tables", "evaluate"]
