"""What is counted of sources: rows that add up, whatever is counted first and wherever.

A cell is the documents of one source in one language and year, on one side of the cut-off, in one
bin of scores. All that a table of sources says follows from its cells; they hold whole numbers, so
that the sum of parts is exactly what one pass counts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lowbg.arrays import filled, is_known, to_numpy
from lowbg.decision.calibration import unsquash
from lowbg.decision.sources import bins_of
from lowbg.records import Batch, Metadata
from lowbg.runs.engine import Judged
from lowbg.text import languages
from lowbg.text.dates import FIRST_YEAR
from lowbg.text.sources import SourceBy

COUNTERS: Final = ("documents", "words", "called", "log_odds", "squares")
"""What a cell counts: documents and their words, those that their own score or an artifact calls
AI, the sum of their log-odds in units of 1 / `UNIT`, and that of the squares of these."""
DOCUMENTS, WORDS, CALLED, LOG_ODDS, SQUARES = range(len(COUNTERS))

UNIT: Final = 256
"""Log-odds are counted in parts of this size."""

IDS: Final = 3
"""Identifiers that are kept of a source: those of its documents with the highest scores."""

PAGES: Final = 8
"""Pages read by a causal LM that are kept of a source: those of the lowest hash."""

_BIN_BITS, _BEFORE_BIT, _YEAR_SHIFT, _LANGUAGE_SHIFT = 0x3F, 0x40, 8, 16
_KEY_BITS: Final = 32

FLAT: Final = pa.schema(
    [
        ("source", pa.string()),
        ("key", pa.int64()),
        *((name, pa.int64()) for name in COUNTERS),
        ("id", pa.string()),
    ]
)
"""Cells, identifiers and pages as they are spilled: of an identifier's row `key` is −1 and
`log_odds` the score that it goes by; of a page's `key` is −2, `log_odds` its z in `UNIT`s, and
`squares` its hash."""

_OF_ID, _OF_PAGE = -1, -2


@dataclass(frozen=True, slots=True)
class Keys:
    """What sets the cells of a source apart.

    `language` indexes `languages.CODES` (−1: not recognised), `year` is 0 where there is no date,
    `bin` as `decision.sources.bins_of` gives it (−1: unscored).
    """

    language: NDArray[np.int64]
    year: NDArray[np.int64]
    before: NDArray[np.bool_]
    bin: NDArray[np.int64]

    def packed(self) -> NDArray[np.int64]:
        """As one number each, which sorts by language, year, side and bin."""
        year = np.where(self.year > 0, self.year - FIRST_YEAR + 1, 0)
        return np.asarray(
            (self.language + 1) << _LANGUAGE_SHIFT
            | year << _YEAR_SHIFT
            | np.where(self.before, _BEFORE_BIT, 0)
            | (self.bin + 1)
        )

    @classmethod
    def unpacked(cls, keys: NDArray[np.int64]) -> Keys:
        """What `packed` made."""
        year = keys >> _YEAR_SHIFT & 0xFF
        return cls(
            language=(keys >> _LANGUAGE_SHIFT) - 1,
            year=np.where(year > 0, year + FIRST_YEAR - 1, 0),
            before=(keys & _BEFORE_BIT) > 0,
            bin=(keys & _BIN_BITS) - 1,
        )


@dataclass(frozen=True, slots=True)
class Pages:
    """Pages that a causal LM read, one entry each, sorted by source and hash.

    `source` indexes the names of the cells that they are with; `z` in `UNIT`s, standard deviations
    above human text; `hash` tells pages apart.
    """

    source: NDArray[np.int64]
    z: NDArray[np.int64]
    hash: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.source)

    @classmethod
    def none(cls) -> Pages:
        """Of no source."""
        empty = np.zeros(0, np.int64)
        return cls(empty, empty, empty)

    def part(self, start: int, stop: int) -> Pages:
        """Those of the sources from `start` to before `stop`."""
        low, high = np.searchsorted(self.source, [start, stop])
        return Pages(self.source[low:high] - start, self.z[low:high], self.hash[low:high])

    @classmethod
    def first(
        cls, source: NDArray[np.int64], z: NDArray[np.int64], hash: NDArray[np.int64]
    ) -> Pages:
        """The first `PAGES` of each source, sorted; a page that comes again counts once."""
        order = np.lexsort((z, hash, source))
        source, z, hash = source[order], z[order], hash[order]
        new = np.ones(len(source), np.bool_)
        new[1:] = (source[1:] != source[:-1]) | (hash[1:] != hash[:-1])
        source, z, hash = source[new], z[new], hash[new]
        kept = np.arange(len(source)) - np.searchsorted(source, source) < PAGES
        return cls(source[kept], z[kept], hash[kept])


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of some sources.

    `names` are the sources, distinct and in the order of their bytes; `source` indexes it, rising;
    within a source `keys` rise. `counts` (cells × `COUNTERS`). `id_source`, `id_score` and `ids`
    are identifiers with the log-odds (in `UNIT`s) of their documents, at most `IDS` of a source,
    the highest first, and of equal ones the first by its bytes. `pages` are those that a causal LM
    read.
    """

    names: pa.StringArray
    source: NDArray[np.int64]
    keys: NDArray[np.int64]
    counts: NDArray[np.int64]
    id_source: NDArray[np.int64]
    id_score: NDArray[np.int64]
    ids: pa.StringArray
    pages: Pages = field(default_factory=lambda: Pages.none())

    def __len__(self) -> int:
        return len(self.source)

    @classmethod
    def none(cls) -> Cells:
        """Of no source."""
        empty, text = np.zeros(0, np.int64), pa.array([], pa.string())
        return cls(text, empty, empty, np.zeros((0, len(COUNTERS)), np.int64), empty, empty, text)

    def upto(self, stop: int) -> Cells:
        """Those of the first `stop` sources."""
        return self.part(0, stop)

    def part(self, start: int, stop: int) -> Cells:
        """Those of the sources from `start` to before `stop`."""
        low, high = np.searchsorted(self.source, [start, stop])
        id_low, id_high = np.searchsorted(self.id_source, [start, stop])
        return Cells(
            self.names[start:stop],
            self.source[low:high] - start,
            self.keys[low:high],
            self.counts[low:high],
            self.id_source[id_low:id_high] - start,
            self.id_score[id_low:id_high],
            self.ids[id_low:id_high],
            self.pages.part(start, stop),
        )

    def not_after(self, name: str) -> int:
        """How many of the sources come no later than `name`."""
        return bisect_right(range(len(self.names)), name, key=lambda i: self.names[i].as_py())

    def pieces(self, sources: int) -> Iterator[Cells]:
        """Some sources at a time."""
        for start in range(0, len(self.names), sources):
            yield self.part(start, min(start + sources, len(self.names)))

    def flat(self) -> pa.RecordBatch:
        """As rows of `FLAT`, sorted by source."""
        pages = self.pages
        source = np.concatenate([self.source, self.id_source, pages.source])
        order = np.argsort(source, kind="stable")
        n, m, k = len(self.source), len(self.id_source), len(pages)
        keys = np.concatenate([self.keys, np.full(m, _OF_ID), np.full(k, _OF_PAGE)])
        counts = np.concatenate([self.counts, np.zeros((m + k, len(COUNTERS)), np.int64)])
        counts[n : n + m, LOG_ODDS] = self.id_score
        counts[n + m :, LOG_ODDS] = pages.z
        counts[n + m :, SQUARES] = pages.hash
        ids = pa.concat_arrays([pa.nulls(n, pa.string()), self.ids, pa.nulls(k, pa.string())])
        return pa.RecordBatch.from_arrays(
            [
                self.names.take(pa.array(source[order])),
                pa.array(keys[order]),
                *(pa.array(counts[order, c]) for c in range(len(COUNTERS))),
                ids.take(pa.array(order)),
            ],
            schema=FLAT,
        )

    @classmethod
    def of_flat(cls, rows: pa.RecordBatch) -> Cells:
        """What `flat` made."""
        encoded = rows.column("source").dictionary_encode()
        source = to_numpy(encoded.indices).astype(np.int64)
        keys = to_numpy(rows.column("key"))
        counts = np.stack([to_numpy(rows.column(name)) for name in COUNTERS], axis=1)
        is_id, is_page, is_cell = keys == _OF_ID, keys == _OF_PAGE, keys >= 0
        return cls(
            encoded.dictionary,
            source[is_cell],
            keys[is_cell],
            counts[is_cell],
            source[is_id],
            counts[is_id, LOG_ODDS],
            rows.column("id").filter(pa.array(is_id)),
            Pages(source[is_page], counts[is_page, LOG_ODDS], counts[is_page, SQUARES]),
        )


