"""What a table is, and the one loop that computes them all.

A table says which samples there are (`groups`), which rows each gets and what is measured
(`judge`), and how it is shown (`columns`, `notes`, `draw`). It is registered by name::

    @register_table("sharp")
    class SharpTable(Table):
        ...

and is then known to `b2m evaluate --table`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from tqdm.auto import tqdm

from b2m.data.clips import find_clips
from b2m.data.sample import Sample
from b2m.data.scenes import Kind, SceneConfig
from b2m.evaluate.report import Columns, Row
from b2m.evaluate.scoring import Scores, Tally
from b2m.evaluate.test_sets import scene_samples

PathLike = str | os.PathLike[str]

ALWAYS = ("psnr", "ssim", "lpips", "epe", "gmacs", "seconds", "paper")
"""Keys of every row, null where they were not measured."""


@dataclass(frozen=True)
class Options:
    """What a table is computed from; see `b2m.evaluate.evaluate`."""

    samples: int | None = None
    photos: PathLike | None = None
    cutouts: PathLike | None = None
    clips: PathLike | None = None
    data: tuple[str, ...] = ()
    weights: PathLike | None = None
    split: str = "test"
    seed: int = 0


class Group(NamedTuple):
    """Samples that share a row for each method.

    Attributes:
        name: that its rows begin with.
        samples: what is judged; `Table.judge` knows the type.
        total: how many, at most; None where that is not known.
        unit: what a sample is called.
        kind: of samples, where several groups are of one kind.
        pool: name of the group of all samples of groups that have the same; None for none.
    """

    name: str
    samples: Iterable[Any]
    total: int | None = None
    unit: str = "photo"
    kind: str = ""
    pool: str | None = None


class Table:
    """A table of numbers; subclasses fill it.

    Args:
        options: what it is computed from.
    """

    name: ClassVar[str]
    """As it is registered."""

    columns: ClassVar[Columns]
    """Of the Markdown."""

    samples: ClassVar[int | None] = None
    """How many, where no number is given; None for all."""

    needs: ClassVar[tuple[str, ...]] = ()
    """Of "photos" and "clips", without which there is no table."""

    uses: ClassVar[tuple[str, ...]] = ("photos", "cutouts", "clips", "data", "weights")
    """Options that change it, as the command that is written down names them."""

    takes_data: ClassVar[bool] = False
    """Whether it is measured on data sets that were built, where they are named."""

    many_models: ClassVar[bool] = False
    """Whether weights are a folder of checkpoints, one for each model."""

    always: ClassVar[tuple[str, ...]] = ALWAYS
    spread: ClassVar[tuple[str, ...]] = ()
    shows_spread: ClassVar[bool] = False
    names: tuple[str, ...] = ()
    """Of rows that are there even where nothing was judged."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.asked = options.samples or self.samples

    def groups(self) -> Iterator[Group]:
        """Which samples there are."""
        raise NotImplementedError

    def judge(self, sample: Any) -> Iterator[tuple[str, Scores]]:
        """Name and scores of each row on one sample; nothing where it is left out."""
        raise NotImplementedError

    def finish(self, group: Group, rows: list[Row], tally: Tally) -> list[Row]:
        """Complete the rows of a group: what is no mean over samples."""
        return rows

    def notes(self) -> list[str]:
        """Sentences below the table."""
        return []

    def draw(self, folder: Path, rows: Sequence[Row]) -> list[Path]:
        """Write pictures of the table; returns which."""
        return []

    def compute(self) -> list[Row]:
        """The loop: every group, every sample, every row."""
        rows: list[Row] = []
        pool: Group | None = None
        pooled = Tally(self.names)
        for group in self.groups():
            if pool is not None and pool.pool != group.pool:
                rows += self._rows(pool, pooled)
                pool, pooled = None, Tally(self.names)
            tally = Tally(self.names)
            for sample in tqdm(group.samples, group.name, total=group.total, unit=group.unit):
                for name, scores in self.judge(sample):
                    tally.add(name, scores)
            rows += self._rows(group, tally)
            if group.pool:
                pool = Group(group.pool, (), pool=group.pool)
                pooled.take(tally)
        return rows if pool is None else rows + self._rows(pool, pooled)

    def _rows(self, group: Group, tally: Tally) -> list[Row]:
        return self.finish(group, tally.rows(group.name, self.always, self.spread), tally)

    def clips(self) -> list[Path]:
        """The real clips of the split; there may be none."""
        if self.options.clips is None:
            return []
        return find_clips(Path(self.options.clips), self.options.split)

    def scenes(self, config: SceneConfig, count: int, place: int) -> Iterator[Sample]:
        """Scenes rendered from the options' photos and cut-outs.

        Args:
            config: of the scenes.
            count: how many.
            place: among the groups, of which each has scenes of its own.
        """
        found = self.options
        return scene_samples(
            found.photos, found.cutouts, config, count, split=found.split, number=place << 20
        )

    def movers_and_camera(self, size: int, blur: tuple[float, float], pool: str) -> Iterator[Group]:
        """Half of the samples as scenes of movers before a static camera, half of camera motion."""
        asked = self.asked or 0
        kinds: dict[Kind, int] = {"movers": asked - asked // 2, "camera": asked // 2}
        for place, (kind, count) in enumerate(kinds.items()):
            config = SceneConfig(size=size, blur=blur, kind=kind)
            found = self.scenes(config, count, 2 * self.options.seed + place)
            yield Group(kind, found, count, "scene", pool=pool)

    @property
    def made_up(self) -> str:
        """A remark for notes where no photos were given."""
        return " (made-up textures)" if self.options.photos is None else ""
