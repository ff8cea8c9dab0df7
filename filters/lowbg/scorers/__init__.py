"""Scorers: one file or package each, found by its name, and those of installed third parties.

A module here is a scorer where it has a function `create(models) -> Scorer`; so is what a third
party names in the entry-point group `lowbg.scorers`. A scorer with settings is made by
`create(models, settings)`, and runs only where there are some. Importing such a module has to be
cheap and must work without what only `setup` needs.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from lowbg.errors import ConfigError, ScorerError
from lowbg.plugins import entry_points

if TYPE_CHECKING:
    from lowbg.config import Extras, Policy
    from lowbg.models import ModelFile
    from lowbg.schema import Column, Columns
    from lowbg.scorers.base import Scorer

ENTRY_POINTS = "lowbg.scorers"
"""The entry-point group of third parties' scorers."""


class Factory(Struct, frozen=True):
    """Makes the scorer `name` by the function `attribute` of `module`, imported at the first call.

    Called with the opened models by language code, and the scorer's settings if there are any.
    Raises `ConfigError` where the module or something that it needs isn't installed, and where
    what it makes is no such scorer.
    """

    name: str
    module: str
    attribute: str = "create"

    def __call__(self, models: Mapping[str, ModelFile], settings: object = None) -> Scorer:
        """The scorer over these models; without `settings` it may only say what it is."""
        from lowbg.scorers.base import Scorer
        from lowbg.scorers.checked import blamed

        who = f"scorer {self.name!r} ({self.module}:{self.attribute})"
        try:
            with blamed(who):
                create: Any = import_module(self.module)
                for part in self.attribute.split("."):
                    create = getattr(create, part)
        except ScorerError as error:
            raise ConfigError(
                f"{who} can't be loaded: {error.__cause__}. Install what it needs, or leave it out."
            ) from error
        with blamed(who):
            scorer: Scorer = create(models) if settings is None else create(models, settings)
        if not isinstance(scorer, Scorer):
            raise ConfigError(
                f"{who}: a {type(scorer).__name__} came, and no lowbg.scorers.base.Scorer"
            )
        if scorer.name != self.name:
            raise ConfigError(f"{who} calls itself {scorer.name!r}; it must be the same name")
        return scorer

    @property
    def is_builtin(self) -> bool:
        """Whether it comes with lowbg."""
        return self.module.startswith(f"{__name__}.")


def available() -> dict[str, Factory]:
    """What makes each installed scorer, by name: the built-in ones, then third parties' by name.

    Raises `ConfigError` when two claim one name.
    """
    names = sorted(found.name for found in pkgutil.iter_modules(__path__))
    factories = {
        name: Factory(name, f"{__name__}.{name}")
        for name in names
        if hasattr(import_module(f"{__name__}.{name}"), "create")
    }
    points = entry_points(ENTRY_POINTS)
    for point in sorted(points, key=lambda point: (point.name, point.value)):
        factory = Factory(point.name, point.module, point.attr or "create")
        clash = factories.get(point.name)
        if clash is not None and clash != factory:
            raise ConfigError(
                f"two scorers are called {point.name!r}: {clash.module} and {factory.module}. "
                "Uninstall one of them."
            )
        factories[point.name] = factory
    return factories


def running_scorers(
    models: Mapping[str, ModelFile],
    policy: Policy,
    extras: Extras,
    *,
    third_parties: bool = True,
) -> tuple[Scorer, ...]:
    """The scorers of a run, in the order of their columns: those without settings, and those that
    `extras` or the policy's `scorers` have settings for.

    `models` holds the opened model file of each language. Raises `ConfigError` where a scorer
    can't be made, and for settings that are no scorer's.
    """
    factories = available()
    extras = _with_shipped_probe(extras)
    if extras.lm is not None and extras.lm.surprise and extras.by_scorer["lm_probe"] is None:
        raise ConfigError(
            f"a probe weighs the surprise, and none of {extras.lm.model} is given: leave out "
            "`extras.lm.surprise`, or name one, `extras.lm.probe`",
            key="extras.lm.surprise",
        )
    for name in policy.scorers:
        _check_name(name, factories, extras.by_scorer)
    running: list[Scorer] = []
    for name, factory in factories.items():
        if not (factory.is_builtin or third_parties):
            continue
        scorer = factory(models)
        given = extras.by_scorer.get(name)
        if given is None and name in policy.scorers:
            from lowbg.scorers.settings import read_settings

            given = read_settings(scorer, policy.scorers[name])
        if scorer.settings is None:
            running.append(scorer)
        elif given is not None:
            running.append(factory(models, given))
    return tuple(sorted(running, key=lambda s: min((c.order for c in s.columns), default=0)))


def _with_shipped_probe(extras: Extras) -> Extras:
    """With the probe that comes with lowbg for the LM, where there is one and none is given."""
    lm = extras.lm
    if lm is None or lm.probe is not None or lm.performer is not None:
        return extras
    from lowbg.scorers.lm.shipped import probe_for

    found = probe_for(lm.model)
    return extras if found is None else replace(extras, lm=replace(lm, probe=str(found)))


def _check_name(name: str, factories: Mapping[str, Factory], by_options: Iterable[str]) -> None:
    if name not in factories:
        nearest = get_close_matches(name, factories, 1, cutoff=0.0)[0]
        raise ConfigError(f"[scorers.{name}]: no scorer {name!r}; did you mean {nearest!r}?")
    if name in by_options:
        raise ConfigError(
            f"[scorers.{name}]: this scorer's settings are options of a run, not part of a policy"
        )


def columns_of(scorers: Iterable[Scorer]) -> Columns:
    """The columns of a run of these scorers. Raises `ConfigError` where their names clash, or a
    column can't be what it is declared to be.
    """
    from lowbg.schema import OWN, Columns

    owners = {column.name: "a row of lowbg" for column in OWN}
    for scorer in scorers:
        for column in scorer.columns:
            where = f"scorer {scorer.name!r}: column {column.name!r}"
            if column.name in owners:
                raise ConfigError(
                    f"{where} clashes with that of {owners[column.name]}; rename it, or uninstall "
                    "one of them"
                )
            fault = _fault(column)
            if fault is not None:
                raise ConfigError(f"{where}: {fault}")
            owners[column.name] = f"scorer {scorer.name!r}"
    return Columns.of(column for scorer in scorers for column in scorer.columns)


def _fault(column: Column) -> str | None:
    """What is wrong with a declaration; null where nothing is."""
    import pyarrow as pa

    if not isinstance(column.type, pa.DataType):
        return f"its type is {column.type!r}; it must be an Arrow type, such as pa.float32()"
    if column.bins is None:
        return None
    edges = column.bins.edges
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return f"it has bins, and its type is {column.type}; only numbers are counted by bins"
    if len(edges) < 2 or any(low >= high for low, high in pairwise(edges)):
        return "the edges of its bins must rise, and be two or more"
    return None
