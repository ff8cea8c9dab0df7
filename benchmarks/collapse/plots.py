"""The results as pictures (SVG); needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from benchmarks.collapse.measuring import LOG_BINS

Result = Mapping[str, Any]

PANELS: Final = {
    "loops": ("human", "replace", "keep10", "accumulate", "reserve50"),
    "crawl60": (
        "human", "crawl60_none", "crawl60_embedded", "crawl60_trained", "crawl60_calibrated",
        "crawl60_learned", "crawl60_random", "crawl60_oracle", "ample60_learned",
    ),
    "crawl90": (
        "human", "crawl90_none", "crawl90_embedded", "crawl90_trained", "crawl90_calibrated",
        "crawl90_learned", "crawl90_random", "crawl90_oracle", "ample90_learned",
    ),
    "mix": (
        "human", "crawl60_none", "crawl60_floor50", "crawl60_floor30", "crawl60_weights",
        "ample60_floor50", "ample60_weights", "reserve50",
    ),
}  # fmt: skip
"""Which regimes stand beside each other."""


def draw(folder: Path, name: str, result: Result, toys: Result) -> bool:
    """Writes all pictures of an experiment; false where matplotlib isn't installed."""
    if find_spec("matplotlib") is None:
        return False
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({
        "svg.hashsalt": "lowbg", "font.size": 9, "axes.spines.top": False,
        "axes.spines.right": False,
    })  # fmt: skip
    for figure, title, logarithmic in (
        ("perplexity", "perplexity of human text, over generation 0", True),
        ("tail_coverage", "rare words that are written, over generation 0", False),
        ("unique_tokens", "unique tokens, over generation 0", False),
    ):
        _by_generation(folder / f"{name}-{figure}.svg", result, figure, title, logarithmic)
    _histograms(folder / f"{name}-log-probabilities.svg", result)
    _toys(folder / "toys.svg", toys)
    return True


def _save(figure: Any, path: Path) -> None:
    import matplotlib.pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _by_generation(path: Path, result: Result, figure: str, title: str, logarithmic: bool) -> None:
    """A figure over the generations, with the interval over seeds as a band."""
    import matplotlib.pyplot as plt

    regimes = result["regimes"]
    panels = {k: [n for n in own if n in regimes] for k, own in PANELS.items()}
    panels = {k: own for k, own in panels.items() if len(own) > 1}
    if not panels:  # A regime or two by themselves are compared with nothing.
        return
    drawn, axes = plt.subplots(
        1, len(panels), figsize=(4.2 * len(panels), 4.4), sharey=True, squeeze=False
    )
    for axis, own in zip(axes[0], panels.values(), strict=True):
        for name in own:
            values = regimes[name]["figures"][f"{figure}_ratio"]
            x = range(len(values))
            (line,) = axis.plot(x, [v[0] for v in values], label=regimes[name]["title"], lw=1.4)
            if values[0][1] is not None:
                low, high = ([v[i] for v in values] for i in (1, 2))
                axis.fill_between(x, low, high, color=line.get_color(), alpha=0.2, lw=0)
        if logarithmic:
            axis.set_yscale("log")
        axis.set_xlabel("generation")
        axis.legend(fontsize=6.5, frameon=False)
    axes[0][0].set_ylabel(title)
    _save(drawn, path)


def _histograms(path: Path, result: Result) -> None:
    """How the log-probabilities of the hold-out's tokens drift."""
    import matplotlib.pyplot as plt

    names = [
        name for name in ("human", "replace", "accumulate", "crawl60_none", "crawl60_learned")
        if name in result["regimes"]
    ]  # fmt: skip
    drawn, axes = plt.subplots(
        1, len(names), figsize=(3.2 * len(names), 3), sharey=True, squeeze=False
    )
    for axis, name in zip(axes[0], names, strict=True):
        rows: Sequence[Sequence[int]] = result["regimes"][name]["histogram"]
        for generation in sorted({0, 1, len(rows) // 2, len(rows) - 1}):
            row = rows[generation]
            share = [count / sum(row) for count in row]
            axis.stairs(share, LOG_BINS, label=f"generation {generation}")
        axis.set_title(result["regimes"][name]["title"], fontsize=8)
        axis.set_xlabel("ln P of a token")
    axes[0][0].set_ylabel("share of hold-out tokens")
    axes[0][0].legend(fontsize=7, frameon=False)
    _save(drawn, path)


def _toys(path: Path, toys: Result) -> None:
    import matplotlib.pyplot as plt

    g, d = toys["gaussian"], toys["discrete"]
    drawn, axes = plt.subplots(1, 4, figsize=(16, 3.6))
    x = range(len(g["variance"]))
    axes[0].fill_between(x, g["low"], g["high"], alpha=0.2, lw=0)
    axes[0].plot(x, g["geometric_mean"], label="variance, geometric mean of runs")
    axes[0].plot(x, g["expected_geometric_mean"], "k--", lw=1, label="theory")
    axes[0].set_yscale("log")
    axes[1].plot(x, g["distance"], label="distance W₂² from the truth")
    axes[1].plot(x, g["expected_distance"], "k--", lw=1, label="theory")
    x = range(len(d["coverage"]))
    axes[2].plot(x, d["coverage"], label="rare events that are left")
    axes[2].plot(x, d["expected_coverage"], "k--", lw=1, label="theory")
    axes[3].fill_between(x, d["low"], d["high"], alpha=0.2, lw=0)
    axes[3].plot(x, d["mass"], label="their probability, median")
    for axis in axes:
        axis.set_xlabel("generation")
        axis.legend(fontsize=7, frameon=False)
    axes[0].set_title(f"Gaussian, {g['samples']} samples", fontsize=9)
    axes[2].set_title(f"{d['events']:,} events, {d['samples']:,} samples", fontsize=9)
    _save(drawn, path)
