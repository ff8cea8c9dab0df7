"""The pages in a real Chromium."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from tests.browser import WIDTHS, chromium, opened, overflow, violations
from tests.screenshots import take

from lowbg.amounts import count_text, share_text
from lowbg.config import Policy
from lowbg.jobs.drift.check import Change
from lowbg.jobs.drift.history import Check
from lowbg.jobs.drift.trend import render_trend
from lowbg.jobs.eval.evaluate import LabelledScores, evaluate
from lowbg.jobs.eval.plots import as_html
from lowbg.jobs.explain import explain
from lowbg.jobs.explain_page import Percentile, render_explanation
from lowbg.report import Report, render_html
from lowbg.report.estimate import Estimate
from lowbg.report.examples import Example, Shade
from lowbg.report.results import ShardResult
from lowbg.report.sections.base import CountedRow, Measures
from lowbg.runs.engine import Engine
from lowbg.storage.typed import to_plain

pytestmark = pytest.mark.slow

EVIL = (
    '</script><script>alert("x")</script><img src=x onerror=alert(1)>{"a": "</script>"}'
    "\x1b[2J\x1b]0;t\x07\u202egnp.exe\u2066\u200f"
)


def an_example(text: str = EVIL, shard: str = "a.jsonl") -> Example:
    return Example(
        shard=shard, record=3, id=EVIL, language="en", words=200, ai_score=0.91, verdict="ai",
        reasons=[EVIL, "n-grams"], rank=0.1, excerpt=text, cut=True,
        shades=[Shade(0, 9, 2.0), Shade(9, 30, -2.0), Shade(30, len(text), 0.5)],
    )  # fmt: skip


def eval_page() -> str:
    generator = np.random.default_rng(0)
    n = 400
    is_ai = np.arange(n) % 2 == 1
    score = 1.0 / (1.0 + np.exp(-generator.normal(is_ai * 3.0 - 3.0, 1.5)))
    j = LabelledScores(
        is_ai=is_ai, score=score, called_ai=score > 0.5, words=np.arange(n) * 5 + 1,
        groups={"dataset": np.where(np.arange(n) < n // 2, "a", EVIL)},
    )  # fmt: skip
    return as_html(j, evaluate(j, rounds=5), [("Version", EVIL), ("Models", "en " + "a1" * 60)])


def explain_page() -> str:
    text = f"Certainly! It plays a crucial role in the tapestry of life. {EVIL} " * 20
    explanation = explain(Engine(Policy()).setup(), text, language="en")
    return render_explanation(explanation, EVIL, {"perplexity": Percentile(0.2, 0.9)})


def drift_page() -> str:
    def check(label: str, rise: float) -> Check:
        change = Change(
            "ai_share", "AI share", "points", 0.1, 0.1 + rise, rise, rise - 0.02, rise + 0.02,
            0.05, rise > 0.07,
        )  # fmt: skip
        return Check(
            label=label, made="2026-01-01T00:00:00+00:00", baseline="b", inputs=("crawl/",),
            documents=100, incomplete=False, changes=(change,),
        )  # fmt: skip

    return render_trend([check("one", 0.0), check(EVIL, 0.2)], [("baseline", EVIL)])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def full_report(evil_report: Report) -> Report:
    kinds = {kind: [an_example()] for kind in ("clearest_ai", "uncertain", "ai", "human")}
    return replace(evil_report, documents=kinds)


def saved(page: str, path: Path) -> str:
    path.write_text(page, encoding="utf-8")
    return f"file://{path}"


@pytest.mark.parametrize("name", ["report", "eval", "drift", "explain"])
def test_pages_fit_load_nothing_and_read_well(
    browser: Any, full_report: Report, tmp_path: Path, name: str
) -> None:
    pages = {
        "report": lambda: render_html(full_report),
        "eval": eval_page,
        "drift": drift_page,
        "explain": explain_page,
    }
    url = saved(pages[name](), tmp_path / f"{name}.html")
    for width in WIDTHS:
        with opened(browser, url, width) as page:
            assert overflow(page) <= 0
            assert page.locator("main").count() == 1
    assert violations(browser, url) == []
    assert violations(browser, url, 360, color_scheme="dark") == []


def test_no_table_of_estimates_is_cut_on_a_wide_window(
    browser: Any, full_report: Report, tmp_path: Path
) -> None:
    some = Measures(12_345, 12_345, 12_345)
    rows = [
        CountedRow(
            name=name, documents=12_345, bytes=1, words=1, human=some, ai=some, unscored=some,
            scored=12_345, ai_share_of_scored=0.109, ai_share_of_scored_interval=[0.109, 0.132],
            ai_share_of_documents=0.1,
            estimate=Estimate(estimate=value, raw=0.1, low=value, high=value, reason=reason),
        )
        for name, value, reason in (
            ("en", 0.201, None), ("zh", None, "only 265 scored documents are human by their date"),
            ("pt", None, "no document was scored"),
        )
    ]  # fmt: skip
    url = saved(render_html(replace(full_report, languages=rows)), tmp_path / "report.html")
    with opened(browser, url) as page:
        table = page.locator("#languages .scroll")
        assert table.evaluate("e => e.scrollWidth - e.clientWidth") <= 0


def test_a_page_is_whole_without_its_script(
    browser: Any, full_report: Report, tmp_path: Path
) -> None:
    url = saved(render_html(full_report), tmp_path / "report.html")
    with opened(browser, url, java_script_enabled=False) as page:
        assert page.locator("table button").count() == 0
        assert page.locator("nav a").count() == page.locator("main section[id]").count()
        shown = page.locator("#documents .excerpt").first.text_content()
        assert "\\u202e" in shown
        assert "</script>" in shown


def test_tables_sort_and_filter_by_keyboard(
    browser: Any, build: Callable[..., Report], shard: Callable[..., ShardResult], tmp_path: Path
) -> None:
    report = build(*(replace(shard(f"s{i}.jsonl"), records=i * 7 % 12) for i in range(12)))
    url = saved(render_html(report), tmp_path / "report.html")
    with opened(browser, url) as page:
        table = page.locator("#shards table")
        button = table.locator("th button").nth(1)
        button.focus()
        page.keyboard.press("Enter")
        assert table.locator("th").nth(1).get_attribute("aria-sort") == "descending"
        assert table.locator("tbody tr").first.locator("td").nth(1).text_content() == "11"
        page.keyboard.press("Enter")
        assert table.locator("tbody tr").first.locator("td").nth(1).text_content() == "0"
        table.locator("th button").first.press("Enter")
        names = table.locator("tbody tr td:first-child").all_text_contents()
        assert names == [f"s{i}.jsonl" for i in reversed(range(12))]  # 10 comes after 9
        page.locator("#shards input").fill("s1")
        assert table.locator("tbody tr:visible").count() == 3
        assert page.locator("#shards [role=status]").text_content() == "3 of 12"


def test_numbers_on_the_page_are_those_of_the_json(
    browser: Any, build: Callable[..., Report], tmp_path: Path
) -> None:
    report = build()
    plain = to_plain(report)
    url = saved(render_html(report), tmp_path / "report.html")
    totals = plain["totals"]
    with opened(browser, url) as page:
        figures = page.locator(".tiles b").all_text_contents()
        cells = page.locator("#totals table").first.locator("td").all_text_contents()
        hosts = page.locator("#hosts table").last.locator("tbody tr").first
        host = hosts.locator("td").all_text_contents()
    assert figures == [
        count_text(totals["records"]),
        share_text(totals["ai_share_of_scored"]),
        share_text(totals["unscored"]["share_of_documents"]),
        count_text(totals["quarantined"]["documents"]),
    ]
    for verdict in ("human", "ai", "unscored", "quarantined"):
        row = cells.index(verdict)
        assert cells[row + 1] == count_text(totals[verdict]["documents"])
        assert cells[row + 5] == count_text(totals[verdict]["words"])
    top = plain["hosts"]["top"][0]
    assert host[:2] == [top["name"], count_text(top["documents"])]


def test_a_page_of_ten_thousand_shards_stays_small(
    build: Callable[..., Report], shard: Callable[..., ShardResult]
) -> None:
    kinds = {
        kind: [an_example("é" * 420, f"part/shard-{i:05}.jsonl.zst") for i in range(8)]
        for kind in ("clearest_ai", "uncertain", "ai", "human")
    }
    one = shard()
    shards = [replace(one, shard=f"part/shard-{i:05}.jsonl.zst") for i in range(10_000)]
    page = render_html(replace(build(*shards), documents=kinds))
    assert len(page.encode()) < 2_000_000
    assert len(re.findall("<tr>", page)) < 2_000


def test_pictures_are_taken_of_every_width(
    browser: Any, full_report: Report, tmp_path: Path
) -> None:
    (tmp_path / "report.html").write_text(render_html(full_report), encoding="utf-8")
    taken = take(browser, [tmp_path / "report.html"], tmp_path / "pictures")
    sizes = {path.name: struct.unpack(">II", path.read_bytes()[16:24]) for path in taken}
    assert {name: width for name, (width, _) in sizes.items()} == {
        f"report-{width}-{scheme}.png": width for width in WIDTHS for scheme in ("light", "dark")
    }
    assert min(height for _, height in sizes.values()) > 900
    light, dark = (tmp_path / "pictures" / f"report-360-{s}.png" for s in ("light", "dark"))
    assert light.read_bytes() != dark.read_bytes()
