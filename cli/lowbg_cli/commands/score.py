"""`lowbg score`: one row of features, score and verdict a document; routes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lowbg.config import Durability, LmDtype, RunConfig, ScoreFormat
from lowbg.errors import ConfigError
from lowbg_cli import loading, options, scorer_options
from lowbg_cli.configure import (
    ExtraOptions,
    FieldOptions,
    PolicyOptions,
    ProvenanceOptions,
    WorkerOptions,
    batch_bytes,
    command_line,
    find_shards,
    ready_workers,
    standard_input,
    standard_output,
)
from lowbg_cli.directory import DURABILITY, DirectoryOptions, run_in_directory
from lowbg_cli.exits import ExitCode, if_interrupted
from lowbg_cli.outcome import Judgement
from lowbg_cli.progress import progress_line

DEFAULTS = RunConfig()
FIELDS = DEFAULTS.fields


def score_command(
    inputs: options.Inputs,
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Where the rows go; - is standard output."
        ),
    ],
    row_format: Annotated[
        ScoreFormat,
        typer.Option("--as", help="jsonl and parquet: rows; dolma: attributes side files."),
    ] = ScoreFormat.JSONL,
    text_field: options.TextField = FIELDS.text,
    policy: options.PolicyFile = None,
    target_fpr: options.TargetFpr = None,
    workers: options.Workers = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    id_field: options.IdField = FIELDS.id,
    lang_field: options.LangField = FIELDS.language,
    date_field: options.DateField = None,
    url_field: options.UrlField = FIELDS.url,
    max_record_bytes: options.MaxRecordBytes = DEFAULTS.max_record_bytes,
    rule: options.RuleName = None,
    fpr_bound: options.FprBoundName = None,
    min_perplexity: options.MinPerplexity = None,
    min_burstiness: options.MinBurstiness = None,
    max_phrase_hits: options.MaxPhraseHits = None,
    trust_before: options.TrustBefore = None,
    trust: options.Trust = None,
    allow_source: options.AllowSource = None,
    deny_source: options.DenySource = None,
    count_field: options.CountField = None,
    lm: scorer_options.Lm = None,
    lm_performer: scorer_options.LmPerformer = None,
    lm_band: scorer_options.LmBand = None,
    lm_context: scorer_options.LmContext = None,
    lm_dtype: scorer_options.LmType = LmDtype.AUTO,
    lm_device: scorer_options.LmDevice = "auto",
    lm_batch_tokens: scorer_options.LmBatchTokens = None,
    kenlm: scorer_options.Kenlm = None,
    kenlm_sentencepiece: scorer_options.KenlmSentencepiece = None,
    kenlm_normalise: scorer_options.KenlmNormalise = False,
    watermark: scorer_options.Watermark = None,
    executor: options.Executor = None,
    retries: options.Retries = 0,
    checkpoint_seconds: options.CheckpointSeconds = DURABILITY.seconds,
    checkpoint_bytes: options.CheckpointBytes = DURABILITY.bytes,
    check_digests: options.CheckDigests = False,
    skip_if_running: options.SkipIfRunning = False,
    log_file: options.LogFile = None,
    batch_size: options.BatchBytes = None,
    strict: options.Strict = False,
) -> ExitCode:
    """Write a row of features, score and verdict a document.

    Nothing is routed: records are neither copied nor sorted.

    \b
      lowbg score dump/ -o scores --as parquet
      lowbg score dump.jsonl.zst -o - | jq .ai_score
    """
    decision = PolicyOptions(
        policy, rule, target_fpr, min_perplexity, min_burstiness, max_phrase_hits, None,
        trust_before, fpr_bound,
        ProvenanceOptions(trust, allow_source, deny_source, count_field),
    ).resolve()  # fmt: skip
    fields = FieldOptions(text_field, id_field, lang_field, date_field, url_field)
    extras = ExtraOptions(
        lm, lm_performer, lm_band, lm_context, lm_dtype, lm_device, lm_batch_tokens, kenlm,
        kenlm_sentencepiece, kenlm_normalise, watermark,
    ).resolve()  # fmt: skip
    config = RunConfig(
        fields=fields.resolve(decision),
        policy=decision,
        batch_bytes=batch_bytes(batch_size, extras),
        max_record_bytes=max_record_bytes,
        extras=extras,
    )
    judgement = Judgement(quiet, strict)
    directory = DirectoryOptions(
        WorkerOptions(workers, executor), overwrite, resume, retries,
        Durability(checkpoint_seconds, checkpoint_bytes, check_digests), skip_if_running, log_file,
    )  # fmt: skip
    if output == "-":
        if row_format is not ScoreFormat.JSONL:
            raise ConfigError(f"--as {row_format} needs a directory; -o - takes jsonl only")
        directory.refuse()
        return _into_stream(inputs, config, judgement)
    return _into_directory(inputs, Path(output), row_format, directory, config, judgement)


def _into_directory(
    inputs: list[str],
    output: Path,
    row_format: ScoreFormat,
    directory: DirectoryOptions,
    config: RunConfig,
    judgement: Judgement,
) -> ExitCode:
    existing = directory.existing
    found = find_shards(inputs, output, quiet=judgement.quiet)
    standard_input(found.shards)
    workers, executor = directory.workers.resolve(found.shards, config.extras)
    ready_workers(workers, executor, found.shards, "lowbg.jobs.score")
    with loading.for_good():
        from lowbg.jobs.score import ScoreJob, score_shards

    job = ScoreJob(
        found.shards, output, config, workers, executor, existing, directory.durability,
        directory.retries, command_line(), found.skipped, format=row_format,
    )  # fmt: skip
    return run_in_directory(
        lambda observer: score_shards(job, observer),
        found.shards, output, directory, judgement,
    )  # fmt: skip


def _into_stream(inputs: list[str], config: RunConfig, judgement: Judgement) -> ExitCode:
    with loading.for_good():
        from lowbg.jobs.score import ScoreStreamJob, score_stream

    stdout = standard_output()
    found = find_shards(inputs, None, quiet=judgement.quiet)
    stdin = standard_input(found.shards)
    hint = "Rows on stdout are whole but not all. Run it again."
    job = ScoreStreamJob(found.shards, config, stdin, command_line(), out=stdout)
    with if_interrupted(hint), progress_line(found.shards, quiet=judgement.quiet) as observer:
        outcome = score_stream(job, observer)
    return judgement.end(outcome, None)
