"""How a character is folded and a word hashed, in plain Python: what the kernels are held to."""

from __future__ import annotations

from lowbg.kernels import characters as k
from lowbg.text import characters as c

MASK = 2**64 - 1
SEED, PRIME = 0xCBF29CE484222325, 0x100000001B3


def fold(char: str, folding: int) -> tuple[int, str]:
    """A character's class and what it is folded to."""
    cp = ord(char)
    if 0x1D400 <= cp < 0x1D800:
        cp = 0xE000 + cp - 0x1D400
    elif 0x20000 <= cp < 0x32000:
        cp = 0x3400
    elif cp >= 0x10000 or 0xE000 <= cp < 0xF900:
        cp = 0xF8FF
    entry = int(c.folding_tables()[folding, cp])
    cls, folded = entry >> 24, chr(entry & 0xFFFF)
    if cls == k.EXPAND:
        first, last = chr((entry >> 16) & 0xFF), entry & 0xFFFF
        folded = first * (2 if last >= 0x100 else 1) + chr(last & 0xFF)
    return cls, folded


def hash_of(word: str) -> int:
    """FNV-1a over the folded code points, then the bijective scramble."""
    h = SEED
    for char in word:
        h = ((h ^ ord(char)) * PRIME) & MASK
    h = ((h ^ (h >> 32)) * 0xBF58476D1CE4E5B9) & MASK
    h = ((h ^ (h >> 29)) * 0x94D049BB133111EB) & MASK
    return h ^ (h >> 32)
