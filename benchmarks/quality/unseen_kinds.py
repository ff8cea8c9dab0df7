"""What a way of fitting finds of kinds of text that it never saw: `… unseen_kinds DATA LANGUAGE…`.

`python -m benchmarks.quality.unseen_kinds DATA LANGUAGE… [--rows 300] [--rounds 2]` reads
`DATA/labelled/train` and `DATA/prose` alone. A dataset is a kind. In each round a quarter of the
kinds of AI text and a third of the kinds of human text are left out together (with their
datasets' other label), a table of word 1–3-grams is fitted on the rest, and what was left out is
scored. The threshold calls 1 % of the left-out human kinds AI on average, each counting alike.
Prints a line a method: mean recall of the left-out AI kinds with its lowest quarter, mean AUROC
against the left-out human kinds, and the worst human kind. Everything about how tables are fitted
is chosen by this, so that development data stays for measuring.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowbg.jobs.eval.evaluate import auroc
from lowbg.jobs.train.calibration import fit_spread
from lowbg.jobs.train.corpus import Row, in_language, list_files, read_rows, tokenize_rows
from lowbg.jobs.train.log_odds import naive_bayes
from lowbg.jobs.train.regression import Floats, Sparse, fit_logistic
from lowbg.jobs.train.windows import Windows, count_ngrams, cut

Chosen = NDArray[np.bool_]

MIN_WORDS, MIN_ROWS = 75, 20
"""The least a document and a left-out kind need."""

TARGET = 0.01
COMMON = 300
"""Words whose share of a document says what register it is in."""


@dataclass(frozen=True, slots=True)
class Method:
    """A way of fitting and scoring.

    `naive_bayes`: its share of the score. `ridge`: of the regression that says, from the shares of
    the commonest words, what log-odds human text of such a register has; they are taken off. It is
    fitted on human text scored by fits without its kind. Null: no such regression.
    """

    name: str
    naive_bayes: float = 0.5
    l2: float = 1e-5
    ridge: float | None = None


METHODS = (
    Method("regression", naive_bayes=0.0),
    Method("regression and Naive Bayes"),
    Method("regression, register taken off", naive_bayes=0.0, ridge=1.0),
    Method("regression and Naive Bayes, register taken off", ridge=1.0),
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
        self.common = self._common(tokens.words)

    def _common(self, words: NDArray[np.uint64]) -> NDArray[np.float32]:
        """documents × `COMMON`: the root of the share of each of the commonest words."""
        document = np.repeat(np.arange(len(self.words)), self.words)
        unique, place = np.unique(words, return_inverse=True)
        frequency = np.bincount(place, ~self.is_ai[document], minlength=len(unique))
        column = np.full(len(unique), -1)
        column[np.argsort(-frequency, kind="stable")[:COMMON]] = np.arange(min(COMMON, len(unique)))
        found = column[place]
        cell = document[found >= 0] * COMMON + found[found >= 0]
        counts = np.bincount(cell, minlength=len(self.words) * COMMON)
        shares = counts.reshape(-1, COMMON) / np.maximum(self.words, 1)[:, None]
        return np.asarray(np.sqrt(shares), np.float32)

    def window_weights(self, documents: Chosen) -> Floats:
        """Every kind weighs alike inside its label, both labels alike; 0 for other documents."""
        document = self.windows.document
        pieces = np.bincount(document, minlength=len(self.words))
        base = np.sqrt(np.minimum(1.0, self.windows.words / 100) / pieces[document])
        base *= documents[document] * np.where(self.original, 1.0, 0.5)[document]
        kinds, of = np.unique(self.kind[document], return_inverse=True)
        mass = np.bincount(of, base, minlength=len(kinds))
        weights = base / np.maximum(mass, 1e-12)[of]
        is_ai = self.is_ai[document]
        for label in (False, True):
            weights[is_ai == label] /= weights[is_ai == label].sum()
        return np.asarray(weights)

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


def log_odds(
    material: Material, fitted: Chosen, held: NDArray[np.int64], method: Method
) -> list[Floats]:
    """The log-odds of the held documents by a fit of others: of each part of the method."""
    weights = material.window_weights(fitted)
    at = np.flatnonzero(weights > 0)
    matrix: Sparse = material.matrix.rows(at)
    is_ai, weights = material.is_ai[material.windows.document[at]], weights[at]
    parts = [fit_logistic(matrix, is_ai, weights, method.l2, 60)[0]]
    if method.naive_bayes:
        parts.append(naive_bayes(matrix, is_ai, weights, 2.0))
    return [material.mean_odds(part, held) for part in parts]


def scores(material: Material, fitted: Chosen, held: NDArray[np.int64], method: Method) -> Floats:
    """One score a held document, of which only differences mean anything."""
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
    weights = _alike(material.kind[places])
    shares = (1.0 - method.naive_bayes, method.naive_bayes)
    scale = [
        share / np.sqrt(weights @ (x - weights @ x) ** 2)
        for share, x in zip(shares, inside, strict=False)
    ]
    joined = sum((x * s for x, s in zip(parts, scale, strict=True)), np.zeros(len(held)))
    if method.ridge is None:
        return joined
    target = sum((x * s for x, s in zip(inside, scale, strict=True)), np.zeros(len(places)))
    return joined - _expected(material.common, places, target, weights, held, method.ridge)


def _alike(kinds: NDArray[np.str_]) -> Floats:
    """Weights by which every kind counts alike; they add up to 1."""
    _, of, size = np.unique(kinds, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / size[of] / len(size))


def _expected(
    features: NDArray[np.float32],
    known: NDArray[np.int64],
    target: Floats,
    weights: Floats,
    held: NDArray[np.int64],
    ridge: float,
) -> Floats:
    """Ridge regression of `target` on standardised features of `known`, for `held`, mean off."""
    mean = weights @ features[known]
    spread = np.sqrt(weights @ (features[known] - mean) ** 2) + 1e-4
    x, new = (np.clip((features[i] - mean) / spread, -5, 5) for i in (known, held))
    gram = (x * weights[:, None]).T @ x + ridge * np.eye(x.shape[1])
    return np.asarray(
        new @ np.linalg.solve(gram, (x * weights[:, None]).T @ (target - weights @ target))
    )


@dataclass(frozen=True, slots=True)
class Found:
    """Of one split: recall and AUROC of each AI kind, and the worst rate of a human kind."""

    recall: dict[str, float]
    auroc: dict[str, float]
    worst: float


def judge(material: Material, held: NDArray[np.int64], score: Floats) -> Found:
    """What a threshold finds that calls `TARGET` of the left-out human kinds AI on average."""
    is_ai, kind, words = material.is_ai[held], material.kind[held], material.words[held]
    spread = fit_spread(score[~is_ai], words[~is_ai], _alike(kind[~is_ai]))
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
    options = parser.parse_args(argv)
    for language in options.languages:
        material = gather(options.data, language, options.rows)
        count = Counter(kind.partition("/")[0] for kind in set(material.kind.tolist()))
        print(f"\n### {language}: {count['ai']} kinds of AI text, {count['human']} of human text\n")
        print(
            "| method | recall | lowest quarter | AUROC | worst human kind |\n|---|---|---|---|---|"
        )
        for method in METHODS:
            found = [
                judge(material, held, scores(material, fitted, held, method))
                for fitted, held in splits(material, options.rounds)
            ]
            print(line(method.name, found), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
