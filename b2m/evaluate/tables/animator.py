"""The tables "scenes", "enlarged", "large" and "clips": how good the animator is.

A clip made with true guidance is judged in the order in which it is given; one made without, in the
better of its two orders, one choice for the whole clip, its frames and its flow (see
`b2m.metrics`). "Photo repeated" is the blurred photo as every frame, with a flow of zero: what
doing nothing scores.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from b2m.data.clips import crossed, flow_over, read_windows
from b2m.data.scenes import Kind, SceneConfig, Scenes, render
from b2m.data.sensor import develop
from b2m.data.textures import load_textures
from b2m.evaluate.answers import PHOTO, Answer, Answers, to_flow, to_pixels
from b2m.evaluate.report import Row
from b2m.guidance.quantize import from_flow
from b2m.media.image import Pixels
from b2m.metrics import epe, psnr, ssim
from b2m.motion.fields import STILL_THRESHOLD, Flow

SCENE_SIZE = 192
LARGE_SIZE = 768
SCENE_BLUR = (4.0, 32.0)
SCENE_SAMPLES = 200
CLIP_SAMPLES = 40
LEAST_MOVING = 0.005
"""Share of moving pixels below which a window of a real clip says nothing about motion."""

_BATCH = 8
_EXACT = 100.0  # dB; stands for an infinite PSNR, which no mean could hold


# --- scores ---------------------------------------------------------------------------------------


class _Truth(NamedTuple):
    frames: NDArray[np.uint8]  # (T, H, W, 3)
    flow: Flow
    moving: NDArray[np.bool_] | None  # (H, W), the pixels by which the order is chosen
    similar: Sequence[int]  # the frames whose SSIM is taken


def _psnrs(
    frames: NDArray[np.uint8], truth: _Truth, mask: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    pairs = zip(frames, truth.frames, strict=True)
    return np.array([min(psnr(frame, target, mask), _EXACT) for frame, target in pairs])


def _score(answer: Answer, truth: _Truth) -> dict[str, Any]:
    """Every score of one answer; `per_frame` is a list, the others are numbers."""
    frames, flow = answer.frames, answer.flow
    judged = "psnr" if truth.moving is None else "psnr_moving"
    given = _psnrs(frames, truth, truth.moving)
    backwards = _psnrs(frames[::-1], truth, truth.moving)
    scores: dict[str, Any] = {
        f"{judged}_given": given.mean(),
        f"{judged}_better": max(given.mean(), backwards.mean()),
    }
    chosen = given
    if answer.either_order and backwards.mean() > given.mean():
        frames, flow, chosen = frames[::-1], -flow, backwards
    scores[judged] = chosen.mean()
    if truth.moving is not None:
        scores["psnr"] = _psnrs(frames, truth).mean()
        scores["epe_moving"] = epe(flow, truth.flow, truth.moving)
    middle = len(chosen) // 2
    scores["first"], scores["middle"], scores["last"] = chosen[[0, middle, -1]]
    scores["non_middle"] = np.delete(chosen, middle).mean()
    scores["per_frame"] = chosen
    scores["ssim"] = np.mean([ssim(frames[i], truth.frames[i]) for i in truth.similar])
    scores["epe"] = epe(flow, truth.flow)
    scores["epe_zero"] = epe(np.zeros_like(flow), truth.flow)
    return scores


def _judge(answers: Iterator[Answer], photo: Pixels, truth: _Truth) -> dict[str, dict[str, Any]]:
    """Scores by name, the photo repeated first, each with its gain over that."""
    still = np.broadcast_to(photo, truth.frames.shape)
    results = {PHOTO: _score(Answer(PHOTO, still, np.zeros_like(truth.flow), False), truth)}
    results |= {answer.name: _score(answer, truth) for answer in answers}
    base = results[PHOTO]
    for scores in results.values():
        scores["gain"] = scores["psnr"] - base["psnr"]
        scores["gain_per_frame"] = scores["per_frame"] - base["per_frame"]
        if truth.moving is not None:
            scores["gain_moving"] = scores["psnr_moving"] - base["psnr_moving"]
    return results


_SPREAD = {"psnr", "psnr_moving", "gain", "gain_moving"}


def _rows(group: str, samples: list[dict[str, dict[str, Any]]]) -> list[Row]:
    """Means over samples, and standard deviations of some scores, a row for each name."""
    rows = []
    for name in samples[0] if samples else ():
        row: Row = {"name": f"{group}: {name}", "samples": len(samples), **dict.fromkeys(ALWAYS)}
        for key, value in samples[0][name].items():
            values = [sample[name][key] for sample in samples]
            if np.ndim(value):
                continue
            row[key] = float(np.mean(values))
            if key in _SPREAD:
                row[f"{key}_std"] = float(np.std(values))
        row["epe_ratio"] = row["epe"] / row["epe_zero"] if row["epe_zero"] else None
        gains = [sample[name]["gain_per_frame"] for sample in samples]
        if len({len(gain) for gain in gains}) == 1:
            row["gain_least_frame"] = float(np.mean(gains, axis=0).min())
        rows.append(row)
    return rows


# --- tables ---------------------------------------------------------------------------------------


def scenes_rows(
    answers: Answers,
    samples: int = SCENE_SAMPLES,
    photos: str | os.PathLike[str] | None = None,
    cutouts: str | os.PathLike[str] | None = None,
    *,
    split: str = "test",
    seed: int = 0,
    size: int | None = None,
) -> tuple[list[Row], list[str]]:
    """Rows and notes of the table "scenes": half of the samples of each kind, then all.

    Args:
        answers: what is judged.
        samples: scenes in all.
        photos, cutouts: folders; None for made-up textures.
        split: of the folders, and of the made-up textures.
        seed: of the scenes and their noise.
        size: side of the scenes, pixels; None for `SCENE_SIZE`.
    """
    size = size or SCENE_SIZE
    textures = (
        load_textures(None if photos is None else Path(photos), split),
        load_textures(None if cutouts is None else Path(cutouts), split, cutouts=True),
    )
    kinds: dict[Kind, int] = {"movers": samples - samples // 2, "camera": samples // 2}
    rows, everything = [], []
    with tqdm(total=samples, desc="scenes", unit="scene") as bar:
        for place, (kind, count) in enumerate(kinds.items()):
            config = SceneConfig(size=size, blur=SCENE_BLUR, kind=kind)
            judged = []
            for start in range(0, count, _BATCH):
                # Always whole batches, so that the first scenes of a longer run are the same.
                number = ((seed * 2 + place) << 20) + start
                scenes = render(*textures, config, _BATCH, number)
                photo = develop(scenes.blur, number)
                for index in range(min(_BATCH, count - start)):
                    judged.append(_judge_scene(answers, scenes, photo, index))
                    bar.update()
            rows += _rows(kind, judged)
            everything += judged
    rows += _rows("all", everything)
    notes = [
        f"{samples} scenes of {size}x{size} from the {split} split"
        f"{' (made-up textures)' if photos is None else ''}, longest blur "
        f"{SCENE_BLUR[0]:g} to {SCENE_BLUR[1]:g} px, 7 frames, photo with sensor noise and 8 bits.",
        "movers: several things move before a static camera; camera: the camera moves. "
        "least gain: of the frame whose mean gain is least. "
        f"PSNR of 8-bit sRGB; where a frame is exact it counts as {_EXACT:g} dB.",
    ]
    return rows, notes


def _judge_scene(
    answers: Answers, scenes: Scenes, photo: torch.Tensor, index: int
) -> dict[str, dict[str, Any]]:
    pixels = to_pixels(photo[index : index + 1])[0]
    frames = to_pixels(scenes.frames[index])
    truth = _Truth(frames, to_flow(scenes.flow[index]), None, range(len(frames)))
    guidance = scenes.guidance[index].permute(1, 2, 0).contiguous().cpu().numpy()
    return _judge(answers(pixels, guidance, len(frames)), pixels, truth)


def clips_rows(
    answers: Answers, paths: Sequence[Path], samples: int = CLIP_SAMPLES
) -> tuple[list[Row], list[str]]:
    """Rows and notes of the table "clips": each clip by itself.

    Args:
        answers: what is judged.
        paths: videos.
        samples: windows of each, at most.
    """
    rows, left_out = [], []
    for path in paths:
        judged = []
        seen = 0
        for window in tqdm(read_windows(path, samples), desc=path.stem, unit="window"):
            seen += 1
            flow = flow_over(window.frames)
            if np.mean(np.hypot(flow[..., 0], flow[..., 1]) >= STILL_THRESHOLD) < LEAST_MOVING:
                continue
            count = len(window.frames)
            truth = _Truth(window.frames, flow, crossed(flow), (0, count // 2, count - 1))
            judged.append(
                _judge(answers(window.photo, from_flow(flow), count), window.photo, truth)
            )
        # A clip in which nothing moves still has its place in the table.
        rows += _rows(path.stem, judged) or [
            {"name": f"{path.stem}: {PHOTO}", "samples": 0, **dict.fromkeys(ALWAYS)}
        ]
        left_out.append(f"{seen - len(judged)} of {seen} in {path.stem}")
    notes = [
        "Runs of 7, 9, 11, 13 and 15 frames in turn, every third frame a start, averaged in linear "
        "light; mean ± standard deviation over them. "
        f"Left out, as under {LEAST_MOVING:.1%} of the pixels move: {'; '.join(left_out)}.",
        f"moving: pixels that something moving by {STILL_THRESHOLD:g} px or more over the exposure "
        "crosses; they choose the order, and first, middle, last and non-middle are of them. "
        "SSIM: whole first, middle and last frame.",
        "Motion, so guidance and EPE too, is measured by optical flow (DIS) between the frames: "
        "an estimate, not the truth.",
    ]
    return rows, notes


# In every row, null where it was not measured.
ALWAYS = ("psnr", "ssim", "lpips", "epe", "gmacs", "seconds", "paper")

COLUMNS = {
    "samples": ("n", "d"),
    "psnr": ("PSNR", ".2f"),
    "gain": ("gain", "+.2f"),
    "gain_least_frame": ("least gain", "+.2f"),
    "psnr_moving": ("PSNR moving", ".2f"),
    "gain_moving": ("gain moving", "+.2f"),
    "psnr_given": ("given order", ".2f"),
    "psnr_better": ("better order", ".2f"),
    "psnr_moving_given": ("moving, given order", ".2f"),
    "psnr_moving_better": ("moving, better order", ".2f"),
    "first": ("first", ".2f"),
    "middle": ("middle", ".2f"),
    "last": ("last", ".2f"),
    "non_middle": ("non-middle", ".2f"),
    "ssim": ("SSIM", ".4f"),
    "lpips": ("LPIPS", ".4f"),
    "epe": ("EPE", ".2f"),
    "epe_zero": ("EPE of zero", ".2f"),
    "epe_ratio": ("ratio", ".2f"),
    "epe_moving": ("EPE moving", ".2f"),
    "gmacs": ("GMAC", ".1f"),
    "seconds": ("seconds", ".2f"),
    "paper": ("paper", ".2f"),
}
