"""What formats share whose records lie one behind the other in a file's (decompressed) bytes.

A format says where a record ends and where its text lies; blocks, batches, damage, limits and
checkpoints are the same for all. Lines of JSON have a reader of their own, for speed.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

from lowbg.config import RunConfig
from lowbg.errors import CheckpointError, CutStreamError, FormatError, InputError
from lowbg.formats.base import Annotations, Format, Opened, Reader, Writer
from lowbg.formats.texts import text_of
from lowbg.records import Batch, BytesPayload, Metadata, Payload, Position, Rejected, RejectReason
from lowbg.storage.compression import (
    StreamState,
    open_binary,
    open_output,
    resume_output,
)
from lowbg.storage.decompression import STEP_BYTES
from lowbg.storage.files import AtomicFile, Part, PartState, WrittenFile, naming, replace_file

RAW_BYTES: Final = 64 << 10
"""How much is kept of a record that is too large."""

_OVERLAP: Final = 64
"""Bytes that are looked at again for a record's beginning: it may lie across two reads."""


class Whole(Struct, frozen=True):
    """A record that ends at `end`. Its `text` lies there in the block; null: it is no document,
    and every output gets it. `what` is the format's own, for `BlockReader.metadata`."""

    end: int
    text: tuple[int, int] | None
    what: Any = None


class Blank(Struct, frozen=True):
    """Bytes up to `end` that are no record, such as an empty line: dropped, and counted."""

    end: int


class Short(Struct, frozen=True):
    """A record that the block doesn't hold to its end; `size` is its size where it is known, or
    0."""

    size: int = 0


class Broken(Struct, frozen=True):
    """Bytes that are no record of the format, and why."""

    error: str


Found = Whole | Blank | Short | Broken


