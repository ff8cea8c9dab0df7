"""Where the records of a run go: a directory that mirrors the input, or one stream and files."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import pyarrow as pa
from msgspec import Struct
from msgspec.structs import replace

from lowbg.amounts import counted
from lowbg.config import VERDICTS, RunConfig, Unscored
from lowbg.errors import ConfigError, FormatError, OutputError
from lowbg.formats.base import Annotations, Output, Reader, SplitFormat, TableFormat, Writer
from lowbg.formats.jsonl.writer import JsonlWriter, StreamWriter
from lowbg.formats.naming import codec_of, codec_of_lines, output_name
from lowbg.formats.quarantine import QuarantineWriter, quarantine_path
from lowbg.records import Batch, Payload, Rejected
from lowbg.runs.checkpoints import Checkpoint, Journal
from lowbg.runs.engine import Judged
from lowbg.runs.routing import Route, masks, routes
from lowbg.storage.files import (
    Part,
    PartState,
    WrittenFile,
    identity,
    is_descriptor,
    size_of_file,
)

QUARANTINE: Final = "quarantine"


class Place(Struct, frozen=True):
    """What a shard's outputs are opened for: the shard's name, and what an earlier run left.

    `journal` is null where nothing of an unfinished shard is kept; `again`: the shard can be read
    another time. Of a piece of it (`is_piece`) logs are kept instead.
    """

    shard: str
    journal: Journal | None = None
    checkpoint: Checkpoint | None = None
    again: bool = True
    is_piece: bool = False

    def part(self, name: str) -> Part | None:
        """Where the output `name` is kept until it is whole."""
        return None if self.journal is None else self.journal.part(name, self.checkpoint)


class Outputs(ABC):
    """Where a shard's records go; made per shard, or once for a whole stream.

    What isn't overridden does nothing, as suits a stream: it has no files of a shard's own.
    """

    @abstractmethod
    def write(self, batch: Batch, judged: Judged) -> int:
        """Appends the batch's documents where their verdicts say; returns how many it took."""

    def pass_on(self, payload: Payload) -> None:  # noqa: B027
        """Appends what a batch without documents holds for every output in the input's format."""

    def end_frames(self) -> None:  # noqa: B027
        """Ends a compressed frame of every output in the input's format."""

    def quarantine(self, shard: str, rejected: Sequence[Rejected]) -> None:  # noqa: B027
        """Appends records that could not be read."""

    def checkpoint(self, turn: int) -> dict[str, PartState]:
        """Makes what was written durable, and says by output how far it is.

        Asked only where there is a journal, for a later run to go on with.
        """
        return {}

    def notes(self, shard: str) -> tuple[str, ...]:
        """What of the shard's records isn't kept."""
        return ()

    def end_shard(self) -> dict[str, WrittenFile]:
        """Makes a shard's own files whole and durable, by output; `publish` gives them names."""
        return {}

    def publish(self) -> None:  # noqa: B027
        """Puts what `end_shard` finished under its final names."""

    def abort(self) -> None:  # noqa: B027
        """Lets go of what is not finished; parts stay."""


class ShardFiles(Outputs):
    """A shard's own files below `root`: a writer by part, and a quarantine if there must be one.

    Whoever derives from it opens `writers`, within `opening`, and writes.
    """

    def __init__(self, root: Path, place: Place, config: RunConfig) -> None:
        target, part = quarantine_path(root, place.shard), place.part(QUARANTINE)
        check_inside(root, target)
        self._root = root
        self.writers: dict[str, Writer] = {}
        self._most = config.quarantine_bytes(again=place.again)
        if place.is_piece:  # How much is kept is a matter of the whole shard.
            assert part is not None
            self._quarantine = QuarantineWriter(part.path, root, part)
        else:
            self._quarantine = QuarantineWriter(target, root, part, max_bytes=self._most)

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """Lets go of what was opened where the rest can't be."""
        try:
            yield
        except BaseException:
            self.abort()
            raise

    def quarantine(self, shard: str, rejected: Sequence[Rejected]) -> None:
        """Appends records that could not be read to the shard's quarantine file."""
        self._quarantine.write(shard, rejected)

    def append_logs(self, form: SplitFormat | TableFormat, logs: Sequence[WrittenFile]) -> None:
        """Appends what a piece of the shard left, in the logs of its outputs.

        Raises `FormatError` where a log isn't whole, and where quarantine wouldn't keep all of it:
        then the shard has to be read in one pass.
        """
        for log in logs:
            path = self._root / log.path
            if size_of_file(path) != log.bytes:
                raise FormatError(f"{path}: isn't what was written")
            name = log_name(log.path)
            if name != QUARANTINE:
                form.join_log(self.writers[name], path, log.records)
            elif not self._quarantine.append_log(path, log.records, self._most):
                raise FormatError(f"{path}: more than quarantine keeps of a shard")

    def notes(self, shard: str) -> tuple[str, ...]:
        """What of the records that could not be read isn't kept."""
        return digests_note(shard, self._quarantine)

    def checkpoint(self, turn: int) -> dict[str, PartState]:
        """Makes what was written durable, and says by output how far it is."""
        parts = {name: writer.checkpoint(turn) for name, writer in self.writers.items()}
        quarantine = self._quarantine.checkpoint(turn)
        return {**parts, QUARANTINE: quarantine} if quarantine is not None else parts

    def end_shard(self) -> dict[str, WrittenFile]:
        """Finishes every file; the quarantine file only where it holds something."""
        files = {name: writer.finish() for name, writer in self.writers.items()}
        quarantine = self._quarantine.finish()
        return {**files, QUARANTINE: quarantine} if quarantine is not None else files

    def publish(self) -> None:
        """Gives every file its name."""
        for writer in self.writers.values():
            writer.publish()
        self._quarantine.publish()

    def abort(self) -> None:
        """Removes what was not committed; parts stay."""
        for writer in self.writers.values():
            writer.abort()
        self._quarantine.abort()


