"""Tables added up by ranges of sources: each of several runs reads and writes one range.

A table is sorted by source, and its Parquet footer says of each group of rows which sources it
begins and ends with. From the footers alone every run finds the same bounds, and reads only the
groups that may hold its range.
"""

from __future__ import annotations

import hashlib
import io
import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lowbg.decision.source_evidence import Header, Range, table_digest
from lowbg.jobs.sources.cells import Cells
from lowbg.jobs.sources.table_cells import CELLS, ROWS_READ, cells_of_rows, reading
from lowbg.storage.compression import open_binary
from lowbg.storage.objects import is_object_url
from lowbg.storage.whole_files import address

_END_BYTES: Final = 8
"""Behind a footer: its length, and the format's mark."""


@dataclass(frozen=True, slots=True)
class Footer:
    """What a table's footer says: its SHA-256 (hex), and of each group of rows the first and the
    last source, its rows and its bytes (decompressed).

    Of names too long for a footer only the order is known: such a group is taken to begin where the
    one before ends, and to end (null) anywhere.
    """

    path: Path
    digest: str
    firsts: tuple[str, ...]
    lasts: tuple[str | None, ...]
    rows: tuple[int, ...]
    bytes: tuple[int, ...]

    @classmethod
    def read(cls, path: Path) -> Footer:
        """The footer of a table. Raises `FormatError` where it can't be read."""
        with reading(path), closing(io.BufferedReader(open_binary(address(path)))) as file:  # type: ignore[type-var]
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _END_BYTES))
            length = int.from_bytes(file.read(_END_BYTES)[:4], "little") + _END_BYTES
            file.seek(max(0, size - length))
            data = file.read(length)
            metadata = pq.read_metadata(io.BytesIO(b"PAR1" + data))
            groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        firsts: list[str] = []
        lasts: list[str | None] = []
        for group in groups:
            found = group.column(0).statistics
            known = found is not None and found.has_min_max
            before = (lasts[-1] or firsts[-1]) if lasts else ""
            firsts.append(found.min if known else before)
            lasts.append(found.max if known else None)
        return cls(
            path,
            hashlib.sha256(data).hexdigest(),
            tuple(firsts),
            tuple(lasts),
            tuple(group.num_rows for group in groups),
            tuple(group.total_byte_size for group in groups),
        )

    def groups(self, part: Range) -> list[int]:
        """Those groups that may hold sources of a range."""
        if part.start is not None and part.start == part.end:
            return []
        return [
            i
            for i, (first, last) in enumerate(zip(self.firsts, self.lasts, strict=True))
            if (part.end is None or first < part.end)
            and (part.start is None or last is None or last >= part.start)
        ]


def each_once(footers: Sequence[Footer]) -> tuple[list[Footer], list[tuple[Path, Path]]]:
    """The tables that differ; and those whose bytes are another's, with that one."""
    found: list[Footer] = []
    repeated = []
    for footer in footers:
        # Footers say nearly all of a small table: only where they are the same are bytes looked at.
        alike = (other for other in found if other.digest == footer.digest)
        same = (other for other in alike if table_digest(other.path) == table_digest(footer.path))
        if (other := next(same, None)) is not None:
            repeated.append((footer.path, other.path))
        else:
            found.append(footer)
    return found, repeated


def ranges(footers: Sequence[Footer], header: Header, count: int) -> list[Range]:
    """The ranges that a merge of tables is done by: about as many bytes in each.

    `header` says how they are merged. Ranges may be empty, where there are fewer groups of rows.
    """
    bounds = _bounds(footers, count)
    said = [sorted(footer.digest for footer in footers), bounds, msgspec.to_builtins(header)]
    merge = hashlib.sha256(msgspec.json.encode(said)).hexdigest()
    ends: list[str | None] = [None, *bounds, None]
    return [
        Range(index=i, count=count, start=ends[i], end=ends[i + 1], merge=merge)
        for i in range(count)
    ]


def _bounds(footers: Sequence[Footer], count: int) -> list[str]:
    """The first sources of all ranges but the first one: some group of rows begins with each."""
    begun: list[tuple[str, int]] = []
    ended: list[tuple[str, int]] = []
    for footer in footers:
        for first, last, size in zip(footer.firsts, footer.lasts, footer.bytes, strict=True):
            begun.append((first, size))
            ended.append((first if last is None else last, size))
    names = sorted({first for first, _ in begun}) or [""]
    # Of a group that begins before a name, and doesn't end there, about half is.
    before = (_bytes_before(begun, names) + _bytes_before(ended, names)) / 2
    wanted = sum(size for _, size in begun) * np.arange(1, count) / count
    return [names[int(np.abs(before - each).argmin())] for each in wanted.tolist()]


def _bytes_before(sized: list[tuple[str, int]], names: Sequence[str]) -> NDArray[np.float64]:
    """How many bytes go with a source before each of `names`."""
    sized.sort()
    upto = np.concatenate([[0.0], np.cumsum([size for _, size in sized])])
    sources = [source for source, _ in sized]
    return np.asarray(upto[[bisect_left(sources, name) for name in names]])


def range_cells(footer: Footer, part: Range) -> Iterator[Cells]:
    """The cells of a table's sources in a range, sorted by source, some rows at a time.

    From an object store no more is fetched than these groups of rows.
    """
    groups = footer.groups(part)
    if not groups:
        return
    with reading(footer.path), _opened(footer.path) as file:
        for rows in file.iter_batches(ROWS_READ, row_groups=groups, columns=[*CELLS]):
            inside = _inside(rows, part)
            if len(inside):
                yield cells_of_rows(inside)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    if not is_object_url(path):
        with pq.ParquetFile(path) as file:
            yield file
        return
    with open_binary(address(path)) as stored, pq.ParquetFile(stored) as file:
        yield file


def _inside(rows: pa.RecordBatch, part: Range) -> pa.RecordBatch:
    """Those of the rows whose sources are in a range."""
    names = rows.column("source")

    def place(bound: str) -> int:
        return bisect_left(range(len(names)), bound, key=lambda i: names[i].as_py())

    start = 0 if part.start is None else place(part.start)
    end = len(names) if part.end is None else place(part.end)
    return rows.slice(start, max(0, end - start))
