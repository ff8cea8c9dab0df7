"""Second looks: scorers that are too slow for every document, and which of them they see.

Under a budget such a scorer sees what an `LmSelection` says: documents whose score is unsure, a
part of those too short for the tables, pages of sources that are unsure, and a random part of the
low scores, by which a run estimates what it would have found in the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

from lowbg.arrays import filled
from lowbg.config import LmCalibration, Policy, Rule
from lowbg.decision.decide import Decider, Verdicts
from lowbg.decision.lm import FEATURES, MIN_WORDS
from lowbg.lm_budget import LmSelection
from lowbg.models import ModelFile
from lowbg.scorers.base import Documents, Scorer
from lowbg.scorers.checked import CheckedScorer

SENT_NAMES = ("all", "uncertain", "too_short", "low", "source")
"""Why a document was sent to a slow scorer: every one is, or one that a budget selects."""
ALL, UNCERTAIN, SHORT, LOW, SOURCE = range(5)

MakeDocuments = Callable[[pa.LargeStringArray, NDArray[np.int8]], Documents]


class Look(Struct, frozen=True):
    """What the slow scorers found in a batch.

    `columns` has an entry a document, null where the scorer didn't see it. `sent` says why one saw
    it, as an index into `SENT_NAMES`, −1 where none did; `drawn_from` likewise of which kind a
    document is, seen or not, of those that the LM's selection draws from, and `shares` which share
    of its like is drawn. `tokens` is what they read of each, and `seconds` what they took.
    """

    columns: Mapping[str, pa.Array]
    sent: NDArray[np.int8]
    drawn_from: NDArray[np.int8]
    shares: NDArray[np.float64]
    tokens: NDArray[np.int64]
    seconds: float


class LookedAgain(Struct, frozen=True):
    """What slow scorers added to a batch.

    `sent`, `drawn_from` and `shares` as in `Look`, `tokens` those that they read of each document,
    `before` the verdicts without them, `has_say` on which their evidence counts. `seconds` is what
    they took. `selection`: by which rule an LM that has a say was sent documents; null where it
    read all, or changes nothing.
    """

    sent: NDArray[np.int8]
    drawn_from: NDArray[np.int8]
    shares: NDArray[np.float64]
    tokens: NDArray[np.int64]
    before: NDArray[np.int8]
    has_say: NDArray[np.bool_]
    seconds: float
    selection: LmSelection | None = None

    def part(self, own: slice) -> LookedAgain:
        """The same of some documents, with their share of the seconds."""
        sent = self.sent[own]
        return LookedAgain(
            sent=sent,
            drawn_from=self.drawn_from[own],
            shares=self.shares[own],
            tokens=self.tokens[own],
            before=self.before[own],
            has_say=self.has_say[own],
            seconds=self.seconds * len(sent) / len(self.sent),
            selection=self.selection,
        )


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
    def witness(self) -> Scorer | None:
        """The scorer whose column can be evidence in the decision, if one runs."""
        for checked, _ in self._looks:
            if any(column.name in FEATURES for column in checked.scorer.columns):
                return checked.scorer
        return None

    @property
    def selection(self) -> LmSelection | None:
        """What the LM reads; null: every document, or none runs."""
        looks = [look.selection for _, look in self._looks if look.selection is not None]
        return looks[0] if looks else None

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
        if witness is None:
            return None
        from lowbg.runs.probe_calibration import own_calibration
        from lowbg.scorers.lm_probe import LmProbe

        return own_calibration(witness, policy, models) if isinstance(witness, LmProbe) else None

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
        elif known.model != lm.identity():
            why = (
                "the policy was calibrated with another LM, `extras.lm.context` or "
                "`extras.lm.surprise`"
            )
        else:
            return None
        return (
            f"{why}; lowbg calibrate with the same `extras.lm.model` options makes a policy that "
            "fits"
        )

    def look(
        self,
        documents: Documents,
        decisions: Verdicts,
        joint: Decider | None,
        make: MakeDocuments,
        at_border: NDArray[np.float64] | None = None,
    ) -> Look:
        """Scores the documents; `make` makes documents of some of their texts and languages.

        `joint` decides with the LM, null where it has no say. `at_border` as in `drawn`.
        """
        columns: dict[str, pa.Array] = {}
        sent = np.full(len(documents), -1, np.int8)
        drawn_from = np.full(len(documents), -1, np.int8)
        shares = np.ones(len(documents))
        tokens = np.zeros(len(documents), np.int64)
        seconds = 0.0
        for scorer, look in self._looks:
            own = np.full(len(documents), ALL, np.int8)
            if look.selection is not None:
                can_say = self.can_say(documents, joint)
                kinds, shares = drawn(look.selection, decisions, can_say, at_border)
                own = selected(kinds, shares, documents.text)
                # What is AI already is nothing that could be missed.
                is_low = decisions.margin < 0
                told = np.isin(kinds, (SHORT, LOW)) | ((kinds == SOURCE) & is_low)
                drawn_from = np.where(told, kinds, -1).astype(np.int8)
            found, took = _score_some(scorer, documents, np.flatnonzero(own >= 0), make)
            seconds += took
            sent = np.where(sent < 0, own, sent)
            if look.tokens is not None:
                tokens += filled(found[look.tokens], 0).astype(np.int64)
            columns.update(found)
        return Look(columns, sent, drawn_from, shares, tokens, seconds)

    def can_say(self, documents: Documents, joint: Decider | None) -> NDArray[np.bool_]:
        """On which documents the LM could have a say, were it to read them.

        Where it has none at all: those that its probes serve, or all, of as many words as it takes.
        """
        words, codes = documents.tokens.words_per_document, documents.language_codes
        if joint is not None:
            return joint.can_hear_lm(documents.languages, codes, words)
        served = self.witness.languages if self.witness is not None else frozenset()
        own = [k for k, code in enumerate(codes) if code in served or not served]
        return np.isin(documents.languages, own) & (words >= MIN_WORDS)


def kinds_of(
    selection: LmSelection, decisions: Verdicts, can_say: NDArray[np.bool_]
) -> NDArray[np.int8]:
    """Of which kind of `SENT_NAMES` each document is under a selection; −1: of none.

    Documents that are not of `can_say` are of none.
    """
    margin = decisions.margin
    kinds = np.full(len(margin), -1, np.int8)
    scored = ~np.isnan(margin)
    if selection.margin is None:
        kinds[scored] = UNCERTAIN
    else:
        kinds[scored & (np.abs(margin) < selection.margin)] = UNCERTAIN
        kinds[scored & (margin <= -selection.margin)] = LOW
    kinds[decisions.too_short] = SHORT
    kinds[~can_say] = -1
    return kinds


def drawn(
    selection: LmSelection,
    decisions: Verdicts,
    can_say: NDArray[np.bool_],
    at_border: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Of which kind each document is, and which share of its like is read: 1 of the uncertain.

    `at_border`: how many documents its source has, NaN where that isn't at the border; null where
    nothing is known of sources. A document with a score is of the kind `SOURCE` where more is read
    of its source than of low scores.
    """
    kinds = kinds_of(selection, decisions, can_say)
    shares = np.ones(len(kinds))
    shares[kinds == SHORT] = selection.short
    shares[kinds == LOW] = selection.low
    if at_border is None or selection.pages <= 0.0:
        return kinds, shares
    of_source = page_shares(selection.pages, at_border)
    scored = can_say & ~np.isnan(decisions.margin) & (kinds != UNCERTAIN)
    least = np.where(kinds == LOW, selection.low, 0.0)
    own = scored & (of_source > least)
    kinds[own], shares[own] = SOURCE, of_source[own]
    return kinds, shares


