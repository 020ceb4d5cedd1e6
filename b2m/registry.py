"""Registries of models, tables and data layouts, each entry registered where it is defined."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

    from b2m.data.footage import Source
    from b2m.evaluate.table import Table
    from b2m.hub import HubModel

MODELS: dict[str, type[HubModel]] = {}
"""Models by the name that `--model` takes; `b2m.models` fills it."""

TABLES: dict[str, type[Table]] = {}
"""Tables by the name that `b2m evaluate --table` takes; `b2m.evaluate.tables` fills it."""

LAYOUTS: dict[str, tuple[Callable[[Path, str], Iterable[Source]], tuple[str, ...]]] = {}
"""Readers of data sets by layout, each with its split schemes; `b2m.data.layouts` fills it."""

_Model = TypeVar("_Model", bound="type[HubModel]")
_Entry = TypeVar("_Entry")
_Table = TypeVar("_Table", bound="type[Table]")
_Reader = TypeVar("_Reader", bound="Callable[[Path, str], Iterable[Source]]")


def register_model(
    name: str, recipes: Mapping[str, Mapping[str, Any]] | None = None
) -> Callable[[_Model], _Model]:
    """Decorate a model class: it can then be named in commands, tables and trainings.

    Args:
        name: for `--model`.
        recipes: trainings of this model by name: values of `b2m.train.recipes.Recipe`.
    """

    def register(model: _Model) -> _Model:
        model.recipes = recipes or {}
        return _register(MODELS, name, model)

    return register


def register_table(name: str) -> Callable[[_Table], _Table]:
    """Decorate a table class, see `b2m.evaluate.table`.

    Args:
        name: for `b2m evaluate --table`.
    """

    def register(table: _Table) -> _Table:
        table.name = name
        return _register(TABLES, name, table)

    return register


def register_layout(name: str, schemes: tuple[str, ...] = ()) -> Callable[[_Reader], _Reader]:
    """Decorate a function from a folder, and a way to split it, to its sources.

    The first line of its docstring is what is said of a folder in which it finds no source.

    Args:
        name: for the `layout` of a `b2m.data.recipes.DatasetRecipe`.
        schemes: names of the splits into train, val and test, the default first.
    """

    def register(reader: _Reader) -> _Reader:
        _register(LAYOUTS, name, (reader, schemes))
        return reader

    return register


def import_all(package: str) -> None:
    """Import every module of a package, so that what they define is registered."""
    for module in pkgutil.iter_modules(import_module(package).__path__, f"{package}."):
        import_module(module.name)


def _register(entries: dict[str, Any], name: str, entry: _Entry) -> _Entry:
    if name in entries:
        raise ValueError(f"{name!r} is registered twice: {entries[name]} and {entry}")
    entries[name] = entry
    return entry
