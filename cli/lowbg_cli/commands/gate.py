"""`lowbg gate`: may this data set be released?"""

from __future__ import annotations

import dataclasses
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

from lowbg.config import GateGroup, Policy, RunConfig
from lowbg.errors import ConfigError, OutputError
from lowbg.settings import Heading, Written, setting
from lowbg.storage.whole_files import check_folder
from lowbg_cli import loading, terminal
from lowbg_cli.configure import (
    STDIN,
    STDOUT,
    ConfigOptions,
    Inputs,
    Quiet,
    WorkerOptions,
    find_shards,
    ready_workers,
    standard_input,
    standard_output,
)
from lowbg_cli.exits import ExitCode, if_interrupted
from lowbg_cli.groups import Given, Only, command, refuse
from lowbg_cli.outcome import tell_dates, tell_problems
from lowbg_cli.progress import progress_line

if TYPE_CHECKING:
    from lowbg.jobs.gate.evidence import Evidence
    from lowbg.jobs.gate.findings import GateResult


class Undecided(StrEnum):
    """What becomes of a gate that cannot be decided."""

    FAIL = "fail"
    PASS = "pass"


@dataclass(frozen=True, slots=True)
class Renderings:
    """Where the result goes, beside the table on stdout; null: nowhere."""

    undecided: Undecided = setting(
        "What a result is that the documents can't decide.", Undecided.FAIL, heading=Heading.OUTPUT
    )
    junit: Path | None = setting(
        "Write JUnit XML; - is standard output.",
        None,
        unit="FILE",
        heading=Heading.OUTPUT,
        written=Written.FILE,
        stdout=True,
    )
    json: Path | None = setting(
        "Write JSON; - is standard output.",
        None,
        unit="FILE",
        heading=Heading.OUTPUT,
        written=Written.FILE,
        stdout=True,
    )
    github: bool | None = setting(
        "Annotations and step summary.",
        None,
        flags="--github/--no-github",
        heading=Heading.OUTPUT,
        shown="where GITHUB_ACTIONS is true",
    )

    def check(self) -> None:
        """Raises `ConfigError` where a file can't be made; before anything is read."""
        files = [path for path in (self.junit, self.json) if path is not None]
        if files == [STDOUT, STDOUT]:
            raise ConfigError(f"--junit and --json are both {files[0]}; name two files")
        for path in files:
            if path == STDOUT:
                standard_output()
            elif path.is_dir():
                raise ConfigError(f"{path}: is a directory; name a file")
            check_folder(path)

    def write(self, result: GateResult, policy: Policy) -> None:
        """Writes every rendering that was asked for, and the table where stdout is free."""
        from lowbg.jobs.gate.render_json import render_json
        from lowbg.jobs.gate.render_junit import render_junit

        fails = self.undecided is Undecided.FAIL
        if self.json is not None:
            _write(self.json, render_json(result, policy))
        if self.junit is not None:
            _write(self.junit, render_junit(result, undecided_fails=fails))
        data_on_stdout = STDOUT in (self.json, self.junit)
        if not data_on_stdout:
            _print(_table(result))
        github = self.github
        if github is None:
            github = os.environ.get("GITHUB_ACTIONS") == "true"
        if github:
            self._to_github(result, fails, sys.stderr if data_on_stdout else sys.stdout)

    def _to_github(self, result: GateResult, fails: bool, stream: TextIO | None) -> None:
        from lowbg.jobs.gate.render_github import annotation_lines, step_summary

        lines = "".join(f"{line}\n" for line in annotation_lines(result, undecided_fails=fails))
        if stream is not None:
            stream.write(lines)
        summary = os.environ.get("GITHUB_STEP_SUMMARY")
        if summary:
            try:
                with Path(summary).open("a", encoding="utf-8") as file:
                    file.write(step_summary(result))
            except OSError as error:
                message = f"{summary}: the step summary can't be written ({error.strerror})"
                raise OutputError(message) from error

    def end(self, result: GateResult, *, quiet: bool) -> ExitCode:
        """The result in a line on stderr, and its exit code."""
        from lowbg.jobs.gate.findings import Status
        from lowbg.jobs.gate.texts import summary

        status = result.status
        bad = status is not Status.PASS
        if bad and not (status is Status.UNDECIDED and self.undecided is Undecided.PASS):
            terminal.error(summary(result))
            return ExitCode.INCOMPLETE if status is Status.ERROR else ExitCode.JUDGED_BAD
        if not quiet:
            (terminal.warning if bad else terminal.say)(summary(result))
        return ExitCode.FINISHED


@dataclass(frozen=True, slots=True)
class Draw:
    """Which documents are judged; null: all."""

    sample: int | None = setting(
        "Judge N documents, drawn at random from all.", None, unit="N", least=1
    )
    seed: int | None = setting("What is drawn.", None, unit="N", shown="0")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateInputs(Inputs):
    """What is judged."""

    given: tuple[str, ...] = setting(
        "Data as for filter; or outputs of finished runs, or their report.json.", flags="INPUT"
    )


