"""Motion fields in files: Middlebury .flo, Freiburg .pfm and KITTI .png."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from b2m.errors import InputError
from b2m.files import atomic_path, check_file
from b2m.media.image import row_strips
from b2m.motion.fields import Flow

_FLO_MAGIC = b"PIEH"  # 202021.25 as a little-endian float
_FLO_UNKNOWN = 1e9
_MAX_SIDE = 100_000


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
    data = check_file(Path(path), "flow file").read_bytes()
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
    data = check_file(Path(path), "flow file").read_bytes()
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
    data = np.frombuffer(check_file(Path(path), "flow file").read_bytes(), np.uint8)
    raw = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
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
