"""What travels from the readers to the writers: batches of records and the rejected ones.

A reader keeps, beside the text that is scored, the record in its stored form (`Payload`), so
that a writer can put back exactly what was read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Protocol, TypeAlias, overload

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

from lowbg.config import FieldNames
from lowbg.errors import ProblemKind

RejectReason: TypeAlias = ProblemKind
"""Why a record goes to quarantine: the kinds that are `of_records`."""


class Rejected(Struct, frozen=True):
    """A record that could not be read.

    `record` is its 0-based position in the shard; `line` is 1-based, null where a format has no
    lines; `offset` is its byte offset in the decompressed shard, null where it has none. `raw`
    holds the stored bytes, empty where they could not be read at all; `encoding` says what they
    are: "line", "arrow-ipc" (a stream of one row), "warc". `count` is above 1 only for records
    that could not be told apart, such as a row group that cannot be decoded.
    """

    record: int
    line: int | None
    offset: int | None
    reason: RejectReason
    message: str
    raw: bytes
    encoding: str = "line"
    count: int = 1


class Refusal(NamedTuple):
    """What any number of rejected records have in common.

    `message` is whole, or two parts that a record's line number stands between.
    """

    reason: RejectReason
    message: tuple[str] | tuple[str, str]
    encoding: str = "line"


class ReasonCount(NamedTuple):
    """How many records one reason has, their stored bytes, and the message of the first."""

    reason: RejectReason
    records: int
    bytes: int
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class Rejections(Sequence[Rejected]):
    """Rejected records in columns, as `Rejected` describes them; one is made when it is asked for.

    A shard may be millions of broken lines, and so nothing here is an object a record. Of record i
    `raw` is `buffer[starts[i]:ends[i]]`, the rest of what is said of it `refusals[which[i]]`; a
    line or an offset of −1 is null.
    """

    records: NDArray[np.int64]
    lines: NDArray[np.int64]
    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]
    which: NDArray[np.int64]
    refusals: Sequence[Refusal]
    buffer: bytes
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, rejected: Sequence[Rejected]) -> Rejections:
        """The same records in columns; themselves where they are."""
        if isinstance(rejected, cls):
            return rejected
        ends = np.cumsum([0, *(len(each.raw) for each in rejected)], dtype=np.int64)
        return cls(
            records=np.array([each.record for each in rejected], np.int64),
            lines=np.array([-1 if each.line is None else each.line for each in rejected], np.int64),
            offsets=np.array(
                [-1 if each.offset is None else each.offset for each in rejected], np.int64
            ),
            counts=np.array([each.count for each in rejected], np.int64),
            which=np.arange(len(rejected), dtype=np.int64),
            refusals=[Refusal(each.reason, (each.message,), each.encoding) for each in rejected],
            buffer=b"".join(each.raw for each in rejected),
            starts=ends[:-1],
            ends=ends[1:],
        )

    @classmethod
    def joined(cls, parts: Sequence[Rejections]) -> Rejections:
        """Those of all parts, in their order."""
        parts = [part for part in parts if len(part)] or parts[:1]
        if len(parts) == 1:
            return parts[0]
        shifts = np.cumsum([0, *(len(part.buffer) for part in parts)])
        firsts = np.cumsum([0, *(len(part.refusals) for part in parts)])
        each = [*zip(parts, shifts.tolist(), firsts.tolist(), strict=False)]
        return cls(
            records=np.concatenate([part.records for part in parts]),
            lines=np.concatenate([part.lines for part in parts]),
            offsets=np.concatenate([part.offsets for part in parts]),
            counts=np.concatenate([part.counts for part in parts]),
            which=np.concatenate([part.which + first for part, _, first in each]),
            refusals=[refusal for part in parts for refusal in part.refusals],
            buffer=b"".join(part.buffer for part in parts),
            starts=np.concatenate([part.starts + shift for part, shift, _ in each]),
            ends=np.concatenate([part.ends + shift for part, shift, _ in each]),
        )

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Rejected]:
        return map(self._record, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Rejected: ...

    @overload
    def __getitem__(self, index: slice) -> Rejections: ...

    def __getitem__(self, index: int | slice) -> Rejected | Rejections:
        if not isinstance(index, slice):
            return self._record(range(len(self))[index])
        return replace(
            self,
            records=self.records[index],
            lines=self.lines[index],
            offsets=self.offsets[index],
            counts=self.counts[index],
            which=self.which[index],
            starts=self.starts[index],
            ends=self.ends[index],
        )

    def _record(self, i: int) -> Rejected:
        refusal = self.refusals[self.which[i]]
        line, offset = int(self.lines[i]), int(self.offsets[i])
        return Rejected(
            record=int(self.records[i]),
            line=line if line >= 0 else None,
            offset=offset if offset >= 0 else None,
            reason=refusal.reason,
            message=str(line).join(refusal.message),
            raw=self.buffer[self.starts[i] : self.ends[i]],
            encoding=refusal.encoding,
            count=int(self.counts[i]),
        )

    @property
    def sizes(self) -> NDArray[np.int64]:
        """How many bytes are kept of each."""
        return self.ends - self.starts

    def are_of(self, reasons: Collection[RejectReason]) -> NDArray[np.bool_]:
        """Which were rejected for one of these."""
        return np.array([each.reason in reasons for each in self.refusals], np.bool_)[self.which]

    def by_reason(self) -> Iterator[ReasonCount]:
        """How many there are for each reason, in the order in which these came."""
        codes = {reason: code for code, reason in enumerate(RejectReason)}
        own = np.array([codes[each.reason] for each in self.refusals], np.int8)[self.which]
        _, firsts = np.unique(own, return_index=True)
        for first in np.sort(firsts).tolist():
            alike = own == own[first]
            one = self._record(first)
            records, bytes = int(self.counts[alike].sum()), int(self.sizes[alike].sum())
            yield ReasonCount(one.reason, records, bytes, one.message)


class Payload(Protocol):
    """The records of a batch in their stored form."""

    def take(self, keep: NDArray[np.bool_]) -> Payload:
        """The records where `keep` is true."""
        ...


class BytesPayload(Struct, frozen=True):
    """Records as bytes: record i is `buffer[starts[i]:ends[i]]`; of a line, its end included.

    What lies in `buffer` outside of these is no part of any record. `documents` tells the batch's
    records from others that every output gets, such as a file's own description; null: all are.
    """

    buffer: bytes
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    documents: NDArray[np.bool_] | None = None

    def take(self, keep: NDArray[np.bool_]) -> BytesPayload:
        """The records where `keep` is true, and those that every output gets."""
        chosen = self.chosen(keep)
        documents = None if self.documents is None else self.documents[chosen]
        return BytesPayload(self.buffer, self.starts[chosen], self.ends[chosen], documents)

    def chosen(self, keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of all records an output gets that keeps these documents."""
        if self.documents is None:
            return keep
        chosen = ~self.documents
        chosen[self.documents] = keep
        return chosen


