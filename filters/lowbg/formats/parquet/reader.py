"""Reads Parquet: row groups in, batches of records out, rows kept whole for the output.

Rows are decoded in slices whose size depends on the file alone, so that what can be read of a
damaged file does not depend on the batch size.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from lowbg.config import FieldNames
from lowbg.errors import CheckpointError, FormatError
from lowbg.formats.base import Format, SplitReader
from lowbg.formats.columns import check_text_column, paths_of_text
from lowbg.formats.foreign import ENCRYPTED_PARQUET
from lowbg.formats.parquet import FORMAT, int96, logical
from lowbg.formats.parquet.layout import ParquetLayout
from lowbg.formats.parquet.slices import GroupSlices
from lowbg.formats.rows import (
    Gap,
    Portion,
    RowReader,
    check_reading,
    in_a_line,
)
from lowbg.formats.views import without_views
from lowbg.records import Batch, Position
from lowbg.storage.compression import open_binary


class ParquetReader(RowReader, SplitReader):
    """The records of one Parquet file, in their order.

    `source` is a path, an fsspec URL or a seekable binary stream; `name` is what messages call
    the shard. All columns are read: kept rows are written again. `schema` is the Arrow schema
    with its metadata, view types as the plain ones that Arrow can filter (stored they are alike),
    `layout` what a writer needs to lay an output out alike.

    Raises `FormatError` when the file's footer is missing or damaged, and when the text
    column is absent or holds no strings, `InputError` when the file cannot be read. A row group
    that cannot be decoded becomes one `Rejected` that counts its remaining rows; the other groups
    are read, and iterating raises `FormatError` after the last batch.
    """

    format: Format = FORMAT
    compression = "none"

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        fields: FieldNames,
        *,
        batch_bytes: int,
        max_record_bytes: int,
        name: str,
    ) -> None:
        super().__init__(name, fields, batch_bytes=batch_bytes, max_record_bytes=max_record_bytes)
        if isinstance(source, (str, os.PathLike)):
            self._raw = open_binary(source)
        else:
            self._raw = source
        try:
            self._file = _open(self._raw, name)
            unit = "ns"
            if int96.paths(self._file):
                in_us = _open(self._raw, name, int96_unit="us")
                if not int96.fit_nanoseconds(in_us):
                    self._file, unit = in_us, "us"
            self.schema: pa.Schema = without_views(self._file.schema_arrow)
            _check_rows(self._file, name)
            self.layout = _layout(self._file, name)
            self.kind: object = (self.schema, self.layout.geometries)
            self.notes = self._notes()
            check_text_column(self.schema, fields.text, name)
        except (pa.ArrowException, OSError, ValueError) as error:
            # Names in a damaged footer need not be UTF-8, types need not exist.
            self._raw.close()
            check_reading(error, name)
            raise _damaged(name, error) from error
        except BaseException:
            self._raw.close()
            raise
        self._slices = GroupSlices(
            self._file, self.schema, lambda columns: _open(self._raw, name, unit, columns)
        )
        columns = self._file.schema
        self._flat = [i for i in range(len(columns)) if not columns.column(i).max_repetition_level]
        self.seen_fields = Counter(dict.fromkeys(paths_of_text(self.schema), 0))
        self._consumed = 0
        self._damaged: list[int] = []
        self._skip = 0
        self._stop: int | None = None
        # Of a piece: stored bytes, about, and rows before it.
        self._begin = 0, 0

    def _notes(self) -> tuple[str, ...]:
        written = logical.with_geometries(self.schema, dict(self.layout.geometries))
        lost = logical.lost(self._file, written)
        if not lost:
            return ()
        return (
            f"{self.name}: outputs keep the values of {', '.join(lost)}, but not that type, which "
            "Arrow lacks",
        )

    def close(self) -> None:
        """Releases the file; safe to call twice."""
        self._file.close(force=True)
        self._raw.close()

    def position(self) -> Position:
        """Where the reader stands after the batch that it yielded last."""
        return Position(self.records, damaged=tuple(self._damaged), frame=self._begin)

    def start_at(self, position: Position) -> None:
        """Makes the first batch the one that followed `position`; call it before iterating."""
        self._skip = position.record
        self._damaged = list(position.damaged)
        self._begin = position.frame
        self._consumed = position.frame[0]

    def stop_at(self, position: Position) -> None:
        """Makes the row group in front of `position` the last one; call it before iterating."""
        self._stop = position.record

    def __iter__(self) -> Iterator[Batch]:
        groups = [self._file.metadata.row_group(i) for i in range(self._file.num_row_groups)]
        # Not the file's own count: a damaged footer may contradict its row groups.
        rows = sum(metadata.num_rows for metadata in groups)
        if self._skip > rows:
            raise CheckpointError(f"{self.name}: has fewer rows than its checkpoint")
        yield from self.batches(self._portions(groups))
        if self._damaged:
            damaged = ", ".join(map(str, self._damaged))
            raise FormatError(
                f"{self.name}: row group {damaged} of {len(groups)} cannot "
                "be decoded; its rows are quarantined, the others were processed."
            )
        if rows != self._file.metadata.num_rows:
            raise FormatError(
                f"{self.name}: its row groups have {rows} rows, its index says "
                f"{self._file.metadata.num_rows}: it is damaged. The {rows} were processed."
            )

    def _portions(self, groups: list[Any]) -> Iterator[Portion | Gap]:
        """What is decoded of the row groups with this metadata, in order."""
        behind = 0
        for group, metadata in enumerate(groups):
            if behind == self._stop:
                return
            behind += metadata.num_rows
            if self._skip and metadata.num_rows <= self._skip:
                self._skip -= metadata.num_rows
                self.records += metadata.num_rows
                if group not in self._damaged and behind > self._begin[1]:
                    self._consumed += _stored_bytes(metadata)
                continue
            yield from self._group(group, metadata)

    def _group(self, group: int, metadata: Any) -> Iterator[Portion | Gap]:
        """What is decoded of one row group, and last what could not be."""
        rows = metadata.num_rows
        stored = 0
        before = self._consumed
        done = 0
        for decoded in self._decode(group, rows, metadata.total_byte_size):
            if isinstance(decoded, str):
                self._damaged.append(group)
                yield Gap(f"row group {group}", rows - done, decoded, before + stored)
                break
            # Not before a part was decoded: see `_is_sound`.
            if not stored:
                self._check_values(group, metadata)
                stored = _stored_bytes(metadata)
            behind = min(self._skip, len(decoded))
            self._skip -= behind
            self.records += behind
            done += len(decoded)
            if behind < len(decoded):
                consumed = before + stored * done // max(done, rows)
                yield Portion(decoded.slice(behind), consumed)
        self._consumed = before + stored

    def _check_values(self, group: int, metadata: Any) -> None:
        """Raises `FormatError` where columns hold more rows than the index says: they'd be lost."""
        for i in self._flat:
            values = metadata.column(i).num_values
            if values > metadata.num_rows:
                raise FormatError(
                    f"{self.name}: row group {group}: {values} values in a column, but "
                    f"{metadata.num_rows} rows by the file's index, which is damaged. The row "
                    "groups before it were processed; fetch or write the file again."
                )

    def _decode(self, group: int, rows: int, size: int) -> Iterator[pa.RecordBatch | str]:
        """One row group in slices; what is wrong, where it breaks off."""
        done = 0
        try:
            for batch in self._slices.of(group, rows, size):
                done += len(batch)
                yield batch
        except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
            check_reading(error, self.name)
            yield in_a_line(error)
            return
        if done < rows:
            yield f"it holds {done} rows, the file's index says {rows}"


