"""Measures the shipped models on labelled text: `python -m benchmarks.quality.run DATA`.

DATA holds `labelled/dev/*.jsonl.zst`. Writes `results/dev.md` (detection), `results/fairness.md`
(whom it gets wrong, and what a score is worth), `results/limits.md` (the README's table), all of
it as `results/dev.json`, and the values of `floors.toml`. `--readme README.md` puts the table into
the README.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.quality import floors, human_groups
from benchmarks.quality.development import HERE, digests, judge

from lowbg.config import Policy
from lowbg.errors import ConfigError
from lowbg.jobs.eval.evaluate import (
    GroupResult,
    Interval,
    LabelledScores,
    as_json,
    as_markdown,
    evaluate,
    group_result,
    wilson_interval,
)
from lowbg.models import embedded_names, open_embedded

FASTDETECT_CELLS = ("news", "story", "qa-medical")
MARKS = ("<!-- limits: written by benchmarks/quality/run.py -->", "<!-- end of limits -->")
SHOWN = (
    *("language", "task", "task × language", "model's year"),
    *("dataset", "dataset × language", "dataset × domain", "generator", "attack"),
)


def published_cells(j: LabelledScores) -> list[GroupResult]:
    """The cells of Fast-DetectGPT's tables: each generator against all human text of its domain."""
    generator = np.random.default_rng(1)
    results = []
    for domain in FASTDETECT_CELLS:
        cell = (j.groups["dataset"] == "fastdetect") & (j.groups["domain"] == domain)
        for name in sorted(set(j.groups["generator"][cell & j.is_ai].tolist())):
            inside = cell & (~j.is_ai | (j.groups["generator"] == name))
            group = f"fastdetect · {domain} · {name}"
            results.append(
                group_result(j, "published cell", group, inside, inside, generator, rounds=200)
            )
    return results


def detection(j: LabelledScores) -> list[GroupResult]:
    """Everything that `lowbg eval` shows, by the groupings that tell something here."""
    dataset = np.char.add(j.groups["dataset"], " · ")
    task = np.char.add(np.char.add(j.groups["task"], " · "), j.groups["language"])
    groups = {
        **j.groups,
        "task × language": np.where(j.is_ai, task, ""),
        "dataset × language": np.char.add(dataset, j.groups["language"]),
        "dataset × domain": np.char.add(dataset, j.groups["domain"]),
    }
    shown = dataclasses.replace(j, groups={name: groups[name] for name in SHOWN})
    return evaluate(shown) + published_cells(j)


def limits(j: LabelledScores) -> list[dict[str, Any]]:
    """The README's rows: text, datasets, documents, figure and its 95 % interval."""
    rows = []
    scored = ~np.isnan(j.score)
    for row in tomllib.loads((HERE / "limits.toml").read_text(encoding="utf-8"))["row"]:
        inside = floors.chosen(j, row.get("where", {}))
        if row["figure"] == "scored":
            hits, own = scored, inside
        else:
            hits, own = j.called_ai, inside & scored & (j.is_ai == (row["figure"] == "recall"))
        interval = wilson_interval(int((own & hits).sum()), int(own.sum()))
        rows.append(
            {
                "text": row["text"],
                "figure": row["figure"],
                "datasets": sorted(set(j.groups["dataset"][own].tolist())),
                "documents": int(own.sum()),
                "value": dataclasses.asdict(interval) if interval else None,
            }
        )
    return rows


def limits_markdown(rows: list[dict[str, Any]]) -> str:
    """The README's table."""
    lines = ["| text | sets | documents | called AI |", "|---|---|---|---|"]
    for row in rows:
        sets = ", ".join(row["datasets"]) if len(row["datasets"]) <= 2 else ""
        sets = sets or f"{len(row['datasets'])} sets"
        value = _percent(Interval(**row["value"])) if row["value"] else "–"
        if row["figure"] == "scored":
            value = f"judged: {value}"
        lines.append(f"| {row['text']} | {sets} | {row['documents']:,} | {value} |")
    return "\n".join(lines) + "\n"


