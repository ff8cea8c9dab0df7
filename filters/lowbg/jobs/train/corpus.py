"""Labelled rows and prose from JSONL files, read for training and evaluation.

Rows have the fields `text` and, where known, `label` (human or ai), `domain`, `dataset`,
`generator`, `attack`, `pair`, `license`, `lang` and `id`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.errors import ConfigError, FormatError
from lowbg.text.characters import folding_of
from lowbg.text.tokens import Tokens, tokenize

SUFFIXES = (".jsonl", ".jsonl.zst", ".jsonl.gz")
"""Names of the files that a folder is searched for."""

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


def list_files(paths: Iterable[Path]) -> list[Path]:
    """The JSONL files that `paths` name, folders searched to the bottom, sorted and unique.

    Raises `ConfigError` for a path that does not exist, and for a folder without such files.
    """
    found: set[Path] = set()
    for path in paths:
        if path.is_dir():
            inside = {p for p in path.rglob("*") if p.name.endswith(SUFFIXES)}
            if not inside:
                raise ConfigError(f"{path}: no {', '.join(SUFFIXES)} files in it")
            found |= inside
        elif path.is_file():
            found.add(path)
        else:
            raise ConfigError(f"{path}: no such file or folder")
    return sorted(found)


def _lines(path: Path) -> Iterator[bytes]:
    codec = {".zst": "zstd", ".gz": "gzip"}.get(path.suffix)
    with pa.input_stream(str(path), compression=codec) as stream:
        rest = b""
        while block := stream.read(1 << 20):
            *whole, rest = (rest + block).split(b"\n")
            yield from whole
        if rest:
            yield rest


def read_rows(path: Path, label: str | None = None) -> Iterator[Row]:
    """The rows of one file; those without text are left out.

    `label` stands in for rows that have none. Raises `FormatError` for a line that is no JSON
    object.
    """
    name = path.name.split(".")[0]
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            value: Any = orjson.loads(line)
            text = value["text"]
        except (orjson.JSONDecodeError, TypeError, KeyError) as error:
            raise FormatError(
                f"{path}:{number}: not a JSON object with a text ({error})"
            ) from error
        if not isinstance(text, str) or not text:
            continue

        def field(key: str, default: str = "", value: Any = value) -> str:
            found = value.get(key)
            return default if found is None else str(found)

        yield Row(
            text=text,
            label=field("label", label or ""),
            dataset=field("dataset", name),
            domain=field("domain"),
            generator=field("generator"),
            attack=field("attack"),
            pair=field("pair"),
            license=field("license"),
            language=field("lang") or field("language"),
            id=field("id"),
        )


def in_language(row: Row, language: str) -> bool:
    """Whether a row is in `language` (zh-Hant is zh); rows that don't say are."""
    return not row.language or row.language.split("-")[0] == language


def as_text(rows: Sequence[Row]) -> pa.LargeStringArray:
    """The rows' texts as Arrow strings; lone surrogates become question marks."""
    texts = [row.text.encode("utf-8", "replace").decode("utf-8") for row in rows]
    return pa.array(texts, pa.large_string())


def tokenize_rows(rows: Sequence[Row], language: str) -> Tokens:
    """The tokens of all rows, joined; `data` is left empty."""
    parts = []
    for start in range(0, len(rows), _BATCH):
        text = as_text(rows[start : start + _BATCH])
        parts.append(tokenize(text, np.full(len(text), folding_of(language), np.uint8)))
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
