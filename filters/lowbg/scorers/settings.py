"""A table `[scorers.NAME]` of a policy, as the settings that the scorer declares."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import msgspec

from lowbg.errors import ConfigError
from lowbg.scorers.base import Scorer


def read_settings(scorer: Scorer, table: Mapping[str, Any]) -> Any:
    """An instance of `scorer.settings` with the values of `table`.

    Raises `ConfigError`, naming the key, for a scorer without settings, an unknown key (the nearest
    known one is named), a missing one, or a value of the wrong type.
    """
    where, kind = f"[scorers.{scorer.name}]", scorer.settings
    if kind is None:
        raise ConfigError(f"{where}: this scorer has no settings; take the table out")
    if not dataclasses.is_dataclass(kind):
        raise ConfigError(f"{where}: its settings, {kind.__name__}, are no dataclass")
    known = [field.name for field in dataclasses.fields(kind)]
    for key in table:
        if key not in known:
            nearest = get_close_matches(key, known, 1, cutoff=0.0)
            hint = f"did you mean {nearest[0]!r}?" if nearest else "it has no keys"
            raise ConfigError(f"{where} unknown key {key!r}; {hint}")
    try:
        return msgspec.convert(table, kind, dec_hook=_made)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at ")
        path = place.strip("`").removeprefix("$").removeprefix(".")
        raise ConfigError(f"{where} {path + ': ' if path else ''}{what}") from error
    except ConfigError as error:
        raise ConfigError(f"{where} {error}") from error


def _made(kind: type[Any], value: Any) -> Any:
    """A value of a type that TOML has none of, such as a path."""
    return kind(value)
