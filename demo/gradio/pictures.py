"""Pictures for the page, each with an alternative text."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from b2m import guidance as guidance_of
from b2m.inference.clip import Clip
from b2m.media import Pixels, limit_side, read_image
from b2m.media.video import write_webp
from b2m.motion import color_wheel, flow_to_color, resize_flow
from b2m.visualize.contact_sheet import arrows

SHOWN_SIDE = 1280  # pixels, of the clip on the page; downloads are larger
PAD_SIDE = 960
FIGURE_SIDE = 640
TILE_SIDE = 240
RESIDUAL = 8  # by which the difference between the photo and the mean of the frames is amplified
WHEEL_SIDE = 96
NO_TILES: dict[str, Any] = {"label": "", "tiles": [], "wheel": ""}
NO_PAD: dict[str, Any] = {"picture": "", "width": 1, "height": 1}


def as_data(picture: Pixels) -> str:
    """A picture as a data URL."""
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 86])
    return _data("image/jpeg", data.tobytes())


def _data(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def pad_value(photo: Pixels) -> dict[str, Any]:
    """Value of the drawing pad: a picture, and the size of the photo."""
    picture = as_data(limit_side(photo, PAD_SIDE))
    return {"picture": picture, "width": photo.shape[1], "height": photo.shape[0]}


def pad_marks(edits: Sequence[dict[str, Any]]) -> list[tuple[str, Any, float]]:
    """Tool, points and width of each edit that was drawn on the pad."""
    return [
        (
            edit.get("color", edit["kind"]),
            edit.get("points") or [edit["point"]],
            edit.get("brush", 0),
        )
        for edit in edits
        if "points" in edit or "point" in edit
    ]


def wheel() -> str:
    """The colour wheel of motion fields, as a data URL."""
    _, data = cv2.imencode(".png", cv2.cvtColor(color_wheel(WHEEL_SIDE), cv2.COLOR_RGBA2BGRA))
    return _data("image/png", data.tobytes())


def examples(paths: Sequence[Path]) -> dict[str, Any]:
    """Example photos to pick."""
    found = []
    for path in paths:
        picture = limit_side(read_image(path).pixels, 2 * TILE_SIDE)
        side = min(picture.shape[:2])
        top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
        square = limit_side(picture[top : top + side, left : left + side], 160)
        name = path.stem.replace("-", " ")
        found.append({"picture": as_data(square), "alt": f"Example photo: {name}", "caption": ""})
    return {"label": "Examples", "size": "small", "tiles": found, "wheel": ""}


def playing(clip: Clip, side: int) -> str:
    """A looping clip, forwards and backwards, as a data URL."""
    small = limit_side(clip.photo, side)
    frames = list(clip.render(clip.count, small.shape[:2]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.webp"
        write_webp(path, iter(frames + frames[-2:0:-1]), clip.count)
        return _data("image/webp", path.read_bytes())


def intro(clip: Clip) -> dict[str, Any]:
    """A finished example: its photo, and the clip that plays."""
    photo = limit_side(clip.photo, FIGURE_SIDE)
    return {"photo": as_data(photo), "clip": playing(clip, FIGURE_SIDE)}


def _tile(frame: Pixels, field: Pixels) -> Pixels:
    """Both, side by side in upright photos."""
    return np.concatenate([frame, field], axis=int(frame.shape[0] > frame.shape[1]))


def awaited(photo: Pixels) -> dict[str, Any]:
    """The placeholder of the motion hypotheses while they are computed."""
    small = limit_side(photo, TILE_SIDE)
    picture = as_data(_tile(small, np.full_like(small, 255)))
    return {**NO_TILES, "size": "large", "awaited": picture}


def tiles(clips: Sequence[Clip]) -> dict[str, Any]:
    """A small looping clip with its motion field for each motion hypothesis."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number, clip in enumerate(clips, 1):
            small = limit_side(clip.photo, TILE_SIDE)
            field = limit_side(flow_to_color(clip.flow), TILE_SIDE)
            path = Path(folder) / "clip.webp"
            frames = clip.render(clip.count, small.shape[:2])
            write_webp(path, (_tile(frame, field) for frame in frames), clip.count)
            name = "Most likely" if number == 1 else f"Option {number}"
            alt = f"{name}: the clip and its motion field"
            picture = _data("image/webp", path.read_bytes())
            found.append({"picture": picture, "alt": alt, "caption": name})
    return {"label": "Possible motions", "size": "large", "tiles": found, "wheel": wheel()}


def figures(clip: Clip) -> dict[str, Any]:
    """Details: the motion, its guidance, and how closely the clip explains the photo."""
    small = limit_side(clip.photo, FIGURE_SIDE)
    size = small.shape[:2]
    mean = limit_side(clip.reblurred, FIGURE_SIDE)
    seen = limit_side(clip.photo, max(mean.shape[:2]))
    difference = np.abs(seen.astype(int) - mean).clip(0, 255 // RESIDUAL) * RESIDUAL
    raw = clip.reblur_psnr_raw
    first, last = (limit_side(clip.at(time), FIGURE_SIDE) for time in (-1.0, 1.0))
    ends = np.stack([first[..., 0], first[..., 1] // 2 + last[..., 1] // 2, last[..., 2]], axis=-1)
    shown = (
        (arrows(small, resize_flow(clip.flow, size)), "Motion over the exposure", ""),
        (
            limit_side(flow_to_color(clip.flow), FIGURE_SIDE),
            "Motion field: the colour is the direction, as on the wheel; white is still",
            wheel(),
        ),
        (
            limit_side(guidance_of.to_color(clip.guidance), FIGURE_SIDE),
            "Guidance: red right and up, green left and up, yellow left and down, blue right and "
            "down, black still",
            "",
        ),
        (ends, "First and last frame overlaid: what moved has coloured edges", ""),
        (
            difference.astype(np.uint8),
            f"Re-blur check: residual ×{RESIDUAL} of the motion alone",
            "",
        ),
    )
    return {
        "final": _decibels(clip.reblur_psnr),
        "raw": _decibels(raw),
        "meter": float(np.clip(raw, 10, 60)),
        "pictures": [{"picture": as_data(p), "text": t, "wheel": w} for p, t, w in shown],
    }


def _decibels(value: float) -> str:
    return "exactly" if np.isinf(value) else f"{value:.0f} dB"
