"""A table of sources as a Parquet file: a row a source, and the cells that tables are merged by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import UNSET
from numpy.typing import NDArray

from lowbg.arrays import list_lengths
from lowbg.config import SourceVerdict
from lowbg.decision.calibration import squash
from lowbg.decision.source_evidence import KEY, Header
from lowbg.decision.sources import BINS, Counted, ReadPages, SourceFigures, SourceModel
from lowbg.jobs.sources.breaks import Breaks, breaks_of
from lowbg.jobs.sources.cells import (
    CALLED,
    DOCUMENTS,
    LOG_ODDS,
    SQUARES,
    UNIT,
    WORDS,
    Cells,
    Keys,
)
from lowbg.text import languages

ROWS_A_GROUP: Final = 16_384
CELLS_A_GROUP: Final = 250_000
"""A group of rows ends where it has so many cells: sources of many years and scores have up to
some hundreds each, and all of a group lie in memory."""
DECIDED_BY: Final = ("too_few", "documents", "own_past", "dates")
"""What decided of a source: nothing, as there are too few documents; these; these against the
source's own documents from before the cut-off; or that all of them are from before it."""

_CELL: Final = pa.struct(
    [
        ("language", pa.string()),
        ("year", pa.int16()),
        ("before", pa.bool_()),
        ("bin", pa.int8()),
        ("documents", pa.int64()),
        ("words", pa.int64()),
        ("called", pa.int64()),
        ("log_odds", pa.int64()),
        ("squares", pa.int64()),
    ]
)
_YEAR: Final = pa.struct(
    [
        ("year", pa.int16()),
        ("documents", pa.int64()),
        ("scored", pa.int64()),
        ("called", pa.int64()),
        ("mean_log_odds", pa.float32()),
        ("low", pa.float32()),
        ("high", pa.float32()),
    ]
)
_BREAK: Final = pa.struct(
    [("year", pa.int16()), ("change", pa.float32()), ("low", pa.float32()), ("high", pa.float32())]
)
_AI_FROM: Final = pa.struct([("language", pa.string()), ("ai_score", pa.float32())])
_ID: Final = pa.struct([("id", pa.string()), ("log_odds", pa.int64())])
_PAGE: Final = pa.struct([("z", pa.int64()), ("hash", pa.int64())])

COLUMNS: Final = pa.schema(
    [
        ("source", pa.string()),
        ("documents", pa.int64()),
        ("scored", pa.int64()),
        ("before", pa.int64()),
        ("words", pa.int64()),
        ("called", pa.int64()),
        ("share_called", pa.float32()),
        ("mean_log_odds", pa.float32()),
        ("ai_share", pa.float32()),
        ("ai_share_low", pa.float32()),
        ("ai_share_high", pa.float32()),
        ("verdict", pa.string()),
        ("certainty", pa.float32()),
        ("decided_by", pa.string()),
        ("histogram", pa.list_(pa.int64(), BINS)),
        ("ai_from", pa.list_(_AI_FROM)),
        ("years", pa.list_(_YEAR)),
        ("break", _BREAK),
        ("ids", pa.list_(_ID)),
        ("cells", pa.list_(_CELL)),
        ("lm_z", pa.float32()),
        ("lm_pages", pa.list_(_PAGE)),
    ]
)
"""The columns of a table, in this order."""


@dataclass
class Totals:
    """What is counted of the sources while their rows are made."""

    sources: int = 0
    documents: int = 0
    read: int = 0
    pages: int = 0
    verdicts: dict[str, int] = field(default_factory=lambda: {v.value: 0 for v in SourceVerdict})
    known_human: int = 0
    known_human_called: int = 0

    def add(self, other: Totals) -> None:
        """Adds what was counted of other sources."""
        self.sources += other.sources
        self.documents += other.documents
        self.read += other.read
        self.pages += other.pages
        self.known_human += other.known_human
        self.known_human_called += other.known_human_called
        for verdict, number in other.verdicts.items():
            self.verdicts[verdict] += number


