"""How much of a corpus is AI text, corrected for what the verdicts get wrong.

The verdicts alone over- or undercount: some human documents are called AI (the false-positive
rate) and some AI documents are not (the recall is below one). Trusted documents, human by their
date, show how human text of their language scores; the share and the recall are fitted to the
scores of the others (`mixture.py`). With both rates known this is the adjusted count
(raw − fpr) / (recall − fpr): Gart & Buck 1966; Forman 2008, "Quantifying counts and costs via
classification", section 2.2. AI text that scores just like human text shows in nothing that a run
counts: the upper end of an interval allows for some of it (`Constants.hidden`), the estimate
doesn't.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lowbg.report.mixture import CHOSEN, Constants, ShareFit, fit_share
from lowbg.report.naming import for_pages
from lowbg.report.statistics import SCORE_BINS, TRUST_COUNTS, Statistics
from lowbg.storage.typed import Count, Open, Share

MIN_TRUSTED: Final = 299
"""Fewest trusted documents that tell a rate: with none of 299 called AI, a rate of 1 % or more is
ruled out with 95 % confidence (0.99^299 < 0.05)."""

MIN_HOST: Final = 100
"""Fewest scored documents of a host, not human by their date, for an estimate of its own."""

_MIN_SHARE = 0.01
"""Below this share of AI text its recall is left open: it would be noise over noise."""

POOLED = "(pooled)"
_BINS = len(SCORE_BINS.edges) + 1


def share(part: int, whole: int) -> float | None:
    """`part / whole`; null where there is nothing to share."""
    return part / whole if whole else None


def wilson(part: float, whole: float) -> list[float] | None:
    """The 95 % interval of a share, [low, high]; null where there is nothing to share.

    Wilson 1927, without continuity correction.
    """
    if not whole:
        return None
    z = 1.959963984540054
    p = part / whole
    centre = p + z * z / (2 * whole)
    spread = z * sqrt(p * (1 - p) / whole + z * z / (4 * whole * whole))
    scale = 1 + z * z / whole
    # At 0 and 1 the bound is exact, and rounding would leave 1e-17.
    low = (centre - spread) / scale if part else 0.0
    high = (centre + spread) / scale if part < whole else 1.0
    return [max(0.0, low), min(1.0, high)]


def keeps_to(limit: float, value: float, interval: Sequence[float] | None) -> bool | None:
    """Whether a figure is at most `limit`: by its interval where there is one; null: undecided."""
    if interval is None:
        return value <= limit
    if interval[1] <= limit:
        return True
    return False if interval[0] > limit else None


class Basis(Open, frozen=True):
    """What an estimate knows of a stratum; `recall` is null where there is too little AI text."""

    trusted_documents: Count
    called_ai: Count
    false_positive_rate: Share
    recall: Share | None


class Estimate(Open, frozen=True, kw_only=True, omit_defaults=True):
    """The share of AI text among scored documents with its 95 % interval, `low` to `high`.

    `raw` is what the verdicts alone say. `estimate` is null where there is none: `reason` says why.
    `basis` is by stratum.
    """

    estimate: Share | None
    raw: Share | None
    low: Share | None = None
    high: Share | None = None
    reason: str | None = None
    basis: dict[str, Basis] | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval; all from 0 to 1 where there is no estimate."""
        low, high = self.low, self.high
        return 0.0 if low is None else low, 1.0 if high is None else high


@dataclass(slots=True)
class _Cell:
    """What is known of a language and year.

    `counts` as `TRUST_COUNTS`; `scores` are trusted documents, then the others, by `SCORE_BINS`.
    """

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(TRUST_COUNTS), np.int64))
    scores: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, _BINS), np.int64))

    def add(self, other: _Cell) -> None:
        self.counts += other.counts
        self.scores += other.scores

    def __getitem__(self, name: str) -> int:
        return int(self.counts[TRUST_COUNTS.index(name)])

    @property
    def false_positive_rate(self) -> float:
        return self["trusted_called_ai"] / self["trusted_scored"]


