"""What is counted of a run: mergeable, exact, the same at any batch size and merge order.

A `Statistics` holds integers, and a few documents as examples. It pickles, turns into plain JSON
and back, and two of them are equal when they counted the same documents, in whatever order and
parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import exp
from typing import Any, Final

import numpy as np
import pyarrow as pa
from msgspec import UNSET, Struct, UnsetType
from numpy.typing import NDArray

from lowbg.arrays import distinct, encoded, filled, floats, is_known, list_lengths
from lowbg.config import OUTCOMES, VERDICTS, Verdict
from lowbg.records import KnownOrigin
from lowbg.report.counting import CountTable
from lowbg.report.examples import Candidates, Example, Examples
from lowbg.report.found import documents_by_value
from lowbg.schema import WORDS, Bins
from lowbg.storage.typed import Count, Open, from_plain
from lowbg.text.dates import NOT_UNDERSTOOD, STATES, Dates
from lowbg.text.origins import NO_HOST, Coded, hosts, years

MEASURES: Final = ("documents", "bytes", "words")
TRUST_COUNTS: Final = ("trusted", "trusted_scored", "trusted_called_ai", "scored", "ai")
"""Of a language and year: trusted documents, those with a score, those that their text alone would
call AI; then the documents that are not trusted: scored, and AI."""

SCORE_BINS: Final = Bins(
    "AI score, by its log-odds",
    tuple(1.0 / (1.0 + exp(-logit / 2)) for logit in range(-13, 14)),
)
"""Where documents are counted by score for the estimate: half a unit of ln(s / (1 − s)) each."""

UNKNOWN_LANGUAGE: Final = "und"
NO_TABLES: Final = "language"
"""The reason why documents are not scored whose language has no tables, or isn't recognised."""
MAX_VALUES: Final = 1_000
"""Distinct rules, and values of counted fields, that are kept apart in a shard, likewise."""
MAX_HOSTS: Final = 50_000
MAX_HOST_LANGUAGES: Final = 20_000
"""Distinct hosts, and hosts by language, that are counted apart in a shard, first come first
served. A finished shard keeps the largest `HOSTS_KEPT` and `HOST_LANGUAGES_KEPT` (`shortened`)."""
HOSTS_KEPT: Final = 5_000
HOST_LANGUAGES_KEPT: Final = 500
DATES_KEPT: Final = 5
"""Dates that are not understood that a finished shard keeps apart, the most frequent ones."""
_DATE_CHARACTERS: Final = 40

LENGTHS: Final = ("under 50", "50 to 99", "100 to 199", "200 to 499", "500 to 999", "1,000 or more")
"""Documents by length, in words."""
_LENGTH_EDGES: Final = np.array([50, 100, 200, 500, 1_000])

PLANE: Final = (
    ("perplexity", tuple(float(f"{edge:.6g}") for edge in np.geomspace(10.0, 10_000.0, 25))),
    ("burstiness", tuple(np.round(np.linspace(-1.0, 1.0, 26), 10).tolist())),
)
"""Two features that are counted together, and by which edges; what lies beyond is in the outer
bins."""
_PLANE_NAMES: Final = [
    f"{i}/{j}" for i in range(len(PLANE[0][1]) - 1) for j in range(len(PLANE[1][1]) - 1)
]

_VERDICT_DOCUMENTS: Final = tuple(range(0, len(VERDICTS) * len(MEASURES), len(MEASURES)))


@dataclass(frozen=True, slots=True)
class StatisticsBatch:
    """What is counted of consecutive documents, one entry a document.

    `verdicts` holds codes of `Verdict`; `words` in words; `sizes` in stored bytes;
    `languages` indexes `codes`, −1 where not recognised. `trusted` documents are human by their
    provenance; `called_ai` is the verdict by the text alone, before that. `columns` holds the
    features by name (numbers as nullable floats, `phrases` and `artifacts` as lists of strings).
    `unscored_codes` indexes `unscored_names`, −1 where a document is scored. `origin` says which
    documents are known by provenance and by which rule; `counted` holds, a counted field, the
    values of all documents. `second_look` counts what a
    causal LM did, by name; `sources` documents by "verdict on the source/own verdict".
    `bins`: by which bins the values of which columns are counted.
    `candidates` are what examples are chosen from, null where none are wanted.
    """

    verdicts: NDArray[np.int8]
    words: NDArray[Any]
    sizes: NDArray[np.int64]
    languages: NDArray[np.int8]
    codes: tuple[str, ...]
    dates: Dates
    urls: pa.StringArray
    trusted: NDArray[np.bool_]
    called_ai: NDArray[np.bool_]
    columns: Mapping[str, pa.Array] = field(default_factory=dict)
    unscored_codes: NDArray[np.int8] | None = None
    unscored_names: tuple[str, ...] = ()
    second_look: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, int] = field(default_factory=dict)
    origin: KnownOrigin | None = None
    counted: Mapping[str, list[str]] = field(default_factory=dict)
    bins: Mapping[str, Bins] = field(default_factory=dict)
    candidates: Candidates | None = None

    def __len__(self) -> int:
        return len(self.verdicts)


