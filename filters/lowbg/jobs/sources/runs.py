"""Sorted runs of cells on disk, and their merge: memory stays bounded whatever the sources' number.

What comes in is summed in memory until it is too much, and then written as a run, sorted by
source. In the end the runs are read side by side, some sources at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa

from lowbg.jobs.sources.cells import FLAT, Cells, combined

MAX_CELLS: Final = 1_000_000
"""Cells that are held in memory before they become a run: about 150 MB while they are sorted."""

FAN_IN: Final = 64
"""Runs that are merged at a time; more are merged into fewer first."""

MERGED_CELLS: Final = 500_000
"""Cells of all runs that are read at a time in a merge."""


class Spill:
    """Sums cells, and keeps what doesn't fit into memory as runs `folder`/`name`-N.arrow."""

    def __init__(self, folder: Path, name: str, max_cells: int = MAX_CELLS) -> None:
        self._folder = folder
        self._name = name
        self._max_cells = max_cells
        self._parts: list[Cells] = []
        self._cells = 0
        self.runs: list[Path] = []

    def add(self, cells: Cells) -> None:
        """Counts what the cells count."""
        if not len(cells.names):
            return
        self._parts.append(cells)
        self._cells += len(cells) + len(cells.id_source)
        if self._cells > self._max_cells:
            whole = combined(self._parts)
            self._parts, self._cells = [whole], len(whole) + len(whole.id_source)
            if self._cells > self._max_cells // 2:
                self._write()

    def end(self) -> list[Path]:
        """Writes what is left; all runs."""
        if self._parts:
            self._write()
        return self.runs

    def _write(self) -> None:
        path = self._folder / f"{self._name}-{len(self.runs)}.arrow"
        write_run(path, [combined(self._parts)])
        self.runs.append(path)
        self._parts, self._cells = [], 0


_SOURCES_A_BATCH: Final = 2_048


def write_run(path: Path, merged: Iterable[Cells]) -> None:
    """Writes cells that come sorted by source, so that each source lies in one batch."""
    options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", 1))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, FLAT, options=options) as out:
        for cells in merged:
            for piece in cells.pieces(_SOURCES_A_BATCH):
                out.write_batch(piece.flat())


def read_run(path: Path) -> Iterator[Cells]:
    """The cells of a run, some sources at a time."""
    with pa.OSFile(str(path), "rb") as source, pa.ipc.open_stream(source) as stream:
        for batch in stream:
            yield Cells.of_flat(batch)


def merged(streams: Sequence[Iterator[Cells]]) -> Iterator[Cells]:
    """The sum of streams that are each sorted by source; of each source all cells come at once."""
    waiting = [_Stream(stream) for stream in streams]
    share = max(1, MERGED_CELLS // max(1, len(waiting)))
    while True:
        for stream in waiting:
            stream.fill(share)
        waiting = [stream for stream in waiting if len(stream.cells.names)]
        if not waiting:
            return
        if len(waiting) == 1:
            # Nothing else has these sources, or those that follow.
            yield waiting[0].take(None)
            continue
        end = min(stream.last for stream in waiting)
        yield combined([stream.take(end) for stream in waiting])


class _Stream:
    """The next cells of a sorted stream."""

    def __init__(self, rest: Iterator[Cells]) -> None:
        self._rest = rest
        self.cells = Cells.none()

    def fill(self, cells: int) -> None:
        """Reads on until there are so many cells, or no more."""
        parts = [self.cells]
        there = len(self.cells)
        while there < cells:
            more = next(self._rest, None)
            if more is None:
                break
            parts.append(more)
            there += len(more)
        if len(parts) > 1:
            self.cells = combined(parts)

    @property
    def last(self) -> str:
        """The last source that is there."""
        name: str = self.cells.names[len(self.cells.names) - 1].as_py()
        return name

    def take(self, end: str | None) -> Cells:
        """The cells of the sources up to `end`; null: of all that are there."""
        stop = len(self.cells.names) if end is None else self.cells.not_after(end)
        taken = self.cells.part(0, stop)
        self.cells = self.cells.part(stop, len(self.cells.names))
        return taken


def merged_runs(runs: Sequence[Path], folder: Path) -> Iterator[Cells]:
    """The sum of all runs; intermediate ones go to `folder`. Runs are removed once read."""
    level = 0
    waiting = [*runs]
    while len(waiting) > FAN_IN:
        fewer = []
        for i in range(0, len(waiting), FAN_IN):
            group = waiting[i : i + FAN_IN]
            path = folder / f"merged-{level}-{i}.arrow"
            write_run(path, merged([read_run(run) for run in group]))
            for run in group:
                run.unlink()
            fewer.append(path)
        waiting, level = fewer, level + 1
    yield from merged([read_run(run) for run in waiting])
