"""What every scorer keeps to, whoever wrote it; and how scorers are found."""

from __future__ import annotations

import pickle
import random
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, EntryPoints

import numpy as np
import pyarrow as pa
import pytest

from lowbg.config import Policy
from lowbg.errors import ConfigError
from lowbg.models import ModelFile, embedded_names, open_embedded
from lowbg.runs.engine import Engine
from lowbg.scorers import DEFAULT, OPTIONAL, Factory, available, default_scorers
from lowbg.scorers.base import Documents, Scorer
from lowbg.text.characters import folding_of
from lowbg.text.languages import CODES, detect
from lowbg.text.tokens import tokenize

ENGLISH = (
    "As an AI language model, I can't feel the rain. It is important to note that rain falls! "
    "The old man walked to the harbour, where three boats lay; he had not slept. Why not? "
)
TEXTS = [
    *("", "a", ".", " ", "\n", "é", "中", "\u0301", "😀", "\x00", "'", "1 2 3"),
    ENGLISH,
    ENGLISH * 20,
    ENGLISH.upper(),
    ENGLISH.replace(" ", "\n\n"),
    "See https://example.com/?utm_source=chatgpt.com and :contentReference[oaicite:0]{index=0}.",
    "Как языковая модель, я не могу этого сделать. Важно отметить, что погода меняется. Да.",
    "作为一个人工智能语言模型，我无法回答这个问题。总之，我们需要注意以下几点。",
    "AI言語モデルとして、お答えできません。いかがでしたか。それは重要です。",
    "Como modelo de linguagem, não posso ajudar. É importante notar que o tempo muda muito.",
    "Der Ausschuss traf sich am Dienstag. Die Straße wird im Winter gesperrt, und das ist gut.",
    "Η επιτροπή συνεδρίασε την Τρίτη. Αποφάσισε να κλείσει ο δρόμος.",
    "word " * 3000,
    "x" * 1_000_000,
    "the " * 250_000,
    "a.b " * 400,
]


def documents_of(texts: Sequence[str] | pa.LargeStringArray) -> Documents:
    text = texts if isinstance(texts, pa.Array) else pa.array(list(texts), pa.large_string())
    languages = detect(text)
    foldings = np.array([folding_of(code) for code in CODES] + [folding_of(None)], np.uint8)
    return Documents(text, tokenize(text, foldings[languages]), languages, CODES)


def models() -> Mapping[str, ModelFile]:
    return {code: open_embedded(code) for code in embedded_names() if code in CODES}


def scored(scorer: Scorer, texts: Sequence[str] | pa.LargeStringArray) -> list[dict[str, object]]:
    """One dictionary a document, after checking the columns' shape."""
    documents = documents_of(texts)
    columns = scorer.score(documents)
    assert list(columns) == [column.name for column in scorer.columns]
    for column in scorer.columns:
        values = columns[column.name]
        assert values.type == column.arrow_type, column.name
        assert len(values) == len(documents), column.name
        assert values.null_count == 0 or column.null != "never", column.name
        values.validate(full=True)
        if pa.types.is_floating(values.type):
            plain = values.drop_null().to_numpy()
            assert np.isfinite(plain).all(), column.name
    return [
        {name: values[i].as_py() for name, values in columns.items()} for i in range(len(documents))
    ]


@pytest.fixture(scope="module", params=sorted(set(available()) - set(OPTIONAL)))
def scorer(request: pytest.FixtureRequest) -> Scorer:
    made = available()[request.param](models())
    made.prepare()
    made.setup()
    return made


@pytest.fixture(scope="module")
def whole(scorer: Scorer) -> list[dict[str, object]]:
    return scored(scorer, TEXTS)


def test_says_what_it_is(scorer: Scorer) -> None:
    assert scorer.name in available()
    assert scorer.version >= 1
    assert scorer.min_words >= 0
    assert scorer.languages <= set(CODES)
    names = [column.name for column in scorer.columns]
    assert names
    assert len(set(names)) == len(names)
    for name, digest in scorer.models.items():
        assert name
        assert len(digest) == 64
        int(digest, 16)


def test_scores_anything(whole: list[dict[str, object]]) -> None:
    assert len(whole) == len(TEXTS)


def test_no_rows(scorer: Scorer) -> None:
    assert scored(scorer, []) == []
    assert scored(scorer, ["", ""]) == [scored(scorer, [""])[0]] * 2


