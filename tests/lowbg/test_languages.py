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

from lowbg.languages import CODES, detect, identify, normalise
from lowbg.tokens import text_buffer

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
    text = (resources.files("lowbg") / "languages.toml").read_text(encoding="utf-8")
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
