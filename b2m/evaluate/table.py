"""What a table is, and the one loop that computes them all.

A table says which samples there are (`groups`), which rows each gets and what is measured
(`score`), and how it is shown (`columns`, `notes`, `draw`). It is registered by name::

    @register_table("sharp")
    class SharpTable(Table):
        ...

and is then known to `b2m evaluate --table`; the first line of its docstring is what
`b2m evaluate --list` says of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from tqdm.auto import tqdm

from b2m.data.clips import find_clips
from b2m.data.scenes import Kind, SceneConfig
from b2m.errors import ArgumentError
from b2m.evaluate import methods as evaluated
from b2m.evaluate.methods import Cost, Method, measure_costs
from b2m.evaluate.report import NOT_RUN, Columns, Row
from b2m.evaluate.scoring import Label, Scores, ScoresOfRows, mean_rows, method_of
from b2m.evaluate.test_sets import scene_samples

PathLike = str | os.PathLike[str]

ALL_KEYS = ("psnr", "ssim", "lpips", "epe", "gmacs", "seconds", "paper")
NO_COST: Row = {"gmacs": None, "seconds": None}
COST_COLUMNS = {"gmacs": ("GMAC", ".1f"), "seconds": ("seconds", ".2f")}

Rows = dict[Label, Row]


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
    methods: tuple[str, ...] = ()


class Group(NamedTuple):
    """Samples that share a row for each method.

    Attributes:
        name: that its rows begin with.
        samples: what is measured; `Table.score` knows the type.
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
        methods: what is compared; None for those of `load_methods`.

    Attributes:
        name: as it is registered.
        columns: of the Markdown.
        default_samples: how many, where no number is given; None for all.
        required_inputs: of "photos" and "clips", without which there is no table.
        command_options: that change it, as the command that is written down names them.
        takes_data: whether it is measured on data sets that were built, where they are named.
        compares_models: whether weights are a folder of checkpoints, one for each model.
        required_keys: of every row, null where they were not measured.
        measures_costs: whether rows show what their methods cost.
        std_keys: whose standard deviation over samples is kept, too, as KEY_std.
        shows_std: whether the Markdown shows it.
        size: pixels, side of rendered scenes.
        blur: pixels, least and most of the longest motion in a scene.
        row_labels: of rows that are there even where nothing was scored.
    """

    name: ClassVar[str]
    columns: ClassVar[Columns]
    default_samples: ClassVar[int | None] = None
    required_inputs: ClassVar[tuple[str, ...]] = ()
    command_options: ClassVar[tuple[str, ...]] = ("photos", "cutouts", "clips", "data", "weights")
    takes_data: ClassVar[bool] = False
    compares_models: ClassVar[bool] = False
    required_keys: ClassVar[tuple[str, ...]] = ALL_KEYS
    measures_costs: ClassVar[bool] = False
    std_keys: ClassVar[tuple[str, ...]] = ()
    shows_std: ClassVar[bool] = False
    size: ClassVar[int] = 192
    blur: ClassVar[tuple[float, float]] = (4.0, 32.0)
    row_labels: tuple[Label, ...] = ()

    def __init__(self, options: Options, methods: Sequence[Method] | None = None) -> None:
        self.options = options
        self.sample_count = options.samples or self.default_samples
        self.missing: list[str] = []
        self.costs: dict[str, Cost] = {}
        self.methods = list(self.load_methods() if methods is None else methods)

    def load_methods(self) -> Sequence[Method]:
        """The methods that are compared; names of those without weights become `missing`."""
        return ()

    def find_methods(self, names: Iterable[str]) -> list[Method]:
        """The table's methods, or those of `Options.methods`, whose weights are there.

        Args:
            names: of the table's methods.

        Raises:
            ArgumentError: another one is asked for.
        """
        known, asked = list(names), self.options.methods
        if unknown := [name for name in asked if name not in known]:
            raise ArgumentError(
                f"the table '{self.name}' has no method '{unknown[0]}'; there are: "
                f"{'; '.join(known)}"
            )
        chosen = [name for name in known if name in asked] if asked else known
        there, self.missing = evaluated.find_methods(chosen, self.options.weights)
        return there

    def groups(self) -> Iterator[Group]:
        """Which samples there are."""
        raise NotImplementedError

    def score(self, sample: Any) -> Iterator[tuple[Label, Scores]]:
        """Label and scores of each row on one sample; nothing where it is left out."""
        raise NotImplementedError

    def finish(self, group: Group, rows: Rows, scores: ScoresOfRows) -> Iterable[Row]:
        """Complete the rows of a group: what is no mean over samples.

        Args:
            group: whose rows they are.
            rows: means over its samples.
            scores: of each sample.
        """
        return rows.values()

    def notes(self) -> list[str]:
        """Sentences below the table."""
        return []

    def draw(self, folder: Path, rows: Sequence[Row]) -> list[Path]:
        """Write pictures of the table; returns which."""
        return []

    def compute(self) -> list[Row]:
        """The loop: every group, every sample, every row."""
        if self.measures_costs:
            self.costs = measure_costs(self.methods)
        rows: list[Row] = []
        for pool, groups in groupby(self.groups(), key=lambda group: group.pool):
            pooled: ScoresOfRows = {label: [] for label in self.row_labels}
            for group in groups:
                found: ScoresOfRows = {label: [] for label in self.row_labels}
                for sample in tqdm(group.samples, group.name, total=group.total, unit=group.unit):
                    for label, scores in self.score(sample):
                        found.setdefault(label, []).append(scores)
                        pooled.setdefault(label, []).append(scores)
                rows += self._rows(group, found)
            if pool is not None:
                rows += self._rows(Group(pool, ()), pooled)
        return rows

    def _rows(self, group: Group, scores: ScoresOfRows) -> Iterable[Row]:
        rows = mean_rows(group.name, scores, self.required_keys, self.std_keys)
        if self.measures_costs:
            for label, row in rows.items():
                row["gmacs"], row["seconds"] = self.costs.get(method_of(label), (None, None))
        return self.finish(group, rows, scores)

    # --- what several tables share ----------------------------------------------------------------

    def not_run(self, group: str) -> Rows:
        """A row for each method whose weights are not there."""
        return {name: {"name": f"{group}: {name}{NOT_RUN}"} for name in self.missing}

    def clip_paths(self) -> list[Path]:
        """The real clips of the split; there may be none."""
        if self.options.clips is None:
            return []
        return find_clips(Path(self.options.clips), self.options.split)

    def scene_group(
        self, name: str, kind: Kind, count: int, number: int, *, pool: str | None = None
    ) -> Group:
        """Scenes rendered from the options' photos and cut-outs, of the table's `size` and `blur`.

        Args:
            name: of the group.
            kind: of the scenes.
            count: how many.
            number: among all groups and seeds, of which each has scenes of its own.
            pool: name of the group of all samples of groups that have the same; None for none.
        """
        given = self.options
        config = SceneConfig(size=self.size, blur=self.blur, kind=kind)
        found = scene_samples(
            given.photos, given.cutouts, config, count, split=given.split, number=number << 20
        )
        return Group(name, found, count, "scene", kind, pool)

    def half_movers_half_camera(self, pool: str) -> Iterator[Group]:
        """Half of the samples as scenes of movers before a static camera, half of camera motion."""
        total, number = self.sample_count or 0, 2 * self.options.seed
        yield self.scene_group("movers", "movers", total - total // 2, number, pool=pool)
        yield self.scene_group("camera", "camera", total // 2, number + 1, pool=pool)

    def cost_note(self, what: str) -> str:
        """How costs were measured.

        Args:
            what: was run.
        """
        height, width = evaluated.COST_SIZE
        return (
            f"GMAC (convolutions and products) and seconds ({evaluated.COST_THREADS} threads): "
            f"{what}, a photo of {width}x{height}."
        )

    @property
    def texture_remark(self) -> str:
        """A remark for notes where no photos were given."""
        return " (procedural textures)" if self.options.photos is None else ""
