from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from examples.make_sample import ai_documents, human_documents
from tests.pieces import pieces

from lowbg.config import Policy
from lowbg.jobs.drift.sampling import Sample
from lowbg.runs.engine import Engine


@pytest.fixture(scope="session")
def human() -> list[str]:
    return [piece["text"] for piece in pieces(human_documents())]


@pytest.fixture(scope="session")
def ai() -> list[str]:
    return [piece["text"] for piece in pieces(ai_documents())]


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine(Policy()).setup()


@pytest.fixture(scope="session")
def halves(human: list[str]) -> Callable[[int], tuple[list[str], list[str]]]:
    """The human pieces in two random halves."""

    def cut(seed: int) -> tuple[list[str], list[str]]:
        order = list(human)
        random.Random(seed).shuffle(order)
        return order[::2], order[1::2]

    return cut


def sample_of(texts: Sequence[str]) -> Sample:
    """The texts, in their order, as a sample that was drawn."""
    columns = {
        "priority": pa.array(range(len(texts)), pa.uint64()),
        "text": pa.array(texts, pa.large_string()),
        **dict.fromkeys(("id", "language", "date", "url"), pa.nulls(len(texts), pa.string())),
    }
    return Sample(pa.table(columns), len(texts))


@pytest.fixture(scope="session")
def as_sample() -> Callable[[Sequence[str]], Sample]:
    return sample_of


@pytest.fixture(scope="session")
def halve_vocabulary() -> Callable[[Sequence[str]], list[str]]:
    """Replaces each word of the rarer half of the vocabulary by the next common one in turn."""

    def halve(texts: Sequence[str]) -> list[str]:
        counts = Counter(word for text in texts for word in text.split())
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        kept = set(ranked[: len(ranked) // 2])
        common = ranked[:200]
        return [
            " ".join(
                word if word in kept else common[(i * 7 + k) % len(common)]
                for k, word in enumerate(text.split())
            )
            for i, text in enumerate(texts)
        ]

    return halve


@pytest.fixture
def write() -> Callable[[Path, Sequence[str]], Path]:
    """Writes texts as a JSONL shard."""

    def to(path: Path, texts: Sequence[str]) -> Path:
        rows = [{"id": str(i), "text": text} for i, text in enumerate(texts)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return to
