"""A few documents that a report shows: the clearest, the most uncertain, and some drawn by chance.

Of each kind a run keeps the `KEPT` documents of the lowest rank. A rank is of the document and its
place alone, so that the same ones are kept at any batch size, worker count and order of merging.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

from lowbg.arrays import floats
from lowbg.config import VERDICTS, Verdict
from lowbg.storage.typed import Count, Open, Share

KINDS: Final = ("clearest_ai", "uncertain", "ai", "human")
KEPT: Final = 8
"""Documents of a kind."""
FEW: Final = 3
"""Documents of a kind that a small shard gives: there may be many, and each costs a little."""

EXCERPT_CHARACTERS: Final = 420
_EXCERPT_BYTES: Final = 4 * EXCERPT_CHARACTERS
_MAX_ID: Final = 200
_MAX_REASONS: Final = 6


class Shade(Open, frozen=True):
    """A sentence of an excerpt, in characters from `start` to before `end`, and its own log-odds.

    `log_odds` are nats a word, AI against human; null where the language has no tables.
    """

    start: Count
    end: Count
    log_odds: float | None


class Example(Open, frozen=True, kw_only=True, omit_defaults=True):
    """A document that a report shows: where it is, what was said of it, and how it begins.

    `record` is its 0-based position in `shard`. `rank` orders the documents of a kind, the lowest
    first: of the clearest AI ones the score, negated; of uncertain ones how far the evidence lies
    from the threshold, in standard deviations of human text; else a number drawn by its place.
    `excerpt` is the beginning, white space folded; `shades` are its sentences.
    """

    shard: str
    record: Count
    id: str | None = None
    language: str | None = None
    words: Count
    ai_score: Share | None = None
    verdict: str
    reasons: list[str]
    rank: float
    excerpt: str
    cut: bool = False
    shades: list[Shade] = msgspec.field(default_factory=list)


class Candidates(Struct, frozen=True):
    """What examples are chosen from: a batch's documents, one entry each.

    `draws` are the numbers by which they are drawn, uniform in 0 … 1, of their places alone.
    `margins` say how far a document's evidence lies above its threshold, NaN where there is none.
    No more than `most` of a kind are chosen.
    """

    shard: str
    records: NDArray[np.int64]
    text: pa.LargeStringArray
    ids: pa.StringArray
    draws: NDArray[np.float64]
    margins: NDArray[np.float64]
    reasons: Callable[[int], list[str]]
    most: int = KEPT


class Examples:
    """The documents of the lowest rank of each kind."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[str, list[Example]] = {kind: [] for kind in KINDS}

    def __bool__(self) -> bool:
        return any(self._kept.values())

    def add(
        self,
        candidates: Candidates,
        *,
        verdicts: NDArray[Any],
        score: pa.Array | None,
        languages: list[str | None],
        words: NDArray[Any],
    ) -> None:
        """Takes those documents of a batch that rank lower than the ones it has.

        `languages` and the arrays have one entry a document; `score` is null where there is none.
        """
        if score is None:
            return
        own = floats(score)
        made: dict[int, Example] = {}
        for kind, ranks in _ranks(candidates, verdicts, own).items():
            kept = self._kept[kind]
            highest = kept[-1].rank if len(kept) == candidates.most else np.inf
            places = np.flatnonzero(ranks <= highest)
            order = np.lexsort((candidates.records[places], ranks[places]))[: candidates.most]
            found = []
            for i in places[order].tolist():
                if i not in made:
                    made[i] = _example(
                        candidates, i,
                        language=languages[i], words=int(words[i]), score=float(own[i]),
                        verdict=VERDICTS[verdicts[i]],
                    )  # fmt: skip
                found.append(msgspec.structs.replace(made[i], rank=float(ranks[i])))
            self._keep(kind, found, candidates.most)

    def _keep(self, kind: str, found: Iterable[Example], most: int = KEPT) -> None:
        several = [*self._kept[kind], *found]
        self._kept[kind] = heapq.nsmallest(most, several, key=_order)

    def merge(self, other: Examples) -> None:
        """Takes those of another one, as if it had seen all the documents itself."""
        for kind, found in other._kept.items():
            self._keep(kind, found)

    def to_plain(self) -> dict[str, list[Example]]:
        """The examples by kind, the lowest rank first; without the kinds that have none."""
        return {kind: kept for kind, kept in self._kept.items() if kept}

    @classmethod
    def of(cls, kinds: dict[str, list[Example]]) -> Examples:
        """What `to_plain` returned; kinds that this version doesn't know are passed over."""
        new = cls()
        for kind in KINDS:
            new._keep(kind, kinds.get(kind, []))
        return new


def _order(example: Example) -> tuple[float, str, int]:
    return example.rank, example.shard, example.record


def _ranks(
    candidates: Candidates, verdicts: NDArray[Any], score: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Each document's rank by kind, NaN where it is none of it."""
    scored = ~np.isnan(score)
    is_ai = scored & (verdicts == Verdict.AI.code)
    is_human = scored & (verdicts == Verdict.HUMAN.code)
    ranks = {
        "clearest_ai": np.where(is_ai, -score, np.nan),
        "uncertain": np.where(scored, np.abs(candidates.margins), np.nan),
        "ai": np.where(is_ai, candidates.draws, np.nan),
        "human": np.where(is_human, candidates.draws, np.nan),
    }
    assert tuple(ranks) == KINDS
    return ranks


def _example(
    candidates: Candidates,
    i: int,
    *,
    language: str | None,
    words: int,
    score: float,
    verdict: str,
) -> Example:
    excerpt, cut = excerpt_of(candidates.text[i].as_buffer())
    own_id = candidates.ids[i].as_py()
    return Example(
        shard=candidates.shard,
        record=int(candidates.records[i]),
        id=None if own_id is None else own_id[:_MAX_ID],
        language=language,
        words=words,
        ai_score=round(score, 6),
        verdict=verdict,
        reasons=candidates.reasons(i)[:_MAX_REASONS],
        rank=0.0,
        excerpt=excerpt,
        cut=cut,
    )


def excerpt_of(data: pa.Buffer) -> tuple[str, bool]:
    """How a text begins, white space folded, in `EXCERPT_CHARACTERS`; whether more follows."""
    start = bytes(data.slice(0, min(data.size, _EXCERPT_BYTES))).decode("utf-8", "ignore")
    folded = " ".join(start.split())
    cut = data.size > _EXCERPT_BYTES or len(folded) > EXCERPT_CHARACTERS
    return folded[:EXCERPT_CHARACTERS].rstrip(), cut
