"""Reads Arrow IPC: record batches in, batches of records out, rows kept whole for the output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import pyarrow as pa

from lowbg.config import RunConfig
from lowbg.errors import CheckpointError, CutStreamError, FormatError
from lowbg.formats.arrow import FORMAT
from lowbg.formats.arrow.layout import ArrowLayout
from lowbg.formats.arrow.messages import (
    CONTINUATION,
    END,
    FILE_HEADER_BYTES,
    FILE_MARK,
    OLD_END,
    batch_header,
)
from lowbg.formats.base import Format, Opened
from lowbg.formats.columns import check_text_column, paths_of_text
from lowbg.formats.rows import (
    GROUP_BYTES,
    Portion,
    RowReader,
    check_reading,
    in_a_line,
)
from lowbg.formats.views import bytes_kind, has_list_view, without_views
from lowbg.records import Batch, Position

_ROWS_PER_BATCH: Final = 1000
"""Of an output whose input has no record batch."""

_FAULTS: Final = (pa.ArrowException, OSError, ValueError, MemoryError)


class ArrowReader(RowReader):
    """The records of one Arrow IPC file or stream, in their order.

    All columns are read: kept rows are written again. `schema` is the stored one with views as the
    plain types that Arrow can filter. A record batch is held as a whole. Raises `FormatError` when
    the schema can't be read, when the text column is absent or holds no strings, and where Arrow
    can't take rows from a column; `InputError` when the file cannot be read. Iterating raises
    `FormatError` after the last record batch before the damage, `CutStreamError` for a stream
    without its end mark; what follows has no number of rows that could be counted.
    """

    format: Format = FORMAT
    compression = "none"

    def __init__(self, source: Opened, config: RunConfig) -> None:
        super().__init__(
            source.name,
            config.read_fields,
            batch_bytes=config.block_bytes,
            max_record_bytes=config.max_record_bytes,
        )
        self._raw = source.raw
        self._skip = 0
        try:
            is_file = _is_file(self._raw)
            rows, codec = _first_batch(self._raw, is_file=is_file)
            self._source = _open(self._raw, self.name)
            self.layout = ArrowLayout(self._source.schema, is_file, codec, rows)
            self.schema = without_views(self._source.schema)
            check_text_column(self.schema, self.fields.text, self.name)
            _check_types(self.schema, self.name)
            self.seen_fields = Counter(dict.fromkeys(paths_of_text(self.schema), 0))
        except _FAULTS as error:
            self._raw.close()
            check_reading(error, self.name)
            raise FormatError(
                f"{self.name}: its schema can't be read: it is damaged, or of a later version of "
                f"Arrow ({in_a_line(error)})"
            ) from error
        except BaseException:
            self._raw.close()
            raise
        self.kind: object = (self.layout.schema, is_file)

    def close(self) -> None:
        """Releases the file; safe to call twice."""
        self._raw.close()

    def position(self) -> Position:
        """Where the reader stands after the batch that it yielded last."""
        return Position(self.records)

    def start_at(self, position: Position) -> None:
        """Makes the first batch the one that followed `position`; call it before iterating."""
        self._skip = position.record

    def __iter__(self) -> Iterator[Batch]:
        yield from self.batches(self._portions())
        self._check_skipped()
        self._check_end()

    def _portions(self) -> Iterator[Portion]:
        """The record batches."""
        batches = self._batches()
        done = 0
        while True:
            try:
                rows = next(batches, None)
                if rows is not None:
                    _check_values(rows)
            except _FAULTS as error:
                check_reading(error, self.name)
                self._check_skipped()
                raise FormatError(
                    f"{self.name}: damaged after {done:,} rows ({in_a_line(error)}). "
                    "They were processed; fetch or write it again."
                ) from error
            if rows is None:
                return
            done += len(rows)
            behind = min(self._skip, len(rows))
            self._skip -= behind
            self.records += behind
            if behind < len(rows):
                yield Portion(rows.slice(behind), self._raw.tell())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        if isinstance(self._source, pa.ipc.RecordBatchFileReader):
            for i in range(self._source.num_record_batches):
                yield self._source.get_batch(i)
        else:
            yield from self._source

    def _check_skipped(self) -> None:
        if self._skip:
            raise CheckpointError(f"{self.name}: has fewer rows than its checkpoint")

    def _check_end(self) -> None:
        """Raises what is wrong with the end of a stream: Arrow takes any end for the end."""
        if isinstance(self._source, pa.ipc.RecordBatchFileReader):
            return
        processed = f"its {self.records:,} rows were processed"
        if self.layout.is_file:
            raise FormatError(
                f"{self.name}: an Arrow file whose index is missing or damaged; {processed}, and "
                "more may be lost. Fetch or write it again."
            )
        at = self._raw.tell()
        self._raw.seek(0)
        end = END if self._raw.read(len(CONTINUATION)) == CONTINUATION else OLD_END
        self._raw.seek(max(0, at - len(end)))
        if self._raw.read(len(end)) != end:
            raise CutStreamError(
                f"{self.name}: an Arrow stream without its end mark: it is cut, or was never "
                f"ended; {processed}"
            )
        if self._raw.read(1):
            raise FormatError(
                f"{self.name}: goes on after the end of its Arrow stream; {processed}. Streams "
                "that lie one behind the other are read one by one: split them"
            )


def _is_file(raw: BinaryIO) -> bool:
    at = raw.tell()
    raw.seek(0)
    mark = raw.read(len(FILE_MARK))
    raw.seek(at)
    return mark == FILE_MARK


def _open(raw: BinaryIO, name: str) -> pa.RecordBatchReader | pa.ipc.RecordBatchFileReader:
    """A file by its index; without one by what it holds beside it, a stream."""
    if not _is_file(raw):
        raw.seek(0)
        return pa.ipc.open_stream(pa.PythonFile(raw, mode="r"))
    try:
        return pa.ipc.open_file(pa.PythonFile(raw, mode="r"))
    except _FAULTS as error:
        check_reading(error, name)
        raw.seek(FILE_HEADER_BYTES)
        return pa.ipc.open_stream(pa.PythonFile(raw, mode="r"))


def _check_types(schema: pa.Schema, name: str) -> None:
    """Raises `FormatError` where rows can't be taken from a column."""
    nothing = pa.array([], pa.bool_())
    for field in schema:
        kind = field.type
        inner = [kind.field(i).type for i in range(kind.num_fields)]
        try:
            pa.nulls(0, kind).filter(nothing)
            if any(map(has_list_view, inner)):  # They keep what lies between their rows.
                raise pa.ArrowNotImplementedError("a list view inside another type")
        except pa.ArrowNotImplementedError as error:
            raise FormatError(
                f"{name}: column {field.name!r} is {kind}, of which Arrow can't take rows; write "
                "it as another type"
            ) from error


