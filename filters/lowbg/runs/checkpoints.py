"""What is done and what can be gone on with: the folder `.lowbg/` of an output directory.

`run.json` says which run it is (configuration, models, version, inputs). `shards/KEY.json` holds
the result of a shard whose outputs are whole; it is written before they get their names, so that a
run which is killed in between only has names left to give. `parts/KEY.*` are the outputs of a
shard at work, and `parts/KEY.checkpoint.json` says where its reader stood, what was counted, and
how much of each output was safe by then. A folder of its own would take a small shard longer than
all else. Every file is replaced at once or not at all.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from lowbg.config import Durability, ScoreFormat
from lowbg.errors import CheckpointError, OutputError, ProblemKind
from lowbg.lm_budget import LmSelection
from lowbg.records import Position
from lowbg.report.results import Problem, ShardResult
from lowbg.report.statistics import Statistics
from lowbg.runs.inputs import InputState, Shard
from lowbg.runs.shards import Piece
from lowbg.runs.splitting import SplitNote
from lowbg.storage.files import (
    Part,
    PartState,
    file_digest,
    make_folder,
    naming,
    replace_file,
    size_of_file,
    sync_directory,
)
from lowbg.storage.typed import SCHEMA_KEY, Closed, FileType, swift

FOLDER: Final = ".lowbg"
PARTS: Final = "parts"
SCHEMA: Final = "lowbg.checkpoint/1"
_STARTS_OVER: Final = "Its shard starts over"

_log = logging.getLogger(__name__)


class Tally(msgspec.Struct, forbid_unknown_fields=True):
    """What a shard's loop counts beside the statistics; problems by kind."""

    records: int = 0
    text_bytes: int = 0
    consumed: int = 0
    lenient: int = 0
    blank: int = 0
    routed: int = 0
    ai: int = 0
    quarantined: int = 0
    lm_seconds: float = 0.0
    problems: dict[ProblemKind, Problem] = msgspec.field(default_factory=dict)

    def forget(self) -> None:
        """Leaves only what was read of the stored input: nothing came of its records."""
        none = Tally(consumed=self.consumed, lm_seconds=self.lm_seconds)
        for name in self.__struct_fields__:
            setattr(self, name, getattr(none, name))

    def add_problem(self, kind: ProblemKind, message: str, count: int) -> None:
        """Counts a problem; the first message of a kind is kept."""
        known = self.problems.get(kind)
        if known is None:
            self.problems[kind] = Problem(kind, message, count)
        else:
            self.problems[kind] = Problem(kind, known.message, known.count + count)


class Checkpoint(Closed, frozen=True, kw_only=True, tag=SCHEMA, tag_field=SCHEMA_KEY):
    """A shard between two batches; `turn` counts its checkpoints, `parts` are by output."""

    shard: str
    input: InputState
    turn: int
    position: Position
    tally: Tally
    statistics: Statistics
    parts: dict[str, PartState]
    seconds: float
    cpu_seconds: float


CHECKPOINT: Final[FileType[Checkpoint]] = FileType(
    Checkpoint, "a checkpoint", CheckpointError, _STARTS_OVER
)


class _Sealed(Closed, frozen=True, tag=SCHEMA, tag_field=SCHEMA_KEY):
    """A shard whose outputs are whole: where each part is to lie, and what came of it."""

    input: InputState
    parts: dict[str, str]
    result: ShardResult


SEALED: Final[FileType[_Sealed]] = FileType(
    _Sealed, "the result of a shard", CheckpointError, _STARTS_OVER
)


class _PieceNote(Closed, frozen=True, tag="lowbg.piece/1", tag_field=SCHEMA_KEY):
    """A piece of a shard that was read to its end; the outputs of `result` are its logs."""

    input: InputState
    start: Position | None
    stop: Position | None
    result: ShardResult


_PIECE: Final[FileType[_PieceNote]] = FileType(
    _PieceNote, "the result of a piece of a shard", CheckpointError, "It is read again", swift
)


