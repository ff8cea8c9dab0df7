"""Reads JSON lines: blocks of bytes in, batches of records out, every line accounted for.

The stored line is never touched: a batch carries the block and the place of each line in it.
Plain lines are read by `json_fields`, which makes no object a record; all others by
`json_objects`: it reads what orjson reads, gives what that refuses a second, lenient look, and
says what is wrong with the rest, which goes to quarantine.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import BinaryIO

import numpy as np
import orjson
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

from lowbg.config import FieldNames
from lowbg.errors import CheckpointError, CutStreamError, FormatError, InputError
from lowbg.formats.base import Format, SplitReader
from lowbg.formats.jsonl import FORMAT
from lowbg.formats.jsonl.faults import BLANK, UNDECIDED, FaultFinder
from lowbg.formats.jsonl.fields import Lines, scanner_of
from lowbg.formats.jsonl.objects import BOM, Parsed, Refused, parse
from lowbg.formats.paths import of_strings
from lowbg.kernels.json_bytes import LINE_END, PADDING
from lowbg.kernels.json_lines import count_ends
from lowbg.records import Batch, BytesPayload, Metadata, Position, Refusal, Rejections, RejectReason
from lowbg.storage.compression import SNIFF_BYTES, InputStream, open_input, sniff
from lowbg.storage.decompression import STEP_BYTES

RAW_BYTES = 64 << 10
"""How much is kept of a line that is too large."""

MOST_LINES = 1 << 16
"""Lines of a batch, however short: each takes a hundred bytes of columns."""

HINT_RECORDS = 100
"""How many records are looked at for `seen_fields`."""


class _Block(Struct, frozen=True):
    """Consecutive lines: line i is `data[starts[i]:ends[i]]`, and stored up to `stops[i]`.

    `offset` is where `data` begins in the shard.
    """

    data: bytes
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    stops: NDArray[np.int64]
    offset: int

    @classmethod
    def of(cls, data: bytes, size: int, ends: NDArray[np.int64], offset: int) -> _Block:
        """The block whose lines are the first `size` bytes of `data`."""
        stops = np.minimum(ends + 1, size)
        return cls(data, np.append(0, stops[:-1])[: len(ends)], ends, stops, offset)

    def __len__(self) -> int:
        return len(self.ends)

    def blank(self) -> NDArray[np.bool_]:
        """Which lines have nothing in them, or the carriage return of a line end alone.

        Other blank lines are found one by one.
        """
        blank: NDArray[np.bool_] = self.starts == self.ends
        short = np.flatnonzero(self.ends - self.starts == 1)
        blank[short] = np.frombuffer(self.data, np.uint8)[self.starts[short]] == ord("\r")
        return blank

    def line(self, i: int) -> bytes:
        """Line i without its end, and without the mark that a file may begin with."""
        line = self.data[self.starts[i] : self.ends[i]]
        return line.removeprefix(BOM) if self.offset == 0 and i == 0 else line


class JsonlReader(SplitReader):
    """The records of one JSON Lines shard, in their order.

    `source` is a path, an fsspec URL, a binary stream or an opened `InputStream`; `name` is what
    messages call the shard. `batch_bytes` (decompressed) never changes a result. A line above
    `max_record_bytes` (without its line end) is rejected and never held in memory. Where a zstd
    frame or gzip member begins `frame_bytes` stored bytes or more behind another such, a batch ends
    with the line that reaches into it, for outputs to end a frame as well.
    `seen_fields` gathers the paths that lead to strings in the first 100 records, to explain a
    wrong field option. Iterating raises `CutStreamError` or `InputError` after the last batch
    before the fault, and `FormatError` when the content is not lines of text. The line that a cut
    stream ends in is rejected; the one in which reading failed is left for another try.
    """

    format: Format = FORMAT
    kind: object = FORMAT.name

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO | InputStream,
        fields: FieldNames,
        *,
        batch_bytes: int,
        max_record_bytes: int,
        name: str,
        frame_bytes: int = 0,
    ) -> None:
        self.name = name
        self.seen_fields: Counter[str] = Counter()
        self._stream = source if isinstance(source, InputStream) else open_input(source, name)
        self.compression: str = self._stream.codec
        self._fields = fields
        self._scanner = scanner_of(fields)
        self._faults = FaultFinder(fields.text)
        self._batch_bytes = max(1, batch_bytes)
        self._max_record_bytes = max_record_bytes
        self._fault: InputError | None = None
        # Where the next line stands: ordinal of its record, line number, offset in bytes.
        self._record = 0
        self._line = 1
        self._offset = 0
        self._hinted = 0
        self._frame = 0, 0
        self._left: int | None = None
        self._frame_bytes = frame_bytes
        # Where the input's frame begins with which one of the outputs began, and whether the next
        # line end is to end that: it then comes last in what `_read` returned.
        self._frame_begin = 0
        self._is_frame_due = self._ends_frame = False
        if frame_bytes:
            self._stream.on_frame = self._note_frame
        self._carry = b""
        # Lines too large to hold are rejected while the block after them is being filled.
        self._too_large: list[Rejections] = []

    def close(self) -> None:
        """Releases the file; safe to call twice."""
        self._stream.close()

    def position(self) -> Position:
        """Where the reader stands after the batch that it yielded last."""
        fields = dict(self.seen_fields)
        return Position(
            self._record, self._line, self._offset, self._hinted, fields, frame=self._frame
        )

    def start_at(self, position: Position) -> None:
        """Makes the first batch the one that followed `position`; call it before iterating."""
        self._record, self._line = position.record, position.line
        self._offset = position.offset
        self._hinted = position.hinted
        self.seen_fields.update(position.fields)
        self._frame = position.frame
        if self._frame != (0, 0):
            self._frame_begin = self._frame[0]
            self._stream.seek_frame(self._frame[0])

    def stop_at(self, position: Position) -> None:
        """Makes the line in front of `position` the last one; call it before iterating."""
        self._left = position.offset - self._offset

    def _skip(self) -> None:
        """Reads up to the first line of the first batch."""
        missing = self._offset - self._frame[1]
        while missing:
            part = self._stream.read_chunk(min(missing, STEP_BYTES))
            if not part:
                raise CheckpointError(f"{self.name}: ends {missing} bytes before its checkpoint")
            missing -= len(part)
            self._is_frame_due = self._is_frame_due and b"\n" not in part

    def _note_frame(self, stored: int) -> None:
        if stored - self._frame_begin >= self._frame_bytes:
            self._frame_begin, self._is_frame_due = stored, True

    def __iter__(self) -> Iterator[Batch]:
        if self._frame == (0, 0):
            _check_content(self._stream, self.name)
        self._skip()
        final = False
        while not final:
            data, final = self._fill()
            parts = _parts(data)
            for i, part in enumerate(parts, 1):
                batch = self._batch(part, final and i == len(parts))
                if self._ends_frame and i == len(parts):
                    batch = replace(batch, ends_frame=True)
                if len(batch) or batch.rejected or batch.blank or batch.ends_frame:
                    yield batch
        if self._fault is not None:
            raise self._fault

    def _fill(self) -> tuple[bytes, bool]:
        """The next block and `PADDING`, and true if it is the last; it starts at a line."""
        parts = [self._carry]
        size = len(self._carry)
        has_line_end = final = self._ends_frame = False
        while size < self._batch_bytes or not has_line_end:
            if size > self._max_record_bytes and not has_line_end:
                rest = self._skip_line(parts)
                if rest is None:
                    final = True
                    break
                parts, size, has_line_end = [rest], len(rest), b"\n" in rest
                if self._ends_frame:
                    break
                continue
            part = self._read()
            if not part:
                final = True
                break
            parts.append(part)
            size += len(part)
            has_line_end = has_line_end or b"\n" in part
            if self._ends_frame:
                break
        return b"".join([*parts, PADDING]), final

    def _read(self) -> bytes:
        """The next bytes of the stream; empty at the end and at a fault, which is kept."""
        most = min(self._batch_bytes, STEP_BYTES)
        try:
            if self._left is None:
                return self._up_to_frame(self._stream.read_chunk(most))
            part = self._stream.read_chunk(min(most, self._left)) if self._left else b""
            part = self._up_to_frame(part)
            self._left -= len(part)
            return part
        except InputError as fault:
            self._fault = fault
            return b""

    def _up_to_frame(self, part: bytes) -> bytes:
        """What was read, up to the line end that a frame is due at."""
        end = part.find(b"\n") + 1 if self._is_frame_due else 0
        if not end:
            return part
        self._is_frame_due, self._ends_frame = False, True
        if end < len(part):
            self._stream.give_back(part[end:])
        return part[:end]

    @property
    def _is_cut(self) -> bool:
        """Whether the stored bytes end early or are damaged.

        Where reading itself failed nothing is known of the line it failed in: it may be whole.
        """
        return isinstance(self._fault, (CutStreamError, FormatError))

    def _skip_line(self, parts: list[bytes]) -> bytes | None:
        """Rejects the line that `parts` starts; returns what follows its end, null at the end."""
        length = sum(map(len, parts))
        # Only the start is kept; joined, a line at the limit would be held twice.
        raw = bytes(itertools.islice(itertools.chain.from_iterable(parts), RAW_BYTES))
        parts.clear()
        rest: bytes | None = None
        while part := self._read():
            end = part.find(b"\n")
            raw = (raw + part[: end + 1 or None])[:RAW_BYTES] if len(raw) < RAW_BYTES else raw
            if end >= 0:
                length += end
                rest = part[end + 1 :]
                break
            length += len(part)
        if rest is None and self._fault is not None and not self._is_cut:
            return None
        refusal = self._too_large_refusal(length, self._offset)
        self._too_large.append(self._next_rejected(refusal, raw))
        self._record += 1
        self._line += 1
        self._offset += length + (rest is not None)
        return rest

    def _batch(self, data: bytes, final: bool) -> Batch:
        """The records of a block, which ends in `PADDING`; an unfinished line goes to the next."""
        size = len(data) - len(PADDING)
        whole = data.rfind(b"\n", 0, size) + 1
        tail = data[whole:size]
        if final and self._fault is None:
            whole = size
        lines = self._scanner.scan(data, whole, self._max_record_bytes)
        block = _Block.of(data, whole, lines.ends, self._offset)
        if self._hinted < HINT_RECORDS:
            self._note_fields(block)
        is_record = ~block.blank()
        places = np.flatnonzero(is_record & ~lines.plain)
        odd, which, refusals = self._parse_odd(block, places)
        is_record[places[which == BLANK]] = False
        refused = which >= 0
        places, which = places[refused], which[refused]
        accepted = is_record.copy()
        accepted[places] = False
        records = self._record + np.cumsum(is_record) - 1
        starts, ends = block.starts[places], block.stops[places]
        large = block.ends[places] - starts > self._max_record_bytes
        rejected = Rejections(
            records=records[places],
            lines=self._line + places,
            offsets=self._offset + starts,
            counts=np.ones(len(places), np.int64),
            which=which,
            refusals=refusals,
            buffer=data,
            starts=starts,
            ends=np.where(large, np.minimum(ends, starts + RAW_BYTES), ends),
        )
        if self._too_large:
            rejected = Rejections.joined([*self._too_large, rejected])
            self._too_large = []
        blank = len(block) - int(is_record.sum())
        self._record += len(block) - blank
        self._line += len(block)
        self._offset += whole
        if final and tail and self._is_cut:
            refusal = self._tail_refusal(tail)
            if refusal is None:
                blank += 1
            else:
                rejected = Rejections.joined([rejected, self._next_rejected(refusal, tail)])
                self._record += 1
            self._offset += len(tail)
        self._carry = tail
        text, metadata = lines.text, lines.metadata
        if len(odd.text):
            text, metadata = _in_order(lines, odd, lines.plain[accepted])
        return Batch(
            records=records[accepted],
            text=text,
            metadata=metadata,
            sizes=(block.stops - block.starts)[accepted],
            payload=BytesPayload(data, block.starts[accepted], block.stops[accepted]),
            rejected=rejected,
            consumed=self._stream.consumed,
            lenient=odd.lenient,
            blank=blank,
        )

    def _parse_odd(
        self, block: _Block, places: NDArray[np.int64]
    ) -> tuple[Parsed, NDArray[np.int64], list[Refusal]]:
        """The records in the lines at `places`, and which of the refusals is each line's.

        It is `UNDECIDED` where the line is a record after all, and `BLANK` where it is nothing.
        """
        if not len(places):
            return _none_parsed(), places, []
        starts, ends = block.starts[places], block.ends[places]
        fits = ends - starts <= self._max_record_bytes
        which = np.full(len(places), UNDECIDED, np.int64)
        which[fits], found = self._faults.find(block.data, starts[fits], ends[fits])
        refusals = [self._refusal(refused) for refused in found]
        left = np.flatnonzero(fits & (which == UNDECIDED)).tolist()
        parsed = parse([block.line(i) for i in places[left].tolist()], self._fields)
        for i, refused in parsed.refused.items():
            which[left[i]] = BLANK if refused.reason is None else len(refusals)
            refusals += [self._refusal(refused)] if refused.reason is not None else []
        for i in np.flatnonzero(~fits).tolist():
            which[i] = len(refusals)
            length, offset = int(ends[i] - starts[i]), self._offset + int(starts[i])
            refusals.append(self._too_large_refusal(length, offset))
        return parsed, which, refusals

    def _tail_refusal(self, tail: bytes) -> Refusal | None:
        """Why the unfinished line in front of a fault is rejected; null if it is merely blank."""
        if not tail.strip():
            return None
        if len(tail) > self._max_record_bytes:
            return self._too_large_refusal(len(tail), self._offset)
        return self._refusal(Refused(RejectReason.CUT, "the input ends within this line"))

    def _refusal(self, refused: Refused) -> Refusal:
        assert refused.reason is not None
        message = f"{self.name}:", f": {refused.error}. Record quarantined."
        return Refusal(refused.reason, message)

    def _too_large_refusal(self, length: int, offset: int) -> Refusal:
        error = (
            f"line of {length} bytes at offset {offset} is above the limit of "
            f"{self._max_record_bytes} bytes a record"
        )
        return self._refusal(Refused(RejectReason.TOO_LARGE, error))

    def _next_rejected(self, refusal: Refusal, raw: bytes) -> Rejections:
        """The next record, alone."""
        if refusal.reason is RejectReason.TOO_LARGE:
            raw = raw[:RAW_BYTES]
        return Rejections(
            records=np.array([self._record], np.int64),
            lines=np.array([self._line], np.int64),
            offsets=np.array([self._offset], np.int64),
            counts=np.ones(1, np.int64),
            which=np.zeros(1, np.int64),
            refusals=[refusal],
            buffer=raw,
            starts=np.zeros(1, np.int64),
            ends=np.array([len(raw)], np.int64),
        )

    def _note_fields(self, block: _Block) -> None:
        """Adds the paths that lead to strings in the first records to `seen_fields`."""
        looked_at = min(len(block), HINT_RECORDS - self._hinted)
        # Those that are no objects count, too: else it would be a matter of where blocks begin.
        self._hinted += looked_at
        for i in range(looked_at):
            line = block.line(i)
            if len(line) > self._max_record_bytes:
                continue
            try:
                doc = orjson.loads(line)
            except ValueError:
                continue
            if isinstance(doc, dict):
                for path, characters in of_strings(doc):
                    self.seen_fields[path] += characters


@cache
def _none_parsed() -> Parsed:
    """What becomes of no lines, of which the columns are looked at by nobody."""
    return parse([], FieldNames())


def _parts(data: bytes) -> list[bytes]:
    """A block in parts of at most `MOST_LINES` line ends, each with its own `PADDING`."""
    size = len(data) - len(PADDING)
    places = np.frombuffer(data, np.uint8)
    if count_ends(places, size) <= MOST_LINES:
        return [data]
    ends = np.flatnonzero(places[:size] == LINE_END)
    bounds = [0, *(ends[MOST_LINES - 1 :: MOST_LINES] + 1).tolist(), size]
    return [data[start:end] + PADDING for start, end in itertools.pairwise(bounds)]


def _check_content(stream: InputStream, name: str) -> None:
    """Raises `FormatError` when the decompressed content is not lines of text."""
    if stream.codec == "none":
        return  # Its first bytes have been looked at when it was opened.
    inner = sniff(stream.peek(SNIFF_BYTES), f"{name} (inside its {stream.codec} compression)")
    if inner != "none":
        raise FormatError(
            f"{name}: compressed twice ({inner} inside {stream.codec}); decompress it once first"
        )


def _in_order(
    plain: Lines, odd: Parsed, is_plain: NDArray[np.bool_]
) -> tuple[pa.LargeStringArray, Metadata]:
    """The rows of both; `is_plain` says of each record, in order, which it is from."""
    order = np.empty(len(is_plain), np.int64)
    order[is_plain] = np.arange(len(plain.text))
    order[~is_plain] = len(plain.text) + np.arange(len(odd.text))

    def merged(first: pa.Array, second: pa.Array) -> pa.Array:
        return pa.concat_arrays([first, second]).take(pa.array(order))

    one, other = plain.metadata, odd.metadata
    metadata = Metadata(
        id=merged(one.id, other.id),
        language=merged(one.language, other.language),
        date=merged(one.date, other.date),
        url=merged(one.url, other.url),
        others={name: merged(one.others[name], other.others[name]) for name in one.others},
    )
    return merged(plain.text, odd.text), metadata
