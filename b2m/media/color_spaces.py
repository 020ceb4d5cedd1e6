"""From the colour spaces that files name by number (ITU-T H.273) or by an ICC profile to sRGB."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Matrix = NDArray[np.floating[Any]]
Curve = NDArray[np.float32]
"""(256,) or (65536,): light for each value of a channel, 1 for white."""

REFERENCE_WHITE = 203.0
"""Candela per square metre of white in HDR pictures (ITU-R BT.2408); it becomes white of sRGB."""

HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
"""Transfer characteristics of H.273 that reach beyond white."""

_D65 = (0.3127, 0.3290)
_PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
ADOBE_RGB = ((0.640, 0.330), (0.210, 0.710), (0.150, 0.060))
"""Chromaticities of Adobe RGB (1998); its gamma is 563/256."""
ADOBE_GAMMA = 563 / 256

_KNEE = 0.8  # of white: HDR above it is squeezed into what is left
_STRIP_PIXELS = 1 << 20
_PCS_WHITE = np.array([0.9642, 1.0, 0.8249])  # D50, of ICC profiles


# --- matrices -------------------------------------------------------------------------------------


def rgb_to_xyz(
    primaries: tuple[tuple[float, float], ...], white: tuple[float, float] = _D65
) -> Matrix:
    """(3, 3): linear RGB of given chromaticities to XYZ, in which white has Y = 1."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    x, y = white
    return columns * np.linalg.solve(columns, np.array([x / y, 1, (1 - x - y) / y]))


_SRGB_TO_XYZ = rgb_to_xyz(_PRIMARIES[1])
GAMUTS = {
    code: np.linalg.solve(_SRGB_TO_XYZ, rgb_to_xyz(primaries))
    for code, primaries in _PRIMARIES.items()
    if code != 1
}
"""Colour primaries of H.273 that are wider than those of sRGB: (3, 3) to linear sRGB."""


def gamut_matrix(
    primaries: tuple[tuple[float, float], ...], white: tuple[float, float] = _D65
) -> Matrix:
    """(3, 3): linear RGB of given chromaticities to linear sRGB, white to white (Bradford)."""
    x, y = white
    xyz = np.array([x / y, 1, (1 - x - y) / y])
    adapted = adaptation(xyz, _SRGB_TO_XYZ.sum(1)) @ rgb_to_xyz(primaries, white)
    return np.linalg.solve(_SRGB_TO_XYZ, adapted)


_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def adaptation(white: Matrix, wanted: Matrix) -> Matrix:
    """(3, 3): XYZ under one white to XYZ under another, by Bradford's cone responses."""
    gains = np.diag((_BRADFORD @ wanted) / (_BRADFORD @ white))
    return np.linalg.solve(_BRADFORD, gains @ _BRADFORD)


# --- curves ---------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _encoded() -> Pixels:
    """(65536,) uint8: sRGB of light, in steps of 1/65535."""
    light = np.arange(65536) / 65535
    value = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * value).astype(np.uint8)


def _steps(levels: int) -> Matrix:
    return np.arange(levels) / (levels - 1)


@lru_cache(maxsize=8)
def eotf_table(code: int, levels: int) -> Curve | None:
    """Light for each value by a transfer characteristic of H.273; None for those of sRGB's kind.

    BT.709 and its kin are shown as sRGB is, as browsers and players do. PQ comes in units of
    `REFERENCE_WHITE`; HLG is the light of the scene, see `convert`.
    """
    value = _steps(levels)
    if code == 4:
        light = value**2.2
    elif code == 5:
        light = value**2.8
    elif code == 8:
        light = value
    elif code == 16:
        power = value ** (1 / 78.84375)
        ratio = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
        light = 10000 / REFERENCE_WHITE * ratio ** (1 / 0.1593017578125)
    elif code == 17:
        light = 52.37 / 48 * value**2.6
    elif code == 18:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(value <= 0.5, value**2 / 3, (np.exp((value - c) / a) + b) / 12)
    else:
        return None
    return light.astype(np.float32)


def gamma_table(gamma: float, levels: int) -> Curve:
    """Light for each value of a power law."""
    return (_steps(levels) ** gamma).astype(np.float32)


def srgb_eotf_table(levels: int) -> Curve:
    """Light for each value of sRGB."""
    value = _steps(levels)
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


# --- pictures -------------------------------------------------------------------------------------


def convert(
    pixels: NDArray[Any], curves: tuple[Curve, ...], matrix: Matrix, mode: str = ""
) -> Pixels:
    """A picture of another colour space as sRGB.

    Args:
        pixels: (H, W, 3) or (H, W, 1), uint8 or uint16.
        curves: of each channel, or one for all, as long as there are values.
        matrix: (3, 3), linear colours to linear sRGB.
        mode: "PQ" and "HLG" squeeze what is brighter than white; "" cuts it off.

    Returns:
        (H, W, 3) uint8.
    """
    height, width = pixels.shape[:2]
    result = np.empty((height, width, 3), np.uint8)
    encoded, mixed = _encoded(), matrix.T.astype(np.float32)
    for rows in row_strips(height, width):
        strip = pixels[rows]
        if strip.shape[2] == 1:
            light = np.repeat(curves[0][strip], 3, axis=2)
        else:
            channels = [curves[i % len(curves)][strip[..., i]] for i in range(3)]
            light = np.stack(channels, axis=-1)
            if mode == "HLG":
                luma = light @ np.array([0.2627, 0.6780, 0.0593], np.float32)
                light *= (1000 / REFERENCE_WHITE) * luma[..., None] ** np.float32(0.2)
            light = light @ mixed
        if mode:
            light = _squeezed(np.maximum(light, 0))
        index = np.clip(light, 0, 1) * np.float32(65535) + np.float32(0.5)
        result[rows] = encoded[index.astype(np.uint16)]
    return result


