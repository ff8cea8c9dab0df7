"""The shipped tables, and those with a probe, on English development sets: `… DATA MODEL`.

`python -m benchmarks.neural.development_sets DATA MODEL [--probe FILE] [--cache DIR]` reads at most
40 rows of each dataset and label of `DATA/labelled/dev`, which neither tables nor probe were fitted
on, and judges them as `lowbg score` does, with the tables alone and with the probe's thresholds. A
row a kind of evidence: mean over the kinds of AI text of the share called AI, mean over those of
human text, at the thresholds as they are; and recall at a threshold that calls 1 % of the human
kinds AI on average.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from benchmarks.neural.unseen_kinds import Reading, draw, read_states
from numpy.typing import NDArray

from lowbg.config import Policy
from lowbg.decision.decide import Decider, Features
from lowbg.jobs.eval.evaluate import auroc
from lowbg.jobs.train.corpus import Row, as_text
from lowbg.jobs.train.probe import threshold_at
from lowbg.records import Metadata
from lowbg.runs.engine import Engine
from lowbg.runs.probe_calibration import calibration_of
from lowbg.scorers.lm.probes import Probe, open_probe
from lowbg.scorers.lm.shipped import shipped_probes
from lowbg.scorers.lm.store import locate

Floats = NDArray[np.float64]


def judged(rows: Sequence[Row], probe: Probe, log_odds: Floats) -> tuple[Floats, Floats, Floats]:
    """z less the threshold of each row, NaN where unscored: by tables, joined, by the probe."""
    engine = Engine(Policy(), third_parties=False).setup()
    lm = calibration_of([probe], "", engine.policy, engine.models)
    assert lm is not None
    joint = Decider(engine.policy, engine.models, lm)
    text = as_text(rows)
    nothing = pa.nulls(len(text), pa.string())
    language = pa.array(["en"] * len(text), pa.string())
    first = engine.judge(text, Metadata(id=nothing, language=language, date=nothing, url=nothing))
    tokens = first.documents.tokens
    column = {"lm_probe_log_odds": pa.array(log_odds.astype(np.float32))}
    features = Features(
        languages=first.documents.languages,
        codes=first.documents.language_codes,
        words=tokens.words_per_document,
        counts=tokens.counts,
        columns={**first.columns, **column},
        known=first.known,
    )
    return first.decisions.margin, joint.decide(features).margin, log_odds


def line(name: str, margin: Floats, kinds: NDArray[np.str_], *, own: bool = True) -> str:
    """A row of the table; without `own` there is no threshold as it is."""
    value = np.where(np.isnan(margin), -np.inf, margin)
    names = np.unique(kinds)
    human = [value[kinds == kind] for kind in names if kind.startswith("human/")]
    ai = [value[kinds == kind] for kind in names if kind.startswith("ai/")]
    found, wrong = ([float(np.mean(v >= 0)) for v in side] for side in (ai, human))
    cut = threshold_at(human, 0.01)
    recall = [float(np.mean(v > cut)) for v in ai]
    area = np.mean([np.mean([auroc(h, a) for h in human]) for a in ai])
    at = f"{np.mean(found):.1%} | {np.mean(wrong):.1%} | {max(wrong):.0%}" if own else "– | – | –"
    return (
        f"| {name} | {at} | {np.mean(recall):.1%} | {np.quantile(recall, 0.25):.0%} | "
        f"{max(float(np.mean(h > cut)) for h in human):.0%} | {area:.3f} |"
    )


def _said(margin: Floats) -> Floats:
    return np.where(np.isnan(margin), -np.inf, margin)


def one_percent(margin: Floats, kinds: NDArray[np.str_], rate: float = 0.01) -> float:
    """The threshold that calls this share of the human kinds AI on average."""
    value = _said(margin)
    human = [value[kinds == kind] for kind in np.unique(kinds) if kind.startswith("human/")]
    return threshold_at(human, rate)


def both(
    name: str, tables: Floats, joined: Floats, chosen: NDArray[np.bool_], cuts: Sequence[float]
) -> str:
    """A row: the share above each threshold of the documents that are `chosen`."""
    sides = zip((tables, joined), cuts, strict=True)
    found = [float(np.mean(_said(margin)[chosen] > cut)) for margin, cut in sides]
    return f"| {name} ({int(chosen.sum())}) | {found[0]:.1%} | {found[1]:.1%} |"


def main(argv: Sequence[str]) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neural.development_sets")
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("--probe", type=Path)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args(argv)
    probe = shipped_probes()[0] if options.probe is None else open_probe(options.probe)
    rows = draw(options.data, ["dev"], 40)
    reading = Reading((probe.of.layer,), probe.of.tokens)
    states = read_states(rows, locate(options.model, "MODEL"), reading, options.cache)
    log_odds = probe.log_odds(states[:, 0])
    kinds = np.array([("ai/" if row.is_ai else "human/") + row.dataset for row in rows])
    tables, joined, alone = judged(rows, probe, log_odds)
    short = np.isnan(tables)
    names = np.unique(kinds)
    count = sum(kind.startswith("ai/") for kind in names)
    print(
        f"{len(rows):,} documents of {count} kinds of AI text and {len(names) - count} of "
        f"human text (dev); {short.mean():.0%} are too short for the tables\n\n"
        "| evidence | AI called AI | human called AI | worst human kind | recall at 1 % | "
        "lowest quarter | worst human kind then | AUROC |\n|---|---|---|---|---|---|---|---|"
    )
    for name, margin, own in (
        ("tables", tables, True),
        ("tables and probe", joined, True),
        ("probe", alone, False),
    ):
        print(line(name, margin, kinds, own=own))
    cuts = [one_percent(margin, kinds) for margin in (tables, joined)]
    print("\nBy kind of AI text, at 1 % of the human kinds on average:\n")
    print("| kind | tables | tables and probe |\n|---|---|---|")
    for kind in names[np.char.startswith(names, "ai/")]:
        print(both(kind.removeprefix("ai/"), tables, joined, kinds == kind, cuts))
    print("\nGroups:\n\n| group | tables | tables and probe |\n|---|---|---|")
    is_ai = np.array([row.is_ai for row in rows])
    words = np.array([len(row.text.split()) for row in rows])
    toefl = np.array([not row.is_ai and row.domain == "essay-nonnative" for row in rows])
    print(both("human essays of the TOEFL, thresholds as they are", tables, joined, toefl, [0, 0]))
    brief = (words >= 25) & (words < 75)
    at_two = [one_percent(m[brief], kinds[brief], 0.02) for m in (tables, joined)]
    name = "AI text of 25 to 74 words, at 2 % of human text of that length"
    print(both(name, tables, joined, brief & is_ai, at_two))
    base = draw(options.data, ["dev"], 100, of_base=True)
    base = [row for row in base if row.domain in ("news", "story") and row.dataset == "fastdetect"]
    found = read_states(base, locate(options.model, "MODEL"), reading, options.cache)
    of_base = judged(base, probe, probe.log_odds(found[:, 0]))
    people = ~np.array([row.is_ai for row in base])
    at_five = [np.quantile(_said(m[people]), 0.95, method="higher") for m in of_base[:2]]
    name = "news and stories by base models, at 5 % of human text beside them"
    print(both(name, *of_base[:2], ~people, at_five))
    large = ~short
    print("\nThose that the tables judge:\n")
    for name, margin, own in (("tables", tables, True), ("tables and probe", joined, True)):
        print(line(name, margin[large], kinds[large], own=own))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
