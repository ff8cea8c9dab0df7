"""JSON lines as Python objects, one by one: orjson reads them, and `_judge` what it refuses.

This is what the fields of a record are. `json_fields` gives the same for plain lines, without the
objects; what isn't plain comes here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import msgspec
import orjson
import pyarrow as pa
from msgspec import Struct

from lowbg.arrays import strings_of
from lowbg.config import FieldNames
from lowbg.formats.paths import ITEMS, JOINT, has_lists, items_at, leads_somewhere, steps
from lowbg.records import DATE_BOXES, LIST, OBJECT, Metadata, RejectReason

BOM = b"\xef\xbb\xbf"

_SURROGATE = re.compile("[\ud800-\udfff]")
_MISSING = object()


class _Columns(Struct):
    """The columns of the batch in the making, one entry an accepted record."""

    text: list[str] = msgspec.field(default_factory=list)
    id: list[Any] = msgspec.field(default_factory=list)
    language: list[Any] = msgspec.field(default_factory=list)
    date: list[Any] = msgspec.field(default_factory=list)
    url: list[Any] = msgspec.field(default_factory=list)
    others: dict[str, list[Any]] = msgspec.field(default_factory=dict)

    def append(self, text: str, doc: dict[str, Any], fields: FieldNames) -> None:
        """Adds one record, slowly; dotted paths are followed."""
        self.text.append(text)
        self.id.append(_look_up(doc, fields.id))
        self.language.append(_look_up(doc, fields.language))
        self.date.append(_look_up(doc, fields.date))
        self.url.append(_look_up(doc, fields.url))
        for name in fields.others:
            self.others[name].append(_look_up(doc, name))


class Refused(Struct, frozen=True):
    """Why a line is no record; `reason` is null for a blank line, which is nothing at all."""

    reason: RejectReason | None
    error: str = ""


class _Accepted(Struct, frozen=True):
    """A record that only the second look accepts; `lenient` where strict JSON forbids it."""

    text: str
    doc: dict[str, Any]
    lenient: bool


class Parsed(Struct, frozen=True):
    """What became of some lines: the records, the refused by their place among the lines, in order.

    `lenient` is how many of the records strict JSON forbids.
    """

    text: pa.LargeStringArray
    metadata: Metadata
    refused: dict[int, Refused]
    lenient: int


def parse(lines: list[bytes], fields: FieldNames) -> Parsed:
    """The records in these lines, each without its line end, and what is wrong with the others."""
    columns = _Columns(others={name: [] for name in fields.others})
    collect = _collect_dotted if _any_dotted(fields) else _collect_plain
    refused: dict[int, Refused] = {}
    lenient = 0
    docs = map(orjson.loads, lines)
    while True:
        try:
            collect(docs, fields, columns)
            break
        except (ValueError, KeyError, TypeError, RecursionError, MemoryError):
            # Every line so far is in one of the two; the next is the one that failed.
            i = len(columns.text) + len(refused)
        verdict = _judge(lines[i], fields.text)
        if isinstance(verdict, Refused):
            refused[i] = verdict
        else:
            columns.append(verdict.text, verdict.doc, fields)
            lenient += verdict.lenient
    if float in set(map(type, columns.id)):
        accepted = [line for i, line in enumerate(lines) if i not in refused]
        _restore_ids(columns.id, accepted, fields.id)
    text = strings_of(columns.text, pa.large_string())
    return Parsed(text, _metadata(columns), refused, lenient)


def _any_dotted(fields: FieldNames) -> bool:
    named = (fields.text, fields.id, fields.language, fields.date, fields.url)
    return bool(fields.others) or any("." in f for f in named) or has_lists(fields.text)


def _collect_plain(docs: Iterable[Any], fields: FieldNames, columns: _Columns) -> None:
    """Adds parsed lines to the columns; raises at the first that is not a record.

    What it does a record beyond parsing is these lines. Nothing is appended for a document before
    all of it is known to be good.
    """
    text_field, id_field, language_field = fields.text, fields.id, fields.language
    date_field, url_field = fields.date, fields.url
    add_text, add_id, add_language = columns.text.append, columns.id.append, columns.language.append
    add_date, add_url = columns.date.append, columns.url.append
    for doc in docs:
        text = doc[text_field]
        if type(text) is not str:
            raise TypeError
        get = doc.get
        add_text(text)
        add_id(get(id_field))
        add_language(get(language_field))
        add_date(get(date_field))
        add_url(get(url_field))


def _collect_dotted(docs: Iterable[Any], fields: FieldNames, columns: _Columns) -> None:
    """The same where a field is a dotted path, or there are others to read."""
    for doc in docs:
        if type(doc) is not dict:
            raise TypeError
        text = _text(doc, fields.text)
        if type(text) is not str:
            raise TypeError
        columns.append(text, doc, fields)


def _restore_ids(ids: list[Any], lines: list[bytes], field_path: str) -> None:
    """Puts back the digits of integers beyond 64 bits, which orjson reads as floats."""
    for i, value in enumerate(ids):
        if type(value) is float and abs(value) >= 1 << 63:
            # Python reads some depths of nesting less than orjson does; such an id stays null.
            with suppress(RecursionError):
                ids[i] = _look_up(json.loads(lines[i]), field_path)


def _look_up(doc: dict[str, Any], path: str, default: Any = None) -> Any:
    """The value of the key `path` if there is one, else at the dotted path through objects."""
    return doc[path] if path in doc else _look_up_path(doc, path, default)


def _text(doc: dict[str, Any], path: str) -> Any:
    """The value at the text's path; of a list its strings, joined; `_MISSING` where there is none.

    A value in a list that is no string comes back as it is.
    """
    if path in doc or not has_lists(path):
        return _look_up(doc, path, _MISSING)
    whole = steps(path)
    first = whole.index(ITEMS)
    listed = _look_up_path(doc, ".".join(whole[:first]), _MISSING)
    if listed is _MISSING or listed is None:
        return listed
    try:
        found = list(items_at(listed, whole[first:]))
    except LookupError:
        return _MISSING
    if not found and not leads_somewhere(listed, whole[first:]):
        return _MISSING
    odd = next((each for each in found if not isinstance(each, str)), None)
    return JOINT.join(found) if odd is None else odd


def _look_up_path(doc: dict[str, Any], path: str, default: Any = None) -> Any:
    """The value at the dotted path through objects."""
    value: Any = doc
    for key in path.split("."):
        if type(value) is not dict or key not in value:
            return default
        value = value[key]
    return value


def _judge(line: bytes, text_field: str) -> Refused | _Accepted:
    """A second look at a line that the fast loop refused: what is wrong with it, or the record."""
    if not line.strip():
        return Refused(None)
    lenient = False
    try:
        doc = orjson.loads(line)
    except (ValueError, MemoryError) as error:
        second = _parse_leniently(line, str(error))
        if isinstance(second, Refused):
            return second
        (doc,) = second
        lenient = True
    text = judged(doc, text_field)
    return text if isinstance(text, Refused) else _Accepted(text, doc, lenient)


def judged(doc: Any, text_field: str) -> Refused | str:
    """The text of what a line holds, or why it is no record."""
    if not isinstance(doc, dict):
        kind = _json_type(doc)
        return Refused(RejectReason.NOT_AN_OBJECT, f"the line is {kind}, not an object")
    text = _text(doc, text_field)
    if text is _MISSING:
        return Refused(RejectReason.MISSING_TEXT, f"no field {text_field!r}")
    if text is None:
        return Refused(RejectReason.NULL_TEXT, f"field {text_field!r} is null")
    if not isinstance(text, str):
        error_text = f"field {text_field!r} is {_json_type(text)}, not a string"
        return Refused(RejectReason.TEXT_NOT_STRING, error_text)
    return _SURROGATE.sub("\ufffd", text)


def invalid_utf8(byte: int, column: int) -> Refused:
    """What is said of a line that is no UTF-8 from this byte on."""
    where = f"byte 0x{byte:02x} at column {column}"
    return Refused(RejectReason.INVALID_UTF8, f"invalid UTF-8 ({where})")


def invalid_json(message: str, column: int) -> Refused:
    """What is said of a line of which Python's json says `message`."""
    what = message.removesuffix(" at")
    why = f"{what[:1].lower()}{what[1:]} at column {column}"
    return Refused(RejectReason.INVALID_JSON, f"invalid JSON ({why})")


