"""Measures the report's estimate of the AI share: `python -m benchmarks.quality.share DATA`.

DATA holds `labelled/dev/*.jsonl.zst`. Every document is judged once. Then, for each language and
each true share, documents are drawn at random (no document twice): half of the human ones are
dated before a cut-off and trusted, the others are mixed with AI ones to the true share, and the
estimate of the language is made as a report makes it, from its own trusted documents. Writes
`results/share.md` and `results/share.json`: coverage of the 95 % interval and mean absolute error
of the estimate, beside those of the raw share and of the adjusted count with a recall of 1.

`python -m benchmarks.quality.share --choose SCORES` chooses the constants of `report/mixture.py`
on training text alone. SCORES holds the out-of-collection scores of training rows that
`python -m benchmarks.tables.recipes DATA -o DIRECTORY --held-out SCORES` writes. Among the settings
whose interval covers the truth in 95 % of the draws of each true share, on average over the pools,
the one with the least mean absolute error is chosen, then the narrowest. Writes
`results/share-choice.md`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from benchmarks.tables.collections_left_out import HeldOut
from numpy.typing import NDArray

from lowbg.config import Policy
from lowbg.jobs.eval.evaluate import LabelledScores
from lowbg.jobs.eval.labelled_scores import LabelledScoresBuilder, judge_rows
from lowbg.jobs.train.corpus import list_files, read_rows
from lowbg.models import embedded_names, open_embedded
from lowbg.report.estimate import MIN_TRUSTED, ShareEstimator
from lowbg.report.mixture import CHOSEN, Constants
from lowbg.report.statistics import SCORE_BINS, Statistics
from lowbg.runs.engine import Engine
from lowbg.storage.files import file_digest

SHARES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.5)
DRAWS = 100
MAX_MIXED = 4_000
MIN_AI = 100
LANGUAGE = "xx"
HERE = Path(__file__).parent
BASE_MODELS = ("davinci", "code-davinci-002", "gpt2-xl", "gpt-j-6B", "gpt-neo-2.7B", "gpt-neox-20b")
"""Generators that only continue text: words don't tell them from people."""

SETTINGS = [
    Constants(spread=spread, max_weight=weight, drop=drop, hidden=0.0)
    for spread in (0.15, 0.3, 0.5, 0.8)
    for weight in (1_000, 2_000, 4_000)
    for drop in (1.0, 1.92)
]
HIDDEN = (0.0, 0.1, 0.2, 0.3)
CHOICE_DRAWS = 8
CHOICE_SIZES = (600, MAX_MIXED)
MIN_COLLECTION = 300
MIN_COVERAGE = 0.95


@dataclass(frozen=True, slots=True)
class Pool:
    """The scored documents of a language and kind of AI text: scores, and which are called AI."""

    kind: str
    language: str
    human: NDArray[np.float32]
    human_called: NDArray[np.bool_]
    ai: NDArray[np.float32]
    ai_called: NDArray[np.bool_]

    @property
    def is_large_enough(self) -> bool:
        """Whether half of the human documents tell how human text scores, and there is AI text."""
        return len(self.human) >= 2 * MIN_TRUSTED and len(self.ai) >= MIN_AI


@dataclass(frozen=True, slots=True)
class Result:
    """The figures of one language and true share over all draws; `documents` are of one draw."""

    pool: str
    language: str
    share: float
    trusted: int
    documents: int
    coverage: float
    error: float
    bias: float
    width: float
    raw_error: float
    adjusted_error: float


def judge_all(folder: Path) -> tuple[LabelledScores, dict[str, str]]:
    """Every row below `folder`, judged; the files' digests."""
    engine, builder, digests = Engine(Policy()).setup(), LabelledScoresBuilder(), {}
    for path in list_files([folder]):
        digests[path.name] = file_digest(path)
        judge_rows(engine, read_rows(path), builder)
    return builder.build(), digests


def pools(j: LabelledScores) -> Iterator[Pool]:
    """Of each language with enough documents of both labels: instructed models, and every kind."""
    scored = ~np.isnan(j.score)
    instructed = (j.groups["attack"] == "") & ~np.isin(j.groups["generator"], BASE_MODELS)
    kinds = {"instructed models, as generated": instructed, "every kind": np.ones(len(j), np.bool_)}
    for kind, wanted in kinds.items():
        for code in sorted(set(j.groups["language"].tolist())):
            own = scored & (j.groups["language"] == code)
            human, ai = own & ~j.is_ai, own & j.is_ai & wanted
            score = j.score.astype(np.float32)
            pool = Pool(kind, code, score[human], j.called_ai[human], score[ai], j.called_ai[ai])
            if pool.is_large_enough:
                yield pool


