"""Layered scenes: rendered blurred photos with complete ground truth.

A background photo under a camera path, and cut-outs or star-shaped outlines of other photos that
move on paths of their own before it, rendered at instants at most a pixel apart and averaged in
linear light. The role that FlyingChairs plays for optical flow. All of it is batched torch, the
same code on CPU and GPU, and depends on nothing but the textures, the configuration and the seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from b2m.blur import linear_to_srgb, srgb_to_linear
from b2m.data.sample import SampleBatch
from b2m.data.textures import LEVELS, Textures
from b2m.data.trajectories import (
    Random,
    apply_homography,
    camera_motion,
    conjugate,
    scaled_to,
    thing_motion,
)

Kind = Literal["mixed", "movers", "camera", "still"]


@dataclass(frozen=True)
class SceneConfig:
    """What is rendered.

    Attributes:
        size: side of the square frames, pixels.
        frames: sharp frames kept, evenly spaced from the first to the last instant.
        blur: least and largest of the longest displacement in a scene, pixels per exposure.
        kind: "movers" before a static camera, "camera" motion alone, "still", or all "mixed".
        layers: most things before the background.
        saturation: share of scenes with lights brighter than the sensor can tell.
        softness: share of scenes seen through a slightly soft lens.
        defocus: share of scenes whose background is out of focus, wholly or to one side.
        still: share of "mixed" scenes in which nothing moves.
    """

    size: int = 128
    frames: int = 7
    blur: tuple[float, float] = (2.0, 32.0)
    kind: Kind = "mixed"
    layers: int = 5
    saturation: float = 0.15
    softness: float = 0.3
    defocus: float = 0.0
    still: float = 0.04


@dataclass
class _Layers:
    """Textures and motion of B backgrounds and of the P things before them, all scenes together."""

    photo: Tensor  # (B,) which photo is the background
    filled: Tensor  # (P,) bool: things that are made of photos, not cut-outs
    image: Tensor  # (P,) of which
    canvas: Tensor  # (B, 3, Hb, Hb) backgrounds, linear light
    things: Tensor  # (P, 4, C, C) premultiplied linear light
    scene: Tensor  # (P,) the scene each thing is in
    ranks: list[Tensor]  # the things that lie first, second, ... before their backgrounds
    centre: Tensor  # (P, 2) at the middle instant, pixels from the frame's middle
    camera: tuple[Tensor, Tensor]  # generators (B, 3, 3) of time and of its square
    own: tuple[Tensor, Tensor]  # (P, 3, 3) each, before the camera's
    elastic: Tensor  # (E,) the things that bend
    swing: Tensor  # (E, 1, 2) amplitude, pixels
    wave: Tensor  # (E, 1, 2) radians per pixel
    phase: Tensor  # (E, 1, 2)


_SUPERSAMPLING = 2
_PASSING_STEP = 3.0  # pixels at most between the instants at which it is seen what passes where
_MAX_DEFOCUS = 9.0  # pixels, radius


def draw_textures(
    textures: Textures,
    image: Tensor,
    random: Random,
    side: int,
    *,
    zoom: Tensor | None = None,
    extent: Tensor | None = None,
    angle: Tensor | None = None,
) -> Tensor:
    """Random crops: (count, 4, side, side) of premultiplied linear light and alpha.

    Args:
        textures: some of which are drawn.
        image: (count,) which.
        random: draws the rest.
        side: canvas pixels.
        zoom: (count,) texture pixels per canvas pixel, for a random part of an image.
        extent: (count,) canvas pixels along the longer side, for the whole of an image; images
            shorter than that are drawn pixel by pixel. One of zoom and extent is given.
        angle: (count,) radians, or None for upright.
    """
    device, count = random.device, len(image)
    whole = zoom is None
    if zoom is None:
        assert extent is not None
        zoom = (textures.table[image, 0, 1:].amax(-1) / extent).clamp_min(1.0)
    level = zoom.log2().floor().clamp(0, LEVELS - 1).long()
    _, width, height = textures.table[image, level].unbind(-1)
    step = zoom / 2.0**level
    fine = side * _SUPERSAMPLING
    axis = (torch.arange(fine, device=device) + 0.5) / _SUPERSAMPLING - side / 2
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    if not whole:
        # Keep the crop inside the photo where it fits; reflections are the exception.
        slack_x = ((width - step * side) / 2).clamp_min(0)
        slack_y = ((height - step * side) / 2).clamp_min(0)
        middle_x = middle_x + slack_x * random.uniform(count, low=-1, high=1)
        middle_y = middle_y + slack_y * random.uniform(count, low=-1, high=1)
    across, down = (
        axis[None, None, :] * step[:, None, None],
        axis[None, :, None] * step[:, None, None],
    )
    mirror = torch.where(random.chance(0.5, count), -1.0, 1.0)[:, None, None]
    if angle is None:  # rows and columns stay apart, which saves most of the arithmetic
        x, y = across, down
    else:
        cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
        x, y = cosine * across - sine * down, sine * across + cosine * down
    x, y = middle_x[:, None, None] + mirror * x, middle_y[:, None, None] + y
    codes = textures.sample(image, level, x, y, reflect=not whole)
    decode = srgb_to_linear(torch.arange(256, device=device) / 255)
    rgba = torch.empty(count, 4, side, side, device=device)
    alpha = codes[..., 3].float() / 255
    rgba[:, 3] = F.avg_pool2d(alpha[:, None], _SUPERSAMPLING)[:, 0]
    for channel in range(3):
        light = decode[codes[..., channel].long()] * alpha
        rgba[:, channel] = F.avg_pool2d(light[:, None], _SUPERSAMPLING)[:, 0]
    return rgba


def _star_masks(random: Random, count: int, side: int, extent: Tensor) -> Tensor:
    """Star-shaped outlines up to 0.7 extent (count,) from their middles: (count, 1, side, side)."""
    axis = torch.arange(side, device=random.device) + 0.5 - side / 2
    angle = torch.atan2(axis[:, None], axis[None, :]).expand(count, side, side)
    radius = torch.hypot(axis[:, None], axis[None, :])
    stretch = random.uniform(count, 1, 1, low=0.0, high=0.6)
    lean = random.uniform(count, 1, 1, high=2 * math.pi)
    edge = 1 + stretch * torch.cos(2 * angle + lean)
    for order in range(3, 7):
        swing = random.uniform(count, 1, 1, low=-0.3, high=0.3)
        edge = edge * (1 + swing * torch.cos(order * angle + random.uniform(count, 1, 1, high=6.3)))
    size = 0.7 * extent * random.uniform(count, low=0.7, high=1.0)
    edge = edge * (size / edge.amax((1, 2)))[:, None, None]
    return (edge - radius + 0.5).clamp(0, 1)[:, None]


def tint(random: Random, count: int) -> Tensor:
    """Exposure and white balance: (count, 3, 1, 1) gains in linear light."""
    gain = (0.35 * random.normal(count, 1) + 0.1 * random.normal(count, 3)).exp()
    return gain.clamp(0.35, 1.8)[..., None, None]


def _defocus(canvas: Tensor, chosen: Tensor, random: Random) -> None:
    """Put the chosen ones of (B, 4, S, S) backgrounds in linear light out of focus, in place.

    A lens out of focus spreads each point over a disc. Half of the backgrounds are so everywhere,
    the others more and more towards one side.
    """
    side = canvas.shape[-1]
    axis = torch.linspace(-1, 1, side, device=canvas.device)
    for row in chosen.nonzero()[:, 0].tolist():
        radius = float(random.uniform(low=1.0, high=_MAX_DEFOCUS))
        angle = random.uniform(high=2 * math.pi)
        reach = math.ceil(radius)
        taps = torch.arange(-reach, reach + 1, device=canvas.device)
        disc = (radius + 0.5 - torch.hypot(taps[:, None].float(), taps[None].float())).clamp(0, 1)
        disc = disc / disc.sum()
        padded = F.pad(canvas[row : row + 1, :3], (reach,) * 4, mode="reflect")
        spread = F.conv2d(padded.transpose(0, 1), disc[None, None]).transpose(0, 1)[0]
        share = torch.ones(side, side, device=canvas.device)
        if bool(random.chance(0.5)):
            slope = axis * torch.cos(angle) + axis[:, None] * torch.sin(angle)
            share = (0.5 + 2 * slope).clamp(0, 1)
        canvas[row, :3] = torch.lerp(canvas[row, :3], spread, share)


def _arrange(
    photos: Textures, cutouts: Textures, config: SceneConfig, random: Random, batch: int
) -> _Layers:
    size = config.size
    device = random.device
    margin = size + 2 * math.ceil(config.blur[1] / 2) + 4
    zoom = random.uniform(batch, low=1.0, high=1.8)
    photo = random.integers(len(photos), batch)
    canvas = draw_textures(photos, photo, random, margin, zoom=zoom)
    canvas[:, :3] *= tint(random, batch)
    if config.defocus:
        _defocus(canvas, random.chance(config.defocus, batch), random)

    movers, share = _movers_and_share(config, random, batch)
    present = torch.arange(config.layers, device=device) < movers[:, None]
    scene, rank = present.nonzero(as_tuple=True)
    total = len(scene)
    extent = size * random.uniform(total, low=0.15, high=0.75)
    filled, image, things = _draw_things(photos, cutouts, random, extent, size)
    longest = random.uniform(batch, low=config.blur[0], high=config.blur[1])
    if config.kind == "mixed":
        longest = longest * ~random.chance(config.still, batch)
    elif config.kind == "still":
        longest = torch.zeros_like(longest)
    focal = size * random.uniform(batch, low=0.8, high=4.0)
    axis = torch.tensor([-1.0, 0.0, 1.0], device=device) * size / 2
    camera = scaled_to(
        *camera_motion(random, batch, focal, size),
        torch.cartesian_prod(axis, axis).expand(batch, 9, 2),
        longest * share,
    )
    # At least one thing moves by the whole of what is left; some stand still.
    fraction = random.uniform(total, low=0.1, high=1.0) * ~random.chance(0.15, total)
    fraction = torch.where(rank == 0, 1.0, fraction)
    target = (longest * (1 - share))[scene] * fraction
    corners = torch.cartesian_prod(axis[::2], axis[::2]) / size  # (4, 2), of a unit square
    # Where a thing bends, bending and moving share the target.
    bends = random.chance(0.25, total)
    rigid = torch.where(bends, 0.6, 1.0) * target
    own = scaled_to(*thing_motion(random, total, size), extent[:, None, None] * corners, rigid)
    centre = random.uniform(total, 2, low=-0.42, high=0.42) * size
    wavelength = size * random.uniform(total, 2, low=0.4, high=1.2)
    swing = 0.14 * target[:, None] * random.uniform(total, 2, low=-1, high=1)  # 0.4 / sqrt(8)
    phase = random.uniform(total, 2, high=2 * math.pi)
    return _Layers(
        photo=photo,
        filled=filled,
        image=image,
        canvas=canvas[:, :3],
        things=things,
        scene=scene,
        ranks=[(rank == place).nonzero()[:, 0] for place in range(int(movers.max()))],
        centre=centre,
        camera=camera,
        own=(conjugate(own[0], centre), conjugate(own[1], centre)),
        elastic=bends.nonzero()[:, 0],
        swing=swing[bends, None],
        wave=(2 * math.pi / wavelength)[bends, None],
        phase=phase[bends, None],
    )


def _movers_and_share(config: SceneConfig, random: Random, batch: int) -> tuple[Tensor, Tensor]:
    """How many things move, (B,), and the camera's share of the blur, (B,)."""
    movers = random.integers(config.layers, batch) + 1
    share = random.uniform(batch)
    if config.kind == "movers":
        share = torch.zeros_like(share)
    elif config.kind in ("camera", "still"):
        movers = torch.zeros_like(movers)
        share = torch.ones_like(share)
    else:
        pick = random.uniform(batch)
        movers = torch.where(pick < 0.4, 0, movers)
        share = torch.where(pick < 0.4, 1.0, torch.where(pick < 0.65, 0.0, share))
    return movers, share


