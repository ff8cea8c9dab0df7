"""One regime and seed from generation to generation, each kept on disk as soon as it is done."""

from __future__ import annotations

import gzip
import json
import os
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from benchmarks.collapse.human_text import Corpus, Document, Sizes, Supply, supply
from benchmarks.collapse.measuring import (
    Family,
    Model,
    Watch,
    Yardstick,
    figures,
    histogram,
    text_figures,
    yardstick,
)
from benchmarks.collapse.regimes import Collected, Regime, collect, sifted, written_of
from benchmarks.collapse.sieves import OWN, Filters, filters, train_tables

FIRST: Final = "generation-0"

Record = dict[str, Any]
"""What is stored of a generation: `figures`, `sifted`, `drift` and `histogram`."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What all regimes of a seed have in common: the human text and generation 0."""

    folder: Path
    seed: int
    sizes: Sizes
    supply: Supply
    yardstick: Yardstick
    filters: Filters
    watch: Watch
    written: Sequence[Document]


def prepare(corpus: Corpus, family: Family, sizes: Sizes, seed: int, folder: Path) -> Ground:
    """Generation 0 of a seed, and what is made of it; what is in the folder already stays."""
    own = supply(corpus, sizes, seed)
    model = family.fit([each.text for each in own.original], seed)
    by = yardstick(own, model)
    stored = folder / f"{FIRST}.json"
    texts = folder / f"{FIRST}.texts.gz"
    if not stored.exists():
        started = time.process_time()
        written = model.generate(sizes.first_written, seed_of(seed, 0, FIRST))
        write_texts(texts, written)
        record = _record(model, written[: sizes.documents], by, started)
        record["human"] = text_figures([each.text for each in own.original], by)
        write_record(stored, record)
    written = read_texts(texts)
    tables = folder / "trained" if sizes.calibration else None
    if tables is not None:
        train_tables(own.original, written[: sizes.documents], tables)
    watch = Watch(own.original, sizes, seed)
    generated = [Document(text, None) for text in written]
    return Ground(
        folder,
        seed,
        sizes,
        own,
        by,
        filters(tables, own.original, own.calibration),
        watch,
        generated,
    )


def is_whole(folder: Path, regime: Regime, sizes: Sizes) -> bool:
    """Whether every generation of a regime is on disk."""
    return (folder / regime.name / f"{sizes.generations}.json").exists()


def run_chain(ground: Ground, family: Family, regime: Regime) -> int:
    """Every generation of a regime that isn't on disk; how many those were.

    The texts of a chain are kept until it is whole: later generations are made from them.
    """
    folder = ground.folder / regime.name
    seen = ground.sizes.documents if regime.tables in OWN else 0
    outputs: list[Sequence[Document]] = [ground.written[seen:]]
    made = 0
    for generation in range(1, ground.sizes.generations + 1):
        stored, texts = folder / f"{generation}.json", folder / f"{generation}.texts.gz"
        if not stored.exists():
            write_record(stored, _generation(ground, family, regime, outputs, texts))
            made += 1
        if generation < ground.sizes.generations:
            if not texts.exists():  # The chain is whole.
                return made
            outputs.append([Document(text, None) for text in read_texts(texts)])
    for path in folder.glob("*.texts.gz"):
        path.unlink()
    return made


def _generation(
    ground: Ground,
    family: Family,
    regime: Regime,
    outputs: Sequence[Sequence[Document]],
    texts: Path,
) -> Record:
    started = time.process_time()
    generation = len(outputs)
    seed = seed_of(ground.seed, generation, regime.name)
    fresh = ground.supply.fresh[generation - 1]
    collected = collect(
        regime, original=ground.supply.original, fresh=fresh, outputs=outputs,
        filters=ground.filters, seed=seed,
    )  # fmt: skip
    model = family.fit([each.text for each in collected.trained_on], seed)
    every = model.generate(written_of(regime, ground.sizes), seed)
    write_texts(texts, every)
    written = every[: ground.sizes.documents]
    record = _record(model, written, ground.yardstick, started)
    record["sifted"] = sifted(collected)
    record["drift"] = _drift(ground, collected)
    if regime.treatment == "none":
        record["called_ai"] = _called_ai(ground.filters, collected, written)
    record["seconds"] = time.process_time() - started
    return record


def _record(model: Model, written: Sequence[str], by: Yardstick, started: float) -> Record:
    held = model.log_probabilities(by.holdout)
    return {
        "figures": figures(model, held, written, by),
        "histogram": histogram(held),
        "seconds": time.process_time() - started,
    }


def _drift(ground: Ground, collected: Collected) -> dict[str, Any]:
    """Each change of `drift check` as its size and whether it alerts."""
    return {
        change.name: [change.change, change.alert]
        for change in ground.watch.check(collected.arrived)
    }


def _called_ai(filters: Filters, collected: Collected, written: Sequence[str]) -> dict[str, float]:
    """The share of what was written, and of the human text that arrived, that is called AI."""
    found = {}
    human = [each for each in collected.arrived if not each.generated]
    for name in filters.engines:
        generated = [Document(text, None) for text in written]
        found[f"{name}_recall"] = float(filters.called_ai(name, generated).mean())
        if human:
            called = filters.called_ai(name, human)
            small = np.array([each.minority for each in human])
            found[f"{name}_human"] = float(called.mean())
            found[f"{name}_minority_called"] = float(called[small].sum())
            found[f"{name}_minority"] = float(small.sum())
    return found


def seed_of(seed: int, generation: int, name: str) -> int:
    """A seed for what is drawn in one generation of one regime, below 2^31."""
    mixed = np.random.SeedSequence([seed, generation, zlib.crc32(name.encode())])
    return int(mixed.generate_state(1)[0] >> 1)


def write_texts(path: Path, texts: Sequence[str]) -> None:
    """Keeps texts, whole or not at all."""
    _replace(path, gzip.compress(json.dumps(list(texts)).encode(), 3))


def read_texts(path: Path) -> list[str]:
    """Texts that were kept."""
    texts: list[str] = json.loads(gzip.decompress(path.read_bytes()))
    return texts


def write_record(path: Path, record: Record) -> None:
    """Keeps a record, whole or not at all."""
    _replace(path, json.dumps(record).encode())


def read_record(path: Path) -> Record:
    """A record that was kept."""
    record: Record = json.loads(path.read_bytes())
    return record


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    beside.write_bytes(data)
    beside.replace(path)
