"""What was read."""

from __future__ import annotations

from collections.abc import Sequence

from lowbg.report.results import left_out_of
from lowbg.report.sections.base import Block, Column, Line, Material, Section, Table
from lowbg.storage.left_out import LeftOut
from lowbg.storage.typed import Count, Open

_SHOWN = 200
_NAMED = 3


class InputFile(Open, frozen=True):
    """A file that was read: its stored and its decompressed bytes, and what was in it."""

    source: str
    shard: str
    format: str
    compression: str
    read_bytes: Count
    text_bytes: Count
    records: Count
    lenient: Count
    blank: Count
    complete: bool
    input_sha256: str | None


class Inputs(Open, frozen=True):
    """The files that were read, and those that lay among them and weren't, with the reason."""

    files: list[InputFile]
    skipped: list[LeftOut | str]


def _collect(material: Material) -> Inputs:
    fields = InputFile.__struct_fields__
    return Inputs(
        files=[InputFile(*(getattr(shard, name) for name in fields)) for shard in material.shards],
        skipped=[*left_out_of(material.runs)],
    )


def _blocks(inputs: Inputs) -> Sequence[Block]:
    columns = (
        Column("Source", "code"),
        Column("Format"),
        Column("Stored", "bytes"),
        Column("Records", "count"),
        Column("SHA-256", "code"),
    )
    rows = [
        (
            file.source,
            file.format if file.compression == "none"
            else f"{file.format}, {file.compression}",
            file.read_bytes,
            file.records,
            file.input_sha256,
        )
        for file in inputs.files[:_SHOWN]
    ]  # fmt: skip
    table = Table(columns, rows, more=max(0, len(inputs.files) - _SHOWN))
    if not inputs.skipped:
        return (table,)
    left_out = [
        (each, "") if isinstance(each, str) else (each.path, each.reason)
        for each in inputs.skipped[:_SHOWN]
    ]
    of_left_out = (Column("Left out", "code"), Column("Why"))
    return (table, Table(of_left_out, left_out, more=max(0, len(inputs.skipped) - _SHOWN)))


def _lines(inputs: Inputs) -> Sequence[Line]:
    """What may be data and wasn't read."""
    found = [e for e in inputs.skipped if isinstance(e, LeftOut) and e.kind.may_be_data]
    if not found:
        return ()
    more = [f"and {len(found) - _NAMED:,} more"] if len(found) > _NAMED else []
    return (Line("left out", [each.text for each in found[:_NAMED]] + more),)


SECTION = Section(140, "inputs", "Inputs", _collect, _blocks, _lines)
