from __future__ import annotations

import numpy as np
import pytest
from benchmarks.quality.human_groups import (
    calibration_error,
    default_groupings,
    human_groups,
    human_markdown,
    perplexity_deciles,
    reliability,
    reliability_markdown,
)

from lowbg.jobs.eval.evaluate import LabelledScores


def labelled_scores(n: int = 200) -> LabelledScores:
    """`n` human documents of rising perplexity and score, and as many AI ones at 0.95."""
    rising = np.linspace(0.0, 0.6, n)
    score = np.concatenate([rising, np.full(n, 0.95)])
    score[0] = np.nan
    return LabelledScores(
        is_ai=np.repeat([False, True], n),
        score=score,
        called_ai=np.nan_to_num(score) >= 0.54,
        words=np.full(2 * n, 150),
        groups={"language": np.repeat(["en"], 2 * n)},
        perplexity=np.concatenate([100.0 + np.arange(n), np.full(n, 50.0)]),
    )


def test_deciles_rank_scored_human_text_of_a_language() -> None:
    deciles = perplexity_deciles(labelled_scores())
    assert (deciles[0], deciles[1], deciles[199]) == ("", "01", "10")
    assert set(deciles[200:].tolist()) == {""}
    sizes = np.unique(deciles[1:200], return_counts=True)[1]
    assert set(sizes.tolist()) <= {19, 20}
    assert set(perplexity_deciles(labelled_scores(90)).tolist()) == {""}


def test_false_positives_by_group() -> None:
    j = labelled_scores()
    rows = human_groups(j, default_groupings(j))
    found = {(row.grouping, row.group): row for row in rows}
    language = found["language", "en"]
    assert (language.documents, language.scored) == (200, 199)
    assert language.fpr is not None
    assert language.fpr.value == pytest.approx(20 / 199)
    tenth, first = found["perplexity decile", "10"].fpr, found["perplexity decile", "01"].fpr
    assert tenth is not None
    assert first is not None
    assert (tenth.value, first.value) == (1.0, 0.0)
    assert ("language and length", "en · 100–199") in found
    assert human_groups(j, default_groupings(j), min_documents=201) == []
    assert "| en | 200 | 199 | 10.1 (" in human_markdown(rows)


def test_reliability_weighs_labels_alike() -> None:
    j = labelled_scores()
    bins = reliability(j)
    last = bins[-1]
    assert (last.low, last.human, last.ai, last.ai_share) == (0.9, 0, 200, 1.0)
    assert sum(row.human for row in bins) == 199
    assert bins[0].ai_share == 0.0
    assert "| 0.9–1.0 | 0 | 200 | 0.95 | 1.00 |" in reliability_markdown(bins)
    # Half is human at a mean score of 0.3015 without any AI text, half AI at 0.95.
    assert calibration_error(bins, 199, 200) == pytest.approx((0.3015 + 0.05) / 2, abs=1e-3)


def test_reliability_needs_both_labels() -> None:
    j = labelled_scores()
    with pytest.raises(ValueError, match="both labels"):
        reliability(LabelledScores(np.ones_like(j.is_ai), j.score, j.called_ai, j.words, {}))
