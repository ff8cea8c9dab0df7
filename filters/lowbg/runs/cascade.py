"""The optional scorers of a run, and which documents they see.

KenLM and watermarks are cheap and see every document. A causal LM is not: with a band it sees
only those whose `ai_score` is unsure, and those that are too short for the tables.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.arrays import filled
from lowbg.config import Extras, LmCalibration, LmSettings, Policy, Rule
from lowbg.decision.decide import Decisions
from lowbg.schema import OPTIONAL_COLUMNS
from lowbg.scorers import LM, optional_scorers
from lowbg.scorers.base import Documents, Scorer

SENT_NAMES = ("all", "band", "too_short")
"""Why a document was sent to the LM."""
ALL, BAND, SHORT = range(3)

MakeDocuments = Callable[[pa.LargeStringArray, NDArray[np.int8]], Documents]


@dataclass(frozen=True, slots=True)
class Look:
    """What the optional scorers found in a batch.

    `columns` has an entry a document, null where the LM didn't see it. `sent` says why it saw it,
    as an index into `SENT_NAMES`, −1 where it didn't. `seconds` is what the LM took.
    """

    columns: Mapping[str, pa.Array]
    sent: NDArray[np.int8]
    seconds: float


class Cascade:
    """The optional scorers that `extras` asks for; none, without settings."""

    def __init__(self, extras: Extras) -> None:
        self.extras = extras
        self.scorers: tuple[Scorer, ...] = optional_scorers(extras)
        # Batches are judged in several threads; a model takes one at a time.
        self._alone = threading.Lock()

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that they add to a row."""
        own = {column.name for scorer in self.scorers for column in scorer.columns}
        return tuple(column.name for column in OPTIONAL_COLUMNS if column.name in own)

    def calibration(self, policy: Policy) -> LmCalibration | None:
        """What lets the LM take part in the decision; null where `why_silent` says why not."""
        return None if self.extras.lm is None or self.why_silent(policy) else policy.lm

    def why_silent(self, policy: Policy) -> str | None:
        """Why the LM changes no verdict, and what to do about it; null where it takes part."""
        lm, known = self.extras.lm, policy.lm
        if lm is None:
            return None
        if policy.rule is not Rule.CALIBRATED:
            return "rule 'thresholds' knows no LM"
        if known is None:
            why = "the policy has no calibration of an LM"
        elif known.model != self.identity(lm):
            why = "the policy was calibrated with another LM or --lm-context"
        elif known.band != lm.band:
            why = (
                f"the policy was calibrated with {_band(known.band)}, this run has {_band(lm.band)}"
            )
        else:
            return None
        return f"{why}; lowbg calibrate with these --lm options makes a policy that fits"

    def identity(self, lm: LmSettings) -> str:
        """SHA-256 (hex) of everything that decides the LM's figures: models, their roles, context.

        The type of numbers isn't among it: it moves figures by less than documents differ.
        """
        digests = [
            digest
            for scorer in self.scorers
            if scorer.name in LM
            for digest in scorer.models.values()
        ]
        text = f"{' '.join(digests)} {lm.context or ''}"
        return hashlib.sha256(text.encode()).hexdigest()

    def look(self, documents: Documents, decisions: Decisions, make: MakeDocuments) -> Look:
        """Scores the documents; `make` makes documents of some of their texts and languages."""
        with self._alone:
            return self._look(documents, decisions, make)

    def _look(self, documents: Documents, decisions: Decisions, make: MakeDocuments) -> Look:
        columns: dict[str, pa.Array] = {}
        sent = np.full(len(documents), -1, np.int8)
        seconds = 0.0
        for scorer in self.scorers:
            if scorer.name not in LM:
                columns.update(scorer.score(documents))
                continue
            sent = self._choose(decisions)
            started = time.perf_counter()
            columns.update(_score_some(scorer, documents, np.flatnonzero(sent >= 0), make))
            seconds += time.perf_counter() - started
        return Look(columns, sent, seconds)

    def _choose(self, decisions: Decisions) -> NDArray[np.int8]:
        """Which documents the LM sees: see `Look.sent`."""
        band = self.extras.lm.band if self.extras.lm is not None else None
        if band is None:
            return np.full(len(decisions), ALL, np.int8)
        # In single precision, as scores are told: a bound taken from a row includes that row.
        low, high = np.float32(band[0]), np.float32(band[1])
        score = filled(decisions.score, np.nan)
        sent = np.full(len(decisions), -1, np.int8)
        sent[(score >= low) & (score <= high)] = BAND
        sent[decisions.too_short] = SHORT
        return sent


def _score_some(
    scorer: Scorer, documents: Documents, chosen: NDArray[np.int64], make: MakeDocuments
) -> dict[str, pa.Array]:
    """A scorer's columns of the documents `chosen`, null for the others."""
    if len(chosen) == len(documents):
        return dict(scorer.score(documents))
    if not len(chosen):
        return {c.name: pa.nulls(len(documents), c.arrow_type) for c in scorer.columns}
    found = scorer.score(make(documents.text.take(pa.array(chosen)), documents.languages[chosen]))
    places = np.zeros(len(documents), np.int64)
    places[chosen] = np.arange(len(chosen))
    missing = np.ones(len(documents), np.bool_)
    missing[chosen] = False
    take = pa.array(places, mask=missing)
    return {name: column.take(take) for name, column in found.items()}


def _band(band: tuple[float, float] | None) -> str:
    return "no --lm-band" if band is None else f"--lm-band {band[0]:g}:{band[1]:g}"
