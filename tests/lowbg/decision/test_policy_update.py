"""A policy file with other values in it: nothing else of it changes."""

from __future__ import annotations

import datetime as dt
import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowbg.config import LmCalibration, LmSpread, Policy
from lowbg.decision.lm import FEATURES
from lowbg.decision.policy import parse_policy
from lowbg.decision.policy_text import Notes
from lowbg.decision.policy_update import updated_text
from lowbg.errors import ConfigError

NOTES = Notes("0.1.0 on 2026-11-29.", ("Inputs: a",), ("en",))

OWN = """\
# Ours, agreed in May.
[gate]
max_ai_share = 0.10   # the board's
min_scored_documents = 1_000

# Of the crawl.
[calibration.min_ai_scores]
de = 0.25  # by hand
en = 0.5   # old

# Documents of before
# the chatbots.
[trust]
date_field = 'when'

# The end.
[decision]
unscored = "separate"
"""

UPDATED = """\
# Calibrated by lowbg 0.1.0 on 2026-11-29.
# Inputs: a
# The next calibration of this file replaces these lines, on en
# Ours, agreed in May.
[gate]
max_ai_share = 0.10   # the board's
min_scored_documents = 1_000

# Of the crawl.
[calibration.min_ai_scores]
de = 0.25  # by hand
en = 0.75   # old
fr = 0.125

# Documents of before
# the chatbots.
[trust]
date_field = 'when'
before = 2022-11-30

# The end.
[decision]
unscored = "separate"
target_fpr = 0.05
"""


def test_all_else_stays_as_it_was_written() -> None:
    old = parse_policy(OWN)
    new = replace(
        old,
        target_fpr=0.05,
        trust_before=dt.date(2022, 11, 30),
        min_ai_scores={**old.min_ai_scores, "en": 0.75, "fr": 0.125},
    )
    assert updated_text(OWN, old, new, NOTES) == UPDATED
    assert updated_text(UPDATED, new, new, NOTES) == UPDATED
    windows = updated_text(OWN.replace("\n", "\r\n"), old, new, NOTES)
    assert windows == UPDATED.replace("\n", "\r\n")
    # What was changed meanwhile stays, too.
    edited = updated_text(OWN.replace("0.10", "0.20"), old, new, NOTES)
    assert edited == UPDATED.replace("0.10", "0.20")


def test_notes_stay_while_a_threshold_is_theirs() -> None:
    def noted(text: str, day: int, *languages: str) -> str:
        notes = Notes(f"on day {day}", (), languages)
        return updated_text(text, Policy(), Policy(), notes)

    text = noted("# Mine.\n\n[decision]\n", 1, "de", "en")
    text = noted(text, 2, "en")
    assert [line for line in text.splitlines() if "Calibrated" in line] == [
        "# Calibrated by lowbg on day 2",
        "# Calibrated by lowbg on day 1",
    ]
    text = noted(text, 3, "de", "fr")
    assert "day 1" not in text
    assert "day 2" in text
    text = noted(text, 4, "en", "de", "fr")
    assert text.count("Calibrated") == 1
    assert text.endswith("on en, de, fr\n# Mine.\n\n[decision]\n")
    # Without its last line it is anybody's comment.
    cut = text.replace(
        "# The next calibration of this file replaces these lines, on en, de, fr\n", ""
    )
    assert noted(cut, 5, "en", "de", "fr").endswith(cut)


SPREAD = LmSpread(mean=1.0, between=0.5, within=0.0, correlation=0.0, min_words=30)
LM = LmCalibration("sha", FEATURES[0], {"en": SPREAD}, {"en": 0.5})
OTHER_LM = replace(LM, languages={"en": replace(SPREAD, mean=2.0)})

LM_TABLES = f"""\
[calibration.lm]
model = "sha"
feature = "{FEATURES[0]}"
[calibration.lm.min_ai_scores]
en = 0.5
[calibration.lm.languages.en]
mean = 1.0
between = 0.5
within = 0.0
correlation = 0.0
min_words = 30
"""

LAYOUTS = {
    "nothing": "",
    "a comment": "# Nothing yet.",
    "no end of line": "[gate]\nmax_ai_share = 0.1",
    "inline": "[calibration]\nmin_ai_scores = {en = 0.5, de = 0.2} # x\n\n[gate]\n",
    "all inline": "calibration = {min_ai_scores = {en = 0.5}}\ndecision = {target_fpr = 0.02}\n",
    "dotted": "calibration.min_ai_scores.en = 0.5 # x\ndecision.target_fpr = 0.02\n[gate]\n",
    "dotted in a table": "[calibration]\nmin_ai_scores.en = 0.5\nmin_ai_scores.de = 0.2\n[gate]\n",
    "quoted": "[\"calibration\".'min_ai_scores']\n'en' = 5e-1\n",
    "apart": "[calibration.min_ai_scores]\nen = 0.5\n[gate]\nmax_ai_share = 0.1\n" + LM_TABLES,
    "the LM first": LM_TABLES + "# Of the gate.\n[gate]\nmax_ai_share = 0.1\n",
}

CHANGED = st.builds(
    dict[str, object],
    target_fpr=st.sampled_from([0.01, 0.05]),
    min_ai_scores=st.dictionaries(st.sampled_from(["en", "de", "fr"]), st.floats(0, 1), min_size=1),
    trust_before=st.none() | st.dates(dt.date(1900, 1, 1)),
    tables=st.none() | st.just("own"),
    lm=st.none() | st.just(LM) | st.just(OTHER_LM),
)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(changed=CHANGED)
def test_any_layout_comes_to_the_new_policy(layout: str, changed: dict[str, object]) -> None:
    text = LAYOUTS[layout]
    old = parse_policy(text)
    new = replace(old, **changed)  # type: ignore[arg-type]
    updated = updated_text(text, old, new, NOTES)
    assert parse_policy(updated) == new
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert [line for line in updated.splitlines() if line in comments] == comments
    assert tomllib.loads(updated).get("gate") == tomllib.loads(text).get("gate")


def test_a_file_that_would_say_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tomlkit.dumps", lambda document: "")
    old = parse_policy(OWN)
    with pytest.raises(ConfigError, match="can't be updated"):
        updated_text(OWN, old, replace(old, target_fpr=0.05), NOTES)
