"""What tables and probe find of short English text: `… short_text DATA MODEL --cache DIR [TABLE…]`.

`python -m benchmarks.neural.short_text DATA MODEL --cache DIR` prints the tables that are named, by
default all of them. Short text has 25 to 74 words; "short" are documents that have no more, "cut"
the beginnings of longer ones (`short_states.py`), and they are judged by themselves. A dataset's
rows of one label are a kind; kinds count alike, those of fewer than `MIN_ROWS` documents don't.
`--rows` documents of a kind are fitted and cut, `--short-rows` short ones judged.

- `counts`: how many there are.
- `left_out`: text of `DATA/labelled/train` that the shipped probe may be fitted on. Each document
  is scored by fits without its dataset (`--folds` parts of the datasets are left out in turn), of
  words, and of probes that were fitted on different text. z are in deviations of human text of the
  other parts. Recall is the mean over AI kinds at a threshold that calls 2 % of the human kinds of
  the set AI on average.
- `thresholds`: those of human text of the other parts, set as `lowbg train --probe` sets them, and
  what they call AI of the part that is left out.
- `dev`: what the shipped tables and the shipped probe say of all short documents of
  `DATA/labelled/dev`, on which nothing was fitted or chosen.

Intervals are 95 %, from drawing kinds, and documents within them, anew; those of gains draw the
same for both.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from benchmarks.neural.development_sets import Read, judged
from benchmarks.neural.fit_shipped import usable
from benchmarks.neural.made import made_by
from benchmarks.neural.short_states import (
    MIN_ROWS,
    counts,
    cut_rows,
    lengths,
    short_rows,
    states_of,
)
from benchmarks.neural.unseen_kinds import draw
from benchmarks.quality import unseen_kinds as words_only
from numpy.typing import NDArray

from lowbg.arrays import floats
from lowbg.config import LmSpread, Policy
from lowbg.decision.calibration import FPR_GRID, MAX_STYLE, Calibration
from lowbg.decision.decide import PHRASE_LOG_ODDS, STYLE_LOG_ODDS
from lowbg.decision.limits import PERPLEXITY
from lowbg.decision.lm import standardise
from lowbg.jobs.eval.evaluate import auroc
from lowbg.jobs.train import calibration
from lowbg.jobs.train.corpus import Row, as_text
from lowbg.jobs.train.probe import Documents, fit, spread_over_folds, threshold_at
from lowbg.jobs.train.regression import Floats
from lowbg.jobs.train.style import alike
from lowbg.records import Metadata
from lowbg.runs.engine import Engine
from lowbg.scorers.lm.probes import Probe
from lowbg.scorers.lm.shipped import shipped_probes
from lowbg.scorers.lm.store import ModelFolder, locate

Chosen = NDArray[np.bool_]

RATE = 0.02
"""Of human kinds called AI on average, at which recall is told."""

RIDGE = 0.1
"""The one of the shipped probe."""

PROBE = "probe of whole documents (as shipped)"
JOINED = "words and that probe"
JOINED_CUT = "words and the probe of whole and cut ones"
DRAWS = 1000
TABLES = ("counts", "left_out", "thresholds", "dev")
FORMS = ("whole", "cut", "short")


@dataclass(frozen=True, slots=True)
class Texts:
    """Documents, one entry each, of three forms: as they are drawn for a probe, their beginnings,
    and short ones. `states` are documents × width.
    """

    rows: Sequence[Row]
    form: NDArray[np.str_]
    states: Floats
    material: words_only.Material
    documents: Documents

    def of(self, *forms: str) -> Chosen:
        """Which have one of these forms."""
        return np.isin(self.form, forms)


def gather(data: Path, folder: ModelFolder, cache: Path, most: int, most_short: int) -> Texts:
    """Text of train: of a kind `most` whole documents, with what is cut of them, and short ones."""
    drawn = usable(draw(data, ["train"], most), data)
    whole = states_of(drawn, folder, cache)
    places, cut = cut_rows(drawn)
    short = usable(short_rows(data, "train", most_short), data)
    of_short = states_of(short, folder, cache)
    rows = [*drawn, *cut, *short]
    form = np.repeat(FORMS, [len(drawn), len(cut), len(short)])
    states = np.concatenate([whole.whole, whole.cut[places], of_short.whole]).astype(np.float64)
    material = words_only.Material(rows, "en")
    # What has too few words or no token for a probe serves nothing here.
    good = np.isfinite(states).all(axis=1) & (material.words >= 25)
    if not good.all():
        kept = np.flatnonzero(good)
        rows, form, states = [rows[i] for i in kept], form[kept], states[kept]
        material = words_only.Material(rows, "en")
    documents = Documents(material.is_ai, material.dataset, material.words.astype(np.int64))
    return Texts(rows, form, states, material, documents)


def folds_of(texts: Texts, folds: int) -> NDArray[np.int64]:
    """The part that each document's dataset is in, whatever its form."""
    return spread_over_folds(texts.documents, folds)


