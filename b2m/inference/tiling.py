"""Full-size frames of a photo that is larger than its working resolution.

The working resolution shows what moves, its direction and all long blur, but neither fine detail
nor short blur. So where something moves the photo is encoded again at its own size, tile by tile.
Each tile takes from the working resolution the signs of its motion, what is suppressed, and motion
that is too long for the network.

Tiles are encoded with a margin, on one grid of the network's coarsest level, so that they meet
without seams; one is in memory at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from b2m.blur import frame_to_linear, linear_to_srgb8, srgb8_to_linear
from b2m.inference.conditioning import attenuate
from b2m.inference.multiscale import blend, coarse_weight, upsample
from b2m.inference.projection import DARK, LinearImage, projection
from b2m.media.image import Pixels
from b2m.models.animator import STRIDE, Encoding, odd_residual, render
from b2m.motion.fields import half_angle
from b2m.tensors import to_photo

_TILE = 48 * STRIDE
_MARGIN = 6 * STRIDE  # pixels of margin, for the network's context
_MAX_REACH = 32 * STRIDE  # pixels from which moving content may enter a tile
_STILL, _MOVING_THRESHOLD = 0.1, 0.3  # pixels at working size between which motion fades in


@dataclass(frozen=True)
class LargePhoto:
    """A photo, its encoding at working size, and the network to encode tiles with.

    Attributes:
        photo: (H, W, 3) uint8 sRGB.
        working: (h, w, 3) uint8 sRGB, smaller.
        encoding: of the working photo, with suppressed motion taken out.
        flow: (1, 2, h, w) pixels at working size, oriented; zero where motion is suppressed.
        encode_detail: encodes a tile (1, 3, y, x) in [0, 1] at its own size, with guidance or None.
        guidance: (1, 2, h, w) guidance with which the working photo was encoded, at working size.
    """

    photo: Pixels
    working: Pixels
    encoding: Encoding
    flow: Tensor
    encode_detail: Callable[[Tensor, Tensor | None], Encoding]
    guidance: Tensor | None = None

    def fill(
        self, frames: NDArray[np.uint8], times: Sequence[float], exposure: Sequence[float]
    ) -> None:
        """Write frames.

        Args:
            frames: (N, H, W, 3) uint8 sRGB, written to.
            times: of the N frames, from -1 to 1 over the exposure.
            exposure: the times at which frames average to the photo.
        """
        with torch.inference_mode():
            tiles = list(_tiles(*self.photo.shape[:2]))
            for rows, columns in tqdm(tiles, "full size", unit="tile", leave=False, delay=2):
                self._fill_tile(frames, times, exposure, rows, columns)

    def _fill_tile(
        self,
        frames: NDArray[np.uint8],
        times: Sequence[float],
        exposure: Sequence[float],
        rows: slice,
        columns: slice,
    ) -> None:
        photo = self.photo[rows, columns]
        scale = self.photo.shape[1] / self.working.shape[1]
        lengths = [
            self._upsampled_part(maps, rows, columns).norm(dim=1).max().item()
            for maps in (self.flow, self.encoding.curve)
        ]
        if lengths[0] <= _STILL:
            frames[:, rows, columns] = photo
            return
        reach = min(scale * (lengths[0] / 2 + lengths[1]) + 2, _MAX_REACH)
        height, width = self.photo.shape[:2]
        seen = _with_margin(rows, reach, height), _with_margin(columns, reach, width)
        encoding, flow = self._encode(*seen)
        core = (
            slice(rows.start - seen[0].start, rows.stop - seen[0].start),
            slice(columns.start - seen[1].start, columns.stop - seen[1].start),
        )
        odd = odd_residual(encoding, flow)

        def frame(time: float) -> LinearImage:
            return frame_to_linear(render(encoding, flow, time, odd)[..., core[0], core[1]])

        made = {time: frame(time) for time in {*times, *exposure}}
        light = srgb8_to_linear(photo)
        mean = np.zeros_like(light)
        for time in exposure:
            mean += made[time]
        mean /= len(exposure)
        length = flow[..., core[0], core[1]].norm(dim=1)[0].cpu().numpy()
        project = projection(light, mean, length, exposure)
        for out, time in zip(frames, times, strict=True):
            change = project.change(made[time], time)
            out[rows, columns] = linear_to_srgb8(light + (light + DARK) * change)

    def _encode(self, rows: slice, columns: slice) -> tuple[Encoding, Tensor]:
        """Encoding and flow of a part of the photo, in pixels of its own."""
        scale = self.photo.shape[1] / self.working.shape[1]
        flow = self._upsampled_part(self.flow, rows, columns)  # (1, 2, y, x) pixels at working size
        photo, working = to_photo(self.photo[rows, columns]), to_photo(self.working)
        photo, working = photo.to(flow), working.to(flow)
        coarse = upsample(
            self.encoding,
            working,
            photo,
            scale,
            lambda maps: self._upsampled_part(maps, rows, columns),
        )
        length = flow.norm(dim=1, keepdim=True)
        moves = ((length - _STILL) / (_MOVING_THRESHOLD - _STILL)).clamp(0, 1)
        weight = coarse_weight(coarse.axis)
        if not ((weight < 1) & (moves > 0)).any():
            return coarse, scale * flow
        guidance = None
        if self.guidance is not None:
            # Nearest quadrant, as guidance has no values between two of them.
            guidance = self._upsampled_part(self.guidance, rows, columns)
            guidance = guidance.sign() * (guidance.abs() >= 0.5).all(1, keepdim=True)
        near = self.encode_detail(photo, guidance)
        # Motion that guidance has shortened at working size is shortened by the same factor.
        axis = self._upsampled_part(self.encoding.axis, rows, columns)
        share = moves * (length / axis.norm(dim=1, keepdim=True).clamp_min(1e-3)).clamp(max=1)
        own = half_angle(near.axis) * share
        near = attenuate(near, share)
        against = (own * flow).sum(1, keepdim=True) < 0
        signed = torch.where(against, -own, own)
        return blend(near, coarse, weight), torch.lerp(signed, scale * flow, weight)

    def _upsampled_part(self, maps: Tensor, rows: slice, columns: slice) -> Tensor:
        """The part of maps (1, C, h, w) at working size that belongs to a part of the photo."""
        for axis, part in ((2, rows), (3, columns)):
            maps = _upsampled(maps, axis, part, self.photo.shape[axis - 2])
        return maps


def _tiles(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            yield slice(top, min(top + _TILE, height)), slice(left, min(left + _TILE, width))


def _with_margin(part: slice, reach: float, side: int) -> slice:
    """A part with its surroundings, from a multiple of the network's stride on."""
    margin = STRIDE * math.ceil((reach + _MARGIN) / STRIDE)
    return slice(max(part.start - margin, 0), min(part.stop + margin, side))


def _upsampled(maps: Tensor, axis: int, part: slice, side: int) -> Tensor:
    """Part of maps stretched along an axis to a side, by linear interpolation."""
    count = maps.shape[axis]
    places = torch.arange(part.start, part.stop, device=maps.device, dtype=torch.float64)
    places = ((places + 0.5) * (count / side) - 0.5).clamp(0, count - 1)
    before = places.long()
    shape = [-1 if dimension == axis else 1 for dimension in range(4)]
    share = (places - before).to(maps.dtype).view(shape)
    after = (before + 1).clamp(max=count - 1)
    return torch.lerp(maps.index_select(axis, before), maps.index_select(axis, after), share)
