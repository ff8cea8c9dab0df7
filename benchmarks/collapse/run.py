"""Does training on generated text collapse a model, and what helps? See the README beside this.

`python -m benchmarks.collapse.run DATA` runs the toys and the trigram model on English human text
from `DATA/labelled/train`; `--family transformer` a small transformer. What is done stays in
`--work`, and a run that was stopped goes on from there.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import re
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from benchmarks.collapse import plots, rendering, toys
from benchmarks.collapse.chain import is_whole, prepare, run_chain
from benchmarks.collapse.human_text import Corpus, Sizes, read_corpus
from benchmarks.collapse.measuring import Family
from benchmarks.collapse.regimes import REGIMES, Regime
from benchmarks.collapse.summary import summarise
from benchmarks.collapse.word_model import WordFamily

import lowbg
from lowbg.errors import ConfigError
from lowbg.models import embedded_names, open_embedded

HERE = Path(__file__).parent

MARKS = ("<!-- {}: written by benchmarks/collapse/run.py -->", "<!-- end of {} -->")

QUICK = Sizes(
    documents=210, generations=4, seeds=2, holdout=70, drift_documents=168, drift_words=18_000,
    first_written=525, calibration=350,
)  # fmt: skip
"""A run under three minutes."""

TRANSFORMER = Sizes(seeds=3, first_written=700)

SMALL_SET = ("human", "replace", "keep10", "accumulate", "crawl60_none",
             "crawl60_calibrated")  # fmt: skip
"""The regimes of `--quick`, and of the transformer."""


@cache
def _corpus(folder: Path, tokens: int) -> Corpus:
    return read_corpus(folder, tokens)


def family_of(name: str, corpus: Corpus, sizes: Sizes, top_p: float, work: Path) -> Family:
    """The family of models that is called so. Raises `ConfigError` where it can't be had."""
    if name == WordFamily.name:
        return WordFamily(corpus.vocabulary, sizes.tokens, top_p)
    made: Family = _transformer().TransformerFamily(
        len(corpus.vocabulary), sizes.tokens, top_p, work
    )
    return made


def _transformer() -> ModuleType:
    try:
        from benchmarks.collapse import small_transformer
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the transformer needs {error.name}: pip install -r {HERE / 'requirements.txt'}"
        ) from None
    return small_transformer


def run_seed(
    folder: Path, work: Path, name: str, sizes: Sizes, top_p: float, seed: int, regimes: list[str]
) -> str:
    """The regimes of a seed, one after the other; what was done, as a line."""
    started = time.perf_counter()
    own = work / f"seed-{seed}"
    waiting = [
        regime for regime in REGIMES if regime.name in regimes and not is_whole(own, regime, sizes)
    ]
    made = 0
    if waiting:
        corpus = _corpus(folder, sizes.tokens)
        family = family_of(name, corpus, sizes, top_p, own)
        ground = prepare(corpus, family, sizes, seed, own)
        for regime in waiting:
            made += run_chain(ground, family, regime)
            print(f"seed {seed}: {regime.name}", flush=True)
    return f"seed {seed}: {made} generations in {time.perf_counter() - started:.0f} s"


def experiment(
    folder: Path,
    work: Path,
    *,
    family: str,
    sizes: Sizes,
    top_p: float,
    regimes: Sequence[Regime],
    workers: int,
) -> dict[str, Any]:
    """Runs what isn't done yet and sums up: the result as it is stored.

    Raises `ConfigError` where `work` holds another experiment.
    """
    corpus = _corpus(folder, sizes.tokens)
    # Other seeds and regimes may join later.
    settings = {
        "family": family, "top_p": top_p, "data": dict(corpus.digests), "lowbg": lowbg.__version__,
        "models": {name: open_embedded(name).sha256 for name in embedded_names()},
        **{key: value for key, value in asdict(sizes).items() if key != "seeds"},
    }  # fmt: skip
    if family != WordFamily.name:
        settings["shape"] = asdict(_transformer().Shape())
    place = work / "settings.json"
    if place.exists():
        if json.loads(place.read_bytes()) != settings:
            raise ConfigError(f"{place}: another experiment's; give another --work, or remove it")
    else:
        work.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    names = [regime.name for regime in regimes]
    calls = [(folder, work, family, sizes, top_p, seed, names) for seed in range(sizes.seeds)]
    if workers == 1:
        for call in calls:
            print(run_seed(*call), flush=True)
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            for line in pool.map(run_seed, *zip(*calls, strict=True)):
                print(line, flush=True)
    return {
        "settings": {**settings, "seeds": sizes.seeds},
        "machine": machine(family),
        **summarise(work, sizes, regimes),
    }