def group_starts(raw: BinaryIO, name: str, size: int) -> Iterator[Position]:
    """The row groups that pieces after the first begin with, each about `size` stored bytes behind
    another. Raises `FormatError` where the file's index is missing or damaged."""
    file = _open(raw, name)
    _check_rows(file, name)
    groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
    # What each stores is said of its columns, whose metadata mustn't be looked at (`_is_sound`).
    length = raw.seek(0, os.SEEK_END)
    share = length / max(1, sum(group.total_byte_size for group in groups))
    stored, rows, last = 0.0, 0, 0
    for group in groups:
        if stored - last >= size and rows:
            last = int(stored)
            yield Position(rows, frame=(last, rows))
        stored += group.total_byte_size * share
        rows += group.num_rows


def _open(
    raw: BinaryIO, name: str, int96_unit: str = "ns", dictionaries: Sequence[str] = ()
) -> pq.ParquetFile:
    """The file; the columns of strings with the paths `dictionaries` are read as such."""
    if not raw.seekable():
        raise FormatError(
            f"{name}: Parquet cannot be read from a pipe (its index is at the end); "
            "save it to a file and give that"
        )
    try:
        # Checksums are verified where the file has them; decoding streams, never a whole group.
        return pq.ParquetFile(
            raw,
            read_dictionary=[*dictionaries],
            buffer_size=1 << 20,
            pre_buffer=False,
            page_checksum_verification=True,
            coerce_int96_timestamp_unit=int96_unit,
        )
    except (pa.ArrowException, OSError, ValueError) as error:
        check_reading(error, name)
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> FormatError:
    if isinstance(error, pa.ArrowNotImplementedError):
        return FormatError(
            f"{name}: a Parquet file with a type that Arrow doesn't read ({in_a_line(error)}); "
            "write it again without that column, or with another type for it"
        )
    return FormatError(
        f"{name}: not a whole Parquet file, its footer is missing or damaged "
        f"({in_a_line(error)}); fetch or write it again"
    )


