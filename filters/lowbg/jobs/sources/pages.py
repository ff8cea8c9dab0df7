"""A few pages of each source that the tables are unsure of, read by a causal LM's probe.

A second pass over the documents picks the pages: of the sources that were found unsure in the
first, the documents of the lowest hash. Memory is bounded by taking so many sources at a time. What
the probe says is kept as its z, standard deviations above human text of the page's length, so that
tables merge without it.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lowbg.arrays import to_numpy
from lowbg.config import LmSettings, RunConfig
from lowbg.decision.calibration import in_words
from lowbg.decision.source_evidence import is_settled, source_hash
from lowbg.errors import ConfigError, FormatError, cause
from lowbg.jobs.sources.cells import UNIT, Cells, Pages
from lowbg.records import Batch
from lowbg.runs.inputs import Shard
from lowbg.runs.mapping import Workers, map_shards
from lowbg.runs.progress import NOBODY, OnProgress
from lowbg.runs.reading import ShardReading, Source
from lowbg.scorers.lm import extras
from lowbg.text import languages
from lowbg.text.characters import folding_of
from lowbg.text.dates import read_dates
from lowbg.text.sources import SourceBy
from lowbg.text.tokens import tokenize

log = logging.getLogger(__name__)

MIN_WORDS: Final = 75
"""A page of fewer words says little."""

SOURCES_AT_ONCE: Final = 20_000
"""Sources whose pages are picked in one pass: their texts lie in memory."""

_CHARACTERS: Final = 16_384
"""Of a longer page no more is kept: the probe reads its beginning."""

_PORTION: Final = 64
_TOLD_EVERY: Final = 30.0


@dataclass(frozen=True, slots=True)
class PagesToRead:
    """What the LM of `lm` reads: `pages` of each source that the tables are unsure of, or of
    `every` source with an estimate."""

    lm: LmSettings
    pages: int = 3
    every: bool = False


class PageJudge(Protocol):
    """What reads pages."""

    @property
    def languages(self) -> frozenset[str]:
        """Those that it serves."""
        ...

    @property
    def models(self) -> Mapping[str, str]:
        """The digests of what reads, by name."""
        ...

    @property
    def tokens(self) -> int:
        """What it has read."""
        ...

    def z(
        self, texts: Sequence[str], words: NDArray[np.int64], language: str
    ) -> NDArray[np.float64]:
        """How AI-like each text of a language is, in standard deviations above human text of its
        length; NaN where nothing is said."""
        ...


class ProbePages:
    """The probes of a causal LM as a judge of pages."""

    def __init__(self, settings: LmSettings) -> None:
        """Loads the model. Raises `ConfigError` where there is no probe of it, or one that says
        nothing of human text."""
        wanted = "`extras.lm.model`"
        shipped: Any = extras.load("lowbg.scorers.lm.shipped", extra="lm", wanted_by=wanted)
        probes = shipped.probes_of(settings)
        if not probes:
            raise ConfigError(
                f"no probe of {settings.model} comes with lowbg; name one: `extras.lm.probe`. "
                "lowbg train with `probe` makes them"
            )
        for probe in probes:
            if not probe.card.get("human"):
                raise ConfigError(f"{probe.path}: says nothing of human text; make it again")
        reading: Any = extras.load("lowbg.scorers.lm.reading", extra="lm", wanted_by=wanted)
        store: Any = extras.load("lowbg.scorers.lm.store", extra="lm", wanted_by=wanted)
        folder = store.locate(settings.model, wanted, fetch=True)
        self._reader = reading.ProbeReader(folder, probes, settings)
        self._probes = {code: probe for probe in probes for code in probe.languages}
        self.languages = frozenset(self._probes)
        self.models: Mapping[str, str] = {
            f"{probe.of.label} {','.join(probe.languages)}": probe.sha256 for probe in probes
        }
        self.tokens = 0

    def z(
        self, texts: Sequence[str], words: NDArray[np.int64], language: str
    ) -> NDArray[np.float64]:
        """By the probe's own figures of human text that its fit never saw."""
        probe = self._probes[language]
        read = self._reader.judge(texts, probe)
        self.tokens += int(read.tokens.sum())
        human = probe.card["human"]
        spread = np.sqrt(human["between"] + human["within"] / in_words(words))
        return np.asarray((read.log_odds - human["mean"]) / spread)


