"""The main job: shards in; human and AI shards, quarantine, report and manifest out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec

from lowbg.config import AUTO, ExecutorName, Existing, Rule
from lowbg.errors import CheckpointError, ConfigError, LockedError, OutputError
from lowbg.formats.base import Reader
from lowbg.formats.naming import output_name
from lowbg.report.results import ShardResult
from lowbg.runs import manifest
from lowbg.runs.checkpoints import FOLDER
from lowbg.runs.directory import COMMON_ENTRIES, Layout
from lowbg.runs.engine import Engine
from lowbg.runs.executors.base import Finished
from lowbg.runs.inputs import Shard
from lowbg.runs.job import Job, Outcome, StreamJob
from lowbg.runs.progress import NOBODY, Observer, OnProgress
from lowbg.runs.routing import Route
from lowbg.runs.run import DirectoryTask, StreamRun, open_run
from lowbg.runs.shard import run_shard
from lowbg.runs.sinks import Place, RoutedFiles, StreamOutputs
from lowbg.runs.together import finished
from lowbg.storage.files import replace_file
from lowbg.storage.objects import is_object_url
from lowbg.storage.typed import FileType
from lowbg.storage.whole_files import address, is_there

if TYPE_CHECKING:
    from lowbg.jobs.reserve import Reserved

LAYOUT: Final = Layout("filter", ("human", "ai", "unscored", *COMMON_ENTRIES), grows=True)
"""What `filter` makes in an output directory."""

RESERVED_NOTE: Final = f"{FOLDER}/reserved.json"
RESERVED: Final[FileType[dict[str, tuple[str, str]]]] = FileType(
    dict[str, tuple[str, str]], "a note on a reserve", CheckpointError, "All is looked at again"
)
"""By output the reserve that has it, and the SHA-256 that it had."""


@dataclass(frozen=True, slots=True)
class FilterJob(Job):
    """One run of `lowbg filter` into a directory.

    `reserve` is where documents that are human by provenance are kept as well.
    """

    reserve: Path | None = None


def filter_shards(job: FilterJob, observer: Observer = NOBODY) -> Outcome:
    """Runs the job; outputs, report and manifest are on disk when it returns.

    Raises `ConfigError` when the output directory holds something that `job.existing` doesn't
    allow for, `LockedError` when another run is at work there, and `StoppedError` when it was
    asked to stop. A shard that fails doesn't stop the others: it is in the outcome.
    """
    if job.reserve is not None:
        _check_reserve(job.reserve, job)
    two_passes = job.config.policy.sources.table == AUTO
    if two_passes:
        _check_two_passes(job)
    task = FilterTask(job.config, job.output, job.durability)
    layout = replace(LAYOUT, grows=job.split is None)
    with open_run(job, layout, task.name_of, observer) as run:
        if two_passes and run.waiting:
            task = _after_first_pass(job, observer)
            run.learn(task.config)
        for ended in run.ends(task):
            run.add(ended)
        outcome = run.finish()
        if two_passes and all(shard.complete for shard in outcome.shards):
            from lowbg.jobs.sources.two_passes import forget

            forget(job.output)
        if job.reserve is not None:
            outcome = replace(outcome, reserved=_append_to_reserve(job.reserve, job))
            run.place.note([RESERVED_NOTE])
    return outcome


def _check_two_passes(job: FilterJob) -> None:
    """Raises `ConfigError` where a run can't read its inputs twice."""
    key = "sources.table"
    once = [shard.path for shard in job.shards if not shard.resumable]
    if once:
        raise ConfigError(f"{once[0]}: can't be read twice, as 'auto' has to", key=key)
    if job.split is not None:
        raise ConfigError(
            "a part of the shards has only a part of each source; make a table of all with "
            "`lowbg sources`, and name it",
            key=key,
        )
    if job.existing is Existing.INCREMENTAL:
        raise ConfigError(
            "an incremental run sees only what is new of each source; keep a table with "
            "`lowbg sources`, add what is new to it, and name it",
            key=key,
        )
    if job.published is not None and job.executor is ExecutorName.RAY:
        raise ConfigError(
            "what the first pass keeps lies on one node; make a table with `lowbg sources`, and "
            "name it",
            key=key,
        )
    if job.config.policy.rule is not Rule.CALIBRATED:
        raise ConfigError("sources move scores, and rule 'thresholds' uses none", key=key)


def _after_first_pass(job: FilterJob, observer: Observer) -> FilterTask:
    """What is done in the second pass, with the table that the first made."""
    from lowbg.jobs.sources.two_passes import make_table

    table = make_table(job.shards, job.output, job.config, job.crew, observer)
    policy = job.config.policy
    policy = replace(policy, sources=replace(policy.sources, table=str(table)))
    config = replace(job.config, policy=policy)
    return KeptScoresTask(config, job.output, job.durability)


