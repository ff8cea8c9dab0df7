"""The program `lowbg`: every command, and how it starts and ends."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import io
import os
import sys
from typing import Annotated, Any

import typer

import lowbg
from lowbg_cli.commands.calibrate import calibrate_command
from lowbg_cli.commands.drift import drift_app
from lowbg_cli.commands.eval import eval_command
from lowbg_cli.commands.explain import explain_command
from lowbg_cli.commands.filter import filter_command
from lowbg_cli.commands.gate import gate_command
from lowbg_cli.commands.mix import mix_command
from lowbg_cli.commands.report import report_command
from lowbg_cli.commands.reserve import reserve_app
from lowbg_cli.commands.score import score_command
from lowbg_cli.commands.scorers import scorers_command
from lowbg_cli.commands.train import train_command
from lowbg_cli.commands.verify import verify_command
from lowbg_cli.commands.warm_up import warm_up_command
from lowbg_cli.exits import guarded, raise_on_signals, run_program, usage_errors_in_a_line
from lowbg_cli.helping import PlainCommand, PlainGroup
from lowbg_cli.several import TakesSeveral

EPILOG = (
    "Exit codes: 0 finished; 1 asked to judge, and it failed; 2 usage or configuration; "
    "3 some input could not be processed whole; 130, 143 interrupted; 141 the reader of stdout "
    "left."
)

ORDER = (
    *("filter", "score", "explain", "report", "verify"),
    *("calibrate", "eval", "train"),
    *("gate", "drift", "mix", "reserve", "scorers", "warm-up"),
)
"""The commands as `--help` lists them: the main job, its thresholds, what is done beside it."""


class Program(PlainGroup):
    """All commands, listed by `ORDER`; what is wrong with the options is said in one line."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names; typer itself puts groups after all commands."""
        return sorted(self.commands, key=ORDER.index)

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Parses what stands before the command's name."""
        with usage_errors_in_a_line():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Parses the command's options, and runs it."""
        with usage_errors_in_a_line():
            return super().invoke(ctx)


app = typer.Typer(
    name="lowbg",
    cls=Program,
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.command("filter", cls=PlainCommand)(guarded(filter_command))
app.command("score", cls=PlainCommand)(guarded(score_command))
app.command("explain", cls=PlainCommand)(guarded(explain_command))
app.command("report", cls=PlainCommand)(guarded(report_command))
app.command("verify", cls=PlainCommand)(guarded(verify_command))
app.command("calibrate", cls=PlainCommand)(guarded(calibrate_command))
app.command("eval", cls=PlainCommand)(guarded(eval_command))
app.command("train", cls=TakesSeveral)(guarded(train_command))
app.command("gate", cls=PlainCommand)(guarded(gate_command))
app.add_typer(drift_app)
app.command("mix", cls=TakesSeveral)(guarded(mix_command))
app.add_typer(reserve_app, name="reserve")
app.command("scorers", cls=PlainCommand)(guarded(scorers_command))
app.command("warm-up", cls=PlainCommand)(guarded(warm_up_command))


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"lowbg {lowbg.__version__}")
        raise typer.Exit


@app.callback()
def _lowbg(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Keep training data low-background: split crawl dumps into human-likely and AI-likely."""


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


def _program(args: list[str]) -> typer.Typer:
    """The program, with only the command that `args` start with: typer is slow to make the rest."""
    wanted = [command for command in app.registered_commands if [command.name] == args[:1]]
    if not wanted:
        return app
    program = copy.copy(app)
    program.registered_commands, program.registered_groups = wanted, []
    return program


def main() -> None:
    """Runs the command line and exits."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if sys.platform == "linux":  # For this process it is too late to read the environment.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, int(os.environ["MALLOC_ARENA_MAX"]))
    raise_on_signals()
    if isinstance(sys.stdout, io.TextIOWrapper):
        with contextlib.suppress(OSError):
            # A lone surrogate in a file name must not end a listing.
            sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run_program(lambda: _program(sys.argv[1:])(prog_name="lowbg")))
