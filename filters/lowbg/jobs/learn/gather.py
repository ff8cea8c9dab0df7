"""Reads the dumps that tables are learned from: old human text, some of it held out, and new text.

An old document counts as human because it is old, or because whoever names it says so.
"""

from __future__ import annotations

import heapq
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowbg.amounts import counted
from lowbg.config import RunConfig
from lowbg.errors import ConfigError
from lowbg.jobs.learn.config import LearnConfig
from lowbg.jobs.train.corpus import Row, find, tokenize_rows
from lowbg.records import Batch
from lowbg.report.results import ShardResult
from lowbg.runs.inputs import STDIN
from lowbg.runs.progress import NOBODY, Observer
from lowbg.runs.reading import ShardReading, Source, refuse_broken
from lowbg.text.characters import folding_of
from lowbg.text.dates import READ, read_dates
from lowbg.text.languages import CODES, detect
from lowbg.text.sources import DOMAIN, FIELD, SourceBy
from lowbg.text.tokens import Tokens, tokenize

OLD, BETWEEN, NEW = range(3)
"""The parts: human text that is learned from, human text held out, and the mixture."""

PARTS = ("old", "held-out", "new")

MIN_SOURCES = 20
"""Below so many sources documents are left out one by one, not with their whole source."""

_HELD_OF_FOUR = 1
_LATE = "dated after the cut-off, though named as human"


@dataclass(frozen=True, slots=True)
class Dumps:
    """The documents that tables are learned from, one entry each, the parts one after the other.

    `part` is `OLD`, `BETWEEN` or `NEW`. `source` says where a document is from, empty where that
    isn't known; `group` numbers what is left out together: the documents of a source, or each by
    itself where there are fewer than `MIN_SOURCES`. `held` says how the text held out was chosen.
    `dropped` counts what was left out, by why; `shards` says what became of each that was read.
    """

    rows: list[Row]
    part: NDArray[np.int8]
    source: NDArray[np.str_]
    group: NDArray[np.int64]
    tokens: Tokens
    held: str
    files: list[Path]
    shards: tuple[ShardResult, ...]
    dropped: Mapping[str, int]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which are known to be human."""
        return np.asarray(self.part != NEW)

    @property
    def by_source(self) -> bool:
        """Whether documents are left out with their whole source."""
        return int(self.group.max(initial=-1)) + 1 < len(self.group)

    def count(self, part: int) -> int:
        """The documents of a part."""
        return int((self.part == part).sum())


@dataclass(frozen=True, slots=True)
class _Found:
    """A document; `human` says whether its date makes it so, null without a date."""

    row: Row
    source: str
    year: int
    human: bool | None


class _Sample:
    """Of a part's documents the `most` that are of the lowest hash, each text once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[int, int, _Found]] = []
        self._seen: set[int] = set()
        self.beyond = 0

    def add(self, found: _Found) -> bool:
        """Takes the document in, or not; whether its text is new here."""
        crc = zlib.crc32(found.row.text.encode("utf-8", "surrogatepass"))
        key = hash(found.row.text)
        if key in self._seen:
            return False
        self._seen.add(key)
        # What came first goes first where two hashes are equal.
        entry = (-crc, -len(self._seen), found)
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, entry)
        else:
            self.beyond += 1
            heapq.heappushpop(self._heap, entry)
        return True

    def knows(self, text: str) -> bool:
        """Whether this text was seen."""
        return hash(text) in self._seen

    def documents(self) -> list[_Found]:
        """Those that were chosen, by rising hash."""
        return [found for _, _, found in sorted(self._heap, key=lambda e: (-e[0], -e[1]))]


def gather(config: LearnConfig, observer: Observer = NOBODY) -> Dumps:
    """Reads everything that `config` names; what comes before damage counts.

    Raises `ConfigError` where there is too little old, held-out or new text, or `InputError` where
    that is because a shard breaks off.
    """
    samples = [_Sample(config.max_documents) for _ in PARTS]
    dropped: Counter[str] = Counter()
    results: list[ShardResult] = []
    files: list[Path] = []
    named: dict[str, int] = {}
    reading = _with_fields(config)
    for paths, part in ((config.old, OLD), (config.holdout, BETWEEN), (config.unlabelled, NEW)):
        for shard in find(paths) if paths else ():
            if named.setdefault(shard.path, part) != part:
                raise ConfigError(
                    f"{shard.path} is named as {PARTS[named[shard.path]]} text and as "
                    f"{PARTS[part]}; where its documents have dates, name it as new text only"
                )
            with ShardReading(Source(shard, reading), on_progress=observer.progress) as steps:
                for step in steps:
                    for found in _documents(step.batch, config, dropped):
                        _take(found, part, samples, dropped)
            results.append(steps.result())
            if shard.path != STDIN:
                files.append(Path(shard.path))
    for sample, name in zip(samples, PARTS, strict=True):
        if sample.beyond:
            dropped[f"{name}, beyond {config.max_documents:,}"] = sample.beyond
    dumps = _divided([each.documents() for each in samples], config)
    dumps = replace(dumps, files=files, shards=tuple(results), dropped=+dropped)
    _require_enough(dumps, config)
    return dumps


def _with_fields(config: LearnConfig) -> RunConfig:
    fields = config.reading.fields
    wanted = (config.source_field, config.kind_field)
    others = tuple(dict.fromkeys((*fields.others, *(name for name in wanted if name))))
    return replace(config.reading, fields=replace(fields, others=others))


