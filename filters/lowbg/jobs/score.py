"""One row of features, score and verdict a document; routes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO, Final

import numpy as np
import orjson
import pyarrow as pa

from lowbg import schema
from lowbg.arrays import column_of, strings_of
from lowbg.config import VERDICTS, FieldNames, ScoreFormat
from lowbg.decision.unscored import is_prose
from lowbg.errors import ConfigError, OutputError
from lowbg.formats import table_format
from lowbg.formats.base import Output, Reader, SplitFormat, TableFormat
from lowbg.formats.jsonl.rows import lines, python_values
from lowbg.formats.jsonl.writer import JsonlWriter, StreamWriter
from lowbg.formats.naming import stem
from lowbg.records import Batch, Payload, Rejected, Rejections
from lowbg.runs.directory import COMMON_ENTRIES, Layout
from lowbg.runs.engine import Engine, Judged
from lowbg.runs.job import Job, Outcome, StreamJob
from lowbg.runs.progress import NOBODY, Observer
from lowbg.runs.run import DirectoryTask, StreamRun, open_run
from lowbg.runs.shard import run_shard
from lowbg.runs.sinks import Outputs, Place, ShardFiles, check_inside
from lowbg.storage.files import WrittenFile
from lowbg.text.digests import text_digest

ROWS: Final = "rows"


@dataclass(frozen=True, slots=True)
class ScoreJob(Job):
    """One run of `lowbg score` into a directory, with rows in `format`."""

    format: ScoreFormat = ScoreFormat.JSONL


def score_shards(job: ScoreJob, observer: Observer = NOBODY) -> Outcome:
    """Runs the job; rows, report and manifest are on disk when it returns.

    Raises what `filter_shards` does.
    """
    target_of = partial(rows_path, job.format)
    layout = Layout("score", COMMON_ENTRIES, target_of, format=job.format)
    task = ScoreTask(job.config, job.output, job.durability, format=job.format)
    with open_run(job, layout, target_of, observer) as run:
        for ended in run.ends(task):
            run.add(ended)
        return run.finish()


@dataclass(frozen=True, slots=True)
class ScoreTask(DirectoryTask):
    """What is done with a shard: every document becomes a row."""

    format: ScoreFormat = ScoreFormat.JSONL

    @property
    def takes_pieces(self) -> bool:
        """Not for dolma, which pairs lines: those that are no records are counted by shard."""
        return self.format is not ScoreFormat.DOLMA

    def open_outputs(self, place: Place, reader: Reader) -> RowFiles:
        """The shard's rows and its quarantine."""
        assert isinstance(self.judge, Engine)
        return RowFiles(place, self, self.judge.columns)


def rows_path(form: ScoreFormat, shard: str) -> str:
    """Where a shard's rows lie, relative to the output directory."""
    if form is not ScoreFormat.DOLMA:
        return f"{stem(shard)}{table_format(form.value).endings[0]}"
    # dolma pairs files by name, and reads only .json.gz and .jsonl.gz.
    name = shard if shard.endswith((".json.gz", ".jsonl.gz")) else f"{stem(shard)}.jsonl.gz"
    return f"attributes/lowbg/{name}"


@dataclass(frozen=True, slots=True)
class ScoreStreamJob(StreamJob):
    """One run of `lowbg score` into the stream `out`, as JSON lines."""

    out: BinaryIO = field(kw_only=True)


def score_stream(job: ScoreStreamJob, observer: Observer = NOBODY) -> Outcome:
    """Scores shards, in their order.

    Records that cannot be read have no row; they are counted and named in the outcome.
    """
    run = _ScoreStream(job)
    return run.outcome([run_shard(shard, run, observer.progress) for shard in job.shards])


class _ScoreStream(StreamRun):
    def __init__(self, job: ScoreStreamJob) -> None:
        super().__init__(job)
        self._writer = StreamWriter(job.out)

    def open_outputs(self, place: Place, reader: Reader) -> _RowStream:
        """The stream, for the rows of one shard."""
        return _RowStream(place.shard, self._writer, self._job.config.fields)


class _RowStream(Outputs):
    """Every document of a shard becomes a line of a stream, whatever its verdict."""

    def __init__(self, shard: str, writer: StreamWriter, fields: FieldNames) -> None:
        self._shard = shard
        self._fields = fields
        self._writer = writer
        self._table = table_format("jsonl")

    def write(self, batch: Batch, judged: Judged) -> int:
        """Appends one line a document."""
        rows = _rows(self._table, self._shard, batch, judged, self._fields)
        self._writer.write(rows, np.ones(len(batch), np.bool_))
        return len(batch)

    def end_shard(self) -> dict[str, WrittenFile]:
        """Flushes the stream."""
        self._writer.flush()
        return {}


