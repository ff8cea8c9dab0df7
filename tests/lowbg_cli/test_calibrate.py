from __future__ import annotations

import datetime as dt
import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from examples.make_sample import ai_documents
from typer.testing import Result

from lowbg.config import Policy
from lowbg.decision.policy import load_policy
from lowbg.runs.engine import Engine

Run = Callable[..., Result]

AI = [document["text"] for document in ai_documents()[:1]]
NOUNS = ["river", "bridge", "mill", "teacher", "letter", "garden", "kitchen", "winter", "road"]
VERBS = ["carried", "found", "lost", "painted", "kept", "sold", "watched", "mended", "followed"]


def prose(seed: int, n: int = 14) -> str:
    own = random.Random(seed)
    return " ".join(
        f"The {own.choice(NOUNS)} {own.choice(VERBS)} the {own.choice(NOUNS)} in {seed + i}."
        for i in range(n)
    )


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    path = tmp_path / "labelled.jsonl"
    with path.open("w", encoding="utf-8") as out:
        for i in range(80):
            year = 2015 + i % 7
            row = {"text": prose(i), "language": "en", "label": "human", "date": f"{year}-01-01"}
            print(json.dumps(row), file=out)
        for i in range(80, 100):
            row = {"text": prose(i), "language": "en", "label": "ai", "date": "2024-01-01"}
            print(json.dumps(row), file=out)
        print(json.dumps({"text": prose(900), "language": "de", "label": "human"}), file=out)
    return path


