"""Human text that detectors wrong most, set by set: what tables, probe and both call AI.

`python -m benchmarks.neural.guards DATA MODEL [--rows 100] [--probe FILE] [--cache DIR]` reads at
most so many human documents of each set of `DATA/labelled/dev` that stands for a guard: essays of
the TOEFL, poetry, college essays, abstracts, web fiction. Neither tables nor probe were fitted on
them. A line a set: how many documents are called AI by the tables alone, by the probe alone, and by
both as a run with `--lm` joins them, each by the thresholds that it comes with, of 1 %.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from benchmarks.neural.development_sets import Floats, Read, judged
from benchmarks.neural.made import made_by
from benchmarks.neural.unseen_kinds import MIN_CHARACTERS, Reading, hash_of, read_states
from numpy.typing import NDArray

from lowbg.config import Policy
from lowbg.decision.calibration import at_rate
from lowbg.decision.lm import MIN_WORDS, standardise
from lowbg.jobs.train.corpus import Row, as_text, list_files, read_rows
from lowbg.runs.engine import Engine
from lowbg.runs.probe_calibration import calibration_of
from lowbg.scorers.lm.probes import Probe, open_probe
from lowbg.scorers.lm.shipped import shipped_probes
from lowbg.scorers.lm.store import ModelFolder, locate
from lowbg.text.languages import CODES

GUARDS: Final[Mapping[tuple[str, str], str]] = {
    ("liang_bias", "essay-nonnative"): "essays of the TOEFL",
    ("human_poetry", "poetry"): "poetry",
    ("liang_bias", "essay-college"): "college essays",
    ("llmdetect", "essay-college"): "college essays",
    ("en2_pubmedqa", "medical_abstract"): "abstracts",
    ("en2_scisumm_acl", "academic_abstract"): "abstracts",
    ("hppt", "abstract"): "abstracts",
    ("liang_bias", "abstract"): "abstracts",
    ("en4-scp-tales", "story-web-fiction"): "web fiction",
}
"""Which guard a dataset's documents of a domain stand for."""


def draw_guards(data: Path, most: int) -> Iterator[tuple[str, list[Row]]]:
    """At most `most` human documents of each set, by hash; in the order of `GUARDS`."""
    found: dict[tuple[str, str], list[Row]] = {key: [] for key in GUARDS}
    for path in list_files([data / "labelled" / "dev"]):
        for row in read_rows(path):
            own = found.get((row.dataset, row.domain))
            plain = row.language == "en" and not row.is_ai and not row.attack
            if own is not None and plain and len(row.text) >= MIN_CHARACTERS:
                own.append(row)
    for key, rows in found.items():
        yield f"{GUARDS[key]} | {key[0]}", sorted(rows, key=hash_of)[:most]


def by_probe_alone(rows: Sequence[Row], probe: Probe, log_odds: Floats) -> Floats:
    """z of the probe less its own threshold; NaN of documents with too few words for it."""
    engine = Engine(Policy(), third_parties=False).setup()
    lm = calibration_of([probe], "", engine.policy, engine.models)
    assert lm is not None
    text = as_text(rows)
    english = np.full(len(rows), CODES.index("en"), np.int8)
    words = engine.documents(text, english).tokens.words_per_document
    z = standardise(lm.languages["en"], log_odds, words)
    z = np.where(words >= MIN_WORDS, z, np.nan)
    return z - at_rate(probe.card["human"]["thresholds"], engine.policy.target_fpr)


def margins(
    rows: Sequence[Row], folder: ModelFolder, probe: Probe, cache: Path | None
) -> tuple[Floats, Floats, Floats]:
    """z less its threshold by the tables, by the probe, and by both; NaN where there is none."""
    states = read_states(rows, folder, Reading((probe.of.layer,), probe.of.tokens), cache)
    log_odds = probe.log_odds(states[:, 0])
    tables, joined, _, _ = judged(rows, probe, Read(log_odds, np.full(len(rows), np.nan)))
    return tables, by_probe_alone(rows, probe, log_odds), joined


def line(name: str, own: Sequence[Floats], chosen: NDArray[np.bool_]) -> str:
    """A row: documents, those that the tables judge, and those called AI by each evidence."""
    n = int(chosen.sum())
    judged_by_tables = int((~np.isnan(own[0][chosen])).sum())
    called = (int(np.nansum(margin[chosen] >= 0)) for margin in own)
    cells = " | ".join(f"{count} ({count / n:.1%})" for count in called)
    return f"| {name} | {n} | {judged_by_tables} | {cells} |"


def main(argv: Sequence[str]) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neural.guards")
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("--probe", type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--rows", type=int, default=100)
    options = parser.parse_args(argv)
    probe = shipped_probes()[0] if options.probe is None else open_probe(options.probe)
    sets = list(draw_guards(options.data, options.rows))
    rows = [row for _, own in sets for row in own]
    names = np.array([name for name, own in sets for _ in own])
    found = margins(rows, locate(options.model, "MODEL"), probe, options.cache)
    command = f"benchmarks.neural.guards DATA smollm2 --rows {options.rows}"
    print(made_by(command, "human English text of labelled/dev") + "\n")
    print("| guard | set | documents | judged by the tables | tables | probe | both |")
    print("|---|---|---|---|---|---|---|")
    for name, _ in sets:
        print(line(name, found, names == name))
    for guard in dict.fromkeys(GUARDS.values()):
        chosen = np.char.startswith(names, f"{guard} |")
        if len(set(names[chosen])) > 1:
            print(line(f"{guard} | together", found, chosen))
    print(line("all | together", found, np.ones(len(rows), np.bool_)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
