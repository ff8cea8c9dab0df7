"""What every rule makes of counts, exactly at its limit and around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lowbg.config import Gate, GateGroup, GateStatistic
from lowbg.errors import ConfigError
from lowbg.jobs.gate.evidence import Evidence, Part
from lowbg.jobs.gate.findings import Finding, Status
from lowbg.jobs.gate.rules import at_least, at_most, check_gate, documents_needed, judge
from lowbg.report.estimate import Estimate, wilson

MakeEvidence = Callable[..., Evidence]
PASS, UNDECIDED, FAIL, ERROR = Status


def only(gate: Gate, evidence: Evidence, rule: str) -> Finding:
    found = [f for f in judge(gate, evidence).findings if f.rule == rule]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("limit", "value", "interval", "status"),
    [
        (0.1, 0.1, None, PASS), (0.1, 0.11, None, FAIL), (0.1, 0.0, None, PASS),
        (0.1, 0.05, (0.01, 0.1), PASS), (0.1, 0.05, (0.01, 0.11), UNDECIDED),
        (0.1, 0.2, (0.1, 0.3), UNDECIDED), (0.1, 0.2, (0.11, 0.3), FAIL),
    ],
)  # fmt: skip
def test_an_upper_limit(limit: float, value: float, interval: Any, status: Status) -> None:
    assert at_most(limit, value, interval) is status
    mirrored = None if interval is None else (1 - interval[1], 1 - interval[0])
    if interval is not None:  # 1 − x rounds; exact values are tested below.
        assert at_least(1 - limit, 1 - value, mirrored) is status


def test_a_lower_limit_is_exact() -> None:
    assert at_least(0.9, 0.9, None) is PASS
    assert at_least(0.9, 0.8999, None) is FAIL


@pytest.mark.parametrize(
    ("statistic", "limit", "human", "ai", "status"),
    [
        (GateStatistic.RAW, 0.10, 900, 100, PASS),
        (GateStatistic.RAW, 0.0999, 900, 100, FAIL),
        (GateStatistic.RAW, 0.10, 9, 1, PASS),
        # Wilson's 95 % interval of 100 in 1,000 is 8.3 % to 12.0 %.
        (GateStatistic.UPPER, 0.121, 900, 100, PASS),
        (GateStatistic.UPPER, 0.119, 900, 100, UNDECIDED),
        (GateStatistic.UPPER, 0.084, 900, 100, UNDECIDED),
        (GateStatistic.UPPER, 0.082, 900, 100, FAIL),
        (GateStatistic.UPPER, 0.05, 10, 0, UNDECIDED),
        # No document is human by its date, so that there is no estimate.
        (GateStatistic.ESTIMATE, 0.5, 900, 100, UNDECIDED),
    ],
)
def test_the_ai_share(
    statistic: GateStatistic, limit: float, human: int, ai: int, status: Status,
    evidence: MakeEvidence,
) -> None:  # fmt: skip
    gate = Gate(max_ai_share=limit, statistic=statistic)
    finding = only(gate, evidence(human, ai), "max_ai_share")
    assert finding.status is status
    assert bool(finding.reason) == (status is not PASS)


def test_an_estimate_is_judged_where_there_is_one(evidence: MakeEvidence) -> None:
    made = evidence(900, 100)
    estimate = Estimate(estimate=0.2, low=0.15, high=0.3, raw=0.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lowbg.jobs.gate.rules.ShareEstimator.overall", lambda self: estimate)
        for statistic, limit, status in [
            (GateStatistic.ESTIMATE, 0.2, PASS), (GateStatistic.ESTIMATE, 0.19, FAIL),
            (GateStatistic.UPPER, 0.3, PASS), (GateStatistic.UPPER, 0.29, UNDECIDED),
            (GateStatistic.UPPER, 0.14, FAIL), (GateStatistic.RAW, 0.1, PASS),
        ]:  # fmt: skip
            finding = only(Gate(limit, statistic), made, "max_ai_share")
            assert finding.status is status, (statistic, limit)
            raw = statistic is GateStatistic.RAW
            assert finding.statistic is (GateStatistic.RAW if raw else GateStatistic.ESTIMATE)


def test_a_failed_share_says_where(evidence: MakeEvidence) -> None:
    finding = only(Gate(0.05), evidence(900, 100), "max_ai_share")
    texts = [place.text for place in finding.places]
    assert texts == [
        "a.jsonl: 100 of 1,000 (10.0 %)",
        "language en: 100 of 1,000 (10.0 %)",
        "example.com: 100 of 1,000 (10.0 %)",
    ]
    assert finding.places[0].path == "in/a.jsonl"


def test_a_sample_is_judged_by_its_interval_whatever_the_statistic(evidence: MakeEvidence) -> None:
    gate = Gate(0.1, GateStatistic.RAW)
    assert only(gate, evidence(90, 10), "max_ai_share").status is PASS
    small = only(gate, evidence(90, 10, sample_of=5_000), "max_ai_share")
    assert small.status is UNDECIDED
    assert "judge without `sample`" in small.reason
    clear = only(Gate(0.3, GateStatistic.RAW), evidence(90, 10, sample_of=5_000), "max_ai_share")
    assert clear.status is PASS


def test_how_large_a_sample_would_decide(evidence: MakeEvidence) -> None:
    finding = only(Gate(0.05), evidence(98, 2, unscored=100, sample_of=100_000), "max_ai_share")
    assert finding.status is UNDECIDED
    needed = documents_needed(0.05, 0.02)
    assert needed is not None
    # Half of the documents can be scored, so that twice as many must be drawn.
    assert f"`sample={2 * needed + 1}` would" in finding.reason


@pytest.mark.parametrize(("limit", "found"), [(0.05, 0.02), (0.05, 0.0), (0.05, 0.2), (0.5, 0.49)])
def test_documents_needed_decide_and_few_fewer_do_not(limit: float, found: float) -> None:
    n = documents_needed(limit, found)
    assert n is not None

    def status(size: float) -> Status:
        low, high = wilson(found * size, size) or (9, 9)
        return at_most(limit, found, (low, high))

    assert status(n) is not UNDECIDED
    assert status(int(n / 1.1)) is UNDECIDED


def test_a_share_at_its_limit_is_never_decided() -> None:
    assert documents_needed(0.05, 0.05) is None


def test_parts_are_judged_by_themselves(evidence: MakeEvidence) -> None:
    made = evidence(900, 100, language="de")
    made.statistics.merge(evidence(400, 0, language="fr").statistics)
    made.statistics.merge(evidence(0, 99, language="ja").statistics)
    gate = Gate(max_ai_share_by={GateGroup.LANGUAGE: 0.05}, statistic=GateStatistic.RAW)
    found = {f.part: f.status for f in judge(gate, made).findings if "language" in f.rule}
    assert found == {"de": FAIL, "fr": PASS}  # ja has fewer than min_group_documents.
    found = {f.part: f.status for f in judge(replace(gate, min_group_documents=99), made).findings}
    assert found["ja"] is FAIL


def test_no_part_is_large_enough(evidence: MakeEvidence) -> None:
    gate = Gate(max_ai_share_by={GateGroup.SHARD: 0.05})
    finding = only(gate, evidence(50, 10), "max_ai_share_by.shard")
    assert (finding.status, finding.value) == (PASS, None)
    assert "no shard has 100 scored documents" in finding.reason
    assert "60" in finding.reason


def test_a_sample_judges_the_parts_that_are_large_in_the_data_set(evidence: MakeEvidence) -> None:
    """60 documents of a sample of 60 in 6,000 stand for 6,000: too few here, not in the whole."""
    gate = Gate(max_ai_share_by={GateGroup.LANGUAGE: 0.05})
    rule = "max_ai_share_by.language"
    finding = only(gate, evidence(59, 1, sample_of=6_000), rule)
    assert (finding.part, finding.status) == ("en", UNDECIDED)
    assert only(gate, evidence(20, 40, sample_of=6_000), rule).status is FAIL
    small = only(gate, evidence(20, 40, sample_of=90), rule)
    assert (small.part, small.status) == ("", PASS)
    assert "the largest has 90" in small.reason


@pytest.mark.parametrize("group", [GateGroup.YEAR, GateGroup.HOST, GateGroup.SHARD])
def test_every_group(group: GateGroup, evidence: MakeEvidence) -> None:
    finding = only(
        Gate(max_ai_share_by={group: 0.05}), evidence(900, 100), f"max_ai_share_by.{group}"
    )
    assert finding.status is FAIL
    parts = {GateGroup.YEAR: "2024", GateGroup.HOST: "example.com", GateGroup.SHARD: "a.jsonl"}
    assert finding.part == parts[group]


def test_sources(evidence: MakeEvidence) -> None:
    gate = Gate(max_ai_share_by={GateGroup.SOURCE: 0.05}, source_field="source")
    sources = (Part("wiki", 500, 0), Part("blogs", 400, 100), Part("(other)", 0, 500))
    found = judge(gate, evidence(900, 100, sources=sources)).findings
    assert [(f.part, f.status) for f in found if f.part] == [("blogs", FAIL), ("wiki", PASS)]
    with pytest.raises(ConfigError, match="nothing was counted by source"):
        judge(gate, evidence())


def test_phrases_are_counted_in_documents(evidence: MakeEvidence) -> None:
    made = evidence(900, 3, phrases=("refusal:I cannot", "refusal:I am unable"))
    gate = Gate(max_phrase_hits={"refusal": 3, "tool_residue": 0})
    assert only(gate, made, "max_phrase_hits.tool_residue").status is PASS
    finding = only(gate, made, "max_phrase_hits.refusal")
    assert (finding.status, finding.value) == (PASS, 3)
    finding = only(replace(gate, max_phrase_hits={"refusal": 2}), made, "max_phrase_hits.refusal")
    assert finding.status is FAIL
    assert finding.places[0].text == "refusal:I am unable in 3 documents"


def test_a_sample_cannot_show_that_there_is_none(evidence: MakeEvidence) -> None:
    made = evidence(1_000, 0, sample_of=100_000)
    gate = Gate(max_phrase_hits={"refusal": 0})
    finding = only(gate, made, "max_phrase_hits.refusal")
    assert finding.status is UNDECIDED
    assert finding.interval is not None
    assert finding.interval[0] == 0.0
    assert finding.interval[1] == pytest.approx(382.7, abs=0.1)
    # But it shows that there are not many, and that there is one.
    gate = Gate(max_phrase_hits={"refusal": 400})
    assert only(gate, made, "max_phrase_hits.refusal").status is PASS
    one = evidence(1_000, 1, sample_of=100_000)
    assert only(Gate(max_phrase_hits={"refusal": 0}), one, "max_phrase_hits.refusal").status is FAIL


def test_quarantine_is_a_share_of_records(evidence: MakeEvidence) -> None:
    made = evidence(90, 0, quarantined=10)
    assert only(Gate(max_quarantined_share=0.1), made, "max_quarantined_share").status is PASS
    finding = only(Gate(max_quarantined_share=0.09), made, "max_quarantined_share")
    assert (finding.status, finding.value) == (FAIL, 0.1)
    assert finding.places[0].text == "invalid_json: 10"


def test_the_human_share_is_by_words(evidence: MakeEvidence) -> None:
    made = evidence(10, 0, words=900)
    made.statistics.merge(evidence(0, 5, words=100).statistics)
    made.statistics.merge(evidence(0, 0, 5, words=100).statistics)
    gate = Gate(min_human_token_share=0.9)
    finding = only(gate, made, "min_human_token_share")
    assert (finding.status, finding.value) == (PASS, 0.9)
    finding = only(Gate(min_human_token_share=0.91), made, "min_human_token_share")
    assert finding.status is FAIL
    assert "500 words are in AI documents, 500 in unscored ones" in finding.reason


def test_few_long_documents_say_less_than_many_short_ones(evidence: MakeEvidence) -> None:
    gate = Gate(min_human_token_share=0.7)
    even = evidence(90, 10, sample_of=10_000)
    assert only(gate, even, "min_human_token_share").status is PASS
    # The same words, nearly all of them in ten documents.
    uneven = replace(even, squared_words=10 * 1_000**2)
    finding = only(gate, uneven, "min_human_token_share")
    assert finding.status is UNDECIDED
    assert finding.interval == pytest.approx(wilson(9, 10))


def test_too_few_scored_documents(evidence: MakeEvidence) -> None:
    gate = Gate(min_scored_documents=50)
    assert only(gate, evidence(49, 1), "min_scored_documents").status is PASS
    finding = only(gate, evidence(48, 1, 7, 2), "min_scored_documents")
    assert finding.status is FAIL
    assert "7 unscored, 2 in quarantine" in finding.reason
    # The rest of the data set may well have them.
    sampled = evidence(49, 0, sample_of=1_000)
    assert only(gate, sampled, "min_scored_documents").status is UNDECIDED


def test_nothing_scored_never_passes(evidence: MakeEvidence) -> None:
    for made in (evidence(0, 0), evidence(0, 0, 5)):
        assert judge(Gate(max_ai_share=1.0), made).status is FAIL
        assert only(Gate(max_ai_share=1.0), made, "max_ai_share").status is UNDECIDED
    unreadable = judge(Gate(max_ai_share=1.0), evidence(0, 0, quarantined=4))
    assert unreadable.status is ERROR
    assert "invalid_json" in unreadable.findings[0].reason


def test_an_input_that_was_not_read_whole_comes_first(evidence: MakeEvidence) -> None:
    result = judge(Gate(max_ai_share=0.01), evidence(broken=("a.jsonl.gz: ends early",)))
    assert result.status is ERROR
    assert result.findings[0].rule == "whole_inputs"
    assert result.findings[0].places[0].text == "a.jsonl.gz: ends early"


def test_the_gravest_finding_counts(evidence: MakeEvidence) -> None:
    gate = Gate(0.05, GateStatistic.RAW, max_quarantined_share=0.0)
    assert judge(gate, evidence(100, 0)).status is PASS
    assert judge(gate, evidence(100, 0, quarantined=1)).status is FAIL
    assert judge(replace(gate, statistic=GateStatistic.UPPER), evidence(10, 0)).status is UNDECIDED


def test_a_gate_without_limits_judges_nothing() -> None:
    with pytest.raises(ConfigError, match="nothing to judge by"):
        check_gate(Gate())


def test_an_unknown_category_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'refusal'"):
        check_gate(Gate(max_phrase_hits={"refusals": 0}))
