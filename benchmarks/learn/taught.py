"""Tables that a causal LM taught, beside the shipped ones: `… DATA MODEL`.

`python -m benchmarks.learn.taught DATA MODEL --cache FILE` makes dumps of English development text
(`dumps.py`), none of which the probe or the shipped tables were fitted on, and lets `learn` have
them: without a teacher, and with one that reads so many documents. Writes `results/taught.md`, a
row a way to judge: the shares of AI and of human text called AI in the new dump (each document by a
fit without its source) and in text that was never shown, and the share of AI text found where 1 %
of human text is called AI. FILE keeps the probe's verdicts.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from benchmarks.learn.cells import Cell, config_of, read
from benchmarks.learn.dumps import Document, Drift, Dumps, make_dumps
from benchmarks.neural.made import made_by
from benchmarks.neural.unseen_kinds import BASE_MODELS
from benchmarks.neural.verdicts import KeptVerdicts
from numpy.typing import NDArray

from lowbg.config import LmSettings, Policy
from lowbg.jobs.learn.gather import NEW
from lowbg.jobs.learn.learn import Learned, learn
from lowbg.records import Metadata
from lowbg.runs.engine import Engine

HERE: Final = Path(__file__).parent
BUDGETS: Final = (0, 300, 600, 1200)
MOST: Final = 80
"""Documents of a kind, at most."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """z of documents, and which are called AI."""

    z: Floats
    called: NDArray[np.bool_]


def shipped(documents: Sequence[Document], policy: Policy) -> Judged:
    """By tables alone."""
    engine = Engine(policy).setup()
    text = pa.array([document.text for document in documents], pa.large_string())
    language = pa.array(["en"] * len(text), pa.string())
    metadata = replace(Metadata.unknown(len(text)), language=language)
    decisions = engine.judge(text, metadata).decisions
    return Judged(np.nan_to_num(decisions.z, nan=-99.0), decisions.called_ai)


def in_new(learned: Learned, documents: Sequence[Document]) -> Judged:
    """The learned verdicts on the new dump, each by a fit without the document's source."""
    at = {row.text: i for i, row in enumerate(learned.dumps.rows) if learned.dumps.part[i] == NEW}
    own = [at.get(document.text, -1) for document in documents]
    z = np.array([learned.z[i] if i >= 0 else -99.0 for i in own])
    return Judged(z, np.array([i >= 0 and bool(learned.called_ai[i]) for i in own]))


def cells_of(judged: Judged | None, documents: Sequence[Document]) -> list[str]:
    """Found, human called, found at 1 %, the lowest quarter of the kinds, AUROC."""
    if judged is None:
        return ["–"] * 5
    is_ai = np.array([document.is_ai for document in documents])
    kinds = np.array([document.kind for document in documents])
    ai, human = judged.z[is_ai], np.sort(judged.z[~is_ai])
    cut = human[int(np.ceil(0.99 * len(human))) - 1]
    by_kind = [
        float((judged.z[is_ai & (kinds == k)] > cut).mean()) for k in np.unique(kinds[is_ai])
    ]
    below = np.searchsorted(human, ai, "left") + np.searchsorted(human, ai, "right")
    return [
        f"{100 * judged.called[is_ai].mean():.0f} %",
        f"{100 * judged.called[~is_ai].mean():.1f} %",
        f"{100 * (ai > cut).mean():.0f} %",
        f"{100 * float(np.quantile(by_kind, 0.25)):.0f} %",
        f"{below.mean() / 2 / len(human):.3f}",
    ]


def teacher_of(learned: Learned, documents: Sequence[Document]) -> str:
    """What the teacher said of the new documents that it read, against the truth."""
    taught, dumps = learned.taught, learned.dumps
    if taught is None:
        return ""
    truth = {document.text: document.is_ai for document in documents}
    sure = np.flatnonzero(taught.confident(dumps))
    is_ai = np.array([truth[dumps.rows[i].text] for i in sure.tolist()])
    called = taught.is_ai[sure]
    read = int((taught.read & ~dumps.known).sum())
    ways = learned.ways
    agree = "" if ways is None else f"; old and new alone agree on {100 * ways.agree:.0f} %"
    kappa = "" if ways is None else f" (κ {ways.kappa:.2f})"
    return (
        f"{read:,} new and {int(taught.read.sum()) - read:,} human documents read, confident of "
        f"{len(sure):,}, of which {100 * (called == is_ai).mean():.0f} % right; AI share told "
        f"{100 * taught.share.estimate:.0f} ({100 * taught.share.low:.0f}–"
        f"{100 * taught.share.high:.0f}) %; of human text it calls "
        f"{100 * taught.human_called.estimate:.1f} % AI{agree}{kappa}"
    )


