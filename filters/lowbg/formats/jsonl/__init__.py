"""JSON lines: read record by record, kept as the bytes that they were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowbg.formats.base import Opened, Output, Reader, SplitFormat, TableFormat, Writer

if TYPE_CHECKING:
    import pyarrow as pa

    from lowbg.config import RunConfig
    from lowbg.records import Payload, Position


class JsonlFormat(SplitFormat, TableFormat):
    """An object a line; bytes that no other format knows are taken for it."""

    name = "jsonl"
    title = "JSONL"
    endings: tuple[str, ...] = (".jsonl", ".ndjson", ".json", ".jsonlines", ".ldjson", ".jl")
    wrapped = True
    pack_codec = "zstd"
    takes_stream = True

    def sniff(self, head: bytes, name: str) -> bool:
        """Any bytes may be lines, some of them broken."""
        return True

    def open_reader(self, source: Opened, config: RunConfig) -> Reader:
        """Lines, whose fields are looked for as they come."""
        from lowbg.formats.jsonl.reader import JsonlReader

        return JsonlReader(
            source.content,
            config.read_fields,
            batch_bytes=config.block_bytes,
            max_record_bytes=config.max_record_bytes,
            name=source.name,
            frame_bytes=config.frame_bytes,
        )

    def open_writer(self, reader: Reader, output: Output) -> Writer:
        """Lines are alike in every file."""
        from lowbg.formats.jsonl.writer import JsonlWriter

        writer = JsonlWriter(output.path, output.root, output.codec, output.part)
        writer.has_framed_logs = _log_codec(reader, output.codec) != "none"
        return writer

    def pieces(self, source: Opened, config: RunConfig, size: int) -> list[Position]:
        """At line ends: of plain files, and of those with several zstd frames or gzip members."""
        from lowbg.formats.jsonl.pieces import piece_starts
        from lowbg.formats.jsonl.reader import HINT_RECORDS

        return list(piece_starts(source.raw, source.name, size, HINT_RECORDS, config.frame_bytes))

    def open_log(self, reader: Reader, output: Output) -> Writer:
        """Lines: in frames, where the output has one that ends with the piece, or plain."""
        from lowbg.formats.jsonl.writer import JsonlWriter

        codec = _log_codec(reader, output.codec)
        return JsonlWriter(output.path, output.root, codec, output.part, is_log=True)

    def join_log(self, writer: Writer, log: Path, records: int) -> None:
        """Appends the lines."""
        from lowbg.formats.jsonl.writer import JsonlWriter

        assert isinstance(writer, JsonlWriter)
        writer.append_log(log, records)

    def open_table(self, schema: pa.Schema, output: Output) -> Writer:
        """An object a row."""
        from lowbg.formats.jsonl.writer import JsonlWriter

        return JsonlWriter(output.path, output.root, output.codec, output.part)

    def open_table_log(self, schema: pa.Schema, output: Output) -> Writer:
        """An object a row, plain."""
        from lowbg.formats.jsonl.writer import JsonlWriter

        return JsonlWriter(output.path, output.root, "none", output.part, is_log=True)

    def count(self, path: Path) -> int:
        """Line ends, and a last line without."""
        from lowbg.storage.compression import open_input

        records, last = 0, b"\n"
        with open_input(path) as stream:
            while chunk := stream.read_chunk():
                records += chunk.count(b"\n")
                last = chunk[-1:]
        return records + (last != b"\n")

    def objects(self, payload: Payload) -> Iterator[dict[str, Any]]:
        """Each line's object."""
        import json

        from lowbg.records import BytesPayload

        assert isinstance(payload, BytesPayload)
        for start, end in zip(payload.starts.tolist(), payload.ends.tolist(), strict=True):
            yield json.loads(payload.buffer[start:end].decode("utf-8-sig"))

    def payload_of(self, rows: pa.RecordBatch) -> Payload:
        """A line a row; float32 values in their shortest decimal form."""
        from lowbg.formats.jsonl.rows import json_values, lines

        return lines(json_values(rows))


def _log_codec(reader: Reader, codec: str) -> str:
    """How the log of a piece of what `reader` reads is stored, for an output with this codec.

    What can be read in pieces by its frames has outputs in frames.
    """
    from lowbg.storage.compression import FRAMED

    return codec if reader.compression in FRAMED else "none"


FORMAT: TableFormat = JsonlFormat()
