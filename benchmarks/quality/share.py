"""Measures the report's estimate of the AI share: `python benchmarks/quality/share.py DATA`.

DATA holds `labelled/dev/*.jsonl.zst`. Every document is judged once. Then, for each language and
each true share, documents are drawn at random (no document twice): half of the human ones are
dated before a cut-off and trusted, the others are mixed with AI ones to the true share. Writes
`results/share.md` and `results/share.json`: coverage of the 95 % interval and mean absolute error
of the estimate, beside those of the raw share and of the adjusted count with a recall of 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))

from run import judge

from lowbg import languages
from lowbg.config import Policy
from lowbg.engine import Engine
from lowbg.models import embedded_names, open_embedded
from lowbg.report.estimate import MIN_TRUSTED, ShareEstimator
from lowbg.statistics import SCORE_BINS, Statistics
from lowbg.training.corpus import Row, file_digest, list_files, read_rows

SHARES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.5)
DRAWS = 100
MAX_MIXED = 4_000
MIN_AI = 100
HERE = Path(__file__).parent
BASE_MODELS = {"davinci", "code-davinci-002", "gpt2-xl", "gpt-j-6B", "gpt-neo-2.7B", "gpt-neox-20b"}
"""Generators that only continue text: words don't tell them from people."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The scored documents of a language: scores, and which are called AI."""

    human: NDArray[np.float32]
    human_called: NDArray[np.bool_]
    ai: NDArray[np.float32]
    ai_called: NDArray[np.bool_]


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


def is_assistant(row: Row) -> bool:
    """Whether a row is text of an instructed model, as it was generated."""
    return row.is_ai and not row.attack and row.generator not in BASE_MODELS


def judge_all(folder: Path) -> tuple[list[tuple[Row, float, bool]], dict[str, str]]:
    """Every scored row with its score and whether it is called AI; the files' digests."""
    engine = Engine(Policy()).setup()
    scored, digests = [], {}
    for path in list_files([folder]):
        digests[path.name] = file_digest(path)
        for row, score, called, _ in judge(engine, list(read_rows(path))):
            if not np.isnan(score):
                scored.append((row, score, called))
    return scored, digests


def pools(scored: list[tuple[Row, float, bool]], *, assistant: bool) -> dict[str, Pool]:
    """The pools of the languages with enough documents of both labels."""
    found = {}
    codes = [languages.normalise(row.language) or row.language for row, _, _ in scored]
    for code in sorted(set(codes)):
        own = [entry for entry, c in zip(scored, codes, strict=True) if c == code]
        human = [entry for entry in own if not entry[0].is_ai]
        ai = [entry for entry in own if (is_assistant(entry[0]) if assistant else entry[0].is_ai)]
        if len(human) >= 2 * MIN_TRUSTED and len(ai) >= MIN_AI:
            found[code] = Pool(
                np.array([score for _, score, _ in human], np.float32),
                np.array([called for _, _, called in human]),
                np.array([score for _, score, _ in ai], np.float32),
                np.array([called for _, _, called in ai]),
            )
    return found


def statistics_of(
    trusted: NDArray[np.float32], trusted_called: int, mixed: NDArray[np.float32], ai: int
) -> Statistics:
    """What a run would have counted of trusted and other documents in one language."""
    statistics = Statistics()
    groups = np.repeat(np.array([0, 1], np.int64), [len(trusted), len(mixed)])
    counts = SCORE_BINS.count(np.concatenate([trusted, mixed]), groups, 2)
    row = [len(trusted), len(trusted), trusted_called, len(mixed), ai]
    statistics.trust.add(["xx/2024"], np.array([row]))
    statistics.trust_scores.add(["xx/2024"], counts.reshape(1, -1))
    return statistics


def measure(pool: Pool, share: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """One draw: truth, estimate, low, high (of the mixed documents), raw, adjusted, both sizes."""
    half = len(pool.human) // 2
    order = generator.permutation(len(pool.human))
    # As many as both pools allow without taking a document twice.
    bounds = [MAX_MIXED, (len(pool.human) - half) / (1.0 - share)]
    bounds += [len(pool.ai) / share] if share else []
    n = int(min(bounds))
    k = round(n * share)
    human, machine = order[half : half + n - k], generator.permutation(len(pool.ai))[:k]
    trusted = order[:half]
    called = int(pool.human_called[human].sum() + pool.ai_called[machine].sum())
    alarms = int(pool.human_called[trusted].sum())
    mixed = np.concatenate([pool.human[human], pool.ai[machine]])
    got = ShareEstimator(statistics_of(pool.human[trusted], alarms, mixed, called)).overall()
    # Trusted documents are in the estimate as human ones: back to the mixed ones alone.
    scale = (n + half) / n
    raw, rate = called / n, alarms / half
    values = [got[name] * scale for name in ("estimate", "low", "high")]
    adjusted = max(0.0, (raw - rate) / (1.0 - rate))
    return np.array([k / n, *values, raw, adjusted, half, n])


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


def main(argv: list[str]) -> int:
    """Measures, and writes both results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results")
    options = parser.parse_args(argv)
    scored, digests = judge_all(options.data / "labelled" / "dev")
    results = []
    for name, assistant in (("instructed models, as generated", True), ("every kind", False)):
        for code, pool in pools(scored, assistant=assistant).items():
            generator = np.random.default_rng(options.seed)
            for share in SHARES:
                drawn = [measure(pool, share, generator) for _ in range(options.draws)]
                results.append(summarise(name, code, share, np.array(drawn)))
    options.output.mkdir(parents=True, exist_ok=True)
    report = {
        "draws": options.draws,
        "seed": options.seed,
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