def by_words(texts: Texts, fold: NDArray[np.int64]) -> Floats:
    """z of words and style, each document by a fit without its part; fitted on whole documents."""
    material, n = texts.material, len(texts.rows)
    raw = np.zeros((2, n))
    for k in np.unique(fold):
        held = np.flatnonzero(fold == k)
        fitted = (fold != k) & texts.of("whole")
        parts = words_only.log_odds(material, fitted, held, words_only.Method("words"))
        raw[:, held] = parts
        _tell()
    total = np.zeros(n)
    for k in np.unique(fold):
        own = fold == k
        known = np.flatnonzero(~own & texts.of("whole") & ~material.is_ai & (material.words >= 75))
        n_words, weights = material.words[known], alike(material.kind[known])
        scale = [0.5 / calibration.fit_spread(x[known], n_words, weights).deviation(250)
                 for x in raw]  # fmt: skip
        joined = raw[0] * scale[0] + raw[1] * scale[1]
        z = standardised(joined, texts, own, texts.of("whole", "cut"))
        style = standardised(material.style, texts, own, texts.of("whole", "cut"))
        total[own] = z + 0.75 * np.clip(style, -MAX_STYLE, MAX_STYLE)
    return total


def standardised(score: Floats, texts: Texts, own: Chosen, by: Chosen) -> Floats:
    """z of the documents `own`, in deviations of human text `by` of others."""
    known = np.flatnonzero(by & ~own & ~texts.documents.is_ai)
    words, kinds = texts.documents.words, texts.documents.kinds
    spread = calibration.fit_spread(score[known], words[known], alike(kinds[known]))
    return spread.standardise(score[own], words[own])


def by_probe(
    texts: Texts, fold: NDArray[np.int64], fitted: Chosen, by: Chosen, ridge: float = RIDGE
) -> Floats:
    """z of every document by a probe of the documents `fitted` of other parts, in deviations of
    human text `by` of other parts.
    """
    raw, z = np.zeros(len(fold)), np.zeros(len(fold))
    for k in np.unique(fold):
        own = fold == k
        linear = fit(texts.states, texts.documents, np.flatnonzero(fitted & ~own), ridge)
        raw[own] = linear.log_odds(texts.states[own])
    for k in np.unique(fold):
        z[fold == k] = standardised(raw, texts, fold == k, by)
    return z


def ways(texts: Texts, fold: NDArray[np.int64]) -> dict[str, Floats]:
    """z of every document by each way to judge it."""
    whole, cut, both = texts.of("whole"), texts.of("cut"), texts.of("whole", "cut")
    everything = np.ones(len(fold), np.bool_)
    words = by_words(texts, fold)
    shipped = by_probe(texts, fold, whole, whole)
    with_cut = by_probe(texts, fold, both, both)
    cut_alone = by_probe(texts, fold, cut, cut)
    with_short = by_probe(texts, fold, everything, everything)
    found = {
        PROBE: shipped,
        "probe of whole and cut ones": with_cut,
        "probe of cut ones": cut_alone,
        "probe of whole, cut and short ones": with_short,
        "words and style": words,
        JOINED: words + shipped,
        "½ words and that probe": words / 2 + shipped,
        JOINED_CUT: words + with_cut,
        "words and the probe of cut ones": words + cut_alone,
    }
    for ridge in (0.3, 1.0):
        found[f"probe of whole documents, ridge {ridge:g}"] = by_probe(
            texts, fold, whole, whole, ridge
        )
    return found


