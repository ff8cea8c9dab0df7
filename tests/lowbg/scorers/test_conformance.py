"""What every scorer keeps to, whoever wrote it; and how scorers are found."""

from __future__ import annotations

import dataclasses
import pickle
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lowbg.config import Extras, KenlmSettings, LmSettings, Policy
from lowbg.decision import decide, limits, lm
from lowbg.errors import ConfigError, LowbgError, ScorerError
from lowbg.models import ModelFile, embedded_names, open_embedded
from lowbg.runs.engine import Engine
from lowbg.scorers import Factory, available, columns_of, running_scorers
from lowbg.scorers.base import Column, Documents, Scorer, linear_bins
from lowbg.scorers.checked import CheckedScorer
from lowbg.scorers.settings import read_settings
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
        assert values.type == column.type, column.name
        assert len(values) == len(documents), column.name
        assert values.null_count == 0 or column.null != "never", column.name
        values.validate(full=True)
        if pa.types.is_floating(values.type):
            plain = values.drop_null().to_numpy()
            assert np.isfinite(plain).all(), column.name
    assert CheckedScorer(scorer).score(documents) == columns
    return [
        {name: values[i].as_py() for name, values in columns.items()} for i in range(len(documents))
    ]


NEEDY = sorted(name for name in available() if available()[name]({}).settings is not None)
"""The scorers that run only where their settings are given."""


def running(**policy: Any) -> tuple[Scorer, ...]:
    return running_scorers(models(), Policy(**policy), Extras())


@pytest.fixture(scope="module", params=sorted(set(available()) - set(NEEDY)))
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


DEFAULT = ["perplexity", "burstiness", "phrases", "style"]


def test_scorers_run_in_the_order_of_their_columns() -> None:
    assert [scorer.name for scorer in running()] == DEFAULT
    pair = LmSettings("observer", "performer")
    for extras, names in (
        (Extras(LmSettings("a")), ["causal_lm"]),
        (Extras(LmSettings("a", probe="no")), ["lm_probe"]),
        (Extras(pair, KenlmSettings("b"), "keys"), ["binoculars", "kenlm", "watermark"]),
    ):
        scorers = running_scorers(models(), Policy(), extras)
        assert [scorer.name for scorer in scorers] == [*DEFAULT, *names]
    assert columns_of(scorers).schema.names == [
        *("id", "shard", "record", "language", "words", "perplexity", "bits_per_byte"),
        *("burstiness", "sentence_perplexity_spread", "phrase_log_odds"),
        *("phrase_hits_per_1k_words", "phrases", "artifacts", "style_log_odds"),
        *("ai_score", "verdict", "reasons", "text_digest", "is_prose", "scored_by", "lm_models"),
        *("lm_perplexity", "lm_log_rank", "lm_entropy", "lm_lrr", "lm_curvature"),
        *("lm_surprisal_spread", "binoculars", "kenlm_perplexity", "watermark_z", "watermark_p"),
        "watermark_posterior",
    ]
    bins = columns_of(scorers).bins
    assert list(bins) == [
        *("ai_score", "perplexity", "burstiness", "phrase_log_odds", "style_log_odds", "words")
    ]
    assert all(list(b.edges) == sorted(set(b.edges)) for b in bins.values())


def test_what_the_decision_reads_is_declared() -> None:
    declared = {c.name for factory in available().values() for c in factory({}).columns}
    read = {limits.PERPLEXITY, limits.BURSTINESS, limits.PHRASE_HITS, decide.PHRASE_LOG_ODDS}
    assert read | {decide.PHRASES, decide.ARTIFACTS, *lm.FEATURES} <= declared


@pytest.mark.parametrize("name", NEEDY)
def test_a_scorer_with_settings_says_what_it_is_and_what_it_needs(name: str) -> None:
    scorer = available()[name](models())
    assert (scorer.name, scorer.models) == (name, {})
    assert scorer.columns
    assert dataclasses.is_dataclass(scorer.settings)
    with pytest.raises(ConfigError, match=f"'{name}' needs"):
        scorer.prepare()


def test_only_plugins_are_scorers() -> None:
    assert "lm" not in available()
    assert "base" not in available()


class Toy(Scorer):
    """Gives what it is told to."""

    name = "toy"
    version = 3
    columns = (Column("toy_size", pa.float32(), unit="bytes", meaning="its size"),)

    def __init__(self, values: Any) -> None:
        self.values = values

    def score(self, documents: Documents) -> Mapping[str, pa.Array]:
        if isinstance(self.values, BaseException):
            raise self.values
        whole = isinstance(self.values, dict) or self.values is None
        return self.values if whole else {"toy_size": self.values}

    def prepare(self) -> None:
        self.score(documents_of([]))

    def setup(self) -> None:
        self.score(documents_of([]))


NUMBERS = pa.array([1, 2], pa.float32())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pa.array([1], pa.float32()), "'toy_size' has 1 values for 2 documents"),
        (pa.array([1, 2], pa.float64()), "'toy_size' is of type double; float is declared"),
        (pa.array([1, np.nan], pa.float32()), "'toy_size' has NaN or an infinity"),
        (pa.array([1, None], pa.float32()), "'toy_size' has nulls"),
        ([1.0, 2.0], "'toy_size' is a list; it must be an Arrow array"),
        ({}, "'toy_size' is declared and did not come"),
        ({"toy_size": NUMBERS, "more": NUMBERS}, "'more' came and is not declared"),
        (None, "returned a NoneType; it must be a mapping of columns"),
        (ZeroDivisionError("by zero"), "failed: ZeroDivisionError: by zero"),
        (SystemExit(0), "failed: SystemExit: 0"),
    ],
)
def test_a_scorer_is_held_to_what_it_declares(values: Any, message: str) -> None:
    documents = documents_of(["a", "b"])
    assert CheckedScorer(Toy(NUMBERS)).score(documents) == {"toy_size": NUMBERS}
    with pytest.raises(ScorerError, match=rf"scorer 'toy' \(version 3\).*{message}"):
        CheckedScorer(Toy(values)).score(documents)


