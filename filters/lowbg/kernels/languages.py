"""The language of each document, from its first bytes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.arrays import Text
from lowbg.kernels.characters import code_point, extend_ascii, is_ascii_letter
from lowbg.kernels.compiler import kernel, part
from lowbg.kernels.hashes import PRIME, SEED, mix
from lowbg.kernels.scanning import WIDTH, ascii_letters, equal_bytes
from lowbg.kernels.vectors import load, store

UNDECIDED = -1

L_SCRIPT, _C_SCRIPT, _HAN, _KANA = 1, 2, 4, 5
_SHARE_OF_LATIN = 0.4
"""A Latin letter against one of another script: code and names in Latin letters are everywhere."""

# What `Tables.folding` says of a character: how many letters of a word it stands for, and whether
# its own code point is listed.
NO_LETTER, ONE_LETTER, SEVERAL_LETTERS, SKIPPED = range(4)
VOTES = 1 << 23

_GLANCE, _STEP, _MOST = 512, 1024, 4096
"""Bytes after which clear evidence is enough, then any, and how many are read at most."""

_MIN_LETTERS = 8.0
_MIN_HITS = 3
_MIN_NATS = 9.0
_MIN_LEAD = 2.5
_MIN_LEAD_SHARE = 0.015
# The demands on clear evidence are this many times as high.
_CLEAR = 8.0


class Tables(NamedTuple):
    """What `read_languages` looks up.

    `folding` is the Latin one with another top byte: three bits for what the character is to a
    word (`ONE_LETTER` …), five for the script that it is evidence of (0: none); bit 23 (`VOTES`)
    is set where it has votes. `letters` maps code points to their row of votes (0: none);
    `keys` is an open-addressed table of word hashes (0 is empty) with `rows`, their row of votes.
    Row r votes for `voted[bounds[r]:bounds[r + 1]]` with `weights` of the same range.
    `only` is a script's one language or −1, `language_scripts` the script of every language.
    """

    folding: NDArray[np.uint32]
    letters: NDArray[np.int32]
    keys: NDArray[np.uint64]
    rows: NDArray[np.int32]
    bounds: NDArray[np.int32]
    voted: NDArray[np.int8]
    weights: NDArray[np.float32]
    only: NDArray[np.int8]
    language_scripts: NDArray[np.uint8]


class Room(NamedTuple):
    """What `read_languages` works with: see there."""

    seen: NDArray[np.int64]
    nats: NDArray[np.float64]
    hits: NDArray[np.int64]
    heads: NDArray[np.uint64]
    waiting: NDArray[np.uint64]

    @classmethod
    def of(cls, tables: Tables) -> Room:
        """Room enough for these tables."""
        languages = len(tables.language_scripts)
        return cls(
            seen=np.empty(len(tables.only), np.int64),
            nats=np.empty(languages),
            hits=np.empty(languages, np.int64),
            heads=np.empty(9, np.uint64),
            # A word needs a letter and a separator.
            waiting=np.empty(_MOST // 2 + 2, np.uint64),
        )


@part
def decide(
    seen: NDArray[np.int64],
    nats: NDArray[np.float64],
    hits: NDArray[np.int64],
    words: int,
    only: NDArray[np.int8],
    language_scripts: NDArray[np.uint8],
    demand: float,
) -> int:
    """The language for which the evidence suffices, or −1.

    `seen` counts the letters of each script, `nats` and `hits` each language's votes. `demand`
    multiplies the least evidence and the least lead.
    """
    script = 0
    most = 0.0
    for s in range(1, len(seen)):
        weight = float(seen[s])
        if s == L_SCRIPT:
            weight *= _SHARE_OF_LATIN
        elif s == _HAN:
            weight = 2.0 * (seen[_HAN] + seen[_KANA])
        elif s == _KANA:
            weight = 0.0
        if weight > most:
            most = weight
            script = s
    if most < _MIN_LETTERS * demand:
        return -1
    if script == _HAN:
        both = seen[_HAN] + seen[_KANA]
        if seen[_KANA] >= 2.0 and seen[_KANA] >= 0.06 * both:
            return int(only[_KANA])
        return int(only[_HAN]) if both >= _MIN_LETTERS else -1
    if only[script] >= 0:
        return int(only[script])
    best = -1
    best_nats = 0.0
    second = 0.0
    for language in range(len(nats)):
        if language_scripts[language] == script:
            if nats[language] > best_nats:
                second = best_nats
                best_nats = nats[language]
                best = language
            elif nats[language] > second:
                second = nats[language]
    if best < 0 or hits[best] < _MIN_HITS or best_nats < _MIN_NATS * demand:
        return -1
    a_word = 0.85 if script == L_SCRIPT else 0.25 if script == _C_SCRIPT else 0.1
    if best_nats < a_word * words * (2.0 if demand > 1.0 else 1.0):
        return -1
    if best_nats - second < demand * max(_MIN_LEAD, _MIN_LEAD_SHARE * best_nats):
        return -1
    return best


@part
def _vote(
    row: int,
    bounds: NDArray[np.int32],
    voted: NDArray[np.int8],
    weights: NDArray[np.float32],
    nats: NDArray[np.float64],
) -> None:
    for k in range(load(bounds, row), load(bounds, row + 1)):
        nats[voted[k]] += weights[k]


@kernel
def read_languages(
    data: Text,
    starts: NDArray[np.int64],
    wanted: NDArray[np.bool_],
    tables: Tables,
    room: Room,
    out: NDArray[np.int8],
) -> None:
    """Notes in `out` the language of each document that is wanted, `UNDECIDED` for the rest."""
    folding, letters = tables.folding, tables.letters
    keys, rows, bounds = tables.keys, tables.rows, tables.bounds
    voted, weights = tables.voted, tables.weights
    only, language_scripts = tables.only, tables.language_scripts
    key_mask = np.uint64(len(keys) - 1)
    seen, nats, hits, heads = room.seen, room.nats, room.hits, room.heads
    waiting = room.waiting  # Words whose votes weren't counted yet.
    for i in range(len(starts) - 1):
        out[i] = UNDECIDED
        if not wanted[i]:
            continue
        for s in range(len(seen)):
            seen[s] = 0
        for language in range(len(nats)):
            nats[language] = 0.0
            hits[language] = 0
        words = 0
        n_waiting = 0
        pos = starts[i]
        end = starts[i + 1]
        limit = pos + _GLANCE
        last = pos + _MOST
        in_word = False
        h = SEED
        while True:
            at_end = pos >= end
            if not at_end:
                if is_ascii_letter(load(data, pos)) and pos + WIDTH <= end:
                    run = ascii_letters(data, pos)
                    h = extend_ascii(h, data, pos, run, folding, heads)
                    seen[L_SCRIPT] += run
                    in_word = True
                    # Of ASCII only capitals vote (see `_tables`): those whose bit 0x20 is clear.
                    if equal_bytes(data, pos, 0xDF, 0xDF) << np.uint64(64 - run) != 0:
                        for k in range(pos, pos + run):
                            cp = np.int64(load(data, k))
                            if load(folding, cp) & VOTES:
                                _vote(load(letters, cp), bounds, voted, weights, nats)
                    pos += run
                    continue
                cp, size = code_point(data, pos)
                pos += size
                entry: Any = np.int64(load(folding, cp))
                kind = entry >> 29
                seen[(entry >> 24) & 0x1F] += 1
                if entry & VOTES:
                    _vote(load(letters, cp), bounds, voted, weights, nats)
                if kind == ONE_LETTER:
                    h = (h ^ np.uint64(entry & 0xFFFF)) * PRIME
                    in_word = True
                    continue
                if kind == SEVERAL_LETTERS:  # as in `words`
                    first = np.uint64((entry >> 16) & 0x7F)
                    h = (h ^ first) * PRIME
                    if entry & 0xFFFF >= 0x100:
                        h = (h ^ first) * PRIME
                    h = (h ^ np.uint64(entry & 0xFF)) * PRIME
                    in_word = True
                    continue
                if kind == SKIPPED:
                    continue
            if in_word:
                in_word = False
                store(waiting, n_waiting, mix(h))
                n_waiting += 1
                h = SEED
            if at_end or pos >= limit:
                # All words that wait at once: whether one is listed is a toss-up, and to guess it
                # wrong costs the less the less waits behind it. The order of votes doesn't matter:
                # a few thousand float32 add up in float64 without rounding.
                words += n_waiting
                listed = 0
                for k in range(n_waiting):
                    key = load(waiting, k)
                    at = key & key_mask
                    there = load(keys, at)
                    while there != key and there != 0:
                        at = (at + np.uint64(1)) & key_mask
                        there = load(keys, at)
                    store(waiting, listed, at)
                    listed += there == key
                n_waiting = 0
                for k in range(listed):
                    row = load(rows, load(waiting, k))
                    for v in range(load(bounds, row), load(bounds, row + 1)):
                        language = load(voted, v)
                        nats[language] += load(weights, v)
                        hits[language] += 1
                demand = _CLEAR if limit - starts[i] == _GLANCE and not at_end else 1.0
                found = decide(seen, nats, hits, words, only, language_scripts, demand)
                if found >= 0 or at_end or pos >= last:
                    out[i] = found
                    break
                limit = starts[i] + (_STEP if demand > 1.0 else limit - starts[i] + _STEP)
