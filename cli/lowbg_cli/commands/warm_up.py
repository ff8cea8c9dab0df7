"""`lowbg warm-up`: compiles ahead what the first command would have to."""

from __future__ import annotations

from typing import Annotated

import typer

from lowbg_cli import options, terminal
from lowbg_cli.exits import ExitCode


def warm_up_command(
    check: Annotated[
        bool, typer.Option("--check", help="Compile nothing; exit 1 if something is missing.")
    ] = False,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Compile ahead what the first command on a machine compiles.

    For images and clusters: run it as the user, and on the kind of processor, that will run lowbg.
    """
    from lowbg.jobs.warm_up import look, warm_up
    from lowbg.runs.machine import available_cores

    before = look()
    seconds = 0.0
    if before.missing and before.folder is not None and not check:
        if not quiet:
            terminal.say(f"compiling {terminal.plural(len(before.missing), 'kernel')} …")
        seconds = warm_up(available_cores())
    now = look() if seconds else before
    if not quiet:
        compiled = len(before.missing) - len(now.missing)
        took = f", {compiled} compiled in {seconds:.1f} s" if compiled else ""
        where = now.folder or "nowhere: no folder can be written to"
        terminal.say(f"{now.kernels - len(now.missing)} of {now.kernels} kernels kept{took}")
        terminal.say(f"kept in {where}")
    return ExitCode.JUDGED_BAD if now.missing else ExitCode.FINISHED
