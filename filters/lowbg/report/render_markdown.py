"""A report as Markdown: for a comment on a pull request, and for a data set's card."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from lowbg.amounts import bytes_text, count_text, share_text
from lowbg.report.collect import Report
from lowbg.report.compare import compared
from lowbg.report.headline import headline
from lowbg.report.sections.base import CountedRow, Table, visible
from lowbg.report.sections.estimate import SECTION as ESTIMATE
from lowbg.report.sections.hosts import SECTION as HOSTS
from lowbg.report.sections.languages import SECTION as LANGUAGES
from lowbg.report.sections.problems import SECTION as PROBLEMS
from lowbg.report.sections.runs import SECTION as RUNS
from lowbg.report.sections.totals import SECTION as TOTALS
from lowbg.report.sections.years import SECTION as YEARS
from lowbg.report.statistics import UNKNOWN_LANGUAGE

_ROWS: Final = 8
_SIZES: Final = (
    (1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
    (10**7, "1M<n<10M"), (10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"),
    (10**11, "10B<n<100B"), (10**12, "100B<n<1T"),
)  # fmt: skip
"""How the Hugging Face Hub names the sizes of data sets."""


def escaped(text: str) -> str:
    """Text in which nothing is Markdown, HTML or a mention, in one line."""
    plain = re.sub(r"([\\`*_{}\[\]<>|#~&])", r"\\\1", visible(text))
    return plain.replace("@", "&#64;")


def render_markdown(report: Report, earlier: Report | None = None) -> str:
    """The report in brief, in far fewer characters than a comment on GitHub may have.

    With an `earlier` one what changed since.
    """
    top = headline(report)
    lines = [
        f"### lowbg: {escaped(top.data)}",
        "",
        f"**{top.verdict}** {escaped(top.gate)}",
        "",
        f"Look at first: {escaped(top.look)}",
        "",
        *_table(("", "documents", "share", "stored", "words"), _totals(report)),
    ]
    if earlier is not None:
        lines += ["", "#### Since the earlier report", "", *_of_table(compared(report, earlier))]
    for title, rows in (
        ("language", report[LANGUAGES]), ("year", report[YEARS]), ("host", report[HOSTS].most_ai),
    ):  # fmt: skip
        scored = [row for row in rows if row.ai_share_of_scored is not None]
        if scored:
            lines += ["", *_shares(title, scored)]
    if report[PROBLEMS]:
        lines += ["", "#### Problems", ""]
        lines += [f"- {escaped(p.message[:300])}" for p in report[PROBLEMS][:_ROWS]]
        more = len(report[PROBLEMS]) - _ROWS
        lines += [f"- and {count_text(more)} more"] if more > 0 else []
    run = report[RUNS][-1]
    lines += ["", f"<sub>lowbg {escaped(run.version)}, policy `{run.policy_sha256[:12]}`</sub>"]
    return "\n".join(lines) + "\n"


def _totals(report: Report) -> Iterable[Sequence[str]]:
    totals = report[TOTALS]
    for name in ("human", "ai", "unscored", "quarantined"):
        own = getattr(totals, name)
        yield (
            name, count_text(own.documents), share_text(own.share_of_documents),
            bytes_text(own.bytes), count_text(own.words),
        )  # fmt: skip


def _shares(title: str, rows: Sequence[CountedRow]) -> list[str]:
    shown = rows[-_ROWS:] if title == "year" else rows[:_ROWS]
    cells = [
        (
            escaped(row.name), count_text(row.scored or 0), count_text(row.ai.documents),
            share_text(row.ai_share_of_scored), _interval(row.ai_share_of_scored_interval),
        )
        for row in shown
    ]  # fmt: skip
    lines = _table((title, "scored", "AI", "AI share", "95 % interval"), cells)
    more = len(rows) - len(shown)
    return [*lines, "", f"and {count_text(more)} more"] if more else lines


def _interval(interval: Sequence[float] | None) -> str:
    return "–" if interval is None else f"{share_text(interval[0])} – {share_text(interval[1])}"


def _of_table(table: Table) -> list[str]:
    return _table(
        [column.title for column in table.columns],
        [["–" if cell is None else escaped(str(cell)) for cell in row] for row in table.rows],
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table; what is in it is escaped by its maker."""
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]


def render_card(report: Report) -> str:
    """What a data set's card on the Hugging Face Hub takes: its YAML, and a paragraph with a table.

    The numbers are of all that was judged; the languages those in which a document was scored.
    """
    totals, run, estimate = report[TOTALS], report[RUNS][-1], report[ESTIMATE]
    documents = totals.documents - totals.quarantined.documents
    size = next((name for most, name in _SIZES if documents < most), "n>1T")
    languages = [
        row.name for row in report[LANGUAGES] if row.scored and row.name != UNKNOWN_LANGUAGE
    ]
    yaml = ["---"]
    if languages:
        yaml += ["language:", *(f"- {_quoted(name)}" for name in sorted(languages))]
    yaml += ["size_categories:", f"- {size}", "tags:", "- lowbg", "---", ""]
    text = [
        "## AI-likely text",
        "",
        f"{headline(report).verdict} Judged by lowbg "
        f"{escaped(run.version)}, rule `{run.policy.get('rule', 'calibrated')}`, at a target "
        f"false-positive rate of {share_text(run.policy.get('target_fpr'))}. A verdict is a "
        "measurement of style, not a proof of who wrote a text.",
        "",
        *_table(("", "documents", "share", "stored", "words"), _totals(report)),
        "",
    ]
    rows = [row for row in report[LANGUAGES] if row.ai_share_of_scored is not None]
    if rows:
        text += [*_shares("language", rows), ""]
    if estimate.estimate is None:
        text += [f"No estimate of the true share: {escaped(str(estimate.reason))}.", ""]
    text += [
        f"Policy SHA-256 `{run.policy_sha256}`; "
        + ", ".join(f"{name} `{own[:12]}`" for name, own in run.models.items() if name in languages)
    ]
    return "\n".join([*yaml, *text]) + "\n"


def _quoted(name: Any) -> str:
    """A language's code as YAML: `no` would be a truth value."""
    return f'"{name}"' if str(name) in ("no", "on", "off", "yes", "y", "n") else str(name)
