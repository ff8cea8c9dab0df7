"""`lowbg mix`: a training mix with a floor on the human share."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowbg.amounts import counted
from lowbg.config import Compression, Durability, Mix, MixSelect, MixUnit, MixWeights, RunConfig
from lowbg.errors import ConfigError
from lowbg_cli import options, terminal
from lowbg_cli.configure import (
    FieldOptions,
    PolicyOptions,
    WorkerOptions,
    batch_bytes,
    command_line,
    tell_left_out,
)
from lowbg_cli.directory import DirectoryOptions
from lowbg_cli.exits import ExitCode, if_interrupted
from lowbg_cli.progress import progress_line

if TYPE_CHECKING:
    from lowbg.jobs.mix.mix import MixOutcome, Part

DEFAULTS = RunConfig()
FIELDS = DEFAULTS.fields
DURABILITY = Durability()
MIX = Mix()
WEIGHTS = MixWeights()
DRAW = "What is taken"
SAMPLING = "Sampling weights"


def parse_share(text: str | Fraction) -> Fraction:
    """An exact share: `0.5`, `1/3`."""
    if isinstance(text, Fraction):
        return text
    try:
        share = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise typer.BadParameter(f"{text!r} is no share; write it like 0.5 or 1/3") from None
    if not 0 <= share <= 1:
        raise typer.BadParameter(f"{text} is not between 0 and 1")
    return share


def mix_command(
    human: Annotated[
        list[str],
        typer.Option(
            "--human",
            metavar="INPUT",
            help="Human text: files, directories, globs, a run's output, a reserve.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where the mix is written.")
    ],
    synthetic: Annotated[
        list[str] | None,
        typer.Option("--synthetic", metavar="INPUT", help="Synthetic text, likewise."),
    ] = None,
    min_human: Annotated[
        Fraction,
        typer.Option(
            "--min-human",
            metavar="SHARE",
            parser=parse_share,
            help="Least human share of the mix: 0.5, 1/3. [default: 0.5]",
            show_default=False,
        ),
    ] = MIX.min_human,
    text_field: options.TextField = FIELDS.text,
    workers: options.Workers = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    unit: Annotated[
        MixUnit,
        typer.Option("--by", help="What shares and caps are counted in.", rich_help_panel=DRAW),
    ] = MIX.unit,
    token_field: Annotated[
        str | None,
        typer.Option(
            "--token-field",
            metavar="FIELD",
            help="A record's number of tokens. [default: words, digits and marks are counted]",
            rich_help_panel=DRAW,
        ),
    ] = None,
    select: Annotated[
        MixSelect,
        typer.Option(
            "--select",
            help="Synthetic documents: any, or those that add rare n-grams.",
            rich_help_panel=DRAW,
        ),
    ] = MIX.select,
    max_per_source: Annotated[
        int | None,
        typer.Option(
            "--max-per-source",
            metavar="N",
            min=0,
            help="Most synthetic tokens (words, documents) of one source.",
            rich_help_panel=DRAW,
        ),
    ] = None,
    source_field: Annotated[
        str | None,
        typer.Option(
            "--source-field",
            metavar="FIELD",
            help="What a source is. [default: the URL's host, else the shard]",
            rich_help_panel=DRAW,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", help="Of the draw.", rich_help_panel=DRAW)
    ] = MIX.seed,
    weights: Annotated[
        bool,
        typer.Option(
            "--weights",
            help="Score, and write sampling weights instead of copies.",
            rich_help_panel=SAMPLING,
        ),
    ] = False,
    exponent: Annotated[
        float | None,
        typer.Option(
            "--exponent",
            metavar="K",
            min=0.0,
            callback=options.finite,
            help="With --weights: (1 − ai_score)^K. [default: 10]",
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    upsampling: Annotated[
        float | None,
        typer.Option(
            "--upsampling",
            metavar="X",
            min=0.0,
            callback=options.finite,
            help="With --weights: draws, as a multiple of the documents. [default: 1.5]",
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    max_repeats: Annotated[
        int | None,
        typer.Option(
            "--max-repeats",
            metavar="N",
            min=1,
            max=255,
            help="With --weights: most draws of a document. [default: 3]",
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    lang_field: options.LangField = FIELDS.language,
    url_field: options.UrlField = FIELDS.url,
    max_record_bytes: options.MaxRecordBytes = DEFAULTS.max_record_bytes,
    policy: options.PolicyFile = None,
    compression: options.Compression = None,
    executor: options.Executor = None,
    checkpoint_seconds: options.CheckpointSeconds = DURABILITY.seconds,
    checkpoint_bytes: options.CheckpointBytes = DURABILITY.bytes,
    batch_size: options.BatchBytes = None,
) -> ExitCode:
    """Build a training mix that keeps a floor of human text.

    Human input is copied whole, record for record; of the synthetic input so much is taken as the
    floor allows. Equal inputs and seed give equal bytes, at any number of workers.

    \b
      lowbg mix --human clean/ --synthetic generated/ --min-human 0.5 -o mix/
      lowbg mix --human reserve/ --synthetic clean/ --min-human 0.8 --by words -o mix/
    """
    mix = Mix(
        min_human, unit, seed, select, max_per_source, source_field, token_field,
        _weights(weights, exponent, upsampling, max_repeats),
    )  # fmt: skip
    _check(mix, policy, compression)
    decision = PolicyOptions(file=policy).resolve()
    fields = FieldOptions(text_field, FIELDS.id, lang_field, None, url_field).resolve(decision)
    others = tuple(name for name in (source_field, token_field) if name is not None)
    config = RunConfig(
        replace(fields, others=others), decision, compression or DEFAULTS.compression, False,
        batch_bytes(batch_size), max_record_bytes,
    )  # fmt: skip
    durability = Durability(checkpoint_seconds, checkpoint_bytes)
    directory = DirectoryOptions(
        WorkerOptions(workers, executor), overwrite, resume, durability=durability
    )
    existing = directory.existing

    from lowbg.jobs.mix.inputs import SYNTHETIC, find, role_of
    from lowbg.jobs.mix.mix import MixJob, mix_shards

    found = find(human, synthetic or (), output)
    tell_left_out(found, quiet=quiet)
    count, by = directory.workers.resolve(found.shards)
    job = MixJob(found.shards, output, config, mix, count, by, existing, durability, command_line())
    read = found.shards * 2
    if select is MixSelect.NOVEL:
        read += tuple(shard for shard in found.shards if role_of(shard) == SYNTHETIC) * 2
    hint = f"Go on with the same command and --resume; --overwrite starts {output} again."
    with if_interrupted(hint), progress_line(read, quiet=quiet) as observer:
        outcome = mix_shards(job, observer)
    return _tell(outcome, mix, output, quiet=quiet)


def _weights(
    wanted: bool, exponent: float | None, upsampling: float | None, max_repeats: int | None
) -> MixWeights | None:
    named = {"--exponent": exponent, "--upsampling": upsampling, "--max-repeats": max_repeats}
    given = [option for option, value in named.items() if value is not None]
    if not wanted:
        if given:
            raise ConfigError(f"{', '.join(given)}: only with --weights")
        return None
    return MixWeights(
        WEIGHTS.exponent if exponent is None else exponent,
        WEIGHTS.upsampling if upsampling is None else upsampling,
        WEIGHTS.max_repeats if max_repeats is None else max_repeats,
    )


def _check(mix: Mix, policy: Path | None, compression: Compression | None) -> None:
    """Raises `ConfigError` for options that would have no effect."""
    if mix.source_field is not None and mix.max_per_source is None:
        raise ConfigError("--source-field: only with --max-per-source")
    if mix.weights is None and policy is not None:
        raise ConfigError("--policy: only with --weights, which scores; a mix judges nothing")
    if mix.weights is not None and mix.select is MixSelect.NOVEL:
        raise ConfigError("--weights and --select novel: choose one")
    if mix.weights is not None and compression is not None:
        raise ConfigError("--compression: no effect with --weights, which copies nothing")


def _tell(outcome: MixOutcome, mix: Mix, output: Path, *, quiet: bool) -> ExitCode:
    """What the mix is made of, on stderr; the exit code."""
    for problem in outcome.problems:
        terminal.error(problem)
    unreadable = [
        role
        for role, part in (("human", outcome.human), ("synthetic", outcome.synthetic))
        if part.quarantined and not part.documents
    ]
    where = f"in {output}/quarantine" if mix.weights is None else "without a row"
    for role in unreadable:
        terminal.error(
            f"no {role} record could be read ({where}). Name the field that holds the text with "
            "--text-field"
        )
    quarantined = outcome.human.quarantined + outcome.synthetic.quarantined
    if quarantined and not quiet:
        terminal.warning(f"{counted(quarantined, 'record')} could not be read: {where}")
    if outcome.unsized and not quiet:
        terminal.warning(
            f"{counted(outcome.unsized, 'document')} without a number of tokens in "
            f"{mix.token_field!r}: human ones count as 0, synthetic ones are left out"
        )
    if not quiet:
        terminal.show(_table(outcome, mix))
        if not outcome.human.units and mix.min_human > 0:
            no = (
                f"the human text has no {mix.unit}"
                if outcome.human.documents
                else "there is no human text"
            )
            terminal.warning(f"{no}, so the floor allows no synthetic text")
    whole = outcome.complete and not unreadable
    return ExitCode.FINISHED if whole else ExitCode.INCOMPLETE


def _table(outcome: MixOutcome, mix: Mix) -> str:
    share = "–" if outcome.share is None else f"{100 * float(outcome.share):.2f} %"
    lines = [
        f"human      {_part(outcome.human, mix)}",
        f"synthetic  {_part(outcome.synthetic, mix)}",
        f"share      {share} of {mix.unit} human, floor {100 * float(mix.min_human):g} %",
    ]
    if outcome.capped:
        lines.append(f"capped     {counted(outcome.capped, 'source')}")
    if outcome.wanted_draws is not None:
        drawn = outcome.human.mixed_documents + outcome.synthetic.mixed_documents
        short = drawn < 0.99 * outcome.wanted_draws  # Each is rounded, so that a few may lack.
        why = ": the floor and --max-repeats allow no more" if short else ""
        lines.append(f"draws      {drawn:,}, wanted {outcome.wanted_draws:,}{why}")
    if outcome.coverage is not None:
        c = outcome.coverage
        lines.append(
            f"coverage   {_of(c.human, c.buckets)} of bigrams by human text, "
            f"{_of(c.mixed, c.buckets)} by the mix, {_of(c.everything, c.buckets)} by all inputs"
        )
    return "".join(f"{line}\n" for line in lines)


def _part(part: Part, mix: Mix) -> str:
    of = "draws of" if mix.weights is not None else "of"
    documents = f"{part.mixed_documents:,} {of} {counted(part.documents, 'document')}"
    if mix.unit is MixUnit.DOCUMENTS:
        return documents
    return f"{documents}, {part.mixed_units:,} {of} {part.units:,} {mix.unit}"


def _of(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "–"
