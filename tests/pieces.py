"""Long documents in pieces, of which drift's tests make corpora."""

from __future__ import annotations

from collections.abc import Sequence

PIECE_WORDS = 100


def pieces(documents: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The documents in pieces of `PIECE_WORDS` words, each a document of its own."""
    found = []
    for document in documents:
        words = document["text"].split()
        for end in range(PIECE_WORDS, len(words) + 1, PIECE_WORDS):
            found.append({**document, "text": " ".join(words[end - PIECE_WORDS : end])})
    return found
