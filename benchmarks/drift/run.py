"""Measures `lowbg drift check` on degraded corpora: `python benchmarks/drift/run.py DATA`.

DATA holds `labelled/SPLIT/*.jsonl.zst`; `--split` is train (on which the default limits were
chosen) or dev. The corpus is the split's English human documents of 50 words or more. In each draw
it is cut into two random halves: the baseline is a sample of one, and what is checked a sample of
the other, as it is or degraded. Writes `results/SPLIT.md` and `results/SPLIT.json`: how often each
alert fires, and the mean change of every figure beside its standard deviation over the draws.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.config import Policy
from lowbg.jobs.drift.check import Change, compare
from lowbg.jobs.drift.measure import measure
from lowbg.jobs.drift.profile import DISTRIBUTIONS, FIGURES, Z
from lowbg.jobs.drift.sampling import Sample
from lowbg.jobs.drift.settings import Limits, Size
from lowbg.jobs.train.corpus import Row, as_text, list_files, read_rows
from lowbg.runs.engine import Engine
from lowbg.scorers.perplexity import PERPLEXITY
from lowbg.storage.files import file_digest

HERE = Path(__file__).parent
DRAWS_SAME, DRAWS_DEGRADED = 100, 20
MIN_WORDS = 50
SIZE = Size()
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Corpus:
    """English documents of a split: human text with its ln perplexity, and AI text."""

    human: Sequence[str]
    perplexity: NDArray[np.float64]
    ai: Sequence[str]
    digests: dict[str, str]


Degrade = Callable[[Corpus, NDArray[np.int64], np.random.Generator], list[str]]
"""From the indices of a half of the human documents (in random order) to a sample's texts."""


def read_corpus(folder: Path, engine: Engine) -> Corpus:
    """The documents of a split, each text once."""
    human: dict[str, Row] = {}
    ai: dict[str, Row] = {}
    digests = {}
    for path in list_files([folder]):
        digests[path.name] = file_digest(path)
        for row in read_rows(path):
            if row.language == "en" and len(_WORD.findall(row.text)) >= MIN_WORDS:
                (ai if row.is_ai else human)[row.text] = row
    perplexity = []
    rows = list(human.values())
    for start in range(0, len(rows), 500):
        judged = engine.judge(as_text(rows[start : start + 500]))
        perplexity += judged.columns[PERPLEXITY.name].to_pylist()
    filled = np.array([p or np.nan for p in perplexity], np.float64)
    return Corpus(tuple(human), filled, tuple(ai), digests)


def unchanged(corpus: Corpus, half: NDArray[np.int64], rng: np.random.Generator) -> list[str]:
    """The half as it is."""
    return [corpus.human[i] for i in half[: SIZE.documents]]


def tail_cut(share: float) -> Degrade:
    """Without the `share` of the half's documents whose perplexity is highest."""

    def degrade(corpus: Corpus, half: NDArray[np.int64], rng: np.random.Generator) -> list[str]:
        below = np.nanquantile(corpus.perplexity[half], 1.0 - share)
        kept = half[corpus.perplexity[half] <= below]
        return [corpus.human[i] for i in kept[: SIZE.documents]]

    return degrade


def vocabulary_cut(share: float) -> Degrade:
    """Each word of the rarest `share` of the sample's vocabulary replaced by a commoner one.

    By one drawn in proportion to how common it is: a model's output whose tail is gone.
    """

    def degrade(corpus: Corpus, half: NDArray[np.int64], rng: np.random.Generator) -> list[str]:
        texts = unchanged(corpus, half, rng)
        counts = Counter(word.lower() for text in texts for word in _WORD.findall(text))
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        kept = ranked[: round(len(ranked) * (1.0 - share))]
        weights = np.array([counts[word] for word in kept], np.float64)
        stand_ins = iter(rng.choice(kept, sum(counts.values()), p=weights / weights.sum()))
        known = set(kept)

        def replace(match: re.Match[str]) -> str:
            return match[0] if match[0].lower() in known else str(next(stand_ins))

        return [_WORD.sub(replace, text) for text in texts]

    return degrade


def ai_mixed(share: float) -> Degrade:
    """With `share` of the documents replaced by AI text."""

    def degrade(corpus: Corpus, half: NDArray[np.int64], rng: np.random.Generator) -> list[str]:
        texts = unchanged(corpus, half, rng)
        n = round(share * len(texts))
        drawn = rng.choice(len(corpus.ai), n, replace=False)
        return [*(corpus.ai[i] for i in drawn), *texts[n:]]

    return degrade


CONDITIONS: dict[str, Degrade] = {
    "the other half": unchanged,
    "tail cut: 25 % of documents": tail_cut(0.25),
    "tail cut: 50 % of documents": tail_cut(0.5),
    "vocabulary: 25 % fewer words": vocabulary_cut(0.25),
    "vocabulary halved": vocabulary_cut(0.5),
    "20 % AI": ai_mixed(0.2),
    "50 % AI": ai_mixed(0.5),
    "100 % AI": ai_mixed(1.0),
}


