"""What a format is: how its files are known, read, written alike and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self, TypeAlias, runtime_checkable

from msgspec import Struct

from lowbg.errors import InputError

# Not loaded by who only asks for names and endings.
if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from lowbg.config import RunConfig
    from lowbg.records import Batch, Payload, Position
    from lowbg.storage.compression import InputStream
    from lowbg.storage.files import Part, PartState, WrittenFile

SNIFF_BYTES = 512
"""How many first bytes of a file formats are told apart by."""

Annotations: TypeAlias = "pa.StructArray | None"
"""What is added to records as their field `lowbg`: one struct a record of the payload, kept or
not."""


class Opened:
    """An input that has been opened and not been read from; `name` is what messages call it."""

    def __init__(self, raw: BinaryIO, name: str) -> None:
        self.raw = raw
        self.name = name
        self._content: InputStream | None = None

    def head(self) -> bytes:
        """The first stored bytes, where they can be looked at and stay; else none."""
        if not self.raw.seekable():
            return b""
        try:
            start = self.raw.tell()
            head = self.raw.read(SNIFF_BYTES)
            self.raw.seek(start)
        except OSError as error:
            raise InputError(f"{self.name}: cannot be read ({error.strerror or error})") from error
        return head

    @property
    def content(self) -> InputStream:
        """The decompressed bytes. Raises `FormatError` for what is no text of 8 bits."""
        if self._content is None:
            from lowbg.storage.compression import open_input

            self._content = open_input(self.raw, self.name)
        return self._content

    def close(self) -> None:
        """Closes the input; safe to call twice."""
        self.raw.close()


class Output(Struct, frozen=True):
    """Where an output goes: the file `path` below the output directory `root`.

    `codec` is how it is compressed, where the format leaves that to others; with `annotate` its
    records get what was judged. Until it is whole it is kept at `part`, if given, and goes on from
    the state that this has.
    """

    path: Path
    root: Path
    codec: str = "none"
    annotate: bool = False
    part: Part | None = None


class Format(Protocol):
    """One way in which a file holds records: a module or package of `lowbg.formats`, or an
    installed one (entry point), whose `FORMAT` is such an object.

    Its module is imported whenever files are looked at, so what is heavy is imported by the methods
    that need it. `open_reader`, `open_writer` and `count` raise `ConfigError` where a package that
    they need isn't installed, and say how to install it.
    """

    name: str
    """The public name, as reports have it."""
    title: str
    """What messages call it."""
    endings: tuple[str, ...]
    """How its files' names end, without a codec's ending: with them they are found in a directory.
    The first is for files that lowbg names."""
    wrapped: bool
    """Whether a codec (gzip, zstd, …) may lie around a whole file. If not, compression is the
    format's own matter, and it needs a file that can be sought in."""
    pack_codec: str
    """The codec of files that lowbg makes of its own accord."""
    takes_stream: bool
    """Whether its records may go down a plain stream of lines, such as standard output."""

    def sniff(self, head: bytes, name: str) -> bool:
        """Whether a file is of this format that begins with `head` (`SNIFF_BYTES`, or the whole
        file), decompressed where it is `wrapped`; `name` is for formats without a mark."""
        ...

    def open_reader(self, source: Opened, config: RunConfig) -> Reader:
        """The reader of a file that `sniff` knew. Raises `FormatError` when it is none after all,
        and where what is asked for (the text field) isn't in it."""
        ...

    def open_writer(self, reader: Reader, output: Output) -> Writer:
        """The writer of a file like the one that `reader`, of this format, reads.

        Raises `OutputError` where the system refuses, and `FormatError` when a part isn't what its
        state says.
        """
        ...

    def count(self, path: Path) -> int:
        """How many records the finished file holds. Raises `InputError` where it is damaged."""
        ...

    def objects(self, payload: Payload) -> Iterator[dict[str, Any]]:
        """Each record of a payload with its fields, as plain values."""
        ...