def _percent(found: Interval) -> str:
    value, low, high = (100 * v for v in (found.value, found.low, found.high))
    return f"{value:.1f} % ({low:.1f}–{high:.1f})"


def fairness_report(j: LabelledScores) -> tuple[str, dict[str, Any]]:
    """The page and the plain values of false positives by group, and of reliability."""
    groupings = {"kind of text": j.groups["kind"], **human_groups.default_groupings(j)}
    groupings["kind and language"] = np.where(
        j.groups["kind"] != "",
        np.char.add(np.char.add(j.groups["kind"], " · "), j.groups["language"]),
        "",
    )
    humans = human_groups.human_groups(j, groupings, min_documents=30)
    bins = human_groups.reliability(j)
    scored = ~np.isnan(j.score)
    error = human_groups.calibration_error(
        bins, int((scored & ~j.is_ai).sum()), int((scored & j.is_ai).sum())
    )
    page = (
        "# Whom the verdicts get wrong\n\nHuman text of the development data that is called AI at "
        "the shipped threshold, in groups of 30 documents or more. Wilson intervals. Deciles of "
        "perplexity are within each language; the tenth is the most unusual text.\n\n"
        f"{human_groups.human_markdown(humans)}\n## What a score is worth\n\nThe share of AI text "
        "at each score, if half of all text were AI; all kinds of AI text, rewrites of human text "
        f"among them. Mean distance of the two last columns: {error:.3f}.\n\n"
        f"{human_groups.reliability_markdown(bins)}"
    )
    return page, {
        "human_groups": [dataclasses.asdict(row) for row in humans],
        "reliability": [dataclasses.asdict(row) for row in bins],
        "calibration_error": error,
    }


def put_into_readme(path: Path, table: str) -> None:
    """Replaces what is between the marks. Raises `ConfigError` where they are missing."""
    text = path.read_text(encoding="utf-8")
    start, end = map(re.escape, MARKS)
    new, n = re.subn(f"{start}.*?{end}", f"{MARKS[0]}\n{table}{MARKS[1]}", text, flags=re.DOTALL)
    if n != 1:
        raise ConfigError(f"{path}: no table between {MARKS[0]!r} and {MARKS[1]!r}")
    path.write_text(new, encoding="utf-8")


def main(argv: list[str]) -> int:
    """Measures, and writes the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--target-fpr", type=float, default=0.01)
    parser.add_argument("--readme", type=Path, help="the README whose table is to be replaced")
    parser.add_argument("--lower-floors", action="store_true", help="floors may get worse")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results")
    options = parser.parse_args(argv)
    j = judge(options.data, Policy(target_fpr=options.target_fpr))
    results, rows = detection(j), limits(j)
    page, fair = fairness_report(j)
    options.output.mkdir(parents=True, exist_ok=True)
    report = {
        "target_fpr": options.target_fpr,
        "models": {name: open_embedded(name).sha256 for name in embedded_names()},
        "data": digests(options.data),
        "results": as_json(results),
        "limits": rows,
        **fair,
    }
    table = f"# Dev data at a target of {options.target_fpr:.1%}\n\n{as_markdown(results)}"
    for name, text in (
        ("dev.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n"),
        ("dev.md", table),
        ("fairness.md", page),
        ("limits.md", limits_markdown(rows)),
    ):
        (options.output / name).write_text(text, encoding="utf-8")
    if options.readme:
        put_into_readme(options.readme, limits_markdown(rows))
    if options.target_fpr == Policy().target_fpr:
        path = HERE / "floors.toml"
        text, own = path.read_text(encoding="utf-8"), floors.load(path)
        drawn = judge(options.data, Policy(), lambda rows: floors.sample(rows, own))
        found = floors.updated(text, own, drawn, may_lower=options.lower_floors)
        path.write_text(found, encoding="utf-8")
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except ConfigError as error:
        print(f"benchmarks.quality.run: {error}", file=sys.stderr)
        raise SystemExit(2) from None
