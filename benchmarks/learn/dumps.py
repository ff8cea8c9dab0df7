"""Pairs of dumps with known truth, made of labelled text: an old, an in-between and a new one.

A kind of human text (a dataset) is spread over several hosts. Without drift every kind is in all
three dumps; with drift some kinds are only in the old one, and as many only in the new one, half of
these already in the in-between one. AI text is in the new dump alone: half of it on hosts that
people's text is on as well, half on hosts of its own.
"""

from __future__ import annotations

import random
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lowbg.jobs.train.corpus import Row


class Drift(StrEnum):
    """How many of the kinds of human text are in one dump only."""

    NONE = "none"
    SOME = "some"
    MUCH = "much"


DRIFTED = {Drift.NONE: 0.0, Drift.SOME: 1 / 6, Drift.MUCH: 1 / 3}
"""The share of the kinds of human text that are in the old or the new dump only."""

PARTS = {"old": 0.35, "between": 0.25, "new": 0.25, "unseen": 0.15}
"""The shares of a kind that go to each dump, where it is in all; the last is for measuring."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a dump, with what `learn` isn't told: who wrote it, and its kind."""

    text: str
    host: str
    kind: str
    is_ai: bool

    def record(self, number: int) -> dict[str, str]:
        """What stands in a dump."""
        return {"id": str(number), "text": self.text, "url": f"https://{self.host}/{number}"}


@dataclass(frozen=True, slots=True)
class Dumps:
    """The dumps, and `unseen`, drawn as the new one is, that nothing is learned from."""

    old: list[Document]
    between: list[Document]
    new: list[Document]
    unseen: list[Document]


def make_dumps(
    rows: Sequence[Row], share: float, drift: Drift, seed: int, max_documents: int = 400
) -> Dumps:
    """Dumps of `rows`; `share` of the documents of the new one are AI's.

    Of each kind `max_documents` serve at most. Where there is too little AI text for `share`, the
    human text of the new dump is less.
    """
    chance = random.Random(seed)
    human = _kinds([row for row in rows if not row.is_ai], max_documents, chance)
    parts: dict[str, list[Document]] = {name: [] for name in PARTS}
    roles = _roles(human, DRIFTED[drift], chance)
    for kind, documents in human.items():
        for part, chosen in _spread(documents, roles[kind], chance).items():
            parts[part] += chosen
    ai = _kinds([row for row in rows if row.is_ai], max_documents, chance)
    for part in ("new", "unseen"):
        _mix(parts, part, ai, share, chance)
    for documents in parts.values():
        chance.shuffle(documents)
    return Dumps(**parts)


def _kinds(rows: Sequence[Row], most: int, chance: random.Random) -> dict[str, list[Document]]:
    """By kind its documents on their hosts; what answers one another is on one host."""
    of_kind: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row.dataset, row.pair, row.id, row.text)):
        of_kind[row.dataset].append(row)
    result = {}
    for kind, own in of_kind.items():
        chosen = chance.sample(own, min(most, len(own)))
        hosts = max(2, min(12, len(chosen) // 15))
        result[kind] = [
            Document(
                row.text,
                f"{kind}-{zlib.crc32((row.pair or row.text).encode()) % hosts}.example",
                kind,
                row.is_ai,
            )
            for row in chosen
        ]
    return result


def _roles(
    kinds: dict[str, list[Document]], drifted: float, chance: random.Random
) -> dict[str, dict[str, float]]:
    """For each kind the share of its documents that each part gets."""
    names = chance.sample(sorted(kinds), len(kinds))
    each = round(drifted * len(names) / 2) or (1 if drifted else 0)
    roles = {name: dict(PARTS) for name in names}
    for i in range(each):
        roles[names[i]] = {"old": 1.0}
        early = {"between": 0.25} if i % 2 == 0 else {}
        roles[names[each + i]] = {**early, "new": 0.5, "unseen": 0.3}
    return roles


def _spread(
    documents: list[Document], role: dict[str, float], chance: random.Random
) -> dict[str, list[Document]]:
    order = chance.sample(documents, len(documents))
    bounds = [0]
    for share in role.values():
        bounds.append(bounds[-1] + round(share * len(order)))
    return {part: order[a:b] for part, a, b in zip(role, bounds, bounds[1:], strict=False)}


def _mix(
    parts: dict[str, list[Document]],
    part: str,
    ai: dict[str, list[Document]],
    share: float,
    chance: random.Random,
) -> None:
    """Puts AI text into a part; `unseen` gets the half of each kind that `new` doesn't."""
    halves = [[document for own in ai.values() for document in own[k::2]] for k in (0, 1)]
    pool = chance.sample(
        halves[part == "unseen"], len(halves[0]) if part == "new" else len(halves[1])
    )
    human = parts[part]
    wanted = round(len(human) * share / (1 - share))
    if wanted > len(pool):
        human[:] = chance.sample(human, round(len(pool) * (1 - share) / share))
        wanted = len(pool)
    hosts = Counter(document.host for document in parts["old"])
    shared = sorted({document.host for document in human} & set(hosts))
    for i, document in enumerate(pool[:wanted]):
        host = chance.choice(shared) if i % 2 and shared else document.host
        human.append(Document(document.text, host, document.kind, True))
