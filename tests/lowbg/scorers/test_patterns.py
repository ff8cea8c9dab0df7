"""The compiled matcher against a plain one, and the phrase lists that ship."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowbg.errors import ModelError
from lowbg.kernels.phrases import find_urls
from lowbg.scorers.base import Documents
from lowbg.scorers.phrases import Phrases, patterns
from lowbg.scorers.phrases.patterns import (
    COMMON,
    Hits,
    Matcher,
    Pattern,
    installed_matcher,
    list_digests,
    list_paths,
    load_list,
)
from lowbg.text.characters import folding_of
from lowbg.text.languages import CODES
from lowbg.text.tokens import Tokens, tokenize

Row = tuple[int, int, int, int]


def documents_of(texts: list[str], languages: list[str | None]) -> Documents:
    array = pa.array(texts, pa.large_string())
    foldings = np.array([folding_of(code) for code in languages], np.uint8)
    indices = np.array([-1 if code is None else CODES.index(code) for code in languages], np.int8)
    return Documents(array, tokenize(array, foldings), indices, CODES)


def pattern(name: str, *variants: str, language: str = "en", verify: str | None = None) -> Pattern:
    return Pattern(
        language=language,
        category="test",
        name=name,
        variants=variants or (name,),
        verify=verify,
    )


def rows(hits: Hits) -> list[Row]:
    columns = (hits.document, hits.word, hits.words, hits.pattern)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def plain_find(matcher: Matcher, documents: Documents, codes: list[str | None]) -> list[Row]:
    """What `Matcher.find` gives where no pattern has `verify` and no text a URL."""
    tokens = documents.tokens
    found: list[Row] = []
    for d, code in enumerate(codes):
        variants: dict[tuple[int, ...], int] = {}
        for p, entry in enumerate(matcher.patterns):
            if entry.language not in ("*", code):
                continue
            for variant in entry.variants:
                folding = np.array([folding_of(code)], np.uint8)
                words = tokenize(pa.array([variant], pa.large_string()), folding).words
                variants.setdefault(tuple(words.tolist()), p)
        at, end = tokens.word_starts[d : d + 2].tolist()
        while at < end:
            for n in range(min(16, end - at), 0, -1):
                p = variants.get(tuple(tokens.words[at : at + n].tolist()), -1)
                if p >= 0:
                    found.append((d, at, n, p))
                    at += n
                    break
            else:
                at += 1
    return found


WORDS = st.sampled_from(["a", "b", "c", "d", "é", "中", "文"])
PHRASE = st.lists(WORDS, min_size=1, max_size=6).map(" ".join)
CODE = st.sampled_from(["en", "ru", "zh", "it", None])


@pytest.mark.slow
@given(
    st.dictionaries(
        st.sampled_from(["en", "ru", "zh", COMMON]),
        st.lists(st.lists(PHRASE, min_size=1, max_size=4), max_size=4),
        max_size=4,
    ),
    st.lists(st.tuples(CODE, st.lists(PHRASE, max_size=6).map(", ".join)), max_size=5),
)
@settings(max_examples=200, deadline=None)
def test_finds_what_the_plain_matcher_finds(
    lists: dict[str, list[list[str]]], texts: list[tuple[str | None, str]]
) -> None:
    matcher = Matcher(
        {
            code: [
                pattern(f"{code}{k}", *variants, language="*" if code == COMMON else code)
                for k, variants in enumerate(entries)
            ]
            for code, entries in lists.items()
        }
    )
    codes = [code for code, _ in texts]
    documents = documents_of([text for _, text in texts], codes)
    assert rows(matcher.find(documents)) == plain_find(matcher, documents, codes)


def found(matcher: Matcher, text: str, code: str | None = "en") -> list[tuple[str, str]]:
    """Pattern and matched text of each hit."""
    documents = documents_of(["is here", text, "as an"], [code] * 3)
    hits = matcher.find(documents)
    data = documents.tokens.data
    assert set(hits.document.tolist()) <= {1}
    return [
        (matcher.patterns[p].name, data[a:b].tobytes().decode())
        for p, a, b in zip(hits.pattern, hits.start, hits.end, strict=True)
    ]


def test_layout_case_and_look_alikes_are_immaterial() -> None:
    matcher = Matcher({"en": [pattern("it's a testament to")]})
    for text in (
        "It’s a testament to",
        "IT'S\n**a**  testament — to",
        "it's а tеstament tо",
    ):
        assert [name for name, _ in found(matcher, f"Well. {text} it!")] == ["it's a testament to"]


def test_bytes_cover_the_phrase() -> None:
    english = [pattern("café noir"), pattern("x", "don't")]
    matcher = Matcher({"en": english, "zh": [pattern("你好", language="zh")]})
    assert found(matcher, "A (Cafe\u0301 *NOIR*) don’t'") == [
        ("café noir", "Cafe\u0301 *NOIR"),
        ("x", "don’t"),
    ]
    assert found(matcher, "嗯，你好！", "zh") == [("你好", "你好")]


def test_leftmost_then_longest_wins() -> None:
    matcher = Matcher(
        {"en": [pattern("a b"), pattern("a b c"), pattern("b c d e"), pattern("d e")]}
    )
    assert [name for name, _ in found(matcher, "a b c d e")] == ["a b c", "d e"]
    assert [name for name, _ in found(matcher, "a b d e a b c")] == ["a b", "d e", "a b c"]


def test_phrases_end_with_their_document() -> None:
    matcher = Matcher({"en": [pattern("as an ai")]})
    documents = documents_of(["as an", "ai", "", "as", "an ai as an ai"], ["en"] * 5)
    assert rows(matcher.find(documents)) == [(4, 6, 3, 0)]


def test_languages_keep_to_their_lists() -> None:
    matcher = Matcher(
        {
            "en": [pattern("in fact")],
            "de": [pattern("in der tat", language="de")],
            COMMON: [pattern("oaicite", language="*")],
        }
    )
    text = "In fact oaicite in der Tat"
    assert [name for name, _ in found(matcher, text, "en")] == ["in fact", "oaicite"]
    assert [name for name, _ in found(matcher, text, "de")] == ["oaicite", "in der tat"]
    for code in ("fr", "ru", "zh", "ja", None):
        assert [name for name, _ in found(matcher, text, code)] == ["oaicite"]


def test_verify_looks_at_the_raw_text_around() -> None:
    matcher = Matcher(
        {"en": [pattern("[cite: 1]", "cite", verify=r"\[cite: ?\d+\]"), pattern("cite this")]}
    )
    assert found(matcher, "Please [cite: 12] it") == [("[cite: 1]", "cite")]
    assert found(matcher, "Please cite 12 it") == []
    # A longer match that is not verified does not hide a shorter one, nor the other way round.
    assert found(matcher, "cite this") == [("cite this", "cite this")]


@pytest.mark.parametrize(("distance", "verified"), [(58, True), (59, False), (200, False)])
def test_verify_reaches_64_bytes_either_way(distance: int, verified: bool) -> None:
    matcher = Matcher({"en": [pattern("cite", verify=r"\[mark\]")]})
    for text in (f"cite{'.' * distance}[mark]", f"[mark]{'.' * distance}cite"):
        assert bool(found(matcher, text)) == verified


def test_verify_stays_in_its_document() -> None:
    matcher = Matcher({"en": [pattern("p", "cite", verify="secret")]})
    documents = documents_of(["secret", "cite", "secret"], ["en"] * 3)
    assert rows(matcher.find(documents)) == []


def test_residue_is_found_inside_urls() -> None:
    matcher = Matcher(
        {
            "en": [pattern("slug")],
            COMMON: [
                pattern("utm", "utm source chatgpt com", language="*", verify="utm_source=chat")
            ],
        }
    )
    url = "https://example.com/slug?a=1&utm_source=chatgpt.com"
    for text in (
        url,
        f"see ({url}) now",
        f"[a]({url}), www.x.org/?utm_source=chatgpt.com",
        f"看{url}",
    ):
        assert ("utm", "utm_source=chatgpt.com") in found(matcher, text)
        assert "slug" not in dict(found(matcher, text))
    assert len(found(matcher, f"{url}\n{url} {url}")) == 3
    assert found(matcher, "https://example.com/utm-source-chatgpt-com") == []


def plain_urls(tokens: Tokens) -> list[list[int]]:
    """What `find_urls` finds: what follows `://` or `ww?.` between the starts of two words."""
    raw = tokens.data.tobytes()
    rows: list[list[int]] = []
    for d in range(len(tokens)):
        first, end = tokens.word_starts[d : d + 2].tolist()
        marks = [*tokens.word_offsets[first:end].tolist(), int(tokens.text_starts[d + 1])]
        before = int(tokens.text_starts[d])
        for t, here in enumerate(marks, first):
            at = before
            while here - before >= 16 and at + 4 < here:
                if raw[at : at + 3] == b"://":
                    start = at + 3
                elif raw[at : at + 2].lower() == b"ww" and raw[at + 3 : at + 4] == b".":
                    start = at + 4
                else:
                    at += 1
                    continue
                at = start
                while at < here and raw[at] > 32 and raw[at] not in b'">':
                    at += 1
                if at - start >= 16:
                    rows.append([d, t, start, at])
            before = here
    return rows


URL_PIECES = st.sampled_from(
    [
        *(
            "://",
            ":/",
            "www.",
            "WWw.",
            "wwx.",
            "ww",
            "http://",
            "a.b/c",
            "1" * 15,
            "1" * 16,
            "1" * 17,
        ),
        *("-._~" * 5, "word ", "слово ", "中", " ", '"', ">", "\n", "é" * 12, "1" * 40),
    ]
)


@given(st.lists(st.lists(URL_PIECES, max_size=12).map("".join), max_size=5))
@settings(max_examples=400, deadline=None)
def test_finds_the_urls_that_the_plain_search_finds(texts: list[str]) -> None:
    array = pa.array(texts, pa.large_string())
    tokens = tokenize(array, np.zeros(len(texts), np.uint8))
    out = np.empty((500, 4), np.int64)
    n = find_urls(tokens.data, tokens.text_starts, tokens.word_offsets, tokens.word_starts, out)
    assert out[:n].tolist() == plain_urls(tokens)


def test_many_hits_outgrow_the_first_guess() -> None:
    matcher = Matcher({"en": [pattern("a"), pattern("a a")]})
    assert len(found(matcher, "a " * 10_001)) == 5_001
    assert len(found(matcher, "https://example.com/long-enough " * 1_000)) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("language = 'en'\n[[pattern]]\ncategory='c'\nname='n'\nvariants=[]", "at least one"),
        ("language = 'en'\n[[pattern]]\ncategory='c'\nname='n'\nvariants=[1]", "strings"),
        ("language = 'en'\n[[pattern]]\ncategory='c'\nname='n'", "variants"),
        (
            "language = 'en'\n[[pattern]]\nname='n'\nvariants=['a']\nverfy='a'\ncategory='c'",
            "verfy",
        ),
        (
            "language = 'en'\n[[pattern]]\nname='n'\nvariants=['a']\nverify='('\ncategory='c'",
            "error",
        ),
        ("[[pattern]]\nname='n'", "language"),
        ("x = ", "not a phrase list"),
    ],
)
def test_a_list_that_is_wrong_says_so(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "en.toml"
    path.write_text(text)
    with pytest.raises(ModelError, match=f"en.toml.*{message}"):
        load_list(path)


@pytest.mark.parametrize("variant", ["", "123", "...", "a " * 17])
def test_a_variant_has_words_but_not_too_many(variant: str) -> None:
    with pytest.raises(ModelError, match=r"'test:n'.*words"):
        Matcher({"en": [pattern("n", variant)]})


def test_without_lists_nothing_is_found() -> None:
    assert found(Matcher({}), "as an AI language model") == []


def test_the_lists_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Phrases({})
    first.setup()
    odds, matcher = first.odds, first.matcher
    monkeypatch.setattr(patterns, "load_list", None)
    first.setup()
    assert (first.odds, first.matcher) == (odds, matcher)
    second = Phrases({})
    second.setup()
    assert second.matcher is matcher


def test_the_installed_lists_find_their_own_variants() -> None:
    matcher = installed_matcher()
    assert set(matcher.languages) == set(list_paths()) - {COMMON}
    assert set(list_digests()) == {f"phrases/{stem}.toml" for stem in list_paths()}
    for stem, path in list_paths().items():
        code = "en" if stem == COMMON else stem
        for entry in load_list(path):
            if entry.verify is not None:
                continue
            for variant in entry.variants:
                assert found(matcher, variant, code), (stem, variant)
