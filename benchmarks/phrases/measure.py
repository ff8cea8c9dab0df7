"""Measure every phrase pattern on labelled text and write the figures into the lists.

``python measure.py DATA`` rewrites ``human_per_million`` and ``ai_per_million`` in every TOML;
``--check`` writes nothing and fails when a figure in a list isn't what the data says.
The tokenizer is deliberately plain Python and shares no code with the package: the figures are
an independent statement about the words, not about the scorer.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tomllib
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import zstandard

LISTS = Path(__file__).parents[2] / "filters/lowbg/scorers/phrases/lists"
VERIFY_BYTES = 64  # raw text on either side of a hit that `verify` may look at
DIGITS = 3  # decimals kept of a rate
# Traditional Chinese is measured with (and matched by) the Chinese list.
SAME_LANGUAGE = {"zh-Hant": "zh"}
HAN_KANA = (
    "\u3005\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
LETTER = rf"[^\W\d_{HAN_KANA}]"
TOKEN = re.compile(rf"[{HAN_KANA}]|{LETTER}+(?:'{LETTER}+)*")
MARKS = re.compile("[\u0300-\u036f]")
FOLDED = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201b\u02bc\u02b9\u2032\u00b4\u0060\uff07", "'"),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", None),
    }
)


def normalise(text: str) -> str:
    """Fold case, quotes and accents; drop invisible characters."""
    if text.isascii():
        return text.lower().replace("`", "'")
    text = unicodedata.normalize("NFD", text.translate(FOLDED).casefold())
    return unicodedata.normalize("NFC", MARKS.sub("", text))


def tokens(text: str) -> list[str]:
    """Words of Latin, Cyrillic … text; single characters of Han and kana."""
    return TOKEN.findall(normalise(text))


def token_spans(text: str) -> list[tuple[int, int]]:
    """Where each of ``tokens(text)`` lies in the raw text, as character offsets."""
    pieces, origin = [], []
    for at, character in enumerate(text):
        piece = normalise(character)
        pieces.append(piece)
        origin.extend([at] * len(piece))
    return [(origin[m.start()], origin[m.end() - 1] + 1) for m in TOKEN.finditer("".join(pieces))]


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The records of one ``.jsonl.zst`` file."""
    with path.open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        for line in io.BufferedReader(stream):
            yield orjson.loads(line)


class Matcher:
    """Counts the patterns of one list in tokenised text."""

    def __init__(self, patterns: list[dict[str, Any]]) -> None:
        self.verify = [re.compile(p["verify"]) if "verify" in p else None for p in patterns]
        self.by_first: dict[str, list[tuple[list[str], int]]] = defaultdict(list)
        for index, pattern in enumerate(patterns):
            for variant in pattern["variants"]:
                words = tokens(variant)
                self.by_first[words[0]].append((words, index))
        for found in self.by_first.values():
            found.sort(key=lambda entry: -len(entry[0]))

    def count(self, text: str, words: list[str]) -> Counter[int]:
        """Hits a pattern; hits of one pattern do not overlap."""
        hits: Counter[int] = Counter()
        free_from: dict[int, int] = {}
        spans: list[tuple[int, int]] | None = None
        by_first = self.by_first
        for at, word in enumerate(words):
            if word not in by_first:
                continue
            for phrase, index in by_first[word]:
                end = at + len(phrase)
                if words[at:end] != phrase or free_from.get(index, 0) > at:
                    continue
                verify = self.verify[index]
                if verify is not None:
                    spans = spans or token_spans(text)
                    if len(spans) != len(words):
                        spans = None
                        continue
                    before = text[: spans[at][0]].encode()[-VERIFY_BYTES:]
                    hit = text[spans[at][0] : spans[end - 1][1]].encode()
                    after = text[spans[end - 1][1] : spans[end - 1][1] + VERIFY_BYTES].encode()
                    window = before + hit + after[:VERIFY_BYTES]
                    if not verify.search(window.decode(errors="ignore")):
                        continue
                free_from[index] = end
                hits[index] += 1
        return hits


def sources(data: Path) -> Iterator[tuple[str, str, str, str]]:
    """Language, side (human or ai), generator and text of every row that counts as evidence."""
    for path in sorted((data / "labelled/train").glob("*.jsonl.zst")):
        for row in rows(path):
            if not row.get("attack"):
                yield row["lang"], row["label"], row.get("generator") or "", row["text"]
    for path in sorted((data / "prose").glob("*.jsonl.zst")):
        language = "zh-Hant" if path.name.startswith("zh-Hant-") else path.name.split("-")[0]
        for row in rows(path):
            yield language, "human", "", row["text"]


