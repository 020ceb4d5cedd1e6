"""Sharpening along a known motion field: non-blind deconvolution with a straight line per pixel.

The use to which Argaw et al. 2021b put their flow ("Motion-blur removal"), after Gong et al. 2017,
section 3.2: each pixel of the photo is the mean of the sharp picture along a line, centred there,
which is the flow at that pixel,

    y(x) = 1/n sum over i of s(x + t_i f(x)),    t_i = (i + 1/2) / n - 1/2,

and half-quadratic splitting finds the sharp picture. They take a prior of learnt patches; ours is
the hyper-Laplacian one of Krishnan and Fergus 2009 on differences of neighbouring pixels, which
needs no weights:

    min over s, w of 1/2 |y - K s|^2 + 1/lambda (|w|^p + beta/2 |D s - w|^2),    p = 0.8,

with beta growing. Neither K nor its adjoint is ever stored: each is a sum of bilinear look-ups.

Ours: it works in linear light, where blur is a mean; clipped pixels do not count, since more light
fell there than they say; long blur is solved at half size first, from where fewer steps come
closer; where nothing moves the photo stays as it is; and so it does where the result has ripples,
which tell that the flow is wrong there: along the true motion edges become steeper but no more, and
the prior |D s|^p stays nearly what it was, along a wrong one it grows with every ripple.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from numbers import Real

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from b2m.blur import linear_to_srgb8, srgb8_to_linear
from b2m.errors import InputError
from b2m.media.image import ImageLike, Pixels, read_image
from b2m.motion.fields import Flow, magnitude
from b2m.tensors import to_array, to_tensor

EXPONENT = 0.8
"""p of the prior: natural pictures are between 0.5 and 0.8 (Krishnan and Fergus 2009)."""

_BETAS = tuple(2.0 ** (1.5 * step) for step in range(7))  # 1 … 512; theirs end at 256
_CONJUGATE_STEPS = 5
_SHORT = 6.0  # pixels; longer blur is begun at half size
_CLIPPED = 254  # and above
_STILL = (0.5, 1.5)  # pixels; up to the first the photo stays, from the second it is replaced
# Times the prior of the photo: up to the first the result is kept, from the second on the photo.
_RIPPLED = (1.5, 2.4)
_RIPPLED_CAUTIOUS = (1.0, 1.8)  # chosen on validation photos; see docs/experiments.md
_WINDOW = 15  # pixels over which the prior is compared
_SOFTNESS = 6.0  # pixels, of the border between what is kept and what is not
_TILE = 768  # pixels; what is solved at once is bounded, so that memory is


class LineBlur:
    """K of the equations above: each pixel becomes the mean along its line.

    Args:
        flow: (1, 2, H, W) pixels over the exposure, x right, y down. Lines that leave the picture
            see its border repeated.
    """

    def __init__(self, flow: Tensor) -> None:
        height, width = flow.shape[-2:]
        longest = float(flow.norm(dim=1).max())
        self.instants = 1 + 2 * max(0, math.ceil((longest - 1) / 2))  # odd, a pixel apart or less
        columns = torch.linspace(-1, 1, width, dtype=flow.dtype, device=flow.device)
        rows = torch.linspace(-1, 1, height, dtype=flow.dtype, device=flow.device)
        self._start = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)[None]
        unit = flow.new_tensor([2 / max(width - 1, 1), 2 / max(height - 1, 1)])
        self._step = flow.permute(0, 2, 3, 1) * unit

    def _look_ups(self) -> Iterator[Tensor]:
        for index in range(self.instants):
            time = (index + 0.5) / self.instants - 0.5
            yield torch.add(self._start, self._step, alpha=time)

    def __call__(self, sharp: Tensor) -> Tensor:
        """(1, C, H, W) linear light to the same shape, blurred."""
        total = torch.zeros_like(sharp)
        for grid in self._look_ups():
            total += F.grid_sample(sharp, grid, padding_mode="border", align_corners=True)
        return total / self.instants

    def adjoint(self, blurred: Tensor) -> Tensor:
        """The transpose: <K s, y> = <s, K' y> for all s and y."""
        total = torch.zeros_like(blurred)
        for grid in self._look_ups():
            # Only the shape of the second argument matters; 0, 1 stand for bilinear and border.
            total += torch.ops.aten.grid_sampler_2d_backward(
                blurred, blurred, grid, 0, 1, True, (True, False)
            )[0]
        return total / self.instants


def differences(picture: Tensor) -> Tensor:
    """D: differences to the right and lower neighbours, (2, 1, C, H, W); zero at the far border."""
    across = F.pad(picture[..., 1:] - picture[..., :-1], (0, 1))
    down = F.pad(picture[..., 1:, :] - picture[..., :-1, :], (0, 0, 0, 1))
    return torch.stack([across, down])


