"""Which documents are shown: a stratified sample, more of it where the evidence is near the line.

Documents are parted by verdict and by how far their evidence lies from the threshold, in standard
deviations of human text. Half of the sample goes to all strata alike, half to where it narrows the
figures most (Neyman 1934: the stratum's size times the spread to be expected). Within a stratum
every document has the same chance, whatever its source or language; of a simple sample that is
larger those are shown which lie evenly over its hosts, so that few come from one.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lowbg.arrays import floats
from lowbg.config import RunConfig
from lowbg.errors import ConfigError
from lowbg.jobs.review.labels import Design, Drawn, Stratum
from lowbg.report import read_json
from lowbg.report.sections.runs import SECTION as RUNS
from lowbg.runs import manifest
from lowbg.runs.engine import Engine
from lowbg.runs.identity import policy_digest
from lowbg.runs.inputs import Shard
from lowbg.runs.overlap import Step
from lowbg.runs.reading import ShardReading, Source
from lowbg.runs.sampling import document_keys, named
from lowbg.storage.whole_files import address
from lowbg.text.origins import hosts

NEAR: Final = 0.5
FAR: Final = 2.0
"""Between these distances from the threshold evidence is neither near nor far."""

NAMES: Final = (
    "human, far", "human, between", "human, near", "ai, near", "ai, between", "ai, far",
    "ai, certain",
)  # fmt: skip
"""The strata; the last one are documents that a near-certain phrase decides, without a score."""
_SPREADS: Final = (0.1, 0.3, 0.5, 0.5, 0.3, 0.15, 0.1)
SCORED_EDGES: Final = (-FAR, -NEAR, 0.0, NEAR, FAR)
"""Where each but the last two of the strata ends, in distance from the threshold."""
POOL: Final = 8
"""The larger sample has so many times the documents that are wanted."""
MAX_CHARACTERS: Final = 20_000
"""Of a longer text the beginning is shown."""


def output_files(root: Path) -> tuple[manifest.Manifest, list[manifest.ListedFile]]:
    """The manifest of an output of `filter`, and its files of human and AI documents.

    Raises `ConfigError` where it is none.
    """
    content = manifest.read(root)
    files = [] if content is None else [f for f in content.files if f.kind in ("human", "ai")]
    if content is None or not files:
        raise ConfigError(
            f"{address(root)}: no finished output of filter, whose documents can be shown"
        )
    return content, files


def check_output(root: Path, design: Design) -> None:
    """Raises `ConfigError` where the output is not the one that a design was drawn from."""
    content, _ = output_files(root)
    if str(content.content_sha256) != design.content:
        raise ConfigError(
            f"{address(root)} is another output than the one that these labels are of; name "
            "another file for its labels: `labels`"
        )


def draw(root: Path, config: RunConfig, engine: Engine, size: int, seed: int = 0) -> Design:
    """A design of `size` documents, or of all where there are fewer; the same for the same seed.

    Raises `ConfigError` where the run had another policy, or none of its documents has a score.
    """
    content, files = output_files(root)
    run = read_json(root / "report.json")[RUNS][-1]
    if run.policy_sha256 != policy_digest(config.policy):
        raise ConfigError(
            f"{address(root)} was made by another policy; give the one that it was made by"
        )
    pool = POOL * size
    kept: list[list[_Item]] = [[] for _ in NAMES]
    totals = np.zeros(len(NAMES), np.int64)
    for file in files:
        start = hashlib.sha256(named(seed, file.path)).digest()
        for records, strata, languages, scores, places in _judged(root, file, config, engine):
            keys = document_keys(start, records)
            totals += np.bincount(strata[strata >= 0], minlength=len(NAMES))
            for i in np.flatnonzero(strata >= 0).tolist():
                key, heap = int(keys[i]), kept[strata[i]]
                if len(heap) == pool and -heap[0][0] <= key:
                    continue
                score = None if np.isnan(scores[i]) else round(float(scores[i]), 6)
                drawn = Drawn(
                    file=file.path, record=int(records[i]), stratum=int(strata[i]),
                    language=languages[i], score=score,
                )  # fmt: skip
                item = (-key, file.path, -int(records[i]), places[i], drawn)
                (heapq.heappush if len(heap) < pool else heapq.heapreplace)(heap, item)
    if not totals.any():
        raise ConfigError(
            f"{address(root)}: none of its documents has a score; there is nothing to review"
        )
    documents = []
    for heap, wanted in zip(kept, allocated(totals, size), strict=True):
        documents += spread(heap, wanted, seed)
    documents.sort(key=lambda item: hashlib.sha256(f"{item[0]} {item[1]}".encode()).digest())
    used = [i for i in range(len(NAMES)) if totals[i]]
    return Design(
        content=str(content.content_sha256),
        policy=run.policy_sha256,
        strata=[
            Stratum(NAMES[i], "ai" if NAMES[i].startswith("ai") else "human", int(totals[i]))
            for i in used
        ],
        documents=[_moved(item[4], used) for item in documents],
    )


_Item = tuple[int, str, int, str, Drawn]
"""Minus the key by which a document is drawn, its file, minus its record, its host, and itself."""


def spread(pool: Sequence[_Item], wanted: int, seed: int = 0) -> list[_Item]:
    """As many documents of a simple sample as are `wanted`, evenly over its hosts.

    Each has the same chance: of the sample, sorted by host, every so-many-th is taken, from a place
    drawn at random (systematic sampling, Madow & Madow 1944).
    """
    if wanted >= len(pool):
        return [*pool]
    inside = sorted(pool, key=lambda item: (item[3], -item[0]))
    start = np.random.default_rng([seed, len(pool), -max(pool)[0] % 2**32]).random()
    places = ((start + np.arange(wanted)) * len(pool) / wanted).astype(np.int64)
    return [inside[i] for i in places.tolist()]


def _moved(drawn: Drawn, used: Sequence[int]) -> Drawn:
    """The document with its stratum's place among those that there are."""
    return Drawn(
        file=drawn.file, record=drawn.record, stratum=used.index(drawn.stratum),
        language=drawn.language, score=drawn.score,
    )  # fmt: skip


