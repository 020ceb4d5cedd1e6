"""Tables of numbers: how good the animator is, on scenes and on real clips.

Every table is one call and one file of JSON and of Markdown. A clip made with true guidance is
judged in the order in which it is given; one made without, in the better of its two orders, one
choice for the whole clip, its frames and its flow (see `b2m.metrics`). "Photo repeated" is the
blurred photo as every frame, with a flow of zero: what doing nothing scores.
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

from b2m import evaluate_motions, evaluate_papers, evaluate_video, paper_tables
from b2m.answers import (
    COST_RUNS,
    COST_SIZE,
    COST_THREADS,
    PHOTO,
    Answer,
    Answers,
    animator_answers,
    enlarged_answers,
    measure_costs,
    to_flow,
    to_pixels,
)
from b2m.api import BlurAnimator
from b2m.data.clips import crossed, find_clips, flow_over, read_windows
from b2m.data.scenes import Kind, SceneConfig, Scenes, render
from b2m.data.sensor import develop
from b2m.data.textures import load_textures
from b2m.errors import InputError, OutputError
from b2m.guidance import STILL_THRESHOLD, from_flow
from b2m.media import Pixels
from b2m.metrics import epe, psnr, ssim
from b2m.motion import Flow
from b2m.report import Row, command_line, write_report

SCENE_SIZE = 192
SCENE_BLUR = (4.0, 32.0)
SCENE_SAMPLES = 200
CLIP_SAMPLES = 40
LEAST_MOVING = 0.005
"""Share of moving pixels below which a window of a real clip says nothing about motion."""

_BATCH = 8
_EXACT = 100.0  # dB; stands for an infinite PSNR, which no mean could hold


def evaluate(
    table: str,
    *,
    samples: int | None = None,
    photos: str | os.PathLike[str] | None = None,
    cutouts: str | os.PathLike[str] | None = None,
    clips: str | os.PathLike[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] = "results",
    split: str = "test",
    seed: int = 0,
) -> Path:
    """Compute a table, print it as Markdown, and write `output`/TABLE.json and TABLE.md.

    Args:
        table: "scenes" (rendered: several movers before a static camera, and camera motion) or
            "clips" (real ones, averaged into blurred photos) or "video" (the same as blurred
            videos, see `b2m.evaluate_video`) or "motions" (the first few of all that a blur
            allows, on scenes and, where there are any, on clips, see `b2m.evaluate_motions`) or
            "enlarged" (scenes whose blurred photos were enlarged), or a table of the papers, one of
            `b2m.paper_tables.TABLES`, such as "2022-T1".
        samples: scenes in all (default 200), or windows or blurred frames of each clip (default
            40; for "motions" at most 20), or photos of each group (tables of the papers, default
            60).
        photos, cutouts: folders for the scenes (see `b2m.data.textures.split_files`); None for
            made-up textures.
        clips: folder of videos, or of one folder of them for each split.
        weights: see `b2m.hub.find_weights`; for the tables of the papers a folder of checkpoints,
            beside those of trainings in `b2m.train.runs_folder()`.
        output: folder, made when missing.
        split: "train", "val" or "test".
        seed: of the scenes and their noise.

    Returns:
        The JSON file: table, command, machine, notes and rows; a number that was not measured
        is null.

    Raises:
        InputError: an unknown table or split, no samples, or bad folders, clips or weights.
        OutputError: the results cannot be written.
    """
    if problem := refusal(table, samples, clips, split):
        raise InputError(problem)
    output = Path(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {output}: {error.strerror or error}") from error
    if table in paper_tables.TABLES:
        sources = {"photos": photos, "cutouts": cutouts, "clips": clips, "weights": weights}
        return _paper_table(table, samples, sources, output, split, seed)
    animator = BlurAnimator.from_pretrained(weights)
    answers = (enlarged_answers if table == "enlarged" else animator_answers)(animator)
    if table in ("scenes", "enlarged"):
        asked = samples or SCENE_SAMPLES
        rows, notes = scenes_rows(answers, asked, photos, cutouts, split=split, seed=seed)
    elif table == "motions":
        asked = samples or SCENE_SAMPLES
        rows, notes = evaluate_motions.motions_rows(
            animator,
            photos,
            cutouts,
            [] if clips is None else find_clips(Path(clips), split),
            scenes=asked,
            windows=min(asked, evaluate_motions.WINDOWS),
            size=SCENE_SIZE,
            blur=SCENE_BLUR,
            split=split,
            seed=seed,
        )
        rows = [dict.fromkeys(_ALWAYS) | row for row in rows]
    else:
        asked = samples or CLIP_SAMPLES
        assert clips is not None
        paths = find_clips(Path(clips), split)
        if table == "clips":
            rows, notes = clips_rows(answers, paths, asked)
        else:
            rows, notes = evaluate_video.video_rows(animator, paths, asked)
            rows = [dict.fromkeys(_ALWAYS) | row for row in rows]
    if table in ("scenes", "clips"):
        costs = measure_costs(animator)
        for row in rows:
            row["gmacs"], row["seconds"] = costs.get(row["name"].split(": ", 1)[1], (None, None))
        notes.append(
            "GMAC (convolutions and products) and seconds: a photo of "
            f"{COST_SIZE[1]}x{COST_SIZE[0]} to 7 frames, median of {COST_RUNS} runs, "
            f"{COST_THREADS} threads."
        )
    options = {"samples": asked, "photos": photos, "cutouts": cutouts, "clips": clips}
    options |= {"weights": weights, "split": None if split == "test" else split}
    options |= {"seed": seed or None}
    command = command_line(["b2m", "evaluate", "--table", table], options)
    others = {"video": evaluate_video.COLUMNS, "motions": evaluate_motions.COLUMNS}
    columns = others.get(table, _COLUMNS)
    path, text = write_report(output, table, command, rows, columns, notes, table == "clips")
    print(text)
    return path


def _paper_table(
    table: str,
    samples: int | None,
    sources: dict[str, str | os.PathLike[str] | None],
    output: Path,
    split: str,
    seed: int,
) -> Path:
    """Compute, print, draw and write one of the tables of the papers."""
    from b2m.train import runs_folder

    asked, runs, clips = samples or evaluate_papers.SAMPLES, runs_folder(), sources["clips"]
    rows, notes, judged = evaluate_papers.paper_rows(
        paper_tables.TABLES[table],
        photos=sources["photos"],
        cutouts=sources["cutouts"],
        clips=[] if clips is None else find_clips(Path(clips), split),
        weights=sources["weights"],
        runs=runs,
        samples=asked,
        split=split,
        seed=seed,
    )
    given: dict[str, Any] = {"samples": asked, **sources}
    given |= {"split": None if split == "test" else split, "seed": seed or None}
    command = command_line(["b2m", "evaluate", "--table", table], given)
    path, text = write_report(output, table, command, rows, evaluate_papers.COLUMNS, notes)
    print(text)
    for picture in evaluate_papers.draw(table, output, rows, judged, runs):
        print(picture)
    return path


def refusal(
    table: str, samples: int | None, clips: str | os.PathLike[str] | None, split: str
) -> str | None:
    """Why `evaluate` would not begin, in one sentence, or None."""
    if table not in TABLES:
        return f"no table is called '{table}'; there are {', '.join(TABLES)}"
    if split not in SPLITS:
        return f"no split is called '{split}'; there are {', '.join(SPLITS)}"
    if samples is not None and samples < 1:
        return f"samples (--samples) is {samples}: give at least 1, there must be some to measure"
    if table in ("clips", "video") and clips is None:
        return f"the table '{table}' needs real clips: name their folder with clips=… (--clips)"
    return None


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
        row: Row = {"name": f"{group}: {name}", "samples": len(samples), **dict.fromkeys(_ALWAYS)}
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
            {"name": f"{path.stem}: {PHOTO}", "samples": 0, **dict.fromkeys(_ALWAYS)}
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
_ALWAYS = ("psnr", "ssim", "lpips", "epe", "gmacs", "seconds", "paper")

_COLUMNS = {
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

TABLES = ("scenes", "clips", "video", "motions", "enlarged", *paper_tables.TABLES)
SPLITS = ("train", "val", "test")
