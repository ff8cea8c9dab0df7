"""The last reading: what was selected is copied, record for record, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.config import RunConfig, Verdict
from lowbg.decision.decide import Verdicts
from lowbg.errors import InputError
from lowbg.formats.base import Reader
from lowbg.jobs.mix.inputs import HUMAN, Role
from lowbg.jobs.mix.measure import folder, rows_of
from lowbg.records import Batch, KnownOrigin, Payload, Position
from lowbg.runs.checkpoints import key_of
from lowbg.runs.engine import Judged
from lowbg.runs.inputs import Shard
from lowbg.runs.reading import Source
from lowbg.runs.run import DirectoryTask
from lowbg.runs.sinks import Place, ShardFiles, open_writer
from lowbg.scorers.base import Documents
from lowbg.text import languages
from lowbg.text.dates import read_dates
from lowbg.text.tokens import COUNTS, Tokens


@dataclass(frozen=True, slots=True)
class CopyTask(DirectoryTask):
    """Copies what is taken of a shard of this role, from its checkpoint on if it has one."""

    role: Role = HUMAN

    def load(self) -> RoleJudge:
        """What says that every document is what its input is."""
        return RoleJudge(Verdict.HUMAN.code if self.role == HUMAN else Verdict.AI.code)

    def source(self, shard: Shard) -> TakenSource:
        """What is taken of a shard."""
        return taken_source(shard, self.config, self.output)

    def open_outputs(self, place: Place, reader: Reader) -> CopiedFiles:
        """The shard's copy, in the form of the shard."""
        assert isinstance(reader, SelectingReader)
        return CopiedFiles(self.output, place, reader.inner, self.config)


@dataclass(frozen=True, slots=True)
class TakenSource(Source):
    """A shard of which some records are read; `records` and `taken` as in `SelectingReader`."""

    records: NDArray[np.int64] = field(kw_only=True)
    taken: NDArray[np.uint8] = field(kw_only=True)

    def open(self) -> SelectingReader:
        """The shard's reader."""
        return SelectingReader(Source.open(self), self.records, self.taken, self.shard.name)


def taken_source(shard: Shard, config: RunConfig, output: Path, pass_: str = "") -> TakenSource:
    """What the mix takes of a shard; `pass_` stands before its name in what progress is called."""
    records, taken = rows_of(output, shard.name)["record"], taken_of(output, shard.name)
    label = f"{pass_}{shard.name}"
    # Whether there are texts was looked at when all of it was read.
    config = replace(config, force=True)
    return TakenSource(shard, config, label=label, records=records, taken=taken)


def taken_of(output: Path, name: str) -> NDArray[np.uint8]:
    """How often each document of a shard is in the mix."""
    path = folder(output) / f"{key_of(name)}.taken"
    if not path.stat().st_size:
        return np.empty(0, np.uint8)
    return np.memmap(path, np.uint8, "r")


class SelectingReader(Reader):
    """Of another reader's records, those that are taken; what can't be read comes along.

    `records` (rising) are the positions of the readable records, `taken` above 0 for those to
    yield. Iterating raises `InputError` where the shard has other records than those.
    """

    def __init__(
        self, inner: Reader, records: NDArray[np.int64], taken: NDArray[np.uint8], name: str
    ) -> None:
        self.inner = inner
        self.format, self.kind, self.compression = inner.format, inner.kind, inner.compression
        self.seen_fields, self.notes = inner.seen_fields, inner.notes
        self._records = records
        self._taken = taken
        self._name = name

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.inner:
            places = np.searchsorted(self._records, batch.records)
            if len(batch) and (
                places[-1] >= len(self._records)
                or not np.array_equal(self._records[places], batch.records)
            ):
                raise InputError(f"{self._name}: was changed while it was read; start again")
            yield batch.filtered(self._taken[places] > 0)

    def position(self) -> Position:
        """Where the reader stands after the batch that it yielded last."""
        return self.inner.position()

    def start_at(self, position: Position) -> None:
        """Makes the first batch the one that followed `position`; call it before iterating."""
        self.inner.start_at(position)

    def close(self) -> None:
        """Releases the file; safe to call twice."""
        self.inner.close()


class RoleJudge:
    """Says of every document what it is by its input: nothing in it is looked at or counted."""

    def __init__(self, verdict: int) -> None:
        self._verdict = verdict

    def judge_batches(self, batches: Sequence[Batch]) -> Sequence[Judged]:
        """Every document with the verdict of its role, without features or words."""
        return [self._judged(batch) for batch in batches]

    def _judged(self, batch: Batch) -> Judged:
        n = len(batch)
        starts = np.zeros(n + 1, np.int64)
        tokens = Tokens(
            np.empty(0, np.uint8), starts, np.empty(0, np.uint64), np.empty(0, np.uint32), starts,
            np.empty(0, np.int32), starts, np.zeros((n, len(COUNTS)), np.int32),
        )  # fmt: skip
        nobody, unknown = np.zeros(n, np.bool_), np.full(n, -1, np.int32)
        return Judged(
            Documents(batch.text, tokens, np.full(n, -1, np.int8), languages.CODES),
            {},
            read_dates(batch.metadata.date),
            KnownOrigin(nobody, nobody, unknown, ()),
            Verdicts(
                score=pa.nulls(n, pa.float32()),
                verdicts=np.full(n, self._verdict, np.int8),
                called_ai=nobody,
                by_artifact=nobody,
                unscored_codes=np.full(n, -1, np.int8),
                z=np.full(n, np.nan),
                too_short=nobody,
                margin=np.full(n, np.nan),
                explain=lambda _: [],
            ),
        )


class CopiedFiles(ShardFiles):
    """One file under the shard's own name, and its quarantine."""

    def __init__(self, root: Path, place: Place, reader: Reader, config: RunConfig) -> None:
        super().__init__(root, place, config)
        role = place.shard.partition("/")[0]
        with self.opening():
            part = place.part(role)
            self._copy = open_writer(place.shard, root, reader, config, part)
        self.writers[role] = self._copy

    def write(self, batch: Batch, judged: Judged) -> int:
        """Appends every document."""
        self._copy.write(batch.payload, np.ones(len(batch), np.bool_))
        return len(batch)

    def pass_on(self, payload: Payload) -> None:
        """Appends what is no document."""
        self._copy.write(payload, np.zeros(0, np.bool_))
