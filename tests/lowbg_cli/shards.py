"""Shards that the tests of several commands read."""

from __future__ import annotations

import json
from pathlib import Path
from pydoc_data.topics import topics

HUMAN = sorted(topics.values(), key=len)[-20:]
"""Prose that is on every machine: the topics of the language reference."""
AI_FILE = Path(__file__).parents[2] / "examples" / "ai_styled.txt"
AI = AI_FILE.read_text(encoding="utf-8").split("=====")[0]
PERSONAL = (
    "Grandad kept bees behind the shed, and on Sundays he'd let me hold the smoker. I was stung "
    "twice that summer. Neither time did I cry; Mum says I did, but she was at the shops. The hive "
    "went to Uncle Pete when the house got sold, along with two ladders and a lawnmower that never "
    "once started. He lost the queen in February. After that nobody spoke of it much, though I saw "
    "the empty boxes stacked by his garage for years, grey and warped, with a wasps' nest in one."
)
TEXT = "We walked across the river on the stones, and the dogs ran ahead of us. " * 3


def lines(*texts: str) -> bytes:
    """A JSONL shard of these documents."""
    rows = [json.dumps({"id": i, "text": text, "language": "en"}) for i, text in enumerate(texts)]
    return "".join(f"{row}\n" for row in rows).encode()


def numbered(count: int) -> bytes:
    """A JSONL shard of so many short documents, no two alike."""
    return lines(*(f"{i} {TEXT}" for i in range(count)))


def dump(folder: Path) -> Path:
    """A shard below `folder`: twenty human documents, a broken line, and an AI document."""
    path = folder / "in" / "dump.jsonl"
    path.parent.mkdir()
    path.write_bytes(lines(*HUMAN) + b"{broken\n" + lines(AI))
    return path


def pair(folder: Path) -> Path:
    """A folder below `folder` with two shards of 300 short documents."""
    inputs = folder / "in"
    inputs.mkdir()
    for name in ("a", "b"):
        (inputs / f"{name}.jsonl").write_bytes(numbered(300))
    return inputs