class ShareEstimator:
    """Estimates AI shares of parts of one run; the language is the stratum. Deterministic."""

    def __init__(self, statistics: Statistics, constants: Constants = CHOSEN) -> None:
        self._constants = constants
        self._cells: dict[tuple[str, str], _Cell] = {}
        scores = statistics.trust_scores.to_dict()
        for name, counts in statistics.trust.to_dict().items():
            language, _, year = name.partition("/")
            binned = np.array(scores.get(name, np.zeros(2 * _BINS)), np.int64).reshape(2, _BINS)
            self._cells[language, year] = _Cell(np.array(counts, np.int64), binned)
        self._known: dict[str, _Cell] = {}
        for (language, _), cell in self._cells.items():
            for key in (language, POOLED):
                self._known.setdefault(key, _Cell()).add(cell)
        self._hosts: dict[str, dict[tuple[str, str], _Cell]] = {}
        for name, counts in statistics.host_languages.to_dict().items():
            language, _, host = name.partition("/")
            row = np.array(counts, np.int64)
            untrusted = np.stack([np.zeros(_BINS, np.int64), row[len(TRUST_COUNTS) :]])
            cell = _Cell(row[: len(TRUST_COUNTS)], untrusted)
            self._hosts.setdefault(host, {})[language, host] = cell
        self._fits: dict[tuple[str, bytes], ShareFit] = {}

    def overall(self) -> Estimate:
        """The estimate of everything; languages with few trusted documents share one stratum."""
        return self._estimate(self._cells, pool=True)

    def language(self, language: str) -> Estimate:
        """The estimate of a language, from its own trusted documents or none."""
        cells = {key: cell for key, cell in self._cells.items() if key[0] == language}
        return self._estimate(cells, pool=False)

    def year(self, year: str) -> Estimate:
        """The estimate of a year, from the trusted documents of its languages in all years."""
        cells = {key: cell for key, cell in self._cells.items() if key[1] == year}
        return self._estimate(cells, pool=True)

    def host(self, host: str) -> Estimate:
        """The estimate of a host, from the trusted documents of its languages on all hosts.

        None with fewer than `MIN_HOST` documents. Of hosts of many shards it knows the documents
        in those where the host was among the largest.
        """
        cells = self._hosts.get(host, {})
        scored = sum(cell["scored"] for cell in cells.values())
        if scored < MIN_HOST:
            total = scored + sum(cell["trusted_scored"] for cell in cells.values())
            raw = share(sum(cell["ai"] for cell in cells.values()), total)
            reason = f"{scored} scored documents not human by date, {MIN_HOST} are needed"
            return Estimate(estimate=None, reason=reason, raw=raw)
        return self._estimate(cells, pool=True)

    def _estimate(self, cells: Mapping[tuple[str, str], _Cell], *, pool: bool) -> Estimate:
        strata: dict[str, _Cell] = {}
        for key in sorted(cells):
            strata.setdefault(self._stratum(key[0], pool=pool), _Cell()).add(cells[key])
        total = sum(cell["scored"] + cell["trusted_scored"] for cell in strata.values())
        raw = share(sum(cell["ai"] for cell in strata.values()), total)
        needed = {name: cell for name, cell in strata.items() if cell["scored"]}
        lacking = [n for n in sorted(needed) if self._known[n]["trusted_scored"] < MIN_TRUSTED]
        if raw is None or lacking:
            return Estimate(estimate=None, reason=self._reason(raw, lacking), raw=raw)
        fits = {name: self._fit(name, cell) for name, cell in sorted(needed.items())}
        weights = {name: cell["scored"] / total for name, cell in needed.items()}
        estimate, low, high = _combined(weights, fits, self._constants.hidden)
        return Estimate(
            estimate=estimate,
            raw=raw,
            low=low,
            high=high,
            basis={name: self._basis(name, needed[name], fit) for name, fit in fits.items()},
        )

    def _fit(self, stratum: str, cell: _Cell) -> ShareFit:
        mixed = cell.scores[1]
        key = (stratum, mixed.tobytes())
        if key not in self._fits:
            human = self._known[stratum].scores[0].astype(np.float64)
            known = human.any() and mixed.any()
            nothing = ShareFit(0.0, 0.0, 1.0)  # Verdicts without scores tell nothing.
            if known:
                self._fits[key] = fit_share(human, mixed.astype(np.float64), self._constants)
            else:
                self._fits[key] = nothing
        return self._fits[key]

    def _basis(self, stratum: str, cell: _Cell, fit: ShareFit) -> Basis:
        known = self._known[stratum]
        rate, recall = known.false_positive_rate, None
        if fit.share >= _MIN_SHARE:
            found = cell["ai"] / cell["scored"] - rate * (1.0 - fit.share)
            recall = min(1.0, max(0.0, found / fit.share))
        return Basis(known["trusted_scored"], known["trusted_called_ai"], rate, recall)

    def _stratum(self, language: str, *, pool: bool) -> str:
        """Whose trusted documents a language's documents are compared with."""
        known = self._known.get(language)
        enough = known is not None and known["trusted_scored"] >= MIN_TRUSTED
        return language if enough or not pool else POOLED

    def _reason(self, raw: float | None, lacking: list[str]) -> str:
        if raw is None:
            return "no document was scored"
        found = min(self._known[name]["trusted_scored"] for name in lacking)
        return (
            f"{'only ' if found else ''}{found} scored documents are human by their date; "
            f"{MIN_TRUSTED} are needed to know how human documents score. "
            "The raw share is a bound, not an estimate. "
            + for_pages("Set `trust.before` where documents have dates")
        )


def _combined(
    weights: Mapping[str, float], fits: Mapping[str, ShareFit], hidden: float
) -> tuple[float, float, float]:
    """The weighted sum of independent shares, with its interval.

    Trusted documents weigh as shares of 0. The distances of its ends are the root of the sum of
    squares of the parts' distances: Zou & Donner 2008, "Construction of confidence limits about
    effect measures".
    """
    estimate = sum(weights[name] * fit.share for name, fit in fits.items())
    below = sum((weights[name] * (fit.share - fit.low)) ** 2 for name, fit in fits.items())
    above = sum((weights[name] * (fit.high - fit.share)) ** 2 for name, fit in fits.items())
    high = min(sum(weights.values()), (estimate + sqrt(above)) / (1.0 - hidden))
    return estimate, max(0.0, estimate - sqrt(below)), max(estimate, min(1.0, high))
