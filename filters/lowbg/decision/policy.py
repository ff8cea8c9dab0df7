"""A policy file (TOML) as a `Policy`. Its keys, types and limits are those that config declares."""

from __future__ import annotations

import dataclasses
import datetime as dt
import difflib
import tomllib
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec

from lowbg.config import AUTO, Policy
from lowbg.decision.lm import FEATURES
from lowbg.decision.provenance import SourcePatterns
from lowbg.errors import ConfigError, cause
from lowbg.settings import (
    Declared,
    Setting,
    Vocabulary,
    allows,
    declared,
    default_of,
    describe,
    fields_of,
    is_list,
    is_table,
    nullable,
    setting_of,
    with_changes,
)
from lowbg.storage.objects import is_object_url
from lowbg.storage.whole_files import address, read_bytes
from lowbg.text import languages
from lowbg.text.sources import SourceBy

WORDS: Mapping[str, Callable[[], Sequence[str]]] = {
    "language": lambda: languages.CODES,
    "feature": lambda: FEATURES,
}
"""The words of each `Vocabulary`."""

TABLES = "decision.tables"
"""The setting that is a directory: a policy file names it as seen from its own place."""

SOURCE_TABLE = "sources.table"
"""Likewise a file, but for `AUTO`."""

SOURCE_BY = "sources.by"
"""The setting that says what a source is."""

RETIRED: Mapping[str, str] = {
    "calibration.lm.band": "policies have no band any more: its thresholds are of documents whose "
    "score lay in it. Calibrate anew with lowbg calibrate and `extras.lm.model`; how much an LM "
    "reads says each run: `extras.lm.budget`",
}
"""Keys that policies once had, and what to do about them."""

SOURCES = frozenset({"trust.allow_sources", "trust.deny_sources"})
"""Settings that are patterns of sources, or files of them."""


def load_policy(path: Path) -> Policy:
    """The policy that the file states; what it leaves out keeps its default.

    The path may be made of an object's URL (`s3://…`).
    Raises `ConfigError`, naming the file and the key, for a file that can't be read, is no TOML,
    has an unknown key (the nearest known one is named) or a value of the wrong kind.
    """
    try:
        text = read_bytes(path).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the policy cannot be read ({cause(error)})", file=address(path)
        ) from error
    return parse_policy(text, address(path), path.parent)


def parse_policy(
    text: str, name: str = "policy", folder: Path = Path(), kind: type[Policy] = Policy
) -> Policy:
    """The policy in `text`; `name` stands in messages, `folder` is where lists of sources lie."""
    try:
        values = tomllib.loads(text)
        changes = _read_keys(values, "", declared(kind), folder)
        return with_changes(kind(), changes)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML ({error})", file=name) from error
    except ConfigError as error:
        raise ConfigError(str(error), key=error.key, file=name) from error


def _read_keys(
    table: Mapping[str, Any], where: str, known: Sequence[Declared], folder: Path
) -> dict[str, Any]:
    """The values of a table of the file, and of those within it, by key."""
    depth = len(where.split(".")) if where else 0
    names = [own.setting.key.split(".")[depth] for own in known if own.setting.key]
    changes: dict[str, Any] = {}
    for name, value in table.items():
        key = f"{where}.{name}" if where else name
        if name not in names:
            raise _unknown(name, names, where, known)
        own = next((own for own in known if own.setting.key == key), None)
        if own is not None:
            changes[key] = _Reader(own.setting, key).read(value, own.kind, key)
            if key == TABLES or (key == SOURCE_TABLE and changes[key] != AUTO):
                changes[key] = address(_beside(folder, changes[key]))
            if key == SOURCE_BY:
                SourceBy.parse(changes[key])
            if key in SOURCES:
                changes[key] = _sources(changes[key], folder, key)
        else:
            inner = [own for own in known if own.setting.key.startswith(f"{key}.")]
            changes |= _read_keys(_table(value, key), key, inner, folder)
    return changes


def _unknown(
    name: str, names: Iterable[str], where: str, known: Sequence[Declared] = ()
) -> ConfigError:
    place = f"[{where}] " if where else ""
    homes = [key for key in (own.setting.key for own in declared(Policy)) if key.count(".") == 1]
    home = next((key for key in homes if known and key.endswith(f".{name}")), None)
    if home is not None:
        hint = f"it belongs under [{home.partition('.')[0]}]"
    else:
        hint = f"did you mean {_nearest(name, list(dict.fromkeys(names)))!r}?"
    key = f"{where}.{name}" if where else name
    return ConfigError(f"{place}unknown key {name!r}; {hint}", key=key)


def _nearest(name: str, words: Sequence[str]) -> str:
    """The word that is most like `name`; of languages the one that it is another name of."""
    meant = languages.normalise(name)
    if meant is not None and meant in words:
        return meant
    # As plain text: an enumeration's member shows its class.
    return str(difflib.get_close_matches(name, words, 1, cutoff=0.0)[0])


