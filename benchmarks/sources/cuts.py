"""How often human sources seem to be AI: `python -m benchmarks.sources.cuts`.

Sources are drawn from the collections of human text that the tables of all languages know, each
scored by tables that never saw it (of these the tables carry the distribution of z). The output,
`results/cuts.md`, is what `decision.sources.CUTS` is read from. No data is needed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lowbg.config import Policy, SourceVerdict
from lowbg.decision import sources
from lowbg.decision.calibration import FPR_GRID, Calibration
from lowbg.decision.sources import Counted, SourceModel, bins_of
from lowbg.runs.engine import Engine
from lowbg.text import languages

HERE: Final = Path(__file__).parent
CUTS: Final = (0.35, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
SIZES: Final = (10, 20, 50, 200)
MIN_COLLECTION: Final = 15


def drawn(entry: dict[str, Any], n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """z of n documents of a collection: by its quantiles above the median, and likewise below."""
    z, upto = np.array(entry["z"])[::-1], 1.0 - np.array(FPR_GRID)[::-1]
    u = rng.random(n)
    above = np.interp(np.where(u < 0.5, 1.0 - u, u), upto, z)
    return np.asarray(np.where(u < 0.5, 2.0 * z[0] - above, above))


def sources_of(engine: Engine, n: int, rng: np.random.Generator) -> tuple[Counted, int]:
    """A source of n documents of every collection; how many there are."""
    parts: list[tuple[int, NDArray[np.int64]]] = []
    for code, model in engine.models.items():
        calibration = Calibration.of(model)
        for entry in model.metadata.get("human_collections", {}).values():
            if entry["documents"] >= MIN_COLLECTION:
                z = drawn(entry, n, rng)
                log_odds = calibration.intercept + calibration.slope * z
                parts.append((languages.CODES.index(code), bins_of(log_odds)))
    counted = Counted(
        np.repeat(np.arange(len(parts)), n),
        np.repeat([code for code, _ in parts], n),
        np.zeros(n * len(parts), np.bool_),
        np.concatenate([bins for _, bins in parts]),
        np.ones(n * len(parts), np.int64),
    )
    return counted, len(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and writes `results/cuts.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=6)
    given = parser.parse_args(arguments)
    engine = Engine(Policy())
    model: SourceModel = engine.source_model()
    # Whatever is likelier AI than human or mixed is called so: its certainty is what is looked at.
    setattr(sources, "CUTS", ((1e-9, 1e-9), (1.0, 1e-9)))  # noqa: B010
    lines = [
        "# Human sources that seem to be AI", "",
        "Written by `python -m benchmarks.sources.cuts`: shares of sources whose probability to be "
        "AI lies above each cut, by the documents of a source.", "",
        f"| documents | {' | '.join(f'{cut:g}' for cut in CUTS)} |",
        f"|---|{'---|' * len(CUTS)}",
    ]  # fmt: skip
    number = 0
    for n in SIZES:
        certainty = []
        for seed in range(given.draws):
            counted, number = sources_of(engine, n, np.random.default_rng(seed))
            found = model.judge(counted, number)
            certainty.append((found.verdicts == SourceVerdict.AI.code) * found.certainty)
        every = np.concatenate(certainty)
        shares = (f"{100 * (every > cut).mean():.1f} %" for cut in CUTS)
        lines.append(f"| {n} | {' | '.join(shares)} |")
    lines += ["", f"{number} collections, {given.draws} draws of each.", ""]
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "cuts.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
