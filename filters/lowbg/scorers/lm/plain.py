"""A text without its layout, as a probe reads it: how a corpus was made says nothing of who wrote.

Blank lines, Markdown and typographic quotes set AI text apart in one collection and human text in
the next, and what a causal LM represents of a text holds them all.
"""

from __future__ import annotations

import re

_MARKS = re.compile(r"^[ \t]*(?:(?:#{1,6}|[-*+•>])[ \t]+)+", re.MULTILINE)
_EMPHASIS = re.compile(r"\*\*|__|`")
_SPACE = re.compile(r"\s+")
_FOLDED = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛", "'"),
        **dict.fromkeys("“”„‟", '"'),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", None),
        "…": "...",
    }
)


def plain(text: str, most: int) -> str:
    """`text` in one line of at most `most` characters, without marks of Markdown, quotes straight.

    Lone surrogates, which no tokenizer takes, become question marks.
    """
    # What is folded away is little: twice as much is enough to be left with `most`.
    text = _EMPHASIS.sub("", _MARKS.sub("", text[: 2 * most].translate(_FOLDED)))
    folded = _SPACE.sub(" ", text).strip()[:most]
    return folded.encode("utf-8", "replace").decode("utf-8")
