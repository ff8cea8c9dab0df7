"""The compiled tokenizer against a plain one, and what must not reach a word."""

from __future__ import annotations

import string
import unicodedata
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.plain_words import MASK, fold, hash_of

from lowbg.kernels import characters as k
from lowbg.kernels.hashes import extend, mix
from lowbg.text import characters as c
from lowbg.text.tokens import COUNTS, Tokens, text_buffer, tokenize


@dataclass
class Expected:
    """What the plain tokenizer finds in one document; offsets count from its first byte."""

    words: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sentences: list[int] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))


def reference(text: str, folding: int) -> Expected:
    """The rules of `lowbg.text.tokens`, character by character."""
    out = Expected()
    raw = text.encode()
    chars: list[tuple[int, int, str]] = []
    at = 0
    for char in text:
        chars.append((at, *fold(char, folding)))
        at += len(char.encode())
    chars.append((at, k.SPACE, ""))
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
        if cls == k.IGNORE:
            continue
        if cls in (k.LETTER, k.EXPAND):
            if not word:
                word_at, letters, candidate = at, 0, False
            elif apostrophe:
                word += "'"
            apostrophe = False
            word += folded
            letters += len(folded)
            continue
        if cls == k.APOSTROPHE and word and not apostrophe:
            apostrophe = True
            continue
        if word:
            rest = raw[at:]
            is_url = len(rest) > 2 and (
                rest.startswith(b"://") or (rest[:1] == b"." and word == "www")
            )
            if is_url and cls != k.SPACE:
                skip_to = at
                while skip_to < len(raw) and raw[skip_to] > 32 and raw[skip_to] < 128:
                    if raw[skip_to : skip_to + 1] in (b'"', b"'", b")", b"<", b">", b"]"):
                        break
                    skip_to += 1
                word, apostrophe, before = "", False, "number"
                continue
            add(word, word_at, letters, len(word.encode()))
            word, apostrophe, before = "", False, "word"
        if cls == k.SPACE:
            if candidate:
                close()
            candidate, before = False, ""
            continue
        if cls == k.IDEOGRAPH:
            add(folded, at, 1, 3)
            out.counts["ideographs"] += 1
            candidate, before, letters = False, "word", 2
            continue
        out.counts["digits" if cls == k.DIGIT else "symbols"] += 1
        if cls == k.TERMINATOR:
            ends_word = before == "word" and letters > 1
            if raw[at : at + 1] != b"." or ends_word or before == "stop":
                candidate = True
            before = "stop" if candidate else ""
        elif cls == k.STOP:
            close()
            candidate, before = False, ""
        elif cls == k.DIGIT:
            candidate, before = False, "number"
        elif cls not in (k.CLOSER, k.APOSTROPHE):
            candidate, before = False, ""
    close()
    return out


def words_of(text: str, folding: int = k.LATIN) -> list[str]:
    return reference(text, folding).words


def tokens_of(texts: list[str], folding: int = k.LATIN) -> Tokens:
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
# What the fast paths take and what ends them: runs of letters around 8, 16 and 32, in one script or
# several, and what stands between words.
LETTERS_IN_A_ROW = st.one_of(
    *(
        st.text(alphabet, min_size=1, max_size=size)
        for alphabet in ("abcxyzAIOSWZ", "авеиорсухБЭЯ", "aeéàñüÀßœﬁ", "abАОaoβ", "中文かカ〇々")
        for size in (5, 40)
    ),
    st.sampled_from(["a" * n for n in (7, 8, 9, 15, 16, 17, 31, 32, 33)] + ["www", "I", "Ⱥx", "é"]),
)
GAPS = st.one_of(
    st.sampled_from([" ", ", ", ". ", "; ", "\n", ".\n", ",\n", "'", "’"]),
    st.sampled_from(["  ", "\r\n", "\t", "\u00a0", "! ", "? ", ".\n\n", ". 1. ", "\u200b", "\x00"]),
    st.sampled_from(
        ["' ", "’ ", "''", "'’", "-", "—", ".", ",", ";", ":", "://", " http://a", "`"]
    ),
    st.sampled_from(['. "', ".) ", " (", '" ', "`", "*", "_", "1", "½", "€", "：", "“", "。”"]),
    st.sampled_from(
        ["\u0301", "，", "。", "、", "」", "\ue000", "\ue400", "\uf8ff", "𝐀", "𠀀", "😀"]
    ),
)
PROSE = st.lists(st.tuples(LETTERS_IN_A_ROW, GAPS), max_size=20).map(
    lambda parts: "".join(word + gap for word, gap in parts)
)
TEXTS = st.lists(PIECES, max_size=25).map("".join).filter(lambda t: t.isprintable() or t)


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@given(st.lists(st.tuples(st.one_of(TEXTS, PROSE), st.integers(0, 3)), max_size=5))
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
        *("中文，. 再见 a", "中文。. 再见 a", "中文」. 再见 a", "中文, . 再见 a"),
        "go to www. Or WWW.x, ｗww. and www, www; www to the very end of it",
        *("Mr. Smith went. J. Doe 3. e.g. this… Really?! Yes.", "One.Two. Three", "end.” Next"),
        *("你好。世界！ok", "ﬃ ﬄ ﬁ ß Œ ĳ", "a中a中a中", "\ue200cite\ue202turn0search0\ue201"),
        "a b " * 1000,
    ],
)
def test_edges(text: str) -> None:
    for folding in range(len(c.FOLDINGS)):
        assert_same(tokens_of([text, "", text], folding), [text, "", text], [folding] * 3)


