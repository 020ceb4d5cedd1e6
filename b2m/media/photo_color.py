"""Conversion of a photo's colours to 8-bit sRGB, by its profile, tags or code points."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from b2m.media import color_spaces
from b2m.media.color_spaces import ADOBE_GAMMA, ADOBE_RGB, HDR_TRANSFERS

Pixels = NDArray[np.uint8]
_SRGB_GAMMA = 0.45455  # as PNG files name that of sRGB
_SRGB_CHROMATICITIES = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)


def is_adobe_rgb(exif: Image.Exif) -> bool:
    """Whether EXIF declares Adobe RGB, as cameras do that embed no profile."""
    detail = exif.get_ifd(0x8769)
    if detail.get(0xA001) == 2:
        return True
    return 0xA005 in detail and str(exif.get_ifd(0xA005).get(1)).strip("\0 ") == "R03"


def to_srgb(
    channels: NDArray[Any],
    opened: Image.Image,
    name: str,
    notes: list[str],
    *,
    points: tuple[int, int] | None = None,
    adobe: bool = False,
) -> Pixels:
    """The colours of a photo as sRGB.

    By its ICC profile, by the numbers in it and not by its name; else by the code points of AVIF
    and PNG, by the gamma and chromaticities of PNG, or by EXIF.

    Args:
        channels: (H, W, 1 | 3) uint8 or uint16; (H, W, 4) uint8 CMYK.
        opened: the photo as Pillow knows it.
        name: for sentences.
        notes: list that warnings are appended to.
        points: see `photo_files.read_cicp`.
        adobe: whether EXIF tells of Adobe RGB.

    Returns:
        (H, W, 3) uint8, not a copy where nothing is to be done.
    """
    profile = opened.info.get("icc_profile")
    if points is not None and points[1] in HDR_TRANSFERS:  # a profile cannot say that
        profile = None
    if profile:
        return _by_profile(channels, profile, name, notes)
    if channels.shape[2] == 4:
        return np.array(Image.fromarray(channels, "CMYK").convert("RGB"))
    levels = np.iinfo(channels.dtype).max + 1
    if points is not None:
        wide = channels if channels.shape[2] == 3 else np.repeat(channels, 3, axis=2)
        converted, hdr = color_spaces.cicp_to_srgb(wide, *points)
        if hdr:
            notes.append(
                f"{name} is an HDR photo ({hdr}): its brightness was mapped to the range of "
                "ordinary screens"
            )
        if converted is not None:
            return converted
    elif opened.format == "PNG" and "srgb" not in opened.info:
        curve, matrix = _of_png(opened.info, levels)
        if curve is not None:
            return color_spaces.convert(channels, (curve,), matrix)
    if adobe:
        curve = color_spaces.gamma_table(ADOBE_GAMMA, levels)
        return color_spaces.convert(channels, (curve,), color_spaces.gamut_matrix(ADOBE_RGB))
    return as_bytes(channels)


def as_bytes(channels: NDArray[Any]) -> Pixels:
    """(H, W, 1 | 3) uint8 or uint16 as (H, W, 3) uint8."""
    if channels.dtype == np.uint16:
        small = np.empty(channels.shape, np.uint8)
        for row, values in enumerate(channels):
            small[row] = (values.astype(np.uint32) + 128) // 257
        channels = small
    return channels if channels.shape[2] == 3 else np.repeat(channels, 3, axis=2)


def _of_png(info: dict[Any, Any], levels: int) -> tuple[Any, Any]:
    """Curve and matrix by the chunks gAMA and cHRM of a PNG; None for those of sRGB."""
    gamma, points = info.get("gamma"), info.get("chromaticity")
    usual = gamma is None or not 0.1 <= gamma <= 2 or abs(gamma - _SRGB_GAMMA) < 0.01
    matrix: color_spaces.Matrix = np.eye(3)
    if gamma is not None and points is not None and len(points) == 8:
        differ = np.abs(np.subtract(points, _SRGB_CHROMATICITIES)).max() > 0.005
        if differ and min(points) > 0.005:
            white, *primaries = zip(points[::2], points[1::2], strict=True)
            try:
                matrix = color_spaces.gamut_matrix(tuple(primaries), white)
            except np.linalg.LinAlgError:
                matrix = np.eye(3)
    if usual and np.array_equal(matrix, np.eye(3)):
        return None, None
    if usual or gamma is None:
        return color_spaces.srgb_eotf_table(levels), matrix
    return color_spaces.gamma_table(1 / gamma, levels), matrix


# --- ICC profiles ---------------------------------------------------------------------------------


def _by_profile(channels: NDArray[Any], profile: bytes, name: str, notes: list[str]) -> Pixels:
    count = channels.shape[2]
    if count != 4 and (conversion := _conversion(profile)) is not None:
        grey, convert = conversion
        if not grey:
            wide = channels if count == 3 else np.repeat(channels, 3, axis=2)
            return convert(wide) if convert is not None else as_bytes(wide)
        if count == 3 and not (channels == channels[..., :1]).all():
            return _without_profile(channels, name, notes)
        assert convert is not None
        return convert(channels[..., :1])
    try:
        return _by_tables(channels, profile)
    except MemoryError:
        raise
    except Exception:  # whatever littleCMS finds wrong with it
        return _without_profile(channels, name, notes)


def _without_profile(channels: NDArray[Any], name: str, notes: list[str]) -> Pixels:
    notes.append(f"the colour profile of {name} could not be applied: colours may be off")
    if channels.shape[2] == 4:
        return np.array(Image.fromarray(channels, "CMYK").convert("RGB"))
    return as_bytes(channels)


@lru_cache(maxsize=8)
def _conversion(data: bytes) -> tuple[bool, Callable[[NDArray[Any]], Pixels] | None] | None:
    """Whether a profile is one of grey, and what converts by it; None for profiles with tables.

    Nothing has to be done for a profile that is sRGB's by its numbers.
    """
    profile = color_spaces.read_profile(data)
    if profile is None:
        return None
    curves, matrix = profile
    grey = matrix is None
    to_linear = np.eye(3) if matrix is None else matrix

    def convert(channels: NDArray[Any]) -> Pixels:
        levels = np.iinfo(channels.dtype).max + 1
        tables = tuple(color_spaces.curve_table(curve, levels) for curve in curves)
        return color_spaces.convert(channels, tables, to_linear)

    steps = np.linspace(0, 255, 18).astype(np.uint8)
    colors = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 1, 3)
    if not grey and np.abs(convert(colors).astype(int) - colors).max() <= 1:
        return False, None
    return grey, convert


def _by_tables(channels: NDArray[Any], data: bytes) -> Pixels:
    """By littleCMS, which knows all profiles, and 8 bits."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(data))
    space = source.profile.xcolor_space.strip()
    mode, count = {"RGB": ("RGB", 3), "GRAY": ("L", 1), "CMYK": ("CMYK", 4)}[space]
    if channels.dtype == np.uint16:
        channels = as_bytes(channels)
    if channels.shape[2] == 1 and count == 3:
        channels = cv2.cvtColor(channels, cv2.COLOR_GRAY2RGB)
    if channels.shape[2] != count:
        raise ValueError(f"a profile of {space} on {channels.shape[2]} channels")
    image = Image.fromarray(channels if count > 1 else channels[..., 0], mode)
    target = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    return np.array(image.convert("RGB") if converted is None else converted)
