"""`lowbg train`: builds a language's tables from human and AI text."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lowbg.amounts import bytes_text, counted
from lowbg.errors import ConfigError
from lowbg.settings import Written, setting
from lowbg_cli import terminal
from lowbg_cli.configure import ConfigOptions, Exclude, Inputs, Quiet, find_shards, standard_input
from lowbg_cli.exits import ExitCode
from lowbg_cli.groups import Only, command
from lowbg_cli.outcome import tell_broken
from lowbg_cli.progress import progress_line
from lowbg_cli.writing import refuse_existing

if TYPE_CHECKING:
    from lowbg.jobs.train.train import Trained

CONFIG = ("fields.text", "fields.id", "fields.language", "max_record_bytes", "force")


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What the tables are built from."""

    human: tuple[str, ...] = setting(
        "Human text: files, directories, globs; best of several kinds.", unit="INPUT"
    )
    ai: tuple[str, ...] = setting("AI text, likewise.", unit="INPUT")
    language: str = setting("The language, as en or zh.", flags="--lang", unit="CODE")
    output: Path = setting(
        "The model file: .safetensors.", flags="--output -o", unit="FILE", written=Written.FILE
    )
    overwrite: bool = setting("Replace a file that is there.", False)
    seed: int = setting("Of the sampling.", 1, unit="N")


@command
def train_command(
    *,
    own: TrainOptions,
    left_out: Exclude,
    options: Annotated[ConfigOptions, Only(CONFIG)],
    quiet: Quiet = False,
) -> ExitCode:
    """Build a language's tables from human and AI text.

    At least 200 documents of each, of 75 words or more. What a record says in its field `label`
    (human or ai) goes before the option that names it; `dataset` says which collection it is of,
    else its file does. Use the tables with --tables. Equal input and seed give equal bytes.

    \b
      lowbg train --human books/ news.parquet --ai chats.jsonl --lang it -o tables/it.safetensors
      lowbg filter crawl/ --tables tables/ -o out/
    """
    if own.output.suffix != ".safetensors":
        raise ConfigError(f"{own.output}: a model file's name ends with .safetensors")
    refuse_existing(own.output, overwrite=own.overwrite)

    from lowbg.text import languages

    if own.language not in languages.CODES:
        raise ConfigError(f"no language {own.language!r}; there are {', '.join(languages.CODES)}")
    found = [
        find_shards(Inputs(given=given, exclude=left_out.exclude), None, quiet=quiet)
        for given in (own.human, own.ai)
    ]
    shards = tuple(dict.fromkeys(shard for each in found for shard in each.shards))
    standard_input(shards)

    from lowbg.jobs.train.config import TrainConfig
    from lowbg.jobs.train.train import train

    human, ai = (tuple(shard.path for shard in each.shards) for each in found)
    config = TrainConfig(
        own.language, own.output, human, ai, reading=options.resolve(), seed=own.seed
    )
    if not quiet:
        logging.getLogger("lowbg").setLevel(logging.INFO)
    with progress_line(shards, quiet=quiet) as observer:
        trained = train(config, observer)
    whole = not tell_broken(trained.material.shards) and all(each.whole for each in found)
    _tell(trained, quiet=quiet)
    return ExitCode.FINISHED if whole else ExitCode.INCOMPLETE


def _tell(trained: Trained, *, quiet: bool) -> None:
    """What was left out, what the tables are made of, and what they say of text left out."""
    material = trained.material
    unread = sum(each.statistics.documents()["quarantined"] for each in material.shards)
    if unread:
        terminal.warning(f"{counted(unread, 'record')} left out: can't be read")
    for why, count in material.dropped.items():
        terminal.warning(f"{counted(count, 'document')} left out: {why}")
    if quiet:
        return
    ai = sum(row.is_ai for row in material.rows)
    size = bytes_text(trained.path.stat().st_size, three_digits=True)
    terminal.say(
        f"{trained.path}: {size}, of {len(material.rows) - ai:,} human and "
        f"{counted(ai, 'AI document')}. At the threshold for 1 %, of text left out of the fit "
        f"{100 * trained.called_ai('human'):.1f} % of human and {100 * trained.called_ai('ai'):.1f}"
        " % of AI documents are called AI"
    )
