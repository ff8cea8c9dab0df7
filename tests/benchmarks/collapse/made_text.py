"""Text for small experiments: words by Zipf's law, other words in each dataset."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import zstandard
from benchmarks.collapse.human_text import MAJORITY, MINORITY, Sizes

DOCUMENTS, WORDS = 60, 90

SMALLEST = Sizes(
    documents=40, tokens=80, generations=3, seeds=2, minority=0.1, holdout=20, minority_holdout=5,
    drift_documents=30, drift_words=1_000, first_written=60, calibration=0,
)  # fmt: skip


def write_data(folder: Path) -> Path:
    """`labelled/train` with a shard a dataset, below `folder`."""
    place = folder / "labelled" / "train"
    place.mkdir(parents=True)
    common = [f"common{i}" for i in range(40)]
    for number, name in enumerate((*MAJORITY, MINORITY)):
        rng = np.random.default_rng(number)
        words = np.array(common + [f"{name.replace('_', '')}{i}" for i in range(400)])
        p = 1 / np.arange(1, len(words) + 1)
        rows = []
        for document in range(DOCUMENTS):
            drawn = rng.choice(words, WORDS, p=p / p.sum()).tolist()
            text = " ".join(w + ("." if i % 9 == 8 else "") for i, w in enumerate(drawn))
            rows.append({"text": f"Number {document}: {text}", "label": "human", "lang": "en"})
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (place / f"{name}.jsonl.zst").write_bytes(zstandard.compress(lines.encode()))
    return folder
