"""A blurred video to a sharp one: each frame is animated, directed by optical flow to neighbours.

A frame lasts from one timestamp to the next, and is exposed for the middle share `shutter` of that
interval. The instants of the output follow from this alone, in slow motion and in real time. Slow
motion takes the middles of equal parts of every interval, so that time is uniform across frames.

Two successive clips disagree at the instant half-way between them, as blur underestimates long
motion and shows nothing of the time when the shutter was closed. So each is extrapolated linearly
beyond its exposure, both are warped along the flow between their two predictions of that
instant, and from the middle of one frame to that of the next they are cross-faded.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from b2m.blur import PROJECTION_INSTANTS
from b2m.errors import ArgumentError, InputError, InputWarning, shortened
from b2m.files import remove_stale_temporaries
from b2m.guidance.quantize import from_flow
from b2m.inference.clip import Clip, check_frames
from b2m.inference.renderers import EncodedPhoto, MotionRenderer
from b2m.media.image import MAX_SIDE, MIN_SIDE, Pixels, limit_side, limited_size
from b2m.media.video import Video, as_rate, read_video, write_mp4, write_timed_mp4
from b2m.models.animator import orient
from b2m.motion.fields import Flow, estimate_flow, half_angle, resize_flow, warp_array
from b2m.motion.orientation import coherent_signs
from b2m.tensors import to_tensor

if TYPE_CHECKING:
    from b2m.inference.animator import BlurAnimator

FLOW_SIDE = 960
"""Pixels; longer frames are shrunk to it before flow between them is estimated."""

_SMOOTHING = 1 / 31  # of the longer side: window over which the flow is averaged
_LIKE_COLOURS = 0.8  # intersection of two frames' colour histograms
_LIKE_LAYOUT = 0.6  # correlation of their thumbnails
_MAX_EXTRAPOLATION = 3.0  # half exposures from its middle: a clip is extrapolated no further


def animate_video(
    animator: BlurAnimator,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    frames: int = 7,
    fps: float | None = None,
    shutter: float = 1.0,
    max_side: int | None = None,
) -> Path:
    """Turn a blurred video into a sharp one; see `b2m.animate_video`."""
    for position in (source, target):
        if not isinstance(position, str | os.PathLike):
            raise InputError(f"a video is given by its path, not as {shortened(position)}")
    target = Path(target)
    check_arguments(target, frames, fps, shutter, max_side)
    video = read_video(source)
    if target.exists() and target.samefile(video.path):
        raise InputError(f"{target} is the video itself: choose another name for the new one")
    height, width = limited_size((video.height, video.width), max_side or MAX_SIDE)
    if min(width, height) < MIN_SIDE:
        shrunk = "" if max_side is None else f" with a longest side of {max_side}"
        need = f"at least {MIN_SIDE}x{MIN_SIDE} are needed"
        raise InputError(f"{source} is {width}x{height} pixels{shrunk}: {need}")
    count = video.count()
    if count < 2:
        raise InputError(_one_frame(video))
    for sentence in video.warnings:
        warnings.warn(sentence, InputWarning, stacklevel=2)
    remove_stale_temporaries(target)
    with tqdm(total=count, desc=Path(source).name, unit="frame") as bar:
        timed_frames = read_timed_frames(video, bar, max_side)
        if fps is None:
            _write_slow(target, animator, video, timed_frames, frames, shutter)
        else:
            _write_real_time(target, animator, timed_frames, fps, shutter)
    return target


def check_arguments(
    target: Path, frames: int, fps: float | None, shutter: float, max_side: int | None
) -> None:
    """Refuse impossible arguments of `animate_video`.

    Raises:
        ArgumentError: the first that is not possible.
    """
    check_frames(frames)
    if fps is not None and not (isinstance(fps, Real) and 0 < fps <= 1000):
        raise ArgumentError(
            f"{shortened(fps)} frames per second are not possible: give more than 0 and up to 1000"
        )
    if not (isinstance(shutter, Real) and 0 < shutter <= 1):
        raise ArgumentError(
            f"a shutter of {shortened(shutter)} is not possible: give the share of the time for "
            "which it is open, above 0 and up to 1"
        )
    if max_side is not None and max_side < MIN_SIDE:
        raise ArgumentError(
            f"a longest side of {max_side} is not possible: give at least {MIN_SIDE} pixels"
        )
    if target.suffix.lower() != ".mp4":
        raise ArgumentError(f"cannot write a video as '{target.name}': end its name in .mp4")


# --- input frames and the flow between them ---


@dataclass(frozen=True)
class TimedFrame:
    """A frame of a video with its timestamps.

    Attributes:
        photo: (H, W, 3) uint8 sRGB.
        start: seconds from the beginning of the video.
        end: seconds.
    """

    photo: Pixels
    start: Fraction
    end: Fraction


def read_timed_frames(
    video: Video, bar: tqdm | None = None, max_side: int | None = None
) -> Iterator[TimedFrame]:
    """The frames of a video, with the timestamps of the file.

    Args:
        video: that is read.
        bar: updated with every frame.
        max_side: pixels; larger frames are shrunk to it.

    Raises:
        InputError: the file is damaged, or there is but one frame.
    """
    origin, number = Fraction(0), -1
    for number, (photo, (start, end)) in enumerate(video.frames_with_times()):
        origin = origin if number else start
        photo = photo if max_side is None else limit_side(photo, max_side)
        yield TimedFrame(photo, start - origin, end - origin)
        if bar is not None:
            bar.update()
    if number < 1:
        raise InputError(_one_frame(video))


def _one_frame(video: Video) -> str:
    return f"{video.path} has one frame, not a video's many: animate it as a photo"


class FlowPair(NamedTuple):
    """Optical flow between two successive frames.

    Attributes:
        forward: (h, w, 2) pixels, the flow from the earlier to the later, on the earlier's grid.
        backward: (h, w, 2) pixels, that from the later to the earlier, on the later's grid.
        forward_consistency, backward_consistency: (h, w) forward-backward consistency, in (0, 1].
    """

    forward: Flow
    backward: Flow
    forward_consistency: NDArray[np.float32]
    backward_consistency: NDArray[np.float32]


def flow_pair(earlier: Pixels, later: Pixels) -> FlowPair | None:
    """Flow between two successive frames both ways; None where a scene is cut between them.

    Args:
        earlier, later: (H, W, 3) uint8 sRGB of one size. The flow's size is theirs, its longer
            side at most `FLOW_SIDE`.
    """
    if is_scene_cut(earlier, later):
        return None
    earlier, later = limit_side(earlier, FLOW_SIDE), limit_side(later, FLOW_SIDE)
    forward, backward = estimate_flow(earlier, later), estimate_flow(later, earlier)
    consistency = _consistency(forward, backward), _consistency(backward, forward)
    return FlowPair(forward, backward, *consistency)


def is_scene_cut(earlier: Pixels, later: Pixels) -> bool:
    """Whether two successive frames, (H, W, 3) uint8, show different scenes.

    They do if neither their colours nor their layouts are similar: a fast pan keeps the colours, a
    change of the light keeps the layout.
    """
    histograms, layouts = [], []
    for frame in (earlier, later):
        small = cv2.resize(frame, (128, 128), interpolation=cv2.INTER_AREA)
        channels = [cv2.calcHist([small], [i], None, [32], [0, 256]) for i in range(3)]
        histograms.append(np.concatenate(channels) / (3 * 128 * 128))
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        layout = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
        layouts.append(layout - layout.mean())
    if np.minimum(*histograms).sum() >= _LIKE_COLOURS:
        return False
    together = float((layouts[0] * layouts[1]).sum())
    apart = math.sqrt(float((layouts[0] ** 2).sum()) * float((layouts[1] ** 2).sum()))
    return together < _LIKE_LAYOUT * max(apart, 1e-6)


def _consistency(flow: Flow, opposite: Flow) -> NDArray[np.float32]:
    """Forward-backward consistency: 1 where a flow and the opposite one cancel, else less."""
    missed = np.hypot(*(flow + warp_array(opposite, flow)).transpose(2, 0, 1))
    return (1 / (1 + missed) ** 2).astype(np.float32)


def neighbour_flow(
    before: FlowPair | None, after: FlowPair | None, shutter: float = 1.0
) -> Flow | None:
    """The motion of a frame during its exposure, from the flow to its neighbours.

    The mean of the flow to the next frame and of minus that to the previous one, weighted by their
    consistency, over a small window. `b2m.guidance.from_flow` makes guidance of it. Between blurred
    frames flow is coarse, so that little more than its signs is reliable.

    Args:
        before: the previous frame and this one.
        after: this frame and the next one.
        shutter: share of the interval that is exposed.

    Returns:
        (h, w, 2) pixels over the exposure; None without neighbours.
    """
    directed: list[tuple[Flow, NDArray[np.float32]]] = []
    if before is not None:
        directed.append((-before.backward, before.backward_consistency))
    if after is not None:
        directed.append((after.forward, after.forward_consistency))
    if not directed:
        return None
    height, width = directed[0][1].shape
    side = max(3, round(_SMOOTHING * max(height, width)))
    total = cv2.blur(
        np.sum([flow * consistency[..., None] for flow, consistency in directed], 0), (side, side)
    )
    weight = cv2.blur(np.sum([consistency for _, consistency in directed], 0), (side, side))
    return (total * (shutter / weight[..., None])).astype(np.float32)


# --- clips of the frames ---


@dataclass
class DirectedFrame:
    """A frame with the direction of its motion.

    Attributes:
        timed: the frame.
        animator: that animates it.
        flow: (h, w, 2) from its neighbours, or None where it has none in its scene.
        continues: whether the next frame is of the same scene.
    """

    timed: TimedFrame
    animator: BlurAnimator
    flow: Flow | None
    continues: bool

    @cached_property
    def clip(self) -> Clip:
        """What happened while the frame was exposed; computed lazily.

        The flow chooses the signs of the motion axes directly, not as guidance: that takes a flow
        under 3 pixels for still, whose sign is still reliable between blurred frames.
        """
        prepared = self.animator.prepare(self.timed.photo)
        if not isinstance(prepared, EncodedPhoto):  # of a model with a fixed number of frames
            guidance = None
            if self.flow is not None:  # as Zhong 2022 has it, section 3.3
                guidance = from_flow(resize_flow(self.flow, self.timed.photo.shape[:2]))
            count = self.animator.model.native_frames or PROJECTION_INSTANTS
            return self.animator.animate(prepared, guidance=guidance, frames=count)[0]
        if self.flow is None:
            signed = to_tensor(coherent_signs(prepared.path_axis)).to(self.animator.device)
        else:
            flow = resize_flow(self.flow, prepared.working.shape[:2])
            with torch.inference_mode():
                directed = to_tensor(flow).to(self.animator.device)
                signed = orient(half_angle(prepared.encoding.axis), directed)
        return Clip(MotionRenderer(prepared, signed), PROJECTION_INSTANTS, 0)


def estimate_directions(
    animator: BlurAnimator, timed_frames: Iterable[TimedFrame], shutter: float
) -> Iterator[DirectedFrame]:
    """The frames of a video one by one, each with the direction of its motion.

    A frame ends where the next one starts. Two are in memory at a time.
    """
    before: FlowPair | None = None
    earlier: TimedFrame | None = None
    for timed in timed_frames:
        if earlier is not None:
            after = flow_pair(earlier.photo, timed.photo)
            earlier = replace(earlier, end=timed.start)
            flow = neighbour_flow(before, after, shutter)
            yield DirectedFrame(earlier, animator, flow, after is not None)
            before = after
        earlier = timed
    if earlier is not None:
        yield DirectedFrame(earlier, animator, neighbour_flow(before, None, shutter), False)


# --- output frames ---


class Instant(NamedTuple):
    """An instant of the output.

    Attributes:
        position: in the interval of a frame, from 0 at its start to 1 at its end.
        timestamp: its timestamp, in the unit of the writer.
    """

    position: float
    timestamp: int


class TransitionFlow(NamedTuple):
    """Flow between the two predictions of the instant half-way between successive frames.

    Attributes:
        forward: (H, W, 2) pixels, from the earlier clip's prediction to the later one's.
        backward: (H, W, 2) pixels, from the later clip's prediction to the earlier one's.
    """

    forward: Flow
    backward: Flow


def transition_flow(
    left: DirectedFrame, right: DirectedFrame, shutter: float
) -> TransitionFlow | None:
    """Compare the clips of two successive frames; None across a cut."""
    if not left.continues:
        return None
    size = left.timed.photo.shape[:2]
    time = min(1 / shutter, _MAX_EXTRAPOLATION)  # half-way to the other frame
    pictures = left.clip.at(time), right.clip.at(-time)
    seen = [limit_side(picture, FLOW_SIDE) for picture in pictures]
    forward, backward = estimate_flow(*seen), estimate_flow(*seen[::-1])
    return TransitionFlow(resize_flow(forward, size), resize_flow(backward, size))


def cross_fade(
    left: DirectedFrame | None,
    right: DirectedFrame | None,
    transition: TransitionFlow | None,
    offset: float,
    shutter: float,
) -> Pixels:
    """The picture at an instant between the middles of two successive frames.

    Args:
        left, right: the frames; one is None before the first and after the last.
        transition: flow that joins their clips; None across a cut.
        offset: from 0 in the middle of the left one to 1 in that of the right one.
        shutter: share of each interval that is exposed.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    # Half an exposure is 1.
    since = min(2 * offset / shutter, _MAX_EXTRAPOLATION)
    until = max(2 * (offset - 1) / shutter, -_MAX_EXTRAPOLATION)
    if left is None or (transition is None and offset > 0.5 and right is not None):
        assert right is not None
        return right.clip.at(until)
    if right is None or transition is None or offset == 0:
        return left.clip.at(since)
    # The flow is assumed to be smooth: that of the frame stands for that of the time between.
    earlier = warp_array(left.clip.at(since), np.float32(-offset) * transition.forward)
    later = warp_array(right.clip.at(until), np.float32(offset - 1) * transition.backward)
    mixed = cv2.addWeighted(earlier, 1 - offset, later, offset, 0)
    return mixed.astype(np.uint8, copy=False)


