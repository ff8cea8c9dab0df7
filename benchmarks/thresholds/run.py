"""Sets the limits of `rule = "thresholds"`: `python -m benchmarks.thresholds.run DATA`.

DATA holds `labelled/train`, `prose` and `labelled/dev` (`*.jsonl.zst`). Human rows of the first two
set the limits, which are written to `filters/lowbg/decision/limits.toml`; development rows only
measure them: `results/dev.md`. `--measure` leaves the limits as they are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.arrays import filled
from lowbg.config import Artifacts, FprBound, Policy
from lowbg.decision.calibration import FPR_GRID, MIN_STRATUM
from lowbg.decision.limits import PATH, Conjunction, HumanText
from lowbg.jobs.train.corpus import Row, as_text, list_files, read_rows
from lowbg.models import embedded_names, open_embedded
from lowbg.records import Metadata
from lowbg.runs.engine import Engine

HERE: Final = Path(__file__).parent
SHARES: Final = (0.0001, 0.0003, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5)
"""Shares of human text whose perplexity and burstiness are kept, to tell any limit's own rate."""

MOST_HITS: Final = 20
PHRASES_SHARE: Final = 0.9
"""The share of the target that phrases may take: they tell most, so that they come first."""

COLUMNS: Final = (
    *("language", "human", "AI", "target", "min perplexity", "min burstiness", "max phrase hits"),
    *("human called AI", "mean of sets", "worst set", "AI found"),
)

