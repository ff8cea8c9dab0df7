"""The program `lowbg`: every command, and how it starts and ends."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import os
import sys
from collections.abc import Mapping
from typing import Any

from lowbg.kernels.machine import switch_often
from lowbg_cli import quick
from lowbg_cli.exits import raise_on_signals, run_program
from lowbg_cli.groups import Command, Group

COMMANDS: Mapping[str, str] = {
    "filter": "filter_command",
    "score": "score_command",
    "explain": "explain_command",
    "sources": "sources_command",
    "report": "report_command",
    "merge": "merge_command",
    "review": "review_command",
    "verify": "verify_command",
    "calibrate": "calibrate_command",
    "eval": "eval_command",
    "train": "train_command",
    "learn": "learn_command",
    "gate": "gate_command",
    "drift": "DRIFT",
    "mix": "mix_command",
    "reserve": "RESERVE",
    "scorers": "scorers_command",
    "warm-up": "warm_up_command",
}
"""The commands as `--help` lists them: the main job, its thresholds, what is done beside it.

Each lies in the module of its name, under the name that stands here.
"""


def find_command(name: str) -> Command | Group:
    """A command, or a group of them."""
    module = importlib.import_module(f"lowbg_cli.commands.{name.replace('-', '_')}")
    found = getattr(module, COMMANDS[name])
    assert isinstance(found, (Command, Group))
    return found


ENVIRONMENT = {
    # Batches come and go: Arrow's own pool keeps 20 to 40 MB more and faults pages in again.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    # Nothing here multiplies large matrices; a pool of threads for it takes 0.1 s to start.
    "OPENBLAS_NUM_THREADS": "1",
    # glibc gives each thread a heap; what one frees no other uses.
    "MALLOC_ARENA_MAX": "1",
}
"""What libraries that load later, here and in workers, take from the environment."""

_M_ARENA_MAX = -8


def main() -> None:
    """Runs the command line and exits."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if sys.platform == "linux":  # For this process it is too late to read the environment.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, int(os.environ["MALLOC_ARENA_MAX"]))
    switch_often()
    raise_on_signals()
    if isinstance(sys.stdout, io.TextIOWrapper):
        with contextlib.suppress(OSError):
            # A lone surrogate in a file name must not end a listing.
            sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run_program(_run))


HELP = "help"
"""In a command's place: what follows is what is asked about."""

_LISTS_COMMANDS: tuple[list[str], ...] = ([], [HELP], ["--help"], ["-h"])


def _run() -> None:
    words = sys.argv[1:]
    if words and words[0] in COMMANDS and "_LOWBG_COMPLETE" not in os.environ:
        found = find_command(words[0])
        given = quick.read(found, words[1:]) if isinstance(found, Command) else None
        if given is not None:
            assert isinstance(found, Command)
            sys.exit(found.run(given))
    from lowbg_cli.parser import program

    place = 1 if words[:1] == [HELP] else 0
    asked = [name for name in words[place : place + 1] if name in COMMANDS]
    listed = words in _LISTS_COMMANDS and "_LOWBG_COMPLETE" not in os.environ
    program(asked or COMMANDS, options=not listed)(prog_name="lowbg")


def __getattr__(name: str) -> Any:
    """`app`: the whole program, made when it is asked for."""
    if name != "app":
        raise AttributeError(name)
    from lowbg_cli.parser import program

    return program()
