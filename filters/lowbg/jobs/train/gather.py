"""Reads the text that tables are made from, and says what may be fitted of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.amounts import counted
from lowbg.errors import ConfigError
from lowbg.jobs.train.config import TrainConfig
from lowbg.jobs.train.corpus import Row, find, in_language, rows_of, tokenize_rows, with_row_fields
from lowbg.report.results import ShardResult
from lowbg.runs.inputs import STDIN
from lowbg.runs.progress import NOBODY, Observer
from lowbg.runs.reading import ShardReading, Source, refuse_broken
from lowbg.storage.files import file_digest
from lowbg.text.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Material:
    """The rows of a training run with their tokens, and the files that they come from.

    `fitted` is false for rows that only serve to set thresholds. `shards` says what became of every
    shard that was read; `dropped` counts the rows left out, by why.
    """

    rows: list[Row]
    tokens: Tokens
    prose: NDArray[np.bool_]
    fitted: NDArray[np.bool_]
    files: list[Path]
    shards: tuple[ShardResult, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)


def gather(config: TrainConfig, observer: Observer = NOBODY) -> Material:
    """Reads everything that `config` names; what comes before damage counts.

    Raises `ConfigError` where there is too little human or AI text, or `InputError` where that is
    because a shard breaks off.
    """
    rows: list[Row] = []
    prose: list[bool] = []
    fitted: list[bool] = []
    used: list[Path] = []
    results: list[ShardResult] = []
    chosen, reading = _Chosen(config), with_row_fields(config.reading)
    seen: set[str] = set()
    for paths, label, is_prose in (
        (config.human, "human", False),
        (config.ai, "ai", False),
        (config.labelled, None, False),
        (config.prose, "human", True),
    ):
        for shard in find(paths) if paths else ():
            if shard.path in seen:
                continue
            seen.add(shard.path)
            before = len(rows)
            with ShardReading(Source(shard, reading), on_progress=observer.progress) as steps:
                for step in steps:
                    for row in rows_of(step.batch, shard, label):
                        use = chosen.use_of(row)
                        if use is not None:
                            rows.append(row)
                            prose.append(is_prose)
                            fitted.append(use)
            results.append(steps.result())
            if len(rows) > before and shard.path != STDIN:
                used.append(Path(shard.path))
    material = Material(
        rows,
        tokenize_rows(rows, config.language),
        np.array(prose, np.bool_),
        np.array(fitted, np.bool_),
        used,
        tuple(results),
        chosen.dropped,
    )
    _require_enough(material, config)
    return material


class _Chosen:
    """Which rows serve; counts those that don't."""

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self._forbidden = re.compile(config.forbidden_licences, re.IGNORECASE)
        self.dropped: Counter[str] = Counter()

    def use_of(self, row: Row) -> bool | None:
        """Whether a row is fitted, or only sets thresholds; null: neither."""
        config = self._config
        if not row.label:
            self.dropped["without a label"] += 1
            return None
        if not in_language(row, config.language):
            self.dropped["in another language, by their own field"] += 1
            return None
        allowed = not self._forbidden.search(row.license)
        if allowed and row.dataset not in config.excluded:
            return True
        if row.dataset in config.calibrate_only and not row.is_ai:
            return False
        self.dropped["excluded" if allowed else "under a licence that forbids such use"] += 1
        return None


def _require_enough(material: Material, config: TrainConfig) -> None:
    """Raises `ConfigError` where there is too little text of a label to learn from."""
    long_enough = material.fitted & (material.tokens.words_per_document >= config.min_words)
    for label in ("human", "ai"):
        own = [i for i, row in enumerate(material.rows) if row.is_ai == (label == "ai")]
        found = len({material.rows[i].text for i in own if long_enough[i]})
        if found >= config.min_documents:
            continue
        refuse_broken(material.shards)
        short = len(own) - int(long_enough[own].sum())
        others = [f"{n:,} {why}" for why, n in material.dropped.items()]
        told = "; ".join(([f"{short:,} shorter"] if short else []) + others)
        raise ConfigError(
            f"{config.language}: {counted(found, f'{_NAMES[label]} document')} of "
            f"{config.min_words} words or more, each text once; {config.min_documents:,} are "
            f"needed{f' (left out: {told})' if told else ''}",
            key=label,
        )


_NAMES = {"human": "human", "ai": "AI"}


def sources(material: Material) -> dict[str, Any]:
    """What the card says of the sources: rows and share by dataset, label, use and licence."""
    uses = [
        "thresholds" if not fitted else "prose" if prose else "labelled"
        for fitted, prose in zip(material.fitted, material.prose, strict=True)
    ]
    return sources_of(material, material.rows, uses)


def sources_of(
    material: Material, rows: Sequence[Row], uses: Sequence[str] | None = None
) -> dict[str, Any]:
    """`rows` and their share by dataset, label, use and licence, and the digests of what was read.

    Without `uses` all are labelled text that was fitted.
    """
    count: Counter[tuple[str, str, str, str]] = Counter()
    size: Counter[tuple[str, str, str, str]] = Counter()
    for row, use in zip(rows, uses or ["labelled"] * len(rows), strict=True):
        key = (row.dataset, row.label, use, row.license or "not stated")
        count[key] += 1
        size[key] += len(row.text)
    total = sum(size.values())
    listed = [
        {
            "dataset": key[0],
            "label": key[1],
            "use": key[2],
            "licence": key[3],
            "rows": count[key],
            "share": round(size[key] / total, 5),
        }
        for key in sorted(count)
    ]
    digests = {path.name: file_digest(path) for path in material.files if path.is_file()}
    return {"rows": listed, "files": digests}
