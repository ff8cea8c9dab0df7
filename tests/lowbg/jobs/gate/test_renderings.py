"""The same result in every form, also with hostile names."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lowbg.config import Gate, GateGroup, GateStatistic, Policy
from lowbg.jobs.gate.evidence import Evidence
from lowbg.jobs.gate.findings import Finding, GateResult, Place, Status
from lowbg.jobs.gate.render_github import annotation_lines, command, step_summary
from lowbg.jobs.gate.render_json import render_json
from lowbg.jobs.gate.render_junit import render_junit
from lowbg.jobs.gate.render_terminal import render_terminal
from lowbg.jobs.gate.rules import judge
from lowbg.jobs.gate.texts import found_text, limit_text, summary

MakeEvidence = Callable[..., Evidence]
EVIL = 'a,b:c%0A"><script>|`*\x00\x1b[31m\u202e\ufffe\r\nnext::error::x'


def finding(status: Status = Status.FAIL, name: str = "x", count: int = 1) -> Finding:
    return Finding(
        "max_ai_share_by.host", status, 0.05, 0.25, True, part=name, path=name,
        interval=(0.2, 0.3), statistic=GateStatistic.RAW, reason=f"because {name}",
        places=tuple(Place(f"{name} {i}", name, i) for i in range(count)),
    )  # fmt: skip


def result(*findings: Finding) -> GateResult:
    return GateResult("corpus", findings, 1_000, 900, None)


def test_junit_opens_in_a_parser(tmp_path: Path) -> None:
    from junitparser import Error, Failure, JUnitXml, Skipped

    made = result(*(finding(status) for status in Status))
    path = tmp_path / "gate.xml"
    for undecided_fails, outcomes in (
        (True, [None, Failure, Failure, Error]),
        (False, [None, Skipped, Failure, Error]),
    ):
        path.write_bytes(render_junit(made, undecided_fails=undecided_fails))
        parsed = JUnitXml.fromfile(str(path))
        assert (parsed.tests, parsed.errors) == (4, 1)
        assert (parsed.failures, parsed.skipped) == ((2, 0) if undecided_fails else (1, 1))
        (suite,) = parsed
        assert suite.name == "corpus: 1,000 records, 900 scored"
        cases = list(suite)
        assert [case.classname for case in cases] == ["lowbg.gate.max_ai_share_by.host"] * 4
        kinds = [type(case.result[0]) if case.result else None for case in cases]
        assert kinds == outcomes
        assert cases[2].result[0].message.startswith("max_ai_share_by.host: x is 25.0 %")
        assert cases[2].result[0].text == "x 0"


def test_junit_survives_what_xml_forbids(tmp_path: Path) -> None:
    from junitparser import JUnitXml

    path = tmp_path / "gate.xml"
    path.write_bytes(render_junit(result(finding(name=EVIL)), undecided_fails=True))
    ((case,),) = JUnitXml.fromfile(str(path))
    assert case.name == 'a,b:c%0A"><script>|`*\\x00\\x1b[31m\\u202e\ufffd\\x0d\nnext::error::x'


def test_annotations_have_the_documented_form() -> None:
    line = command("error", {"file": "a,b.jsonl", "title": "1: 5 %"}, "50 %\nof a, b: c\r")
    assert line == "::error file=a%2Cb.jsonl,title=1%3A 5 %25::50 %25%0Aof a, b: c\\x0d"
    (line,) = annotation_lines(result(finding()), undecided_fails=True)
    assert line == (
        "::error file=x,title=lowbg gate%3A max_ai_share_by.host%3A x::max_ai_share_by.host: x is "
        "25.0 %25 (20.0 %25 – 30.0 %25), at most 5.0 %25: because x%0Ax 0"
    )


def test_data_cannot_forge_an_annotation() -> None:
    lines = annotation_lines(result(finding(name=EVIL)), undecided_fails=True)
    assert len(lines) == 1
    assert len(lines[0].splitlines()) == 1
    head, _, message = lines[0].removeprefix("::error ").partition("::")
    properties = dict(part.split("=", 1) for part in head.split(","))
    assert properties.keys() == {"file", "title"}
    assert not set("\r\n:") & set(head)
    assert "\x1b" not in message


def test_annotations_say_what_fails_and_no_more_than_are_shown() -> None:
    made = result(*(finding(status) for status in Status))
    levels = [line.split()[0] for line in annotation_lines(made, undecided_fails=False)]
    assert levels == ["::error", "::error", "::warning"]
    many = result(*(finding(name=str(i)) for i in range(12)))
    lines = annotation_lines(many, undecided_fails=True)
    assert len(lines) == 10
    assert lines[-1] == "::error title=lowbg gate::and 3 more checks"
    assert annotation_lines(result(finding(Status.PASS)), undecided_fails=True) == []


def test_a_url_is_no_file_of_a_repository() -> None:
    (line,) = annotation_lines(result(finding(name="s3://b/x")), undecided_fails=True)
    assert "file=" not in line


def test_the_step_summary_is_a_table(evidence: MakeEvidence) -> None:
    text = step_summary(judge(Gate(0.05, max_quarantined_share=0.1), evidence(900, 100)))
    rows = text.splitlines()
    assert rows[0] == "### ❌ lowbg gate failed"
    assert rows[4:7] == [
        "| | check | found | limit |",
        "|---|---|---|---|",
        "| ❌ | max\\_ai\\_share | 10.0 % (8.3 % – 12.0 %) | at most 5.0 % |",
    ]
    assert "- a.jsonl: 100 of 1,000 (10.0 %)" in rows
    evil = step_summary(result(finding(name=EVIL)))
    assert "<script" not in evil.replace("\\<", "")
    assert sum(row.startswith("| ❌") for row in evil.splitlines()) == 1


def test_json_is_for_scripts(evidence: MakeEvidence) -> None:
    gate = Gate(0.05, max_ai_share_by={GateGroup.SHARD: 0.5})
    policy = Policy(gate=gate)
    made = judge(gate, evidence(900, 100, sample_of=10_000))
    values = json.loads(render_json(made, policy))
    assert (values["schema"], values["status"]) == ("lowbg.gate/1", "fail")
    assert values["sample"] == {"size": 1_000, "documents": 10_000, "seed": 7}
    assert values["policy"]["gate"]["max_ai_share_by"] == {"shard": 0.5}
    share = next(f for f in values["findings"] if f["rule"] == "max_ai_share")
    assert (share["status"], share["value"], share["statistic"]) == ("fail", 0.1, "raw")
    assert share["interval"] == pytest.approx([0.083, 0.120], abs=0.001)


def shown(made: GateResult, width: int) -> str:
    stream = io.StringIO()
    render_terminal(made, stream, width=width, color=False)
    return stream.getvalue()


def test_the_table_puts_first_what_does_not_pass(evidence: MakeEvidence) -> None:
    rows = shown(judge(Gate(0.05), evidence(900, 100)), 100).splitlines()
    assert rows[0].rstrip() == "corpus: 1,000 records, 1,000 scored"
    row = "FAIL max_ai_share 10.0 % (8.3 % – 12.0 %) at most 5.0 %"
    assert " ".join(rows[1].split()) == row
    assert rows[-1].split()[:2] == ["pass", "min_scored_documents"]


@pytest.mark.parametrize("width", [30, 40, 80, 200])
def test_the_table_fits(width: int, evidence: MakeEvidence) -> None:
    gate = Gate(0.05, max_phrase_hits={"assistant_self_reference": 0, "refusal": 0})
    text = shown(judge(gate, evidence(900, 100)), width)
    for line in text.splitlines():
        # No word is broken: neither a rule's name nor a path.
        assert len(line) <= width or " " not in line[13:]
    assert "max_ai_share" in text
    assert "max_phrase_hits.assistant_self_reference" in text
    assert "\x1b" not in shown(result(finding(name=EVIL)), width)


@pytest.mark.parametrize("width", [40, 80])
def test_the_table_breaks_no_path(width: int) -> None:
    path = "crawl-of-the-year-2026/" * 5 + "shard-0001.jsonl.zst"
    places = (Place(f"{path}: 3 of 4 (75.0 %)", path),)
    made = dataclasses.replace(result(dataclasses.replace(finding(), places=places)), subject=path)
    assert shown(made, width).count(path) == 2


def test_parts_that_pass_are_one_row() -> None:
    rows = shown(result(*(finding(Status.PASS, str(i)) for i in range(9))), 120)
    assert rows.count("pass") == 1
    assert "max_ai_share_by.host: 9 parts" in rows


@pytest.mark.parametrize(
    ("made", "found", "limit"),
    [
        (Finding("r", Status.PASS, 0.05, 0.125, True), "12.5 %", "at most 5.0 %"),
        (Finding("r", Status.PASS, 0.5, 0.75, True, True, interval=(0.5, 1.0)),
         "75.0 % (50.0 % – 100.0 %)", "at least 50.0 %"),
        (Finding("r", Status.PASS, 1_000, 12_345, False, True), "12,345", "at least 1,000"),
        (Finding("r", Status.PASS, 0, 2, False, interval=(2.0, 381.7)), "2 (up to 381)",
         "at most 0"),
        (Finding("r", Status.PASS, 0.05, None, True), "–", "at most 5.0 %"),
    ],
)  # fmt: skip
def test_how_figures_are_spelled(made: Finding, found: str, limit: str) -> None:
    assert (found_text(made), limit_text(made)) == (found, limit)


def test_the_summary_is_one_line(evidence: MakeEvidence) -> None:
    failed = summary(judge(Gate(0.05), evidence(900, 100)))
    assert failed == (
        "gate failed: corpus: 1,000 records, 1,000 scored; 1 of 2 checks: "
        "max_ai_share 10.0 % (8.3 % – 12.0 %), at most 5.0 %"
    )
    passed = summary(judge(Gate(0.5), evidence(900, 100, sample_of=9_999)))
    assert passed.startswith("gate passed: corpus: 9,999 records, sample of 1,000 out of 9,999")
