"""A teacher: the probe of a causal LM judges a sample of the dumps, and its verdicts teach tables.

A probe's log-odds are of the kinds of text that it was fitted on. What they mean here is told from
the dumps themselves: their density in the new text over that in text known to be human, and the
share of AI text that follows, make them a probability. Where the language has embedded tables these
have an equal say in it: of kinds that neither was fitted on both together find a half more than
either (`benchmarks/neural/results/unseen_kinds.md`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lowbg.config import LmSettings
from lowbg.errors import ConfigError
from lowbg.jobs.learn.gather import Dumps
from lowbg.jobs.learn.mixture import Interval, Scores, posterior, share_of_ai
from lowbg.jobs.train.calibration import fit_spread
from lowbg.jobs.train.regression import Floats
from lowbg.report.estimate import wilson
from lowbg.scorers.lm import extras

log = logging.getLogger(__name__)

SURE = 0.8
"""A verdict counts as confident from this probability on, and up to its complement."""

KNOWN_OF_FOUR = 1
"""Of four documents that the teacher reads so many are known to be human."""

MIN_KNOWN = 100
"""Fewer of these don't show what the probe's log-odds mean here."""

_PORTION = 64
_TOLD_EVERY = 30.0


class Teacher(Protocol):
    """Log-odds, AI against human (nats), of texts; NaN where it says nothing."""

    @property
    def tokens(self) -> int:
        """What it has read."""
        ...

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Of each text."""
        ...


def teacher_of(settings: LmSettings, language: str) -> Teacher:
    """The probe of the model that the settings name.

    Raises `ConfigError` where none serves the language, before anything is loaded.
    """
    shipped: Any = extras.load("lowbg.scorers.lm.shipped", extra="lm", wanted_by=_OPTION)
    shipped.serving(settings, language)
    reading: Any = extras.load("lowbg.scorers.lm.reading", extra="lm", wanted_by=_OPTION)
    found: Teacher = reading.reader_of(settings, language)
    return found


_OPTION = "`extras.lm.model`"


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the teacher says of the documents of dumps, one entry each.

    `log_odds` are the probe's, NaN where it didn't read. `probability` that a document is AI's: NaN
    likewise, 0 where it is known to be human. `share` of AI text among the new documents that it
    read; `human_called` of documents known to be human, the share that is confidently AI's by what
    the others of them say. `tokens` and `seconds` are what it read, and took.
    """

    log_odds: Floats
    probability: Floats
    share: Interval
    human_called: Interval
    tokens: int
    seconds: float

    @property
    def read(self) -> NDArray[np.bool_]:
        """Which documents it read."""
        return np.asarray(~np.isnan(self.log_odds))

    @property
    def is_ai(self) -> NDArray[np.bool_]:
        """Which are confidently AI's."""
        return np.asarray(np.nan_to_num(self.probability) >= SURE)

    def confident(self, dumps: Dumps) -> NDArray[np.bool_]:
        """Of which new documents it is confident, either way."""
        sure = self.is_ai | (np.nan_to_num(self.probability, nan=0.5) <= 1.0 - SURE)
        return np.asarray(sure & ~dumps.known & self.read)


