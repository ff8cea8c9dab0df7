"""Reads JSON lines: blocks of bytes in, batches of records out, every line accounted for.

The stored line is never touched: a batch carries the block and the place of each line in it.
Parsing is orjson's. A line that it refuses gets a second, lenient look (`_judge`) and goes to
quarantine with its reason if that fails as well.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.compression import SNIFF_BYTES, InputStream, open_input, sniff
from lowbg.config import FieldNames
from lowbg.decompression import STEP_BYTES
from lowbg.errors import CheckpointError, CutStreamError, FormatError, InputError
from lowbg.records import (
    LIST,
    OBJECT,
    Batch,
    LinePayload,
    Metadata,
    Position,
    Rejected,
    RejectReason,
)

RAW_BYTES = 64 << 10
"""How much is kept of a line that is too large."""

HINT_RECORDS = 100
"""How many records are looked at for `seen_fields`."""

_BOM = b"\xef\xbb\xbf"
_SURROGATE = re.compile("[\ud800-\udfff]")
_MISSING = object()


@dataclass(slots=True)
class _Columns:
    """The columns of the batch in the making, one entry an accepted record."""

    text: list[str] = field(default_factory=list)
    id: list[Any] = field(default_factory=list)
    language: list[Any] = field(default_factory=list)
    date: list[Any] = field(default_factory=list)
    url: list[Any] = field(default_factory=list)
    others: dict[str, list[Any]] = field(default_factory=dict)

    def append(self, text: str, doc: dict[str, Any], fields: FieldNames) -> None:
        """Adds one record, slowly; dotted paths are followed."""
        self.text.append(text)
        self.id.append(_look_up(doc, fields.id))
        self.language.append(_look_up(doc, fields.language))
        self.date.append(_look_up(doc, fields.date))
        self.url.append(_look_up(doc, fields.url))
        for name in fields.others:
            self.others[name].append(_look_up(doc, name))


@dataclass(frozen=True, slots=True)
class _Refused:
    """Why a line is no record; `reason` is null for a blank line, which is nothing at all."""

    reason: RejectReason | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A record that only the second look accepts; `lenient` where strict JSON forbids it."""

    text: str
    doc: dict[str, Any]
    lenient: bool


@dataclass(frozen=True, slots=True)
class _Parsed:
    """What became of a block's lines: the columns, the refused by line index, the lenient."""

    columns: _Columns
    refused: dict[int, _Refused]
    lenient: int


