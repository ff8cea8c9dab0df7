"""The limits of `rule = "thresholds"`, as they ship."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lowbg.config import FprBound, Policy, Rule, Thresholds
from lowbg.decision.limits import human_text, limits_of
from lowbg.errors import ConfigError
from lowbg.models import ModelFile, embedded_names, open_embedded

POLICY = Policy(rule=Rule.THRESHOLDS)
LANGUAGES = tuple(code for code in embedded_names() if code != "characters")


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_language_has_limits_of_its_tables(code: str) -> None:
    """After new tables: python -m benchmarks.thresholds.run DATA."""
    text = human_text()[code]
    assert text.tables == open_embedded(code).sha256
    assert text.documents >= 1_000
    for rows in (text.mean, text.every):
        assert 0.01 in [row.target_fpr for row in rows]
        for row in rows:
            assert max(row.rates) <= row.together <= sum(row.rates) + 1e-4
            assert row.together <= row.target_fpr


@pytest.mark.parametrize("bound", FprBound)
def test_a_limit_comes_with_its_own_rate(bound: FprBound) -> None:
    limits = limits_of("en", replace(POLICY, fpr_bound=bound), open_embedded("en"))
    assert limits.together is not None
    assert 0 < limits.together <= 0.01
    assert all(limit.rate is not None and limit.rate < 0.01 for limit in limits.each)
    assert str(limits).startswith(f"perplexity from {limits.perplexity.value:g} (")
    assert str(limits).endswith(f"; together {100 * limits.together:.2g} %")


def test_the_bound_chooses_the_limits() -> None:
    text = human_text()["en"]
    assert text.mean != text.every
    for bound, rows in ((FprBound.MEAN, text.mean), (FprBound.EVERY, text.every)):
        limits = limits_of("en", replace(POLICY, fpr_bound=bound), open_embedded("en"))
        (row,) = (row for row in rows if row.target_fpr == 0.01)
        values = row.min_perplexity, row.min_burstiness, row.max_phrase_hits
        assert tuple(limit.value for limit in limits.each) == values
        assert tuple(limit.rate for limit in limits.each) == row.rates
        assert limits.together == row.together


def test_a_lower_rate_has_wider_limits_and_none_is_exceeded() -> None:
    model = open_embedded("en")
    found = [limits_of("en", replace(POLICY, target_fpr=t), model) for t in (0.05, 0.03, 0.01)]
    for limits, target in zip(found, (0.05, 0.03, 0.01), strict=True):
        assert limits.together is not None
        assert limits.together <= target
    for name in ("burstiness", "perplexity"):
        first, *_, last = (getattr(limits, name).value for limits in found)
        assert first > last
    # Between two stored rates the lower one holds.
    assert found[1] == limits_of("en", replace(POLICY, target_fpr=0.02), model)
    with pytest.raises(ConfigError, match=r"limits from 0\.001 on, not for `target_fpr=0\.0001`"):
        limits_of("en", replace(POLICY, target_fpr=0.0001), model)


def test_a_limit_that_is_stated_keeps_its_rate_but_not_the_sum() -> None:
    stated = replace(POLICY, thresholds=Thresholds(min_perplexity=200.0))
    limits = limits_of("en", stated, open_embedded("en"))
    assert limits.perplexity.value == 200.0
    assert limits.perplexity.rate is not None
    assert 0.01 < limits.perplexity.rate < 0.1
    assert limits.burstiness == limits_of("en", POLICY, open_embedded("en")).burstiness
    assert limits.together is None
    hits = replace(POLICY, thresholds=Thresholds(max_phrase_hits=0))
    rate = limits_of("en", hits, open_embedded("en")).phrase_hits.rate
    assert rate == human_text()["en"].phrase_hits[0]


def test_a_limit_beyond_what_is_known_of_human_text_has_no_rate() -> None:
    """Nearly all human text is below it, and half of it was what was shown."""
    text = human_text()["en"]
    for feature, value in (("perplexity", 1e5), ("burstiness", 0.9)):
        highest = getattr(text, feature)[-1]
        assert text.rate(feature, highest) == text.shares[-1]
        assert text.rate(feature, value) is None
    assert text.rate("perplexity", 1.0) == 0.0
    assert text.rate("phrase_hits", 500) == text.phrase_hits[-1] == 0.0
    stated = replace(POLICY, thresholds=Thresholds(min_perplexity=1e5))
    told = str(limits_of("en", stated, open_embedded("en")))
    assert told.startswith("perplexity from 100000, burstiness from -0.85 (")


def test_other_tables_have_no_limits() -> None:
    other = ModelFile(Path("en"), "another", open_embedded("en").metadata, {})
    with pytest.raises(ConfigError, match="no limits for the tables of 'en'"):
        limits_of("en", POLICY, other)
    given = Thresholds(min_perplexity=1.0, min_burstiness=-1.0, max_phrase_hits=9)
    limits = limits_of("en", replace(POLICY, thresholds=given), other)
    assert [limit.rate for limit in limits.each] == [None] * 3
    assert str(limits) == "perplexity from 1, burstiness from -1, phrase_hits up to 9"