@dataclass(frozen=True, slots=True)
class FilterTask(DirectoryTask):
    """What is done with a shard: every record goes where its verdict says."""

    @property
    def takes_pieces(self) -> bool:
        """True."""
        return True

    def name_of(self, shard: str) -> str:
        """What a shard's outputs are called."""
        return output_name(shard, self.config.compression)

    def open_outputs(self, place: Place, reader: Reader) -> RoutedFiles:
        """The shard's files."""
        return RoutedFiles(self.output, place, reader, self.config)


@dataclass(frozen=True, slots=True)
class KeptScoresTask(FilterTask):
    """The same, of shards whose scores a first pass kept."""

    def __call__(self, shard: Shard, on_progress: OnProgress | None) -> ShardResult:
        """Routes a shard, from its checkpoint on if it has one."""
        from lowbg.jobs.sources.two_passes import kept_judge

        assert isinstance(self.loaded, Engine)
        judge = kept_judge(self.loaded, self.output, shard)
        own = FilterTask(self.config, self.output, self.durability, judge)
        return own(shard, on_progress)

    def together(
        self, shards: Sequence[Shard], on_progress: OnProgress | None
    ) -> Iterator[Finished[ShardResult]]:
        """Routes small shards, one by one: there is nothing to score."""
        for i, shard in enumerate(shards):
            yield finished(i, partial(self, shard, on_progress))


def _check_reserve(reserve: Path, job: FilterJob) -> None:
    from lowbg.jobs.reserve import check

    check(reserve, job.config)
    output = Path(job.published or job.output)
    ours, theirs = _real(reserve), _real(output)
    if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
        raise ConfigError(
            f"{address(reserve)}: the reserve and the output {address(output)} can't be the same"
        )
    for shard in job.shards:
        if _real(Path(shard.path)).is_relative_to(ours):
            raise ConfigError(
                f"{shard.path}: lies inside the reserve; what is in it would come back as input. "
                "Keep the reserve apart from the inputs"
            )


def _real(path: Path) -> Path:
    """What tells a directory, or a place in a store, from any other."""
    return path if is_object_url(path) else Path(os.path.realpath(path))


def _append_to_reserve(reserve: Path, job: FilterJob) -> Reserved:
    """Adds what is new in the human outputs; notes them, so that a later run skips them.

    All that the manifest lists are looked at, those of earlier incremental runs too: one of them
    may have been killed before it came to the reserve.
    """
    from lowbg.jobs.reserve import append

    note = job.output / RESERVED_NOTE
    noted: dict[str, tuple[str, str]] = {}
    if is_there(reserve / manifest.NAME):  # Where it was removed, it lacks what is noted.
        with suppress(CheckpointError):
            noted = RESERVED.read(note)
    place = str(_real(reserve))
    output = Path(job.published or job.output)
    content = manifest.read(job.output)
    listed = content.files if content is not None else []
    human = {file.path: (place, file.sha256) for file in listed if file.kind == Route.HUMAN}
    new = {path: digest for path, digest in human.items() if noted.get(path) != digest}
    try:
        reserved = append(reserve, [(output / path, path) for path in new], job.config)
    except LockedError as error:
        # Of this run's own directory it would say that nothing was done.
        raise OutputError(
            f"{address(reserve)}: another run is adding to it. {address(output)} is finished, and "
            '`existing="resume"` adds what it has to the reserve.'
        ) from error
    replace_file(note, RESERVED.encode({**noted, **new}))
    return reserved


@dataclass(frozen=True, slots=True)
class FilterStreamJob(StreamJob):
    """One run of `lowbg filter` as a part of a pipeline: human lines go to `human`.

    AI lines go to the file `ai`, compressed as its name says, or nowhere when it is null: the
    caller must have been told to discard them. `quarantine` is a file, or null to count alone.
    """

    human: BinaryIO = field(kw_only=True)
    ai: Path | None = None
    quarantine: Path | None = None


def filter_stream(job: FilterStreamJob, observer: Observer = NOBODY) -> Outcome:
    """Filters shards, in their order, into one stream. `BrokenPipeError` passes through."""
    again = all(shard.resumable for shard in job.shards)
    outputs = StreamOutputs(job.human, job.ai, job.quarantine, job.config, again=again)
    try:
        run = _FilterStream(job, outputs)
        results = [run_shard(shard, run, observer.progress) for shard in job.shards]
        files = outputs.commit()
    finally:
        outputs.discard()
    if results and files:
        results[-1] = msgspec.structs.replace(results[-1], outputs=files)
    return run.outcome(results)


class _FilterStream(StreamRun):
    def __init__(self, job: FilterStreamJob, outputs: StreamOutputs) -> None:
        super().__init__(job)
        self._outputs = outputs

    def open_outputs(self, place: Place, reader: Reader) -> StreamOutputs:
        """The stream: it serves all shards of formats that it takes."""
        return self._outputs.taking(reader)
