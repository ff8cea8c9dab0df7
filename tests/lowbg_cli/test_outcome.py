from __future__ import annotations

from typing import Any

import pytest

from lowbg.errors import ProblemKind
from lowbg.report.results import Problem, ShardResult
from lowbg.report.statistics import Statistics
from lowbg.runs.job import Outcome
from lowbg_cli.exits import ExitCode
from lowbg_cli.outcome import exit_code, tell_problems, text_field_hint


def shard(
    name: str, *problems: Problem, records: int = 10, complete: bool = True, fields: str = ""
) -> ShardResult:
    statistics = Statistics()
    for problem in problems:
        if problem.count:
            statistics.add_quarantined(problem.kind, problem.count, 0)
    return ShardResult(
        shard=name, source=name, format="jsonl", compression="none", records=records,
        complete=complete, statistics=statistics, outputs=(), problems=problems, read_bytes=0,
        text_bytes=0, lenient=0, blank=0, seconds=0.0, cpu_seconds=0.0,
        seen_fields=tuple(fields.split()),
    )  # fmt: skip


def outcome(*shards: ShardResult) -> Outcome:
    no_report: Any = None
    return Outcome(no_report, shards)


BROKEN = Problem(ProblemKind.INVALID_JSON, "a:1: invalid JSON. Record quarantined.", 3)
CUT = Problem(ProblemKind.CUT_STREAM, "b: ends early", 0)


def told(capsys: pytest.CaptureFixture[str], *shards: ShardResult, **how: bool) -> list[str]:
    settings = {"quiet": False, "strict": False, **how}
    tell_problems(shards, "out/report.json", **settings)
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_shards_are_errors_records_are_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, shard("a", BROKEN), shard("b", CUT, complete=False)) == [
        "lowbg: error: b: ends early",
        "lowbg: warning: a:1: invalid JSON. Record quarantined.",
        "lowbg: warning: and 2 more (invalid json); see out/report.json",
    ]


def test_at_most_five_of_a_kind(capsys: pytest.CaptureFixture[str]) -> None:
    shards = [shard(f"s{i}", Problem(ProblemKind.CUT_STREAM, f"s{i}: cut", 0)) for i in range(8)]
    errors = told(capsys, *shards)
    assert len(errors) == 6
    assert errors[-1] == "lowbg: error: and 3 more (cutstream); see out/report.json"


def test_quiet_leaves_errors_alone(capsys: pytest.CaptureFixture[str]) -> None:
    shards = [shard("a", BROKEN), shard("b", CUT)]
    assert told(capsys, *shards, quiet=True) == ["lowbg: error: b: ends early"]
    assert len(told(capsys, *shards, quiet=True, strict=True)) == 3


def test_a_wrong_text_field_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    missing = Problem(ProblemKind.MISSING_TEXT, "a:1: no field 'text'. Record quarantined.", 10)
    wrong = shard("a", missing, fields="title body")
    assert text_field_hint([wrong]) == (
        "no record has the text field; text is in: title, body. "
        "Name the one that holds the text with --text-field."
    )
    assert "--text-field" in told(capsys, wrong, quiet=True)[-1]
    assert exit_code(outcome(wrong), strict=False) is ExitCode.INCOMPLETE
    assert text_field_hint([wrong, shard("b")]) == ""
    assert text_field_hint([]) == ""


@pytest.mark.parametrize(
    ("shards", "strict", "code"),
    [
        ([shard("a")], True, 0),
        ([shard("a", BROKEN)], False, 0),
        ([shard("a", BROKEN)], True, 3),
        ([shard("a"), shard("b", CUT, complete=False)], False, 3),
    ],
)
def test_exit_codes(shards: list[ShardResult], strict: bool, code: int) -> None:
    assert exit_code(outcome(*shards), strict=strict) == code


def test_an_input_without_a_readable_record_is_no_success(
    capsys: pytest.CaptureFixture[str],
) -> None:
    garbage = shard("a", BROKEN, records=3)
    assert exit_code(outcome(garbage), strict=False) == ExitCode.INCOMPLETE
    assert told(capsys, garbage)[-1].startswith("lowbg: error: no record could be read")
    one_good = shard("b", BROKEN, records=4)
    for fine in ((one_good,), (garbage, one_good), (shard("empty", records=0),)):
        assert exit_code(outcome(*fine), strict=False) == ExitCode.FINISHED
        assert "no record could be read" not in "".join(told(capsys, *fine))


def test_records_that_are_all_too_large(capsys: pytest.CaptureFixture[str]) -> None:
    large = Problem(ProblemKind.TOO_LARGE, "a:1: above the limit. Record quarantined.", 10)
    assert told(capsys, shard("a", large))[-1] == (
        "lowbg: error: no record could be read. All are larger than --max-record-bytes allows."
    )
    mixed = Problem(ProblemKind.TOO_LARGE, "a:1: above the limit. Record quarantined.", 7)
    assert "Is the input JSONL" in told(capsys, shard("a", mixed, BROKEN))[-1]
