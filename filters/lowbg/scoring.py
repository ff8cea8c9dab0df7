"""One row of features, score and verdict a document; routes nothing."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import orjson
import pyarrow as pa

from lowbg import manifest, schema
from lowbg.checkpoints import Checkpoint
from lowbg.config import ExecutorName, RunConfig, ScoreFormat
from lowbg.engine import Engine, Judged
from lowbg.errors import ConfigError, OutputError
from lowbg.pipeline import OnProgress, run_shard
from lowbg.readers.base import Reader
from lowbg.records import Batch, LinePayload, ParquetLayout, Payload, Rejected, RowPayload
from lowbg.report import collect
from lowbg.results import ShardResult
from lowbg.routing import VERDICT_NAMES
from lowbg.running import Outcome, Run, check_names, reader_opener, run_info, run_shards
from lowbg.shards import Shard
from lowbg.sinks import float32_values
from lowbg.writers import stem
from lowbg.writers.base import Writer, WrittenFile
from lowbg.writers.jsonl import JsonlWriter, StreamWriter
from lowbg.writers.parquet import ParquetWriter
from lowbg.writers.quarantine import QuarantineWriter, quarantine_path

MARK = ".lowbg"
"""The folder that marks an output directory as lowbg's own."""


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """One run of `lowbg score` into a directory; see `running.Run`."""

    shards: tuple[Shard, ...]
    output: Path
    config: RunConfig
    format: ScoreFormat = ScoreFormat.JSONL
    workers: int = 1
    executor: ExecutorName = ExecutorName.PROCESSES
    overwrite: bool = False
    command: str = ""
    skipped: tuple[str, ...] = ()


def score_shards(job: ScoreJob, on_progress: OnProgress | None = None) -> Outcome:
    """Runs the job; rows, report and manifest are on disk when it returns.

    Raises `ConfigError` when the output directory holds something already and `overwrite` is not
    set; with it, what an earlier run wrote there is removed first.
    """
    check_names(job.shards, stem)
    Engine(job.config.policy, job.config.extras).prepare()
    _claim(job.output, overwrite=job.overwrite)
    run = Run(
        job.shards, job.output, job.config, job.workers, job.executor, job.command, job.skipped
    )
    return run_shards(run, _ScoreSetup(job.config, job.output, job.format), on_progress)


def _claim(output: Path, *, overwrite: bool) -> None:
    """Makes the directory this run's own: what an earlier run of lowbg wrote there is removed.

    Raises `ConfigError` where it holds something and `overwrite` isn't set, or something that
    lowbg did not make.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        present = {entry.name for entry in output.iterdir()}
        if present and not overwrite:
            raise ConfigError(
                f"{output} is not empty. Use --overwrite to replace its scores, or choose another "
                "-o."
            )
        if present and not present & {manifest.NAME, MARK}:
            raise ConfigError(
                f"{output} holds files that lowbg did not make ({', '.join(sorted(present)[:3])}). "
                "Choose an empty directory for -o."
            )
        for path in manifest.listed_files(output):
            path.unlink(missing_ok=True)
        (output / MARK).mkdir(exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{output}: {error.strerror}. Choose another -o.") from error


def score_stream(
    shards: Sequence[Shard],
    stdin: BinaryIO | None,
    out: BinaryIO,
    config: RunConfig,
    command: str = "",
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Scores shards, in their order, into one stream of JSON lines.

    Records that cannot be read have no row; they are counted and named in the outcome.
    """
    engine = Engine(config.policy, config.extras)
    engine.prepare()
    engine.setup()
    started, clock = dt.datetime.now(dt.UTC), time.perf_counter()
    writer = StreamWriter(out)
    results = []
    for shard in shards:
        opener = reader_opener(shard, stdin, config)
        sinks = _RowSinks(shard.name, writer, json_rows, None)
        results.append(
            run_shard(shard.name, shard.path, opener, partial(_same, sinks), engine, on_progress)
        )
    info = run_info(engine, config, command, started, time.perf_counter() - clock, 1, "stream", ())
    return Outcome(collect(info, results), tuple(results))


def _same(sinks: _RowSinks, reader: Reader, checkpoint: Checkpoint | None) -> _RowSinks:
    return sinks


@dataclass(frozen=True, slots=True)
class _ScoreSetup:
    """Makes a worker; pickles, so that it can be sent to a fresh process."""

    config: RunConfig
    output: Path
    format: ScoreFormat

    def __call__(self) -> _ScoreWorker:
        return _ScoreWorker(Engine(self.config.policy, self.config.extras).setup(), self)


class _ScoreWorker:
    def __init__(self, engine: Engine, setup: _ScoreSetup) -> None:
        self._engine = engine
        self._setup = setup

    def __call__(self, task: Shard, on_progress: OnProgress | None) -> ShardResult:
        setup = self._setup
        return run_shard(
            task.name,
            task.path,
            reader_opener(task, None, setup.config),
            lambda reader, checkpoint: _open_sinks(task.name, setup, self._engine.cascade.columns),
            self._engine,
            on_progress,
        )


def _open_sinks(name: str, setup: _ScoreSetup, optional: Sequence[str]) -> _RowSinks:
    root = setup.output
    quarantine = QuarantineWriter(quarantine_path(root, name), root)
    if setup.format is ScoreFormat.PARQUET:
        target = root / f"{stem(name)}.parquet"
        parquet = ParquetWriter(target, root, schema.score_schema(optional), ParquetLayout())
        return _RowSinks(name, parquet, table_rows, quarantine)
    if setup.format is ScoreFormat.DOLMA:
        # dolma pairs files by name, and reads only .json.gz and .jsonl.gz.
        target = root / "attributes" / "lowbg" / f"{stem(name)}.jsonl.gz"
        if name.endswith((".json.gz", ".jsonl.gz")):
            target = root / "attributes" / "lowbg" / name
        return _RowSinks(name, JsonlWriter(target, root, "gzip"), dolma_rows, quarantine)
    target = root / f"{stem(name)}.jsonl"
    return _RowSinks(name, JsonlWriter(target, root, "none"), json_rows, quarantine)


