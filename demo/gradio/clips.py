"""Cached models, encoded photos, and clips after the user's edits; independent of the page."""

from __future__ import annotations

import json
import threading
import time
import zlib
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
from b2m.errors import NothingMovesError
from b2m.guidance.strokes import checked_point
from b2m.inference import preview as previews
from b2m.inference.hypotheses import differ
from b2m.inference.preview import PREVIEW_PIXELS, Preview
from b2m.media import open_image

MOTIONS = 4
DISTINCT = 0.25  # of the change that reversing everything makes; options less apart are alike
KEPT_PHOTOS = 3  # photos whose encoding is kept; others are encoded again
KEPT_CLIPS = 2
MAX_POINTS = 500  # of a stroke
KEPT_GUIDANCE = 200  # of the edits of photos, each a few kilobytes
BRUSH = 0.05  # of the longest side, the width of the brush
COLORS = {"red": "up-right", "green": "up-left", "yellow": "down-left", "blue": "down-right"}

Edit = dict[str, Any]
"""An edit by the user, by its "kind": "stroke" with "points"; "tap" or "hold" with a "point";
"paint" with "points", a "color" and the brush's "radius"; "direction" with "where"; "shuffle" with
a "seed"; "picture" with a "path"; or "reverse"."""


# --- the model -----------------------------------------------------------------------------------


@cache
def models() -> list[str]:
    """Names of the models whose weights are at hand, at least one; failures are not cached."""
    return api.available_animators()


def default_model() -> str:
    """The animator, unless other weights were named."""
    return models()[0]


@lru_cache(maxsize=1)  # one model in memory
def loaded(model: str) -> tuple[b2m.BlurAnimator, str]:
    """The model, and the source of its weights."""
    kind = api.animators()[api.checked_model(model, api.animators())]
    folder = hub.find_weights(kind.weights_name)
    return b2m.BlurAnimator.from_pretrained(folder, model=model), hub.source_of(folder)


def animator(model: str) -> b2m.BlurAnimator:
    """The model."""
    return loaded(model)[0]


def made_by(model: str, frames: int) -> int:
    """The wanted number of frames, or the model's own."""
    return animator(model).model.native_frames or frames


# --- clips ---------------------------------------------------------------------------------------


_previews: OrderedDict[tuple[str, str], Preview] = OrderedDict()
_clips: OrderedDict[tuple[Any, ...], Clip] = OrderedDict()
_guidance: OrderedDict[tuple[Any, ...], tuple[tuple[int, ...], bytes]] = OrderedDict()
_looking = threading.Lock()
_pace = 3.0  # seconds to a megapixel, until a photo was encoded


def preview(photo: str | None, model: str) -> Preview:
    """The photo encoded at the size at which it is shown, cached."""
    if not photo:
        raise b2m.InputError("there is no photo yet: drop one, or click an example")
    key = photo, model
    with _looking:
        if key not in _previews:
            check_photo(photo)
            start = time.perf_counter()
            _previews[key] = previews.preview(animator(model), photo, PREVIEW_PIXELS)
            _learn(_previews[key], time.perf_counter() - start)
            while len(_previews) > KEPT_PHOTOS:
                _previews.popitem(last=False)
        _previews.move_to_end(key)
        return _previews[key]


def _learn(seen: Preview, seconds: float) -> None:
    """Record the speed of this machine; clip and frames take about as long again."""
    global _pace
    height, width = seen.prepared.photo.shape[:2]
    _pace = 0.5 * (_pace + 2 * seconds / max(height * width / 1e6, 0.1))


def estimate(photo: str) -> float:
    """Estimated seconds for a photo, by its size and earlier ones."""
    with open_image(photo) as opened:
        pixels = opened.width * opened.height
    return 1 + _pace * min(pixels, PREVIEW_PIXELS) / 1e6


def clip_of(
    photo: str | None, model: str, edits: Sequence[Edit], motion: int = 1, frames: int = 7
) -> Clip:
    """The clip of the preview, after all edits, of the picked motion, from 1 on."""
    prepared = preview(photo, model).prepared
    key = photo, model, json.dumps(list(edits)), motion, frames
    clip = _clips.get(key)
    if clip is None:
        clip = directed(prepared, model, edits, motion, frames, (photo, model, motion))
        _ = clip.frames  # made once: for the page, for files, and for what is told of them
        _keep(_clips, key, clip, KEPT_CLIPS)
    return clip


