"""`lowbg train`: builds a language's tables from human and AI text."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lowbg.amounts import bytes_text, counted
from lowbg.errors import ConfigError
from lowbg.settings import Written, setting
from lowbg.storage.whole_files import address, size_of
from lowbg_cli import terminal
from lowbg_cli.configure import ConfigOptions, Exclude, Inputs, Quiet, find_shards, standard_input
from lowbg_cli.exits import ExitCode
from lowbg_cli.groups import Given, Only, command, refuse
from lowbg_cli.outcome import tell_broken
from lowbg_cli.progress import progress_line
from lowbg_cli.writing import refuse_existing

if TYPE_CHECKING:
    from lowbg.jobs.train.config import TrainConfig
    from lowbg.jobs.train.gather import Material
    from lowbg.jobs.train.train import Trained
    from lowbg.runs.inputs import Shard

CONFIG = (
    *("fields.text", "fields.id", "fields.language", "max_record_bytes", "force"),
    *("extras.lm.model", "extras.lm.dtype", "extras.lm.device", "extras.lm.batch_tokens"),
    "extras.lm.surprise",
)


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What the tables, or the probe, are built from."""

    language: str = setting("The language, as en or zh.", flags="--lang", unit="CODE")
    output: Path = setting(
        "The model file: .safetensors.", flags="--output -o", unit="FILE", written=Written.FILE
    )
    labelled: tuple[str, ...] = setting(
        "Text whose records say in `label` who wrote it: files, directories, globs.",
        (),
        flags="LABELLED",
    )
    human: tuple[str, ...] = setting(
        "Human text: files, directories, globs; best of several kinds.", (), unit="INPUT"
    )
    ai: tuple[str, ...] = setting("AI text, likewise.", (), unit="INPUT")
    overwrite: bool = setting("Replace a file that is there.", False)
    seed: int = setting("Of the sampling.", 1, unit="N")
    probe: bool = setting("Make a probe of the LM that --lm names, not tables.", False)
    probe_tokens: int = setting(
        "Tokens of a document's beginning that the probe reads.", 192, unit="N", least=1
    )


@command
def train_command(
    *,
    own: TrainOptions,
    left_out: Exclude,
    options: Annotated[ConfigOptions, Only(CONFIG)],
    given: Given,
    quiet: Quiet = False,
) -> ExitCode:
    """Build a language's tables, or an LM's probe, from labelled text.

    At least 200 documents of each, of 75 words or more. What a record says in its field `label`
    (human or ai) goes before the option that names it; `dataset` says which collection it is of,
    else its file does. Use the tables with --tables, the probe with --lm and --lm-probe. Equal
    input and seed give equal bytes.

    \b
      lowbg train --human books/ news.parquet --ai chats.jsonl --lang it -o tables/it.safetensors
      lowbg filter crawl/ --tables tables/ -o out/
      lowbg train labelled/ --probe --lm MODEL --lang en -o probes/en.safetensors
    """
    if own.output.suffix != ".safetensors":
        raise ConfigError(f"{own.output}: a model file's name ends with .safetensors")
    refuse_existing(own.output, overwrite=own.overwrite)
    if not own.labelled and not (own.human and own.ai):
        raise ConfigError("what to learn from? Give labelled text, or both --human and --ai")
    if not own.probe:
        refuse(given.among("--probe-tokens"), "only with --probe")
        refuse(given.among("--lm", *LM_FLAGS), "only with --probe: tables need no LM")

    from lowbg.text import languages

    if own.language not in languages.CODES:
        raise ConfigError(f"no language {own.language!r}; there are {', '.join(languages.CODES)}")
    reading = options.resolve()
    if own.probe and reading.extras.lm is None:
        raise ConfigError("--probe: of which model? Name it with --lm")
    found = [
        find_shards(Inputs(given=given_, exclude=left_out.exclude), None, quiet=quiet)
        for given_ in (own.labelled, own.human, own.ai)
        if given_
    ]
    shards = tuple(dict.fromkeys(shard for each in found for shard in each.shards))
    standard_input(shards)

    from lowbg.jobs.train.config import TrainConfig

    each = iter(found)
    labelled, human, ai = (
        tuple(shard.path for shard in next(each).shards) if given_ else ()
        for given_ in (own.labelled, own.human, own.ai)
    )
    config = TrainConfig(
        own.language, own.output, human, ai, labelled, reading=reading, seed=own.seed
    )
    if not quiet:
        logging.getLogger("lowbg").setLevel(logging.INFO)
    if own.probe:
        material = _make_probe(config, own, shards, quiet)
    else:
        material = _make_tables(config, shards, quiet)
    whole = not tell_broken(material.shards) and all(each.whole for each in found)
    return ExitCode.FINISHED if whole else ExitCode.INCOMPLETE


LM_FLAGS = ("--lm-dtype", "--lm-device", "--lm-batch-tokens", "--lm-surprise")


def _make_tables(config: TrainConfig, shards: Sequence[Shard], quiet: bool) -> Material:
    from lowbg.jobs.train.train import train

    with progress_line(shards, quiet=quiet) as observer:
        trained = train(config, observer)
    _tell(trained, quiet=quiet)
    return trained.material


def _make_probe(
    config: TrainConfig, own: TrainOptions, shards: Sequence[Shard], quiet: bool
) -> Material:
    from lowbg.jobs.train.probe import ProbeConfig, train_probe

    lm = config.reading.extras.lm
    assert lm is not None
    with progress_line(shards, quiet=quiet) as observer:
        trained = train_probe(ProbeConfig(config, lm, tokens=own.probe_tokens), observer)
    _tell_left_out(trained.material)
    if not quiet:
        card = trained.probe.card
        kinds, best = card["kinds"], trained.candidates[0]
        terminal.say(
            f"{address(own.output)}: a probe of {trained.probe.of.label}, layer {best.layer}, of "
            f"{counted(card['documents'], 'document')} of {kinds['human']} human and "
            f"{counted(kinds['ai'], 'AI kind')}. Of AI kinds left out of the fit it finds "
            f"{100 * best.found.recall[0]:.0f} % where it calls 1 % of left-out human kinds AI "
            f"(the worst of them {100 * best.found.worst:.0f} %)"
        )
    return trained.material


def _tell(trained: Trained, *, quiet: bool) -> None:
    """What was left out, what the tables are made of, and what they say of text left out."""
    material = trained.material
    _tell_left_out(material)
    if quiet:
        return
    ai = sum(row.is_ai for row in material.rows)
    size = bytes_text(size_of(trained.path), three_digits=True)
    terminal.say(
        f"{address(trained.path)}: {size}, of {len(material.rows) - ai:,} human and "
        f"{counted(ai, 'AI document')}. At the threshold for 1 %, of text left out of the fit "
        f"{100 * trained.called_ai('human'):.1f} % of human and {100 * trained.called_ai('ai'):.1f}"
        " % of AI documents are called AI"
    )


def _tell_left_out(material: Material) -> None:
    """What was read, and is not among what was learned from."""
    unread = sum(each.statistics.documents()["quarantined"] for each in material.shards)
    if unread:
        terminal.warning(f"{counted(unread, 'record')} left out: can't be read")
    for why, count in material.dropped.items():
        terminal.warning(f"{counted(count, 'document')} left out: {why}")
    for why, count in material.dropped.items():
        terminal.warning(f"{counted(count, 'document')} left out: {why}")
