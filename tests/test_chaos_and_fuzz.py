"""The short forms of benchmarks/chaos and benchmarks/fuzz."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lowbg_fuzz", BENCHMARKS / "fuzz" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_damaged_bytes_neither_crash_nor_lose_a_record(fuzz: ModuleType) -> None:
    results = [(seed, *fuzz.read(fuzz.make(seed)[1])) for seed in range(3000)]
    assert [(seed, wrong) for seed, _, wrong in results if wrong] == []
    assert {end for _, end, _ in results} >= {"whole", "CutStreamError", "FormatError"}


@pytest.mark.parametrize("seed", [1028, 4846])
def test_a_parquet_footer_with_a_name_that_is_no_utf8(seed: int, fuzz: ModuleType) -> None:
    """Found by benchmarks/fuzz: `UnicodeDecodeError` from the footer's `created_by`."""
    assert fuzz.read(fuzz.make(seed)[1]) == ("FormatError", [])


@pytest.mark.parametrize("seed", [63793, 108815, 110995])
def test_a_parquet_footer_that_ends_pyarrow(seed: int, fuzz: ModuleType) -> None:
    """Found by benchmarks/fuzz: `std::terminate` in accessors of damaged column metadata."""
    [(_, kind, end, wrong)], died = fuzz.apart(seed, seed + 1)
    assert died is None
    assert (kind, wrong) == ("parquet", "")
    assert end in ("whole", "FormatError")


def test_killed_runs_come_to_what_they_would_have(tmp_path: Path) -> None:
    harness = [sys.executable, str(BENCHMARKS / "chaos" / "run.py"), "--kills", "6"]
    small = ["--documents", "80", "--formats", "zst,parquet", "--workers", "1"]
    ended = subprocess.run([*harness, *small], capture_output=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert b'"differences": 0' in ended.stdout
