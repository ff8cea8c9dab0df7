"""A setting is declared once: at the field that holds it.

A field of a configuration says here what it means, in which unit, within which limits, and under
which key a policy file states it. The parser of policy files, command lines, `--dry-run`, tables
in the documentation and error messages all read it from there.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cache
from typing import Annotated, Any, Final, TypeVar, cast

from lowbg.errors import ConfigError

T = TypeVar("T")

_NAMED: Final = re.compile(r"`([a-z_]+(?:\.[a-z_]+)*)(?:=([^`]*))?`")
"""How messages name a setting: `fields.text`, `changed="redo"`, `extras.lm.model=…` (any value)."""

ABOVE_ZERO: Final = math.ulp(0.0)
"""The least float above 0, as a limit: anything but 0."""

SIZE: Final = "SIZE"
"""The unit of settings that are a number of bytes."""

SHARE: Final = "SHARE"
"""The unit of settings that are a share or a rate."""


class Heading(StrEnum):
    """Where documentation and `--help` list a setting, in this order."""

    COMMON = "Options"
    PIPE = "As part of a pipeline, without -o"
    DRAW = "What is taken"
    SAMPLING = "Sampling weights"
    INPUT = "Input and fields"
    OUTPUT = "Output"
    DECISION = "Decision"
    LIMITS = "Limits"
    PROVENANCE = "Provenance"
    SOURCES = "Sources"
    LISTS = "Lists"
    SECOND_LOOK = "Second look by a language model"
    OTHER_SCORERS = "Other optional scorers"
    RUNNING = "Running"
    EXIT = "Exit code"


class Written(StrEnum):
    """What becomes of the path that a setting holds."""

    FILE = "file"
    """A file is written there, or put in the place of the one that is there; or an object, where it
    is the URL of an object store."""
    LOCAL = "local"
    """The same, on a local disk alone."""
    APPENDED = "appended"
    """Lines are added to a file."""
    KEPT = "kept"
    """Lines are added to a file, or to an object where it is the URL of an object store."""
    UPDATED = "updated"
    """A file or object is written, which may be one that was read."""
    BESIDE_STDOUT = "beside stdout"
    """A file, or what stdout is: then the lines of both share one stream."""
    FOLDER = "folder"
    """Files are written below it."""
    STORE = "store"
    """The same, or objects where it is the URL of an object store."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a field says of itself.

    `key`: under which a policy file states it, dotted; else its path in the configuration. `flags`:
    its names on a command line, by spaces; empty: told from the field's name; null: it has none;
    without a dash it is an argument. `unit`: what stands for a value; `example`: one, for who
    spells it wrong. `least` and `most` are limits of a number, or of each number of a table;
    `shown`: its default in words; `hidden`: nobody but tests needs it. `written`: what becomes
    of the path that it is; null: it is read, or no path. `stdout`: "-" is standard output.
    """

    help: str
    key: str = ""
    flags: str | None = ""
    unit: str = ""
    example: str = ""
    heading: Heading = Heading.COMMON
    least: float | None = None
    most: float | None = None
    shown: str = ""
    hidden: bool = False
    written: Written | None = None
    stdout: bool = False


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """In `Annotated[str, …]`: a value must be one of the words of this name."""

    name: str


Language = Annotated[str, Vocabulary("language")]
"""A language that is told apart."""

_SETTING = "setting"


def setting(
    help: str,
    default: T | Any = MISSING,
    *,
    factory: Callable[[], T] | Any = MISSING,
    key: str = "",
    flags: str | None = "",
    unit: str = "",
    example: str = "",
    heading: Heading = Heading.COMMON,
    least: float | None = None,
    most: float | None = None,
    shown: str = "",
    hidden: bool = False,
    written: Written | None = None,
    stdout: bool = False,
) -> Any:
    """A field of a dataclass with what it says of itself; see `Setting`."""
    own = Setting(
        help,
        key=key,
        flags=flags,
        unit=unit,
        example=example,
        heading=heading,
        least=least,
        most=most,
        shown=shown,
        hidden=hidden,
        written=written,
        stdout=stdout,
    )
    metadata = {_SETTING: own}
    if factory is not MISSING:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def setting_of(field: dataclasses.Field[Any]) -> Setting | None:
    """What a field says of itself; null for one that is no setting."""
    return field.metadata.get(_SETTING)


@dataclass(frozen=True, slots=True)
class Declared:
    """A setting of a configuration.

    `path`: the fields that lead to it. `kind`: its type, without null. `default` is `MISSING` where
    it must be given.
    """

    path: tuple[str, ...]
    kind: Any
    default: Any
    setting: Setting

    @property
    def key(self) -> str:
        """Its name in messages, and in a policy file if it can stand there."""
        return self.setting.key or ".".join(self.path)

    @property
    def flags(self) -> tuple[str, ...]:
        """Its names on a command line, the one that messages use first; see `Setting`."""
        return tuple((self.setting.flags or f"--{self.path[-1].replace('_', '-')}").split())

    @property
    def flag(self) -> str:
        """The name by which messages of a command line call it."""
        return self.flags[0].partition("/")[0]

    def within(self, names: Sequence[str]) -> bool:
        """Whether it is one of `names`, keys or paths, or lies in one of them."""
        own = (self.key, ".".join(self.path))
        return any(n == name or n.startswith(f"{name}.") for name in names for n in own)


def declared(struct: Any, path: tuple[str, ...] = ()) -> tuple[Declared, ...]:
    """All settings of a configuration and of those within it, in order."""
    return _declared(struct, path)


@cache
def _declared(struct: Any, path: tuple[str, ...]) -> tuple[Declared, ...]:
    found: list[Declared] = []
    for field, kind in fields_of(struct):
        own, at = setting_of(field), (*path, field.name)
        if own is not None:
            found.append(Declared(at, kind, default_of(field), own))
        elif dataclasses.is_dataclass(kind):
            found += declared(kind, at)
    return tuple(found)


@cache
def fields_of(struct: Any) -> tuple[tuple[dataclasses.Field[Any], Any], ...]:
    """Each field with its type, without null."""
    hints = typing.get_type_hints(struct, include_extras=True)
    return tuple((f, without_null(hints[f.name])) for f in dataclasses.fields(struct))


@cache
def nullable(struct: Any) -> frozenset[str]:
    """The fields that may be null."""
    hints = typing.get_type_hints(struct, include_extras=True)
    return frozenset(name for name, kind in hints.items() if without_null(kind) is not kind)


def without_null(kind: Any) -> Any:
    """`X` of `X | None`; any other type as it is."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        kept = [part for part in typing.get_args(kind) if part is not type(None)]
        return kept[0] if len(kept) == 1 else kind
    return kind