class JsonlReader:
    """The records of one JSON Lines shard, in their order.

    `source` is a path, an fsspec URL, a binary stream or an opened `InputStream`; `name` is what
    messages call the shard. `batch_bytes` (decompressed) never changes a result. A line above
    `max_record_bytes` (without its line end) is rejected and never held in memory.
    `seen_fields` gathers the top-level fields of the first 100 records, to explain a wrong field
    option. Iterating raises `CutStreamError` or `InputError` after the last batch before the
    fault, and `FormatError` when the content is not lines of text. The line that a cut stream ends
    in is rejected; the one in which reading failed is left for another try.
    """

    format = "jsonl"

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO | InputStream,
        fields: FieldNames,
        *,
        batch_bytes: int,
        max_record_bytes: int,
        name: str,
    ) -> None:
        self.name = name
        self.seen_fields: set[str] = set()
        self._stream = source if isinstance(source, InputStream) else open_input(source, name)
        self.compression: str = self._stream.codec
        self._fields = fields
        self._collect = _collect_dotted if _any_dotted(fields) else _collect_plain
        self._batch_bytes = max(1, batch_bytes)
        self._max_record_bytes = max_record_bytes
        self._fault: InputError | None = None
        # Where the next line stands: ordinal of its record, line number, offset in bytes.
        self._record = 0
        self._line = 1
        self._offset = 0
        self._hinted = 0
        self._carry = b""
        # Lines too large to hold are rejected while the block after them is being filled.
        self._too_large: list[Rejected] = []

    def close(self) -> None:
        """Releases the file; safe to call twice."""
        self._stream.close()

    def __enter__(self) -> JsonlReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def position(self) -> Position:
        """Where the reader stands after the batch that it yielded last."""
        fields = tuple(sorted(self.seen_fields))
        return Position(self._record, self._line, self._offset, self._hinted, fields)

    def start_at(self, position: Position) -> None:
        """Makes the first batch the one that followed `position`; call it before iterating."""
        self._record, self._line = position.record, position.line
        self._offset = position.offset
        self._hinted = position.hinted
        self.seen_fields.update(position.fields)

    def _skip(self) -> None:
        """Reads up to the first line of the first batch."""
        missing = self._offset
        while missing:
            part = self._stream.read_chunk(min(missing, STEP_BYTES))
            if not part:
                raise CheckpointError(f"{self.name}: ends {missing} bytes before its checkpoint")
            missing -= len(part)

    def __iter__(self) -> Iterator[Batch]:
        _check_content(self._stream, self.name)
        self._skip()
        final = False
        while not final:
            data, final = self._fill()
            batch = self._batch(data, final)
            if len(batch) or batch.rejected or batch.blank:
                yield batch
        if self._fault is not None:
            raise self._fault

    def _fill(self) -> tuple[bytes, bool]:
        """The next block: it starts at a line, holds a line end, and true if it is the last."""
        parts = [self._carry]
        size = len(self._carry)
        has_line_end = False
        while size < self._batch_bytes or not has_line_end:
            if size > self._max_record_bytes and not has_line_end:
                rest = self._skip_line(parts)
                if rest is None:
                    return b"", True
                parts, size, has_line_end = [rest], len(rest), b"\n" in rest
                continue
            part = self._read()
            if not part:
                return b"".join(parts), True
            parts.append(part)
            size += len(part)
            has_line_end = has_line_end or b"\n" in part
        return b"".join(parts), False

    def _read(self) -> bytes:
        """The next bytes of the stream; empty at the end and at a fault, which is kept."""
        try:
            return self._stream.read_chunk(min(self._batch_bytes, STEP_BYTES))
        except InputError as fault:
            self._fault = fault
            return b""

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
        refused = _Refused(RejectReason.TOO_LARGE, self._too_large_message(length, self._offset))
        self._too_large.append(self._reject(refused, self._record, self._line, self._offset, raw))
        self._record += 1
        self._line += 1
        self._offset += length + (rest is not None)
        return rest

    def _too_large_message(self, length: int, offset: int) -> str:
        return (
            f"line of {length} bytes at offset {offset} is above the limit of "
            f"{self._max_record_bytes} bytes a record"
        )

    def _batch(self, data: bytes, final: bool) -> Batch:
        """The records of a block; what follows its last line end is carried to the next."""
        lines = data.split(b"\n")
        tail = lines.pop()
        if final and self._fault is None and tail:
            lines.append(tail)
        lengths = np.fromiter(map(len, lines), np.int64, len(lines))
        ends = np.cumsum(lengths + 1)
        starts = ends - lengths - 1
        np.minimum(ends, len(data), out=ends)
        if self._offset == 0 and lines and lines[0].startswith(_BOM):
            lines[0] = lines[0].removeprefix(_BOM)
        if self._hinted < HINT_RECORDS:
            self._note_fields(lines)
        parsed = self._parse(lines, lengths)
        is_record = np.ones(len(lines), np.bool_)
        accepted = np.ones(len(lines), np.bool_)
        for i, refused in parsed.refused.items():
            accepted[i] = False
            is_record[i] = refused.reason is not None
        records = self._record + np.cumsum(is_record) - 1
        rejected, self._too_large = self._too_large, []
        for i, refused in parsed.refused.items():
            if refused.reason is not None:
                start = int(starts[i])
                raw = data[start : ends[i]]
                line, offset = self._line + i, self._offset + start
                rejected.append(self._reject(refused, int(records[i]), line, offset, raw))
        blank = len(lines) - int(is_record.sum())
        self._record += len(lines) - blank
        self._line += len(lines)
        self._offset += int(ends[-1]) if len(lines) else 0
        if final and tail and self._is_cut:
            blank += self._reject_tail(tail, rejected)
            self._offset += len(tail)
        self._carry = tail
        if float in set(map(type, parsed.columns.id)):
            self._restore_ids(parsed.columns.id, list(itertools.compress(lines, accepted)))
        if parsed.refused:
            records, starts, ends = records[accepted], starts[accepted], ends[accepted]
        return Batch(
            records=records,
            text=pa.array(parsed.columns.text, pa.large_string()),
            metadata=_metadata(parsed.columns),
            sizes=ends - starts,
            payload=LinePayload(data, starts, ends),
            rejected=rejected,
            consumed=self._stream.consumed,
            lenient=parsed.lenient,
            blank=blank,
        )

    def _parse(self, lines: list[bytes], lengths: NDArray[np.int64]) -> _Parsed:
        """The columns of the lines that are records, and what is wrong with the others."""
        columns = _Columns(others={name: [] for name in self._fields.others})
        refused: dict[int, _Refused] = {}
        lenient = 0
        if len(lines) and int(lengths.max()) > self._max_record_bytes:
            for i in np.flatnonzero(lengths > self._max_record_bytes).tolist():
                lines[i] = b""  # Fails to parse, so that the slow path below sees it.
        docs = map(orjson.loads, lines)
        while True:
            try:
                self._collect(docs, self._fields, columns)
                break
            except (ValueError, KeyError, TypeError, RecursionError, MemoryError):
                # Every line so far is in one of the two; the next is the one that failed.
                i = len(columns.text) + len(refused)
            if lengths[i] > self._max_record_bytes:
                message = self._too_large_message(int(lengths[i]), self._offset_in(lengths, i))
                refused[i] = _Refused(RejectReason.TOO_LARGE, message)
                continue
            verdict = _judge(lines[i], self._fields.text)
            if isinstance(verdict, _Refused):
                refused[i] = verdict
            else:
                columns.append(verdict.text, verdict.doc, self._fields)
                lenient += verdict.lenient
        return _Parsed(columns, refused, lenient)

    def _restore_ids(self, ids: list[Any], lines: list[bytes]) -> None:
        """Puts back the digits of integers beyond 64 bits, which orjson reads as floats."""
        for i, value in enumerate(ids):
            if type(value) is float and abs(value) >= 1 << 63:
                # Python reads some depths of nesting less than orjson does; such an id stays null.
                with suppress(RecursionError):
                    ids[i] = _look_up(json.loads(lines[i]), self._fields.id)

    def _offset_in(self, lengths: NDArray[np.int64], i: int) -> int:
        return self._offset + int(lengths[:i].sum()) + i

    def _reject_tail(self, tail: bytes, rejected: list[Rejected]) -> int:
        """Rejects the unfinished line in front of a fault; returns 1 if it is merely blank."""
        if not tail.strip():
            return 1
        refused = _Refused(RejectReason.CUT, "the input ends within this line")
        if len(tail) > self._max_record_bytes:
            message = self._too_large_message(len(tail), self._offset)
            refused = _Refused(RejectReason.TOO_LARGE, message)
        rejected.append(self._reject(refused, self._record, self._line, self._offset, tail))
        self._record += 1
        return 0

    def _reject(
        self, refused: _Refused, record: int, line: int, offset: int, raw: bytes
    ) -> Rejected:
        assert refused.reason is not None
        message = f"{self.name}:{line}: {refused.error}. Record quarantined."
        if refused.reason is RejectReason.TOO_LARGE:
            raw = raw[:RAW_BYTES]
        return Rejected(record, line, offset, refused.reason, message, raw)

    def _note_fields(self, lines: list[bytes]) -> None:
        """Adds the top-level fields of the first records to `seen_fields`."""
        for line in lines[: HINT_RECORDS - self._hinted]:
            if len(line) > self._max_record_bytes:
                continue
            try:
                doc = orjson.loads(line)
            except ValueError:
                continue
            if isinstance(doc, dict):
                self._hinted += 1
                self.seen_fields.update(doc)


