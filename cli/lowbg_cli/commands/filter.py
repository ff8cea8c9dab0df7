"""`lowbg filter`: the main job, into a directory or as a part of a pipeline."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowbg.amounts import counted
from lowbg.config import Changed, Durability, Existing, LmDtype, RunConfig
from lowbg_cli import loading, options, scorer_options, terminal
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
)
from lowbg_cli.directory import DURABILITY, DirectoryOptions, run_in_directory
from lowbg_cli.exits import ExitCode, if_interrupted
from lowbg_cli.outcome import Judgement
from lowbg_cli.piping import PipeOptions
from lowbg_cli.plan import check_existing, print_plan
from lowbg_cli.progress import progress_line

if TYPE_CHECKING:
    from lowbg.runs.job import Outcome

DEFAULTS = RunConfig()
FIELDS = DEFAULTS.fields


def filter_command(
    inputs: options.Inputs,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write everything into a directory."),
    ] = None,
    text_field: options.TextField = FIELDS.text,
    policy: options.PolicyFile = None,
    target_fpr: options.TargetFpr = None,
    workers: options.Workers = None,
    resume: options.Resume = False,
    incremental: options.Incremental = False,
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    ai_to: options.AiTo = None,
    discard_ai: options.DiscardAi = False,
    quarantine_to: options.QuarantineTo = None,
    report: options.ReportTo = None,
    id_field: options.IdField = FIELDS.id,
    lang_field: options.LangField = FIELDS.language,
    date_field: options.DateField = None,
    url_field: options.UrlField = FIELDS.url,
    max_record_bytes: options.MaxRecordBytes = DEFAULTS.max_record_bytes,
    annotate: options.Annotate = False,
    unscored: options.Unscored = None,
    compression: options.Compression = None,
    reserve: options.Reserve = None,
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
    threads: options.Threads = None,
    executor: options.Executor = None,
    retries: options.Retries = 0,
    changed: options.Changed = None,
    checkpoint_seconds: options.CheckpointSeconds = DURABILITY.seconds,
    checkpoint_bytes: options.CheckpointBytes = DURABILITY.bytes,
    check_digests: options.CheckDigests = False,
    skip_if_running: options.SkipIfRunning = False,
    log_file: options.LogFile = None,
    batch_size: options.BatchBytes = None,
    fail_above: options.FailAbove = None,
    strict: options.Strict = False,
) -> ExitCode:
    """Split shards into human-likely and AI-likely, with a report.

    Every record goes to exactly one place. With -o DIR: human/ and ai/ mirror the input, beside
    quarantine/, report.json, report.html and manifest.json. Without: human lines go to stdout.

    \b
      lowbg filter dump/ -o OUT
      lowbg filter incoming/ -o OUT --incremental
      zstd -dc dump.jsonl.zst | lowbg filter - --ai-to ai.jsonl.zst > human.jsonl
    """
    decision = PolicyOptions(
        policy, rule, target_fpr, min_perplexity, min_burstiness, max_phrase_hits, unscored,
        trust_before, fpr_bound,
        ProvenanceOptions(trust, allow_source, deny_source, count_field),
    ).resolve()  # fmt: skip
    extras = ExtraOptions(
        lm, lm_performer, lm_band, lm_context, lm_dtype, lm_device, lm_batch_tokens, kenlm,
        kenlm_sentencepiece, kenlm_normalise, watermark,
    ).resolve()  # fmt: skip
    fields = FieldOptions(text_field, id_field, lang_field, date_field, url_field)
    config = RunConfig(
        fields.resolve(decision), decision, compression or DEFAULTS.compression, annotate,
        batch_bytes(batch_size, extras), max_record_bytes, extras=extras,
    )  # fmt: skip
    directory = DirectoryOptions(
        WorkerOptions(workers, executor, threads), overwrite, resume, retries,
        Durability(checkpoint_seconds, checkpoint_bytes, check_digests), skip_if_running, log_file,
        compression, incremental, changed, reserve,
    )  # fmt: skip
    pipe = PipeOptions(ai_to, discard_ai, quarantine_to, report)
    judgement = Judgement(quiet, strict, fail_above)
    if output is None:
        return _into_stream(inputs, pipe, directory, config, judgement, dry_run=dry_run)
    pipe.refuse(output)
    return _into_directory(inputs, output, directory, config, judgement, dry_run=dry_run)


def _into_directory(
    inputs: list[str],
    output: Path,
    directory: DirectoryOptions,
    config: RunConfig,
    judgement: Judgement,
    *,
    dry_run: bool,
) -> ExitCode:
    existing = directory.existing
    incremental = existing is Existing.INCREMENTAL
    found = find_shards(inputs, output, quiet=judgement.quiet, may_be_empty=incremental)
    standard_input(found.shards)
    workers, executor = directory.workers.resolve(found.shards, config.extras)
    threads = directory.workers.threads_each(workers, found.shards)
    config = replace(config, threads=threads)
    if dry_run:
        check_existing(output, existing)
        where = {"output": output, "workers": workers, "executor": executor}
        print_plan(where, config, found.shards)
        return ExitCode.FINISHED
    ready_workers(workers, executor, found.shards, "lowbg.jobs.filter")
    with loading.for_good():
        from lowbg.jobs.filter import FilterJob, filter_shards

    job = FilterJob(
        found.shards, output, config, workers, executor, existing, directory.durability,
        directory.retries, command_line(), found.skipped, directory.changed or Changed.REFUSE,
        directory.reserve,
    )  # fmt: skip
    return run_in_directory(
        lambda observer: filter_shards(job, observer),
        found.shards, output, directory, judgement,
    )  # fmt: skip


def _into_stream(
    inputs: list[str],
    pipe: PipeOptions,
    directory: DirectoryOptions,
    config: RunConfig,
    judgement: Judgement,
    *,
    dry_run: bool,
) -> ExitCode:
    directory.refuse()
    found = find_shards(inputs, None, quiet=judgement.quiet)
    threads = directory.workers.threads_each(1, found.shards)
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
    with loading.for_good():
        from lowbg.jobs.filter import FilterStreamJob, filter_stream

    hint = "Lines on stdout are whole but not all; no file was written. Run it again."
    job = FilterStreamJob(
        found.shards, config, stdin, command_line(), human=sys.stdout.buffer, ai=pipe.ai_to,
        quarantine=pipe.quarantine,
    )  # fmt: skip
    with if_interrupted(hint), progress_line(found.shards, quiet=judgement.quiet) as observer:
        outcome = filter_stream(job, observer)
    code = judgement.end(outcome, pipe.write_report(outcome))
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
