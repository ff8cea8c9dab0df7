"""Measures the shipped models on labelled text: `python benchmarks/quality/run.py DATA`.

DATA holds `labelled/dev/*.jsonl.zst`. Writes `results/dev.md` and `results/dev.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from lowbg import languages
from lowbg.config import Policy
from lowbg.engine import Engine
from lowbg.models import embedded_names, open_embedded
from lowbg.records import Metadata
from lowbg.training.corpus import Row, as_text, file_digest, list_files, read_rows
from lowbg.training.evaluate import (
    GroupResult,
    Judgements,
    as_json,
    as_markdown,
    evaluate,
    group_result,
)

HERE = Path(__file__).parent
FASTDETECT_CELLS = ("news", "story", "qa-medical")


def judge(engine: Engine, rows: list[Row]) -> Iterator[tuple[Row, float, bool, int]]:
    """Each row with its score (NaN: unscored), whether it is called AI, and its words."""
    for start in range(0, len(rows), 1000):
        part = rows[start : start + 1000]
        nulls = pa.nulls(len(part), pa.string())
        own = pa.array([row.language or None for row in part], pa.string())
        judged = engine.judge(as_text(part), Metadata(nulls, own, nulls, nulls))
        decisions = judged.decisions
        scores = decisions.score.to_numpy(zero_copy_only=False).astype(float)
        words = judged.documents.tokens.words_per_document
        yield from zip(
            part, scores.tolist(), decisions.called_ai.tolist(), words.tolist(), strict=True
        )


def measure(folder: Path, target_fpr: float) -> tuple[Judgements, dict[str, str]]:
    """Judges every file below `folder`; the digests of the files by name."""
    engine = Engine(Policy(target_fpr=target_fpr)).setup()
    judged = []
    digests = {}
    for path in list_files([folder]):
        digests[path.name] = file_digest(path)
        judged += list(judge(engine, list(read_rows(path))))
    rows = [entry[0] for entry in judged]
    groups = {
        "language": [languages.normalise(row.language) or row.language for row in rows],
        "dataset": [row.dataset for row in rows],
        "dataset × language": [f"{row.dataset} · {row.language}" for row in rows],
        "dataset × domain": [f"{row.dataset} · {row.domain}" for row in rows],
        "generator": [row.generator if row.is_ai else "" for row in rows],
        "attack": [row.attack if row.is_ai else "" for row in rows],
    }
    return (
        Judgements(
            is_ai=np.array([row.is_ai for row in rows]),
            score=np.array([entry[1] for entry in judged]),
            called_ai=np.array([entry[2] for entry in judged]),
            words=np.array([entry[3] for entry in judged]),
            groups={name: np.array(values) for name, values in groups.items()},
        ),
        digests,
    )


def published_cells(j: Judgements) -> list[GroupResult]:
    """The cells of Fast-DetectGPT's tables: each generator against all human text of its domain."""
    generator = np.random.default_rng(1)
    results = []
    for domain in FASTDETECT_CELLS:
        cell = j.groups["dataset × domain"] == f"fastdetect · {domain}"
        for name in sorted(set(j.groups["generator"][cell & j.is_ai].tolist())):
            inside = cell & (~j.is_ai | (j.groups["generator"] == name))
            group = f"fastdetect · {domain} · {name}"
            results.append(
                group_result(j, "published cell", group, inside, inside, generator, rounds=200)
            )
    return results


def main(argv: list[str]) -> int:
    """Measures, and writes both results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--target-fpr", type=float, default=0.01)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results")
    options = parser.parse_args(argv)
    judgements, digests = measure(options.data / "labelled" / "dev", options.target_fpr)
    results = evaluate(judgements) + published_cells(judgements)
    options.output.mkdir(parents=True, exist_ok=True)
    models = {name: open_embedded(name).sha256 for name in embedded_names()}
    report = {
        "target_fpr": options.target_fpr,
        "models": models,
        "data": digests,
        "results": as_json(results),
    }
    text = json.dumps(report, indent=1, ensure_ascii=False)
    (options.output / "dev.json").write_text(text + "\n", encoding="utf-8")
    table = f"# Dev data at a target of {options.target_fpr:.1%}\n\n{as_markdown(results)}"
    (options.output / "dev.md").write_text(table, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
