"""What was read."""

from __future__ import annotations

from collections.abc import Sequence

from lowbg.report.sections.base import Block, Column, Material, Note, Section, Table
from lowbg.storage.typed import Count, Open

_SHOWN = 200


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
    """The files that were read, and the names of those that were passed over."""

    files: list[InputFile]
    skipped: list[str]


def _collect(material: Material) -> Inputs:
    fields = InputFile.__struct_fields__
    return Inputs(
        files=[InputFile(*(getattr(shard, name) for name in fields)) for shard in material.shards],
        skipped=[name for run in material.runs for name in run.skipped],
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
    names = ", ".join(inputs.skipped[:20])
    more = ", …" if len(inputs.skipped) > 20 else ""
    return (table, Note(f"Passed over: {names}{more}"))


SECTION = Section(140, "inputs", "Inputs", _collect, _blocks)
