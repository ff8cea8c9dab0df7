"""Runs into a directory: what `filter` and `score` ask for there, and how such a run is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from lowbg.config import Compression, Durability, Existing
from lowbg.errors import ConfigError, LockedError
from lowbg_cli import terminal
from lowbg_cli.configure import WorkerOptions, command_line
from lowbg_cli.exits import ExitCode, if_interrupted
from lowbg_cli.logfile import RunLog
from lowbg_cli.outcome import Judgement
from lowbg_cli.progress import progress_line

if TYPE_CHECKING:
    from lowbg.pipeline import OnProgress
    from lowbg.running import OnShard, Outcome
    from lowbg.shards import Shard

    Start: TypeAlias = Callable[[OnProgress | None, OnShard], Outcome]

DURABILITY = Durability()


@dataclass(frozen=True, slots=True)
class DirectoryOptions:
    """What only makes sense with -o DIR; null, or the default, where nothing is said."""

    workers: WorkerOptions
    overwrite: bool = False
    resume: bool = False
    retries: int = 0
    durability: Durability = DURABILITY
    skip_if_running: bool = False
    log_file: Path | None = None
    compression: Compression | None = None

    def refuse(self) -> None:
        """Raises `ConfigError` where the command line says something."""
        every = self.durability
        named = {
            "--workers": self.workers.workers,
            "--executor": self.workers.executor,
            "--compression": self.compression,
            "--overwrite": self.overwrite,
            "--resume": self.resume,
            "--retries": self.retries,
            "--checkpoint-seconds": every.seconds != DURABILITY.seconds,
            "--checkpoint-bytes": every.bytes != DURABILITY.bytes,
            "--check-digests": every.digests,
            "--skip-if-running": self.skip_if_running,
            "--log-file": self.log_file,
        }
        given = [name for name, value in named.items() if value]
        if given:
            raise ConfigError(f"{', '.join(given)}: only with -o DIR")

    @property
    def existing(self) -> Existing:
        """What to do with a run that the directory holds."""
        if self.overwrite and self.resume:
            raise ConfigError("--overwrite starts again and --resume goes on; choose one")
        if self.resume:
            return Existing.RESUME
        return Existing.OVERWRITE if self.overwrite else Existing.REFUSE


def run_in_directory(
    start: Start,
    shards: Sequence[Shard],
    output: Path,
    directory: DirectoryOptions,
    judgement: Judgement,
) -> ExitCode:
    """Runs `start` with progress, log and summary; the exit code."""
    log = RunLog(directory.log_file)
    hint = f"Go on with the same command and --resume; --overwrite starts {output} again."
    quiet = judgement.quiet
    try:
        with (
            log.during(command_line(), output=str(output), shards=len(shards)),
            if_interrupted(hint),
        ):
            with progress_line(shards, quiet=quiet) as on_progress:
                outcome = start(on_progress, log.shard)
            for note in outcome.notes:
                terminal.warning(note)
            if outcome.resumed and not quiet:
                terminal.say(f"{terminal.plural(outcome.resumed, 'shard')} had been finished")
            code = judgement.end(outcome, str(output / "report.json"))
            log.end(outcome, code, output / "report.json")
    except LockedError as error:
        if not directory.skip_if_running:
            raise
        terminal.say(f"nothing done: {error}")
        return ExitCode.FINISHED
    return code
