"""Tables of numbers: `b2m evaluate --table NAME`.

Every table is one call and one file of JSON and of Markdown.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from b2m.data.clips import find_clips
from b2m.data.textures import split_files
from b2m.errors import InputError, OutputError
from b2m.evaluate import paper_tables
from b2m.evaluate.answers import (
    COST_RUNS,
    COST_SIZE,
    COST_THREADS,
    animator_answers,
    enlarged_answers,
    large_answers,
    measure_costs,
)
from b2m.evaluate.methods import Contender, cost, find_contender
from b2m.evaluate.report import command_line, write_report
from b2m.evaluate.tables import (
    animator as evaluate_animator,
)
from b2m.evaluate.tables import (
    deconvolution as evaluate_deconvolution,
)
from b2m.evaluate.tables import (
    hypotheses as evaluate_motions,
)
from b2m.evaluate.tables import (
    papers as evaluate_papers,
)
from b2m.evaluate.tables import (
    segmentation as evaluate_segmentation,
)
from b2m.evaluate.tables import (
    sharp as evaluate_sharp,
)
from b2m.evaluate.tables import (
    video as evaluate_video,
)
from b2m.evaluate.test_sets import Case
from b2m.inference.animator import BlurAnimator
from b2m.media.image import Pixels, read_image
from b2m.motion.fields import Flow
from b2m.visualize.plots import draw_table


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
            videos, see `b2m.evaluate.tables.video`) or "motions" (the first few of all that a blur
            allows, on scenes and, where there are any, on clips) or
            "enlarged" (scenes whose blurred photos were enlarged) or "large" (scenes larger than
            what is looked at as a whole) or "sharp" (photos in which nothing moves) or
            "segmentation" (what moves against the camera), or a table
            of the papers, one of `b2m.evaluate.paper_tables.TABLES`, such as "2022-T1".
        samples: scenes in all (default 200), or windows or blurred frames of each clip (default
            40; for "motions" at most 20), or photos of each group (tables of the papers, default
            60), or photos ("sharp", by default all).
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
    if problem := refusal(table, samples, photos, clips, split):
        raise InputError(problem)
    several = table in paper_tables.TABLES or table in _USES  # models, each in a folder of its own
    if several and weights is not None and not Path(weights).is_dir():
        raise InputError(
            f"there is no folder {os.fspath(weights)!r}: name one of checkpoints with weights=… "
            "(--weights), or none for those that come with b2m"
        )
    output = Path(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {output}: {error.strerror or error}") from error
    if table in paper_tables.TABLES:
        sources = {"photos": photos, "cutouts": cutouts, "clips": clips, "weights": weights}
        return _paper_table(table, samples, sources, output, split, seed)
    if table == "sharp":
        return _sharp_table(photos, weights, output, split, samples)
    if table in _USES:
        return _use_table(table, samples, photos, cutouts, weights, output, split, seed)
    animator = BlurAnimator.from_pretrained(weights)
    special = {"enlarged": enlarged_answers, "large": large_answers}
    answers = special.get(table, animator_answers)(animator)
    if table in ("scenes", *special):
        asked = samples or evaluate_animator.SCENE_SAMPLES
        rows, notes = evaluate_animator.scenes_rows(
            answers,
            asked,
            photos,
            cutouts,
            split=split,
            seed=seed,
            size=evaluate_animator.LARGE_SIZE if table == "large" else None,
        )
    elif table == "motions":
        asked = samples or evaluate_animator.SCENE_SAMPLES
        rows, notes = evaluate_motions.motions_rows(
            animator,
            photos,
            cutouts,
            [] if clips is None else find_clips(Path(clips), split),
            scenes=asked,
            windows=min(asked, evaluate_motions.WINDOWS),
            size=evaluate_animator.SCENE_SIZE,
            blur=evaluate_animator.SCENE_BLUR,
            split=split,
            seed=seed,
        )
        rows = [dict.fromkeys(evaluate_animator.ALWAYS) | row for row in rows]
    else:
        asked = samples or evaluate_animator.CLIP_SAMPLES
        assert clips is not None
        paths = find_clips(Path(clips), split)
        if table == "clips":
            rows, notes = evaluate_animator.clips_rows(answers, paths, asked)
        else:
            rows, notes = evaluate_video.video_rows(animator, paths, asked)
            rows = [dict.fromkeys(evaluate_animator.ALWAYS) | row for row in rows]
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
    columns = others.get(table, evaluate_animator.COLUMNS)
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
    from b2m.assets import runs_folder

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


def _sharp_table(
    photos: str | os.PathLike[str] | None,
    weights: str | os.PathLike[str] | None,
    output: Path,
    split: str,
    samples: int | None,
) -> Path:
    """Compute, print and write the table of photos in which nothing moves."""
    assert photos is not None
    paths = split_files(Path(photos), split)[:samples]
    animator = BlurAnimator.from_pretrained(weights)
    rows, notes = evaluate_sharp.sharp_rows(animator, paths, split)
    given = {"samples": samples, "photos": photos, "weights": weights}
    given |= {"split": None if split == "test" else split}
    command = command_line(["b2m", "evaluate", "--table", "sharp"], given)
    path, text = write_report(output, "sharp", command, rows, evaluate_sharp.COLUMNS, notes)
    print(text)
    return path


def _use_table(
    table: str,
    samples: int | None,
    photos: str | os.PathLike[str] | None,
    cutouts: str | os.PathLike[str] | None,
    weights: str | os.PathLike[str] | None,
    output: Path,
    split: str,
    seed: int,
) -> Path:
    """Compute, print and write a table of what flow is used for."""
    from b2m.assets import runs_folder

    contenders = {name: find_contender(name, weights, runs_folder()) for name in _FLOWS}
    there = {name: one for name, one in contenders.items() if one is not None}
    given = {"photos": photos, "weights": weights, "split": None if split == "test" else split}
    if table == "segmentation":
        asked = samples or evaluate_segmentation.SAMPLES
        rows, notes = evaluate_segmentation.segmentation_rows(
            {name: one.motion for name, one in there.items()},
            photos,
            cutouts,
            samples=asked,
            split=split,
            seed=seed,
        )
        columns, score = evaluate_segmentation.COLUMNS, ("iou", "IoU")
        given |= {"cutouts": cutouts}
    else:
        asked = samples or evaluate_deconvolution.SAMPLES
        assert photos is not None
        rows, notes = evaluate_deconvolution.deconvolution_rows(
            [read_image(path).pixels for path in split_files(Path(photos), split)],
            {name: _flow_of(one) for name, one in there.items()},
            samples=asked,
            seed=seed,
        )
        columns, score = (
            evaluate_deconvolution.COLUMNS,
            ("gain", "PSNR over the blurred photo (dB)"),
        )
    costs = {name: cost(one.model) for name, one in there.items()}
    for row in rows:
        row["gmacs"], row["seconds"] = costs.get(row["name"].split(": ", 1)[1], (None, None))
    columns = columns | {"gmacs": ("GMAC", ".1f"), "seconds": ("seconds", ".2f")}
    notes.append(
        f"GMAC (convolutions and products) and seconds ({COST_THREADS} threads): the network that "
        f"finds the flow, alone, a photo of {COST_SIZE[1]}x{COST_SIZE[0]}. BlurFlowNet was trained "
        "on 30,000 samples, the animator as shipped for longer: see their cards."
    )
    rows += [{"name": f"all: {name} (not run)"} for name in contenders if name not in there]
    command = command_line(
        ["b2m", "evaluate", "--table", table], {"samples": asked, **given, "seed": seed or None}
    )
    path, text = write_report(output, table, command, rows, columns, notes)
    print(text)
    draw_table(output / f"{table}.png", table, rows, *score)
    print(output / f"{table}.png")
    return path


def _flow_of(contender: Contender) -> Callable[[Pixels], Flow]:
    """What finds the motion in a photo of which nothing is known."""

    def flow(photo: Pixels) -> Flow:
        nothing = np.zeros((*photo.shape[:2], 2), np.float32)
        return contender.motion(Case(photo, photo[None], nothing))

    return flow


def refusal(
    table: str,
    samples: int | None,
    photos: str | os.PathLike[str] | None,
    clips: str | os.PathLike[str] | None,
    split: str,
) -> str | None:
    """Why `evaluate` would not begin, in one sentence, or None."""
    if table not in TABLES:
        return f"no table is called '{table}'; there are {', '.join(TABLES)}"
    if split not in SPLITS:
        return f"no split is called '{split}'; there are {', '.join(SPLITS)}"
    if samples is not None and samples < 1:
        return f"samples (--samples) is {samples}: give at least 1, there must be some to measure"
    if table in ("2021b-T2", "sharp") and photos is None:
        return f"the table '{table}' needs photos: name their folder with photos=… (--photos)"
    of_clips = table in ("clips", "video") or (
        table in paper_tables.TABLES and paper_tables.TABLES[table].groups == ("video",)
    )
    if of_clips and clips is None:
        return f"the table '{table}' needs real clips: name their folder with clips=… (--clips)"
    return None


_USES = ("2021b-T2", "segmentation")
_FLOWS = ("BlurFlowNet", "animator")

TABLES = (
    *("scenes", "clips", "video", "motions", "enlarged", "large", "sharp"),
    *paper_tables.TABLES,
    *_USES,
)
SPLITS = ("train", "val", "test")
