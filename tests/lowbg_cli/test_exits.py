"""How a command ends that a signal meets where something makes another error of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from lowbg.errors import InputError
from lowbg_cli import exits
from lowbg_cli.exits import ExitCode, ended, if_interrupted, raise_on_signals, run_program


@pytest.fixture(autouse=True)
def handled() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before[signal.SIGHUP] = signal.getsignal(signal.SIGHUP)
    raise_on_signals()
    yield
    exits._raised.clear()
    for number, handler in before.items():
        signal.signal(number, handler)


def as_another(error: type[Exception]) -> Callable[[], ExitCode]:
    """A command that gets SIGHUP while something is imported, say, that hides what is raised."""

    def command() -> ExitCode:
        try:
            os.kill(os.getpid(), signal.SIGHUP)
        except BaseException as hidden:
            raise error("failed to import") from hidden
        return ExitCode.FINISHED

    return command


@pytest.mark.parametrize("error", [ImportError, SystemError, InputError, OSError])
def test_what_a_signal_became_is_an_interruption(
    error: type[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_program(lambda: ended(as_another(error))) == 128 + signal.SIGHUP
    assert capsys.readouterr().err.splitlines() == [
        "lowbg: interrupted (SIGHUP). Nothing half-written was left."
    ]


def test_it_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> ExitCode:
        with if_interrupted("--resume goes on."):
            return as_another(ImportError)()

    assert run_program(lambda: ended(command)) == 128 + signal.SIGHUP
    assert capsys.readouterr().err == "lowbg: interrupted (SIGHUP). --resume goes on.\n"


def test_an_error_without_a_signal_is_itself(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> ExitCode:
        raise ValueError("odd")

    assert ended(command) == ExitCode.INTERNAL
    assert "internal error: ValueError: odd" in capsys.readouterr().err
