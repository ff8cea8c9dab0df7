"""What a run's outcome means: summary and located messages on stderr, and an exit code."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from lowbg.settings import SHARE, Heading, setting
from lowbg_cli import terminal
from lowbg_cli.exits import ExitCode

if TYPE_CHECKING:
    from lowbg.report import Report
    from lowbg.report.results import Problem, ShardResult
    from lowbg.report.statistics import Statistics
    from lowbg.runs.engine import Engine
    from lowbg.runs.job import Outcome

MESSAGES_A_KIND = 5
"""More of one kind of problem are only counted: they are in the report."""

_FIELDS_NAMED = 20


@dataclass(frozen=True, slots=True)
class ExitRules:
    """How an outcome is told and judged."""

    quiet: bool = setting("Nothing on stderr but errors.", False, flags="--quiet -q")
    fail_above: float | None = setting(
        "Exit 1 when the AI share of the scored documents is higher (0 to 1).",
        None,
        unit=SHARE,
        heading=Heading.EXIT,
        least=0.0,
        most=1.0,
    )
    strict: bool = setting(
        "Exit 3 also when any record was quarantined.", False, heading=Heading.EXIT
    )

    def end(self, outcome: Outcome, report: str | None) -> ExitCode:
        """Summary and problems on stderr; the exit code. `report` is where all of it is stored."""
        if not self.quiet:
            # Problems are told below, a line each, for grep.
            terminal.show(summary(outcome.report, sys.stderr, ("problems",), own=True))
        tell_problems(outcome.shards, report, quiet=self.quiet, strict=self.strict)
        found = any(each.records or each.problems for each in outcome.shards)
        # One of several runs that share shards out may have none.
        if not self.quiet and outcome.shards and not found:
            terminal.warning("there is no record in the input")
        warning = undated(outcome.report)
        if warning and not self.quiet:
            terminal.warning(warning)
        if report is not None and report.endswith("/report.json") and not self.quiet:
            terminal.say(f"next: {next_step(outcome, report)}")
        code = exit_code(outcome, strict=self.strict)
        if self.fail_above is None:
            return code
        if not outcome.scored:
            terminal.warning("no document was scored: --fail-above had nothing to judge")
        if outcome.ai_share <= self.fail_above:
            return code
        terminal.error(
            f"the AI share of the {outcome.scored:,} scored documents is "
            f"{outcome.ai_share:.4f}, above --fail-above {self.fail_above:g}"
        )
        # The share of a part of the input is no verdict on the whole: 3 goes first.
        return code or ExitCode.JUDGED_BAD


def next_step(outcome: Outcome, report: str) -> str:
    """What to do with a finished run whose report is there, in a line."""
    from lowbg.report.headline import headline
    from lowbg.report.sections.dates import SECTION as DATES
    from lowbg.report.sections.estimate import SECTION as ESTIMATE
    from lowbg.storage.objects import is_object_url

    if not outcome.complete:
        return "see the errors above, then the same command with --resume"
    if is_object_url(report):
        see = f"lowbg report {report.removesuffix('/report.json')} -o report.html"
    else:
        see = f"open {report.removesuffix('.json')}.html#{headline(outcome.report).section}"
    if outcome.report[ESTIMATE].estimate is None and outcome.report[DATES].read:
        return f"{see}; --trust-before DATE would give an estimate of the AI share"
    return f"{see}; then lowbg gate, or lowbg calibrate on text of your own"


def summary(
    report: Report, stream: TextIO | None, leave_out: Sequence[str] = (), *, own: bool = False
) -> str:
    """A report's summary as text that suits `stream`: in colour on a terminal only.

    `own`: time and size are those of the last run, which has just ended.
    """
    from lowbg.report.render_terminal import render_terminal
    from lowbg.report.sections.runs import SECTION as RUNS

    last = report[RUNS][-1] if own else None
    text = io.StringIO()
    color = stream is not None and stream.isatty() and not os.environ.get("NO_COLOR")
    # Not to the stream itself: rich ends the program when its pipe breaks.
    render_terminal(report, text, color=color, leave_out=leave_out, own=last)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def tell_problems(
    shards: Sequence[ShardResult], report: str | None, *, quiet: bool, strict: bool
) -> None:
    """Says what went wrong with shards, and unless `quiet` what was quarantined.

    `report` is where the whole of it is written down, null where nowhere. Under `strict` a
    quarantined record is an error like any other.
    """
    from lowbg.errors import ProblemKind

    found = [problem for shard in shards for problem in shard.problems]
    of_shards = [problem for problem in found if problem.count == 0]
    of_records = [problem for problem in found if problem.count > 0]
    for problems, speak, silent in (
        (of_shards, terminal.error, False),
        (of_records, terminal.error if strict else terminal.warning, quiet and not strict),
    ):
        if not silent:
            for kind in dict.fromkeys(problem.kind for problem in problems):
                for message in _messages([p for p in problems if p.kind == kind], report):
                    speak(message)
    # A shard that was given up for that has said so, and what to do.
    given_up = any(problem.kind == ProblemKind.NO_TEXT for problem in of_shards)
    hint = "" if given_up else text_field_hint(shards)
    if hint:
        terminal.error(hint)
    elif none_readable(shards) and not given_up:
        terminal.error(f"no record could be read. {_why_none(of_records)}")


def tell_silent(engine: Engine, *, quiet: bool = False) -> None:
    """Says why the LM that the policy knows, or that runs, changes no verdict, where that is so."""
    silent = engine.why_silent()
    if silent is not None and not quiet:
        terminal.warning(silent)


def tell_broken(shards: Sequence[ShardResult]) -> bool:
    """Says which shards could not be read to their end; whether there are any."""
    broken = [problem for shard in shards for problem in shard.problems if not problem.count]
    for problem in broken:
        terminal.error(problem.message)
    return bool(broken)


def _why_none(problems: Sequence[Problem]) -> str:
    """What to do about an input of which no record could be read."""
    from lowbg.errors import ProblemKind

    if all(problem.kind == ProblemKind.TOO_LARGE for problem in problems):
        return "All are larger than --max-record-bytes allows."
    from lowbg.formats import titles

    return f"Is the input {titles()}, and does --text-field name the text?"


def undated(report: Report) -> str:
    """What to say where documents were to be trusted by date and none has one; else empty."""
    from lowbg.report.sections.dates import SECTION as DATES
    from lowbg.report.sections.runs import SECTION as RUNS

    run, dates = report[RUNS][-1], report[DATES]
    before = run.policy["trust_before"]
    if before is None or dates.read:
        return ""
    found = f"no document has a date in the field {run.configuration['fields']['date']!r}"
    if dates.placeholder or dates.not_understood:
        found = f"{found} that is one, such as 2021-01-31"
    return (
        f"{found}, so none is trusted as dated before {before}. Name the field with --date-field."
    )


def tell_dates(counted: Iterable[Statistics]) -> None:
    """Says which documents have a date that is none, for who asks for dates and shows no report."""
    from lowbg.report.sections.dates import told
    from lowbg.report.statistics import merged

    for sentence in told(merged(counted)):
        terminal.warning(sentence.removesuffix("."))


def _messages(problems: Sequence[Problem], report: str | None) -> list[str]:
    shown = problems[:MESSAGES_A_KIND]
    messages = [problem.message for problem in shown]
    rest = sum(max(problem.count, 1) for problem in problems) - len(shown)
    if rest:
        where = f"; see {report}" if report else ""
        kind = problems[0].kind.replace("_", " ")
        messages.append(f"and {rest:,} more ({kind}){where}")
    return messages


def text_field_hint(shards: Sequence[ShardResult]) -> str:
    """What to do when no record at all has the text field; empty where some have."""
    problems = [problem for shard in shards for problem in shard.problems]
    missing = sum(p.count for p in problems if p.kind == "missing_text")
    if not missing or missing != sum(shard.records for shard in shards):
        return ""
    from lowbg.report.results import fields_of

    fields = fields_of(shards)
    named = ", ".join(fields[:_FIELDS_NAMED]) + (", …" if len(fields) > _FIELDS_NAMED else "")
    return (
        f"no record has the text field; text is in: {named or 'no field'}. "
        "Name the one that holds the text with --text-field."
    )


def none_readable(shards: Sequence[ShardResult]) -> bool:
    """Whether there are records, and every one of them was quarantined."""
    records = sum(shard.records for shard in shards)
    return 0 < records == sum(shard.statistics.documents()["quarantined"] for shard in shards)


def exit_code(outcome: Outcome, *, strict: bool) -> ExitCode:
    """3 where an input was not processed whole, or no record at all could be read; else 0."""
    if not outcome.complete or (strict and outcome.quarantined):
        return ExitCode.INCOMPLETE
    if none_readable(outcome.shards):
        return ExitCode.INCOMPLETE
    return ExitCode.FINISHED
