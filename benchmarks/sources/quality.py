"""What pooling over sources finds, and whom it hits: `python -m benchmarks.sources.quality DATA`.

DATA holds `sites/` and `labelled/dev` (`*.jsonl.zst`). Nothing is fitted or chosen here; the output
is `results/quality.md`. `--mixtures N` is how many sources each cell of the mixtures has.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from backports import zstd
from numpy.typing import NDArray

from lowbg.arrays import floats
from lowbg.config import Policy, SourceVerdict
from lowbg.decision.calibration import unsquash
from lowbg.decision.sources import Counted, SourceFigures, SourceModel, bins_of
from lowbg.records import Metadata
from lowbg.report.estimate import wilson
from lowbg.runs.engine import Engine
from lowbg.text import languages

HERE: Final = Path(__file__).parent
SHARES: Final = (0.0, 0.05, 0.2, 0.5, 0.9, 1.0)
SIZES: Final = (10, 20, 50, 200)
FAILING: Final = (
    *("deb-gimp-help", "deb-guides", "deb-gnome-help", "fastapi-docs", "opensource-guide"),
    *("progit1", "elixirschool", "gesetze-de", "pt4-hum-legal", "en4-scp-tales"),
    *("zh4-abstract-human", "ru-human-science-abstracts", "fastdetect"),
)
"""Collections of human development text of the kinds on which documents alone fail."""
_BATCH: Final = 1_000

Floats = NDArray[np.float64]
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Scored:
    """Scored documents, one entry each."""

    language: NDArray[np.int64]
    log_odds: Floats
    called: NDArray[np.bool_]
    rows: Rows

    def take(self, which: NDArray[np.int64]) -> Scored:
        """Some of them."""
        return Scored(
            self.language[which], self.log_odds[which], self.called[which],
            [self.rows[i] for i in which.tolist()],
        )  # fmt: skip

    def where(self, name: str) -> NDArray[np.str_]:
        """What the rows say in a field."""
        return np.array([str(row.get(name)) for row in self.rows])


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a .jsonl.zst file."""
    with zstd.open(path, "rb") as file:
        for line in file:
            yield json.loads(line)


def score(engine: Engine, paths: Sequence[Path]) -> Scored:
    """The documents of the files that get a score, judged alone."""
    parts: list[Scored] = []
    waiting: Rows = []

    def flush() -> None:
        text = pa.array([row["text"] for row in waiting], pa.large_string())
        none = pa.nulls(len(waiting), pa.string())
        own = pa.array([row.get("lang") for row in waiting], pa.string())
        judged = engine.judge(text, Metadata(none, own, none, none))
        scores = floats(judged.decisions.score)
        known = np.flatnonzero(~np.isnan(scores))
        parts.append(
            Scored(
                judged.documents.languages[known].astype(np.int64),
                unsquash(np.clip(scores[known], 1e-9, 1.0 - 1e-7)),
                judged.decisions.called_ai[known],
                [{k: v for k, v in waiting[i].items() if k != "text"} for i in known.tolist()],
            )
        )
        waiting.clear()

    for path in paths:
        for row in read(path):
            waiting.append(row)
            if len(waiting) == _BATCH:
                flush()
    if waiting:
        flush()
    return Scored(
        np.concatenate([part.language for part in parts]),
        np.concatenate([part.log_odds for part in parts]),
        np.concatenate([part.called for part in parts]),
        [row for part in parts for row in part.rows],
    )


@dataclass(frozen=True, slots=True)
class Pooled:
    """Documents with their source's figures; `called` is the verdict with its evidence."""

    found: SourceFigures
    called: NDArray[np.bool_]


def pool(
    model: SourceModel,
    documents: Scored,
    source: NDArray[np.int64],
    before: NDArray[np.bool_] | None = None,
) -> Pooled:
    """What the sources say, and what that makes of their documents."""
    order = np.argsort(source, kind="stable")
    past = np.zeros(len(source), np.bool_) if before is None else before
    counted = Counted(
        source[order],
        documents.language[order],
        past[order],
        bins_of(documents.log_odds[order]),
        np.ones(len(source), np.int64),
    )
    found = model.judge(counted, int(source.max()) + 1)
    column = np.searchsorted(model.languages, documents.language)
    column = np.minimum(column, len(model.languages) - 1)
    bars = found.thresholds[source, column]
    called = np.where(np.isnan(bars), documents.called, documents.log_odds >= bars)
    return Pooled(found, called)


