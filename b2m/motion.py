"""Motion fields: warping along them, estimating, storing and colouring them.

A flow is a displacement in pixels over the whole exposure, x to the right and y down. As an array
it is (H, W, 2) float32, as a tensor (B, 2, H, W). Unless another grid is named, a vector belongs to
the surface seen at the middle instant, at that pixel of the middle frame.
"""

from __future__ import annotations

import os
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from b2m.errors import InputError
from b2m.files import atomic_path
from b2m.media import row_strips
from b2m.quadrants import STILL_THRESHOLD

Flow = NDArray[np.float32]
_Scalar = TypeVar("_Scalar", bound=np.generic)

_FLO_MAGIC = b"PIEH"  # 202021.25 as a little-endian float
_FLO_UNKNOWN = 1e9
_MAX_SIDE = 100_000


def warp(image: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
    """Backward warp: ``out(x) = image(x + displacement(x))``, bilinear, borders repeated.

    Args:
        image: (B, C, H, W), any float type.
        displacement: (B, 2, H, W) in pixels; channel 0 to the right, channel 1 down.

    Returns:
        (B, C, H, W) of the image's type. Differentiable in both arguments. Coordinates are always
        float32 or better: in half precision they would be off by whole pixels.
    """
    height, width = displacement.shape[-2:]
    dtype = torch.promote_types(displacement.dtype, torch.float32)
    displacement = displacement.to(dtype)
    # Each plane is written once, in grid_sample's [-1, 1], and once more by the stack.
    columns = torch.linspace(-1, 1, width, dtype=dtype, device=displacement.device)
    rows = torch.linspace(-1, 1, height, dtype=dtype, device=displacement.device)[:, None]
    grid = torch.stack(
        (
            torch.add(columns, displacement[:, 0], alpha=2 / max(width - 1, 1)),
            torch.add(rows, displacement[:, 1], alpha=2 / max(height - 1, 1)),
        ),
        dim=-1,
    )
    warped = functional.grid_sample(
        image.to(dtype), grid, mode="bilinear", padding_mode="border", align_corners=True
    )
    return warped.to(image.dtype)


def double_angle(flow: torch.Tensor) -> torch.Tensor:
    """Lines of motion m (cos 2a, sin 2a) of vectors m (cos a, sin a), (B, 2, H, W) both."""
    across, down = flow.unbind(1)
    length = (across**2 + down**2).sqrt().clamp_min(1e-6)
    return torch.stack([(across**2 - down**2) / length, 2 * across * down / length], 1)


def half_angle(line: torch.Tensor) -> torch.Tensor:
    """One of the two vectors on each line, (B, 2, H, W) both: the inverse of `double_angle`.

    It points to the right where the motion is flatter than 45 degrees, down where it is steeper.
    """
    cosine, sine = line.unbind(1)
    length = (cosine**2 + sine**2 + 1e-6).sqrt()
    # The half-angle formula in the form that does not cancel, and has no infinite slope.
    longer = length + cosine.abs()
    flat = cosine >= 0
    across, down = torch.where(flat, longer, sine), torch.where(flat, sine, longer)
    scale = length / (longer**2 + sine**2).sqrt()
    return torch.stack([across * scale, down * scale], 1)


def estimate_flow(first: NDArray[np.uint8], last: NDArray[np.uint8]) -> Flow:
    """Optical flow from one frame to another by OpenCV's DIS (Kroeger et al., ECCV 2016), medium.

    Args:
        first, last: (H, W, 3) uint8 RGB of one size, sides of 16 or more.

    Returns:
        (H, W, 2) float32 pixels on the grid of ``first``.

    Raises:
        InputError: the frames differ in size or type.
    """
    if (
        first.shape != last.shape
        or first.ndim != 3
        or {first.dtype, last.dtype} != {np.dtype(np.uint8)}
    ):
        raise InputError(
            f"flow needs two (H, W, 3) uint8 frames of one size, not {first.shape} {first.dtype} "
            f"and {last.shape} {last.dtype}"
        )
    height, width = first.shape[:2]
    # DIS fails or stays at zero where its pyramid of 8x8 patches has no room.
    bottom, right = max(0, 64 - height), max(0, 64 - width)
    grey = []
    for frame in (first, last):
        plane = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
        grey.append(cv2.copyMakeBorder(plane, 0, bottom, 0, right, cv2.BORDER_REFLECT))
    dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = dis.calc(grey[0], grey[1], None)
    return np.ascontiguousarray(flow[:height, :width], dtype=np.float32)


def to_first_grid(flow: Flow, iterations: int = 20) -> Flow:
    """Move a flow from the middle frame's grid to the first frame's: f0(x) = fm(x + f0(x) / 2).

    Args:
        flow: (H, W, 2) pixels over the whole exposure.
        iterations: at most so many fixed-point steps; fewer where nothing moves on.

    Returns:
        (H, W, 2) float32. Where a surface is hidden at one of the two instants no vector satisfies
        the equation, and one of the neighbouring surfaces' is returned.
    """
    return _move_grid(flow, 0.5, iterations)


def to_middle_grid(flow: Flow, iterations: int = 20) -> Flow:
    """Move a flow from the first frame's grid to the middle frame's: fm(x) = f0(x - fm(x) / 2).

    Arguments and result as in :func:`to_first_grid`.
    """
    return _move_grid(flow, -0.5, iterations)


@torch.no_grad()
def _move_grid(flow: Flow, share: float, iterations: int) -> Flow:
    source = torch.from_numpy(np.ascontiguousarray(flow, dtype=np.float32)).permute(2, 0, 1)[None]
    moved = source
    for _ in range(iterations):
        following = warp(source, moved * share)
        done = float((following - moved).abs().max()) < 1e-3
        moved = following
        if done:
            break
    return moved[0].permute(1, 2, 0).contiguous().numpy()


# --- changing the frame changes the vectors -------------------------------------------------------


def flip_flow(flow: NDArray[_Scalar], *, horizontal: bool = True) -> NDArray[_Scalar]:
    """Mirror (H, W, 2) left to right, or top to bottom, positions and vectors alike."""
    flipped = (flow[:, ::-1] if horizontal else flow[::-1]).copy()
    channel = flipped[..., 0 if horizontal else 1]
    np.negative(channel, out=channel)
    return flipped


def rotate90_flow(flow: NDArray[_Scalar], turns: int = 1) -> NDArray[_Scalar]:
    """Turn (H, W, 2) counter-clockwise by quarter turns, positions (as np.rot90) and vectors."""
    turned = np.rot90(flow, turns)
    u, v = turned[..., 0], turned[..., 1]
    quarter = turns % 4
    pairs = {0: (u, v), 1: (v, -u), 2: (-u, -v), 3: (-v, u)}
    return np.stack(pairs[quarter], axis=-1)


def resize_flow(flow: Flow, size: tuple[int, int]) -> Flow:
    """Resize (H, W, 2) to ``size`` = (height, width) and scale the vectors with it.

    Area averages downwards, bilinear upwards. Needs no memory beside its result.
    """
    height, width = size
    if flow.shape[:2] == (height, width):
        return flow.astype(np.float32)
    shrink = height * width < flow.shape[0] * flow.shape[1]
    resized: Any = cv2.resize(
        flow.astype(np.float32, copy=False),
        (width, height),
        interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR,
    )
    resized[..., 0] *= width / flow.shape[1]
    resized[..., 1] *= height / flow.shape[0]
    return resized


# --- files ----------------------------------------------------------------------------------------


def read_flow(path: str | os.PathLike[str]) -> Flow:
    """Read (H, W, 2) float32 from .flo (Middlebury), .pfm (Freiburg) or .png (KITTI).

    Pixels whose flow the file calls unknown are NaN.

    Raises:
        InputError: missing, another format, truncated.
    """
    return _by_suffix(path, _READERS)(path)


def write_flow(path: str | os.PathLike[str], flow: Flow) -> None:
    """Write (H, W, 2) as .flo, .pfm or KITTI .png (steps of 1/64 px), whole or not at all.

    Raises:
        InputError: another suffix, not a flow, or values the format cannot hold.
        OutputError: the folder is missing, not writable or full.
    """
    _by_suffix(path, _WRITERS)(path, flow)


def _by_suffix(path: str | os.PathLike[str], table: dict[str, Any]) -> Any:
    suffix = Path(path).suffix.lower()
    if suffix not in table:
        raise InputError(
            f"{Path(path).name} is no flow file by its name: use .flo, .pfm or .png (KITTI)"
        )
    return table[suffix]


def _contents(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: check the path of the flow file") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def _checked(flow: Flow) -> Flow:
    if flow.ndim != 3 or flow.shape[2] != 2 or not np.issubdtype(flow.dtype, np.floating):
        raise InputError(f"a flow is (H, W, 2) float, not {flow.shape} {flow.dtype}")
    return flow


def _decode(path: str | os.PathLike[str], data: bytes, offset: int, shape: tuple[int, ...],
            dtype: str) -> NDArray[Any]:  # fmt: skip
    height, width = shape[:2]
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise InputError(f"{path} claims {width}x{height} pixels: it is damaged; get another copy")
    expected = 4 * int(np.prod(shape, dtype=np.int64))
    if len(data) - offset != expected:
        state = "truncated" if len(data) - offset < expected else "too long"
        raise InputError(
            f"{path} is {state}: {len(data) - offset} bytes of vectors where {width}x{height} "
            f"pixels need {expected}; get another copy"
        )
    return np.frombuffer(data, dtype, offset=offset).reshape(shape)


def read_flo(path: str | os.PathLike[str]) -> Flow:
    """Read a Middlebury .flo (Baker et al., IJCV 2011): (H, W, 2) float32, unknown is NaN."""
    data = _contents(path)
    if data[:4] != _FLO_MAGIC or len(data) < 12:
        raise InputError(f"{path} is not a .flo file: it must begin with PIEH and a size")
    width, height = struct.unpack("<ii", data[4:12])
    flow = _decode(path, data, 12, (height, width, 2), "<f4").astype(np.float32)
    flow[(np.abs(flow) > _FLO_UNKNOWN).any(axis=-1)] = np.nan
    return flow


def write_flo(path: str | os.PathLike[str], flow: Flow) -> None:
    """Write a Middlebury .flo; NaN becomes the format's "unknown"."""
    height, width = _checked(flow).shape[:2]
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(_FLO_MAGIC + struct.pack("<ii", width, height))
        for rows in row_strips(height, width):
            stream.write(np.nan_to_num(flow[rows], nan=1e10).astype("<f4").tobytes())


def read_pfm(path: str | os.PathLike[str]) -> Flow:
    """Read a three-channel .pfm as Freiburg's scene-flow data sets store flow: (H, W, 2)."""
    data = _contents(path)
    lines = data.split(b"\n", 3)
    try:
        magic, size, scale = lines[0].strip(), lines[1].split(), float(lines[2])
        width, height = int(size[0]), int(size[1])
    except (IndexError, ValueError):
        raise InputError(f"{path} is not a .pfm file: its header is damaged") from None
    if magic != b"PF":
        raise InputError(f"{path} is not a flow: a .pfm must begin with PF (three channels)")
    offset = sum(len(line) + 1 for line in lines[:3])
    values = _decode(path, data, offset, (height, width, 3), "<f4" if scale < 0 else ">f4")
    return np.ascontiguousarray(values[::-1, :, :2], dtype=np.float32)


def write_pfm(path: str | os.PathLike[str], flow: Flow) -> None:
    """Write a little-endian three-channel .pfm, rows from the bottom, third channel zero."""
    height, width = _checked(flow).shape[:2]
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(f"PF\n{width} {height}\n-1.0\n".encode())
        for row in flow[::-1]:
            stream.write(np.pad(row, ((0, 0), (0, 1))).astype("<f4").tobytes())


def read_kitti(path: str | os.PathLike[str]) -> Flow:
    """Read a KITTI 16-bit PNG (Menze & Geiger, CVPR 2015): (H, W, 2), invalid is NaN."""
    data = np.frombuffer(_contents(path), np.uint8)
    raw = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if raw is None or raw.dtype != np.uint16 or raw.ndim != 3 or raw.shape[2] != 3:
        raise InputError(f"{path} is not a KITTI flow: a PNG of three 16-bit channels is needed")
    flow: Flow = raw[..., 2:0:-1].astype(np.float32)
    flow = (flow - np.float32(32768)) / np.float32(64)
    flow[raw[..., 0] == 0] = np.nan
    return flow


def write_kitti(path: str | os.PathLike[str], flow: Flow) -> None:
    """Write a KITTI 16-bit PNG: steps of 1/64 px, from -512 to 511.98; NaN is invalid."""
    _checked(flow)
    known = np.isfinite(flow[..., 0]) & np.isfinite(flow[..., 1])
    levels = np.rint(np.where(known[..., None], flow, 0) * 64) + 32768
    if levels.size and (levels.min() < 0 or levels.max() > 65535):
        raise InputError(
            f"the flow reaches {float(np.nanmax(np.abs(flow))):.0f} px: a KITTI .png holds less "
            "than 512; write .flo"
        )
    raw = np.dstack((known, levels[..., 1], levels[..., 0])).astype(np.uint16)
    with atomic_path(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", raw)[1].tobytes())


_READERS = {".flo": read_flo, ".pfm": read_pfm, ".png": read_kitti}
_WRITERS = {".flo": write_flo, ".pfm": write_pfm, ".png": write_kitti}


# --- colours --------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _wheel() -> NDArray[np.float32]:
    """The 55 colours of Baker et al., A Database and Evaluation Methodology for Optical Flow."""
    ramps = ((15, 0, 1, 1), (6, 1, 0, -1), (4, 1, 2, 1), (11, 2, 1, -1), (13, 2, 0, 1),
             (6, 0, 2, -1))  # fmt: skip
    colors = []
    for count, full, changing, direction in ramps:
        ramp = np.zeros((count, 3), np.float32)
        step = np.floor(255 * np.arange(count) / count) / 255
        ramp[:, full] = 1
        ramp[:, changing] = step if direction > 0 else 1 - step
        colors.append(ramp)
    return np.concatenate(colors)


def flow_to_color(flow: Flow, max_magnitude: float | None = None) -> NDArray[np.uint8]:
    """Colour a flow as Middlebury does: hue is direction, white is still.

    The wheel is closed, unlike theirs, which goes from its first colour to its last and leaves an
    edge in smooth fields between what goes right and a little down and what goes a little up.

    Args:
        flow: (H, W, 2) pixels.
        max_magnitude: pixels at full saturation; longer vectors are darkened. By default the
            longest vector of this flow, but at least `STILL_THRESHOLD`, so that what counts as
            still stays pale.

    Returns:
        (H, W, 3) uint8 RGB; black where the flow is unknown (NaN).
    """
    height, width = flow.shape[:2]
    if max_magnitude is None:
        longest = (_longest(flow[rows]) for rows in row_strips(height, width))
        max_magnitude = max((STILL_THRESHOLD, *longest))
    scale = 1 / max(max_magnitude, 1e-9)
    wheel = _wheel()
    colors = np.empty((height, width, 3), np.uint8)
    for rows in row_strips(height, width):
        strip = flow[rows].astype(np.float32, copy=False)
        known = np.isfinite(strip[..., 0]) & np.isfinite(strip[..., 1])
        u, v = np.where(known, strip[..., 0], 0) * scale, np.where(known, strip[..., 1], 0) * scale
        radius = np.hypot(u, v)[..., None]
        place = (np.arctan2(-v, -u) / np.pi + 1) / 2 * len(wheel)
        lower = place.astype(np.int32)  # 55 where -v is 0 and not -0: the first colour again
        share = (place - lower)[..., None]
        color = (1 - share) * wheel[lower % len(wheel)] + share * wheel[(lower + 1) % len(wheel)]
        # The longest vector itself may come out a rounding step above 1.
        color = np.where(radius <= 1 + 1e-5, 1 - np.minimum(radius, 1) * (1 - color), color * 0.75)
        colors[rows] = np.rint(255 * color * known[..., None])
    return colors


def color_wheel(size: int) -> NDArray[np.uint8]:
    """The legend of :func:`flow_to_color`: (size, size, 4) uint8 RGBA, transparent outside.

    A vector from the centre to a point of the disc has that point's colour; the rim is
    ``max_magnitude``.
    """
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    vectors = np.stack(np.broadcast_arrays(axis[None], axis[:, None]), axis=-1)
    radius = np.hypot(vectors[..., 0], vectors[..., 1])
    inside = vectors / np.maximum(radius, 1)[..., None]
    opacity = np.clip((1 - radius) * size / 2, 0, 1) * 255
    return np.dstack((flow_to_color(inside, 1.0), np.rint(opacity).astype(np.uint8)))


def _longest(flow: Flow) -> float:
    magnitude = np.hypot(flow[..., 0], flow[..., 1])
    return float(magnitude.max(where=np.isfinite(magnitude), initial=0))
