from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.lowbg.adapters.pipelines import filtered, write_dump


@pytest.fixture(scope="session")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a JSONL and a Parquet shard of the same documents."""
    folder = tmp_path_factory.mktemp("dump")
    write_dump(folder)
    return folder


@pytest.fixture(scope="session")
def expected(dump: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `lowbg filter` says of each document, by id."""
    return filtered(dump / "dump.jsonl", tmp_path_factory.mktemp("filtered") / "out")
