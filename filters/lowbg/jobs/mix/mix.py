"""Runs a mix: measure, select, copy, and say in the manifest what it is made of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

import lowbg
from lowbg.config import ExecutorName, as_dict
from lowbg.errors import ConfigError, ConservationError, InputError, LowbgError, OutputError
from lowbg.formats.naming import output_name
from lowbg.jobs.mix import ngrams, weights
from lowbg.jobs.mix.copying import CopyTask
from lowbg.jobs.mix.counts import Counts, count, units_of
from lowbg.jobs.mix.inputs import HUMAN, SYNTHETIC, Role, role_of
from lowbg.jobs.mix.measure import (
    FOLDER_OF_NOTES,
    Measured,
    MeasureTask,
    folder,
    is_kept,
    load,
    rows_of,
)
from lowbg.jobs.mix.novelty import CoverageTask, NoveltyTask, ranks_of, taken_bigrams
from lowbg.jobs.mix.selection import floor_holds
from lowbg.jobs.mix.settings import Mix, MixSelect
from lowbg.report.results import ShardResult, notes_of
from lowbg.runs import checkpoints
from lowbg.runs.checkpoints import MixRecord, key_of
from lowbg.runs.directory import COMMON_ENTRIES, Layout, OutputDirectory, check_names
from lowbg.runs.engine import Engine
from lowbg.runs.inputs import InputState, Shard
from lowbg.runs.job import Job
from lowbg.runs.mapping import ALONE, Ended, Task, failed_shard, map_shards
from lowbg.runs.progress import NOBODY, Observer
from lowbg.runs.publishing import Published, published
from lowbg.runs.resume import differences, refuse_changes
from lowbg.runs.run import RunClock
from lowbg.runs.sinks import QUARANTINE
from lowbg.storage.files import naming
from lowbg.storage.typed import to_plain

LAYOUT: Final = Layout("mix", ("human", "synthetic", "weights", *COMMON_ENTRIES))
"""What `mix` makes in an output directory."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class MixJob(Job):
    """One mix into a directory; `shards` as `inputs.find` names them."""

    mix: Mix = field(default_factory=Mix)


