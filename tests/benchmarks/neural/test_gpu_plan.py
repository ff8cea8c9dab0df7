"""What documentation says of a GPU is what the script works out."""

from __future__ import annotations

from pathlib import Path

from benchmarks.neural.gpu_plan import MODELS, documents_an_hour, table

DOCS = Path(__file__).parents[3] / "docs" / "lm.md"


def test_the_page_has_the_table() -> None:
    assert table() in DOCS.read_text("utf-8")


def test_a_document_takes_two_operations_a_token_and_parameter() -> None:
    # 0.4 x 989e12 a second, for 2 x 106e6 x 0.6 x 192 of a document.
    assert round(documents_an_hour(MODELS[0]) / 3600) == 16_198
