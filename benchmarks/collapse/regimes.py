"""What each generation is trained on: the regimes of the experiment.

A generation's corpus is made in two steps. Something *arrives*: what the last generation wrote, new
human text, or a crawl of both. Then a *treatment* decides what of it is trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from benchmarks.collapse.human_text import Document, Sizes
from benchmarks.collapse.sieves import LEARNED, RETRAINED, Filters, by_weights, with_floor

Arrival = Literal["human", "replace", "keep", "accumulate", "reserve", "crawl"]
Treatment = Literal["none", "filter", "random", "oracle", "floor", "weights"]


@dataclass(frozen=True, slots=True)
class Regime:
    """One way of going from generation to generation.

    `share` is how much of what arrives is generated, for a crawl. A crawl is as large as the
    original corpus and all of it that passes the treatment is trained on; one that is `ample` holds
    as many human documents as the original, of what passes as many are drawn, and so the corpora
    of all generations are of one size. `tables` name what a treatment judges with; `floor` is the
    least human share of a mix.
    """

    name: str
    title: str
    arrival: Arrival
    share: float = 0.0
    treatment: Treatment = "none"
    tables: str = ""
    floor: float = 0.0
    ample: bool = False


@dataclass(frozen=True, slots=True)
class Collected:
    """What arrived, what passed, and what is trained on.

    A document may stand several times among the last two. `refused`: there were no tables to filter
    with, since `lowbg learn` wrote none; everything passed.
    """

    arrived: Sequence[Document]
    passed: Sequence[Document]
    trained_on: Sequence[Document]
    refused: bool = False


_TREATMENTS: Final[dict[str, tuple[str, Treatment, str, float]]] = {
    "none": ("unfiltered", "none", "", 0.0),
    "embedded": ("filter, embedded tables", "filter", "embedded", 0.0),
    "trained": ("filter, trained tables", "filter", "trained", 0.0),
    "calibrated": ("filter, trained and calibrated", "filter", "calibrated", 0.0),
    "learned": ("filter, learned tables", "filter", LEARNED, 0.0),
    "retrained": ("filter, trained and calibrated anew", "filter", RETRAINED, 0.0),
    "random": ("as many dropped at random", "random", "calibrated", 0.0),
    "oracle": ("oracle filter", "oracle", "", 0.0),
    "floor50": ("mix --min-human 0.5", "floor", "", 0.5),
    "floor30": ("mix --min-human 0.3", "floor", "", 0.3),
    "weights_embedded": ("mix --weights, embedded tables", "weights", "embedded", 0.0),
    "weights": ("mix --weights, trained tables", "weights", "trained", 0.0),
}
"""By name: title, what is done, the tables, the floor."""


def _crawls(share: float, treatments: str, *, ample: bool = False) -> tuple[Regime, ...]:
    """The regimes of a crawl of which so much is generated."""
    kind, told = ("ample", " of an ample crawl") if ample else ("crawl", "")
    percent = round(100 * share)
    found = []
    for name in treatments.split():
        title, treatment, tables, floor = _TREATMENTS[name]
        title = f"{percent} % generated{told}: {title}"
        regime = Regime(
            f"{kind}{percent}_{name}", title, "crawl", share, treatment, tables, floor, ample
        )
        found.append(regime)
    return tuple(found)


_FILTERS: Final = "none embedded trained calibrated learned random oracle"
_ALL: Final = f"{_FILTERS} floor50 floor30 weights_embedded weights"

REGIMES: Final = (
    Regime("human", "new human text alone", "human"),
    Regime("replace", "replace", "replace"),
    Regime("keep10", "replace, 10 % of the original kept", "keep"),
    Regime("accumulate", "accumulate", "accumulate"),
    Regime("reserve50", "replace, the original as a reserve: mix --min-human 0.5", "reserve",
           treatment="floor", floor=0.5),
    *_crawls(0.0, "learned"),
    *_crawls(0.3, "none embedded calibrated learned oracle"),
    *_crawls(0.6, _ALL),
    *_crawls(0.9, _ALL),
    *_crawls(0.6, "trained calibrated retrained learned floor50 weights", ample=True),
    *_crawls(0.9, "trained calibrated learned floor50 weights", ample=True),
)  # fmt: skip


def written_of(regime: Regime, sizes: Sizes) -> int:
    """How many documents each generation writes, for the next one and to be measured."""
    if not regime.ample:
        return sizes.documents
    crawled = max(sizes.documents, round(regime.share / (1 - regime.share) * sizes.documents))
    return crawled + (sizes.documents if regime.tables == RETRAINED else 0)


def collect(
    regime: Regime,
    *,
    original: Sequence[Document],
    fresh: Sequence[Document],
    outputs: Sequence[Sequence[Document]],
    filters: Filters,
    seed: int,
) -> Collected:
    """The corpus of the next generation; `outputs` are what all generations so far wrote."""
    rng = np.random.default_rng(seed)
    size = len(original)
    last = outputs[-1][:size]
    if regime.arrival == "human":
        return Collected(fresh, fresh, fresh)
    if regime.arrival == "keep":
        kept = round(0.1 * size)
        own = [*_drawn(original, kept, rng), *_drawn(last, size - kept, rng)]
        return Collected(own, own, own)
    if regime.arrival == "accumulate":
        everything = [*original, *(each for own in outputs for each in own[:size])]
        return Collected(last, last, everything)
    if regime.arrival == "reserve":
        mixed = with_floor(original, last, regime.floor, seed)
        return Collected(last, mixed, mixed)
    if regime.arrival == "replace":
        return Collected(last, last, last)
    if regime.ample:
        generated = round(regime.share / (1 - regime.share) * size)
        crawl = [*fresh, *outputs[-1][:generated]]
    else:
        generated = round(regime.share * size)
        crawl = [*_drawn(fresh, size - generated, rng), *_drawn(last, generated, rng)]
    crawl = _drawn(crawl, len(crawl), rng)
    passed = _treated(regime, crawl, outputs[-1][-size:], filters, seed, rng)
    used = crawl if passed is None else passed
    drawn = _drawn(used, size, rng) if regime.ample else used
    return Collected(crawl, used, drawn, refused=passed is None)


def _treated(
    regime: Regime,
    crawl: Sequence[Document],
    known: Sequence[Document],
    filters: Filters,
    seed: int,
    rng: np.random.Generator,
) -> Sequence[Document] | None:
    """What passes; null where `lowbg learn` wrote no tables to filter with.

    `known` is generated text that isn't in the crawl, to train on.
    """
    human = [each for each in crawl if not each.generated]
    if regime.treatment == "oracle":
        return human
    if regime.treatment == "floor":
        generated = [each for each in crawl if each.generated]
        return with_floor(human, generated, regime.floor, seed)
    if regime.treatment == "weights":
        return by_weights(crawl, filters.policy(regime.tables), seed)
    if regime.treatment == "none":
        return crawl
    if regime.tables == LEARNED:
        called = filters.learned(crawl, seed)
        if called is None:
            return None
    else:
        called = filters.called_ai(regime.tables, crawl, known)
    if regime.treatment == "random":
        called = rng.permutation(called)
    return [each for each, drop in zip(crawl, called, strict=True) if not drop]


def _drawn(documents: Sequence[Document], count: int, rng: np.random.Generator) -> list[Document]:
    return [documents[i] for i in rng.permutation(len(documents))[:count]]


def sifted(collected: Collected) -> dict[str, float | None]:
    """What a treatment dropped of what arrived, and what is left; null where there is nothing.

    Of `precision` and `recall` the generated documents are the positive ones.
    """
    kept = {id(each) for each in collected.passed}
    dropped = [each for each in collected.arrived if id(each) not in kept]
    human = [each for each in collected.arrived if not each.generated]
    generated = len(collected.arrived) - len(human)
    small = sum(each.minority for each in human)
    hit = sum(each.generated for each in dropped)
    used = collected.trained_on
    return {
        "documents": float(len(used)),
        "human_documents": float(sum(not each.generated for each in used)),
        "generated_share": _share(sum(each.generated for each in used), len(used)),
        "dropped": float(len(dropped)),
        "precision": _share(hit, len(dropped)),
        "recall": _share(hit, generated),
        "human_dropped": float(len(dropped) - hit),
        "human_arrived": float(len(human)),
        "minority_dropped": float(sum(each.minority for each in dropped)),
        "minority_arrived": float(small),
        "refused": float(collected.refused),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
