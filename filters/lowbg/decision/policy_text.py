"""A `Policy` as the text of a policy file; `policy.parse_policy` reads it back as it was."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any

from lowbg.config import Policy
from lowbg.settings import declared

TABLES = ("decision", "calibration", "thresholds", "trust", "gate")
"""The order in which tables are written; others follow."""


def policy_text(policy: Policy, comments: tuple[str, ...] = ()) -> str:
    """The TOML of `policy`, every value written out, below `comments`, one line each."""
    tables: dict[str, dict[str, Any]] = {name: {} for name in TABLES}
    for own in declared(type(policy)):
        if own.setting.key:
            table, _, name = own.setting.key.partition(".")
            value = reduce(getattr, own.path, policy)
            tables.setdefault(table, {}).update({name: value} if name else {})
    lines = [f"# {line}".rstrip() for comment in comments for line in comment.split("\n")]
    for name, values in tables.items():
        lines += _lines(name, values)
    for scorer, settings in sorted(policy.scorers.items()):
        # An empty one says that the scorer is to run.
        lines.append(f"[scorers.{_key(scorer)}]")
        lines += [f"{_key(key)} = {_value(value)}" for key, value in settings.items()]
    return "\n".join(lines) + "\n"


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
