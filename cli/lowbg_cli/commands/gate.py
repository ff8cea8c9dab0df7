"""`lowbg gate`: may this data set be released?"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from lowbg.config import ExecutorName, Policy, RunConfig
from lowbg.errors import ConfigError, OutputError
from lowbg_cli import gate_options, loading, options, terminal
from lowbg_cli.configure import (
    STDIN,
    FieldOptions,
    PolicyOptions,
    WorkerOptions,
    batch_bytes,
    find_shards,
    ready_workers,
    standard_input,
    standard_output,
)
from lowbg_cli.exits import ExitCode, if_interrupted
from lowbg_cli.gate_options import GateOptions
from lowbg_cli.outcome import tell_problems
from lowbg_cli.progress import progress_line

if TYPE_CHECKING:
    from lowbg.jobs.gate.evidence import Evidence
    from lowbg.jobs.gate.findings import GateResult

DEFAULTS = RunConfig()
FIELDS = DEFAULTS.fields
STDOUT = "-"


class Undecided(StrEnum):
    """What becomes of a gate that cannot be decided."""

    FAIL = "fail"
    PASS = "pass"


@dataclass(frozen=True, slots=True)
class Renderings:
    """Where the result goes, beside the table on stdout; null: nowhere."""

    undecided: Undecided
    junit: Path | None
    json: Path | None
    github: bool
    quiet: bool

    def check(self) -> None:
        """Raises `ConfigError` where a file can't be made; before anything is read."""
        files = [path for path in (self.junit, self.json) if path is not None]
        if len(files) == 2 and files[0] == files[1]:
            raise ConfigError(f"--junit and --json are both {files[0]}; name two files")
        for path in files:
            if str(path) == STDOUT:
                standard_output()
            elif path.is_dir() or not path.parent.is_dir():
                what = "is a directory" if path.is_dir() else "its directory doesn't exist"
                raise ConfigError(f"{path}: {what}; name a file")

    def write(self, result: GateResult, policy: Policy) -> None:
        """Writes every rendering that was asked for, and the table where stdout is free."""
        from lowbg.jobs.gate.render_json import render_json
        from lowbg.jobs.gate.render_junit import render_junit

        fails = self.undecided is Undecided.FAIL
        if self.json is not None:
            _write(self.json, render_json(result, policy))
        if self.junit is not None:
            _write(self.junit, render_junit(result, undecided_fails=fails))
        data_on_stdout = STDOUT in (str(self.json), str(self.junit))
        if not data_on_stdout:
            _print(_table(result))
        if self.github:
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

    def end(self, result: GateResult) -> ExitCode:
        """The result in a line on stderr, and its exit code."""
        from lowbg.jobs.gate.findings import Status
        from lowbg.jobs.gate.texts import summary

        status = result.status
        bad = status is not Status.PASS
        if bad and not (status is Status.UNDECIDED and self.undecided is Undecided.PASS):
            terminal.error(summary(result))
            return ExitCode.INCOMPLETE if status is Status.ERROR else ExitCode.JUDGED_BAD
        if not self.quiet:
            (terminal.warning if bad else terminal.say)(summary(result))
        return ExitCode.FINISHED


