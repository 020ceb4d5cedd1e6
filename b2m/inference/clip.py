"""A clip: what happened while the shutter was open, rendered lazily.

Frames are rendered at working size and projected, so that they average to the photo (see
`b2m.inference.projection`). At any size

    frame(t) = photo + (photo + e) upsampled(change(t)),

in linear light, so that above the working size every frame also gets the detail of the full-size
photo. For frames of the photo's own size it is encoded again, see `b2m.inference.tiling`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from b2m import guidance as guidance_rules
from b2m.blur import linear_to_srgb8, reblur_psnr, srgb8_to_linear
from b2m.errors import ArgumentError, InputError
from b2m.guidance.quantize import Guidance
from b2m.inference import diagnostics
from b2m.inference.assessment import Assessment, assess
from b2m.inference.diagnostics import fastest
from b2m.inference.projection import DARK, LinearImage, Projection, projection
from b2m.inference.renderers import Renderer
from b2m.inference.tiling import LargePhoto
from b2m.media.image import Pixels, limit_side, row_strips
from b2m.metrics import psnr
from b2m.motion.fields import Flow, magnitude, resize_flow
from b2m.motion.regions import Labels, enlarge
from b2m.motion.segmentation import segment
from b2m.tensors import to_array

_KEPT_VALUES = 2**26  # frames held at working size, in values; above it they are rendered twice
_MAX_BYTES = 2**30  # of full-size frames rendered at once, where each tile is encoded again
_STILL_SHARE = 0.002  # of the pixels; with fewer moving ones the photo counts as still
_SHOWN_SIDE = 640  # pixels, of the video in a notebook
_SMOOTH = 31  # frames of a smooth clip, where any number is possible
_CLIP_SECONDS = 1.0  # how long a saved clip plays, unless a frame rate is given
_WRITERS = {".mp4": "write_mp4", ".gif": "write_gif", ".webp": "write_webp"}


class _Exposure(NamedTuple):
    """Projection of a clip at working size, and its frames in linear light if they are few."""

    projection: Projection
    kept: list[LinearImage]


class Clip:
    """What happened while the shutter was open. Frames are rendered lazily.

    Attributes:
        photo: (H, W, 3) uint8 sRGB.
        seed: of the motion.
        exposure_time: seconds, from the photo's EXIF, or None.
        count: frames in `frames`.
    """

    def __init__(
        self,
        renderer: Renderer,
        count: int,
        seed: int,
        guidance: Guidance | None = None,
        penalty: float = 0.0,
    ) -> None:
        self._renderer, self._prepared, self._given = renderer, renderer.prepared, guidance
        self.photo = self._prepared.photo
        self.exposure_time = self._prepared.source.exposure_time
        self.count, self.seed = count, seed
        self._penalty = penalty
        self._exposure: tuple[int, _Exposure] | None = None

    @cached_property
    def frames(self) -> NDArray[np.uint8]:
        """(T, H, W, 3) uint8 sRGB, at instants i / (T - 1) of the exposure."""
        frames = np.empty((self.count, *self.photo.shape), np.uint8)
        self._fill_all(frames, self.count, _times(self.count))
        return frames

    @property
    def raw_frames(self) -> NDArray[np.uint8]:
        """(T, H, W, 3) uint8 sRGB: the model's own frames, before projection; upsampled where the
        photo is larger than the working size."""
        frames = np.empty((self.count, *self.photo.shape), np.uint8)
        for index, time in enumerate(_times(self.count)):
            codes = linear_to_srgb8(self._renderer.frame(time))
            if codes.shape != self.photo.shape:
                codes = cv2.resize(codes, self.photo.shape[1::-1]).astype(np.uint8, copy=False)
            frames[index] = codes
        return frames

    @property
    def middle(self) -> Pixels:
        """(H, W, 3) uint8 sRGB, the sharp photo: the middle instant."""
        return self.at(0.0)

    def at(self, time: float) -> Pixels:
        """The frame at any time.

        On a photo above two megapixels each call encodes its tiles again, unless `frames` has been
        rendered and contains it: `render` gives several at once.

        Args:
            time: -1 when the shutter opens, 1 when it closes. Before and after, motion is
                extrapolated at constant velocity.

        Returns:
            (H, W, 3) uint8 sRGB.
        """
        held, times = self.__dict__.get("frames"), _times(self.count)
        if held is not None and time in times:
            return np.array(held[times.index(time)])
        frame = np.empty_like(self.photo)
        self._fill_all(frame[None], self.count, [time])
        return frame

    def render(
        self, frames: int | None = None, size: tuple[int, int] | None = None
    ) -> Iterator[Pixels]:
        """Frames one by one, any number at any size.

        Args:
            frames: how many, at least 2; by default 31, or as many as the model has.
            size: height and width; by default those of the photo.

        Yields:
            (height, width, 3) uint8 sRGB.

        Raises:
            InputError: fewer than 2 frames, another number than the model has, or a side below 1.
        """
        if frames is None:
            frames = self._renderer.count or _SMOOTH
        check_frames(frames)
        if self._renderer.count not in (None, frames):
            raise InputError(only_frames(self._renderer.count, frames))
        photo = self.photo
        if size is not None and size != photo.shape[:2]:
            sides = np.asarray(size)
            if sides.shape != (2,) or sides.dtype.kind not in "iu" or sides.min() < 1:
                raise InputError(f"size={size} is not possible; give height and width in pixels.")
            smaller = size[0] <= photo.shape[0] and size[1] <= photo.shape[1]
            method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
            photo = cv2.resize(photo, size[::-1], interpolation=method).astype(np.uint8, copy=False)
        return self._render(frames, photo)

    def _render(
        self, count: int, photo: Pixels, pingpong: bool = False, encode_tiles: bool = True
    ) -> Iterator[Pixels]:
        times = _times(count)
        if pingpong:
            times += times[-2:0:-1]
        held = self.__dict__.get("frames") if photo is self.photo and count == self.count else None
        if held is not None and (encode_tiles or self._large is None):
            yield from (*held, *held[-2:0:-1]) if pingpong else held
            return
        if photo is self.photo and self._large is not None and encode_tiles:
            together = max(1, _MAX_BYTES // photo.nbytes)
            for first in range(0, len(times), together):
                some = times[first : first + together]
                frames = np.empty((len(some), *photo.shape), np.uint8)
                self._fill_all(frames, count, some)
                yield from frames
            return
        for time in times:
            frame = np.empty_like(photo)
            self._fill(frame, count, time, photo)
            yield frame

    @cached_property
    def flow(self) -> Flow:
        """(H, W, 2) float32 pixels over the whole exposure, on the middle frame's grid."""
        return resize_flow(self._renderer.flow, self.photo.shape[:2])

    @cached_property
    def fastest(self) -> float:
        """Length in pixels of the fastest motion over the exposure."""
        return fastest(self.flow)

    @cached_property
    def regions(self) -> Labels:
        """(H, W) uint8: 0 where still, else the number of the region, from 1 on."""
        return enlarge(self._renderer.regions, self.flow, guidance_rules.STILL_THRESHOLD)

    @cached_property
    def moving(self) -> NDArray[np.bool_]:
        """(H, W) bool: what moves relative to the background, see `b2m.motion.segmentation`."""
        return segment(self.photo, self.flow)

    @cached_property
    def guidance(self) -> Guidance:
        """(H, W, 2) int8: the guidance that was given, else that of the flow."""
        if self._given is not None:
            return self._given
        guidance = np.empty(self.flow.shape, np.int8)
        for rows in row_strips(*self.photo.shape[:2]):
            guidance[rows] = guidance_rules.from_flow(self.flow[rows])
        return guidance

    @cached_property
    def reblur_psnr(self) -> float:
        """dB, sRGB, between the photo and the mean of `frames` in linear light.

        For a photo that is larger than its working size, of frames upsampled from that."""
        return reblur_psnr(self._render(self.count, self.photo, encode_tiles=False), self.photo)

    @cached_property
    def reblur_psnr_raw(self) -> float:
        """The same before the projection, at working size: how well the motion explains it."""
        return psnr(self.reblurred, self._prepared.working)

    @property
    def reblurred(self) -> Pixels:
        """(h, w, 3) uint8 sRGB at working size: the mean of the frames, before the projection."""
        return linear_to_srgb8(self._exposed(self.count).projection.mean)

    @property
    def score(self) -> float:
        """Higher is more plausible: `reblur_psnr_raw` minus the hypothesis's penalty, in dB.

        Reversing a motion does not change its average, so the hypotheses of one photo differ in
        the penalty alone: see `b2m.inference.hypotheses`.
        """
        return self.reblur_psnr_raw - self._penalty

    @cached_property
    def assessment(self) -> Assessment:
        """How much moved, how much sharper it became, how certain that is; at working size."""
        working, flow = self._prepared.working, self._renderer.flow
        middle = self.at(0.0) if self._large is None else linear_to_srgb8(self._renderer.frame(0.0))
        if middle.shape != working.shape:
            size = working.shape[1::-1]
            middle = np.asarray(cv2.resize(middle, size, interpolation=cv2.INTER_AREA), np.uint8)
        return assess(
            working,
            middle,
            flow,
            threshold=self._prepared.threshold,
            fastest=self.fastest,
            still=self.is_still,
            certainty=self._renderer.certainty,
        )

    @property
    def summary(self) -> list[str]:
        """The assessment and the warnings as sentences, as the command line and the apps show."""
        return [*self.assessment.sentences, *self.further_warnings]

    @property
    def is_still(self) -> bool:
        """Whether no motion blur was found in the photo; guidance that says still is not meant."""
        return diagnostics.NO_BLUR in self.warnings

    @property
    def further_warnings(self) -> list[str]:
        """The warnings that the assessment does not tell."""
        return [sentence for sentence in self.warnings if sentence != diagnostics.NO_BLUR]

    @cached_property
    def warnings(self) -> list[str]:
        """Warnings about the photo and the clip, as sentences."""
        found = list(self._prepared.warnings)
        flow = self._renderer.flow
        moving = magnitude(flow) >= guidance_rules.STILL_THRESHOLD
        still = bool(moving.mean() < _STILL_SHARE)
        if still:
            # Guidance may suppress motion that the network predicted.
            seen = magnitude(self._renderer.path_axis) >= guidance_rules.STILL_THRESHOLD
            held = self._given is not None and seen.mean() >= _STILL_SHARE
            # Fixed frames that hardly differ do not show that the photo is sharp.
            nothing = (
                diagnostics.NO_BLUR if self._renderer.displaced else diagnostics.ALMOST_NO_MOTION
            )
            found.append(diagnostics.FROZEN_BY_GUIDANCE if held else nothing)
        if diagnostics.burnt_streaks(self._prepared.working, flow):
            found.append(diagnostics.POSSIBLE_STREAKS if still else diagnostics.STREAKS)
        if self._given is not None and self._renderer.displaced:
            share = diagnostics.unseen(self._given, flow, self._prepared.threshold)
            if share is not None:
                found.append(diagnostics.GUIDANCE_WITHOUT_MOTION.format(share=share))
        if (length := diagnostics.too_long(flow)) is not None:
            scale = self.photo.shape[1] / flow.shape[1]
            found.append(diagnostics.VERY_LONG_BLUR.format(length=length * scale))
        return found

    def save(
        self,
        path: str | os.PathLike[str],
        fps: float | None = None,
        pingpong: bool = False,
        max_side: int = 1920,
    ) -> Path:
        """Write the clip; the file appears whole or not at all.

        Args:
            path: `.mp4`, `.gif` or `.webp`; `.MP.jpg` for a Motion Photo, which is the photo itself
                with the clip inside, see `b2m.media.motion_photo`; or a folder (no suffix, or a
                slash at the end) for full-size PNG files.
            fps: frames per second; by default the clip plays for a second, unless that would be
                under 5 frames or over 60.
            pingpong: forwards, then backwards.
            max_side: longer clips are shrunk to it; folders of PNG are not.

        Raises:
            InputError: an unknown suffix, or fps or max_side not above 0.
            OutputError: the file cannot be written.
        """
        from b2m.media import motion_photo, video

        named, path = os.fspath(path), Path(path)
        inside = motion_photo.is_motion_photo(path)
        suffix = path.suffix.lower()
        if named.endswith(os.sep) or (not inside and suffix not in _WRITERS and path.is_dir()):
            suffix, inside = "", False  # a folder, though its name may have a dot
        if suffix and not inside and suffix not in _WRITERS:
            raise InputError(
                f"cannot save a clip as '{path.name}'; end it in {', '.join(_WRITERS)} or "
                f"{motion_photo.SUFFIX}, or name a folder for PNG files."
            )
        if fps is not None and not 0 < fps < math.inf:
            raise InputError(f"{fps} frames per second are not possible; give more than 0.")
        if max_side < 1:
            raise InputError(f"a longest side of {max_side} is not possible; give at least 1.")
        if not suffix:
            video.write_png_folder(path, self._render(self.count, self.photo, pingpong))
            return path
        frames = self._render(self.count, limit_side(self.photo, max_side), pingpong)
        fps = fps or min(max(self.count / _CLIP_SECONDS, 5.0), 60.0)
        if inside:
            source = self._prepared.source
            motion_photo.write_motion_photo(path, source, frames, fps, self.count // 2)
        else:
            getattr(video, _WRITERS[suffix])(path, frames, fps)
        return path

    def save_sheet(self, path: str | os.PathLike[str]) -> Path:
        """Write the contact sheet: photo, motion and frames on one page, a PNG."""
        from b2m.media.image import write_png
        from b2m.visualize.contact_sheet import clip_sheet

        frames = self._render(self.count, limit_side(self.photo, 640))
        write_png(path, clip_sheet(self.photo, frames, self.flow))
        return Path(path)

    def _repr_html_(self) -> str:
        """A looping video, for notebooks."""
        import base64
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = self.save(Path(folder) / "clip.mp4", pingpong=True, max_side=_SHOWN_SIDE)
            data = base64.b64encode(path.read_bytes()).decode()
        return (
            '<video autoplay loop muted playsinline controls style="max-width: 100%" '
            'aria-label="The clip, forwards and backwards in a loop" '
            f'src="data:video/mp4;base64,{data}"></video>'
        )

    def _repr_png_(self) -> bytes:
        """The contact sheet, for viewers that show no video."""
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            return self.save_sheet(Path(folder) / "sheet.png").read_bytes()

    @property
    def _large(self) -> LargePhoto | None:
        return self._renderer.large()

    def _exposed(self, count: int) -> _Exposure:
        """The projection at working size for a clip of so many frames."""
        count = max(count, self._renderer.min_instants)
        if self._exposure is None or self._exposure[0] != count:
            shape = self._prepared.working.shape
            keep = count * math.prod(shape) <= _KEPT_VALUES
            mean, kept = np.zeros(shape, np.float32), []
            for time in _times(count):
                frame = self._renderer.frame(time)
                mean += frame
                if keep:
                    kept.append(frame)
            mean /= count
            photo = srgb8_to_linear(self._prepared.working)
            lengths = magnitude(to_array(self._renderer.path)) if self._renderer.displaced else None
            project = projection(photo, mean, lengths, _times(count))
            self._exposure = count, _Exposure(project, kept)
        return self._exposure[1]

    def _fill_all(self, out: NDArray[np.uint8], count: int, times: Sequence[float]) -> None:
        """Write full-size frames (N, H, W, 3) at times, of a clip of so many."""
        if self._large is None:
            for frame, time in zip(out, times, strict=True):
                self._fill(frame, count, time, self.photo)
            return
        instants = max(count, self._renderer.min_instants)
        self._large.fill(out, times, _times(instants))

    def _fill(self, out: Pixels, count: int, time: float, photo: Pixels) -> None:
        """Write the frame at a time, of a clip of so many, for a photo of any size."""
        project, kept = self._exposed(count)
        index = (time + 1) / 2 * (len(kept) - 1)
        held = 0 <= round(index) < len(kept) and abs(index - round(index)) < 1e-6
        frame = kept[round(index)] if held else self._renderer.frame(time)
        change = project.change(frame, time)
        height, width = photo.shape[:2]
        smaller = height < change.shape[0] or width < change.shape[1]
        if smaller:
            change = _resized(change, height, width, cv2.INTER_AREA)
        elif width > change.shape[1]:
            change = _resized(change, change.shape[0], width, cv2.INTER_LINEAR)
        # Columns are upsampled strip by strip: at 48 megapixels one floating-point frame would be
        # more than half a gigabyte.
        for rows in row_strips(height, width):
            light = srgb8_to_linear(photo[rows])
            light += (light + DARK) * _rows_between(change, rows, height)
            out[rows] = linear_to_srgb8(light)


def _resized(image: LinearImage, height: int, width: int, method: int) -> LinearImage:
    return cv2.resize(image, (width, height), interpolation=method).astype(np.float32, copy=False)


def _rows_between(image: LinearImage, rows: slice, height: int) -> LinearImage:
    """Some rows of an image upsampled to a height, by linear interpolation."""
    if image.shape[0] == height:
        return image[rows]
    centre = (np.arange(rows.start, min(rows.stop, height)) + 0.5) * image.shape[0] / height - 0.5
    centre = centre.clip(0, image.shape[0] - 1)
    above = centre.astype(np.intp)
    below = np.minimum(above + 1, image.shape[0] - 1)
    weight = (centre - above).astype(np.float32)[:, None, None]
    blended = image[below]
    blended -= image[above]
    blended *= weight
    blended += image[above]
    return blended


def _times(count: int) -> list[float]:
    """From -1 at the first of the frames to 1 at the last."""
    return [2 * index / (count - 1) - 1 for index in range(count)]


def only_frames(count: int | None, frames: object) -> str:
    """The error message for a number of frames that a model does not give."""
    return (
        f"frames={frames!r} is not possible with this model, which gives {count}: ask for {count}, "
        "or take model='animator', which gives any number"
    )


def check_frames(frames: int) -> None:
    """Refuse impossible numbers of frames."""
    if isinstance(frames, bool) or not isinstance(frames, int | np.integer) or frames < 2:
        raise ArgumentError(
            f"frames={frames!r} is not possible; give a whole number of at least 2."
        )