class RunRecord(Closed, frozen=True, kw_only=True, tag="lowbg.run/1", tag_field=SCHEMA_KEY):
    """Which run a directory holds: all that decides what its outputs are, and its inputs.

    `inputs` and `places` (where each was) are by shard; `targets` are outputs outside of the
    command's folders. Records of before have neither of these two. `format` is that of scores;
    `split` says which part of the shards the run did, where it did one; `selection` what its LM
    reads, where it has a budget and that is learnt.
    """

    command: str
    format: ScoreFormat | UnsetType = UNSET
    version: str
    configuration: dict[str, Any]
    models: dict[str, str]
    scorers: dict[str, int]
    inputs: dict[str, InputState] | UnsetType = UNSET
    places: dict[str, str] | UnsetType = UNSET
    targets: list[str] | UnsetType = UNSET
    split: SplitNote | UnsetType = UNSET
    selection: LmSelection | UnsetType = UNSET


class MixRecord(Closed, frozen=True, kw_only=True, tag="lowbg.mix/1", tag_field=SCHEMA_KEY):
    """Which mix a directory holds."""

    command: str
    version: str
    mix: dict[str, Any]
    configuration: dict[str, Any]
    inputs: dict[str, InputState]


AnyRecord: TypeAlias = RunRecord | MixRecord
RECORD: Final[FileType[AnyRecord]] = FileType(
    AnyRecord, "the record of a run", OutputError, '`existing="overwrite"` starts again'
)


class Journal:
    """One shard's place in `.lowbg/`: its parts, its checkpoint and its result."""

    def __init__(self, root: Path, shard: Shard, durability: Durability) -> None:
        self.root = root
        self.shard = shard
        self._durability = durability
        self._key = key_of(shard.name)
        if isinstance(shard, Piece):  # It goes with what is left of the shard.
            self._key = f"{self._key}.{shard.number}"
        self._parts = root / FOLDER / PARTS
        self._checkpoint = self._parts / f"{self._key}.checkpoint.json"
        self._whole = self._parts / f"{self._key}.whole.json"
        self.input = InputState.of(shard)
        self._saved_at = time.monotonic()
        self._saved_bytes = 0

    @property
    def begun(self) -> bool:
        """Whether there is a checkpoint."""
        return self._checkpoint.exists()

    def load(self) -> Checkpoint | None:
        """The checkpoint of an earlier run; null where there is none that can be used."""
        path = self._checkpoint
        if not path.exists():  # Of most shards there is none: to say why takes longer.
            return None
        try:
            checkpoint = CHECKPOINT.read_if_there(path)
        except CheckpointError as error:
            _log.warning("%s", error)
            return None
        if checkpoint is None:
            return None
        if checkpoint.shard != self.shard.name or checkpoint.input != self.input:
            _log.warning("%s: of another input; the shard starts over", path)
            return None
        self._saved_bytes = checkpoint.tally.text_bytes
        return checkpoint

    def part(self, name: str, checkpoint: Checkpoint | None) -> Part:
        """Where the output `name` is kept until it is whole."""
        state = checkpoint.parts.get(name) if checkpoint else None
        return Part(self._parts, f"{self._key}.{name}", state)

    def due(self, text_bytes: int) -> bool:
        """Whether it is time for a checkpoint."""
        return (
            time.monotonic() - self._saved_at >= self._durability.seconds
            or text_bytes - self._saved_bytes >= self._durability.bytes
        )

    def save(self, checkpoint: Checkpoint) -> None:
        """Notes a checkpoint, whose outputs are safe."""
        replace_file(self._checkpoint, CHECKPOINT.encode(checkpoint))
        self._saved_at = time.monotonic()
        self._saved_bytes = checkpoint.tally.text_bytes

    def seal(self, result: ShardResult, parts: Mapping[str, str]) -> ShardResult:
        """Notes the result of a shard whose outputs are whole; `parts` are their paths by part.

        Returns it with the input's digest, where digests are asked for. A result that another run
        may better is not noted.
        """
        if self._durability.digests:
            result = replace(result, input_sha256=input_digest(self.shard))
        lasting = all(p.count or p.kind.lasting for p in result.problems)
        if not result.outputs or not lasting:
            return result
        _note(self.root, _Sealed(self.input, dict(parts), result))
        return result

    def note_piece(self, result: ShardResult) -> None:
        """Notes the result of a piece whose logs are whole."""
        assert isinstance(self.shard, Piece)
        note = _PieceNote(self.input, self.shard.start, self.shard.stop, result)
        replace_file(self._whole, _PIECE.encode(note))
        self._checkpoint.unlink(missing_ok=True)

    def whole_piece(self) -> ShardResult | None:
        """The result of a piece that an earlier run read to its end; null where there is none."""
        assert isinstance(self.shard, Piece)
        try:
            note = _PIECE.read_if_there(self._whole)
        except CheckpointError as error:
            _log.warning("%s", error)
            return None
        own = self.input, self.shard.start, self.shard.stop
        if note is None or (note.input, note.start, note.stop) != own:
            return None
        return note.result

    def discard(self) -> None:
        """Removes the parts: they were published, or are of no use."""
        _remove_parts(self._parts, self._key)


