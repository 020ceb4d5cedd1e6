"""Rotational blur: a camera that turns while its shutter is open.

The data set of Argaw et al. 2021a, section 3: a panorama on the unit sphere is seen by a virtual
pinhole camera at two orientations and at those between them, by spherical linear interpolation of
quaternions, their number linear in the angle; their mean is the blurred photo. Before an
ordinary photo the same camera turns by the homography K R K^-1.

A camera looks along z, with x to its right and y down. Its orientation turns its own directions
into those of the world: R = Ry(yaw) Rx(pitch) Rz(roll). Positive yaw turns it to the right,
positive pitch up, positive roll clockwise as it sees things.

Flow is exact: where a place of the middle frame is in the first and the last one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from b2m.blur import linear_to_srgb, linear_to_srgb8, srgb8_to_linear
from b2m.data.sample import SampleBatch
from b2m.data.scenes import draw_textures, expose, pixel_grid, soften, tint
from b2m.data.textures import Textures
from b2m.data.trajectories import Random, apply_homography
from b2m.errors import InputError
from b2m.media.image import Pixels
from b2m.tensors import to_pixels

_MAX_SUPERSAMPLING = 16


@dataclass(frozen=True)
class RotationConfig:
    """What is rendered.

    Attributes:
        size: side of the square frames, pixels.
        frames: sharp frames kept, evenly spaced from the first to the last instant.
        blur: least and largest of the longest displacement, pixels per exposure; ordinary photos.
        field_of_view: degrees, least and largest across the whole view; of an ordinary photo the
            frames are a part of it.
        angle: largest of each Euler angle between the first and the last orientation, degrees;
            panoramas (2021a draws them evenly between -10 and 10).
        frames_per_degree: how the number of instants grows with the angle, at least; panoramas.
            It is larger where the camera's pixels are finer, so that none moves by more than one
            from instant to instant.
        saturation: share of photos with lights brighter than the sensor can tell.
        softness: share of photos seen through a slightly soft lens.
    """

    size: int = 128
    frames: int = 7
    blur: tuple[float, float] = (2.0, 32.0)
    field_of_view: tuple[float, float] = (40.0, 70.0)
    angle: float = 10.0
    frames_per_degree: float = 4.0
    saturation: float = 0.15
    softness: float = 0.3


# --- one camera that turns ------------------------------------------------------------------------


def orientations(angles: Tensor) -> Any:
    """Rotations of SciPy by (B, 3) radians: yaw about y, then pitch about x, then roll about z."""
    # Imported here: it takes a second.
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("YXZ", angles.double().cpu().numpy())


class Turn(NamedTuple):
    """Cameras that turn from one orientation to another.

    Attributes:
        first, last: B rotations of SciPy.
        camera: (B, 3, 3) matrices K, pixels about the middle of the frame.
    """

    first: Any
    last: Any
    camera: Tensor

    def at(self, share: float) -> Tensor:
        """Rotation matrices (B, 3, 3) at a share of the way, by Slerp (Dam et al. 1998)."""
        step = (self.first.inv() * self.last).as_rotvec()
        here = self.first * type(self.first).from_rotvec(share * step)
        return torch.from_numpy(here.as_matrix()).to(self.camera)

    def flow(self, size: tuple[int, int]) -> Tensor:
        """Exact displacement (B, 2, H, W) of what the middle frame sees, first to last frame."""
        grid = pixel_grid(size, self.camera.device)
        flow = self.displacement(grid)
        return flow.transpose(1, 2).unflatten(2, size)

    def displacement(self, points: Tensor) -> Tensor:
        """The same for points (N, 2) of the middle frame: (B, N, 2) pixels."""
        middle, inverse = self.at(0.5), torch.linalg.inv(self.camera)
        ends = [
            apply_homography(
                self.camera @ self.at(share).transpose(1, 2) @ middle @ inverse, points
            )
            for share in (0.0, 1.0)
        ]
        return ends[1] - ends[0]


def camera_matrix(focal: Tensor, principal: Tensor | None = None) -> Tensor:
    """K (B, 3, 3) of focal lengths (B,) and principal points (B, 2), pixels about the middle."""
    camera = torch.zeros(len(focal), 3, 3, device=focal.device, dtype=focal.dtype)
    camera[:, 0, 0] = camera[:, 1, 1] = focal
    camera[:, 2, 2] = 1
    if principal is not None:
        camera[:, :2, 2] = principal
    return camera


def focal_length(field_of_view: Tensor, side: Tensor | int) -> Tensor:
    """Pixels, from the angle across a side in degrees."""
    return side / 2 / (field_of_view.deg2rad() / 2).tan()


def _expose(
    look: Callable[[Tensor], Tensor], turn: Turn, size: int, frames: int, steps: int
) -> tuple[Tensor, Tensor]:
    """Mean over the exposure and kept frames (B, 1 + T, 3, H, W), linear light; and the flow.

    `look` gives what cameras of orientations (B, 3, 3) see; it is called `steps` times or more.
    """
    fine = max(1, math.ceil(steps / (frames - 1)))
    last = fine * (frames - 1)
    instants = (look(turn.at(instant / last)) for instant in range(last + 1))
    return expose(instants, fine), turn.flow((size, size))


def _as_batch(images: Tensor, flow: Tensor) -> SampleBatch:
    images = linear_to_srgb(images)
    still = torch.zeros_like(flow[:, :1]).bool()
    return SampleBatch.of(images[:, 0], images[:, 1:], flow, moving=still, path=flow)


# --- before ordinary photos -----------------------------------------------------------------------


def render_rotation(
    photos: Textures,
    config: RotationConfig,
    batch: int,
    seed: int,
    device: torch.device | str = "cpu",
) -> SampleBatch:
    """Render photos blurred by a camera that turns before photos, by K R K^-1.

    The frames are a part, anywhere, of a larger view that has the field of view; the photo is what
    the camera sees at the middle instant. Borders lie outside of what is seen.

    Args:
        photos: opaque textures, on `device`.
        config: what is drawn.
        batch: how many.
        seed: the same seed gives the same photos.
        device: where to render.

    Returns:
        Scenes with all tensors on `device`; nothing moves but the camera.
    """
    random = Random(seed, torch.device(device))
    size = config.size
    margin = size + 2 * math.ceil(config.blur[1] / 2) + 4
    zoom = random.uniform(batch, low=1.0, high=1.8)
    image = random.integers(len(photos), batch)
    canvas = draw_textures(photos, image, random, margin, zoom=zoom)[:, :3]
    canvas *= tint(random, batch)
    _light_up(canvas, random, config.saturation)

    view = size * random.uniform(batch, low=1.0, high=3.0)
    principal = (view[:, None] - size) / 2 * random.uniform(batch, 2, low=-1, high=1)
    low, high = config.field_of_view
    focal = focal_length(random.uniform(batch, low=low, high=high), view)
    # Each photo leans to one kind of turn; a roll moves fewer pixels than a yaw as large.
    lean = random.uniform(batch, 3) ** 2 * random.normal(batch, 3)
    lean = lean * torch.tensor([1.0, 1.0, 4.0], device=random.device)
    longest = random.uniform(batch, low=config.blur[0], high=config.blur[1])
    turn = _turned_by(lean, camera_matrix(focal, principal), longest, size)

    inverse = torch.linalg.inv(turn.camera)
    grid = pixel_grid(size, random.device)

    def look(orientation: Tensor) -> Tensor:
        places = apply_homography(turn.camera @ orientation @ inverse, grid)
        places = (places / (margin / 2)).unflatten(1, (size, size))
        return F.grid_sample(canvas, places, padding_mode="reflection", align_corners=False)

    # Instants at most about a pixel apart: their number grows with the angle.
    images, flow = _expose(look, turn, size, config.frames, math.ceil(float(longest.max())))
    sigma = random.uniform(batch, low=0.4, high=0.9)
    soft = random.chance(config.softness, batch)
    if soft.any():
        images[soft] = soften(images[soft], sigma[soft])
    return _as_batch(images, flow)


def _light_up(canvas: Tensor, random: Random, share: float) -> None:
    """Make the lights of some photos brighter than the sensor's saturation, in place."""
    glow = random.chance(share, len(canvas))
    strength = random.uniform(len(canvas), 1, 1, 1, low=2.0, high=6.0)
    highlight = (canvas[glow].amax(1, keepdim=True) - 0.8).clamp_min(0)
    canvas[glow] *= 1 + strength[glow] * highlight


