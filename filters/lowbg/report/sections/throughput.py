"""How fast it went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowbg.amounts import bytes_text, count_text
from lowbg.report.sections.base import Block, Facts, Material, Section


def _collect(material: Material) -> dict[str, Any]:
    size = sum(shard["text_bytes"] for shard in material.shards)
    records = sum(shard["records"] for shard in material.shards)
    done_bytes = _done(material, "text_bytes", size)
    done_records = _done(material, "records", records)
    seconds = sum(run["seconds"] for run in material.runs)
    cpu_seconds = sum(shard["cpu_seconds"] for shard in material.shards)
    return {
        "read_bytes": sum(shard["read_bytes"] for shard in material.shards),
        "text_bytes": size,
        "records": records,
        "done_text_bytes": done_bytes,
        "done_records": done_records,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "mb_per_second": done_bytes / 1e6 / seconds if seconds else None,
        "records_per_second": done_records / seconds if seconds else None,
        "mb_per_cpu_second": size / 1e6 / cpu_seconds if cpu_seconds else None,
        "records_per_cpu_second": records / cpu_seconds if cpu_seconds else None,
    }


def _done(material: Material, what: str, total: int) -> int:
    """What the runs did in their time: of a resumed one, not what had been done before it.

    Runs reported by versions that didn't say so are taken to have done everything.
    """
    done = [int(run[what]) for run in material.runs if what in run]
    return sum(done) if len(done) == len(material.runs) else total


def _blocks(speed: Any) -> Sequence[Block]:
    rows = [
        ("Read", f"{bytes_text(speed['read_bytes'])} as stored, "
                 f"{bytes_text(speed['text_bytes'])} decompressed"),
        ("Time", f"{speed['seconds']:,.1f} s, {speed['cpu_seconds']:,.1f} CPU seconds"),
    ]  # fmt: skip
    done = speed.get("done_text_bytes", speed["text_bytes"])  # Reports of before have none.
    if done != speed["text_bytes"]:
        records = count_text(speed["done_records"])
        rows.append(("In that time", f"{bytes_text(done)}, {records} records"))
    for name, each in (("second", "per_second"), ("CPU second", "per_cpu_second")):
        if speed[f"mb_{each}"] is not None:
            records = count_text(round(speed[f"records_{each}"]))
            rows.append((f"Each {name}", f"{speed[f'mb_{each}']:,.1f} MB, {records} records"))
    return (Facts(rows),)


SECTION = Section(120, "throughput", "Speed", _collect, _blocks)
