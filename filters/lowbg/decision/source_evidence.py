"""What a table of sources says of documents: the evidence that a run joins to their own scores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lowbg.amounts import counted, share_text
from lowbg.arrays import filled, floats, is_known, to_numpy
from lowbg.config import SourceVerdict
from lowbg.decision.calibration import unsquash
from lowbg.errors import ConfigError, FormatError, InputError, cause
from lowbg.storage.compression import open_binary
from lowbg.storage.files import refuse_url
from lowbg.storage.whole_files import address, local_copy
from lowbg.text import languages

SCHEMA: Final = "lowbg.sources/1"
KEY: Final = b"lowbg.sources"
"""Where a Parquet file has the header of a table of sources."""

VERDICTS: Final = tuple(SourceVerdict)

SETTLED: Final = 0.97
"""The certainty from which a verdict human or AI on a source is settled; others are unsure."""

_ROWS: Final = 65_536


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a merge a table holds: the range `index` of `count`, from 0.

    It has the sources from `start` (null: from the first) to before `end` (null: to the last).
    `merge` is a digest of what was merged, and how: that of all ranges of a merge is the same.
    """

    index: int
    count: int
    start: str | None
    end: str | None
    merge: str


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a table says of itself.

    `before` is the cut-off (ISO date, null without one). `models` are the digests of the tables
    that scored. `documents` of all that were read, `without_source` among them. `known_human` are
    sources with enough documents from before the cut-off to be judged by these alone, and
    `known_human_called` those of them that would be called AI. `lm` are the digests of the probes
    that read pages, empty without any; `read_sources` have some, `read_pages` in all. `range` says
    which sources the table has, where it hasn't all; of the first range are the documents without a
    source.
    """

    schema: str = SCHEMA
    version: str
    by: str
    before: str | None
    min_documents: int
    bound: float
    models: dict[str, str]
    suffixes: str = ""
    documents: int = 0
    without_source: int = 0
    sources: int = 0
    verdicts: dict[str, int] = msgspec.field(default_factory=dict)
    known_human: int = 0
    known_human_called: int = 0
    lm: dict[str, str] = msgspec.field(default_factory=dict)
    read_sources: int = 0
    read_pages: int = 0
    range: Range | msgspec.UnsetType = msgspec.UNSET


def read_header(path: Path) -> Header | None:
    """What the table says of itself; null where the file is none.

    Raises `FormatError` for a table of another version.
    """
    try:
        with open_binary(address(path)) as file:
            if file.read(4) != b"PAR1":
                return None
            metadata = pq.read_metadata(file).metadata or {}
    except (OSError, InputError, pa.ArrowException):
        return None
    written = metadata.get(KEY)
    if written is None:
        return None
    plain = json.loads(written)
    if plain.get("schema") != SCHEMA:
        raise FormatError(
            f"{address(path)}: a table of sources of another version ({plain.get('schema')}); make "
            "it again with `lowbg sources`"
        )
    return msgspec.convert(plain, Header)


def required_header(path: Path) -> Header:
    """The same. Raises `ConfigError` where the file is no table of sources."""
    refuse_url(path, read=True)
    if not path.is_file():
        raise ConfigError(f"{path}: no such table of sources", key="sources.table")
    header = read_header(path)
    if header is None:
        raise ConfigError(
            f"{path}: no table of sources; `lowbg sources` makes them", key="sources.table"
        )
    return header


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of the sources of a batch's documents, one entry a document.

    `rows` are rows of the evidence, −1 where it has none; `names` the sources' names by
    `codes`, −1 where a document has none.
    """

    rows: NDArray[np.int64]
    codes: NDArray[np.int64]
    names: Sequence[str]
    evidence: SourceEvidence

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which documents' sources the evidence knows."""
        return self.rows >= 0

    @property
    def verdicts(self) -> NDArray[np.int8]:
        """The verdict on each document's source, a code of `SourceVerdict`."""
        found = self.evidence.verdicts[np.maximum(self.rows, 0)]
        unknown = SourceVerdict.UNKNOWN.code
        return np.where(self.known, found, unknown).astype(np.int8)

    @property
    def at_border(self) -> NDArray[np.float64]:
        """How many scored documents each document's source has, where its verdict isn't settled.

        NaN where it is, and where the evidence doesn't know the source.
        """
        return self.evidence.at_border(self.rows)

    @property
    def known_verdicts(self) -> NDArray[np.int8]:
        """The same; −1 where the evidence doesn't know the source."""
        return np.where(self.known, self.verdicts, -1).astype(np.int8)

    def thresholds(self, language: str, of: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of the documents `of`, all in one language, the log-odds from which they are AI.

        NaN where the source says nothing.
        """
        return self.evidence.thresholds(self.rows[of], language)

    def told(self, i: int) -> str:
        """What the evidence says of document i's source, for its reasons."""
        return self.evidence.told(int(self.rows[i]), str(self.names[self.codes[i]]))


class SourceEvidence:
    """The sources of tables that can be told something about.

    Sources are known by a hash of their names: 31 bytes a source and 12 a language of it.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Reads tables that hold each source once. Raises `FormatError` where one is damaged."""
        parts: dict[str, list[NDArray[np.generic]]] = {}
        first = 0
        for path in paths:
            for rows in _rows(path):
                for name, values in _read(rows, first).items():
                    parts.setdefault(name, []).append(values)
                first += len(parts["hash"][-1])
        joined = {name: np.concatenate(values) for name, values in parts.items()}
        hashes = joined.get("hash", np.zeros(0, np.uint64)).astype(np.uint64)
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]
        self._shares = joined.get("shares", np.zeros((0, 3))).astype(np.float32).reshape(-1, 3)
        self._scored = joined.get("scored", np.zeros(0)).astype(np.int64)
        self._own_past = joined.get("own_past", np.zeros(0)).astype(np.bool_)
        self._unsure = joined.get("unsure", np.zeros(0)).astype(np.bool_)
        self._read = joined.get("read", np.zeros(0)).astype(np.bool_)
        self.verdicts = joined.get("verdict", np.zeros(1, np.int8)).astype(np.int8)
        keys = joined.get("key", np.zeros(0, np.int64)).astype(np.int64)
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self._log_odds = joined.get("log_odds", np.zeros(0)).astype(np.float32)[order]

    def __len__(self) -> int:
        return len(self._hashes)

    def find(self, codes: NDArray[np.int64], names: Sequence[str]) -> Found:
        """What is known of documents whose sources are `names[codes]` (−1: none)."""
        wanted = np.array([source_hash(name) for name in names], np.uint64)
        rows = np.full(len(names) + 1, -1, np.int64)
        if len(names) and len(self._hashes):
            at = np.minimum(np.searchsorted(self._hashes, wanted), len(self._hashes) - 1)
            rows[:-1] = np.where(self._hashes[at] == wanted, self._order[at], -1)
        return Found(rows[codes], codes, names, self)

    def thresholds(self, rows: NDArray[np.int64], language: str) -> NDArray[np.float64]:
        """Of sources, by row, the log-odds from which their documents in `language` are AI.

        NaN where nothing is known, +∞ where none is.
        """
        found = np.full(len(rows), np.nan)
        if not len(self._keys):
            return found
        wanted = np.where(rows < 0, -1, rows << 8 | languages.CODES.index(language))
        at = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        there = (self._keys[at] == wanted) & (rows >= 0)
        found[there] = self._log_odds[at[there]]
        return found

    def at_border(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of sources, by row, their scored documents where the verdict isn't settled; else NaN."""
        found = np.full(len(rows), np.nan)
        known = np.flatnonzero(rows >= 0)
        unsure = known[self._unsure[rows[known]]]
        found[unsure] = self._scored[rows[unsure]]
        return found

    def told(self, row: int, name: str) -> str:
        """What is said of a source: its AI share, and what that is told from."""
        share, low, high = (float(value) for value in self._shares[row])
        of = f"{counted(int(self._scored[row]), 'scored document')}"
        if self._own_past[row]:
            of += ", against its own past"
        if self._read[row]:
            of += ", and pages that a causal LM read"
        return (
            f"source {name}: {VERDICTS[self.verdicts[row]].value}, AI share {share_text(share)} "
            f"({share_text(low)} – {share_text(high)}) of {of}"
        )


def table_digest(path: Path) -> str:
    """SHA-256 (hex) of a table's bytes."""
    try:
        with local_copy(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(
            f"{address(path)}: the table of sources can't be read ({cause(error)})",
            key="sources.table",
        ) from error


def source_hash(name: str) -> int:
    """64 bits that stand for a source's name."""
    data = name.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def is_settled(rows: pa.RecordBatch) -> NDArray[np.bool_]:
    """Of which rows of a table the verdict is human or AI, and certain."""
    settled = [SourceVerdict.HUMAN.value, SourceVerdict.AI.value]
    certain = np.nan_to_num(floats(rows.column("certainty"))) >= SETTLED
    return np.asarray(np.isin(rows.column("verdict").to_pylist(), settled) & certain)


_EVIDENCE: Final = (
    *("source", "scored", "ai_share", "ai_share_low", "ai_share_high", "verdict"),
    *("certainty", "decided_by", "ai_from", "lm_z"),
)
"""The columns that evidence is."""


def _rows(path: Path) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(_ROWS, columns=[*_EVIDENCE])
    except (OSError, pa.ArrowException) as error:
        raise FormatError(f"{path}: the table of sources can't be read ({cause(error)})") from error


def _read(rows: pa.RecordBatch, first: int) -> dict[str, NDArray[np.generic]]:
    """Those of the rows that have an estimate, in arrays; `first` is the number of the first."""
    rows = rows.filter(rows.column("ai_share").is_valid())
    ai_from = rows.column("ai_from")
    offsets = to_numpy(ai_from.offsets).astype(np.int64)
    parts = ai_from.flatten()
    spoken = parts.field("language").to_pylist()
    scores = floats(parts.field("ai_score"))
    with np.errstate(divide="ignore"):
        log_odds = unsquash(np.clip(np.nan_to_num(scores, nan=0.5), 1e-9, 1.0 - 1e-9))
    places = {code: place for place, code in enumerate(languages.CODES)}
    row = np.repeat(np.arange(len(rows)), offsets[1:] - offsets[:-1]) + first
    own = {
        name: floats(rows.column(name)) for name in ("ai_share", "ai_share_low", "ai_share_high")
    }
    names = [verdict.value for verdict in VERDICTS]
    return {
        "hash": np.array([source_hash(n) for n in rows.column("source").to_pylist()], np.uint64),
        "shares": np.stack([*own.values()], axis=1),
        "scored": filled(rows.column("scored"), 0),
        "verdict": np.array([names.index(v) for v in rows.column("verdict").to_pylist()], np.int8),
        "own_past": np.array(
            [v == "own_past" for v in rows.column("decided_by").to_pylist()], np.bool_
        ),
        "unsure": ~is_settled(rows),
        "read": _read_by_lm(rows),
        "key": row << 8 | np.array([places.get(code, 255) for code in spoken], np.int64),
        "log_odds": np.where(np.isnan(scores), np.inf, log_odds),
    }


def _read_by_lm(rows: pa.RecordBatch) -> NDArray[np.bool_]:
    """Of which sources a causal LM read pages."""
    if "lm_z" not in rows.schema.names:  # A table of before there were any.
        return np.zeros(len(rows), np.bool_)
    return is_known(rows.column("lm_z"))
