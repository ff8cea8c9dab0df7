"""What lets a causal LM take part in the decision, from the user's own human text.

The LM's evidence is put on the scale of human text (mean, spread by length, correlation with the
tables) and joined with the tables' score as a run will join it. Thresholds are set by the rule of
`calibrate.py`, one by kind of evidence: that of the tables alone is the policy's; that of tables
and LM is such that the rate holds over all documents that the tables judge; that of the LM alone is
of the documents too short for the tables. So the rate holds by kind of evidence, whatever part of
the documents a run has the budget to let the LM read. The scale is fitted on the documents
that the threshold is set on: it has four numbers a language, against the hundreds of documents that
the rule asks for. That costs a little of the confidence: in simulations the rate was above the
target in 4.5–7 % of the draws, not in 5 %.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lowbg.config import LmCalibration, LmSpread, LmSurprise, Policy
from lowbg.decision.lm import MIN_WORDS, heed, join, standardise, surprise_z
from lowbg.errors import ConfigError
from lowbg.jobs.calibrate.calibrate import (
    Calibrated,
    Stratum,
    deciding_scores,
    safe_threshold,
    strata_of,
    strictest,
)
from lowbg.jobs.calibrate.known import Known, LmKnown
from lowbg.jobs.train.calibration import fit_spread
from lowbg.runs.engine import Engine

_MIN_VARIANCE = 1e-9


@dataclass(frozen=True, slots=True)
class LmResult:
    """What a language came to: human documents that the LM read, and what sets the joint threshold.

    `set_by` is null where too few were read. `judges_short`: whether documents that are too
    short for the tables are judged, for which there must be as many human ones.
    """

    language: str
    read: int
    set_by: Stratum | None
    judges_short: bool


@dataclass(frozen=True, slots=True)
class LmCalibrated:
    """The policy with the LM's part, and what each language came to."""

    policy: Policy
    languages: tuple[LmResult, ...]


def calibrate_lm(
    calibrated: Calibrated, known: Known, engine: Engine, identity: str | None
) -> LmCalibrated:
    """`calibrated`'s policy with the LM of this `identity` in it, null where there is none.

    Raises `ConfigError` there, and where in no language enough human documents were read by it.
    """
    if identity is None or known.lm is None:
        raise ConfigError(
            "there is no evidence of a causal LM to calibrate: a server has no curvature, so give "
            "a model that runs here, `extras.lm.model`"
        )
    spreads: dict[str, LmSpread] = {}
    surprises: dict[str, LmSurprise] = {}
    scores: dict[str, float] = {}
    alone: dict[str, float] = {}
    results = []
    for code in sorted(set(known.lm.language[known.lm.is_human].tolist())):
        if engine.threshold(code) is None:
            continue  # Without tables there is no score to join.
        own = _only(known.lm, known.lm.language == code)
        spread = _spread(own, engine, code, calibrated.min_documents)
        surprise = _surprise(own)
        decides = short = None
        if spread is not None:
            by_tables = ~np.isnan(own.tables_z)
            scale = spread, surprise
            decides = _strictest(_only(own, by_tables), scale, engine, code, calibrated)
            short = _strictest(_only(own, ~by_tables), scale, engine, code, calibrated)
        read = int((own.is_human & ~np.isnan(own.evidence)).sum())
        if spread is None or decides is None:
            results.append(LmResult(code, read, None, False))
            continue
        spreads[code], scores[code] = spread, decides.threshold
        if surprise is not None:
            surprises[code] = surprise
        if short is not None:
            alone[code] = short.threshold
        results.append(LmResult(code, read, decides, short is not None))
    if not spreads:
        raise ConfigError(_refusal(results, calibrated.min_documents))
    lm = LmCalibration(
        model=identity,
        feature=known.lm.feature,
        languages=spreads,
        min_ai_scores=scores,
        min_ai_scores_alone=alone,
        surprise=surprises,
    )
    return LmCalibrated(replace(calibrated.policy, lm=lm), tuple(results))


def _only(known: LmKnown, inside: NDArray[np.bool_]) -> LmKnown:
    return LmKnown(
        known.language[inside],
        known.words[inside],
        known.is_human[inside],
        known.stratum[inside] if known.stratum is not None else None,
        known.by_artifact[inside],
        known.tables_z[inside],
        known.feature,
        known.evidence[inside],
        known.surprise[inside] if known.surprise is not None else None,
    )


def _surprise(own: LmKnown) -> LmSurprise | None:
    """The scale of evenness in a language's human text; null where none is read."""
    if own.surprise is None:
        return None
    read = own.is_human & ~np.isnan(own.surprise) & ~np.isnan(own.evidence)
    if read.sum() < 2:
        return None
    fitted = fit_spread(own.surprise[read], own.words[read], np.ones(int(read.sum())))
    between = max(float(fitted.between), _MIN_VARIANCE)
    return LmSurprise(float(fitted.mean), between, float(fitted.within))


def _spread(own: LmKnown, engine: Engine, code: str, least: int) -> LmSpread | None:
    """The scale of the LM's evidence in a language's human text; null with too little of it."""
    read = own.is_human & ~np.isnan(own.evidence)
    if read.sum() < least:
        return None
    x, words = own.evidence[read], own.words[read]
    fitted = fit_spread(x, words, np.ones(len(x)))
    by_tables = engine.min_words(code)
    min_words = MIN_WORDS if (words < by_tables).sum() >= least else by_tables
    spread = LmSpread(
        mean=float(fitted.mean),
        between=max(float(fitted.between), _MIN_VARIANCE),
        within=float(fitted.within),
        correlation=0.0,
        min_words=min_words,
    )
    both = read & ~np.isnan(own.tables_z)
    z = standardise(spread, own.evidence[both], own.words[both])
    kept = ~np.isnan(z)
    if kept.sum() < 2 or not np.std(z[kept]) or not np.std(own.tables_z[both][kept]):
        return spread
    correlation = np.corrcoef(own.tables_z[both][kept], z[kept])[0, 1]
    return replace(spread, correlation=float(correlation))


def _strictest(
    own: LmKnown,
    scale: tuple[LmSpread, LmSurprise | None],
    engine: Engine,
    code: str,
    calibrated: Calibrated,
) -> Stratum | None:
    """What sets the `ai_score` from which a document is AI; null with too few documents.

    All documents count. One of which the LM says nothing (it has no token that it knows) is AI or
    not by the tables, whatever this threshold is.
    """
    spread, surprise = scale
    by_lm = standardise(spread, own.evidence, own.words)
    z = join(own.tables_z, by_lm, spread.correlation)
    if surprise is not None and own.surprise is not None:
        heard = ~np.isnan(by_lm)
        z[heard] = heed(z, surprise_z(surprise, own.surprise, own.words))[heard]
    judged = ~np.isnan(z)
    score = engine.score_of(code, np.nan_to_num(z))
    threshold = calibrated.policy.min_ai_scores.get(code, engine.threshold(code) or 1.0)
    score = np.where(np.isnan(by_lm), (score >= threshold).astype(np.float32), score)
    known = Known(
        language=own.language[judged],
        words=own.words[judged],
        score=score[judged],
        called_ai=np.zeros(int(judged.sum()), np.bool_),
        by_artifact=own.by_artifact[judged],
        is_human=own.is_human[judged],
        stratum=own.stratum[judged] if own.stratum is not None else None,
    )
    target = calibrated.policy.target_fpr
    strata = strata_of(known, known.is_human, calibrated.min_documents, target)
    if not strata or safe_threshold(deciding_scores(known)[known.is_human], target) is None:
        return None
    return strictest(strata)


def _refusal(results: list[LmResult], least: int) -> str:
    counts = ", ".join(f"{r.language} {r.read:,}" for r in results) or "none"
    return (
        f"too few known-human documents were read by the LM: {counts}; {least:,} are needed in a "
        "language. Give more of them"
    )
