"""Scorers: one file or package each, found by its name, and those of installed third parties.

A module here (`base` and names with a leading underscore aside) has a function
`create(models) -> Scorer`; so has what a third party names in the entry-point group
`lowbg.scorers`. Modules are imported only when their scorer is made, so that an optional scorer
with missing dependencies harms nobody who doesn't ask for it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

from lowbg.errors import ConfigError

if TYPE_CHECKING:
    from lowbg.config import Extras
    from lowbg.models import ModelFile
    from lowbg.scorers.base import Scorer

ENTRY_POINTS = "lowbg.scorers"
"""The entry-point group of third parties' scorers."""

DEFAULT = ("perplexity", "burstiness", "phrases")
"""The built-in scorers of every run, in the order of their columns."""

OPTIONAL = ("causal_lm", "binoculars", "kenlm", "watermark")
"""The built-in scorers that run only where they are asked for; each has a function
`configured(settings: Extras) -> Scorer` beside `create`."""

LM = ("causal_lm", "binoculars")
"""Those of them that are causal LMs: in a cascade they see only some of the documents."""


@dataclass(frozen=True, slots=True)
class Factory:
    """Makes the scorer `name` by the function `attribute` of `module`, imported at the first call.

    Called with the opened models by language code. Raises `ConfigError` when the module or
    something that it needs isn't installed.
    """

    name: str
    module: str
    attribute: str = "create"

    def __call__(self, models: Mapping[str, ModelFile]) -> Scorer:
        """The scorer over these models."""
        try:
            create: Any = import_module(self.module)
            for part in self.attribute.split("."):
                create = getattr(create, part)
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"scorer {self.name!r} ({self.module}:{self.attribute}) can't be loaded: {error}. "
                "Install what it needs, or leave it out."
            ) from error
        scorer: Scorer = create(models)
        return scorer

    @property
    def is_builtin(self) -> bool:
        """Whether it comes with lowbg."""
        return self.module.startswith(f"{__name__}.")


def available() -> dict[str, Factory]:
    """What makes each installed scorer, by name: the built-in ones, then third parties' by name.

    Raises `ConfigError` when two claim one name.
    """
    factories = {
        found.name: Factory(found.name, f"{__name__}.{found.name}")
        for found in sorted(pkgutil.iter_modules(__path__), key=lambda found: found.name)
        if found.name not in ("base", "lm") and not found.name.startswith("_")
    }
    points = metadata.entry_points(group=ENTRY_POINTS)
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


def default_scorers(
    models: Mapping[str, ModelFile], *, third_parties: bool = True
) -> tuple[Scorer, ...]:
    """The scorers of a run without optional ones: `DEFAULT`, then third parties' by name.

    `models` holds the opened model file of each language.
    """
    factories = available()
    others = [name for name, factory in factories.items() if not factory.is_builtin]
    names = (*DEFAULT, *others) if third_parties else DEFAULT
    return tuple(factories[name](models) for name in names)


def optional_scorers(settings: Extras) -> tuple[Scorer, ...]:
    """The scorers that the settings ask for. With two LMs, `binoculars` has both scorers' columns.

    Raises `ConfigError` where one needs something that isn't installed.
    """
    lm = settings.lm
    asked = {
        "causal_lm": lm is not None and lm.performer is None,
        "binoculars": lm is not None and lm.performer is not None,
        "kenlm": settings.kenlm is not None,
        "watermark": settings.watermark is not None,
    }
    scorers: list[Scorer] = []
    for name in OPTIONAL:
        if asked[name]:
            scorers.append(import_module(f"{__name__}.{name}").configured(settings))
    return tuple(scorers)