def _check_content(stream: InputStream, name: str) -> None:
    """Raises `FormatError` when the decompressed content is not lines of text."""
    if stream.codec == "none":
        return  # Its first bytes have been looked at when it was opened.
    inner = sniff(stream.peek(SNIFF_BYTES), f"{name} (inside its {stream.codec} compression)")
    if inner != "none":
        raise FormatError(
            f"{name}: compressed twice ({inner} inside {stream.codec}); decompress it once first"
        )


def _any_dotted(fields: FieldNames) -> bool:
    named = (fields.text, fields.id, fields.language, fields.date, fields.url)
    return bool(fields.others) or any("." in f for f in named)


def _collect_plain(docs: Iterable[Any], fields: FieldNames, columns: _Columns) -> None:
    """Adds parsed lines to the columns; raises at the first that is not a record.

    The reader's hot loop: what it does a record beyond parsing is these lines. Nothing is
    appended for a document before all of it is known to be good.
    """
    text_field, id_field, language_field = fields.text, fields.id, fields.language
    date_field, url_field = fields.date, fields.url
    add_text, add_id, add_language = columns.text.append, columns.id.append, columns.language.append
    add_date, add_url = columns.date.append, columns.url.append
    for doc in docs:
        text = doc[text_field]
        if type(text) is not str:
            raise TypeError
        get = doc.get
        add_text(text)
        add_id(get(id_field))
        add_language(get(language_field))
        add_date(get(date_field))
        add_url(get(url_field))


