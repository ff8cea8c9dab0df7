"""A run into a directory: what `filter` and `score` share around the map over their shards."""

from __future__ import annotations

import datetime as dt
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Self

import lowbg
from lowbg.config import AUTO, Durability, RunConfig, as_dict
from lowbg.errors import InputError, OutputError, cause
from lowbg.kernels.machine import available_cores
from lowbg.lm_budget import LmSelection
from lowbg.report import Report, collect, read_json
from lowbg.report.results import RuleLimit, RuleLimits, RunInfo, ShardResult, notes_of
from lowbg.report.sections.second_look import SECTION as SECOND_LOOK
from lowbg.runs.checkpoints import Journal
from lowbg.runs.directory import Layout, OutputDirectory, check_names
from lowbg.runs.engine import Engine, Judge
from lowbg.runs.executors.base import Finished
from lowbg.runs.heads import Head, take_head
from lowbg.runs.identity import policy_digest
from lowbg.runs.inputs import STDIN_NAME, Shard
from lowbg.runs.job import Job, Outcome, StreamJob
from lowbg.runs.lm_selection import (
    check_budget,
    learn_selection,
    overspent,
    takes_head,
    with_selection,
)
from lowbg.runs.mapping import Ended, Workers, failed_shard
from lowbg.runs.pieces import Joining, map_pieces, pieces_of, run_piece
from lowbg.runs.progress import Observer, OnProgress, Progress
from lowbg.runs.publishing import Published, published
from lowbg.runs.reading import Source, refuse_foreign
from lowbg.runs.resume import Earlier, take_stock
from lowbg.runs.sentences import shaded
from lowbg.runs.shard import ShardTask, run_shard
from lowbg.runs.shards import Piece
from lowbg.runs.shared_selection import job_selection
from lowbg.runs.together import run_small_shards
from lowbg.storage.locks import share_of_worker

_FAILURES_NAMED = 3


@dataclass(frozen=True, slots=True)
class DirectoryTask(ShardTask):
    """What is done with each shard of a run into the directory `output`; `open_outputs` says where.

    A worker judges with `judge`, which `start` loads. `stdin` is what "-" reads, by default this
    process's own.
    """

    config: RunConfig
    output: Path
    durability: Durability
    loaded: Judge | None = None
    stdin: BinaryIO | None = None

    @property
    def takes_pieces(self) -> bool:
        """Whether what is done with records has nothing to do with others of the shard."""
        return False

    @property
    def judge(self) -> Judge:
        """What says of documents what they are."""
        assert self.loaded is not None
        return self.loaded

    def start(self) -> Self:
        """The task in a worker, with its judge and a share of the directory's lock."""
        share_of_worker(self.output)
        return replace(self, loaded=self.load())

    def __call__(self, shard: Shard, on_progress: OnProgress | None) -> ShardResult:
        """Does a shard, from its checkpoint on if it has one."""
        # What can't be read again can't be gone on with either.
        journal = Journal(self.output, shard, self.durability) if shard.resumable else None
        if isinstance(shard, Piece):
            assert journal is not None
            return run_piece(shard, self, on_progress, journal)
        return run_shard(shard, self, on_progress, journal)

    def together(
        self, shards: Sequence[Shard], on_progress: OnProgress | None
    ) -> Iterator[Finished[ShardResult]]:
        """Does small shards, those that have a checkpoint from there on."""
        journals = [Journal(self.output, shard, self.durability) for shard in shards]
        return run_small_shards(journals, self, on_progress)

    def load(self) -> Judge:
        """What judges, ready to do so."""
        return Engine(self.config.policy, self.config.extras).setup()

    def source(self, shard: Shard) -> Source:
        """How a shard is read."""
        return Source(shard, self.config, self.stdin)


@contextmanager
def open_run(
    job: Job, layout: Layout, name_of: Callable[[str], str], observer: Observer
) -> Iterator[DirectoryRun]:
    """The job's run, while its directory is locked, with what an earlier run left there.

    `name_of` is what a shard's output is called: two must not share a name. Raises `ConfigError`
    when the output directory holds something that `job.existing` doesn't allow for, and
    `LockedError` when another run is at work there, `FormatError` when there is nothing to read.
    """
    check_names(job.shards, name_of)
    refuse_foreign(job.shards)
    check_budget(job.whole or job.shards, job.config, by_head=True)
    policy, own = job.config.policy, job.config.policy.sources
    if own.table == AUTO:  # Of its sources nothing is known yet.
        policy = replace(policy, sources=replace(own, table=None))
    engine = Engine(policy, job.config.extras)
    engine.prepare()
    with (
        published(job, layout) as place,
        OutputDirectory(job.output, layout).held(job.existing) as directory,
    ):
        last = directory.last_report()
        earlier = take_stock(directory, job, engine, place.size_of)
        head = None
        if not earlier.nothing_new:
            selection = directory.selection
            if selection is None and own.table != AUTO:  # It waits for what sources are like.
                head = _head(job.shards, job.config)
                selection = _learnt(job, engine, directory, head)
            place.begin()
            job = replace(job, config=with_selection(job.config, selection))
        yield DirectoryRun(job, directory, engine, earlier, observer, place, last, head)


