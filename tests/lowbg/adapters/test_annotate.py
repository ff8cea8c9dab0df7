"""What lowbg adds to tables of every kind is what `lowbg filter --annotate` adds to records."""

from __future__ import annotations

import datetime as dt
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.lowbg.adapters.pipelines import by_id, documents, filtered

from lowbg import Detector, FieldNames, Policy
from lowbg.adapters import Annotate
from lowbg.adapters.annotate import COLUMN, shared
from lowbg.errors import ConfigError

TRUSTING = Policy(trust_before=dt.date(2022, 11, 30), date_field="date")


def _table() -> pa.Table:
    return pa.Table.from_pylist(documents())


def test_every_kind_of_table_gets_the_column(expected: dict[str, Any]) -> None:
    annotate, table = Annotate(), _table()
    assert by_id(annotate(table).to_pylist()) == expected
    batches = table.to_batches(max_chunksize=5)
    found = list(annotate.batches(batches))
    assert [len(batch) for batch in found] == [len(batch) for batch in batches]
    assert by_id(row for batch in found for row in batch.to_pylist()) == expected
    columns = annotate(table.to_pydict())
    assert columns["text"] == table["text"].to_pylist()
    assert by_id(pa.table(columns).to_pylist()) == expected
    assert annotate(batches[0].slice(0, 0)).schema == found[0].schema
    assert found[0].schema.field(COLUMN).type == annotate.type


def test_pandas_frames_get_the_column(expected: dict[str, Any]) -> None:
    pandas = pytest.importorskip("pandas")
    frame = Annotate()(pandas.DataFrame(documents()))
    assert by_id(frame.to_dict("records")) == expected


def test_the_policy_s_trust_and_other_names_count(dump: Path, tmp_path: Path) -> None:
    trusted = filtered(dump / "dump.jsonl", tmp_path / "out", TRUSTING)
    assert trusted["old"]["verdict"] == "human"
    assert by_id(Annotate(Detector(TRUSTING))(_table()).to_pylist()) == trusted
    renamed = _table().rename_columns({"text": "body", "date": "when"})
    annotate = Annotate(Detector(TRUSTING), FieldNames(text="body", date="when"))
    assert by_id(annotate(renamed).to_pylist()) == trusted


def test_values_are_chosen() -> None:
    said = Annotate(values=("verdict", "perplexity"))(_table())[COLUMN]
    assert [field.name for field in said.type] == ["verdict", "perplexity"]
    with pytest.raises(ConfigError, match="no column 'verdicts'"):
        Annotate(values=("verdicts",))(_table())


def test_a_process_loads_a_policy_once() -> None:
    one, other = (pickle.loads(pickle.dumps(Detector(TRUSTING))) for _ in range(2))
    assert shared(one) is shared(other)
    assert shared(one) is not shared(Detector())


@pytest.mark.parametrize("rows", [7, "text", [{"text": "One."}]])
def test_what_is_no_table_is_refused(rows: Any) -> None:
    with pytest.raises(ConfigError, match="a table is needed"):
        Annotate()(rows)


def test_a_column_that_arrow_has_no_type_for_tells_nothing() -> None:
    said = Annotate()({"text": ["One.", "Two."], "date": ["2020-01-01", {1, 2}]})
    assert [each["verdict"] for each in said[COLUMN]] == ["unscored", "unscored"]


@pytest.mark.slow
def test_no_engine_is_imported() -> None:
    code = (
        "import sys; from lowbg.adapters import Annotate; Annotate()({'text': ['One.']}); "
        "print(*(sys.modules.keys() & {'datasets', 'datatrove', 'polars', 'pyspark', 'ray'}))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []
