"""How the documents of shards come to be judged, for jobs that look at each with its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, Protocol

from lowbg.config import RunConfig
from lowbg.records import Batch
from lowbg.runs.engine import Engine
from lowbg.runs.inputs import Shard
from lowbg.runs.progress import OnProgress
from lowbg.runs.reading import ShardReading, Source
from lowbg.text.digests import text_digest


class Judging(Protocol):
    """Reads shards and judges what they hold."""

    @property
    def config(self) -> RunConfig:
        """How they are read: which fields hold what."""
        ...

    def require(self, fields: Sequence[str]) -> None:
        """Raises `ConfigError` where it is known that no record can have one of these fields."""
        ...

    def reading(
        self, shard: Shard, others: Sequence[str], on_progress: OnProgress | None
    ) -> ShardReading:
        """A pass over a shard whose batches come judged, with these fields of their records."""
        ...

    def digest(self, batch: Batch, i: int) -> str:
        """What the text of document i of a batch has in common with its copies."""
        ...


@dataclass(frozen=True, slots=True)
class TextJudging:
    """Reads documents, and has `engine` score them; `stdin` is what "-" reads."""

    config: RunConfig
    engine: Engine
    stdin: BinaryIO | None = None

    def require(self, fields: Sequence[str]) -> None:
        """See `Judging`; any record may have any field."""

    def reading(
        self, shard: Shard, others: Sequence[str], on_progress: OnProgress | None
    ) -> ShardReading:
        """See `Judging`."""
        named = tuple(dict.fromkeys((*self.config.fields.others, *others)))
        config = replace(self.config, fields=replace(self.config.fields, others=named))
        return ShardReading(Source(shard, config, self.stdin), self.engine, on_progress)

    def digest(self, batch: Batch, i: int) -> str:
        """See `Judging`."""
        return text_digest(batch.text[i])