def sample(dumps: Dumps, documents: int) -> NDArray[np.int64]:
    """Which documents the teacher reads: so many, three in four of the new text, or fewer, so that
    `MIN_KNOWN` are known to be human.

    Every source gives its first document before any gives its second, and so on, in the order of
    the documents' hashes.
    """
    known = _in_turns(dumps.source, np.flatnonzero(dumps.known))
    new = _in_turns(dumps.source, np.flatnonzero(~dumps.known))
    of_known = max(documents * KNOWN_OF_FOUR // 4, documents - len(new), MIN_KNOWN)
    of_known = min(of_known, len(known), documents)
    return np.sort(np.concatenate([known[:of_known], new[: documents - of_known]]))


def _in_turns(source: NDArray[np.str_], documents: NDArray[np.int64]) -> NDArray[np.int64]:
    """The documents so ordered that sources take turns."""
    own = np.unique(source[documents], return_inverse=True)[1]
    order = np.argsort(own, kind="stable")
    rank = np.empty(len(own), np.int64)
    rank[order] = np.arange(len(own)) - np.searchsorted(own[order], own[order])
    return documents[np.argsort(rank, kind="stable")]


def ask(
    dumps: Dumps, teacher: Teacher, documents: int, seed: int, embedded: Floats | None = None
) -> Verdicts:
    """What the teacher says of a sample of so many documents; `embedded` is z of each by other
    tables, NaN without.

    Raises `ConfigError` where it read too few documents that are known to be human.
    """
    chosen = sample(dumps, documents)
    started, before = time.monotonic(), teacher.tokens
    log_odds = np.full(len(dumps.rows), np.nan)
    told = started
    for at in range(0, len(chosen), _PORTION):
        own = chosen[at : at + _PORTION]
        log_odds[own] = teacher([dumps.rows[i].text for i in own.tolist()])
        if (now := time.monotonic()) - told > _TOLD_EVERY:
            told = now
            speed = (teacher.tokens - before) / (now - started)
            log.info(
                "the teacher has read %d of %d documents, %.0f tokens a second",
                *(at + len(own), len(chosen), speed),
            )
    seconds = time.monotonic() - started
    read = ~np.isnan(log_odds)
    known, new = read & dumps.known, read & ~dumps.known
    if known.sum() < MIN_KNOWN:
        raise ConfigError(
            f"the teacher read {int(known.sum()):,} documents that are known to be human; it takes "
            f"{MIN_KNOWN} to know what it says here. Let it read more, or give more human text",
            key="teacher_documents",
        )
    score = standard(log_odds, known, dumps)
    if embedded is not None:
        score += np.nan_to_num(standard(embedded, known & ~np.isnan(embedded), dumps))
    share = share_of_ai(
        Scores(score[known], dumps.group[known]), Scores(score[new], dumps.group[new]), seed
    )
    probability = np.full(len(score), np.nan)
    probability[read] = posterior(score[read], known[read], new[read], share.estimate)
    called = _crossed(dumps, score, share.estimate)
    probability[dumps.known] = 0.0
    low, high = wilson(int(called.sum()), len(called)) or (0.0, 1.0)
    return Verdicts(
        log_odds=log_odds,
        probability=probability,
        share=share,
        human_called=Interval(float(called.mean()), low, high),
        tokens=teacher.tokens - before,
        seconds=seconds,
    )


def standard(x: Floats, human: NDArray[np.bool_], dumps: Dumps) -> Floats:
    """`x` of documents in standard deviations above that of `human` ones of their length."""
    words = dumps.tokens.words_per_document
    if not human.any():
        return np.zeros(len(x))
    equal = np.ones(int(human.sum()))
    return np.asarray(fit_spread(x[human], words[human], equal).standardise(x, words))


def _crossed(dumps: Dumps, score: Floats, share: float) -> NDArray[np.bool_]:
    """Which of the human documents that it read are confidently AI's, each by the half of the
    sources that its own isn't of."""
    read = ~np.isnan(score)
    known, new = read & dumps.known, read & ~dumps.known
    half = dumps.group % 2 == 0
    called = np.zeros(len(score), np.bool_)
    for own in (half, ~half):
        judged, by = known & own, known & ~own
        if by.any():
            called[judged] = posterior(score, by, new, share)[judged] >= SURE
    return np.asarray(called[known])


@dataclass(frozen=True, slots=True)
class TwoWays:
    """The teacher beside what old and new dump say without it, on the new documents that it is
    confident of.

    Of so many `documents` each of the two calls so many AI's, and both do. `kappa` is Cohen's κ: 1
    where they always agree, 0 as by chance; NaN where both say the same of all.
    """

    documents: int
    teacher: int
    dumps: int
    both: int

    @property
    def agree(self) -> float:
        """The share of documents of which both say the same."""
        return 1.0 - (self.teacher + self.dumps - 2 * self.both) / max(self.documents, 1)

    @property
    def kappa(self) -> float:
        """Cohen's κ."""
        n = max(self.documents, 1)
        one, other = self.teacher / n, self.dumps / n
        chance = one * other + (1.0 - one) * (1.0 - other)
        return float("nan") if chance == 1.0 else (self.agree - chance) / (1.0 - chance)

    @property
    def as_json(self) -> dict[str, float | int | None]:
        """Its numbers, rounded."""
        kappa = None if np.isnan(self.kappa) else round(self.kappa, 4)
        counts = {name: getattr(self, name) for name in TwoWays.__slots__}
        return {**counts, "agree": round(self.agree, 4), "kappa": kappa}


def compare(dumps: Dumps, taught: Verdicts, probable: Floats) -> TwoWays:
    """The teacher's confident verdicts beside another way's probability of AI text."""
    sure = taught.confident(dumps)
    one, other = taught.is_ai[sure], probable[sure] >= 0.5
    return TwoWays(len(one), int(one.sum()), int(other.sum()), int((one & other).sum()))


def told_of(taught: Verdicts, ways: TwoWays | None, dumps: Dumps) -> dict[str, Any]:
    """What a model file, and the metrics, say of a teacher; not how long it took."""
    sure = taught.confident(dumps)
    return {
        "read": {
            "new": int((taught.read & ~dumps.known).sum()),
            "human": int((taught.read & dumps.known).sum()),
        },
        "tokens": taught.tokens,
        "confident": {
            "ai": int((sure & taught.is_ai).sum()),
            "human": int((sure & ~taught.is_ai).sum()),
        },
        "share": taught.share.as_json,
        "human_called": taught.human_called.as_json,
        "dumps_alone": None if ways is None else ways.as_json,
    }
