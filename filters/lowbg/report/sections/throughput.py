"""How fast it went."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from lowbg.amounts import bytes_text, count_text
from lowbg.report.sections.base import Block, Facts, Material, Section
from lowbg.storage.typed import Count, Open, Seconds


class Throughput(Open, frozen=True, kw_only=True):
    """Stored and decompressed bytes, records, and the time they took.

    Of the bytes and records of all shards, the `done_` ones are those that the runs dealt with in
    their `seconds`; reports of before don't tell them apart. Rates are null where no time passed.
    """

    read_bytes: Count
    text_bytes: Count
    records: Count
    done_text_bytes: Count | UnsetType = UNSET
    done_records: Count | UnsetType = UNSET
    seconds: Seconds
    cpu_seconds: Seconds
    mb_per_second: float | None
    records_per_second: float | None
    mb_per_cpu_second: float | None
    records_per_cpu_second: float | None

    @property
    def done(self) -> int:
        """The bytes that the runs dealt with."""
        return self.text_bytes if self.done_text_bytes is UNSET else self.done_text_bytes


def _collect(material: Material) -> Throughput:
    size = sum(shard.text_bytes for shard in material.shards)
    records = sum(shard.records for shard in material.shards)
    done_bytes = _done([run.text_bytes for run in material.runs], size)
    done_records = _done([run.records for run in material.runs], records)
    seconds = sum(run.seconds for run in material.runs)
    cpu_seconds = sum(shard.cpu_seconds for shard in material.shards)
    return Throughput(
        read_bytes=sum(shard.read_bytes for shard in material.shards),
        text_bytes=size,
        records=records,
        done_text_bytes=done_bytes,
        done_records=done_records,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        mb_per_second=done_bytes / 1e6 / seconds if seconds else None,
        records_per_second=done_records / seconds if seconds else None,
        mb_per_cpu_second=size / 1e6 / cpu_seconds if cpu_seconds else None,
        records_per_cpu_second=records / cpu_seconds if cpu_seconds else None,
    )


def _done(by_run: Sequence[int | UnsetType], total: int) -> int:
    """What the runs did in their time: of a resumed one, not what had been done before it.

    Runs reported by versions that didn't say so are taken to have done everything.
    """
    done = [each for each in by_run if each is not UNSET]
    return sum(done) if len(done) == len(by_run) else total


def _blocks(speed: Throughput) -> Sequence[Block]:
    rows = [
        ("Read", f"{bytes_text(speed.read_bytes)} as stored, "
                 f"{bytes_text(speed.text_bytes)} decompressed"),
        ("Time", f"{speed.seconds:,.1f} s, {speed.cpu_seconds:,.1f} CPU seconds"),
    ]  # fmt: skip
    if speed.done != speed.text_bytes:
        records = count_text(speed.done_records or 0)
        rows.append(("In that time", f"{bytes_text(speed.done)}, {records} records"))
    for name, mb, records_a in (
        ("second", speed.mb_per_second, speed.records_per_second),
        ("CPU second", speed.mb_per_cpu_second, speed.records_per_cpu_second),
    ):
        if mb is not None:
            rows.append(
                (f"Each {name}", f"{mb:,.1f} MB, {count_text(round(records_a or 0))} records")
            )
    return (Facts(rows),)


SECTION = Section(120, "throughput", "Speed", _collect, _blocks)
