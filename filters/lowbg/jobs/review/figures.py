"""Precision, recall and AI share from labels, with intervals that respect how documents were drawn.

A stratum's share of AI text is that of its labelled documents, corrected for what reviewers get
wrong: they see some documents twice, unannounced, and label one another's, and with an error rate e
on either side two labels of a document differ with probability 2e(1 − e). A share p seen through
that error is p′ = p(1 − e) + (1 − p)e (Rogan & Gladen 1978). Shares and error rate are drawn many
times from what the labels leave open: of a share both ends by Clopper & Pearson (1934), as the
beta distributions Beta(k, n − k + 1) and Beta(k + 1, n − k); the interval of a figure takes of each
stratum the end that is unfavourable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lowbg.jobs.review.labels import Design, LabelLine

ROUNDS: Final = 4_000
_LEVEL: Final = 0.95
_MAX_ERROR: Final = 0.4
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figure:
    """A share with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What the labels come to.

    `precision`: of the documents called AI, those that are; `recall`: of the AI text, what was
    called AI; `share` of AI text among scored documents; `false_positive_rate`: of the human text,
    what was called AI. Null where nothing is labelled that tells. `labelled` documents count,
    `waiting` have no label yet. `error` is the rate at which a label is wrong, `pairs` how many
    second labels tell it. `kappa` is Cohen's, by pair of reviewers. While one of the `unlabelled`
    strata has no label that counts, the first four are null.
    """

    precision: Figure | None
    recall: Figure | None
    share: Figure | None
    false_positive_rate: Figure | None
    labelled: int
    waiting: int
    unsure: int
    error: Figure | None
    pairs: int
    kappa: Mapping[tuple[str, str], float | None]
    reviewers: Mapping[str, int]
    unlabelled: tuple[str, ...] = ()


def figures(design: Design, labels: Sequence[LabelLine], seed: int = 1) -> Figures:
    """The figures of the labels that stand; the same for the same labels.

    A document counts by its first blind label that is human or AI.
    """
    first: dict[int, str] = {}
    for label in labels:
        if label.blind and label.label in ("human", "ai"):
            first.setdefault(label.document, label.label)
    labelled, ai = (np.zeros(len(design.strata), np.int64) for _ in range(2))
    for document, own in first.items():
        stratum = design.documents[document].stratum
        labelled[stratum] += 1
        ai[stratum] += own == "ai"
    differing, pairs = _second_looks(labels)
    seen = {label.document for label in labels}
    estimates = _estimates(design, labelled, ai, differing, pairs, np.random.default_rng(seed))
    return Figures(
        **estimates,
        labelled=len(first),
        waiting=len(design.documents) - len(seen),
        unsure=len(seen - first.keys()),
        pairs=pairs,
        kappa=_kappas(labels),
        reviewers=Counter(label.reviewer for label in labels),
        unlabelled=tuple(
            stratum.name
            for stratum, n in zip(design.strata, labelled.tolist(), strict=True)
            if not n
        ),
    )


def _second_looks(labels: Sequence[LabelLine]) -> tuple[int, int]:
    """Pairs of blind labels of one document that differ, and all of them."""
    by_document: dict[int, list[str]] = {}
    for label in labels:
        if label.blind and label.label in ("human", "ai"):
            by_document.setdefault(label.document, []).append(label.label)
    pairs = [(own[0], other) for own in by_document.values() for other in own[1:2]]
    return sum(a != b for a, b in pairs), len(pairs)


def _estimates(
    design: Design,
    labelled: NDArray[np.int64],
    ai: NDArray[np.int64],
    differing: int,
    pairs: int,
    random: np.random.Generator,
) -> dict[str, Figure | None]:
    """The four figures, and the error rate."""
    names = ("precision", "recall", "share", "false_positive_rate")
    error = _error_draws(differing, pairs, random)
    told: dict[str, Figure | None] = {
        "error": None if not pairs else _interval(_error_of(differing / pairs), error, error)
    }
    called = np.array([stratum.verdict == "ai" for stratum in design.strata])
    sizes = np.array([stratum.documents for stratum in design.strata], np.float64)
    # What nobody has labelled tells nothing; the figures wait for it.
    if not labelled.all() or not len(labelled):
        return {**dict.fromkeys(names), **told}
    point = _corrected(ai / labelled, _error_of(differing / pairs) if pairs else 0.0)
    low = _corrected(_beta(ai, labelled - ai + 1, random), error[:, None])
    high = _corrected(_beta(ai + 1, labelled - ai, random), error[:, None])

    def found(p_called: Floats, p_passed: Floats) -> dict[str, Floats]:
        """The figures where of the strata called AI, and of the others, these shares are AI."""
        p = np.where(called, p_called, p_passed)
        true = (p * sizes)[..., called].sum(axis=-1)
        missed = (p * sizes)[..., ~called].sum(axis=-1)
        of_called, everything = sizes[called].sum(), sizes.sum()
        human = everything - true - missed
        with np.errstate(divide="ignore", invalid="ignore"):
            return {
                "precision": true / np.float64(of_called),
                "recall": np.where(true + missed > 0, true / (true + missed), np.nan),
                "share": (true + missed) / everything,
                "false_positive_rate": np.where(human > 0, (of_called - true) / human, np.nan),
            }

    ends = {
        "precision": (found(low, low), found(high, high)),
        "recall": (found(low, high), found(high, low)),
        "share": (found(low, low), found(high, high)),
        "false_positive_rate": (found(high, low), found(low, high)),
    }
    middle = found(point, point)
    for name, (below, above) in ends.items():
        value = float(middle[name])
        told[name] = None if np.isnan(value) else _interval(value, below[name], above[name])
    return told


def _interval(value: float | Floats, below: Floats, above: Floats) -> Figure:
    tail = (1.0 - _LEVEL) / 2
    low = float(np.nan_to_num(np.nanquantile(below, tail)))
    high = float(np.nan_to_num(np.nanquantile(above, 1.0 - tail), nan=1.0))
    return Figure(float(value), float(min(low, value)), float(max(high, value)))


def _beta(a: NDArray[np.int64], b: NDArray[np.int64], random: np.random.Generator) -> Floats:
    """Draws of a beta distribution each; all at 0 for a = 0, at 1 for b = 0."""
    drawn = random.beta(np.maximum(a, 1e-9), np.maximum(b, 1e-9), (ROUNDS, len(a)))
    return np.where(a == 0, 0.0, np.where(b == 0, 1.0, drawn))


def _error_of(differ: float | Floats) -> Floats:
    """The rate at which a label is wrong where this share of second labels differ."""
    inside = np.clip(1.0 - 2.0 * np.asarray(differ, np.float64), 0.0, 1.0)
    return np.asarray(np.minimum((1.0 - np.sqrt(inside)) / 2.0, _MAX_ERROR))


def _error_draws(differing: int, pairs: int, random: np.random.Generator) -> Floats:
    """Error rates that the second labels leave open; 0 where there are none of these."""
    if not pairs:
        return np.zeros(ROUNDS)
    return _error_of(random.beta(differing + 0.5, pairs - differing + 0.5, ROUNDS))


def _corrected(seen: Floats, error: float | Floats) -> Floats:
    """Shares without the reviewers' error."""
    return np.asarray(np.clip((seen - error) / (1.0 - 2.0 * np.asarray(error)), 0.0, 1.0))


def _kappas(labels: Sequence[LabelLine]) -> dict[tuple[str, str], float | None]:
    """Cohen's kappa of each two reviewers over what both said human or AI of, blind."""
    own: dict[str, dict[int, str]] = {}
    for label in labels:
        if label.blind and not label.again and label.label in ("human", "ai"):
            own.setdefault(label.reviewer, {}).setdefault(label.document, label.label)
    return {
        (a, b): kappa([(own[a][d], own[b][d]) for d in sorted(own[a].keys() & own[b].keys())])
        for a, b in combinations(sorted(own), 2)
    }


def kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Cohen's kappa (1960); null without pairs, and where chance alone agrees always."""
    if not pairs:
        return None
    n = len(pairs)
    agreed = sum(a == b for a, b in pairs) / n
    sides = [Counter(pair[k] for pair in pairs) for k in (0, 1)]
    by_chance = sum(sides[0][name] * sides[1][name] for name in sides[0]) / n**2
    return None if by_chance == 1.0 else (agreed - by_chance) / (1.0 - by_chance)