def differences_adjoint(pair: Tensor) -> Tensor:
    """The transpose of `differences`, (2, 1, C, H, W) to (1, C, H, W)."""
    across, down = pair[0, ..., :-1], pair[1, ..., :-1, :]
    total = F.pad(across, (1, 0)) - F.pad(across, (0, 1))
    return total + F.pad(down, (0, 0, 1, 0)) - F.pad(down, (0, 0, 0, 1))


def shrink(values: Tensor, beta: float, exponent: float = EXPONENT) -> Tensor:
    """The w that minimises |w|^p + beta/2 (w - v)^2 at each value v, by Newton's method.

    Args:
        values: any shape.
        beta: how closely w follows v.
        exponent: p, above 0 and at most 1, which is total variation.
    """
    size = values.abs()
    found = size
    for _ in range(5):
        safe = found.clamp_min(1e-6)
        slope = exponent * safe ** (exponent - 1) + beta * (safe - size)
        bend = exponent * (exponent - 1) * safe ** (exponent - 2) + beta
        # Below the turning point there is no minimum but zero, which is checked next.
        found = torch.where(bend > 0, safe - slope / bend, 0.0).clamp(min=0.0)
        found = torch.minimum(found, size)
    better = found**exponent + beta / 2 * (found - size).square() < beta / 2 * size.square()
    return values.sign() * torch.where(better, found, 0.0)


def deconvolve(photo: Tensor, flow: Tensor, noise: float = 0.01) -> Tensor:
    """The sharp picture in linear light.

    Args:
        photo: (1, 3, H, W) linear light; values from 1 on count as clipped.
        flow: (1, 2, H, W) pixels over the exposure.
        noise: standard deviation of the photo's noise; more gives a smoother picture.

    Returns:
        (1, 3, H, W) linear light, not clipped.
    """
    if float(flow.norm(dim=1).max()) <= _SHORT or min(photo.shape[-2:]) < 2:
        return _split(photo, flow, noise, photo, _BETAS)
    small = F.avg_pool2d(photo, 2)
    clipped = F.max_pool2d((photo >= 1).to(photo.dtype), 2) > 0
    small = torch.where(clipped, 1.0, small)
    gained = deconvolve(small, F.avg_pool2d(flow, 2) / 2, noise) - small
    start = photo + F.interpolate(gained, size=photo.shape[-2:], mode="bilinear")
    return _split(photo, flow, noise, start, _BETAS[::2])


def _split(
    photo: Tensor, flow: Tensor, noise: float, start: Tensor, betas: tuple[float, ...]
) -> Tensor:
    """Half-quadratic splitting from a first picture; shapes as in `deconvolve`."""
    blur = LineBlur(flow)
    counts = (photo < 1).to(photo.dtype)

    def data(x: Tensor) -> Tensor:
        return blur.adjoint(counts * blur(x))

    def prior(x: Tensor) -> Tensor:
        return differences_adjoint(differences(x))

    target = blur.adjoint(counts * photo)
    sharp = start
    seen = data(sharp)  # which is kept up to date, as it takes most of the time
    for beta in betas:
        # lambda = 2000 at one per cent of noise (Krishnan and Fergus 2009, their code).
        weight = beta * noise**2 / 0.2
        pull = weight * differences_adjoint(shrink(differences(sharp), beta))
        residual = target + pull - seen - weight * prior(sharp)
        direction, length = residual, residual.square().sum()
        for _ in range(_CONJUGATE_STEPS):
            if not length > 0:
                break
            of_data = data(direction)
            across = of_data + weight * prior(direction)
            step = length / (direction * across).sum()
            sharp = sharp + step * direction
            seen = seen + step * of_data
            residual = residual - step * across
            before, length = length, residual.square().sum()
            direction = residual + length / before * direction
    return sharp


