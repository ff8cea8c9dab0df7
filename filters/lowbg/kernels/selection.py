"""Which documents of a mix are taken, as long as there is room."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.compiler import seldom


@seldom
def take(
    order: NDArray[np.int64],
    units: NDArray[np.int64],
    sources: NDArray[np.int64],
    wanted: NDArray[np.int64],
    left_by_source: NDArray[np.int64],
    left: int,
    counts: NDArray[np.uint8],
) -> int:
    """Notes in `counts` how many times each document is taken, in this order; units left.

    As often as it is wanted and fits into what is left in all and of its source, which is lowered.
    """
    for i in order:
        size = units[i]
        if size <= 0:
            continue
        source = sources[i]
        times = min(wanted[i], left // size, left_by_source[source] // size)
        if times > 0:
            counts[i] = times
            left -= times * size
            left_by_source[source] -= times * size
    return left
