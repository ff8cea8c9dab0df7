"""Whom the verdicts get wrong, and what a score is worth: false positives by group, reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowbg.jobs.eval.evaluate import (
    Floats,
    Interval,
    LabelledScores,
    length_buckets,
    listed,
    wilson_interval,
)

DECILES = 10


@dataclass(frozen=True, slots=True)
class HumanGroup:
    """Human documents of a group, how many have a score, and the rate called AI among those."""

    grouping: str
    group: str
    documents: int
    scored: int
    fpr: Interval | None


@dataclass(frozen=True, slots=True)
class ScoreBin:
    """The scored documents with low ≤ `ai_score` < high: mean score, and the share that is AI.

    The last bin holds its upper end too. `ai_share` weighs both labels alike: half of all scored
    documents are taken to be AI.
    """

    low: float
    high: float
    human: int
    ai: int
    mean_score: float
    ai_share: float


def human_groups(
    j: LabelledScores, groupings: Mapping[str, NDArray[np.str_]], min_documents: int = 1
) -> list[HumanGroup]:
    """The false-positive rate of every group (but "") that has `min_documents` human documents.

    Rows come by grouping, and in each by name.
    """
    scored = ~np.isnan(j.score)
    results = []
    for grouping, groups in groupings.items():
        for group in listed(set(groups[~j.is_ai].tolist()) - {""}):
            human = ~j.is_ai & (groups == group)
            if human.sum() < min_documents:
                continue
            n = int((human & scored).sum())
            called = int((human & scored & j.called_ai).sum())
            rate = wilson_interval(called, n)
            results.append(HumanGroup(grouping, str(group), int(human.sum()), n, rate))
    return results


def default_groupings(j: LabelledScores) -> dict[str, NDArray[np.str_]]:
    """Language, length, both, and decile of perplexity."""
    language, length = j.groups["language"], length_buckets(j.words)
    both = np.where(language != "", np.char.add(np.char.add(language, " · "), length), "")
    return {
        "language": language,
        "length": length,
        "language and length": both,
        "perplexity decile": perplexity_deciles(j),
    }


def perplexity_deciles(j: LabelledScores) -> NDArray[np.str_]:
    """Each scored human document's decile of perplexity among those of its language.

    "01" holds the most predictable text, "10" the most unusual; "" where there is no perplexity,
    and of AI text. Languages with fewer than a hundred such documents have none.
    """
    result = np.full(len(j), "", "U2")
    if j.perplexity is None:
        return result
    eligible = ~j.is_ai & ~np.isnan(j.score) & ~np.isnan(j.perplexity)
    for language in set(j.groups["language"][eligible].tolist()):
        own = np.flatnonzero(eligible & (j.groups["language"] == language))
        if len(own) < 10 * DECILES:
            continue
        rank = np.argsort(np.argsort(j.perplexity[own], kind="stable"), kind="stable")
        result[own] = [f"{1 + r * DECILES // len(own):02}" for r in rank.tolist()]
    return result


def reliability(j: LabelledScores, bins: int = 10) -> list[ScoreBin]:
    """The bins of equal width of `ai_score` that hold a document.

    Raises `ValueError` where a label is missing: there is nothing to compare.
    """
    scored = ~np.isnan(j.score)
    human, ai = scored & ~j.is_ai, scored & j.is_ai
    if not human.any() or not ai.any():
        raise ValueError("reliability needs scored documents of both labels")
    weight = np.where(j.is_ai, 0.5 / ai.sum(), 0.5 / human.sum())
    place = np.minimum((np.nan_to_num(j.score) * bins).astype(np.int64), bins - 1)
    rows = []
    for i in range(bins):
        inside = scored & (place == i)
        if not inside.any():
            continue
        total = weight[inside].sum()
        rows.append(
            ScoreBin(
                low=i / bins,
                high=(i + 1) / bins,
                human=int((inside & ~j.is_ai).sum()),
                ai=int((inside & j.is_ai).sum()),
                mean_score=float((weight * np.nan_to_num(j.score))[inside].sum() / total),
                ai_share=float(weight[inside & j.is_ai].sum() / total),
            )
        )
    return rows


def calibration_error(rows: Sequence[ScoreBin], human: int, ai: int) -> float:
    """The mean distance of score and AI share over the bins, both labels weighing alike.

    `human` and `ai` are the scored documents of each label.
    """
    parts: Floats = np.array([row.human / human / 2 + row.ai / ai / 2 for row in rows])
    distance = np.array([abs(row.mean_score - row.ai_share) for row in rows])
    return float(parts @ distance / parts.sum())


def human_markdown(rows: Sequence[HumanGroup]) -> str:
    """One Markdown table a grouping; rates in percent with their 95 % Wilson intervals."""
    parts: list[str] = []
    for grouping in dict.fromkeys(row.grouping for row in rows):
        parts += [f"### By {grouping}", "", "| group | human | scored | called AI, % of scored |"]
        parts.append("|---|---|---|---|")
        for row in rows:
            if row.grouping != grouping:
                continue
            rate = "–"
            if row.fpr is not None:
                value, low, high = (100 * v for v in (row.fpr.value, row.fpr.low, row.fpr.high))
                rate = f"{value:.1f} ({low:.1f}–{high:.1f})"
            parts.append(f"| {row.group} | {row.documents:,} | {row.scored:,} | {rate} |")
        parts.append("")
    return "\n".join(parts)


def reliability_markdown(rows: Sequence[ScoreBin]) -> str:
    """The bins as a Markdown table."""
    parts = [
        "| ai_score | human | AI | mean score | share AI, labels alike |",
        "|---|---|---|---|---|",
    ]
    parts += [
        f"| {r.low:.1f}–{r.high:.1f} | {r.human:,} | {r.ai:,} | {r.mean_score:.2f} "
        f"| {r.ai_share:.2f} |"
        for r in rows
    ]
    return "\n".join([*parts, ""])
