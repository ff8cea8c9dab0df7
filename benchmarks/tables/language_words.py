"""Counts the words of `languages.toml` again: `python -m benchmarks.tables.language_words DATA`.

DATA holds `labelled/train/*.jsonl.zst` and `prose/*.jsonl.zst`. The file is read, the word lists
below are replaced, and the whole is written back (or to `-o FILE`); tags, scripts, letters and the
other lists, written by hand, stay as they are. From equal data come equal bytes.

- en, ru, pt, es, de and fr get their commonest words, without those that mostly come from code,
  markup or English.
- Every other language of which there is text keeps its hand-written list, with the commonest words
  that it lacks added at the end.

Words are weighed by file, each file alike, up to 600 documents of a language and 4,000 characters
of each.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path

from lowbg.jobs.train.corpus import list_files, read_rows

COUNTED = ("en", "ru", "pt", "es", "de", "fr")
WITHOUT_SPACES = ("zh", "zh-Hant", "ja", "ko")
KEPT = 260
_DOCUMENTS, _CHARACTERS = 600, 4_000
_CANDIDATES, _ADDED = 600, 140
_WORD = re.compile(r"[^\W\d_]+")
_CODE = frozenset(
    re.findall(
        r"\w+",
        "x frac text data model print n b c m i def import function return int python user id html "
        "http https com www code file json",
    )
)
_TECHNICAL = frozenset(["git", "http", "elixir", "pep", "javascript", "github"])
_LETTERS = frozenset("nmci")
"""Words of one letter that count as words outside English."""


def count_words(files: Iterable[Path]) -> dict[str, list[str]]:
    """The words of each language, from the commonest on; ties in the order of the text.

    A row without a language is in that of its file's name ("de-news.jsonl.zst").
    """
    by_file: dict[str, dict[Path, Counter[str]]] = {}
    for path in files:
        documents: Counter[str] = Counter()
        for row in read_rows(path):
            language = row.language or path.name.split("-")[0]
            documents[language] += 1
            if language in WITHOUT_SPACES or documents[language] > _DOCUMENTS:
                continue
            words = _WORD.findall(row.text[:_CHARACTERS].lower())
            by_file.setdefault(language, {}).setdefault(path, Counter()).update(words)
    ranked = {}
    for language, counters in by_file.items():
        total: dict[str, float] = {}
        for counter in counters.values():
            whole = counter.total()
            for word, n in counter.items():
                total[word] = total.get(word, 0.0) + n / whole / len(counters)
        # A stable sort: words that are as common stay in the order of the text.
        ranked[language] = sorted(total, key=lambda word: -total[word])
    return ranked


def counted_list(language: str, ranked: Mapping[str, Sequence[str]]) -> list[str]:
    """The `KEPT` commonest words that tell a language from code and from English."""
    candidates = ranked[language][:_CANDIDATES]
    if language == "ru":
        candidates = [word for word in candidates if not word.isascii()]
    if language != "en":
        english = set(ranked["en"][:3_000])
        candidates = [
            word
            for rank, word in enumerate(candidates)
            if word not in _CODE - _LETTERS
            and (word not in english or (rank < 100 and len(word) < 5))
        ]
    return [word for word in candidates if word not in _TECHNICAL][:KEPT]


def completed_list(words: Sequence[str], counted: Sequence[str], english: set[str]) -> list[str]:
    """A hand-written list with the commonest counted words that it lacks."""
    more = (w for w in counted[:_ADDED] if w not in _CODE and w not in english and len(w) > 1)
    return list(dict.fromkeys([*words, *more]))


def rewritten(text: str, ranked: Mapping[str, Sequence[str]]) -> str:
    """The text of `languages.toml` with its word lists made again."""
    english = set(ranked["en"][:400])
    for language, entry in tomllib.loads(text).items():
        if not isinstance(entry, dict) or language not in ranked or "words" not in entry:
            continue
        old = entry["words"].split()
        if language in COUNTED:
            words = counted_list(language, ranked)
        else:
            words = completed_list(old, ranked[language], english)
        block = "\n".join(textwrap.wrap(" ".join(words), 96))
        start = text.index('words = """\n', text.index(f"\n[{language}]\n")) + len('words = """\n')
        text = text[:start] + block + text[text.index('\n"""', start) :]
    return text


def main(argv: list[str]) -> int:
    """Counts, and writes the file."""
    shipped = resources.files("lowbg.text") / "languages.toml"
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables.language_words")
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path(str(shipped)))
    options = parser.parse_args(argv)
    folders = [options.data / "labelled" / "train", options.data / "prose"]
    files = [path for folder in folders for path in list_files([folder])]
    text = rewritten(shipped.read_text(encoding="utf-8"), count_words(files))
    options.output.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
