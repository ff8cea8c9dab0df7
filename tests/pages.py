"""The README and the pages of `docs/` as tests read them: code blocks, commands, links.

What a `console` block says after that word is no part of what a reader sees:

- nothing: `test_docs.py` runs it as written, in a folder that has the sample, one page after the
  next block of it in the same folder; output that is shown must be what comes;
- `recipe`: another test runs it, on data of its own;
- `unrun`: no test runs it: it needs a model, a network or a corpus.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = (README, *sorted(DOCS.rglob("*.md")))

_FENCE = re.compile(r"^```(\S+)?(?: ([^\n]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what else its first line says, its text and first line."""

    language: str
    words: tuple[str, ...]
    text: str
    line: int


@dataclass(frozen=True)
class Shown:
    """A command as a page shows it, and the lines of output that follow it there."""

    command: str
    output: tuple[str, ...]


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(text: str, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, or those of one language."""
    found = (
        Block(m[1] or "", tuple((m[2] or "").split()), m[3], text.count("\n", 0, m.start()) + 1)
        for m in _FENCE.finditer(text)
    )
    return [block for block in found if language in (None, block.language)]


def prose(text: str) -> str:
    """A page with its fenced blocks blanked out; everything else stays where it is."""
    return _FENCE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def headings(text: str) -> list[re.Match[str]]:
    """The headings of a page: their text is group 1."""
    return list(re.finditer(r"^#+ (.+)$", prose(text), flags=re.MULTILINE))


def commands(block: Block) -> Iterator[Shown]:
    """The commands of a `console` block. A backslash at a line's end goes on in the next line."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        size = next(i for i, line in enumerate(lines, 1) if not line.endswith("\\"))
        yield Shown("\n".join(lines[:size]), tuple(lines[size:]))


def recipe_commands(page: Path) -> list[str]:
    """The commands of a page's blocks that are marked `recipe`, in their order."""
    marked = [block for block in blocks(read(page), "console") if block.words == ("recipe",)]
    return [shown.command for block in marked for shown in commands(block)]
