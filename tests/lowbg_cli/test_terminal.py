from __future__ import annotations

import io
import sys

import pytest

from lowbg_cli import terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("naïve 中文 😀", "naïve 中文 😀"),
        ("a\x1b[31mb", "a␛[31mb"),
        ("a\nb\tc\r", "a b c "),
        ("\x00\x7f\x9b", "␀\ufffd\ufffd"),
        ("ab\u202edc", "ab\ufffddc"),
        ("soft\u00adhyphen", "soft\u00adhyphen"),
        ("lone \ud800", "lone \ufffd"),
    ],
)
def test_printable_cannot_steer_a_terminal(text: str, shown: str) -> None:
    assert terminal.printable(text) == shown


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (9_994, "9.99 kB"), (9_996, "10.0 kB"),
        (99_960, "100 kB"), (118_400_000, "118 MB"), (999_600, "1.00 MB"), (10**18, "1000 PB"),
    ],
)  # fmt: skip
def test_sizes_have_three_digits(count: int, text: str) -> None:
    assert terminal.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (-1, "0:00")],
)
def test_durations(seconds: float, text: str) -> None:
    assert terminal.duration(seconds) == text


def test_messages_never_reach_stdout_when_stderr_is_closed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    terminal.error("lost")
    assert capsys.readouterr().out == ""


def test_messages_are_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    terminal.error("a file\ncalled so")
    assert stream.getvalue() == "lowbg: error: a file called so\n"
