"""Runs a mix: measure, select, copy, and say in the manifest what it is made of."""

from __future__ import annotations

import datetime as dt
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

import lowbg
from lowbg.config import Durability, ExecutorName, Existing, Mix, MixSelect, RunConfig, as_dict
from lowbg.errors import ConfigError, ConservationError, InputError, LowbgError, OutputError
from lowbg.formats.naming import output_name
from lowbg.jobs.mix import ngrams, weights
from lowbg.jobs.mix.copying import CopySetup
from lowbg.jobs.mix.counts import Counts, count, units_of
from lowbg.jobs.mix.inputs import HUMAN, SYNTHETIC, Role, role_of
from lowbg.jobs.mix.measure import Measured, MeasureSetup, folder, load, rows_of
from lowbg.jobs.mix.novelty import CoverageSetup, NoveltySetup, ranks_of, taken_bigrams
from lowbg.jobs.mix.selection import floor_holds
from lowbg.report.results import RunInfo, ShardResult
from lowbg.runs import checkpoints, manifest
from lowbg.runs.checkpoints import MixRecord, key_of
from lowbg.runs.directory import (
    COMMON_ENTRIES,
    Layout,
    check_nothing_is_lost,
    check_output,
    clear,
    remove_leftovers,
)
from lowbg.runs.engine import Engine, policy_digest
from lowbg.runs.executors.base import Worker
from lowbg.runs.inputs import InputState, Shard
from lowbg.runs.resume import differences
from lowbg.runs.run import check_names, choose_executor, executor_name, failed_shard, largest_first
from lowbg.runs.shard import OnProgress
from lowbg.runs.sinks import QUARANTINE
from lowbg.storage.files import naming
from lowbg.storage.locks import run_lock
from lowbg.storage.typed import to_plain

