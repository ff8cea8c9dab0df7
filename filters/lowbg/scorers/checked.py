"""Scorers as a run calls them: in turns where they need to, and held to what they declare."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import pyarrow as pa

from lowbg.arrays import filled
from lowbg.errors import LowbgError, ScorerError
from lowbg.schema import Column
from lowbg.scorers.base import Documents, Scorer


class CheckedScorer:
    """A scorer whose columns are what it declares, or `ScorerError` names scorer and column."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self._columns = {column.name: column for column in scorer.columns}
        self._turn: AbstractContextManager[object] = (
            nullcontext() if scorer.concurrent else threading.Lock()
        )

    def prepare(self) -> None:
        """Fetches what the scorer needs on this machine."""
        with blamed(self._who):
            self.scorer.prepare()

    def setup(self) -> None:
        """Loads what the scorer needs in this process."""
        with blamed(self._who):
            self.scorer.setup()

    def score(self, documents: Documents) -> Mapping[str, pa.Array]:
        """The scorer's columns of these documents."""
        return self.timed(documents)[0]

    def timed(self, documents: Documents) -> tuple[Mapping[str, pa.Array], float]:
        """The scorer's columns, and the seconds that it took once it was its turn."""
        with blamed(self._who), self._turn:
            started = time.perf_counter()
            found = self.scorer.score(documents)
            seconds = time.perf_counter() - started
        if not isinstance(found, Mapping):
            kind = type(found).__name__
            raise ScorerError(f"{self._who} returned a {kind}; it must be a mapping of columns")
        if found.keys() != self._columns.keys():
            odd = sorted(found.keys() ^ self._columns.keys())[0]
            what = "came and is not declared" if odd in found else "is declared and did not come"
            raise ScorerError(f"{self._who}: column {odd!r} {what}")
        for name, column in self._columns.items():
            fault = _fault(column, found[name], len(documents))
            if fault is not None:
                raise ScorerError(f"{self._who}: column {name!r} {fault}")
        return found, seconds

    @property
    def _who(self) -> str:
        return f"scorer {self.scorer.name!r} (version {self.scorer.version})"


@contextmanager
def blamed(who: str) -> Iterator[None]:
    """Whatever a scorer's code raises within becomes a `ScorerError` that names it.

    `SystemExit` too: a plug-in does not say with which code lowbg ends. What it raises of lowbg's
    own errors, and a lack of memory, pass.
    """
    try:
        yield
    except (LowbgError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise ScorerError(f"{who} failed: {type(error).__name__}: {error}") from error


def _fault(column: Column, values: pa.Array, n: int) -> str | None:
    """How a column differs from its declaration; null where it doesn't."""
    if not isinstance(values, pa.Array):
        return f"is a {type(values).__name__}; it must be an Arrow array"
    if values.type != column.type:
        return f"is of type {values.type}; {column.type} is declared"
    if len(values) != n:
        return f"has {len(values):,} values for {n:,} documents"
    if values.null_count and column.null == "never":
        return "has nulls; its declaration says that it never has"
    if pa.types.is_floating(column.type) and not np.isfinite(filled(values, 0.0)).all():
        return "has NaN or an infinity; what doesn't apply is null"
    return None