def _keep(kept: OrderedDict[Any, Any], key: Any, value: Any, limit: int) -> None:
    kept[key] = value
    while len(kept) > limit:
        kept.popitem(last=False)


def full_clip_of(
    photo: str | None, model: str, edits: Sequence[Edit], motion: int = 1, frames: int = 7
) -> Clip:
    """The same at the photo's own size."""
    if preview(photo, model).scale == 1:
        return clip_of(photo, model, edits, motion, frames)
    if motion == 1 and not edits:
        return animator(model).animate(photo, frames=made_by(model, frames))[0]
    return previews.at_full_size(
        animator(model), photo, clip_of(photo, model, edits, motion, frames)
    )


def directed(
    prepared: Prepared,
    model: str,
    edits: Sequence[Edit],
    motion: int = 1,
    frames: int = 7,
    photo: tuple[Any, ...] = (),
) -> Clip:
    """The clip of an encoded photo, after all edits, one after the other.

    The guidance that each edit made of the clip before it is kept under the photo's key, so that
    the tenth edit costs what the first does.
    """
    made, frames = animator(model), made_by(model, frames)
    if edits:
        key = *photo, json.dumps(list(edits))
        if photo and key in _guidance:
            shape, packed = _guidance[key]
            guidance = np.frombuffer(zlib.decompress(packed), np.int8).reshape(shape).copy()
        else:
            shown = (*photo[:2], json.dumps(list(edits[:-1])), motion, frames) if photo else ()
            before = _clips.get(shown) or directed(
                prepared, model, edits[:-1], motion, frames, photo
            )
            guidance = _guidance_of_edit(edits[-1], before)
            if photo:
                packed = zlib.compress(guidance.tobytes(), 1)
                _keep(_guidance, key, (guidance.shape, packed), KEPT_GUIDANCE)
        return made.animate(prepared, guidance=guidance, frames=frames)[0]
    clips = made.animate(prepared, frames=frames)
    if motion != 1:
        clips = fitting(clips[0], prepared, model)
    if not 1 <= motion <= len(clips):
        there = f"{len(clips)} motions fit" if len(clips) > 1 else "only one motion fits"
        choice = f"1 to {len(clips)}" if len(clips) > 1 else "1"
        raise b2m.InputError(f"{there} this photo, so there is no motion {motion}: give {choice}")
    return clips[motion - 1]


def fitting(first: Clip, prepared: Prepared, model: str) -> list[Clip]:
    """The motion hypotheses, best first.

    Where the model encodes the photo anew for each of them, only the first and its reverse.

    Args:
        first: the clip of the most plausible one.
        prepared: the photo.
        model: that made the clip.
    """
    made = animator(model)
    if made.predictor is None:
        found = made.animate(prepared, motions=MOTIONS, frames=first.count)
        kept: list[Clip] = []
        for clip in found:
            if all(differ(clip.flow, other.flow, clip.photo, DISTINCT) for other in kept):
                kept.append(clip)
        return kept
    back = guidance_of.reverse(first)
    if not back.any():
        return [first]
    return [first, *made.animate(prepared, guidance=back, frames=first.count)]


def _guidance_of_edit(edit: Edit, clip: Clip) -> guidance_of.Guidance:
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
    if kind == "shuffle":
        return guidance_of.reverse(clip, shuffled(clip, edit["seed"]))
    if kind == "reverse":
        return guidance_of.reverse(clip)
    if kind == "picture":
        painted_in = guidance_of.from_png(edit["path"])
        return guidance_of.resize(painted_in, clip.photo.shape[:2])
    raise b2m.InputError(f"'{kind}' is nothing that can be done to a clip")


