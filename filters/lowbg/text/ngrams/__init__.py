"""What a batch's n-grams say under the tables of their languages: likelihoods and log-odds.

The language model and the log-odds are asked for the same n-grams, so one pass looks both up
(`tables.paired`) and two scorers read its results: `scorers/perplexity.py` what comes of the
language model, `scorers/phrases/odds.py` what comes of the log-odds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from lowbg.models import ModelFile
from lowbg.text.ngrams.lookup import MAX_ORDER, WINDOW
from lowbg.text.ngrams.reading import BEGIN, BEGIN_WEIGHT, NOTHING, read
from lowbg.text.tables import BUCKET, paired
from lowbg.text.tokens import Tokens

__all__ = [
    "BEGIN",
    "MAX_ORDER",
    "WINDOW",
    "LanguageTables",
    "NgramFigures",
    "NgramTables",
]


@dataclass(frozen=True, slots=True)
class NgramFigures:
    """What a batch's n-grams say of every document.

    `log_likelihoods` (float64, nats) under the language model, 0 without one; `spreads` (float64)
    is the standard deviation of the sentences' mean log-perplexities, NaN below two sentences and
    without a language model. `odds_sums` (int64, documents × 2) adds up the log-odds' payload
    bytes over the distinct n-grams of each window: with s = b − 128, the sum of s of the upper
    byte and of s·|s| of the lower one. `known` (int32, documents × `MAX_ORDER`) counts those
    n-grams by their length.
    """

    log_likelihoods: NDArray[np.float64]
    spreads: NDArray[np.float64]
    odds_sums: NDArray[np.int64]
    known: NDArray[np.int32]

    @classmethod
    def empty(cls, n: int) -> NgramFigures:
        """Those of `n` documents without tables."""
        return cls(
            log_likelihoods=np.zeros(n),
            spreads=np.full(n, np.nan),
            odds_sums=np.zeros((n, 2), np.int64),
            known=np.zeros((n, MAX_ORDER), np.int32),
        )


@dataclass(frozen=True, slots=True)
class LanguageTables:
    """The tables of one language, laid for `reading.read`.

    `pairs` is `tables.paired` of the language model's table and the log-odds'; `odds_buckets` the
    buckets of the latter. The orders are those of the n-grams stored, 0 without a table.
    `log_ps` and `backoffs` (258) are what a payload byte of the language model stands for, in
    nats; at `NOTHING` what holds where nothing is stored, at `BEGIN_WEIGHT` the back-off weight
    of a sentence's begin.
    """

    pairs: NDArray[np.uint32]
    odds_buckets: int
    lm_order: int
    odds_order: int
    log_ps: NDArray[np.float64]
    backoffs: NDArray[np.float64]

    @classmethod
    def of(
        cls, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Mapping[str, Any]]
    ) -> LanguageTables:
        """The tables among a model file's `arrays`, as its `metadata` describes them."""
        lm_slots, odds_slots = arrays.get("lm_slots"), arrays.get("odds_slots")
        byte = np.arange(256)
        log_ps, backoffs = np.zeros(258), np.zeros(258)
        if lm_slots is not None:
            lm = metadata["lm"]
            log_ps[:256] = byte * lm["log_p_step"]
            log_ps[NOTHING] = lm["log_unknown"]
            backoffs[:256] = byte * lm["backoff_step"] + lm["backoff_low"]
            backoffs[BEGIN_WEIGHT] = lm["begin_backoff"]
        return cls(
            pairs=paired(lm_slots, odds_slots),
            odds_buckets=len(odds_slots) // BUCKET if odds_slots is not None else 1,
            lm_order=metadata["lm"]["order"] if lm_slots is not None else 0,
            odds_order=metadata["odds"]["order"] if odds_slots is not None else 0,
            log_ps=log_ps,
            backoffs=backoffs,
        )

    def read(self, tokens: Tokens, documents: NDArray[np.int64], figures: NgramFigures) -> None:
        """Fills in `figures` what the tables say of `documents` (positions in the batch)."""
        read(
            tokens.words,
            tokens.word_starts,
            tokens.sentences,
            tokens.sentence_starts,
            documents,
            self.pairs,
            self.odds_buckets,
            self.lm_order,
            self.odds_order,
            self.log_ps,
            self.backoffs,
            figures.log_likelihoods,
            figures.spreads,
            figures.odds_sums,
            figures.known,
        )


class NgramTables:
    """The tables of several languages; each is laid when its first document comes."""

    def __init__(self, files: Mapping[str, ModelFile]) -> None:
        self._files = dict(files)
        self._laid: dict[str, LanguageTables] = {}

    @classmethod
    def of(cls, files: Mapping[str, ModelFile]) -> NgramTables:
        """The tables in the model files of some languages: one object for all that ask for these.

        So scorers over the same files share the tables, and the figures of a batch.
        """
        own = {
            code: file
            for code, file in sorted(files.items())
            if "lm_slots" in file.arrays or "odds_slots" in file.arrays
        }
        return _SHARED.setdefault(tuple(own.items()), cls(own))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as the model files: tables are laid anew, and shared again."""
        return NgramTables.of, (self._files,)

    def read(
        self, tokens: Tokens, languages: NDArray[np.int8], codes: Sequence[str]
    ) -> NgramFigures:
        """The figures of a batch; `languages` are the documents' indices into `codes`, or −1.

        The documents of a language are taken together, so that its tables stay in the cache.
        """
        figures = NgramFigures.empty(len(tokens))
        for language in np.unique(languages[languages >= 0]):
            tables = self._of_language(codes[language])
            if tables is not None:
                tables.read(tokens, np.flatnonzero(languages == language), figures)
        return figures

    def _of_language(self, code: str) -> LanguageTables | None:
        tables = self._laid.get(code)
        if tables is None and code in self._files:
            file = self._files[code]
            # Two threads may do this at once; either result serves.
            tables = self._laid.setdefault(code, LanguageTables.of(file.arrays, file.metadata))
        return tables


_SHARED: WeakValueDictionary[tuple[tuple[str, ModelFile], ...], NgramTables] = WeakValueDictionary()