@dataclass(frozen=True, slots=True)
class Unsure:
    """The sources that pages are wanted of, by the hashes of their names, rising."""

    hashes: NDArray[np.uint64]
    names: NDArray[np.object_]


def unsure(table: Path, *, every: bool) -> Unsure:
    """Those of a table without pages yet whose verdict the documents don't settle; or of all."""
    names: list[str] = []
    columns = ["source", "verdict", "certainty", "ai_share", "lm_z"]
    try:
        with pq.ParquetFile(table) as file:
            for rows in file.iter_batches(65_536, columns=columns):
                sure = is_settled(rows)
                known = rows.column("ai_share").is_valid().to_numpy(zero_copy_only=False)
                read = rows.column("lm_z").is_valid().to_numpy(zero_copy_only=False)
                wanted = known & ~read & (every | ~sure)
                names += rows.column("source").filter(pa.array(wanted)).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise FormatError(
            f"{table}: the table of sources can't be read ({cause(error)})"
        ) from error
    hashes = np.array([source_hash(name) for name in names], np.uint64)
    order = np.argsort(hashes, kind="stable")
    return Unsure(hashes[order], np.array(names, object)[order])


@dataclass(frozen=True, slots=True)
class Page:
    """A page that is picked."""

    hash: int
    text: str
    words: int
    language: str


Picked = dict[int, list[Page]]
"""By the number of a source its pages, the first by hash."""


@dataclass(frozen=True, slots=True)
class PickTask:
    """Picks `pages` pages of each source in a shard; `hashes` are those of their names, rising."""

    config: RunConfig
    hashes: NDArray[np.uint64]
    pages: int
    languages: frozenset[str]

    def start(self) -> PickTask:
        """The task in a worker."""
        return self

    def __call__(self, shard: Shard, on_progress: OnProgress | None) -> Picked:
        """The shard's first pages of each source."""
        picked: Picked = {}
        source = Source(shard, self.config, label=f"{shard.name} (pages)")
        with ShardReading(source, None, on_progress) as steps:
            for step in steps:
                for number, page in self._of_batch(step.batch):
                    keep(picked, number, page, self.pages)
                # Before the next batch is made, this one has to be gone.
                del step
        return picked

    def _of_batch(self, batch: Batch) -> Iterator[tuple[int, Page]]:
        if not len(batch):
            return
        policy = self.config.policy
        found = SourceBy.parse(policy.sources.by).of(batch.metadata)
        places = np.array([*(self._place(name) for name in found.names), -1], np.int64)
        numbers = places[found.codes]
        if policy.trust_before is not None:
            recent = ~read_dates(batch.metadata.date).before(policy.trust_before)
            numbers = np.where(recent, numbers, -1)
        own = np.flatnonzero(numbers >= 0)
        if not len(own):
            return
        text = batch.text.take(pa.array(own))
        spoken = languages.detect(text, batch.metadata.language.take(pa.array(own)))
        foldings = np.array([*(folding_of(code) for code in languages.CODES), folding_of(None)])
        words = tokenize(text, foldings.astype(np.uint8)[spoken]).words_per_document
        for i in np.flatnonzero((words >= MIN_WORDS) & (spoken >= 0)).tolist():
            language = languages.CODES[spoken[i]]
            if language in self.languages:
                page = text[i].as_py()
                crc = zlib.crc32(page.encode("utf-8", "surrogatepass"))
                yield (
                    int(numbers[own[i]]),
                    Page(crc, page[:_CHARACTERS], int(words[i]), language),
                )

    def _place(self, name: str) -> int:
        wanted = np.uint64(_hash(name))
        at = int(np.searchsorted(self.hashes, wanted))
        return at if at < len(self.hashes) and self.hashes[at] == wanted else -1


_hash = lru_cache(1 << 16)(source_hash)


def keep(picked: Picked, number: int, page: Page, most: int) -> None:
    """Takes the page in, if it is among the first `most` of its source; each text once."""
    own = picked.setdefault(number, [])
    if any(page.hash == other.hash for other in own):
        return
    own.append(page)
    own.sort(key=lambda each: each.hash)
    del own[most:]


