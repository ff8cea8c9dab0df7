"""How a process that got a signal ends between two batches instead of in the middle of one.

What takes seconds for a batch, as a causal LM does, looks within it, and the batch is undone.

Signals belong to the process, and so does what is noted here: there is one `STOP`. Who handles a
signal calls `STOP.ask`. Where that returns false nothing here would notice, and the handler ends
the work its own way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lowbg.errors import StoppedError


class Stop:
    """Whether the work at hand shall end at the next batch: `asked` is the signal, 0 if none."""

    def __init__(self) -> None:
        self.asked = 0
        self._watched = 0

    def ask(self, number: int) -> bool:
        """Asks the work to end, for the signal `number`; true if it will notice."""
        if not self._watched:
            return False
        self.asked = number
        return True

    def check(self) -> None:
        """Raises `StoppedError` where the work shall end: within a batch, which is then undone."""
        if self.asked:
            raise StoppedError("stopped within a batch")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within, the caller looks at `asked` after every batch, and ends by itself."""
        self._watched += 1
        try:
            yield
        finally:
            self._watched -= 1

    def reset(self) -> None:
        """Takes a request back: for the next run in this process."""
        self.asked = 0


STOP = Stop()
"""This process's."""
