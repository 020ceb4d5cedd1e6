"""Options that give guidance on the command line, and the guidance that they make."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from b2m.cli.console import dimensions
from b2m.errors import ArgumentError, InputError

# PyTorch takes a second to import: whatever needs it is imported inside the functions.
if TYPE_CHECKING:
    from b2m.guidance.quantize import Guidance
    from b2m.inference.animator import BlurAnimator
    from b2m.inference.renderers import Prepared

Points = list[tuple[float, float]]

Direction = Annotated[
    str | None,
    typer.Option(
        metavar="WHERE", help="Direction of the motion: right, left, up, down, up-left, …"
    ),
]
Picture = Annotated[
    Path | None,
    typer.Option(metavar="PNG", help="Guidance image, a direction for each pixel."),
]
Scale = Annotated[
    bool, typer.Option("--scale-guidance", help="Resize the guidance image to the photo's size.")
]
Strokes = Annotated[
    list[str] | None,
    typer.Option(
        metavar="X0,Y0,X1,Y1",
        help="Direction of the object at a stroke, of two points or more. Repeatable.",
    ),
]
Reversed = Annotated[
    list[str] | None,
    typer.Option(metavar="X,Y", help="Reverse the object at this point. Repeatable."),
]


def guidance_from_options(
    direction: str | None,
    picture: Path | None,
    scale: bool,
    strokes: list[str] | None,
    reversed_points: list[str] | None,
) -> Callable[[BlurAnimator, Prepared, Path], Guidance | None]:
    """Read the options, before any work begins.

    Returns:
        A function to the guidance for a photo, (H, W, 2) int8, or None without options: a picture
        or a direction comes first, then the strokes, then what is reversed. It raises an
        ArgumentError for a picture of another size, or a place where nothing moves.

    Raises:
        ArgumentError: words that mean nothing, or a picture that is none.
    """
    if picture is not None and direction is not None:
        raise ArgumentError("--guidance and --direction both set the direction: give one of them")
    if scale and picture is None:
        raise ArgumentError("--scale-guidance stretches a picture: name it with --guidance")
    if direction is not None:
        from b2m.guidance.quantize import DIRECTIONS

        if direction not in DIRECTIONS:
            raise ArgumentError(
                f"--direction is '{direction}': choose from {', '.join(DIRECTIONS)}"
            )
    lines = [
        _points("--stroke", given, 2, "two points or more as x0,y0,x1,y1")
        for given in strokes or ()
    ]
    places = [
        point
        for given in reversed_points or ()
        for point in _points("--reverse", given, 1, "a point as x,y")
    ]
    painted: Guidance | None = None
    if picture is not None:
        from b2m.guidance.palette import from_png

        try:
            painted = from_png(picture)
        except InputError as error:
            raise ArgumentError(f"--guidance: {error}") from error

    def guidance(animator: BlurAnimator, prepared: Prepared, photo: Path) -> Guidance | None:
        from b2m.guidance import edit
        from b2m.guidance.quantize import resize

        chosen, size = painted, prepared.photo.shape[:2]
        if chosen is not None and chosen.shape[:2] != size:
            if not scale:
                raise ArgumentError(
                    f"{picture} is {dimensions(chosen)} and {photo} is "
                    f"{dimensions(prepared.photo)}: paint the guidance at the photo's size, or "
                    "stretch it with --scale-guidance"
                )
            chosen = resize(chosen, size)
        if direction is not None:
            chosen = edit.from_direction(animator.animate(prepared)[0], direction)
        option = "--stroke"
        try:
            if lines:
                chosen = edit.from_strokes(lines, animator.animate(prepared, guidance=chosen)[0])
            option = "--reverse"
            for point in places:
                chosen = edit.reverse(animator.animate(prepared, guidance=chosen)[0], point)
        except InputError as error:
            raise ArgumentError(f"{photo}, {option}: {error}") from error
        return chosen

    return guidance


def _points(option: str, given: str, least: int, wanted: str) -> Points:
    """Points out of numbers with commas; just one if ``least`` is 1."""
    try:
        numbers = [float(part) for part in given.split(",")]
    except ValueError:
        numbers = []
    count = len(numbers) // 2
    if len(numbers) % 2 or count < least or (least == 1 and count > 1):
        numbers = []
    if not numbers or not all(math.isfinite(number) for number in numbers):
        raise ArgumentError(f"{option} is '{given}': give {wanted}, in pixels of the photo")
    return list(zip(numbers[::2], numbers[1::2], strict=True))
