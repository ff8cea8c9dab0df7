"""The main job: shards in; human and AI shards, quarantine, report and manifest out."""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from lowbg.config import RunConfig
from lowbg.errors import ConfigError, LockedError, OutputError
from lowbg.formats.base import Reader
from lowbg.formats.naming import output_name
from lowbg.report import collect
from lowbg.runs import manifest
from lowbg.runs.checkpoints import FOLDER, encode
from lowbg.runs.directory import COMMON_ENTRIES, Layout
from lowbg.runs.engine import Engine
from lowbg.runs.inputs import Shard
from lowbg.runs.job import Job, Place, run_job
from lowbg.runs.routing import Route
from lowbg.runs.run import OnShard, Outcome, reader_opener, run_info
from lowbg.runs.shard import OnProgress, run_shard
from lowbg.runs.sinks import DirectorySinks, StreamSinks
from lowbg.storage.files import replace_file

if TYPE_CHECKING:
    from lowbg.jobs.reserve import Reserved

LAYOUT: Final = Layout("filter", ("human", "ai", "unscored", *COMMON_ENTRIES), grows=True)
"""What `filter` makes in an output directory."""


@dataclass(frozen=True, slots=True)
class FilterJob(Job):
    """One run of `lowbg filter` into a directory.

    `reserve` is where documents that are human by provenance are kept as well.
    """

    reserve: Path | None = None


def filter_shards(
    job: FilterJob, on_progress: OnProgress | None = None, on_shard: OnShard | None = None
) -> Outcome:
    """Runs the job; outputs, report and manifest are on disk when it returns.

    Raises what `jobs.run_job` does.
    """
    if job.reserve is not None:
        _check_reserve(job.reserve, job)

    def name_of(shard: str) -> str:
        return output_name(shard, job.config.compression)

    def keep(outcome: Outcome) -> Outcome:
        if job.reserve is None:
            return outcome
        return replace(outcome, reserved=_append_to_reserve(job.reserve, job))

    return run_job(job, LAYOUT, name_of, _open_sinks, on_progress, on_shard, keep)


def _open_sinks(place: Place, reader: Reader) -> DirectorySinks:
    return DirectorySinks(place.shard, place.root, reader, place.config, place.part_of)


def _check_reserve(reserve: Path, job: FilterJob) -> None:
    from lowbg.jobs.reserve import check

    check(reserve, job.config)
    ours, theirs = (Path(os.path.realpath(path)) for path in (reserve, job.output))
    if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
        raise ConfigError(f"{reserve}: the reserve and the output {job.output} can't be the same")
    for shard in job.shards:
        if "://" not in shard.path and Path(os.path.realpath(shard.path)).is_relative_to(ours):
            raise ConfigError(
                f"{shard.path}: lies inside the reserve; what is in it would come back as input. "
                "Keep the reserve apart from the inputs"
            )


def _append_to_reserve(reserve: Path, job: FilterJob) -> Reserved:
    """Adds what is new in the human outputs; notes them, so that a later run skips them.

    All that the manifest lists are looked at, those of earlier incremental runs too: one of them
    may have been killed before it came to the reserve.
    """
    from lowbg.jobs.reserve import append

    note = job.output / FOLDER / "reserved.json"
    noted = {}
    if (reserve / manifest.NAME).is_file():  # Where it was removed, it lacks what is noted.
        with suppress(OSError, ValueError):
            noted = json.loads(note.read_bytes())
    place = os.path.realpath(reserve)
    listed = (manifest.read(job.output) or {"files": []})["files"]
    human = {f["path"]: [place, f["sha256"]] for f in listed if f["kind"] == Route.HUMAN}
    new = {path: digest for path, digest in human.items() if noted.get(path) != digest}
    try:
        reserved = append(reserve, [(job.output / path, path) for path in new], job.config)
    except LockedError as error:
        # Of this run's own directory it would say that nothing was done.
        raise OutputError(
            f"{reserve}: another run is adding to it. {job.output} is finished, and --resume adds "
            "what it has to the reserve."
        ) from error
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
                    lambda reader, _: sinks.taking(reader),
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
    return Outcome(collect(info, results, engine.columns.bins), tuple(results))
