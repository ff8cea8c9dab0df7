"""AI phrases: a learned table of word n-gram log-odds, and dated lists of named patterns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.arrays import column_of, distinct
from lowbg.kernels.hashes import extend_each
from lowbg.models import ModelFile
from lowbg.scorers.base import Column, Documents, Scorer, Span, linear_bins
from lowbg.scorers.phrases.odds import FoundNgrams, Odds, create_odds
from lowbg.scorers.phrases.patterns import Hits, Matcher, installed_matcher, list_digests
from lowbg.text.ngrams import MAX_ORDER
from lowbg.text.tokens import Tokens

PHRASE_LOG_ODDS = Column(
    "phrase_log_odds",
    pa.float32(),
    unit="nats/word",
    meaning="mean learned log-odds, AI against human, of the document's n-grams",
    null="no table of the language, or no words",
    bins=linear_bins("Phrase log-odds (nats per word)", -2.0, 2.0, 40),
    order=40,
)
PHRASE_HITS_PER_1K_WORDS = Column(
    "phrase_hits_per_1k_words",
    pa.float32(),
    unit="hits/1,000 words",
    meaning="matches of the named phrase patterns of the document's language",
    null="no list of the language, or no words",
    order=40,
)
PHRASES = Column(
    "phrases",
    pa.list_(pa.string()),
    meaning="the distinct phrase patterns found, as category:phrase; quoted:phrase: no hit",
    in_explanation=False,
    order=40,
)
ARTIFACTS = Column(
    "artifacts",
    pa.list_(pa.string()),
    meaning="phrases found that only a machine says of itself: the near-certain patterns",
    in_explanation=False,
    order=40,
)

# Left for the decision and for counting.
PHRASE_HITS = Column(
    "phrase_hits",
    pa.int64(),
    unit="hits",
    meaning="matches of the named phrase patterns, common ones included",
    in_row=False,
)
PHRASE_ODDS_NB = Column(
    "phrase_odds_nb",
    pa.float32(),
    unit="nats/word",
    meaning="mean Naive-Bayes log-odds, AI against human, of the document's n-grams",
    null="as phrase_log_odds",
    in_row=False,
)
PHRASE_ODDS_LR = Column(
    "phrase_odds_lr",
    pa.float32(),
    unit="nats/word",
    meaning="mean weight of the document's n-grams in a logistic regression of AI against human",
    null="as phrase_log_odds",
    in_row=False,
)
PHRASE_NGRAMS_KNOWN = Column(
    "phrase_ngrams_known",
    pa.list_(pa.int32(), MAX_ORDER),
    unit="n-grams",
    meaning="distinct n-grams a window of 1 … 4 words that the table of log-odds holds",
    in_row=False,
)

_WORD = re.compile(r"\w+(?:['’]\w+)*")


class Phrases(Scorer):
    """`phrase_log_odds`, `phrase_hits_per_1k_words`, `phrases` and `artifacts`.

    The log-odds are the mean of the two that `odds` gives; both are handed on for the decision.
    The common patterns and the near-certain ones are looked for in every language; the rate is null
    where the language has no list of its own.
    """

    name = "phrases"
    version = 1
    columns: tuple[Column, ...] = (
        PHRASE_LOG_ODDS,
        PHRASE_HITS_PER_1K_WORDS,
        PHRASES,
        ARTIFACTS,
        PHRASE_HITS,
        PHRASE_ODDS_NB,
        PHRASE_ODDS_LR,
        PHRASE_NGRAMS_KNOWN,
    )
    min_words = 1
    concurrent = True

    def __init__(self, models: Mapping[str, ModelFile]) -> None:
        self._models = models
        self._digests = list_digests()
        self._odds: Odds | None = None
        self._matcher: Matcher | None = None

    @property
    def models(self) -> Mapping[str, str]:
        """The phrase lists; the tables of the languages are the caller's."""
        return self._digests

    def setup(self) -> None:
        """Reads the lists and compiles them, once."""
        if self._odds is None:
            self._odds = create_odds(self._models)
        if self._matcher is None:
            self._matcher = installed_matcher()

    @property
    def odds(self) -> Odds:
        """The learned table, read at first use."""
        if self._odds is None:
            self.setup()
        assert self._odds is not None
        return self._odds

    @property
    def matcher(self) -> Matcher:
        """The named patterns, read at first use."""
        if self._matcher is None:
            self.setup()
        assert self._matcher is not None
        return self._matcher

    def score(self, documents: Documents) -> Mapping[str, pa.Array]:
        """The columns; null rates without words, or without a list or table of the language."""
        matcher = self.matcher
        hits = matcher.find(documents)
        n = len(documents)
        counts = np.bincount(hits.document[hits.pattern < matcher.listed], minlength=n)
        words = documents.tokens.words_per_document
        listed = np.array(
            [code in matcher.languages for code in documents.language_codes] + [False]
        )
        unrated = ~listed[documents.languages] | (words == 0)
        rate = 1000.0 * counts / np.maximum(words, 1)
        odds = self.odds.score(documents)
        return {
            PHRASE_LOG_ODDS.name: _nullable((odds["nb"] + odds["lr"]) / 2),
            PHRASE_HITS_PER_1K_WORDS.name: column_of(rate.astype(np.float32), null=unrated),
            PHRASES.name: _distinct(hits, n, matcher.label_of, matcher.labels),
            ARTIFACTS.name: _distinct(
                hits.take(matcher.near_certain[hits.pattern]), n, matcher.label_of, matcher.names
            ),
            PHRASE_HITS.name: column_of(counts.astype(np.int64)),
            PHRASE_ODDS_NB.name: _nullable(odds["nb"]),
            PHRASE_ODDS_LR.name: _nullable(odds["lr"]),
            PHRASE_NGRAMS_KNOWN.name: pa.FixedSizeListArray.from_arrays(
                column_of(odds["known"].reshape(-1).astype(np.int32)), MAX_ORDER
            ),
        }

    def spans(self, documents: Documents) -> list[Span]:
        """Where the named patterns stand."""
        hits, tokens = self.matcher.find(documents), documents.tokens
        spans = []
        for document, pattern, start, end in zip(
            hits.document, hits.pattern, hits.start, hits.end, strict=True
        ):
            before = _decoded(tokens, int(tokens.text_starts[document]), int(start))
            first = len(before)
            last = first + len(_decoded(tokens, int(start), int(end)))
            found = self.matcher.patterns[pattern]
            spans.append(Span(int(document), first, last, found.category, found.name))
        return spans

    def weights(self, documents: Documents, i: int) -> Sequence[tuple[str, float]]:
        """The n-grams of document i that the learned table knows, as text in lower case.

        With each the nats that it adds to the document's log-odds, all its counted places
        together; those that speak most for AI first. Who stops at the heaviest pays for these.
        """
        return _Heaviest.of(documents.tokens, i, self.odds.found(documents, i))

    def places(self, documents: Documents, i: int) -> list[tuple[int, float]]:
        """The nats of each n-gram of document i, at its first word."""
        found = self.odds.found(documents, i)
        return [*zip(found.at.tolist(), found.nats.tolist(), strict=True)]