def sample_of(texts: Sequence[str], rng: np.random.Generator) -> Sample:
    """The texts in random order, as `drift` would have drawn them."""
    nothing = pa.nulls(len(texts), pa.string())
    order = rng.permutation(len(texts))
    encoded = [texts[i].encode("utf-8", "replace").decode("utf-8") for i in order]
    columns = {
        "priority": pa.array(np.arange(len(texts), dtype=np.uint64)),
        "text": pa.array(encoded, pa.large_string()),
        **dict.fromkeys(("id", "language", "date", "url"), nothing),
    }
    return Sample(pa.table(columns), len(texts))


def run(corpus: Corpus, engine: Engine, draws: dict[str, int]) -> dict[str, list[list[Change]]]:
    """The changes of every draw, by condition."""
    found: dict[str, list[list[Change]]] = {name: [] for name in CONDITIONS}
    for draw in range(max(draws.values())):
        rng = np.random.default_rng(draw)
        order = rng.permutation(len(corpus.human))
        one, other = order[: len(order) // 2], order[len(order) // 2 :]
        size = Size(SIZE.documents, SIZE.words, seed=draw)
        baseline = measure(sample_of(unchanged(corpus, one, rng), rng), size, engine).profile
        for name, degrade in CONDITIONS.items():
            if draw < draws[name]:
                sample = sample_of(degrade(corpus, other, rng), rng)
                measured = measure(sample, size, engine, baseline)
                found[name].append(compare(baseline, measured, Limits()))
        print(f"draw {draw + 1}", flush=True)
    return found


def summarise(found: dict[str, list[list[Change]]]) -> dict[str, dict[str, dict[str, float]]]:
    """By condition and figure: mean change, its spread and stated error, and alerts."""
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for condition, draws in found.items():
        summary[condition] = {}
        for own in zip(*draws, strict=True):
            known = [c for c in own if c.change is not None]
            if not known:
                continue
            change = np.array([c.change for c in known], np.float64)
            width = np.array([(c.high or 0.0) - (c.low or 0.0) for c in known])
            summary[condition][own[0].name] = {
                "draws": len(own),
                "change": round(float(change.mean()), 5),
                "spread": round(float(change.std()), 5),
                "error": round(float(width.mean() / 2 / Z), 5),
                "alerts": sum(c.alert for c in own),
            }
        summary[condition]["any"] = {
            "draws": len(draws),
            "alerts": sum(any(c.alert for c in own) for own in draws),
        }
    return summary


def as_markdown(summary: dict[str, dict[str, dict[str, float]]], head: Sequence[str]) -> str:
    """Three tables: alerts, changes, and whether the intervals are as wide as they should be."""
    limited = [name for name, limit in _limits().items() if limit is not None]
    lines = [*head, "", "## Draws in which an alert fires, of all draws", ""]
    lines += _row(["corpus", *limited, "any"], rule=True)
    for condition, figures in summary.items():
        cells = [figures[name] for name in (*limited, "any")]
        lines += _row([condition, *(f"{c['alerts']:.0f}/{c['draws']:.0f}" for c in cells)])
    lines += [
        "",
        "## Mean change",
        "",
        "Ratios − 1, differences, and Jensen–Shannon distances.",
        "",
    ]
    names = [name for name in summary["the other half"] if name != "any"]
    lines += _row(["figure", "limit", *summary], rule=True)
    for name in names:
        limit = _limits().get(name)
        changes = [f"{figures[name]['change']:+.3f}" for figures in summary.values()]
        lines += _row([name, "" if limit is None else f"{limit:+.2f}", *changes])
    lines += ["", "## The other half: spread of the change, and its stated standard error", ""]
    lines += _row(["figure", "spread over the draws", "stated error (mean)"], rule=True)
    for name in names:
        own = summary["the other half"][name]
        lines += _row([name, f"{own['spread']:.4f}", f"{own['error']:.4f}"])
    return "\n".join([*lines, ""])


def _limits() -> dict[str, float | None]:
    names = (*(kind.name for kind in FIGURES), *(f"js_{name}" for name in DISTRIBUTIONS))
    return {name: Limits().of(name) for name in names}


def _row(cells: Sequence[str], *, rule: bool = False) -> list[str]:
    line = f"| {' | '.join(cells)} |"
    return [line, "|" + "---|" * len(cells)] if rule else [line]


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", choices=("train", "dev"), default="train")
    parser.add_argument("--same", type=int, default=DRAWS_SAME)
    parser.add_argument("--degraded", type=int, default=DRAWS_DEGRADED)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    engine = Engine(Policy()).setup()
    corpus = read_corpus(arguments.data / "labelled" / arguments.split, engine)
    draws = dict.fromkeys(CONDITIONS, arguments.degraded)
    draws["the other half"] = arguments.same
    summary = summarise(run(corpus, engine, draws))
    head = [
        f"# Drift alerts on the {arguments.split} data",
        "",
        f"Written by `benchmarks/drift/run.py --split {arguments.split}`: "
        f"{len(corpus.human):,} human and {len(corpus.ai):,} AI documents in English; samples of "
        f"{SIZE.documents:,} documents and {SIZE.words:,} words.",
    ]
    arguments.output.mkdir(exist_ok=True)
    target = arguments.output / arguments.split
    target.with_suffix(".md").write_text(as_markdown(summary, head), encoding="utf-8")
    stored = {
        "human": len(corpus.human),
        "ai": len(corpus.ai),
        "models": engine.model_digests(),
        "data": corpus.digests,
        "summary": summary,
    }
    text = json.dumps(stored, indent=1, ensure_ascii=False) + "\n"
    target.with_suffix(".json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
