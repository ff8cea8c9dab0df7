from __future__ import annotations

import dataclasses
import itertools
import json
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowbg.records import KnownOrigin
from lowbg.report import statistics
from lowbg.report.counting import CountTable
from lowbg.report.statistics import SCORE_BINS, Statistics, StatisticsBatch
from lowbg.schema import AI_SCORE, Columns, linear_bins
from lowbg.scorers.perplexity import PERPLEXITY
from lowbg.storage.typed import compact, to_plain
from lowbg.text.dates import read_dates
from lowbg.text.origins import NO_HOST, hosts

CODES = ("en", "ru", "zh")
REASONS = ("too_short", "no_model")
HOSTS = ["https://a.org/x", "http://www.B.net:80/", "https://c.com", "nonsense", None]
DATES = ["2020-01-02", "2021", "1577836800", None, "soon"]
PHRASES = ["refusal:sorry", "refusal:cannot", "template:hope"]

Document = dict[str, Any]
documents = st.fixed_dictionaries(
    {
        "verdict": st.integers(0, 2),
        "words": st.integers(0, 2_000_000),
        "size": st.integers(0, 2**40),
        "language": st.integers(-1, 2),
        "date": st.sampled_from(DATES),
        "url": st.sampled_from(HOSTS),
        "trusted": st.booleans(),
        "called": st.booleans(),
        "score": st.none() | st.floats(0, 1, width=32),
        "perplexity": st.none() | st.floats(1, 1e6, width=32),
        "phrases": st.lists(st.sampled_from(PHRASES), max_size=4),
        "reason": st.integers(-1, 1),
    }
)


COLUMNS = Columns.of([PERPLEXITY])


def batch(rows: Sequence[Document]) -> StatisticsBatch:
    def column(name: str) -> list[Any]:
        return [row[name] for row in rows]

    return StatisticsBatch(
        verdicts=np.array(column("verdict"), np.int8),
        words=np.array(column("words"), np.int32),
        sizes=np.array(column("size"), np.int64),
        languages=np.array(column("language"), np.int8),
        codes=CODES,
        dates=read_dates(pa.array(column("date"), pa.string())),
        urls=pa.array(column("url"), pa.string()),
        trusted=np.array(column("trusted"), np.bool_),
        called_ai=np.array(column("called"), np.bool_),
        columns={
            "ai_score": pa.array(column("score"), pa.float32()),
            "perplexity": pa.array(column("perplexity"), pa.float32()),
            "phrases": pa.array(column("phrases"), pa.list_(pa.string())),
            "artifacts": pa.array([[] for _ in rows], pa.list_(pa.string())),
        },
        unscored_codes=np.array(column("reason"), np.int8),
        unscored_names=REASONS,
        bins=COLUMNS.bins,
    )


def count(rows: Sequence[Document]) -> Statistics:
    counted = Statistics()
    counted.add(batch(rows))
    return counted


def document(**values: Any) -> Document:
    return {
        "verdict": 0, "words": 100, "size": 1000, "language": 0, "date": None, "url": None,
        "trusted": False, "called": False, "score": None, "perplexity": None, "phrases": [],
        "reason": -1, **values,
    }  # fmt: skip


@given(st.lists(documents, max_size=30), st.lists(st.integers(0, 30), max_size=4), st.randoms())
@settings(max_examples=60, deadline=None)
def test_any_split_and_merge_order_counts_the_same(
    rows: list[Document], cuts: list[int], random: Any
) -> None:
    whole = count(rows)
    places = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    parts = [rows[a:b] for a, b in itertools.pairwise(places)]
    in_batches = Statistics()
    for part in parts:
        in_batches.add(batch(part))
    assert in_batches == whole
    assert compact(to_plain(in_batches)) == compact(to_plain(whole))
    random.shuffle(parts)
    merged = Statistics()
    for part in parts:
        merged.merge(count(part))
    assert merged == whole
    assert compact(to_plain(merged)) == compact(to_plain(whole))


