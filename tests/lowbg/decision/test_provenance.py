"""What is known of documents by date, field and source, whatever their text says."""

from __future__ import annotations

import datetime as dt
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowbg.config import FieldNames, Policy, Provenance, RunConfig, as_dict
from lowbg.decision.policy import parse_policy, read_sources
from lowbg.decision.provenance import ProvenanceJudge, SourcePatterns, counted_values
from lowbg.errors import ConfigError
from lowbg.formats import open_reader
from lowbg.records import LIST, OBJECT, Metadata
from lowbg.text.dates import read_dates


def metadata(
    urls: list[str | None],
    dates: list[str | None] | None = None,
    **others: list[str | None],
) -> Metadata:
    nothing = pa.nulls(len(urls), pa.string())
    return Metadata(
        id=nothing,
        language=nothing,
        date=pa.array(dates, pa.string()) if dates else nothing,
        url=pa.array(urls, pa.string()),
        others={name: pa.array(values, pa.string()) for name, values in others.items()},
    )


@pytest.mark.parametrize(
    ("pattern", "url", "listed"),
    [
        ("example.org", "https://example.org/a", True),
        ("example.org", "https://www.example.org/a", True),
        ("example.org", "http://blog.example.org:8080/a", True),
        ("example.org", "https://notexample.org/", False),
        ("example.org", "https://example.org.evil.net/", False),
        ("example.org", "https://evil.net/example.org", False),
        ("WWW.Example.org", "https://EXAMPLE.ORG", True),
        ("https://example.org", "https://example.org/a", True),
        ("*.example.org", "https://a.example.org/", True),
        ("*.example.org", "https://example.org/", False),
        ("*.gov.??", "https://data.gov.uk/", True),
        ("*.gov.??", "https://data.gov/", False),
        ("example.org/blog/*", "https://example.org/blog/1", True),
        ("example.org/blog/*", "https://example.org/news/1", False),
        ("example.org/Blog/*", "https://example.org/blog/1", False),
        ("example.org/blog/", "https://example.org/blog/1?x=2", True),
        ("example.org/blog/", "https://sub.example.org/blog/1", False),
        ("*/wp-json/*", "https://example.org/wp-json/v2", True),
        ("example.org", None, False),
        ("example.org", "example.org", True),
        ("example.org", "Blog.example.org:80/a", True),
        ("example.org/a/", "example.org/a/1", True),
        ("example.org", "evil-example.org/", False),
        ("example.org", "by example.org", False),
        ("*", "", False),
        ("*", "no url", False),
        ("example.org", "https://user:pw@example.org/", True),
        ("example.org", "https://example.org@evil.net/", False),
        ("evil.net", "https://evil.net\\@example.org/", True),
        ("example.org", "https://evil.net\\@example.org/", False),
        ("example.org", "https://evil.net?@example.org/", False),
        ("example.org", "https://example.org./", True),
        ("example.org", "https://ex%61mple.org/", True),
        (".example.org", "https://example.org/", True),
        ("www.com", "https://www.com/", True),
        ("www.com", "https://evil.com/", False),
        ("www.com", "https://blog.www.com/", True),
        ("b\u00fccher.example", "https://xn--bcher-kva.example/", True),
        ("xn--bcher-kva.example", "https://a.B\u00dcCHER.example/", True),
        ("*.b\u00fccher.example", "https://a.xn--bcher-kva.example/", True),
        ("example.org", "https://\uff45xample\u3002org/", True),
        ("[2001:db8::1]", "https://[2001:DB8::1]:443/a", True),
        ("[2001:db8::1]", "https://2/", False),
        ("*.example.org/blog/*", "https://a.example.org/blog/1", True),
        ("*.example.org/blog/*", "https://evil.net/a.example.org/blog/1", False),
        ("example.org/blog/", "https://example.org?u=/blog/1", False),
        ("example.org/blog/", "https://example.org/%62log/1", True),
        ("example.org/blog/", "https://example.org//blog/1", True),
        ("example.org/blog/", "https://example.org\\blog/1", True),
    ],
)
def test_which_urls_a_pattern_stands_for(pattern: str, url: str | None, listed: bool) -> None:
    found = SourcePatterns([pattern]).match(pa.array([url, None], pa.string()))
    assert (found[0] is not None, found[1]) == (listed, None)


@pytest.mark.parametrize(
    "pattern",
    [
        "", "  ", "https://", "two words.org", "/path", "a.org,b.org", "a.org:80", "me@a.org", ".",
    ],
)  # fmt: skip
def test_what_is_no_source(pattern: str) -> None:
    with pytest.raises(ConfigError, match="is no source"):
        SourcePatterns([pattern])


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_pattern_and_url_match_or_not(pattern: str, url: str) -> None:
    try:
        patterns = SourcePatterns([pattern])
    except ConfigError:
        return
    url = url.encode("utf-8", "replace").decode()
    assert len(patterns.match(pa.array([url, f"https://{url}"], pa.string()))) == 2


