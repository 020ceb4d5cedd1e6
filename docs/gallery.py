"""Draw docs/gallery.webp and docs/failures.webp: `python docs/gallery.py pack/photos pack/cutouts`.

The gallery is the first scenes of the test split, whatever came of them. The failures are those of
the first forty of each kind whose sharp frame gains least over the photo, blur of 8 px and more.
All without guidance, as photos come. Each row: photo, sharp frame, true sharp frame, motion, true
motion; motion in one scale of colours, drawn in the better of both directions.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from pictures import beside
from PIL import Image

import b2m
from b2m.data.sample import Sample
from b2m.data.scenes import SceneConfig
from b2m.evaluate.test_sets import scene_samples
from b2m.media import Pixels
from b2m.metrics import psnr
from b2m.motion import flow_to_color

HERE = Path(__file__).parent
KINDS = ("movers", "camera")
SHOWN, LOOKED_AT = 4, 40
LENGTHS = (0, 8, 16, 24, 40)
SIDE = 224


class Row(NamedTuple):
    """One scene: longest blur in px, dB that the sharp frame gains over the photo, mean end-point
    error of the motion and mean length of the true one in px, and the row of pictures.
    """

    longest: float
    gain: float
    error: float
    length: float
    picture: Pixels


def row(sample: Sample, animator: b2m.BlurAnimator) -> Row:
    """Animate a scene and draw it."""
    clip = animator.animate(sample.photo)[0]
    true_frame, true_flow = sample.frames[len(sample.frames) // 2], sample.known_flow
    flow = clip.flow if (clip.flow * true_flow).sum() >= 0 else -clip.flow
    longest = float(np.linalg.norm(true_flow, axis=2).max())
    pictures = [sample.photo, clip.middle, true_frame]
    pictures += [flow_to_color(field, longest) for field in (flow, true_flow)]
    enlarged = [cv2.resize(picture, (SIDE, SIDE)) for picture in pictures]
    return Row(
        longest,
        psnr(clip.middle, true_frame) - psnr(sample.photo, true_frame),
        float(np.linalg.norm(flow - true_flow, axis=2).mean()),
        float(np.linalg.norm(true_flow, axis=2).mean()),
        beside(*enlarged),
    )


def main(photos: str, cutouts: str) -> None:
    """Write both pictures and print the figures."""
    animator = b2m.BlurAnimator.from_pretrained()
    gallery, failures = [], []
    print("| kind | longest blur, px | scenes | gain of the sharp frame, dB | motion |")
    print("|---|---|---:|---:|---:|")
    worst: list[tuple[str, int, Row]] = []
    for place, kind in enumerate(KINDS):
        config = SceneConfig(size=192, blur=(4.0, 32.0), kind=kind)
        samples = scene_samples(  # as in the table "scenes"
            photos, cutouts, config, LOOKED_AT, split="test", number=place << 20
        )
        rows = [row(sample, animator) for sample in samples]
        gallery += rows[:SHOWN]
        for least, most in pairwise(LENGTHS):
            of = [one for one in rows if least <= one.longest < most]
            gain = sum(one.gain for one in of) / max(len(of), 1)
            motion = sum(one.error for one in of) / max(sum(one.length for one in of), 1e-6)
            print(f"| {kind} | {least}–{most} | {len(of)} | {gain:+.2f} | {motion:.2f} |")
        blurred = [(kind, n, one) for n, one in enumerate(rows) if one.longest >= LENGTHS[1]]
        worst += sorted(blurred, key=lambda item: item[2].gain)[:SHOWN]
    for kind, number, one in worst:
        print(f"{kind} {number}: {one.longest:.0f} px, {one.gain:+.2f} dB")
        failures.append(one)
    for name, rows in (("gallery", gallery), ("failures", failures)):
        picture = Image.fromarray(np.concatenate([one.picture for one in rows]))
        picture.save(HERE / f"{name}.webp", quality=75, method=6)


if __name__ == "__main__":
    main(*sys.argv[1:])
