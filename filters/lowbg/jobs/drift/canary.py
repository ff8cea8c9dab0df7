"""A model's perplexity on held-out human text over its training: the code of `lowbg drift canary`.

A model that is trained on machine text forgets the tails of human text first: its perplexity on
human text that it never saw rises from one iteration to the next (Shumailov et al. 2024). What is
compared are rows of `lowbg score --lm`, a run a checkpoint over the same held-out documents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, inf, log
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lowbg.config import FieldNames, RunConfig
from lowbg.errors import ConfigError, FormatError
from lowbg.jobs.drift.check import Change, judge
from lowbg.jobs.drift.diversity import Floats
from lowbg.jobs.drift.profile import Z
from lowbg.jobs.drift.settings import Limits
from lowbg.runs.inputs import Shard
from lowbg.runs.reading import ShardReading, Source

COLUMN: Final = "lm_perplexity"
REPLICATES: Final = 1_000
MIN_DOCUMENTS: Final = 20


@dataclass(frozen=True, slots=True)
class Scored:
    """The held-out documents, by shard and record, with ln perplexity under one checkpoint.

    `texts` (their ids and how many words they have) tell whether a key means the same document in
    other scores. Those that the model could not score (too short) are left out.
    """

    keys: NDArray[np.str_]
    texts: NDArray[np.str_]
    log_perplexity: Floats

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of documents and figures, to tell one baseline from another."""
        found = hashlib.sha256("\0".join(self.keys.tolist()).encode("utf-8", "surrogatepass"))
        found.update(self.log_perplexity.astype("<f8").tobytes())
        return found.hexdigest()


def read_scores(shards: Sequence[Shard]) -> Scored:
    """The rows of `lowbg score --lm`, in the order of their keys.

    Raises `ConfigError` for rows without `lm_perplexity` or with one that isn't finite and above 0,
    and for a document that comes twice; `InputError` for a file that can't be read.
    """
    found: dict[str, tuple[str, float] | None] = {}
    for shard in shards:
        for number, row in enumerate(_rows(shard), 1):
            key = f"{row['shard']}:{row['record']}"
            perplexity = row[COLUMN]
            if key in found:
                raise ConfigError(
                    f"{shard.path}: row {number} scores {key}, which another row did; give the "
                    "scores of one checkpoint"
                )
            found[key] = None
            if perplexity is None:
                continue
            # A checkpoint that diverged has no perplexity to compare, which is no good news.
            if not isinstance(perplexity, (int, float)) or not 0 < perplexity < inf:
                raise ConfigError(
                    f"{shard.path}: row {number} has the {COLUMN} {perplexity!r}, which is no "
                    "finite number above 0"
                )
            found[key] = f"{row.get('id')}, {row.get('words')} words", log(perplexity)
    known = sorted((key, *rest) for key, rest in found.items() if rest is not None)
    if not known:
        raise ConfigError(
            f"no row has {COLUMN}; score the held-out documents with lowbg score, "
            "`extras.lm.model=…` and `extras.lm.probe=none`"
        )
    keys, texts, values = zip(*known, strict=True)
    return Scored(np.array(keys), np.array(texts), np.array(values, np.float64))


def _rows(shard: Shard) -> Iterator[dict[str, Any]]:
    """Every row of a file of scores; each has a shard, a record and `COLUMN`."""
    path = shard.path
    needed = (
        "score the held-out documents with lowbg score, `extras.lm.model=…` and "
        f"`extras.lm.probe=none`, for {COLUMN}"
    )
    number = 0
    try:
        source = Source(shard, RunConfig(fields=FieldNames(text="shard")))
        with ShardReading(source) as reading:
            for batch in (step.batch for step in reading):
                if batch.rejected:
                    raise FormatError(
                        batch.rejected[0].message.removesuffix(" Record quarantined.")
                    )
                for row in reading.opened.format.objects(batch.payload):
                    number += 1
                    if not {"shard", "record", COLUMN} <= row.keys():
                        raise FormatError(f"row {number} has no shard, record or {COLUMN}")
                    yield row
        if reading.broken is not None:
            raise reading.broken
    except FormatError as error:
        raise ConfigError(f"{path}: not rows of scores ({error}); {needed}") from error


def compare_scores(baseline: Scored, now: Scored, limits: Limits) -> Change:
    """The change of the held-out text's perplexity: exp of the mean of ln perplexity.

    Paired by document; the interval is of a bootstrap over documents, mean ± 1.96 standard
    deviations of the replicates. Raises `ConfigError` where the documents are others, or too few.
    """
    if not np.array_equal(baseline.keys, now.keys):
        odd = sorted({*baseline.keys.tolist()} ^ {*now.keys.tolist()})
        raise ConfigError(
            f"the held-out documents are not those of the baseline: {len(odd):,} are scored on one "
            f"side only (the first: {odd[0]}). Score the same documents with both checkpoints."
        )
    others = np.flatnonzero(baseline.texts != now.texts)
    if len(others):
        first = others[0]
        raise ConfigError(
            f"{len(others):,} of the held-out documents are others than the baseline's (the first: "
            f"{baseline.keys[first]} was {baseline.texts[first]}, is {now.texts[first]}). Score "
            "the same documents with both checkpoints."
        )
    n = len(baseline)
    if n < MIN_DOCUMENTS:
        raise ConfigError(f"{n} held-out documents are too few to judge; give {MIN_DOCUMENTS} up")
    gain = now.log_perplexity - baseline.log_perplexity
    rng = np.random.default_rng(0)
    error = float(np.std([gain[rng.integers(0, n, n)].mean() for _ in range(REPLICATES)]))
    middle = float(gain.mean())
    before, after = (exp(float(s.log_perplexity.mean())) for s in (baseline, now))
    bounds = (exp(middle) - 1, exp(middle - Z * error) - 1, exp(middle + Z * error) - 1)
    title = "perplexity of the held-out text"
    return judge("holdout_perplexity", title, "percent", (before, after), bounds, limits)