def _check_rows(file: pq.ParquetFile, name: str) -> None:
    for i in range(file.num_row_groups):
        rows = file.metadata.row_group(i).num_rows
        if rows < 0:
            raise _damaged(name, ValueError(f"row group {i} has {rows} rows"))


def _stored_bytes(group: Any) -> int:
    return sum(group.column(i).total_compressed_size for i in range(group.num_columns))


def _is_sound(file: pq.ParquetFile, group: int, name: str) -> bool:
    """Whether a row group's column metadata may be looked at.

    Raises `FormatError` where it is encrypted. Where it is damaged pyarrow ends the process
    (`std::terminate`: its accessors let a C++ exception through); decoding, which looks at the same
    metadata, raises instead.
    """
    try:
        next(file.iter_batches(1, row_groups=[group], use_threads=False), None)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        check_reading(error, name)
        if "decrypt" in str(error):
            told = ENCRYPTED_PARQUET.told(name, "none", has_name=True)
            raise FormatError(f"{name}: {told}") from error
        return False
    return True


def _layout(file: pq.ParquetFile, name: str) -> ParquetLayout:
    """The layout that an output of this file gets."""
    metadata = file.metadata
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    codecs: tuple[str, ...] = ()
    sound = next((group for i, group in enumerate(groups) if _is_sound(file, i, name)), None)
    if sound is not None:
        columns = [sound.column(i).compression for i in range(sound.num_columns)]
        codecs = tuple(_codec(codec) for codec in columns)
    rows = max((group.num_rows for group in groups), default=0)
    return ParquetLayout(
        codecs,
        max(1, rows),
        metadata.created_by or "",
        int96.only(file),
        tuple(logical.geometries(file).items()),
    )


def _codec(name: str) -> str:
    # LZO can be neither read nor written by Arrow. It reads Hadoop's LZ4, which it has no name for,
    # and writes the LZ4 that took its place in the specification.
    return {"UNCOMPRESSED": "none", "LZO": "zstd", "UNKNOWN": "lz4"}.get(name, name.lower())