def _parse_leniently(line: bytes, strict_error: str) -> Refused | tuple[Any]:
    """The value that Python's json reads (NaN, lone surrogates, an inner BOM), or why not."""
    try:
        decoded = line.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        return invalid_utf8(line[error.start], error.start + 1)
    # orjson's limit of 1,024 is fixed; Python's depends on its version and on the stack.
    if "recursion" in strict_error.lower():
        return Refused(RejectReason.INVALID_JSON, "invalid JSON (nested deeper than 1,024)")
    try:
        return (json.loads(decoded),)
    except json.JSONDecodeError as error:
        return invalid_json(error.msg, error.colno)
    except RecursionError:
        why = "nested too deeply"
    except (ValueError, MemoryError) as error:
        why = str(error) or type(error).__name__
    return Refused(RejectReason.INVALID_JSON, f"invalid JSON ({why})")


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def _metadata(columns: _Columns) -> Metadata:
    return Metadata(
        id=_strings(columns.id),
        language=_strings(columns.language),
        date=strings_of([_date(value) for value in columns.date], pa.string()),
        url=_strings(columns.url),
        others={
            name: strings_of([other_value(value) for value in values], pa.string())
            for name, values in columns.others.items()
        },
    )


def _strings(values: list[Any]) -> pa.StringArray:
    """`values` as strings: an int as its decimal text, null for any other type."""
    try:
        return strings_of(values, pa.string())
    except (ValueError, TypeError):  # Not all are strings or null, or one holds lone surrogates.
        return strings_of([_string(value) for value in values], pa.string())


def _date(value: Any) -> str | None:
    """A date, out of the box that it may be in."""
    for box in DATE_BOXES:
        if isinstance(value, dict):
            inner = _look_up_path(value, box)
            if isinstance(inner, (str, int, float)) and not isinstance(inner, bool):
                value = inner
    return other_value(value)


def other_value(value: Any) -> str | None:
    """A value of `Metadata.others`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return OBJECT
    return LIST if isinstance(value, list) else _string(value)


def _string(value: Any) -> str | None:
    if type(value) is str:
        return _SURROGATE.sub("\ufffd", value)
    return str(value) if type(value) is int else None
