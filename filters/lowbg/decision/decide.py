"""Features → score → verdict and reasons, for a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

from lowbg.amounts import counted
from lowbg.arrays import column_of, distinct, floats, is_known, list_lengths, strings_of
from lowbg.config import (
    Artifacts,
    FprBound,
    LmCalibration,
    Policy,
    Rule,
    SourceVerdict,
    Verdict,
    WholeSource,
)
from lowbg.decision import lm as second
from lowbg.decision.calibration import FPR_GRID, MIN_STRATUM, Calibration, at_rate, highest
from lowbg.decision.limits import PERPLEXITY, all_limits
from lowbg.decision.unscored import LANGUAGE, NOT_PROSE, TOO_SHORT, UNSCORED_NAMES, unscored_codes
from lowbg.errors import ConfigError
from lowbg.models import ModelFile
from lowbg.records import KnownOrigin

if TYPE_CHECKING:
    from lowbg.decision.source_evidence import Found

PHRASE_LOG_ODDS = "phrase_log_odds"
STYLE_LOG_ODDS = "style_log_odds"
PHRASES = "phrases"
ARTIFACTS = "artifacts"
"""The features that it reads, whatever scorer declares them."""

CATEGORIES = (
    "tool_residue",
    "assistant_self_reference",
    "knowledge_cutoff",
    "refusal",
    "chat_boilerplate",
    "template",
    "overused_words",
)
"""Categories of phrases, the most telling first."""

NEVER = -99.0
"""The margin of a document whose source is so human that no score is AI."""

MAX_NGRAMS = 3
"""N-grams of the learned table that a document's reasons name."""

MAX_PHRASES = 3
"""Phrase patterns that a document's reasons name."""


@dataclass(frozen=True, slots=True)
class Features:
    """What is known of a batch's documents, one entry each.

    `languages` indexes `codes`, −1 where not recognised; `words` counts words (characters in zh,
    ja); `prose` says which have letters enough (`is_prose`); `columns` are the scorers' features;
    `known` is what provenance says, which goes before any score. `ngrams` gives the n-grams of a
    document that the learned table knows and the nats that each adds to its log-odds, the heaviest
    first; worked out when asked for. `sources` is what is known of the documents' sources, null
    without a table.
    """

    languages: NDArray[np.int8]
    codes: tuple[str, ...]
    words: NDArray[np.int64]
    prose: NDArray[np.bool_]
    columns: Mapping[str, pa.Array]
    known: KnownOrigin
    ngrams: Callable[[int], Sequence[tuple[str, float]]] = field(default=lambda i: (), repr=False)
    sources: Found | None = None


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The verdict on each document.

    `score` is `ai_score`, null where there is none. `verdicts` holds codes of `Verdict`.
    `called_ai` is the verdict by the text alone, before provenance; `by_artifact` where a
    near-certain phrase decides it, with or without a score. `unscored_codes` indexes
    `unscored_names`, −1 where scored, known by provenance or decided so. `z` is the score before
    calibration (NaN: none); `too_short`, which documents have too few words for it. `margin` is
    how far z lies above the threshold that holds for the document; NaN without a score, and under
    `rule = "thresholds"`. With evidence of sources, `alone` is `called_ai` without it, and
    `source_verdicts` are codes of `SourceVerdict`, −1 where it knows nothing of a document's
    source; else both are null.
    """

    score: pa.FloatArray
    verdicts: NDArray[np.int8]
    called_ai: NDArray[np.bool_]
    by_artifact: NDArray[np.bool_]
    unscored_codes: NDArray[np.int8]
    z: NDArray[np.float64]
    too_short: NDArray[np.bool_]
    margin: NDArray[np.float64]
    explain: Callable[[int], list[str]] = field(repr=False)
    unscored_names: tuple[str, ...] = UNSCORED_NAMES
    alone: NDArray[np.bool_] | None = None
    source_verdicts: NDArray[np.int8] | None = None

    def __len__(self) -> int:
        return len(self.verdicts)

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which documents AI shares are shares of: those with a score, and AI ones without."""
        is_ai = self.verdicts == Verdict.AI.code
        return np.asarray(is_known(self.score) | is_ai, np.bool_)

    def reasons(self, i: int) -> list[str]:
        """Why document i got its verdict; never empty."""
        return self.explain(i)

    def part(self, start: int, stop: int) -> Verdicts:
        """Those on the documents from `start` to before `stop`."""
        of_documents = [f.name for f in fields(self) if f.name not in ("explain", "unscored_names")]
        own = {
            name: values[start:stop]
            for name in of_documents
            if (values := getattr(self, name)) is not None
        }
        return replace(self, **own, explain=lambda i: self.explain(start + i))

    def reasons_array(self) -> pa.ListArray:
        """The reasons of all documents (list<string>)."""
        reasons = [self.explain(i) for i in range(len(self))]
        places = column_of(np.cumsum([0, *map(len, reasons)]).astype(np.int32))
        flat = strings_of([reason for own in reasons for reason in own], pa.string())
        return pa.ListArray.from_arrays(places, flat)