def write_table(path: Path, merged: Iterable[Cells], model: SourceModel, header: Header) -> Header:
    """Writes the table; what it says of itself, with the sums. Cells come sorted by source."""
    totals = Totals()
    return write_rows(path, (rows_of(cells, model, totals) for cells in merged), totals, header)


def write_rows(
    path: Path, rows: Iterable[pa.RecordBatch], totals: Totals, header: Header
) -> Header:
    """Writes rows that come sorted by source, as `write_table`; `totals` are read at their end."""
    with pq.ParquetWriter(path, COLUMNS, compression="zstd", compression_level=3) as writer:
        for group in _in_groups(rows):
            writer.write_batch(group, row_group_size=ROWS_A_GROUP)
        documents, without = header.documents, header.without_source
        if header.range is not UNSET:
            without = without if header.range.index == 0 else 0
            documents = totals.documents + without
        whole = msgspec.structs.replace(
            header,
            documents=documents,
            without_source=without,
            sources=totals.sources,
            verdicts=totals.verdicts,
            known_human=totals.known_human,
            known_human_called=totals.known_human_called,
            read_sources=totals.read,
            read_pages=totals.pages,
        )
        writer.add_key_value_metadata({KEY: msgspec.json.encode(whole)})
    return whole


def _in_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in groups of `ROWS_A_GROUP` sources, or of fewer that have `CELLS_A_GROUP`
    cells: so a table's bytes don't depend on how it was merged."""
    waiting: list[pa.RecordBatch] = []
    sources = number = 0
    for batch in batches:
        waiting.append(batch)
        sources, number = sources + len(batch), number + int(_cells_in(batch).sum())
        if sources < ROWS_A_GROUP and number < CELLS_A_GROUP:
            continue
        whole = pa.concat_batches(waiting)
        ends = _ends_of_groups(_cells_in(whole))
        for start, end in pairwise([0, *ends]):
            yield whole.slice(start, end - start)
        rest = whole.slice(ends[-1] if ends else 0)
        waiting, sources, number = [rest], len(rest), int(_cells_in(rest).sum())
    if sources:
        yield pa.concat_batches(waiting)


def _cells_in(rows: pa.RecordBatch) -> NDArray[np.int64]:
    """How many cells each row has."""
    return list_lengths(rows.column("cells"))


def _ends_of_groups(cells: NDArray[np.int64]) -> list[int]:
    """Where groups end that are full, whatever sources follow."""
    upto = np.concatenate([[0], np.cumsum(cells)])
    ends: list[int] = []
    start = 0
    while True:
        full = int(np.searchsorted(upto, upto[start] + CELLS_A_GROUP))
        end = min(start + ROWS_A_GROUP, full)
        if end > len(cells):
            return ends
        ends.append(end)
        start = end


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over the cells of each source."""

    cells: Cells
    keys: Keys

    def of(self, column: int, where: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """A counter's sum over the cells of each source, of those `where`."""
        values = self.cells.counts[:, column]
        if where is not None:
            values = np.where(where, values, 0)
        # Exact: a float's sum isn't.
        total = np.zeros(len(self.cells.names), np.int64)
        np.add.at(total, self.cells.source, values)
        return total


def rows_of(cells: Cells, model: SourceModel, totals: Totals) -> pa.RecordBatch:
    """The rows of some sources, all of whose cells are there."""
    keys = Keys.unpacked(cells.keys)
    sums = _Sums(cells, keys)
    scored = keys.bin >= 0
    n_scored = sums.of(DOCUMENTS, scored)
    mean = sums.of(LOG_ODDS, scored) / UNIT / np.maximum(n_scored, 1)
    judged = judge(cells, keys, model, totals)
    known = ~np.isnan(judged.share)
    verdicts = [verdict.value for verdict in SourceVerdict]
    dated = (n_scored > 0) & (sums.of(DOCUMENTS, scored & ~keys.before) == 0)
    decided = np.where(dated, 3, np.where(judged.own_past, 2, np.where(known, 1, 0)))
    none = n_scored == 0
    documents = sums.of(DOCUMENTS)
    totals.documents += int(documents.sum())
    return pa.RecordBatch.from_arrays(
        [
            cells.names,
            pa.array(documents),
            pa.array(n_scored),
            pa.array(sums.of(DOCUMENTS, keys.before)),
            pa.array(sums.of(WORDS)),
            pa.array(sums.of(CALLED)),
            _float(sums.of(CALLED, scored) / np.maximum(n_scored, 1), none),
            _float(mean, none),
            *(_float(values, ~known) for values in (judged.share, judged.low, judged.high)),
            pa.array(verdicts).take(pa.array(judged.verdicts)),
            _float(judged.certainty, ~known),
            pa.array(DECIDED_BY).take(pa.array(decided)),
            _histogram(cells, keys, scored),
            _ai_from(judged, model),
            _years(cells, keys),
            _break(breaks_of(cells, keys)),
            _ids(cells),
            _cells_column(cells, keys),
            *_pages_columns(cells, totals),
        ],
        schema=COLUMNS,
    )


def judge(cells: Cells, keys: Keys, model: SourceModel, totals: Totals) -> SourceFigures:
    """What the sources' documents say; `totals` counts it.

    Sources with enough documents of before the cut-off are judged by these, too, as if nothing
    were known of them: that shows how often a human source would be called AI.
    """
    sources = len(cells.names)
    scored = np.flatnonzero(keys.bin >= 0)
    counted = Counted(
        source=cells.source[scored],
        language=keys.language[scored],
        before=keys.before[scored],
        bin=keys.bin[scored],
        documents=cells.counts[scored, DOCUMENTS],
    )
    pages = ReadPages(cells.pages.source, cells.pages.z / UNIT)
    judged = model.judge(counted, sources, pages)
    recent = np.bincount(counted.source[~counted.before], minlength=sources) > 0
    past = np.bincount(counted.source[counted.before], minlength=sources) > 0
    judged.verdicts[past & ~recent] = SourceVerdict.HUMAN.code
    totals.sources += sources
    for verdict in SourceVerdict:
        totals.verdicts[verdict.value] += int((judged.verdicts == verdict.code).sum())
    if counted.before.any():
        earlier = np.flatnonzero(counted.before)
        own = Counted(
            source=counted.source[earlier],
            language=counted.language[earlier],
            before=np.zeros(len(earlier), np.bool_),
            bin=counted.bin[earlier],
            documents=counted.documents[earlier],
        )
        known = model.judge(own, sources)
        totals.known_human += int((~np.isnan(known.share)).sum())
        totals.known_human_called += int((known.verdicts == SourceVerdict.AI.code).sum())
    return judged


def _float(values: NDArray[Any], null: NDArray[np.bool_]) -> pa.FloatArray:
    return pa.array(np.where(null, 0.0, values).astype(np.float32), mask=null)


def _offsets(source: NDArray[np.int64], sources: int) -> pa.Int32Array:
    return pa.array(np.searchsorted(source, np.arange(sources + 1)).astype(np.int32))


def _histogram(cells: Cells, keys: Keys, scored: NDArray[np.bool_]) -> pa.FixedSizeListArray:
    counts = np.zeros((len(cells.names), BINS), np.int64)
    np.add.at(counts, (cells.source[scored], keys.bin[scored]), cells.counts[scored, DOCUMENTS])
    return pa.FixedSizeListArray.from_arrays(pa.array(counts.ravel()), BINS)


def _ai_from(judged: SourceFigures, model: SourceModel) -> pa.ListArray:
    """By language the score from which a source's documents are AI; null where none is."""
    rows, columns = np.nonzero(~np.isnan(judged.thresholds))
    at = judged.thresholds[rows, columns]
    never = np.isinf(at) & (at > 0)
    scores = squash(np.where(np.isfinite(at), at, 0.0))
    scores = np.where(np.isneginf(at), 0.0, scores)
    codes = np.array([languages.CODES[code] for code in model.languages], object)
    values = pa.StructArray.from_arrays(
        [pa.array(codes[columns], pa.string()), _float(scores, never)], fields=[*_AI_FROM]
    )
    return pa.ListArray.from_arrays(_offsets(rows, len(judged.share)), values)


def _years(cells: Cells, keys: Keys) -> pa.ListArray:
    """The documents of each year that some are dated in, with the mean of their log-odds."""
    dated = np.flatnonzero(keys.year > 0)
    whole = cells.source[dated] << 16 | keys.year[dated]
    order = np.argsort(whole, kind="stable")
    whole, own = whole[order], dated[order]
    starts = np.flatnonzero(np.diff(whole, prepend=-1))
    scored = keys.bin[own] >= 0
    counts = cells.counts[own]
    documents, called = (_reduced(counts[:, k], starts) for k in (DOCUMENTS, CALLED))
    n, total, squares = (
        _reduced(np.where(scored, counts[:, k], 0), starts) for k in (DOCUMENTS, LOG_ODDS, SQUARES)
    )
    mean, error = mean_and_error(n, total, squares)
    values = pa.StructArray.from_arrays(
        [
            pa.array((whole[starts] & 0xFFFF).astype(np.int16)),
            pa.array(documents),
            pa.array(n),
            pa.array(called),
            _float(mean, n == 0),
            _float(mean - 1.96 * error, n < 2),
            _float(mean + 1.96 * error, n < 2),
        ],
        fields=[*_YEAR],
    )
    return pa.ListArray.from_arrays(_offsets(whole[starts] >> 16, len(cells.names)), values)


def _reduced(values: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.add.reduceat(values, starts) if len(starts) else values[:0]


def mean_and_error(
    n: NDArray[np.int64], total: NDArray[np.int64], squares: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean of log-odds and its standard error, from sums in `UNIT`s."""
    documents = np.maximum(n, 1).astype(np.float64)
    mean = total / documents
    variance = np.maximum(squares / documents - mean * mean, 0.0) * documents
    error = np.sqrt(variance / np.maximum(documents - 1.0, 1.0) / documents)
    return mean / UNIT, error / UNIT


def _break(found: Breaks) -> pa.StructArray:
    none = found.year == 0
    return pa.StructArray.from_arrays(
        [
            pa.array(found.year.astype(np.int16)),
            *(_float(values, none) for values in (found.change, found.low, found.high)),
        ],
        fields=[*_BREAK],
        mask=pa.array(none),
    )


def _ids(cells: Cells) -> pa.ListArray:
    values = pa.StructArray.from_arrays([cells.ids, pa.array(cells.id_score)], fields=[*_ID])
    return pa.ListArray.from_arrays(_offsets(cells.id_source, len(cells.names)), values)


def _cells_column(cells: Cells, keys: Keys) -> pa.ListArray:
    codes = pa.array([*languages.CODES], pa.string())
    unknown = keys.language < 0
    language = pa.array(np.where(unknown, 0, keys.language), mask=unknown)
    values = pa.StructArray.from_arrays(
        [
            codes.take(language),
            pa.array(keys.year.astype(np.int16)),
            pa.array(keys.before),
            pa.array(keys.bin.astype(np.int8)),
            *(pa.array(cells.counts[:, k]) for k in range(cells.counts.shape[1])),
        ],
        fields=[*_CELL],
    )
    return pa.ListArray.from_arrays(_offsets(cells.source, len(cells.names)), values)


def _pages_columns(cells: Cells, totals: Totals) -> tuple[pa.FloatArray, pa.ListArray]:
    """The mean z of each source's pages, and the pages."""
    pages, sources = cells.pages, len(cells.names)
    number = np.bincount(pages.source, minlength=sources)
    total = np.bincount(pages.source, pages.z / UNIT, sources)
    totals.read += int((number > 0).sum())
    totals.pages += len(pages)
    values = pa.StructArray.from_arrays([pa.array(pages.z), pa.array(pages.hash)], fields=[*_PAGE])
    mean = _float(total / np.maximum(number, 1), number == 0)
    return mean, pa.ListArray.from_arrays(_offsets(pages.source, sources), values)
