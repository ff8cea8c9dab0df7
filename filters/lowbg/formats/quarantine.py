"""Writes what could not be read, so that nothing is lost: one JSON line a rejected record."""

from __future__ import annotations

import hashlib
import itertools
import os
from binascii import b2a_base64
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import orjson
from msgspec.structs import replace
from numpy.typing import NDArray

from lowbg.formats.jsonl.writer import JsonlWriter
from lowbg.records import Refusal, Rejected, Rejections
from lowbg.storage.files import Part, PartState, WrittenFile, naming

_DIGEST = "sha256"

_PORTION_BYTES = 1 << 18
"""About how many bytes of rows are made at once."""

_ROW_BYTES = 250
"""About what a row takes beside its bytes."""

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
        found = Rejections.of(rejected)
        keeps = self._kept_of(found.sizes)
        self._kept += int(found.sizes[keeps].sum())
        self._digests += len(keeps) - int(np.count_nonzero(keeps))
        for part in _portions(found.sizes):
            self._out.write_lines(
                quarantine_rows(shard, found[part], keeps[part]), len(keeps[part])
            )
        self._counted += int(found.counts.sum())

    def append_log(self, log: Path, records: int, max_bytes: int | None) -> bool:
        """Appends the rows of another quarantine file, of so many records, all of which it keeps.

        False, and nothing is appended, where these might be more than `max_bytes` of a shard.
        """
        size = log.stat().st_size
        if max_bytes is not None and self._kept + size > max_bytes:
            return False
        if self._out is None:
            self._out = JsonlWriter(self._path, self._root, self._codec, self._part)
        with naming(log), log.open("rb") as file:
            while rows := file.read(_PORTION_BYTES):
                self._out.write_lines(rows, 0)
        self._kept += size
        self._counted += records
        return True

    def _kept_of(self, sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Of which of the next records the bytes are kept."""
        keeps = np.ones(len(sizes), np.bool_)
        if self._max_bytes is None or self._kept + int(sizes.sum()) <= self._max_bytes:
            return keeps
        room = self._max_bytes - self._kept
        for i, size in enumerate(sizes.tolist()):
            keeps[i] = size <= room
            room -= size if size <= room else 0
        return keeps

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


def _portions(sizes: NDArray[np.int64]) -> Iterator[slice]:
    """Records in parts of about `_PORTION_BYTES` of their rows, one record at least."""
    portions = np.cumsum(sizes + _ROW_BYTES) // _PORTION_BYTES
    bounds = [0, *(np.flatnonzero(np.diff(portions)) + 1).tolist(), len(sizes)]
    return (slice(start, end) for start, end in itertools.pairwise(bounds))


def quarantine_rows(shard: str, rejected: Rejections, keeps: NDArray[np.bool_]) -> bytes:
    """Rejected records as JSON lines, each of which `keeps` its bytes or their SHA-256."""
    head = b'{"shard":' + orjson.dumps(shard) + b',"record":'
    # What stands between a row's offset and its count, in two parts where the line is between them.
    used = [(i, rejected.refusals[i]) for i in np.unique(rejected.which).tolist()]
    told = {i: _told(each, each.encoding) for i, each in used}
    digested = {i: _told(each, _DIGEST) for i, each in used} if not keeps.all() else told
    buffer = rejected.buffer
    rows: list[bytes] = []
    for record, line, offset, count, which, start, end, keep in zip(
        rejected.records.tolist(),
        rejected.lines.tolist(),
        rejected.offsets.tolist(),
        rejected.counts.tolist(),
        rejected.which.tolist(),
        rejected.starts.tolist(),
        rejected.ends.tolist(),
        keeps.tolist(),
        strict=True,
    ):
        raw = buffer[start:end]
        number = b"%d" % line if line >= 0 else b"null"
        row = (
            head, b"%d" % record,
            b',"line":', number,
            b',"offset":', b"%d" % offset if offset >= 0 else b"null",
            number.join((told if keep else digested)[which]), b"%d" % count,
            b',"raw":"', b2a_base64(raw if keep else hashlib.sha256(raw).digest(), newline=False),
            b'"}\n' if keep else b'","bytes":%d}\n' % (end - start),
        )  # fmt: skip
        rows += row
    return b"".join(rows)


def _told(refusal: Refusal, encoding: str) -> list[bytes]:
    """The parts of a row from its reason to its count, which a line number stands between."""
    # A message may quote a field name of the input, lone surrogates and all.
    message = [part.encode("utf-8", "replace").decode("utf-8") for part in refusal.message]
    parts = [orjson.dumps(part)[1:-1] for part in message]
    parts[0] = b',"reason":"%b","error":"%b' % (refusal.reason.value.encode(), parts[0])
    parts[-1] += b'","encoding":%b,"count":' % orjson.dumps(encoding)
    return parts