def _turned_by(angles: Tensor, camera: Tensor, longest: Tensor, size: int) -> Turn:
    """Turn by multiples of yaw, pitch and roll (B, 3) such that the longest path is as given."""
    axis = torch.tensor([-1.0, 0.0, 1.0], device=camera.device) * (size - 1) / 2
    points = torch.cartesian_prod(axis, axis)
    # Small at first: far too large a turn would look behind the camera.
    angles = angles / angles.norm(dim=1, keepdim=True).clamp_min(1e-6) * 1e-3

    def reoriented() -> Turn:
        half = orientations(angles / 2)
        return Turn(half.inv(), half, camera)

    for _ in range(4):  # the path is not quite linear in the angles
        path = reoriented().displacement(points).norm(dim=-1).amax(1)
        angles = angles * (longest / path.clamp_min(1e-9))[:, None]
    return reoriented()


# --- in panoramas ---------------------------------------------------------------------------------


def render_view(
    panorama: Pixels,
    yaw: float,
    pitch: float,
    roll: float,
    fov: float,
    size: int | tuple[int, int],
) -> Pixels:
    """The view of a pinhole camera in the centre of a panorama.

    Args:
        panorama: (H, 2H, 3) uint8 sRGB, equirectangular: its middle column is straight ahead, its
            left and right borders are behind, its top row is the zenith.
        yaw: degrees to the right.
        pitch: degrees up.
        roll: degrees clockwise, of the camera.
        fov: degrees across the width of the view, above 0 and below 180.
        size: (height, width) of the view, or the side of a square one, pixels.

    Returns:
        (height, width, 3) uint8 sRGB; interpolated, and averaged where the panorama is finer, in
        linear light.

    Raises:
        InputError: not a panorama, or no such view.
    """
    check_panorama(panorama)
    height, width = (size, size) if isinstance(size, int) else size
    if not (0 < fov < 180 and height > 0 and width > 0):
        raise InputError(
            f"a view of {width}x{height} pixels and {fov} degrees is not possible: sides of at "
            "least 1 pixel and an angle between 0 and 180 degrees are needed"
        )
    focal = focal_length(torch.tensor([float(fov)], dtype=torch.float64), width)
    finer = panorama.shape[1] / (2 * math.pi * float(focal))
    fine = min(_MAX_SUPERSAMPLING, max(1, round(finer)))
    angles = torch.tensor([[yaw, pitch, roll]], dtype=torch.float64).deg2rad()
    orientation = torch.from_numpy(orientations(angles).as_matrix())
    grid = pixel_grid((height * fine, width * fine), focal.device).double()
    light = _seen(panorama, orientation, camera_matrix(focal * fine), grid)
    light = light.unflatten(2, (height * fine, width * fine))
    light = F.avg_pool2d(light, fine) if fine > 1 else light
    return to_pixels(linear_to_srgb(light[0]))


