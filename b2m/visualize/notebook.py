"""What only a notebook needs."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from b2m.media.image import open_image

_PICTURES = ("curve.png", "sheet.png")


def live_view() -> Callable[[Path], None]:
    """Show the curve and the contact sheet of a training below the cell, anew at every checkpoint.

    Returns:
        What `b2m.train.train` takes as `on_save`.
    """
    from IPython.display import Image, display

    handles: dict[str, object] = {}

    def show(folder: Path) -> None:
        for name in _PICTURES:
            if not (path := folder / name).is_file():
                continue
            # A notebook keeps what it shows: a sheet as a JPEG is a tenth of its PNG.
            small = io.BytesIO()
            open_image(path).convert("RGB").save(small, "JPEG", quality=80)
            picture = Image(data=small.getvalue(), width=760)  # type: ignore[no-untyped-call]
            if name in handles:
                handles[name].update(picture)  # type: ignore[attr-defined]
            else:
                handles[name] = display(picture, display_id=True)  # type: ignore[no-untyped-call]

    return show