def test_writes_a_policy_that_the_filter_reads(run: Run, labelled: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    got = run("calibrate", labelled, "--label-field", "label", "--target-fpr", 0.05, "-o", policy)
    assert got.exit_code == 0, got.stderr
    assert got.stdout == ""
    loaded = load_policy(policy)
    assert loaded.target_fpr == 0.05
    assert list(loaded.min_ai_scores) == ["en"]
    assert loaded.trust_before is None
    assert Engine(loaded).threshold("en") == pytest.approx(loaded.min_ai_scores["en"], abs=1e-6)
    assert "too few known-human documents, 59 are needed: de (1)" in got.stderr
    assert "→" in got.stderr
    head = policy.read_text("utf-8")
    assert "en: 80 documents, expected rate" in head
    assert "de: 1 documents, 59 needed" in head
    assert f"Model en: SHA-256 {Engine(Policy()).model_digests()['en']}" in head
    filtered = run("filter", labelled, "-o", tmp_path / "out", "--policy", policy, "--quiet")
    assert filtered.exit_code == 0, filtered.stderr
    documents = json.loads((tmp_path / "out" / "report.json").read_bytes())["totals"]
    # One in 80 may be called: the order statistic is the second largest.
    assert documents["ai"]["documents"] <= 20 + 1


def test_a_date_makes_the_policy_trust_it(run: Run, labelled: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    got = run(
        "calibrate", labelled, "--human-before", "2022-11-30", "--target-fpr", 0.05, "-o", policy,
        "--quiet",
    )  # fmt: skip
    assert (got.exit_code, got.stdout) == (0, "")
    loaded = load_policy(policy)
    assert (loaded.trust_before, loaded.date_field) == (dt.date(2022, 11, 30), "date")


def test_starts_from_a_policy(run: Run, labelled: Path, tmp_path: Path) -> None:
    base = tmp_path / "base.toml"
    base.write_text(
        '[decision]\ntarget_fpr = 0.05\nunscored = "separate"\n'
        "[calibration.min_ai_scores]\nen = 0.5\nde = 0.25\n"
    )
    policy = tmp_path / "policy.toml"
    options = ("calibrate", labelled, "--label-field", "label", "--policy", base, "-o", policy)
    assert run(*options).exit_code == 0
    loaded = load_policy(policy)
    assert (loaded.unscored, loaded.min_ai_scores["de"]) == ("separate", 0.25)
    assert loaded.min_ai_scores["en"] != 0.5
    # Another rate: what was set for the old one is gone.
    assert run(*options, "--target-fpr", 0.04, "--overwrite").exit_code == 0
    assert set(load_policy(policy).min_ai_scores) == {"en"}


def test_names_the_stratum_that_sets_a_threshold(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    path, policy = tmp_path / "labelled.jsonl", tmp_path / "policy.toml"
    common = {"language": "en", "label": "human"}
    with path.open("w", encoding="utf-8") as out:
        for i in range(70):
            print(json.dumps({"text": prose(i), "site": "plain", **common}), file=out)
        for i in range(70):  # What looks like AI text sets the threshold.
            text = f"{AI[0][:800]} {prose(i, 1 + i % 5)}"
            print(json.dumps({"text": text, "site": "styled\x1b[31m", **common}), file=out)
    got = run(
        "calibrate", path, "--label-field", "label", "--stratum", "site", "--target-fpr", 0.05,
        "-o", policy,
    )  # fmt: skip
    assert got.exit_code == 0, got.stderr
    header, line, told, before, last = got.stderr.splitlines()[-5:]
    assert header.split("  ")[0] == "language"
    assert re.search(r"\d\.\d{4} → \d\.\d{4}  \d+\.\d\d → \d\.\d\d %$", line), line
    pattern = r"  set by \d+–\d+ · styled␛\[31m: \d+ human, \d+\.\d\d → [0-4]\.\d\d % called AI"
    assert re.fullmatch(pattern, told), told
    assert before == "before: the shipped policy at 0.05"
    assert last == f"lowbg: {policy}: thresholds for 1 language"
    assert max(map(len, (header, line, told, before))) <= 80
    assert "set by 100–199 · styled␛[31m" in policy.read_text("utf-8")
    again = run(
        "calibrate", path, "--label-field", "label", "--target-fpr", 0.05, "-o", policy, "--update"
    )
    told, before = again.stderr.splitlines()[-3:-1]
    assert told.startswith("  set by ")
    assert before == f"before: {policy} at 0.05"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--label-field", "label"], "en has 80; 299 are needed in a language"),
        ([], "either --human-before DATE or --label-field FIELD"),
        (["--label-field", "label", "--human-before", "2022-11-30"], "either --human-before"),
        (["--label-field", "nothing"], "labelled 'human' in the field 'nothing'"),
        (["--human-before", "1990-01-01"], "--date-field"),
        (["--human-before", "yesterday"], "2022-11-30"),
        (["--label-field", "label", "--target-fpr", "0.05", "--min-documents", "9"], "at least 59"),
        (["--label-field", "label", "--target-fpr", "0"], "--target-fpr"),
    ],
)
def test_refuses_and_writes_nothing(
    run: Run, labelled: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    got = run("calibrate", labelled, "-o", tmp_path / "policy.toml", *options)
    assert got.exit_code == 2
    assert message in " ".join(got.stderr.split())
    assert not (tmp_path / "policy.toml").exists()


OWN = """\
# Ours, agreed in May.
[gate]
max_ai_share = 0.10   # the board's

[decision]
target_fpr = 0.05 # one in twenty
unscored = "separate"

[calibration.min_ai_scores]
de = 0.25
en = 0.5  # to be set
# The end.
"""


def test_a_policy_that_is_there_is_not_replaced(run: Run, labelled: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(OWN)
    command = ("calibrate", labelled, "--label-field", "label", "--target-fpr", 0.05)
    for base in ((), ("--policy", policy)):
        got = run(*command, "-o", policy, *base)
        assert got.exit_code == 2
        assert got.stderr == (
            f"lowbg: error: {policy} already exists. Use --update to keep what is not calibrated "
            "in it, --overwrite to replace it, or choose another -o.\n"
        )
    both = run(*command, "-o", policy, "--update", "--overwrite")
    assert (both.exit_code, "choose one" in both.stderr) == (2, True)
    other = tmp_path / "other.toml"
    other.write_text("[decision]\n")
    got = run(*command, "-o", policy, "--update", "--policy", other)
    assert (got.exit_code, f"--update starts from {policy}" in got.stderr) == (2, True)
    got = run(*command, "-o", tmp_path, "--overwrite")
    assert (got.exit_code, "is a directory; -o takes a file" in got.stderr) == (2, True)
    assert policy.read_text() == OWN
    assert run(*command, "-o", policy, "--overwrite").exit_code == 0
    assert load_policy(policy).gate.empty
    # A pipe or a device is nothing that could be lost.
    assert run(*command, "-o", "/dev/null", "-q").exit_code == 0


def test_update_changes_what_was_calibrated_and_nothing_else(
    run: Run, labelled: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(OWN)
    command = ("calibrate", labelled, "--label-field", "label", "-o", policy, "--update", "-q")
    assert run(*command, "--policy", policy).exit_code == 0
    text = policy.read_text("utf-8")
    notes, rest = text[: text.index("# Ours")], text[text.index("# Ours") :]
    score = load_policy(policy).min_ai_scores["en"]
    assert score != 0.5
    assert rest == OWN.replace("0.5  #", f"{score}  #")
    assert "# en: 80 documents" in notes
    # Again: the notes are of the last time, and another rate is what it says there.
    got = run(*command, "--target-fpr", 0.04)
    assert got.exit_code == 0
    assert "left out, since set for a rate of 0.05: thresholds of de" in got.stderr
    again = policy.read_text("utf-8")
    assert again.count("# Calibrated by") == 1
    loaded = load_policy(policy)
    assert (loaded.target_fpr, loaded.gate.max_ai_share) == (0.04, 0.1)
    assert set(loaded.min_ai_scores) == {"en"}
    assert "target_fpr = 0.04 # one in twenty" in again


def test_update_without_a_file_writes_one(run: Run, labelled: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    command = ("calibrate", labelled, "--label-field", "label", "--target-fpr", 0.05, "--update")
    assert run(*command, "-o", policy).exit_code == 0
    whole = policy.read_text("utf-8")
    assert run(*command, "-o", policy).exit_code == 0
    assert policy.read_text("utf-8") == whole
