"""Small shards many at a time: judged as one batch, and their files synced together.

A batch and a sync take milliseconds, whatever is in them, and a small shard is one batch. What
comes of a shard is the same as alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Final

from lowbg.errors import ConfigError, OutputError, StoppedError
from lowbg.records import Batch
from lowbg.report.results import ShardResult
from lowbg.runs.checkpoints import Journal
from lowbg.runs.engine import Judge
from lowbg.runs.executors.base import Finished, Result
from lowbg.runs.inputs import Shard
from lowbg.runs.progress import OnProgress
from lowbg.runs.reading import ShardReading
from lowbg.runs.shard import ShardRun, ShardTask, run_shard
from lowbg.runs.shards import Piece
from lowbg.stopping import STOP
from lowbg.storage.files import SYNCS_AT_ONCE, Pending, sync_together

SMALL_BYTES: Final = 256 << 10
"""Stored bytes of a small shard: what a batch takes by itself is a tenth of its time or more."""

BUNDLE_SHARDS: Final = 32
"""Shards that are done together: each has a few open files."""

TEXT_BYTES: Final = 4 << 20
"""About how much text is judged together."""

_BUNDLES_A_WORKER: Final = 4
"""Not fewer, so that workers end at about the same time."""


def bundled(shards: Sequence[Shard], workers: int) -> list[tuple[Shard, ...]]:
    """The shards in their order, neighbours that are small in one bundle."""
    small = [_is_small(shard) for shard in shards]
    most = min(BUNDLE_SHARDS, sum(small) // (_BUNDLES_A_WORKER * workers))
    bundles: list[list[Shard]] = []
    bytes = 0
    for i, shard in enumerate(shards):
        bytes += shard.size
        joins = i > 0 and small[i - 1] and small[i] and bytes <= TEXT_BYTES
        if joins and len(bundles[-1]) < most:
            bundles[-1].append(shard)
        else:
            bundles.append([shard])
            bytes = shard.size
    return [tuple(bundle) for bundle in bundles]


def _is_small(shard: Shard) -> bool:
    if isinstance(shard, Piece):
        return False
    return shard.size <= SMALL_BYTES and "://" not in shard.path and shard.resumable


def read_together(readings: Sequence[ShardReading], judge: Judge) -> Iterator[list[int]]:
    """Reads small shards ahead and judges them as one batch; the places of those that are ready.

    All come, in order, a group at a time. One that can't be read so is read in its own pass.
    """
    ready: list[int] = []
    held: list[tuple[ShardReading, Batch]] = []
    try:
        for i, reading in enumerate(readings):
            ready.append(i)
            held += [(reading, batch) for batch in reading.read_ahead(TEXT_BYTES) or ()]
            if sum(batch.text.nbytes for _, batch in held) >= TEXT_BYTES or i == len(readings) - 1:
                _judge(held, judge)
                yield ready
                ready, held = [], []
    finally:
        for reading in readings:
            reading.close()


def _judge(held: Sequence[tuple[ShardReading, Batch]], judge: Judge) -> None:
    if not held:
        return
    batches = [batch for _, batch in held]
    started, cpu_started = time.perf_counter(), time.process_time()
    try:
        judged = judge.judge_batches(batches)
    except StoppedError:
        raise
    except Exception:  # It is met again by the shard that it is of.
        for reading, _ in held:
            reading.read_again()
        return
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    documents = sum(map(len, batches))
    for (reading, batch), own in zip(held, judged, strict=True):
        share = len(batch) / documents
        reading.add_judged(own, seconds * share, cpu_seconds * share)


def run_small_shards(
    journals: Sequence[Journal], task: ShardTask, on_progress: OnProgress | None
) -> Iterator[Finished[ShardResult]]:
    """Processes the journals' shards as `run_shard` does, together.

    What is raised is the end of its own shard, but for `ConfigError` and `StoppedError`. When
    `stopping.STOP` is asked, those under way are finished first.
    """
    with STOP.watched():
        runs: list[tuple[int, ShardRun]] = []
        for i, journal in enumerate(journals):
            if journal.load() is not None:
                yield finished(i, partial(run_shard, journal.shard, task, on_progress, journal))
            else:
                journal.discard()
                runs.append((i, ShardRun(journal.shard, task, on_progress, journal)))
        with ThreadPoolExecutor(SYNCS_AT_ONCE, "lowbg-sync") as pool:
            for places in read_together([run.reading for _, run in runs], task.judge):
                yield from _run_together(dict(runs[place] for place in places), pool)


def finished(i: int, call: Callable[[], Result]) -> Finished[Result]:
    """What `call` returns or raises of the shard i of some; what ends the run is raised."""
    try:
        return Finished(i, call(), None)
    except (ConfigError, StoppedError):
        raise
    except Exception as error:  # a defect, too, costs its own shard only
        return Finished(i, None, error)


def _run_together(runs: Mapping[int, ShardRun], pool: Executor) -> Iterator[Finished[ShardResult]]:
    """Every run step by step, all of them syncing at once, in `pool`, between the steps."""
    steps = {i: run.steps() for i, run in runs.items()}
    faults: dict[int, OutputError | None] = dict.fromkeys(steps)
    stopped: StoppedError | None = None
    try:
        while faults:
            pending: dict[int, Pending] = {}
            for i, fault in faults.items():
                run = runs[i]
                run.pending = Pending()
                try:
                    if fault is None:
                        next(steps[i])
                    else:
                        steps[i].throw(fault)
                    pending[i] = run.pending
                except StopIteration as end:
                    yield Finished(i, end.value, None)
                except StoppedError as error:
                    stopped = error
                    break
                except ConfigError:
                    raise
                except Exception as error:  # a defect, too, costs its own shard only
                    yield Finished(i, None, error)
            faults = dict(zip(pending, sync_together([*pending.values()], pool), strict=True))
    finally:
        for i, run in runs.items():
            steps[i].close()
            if run.pending is not None:
                run.pending.abandon()
    if stopped is not None:
        raise stopped
