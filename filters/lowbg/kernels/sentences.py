"""How uneven sentences are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.compiler import kernel


@kernel
def goh_barabasi(
    lengths: NDArray[np.int32], starts: NDArray[np.int64], out: NDArray[np.float32]
) -> None:
    """Notes the burstiness of each document: see `scorers/burstiness.py`."""
    for i in range(len(starts) - 1):
        n = starts[i + 1] - starts[i]
        if n < 2:
            out[i] = 0.0
            continue
        total = 0.0
        squares = 0.0
        for k in range(starts[i], starts[i + 1]):
            length = float(lengths[k])
            total += length
            squares += length * length
        # nσ, from sums that are exact below 2⁵³: equal lengths give −1, and the order of sentences
        # is immaterial. Beyond that, rounding could make the difference negative.
        scaled = math.sqrt(max(float(n) * squares - total * total, 0.0))
        out[i] = (scaled - total) / (scaled + total)
