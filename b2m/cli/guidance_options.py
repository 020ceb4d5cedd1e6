"""Options that give guidance on the command line, and the guidance that they make."""

from __future__ import annotations

import math
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Directions:
    """The given options; `guidance` applies them to a photo.

    Attributes:
        direction: one of `b2m.guidance.DIRECTIONS`, for everything that moves.
        picture: the file of `painted`, for messages.
        painted: (H, W, 2) int8.
        scale: whether `painted` is stretched to the photo's size.
        strokes: lists of points (x, y) in pixels of the photo.
        turned: points (x, y) on what goes the other way.
    """

    direction: str | None
    picture: Path | None
    painted: Guidance | None
    scale: bool
    strokes: list[Points]
    turned: Points

    def guidance(self, animator: BlurAnimator, prepared: Prepared, photo: Path) -> Guidance | None:
        """The guidance for a photo, (H, W, 2) int8, or None without options.

        A picture or a direction comes first, then the strokes, then what is turned round.

        Raises:
            ArgumentError: a picture of another size, or a place outside the photo or where nothing
                moves.
        """
        from b2m.guidance.edit import from_direction, from_strokes, reverse

        chosen = self._painted(prepared, photo)
        if self.direction is not None:
            chosen = from_direction(animator.animate(prepared)[0], self.direction)
        try:
            if self.strokes:
                clip = animator.animate(prepared, guidance=chosen)[0]
                chosen = from_strokes(self.strokes, clip)
        except InputError as error:
            raise ArgumentError(f"{photo}, --stroke: {error}") from error
        try:
            for point in self.turned:
                clip = animator.animate(prepared, guidance=chosen)[0]
                chosen = reverse(clip, point)
        except InputError as error:
            raise ArgumentError(f"{photo}, --reverse: {error}") from error
        return chosen

    def _painted(self, prepared: Prepared, photo: Path) -> Guidance | None:
        from b2m.guidance.quantize import resize

        size = prepared.photo.shape[:2]
        if self.painted is None or self.painted.shape[:2] == size:
            return self.painted
        if self.scale:
            return resize(self.painted, size)
        raise ArgumentError(
            f"{self.picture} is {dimensions(self.painted)} and {photo} is "
            f"{dimensions(prepared.photo)}: paint the guidance at the photo's size, or stretch it "
            "with --scale-guidance"
        )


def read_directions(
    direction: str | None,
    picture: Path | None,
    scale: bool,
    strokes: list[str] | None,
    turned: list[str] | None,
) -> Directions:
    """Read the options, before any work begins.

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
        for given in turned or ()
        for point in _points("--reverse", given, 1, "a point as x,y")
    ]
    painted = None
    if picture is not None:
        from b2m.guidance.palette import from_png

        try:
            painted = from_png(picture)
        except InputError as error:
            raise ArgumentError(f"--guidance: {error}") from error
    return Directions(direction, picture, painted, scale, lines, places)


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
