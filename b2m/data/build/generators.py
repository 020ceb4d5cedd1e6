"""Generators of samples: which places of which sources become samples, and how.

A way offers places and makes samples of them. Making is a function of the recipe and the task
alone, so that tasks may run anywhere, in any order, and again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tqdm.auto import tqdm

from b2m.data.build import from_footage, from_scenes
from b2m.data.build.task import Generator, Made, SourcePlan, Task, laid_out
from b2m.data.footage import Source
from b2m.data.recipes import Recipe
from b2m.data.storage import Skip
from b2m.errors import InputError

GENERATORS = {
    "average": Generator(
        laid_out,
        from_footage.offer_windows,
        from_footage.average_windows,
        from_footage.cut_windows,
    ),
    "pairs": Generator(laid_out, from_footage.offer_files, from_footage.read_pairs),
    "between": Generator(laid_out, from_footage.offer_gaps, from_footage.interpolate_between),
    "panorama": Generator(
        laid_out,
        from_scenes.offer_photo,
        from_scenes.rendering_generator(from_scenes.draw_panorama),
        rendered=True,
    ),
    "rotation": Generator(
        laid_out,
        from_scenes.offer_photo,
        from_scenes.rendering_generator(from_scenes.draw_rotation),
        rendered=True,
    ),
    "scenes": Generator(
        from_scenes.scene_sources,
        from_scenes.offer_scenes,
        from_scenes.rendering_generator(from_scenes.draw_scenes),
        rendered=True,
    ),
}
"""By the name that recipes have; "pairs" is that of sources which are blurred already."""


def _way(recipe: Recipe, source: Source | None = None) -> Generator:
    return GENERATORS["pairs" if source is not None and source.pairs else recipe.way]


def is_rendered(recipe: Recipe) -> bool:
    """Whether samples are drawn, as many as the recipe counts."""
    return _way(recipe).rendered


def plan(
    recipe: Recipe, folder: Path | None, split: str | None = None
) -> tuple[list[SourcePlan], list[Skip]]:
    """The samples to make, in the order of sources.

    Args:
        recipe: how.
        folder: the sources; None for made-up textures, where they are rendered.
        split: see `read_layout`.

    Returns:
        What each source offers, and the sources of which nothing can be made.

    Raises:
        InputError: no such folder, or another layout.
    """
    sources = _way(recipe).sources(recipe, folder, split)
    offers: list[SourcePlan] = []
    skips: list[Skip] = []
    bar = tqdm(sources, "look at sources", unit=" sources", leave=False, dynamic_ncols=True)
    for place, source in enumerate(bar):
        try:
            offers.append(_way(recipe, source).offer(recipe, source, place, len(sources)))
        except InputError as error:
            skips.append(Skip(-1, source.name, str(error)))
    return offers, skips


def tasks_of(
    recipe: Recipe,
    offer: SourcePlan,
    number: int,
    first: int,
    count: int,
    done: Callable[[int], bool],
) -> Iterator[Task]:
    """The tasks of a run of samples of one source, without those that are done.

    Args:
        recipe: how.
        offer: of the source.
        number: of the first sample.
        first: its place among those of the source.
        count: of them.
        done: by their numbers.
    """
    way = _way(recipe, offer.source)
    footage = replace(offer.footage, keys=()) if offer.footage else None
    begin = 0
    for end in range(1, count + 1):
        if end < count and not way.cut(recipe, offer, first + end, end - begin):
            continue
        places = range(begin, end)
        begin = end
        todo = [place for place in places if not done(number + place)]
        chosen = list(places) if way.rendered and todo else todo
        if chosen:
            yield Task(
                tuple(number + place for place in chosen),
                offer.source,
                tuple(offer.starts[first + place] for place in chosen),
                footage,
            )


def make(recipe: Recipe, task: Task) -> Iterator[Made]:
    """Make the samples of a task, one after the other, each with its record; or say why not."""
    yield from _way(recipe, task.source).make(recipe, task)
