"""Parquet: read row group by row group, rows written alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowbg.formats.base import Opened, Output, Reader, SplitFormat, TableFormat, Writer

if TYPE_CHECKING:
    import pyarrow as pa

    from lowbg.config import RunConfig
    from lowbg.records import Payload, Position


class ParquetFormat(SplitFormat, TableFormat):
    """A row a record; its codecs are inside, and its index is at its end."""

    name = "parquet"
    title = "Parquet"
    endings: tuple[str, ...] = (".parquet", ".pq", ".parq", ".parquet.gzip")
    wrapped = False
    pack_codec = "none"
    takes_stream = False

    def sniff(self, head: bytes, name: str) -> bool:
        """By its first four bytes."""
        return head[:4] == b"PAR1"

    def open_reader(self, source: Opened, config: RunConfig) -> Reader:
        """All columns, row group by row group."""
        from lowbg.formats.parquet.reader import ParquetReader

        return ParquetReader(
            source.raw,
            config.read_fields,
            batch_bytes=config.block_bytes,
            max_record_bytes=config.max_record_bytes,
            name=source.name,
        )

    def open_writer(self, reader: Reader, output: Output) -> Writer:
        """Rows of the same schema, in the same layout."""
        from lowbg.formats.parquet.reader import ParquetReader
        from lowbg.formats.parquet.writer import ParquetWriter

        assert isinstance(reader, ParquetReader)
        return ParquetWriter(
            output.path, output.root, reader.schema, reader.layout, output.annotate, output.part
        )

    def pieces(self, source: Opened, config: RunConfig, size: int) -> list[Position]:
        """Between row groups."""
        from lowbg.formats.parquet.reader import group_starts

        return list(group_starts(source.raw, source.name, size))

    def open_log(self, reader: Reader, output: Output) -> Writer:
        """Rows as Arrow has them."""
        from lowbg.formats.parquet.reader import ParquetReader
        from lowbg.formats.row_logs import RowLogWriter

        assert isinstance(reader, ParquetReader)
        assert output.part is not None
        return RowLogWriter(output.part, output.root, reader.schema, output.annotate)

    def open_table_log(self, schema: pa.Schema, output: Output) -> Writer:
        """Rows as Arrow has them."""
        from lowbg.formats.row_logs import RowLogWriter

        assert output.part is not None
        return RowLogWriter(output.part, output.root, schema, annotate=False)

    def join_log(self, writer: Writer, log: Path, records: int) -> None:
        """Appends the rows."""
        from lowbg.formats.rows import RowWriter

        assert isinstance(writer, RowWriter)
        writer.append_log(log, records)

    def open_table(self, schema: pa.Schema, output: Output) -> Writer:
        """Rows in the layout that pyarrow prefers, with zstd."""
        from lowbg.formats.parquet.layout import ParquetLayout
        from lowbg.formats.parquet.writer import ParquetWriter

        return ParquetWriter(output.path, output.root, schema, ParquetLayout(), part=output.part)

    def count(self, path: Path) -> int:
        """As its index says."""
        import pyarrow.parquet as pq

        return int(pq.read_metadata(path).num_rows)

    def objects(self, payload: Payload) -> Iterator[dict[str, Any]]:
        """Each row as Python values."""
        from lowbg.records import RowPayload

        assert isinstance(payload, RowPayload)
        yield from payload.rows.to_pylist()

    def payload_of(self, rows: pa.RecordBatch) -> Payload:
        """The rows themselves."""
        from lowbg.records import RowPayload

        return RowPayload(rows)


FORMAT: TableFormat = ParquetFormat()