def render_instants(
    frames: Iterable[tuple[DirectedFrame, list[Instant]]], shutter: float
) -> Iterator[tuple[Pixels, int]]:
    """The pictures of all instants in order, each with its time.

    Args:
        frames: successive frames, each with the instants of its interval; two are held at a time.
        shutter: share of each interval that is exposed.

    Yields:
        (H, W, 3) uint8 sRGB, and when it is shown.
    """
    left: DirectedFrame | None = None
    waiting: list[tuple[float, int]] = []
    for right, instants in frames:
        if (count := right.animator.model.native_frames) is not None:
            # The model has no frames in between: the nearest one is taken.
            for instant in instants:
                time = min(max((instant.position - 0.5) / shutter + 0.5, 0.0), 1.0)
                yield right.clip.frames[round(time * (count - 1))], instant.timestamp
            continue
        waiting += [(m.position + 0.5, m.timestamp) for m in instants if m.position < 0.5]
        transition = transition_flow(left, right, shutter) if left and waiting else None
        for offset, timestamp in waiting:
            yield cross_fade(left, right, transition, offset, shutter), timestamp
        left = right
        waiting = [(m.position - 0.5, m.timestamp) for m in instants if m.position >= 0.5]
    for offset, timestamp in waiting:
        yield cross_fade(left, None, None, offset, shutter), timestamp


