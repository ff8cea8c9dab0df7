"""The compiled tokenizer against a plain one, and what must not reach a word."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowbg import characters as c
from lowbg.tokens import COUNTS, Tokens, extend, mix, text_buffer, tokenize

MASK = 2**64 - 1
SEED, PRIME = 0xCBF29CE484222325, 0x100000001B3


@dataclass
class Expected:
    """What the plain tokenizer finds in one document; offsets count from its first byte."""

    words: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sentences: list[int] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))


def fold(char: str, folding: int) -> tuple[int, str]:
    """A character's class and what it is folded to."""
    cp = ord(char)
    if 0x1D400 <= cp < 0x1D800:
        cp = 0xE000 + cp - 0x1D400
    elif 0x20000 <= cp < 0x32000:
        cp = 0x3400
    elif cp >= 0x10000 or 0xE000 <= cp < 0xF900:
        cp = 0xF8FF
    entry = int(c.folding_tables()[folding, cp])
    cls, folded = entry >> 24, chr(entry & 0xFFFF)
    if cls == c.EXPAND:
        first, last = chr((entry >> 16) & 0xFF), entry & 0xFFFF
        folded = first * (2 if last >= 0x100 else 1) + chr(last & 0xFF)
    return cls, folded


def reference(text: str, folding: int) -> Expected:
    """The rules of `lowbg.tokens`, character by character."""
    out = Expected()
    raw = text.encode()
    chars: list[tuple[int, int, str]] = []
    at = 0
    for char in text:
        chars.append((at, *fold(char, folding)))
        at += len(char.encode())
    chars.append((at, c.SPACE, ""))
    word, word_at, letters = "", 0, 0
    apostrophe = candidate = False
    before = ""  # "word", "number", "stop" or anything else
    skip_to = 0
    open_words = 0

    def add(word: str, offset: int, n_letters: int, size: int) -> None:
        nonlocal open_words
        out.words.append(word)
        out.offsets.append(offset)
        out.counts["letters"] += n_letters
        out.counts["word_bytes"] += size
        open_words += 1

    def close() -> None:
        nonlocal open_words
        if open_words:
            out.sentences.append(open_words)
            open_words = 0

    for at, cls, folded in chars:
        if at < skip_to:
            continue
        if cls == c.IGNORE:
            continue
        if cls in (c.LETTER, c.EXPAND):
            if not word:
                word_at, letters, candidate = at, 0, False
            elif apostrophe:
                word += "'"
            apostrophe = False
            word += folded
            letters += len(folded)
            continue
        if cls == c.APOSTROPHE and word and not apostrophe:
            apostrophe = True
            continue
        if word:
            rest = raw[at:]
            is_url = len(rest) > 2 and (
                rest.startswith(b"://") or (rest[:1] == b"." and word == "www")
            )
            if is_url and cls != c.SPACE:
                skip_to = at
                while skip_to < len(raw) and raw[skip_to] > 32 and raw[skip_to] < 128:
                    if raw[skip_to : skip_to + 1] in (b'"', b"'", b")", b"<", b">", b"]"):
                        break
                    skip_to += 1
                word, apostrophe, before = "", False, "number"
                continue
            add(word, word_at, letters, len(word.encode()))
            word, apostrophe, before = "", False, "word"
        if cls == c.SPACE:
            if candidate:
                close()
            candidate, before = False, ""
            continue
        if cls == c.IDEOGRAPH:
            add(folded, at, 1, 3)
            out.counts["ideographs"] += 1
            candidate, before, letters = False, "word", 2
            continue
        out.counts["digits" if cls == c.DIGIT else "symbols"] += 1
        if cls == c.TERMINATOR:
            ends_word = before == "word" and letters > 1
            if raw[at : at + 1] != b"." or ends_word or before == "stop":
                candidate = True
            before = "stop" if candidate else ""
        elif cls == c.STOP:
            close()
            candidate, before = False, ""
        elif cls == c.DIGIT:
            candidate, before = False, "number"
        elif cls not in (c.CLOSER, c.APOSTROPHE):
            candidate, before = False, ""
    close()
    return out


def hash_of(word: str) -> int:
    """FNV-1a over the folded code points, then the bijective scramble."""
    h = SEED
    for char in word:
        h = ((h ^ ord(char)) * PRIME) & MASK
    h = ((h ^ (h >> 32)) * 0xBF58476D1CE4E5B9) & MASK
    h = ((h ^ (h >> 29)) * 0x94D049BB133111EB) & MASK
    return h ^ (h >> 32)


def words_of(text: str, folding: int = c.LATIN) -> list[str]:
    return reference(text, folding).words


