"""`lowbg warm-up`: compiles ahead what the first command would have to."""

from __future__ import annotations

from typing import Annotated

from lowbg.amounts import counted
from lowbg.settings import Setting
from lowbg_cli import terminal
from lowbg_cli.configure import Quiet
from lowbg_cli.exits import ExitCode
from lowbg_cli.groups import command


@command
def warm_up_command(
    *,
    check: Annotated[
        bool, Setting("Compile nothing; exit 1 if something is missing.", flags="--check")
    ] = False,
    quiet: Quiet = False,
) -> ExitCode:
    """Compile ahead what the first command on a machine compiles.

    For images and clusters: run it as the user, and on the kind of processor, that will run lowbg.
    """
    from lowbg.jobs.warm_up import look, warm_up
    from lowbg.kernels.machine import available_cores

    before = look()
    seconds = 0.0
    if before.missing and before.folder is not None and not check:
        if not quiet:
            terminal.say(f"compiling {counted(len(before.missing), 'kernel')} …")
        seconds = warm_up(available_cores())
    now = look() if seconds else before
    if not quiet:
        compiled = len(before.missing) - len(now.missing)
        took = f", {compiled} compiled in {seconds:.1f} s" if compiled else ""
        where = now.folder or "nowhere: no folder can be written to"
        terminal.say(f"{now.kernels - len(now.missing)} of {now.kernels} kernels kept{took}")
        terminal.say(f"kept in {where}")
    return ExitCode.JUDGED_BAD if now.missing else ExitCode.FINISHED
