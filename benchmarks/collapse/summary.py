"""From the records of all chains to means with intervals over seeds, alerts, and totals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from benchmarks.collapse.chain import FIRST, Record, read_record
from benchmarks.collapse.human_text import Sizes
from benchmarks.collapse.regimes import Regime
from numpy.typing import NDArray

Chain = Sequence[Record]
"""A seed's generations, from 0."""

STUDENT: Final = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t at 97.5 % with 1 … 9 degrees of freedom."""

MAX_PERPLEXITY_RISE, MIN_UNIQUE_TOKENS, MAX_ENTROPY_FALL = 0.10, 0.85, 0.05
"""Against generation 0: as `lowbg drift check` has them against its baseline."""

WRITTEN: Final = "unique tokens < 85 %", "entropy − 0.05 bits"
PERPLEXITY: Final = "perplexity + 10 %"


RATIOS: Final = ("perplexity", "minority_perplexity", "unique_tokens", "tail_coverage")
"""Figures that are also stored as `NAME_ratio`, over that of generation 0 of the same seed."""


def read_chains(work: Path, sizes: Sizes, regime: Regime) -> list[Chain]:
    """The chains of a regime that are whole, a seed each."""
    chains: list[Chain] = []
    for seed in range(sizes.seeds):
        own = work / f"seed-{seed}"
        paths = [
            own / f"{FIRST}.json",
            *(own / regime.name / f"{g}.json" for g in range(1, sizes.generations + 1)),
        ]
        if all(path.exists() for path in paths):
            chains.append([read_record(path) for path in paths])
    return chains


def summarise(work: Path, sizes: Sizes, regimes: Sequence[Regime]) -> dict[str, Any]:
    """By regime: figures, alerts and what treatments dropped; regimes without a chain are left out.

    `human` are the figures of the original human text, as of what a model writes.
    """
    found = {}
    for regime in regimes:
        chains = read_chains(work, sizes, regime)
        if chains:
            found[regime.name] = {"title": regime.title, **_of_chains(chains)}
    firsts = [read_record(path) for path in sorted(work.glob(f"seed-*/{FIRST}.json"))]
    human = {
        name: over_seeds([record["human"][name] for record in firsts])
        for name in firsts[0]["human"]
    }
    return {"human": human, "regimes": found}


def _of_chains(chains: Sequence[Chain]) -> dict[str, Any]:
    figures = {
        name: [
            over_seeds([record["figures"][name] for record in generation])
            for generation in zip(*chains, strict=True)
        ]
        for name in chains[0][0]["figures"]
    }
    for name in RATIOS:
        figures[f"{name}_ratio"] = [
            over_seeds(
                [
                    record["figures"][name] / (chain[0]["figures"][name] or np.nan)
                    for chain, record in zip(chains, generation, strict=True)
                ]
            )
            for generation in zip(*chains, strict=True)
        ]
    histograms = np.array([[record["histogram"] for record in chain] for chain in chains])
    seconds = [record["seconds"] for chain in chains for record in chain[1:]]
    return {
        "seeds": len(chains),
        "figures": figures,
        "sifted": [_sifted(own) for own in zip(*(chain[1:] for chain in chains), strict=True)],
        "called_ai": [_called(own) for own in zip(*(chain[1:] for chain in chains), strict=True)],
        "alerts": alerts(chains),
        "histogram": histograms.sum(axis=0).tolist(),
        "cpu_seconds_a_generation": round(float(np.mean(seconds)), 2),
    }


def over_seeds(values: Sequence[float]) -> list[float | None]:
    """Mean, and the ends of its 95 % interval by Student's t; null ends of a single value."""
    own = np.array(values, np.float64)
    mean = float(own.mean())
    if len(own) < 2:
        return [_short(mean), None, None]
    factor = STUDENT[len(own) - 2] if len(own) - 2 < len(STUDENT) else 1.96
    half = factor * float(own.std(ddof=1)) / len(own) ** 0.5
    return [_short(mean), _short(mean - half), _short(mean + half)]


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _sifted(records: Sequence[Record]) -> dict[str, float | None]:
    """Sums over seeds, with precision and recall of them."""
    total: dict[str, float] = {}
    for record in records:
        for name, value in record["sifted"].items():
            total[name] = total.get(name, 0.0) + (value or 0.0)
    generated = sum(
        (record["sifted"]["dropped"] - record["sifted"]["human_dropped"])
        / record["sifted"]["recall"]
        for record in records
        if record["sifted"]["recall"]
    )
    hits = total["dropped"] - total["human_dropped"]
    return {
        **{
            name: total[name]
            for name in (
                "dropped", "human_dropped", "human_arrived", "minority_dropped", "minority_arrived",
            )
        },
        "refused": total.get("refused", 0.0),
        "documents": total["documents"] / len(records),
        "human_documents": total["human_documents"] / len(records),
        "precision": hits / total["dropped"] if total["dropped"] else None,
        "recall": None if records[0]["sifted"]["recall"] is None else (
            total["recall"] / len(records) if not generated else hits / generated
        ),
    }  # fmt: skip