def tokens_of(texts: list[str], folding: int = c.LATIN) -> Tokens:
    return tokenize(pa.array(texts, pa.large_string()), np.full(len(texts), folding, np.uint8))


def assert_same(tokens: Tokens, texts: list[str], foldings: list[int]) -> None:
    assert len(tokens) == len(texts)
    for i, (text, folding) in enumerate(zip(texts, foldings, strict=True)):
        expected = reference(text, folding)
        first, end = tokens.word_starts[i : i + 2]
        offsets = tokens.word_offsets[first:end].astype(np.int64) - tokens.text_starts[i]
        sentences = tokens.sentences[slice(*tokens.sentence_starts[i : i + 2])]
        assert tokens.words[first:end].tolist() == [hash_of(word) for word in expected.words]
        assert offsets.tolist() == expected.offsets
        assert sentences.tolist() == expected.sentences
        assert tokens.counts[i].tolist() == [expected.counts[name] for name in COUNTS]
        assert sentences.sum() == end - first


PIECES = st.one_of(
    st.sampled_from("abzAZéÉñßœﬁﬃﬄİıłØ аеорсАЕ жЖйё αοσς 中文漢語々〇 かがカｶﾞ 한국 กข ab"),
    st.sampled_from([*".!?…。！,;:'’‘`\"“”«»()[]*_~#-–—/&\\|"]),
    st.sampled_from(
        [" ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "  ", "\u200b", "\u00ad", "\ufeff"]
    ),
    st.sampled_from(["0", "12", "３", "½", "Ⅳ", "²", "\u0301", "\u0308", "\u200d", "\x00", "\x1f"]),
    st.sampled_from(
        ["𝐀", "𝓫", "𝟘", "𠀀", "😀", "👩\u200d🔬", "\ue000", "\ue200", "\uf8ff", "ⓐ", "\U0010ffff"]
    ),
    st.sampled_from(
        ["http://", "https://a.b/c?d=e", "www.", "www.x", "J. ", "e.g. ", "don't ", "3. "]
    ),
    st.text(max_size=3),
)
TEXTS = st.lists(PIECES, max_size=25).map("".join).filter(lambda t: t.isprintable() or t)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(TEXTS, st.integers(0, 3)), max_size=5))
def test_matches_the_plain_tokenizer(documents: list[tuple[str, int]]) -> None:
    texts = [text for text, _ in documents]
    foldings = [folding for _, folding in documents]
    tokens = tokenize(pa.array(texts, pa.large_string()), np.array(foldings, np.uint8))
    assert_same(tokens, texts, foldings)


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", ".", "'", "''a''", "a'", "'a", "don''t", "rock 'n' roll", "a’b", "é", "e\u0301"),
        *("www.", "www.a", "www.ab", "www", "http://", "see http://x.y/z (http://a) b"),
        *("Mr. Smith went. J. Doe 3. e.g. this… Really?! Yes.", "One.Two. Three", "end.” Next"),
        *("你好。世界！ok", "ﬃ ﬄ ﬁ ß Œ ĳ", "a中a中a中", "\ue200cite\ue202turn0search0\ue201"),
        "a b " * 1000,
    ],
)
def test_edges(text: str) -> None:
    for folding in range(len(c.FOLDINGS)):
        assert_same(tokens_of([text, "", text], folding), [text, "", text], [folding] * 3)


@given(st.lists(TEXTS, min_size=1, max_size=6), st.data())
@settings(max_examples=100, deadline=None)
def test_slices_are_honoured(texts: list[str], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(texts)))
    length = data.draw(st.integers(0, len(texts) - first))
    part = pa.array(texts, pa.large_string()).slice(first, length)
    foldings = [c.LATIN] * length
    assert_same(
        tokenize(part, np.array(foldings, np.uint8)), texts[first : first + length], foldings
    )


def test_no_rows_and_small_strings() -> None:
    assert len(tokens_of([])) == 0
    data, starts = text_buffer(pa.array(["ab", "c"], pa.string()))
    assert (data.tobytes(), starts.tolist()) == (b"abc", [0, 2, 3])


def test_longest_possible_output_fits() -> None:
    for text in ("a " * 5000 + "a", "a中" * 5000, "𠀀" * 100, "a'a'" * 500, "a" * 3, "é."):
        texts = [text] * 3
        assert_same(tokens_of(texts), texts, [c.LATIN] * 3)


LATIN_SENTENCES = (
    *("It isn't clear.", "The café's owner, Zoë, said “no”!", "He left; why?", "Große Fragen."),
    *("Où est-il?", "El niño comió.", "我们走吧。", "O coração não é só um músculo."),
)
CYRILLIC_SENTENCES = ("Это ёлка, правда.", "Мой «дом»!", "Съешь ещё этих мягких булок?", "Да.")


