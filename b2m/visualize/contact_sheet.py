"""Contact sheets: a clip, its photo and its motion on one page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from b2m.errors import InputError
from b2m.media.image import Pixels, limit_side
from b2m.motion.color import color_wheel, flow_to_color
from b2m.motion.fields import STILL_THRESHOLD, Flow, magnitude, resize_flow

_PAPER = (255, 255, 255)
_INK = (28, 30, 33)
_FAINT = (120, 124, 130)
_EDGE = (222, 224, 228)
TILE = 320
"""Longest side in pixels of a picture on a clip's page."""

_MIN_TILE = 96  # shortest side in pixels of a picture on a training's sheet
_OVERSAMPLING = 2  # arrows are drawn larger and averaged down, so that their edges are smooth


def grid(
    tiles: Sequence[Pixels],
    labels: Sequence[str] | None = None,
    columns: int | None = None,
    *,
    gap: int = 14,
    font_size: int = 15,
) -> Pixels:
    """Arrange pictures in rows on white, each with a caption below.

    Args:
        tiles: (H, W, 3) uint8 sRGB each, of any sizes; rows and columns take the largest.
        labels: one caption per tile, too long ones are cut; none by default.
        columns: tiles in a row; by default so that the sheet is about as wide as a screen.
        gap: pixels between tiles and around them.
        font_size: of captions, in pixels.

    Returns:
        (H, W, 3) uint8 sRGB.

    Raises:
        InputError: no tiles, or another number of labels.
    """
    if not tiles or (labels is not None and len(labels) != len(tiles)):
        raise InputError(
            f"a sheet needs at least one tile and one label for each, not {len(tiles)} tiles and "
            f"{'no' if labels is None else len(labels)} labels"
        )
    width, height = max(tile.shape[1] for tile in tiles), max(tile.shape[0] for tile in tiles)
    if columns is None:
        columns = _columns(len(tiles), width / height)
    columns = max(1, min(columns, len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    caption = 0 if labels is None else round(font_size * 1.7)
    size = (gap + columns * (width + gap), gap + rows * (height + caption + gap))
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(font_size)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        left = gap + column * (width + gap)
        top = gap + row * (height + caption + gap)
        x = left + (width - tile.shape[1]) // 2
        sheet.paste(Image.fromarray(np.ascontiguousarray(tile)), (x, top))
        draw.rectangle((x - 1, top - 1, x + tile.shape[1], top + tile.shape[0]), outline=_EDGE)
        if labels is not None:
            middle = (left + width / 2, top + tile.shape[0] + caption * 0.55)
            text = _shortened(labels[number], font, width)
            draw.text(middle, text, _INK, font, anchor="mm")
    return np.array(sheet)


def legend(size: int) -> Pixels:
    """The colour wheel of motion fields as a tile on white: (size, size, 3) uint8 sRGB."""
    wheel = Image.fromarray(color_wheel(size))
    page = Image.new("RGB", wheel.size, _PAPER)
    page.paste(wheel, (0, 0), wheel)
    return np.array(page)


def clip_sheet(
    photo: Pixels,
    frames: Iterable[Pixels],
    flow: Flow,
    *,
    max_tile: int = TILE,
) -> Pixels:
    """One page for one clip: photo, motion as arrows, motion as colours, and every frame.

    Args:
        photo: (H, W, 3) uint8 sRGB.
        frames: T pictures of any size with the photo's proportions; may be a generator.
        flow: (H, W, 2) pixels of the photo over the whole exposure, on the middle frame's grid.
        max_tile: longest side of a tile in pixels.

    Returns:
        (H, W, 3) uint8 sRGB. Frames are labelled with their instant, from 0 to 1; the wheel says
        how many pixels of the photo its rim stands for.
    """
    small = limit_side(photo, max_tile)
    size = small.shape[:2]
    pieces: list[Any] = [
        cv2.resize(limit_side(frame, max_tile), size[::-1], interpolation=cv2.INTER_AREA)
        for frame in frames
    ]
    instants = [i / max(len(pieces) - 1, 1) for i in range(len(pieces))]
    longest = _typical_longest(flow)
    largest = max(longest, STILL_THRESHOLD)  # what counts as still shall look still
    shrunk = resize_flow(flow, size)
    shrunk_largest = largest * max(size) / max(flow.shape[:2])
    lengths = magnitude(shrunk)[..., None]
    clipped = shrunk * np.minimum(1, shrunk_largest / np.maximum(lengths, 1e-6))
    tiles = [
        small,
        arrows(small, shrunk, shrunk_largest),
        with_wheel(flow_to_color(clipped, shrunk_largest), largest),
        *pieces,
    ]
    labels = [
        "photo",
        "motion over the exposure",
        f"motion, up to {longest:.0f} px" if longest >= 1 else "still: no motion over 1 px",
        *(f"t = {instant:.2f}" for instant in instants),
    ]
    return grid(tiles, labels)


def training_sheet(
    photos: Pixels, frames: Pixels, truth: Pixels, flows: Flow, true_flows: Flow
) -> Pixels:
    """A few validation scenes: a row each, prediction above truth.

    Args:
        photos: (B, H, W, 3) uint8.
        frames, truth: (B, T, H, W, 3) uint8.
        flows, true_flows: (B, H, W, 2) pixels.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    tiles, labels = [], []
    # Crops of the smallest recipes have no room for captions.
    larger = math.ceil(_MIN_TILE / min(photos.shape[1:3]))
    picked = [(0, "first"), (frames.shape[1] // 2, "middle"), (frames.shape[1] - 1, "last")]
    for row, photo in enumerate(photos):
        largest = max(1.0, float(np.linalg.norm(true_flows[row], axis=2).max()))
        for source, images, flow in (
            ("ours", frames[row], flows[row]),
            ("true", truth[row], true_flows[row]),
        ):
            tiles += [photo, *(images[index] for index, _ in picked)]
            tiles.append(flow_to_color(flow, largest))
            labels += ["photo", *(f"{source}, {name}" for _, name in picked)]
            labels.append(f"{source}, up to {_typical_longest(flow):.0f} px")
    tiles = [tile.repeat(larger, 0).repeat(larger, 1) for tile in tiles]
    return grid(tiles, labels, columns=10, gap=6, font_size=12)


def arrows(image: Pixels, flow: Flow, longest: float | None = None, spacing: int = 22) -> Pixels:
    """Draw a flow as arrows over a dimmed picture, where it moves.

    Each arrow is centred on its pixel and as long as the motion there, but short motions are
    drawn longer so that they can be seen: the longest fills its cell at least.

    Args:
        image: (H, W, 3) uint8 sRGB.
        flow: (H, W, 2) pixels of that picture.
        longest: pixels of the longest motion; by default that of ``flow``.
        spacing: pixels between arrows.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    height, width = image.shape[:2]
    longest = max(_typical_longest(flow) if longest is None else longest, 1e-6)
    grey = image.mean(axis=-1, keepdims=True)
    dimmed = np.rint(0.55 * (0.35 * image + 0.65 * grey)).astype(np.uint8)
    scale = _OVERSAMPLING
    canvas: Any = cv2.resize(dimmed, (width * scale, height * scale))
    stretch = max(1.0, 0.9 * spacing / longest)
    columns, rows = max(1, width // spacing), max(1, height // spacing)
    xs = (np.arange(columns) + 0.5) * width / columns
    ys = (np.arange(rows) + 0.5) * height / rows
    least = max(0.04 * longest, 0.3)
    for y in ys:
        for x in xs:
            vector = flow[int(y), int(x)]
            length = float(np.hypot(*vector))
            if not least < length < math.inf:
                continue
            drawn = vector * (stretch * min(1.0, 1.15 * longest / length))
            # Slow things keep enough colour to tell their direction.
            strength = 0.4 + 0.6 * min(1.0, length / longest)
            color = flow_to_color((vector / length * strength)[None, None], 1.0)[0, 0]
            _arrow(canvas, np.array((x, y)) * scale, drawn * scale, tuple(color.tolist()), scale)
    shrunk = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return shrunk.astype(np.uint8, copy=False)


def _arrow(
    canvas: Any,
    center: NDArray[np.float64],
    vector: NDArray[np.floating[Any]],
    color: tuple[int, ...],
    scale: int,
) -> None:
    length = float(np.hypot(*vector))
    along = vector / length
    across = np.array((-along[1], along[0]))
    head = min(max(0.35 * length, 4.5 * scale), 9 * scale, length)
    tip, tail = center + vector / 2, center - vector / 2
    neck = tip - along * head
    barbs = (neck + across * head * 0.45, neck - across * head * 0.45)
    # A dark rim keeps every colour readable on every picture.
    for paint, extra in (((12, 12, 14), 2 * scale), (color, 0)):
        start, end = np.rint((tail, neck)).astype(int).tolist()
        cv2.line(canvas, start, end, paint, round(1.5 * scale) + extra, cv2.LINE_AA)
        corners = np.rint(np.stack((tip, *barbs))).astype(np.int32)
        if extra:
            cv2.polylines(canvas, [corners], True, paint, extra, cv2.LINE_AA)
        cv2.fillPoly(canvas, [corners], paint, cv2.LINE_AA)


def with_wheel(picture: Pixels, largest: float) -> Pixels:
    """A motion field in colours with the colour wheel in its emptiest corner.

    Args:
        picture: (H, W, 3) uint8 of `b2m.motion.flow_to_color`.
        largest: pixels, at the rim of the wheel.
    """
    height, width = picture.shape[:2]
    side = min(max(44, round(0.24 * max(height, width))), min(height, width))
    wheel = Image.fromarray(color_wheel(side * _OVERSAMPLING))
    wheel = wheel.resize((side, side), Image.Resampling.BOX)
    margin = min(6, (min(height, width) - side) // 2)
    corners = product((width - side - margin, margin), (height - side - margin, margin))
    corner = max(corners, key=lambda at: picture[at[1] :, at[0] :][:side, :side].mean())
    page = Image.fromarray(picture)
    draw = ImageDraw.Draw(page)
    rim = (corner[0] - 1, corner[1] - 1, corner[0] + side, corner[1] + side)
    draw.ellipse(rim, _PAPER, _FAINT)
    page.paste(wheel, corner, wheel)
    text = f"{largest:.0f} px"
    font = ImageFont.load_default(max(10, round(side * 0.17)))
    middle = (corner[0] + side / 2, corner[1] + side / 2)
    draw.text(middle, text, _INK, font, anchor="mm", stroke_width=2, stroke_fill=_PAPER)
    return np.array(page)


def _typical_longest(flow: Flow) -> float:
    """Length in pixels that all but half a percent of the vectors stay under."""
    step = max(1, math.isqrt(flow.shape[0] * flow.shape[1] // 250_000))
    sample = flow[::step, ::step]
    lengths = magnitude(sample)
    lengths = lengths[np.isfinite(lengths)]
    return float(np.quantile(lengths, 0.995)) if lengths.size else 0.0


def _columns(count: int, proportions: float) -> int:
    """As many columns as make a sheet of about 8:5 with few places left empty."""
    wanted = math.sqrt(count * 1.6 / proportions)

    def cost(columns: int) -> float:
        return 2 * (-count % columns) / count + abs(math.log(columns / wanted))

    return min(range(1, count + 1), key=cost)


def _shortened(text: str, font: Any, width: float) -> str:
    """The text, or as much of it as fits, with an ellipsis."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
