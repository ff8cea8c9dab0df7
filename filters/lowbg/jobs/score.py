"""One row of features, score and verdict a document; routes nothing."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Final, TypeAlias

import numpy as np
import orjson
import pyarrow as pa

from lowbg import schema
from lowbg.config import VERDICTS, RunConfig, ScoreFormat
from lowbg.errors import OutputError
from lowbg.formats import table_format
from lowbg.formats.base import Output, Reader, TableFormat, Writer
from lowbg.formats.jsonl.rows import lines, python_values
from lowbg.formats.jsonl.writer import JsonlWriter, StreamWriter
from lowbg.formats.naming import stem
from lowbg.formats.quarantine import QuarantineWriter, quarantine_path
from lowbg.records import Batch, Payload, Rejected
from lowbg.report import collect
from lowbg.runs.checkpoints import Checkpoint
from lowbg.runs.directory import COMMON_ENTRIES, Layout
from lowbg.runs.engine import Engine, Judged
from lowbg.runs.inputs import Shard
from lowbg.runs.job import Job, Place, run_job
from lowbg.runs.run import OnShard, Outcome, reader_opener, run_info
from lowbg.runs.shard import OnProgress, run_shard
from lowbg.runs.sinks import QUARANTINE, check_inside
from lowbg.storage.files import PartState, WrittenFile

ROWS: Final = "rows"


@dataclass(frozen=True, slots=True)
class ScoreJob(Job):
    """One run of `lowbg score` into a directory, with rows in `format`."""

    format: ScoreFormat = ScoreFormat.JSONL


def score_shards(
    job: ScoreJob, on_progress: OnProgress | None = None, on_shard: OnShard | None = None
) -> Outcome:
    """Runs the job; rows, report and manifest are on disk when it returns.

    Raises what `jobs.run_job` does.
    """
    target_of = partial(rows_path, job.format)
    layout = Layout("score", COMMON_ENTRIES, target_of, {"format": job.format.value})
    open_sinks = partial(_open_sinks, job.format)
    return run_job(job, layout, target_of, open_sinks, on_progress, on_shard)


def rows_path(form: ScoreFormat, shard: str) -> str:
    """Where a shard's rows lie, relative to the output directory."""
    if form is not ScoreFormat.DOLMA:
        return f"{stem(shard)}{table_format(form.value).endings[0]}"
    # dolma pairs files by name, and reads only .json.gz and .jsonl.gz.
    name = shard if shard.endswith((".json.gz", ".jsonl.gz")) else f"{stem(shard)}.jsonl.gz"
    return f"attributes/lowbg/{name}"


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
        sinks = _RowStream(shard.name, writer)
        results.append(
            run_shard(shard.name, shard.path, opener, partial(_same, sinks), engine, on_progress)
        )
    info = run_info(engine, config, command, started, time.perf_counter() - clock, 1, "stream", ())
    return Outcome(collect(info, results, engine.columns.bins), tuple(results))


def _same(sinks: _RowStream, reader: Reader, checkpoint: Checkpoint | None) -> _RowStream:
    return sinks


def _open_sinks(form: ScoreFormat, place: Place, reader: Reader) -> _RowFiles:
    root, target = place.root, place.root / rows_path(form, place.shard)
    check_inside(root, target)
    quarantine = quarantine_path(root, place.shard)
    check_inside(root, quarantine)
    rejected = QuarantineWriter(quarantine, root, place.part_of(QUARANTINE))
    part = place.part_of(ROWS)
    try:
        if form is ScoreFormat.DOLMA:
            return _RowFiles(place, JsonlWriter(target, root, "gzip", part), dolma_rows, rejected)
        table = table_format(form.value)
        output = Output(target, root, part=part)
        writer = table.open_table(place.columns.schema, output)
        return _RowFiles(place, writer, partial(_rows, table), rejected)
    except BaseException:
        rejected.abort()
        raise


RowMaker: TypeAlias = Callable[[str, Batch, Judged], Payload]
"""Turns a judged batch of a shard into rows to write."""


class _RowStream:
    """Every document of a shard becomes a line of a stream, whatever its verdict."""

    def __init__(self, shard: str, writer: StreamWriter) -> None:
        self._shard = shard
        self._writer = writer
        self._table = table_format("jsonl")

    def write(self, batch: Batch, judged: Judged) -> int:
        """Appends one line a document."""
        rows = _rows(self._table, self._shard, batch, judged)
        self._writer.write(rows, np.ones(len(batch), np.bool_))
        return len(batch)

    def quarantine(self, shard: str, rejected: Sequence[Rejected]) -> None:
        """Nothing: records that could not be read have no line; they are counted."""

    def end_shard(self) -> dict[str, WrittenFile]:
        """Flushes the stream."""
        self._writer.flush()
        return {}

    def publish(self) -> None:
        """Nothing: a stream has no name."""

    def abort(self) -> None:
        """Nothing: what was written is out."""


