"""`lowbg train`: builds a language's tables from human and AI text."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from lowbg.amounts import bytes_text
from lowbg.errors import ConfigError
from lowbg_cli import options, terminal
from lowbg_cli.exits import ExitCode


def train_command(
    human: Annotated[
        list[Path],
        typer.Option("--human", metavar="INPUT", help="Human text: JSONL files or directories."),
    ],
    ai: Annotated[
        list[Path],
        typer.Option("--ai", metavar="INPUT", help="AI text, likewise."),
    ],
    language: Annotated[
        str, typer.Option("--lang", metavar="CODE", help="The language, as en or zh.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The model file: .safetensors.")
    ],
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the sampling.")] = 1,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Build a language's tables from human and AI text.

    Equal input and seed give equal bytes.

    \b
      lowbg train --human books/ news.jsonl.zst --ai chats.jsonl --lang en -o en.safetensors
    """
    if output.suffix != ".safetensors":
        raise ConfigError(f"{output}: a model file's name ends with .safetensors")
    from lowbg.jobs.train.train import TrainConfig, train
    from lowbg.text import languages

    if language not in languages.CODES:
        raise ConfigError(f"no language {language!r}; there are {', '.join(languages.CODES)}")
    if not quiet:
        logging.basicConfig(stream=sys.stderr, format="lowbg: %(message)s", level=logging.INFO)
    path = train(TrainConfig(language, output, tuple(human), tuple(ai), seed=seed)).path
    if not quiet:
        terminal.say(f"{path}: {bytes_text(path.stat().st_size, three_digits=True)}")
    return ExitCode.FINISHED
