"""One model, a few photos, and the clips that the user's edits make of them; no page in here."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from limits import check_photo

import b2m
from b2m import Clip, Prepared, api, hub
from b2m import guidance as guidance_of
from b2m.guidance.strokes import checked_point
from b2m.inference import animator as looks
from b2m.inference.animator import SHOWN_PIXELS, Look

MOTIONS = 5
KEPT_PHOTOS = 3  # photos whose look is kept; others are encoded again
KEPT_CLIPS = 2
MOST_POINTS = 500  # of a stroke
FAIR, CLOSE = 25, 35  # dB, of the found motion blurred again against the photo
COLORS = {"red": "up-right", "green": "up-left", "yellow": "down-left", "blue": "down-right"}

Edit = dict[str, Any]
"""An edit by the user, by its "kind": "stroke" with "points"; "tap" or "hold" with a "point";
"paint" with "points", a "color" and the brush's "radius"; "direction" with "where"; "surprise" with
a "seed"; or "backwards"."""


# --- the model -----------------------------------------------------------------------------------


@cache
def models() -> list[str]:
    """Names of the models whose weights are at hand, at least one; no failure is kept in mind."""
    return api.available_animators()


def default_model() -> str:
    """The animator, unless other weights were named."""
    return models()[0]


@lru_cache(maxsize=1)  # one model in memory
def loaded(model: str) -> tuple[b2m.BlurAnimator, str]:
    """The model, and where its weights are from."""
    kind = api.animators()[api.checked_model(model, api.animators())]
    folder = hub.find_weights(kind.weights_name)
    return b2m.BlurAnimator.from_pretrained(folder, model=model), hub.source_of(folder)


def animator(model: str) -> b2m.BlurAnimator:
    """The model."""
    return loaded(model)[0]


def made_by(model: str, frames: int) -> int:
    """As many frames as are asked for, or as many as the model makes of every photo."""
    return animator(model).model.native_frames or frames


# --- clips ---------------------------------------------------------------------------------------


_looks: OrderedDict[tuple[str, str], Look] = OrderedDict()
_clips: OrderedDict[tuple[Any, ...], Clip] = OrderedDict()
_looking = threading.Lock()


def look(photo: str | None, model: str) -> Look:
    """Look at a photo in the size in which it is shown, or remember the look."""
    if not photo:
        raise b2m.InputError("there is no photo yet: drop one, or click an example")
    key = photo, model
    with _looking:
        if key not in _looks:
            check_photo(photo)
            _looks[key] = looks.look(animator(model), photo, SHOWN_PIXELS)
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
    clip = _clips.get(key)
    if clip is None:
        clip = _clips[key] = directed(prepared, model, edits, motion, frames)
        _ = clip.frames  # made once: for the page, for files, and for what is told of them
        while len(_clips) > KEPT_CLIPS:
            _clips.popitem(last=False)
    return clip


def full_clip_of(
    photo: str | None, model: str, edits: Sequence[Edit], motion: int = 1, frames: int = 7
) -> Clip:
    """The same in the photo's own size."""
    if look(photo, model).scale == 1:
        return clip_of(photo, model, edits, motion, frames)
    if motion == 1 and not edits:
        return animator(model).animate(photo, frames=made_by(model, frames))[0]
    return looks.in_full(animator(model), photo, clip_of(photo, model, edits, motion, frames))


def directed(
    prepared: Prepared, model: str, edits: Sequence[Edit], motion: int = 1, frames: int = 7
) -> Clip:
    """The clip of an encoded photo, after all edits, one after the other."""
    frames = made_by(model, frames)
    clips = animator(model).animate(prepared, frames=frames)
    if motion != 1:
        clips = fitting(clips[0], prepared, model)
    if not 1 <= motion <= len(clips):
        there = f"{len(clips)} motions fit" if len(clips) > 1 else "only one motion fits"
        choice = f"1 to {len(clips)}" if len(clips) > 1 else "1"
        raise b2m.InputError(f"{there} this photo, so there is no motion {motion}: give {choice}")
    clip = clips[motion - 1]
    for edit in edits:
        clip = animator(model).animate(prepared, guidance=_said(edit, clip), frames=frames)[0]
    return clip


def fitting(first: Clip, prepared: Prepared, model: str) -> list[Clip]:
    """The motions that would have left the same blur, best first.

    Where the model looks at the photo anew for each of them, only the first and its reverse.

    Args:
        first: the clip of the most plausible one.
        prepared: the photo.
        model: that made the clip.
    """
    made = animator(model)
    if made.predictor is None:
        return made.animate(prepared, motions=MOTIONS, frames=first.count)
    back = guidance_of.reverse(first)
    if not back.any():
        return [first]
    return [first, *made.animate(prepared, guidance=back, frames=first.count)]


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
    made, source = loaded(model)
    fastest = clip.fastest * seen.scale
    lines = [f"⚠️ {sentence}" for sentence in clip.warnings]
    lines.append(f"As found, the frames average back to your photo {closely(clip)}.")
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
    if made.model.native_frames:
        lines.append(f"This model always makes {clip.count} frames.")
    device = made.device.type.upper()
    lines.append(f"{width} × {height} px{shown}. Model: {model} ({source}), on {device}.")
    return "\n\n".join(lines)


def closely(clip: Clip) -> str:
    """How well the motion alone explains the photo, before the frames are made to fit."""
    value = clip.reblur_psnr_raw
    if np.isinf(value):
        return "exactly"
    match = "closely" if value >= CLOSE else "fairly well" if value >= FAIR else "but roughly"
    return f"{match}, to {value:.0f} dB"


def _seconds(value: float) -> str:
    return f"1/{1 / value:.0f} s" if value < 0.4 else f"{value:.1f} s"