def _draw_things(
    photos: Textures, cutouts: Textures, random: Random, extent: Tensor, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Cut-outs, and outlines filled from photos.

    Args:
        photos, cutouts: what is drawn.
        random: the numbers that decide.
        extent: (P,) pixels, the longer side of each.
        size: pixels, the side of their canvases.

    Returns:
        (P,) bool, which are filled outlines; (P,) the picture of each; (P, 4, size, size).
    """
    total, device = len(extent), extent.device
    things = torch.empty(total, 4, size, size, device=device)
    filled = random.chance(0.3, total)
    image = torch.zeros(total, dtype=torch.int64, device=device)
    for rows, source in ((~filled, cutouts), (filled, photos)):
        some = int(rows.sum())
        if some == 0:
            continue
        if source is cutouts:
            angle = random.uniform(some, low=-0.5, high=0.5) * random.chance(0.5, some)
            image[rows] = random.integers(len(cutouts), some)
            drawn = draw_textures(
                cutouts, image[rows], random, size, extent=extent[rows], angle=angle
            )
        else:  # outlines filled from other photos
            zoom = random.uniform(some, low=1.0, high=2.5)
            image[rows] = random.integers(len(photos), some)
            drawn = draw_textures(photos, image[rows], random, size, zoom=zoom)
            drawn = drawn * _star_masks(random, some, size, extent[rows])
        drawn[:, :3] *= tint(random, some)
        things[rows] = drawn
    return filled, image, things


def _matrices(layers: _Layers, time: float) -> tuple[Tensor, Tensor]:
    """Maps from the middle instant to a time: backgrounds (B, 3, 3) and things (P, 3, 3)."""
    camera, own = (
        torch.matrix_exp(time * linear + time**2 * curved)
        for linear, curved in (layers.camera, layers.own)
    )
    return camera, camera[layers.scene] @ own  # things ride on the camera


def _sway(layers: _Layers, points: Tensor, time: float, back: bool = False) -> Tensor:
    """Bend: where points (E, N, 2) of the canvases at rest are at a time, or back to rest.

    Each axis swings with the place along the other one, first y, then x, so that going back is
    exact.
    """
    x, y = points.unbind(-1)
    swing = time * layers.swing
    for axis in (0, 1) if back else (1, 0):
        along = y if axis == 0 else x
        wave = torch.sin(layers.wave[..., axis] * along + layers.phase[..., axis])
        shift = swing[..., axis] * wave
        if axis == 0:
            x = x - shift if back else x + shift
        else:
            y = y - shift if back else y + shift
    return torch.stack([x, y], -1)


def pixel_grid(size: int | tuple[int, int], device: torch.device) -> Tensor:
    """Pixel centres (height * width, 2) about the frame's middle, x first; an int is a square's."""
    sides = (size, size) if isinstance(size, int) else size
    axes = (torch.arange(side, device=device) + 0.5 - side / 2 for side in sides)
    row, column = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([column, row], dim=-1).view(-1, 2)


def _sample_points(layers: _Layers, grid: Tensor, time: float) -> tuple[Tensor, Tensor]:
    """What pixels see at a time: places on backgrounds (B, N, 2) and things (P, N, 2), pixels."""
    camera, own = (torch.linalg.inv(matrices) for matrices in _matrices(layers, time))
    shift = torch.eye(3, device=grid.device).repeat(len(own), 1, 1)
    shift[:, :2, 2] = -layers.centre
    things = apply_homography(shift @ own, grid)
    if time and len(layers.elastic):
        things[layers.elastic] = _sway(layers, things[layers.elastic], time, back=True)
    return apply_homography(camera, grid), things


def _composite(layers: _Layers, grid: Tensor, size: int, time: float) -> tuple[Tensor, Tensor]:
    """Linear light (B, 3, H, W) at a time, and the things' alphas (P, 1, H, W)."""
    behind, before = _sample_points(layers, grid, time)
    behind = (behind / (layers.canvas.shape[-1] / 2)).unflatten(1, (size, size))
    before = (before / (layers.things.shape[-1] / 2)).unflatten(1, (size, size))
    image = F.grid_sample(layers.canvas, behind, padding_mode="reflection", align_corners=False)
    if not len(layers.things):
        return image, before.new_zeros(0, 1, size, size)
    rgba = F.grid_sample(layers.things, before, padding_mode="zeros", align_corners=False)
    alpha = rgba[:, 3:]
    for rows in layers.ranks:
        scene = layers.scene[rows]
        image[scene] = rgba[rows, :3] + image[scene] * (1 - alpha[rows])
    return image, alpha


def _flow(
    layers: _Layers, grid: Tensor, size: int, alpha: Tensor, at: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Flow (B, 2, H, W) of what is on top at an instant, and what moves by itself (B, 1, H, W)."""
    behind, before = _sample_points(layers, grid, at)
    ends = []
    for time in (-1.0, 1.0):
        camera, own = _matrices(layers, time)
        swayed = before.clone()
        if len(layers.elastic):
            swayed[layers.elastic] = _sway(layers, before[layers.elastic], time)
        swayed = swayed + layers.centre[:, None]
        ends.append((apply_homography(camera, behind), apply_homography(own, swayed)))
    camera_flow, own_flow = (
        (last - first).transpose(1, 2).unflatten(2, (size, size))
        for first, last in zip(*ends, strict=True)
    )
    flow = camera_flow.clone()
    moving = torch.zeros_like(flow[:, :1], dtype=torch.bool)
    own_moving = (own_flow - camera_flow[layers.scene]).norm(dim=1, keepdim=True) >= 1.0
    for rows in layers.ranks:
        scene, top = layers.scene[rows], alpha[rows] > 0.5
        flow[scene] = torch.where(top, own_flow[rows], flow[scene])
        moving[scene] = torch.where(top, own_moving[rows], moving[scene])
    return flow, moving


def render(
    photos: Textures,
    cutouts: Textures,
    config: SceneConfig,
    batch: int,
    seed: int,
    device: torch.device | str = "cpu",
) -> SampleBatch:
    """Render a batch of scenes.

    Args:
        photos: opaque textures for backgrounds and outlines, on `device`.
        cutouts: textures with alpha, on `device`.
        config: what is drawn.
        batch: how many scenes.
        seed: the same seed gives the same scenes.
        device: where to render.

    Returns:
        Scenes with all tensors on `device`.
    """
    random = Random(seed, torch.device(device))
    return _expose(_arrange(photos, cutouts, config, random, batch), config, random)


def render_named(
    photos: Textures, cutouts: Textures, config: SceneConfig, batch: int, seed: int
) -> tuple[SampleBatch, list[list[str]]]:
    """Render scenes as `render` does, and say what each is made from.

    Returns:
        The scenes, and for each the names of its textures: the background's, then the things'.
    """
    random = Random(seed, torch.device("cpu"))
    layers = _arrange(photos, cutouts, config, random, batch)
    names = [[photos.names[photo]] for photo in layers.photo.tolist()]
    things = zip(layers.scene.tolist(), layers.filled.tolist(), layers.image.tolist(), strict=True)
    for scene, filled, image in things:
        names[scene].append((photos if filled else cutouts).names[image])
    return _expose(layers, config, random), names


def _expose(layers: _Layers, config: SceneConfig, random: Random) -> SampleBatch:
    batch = len(layers.canvas)
    size, intervals = config.size, config.frames - 1
    grid = pixel_grid(size, random.device)
    # Instants at most about a pixel apart, and the kept frames among them.
    fine = max(1, math.ceil(config.blur[1] / intervals)) * intervals
    lights = random.uniform(batch, 1, 1, 1, low=2.0, high=6.0)
    glow = random.chance(config.saturation, batch)
    sigma = random.uniform(batch, low=0.4, high=0.9)
    soft = random.chance(config.softness, batch)

    passing: list[tuple[float, Tensor, Tensor]] = []
    stride = max(1, int(_PASSING_STEP * fine / config.blur[1])) if config.blur[1] else fine
    flow = moving = None

    def instants() -> Iterator[Tensor]:
        nonlocal flow, moving
        for instant in range(fine + 1):
            time = 2 * instant / fine - 1
            image, alpha = _composite(layers, grid, size, time)
            highlight = (image[glow].amax(1, keepdim=True) - 0.8).clamp_min(0)
            image[glow] *= 1 + lights[glow] * highlight
            if instant * 2 == fine:
                flow, moving = _flow(layers, grid, size, alpha)
            elif instant % stride == 0 and len(layers.things):
                passing.append((abs(time), *_flow(layers, grid, size, alpha, time)))
            yield image

    images = expose(instants(), fine // intervals)
    if flow is None or moving is None:  # an even number of frames has none at the middle
        flow, moving = _flow(layers, grid, size, _composite(layers, grid, size, 0.0)[1])
    path, known = flow.clone(), moving.clone()
    for _, other, moves in sorted(passing, key=lambda seen: seen[0]):  # the nearest instant counts
        path = torch.where(moves & ~known, other, path)
        known |= moves
    if soft.any():
        images[soft] = soften(images[soft], sigma[soft])
    images = linear_to_srgb(images)
    return SampleBatch.of(images[:, 0], images[:, 1:], flow, moving=moving, path=path)


def expose(instants: Iterable[Tensor], every: int) -> Tensor:
    """Average what is seen at the instants of an exposure.

    Args:
        instants: (B, 3, H, W) linear light each, evenly spaced.
        every: from one kept frame to the next; the first instant is kept.

    Returns:
        (B, 1 + T, 3, H, W) linear light: the mean, then the kept frames.
    """
    total, kept = torch.zeros(()), []
    for number, image in enumerate(instants):
        total = total + image
        if number % every == 0:
            kept.append(image)
    return torch.stack([total / (number + 1), *kept], 1)


def soften(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur images (B, T, 3, H, W) by a Gaussian lens of sigma (B,) pixels."""
    taps = torch.arange(-2, 3, device=images.device)
    kernel = torch.exp(-(taps**2) / (2 * sigma[:, None] ** 2))
    kernel = kernel / kernel.sum(1, keepdim=True)
    folded = images.flatten(1, 2)
    for axis, padding in ((-1, (2, 2, 0, 0)), (-2, (0, 0, 2, 2))):
        padded = F.pad(folded, padding, mode="replicate")
        folded = torch.zeros_like(folded)
        for tap in range(5):
            folded += kernel[:, tap, None, None, None] * padded.narrow(
                axis, tap, folded.shape[axis]
            )
    return folded.view_as(images)
