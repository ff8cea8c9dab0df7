"""A report as JSON, written whole or not at all; and its JSON Schema."""

from __future__ import annotations

import inspect
from pathlib import Path

import msgspec
import orjson

from lowbg.errors import InputError, cause
from lowbg.report.collect import SCHEMA, Report, decode, report_file, report_type
from lowbg.storage.whole_files import address, read_bytes, write_whole


def render_json(report: Report) -> bytes:
    """The report as UTF-8, ending in a line end."""
    return report_file().encode(report)


def write_json(report: Report, path: Path) -> None:
    """Writes the report atomically. Raises `OutputError` where the system refuses."""
    write_whole(path, render_json(report))


def read_json(path: Path) -> Report:
    """A stored report; the path may be made of an object's URL.

    Raises `InputError` or, where it is something else, `FormatError`.
    """
    try:
        data = read_bytes(path)
    except OSError as error:
        raise InputError(f"{address(path)}: cannot be read ({cause(error)})") from error
    return decode(data, address(path))


def json_schema() -> bytes:
    """The JSON Schema of the reports that this version writes, made of the sections' structs."""
    (own,), parts = msgspec.json.schema_components([report_type(whole=True)])
    for part in parts.values():
        part["description"] = inspect.cleandoc(part["description"])
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **parts.pop(own["$ref"].rpartition("/")[2]),
        "title": SCHEMA,
        "$defs": parts,
    }
    return orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