class BlockReader(Reader):
    """The records of one shard, in their order, by what a format's `find` says.

    `batch_bytes` (decompressed) never changes a result. A record above `max_record_bytes` is
    rejected and never held in memory. What is broken is rejected with its bytes, up to where the
    next record begins. Iterating raises `CutStreamError` or `InputError` after the last batch
    before the fault, and whatever `FormatError` `find` raised. The record that a cut stream ends in
    is rejected; the one in which reading failed is left for another try.
    """

    encoding = "bytes"
    """What `Rejected.raw` holds."""

    def __init__(self, source: Opened, config: RunConfig) -> None:
        self.name = source.name
        self.fields = config.read_fields
        self.seen_fields: Counter[str] = Counter()
        self.hinted = 0
        self._stream = source.content
        self.compression: str = self._stream.codec
        self._batch_bytes = max(1, config.block_bytes)
        self._max = config.max_record_bytes
        self._held = b""
        self._ended = False
        self._fault: InputError | None = None
        # The records that the input ended within: once they are behind, nothing else tells of it.
        self._cut_records: tuple[int, ...] = ()
        self._rejected: list[Rejected] = []
        # The next record: its ordinal, and its offset in the shard.
        self._record = 0
        self._offset = 0

    @abstractmethod
    def find(self, data: bytes, at: int, final: bool) -> Found:
        """What begins at `at` of a block; `final`: nothing follows the block.

        May raise `FormatError` where the shard is not for this reader after all: what lies before
        is processed.
        """

    @abstractmethod
    def resume(self, data: bytes, at: int) -> int:
        """Where, at `at` or later, a record may begin after a broken or too large one; −1: none."""

    @abstractmethod
    def metadata(self, documents: Sequence[Whole]) -> Metadata:
        """What the documents say of themselves."""

    def close(self) -> None:
        """Releases the file; safe to call twice."""
        self._stream.close()

    def position(self) -> Position:
        """Where the reader stands after the batch that it yielded last."""
        return Position(
            self._record,
            offset=self._offset,
            hinted=self.hinted,
            fields=dict(self.seen_fields),
            damaged=self._cut_records,
        )

    def start_at(self, position: Position) -> None:
        """Makes the first batch the one that followed `position`; call it before iterating."""
        self._record, self._offset = position.record, position.offset
        self.hinted = position.hinted
        self.seen_fields.update(position.fields)
        self._cut_records = position.damaged

    def __iter__(self) -> Iterator[Batch]:
        missing = self._offset
        while missing:
            part = self._stream.read_chunk(min(missing, STEP_BYTES))
            if not part:
                raise CheckpointError(f"{self.name}: ends {missing} bytes before its checkpoint")
            missing -= len(part)
        while not self._ended or self._held:
            batch = self._batch(self._fill())
            if batch is not None:
                yield batch
        if self._fault is None and self._cut_records:
            self._fault = self._cut(self._cut_records[0])
        if self._fault is not None:
            raise self._fault

    def _read(self) -> bytes:
        """The next bytes; empty at the end and at a fault, which is kept."""
        try:
            part = self._stream.read_chunk(min(self._batch_bytes, STEP_BYTES))
        except InputError as fault:
            self._fault, part = self._fault or fault, b""
        self._ended = self._ended or not part
        return part

    @property
    def _is_unsure(self) -> bool:
        """Whether reading failed: nothing is known of the record that it failed in."""
        return self._fault is not None and not isinstance(
            self._fault, (CutStreamError, FormatError)
        )

    def _extended(self, data: bytes, size: int) -> bytes:
        """`data` and what follows, `size` bytes at least where there are as many."""
        parts = [data]
        held = len(data)
        while held < size and not self._ended:
            parts.append(self._read())
            held += len(parts[-1])
        return b"".join(parts)

    def _find(self, data: bytes, at: int) -> Found | None:
        """What begins there; null where the shard can't be read on."""
        try:
            return self.find(data, at, self._ended)
        except FormatError as error:
            self._fault, self._ended = self._fault or error, True
            return None

    def _fill(self) -> bytes:
        """The next block; it begins at a record, and holds it whole unless it is the last."""
        data = self._extended(self._held, self._batch_bytes)
        while not self._ended:
            found = self._find(data, 0)
            size = 0
            if isinstance(found, Short):
                size = found.size
            elif not isinstance(found, Broken) or self.resume(data, 1) >= 0:
                break
            if max(size, len(data)) > self._max:
                data = self._drop(self._extended(data, min(size or RAW_BYTES, RAW_BYTES)), size)
                data = self._extended(data, self._batch_bytes)
            else:
                data = self._extended(data, size or len(data) + max(len(data), STEP_BYTES))
        return data

    def _drop(self, data: bytes, size: int) -> bytes:
        """Rejects the record that `data` begins with, up to where the next one begins, and returns
        what follows; little of it is held. `size` is what it says of itself, or 0."""
        raw, length = data[:RAW_BYTES], len(data)
        window = data
        while (at := self.resume(window, 1)) < 0 and (part := self._read()):
            window = window[-_OVERLAP:] + part
            length += len(part)
        if at < 0 and self._is_unsure:
            return b""
        rest = window[at:] if at >= 0 else b""
        length -= len(rest)
        if length < size and not rest and self._fault is None:
            self._fault = self._cut(self._record)
        self._reject_too_large(length, self._offset, raw)
        self._offset += length
        return rest

    def _batch(self, data: bytes) -> Batch | None:
        """The records of a block; an unfinished one goes to the next."""
        starts: list[int] = []
        wholes: list[Whole] = []
        ordinals: list[int] = []
        at = blank = 0
        while at < len(data):
            found = self._find(data, at)
            if isinstance(found, Whole) and found.end - at <= self._max:
                starts.append(at)
                wholes.append(found)
                ordinals.append(self._record)
                self._record += found.text is not None
                at = found.end
            elif isinstance(found, Whole):
                self._reject_too_large(found.end - at, self._offset + at, data[at : at + RAW_BYTES])
                at = found.end
            elif isinstance(found, Blank):
                blank += 1
                at = found.end
            else:
                end = self._reject_odd(data, at, found) if found is not None else -1
                if end < 0:
                    break
                at = end
        self._held = b"" if self._ended else data[at:]
        batch = self._built(data, starts, wholes, ordinals, blank)
        self._offset += at
        return batch

    def _reject_odd(self, data: bytes, at: int, found: Short | Broken) -> int:
        """Rejects what begins at `at`; where it ends, or −1 where that isn't known yet."""
        if isinstance(found, Short) and not self._ended:
            return -1
        end = self.resume(data, at + 1)
        if end < 0 and (not self._ended or self._is_unsure):
            return -1
        reason, error = RejectReason.MALFORMED, "it does not end before the next one begins"
        if isinstance(found, Broken):
            error = found.error
        elif end < 0:
            reason, error = RejectReason.CUT, "the input ends within this record"
            if self._fault is None:
                self._fault = self._cut(self._record)
        end = len(data) if end < 0 else end
        if end - at > self._max:
            self._reject_too_large(end - at, self._offset + at, data[at : at + RAW_BYTES])
        else:
            self._reject(reason, error, self._offset + at, data[at:end])
        return end

    def _cut(self, record: int) -> CutStreamError:
        self._cut_records = (record,)
        return CutStreamError(
            f"{self.name}: ends within record {record}. The complete records before it were "
            "processed; fetch the file again to get the rest."
        )

    def _reject(self, reason: RejectReason, error: str, offset: int, raw: bytes) -> None:
        self._rejected.append(self._rejection(self._record, reason, error, offset, raw))
        self._record += 1

    def _reject_too_large(self, size: int, offset: int, raw: bytes) -> None:
        error = f"record of {size} bytes is above the limit of {self._max} bytes a record"
        self._reject(RejectReason.TOO_LARGE, error, offset, raw[:size])

    def _rejection(
        self, record: int, reason: RejectReason, error: str, offset: int, raw: bytes
    ) -> Rejected:
        message = f"{self.name}: record {record} at byte {offset}: {error}. Record quarantined."
        return Rejected(record, None, offset, reason, message, raw, self.encoding)

    def _built(
        self,
        data: bytes,
        starts: Sequence[int],
        wholes: list[Whole],
        ordinals: Sequence[int],
        blank: int,
    ) -> Batch | None:
        """The batch of a block's records; null where there is nothing in it."""
        documents = np.array([whole.text is not None for whole in wholes], np.bool_)
        places = np.flatnonzero(documents).tolist()
        text, refused = text_of(_gathered(data, [wholes[i].text for i in places]))
        if refused:
            for i, (reason, error) in refused.items():
                place = places[i]
                start, raw = starts[place], data[starts[place] : wholes[place].end]
                self._rejected.append(
                    self._rejection(ordinals[place], reason, error, self._offset + start, raw)
                )
            self._rejected.sort(key=lambda rejected: rejected.record)
            keep = np.ones(len(places), np.bool_)
            keep[list(refused)] = False
            text = text.filter(pa.array(keep))
            gone = {places[i] for i in refused}
            left = [i for i in range(len(wholes)) if i not in gone]
            starts, wholes = [starts[i] for i in left], [wholes[i] for i in left]
            ordinals, documents = [ordinals[i] for i in left], documents[left]
            places = np.flatnonzero(documents).tolist()
        rejected, self._rejected = self._rejected, []
        if not wholes and not rejected and not blank:
            return None
        first = np.array(starts, np.int64)
        last = np.array([whole.end for whole in wholes], np.int64)
        return Batch(
            records=np.array([ordinals[i] for i in places], np.int64),
            text=text,
            metadata=self.metadata([wholes[i] for i in places]),
            sizes=(last - first)[documents],
            payload=BytesPayload(data, first, last, None if documents.all() else documents),
            rejected=rejected,
            consumed=self._stream.consumed,
            blank=blank,
        )


