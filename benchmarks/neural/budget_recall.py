"""What a causal LM finds by how much it may read, and what that costs.

`python -m benchmarks.neural.budget_recall DATA MODEL [--rows 40] [--cache FILE]` judges at most
`--rows` rows of each dataset and label of English text of `DATA/labelled/dev`, by hash; nothing was
fitted on them or chosen by them. The shipped probe reads all of them once; each budget then takes
what `lowbg filter --lm-budget` would read of them, and the rest is judged by the tables. A line a
budget: documents and tokens read, the processor's seconds that these take at the rate of the whole,
the mean share called AI over kinds of AI text and of human text at the thresholds as they are, and
how many more documents would be called AI with everything read: as a report would estimate it with
its 95 % interval, and as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
from benchmarks.neural.made import made_by
from benchmarks.neural.unseen_kinds import draw
from numpy.typing import NDArray

from lowbg.config import Extras, LmSettings, Policy, Verdict
from lowbg.decision.decide import Decider, Features
from lowbg.decision.unscored import is_prose
from lowbg.jobs.train.corpus import Row, as_text
from lowbg.lm_budget import EVERYTHING, LmSelection
from lowbg.records import Metadata
from lowbg.report.sections.second_look import missed_of
from lowbg.runs.cascade import LOW, SHORT, drawn, kinds_of, selected
from lowbg.runs.engine import Engine, Judged
from lowbg.runs.lm_selection import Candidates

PORTION = 20
"""Documents that are read before the cache is written."""

Mask = NDArray[np.bool_]


def metadata(rows: Sequence[Row]) -> Metadata:
    """That the rows are English, and nothing else."""
    nothing = pa.nulls(len(rows), pa.string())
    return Metadata(nothing, pa.array(["en"] * len(rows), pa.string()), nothing, nothing)


def read(rows: Sequence[Row], engine: Engine, cache: Path | None) -> list[tuple[float, int, float]]:
    """Log-odds, tokens and the processor's seconds of each row; what is in the cache isn't read."""
    known: dict[str, tuple[float, int, float]] = {}
    if cache is not None and cache.exists():
        known = {key: tuple(found) for key, found in json.loads(cache.read_text()).items()}
    keys = [blake2b(row.text.encode("utf-8", "replace"), digest_size=8).hexdigest() for row in rows]
    missing = [i for i, key in enumerate(keys) if key not in known]
    for at in range(0, len(missing), PORTION):
        own = [rows[i] for i in missing[at : at + PORTION]]
        started = time.process_time()
        judged = engine.judge(as_text(own), metadata(own))
        seconds = (time.process_time() - started) / len(own)
        assert judged.second is not None
        log_odds = judged.columns["lm_probe_log_odds"].to_pylist()
        for i, value, tokens in zip(
            missing[at : at + PORTION], log_odds, judged.second.tokens.tolist(), strict=True
        ):
            known[keys[i]] = (np.nan if value is None else value, tokens, seconds)
        if cache is not None:
            cache.write_text(json.dumps(known))
        print(f"{at + len(own)} of {len(missing)}", file=sys.stderr, flush=True)
    return [known[key] for key in keys]


class Documents:
    """The rows, what tables say of them, and what the LM does."""

    def __init__(self, rows: Sequence[Row], engine: Engine, log_odds: NDArray[np.float64]) -> None:
        lm = engine.cascade.calibration(engine.policy, engine.models)
        assert lm is not None
        self.text = as_text(rows)
        self.tables: Judged = engine.without_second_look().judge(self.text, metadata(rows))
        self._joint = Decider(engine.policy, engine.models, lm)
        self._log_odds = log_odds.astype(np.float32)
        self._can_say = engine.cascade.can_say(self.tables.documents, self._joint)

    def candidates(self) -> Candidates:
        """What a budget may be spent on."""
        own = kinds_of(EVERYTHING, self.tables.decisions, self._can_say) >= 0
        n = len(self.text)
        return Candidates(self.tables.decisions.margin[own], np.zeros(int(own.sum())), n, n)

    def called(self, selection: LmSelection) -> tuple[Mask, NDArray[np.int8], NDArray[np.int8]]:
        """Which are called AI under a selection; of which kind each is, and each that is read."""
        kinds, shares = drawn(selection, self.tables.decisions, self._can_say)
        sent = selected(kinds, shares, self.text)
        judged = self.tables
        hidden = (sent < 0) | np.isnan(self._log_odds)
        features = Features(
            languages=judged.documents.languages,
            codes=judged.documents.language_codes,
            words=judged.documents.tokens.words_per_document,
            prose=is_prose(judged.documents.tokens.counts),
            columns={
                **judged.columns,
                "lm_probe_log_odds": pa.array(self._log_odds, mask=hidden),
            },
            known=judged.known,
        )
        verdicts = self._joint.decide(features).verdicts
        return verdicts == Verdict.AI.code, kinds, sent


def told_missed(
    selection: LmSelection, before: Mask, after: Mask, kinds: NDArray[np.int8], sent: Mask
) -> str:
    """What a report would say of what was missed."""
    counts = {}
    for code, share in ((LOW, selection.low), (SHORT, selection.short)):
        own = kinds == code
        for name, which in (
            ("documents", own),
            ("read", own & sent),
            ("found", own & sent & after & ~before),
        ):
            counts[f"{code}/{share:g}/{name}"] = int(which.sum())
    found = missed_of(counts)
    assert found is not None
    return f"{found.documents} ({found.low}–{found.high})"


def main(argv: Sequence[str]) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neural.budget_recall")
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args(argv)
    rows = draw(options.data, ["dev"], options.rows)
    lm = LmSettings(options.model)
    engine = Engine(Policy(), Extras(lm), third_parties=False)
    engine.prepare()
    found = read(rows, engine.setup(), options.cache)
    log_odds, tokens, seconds = (np.array(values) for values in zip(*found, strict=True))
    documents = Documents(rows, engine, log_odds)
    kinds = np.array([("ai/" if row.is_ai else "human/") + row.dataset for row in rows])
    names = np.unique(kinds)
    human = [kinds == kind for kind in names if kind.startswith("human/")]
    ai = [kinds == kind for kind in names if kind.startswith("ai/")]
    before = documents.tables.decisions.called_ai
    everything = documents.called(EVERYTHING)[0]
    rate = seconds.sum() / tokens.sum()
    command = f"benchmarks.neural.budget_recall DATA MODEL --rows {options.rows} --cache FILE"
    print(made_by(command, "English text of labelled/dev"))
    print(
        f"\n{len(rows):,} documents of {len(ai)} kinds of AI text and {len(human)} of human text "
        f"(dev), {Path(options.model).name}; {1 / rate:.0f} tokens a CPU-second\n\n"
        "| budget | documents read | tokens | CPU s | AI called AI | human called AI | worst human "
        "kind | missed, as estimated (95 %) | missed |\n|---|---|---|---|---|---|---|---|---|"
    )
    candidates = documents.candidates()
    nothing = replace(EVERYTHING, margin=0.0, low=0.0, short=0.0)
    for name, selection in (
        ("tables alone", nothing),
        *((f"{share:.0%}", candidates.selection(share)) for share in (0.01, 0.05, 0.2, 1.0)),
    ):
        called, kind, sent = documents.called(selection)
        own = sent >= 0
        wrong = [float(called[each].mean()) for each in human]
        estimated = told_missed(selection, before, called, kind, own) if own.any() else "–"
        print(
            f"| {name} | {own.mean():.1%} | {tokens[own].sum():,.0f} | "
            f"{tokens[own].sum() * rate:,.0f} | {np.mean([called[e].mean() for e in ai]):.1%} | "
            f"{np.mean(wrong):.1%} | {max(wrong):.0%} | {estimated} | "
            f"{int((everything & ~called).sum())} |"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