@dataclass(frozen=True, slots=True)
class Kinds:
    """Scores by kind, of the kinds that are judged."""

    ai: Mapping[str, Floats]
    human: Mapping[str, Floats]


def kinds_of(score: Floats, documents: Documents, chosen: Chosen) -> Kinds:
    """Of the documents `chosen`, the kinds of at least `MIN_ROWS`."""
    own = {
        str(kind): score[chosen & (documents.kinds == kind)]
        for kind in np.unique(documents.kinds[chosen])
    }
    large = {kind: values for kind, values in own.items() if len(values) >= MIN_ROWS}
    return Kinds(
        {k: v for k, v in large.items() if k.startswith("ai/")},
        {k: v for k, v in large.items() if k.startswith("human/")},
    )


def recall(kinds: Kinds, rate: float = RATE) -> float:
    """Mean share found of AI kinds where `rate` of human kinds are called AI on average."""
    cut = threshold_at(list(kinds.human.values()), rate)
    return float(np.mean([np.mean(own > cut) for own in kinds.ai.values()]))


def anew(kinds: Kinds, random: np.random.Generator) -> Kinds:
    """The kinds, and the documents of each, drawn again."""

    def drawn(own: Mapping[str, Floats]) -> dict[str, Floats]:
        names = random.choice(sorted(own), len(own))
        return {
            f"{k}/{name}": random.choice(own[name], len(own[name])) for k, name in enumerate(names)
        }

    return Kinds(drawn(kinds.ai), drawn(kinds.human))


def interval(values: Sequence[float]) -> str:
    """The middle 95 %."""
    low, high = np.quantile(values, (0.025, 0.975))
    return f"{100 * low:.0f}–{100 * high:.0f}"


def drawn_again(kinds: Kinds) -> list[float]:
    """The recall of each draw; the same draws for the same kinds."""
    random = np.random.default_rng(7)
    return [recall(anew(kinds, random)) for _ in range(DRAWS)]


def left_out(texts: Texts, found: Mapping[str, Floats]) -> Iterator[str]:
    """A table a set."""
    for form in ("short", "cut"):
        chosen = texts.of(form)
        base: list[float] = []
        for name, score in found.items():
            kinds = kinds_of(score, texts.documents, chosen)
            draws = drawn_again(kinds)
            if not base:
                base = draws
                sizes = [sum(map(len, side.values())) for side in (kinds.ai, kinds.human)]
                yield (
                    f"\n{form}: {sizes[0]:,} documents of {len(kinds.ai)} kinds of AI text, "
                    f"{sizes[1]:,} of {len(kinds.human)} of human text\n\n| judged by | recall at "
                    "2 % (95 %) | gain (95 %) | at 1 % | lowest quarter | AUROC | worst human kind "
                    "|\n|---|---|---|---|---|---|---|"
                )
            gain = [a - b for a, b in zip(draws, base, strict=True)]
            cut = threshold_at(list(kinds.human.values()), RATE)
            by_kind = [float(np.mean(own > cut)) for own in kinds.ai.values()]
            worst = max(float(np.mean(own > cut)) for own in kinds.human.values())
            area = np.mean([[auroc(h, a) for h in kinds.human.values()] for a in kinds.ai.values()])
            told = "–" if draws is base else f"{100 * np.mean(gain):+.0f} ({interval(gain)})"
            yield (
                f"| {name} | {recall(kinds):.0%} ({interval(draws)}) | {told} | "
                f"{recall(kinds, 0.01):.0%} | {np.quantile(by_kind, 0.25):.0%} | {area:.3f} | "
                f"{worst:.0%} |"
            )


TOLD = (PROBE, "words and style", JOINED, JOINED_CUT)
"""The ways that are told by kind, and with thresholds."""


