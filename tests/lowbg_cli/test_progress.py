from __future__ import annotations

import io
import threading
import time

import pytest

from lowbg.runs.inputs import Shard
from lowbg.runs.progress import NOBODY, Progress
from lowbg_cli import terminal
from lowbg_cli.progress import (
    ProgressLine,
    SignsOfLife,
    State,
    Tally,
    progress_line,
    render_line,
    render_sign,
    total_size,
)

HALF = State(consumed=140_000_000, total=280_000_000, rate=84e6, records=1_234_567, ai=12_345)


def report(shard: str, consumed: int, records: int, ai: int, earlier: int = 0) -> Progress:
    return Progress(shard, consumed, records, ai, 2 * ai, earlier)


def test_a_wide_line_says_everything() -> None:
    assert render_line(HALF, 120) == (
        " 50 %  ━━━━━━━━━━━━────────────  140 MB of 280 MB  84.0 MB/s  0:02 left  "
        "1,234,567 records  12,345 AI"
    )


def test_a_narrow_line_says_what_matters() -> None:
    assert render_line(HALF, 40) == " 50 %  84.0 MB/s  0:02 left  12,345 AI"
    assert render_line(HALF, 24) == " 50 %  0:02 left"


@pytest.mark.parametrize("width", range(1, 130))
def test_a_line_always_fits(width: int) -> None:
    assert len(render_line(HALF, width)) < width
    assert len(render_line(State(10**9, None, 1e6, 10**6, 10**5), width)) < width


def test_what_a_causal_lm_reads_is_told_in_tokens() -> None:
    tally = Tally(100_000, window=5.0)
    for now, tokens in ((0.0, 0), (10.0, 12_000), (20.0, 30_000)):
        tally.take(Progress("a", 2_000 * int(now), 10, 0, tokens=tokens))
        state = tally.state(now)
    assert render_line(state, 120).endswith(
        "2.00 kB/s  1,800 tokens/s  0:30 left  10 records  0 AI"
    )
    assert "2.00 kB/s, 1,800 tokens/s, 0:30 left" in render_sign(state)
    assert "tokens" not in render_line(state, 40)
    # A worker that ended: its shard is begun anew.
    tally.take(Progress("a", 0, 0, 0))
    assert tally.state(21.0).tokens_rate == 0.0


def test_an_unknown_total_has_no_end_in_sight() -> None:
    line = render_line(State(5_000_000, None, 1e6, 10, 2), 80)
    assert line == "5.00 MB  1.00 MB/s  10 records  2 AI"


@pytest.mark.parametrize("total", [0, 10])
def test_more_than_all_is_all(total: int) -> None:
    assert render_line(State(20, total, 5.0, 1, 0), 80).startswith("100 %")


def test_ascii_where_the_terminal_has_no_more() -> None:
    assert render_line(HALF, 120, unicode=False).isascii()


def test_shards_add_up_and_refreshes_are_calm(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    line = ProgressLine(stream, 10_000_000)
    for i in range(1, 101):
        now[0] += 0.02
        line(report("a", i * 20_000, i, 0))
        line(report("b", i * 20_000, i, 1))
    frames = stream.getvalue().split("\r\x1b[K")[1:]
    assert 7 <= len(frames) <= 10  # Two seconds, at most five a second.
    assert "  2.00 MB/s" in frames[-1]
    assert "  1 AI" in frames[-1]
    line.close()
    line.close()
    assert stream.getvalue().endswith("\r\x1b[K")
    line(report("a", 0, 0, 0))
    assert stream.getvalue().endswith("\r\x1b[K")


def test_what_an_earlier_run_did_is_done_but_in_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    line = ProgressLine(stream, 20_000_000)
    line(report("a", 10_000_000, 100, 0, 10_000_000))
    assert " 50 %" in stream.getvalue()
    for consumed in (2_000_000, 3_000_000, 4_000_000):
        now[0] += 1.0
        line(report("b", consumed, 10, 0, 2_000_000))
    assert stream.getvalue().split("\r\x1b[K")[-1].startswith(" 70 %")
    assert "  667 kB/s  0:09 left" in stream.getvalue()


def test_a_sign_of_life_says_what_matters() -> None:
    state = State(140_000_000, 280_000_000, 84e6, 1_234_567, 12_345, 1_000_000)
    assert render_sign(state) == (
        "50 % done, 140 MB of 280 MB, 84.0 MB/s, 0:02 left, 1,234,567 records, "
        "AI share 1.2 % of scored"
    )
    assert render_sign(State(5_000, None, None, 1, 0)) == "5.00 kB, 1 record"


@pytest.mark.parametrize("rate", [None, 0.0, 84e6])
def test_what_is_read_is_being_finished(rate: float | None) -> None:
    """Its outputs are on their way to a slow disk or store, which may take long."""
    state = State(280_000_000, 280_000_000, rate, 5, 0)
    assert "finishing" in render_sign(state).split(", ")
    assert all("finishing" in render_line(state, width) for width in (24, 80, 120))
    assert "left" not in render_line(state, 120)


def test_signs_of_life_come_without_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    said = threading.Event()

    def say(line: str) -> None:
        terminal.say(line)
        said.set()

    signs = SignsOfLife(100, 0.001, say)
    assert said.wait(30)
    signs(report("a", 50, 3, 1))
    signs.close()
    assert capsys.readouterr().err.startswith("lowbg: 0 % done, 0 B of 100 B, 0 records\n")


@pytest.mark.parametrize(
    ("is_terminal", "term", "kind"),
    [(True, "xterm", ProgressLine), (True, "dumb", SignsOfLife), (False, "xterm", SignsOfLife)],
)
def test_who_watches_gets_a_line_and_others_signs(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, term: str, kind: type
) -> None:
    monkeypatch.setattr(terminal, "is_interactive", lambda: is_terminal)
    monkeypatch.setenv("TERM", term)
    with progress_line([], quiet=False) as observer:
        assert isinstance(observer.progress, kind)
    with progress_line([], quiet=True) as observer:
        assert observer is NOBODY


@pytest.mark.parametrize(
    ("shards", "total"),
    [
        ([Shard("a", "a", 3), Shard("b", "b", 0)], 3),
        ([Shard("a", "a", 3), Shard("-", "stdin", 0)], None),
        ([Shard("https://x/y", "y", 0)], None),
    ],
)
def test_total_size(shards: list[Shard], total: int | None) -> None:
    assert total_size(shards) == total