def check_panorama(panorama: Pixels) -> None:
    """Refuse what is not (H, 2H, 3) uint8.

    Raises:
        InputError: another shape or type.
    """
    shape = panorama.shape
    if panorama.ndim != 3 or shape[2] != 3 or panorama.dtype != np.uint8:
        raise InputError(f"a panorama is (H, 2H, 3) uint8, not {shape} {panorama.dtype}")
    if shape[1] != 2 * shape[0]:
        raise InputError(
            f"the panorama is {shape[1]}x{shape[0]}: an equirectangular one is twice as wide as "
            "high"
        )


def _seen(panorama: Pixels, orientation: Tensor, camera: Tensor, grid: Tensor) -> Tensor:
    """Linear light (B, 3, N) that cameras see at places of their frames (N, 2)."""
    rays = F.pad(grid, (0, 1), value=1.0) @ torch.linalg.inv(camera).transpose(1, 2)
    x, y, z = (rays @ orientation.transpose(1, 2)).unbind(-1)
    height, width = panorama.shape[:2]
    column = (torch.atan2(x, z) / (2 * math.pi) + 0.5) * width - 0.5
    row = (torch.atan2(y, torch.hypot(x, z)) / math.pi + 0.5) * height - 0.5
    row = row.clamp(0, height - 1)
    left, top = column.floor(), row.floor().clamp(max=max(0, height - 2))
    across, down = (column - left)[:, None].float(), (row - top)[:, None].float()
    columns = [(left.long() + step) % width for step in (0, 1)]
    rows = [top.long(), (top.long() + 1).clamp(max=height - 1)]

    def light(row: Tensor, column: Tensor) -> Tensor:
        pixels = srgb8_to_linear(panorama[row.numpy(), column.numpy()])
        return torch.from_numpy(pixels).movedim(-1, 1)

    upper = torch.lerp(light(rows[0], columns[0]), light(rows[0], columns[1]), across)
    lower = torch.lerp(light(rows[1], columns[0]), light(rows[1], columns[1]), across)
    return torch.lerp(upper, lower, down)


def shrink_panorama(panorama: Pixels, config: RotationConfig) -> Pixels:
    """A panorama averaged in linear light to about the resolution that frames of a camera have.

    Args:
        panorama: (H, 2H, 3) uint8.
        config: for size and field of view.

    Returns:
        The same divided by a whole number; itself where it is not finer.

    Raises:
        InputError: not a panorama.
    """
    check_panorama(panorama)
    height = panorama.shape[0]
    sharpest = focal_length(torch.tensor(float(config.field_of_view[0])), config.size)
    most = max(1, int(height / (math.pi * float(sharpest))))
    factor = max(step for step in range(1, most + 1) if height % step == 0)
    if factor == 1:
        return panorama
    rows = []
    for top in range(0, height, factor):
        light = srgb8_to_linear(panorama[top : top + factor])
        rows.append(linear_to_srgb8(light.reshape(factor, -1, factor, 3).mean((0, 2))))
    return np.stack(rows)


def render_panorama(panorama: Pixels, config: RotationConfig, seed: int) -> SampleBatch:
    """Render one photo blurred by a camera that turns in a panorama (2021a, section 3).

    The first orientation is anywhere, at most 30 degrees from upright; from it to the last one
    each Euler angle is drawn evenly. The number of instants is linear in the angle between them,
    and such that no pixel moves by more than one from one to the next.

    Args:
        panorama: (H, 2H, 3) uint8 sRGB, about as fine as the frames; see `shrink_panorama`.
        config: what is drawn.
        seed: the same seed gives the same photo.

    Returns:
        Scenes of a batch of one.

    Raises:
        InputError: not a panorama.
    """
    check_panorama(panorama)
    random = Random(seed, torch.device("cpu"))
    yaw = random.uniform(1, low=-math.pi, high=math.pi)
    pitch, roll = random.uniform(2, 1, low=-math.pi / 6, high=math.pi / 6).unbind()
    first = orientations(torch.stack([yaw, pitch, roll], 1))
    between = orientations(random.uniform(3, 1, low=-config.angle, high=config.angle).deg2rad().T)
    last = first * between
    low, high = config.field_of_view
    focal = focal_length(random.uniform(1, low=low, high=high), config.size)
    turn = Turn(first, last, camera_matrix(focal))
    grid = pixel_grid(config.size, random.device)

    def look(orientation: Tensor) -> Tensor:
        light = _seen(panorama, orientation, turn.camera, grid)
        return light.unflatten(2, (config.size, config.size))

    degrees = math.degrees(between.magnitude()[0])
    # In a corner, at the angle t from the axis, pixels go fastest: by f / cos^2 t a radian.
    aside = config.size / math.sqrt(2) / float(focal)
    pixels_per_degree = math.radians(float(focal)) * (1 + aside**2)
    steps = math.ceil(max(config.frames_per_degree, pixels_per_degree) * degrees)
    return _as_batch(*_expose(look, turn, config.size, config.frames, steps))
