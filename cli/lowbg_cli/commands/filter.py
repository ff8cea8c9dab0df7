"""`lowbg filter`: the main job, into a directory or as a part of a pipeline."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lowbg.amounts import counted
from lowbg.config import Changed, Existing, RunConfig
from lowbg.settings import Setting, Written
from lowbg_cli import loading, terminal
from lowbg_cli.configure import (
    ConfigOptions,
    Inputs,
    WorkerOptions,
    command_line,
    find_shards,
    ready_workers,
    standard_input,
)
from lowbg_cli.directory import DirectoryOptions, refuse_directory_options, run_in_directory
from lowbg_cli.exits import ExitCode, if_interrupted
from lowbg_cli.groups import Given, Only, command, refuse
from lowbg_cli.outcome import ExitRules
from lowbg_cli.piping import PipeOptions
from lowbg_cli.plan import check_existing, print_plan
from lowbg_cli.progress import progress_line

if TYPE_CHECKING:
    from lowbg.runs.job import Outcome


@command
def filter_command(
    *,
    inputs: Inputs,
    output: Annotated[
        Path | None,
        Setting(
            "Write everything into a directory, or to a store (s3://, gs://, az://).",
            flags="--output -o",
            unit="DIR",
            written=Written.STORE,
        ),
    ] = None,
    pipe: PipeOptions,
    options: Annotated[ConfigOptions, Only(without=("gate",))],
    workers: WorkerOptions,
    directory: DirectoryOptions,
    exit_rules: ExitRules,
    given: Given,
    dry_run: Annotated[
        bool, Setting("Print the configuration and the shards; make nothing.", flags="--dry-run")
    ] = False,
) -> ExitCode:
    """Split shards into human-likely and AI-likely, with a report.

    Every record goes to exactly one place. With -o DIR: human/ and ai/ mirror the input, beside
    quarantine/, report.json, report.html and manifest.json. Without: human lines go to stdout.

    \b
      lowbg filter dump/ -o OUT
      lowbg filter incoming/ -o OUT --incremental
      zstd -dc dump.jsonl.zst | lowbg filter - --ai-to ai.jsonl.zst > human.jsonl
    """
    config = options.resolve()
    if config.policy.sources.table is None:
        refuse(options.changes.within("sources"), "only with --sources")
    if output is None:
        refuse_directory_options(given)
        return _into_stream(inputs, pipe, workers, config, exit_rules, dry_run=dry_run)
    refuse(given.of(PipeOptions), f"only without -o; with it everything goes to {output}")
    return _into_directory(inputs, output, directory, workers, config, exit_rules, dry_run=dry_run)


def _into_directory(
    inputs: Inputs,
    output: Path,
    directory: DirectoryOptions,
    hands: WorkerOptions,
    config: RunConfig,
    exit_rules: ExitRules,
    *,
    dry_run: bool,
) -> ExitCode:
    existing = directory.existing
    incremental = existing is Existing.INCREMENTAL
    found = find_shards(inputs, output, quiet=exit_rules.quiet, may_be_empty=incremental)
    part = directory.part(found.shards, output)
    shards, output = part.shards, part.output
    stdin = standard_input(shards)
    if stdin is not None:
        from lowbg.runs.stdin import named_by_content

        shards = named_by_content(shards, stdin)
    workers, executor = hands.resolve(shards, config.extras)
    threads = hands.threads_each(workers, shards)
    config = replace(config, threads=threads)
    if dry_run:
        if part.published is None:
            check_existing(output, existing, grows=part.split is None)
        where = {"output": part.shown, "workers": workers, "executor": executor}
        print_plan(where, config, shards)
        return ExitCode.FINISHED
    ready_workers(workers, executor, shards, "lowbg.jobs.filter")
    with loading.for_good():
        from lowbg.jobs.filter import FilterJob, filter_shards

    job = FilterJob(
        shards=shards,
        output=output,
        config=config,
        workers=workers,
        executor=executor,
        existing=existing,
        durability=directory.durability,
        retries=directory.retries,
        command=command_line(),
        left_out=found.left_out,
        changed=directory.changed or Changed.REFUSE,
        split=part.split,
        whole=part.whole,
        published=part.published,
        share=hands.share(),
        reserve=directory.reserve,
    )
    return run_in_directory(
        lambda observer: filter_shards(job, observer),
        shards,
        part.shown,
        directory,
        exit_rules,
    )


def _into_stream(
    inputs: Inputs,
    pipe: PipeOptions,
    hands: WorkerOptions,
    config: RunConfig,
    exit_rules: ExitRules,
    *,
    dry_run: bool,
) -> ExitCode:
    found = find_shards(inputs, None, quiet=exit_rules.quiet)
    threads = hands.threads_each(1, found.shards)
    config = replace(config, threads=threads)
    pipe.check(found.shards)
    stdin = standard_input(found.shards)
    if dry_run:
        where = {
            "human": "stdout",
            "ai": pipe.ai_to or "discarded",
            "quarantine": pipe.quarantine or "counted only",
            "report": pipe.report,
        }
        print_plan(where, config, found.shards)
        return ExitCode.FINISHED
    if pipe.report is None:
        config = replace(config, examples=False)
    with loading.for_good():
        from lowbg.jobs.filter import FilterStreamJob, filter_stream

    hint = "Lines on stdout are whole but not all; no file was written. Run it again."
    job = FilterStreamJob(
        shards=found.shards,
        config=config,
        stdin=stdin,
        command=command_line(),
        left_out=found.left_out,
        human=sys.stdout.buffer,
        ai=pipe.ai_to,
        quarantine=pipe.quarantine,
    )
    with if_interrupted(hint), progress_line(found.shards, quiet=exit_rules.quiet) as observer:
        outcome = filter_stream(job, observer)
    for note in outcome.notes:
        terminal.warning(note)
    code = exit_rules.end(outcome, pipe.write_report(outcome))
    if outcome.quarantined and pipe.quarantine is None:
        return _lost(outcome)
    return code


def _lost(outcome: Outcome) -> ExitCode:
    """Records that could not be read and were kept nowhere make a run incomplete."""
    terminal.error(
        f"{counted(outcome.quarantined, 'record')} could not be read and went nowhere; "
        "--quarantine-to FILE keeps them"
    )
    return ExitCode.INCOMPLETE