WITHOUT_PHRASES: Final = Policy(artifacts=Artifacts.REPORT)
"""Near-certain phrases decide beside the limits."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sample:
    """Scored documents, one entry each; an absent burstiness is infinite: it crosses no limit."""

    language: NDArray[np.str_]
    collection: NDArray[np.str_]
    is_ai: NDArray[np.bool_]
    called_ai: NDArray[np.bool_]
    perplexity: Floats
    burstiness: Floats
    hits: Floats

    def take(self, which: NDArray[np.bool_]) -> Sample:
        """Some of them."""
        return Sample(*(getattr(self, field.name)[which] for field in fields(self)))

    def beyond(self, low: float, uneven: float, hits: float) -> NDArray[np.bool_]:
        """Which of them the three limits call AI."""
        return (self.perplexity < low) | (self.burstiness < uneven) | (self.hits > hits)


def judge(
    folders: Iterable[Path], keep: Callable[[Row], bool], policy: Policy = WITHOUT_PHRASES
) -> Sample:
    """The scored rows of all files in `folders` that are to be kept, in their own language."""
    engine = Engine(policy).setup()
    parts: list[tuple[NDArray[np.generic], ...]] = []
    for path in list_files(folders):
        kept = filter(keep, read_rows(path))
        while rows := tuple(islice(kept, 2_000)):
            parts.append(_judged(engine, rows, path))
    return Sample(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _judged(engine: Engine, rows: tuple[Row, ...], path: Path) -> tuple[NDArray[np.generic], ...]:
    nulls = pa.nulls(len(rows), pa.string())
    named = path.name.split("-")[0] if path.parent.name == "prose" else None
    own = pa.array([row.language or named for row in rows], pa.string())
    judged = engine.judge(as_text(rows), Metadata(nulls, own, nulls, nulls))
    scored = judged.decisions.score.is_valid().to_numpy(zero_copy_only=False)
    codes = np.array([*judged.documents.language_codes, ""])
    columns = (
        codes[judged.documents.languages],
        np.array([row.dataset for row in rows]),
        np.array([row.is_ai for row in rows]),
        judged.decisions.called_ai,
        filled(judged.columns["perplexity"], np.inf).astype(np.float64),
        filled(judged.columns["burstiness"], np.inf).astype(np.float64),
        filled(judged.columns["phrase_hits"], 0).astype(np.float64),
    )
    return tuple(column[scored] for column in columns)


class Rates:
    """Shares of one language's human text, by a bound: the mean over collections, or the highest.

    In the mean collections count alike, those of fewer than `MIN_STRATUM` documents less; of the
    highest they don't count.
    """

    def __init__(self, sample: Sample, bound: FprBound) -> None:
        names, self._of, sizes = np.unique(
            sample.collection, return_inverse=True, return_counts=True
        )
        self.sample, self._sizes, self._bound = sample, sizes, bound
        self.collections = len(names)
        self._weights = np.minimum(1.0, sizes / MIN_STRATUM)
        self._counted = sizes >= MIN_STRATUM

    def of(self, called: NDArray[np.bool_]) -> float:
        """The share of what is `called`."""
        shares = np.bincount(self._of, called, len(self._sizes)) / self._sizes
        if self._bound is FprBound.EVERY:
            return float(shares[self._counted].max())
        return float(self._weights @ shares / self._weights.sum())

    def likely(self, called: NDArray[np.bool_]) -> float:
        """The share of what is `called` that other collections may have: `of`, and with the mean
        one standard error, since collections differ more than documents do."""
        if self._bound is FprBound.EVERY:
            return self.of(called)
        shares = np.bincount(self._of, called, len(self._sizes)) / self._sizes
        w = self._weights / self._weights.sum()
        spread = float(w**2 @ (shares - w @ shares) ** 2) * self.collections
        return self.of(called) + float(np.sqrt(spread / max(1, self.collections - 1)))

    def quantile(self, values: Floats, share: float) -> float:
        """The highest of `values` below which lies at most `share`."""
        distinct = np.unique(values[np.isfinite(values)])
        low, high = 0, len(distinct)  # The share rises with the place.
        while high - low > 1:
            middle = (low + high) // 2
            if self.of(values < distinct[middle]) <= share:
                low = middle
            else:
                high = middle
        return float(distinct[low])


def conjunction(rates: Rates, target: float) -> Conjunction | None:
    """The limits that call at most `target` AI; null where none do.

    The lowest limit of phrase hits that leaves room for the others, then perplexity and burstiness
    at the highest rate of their own that both can have.
    """
    sample = rates.sample
    every = (rates.likely(sample.hits > n) for n in range(MOST_HITS))
    hits = next((n for n, rate in enumerate(every) if rate <= PHRASES_SHARE * target), None)
    if hits is None:
        return None

    def at(share: float) -> tuple[float, float]:
        return (
            _down(rates.quantile(sample.perplexity, share), digits=4),
            _down(rates.quantile(sample.burstiness, share), digits=3),
        )

    low, high = 0.0, target
    for _ in range(12):
        middle = (low + high) / 2
        within = rates.likely(sample.beyond(*at(middle), hits)) <= target
        low, high = (middle, high) if within else (low, middle)
    perplexity, burstiness = at(low)
    called = sample.beyond(perplexity, burstiness, hits)
    if rates.likely(called) > target:
        return None
    own = (sample.perplexity < perplexity, sample.burstiness < burstiness, sample.hits > hits)
    alone = tuple(round(rates.of(called), 6) for called in own)
    return Conjunction(
        target,
        perplexity,
        burstiness,
        hits,
        (alone[0], alone[1], alone[2]),
        round(rates.of(called), 6),
    )


def _down(value: float, digits: int) -> float:
    """The value with as many significant digits, rounded down: a limit never gets stricter."""
    step = 10.0 ** (np.floor(np.log10(abs(value))) - digits + 1) if value else 1.0
    return float(f"{np.floor(value / step) * step:.{digits}g}")


def human_text(sample: Sample, tables: str) -> HumanText:
    """What `limits.toml` says of one language."""
    mean, every = Rates(sample, FprBound.MEAN), Rates(sample, FprBound.EVERY)

    def rows(rates: Rates) -> tuple[Conjunction, ...]:
        found = (conjunction(rates, target) for target in FPR_GRID)
        return tuple(row for row in found if row is not None)

    hits = [round(mean.of(sample.hits > n), 6) for n in range(MOST_HITS)]
    return HumanText(
        tables=tables,
        documents=len(sample.hits),
        collections=mean.collections,
        shares=SHARES,
        perplexity=tuple(_down(mean.quantile(sample.perplexity, s), 4) for s in SHARES),
        burstiness=tuple(_down(mean.quantile(sample.burstiness, s), 3) for s in SHARES),
        phrase_hits=tuple(hits),
        mean=rows(mean),
        every=rows(every),
    )


def toml(found: dict[str, HumanText]) -> str:
    """The text of `limits.toml`."""
    lines = ["# Written by `python -m benchmarks.thresholds.run DATA`; see decision/limits.py."]
    for code, text in found.items():
        lines += ["", f"[{code}]", f'tables = "{text.tables}"']
        lines += [f"{name} = {getattr(text, name)}" for name in ("documents", "collections")]
        for name in ("shares", "perplexity", "burstiness", "phrase_hits"):
            lines.append(f"{name} = {list(getattr(text, name))}")
        for name in ("mean", "every"):
            lines.append(f"{name} = [")
            for row in getattr(text, name):
                values = (f"{f} = {_plain(getattr(row, f))}" for f in row.__struct_fields__)
                lines.append(f"  {{ {', '.join(values)} }},")
            lines.append("]")
    return "\n".join(lines) + "\n"


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def measured(dev: Sample, found: dict[str, HumanText]) -> Iterator[str]:
    """The lines of `results/dev.md`."""
    yield "# Rule thresholds on development text"
    yield ""
    yield "Human text called AI, and AI text as generated that is found, at each target rate."
    yield ""
    yield f"| {' | '.join(COLUMNS)} |"
    yield "|---" * len(COLUMNS) + "|"
    for code, text in found.items():
        own = dev.language == code
        human, ai = dev.take(own & ~dev.is_ai), dev.take(own & dev.is_ai)
        mean, worst = Rates(human, FprBound.MEAN), Rates(human, FprBound.EVERY)
        for row in text.mean:
            limits = row.min_perplexity, row.min_burstiness, row.max_phrase_hits
            called, hits = human.beyond(*limits), ai.beyond(*limits)
            yield (
                f"| {code} | {len(called):,} | {len(hits):,} | {100 * row.target_fpr:g} % "
                f"| {limits[0]:g} | {limits[1]:g} | {limits[2]} | {100 * called.mean():.2f} % "
                f"| {100 * mean.of(called):.2f} % | {100 * worst.of(called):.1f} % "
                f"| {100 * hits.mean():.1f} % |"
            )


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that holds labelled and prose")
    parser.add_argument("--measure", action="store_true", help="leave the limits as they are")
    options = parser.parse_args()
    if not options.measure:
        human = judge(
            (options.data / "labelled" / "train", options.data / "prose"), lambda r: not r.is_ai
        )
        found = {
            code: human_text(human.take(human.language == code), open_embedded(code).sha256)
            for code in embedded_names()
            if code in human.language
        }
        PATH.write_text(toml(found), encoding="utf-8")
    from lowbg.decision.limits import human_text as shipped

    dev = judge((options.data / "labelled" / "dev",), lambda r: not (r.is_ai and r.attack))
    text = "\n".join(measured(dev, dict(shipped()))) + "\n"
    (HERE / "results" / "dev.md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