@pytest.mark.parametrize("error", [OSError("no model file"), SystemExit(5)], ids=repr)
def test_a_scorer_that_cannot_start_is_named(error: BaseException) -> None:
    for start in (CheckedScorer(Toy(error)).prepare, CheckedScorer(Toy(error)).setup):
        with pytest.raises(ScorerError, match=r"^scorer 'toy' \(version 3\) failed: "):
            start()
    for passes in (ConfigError("say more"), MemoryError()):
        with pytest.raises(type(passes)):
            CheckedScorer(Toy(passes)).setup()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise RuntimeError('at import')", "can't be loaded: at import"),
        ("raise SystemExit(0)", "can't be loaded: 0"),
        ("def create(models): raise OSError('no disk')", "failed: OSError: no disk"),
        ("from lowbg.scorers.burstiness import create", "calls itself 'burstiness'"),
    ],
)
def test_a_plugin_that_cannot_be_made_is_named(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_plugin.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_plugin", raising=False)
    with pytest.raises(LowbgError, match=rf"scorer 'toy' \(broken_plugin:create\).*{message}"):
        Factory("toy", "broken_plugin")(models())


class Renamed(Toy):
    columns = (Column("perplexity", pa.float32(), meaning="another one"),)


class Own(Toy):
    columns = (Column("shard", pa.string(), meaning="another one"),)


class Typed(Toy):
    columns = (Column("toy_size", "float32", meaning="its size"),)


class Binned(Toy):
    columns = (Column("t", pa.string(), meaning="text", bins=linear_bins("t", 0, 1, 2)),)


class Falling(Toy):
    columns = (Column("t", pa.int8(), meaning="text", bins=linear_bins("t", 1, 0, 2)),)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Renamed, "column 'perplexity' clashes with that of scorer 'perplexity'"),
        (Own, "column 'shard' clashes with that of a row of lowbg"),
        (Typed, "column 'toy_size': its type is 'float32'; it must be an Arrow type"),
        (Binned, "column 't': it has bins, and its type is string"),
        (Falling, "column 't': the edges of its bins must rise"),
    ],
)
def test_declarations_that_cannot_be(kind: type[Toy], message: str) -> None:
    with pytest.raises(ConfigError, match=f"scorer 'toy': {message}"):
        columns_of([*running(), kind(None)])


@dataclass(frozen=True)
class ToySettings:
    scale: float
    words: tuple[str, ...] = ()
    list_file: Path | None = None

    def __post_init__(self) -> None:
        if self.scale < 0:
            raise ConfigError(f"scale is {self.scale}; it must be 0 or more")


class Tuned(Toy):
    settings = ToySettings


def test_settings_are_what_the_table_says() -> None:
    table = {"scale": 2, "words": ["a", "b"], "list_file": "x.txt"}
    assert read_settings(Tuned(None), table) == ToySettings(2.0, ("a", "b"), Path("x.txt"))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"scal": 1.0}, r"\[scorers\.toy\] unknown key 'scal'; did you mean 'scale'\?"),
        ({"scale": "big"}, r"\[scorers\.toy\] scale: Expected `float`, got `str`"),
        ({"scale": 1.0, "words": ["a", 3]}, r"words\[1\]: Expected `str`, got `int`"),
        ({}, "missing required field `scale`"),
        ({"scale": -1.0}, r"\[scorers\.toy\] scale is -1\.0; it must be 0 or more"),
    ],
)
def test_mistakes_in_settings_name_the_key(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_settings(Tuned(None), table)


@pytest.mark.parametrize(
    ("scorers", "message"),
    [
        ({"phrase": {}}, r"no scorer 'phrase'; did you mean 'phrases'\?"),
        ({"phrases": {}}, r"\[scorers\.phrases\]: this scorer has no settings"),
        ({"kenlm": {"model": "x"}}, "options of a run, not part of a policy"),
    ],
)
def test_settings_that_are_no_scorers(scorers: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        running(scorers=scorers)


def entry_points(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> None:
    found = EntryPoints(EntryPoint(name, value, "lowbg.scorers") for name, value in points)
    monkeypatch.setattr("lowbg.scorers.entry_points", lambda group: found.select(group=group))


def test_third_parties_come_last_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    here = "lowbg.scorers.burstiness:create"
    entry_points(
        monkeypatch, ("zeta", here), ("alpha", here), ("broken", "not_there.at_all:create")
    )
    names = list(available())
    assert names[-3:] == ["alpha", "broken", "zeta"]
    with pytest.raises(ConfigError, match="calls itself 'burstiness'"):
        available()["alpha"]({})
    with pytest.raises(ConfigError, match=r"'broken'.*not_there"):
        available()["broken"]({})


def test_what_workers_share_is_without_third_parties(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may start threads, and a process that has some must not be forked."""
    entry_points(monkeypatch, ("broken", "not_there.at_all:create"))
    engine = Engine(Policy(), third_parties=False)
    engine.warm_up()
    assert [scorer.name for scorer in engine.scorers] == DEFAULT
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


def test_what_makes_no_scorer_is_told() -> None:
    with pytest.raises(ConfigError, match=r"'list' .*a list came, and no lowbg\.scorers\.base"):
        Factory("list", "builtins", "list")({})
