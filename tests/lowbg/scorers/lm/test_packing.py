"""Windows and batches, from lengths alone; needs no torch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowbg.scorers.lm.packing import cut, plan

LENGTHS = st.lists(st.integers(0, 200), max_size=20)


@pytest.mark.slow
@given(LENGTHS, st.integers(2, 64))
def test_every_token_but_the_first_is_judged_once(lengths: list[int], context: int) -> None:
    windows = cut(lengths, context)
    judged: list[tuple[int, int]] = []
    for w in range(len(windows)):
        i, start = int(windows.sequence[w]), int(windows.start[w])
        first, length = int(windows.first[w]), int(windows.length[w])
        assert 1 <= first < length <= context
        # Enough before it: all there is, or half a context.
        assert start == 0 or first >= context - context // 2
        judged += [(i, start + k) for k in range(first, length)]
    assert sorted(judged) == [(i, k) for i, n in enumerate(lengths) for k in range(1, n)]


def test_a_long_text_has_windows_at_half_a_context() -> None:
    windows = cut([21], 8)
    assert windows.start.tolist() == [0, 4, 8, 12, 16]
    assert windows.length.tolist() == [8, 8, 8, 8, 5]
    assert windows.first.tolist() == [1, 4, 4, 4, 4]


@given(st.lists(st.integers(1, 100), max_size=50), st.integers(1, 400))
def test_batches_hold_all_windows_within_the_budget(lengths: list[int], budget: int) -> None:
    sizes = np.array(lengths, np.int64)
    batches = plan(sizes, budget)
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * sizes[batch].max() <= budget
    longest = [int(sizes[batch].max()) for batch in batches]
    assert longest == sorted(longest, reverse=True)


@pytest.mark.parametrize("budget", [1, 7])
def test_a_window_above_the_budget_is_alone(budget: int) -> None:
    assert [batch.tolist() for batch in plan(np.array([9, 3, 8]), budget)] == [
        [0],
        [2],
        *([[1]]),
    ]