@command
def gate_command(
    *,
    inputs: GateInputs,
    options: Annotated[
        ConfigOptions,
        Only(
            (
                *("file", "gate", "fields", "trust.before", "decision.tables"),
                *("sources.table", "sources.whole", "extras.lm"),
                *("max_record_bytes", "batch_bytes", "force"),
            ),
            without=("fields.id",),
        ),
    ],
    draw: Draw,
    workers: Annotated[WorkerOptions, Only(("workers", "executor", "ray_address"))],
    quiet: Quiet = False,
    renderings: Renderings,
    given: Given,
) -> ExitCode:
    """Pass or fail a data set, or a finished run, by limits.

    Exit 0: passed. 1: failed, or too few documents to decide (--undecided pass: 0). 3: some input
    could not be read whole. The table goes to stdout, a one-line summary to stderr. A report is
    judged by what its run read; to judge what it wrote, give DIR/human.

    \b
      lowbg gate data/ --policy policy.toml --junit gate.xml
      lowbg gate data/ --max-ai-share 0.05 --max-phrase-hits refusal=0
    """
    if draw.sample is None:
        refuse(given.among("--seed"), "only with --sample")
    config = options.resolve()
    renderings.check()

    from lowbg.jobs.gate.rules import check_gate, judge

    check_gate(config.policy.gate)
    # Options that say how to read data, of which a report needs none.
    reading = [
        *given.among("--sample", "--exclude"),
        *options.changes.within("fields"),
        *given.of(WorkerOptions),
        *options.changes.within("max_record_bytes"),
        *options.changes.within("force"),
        *options.changes.within("extras.lm"),
    ]
    evidence = _gather(inputs, config, draw, workers, reading, quiet=quiet)
    result = _worded(judge(config.policy.gate, evidence))
    for note in () if quiet else evidence.notes:
        terminal.warning(note)
    tell_problems(evidence.results, None, quiet=quiet, strict=False)
    by_date = config.policy.trust_before or GateGroup.YEAR in config.policy.gate.max_ai_share_by
    if by_date and not quiet:
        tell_dates([evidence.statistics])
    renderings.write(result, config.policy)
    return renderings.end(result, quiet=quiet)


def _worded(result: GateResult) -> GateResult:
    """The result in the words of this command, in every rendering."""
    findings = (
        dataclasses.replace(
            finding,
            reason=terminal.worded(finding.reason),
            places=tuple(
                dataclasses.replace(place, text=terminal.worded(place.text))
                for place in finding.places
            ),
        )
        for finding in result.findings
    )
    return dataclasses.replace(result, findings=tuple(findings))


def _gather(
    inputs: Inputs,
    config: RunConfig,
    draw: Draw,
    workers: WorkerOptions,
    reading: Sequence[str],
    *,
    quiet: bool,
) -> Evidence:
    """What there is to judge: from reports, or from the data itself."""
    from lowbg.jobs.gate.reports import report_evidence, report_paths

    given = inputs.given
    first = "standard input" if given[0] == STDIN else given[0]
    subject = first if len(given) == 1 else f"{first} and {len(given) - 1} more"
    reports = report_paths(given)
    if reports is not None:
        refuse(reading, f"{given[0]} is a report, not data to read")
        return report_evidence(reports, config.policy, subject)
    found = find_shards(inputs, None, quiet=quiet)
    shards = found.shards
    standard_input(shards)
    count, executor = workers.resolve(shards, config.extras)
    if draw.sample is None:
        ready_workers(count, executor, shards, "lowbg.jobs.gate.scan")
    with loading.for_good():
        from lowbg.jobs.gate.sampling import scan_sample
        from lowbg.jobs.gate.scan import GateJob, scan

    job = GateJob(shards, config, count, executor, subject, found.left_out)
    with if_interrupted("Nothing was judged."), progress_line(shards, quiet=quiet) as observer:
        if draw.sample is not None:
            return scan_sample(job, draw.sample, draw.seed or 0, observer)
        return scan(job, observer)


def _table(result: GateResult) -> str:
    """The table as text that suits stdout: in colour on a terminal only."""
    from lowbg.jobs.gate.render_terminal import render_terminal

    text = io.StringIO()
    stdout = sys.stdout
    color = stdout is not None and stdout.isatty() and not os.environ.get("NO_COLOR")
    # Not to the stream itself: rich ends the program when its pipe breaks.
    render_terminal(result, text, color=color)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def _print(text: str) -> None:
    if sys.stdout is not None:
        sys.stdout.write(text)


def _write(path: Path, data: bytes) -> None:
    from lowbg.storage.whole_files import write_whole

    if path == STDOUT:
        standard_output().write(data)
    else:
        write_whole(path, data)