@dataclass(frozen=True)
class _Heaviest(Sequence[tuple[str, float]]):
    """Distinct n-grams and their nats, the heaviest first, spelled when they are looked at."""

    tokens: Tokens
    document: int
    at: NDArray[np.int64]
    length: NDArray[np.int64]
    nats: NDArray[np.float64]

    @classmethod
    def of(cls, tokens: Tokens, document: int, found: FoundNgrams) -> _Heaviest:
        """Those of a document, each n-gram's places together."""
        keys = np.zeros(len(found.at), np.uint64)
        for k in range(int(found.length.max(initial=0))):
            has = found.length > k
            keys[has] = extend_each(keys[has], tokens.words[found.at[has] + k])
        _, first, group = distinct(keys)
        nats = np.zeros(len(first))
        np.add.at(nats, group, found.nats)
        order = np.argsort(-nats, kind="stable")
        own = first[order]
        return cls(tokens, document, found.at[own], found.length[own], nats[order])

    def __len__(self) -> int:
        return len(self.at)

    def __iter__(self) -> Iterator[tuple[str, float]]:
        ends = np.flatnonzero(np.append(np.diff(self.nats) != 0, True)).tolist()
        start = 0
        for end in ends if len(self) else ():
            alike = range(start, end + 1)
            yield from sorted((self._spelled(j), float(self.nats[j])) for j in alike)
            start = end + 1

    @overload
    def __getitem__(self, index: int) -> tuple[str, float]: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[str, float]]: ...

    def __getitem__(self, index: int | slice) -> tuple[str, float] | Sequence[tuple[str, float]]:
        return self._all[index]

    @cached_property
    def _all(self) -> list[tuple[str, float]]:
        return list(self)

    def _spelled(self, j: int) -> str:
        return _spelled(self.tokens, self.document, int(self.at[j]), int(self.length[j]))


def _spelled(tokens: Tokens, i: int, first: int, length: int) -> str:
    """The words from `first` on, of document i, as they stand in its text."""
    last = first + length
    inside = last < int(tokens.word_starts[i + 1])
    end = int(tokens.word_offsets[last]) if inside else int(tokens.text_starts[i + 1])
    raw = _decoded(tokens, int(tokens.word_offsets[first]), end)
    return " ".join(_WORD.findall(raw.lower()))


def _decoded(tokens: Tokens, start: int, end: int) -> str:
    """The bytes start … end of a batch as text."""
    return bytes(tokens.data[start:end]).decode("utf-8", "replace")


def _nullable(values: NDArray[Any]) -> pa.Array:
    """As float32, null where NaN."""
    return column_of(values.astype(np.float32), null=np.isnan(values))


def _distinct(hits: Hits, n: int, label_of: NDArray[np.int64], labels: pa.StringArray) -> pa.Array:
    """Each document's distinct labels (list<string>), in the order of their first hit."""
    if not len(hits):
        nothing = column_of(np.zeros(n + 1, np.int32))
        return pa.ListArray.from_arrays(nothing, labels.slice(0, 0))
    key = hits.document * len(label_of) + label_of[hits.pattern]
    _, first, _ = distinct(key)
    first.sort()  # hits lie in text order
    offsets = np.concatenate(([0], np.cumsum(np.bincount(hits.document[first], minlength=n))))
    values = labels.take(column_of(label_of[hits.pattern[first]]))
    return pa.ListArray.from_arrays(column_of(offsets.astype(np.int32)), values)


def create(models: Mapping[str, ModelFile]) -> Scorer:
    """The scorer over the log-odds tables in `models` and the installed phrase lists."""
    return Phrases(models)