class RowPayload(Struct, frozen=True):
    """Records as Arrow rows: row i of the batch is record i."""

    rows: pa.RecordBatch

    def take(self, keep: NDArray[np.bool_]) -> RowPayload:
        """The records where `keep` is true."""
        return RowPayload(self.rows.filter(pa.array(keep)))


OBJECT: Final = "(object)"
LIST: Final = "(list)"
"""What stands in a column of `Metadata.others` for a value that is no single one."""


DATE_BOXES: Final = ("$date", "$date.$numberLong")
"""Where MongoDB's extended JSON has the value of a date, below the date field."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the records say of themselves, as strings; null where a record says nothing.

    Each column is a `pa.StringArray` with one entry a record. A number is given as its decimal
    text; of `date` one that is no integer, too, and anything else as in `others`. These are further
    fields by name, in which a boolean is "true" or "false", and an
    object or a list is just `OBJECT` or `LIST`.
    """

    id: pa.StringArray
    language: pa.StringArray
    date: pa.StringArray
    url: pa.StringArray
    others: Mapping[str, pa.StringArray] = field(default_factory=dict)

    def completed(self, fields: FieldNames, known: Mapping[str, str]) -> Metadata:
        """With what is `known` of all records, by field, where a record says nothing itself."""

        def of(name: str, column: pa.StringArray) -> pa.StringArray:
            return column.fill_null(known[name]) if name in known else column

        return Metadata(
            id=of(fields.id, self.id),
            language=of(fields.language, self.language),
            date=of(fields.date, self.date),
            url=of(fields.url, self.url),
            others={name: of(name, column) for name, column in self.others.items()},
        )

    @classmethod
    def joined(cls, parts: Sequence[Metadata]) -> Metadata:
        """Of the records of all parts, which have the same `others`."""

        def of(name: str) -> pa.StringArray:
            return pa.concat_arrays([getattr(part, name) for part in parts])

        others = {
            name: pa.concat_arrays([part.others[name] for part in parts])
            for name in parts[0].others
        }
        return cls(of("id"), of("language"), of("date"), of("url"), others)

    @classmethod
    def unknown(cls, records: int, others: Sequence[str] = ()) -> Metadata:
        """Of records that say nothing of themselves."""
        none = pa.nulls(records, pa.string())
        return cls(none, none, none, none, dict.fromkeys(others, none))