Counts = dict[str, list[Count]]


class Counters(Open, frozen=True, kw_only=True):
    """The exact sums that a report is made of, from which reports are merged.

    Rows by name, or arrays, as `Statistics` describes them. Those that may be absent had nothing to
    count when the version that wrote the file was made.
    """

    totals: list[list[Count]]
    languages: Counts
    years: Counts
    hosts: Counts
    trust: Counts
    trust_scores: Counts
    host_languages: Counts
    phrases: Counts
    phrase_categories: Counts
    artifacts: Counts
    rejected: Counts
    unscored: Counts
    untabled: Counts | UnsetType = UNSET
    rules: Counts | UnsetType = UNSET
    values: Counts | UnsetType = UNSET
    languages_without_score: Counts | UnsetType = UNSET
    years_without_score: Counts | UnsetType = UNSET
    hosts_without_score: Counts | UnsetType = UNSET
    dates: Counts | UnsetType = UNSET
    unread_dates: Counts | UnsetType = UNSET
    second_look: Counts | UnsetType = UNSET
    sources: Counts | UnsetType = UNSET
    lengths: Counts | UnsetType = UNSET
    plane: Counts | UnsetType = UNSET
    histograms: dict[str, list[list[Count]]]
    examples: dict[str, list[Example]] | UnsetType = UNSET


_FIELDS: Final = tuple(
    name for name in Counters.__struct_fields__ if name not in ("totals", "histograms", "examples")
)


