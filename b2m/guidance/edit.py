"""Guidance from user input: directions, strokes, masks, regions reversed or held still."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from b2m.errors import InputError, NothingMovesError, shortened
from b2m.guidance.quantize import DIRECTIONS, Guidance, from_flow, quadrant, validate
from b2m.guidance.strokes import Points, along, brushed, checked_point, checked_strokes
from b2m.media.image import row_strips
from b2m.motion.fields import STILL_THRESHOLD
from b2m.motion.orientation import coherent_signs
from b2m.motion.regions import Labels, find_regions, guidance_regions, label_near


def _direction(given: str | Sequence[float]) -> tuple[float, float]:
    """A direction by name or as a vector: x to the right and y down."""
    if isinstance(given, str):
        if given not in DIRECTIONS:
            raise InputError(f"direction {given!r} is none of {', '.join(DIRECTIONS)}")
        return DIRECTIONS[given]
    vector = _array(given)
    if vector.shape != (2,) or vector.dtype.kind not in "fiu" or not np.isfinite(vector).all():
        raise InputError(
            f"direction {shortened(given)} is no vector (x, y), and none of {', '.join(DIRECTIONS)}"
        )
    x, y = vector.tolist()
    if not (x or y):
        raise InputError("a direction of length 0 points nowhere")
    return x, y


def _array(given: object) -> NDArray[Any]:
    """As an array; ragged lists become an empty one."""
    try:
        return np.asarray(given)
    except ValueError:
        return np.empty(0)


def _towards(
    flow: NDArray[np.floating[Any]], direction: tuple[float, float], threshold: float
) -> Guidance:
    """Guidance of a flow with each vector's sign chosen; see :func:`from_direction`."""
    x, y = direction
    u, v = flow[..., 0], flow[..., 1]
    along, across = u * x + v * y, v * x - u * y
    backwards = (along < 0) | ((along == 0) & (across < 0))
    guidance = from_flow(flow, threshold)
    np.negative(guidance, out=guidance, where=backwards[..., None])
    return guidance


# --- user input -----------------------------------------------------------------------------------


class Directed(Protocol):
    """What can be edited: a `b2m.Clip`, or anything with these."""

    @property
    def flow(self) -> NDArray[np.float32]:
        """(H, W, 2) pixels over the whole exposure."""

    @property
    def regions(self) -> Labels:
        """(H, W) uint8 of `b2m.motion.regions.find_regions`."""


Base = Directed | NDArray[Any] | str


_SIGN_PIXELS = 512  # on the longest side, at which the sign of a region is determined
_STROKE_PLACES = 400  # points sampled on a stroke


class _EditState(NamedTuple):
    """What is edited."""

    guidance: Guidance  # written to
    before: Guidance  # unchanged
    flow: NDArray[np.float32] | None  # None where only quadrants are known
    regions: Labels


def from_direction(base: Base, direction: str, photo: NDArray[np.uint8] | None = None) -> Guidance:
    """Guidance in which everything moves along its motion axis, towards a direction.

    Each coherent region gets one sign, the one that moves it farther that way, so that regions that
    rotate or bend are not split.

    Args:
        base: a clip, or a flow as for :func:`from_strokes`.
        direction: one of "right", "down-right", "down", "down-left", "left", "up-left", "up",
            "up-right".
        photo: (H, W, 3) uint8; its edges help a flow's regions.

    Returns:
        (H, W, 2) int8. A region at right angles to ``direction`` turns clockwise from it.

    Raises:
        InputError: another direction, named with the eight that exist, or a base without a flow.
    """
    x, y = _direction(direction)
    state = _edit_state(base, photo)
    if state.flow is None:
        raise InputError("a direction needs the motion axes: give a clip or a flow")
    # A hair clockwise, for regions at right angles.
    towards = np.array([x - 1e-6 * y, y + 1e-6 * x])
    for number, box in enumerate(_boxes(state.regions), 1):
        if box is not None:
            _direct(state, number, box, towards)
    return state.guidance


