"""Sampling weights by score: how many times each document would be drawn.

Drayson et al. 2025 ("Machine-generated text detection prevents language model collapse") draw
`upsampling` times as many documents as there are with probability proportional to
(1 − ai_score) ** exponent, none more than `max_repeats` times. Here each document gets its expected
number of draws, rounded up or down by its key, so that the result is the same every time; what the
cap cuts off goes to the others. Human documents are drawn at least once, and what is drawn of
synthetic ones keeps the floor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from lowbg.config import Verdict
from lowbg.formats.jsonl.writer import JsonlWriter
from lowbg.formats.naming import stem
from lowbg.jobs.mix.settings import MixWeights
from lowbg.report.results import ShardResult
from lowbg.report.statistics import Statistics
from lowbg.runs.inputs import Shard

ONE: Final = 1 << 32
"""A weight of 1; weights are whole multiples of 1 / ONE, so that their sum is exact."""

_AT_ONCE = 1 << 16
_ROW_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE


def weigh(scores: NDArray[np.float32], weights: MixWeights, *, human: bool) -> NDArray[np.int64]:
    """The weight of each document, 0 … `ONE`.

    Where there is no score (NaN) it is `ONE` for a document that is known to be human, and 0 for a
    synthetic one.
    """
    known = ~np.isnan(scores)
    kept = 1.0 - np.where(known, scores, 0.0).astype(np.float64)
    weighed = np.rint(np.clip(kept, 0.0, 1.0) ** weights.exponent * ONE).astype(np.int64)
    return np.asarray(np.where(known, weighed, ONE if human else 0), np.int64)


def rate(weighed: Callable[[], Iterable[NDArray[np.int64]]], draws: int, max_repeats: int) -> float:
    """Draws per unit of weight with which all documents together are expected `draws` times.

    What `max_repeats` cuts off goes to the documents below it, in proportion to their weights.
    `weighed` gives all weights, in parts, each time that it is called: once more for every time
    that this brings others to the cap. Where even `max_repeats` of each document that has a weight
    are fewer than `draws`, the rate is one that gives as many.
    """
    found = 0.0
    while True:
        capped = below = 0
        for part in weighed():
            at_cap = part * found >= max_repeats
            capped += int(at_cap.sum())
            below += int(part[~at_cap].sum())
        if not below:
            return found
        raised = (draws - max_repeats * capped) / below
        if raised <= found:
            return found
        found = raised


def repeats(
    weighed: NDArray[np.int64],
    rate: float,
    keys: NDArray[np.uint64],
    max_repeats: int,
    *,
    human: bool,
) -> NDArray[np.int64]:
    """How many times each document is drawn, at so many draws per unit of weight."""
    expected = np.minimum(weighed * rate, max_repeats)
    whole = np.floor(expected)
    # 53 bits of the key are a number from 0 to 1.
    chance = (keys >> np.uint64(11)).astype(np.float64) / float(1 << 53)
    drawn = (whole + (chance < expected - whole)).astype(np.int64)
    return np.asarray(np.clip(drawn, 1 if human else 0, max_repeats), np.int64)


def write_rows(
    output: Path,
    shard: Shard,
    rows: NDArray[Any],
    drawn: NDArray[np.uint8],
    weights: MixWeights,
    *,
    human: bool,
) -> ShardResult:
    """Writes a row a document to `weights/SHARD.jsonl`: its record, ai_score, weight and repeats.

    `rows` are as `measure.ROW`, `drawn` how often each document is drawn.
    """
    clock = time.perf_counter()
    writer = JsonlWriter(output / output_path(shard.name), output, "none")
    try:
        for start in range(0, len(rows), _AT_ONCE):
            part = rows[start : start + _AT_ONCE]
            weighed = weigh(part["score"], weights, human=human) / ONE
            drawn_of = drawn[start : start + _AT_ONCE].tolist()
            columns = (part["record"].tolist(), part["score"], weighed.tolist(), drawn_of)
            for record, score, weight, repeat in zip(*columns, strict=True):
                row = {
                    "record": record,
                    "ai_score": None if np.isnan(score) else score,
                    "weight": weight,
                    "repeats": repeat,
                }
                writer.write_lines(orjson.dumps(row, option=_ROW_OPTIONS))
        written = writer.commit()
    finally:
        writer.abort()
    statistics = Statistics()
    statistics.totals[Verdict.HUMAN.code if human else Verdict.AI.code, 0] += len(rows)
    return ShardResult(
        shard=shard.name, source=shard.path, format="weights", compression="none",
        records=len(rows), complete=True, statistics=statistics, outputs=(written,), problems=(),
        read_bytes=0, text_bytes=0, lenient=0, blank=0, seconds=time.perf_counter() - clock,
        cpu_seconds=0.0,
    )  # fmt: skip


def output_path(name: str) -> str:
    """Where the weights of a shard are written."""
    return f"weights/{stem(name)}.jsonl"
