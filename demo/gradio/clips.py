"""One model, a few photos, and the clips that a person's edits make of them; no page in here."""

from __future__ import annotations

import base64
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import b2m
from b2m import guidance as guidance_of
from b2m.clip import Clip, Prepared
from b2m.media import fit

MOTIONS = 5
PAD_SIDE = 960
KEPT_PHOTOS = 3  # photos whose look is kept; others are looked at again

Edit = dict[str, Any]
"""Something a person did: {"kind": "stroke", "points": …}, {"kind": "tap", "point": …},
{"kind": "hold", "point": …}, {"kind": "direction", "where": …} or {"kind": "backwards"}."""


@cache
def animator() -> b2m.BlurAnimator:
    """The model, loaded when the first photo comes."""
    return b2m.BlurAnimator.from_pretrained()


_looks: OrderedDict[str, Prepared] = OrderedDict()
_looking = threading.Lock()


def look(photo: str | None) -> Prepared:
    """Look at a photo, or remember the look."""
    if not photo:
        raise b2m.InputError("there is no photo yet: drop one, or click an example")
    with _looking:
        if photo not in _looks:
            _looks[photo] = animator().prepare(photo)
            while len(_looks) > KEPT_PHOTOS:
                _looks.popitem(last=False)
        _looks.move_to_end(photo)
        return _looks[photo]


def directed(prepared: Prepared, edits: Sequence[Edit], motion: int = 0, frames: int = 7) -> Clip:
    """The clip after all edits, one after the other, of the motion that was picked."""
    clips = animator().animate(prepared, motions=MOTIONS if motion else 1, frames=frames)
    clip = clips[min(motion, len(clips) - 1)]
    for edit in edits:
        kind = edit["kind"]
        if kind == "stroke":
            chosen = guidance_of.from_strokes([edit["points"]], clip)
        elif kind == "tap":
            chosen = guidance_of.reverse(clip, edit["point"])
        elif kind == "hold":
            chosen = guidance_of.hold(clip, edit["point"])
        elif kind == "direction":
            chosen = guidance_of.from_direction(clip, edit["where"])
        else:  # backwards
            chosen = guidance_of.reverse(clip)
        clip = animator().animate(prepared, guidance=chosen, frames=frames)[0]
    return clip


def stem(photo: str) -> str:
    """The name of a file without its suffix."""
    return Path(photo).stem or "photo"


def pad_value(photo: np.ndarray) -> dict[str, Any]:
    """What the drawing pad shows: a picture, and the photo's pixels to one of the picture's."""
    shown = fit(photo, PAD_SIDE)
    _, data = cv2.imencode(".jpg", shown[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    picture = "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
    return {"picture": picture, "width": photo.shape[1], "height": photo.shape[0]}


def told(clip: Clip) -> str:
    """What is known about a clip, in Markdown."""
    fastest = clip.fastest
    lines = [f"⚠️ {sentence}" for sentence in clip.warnings]
    agreement = "exactly" if np.isinf(clip.reblur_psnr) else f"to {clip.reblur_psnr:.0f} dB"
    lines.append(f"These frames average back to your photo {agreement}.")
    if fastest >= 1:
        speed = f"The fastest parts moved {fastest:.0f} px while the shutter was open"
        if clip.exposure_time:
            speed += f", {fastest / clip.exposure_time:.0f} px a second"
            lasted, slower = _seconds(clip.exposure_time), 1 / clip.exposure_time
            lines.append(f"Exposure {lasted}: the clip plays {slower:.0f} times slower.")
        lines.append(f"{speed}.")
    height, width = clip.photo.shape[:2]
    lines.append(f"{width} × {height} px, computed on {animator().device.type.upper()}.")
    return "\n\n".join(lines)


def _seconds(value: float) -> str:
    return f"1/{1 / value:.0f} s" if value < 0.4 else f"{value:.1f} s"


def both_ends(clip: Clip) -> np.ndarray:
    """Ends of the clip one over the other: what moved has coloured rims."""
    first, last = clip.at(-1.0), clip.at(1.0)
    return np.stack([first[..., 0], (first[..., 1] // 2 + last[..., 1] // 2), last[..., 2]], -1)
