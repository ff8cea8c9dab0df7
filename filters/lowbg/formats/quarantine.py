"""Writes what could not be read, so that nothing is lost: one JSON line a rejected record."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import orjson
from msgspec.structs import replace

from lowbg.formats.jsonl.writer import JsonlWriter
from lowbg.records import Rejected
from lowbg.storage.files import Part, PartState, WrittenFile

_DIGEST = "sha256"

MAX_NAME_BYTES = 255
"""The longest name that common file systems take."""


def quarantine_path(root: Path, shard: str) -> Path:
    """Where the shard's quarantine lies below the output directory `root`.

    It is the shard's name and `.jsonl`; where no file could have that name (255 bytes at most), it
    is cut, and its digest tells it apart.
    """
    folder, _, name = shard.rpartition("/")
    stored = os.fsencode(name)
    if len(stored) + len(".jsonl") > MAX_NAME_BYTES:
        digest = hashlib.sha256(stored).hexdigest()[:12]
        room = MAX_NAME_BYTES - len(digest) - len("..jsonl")
        name = f"{stored[:room].decode('utf-8', 'ignore')}.{digest}"
    return root / "quarantine" / folder / f"{name}.jsonl"


class QuarantineWriter:
    """A JSON Lines file of rejected records, which exists only if there are any.

    Each row holds `shard`, `record`, `line`, `offset`, `reason`, `error`, `encoding`, `count` and
    `raw` (the stored bytes in base64), as `Rejected` describes them. Of a shard `max_bytes` of
    these are kept: of a record that would go beyond, `raw` is the SHA-256, `encoding` "sha256" and
    `bytes` its length. `max_bytes` null: all are kept. Raises `OutputError` where the system
    refuses.
    """

    def __init__(
        self,
        path: Path,
        root: Path,
        part: Part | None = None,
        *,
        max_bytes: int | None = None,
        codec: str = "none",
    ) -> None:
        self._digests = 0
        self._max_bytes = max_bytes
        self._codec = codec
        self._shard: str | None = None
        self._kept = 0
        self._path = path
        self._root = root
        self._part = part
        self._out: JsonlWriter | None = None
        self._counted = 0
        if part is not None and part.state is not None:
            self._counted = part.state.records
            self._kept, self._digests = part.state.kept, part.state.digests
            self._out = JsonlWriter(path, root, codec, part)

    @property
    def records(self) -> int:
        """Records in quarantine; an undecodable row group counts as all its rows."""
        return self._counted

    def digests_of(self, shard: str) -> int:
        """How many records of the shard written last, where it is this one, have a digest only."""
        return self._digests if self._shard in (None, shard) else 0

    def write(self, shard: str, rejected: Sequence[Rejected]) -> None:
        """Appends one row a rejected record."""
        if not rejected:
            return
        if self._out is None:
            self._out = JsonlWriter(self._path, self._root, self._codec, self._part)
        if self._shard not in (None, shard):
            self._kept = self._digests = 0
        self._shard = shard
        for record in rejected:
            keeps = self._max_bytes is None or self._kept + len(record.raw) <= self._max_bytes
            if keeps:
                self._kept += len(record.raw)
            else:
                self._digests += 1
            self._out.write_line(quarantine_row(shard, record, keeps=keeps))
            self._counted += record.count

    def checkpoint(self, turn: int) -> PartState | None:
        """Makes what was written durable and says how far it is; null if nothing was rejected."""
        if self._out is None:
            return None
        return replace(
            self._out.checkpoint(turn),
            records=self._counted,
            kept=self._kept,
            digests=self._digests,
        )

    def finish(self) -> WrittenFile | None:
        """Syncs to disk; the file lacks only its name. Null if nothing was rejected."""
        return None if self._out is None else replace(self._out.finish(), records=self._counted)

    def publish(self) -> None:
        """Renames to the final name, where there is anything."""
        if self._out is not None:
            self._out.publish()

    def commit(self) -> WrittenFile | None:
        """Syncs and renames to the final name; null if nothing was rejected."""
        written = self.finish()
        self.publish()
        return written

    def abort(self) -> None:
        """Removes the temporary file, unless it is a part; safe after `commit` and twice."""
        if self._out is not None:
            self._out.abort()


def quarantine_row(shard: str, rejected: Rejected, *, keeps: bool = True) -> bytes:
    """One rejected record as a JSON line, which `keeps` its bytes or their SHA-256."""
    raw = rejected.raw if keeps else hashlib.sha256(rejected.raw).digest()
    row = {
        "shard": shard,
        "record": rejected.record,
        "line": rejected.line,
        "offset": rejected.offset,
        "reason": rejected.reason.value,
        # A message may quote a field name of the input, lone surrogates and all.
        "error": rejected.message.encode("utf-8", "replace").decode("utf-8"),
        "encoding": rejected.encoding if keeps else _DIGEST,
        "count": rejected.count,
        "raw": base64.b64encode(raw).decode("ascii"),
    }
    if not keeps:
        row["bytes"] = len(rejected.raw)
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