def _squeezed(light: Curve) -> Curve:
    """Light of any brightness to at most white: as it is up to `_KNEE`; hues are kept."""
    most = light.max(axis=-1, keepdims=True)
    above = np.maximum(most - _KNEE, 0) / (1 - _KNEE)
    squeezed = np.minimum(most, _KNEE) + (1 - _KNEE) * (1 - np.exp(-above))
    return light * (squeezed / np.maximum(most, 1e-6))


def row_strips(height: int, width: int) -> Iterator[slice]:
    """Row ranges of about a million pixels, so that no temporary is as large as the image."""
    rows = max(1, _STRIP_PIXELS // max(width, 1))
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


def cicp_to_srgb(pixels: NDArray[Any], primaries: int, transfer: int) -> tuple[Pixels | None, str]:
    """A picture by the code points of H.273, as videos, AVIF and PNG (cICP) name them.

    Of HDR, what is not brighter than four fifths of `REFERENCE_WHITE` keeps its colour; what is
    brighter is squeezed into the rest.

    Args:
        pixels: (H, W, 3) uint8 or uint16.
        primaries: of colours.
        transfer: characteristic.

    Returns:
        (H, W, 3) uint8 sRGB, None where it is that already; and "PQ", "HLG" or "".
    """
    levels = np.iinfo(pixels.dtype).max + 1
    curve = eotf_table(transfer, levels)
    if primaries not in GAMUTS and curve is None:
        return None, ""
    curve = srgb_eotf_table(levels) if curve is None else curve
    mode = HDR_TRANSFERS.get(transfer, "")
    return convert(pixels, (curve,), GAMUTS.get(primaries, np.eye(3)), mode), mode


# --- ICC profiles ---------------------------------------------------------------------------------


def read_profile(data: bytes) -> tuple[tuple[Any, ...], Matrix | None] | None:
    """The curves and the matrix of an ICC profile; None where it has tables, or is broken.

    Returns:
        What `curve_table` takes, of each channel; and (3, 3) to linear sRGB, None for grey.
    """
    try:
        tags = _tags(data)
        if data[16:20] == b"GRAY":
            return (_curve(tags[b"kTRC"]),), None
        if data[16:20] != b"RGB " or b"A2B0" in tags or data[20:24] != b"XYZ ":
            return None
        curves = tuple(_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC"))
        columns = [_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    except (KeyError, ValueError, IndexError, struct.error):
        return None
    to_d65 = adaptation(_PCS_WHITE, _SRGB_TO_XYZ.sum(1))
    matrix = np.linalg.solve(_SRGB_TO_XYZ, to_d65 @ np.array(columns).T)
    return (curves, matrix) if np.isfinite(matrix).all() else None


def _tags(data: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", data, 128)
    if data[36:40] != b"acsp" or count > 200:
        raise ValueError
    tags = {}
    for number in range(count):
        name, start, length = struct.unpack_from(">4sII", data, 132 + 12 * number)
        tags[name] = data[start : start + length]
    return tags


def _fixed(data: bytes, start: int, count: int) -> list[float]:
    return [value / 65536 for value in struct.unpack_from(f">{count}i", data, start)]


def _xyz(tag: bytes) -> list[float]:
    if tag[:4] != b"XYZ ":
        raise ValueError
    return _fixed(tag, 8, 3)


def _curve(tag: bytes) -> Any:
    """An array that is sampled evenly, or the kind and parameters of a function."""
    if tag[:4] == b"para":
        (kind,) = struct.unpack_from(">H", tag, 8)
        return (kind, *_fixed(tag, 12, (1, 3, 4, 5, 7)[kind]))
    if tag[:4] != b"curv":
        raise ValueError
    (count,) = struct.unpack_from(">I", tag, 8)
    if count == 0:
        return (0, 1.0)
    if count == 1:
        return (0, struct.unpack_from(">H", tag, 12)[0] / 256)
    return np.frombuffer(tag, ">u2", count, 12) / 65535


def curve_table(curve: Any, levels: int) -> Curve:
    """Light for each value by a curve of `read_profile`."""
    value = _steps(levels)
    if isinstance(curve, np.ndarray):
        return np.interp(value, _steps(len(curve)), curve).astype(np.float32)
    kind, g, *rest = curve
    a, b, c, d, e, f = (*rest, *[0.0] * (6 - len(rest))) if rest else (1.0, 0, 0, 0, 0, 0)
    if kind in (1, 2):  # (a x + b)^g + c from -b/a on, c below; of kind 1, c is 0
        lifted, line, knee, shift = c, 0.0, -b / a if a else 0.0, c
    else:  # (a x + b)^g + e from d on, c x + f below
        lifted, line, knee, shift = f, c, d, e
    with np.errstate(invalid="ignore", over="ignore"):
        power = np.maximum(a * value + b, 0) ** g + shift
    light = power if kind == 0 else np.where(value >= knee, power, line * value + lifted)
    return np.clip(np.nan_to_num(light), 0, 1).astype(np.float32)
