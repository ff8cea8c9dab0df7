"""The program `lowbg`: every command, and how it starts and ends."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

import lowbg
from lowbg.runs.machine import switch_often
from lowbg_cli.exits import raise_on_signals, run_program, usage_errors_in_a_line
from lowbg_cli.groups import Command, Group
from lowbg_cli.helping import HELP, PlainCommand, PlainGroup
from lowbg_cli.several import INPUT, TakesSeveral

EPILOG = (
    "Exit codes: 0 finished; 1 asked to judge, and it failed; 2 usage or configuration; "
    "3 some input could not be processed whole; 130, 143 interrupted; 141 the reader of stdout "
    "left."
)

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


class Program(PlainGroup):
    """All commands, in their order; what is wrong with the options is said in one line."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names; typer itself puts groups after all commands."""
        return sorted(self.commands, key=list(COMMANDS).index)

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Parses what stands before the command's name."""
        with usage_errors_in_a_line():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Parses the command's options, and runs it."""
        with usage_errors_in_a_line():
            return super().invoke(ctx)


def program(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The program with these commands; their modules are loaded, and typer is slow to make more."""
    made = typer.Typer(
        name="lowbg",
        cls=Program,
        epilog=EPILOG,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    for name in names:
        found = find_command(name)
        if isinstance(found, Command):
            _add(made, name, found)
            continue
        group = typer.Typer(cls=PlainGroup, help=found.help, rich_markup_mode=None)
        group.callback()(_nothing)
        for inner, command in found.commands.items():
            _add(group, inner, command)
        made.add_typer(group, name=name)
    made.callback()(_lowbg)
    return made


def _add(to: typer.Typer, name: str, command: Command) -> None:
    lists = [option for option in command.options if option.takes_several]
    arguments = any(option.is_argument for option in command.options)
    inputs = any(option.value_name == INPUT for option in lists)
    kind = TakesSeveral if inputs or (lists and not arguments) else PlainCommand
    to.command(name, cls=kind)(command.callback())


def _nothing() -> None:
    """A group by itself does nothing."""


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"lowbg {lowbg.__version__}")
        raise typer.Exit


def _lowbg(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Keep training data low-background: split crawl dumps into human-likely and AI-likely.

    lowbg help COMMAND, or lowbg COMMAND --help, lists a command's options.
    """


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
    word = 2 if sys.argv[1:2] == [HELP] else 1
    asked = [name for name in sys.argv[word : word + 1] if name in COMMANDS]
    sys.exit(run_program(lambda: program(asked or COMMANDS)(prog_name="lowbg")))


def __getattr__(name: str) -> Any:
    """`app`: the whole program, made when it is asked for."""
    if name != "app":
        raise AttributeError(name)
    return program()
