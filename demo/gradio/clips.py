"""One model, a few photos, and the clips that a person's edits make of them; no page in here."""

from __future__ import annotations

import json
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

import b2m
from b2m import api, hub
from b2m import guidance as guidance_of
from b2m.clip import Clip, Prepared
from b2m.media import fit, read_image
from b2m.scales import WORKING_PIXELS
from b2m.strokes import checked_point

MOTIONS = 5
KEPT_PHOTOS = 3  # photos whose look is kept; others are looked at again
KEPT_CLIPS = 2
MOST_POINTS = 500  # of a stroke
SHOWN_PIXELS = WORKING_PIXELS  # larger photos are shown, and directed, at this size
COLORS = {"red": "up-right", "green": "up-left", "yellow": "down-left", "blue": "down-right"}

Edit = dict[str, Any]
"""Something a person did, by its "kind": "stroke" with "points"; "tap" or "hold" with a "point";
"paint" with "points", a "color" and the brush's "radius"; "direction" with "where"; "surprise" with
a "seed"; or "backwards"."""


# --- the model -----------------------------------------------------------------------------------


@cache
def models() -> dict[str, str]:
    """The models whose weights are at hand, by name, and where those are from."""
    found = hub.models_at_hand(api.ANIMATORS)
    return {name: hub.source_of(folder) for name, folder in found.items()}


def default_model() -> str:
    """The animator, unless other weights were named."""
    return next(iter(models()), "animator")


@lru_cache(maxsize=1)  # one model in memory
def animator(model: str) -> b2m.BlurAnimator:
    """The model, loaded when the first photo comes."""
    return b2m.BlurAnimator.from_pretrained(model=model)


def made_by(model: str, frames: int) -> int:
    """As many frames as are asked for, or as many as the model makes of every photo."""
    return animator(model).model.native_frames or frames


# --- clips ---------------------------------------------------------------------------------------


class Look(NamedTuple):
    """A photo that was looked at in the size in which it is shown, and its own height and width.

    What is shown on the page follows from this, so that the largest photo is as quick as others.
    """

    prepared: Prepared
    size: tuple[int, int]

    @property
    def scale(self) -> float:
        """Pixels of the photo to one of those that are shown."""
        return self.size[1] / self.prepared.photo.shape[1]


_looks: OrderedDict[tuple[str, str], Look] = OrderedDict()
_clips: OrderedDict[tuple[Any, ...], Clip] = OrderedDict()
_looking = threading.Lock()


def look(photo: str | None, model: str) -> Look:
    """Look at a photo, or remember the look."""
    if not photo:
        raise b2m.InputError("there is no photo yet: drop one, or click an example")
    key = photo, model
    with _looking:
        if key not in _looks:
            source = read_image(photo)
            height, width = source.pixels.shape[:2]
            share = min(1.0, math.sqrt(SHOWN_PIXELS / (height * width)))
            small = fit(source.pixels, int(share * max(height, width)))
            prepared = animator(model).prepare(small)
            small_source = replace(source, pixels=prepared.photo)
            _looks[key] = Look(replace(prepared, source=small_source), (height, width))
            while len(_looks) > KEPT_PHOTOS:
                _looks.popitem(last=False)
        _looks.move_to_end(key)
        return _looks[key]


def clip_of(
    photo: str | None, model: str, edits: Sequence[Edit], motion: int = 1, frames: int = 7
) -> Clip:
    """The clip as it is shown, after all edits, of the motion that was picked, from 1 on."""
    prepared = look(photo, model).prepared
    key = photo, model, json.dumps(list(edits)), motion, frames
    if key not in _clips:
        _clips[key] = directed(prepared, model, edits, motion, frames)
        while len(_clips) > KEPT_CLIPS:
            _clips.popitem(last=False)
    return _clips[key]


def full_clip_of(
    photo: str | None, model: str, edits: Sequence[Edit], motion: int = 1, frames: int = 7
) -> Clip:
    """The same in the photo's own size."""
    seen = look(photo, model)
    if seen.scale == 1:
        return clip_of(photo, model, edits, motion, frames)
    larger = [_enlarged(edit, seen.scale) for edit in edits]
    return directed(animator(model).prepare(photo), model, larger, motion, frames)


def _enlarged(edit: Edit, scale: float) -> Edit:
    changed = dict(edit)
    if "points" in edit:
        changed["points"] = [[scale * value for value in point] for point in edit["points"]]
    if "point" in edit:
        changed["point"] = [scale * value for value in edit["point"]]
    if "radius" in edit:
        changed["radius"] = scale * edit["radius"]
    return changed


def directed(
    prepared: Prepared, model: str, edits: Sequence[Edit], motion: int = 1, frames: int = 7
) -> Clip:
    """The clip of a photo that was looked at, after all edits, one after the other."""
    frames = made_by(model, frames)
    count = 1 if motion == 1 else MOTIONS
    clips = animator(model).animate(prepared, motions=count, frames=frames)
    if not 1 <= motion <= len(clips):
        there = f"{len(clips)} motions fit" if len(clips) > 1 else "only one motion fits"
        choice = f"1 to {len(clips)}" if len(clips) > 1 else "1"
        raise b2m.InputError(f"{there} this photo, so there is no motion {motion}: give {choice}")
    clip = clips[motion - 1]
    for edit in edits:
        clip = animator(model).animate(prepared, guidance=_said(edit, clip), frames=frames)[0]
    return clip


