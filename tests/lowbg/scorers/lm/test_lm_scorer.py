"""What an LM scorer is made of, and the identity that calibrations have: old policies name it."""

from __future__ import annotations

import hashlib

import pytest

from lowbg.scorers.lm.scorer import identity_of, models_of

MODEL, SECOND, PROBE = "lm tiny v2 aa", "lm-performer other bb", "lm-probe en.safetensors cc"


@pytest.mark.parametrize(
    ("made_of", "text"),
    [
        ((MODEL,), "aa "),
        ((MODEL, "context 512"), "aa 512"),
        ((MODEL, SECOND), "aa bb "),
        ((MODEL, PROBE), "aa cc"),
        ((MODEL, PROBE, "surprise"), "aa cc surprise"),
    ],
)
def test_an_identity_is_of_all_that_decides(made_of: tuple[str, ...], text: str) -> None:
    assert identity_of(made_of) == hashlib.sha256(text.encode()).hexdigest()


def test_models_are_told_from_the_rest() -> None:
    made_of = (MODEL, PROBE, "surprise", "context 512")
    assert models_of(made_of) == {"lm tiny v2": "aa", "lm-probe en.safetensors": "cc"}