def ways(
    dumps: Dumps, cell: Cell, judge: KeptVerdicts, model: str
) -> list[tuple[str, Judged, Judged | None, str]]:
    """Every way to judge, with its verdicts on the new dump and on unseen text."""
    both = shipped(dumps.new, Policy()), shipped(dumps.unseen, Policy())
    found: list[tuple[str, Judged, Judged | None, str]] = [("shipped tables", *both, "")]
    for documents in BUDGETS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            config = config_of(cell, dumps, folder)
            changed: dict[str, Any] = {}
            if documents:
                changed = {"teacher": LmSettings(model), "teacher_documents": documents}
            learned = learn(replace(config, **changed), teacher=judge if documents else None)
            unseen = None
            if not learned.refused:
                unseen = shipped(dumps.unseen, Policy(tables=str(folder / "out")))
        told = teacher_of(learned, dumps.new) + "".join(f"; refused: {r}" for r in learned.refused)
        title = f"taught, {documents:,} read" if documents else "old and new alone"
        found.append((title, in_new(learned, dumps.new), unseen, told))
        print(title, told, file=sys.stderr, flush=True)
        joined = _joined(both[0], found[-1][1])
        unseen_joined = None if unseen is None else _joined(both[1], unseen)
        found.append((f"shipped + {title}", joined, unseen_joined, ""))
    return found


def _joined(one: Judged, other: Judged) -> Judged:
    """Both z in equal parts, which no threshold belongs to."""
    return Judged(one.z + other.z, np.zeros(len(one.z), np.bool_))


def as_markdown(
    found: Sequence[tuple[str, Judged, Judged | None, str]], dumps: Dumps, head: str
) -> str:
    """A row a way, and what the teacher said."""
    columns = ("found", "human called", "at 1 %", "lowest quarter", "AUROC")
    names = (*(f"{c}, new" for c in columns), *(f"{c}, unseen" for c in columns))
    lines = [head, "", f"| judged by | {' | '.join(names)} |", "|---" * 11 + "|"]
    for title, new, unseen, _ in found:
        cells = [*cells_of(new, dumps.new), *cells_of(unseen, dumps.unseen)]
        if title.startswith("shipped +"):
            cells[0:2], cells[5:7] = ["–", "–"], ["–", "–"]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    lines += ["", *(f"- {title}: {told}" for title, *_, told in found if told)]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learn.taught")
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.3)
    parser.add_argument("--drift", type=Drift, default=Drift.NONE)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "taught.md")
    own = parser.parse_args(arguments)
    rows = [
        row
        for row in read(own.data, {"en": "dev"})["en"]
        if not (row.is_ai and any(name in row.generator.lower() for name in BASE_MODELS))
    ]
    dumps = make_dumps(rows, own.share, own.drift, own.seed, MOST)
    cell = Cell("en", "dev", own.share, own.drift, False, own.seed)
    found = ways(dumps, cell, KeptVerdicts(own.model, own.cache), own.model)
    sizes = ", ".join(f"{len(getattr(dumps, part)):,} {part}" for part in Dumps.__slots__)
    ai = sum(document.is_ai for document in dumps.new)
    command = "benchmarks.learn.taught DATA MODEL --cache FILE"
    command += f" --share {own.share:g} --drift {own.drift} --seed {own.seed}"
    head = made_by(command, "English text of labelled/dev")
    head += f"\n\nEnglish dev, {sizes}; of the new ones {ai:,} are AI's; drift: {own.drift}"
    own.results.write_text(as_markdown(found, dumps, head), encoding="utf-8")
    print(own.results.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(sys.argv[1:])