def _table(value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{key} is {value!r}; it must be a table, [{key}]", key=key)
    return value


def _sources(patterns: Sequence[str], folder: Path, key: str) -> tuple[str, ...]:
    try:
        return read_sources(patterns, folder)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}", key=key) from error


@dataclasses.dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the value of one setting, whose limits hold for every number in it."""

    setting: Setting
    key: str

    def read(self, value: Any, kind: Any, where: str) -> Any:
        """`value` as `kind`; `where` says where it stands. Raises `ConfigError`."""
        if kind is Any:  # Whoever it belongs to checks it.
            return value
        if dataclasses.is_dataclass(kind):
            return self._struct(_table(value, where), kind, where)
        if is_table(kind):
            return self._mapping(_table(value, where), kind, where)
        try:
            read = _convert(value, kind)
        except (msgspec.ValidationError, ValueError) as error:
            raise self._wrong(value, kind, where) from error
        numbers = read if isinstance(read, tuple) else (read,)
        if not all(allows(self.setting, n) for n in numbers if isinstance(n, (int, float))):
            raise self._wrong(value, kind, where)
        return read

    def _struct(self, table: Mapping[str, Any], kind: Any, where: str) -> Any:
        fields = fields_of(kind)
        names = [field.name for field, _ in fields]
        for name in table:
            if f"{where}.{name}" in RETIRED:
                raise ConfigError(f"[{where}] {name}: {RETIRED[f'{where}.{name}']}", key=self.key)
            if name not in names:
                raise _unknown(name, names, where)
        values: dict[str, Any] = {}
        for field, of in fields:
            own = setting_of(field)
            if field.name in table and own is not None:
                at = f"{where}.{field.name}"
                values[field.name] = _Reader(own, self.key).read(table[field.name], of, at)
            elif field.name in nullable(kind):
                values[field.name] = None
            elif default_of(field) is dataclasses.MISSING:
                raise ConfigError(f"[{where}] lacks {field.name}", key=self.key)
        try:
            return kind(**values)
        except ConfigError as error:
            message = str(error)
            raise ConfigError(
                message if where in message else f"[{where}] {message}", key=self.key
            ) from error

    def _mapping(self, table: Mapping[str, Any], kind: Any, where: str) -> dict[Any, Any]:
        names, of = typing.get_args(kind)
        words = _words(names)
        for name in table:
            if words and name not in words:
                raise _unknown(name, words, where)
        return {
            _convert(name, names): self.read(value, of, f"{where}.{name}")
            for name, value in table.items()
        }

    def _wrong(self, value: Any, kind: Any, where: str) -> ConfigError:
        words = _words(kind)
        wanted = f"one of {', '.join(words)}" if words else describe(kind, self.setting)
        return ConfigError(f"{where} is {value!r}; it must be {wanted}", key=self.key)


def _words(kind: Any) -> tuple[str, ...]:
    """The words that a value may be; empty where any text does."""
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return tuple(kind)
    if typing.get_origin(kind) is Annotated:
        own = next(m for m in kind.__metadata__ if isinstance(m, Vocabulary))
        return tuple(WORDS[own.name]())
    return ()


def _convert(value: Any, kind: Any) -> Any:
    """A value of TOML as `kind`. Raises `ValueError` or a `ValidationError` for another."""
    if is_list(kind):
        return _texts(value)
    if kind is dt.date and isinstance(value, dt.datetime):
        return value.date()
    words = _words(kind)
    if (words and value not in words) or value == "":
        raise ValueError("not one of them")
    kind = typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind
    return msgspec.convert(value, kind)


def _texts(value: Any) -> tuple[str, ...]:
    texts = msgspec.convert([value] if isinstance(value, str) else value, tuple[str, ...])
    if "" in texts:
        raise ValueError("empty")
    return texts


def _beside(folder: Path, name: str) -> Path:
    """A file as one in the folder names it: relative to it, or a URL of its own."""
    return Path(name) if is_object_url(name) else folder / name


def read_sources(patterns: Sequence[str], folder: Path) -> tuple[str, ...]:
    """The patterns, with `@FILE` replaced by those in the file: one a line, `#` for comments.

    A relative path is looked for in `folder`. Raises `ConfigError` where a file can't be read or
    a pattern is none.
    """
    read: list[str] = []
    places: dict[str, str] = {}
    for pattern in patterns:
        if not pattern.startswith("@"):
            read.append(pattern)
            continue
        path = _beside(folder, pattern[1:])
        try:
            lines = read_bytes(path).decode("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{address(path)}: the list of sources cannot be read ({cause(error)})"
            ) from error
        for number, line in enumerate(lines, 1):
            if bare := line.partition("#")[0].strip():
                places.setdefault(bare, f"{address(path)}:{number}: ")
                read.append(bare)
    try:
        SourcePatterns(read)
    except ConfigError:
        for pattern in read:
            try:
                SourcePatterns([pattern])
            except ConfigError as error:
                raise ConfigError(f"{places.get(pattern, '')}{error}") from error
        raise
    return tuple(dict.fromkeys(read))