def edit_with(tool: str, points: Any, photo: np.ndarray, brush: float = BRUSH) -> Edit:
    """The edit that a tool of the pad makes along a line.

    Args:
        tool: "stroke", "tap", "hold", one of `COLORS`, or "black".
        points: x and y of each, in pixels of the photo; see `simplified`.
        photo: (H, W, 3).
        brush: width of what is painted, as a share of the longest side.

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
        return {"kind": tool, "points": simplified(drawn, MAX_POINTS)}
    if tool in ("tap", "hold"):
        return {"kind": tool, "point": line[0]}
    if tool in COLORS or tool == "black":
        brush = min(max(float(brush), 0.01), 0.3)
        radius = max(photo.shape) * brush / 2
        edit = {"kind": "paint", "points": line, "color": tool, "radius": radius}
        return edit | {"brush": brush}
    raise b2m.InputError(f"the pad has no tool '{tool}': reload the page and choose another")


def simplified(points: np.ndarray, max_points: int | None = None) -> list[list[float]]:
    """A line through fewer points, at most a quarter of a pixel from the drawn one.

    Args:
        points: (N, 2) float32.
        max_points: points that are left; to get there, the line may be farther from the drawn one.
    """
    line, tolerance = points, 0.25
    while line is points or (max_points and len(line) > max_points):
        line = cv2.approxPolyDP(points[:, None], tolerance, closed=False)[:, 0]
        tolerance *= 2
    return line.tolist()


def painted(
    points: Sequence[Sequence[float]], radius: float, height: int, width: int
) -> np.ndarray:
    """(H, W) bool: the pixels of a brush stroke."""
    line = np.array([checked_point(point, height, width) for point in points])
    fixed = np.rint(line * 256).astype(np.int32)
    mask = np.zeros((height, width), np.uint8)
    # From a point to itself is a dot.
    cv2.polylines(
        mask, [np.concatenate([fixed, fixed[-1:]])], False, 1, 2 * round(radius) + 1, shift=8
    )
    return mask > 0


def shuffled(clip: Clip, seed: int) -> np.ndarray:
    """(H, W) bool: a random choice of moving regions, at least one."""
    count = int(clip.regions.max())
    if not count:
        raise NothingMovesError("nothing moves in this photo, so there is nothing to shuffle")
    chance = np.random.default_rng(seed)
    chosen = 1 + np.flatnonzero(chance.integers(0, 2, count))
    if not len(chosen):
        chosen = 1 + chance.integers(0, count, 1)
    return np.isin(clip.regions, chosen)


# --- words ---------------------------------------------------------------------------------------


def stem(photo: str) -> str:
    """The name of a file without its suffix."""
    return Path(photo).stem or "photo"


def describe(clip: Clip, seen: Preview) -> str:
    """The summary of a clip in Markdown; lengths are in pixels of the photo."""
    first, *others = seen.assessment(clip).sentences
    warnings = [f"⚠️ {sentence}" for sentence in clip.further_warnings]
    return "\n\n".join([" ".join((f"**{first}**", *others)), *warnings])


def details(clip: Clip, model: str, seen: Preview, speed: float = 1.0) -> str:
    """Details of a clip, in Markdown.

    Args:
        clip: as it is shown.
        model: that made it.
        seen: the photo.
        speed: 1 plays the exposure in a second, 2 in half of one.
    """
    made, source = loaded(model)
    fastest, lines = clip.fastest * seen.scale, []
    if clip.exposure_time and fastest >= 1:
        lasted, slower = _seconds(clip.exposure_time), 1 / (speed * clip.exposure_time)
        lines.append(
            f"Exposure {lasted}: the fastest parts moved {fastest / clip.exposure_time:.0f} px a "
            f"second, and the clip plays {slower:.0f} times slower."
        )
    height, width = seen.size
    shown = ""
    if seen.scale > 1:
        shown = f", shown in {clip.photo.shape[1]} × {clip.photo.shape[0]}; downloads are full size"
    if made.model.native_frames:
        lines.append(f"This model always makes {clip.count} frames.")
    device = made.device.type.upper()
    lines.append(f"{width} × {height} px{shown}. Model: {model} ({source}), on {device}.")
    return "\n\n".join(lines)


def _seconds(value: float) -> str:
    return f"1/{1 / value:.0f} s" if value < 0.4 else f"{value:.1f} s"
