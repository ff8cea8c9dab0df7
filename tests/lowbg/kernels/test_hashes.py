from __future__ import annotations

import numpy as np

from lowbg.kernels.hashes import SEED, mix, mixed


def test_mixed_outside_of_kernels_is_what_they_mix() -> None:
    values = np.concatenate([SEED ^ np.arange(99, dtype=np.uint64), [2**64 - 1]]).astype(np.uint64)
    assert mixed(values).tolist() == [int(mix(value)) for value in values]
