"""What a probe finds by how much of a document it reads: `… tokens_read DATA MODEL`.

`python -m benchmarks.neural.tokens_read DATA MODEL [--cache DIR] [--rows 12] [--rounds 4]` reads
English text of `DATA/labelled/train` as `unseen_kinds` does, the first 512 tokens of each document
in one pass: a causal model's state of a token doesn't depend on what follows, so the mean over the
first 64 is that of a pass of 64. Half of the kinds of both labels are left out, and the other half
in turn; on the rest a probe of one layer is fitted for each number of tokens. A line a number of
tokens: what was read of a document on average, and recall of the left-out AI kinds at a threshold
that calls 1 % of the left-out human kinds AI on average, for the probe and with words and style.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.neural.unseen_kinds import draw, halves, probe_scores
from benchmarks.quality import unseen_kinds as tables
from numpy.typing import NDArray

from lowbg.jobs.train.corpus import Row
from lowbg.jobs.train.probe import Documents
from lowbg.scorers.lm.models import CausalModel
from lowbg.scorers.lm.plain import plain
from lowbg.scorers.lm.states import CHARACTERS_A_TOKEN, fast_dtype
from lowbg.scorers.lm.store import ModelFolder, locate

TOKENS = (32, 64, 128, 192, 256, 512)

Floats = NDArray[np.float64]


def read_prefixes(
    rows: Sequence[Row], folder: ModelFolder, layer: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rows × `TOKENS` × width: the mean state over so many first tokens; each row's tokens."""
    device = torch.device("cpu")
    model = CausalModel(folder, device, fast_dtype(device))
    most = min(max(TOKENS), model.context)
    stack = model.cut_after(layer)
    seen: list[Any] = []
    stack[layer - 1].register_forward_hook(
        lambda module, inputs, output: seen.append(
            output[0] if isinstance(output, tuple) else output
        )
    )
    states = np.zeros((len(rows), len(TOKENS), int(model.width)), np.float32)
    lengths = np.zeros(len(rows), np.int64)
    started = time.monotonic()
    for i, row in enumerate(rows):
        ids = model.encode([plain(row.text, CHARACTERS_A_TOKEN * most)], most)[0].ids
        lengths[i] = len(ids)
        if not len(ids):
            continue
        with torch.inference_mode():
            model.hidden(torch.from_numpy(ids[None, :]))
            state = seen.pop()[0].float()
            for k, tokens in enumerate(TOKENS):
                states[i, k] = state[:tokens].mean(0).numpy()
        if i % 50 == 49:
            speed = lengths[: i + 1].sum() / (time.monotonic() - started)
            print(f"{i + 1} of {len(rows)}: {speed:.0f} tokens/s", file=sys.stderr, flush=True)
    return states, lengths


def cached(
    rows: Sequence[Row], folder: ModelFolder, layer: int, cache: Path | None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The same, read once and kept in `cache`."""
    texts = b"\0".join(row.text.encode("utf-8", "replace") for row in rows)
    key = blake2b(texts + folder.sha256().encode() + str((layer, TOKENS)).encode()).hexdigest()
    file = None if cache is None else cache / f"prefixes-{key[:16]}.npz"
    if file is not None and file.exists():
        kept = np.load(file)
        return kept["states"], kept["lengths"]
    states, lengths = read_prefixes(rows, folder, layer)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, states=states, lengths=lengths)
    return states, lengths


def compare(
    material: tables.Material, states: NDArray[np.float32], rounds: int
) -> dict[str, list[tables.Found]]:
    """What words, and probe and both at each number of tokens, found in all splits."""
    documents = Documents(material.is_ai, material.dataset, material.words.astype(np.int64))
    method = tables.Method("words", style=0.75)
    found: dict[str, list[tables.Found]] = {}
    for out in halves(material, rounds):
        fitted = ~np.isin(material.dataset, np.unique(material.dataset[out]))
        held = np.flatnonzero(out & (material.words >= tables.MIN_WORDS))
        words = tables.scores(material, fitted, held, method)
        found.setdefault("words and style", []).append(tables.judge(material, held, words))
        for k, tokens in enumerate(TOKENS):
            own: dict[int, Floats] = {1: states[:, k].astype(np.float64)}
            probe = probe_scores(own, documents, fitted, held)[0]
            for name, score in (("probe", probe), ("joined", words + probe)):
                judged = tables.judge(material, held, score)
                found.setdefault(f"{name}, {tokens} tokens", []).append(judged)
        print(".", end="", file=sys.stderr, flush=True)
    return found


def main(argv: Sequence[str]) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neural.tokens_read")
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--layer", type=int, default=18)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args(argv)
    tables.MIN_ROWS = min(tables.MIN_ROWS, options.rows // 2)
    rows = draw(options.data, ["train"], options.rows)
    folder = locate(options.model, "MODEL")
    states, lengths = cached(rows, folder, options.layer, options.cache)
    material = tables.Material(rows, "en")
    kinds = np.unique(material.kind)
    count = sum(str(kind).startswith("ai/") for kind in kinds)
    print(
        f"{len(rows):,} documents of {count} kinds of AI text and {len(kinds) - count} of human "
        f"text (train), {folder.label}, layer {options.layer}\n"
    )
    found = compare(material, states, options.rounds)
    print("| evidence | tokens read of a document | recall | lowest quarter | AUROC | worst human "
          "kind |\n|---|---|---|---|---|---|")  # fmt: skip
    for name, of_method in found.items():
        last = name.rpartition(", ")[2].partition(" ")[0]
        read = f"{np.minimum(lengths, int(last)).mean():.0f}" if last.isdigit() else "–"
        _, own, *rest = tables.line(name, of_method).split("|", 2)
        print(f"|{own}| {read} |{rest[0]}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