class Statistics:
    """Counters of documents, bytes and words by verdict, and of what was found in them.

    `totals` has a row a verdict of `OUTCOMES` and a column a measure of `MEASURES`. `languages`,
    `years` and `hosts` have, a name, the three measures of human, then of AI, then of unscored
    documents; `languages_without_score` and so on have the three measures of those of the human
    ones that are trusted and have no score, which are no part of any AI share. `dates` counts
    documents by what became of their date (`STATES`), `unread_dates` by the dates that were not
    understood, cut at 40 characters. `phrases`, `phrase_categories` and `artifacts` count documents
    by verdict, as do `rules` (of provenance) and `values` (of counted fields); `unscored` documents
    by reason, and those of the reason `language` by language (`untabled`); `rejected` records and
    bytes by reason. `trust` has `TRUST_COUNTS` by "language/year", where
    documents of denied sources count as neither; `trust_scores`, there, the trusted documents with
    a score by `SCORE_BINS` (below, the bins, above), then those that are not trusted;
    `host_languages` has, by "language/host", `TRUST_COUNTS` and then the scores of what is not
    trusted. `histograms` has, a column with bins, a row a verdict: below, the bins, above; the
    bins themselves are the column's. `second_look`
    counts documents sent to a causal LM by reason (`sent_…`), tokens judged, documents on which it
    had no say (`without_say`), and verdicts that it changed (`human_to_ai` …). `sources` counts,
    where there is evidence of sources, documents by "verdict on the source/own verdict", and by
    "verdict on the source/called" and "…/spared" those whose verdict it changed. `lengths` has
    `TRUST_COUNTS` by length (`LENGTHS`), the rest as in `trust`; `plane` human and AI documents by
    the bins "perplexity/burstiness" of `PLANE`. `examples` are documents that the report shows.
    """

    def __init__(self) -> None:
        by_verdict = len(VERDICTS) * len(MEASURES)
        self.totals = np.zeros((len(OUTCOMES), len(MEASURES)), np.int64)
        self.languages = CountTable(by_verdict)
        self.years = CountTable(by_verdict)
        self.hosts = CountTable(by_verdict, MAX_HOSTS)
        self.languages_without_score = CountTable(len(MEASURES))
        self.years_without_score = CountTable(len(MEASURES))
        self.hosts_without_score = CountTable(len(MEASURES))
        self.dates = CountTable(1)
        self.unread_dates = CountTable(1, MAX_VALUES)
        self.trust = CountTable(len(TRUST_COUNTS))
        self.trust_scores = CountTable(2 * (len(SCORE_BINS.edges) + 1))
        host_width = len(TRUST_COUNTS) + len(SCORE_BINS.edges) + 1
        self.host_languages = CountTable(host_width, MAX_HOST_LANGUAGES)
        self.phrases = CountTable(len(VERDICTS))
        self.phrase_categories = CountTable(len(VERDICTS))
        self.artifacts = CountTable(len(VERDICTS))
        self.rejected = CountTable(2)
        self.unscored = CountTable(1)
        self.untabled = CountTable(1)
        self.second_look = CountTable(1)
        self.sources = CountTable(1)
        self.rules = CountTable(len(VERDICTS), MAX_VALUES)
        self.values = CountTable(len(VERDICTS), MAX_VALUES)
        self.lengths = CountTable(len(TRUST_COUNTS))
        self.plane = CountTable(2)
        self.histograms: dict[str, NDArray[np.int64]] = {}
        self.examples = Examples()

    def add(self, batch: StatisticsBatch) -> None:
        """Counts the documents of a batch."""
        if not len(batch):
            return
        verdicts = batch.verdicts.astype(np.int64)
        measures = (None, batch.sizes, batch.words)
        self.totals[: len(VERDICTS)] += _sums(
            np.zeros_like(verdicts), 1, verdicts, measures
        ).reshape(len(VERDICTS), len(MEASURES))
        languages = batch.languages.astype(np.int64)
        language_names = [*batch.codes, UNKNOWN_LANGUAGE]
        languages[languages < 0] = len(batch.codes)
        year, host = years(batch.dates), hosts(batch.urls)
        flags = _Flags.of(batch)
        without_score = flags.without_score
        for table, lacking, codes, names in (
            (self.languages, self.languages_without_score, languages, language_names),
            (self.years, self.years_without_score, year.codes, year.names),
            (self.hosts, self.hosts_without_score, host.codes, host.names),
        ):
            _add_present(table, names, _sums(codes, len(names), verdicts, measures))
            if without_score.any():
                own = tuple(m if m is None else m[without_score] for m in measures)
                sums = _sums(codes[without_score], len(names), verdicts[without_score], own)
                # Under the names that the table has them by, human documents alone.
                known = [name if name in table else table.other for name in names]
                _add_present(lacking, known, sums[:, : len(MEASURES)])
        self.add_dates(batch.dates)
        counts, scores, names = _by_trust(batch, flags, languages, language_names, year)
        self.trust.add(names, counts)
        self.trust_scores.add(names, scores)
        counts = _by_length(batch, flags)
        _add_present(self.lengths, list(LENGTHS), counts)
        counts, scores, names = _by_trust(
            batch, flags, languages, language_names, host, but=NO_HOST
        )
        untrusted = scores[:, scores.shape[1] // 2 :]
        self.host_languages.add(names, np.concatenate([counts, untrusted], axis=1))
        self._add_origin(batch, verdicts)
        self._add_found(batch, verdicts)
        self._add_histograms(batch, verdicts)
        self._add_unscored(batch, languages, language_names)
        self._add_plane(batch, verdicts)
        if batch.candidates is not None:
            self.examples.add(
                batch.candidates,
                verdicts=verdicts,
                score=batch.columns.get("ai_score"),
                languages=[None if i == len(batch.codes) else batch.codes[i] for i in languages],
                words=batch.words,
            )
        if batch.second_look:
            counts = np.array(list(batch.second_look.values()), np.int64)
            self.second_look.add(list(batch.second_look), counts[:, None])
        if batch.sources:
            counts = np.array(list(batch.sources.values()), np.int64)
            self.sources.add(list(batch.sources), counts[:, None])

    def _add_plane(self, batch: StatisticsBatch, verdicts: NDArray[np.int64]) -> None:
        columns = [batch.columns.get(name) for name, _ in PLANE]
        if any(column is None for column in columns):
            return
        values = [floats(column) for column in columns]
        known = (verdicts <= Verdict.AI.code) & ~np.isnan(values[0]) & ~np.isnan(values[1])
        across, up = (
            np.clip(np.searchsorted(edges, own[known], side="right") - 1, 0, len(edges) - 2)
            for (_, edges), own in zip(PLANE, values, strict=True)
        )
        rows = len(PLANE[1][1]) - 1
        cells = len(PLANE[0][1]) - 1
        keys = ((across * rows + up) * 2 + verdicts[known]).astype(np.int64)
        counts = np.bincount(keys, minlength=cells * rows * 2).reshape(-1, 2)
        _add_present(self.plane, _PLANE_NAMES, counts)

    def _add_unscored(
        self, batch: StatisticsBatch, languages: NDArray[np.int64], language_names: list[str]
    ) -> None:
        if batch.unscored_codes is None or not batch.unscored_names:
            return
        codes = batch.unscored_codes[batch.unscored_codes >= 0].astype(np.int64)
        counts = np.bincount(codes, minlength=len(batch.unscored_names))
        _add_present(self.unscored, list(batch.unscored_names), counts[:, None])
        if NO_TABLES in batch.unscored_names:
            untabled = batch.unscored_codes == batch.unscored_names.index(NO_TABLES)
            counts = np.bincount(languages[untabled], minlength=len(language_names))
            _add_present(self.untabled, language_names, counts[:, None])

    def add_dates(self, dates: Dates) -> None:
        """Counts documents by what became of their dates; `add` does it, too."""
        counts = np.bincount(dates.states, minlength=len(STATES))
        _add_present(self.dates, list(STATES), counts[:, None])
        if counts[NOT_UNDERSTOOD]:
            import pyarrow.compute as pc

            odd = dates.written.filter(pa.array(dates.states == NOT_UNDERSTOOD))
            codes, values = encoded(pc.utf8_slice_codeunits(odd, 0, _DATE_CHARACTERS))
            names = [value or "" for value in values]
            self.unread_dates.add(names, np.bincount(codes)[:, None])

    def _add_origin(self, batch: StatisticsBatch, verdicts: NDArray[np.int64]) -> None:
        if batch.origin is not None and (known := batch.origin.rules >= 0).any():
            keys = batch.origin.rules[known].astype(np.int64) * len(VERDICTS) + verdicts[known]
            counts = np.bincount(keys, minlength=len(batch.origin.names) * len(VERDICTS))
            _add_present(self.rules, list(batch.origin.names), counts.reshape(-1, len(VERDICTS)))
        for spelled in batch.counted.values():
            self.values.add(spelled, np.eye(len(VERDICTS), dtype=np.int64)[verdicts])

    def _add_found(self, batch: StatisticsBatch, verdicts: NDArray[np.int64]) -> None:
        phrases = batch.columns.get("phrases")
        if phrases is not None:
            found = documents_by_value(phrases, verdicts)
            _add_present(self.phrases, *found.by_value())
            _add_present(self.phrase_categories, *found.by_category())
        artifacts = batch.columns.get("artifacts")
        if artifacts is not None:
            _add_present(self.artifacts, *documents_by_value(artifacts, verdicts).by_value())

    def _add_histograms(self, batch: StatisticsBatch, verdicts: NDArray[np.int64]) -> None:
        for name, bins in batch.bins.items():
            if name == WORDS.name:
                values = np.asarray(batch.words, np.float64)
            else:
                column = batch.columns[name]
                # NaN is not counted.
                is_float = pa.types.is_floating(column.type)
                values = filled(column, np.nan) if is_float else floats(column)
            self._add_histogram(name, bins.count(values, verdicts, len(VERDICTS)))

    def _add_histogram(self, name: str, counts: NDArray[np.int64]) -> None:
        known = self.histograms.get(name)
        if known is None:
            self.histograms[name] = counts.astype(np.int64)  # A copy: it is added to.
        elif known.shape == counts.shape:
            known += counts
        else:
            raise ValueError(
                f"histograms.{name}: counted by other bins before; a scorer whose bins change "
                "needs a new version"
            )

    def add_quarantined(self, reason: str, count: int, bytes: int) -> None:
        """Counts records that could not be read: how many, and their stored bytes."""
        self.totals[3] += (count, bytes, 0)
        self.rejected.add([reason], np.array([[count, bytes]], np.int64))

    def expect(self, bins: Mapping[str, Bins]) -> None:
        """Adds an empty histogram for each column that none was counted of.

        Raises `ValueError` where one was counted by other bins, or has none.
        """
        for name, own in bins.items():
            empty = np.zeros((len(VERDICTS), len(own.edges) + 1), np.int64)
            self._add_histogram(name, empty)
        for name in self.histograms.keys() - bins.keys():
            raise ValueError(f"histograms.{name}: the bins of this column are not known")

    def documents(self) -> dict[str, int]:
        """Documents by verdict, `quarantined` records among them."""
        return dict(zip(OUTCOMES, self.totals[:, 0].tolist(), strict=True))

    def scored(self) -> NDArray[np.int64]:
        """Documents, bytes and words of what the AI share is a share of, by `MEASURES`.

        All that is human or AI, but for trusted documents without a score: that they are human says
        nothing of the documents that could be scored.
        """
        human, ai = self.totals[:2]
        return np.asarray(human + ai - self.languages_without_score.counts.sum(axis=0), np.int64)

    def measured(self) -> dict[str, dict[str, int]]:
        """Documents, bytes and words by verdict."""
        return {
            verdict: dict(zip(MEASURES, row, strict=True))
            for verdict, row in zip(OUTCOMES, self.totals.tolist(), strict=True)
        }

    def shortened(self) -> Statistics:
        """The same with the largest hosts alone, the others added up: what a shard sends home.

        Which hosts are kept depends on the shard alone, so that a sum over shards is the same in
        any order. Itself where there are no more than are kept.
        """
        if (
            len(self.hosts) <= HOSTS_KEPT
            and len(self.unread_dates) <= DATES_KEPT
            and len(self.host_languages) <= HOST_LANGUAGES_KEPT
        ):
            return self
        new = Statistics()
        new.merge(self)
        new.hosts = self.hosts.largest(HOSTS_KEPT, _VERDICT_DOCUMENTS)
        new.hosts_without_score = self.hosts_without_score.only(new.hosts)
        new.unread_dates = self.unread_dates.largest(DATES_KEPT)
        new.host_languages = largest_host_languages(self.host_languages, HOST_LANGUAGES_KEPT)
        return new

    def merge(self, other: Statistics) -> None:
        """Adds what another one counted."""
        self.totals += other.totals
        for name in _FIELDS:
            getattr(self, name).merge(getattr(other, name))
        for name, counts in other.histograms.items():
            self._add_histogram(name, counts)
        self.examples.merge(other.examples)

    def follow(self, other: Statistics) -> None:
        """Adds what another one counted of documents that come after these, in the same shard."""
        self.totals += other.totals
        for name in _FIELDS:
            own: CountTable = getattr(self, name)
            own.add(getattr(other, name).names, getattr(other, name).counts)
        for name, counts in other.histograms.items():
            self._add_histogram(name, counts)
        self.examples.merge(other.examples)

    def to_plain(self) -> Counters:
        """What is counted as a part of a file; names sorted, so that equals are equal there."""
        return Counters(
            totals=self.totals.tolist(),
            **{name: getattr(self, name).to_dict() for name in _FIELDS},
            histograms={name: counts.tolist() for name, counts in self.histograms.items()},
            examples=self.examples.to_plain() or UNSET,
        )

    @classmethod
    def from_plain(cls, plain: Any) -> Statistics:
        """What `to_plain` returned, or plain JSON values of it.

        Raises `ValueError` that says where they are something else.
        """
        counters = plain if isinstance(plain, Counters) else from_plain(plain, Counters)
        new = cls()
        _add_exactly(new.totals, counters.totals, "totals")
        for name in _FIELDS:
            table, counts = getattr(new, name), getattr(counters, name)
            if counts is not UNSET:
                table.update(counts)
        for name, rows in counters.histograms.items():
            shape = len(VERDICTS), len(rows[0]) if rows else 0
            new.histograms[name] = np.zeros(shape, np.int64)
            _add_exactly(new.histograms[name], rows, f"histograms.{name}")
        if counters.examples is not UNSET:
            new.examples = Examples.of(counters.examples)
        return new

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Statistics) and self.to_plain() == other.to_plain()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Statistics({self.documents()})"


