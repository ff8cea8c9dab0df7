"""The main job: shards in; human and AI shards, quarantine, report and manifest out."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from lowbg.config import RunConfig
from lowbg.engine import Engine
from lowbg.jobs import Job, Place, run_job
from lowbg.pipeline import OnProgress, run_shard
from lowbg.readers.base import Reader
from lowbg.report import collect
from lowbg.resuming import COMMON_ENTRIES, Layout
from lowbg.running import OnShard, Outcome, reader_opener, run_info
from lowbg.shards import Shard
from lowbg.sinks import DirectorySinks, StreamSinks
from lowbg.writers import output_name

LAYOUT: Final = Layout("filter", ("human", "ai", "unscored", *COMMON_ENTRIES))
"""What `filter` makes in an output directory."""


@dataclass(frozen=True, slots=True)
class FilterJob(Job):
    """One run of `lowbg filter` into a directory."""


def filter_shards(
    job: FilterJob, on_progress: OnProgress | None = None, on_shard: OnShard | None = None
) -> Outcome:
    """Runs the job; outputs, report and manifest are on disk when it returns.

    Raises what `jobs.run_job` does.
    """

    def name_of(shard: str) -> str:
        return output_name(shard, job.config.compression)

    return run_job(job, LAYOUT, name_of, _open_sinks, on_progress, on_shard)


def _open_sinks(place: Place, reader: Reader) -> DirectorySinks:
    return DirectorySinks(place.shard, place.root, reader, place.config, place.part_of)


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
