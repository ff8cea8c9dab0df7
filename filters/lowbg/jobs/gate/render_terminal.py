"""A gate's result as a table for a terminal: what doesn't pass first, with its places."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import IO, Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from lowbg.amounts import count_text
from lowbg.jobs.gate.findings import Finding, GateResult, Status
from lowbg.jobs.gate.texts import found_text, limit_text, subject_text
from lowbg.report.console import open_console, print_beside, safe_text

_STYLES: Final = {
    Status.PASS: "green",
    Status.UNDECIDED: "yellow",
    Status.FAIL: "bold red",
    Status.ERROR: "bold red",
}
_LABELS: Final = {
    Status.PASS: "pass", Status.UNDECIDED: "undecided", Status.FAIL: "FAIL", Status.ERROR: "ERROR",
}  # fmt: skip
_INDENT: Final = 13
_PARTS_APART: Final = 3
"""More parts of one rule that pass are one row."""

Row = tuple[str, str, str]


def render_terminal(
    result: GateResult, stream: IO[str], *, width: int | None = None, color: bool | None = None
) -> None:
    """Prints the table to `stream`; `width` in columns, `color` forced or forbidden."""
    console = open_console(stream, width, color)
    plain = console.options.ascii_only
    print_beside(console, Text(), safe_text(subject_text(result), plain, "bold"), whole_words=True)
    bad = [
        (finding, (finding.name, found_text(finding), limit_text(finding)))
        for status in (Status.ERROR, Status.FAIL, Status.UNDECIDED)
        for finding in result.of(status)
    ]
    good = list(_passing(result.of(Status.PASS)))
    columns = [max((cell_len(row[i]) for _, row in [*bad, *good]), default=0) for i in range(3)]
    narrow = _INDENT + sum(columns) + 4 > console.width
    for finding, row in [*bad, *good]:
        label = safe_text(f"  {_LABELS[finding.status]:<11}", plain, _STYLES[finding.status])
        if narrow:
            print_beside(console, label, safe_text(row[0], plain), whole_words=True)
            _below(console, f"{row[1]}, {row[2]}", plain)
        else:
            cells = [f"{cell}{' ' * (columns[i] - cell_len(cell))}" for i, cell in enumerate(row)]
            console.print(Text.assemble(label, safe_text("  ".join(cells), plain)))
        for line in (finding.reason, *(place.text for place in finding.places)):
            if line:
                _below(console, line, plain)


def _below(console: Console, text: str, plain: bool) -> None:
    text_below = safe_text(text, plain, "bright_black")
    print_beside(console, Text(" " * _INDENT), text_below, whole_words=True)


def _passing(findings: Sequence[Finding]) -> list[tuple[Finding, Row]]:
    """A row each; of rules with many parts one, with the part that comes nearest to the limit."""
    rows: list[tuple[Finding, Row]] = []
    for rule, group in groupby(findings, key=lambda finding: finding.rule):
        parts = list(group)
        if len(parts) <= _PARTS_APART:
            rows += [(f, (f.name, found_text(f), limit_text(f))) for f in parts]
            continue
        highest = max(parts, key=lambda finding: finding.value or 0.0)
        name = f"{rule}: {count_text(len(parts))} parts"
        rows.append((highest, (name, f"highest {found_text(highest)}", limit_text(highest))))
    return rows
