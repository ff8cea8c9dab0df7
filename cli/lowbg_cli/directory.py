"""Runs into a directory: what `filter` and `score` ask for there, and how such a run is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from lowbg.amounts import counted
from lowbg.config import Changed, Durability, Existing
from lowbg.errors import ConfigError, LockedError
from lowbg.settings import Heading, Written, setting
from lowbg.storage.objects import is_object_url, object_url
from lowbg.storage.whole_files import address
from lowbg_cli import terminal
from lowbg_cli.configure import command_line
from lowbg_cli.exits import ExitCode, if_interrupted
from lowbg_cli.groups import Given, refuse
from lowbg_cli.logfile import RunLog
from lowbg_cli.outcome import ExitRules, exit_code
from lowbg_cli.progress import progress_line
from lowbg_cli.splitting import SplitOptions

if TYPE_CHECKING:
    from lowbg.jobs.reserve import Reserved
    from lowbg.runs.inputs import Shard
    from lowbg.runs.job import Outcome
    from lowbg.runs.progress import Observer
    from lowbg.runs.splitting import SplitNote

    Start: TypeAlias = Callable[[Observer], Outcome]


@dataclass(frozen=True, slots=True)
class DirectoryOptions:
    """What only makes sense with -o DIR; null, or the default, where nothing is said."""

    resume: bool = setting("Go on with the run that the output holds, if any.", False)
    incremental: bool = setting("Add what is new since the last run to the output, if any.", False)
    overwrite: bool = setting("Replace what an earlier run left in the output.", False)
    retries: int = setting(
        "Try a shard that failed N times more.", 0, unit="N", heading=Heading.RUNNING, least=0
    )
    changed: Changed | None = setting(
        "With --incremental: what becomes of inputs that changed.",
        None,
        heading=Heading.RUNNING,
        shown="refuse",
    )
    durability: Durability = field(default_factory=Durability)
    split: SplitOptions = field(default_factory=SplitOptions)
    skip_if_running: bool = setting(
        "Exit 0 when another run writes to the output: for cron.", False, heading=Heading.RUNNING
    )
    log_file: Path | None = setting(
        "Append a JSON line a shard, and a summary.",
        None,
        unit="FILE",
        heading=Heading.RUNNING,
        written=Written.APPENDED,
    )
    reserve: Path | None = setting(
        "Keep documents that are human by provenance there too, each text once.",
        None,
        unit="DIR",
        written=Written.STORE,
        heading=Heading.OUTPUT,
    )
    scratch: Path | None = setting(
        "Where a run works whose output is a URL.",
        None,
        unit="DIR",
        written=Written.FOLDER,
        heading=Heading.RUNNING,
        shown="below the system's temporary folder",
    )

    @property
    def existing(self) -> Existing:
        """What to do with a run that the directory holds."""
        asked = {
            Existing.OVERWRITE: self.overwrite,
            Existing.RESUME: self.resume,
            Existing.INCREMENTAL: self.incremental,
        }
        chosen = [existing for existing, is_asked in asked.items() if is_asked]
        if len(chosen) > 1:
            raise ConfigError(
                "--overwrite starts again, --resume goes on, --incremental adds what is new; "
                "choose one"
            )
        if self.changed is not None and not self.incremental:
            raise ConfigError("--changed: only with --incremental")
        return chosen[0] if chosen else Existing.REFUSE

    def part(self, shards: tuple[Shard, ...], output: Path) -> Part:
        """What this run does of the shards, and where."""
        split = self.split.resolve()
        if split is None:
            return self._at(Part(shards, output, str(output)))
        if self.incremental:
            raise ConfigError(
                "--incremental: not with --shard-index, since what is new would be shared out "
                "otherwise; filter it into an output of its own, or merge first"
            )
        note = split.note(shards)
        own, folder = tuple(shards[i] for i in note.places), split.folder(output)
        return self._at(Part(own, folder, str(folder), note, whole=shards))

    def _at(self, part: Part) -> Part:
        """The same, where it is done if the output is a URL."""
        if not is_object_url(part.output):
            if self.scratch is not None:
                raise ConfigError(
                    "--scratch: only where -o is a URL; a run whose output is a directory works "
                    "there"
                )
            return part
        from lowbg.runs.publishing import scratch_of

        url = object_url(part.output)
        for shard in part.shards:
            if shard.path.startswith(f"{url}/"):
                raise ConfigError(f"{shard.path}: lies inside the output {url}; name another -o")
        return replace(part, output=scratch_of(url, self.scratch), shown=url, published=url)


@dataclass(frozen=True, slots=True)
class Part:
    """The shards that a run does, and the directory in which; `shown` is what people call that.

    `split`: which part of all shards it is, and `whole` are all of these; `published`: the URL at
    which the outputs come to lie.
    """

    shards: tuple[Shard, ...]
    output: Path
    shown: str
    split: SplitNote | None = None
    published: str | None = None
    whole: tuple[Shard, ...] = ()


def refuse_directory_options(given: Given) -> None:
    """Raises `ConfigError` where something was said that only makes sense with -o DIR."""
    flags = given.among("--workers", "--executor", "--compression")
    refuse([*flags, *given.of(DirectoryOptions)], "only with -o DIR")


def run_in_directory(
    start: Start,
    shards: Sequence[Shard],
    output: str,
    directory: DirectoryOptions,
    exit_rules: ExitRules,
) -> ExitCode:
    """Runs `start` with progress, log and summary; the exit code."""
    log = RunLog(directory.log_file)
    hint = f"Go on with the same command and --resume; --overwrite starts {output} again."
    if directory.incremental:
        hint = "The same command goes on."
    quiet = exit_rules.quiet
    try:
        with (
            log.during(command_line(), output=output, shards=len(shards)),
            if_interrupted(hint),
        ):
            with progress_line(shards, quiet=quiet) as observer:
                outcome = start(replace(observer, shard=log.shard))
            for note in outcome.notes:
                terminal.warning(note)
            if directory.incremental and not quiet:
                terminal.say(_added(outcome, output))
            elif outcome.resumed and not quiet:
                terminal.say(f"{counted(outcome.resumed, 'shard')} had been finished")
            if outcome.reserved is not None and directory.reserve is not None and not quiet:
                terminal.say(_reserved(directory.reserve, outcome.reserved))
            code = exit_code(outcome, strict=exit_rules.strict)
            if outcome.shards or not directory.incremental:
                code = exit_rules.end(outcome, f"{output}/report.json")
            log.end(outcome, code, f"{output}/report.json")
    except LockedError as error:
        if not directory.skip_if_running:
            raise
        terminal.say(f"nothing done: {error}")
        return ExitCode.FINISHED
    return code


def _added(outcome: Outcome, output: str) -> str:
    """What an incremental run came upon."""
    earlier = f"{counted(outcome.resumed, 'shard')} processed before"
    if not outcome.shards:
        return f"nothing new; {output} stays as it is ({earlier})"
    return f"{counted(len(outcome.shards), 'new shard')}; {earlier}"


def _reserved(reserve: Path, reserved: Reserved) -> str:
    removed = f", {reserved.removed:,} had been removed from it" if reserved.removed else ""
    return (
        f"{address(reserve)}: {counted(reserved.added, 'document')} added, {reserved.known:,} were "
        f"there{removed}"
    )