def _learnt(
    job: Job, engine: Engine, directory: OutputDirectory, head: Head | None
) -> LmSelection | None:
    """What the run's LM reads under its budget, noted for runs that go on with it."""
    selection = job_selection(job, engine, directory.layout, head)
    if selection is not None:
        directory.note_selection(selection)
    return selection


class DirectoryRun:
    """A run under way: `waiting` are the shards to do; every end is added; `finish` ends it."""

    def __init__(
        self,
        job: Job,
        directory: OutputDirectory,
        engine: Engine,
        earlier: Earlier,
        observer: Observer,
        place: Published,
        last: Report | None,
        head: Head | None = None,
    ) -> None:
        self.engine = engine
        self._head = head
        self._last = last
        self.place = place
        self._job = job
        self._directory = directory
        self._earlier = earlier
        self._observer = observer
        self._clock = RunClock()
        self._results = dict(earlier.finished)
        if observer.progress is not None:
            for result in earlier.finished.values():
                observer.progress(_finished(result))
        self.waiting = tuple(s for s in job.shards if s.name not in earlier.finished)
        self._tasks: Sequence[Shard] = self.waiting

    def learn(self, config: RunConfig) -> None:
        """What the LM reads under a budget, where that waited for the sources that `config` has."""
        job = replace(self._job, config=config)
        selection = self._directory.selection
        if selection is None:
            engine = Engine(config.policy, config.extras)
            engine.prepare()
            selection = _learnt(job, engine, self._directory, None)
        self._job = replace(self._job, config=with_selection(self._job.config, selection))

    def ends(self, task: DirectoryTask) -> Iterator[Ended[ShardResult]]:
        """Does what is waiting; every end as it comes, and where it is tried again, each."""
        job = self._job
        lm = job.config.extras.lm
        task = replace(task, config=with_selection(task.config, lm.selection if lm else None))
        if self._head is not None:
            task = replace(task, stdin=self._head.stream)
        joining = self._joining(task)
        self._tasks = [
            *(shard for shard in self.waiting if all(shard is not j.shard for j in joining)),
            *(piece for each in joining for piece in each.pieces),
        ]
        if joining:  # Pieces of a shard share its threads.
            pieces = min(job.crew.cores(), *(len(each.pieces) for each in joining))
            config = replace(task.config, threads=max(1, task.config.threads // pieces))
            task = replace(task, config=config)
        together = {each.shard.name for each in joining}
        for ended in map_pieces(
            *(self.place.task(task), self.waiting, joining, job.crew, self._observer, self.engine)
        ):
            if ended.shard.name in together and ended.result is not None:
                yield replace(ended, result=self.place.sent(ended.result))
            else:
                yield ended

    def _joining(self, task: DirectoryTask) -> list[Joining]:
        """Those of the shards that are read in pieces, ready to be put together."""
        job = self._job
        if not task.takes_pieces:
            return []
        journals = [Journal(job.output, shard, job.durability) for shard in self.waiting]
        # What was begun in one pass is gone on with.
        fresh = {j.shard.name: j for j in journals if not j.begun}
        shards = [journal.shard for journal in fresh.values()]
        found = pieces_of(shards, job.config, job.crew, job.piece_bytes)
        task = replace(task, loaded=self.engine)  # It knows the columns, and judges nothing here.
        fetch = self.place.fetch_logs
        return [Joining(pieces, task, fresh[name], fetch) for name, pieces in found.items()]

    def add(self, ended: Ended[ShardResult]) -> None:
        """Takes a shard's end; of one that is tried again the last counts."""
        result = ended.result or failed_shard(ended.shard, ended.error)
        self._results[result.shard] = result
        if self._observer.shard is not None:
            self._observer.shard(result)

    def finish(self) -> Outcome:
        """Writes report and manifest; what the run came to."""
        job, earlier = self._job, self._earlier
        if earlier.nothing_new:
            self.place.stay()
        if earlier.nothing_new and earlier.reported is not None:
            report = read_json(job.output / "report.json")
            return Outcome(
                report, (), len(earlier.reported), earlier.notes, all_there=job.all_there
            )
        shards = [self._results[shard.name] for shard in job.shards]
        info = self._clock.info(job, self.engine, job.crew.settled(self._tasks))
        whole = [*shards, *earlier.vanished]
        report = collect(info, whole, self.engine.columns.bins, earlier.runs)
        report = shaded(report, self.engine)
        try:
            if not earlier.nothing_new:  # A run that did nothing isn't noted.
                self._directory.commit(info, whole, report, earlier=self._last)
                self.place.end()
        except OutputError as error:
            # What the report would have said: on a full disk shards fail first.
            raise OutputError("; ".join([str(error), *_failures(shards)])) from error
        notes = (*earlier.notes, *_silent(self.engine), *_overspent(job, self._head, report))
        if earlier.reported is None:
            notes = (*notes, *notes_of(shards))
            return Outcome(
                report, tuple(shards), len(earlier.finished), notes, all_there=job.all_there
            )
        new = tuple(shard for shard in shards if shard.shard not in earlier.reported)
        notes = (*notes, *notes_of(new))
        return Outcome(report, new, len(earlier.reported), notes, all_there=job.all_there)


def _finished(result: ShardResult) -> Progress:
    """How far a shard is that an earlier run finished."""
    return Progress(
        result.shard, result.read_bytes, result.records, result.statistics.documents()["ai"],
        int(result.statistics.scored()[0]), result.read_bytes, True,
        result.statistics.documents()["quarantined"],
    )  # fmt: skip


def _failures(shards: Sequence[ShardResult]) -> list[str]:
    """What went wrong with whole shards, the first few of them."""
    messages = [p.message for shard in shards for p in shard.problems if not p.count]
    more = len(messages) - _FAILURES_NAMED
    return messages[:_FAILURES_NAMED] + ([f"and {more:,} more"] if more > 0 else [])


class StreamRun(ShardTask):
    """A run into one stream, in this process; `open_outputs` says what becomes of a shard."""

    def __init__(self, job: StreamJob) -> None:
        refuse_foreign(job.shards)
        engine = Engine(job.config.policy, job.config.extras)
        engine.prepare()
        check_budget(job.shards, job.config, by_head=True)
        self._head = _head(job.shards, job.config, job.stdin)
        selection = learn_selection(job.shards, job.config, engine, head=self._head)
        if selection is not None:
            config = with_selection(job.config, selection)
            engine = Engine(config.policy, config.extras)
        self._engine = engine.setup()
        self._job = job
        self._clock = RunClock()

    @property
    def judge(self) -> Engine:
        """What says of documents what they are."""
        return self._engine

    def source(self, shard: Shard) -> Source:
        """How a shard is read."""
        stdin = self._job.stdin if self._head is None else self._head.stream
        return Source(shard, self._job.config, stdin)

    def outcome(self, results: Sequence[ShardResult]) -> Outcome:
        """What the run came to."""
        info = self._clock.info(self._job, self._engine, None)
        report = shaded(collect(info, results, self._engine.columns.bins), self._engine)
        more = _overspent(self._job, self._head, report)
        notes = (*_silent(self._engine), *more, *notes_of(results))
        return Outcome(report, tuple(results), notes=notes, all_there=self._job.all_there)


def _head(shards: Sequence[Shard], config: RunConfig, stdin: BinaryIO | None = None) -> Head | None:
    """What standard input begins with, where that says what an LM reads; else null.

    Raises `InputError` where it can't be read.
    """
    if not takes_head(shards, config):
        return None
    try:
        return take_head(stdin or sys.stdin.buffer)
    except OSError as error:
        raise InputError(f"{STDIN_NAME}: cannot be read ({cause(error)})") from error


def _overspent(job: Job | StreamJob, head: Head | None, report: Report) -> tuple[str, ...]:
    """What is said of an LM that read more than its budget, since a stream changed on its way."""
    look = report[SECOND_LOOK]
    told = overspent(job.config, head, look.share if look is not None else None)
    return () if told is None else (told,)


def _silent(engine: Engine) -> tuple[str, ...]:
    """What is said of an LM that changes nothing."""
    silent = engine.why_silent()
    return () if silent is None else (silent,)


class RunClock:
    """When a run started; what a report says of the run once it is over."""

    def __init__(self) -> None:
        self._started, self._clock = dt.datetime.now(dt.UTC), time.perf_counter()

    def info(self, job: Job | StreamJob, engine: Engine | None, workers: Workers | None) -> RunInfo:
        """What the report says.

        `engine` is null where nothing was judged, `workers` where there is one stream.
        """
        seconds = time.perf_counter() - self._clock
        finished = self._started + dt.timedelta(seconds=seconds)
        policy = job.config.policy
        return RunInfo(
            version=lowbg.__version__,
            command=job.command,
            started=self._started.isoformat(timespec="seconds"),
            finished=finished.isoformat(timespec="seconds"),
            seconds=seconds,
            workers=workers.count if workers is not None else 1,
            executor=workers.executor.value if workers is not None else "stream",
            configuration=as_dict(job.config),
            policy=as_dict(policy),
            policy_sha256=policy_digest(policy),
            models=engine.model_digests() if engine is not None else {},
            scorers=engine.scorer_versions() if engine is not None else {},
            machine={
                "python": platform.python_version(),
                "system": sys.platform,
                "processor": platform.machine(),
                "cores": str(available_cores()),
            },
            limits=_limits(engine) if engine is not None else {},
            thresholds=_thresholds(engine) if engine is not None else {},
            skipped=job.left_out,
        )


def _thresholds(engine: Engine) -> dict[str, float]:
    """The score from which a document is called AI, by language."""
    found = {code: engine.threshold(code) for code in engine.models}
    return {code: round(value, 6) for code, value in found.items() if value is not None}


def _limits(engine: Engine) -> dict[str, RuleLimits]:
    """The limits of rule `thresholds` as a report has them."""
    found = {}
    for code, limits in engine.limits.items():
        low, uneven, hits = (RuleLimit(own.value, own.rate) for own in limits.each)
        found[code] = RuleLimits(low, uneven, hits, limits.together)
    return found
