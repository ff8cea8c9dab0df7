"""What was read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowbg.report.sections.base import Block, Column, Material, Note, Section, Table

_SHOWN = 200
_FIELDS = ("source", "shard", "format", "compression", "read_bytes", "text_bytes", "records",
           "lenient", "blank", "complete", "input_sha256")  # fmt: skip


def _collect(material: Material) -> dict[str, Any]:
    return {
        "files": [{name: shard[name] for name in _FIELDS} for shard in material.shards],
        "skipped": [name for run in material.runs for name in run["skipped"]],
    }


def _blocks(inputs: Any) -> Sequence[Block]:
    columns = (
        Column("Source", "code"),
        Column("Format"),
        Column("Stored", "bytes"),
        Column("Records", "count"),
        Column("SHA-256", "code"),
    )
    rows = [
        (
            file["source"],
            file["format"] if file["compression"] == "none"
            else f"{file['format']}, {file['compression']}",
            file["read_bytes"],
            file["records"],
            file["input_sha256"],
        )
        for file in inputs["files"][:_SHOWN]
    ]  # fmt: skip
    table = Table(columns, rows, more=max(0, len(inputs["files"]) - _SHOWN))
    if not inputs["skipped"]:
        return (table,)
    names = ", ".join(inputs["skipped"][:20])
    more = ", …" if len(inputs["skipped"]) > 20 else ""
    return (table, Note(f"Passed over: {names}{more}"))


SECTION = Section(140, "inputs", "Inputs", _collect, _blocks)
