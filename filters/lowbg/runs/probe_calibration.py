"""What a probe says of itself, as a calibration: so its verdicts need none of the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lowbg.config import FprBound, LmCalibration, LmSpread, LmSurprise, Policy
from lowbg.decision.calibration import Calibration, at_rate
from lowbg.decision.lm import LM_PROBE_LOG_ODDS
from lowbg.models import ModelFile, embedded_path
from lowbg.scorers.lm.probes import Probe
from lowbg.scorers.lm_probe import LmProbe


def own_calibration(
    scorer: LmProbe, policy: Policy, models: Mapping[str, ModelFile]
) -> LmCalibration | None:
    """What the probes of a scorer say: see `calibration_of`."""
    return calibration_of(
        *(scorer.probes, scorer.identity(), policy, models), surprise=scorer.reads_surprise
    )


def calibration_of(
    probes: Sequence[Probe],
    identity: str,
    policy: Policy,
    models: Mapping[str, ModelFile],
    *,
    surprise: bool = False,
) -> LmCalibration | None:
    """The calibration at the policy's rate, from left-out human text of the probes' own.

    It is of the languages whose tables in `models` are those that the probe was measured with, or
    embedded ones: their z means the same in every version. Null where there are none, and under
    `fpr_bound = "every"`, of which a probe says nothing. With `surprise` its thresholds are those
    that count the model's surprise.
    """
    if policy.fpr_bound is not FprBound.MEAN:
        return None
    spreads: dict[str, LmSpread] = {}
    joined: dict[str, float] = {}
    alone: dict[str, float] = {}
    surprises: dict[str, LmSurprise] = {}
    for probe in probes:
        for code in probe.languages:
            model = models.get(code)
            known = _known(probe, model)
            if model is None or known is None:
                continue
            calibration, (human, both) = Calibration.of(model), known
            spreads[code] = LmSpread(
                mean=human["mean"],
                between=human["between"],
                within=human["within"],
                correlation=both["correlation"],
                min_words=human["min_words"],
            )
            kept = [both, human]
            if surprise:
                told = probe.card["surprise"]
                surprises[code] = surprise_of(probe)
                kept = [told["joined"], told["alone"]]
            for scores, stored in zip((joined, alone), kept, strict=True):
                z = at_rate(stored["thresholds"], policy.target_fpr)
                scores[code] = _score_of(calibration, z)
    if not spreads:
        return None
    return LmCalibration(
        model=identity,
        feature=LM_PROBE_LOG_ODDS,
        languages=spreads,
        min_ai_scores=joined,
        min_ai_scores_alone=alone,
        surprise=surprises,
    )


def surprise_of(probe: Probe) -> LmSurprise:
    """How evenness spreads over human text, as a probe says it."""
    told = probe.card["surprise"]
    return LmSurprise(told["mean"], told["between"], told["within"])


def _known(
    probe: Probe, model: ModelFile | None
) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """What the probe knows of human text, alone and with those tables; null where it doesn't."""
    human, joined = probe.card.get("human"), probe.card.get("joined")
    if model is None or not human or not joined:
        return None
    embedded = model.path.parent == embedded_path("").parent
    return (human, joined) if embedded or joined["tables"] == model.sha256 else None


def _score_of(calibration: Calibration, z: float) -> float:
    """The `ai_score` of a z: what policies state thresholds in."""
    return float(calibration.score(np.array([z]))[0])
