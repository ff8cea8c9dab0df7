from __future__ import annotations

from hashlib import sha256
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowbg.report.examples import KEPT, KINDS, Candidates, Examples, excerpt_of
from lowbg.runs.sampling import document_keys, named

N = 200
RANDOM = np.random.default_rng(5)
SCORE = RANDOM.random(N).astype(np.float32)
MISSING = RANDOM.random(N) < 0.1
VERDICTS = np.where(MISSING, 2, (SCORE > 0.7).astype(np.int8))
TEXT = [f"Document  {i}\nsays {'nothing ' * (i % 90)}" for i in range(N)]


def add(examples: Examples, start: int, stop: int, shard: str = "a") -> None:
    own = slice(start, stop)
    records = np.arange(start, stop, dtype=np.int64)
    examples.add(
        Candidates(
            shard=shard,
            records=records,
            text=pa.array(TEXT[own], pa.large_string()),
            ids=pa.array([f"id-{i}" for i in records]),
            draws=document_keys(sha256(named(0, shard)).digest(), records) / float(1 << 64),
            margins=SCORE[own].astype(np.float64) - 0.7,
            reasons=lambda i: [f"reason {start + i}"],
        ),
        verdicts=VERDICTS[own],
        score=pa.array(SCORE[own], mask=MISSING[own]),
        languages=["en"] * (stop - start),
        words=np.full(stop - start, 9),
    )


def whole() -> Examples:
    examples = Examples()
    add(examples, 0, N)
    return examples


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, N - 1), max_size=6, unique=True), st.booleans())
def test_the_same_documents_however_they_come(cuts: list[int], backwards: bool) -> None:
    bounds = [0, *sorted(cuts), N]
    parts = []
    for start, stop in pairwise(bounds):
        part = Examples()
        add(part, start, stop)
        parts.append(part)
    merged = Examples()
    for part in reversed(parts) if backwards else parts:
        merged.merge(part)
    assert merged.to_plain() == whole().to_plain()
    one_by_one = Examples()
    for start, stop in pairwise(bounds):
        add(one_by_one, start, stop)
    assert one_by_one.to_plain() == whole().to_plain()
    assert Examples.of(merged.to_plain()).to_plain() == merged.to_plain()


def test_each_kind_is_what_it_says() -> None:
    found = whole().to_plain()
    assert set(found) == set(KINDS)
    known = np.flatnonzero(~MISSING)
    highest = known[np.argsort(-SCORE[known])][:KEPT]
    nearest = known[np.argsort(np.abs(SCORE[known].astype(np.float64) - 0.7))][:KEPT]
    assert [e.record for e in found["clearest_ai"]] == highest.tolist()
    assert [e.record for e in found["uncertain"]] == nearest.tolist()
    assert {e.verdict for e in found["ai"]} == {"ai"}
    assert {e.verdict for e in found["human"]} == {"human"}
    for examples in found.values():
        for example in examples:
            assert example.reasons == [f"reason {example.record}"]
            assert example.id == f"id-{example.record}"
            assert example.ai_score == pytest.approx(float(SCORE[example.record]), abs=1e-6)


def test_a_draw_is_even() -> None:
    """Over many shards every document of a side is drawn about equally often."""
    is_ai = np.flatnonzero((VERDICTS == 1) & ~MISSING)
    drawn = np.zeros(N)
    for shard in range(300):
        examples = Examples()
        add(examples, 0, N, f"shard-{shard:04}")
        for example in examples.to_plain()["ai"]:
            drawn[example.record] += 1
    rate = drawn[is_ai] / 300
    assert rate.mean() == pytest.approx(KEPT / len(is_ai))
    assert rate.max() < 2.2 * rate.mean()
    assert rate.min() > 0.3 * rate.mean()


@pytest.mark.parametrize(
    ("text", "shown", "cut"),
    [
        ("", "", False),
        (" a \n\n b\t", "a b", False),
        ("x" * 420, "x" * 420, False),
        ("x" * 421, "x" * 420, True),
        ("é" * 2_000, "é" * 420, True),
        ("𝄞" * 419, "𝄞" * 419, False),
    ],
)
def test_excerpts(text: str, shown: str, cut: bool) -> None:
    assert excerpt_of(pa.array([text], pa.large_string())[0].as_buffer()) == (shown, cut)