def _check_values(rows: pa.RecordBatch) -> None:
    """Raises `ArrowInvalid` where buffers contradict one another: Arrow would read beyond them.

    A text that isn't UTF-8 is a matter of its record.
    """
    for column in rows.columns:
        column.validate()
        _check_views(column)
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            if "UTF" not in str(error):
                raise
            # As bytes: the search for what contradicts ends at the first text that isn't UTF-8.
            if pa.types.is_dictionary(column.type):
                values = column.dictionary.view(bytes_kind(column.type.value_type))
                column = pa.DictionaryArray.from_arrays(column.indices, values)
            else:
                column = column.view(bytes_kind(column.type))
            column.validate(full=True)


def _check_views(column: pa.Array) -> None:
    """Raises `ArrowInvalid` for a view of negative size in a null's place: nothing validates it,
    and Arrow's casts end the process over it."""
    kind = column.type
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        views = np.frombuffer(column.buffers()[1], np.int32)[::4]
        if (views[column.offset : column.offset + len(column)] < 0).any():
            raise pa.ArrowInvalid("a view of negative size")
    elif pa.types.is_map(kind):
        _check_views(column.keys)
        _check_views(column.items)
    elif pa.types.is_struct(kind):
        for i in range(kind.num_fields):
            _check_views(column.field(i))
    elif pa.types.is_dictionary(kind):
        _check_views(column.dictionary)
    elif pa.types.is_nested(kind) and hasattr(column, "values"):
        _check_views(column.values)


def _first_batch(raw: BinaryIO, *, is_file: bool) -> tuple[int, str]:
    """How many rows an output's record batches get, and their codec: as the first one's here."""
    raw.seek(FILE_HEADER_BYTES if is_file else 0)
    source = pa.PythonFile(raw, mode="r")
    try:
        while (message := pa.ipc.read_message(source)).type != "record batch":
            pass
        header = batch_header(message.metadata.to_pybytes())
    except (EOFError, *_FAULTS):  # Reading says what is wrong, and where.
        return _ROWS_PER_BATCH, "none"
    row_bytes = max(1, len(message.body) // max(1, header.rows))
    return min(max(1, header.rows), max(1, GROUP_BYTES // row_bytes)), header.codec


def count_rows(path: Path) -> int:
    """How many rows a file or stream has. Raises `InputError` where it is damaged."""
    try:
        with path.open("rb", buffering=0) as raw:
            source = _open(raw, str(path))
            if isinstance(source, pa.ipc.RecordBatchFileReader):
                return int(source.count_rows())
            return sum(len(rows) for rows in source)
    except _FAULTS as error:
        check_reading(error, str(path))
        raise FormatError(f"{path}: damaged ({in_a_line(error)})") from error
