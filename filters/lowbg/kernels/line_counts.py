"""Counting lines, and those of them that are blank."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.arrays import Text
from lowbg.kernels.compiler import kernel
from lowbg.kernels.json_bytes import WIDTH, line_ends
from lowbg.kernels.vectors import lowest, pointer

SIZE, ENDED, BLANK, FIRST, OPENS_BLANK, IS_BLANK = range(6)
COUNTS: Final = 6
"""What `count_lines` counts: bytes; line ends; lines that begin and end in the content, and are
blank; where the first line end is, and whether nothing but white space lies before it; whether
nothing else lies behind the last one."""


def nothing_counted() -> NDArray[np.int64]:
    """The counts of no content."""
    counts = np.zeros(COUNTS, np.int64)
    counts[OPENS_BLANK] = counts[IS_BLANK] = 1
    return counts


@kernel
def count_lines(block: Text, size: int, counts: NDArray[np.int64]) -> Any:
    """Adds to `counts` what lies in `block[:size]`, which has `WIDTH` bytes more; says how many
    lines end there.

    Blank is what has nothing but the white space that `bytes.strip` takes.
    """
    data = pointer(block)
    ended = 0
    is_blank = counts[IS_BLANK] != 0
    begin: Any = np.int64(0)
    at: Any = np.int64(0)
    while at < size:
        found = line_ends(data, at)
        if at + WIDTH > size:
            found &= np.uint32((1 << (size - at)) - 1)
        while found:
            end = at + lowest(found)
            found &= found - np.uint32(1)
            while is_blank and begin < end:
                is_blank = data[begin] == 32 or 9 <= data[begin] <= 13
                begin += 1
            if counts[ENDED] + ended == 0:
                counts[FIRST] = counts[SIZE] + end
                counts[OPENS_BLANK] = 1 if is_blank else 0
            elif is_blank:
                counts[BLANK] += 1
            ended += 1
            is_blank = True
            begin = end + 1
        at += WIDTH
    while is_blank and begin < size:
        is_blank = data[begin] == 32 or 9 <= data[begin] <= 13
        begin += 1
    counts[IS_BLANK] = 1 if is_blank else 0
    counts[SIZE] += size
    counts[ENDED] += ended
    return ended
