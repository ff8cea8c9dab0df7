"""Writes what could not be read, so that nothing is lost: one JSON line a rejected record."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import orjson

from lowbg.compression import OutputStream, open_output
from lowbg.records import Rejected
from lowbg.writers.base import AtomicFile, WrittenFile


class QuarantineWriter:
    """A JSON Lines file of rejected records, which exists only if there are any.

    Each row holds `shard`, `record`, `line`, `offset`, `reason`, `error`, `encoding`, `count` and
    `raw` (the stored bytes in base64), as `Rejected` describes them. Raises `OutputError` where
    the system refuses.
    """

    def __init__(self, path: Path, root: Path) -> None:
        self.records = 0
        """Records in quarantine; an undecodable row group counts as all its rows."""
        self._path = path
        self._root = root
        self._file: AtomicFile | None = None
        self._out: OutputStream | None = None

    def write(self, shard: str, rejected: Sequence[Rejected]) -> None:
        """Appends one row a rejected record."""
        if not rejected:
            return
        if self._out is None:
            self._file = AtomicFile(self._path)
            self._out = open_output(self._file, "none")
        for record in rejected:
            self._out.write(quarantine_row(shard, record))
            self.records += record.count

    def commit(self) -> WrittenFile | None:
        """Syncs and renames to the final name; null if nothing was rejected."""
        if self._file is None or self._out is None:
            return None
        self._out.finish()
        self._file.commit()
        return self._file.written(self._root, self.records)

    def abort(self) -> None:
        """Removes the temporary file; safe after `commit`, safe to call twice."""
        if self._file is not None:
            self._file.abort()


def quarantine_row(shard: str, rejected: Rejected) -> bytes:
    """One rejected record as a JSON line."""
    row = {
        "shard": shard,
        "record": rejected.record,
        "line": rejected.line,
        "offset": rejected.offset,
        "reason": rejected.reason.value,
        # A message may quote a field name of the input, lone surrogates and all.
        "error": rejected.message.encode("utf-8", "replace").decode("utf-8"),
        "encoding": rejected.encoding,
        "count": rejected.count,
        "raw": base64.b64encode(rejected.raw).decode("ascii"),
    }
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
