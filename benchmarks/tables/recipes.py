"""The recipes of the embedded tables: which files make each language's, and how.

`python -m benchmarks.tables.recipes DATA LANGUAGE… -o DIRECTORY` makes them again from a data
folder laid out as `labelled/train/*.jsonl.zst` and `prose/*.jsonl.zst`. `--held-out DIRECTORY`
keeps the scores of left-out rows too, one .npz file a language (`held_out.py`).
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
import tomllib
from pathlib import Path
from typing import Any

from benchmarks.tables.collections_left_out import held_out

from lowbg.jobs.train.config import TrainConfig
from lowbg.jobs.train.kneser_ney import LmConfig
from lowbg.jobs.train.log_odds import OddsConfig
from lowbg.jobs.train.train import train

FOLDER = Path(__file__).parent / "recipes"


def languages() -> list[str]:
    """The languages that there are recipes of."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(language: str, data: Path, output: Path) -> TrainConfig:
    """The configuration that makes `language`'s embedded file from the folder `data`."""
    source = (FOLDER / f"{language}.toml").read_text(encoding="utf-8")
    recipe: dict[str, Any] = tomllib.loads(source)
    odds = OddsConfig(**recipe.pop("odds", {}))
    lm = LmConfig(**recipe.pop("lm", {}))
    labelled = tuple(
        data / "labelled" / "train" / f"{name}.jsonl.zst" for name in recipe.pop("labelled")
    )
    prose = tuple(data / "prose" / f"{name}.jsonl.zst" for name in recipe.pop("prose", []))
    config = TrainConfig(
        language=language, output=output, human=labelled, prose=prose, odds=odds, lm=lm
    )
    for key in ("excluded", "calibrate_only"):
        if key in recipe:
            recipe[key] = tuple(recipe[key])
    return dataclasses.replace(config, **recipe)


def main(argv: list[str]) -> int:
    """Trains the languages asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables.recipes")
    parser.add_argument("data", type=Path)
    parser.add_argument("languages", nargs="*", default=[])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--held-out", type=Path)
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for language in options.languages or languages():
        output = options.output / f"{language}.safetensors"
        trained = train(load(language, options.data, output))
        if options.held_out:
            held_out(trained.left_out).save(options.held_out / f"{language}.npz")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
