"""A `Policy` as the text of a policy file; `policy.parse_policy` reads it back as it was."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from typing import Any, ClassVar

from lowbg.config import Policy
from lowbg.settings import declared

TABLES = ("decision", "calibration", "thresholds", "trust", "sources", "gate")
"""The order in which tables are written; others follow."""


@dataclass(frozen=True, slots=True)
class Notes:
    """Comments of a policy file on where the thresholds of `languages` come from.

    `lines` are what is said; a first and a last line of their own tell them from other comments.
    """

    BEGIN: ClassVar[str] = "Calibrated by lowbg"
    END: ClassVar[str] = "The next calibration of this file replaces these lines, on "

    made: str
    lines: tuple[str, ...]
    languages: tuple[str, ...]

    @property
    def text(self) -> str:
        """The comments, each on a line of its own."""
        lines = (f"{self.BEGIN} {self.made}", *self.lines, self.END + ", ".join(self.languages))
        return "".join(f"# {line}\n" for comment in lines for line in comment.split("\n"))


def policy_text(policy: Policy, notes: Notes | None = None) -> str:
    """The TOML of `policy`, every value written out, below `notes`."""
    lines: list[str] = []
    for name, values in _tables(policy).items():
        lines += _lines(name, values)
    for scorer, settings in sorted(policy.scorers.items()):
        # An empty one says that the scorer is to run.
        lines.append(f"[scorers.{_key(scorer)}]")
        lines += [f"{_key(key)} = {_value(value)}" for key, value in settings.items()]
    return ("" if notes is None else notes.text) + "\n".join(lines) + "\n"


def plain_tables(policy: Policy) -> dict[str, Any]:
    """What a file of `policy` with every value would be read as, but for the scorers' settings."""
    return {name: _plain(values) for name, values in _tables(policy).items()}


def _tables(policy: Policy) -> dict[str, dict[str, Any]]:
    """The values of the policy by table and name."""
    tables: dict[str, dict[str, Any]] = {name: {} for name in TABLES}
    for own in declared(type(policy)):
        if own.setting.key:
            table, _, name = own.setting.key.partition(".")
            value = reduce(getattr, own.path, policy)
            tables.setdefault(table, {}).update({name: value} if name else {})
    return tables


def _plain(value: Any) -> Any:
    """A value as TOML has it; of a table without what is null or empty."""
    if _is_table(value):
        values = {str(key): _plain(item) for key, item in _as_table(value).items()}
        return {key: item for key, item in values.items() if item not in (None, [], {})}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, StrEnum) else value


def _lines(name: str, values: Mapping[str, Any]) -> Iterator[str]:
    """A table and those within it, the simpler ones first; what is null or empty is left out."""
    inner = {key: _as_table(value) for key, value in values.items() if _is_table(value)}
    plain = [
        f"{_key(key)} = {_value(value)}"
        for key, value in values.items()
        if key not in inner and value is not None and value != ()
    ]
    if plain:
        yield f"[{name}]"
        yield from plain
    for key, table in sorted(inner.items(), key=lambda item: _depth(item[1])):
        yield from _lines(f"{name}.{_key(key)}", table)


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or dataclasses.is_dataclass(value)


def _as_table(value: Any) -> Mapping[str, Any]:
    """By name; the fields of a struct, and tables of lists, keep their order."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    keep = any(isinstance(item, tuple) for item in value.values())
    return dict(value if keep else sorted(value.items()))


def _depth(table: Mapping[str, Any]) -> int:
    inner = [_depth(_as_table(value)) for value in table.values() if _is_table(value)]
    return 1 + max(inner, default=0)


def _key(key: str) -> str:
    plain = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if plain else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, str):
        # A JSON string is a TOML basic string, but for DEL.
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_key(key)} = {_value(item)}' for key, item in value.items())}}}"
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else repr(value)
