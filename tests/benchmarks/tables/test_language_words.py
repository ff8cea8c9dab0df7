from __future__ import annotations

import json
import tomllib
from pathlib import Path

from benchmarks.tables.language_words import completed_list, count_words, counted_list, rewritten

TEXT = """# head

[en]
script = "latin"
words = \"\"\"
old
\"\"\"

[nl]
script = "latin"
letters = "ë"
words = \"\"\"
de het
\"\"\"

[xx]
script = "latin"
words = \"\"\"
kept
\"\"\"
"""


def test_words_are_weighed_by_file(tmp_path: Path) -> None:
    for name, text in (("en-a", "one " * 90 + "two " * 10), ("en-b", "Two")):
        path = tmp_path / f"{name}.jsonl"
        path.write_text(json.dumps({"text": text}) + "\n", encoding="utf-8")
    assert count_words(sorted(tmp_path.iterdir())) == {"en": ["two", "one"]}


def test_lists_leave_out_code_and_english() -> None:
    ranked = {"en": ["the", "http", "international"], "fr": ["le", "http", "international", "x"]}
    assert counted_list("fr", ranked) == ["le"]
    assert counted_list("en", ranked) == ["the", "international"]
    assert completed_list(["de"], ["de", "een", "the", "x", "a"], {"the"}) == ["de", "een"]


def test_only_word_lists_of_languages_with_text_change() -> None:
    ranked = {"en": ["the", "of"], "nl": ["de", "een"]}
    new = rewritten(TEXT, ranked)
    assert new == TEXT.replace("old", "the of").replace("de het", "de het een")
    assert rewritten(new, ranked) == new
    assert tomllib.loads(new)["nl"]["letters"] == "ë"
