"""The guard against getting slower, on a corpus that says nothing: runs, stores, draws, fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.speed import history, quick

PROSE = "A line of prose that is told again and again, until there is enough of it to be cut. "
NAMES = [
    "English, jsonl.zst", "mixed, jsonl.zst", "mixed, jsonl.gz", "mixed, Parquet", "start-up",
    "small shards", "memory, jsonl.zst", "memory, Parquet",
]  # fmt: skip


def result(date: str, median: float, version: str = "0.1.0") -> history.Result:
    """A stored result with one ratio."""
    return {
        "version": version, "date": f"{date}T10:00:00+00:00", "load_before": 0.1, "mb": 1.0,
        "machine": {"processor": "P", "cores": "2", "python": "3.11"}, "rounds": 3,
        "ratios": {"start-up": {"median": median, "min": median, "max": median + 1}},
    }  # fmt: skip


def test_only_what_is_worse_by_more_than_the_margin_is_said() -> None:
    def ratios(**medians: float) -> dict[str, dict[str, float]]:
        return {name: {"median": median} for name, median in medians.items()}

    last = ratios(a=2.0, b=2.0, c=2.0)
    said = quick.worse(ratios(a=2.19, b=2.21, c=1.0, new=9.0), last, 0.1)
    assert said == ["b: 2.21 ×, and 2.00 × in the last result"]


def test_results_are_told_by_version_and_day_and_drawn(tmp_path: Path) -> None:
    for own in (result("2026-02-01", 4.0, "0.2.0"), result("2026-01-01", 2.0)):
        history.store(tmp_path, own)
    history.store(tmp_path, result("2026-02-01", 3.0, "0.2.0"))
    assert [r["ratios"]["start-up"]["median"] for r in history.read(tmp_path)] == [2.0, 3.0]
    page = (tmp_path / "history.md").read_text("utf-8")
    assert "| start-up | 2.00 | 3.00 (3.00–4.00) |" in page
    drawn = (tmp_path / "history.svg").read_text("utf-8")
    assert drawn.count("<circle") == 2
    assert "3.00 ×" in drawn


@pytest.mark.slow
def test_it_runs_stores_and_fails_where_it_is_slower(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prose = tmp_path / "prose.jsonl"
    prose.write_text(json.dumps({"text": PROSE * 400}) + "\n")
    args = ["--work", str(tmp_path / "work"), "--results", str(tmp_path / "results")]
    with pytest.raises(SystemExit, match="--english"):
        quick.main(args)
    args += ["--rounds", "1", "--mb", "0.05", "--shards", "2"]
    assert quick.main([*args, "--english", str(prose), "--mixed", str(prose)]) == 0
    (stored,) = history.read(tmp_path / "results")
    assert [*stored["ratios"]] == NAMES
    assert all(own["median"] > 0 for own in stored["ratios"].values())
    assert "start-up" in (tmp_path / "results" / "history.md").read_text("utf-8")

    slower = {name: {"median": 9e9, "min": 1.0, "max": 9e9} for name in NAMES}
    monkeypatch.setattr(quick, "measure", lambda found, rounds: slower)
    assert quick.main(args) == 1
    assert history.read(tmp_path / "results") == [stored]
    assert "worse by more than 15%: start-up" in capsys.readouterr().err
    assert quick.main([*args, "--accept"]) == 0
    assert history.read(tmp_path / "results")[-1]["ratios"] == slower
