from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lowbg.errors import FormatError, ProblemKind
from lowbg.report import Report, merge_reports, read_json, render_html, render_json
from lowbg.report.results import Problem, ShardResult
from lowbg.report.sections import sections
from lowbg.report.statistics import Statistics

Build = Callable[..., Report]
MakeShard = Callable[..., ShardResult]
MakeStatistics = Callable[..., Statistics]
TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float),
    "boolean": bool, "null": type(None),
}  # fmt: skip


def faults(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str = "$") -> list[str]:
    """Where a value breaks a JSON schema; the part of JSON Schema that ours uses."""
    if "$ref" in schema:
        return faults(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, at)
    if "anyOf" in schema:
        each = [faults(value, option, root, at) for option in schema["anyOf"]]
        return [] if [] in each else each[0]
    if "const" in schema and value != schema["const"]:
        return [f"{at}: {value!r}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{at}: {value!r}"]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    right = any(
        isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
        for kind in kinds
    )
    if kinds and not right:
        return [f"{at}: {value!r} is not {kinds}"]
    found = []
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        low, high = schema.get("minimum", -np.inf), schema.get("maximum", np.inf)
        if not low <= value <= high:
            found.append(f"{at}: {value} out of range")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", np.inf):
            found.append(f"{at}: {len(value)} items")
        for i, item in enumerate(value):
            found += faults(item, schema.get("items", {}), root, f"{at}[{i}]")
    if isinstance(value, dict):
        found += [f"{at}.{key} missing" for key in schema.get("required", ()) if key not in value]
        more = schema.get("additionalProperties", True)
        for key, item in value.items():
            known = schema.get("properties", {}).get(key)
            if known is None and more is False:
                found.append(f"{at}.{key} not in the schema")
            elif known is not None or isinstance(more, dict):
                found += faults(item, known or more, root, f"{at}.{key}")
    return found


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
        # A round trip, so that what is checked is what readers get.
        assert faults(json.loads(render_json(report)), schema, schema) == []
        assert set(report) == set(schema["properties"])


def test_the_check_of_the_schema_can_fail(schema: dict[str, Any], build: Build) -> None:
    report = json.loads(render_json(build()))
    report["totals"]["ai_share_of_scored"] = 1.5
    report["years"][0]["documents"] = "9"
    del report["runs"][0]["command"]
    assert len(faults(report, schema, schema)) == 3


def test_totals_and_shares(build: Build, shard: MakeShard, statistics: MakeStatistics) -> None:
    counted = statistics(human=6, ai=3, unscored=2)
    counted.add_quarantined("cut", 1, 500)
    totals = build(shard(statistics=counted))["totals"]
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


def test_nothing_in_gives_null_shares(build: Build, shard: MakeShard) -> None:
    report = build(shard(statistics=Statistics()))
    assert report["totals"]["ai_share_of_scored"] is None
    assert report["totals"]["ai_share_of_scored_interval"] is None
    assert report["estimate"]["estimate"] is None
    assert report["conservation"]["balanced"]


def test_a_lost_record_shows(build: Build, shard: MakeShard) -> None:
    report = build(shard(), dataclasses.replace(shard("b.jsonl"), records=12))
    assert report["conservation"]["balanced"] is False
    assert report["conservation"]["unbalanced_shards"] == ["b.jsonl"]
    assert [p["kind"] for p in report["problems"]] == ["conservation"]


def test_groups(build: Build, shard: MakeShard, statistics: MakeStatistics) -> None:
    report = build(shard(), shard("b", statistics(ai=9, human=0, unscored=0, host="worst.org")))
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
    hosts = report["hosts"]
    assert (len(hosts["top"]), hosts["distinct"]) == (50, 1_501)
    assert hosts["other"]["documents"] == 2 * (1_500 - 49)
    assert hosts["other"]["ai"]["bytes"] == 10 * (1_500 - 49)
    merged = merge_reports([report, report])["hosts"]
    assert merged["other"]["documents"] == 4 * (1_500 - 49)
    assert merged["distinct_is_minimum"]


