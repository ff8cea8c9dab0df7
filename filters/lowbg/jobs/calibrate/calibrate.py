"""Thresholds from the user's own human text: the code behind `lowbg calibrate`.

A language's threshold is the lowest score that keeps the false-positive rate at the target, with
95 % confidence, on every stratum of its known-human documents (length bucket × an optional field)
that has enough of them, and on all of them together. The rule is the order statistic of the
Neyman–Pearson umbrella algorithm: Tong, Feng & Li 2018, "Neyman-Pearson classification algorithms
and NP receiver operating characteristics", Science Advances 4(2), proposition 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, exp, lgamma, log, log1p
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lowbg.config import Policy, Rule
from lowbg.errors import ConfigError
from lowbg.jobs.calibrate.known import Known
from lowbg.jobs.eval.evaluate import length_buckets, listed
from lowbg.runs.engine import Engine

CONFIDENCE: Final = 0.95
"""With this probability over the documents drawn, a stratum's true rate is at most the target."""


_WHOLE: Final = "all"


@dataclass(frozen=True, slots=True)
class Stratum:
    """The known-human documents of a kind, and the least threshold that is good for them.

    `before` and `after`: the shares of them called AI as it was, and at the strictest stratum's
    threshold.
    """

    name: str
    documents: int
    threshold: float
    before: float
    after: float

    @property
    def whole(self) -> bool:
        """Whether it is all of a language's documents."""
        return self.name == _WHOLE


