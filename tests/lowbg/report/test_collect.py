from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import jsonschema
import numpy as np
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from lowbg.errors import FormatError, ProblemKind
from lowbg.report import Report, merge_reports, render_html, render_json
from lowbg.report.collect import decode
from lowbg.report.render_json import json_schema
from lowbg.report.results import Problem, ShardResult
from lowbg.report.sections import sections
from lowbg.report.sections.problems import SECTION as PROBLEMS
from lowbg.report.sections.runs import SECTION as RUNS
from lowbg.report.sections.throughput import SECTION as THROUGHPUT
from lowbg.report.sections.totals import SECTION as TOTALS
from lowbg.report.statistics import Statistics
from lowbg.storage.typed import to_plain

Build = Callable[..., Report]
Made = Callable[..., Any]
NOTHING = to_plain(Statistics())
MakeShard = Callable[..., ShardResult]
MakeStatistics = Callable[..., Statistics]


def plain(report: Report) -> Any:
    """A report as its readers get it."""
    return json.loads(render_json(report))


def stored(report: Any) -> Report:
    """A report that is read from a file."""
    return decode(json.dumps(report).encode(), "x.json")


@pytest.fixture
def made(build: Build) -> Made:
    """Makes a report of shards, as its readers get it."""
    return lambda *shards, **more: plain(build(*shards, **more))


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    text = files("lowbg.report").joinpath("report.schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def test_reports_follow_their_schema(
    schema: dict[str, Any], build: Build, shard: MakeShard, statistics: MakeStatistics,
    evil_report: Report,
) -> None:  # fmt: skip
    estimated = build(shard(statistics=statistics(trusted=400, called=4)))
    empty = build(shard(statistics=Statistics()))
    merged = merge_reports([build(), estimated])
    for report in (build(), estimated, empty, merged, evil_report):
        jsonschema.validate(plain(report), schema)
        assert set(plain(report)) == set(schema["properties"])


def test_the_stored_schema_is_that_of_the_structs(schema: dict[str, Any]) -> None:
    stored = files("lowbg.report").joinpath("report.schema.json").read_bytes()
    assert stored == json_schema(), "run benchmarks/report_schema.py"
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda report: report["totals"].update(ai_share_of_scored=1.5),
        lambda report: report["years"][0].update(documents="9"),
        lambda report: report["runs"][0].pop("command"),
    ],
)
def test_the_schema_refuses_what_is_no_report(
    spoil: Callable[[Any], object], schema: dict[str, Any], build: Build
) -> None:
    report = plain(build())
    spoil(report)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(report, schema)


def test_totals_and_shares(made: Made, shard: MakeShard, statistics: MakeStatistics) -> None:
    counted = statistics(human=6, ai=3, unscored=2)
    counted.add_quarantined("cut", 1, 500)
    totals = made(shard(statistics=counted))["totals"]
    assert (totals["records"], totals["documents"], totals["bytes"]) == (12, 12, 11_500)
    assert totals["ai"] == {
        "documents": 3, "bytes": 3_000, "words": 300, "share_of_documents": 0.25,
        "share_of_bytes": 3_000 / 11_500, "share_of_words": 300 / 1_100,
    }  # fmt: skip
    assert totals["ai_share_of_scored"] == 3 / 9
    assert totals["ai_share_of_documents"] == 3 / 12
    assert totals["ai_share_of_scored_bytes"] == 3 / 9
    low, high = totals["ai_share_of_scored_interval"]
    # Wilson's interval of 3 in 9, by hand.
    assert (low, high) == (pytest.approx(0.1206, abs=1e-3), pytest.approx(0.6458, abs=1e-3))


def test_nothing_in_gives_null_shares(made: Made, shard: MakeShard) -> None:
    report = made(shard(statistics=Statistics()))
    assert report["totals"]["ai_share_of_scored"] is None
    assert report["totals"]["ai_share_of_scored_interval"] is None
    assert report["estimate"]["estimate"] is None
    assert report["conservation"]["balanced"]


def test_a_lost_record_shows(made: Made, shard: MakeShard) -> None:
    report = made(shard(), replace(shard("b.jsonl"), records=12))
    assert report["conservation"]["balanced"] is False
    assert report["conservation"]["unbalanced_shards"] == ["b.jsonl"]
    assert [p["kind"] for p in report["problems"]] == ["conservation"]


def test_groups(made: Made, shard: MakeShard, statistics: MakeStatistics) -> None:
    report = made(shard(), shard("b", statistics(ai=9, human=0, unscored=0, host="worst.org")))
    assert [(r["name"], r["ai"]["documents"]) for r in report["years"]] == [("2024", 12)]
    assert [r["name"] for r in report["languages"]] == ["en"]
    assert [r["name"] for r in report["hosts"]["top"]] == ["example.com", "worst.org"]
    assert report["hosts"]["most_ai"][0]["name"] == "worst.org"
    assert report["hosts"]["other"] is None
    assert report["phrases"]["top"][0]["ai"] == 12
    assert report["unscored"] == [{"reason": "too_short", "documents": 2, "share": 1.0}]


def test_hosts_beyond_the_largest_are_added_up(
    build: Build, shard: MakeShard, statistics: MakeStatistics
) -> None:
    counted = statistics()
    names = [f"h{i:04}.org" for i in range(1_500)]
    counted.hosts.add(names, np.tile([1, 10, 5, 1, 10, 5, 0, 0, 0], (1_500, 1)))
    report = build(shard(statistics=counted))
    hosts = plain(report)["hosts"]
    assert (len(hosts["top"]), hosts["distinct"]) == (50, 1_501)
    assert hosts["other"]["documents"] == 2 * (1_500 - 49)
    assert hosts["other"]["ai"]["bytes"] == 10 * (1_500 - 49)
    merged = plain(merge_reports([report, report]))["hosts"]
    assert merged["other"]["documents"] == 4 * (1_500 - 49)
    assert merged["distinct_is_minimum"]


