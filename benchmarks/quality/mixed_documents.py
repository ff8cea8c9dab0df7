"""How often a part is called AI-like, and rightly: `benchmarks.quality.mixed_documents DATA`.

Development documents of at least 150 words: human, AI and rewritten ones as they are, pages of the
development sites by kind, and documents joined of a human and an AI text of the same language,
sentence by sentence to a share of AI text. Nothing is fitted or chosen here. Writes
`results/mixed_documents.md`.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from backports import zstd

from lowbg.config import Policy
from lowbg.jobs.explain import explain
from lowbg.jobs.train.corpus import list_files, read_rows
from lowbg.models import embedded_names
from lowbg.report.estimate import wilson
from lowbg.runs.engine import Engine
from lowbg.runs.sentences import judge_texts, sentence_texts

HERE: Final = Path(__file__).parent
LEAST_WORDS: Final = 150
SHARES: Final = (0.3, 0.5, 0.7)
WORDS: Final = 400
"""A joined document has so many words, or as many as its two texts allow."""


@dataclass(frozen=True, slots=True)
class Told:
    """What was said of a document; `overlap` is the share of words of the union of the part told
    and the true one that both have, NaN where none is true or none is told."""

    called: bool
    mixed: bool
    overlap: float


def documents(data: Path, rng: random.Random, each: int) -> Iterator[tuple[str, str, str]]:
    """Language, kind and text: at most `each` of every file and kind."""
    known = set(embedded_names())
    for path in list_files([data / "labelled" / "dev"]):
        found: dict[tuple[str, str], list[str]] = {}
        for row in read_rows(path):
            if row.language in known:
                kind = "rewritten" if row.attack else ("AI" if row.is_ai else "human")
                found.setdefault((row.language, kind), []).append(row.text)
        for (language, kind), texts in sorted(found.items()):
            for text in rng.sample(texts, min(each, len(texts))):
                yield language, kind, text
    pages: dict[str, list[tuple[str, str]]] = {}
    with zstd.open(data / "sites" / "dev.jsonl.zst", "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if row["lang"] in known:
                pages.setdefault(row["kind"], []).append((row["lang"], row["text"]))
    for kind, own in sorted(pages.items()):
        for language, text in rng.sample(own, min(20 * each, len(own))):
            yield language, f"page of a site that is {kind}", text


def sentences(engine: Engine, text: str, language: str) -> tuple[list[str], list[int]]:
    """The sentences of a text and their numbers of words."""
    tokens = judge_texts(engine, [text], [language]).documents.tokens
    return sentence_texts(tokens), tokens.sentences.tolist()


def joined(
    human: tuple[list[str], list[int]],
    ai: tuple[list[str], list[int]],
    share: float,
    *,
    first: bool,
) -> tuple[str, int, int]:
    """A text with `share` of its words from `ai`, which comes `first` or last; where that is."""
    total = min(WORDS, int(sum(ai[1]) / share), int(sum(human[1]) / (1 - share)))
    own = "".join(ai[0][: int(np.searchsorted(np.cumsum(ai[1]), share * total)) + 1])
    rest = "".join(human[0][: int(np.searchsorted(np.cumsum(human[1]), (1 - share) * total)) + 1])
    if first:
        return f"{own.rstrip()}\n\n{rest}", 0, len(own)
    start = len(rest.rstrip()) + 2
    return f"{rest.rstrip()}\n\n{own}", start, start + len(own)


def told(engine: Engine, text: str, language: str, part: tuple[int, int] | None) -> Told:
    """What `explain` says of a text whose characters `part` are AI text, null for none."""
    found = explain(engine, text, language=language)
    if found.ai_part is None or part is None:
        return Told(found.verdict == "ai", found.ai_part is not None, float("nan"))
    ends = np.cumsum([0, *(len(s.text) for s in found.sentences)])
    words = np.array([s.words for s in found.sentences])
    inside = np.zeros(len(words), np.bool_)
    inside[found.ai_part.first : found.ai_part.last + 1] = True
    middle = (ends[:-1] + ends[1:]) / 2
    true = (middle >= part[0]) & (middle < part[1])
    share = words[inside & true].sum() / max(1, words[inside | true].sum())
    return Told(found.verdict == "ai", True, float(share))


def rows(data: Path, each: int) -> Iterator[tuple[str, str, Told]]:
    """Language, kind and what was said, of every document."""
    rng, engine = random.Random(7), Engine(Policy())
    engine.prepare()
    engine = engine.setup()
    sides: dict[tuple[str, str], list[tuple[list[str], list[int]]]] = {}
    for language, kind, text in documents(data, rng, each):
        own = sentences(engine, text, language)
        if sum(own[1]) < LEAST_WORDS:
            continue
        if kind in ("human", "AI"):
            sides.setdefault((language, kind), []).append(own)
        yield language, kind, told(engine, text, language, None)
    for language in embedded_names():
        human, ai = (sides.get((language, kind), []) for kind in ("human", "AI"))
        rng.shuffle(human)
        rng.shuffle(ai)
        for left, right in zip(human, ai, strict=False):
            for share in SHARES:
                text, *part = joined(left, right, share, first=rng.random() < 0.5)
                kind = f"joined, {share:.0%} AI"
                yield language, kind, told(engine, text, language, (part[0], part[1]))


def line(kind: str, found: Sequence[Told]) -> str:
    """A row of the table."""
    n, mixed = len(found), sum(own.mixed for own in found)
    low, high = wilson(mixed, n) or [0.0, 1.0]
    overlap = [own.overlap for own in found if not np.isnan(own.overlap)]
    share = f"{100 * float(np.mean(overlap)):.0f} %" if overlap else "–"
    called = 100 * sum(own.called for own in found) / n
    interval = f"{100 * mixed / n:.1f} ({100 * low:.1f}–{100 * high:.1f}) %"
    return f"| {kind} | {n:,} | {called:.1f} % | {interval} | {share} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and writes `results/mixed_documents.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--each", type=int, default=15, help="documents of a file and kind")
    given = parser.parse_args(arguments)
    found: dict[str, list[Told]] = {}
    by_language: dict[str, list[Told]] = {}
    for language, kind, own in rows(given.data, given.each):
        found.setdefault(kind, []).append(own)
        if kind in ("human", f"joined, {0.5:.0%} AI"):
            by_language.setdefault(f"{language}, {kind}", []).append(own)
    head = ["| documents | number | called AI | a part told | overlap |", "|---|---|---|---|---|"]
    text = [
        "# Documents of which a part is AI-like", "",
        "Written by `python -m benchmarks.quality.mixed_documents DATA` on development text of at "
        f"least {LEAST_WORDS} words in the languages with tables. *a part told*: `explain` says of "
        "a part that it is AI-like where the rest isn't, with a Wilson interval. *overlap*: of the "
        "words of the part told or the true one, those in both.", "",
        *head, *(line(kind, own) for kind, own in sorted(found.items())), "",
        *head, *(line(kind, own) for kind, own in sorted(by_language.items())), "",
    ]  # fmt: skip
    (HERE / "results" / "mixed_documents.md").write_text("\n".join(text), encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    main()
