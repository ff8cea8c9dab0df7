"""`lowbg train`: builds a language's tables from human and AI text."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from lowbg.amounts import bytes_text
from lowbg.errors import ConfigError
from lowbg.settings import Written, setting
from lowbg_cli import terminal
from lowbg_cli.configure import Quiet
from lowbg_cli.exits import ExitCode
from lowbg_cli.groups import command


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What the tables are built from."""

    human: tuple[Path, ...] = setting("Human text: JSONL files or directories.", unit="INPUT")
    ai: tuple[Path, ...] = setting("AI text, likewise.", unit="INPUT")
    language: str = setting("The language, as en or zh.", flags="--lang", unit="CODE")
    output: Path = setting(
        "The model file: .safetensors.", flags="--output -o", unit="FILE", written=Written.FILE
    )
    seed: int = setting("Of the sampling.", 1, unit="N")


@command
def train_command(*, own: TrainOptions, quiet: Quiet = False) -> ExitCode:
    """Build a language's tables from human and AI text.

    Equal input and seed give equal bytes.

    \b
      lowbg train --human books/ news.jsonl.zst --ai chats.jsonl --lang en -o en.safetensors
    """
    if own.output.suffix != ".safetensors":
        raise ConfigError(f"{own.output}: a model file's name ends with .safetensors")
    from lowbg.jobs.train.train import TrainConfig, train
    from lowbg.text import languages

    if own.language not in languages.CODES:
        raise ConfigError(f"no language {own.language!r}; there are {', '.join(languages.CODES)}")
    if not quiet:
        logging.getLogger("lowbg").setLevel(logging.INFO)
    path = train(TrainConfig(own.language, own.output, own.human, own.ai, seed=own.seed)).path
    if not quiet:
        terminal.say(f"{path}: {bytes_text(path.stat().st_size, three_digits=True)}")
    return ExitCode.FINISHED
