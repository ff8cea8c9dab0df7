"""What the tests of all adapters share: a dump, what `lowbg filter` makes of it, the examples."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from examples.make_sample import ai_documents, human_documents

from lowbg import FilterJob, Policy, RunConfig, discover, filter_shards
from lowbg.adapters.annotate import COLUMN

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "pipelines"
RUSSIAN = "Мы шли вдоль реки по камням, и собаки бежали впереди нас, а дед курил и молчал. " * 8


def documents() -> list[dict[str, Any]]:
    """Human and AI ones, short ones, and such as lack what most have."""
    few: list[dict[str, Any]] = [*human_documents()[:12], *ai_documents()]
    few += [
        {**few[0], "id": "short", "text": "Good morning."},
        {**few[0], "id": "russian", "text": RUSSIAN, "language": "ru"},
        {**few[1], "id": "untold", "language": None, "date": None, "url": None},
        {**few[13], "id": "old", "date": "2011-02-03"},
    ]
    return few


def write_dump(folder: Path) -> None:
    """The documents as `dump.jsonl` and as `dump.parquet`."""
    rows = documents()
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "dump.jsonl").write_text(lines, encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(rows), folder / "dump.parquet", row_group_size=7)


def filtered(shard: Path, output: Path, policy: Policy | None = None) -> dict[str, Any]:
    """What `lowbg filter --annotate` says of each document, by id."""
    config = RunConfig(policy=policy or Policy(), annotate=True)
    outcome = filter_shards(FilterJob(tuple(discover([str(shard)])), output, config))
    assert outcome.complete
    paths = [p for route in ("human", "ai") for p in (output / route).iterdir()]
    rows = [row for path in paths for row in rows_of(path)]
    assert len(rows) == len(documents())
    return by_id(rows)


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a Parquet file, of a folder of them, or of JSON lines."""
    if path.is_dir() or path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def by_id(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What lowbg says of each row; scores as the 32 bits that they have."""
    said = {}
    for row in rows:
        own = dict(row[COLUMN])
        score = own["ai_score"]
        own["ai_score"] = None if score is None else pa.scalar(score, pa.float32()).as_py()
        own["reasons"] = list(own["reasons"])
        said[str(row["id"])] = own
    return said


def run_example(name: str, *arguments: object, **environment: str) -> None:
    """Runs an example as a user would."""
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    # Spark's workers are Pythons of their own, else the first on the path.
    own = {**os.environ, "PYSPARK_PYTHON": sys.executable, **environment}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=own)
    assert ended.returncode == 0, ended.stderr[-4_000:]
