"""What the commands that work on shards have in common: workers, results, report, manifest."""

from __future__ import annotations

import contextlib
import datetime as dt
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import lowbg
from lowbg.config import ExecutorName, RunConfig, as_dict
from lowbg.errors import ConfigError, OutputError
from lowbg.formats import open_reader
from lowbg.formats.base import Reader
from lowbg.report import Report, collect, write_html, write_json
from lowbg.report.results import Problem, RunInfo, ShardResult
from lowbg.report.statistics import Statistics
from lowbg.runs.checkpoints import is_lasting
from lowbg.runs.engine import Engine, policy_digest
from lowbg.runs.executors import server
from lowbg.runs.executors.base import Executor, Finished, Result, Worker
from lowbg.runs.executors.processes import ProcessExecutor
from lowbg.runs.executors.serial import SerialExecutor
from lowbg.runs.inputs import Shard
from lowbg.runs.machine import available_cores
from lowbg.runs.manifest import write_manifest
from lowbg.runs.resume import Earlier
from lowbg.runs.shard import OnProgress

if TYPE_CHECKING:
    from lowbg.jobs.reserve import Reserved

_FAILURES_NAMED = 3


@dataclass(frozen=True, slots=True)
class Run:
    """One run over shards into a directory.

    `workers` processes are used where there is more than one shard; `command` is the command
    line for the report; `skipped` names files that discovery passed over. What `earlier` has
    finished isn't done again; a shard that fails is tried `retries` times more.
    """

    shards: tuple[Shard, ...]
    output: Path
    config: RunConfig
    workers: int
    executor: ExecutorName
    command: str
    skipped: tuple[str, ...]
    earlier: Earlier = field(default_factory=Earlier)
    retries: int = 0


OnShard: TypeAlias = Callable[[ShardResult], None]
"""Is told of every shard that ends; of one that is tried again, of each time."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to: its report, and every shard's result in the shards' order.

    `resumed` of them an earlier run had finished; `notes` is what there is to say of that. Of an
    incremental run `shards` are those that are new, and `resumed` counts the others.
    `reserved`: what was added to the reserve, where there is one.
    """

    report: Report
    shards: tuple[ShardResult, ...]
    resumed: int = 0
    notes: tuple[str, ...] = ()
    reserved: Reserved | None = None

    @property
    def complete(self) -> bool:
        """Whether every input was read to its end and every output written."""
        return all(shard.complete for shard in self.shards)

    @property
    def quarantined(self) -> int:
        """Records that could not be read."""
        return sum(shard.statistics.documents()["quarantined"] for shard in self.shards)

    @property
    def ai_share(self) -> float:
        """AI documents over scored documents (human and AI); 0 where none was scored."""
        totals = [shard.statistics.documents() for shard in self.shards]
        ai = sum(t["ai"] for t in totals)
        scored = ai + sum(t["human"] for t in totals)
        return ai / scored if scored else 0.0


def run_shards(
    run: Run,
    setup: Callable[[], Worker[Shard, ShardResult]],
    on_progress: OnProgress | None,
    on_shard: OnShard | None = None,
) -> Outcome:
    """Maps the shards over workers, then writes report and manifest into the output directory.

    A shard that fails doesn't stop the others: it is in the outcome. Results, report and files
    are the same at any number of workers, but for the times.
    """
    engine = Engine(run.config.policy, run.config.extras)
    engine.prepare()
    started, clock = dt.datetime.now(dt.UTC), time.perf_counter()
    results = dict(run.earlier.finished)
    waiting = [shard for shard in run.shards if shard.name not in results]
    executor, workers = choose_executor(
        ExecutorName.SERIAL if own_streams(waiting) else run.executor, run.workers, len(waiting)
    )
    if workers > 1 and not server.is_started():
        engine.warm_up()
    for _ in range(1 + run.retries):
        ordered = largest_first(waiting)
        with closing(executor.run(setup, ordered, on_progress)) as ends:
            for end in ends:
                shard = ordered[end.index]
                result = end.result or failed_shard(shard, end.error)
                results[shard.name] = result
                if on_shard is not None:
                    on_shard(result)
        waiting = [shard for shard in waiting if _may_be_retried(shard, results[shard.name])]
        if not waiting:
            break
    shards = [results[shard.name] for shard in run.shards]
    info = run_info(
        engine, run.config, run.command, started, time.perf_counter() - clock, workers,
        executor_name(executor), run.skipped,
    )  # fmt: skip
    whole = [*shards, *run.earlier.vanished]
    report = collect(info, whole, engine.columns.bins, run.earlier.runs)
    try:
        write_json(report, run.output / "report.json")
        write_html(report, run.output / "report.html")
        write_manifest(run.output, info, whole, ["report.json", "report.html"])
    except OutputError as error:
        # What the report would have said: on a full disk shards fail first.
        raise OutputError("; ".join([str(error), *_failures(shards)])) from error
    silent = engine.cascade.why_silent(engine.policy)
    notes = run.earlier.notes
    if silent is not None:
        notes = (*notes, f"the LM changed no verdict: {silent}")
    reported = run.earlier.reported
    if reported is None:
        return Outcome(report, tuple(shards), len(run.earlier.finished), notes)
    new = tuple(shard for shard in shards if shard.shard not in reported)
    return Outcome(report, new, len(reported), notes)