RowMaker: TypeAlias = Callable[[str, Batch, Judged], Payload]
"""Turns a judged batch of a shard into rows to write."""


class _RowSinks:
    """Every document becomes a row, whatever its verdict."""

    def __init__(
        self,
        name: str,
        writer: Writer | StreamWriter,
        rows: RowMaker,
        quarantine: QuarantineWriter | None,
    ) -> None:
        self._name = name
        self._writer = writer
        self._rows = rows
        self._quarantine = quarantine
        self._gaps = 0

    def write(self, batch: Batch, judged: Judged) -> int:
        """Appends one row a document."""
        self._gaps += batch.blank
        keep = np.ones(len(batch), np.bool_)
        self._writer.write(self._rows(self._name, batch, judged), keep)
        return len(batch)

    def quarantine(self, shard: str, rejected: Sequence[Rejected]) -> None:
        """Appends records that could not be read, where there is a place for them."""
        self._gaps += sum(record.count for record in rejected)
        if self._quarantine is not None:
            self._quarantine.write(shard, rejected)

    def end_shard(self) -> dict[str, WrittenFile]:
        """Finishes the shard's files; a stream is only flushed."""
        if isinstance(self._writer, StreamWriter):
            self._writer.flush()
            return {}
        if self._rows is dolma_rows and self._gaps:
            raise OutputError(
                f"{self._name}: {self._gaps} of its lines are no readable records, and dolma pairs "
                "attributes with documents line by line. Nothing of this shard was written; take "
                "out those lines, or score it with --as jsonl."
            )
        files = {"rows": self._writer.finish()}
        quarantine = self._quarantine.finish() if self._quarantine is not None else None
        return {**files, "quarantine": quarantine} if quarantine is not None else files

    def publish(self) -> None:
        """Gives the shard's files their names."""
        if isinstance(self._writer, StreamWriter):
            return
        self._writer.publish()
        if self._quarantine is not None:
            self._quarantine.publish()

    def abort(self) -> None:
        """Removes what was not committed."""
        if not isinstance(self._writer, StreamWriter):
            self._writer.abort()
        if self._quarantine is not None:
            self._quarantine.abort()


def score_table(shard: str, batch: Batch, judged: Judged) -> pa.RecordBatch:
    """The rows of a judged batch: `schema.SCORE_COLUMNS`, then the optional ones that there are."""
    decisions = judged.decisions
    codes = pa.array([*judged.documents.language_codes], pa.string())
    language = np.where(judged.documents.languages >= 0, judged.documents.languages, 0)
    known = judged.documents.languages >= 0
    own: dict[str, pa.Array] = {
        "id": batch.metadata.id,
        "shard": pa.array([shard] * len(batch), pa.string()),
        "record": pa.array(batch.records, pa.int64()),
        "language": codes.take(pa.array(language, pa.int64(), mask=~known)),
        "words": pa.array(judged.documents.tokens.words_per_document, pa.int64()),
        "ai_score": decisions.score,
        "verdict": pa.array([VERDICT_NAMES[v] for v in decisions.verdicts], pa.string()),
        "reasons": decisions.reasons_array(),
    }
    columns = {**judged.columns, **own}
    wanted = schema.score_schema(judged.columns)
    return pa.RecordBatch.from_arrays(
        [columns[name].cast(wanted.field(name).type) for name in wanted.names], schema=wanted
    )


def table_rows(shard: str, batch: Batch, judged: Judged) -> Payload:
    """Parquet rows."""
    return RowPayload(score_table(shard, batch, judged))


def json_rows(shard: str, batch: Batch, judged: Judged) -> Payload:
    """JSON lines; float32 values in their shortest decimal form."""
    table = score_table(shard, batch, judged)
    columns = [
        float32_values(column) if pa.types.is_float32(column.type) else column.to_pylist()
        for column in table.columns
    ]
    names = table.schema.names
    return _lines([dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)])


def dolma_rows(shard: str, batch: Batch, judged: Judged) -> Payload:
    """dolma attributes: `{id, attributes: {name: [[start, end, score]]}}`, in characters."""
    table = score_table(shard, batch, judged)
    lengths = [len(text) for text in batch.text.to_pylist()]
    numeric = [
        (name, float32_values(table.column(name)))
        for name in table.schema.names
        if pa.types.is_float32(table.schema.field(name).type)
    ]
    verdicts = table.column("verdict").to_pylist()
    rows: list[dict[str, object]] = []
    for i, (identifier, length) in enumerate(
        zip(batch.metadata.id.to_pylist(), lengths, strict=True)
    ):
        attributes: dict[str, object] = {
            f"lowbg__{name}": [[0, length, values[i]]]
            for name, values in numeric
            if values[i] is not None
        }
        attributes[f"lowbg__{verdicts[i]}"] = [[0, length, 1.0]]
        rows.append({"id": identifier, "attributes": attributes})
    return _lines(rows)


def _lines(rows: Sequence[object]) -> LinePayload:
    option = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
    lines = [orjson.dumps(row, option=option) for row in rows]
    ends = np.cumsum([len(line) for line in lines], dtype=np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]]) if lines else ends
    return LinePayload(b"".join(lines), starts, ends)