def plain(documents: Scored, source: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The reference: the AI share of each source by expectation and maximisation, its calibrated
    scores taken as odds, and AI what is so with probability .9 given that share."""
    odds = np.exp(np.clip(documents.log_odds, -30.0, 30.0))
    sources = int(source.max()) + 1
    n = np.maximum(np.bincount(source, minlength=sources), 1)
    share = np.full(sources, 0.5)
    likely = np.zeros(len(source))
    for _ in range(100):
        own = share[source]
        likely = own * odds / (own * odds + 1.0 - own)
        share = np.clip(np.bincount(source, likely, sources) / n, 1e-6, 1.0 - 1e-6)
    return np.asarray(likely > 0.9)


def auroc(ai: Floats, human: Floats) -> float:
    """How often an AI source ranks above a human one."""
    above = (ai[:, None] > human[None, :]).mean() + 0.5 * (ai[:, None] == human[None, :]).mean()
    return float(above)


def percent(hits: int, of: int) -> str:
    """A share with its 95 % interval."""
    interval = wilson(hits, of)
    if interval is None:
        return "–"
    low, high = interval
    return f"{100 * hits / of:.1f} % ({100 * low:.1f}–{100 * high:.1f}; {hits:,}/{of:,})"


def sites(engine: Engine, path: Path) -> list[str]:
    """Whole sites: those that are human, and those that are AI."""
    documents = score(engine, [path])
    kind, label = documents.where("kind"), documents.where("label")
    documents = documents.take(np.flatnonzero(np.isin(kind, ("human", "ai"))))
    kind, label = documents.where("kind"), documents.where("label")
    names, source = np.unique(documents.where("host"), return_inverse=True)
    pooled = pool(engine.source_model(), documents, source)
    found = pooled.found
    kinds = np.array([kind[source == i][0] for i in range(len(names))])
    english = np.array([documents.where("lang")[source == i][0] == "en" for i in range(len(names))])
    enough = ~np.isnan(found.share)
    is_ai = found.verdicts == SourceVerdict.AI.code
    medians = np.array([np.median(documents.log_odds[source == i]) for i in range(len(names))])
    lines = [f"### `{path.name}`", "", "| figure | English | others | all |", "|---|---|---|---|"]

    def row(name: str, cells: Sequence[str]) -> None:
        lines.append(f"| {name} | {' | '.join(cells)} |")

    parts = (english, ~english, np.ones(len(names), np.bool_))
    row(
        "sites: human, AI",
        [f"{(p & (kinds == 'human')).sum()}, {(p & (kinds == 'ai')).sum()}" for p in parts],
    )
    row(
        "… of them with 10 scored pages",
        [
            f"{(p & enough & (kinds == 'human')).sum()}, {(p & enough & (kinds == 'ai')).sum()}"
            for p in parts
        ],
    )
    for what, values in (("estimated AI share", found.share), ("median score", medians)):
        row(
            f"AUROC by {what}",
            [
                f"{auroc(values[p & enough & (kinds == 'ai')], values[p & enough & (kinds == 'human')]):.3f}"  # noqa: E501
                for p in parts
            ],
        )
    row(
        "human sites called AI",
        [
            percent(
                int((p & enough & (kinds == "human") & is_ai).sum()),
                int((p & enough & (kinds == "human")).sum()),
            )
            for p in parts
        ],
    )
    row(
        "AI sites found",
        [
            percent(
                int((p & enough & (kinds == "ai") & is_ai).sum()),
                int((p & enough & (kinds == "ai")).sum()),
            )
            for p in parts
        ],
    )
    for name, called in (("alone", documents.called), ("with their site", pooled.called)):
        for wanted, what in (
            ("ai", "pages on AI sites found"),
            ("human", "pages on human sites called AI"),
        ):
            row(
                f"{what}, {name}",
                [
                    percent(
                        int(called[(kind == wanted) & (label == wanted) & p[source]].sum()),
                        int(((kind == wanted) & (label == wanted) & p[source]).sum()),
                    )
                    for p in parts
                ],
            )
    worst = max(pooled.called[source == i].mean() for i in np.flatnonzero(kinds == "human"))
    lines += ["", f"The human site with the most pages called AI: {100 * worst:.1f} %.", ""]
    missed = np.flatnonzero((kinds == "ai") & enough & ~is_ai).tolist()
    lines += [
        "AI sites not called AI: "
        + (
            "; ".join(
                f"{documents.rows[int(np.flatnonzero(source == i)[0])].get('genre')} "
                f"({documents.rows[int(np.flatnonzero(source == i)[0])].get('lang')}), "
                f"median log-odds {medians[i]:.1f}, "
                f"{SourceVerdict(list(SourceVerdict)[found.verdicts[i]]).value}"
                for i in missed
            )
            or "none"
        )
        + ".",
        "",
    ]
    return lines


def mixtures(engine: Engine, documents: Scored, draws: int) -> list[str]:
    """Sources made of one human and one AI collection of a language."""
    rng = np.random.default_rng(17)
    model = engine.source_model()
    label, dataset = documents.where("label"), documents.where("dataset")
    attack = documents.where("attack")
    whole = np.isin(attack, ("None", "", "none"))
    groups: dict[tuple[int, str], list[NDArray[np.int64]]] = {}
    for code in np.unique(documents.language).tolist():
        for kind in ("human", "ai"):
            own = (documents.language == code) & (label == kind) & whole
            for name in np.unique(dataset[own]).tolist():
                rows = np.flatnonzero(own & (dataset == name))
                if len(rows) >= 40:
                    groups.setdefault((code, kind), []).append(rows)
    spoken = [
        c
        for c in np.unique(documents.language).tolist()
        if (c, "human") in groups and (c, "ai") in groups
    ]
    lines = []
    for title, codes in (
        ("English", [c for c in spoken if languages.CODES[c] == "en"]),
        ("other languages", [c for c in spoken if languages.CODES[c] != "en"]),
    ):
        lines += [
            f"### {title}",
            "",
            "| documents | AI | found: alone | by plain EM | with the source | "
            "human called AI: alone | by plain EM | with the source | sources called AI |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for n in SIZES:
            for share in SHARES:
                lines.append(_cell(model, documents, groups, codes, n, share, draws, rng))
        lines.append("")
    return lines


def _cell(
    model: SourceModel,
    documents: Scored,
    groups: dict[tuple[int, str], list[NDArray[np.int64]]],
    codes: Sequence[int],
    n: int,
    share: float,
    draws: int,
    rng: np.random.Generator,
) -> str:
    chosen, source, is_ai = [], [], []
    for i in range(draws):
        code = codes[i % len(codes)]
        humans, ais = groups[code, "human"], groups[code, "ai"]
        human, ai = humans[rng.integers(len(humans))], ais[rng.integers(len(ais))]
        k = int(rng.binomial(n, share)) if 0 < share < 1 else round(n * share)
        chosen.append(rng.choice(ai, k, replace=k > len(ai)))
        chosen.append(rng.choice(human, n - k, replace=n - k > len(human)))
        source += [i] * n
        is_ai += [True] * k + [False] * (n - k)
    mixed = documents.take(np.concatenate(chosen))
    place, truth = np.array(source, np.int64), np.array(is_ai, np.bool_)
    pooled = pool(model, mixed, place)
    cells = []
    for wanted in (True, False):
        own = truth == wanted
        for called in (mixed.called, plain(mixed, place), pooled.called):
            cells.append(f"{100 * called[own].mean():.1f} %" if own.any() else "–")
    ai_sources = int((pooled.found.verdicts == SourceVerdict.AI.code).sum())
    return f"| {n} | {100 * share:.0f} % | {' | '.join(cells)} | {100 * ai_sources / draws:.1f} % |"


def failing(engine: Engine, documents: Scored) -> list[str]:
    """Human collections in sources of 50 documents, with and without a past of their own."""
    rng = np.random.default_rng(5)
    model = engine.source_model()
    label, dataset = documents.where("label"), documents.where("dataset")
    lines = [
        "| collection | language | documents | sources | called AI alone | with the source | "
        "with its own past | sources called AI, without and with the past |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in FAILING:
        for code in np.unique(documents.language[(dataset == name) & (label == "human")]).tolist():
            rows = np.flatnonzero(
                (dataset == name) & (label == "human") & (documents.language == code)
            )
            if code not in model.languages or len(rows) < 40:
                continue
            rows = rng.permutation(rows)
            size = 50 if len(rows) >= 100 else len(rows)
            rows = rows[: len(rows) // size * size]
            own, source = documents.take(rows), np.arange(len(rows)) // size
            before = np.arange(len(rows)) % 2 == 0
            without, with_past = pool(model, own, source), pool(model, own, source, before)
            ai = SourceVerdict.AI.code
            lines.append(
                f"| {name} | {languages.CODES[code]} | {len(rows):,} | {source.max() + 1} | "
                f"{100 * own.called.mean():.1f} % | {100 * without.called.mean():.1f} % | "
                f"{100 * with_past.called[~before].mean():.1f} % | "
                f"{int((without.found.verdicts == ai).sum())}, "
                f"{int((with_past.found.verdicts == ai).sum())} |"
            )
    return [*lines, ""]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and writes `results/quality.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--mixtures", type=int, default=300)
    given = parser.parse_args(arguments)
    engine = Engine(Policy()).setup()
    lines = [
        "# What pooling over sources finds",
        "",
        "Written by `python -m benchmarks.sources.quality DATA`. Nothing was fitted to sites or "
        "texts of the development split. Intervals are 95 %.",
        "",
        "## Whole sites",
        "",
        "Sites of fewer than 10 scored pages are judged page by page.",
        "",
    ]
    for name in ("dev", "train"):
        lines += sites(engine, given.data / "sites" / f"{name}.jsonl.zst")
    documents = score(engine, sorted((given.data / "labelled" / "dev").glob("*.jsonl.zst")))
    lines += [
        "## Mixtures",
        "",
        f"{given.mixtures} sources a cell, each of one human and one AI collection of "
        "`labelled/dev` in one language, drawn at random; AI text that was polished or "
        "attacked is left out.",
        "",
        *mixtures(engine, documents, given.mixtures),
    ]
    lines += [
        "## Human sources of kinds on which documents alone fail",
        "",
        "Collections of `labelled/dev` cut into sources of 50 documents; the own past is every "
        "second document.",
        "",
        *failing(engine, documents),
    ]
    text = "\n".join(lines)
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "quality.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
