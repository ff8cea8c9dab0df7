from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowbg.config import (
    FprBound,
    Gate,
    GateGroup,
    GateStatistic,
    LmCalibration,
    LmSpread,
    Policy,
    Provenance,
    Rule,
    Thresholds,
    Unscored,
)
from lowbg.decision.lm import FEATURES
from lowbg.decision.policy import parse_policy
from lowbg.decision.policy_text import Notes, policy_text
from lowbg.text.languages import CODES

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
SHARES = st.floats(0, 1)
SOURCES = st.sampled_from(["example.org", "*.example.org", "a.net/x/*", "b.net/"])


def gate(by: dict[GateGroup, float], source_field: str, **values: Any) -> Gate:
    """A gate in which what must go together does."""
    if values["statistic"] is GateStatistic.ESTIMATE:
        by = {group: share for group, share in by.items() if group.estimated}
    field = source_field if GateGroup.SOURCE in by else None
    return Gate(max_ai_share_by=by, source_field=field, **values)


GATES = st.builds(
    gate,
    st.dictionaries(st.sampled_from(GateGroup), SHARES, max_size=3),
    NAMES,
    max_ai_share=st.none() | SHARES,
    statistic=st.sampled_from(GateStatistic),
    min_group_documents=st.integers(1, 999),
    max_phrase_hits=st.dictionaries(NAMES, st.integers(0, 9), max_size=3),
    max_quarantined_share=st.none() | SHARES,
    min_human_token_share=st.none() | SHARES,
    min_scored_documents=st.integers(0, 999),
)

SPREADS = st.builds(
    LmSpread,
    mean=st.floats(-9, 9),
    between=st.floats(0, 9, exclude_min=True),
    within=st.floats(0, 9),
    correlation=st.floats(-1, 1),
    min_words=st.integers(0, 99),
)


@st.composite
def lms(draw: st.DrawFn) -> LmCalibration:
    """What a causal LM needs, for some languages."""
    codes = draw(st.lists(st.sampled_from(CODES), min_size=1, max_size=3, unique=True))
    return LmCalibration(
        model=draw(NAMES),
        feature=draw(st.sampled_from(FEATURES)),
        languages={code: draw(SPREADS) for code in codes},
        min_ai_scores={code: draw(SHARES) for code in codes},
    )


PLAIN = st.booleans() | st.integers(-99, 99) | st.floats(allow_nan=False) | NAMES | st.dates()
SETTINGS = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=2)
)

POLICIES = st.builds(
    Policy,
    rule=st.sampled_from(Rule),
    target_fpr=st.floats(1e-9, 0.5),
    fpr_bound=st.sampled_from(FprBound),
    unscored=st.sampled_from(Unscored),
    thresholds=st.builds(
        Thresholds,
        min_perplexity=st.floats(allow_nan=False, allow_infinity=False),
        min_burstiness=st.floats(-1, 1),
        max_phrase_hits=st.integers(0, 99),
    ),
    trust_before=st.none() | st.dates(dt.date(1900, 1, 1)),
    date_field=st.none() | NAMES,
    min_ai_scores=st.dictionaries(st.sampled_from(["en", "zh"]), SHARES, max_size=3),
    provenance=st.builds(
        Provenance,
        fields=st.dictionaries(NAMES, st.lists(NAMES, min_size=1, max_size=2).map(tuple)),
        allow_sources=st.lists(SOURCES, unique=True, max_size=3).map(tuple),
        deny_sources=st.lists(SOURCES, unique=True, max_size=3).map(tuple),
        count_fields=st.lists(NAMES, max_size=2).map(tuple),
    ),
    gate=GATES,
    lm=st.none() | lms(),
    scorers=st.dictionaries(NAMES, st.dictionaries(NAMES, SETTINGS, max_size=3), max_size=2),
)


@given(POLICIES)
def test_reads_back_as_it_was(policy: Policy) -> None:
    assert parse_policy(policy_text(policy, Notes("here", ("a comment",), ("en",)))) == policy


@pytest.mark.parametrize("comment", ["one\nrule = 'thresholds'", "x" * 5_000, ""])
def test_a_comment_stays_one(comment: str) -> None:
    assert parse_policy(policy_text(Policy(), Notes("here", (comment,), ()))) == Policy()