@dataclass(frozen=True, slots=True)
class Part:
    """The documents of a role, and their units: what there is, and what the mix has of it.

    With weights a document counts as often as it would be drawn. `quarantined` records could not
    be read.
    """

    documents: int = 0
    units: int = 0
    mixed_documents: int = 0
    mixed_units: int = 0
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class MixOutcome:
    """What a mix came to. `share` is the human share of its units; null of an empty mix.

    `unsized` documents are without the token field: such a human document counts as 0 tokens, such
    a synthetic one isn't taken. `capped` sources reached their cap. With weights, `wanted_draws`
    were asked for: the floor and the cap of repeats may leave fewer. `problems` say which inputs
    could not be read, or outputs written, whole; `notes` what outputs don't keep.
    """

    human: Part
    synthetic: Part
    share: Fraction | None
    unsized: int
    capped: int
    wanted_draws: int | None
    coverage: ngrams.Coverage | None
    problems: tuple[str, ...]
    resumed: int
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every input was read to its end and every output written."""
        return not self.problems


def mix_shards(job: MixJob, observer: Observer = NOBODY) -> MixOutcome:
    """Builds the mix and returns what it came to; files and manifest are on disk then.

    Raises `ConfigError` when the output holds something that `job.existing` doesn't allow for, and
    for one in a store on a Ray cluster, `LockedError` when another run is at work there,
    `StoppedError` when it was asked to stop, and `OutputError` when a human shard could not be
    copied: then nothing synthetic is taken beside it, and there is no manifest.
    """
    by_weights = job.mix.weights is not None
    check_names(
        job.shards,
        weights.output_path if by_weights else lambda n: output_name(n, job.config.compression),
    )
    if job.published is not None and job.executor is ExecutorName.RAY:
        raise ConfigError(
            f"{job.published}: what a mix measures lies on one node until it is sent; mix on one "
            "machine, or into a directory that all nodes share"
        )
    with (
        published(job, LAYOUT) as place,
        OutputDirectory(job.output, LAYOUT).held(job.existing) as directory,
    ):
        _prepare(directory, job)
        place.begin()
        return _Mixing(directory, job, observer, place).run()


def _prepare(directory: OutputDirectory, job: MixJob) -> None:
    """Clears the directory, or makes sure that what it holds is this mix, and notes which it is."""
    configuration = as_dict(job.config)
    for name in ("batch_bytes", "force", "max_quarantine_bytes"):  # They never change a result.
        del configuration[name]
    new = MixRecord(
        command=LAYOUT.command,
        version=lowbg.__version__,
        mix=as_dict(job.mix),
        configuration=configuration,
        inputs={shard.name: InputState.of(shard) for shard in job.shards},
    )
    old = directory.record(job.existing)
    if old is None:
        directory.clear()
    else:
        refuse_changes(job.output, [*differences(to_plain(old), to_plain(new))])
    directory.begin(new)
    with naming(job.output):
        folder(job.output).mkdir(parents=True, exist_ok=True)


class _Mixing:
    """One run of `mix_shards`, after its output was prepared."""

    def __init__(
        self, directory: OutputDirectory, job: MixJob, observer: Observer, place: Published
    ) -> None:
        self._directory = directory
        self._place = place
        self._job = job
        self._mix = job.mix
        self._observer = observer
        self._clock = RunClock()
        self._measured: dict[str, Measured] = {}
        self._workers = ALONE.settled(())

    def run(self) -> MixOutcome:
        """Every step; see `mix_shards`."""
        mix, output = self._mix, self._job.output
        self._measured = self._measure()
        if mix.select is MixSelect.NOVEL:
            ngrams.save_owners(folder(output), self._gathered())
            waiting = [s for s in self._readable() if ranks_of(output, s.name) is None]
            self._map(NoveltyTask(self._job.config, mix, output), waiting)
        counts = count(mix, output, self._job.shards, self._measured)
        results, resumed = self._write(counts.by_shard)
        coverage = None
        if mix.select is MixSelect.NOVEL:
            self._map(CoverageTask(self._job.config, output), self._readable())
            taken = taken_bigrams(output, [s.name for s in self._readable()])
            tables = self._gathered()
            coverage = ngrams.coverage(tables.human, tables.synthetic, taken)
        return self._finish(counts, results, resumed, coverage)

    def _of(self, role: Role) -> list[Shard]:
        return [shard for shard in self._job.shards if role_of(shard) == role]

    def _gathered(self) -> ngrams.Tables:
        """The bigrams of all inputs; read anew each time rather than kept in between."""
        keys = [[key_of(s.name) for s in self._of(role)] for role in (HUMAN, SYNTHETIC)]
        return ngrams.gather(folder(self._job.output), *keys)

    def _readable(self) -> list[Shard]:
        """The synthetic shards that have documents."""
        return [s for s in self._of(SYNTHETIC) if self._measured[s.name].documents]

    def _map(self, task: Task[Result], shards: Sequence[Shard]) -> dict[str, Result]:
        """The results by shard. Raises what a worker raised, or `LowbgError` where one died."""
        results = {}
        for ended in self._ends(task, shards):
            if ended.result is None:
                if isinstance(ended.error, LowbgError):
                    raise ended.error
                raise LowbgError(f"{ended.shard.name}: {ended.error}") from ended.error
            results[ended.shard.name] = ended.result
        return results

    def _ends(self, task: Task[Result], shards: Sequence[Shard]) -> Iterator[Ended[Result]]:
        workers = self._job.crew.settled(shards)
        if workers.count > self._workers.count:
            self._workers = workers
        return map_shards(task, shards, workers, self._observer)

    def _measure(self) -> dict[str, Measured]:
        job = self._job
        if self._mix.weights is not None:
            Engine(job.config.policy).prepare()
        noted = {s.name: found for s in job.shards if (found := load(job.output, s)) is not None}
        known = {n: m for n, m in noted.items() if is_kept(job.output, m, self._mix.select)}
        # What an input could not be read for may be over: it is tried again.
        waiting = [s for s in job.shards if s.name not in known or known[s.name].problem]
        measured = self._map(MeasureTask(job.config, self._mix, job.output), waiting)
        if any(measured.get(name, value) != value for name, value in noted.items()):
            self._forget()
        self._place.note(f"{FOLDER_OF_NOTES}/{key_of(name)}.json" for name in measured)
        return {**known, **measured}

    def _forget(self) -> None:
        """Removes ranks and outputs, with what is noted of them: they came of other measures."""
        output = self._job.output
        for path in folder(output).glob("*.ranks"):
            with naming(path):
                path.unlink()
        for shard in self._job.shards:
            checkpoints.forget(output, shard.name)
        for name in (HUMAN, SYNTHETIC, QUARANTINE):
            with naming(output / name), suppress(FileNotFoundError):
                shutil.rmtree(output / name)
        self._place.forget()

    def _write(self, counts: Mapping[str, NDArray[np.uint8]]) -> tuple[dict[str, ShardResult], int]:
        """Every shard's output: human ones first, since what is beside them depends on them."""
        job = self._job
        if self._mix.weights is not None:
            return {
                shard.name: self._place.sent(
                    weights.write_rows(
                        job.output, shard, rows_of(job.output, shard.name), counts[shard.name],
                        self._mix.weights, human=role_of(shard) == HUMAN,
                    )
                )
                for shard in job.shards
            }, 0  # fmt: skip
        noted = checkpoints.load_results(job.output, self._place.size_of)
        finished = {name: result for name, (result, _) in noted.items()}
        results = dict(finished)
        for role in (HUMAN, SYNTHETIC):
            waiting = [shard for shard in self._of(role) if shard.name not in finished]
            task = CopyTask(job.config, job.output, job.durability, role=role)
            for ended in self._ends(self._place.task(task), waiting):
                result = ended.result or failed_shard(ended.shard, ended.error)
                results[result.shard] = result
            for shard in self._of(role):
                self._check(shard, results[shard.name], counts[shard.name])
        return results, len(finished)

    def _check(self, shard: Shard, result: ShardResult, counts: NDArray[np.uint8]) -> None:
        """Raises `LowbgError` where a shard's copy isn't what was measured.

        Of a synthetic shard there may be none: what is missing doesn't lower the human share.
        """
        measured = self._measured[shard.name]
        if not measured.is_of(shard):
            raise InputError(
                f"{shard.path}: was changed while the mix was made. Start again with "
                '`existing="overwrite"`.'
            )
        wanted = int(counts.sum()) + measured.quarantined
        copied = result.records if result.outputs else 0
        if copied == wanted or (role_of(shard) != HUMAN and not result.outputs):
            return
        why = "; ".join(p.message for p in result.problems if not p.count)
        raise OutputError(
            f"{shard.path}: {copied:,} of {wanted:,} records were copied"
            f"{f' ({why})' if why else '; it was changed meanwhile'}. Nothing was put beside what "
            'it lacks; `existing="resume"` goes on.'
        )

    def _finish(
        self,
        counts: Counts,
        results: dict[str, ShardResult],
        resumed: int,
        coverage: ngrams.Coverage | None,
    ) -> MixOutcome:
        """Checks the floor on what is there, and writes the manifest."""
        rows, parts = [], {}
        problems = [m.problem for m in self._measured.values() if m.problem is not None]
        for role in (HUMAN, SYNTHETIC):
            part = Part()
            for shard in self._of(role):
                measured, result = self._measured[shard.name], results[shard.name]
                there, taken = bool(result.outputs), counts.by_shard[shard.name]
                mixed = int(taken.sum(dtype=np.int64)) if there else 0
                units = units_of(self._job.output, shard.name, taken) if there else 0
                own = Part(
                    measured.documents, measured.units, mixed, units, measured.quarantined
                )  # fmt: skip
                part = _sum(part, own)
                rows.append(
                    {"shard": shard.name, "source": shard.path, "role": role, **asdict(own)}
                )
                if measured.problem is None:
                    problems += [p.message for p in result.problems if not p.count]
            parts[role] = part
        human, synthetic = parts[HUMAN].mixed_units, parts[SYNTHETIC].mixed_units
        if not floor_holds(human, synthetic, self._mix.min_human):
            raise ConservationError(
                f"{human:,} human and {synthetic:,} synthetic {self._mix.unit}: below the floor of "
                f"{self._mix.min_human}. This is a defect of lowbg; there is no manifest."
            )
        whole = human + synthetic
        outcome = MixOutcome(
            human=parts[HUMAN],
            synthetic=parts[SYNTHETIC],
            share=Fraction(human, whole) if whole else None,
            unsized=sum(m.unsized for m in self._measured.values()),
            capped=counts.capped,
            wanted_draws=counts.wanted_draws,
            coverage=coverage,
            problems=tuple(problems),
            resumed=resumed,
            notes=notes_of(results.values()) if self._mix.weights is None else (),
        )
        self._write_manifest(outcome, rows, results)
        self._place.end()
        for path in folder(self._job.output).glob("*.np[yz]"):
            path.unlink()
        return outcome

    def _write_manifest(
        self, outcome: MixOutcome, rows: list[dict[str, Any]], results: dict[str, ShardResult]
    ) -> None:
        job = self._job
        engine = Engine(job.config.policy) if self._mix.weights is not None else None
        info = self._clock.info(job, engine, self._workers)
        mix = {
            **as_dict(self._mix),
            "human_share": None if outcome.share is None else float(outcome.share),
            "human": asdict(outcome.human),
            "synthetic": asdict(outcome.synthetic),
            "capped_sources": outcome.capped,
            "wanted_draws": outcome.wanted_draws,
            "coverage": None if outcome.coverage is None else asdict(outcome.coverage),
            "shards": rows,
        }
        shards = [results[shard.name] for shard in job.shards]
        self._directory.commit(info, shards, mix=mix)


def _sum(a: Part, b: Part) -> Part:
    return Part(
        a.documents + b.documents, a.units + b.units,
        a.mixed_documents + b.mixed_documents, a.mixed_units + b.mixed_units,
        a.quarantined + b.quarantined,
    )  # fmt: skip
