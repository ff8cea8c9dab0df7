"""Steps of a datatrove pipeline, for documents as its readers make them.

What lowbg says of a document stands in its metadata, under `lowbg`, as `lowbg filter --annotate`
writes it into a record.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.writers.disk_base import DiskWriter
from datatrove.utils.batching import batched
from datatrove.utils.typeshelper import StatHints

from lowbg.adapters.annotate import COLUMN, Annotate, column_of
from lowbg.config import FieldNames, RunConfig, Verdict

BATCH: Final = 1_000
"""Documents that are judged at a time; what becomes of them doesn't depend on it."""

KEPT: Final = (Verdict.HUMAN, Verdict.UNSCORED)
"""What can't be judged stays, unless told otherwise, as with `lowbg filter`."""


class LowbgFilter(BaseFilter):  # type: ignore[misc, unused-ignore]
    """Drops AI-likely documents; with an `exclusion_writer` they are written there.

    `kept` are the verdicts that stay. Metadata gets `lowbg`, and of what is dropped `filter_reason`
    is the verdict. Language, date and URL are read from the metadata, under the names that
    `annotate.fields` gives them; text and id are the document's own.
    """

    name = "lowbg"

    def __init__(
        self,
        annotate: Annotate | None = None,
        *,
        exclusion_writer: DiskWriter | None = None,
        kept: Collection[Verdict] = KEPT,
        batch_size: int = BATCH,
    ) -> None:
        super().__init__(exclusion_writer, batch_size)
        self.annotate = annotate or Annotate()
        self.kept = frozenset(kept)

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Whether a document stays; if not, why."""
        return self.filter_batch([doc])[0]

    def filter_batch(self, batch: list[Document]) -> list[bool | tuple[bool, str]]:
        """Whether each document stays; if not, why."""
        verdicts = [Verdict(said["verdict"]) for said in _annotate(batch, self.annotate)]
        return [verdict in self.kept or (False, verdict.value) for verdict in verdicts]


class LowbgScore(PipelineStep):  # type: ignore[misc, unused-ignore]
    """Says what lowbg says of each document in its metadata; drops nothing."""

    type = "📊 - STATS"
    name = "lowbg"

    def __init__(self, annotate: Annotate | None = None, *, batch_size: int = BATCH) -> None:
        super().__init__()
        self.annotate = annotate or Annotate()
        self.batch_size = batch_size

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """The documents, in their order."""
        for batch in batched(data, self.batch_size):
            with self.track_time("batch"):
                said = _annotate(batch, self.annotate)
            for document, own in zip(batch, said, strict=True):
                self.stat_update(StatHints.total, own["verdict"])
                yield document


def _annotate(batch: Sequence[Document], annotate: Annotate) -> list[dict[str, Any]]:
    """Puts what lowbg says of each document into its metadata, and gives it back."""
    import pyarrow as pa

    own = annotate.fields or annotate.detector.fields
    fields = RunConfig(fields=own, policy=annotate.detector.policy).read_fields
    # A dotted path reaches into what lies in the metadata.
    named = (fields.language, fields.date, fields.url, *fields.others)
    columns: dict[str, Any] = {}
    for name in dict.fromkeys(path.partition(".")[0] for path in named):
        columns[name] = column_of([document.metadata.get(name) for document in batch])
    columns[_OWN.text] = column_of([document.text for document in batch])
    columns[_OWN.id] = column_of([document.id for document in batch])
    reading = replace(annotate, fields=replace(own, text=_OWN.text, id=_OWN.id))
    if "verdict" not in reading.values:
        reading = replace(reading, values=(*reading.values, "verdict"))
    said: list[dict[str, Any]] = reading.column(pa.table(columns)).to_pylist()
    for document, values in zip(batch, said, strict=True):
        document.metadata[COLUMN] = values
    return said


_OWN: Final = FieldNames()
"""Text and id are the document's own, whatever they were called where it was read."""
