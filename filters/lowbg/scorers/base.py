"""What a scorer is: a batch of documents in, columns of features out, and never a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.schema import Column
from lowbg.text.ngrams import NgramFigures, NgramTables
from lowbg.text.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Documents:
    """A batch as scorers see it.

    `text` (large_string, no nulls); `tokens` of the same documents; `languages` (int8) is each
    document's language as an index into `language_codes`, −1 where it is not recognised.
    """

    text: pa.LargeStringArray
    tokens: Tokens
    languages: NDArray[np.int8]
    language_codes: tuple[str, ...]
    _ngrams: dict[NgramTables, NgramFigures] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __len__(self) -> int:
        return len(self.text)

    def ngrams(self, tables: NgramTables) -> NgramFigures:
        """What `tables` say of the documents' n-grams; the first call does the work for all."""
        figures = self._ngrams.get(tables)
        if figures is None:
            figures = tables.read(self.tokens, self.languages, self.language_codes)
            self._ngrams[tables] = figures
        return figures


class Scorer(Protocol):
    """Life: made, `prepare` once a machine, `setup` once a worker, `score` once a batch.

    `columns` are the features that `score` returns, one array a column, one entry a document, in
    the documents' order; null means "not applicable", never NaN. `score` is pure: a document's
    features never depend on the others in its batch. A change of meaning bumps `version`.
    `min_words` is the least text that the scorer can judge; `languages` are those that it knows.
    """

    @property
    def name(self) -> str:
        """The scorer's public name: the stem of its file."""
        ...

    @property
    def version(self) -> int:
        """Bumped when the meaning of a column changes."""
        ...

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that `score` returns."""
        ...

    @property
    def languages(self) -> frozenset[str]:
        """The languages that it scores; others get nulls. Empty: all of them."""
        ...

    @property
    def min_words(self) -> int:
        """Fewer words than this give null."""
        ...

    @property
    def models(self) -> Mapping[str, str]:
        """Model file → SHA-256 (hex) of everything that influences a score."""
        ...

    def prepare(self) -> None:
        """Fetches what has to be fetched; once a machine, before any `setup`."""
        ...

    def setup(self) -> None:
        """Loads models and compiles; once a worker."""
        ...

    def score(self, documents: Documents) -> Mapping[str, pa.Array]:
        """The features of every document, by column name."""
        ...