def several(folding: int, sentences: tuple[str, ...]) -> st.SearchStrategy[tuple[int, list[str]]]:
    some = st.lists(st.sampled_from(sentences), min_size=1, max_size=6)
    return st.tuples(st.just(folding), some)


@given(st.one_of(several(c.LATIN, LATIN_SENTENCES), several(c.CYRILLIC, CYRILLIC_SENTENCES)))
@settings(max_examples=60, deadline=None)
def test_layout_and_encoding_leave_words_alone(given_text: tuple[int, list[str]]) -> None:
    folding, parts = given_text
    text = " ".join(parts)
    variants = [
        text.replace(" ", "\n"),
        text.replace(" ", "  "),
        text.replace(" ", "\r\n\r\n> "),
        "# " + text.replace(" ", " **") + "**",
        "- " + text.replace(". ", ".\n- "),
        text.replace("“", '"').replace("”", '"').replace("'", "’"),
        text.replace("“", "«").replace("”", "»").replace("'", "ʼ"),
        text.upper(),
        text.lower(),
        "\u200b".join(text),
        "\u00ad".join(text),
        "\ufeff" + text,
        unicodedata.normalize("NFD", text),
        unicodedata.normalize("NFC", text),
    ]
    tokens = tokens_of([text, *variants], folding)
    first = tokens.words[: tokens.word_starts[1]].tolist()
    for i, variant in enumerate(variants, 1):
        assert tokens.words[slice(*tokens.word_starts[i : i + 2])].tolist() == first, variant


@pytest.mark.parametrize("change", ["  ", "\n", "\n\n", "\t", " \u00a0", " \u200b"])
def test_white_space_leaves_sentences_alone(change: str) -> None:
    text = "He left early. Nobody knew why! Was it 3.5 miles? Perhaps."
    a, b = (tokens_of([t]).sentences.tolist() for t in (text, text.replace(" ", change)))
    assert a == b == [3, 3, 3, 1]


def test_look_alikes_read_as_the_language_has_them() -> None:
    assert words_of("реаcе аnd ѕсорe") == ["peace", "and", "scope"]
    assert words_of("𝐛𝐨𝐥𝐝 ｗｉｄｅ ⓒⓘⓡⓒⓛⓔ") == ["bold", "wide", "circle"]
    assert words_of("мoлoкo", c.CYRILLIC) == words_of("молоко", c.CYRILLIC)
    assert words_of("漢語", c.CHINESE) == words_of("汉语", c.CHINESE)
    assert words_of("漢語", c.PLAIN) != words_of("汉语", c.PLAIN)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's 5 o'clock", ["it's", "o'clock"]),
        ("'quoted' words", ["quoted", "words"]),
        ("visit https://example.com/a-b now", ["visit", "now"]),
        ("at www.example.com, then", ["at", "then"]),
        ("(see http://x.org/y) yes", ["see", "yes"]),
        ("well-known x2y", ["well", "known", "x", "y"]),
        ("Straße ﬁne Œuvre", ["strasse", "fine", "oeuvre"]),
        ("\ue200cite\ue202turn0", ["cite", "turn"]),
        ("私はA", ["私", "は", "a"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words_of(text) == expected
    assert tokens_of([text]).words.tolist() == [hash_of(word) for word in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One two. Three four.", [2, 2]),
        ("Mr. J. Smith left.", [1, 3]),  # known: an abbreviation of two letters ends a sentence
        ("It was 3.5. Then", [3]),  # known: a number at its end keeps a sentence open
        ("Really?! Yes", [1, 1]),
        ('He said "no." She left.', [3, 2]),
        ("no space.Next word", [4]),
        ("你好。再见", [2, 2]),
        ("# Title\n\nText here", [3]),
    ],
)
def test_sentences(text: str, expected: list[int]) -> None:
    assert tokens_of([text]).sentences.tolist() == expected


@given(st.integers(0, MASK), st.integers(0, MASK))
def test_hashes_are_those_of_the_stored_tables(context: int, word: int) -> None:
    h = ((context * 0x9E3779B97F4A7C15) & MASK) ^ word
    assert int(extend(np.uint64(context), np.uint64(word))) == (
        ((h ^ (h >> 29)) * 0xBF58476D1CE4E5B9) & MASK
    )
    h = ((word ^ (word >> 32)) * 0xBF58476D1CE4E5B9) & MASK
    h = ((h ^ (h >> 29)) * 0x94D049BB133111EB) & MASK
    assert int(mix(np.uint64(word))) == h ^ (h >> 32)
