"""Display in notebooks."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from b2m.media.image import Pixels, limit_side, open_image
from b2m.visualize.contact_sheet import grid, legend

_PICTURES = {  # of a run's folder, with what they show
    "curve.png": "Curves of the training over the samples seen, beside the photo and no motion",
    "sheet.png": "Validation scenes: photo, frames and motion field, predicted and true",
}
_MIN_SIDE = 150  # pixels; smaller pictures are shown larger
_WHEEL = 180  # pixels, at most


def show(
    *pictures: NDArray[Any],
    alt: str,
    titles: Sequence[str] = (),
    wheel: bool = False,
    side: int = 320,
) -> None:
    """Show pictures side by side below the cell, with a text for those who cannot see them.

    Args:
        pictures: each (H, W, 3) uint8 sRGB, or a mask, (H, W) bool.
        alt: what the pictures show, for screen readers.
        titles: a caption for each picture.
        wheel: whether the colour wheel of motion fields stands beside them.
        side: longest side of a picture, pixels; larger ones are shrunk.

    Raises:
        InputError: there are no pictures, or another number of titles.
    """
    from IPython.display import display

    tiles = [_tile(picture, side) for picture in pictures]
    labels = [*titles] or None
    if wheel and tiles:
        tiles.append(legend(min(_WHEEL, *tiles[-1].shape[:2])))
        labels = [*titles, "direction of motion"] if titles else None
    sheet = grid(tiles, labels, len(tiles), gap=8, font_size=13)
    display(_jpeg(sheet, alt))  # type: ignore[no-untyped-call]


def live_view() -> Callable[[Path], None]:
    """Show the curve and the contact sheet of a training below the cell, anew at every checkpoint.

    Returns:
        What `b2m.train.train` takes as `on_save`.
    """
    from IPython.display import display

    handles: dict[str, Any] = {}

    def update(folder: Path) -> None:
        for name, alt in _PICTURES.items():
            if not (path := folder / name).is_file():
                continue
            picture = _jpeg(np.asarray(open_image(path).convert("RGB")), alt, width=760)
            if name in handles:
                handles[name].update(picture)
            else:
                handles[name] = display(picture, display_id=True)  # type: ignore[no-untyped-call]

    return update


def _tile(picture: NDArray[Any], side: int) -> Pixels:
    if picture.dtype == bool:
        picture = np.repeat(picture[..., None].astype(np.uint8) * 255, 3, -1)
    small = limit_side(picture, side)
    larger = -(-min(_MIN_SIDE, side) // max(small.shape[:2]))
    return small.repeat(larger, axis=0).repeat(larger, axis=1)


def _jpeg(picture: Pixels, alt: str, width: int | None = None) -> Any:
    """As a JPEG a sheet takes a tenth of its PNG, and notebooks keep what they show."""
    from IPython.display import Image

    small = io.BytesIO()
    Pillow.fromarray(picture).save(small, "JPEG", quality=75)
    return Image(data=small.getvalue(), width=width, alt=alt)  # type: ignore[no-untyped-call]
