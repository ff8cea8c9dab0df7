"""`lowbg score`: one row of features, score and verdict a document; routes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from lowbg.config import RunConfig, ScoreFormat
from lowbg.errors import ConfigError
from lowbg.settings import Heading, Setting, Written
from lowbg_cli import loading, terminal
from lowbg_cli.configure import (
    STDOUT,
    ConfigOptions,
    Inputs,
    WorkerOptions,
    command_line,
    find_shards,
    ready_workers,
    standard_input,
    standard_output,
)
from lowbg_cli.directory import DirectoryOptions, refuse_directory_options, run_in_directory
from lowbg_cli.exits import ExitCode, if_interrupted
from lowbg_cli.groups import Given, Only, command
from lowbg_cli.outcome import ExitRules
from lowbg_cli.progress import progress_line
from lowbg_cli.writing import refuse_reading_stdout


@command
def score_command(
    *,
    inputs: Inputs,
    output: Annotated[
        Path,
        Setting(
            "Where the rows go, or a store (s3://, gs://, az://); - is standard output.",
            flags="--output -o",
            unit="DIR",
            written=Written.STORE,
            stdout=True,
        ),
    ],
    row_format: Annotated[
        ScoreFormat, Setting("jsonl and parquet: rows; dolma: attributes side files.", flags="--as")
    ] = ScoreFormat.JSONL,
    keep_field: Annotated[
        tuple[str, ...],
        Setting(
            "Put this field of the record into its row, such as url; may be repeated.",
            flags="--keep-field",
            unit="FIELD",
            heading=Heading.OUTPUT,
        ),
    ] = (),
    options: Annotated[
        ConfigOptions,
        Only(
            without=(
                "gate",
                "sources.by",
                "sources.min_documents",
                "sources.bound",
                "decision.unscored",
                "compression",
                "annotate",
            )
        ),
    ],
    workers: Annotated[
        WorkerOptions,
        Only(("workers", "executor", "ray_address", "ray_cpus", "ray_gpus", "ray_memory")),
    ],
    directory: Annotated[DirectoryOptions, Only(without=("incremental", "changed", "reserve"))],
    exit_rules: Annotated[ExitRules, Only(("quiet", "strict"))],
    given: Given,
) -> ExitCode:
    """Write a row of features, score and verdict a document.

    Nothing is routed: records are neither copied nor sorted.

    \b
      lowbg score dump/ -o scores --as parquet
      lowbg score dump.jsonl.zst -o - | jq .ai_score
    """
    config = options.resolve()
    if keep_field:
        if row_format is ScoreFormat.DOLMA:
            raise ConfigError("--keep-field: dolma's attributes have no fields of records")
        kept = tuple(dict.fromkeys(keep_field))
        config = replace(config, fields=replace(config.fields, others=kept))
    if output == STDOUT:
        if row_format is not ScoreFormat.JSONL:
            raise ConfigError(f"--as {row_format} needs a directory; -o - takes jsonl only")
        refuse_directory_options(given)
        return _into_stream(inputs, config, exit_rules)
    return _into_directory(inputs, output, row_format, directory, workers, config, exit_rules)


def _into_directory(
    inputs: Inputs,
    output: Path,
    row_format: ScoreFormat,
    directory: DirectoryOptions,
    hands: WorkerOptions,
    config: RunConfig,
    exit_rules: ExitRules,
) -> ExitCode:
    existing = directory.existing
    found = find_shards(inputs, output, quiet=exit_rules.quiet)
    part = directory.part(found.shards, output)
    shards, output = part.shards, part.output
    standard_input(shards)
    workers, executor = hands.resolve(shards, config.extras)
    ready_workers(workers, executor, shards, "lowbg.jobs.score")
    with loading.for_good():
        from lowbg.jobs.score import ScoreJob, score_shards

    job = ScoreJob(
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
        split=part.split,
        whole=part.whole,
        published=part.published,
        share=hands.share(),
        format=row_format,
    )
    return run_in_directory(
        lambda observer: score_shards(job, observer),
        shards,
        part.shown,
        directory,
        exit_rules,
    )


def _into_stream(inputs: Inputs, config: RunConfig, exit_rules: ExitRules) -> ExitCode:
    with loading.for_good():
        from lowbg.jobs.score import ScoreStreamJob, score_stream

    stdout = standard_output()
    found = find_shards(inputs, None, quiet=exit_rules.quiet)
    refuse_reading_stdout(found.shards)
    stdin = standard_input(found.shards)
    hint = "Rows on stdout are whole but not all. Run it again."
    job = ScoreStreamJob(found.shards, config, stdin, command_line(), found.left_out, out=stdout)
    with if_interrupted(hint), progress_line(found.shards, quiet=exit_rules.quiet) as observer:
        outcome = score_stream(job, observer)
    for note in () if exit_rules.quiet else outcome.notes:
        terminal.warning(note)
    return exit_rules.end(outcome, None)
