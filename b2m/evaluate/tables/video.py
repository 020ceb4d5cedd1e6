"""The table "video": real clips, averaged as by a slow shutter, and made sharp again.

Every seven frames of a clip become one blurred frame. The direction of motion comes from the
neighbouring blurred frames, and is compared with that between the sharp ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from b2m.data.clips import flow_over
from b2m.data.swept import swept_mask
from b2m.evaluate.report import Row
from b2m.evaluate.scoring import (
    MIN_MOVING,
    PHOTO,
    Frames,
    Label,
    Mask,
    Scores,
    ScoresOfRows,
    Weighted,
    direction_accuracy,
    fraction,
    frame_psnr,
    moving_pixels,
)
from b2m.evaluate.table import Group, Options, Rows, Table
from b2m.evaluate.test_sets import INSTANTS, averaged_frames
from b2m.guidance.quantize import from_flow
from b2m.inference import video
from b2m.inference.animator import BlurAnimator
from b2m.media.image import Pixels
from b2m.motion.fields import STILL_THRESHOLD, resize_flow
from b2m.registry import register_table

FRAMES = INSTANTS
"""Sharp frames to a blurred one."""

SHUTTER = (FRAMES - 1) / FRAMES
"""The first and last of them are the ends of the exposure; a step on, the next one begins."""

NEIGHBOURS = "animator, guidance from neighbouring frames"
TRUE = "animator, true guidance"
FILM = "video as it is written"
SHARP = "the sharp frames"

COLUMNS = {
    "samples": ("n", "d"),
    "psnr": ("PSNR", ".2f"),
    "psnr_moving": ("PSNR moving", ".2f"),
    "gain_moving": ("gain moving", "+.2f"),
    "quadrant": ("right quadrant", ".1%"),
    "right_way": ("right way", ".1%"),
    "join": ("step at joins", ".2f"),
    "step": ("other steps", ".2f"),
    "join_ratio": ("ratio", ".2f"),
}

_ANY_MOTION = 1e-3  # pixels: signs of guidance, whatever the length


class Blurred(NamedTuple):
    """A blurred frame, what it was made of, and what is made of it.

    Attributes:
        scene: the frame with its motion.
        sharp: (T, H, W, 3), what it is the mean of.
        output: (T, H, W, 3), what the finished video shows.
    """

    scene: video.DirectedFrame
    sharp: Frames
    output: Frames


@register_table("video")
class VideoTable(Table):
    """Real clips as blurred videos that are made sharp again, each clip by itself.

    Args:
        options: what it is computed from.
        animator: what is measured; None for the one with the options' weights.
    """

    columns = COLUMNS
    default_samples = 40
    required_inputs = ("clips",)
    required_keys = (*Table.required_keys, "psnr_moving")
    row_labels = (PHOTO, NEIGHBOURS, TRUE, FILM, SHARP)

    def __init__(self, options: Options, animator: BlurAnimator | None = None) -> None:
        super().__init__(options)
        self.animator = animator or BlurAnimator.from_pretrained(options.weights)

    def groups(self) -> Iterator[Group]:
        """A group for each clip, and all together where there are several."""
        paths = self.clip_paths()
        for path in paths:
            self.last: dict[str, Pixels] = {}  # frame of each row
            frames = _blurred_frames(self.animator, path, self.sample_count or 0)
            pool = "all clips" if len(paths) > 1 else None
            yield Group(path.stem, frames, unit="frame", pool=pool)

    def score(self, sample: Blurred) -> Iterator[tuple[Label, Scores]]:
        """Nothing where hardly anything moves."""
        scene, sharp = sample.scene, sample.sharp
        flow = flow_over(sharp)
        moving, seen = moving_pixels(flow), swept_mask(flow)
        photo, guidance = scene.timed.photo, from_flow(flow)
        true = scene.animator.animate(photo, guidance=guidance, frames=FRAMES)[0]
        shown: dict[str, Frames] = {
            PHOTO: np.broadcast_to(photo, sharp.shape),
            NEIGHBOURS: np.stack(list(scene.clip.render(FRAMES))),
            TRUE: true.frames,
            FILM: sample.output,
            SHARP: sharp,
        }
        before, self.last = self.last, {name: frames[-1] for name, frames in shown.items()}
        if moving.mean() < MIN_MOVING:
            return
        moved = int(moving.sum())
        for name, frames in shown.items():
            scores: dict[str, Any] = {}
            if name != SHARP:
                scores["psnr"] = frame_psnr(frames, sharp).mean()
                scores["psnr_moving"] = frame_psnr(frames, sharp, seen).mean()
            if name in before:
                scores["join"] = _step(before[name], frames[0], seen)
            scores["step"] = np.mean([_step(a, b, seen) for a, b in pairwise(frames)]).item()
            if name == NEIGHBOURS and scene.flow is not None:
                hint = from_flow(resize_flow(scene.flow, flow.shape[:2]), _ANY_MOTION)
                alike = fraction((hint == guidance).all(axis=-1), moving)
                scores["quadrant"] = Weighted(alike, moved)
                scores["right_way"] = Weighted(
                    direction_accuracy(scene.clip.flow, flow, moving), moved
                )
            elif name == TRUE:
                scores["right_way"] = Weighted(direction_accuracy(true.flow, flow, moving), moved)
            yield name, scores

    def finish(self, group: Group, rows: Rows, scores: ScoresOfRows) -> Iterable[Row]:
        """Add gains over the photo repeated, and how steps at joins compare with others."""
        base = rows[PHOTO]["psnr_moving"]
        for row in rows.values():
            if row["psnr_moving"] is not None and base is not None:
                row["gain_moving"] = row["psnr_moving"] - base
            if row.get("join") is not None and row.get("step"):
                row["join_ratio"] = row["join"] / row["step"]
        return rows.values()

    def notes(self) -> list[str]:
        """What was measured, and how."""
        return [
            f"The first {self.sample_count} blurred frames of each clip, at most: every {FRAMES} "
            "consecutive frames averaged in linear light. "
            f"n: those in which at least {MIN_MOVING:.1%} of the pixels move.",
            f"Moving: by {STILL_THRESHOLD:g} px or more over the exposure, by optical flow (DIS) "
            "between the sharp frames; an estimate, not the truth. PSNR moving also counts what "
            "such pixels cross.",
            "Right quadrant: share of the moving pixels at which the signs of the motion from "
            "the neighbours are those of that flow; motion along an axis counts as wrong where a "
            "fraction of a pixel has the other sign. Right way: at which the animator's own "
            "motion, its signs so chosen, and that flow are less than a right angle apart.",
            "Steps: mean difference of successive frames in 8-bit levels, over moving pixels; at "
            "joins, of the last frame made of one photo and the first made of the next.",
        ]


def _step(earlier: Pixels, later: Pixels, seen: Mask) -> float:
    return float(np.abs(earlier[seen].astype(np.int16) - later[seen]).mean())


def _blurred_frames(animator: BlurAnimator, path: Path, samples: int) -> Iterator[Blurred]:
    """The blurred frames of a clip; the sharp ones of a few are held at a time."""
    made_of: deque[Frames] = deque()
    scenes: deque[video.DirectedFrame] = deque()

    def timed_frames() -> Iterator[video.TimedFrame]:
        for number, (photo, sharp) in enumerate(averaged_frames(path, samples)):
            made_of.append(sharp)
            yield video.TimedFrame(photo, Fraction(number), Fraction(number + 1))

    def frames_with_instants() -> Iterator[tuple[video.DirectedFrame, list[video.Instant]]]:
        moments = [video.Instant((index + 0.5) / FRAMES, index) for index in range(FRAMES)]
        for scene in video.estimate_directions(animator, timed_frames(), SHUTTER):
            scenes.append(scene)
            yield scene, moments

    output: list[Pixels] = []
    for frame, _ in video.render_instants(frames_with_instants(), SHUTTER):
        output.append(frame)
        if len(output) == FRAMES:
            yield Blurred(scenes.popleft(), made_of.popleft(), np.stack(output))
            output = []