def count_by_reading(form: Format, path: Path) -> int:
    """How many records, broken ones too, the reader of `form` finds in a file."""
    with form.open_reader(Opened(open_binary(path), str(path)), RunConfig()) as reader:
        return sum(len(b) + sum(rejected.count for rejected in b.rejected) for b in reader)


def _gathered(data: bytes, spans: Sequence[tuple[int, int] | None]) -> pa.LargeBinaryArray:
    """The bytes of each span, as a column."""
    view = memoryview(data)
    pieces = [view[span[0] : span[1]] for span in spans if span is not None]
    offsets = np.fromiter(
        itertools.accumulate(map(len, pieces), initial=0), np.int64, len(pieces) + 1
    )
    buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(b"".join(pieces))]
    return pa.Array.from_buffers(pa.large_binary(), len(pieces), buffers)


class BlockWriter(Writer):
    """One file of kept records, byte for byte as they were stored, in one compressed stream.

    `root` is the output directory that `path` lies in; `compression` is a codec. The file appears
    under its name at `commit`; until then it is at `part`, if given, and goes on from the state
    that this has. Raises `OutputError` where the system refuses, and `FormatError` when a part
    isn't what its state says. `is_log`: nobody but its run reads it.
    """

    open_end = False
    """Whether the last record lacks its end, which a next one would need."""

    def __init__(
        self,
        path: Path,
        root: Path,
        compression: str,
        part: Part | None = None,
        *,
        is_log: bool = False,
    ) -> None:
        self._root = root
        self._part = part
        self._is_log = is_log
        state = part.state if part is not None else None
        self.records = state.records if state is not None else 0
        self.open_end = state is not None and state.open_line
        kept = state.stored if state is not None else 0
        place = part.path if part is not None else None
        self._file = AtomicFile(path, place, kept, is_log=is_log)
        try:
            if state is None:
                self._out = open_output(
                    self._file, compression, resumable=part is not None, part=is_log
                )
            else:
                self._reopen(compression, state)
        except BaseException:
            self._file.abort()
            raise

    def _reopen(self, compression: str, state: PartState) -> None:
        assert self._part is not None
        if state.stored and self._file.digest != state.digest:
            raise FormatError(f"{self._part.path}: isn't what was written")
        with naming(self._part.path):
            tail = (self._part.folder / state.tail).read_bytes()
        stream = StreamState(
            state.content, state.stored, state.frame_content, state.frame_stored, tail
        )
        self._out = resume_output(self._file, compression, stream, self._stored, part=self._is_log)

    def _stored(self) -> BinaryIO:
        assert self._part is not None
        assert self._part.state is not None
        file = self._part.path.open("rb")
        file.seek(self._part.state.frame_stored)
        return file

    def write(
        self, payload: Payload, keep: NDArray[np.bool_], annotations: Annotations = None
    ) -> None:
        """Appends the records of `payload` where `keep` is true, in order."""
        for piece in runs(payload, keep):
            self._out.write(piece)
        self.records += int(np.count_nonzero(keep))

    def end_frame(self) -> None:
        """Ends the compressed frame, if there is anything in it."""
        self._out.end_frame()

    def join(self) -> None:
        """Nothing: records of several shards are as those of one."""

    def checkpoint(self, turn: int) -> PartState:
        """Makes what was written durable and says how far it is; only with a part."""
        assert self._part is not None
        state = self._out.state()
        tail = self._part.beside(f"tail-{turn % 2}")
        replace_file(tail, state.tail)
        self._file.sync()
        return PartState(
            records=self.records,
            stored=state.stored,
            digest=self._file.digest,
            content=state.content,
            frame_content=state.frame_content,
            frame_stored=state.frame_stored,
            open_line=self.open_end,
            tail=tail.name,
        )

    def finish(self) -> WrittenFile:
        """Ends the compressed stream and syncs to disk; the file lacks only its name."""
        self._end()
        self._file.seal()
        return self._file.written(self._root, self.records)

    def _end(self) -> None:
        self._out.finish()

    def publish(self) -> None:
        """Renames to the final name."""
        self._file.publish()

    def commit(self) -> WrittenFile:
        """Ends the compressed stream, syncs to disk and renames to the final name."""
        written = self.finish()
        self.publish()
        return written

    def abort(self) -> None:
        """Removes the temporary file, unless it is a part; safe after `commit` and twice."""
        self._file.abort()


def runs(payload: Payload, keep: NDArray[np.bool_]) -> Iterator[memoryview]:
    """The kept records' bytes in order; kept neighbours come as one piece, without a copy."""
    if not isinstance(payload, BytesPayload):
        raise TypeError("rows cannot be written as stored bytes")
    chosen = np.flatnonzero(payload.chosen(keep))
    if not len(chosen):
        return
    starts, ends = payload.starts[chosen], payload.ends[chosen]
    # A run ends where the next kept record does not start at this one's end.
    last = np.append(np.flatnonzero(starts[1:] != ends[:-1]), len(chosen) - 1)
    first = np.append(0, last[:-1] + 1)
    view = memoryview(payload.buffer)
    for start, end in zip(starts[first].tolist(), ends[last].tolist(), strict=True):
        yield view[start:end]
