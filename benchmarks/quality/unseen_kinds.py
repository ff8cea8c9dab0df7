"""What a way of fitting finds of kinds of text that it never saw: `… unseen_kinds DATA LANGUAGE…`.

`python -m benchmarks.quality.unseen_kinds DATA LANGUAGE… [--rows 300] [--rounds 2]` reads
`DATA/labelled/train` and `DATA/prose` alone. A dataset is a kind. In each round a quarter of the
kinds of AI text and a third of the kinds of human text are left out together (with their
datasets' other label), a table of word 1–3-grams is fitted on the rest, and what was left out is
scored. The threshold calls 1 % of the left-out human kinds AI on average, each counting alike.
Prints a line a method: mean recall of the left-out AI kinds with its lowest quarter, mean AUROC
against the left-out human kinds, and the worst human kind. Everything about how tables are fitted
is chosen by this, so that development data stays for measuring.

`--curve 1 2 4 8 16` prints how that grows with the kinds of AI text that a fit sees.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowbg.decision.calibration import MAX_STYLE
from lowbg.jobs.eval.evaluate import auroc
from lowbg.jobs.train.calibration import fit_spread
from lowbg.jobs.train.corpus import Row, in_language, list_files, read_rows, tokenize_rows
from lowbg.jobs.train.log_odds import Sample, balance, naive_bayes
from lowbg.jobs.train.regression import Floats, Sparse, fit_logistic
from lowbg.jobs.train.style import alike, human_style, measure_rows, shipped_fits
from lowbg.jobs.train.style import log_odds as style_log_odds
from lowbg.jobs.train.windows import Windows, count_ngrams, cut
from lowbg.text.style import standardise

Chosen = NDArray[np.bool_]

MIN_WORDS, MIN_ROWS = 75, 20
"""The least a document and a left-out kind need."""

TARGET = 0.01


@dataclass(frozen=True, slots=True)
class Method:
    """A way of scoring: Naive Bayes' share of the words' log-odds, and the weight of the style.

    `words` is false for the style alone.
    """

    name: str
    naive_bayes: float = 0.5
    style: float = 0.0
    words: bool = True
    l2: float = 1e-5


METHODS = (
    Method("words"),
    Method("words and style", style=0.75),
    Method("style", style=1.0, words=False),
)


class Material:
    """The rows of a language as windows × n-grams; arrays have one entry a document."""

    def __init__(self, rows: Sequence[Row], language: str) -> None:
        tokens = tokenize_rows(rows, language)
        self.words = np.diff(tokens.word_starts)
        self.windows: Windows = cut(tokens.word_starts, min_words=25, max_windows=4)
        _, self.matrix = count_ngrams(tokens.words, self.windows, 3, 5)
        self.is_ai = np.array([row.is_ai for row in rows])
        self.dataset = np.array([row.dataset for row in rows])
        self.kind = np.array([("ai/" if row.is_ai else "human/") + row.dataset for row in rows])
        self.original = np.array([not (row.is_ai and row.attack) for row in rows])
        features = measure_rows(rows, language)
        judged = ~self.is_ai & (self.words >= MIN_WORDS)
        mean, spread = human_style(features[judged], alike(self.dataset[judged]))
        weights = shipped_fits().of(self.dataset.tolist())
        self.style = style_log_odds(standardise(features, mean, spread), weights)

    def window_weights(self, documents: Chosen) -> Floats:
        """Every kind weighs alike inside its label, both labels alike; 0 for other documents."""
        document = self.windows.document
        pieces = np.bincount(document, minlength=len(self.words))
        base = np.sqrt(np.minimum(1.0, self.windows.words / 100) / pieces[document])
        base *= np.where(self.original, 1.0, 0.5)[document]
        genre = np.full(len(document), "")
        sample = Sample(self.is_ai[document], self.dataset[document], document, base, genre)
        chosen = np.flatnonzero(documents[document])
        weights = np.zeros(len(document))
        weights[chosen] = balance(sample.rows(chosen))
        return weights

    def mean_odds(self, weights: Floats, documents: NDArray[np.int64]) -> Floats:
        """Log-odds a word of some documents under n-gram `weights`."""
        inside = np.zeros(len(self.words), np.bool_)
        inside[documents] = True
        at = np.flatnonzero(inside[self.windows.document])
        rows = self.matrix.rows(at)
        owner = self.windows.document[at]
        sums = np.bincount(owner, rows.times(weights) / rows.scale, minlength=len(self.words))
        words = np.bincount(owner, self.windows.words[at], minlength=len(self.words))
        return np.asarray(sums[documents] / np.maximum(words[documents], 1))


def gather(data: Path, language: str, most: int) -> Material:
    """At most `most` rows of every dataset and label, chosen by hash."""
    groups: dict[tuple[str, bool], list[Row]] = {}
    for folder in (data / "labelled" / "train", data / "prose"):
        for path in list_files([folder]):
            for row in read_rows(path, "human"):
                if in_language(row, language) and row.language:
                    groups.setdefault((row.dataset, row.is_ai), []).append(row)
    rows = [
        row
        for key in sorted(groups)
        for row in sorted(groups[key], key=lambda r: blake2b((r.id or r.text).encode()).digest())[
            :most
        ]
    ]
    return Material(rows, language)


def splits(material: Material, rounds: int) -> Iterator[tuple[Chosen, NDArray[np.int64]]]:
    """Which documents are fitted on, and the places of those that are left out."""
    judged = material.words >= MIN_WORDS
    sizes = Counter(material.kind[judged].tolist())
    kinds = {
        label: [k for k in sorted(sizes) if k.startswith(label) and sizes[k] >= MIN_ROWS]
        for label in ("ai/", "human/")
    }
    random = np.random.default_rng(1)
    for _ in range(rounds):
        ai, human = (random.permutation(kinds[label]) for label in ("ai/", "human/"))
        for k in range(4):
            out = {*ai[k::4], *human[k % 3 :: 3]}
            names = {name.partition("/")[2] for name in out}
            held = judged & np.isin(material.kind, sorted(out))
            yield ~np.isin(material.dataset, sorted(names)), np.flatnonzero(held)


def with_few_kinds(material: Material, fitted: Chosen, kinds: int, seed: int) -> Chosen:
    """Those documents to fit on, with AI text of `kinds` of its kinds only, drawn by `seed`."""
    there = np.unique(material.kind[fitted & material.is_ai])
    seen = np.random.default_rng(seed).permutation(there)[:kinds]
    return fitted & (~material.is_ai | np.isin(material.kind, seen))


def log_odds(
    material: Material, fitted: Chosen, held: NDArray[np.int64], method: Method
) -> list[Floats]:
    """The log-odds of the held documents by a fit of others: of each part of the method."""
    weights = material.window_weights(fitted)
    at = np.flatnonzero(weights > 0)
    matrix: Sparse = material.matrix.rows(at)
    is_ai, weights = material.is_ai[material.windows.document[at]], weights[at]
    parts = (
        fit_logistic(matrix, is_ai, weights, method.l2, 60)[0],
        naive_bayes(matrix, is_ai, weights, 2.0),
    )
    return [material.mean_odds(part, held) for part in parts]


def scores(material: Material, fitted: Chosen, held: NDArray[np.int64], method: Method) -> Floats:
    """One score a held document, of which only differences mean anything.

    Words are measured by human text that fits of other kinds scored, and so is the style, whose
    weights are of a fit that left the project of a dataset out in every language.
    """
    parts = log_odds(material, fitted, held, method)
    human = np.unique(material.kind[fitted & ~material.is_ai])
    judged = fitted & (material.words >= MIN_WORDS)
    known, of_known = [], []
    for k in range(3):
        out = np.isin(material.kind, human[k::3])
        places = np.flatnonzero(out & judged)
        known.append(places)
        of_known.append(log_odds(material, fitted & ~out, places, method))
    places = np.concatenate(known)
    inside = [np.concatenate(part) for part in zip(*of_known, strict=True)]
    weights = alike(material.kind[places])
    shares = (1.0 - method.naive_bayes, method.naive_bayes)
    scale = [
        share / fit_spread(x, material.words[places], weights).deviation(250)
        for share, x in zip(shares, inside, strict=True)
    ]
    joined, target = (
        sum((x * s for x, s in zip(each, scale, strict=True)), np.zeros(len(each[0])))
        for each in (parts, inside)
    )
    total = np.zeros(len(held))
    if method.words:
        spread = fit_spread(target, material.words[places], weights)
        total += spread.standardise(joined, material.words[held])
    if method.style:
        spread = fit_spread(material.style[places], material.words[places], weights)
        style = spread.standardise(material.style[held], material.words[held])
        total += method.style * np.clip(style, -MAX_STYLE, MAX_STYLE)
    return total


@dataclass(frozen=True, slots=True)
class Found:
    """Of one split: recall and AUROC of each AI kind, and the worst rate of a human kind."""

    recall: dict[str, float]
    auroc: dict[str, float]
    worst: float


def judge(material: Material, held: NDArray[np.int64], score: Floats) -> Found:
    """What a threshold finds that calls `TARGET` of the left-out human kinds AI on average."""
    is_ai, kind, words = material.is_ai[held], material.kind[held], material.words[held]
    spread = fit_spread(score[~is_ai], words[~is_ai], alike(kind[~is_ai]))
    z = spread.standardise(score, words)
    human = [z[kind == k] for k in np.unique(kind[~is_ai])]
    grid = np.quantile(z[~is_ai], np.linspace(0.5, 1.0, 2_000))
    rates = np.array([[np.mean(own > t) for own in human] for t in grid])
    place = int(np.argmax(rates.mean(axis=1) <= TARGET))
    recall, area = {}, {}
    for k in np.unique(kind[is_ai]):
        own = z[(kind == k) & material.original[held]]
        if len(own) >= MIN_ROWS:
            recall[k] = float(np.mean(own > grid[place]))
            area[k] = float(np.mean([auroc(people, own) for people in human]))
    return Found(recall, area, float(rates[place].max()))


def line(name: str, found: Sequence[Found]) -> str:
    """A row of the table."""
    recall = [value for each in found for value in each.recall.values()]
    area = [value for each in found for value in each.auroc.values()]
    return (
        f"| {name} | {np.mean(recall):.1%} | {np.quantile(recall, 0.25):.0%} | "
        f"{np.mean(area):.3f} | {np.mean([each.worst for each in found]):.1%} |"
    )


def main(argv: Sequence[str]) -> int:
    """Prints a table a language."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.unseen_kinds")
    parser.add_argument("data", type=Path)
    parser.add_argument("languages", nargs="+")
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--curve", type=int, nargs="+", default=[], metavar="KINDS", help="kinds of AI text to fit"
    )
    options = parser.parse_args(argv)
    for language in options.languages:
        material = gather(options.data, language, options.rows)
        count = Counter(kind.partition("/")[0] for kind in set(material.kind.tolist()))
        print(f"\n### {language}: {count['ai']} kinds of AI text, {count['human']} of human text\n")
        print(
            "| method | recall | lowest quarter | AUROC | worst human kind |\n|---|---|---|---|---|"
        )
        for kinds, method in product(options.curve or [None], METHODS):
            found = []
            for seed, (fitted, held) in enumerate(splits(material, options.rounds)):
                if kinds is not None:
                    fitted = with_few_kinds(material, fitted, kinds, seed)
                score = scores(material, fitted, held, method)
                found.append(judge(material, held, score))
            name = method.name if kinds is None else f"{method.name}, {kinds} kinds of AI text"
            print(line(name, found), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
