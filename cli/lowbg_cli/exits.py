"""How a command ends: exit codes, signals, broken pipes, and what is said of errors."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from enum import IntEnum
from types import FrameType
from typing import Final

from lowbg.errors import ConfigError, ConservationError, LowbgError, ModelError, StoppedError
from lowbg.stopping import STOP
from lowbg_cli import terminal

GRACE_SECONDS = 0.5
"""A second signal within this time is the same event: `timeout` and a terminal send several."""


class ExitCode(IntEnum):
    """What scripts may rely on; an interrupted run ends with 128 + the signal's number."""

    FINISHED = 0
    JUDGED_BAD = 1
    USAGE = 2
    INCOMPLETE = 3
    INTERNAL = 70  # EX_SOFTWARE of sysexits.h.
    BROKEN_PIPE = 141  # 128 + SIGPIPE, as of any filter whose reader left.


_NO_ROOM = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EBADF, errno.EROFS})
"""What only writing meets."""


class Interrupted(BaseException):
    """A signal asks to end. No `Exception`, so that it reaches every `finally` on its way up."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


_raised: list[int] = []
"""The signal for which `Interrupted` was raised, if there was one."""


def raise_on_signals() -> None:
    """From now on SIGINT, SIGTERM and SIGHUP end the program, unless they are ignored.

    The first one asks work that can stop between two batches to do so, and raises `Interrupted`
    elsewhere; a second one ends the process at once.
    """
    first: list[float] = []
    _raised.clear()

    def handle(number: int, _: FrameType | None) -> None:
        if not first:
            first.append(time.monotonic())
            if not STOP.ask(number):
                _raised.append(number)
                raise Interrupted(number)
        elif time.monotonic() - first[0] > GRACE_SECONDS:
            os._exit(128 + number)

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # A shell ignores SIGINT for its background jobs, nohup SIGHUP.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)


@contextlib.contextmanager
def _errors_of_a_signal() -> Iterator[None]:
    """Makes `Interrupted` again of an error that came of it: compiled modules that are being
    imported make an `ImportError` of whatever is raised, and what fails on the way up hides it."""
    try:
        yield
    except Exception as error:
        if not _raised:
            raise
        raise Interrupted(_raised[0]) from error


@contextlib.contextmanager
def if_interrupted(hint: str) -> Iterator[None]:
    """Adds to an interruption's message how to go on from there."""
    try:
        with _errors_of_a_signal():
            yield
    except StoppedError as error:
        interruption = Interrupted(STOP.asked)
        interruption.add_note(hint)
        raise interruption from error
    except Interrupted as interruption:
        interruption.add_note(hint)
        raise
    finally:
        STOP.reset()


def exit_interrupted(interruption: Interrupted) -> int:
    """Says so in a line; the exit code."""
    hints = getattr(interruption, "__notes__", ["Nothing half-written was left."])
    terminal.say(f"interrupted ({interruption}). {' '.join(hints)}")
    return 128 + interruption.number


@contextlib.contextmanager
def usage_errors_in_a_line() -> Iterator[None]:
    """Says what is wrong with the options as every other error is said, rather than in four lines.

    The parser's errors are told by what they promise to have, an exit code and a message: where
    their classes live differs between versions of typer.
    """
    try:
        yield
    except Exception as error:
        formatted = getattr(error, "format_message", None)
        if formatted is None or getattr(error, "exit_code", None) != ExitCode.USAGE:
            raise
        message = _in_plain_words(formatted().rstrip("."))
        context = getattr(error, "ctx", None)
        command = "lowbg" if context is None else context.command_path
        where = "" if message.endswith("?") else f"; see {command} --help"
        terminal.error(f"{message[:1].lower()}{message[1:]}{where}")
        from typer import Exit

        raise Exit(ExitCode.USAGE) from error


def _in_plain_words(message: str) -> str:
    """The parser's message without the terms of the library that it checks types with."""
    for theirs, ours in _PLAIN:
        message = message.replace(theirs, ours)
    return message


_PLAIN: Final = (
    ("Value error, ", ""),
    ("Input should be a valid number, unable to parse string as a number", "that is no number"),
)


def run_program(program: Callable[[], object]) -> int | str | None:
    """The exit code of the whole program; what it printed is out then, or its loss is said.

    For what `ended` doesn't see: help, version, and what is wrong with the options.
    """
    code: int | str | None = ExitCode.FINISHED
    try:
        try:
            program()
        except SystemExit as end:
            # The parser makes an exit code of its own, 1, of a reader that left.
            if isinstance(end.__context__, BrokenPipeError):
                raise end.__context__ from None
            code = end.code
        _flush_stdout()
    except Interrupted as interruption:
        return exit_interrupted(interruption)
    except OSError as error:
        return code or _exit_os_error(error)
    return code


def ended(command: Callable[[], ExitCode], explain: Callable[[LowbgError], str] = str) -> int:
    """The exit code of a command; its errors are said, in the words that `explain` has for them."""
    try:
        with _errors_of_a_signal():
            code = command()
            _flush_stdout()
        return code
    except (ConfigError, ModelError) as error:
        terminal.error(explain(error))
        return ExitCode.USAGE
    except ConservationError as error:
        return _internal(error)
    except LowbgError as error:
        terminal.error(explain(error))
        return ExitCode.INCOMPLETE
    except OSError as error:
        return _exit_os_error(error)
    except Exception as error:
        return _internal(error)


def _flush_stdout() -> None:
    if sys.stdout is not None:  # It is where the caller closed it.
        sys.stdout.flush()


def _exit_os_error(error: OSError) -> int:
    """Says what the system refused; quietly where it is only that the reader left."""
    if isinstance(error, BrokenPipeError):
        quiet_stdout()
        return ExitCode.BROKEN_PIPE
    why = error.strerror or " ".join(str(error).split())
    if error.filename is not None:
        terminal.error(f"{os.fsdecode(error.filename)}: {why}")
    else:
        # Files are named; without a name it is what was printed.
        what = "cannot be written" if error.errno in _NO_ROOM else "cannot be read or written"
        terminal.error(f"output: {what} ({why})")
        quiet_stdout()
    _trace(error)
    return ExitCode.INCOMPLETE


def quiet_stdout() -> None:
    """Nothing more goes to stdout, and the interpreter doesn't complain about it at its end."""
    if sys.stdout is None:
        return
    with contextlib.suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)


def _internal(error: Exception) -> int:
    what = " ".join(str(error).split())
    terminal.say(
        f"internal error: {type(error).__name__}{': ' if what else ''}{what}; "
        "please report it, with the traceback that LOWBG_TRACEBACK=1 shows"
    )
    _trace(error)
    return ExitCode.INTERNAL


def _trace(error: Exception) -> None:
    if os.environ.get("LOWBG_TRACEBACK") == "1":
        traceback.print_exception(error)