def default_of(field: dataclasses.Field[Any]) -> Any:
    """A field's default; `MISSING` where there is none."""
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def is_table(kind: Any) -> bool:
    """Whether its values are tables of names and values."""
    return isinstance(typing.get_origin(kind), type) and issubclass(
        typing.get_origin(kind), Mapping
    )


def is_list(kind: Any) -> bool:
    """Whether its values are lists of any length."""
    return typing.get_origin(kind) is tuple and typing.get_args(kind)[1:] == (...,)


def with_changes(value: T, changes: Mapping[str, Any]) -> T:
    """`value` with the settings of these keys changed: tables and lists grow, others are replaced.

    A part that is null comes to be where one of its settings is named.
    """
    return cast(T, _changed(type(value), value, changes, ()))


def _changed(struct: Any, value: Any, changes: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    new: dict[str, Any] = {}
    for field, kind in fields_of(struct):
        own, at = setting_of(field), (*path, field.name)
        old = MISSING if value is None else getattr(value, field.name)
        if own is None:
            if dataclasses.is_dataclass(kind) and _touches(kind, at, changes):
                new[field.name] = _changed(kind, None if old is MISSING else old, changes, at)
        elif (key := own.key or ".".join(at)) in changes:
            new[field.name] = _grown(kind, old, changes[key])
    if value is None:
        return struct(**new)
    return dataclasses.replace(value, **new) if new else value


def _touches(struct: Any, path: tuple[str, ...], changes: Mapping[str, Any]) -> bool:
    return any(own.key in changes for own in declared(struct, path))


def _grown(kind: Any, old: Any, new: Any) -> Any:
    if old is MISSING or old is None:
        return new
    if is_table(kind):
        inner = typing.get_args(kind)[1]
        return {**old, **{name: _grown(inner, old.get(name), item) for name, item in new.items()}}
    return (*old, *(item for item in new if item not in old)) if is_list(kind) else new


def check_limits(value: Any) -> None:
    """Raises `ConfigError` where a number of a configuration lies outside its limits, or a word is
    none of those that it may be; plain text that is one of them becomes it."""
    struct: Any = type(value)
    for field, kind in fields_of(struct):
        own = setting_of(field)
        if own is None:
            continue
        where = own.key or field.name
        given = _with_members(getattr(value, field.name), kind, where)
        object.__setattr__(value, field.name, given)
        numbers: Iterable[tuple[str | None, Any]] = [(None, given)]
        if isinstance(given, Mapping):
            numbers = given.items()
        elif isinstance(given, tuple):
            numbers = [(None, number) for number in given]
        for name, number in numbers:
            if isinstance(number, (int, float, Fraction)) and not allows(own, number):
                at = where if name is None else f"{where}.{name}"
                wanted = describe(type(number), own)
                raise ConfigError(f"{at} is {number}; it must be {wanted}", key=where)


def _with_members(given: Any, kind: Any, where: str) -> Any:
    """A value with the members of enumerations in the places of their words."""
    if isinstance(given, Mapping) and is_table(kind):
        words = typing.get_args(kind)[0]
        return {_member(name, words, f"a key of {where}"): item for name, item in given.items()}
    return given if given is None else _member(given, kind, where)


def _member(word: Any, kind: Any, where: str) -> Any:
    if not (isinstance(kind, type) and issubclass(kind, StrEnum)):
        return word
    try:
        return kind(word)
    except ValueError:
        key = where.removeprefix("a key of ")
        raise ConfigError(
            f"{where} is {word!r}; it must be one of {', '.join(kind)}", key=key
        ) from None


def allows(own: Setting, number: Any) -> bool:
    """Whether a number is finite and within the limits."""
    least, most = own.least, own.most
    if isinstance(number, float) and not math.isfinite(number):
        return False
    return (least is None or number >= least) and (most is None or number <= most)


def describe(kind: Any, own: Setting) -> str:
    """What a value must be, in words that follow "it must be"."""
    if typing.get_origin(kind) is Annotated:
        kind = typing.get_args(kind)[0]
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return f"one of {', '.join(kind)}"
    if kind in (int, float, Fraction):
        return _describe_number(kind, own)
    if is_table(kind):
        return f"a table: {_describe_names(kind)} → {describe(typing.get_args(kind)[1], own)}"
    if dataclasses.is_dataclass(kind):
        return "a table"
    if is_list(kind):
        return "text, or a list of texts"
    words = {dt.date: "a date, YYYY-MM-DD", bool: "true or false", Any: "anything"}
    return words.get(kind, "text")


def _describe_names(kind: Any) -> str:
    names = typing.get_args(kind)[0]
    if typing.get_origin(names) is Annotated:
        return next(m.name for m in names.__metadata__ if isinstance(m, Vocabulary))
    return ", ".join(names) if issubclass(names, StrEnum) else "name"


def _describe_number(kind: Any, own: Setting) -> str:
    noun = "a whole number" if kind is int else "a number"
    if not _range(own):
        return noun
    if own.least == ABOVE_ZERO:
        return f"{noun} {_range(own)}"
    both = own.least is not None and own.most is not None
    return _range(own) if both and kind is not int else f"{noun}, {_range(own)}"


def _range(own: Setting) -> str:
    least, most = own.least, own.most
    low = "" if least is None else "above 0" if least == ABOVE_ZERO else f"{least:g} or more"
    if most is None:
        return low
    if least is None or least == ABOVE_ZERO:
        return f"{low}, at most {most:g}".removeprefix(", ")
    return f"between {least:g} and {most:g}"


def default_text(own: Declared) -> str:
    """A setting's default in words; empty where it has none that says something."""
    value = own.default
    if own.setting.shown:
        return own.setting.shown
    if value is MISSING or value is None or isinstance(value, bool) or value in ((), ""):
        return ""
    if isinstance(value, Mapping):
        return ""
    if own.setting.unit == SIZE:
        return size_text(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def size_text(count: int) -> str:
    """Bytes as a user writes them: 64M, 1536."""
    for unit, power in (("G", 30), ("M", 20), ("k", 10)):
        if count and count % (1 << power) == 0:
            return f"{count >> power}{unit}"
    return str(count)


def renamed(message: str, call: Callable[[str, str | None], str | None]) -> str:
    """A message with the settings that it names in backticks called otherwise.

    `call` gets a name, and the value that stands with it (null: none); where it returns null the
    name stays as it is.
    """

    def word(match: re.Match[str]) -> str:
        name, value = match.groups()
        called = call(name, value and value.removeprefix('"').removesuffix('"'))
        return match.group() if called is None else called

    return _NAMED.sub(word, message)


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested tables as dotted names with their values."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