@torch.inference_mode()
def deblur_with_flow(
    image: ImageLike,
    flow: Flow,
    *,
    cautious: bool = False,
    noise: float = 0.01,
    device: str | torch.device = "cpu",
) -> Pixels:
    """Sharpen a photo along a motion field that is known, or was estimated.

    Args:
        image: as `b2m.media.read_image` takes it.
        flow: (H, W, 2) pixels over the exposure on the photo's grid, x right, y down; its sign
            does not matter.
        cautious: for a flow that may be wrong in many places, as BlurFlowNet's
            (`HubModel.uncertain_flow`): fewer ripples are enough for the photo to stay. Along a
            good flow that loses detail.
        noise: standard deviation of the photo's noise in linear light, above 0. More of it gives
            fewer ripples where the flow is not exact, and less detail. Where ripples outweigh
            detail, the photo stays as it is.
        device: where it is computed.

    Returns:
        (H, W, 3) uint8 sRGB.

    Raises:
        InputError: no image, noise that is not between 0 and 1, or a flow that is no array, of
            another size, with unknown vectors or with some longer than the photo's diagonal.
    """
    pixels = read_image(image).pixels
    if isinstance(noise, bool) or not isinstance(noise, Real) or not 0 < noise < 1:
        raise InputError(
            f"noise={noise!r} is not possible: give a number above 0 and below 1, "
            "as 0.01 for one per cent"
        )
    longest = _longest(flow, *pixels.shape[:2])
    height, width = pixels.shape[:2]
    # The margin is wide enough that what lies beyond has no influence.
    margin = 32 + 2 * math.ceil(longest)
    bounds = _RIPPLED_CAUTIOUS if cautious else _RIPPLED
    result = np.empty_like(pixels)
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            inside = slice(top, top + _TILE), slice(left, left + _TILE)
            seen = (
                slice(max(0, top - margin), top + _TILE + margin),
                slice(max(0, left - margin), left + _TILE + margin),
            )
            tile = _deblur_tile(
                pixels[seen], flow[seen], float(noise), bounds, torch.device(device)
            )
            rows, columns = top - seen[0].start, left - seen[1].start
            result[inside] = tile[rows : rows + _TILE, columns : columns + _TILE]
    return result


def _longest(flow: object, height: int, width: int) -> float:
    """Length in pixels of the longest vector of what should be a flow for a photo of that size."""
    if not isinstance(flow, np.ndarray) or flow.dtype.kind not in "fiu":
        kind = f"array of {flow.dtype}" if isinstance(flow, np.ndarray) else type(flow).__name__
        raise InputError(
            f"the flow is of type {kind}, not a NumPy array of numbers: "
            f"give one of shape ({height}, {width}, 2)"
        )
    if flow.shape != (height, width, 2):
        raise InputError(
            f"a flow of shape {flow.shape} does not go with a photo of {width}x{height}: "
            f"give one of shape ({height}, {width}, 2)"
        )
    if not np.isfinite(flow).all():
        raise InputError("the flow has unknown vectors (NaN): set them to zero to leave them as is")
    longest, diagonal = float(magnitude(flow).max()), math.hypot(height, width)
    # Such blur leaves nothing to recover, and the cost grows with its length.
    if longest > diagonal:
        raise InputError(
            f"the flow's longest vector has {longest:.4g} pixels, more than the photo's diagonal "
            f"of {diagonal:.0f}: give pixels of this photo over the exposure, zero where unknown"
        )
    return longest


def _deblur_tile(
    pixels: Pixels, flow: Flow, noise: float, bounds: tuple[float, float], device: torch.device
) -> Pixels:
    length = magnitude(flow).astype(np.float32)
    if length.max() <= _STILL[0]:
        return pixels
    light = srgb8_to_linear(pixels)
    photo = to_tensor(np.where(pixels >= _CLIPPED, np.float32(1), light), device)
    found = to_array(deconvolve(photo, to_tensor(flow, device), noise))
    share = np.clip((length - _STILL[0]) / (_STILL[1] - _STILL[0]), 0, 1)
    share = (share * _unrippled(pixels, linear_to_srgb8(found), bounds))[..., None]
    result = linear_to_srgb8(light + share * (found - light))
    return np.where(share > 0, result, pixels)


def _unrippled(photo: Pixels, sharp: Pixels, bounds: tuple[float, float]) -> NDArray[np.float32]:
    """(H, W) from 1, where the sharpened picture has hardly more of the prior, to 0: ripples."""
    before, after = (
        cv2.blur(_prior(pixels), (_WINDOW, _WINDOW), borderType=cv2.BORDER_REFLECT)
        for pixels in (photo, sharp)
    )
    ratio = after / np.maximum(before, 1e-4)
    share = np.clip((bounds[1] - ratio) / (bounds[1] - bounds[0]), 0, 1)
    return np.asarray(cv2.GaussianBlur(share, (0, 0), _SOFTNESS), np.float32)


def _prior(pixels: Pixels) -> NDArray[np.float32]:
    """(H, W): |D s|^p of an sRGB picture, the mean of its channels."""
    picture = pixels.astype(np.float32) / 255
    across = np.abs(np.diff(picture, axis=1, append=picture[:, -1:])) ** EXPONENT
    down = np.abs(np.diff(picture, axis=0, append=picture[-1:])) ** EXPONENT
    return np.asarray((across + down).mean(axis=2), np.float32)
