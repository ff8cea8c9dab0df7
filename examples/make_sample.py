"""Makes a small crawl dump to try lowbg on: `python examples/make_sample.py DIR`.

The human half is prose that is on every machine with Python: the language reference's topics that
ship with it. The other half, `ai_styled.txt` beside this file, was written for this project in
the manner of chat assistants. Writes two shards, one JSONL (zstd) and one Parquet.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from pydoc_data.topics import topics

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent


def human_documents() -> list[dict[str, str]]:
    """Topics of the language reference that are long enough to judge, one a document."""
    return [
        {
            "id": f"python-topic-{name}",
            "url": f"https://docs.example.org/{name}",
            "date": "2021-10-04",
            "language": "en",
            "label": "human",
            "text": text,
        }
        for name, text in sorted(topics.items())
        if len(re.findall(r"[A-Za-z]+", text)) >= 150
    ]


def ai_documents() -> list[dict[str, str]]:
    """The documents of `ai_styled.txt`, which are set apart by lines of equals signs."""
    texts = re.split(r"^=+$", (HERE / "ai_styled.txt").read_text(encoding="utf-8"), flags=re.M)
    return [
        {
            "id": f"ai-styled-{i}",
            "url": f"https://blog.example.com/post/{i}",
            "date": "2024-05-17",
            "language": "en",
            "label": "ai",
            "text": text.strip(),
        }
        for i, text in enumerate(texts)
    ]


def main(argv: list[str]) -> int:
    """Writes the shards into the folder that is named."""
    if len(argv) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    target = Path(argv[0])
    target.mkdir(parents=True, exist_ok=True)
    human, ai = human_documents(), ai_documents()
    # Mixed the way a crawl is: an AI document after every few human ones.
    step = max(1, len(human) // len(ai))
    documents = []
    for i, document in enumerate(human):
        documents.append(document)
        if i % step == 0 and ai:
            documents.append(ai.pop(0))
    documents += ai
    half = len(documents) // 2
    lines = "".join(json.dumps(d, ensure_ascii=False) + "\n" for d in documents[:half])
    with pa.CompressedOutputStream(target / "crawl-0.jsonl.zst", "zstd") as file:
        file.write(lines.encode())
    pq.write_table(pa.Table.from_pylist(documents[half:]), target / "crawl-1.parquet")
    print(f"{len(documents)} documents in {target}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
