"""Policy files: what is read, and what every mistake says."""

import datetime as dt
from pathlib import Path

import pytest

from lowbg.config import FprBound, Gate, GateGroup, GateStatistic, Policy, Rule, Unscored, as_dict
from lowbg.decision.policy import load_policy, parse_policy
from lowbg.errors import ConfigError

EXAMPLE = """
[decision]
rule = "calibrated"        # or "thresholds"
target_fpr = 0.02
fpr_bound = "every"
unscored = "separate"
[thresholds]               # used by rule = "thresholds"
min_perplexity = 100
min_burstiness = -0.25
max_phrase_hits = 1
[trust]
before = 2022-11-30
date_field = "date"
[calibration.min_ai_scores]
en = 0.97
[gate]
max_ai_share = 0.05
statistic = "raw"
source_field = "meta.source"
min_group_documents = 50
max_quarantined_share = 0.001
min_human_token_share = 0.9
min_scored_documents = 500
[gate.max_ai_share_by]
language = 0.1
source = 1
[gate.max_phrase_hits]
assistant_self_reference = 0
"""


def test_everything_is_read() -> None:
    policy = parse_policy(EXAMPLE)
    assert policy.rule is Rule.CALIBRATED
    assert policy.target_fpr == 0.02
    assert policy.fpr_bound is FprBound.EVERY
    assert policy.unscored is Unscored.SEPARATE
    assert policy.thresholds.min_perplexity == 100.0
    assert policy.thresholds.min_burstiness == -0.25
    assert policy.thresholds.max_phrase_hits == 1
    assert policy.trust_before == dt.date(2022, 11, 30)
    assert policy.date_field == "date"
    assert policy.min_ai_scores == {"en": 0.97}
    assert policy.gate == Gate(
        max_ai_share=0.05,
        statistic=GateStatistic.RAW,
        max_ai_share_by={GateGroup.LANGUAGE: 0.1, GateGroup.SOURCE: 1.0},
        source_field="meta.source",
        min_group_documents=50,
        max_phrase_hits={"assistant_self_reference": 0},
        max_quarantined_share=0.001,
        min_human_token_share=0.9,
        min_scored_documents=500,
    )


def test_an_empty_file_is_the_default() -> None:
    assert parse_policy("") == Policy()


def test_settings_of_scorers_are_handed_on_and_change_the_digest() -> None:
    policy = parse_policy("[scorers.readability]\nscale = 2.0\n[scorers.other]\n")
    assert policy.scorers == {"readability": {"scale": 2.0}, "other": {}}
    assert as_dict(policy)["scorers"] == policy.scorers
    assert "scorers" not in as_dict(Policy())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[decison]", r"p\.toml: unknown key 'decison'; did you mean 'decision'\?"),
        ("[decision]\ntarget_fp = 1", r"\[decision\] unknown key 'target_fp'; .*'target_fpr'"),
        ("[decision]\nbefore = 1", r"unknown key 'before'; it belongs under \[trust\]"),
        ("rule = 'calibrated'", r"unknown key 'rule'; it belongs under \[decision\]"),
        ("[decision]\nrule = 'best'", r"decision\.rule is 'best'"),
        (
            "[decision]\ntarget_fpr = '1 %'",
            r"decision\.target_fpr is '1 %'; it must be a number",
        ),
        ("[decision]\ntarget_fpr = 0.0", r"p\.toml: decision\.target_fpr is 0\.0; .* most 0\.5"),
        ("[decision]\ntarget_fpr = true", r"must be a number"),
        ("decision = 1", r"decision is 1; it must be a table"),
        ("[trust]\nbefore = 'soon'", r"trust\.before is 'soon'; it must be a date"),
        ("[thresholds]\nmax_phrase_hits = -1", r"max_phrase_hits is -1; it must be a whole"),
        ("[gate]\nmax_ai_share = 5", r"gate\.max_ai_share is 5; it must be between 0 and 1"),
        ("[gate]\nmax_phrase_hits = 3", r"gate\.max_phrase_hits is 3; it must be a table"),
        ("[gate]\nmin_group_documents = 0", r"min_group_documents is 0; .* 1 or more"),
        ("[gate]\nsource_field = 'x'", r"p\.toml: gate\.max_ai_share_by\.source and .* together"),
        ("[gate.max_ai_share_by]\nhosts = 0.1", r"\[gate\.max_ai_share_by\] .* 'host'"),
        ("[gate.max_ai_share_by]\nhost = 2", r"max_ai_share_by\.host is 2; it must be between"),
        (
            "[gate]\nstatistic = 'estimate'\n[gate.max_ai_share_by]\nshard = 0.1",
            r"p\.toml: gate\.statistic is 'estimate', and there are no estimates by shard",
        ),
        ("[calibration.min_ai_scores]\nen = 2", r"min_ai_scores\.en is 2"),
        ("[calibration.min_ai_scores]\nenglish = 0.1", r"scores\] unknown key 'english'; .*'en'"),
        ("[calibration]\nmin_ai_score = 1", r"\[calibration\] .*'min_ai_score'; .*'min_ai_scores'"),
        ("[thresholds]\nmin_perplexity = inf", r"min_perplexity is inf; it must be a number"),
        ("[decision]\nrule = 'best'", r"it must be one of calibrated, thresholds"),
        ("[gate]\nsource_field = ''", r"gate\.source_field is ''; it must be text"),
        ("[trust]\ncount_fields = ['a', '']", r"trust\.count_fields is .* list of texts"),
        ("[gate.max_phrase_hits]\nx = 1.5", r"max_phrase_hits\.x is 1\.5; it must be a whole"),
        ("[scorers]\nreadability = 3", r"p\.toml: scorers\.readability is 3; it must be a table"),
        ("[decision", r"p\.toml: not valid TOML"),
    ],
)
def test_mistakes_name_file_and_key(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_policy(text, "p.toml")


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(EXAMPLE, encoding="utf-8")
    assert load_policy(path) == parse_policy(EXAMPLE)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_policy(tmp_path / "absent.toml")
