"""A calm line on a terminal: how far, how fast, how long still, how many records, how many AI."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from lowbg.amounts import bytes_text, duration_text
from lowbg_cli import terminal

if TYPE_CHECKING:
    from lowbg.runs.inputs import Shard
    from lowbg.runs.progress import Observer, Progress

SECONDS_BETWEEN = 0.25
"""Between two refreshes; more often is restless, and costs bandwidth over ssh."""

WINDOW_SECONDS = 15.0
"""The rate is taken over this long, so that the time left neither jumps nor lags."""

_BAR_WIDTHS = (24, 12)


@dataclass(frozen=True, slots=True)
class State:
    """What a line shows. `total` is null where the size of the input isn't known.

    `consumed` and `total` are stored bytes; `rate` is bytes a second, null at the beginning.
    """

    consumed: int
    total: int | None
    rate: float | None
    records: int
    ai: int


def render_line(state: State, width: int, *, unicode: bool = True) -> str:
    """The line for a terminal of `width` columns, at most `width` − 1 characters.

    What matters less is left out first: the counts, the total, the long bar.
    """
    room = width - 1
    rate = f"{bytes_text(state.rate, three_digits=True)}/s" if state.rate is not None else ""
    done = bytes_text(state.consumed, three_digits=True)
    counts = f"{state.records:,} records  {state.ai:,} AI"
    short = f"{state.ai:,} AI"
    if state.total is None:
        choices = [[done, rate, counts], [done, rate, short], [done, rate], [done]]
    else:
        share = min(1.0, state.consumed / state.total) if state.total else 1.0
        percent = f"{int(share * 100):3} %"
        left = ""
        if state.rate:
            rest = max(0, state.total - state.consumed)
            left = f"{duration_text(rest / state.rate)} left"
        long, small = (_bar(share, cells, unicode=unicode) for cells in _BAR_WIDTHS)
        of_total = f"{done} of {bytes_text(state.total, three_digits=True)}"
        choices = [
            [percent, long, of_total, rate, left, counts],
            [percent, small, of_total, rate, left, counts],
            [percent, small, rate, left, counts],
            [percent, small, rate, left, short],
            [percent, rate, left, short],
            [percent, rate, left],
            [percent, left],
            [percent],
        ]
    lines = ["  ".join(part for part in parts if part) for parts in choices]
    return next((line for line in lines if len(line) <= room), lines[-1][: max(0, room)])


def _bar(share: float, cells: int, *, unicode: bool) -> str:
    full = int(share * cells)
    done, rest = ("━", "─") if unicode else ("#", ".")
    return done * full + rest * (cells - full)


class ProgressLine:
    """Adds up what the shards report and redraws one line of `stream`, a terminal."""

    def __init__(self, stream: TextIO, total: int | None) -> None:
        self._stream = stream
        self._total = total
        self._shards: dict[str, tuple[int, int, int]] = {}
        self._samples: deque[tuple[float, int]] = deque()
        self._drawn = 0.0
        self._lock = threading.Lock()
        self._open = True
        self._unicode = (stream.encoding or "").lower().replace("-", "").startswith("utf")

    def __call__(self, progress: Progress) -> None:
        """Takes a report; may be called from any thread."""
        with self._lock:
            self._shards[progress.shard] = (progress.consumed, progress.records, progress.ai)
            now = time.monotonic()
            if self._open and now - self._drawn >= SECONDS_BETWEEN:
                self._drawn = now
                self._draw(now)

    def close(self) -> None:
        """Takes the line away: what is said next starts on a clean one."""
        with self._lock:
            if self._open and self._drawn:
                self._write("")
            self._open = False

    def _draw(self, now: float) -> None:
        consumed, records, ai = (sum(column) for column in zip(*self._shards.values(), strict=True))
        self._samples.append((now, consumed))
        while len(self._samples) > 2 and now - self._samples[0][0] > WINDOW_SECONDS:
            self._samples.popleft()
        since, before = self._samples[0]
        rate = (consumed - before) / (now - since) if now - since >= 1 else None
        state = State(consumed, self._total, rate, records, ai)
        self._write(render_line(state, self._width(), unicode=self._unicode))

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def _write(self, line: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(f"\r\x1b[K{line}")
            self._stream.flush()


@contextmanager
def progress_line(shards: Sequence[Shard], *, quiet: bool) -> Iterator[Observer]:
    """What a run reports its progress to: a line, where somebody watches."""
    from lowbg.runs.progress import NOBODY, Observer

    if quiet or not terminal.is_interactive() or os.environ.get("TERM") == "dumb":
        yield NOBODY
        return
    line = ProgressLine(sys.stderr, total_size(shards))
    try:
        yield Observer(line)
    finally:
        line.close()


def total_size(shards: Sequence[Shard]) -> int | None:
    """Stored bytes of all shards; null where one of them doesn't say."""
    if any(shard.size == 0 and (shard.path == "-" or "://" in shard.path) for shard in shards):
        return None
    return sum(shard.size for shard in shards)
