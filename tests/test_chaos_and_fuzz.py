"""The short forms of benchmarks/chaos and benchmarks/fuzz."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def fuzz() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("lowbg_fuzz", BENCHMARKS / "fuzz" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Its dataclasses look themselves up there.
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_damaged_bytes_neither_crash_nor_lose_a_record(fuzz: ModuleType) -> None:
    results = [(seed, *fuzz.read(fuzz.make(seed)[1])) for seed in range(3000)]
    assert [(seed, wrong) for seed, _, wrong in results if wrong] == []
    assert {end for _, end, _ in results} >= {"whole", "CutStreamError", "FormatError"}


@pytest.mark.parametrize("seed", [1028, 4846])
def test_a_parquet_footer_with_a_name_that_is_no_utf8(seed: int, fuzz: ModuleType) -> None:
    """Found by benchmarks/fuzz: `UnicodeDecodeError` from the footer's `created_by`."""
    assert fuzz.read(fuzz.make(seed)[1]) == ("FormatError", [])


@pytest.mark.parametrize("seed", [6447, 937296])
def test_a_reader_goes_on_where_another_stopped(seed: int, fuzz: ModuleType) -> None:
    """Found by benchmarks/fuzz: after the last batch of a cut stream its tail came again; rows of
    a Parquet file were fewer by its footer than by its row groups."""
    data = fuzz.make(seed)[1]
    assert [fault for turn in range(3) for fault in fuzz.again(data, turn)] == []


@pytest.mark.parametrize("seed", [63793, 108815, 110995])
def test_a_parquet_footer_that_ends_pyarrow(seed: int, fuzz: ModuleType) -> None:
    """Found by benchmarks/fuzz: `std::terminate` in accessors of damaged column metadata."""
    [(_, kind, end, wrong)], died = fuzz.apart(seed, seed + 1)
    assert died is None
    assert (kind, wrong) == ("parquet", "")
    assert end in ("whole", "FormatError")


@pytest.mark.parametrize("seed", [619369, 686712, 741855])
def test_a_parquet_footer_with_a_negative_number_of_rows(seed: int, fuzz: ModuleType) -> None:
    """Found by benchmarks/fuzz: taken for a checkpoint behind the end of the file."""
    assert fuzz.read(fuzz.make(seed)[1]) == ("FormatError", [])


def test_killed_runs_come_to_what_they_would_have(tmp_path: Path) -> None:
    harness = [sys.executable, str(BENCHMARKS / "chaos" / "run.py"), "--kills", "6"]
    small = ["--documents", "80", "--formats", "zst,parquet", "--workers", "1"]
    ended = subprocess.run([*harness, *small], capture_output=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert b'"differences": 0' in ended.stdout
