"""Identification on short known texts, and what records' own tags mean."""

# ruff: noqa: E501 - one sample a line

from __future__ import annotations

import pickle
import tomllib
from importlib import resources

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.plain_words import fold, hash_of

from lowbg.kernels.characters import EXPAND, IDEOGRAPH, IGNORE, LATIN, LETTER
from lowbg.kernels.languages import decide
from lowbg.text import languages
from lowbg.text.languages import CODES, detect, identify, normalise
from lowbg.text.tokens import text_buffer, tokenize

SAMPLES = {
    "en": "The committee met on Tuesday and decided that the road should be closed for the winter.",
    "ru": "Комитет собрался во вторник и решил, что дорогу нужно закрыть на зиму, как и раньше.",
    "zh": "委员会星期二开会，决定冬天关闭这条路，因为雪太多，车辆无法通过。",
    "pt": "A comissão reuniu-se na terça-feira e decidiu que a estrada devia ser fechada no inverno.",
    "es": "El comité se reunió el martes y decidió que la carretera debía cerrarse en el invierno.",
    "de": "Der Ausschuss traf sich am Dienstag und beschloss, dass die Straße im Winter gesperrt wird.",
    "fr": "Le comité s'est réuni mardi et a décidé que la route devait être fermée pendant l'hiver.",
    "ja": "委員会は火曜日に集まり、雪が多いので冬の間は道路を閉鎖することに決めました。",
    "it": "Il comitato si è riunito martedì e ha deciso che la strada doveva essere chiusa in inverno.",
    "nl": "Het comité kwam dinsdag bijeen en besloot dat de weg in de winter gesloten moest worden.",
    "pl": "Komitet zebrał się we wtorek i zdecydował, że droga powinna być zamknięta przez zimę.",
    "ca": "El comitè es va reunir dimarts i va decidir que la carretera s'havia de tancar amb els veïns.",
    "gl": "A xente da vila non sabía que a estrada ía pechar no inverno, pero o goberno fixo unha lei.",
    "ro": "Comitetul s-a întâlnit marți și a hotărât că drumul trebuie să fie închis pe timp de iarnă.",
    "uk": "Комітет зібрався у вівторок і вирішив, що дорогу потрібно закрити на зиму, як це було раніше.",
    "bg": "Комитетът се събра във вторник и реши, че пътят трябва да бъде затворен през зимата.",
    "sr": "Одбор се састао у уторак и одлучио да пут треба да буде затворен током зиме, као и пре.",
    "tr": "Komite salı günü toplandı ve yolun kış için kapatılması gerektiğine karar verdi, çünkü bu çok daha iyi.",
    "ko": "위원회는 화요일에 모여 겨울 동안 도로를 폐쇄하기로 결정했습니다.",
    "el": "Η επιτροπή συνεδρίασε την Τρίτη και αποφάσισε να κλείσει ο δρόμος.",
    "ar": "اجتمعت اللجنة يوم الثلاثاء وقررت إغلاق الطريق في فصل الشتاء من أجل السلامة، كما كان ذلك قبل عام.",
    "he": "הוועדה התכנסה ביום שלישי והחליטה לסגור את הכביש בחורף.",
    "th": "คณะกรรมการประชุมเมื่อวันอังคารและตัดสินใจปิดถนน",
    "hi": "समिति की बैठक मंगलवार को हुई और यह तय किया गया कि सड़क को सर्दियों के लिए बंद किया जाएगा।",
    "ta": "குழு செவ்வாய்க்கிழமை கூடி சாலையை மூட முடிவு செய்தது.",
}


def found(*texts: str) -> list[str | None]:
    indices = detect(pa.array(texts, pa.large_string()))
    assert indices.dtype == np.int8
    return [CODES[i] if i >= 0 else None for i in indices]


@pytest.mark.parametrize("code", SAMPLES)
def test_a_sentence_is_enough(code: str) -> None:
    text = SAMPLES[code]
    variants = [text, text.upper(), text.replace(" ", "\n"), f"« {text} »", text * 100]
    assert found(*variants) == [code] * len(variants)


def test_accents_may_be_missing() -> None:
    assert found("O comite nao decidiu ainda se a estrada deve ser fechada durante o inverno.") == [
        "pt"
    ]
    assert found("Le comite a decide que la route ne sera pas fermee pendant les vacances.") == [
        "fr"
    ]


def test_traditional_chinese_is_chinese() -> None:
    assert found("委員會星期二開會，決定冬天關閉這條路，因為雪太多。") == ["zh"]


def test_look_alikes_do_not_turn_english_into_russian() -> None:
    look_alikes = str.maketrans("aeopcxi", "аеорсхі")
    assert found(SAMPLES["en"].translate(look_alikes)) == ["en"]