def test_rules_in_their_order() -> None:
    provenance = Provenance(
        fields={"license": ("CC-BY-*", "CC0"), "seen": ("true",)},
        allow_sources=("good.org",),
        deny_sources=("farm.example", "good.org/ai/"),
    )
    judge = ProvenanceJudge(Policy(trust_before=dt.date(2022, 11, 30), provenance=provenance))
    documents = metadata(
        ["https://farm.example/1", "https://good.org/1", "https://good.org/ai/1", None, None, None],
        ["2020-01-01", "2024-01-01", "2024-01-01", "2020-01-01", None, None],
        license=[None, "CC-BY-4.0", "CC0", "CC0", "CC-BY-SA", "MIT"],
        seen=["true", None, None, None, None, None],
    )
    known = judge.know(documents, read_dates(documents.date))
    reasons = [known.reason(i) if known.rules[i] >= 0 else None for i in range(6)]
    assert reasons == [
        "denied source: farm.example",
        "license=CC-BY-*",
        "denied source: good.org/ai/",
        "dated before 2022-11-30",
        "license=CC-BY-*",
        None,
    ]
    assert known.denied.tolist() == [True, False, True, False, False, False]
    assert known.trusted.tolist() == [False, True, False, True, True, False]


def test_nothing_is_known_without_metadata() -> None:
    judge = ProvenanceJudge(Policy(trust_before=dt.date(2022, 11, 30)))
    assert judge.know(None, read_dates(pa.nulls(3, pa.string()))).rules.tolist() == [-1] * 3


VALUES = [True, 3, 2.5, "text", None, {"a": 1}, [1]]
SPELLED = ["true", "3", "2.5", "text", None, OBJECT, LIST]


def test_other_fields_of_lines_and_rows_are_spelled_alike(tmp_path: Path) -> None:
    config = RunConfig(FieldNames(others=("m.x",)))
    lines = "".join(json.dumps({"text": "t", "m": {"x": value}}) + "\n" for value in VALUES)
    (batch,) = open_reader(io.BytesIO(lines.encode()), config, "a")
    assert batch.metadata.others["m.x"].to_pylist() == SPELLED
    for value, spelled in zip(VALUES, SPELLED, strict=True):
        column = pa.array([value, None], pa.string() if value is None else None)
        table = pa.table({"text": ["a", "b"], "m": pa.StructArray.from_arrays([column], ["x"])})
        path = tmp_path / "a.parquet"
        pq.write_table(table, path)
        reader = open_reader(path, config, "a")
        (batch,) = reader
        reader.close()
        assert batch.metadata.others["m.x"].to_pylist() == [spelled, None]


def test_counted_values_name_absence() -> None:
    found = counted_values(metadata([None, None], c2pa=[OBJECT, None]), ["c2pa", "elsewhere"])
    assert found == {"c2pa": [f"c2pa = {OBJECT}", "c2pa is absent"]}


def test_the_policy_reads_what_its_provenance_looks_at() -> None:
    policy = Policy(provenance=Provenance(fields={"a": ("x",)}, count_fields=("b", "a")))
    config = RunConfig(FieldNames(others=("c",)), policy)
    assert config.read_fields.others == ("c", "a", "b")


def test_lists_of_sources_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("# farms\na.net\n\nb.net # the worst\n")
    text = '[trust]\ndeny_sources = ["c.net", "@hosts"]\n[trust.fields]\n"m.l" = "CC0"\n'
    policy = parse_policy(text, folder=tmp_path)
    assert policy.provenance.deny_sources == ("c.net", "a.net", "b.net")
    assert policy.provenance.fields == {"m.l": ("CC0",)}
    with pytest.raises(ConfigError, match="missing: the list of sources cannot be read"):
        read_sources(["@missing"], tmp_path)
    (tmp_path / "hosts").write_text("# rules\nfine.net\n[Adblock Plus 2.0]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"hosts:3: '\[Adblock Plus 2.0\]' is no source"):
        read_sources(["@hosts"], tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[trust]\nallow_source = []", "did you mean 'allow_sources'"),
        ("[trust]\nallow_sources = 3", "must be text, or a list of texts"),
        ('[trust]\ndeny_sources = ["a b"]', "trust.deny_sources: 'a b' is no source"),
        ("[trust.fields]\nx = 1", "trust.fields.x is 1"),
    ],
)
def test_bad_provenance_in_a_policy(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_policy(text)


def test_a_long_list_is_reported_by_its_digest() -> None:
    short, long = ("a.net",), tuple(f"h{i}.net" for i in range(101))
    values = as_dict(Policy(provenance=Provenance(allow_sources=short, deny_sources=long)))
    assert values["provenance"]["allow_sources"] == ["a.net"]
    assert values["provenance"]["deny_sources"]["patterns"] == 101
    other = as_dict(Policy(provenance=Provenance(deny_sources=(*long[:-1], "x.net"))))
    digests = [v["provenance"]["deny_sources"]["sha256"] for v in (values, other)]
    assert digests[0] != digests[1]