def merged(parts: Iterable[Statistics]) -> Statistics:
    """The sum of what each counted."""
    whole = Statistics()
    for part in parts:
        whole.merge(part)
    return whole


def _add_exactly(sums: NDArray[np.int64], rows: list[list[int]], name: str) -> None:
    """Adds rows to sums of the same shape. Raises `ValueError` where it is another."""
    added = np.array(rows, np.int64)
    if added.shape != sums.shape:
        raise ValueError(f"{name}: of the shape {added.shape}; expected {sums.shape}")
    sums += added


def largest_host_languages(table: CountTable, n: int) -> CountTable:
    """The `n` hosts by language with the most scored documents; the rest as one row."""
    return table.largest(n, (TRUST_COUNTS.index("trusted_scored"), TRUST_COUNTS.index("scored")))


def _by_trust(
    batch: StatisticsBatch,
    own: _Flags,
    languages: NDArray[np.int64],
    language_names: list[str],
    origin: Coded,
    but: str | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]]:
    """`TRUST_COUNTS`, scores and name of every "language/origin" that has any, but of one origin.

    The scores are trusted documents, then the others, by `SCORE_BINS`, in one row. Of the others,
    AI documents with a near-certain phrase or without a score count with the highest.
    """
    trusted, flags = batch.trusted, own.trust
    counted = flags[0] | flags[3]
    if but in origin.names:
        counted &= origin.codes != origin.names.index(but)
    origins = len(origin.names)
    keys, _, group = distinct((languages * origins + origin.codes)[counted])
    size = len(keys)
    counts = np.stack([np.bincount(group[flag[counted]], minlength=size) for flag in flags], axis=1)
    names = [
        f"{language_names[key // origins]}/{origin.names[key % origins]}" for key in keys.tolist()
    ]
    scores = np.zeros((size, 2 * (len(SCORE_BINS.edges) + 1)), np.int64)
    score = batch.columns.get("ai_score")
    if score is not None:
        kept = (own.judged | own.certain)[counted]
        groups = 2 * group[kept] + ~trusted[counted][kept]
        values = np.where(own.certain, np.float32(1.0), filled(score, 0.0))[counted][kept]
        scores = SCORE_BINS.count(values, groups, 2 * size).reshape(scores.shape)
    return counts, scores, names