LAYOUT: Final = Layout("mix", ("human", "synthetic", "weights", *COMMON_ENTRIES))
"""What `mix` makes in an output directory."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class MixJob:
    """One mix into a directory; `shards` as `inputs.find` names them."""

    shards: tuple[Shard, ...]
    output: Path
    config: RunConfig
    mix: Mix = field(default_factory=Mix)
    workers: int = 1
    executor: ExecutorName = ExecutorName.PROCESSES
    existing: Existing = Existing.REFUSE
    durability: Durability = field(default_factory=Durability)
    command: str = ""


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
    could not be read, or outputs written, whole.
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

    @property
    def complete(self) -> bool:
        """Whether every input was read to its end and every output written."""
        return not self.problems


def mix_shards(job: MixJob, on_progress: OnProgress | None = None) -> MixOutcome:
    """Builds the mix and returns what it came to; files and manifest are on disk then.

    Raises `ConfigError` when the output directory holds something that `job.existing` doesn't
    allow for, `LockedError` when another run is at work there, `StoppedError` when it was asked to
    stop, and `OutputError` when a human shard could not be copied: then nothing synthetic is taken
    beside it, and there is no manifest.
    """
    by_weights = job.mix.weights is not None
    check_names(
        job.shards,
        weights.output_path if by_weights else lambda n: output_name(n, job.config.compression),
    )
    check_output(job.output, job.existing, LAYOUT)
    with run_lock(job.output):
        _prepare(job)
        return _Mixing(job, on_progress).run()


def _prepare(job: MixJob) -> None:
    """Clears the directory, or makes sure that what it holds is this mix, and notes which it is."""
    check_output(job.output, job.existing, LAYOUT)
    remove_leftovers(job.output)
    configuration = as_dict(job.config)
    del configuration["batch_bytes"]  # It never changes a result.
    new = MixRecord(
        command=LAYOUT.command,
        version=lowbg.__version__,
        mix=as_dict(job.mix),
        configuration=configuration,
        inputs={shard.name: InputState.of(shard) for shard in job.shards},
    )
    old = checkpoints.read_record(job.output) if job.existing is Existing.RESUME else None
    if old is None:
        if job.existing is Existing.RESUME:
            check_nothing_is_lost(job.output)
        clear(job.output, LAYOUT)
    elif changed := list(differences(to_plain(old), to_plain(new))):
        some = "; ".join(changed[:5]) + (f"; and {len(changed) - 5} more" * (len(changed) > 5))
        raise ConfigError(
            f"{job.output} holds a run that can't be gone on with: {some}. "
            "Use --overwrite to start again, or choose another -o."
        )
    checkpoints.write_record(job.output, new)
    with naming(job.output):
        (job.output / manifest.NAME).unlink(missing_ok=True)
        folder(job.output).mkdir(parents=True, exist_ok=True)


class _Mixing:
    """One run of `mix_shards`, after its output was prepared."""

    def __init__(self, job: MixJob, on_progress: OnProgress | None) -> None:
        self._job = job
        self._mix = job.mix
        self._on_progress = on_progress
        self._started, self._clock = dt.datetime.now(dt.UTC), time.perf_counter()
        self._measured: dict[str, Measured] = {}
        self._workers, self._executor = 1, "serial"

    def run(self) -> MixOutcome:
        """Every step; see `mix_shards`."""
        mix, output = self._mix, self._job.output
        self._measured = self._measure()
        if mix.select is MixSelect.NOVEL:
            ngrams.save_owners(folder(output), self._gathered())
            waiting = [s for s in self._readable() if ranks_of(output, s.name) is None]
            self._map(NoveltySetup(self._job.config, mix, output), waiting)
        counts = count(mix, output, self._job.shards, self._measured)
        results, resumed = self._write(counts.by_shard)
        coverage = None
        if mix.select is MixSelect.NOVEL:
            self._map(CoverageSetup(self._job.config, output), self._readable())
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

    def _map(
        self, setup: Callable[[], Worker[Shard, Result]], shards: Sequence[Shard]
    ) -> dict[str, Result]:
        """The results by shard. Raises what a worker raised, or `LowbgError` where one died."""
        results = {}
        for shard, result, error in self._ends(setup, shards):
            if result is None:
                if isinstance(error, LowbgError):
                    raise error
                raise LowbgError(f"{shard.name}: {error}") from error
            results[shard.name] = result
        return results

    def _ends(
        self, setup: Callable[[], Worker[Shard, Result]], shards: Sequence[Shard]
    ) -> Iterator[tuple[Shard, Result | None, BaseException | None]]:
        executor, workers = choose_executor(self._job.executor, self._job.workers, len(shards))
        if workers > self._workers:
            self._workers, self._executor = workers, executor_name(executor)
        ordered = largest_first(shards)
        if not ordered:
            return
        ends: Any = executor.run(setup, ordered, self._on_progress)
        with closing(ends):
            for end in ends:
                yield ordered[end.index], end.result, end.error

    def _measure(self) -> dict[str, Measured]:
        job = self._job
        if self._mix.weights is not None:
            Engine(job.config.policy).prepare()
        found = {shard.name: load(job.output, shard, self._mix.select) for shard in job.shards}
        known = {name: value for name, value in found.items() if value is not None}
        # What an input could not be read for may be over: it is tried again.
        waiting = [s for s in job.shards if s.name not in known or known[s.name].problem]
        measured = self._map(MeasureSetup(job.config, self._mix, job.output), waiting)
        if any(measured.get(name, value) != value for name, value in known.items()):
            self._forget()
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

    def _write(self, counts: Mapping[str, NDArray[np.uint8]]) -> tuple[dict[str, ShardResult], int]:
        """Every shard's output: human ones first, since what is beside them depends on them."""
        job = self._job
        if self._mix.weights is not None:
            return {
                shard.name: weights.write_rows(
                    job.output, shard, rows_of(job.output, shard.name), counts[shard.name],
                    self._mix.weights, human=role_of(shard) == HUMAN,
                )
                for shard in job.shards
            }, 0  # fmt: skip
        noted = checkpoints.load_results(job.output)
        finished = {name: result for name, (result, _) in noted.items()}
        results = dict(finished)
        setup = CopySetup(job.config, job.output, job.durability)
        for role in (HUMAN, SYNTHETIC):
            waiting = [shard for shard in self._of(role) if shard.name not in finished]
            for shard, result, error in self._ends(setup, waiting):
                results[shard.name] = result or failed_shard(shard, error)
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
                f"{shard.path}: was changed while the mix was made. Start again with --overwrite."
            )
        wanted = int(counts.sum()) + measured.quarantined
        copied = result.records if result.outputs else 0
        if copied == wanted or (role_of(shard) != HUMAN and not result.outputs):
            return
        why = "; ".join(p.message for p in result.problems if not p.count)
        raise OutputError(
            f"{shard.path}: {copied:,} of {wanted:,} records were copied"
            f"{f' ({why})' if why else '; it was changed meanwhile'}. Nothing was put beside what "
            "it lacks; --resume goes on."
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
        )
        self._write_manifest(outcome, rows, results)
        for path in folder(self._job.output).glob("*.np[yz]"):
            path.unlink()
        return outcome

    def _write_manifest(
        self, outcome: MixOutcome, rows: list[dict[str, Any]], results: dict[str, ShardResult]
    ) -> None:
        job = self._job
        seconds = time.perf_counter() - self._clock
        engine = Engine(job.config.policy) if self._mix.weights is not None else None
        info = RunInfo(
            version=lowbg.__version__,
            command=job.command,
            started=self._started.isoformat(timespec="seconds"),
            finished=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            seconds=seconds,
            workers=self._workers,
            executor=self._executor,
            configuration=as_dict(job.config),
            policy=as_dict(job.config.policy),
            policy_sha256=policy_digest(job.config.policy),
            models=engine.model_digests() if engine is not None else {},
            scorers=engine.scorer_versions() if engine is not None else {},
        )
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
        manifest.write_manifest(job.output, info, shards, mix=mix)


def _sum(a: Part, b: Part) -> Part:
    return Part(
        a.documents + b.documents, a.units + b.units,
        a.mixed_documents + b.mixed_documents, a.mixed_units + b.mixed_units,
        a.quarantined + b.quarantined,
    )  # fmt: skip