def _failures(shards: Sequence[ShardResult]) -> list[str]:
    """What went wrong with whole shards, the first few of them."""
    messages = [p.message for shard in shards for p in shard.problems if not p.count]
    more = len(messages) - _FAILURES_NAMED
    return messages[:_FAILURES_NAMED] + ([f"and {more:,} more"] if more > 0 else [])


def _may_be_retried(shard: Shard, result: ShardResult) -> bool:
    """Whether another try may end better: not where the input's bytes themselves are damaged."""
    failed = [p for p in result.problems if not p.count and not is_lasting(p.kind)]
    return not result.complete and bool(failed) and shard.resumable


def reader_opener(shard: Shard, stdin: BinaryIO | None, config: RunConfig) -> Callable[[], Reader]:
    """Opens the shard's reader when called; "-" reads `stdin`, by default this process's own."""
    if shard.path != "-":
        return lambda: open_reader(shard.path, config, shard.name)
    return lambda: open_reader(stdin or sys.stdin.buffer, config, shard.name)


def check_names(shards: Sequence[Shard], output_of: Callable[[str], str]) -> None:
    """Raises `ConfigError` when two shards would be written under one name."""
    taken: dict[str, str] = {}
    for shard in shards:
        name = output_of(shard.name)
        if name in taken:
            raise ConfigError(
                f"{taken[name]} and {shard.name} would both be written as {name}. "
                "Process them in runs of their own."
            )
        taken[name] = shard.name


def largest_first(shards: Sequence[Shard]) -> tuple[Shard, ...]:
    """The shards in the order in which they are handed out: the last one to end is a small one."""
    return tuple(sorted(shards, key=lambda shard: (-shard.size, shard.name)))


def own_streams(shards: Sequence[Shard]) -> bool:
    """Whether a shard is standard input or what a shell's <(…) stands for: no worker has it."""
    return any(shard.path.startswith(("-", "/dev/fd/", "/proc/self/")) for shard in shards)


def choose_executor(name: ExecutorName, workers: int, shards: int) -> tuple[Executor, int]:
    """The executor and how many workers it really uses."""
    workers = max(1, min(workers, shards))
    if name is ExecutorName.SERIAL or workers == 1:
        return SerialExecutor(), 1
    return ProcessExecutor(workers), workers


def executor_name(executor: Executor) -> str:
    """The executor's public name."""
    return "serial" if isinstance(executor, SerialExecutor) else "processes"


def failed_shard(shard: Shard, error: BaseException | None) -> ShardResult:
    """The result of a shard whose worker died or gave up: nothing of it was put in place."""
    message = f"{shard.name}: {error}. Nothing of this shard was written."
    return ShardResult(
        shard=shard.name, source=shard.path, format="unknown", compression="unknown", records=0,
        complete=False, statistics=Statistics(), outputs=(),
        problems=(Problem("worker", message, 0),), read_bytes=0, text_bytes=0, lenient=0, blank=0,
        seconds=0.0, cpu_seconds=0.0,
    )  # fmt: skip


def run_info(
    engine: Engine,
    config: RunConfig,
    command: str,
    started: dt.datetime,
    seconds: float,
    workers: int,
    executor: str,
    skipped: Sequence[str],
) -> RunInfo:
    """What the report says of the run."""
    finished = started + dt.timedelta(seconds=seconds)
    return RunInfo(
        version=lowbg.__version__,
        command=command,
        started=started.isoformat(timespec="seconds"),
        finished=finished.isoformat(timespec="seconds"),
        seconds=seconds,
        workers=workers,
        executor=executor,
        configuration=as_dict(config),
        policy=as_dict(config.policy),
        policy_sha256=policy_digest(config.policy),
        models=engine.model_digests(),
        scorers=engine.scorer_versions(),
        machine={
            "python": platform.python_version(),
            "system": sys.platform,
            "processor": platform.machine(),
            "cores": str(available_cores()),
        },
        skipped=tuple(skipped),
    )


@contextlib.contextmanager
def closing(ends: Iterator[Finished[Result]]) -> Iterator[Iterator[Finished[Result]]]:
    """Ends the executor when its caller is interrupted."""
    try:
        yield ends
    finally:
        close: Callable[[], None] | None = getattr(ends, "close", None)
        if close is not None:
            close()