def _said(edit: Edit, clip: Clip) -> guidance_of.Guidance:
    """The guidance that an edit makes of a clip."""
    kind = edit["kind"]
    if kind == "stroke":
        return guidance_of.from_strokes([edit["points"]], clip)
    if kind == "tap":
        return guidance_of.reverse(clip, edit["point"])
    if kind == "hold":
        return guidance_of.hold(clip, edit["point"])
    if kind == "paint":
        mask = painted(edit["points"], edit["radius"], *clip.photo.shape[:2])
        if edit["color"] in COLORS:
            return guidance_of.from_mask(mask, COLORS[edit["color"]], clip.guidance)
        return guidance_of.hold(clip.guidance, mask)  # black
    if kind == "direction":
        return guidance_of.from_direction(clip, edit["where"])
    if kind == "surprise":
        return guidance_of.reverse(clip, surprise(clip, edit["seed"]))
    if kind == "backwards":
        return guidance_of.reverse(clip)
    raise b2m.InputError(f"'{kind}' is nothing that can be done to a clip")


def edit_with(tool: str, points: Any, photo: np.ndarray) -> Edit:
    """What a tool of the pad does along a line.

    Args:
        tool: "stroke", "tap", "hold", one of `COLORS`, or "black".
        points: x and y of each, in pixels of the photo; see `simplified`.
        photo: (H, W, 3).

    Raises:
        InputError: another tool, or something else than points.
    """
    try:
        drawn = np.array(points, np.float32).reshape(-1, 2)
    except (TypeError, ValueError):
        drawn = np.empty((0, 2), np.float32)
    if not len(drawn) or not np.isfinite(drawn).all():
        raise b2m.InputError("that line holds no points, or such as are nowhere: draw it again")
    line = simplified(drawn)
    if tool == "stroke":
        return {"kind": tool, "points": simplified(drawn, MOST_POINTS)}
    if tool in ("tap", "hold"):
        return {"kind": tool, "point": line[0]}
    if tool in COLORS or tool == "black":
        radius = max(photo.shape) / 40
        return {"kind": "paint", "points": line, "color": tool, "radius": radius}
    raise b2m.InputError(f"the pad has no tool '{tool}': reload the page and choose another")


def simplified(points: np.ndarray, most: int | None = None) -> list[list[float]]:
    """A line through fewer points, at most a quarter of a pixel from the drawn one.

    Args:
        points: (N, 2) float32.
        most: points that are left; to get there, the line may be farther from the drawn one.
    """
    line, tolerance = points, 0.25
    while line is points or (most and len(line) > most):
        line = cv2.approxPolyDP(points[:, None], tolerance, closed=False)[:, 0]
        tolerance *= 2
    return line.tolist()


def painted(
    points: Sequence[Sequence[float]], radius: float, height: int, width: int
) -> np.ndarray:
    """(H, W) bool: what a brush covers on its way."""
    line = np.array([checked_point(point, height, width) for point in points])
    fixed = np.rint(line * 256).astype(np.int32)
    mask = np.zeros((height, width), np.uint8)
    # From a point to itself is a dot.
    cv2.polylines(
        mask, [np.concatenate([fixed, fixed[-1:]])], False, 1, 2 * round(radius) + 1, shift=8
    )
    return mask > 0


def surprise(clip: Clip, seed: int) -> np.ndarray:
    """(H, W) bool: some of the things that move, by chance, at least one."""
    count = int(clip.regions.max())
    if not count:
        raise b2m.InputError("nothing moves in this photo, so there is nothing to surprise you")
    chance = np.random.default_rng(seed)
    chosen = 1 + np.flatnonzero(chance.integers(0, 2, count))
    if not len(chosen):
        chosen = 1 + chance.integers(0, count, 1)
    return np.isin(clip.regions, chosen)


# --- words ---------------------------------------------------------------------------------------


def stem(photo: str) -> str:
    """The name of a file without its suffix."""
    return Path(photo).stem or "photo"


def told(clip: Clip, model: str, seen: Look, speed: float = 1.0) -> str:
    """What is known about a clip, in Markdown; lengths are in pixels of the photo itself.

    Args:
        clip: as it is shown.
        model: that made it.
        seen: the photo.
        speed: 1 plays the exposure in a second, 2 in half of one.
    """
    fastest = clip.fastest * seen.scale
    lines = [f"⚠️ {sentence}" for sentence in clip.warnings]
    agreement = "exactly" if np.isinf(clip.reblur_psnr) else f"to {clip.reblur_psnr:.0f} dB"
    lines.append(f"These frames average back to your photo {agreement}.")
    if fastest >= 1:
        line = f"The fastest parts moved {fastest:.0f} px while the shutter was open"
        if clip.exposure_time:
            line += f", {fastest / clip.exposure_time:.0f} px a second"
            lasted, slower = _seconds(clip.exposure_time), 1 / (speed * clip.exposure_time)
            lines.append(f"Exposure {lasted}: the clip plays {slower:.0f} times slower.")
        lines.append(f"{line}.")
    height, width = seen.size
    shown = ""
    if seen.scale > 1:
        shown = (
            f", shown in {clip.photo.shape[1]} × {clip.photo.shape[0]}; downloads can be full size"
        )
    if animator(model).model.native_frames:
        lines.append(f"This model always makes {clip.count} frames.")
    device = animator(model).device.type.upper()
    source = models().get(model, "bundled")
    lines.append(f"{width} × {height} px{shown}. Model: {model} ({source}), on {device}.")
    return "\n\n".join(lines)


def _seconds(value: float) -> str:
    return f"1/{1 / value:.0f} s" if value < 0.4 else f"{value:.1f} s"