def test_speed_counts_what_the_run_did_itself(build: Build, shard: MakeShard) -> None:
    finished = dataclasses.replace(shard("a.jsonl"), earlier_records=11, earlier_text_bytes=11_000)
    begun = dataclasses.replace(shard("b.jsonl"), earlier_records=4, earlier_text_bytes=4_000)
    report = build(finished, begun, shard("c.jsonl"))
    speed = report["throughput"]
    assert (speed["text_bytes"], speed["records"]) == (33_000, 33)
    assert (speed["done_text_bytes"], speed["done_records"]) == (18_000, 18)
    assert (speed["mb_per_second"], speed["records_per_second"]) == (0.009, 9.0)
    assert (report["runs"][0]["text_bytes"], report["runs"][0]["records"]) == (18_000, 18)


def test_the_speed_of_runs_together(build: Build, shard: MakeShard) -> None:
    first, second = shard("a.jsonl"), shard("b.jsonl")
    before = build(first)["runs"]
    done = dataclasses.replace(first, earlier_records=11, earlier_text_bytes=11_000)
    speed = build(done, second, earlier_runs=before)["throughput"]
    assert (speed["done_text_bytes"], speed["mb_per_second"]) == (22_000, 0.0055)
    for run in before:  # As a version wrote it that didn't say.
        del run["text_bytes"]
    assert build(done, second, earlier_runs=before)["throughput"]["done_text_bytes"] == 22_000


def test_merging_equals_one_run(build: Build, shard: MakeShard) -> None:
    one, two = shard("a.jsonl"), shard("b.jsonl")
    merged = merge_reports([json.loads(render_json(build(each))) for each in (one, two)])
    whole = build(one, two)
    timed = {"runs", "throughput", "inputs"}
    for key in set(whole) - timed:
        assert merged[key] == whole[key], key
    assert merged["throughput"]["seconds"] == 4.0
    assert len(merged["runs"]) == 2


def test_merging_different_policies_is_a_problem(build: Build) -> None:
    merged = merge_reports([build(policy_sha256="00"), build(policy_sha256="11")])
    assert [problem["kind"] for problem in merged["problems"]] == ["policy"]


def test_missing_text_names_the_fields_that_there_are(build: Build, shard: MakeShard) -> None:
    problem = Problem(ProblemKind.MISSING_TEXT, "a:1: no field 'text'", 3)
    report = build(shard(problems=(problem,), seen_fields=("body", "id")))
    assert "body, id" in report["problems"][0]["advice"]
    assert "--text-field" in report["problems"][0]["advice"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "lowbg.report/9"}, "lowbg.report/9"),
        ({"schema": None}, "not a lowbg report"),
        ({"counters": None}, "counters are damaged"),
        ({"counters": {**Statistics().to_dict(), "totals": "x"}}, "counters are damaged"),
    ],
)
def test_what_is_no_report_is_refused(build: Build, change: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        merge_reports([build(), {**build(), **change}])


def older(report: Report, sections: tuple[str, ...], counters: tuple[str, ...]) -> Report:
    """The report as versions wrote it that had neither of these."""
    counted = {name: v for name, v in report["counters"].items() if name not in counters}
    return {**{k: v for k, v in report.items() if k not in sections}, "counters": counted}


def test_a_report_from_before_a_section_shows_it_as_it_would_have_been(
    build: Build, tmp_path: Path
) -> None:
    report = build()
    old = older(report, ("second_look", "provenance"), ("second_look", "rules", "values"))
    path = tmp_path / "report.json"
    path.write_bytes(render_json(old))
    read = read_json(path)
    assert read == {**json.loads(render_json(report)), "counters": read["counters"]}
    assert read["second_look"] is None
    assert read["provenance"] == {"rules": [], "values": []}
    assert merge_reports([old, report])["totals"] == merge_reports([report] * 2)["totals"]
    made_again = older(report, ("years",), ())
    path.write_bytes(render_json(made_again))
    assert read_json(path)["years"] == json.loads(render_json(report))["years"] != []


@pytest.mark.parametrize("lost", ["rules", "trust_scores", "host_languages"])
def test_a_report_that_counted_less_names_the_version_that_wrote_it(
    lost: str, build: Build, shard: MakeShard, statistics: MakeStatistics
) -> None:
    report = build(shard(statistics=statistics(trusted=2)))
    report["runs"][0]["version"] = "0.0.7"
    with pytest.raises(FormatError, match=rf"report 1 of 1: it lacks .*\({lost}\); lowbg 0\.0\.7"):
        merge_reports([older(report, (), (lost,))])


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
