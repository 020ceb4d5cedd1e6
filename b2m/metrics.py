"""Metrics of images, clips and flows, invariant to the sign of the motion where that is open.

A blurred photo does not tell a motion from its reverse, so a clip made without guidance is judged
in the better of its two orders, one choice for the whole clip (see `b2m.evaluate`), and a flow up
to its sign, one choice for the whole image. NumPy in, float out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from b2m.errors import InputError

Image = NDArray[np.uint8] | NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

_SSIM_SIGMA = 1.5
_SSIM_RADIUS = 5


def psnr(image: Image, truth: Image, mask: Mask | None = None) -> float:
    """Peak signal to noise ratio in dB between 8-bit sRGB images.

    Args:
        image: (H, W[, C]) uint8, or float in [0, 1], which is clipped and rounded to 8 bits.
        truth: of the same shape.
        mask: (H, W) bool, the pixels that count; all by default.

    Returns:
        dB; infinite where the images agree, NaN where the mask is empty.

    Raises:
        InputError: the shapes differ.
    """
    image, truth = _alike(image, truth)
    squared = np.square(image.astype(np.float32) - truth.astype(np.float32))
    error = _mean(squared, mask)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def ssim(image: Image, truth: Image, mask: Mask | None = None) -> float:
    """Structural similarity (Wang et al., IEEE TIP 2004), the mean over channels.

    Gaussian window of 11 x 11, sigma 1.5, population covariances, K = 0.01 and 0.03; the 5 pixels
    along the border, where the window leaves the image, do not count.

    Args:
        image: (H, W[, C]), sides of 11 or more, uint8 or float as for :func:`psnr`.
        truth: of the same shape.
        mask: (H, W) bool, the windows that count, by their centres.

    Returns:
        At most 1, NaN where the mask is empty.

    Raises:
        InputError: the shapes differ or are too small.
    """
    image, truth = _alike(image, truth)
    if min(image.shape[:2]) <= 2 * _SSIM_RADIUS:
        raise InputError(
            f"SSIM needs images of {2 * _SSIM_RADIUS + 1}x{2 * _SSIM_RADIUS + 1} or more, not "
            f"{image.shape[1]}x{image.shape[0]}"
        )
    # Variances are differences of large numbers: float64.
    a, b = image.astype(np.float64), truth.astype(np.float64)
    mean_a, mean_b = _blurred(a), _blurred(b)
    variance_a = _blurred(a * a) - mean_a * mean_a
    variance_b = _blurred(b * b) - mean_b * mean_b
    covariance = _blurred(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    )
    inner = (slice(_SSIM_RADIUS, -_SSIM_RADIUS),) * 2
    return _mean(similarity[inner], None if mask is None else mask[inner])


def shift_tolerant_psnr(
    image: Image, truth: Image, mask: Mask | None = None, *, block: int = 24, reach: int = 4
) -> float:
    """PSNR in dB where each block of the image may slide to where it fits best.

    Sharp edges a pixel or two off cost more PSNR than blur; here they cost nothing.

    Args:
        image: (H, W, 3), uint8 or float as for :func:`psnr`.
        truth: of the same shape.
        mask: (H, W) bool, the pixels that count; blocks without any are left out.
        block: side of the blocks, pixels; those at the right and lower border may be smaller.
        reach: pixels by which a block may slide to each side; the border is repeated.

    Returns:
        Infinity where nothing differs, NaN where the mask is empty.

    Raises:
        InputError: the shapes differ.
    """
    image, truth = _alike(image, truth)
    height, width = truth.shape[:2]
    counts = np.ones((height, width)) if mask is None else np.asarray(mask, np.float64)
    rows, columns = np.arange(0, height, block), np.arange(0, width, block)

    def per_block(plane: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.add.reduceat(np.add.reduceat(plane, rows, axis=0), columns, axis=1)

    padded = np.pad(image.astype(np.float64), ((reach, reach), (reach, reach), (0, 0)), "edge")
    best = np.full((len(rows), len(columns)), np.inf)
    for down, right in np.ndindex(2 * reach + 1, 2 * reach + 1):
        slid = padded[down : down + height, right : right + width]
        best = np.minimum(best, per_block(np.square(slid - truth).mean(axis=2) * counts))
    total = counts.sum()
    if not total:
        return math.nan
    error = float(best.sum() / total)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def sharpness(image: Image, truth: Image, mask: Mask | None = None) -> float:
    """Gradient energy of an image over that of the truth: 1 is as sharp, less is softer.

    Args:
        image: (H, W, 3), uint8 or float as for :func:`psnr`.
        truth: of the same shape.
        mask: (H, W) bool, the pixels that count.

    Returns:
        Square root of the ratio of mean squared gradients; NaN where the truth has none.

    Raises:
        InputError: the shapes differ.
    """
    energies = []
    for each in _alike(image, truth):
        steps = np.gradient(each.astype(np.float64), axis=(0, 1))
        energies.append(_mean(sum(np.square(step) for step in steps), mask))
    return math.sqrt(energies[0] / energies[1]) if energies[1] else math.nan


def load_lpips() -> Callable[[Image, Image], float] | None:
    """Shift-tolerant LPIPS (Ghildyal and Liu, ECCV 2022) between two images; lower is more alike.

    Its weights come with the optional package `stlpips-pytorch` (the extra `lpips`), whose backbone
    is for non-commercial use: for evaluation only.

    Returns:
        A function of two 8-bit sRGB images, or None where the package is not installed.
    """
    try:
        from stlpips_pytorch import stlpips
    except ImportError:
        return None
    import contextlib
    import io

    import torch

    with contextlib.redirect_stdout(io.StringIO()):  # it tells what it loads
        network = stlpips.LPIPS(net="alex", variant="shift_tolerant")

    def distance(image: Image, truth: Image) -> float:
        pair = [torch.tensor(_to_8_bit(one)).permute(2, 0, 1)[None] for one in (image, truth)]
        with torch.inference_mode():
            return float(network(*(one.float() / 127.5 - 1 for one in pair)))

    return distance


def epe(
    flow: NDArray[np.floating[Any]], truth: NDArray[np.floating[Any]], mask: Mask | None = None
) -> float:
    """End-point error: the mean distance in pixels between two flows on the same grid.

    Args:
        flow: (H, W, 2).
        truth: (H, W, 2); pixels that are NaN here do not count.
        mask: (H, W) bool, the pixels that count; all by default.

    Returns:
        Pixels, NaN where nothing counts.

    Raises:
        InputError: the shapes differ.
    """
    if flow.shape != truth.shape or flow.ndim != 3 or flow.shape[2] != 2:
        raise InputError(f"EPE needs two (H, W, 2) flows, not {flow.shape} and {truth.shape}")
    distance = np.hypot(flow[..., 0] - truth[..., 0], flow[..., 1] - truth[..., 1])
    known = np.isfinite(truth[..., 0]) & np.isfinite(truth[..., 1])
    return _mean(distance, known if mask is None else known & mask)


def flow_epe_either_sign(
    flow: NDArray[np.floating[Any]], truth: NDArray[np.floating[Any]], mask: Mask | None = None
) -> float:
    """The smaller :func:`epe` of ``flow`` and its negative, one choice for the whole image."""
    return min(epe(flow, truth, mask), epe(-flow, truth, mask))


def overlap(found: Mask, truth: Mask) -> dict[str, float]:
    """Intersection over union ("iou"), "precision" and "recall" of a mask.

    Nothing found has a precision of 0.

    Args:
        found, truth: (H, W) bool; the truth is not empty.
    """
    both = float((found & truth).sum())
    return {
        "iou": both / float((found | truth).sum()),
        "precision": both / max(1.0, found.sum()),
        "recall": both / truth.sum(),
    }


def _alike(image: Image, truth: Image) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    if image.shape != truth.shape or image.ndim not in (2, 3):
        raise InputError(
            f"images of one shape, (H, W) or (H, W, C), are compared, not {image.shape} and "
            f"{truth.shape}"
        )
    return _to_8_bit(image), _to_8_bit(truth)


def _to_8_bit(image: Image) -> NDArray[np.uint8]:
    if image.dtype == np.uint8:
        return image  # type: ignore[return-value]
    if not np.issubdtype(image.dtype, np.floating):
        raise InputError(f"images are uint8 or float in [0, 1], not {image.dtype}")
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _blurred(plane: NDArray[np.float64]) -> Any:
    size = 2 * _SSIM_RADIUS + 1
    return cv2.GaussianBlur(plane, (size, size), _SSIM_SIGMA)


def _mean(values: NDArray[np.floating[Any]], mask: Mask | None) -> float:
    """Mean over the masked pixels (and all channels); NaN of none."""
    if mask is not None:
        if mask.shape != values.shape[:2] or mask.dtype != np.bool_:
            raise InputError(
                f"a mask is (H, W) bool of the images' size, not {mask.shape} {mask.dtype}"
            )
        values = values[mask]
    return float(values.mean(dtype=np.float64)) if values.size else math.nan
