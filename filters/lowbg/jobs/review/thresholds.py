"""Thresholds from the labels of a review: the least score that keeps the target on human text.

The documents were drawn by stratum, so that of a language's human documents those at or above a
score are counted with the weight of their stratum. A stratum that lies wholly below a score has
none, which needs no label: labels near the line are enough.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lowbg.errors import ConfigError
from lowbg.jobs.review.drawing import NAMES, SCORED_EDGES
from lowbg.jobs.review.labels import Design, Drawn, LabelLine
from lowbg.runs.engine import Engine

ROUNDS: Final = 4_000
_LEVEL: Final = 0.95
_HIGHEST: Final = 0.999999
MIN_HUMAN: Final = 20
"""Fewer human documents of a language tell nothing of it."""


@dataclass(frozen=True, slots=True)
class FromLabels:
    """What the labels say of a language: `new` is null where they don't show any score to do.

    `human` documents are labelled so. `rate` is the upper end of the false-positive rate at `new`.
    """

    language: str
    human: int
    old: float
    new: float | None
    rate: float | None


def thresholds(
    design: Design,
    labels: Sequence[LabelLine],
    engine: Engine,
    target: float,
    seed: int = 1,
) -> list[FromLabels]:
    """A result for each language that has labels; the same for the same labels.

    At `new` the false-positive rate is at most `target`, at 95 % confidence, were no
    label wrong. Wrong ones make it larger than it had to be: AI text that is taken for human
    counts against it.
    """
    first: dict[int, str] = {}
    for label in labels:
        if label.blind and label.label in ("human", "ai"):
            first.setdefault(label.document, label.label)
    human = {document for document, own in first.items() if own == "human"}
    languages = sorted({lang for d in human if (lang := design.documents[d].language) is not None})
    if not languages:
        raise ConfigError("no document is labelled human; there is nothing to set thresholds by")
    labelled = np.zeros(len(design.strata), np.int64)
    for document in first:
        labelled[design.documents[document].stratum] += 1
    return [_of(code, design, human, labelled, engine, target, seed) for code in languages]


def _of(
    code: str,
    design: Design,
    human: set[int],
    labelled: NDArray[np.int64],
    engine: Engine,
    target: float,
    seed: int,
) -> FromLabels:
    old = engine.threshold(code)
    if old is None:
        raise ConfigError(
            "labels set thresholds of scores; the policy's rule is another", key="decision.rule"
        )
    own = [design.documents[d] for d in sorted(human) if design.documents[d].language == code]
    if len(own) < MIN_HUMAN or not labelled.all():
        return FromLabels(code, len(own), old, None, None)
    edges = engine.scores_around(code, SCORED_EDGES)
    tops = {name: edges[i] for i, name in enumerate(NAMES[: len(edges)])}
    scores = {d.score for d in own if d.score is not None}
    # Just above a score it counts no more.
    candidates = sorted({*edges, *(float(np.nextafter(s, 2.0)) for s in scores)})

    def rate(score: float) -> float:
        return _upper_rate(score, design, own, labelled, tops, np.random.default_rng(seed))

    # The rate falls as the score rises.
    place = bisect_left(candidates, True, key=lambda score: rate(score) <= target)
    if place == len(candidates):
        return FromLabels(code, len(own), old, None, None)
    score = min(candidates[place], _HIGHEST)
    return FromLabels(code, len(own), old, score, rate(score))


def _upper_rate(
    score: float,
    design: Design,
    own: Sequence[Drawn],
    labelled: NDArray[np.int64],
    tops: Mapping[str, float],
    random: np.random.Generator,
) -> float:
    """The upper end of the share of a language's human documents that score `score` or more."""
    beyond, all_human = (np.zeros(len(design.strata), np.int64) for _ in range(2))
    for drawn in own:
        all_human[drawn.stratum] += 1
        # One that a near-certain phrase decides is AI at any score.
        value = drawn.score
        beyond[drawn.stratum] += value is None or value >= score
    above, whole = np.zeros(ROUNDS), np.zeros(ROUNDS)
    for i, stratum in enumerate(design.strata):
        n, k, h = int(labelled[i]), int(beyond[i]), int(all_human[i])
        if n < stratum.documents:
            low = random.beta(h, n - h + 1, ROUNDS) if h else np.zeros(ROUNDS)
            high = random.beta(k + 1, n - k, ROUNDS) if k < n else np.ones(ROUNDS)
        else:  # All of it is labelled.
            low, high = np.full(ROUNDS, h / n), np.full(ROUNDS, k / n)
        whole += stratum.documents * low
        if tops.get(stratum.name, np.inf) > score:
            above += stratum.documents * high
    rates = np.divide(above, np.maximum(whole, above), out=np.zeros(ROUNDS), where=above > 0)
    return float(np.quantile(rates, _LEVEL))
