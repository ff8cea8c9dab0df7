"""The shipped tables, and those with a probe, on English development sets: `… DATA MODEL`.

`python -m benchmarks.neural.development_sets DATA MODEL [--probe FILE] [--cache DIR]` reads at most
40 rows (`--rows`) of each dataset and label of `DATA/labelled/dev`, which neither tables nor probe
were fitted on, and judges them as `lowbg score` does: with the tables alone, with the probe, and
with the model's surprise as well, by the thresholds of each. A row a kind of evidence: mean over
the kinds of AI text of the share called AI, mean over those of human text, at the thresholds as
they are; and recall at a threshold that calls 1 % of the human kinds AI on average.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from benchmarks.neural.unseen_kinds import Reading, draw, read_all
from numpy.typing import NDArray

from lowbg.config import Policy
from lowbg.decision.decide import Decider, Features
from lowbg.decision.unscored import is_prose
from lowbg.jobs.eval.evaluate import auroc
from lowbg.jobs.train.corpus import Row, as_text
from lowbg.jobs.train.probe import threshold_at
from lowbg.records import Metadata
from lowbg.runs.engine import Engine
from lowbg.runs.probe_calibration import calibration_of
from lowbg.scorers.causal_lm import nullable
from lowbg.scorers.lm.probes import Probe, open_probe
from lowbg.scorers.lm.shipped import shipped_probes
from lowbg.scorers.lm.store import ModelFolder, locate

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Read:
    """What the model says of each row: the probe's log-odds, and its evenness."""

    log_odds: Floats
    evenness: Floats


def read(rows: Sequence[Row], folder: ModelFolder, probe: Probe, cache: Path | None) -> Read:
    """Of the rows, by the probe."""
    assert probe.surprise is not None
    reading = Reading((probe.of.layer,), probe.of.tokens, surprise=True)
    states, figures = read_all(rows, folder, reading, cache)
    return Read(probe.log_odds(states[:, 0]), probe.surprise.evenness(figures))


def judged(rows: Sequence[Row], probe: Probe, found: Read) -> tuple[Floats, Floats, Floats, Floats]:
    """z less the threshold of each row, NaN where unscored: by tables, joined, with surprise, too;
    and the probe's log-odds.
    """
    engine = Engine(Policy(), third_parties=False).setup()
    known = [
        calibration_of([probe], "", engine.policy, engine.models, surprise=surprise)
        for surprise in (False, True)
    ]
    deciders = [Decider(engine.policy, engine.models, lm) for lm in known if lm is not None]
    text = as_text(rows)
    nothing = pa.nulls(len(text), pa.string())
    language = pa.array(["en"] * len(text), pa.string())
    first = engine.judge(text, Metadata(id=nothing, language=language, date=nothing, url=nothing))
    tokens = first.documents.tokens
    column = {
        "lm_probe_log_odds": pa.array(found.log_odds.astype(np.float32)),
        "lm_evenness": nullable(found.evenness),
    }
    features = Features(
        languages=first.documents.languages,
        codes=first.documents.language_codes,
        words=tokens.words_per_document,
        prose=is_prose(tokens.counts),
        columns={**first.columns, **column},
        known=first.known,
    )
    joined, surprised = (decider.decide(features).margin for decider in deciders)
    return first.decisions.margin, joined, surprised, found.log_odds


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


def one_percent(margin: Floats, kinds: NDArray[np.str_]) -> float:
    """The threshold that calls 1 % of the human kinds AI on average."""
    value = _said(margin)
    human = [value[kinds == kind] for kind in np.unique(kinds) if kind.startswith("human/")]
    return threshold_at(human, 0.01)


def shares(
    name: str, margins: Sequence[Floats], chosen: NDArray[np.bool_], cuts: Sequence[float]
) -> str:
    """A row: the share above each threshold of the documents that are `chosen`."""
    sides = zip(margins, cuts, strict=True)
    found = [float(np.mean(_said(margin)[chosen] > cut)) for margin, cut in sides]
    cells = " | ".join(f"{share:.1%}" for share in found)
    return f"| {name} ({int(chosen.sum())}) | {cells} |"


HEAD = "tables | tables and probe | and surprise |\n|---|---|---|---|"


def main(argv: Sequence[str]) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neural.development_sets")
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("--probe", type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--rows", type=int, default=40)
    options = parser.parse_args(argv)
    probe = shipped_probes()[0] if options.probe is None else open_probe(options.probe)
    rows = draw(options.data, ["dev"], options.rows)
    folder = locate(options.model, "MODEL")
    kinds = np.array([("ai/" if row.is_ai else "human/") + row.dataset for row in rows])
    tables, joined, surprised, alone = judged(rows, probe, read(rows, folder, probe, options.cache))
    three = (tables, joined, surprised)
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
        ("tables, probe and surprise", surprised, True),
        ("probe", alone, False),
    ):
        print(line(name, margin, kinds, own=own))
    cuts = [one_percent(margin, kinds) for margin in three]
    print("\nBy kind of AI text, at 1 % of the human kinds on average:\n")
    print(f"| kind | {HEAD}")
    for kind in names[np.char.startswith(names, "ai/")]:
        print(shares(kind.removeprefix("ai/"), three, kinds == kind, cuts))
    print(
        f"\nHuman kinds of which more than 2 % are called AI as thresholds are:\n\n| kind | {HEAD}"
    )
    for kind in names[np.char.startswith(names, "human/")]:
        if any(float(np.mean(_said(margin)[kinds == kind] >= 0)) > 0.02 for margin in three):
            print(shares(kind.removeprefix("human/"), three, kinds == kind, [0, 0, 0]))
    print(f"\nGroups:\n\n| group | {HEAD}")
    toefl = np.array([not row.is_ai and row.domain == "essay-nonnative" for row in rows])
    print(shares("human essays of the TOEFL, thresholds as they are", three, toefl, [0, 0, 0]))
    base = draw(options.data, ["dev"], 100, of_base=True)
    base = [row for row in base if row.domain in ("news", "story") and row.dataset == "fastdetect"]
    of_base = judged(base, probe, read(base, folder, probe, options.cache))[:3]
    people = ~np.array([row.is_ai for row in base])
    at_five = [np.quantile(_said(m[people]), 0.95, method="higher") for m in of_base]
    name = "news and stories by base models, at 5 % of human text beside them"
    print(shares(name, of_base, ~people, at_five))
    large = ~short
    print("\nThose that the tables judge:\n")
    for name, margin in zip(("tables", "tables and probe", "and surprise"), three, strict=True):
        print(line(name, margin[large], kinds[large]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