def by_kind(texts: Texts, found: Mapping[str, Floats]) -> Iterator[str]:
    """The share found of every AI kind at 2 %, and of human kinds of which some is called AI."""
    for form in ("short", "cut"):
        yield f"\n{form}, at 2 %:\n\n| kind | {' | '.join(TOLD)} |\n|---|{'---|' * len(TOLD)}"
        of = [kinds_of(found[name], texts.documents, texts.of(form)) for name in TOLD]
        cuts = [threshold_at(list(each.human.values()), RATE) for each in of]
        for side in ("ai", "human"):
            for kind in getattr(of[0], side):
                own = [getattr(each, side)[kind] for each in of]
                shares = [np.mean(z > cut) for z, cut in zip(own, cuts, strict=True)]
                if side == "ai" or any(shares):
                    cells = " | ".join(f"{share:.0%}" for share in shares)
                    yield f"| {kind} ({len(own[0])}) | {cells} |"


RULES: Mapping[str, Callable[[Texts], Chosen]] = {
    "whole documents": lambda texts: texts.of("whole"),
    "cut ones": lambda texts: texts.of("cut"),
    "short ones": lambda texts: texts.of("short"),
    "cut and short ones": lambda texts: texts.of("cut", "short"),
}
"""Which human text thresholds are set by."""


def called(kinds: Mapping[str, Floats]) -> str:
    """The mean share of kinds whose margin is none below 0, with its interval."""
    random = np.random.default_rng(7)
    is_ai = {name: (margin >= 0).astype(np.float64) for name, margin in kinds.items()}
    draws = []
    for _ in range(DRAWS):
        names = random.choice(sorted(is_ai), len(is_ai))
        draws.append(np.mean([random.choice(is_ai[n], len(is_ai[n])).mean() for n in names]))
    low, high = 100 * np.quantile(draws, (0.025, 0.975))
    return f"{np.mean([own.mean() for own in is_ai.values()]):.1%} ({low:.1f}–{high:.1f})"


def thresholds(texts: Texts, fold: NDArray[np.int64], found: Mapping[str, Floats]) -> Iterator[str]:
    """A row a way to judge and to set thresholds, at 1 and 2 %."""
    own = texts.documents
    columns = [f"{form}, at {rate} %: human called AI, AI found"
               for form in ("short", "cut") for rate in (1, 2)]  # fmt: skip
    yield f"\n| judged by | threshold of | {' | '.join(columns)} |\n|---|---|---|---|---|---|"
    for name in TOLD:
        score = found[name]
        for rule, which in RULES.items():
            margins = {}
            for rate in (0.01, 0.02):
                margin = np.zeros(len(score))
                for k in np.unique(fold):
                    human = which(texts) & (fold != k) & ~own.is_ai
                    stored = calibration.document_thresholds(score[human], own.datasets[human])
                    margin[fold == k] = score[fold == k] - stored[FPR_GRID.index(rate)]
                margins[rate] = margin
            cells = []
            for form in ("short", "cut"):
                for margin in margins.values():
                    kinds = kinds_of(margin, own, texts.of(form))
                    cells.append(f"{called(kinds.human)}, {called(kinds.ai)}")
            yield f"| {name} | {rule} | {' | '.join(cells)} |"


def tables_alone(rows: Sequence[Row], words: NDArray[np.int64]) -> Floats:
    """z by the shipped tables, of whatever length."""
    engine = Engine(Policy(), third_parties=False).setup()
    text = as_text(rows)
    nothing = pa.nulls(len(text), pa.string())
    language = pa.array(["en"] * len(text), pa.string())
    metadata = Metadata(id=nothing, language=language, date=nothing, url=nothing)
    columns = engine.judge(text, metadata).columns
    names = PHRASE_LOG_ODDS, PERPLEXITY, STYLE_LOG_ODDS
    log_odds, perplexity, style = (floats(columns[name]) for name in names)
    return Calibration.of(engine.models["en"]).standardise(log_odds, words, perplexity, style)


def spread_of(probe: Probe) -> LmSpread:
    """How a probe's log-odds spread over human text that its fit never saw."""
    told = probe.card["human"]
    names = ("mean", "between", "within", "min_words")
    return LmSpread(correlation=0.0, **{name: told[name] for name in names})


