"""By what the development data's AI text is told apart."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.quality.development import REWRITTEN, TRANSLATED, WRITTEN, model_years, tasks

from lowbg.jobs.eval.evaluate import LabelledScores


def judged(is_ai: list[bool], **groups: list[str]) -> LabelledScores:
    n = len(is_ai)
    named = {name: np.array(own) for name, own in groups.items()}
    nothing = np.full(n, np.nan)
    return LabelledScores(
        np.array(is_ai), nothing, np.zeros(n, np.bool_), np.full(n, 100), groups=named
    )


def test_translations_and_rewrites_are_apart_from_what_a_model_wrote() -> None:
    j = judged(
        [False, True, True, True, False],
        dataset=["human_bbc", "spiral", "coop-es", "raidar", "wmt24-human-refs"],
        attack=["", "", "", "polish", ""],
    )
    assert tasks(j).tolist() == ["", WRITTEN, TRANSLATED, REWRITTEN, ""]


def test_where_nothing_was_rewritten_there_is_no_such_column() -> None:
    assert tasks(judged([True], dataset=["spiral"])).tolist() == [WRITTEN]


@pytest.mark.parametrize(
    ("generator", "year"),
    [
        ("gpt2-xl", "2019"),
        ("GPT-4", "2023"),
        ("openai/gpt-4o-2024-05-13", "2024"),
        ("claude-sonnet-4-20250514", "2025"),
        ("claude-sonnet-4-6-adaptive", "2026"),
        ("kimi-k2", "2025"),
        ("kimi-k2.5", "2026"),
        ("openchat/openchat-3.5-0106", "2024"),
        ("mistral-large+claude-sonnet-4-6", "unknown"),
        ("unnamed-llm", "unknown"),
        ("", ""),
    ],
)
def test_a_generator_has_its_models_year(generator: str, year: str) -> None:
    assert model_years(np.array([generator])).tolist() == [year]
