"""Where the records went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowbg.amounts import counted
from lowbg.report.sections.base import Block, Column, Line, Material, Note, Section, Table

_SHOWN = 200
_IN_TERMINAL = 6


def _collect(material: Material) -> list[dict[str, Any]]:
    return [
        {**output, "shard": shard["shard"]}
        for shard in material.shards
        for output in shard["outputs"]
    ]


def _blocks(outputs: Any) -> Sequence[Block]:
    if not outputs:
        return (Note("No files were written."),)
    columns = (
        Column("File", "code"),
        Column("Records", "count"),
        Column("Size", "bytes"),
        Column("SHA-256", "code"),
    )
    rows = [(o["path"], o["records"], o["bytes"], o["sha256"]) for o in outputs[:_SHOWN]]
    return (Table(columns, rows, more=max(0, len(outputs) - _SHOWN)),)


def _lines(outputs: Any) -> Sequence[Line]:
    folders: dict[str, list[int]] = {}
    for output in outputs:
        folder, slash, _ = output["path"].partition("/")
        entry = folders.setdefault(folder + slash, [0, 0])
        entry[0] += 1
        entry[1] += output["records"]
    items = [
        f"{name} {counted(records, 'record')}" + f" in {counted(files, 'file')}" * (files > 1)
        for name, (files, records) in list(folders.items())[:_IN_TERMINAL]
    ]
    rest = list(folders.values())[_IN_TERMINAL:]
    if rest:
        records = sum(each for _, each in rest)
        items.append(f"and {counted(records, 'record')} in {counted(len(rest), 'more file')}")
    return (Line("written", items),) if items else ()


SECTION = Section(150, "outputs", "Outputs", _collect, _blocks, _lines)
