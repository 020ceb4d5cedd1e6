"""Draw the pictures of the README and of the model cards: `python docs/pictures.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import b2m
from b2m import guidance
from b2m.media import Pixels, limit_side, read_image
from b2m.media.video import write_gif
from b2m.motion import flow_to_color

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
    photo = limit_side(clip.photo, round(tall * max(height, width) / height))
    colours = limit_side(flow_to_color(clip.flow), max(photo.shape[:2]))
    frames = [beside(photo, frame, colours) for frame in clip.render(FRAMES, photo.shape[:2])]
    return frames + frames[-2:0:-1]


def samples(name: str) -> Pixels:
    """A photo and three samples of guidance for it."""
    clips = b2m.animate(ROOT / "examples" / f"{name}.jpg", motions=3, guidance_predictor="cvae-gan")
    pictures = [clips[0].photo, *(guidance.to_color(clip.guidance) for clip in clips)]
    return beside(*(limit_side(picture, 300) for picture in pictures))


def directed(name: str) -> Pixels:
    """A photo, guidance for it, and the first and last frame that the decomposer makes of both."""
    photo = ROOT / "examples" / f"{name}.jpg"
    said = b2m.animate(photo)[0].guidance
    clip = b2m.animate(photo, guidance=said, model="decomposer")[0]
    frames = clip.raw_frames
    pictures = [clip.photo, guidance.to_color(said), frames[0], frames[-1]]
    return beside(*(limit_side(picture, 360) for picture in pictures))


def flows(name: str) -> Pixels:
    """A photo, and its motion as BlurFlowNet and the animator see it, in one scale of colours."""
    photo = ROOT / "examples" / f"{name}.jpg"
    found = [b2m.flow(photo, model=model) for model in ("blur-flow", "animator")]
    longest = max(float(np.linalg.norm(flow, axis=2).max()) for flow in found)
    pictures = [read_image(photo).pixels, *(flow_to_color(flow, longest) for flow in found)]
    return beside(*(limit_side(picture, 360) for picture in pictures))


def ends(name: str, model: str) -> Pixels:
    """A photo, and the first, middle and last frame that a model makes of it."""
    clip = b2m.animate(ROOT / "examples" / f"{name}.jpg", model=model)[0]
    frames = clip.raw_frames
    pictures = [clip.photo, frames[0], frames[len(frames) // 2], frames[-1]]
    return beside(*(limit_side(picture, 360) for picture in pictures))


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
    save_webp(ROOT / "weights" / "decomposer-compact" / "example.webp", [directed("temple-shake")])
    save_webp(ROOT / "weights" / "blur-flow-compact" / "example.webp", [flows("temple-shake")])
    for model in ("jin", "video-restorer"):
        restored = ends("temple-shake", model)
        save_webp(ROOT / "weights" / f"{model}-compact" / "example.webp", [restored])


if __name__ == "__main__":
    main()
