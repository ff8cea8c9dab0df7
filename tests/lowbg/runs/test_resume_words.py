"""What differs between two runs is said setting by setting, in words."""

from __future__ import annotations

from typing import Any

import pytest

from lowbg.runs.resume import differences


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ["a.b was 1, is 2"]),
        ({"lm": None}, {"lm": {"model": "m", "dtype": "auto"}},
         ["lm.dtype was absent, is auto", "lm.model was absent, is m"]),
        ({"lm": {"model": "m"}}, {"lm": None}, ["lm.model was m, is absent"]),
        ({"others": []}, {"others": ["kind", "licence"]}, ["others was empty, is kind, licence"]),
        ({"trust": [{"field": "kind", "value": "book"}]}, {"trust": []},
         ["trust was field=kind value=book, is empty"]),
        ({"digest": "0" * 64}, {"digest": "1" * 64},
         ["digest was 000000000000…, is 111111111111…"]),
        ({"same": {"x": None}}, {"same": {}}, []),
    ],
)  # fmt: skip
def test_a_line_a_setting(old: Any, new: Any, said: list[str]) -> None:
    assert list(differences(old, new)) == said