@pytest.mark.slow
@pytest.mark.parametrize("folding", range(len(c.FOLDINGS)))
def test_words_of_any_length_at_any_distance_from_the_end(folding: int) -> None:
    for letter in ("a", "I", "я", "é", "中"):
        texts = [
            f"{letter * n}{gap}{behind}"
            for n in (*range(20), 31, 32, 33)
            for gap in (" ", ", ", ". ", "'", "’", "")
            for behind in ("", letter, *(2 * letter + n * "." for n in (0, 1, 2, 15, 16, 20, 30)))
        ]
        for text in texts[::7]:  # Alone, there is nothing behind to be read by mistake.
            assert_same(tokens_of([text], folding), [text], [folding])
        # With others there are letters, or white space.
        texts = [part for text in texts for part in (text, "ab", text, " a")]
        assert_same(tokens_of(texts, folding), texts, [folding] * len(texts))


def test_what_the_fast_paths_take_for_granted() -> None:
    for folding, table in enumerate(c.folding_tables()):
        cls, folded = table >> 24, table & 0xFFFF
        letters = [ord(letter) for letter in string.ascii_letters]
        assert np.flatnonzero(cls[:0x80] == k.LETTER).tolist() == sorted(letters)
        if folding != k.CYRILLIC:
            assert (folded[letters] < 0x80).all()
        assert set(cls[[ord(" "), ord("\n")]]) == {k.SPACE}
        assert set(cls[[ord(","), ord(";")]]) == {k.OTHER}
        assert cls[ord(".")] == k.TERMINATOR
        assert set(cls[[ord("'"), 0x2019]]) == {k.APOSTROPHE}
        # Ideographs, two of which make a word each, have three bytes.
        assert not (cls[:0x800] == k.IDEOGRAPH).any()
        # `code_point` makes one symbol of the private area; the loop of ideographs doesn't.
        assert not np.isin(cls[0xE000:0xF900], (k.IDEOGRAPH, k.STOP)).any()
        assert cls[0xF8FF] == k.OTHER


def test_more_words_than_most_text_has() -> None:
    # Room is made for a word in three bytes and a sentence in 32; some documents have more.
    for dense in ("a b " * 300, "a中" * 300, "ab. " * 300, "ab! c? " * 200):
        texts = ["plain words here " * 40, dense, "", dense * 3, "the end. " * 5, "x"]
        for some in (texts, texts[1:2], texts[3:], texts * 4):
            assert_same(tokens_of(some), some, [k.LATIN] * len(some))


@given(st.lists(TEXTS, min_size=1, max_size=6), st.data())
@settings(max_examples=100, deadline=None)
def test_slices_are_honoured(texts: list[str], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(texts)))
    length = data.draw(st.integers(0, len(texts) - first))
    part = pa.array(texts, pa.large_string()).slice(first, length)
    foldings = [k.LATIN] * length
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
        assert_same(tokens_of(texts), texts, [k.LATIN] * 3)


LATIN_SENTENCES = (
    *("It isn't clear.", "The café's owner, Zoë, said “no”!", "He left; why?", "Große Fragen."),
    *("Où est-il?", "El niño comió.", "我们走吧。", "O coração não é só um músculo."),
)
CYRILLIC_SENTENCES = ("Это ёлка, правда.", "Мой «дом»!", "Съешь ещё этих мягких булок?", "Да.")


def several(folding: int, sentences: tuple[str, ...]) -> st.SearchStrategy[tuple[int, list[str]]]:
    some = st.lists(st.sampled_from(sentences), min_size=1, max_size=6)
    return st.tuples(st.just(folding), some)


@given(st.one_of(several(k.LATIN, LATIN_SENTENCES), several(k.CYRILLIC, CYRILLIC_SENTENCES)))
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
    assert words_of("мoлoкo", k.CYRILLIC) == words_of("молоко", k.CYRILLIC)
    assert words_of("漢語", k.CHINESE) == words_of("汉语", k.CHINESE)
    assert words_of("漢語", k.PLAIN) != words_of("汉语", k.PLAIN)


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
@settings(deadline=None)
def test_hashes_are_those_of_the_stored_tables(context: int, word: int) -> None:
    h = ((context * 0x9E3779B97F4A7C15) & MASK) ^ word
    assert int(extend(np.uint64(context), np.uint64(word))) == (
        ((h ^ (h >> 29)) * 0xBF58476D1CE4E5B9) & MASK
    )
    h = ((word ^ (word >> 32)) * 0xBF58476D1CE4E5B9) & MASK
    h = ((h ^ (h >> 29)) * 0x94D049BB133111EB) & MASK
    assert int(mix(np.uint64(word))) == h ^ (h >> 32)