def allocated(totals: NDArray[np.int64], size: int) -> list[int]:
    """How many documents of each stratum are drawn; all of a stratum that is smaller than that."""
    size = min(size, int(totals.sum()))
    found = np.zeros(len(totals), np.int64)
    while (left := size - int(found.sum())) > 0:
        room = totals - found
        there = room > 0
        weights = there / there.sum()
        wanted = np.asarray(_SPREADS) * totals * there
        weights = weights / 2 + wanted / wanted.sum() / 2
        more = np.minimum(room, np.floor(weights * left).astype(np.int64))
        if not more.any():
            more[int(np.argmax(np.where(there, weights, -1.0)))] = 1
        found += more
    return [int(n) for n in found]


_Batch = tuple[
    NDArray[np.int64], NDArray[np.int64], list[str | None], NDArray[np.float64], list[str]
]


def _judged(
    root: Path, file: manifest.ListedFile, config: RunConfig, engine: Engine
) -> Iterator[_Batch]:
    """Records, strata (−1: none), languages, scores and hosts, batch by batch."""
    for step in _steps(root, file.path, config, engine):
        judged = step.judged
        if judged is None:
            continue
        margin = judged.decisions.margin
        strata = np.searchsorted(SCORED_EDGES, margin, side="right")
        is_ai = file.kind == "ai"
        # By the file that it lies in: a rounding at the line must not change a verdict.
        strata = np.maximum(strata, 3) if is_ai else np.minimum(strata, 2)
        strata[np.isnan(margin)] = NAMES.index("ai, certain") if is_ai else -1
        codes = [*judged.documents.language_codes, None]
        languages = [codes[i] for i in judged.documents.languages.tolist()]
        found = hosts(step.batch.metadata.url)
        own = [found.names[i] for i in found.codes.tolist()]
        yield step.batch.records, strata, languages, floats(judged.decisions.score), own


def _steps(root: Path, path: str, config: RunConfig, engine: Engine | None) -> Iterator[Step]:
    """The batches of a file of the output. Raises `InputError` where it can't be read whole."""
    shard = Shard(address(root / path), path, 0)
    with ShardReading(Source(shard, config), engine) as reading:
        yield from reading
    if reading.broken is not None:
        raise reading.broken


def texts_of(root: Path, design: Design, config: RunConfig) -> Mapping[int, str]:
    """The text of every document of a design, by its place in it.

    Raises `ConfigError` where the output is not what it was, or lacks one.
    """
    check_output(root, design)
    wanted: dict[str, dict[int, int]] = {}
    for place, drawn in enumerate(design.documents):
        wanted.setdefault(drawn.file, {})[drawn.record] = place
    found: dict[int, str] = {}
    for path, places in wanted.items():
        for step in _steps(root, path, config, None):
            records = step.batch.records
            for i in np.flatnonzero(np.isin(records, list(places))).tolist():
                found[places[int(records[i])]] = step.batch.text[i].as_py()[:MAX_CHARACTERS]
            if all(place in found for place in places.values()):
                break
    if len(found) < len(design.documents):
        raise ConfigError(f"{address(root)}: lacks documents that were drawn; was it changed?")
    return found