def _note(root: Path, sealed: _Sealed) -> None:
    path = root / FOLDER / "shards" / f"{key_of(sealed.result.shard)}.json"
    with naming(path):
        make_folder(path.parent)
    replace_file(path, SEALED.encode(sealed))


def note_finished(root: Path, result: ShardResult, state: InputState) -> None:
    """Notes the result of a shard whose outputs are in place, as the run that made them did."""
    _note(root, _Sealed(state, {}, result))


def has_parts(root: Path, name: str) -> bool:
    """Whether something of a shard is left from a run that didn't finish it."""
    return bool(_parts_of(root / FOLDER / PARTS, key_of(name)))


def _parts_of(folder: Path, key: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.name.startswith(f"{key}.")]
    except FileNotFoundError:
        return []


def _remove_parts(folder: Path, key: str) -> None:
    with naming(folder):
        for name in _parts_of(folder, key):
            (folder / name).unlink(missing_ok=True)


def key_of(name: str) -> str:
    """A shard's file name in `.lowbg/`: shard names may be as long as file names get."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def local_size(root: Path, path: str) -> int | None:
    """The size of the file `path` below `root`; None where there is none."""
    return size_of_file(root / path)


def load_results(
    root: Path, size_of: Callable[[str], int | None] | None = None
) -> dict[str, tuple[ShardResult, InputState]]:
    """The finished shards by name, with what their inputs were.

    Names that a killed run had still to give are given now. A shard whose outputs are not all
    there, in their sizes, is not finished. `size_of` says how large an output is, where that is not
    a file of the directory.
    """
    size_of = size_of or partial(local_size, root)
    found: dict[str, tuple[ShardResult, InputState]] = {}
    for path in sorted((root / FOLDER / "shards").glob("*.json")):
        try:
            sealed = SEALED.read(path)
        except CheckpointError as error:
            _log.warning("%s", error)
            continue
        result = sealed.result
        _publish(root, key_of(result.shard), sealed.parts)
        if all(size_of(file.path) == file.bytes for file in result.outputs):
            _remove_parts(root / FOLDER / PARTS, key_of(result.shard))
            found[result.shard] = (result, sealed.input)
        else:
            _log.warning("%s: its outputs are not what they were; it starts over", result.shard)
            forget(root, result.shard)
    return found


def forget(root: Path, name: str) -> None:
    """Removes what is noted of a shard."""
    key = key_of(name)
    with naming(root / FOLDER):
        (root / FOLDER / "shards" / f"{key}.json").unlink(missing_ok=True)
    _remove_parts(root / FOLDER / PARTS, key)


def _publish(root: Path, key: str, parts: Mapping[str, str]) -> None:
    """Gives sealed parts their names."""
    folder = root / FOLDER / PARTS
    for name, target in parts.items():
        part = folder / f"{key}.{name}"
        if part.exists():
            with naming(root / target):
                (root / target).parent.mkdir(parents=True, exist_ok=True)
                part.replace(root / target)
                sync_directory((root / target).parent)


def input_digest(shard: Shard) -> str | None:
    """SHA-256 (hex) of a local input's stored bytes; null where it can't be read again."""
    try:
        return file_digest(Path(shard.path))
    except OSError as error:
        _log.warning("%s: no digest (%s)", shard.path, error)
        return None


def write_record(root: Path, record: AnyRecord) -> None:
    """Writes `run.json`."""
    path = root / FOLDER / "run.json"
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, RECORD.encode(record))


def read_record(root: Path) -> AnyRecord | None:
    """`run.json`; null where there is none. Raises `OutputError` when it is damaged."""
    return RECORD.read_if_there(root / FOLDER / "run.json")