@given(st.lists(documents, min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_matches_a_count_document_by_document(rows: list[Document]) -> None:
    counted = count(rows)
    for verdict, name in enumerate(("human", "ai", "unscored")):
        mine = [row for row in rows if row["verdict"] == verdict]
        measured = counted.measured()[name]
        assert measured["documents"] == len(mine)
        assert measured["bytes"] == sum(row["size"] for row in mine)
        assert measured["words"] == sum(row["words"] for row in mine)
        for phrase in PHRASES:
            found = counted.phrases.to_dict().get(phrase, [0, 0, 0])[verdict]
            assert found == sum(phrase in row["phrases"] for row in mine)
        refusals = counted.phrase_categories.to_dict().get("refusal", [0, 0, 0])[verdict]
        assert refusals == sum(any("refusal" in p for p in row["phrases"]) for row in mine)
        assert counted.histograms["ai_score"][verdict].sum() == sum(
            row["score"] is not None for row in mine
        )
    for table in (counted.languages, counted.years, counted.hosts):
        assert table.counts[:, ::3].sum() == len(rows)
        assert table.counts[:, 1::3].sum() == sum(row["size"] for row in rows)
    assert counted.unscored.to_dict().get("no_model", [0]) == [sum(r["reason"] == 1 for r in rows)]


@given(st.lists(documents, max_size=10))
@settings(max_examples=20, deadline=None)
def test_pickle_and_json_give_it_back(rows: list[Document]) -> None:
    counted = count(rows)
    counted.add_quarantined("cut", 2, 700)
    assert pickle.loads(pickle.dumps(counted)) == counted
    assert Statistics.from_plain(json.loads(compact(to_plain(counted)))) == counted
    other = count(rows)
    assert other != counted


def test_a_pickled_one_counts_on() -> None:
    counted = pickle.loads(pickle.dumps(count([document(url="http://a.org/")])))
    counted.add(batch([document(url=f"http://h{i}.org/") for i in range(40)]))
    assert len(counted.hosts) == 41


def test_quarantined_records_are_counted_apart() -> None:
    counted = count([document()])
    counted.add_quarantined("invalid_json", 3, 90)
    counted.add_quarantined("cut", 1, 10)
    assert counted.documents() == {"human": 1, "ai": 0, "unscored": 0, "quarantined": 4}
    assert counted.measured()["quarantined"] == {"documents": 4, "bytes": 100, "words": 0}
    assert counted.rejected.to_dict() == {"cut": [1, 10], "invalid_json": [3, 90]}


def test_trust_tells_scored_from_unscored_by_the_score() -> None:
    counted = count(
        [
            document(trusted=True, called=True, score=0.9, date="2020-01-01"),
            document(trusted=True, score=0.1, date="2020-01-01"),
            document(trusted=True, called=True, date="2020-01-01"),
            document(verdict=1, called=True, score=0.8, date="2023-01-01"),
            document(verdict=2, date="2023-01-01"),
        ]
    )
    assert counted.trust.to_dict() == {"en/2020": [3, 2, 1, 0, 0], "en/2023": [0, 0, 0, 1, 1]}


def test_trust_scores_are_counted_by_half_units_of_log_odds() -> None:
    counted = count(
        [
            document(trusted=True, score=0.0001, date="2020-01-01"),
            document(trusted=True, score=0.51, date="2020-01-01"),
            document(trusted=True, date="2020-01-01"),
            document(score=0.51, date="2020-01-01"),
            document(verdict=1, score=0.9999, date="2023-01-01"),
            document(verdict=2, date="2023-01-01"),
        ]
    )
    scores = counted.trust_scores.to_dict()
    got = {name: np.flatnonzero(row).tolist() for name, row in scores.items()}
    half = len(SCORE_BINS.edges) + 1
    # ln(0.51 / 0.49) = 0.04: in the bin of 0 … 0.5, the 14th after what lies below −6.5.
    assert got == {"en/2020": [0, 14, half + 14], "en/2023": [2 * half - 1]}


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_host_limit_is_the_same_at_any_batch_size(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(statistics, "MAX_HOSTS", 5)
    rows = [document(url=f"http://h{i % 9}.org/") for i in (0, 0, 8, 3, 1, 1, 6, 2, 8, 7, 5, 0, 4)]
    counted = Statistics()
    for i in range(0, len(rows), size):
        counted.add(batch(rows[i : i + size]))
    documents = {name: row[0] for name, row in counted.hosts.to_dict().items()}
    assert documents == {
        "h0.org": 3, "h8.org": 2, "h3.org": 1, "h1.org": 2, "h6.org": 1, "(other)": 4,
    }  # fmt: skip


def test_sliced_lists_count_their_own_documents() -> None:
    rows = [document(phrases=PHRASES), document(verdict=1, phrases=PHRASES[:1])]
    whole = batch(rows)
    tail = batch(rows[1:])
    sliced = {name: column.slice(1) for name, column in whole.columns.items()}
    counted = Statistics()
    counted.add(dataclasses.replace(tail, columns=sliced))
    assert counted == count(rows[1:])


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Example.COM/a?b#c", "example.com"),
        ("http://www.example.com:8080/", "example.com"),
        ("http://user:p@ss@example.com/x", "example.com"),
        ("http://example.com?q=a/b", "example.com"),
        ("//cdn.example.org/x", "cdn.example.org"),
        ("ftp://[::1]:21/x", "[::1]"),
        ("http://MÜNCHEN.de./", "münchen.de"),
        ("http://h_1.example.com", "h_1.example.com"),
        ("http://", NO_HOST),
        ("http:///path", NO_HOST),
        ("http://[::1", NO_HOST),
        ("http://[", NO_HOST),
        ("http://user@[::1/x", NO_HOST),
        ("just text", NO_HOST),
        ("", NO_HOST),
        (None, NO_HOST),
        ("http://" + "x" * 4000, "x" * 253),
    ],
)
def test_host_of_a_url(url: str | None, host: str) -> None:
    alone = hosts(pa.array([url], pa.string()))
    assert alone.names[alone.codes[0]] == host
    among = hosts(pa.array(["http://a.b/", url, "x"], pa.string()))
    assert among.names[among.codes[1]] == host


def test_bins_hold_their_lower_edge_and_the_last_both() -> None:
    bins = linear_bins("x", 0.0, 1.0, 4)
    values = np.array([-0.1, 0.0, 0.24, 0.25, 0.99, 1.0, 1.1, np.nan])
    counted = bins.count(values, np.zeros(8, np.int64), 1)
    assert counted.tolist() == [[1, 2, 1, 0, 2, 1]]


def test_whole_numbers_and_nulls_are_counted_by_bins() -> None:
    values = pa.array([0, 3, None, 9], pa.int32())
    rows = [document(verdict=v) for v in (0, 0, 1, 2)]
    bins = {"n": linear_bins("n", 0, 4, 2)}
    counted = Statistics()
    counted.add(dataclasses.replace(batch(rows), columns={"n": values}, bins=bins))
    assert counted.histograms["n"].tolist() == [[0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert Statistics.from_plain(to_plain(counted.to_plain())) == counted


def test_other_bins_of_one_column_do_not_add_up() -> None:
    counted = count([document(score=0.5)])
    counted.expect(COLUMNS.bins)
    for bins, message in (
        ({**COLUMNS.bins, AI_SCORE.name: linear_bins("AI", 0, 1, 3)}, "ai_score: counted by other"),
        ({n: b for n, b in COLUMNS.bins.items() if n != "perplexity"}, "perplexity: the bins of"),
    ):
        with pytest.raises(ValueError, match=message):
            counted.expect(bins)


def test_largest_keeps_the_sum() -> None:
    table = CountTable(2)
    table.add(["a", "b", "c", "(other)"], np.array([[1, 9], [5, 0], [3, 3], [7, 7]]))
    assert table.largest(1).to_dict() == {"b": [5, 0], "(other)": [11, 19]}
    assert table.largest(1, (0, 1)).to_dict() == {"a": [1, 9], "(other)": [15, 10]}
    assert table.largest(3).to_dict() == table.to_dict()


def test_hosts_are_counted_by_language_with_the_scores_of_what_is_not_trusted() -> None:
    counted = count(
        [
            document(url="http://a.org/1", trusted=True, called=True, score=0.9),
            document(url="http://a.org/2", score=0.51),
            document(url="http://a.org/3", verdict=1, called=True, score=0.9999, language=1),
            document(url="http://b.org/", verdict=2),
            document(url="nonsense", score=0.5),
        ]
    )
    rows = counted.host_languages.to_dict()
    got = {name: (row[:5], np.flatnonzero(row[5:]).tolist()) for name, row in rows.items()}
    assert got == {"en/a.org": ([1, 1, 1, 1, 0], [14]), "ru/a.org": ([0, 0, 0, 1, 1], [27])}


def test_a_shard_sends_home_its_largest_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "HOSTS_KEPT", 2)
    monkeypatch.setattr(statistics, "HOST_LANGUAGES_KEPT", 1)
    rows = [document(url=f"http://h{i}.org/", score=0.5) for i in (0, 1, 1, 2, 2, 2, 3)]
    whole = count(rows)
    short = whole.shortened()
    hosts = {name: row[0] for name, row in short.hosts.to_dict().items()}
    assert hosts == {"h1.org": 2, "h2.org": 3, "(other)": 2}
    scored = {name: row[3] for name, row in short.host_languages.to_dict().items()}
    assert scored == {"en/h2.org": 3, "(other)": 4}
    assert whole == count(rows)
    short.hosts, short.host_languages = whole.hosts, whole.host_languages
    assert short == whole


@given(st.permutations(range(5)))
@settings(max_examples=20, deadline=None)
def test_shards_add_up_the_same_in_any_order(order: list[int]) -> None:
    shards = [
        count([document(url=f"http://h{i % (k + 2)}.org/", score=0.1 * k) for i in range(12)])
        for k in range(5)
    ]

    def total(places: Sequence[int]) -> bytes:
        merged = Statistics()
        for place in places:
            merged.merge(shards[place].shortened())
        return compact(to_plain(merged))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "HOSTS_KEPT", 2)
        patch.setattr(statistics, "HOST_LANGUAGES_KEPT", 2)
        assert total(order) == total(range(5))


def test_denied_sources_count_neither_as_trusted_nor_as_others() -> None:
    rows = [document(verdict=1, score=0.9), document(verdict=1, score=0.9), document(score=0.1)]
    denied = np.array([True, False, False])
    rules = np.where(denied, 0, -1).astype(np.int32)
    origin = KnownOrigin(np.zeros(3, np.bool_), denied, rules, ["denied source: x"])
    values = {"c2pa": ["c2pa is absent", "c2pa = (object)", "c2pa is absent"]}
    counted = Statistics()
    counted.add(dataclasses.replace(batch(rows), origin=origin, counted=values))
    assert counted.documents()["ai"] == 2
    assert counted.trust.counts[:, 3:].sum(axis=0).tolist() == [2, 1]
    assert int(counted.trust_scores.counts.sum()) == 2
    assert counted.rules.to_dict() == {"denied source: x": [0, 1, 0]}
    assert counted.values.to_dict() == {"c2pa is absent": [1, 1, 0], "c2pa = (object)": [0, 1, 0]}
    assert Statistics.from_plain(counted.to_plain()) == counted


@given(st.lists(documents, max_size=20))
@settings(max_examples=30, deadline=None)
def test_trusted_documents_without_a_score_are_counted_apart(rows: list[Document]) -> None:
    counted = count(rows)
    lacking = [r for r in rows if r["trusted"] and r["verdict"] == 0 and r["score"] is None]
    for table in (
        counted.languages_without_score, counted.years_without_score, counted.hosts_without_score,
    ):  # fmt: skip
        sums = [len(lacking), sum(r["size"] for r in lacking), sum(r["words"] for r in lacking)]
        assert table.counts.sum(axis=0).tolist() == sums
    judged = sum(row["verdict"] != 2 for row in rows)
    assert counted.scored()[0] == judged - len(lacking)


def test_hosts_that_are_not_kept_apart_are_apart_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MAX_HOSTS", 2)
    monkeypatch.setattr(statistics, "HOSTS_KEPT", 1)
    rows = [document(url=f"https://{host}/", trusted=True) for host in "abcacc"]
    counted = count(rows)
    assert counted.hosts_without_score.to_dict() == {
        "(other)": [3, 3000, 300], "a": [2, 2000, 200], "b": [1, 1000, 100],
    }  # fmt: skip
    assert counted.shortened().hosts_without_score.to_dict() == {
        "(other)": [4, 4000, 400], "a": [2, 2000, 200],
    }  # fmt: skip


def test_dates_are_counted_by_what_became_of_them() -> None:
    dates = ["2021-01-01", None, "", "soon", "soon", "1970-01-01", "x" * 60]
    counted = count([document(date=date) for date in dates])
    assert counted.dates.to_dict() == {
        "absent": [2], "not_understood": [3], "placeholder": [1], "read": [1],
    }  # fmt: skip
    assert counted.unread_dates.to_dict() == {"soon": [2], "x" * 40: [1]}
    many = count([document(date=f"no {i:03}") for i in range(50)]).shortened()
    assert many.unread_dates.to_dict() == {
        "(other)": [45], **{f"no {i:03}": [1] for i in range(5)}
    }  # fmt: skip
