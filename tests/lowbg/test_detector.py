"""From Python, the rows are those of `lowbg score`, whatever the texts come in."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lowbg
from lowbg import detector as module
from lowbg.errors import ConfigError
from lowbg.schema import ONLY_IN_ROWS

EXAMPLES = Path(__file__).parents[2] / "examples"
AI = (EXAMPLES / "ai_styled.txt").read_text(encoding="utf-8")
HUMAN = """Got to the yard at half six because Dad wanted the hull scraped before the tide came
back. It was perishing. Pete had the radio on, some phone-in about bin collections, and every few
minutes he shouted at it. We found two rotten planks where Mum had said there would be rotten
planks, so nobody told her. Lunch was a pasty each, mine burnt. By three my hands were blue and the
scraper had gone over the side; Pete says it went by itself. We never did get the port side done.
On the way home the van made that noise again, the one like a hen in a bucket, and Dad turned the
radio up so that he did not have to hear it. Tomorrow is Sunday, so it will rain.
"""
TEXTS = [HUMAN, AI, "Short.", "", None, "雨。"]


@pytest.fixture(scope="module")
def detector() -> lowbg.Detector:
    return lowbg.Detector()


@pytest.fixture(scope="module")
def expected(detector: lowbg.Detector) -> pa.Table:
    return detector.score(TEXTS)


def documents() -> pa.Table:
    return pa.table(
        {
            "id": ["a", "b", "c", "d", "e", "f"],
            "text": [text or "" for text in TEXTS],
            "language": ["en", "en", None, None, None, "ja"],
            "date": ["2020-01-01", "2024-01-01", None, None, None, None],
        }
    )


def polars_series(texts: list[str | None]) -> Any:
    return pytest.importorskip("polars").Series("text", texts)


def polars_categories(texts: list[str | None]) -> Any:
    polars = pytest.importorskip("polars")
    return polars.Series("text", texts, dtype=polars.Categorical)


def pandas_series(texts: list[str | None]) -> Any:
    return pytest.importorskip("pandas").Series(texts, name="text")


def pandas_frame(texts: list[str | None]) -> Any:
    return pytest.importorskip("pandas").DataFrame({"text": texts})


def pandas_frame_with_an_index(texts: list[str | None]) -> Any:
    index = [*range(5, 5 + len(texts) - 1), 100]
    return pytest.importorskip("pandas").DataFrame({"text": texts}, index=index)


def reader(texts: list[str | None]) -> Any:
    batches = [pa.record_batch({"text": pa.array(part)}) for part in (texts[:2], texts[2:])]
    return pa.RecordBatchReader.from_batches(batches[0].schema, batches)


def dataset_column(texts: list[str | None]) -> Any:
    return pytest.importorskip("datasets").Dataset.from_dict({"text": texts})["text"]


SHAPES: dict[str, Callable[[list[str | None]], Any]] = {
    "a tuple": tuple,
    "a generator": iter,
    "an array": lambda texts: pa.array(texts, pa.string()),
    "views": lambda texts: pa.array(texts, pa.string_view()),
    "a dictionary": lambda texts: pa.array(texts, pa.string()).dictionary_encode(),
    "a slice": lambda texts: pa.array(["before", *texts, "after"]).slice(1, len(texts)),
    "chunks": lambda texts: pa.chunked_array([texts[:2], texts[2:]], pa.large_string()),
    "a table of one column": lambda texts: pa.table({"anything": texts}),
    "Polars": polars_series,
    "categories of Polars": polars_categories,
    "pandas": pandas_series,
    "a frame of pandas": pandas_frame,
    "a frame with an index": pandas_frame_with_an_index,
    "a reader of batches": reader,
    "a dataset's column": dataset_column,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_texts_come_in_any_shape(detector: lowbg.Detector, expected: pa.Table, shape: str) -> None:
    assert detector.score(SHAPES[shape](TEXTS)).equals(expected)


def test_the_verdicts(expected: pa.Table) -> None:
    assert expected["verdict"].to_pylist() == ["human", "ai", *["unscored"] * 4]
    assert expected["words"].to_pylist()[2:5] == [1, 0, 0]
    assert expected["ai_score"].null_count == 4


def test_the_columns_are_those_that_are_told(expected: pa.Table) -> None:
    told = lowbg.columns()
    assert [(c.name, c.type) for c in told] == [(f.name, f.type) for f in expected.schema]
    assert all(c.meaning for c in told)
    for column in told:
        if column.null == "never":
            assert expected[column.name].null_count == 0, column.name


def test_one_call_is_as_a_detector(expected: pa.Table) -> None:
    assert lowbg.score(TEXTS).equals(expected)


def test_nothing_gives_no_rows(detector: lowbg.Detector, expected: pa.Table) -> None:
    assert detector.score([]).schema == expected.schema
    assert len(detector.score([])) == 0


def test_slices_change_nothing(
    detector: lowbg.Detector, expected: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLICE_BYTES", 1)
    assert detector.score(TEXTS).equals(expected)
    assert detector.score(pa.array(TEXTS)).equals(expected)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["Polars", "pandas", "datasets", "pyarrow", "a batch", "a reader"])
def test_tables_are_scored_as_the_command_scores_them(
    detector: lowbg.Detector, tmp_path: Path, form: str
) -> None:
    table = documents()
    pq.write_table(table, tmp_path / "in.parquet")
    command = [sys.executable, "-m", "lowbg_cli", "score", "in.parquet", "-o", "out", "-q"]
    subprocess.run([*command, "--as", "parquet"], cwd=tmp_path, check=True)
    rows = pq.read_table(tmp_path / "out" / "in.parquet")
    rows = rows.drop_columns([column.name for column in ONLY_IN_ROWS])
    shapes: dict[str, Callable[[], Any]] = {
        "Polars": lambda: pytest.importorskip("polars").from_arrow(table),
        "pandas": lambda: table.to_pandas() if pytest.importorskip("pandas") else None,
        "datasets": lambda: pytest.importorskip("datasets").Dataset.from_dict(table.to_pydict()),
        "pyarrow": lambda: table,
        "a batch": lambda: table.to_batches()[0],
        "a reader": lambda: table.to_reader(),
    }
    found = detector.score_table(shapes[form]())
    assert found.equals(rows.cast(found.schema))
    assert found["language"].to_pylist()[:2] == ["en", "en"]


def test_a_dataset_that_was_shuffled_keeps_its_order(detector: lowbg.Detector) -> None:
    dataset = pytest.importorskip("datasets").Dataset.from_dict(documents().to_pydict())
    chosen = dataset.select([4, 1, 0])
    assert detector.score_table(chosen)["id"].to_pylist() == ["e", "b", "a"]


def test_columns_under_other_names(detector: lowbg.Detector) -> None:
    table = documents().rename_columns(["key", "body", "lang", "when"])
    fields = lowbg.FieldNames(text="body", id="key", language="lang", date="when")
    plain = detector.score_table(documents())
    assert detector.score_table(table, fields).equals(plain)
    assert "id" not in detector.score_table(documents().drop_columns("id")).column_names


def test_a_policy_holds(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[trust]\nbefore = 2022-11-30\ndate_field = 'written'\n", encoding="utf-8")
    table = documents().rename_columns(["id", "text", "language", "written"])
    texts = [AI] * 6
    table = table.set_column(1, "text", [texts])
    for given in (policy, str(policy), lowbg.load_policy(policy)):
        found = lowbg.Detector(given).score_table(table)
        assert found["verdict"].to_pylist()[:2] == ["human", "ai"]


def test_numbers_as_identifiers_are_text(detector: lowbg.Detector) -> None:
    table = documents().set_column(0, "id", pa.array(range(6)))
    assert detector.score_table(table)["id"].to_pylist() == list("012345")


WRONG: list[tuple[Any, str]] = [
    ("a text", "single"),
    (b"bytes", "single"),
    ([1, 2], "text 0 is no str but int"),
    (["a", b"b"], "text 1 is no str but bytes"),
    (5, "not int"),
    (None, "not NoneType"),
    ({"text": ["a"]}, "a mapping"),
    (pa.array([1, 2]), "int64, not text"),
    (pa.table({"a": ["x"], "b": ["y"]}), "columns a, b"),
]


@pytest.mark.parametrize(("texts", "says"), WRONG, ids=lambda value: str(value)[:20])
def test_what_is_no_text_is_refused(detector: lowbg.Detector, texts: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        detector.score(texts)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (["a"], "this is list"),
        (pa.table({"body": ["a"]}), r"no column 'text'\. Text is in: body"),
        (pa.table({"text": [1]}), "int64, not text"),
    ],
    ids=["a list", "no text", "numbers"],
)
def test_what_is_no_table_is_refused(detector: lowbg.Detector, table: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        detector.score_table(table)


def test_a_dictionary_of_datasets_is_refused(detector: lowbg.Detector) -> None:
    datasets = pytest.importorskip("datasets")
    splits = datasets.DatasetDict({"train": datasets.Dataset.from_dict({"text": ["a"]})})
    with pytest.raises(ConfigError, match="this is datasets"):
        detector.score_table(splits)


def test_a_policy_that_is_none_is_refused(tmp_path: Path) -> None:
    wrong: Any = 5
    with pytest.raises(ConfigError, match="not int"):
        lowbg.Detector(wrong)
    with pytest.raises(ConfigError, match="cannot be read"):
        lowbg.Detector(tmp_path / "gone.toml")


def test_lone_surrogates_are_read(detector: lowbg.Detector) -> None:
    assert detector.score([json.loads('"\\ud800 abc"')])["words"].to_pylist() == [1]


def test_a_detector_pickles_and_is_shared(detector: lowbg.Detector, expected: pa.Table) -> None:
    copy = pickle.loads(pickle.dumps(detector))
    assert copy.policy == detector.policy
    found: list[pa.Table] = []
    threads = [threading.Thread(target=lambda: found.append(copy.score(TEXTS))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(table.equals(expected) for table in found)


def test_an_explanation_has_the_score(detector: lowbg.Detector, expected: pa.Table) -> None:
    why = detector.explain(AI, language="en")
    assert why.verdict == "ai"
    assert why.ai_score == expected["ai_score"][1].as_py()
    wrong: Any = ["a"]
    with pytest.raises(ConfigError, match="not list"):
        detector.explain(wrong)


@pytest.mark.slow
def test_importing_changes_nothing_in_the_host() -> None:
    """Neither what numba is set to, nor how threads switch, nor what is loaded."""
    code = """
import json, os, sys, signal, warnings
import numba
def state():
    names = [name for name in dir(numba.config) if name.isupper()]
    config = {name: repr(getattr(numba.config, name)) for name in names}
    return {"numba": config, "switch": sys.getswitchinterval(), "env": dict(os.environ),
            "filters": len(warnings.filters), "int": repr(signal.getsignal(signal.SIGINT)),
            "recursion": sys.getrecursionlimit(), "path": list(sys.path)}
before = state()
import lowbg
loaded = [name for name in ("pyarrow", "lowbg.config", "lowbg.runs.engine") if name in sys.modules]
lowbg.score(["Some text."])
after = state()
print(json.dumps({"changed": [k for k in before if before[k] != after[k]], "loaded": loaded}))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == {"changed": [], "loaded": []}


def test_every_public_name_is_there_and_told() -> None:
    for name in lowbg.__all__:
        assert getattr(lowbg, name) is not None
    assert sorted(lowbg.__all__) == dir(lowbg)
