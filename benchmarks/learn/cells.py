"""What `lowbg learn` makes of dumps with known truth: `python -m benchmarks.learn.cells DATA`.

DATA holds `labelled/train` and `labelled/dev` (`*.jsonl.zst`). Writes `results/cells.jsonl`, a line
a cell, and `results/cells.md`. Cells that the former has are not measured again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from benchmarks.learn.dumps import Document, Drift, Dumps, make_dumps
from numpy.typing import NDArray

from lowbg.config import Policy
from lowbg.errors import ConfigError
from lowbg.jobs.learn.config import LearnConfig
from lowbg.jobs.learn.learn import Learned, learn
from lowbg.jobs.train.corpus import Row, list_files, read_rows, tokenize_rows
from lowbg.models import embedded_names
from lowbg.records import Metadata
from lowbg.runs.engine import Engine

HERE: Final = Path(__file__).parent
SPLITS: Final = {"es": "dev", "zh": "dev", "de": "dev", "nl": "both"}
"""What the dumps of a language are made of; of Dutch, which has no tables, there is little."""

SHARES: Final = (0.1, 0.3, 0.05, 0.0)
MIN_WORDS: Final = 75
MAX_DOCUMENTS: Final = {"nl": 700}
"""Documents of a kind, at most; elsewhere `_MOST`."""

_MOST: Final = 240

COLUMNS: Final = (
    *("language", "split", "AI", "drift", "sources", "verdict", "found", "unseen", "human called"),
    *("unseen human", "ranked", "share told", "drift told", "shipped found", "shipped human"),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """A pair of dumps: `blind` ones don't say where documents are from."""

    language: str
    split: str
    share: float
    drift: Drift
    blind: bool
    seed: int

    @property
    def key(self) -> dict[str, Any]:
        """What names the cell in the results."""
        return {name: getattr(self, name) for name in Cell.__slots__}


def read(data: Path, splits: dict[str, str]) -> dict[str, list[Row]]:
    """By language the rows that are long enough, of its split or of both.

    Rewritten text and translations by models are left out: whether they are AI text is a matter of
    policy.
    """
    found: dict[str, list[Row]] = {language: [] for language in splits}
    for name in ("train", "dev"):
        for path in list_files([data / "labelled" / name]):
            for row in read_rows(path):
                language = row.language.split("-")[0]
                translated = row.is_ai and "translation" in row.domain
                if splits.get(language) in (name, "both") and not row.attack and not translated:
                    found[language].append(row)
    for language, rows in found.items():
        words = tokenize_rows(rows, language).words_per_document
        found[language] = [row for row, n in zip(rows, words, strict=True) if n >= MIN_WORDS]
    return found


def measure(cell: Cell, rows: Sequence[Row], changes: dict[str, Any]) -> dict[str, Any]:
    """What is learned of the cell's dumps, and what the tables make of the new text."""
    dumps = make_dumps(
        rows, cell.share, cell.drift, cell.seed, MAX_DOCUMENTS.get(cell.language, _MOST)
    )
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            learned = learn(replace(config_of(cell, dumps, folder), **changes))
        except ConfigError as error:
            return {**cell.key, "impossible": str(error)}
        result: dict[str, Any] = {
            **cell.key,
            "documents": {part: len(getattr(dumps, part)) for part in Dumps.__slots__},
            "ai": {part: sum(d.is_ai for d in getattr(dumps, part)) for part in ("new", "unseen")},
            "refused": [reason.split(":")[0] for reason in learned.refused],
            "figures": learned.figures.as_json,
            "new": _crossed(learned, dumps),
            "seconds": round(time.perf_counter() - started, 1),
        }
        if not learned.refused:
            result["unseen"] = _judged(
                dumps.unseen, cell.language, Policy(tables=str(folder / "out"))
            )
    if cell.language in embedded_names():
        result["shipped"] = _judged(dumps.unseen, cell.language, Policy())
    return result


def config_of(cell: Cell, dumps: Dumps, folder: Path) -> LearnConfig:
    """What learns from the dumps, which are written to the folder."""
    for part in ("old", "between", "new"):
        documents: Iterable[Document] = getattr(dumps, part)
        with (folder / f"{part}.jsonl").open("w", encoding="utf-8") as file:
            for i, document in enumerate(documents):
                record = document.record(i) | {"language": cell.language}
                if cell.blind:
                    del record["url"]
                file.write(json.dumps(record) + "\n")
    return LearnConfig(
        language=cell.language,
        output=folder / "out",
        old=(folder / "old.jsonl",),
        unlabelled=(folder / "new.jsonl",),
        holdout=(folder / "between.jsonl",),
    ).suited()


