"""The adapters' examples, run by the real engines where these are installed.

Their verdicts, scores and reasons are those of `lowbg filter`, document by document.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.lowbg.adapters.pipelines import by_id, documents, filtered, rows_of, run_example
from tests.lowbg.adapters.test_annotate import TRUSTING

from lowbg import Detector, FieldNames, Policy
from lowbg.adapters import Annotate

pytestmark = pytest.mark.slow


def _human(expected: dict[str, Any]) -> dict[str, Any]:
    return {key: said for key, said in expected.items() if said["verdict"] != "ai"}


def test_datasets(dump: Path, expected: dict[str, Any], tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    run_example("datasets_map.py", dump / "dump.parquet", tmp_path / "human", HF_HOME=str(tmp_path))
    assert by_id(datasets.load_from_disk(str(tmp_path / "human"))) == _human(expected)


def test_datasets_without_arrow_s_form(expected: dict[str, Any], tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_list(documents())
    assert by_id(rows.map(Annotate(), batched=True, batch_size=5)) == expected


def test_polars(dump: Path, expected: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("polars")
    run_example("polars_expression.py", dump / "dump.parquet", tmp_path / "human.parquet")
    assert by_id(rows_of(tmp_path / "human.parquet")) == _human(expected)


def test_polars_frames_and_other_names(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    from lowbg.adapters.polars import annotation
    from lowbg.errors import ConfigError

    frame = polars.DataFrame(documents())
    expected = by_id(Annotate()(frame.to_arrow().select(["id", "text"])).to_pylist())
    assert by_id(frame.with_columns(annotation()).to_dicts()) == expected
    assert frame.head(0).with_columns(annotation()).schema == (
        frame.lazy().with_columns(annotation()).collect_schema()
    )
    fields = Annotate(fields=FieldNames(text="body"))
    renamed = frame.rename({"text": "body"})
    assert by_id(renamed.with_columns(annotation(annotate=fields)).to_dicts()) == expected
    with pytest.raises(ConfigError, match="no column 'text'"):
        annotation("body")


def test_datatrove(dump: Path, expected: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("datatrove")
    run_example("datatrove_filter.py", dump, tmp_path)
    found = {
        name: [
            {"id": row["id"], **row["metadata"]}
            for path in (tmp_path / name).iterdir()
            for row in rows_of(path)
        ]
        for name in ("kept", "removed")
    }
    assert by_id(found["kept"]) == _human(expected)
    assert by_id([*found["kept"], *found["removed"]]) == expected
    assert {row["filter_reason"] for row in found["removed"]} == {"ai"}


@pytest.mark.parametrize("policy", [Policy(), TRUSTING])
def test_datatrove_s_score_drops_nothing(policy: Policy, dump: Path, tmp_path: Path) -> None:
    pytest.importorskip("datatrove")
    from datatrove.data import Document

    from lowbg.adapters.datatrove import LowbgScore

    given = [
        Document(row["text"], row["id"], metadata={k: row[k] for k in ("language", "date", "url")})
        for row in documents()
    ]
    step = LowbgScore(Annotate(Detector(policy)), batch_size=5)
    found = [{"id": each.id, **each.metadata} for each in step.run(iter(given))]
    assert by_id(found) == filtered(dump / "dump.jsonl", tmp_path / "out", policy)
    assert step.stats["ai"].total == sum(row["lowbg"]["verdict"] == "ai" for row in found)


def test_ray(dump: Path, expected: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("ray.data")
    run_example("ray_map_batches.py", dump / "dump.parquet", tmp_path / "out")
    assert by_id(rows_of(tmp_path / "out")) == expected


def test_dask(dump: Path, expected: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("dask.dataframe")
    run_example("dask_map_partitions.py", dump / "dump.parquet", tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) > 1
    assert by_id(rows_of(tmp_path / "out")) == _human(expected)


def test_dask_s_bags_and_other_names(expected: dict[str, Any]) -> None:
    bag = pytest.importorskip("dask.bag")
    pytest.importorskip("dask.dataframe")
    import dask.dataframe as dd
    import pandas as pd

    from lowbg.adapters.dask import annotated, annotated_bag
    from lowbg.errors import ConfigError

    rows = documents()
    given = bag.from_sequence(rows, npartitions=3)
    found = annotated_bag(given).compute(scheduler="sync")
    assert by_id(found) == expected
    assert [{k: v for k, v in row.items() if k != "lowbg"} for row in found] == rows
    renamed = dd.from_pandas(pd.DataFrame(rows).rename(columns={"text": "body"}), npartitions=2)
    by_body = annotated(renamed, Annotate(fields=FieldNames(text="body")))
    assert by_body.dtypes["lowbg"] == by_body.compute(scheduler="sync").dtypes["lowbg"]
    assert by_id(by_body.compute(scheduler="sync").to_dict("records")) == expected
    with pytest.raises(ConfigError, match="no column 'text'"):
        annotated(renamed)


def test_spark_s_expression(dump: Path, expected: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("pyspark")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    run_example("spark_udf.py", dump / "dump.parquet", tmp_path / "out")
    assert by_id(rows_of(tmp_path / "out")) == _human(expected)


# pyspark warns of new pandas, which nothing here uses.
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_spark_s_expression_a_row_at_a_time(
    dump: Path, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where pyspark has no function of Arrow's columns yet."""
    sql = pytest.importorskip("pyspark.sql")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    from lowbg.adapters import spark as adapter
    from lowbg.errors import ConfigError

    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    session = sql.SparkSession.builder.master("local[1]").getOrCreate()
    with monkeypatch.context() as patched:
        patched.delattr("pyspark.sql.functions.arrow_udf", raising=False)
        column = adapter.annotation("text", "language", "date", "url")
    rows = session.read.parquet(str(dump / "dump.parquet")).withColumn("lowbg", column).collect()
    assert by_id({**row.asDict(), "lowbg": row.lowbg.asDict()} for row in rows) == expected
    with pytest.raises(ConfigError, match="no column 'text'"):
        adapter.annotation("body")
    session.stop()


def test_spark(dump: Path, expected: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("pyspark")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    run_example("spark_map_in_arrow.py", dump / "dump.parquet", tmp_path / "out")
    assert by_id(rows_of(tmp_path / "out")) == _human(expected)