def test_too_little_text_is_null(scorer: Scorer, whole: list[dict[str, object]]) -> None:
    nullable = [column.name for column in scorer.columns if column.null != "never"]
    assert scorer.min_words < 1 or all(whole[0][name] is None for name in nullable)


def test_a_sliced_batch(scorer: Scorer, whole: list[dict[str, object]]) -> None:
    text = pa.array(["не то", *TEXTS, "и это не то"], pa.large_string())
    assert scored(scorer, text.slice(1, len(TEXTS))) == whole
    assert scored(scorer, text.slice(5, 4)) == whole[4:8]


@pytest.mark.parametrize("size", [1, 2, 7])
def test_batches_are_immaterial(scorer: Scorer, whole: list[dict[str, object]], size: int) -> None:
    rows = [row for k in range(0, len(TEXTS), size) for row in scored(scorer, TEXTS[k : k + size])]
    assert rows == whole


def test_order_is_immaterial(scorer: Scorer, whole: list[dict[str, object]]) -> None:
    order = list(range(len(TEXTS))) * 2
    random.Random(7).shuffle(order)
    assert scored(scorer, [TEXTS[i] for i in order]) == [whole[i] for i in order]


def test_pickles_before_and_after_setup(scorer: Scorer, whole: list[dict[str, object]]) -> None:
    fresh = available()[scorer.name](models())
    for original in (fresh, scorer):
        copy = pickle.loads(pickle.dumps(original))
        copy.setup()
        assert scored(copy, TEXTS[:16]) == whole[:16]
        assert (copy.name, copy.version, copy.models) == (
            scorer.name,
            scorer.version,
            scorer.models,
        )


def test_without_models(scorer: Scorer) -> None:
    bare = available()[scorer.name]({})
    bare.setup()
    assert len(scored(bare, TEXTS[:16])) == 16


def test_layout_is_immaterial(scorer: Scorer) -> None:
    text = ENGLISH * 3
    variants = [text.replace(" ", "\n"), text.replace(" ", "  "), text.upper(), f"# {text}"]
    rows = scored(scorer, [text, *variants])
    assert rows == [rows[0]] * len(rows)


def test_default_scorers_have_their_order_and_their_own_columns() -> None:
    scorers = default_scorers(models())
    assert tuple(scorer.name for scorer in scorers)[: len(DEFAULT)] == DEFAULT
    names = [column.name for scorer in scorers for column in scorer.columns]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_optional_scorer_says_what_it_is_and_what_it_needs(name: str) -> None:
    scorer = available()[name](models())
    assert (scorer.name, scorer.models) == (name, {})
    assert scorer.columns
    with pytest.raises(ConfigError, match=f"'{name}' needs"):
        scorer.prepare()


def entry_points(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> None:
    found = EntryPoints(EntryPoint(name, value, "lowbg.scorers") for name, value in points)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: found)


def test_third_parties_come_last_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    here = "lowbg.scorers.burstiness:create"
    entry_points(
        monkeypatch, ("zeta", here), ("alpha", here), ("broken", "not_there.at_all:create")
    )
    names = list(available())
    assert names[-3:] == ["alpha", "broken", "zeta"]
    assert available()["alpha"]({}).name == "burstiness"
    with pytest.raises(ConfigError, match=r"'broken'.*not_there"):
        available()["broken"]({})


def test_what_workers_share_is_without_third_parties(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may start threads, and a process that has some must not be forked."""
    entry_points(monkeypatch, ("broken", "not_there.at_all:create"))
    engine = Engine(Policy(), third_parties=False)
    engine.warm_up()
    assert tuple(scorer.name for scorer in engine.scorers) == DEFAULT
    with pytest.raises(ConfigError, match="'broken'"):
        Engine(Policy())


def test_two_scorers_of_one_name_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    entry_points(monkeypatch, ("burstiness", "elsewhere:create"))
    with pytest.raises(ConfigError, match=r"burstiness.*lowbg\.scorers\.burstiness.*elsewhere"):
        available()


def test_a_module_is_imported_only_when_its_scorer_is_made() -> None:
    factory = Factory("gone", "lowbg.scorers.gone")
    with pytest.raises(ConfigError, match="'gone'"):
        factory({})
