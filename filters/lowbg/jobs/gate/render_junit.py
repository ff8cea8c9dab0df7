"""A gate's result as JUnit XML: one test case a finding.

The form is the one that Jenkins, GitLab and GitHub's test reporters read (junit-10.xsd of the
xUnit plugin): failed → `failure`, input not read whole → `error`, undecided → `failure` where it
fails the gate, else `skipped`.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from lowbg.jobs.gate.findings import Finding, GateResult, Status
from lowbg.jobs.gate.texts import sentence, subject_text
from lowbg.report.sections.base import visible

# What `visible` leaves and XML 1.0 doesn't allow.
_NO_CHARACTERS = re.compile("[\ufffe\uffff]")


def render_junit(result: GateResult, *, undecided_fails: bool) -> bytes:
    """The XML document, in UTF-8."""
    outcomes = [_outcome(finding, undecided_fails) for finding in result.findings]
    counts = {
        "tests": str(len(outcomes)),
        "failures": str(outcomes.count("failure")),
        "errors": str(outcomes.count("error")),
        "skipped": str(outcomes.count("skipped")),
    }
    root = ET.Element("testsuites", {"name": "lowbg gate", **counts, "time": "0"})
    suite = ET.SubElement(
        root, "testsuite", {"name": _text(subject_text(result)), **counts, "time": "0"}
    )
    for finding, outcome in zip(result.findings, outcomes, strict=True):
        case = ET.SubElement(
            suite,
            "testcase",
            {
                "classname": f"lowbg.gate.{finding.rule}",
                "name": _text(finding.part or finding.rule),
                "time": "0",
            },
        )
        if outcome == "passed":
            ET.SubElement(case, "system-out").text = _text(sentence(finding))
            continue
        element = ET.SubElement(case, outcome, {"message": _text(sentence(finding))})
        if outcome != "skipped":
            element.set("type", f"{finding.status}")
        element.text = _text("\n".join(place.text for place in finding.places))
    ET.indent(root)
    data: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return data + b"\n"


def _outcome(finding: Finding, undecided_fails: bool) -> str:
    if finding.status is Status.UNDECIDED:
        return "failure" if undecided_fails else "skipped"
    return {Status.PASS: "passed", Status.FAIL: "failure"}.get(finding.status, "error")


def _text(text: str) -> str:
    return _NO_CHARACTERS.sub("\ufffd", visible(text, keep="\n"))
