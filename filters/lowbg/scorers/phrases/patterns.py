"""Named phrase patterns: dated lists, one a language, matched as sequences of words.

`lists/<language>.toml` and `lists/common.toml` (every language) hold the patterns with their
measured evidence; the head of `lists/en.toml` explains the format. A variant is tokenised like
the text, so case, accents, quotes, layout and look-alikes are immaterial on both sides. One pass
over the words finds every variant; among overlapping ones the near-certain wins, then the leftmost,
then the longest. Near-certain ones hold in every language, and become `QUOTED` where the text
quotes or discusses them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.arrays import strings_of
from lowbg.errors import ModelError
from lowbg.kernels import places
from lowbg.kernels.objects import source_stamp
from lowbg.kernels.phrases import MAX_WORDS, Tables, choose, find, find_urls
from lowbg.kernels.words import word_ends
from lowbg.scorers.base import Documents
from lowbg.scorers.phrases.matching import compile_variants
from lowbg.storage.files import file_digest
from lowbg.text.characters import FOLDINGS, folding_of, folding_tables, foldings_digest
from lowbg.text.tokens import Tokens, tokenize

COMMON = "common"
"""The stem of the list that holds for every language."""

QUOTED = "quoted"
"""The category of near-certain phrases that a text only quotes or discusses: no hits of theirs."""

VERIFY_REACH = 64
"""Bytes of raw text on each side of a hit that `verify` may look at."""

_KEYS = frozenset(
    {
        *("category", "name", "variants", "near_certain", "verify"),
        *("human_per_million", "ai_per_million", "source"),
    }
)


class Pattern(msgspec.Struct, frozen=True, array_like=True):
    """One named pattern: any of its variants counts as it.

    A `near_certain` one no human text says of itself: it decides alone. `verify`, a regular
    expression, must match the raw text within `VERIFY_REACH` bytes of a hit. Rates are hits a
    million words, of the whole entry.
    """

    language: str
    category: str
    name: str
    variants: tuple[str, ...]
    near_certain: bool = False
    verify: str | None = None
    human_per_million: float | None = None
    ai_per_million: float | None = None
    source: str = ""

    @property
    def label(self) -> str:
        """How columns and reasons name it: category:name."""
        return f"{self.category}:{self.name}"


@dataclass(frozen=True, slots=True)
class Hits:
    """Where patterns were found, in text order; non-overlapping.

    `document`; `word`, the index of its first word in `Tokens.words`, and `words`, how many there
    are; `pattern`, an index into `Matcher.patterns`; `start` and `end`, its bytes in
    `Tokens.data`. Inside a URL, which has no words, `words` is 0 and `word` that which comes next.
    """

    document: NDArray[np.int64]
    word: NDArray[np.int64]
    words: NDArray[np.int64]
    pattern: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.document)

    def take(self, which: NDArray[Any]) -> Hits:
        """Some of the hits, by mask or indices."""
        return Hits(
            self.document[which],
            self.word[which],
            self.words[which],
            self.pattern[which],
            self.start[which],
            self.end[which],
        )


def list_paths() -> dict[str, Path]:
    """The lists that are installed: stem → file, sorted."""
    folder = Path(str(resources.files(__package__))) / "lists"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def list_digests() -> dict[str, str]:
    """`phrases/<stem>.toml` → SHA-256 (hex) of each list."""
    return {f"phrases/{stem}.toml": file_digest(path) for stem, path in list_paths().items()}


def categories() -> tuple[str, ...]:
    """The categories that phrases are found under, sorted."""
    found = (load_list(path) for path in list_paths().values())
    return tuple(sorted({QUOTED} | {pattern.category for own in found for pattern in own}))


def load_list(path: Path) -> tuple[Pattern, ...]:
    """The patterns of one list. Raises `ModelError` where it isn't what the format says.

    An entry of the list gathers variants that were measured together. Each becomes a pattern of
    its own name, so that what is reported is what the text says; only where `verify` decides, and
    the words alone say little, do they share the entry's name.
    """
    import tomllib

    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
        return tuple(
            pattern
            for entry in content.get("pattern", ())
            for pattern in _read_entry(entry, str(content["language"]))
        )
    except (OSError, ValueError, KeyError, TypeError, re.error) as error:
        raise ModelError(f"{path}: not a phrase list ({error!r})") from error


def _read_entry(entry: Mapping[str, Any], language: str) -> tuple[Pattern, ...]:
    name = str(entry["name"])
    unknown = sorted(entry.keys() - _KEYS)
    if unknown:
        raise ValueError(f"pattern {name!r}: unknown key {unknown[0]!r}")
    variants = entry["variants"]
    if not variants or not all(isinstance(variant, str) for variant in variants):
        raise ValueError(f"pattern {name!r}: variants must be strings, at least one")
    verify = entry.get("verify")
    if verify is not None:
        re.compile(verify)
    whole = Pattern(
        language=language,
        category=str(entry["category"]),
        name=name,
        variants=tuple(variants),
        near_certain=bool(entry.get("near_certain", False)),
        verify=verify,
        human_per_million=entry.get("human_per_million"),
        ai_per_million=entry.get("ai_per_million"),
        source=str(entry.get("source", "")),
    )
    if whole.verify is not None:
        return (whole,)
    return tuple(
        msgspec.structs.replace(whole, name=variant, variants=(variant,)) for variant in variants
    )


@cache
def _search(verify: str) -> Callable[[str], re.Match[str] | None]:
    """What looks for a `verify` in a text: of those alone that are ever in doubt.

    There are 200 doubtful words a megabyte, and `re.search` takes longer to find what it compiled
    than to look.
    """
    return re.compile(verify).search


class Matcher:
    """The patterns of all languages, ready to be found.

    `patterns` are those of the lists, then, from `listed` on, the near-certain ones as `QUOTED`.
    """

    def __init__(self, lists: Mapping[str, Sequence[Pattern]]) -> None:
        """`lists` maps languages, and `COMMON`, to their patterns."""
        common = tuple(lists.get(COMMON, ()))
        languages = tuple(sorted(lists.keys() - {COMMON}))
        listed = (*common, *(pattern for code in languages for pattern in lists[code]))
        self._fill(languages, listed, _compile(languages, listed, len(common)))

    @classmethod
    def _of(cls, kept: _Kept) -> Matcher:
        """The one that was kept."""
        new = cls.__new__(cls)
        new._fill(kept.languages, kept.listed, kept.to_tables())
        return new

    def _fill(
        self, languages: tuple[str, ...], listed: tuple[Pattern, ...], tables: Tables
    ) -> None:
        self.languages = languages
        certain = [p for p, pattern in enumerate(listed) if pattern.near_certain]
        self.listed = len(listed)
        self.patterns: tuple[Pattern, ...] = (
            *listed,
            *(
                msgspec.structs.replace(listed[p], category=QUOTED, near_certain=False)
                for p in certain
            ),
        )
        self._quoted = np.zeros(self.listed, np.int64)
        self._quoted[certain] = self.listed + np.arange(len(certain))
        self.tables = tables
        labels = [pattern.label for pattern in self.patterns]
        place = {label: k for k, label in enumerate(dict.fromkeys(labels))}
        self.labels = strings_of([*place], pa.string())
        self.label_of = np.array([place[label] for label in labels], np.int64)
        self.names = strings_of([label.split(":", 1)[1] for label in place], pa.string())
        self.near_certain = np.array([p.near_certain for p in self.patterns], np.bool_)
        self._verified = np.array([p.verify is not None for p in self.patterns], np.bool_)

    def find(self, documents: Documents) -> Hits:
        """All hits in the batch."""
        tokens = documents.tokens
        codes = [*documents.language_codes, None]
        foldings = np.array([folding_of(code) for code in codes], np.uint8)[documents.languages]
        groups = np.array([self._group(code) for code in codes], np.int64)[documents.languages]
        hits = self._apart(self._verify(tokens, self._matches(tokens, foldings, groups)))
        in_urls = self._in_urls(tokens, foldings, groups)
        if len(in_urls):
            columns = (
                np.concatenate((getattr(hits, name), getattr(in_urls, name)))
                for name in ("document", "word", "words", "pattern", "start", "end")
            )
            both = Hits(*columns)
            hits = both.take(np.argsort(both.start, kind="stable"))
        return self._told_apart(tokens, hits)

    def _apart(self, hits: Hits) -> Hits:
        """Those hits that don't overlap: near-certain ones first."""
        certain = self.near_certain[hits.pattern]
        chosen = np.zeros(len(hits), np.bool_)
        if certain.any():
            own = np.flatnonzero(certain)
            first = np.zeros(len(own), np.bool_)
            choose(hits.word[own], hits.words[own], first)
            own = own[first]
            starts, ends = hits.word[own], hits.word[own] + hits.words[own]
            following = np.append(starts, np.iinfo(np.int64).max)[
                np.searchsorted(ends, hits.word, side="right")
            ]
            free = following >= hits.word + hits.words
            free[own] = True
            hits = hits.take(free)
            chosen = np.zeros(len(hits), np.bool_)
        choose(hits.word, hits.words, chosen)
        return hits.take(chosen)

    def _told_apart(self, tokens: Tokens, hits: Hits) -> Hits:
        """The hits, those near-certain ones that are only quoted or discussed as such."""
        doubtful = np.flatnonzero(self.near_certain[hits.pattern])
        if not len(doubtful):
            return hits
        # Seldom; its regular expressions take as long to compile as a batch to be looked through.
        from lowbg.scorers.phrases.quoting import stated

        pattern = hits.pattern.copy()
        for document in np.unique(hits.document[doubtful]).tolist():
            own = doubtful[hits.document[doubtful] == document]
            first, end = tokens.text_starts[document : document + 2].tolist()
            places = np.stack((hits.start[own], hits.end[own]), axis=1) - first
            says = stated(tokens.data[first:end].tobytes(), places.tolist())
            quoted = own[~np.array(says, np.bool_)]
            pattern[quoted] = self._quoted[pattern[quoted]]
        return replace(hits, pattern=pattern)

    def _group(self, code: str | None) -> int:
        if code in self.languages:
            return self.languages.index(code)
        return len(self.languages) + folding_of(code)

    def _matches(
        self, tokens: Tokens, foldings: NDArray[np.uint8], groups: NDArray[np.int64]
    ) -> Hits:
        out = np.empty((len(tokens.words) // 16 + 256, 4), np.int64)
        while True:
            found = find(tokens.words, tokens.word_starts, groups, self.tables, out)
            if found <= len(out):
                break
            out = np.empty((found, 4), np.int64)
        document, word, words, pattern = out[:found].T.copy()
        last = tokens.word_offsets[word + words - 1].astype(np.int64)
        end = np.empty(found, np.int64)
        word_ends(
            tokens.data,
            last,
            tokens.text_starts[document + 1],
            foldings[document],
            folding_tables(),
            end,
        )
        start = tokens.word_offsets[word].astype(np.int64)
        return Hits(document, word, words, pattern, start, end)

    def _verify(self, tokens: Tokens, hits: Hits) -> Hits:
        """Those hits whose pattern's `verify` matches, or that need none."""
        doubtful = np.flatnonzero(self._verified[hits.pattern])
        if len(doubtful) == 0:
            return hits
        document = hits.document[doubtful]
        first = np.maximum(hits.start[doubtful] - VERIFY_REACH, tokens.text_starts[document])
        last = np.minimum(hits.end[doubtful] + VERIFY_REACH, tokens.text_starts[document + 1])
        good = np.ones(len(hits), np.bool_)
        data = tokens.data.data
        for i, pattern, a, b in zip(
            *(column.tolist() for column in (doubtful, hits.pattern[doubtful], first, last)),
            strict=True,
        ):
            search = _search(self.patterns[pattern].verify or "")
            good[i] = search(str(data[a:b], "utf-8", "ignore")) is not None
        return hits.take(good)

    def _in_urls(
        self, tokens: Tokens, foldings: NDArray[np.uint8], groups: NDArray[np.int64]
    ) -> Hits:
        """Hits inside URLs, which aren't prose: of patterns with `verify` only."""
        urls = np.empty((len(tokens.words) // 16 + 256, 4), np.int64)
        while True:
            found = find_urls(
                tokens.data, tokens.text_starts, tokens.word_offsets, tokens.word_starts, urls
            )
            if found <= len(urls):
                break
            urls = np.empty((found, 4), np.int64)
        document, next_word, first, last = urls[:found].T
        texts = [tokens.data[a:b].tobytes() for a, b in zip(first, last, strict=True)]
        inner = tokenize(strings_of(texts, pa.large_string()), foldings[document])
        hits = self._matches(inner, foldings[document], groups[document])
        hits = hits.take(self._verified[hits.pattern])
        chosen = np.zeros(len(hits), np.bool_)
        shift = (first - inner.text_starts[:-1])[hits.document]
        placed = self._verify(
            tokens,
            Hits(
                document[hits.document],
                hits.word,
                hits.words,
                hits.pattern,
                hits.start + shift,
                hits.end + shift,
            ),
        )
        chosen = np.zeros(len(placed), np.bool_)
        choose(placed.word, placed.words, chosen)
        placed = placed.take(chosen)
        url = np.searchsorted(first, placed.start, side="right") - 1
        return Hits(
            placed.document,
            next_word[url],
            np.zeros(len(placed), np.int64),
            placed.pattern,
            placed.start,
            placed.end,
        )


class _Kept(msgspec.Struct, array_like=True):
    """A matcher as it is kept: what it was compiled from, its patterns, and its tables."""

    key: str
    languages: tuple[str, ...]
    listed: tuple[Pattern, ...]
    tables: tuple[tuple[str, tuple[int, ...], bytes], ...]

    @classmethod
    def of(cls, key: str, matcher: Matcher) -> _Kept:
        """What to keep of a matcher."""
        tables = tuple((own.dtype.str, own.shape, own.tobytes()) for own in matcher.tables)
        return cls(key, matcher.languages, matcher.patterns[: matcher.listed], tables)

    def to_tables(self) -> Tables:
        """Its tables."""
        arrays = (np.frombuffer(bytearray(data), kind).reshape(shape)
                  for kind, shape, data in self.tables)  # fmt: skip
        return Tables(*arrays)


@cache
def installed_matcher() -> Matcher:
    """The matcher of the installed lists, which are read and compiled once, and kept."""
    key = _key()
    for data in places.read(_FOLDER, _NAME):
        with suppress(msgspec.DecodeError):
            kept = msgspec.msgpack.decode(data, type=_Kept)
            if kept.key == key:
                return Matcher._of(kept)
    matcher = Matcher({stem: load_list(path) for stem, path in list_paths().items()})
    places.write(_FOLDER, _NAME, msgspec.msgpack.encode(_Kept.of(key, matcher)))
    return matcher


_FOLDER, _NAME = Path(__file__).parent, "lists.compiled"


def _key() -> str:
    """What a kept matcher has to be compiled from: lists, this code, and the folding of letters."""
    library = _FOLDER.parents[1]
    compiled = (_FOLDER, library / "text", library / "kernels")
    told = [*list_digests().values(), *map(source_stamp, compiled)]
    return hashlib.sha256(" ".join([*told, foldings_digest()]).encode()).hexdigest()


def _compile(languages: tuple[str, ...], patterns: tuple[Pattern, ...], n_common: int) -> Tables:
    """The tables of the groups: `languages`, then `FOLDINGS` with what holds in all of them."""
    texts: list[str] = []
    owners: list[int] = []
    groups: list[int] = []
    foldings: list[int] = []
    for group in range(len(languages) + len(FOLDINGS)):
        code = languages[group] if group < len(languages) else None
        folding = folding_of(code) if code else group - len(languages)
        for p, pattern in enumerate(patterns):
            if p < n_common or pattern.near_certain or pattern.language == code:
                # Read as Latin, Cyrillic look-alikes differ by case: "На" begins with an H.
                foreign = pattern.language not in (code, "*")
                variants = pattern.variants + tuple(
                    v.capitalize() for v in pattern.variants if foreign and not v.isascii()
                )
                texts += variants
                owners += [p] * len(variants)
                groups += [group] * len(variants)
                foldings += [folding] * len(variants)
    tokens = tokenize(pa.array(texts, pa.large_string()), np.array(foldings, np.uint8))
    for v in np.flatnonzero(
        (tokens.words_per_document < 1) | (tokens.words_per_document > MAX_WORDS)
    ):
        raise ModelError(
            f"pattern {patterns[owners[v]].label!r}: the variant {texts[v]!r} has "
            f"{tokens.words_per_document[v]} words; it must have 1 to {MAX_WORDS}"
        )
    return compile_variants(tokens, owners, groups, len(languages) + len(FOLDINGS))