@dataclass(slots=True)
class Reading:
    """What the LM read, and what that changed: sources by their verdicts before and after."""

    sources: int = 0
    pages: int = 0
    tokens: int = 0
    seconds: float = 0.0
    changed: dict[tuple[str, str], int] = field(default_factory=dict)


def read_pages(
    wanted: Unsure,
    shards: Sequence[Shard],
    config: RunConfig,
    crew: Workers,
    judge: PageJudge,
    pages: int,
) -> tuple[Cells, Reading]:
    """Cells that hold the pages of the sources `wanted`, and nothing else; and what was read.

    A shard that can't be read whole gives the pages before the damage.
    """
    started, before = time.monotonic(), judge.tokens
    told = Reading()
    numbers: list[NDArray[np.int64]] = []
    found: list[tuple[int, int]] = []
    for first in range(0, len(wanted.hashes), SOURCES_AT_ONCE):
        hashes = wanted.hashes[first : first + SOURCES_AT_ONCE]
        task = PickTask(config, hashes, pages, judge.languages)
        picked: Picked = {}
        for ended in map_shards(task, shards, crew, NOBODY):
            for number, own in (ended.result or {}).items():
                for page in own:
                    keep(picked, number, page, pages)
        of, z, crc = _judged(picked, judge)
        numbers.append(of + first)
        found += zip(z.tolist(), crc.tolist(), strict=True)
    told.sources = len(np.unique(np.concatenate([*numbers, np.zeros(0, np.int64)])))
    told.pages, told.tokens = len(found), judge.tokens - before
    told.seconds = time.monotonic() - started
    return _as_cells(wanted, numbers, found), told


def _judged(
    picked: Picked, judge: PageJudge
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Source, z in `UNIT`s and hash of every page of which something is said."""
    rows = sorted(
        ((page.language, number, page) for number, own in picked.items() for page in own),
        key=lambda row: (row[0], row[1], row[2].hash),
    )
    z = np.full(len(rows), np.nan)
    started = told = time.monotonic()
    before = judge.tokens
    for language in sorted({row[0] for row in rows}):
        own = [i for i, row in enumerate(rows) if row[0] == language]
        for at in range(0, len(own), _PORTION):
            part = own[at : at + _PORTION]
            words = np.array([rows[i][2].words for i in part], np.int64)
            z[part] = judge.z([rows[i][2].text for i in part], words, language)
            if (now := time.monotonic()) - told > _TOLD_EVERY:
                told = now
                speed = (judge.tokens - before) / (now - started)
                log.info("%d of %d pages read, %.0f tokens a second", part[-1], len(rows), speed)
    said = np.flatnonzero(~np.isnan(z))
    return (
        np.array([rows[i][1] for i in said.tolist()], np.int64),
        np.rint(z[said] * UNIT).astype(np.int64),
        np.array([rows[i][2].hash for i in said.tolist()], np.int64),
    )


def _as_cells(
    wanted: Unsure, numbers: Sequence[NDArray[np.int64]], found: Sequence[tuple[int, int]]
) -> Cells:
    if not found:
        return Cells.none()
    number = np.concatenate(numbers)
    distinct, of = np.unique(number, return_inverse=True)
    names = pa.array([str(name) for name in wanted.names[distinct]], pa.string())
    order = to_numpy(pc.sort_indices(names)).astype(np.int64)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    z, crc = np.array(found, np.int64).T
    return replace(
        Cells.none(),
        names=names.take(pa.array(order)),
        pages=Pages.first(rank[of], z, crc),
    )


def changes(before: Path, after: Path, read: Cells) -> dict[tuple[str, str], int]:
    """How many of the sources that pages were read of went from which verdict to which."""
    names = {*read.names.to_pylist()}
    verdicts: list[dict[str, str]] = []
    for path in (before, after):
        own: dict[str, str] = {}
        with pq.ParquetFile(path) as file:
            for rows in file.iter_batches(65_536, columns=["source", "verdict"]):
                pairs = zip(
                    rows.column("source").to_pylist(),
                    rows.column("verdict").to_pylist(),
                    strict=True,
                )
                own.update({name: verdict for name, verdict in pairs if name in names})
        verdicts.append(own)
    counted: dict[tuple[str, str], int] = {}
    for name in sorted(names):
        key = verdicts[0][name], verdicts[1][name]
        counted[key] = counted.get(key, 0) + 1
    return counted