def digests_note(shard: str, quarantine: QuarantineWriter) -> tuple[str, ...]:
    """Says that of some records in quarantine only place and digest are kept."""
    digests = quarantine.digests_of(shard)
    if not digests:
        return ()
    return (
        f"{shard}: of {counted(digests, 'unreadable record')} quarantine keeps place "
        "and SHA-256, not the bytes: they are beyond `max_quarantine_bytes`",
    )


class RoutedFiles(ShardFiles):
    """`human/`, `ai/` (and `unscored/`) with the shard's own name below, and its quarantine.

    Every route gets its file, empty or not, so that the output trees mirror the input tree.
    """

    def __init__(self, root: Path, place: Place, reader: Reader, config: RunConfig) -> None:
        super().__init__(root, place, config)
        self._config = config
        with self.opening():
            for route in routes(config.policy.unscored):
                name, part = f"{route}/{place.shard}", place.part(route.value)
                self.writers[route.value] = (
                    open_log(root, reader, config, part)
                    if place.is_piece
                    else open_writer(name, root, reader, config, part)
                )

    def write(self, batch: Batch, judged: Judged) -> int:
        """Appends every document to the file of its route."""
        annotations = _annotations(judged) if self._config.annotate else None
        taken = 0
        kept = masks(judged.decisions.verdicts, self._config.policy.unscored)
        for route, keep in kept.items():
            self.writers[route.value].write(batch.payload, keep, annotations)
            taken += int(keep.sum())
        return taken

    def end_frames(self) -> None:
        """Ends a frame of every file."""
        for writer in self.writers.values():
            writer.end_frame()

    def pass_on(self, payload: Payload) -> None:
        """Appends what is no document to every file."""
        for writer in self.writers.values():
            writer.write(payload, np.zeros(0, np.bool_))


def check_inside(root: Path, path: Path) -> None:
    """Raises `OutputError` when a symbolic link would lead the file `path` out of `root`."""
    if _is_plainly_below(str(root), str(path.parent)):
        return
    real = os.path.realpath(path.parent)
    if not Path(real).is_relative_to(os.path.realpath(root)):
        raise OutputError(f"{path}: a symbolic link leads out of the output directory, to {real}")


def _is_plainly_below(top: str, folder: str) -> bool:
    """Whether no link can lead out on the way from `top` down to `folder`: there is none.

    To resolve both takes ten times as long.
    """
    while len(folder) > len(top) and not os.path.islink(folder):  # noqa: PTH114 (many calls)
        folder, _, name = folder.rpartition("/")
        if name == "..":
            return False
    return folder == top


def open_writer(
    name: str, root: Path, reader: Reader, config: RunConfig, part: Part | None
) -> Writer:
    """The writer of `root`/`name` for what `reader` reads, in its format."""
    check_inside(root, root / name)
    if reader.format.wrapped:
        name = output_name(name, config.compression)
    codec = codec_of(config.compression, reader.compression)
    output = Output(root / name, root, codec, config.annotate, part)
    return reader.format.open_writer(reader, output)


def open_log(root: Path, reader: Reader, config: RunConfig, part: Part | None) -> Writer:
    """The writer of the log of a piece's output, at `part`."""
    assert part is not None
    assert isinstance(reader.format, SplitFormat)
    codec = codec_of(config.compression, reader.compression)
    output = Output(part.path, root, codec, config.annotate, part)
    return reader.format.open_log(reader, output)