def training_pools(language: str, held: HeldOut) -> Iterator[Pool]:
    """As generated, every kind, and each AI collection of `MIN_COLLECTION` rows or more."""
    ai = held.is_ai
    as_generated = ai & (held.attack == "")
    kinds = {"as generated": as_generated, "every kind": ai}
    collections = sorted(set(held.collection[ai].tolist()))
    if len(collections) > 1:
        kinds |= {name: ai & (held.collection == name) for name in collections}
    for kind, chosen in kinds.items():
        if kind == "every kind" and (as_generated == ai).all():
            continue
        if kind not in collections or chosen.sum() >= MIN_COLLECTION:
            human = ~ai
            yield Pool(
                kind, language, held.score[human], held.called_ai[human],
                held.score[chosen], held.called_ai[chosen],
            )  # fmt: skip


def statistics_of(
    trusted: NDArray[np.float32], trusted_called: int, mixed: NDArray[np.float32], ai: int
) -> Statistics:
    """What a run would have counted of trusted and other documents in one language."""
    statistics = Statistics()
    groups = np.repeat(np.array([0, 1], np.int64), [len(trusted), len(mixed)])
    counts = SCORE_BINS.count(np.concatenate([trusted, mixed]), groups, 2)
    row = [len(trusted), len(trusted), trusted_called, len(mixed), ai]
    statistics.trust.add([f"{LANGUAGE}/2024"], np.array([row]))
    statistics.trust_scores.add([f"{LANGUAGE}/2024"], counts.reshape(1, -1))
    return statistics


@dataclass(frozen=True, slots=True)
class Draw:
    """One mixture: what a run counts of it, its true share, and what its verdicts alone say."""

    statistics: Statistics
    truth: float
    trusted: int
    documents: int
    raw: float
    alarm_rate: float

    def measure(self, constants: Constants) -> NDArray[np.float64]:
        """Truth, estimate, low, high (of the mixed documents), raw, adjusted, both sizes."""
        got = ShareEstimator(self.statistics, constants).language(LANGUAGE)
        # Trusted documents are in the estimate as human ones: back to the mixed ones alone.
        scale = (self.documents + self.trusted) / self.documents
        values = [getattr(got, name) * scale for name in ("estimate", "low", "high")]
        adjusted = max(0.0, (self.raw - self.alarm_rate) / (1.0 - self.alarm_rate))
        return np.array([self.truth, *values, self.raw, adjusted, self.trusted, self.documents])


