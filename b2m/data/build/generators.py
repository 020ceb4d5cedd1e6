"""Generators of samples: which parts of which sources become samples, and how.

A generator plans samples and makes them. Making is a function of the recipe and the task
alone, so that tasks may run anywhere, in any order, and again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tqdm.auto import tqdm

from b2m.data.build import from_footage, from_scenes
from b2m.data.build.task import Generator, Outcome, SourcePlan, Task, sources_of_layout
from b2m.data.footage import Source
from b2m.data.recipes import DatasetRecipe
from b2m.data.storage import Skip
from b2m.errors import InputError

GENERATORS = {
    "average": Generator(
        sources_of_layout,
        from_footage.plan_windows,
        from_footage.average_windows,
        from_footage.may_end_windows,
    ),
    "pairs": Generator(sources_of_layout, from_footage.plan_pairs, from_footage.read_pairs),
    "interpolate": Generator(
        sources_of_layout, from_footage.plan_gaps, from_footage.interpolate_between
    ),
    "panorama": Generator(
        sources_of_layout,
        from_scenes.plan_photos,
        from_scenes.rendering_generator(from_scenes.draw_panorama),
        rendered=True,
    ),
    "rotation": Generator(
        sources_of_layout,
        from_scenes.plan_photos,
        from_scenes.rendering_generator(from_scenes.draw_rotation),
        rendered=True,
    ),
    "scenes": Generator(
        from_scenes.scene_sources,
        from_scenes.plan_scenes,
        from_scenes.rendering_generator(from_scenes.draw_scenes),
        rendered=True,
    ),
}
"""By the name that recipes have; a source of pairs is read as "pairs", whatever the recipe's is."""


def _generator_of(recipe: DatasetRecipe, source: Source | None = None) -> Generator:
    return GENERATORS["pairs" if source is not None and source.pairs else recipe.generator]


def is_rendered(recipe: DatasetRecipe) -> bool:
    """Whether samples are drawn, as many as the recipe counts."""
    return _generator_of(recipe).rendered


def plan_sources(
    recipe: DatasetRecipe, folder: Path | None, split: str | None = None
) -> tuple[list[SourcePlan], list[Skip]]:
    """The samples to make, in the order of sources.

    Args:
        recipe: how.
        folder: the sources; None for procedural textures, where they are rendered.
        split: see `read_layout`.

    Returns:
        The plan of each source, and the sources of which nothing can be made.

    Raises:
        InputError: no such folder, or another layout.
    """
    sources = _generator_of(recipe).sources(recipe, folder, split)
    plans: list[SourcePlan] = []
    skips: list[Skip] = []
    bar = tqdm(sources, "look at sources", unit=" sources", leave=False, dynamic_ncols=True)
    for index, source in enumerate(bar):
        try:
            plans.append(_generator_of(recipe, source).plan(recipe, source, index, len(sources)))
        except InputError as error:
            skips.append(Skip(-1, source.name, str(error)))
    return plans, skips


def tasks_of(
    recipe: DatasetRecipe,
    source_plan: SourcePlan,
    number: int,
    first: int,
    count: int,
    done: Callable[[int], bool],
) -> Iterator[Task]:
    """The tasks of a run of samples of one source, without those that are done.

    Args:
        recipe: how.
        source_plan: of the source.
        number: of the first sample.
        first: its index among those of the source.
        count: of them.
        done: by their numbers.
    """
    generator = _generator_of(recipe, source_plan.source)
    footage = replace(source_plan.footage, keyframes=()) if source_plan.footage else None
    begin = 0
    for end in range(1, count + 1):
        if end < count and not generator.may_end(recipe, source_plan, first + end, end - begin):
            continue
        indices = range(begin, end)
        begin = end
        todo = [index for index in indices if not done(number + index)]
        chosen = list(indices) if generator.rendered and todo else todo
        if chosen:
            yield Task(
                tuple(number + index for index in chosen),
                source_plan.source,
                tuple(source_plan.starts[first + index] for index in chosen),
                footage,
            )


def make(recipe: DatasetRecipe, task: Task) -> Iterator[Outcome]:
    """Make the samples of a task, one after the other, each with its record; or say why not."""
    yield from _generator_of(recipe, task.source).make(recipe, task)