def test_code_around_prose_does_not_decide() -> None:
    code = "const x = require('http'); function main(args) { return x.map(y => y.z); }\n" * 2
    for language in ("ru", "zh", "ja", "de"):
        assert found(code + SAMPLES[language] * 3) == [language]


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "a", "...", "12 34 5678", "OK", "Paris", "👍👍👍", "東京"),
        "x = [i ** 2 for i in range(10)]\nprint(x)",
        "Baqsh kelmir zoltun fravik pelom duskar, wintok mafir selgun tarvo.",
    ],
)
def test_too_little_is_undecided(text: str) -> None:
    assert found(text) == [None]


def test_most_of_a_long_text_is_not_read() -> None:
    assert found(SAMPLES["en"] * 60 + SAMPLES["ru"] * 600) == ["en"]
    assert found("1234 " * 300 + SAMPLES["de"] * 5) == ["de"]
    assert found("1234 " * 3000 + SAMPLES["de"] * 5) == [None]


def plain_tables() -> tuple[dict[str, list[int]], dict[int, dict[int, float]]]:
    """Which languages each letter votes for, and by how much each word (by its hash) does."""
    text = (resources.files("lowbg.text") / "languages.toml").read_text(encoding="utf-8")
    definitions = tomllib.loads(text)
    letters: dict[str, list[int]] = {}
    words: dict[int, dict[int, float]] = {}
    for index, code in enumerate(CODES):
        for letter in set(definitions[code].get("letters", "")):
            for char in {letter, letter.upper()[0]}:
                letters.setdefault(char, []).append(index)
        listed = definitions[code].get("words", "").split()
        array = pa.array(listed, pa.large_string())
        hashes = tokenize(array, np.full(len(listed), LATIN, np.uint8)).words.tolist()
        for rank, h in enumerate(hashes):
            weight = float(np.float32(np.log(0.06 / (rank + 1) ** 0.9 / 5e-5)))
            words.setdefault(h, {}).setdefault(index, weight)
    return letters, words


PLAIN_LETTERS, PLAIN_WORDS = plain_tables()


def script_of(cp: int) -> int:
    for number, ranges in enumerate(languages._SCRIPTS.values(), 1):
        if any(a <= cp <= b for a, b in zip(ranges[::2], ranges[1::2], strict=True)):
            return number
    return 0


def plain_identify(text: str) -> int:
    """The rules of `lowbg.text.languages`, character by character; what suffices is `decide`'s."""
    t = languages._tables()
    seen = np.zeros(len(t.only), np.int64)
    nats = np.zeros(len(CODES))
    hits = np.zeros(len(CODES), np.int64)
    words, word, at, limit = 0, "", 0, 512
    for char in [*text, None]:
        folded = ""
        if char is not None:
            at += len(char.encode())
            cp = ord(char)
            # Greek and Cyrillic capitals are read as their small letters are.
            capital = 0x386 <= cp < 0x3AC or 0x400 <= cp < 0x430
            cls, folded = fold(char.lower() if capital else char, LATIN)
            if cls in (LETTER, EXPAND, IDEOGRAPH):
                place = cp if cp < 0xE000 or 0xF900 <= cp < 0x10000 else 0xF8FF
                if 0x1D400 <= cp < 0x1D800:
                    place = 0xE000 + cp - 0x1D400
                elif 0x20000 <= cp < 0x32000:
                    place = 0x3400
                script = script_of(place)
                if script == 1 or ord(folded[-1]) >= 0x80:
                    seen[script] += 1
                for index in PLAIN_LETTERS.get(char, ()):
                    nats[index] += np.float32(1.2)
            if cls in (LETTER, EXPAND):
                word += folded
                continue
            if cls == IGNORE:
                continue
        if word:
            words += 1
            for index, weight in PLAIN_WORDS.get(hash_of(word), {}).items():
                nats[index] += weight
                hits[index] += 1
            word = ""
        if char is None or at >= limit:
            demand = 8.0 if limit == 512 and char is not None else 1.0
            found = int(decide(seen, nats, hits, words, t.only, t.language_scripts, demand))
            if found >= 0 or char is None or at >= 4096:
                return found
            limit = 1024 if demand > 1.0 else limit + 1024
    raise AssertionError


ODD = st.sampled_from(
    [
        "ß",
        "ﬃ",
        "İI",
        "Şı",
        "œ",
        "𝐭𝐡𝐞 ",
        "ｔｈｅ ",
        "\u200b",
        "e\u0301",
        "аnd ",
        "Α",
        "😀",
        "\ue000",
        "ｶ",
        "1",
    ]
)
MIXTURE = st.lists(
    st.one_of(
        st.sampled_from(list(SAMPLES.values())),
        st.sampled_from([word for text in SAMPLES.values() for word in text.split(" ")]),
        st.text("aiSI' .sßéЭы中か", max_size=20),
        ODD,
        st.text(max_size=5),
    ),
    max_size=40,
)


