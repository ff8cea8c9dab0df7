"""Second looks: scorers that are too slow for every document, and which of them they see.

With a band such a scorer sees only documents whose `ai_score` is unsure, and those that are too
short for the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.arrays import filled
from lowbg.config import LmCalibration, Policy, Rule
from lowbg.decision.decide import Verdicts
from lowbg.decision.lm import FEATURES
from lowbg.models import ModelFile
from lowbg.scorers.base import Documents, Scorer, SecondLook
from lowbg.scorers.checked import CheckedScorer

SENT_NAMES = ("all", "band", "too_short")
"""Why a document was sent to a slow scorer."""
ALL, BAND, SHORT = range(3)

MakeDocuments = Callable[[pa.LargeStringArray, NDArray[np.int8]], Documents]


@dataclass(frozen=True, slots=True)
class Look:
    """What the slow scorers found in a batch.

    `columns` has an entry a document, null where the scorer didn't see it. `sent` says why one saw
    it, as an index into `SENT_NAMES`, −1 where none did. `tokens` is what they read of each, and
    `seconds` what they took.
    """

    columns: Mapping[str, pa.Array]
    sent: NDArray[np.int8]
    tokens: NDArray[np.int64]
    seconds: float


@dataclass(frozen=True, slots=True)
class Witness:
    """The slow scorer whose column can be evidence in the decision, and its band."""

    scorer: Scorer
    band: tuple[float, float] | None


class Cascade:
    """The slow scorers of a run; there may be none."""

    def __init__(self, scorers: Sequence[CheckedScorer]) -> None:
        self._looks = [
            (checked, look)
            for checked in scorers
            if (look := checked.scorer.second_look) is not None
        ]

    @property
    def scorers(self) -> tuple[Scorer, ...]:
        """The scorers, in the order of their columns."""
        return tuple(checked.scorer for checked, _ in self._looks)

    @property
    def witness(self) -> Witness | None:
        """The scorer that has a column of `decision.lm.FEATURES`, if one runs."""
        for checked, look in self._looks:
            if any(column.name in FEATURES for column in checked.scorer.columns):
                return Witness(checked.scorer, look.band)
        return None

    def calibration(self, policy: Policy, models: Mapping[str, ModelFile]) -> LmCalibration | None:
        """What lets the LM take part in the decision; null where `why_silent` says why not.

        The policy's; without one, what a probe says of itself and the tables in `models`.
        """
        if self.witness is None or self.why_silent(policy, models):
            return None
        return policy.lm if policy.lm is not None else self._own(policy, models)

    def _own(self, policy: Policy, models: Mapping[str, ModelFile]) -> LmCalibration | None:
        """What the probe itself says of thresholds, if there is one."""
        witness = self.witness
        if witness is None or witness.band is not None:
            return None
        from lowbg.runs.probe_calibration import own_calibration
        from lowbg.scorers.lm_probe import LmProbe

        if not isinstance(witness.scorer, LmProbe):
            return None
        return own_calibration(witness.scorer, policy, models)

    def why_silent(self, policy: Policy, models: Mapping[str, ModelFile]) -> str | None:
        """Why the LM changes no verdict, and what to do about it; null where it takes part."""
        lm, known = self.witness, policy.lm
        if lm is None and known is None:
            return None
        if lm is None:
            return (
                "the policy was calibrated with an LM, and none runs here: verdicts are by the "
                "tables alone; give the `extras.lm.model` options that it was calibrated with"
            )
        if policy.rule is not Rule.CALIBRATED:
            return "rule 'thresholds' knows no LM"
        if known is None and self._own(policy, models) is not None:
            return None
        if known is None:
            why = "the policy has no calibration of an LM"
        elif known.model != lm.scorer.identity():
            why = "the policy was calibrated with another LM or `extras.lm.context`"
        elif known.band != lm.band:
            why = (
                f"the policy was calibrated with {_band(known.band)}, this run has {_band(lm.band)}"
            )
        else:
            return None
        return (
            f"{why}; lowbg calibrate with the same `extras.lm.model` options makes a policy that "
            "fits"
        )

    def look(self, documents: Documents, decisions: Verdicts, make: MakeDocuments) -> Look:
        """Scores the documents; `make` makes documents of some of their texts and languages."""
        columns: dict[str, pa.Array] = {}
        sent = np.full(len(documents), -1, np.int8)
        tokens = np.zeros(len(documents), np.int64)
        seconds = 0.0
        for scorer, look in self._looks:
            own = _choose(look, decisions)
            found, took = _score_some(scorer, documents, np.flatnonzero(own >= 0), make)
            seconds += took
            sent = np.where(sent < 0, own, sent)
            if look.tokens is not None:
                tokens += filled(found[look.tokens], 0).astype(np.int64)
            columns.update(found)
        return Look(columns, sent, tokens, seconds)


def _choose(look: SecondLook, decisions: Verdicts) -> NDArray[np.int8]:
    """Which documents a scorer sees: see `Look.sent`."""
    if look.band is None:
        return np.full(len(decisions), ALL, np.int8)
    # In single precision, as scores are told: a bound taken from a row includes that row.
    low, high = np.float32(look.band[0]), np.float32(look.band[1])
    score = filled(decisions.score, np.nan)
    sent = np.full(len(decisions), -1, np.int8)
    sent[(score >= low) & (score <= high)] = BAND
    sent[decisions.too_short] = SHORT
    return sent


def _score_some(
    checked: CheckedScorer, documents: Documents, chosen: NDArray[np.int64], make: MakeDocuments
) -> tuple[Mapping[str, pa.Array], float]:
    """A scorer's columns of the documents `chosen`, null for the others; the seconds it took."""
    if len(chosen) == len(documents):
        return checked.timed(documents)
    if not len(chosen):
        return {c.name: pa.nulls(len(documents), c.type) for c in checked.scorer.columns}, 0.0
    text = documents.text.take(pa.array(chosen))
    found, seconds = checked.timed(make(text, documents.languages[chosen]))
    places = np.zeros(len(documents), np.int64)
    places[chosen] = np.arange(len(chosen))
    missing = np.ones(len(documents), np.bool_)
    missing[chosen] = False
    take = pa.array(places, mask=missing)
    return {name: column.take(take) for name, column in found.items()}, seconds


def _band(band: tuple[float, float] | None) -> str:
    return "no `extras.lm.band`" if band is None else f"`extras.lm.band={band[0]:g}:{band[1]:g}`"