def draw(pool: Pool, share: float, generator: np.random.Generator, most: int = MAX_MIXED) -> Draw:
    """Half of the human documents trusted, at most `most` others mixed to `share`."""
    order = generator.permutation(len(pool.human))
    half = min(len(pool.human) // 2, 4 * most)
    # As many as both pools allow without taking a document twice.
    bounds = [most, (len(pool.human) - half) / (1.0 - share)]
    bounds += [len(pool.ai) / share] if share else []
    n = int(min(bounds))
    k = round(n * share)
    human, machine = order[half : half + n - k], generator.permutation(len(pool.ai))[:k]
    trusted = order[:half]
    called = int(pool.human_called[human].sum() + pool.ai_called[machine].sum())
    alarms = int(pool.human_called[trusted].sum())
    mixed = np.concatenate([pool.human[human], pool.ai[machine]])
    return Draw(
        statistics_of(pool.human[trusted], alarms, mixed, called),
        truth=k / n, trusted=half, documents=n, raw=called / n, alarm_rate=alarms / half,
    )  # fmt: skip


def measured(pool: Pool, draws: int, seed: int) -> list[Result]:
    """The figures of a pool at every true share."""
    generator = np.random.default_rng(seed)
    return [
        summarise(pool.kind, pool.language, share, np.array(
            [draw(pool, share, generator).measure(CHOSEN) for _ in range(draws)]
        ))
        for share in SHARES
    ]  # fmt: skip


def summarise(name: str, language: str, share: float, drawn: NDArray[np.float64]) -> Result:
    """The figures of all draws of one share."""
    truth, estimate, low, high, raw, adjusted, trusted, n = drawn.T
    slack = 1e-9
    return Result(
        pool=name,
        language=language,
        share=share,
        trusted=int(trusted[0]),
        documents=int(n[0]),
        coverage=float(((low <= truth + slack) & (truth <= high + slack)).mean()),
        error=float(np.abs(estimate - truth).mean()),
        bias=float((estimate - truth).mean()),
        width=float((high - low).mean()),
        raw_error=float(np.abs(raw - truth).mean()),
        adjusted_error=float(np.abs(adjusted - truth).mean()),
    )


def as_markdown(results: list[Result]) -> str:
    """One table a pool: a row a language and share, and the means."""
    lines = ["# The estimate of the AI share, on mixtures with a known one", ""]
    head = (
        "| language | true share | trusted | mixed | coverage of 95 % | mean absolute error | bias "
        "| width | error, raw share | error, adjusted count, recall 1 |"
    )
    for name in dict.fromkeys(r.pool for r in results):
        own = [r for r in results if r.pool == name]
        lines += [f"## AI text: {name}", "", head, "|---" * 10 + "|"]
        lines += [
            f"| {r.language} | {r.share:.0%} | {r.trusted} | {r.documents} | {r.coverage:.0%} "
            f"| {r.error:.3f} | {r.bias:+.3f} | {r.width:.2f} | {r.raw_error:.3f} "
            f"| {r.adjusted_error:.3f} |"
            for r in own
        ]
        means = [float(np.mean([getattr(r, f) for r in own])) for f in ("coverage", "error")]
        others = [
            float(np.mean([getattr(r, f) for r in own])) for f in ("raw_error", "adjusted_error")
        ]
        lines += [
            f"| mean | | | | {means[0]:.0%} | {means[1]:.3f} | | | {others[0]:.3f} "
            f"| {others[1]:.3f} |",
            "",
        ]
    return "\n".join(lines)


def tried(pool: Pool, seed: int) -> NDArray[np.float64]:
    """Covered (0 or 1), absolute error and width of every draw under every setting.

    Shape (settings, hidden shares, true shares, draws, 3).
    """
    generator = np.random.default_rng(seed)
    found = np.zeros((len(SETTINGS), len(HIDDEN), len(SHARES), CHOICE_DRAWS, 3))
    for (i, share), k in itertools.product(enumerate(SHARES), range(CHOICE_DRAWS)):
        drawn = draw(pool, share, generator, CHOICE_SIZES[k % len(CHOICE_SIZES)])
        for s, constants in enumerate(SETTINGS):
            truth, estimate, low, top = drawn.measure(constants)[:4]
            for h, hidden in enumerate(HIDDEN):
                high = min(1.0, top / (1.0 - hidden))
                covered = low <= truth + 1e-9 and truth <= high + 1e-9
                found[s, h, i, k] = covered, abs(estimate - truth), high - low
    return found


def choose(folder: Path, seed: int, output: Path) -> None:
    """Tries every setting on every pool of training text, and writes what came of it."""
    held = {path.stem: HeldOut.load(path) for path in sorted(folder.glob("*.npz"))}
    every = [pool for code, own in held.items() for pool in training_pools(code, own)]
    every = [pool for pool in every if pool.is_large_enough]
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        found = np.stack([*workers.map(partial(tried, seed=seed), every)])
    # Means over draws and pools; the coverage is that of the true share that has the least.
    mean = found.mean(axis=(0, 4))
    coverage, error, width = mean[..., 0].min(axis=2), mean[..., 1].mean(2), mean[..., 2].mean(2)
    rows = []
    for s, h in itertools.product(range(len(SETTINGS)), range(len(HIDDEN))):
        fits = coverage[s, h] >= MIN_COVERAGE
        key = (not fits, round(error[s, h], 4) if fits else -coverage[s, h], width[s, h])
        rows.append((key, s, h))
    rows.sort()
    best, hidden = rows[0][1], rows[0][2]
    lines = [
        "# The constants of the share estimate, chosen on training text",
        "",
        "| spread | max_weight | drop | hidden | least coverage of a true share "
        "| mean absolute error | width |",
        "|---" * 7 + "|",
    ]
    lines += [
        f"| {SETTINGS[s].spread} | {SETTINGS[s].max_weight} | {SETTINGS[s].drop} | {HIDDEN[h]} "
        f"| {coverage[s, h]:.1%} | {error[s, h]:.4f} | {width[s, h]:.3f} |"
        for _, s, h in rows[:20]
    ]
    lines += ["", "With the first:", "", "| language | AI text | coverage | mean absolute error |",
              "|---|---|---|---|"]  # fmt: skip
    for pool, own in zip(every, found[:, best, hidden].mean(axis=(1, 2)), strict=True):
        lines.append(f"| {pool.language} | {pool.kind} | {own[0]:.0%} | {own[1]:.3f} |")
    (output / "share-choice.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(argv: list[str]) -> int:
    """Measures or chooses, and writes the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path, help="the data, or with --choose the folder of scores")
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results")
    options = parser.parse_args(argv)
    options.output.mkdir(parents=True, exist_ok=True)
    if options.choose:
        choose(options.data, options.seed, options.output)
        return 0
    labelled_scores, digests = judge_all(options.data / "labelled" / "dev")
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        one = partial(measured, draws=options.draws, seed=options.seed)
        results = [*itertools.chain.from_iterable(workers.map(one, pools(labelled_scores)))]
    report = {
        "draws": options.draws,
        "seed": options.seed,
        "constants": asdict(CHOSEN),
        "models": {name: open_embedded(name).sha256 for name in embedded_names()},
        "data": digests,
        "results": [asdict(result) for result in results],
    }
    text = json.dumps(report, indent=1, ensure_ascii=False)
    (options.output / "share.json").write_text(text + "\n", encoding="utf-8")
    (options.output / "share.md").write_text(as_markdown(results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
