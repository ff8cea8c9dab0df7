"""The first command on a machine compiles what it needs: several processes at once, and said."""

from __future__ import annotations

from lowbg_cli import terminal

MESSAGE = "compiling for this processor, once; later commands start at once (see lowbg warm-up) …"

_quiet = False


def compile_together(*, quiet: bool) -> None:
    """From now on this program's processes compile together; unless `quiet`, they say so."""
    global _quiet
    from lowbg.kernels import compile_together
    from lowbg.kernels.machine import available_cores

    _quiet = quiet
    compile_together(available_cores(), announce)


def announce() -> None:
    """Says that something has to be compiled."""
    if not _quiet:
        terminal.say(MESSAGE)


def message() -> str:
    """What another process of this program says then; empty for nothing."""
    return "" if _quiet else f"lowbg: {MESSAGE}"