def _crossed(learned: Learned, dumps: Dumps) -> dict[str, float | None]:
    """Of the new text, each document by a fit without its source, whatever was refused."""
    truth = {document.text: document.is_ai for document in dumps.new}
    new = [i for i, row in enumerate(learned.dumps.rows) if learned.dumps.part[i] == 2]
    is_ai = np.array([truth[learned.dumps.rows[i].text] for i in new])
    return _rates(is_ai, learned.called_ai[new], learned.z[new])


def _judged(
    documents: Sequence[Document], language: str, policy: Policy
) -> dict[str, float | None]:
    engine = Engine(policy).setup()
    text = pa.array([document.text for document in documents], pa.large_string())
    metadata = replace(
        Metadata.unknown(len(documents)),
        language=pa.array([language] * len(documents), pa.string()),
    )
    decisions = engine.judge(text, metadata).decisions
    is_ai = np.array([document.is_ai for document in documents])
    return _rates(is_ai, decisions.called_ai, np.nan_to_num(decisions.z, nan=-99.0))


def _rates(
    is_ai: NDArray[np.bool_], called: NDArray[np.bool_], z: NDArray[np.float64]
) -> dict[str, float | None]:
    """Shares of AI and of human text that are called AI, and the AUROC."""
    ai, human = z[is_ai], np.sort(z[~is_ai])
    below = np.searchsorted(human, ai, "left") + np.searchsorted(human, ai, "right")
    return {
        "found": round(float(called[is_ai].mean()), 4) if len(ai) else None,
        "fpr": round(float(called[~is_ai].mean()), 4),
        "auroc": round(float(below.mean() / 2 / len(human)), 4) if len(ai) else None,
    }


def as_markdown(results: Sequence[dict[str, Any]]) -> str:
    """A table, a row a cell."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for r in results:
        if "impossible" in r:
            known = (r["language"], r["split"], f"{100 * r['share']:g} %", r["drift"])
            told = ("no" if r["blind"] else "yes", "too little text")
            lines.append(f"| {' | '.join((*known, *told))} |" + " |" * (len(COLUMNS) - 6))
            continue
        figures, unseen, shipped = r["figures"], r.get("unseen", {}), r.get("shipped", {})
        share, drift = figures["share"], figures["drift"]
        cells = (
            *(r["language"], r["split"], f"{100 * r['share']:g} %", r["drift"]),
            "no" if r["blind"] else "yes",
            f"refused: {'; '.join(r['refused'])}" if r["refused"] else "learned",
            *(_percent(r["new"]["found"], 0), _percent(unseen.get("found"), 0)),
            *(_percent(r["new"]["fpr"]), _percent(unseen.get("fpr")), _number(r["new"]["auroc"])),
            f"{100 * share['estimate']:.0f} ({100 * share['low']:.0f}–{100 * share['high']:.0f}) %",
            f"{drift['estimate']:.2f} ({drift['low']:.2f}–{drift['high']:.2f})",
            *(_percent(shipped.get("found"), 0), _percent(shipped.get("fpr"))),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def main(arguments: Sequence[str]) -> None:
    """Measures what isn't there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", choices=("train", "dev", "both"), help="of every language")
    parser.add_argument("--languages", nargs="+", default=tuple(SPLITS))
    parser.add_argument("--shares", nargs="+", type=float, default=SHARES)
    parser.add_argument("--drifts", nargs="+", type=Drift, default=tuple(Drift))
    parser.add_argument("--blind", action="store_true", help="dumps without URLs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--set", nargs="*", default=(), help="NAME=NUMBER of LearnConfig")
    own = parser.parse_args(arguments)
    changes = {name: json.loads(value) for name, value in (s.split("=") for s in own.set)}
    own.results.mkdir(parents=True, exist_ok=True)
    path = own.results / "cells.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    results = [json.loads(line) for line in lines]
    splits = {language: own.split or SPLITS[language] for language in own.languages}
    rows = read(own.data, splits)
    for share, language, drift in itertools.product(own.shares, splits, own.drifts):
        cell = Cell(language, splits[language], share, drift, own.blind, own.seed)
        if any(cell.key.items() <= result.items() for result in results):
            continue
        results.append(measure(cell, rows[language], changes))
        print(as_markdown(results[-1:]).splitlines()[-1], flush=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(results[-1]) + "\n")
    order = ("language", "blind", "share", "drift")
    results.sort(key=lambda result: [str(result[name]) for name in order])
    (own.results / "cells.md").write_text(as_markdown(results), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
