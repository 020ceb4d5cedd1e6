"""Draw the animated picture at the top of the README: `python docs/pictures.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

import b2m
from b2m.media import Pixels, fit
from b2m.motion import flow_to_color
from b2m.video import write_gif

ROOT = Path(__file__).parent.parent
HEIGHT, FRAMES, PER_SECOND = 260, 13, 13


def strip(name: str) -> list[Pixels]:
    """Photo, moving clip and motion field of one example, side by side, forwards and back."""
    clip = b2m.animate(ROOT / "examples" / f"{name}.jpg", frames=FRAMES)[0]
    height, width = clip.photo.shape[:2]
    photo = fit(clip.photo, round(HEIGHT * max(height, width) / height))
    colours = fit(flow_to_color(clip.flow), max(photo.shape[:2]))

    def rows() -> Iterator[Pixels]:
        for frame in clip.render(FRAMES, photo.shape[:2]):
            gap = np.full((photo.shape[0], 6, 3), 255, np.uint8)
            yield np.concatenate([photo, gap, frame, gap, colours], axis=1)

    frames = list(rows())
    return frames + frames[-2:0:-1]


def main() -> None:
    """Write docs/before-and-after.gif."""
    write_gif(ROOT / "docs" / "before-and-after.gif", iter(strip("temple-shake")), PER_SECOND)


if __name__ == "__main__":
    main()