def page_shares(pages: float, at_border: NDArray[np.float64]) -> NDArray[np.float64]:
    """Which share of a source's documents comes to about `pages`; 0 where it isn't at the border.

    It is a power of ½, so that sources of about one size are drawn from alike.
    """
    wanted = pages / np.maximum(np.nan_to_num(at_border, nan=np.inf), 1.0)
    with np.errstate(divide="ignore"):
        return np.exp2(np.minimum(0.0, np.rint(np.log2(wanted))))


def selected(
    kinds: NDArray[np.int8], shares: NDArray[np.float64], text: pa.LargeStringArray
) -> NDArray[np.int8]:
    """`kinds` of the documents that are read, −1 for the others; both as from `drawn`."""
    chosen = (kinds >= 0) & (shares >= 1.0)
    for i in np.flatnonzero((kinds >= 0) & (shares > 0.0) & (shares < 1.0)).tolist():
        chosen[i] = _place(text[i]) < shares[i]
    return np.where(chosen, kinds, np.int8(-1))


def _place(text: pa.LargeStringScalar) -> float:
    """Where a text stands between 0 and 1, by a hash of its bytes alone."""
    digest = hashlib.blake2b(text.as_buffer(), digest_size=8, person=b"lowbg lm").digest()
    return int.from_bytes(digest, "little") / 2.0**64


def _score_some(
    checked: CheckedScorer, documents: Documents, chosen: NDArray[np.int64], make: MakeDocuments
) -> tuple[Mapping[str, pa.Array], float]:
    """A scorer's columns of the documents `chosen`, null for the others; the seconds it took."""
    if len(chosen) == len(documents) and not documents.tokens.only_counts:
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
