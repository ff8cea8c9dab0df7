"""A row group in slices of bounded bytes, however its values are stored.

What a column stores says little of what its values take: a dictionary has each once, and a few
rows may be far longer than the others. Arrow decodes so many rows at a time as it is told when it
begins, so beginning again, and passing over what was read, is how their number changes. A page is
decoded whole: what a file's writer put into one, or into a dictionary, is held at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from lowbg.formats.row_sizes import part_ends, row_sizes
from lowbg.formats.rows import cast_rows, has_dictionary

SLICE_BYTES = 4 << 20
"""How much is decoded in one go, by what a row of the group takes on average."""

LARGE_GROUP = 64 << 20
SLICE_ROWS = 256
SLICE_ROWS_ALONE = 1024
"""In groups above so many bytes, the most rows at a time: there some may take far more than others.
Such slices are put together to batches, which dictionaries can't be."""

FIRST_ROWS = 16
"""Rows that are decoded, and forgotten, before a row group's metadata is looked at."""

FEW_ROWS = 64
"""Row groups of so many rows are decoded in one go at most."""

PLACE_BYTES = 5
"""What a value takes at most of which only the place in the dictionary is stored, levels too."""


class GroupSlices:
    """The slices of a file's row groups, with the types of `schema`.

    `again` opens the file so that the columns with the paths given are read as dictionaries.
    """

    def __init__(
        self,
        file: pq.ParquetFile,
        schema: pa.Schema,
        again: Callable[[Sequence[str]], pq.ParquetFile],
    ) -> None:
        self._file = file
        self._schema = schema
        self._again = again
        self._alone = any(map(has_dictionary, schema.types))
        columns = [file.schema.column(i) for i in range(len(file.schema))]
        self._strings = [
            i
            for i, column in enumerate(columns)
            if column.physical_type == "BYTE_ARRAY" and not column.max_repetition_level
        ]

    def of(self, group: int, rows: int, size: int) -> Iterator[pa.RecordBatch]:
        """The rows of a group, which has so many and takes `size` bytes, encoded.

        Raises what Arrow raises where one can't be decoded, after those before.
        """
        most = rows
        if size > LARGE_GROUP:
            most = SLICE_ROWS_ALONE if self._alone else SLICE_ROWS
        step = max(1, min(most, rows * SLICE_BYTES // max(1, size)))
        file = self._file
        if rows > FEW_ROWS and step > FIRST_ROWS:
            file, step = self._repeating(group, step)
        done = 0
        while step:
            next_step = 0
            for decoded in _behind(_batches(file, group, step), done):
                done += len(decoded)
                yield from self._parts(decoded)
                taken = _taken(decoded)
                if step > FIRST_ROWS and done < rows and taken > 4 * SLICE_BYTES:
                    next_step = max(FIRST_ROWS, step * SLICE_BYTES // taken)
                    break
            step = next_step

    def _parts(self, decoded: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """What was decoded, as the schema has it; what dictionaries grow to is bounded, too."""
        if decoded.schema.equals(self._schema):
            yield decoded
            return
        start = 0
        for end in part_ends(row_sizes(decoded), SLICE_BYTES):
            yield cast_rows(decoded.slice(start, end - start), self._schema)
            start = end

    def _repeating(self, group: int, step: int) -> tuple[pq.ParquetFile, int]:
        """How the group is read: columns as dictionaries whose values might take too much in `step`
        rows, all of which may have the longest."""
        # Raises where its metadata isn't sound; looking at that would end the process.
        next(_batches(self._file, group, FIRST_ROWS), None)
        metadata = self._file.metadata.row_group(group)
        columns = [metadata.column(i) for i in self._strings]
        stored = [column.path_in_schema for column in columns if _is_all_places(column)]
        if not stored:
            return self._file, step
        file = self._again(stored)
        first = next(_batches(file, group, 1, stored), None)
        if first is None or max(_longest(first), default=0) * step <= SLICE_BYTES:
            return self._file, step
        return file, SLICE_ROWS_ALONE


def _batches(
    file: pq.ParquetFile, group: int, step: int, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    chosen = None if columns is None else [*columns]
    found = file.iter_batches(step, row_groups=[group], columns=chosen, use_threads=False)
    return (batch for batch in found if len(batch))


def _behind(batches: Iterator[pa.RecordBatch], done: int) -> Iterator[pa.RecordBatch]:
    """The batches without the first `done` rows."""
    for batch in batches:
        passed = min(done, len(batch))
        done -= passed
        if passed < len(batch):
            yield batch.slice(passed)


def _taken(rows: pa.RecordBatch) -> int:
    """The bytes of the columns that grow with the rows."""
    return sum(column.nbytes for column in rows.columns if not has_dictionary(column.type))


def _is_all_places(column: pq.ColumnChunkMetaData) -> bool:
    """Whether a column's pages hold, as it seems, places in its dictionary and no values."""
    if not column.has_dictionary_page:
        return False
    dictionary = column.data_page_offset - (column.dictionary_page_offset or 0)
    pages = column.total_compressed_size - dictionary
    return bool(pages <= PLACE_BYTES * column.num_values + (1 << 10))


def _longest(rows: pa.RecordBatch) -> Iterator[int]:
    """The longest value of each dictionary in the columns, in bytes."""
    columns = list(rows.columns)
    while columns:
        column = columns.pop()
        if pa.types.is_struct(column.type):
            columns += [column.field(i) for i in range(column.type.num_fields)]
        elif pa.types.is_dictionary(column.type):
            values = pa.RecordBatch.from_arrays([column.dictionary], ["values"])
            yield int(row_sizes(values).max(initial=0))
