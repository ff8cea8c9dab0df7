"""What became of each shard. Its rows are what the other sections and a merge are made of."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import astuple

from lowbg.report.results import ShardRow
from lowbg.report.sections.base import Block, Column, Material, Note, Section, Table, interval_cell

_SHOWN = 200


def _collect(material: Material) -> list[ShardRow]:
    return list(material.shards)


def _blocks(shards: list[ShardRow]) -> Sequence[Block]:
    columns = (
        Column("Shard", "code"),
        Column("Records", "count"),
        Column("Human", "count"),
        Column("AI", "count"),
        Column("Unscored", "count"),
        Column("Quarant.", "count"),
        Column("Scored", "count"),
        Column("AI share of scored", "share"),
        Column("Read whole"),
    )
    rows = [
        (
            shard.shard,
            shard.records,
            *astuple(shard.documents),
            shard.scored,
            interval_cell(shard),
            "yes" if shard.complete else "NO",
        )
        for shard in (shards if len(shards) <= _SHOWN else sorted(shards, key=_notable)[:_SHOWN])
    ]
    table = Table(columns, rows, more=max(0, len(shards) - _SHOWN))
    if table.more:
        return (Note("Those not read whole first, then those with most AI documents."), table)
    return (table,)


def _notable(shard: ShardRow) -> tuple[bool, int, str]:
    return shard.complete, -shard.documents.ai, shard.shard


SECTION = Section(130, "shards", "Shards", _collect, _blocks)