class _Flags(Struct, frozen=True):
    """Which documents of a batch are of which kind.

    `judged` ones have a score; `trust` says which each of `TRUST_COUNTS` counts; `certain` are AI
    with a near-certain phrase or without a score, and not known by their provenance;
    `without_score` are human by their provenance alone.
    """

    judged: NDArray[np.bool_]
    trust: tuple[NDArray[np.bool_], ...]
    certain: NDArray[np.bool_]
    without_score: NDArray[np.bool_]

    @classmethod
    def of(cls, batch: StatisticsBatch) -> _Flags:
        """Those of a batch."""
        judged, trusted = _judged(batch), batch.trusted
        others = ~trusted if batch.origin is None else ~(trusted | batch.origin.denied)
        is_ai = others & (batch.verdicts == Verdict.AI.code)
        trust = (
            trusted,
            trusted & judged,
            trusted & judged & batch.called_ai,
            others & (batch.verdicts != Verdict.UNSCORED.code),
            is_ai,
        )
        is_human = batch.verdicts == Verdict.HUMAN.code
        certain = is_ai & (_has_artifacts(batch) | ~judged)
        return cls(judged, trust, certain, trusted & is_human & ~judged)


def _by_length(batch: StatisticsBatch, own: _Flags) -> NDArray[np.int64]:
    """`TRUST_COUNTS` of each of `LENGTHS`."""
    codes = np.searchsorted(_LENGTH_EDGES, batch.words, side="right")
    columns = [np.bincount(codes[flag], minlength=len(LENGTHS)) for flag in own.trust]
    return np.stack(columns, axis=1)


