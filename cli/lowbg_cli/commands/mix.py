"""`lowbg mix`: a training mix with a floor on the human share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lowbg.amounts import counted
from lowbg.errors import ConfigError
from lowbg.jobs.mix.settings import Mix, MixSelect, MixUnit, MixWeights
from lowbg.settings import Heading, Written, setting, with_changes
from lowbg_cli import terminal
from lowbg_cli.configure import (
    ConfigOptions,
    Exclude,
    Quiet,
    WorkerOptions,
    command_line,
    tell_left_out,
)
from lowbg_cli.directory import DirectoryOptions
from lowbg_cli.exits import ExitCode, if_interrupted
from lowbg_cli.groups import Changes, Given, Only, changes_of, command, refuse
from lowbg_cli.progress import progress_line

if TYPE_CHECKING:
    from lowbg.jobs.mix.mix import MixOutcome, Part

CONFIG = (
    *("file", "fields.text", "fields.language", "fields.url"),
    *("max_record_bytes", "max_quarantine_bytes", "batch_bytes", "compression", "force"),
    "decision.tables",
)


@dataclass(frozen=True, slots=True)
class MixOptions:
    """What is mixed, into what, and how."""

    human: tuple[str, ...] = setting(
        "Human text: files, directories, globs, a run's output, a reserve.", unit="INPUT"
    )
    output: Path = setting(
        "Where the mix is written.", flags="--output -o", unit="DIR", written=Written.STORE
    )
    synthetic: tuple[str, ...] = setting("Synthetic text, likewise.", (), unit="INPUT")
    weights: bool = setting(
        "Score, and write sampling weights instead of copies.", False, heading=Heading.SAMPLING
    )
    changes: Changes = changes_of(Mix)

    def resolve(self) -> Mix:
        """What the mix is. Raises `ConfigError` for options of weights without --weights."""
        mix = Mix(weights=MixWeights() if self.weights else None)
        if not self.weights:
            refuse(self.changes.within("weights"), "only with --weights")
        return with_changes(mix, self.changes.values)


@command
def mix_command(
    *,
    own: MixOptions,
    left_out: Exclude,
    options: Annotated[ConfigOptions, Only(CONFIG)],
    workers: Annotated[WorkerOptions, Only(("workers", "executor", "ray_address"))],
    directory: Annotated[
        DirectoryOptions,
        Only(("resume", "overwrite", "durability.seconds", "durability.bytes", "scratch")),
    ],
    quiet: Quiet = False,
    given: Given,
) -> ExitCode:
    """Build a training mix that keeps a floor of human text.

    Human input is copied whole, record for record; of the synthetic input so much is taken as the
    floor allows. Equal inputs and seed give equal bytes, at any number of workers.

    \b
      lowbg mix --human clean/ --synthetic generated/ --min-human 0.5 -o mix/
      lowbg mix --human reserve/ --synthetic clean/ --min-human 0.8 --by words -o mix/
    """
    mix = own.resolve()
    _check(mix, given)
    config = options.resolve()
    others = tuple(name for name in (mix.source_field, mix.token_field) if name is not None)
    config = replace(config, fields=replace(config.fields, others=others))

    from lowbg.jobs.mix.inputs import SYNTHETIC, find, role_of
    from lowbg.jobs.mix.mix import MixJob, mix_shards

    found = find(own.human, own.synthetic, own.output, left_out.exclude)
    tell_left_out(found, quiet=quiet)
    count, by = workers.resolve(found.shards)
    part = directory.part(found.shards, own.output)
    job = MixJob(
        found.shards,
        part.output,
        config,
        count,
        by,
        existing=directory.existing,
        durability=directory.durability,
        command=command_line(),
        left_out=found.left_out,
        published=part.published,
        mix=mix,
    )
    read = found.shards * 2
    if mix.select is MixSelect.NOVEL:
        read += tuple(shard for shard in found.shards if role_of(shard) == SYNTHETIC) * 2
    hint = f"Go on with the same command and --resume; --overwrite starts {part.shown} again."
    with if_interrupted(hint), progress_line(read, quiet=quiet) as observer:
        outcome = mix_shards(job, observer)
    told = _tell(outcome, mix, part.shown, quiet=quiet)
    return told if found.whole else ExitCode.INCOMPLETE


def _check(mix: Mix, given: Given) -> None:
    """Raises `ConfigError` for options that would have no effect."""
    if mix.max_per_source is None:
        refuse(given.among("--source-field"), "only with --max-per-source")
    if mix.weights is None:
        refuse(
            given.among("--policy", "--tables"),
            "only with --weights, which scores; a mix judges nothing",
        )
        return
    if mix.select is MixSelect.NOVEL:
        raise ConfigError("--weights and --select novel: choose one")
    refuse(given.among("--compression"), "no effect with --weights, which copies nothing")


def _tell(outcome: MixOutcome, mix: Mix, output: str, *, quiet: bool) -> ExitCode:
    """What the mix is made of, on stderr; the exit code."""
    for problem in outcome.problems:
        terminal.error(problem)
    for note in () if quiet else outcome.notes:
        terminal.warning(note)
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