def combined(parts: Sequence[Cells]) -> Cells:
    """The sum of all parts."""
    parts = [part for part in parts if len(part.names)]
    if len(parts) <= 1:
        return parts[0] if parts else Cells.none()
    encoded = pa.concat_arrays([part.names for part in parts]).dictionary_encode()
    order = pc.sort_indices(encoded.dictionary)
    rank = np.empty(len(order), np.int64)
    rank[to_numpy(order).astype(np.int64)] = np.arange(len(order))
    of_names = rank[to_numpy(encoded.indices).astype(np.int64)]
    firsts = np.cumsum([0, *(len(part.names) for part in parts)])
    shifted = [*zip(parts, firsts.tolist(), strict=False)]
    source = of_names[np.concatenate([part.source + first for part, first in shifted])]
    keys = np.concatenate([part.keys for part in parts])
    counts = np.concatenate([part.counts for part in parts])
    whole = source << _KEY_BITS | keys
    rows = np.argsort(whole, kind="stable")
    whole = whole[rows]
    starts = np.flatnonzero(np.diff(whole, prepend=-1))
    id_source, id_score, ids = _highest(
        of_names[np.concatenate([part.id_source + first for part, first in shifted])],
        np.concatenate([part.id_score for part in parts]),
        pa.concat_arrays([part.ids for part in parts]),
    )
    pages = Pages.first(
        of_names[np.concatenate([part.pages.source + first for part, first in shifted])],
        np.concatenate([part.pages.z for part in parts]),
        np.concatenate([part.pages.hash for part in parts]),
    )
    return Cells(
        names=encoded.dictionary.take(order),
        source=whole[starts] >> _KEY_BITS,
        keys=whole[starts] & ((1 << _KEY_BITS) - 1),
        counts=np.add.reduceat(counts[rows], starts, axis=0) if len(starts) else counts,
        id_source=id_source,
        id_score=id_score,
        ids=ids,
        pages=pages,
    )