def from_strokes(
    strokes: Sequence[Points],
    base: Base,
    photo: NDArray[np.uint8] | None = None,
    *,
    radius: float | None = None,
) -> Guidance:
    """Guidance from strokes over a photo: objects moved as the strokes were drawn.

    A stroke selects every coherent region under or next to a third of its length or more, or else
    the one in which it begins. Where the motion axis is known, a region gets the sign that agrees
    better with the stroke, piece by piece; if only guidance is known, it gets the quadrant from the
    stroke's first point to its last. Later strokes take precedence.

    Args:
        strokes: lists of two points or more, (x, y) in pixels of the photo as shown.
        base: what is edited: a clip; a flow, (H, W, 2) float pixels over the whole exposure;
            guidance, (H, W, 2) int8; or "still", for which each stroke paints its own pixels
            (Zhong's reading). Guidance that is still under a stroke is painted, too.
        photo: (H, W, 3) uint8; its edges help a flow's regions, and "still" needs its size.
        radius: of the brush that paints, pixels; by default a fiftieth of the longest side.

    Returns:
        (H, W, 2) int8.

    Raises:
        InputError: no stroke, one of a single point or outside the photo, one over nothing that
            moves, or a base that is none.
    """
    state = _edit_state(base, photo)
    height, width = state.regions.shape
    if radius is None:
        radius = max(height, width) / 50
    if not isinstance(radius, int | float | np.number) or not 0 < radius <= max(height, width):
        raise InputError(
            f"a brush with a radius of {shortened(radius)} pixels cannot paint: give a number "
            f"above 0 and up to {max(height, width)}"
        )
    boxes = [] if state.flow is None else _boxes(state.regions)
    for name, points in checked_strokes(strokes, height, width):
        places, directions = along(points)
        step = -(-len(places) // _STROKE_PLACES)
        places, directions = places[::step], directions[::step]
        labels, rows, columns = label_near(state.regions, places)
        numbers, counts = np.unique(labels[labels > 0], return_counts=True)
        taken = numbers[counts * 3 >= len(labels)]
        if not len(taken) and labels[0]:
            taken = labels[:1]  # an arrow that leaves an object
        if len(taken) and state.flow is not None:
            for number in taken.tolist():
                box, under = boxes[number - 1], labels == number
                assert box is not None
                _direct(state, number, box, directions[under], (rows[under], columns[under]))
        elif len(taken):
            whole = points[-1] - points[0]
            if not whole.any():
                raise InputError(f"{name} ends where it began: draw it the way the thing went")
            state.guidance[np.isin(state.regions, taken)] = quadrant(*whole)
        elif state.flow is not None:
            raise NothingMovesError(
                f"{name} is over nothing that moves: draw it on something blurred by motion"
            )
        else:
            for piece, step in zip(brushed(points, radius, height, width), np.diff(points, axis=0),
                                   strict=True):  # fmt: skip
                state.guidance[piece] = quadrant(*step)
    return state.guidance


def from_mask(
    mask: NDArray[np.bool_], direction: str | Sequence[float], base: Base = "still"
) -> Guidance:
    """Guidance in which the pixels under a mask move towards a direction.

    Args:
        mask: (H, W) bool.
        direction: a name out of `DIRECTIONS`, or (x, y), x to the right and y down.
        base: what is edited, as for :func:`from_strokes`. Where it is a clip or a flow, each pixel
            goes along its own motion axis, and what is still stays so.

    Returns:
        (H, W, 2) int8.

    Raises:
        InputError: not a mask, one that covers nothing, another direction, or nothing that moves
            under the mask.
    """
    mask = _checked_mask(_array(mask))
    towards = _direction(direction)
    state = _edit_state(base, size=mask.shape, regions=False)
    _check_mask(mask, state)
    if state.flow is None:
        state.guidance[mask] = quadrant(*towards)
        return state.guidance
    if not state.guidance[..., 0][mask].any():  # either both components are zero, or neither
        raise NothingMovesError("nothing moves under the mask: choose something blurred by motion")
    for rows in row_strips(*mask.shape):
        chosen = _towards(state.flow[rows], towards, STILL_THRESHOLD)
        np.copyto(state.guidance[rows], chosen, where=mask[rows][..., None])
    return state.guidance


def reverse(
    base: Base,
    region: NDArray[np.bool_] | Sequence[float] | None = None,
    photo: NDArray[np.uint8] | None = None,
) -> Guidance:
    """The same motion reversed, everywhere or in one region.

    Args:
        base: a clip, a flow or guidance, as for :func:`from_strokes`.
        region: (H, W) bool; or a point (x, y) in pixels of the photo as shown, which takes the
            coherent region there; None for all. Without motion axes, regions of guidance are
            connected pixels whose directions are not opposite.
        photo: (H, W, 3) uint8; its edges help a flow's regions.

    Returns:
        (H, W, 2) int8.

    Raises:
        InputError: not a mask of this size, or one that covers nothing; a point outside the photo
            or on a still place.
    """
    if region is None:
        guidance = _edit_state(base, regions=False).guidance
        return np.negative(guidance, out=guidance)
    state, inside = _chosen(base, region, photo)
    np.negative(state.guidance, out=state.guidance, where=inside[..., None])
    return state.guidance


def hold(
    base: Base,
    region: NDArray[np.bool_] | Sequence[float],
    photo: NDArray[np.uint8] | None = None,
) -> Guidance:
    """The same motion, with one region held still.

    Args:
        base: a clip, a flow or guidance, as for :func:`from_strokes`.
        region: a mask or a point, as for :func:`reverse`.
        photo: (H, W, 3) uint8; its edges help a flow's regions.

    Returns:
        (H, W, 2) int8.

    Raises:
        InputError: not a mask of this size, or one that covers nothing; a point outside the photo
            or on a still place.
    """
    state, inside = _chosen(base, region, photo)
    state.guidance[inside] = 0
    return state.guidance


def _edit_state(
    base: Base,
    photo: NDArray[np.uint8] | None = None,
    *,
    size: tuple[int, int] | None = None,
    regions: bool = True,
) -> _EditState:
    """Read a base. Its regions cost time, and "still" needs a photo or its size."""
    if photo is not None:
        if not isinstance(photo, np.ndarray) or photo.dtype != np.uint8 or photo.shape[2:] != (3,):
            raise InputError(
                f"the photo is {shortened(photo)}: give its pixels, (H, W, 3) uint8, as "
                "b2m.media.read_image(photo).pixels has them"
            )
        size = (photo.shape[0], photo.shape[1])
    if isinstance(base, str):
        if base != "still" or size is None:
            raise InputError(
                f"base={base!r} with{'out' if size is None else ''} a photo is not possible: give "
                'a clip, a flow or guidance, or "still" and the photo'
            )
        nothing = np.zeros((*size, 2), np.int8)
        return _EditState(nothing.copy(), nothing, None, _nowhere(nothing))
    if isinstance(base, np.ndarray):
        if size is not None and base.shape[:2] != size:
            raise InputError(f"the base is {base.shape[:2]} and photo or mask {size}: not alike")
        if base.dtype.kind != "f":
            guidance = validate(base, *(base.shape[:2] if base.ndim == 3 else (0, 0)))
            found = guidance_regions(guidance) if regions else _nowhere(guidance)
            return _EditState(guidance.copy(), guidance, None, found)
        guidance, flow = from_flow(base), base.astype(np.float32, copy=False)
        found = _nowhere(guidance)
        if regions:
            found = find_regions(flow, photo, threshold=STILL_THRESHOLD)
        return _EditState(guidance.copy(), guidance, flow, found)
    if not hasattr(base, "flow"):
        raise InputError(f"a base is a clip, a flow or guidance, not {type(base).__name__}")
    guidance = from_flow(base.flow)
    found = base.regions if regions else _nowhere(guidance)
    return _EditState(guidance.copy(), guidance, base.flow, found)


def _chosen(
    base: Base, region: NDArray[np.bool_] | Sequence[float], photo: NDArray[np.uint8] | None
) -> tuple[_EditState, NDArray[np.bool_]]:
    """A base, and the pixels that a mask or a point selects in it."""
    array = _array(region)
    state = _edit_state(base, photo, regions=array.ndim == 1)
    if array.ndim > 1:
        mask = _checked_mask(array)
        _check_mask(mask, state)
        return state, mask
    height, width = state.regions.shape
    point = checked_point(region, height, width)
    labels, _, _ = label_near(state.regions, point[None])
    if not labels[0]:
        raise NothingMovesError(
            f"nothing moves at x={point[0]:.0f}, y={point[1]:.0f}: choose a point on something "
            "blurred by motion"
        )
    return state, state.regions == labels[0]


def _nowhere(base: NDArray[Any]) -> Labels:
    return np.zeros(base.shape[:2], np.uint8)


def _checked_mask(given: NDArray[Any]) -> NDArray[np.bool_]:
    if given.ndim != 2 or given.dtype != bool:
        raise InputError(
            f"a mask is (H, W) of bool, not {given.shape} {given.dtype}: mask > 0 makes it from "
            "numbers"
        )
    return given


def _check_mask(mask: NDArray[np.bool_], state: _EditState) -> None:
    if mask.shape != state.guidance.shape[:2]:
        raise InputError(f"the mask is {mask.shape}, the photo {state.guidance.shape[:2]}")
    if not mask.any():
        raise InputError("the mask is False everywhere: set it True on what is meant")


_Box = tuple[slice, slice]


def _boxes(regions: Labels) -> list[_Box | None]:
    """Rows and columns of regions 1, 2, …; None for numbers that no pixel has."""
    from scipy.ndimage import find_objects

    boxes: list[_Box | None] = find_objects(regions)
    return boxes


def _direct(
    state: _EditState,
    number: int,
    box: _Box,
    directions: NDArray[np.float64],
    places: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None,
) -> None:
    """Choose the sign of a region with known motion axes by given directions.

    That is by directions (N, 2) at some places, rows and columns, or by one for all of them (2,).
    """
    assert state.flow is not None
    inside = state.regions[box] == number
    # A thing goes as one, whatever was said of its parts. Its signs need not every pixel.
    step = max(1, max(inside.shape) // _SIGN_PIXELS)
    if not inside[::step, ::step].any():
        step = 1  # a long hair
    flow = np.ascontiguousarray(state.flow[box][::step, ::step])
    signed = coherent_signs(flow)
    if places is None:
        signs = signed[inside[::step, ::step]]
    else:
        signs = signed[(places[0] - box[0].start) // step, (places[1] - box[1].start) // step]
    agreement = (signs * directions).sum()
    turned = ((signed * flow).sum(axis=-1) < 0) != (agreement < 0)
    whole = turned.repeat(step, axis=0).repeat(step, axis=1)
    whole = whole[: inside.shape[0], : inside.shape[1]]
    guidance = np.where(whole[..., None], -state.before[box], state.before[box])
    np.copyto(state.guidance[box], guidance, where=inside[..., None])
