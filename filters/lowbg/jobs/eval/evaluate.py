"""How good the verdicts are on labelled text: the code behind `lowbg eval`.

AUROC, true-positive rates at fixed false-positive rates, and both rates at the shipped threshold,
for all documents and by group, with bootstrap intervals. AI text is compared with the human text
of its own group where there is enough, else with all human text of its language.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LENGTHS = (0, 60, 100, 200, 400, 800)
"""Lower bounds of the length buckets, in words."""

MIN_CLASS = 20
"""A group needs as many scored documents of each label for an AUROC of its own."""


@dataclass(frozen=True, slots=True)
class LabelledScores:
    """The labelled documents with what was decided of them, one entry each.

    `score` is NaN where there is none; `called_ai` is true there only where a near-certain phrase
    decides. `groups` holds, by the name of a
    grouping (dataset, domain, language, generator, attack), each document's group. `perplexity`
    is NaN where unknown.
    """

    is_ai: NDArray[np.bool_]
    score: Floats
    called_ai: NDArray[np.bool_]
    words: NDArray[np.int64]
    groups: Mapping[str, NDArray[np.str_]]
    perplexity: Floats | None = None

    def __len__(self) -> int:
        return len(self.is_ai)


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and the ends of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class GroupResult:
    """The figures of one group; None where there are too few documents of a label.

    `coverage` is the share of documents that were judged: by score, or called AI without one.
    `fpr` and `recall` (at the shipped threshold) are of these.
    """

    grouping: str
    group: str
    human: int
    ai: int
    coverage: float
    auroc: Interval | None
    tpr_at_1: Interval | None
    tpr_at_5: Interval | None
    fpr: Interval | None
    recall: Interval | None


def auroc(human: Floats, ai: Floats) -> float:
    """Probability that an AI document scores above a human one; ties count half."""
    if not len(human) or not len(ai):
        return float("nan")
    both = np.concatenate([human, ai])
    _, inverse, count = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[inverse]
    top = float(ranks[len(human) :].sum()) - len(ai) * (len(ai) + 1) / 2
    return top / (len(human) * len(ai))


def tpr_at(human: Floats, ai: Floats, fpr: float) -> float:
    """Share of AI documents above the least score that at most `fpr` of the human ones exceed."""
    if not len(human) or not len(ai):
        return float("nan")
    allowed = int(np.floor(fpr * len(human)))
    bound = np.sort(human)[::-1][allowed] if allowed < len(human) else -np.inf
    return float((ai > bound).mean())


def _bootstrap(
    figure: Callable[[Floats, Floats], float],
    human: Floats,
    ai: Floats,
    generator: np.random.Generator,
    rounds: int,
) -> Interval:
    """The figure with the 2.5th and 97.5th percentile over resampled documents of each label."""
    drawn = [
        figure(
            human[generator.integers(0, len(human), len(human))] if len(human) else human,
            ai[generator.integers(0, len(ai), len(ai))] if len(ai) else ai,
        )
        for _ in range(rounds)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(figure(human, ai), float(low), float(high))


def wilson_interval(hits: int, n: int) -> Interval | None:
    """A share with its 95 % Wilson interval; None of nothing."""
    if n == 0:
        return None
    z = 1.959964
    share = hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(share, max(0.0, float(middle - half)), min(1.0, float(middle + half)))


def group_result(
    j: LabelledScores,
    grouping: str,
    group: str,
    inside: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    generator: np.random.Generator,
    rounds: int,
) -> GroupResult:
    """The figures of the documents in the mask `inside`.

    AI text is compared with the human text of the group, or of the mask `reference` where the
    group has less than `MIN_CLASS`.
    """
    scored = ~np.isnan(j.score)
    judged = scored | j.called_ai
    human, ai = inside & ~j.is_ai, inside & j.is_ai
    own = (human & scored).sum() >= MIN_CLASS
    humans = j.score[(human if own else reference & ~j.is_ai) & scored]
    machines = j.score[ai & scored]
    figures: list[Interval | None] = [None, None, None]
    if len(machines) >= MIN_CLASS and len(humans) >= MIN_CLASS:
        figures = [
            _bootstrap(figure, humans, machines, generator, rounds)
            for figure in (
                auroc,
                lambda h, a: tpr_at(h, a, 0.01),
                lambda h, a: tpr_at(h, a, 0.05),
            )
        ]
    return GroupResult(
        grouping=grouping,
        group=group,
        human=int(human.sum()),
        ai=int(ai.sum()),
        coverage=float(judged[inside].mean()) if inside.any() else 0.0,
        auroc=figures[0],
        tpr_at_1=figures[1],
        tpr_at_5=figures[2],
        fpr=wilson_interval(int((human & j.called_ai).sum()), int((human & judged).sum())),
        recall=wilson_interval(int((ai & j.called_ai).sum()), int((ai & judged).sum())),
    )


def length_buckets(words: NDArray[np.int64]) -> NDArray[np.str_]:
    """Each document's length bucket, such as "100–199"."""
    names = [f"{low}–{high - 1}" for low, high in pairwise(LENGTHS)] + [f"{LENGTHS[-1]}+"]
    return np.array(names)[np.searchsorted(LENGTHS, words, side="right") - 1]