@dataclass(frozen=True, slots=True)
class LanguageResult:
    """What calibrating came to for one language; `new` is null where it has too few documents.

    `documents` are its scored, distinct human ones; `strata` those that bind, the whole language
    first. Shares are of the documents called AI at the old and the new threshold: `human` ones,
    and the `others` (AI by label, or later than the cut-off); null of nothing. `by_artifact` of the
    human ones are AI at any threshold, by a near-certain phrase. `expected_fpr` is
    the mean (called + 1) / (documents + 1) of the rate beyond an order statistic, a Beta variable.
    """

    language: str
    documents: int
    old: float
    new: float | None
    strata: tuple[Stratum, ...]
    human_before: float | None
    human_after: float | None
    others: int
    others_before: float | None
    others_after: float | None
    expected_fpr: float | None
    by_artifact: int = 0

    @property
    def set_by(self) -> Stratum | None:
        """The stratum whose threshold is the language's; null where it has too few documents."""
        return strictest(self.strata)


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The policy with its new thresholds, and every language that has known-human documents."""

    policy: Policy
    languages: tuple[LanguageResult, ...]
    min_documents: int

    @property
    def lacking(self) -> tuple[LanguageResult, ...]:
        """The languages with too few documents; they keep the shipped threshold."""
        return tuple(result for result in self.languages if result.new is None)


def least_documents(target_fpr: float, confidence: float = CONFIDENCE) -> int:
    """Fewest human documents that can vouch for a rate: least n, (1 − α)^n ≤ 1 − confidence.

    299 for 1 %, 598 for 0.5 %, 2,995 for 0.1 % at 95 %.
    """
    return ceil(log(1.0 - confidence) / log1p(-target_fpr))


def order_statistic(n: int, target_fpr: float, confidence: float = CONFIDENCE) -> int | None:
    """The least k such that calling AI what exceeds the k-th smallest of n human scores is safe.

    Safe: the rate exceeds α = `target_fpr` with probability
    v(k) = Σ_{j=k…n} C(n, j) (1 − α)^j α^(n − j) ≤ 1 − `confidence`. Null where even k = n isn't.
    """
    tail = 0.0
    for k in range(n, 0, -1):
        choose = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
        tail += exp(choose + k * log1p(-target_fpr) + (n - k) * log(target_fpr))
        if tail > 1.0 - confidence:
            return k + 1 if k < n else None
    return 1


def safe_threshold(
    scores: NDArray[np.float32], target_fpr: float, confidence: float = CONFIDENCE
) -> float | None:
    """The score from which a document may be called AI, just above the order statistic.

    Null for too few scores. In float32, as `ai_score` is: two steps up, so that neither rounding
    nor the way through the calibration's inverse calls the order statistic itself.
    """
    k = order_statistic(len(scores), target_fpr, confidence)
    if k is None:
        return None
    above = np.sort(scores)[k - 1]
    for _ in range(2):
        above = np.nextafter(above, np.float32(2.0))
    return min(1.0, float(str(above)))


def deciding_scores(known: Known) -> NDArray[np.float32]:
    """`ai_score`, 1 where a near-certain phrase decides: such a document is AI at any threshold."""
    return np.where(known.by_artifact, np.float32(1.0), known.score)


def strata_of(known: Known, inside: NDArray[np.bool_], least: int, target: float) -> list[Stratum]:
    """The strata of the documents `inside` that have at least `least`, the whole first.

    Smaller strata are merged into the whole, which has them all.
    """
    names = length_buckets(known.words)
    if known.stratum is not None:
        names = np.array([f"{a} · {b}" for a, b in zip(names, known.stratum, strict=True)])
    scores = deciding_scores(known)
    found: list[tuple[str, NDArray[np.bool_], float]] = []
    for name in (_WHOLE, *listed(names[inside].tolist())):
        own = inside if name == _WHOLE else inside & (names == name)
        threshold = safe_threshold(scores[own], target) if own.sum() >= least else None
        if threshold is not None:
            found.append((name, own, threshold))
    called = scores >= max((threshold for _, _, threshold in found), default=1.0)
    return [
        Stratum(
            str(name),
            int(own.sum()),
            threshold,
            before=float(known.called_ai[own].mean()),
            after=float(called[own].mean()),
        )
        for name, own, threshold in found
    ]


def strictest(strata: Sequence[Stratum]) -> Stratum | None:
    """The one that sets a threshold, of equal ones the first; null without any."""
    return max(strata, key=lambda stratum: stratum.threshold, default=None)


def calibrate(known: Known, engine: Engine, min_documents: int | None = None) -> Calibrated:
    """The engine's policy with thresholds that hold its target on every stratum of `known`.

    A stratum needs `min_documents` (by default as many as the rule needs at least). Languages
    with fewer keep what the policy says. Raises `ConfigError` where no language has enough, saying
    how many each has and needs, and for a rule that knows no score.
    """
    target_fpr = engine.policy.target_fpr
    if engine.policy.rule is not Rule.CALIBRATED:
        raise ConfigError(
            "rule 'thresholds' has no score to calibrate; use rule = \"calibrated\" in the policy"
        )
    least = least_documents(target_fpr)
    if min_documents is not None and min_documents < least:
        raise ConfigError(
            f"`min_documents={min_documents}`: a target of {target_fpr:g} needs at least {least:,} "
            f"human documents in a stratum ({CONFIDENCE:.0%} confidence); give {least} or more"
        )
    least = max(least, min_documents or 0)
    results = tuple(
        _language(known, code, engine, least, target_fpr)
        for code in sorted(set(known.language[known.is_human].tolist()))
    )
    if all(result.new is None for result in results):
        raise ConfigError(_refusal(known, results, least, target_fpr))
    new = {result.language: result.new for result in results if result.new is not None}
    scores = {**engine.policy.min_ai_scores, **new}
    return Calibrated(replace(engine.policy, min_ai_scores=scores), results, least)


def _language(known: Known, code: str, engine: Engine, least: int, target: float) -> LanguageResult:
    own = known.language == code
    human, others = own & known.is_human, own & ~known.is_human
    old = engine.threshold(code)
    # Only documents with a score are known, so their language has tables.
    assert old is not None
    strata = strata_of(known, human, least, target)
    decides = strictest(strata)
    new = None if decides is None else decides.threshold
    after = None if new is None else (known.score >= new) | known.by_artifact
    called = 0 if after is None else int((after & human).sum())
    return LanguageResult(
        language=code,
        documents=int(human.sum()),
        old=old,
        new=new,
        strata=tuple(strata),
        human_before=_share(known.called_ai, human),
        human_after=_share(after, human),
        others=int(others.sum()),
        others_before=_share(known.called_ai, others),
        others_after=_share(after, others),
        expected_fpr=None if after is None else (called + 1) / (int(human.sum()) + 1),
        by_artifact=int((known.by_artifact & human).sum()),
    )


def _share(called: NDArray[np.bool_] | None, inside: NDArray[np.bool_]) -> float | None:
    return float(called[inside].mean()) if called is not None and inside.any() else None


def _refusal(known: Known, results: Sequence[LanguageResult], least: int, target_fpr: float) -> str:
    need = f"{least:,} are needed in a language for a target of {target_fpr:g}"
    if not results:
        where = f"; {known.unscored:,} can't be scored" if known.unscored else ""
        return f"no document that can be scored is known to be human{where}; {need}"
    counts = ", ".join(f"{r.language} has {r.documents:,}" for r in results)
    return (
        f"too few known-human documents: {counts}; {need}. Give more of them, or a higher "
        "`target_fpr`"
    )
