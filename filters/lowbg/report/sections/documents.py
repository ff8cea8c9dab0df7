"""A few documents: the clearest AI ones, the most uncertain, and some of each side by chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lowbg.report.examples import KINDS, Example
from lowbg.report.naming import for_pages
from lowbg.report.sections.base import Block, Documents, Material, Note, Section

_TITLES: Final = {
    "clearest_ai": "The clearest AI documents",
    "uncertain": "The most uncertain documents",
    "ai": "AI-likely documents, drawn by chance",
    "human": "Human-likely documents, drawn by chance",
}
_ABOUT: Final = {
    "clearest_ai": "Those with the highest scores: a false one among them means that a kind of "
    "human text is misjudged.",
    "uncertain": "Those whose evidence lies nearest to the threshold, on either side.",
    "ai": "Read them to see what the verdict AI means in this data.",
    "human": "Read them to see what was let through.",
}


def _collect(material: Material) -> dict[str, list[Example]]:
    return material.statistics.examples.to_plain()


def _blocks(kinds: dict[str, list[Example]]) -> Sequence[Block]:
    if not any(kinds.values()):
        text = "No documents are shown: none was scored, or `examples` is off."
        return (Note(for_pages(text)),)
    return [
        Documents(_TITLES[kind], _ABOUT[kind], kinds[kind], open=kind == "uncertain")
        for kind in KINDS
        if kinds.get(kind)
    ]


SECTION = Section(
    75, "documents", "Documents", _collect, _blocks,
    weak="Sentences are shaded by their own log-odds: orange is AI-like, blue human-like. One "
    "sentence says little; a verdict is of the whole document.",
)  # fmt: skip