class Decider:
    """Decides under one policy, with the calibrations of the languages in `models`.

    With `lm` a causal LM takes part where it read a document. Tables alone, both, and the LM alone
    have thresholds of their own; z of the latter two is moved by what sets theirs apart from that
    of the tables, so that one threshold holds for every `ai_score` of a language.
    """

    def __init__(
        self, policy: Policy, models: Mapping[str, ModelFile], lm: LmCalibration | None = None
    ) -> None:
        self.policy = policy
        self.lm = lm
        self.calibrations = {
            code: Calibration.of(model)
            for code, model in sorted(models.items())
            if "calibration" in model.metadata
        }
        self.thresholds = {
            code: self._threshold(code, calibration, models[code])
            for code, calibration in self.calibrations.items()
        }
        by_limits = policy.rule is Rule.THRESHOLDS
        self.limits = all_limits(policy, models) if by_limits else {}

    def _threshold(self, code: str, calibration: Calibration, model: ModelFile) -> float:
        own = self.policy.min_ai_scores.get(code)
        if own is not None:
            return _z_of(calibration, own)
        if self.policy.fpr_bound is FprBound.MEAN:
            return calibration.threshold(self.policy.target_fpr)
        stored = highest(model.metadata.get("human_collections", {}))
        if not stored:
            raise ConfigError(
                f"fpr_bound 'every': the tables of {code!r} know no human collection of "
                f"{MIN_STRATUM} documents"
            )
        return at_rate(stored, self.policy.target_fpr)

    def decide(self, f: Features) -> Verdicts:
        """The verdicts on a batch; a document's verdict never depends on the others."""
        n = len(f.words)
        log_odds = _floats(f.columns, PHRASE_LOG_ODDS, n)
        perplexity = _floats(f.columns, PERPLEXITY, n)
        style = _floats(f.columns, STYLE_LOG_ODDS, n)
        known = np.zeros(n, np.bool_)
        short = np.zeros(n, np.bool_)
        z = np.full(n, np.nan)
        score = np.zeros(n)
        margin = np.full(n, np.nan)
        bars = np.full(n, np.nan)
        for index in distinct(f.languages)[0]:
            code = f.codes[index] if index >= 0 else ""
            calibration = self.calibrations.get(code)
            if calibration is None:
                continue
            own = np.flatnonzero(f.languages == index)
            known[own] = True
            short[own] = f.words[own] < calibration.min_words
            z[own] = calibration.standardise(
                log_odds[own], f.words[own], perplexity[own], style[own]
            )
            if self.lm is not None and code in self.lm.languages:
                z[own] = self._joined(f, own, np.where(short[own], np.nan, z[own]), code)
                short[own] &= np.isnan(z[own])
            score[own] = calibration.score(np.nan_to_num(z[own]))
            bars[own] = self._bars(f, own, code)
            margin[own] = np.maximum(z[own] - bars[own], NEVER)
        # So short a text that its language can't be told, and that would be too short in any.
        least = min((each.min_words for each in self.calibrations.values()), default=0)
        untold = (f.languages < 0) & (f.words < least)
        codes = unscored_codes(f.words, f.prose, known & ~np.isnan(log_odds), short, untold)
        scored = codes < 0
        above = margin >= 0.0
        if self.policy.rule is Rule.THRESHOLDS:
            above, margin = self._crosses(f, n), np.full(n, np.nan)
        certain = self._certain(f, n)
        whole = self._of_ai_sources(f, n)
        called = (scored & above) | certain | whole
        alone = None if f.sources is None else (scored & self._alone(f, z)) | certain
        trusted, denied = f.known.trusted, f.known.denied
        verdicts = np.where(scored | trusted, Verdict.HUMAN.code, Verdict.UNSCORED.code)
        verdicts = np.where((called & ~trusted) | denied, Verdict.AI.code, verdicts)
        return Verdicts(
            score=column_of(score.astype(np.float32), null=~scored),
            verdicts=verdicts.astype(np.int8),
            called_ai=called,
            by_artifact=certain,
            unscored_codes=np.where(verdicts == Verdict.UNSCORED.code, codes, -1).astype(np.int8),
            z=np.where(scored, z, np.nan),
            too_short=(codes == TOO_SHORT) & ~untold,
            margin=np.where(scored, margin, np.nan),
            explain=_Explanation(self, f, verdicts, codes, z, certain, bars, whole).reasons,
            alone=alone,
            source_verdicts=None if f.sources is None else f.sources.known_verdicts,
        )

    def _bars(self, f: Features, own: NDArray[np.int64], code: str) -> NDArray[np.float64]:
        """The z from which each of the documents `own`, in one language, is AI.

        It is the language's own, but where the evidence of a document's source moves it.
        """
        bars = np.full(len(own), self.thresholds[code])
        if f.sources is None or self.policy.rule is not Rule.CALIBRATED:
            return bars
        calibration = self.calibrations[code]
        moved = (f.sources.thresholds(code, own) - calibration.intercept) / calibration.slope
        return np.where(np.isnan(moved), bars, moved)

    def _alone(self, f: Features, z: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which documents are AI by their own score."""
        codes = [*f.codes, ""]
        bars = np.array([self.thresholds.get(code, np.inf) for code in codes])
        return np.asarray(z >= bars[f.languages])

    def _of_ai_sources(self, f: Features, n: int) -> NDArray[np.bool_]:
        """Which documents are AI since their source is, whatever they say themselves."""
        if f.sources is None or self.policy.sources.whole is not WholeSource.AI:
            return np.zeros(n, np.bool_)
        return np.asarray(f.sources.verdicts == SourceVerdict.AI.code)

    def _certain(self, f: Features, n: int) -> NDArray[np.bool_]:
        """Which documents say a near-certain phrase of themselves, where that decides."""
        found = f.columns.get(ARTIFACTS)
        if found is None or self.policy.artifacts is not Artifacts.AI:
            return np.zeros(n, np.bool_)
        return np.asarray(list_lengths(found) > 0)

    def _joined(
        self, f: Features, own: NDArray[np.int64], z: NDArray[np.float64], code: str
    ) -> NDArray[np.float64]:
        """z of the documents `own` of one language, the LM's evidence joined in."""
        assert self.lm is not None
        spread, words, calibration = self.lm.languages[code], f.words[own], self.calibrations[code]
        x = second.evidence(f.columns, self.lm.feature, f.words)[own]
        by_lm = second.standardise(spread, x, words)
        joint = second.join(z, by_lm, spread.correlation)
        surprise = self.lm.surprise.get(code)
        if surprise is not None:
            by_surprise = second.by_surprise(surprise, f.columns, f.words)[own]
            heard = ~np.isnan(by_lm)
            joint[heard] = second.heed(joint[heard], by_surprise[heard])
        both, alone = ~np.isnan(z) & ~np.isnan(by_lm), np.isnan(z) & ~np.isnan(by_lm)
        joint[both] += self.thresholds[code] - _z_of(calibration, self.lm.min_ai_scores[code])
        of_alone = self.lm.min_ai_scores_alone.get(code)
        if of_alone is None:
            joint[alone] = np.nan
        else:
            joint[alone] += self.thresholds[code] - _z_of(calibration, of_alone)
        return joint

    def hears_lm(self, f: Features) -> NDArray[np.bool_]:
        """Of which documents the LM's evidence counts: of what it can, where there is some."""
        if self.lm is None:
            return np.zeros(len(f.words), np.bool_)
        evidence = second.evidence(f.columns, self.lm.feature, f.words)
        return self.can_hear_lm(f.languages, f.codes, f.words) & ~np.isnan(evidence)

    def can_hear_lm(
        self, indices: NDArray[np.int8], codes: Sequence[str], words: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Of which documents an LM's evidence would count: in a calibrated language, long enough.

        `indices` are their languages among `codes`.
        """
        hears = np.zeros(len(words), np.bool_)
        if self.lm is None:
            return hears
        for code, spread in self.lm.languages.items():
            if code in codes:
                least = spread.min_words
                if code not in self.lm.min_ai_scores_alone:
                    least = max(least, self.calibrations[code].min_words)
                hears |= (indices == list(codes).index(code)) & (words >= least)
        return hears

    def _crosses(self, f: Features, n: int) -> NDArray[np.bool_]:
        """Which documents lie beyond a limit of their language; a null feature never does."""
        crosses = np.zeros(n, np.bool_)
        for code, limits in self.limits.items():
            own = f.languages == f.codes.index(code)
            for limit in limits.each if own.any() else ():
                crosses |= own & limit.crossed(_floats(f.columns, limit.feature, n))
        return crosses


def _z_of(calibration: Calibration, score: float) -> float:
    """The z of a threshold that is stated as `ai_score`."""
    return calibration.z_of_score(min(max(score, 1e-6), 1.0 - 1e-6))


def _floats(columns: Mapping[str, pa.Array], name: str, n: int) -> NDArray[np.float64]:
    """A numeric column as float64, NaN where it is null or missing."""
    column = columns.get(name)
    if column is None:
        return np.full(n, np.nan)
    return floats(column)


class _Explanation(Struct, frozen=True):
    """The reasons of a batch, worked out a document at a time, when they are asked for."""

    decider: Decider
    features: Features
    verdicts: NDArray[Any]
    codes: NDArray[np.int8]
    z: NDArray[np.float64]
    certain: NDArray[np.bool_]
    bars: NDArray[np.float64]
    whole: NDArray[np.bool_]

    def reasons(self, i: int) -> list[str]:
        """Why document i got its verdict; what its source had to say of it comes last."""
        known, sources = self.features.known, self.features.sources
        reasons = self._own(i)
        if sources is None or not sources.known[i] or known.denied[i] or known.trusted[i]:
            return reasons
        return [*reasons, sources.told(i)]

    def _own(self, i: int) -> list[str]:
        known = self.features.known
        if known.denied[i]:
            return [known.reason(i)]
        if self.verdicts[i] == Verdict.AI.code:
            deciding, others = self._phrases(i)
            return [*deciding, *self._bounds_or_score(i), *others]
        if known.trusted[i]:
            return [known.reason(i)]
        if self.verdicts[i] == Verdict.UNSCORED.code:
            return [self._unscored(i)]
        return [self._passed(i)]

    def _value(self, name: str, i: int) -> Any:
        column = self.features.columns.get(name)
        return None if column is None else column[i].as_py()

    def _code(self, i: int) -> str:
        return self.features.codes[int(self.features.languages[i])]

    def _bounds_or_score(self, i: int) -> list[str]:
        """What the rule says of document i beside a near-certain phrase; nothing without score."""
        if self.codes[i] >= 0:
            return [self._unscored(i)]
        if self.decider.policy.rule is Rule.THRESHOLDS:
            return self._bounds(i) or [self._passed(i)]
        above = self.z[i] >= self.bars[i]
        if above and self.z[i] < self.decider.thresholds[self._code(i)]:
            # Its own score doesn't say it: its source's evidence does.
            return [self._passed(i), *self._score(i)]
        return self._score(i) if above else [self._passed(i)]

    def _score(self, i: int) -> list[str]:
        calibration = self.decider.calibrations[self._code(i)]
        told_by_lm = self._lm_evidence(i)
        if told_by_lm:
            return [told_by_lm, self._passed(i)]
        share = 100.0 * (1.0 - human_share_above(calibration, float(self.z[i])))
        value = self._value(PHRASE_LOG_ODDS, i)
        like = "length and perplexity" if calibration.perplexity_slope else "length"
        style = self._value(STYLE_LOG_ODDS, i) if calibration.style_weight else None
        told = "" if style is None else f" and style_log_odds {style:+.1f} nats"
        reasons = [
            f"phrase_log_odds {value:.2f} nats/word{told}, "
            f"above {share:.1f} % of human text of its {like}"
        ]
        heaviest = _apart(self.features.ngrams(i))
        if heaviest:
            listed = ", ".join(f"'{text}' {nats:+.1f}" for text, nats in heaviest)
            total = value * int(self.features.words[i])
            reasons.append(f"n-grams {listed} of {total:+.1f} nats in all")
        return reasons

    def _lm_evidence(self, i: int) -> str | None:
        """What the LM contributed; null where it had no say."""
        lm = self.decider.lm
        spread = lm.languages.get(self._code(i)) if lm is not None else None
        value = self._value(lm.feature, i) if lm is not None else None
        if lm is None or spread is None or value is None:
            return None
        words = int(self.features.words[i])
        if words < spread.min_words:
            return None
        evidence = f"{lm.feature} {value:.2f}"
        surprise = self._value(second.LM_EVENNESS, i)
        if self._code(i) in lm.surprise and surprise is not None:
            evidence = f"{evidence}, {second.LM_EVENNESS} {surprise:.2f}"
        if words < self.decider.calibrations[self._code(i)].min_words:
            return f"{evidence}; too short for the tables"
        return f"{evidence}, phrase_log_odds {self._value(PHRASE_LOG_ODDS, i):.2f} nats/word"

    def _passed(self, i: int) -> str:
        if self.decider.policy.rule is Rule.THRESHOLDS:
            return f"within every limit: {self.decider.limits[self._code(i)]}"
        code = self._code(i)
        alone = self.decider.thresholds[code]
        bar = float(self.bars[i])
        every = np.array([self.z[i], bar if np.isfinite(bar) else 0.0, alone])
        score, threshold, own = self.decider.calibrations[code].score(every)
        if bar == alone:
            return f"ai_score {score:.3f}, AI from {own:.3f}"
        if not np.isfinite(bar):
            return f"ai_score {score:.3f}; in this source no score is AI, alone from {own:.3f}"
        at = f"in this source from {threshold:.3f}, alone from {own:.3f}"
        return f"ai_score {score:.3f}, AI {at}"

    def _bounds(self, i: int) -> list[str]:
        """The limits that document i lies beyond."""
        limits = self.decider.limits[self._code(i)].each
        values = [(limit, self._value(limit.feature, i)) for limit in limits]
        return [
            limit.told(value)
            for limit, value in values
            if value is not None and limit.crossed(np.array([value], np.float64))[0]
        ]

    def _phrases(self, i: int) -> tuple[list[str], list[str]]:
        """The phrases that decide of document i; the others that say most of it."""
        found = [phrase.partition(":") for phrase in self._value(PHRASES, i) or []]
        near_certain = self._value(ARTIFACTS, i) if self.certain[i] else ()
        deciding: list[str] = []
        others: list[str] = []
        for category, _, text in sorted(found, key=_telling):
            named = f"contains '{text}' ({category})" if text else f"contains '{category}'"
            if text in near_certain and category != "quoted":
                deciding.append(f"{named}: near-certain")
            else:
                others.append(named)
        return deciding[:MAX_PHRASES], others[:MAX_PHRASES]

    def _unscored(self, i: int) -> str:
        code = int(self.codes[i])
        if code == TOO_SHORT:
            words = counted(int(self.features.words[i]), "word")
            if self.features.languages[i] < 0:
                return f"too short: {words}, too few to tell the language"
            least = self.decider.calibrations[self._code(i)].min_words
            return f"too short: {words}, fewer than {least}"
        if code == NOT_PROSE:
            return "not prose: too few letters among the visible characters"
        if code == LANGUAGE:
            index = self.features.languages[i]
            if index < 0:
                return "language not recognised"
            return f"no tables of the language {self.features.codes[index]!r}"
        return "no words"


def _apart(ngrams: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """The heaviest n-grams that speak for AI, none of them a part of another."""
    chosen: list[tuple[str, float]] = []
    for text, nats in ngrams:
        if nats <= 0.0 or len(chosen) == MAX_NGRAMS:
            break
        padded = f" {text} "
        if not any(padded in f" {other} " or f" {other} " in padded for other, _ in chosen):
            chosen.append((text, nats))
    return chosen


def _telling(phrase: tuple[str, str, str]) -> int:
    """Where a phrase's category stands among those that say most of a document."""
    return CATEGORIES.index(phrase[0]) if phrase[0] in CATEGORIES else len(CATEGORIES)


def human_share_above(calibration: Calibration, z: float) -> float:
    """The share of human text with a higher z, as stored; never below the smallest stored."""
    rising = np.asarray(calibration.thresholds)[::-1]
    return float(np.exp(np.interp(z, rising, np.log(FPR_GRID[::-1]))))
