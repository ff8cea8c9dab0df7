"""Labelled rows and prose from shards, read for training and evaluation.

Rows have the fields `text` and, where known, `label` (human or ai), `domain`, `dataset`,
`generator`, `attack`, `pair`, `license`, `lang` and `id`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.config import RunConfig
from lowbg.errors import ConfigError, FormatError, ProblemKind
from lowbg.records import Batch
from lowbg.runs.inputs import Shard, survey
from lowbg.runs.reading import ShardReading, Source, refuse_broken
from lowbg.text.characters import folding_of
from lowbg.text.tokens import Tokens, tokenize

LABELS: Final = {"human": False, "ai": True, "0": False, "1": True, "false": False, "true": True}
"""What a label may say, in any case, and whether it means AI."""

FIELDS: Final = (*("label", "dataset", "domain", "generator", "attack", "pair", "license", "lang"),)
"""The fields of a row beside those that every shard has."""

_BATCH = 2_000


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled document. `attack` is empty where the text is as it was generated."""

    text: str
    label: str
    dataset: str
    domain: str
    generator: str
    attack: str
    pair: str
    license: str
    language: str
    id: str

    @property
    def is_ai(self) -> bool:
        """Whether the label says AI."""
        return self.label == "ai"


def find(paths: Iterable[str | Path]) -> list[Shard]:
    """The shards that `paths` stand for, sorted by path, each once."""
    shards = survey([os.fspath(path) for path in paths]).shards
    return sorted(shards, key=lambda shard: Path(shard.path))


def list_files(paths: Iterable[str | Path]) -> list[Path]:
    """The paths of the shards that `paths` stand for, sorted."""
    return [Path(shard.path) for shard in find(paths)]


def labels_of(batch: Batch, label_field: str, shard: str) -> list[bool | None]:
    """Whether each document is AI by its label; null where it has none.

    Raises `ConfigError` for a label that is neither human nor AI.
    """
    labels = batch.metadata.others[label_field].to_pylist()
    for record, label in zip(batch.records.tolist(), labels, strict=True):
        if label is not None and label.lower() not in LABELS:
            raise ConfigError(
                f"{shard}: record {record} is labelled {label!r}; a label is human or ai"
            )
    return [None if label is None else LABELS[label.lower()] for label in labels]


def with_row_fields(config: RunConfig) -> RunConfig:
    """The configuration under which shards are read as rows."""
    others = tuple(dict.fromkeys((*config.fields.others, *FIELDS)))
    return replace(config, fields=replace(config.fields, others=others))


def rows_of(batch: Batch, shard: Shard, label: str | None) -> Iterator[Row]:
    """The rows of a batch; documents without any text are left out.

    `label` stands in for those that have none. Raises `ConfigError` for one that is no label.
    """
    known = {False: "human", True: "ai", None: label or ""}
    columns = {name: batch.metadata.others[name].fill_null("").to_pylist() for name in FIELDS}
    language = batch.metadata.language.fill_null("").to_pylist()
    name = "stdin" if shard.path == "-" else Path(shard.path).name.split(".")[0]
    rows = zip(
        batch.text.to_pylist(),
        labels_of(batch, "label", shard.name),
        *(columns[field] for field in FIELDS[1:]),
        language,
        batch.metadata.id.fill_null("").to_pylist(),
        strict=True,
    )
    for text, is_ai, dataset, domain, generator, attack, pair, licence, lang, own, id in rows:
        if text:
            yield Row(
                text=text,
                label=known[is_ai],
                dataset=dataset or name,
                domain=domain,
                generator=generator,
                attack=attack,
                pair=pair,
                license=licence,
                language=lang or own,
                id=id,
            )


def read_rows(path: Path, label: str | None = None) -> Iterator[Row]:
    """The rows of one shard; those without text are left out.

    `label` stands in for rows that have none. Raises `FormatError` for a record that can't be
    read, `InputError` for a shard that can't be read to its end.
    """
    shard = Shard(str(path), path.name, 0)
    with ShardReading(Source(shard, with_row_fields(RunConfig()))) as reading:
        for step in reading:
            for rejected in step.batch.rejected:
                if rejected.reason not in (ProblemKind.NULL_TEXT, ProblemKind.TEXT_NOT_STRING):
                    raise FormatError(rejected.message)
            yield from rows_of(step.batch, shard, label)
    refuse_broken([reading.result()])


def in_language(row: Row, language: str) -> bool:
    """Whether a row is in `language` (zh-Hant is zh); rows that don't say are."""
    return not row.language or row.language.split("-")[0] == language


def as_text(rows: Sequence[Row]) -> pa.LargeStringArray:
    """The rows' texts as Arrow strings; lone surrogates become question marks."""
    texts = [row.text.encode("utf-8", "replace").decode("utf-8") for row in rows]
    return pa.array(texts, pa.large_string())


def token_batches(rows: Sequence[Row], language: str) -> Iterator[Tokens]:
    """The tokens of all rows with their text, some rows at a time."""
    for start in range(0, len(rows), _BATCH):
        text = as_text(rows[start : start + _BATCH])
        yield tokenize(text, np.full(len(text), folding_of(language), np.uint8))


def tokenize_rows(rows: Sequence[Row], language: str) -> Tokens:
    """The tokens of all rows, joined; `data` is left empty."""
    parts = list(token_batches(rows, language))
    return Tokens(
        data=np.empty(0, np.uint8),
        text_starts=np.zeros(len(rows) + 1, np.int64),
        words=_join([part.words for part in parts], np.uint64),
        word_offsets=np.empty(0, np.uint32),
        word_starts=_join_starts([part.word_starts for part in parts]),
        sentences=_join([part.sentences for part in parts], np.int32),
        sentence_starts=_join_starts([part.sentence_starts for part in parts]),
        counts=np.concatenate([part.counts for part in parts] or [np.zeros((0, 5), np.int32)]),
    )


def _join(parts: Sequence[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _join_starts(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    lengths = [np.diff(part) for part in parts]
    return np.concatenate([[0], np.cumsum(_join(lengths, np.int64))]).astype(np.int64)
