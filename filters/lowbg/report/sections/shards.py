"""What became of each shard. Its rows are what the other sections and a merge are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowbg.config import OUTCOMES
from lowbg.report.sections.base import Block, Column, Material, Section, Table, interval_cell

_SHOWN = 200


def _collect(material: Material) -> list[dict[str, Any]]:
    return [dict(shard) for shard in material.shards]


def _blocks(shards: Any) -> Sequence[Block]:
    columns = (
        Column("Shard", "code"),
        Column("Records", "count"),
        *(Column(verdict.capitalize(), "count") for verdict in OUTCOMES[:2]),
        Column("Unscored", "count"),
        Column("Quarant.", "count"),
        Column("AI share of scored", "share"),
        Column("Read whole"),
    )
    rows = [
        (
            shard["shard"],
            shard["records"],
            *(shard["documents"][verdict] for verdict in OUTCOMES),
            interval_cell(shard),
            "yes" if shard["complete"] else "NO",
        )
        for shard in shards[:_SHOWN]
    ]
    return (Table(columns, rows, more=max(0, len(shards) - _SHOWN)),)


SECTION = Section(130, "shards", "Shards", _collect, _blocks)