def _highest(
    source: NDArray[np.int64], score: NDArray[np.int64], ids: pa.StringArray
) -> tuple[NDArray[np.int64], NDArray[np.int64], pa.StringArray]:
    """The first `IDS` of each source, sorted; an identifier that comes again counts once."""
    if not len(source):
        return source, score, ids
    text = ids.dictionary_encode()
    by_bytes = np.empty(len(text.dictionary), np.int64)
    by_bytes[to_numpy(pc.sort_indices(text.dictionary)).astype(np.int64)] = np.arange(len(by_bytes))
    spelled = by_bytes[to_numpy(text.indices).astype(np.int64)]
    order = np.lexsort((spelled, -score, source))
    source, score, spelled = source[order], score[order], spelled[order]
    again = np.zeros(len(source), np.bool_)
    again[1:] = (source[1:] == source[:-1]) & (score[1:] == score[:-1])
    again[1:] &= spelled[1:] == spelled[:-1]
    order, source, score = order[~again], source[~again], score[~again]
    starts = np.searchsorted(source, source)
    kept = np.arange(len(source)) - starts < IDS
    return source[kept], score[kept], ids.take(pa.array(order[kept]))


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """Documents with what is counted of them, one entry each; `score` where `scored`.

    `language` indexes `languages.CODES`, −1 where not recognised; `year` is 0 without a date.
    """

    metadata: Metadata
    language: NDArray[np.int64]
    year: NDArray[np.int64]
    before: NDArray[np.bool_]
    words: NDArray[np.int64]
    scored: NDArray[np.bool_]
    score: NDArray[np.float64]
    called: NDArray[np.bool_]


def cells_of(batch: Batch, judged: Judged, by: SourceBy, cut_off: NDArray[np.bool_]) -> Cells:
    """The cells of a judged batch; documents without a source are in none.

    `cut_off`: which documents are dated before it.
    """
    decisions = judged.decisions
    codes = judged.documents.language_codes
    places = np.array([*(languages.CODES.index(code) for code in codes), -1], np.int64)
    rows = ScoredRows(
        metadata=batch.metadata,
        language=places[judged.documents.languages],
        year=judged.dates.years(),
        before=cut_off,
        words=judged.documents.tokens.words_per_document.astype(np.int64),
        scored=is_known(decisions.score),
        score=filled(decisions.score, 0.5).astype(np.float64),
        called=decisions.called_ai,
    )
    return cells_from(rows, by)


def cells_from(rows: ScoredRows, by: SourceBy) -> Cells:
    """The cells of documents; those without a source are in none."""
    found = by.of(rows.metadata)
    own = np.flatnonzero(found.codes >= 0)
    if not len(own):
        return Cells.none()
    scored = rows.scored
    log_odds = np.where(scored, unsquash(np.clip(rows.score, 1e-9, 1.0 - 1e-7)), 0.0)
    units = np.rint(log_odds * UNIT).astype(np.int64)
    keys = Keys(
        language=rows.language,
        year=rows.year,
        before=rows.before,
        bin=np.where(scored, bins_of(units / UNIT), -1),
    ).packed()
    counts = np.stack(
        [
            np.ones(len(scored), np.int64),
            rows.words,
            rows.called.astype(np.int64),
            units,
            units * units,
        ],
        axis=1,
    )
    named = own[scored[own] & is_known(rows.metadata.id)[own]]
    names = pa.array(found.names, pa.string())
    order = pc.sort_indices(names)
    rank = np.empty(len(names), np.int64)
    rank[to_numpy(order).astype(np.int64)] = np.arange(len(names))
    single = Cells(
        names.take(order),
        rank[found.codes[own]],
        keys[own],
        counts[own],
        rank[found.codes[named]],
        units[named],
        rows.metadata.id.take(pa.array(named)),
    )
    return _summed(single)


def _summed(single: Cells) -> Cells:
    """A cell a document made one a key."""
    whole = single.source << _KEY_BITS | single.keys
    rows = np.argsort(whole, kind="stable")
    whole = whole[rows]
    starts = np.flatnonzero(np.concatenate([[True], whole[1:] != whole[:-1]]))
    id_source, id_score, ids = _highest(single.id_source, single.id_score, single.ids)
    return Cells(
        single.names,
        whole[starts] >> _KEY_BITS,
        whole[starts] & ((1 << _KEY_BITS) - 1),
        np.add.reduceat(single.counts[rows], starts, axis=0),
        id_source,
        id_score,
        ids,
    )
