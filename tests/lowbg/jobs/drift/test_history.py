from __future__ import annotations

import json
from pathlib import Path

import pytest

from lowbg.errors import ConfigError, OutputError
from lowbg.jobs.drift.check import Change
from lowbg.jobs.drift.history import Check, append, of_baseline, read_history
from lowbg.jobs.drift.trend import MAX_SHOWN, render_trend


def check(label: str, rise: float = 0.0, baseline: str = "b") -> Check:
    low, high = rise - 0.02, rise + 0.02
    changes = (
        Change(
            "ai_share", "AI share", "points", 0.1, 0.1 + rise, rise, low, high, 0.05, low > 0.05
        ),
        Change("perplexity", "perplexity", "percent", None, None, None, None, None, None, False),
    )
    return Check(
        label=label, made="2026-01-01T00:00:00+00:00", baseline=baseline, inputs=("crawl/",),
        documents=100, incomplete=False, changes=changes,
    )  # fmt: skip


def test_history_gives_back_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    assert read_history(path) == []
    checks = [check("one"), check("two", 0.2, "other"), check("three", 0.2)]
    for one in checks:
        append(path, one)
    assert read_history(path) == checks
    assert [c.label for c in of_baseline(checks, "b")] == ["one", "three"]
    assert json.loads(path.read_text().splitlines()[2])["alerts"] == ["ai_share"]


@pytest.mark.parametrize("line", ['{"schema": "other/1"}', "nonsense", "[]", "{}"])
def test_odd_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "history.jsonl"
    append(path, check("one"))
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ConfigError, match=r"history\.jsonl:2: not a line of a drift history"):
        read_history(path)


def test_unwritable_history_says_so(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be appended to"):
        append(tmp_path / "missing" / "history.jsonl", check("one"))


def test_page_shows_trend_alerts_and_limits() -> None:
    page = render_trend([check("one"), check("two", 0.2)], [("baseline", "base.json")])
    assert page.count("<circle") == 2  # perplexity has nothing to show, and no limit
    assert page.count('<g class="alert">') == 1
    assert 'class="limit"' in page
    assert "The last check alerts: AI share." in page
    assert "+20.0 points" in page
    assert "has no alert" in render_trend([check("one")], [])


def test_limit_and_points_stand_where_their_values_are() -> None:
    import re

    page = render_trend([check("one", 0.05), check("two", 0.2)], [])
    circles = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', page)]
    limit = re.search(r'class="limit" x1="0" x2="[\d.]+" y1="([\d.]+)"', page)
    axis = re.search(r'class="axis" x1="0" x2="[\d.]+" y1="([\d.]+)"', page)
    assert limit is not None
    assert axis is not None
    assert float(limit[1]) == pytest.approx(circles[0], abs=0.11)
    # From zero up, heights are in proportion to the values.
    zero = float(axis[1])
    assert (zero - circles[1]) / (zero - circles[0]) == pytest.approx(4.0, rel=0.02)


def test_page_escapes_what_comes_from_outside() -> None:
    page = render_trend([check("<script>x</script>", 0.2)], [("a", "<b>\x1b")])
    assert page.count("<script>") == 1  # its own
    assert "<b>\x1b" not in page


def test_page_shows_the_latest_checks() -> None:
    page = render_trend([check(f"n{i}") for i in range(MAX_SHOWN + 5)], [])
    assert page.count("<circle") == MAX_SHOWN
    assert "5 earlier ones in the history" in page
    assert ">n4<" not in page
    assert ">n5<" in page
