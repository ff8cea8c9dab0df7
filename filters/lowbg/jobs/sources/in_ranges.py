"""Tables added up by several workers, a range of the sources each, into one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pyarrow as pa

from lowbg.config import Policy
from lowbg.decision.source_evidence import Header, Range
from lowbg.decision.sources import SourceModel
from lowbg.errors import LowbgError, OutputError
from lowbg.jobs.sources.ranges import Footer, range_cells, ranges
from lowbg.jobs.sources.runs import merged
from lowbg.jobs.sources.table import COLUMNS, Totals, rows_of, write_rows
from lowbg.runs.engine import Engine
from lowbg.runs.mapping import Workers, executor_of
from lowbg.runs.progress import OnProgress

MIN_ROWS: Final = 400_000
"""Rows of all tables from which on several workers add them up: some four seconds of work."""

_RANGES_A_WORKER: Final = 4
"""Ranges differ in size, and a worker that is done takes the next."""


@dataclass(frozen=True, slots=True)
class RangeRows:
    """The rows of a range, in a file, and what was counted of them."""

    path: Path
    totals: Totals


@dataclass(frozen=True, slots=True)
class RangeTask:
    """Makes the rows of ranges in `folder`; `model` is what judges their sources."""

    footers: tuple[Footer, ...]
    policy: Policy
    folder: Path
    model: SourceModel | None = None

    def start(self) -> RangeTask:
        """The task in a worker."""
        return replace(self, model=Engine(self.policy).source_model())

    def __call__(self, part: Range, on_progress: OnProgress | None) -> RangeRows:
        """The rows of a range."""
        assert self.model is not None
        found = RangeRows(self.folder / f"range-{part.index}.arrow", Totals())
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        cells = merged([range_cells(footer, part) for footer in self.footers])
        with (
            pa.OSFile(str(found.path), "wb") as sink,
            pa.ipc.new_stream(sink, COLUMNS, options=options) as out,
        ):
            for some in cells:
                out.write_batch(rows_of(some, self.model, found.totals))
        return found


def worth_sharing(footers: Sequence[Footer], crew: Workers) -> bool:
    """Whether several workers add the tables up sooner than one."""
    return sum(sum(footer.rows) for footer in footers) >= MIN_ROWS and crew.cores() > 1


def write_in_ranges(
    path: Path, footers: Sequence[Footer], policy: Policy, crew: Workers, header: Header
) -> Header:
    """Writes the sum of tables, the bytes that one worker would write; what it says of itself.

    Workers make the rows of ranges in files beside `path`, which all of them have to see; this
    process puts them together.
    """
    cores = crew.cores()
    parts = ranges(footers, header, _RANGES_A_WORKER * cores)
    task = RangeTask(tuple(footers), policy, path.parent)
    made: dict[int, RangeRows] = {}
    for end in executor_of(replace(crew, count=cores)).run(task.start, parts, None):
        if end.result is None:
            if isinstance(end.error, LowbgError):
                raise end.error
            raise OutputError(f"{path}: range {end.index} was not made: {end.error}")
        made[end.index] = end.result
    totals = Totals()
    return write_rows(
        path, _rows_of_all([made[part.index] for part in parts], totals), totals, header
    )


def _rows_of_all(made: Sequence[RangeRows], totals: Totals) -> Iterator[pa.RecordBatch]:
    """The rows of all ranges in their order; files go once they are read."""
    for part in made:
        totals.add(part.totals)
        with pa.OSFile(str(part.path), "rb") as source, pa.ipc.open_stream(source) as stream:
            yield from stream
        part.path.unlink()
