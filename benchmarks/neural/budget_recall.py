"""What `lowbg score --lm` finds by its budget, and what that costs: `… budget_recall DATA MODEL`.

`python -m benchmarks.neural.budget_recall DATA MODEL [--rows 40] [--budgets 1% 5% 20% 100%]` writes
at most `--rows` rows of each dataset and label of English text of `DATA/labelled/dev`, by hash, and
scores them with the tables alone and with each budget, as a user would. Nothing was fitted on them
or chosen by them. A line a budget: what was read, the processor's time of the command beyond that
of the tables, the mean share called AI over kinds of AI text and of human text at the thresholds
as they are, recall at a threshold that calls 1 % of the human kinds AI on average, and how many
more documents would be called AI with everything read: as the report estimates it, and as it is.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.neural.unseen_kinds import draw
from numpy.typing import NDArray

from lowbg.jobs.train.corpus import Row
from lowbg.jobs.train.probe import threshold_at


@dataclass(frozen=True, slots=True)
class Run:
    """What a run came to: verdict and score of each document (−∞: none), and what it cost."""

    called: NDArray[np.bool_]
    score: NDArray[np.float64]
    processor: float
    look: dict[str, Any] | None


def write(rows: Sequence[Row], path: Path) -> NDArray[np.str_]:
    """Writes the rows as a shard; the kind of each."""
    with path.open("w") as out:
        for row in rows:
            text = row.text.encode("utf-8", "replace").decode("utf-8")
            print(json.dumps({"text": text, "language": "en"}), file=out)
    return np.array([("ai/" if row.is_ai else "human/") + row.dataset for row in rows])


def score(shard: Path, out: Path, options: Sequence[str]) -> Run:
    """Runs `lowbg score`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "lowbg_cli", "score", str(shard), "-o", str(out), *options]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    rows = [json.loads(line) for line in (out / shard.name).read_text().splitlines()]
    report = json.loads((out / "report.json").read_bytes())
    return Run(
        called=np.array([row["verdict"] == "ai" for row in rows]),
        score=np.array([-np.inf if row["ai_score"] is None else row["ai_score"] for row in rows]),
        processor=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        look=report["second_look"],
    )


def line(name: str, run: Run, tables: Run, everything: Run, kinds: NDArray[np.str_]) -> str:
    """A row of the table."""
    names = np.unique(kinds)
    human = [kinds == kind for kind in names if kind.startswith("human/")]
    ai = [kinds == kind for kind in names if kind.startswith("ai/")]
    wrong = [float(run.called[own].mean()) for own in human]
    cut = threshold_at([run.score[own] for own in human], 0.01)
    at_one = np.mean([np.mean(run.score[own] > cut) for own in ai])
    look = run.look
    read = tokens = cost = missed = "–"
    if look is not None:
        read, tokens = f"{look['share']:.1%}", f"{look['tokens']:,}"
        cost = f"{run.processor - tables.processor:,.0f}"
        found = look.get("missed")
        if found is not None and found["unread"]:
            missed = f"{found['documents']} ({found['low']}–{found['high']})"
    more = int((everything.called & ~run.called).sum())
    recall = np.mean([run.called[own].mean() for own in ai])
    return (
        f"| {name} | {read} | {tokens} | {cost} | {recall:.1%} | {np.mean(wrong):.1%} | "
        f"{max(wrong):.0%} | {at_one:.1%} | {missed} | {more} |"
    )


def main(argv: Sequence[str]) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neural.budget_recall")
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--budgets", nargs="+", default=["1%", "5%", "20%", "100%"])
    options = parser.parse_args(argv)
    rows = draw(options.data, ["dev"], options.rows)
    runs: dict[str, Run] = {}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        kinds = write(rows, folder / "dev.jsonl")
        runs["tables alone"] = score(folder / "dev.jsonl", folder / "tables", [])
        for budget in options.budgets:
            own = ["--lm", options.model, "--lm-budget", budget]
            runs[budget] = score(folder / "dev.jsonl", folder / budget, own)
            print(budget, f"{runs[budget].processor:.0f} s", file=sys.stderr, flush=True)
    count = sum(str(kind).startswith("ai/") for kind in np.unique(kinds))
    print(
        f"{len(rows):,} documents of {count} kinds of AI text and {len(np.unique(kinds)) - count} "
        f"of human text (dev), {Path(options.model).name}\n\n"
        "| budget | documents read | tokens | CPU s | AI called AI | human called AI | "
        "worst human kind | recall at 1 % | missed, as estimated (95 %) | missed |\n"
        "|---|---|---|---|---|---|---|---|---|---|"
    )
    tables, everything = runs["tables alone"], runs[options.budgets[-1]]
    for name, run in runs.items():
        print(line(name, run, tables, everything, kinds))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
