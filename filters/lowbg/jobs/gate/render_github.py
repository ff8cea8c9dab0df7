"""A gate's result for GitHub Actions: annotations, and Markdown for the step summary.

The form of annotations, and what is escaped in them, is that of "Workflow commands for GitHub
Actions" in GitHub's documentation: `%`, CR and LF in messages; `:` and `,` in properties too.
"""

from __future__ import annotations

from typing import Final

from lowbg.jobs.gate.findings import Finding, GateResult, Status
from lowbg.jobs.gate.texts import VERDICTS, found_text, limit_text, sentence, subject_text
from lowbg.report.render_markdown import escaped
from lowbg.report.sections.base import visible

MAX_ANNOTATIONS: Final = 10
"""GitHub shows no more of a kind from one step."""

_SUMMARY_ROWS: Final = 200
_MARKS: Final = {
    Status.PASS: "✅", Status.UNDECIDED: "❔", Status.FAIL: "❌", Status.ERROR: "⛔",
}  # fmt: skip


def annotation_lines(result: GateResult, *, undecided_fails: bool) -> list[str]:
    """A workflow command for each finding that doesn't pass; past the most, one for the rest."""
    found = [
        (_level(finding, undecided_fails), finding)
        for status in (Status.ERROR, Status.FAIL, Status.UNDECIDED)
        for finding in result.of(status)
    ]
    shown = found if len(found) <= MAX_ANNOTATIONS else found[: MAX_ANNOTATIONS - 1]
    lines = [_annotation(level, finding) for level, finding in shown]
    if len(shown) < len(found):
        level, rest = found[len(shown)][0], len(found) - len(shown)
        lines.append(command(level, {"title": "lowbg gate"}, f"and {rest:,} more checks"))
    return lines


def _level(finding: Finding, undecided_fails: bool) -> str:
    mild = finding.status is Status.UNDECIDED and not undecided_fails
    return "warning" if mild else "error"


def _annotation(level: str, finding: Finding) -> str:
    paths = [finding.path, *(place.path for place in finding.places)]
    local = next((path for path in paths if path and path != "-" and "://" not in path), "")
    message = "\n".join([sentence(finding), *(place.text for place in finding.places)])
    properties = {"file": local, "title": f"lowbg gate: {finding.name}"}
    return command(level, {name: value for name, value in properties.items() if value}, message)


def command(name: str, properties: dict[str, str], message: str) -> str:
    """`::name key=value,key=value::message`, escaped."""
    given = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{name} {given}::{_data(visible(message, keep=chr(10)))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(visible(text)).replace(":", "%3A").replace(",", "%2C")


def step_summary(result: GateResult) -> str:
    """Markdown: a headline, a table of the findings, what doesn't pass first, and the places."""
    lines = [
        f"### {_MARKS[result.status]} lowbg gate {VERDICTS[result.status]}",
        "",
        escaped(subject_text(result)),
        "",
        "| | check | found | limit |",
        "|---|---|---|---|",
    ]
    ordered = [finding for status in reversed(Status) for finding in result.of(status)]
    for finding in ordered[:_SUMMARY_ROWS]:
        cells = (finding.name, found_text(finding), limit_text(finding))
        lines.append(f"| {_MARKS[finding.status]} | {' | '.join(map(escaped, cells))} |")
    if len(ordered) > _SUMMARY_ROWS:
        lines += ["", f"and {len(ordered) - _SUMMARY_ROWS:,} more checks"]
    for finding in ordered[:_SUMMARY_ROWS]:
        if finding.status is not Status.PASS:
            lines += ["", f"**{escaped(finding.name)}**: {escaped(finding.reason)}", ""]
            lines += [f"- {escaped(place.text)}" for place in finding.places]
    return "\n".join(lines) + "\n"
