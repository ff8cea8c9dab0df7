"""The compiled look-up of phrase variants: one hashed tree of words, one pass over the text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lowbg.kernels.hashes import SEED, mixed
from lowbg.kernels.phrases import Tables, add_heads
from lowbg.text.tokens import Tokens


def compile_variants(
    variants: Tokens, owners: Sequence[int], groups: Sequence[int], n_groups: int
) -> Tables:
    """The tables of `variants` (one a document, 1 to `MAX_WORDS` words each).

    Variant v stands for pattern `owners[v]` in the documents of group `groups[v]`.
    """
    salts = mixed(SEED ^ np.arange(n_groups, dtype=np.uint64))
    singles, pairs = (np.zeros((n_groups, 1024), np.uint64) for _ in range(2))
    heads = np.empty(len(variants.words), np.uint64)
    starts = variants.word_starts
    add_heads(variants.words, starts, np.array(groups, np.int64), salts, singles, pairs, heads)
    tree: dict[int, list[int]] = {}
    for v, owner in enumerate(owners):
        path: list[int] = heads[starts[v] : starts[v + 1]].tolist()
        for h in path:
            tree.setdefault(h, [])
        if owner not in tree[path[-1]]:
            tree[path[-1]].append(owner)
    size = 1 << (2 * max(len(tree), 1)).bit_length()
    keys = np.zeros(size, np.uint64)
    ends = np.full(size, -1, np.int32)
    bounds = [0]
    flat: list[int] = []
    for h, ids in tree.items():
        at = h & (size - 1)
        while keys[at]:
            at = (at + 1) & (size - 1)
        keys[at] = h
        if ids:
            ends[at] = len(bounds) - 1
            flat += ids
            bounds.append(len(flat))
    return Tables(
        salts,
        singles,
        pairs,
        keys,
        ends,
        np.array(bounds, np.int32),
        np.array(flat, np.int32),
    )