def _take(found: _Found, part: int, samples: Sequence[_Sample], dropped: Counter[str]) -> None:
    """Adds a document to its part: where it is named, unless its date says otherwise."""
    if part == NEW and found.human:
        part = OLD
    elif part != NEW and found.human is False:
        dropped[_LATE] += 1
        return
    if any(each.knows(found.row.text) for each in samples[:part]) or not samples[part].add(found):
        dropped["read before"] += 1


def _documents(batch: Batch, config: LearnConfig, dropped: Counter[str]) -> Iterator[_Found]:
    """The documents of a batch that are in the language and long enough."""
    if not len(batch):
        return
    own = detect(batch.text, batch.metadata.language) == CODES.index(config.language)
    folding = np.full(len(batch), folding_of(config.language), np.uint8)
    words = tokenize(batch.text, folding).words_per_document
    dropped["in another language, or none"] += int((~own).sum())
    dropped[f"of fewer than {config.min_words} words"] += int(
        (own & (words < config.min_words)).sum()
    )
    dates = read_dates(batch.metadata.date)
    human, years = dates.before(config.human_before), dates.years()
    sources = _sources(batch, config)
    ids = batch.metadata.id.fill_null("").to_pylist()
    for i in np.flatnonzero(own & (words >= config.min_words)).tolist():
        row = Row(
            text=batch.text[i].as_py(),
            label="human",
            dataset=sources[i],
            domain="",
            generator="",
            attack="",
            pair="",
            license="",
            language=config.language,
            id=ids[i],
        )
        known = bool(human[i]) if dates.states[i] == READ else None
        yield _Found(row, sources[i], int(years[i]), known)


def _by(config: LearnConfig) -> SourceBy:
    if config.source_field is None:
        return SourceBy(DOMAIN)
    return SourceBy(FIELD, field=config.source_field)


def _sources(batch: Batch, config: LearnConfig) -> list[str]:
    """Where each document is from, with its kind; empty where neither is known."""
    coded = _by(config).of(batch.metadata)
    names = [coded.names[code] if code >= 0 else "" for code in coded.codes.tolist()]
    if config.kind_field is None:
        return names
    kinds = batch.metadata.others[config.kind_field].fill_null("").to_pylist()
    return [f"{name} {kind}".strip() for name, kind in zip(names, kinds, strict=True)]


def _divided(parts: Sequence[Sequence[_Found]], config: LearnConfig) -> Dumps:
    """The documents with their parts, some of the old ones held out where none were named."""
    found = [document for part in parts for document in part]
    part = np.repeat(np.arange(3, dtype=np.int8), [len(own) for own in parts])
    source = np.array([document.source for document in found], np.str_)
    held = "as named"
    if not config.holdout:
        year = np.array([document.year for document in found], np.int64)
        chosen, held = _latest(part, source, year, config)
        part = np.where(chosen, BETWEEN, part).astype(np.int8)
    order = np.argsort(part, kind="stable")
    rows = [found[i].row for i in order.tolist()]
    source = source[order]
    names, group = np.unique(source, return_inverse=True)
    if len(names) < MIN_SOURCES:
        group = np.arange(len(rows))
    # What names no source is left out one by one.
    elif names[0] == "":
        alone = np.flatnonzero(source == "")
        group[alone] = len(names) + np.arange(len(alone))
    tokens = tokenize_rows(rows, config.language)
    _, group = np.unique(group, return_inverse=True)
    return Dumps(rows, part[order], source, group, tokens, held, [], (), {})


def _latest(
    part: NDArray[np.int8],
    source: NDArray[np.str_],
    year: NDArray[np.int64],
    config: LearnConfig,
) -> tuple[NDArray[np.bool_], str]:
    """Which of the old documents are held out, and how they were chosen: the latest year, if it
    and what is before it are enough, else a quarter of the sources.
    """
    old = part == OLD
    for latest in sorted(set(year[old & (year > 0)].tolist()), reverse=True):
        chosen = old & (year >= latest)
        if chosen.sum() >= config.min_documents:
            if (old & ~chosen).sum() >= config.min_documents:
                return chosen, f"dated {latest} or later"
            break
    several = len(np.unique(source[old])) >= MIN_SOURCES
    keys = source.tolist() if several else [str(i) for i in range(len(source))]
    chance = np.array([zlib.crc32(key.encode("utf-8", "surrogatepass")) % 4 for key in keys])
    what = "sources" if several else "documents"
    return old & (chance < _HELD_OF_FOUR), f"a quarter of the old {what}"


def _require_enough(dumps: Dumps, config: LearnConfig) -> None:
    """Raises `ConfigError` where a part has too few documents to learn or to measure.

    Where a teacher says what is learned, old and held-out text only measure: together they have to
    be enough.
    """
    enough = dict.fromkeys((OLD, BETWEEN, NEW), config.min_documents)
    if config.teacher is not None and dumps.known.sum() >= config.min_documents:
        enough[OLD] = enough[BETWEEN] = config.min_documents // 6
    for part, name in enumerate(PARTS):
        if (found := dumps.count(part)) >= enough[part]:
            continue
        refuse_broken(dumps.shards)
        others = "; ".join(f"{n:,} {why}" for why, n in dumps.dropped.items())
        raise ConfigError(
            f"{config.language}: {counted(found, f'{name} document')} of {config.min_words} words "
            f"or more, each text once; {enough[part]:,} are needed"
            f"{f' (left out: {others})' if others else ''}",
            key=("old", "holdout", "unlabelled")[part],
        )