def test_speed_counts_what_the_run_did_itself(made: Made, shard: MakeShard) -> None:
    finished = replace(shard("a.jsonl"), earlier_records=11, earlier_text_bytes=11_000)
    begun = replace(shard("b.jsonl"), earlier_records=4, earlier_text_bytes=4_000)
    report = made(finished, begun, shard("c.jsonl"))
    speed = report["throughput"]
    assert (speed["text_bytes"], speed["records"]) == (33_000, 33)
    assert (speed["done_text_bytes"], speed["done_records"]) == (18_000, 18)
    assert (speed["mb_per_second"], speed["records_per_second"]) == (0.009, 9.0)
    assert (report["runs"][0]["text_bytes"], report["runs"][0]["records"]) == (18_000, 18)


def test_the_speed_of_runs_together(build: Build, shard: MakeShard) -> None:
    first, second = shard("a.jsonl"), shard("b.jsonl")
    before = build(first)[RUNS]
    done = replace(first, earlier_records=11, earlier_text_bytes=11_000)
    speed = plain(build(done, second, earlier_runs=before))["throughput"]
    assert (speed["done_text_bytes"], speed["mb_per_second"]) == (22_000, 0.0055)
    # As a version wrote it that didn't say.
    before = [replace(run, text_bytes=UNSET) for run in before]
    assert build(done, second, earlier_runs=before)[THROUGHPUT].done_text_bytes == 22_000


def test_merging_equals_one_run(build: Build, shard: MakeShard) -> None:
    one, two = shard("a.jsonl"), shard("b.jsonl")
    merged = plain(merge_reports([stored(plain(build(each))) for each in (one, two)]))
    whole = plain(build(one, two))
    timed = {"runs", "throughput", "inputs"}
    for key in set(whole) - timed:
        assert merged[key] == whole[key], key
    assert merged["throughput"]["seconds"] == 4.0
    assert len(merged["runs"]) == 2


def test_merging_different_policies_is_a_problem(build: Build) -> None:
    merged = merge_reports([build(policy_sha256="00"), build(policy_sha256="11")])
    assert [problem.kind for problem in merged[PROBLEMS]] == ["policy"]


def test_missing_text_names_the_fields_that_there_are(made: Made, shard: MakeShard) -> None:
    problem = Problem(ProblemKind.MISSING_TEXT, "a:1: no field 'text'", 3)
    report = made(shard(problems=(problem,), seen_fields=("body", "id")))
    assert "body, id" in report["problems"][0]["advice"]
    assert "fields.text (--text-field FIELD)" in report["problems"][0]["advice"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "lowbg.report/9"}, "lowbg.report/9"),
        ({"schema": None}, "not a lowbg report"),
        ({"counters": None}, "x.json: counters: expected object, got null"),
        (
            {"counters": {**NOTHING, "totals": "x"}},
            "x.json: counters.totals: expected array",
        ),
        ({"counters": {**NOTHING, "totals": [[1]]}}, r"x.json: counters.totals: of"),
        ({"counters": {**NOTHING, "years": {"1": [1]}}}, r"counters\.1: 1 counts"),
    ],
)
def test_what_is_no_report_is_refused(build: Build, change: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        stored({**plain(build()), **change})


def older(report: Any, sections: tuple[str, ...], counters: tuple[str, ...]) -> Any:
    """The report as versions wrote it that had neither of these."""
    counted = {name: v for name, v in report["counters"].items() if name not in counters}
    return {**{k: v for k, v in report.items() if k not in sections}, "counters": counted}


def test_a_report_from_before_a_section_shows_it_as_it_would_have_been(
    build: Build,
) -> None:
    report = plain(build())
    old = older(report, ("second_look", "provenance"), ("second_look", "rules", "values"))
    read = plain(stored(old))
    assert read == {**report, "counters": read["counters"]}
    assert read["second_look"] is None
    assert read["provenance"] == {"rules": [], "values": []}
    merged = merge_reports([stored(old), stored(report)])
    assert merged[TOTALS] == merge_reports([stored(report)] * 2)[TOTALS]
    made_again = older(report, ("years",), ())
    assert plain(stored(made_again))["years"] == report["years"] != []


@pytest.mark.parametrize("lost", ["rules", "trust_scores", "host_languages"])
def test_a_report_that_counted_less_names_the_version_that_wrote_it(
    lost: str, build: Build, shard: MakeShard, statistics: MakeStatistics
) -> None:
    report = plain(build(shard(statistics=statistics(trusted=2))))
    report["runs"][0]["version"] = "0.0.7"
    with pytest.raises(FormatError, match=rf"x\.json: .*{lost}.*missing; lowbg 0\.0\.7 wrote it"):
        stored(older(report, (), (lost,)))


def test_sections_are_found_in_order() -> None:
    found = sections()
    assert [s.order for s in found] == sorted({s.order for s in found})
    assert len({s.key for s in found}) == len(found) >= 10


def test_tables_show_estimates_where_there_are_any(
    build: Build, shard: MakeShard, statistics: MakeStatistics
) -> None:
    trusted = shard(statistics=statistics(human=200, ai=10, trusted=400))
    small = shard("b.jsonl", statistics(host="small.org"))
    page = render_html(build(trusted, small))
    assert page.count("Estimated AI share") == 4
    assert "9 scored documents not human by date, 100 are needed" in page
    assert "Estimated AI share" not in render_html(build(small))
