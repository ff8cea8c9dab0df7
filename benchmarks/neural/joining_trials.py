"""The tables of `results/joining.md`: `… joining_trials DATA MODEL [--cache DIR] [TABLE…]`.

`python -m benchmarks.neural.joining_trials DATA MODEL --cache DIR` reads text of
`DATA/labelled/train` alone that the shipped probe may be fitted on, keeps what it read in DIR, and
prints the tables that are named, by default all of them. Half of the kinds of both labels are left
out together, with their datasets' other label, `--splits` times; recall is that of the left-out AI
kinds at a threshold that calls 1 % of the left-out human kinds AI on average.

- `evidence`: words, probe and surprise, alone and joined in several ways, on `--rows` documents of
  a kind. "Loss" is the mean over AI kinds of what a method finds less than words alone. ± is the
  standard error over splits.
- `probe`: layers and ridges, joined 1 : 1 with words.
- `thresholds`: a quarter of the kinds left out of everything; thresholds are set by kinds that
  were left out within the rest, and what they call AI of the first.
- `documents`: probes of `--documents` documents of a kind. All that was drawn of left-out kinds is
  judged, and words are fitted on all that was drawn of the others: the probe's documents alone
  vary, and its ridge, which is chosen within them.

"Gain" is the mean over AI kinds of what is found more than by the first number (or the last layer),
with its standard error over AI kinds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.neural.fit_shipped import usable
from benchmarks.neural.unseen_kinds import (
    Reading,
    among_first,
    draw,
    halves,
    probe_scores,
    read_all,
)
from benchmarks.quality import unseen_kinds as tables
from numpy.typing import NDArray

from lowbg.decision.calibration import FPR_GRID
from lowbg.decision.lm import heed
from lowbg.jobs.train import calibration
from lowbg.jobs.train.corpus import Row, tokenize_rows
from lowbg.jobs.train.probe import MIN_WORDS, Documents, fit, left_out, spread_over_folds
from lowbg.jobs.train.regression import Floats
from lowbg.jobs.train.style import alike
from lowbg.scorers.lm.store import ModelFolder, locate
from lowbg.scorers.lm.surprise import weigh

Chosen = NDArray[np.bool_]
Places = NDArray[np.int64]
Scores = Mapping[str, Floats]

RIDGE = 0.3
SPREAD = 1.65
"""The deviation of the sum of both z in human text (a correlation of .36)."""

WORDS = tables.Method("words", style=0.75)
AT = FPR_GRID.index(tables.TARGET)
TABLES = ("evidence", "probe", "thresholds", "documents")


@dataclass(frozen=True, slots=True)
class Read:
    """Documents, one entry each: what of them is known by words, states by layer, surprise, and
    each document's place among those of its kind.
    """

    material: tables.Material
    documents: Documents
    states: Mapping[int, Floats]
    surprise: Floats
    place: Places

    def judged(self, out: Chosen) -> Places:
        """The places of those that are left out and long enough."""
        return np.flatnonzero(out & (self.documents.words >= tables.MIN_WORDS))

    def rest(self, out: Chosen) -> Chosen:
        """The documents of other datasets than those that are left out."""
        names = self.documents.datasets
        return ~np.isin(names, np.unique(names[out]))

    def some(self, inside: Places) -> Documents:
        """The documents at some places."""
        own = self.documents
        return Documents(own.is_ai[inside], own.datasets[inside], own.words[inside])


def read(rows: Sequence[Row], folder: ModelFolder, reading: Reading, cache: Path | None) -> Read:
    """The rows of at least `MIN_WORDS`."""
    counted = tokenize_rows(rows, "en").words_per_document
    rows = [row for row, words in zip(rows, counted, strict=True) if words >= MIN_WORDS]
    found, surprise = read_all(rows, folder, reading, cache)
    material = tables.Material(rows, "en")
    place = np.zeros(len(rows), np.int64)
    for kind in np.unique(material.kind):
        own = np.flatnonzero(material.kind == kind)
        place[own] = np.arange(len(own))
    documents = Documents(material.is_ai, material.dataset, material.words.astype(np.int64))
    states = {layer: found[:, k].astype(np.float64) for k, layer in enumerate(reading.layers)}
    return Read(material, documents, states, surprise, place)


def probe_z(
    states: Floats, known: Read, fitted: Chosen, held: Places, ridge: float = RIDGE
) -> Floats:
    """z of the held documents by a probe of the fitted ones, in deviations of human text that was
    left out within them.
    """
    inside = np.flatnonzero(fitted)
    own = known.some(inside)
    within = left_out(states[inside], own, spread_over_folds(own, 4), ridge)
    human = ~own.is_ai & (own.words >= tables.MIN_WORDS)
    spread = calibration.fit_spread(within[human], own.words[human], alike(own.datasets[human]))
    score = fit(states, known.documents, inside, ridge).log_odds(states[held])
    return spread.standardise(score, known.documents.words[held])


def by_surprise(known: Read, fitted: Chosen, held: Places) -> tuple[Floats, Floats, Floats]:
    """z of the held documents by evenness and by curvature, which are no fits, in deviations of the
    fitted human text; and by a probe of the figures of surprise.
    """
    own = known.documents
    human = np.flatnonzero(fitted & ~own.is_ai & (own.words >= tables.MIN_WORDS))
    weights = alike(own.datasets[human])
    even = weigh(known.surprise[human], weights).evenness(known.surprise)
    curvature = known.surprise[:, -1]
    found = []
    for figure in (even, curvature):
        spread = calibration.fit_spread(figure[human], own.words[human], weights)
        found.append(spread.standardise(figure[held], own.words[held]))
    return found[0], found[1], probe_z(known.surprise, known, fitted, held, 0.1)


def ways(words: Floats, probe: Floats, surprise: tuple[Floats, Floats, Floats]) -> Scores:
    """The score of each way of joining."""
    even, curvature, of_figures = surprise
    both = words + probe
    scores = {
        "words and style": words,
        "probe": probe,
        "**joined 1 : 1**": both,
        "joined 1 : 2": words + 2 * probe,
        "joined 2 : 1": 2 * words + probe,
        "figures of surprise, fitted like a probe": of_figures,
        "curvature": curvature,
        "evenness": even,
        "joined + .3 fitted surprise": both + 0.3 * of_figures,
        "joined + .3 curvature": both + 0.3 * curvature,
        "joined + .3 evenness": both + 0.3 * even,
        "joined + .6 evenness": both + 0.6 * even,
        "**the higher of joined and evenness** (`--lm-surprise`)": heed(both / SPREAD, even),
    }
    for less in (0.5, 1.0, 1.5):
        name = f"the same, evenness lowered by {less:g}"
        scores[name] = heed(both / SPREAD, even - less)
    for less in (0.0, 0.5, 1.0):
        name = f"the higher of joined and curvature lowered by {less:g}"
        scores[name] = heed(both / SPREAD, curvature - less)
    for least in (0.0, -0.5, -1.0, -1.5):
        scores[f"joined, the probe's z at least {least:g}"] = words + np.maximum(probe, least)
    for least in (-0.5, -1.0):
        name = f"joined, both at least {least:g}"
        scores[name] = np.maximum(words, least) + np.maximum(probe, least)
    for most in (3.0, 4.0, 5.0):
        name = f"joined, both at most {most:g}"
        scores[name] = np.minimum(words, most) + np.minimum(probe, most)
    for less in (0.0, 0.5, 1.0):
        name = f"the higher of joined and words lowered by {less:g}"
        scores[name] = np.maximum(both / SPREAD, words - less)
    above = np.maximum(words + 1, 0.0), np.maximum(probe + 1, 0.0)
    scores["√(a² + b²) of what is above −1"] = np.hypot(*above) + 1e-3 * both
    scores["sum of ln(1 + eᶻ)"] = np.logaddexp(0.0, words) + np.logaddexp(0.0, probe)
    return scores


def over_halves(
    known: Read, rounds: int, scores: Callable[[Chosen, Places, Floats], Scores]
) -> dict[str, list[tables.Found]]:
    """What each of `scores` (of the fitted documents, the held places, and words' z there) found in
    all splits.
    """
    found: dict[str, list[tables.Found]] = {}
    for out in halves(known.material, rounds):
        fitted, held = known.rest(out), known.judged(out)
        words = tables.scores(known.material, fitted, held, WORDS)
        for name, score in scores(fitted, held, words).items():
            found.setdefault(name, []).append(tables.judge(known.material, held, score))
        _tell()
    return found


def found_by_ways(known: Read, rounds: int) -> dict[str, list[tables.Found]]:
    """What every way of joining found."""
    states = known.states[max(known.states)]

    def scores(fitted: Chosen, held: Places, words: Floats) -> Scores:
        return ways(words, probe_z(states, known, fitted, held), by_surprise(known, fitted, held))

    return over_halves(known, rounds, scores)


def found_by_probes(known: Read, rounds: int) -> dict[str, list[tables.Found]]:
    """What probes of each layer, and of each ridge, found with words."""
    last = max(known.states)
    tried = {f"layer {layer}": (layer, RIDGE) for layer in known.states}
    tried |= {f"layer {last}, ridge {ridge:g}": (last, ridge) for ridge in (0.1, 1.0, 3.0)}

    def scores(fitted: Chosen, held: Places, words: Floats) -> Scores:
        return {
            name: words + probe_z(known.states[layer], known, fitted, held, ridge)
            for name, (layer, ridge) in tried.items()
        }

    return over_halves(known, rounds, scores)


def found_by_documents(
    known: Read, counts: Sequence[int], rounds: int
) -> dict[str, list[tables.Found]]:
    """What probes of so many documents of a kind found, alone and with words; the ridge is chosen
    within the fitted ones, as it is for a probe of everything.
    """
    last = max(known.states)

    def scores(fitted: Chosen, held: Places, words: Floats) -> Scores:
        z = {}
        for n in counts:
            some = fitted & (known.place < n)
            z[n] = probe_scores({last: known.states[last]}, known.documents, some, held)[0]
        alone = {f"probe, {n}": own for n, own in z.items()}
        return alone | {f"joined, {n}": words + own for n, own in z.items()}

    return over_halves(known, rounds, scores)


def quarters(material: tables.Material, rounds: int) -> Iterator[Chosen]:
    """Which documents' kinds are left out: four complementary quarters a round."""
    names = np.unique(material.kind)
    random = np.random.default_rng(5)
    for _ in range(rounds):
        kinds = [
            random.permutation([kind for kind in names if kind.startswith(label)])
            for label in ("ai/", "human/")
        ]
        for part in range(4):
            yield np.isin(material.kind, np.concatenate([own[part::4] for own in kinds]))


RULES = {
    "quantiles stored of each kind": None,
    "the documents themselves": 0.0,
    "**and half a standard error of the kinds' mean**": 0.5,
    "one standard error": 1.0,
    "1.64 standard errors": 1.64,
}


def threshold(z: Floats, names: NDArray[np.str_], sure: float | None) -> float:
    """That of human text for 1 %: `sure` standard errors below, or by stored quantiles."""
    if sure is not None:
        return calibration.document_thresholds(z, names, sure)[AT]
    stored = {
        str(name): {
            "documents": int((names == name).sum()),
            "z": calibration.quantiles(z[names == name]),
        }
        for name in np.unique(names)
    }
    return calibration.thresholds(stored)[AT]


def found_at_thresholds(known: Read, rounds: int) -> dict[tuple[str, str], list[list[float]]]:
    """By rule and evidence, of each split: the mean and worst rate of human kinds, and recall."""
    found: dict[tuple[str, str], list[list[float]]] = {}
    states = known.states[max(known.states)]
    kind = known.material.kind
    for out in quarters(known.material, rounds):
        fitted, held = known.rest(out), known.judged(out)
        inside = known.judged(fitted)
        own = known.some(inside)
        fold = spread_over_folds(own, 4)
        words, log_odds = np.zeros(len(inside)), np.zeros(len(inside))
        for k in range(4):
            at = np.flatnonzero(fold == k)
            less = fitted & ~np.isin(known.documents.datasets, np.unique(own.datasets[at]))
            words[at] = tables.scores(known.material, less, inside[at], WORDS)
            linear = fit(states, known.documents, np.flatnonzero(less), RIDGE)
            log_odds[at] = linear.log_odds(states[inside[at]])
        people = ~own.is_ai
        names = own.datasets[people]
        spread = calibration.fit_spread(log_odds[people], own.words[people], alike(names))
        linear = fit(states, known.documents, np.flatnonzero(fitted), RIDGE)
        probe = spread.standardise(linear.log_odds(states[held]), known.documents.words[held])
        joined = probe + tables.scores(known.material, fitted, held, WORDS)
        z = spread.standardise(log_odds, own.words)
        for rule, sure in RULES.items():
            for evidence, known_z, score in (("probe", z, probe), ("joined", z + words, joined)):
                cut = threshold(known_z[people], names, sure)
                rates = {k: float(np.mean(score[kind[held] == k] >= cut)) for k in set(kind[held])}
                human = [rate for k, rate in rates.items() if k.startswith("human/")]
                ai = [rate for k, rate in rates.items() if k.startswith("ai/")]
                told = [float(np.mean(human)), max(human), float(np.mean(ai))]
                found.setdefault((rule, evidence), []).append(told)
        _tell()
    return found


def _tell() -> None:
    print(".", end="", file=sys.stderr, flush=True)


def _error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _by_kind(found: Sequence[tables.Found]) -> dict[str, float]:
    """Recall of each AI kind over the splits that left it out."""
    kinds = sorted({kind for each in found for kind in each.recall})
    return {k: float(np.mean([f.recall[k] for f in found if k in f.recall])) for k in kinds}


def line(name: str, found: Sequence[tables.Found], last: str) -> str:
    """A row of a table: with the error over splits, and another last cell."""
    recall = [value for each in found for value in each.recall.values()]
    area = [value for each in found for value in each.auroc.values()]
    error = _error([float(np.mean([*each.recall.values()])) for each in found])
    worst = np.mean([each.worst for each in found])
    return (
        f"| {name} | {100 * np.mean(recall):.1f} ± {100 * error:.1f} % | "
        f"{np.quantile(recall, 0.25):.0%} | {np.mean(area):.3f} | {worst:.1%} | {last} |"
    )


def print_found(
    found: Mapping[str, Sequence[tables.Found]], last: str, bases: Sequence[str]
) -> None:
    """A line a method; the last column is its loss, or gain, against that of `bases` which came
    before it last, or else the last one.
    """
    base = bases[-1]
    print(f"| method | recall | lowest quarter | AUROC | worst human kind | {last} |")
    print("|---|---|---|---|---|---|")
    for name, own in found.items():
        base = name if name in bases else base
        cell = "–" if name == base else {"loss": loss, "gain": gain}[last](found[base], own)
        print(line(name, own, cell), flush=True)


def loss(base: Sequence[tables.Found], own: Sequence[tables.Found]) -> str:
    """What is found less than by `base`, where it is less."""
    pairs = zip(base, own, strict=True)
    less = [max(a.recall[k] - b.recall[k], 0.0) for a, b in pairs for k in a.recall]
    return f"{100 * np.mean(less):.1f}"


def gain(base: Sequence[tables.Found], own: Sequence[tables.Found]) -> str:
    """What is found more than by `base`, by AI kind, and its error over them."""
    first = _by_kind(base)
    gains = [value - first[kind] for kind, value in _by_kind(own).items()]
    return f"{100 * np.mean(gains):+.1f} ± {100 * _error(gains):.1f}"


def print_thresholds(found: Mapping[tuple[str, str], Sequence[Sequence[float]]]) -> None:
    """A line a rule and evidence."""
    print("| set by | evidence | human called AI | worst human kind | recall |")
    print("|---|---|---|---|---|")
    for (rule, evidence), told in found.items():
        mean, worst, recall = np.mean(told, axis=0)
        error = _error([each[0] for each in told])
        print(f"| {rule} | {evidence} | {100 * mean:.2f} ± {100 * error:.2f} % | {worst:.0%} | "
              f"{recall:.1%} |", flush=True)  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neural.joining_trials")
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"of {', '.join(TABLES)}")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--layers", type=int, nargs="+", default=[12, 15, 18])
    parser.add_argument("--tokens", type=int, default=192)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--documents", type=int, nargs="+", default=[20, 40, 80, 120])
    parser.add_argument("--splits", type=int, default=16)
    options = parser.parse_args(argv)
    chosen = options.tables or TABLES
    if set(chosen) - {*TABLES}:
        parser.error(f"a table is one of {', '.join(TABLES)}")
    folder = locate(options.model, "MODEL")
    most = max(options.rows, *options.documents) if "documents" in chosen else options.rows
    rows = usable(draw(options.data, ["train"], most), options.data)
    halved = max(1, options.splits // 2)
    small = None
    if {*chosen} - {"documents"}:
        reading = Reading(tuple(options.layers), options.tokens, surprise=True)
        few = [rows[i] for i in np.flatnonzero(among_first(rows, options.rows))]
        small = read(few, folder, reading, options.cache)
    for name in chosen:
        known = small
        if name == "documents" or known is None:
            reading = Reading(tuple(options.layers), options.tokens)
            known = read(rows, folder, reading, options.cache)
        kinds = np.unique(known.material.kind)
        count = sum(str(kind).startswith("ai/") for kind in kinds)
        print(
            f"\n{name}: {len(known.place):,} documents of {count} kinds of AI text and "
            f"{len(kinds) - count} of human text, {folder.label}, layer {max(known.states)}\n"
        )
        if name == "evidence":
            print_found(found_by_ways(known, halved), "loss", ["words and style"])
        elif name == "probe":
            print_found(found_by_probes(known, halved), "gain", [f"layer {max(known.states)}"])
        elif name == "thresholds":
            print_thresholds(found_at_thresholds(known, max(1, options.splits // 4)))
        else:
            found = found_by_documents(known, options.documents, halved)
            first = options.documents[0]
            print_found(found, "gain", [f"probe, {first}", f"joined, {first}"])
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
