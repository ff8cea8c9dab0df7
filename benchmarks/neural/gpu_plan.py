"""How many documents an hour a GPU would read, on paper: nothing of it has run on one.

A forward pass takes two floating-point operations a token and a parameter of the layers that are
read; embeddings are looked up. Attention to 192 tokens adds a few per cent, which are left out.

    python -m benchmarks.neural.gpu_plan
"""

from __future__ import annotations

from typing import Final, NamedTuple

PEAK: Final = 989e12
"""Floating-point operations a second in bfloat16, dense, as the maker of an H100 or H200 says."""

UTILISED: Final = 0.4
"""The share of it that is aimed at."""

TOKENS: Final = 192
DEPTH: Final = 0.6
"""What a probe reads of a document, and of the layers."""


class Model(NamedTuple):
    """Its name, and its parameters but for embeddings."""

    name: str
    parameters: float


MODELS: Final = (
    Model("SmolLM2-135M", 106e6),
    Model("SmolLM2-360M", 315e6),
    Model("Qwen2.5-0.5B", 360e6),
    Model("Qwen2.5-1.5B", 1.31e9),
    Model("SmolLM2-1.7B", 1.61e9),
)


def documents_an_hour(model: Model, depth: float = DEPTH) -> float:
    """Documents of `TOKENS` tokens or more that one GPU reads, if nothing else holds it up."""
    return UTILISED * PEAK * 3600 / (2 * model.parameters * depth * TOKENS)


def table() -> str:
    """A row a model: millions of documents a GPU-hour by a probe, and with all layers."""
    rows = [
        f"| {model.name} | {documents_an_hour(model) / 1e6:.1f} |"
        f" {documents_an_hour(model, 1.0) / 1e6:.1f} |"
        for model in MODELS
    ]
    head = ["| model | probe, million documents a GPU-hour | all layers |", "|---|---:|---:|"]
    return "\n".join([*head, *rows])


if __name__ == "__main__":
    print(table())