class RowFiles(ShardFiles):
    """Every document of a shard becomes a row of its file; what could not be read has another."""

    def __init__(self, place: Place, task: ScoreTask, columns: schema.Columns) -> None:
        root, form = task.output, task.format
        super().__init__(root, place, task.config)
        self._shard = place.shard
        self._fields = task.config.fields
        self._table = None if form is ScoreFormat.DOLMA else table_format(form.value)
        before = place.checkpoint
        self._gaps = before.tally.blank + before.tally.quarantined if before is not None else 0
        target, part = root / rows_path(form, place.shard), place.part(ROWS)
        with self.opening():
            check_inside(root, target)
            if self._table is None:
                self.writers[ROWS] = JsonlWriter(target, root, "gzip", part)
            else:
                rows = with_kept(columns, self._fields.others).schema
                self.writers[ROWS] = (
                    self._table.open_table_log(rows, Output(part.path, root, part=part))
                    if place.is_piece and part is not None
                    else self._table.open_table(rows, Output(target, root, part=part))
                )

    def write(self, batch: Batch, judged: Judged) -> int:
        """Appends one row a document."""
        self._gaps += batch.blank
        keep = np.ones(len(batch), np.bool_)
        rows = (
            dolma_rows(self._shard, batch, judged)
            if self._table is None
            else _rows(self._table, self._shard, batch, judged, self._fields)
        )
        self.writers[ROWS].write(rows, keep)
        return len(batch)

    def append_logs(self, form: SplitFormat | TableFormat, logs: Sequence[WrittenFile]) -> None:
        """Appends the rows of a piece of the shard; they are of this file's format, not of its."""
        assert self._table is not None
        super().append_logs(self._table, logs)

    def quarantine(self, shard: str, rejected: Sequence[Rejected]) -> None:
        """Appends records that could not be read."""
        self._gaps += int(Rejections.of(rejected).counts.sum())
        super().quarantine(shard, rejected)

    def end_shard(self) -> dict[str, WrittenFile]:
        """Finishes the shard's files; the quarantine only where it holds something."""
        if self._table is None and self._gaps:
            raise OutputError(
                f"{self._shard}: {self._gaps} of its lines are no readable records, and dolma "
                "pairs attributes with documents line by line. Nothing of this shard was written; "
                'take out those lines, or score it with `format="jsonl"`.'
            )
        return super().end_shard()


def document_columns(judged: Judged) -> dict[str, pa.Array]:
    """What is known of judged documents, a column each: features, language, words and verdict."""
    decisions = judged.decisions
    codes = [*judged.documents.language_codes, None]  # the last is that of −1
    languages = [codes[i] for i in judged.documents.languages.tolist()]
    return {
        **judged.columns,
        schema.LANGUAGE.name: strings_of(languages, pa.string()),
        schema.WORDS.name: column_of(judged.documents.tokens.words_per_document),
        schema.AI_SCORE.name: decisions.score,
        schema.VERDICT.name: strings_of([VERDICTS[v] for v in decisions.verdicts], pa.string()),
        schema.REASONS.name: decisions.reasons_array(),
    }


def as_rows(columns: Mapping[str, pa.Array], wanted: pa.Schema) -> pa.RecordBatch:
    """The columns that a schema wants, in its order and types."""
    arrays = [
        column if column.type == kind else column.cast(kind)
        for column, kind in ((columns[name], wanted.field(name).type) for name in wanted.names)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=wanted)


def with_kept(columns: schema.Columns, kept: Sequence[str]) -> schema.Columns:
    """The columns of rows that have fields of their records, too.

    Raises `ConfigError` where a column is called so already.
    """
    taken = [name for name in kept if name in columns.schema.names]
    if taken:
        raise ConfigError(f"the field {taken[0]!r} can't be kept: a column of the row is so called")
    own = (
        schema.Column(name, pa.string(), meaning="the record's field", null="it has none", order=0)
        for name in kept
    )
    return schema.Columns.of((*columns.features, *own))


def score_table(
    shard: str, batch: Batch, judged: Judged, fields: FieldNames | None = None
) -> pa.RecordBatch:
    """The rows of a judged batch, as its scorers declare them, with the other fields of `fields`.

    Its date is as it is read: out of the box that it may be in.
    """
    kept = () if fields is None else fields.others
    own = batch.metadata
    documents = judged.documents
    codes = [*documents.language_codes, None]
    by_language = [judged.scored_by.get(code, judged.scored_by[None]) for code in codes]
    scored_by = [by_language[i] for i in documents.languages.tolist()]
    place: dict[str, pa.Array] = {
        schema.ID.name: batch.metadata.id,
        schema.SHARD.name: strings_of([shard] * len(batch), pa.string()),
        schema.RECORD.name: column_of(batch.records.astype(np.int64)),
        schema.TEXT_DIGEST.name: strings_of(list(map(text_digest, batch.text)), pa.string()),
        schema.IS_PROSE.name: column_of(is_prose(documents.tokens.counts)),
        schema.SCORED_BY.name: strings_of(scored_by, pa.string()),
    }
    place |= {name: own.others[name] for name in kept}
    if fields is not None and fields.date in kept:
        place[fields.date] = own.date
    wanted = with_kept(judged.declared, kept).schema if kept else judged.declared.schema
    return as_rows({**document_columns(judged), **place}, wanted)


def _rows(
    table: TableFormat, shard: str, batch: Batch, judged: Judged, fields: FieldNames
) -> Payload:
    """The rows as they are stored in a format."""
    return table.payload_of(score_table(shard, batch, judged, fields))


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