def measure(data: Path, lists: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Rates and numbers of generators for the patterns of each list (key: language, or ``*``)."""
    matchers = {language: Matcher(patterns) for language, patterns in lists.items()}
    size: Counter[tuple[str, str]] = Counter()
    hits: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    generators: dict[tuple[str, int], set[str]] = defaultdict(set)
    for row_language, side, generator, text in sources(data):
        words = tokens(text)
        for language in (SAME_LANGUAGE.get(row_language, row_language), "*"):
            if language not in matchers:
                continue
            size[language, side] += len(words)
            found = matchers[language].count(text, words)
            hits[language, side].update(found)
            if side == "ai":
                for index in found:
                    generators[language, index].add(generator)
    return {
        language: [
            {
                "human": rate(hits[language, "human"][index], size[language, "human"]),
                "ai": rate(hits[language, "ai"][index], size[language, "ai"]),
                "human_hits": hits[language, "human"][index],
                "ai_hits": hits[language, "ai"][index],
                "generators": len(generators[language, index]),
            }
            for index in range(len(patterns))
        ]
        for language, patterns in lists.items()
    }


def rate(hits: int, size: int) -> float:
    """Hits per million tokens. A hit never rounds to zero, which would read as "never seen"."""
    if not hits:
        return 0.0
    return float(max(round(1e6 * hits / size, DIGITS), 10**-DIGITS))


def rewrite(source: str, figures: list[dict[str, Any]]) -> str:
    """The TOML text with each pattern's two figures replaced; the rest stays as written."""
    head, *blocks = re.split(r"^(?=\[\[pattern\]\])", source, flags=re.MULTILINE)
    if len(blocks) != len(figures):
        raise ValueError(f"{len(blocks)} [[pattern]] blocks, {len(figures)} patterns")
    done = [head]
    for block, figure in zip(blocks, figures, strict=True):
        for key in ("human", "ai"):
            line = re.compile(rf"^{key}_per_million = .*$", re.MULTILINE)
            block, changed = line.subn(f"{key}_per_million = {figure[key]}", block)
            if changed != 1:
                raise ValueError(f"no single {key}_per_million line in:\n{block}")
        done.append(block)
    return "".join(done)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that holds labelled/train and prose")
    parser.add_argument("--lists", type=Path, default=LISTS, help="folder of the TOML lists")
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 on a difference")
    parser.add_argument("--table", type=Path, help="also write all counts as tab-separated values")
    options = parser.parse_args()

    paths = sorted(options.lists.glob("*.toml"))
    if not paths or not (options.data / "labelled/train").is_dir():
        parser.error("no lists, or no labelled/train under the data folder")
    text = {path: path.read_text(encoding="utf-8") for path in paths}
    parsed = {path: tomllib.loads(source) for path, source in text.items()}
    lists = {document["language"]: document["pattern"] for document in parsed.values()}
    figures = measure(options.data, lists)

    failures = 0
    table = ["language\tcategory\tname\thuman\tai\thuman_hits\tai_hits\tgenerators"]
    for path in paths:
        language = parsed[path]["language"]
        new = rewrite(text[path], figures[language])
        for pattern, figure in zip(lists[language], figures[language], strict=True):
            table.append(
                "\t".join(
                    [language, pattern["category"], pattern["name"]]
                    + [str(value) for value in figure.values()]
                )
            )
            problems = []
            if pattern.get("near_certain") and figure["human"]:
                problems.append(f"near_certain, but {figure['human_hits']} hits in human text")
            if options.check:
                problems += [
                    f"{side}_per_million is {pattern[f'{side}_per_million']}, "
                    f"measured {figure[side]}"
                    for side in ("human", "ai")
                    if pattern[f"{side}_per_million"] != figure[side]
                ]
            failures += len(problems)
            for problem in problems:
                print(f"{path.name}: {pattern['name']}: {problem}", file=sys.stderr)
        if not options.check and new != text[path]:
            path.write_text(new, encoding="utf-8")
    if options.table:
        options.table.write_text("\n".join(table) + "\n", encoding="utf-8")
    print(f"{sum(map(len, lists.values()))} patterns in {len(paths)} lists, {failures} problems")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