def gate_command(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Data as for filter; or outputs of finished runs, or their report.json.",
            show_default=False,
        ),
    ],
    policy: options.PolicyFile = None,
    max_ai_share: gate_options.MaxAiShare = None,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample", metavar="N", min=1, help="Judge N documents, drawn at random from all."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="What is drawn. [default: 0]")
    ] = None,
    text_field: options.TextField = FIELDS.text,
    workers: options.Workers = None,
    quiet: options.Quiet = False,
    statistic: gate_options.Statistic = None,
    max_ai_share_by: gate_options.MaxAiShareBy = None,
    source_field: gate_options.SourceField = None,
    min_group_documents: gate_options.MinGroupDocuments = None,
    max_phrase_hits: gate_options.MaxPhraseHits = None,
    max_quarantined_share: gate_options.MaxQuarantinedShare = None,
    min_human_token_share: gate_options.MinHumanTokenShare = None,
    min_scored_documents: gate_options.MinScoredDocuments = None,
    undecided: Annotated[
        Undecided,
        typer.Option(
            "--undecided",
            help="What a result is that the documents can't decide.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = Undecided.FAIL,
    junit: Annotated[
        Path | None,
        typer.Option(
            "--junit",
            metavar="FILE",
            help="Write JUnit XML; - is standard output.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    json_to: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Write JSON; - is standard output.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    github: Annotated[
        bool | None,
        typer.Option(
            "--github/--no-github",
            help="Annotations and step summary. [default: where GITHUB_ACTIONS is true]",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    lang_field: options.LangField = FIELDS.language,
    date_field: options.DateField = None,
    url_field: options.UrlField = FIELDS.url,
    max_record_bytes: options.MaxRecordBytes = DEFAULTS.max_record_bytes,
    trust_before: options.TrustBefore = None,
    executor: options.Executor = None,
    batch_size: options.BatchBytes = None,
) -> ExitCode:
    """Pass or fail a data set, or a finished run, by limits.

    Exit 0: passed. 1: failed, or too few documents to decide (--undecided pass: 0). 3: some input
    could not be read whole. The table goes to stdout, a one-line summary to stderr. A report is
    judged by what its run read; to judge what it wrote, give DIR/human.

    \b
      lowbg gate data/ --policy policy.toml --junit gate.xml
      lowbg gate data/ --max-ai-share 0.05 --max-phrase-hits refusal=0
    """
    if seed is not None and sample is None:
        raise ConfigError("--seed: only with --sample")
    decision = PolicyOptions(file=policy, trust_before=trust_before).resolve()
    limits = GateOptions(
        max_ai_share, statistic, max_ai_share_by, source_field, min_group_documents,
        max_phrase_hits, max_quarantined_share, min_human_token_share, min_scored_documents,
    )  # fmt: skip
    decision = replace(decision, gate=limits.resolve(decision.gate))
    if github is None:
        github = os.environ.get("GITHUB_ACTIONS") == "true"
    renderings = Renderings(undecided, junit, json_to, github, quiet)
    renderings.check()

    from lowbg.jobs.gate.rules import check_gate, judge

    check_gate(decision.gate)
    fields = FieldOptions(text_field, FIELDS.id, lang_field, date_field, url_field)
    config = RunConfig(
        fields=fields.resolve(decision), policy=decision,
        batch_bytes=batch_bytes(batch_size), max_record_bytes=max_record_bytes,
    )  # fmt: skip
    evidence = _gather(
        inputs, config, sample, seed or 0,
        _reading_options(config, date_field, workers, executor, sample),
        WorkerOptions(workers, executor), quiet,
    )  # fmt: skip
    result = judge(decision.gate, evidence)
    tell_problems(evidence.results, None, quiet=quiet, strict=False)
    renderings.write(result, decision)
    return renderings.end(result)


def _reading_options(
    config: RunConfig,
    date_field: str | None,
    workers: int | None,
    executor: ExecutorName | None,
    sample: int | None,
) -> list[str]:
    """The options that were given and say how to read data, which a report needs none of."""
    given = {
        "--sample": sample is not None,
        "--text-field": config.fields.text != FIELDS.text,
        "--lang-field": config.fields.language != FIELDS.language,
        "--date-field": date_field is not None,
        "--url-field": config.fields.url != FIELDS.url,
        "--workers": workers is not None,
        "--executor": executor is not None,
        "--max-record-bytes": config.max_record_bytes != DEFAULTS.max_record_bytes,
    }
    return [name for name, is_given in given.items() if is_given]


def _gather(
    inputs: Sequence[str],
    config: RunConfig,
    sample: int | None,
    seed: int,
    reading: Sequence[str],
    workers: WorkerOptions,
    quiet: bool,
) -> Evidence:
    """What there is to judge: from reports, or from the data itself."""
    from lowbg.jobs.gate.reports import report_evidence, report_paths

    first = "standard input" if inputs[0] == STDIN else inputs[0]
    subject = first if len(inputs) == 1 else f"{first} and {len(inputs) - 1} more"
    reports = report_paths(inputs)
    if reports is not None:
        if reading:
            raise ConfigError(f"{', '.join(reading)}: {inputs[0]} is a report, not data to read")
        return report_evidence(reports, config.policy, subject)
    found = find_shards(inputs, None, quiet=quiet)
    shards = found.shards
    standard_input(shards)
    count, executor = workers.resolve(shards)
    if sample is None:
        ready_workers(count, executor, shards, "lowbg.jobs.gate.scan")
    with loading.for_good():
        from lowbg.jobs.gate.sampling import scan_sample
        from lowbg.jobs.gate.scan import GateJob, scan

    job = GateJob(shards, config, count, executor, subject, found.skipped)
    with (
        if_interrupted("Nothing was judged."),
        progress_line(shards, quiet=quiet) as observer,
    ):
        if sample is not None:
            return scan_sample(job, sample, seed, observer)
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
    from lowbg.storage.files import write_whole

    if str(path) == STDOUT:
        standard_output().write(data)
    else:
        write_whole(path, data)
