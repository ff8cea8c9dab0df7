"""The main job: shards in; human and AI shards, quarantine, report and manifest out."""

from __future__ import annotations

import datetime as dt
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from lowbg.config import ExecutorName, RunConfig
from lowbg.engine import Engine
from lowbg.errors import ConfigError, OutputError
from lowbg.pipeline import OnProgress, run_shard
from lowbg.readers.base import Reader
from lowbg.report import collect
from lowbg.results import ShardResult
from lowbg.running import Outcome, Run, check_names, reader_opener, run_info, run_shards
from lowbg.shards import Shard
from lowbg.sinks import DirectorySinks, StreamSinks
from lowbg.writers import output_name

OUTPUT_ENTRIES = ("human", "ai", "unscored", "quarantine", "report.json", "report.html",
                  "manifest.json", ".lowbg")  # fmt: skip
"""What lowbg makes in an output directory, and what `overwrite` removes there."""


@dataclass(frozen=True, slots=True)
class FilterJob:
    """One run of `lowbg filter` into a directory.

    `workers` processes are used where there is more than one shard; `command` is the command
    line for the report; `skipped` names files that discovery passed over.
    """

    shards: tuple[Shard, ...]
    output: Path
    config: RunConfig
    workers: int = 1
    executor: ExecutorName = ExecutorName.PROCESSES
    overwrite: bool = False
    command: str = ""
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _FilterSetup:
    """Makes a worker; pickles, so that it can be sent to a fresh process."""

    config: RunConfig
    output: Path

    def __call__(self) -> _FilterWorker:
        return _FilterWorker(Engine(self.config.policy).setup(), self.config, self.output)


class _FilterWorker:
    def __init__(self, engine: Engine, config: RunConfig, output: Path) -> None:
        self._engine = engine
        self._config = config
        self._output = output

    def __call__(self, task: Shard, on_progress: OnProgress | None) -> ShardResult:
        def sinks(reader: Reader) -> DirectorySinks:
            return DirectorySinks(task.name, self._output, reader, self._config)

        return run_shard(
            task.name,
            task.path,
            reader_opener(task, None, self._config),
            sinks,
            self._engine,
            on_progress,
        )


def filter_shards(job: FilterJob, on_progress: OnProgress | None = None) -> Outcome:
    """Runs the job and returns its outcome; the report and the manifest are on disk then.

    Raises `ConfigError` when the output directory holds something already and `overwrite` is not
    set. A shard that fails doesn't stop the others: it is in the outcome.
    """
    check_names(job.shards, lambda name: output_name(name, job.config.compression))
    prepare_output(job.output, overwrite=job.overwrite)
    run = Run(
        job.shards, job.output, job.config, job.workers, job.executor, job.command, job.skipped
    )
    return run_shards(run, _FilterSetup(job.config, job.output), on_progress)


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
    engine = Engine(config.policy)
    engine.prepare()
    engine.setup()
    started, clock = dt.datetime.now(dt.UTC), time.perf_counter()
    sinks = StreamSinks(human, ai, quarantine, config)
    results = []
    try:
        for shard in shards:
            opener = reader_opener(shard, stdin, config)
            results.append(
                run_shard(shard.name, shard.path, opener, lambda _: sinks, engine, on_progress)
            )
        files = sinks.commit()
    finally:
        sinks.discard()
    if results and files:
        results[-1] = replace(results[-1], outputs=files)
    info = run_info(engine, config, command, started, time.perf_counter() - clock, 1, "stream", ())
    return Outcome(collect(info, results), tuple(results))


def prepare_output(output: Path, *, overwrite: bool) -> None:
    """Makes the output directory; refuses one that holds something.

    With `overwrite` only what lowbg itself makes is removed: other files stay, and are an error.
    """
    if output.exists() and not output.is_dir():
        raise ConfigError(f"{output} is a file; -o takes a directory")
    try:
        output.mkdir(parents=True, exist_ok=True)
        present = sorted(entry.name for entry in output.iterdir())
    except OSError as error:
        raise ConfigError(f"{output}: {error.strerror}. Choose another -o.") from error
    foreign = [name for name in present if name not in OUTPUT_ENTRIES]
    if foreign:
        some = ", ".join(foreign[:3]) + ("…" if len(foreign) > 3 else "")
        raise ConfigError(
            f"{output} holds files that lowbg did not make ({some}). "
            "Choose an empty directory for -o."
        )
    if present and not overwrite:
        raise ConfigError(
            f"{output} already holds a run. Use --overwrite to replace it, or choose another -o."
        )
    for name in present:
        path = output / name
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError as error:
            raise OutputError(f"{path}: cannot be removed ({error.strerror})") from error
