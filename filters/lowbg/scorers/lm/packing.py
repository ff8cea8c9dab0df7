"""Token sequences → windows of at most a context → batches of about equal length.

All of it depends on lengths alone. A window's tokens don't depend on the batch that it is in, so
every token is judged after the same tokens, whatever the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_TOKENS = 2
"""The first token has nothing before it: a shorter text has no figures."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows over a list of token sequences, one entry each.

    Window w covers tokens `start[w]` to `start[w] + length[w]` of sequence `sequence[w]`; the
    tokens that it judges are those from `start[w] + first[w]` on. Every token of a sequence but
    its first is judged in exactly one window.
    """

    sequence: NDArray[np.int64]
    start: NDArray[np.int64]
    length: NDArray[np.int64]
    first: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sequence)


def cut(lengths: Sequence[int], context: int) -> Windows:
    """The windows over sequences of these lengths, for a model that sees `context` tokens.

    A sequence that fits is one window. A longer one has windows at every stride of half a
    context, each of which judges what the one before it did not reach: so every judged token but
    those of the first window has at least half a context before it.
    """
    stride = max(1, context // 2)
    rows: list[tuple[int, int, int, int]] = []
    for i, n in enumerate(lengths):
        if n < MIN_TOKENS:
            continue
        rows.append((i, 0, min(n, context), 1))
        reached, start = context, stride
        while reached < n:
            end = min(start + context, n)
            rows.append((i, start, end - start, reached - start))
            reached, start = end, start + stride
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    return Windows(*columns)


def plan(lengths: NDArray[np.int64], budget: int) -> list[NDArray[np.int64]]:
    """Batches of windows, as indices: alike in length, padded to at most `budget` tokens each.

    Longest first, so that the batch that needs most memory comes first. A window longer than the
    budget is a batch of its own.
    """
    order = np.argsort(-lengths, kind="stable")
    batches = []
    at = 0
    while at < len(order):
        rows = max(1, budget // int(lengths[order[at]]))
        batches.append(order[at : at + rows])
        at += rows
    return batches
