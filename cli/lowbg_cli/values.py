"""Words of a command line as values, by the type that their setting declares."""

from __future__ import annotations

import datetime as dt
import math
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from lowbg.errors import ConfigError
from lowbg.settings import SHARE, SIZE, Declared, Written, allows, describe, is_list, is_table
from lowbg.storage.files import refuse_url
from lowbg.storage.objects import SCHEMES, is_object_url

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt]?)(i?)(b?))", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:,\d{3})+)")

_SHARE = re.compile(
    r"(?P<number>[+-]?(?:\d{1,99}(?:\.\d*)?|\.\d+)(?:e[+-]?\d\d?)?)(?:/(?P<of>\d{1,99}))?"
    r"\s*(?P<percent>%?)",
    re.IGNORECASE,
)
"""No longer than what a float has room for."""


def refused(message: str) -> Exception:
    """What the parser of the command line is told of a value that is none."""
    from typer import BadParameter

    return BadParameter(message)


def parse_whole(text: str | int) -> int:
    """A whole number: `1924`, and `1,924` as reports and messages write it."""
    if isinstance(text, int):
        return text
    try:
        return _whole(text)
    except ValueError as error:
        raise refused(str(error)) from None


def _whole(text: str) -> int:
    if _WHOLE.fullmatch(text.strip()) is None:
        raise ValueError(f"{text!r} is no whole number")
    return int(text.replace(",", ""))


def parse_size(text: str | int) -> int:
    """Bytes: `65536`, `64M` and `64MiB` (× 1,048,576), `64MB` (× 1,000,000)."""
    if isinstance(text, int):
        return text
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise refused(f"{text!r} is no size; write it like 65536, 64M or 64MB")
    number, prefix, binary, byte = match.groups()
    base = 1000 if byte and not binary else 1024
    size = int(float(number) * base ** " kmgt".index(prefix.lower() or " "))
    if size < 1:
        raise refused("it must be at least one byte")
    return size


def parse_date(text: str | dt.date) -> dt.date:
    """A day: `2022-11-30`."""
    if isinstance(text, dt.date):
        return text
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise refused(f"{text!r} is no day; write it like 2022-11-30") from None


def parse_share(text: str | Fraction) -> Fraction:
    """An exact share: `0.01`, `1%`, `1/100`."""
    if isinstance(text, Fraction):
        return text
    try:
        return _share(text)
    except ValueError as error:
        raise refused(str(error)) from None


def parse_rate(text: str | float) -> float:
    """A share as the nearest float."""
    return text if isinstance(text, float) else float(parse_share(text))


def _share(text: str) -> Fraction:
    match = _SHARE.fullmatch(text.strip())
    if match is None or not int(match["of"] or "1"):
        raise ValueError(f"{text!r} is no share; write it like 0.01, 1% or 1/100")
    return Fraction(match["number"]) / int(match["of"] or "1") / (100 if match["percent"] else 1)


def _refuse_empty(text: str | Path) -> None:
    """A shell's variable that isn't set must not stand for the current directory."""
    if text == "":
        raise refused("it is empty; . is the current directory")


def parse_output(text: str | Path) -> Path:
    """Where something is written: a local path, or "-"."""
    _refuse_empty(text)
    try:
        refuse_url(text)
    except ConfigError as error:
        raise refused(str(error)) from None
    return Path(text)


def parse_place(text: str | Path) -> Path:
    """Where an output goes: a local path, "-", or the URL of an object store."""
    _refuse_empty(text)
    scheme, found, rest = str(text).partition(":")
    if found and scheme.lower() in SCHEMES and not rest.strip("/"):
        raise refused(f"{text} names no bucket; say {scheme}://BUCKET/PATH")
    if is_object_url(text):
        return Path(text)
    try:
        refuse_url(text)
    except ConfigError:
        *others, last = (f"{scheme}://" for scheme in SCHEMES)
        raise refused(
            f"{text} is the URL of no store to which lowbg writes ({', '.join(others)} or {last}). "
            "Name a local path, and copy from there."
        ) from None
    return Path(text)


def parser_of(own: Declared) -> Callable[[str], Any] | None:
    """What reads one value; null where the parser of the command line knows the type."""
    if own.setting.unit == SIZE:
        return parse_size
    if own.setting.written in _TO_STORES:
        return parse_place
    if own.setting.written is not None:
        return parse_output
    if own.setting.unit == SHARE and own.kind is float:
        return parse_rate
    return {dt.date: parse_date, Fraction: parse_share, int: parse_whole}.get(own.kind)


_TO_STORES: Final = (Written.FILE, Written.UPDATED, Written.KEPT, Written.STORE)


def parsed_kind(own: Declared) -> Any:
    """The type as the parser of the command line takes it: tables are read later."""
    if is_table(own.kind):
        return list[str]
    if is_list(own.kind):
        return list[typing.get_args(own.kind)[0]]  # type: ignore[misc]
    return own.kind


def checker_of(own: Declared) -> Callable[[Any], Any] | None:
    """What refuses a number that is infinite or beyond its limits; null for other values."""
    if own.kind not in (int, float, Fraction):
        return None

    def check(value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            raise refused(f"{value} is no finite number")
        if value is not None and not allows(own.setting, value):
            raise refused(f"{value} is not {describe(own.kind, own.setting)}")
        return value

    return check


def converted(own: Declared, flag: str, given: Any) -> Any:
    """A parsed value as its setting's type. Raises `ConfigError`, naming the option."""
    if is_table(own.kind):
        return _table(own, flag, given)
    if is_list(own.kind):
        return tuple(given)
    return given


def _table(own: Declared, flag: str, given: Sequence[str]) -> dict[Any, Any]:
    names, values = typing.get_args(own.kind)
    table: dict[Any, Any] = {}
    for text in given:
        name, sign, value = text.partition("=")
        where = f"{flag} {text}"
        if not (name and sign and value):
            such_as = f", such as {own.setting.example}" if own.setting.example else ""
            raise ConfigError(f"{where}: write {own.setting.unit}{such_as}")
        if isinstance(names, type) and issubclass(names, StrEnum):
            if name not in tuple(names):
                raise ConfigError(f"{where}: {name!r} is none of {', '.join(names)}")
            name = names(name)
        if is_list(values):
            table[name] = (*table.get(name, ()), value)
        else:
            table[name] = _number(own, values, where, value)
    return table


def _number(own: Declared, kind: type, where: str, text: str) -> Any:
    try:
        number = kind(_NUMBERS[kind](text))
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    if not allows(own.setting, number):
        raise ConfigError(f"{where}: {text!r} is not {describe(kind, own.setting)}")
    return number


_NUMBERS: Final[Mapping[type, Callable[[str], Any]]] = {int: _whole, float: _share}
"""What reads the numbers of tables: those that aren't whole are shares."""
