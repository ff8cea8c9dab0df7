"""The first screen of a report: what was judged, the verdict in a sentence, and four figures."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from lowbg.amounts import count_text, counted, share_text
from lowbg.report.collect import Report
from lowbg.report.estimate import keeps_to
from lowbg.report.sections.estimate import SECTION as ESTIMATE
from lowbg.report.sections.hosts import SECTION as HOSTS
from lowbg.report.sections.problems import SECTION as PROBLEMS
from lowbg.report.sections.runs import SECTION as RUNS
from lowbg.report.sections.shards import SECTION as SHARDS
from lowbg.report.sections.strata import SECTION as FAIRNESS
from lowbg.report.sections.totals import SECTION as TOTALS

_MUCH_UNSCORED = 0.2
_MUCH_LOST = 0.01


class Figure(Struct, frozen=True):
    """A number, what it is of, and what there is to add."""

    value: str
    label: str
    note: str = ""


class Headline(Struct, frozen=True):
    """What a reader sees first.

    `verdict` is a sentence; `gate` says what the policy's limit on the AI share makes of it;
    `gate_status` is "good", "warning" or "info"; `look` is what to look at first, and `section` the
    key of the section where.
    """

    data: str
    verdict: str
    gate: str
    gate_status: str
    look: str
    section: str
    figures: Sequence[Figure]


def headline(report: Report) -> Headline:
    """The first screen of a report."""
    totals = report[TOTALS]
    gate, status = _gate(report)
    look, section = _look(report)
    return Headline(
        data=data_name([shard.source for shard in report[SHARDS]]),
        verdict=_verdict(report),
        gate=gate,
        gate_status=status,
        look=look,
        section=section,
        figures=(
            Figure(
                count_text(totals.records),
                "record" if totals.records == 1 else "records",
                f"in {counted(len(report[SHARDS]), 'shard')}",
            ),
            Figure(
                share_text(totals.ai_share_of_scored),
                "AI of scored documents",
                f"{count_text(totals.ai.documents)} documents",
            ),
            Figure(
                share_text(totals.unscored.share_of_documents),
                "not scored",
                f"{count_text(totals.unscored.documents)} documents",
            ),
            Figure(
                count_text(totals.quarantined.documents),
                "in quarantine",
                share_text(totals.quarantined.share_of_documents),
            ),
        ),
    )


def data_name(sources: Sequence[str]) -> str:
    """What to call the data that these files are: a file, or the folder that all lie in."""
    distinct = sorted(set(sources))
    if not distinct:
        return "no data"
    if distinct == ["-"]:
        return "standard input"
    if len(distinct) == 1:
        return posixpath.basename(distinct[0].rstrip("/")) or distinct[0]
    plain = [source.partition("://")[2] or source for source in distinct]
    folders = [posixpath.dirname(path) for path in plain]
    absolute = {folder.startswith("/") for folder in folders}
    common = posixpath.commonpath(folders) if len(absolute) == 1 else ""
    name = posixpath.basename(common)
    if name:
        return name
    first = posixpath.basename(plain[0])
    return f"{first} and {counted(len(distinct) - 1, 'more file')}"


def _verdict(report: Report) -> str:
    totals, estimate = report[TOTALS], report[ESTIMATE]
    interval = totals.ai_share_of_scored_interval
    if interval is None:
        return "No document could be scored."
    text = (
        f"{share_text(totals.ai_share_of_scored)} of the scored documents are AI-likely "
        f"(95 % interval {share_text(interval[0])} to {share_text(interval[1])})"
    )
    if estimate.estimate is None:
        return f"{text}."
    return (
        f"{text}; allowing for wrong verdicts about {share_text(estimate.estimate)} "
        f"({share_text(estimate.low)} to {share_text(estimate.high)})."
    )


def _gate(report: Report) -> tuple[str, str]:
    """What the limit on the AI share in the policy of the last run makes of it.

    By the statistic that the policy names, as `lowbg gate` judges a whole report.
    """
    gate: dict[str, Any] = report[RUNS][-1].policy.get("gate") or {}
    limit = gate.get("max_ai_share")
    if limit is None:
        return "The policy sets no limit on the AI share.", "info"
    totals, estimate = report[TOTALS], report[ESTIMATE]
    value, interval = totals.ai_share_of_scored, totals.ai_share_of_scored_interval
    statistic = gate.get("statistic", "upper")
    if statistic != "raw" and estimate.estimate is not None:
        value, interval = estimate.estimate, [*estimate.interval]
    named = f"the limit of {share_text(limit)}"
    if value is None or interval is None or (statistic == "estimate" and estimate.estimate is None):
        return f"Nothing is known to compare with {named}.", "warning"
    kept = keeps_to(limit, value, interval if statistic == "upper" else None)
    if kept is None:
        return f"Undecided: {named} lies within the interval.", "warning"
    return (f"Keeps to {named}.", "good") if kept else (f"Fails {named}.", "warning")


def _look(report: Report) -> tuple[str, str]:
    totals = report[TOTALS]
    broken = [shard for shard in report[SHARDS] if not shard.complete]
    if broken:
        whole = counted(len(report[SHARDS]), "shard")
        return f"{count_text(len(broken))} of {whole} could not be read whole.", PROBLEMS.key
    if (totals.quarantined.share_of_documents or 0.0) > _MUCH_LOST:
        many = counted(totals.quarantined.documents, "record")
        return f"{many} could not be read.", "rejected"
    if beyond := report[FAIRNESS].beyond:
        rate = share_text(beyond[0].false_positive_rate)
        return (
            f"{rate} of the human documents of {beyond[0].by} {beyond[0].name} are called AI.",
            FAIRNESS.key,
        )
    unscored = totals.unscored.share_of_documents or 0.0
    if unscored > _MUCH_UNSCORED:
        return f"{share_text(unscored)} of the records could not be scored.", "unscored"
    if report[HOSTS].most_ai:
        host = report[HOSTS].most_ai[0]
        many = counted(host.ai.documents, "AI document")
        return f"{host.name} has the most AI text: {many}.", HOSTS.key
    return "Read the most uncertain documents.", "documents"