def _called(records: Sequence[Record]) -> dict[str, float] | None:
    """Means over seeds of what filters say; null where nothing was asked."""
    if "called_ai" not in records[0]:
        return None
    return {
        name: float(np.mean([record["called_ai"][name] for record in records]))
        for name in records[0]["called_ai"]
    }


def alerts(chains: Sequence[Chain]) -> dict[str, dict[str, Any]]:
    """By alert: in how many chains it fires, when first, and at what rate of all its checks.

    `first` is the median over the chains in which it fires; `before_perplexity` the median, over
    those in which both fire, of how many generations earlier than the perplexity's own it does.
    """
    names = list(chains[0][1]["drift"])
    tests: dict[str, Callable[[Chain, int], bool]] = {
        PERPLEXITY: lambda chain, g: (
            _figure(chain, g, "perplexity")
            > (1 + MAX_PERPLEXITY_RISE) * _figure(chain, 0, "perplexity")
        ),
        WRITTEN[0]: lambda chain, g: (
            _figure(chain, g, "unique_tokens")
            < MIN_UNIQUE_TOKENS * _figure(chain, 0, "unique_tokens")
        ),
        WRITTEN[1]: lambda chain, g: (
            _figure(chain, g, "entropy_unigrams")
            < _figure(chain, 0, "entropy_unigrams") - MAX_ENTROPY_FALL
        ),
        "drift: any": lambda chain, g: any(alert for _, alert in chain[g]["drift"].values()),
        **{f"drift: {name}": _drift_test(name) for name in names},
    }
    fired = {
        name: np.array([[test(chain, g) for g in range(1, len(chain))] for chain in chains])
        for name, test in tests.items()
    }
    of_perplexity = _first(fired[PERPLEXITY])
    return {
        name: _alert(own, of_perplexity)
        for name, own in fired.items()
        if own.any() or not name.startswith("drift: ") or name == "drift: any"
    }


def _figure(chain: Chain, generation: int, name: str) -> float:
    return float(chain[generation]["figures"][name])


def _drift_test(name: str) -> Callable[[Chain, int], bool]:
    return lambda chain, g: bool(chain[g]["drift"][name][1])


def _first(fired: NDArray[np.bool_]) -> list[int | None]:
    """The generation in which each chain's alert fires first."""
    return [int(np.argmax(own)) + 1 if own.any() else None for own in fired]


def _alert(fired: NDArray[np.bool_], of_perplexity: Sequence[int | None]) -> dict[str, Any]:
    first = _first(fired)
    known = [g for g in first if g is not None]
    lead = [b - a for a, b in zip(first, of_perplexity, strict=True) if a and b]
    return {
        "chains": len(first),
        "fired": len(known),
        "first": median(known) if known else None,
        "before_perplexity": median(lead) if lead else None,
        "rate": round(float(fired.mean()), 4),
    }


def minority_dropped(result: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """Over generations and seeds: documents of the small group dropped and arrived, all others."""
    rows = result["sifted"]
    total = {
        name: int(sum(row[name] for row in rows))
        for name in ("minority_dropped", "minority_arrived", "human_dropped", "human_arrived")
    }
    return (
        total["minority_dropped"],
        total["minority_arrived"],
        total["human_dropped"] - total["minority_dropped"],
        total["human_arrived"] - total["minority_arrived"],
    )
