"""What a scorer is: a batch of documents in, columns of features out, and never a verdict."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

from lowbg.lm_budget import LmSelection
from lowbg.schema import Bins, Column, linear_bins, log_bins
from lowbg.text.ngrams import NgramFigures, NgramTables
from lowbg.text.tokens import Tokens

__all__ = [
    "Bins",
    "Column",
    "Documents",
    "Scorer",
    "SecondLook",
    "Span",
    "linear_bins",
    "log_bins",
]


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

    def part(self, start: int, stop: int) -> Documents:
        """The documents from `start` to before `stop`."""
        own = slice(start, stop)
        tokens = self.tokens.part(start, stop)
        return Documents(self.text[own], tokens, self.languages[own], self.language_codes)

    def ngrams(self, tables: NgramTables) -> NgramFigures:
        """What `tables` say of the documents' n-grams; the first call does the work for all."""
        figures = self._ngrams.get(tables)
        if figures is None:
            figures = tables.read(self.tokens, self.languages, self.language_codes)
            self._ngrams[tables] = figures
        return figures


class SecondLook(Struct, frozen=True):
    """The cost of a scorer that is too slow for every document.

    Its time is told apart in the report, and so is what it read: `tokens` names the column (int64)
    that counts that, if there is one. `selection` says which documents it sees; null: every one.
    """

    tokens: str | None = None
    selection: LmSelection | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A place in the text of the batch's document number `document`: its characters start … end.

    `category` and `name` say what stands there.
    """

    document: int
    start: int
    end: int
    category: str
    name: str


class Scorer(ABC):
    """Life: made, `prepare` once a machine, `setup` once a worker, `score` once a batch.

    A scorer has a name, a version, columns and `score`; everything else has a default. What it is
    it says from the start, without models or settings: nothing is loaded before `setup`, except
    what that needs. It pickles.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Its public name: the stem of its file, or of its entry point."""

    @property
    @abstractmethod
    def version(self) -> int:
        """Bumped when the meaning of a column changes."""

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """The columns that `score` returns."""

    @property
    def languages(self) -> frozenset[str]:
        """The languages that it scores; others get nulls. Empty: all of them."""
        return frozenset()

    @property
    def min_words(self) -> int:
        """Fewer words than this give null."""
        return 0

    @property
    def models(self) -> Mapping[str, str]:
        """File → SHA-256 (hex) of everything that influences a score, beside the code."""
        return {}

    @property
    def settings(self) -> type[Any] | None:
        """The frozen dataclass of its settings: it runs only where some are given.

        Null: it has none, and runs always.
        """
        return None

    @property
    def second_look(self) -> SecondLook | None:
        """Null: it is fast enough for every document. Else which documents it sees."""
        return None

    @property
    def concurrent(self) -> bool:
        """Whether `score` may be at work in several threads at once; if not, they take turns."""
        return False

    def prepare(self) -> None:  # noqa: B027
        """Fetches what has to be fetched; once a machine, before any `setup`."""

    def setup(self) -> None:  # noqa: B027
        """Loads models and compiles; once a worker."""

    @abstractmethod
    def score(self, documents: Documents) -> Mapping[str, pa.Array]:
        """The features of every document, by column name.

        One array a column of its declared type, one entry a document, in the documents' order;
        null means "not applicable", never NaN. Pure: a document's features never depend on the
        others in its batch.
        """

    def identity(self) -> str:
        """SHA-256 (hex) of everything that decides its figures; a calibration holds for one."""
        return hashlib.sha256(" ".join(self.models.values()).encode()).hexdigest()

    def notes(self, documents: Documents, i: int, values: Mapping[str, Any]) -> Sequence[str]:
        """Lines that `explain` adds about document i, whose columns have these `values`.

        Without any it lists the values, each with its unit and meaning.
        """
        return ()

    def spans(self, documents: Documents) -> Sequence[Span]:
        """What `explain` marks in the text; it asks with a document's sentences as documents."""
        return ()

    def weights(self, documents: Documents, i: int) -> Sequence[tuple[str, float]]:
        """The parts of document i that decide its first column, and what each adds to the sum.

        The heaviest first. The decision names them in its reasons.
        """
        return ()

    def places(self, documents: Documents, i: int) -> Sequence[tuple[int, float]]:
        """The same by place: words of the batch, by number, and what each adds to the sum."""
        return ()
