"""The model card that a training leaves beside its weights, so that they can be published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from b2m.hub_client import OWNER
from b2m.train.recipes import Recipe


def training_card(
    recipe: Recipe, samples: int, seconds: float, rows: Sequence[Mapping[str, float]]
) -> str:
    """The model card of weights that a training wrote.

    Args:
        recipe: what was trained.
        samples: seen in all.
        seconds: of training.
        rows: of its log; the last is shown.

    Returns:
        Markdown, with the front matter that the Hub reads.
    """
    captions = {
        score: f"{caption} ({title})"
        for title, scores in recipe.objective.panels
        for score, caption in scores.items()
    }
    last = rows[-1] if rows else {}
    scores = [f"| {captions[key]} | {last[key]:.2f} |" for key in last if key in captions]
    lines = ["| on validation scenes | |", "|---|---:|", *scores] if scores else ["Not validated."]
    table = "\n".join(lines)
    return f"""---
library_name: b2m
tags:
- motion-blur
---

# {recipe.model.__name__}

Trained by `b2m train {recipe.name}` of [b2m](https://github.com/{OWNER}/b2m): \
{samples:,} samples, {seconds / 3600:.2g} hours. These are the averaged weights.

{table}
"""
