"""One run of a command over shards into a directory: what `filter` and `score` share.

A directory's lock is held while anything is written there; what an earlier run left is taken stock
of first; every shard has its journal, so that a run that ends early can be gone on with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from lowbg.config import Changed, Durability, ExecutorName, Existing, RunConfig
from lowbg.formats.base import Reader
from lowbg.report import read_json
from lowbg.report.results import ShardResult
from lowbg.runs.checkpoints import Checkpoint, Journal
from lowbg.runs.directory import Layout, check_output
from lowbg.runs.engine import Engine
from lowbg.runs.inputs import Shard
from lowbg.runs.resume import prepare_output
from lowbg.runs.run import OnShard, Outcome, Run, check_names, reader_opener, run_shards
from lowbg.runs.shard import OnProgress, Sinks, run_shard
from lowbg.runs.sinks import PartOf
from lowbg.schema import Columns
from lowbg.storage.files import Part
from lowbg.storage.locks import run_lock, share_of_worker


@dataclass(frozen=True, slots=True)
class Job:
    """What one run is to do: `shards` into the directory `output`.

    `workers` processes are used where there is more than one shard; `retries` is how often a shard
    that fails is tried again; `command` is the command line for the report; `skipped` names files
    that discovery passed over. `changed` is what an incremental run does about inputs that are
    others than when they were processed.
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


@dataclass(frozen=True, slots=True)
class Place:
    """Where a shard's outputs go: below `root`, from its `checkpoint` on if it has one.

    `part_of` says where each of them is kept until it is whole; `columns` are those of the run.
    """

    shard: str
    root: Path
    config: RunConfig
    part_of: PartOf
    checkpoint: Checkpoint | None
    columns: Columns


OpenPlace: TypeAlias = Callable[[Place, Reader], Sinks]
"""Opens a shard's outputs; pickles, so that it can be sent to a fresh process."""


def run_job(
    job: Job,
    layout: Layout,
    name_of: Callable[[str], str],
    open_place: OpenPlace,
    on_progress: OnProgress | None,
    on_shard: OnShard | None,
    after: Callable[[Outcome], Outcome] = lambda outcome: outcome,
) -> Outcome:
    """Runs the job and returns its outcome; the report and the manifest are on disk then.

    `name_of` is what a shard's output is called: two must not share a name; `after` is done with
    the outcome while the directory is still locked. Raises `ConfigError` when the output directory
    holds something that `job.existing` doesn't allow for, `LockedError` when another run is at work
    there, and `StoppedError` when it was asked to stop. A shard that fails doesn't stop the others:
    it is in the outcome.
    """
    check_names(job.shards, name_of)
    engine = Engine(job.config.policy, job.config.extras)
    engine.prepare()
    check_output(job.output, job.existing, layout)
    with run_lock(job.output):
        earlier = prepare_output(
            job.output, job.existing, job.config, engine, job.shards, layout,
            digests=job.durability.digests, changed=job.changed,
        )  # fmt: skip
        if earlier.nothing_new:
            report = read_json(job.output / "report.json")
            return after(Outcome(report, (), len(earlier.reported or ()), earlier.notes))
        run = Run(
            job.shards, job.output, job.config, job.workers, job.executor, job.command,
            job.skipped, earlier, job.retries,
        )  # fmt: skip
        setup = _Setup(job.config, job.output, job.durability, open_place)
        return after(run_shards(run, setup, on_progress, on_shard))


@dataclass(frozen=True, slots=True)
class _Setup:
    """Makes a worker; pickles, so that it can be sent to a fresh process."""

    config: RunConfig
    output: Path
    durability: Durability
    open_place: OpenPlace

    def __call__(self) -> _Worker:
        share_of_worker(self.output)
        return _Worker(Engine(self.config.policy, self.config.extras).setup(), self)


class _Worker:
    def __init__(self, engine: Engine, setup: _Setup) -> None:
        self._engine = engine
        self._setup = setup

    def __call__(self, task: Shard, on_progress: OnProgress | None) -> ShardResult:
        setup, engine = self._setup, self._engine
        # What can't be read again can't be gone on with either.
        journal = Journal(setup.output, task, setup.durability) if task.resumable else None

        def sinks(reader: Reader, checkpoint: Checkpoint | None) -> Sinks:
            def part_of(name: str) -> Part | None:
                return journal.part(name, checkpoint) if journal is not None else None

            place = Place(
                task.name, setup.output, setup.config, part_of, checkpoint, engine.columns
            )
            return setup.open_place(place, reader)

        return run_shard(
            task.name,
            task.path,
            reader_opener(task, None, setup.config),
            sinks,
            engine,
            on_progress,
            journal,
            setup.config.threads,
        )
