"""Where the records went."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import astuple

from lowbg.amounts import counted
from lowbg.report.sections.base import Block, Column, Line, Material, Note, Section, Table
from lowbg.storage.typed import Count, Open

_SHOWN = 200
_IN_TERMINAL = 4


class Output(Open, frozen=True):
    """A file that was written, and the shard that it came of."""

    path: str
    records: Count
    bytes: Count
    sha256: str
    shard: str


def _collect(material: Material) -> list[Output]:
    return [
        Output(out.path, out.records, out.bytes, out.sha256, shard.shard)
        for shard in material.shards
        for out in shard.outputs
    ]


def _blocks(outputs: list[Output]) -> Sequence[Block]:
    if not outputs:
        return (Note("No files were written."),)
    columns = (
        Column("File", "code"),
        Column("Records", "count"),
        Column("Size", "bytes"),
        Column("SHA-256", "code"),
    )
    rows = [astuple(o)[:4] for o in outputs[:_SHOWN]]
    return (Table(columns, rows, more=max(0, len(outputs) - _SHOWN)),)


def _lines(outputs: list[Output]) -> Sequence[Line]:
    folders: dict[str, list[int]] = {}
    for output in outputs:
        folder, slash, _ = output.path.partition("/")
        entry = folders.setdefault(folder + slash, [0, 0])
        entry[0] += 1
        entry[1] += output.records
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
