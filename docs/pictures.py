"""Draw the pictures of the README and of the model cards: `python docs/pictures.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import b2m
from b2m import guidance
from b2m.media import Pixels, fit
from b2m.motion import flow_to_color
from b2m.video import write_gif

ROOT = Path(__file__).parent.parent
HEIGHT, FRAMES, PER_SECOND = 260, 13, 13


def beside(*pictures: Pixels) -> Pixels:
    """Pictures of one height side by side."""
    gap = np.full((pictures[0].shape[0], 6, 3), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (gap, picture)][1:], axis=1)


def strip(name: str, tall: int = HEIGHT) -> list[Pixels]:
    """Photo, moving clip and motion field of one example, side by side, forwards and back."""
    clip = b2m.animate(ROOT / "examples" / f"{name}.jpg", frames=FRAMES)[0]
    height, width = clip.photo.shape[:2]
    photo = fit(clip.photo, round(tall * max(height, width) / height))
    colours = fit(flow_to_color(clip.flow), max(photo.shape[:2]))
    frames = [beside(photo, frame, colours) for frame in clip.render(FRAMES, photo.shape[:2])]
    return frames + frames[-2:0:-1]


def samples(name: str) -> Pixels:
    """A photo and three samples of guidance for it."""
    clips = b2m.animate(ROOT / "examples" / f"{name}.jpg", motions=3, guidance_predictor="cvae-gan")
    pictures = [clips[0].photo, *(guidance.to_color(clip.guidance) for clip in clips)]
    return beside(*(fit(picture, 300) for picture in pictures))


def save_webp(path: Path, frames: list[Pixels]) -> None:
    """A small picture, moving if there are several frames."""
    first, *others = [Image.fromarray(frame) for frame in frames]
    options = {"save_all": True, "append_images": others, "duration": 1000 // PER_SECOND, "loop": 0}
    first.save(path, quality=60, method=6, **(options if others else {}))


def main() -> None:
    """Write docs/before-and-after.gif, and example.webp beside each model card."""
    write_gif(ROOT / "docs" / "before-and-after.gif", iter(strip("temple-shake")), PER_SECOND)
    save_webp(ROOT / "weights" / "animator" / "example.webp", strip("temple-shake", 180))
    save_webp(ROOT / "weights" / "guidance-predictor" / "example.webp", [samples("moving-apart")])


if __name__ == "__main__":
    main()
