"""What could not be read, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from lowbg.amounts import count_text
from lowbg.report.naming import for_pages
from lowbg.report.results import ShardRow
from lowbg.report.sections.base import Block, Column, Line, Material, Note, Section, Table
from lowbg.storage.typed import Count, Open

_SHOWN = 200
_SHOWN_IN_TERMINAL = 3


class ToldProblem(Open, frozen=True):
    """A problem of a shard; `shard` is empty for one of all runs, `count` 0 for no record's.

    `advice` says what to do, beside what the message says.
    """

    shard: str
    kind: str
    message: str
    count: Count
    advice: str


def _collect(material: Material) -> list[ToldProblem]:
    problems = [
        ToldProblem(shard.shard, p.kind, p.message, p.count, _advice(p.kind, shard))
        for shard in material.shards
        for p in shard.problems
    ]
    for shard in material.shards:
        if not shard.balanced:
            message = f"{shard.shard}: records in and out differ. This is a defect of lowbg."
            problems.append(_whole_run("conservation", message, shard.shard))
    policies = {run.policy_sha256 for run in material.runs}
    if len(policies) > 1:
        message = f"The merged runs used {len(policies)} different policies; their verdicts differ."
        problems.append(_whole_run("policy", message, ""))
    elif len({tuple(sorted(run.models.items())) for run in material.runs}) > 1:
        message = "The merged runs used different tables or models; their verdicts differ."
        problems.append(_whole_run("policy", message, ""))
    return problems


def _whole_run(kind: str, message: str, shard: str) -> ToldProblem:
    return ToldProblem(shard, kind, message, 0, "")


def _advice(kind: str, shard: ShardRow) -> str:
    if kind == "missing_text" and shard.seen_fields:
        seen = ", ".join(shard.seen_fields[:12])
        return f"Text is in the fields {seen}. " + for_pages("Name the text with `fields.text`.")
    return ""


def _blocks(problems: list[ToldProblem]) -> Sequence[Block]:
    if not problems:
        return (Note("Every record was read, and every input was read to its end.", "good"),)
    columns = (
        Column("Shard", "code"),
        Column("Kind"),
        Column("Records", "count"),
        Column("First message"),
    )
    rows = [
        (p.shard, p.kind, p.count or None, f"{for_pages(p.message)} {p.advice}".strip())
        for p in problems[:_SHOWN]
    ]
    return (Table(columns, rows, more=max(0, len(problems) - _SHOWN)),)


def _lines(problems: list[ToldProblem]) -> Sequence[Line]:
    lines = []
    for problem in problems[:_SHOWN_IN_TERMINAL]:
        many = f" ({count_text(problem.count)} records)" if problem.count > 1 else ""
        text = f"{for_pages(problem.message)}{many} {problem.advice}".strip()
        lines.append(Line("problem", [text], "warning"))
    more = len(problems) - _SHOWN_IN_TERMINAL
    if more > 0:
        lines.append(Line("problem", [f"{count_text(more)} more in the report"], "warning"))
    return lines


SECTION = Section(20, "problems", "Problems", _collect, _blocks, _lines)
