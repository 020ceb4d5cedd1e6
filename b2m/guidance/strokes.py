"""Strokes: lines drawn over a photo, checked, walked along, and painted.

A stroke is a list of points (x, y) in pixels of the photo as shown, in the order in which it was
drawn. Pure: only geometry.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from b2m.errors import InputError, shortened

Points = Sequence[Sequence[float]]
Line = NDArray[np.float64]


def checked_point(given: object, height: int, width: int, name: str = "the point") -> Line:
    """One point inside a photo: (2,) float64.

    Raises:
        InputError: not two finite numbers, or outside.
    """
    try:
        point = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        point = np.empty(0)
    if point.shape != (2,) or not np.isfinite(point).all():
        raise InputError(f"{name} is {shortened(given)}: give x and y in pixels")
    x, y = point.tolist()
    if not (0 <= x < width and 0 <= y < height):
        raise InputError(
            f"{name} is outside the photo, at x={x:g}, y={y:g}: x goes from 0 to {width - 1}, "
            f"y from 0 to {height - 1}"
        )
    return point


def checked_strokes(strokes: Sequence[Points], height: int, width: int) -> list[tuple[str, Line]]:
    """The strokes with a name for each: (N, 2) float64 points, each another than the one before.

    Raises:
        InputError: none, one of a single point, or a point that :func:`checked_point` refuses.
    """
    if isinstance(strokes, str) or not isinstance(strokes, Sequence | np.ndarray):
        raise InputError(f"strokes are lists of points (x, y), not {type(strokes).__name__}")
    if len(strokes) == 0:
        raise InputError("there is no stroke: give at least one, a list of two points or more")
    found = []
    for index, stroke in enumerate(strokes, 1):
        name = f"stroke {index}"
        if not _is_list(stroke):
            raise InputError(f"{name} is {shortened(stroke)}, not a list of points (x, y)")
        if not any(_is_list(value) for value in stroke):
            raise InputError(f"{name} is no list of points: give [[(x0, y0), (x1, y1)], ...]")
        points = np.array(
            [checked_point(point, height, width, f"a point of {name}") for point in stroke]
        )
        moves = np.ones(len(points), bool)
        moves[1:] = (points[1:] != points[:-1]).any(axis=1)
        if moves.sum() < 2:
            raise InputError(f"{name} is a single point: it needs two, from where to where it went")
        found.append((name, points[moves]))
    return found


def _is_list(value: object) -> bool:
    try:
        return np.ndim(value) > 0  # type: ignore[arg-type]
    except ValueError:  # lists of different lengths
        return True


def along(points: Line) -> tuple[Line, Line]:
    """Places at most a pixel apart on a stroke, and its direction at each: (M, 2) both.

    Args:
        points: (N, 2), each another than the one before. Directions have a length of 1.
    """
    steps = np.diff(points, axis=0)
    lengths = np.hypot(steps[:, 0], steps[:, 1])
    counts = np.ceil(lengths).astype(int)
    piece = np.repeat(np.arange(len(steps)), counts)
    number = np.arange(len(piece)) - np.repeat(counts.cumsum() - counts, counts)
    share = (number + 0.5) / counts[piece]
    return points[piece] + share[:, None] * steps[piece], (steps / lengths[:, None])[piece]


def brushed(points: Line, radius: float, height: int, width: int) -> Iterator[NDArray[np.bool_]]:
    """What a round brush paints: for each piece from one point to the next (height, width) bool."""
    thickness = max(1, 2 * round(radius) + 1)
    fixed = np.rint(points * 256).astype(int).tolist()
    for start, end in pairwise(fixed):
        painted = np.zeros((height, width), np.uint8)
        cv2.line(painted, start, end, color=1, thickness=thickness, shift=8)
        yield painted > 0