class TableFormat(Format, Protocol):
    """A format that can also hold the rows of any table."""

    def open_table(self, schema: pa.Schema, output: Output) -> Writer:
        """The writer of a file of such rows; raises what `open_writer` does."""
        ...

    def open_table_log(self, schema: pa.Schema, output: Output) -> Writer:
        """The writer of such rows of a piece of a shard, at the output's part, for `join_log`."""
        ...

    def join_log(self, writer: Writer, log: Path, records: int) -> None:
        """Appends to `writer`, by `open_table`, so many rows that a log holds.

        Raises `FormatError` where the log isn't whole.
        """
        ...

    def payload_of(self, rows: pa.RecordBatch) -> Payload:
        """The rows in the form in which this format stores them."""
        ...


@runtime_checkable
class SplitFormat(Format, Protocol):
    """A format of which a file can be read from within, so that several workers share it out.

    Each reads a piece of it into logs, from which one of them writes what reading it in one pass
    would have written. Its readers are `SplitReader`s.
    """

    def pieces(self, source: Opened, config: RunConfig, size: int) -> list[Position]:
        """Where pieces after the first begin, each at least `size` stored bytes behind another.

        None where the file can't be read from within. Raises `InputError` where it is damaged.
        """
        ...

    def open_log(self, reader: Reader, output: Output) -> Writer:
        """The writer of what is kept of a piece, at the output's part, for `join_log` to read."""
        ...

    def join_log(self, writer: Writer, log: Path, records: int) -> None:
        """Appends to `writer`, by `open_writer`, so many records that a log holds.

        Raises `FormatError` where the log isn't whole.
        """
        ...


class Reader(Protocol):
    """Yields the records of one shard in their order.

    Iterating raises `CutStreamError` or `FormatError` after the last batch that could be read:
    everything before the damage has been yielded when it raises. `compression` is the codec around
    the file ("none", "gzip", "zstd", "bz2", "xz"; "none" where it is inside). `seen_fields`
    are the paths that lead to strings (in the first records) with the characters that these have,
    where they are known, to explain a wrong field option.
    `kind` is equal for shards whose records one file can hold. `notes` say what of the shard its
    outputs can't keep.
    """

    format: Format
    compression: str
    seen_fields: Counter[str]
    kind: object
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Batch]: ...

    def position(self) -> Position:
        """Where the reader stands after the batch that it yielded last."""
        ...

    def start_at(self, position: Position) -> None:
        """Makes the first batch the one that followed `position`; call it before iterating.

        What lies before is read, not parsed. Iterating raises `CheckpointError` when the input
        ends before the position.
        """
        ...

    def close(self) -> None:
        """Releases the file; safe to call twice."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@runtime_checkable
class SplitReader(Reader, Protocol):
    """A reader that can stop where another one begins."""

    def stop_at(self, position: Position) -> None:
        """Makes the batch in front of `position` the last one; call it before iterating."""
        ...


class Writer(Protocol):
    """Writes kept records in their stored form to a temporary name; `commit` renames it."""

    def write(
        self, payload: Payload, keep: NDArray[np.bool_], annotations: Annotations = None
    ) -> None:
        """Appends the records of `payload` where `keep` is true, in order.

        What a payload holds beside documents (a file's own description) goes along, always.
        """
        ...

    def end_frame(self) -> None:
        """Ends the compressed frame, where that is the form; another batch begins the next."""
        return

    def join(self) -> None:
        """Says that a shard ends here and another may follow in the same output."""
        ...

    def checkpoint(self, turn: int) -> PartState:
        """Makes what was written durable and says how far it is.

        Files beside the part that are rewritten each time are told apart by `turn`: those of the
        checkpoint before stay.
        """
        ...

    def finish(self) -> WrittenFile:
        """Flushes and syncs to disk; the file is whole, and lacks only its name."""
        ...

    def publish(self) -> None:
        """Renames to the final name; `finish` comes first."""
        ...

    def commit(self) -> WrittenFile:
        """Flushes, syncs to disk and renames to the final name."""
        ...

    def abort(self) -> None:
        """Removes the temporary file; safe after `commit`, safe to call twice.

        A part stays, for a later run to go on with.
        """
        ...
