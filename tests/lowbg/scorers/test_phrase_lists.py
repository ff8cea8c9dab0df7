import datetime
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import lowbg

LISTS = Path(lowbg.__file__).parent / "scorers" / "phrases" / "lists"
LANGUAGES = {"en", "ru", "zh", "pt", "es", "de", "fr", "ja"}
CATEGORIES = {
    "assistant_self_reference",
    "chat_boilerplate",
    "refusal",
    "knowledge_cutoff",
    "tool_residue",
    "template",
    "overused_words",
}
REQUIRED = {"category", "name", "variants", "human_per_million", "ai_per_million", "source"}
OPTIONAL = {"near_certain", "verify"}
HAN_KANA = "\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
TOKEN = re.compile(rf"[{HAN_KANA}]|[^\W\d_{HAN_KANA}]+(?:'[^\W\d_{HAN_KANA}]+)*")
DOCUMENTS = {
    path.stem: tomllib.loads(path.read_text(encoding="utf-8"))
    for path in sorted(LISTS.glob("*.toml"))
}
PATTERNS = [
    pytest.param(language, pattern, id=f"{language}:{pattern['name']}")
    for language, document in DOCUMENTS.items()
    for pattern in document["pattern"]
]


def test_every_language_has_a_list() -> None:
    assert {*LANGUAGES, "common"} <= DOCUMENTS.keys()


@pytest.mark.parametrize("stem", DOCUMENTS)
def test_list_is_named_dated_and_free_of_repeats(stem: str) -> None:
    document = DOCUMENTS[stem]
    assert document.keys() == {"language", "date", "pattern"}
    assert document["language"] == ("*" if stem == "common" else stem)
    assert isinstance(document["date"], datetime.date)
    names = [pattern["name"] for pattern in document["pattern"]]
    assert len(names) == len(set(names))
    phrases = [
        (tuple(TOKEN.findall(variant.casefold())), "verify" in pattern)
        for pattern in document["pattern"]
        for variant in pattern["variants"]
    ]
    assert len(phrases) == len(set(phrases))


@pytest.mark.parametrize(("language", "pattern"), PATTERNS)
def test_pattern(language: str, pattern: dict[str, Any]) -> None:
    assert pattern.keys() >= REQUIRED
    assert pattern.keys() <= REQUIRED | OPTIONAL
    assert pattern["category"] in CATEGORIES
    assert pattern["name"].strip()
    assert pattern["source"].strip()
    longest = 14 if language in {"zh", "ja"} else 8
    assert pattern["variants"]
    for variant in pattern["variants"]:
        assert 1 <= len(TOKEN.findall(variant.casefold())) <= longest, variant
    re.compile(pattern.get("verify", ""))
    for side in ("human_per_million", "ai_per_million"):
        assert isinstance(pattern[side], float)
        assert pattern[side] >= 0
    if pattern.get("near_certain", False):
        assert pattern["human_per_million"] == 0


@pytest.mark.parametrize(("language", "pattern"), PATTERNS)
def test_overused_words_are_not_ordinary_words(language: str, pattern: dict[str, Any]) -> None:
    if pattern["category"] == "overused_words":
        assert pattern["ai_per_million"] >= 8 * pattern["human_per_million"]
        assert pattern["ai_per_million"] > 0
