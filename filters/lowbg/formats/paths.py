"""Where a record's text is: a dotted path, which may lead through lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

ITEMS: Final = "[]"
"""The step from a list to each of its items."""

JOINT: Final = "\n\n"
"""What stands between the strings of a list that are one text: a blank line."""

_DEEPEST: Final = 8
_LISTED_ITEMS: Final = 10
_MARK: Final = re.compile(r"\[\*?\]")


@cache
def steps(path: str) -> tuple[str, ...]:
    """The steps of a path: "messages[*].content" → ("messages", "[]", "content")."""
    found: list[str] = []
    for part in path.split("."):
        name, *lists = re.split(r"(?=\[)", part)
        found += [name, *(ITEMS if _MARK.fullmatch(each) else each for each in lists)]
    return tuple(found)


def has_lists(path: str) -> bool:
    """Whether the path leads through a list, so that its strings are one text together."""
    return _MARK.search(path) is not None


def items_at(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """What the path leads to from a value of JSON, in order; nulls and what isn't there left out.

    Raises `LookupError` where a list stands for an object or the other way round, or where the
    path ends before a list began.
    """
    if not path:
        if value is not None:
            yield value
        return
    step, *rest = path
    if value is None:
        return
    if step == ITEMS:
        if not isinstance(value, list):
            raise LookupError("not an array")
        for item in value:
            yield from items_at(item, tuple(rest))
    elif not isinstance(value, dict):
        raise LookupError("not an object")
    elif step in value:
        yield from items_at(value[step], tuple(rest))


def leads_somewhere(value: Any, path: tuple[str, ...]) -> bool:
    """Whether the path can be followed in a value of JSON, to a null at least.

    An empty list may hold anything. Where `items_at` found something, it can.
    """
    if not path or value is None:
        return True
    step, *rest = path
    if step == ITEMS:
        return not value or any(leads_somewhere(item, tuple(rest)) for item in value)
    return step in value and leads_somewhere(value[step], tuple(rest))


def of_strings(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, int]]:
    """The paths below an object of JSON that lead to strings, and the characters of each.

    Of a list its first items count.
    """
    if isinstance(value, str):
        yield path, len(value)
    elif depth == _DEEPEST:
        return
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from of_strings(inner, f"{path}.{key}" if path else key, depth + 1)
    elif isinstance(value, list):
        for inner in value[:_LISTED_ITEMS]:
            yield from of_strings(inner, f"{path}{ITEMS}", depth + 1)