def _write_slow(
    target: Path,
    animator: BlurAnimator,
    video: Video,
    timed_frames: Iterable[TimedFrame],
    frames: int,
    shutter: float,
) -> None:
    """Slow motion: each frame becomes so many, of the duration of the original frame."""
    ended = [0]

    def directed_frames() -> Iterator[tuple[DirectedFrame, list[Instant]]]:
        for frame in estimate_directions(animator, timed_frames, shutter):
            times = frame.timed.start, frame.timed.end
            start, end = (round(time / video.time_base) for time in times)
            first, each = frames * start, end - start
            ended[0] = frames * end
            yield (
                frame,
                [Instant((i + 0.5) / frames, first + i * each) for i in range(frames)],
            )

    rate = as_rate(video.fps)
    rendered = render_instants(directed_frames(), shutter)
    write_timed_mp4(target, rendered, video.time_base, rate, lambda: ended[0])


def _write_real_time(
    target: Path,
    animator: BlurAnimator,
    timed_frames: Iterable[TimedFrame],
    fps: float,
    shutter: float,
) -> None:
    """The same duration at another frame rate; each picture is of the middle of its interval."""

    def directed_frames() -> Iterator[tuple[DirectedFrame, list[Instant]]]:
        step = 1 / Fraction(fps)
        number = 0
        for frame in estimate_directions(animator, timed_frames, shutter):
            start, end = frame.timed.start, frame.timed.end
            instants = []
            while (time := (number + Fraction(1, 2)) * step) < end:
                instants.append(Instant(float((time - start) / (end - start)), number))
                number += 1
            yield frame, instants
        if not number:
            raise InputError(
                f"at {fps:g} frames per second nothing is shown of {float(end):.2g} s: give more"
            )

    write_mp4(target, (frame for frame, _ in render_instants(directed_frames(), shutter)), fps)