def dev(data: Path, folder: ModelFolder, cache: Path) -> Iterator[str]:
    """What the shipped tables and probe say of every short document of dev."""
    probe = shipped_probes()[0]
    rows = short_rows(data, "dev")
    states = states_of(rows, folder, cache)
    log_odds = probe.log_odds(states.whole)
    tables, joined, *_ = judged(rows, probe, Read(log_odds, np.full(len(rows), np.nan)))
    is_ai = np.array([row.is_ai for row in rows])
    own = Documents(is_ai, np.array([row.dataset for row in rows]), lengths(rows))
    everything = np.ones(len(rows), np.bool_)
    words = tables_alone(rows, own.words)
    by_probe = standardise(spread_of(probe), log_odds, own.words)
    yield (
        f"\n{own.is_ai.sum():,} documents by AI, {(~own.is_ai).sum():,} by people (dev)\n\n"
        "| judged by | human called AI, of documents | of kinds | AI called AI, of documents | of "
        "kinds | recall at 2 % of human kinds (95 %) |\n|---|---|---|---|---|---|"
    )
    for name, margin in (
        ("tables", tables),
        ("tables and probe: of short text the probe alone", joined),
        ("the tables' z below the length that they judge", words),
        ("the sum of that and the probe's z", words + by_probe),
    ):
        score = np.where(np.isnan(margin), -99.0, margin)
        kinds = kinds_of(score, own, everything)
        cells = []
        for label, side in ((False, kinds.human), (True, kinds.ai)):
            shares = [np.mean(score[own.is_ai == label] >= 0)]
            shares.append(np.mean([np.mean(z >= 0) for z in side.values()]))
            cells += [f"{share:.1%}" if name.startswith("tables") else "–" for share in shares]
        yield (
            f"| {name} | {' | '.join(cells)} | {recall(kinds):.0%} "
            f"({interval(drawn_again(kinds))}) |"
        )
    yield "\n| kind | called AI, as thresholds are | at 2 % of human kinds |\n|---|---|---|"
    kinds = kinds_of(joined, own, everything)
    cut = threshold_at(list(kinds.human.values()), RATE)
    for kind in np.unique(own.kinds):
        z = joined[own.kinds == kind]
        yield f"| {kind} ({len(z)}) | {np.mean(z >= 0):.0%} | {np.mean(z > cut):.0%} |"


def _tell() -> None:
    print(".", end="", file=sys.stderr, flush=True)


def main(argv: Sequence[str]) -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neural.short_text")
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"of {', '.join(TABLES)}")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=80)
    parser.add_argument("--short-rows", type=int, default=120)
    parser.add_argument("--folds", type=int, default=8)
    options = parser.parse_args(argv)
    chosen = options.tables or TABLES
    if set(chosen) - {*TABLES}:
        parser.error(f"a table is one of {', '.join(TABLES)}")
    folder = locate(options.model, "MODEL")
    command = f"--cache DIR {' '.join(chosen)} --rows {options.rows}"
    command += f" --short-rows {options.short_rows} --folds {options.folds}"
    print(made_by(f"benchmarks.neural.short_text DATA MODEL {command}", "English labelled text"))
    if "counts" in chosen:
        for split in ("train", "dev"):
            rows = short_rows(options.data, split)
            print(f"\n{split}, all: " + "; ".join(counts(rows)))
            if split == "train":
                print("\nthat may be fitted: " + "; ".join(counts(usable(rows, options.data))))
    if "dev" in chosen:
        print("\n".join(dev(options.data, folder, options.cache)))
    if {"left_out", "thresholds"} & {*chosen}:
        texts = gather(options.data, folder, options.cache, options.rows, options.short_rows)
        fold = folds_of(texts, options.folds)
        found = ways(texts, fold)
        if "left_out" in chosen:
            print("\n".join(left_out(texts, found)))
            print("\n".join(by_kind(texts, found)))
        if "thresholds" in chosen:
            print("\n".join(thresholds(texts, fold, found)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
