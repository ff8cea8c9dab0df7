from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from rich.cells import cell_len

from lowbg.amounts import bytes_text, duration_text, share_text
from lowbg.errors import FormatError, InputError, OutputError, ProblemKind
from lowbg.report import Report, read_json, render_html, render_json, write_html, write_json
from lowbg.report.counting import CountTable
from lowbg.report.estimate import Basis, Estimate, wilson
from lowbg.report.render_terminal import render_terminal
from lowbg.report.results import Problem, ShardResult
from lowbg.report.sections.base import Table
from lowbg.report.sections.runs import SECTION as RUNS
from lowbg.report.sections.strata import SECTION as STRATA
from lowbg.report.sections.strata import Fairness, Stratum
from lowbg.report.statistics import Statistics
from lowbg.storage.files import WrittenFile
from lowbg.storage.typed import to_plain

Build = Callable[..., Report]
ACTIVE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")


class Page(HTMLParser):
    """The tags and the text of a page; `counts` are the cells of its tables that hold numbers."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.counts: list[str] = []
        self._in_count = False
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "td" and "count" in (dict(attrs).get("class") or ""):
            self._in_count = True
            self.counts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_count = self._in_count and tag != "td"

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._in_count:
            self.counts[-1] += f"{data} "


def numbers(values: Any) -> Iterator[float]:
    """Every number of a JSON value."""
    if isinstance(values, dict):
        values = [*values.values()]
    if isinstance(values, list):
        for value in values:
            yield from numbers(value)
    elif isinstance(values, (int, float)) and not isinstance(values, bool):
        yield values


def spelled(value: float) -> Iterator[str]:
    """The ways in which a page may write a number."""
    yield from (share_text(value), f"{value:,}", *(f"{value:,.{k}f}" for k in range(4)))
    if value >= 0:
        yield from (bytes_text(value), duration_text(value), duration_text(value, tenths=True))


def terminal(report: Report, width: int = 80, color: bool | None = None) -> str:
    stream = io.StringIO()
    render_terminal(report, stream, width=width, color=color)
    return stream.getvalue()


def test_json_is_sorted_and_comes_back(build: Build, tmp_path: Path) -> None:
    report = build()
    path = tmp_path / "out" / "report.json"
    write_json(report, path)
    text = path.read_text("utf-8")
    assert text == json.dumps(to_plain(report), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert read_json(path) == report
    assert [entry.name for entry in path.parent.iterdir()] == ["report.json"]


def test_json_takes_file_names_that_are_no_unicode(
    build: Build, shard: Callable[..., ShardResult]
) -> None:
    data = render_json(build(shard("caf\udce9.jsonl")))
    assert json.loads(data)["shards"][0]["shard"] == "caf\\udce9.jsonl"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": "lowbg.report/1"}'])
def test_reading_what_is_no_report(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=re.escape(str(path))):
        read_json(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_json(tmp_path / "none.json")


def test_writing_where_one_cannot(build: Build, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_html(build(), tmp_path / "file" / "report.html")


def test_page_is_whole_and_self_contained(build: Build) -> None:
    html = render_html(build())
    page = Page(html)
    assert html.startswith("<!doctype html>")
    assert page.tags.count("script") == 1  # its own: the policy allows no other
    assert not {"link", "img", "iframe", "object"} & set(page.tags)
    assert not [a for a in page.attributes if a[0] in ("src", "style") or a[0].startswith("on")]
    assert all((value or "").startswith("#") for name, value in page.attributes if name == "href")
    assert "url(" not in html
    assert "@import" not in html
    for expected in ("example.com", "2024", "refusal:I cannot", "too_short", "cc" * 32):
        assert expected in page.text
    assert page.tags.count("section") == page.tags.count("h2") >= 10


def test_page_escapes_everything_from_data(evil_report: Report) -> None:
    html = render_html(evil_report)
    page = Page(html)
    assert page.tags.count("script") == 1
    assert not ACTIVE.search(html)
    assert page.text.count("<script>alert") >= 6
    assert "\\x1b[31m\\u202e" in page.text


def test_nothing_in_renders(build: Build, shard: Callable[..., ShardResult]) -> None:
    report = build(shard(statistics=Statistics()))
    assert "no document was scored" in terminal(report)
    assert "Every record was read" in Page(render_html(report)).text


def test_every_number_of_a_table_is_one_of_the_json(
    build: Build, shard: Callable[..., ShardResult], statistics: Callable[..., Statistics]
) -> None:
    counted = statistics(human=1_613, ai=317, unscored=211, trusted=97, called=13)
    counted.add_quarantined("invalid_json", 37, 10)
    report = build(replace(shard(statistics=counted), records=2_275))
    known = {text for value in numbers(to_plain(report)) for text in spelled(value)}
    cells = [cell for cell in Page(render_html(report)).counts if cell.strip() not in ("", "–")]
    assert len(cells) > 60
    for cell in cells:
        words = re.sub(r"(?<=\d) (?=%|[kMG]?B\b|s\b)", "\xa0", cell)
        for word in re.split(r" – | of |\s{2,}| (?=\d)", re.sub(r"\bof\b", " of ", words)):
            text = word.strip().replace("\xa0", " ")
            assert text in known or not re.search(r"\d", text), (cell, text)


def test_terminal_summary(build: Build) -> None:
    lines = terminal(build()).splitlines()
    assert len(lines) <= 20
    text = "\n".join(lines)
    assert re.search(r"human +6 +54\.5 %", text)
    assert re.search(r"ai +3 +27\.3 %", text)
    for expected in ("33.3 % of 9 scored documents", "2024 33.3 %", "en 33.3 %",
                     "example.com 3", "refusal:I cannot 3", "human/ 8 records"):  # fmt: skip
        assert expected in text


def test_the_fullest_summary_fits_a_terminal(
    build: Build, shard: Callable[..., ShardResult], statistics: Callable[..., Statistics]
) -> None:
    counted = statistics(trusted=40, called=2)
    for i in range(40):
        host = f"assistant-{i}.example-{i}.org"
        row = np.array([[0, 0, 0, 9, 9, 9, 0, 0, 0]])
        counted.hosts.add([host], row)
        counted.languages.add([f"y{i}"], row)
        counted.years.add([f"{1990 + i}"], row)
        counted.phrases.add([f"overused_words:a rather long phrase {i}"], np.array([[0, 9 + i, 0]]))
        counted.untabled.add([f"x{i}"], np.array([[1_200 - i]]))
    outputs = tuple(WrittenFile(f"{i}.parquet", 1, 500, "aa" * 32) for i in range(9))
    result = replace(shard(statistics=counted), outputs=outputs, earlier_text_bytes=4_000)
    basis = {name: Basis(700, 7, 0.01, None) for name in ("(pooled)", "en", "de", "fr", "zh")}
    estimate = Estimate(estimate=0.1, raw=0.1, low=0.05, high=0.2, basis=basis)
    lines = terminal(replace(build(result), estimate=estimate)).splitlines()
    assert "most AI from" in "".join(lines)
    assert len(lines) <= 22  # Of 24; what to do next takes the others.
    assert max(map(cell_len, lines)) <= 80


def test_terminal_names_the_languages_without_tables(
    build: Build, shard: Callable[..., ShardResult], tmp_path: Path
) -> None:
    statistics = Statistics()
    names = ["pl", "cs", "und", "it", "nl", "sv", "da", "fi"]
    for i, name in enumerate(names):
        statistics.untabled.add([name], np.array([[1_200 - i]]))
    statistics.unscored.add(["language"], np.array([[9_999]]))
    report = build(shard(statistics=statistics))
    words = " ".join(terminal(report, 200).split())
    shown = "pl 1,200 documents · cs 1,199 · not recognised 1,198 · it 1,197 · nl 1,196 · sv 1,195"
    assert f"no tables for {shown} · and 2 more languages" in words
    assert "Language without tables" in Page(render_html(report)).text
    # A stored report has its keys by the alphabet.
    write_json(report, tmp_path / "report.json")
    stored = read_json(tmp_path / "report.json")
    assert terminal(stored) == terminal(report)
    assert render_html(stored) == render_html(report)
    # Reports from before languages were counted have the reason alone.
    statistics.untabled = CountTable(1)
    assert "no tables for" not in terminal(build(shard(statistics=statistics)))


def test_a_rate_above_the_target_by_too_few_is_not_called_undecided() -> None:
    interval = wilson(2, 8)
    own = Stratum("language", "pl", 8, 2, 0.25, interval, beyond_target=False)
    table = STRATA.blocks(Fairness(0.01, [own]))[1]
    assert isinstance(table, Table)
    assert table.rows[0][-1] == "above, by too few"


@pytest.mark.parametrize(
    ("earlier", "headline"),
    [
        (0, "22.0 kB in 2.0 s · 0.0 MB/s"),
        (4_000, "18.0 kB of 22.0 kB in 2.0 s · 0.0 MB/s"),
        (22_000, "22.0 kB, done before"),
    ],
)
def test_terminal_says_how_much_a_resumed_run_did(
    build: Build, shard: Callable[..., ShardResult], earlier: int, headline: str
) -> None:
    stream = io.StringIO()
    result = replace(shard(), text_bytes=22_000, earlier_text_bytes=earlier)
    render_terminal(build(result), stream, width=100)
    assert stream.getvalue().splitlines()[0].endswith(headline)


def test_terminal_says_how_many_files_it_does_not_name(
    build: Build, shard: Callable[..., ShardResult]
) -> None:
    outputs = tuple(WrittenFile(f"{i}.parquet", 1, 500, "aa" * 32) for i in range(9))
    text = terminal(build(replace(shard(), outputs=outputs)))
    assert "3.parquet 1 record" in text
    assert "4.parquet" not in text
    assert "and 5 records in 5 more files" in text


def test_terminal_counts_one_in_the_singular(
    build: Build, shard: Callable[..., ShardResult], statistics: Callable[..., Statistics]
) -> None:
    alone = shard(statistics=statistics(human=1, ai=0, unscored=0))
    assert "1 shard · 1 record · " in terminal(build(alone)).splitlines()[0]


def test_terminal_counts_a_pooled_document_once(build: Build) -> None:
    basis = {"(pooled)": Basis(700, 7, 0.01, None), "en": Basis(400, 4, 0.01, None)}
    estimate = Estimate(estimate=0.1, raw=0.1, low=0.05, high=0.2, basis=basis)
    text = terminal(replace(build(), estimate=estimate))
    assert "against 700 scored documents that are human by date" in text


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_terminal_keeps_to_its_width(evil_report: Report, width: int) -> None:
    for line in terminal(evil_report, width).splitlines():
        # A word of a message is never broken.
        assert cell_len(line) <= width or re.fullmatch(r"(  problem)? +\S+", line)


@pytest.mark.parametrize("width", [40, 80])
def test_terminal_breaks_no_path_in_a_message(
    build: Build, shard: Callable[..., ShardResult], width: int
) -> None:
    path = "crawl-of-the-year-2026/" * 5 + "shard-0001.jsonl.zst"
    problem = Problem(ProblemKind.CUT_STREAM, f"{path}: the stream ends early", 0)
    text = terminal(build(shard(problems=(problem,))), width)
    assert path in text
    assert "the stream ends early" in text


def test_terminal_sends_nothing_from_data(evil_report: Report) -> None:
    run = replace(evil_report[RUNS][0], version="\x1b[2J")
    text = terminal(replace(evil_report, runs=[run]))
    assert "\\x1b[2J" in text
    assert not ACTIVE.search(text)
    assert "\\x1b[31m" in text
    assert "\\x0anext" in text


def test_colour_only_where_wanted(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[3" in terminal(build(), color=True)
    assert "\x1b" not in terminal(build())
    assert "\x1b" not in terminal(build(), color=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in terminal(build())


def test_a_stream_without_unicode_is_enough(evil_report: Report) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    render_terminal(evil_report, stream, width=80)
    stream.flush()
    assert b"###" in raw.getvalue()
