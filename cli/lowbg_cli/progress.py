"""How far a run is: a calm line on a terminal, and a line a minute where there is none."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from msgspec import Struct

from lowbg.amounts import bytes_text, counted, duration_text, share_text
from lowbg_cli import terminal

if TYPE_CHECKING:
    from lowbg.runs.inputs import Shard
    from lowbg.runs.progress import Observer, Progress

SECONDS_BETWEEN = 0.25
"""Between two refreshes; more often is restless, and costs bandwidth over ssh."""

WINDOW_SECONDS = 15.0
"""The rate is taken over this long, so that the time left neither jumps nor lags."""

MINUTE = 60.0
"""Seconds between two lines where there is no terminal that redraws one."""

_BAR_WIDTHS = (24, 12)


class State(Struct, frozen=True):
    """What a line shows. `total` is null where the size of the input isn't known.

    `consumed` and `total` are stored bytes; `rate` is bytes a second, null at the beginning;
    `tokens_rate` is what a causal LM reads in a second, 0 where none does.
    `scored` documents are those that the AI share is a share of; 0 where nothing is. `finished` of
    `shards` are done; 0 of 0 where there is nothing to say of them.
    """

    consumed: int
    total: int | None
    rate: float | None
    records: int
    ai: int
    scored: int = 0
    quarantined: int = 0
    finished: int = 0
    shards: int = 0
    tokens_rate: float = 0.0


def render_line(state: State, width: int, *, unicode: bool = True) -> str:
    """The line for a terminal of `width` columns, at most `width` − 1 characters.

    What matters less is left out first: the counts, the total, the long bar.
    """
    room = width - 1
    rate = f"{bytes_text(state.rate, three_digits=True)}/s" if state.rate is not None else ""
    done = bytes_text(state.consumed, three_digits=True)
    tokens = _tokens(state)
    short = f"{state.ai:,} AI"
    if state.scored:
        short += f" ({share_text(state.ai / state.scored)})"
    counts = f"{state.records:,} records  {short}"
    if state.quarantined:
        counts += f"  {state.quarantined:,} quarantined"
    if state.shards > 1:
        counts = f"{state.finished:,}/{state.shards:,} shards  {counts}"
    if state.total is None:
        choices = [
            [done, rate, tokens, counts],
            [done, rate, tokens, short],
            [done, rate],
            [done],
        ]
    else:
        share = min(1.0, state.consumed / state.total) if state.total else 1.0
        percent = f"{int(share * 100):3} %"
        left = _left(state)
        long, small = (_bar(share, cells, unicode=unicode) for cells in _BAR_WIDTHS)
        of_total = f"{done} of {bytes_text(state.total, three_digits=True)}"
        choices = [
            [percent, long, of_total, rate, tokens, left, counts],
            [percent, small, of_total, rate, tokens, left, counts],
            [percent, small, rate, tokens, left, counts],
            [percent, small, rate, tokens, left, short],
            [percent, rate, left, short],
            [percent, rate, left],
            [percent, left],
            [percent],
        ]
    lines = ["  ".join(part for part in parts if part) for parts in choices]
    return next((line for line in lines if len(line) <= room), lines[-1][: max(0, room)])


def render_sign(state: State) -> str:
    """The line for a log: share done, amount, rate, time left, records and AI share."""
    parts = []
    amount = bytes_text(state.consumed, three_digits=True)
    if state.total:
        parts.append(f"{int(100 * min(1.0, state.consumed / state.total))} % done")
        amount += f" of {bytes_text(state.total, three_digits=True)}"
    parts.append(amount)
    if state.rate is not None:
        parts.append(f"{bytes_text(state.rate, three_digits=True)}/s")
        if state.tokens_rate:
            parts.append(_tokens(state))
    parts += [left] if (left := _left(state)) else []
    parts.append(counted(state.records, "record"))
    if state.scored:
        parts.append(f"AI share {share_text(state.ai / state.scored)} of scored")
    if state.quarantined:
        parts.append(f"{state.quarantined:,} quarantined")
    if state.shards > 1:
        parts.append(f"{state.finished:,} of {state.shards:,} shards finished")
    return ", ".join(parts)


def _left(state: State) -> str:
    """How long it takes yet; where all is read, that outputs are being ended or sent."""
    if not state.total:
        return ""
    if state.consumed >= state.total:
        return "finishing"
    rest = state.total - state.consumed
    return f"{duration_text(rest / state.rate)} left" if state.rate else ""


def _tokens(state: State) -> str:
    return f"{state.tokens_rate:,.0f} tokens/s" if state.tokens_rate else ""


def _bar(share: float, cells: int, *, unicode: bool) -> str:
    full = int(share * cells)
    done, rest = ("━", "─") if unicode else ("#", ".")
    return done * full + rest * (cells - full)


class Tally:
    """Adds up what the shards report, from any thread; `window` seconds give the rate.

    `count` is how many shards there are, 0 where that isn't told.
    """

    def __init__(self, total: int | None, window: float, count: int = 0) -> None:
        self._total = total
        self._count = count
        self._window = window
        self._shards: dict[str, Progress] = {}
        self._samples: deque[tuple[float, int, int]] = deque()
        self._lock = threading.Lock()

    def take(self, progress: Progress) -> None:
        """Takes a report."""
        with self._lock:
            self._shards[progress.shard] = progress

    def state(self, now: float) -> State:
        """What there is to show at the time `now`; bytes of an earlier run are in no rate."""
        with self._lock:
            shards = list(self._shards.values())
        own = sum(shard.consumed - shard.earlier for shard in shards)
        tokens = sum(shard.tokens for shard in shards)
        self._samples.append((now, own, tokens))
        while len(self._samples) > 2 and now - self._samples[0][0] > self._window:
            self._samples.popleft()
        since, before, tokens_before = self._samples[0]
        # A shard that is begun anew has read nothing yet.
        newly = max(0, tokens - tokens_before)
        return State(
            consumed=sum(shard.consumed for shard in shards),
            total=self._total,
            rate=(own - before) / (now - since) if now - since >= 1 else None,
            records=sum(shard.records for shard in shards),
            ai=sum(shard.ai for shard in shards),
            scored=sum(shard.scored for shard in shards),
            quarantined=sum(shard.quarantined for shard in shards),
            finished=sum(shard.done for shard in shards),
            shards=self._count,
            tokens_rate=newly / (now - since) if now - since >= 1 else 0.0,
        )


class ProgressLine:
    """Redraws one line of `stream`, a terminal, as the shards report."""

    def __init__(self, stream: TextIO, total: int | None, count: int = 0) -> None:
        self._stream = stream
        self._tally = Tally(total, WINDOW_SECONDS, count)
        self._drawn = 0.0
        self._lock = threading.Lock()
        self._open = True
        self._unicode = (stream.encoding or "").lower().replace("-", "").startswith("utf")

    def __call__(self, progress: Progress) -> None:
        """Takes a report; may be called from any thread."""
        self._tally.take(progress)
        with self._lock:
            now = time.monotonic()
            if self._open and now - self._drawn >= SECONDS_BETWEEN:
                self._drawn = now
                line = render_line(self._tally.state(now), self._width(), unicode=self._unicode)
                self._write(line)

    def close(self) -> None:
        """Takes the line away: what is said next starts on a clean one."""
        with self._lock:
            if self._open and self._drawn:
                self._write("")
            self._open = False

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def _write(self, line: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(f"\r\x1b[K{line}")
            self._stream.flush()


class SignsOfLife:
    """Says a line every `seconds`, whether or not the shards report: what waits is alive, too."""

    def __init__(
        self,
        total: int | None,
        seconds: float = MINUTE,
        say: Callable[[str], None] = terminal.say,
        count: int = 0,
    ) -> None:
        self._say = say
        self._tally = Tally(total, seconds, count)
        self._seconds = seconds
        self._ended = threading.Event()
        self._tally.state(time.monotonic())
        self._thread = threading.Thread(target=self._speak, name="lowbg-signs", daemon=True)
        self._thread.start()

    def __call__(self, progress: Progress) -> None:
        """Takes a report; may be called from any thread."""
        self._tally.take(progress)

    def close(self) -> None:
        """No line comes after this."""
        self._ended.set()
        self._thread.join()

    def _speak(self) -> None:
        while not self._ended.wait(self._seconds):
            self._say(render_sign(self._tally.state(time.monotonic())))


@contextmanager
def progress_line(shards: Sequence[Shard], *, quiet: bool) -> Iterator[Observer]:
    """What a run reports its progress to: a line on a terminal, one a minute elsewhere."""
    from lowbg.runs.progress import NOBODY, Observer

    if quiet or sys.stderr is None:
        yield NOBODY
        return
    line: ProgressLine | SignsOfLife
    if terminal.is_interactive() and os.environ.get("TERM") != "dumb":
        line = ProgressLine(sys.stderr, total_size(shards), len(shards))
    else:
        line = SignsOfLife(total_size(shards), count=len(shards))
    try:
        yield Observer(line)
    finally:
        line.close()


def total_size(shards: Sequence[Shard]) -> int | None:
    """Stored bytes of all shards; null where one of them doesn't say."""
    if any(shard.size == 0 and (shard.path == "-" or "://" in shard.path) for shard in shards):
        return None
    return sum(shard.size for shard in shards)
