"""How much of a corpus is AI text, corrected for the human documents that are called AI.

The verdicts alone over- or undercount: some human documents are called AI (the false-positive
rate) and some AI documents are not (the recall is below one). Trusted documents, human by their
date, tell the false-positive rate of their language; nothing in a run tells the recall. So the
adjusted count (raw − fpr) / (tpr − fpr) is taken with a true-positive rate of 1, which makes it a
lower estimate: the real share is at least about this. Gart & Buck 1966; Forman 2008, "Quantifying
counts and costs via classification", section 2.2.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from math import sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lowbg.statistics import TRUST_COUNTS

MIN_TRUSTED: Final = 299
"""Fewest trusted documents that tell a rate: with none of 299 called AI, a rate of 1 % or more is
ruled out with 95 % confidence (0.99^299 < 0.05)."""

_DRAWS = 2_000
_SEED = 20221130
_POOLED = "(pooled)"


def share(part: int, whole: int) -> float | None:
    """`part / whole`; null where there is nothing to share."""
    return part / whole if whole else None


def wilson(part: int, whole: int) -> list[float] | None:
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


class ShareEstimator:
    """Estimates AI shares of parts of one run; the language is the stratum.

    `trust` maps "language/year" to `TRUST_COUNTS`. Deterministic: each stratum has a seed of its
    own.
    """

    def __init__(self, trust: Mapping[str, Iterable[int]]) -> None:
        self._cells: dict[tuple[str, str], dict[str, int]] = {}
        for name, counts in trust.items():
            language, _, year = name.partition("/")
            self._cells[language, year] = dict(zip(TRUST_COUNTS, counts, strict=True))
        self._trusted: dict[str, tuple[int, int]] = {}
        for (language, _), cell in sorted(self._cells.items()):
            for key in (language, _POOLED):
                scored, called = self._trusted.get(key, (0, 0))
                self._trusted[key] = (
                    scored + cell["trusted_scored"],
                    called + cell["trusted_called_ai"],
                )
        self._rates = {
            key: _beta(f"fpr {key}", called, scored)
            for key, (scored, called) in self._trusted.items()
        }

    def overall(self) -> dict[str, Any]:
        """The estimate of everything; languages with few trusted documents share one rate."""
        return self._estimate("overall", self._cells.keys(), pool=True)

    def language(self, language: str) -> dict[str, Any]:
        """The estimate of a language, with its own rate or none."""
        cells = [cell for cell in self._cells if cell[0] == language]
        return self._estimate(f"language {language}", cells, pool=False)

    def year(self, year: str) -> dict[str, Any]:
        """The estimate of a year, with the rates of its languages in all years."""
        cells = [cell for cell in self._cells if cell[1] == year]
        return self._estimate(f"year {year}", cells, pool=True)

    def _estimate(
        self, name: str, cells: Iterable[tuple[str, str]], *, pool: bool
    ) -> dict[str, Any]:
        strata: dict[str, list[int]] = {}
        trusted = 0
        for cell in sorted(cells):
            counts = self._cells[cell]
            trusted += counts["trusted_scored"]
            stratum = strata.setdefault(self._rate_of(cell[0], pool=pool), [0, 0])
            stratum[0] += counts["scored"]
            stratum[1] += counts["ai"]
        scored = sum(n for n, _ in strata.values())
        raw = share(sum(ai for _, ai in strata.values()), scored + trusted)
        needed = {rate for rate, (n, _) in strata.items() if n}
        lacking = [rate for rate in sorted(needed) if self._trusted[rate][0] < MIN_TRUSTED]
        if raw is None or lacking:
            return {"estimate": None, "reason": self._reason(raw, lacking), "raw": raw}
        estimate, draws = 0.0, np.zeros(_DRAWS)
        for rate, (n, ai) in sorted(strata.items()):
            if n:
                weight = n / (scored + trusted)
                known, called = self._trusted[rate]
                estimate += weight * float(_adjust(np.array(ai / n), np.array(called / known)))
                draws += weight * _adjust(_beta(f"{name} {rate}", ai, n), self._rates[rate])
        low, high = np.quantile(draws, [0.025, 0.975]).tolist()
        return {
            "estimate": estimate,
            "low": min(low, estimate),
            "high": max(high, estimate),
            "raw": raw,
            "basis": {
                rate: {
                    "trusted_documents": self._trusted[rate][0],
                    "called_ai": self._trusted[rate][1],
                    "false_positive_rate": share(self._trusted[rate][1], self._trusted[rate][0]),
                }
                for rate in sorted(needed)
            },
        }

    def _rate_of(self, language: str, *, pool: bool) -> str:
        """Whose false-positive rate a language's documents get."""
        enough = self._trusted[language][0] >= MIN_TRUSTED
        return language if enough or not pool else _POOLED

    def _reason(self, raw: float | None, lacking: list[str]) -> str:
        if raw is None:
            return "no document was scored"
        found = min(self._trusted[rate][0] for rate in lacking)
        return (
            f"{found} scored documents are human by their date; {MIN_TRUSTED} are needed to know "
            "how many human documents are called AI. The raw share is a bound, not an estimate. "
            "Set trust.before (--trust-before DATE) where documents have dates"
        )


def _adjust(raw: NDArray[np.float64], fpr: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip((raw - fpr) / np.maximum(1.0 - fpr, 1e-9), 0.0, 1.0)


def _beta(name: str, part: int, whole: int) -> NDArray[np.float64]:
    """Draws of a share from its Jeffreys posterior."""
    generator = np.random.default_rng([_SEED, zlib.crc32(name.encode())])
    return generator.beta(part + 0.5, whole - part + 0.5, _DRAWS)
