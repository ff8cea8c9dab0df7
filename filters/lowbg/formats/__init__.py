"""Path or stream → batches of records: `open_reader` picks the reader by the content."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from lowbg.errors import FormatError, InputError

if TYPE_CHECKING:
    from lowbg.config import RunConfig
    from lowbg.formats.jsonl.reader import JsonlReader
    from lowbg.formats.parquet.reader import ParquetReader

PARQUET_ENDINGS = (".parquet", ".pq")


def open_reader(
    source: str | os.PathLike[str] | BinaryIO, config: RunConfig, name: str
) -> JsonlReader | ParquetReader:
    """The reader of a path, an fsspec URL or an open binary stream, by its first bytes.

    `name` is what messages call the shard; closing the reader closes a given stream too. An empty
    file is a JSONL shard of no records. Raises `InputError` when it cannot be opened,
    `FormatError` when the content is none that lowbg reads, or not what the name says, and
    `ConfigError` when the text column of a Parquet file is absent.
    """
    # Not at the top: a caller that only parses options should not load pyarrow.
    from lowbg.storage.compression import is_parquet, open_binary, open_input

    raw = open_binary(source) if isinstance(source, (str, os.PathLike)) else source
    try:
        head = b""
        if raw.seekable():
            head = _head(raw, name)
        if is_parquet(head):
            from lowbg.formats.parquet.reader import ParquetReader

            return ParquetReader(
                raw,
                config.read_fields,
                batch_bytes=config.block_bytes,
                max_record_bytes=config.max_record_bytes,
                name=name,
            )
        from lowbg.formats.jsonl.reader import JsonlReader

        stream = open_input(raw, name)
        if name.lower().endswith(PARQUET_ENDINGS):
            raise FormatError(f"{name}: not a Parquet file (its first bytes are {head!r})")
        return JsonlReader(
            stream,
            config.read_fields,
            batch_bytes=config.block_bytes,
            max_record_bytes=config.max_record_bytes,
            name=name,
        )
    except BaseException:
        raw.close()
        raise


def _head(raw: BinaryIO, name: str) -> bytes:
    """The first four bytes of a seekable stream, which stays where it was."""
    try:
        start = raw.tell()
        head = raw.read(4)
        raw.seek(start)
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror or error})") from error
    return head
