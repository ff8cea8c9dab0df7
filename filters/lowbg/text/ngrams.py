"""What a batch's n-grams say under the tables of their languages: likelihoods and log-odds.

The language model and the log-odds are asked for the same n-grams, so one pass looks both up
(`tables.paired`) and two scorers read its results: `scorers/perplexity.py` what comes of the
language model, `scorers/phrases/odds.py` what comes of the log-odds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.ngram_lookups import MAX_ORDER, WINDOW
from lowbg.kernels.ngram_sums import BEGIN, LanguageTables, NgramFigures, Room, read
from lowbg.models import ModelFile
from lowbg.text.tokens import Tokens

__all__ = [
    "BEGIN",
    "MAX_ORDER",
    "WINDOW",
    "LanguageTables",
    "NgramFigures",
    "NgramTables",
    "read_ngrams",
]


def read_ngrams(
    tables: LanguageTables,
    tokens: Tokens,
    documents: NDArray[np.int64],
    figures: NgramFigures,
) -> None:
    """Fills in `figures` what the tables say of `documents` (positions in the batch)."""
    starts = tokens.word_starts, tokens.sentence_starts
    room = Room.of(tables)
    read(tokens.words, starts[0], tokens.sentences, starts[1], documents, tables, room, figures)


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
        for language in np.flatnonzero(np.bincount(languages[languages >= 0])).tolist():
            tables = self._of_language(codes[language])
            if tables is not None:
                read_ngrams(tables, tokens, np.flatnonzero(languages == language), figures)
        return figures

    def _of_language(self, code: str) -> LanguageTables | None:
        tables = self._laid.get(code)
        if tables is None and code in self._files:
            file = self._files[code]
            # Two threads may do this at once; either result serves.
            tables = self._laid.setdefault(code, LanguageTables.of(file.arrays, file.metadata))
        return tables


_SHARED: WeakValueDictionary[tuple[tuple[str, ModelFile], ...], NgramTables] = WeakValueDictionary()
