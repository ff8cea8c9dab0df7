"""Two reports side by side: what is another than it was."""

from __future__ import annotations

from collections.abc import Iterator

from lowbg.amounts import count_text, share_text
from lowbg.report.collect import Report
from lowbg.report.sections.base import Column, Table
from lowbg.report.sections.estimate import SECTION as ESTIMATE
from lowbg.report.sections.languages import SECTION as LANGUAGES
from lowbg.report.sections.runs import SECTION as RUNS
from lowbg.report.sections.totals import SECTION as TOTALS

_LANGUAGES = 8


def compared(report: Report, earlier: Report) -> Table:
    """The figures of both. A change of a share is told where the two intervals don't overlap."""
    columns = (Column("Metric"), Column("Earlier"), Column("Now"), Column("Change"))
    return Table(columns, [*_counts(report, earlier), *_shares(report, earlier)])


def _counts(report: Report, earlier: Report) -> Iterator[tuple[str, str, str, str]]:
    before, now = earlier[TOTALS], report[TOTALS]
    yield _count("records", before.records, now.records)
    for name in ("human", "ai", "unscored", "quarantined"):
        yield _count(name, getattr(before, name).documents, getattr(now, name).documents)
    policies = [each[RUNS][-1].policy_sha256 for each in (earlier, report)]
    same = "the same" if policies[0] == policies[1] else "another: verdicts differ by it, too"
    yield ("policy", policies[0][:12], policies[1][:12], same)
    models = [each[RUNS][-1].models for each in (earlier, report)]
    yield ("tables", "", "", "the same" if models[0] == models[1] else "others")


def _count(name: str, before: int, now: int) -> tuple[str, str, str, str]:
    return name, count_text(before), count_text(now), _signed(f"{now - before:+,}")


def _shares(report: Report, earlier: Report) -> Iterator[tuple[str, str, str, str]]:
    before, now = earlier[TOTALS], report[TOTALS]
    yield _share(
        "AI share of scored",
        (before.ai_share_of_scored, before.ai_share_of_scored_interval),
        (now.ai_share_of_scored, now.ai_share_of_scored_interval),
    )
    estimates = [
        (own.estimate, None if own.estimate is None else [*own.interval])
        for own in (earlier[ESTIMATE], report[ESTIMATE])
    ]
    if any(value is not None for value, _ in estimates):
        yield _share("AI share, estimated", *estimates)
    known = {row.name: row for row in earlier[LANGUAGES]}
    for row in report[LANGUAGES][:_LANGUAGES]:
        if row.name in known and row.scored:
            old = known[row.name]
            yield _share(
                f"AI share, {row.name}",
                (old.ai_share_of_scored, old.ai_share_of_scored_interval),
                (row.ai_share_of_scored, row.ai_share_of_scored_interval),
            )


_Interval = tuple[float | None, list[float] | None]


def _share(name: str, before: _Interval, now: _Interval) -> tuple[str, str, str, str]:
    change = "–"
    if before[0] is not None and now[0] is not None and before[1] and now[1]:
        apart = now[1][0] > before[1][1] or now[1][1] < before[1][0]
        points = _signed(f"{100 * (now[0] - before[0]):+.2f} points")
        change = points if apart else f"{points}, within the intervals"
    return name, _text(before), _text(now), change


def _signed(number: str) -> str:
    """A number as it is printed: a minus is no hyphen."""
    return number.replace("-", "−", 1)


def _text(own: _Interval) -> str:
    value, interval = own
    if interval is None:
        return share_text(value)
    return f"{share_text(value)} ({share_text(interval[0])} – {share_text(interval[1])})"