def machine(family: str) -> dict[str, Any]:
    """What it ran on."""
    packages = ["numpy", "numba", "pyarrow"]
    packages += ["torch", "transformers"] if family != WordFamily.name else []
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "processor": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        **found,
    }


def run_toys() -> dict[str, Any]:
    """Both toys, as they are stored."""
    found = {
        "gaussian": {"samples": 100, **asdict(toys.gaussian(100, 300, 20_000))},
        "discrete": {
            "events": 1_000,
            "samples": 1_000,
            **asdict(toys.discrete(1_000, 1_000, 50, 200)),
        },
    }
    return {
        name: {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in toy.items()}
        for name, toy in found.items()
    }


def write_results(folder: Path, name: str, result: dict[str, Any], page: str) -> None:
    """`NAME.json` and `NAME.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, ensure_ascii=False) + "\n"
    (folder / f"{name}.json").write_text(text, encoding="utf-8")
    (folder / f"{name}.md").write_text(page, encoding="utf-8")


def tables_of(name: str, result: dict[str, Any]) -> dict[str, str]:
    """The tables of an experiment that the docs show, by what their marks call them."""
    return {name: rendering.told(result), f"{name} alerts": rendering.told_alerts(result)}


def put_into_page(path: Path, tables: dict[str, str]) -> None:
    """Replaces what is between the marks. Raises `ConfigError` where they are missing."""
    text = path.read_text(encoding="utf-8")
    for name, table in tables.items():
        first, last = (mark.format(name) for mark in MARKS)
        pattern = f"{re.escape(first)}.*?{re.escape(last)}"
        text, n = re.subn(pattern, f"{first}\n{table}{last}", text, flags=re.DOTALL)
        if n != 1:
            raise ConfigError(f"{path}: no table between {first!r} and {last!r}")
    path.write_text(text, encoding="utf-8")


def main(argv: Sequence[str]) -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a folder with labelled/train/*.jsonl.zst")
    parser.add_argument("--family", choices=("ngram", "transformer"), default="ngram")
    parser.add_argument("--quick", action="store_true", help="a small run under three minutes")
    parser.add_argument("--top-p", type=float, default=0.95, help="1 draws from all words")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--generations", type=int)
    parser.add_argument("--regimes", nargs="+", choices=[each.name for each in REGIMES])
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--work", type=Path, help="what is done is kept here; resumed from here")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results")
    parser.add_argument("--page", type=Path, help="the page whose table is to be replaced")
    options = parser.parse_args(argv)
    sizes = QUICK if options.quick else Sizes()
    if options.family == "transformer" and not options.quick:
        sizes = TRANSFORMER
    chosen = {key: getattr(options, key) for key in ("seeds", "generations")}
    sizes = replace(sizes, **{key: value for key, value in chosen.items() if value is not None})
    small = options.quick or options.family == "transformer"
    names = options.regimes or (SMALL_SET if small else [each.name for each in REGIMES])
    name = options.family + ("" if options.top_p == 0.95 else f"-top-p-{options.top_p:g}")
    name += "-quick" if options.quick else ""
    work = options.work or HERE / "work" / name
    result = experiment(
        options.data / "labelled" / "train",
        work,
        family=options.family,
        sizes=sizes,
        top_p=options.top_p,
        regimes=[regime for regime in REGIMES if regime.name in names],
        workers=options.workers,
    )
    write_results(options.output, name, result, rendering.page(result))
    if options.page:
        put_into_page(options.page, tables_of(name, result))
    found = run_toys()
    write_results(options.output, "toys", found, rendering.toys_page(found))
    if not plots.draw(options.output, name, result, found):
        print("no plots: pip install matplotlib", file=sys.stderr)
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except ConfigError as error:
        print(f"benchmarks.collapse.run: {error}", file=sys.stderr)
        raise SystemExit(2) from None