def listed(names: Iterable[str]) -> list[str]:
    """The distinct names in the order that tables have; numbers in them count as numbers."""

    def key(name: str) -> list[str | int]:
        # Every other part is a number, so that like is compared with like.
        return [int(part) if i % 2 else part for i, part in enumerate(_NUMBER.split(name))]

    return sorted(set(names), key=lambda name: (key(name), name))


_NUMBER = re.compile(r"(\d+)")


def evaluate(j: LabelledScores, seed: int = 1, rounds: int = 200) -> list[GroupResult]:
    """The figures over everything, by each grouping and by length; same seed, same result."""
    generator = np.random.default_rng(seed)
    everything = np.ones(len(j), np.bool_)
    results = [group_result(j, "all", "all", everything, everything, generator, rounds)]
    groupings = {**j.groups, "length": length_buckets(j.words)}
    language = j.groups.get("language")
    for grouping, groups in groupings.items():
        for group in listed(groups.tolist()):
            if not group:
                continue
            inside = groups == group
            reference = everything
            if language is not None:
                reference = np.isin(language, np.unique(language[inside]))
            results.append(
                group_result(j, grouping, str(group), inside, reference, generator, rounds)
            )
    return results


def as_json(results: Sequence[GroupResult]) -> list[dict[str, Any]]:
    """The figures as plain JSON values."""
    return [asdict(result) for result in results]


def as_markdown(results: Sequence[GroupResult]) -> str:
    """The figures as one Markdown table a grouping."""
    parts: list[str] = []
    for grouping in dict.fromkeys(result.grouping for result in results):
        rows = [result for result in results if result.grouping == grouping]
        parts.append(f"### By {grouping}\n" if grouping != "all" else "### All\n")
        parts.append(
            "| group | human | AI | scored | AUROC | TPR at 1 % FPR | TPR at 5 % FPR "
            "| FPR, shipped | recall, shipped |\n|---|---|---|---|---|---|---|---|---|"
        )
        parts += [
            f"| {r.group} | {r.human} | {r.ai} | {100 * r.coverage:.0f} % "
            f"| {_cell(r.auroc, 1, 3)} | {_cell(r.tpr_at_1)} | {_cell(r.tpr_at_5)} "
            f"| {_cell(r.fpr)} | {_cell(r.recall)} |"
            for r in rows
        ]
        parts.append("")
    return "\n".join(parts)


def _cell(interval: Interval | None, scale: float = 100.0, digits: int = 1) -> str:
    if interval is None:
        return "–"
    low, high = scale * interval.low, scale * interval.high
    return f"{scale * interval.value:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"
