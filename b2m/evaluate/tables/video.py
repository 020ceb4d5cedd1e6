"""The table "video": real clips as a slow shutter would have filmed them, and made sharp again.

Every seven frames of a clip become one blurred frame, one after the other. Which way things moved
is told by the neighbouring blurred frames, and compared with what the sharp ones tell.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from b2m.blur import average_bytes, encode_bytes
from b2m.data.clips import crossed, flow_over
from b2m.evaluate.report import Row
from b2m.guidance.quantize import from_flow
from b2m.inference import video as film
from b2m.inference.animator import BlurAnimator
from b2m.media.image import Pixels
from b2m.media.video import read_video
from b2m.metrics import psnr
from b2m.motion.fields import STILL_THRESHOLD, Flow, resize_flow

FRAMES = 7
"""Sharp frames to a blurred one."""

SHUTTER = (FRAMES - 1) / FRAMES
"""The first and last of them are the ends of the exposure; a step on, the next one begins."""

LEAST_MOVING = 0.005
"""Share of moving pixels below which a frame says nothing about motion."""

PHOTO = "photo repeated"
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

_EXACT = 100.0  # dB; stands for an infinite PSNR, which no mean could hold
_ANY_MOTION = 1e-3  # pixels: signs of guidance, whatever the length

Frames = NDArray[np.uint8]


def video_rows(
    animator: BlurAnimator, paths: Sequence[Path], samples: int
) -> tuple[list[Row], list[str]]:
    """Rows and notes of the table, each clip by itself.

    Args:
        animator: what is judged.
        paths: videos.
        samples: blurred frames of each, at most; from the beginning.
    """
    rows: list[Row] = []
    pooled: dict[str, _Tally] = {}
    for path in paths:
        tallies = {name: _Tally() for name in (PHOTO, NEIGHBOURS, TRUE, FILM, SHARP)}
        for blurred in tqdm(_blurred_frames(animator, path, samples), path.stem, unit="frame"):
            blurred.judge(tallies)
        rows += _rows(path.stem, tallies)
        for name, tally in tallies.items():
            pooled.setdefault(name, _Tally()).take(tally)
    if len(paths) > 1:
        rows += _rows("all clips", pooled)
    notes = [
        f"The first {samples} blurred frames of each clip, at most: every {FRAMES} consecutive "
        "frames averaged in linear light. "
        f"n: those in which at least {LEAST_MOVING:.1%} of the pixels move.",
        f"Moving: by {STILL_THRESHOLD:g} px or more over the exposure, by optical flow (DIS) "
        "between the sharp frames; an estimate, not the truth. PSNR moving also counts what such "
        "pixels cross.",
        "Right quadrant: share of the moving pixels at which the signs of the motion told by the "
        "neighbours are those of that flow; motion along an axis counts as wrong where a fraction "
        "of a pixel has the other sign. Right way: at which the animator's own motion, its signs "
        "so chosen, and that flow are less than a right angle apart.",
        "Steps: mean difference of successive frames in 8-bit levels, over moving pixels; at "
        "joins, of the last frame made of one photo and the first made of the next.",
    ]
    return rows, notes


def _rows(group: str, tallies: dict[str, _Tally]) -> list[Row]:
    base = tallies[PHOTO].mean("psnr_moving")
    judged = len(tallies[PHOTO].scores.get("psnr", ()))
    rows: list[Row] = []
    for name, tally in tallies.items():
        row: Row = {"name": f"{group}: {name}", "samples": judged, **tally.row()}
        if name != SHARP and row["psnr_moving"] is not None and base is not None:
            row["gain_moving"] = row["psnr_moving"] - base
        rows.append(row)
    return rows


class _Tally:
    """What one way of filming scored, frame by frame."""

    def __init__(self) -> None:
        self.scores: dict[str, list[float]] = {}
        self.last: Pixels | None = None

    def add(self, **scores: float) -> None:
        for key, value in scores.items():
            self.scores.setdefault(key, []).append(float(value))

    def take(self, other: _Tally) -> None:
        """Add all that another one holds."""
        for key, values in other.scores.items():
            self.scores.setdefault(key, []).extend(values)

    def mean(self, key: str) -> float | None:
        values = self.scores.get(key)
        return float(np.mean(values)) if values else None

    def row(self) -> dict[str, Any]:
        row: dict[str, Any] = {"psnr": None, "psnr_moving": None}
        row |= {key: self.mean(key) for key in self.scores if key != "moving"}
        # Of pixels, not of frames: one with little motion says little.
        weights = self.scores.get("moving")
        for key in ("quadrant", "right_way"):
            if key in self.scores:
                row[key] = float(np.average(self.scores[key], weights=weights))
        if row.get("join") is not None and row.get("step"):
            row["join_ratio"] = row["join"] / row["step"]
        return row


class _Blurred:
    """A blurred frame, what it was made of, and what is made of it.

    Args:
        scene: the frame with its motion.
        sharp: (T, H, W, 3), what it is the mean of.
        filmed: (T, H, W, 3), what the finished video shows.
    """

    def __init__(self, scene: film.Scene, sharp: Frames, filmed: Frames) -> None:
        self.scene, self.sharp, self.filmed = scene, sharp, filmed

    def judge(self, tallies: dict[str, _Tally]) -> None:
        """Add the scores, if enough moved."""
        flow = flow_over(self.sharp)
        moving = np.hypot(flow[..., 0], flow[..., 1]) >= STILL_THRESHOLD
        seen = crossed(flow)
        enough = bool(moving.mean() >= LEAST_MOVING)
        photo, clip = self.scene.shot.photo, self.scene.clip
        guidance = from_flow(flow)
        true = self.scene.animator.animate(photo, guidance=guidance, frames=FRAMES)[0]
        shown: dict[str, Frames] = {
            PHOTO: np.broadcast_to(photo, self.sharp.shape),
            NEIGHBOURS: np.stack(list(clip.render(FRAMES))),
            TRUE: true.frames,
            FILM: self.filmed,
            SHARP: self.sharp,
        }
        for name, frames in shown.items():
            tally = tallies[name]
            if enough:
                _compare(tally, frames, self.sharp, seen, exact=name == SHARP)
            tally.last = frames[-1]
        if not enough:
            return
        moved = int(moving.sum())
        if self.scene.flow is not None:
            told = from_flow(resize_flow(self.scene.flow, flow.shape[:2]), _ANY_MOTION)
            alike = _share((told == guidance).all(axis=-1), moving)
            tallies[NEIGHBOURS].add(quadrant=alike, right_way=_way(clip.flow, flow, moving))
            tallies[NEIGHBOURS].add(moving=moved)
        tallies[TRUE].add(right_way=_way(true.flow, flow, moving), moving=moved)


def _compare(
    tally: _Tally, frames: Frames, sharp: Frames, seen: NDArray[np.bool_], *, exact: bool
) -> None:
    if not exact:
        pairs = list(zip(frames, sharp, strict=True))
        tally.add(
            psnr=np.mean([min(psnr(a, b), _EXACT) for a, b in pairs]).item(),
            psnr_moving=np.mean([min(psnr(a, b, seen), _EXACT) for a, b in pairs]).item(),
        )
    if tally.last is not None:
        tally.add(join=_step(tally.last, frames[0], seen))
    tally.add(step=np.mean([_step(a, b, seen) for a, b in pairwise(frames)]).item())


def _step(earlier: Pixels, later: Pixels, seen: NDArray[np.bool_]) -> float:
    return float(np.abs(earlier[seen].astype(np.int16) - later[seen]).mean())


def _share(right: NDArray[np.bool_], moving: NDArray[np.bool_]) -> float:
    return float(right[moving].mean())


def _way(flow: Flow, truth: Flow, moving: NDArray[np.bool_]) -> float:
    return _share((flow * truth).sum(axis=-1) > 0, moving)


def _blurred_frames(animator: BlurAnimator, path: Path, samples: int) -> Iterator[_Blurred]:
    """The blurred frames of a clip; the sharp ones of a few are held at a time."""
    made_of: deque[Frames] = deque()
    scenes: deque[film.Scene] = deque()

    def shots() -> Iterator[film.Shot]:
        frames: list[Pixels] = []
        number = 0
        for frame in read_video(path):
            frames.append(frame)
            if len(frames) == FRAMES:
                sharp = np.stack(frames)
                made_of.append(sharp)
                photo = encode_bytes(average_bytes(sharp))
                yield film.Shot(photo, Fraction(number), Fraction(number + 1))
                frames, number = [], number + 1
            if number == samples:
                return

    def timed() -> Iterator[tuple[film.Scene, list[film.Moment]]]:
        moments = [film.Moment((index + 0.5) / FRAMES, index) for index in range(FRAMES)]
        for scene in film.find_motion(animator, shots(), SHUTTER):
            scenes.append(scene)
            yield scene, moments

    filmed: list[Pixels] = []
    for frame, _ in film.pictures(timed(), SHUTTER):
        filmed.append(frame)
        if len(filmed) == FRAMES:
            yield _Blurred(scenes.popleft(), made_of.popleft(), np.stack(filmed))
            filmed = []
