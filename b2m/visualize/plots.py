"""Plots of the papers' tables and figures, and of trainings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from b2m.files import atomic_path

Row = Mapping[str, Any]
_SIZES = 6  # steps of blur


class PhotoScores(NamedTuple):
    """Scores of one row of a table on one photo.

    Attributes:
        row: its name.
        psnrs: (T,) dB of each frame, in the order that counts.
        blur: pixels, the longest motion.
    """

    row: str
    psnrs: NDArray[np.float64]
    blur: float


def draw_table(path: Path, title: str, rows: Sequence[Row], score: str, label: str) -> None:
    """Draw one score of a table as bars, a panel for each group.

    Args:
        path: the PNG to write.
        title: of the picture.
        rows: named "GROUP: ROW"; those without the score are left out.
        score: key of the rows.
        label: of the score, with its unit.
    """
    panels: dict[str, dict[str, float]] = {}
    for row in rows:
        group, name = row["name"].split(": ", 1)
        if row.get(score) is not None:
            panels.setdefault(group, {})[name] = row[score]
    names = list(dict.fromkeys(name for bars in panels.values() for name in bars))
    figure, axes = _panels(len(panels), height=1.4 + 0.28 * max(1, len(names)), share_y=True)
    for panel, (group, bars) in zip(axes, panels.items(), strict=True):
        panel.barh([names.index(name) for name in bars], list(bars.values()), color="#3b6ea5")
        panel.set_yticks(range(len(names)), names)
        panel.axvline(0, color="black", linewidth=0.8)
        panel.set(title=group, xlabel=label)
        panel.grid(axis="x", alpha=0.3)
    if axes:
        axes[0].invert_yaxis()  # which all share
    _save(figure, path, title)


def draw_errors(path: Path, samples: Sequence[PhotoScores], rows: Sequence[str]) -> None:
    """Error propagation (Argaw 2021a, Fig. 7): PSNR of the end frames against the middle one's.

    Args:
        path: the PNG to write.
        samples: of all rows.
        rows: which to draw, a panel each.
    """
    shown = [row for row in rows if any(sample.row == row for sample in samples)]
    figure, axes = _panels(len(shown), height=3.6, share_y=True)
    for place, row in zip(axes, shown, strict=True):
        scores = [sample.psnrs for sample in samples if sample.row == row]
        middle = [score[len(score) // 2] for score in scores]
        ends = [(score[0] + score[-1]) / 2 for score in scores]
        place.scatter(middle, ends, s=9, alpha=0.6, color="#3b6ea5")
        limits = min(middle + ends), max(middle + ends)
        place.plot(limits, limits, "--", color="grey", linewidth=0.8)
        title = row
        if len(scores) > 2:
            title += f"\ncorrelation {np.corrcoef(middle, ends)[0, 1]:.2f}"
        place.set(title=title, xlabel="middle frame (dB)", ylabel="first and last (dB)")
        place.grid(alpha=0.3)
    _save(figure, path, "End frames against the middle frame, photo by photo")


def draw_blur(path: Path, samples: Sequence[PhotoScores], rows: Sequence[str]) -> None:
    """Quality against the size of blur (Argaw 2021a, Fig. 6).

    Args:
        path: the PNG to write.
        samples: of all rows.
        rows: which to draw, a line each.
    """
    figure, (place,) = _panels(1, height=3.8)
    longest = max(sample.blur for sample in samples)
    edges = np.linspace(0, longest * 1.001, _SIZES + 1)
    for row in rows:
        some = [sample for sample in samples if sample.row == row]
        steps = np.digitize([sample.blur for sample in some], edges)
        points = [
            (
                (edges[step - 1] + edges[step]) / 2,
                np.mean(
                    [one.psnrs.mean() for one, at in zip(some, steps, strict=True) if at == step]
                ),
            )
            for step in sorted(set(steps.tolist()))
        ]
        if points:
            place.plot(*zip(*points, strict=True), "o-", label=row)
    place.set(xlabel="longest blur (px)", ylabel="PSNR (dB)")
    place.legend()
    place.grid(alpha=0.3)
    _save(figure, path, "Quality against the size of blur")


def draw_training(path: Path, logs: Mapping[str, Path], score: str, label: str) -> None:
    """Scores during training (Zhong 2022, Fig. 9).

    Args:
        path: the PNG to write.
        logs: from a name to the log of a training, which exists.
        score: key in the logs.
        label: of the score, with its unit.
    """
    figure, (place,) = _panels(1, height=3.8)
    for name, log in logs.items():
        rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        place.plot([row["samples"] for row in rows], [row[score] for row in rows], "o-", label=name)
    place.set(xlabel="samples", ylabel=label)
    place.legend()
    place.grid(alpha=0.3)
    _save(figure, path, "Training")


def training_curve(
    rows: Sequence[Mapping[str, float]],
    path: Path,
    panels: Sequence[tuple[str, Mapping[str, str]]],
) -> None:
    """Draw scores against samples.

    Args:
        rows: of a training's log.
        path: the picture to write, a PNG.
        panels: title of each, and from the scores in it to their captions; the first is solid.
    """
    from matplotlib.figure import Figure

    samples = [row["samples"] for row in rows]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, (title, scores) in zip(
        np.ravel(figure.subplots(1, len(panels))), panels, strict=True
    ):
        for number, (score, caption) in enumerate(scores.items()):
            values = [row[score] for row in rows]
            axes.plot(samples, values, "--" if number else "-", label=caption)
        axes.set(xlabel="samples", ylabel=title)
        axes.legend()
        axes.grid(alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _panels(count: int, height: float, share_y: bool = False) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 + 3.5 * count, height), layout="constrained")
    axes = figure.subplots(1, max(1, count), sharey=share_y)
    return figure, list(np.ravel(axes))[:count]


def _save(figure: Any, path: Path, title: str) -> None:
    figure.suptitle(title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=90)