@pytest.mark.slow
@given(st.lists(st.tuples(MIXTURE, st.sampled_from(["", " "]), st.integers(1, 30)), max_size=4))
@settings(max_examples=150, deadline=None)
def test_matches_the_plain_reader(parts: list[tuple[list[str], str, int]]) -> None:
    texts = [(between.join(pieces) * times)[:6000] for pieces, between, times in parts]
    array = pa.array(texts, pa.large_string())
    assert detect(array).tolist() == [plain_identify(text) for text in texts]


@given(
    st.lists(st.one_of(st.sampled_from(list(SAMPLES.values())), st.text(max_size=80)), max_size=6)
)
@settings(max_examples=60, deadline=None)
def test_each_document_is_on_its_own(texts: list[str]) -> None:
    together = detect(pa.array(texts, pa.large_string()))
    alone = [detect(pa.array([text], pa.large_string()))[0] for text in texts]
    assert together.tolist() == alone
    padded = pa.array(["это не то", *texts], pa.large_string()).slice(1)
    assert detect(padded).tolist() == alone


def test_the_last_word_ends_with_its_document() -> None:
    for code in ("en", "pt", "es", "de", "fr", "it", "ro", "tr"):
        words = SAMPLES[code].lower().split()
        heads = [" ".join(words[:n]).strip(",.") for n in range(1, len(words) + 1)]
        decided = next(head for head in heads if found(head) == [code])
        # Without its last word it is undecided, so that the word must have been read as it is.
        assert found(decided, "zzzzzz" * 10) == [code, None]


def test_evidence_is_not_carried_over() -> None:
    # Letters alone, without a listed word, are too little.
    texts = [SAMPLES["de"] * 3, "xßq " * 12, SAMPLES["zh"], "東"]
    assert found(*texts) == ["de", None, "zh", None]


def test_only_the_wanted_are_read() -> None:
    data, starts = text_buffer(pa.array([SAMPLES["en"], SAMPLES["ru"]], pa.large_string()))
    assert identify(data, starts, np.array([False, True])).tolist() == [-1, CODES.index("ru")]


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ("en eng EN en-US en_GB English ENGLISH __label__en __label__eng_Latn en;q=0.8", "en"),
        ("zh zho chi cmn zh-Hant zh_TW zh-Hans-CN cmn_Hans Chinese zh-cn", "zh"),
        ("pt por pt-BR pt_PT Portuguese", "pt"),
        ("de deu ger deu_Latn German Deutsch", "de"),
        ("fr fra fre French", "fr"),
        ("es spa es-419 Spanish", "es"),
        ("ja jpn jpn_Jpan Japanese", "ja"),
        ("ru rus rus_Cyrl Russian", "ru"),
        ("nb nn no nob nor Norwegian", "no"),
        ("iw he heb", "he"),
        ("id in ind Indonesian", "id"),
        ("hr bs hrv", "hr"),
        ("sr sr-Latn srp", "sr"),
    ],
)
def test_tags_in_use(tags: str, code: str) -> None:
    assert {tag: normalise(tag) for tag in tags.split()} == dict.fromkeys(tags.split(), code)


def test_names_of_several_words() -> None:
    assert normalise("Traditional Chinese") == "zh"
    assert normalise("Chinese (Simplified)") == "zh"
    assert normalise('["en"]') == "en"


@pytest.mark.parametrize(
    "tag", ["", "und", "unknown", "None", "mg", "yue", "xx", "q", "-", "0", "N/A", "e" * 1000]
)
def test_tags_that_name_none(tag: str) -> None:
    assert normalise(tag) is None


@given(st.text())
def test_any_tag_can_be_read(tag: str) -> None:
    assert normalise(tag) in {None, *CODES}


def test_the_records_own_language_wins() -> None:
    english = SAMPLES["en"]
    own = pa.array(["de", "mg", "yue", "und", None, "", "q9"], pa.string())
    result = detect(pa.array([english] * len(own), pa.large_string()), own)
    names = [CODES[i] if i >= 0 else None for i in result]
    assert names == ["de", None, None, "en", "en", "en", "en"]
    assert detect(pa.array([english], pa.large_string()), own.slice(1, 1)).tolist() == [-1]
    assert detect(pa.array([], pa.large_string()), own.slice(0, 0)).tolist() == []


def test_the_tables_cover_the_codes() -> None:
    text = (resources.files("lowbg.text") / "languages.toml").read_text(encoding="utf-8")
    definitions = tomllib.loads(text)
    assert tuple(definitions)[2:] == CODES
    assert CODES[:8] == ("en", "ru", "zh", "pt", "es", "de", "fr", "ja")
    assert len(set(CODES)) == len(CODES) < 128
    assert not {"other_tags", "no_tags"} & set(CODES)
    claimed = [tag for code in CODES for tag in (code, *definitions[code]["tags"].split())]
    claimed += definitions["other_tags"].split() + definitions["no_tags"].split()
    assert sorted(claimed) == sorted(set(claimed))


def test_detect_can_be_sent_to_a_worker() -> None:
    assert pickle.loads(pickle.dumps(detect)) is detect