def _has_artifacts(batch: StatisticsBatch) -> NDArray[np.bool_]:
    found = batch.columns.get("artifacts")
    if found is None:
        return np.zeros(len(batch), np.bool_)
    return np.asarray(list_lengths(found) > 0)


def _judged(batch: StatisticsBatch) -> NDArray[np.bool_]:
    """Which documents have a score: a trusted document's verdict doesn't tell."""
    score = batch.columns.get("ai_score")
    if score is None:
        return np.asarray(batch.verdicts != Verdict.UNSCORED.code, np.bool_)
    return is_known(score)


def _sums(
    codes: NDArray[np.int64],
    size: int,
    verdicts: NDArray[np.int64],
    measures: tuple[NDArray[Any] | None, ...],
) -> NDArray[np.int64]:
    """The sums of each measure by code and verdict; shape (size, verdicts × measures)."""
    keys = codes * len(VERDICTS) + verdicts
    # bincount adds in float64, which is exact below 2^53: a batch is far from 8 PiB.
    columns = [np.bincount(keys, weights, size * len(VERDICTS)) for weights in measures]
    return np.stack(columns, axis=1).astype(np.int64).reshape(size, -1)


def _add_present(table: CountTable, names: list[str], counts: NDArray[np.int64]) -> None:
    """Adds the rows that count something, in their order."""
    present = np.flatnonzero(counts.any(axis=1))
    if len(present) == len(names):
        table.add(names, counts)
    elif len(present):
        table.add([names[i] for i in present.tolist()], counts[present])
