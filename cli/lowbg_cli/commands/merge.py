"""`lowbg merge`: the outputs of runs that shared the shards out, as one output."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from lowbg.amounts import counted
from lowbg.config import Existing
from lowbg.settings import Setting, Written
from lowbg.storage.whole_files import address
from lowbg_cli import terminal
from lowbg_cli.configure import Quiet, command_line
from lowbg_cli.exits import ExitCode, if_interrupted
from lowbg_cli.groups import command
from lowbg_cli.outcome import summary


@command
def merge_command(
    *,
    directories: Annotated[
        tuple[Path, ...],
        Setting("Outputs of filter or score; or what holds those of all parts.", flags="DIR"),
    ],
    output: Annotated[
        Path,
        Setting(
            "Where the whole is put together.",
            flags="--output -o",
            unit="DIR",
            written=Written.STORE,
        ),
    ],
    overwrite: Annotated[
        bool, Setting("Replace what an earlier run left in the output.", flags="--overwrite")
    ] = False,
    quiet: Quiet = False,
) -> ExitCode:
    """Join the outputs of runs that shared the shards out.

    The output is what one run over all shards would have written: files, report and manifest.
    Files are linked where that can be done, else copied; the parts may be removed afterwards.

    \b
      lowbg filter dump/ -o OUT --shard-index 0 --shard-count 2
      lowbg filter dump/ -o OUT --shard-index 1 --shard-count 2
      lowbg merge OUT -o WHOLE
    """
    from lowbg.jobs.merge import merge_outputs

    shown = address(output)
    with if_interrupted(f"{shown} isn't whole; the same command and --overwrite starts again."):
        merged = merge_outputs(
            directories,
            output,
            Existing.OVERWRITE if overwrite else Existing.REFUSE,
            command_line(),
        )
    if not quiet:
        terminal.show(summary(merged.report, sys.stderr))
        of = counted(merged.parts, "output")
        terminal.say(f"{shown}: {counted(merged.files, 'file')} of {of}")
    if merged.complete:
        return ExitCode.FINISHED
    terminal.error("some input was not processed whole; lowbg verify names it")
    return ExitCode.INCOMPLETE