def log_name(path: str) -> str:
    """The output that the log `path`, below the directory, is of."""
    return path.rpartition(".")[2]


class StreamOutputs(Outputs):
    """Human lines to a stream; AI lines to a file or nowhere; the rest of the files on request.

    One object serves all shards of a run. `ai` may be null only where the caller was told to
    discard; the quarantine goes to a file, or is counted alone. `again`: all that is read can be
    read another time.
    """

    def __init__(
        self,
        human: BinaryIO,
        ai: Path | None,
        quarantine: Path | None,
        config: RunConfig,
        *,
        again: bool = True,
    ) -> None:
        if config.policy.unscored is Unscored.SEPARATE:
            raise ConfigError(
                "a stream has no output for unscored = separate. "
                "Use a directory (`output=…`) instead."
            )
        self._config = config
        self._names = _called("ai", ai), _called("quarantine", quarantine)
        self._human = StreamWriter(human)
        self._ai: JsonlWriter | None = None
        self._together = ai is not None and shares_file(human, ai)
        if ai is not None and self._together and codec_of_lines(ai.name) != "none":
            raise ConfigError(
                f"{ai} is where the human lines go, which are not compressed; name another file"
            )
        if ai is not None and not self._together:
            self._ai = JsonlWriter(ai, ai.parent, codec_of_lines(ai.name))
        self._quarantine: QuarantineWriter | None = None
        if quarantine is not None:
            self._quarantine = QuarantineWriter(
                quarantine,
                quarantine.parent,
                max_bytes=config.quarantine_bytes(again=again),
                codec=codec_of_lines(quarantine.name),
            )

    def taking(self, reader: Reader) -> StreamOutputs:
        """These outputs, for what `reader` reads. Raises `ConfigError` where no stream takes it."""
        if not reader.format.takes_stream:
            raise ConfigError(
                f"a stream takes lines only, and this input is {reader.format.title}. "
                "Use a directory (`output=…`) instead."
            )
        return self

    def write(self, batch: Batch, judged: Judged) -> int:
        """Appends human lines to the stream and AI lines to their file."""
        annotations = _annotations(judged) if self._config.annotate else None
        kept = masks(judged.decisions.verdicts, self._config.policy.unscored)
        human = kept[Route.HUMAN]
        if self._together:
            human = human | kept[Route.AI]
        self._human.write(batch.payload, human, annotations)
        if self._ai is not None:
            self._ai.write(batch.payload, kept[Route.AI], annotations)
        return len(batch)

    def quarantine(self, shard: str, rejected: Sequence[Rejected]) -> None:
        """Appends records that could not be read."""
        if self._quarantine is not None:
            self._quarantine.write(shard, rejected)

    def notes(self, shard: str) -> tuple[str, ...]:
        """What of the records that could not be read isn't kept."""
        return () if self._quarantine is None else digests_note(shard, self._quarantine)

    def end_shard(self) -> dict[str, WrittenFile]:
        """Nothing is put in place until the whole stream is done."""
        self._human.flush()
        self._human.join()
        if self._ai is not None:
            self._ai.join()
        return {}

    def commit(self) -> tuple[WrittenFile, ...]:
        """Commits the files beside the stream."""
        self._human.flush()
        files: list[WrittenFile] = []
        for writer, name in zip((self._ai, self._quarantine), self._names, strict=True):
            written = writer.commit() if writer is not None else None
            if written is not None:
                files.append(replace(written, path=name))
        return tuple(files)

    def discard(self) -> None:
        """Removes what was not committed."""
        for writer in (self._ai, self._quarantine):
            if writer is not None:
                with contextlib.suppress(OSError):
                    writer.abort()


def _called(what: str, path: Path | None) -> str:
    """What reports call a file beside a stream: a pipe of the shell's has no name of its own."""
    return f"{what}-pipe" if path is None or is_descriptor(path) else path.name


def shares_file(stream: BinaryIO, path: Path) -> bool:
    """Whether `path` leads to what `stream` is open on: two writers would overwrite each other."""
    try:
        return identity(stream.fileno()) == identity(path)
    except (OSError, ValueError):  # It is in memory, or closed.
        return False


def _annotations(judged: Judged) -> Annotations:
    """What `annotate` adds to each record: score, verdict and reasons."""
    decisions = judged.decisions
    verdicts = pa.array([VERDICTS[v] for v in decisions.verdicts], pa.string())
    return pa.StructArray.from_arrays(
        [decisions.score, verdicts, decisions.reasons_array()],
        names=["ai_score", "verdict", "reasons"],
    )
