"""Makes text in a made-up language for the pages: one that lowbg has no tables of.

`python examples/make_language.py DIRECTORY` writes, always the same bytes, human text of two
collections (`human/books.jsonl`, `human/letters.parquet`), AI text (`ai/assistant.jsonl`), labelled
text of a third kind (`labelled.jsonl`), and a crawl of both kinds with dates (`crawl/pages.jsonl`).
Of thirty sites there is an old dump, 2017 to 2021 (`dumps/old.jsonl`), and a new one, in which an
assistant wrote every fourth document, on some of the sites and on two of its own
(`dumps/new.jsonl`); nothing says which. `dumps/human.jsonl` is the new one without those. Records
say that their language is Esperanto; no word of theirs is.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

CODE = "eo"

Rows = list[dict[str, str]]


def pick(chance: random.Random, words: Sequence[str]) -> str:
    """One of the words, the first ones more often, as in any language."""
    return words[int(len(words) * chance.random() ** 2)]


def make_words(chance: random.Random, count: int) -> list[str]:
    """So many made-up words of one to three syllables."""
    return [
        "".join(
            pick(chance, "tnrslkmdpvgbfz") + pick(chance, "aeiou")
            for _ in range(1 + int(3 * chance.random()))
        )
        for _ in range(count)
    ]


COMMON = make_words(random.Random(1), 1_500)
"""The words of the language."""


def make_texts(name: str, count: int) -> list[str]:
    """So many texts of 100 to 400 words by one writer, who has words of their own."""
    chance = random.Random(name)
    favoured = make_words(chance, 40)
    texts = []
    for _ in range(count):
        sentences = []
        for _ in range(9 + int(25 * chance.random())):
            words = [
                pick(chance, favoured if chance.random() < 0.15 else COMMON)
                for _ in range(9 + int(6 * chance.random()))
            ]
            sentences.append(" ".join(words).capitalize() + ".")
        texts.append(" ".join(sentences))
    return texts


def make_rows(name: str, texts: Sequence[str], **fields: str) -> Rows:
    """The texts as records."""
    return [
        {"id": f"{name}-{i}", "text": text, "language": CODE, **fields}
        for i, text in enumerate(texts)
    ]


def write(path: Path, rows: Rows) -> None:
    """The records as Parquet or JSONL, by the path's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def make_site(name: str, texts: Sequence[str], dates: Sequence[str]) -> Rows:
    """A site's documents, one a text, dated in turn."""
    return [
        {**row, "url": f"https://{name}.example/{i}", "date": dates[i % len(dates)]}
        for i, row in enumerate(make_rows(name, texts))
    ]


def make_dumps(folder: Path) -> None:
    """Writes an old and a new dump of the same sites."""
    parts: dict[str, Rows] = {"old": [], "new": [], "human": []}
    assistant = make_texts("assistant", 150)
    years = [f"{year}-05-01" for year in range(2017, 2022)]
    for k in range(30):
        name, texts = f"site-{k}", make_texts(f"site-{k}", 45)
        parts["old"] += make_site(name, texts[:30], years)
        parts["human"] += make_site(name, texts[30:], ["2025-05-01"])
        generated = assistant[5 * k : 5 * k + 5] if k < 15 else []
        parts["new"] += make_site(name, [*texts[30:], *generated], ["2025-05-01"])
    for name, texts in (("news-1", assistant[75:110]), ("news-2", assistant[110:145])):
        parts["new"] += make_site(name, texts, ["2025-05-01"])
    for name, rows in parts.items():
        write(folder / f"{name}.jsonl", rows)


def main(folder: Path) -> None:
    """Writes all of it below `folder`."""
    make_dumps(folder / "dumps")
    assistant = make_texts("assistant", 900)
    press = make_texts("press", 1_000)
    write(folder / "human" / "books.jsonl", make_rows("book", make_texts("books", 300)))
    write(folder / "human" / "letters.parquet", make_rows("letter", make_texts("letters", 300)))
    write(folder / "ai" / "assistant.jsonl", make_rows("chat", assistant[:300]))
    labelled = make_rows("a", press[:300], label="human")
    labelled += make_rows("b", assistant[300:600], label="ai")
    write(folder / "labelled.jsonl", labelled)
    crawl = make_rows("old", press[300:700], date="2019-05-01")
    crawl += make_rows("new", press[700:] + assistant[600:], date="2025-05-01")
    write(folder / "crawl" / "pages.jsonl", crawl)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
