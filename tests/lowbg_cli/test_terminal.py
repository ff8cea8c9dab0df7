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
