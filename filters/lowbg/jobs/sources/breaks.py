"""Breaks in time: the year from which on a source's documents lie on another level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lowbg.jobs.sources.cells import DOCUMENTS, LOG_ODDS, SQUARES, UNIT, Cells, Keys

MIN_DOCUMENTS: Final = 10
"""Scored documents that there must be on either side."""
MIN_DEVIATIONS: Final = 4.5
"""How many standard errors the change must be, at the best of all splits of up to 30 years: of a
thousand sources that don't change about one seems to."""
MIN_CHANGE: Final = 1.0
"""… and how many units of log-odds: less is no other author."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Breaks:
    """One entry a source: the first year of the new level (0: no break), by how much the mean of
    the log-odds changed, and the 95 % interval of that."""

    year: NDArray[np.int64]
    change: Floats
    low: Floats
    high: Floats


def breaks_of(cells: Cells, keys: Keys) -> Breaks:
    """The sources' breaks: of each the split by year that is clearest, if it is clear."""
    sources = len(cells.names)
    found = Breaks(np.zeros(sources, np.int64), *(np.zeros(sources) for _ in range(3)))
    own = np.flatnonzero((keys.year > 0) & (keys.bin >= 0))
    if not len(own):
        return found
    whole = cells.source[own] << 16 | keys.year[own]
    order = np.argsort(whole, kind="stable")
    whole, own = whole[order], own[order]
    starts = np.flatnonzero(np.diff(whole, prepend=-1))
    sums = np.add.reduceat(cells.counts[own], starts, axis=0).astype(np.float64)
    source, year = whole[starts] >> 16, whole[starts] & 0xFFFF
    n, total, squares = (sums[:, k] for k in (DOCUMENTS, LOG_ODDS, SQUARES))
    total, squares = total / UNIT, squares / UNIT**2
    first = np.searchsorted(source, source)
    last = np.searchsorted(source, source, side="right")
    earlier = [_before(values, first) for values in (n, total, squares)]
    later = [_upto(v, first, last) - e for v, e in zip((n, total, squares), earlier, strict=True)]
    enough = (earlier[0] >= MIN_DOCUMENTS) & (later[0] >= MIN_DOCUMENTS)
    (mean_1, var_1), (mean_2, var_2) = _moments(*earlier), _moments(*later)
    error = np.sqrt(var_1 / np.maximum(earlier[0], 1.0) + var_2 / np.maximum(later[0], 1.0))
    change = mean_2 - mean_1
    clear = np.where(enough, np.abs(change) / np.maximum(error, 1e-3), 0.0)
    clear = np.where(np.abs(change) >= MIN_CHANGE, clear, 0.0)
    best = np.lexsort((year, -clear, source))
    best = best[np.flatnonzero(np.diff(source[best], prepend=-1))]
    best = best[clear[best] >= MIN_DEVIATIONS]
    at = source[best]
    found.year[at], found.change[at] = year[best], change[best]
    found.low[at] = change[best] - 1.96 * error[best]
    found.high[at] = change[best] + 1.96 * error[best]
    return found


def _before(values: Floats, first: NDArray[np.int64]) -> Floats:
    """Of each row the sum of those before it that are of its source."""
    upto = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray(upto[np.arange(len(values))] - upto[first])


def _upto(values: Floats, first: NDArray[np.int64], last: NDArray[np.int64]) -> Floats:
    """Of each row the sum over its source."""
    upto = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray(upto[last] - upto[first])


def _moments(n: Floats, total: Floats, squares: Floats) -> tuple[Floats, Floats]:
    """Mean and variance."""
    documents = np.maximum(n, 1.0)
    mean = total / documents
    variance = np.maximum(squares / documents - mean * mean, 0.0)
    return mean, variance * documents / np.maximum(documents - 1.0, 1.0)
