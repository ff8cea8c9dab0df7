"""Command lines without typer, where nothing about them is doubtful.

`read` takes a line that is as its command's help shows it: known options, spelled out, with values
that are what they must be. It gives the same as typer would, which takes a tenth of a second to
import and to be told the options. Anything else, be it wrong or only seldom written, it leaves to
typer: help, completion and messages come from there alone.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from lowbg.settings import is_list, is_table, without_null
from lowbg_cli.groups import Command, Option
from lowbg_cli.values import checker_of, parsed_kind, parser_of

_NUMBER = re.compile(r"[+-]?\d{1,15}(\.\d{1,15})?")


class _DoubtfulError(Exception):
    """What is left to typer."""


def read(command: Command, words: Sequence[str]) -> Mapping[Option, Any] | None:
    """The options that a command line gives, in the order of their declaration, and their values.

    Null where that is doubtful: see above.
    """
    try:
        return _read(command, words)
    except _DoubtfulError:
        return None


def _read(command: Command, words: Sequence[str]) -> dict[Option, Any]:
    flags = {flag: option for option in command.options for flag in option.flags}
    switches = {
        name: (option, on)
        for option in command.options
        if option.own.kind is bool and not option.is_argument
        for flag in option.flags
        for name, on in zip(flag.split("/"), (True, False), strict=False)
    }
    arguments = [option for option in command.options if option.is_argument]
    if len(arguments) > 1 or command.takes_loose_words:
        raise _DoubtfulError
    found: dict[Option, Any] = {}
    loose: list[str] = []
    left = iter(words)
    for word in left:
        if word == "-" or not word.startswith("-"):
            loose.append(word)
            continue
        if word in switches:
            option, on = switches[word]
            found[option] = on
            continue
        name, sign, text = word.partition("=")
        if (sign and not name.startswith("--")) or name not in flags or name in switches:
            raise _DoubtfulError
        if not sign:
            text = next(left, "--")
            if text != "-" and text.startswith("-"):
                raise _DoubtfulError
        option = flags[name]
        value = _value(option, text)
        if option.takes_several:
            found.setdefault(option, []).append(value)
        else:
            found[option] = value
    found |= _arguments(arguments, loose)
    for option in command.options:
        if option.required and option not in found:
            raise _DoubtfulError
        if option in found and not option.takes_several:
            _check(option, found[option])
    return {option: found[option] for option in command.options if option in found}


def _arguments(arguments: Sequence[Option], loose: Sequence[str]) -> dict[Option, Any]:
    if not loose:
        return {}
    if not arguments:
        raise _DoubtfulError
    (option,) = arguments
    if option.takes_several:
        return {option: [_value(option, text) for text in loose]}
    if len(loose) > 1:
        raise _DoubtfulError
    return {option: _value(option, loose[0])}


def _value(option: Option, text: str) -> Any:
    """One value."""
    parse = parser_of(option.own)
    kind = parsed_kind(option.own)
    if is_list(option.own.kind) or is_table(option.own.kind):
        (kind,) = typing.get_args(kind)
    kind = without_null(kind)
    if typing.get_origin(kind) is Annotated:
        kind = typing.get_args(kind)[0]
    try:
        if parse is not None:
            return parse(text)
        if kind is str or kind is Path or (isinstance(kind, type) and issubclass(kind, StrEnum)):
            return kind(text)
    except Exception as error:  # What a value's parser raises is typer's.
        raise _DoubtfulError from error
    if kind is float and _NUMBER.fullmatch(text):
        return float(text)
    raise _DoubtfulError


def _check(option: Option, value: Any) -> None:
    check = checker_of(option.own)
    if check is None:
        return
    try:
        check(value)
    except Exception as error:
        raise _DoubtfulError from error