class _RowFiles:
    """Every document of a shard becomes a row of its file; what could not be read has another."""

    def __init__(
        self,
        place: Place,
        writer: Writer,
        rows: RowMaker,
        quarantine: QuarantineWriter,
    ) -> None:
        self._shard = place.shard
        self._writer = writer
        self._rows = rows
        self._quarantine = quarantine
        before = place.checkpoint
        self._gaps = before.tally.blank + before.tally.quarantined if before is not None else 0

    def write(self, batch: Batch, judged: Judged) -> int:
        """Appends one row a document."""
        self._gaps += batch.blank
        keep = np.ones(len(batch), np.bool_)
        self._writer.write(self._rows(self._shard, batch, judged), keep)
        return len(batch)

    def quarantine(self, shard: str, rejected: Sequence[Rejected]) -> None:
        """Appends records that could not be read."""
        self._gaps += sum(record.count for record in rejected)
        self._quarantine.write(shard, rejected)

    def checkpoint(self, turn: int) -> dict[str, PartState]:
        """Makes what was written durable, and says by output how far it is."""
        parts = {ROWS: self._writer.checkpoint(turn)}
        quarantine = self._quarantine.checkpoint(turn)
        return {**parts, QUARANTINE: quarantine} if quarantine is not None else parts

    def end_shard(self) -> dict[str, WrittenFile]:
        """Finishes the shard's files; the quarantine only where it holds something."""
        if self._rows is dolma_rows and self._gaps:
            raise OutputError(
                f"{self._shard}: {self._gaps} of its lines are no readable records, and dolma "
                "pairs attributes with documents line by line. Nothing of this shard was written; "
                "take out those lines, or score it with --as jsonl."
            )
        files = {ROWS: self._writer.finish()}
        quarantine = self._quarantine.finish()
        return {**files, QUARANTINE: quarantine} if quarantine is not None else files

    def publish(self) -> None:
        """Gives the shard's files their names."""
        self._writer.publish()
        self._quarantine.publish()

    def abort(self) -> None:
        """Removes what was not committed; parts stay."""
        self._writer.abort()
        self._quarantine.abort()


def score_table(shard: str, batch: Batch, judged: Judged) -> pa.RecordBatch:
    """The rows of a judged batch, as its scorers declare them."""
    decisions = judged.decisions
    codes = pa.array([*judged.documents.language_codes], pa.string())
    language = np.where(judged.documents.languages >= 0, judged.documents.languages, 0)
    known = judged.documents.languages >= 0
    own: dict[str, pa.Array] = {
        schema.ID.name: batch.metadata.id,
        schema.SHARD.name: pa.array([shard] * len(batch), pa.string()),
        schema.RECORD.name: pa.array(batch.records, pa.int64()),
        schema.LANGUAGE.name: codes.take(pa.array(language, pa.int64(), mask=~known)),
        schema.WORDS.name: pa.array(judged.documents.tokens.words_per_document, pa.int64()),
        schema.AI_SCORE.name: decisions.score,
        schema.VERDICT.name: pa.array([VERDICTS[v] for v in decisions.verdicts], pa.string()),
        schema.REASONS.name: decisions.reasons_array(),
    }
    columns = {**judged.columns, **own}
    wanted = judged.declared.schema
    return pa.RecordBatch.from_arrays(
        [columns[name].cast(wanted.field(name).type) for name in wanted.names], schema=wanted
    )


def _rows(table: TableFormat, shard: str, batch: Batch, judged: Judged) -> Payload:
    """The rows as they are stored in a format."""
    return table.payload_of(score_table(shard, batch, judged))


def dolma_rows(shard: str, batch: Batch, judged: Judged) -> Payload:
    """dolma attributes: `{id, attributes: {name: [[start, end, score]]}}`, in characters."""
    table = score_table(shard, batch, judged)
    lengths = [len(text) for text in batch.text.to_pylist()]
    features = {column.name for column in (*judged.declared.features, schema.AI_SCORE)}
    numeric = [
        (column.name, python_values(table.column(column.name)))
        for column in table.schema
        if column.name in features
        and (pa.types.is_floating(column.type) or pa.types.is_integer(column.type))
    ]
    verdicts = table.column("verdict").to_pylist()
    rows = []
    for i, (identifier, length) in enumerate(
        zip(batch.metadata.id.to_pylist(), lengths, strict=True)
    ):
        attributes: dict[str, object] = {
            f"lowbg__{name}": [[0, length, values[i]]]
            for name, values in numeric
            if values[i] is not None
        }
        attributes[f"lowbg__{verdicts[i]}"] = [[0, length, 1.0]]
        row = {"id": identifier, "attributes": attributes}
        rows.append(orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY))
    return lines(rows)
