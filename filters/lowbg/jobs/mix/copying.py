"""The last reading: what was selected is copied, record for record, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.config import Durability, RunConfig, Verdict
from lowbg.decision.decide import Decisions
from lowbg.errors import InputError
from lowbg.formats import open_reader
from lowbg.formats.base import Reader
from lowbg.formats.quarantine import QuarantineWriter, quarantine_path
from lowbg.jobs.mix.inputs import HUMAN, role_of
from lowbg.jobs.mix.measure import folder, rows_of
from lowbg.records import Batch, KnownOrigin, Metadata, Payload, Position, Rejected
from lowbg.report.results import ShardResult
from lowbg.runs.checkpoints import Checkpoint, Journal, key_of
from lowbg.runs.engine import Judged
from lowbg.runs.inputs import Shard
from lowbg.runs.shard import OnProgress, run_shard
from lowbg.runs.sinks import QUARANTINE, check_inside, open_writer
from lowbg.scorers.base import Documents
from lowbg.storage.files import PartState, WrittenFile
from lowbg.storage.locks import share_of_worker
from lowbg.text import languages
from lowbg.text.tokens import COUNTS, Tokens


@dataclass(frozen=True, slots=True)
class CopySetup:
    """Makes a worker; pickles."""

    config: RunConfig
    output: Path
    durability: Durability

    def __call__(self) -> CopyWorker:
        """The worker, in its own process."""
        share_of_worker(self.output)
        return CopyWorker(self)


class CopyWorker:
    """Copies shards."""

    def __init__(self, setup: CopySetup) -> None:
        self._setup = setup

    def __call__(self, task: Shard, on_progress: OnProgress | None) -> ShardResult:
        """Copies what is taken of a shard; goes on where an earlier run was interrupted."""
        setup = self._setup
        journal = Journal(setup.output, task, setup.durability)

        def reader() -> SelectingReader:
            inner = open_reader(task.path, setup.config, task.name)
            records = rows_of(setup.output, task.name)["record"]
            return SelectingReader(inner, records, taken_of(setup.output, task.name), task.name)

        def sinks(reader: Reader, checkpoint: Checkpoint | None) -> CopySinks:
            assert isinstance(reader, SelectingReader)
            return CopySinks(task.name, reader.inner, setup, journal, checkpoint)

        verdict = Verdict.HUMAN.code if role_of(task) == HUMAN else Verdict.AI.code
        return run_shard(
            task.name, task.path, reader, sinks, RoleJudge(verdict), on_progress, journal
        )


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
        self.seen_fields = inner.seen_fields
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
            yield selected(batch, self._taken[places] > 0)

    def position(self) -> Position:
        """Where the reader stands after the batch that it yielded last."""
        return self.inner.position()

    def start_at(self, position: Position) -> None:
        """Makes the first batch the one that followed `position`; call it before iterating."""
        self.inner.start_at(position)

    def close(self) -> None:
        """Releases the file; safe to call twice."""
        self.inner.close()


def selected(batch: Batch, keep: NDArray[np.bool_]) -> Batch:
    """The records of a batch where `keep` is true, in their stored form."""
    if keep.all():
        return batch
    mask = pa.array(keep)
    own = batch.metadata
    return replace(
        batch,
        records=batch.records[keep],
        text=batch.text.filter(mask),
        metadata=Metadata(
            own.id.filter(mask), own.language.filter(mask), own.date.filter(mask),
            own.url.filter(mask), {name: c.filter(mask) for name, c in own.others.items()},
        ),
        sizes=batch.sizes[keep],
        payload=batch.payload.take(keep),
    )  # fmt: skip


class RoleJudge:
    """Says of every document what it is by its input: nothing in it is looked at or counted."""

    def __init__(self, verdict: int) -> None:
        self._verdict = verdict

    def judge(self, text: pa.LargeStringArray, metadata: Metadata | None = None) -> Judged:
        """Every document with the verdict of its role, without features or words."""
        n = len(text)
        starts = np.zeros(n + 1, np.int64)
        tokens = Tokens(
            np.empty(0, np.uint8), starts, np.empty(0, np.uint64), np.empty(0, np.uint32), starts,
            np.empty(0, np.int32), starts, np.zeros((n, len(COUNTS)), np.int32),
        )  # fmt: skip
        nobody, unknown = np.zeros(n, np.bool_), np.full(n, -1, np.int32)
        return Judged(
            Documents(text, tokens, np.full(n, -1, np.int8), languages.CODES),
            {},
            KnownOrigin(nobody, nobody, unknown, ()),
            Decisions(
                score=pa.nulls(n, pa.float32()),
                verdicts=np.full(n, self._verdict, np.int8),
                called_ai=nobody,
                unscored_codes=np.full(n, -1, np.int8),
                z=np.full(n, np.nan),
                too_short=nobody,
                explain=lambda _: [],
            ),
        )


class CopySinks:
    """One file under the shard's own name, and its quarantine."""

    def __init__(
        self,
        name: str,
        reader: Reader,
        setup: CopySetup,
        journal: Journal,
        checkpoint: Checkpoint | None,
    ) -> None:
        root = setup.output
        target = quarantine_path(root, name)
        self._name = name.partition("/")[0]
        self._quarantine = QuarantineWriter(target, root, journal.part(QUARANTINE, checkpoint))
        try:
            check_inside(root, root / name)
            check_inside(root, target)
            part = journal.part(self._name, checkpoint)
            self._writer = open_writer(name, root, reader, setup.config, part)
        except BaseException:
            self._quarantine.abort()
            raise

    def write(self, batch: Batch, judged: Judged) -> int:
        """Appends every document."""
        self._writer.write(batch.payload, np.ones(len(batch), np.bool_))
        return len(batch)

    def pass_on(self, payload: Payload) -> None:
        """Writes what is no document."""
        self._writer.write(payload, np.zeros(0, np.bool_))

    def quarantine(self, shard: str, rejected: Sequence[Rejected]) -> None:
        """Appends records that could not be read."""
        self._quarantine.write(shard, rejected)

    def checkpoint(self, turn: int) -> dict[str, PartState]:
        """Makes what was written durable, and says by output how far it is."""
        parts = {self._name: self._writer.checkpoint(turn)}
        quarantine = self._quarantine.checkpoint(turn)
        return {**parts, QUARANTINE: quarantine} if quarantine is not None else parts

    def end_shard(self) -> dict[str, WrittenFile]:
        """Finishes both files; the quarantine only where it holds something."""
        files = {self._name: self._writer.finish()}
        quarantine = self._quarantine.finish()
        return {**files, QUARANTINE: quarantine} if quarantine is not None else files

    def publish(self) -> None:
        """Gives both files their names."""
        self._writer.publish()
        self._quarantine.publish()

    def abort(self) -> None:
        """Lets go of what is not finished; parts stay."""
        self._writer.abort()
        self._quarantine.abort()
