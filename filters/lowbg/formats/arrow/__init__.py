"""Arrow IPC, files and streams: read record batch by record batch, rows written alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowbg.formats.arrow.messages import FILE_MARK, begins_stream
from lowbg.formats.base import Format, Opened, Output, Reader, Writer

if TYPE_CHECKING:
    from lowbg.config import RunConfig
    from lowbg.records import Payload


class ArrowFormat:
    """A row a record; buffers are compressed one by one, if at all. A file has an index at its end,
    a stream has none."""

    name = "arrow"
    title = "Arrow IPC"
    endings: tuple[str, ...] = (".arrow", ".arrows", ".feather", ".ipc")
    wrapped = False
    pack_codec = "none"
    takes_stream = False

    def sniff(self, head: bytes, name: str) -> bool:
        """By a file's mark, or the schema that a stream begins with."""
        return head.startswith(FILE_MARK) or begins_stream(head)

    def open_reader(self, source: Opened, config: RunConfig) -> Reader:
        """All columns, record batch by record batch."""
        from lowbg.formats.arrow.reader import ArrowReader

        return ArrowReader(source, config)

    def open_writer(self, reader: Reader, output: Output) -> Writer:
        """Rows of the same schema: into a file from a file, into a stream from a stream."""
        from lowbg.formats.arrow.reader import ArrowReader
        from lowbg.formats.arrow.writer import ArrowWriter

        assert isinstance(reader, ArrowReader)
        return ArrowWriter(
            output.path, output.root, reader.schema, reader.layout, output.annotate, output.part
        )

    def count(self, path: Path) -> int:
        """By the record batches' headers."""
        from lowbg.formats.arrow.reader import count_rows

        return count_rows(path)

    def objects(self, payload: Payload) -> Iterator[dict[str, Any]]:
        """Each row as Python values."""
        from lowbg.records import RowPayload

        assert isinstance(payload, RowPayload)
        yield from payload.rows.to_pylist()


FORMAT: Format = ArrowFormat()
