"""A report as JSON: keys sorted, two spaces, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from lowbg.errors import FormatError, InputError
from lowbg.report.collect import Report, check
from lowbg.storage.files import write_whole


def render_json(report: Mapping[str, Any]) -> bytes:
    """The report as UTF-8, ending in a line end."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    try:
        return orjson.dumps(report, option=options)
    except TypeError:
        # A file name may hold bytes that are not UTF-8, which Python keeps as lone surrogates.
        return orjson.dumps(_encodable(report), option=options)


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(item) for item in value]
    return value


def write_json(report: Mapping[str, Any], path: Path) -> None:
    """Writes the report atomically. Raises `OutputError` where the system refuses."""
    write_whole(path, render_json(report))


def read_json(path: Path) -> Report:
    """A stored report. Raises `InputError` or, where it is something else, `FormatError`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        report = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise FormatError(f"{path}: invalid JSON ({error}). Run the job again.") from error
    return check(report, str(path))
