"""The commands that train and measure: ``b2m train | evaluate``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from b2m.cli.console import Seed, listing, require_at_least
from b2m.errors import ArgumentError

ClipFolder = Annotated[Path | None, typer.Option(metavar="DIR", help="Real clips.")]
PhotoFolder = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Sharp photos; without them, procedural textures."),
]
CutoutFolder = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Cut-outs with alpha; without them, shapes."),
]
DataFolders = Annotated[
    list[str] | None,
    typer.Option(
        metavar="DIR …",
        help="Data sets that b2m data build has made, instead of scenes; DIR=2 for a weight.",
    ),
]
Samples = Annotated[int | None, typer.Option(metavar="N", help="How many samples.")]


def _recipe_lines() -> Iterator[str]:
    from b2m.train.recipes import all_recipes

    for name, recipe in sorted(all_recipes().items()):
        yield f"{name:36} {recipe.model.__name__}, crops of {recipe.crop}x{recipe.crop}"


def _table_lines() -> Iterator[str]:
    from b2m.evaluate.run import all_tables

    for name, table in sorted(all_tables().items()):
        yield f"{name:16} {(table.__doc__ or '').partition(chr(10))[0]}"


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a recipe; see --list.")],
    photos: PhotoFolder = None,
    cutouts: CutoutFolder = None,
    clips: ClipFolder = None,
    data: DataFolders = None,
    keep_scenes: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Cache rendered scenes there for other runs; about 1 GB for 20,000 samples.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Folder of the run."),
    ] = None,
    samples: Samples = None,
    hours: Annotated[
        float | None,
        typer.Option(metavar="H", help="Stop after this time."),
    ] = None,
    threads: Annotated[int | None, typer.Option(metavar="N", help="Threads to use.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--restart", help="Resume the run, or start anew.")
    ] = True,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS",
            help="Weights to begin with where there is no run yet: a folder, a Hub id, or "
            "'random'; by default those of b2m, if they are of this recipe's size.",
        ),
    ] = None,
    decay: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Instead of going on, anneal the learning rate to zero over N samples and write "
            "weights for release; the run itself stays as it is.",
            show_default=False,
        ),
    ] = 0,
    seed: Seed = 0,
    recipes: Annotated[bool, listing("recipes", _recipe_lines)] = False,
) -> None:
    """Train a model; run it again to resume."""
    if samples is not None:
        require_at_least(samples, 1, "--samples", "there must be something to learn from")
    if hours is not None and not hours > 0:
        raise ArgumentError(f"--hours is {hours:g}: give a number above 0")
    if threads is not None:
        require_at_least(threads, 1, "--threads", "one thread is needed")

    from b2m.train import loop as training

    training.train(
        recipe,
        photos=photos,
        cutouts=cutouts,
        clips=clips,
        data=data or (),
        keep_scenes=keep_scenes,
        output=output,
        samples=samples,
        hours=hours,
        threads=threads,
        resume=resume,
        init=init,
        decay=decay,
        seed=seed,
    )


def evaluate(
    table: Annotated[
        str,
        typer.Option(metavar="NAME", help="Name of a table; see --list."),
    ],
    samples: Samples = None,
    photos: PhotoFolder = None,
    cutouts: CutoutFolder = None,
    clips: ClipFolder = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIR …", help="Data sets that b2m data build has made, instead of scenes."
        ),
    ] = None,
    split: Annotated[str, typer.Option(metavar="NAME", help="train, val or test.")] = "test",
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Other weights: a folder or a Hugging Face Hub id; for tables that compare models "
            "a folder of checkpoints.",
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME …",
            help="Compute these methods alone, of tables that compare models; other rows stay as "
            "they are in the folder of the results.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the results.")
    ] = Path("results"),
    seed: Seed = 0,
    listed: Annotated[bool, listing("tables", _table_lines)] = False,
) -> None:
    """Compute a table of numbers, as Markdown and JSON.

    Tables whose names begin with a year are those of the papers. They compare models that this
    program trains; those that were not trained have a row that says so. With --data they are
    measured on that split of data sets that were built.
    """
    from b2m.evaluate import run as evaluation

    evaluation.evaluate(
        table,
        samples=samples,
        photos=photos,
        cutouts=cutouts,
        clips=clips,
        data=data or (),
        weights=weights,
        methods=method or (),
        output=output,
        split=split,
        seed=seed,
    )