def _collect_dotted(docs: Iterable[Any], fields: FieldNames, columns: _Columns) -> None:
    """The same where a field is a dotted path, or there are others to read."""
    for doc in docs:
        if type(doc) is not dict:
            raise TypeError
        text = _look_up(doc, fields.text)
        if type(text) is not str:
            raise TypeError
        columns.append(text, doc, fields)


def _look_up(doc: dict[str, Any], path: str, default: Any = None) -> Any:
    """The value of the key `path` if there is one, else at the dotted path through objects."""
    if path in doc:
        return doc[path]
    value: Any = doc
    for key in path.split("."):
        if type(value) is not dict or key not in value:
            return default
        value = value[key]
    return value


def _judge(line: bytes, text_field: str) -> _Refused | _Accepted:
    """A second look at a line that the fast loop refused: what is wrong with it, or the record."""
    if not line.strip():
        return _Refused(None)
    lenient = False
    try:
        doc = orjson.loads(line)
    except (ValueError, MemoryError) as error:
        second = _parse_leniently(line, str(error))
        if isinstance(second, _Refused):
            return second
        (doc,) = second
        lenient = True
    if not isinstance(doc, dict):
        kind = _json_type(doc)
        return _Refused(RejectReason.NOT_AN_OBJECT, f"the line is {kind}, not an object")
    text = _look_up(doc, text_field, _MISSING)
    if text is _MISSING:
        return _Refused(RejectReason.MISSING_TEXT, f"no field {text_field!r}")
    if text is None:
        return _Refused(RejectReason.NULL_TEXT, f"field {text_field!r} is null")
    if not isinstance(text, str):
        error_text = f"field {text_field!r} is {_json_type(text)}, not a string"
        return _Refused(RejectReason.TEXT_NOT_STRING, error_text)
    return _Accepted(_SURROGATE.sub("\ufffd", text), doc, lenient)


def _parse_leniently(line: bytes, strict_error: str) -> _Refused | tuple[Any]:
    """The value that Python's json reads (NaN, lone surrogates, an inner BOM), or why not."""
    try:
        decoded = line.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"byte 0x{line[error.start]:02x} at column {error.start + 1}"
        return _Refused(RejectReason.INVALID_UTF8, f"invalid UTF-8 ({where})")
    # orjson's limit of 1,024 is fixed; Python's depends on its version and on the stack.
    if "recursion" in strict_error.lower():
        return _Refused(RejectReason.INVALID_JSON, "invalid JSON (nested deeper than 1,024)")
    try:
        return (json.loads(decoded),)
    except json.JSONDecodeError as error:
        why = f"{error.msg[:1].lower()}{error.msg[1:]} at column {error.colno}"
    except RecursionError:
        why = "nested too deeply"
    except (ValueError, MemoryError) as error:
        why = str(error) or type(error).__name__
    return _Refused(RejectReason.INVALID_JSON, f"invalid JSON ({why})")


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def _metadata(columns: _Columns) -> Metadata:
    return Metadata(
        id=_strings(columns.id),
        language=_strings(columns.language),
        date=_strings(columns.date),
        url=_strings(columns.url),
        others={
            name: pa.array([_other(value) for value in values], pa.string())
            for name, values in columns.others.items()
        },
    )


def _strings(values: list[Any]) -> pa.StringArray:
    """`values` as strings: an int as its decimal text, null for any other type."""
    try:
        return pa.array(values, pa.string())
    except (ValueError, TypeError):  # Not all are strings or null, or one holds lone surrogates.
        return pa.array([_string(value) for value in values], pa.string())


def _other(value: Any) -> str | None:
    """A value of `Metadata.others`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return OBJECT
    return LIST if isinstance(value, list) else _string(value)


def _string(value: Any) -> str | None:
    if type(value) is str:
        return _SURROGATE.sub("\ufffd", value)
    return str(value) if type(value) is int else None