class KnownOrigin(Struct, frozen=True):
    """What provenance says of a batch's documents.

    `trusted` and `denied` exclude each other. `rules` indexes `names`, −1 where nothing is known:
    the rule that told, as reasons and the report spell it.
    """

    trusted: NDArray[np.bool_]
    denied: NDArray[np.bool_]
    rules: NDArray[np.int32]
    names: Sequence[str]

    def reason(self, i: int) -> str:
        """The rule that told of document i."""
        return str(self.names[self.rules[i]])

    def part(self, own: slice) -> KnownOrigin:
        """The same of some documents."""
        return KnownOrigin(self.trusted[own], self.denied[own], self.rules[own], self.names)


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive readable records of one shard, with the rejected ones that lay between them.

    `records` holds each record's 0-based position in the shard (int64, rising); `text` is a
    `pa.LargeStringArray` without nulls; `sizes` is each record's stored size in bytes (UTF-8
    length of the text where records have none of their own). `consumed` is how many bytes of the
    stored (compressed) input had been read when the batch was made, for progress. `lenient`
    counts records that strict JSON forbids but Python's json reads (NaN, lone surrogates).
    `blank` counts blank lines, which are not records. `ends_frame`: compressed outputs end a frame
    behind it.
    """

    records: NDArray[np.int64]
    text: pa.LargeStringArray
    metadata: Metadata
    sizes: NDArray[np.int64]
    payload: Payload
    rejected: Sequence[Rejected]
    consumed: int
    lenient: int = 0
    blank: int = 0
    ends_frame: bool = False

    def __len__(self) -> int:
        return len(self.records)

    def filtered(self, keep: NDArray[np.bool_]) -> Batch:
        """The batch with the records where `keep` is true; what was rejected comes along."""
        if keep.all():
            return self
        mask = pa.array(keep)
        own = self.metadata
        return replace(
            self,
            records=self.records[keep],
            text=self.text.filter(mask),
            metadata=Metadata(
                own.id.filter(mask), own.language.filter(mask), own.date.filter(mask),
                own.url.filter(mask), {name: c.filter(mask) for name, c in own.others.items()},
            ),
            sizes=self.sizes[keep],
            payload=self.payload.take(keep),
        )  # fmt: skip


class Position(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a reader stands between two batches: what it needs to go on from there.

    `record` records, `line` − 1 lines and `offset` decompressed bytes lie behind it. `hinted`
    records were looked at for `fields`; `damaged` are the row groups that could not be decoded, or
    the record that the input ends within. `frame` is a place before it from which decompressing
    can begin: a stored byte, and the decompressed one that it holds first.
    """

    record: int
    line: int = 1
    offset: int = 0
    hinted: int = 0
    fields: dict[str, int] = msgspec.field(default_factory=dict)
    damaged: tuple[int, ...] = ()
    frame: tuple[int, int] = (0, 0)
