"""The main job: shards in; human and AI shards, quarantine, report and manifest out."""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from lowbg import manifest
from lowbg.checkpoints import FOLDER, Checkpoint, Journal, encode
from lowbg.config import Changed, Durability, ExecutorName, Existing, RunConfig
from lowbg.engine import Engine
from lowbg.errors import ConfigError
from lowbg.locks import run_lock, share_of_worker
from lowbg.pipeline import OnProgress, run_shard
from lowbg.readers.base import Reader
from lowbg.report import collect, read_json
from lowbg.reserve import Reserved, append, check_policy
from lowbg.results import ShardResult
from lowbg.resuming import check_output, prepare_output
from lowbg.routing import Route
from lowbg.running import (
    OnShard,
    Outcome,
    Run,
    check_names,
    reader_opener,
    run_info,
    run_shards,
)
from lowbg.shards import Shard
from lowbg.sinks import DirectorySinks, StreamSinks
from lowbg.writers import output_name
from lowbg.writers.base import Part, replace_file


@dataclass(frozen=True, slots=True)
class FilterJob:
    """One run of `lowbg filter` into a directory.

    `workers` processes are used where there is more than one shard; `command` is the command
    line for the report; `skipped` names files that discovery passed over. `changed` is for
    incremental runs. `reserve` is where documents that are human by provenance are kept as well.
    """

    shards: tuple[Shard, ...]
    output: Path
    config: RunConfig
    workers: int = 1
    executor: ExecutorName = ExecutorName.PROCESSES
    existing: Existing = Existing.REFUSE
    durability: Durability = field(default_factory=Durability)
    retries: int = 0
    command: str = ""
    skipped: tuple[str, ...] = ()
    changed: Changed = Changed.REFUSE
    reserve: Path | None = None


@dataclass(frozen=True, slots=True)
class _FilterSetup:
    """Makes a worker; pickles, so that it can be sent to a fresh process."""

    config: RunConfig
    output: Path
    durability: Durability

    def __call__(self) -> _FilterWorker:
        share_of_worker(self.output)
        return _FilterWorker(Engine(self.config.policy, self.config.extras).setup(), self)


class _FilterWorker:
    def __init__(self, engine: Engine, setup: _FilterSetup) -> None:
        self._engine = engine
        self._setup = setup

    def __call__(self, task: Shard, on_progress: OnProgress | None) -> ShardResult:
        setup = self._setup
        # What can't be read again can't be gone on with either.
        journal = Journal(setup.output, task, setup.durability) if task.resumable else None

        def sinks(reader: Reader, checkpoint: Checkpoint | None) -> DirectorySinks:
            def part_of(name: str) -> Part | None:
                return journal.part(name, checkpoint) if journal is not None else None

            return DirectorySinks(task.name, setup.output, reader, setup.config, part_of)

        return run_shard(
            task.name,
            task.path,
            reader_opener(task, None, setup.config),
            sinks,
            self._engine,
            on_progress,
            journal,
            setup.config.threads,
        )


def filter_shards(
    job: FilterJob, on_progress: OnProgress | None = None, on_shard: OnShard | None = None
) -> Outcome:
    """Runs the job and returns its outcome; the report and the manifest are on disk then.

    Raises `ConfigError` when the output directory holds something that `job.existing` doesn't
    allow for, `LockedError` when another run is at work there, and `StoppedError` when it was
    asked to stop. A shard that fails doesn't stop the others: it is in the outcome.
    """
    check_names(job.shards, lambda name: output_name(name, job.config.compression))
    if job.reserve is not None:
        _check_reserve(job.reserve, job)
    engine = Engine(job.config.policy, job.config.extras)
    engine.prepare()
    check_output(job.output, job.existing)
    with run_lock(job.output):
        earlier = prepare_output(
            job.output, job.existing, job.config, engine, job.shards,
            digests=job.durability.digests, changed=job.changed,
        )  # fmt: skip
        if earlier.nothing_new:
            report = read_json(job.output / "report.json")
            outcome = Outcome(report, (), len(earlier.reported or ()), earlier.notes)
        else:
            run = Run(
                job.shards, job.output, job.config, job.workers, job.executor, job.command,
                job.skipped, earlier, job.retries,
            )  # fmt: skip
            setup = _FilterSetup(job.config, job.output, job.durability)
            outcome = run_shards(run, setup, on_progress, on_shard)
        if job.reserve is None:
            return outcome
        return replace(outcome, reserved=_append_to_reserve(job.reserve, job))


def _check_reserve(reserve: Path, job: FilterJob) -> None:
    check_policy(job.config)
    ours, theirs = (Path(os.path.realpath(path)) for path in (reserve, job.output))
    if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
        raise ConfigError(f"{reserve}: the reserve and the output {job.output} can't be the same")


def _append_to_reserve(reserve: Path, job: FilterJob) -> Reserved:
    """Adds what is new in the human outputs; notes them, so that a later run skips them.

    All that the manifest lists are looked at, those of earlier incremental runs too: one of them
    may have been killed before it came to the reserve.
    """
    note = job.output / FOLDER / "reserved.json"
    try:
        noted = json.loads(note.read_bytes())
    except (OSError, ValueError):
        noted = {}
    place = os.path.realpath(reserve)
    listed = (manifest.read(job.output) or {"files": []})["files"]
    human = {f["path"]: [place, f["sha256"]] for f in listed if f["kind"] == Route.HUMAN}
    new = {path: digest for path, digest in human.items() if noted.get(path) != digest}
    reserved = append(reserve, [(job.output / path, path) for path in new], job.config)
    replace_file(note, encode({**noted, **new}))
    return reserved


def filter_stream(
    shards: Sequence[Shard],
    stdin: BinaryIO | None,
    human: BinaryIO,
    ai: Path | None,
    quarantine: Path | None,
    config: RunConfig,
    command: str = "",
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Filters shards, in their order, into one stream of human lines.

    AI lines go to the file `ai`, compressed as its name says, or nowhere when it is null: the
    caller must have been told to discard them. `BrokenPipeError` passes through.
    """
    engine = Engine(config.policy, config.extras)
    engine.prepare()
    engine.setup()
    started, clock = dt.datetime.now(dt.UTC), time.perf_counter()
    sinks = StreamSinks(human, ai, quarantine, config)
    results = []
    try:
        for shard in shards:
            opener = reader_opener(shard, stdin, config)
            results.append(
                run_shard(
                    shard.name,
                    shard.path,
                    opener,
                    lambda *_: sinks,
                    engine,
                    on_progress,
                    threads=config.threads,
                )
            )
        files = sinks.commit()
    finally:
        sinks.discard()
    if results and files:
        results[-1] = replace(results[-1], outputs=files)
    info = run_info(engine, config, command, started, time.perf_counter() - clock, 1, "stream", ())
    return Outcome(collect(info, results), tuple(results))
