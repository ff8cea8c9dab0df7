"""A policy file with other values in it, and all else as its owner wrote it: comments and order."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Final

import tomlkit
from tomlkit.container import Container
from tomlkit.items import Item, Key, Table, Whitespace

from lowbg.config import Policy
from lowbg.decision.policy_text import Notes, plain_tables
from lowbg.errors import ConfigError

_NOTES: Final = re.compile(
    rf"(?m)^# {re.escape(Notes.BEGIN)}.*\n(?:#.*\n)*?# {re.escape(Notes.END)}(?P<of>.*)(?:\n|\Z)"
)


def updated_text(text: str, old: Policy, new: Policy, notes: Notes) -> str:
    """`text`, a policy file, with the values in which `new` differs from `old`.

    `notes` stand in the place of earlier ones, but for those that speak of a language of which no
    later ones do. Raises `ConfigError` where the file's layout doesn't allow for it.
    """
    # A line keeps its end: the library adds plain ones.
    ends = "\r\n" if "\r\n" in text else "\n"
    text = _with_notes(text.replace("\r\n", "\n"), notes)
    before, after = plain_tables(old), plain_tables(new)
    expected = tomllib.loads(text)
    _change([expected], before, after)
    document = tomlkit.parse(text)
    _change([document], before, after)
    changed = tomlkit.dumps(document)
    if tomllib.loads(changed) != expected:
        raise ConfigError("its tables are spread in a way in which they can't be updated")
    return changed.replace("\n", ends)


def _with_notes(text: str, notes: Notes) -> str:
    """`text` with `notes` where the first of the earlier ones stood; at the top without any."""
    told = set(notes.languages)
    kept, start = [notes.text], None
    for found in _NOTES.finditer(text):
        languages = set(found["of"].replace(",", " ").split())
        if languages - told:
            kept.append(found[0])
        told |= languages
        start = found.start() if start is None else start
    rest = _NOTES.sub("", text)
    start = start or 0
    return rest[:start] + "".join(kept) + rest[start:]


def _change(
    parts: Sequence[MutableMapping[str, Any]], old: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
    """Makes of a table, which holds some of the values of `old`, what holds those of `new`.

    Its `parts` are where the document has it: it may be taken up again further down.
    """
    for key in old.keys() - new.keys():
        for part in parts:
            _remove(part, key)
    for key, value in new.items():
        if value == old.get(key):
            continue
        there = [part for part in parts if key in part]
        if isinstance(value, Mapping):
            inner = [each for part in there for each in _parts(part, key)] or [{}]
            _change(inner, old.get(key, {}), value)
            if there:
                continue
            value = inner[0]
        if there:
            there[0][key] = value
        else:
            _add(parts[-1], key, value)


def _parts(table: MutableMapping[str, Any], key: str) -> list[Any]:
    """The parts of a table within another; not as one, since tomlkit fails to remove from that."""
    found = [item for name, item in _body(table) if name is not None and name.key == key]
    return found or [table[key]]


def _remove(table: MutableMapping[str, Any], key: str) -> None:
    """Removes a value, if it is there, but for the comments that end it."""
    body = _body(table)
    named = [i for i, (name, _) in enumerate(body) if name is not None and name.key == key]
    kept = [(i, _take_ending(body[i][1])) for i in named]
    if key in table:
        del table[key]  # Others keep their places.
    for i, ending in kept:
        body[i] = (None, Whitespace("".join(item.as_string() for _, item in ending)))


def _add(table: MutableMapping[str, Any], key: str, value: Any) -> None:
    """Adds a value after the last one."""
    dotted = any(name is not None and name.is_dotted() for name, _ in _body(table))
    if isinstance(value, Mapping) and dotted:
        # Without a header of its own a table has none within it.
        inline = tomlkit.inline_table()
        inline.update(value)
        value = inline
    last = _last(table)
    ending = _take_ending(table)
    table[key] = value
    last += ending


def _take_ending(table: Any) -> list[tuple[Key | None, Item]]:
    """Takes out the comments that end a table: they are about the next one."""
    last = _last(table)
    ending: list[tuple[Key | None, Item]] = []
    while last and last[-1][0] is None:
        ending.insert(0, last.pop())
    return ending


def _last(table: Any) -> list[tuple[Key | None, Item]]:
    """What the last table is made of, of those within a table and itself."""
    body = _body(table)
    return _last(body[-1][1]) if body and isinstance(body[-1][1], Table) else body


def _body(table: Any) -> list[tuple[Key | None, Item]]:
    """What a table of the document is made of, in order; nothing of one that is plain or inline."""
    if isinstance(table, Table):
        table = table.value
    return table.body if isinstance(table, Container) else []
