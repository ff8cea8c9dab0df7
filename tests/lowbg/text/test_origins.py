"""The host of a URL is the same whatever the batch is that it comes in."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowbg.text import origins
from lowbg.text.origins import NO_HOST, Coded, hosts

STARTS = st.sampled_from(["http://", "https://", "//", " ftp://", "\vhttp://", "http:", ""])
HOSTS = st.sampled_from(["a.org", "A.ORG", "www.com", "www.", "[::1]", "[", "b.a.org.", "x" * 300])
RESTS = st.sampled_from(["", ":80", "/p", "?q", "#f", "\\", "\n", " ", "é", "\x1c", "@c.org"])
URLS = st.none() | st.text(max_size=8) | st.tuples(STARTS, HOSTS, RESTS, RESTS).map("".join)


def named(found: Coded) -> list[str]:
    return [found.names[code] for code in found.codes.tolist()]


@settings(deadline=None)
@given(st.lists(URLS, min_size=1, max_size=8))
def test_few_and_many_have_the_same_hosts(urls: list[str | None]) -> None:
    many = urls * (origins._FEW + 1)
    whole = hosts(pa.array(many, pa.string()))
    few = hosts(pa.array(urls, pa.string()))
    assert named(whole) == named(few) * (origins._FEW + 1)
    assert whole.names == few.names  # In the order in which they come.


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.Example.ORG:8080/a", "example.org"),
        ("http://user:word@a.org", "a.org"),
        ("//a.org/b", "a.org"),
        ("www.com", NO_HOST),
        ("http://www.com/", "www.com"),
        ("http://[::1]:80/", "[::1]"),
        ("http://a.org.", "a.org"),
        ("", NO_HOST),
        (None, NO_HOST),
    ],
)
def test_what_a_host_is(url: str | None, host: str) -> None:
    assert named(hosts(pa.array([url], pa.string()))) == [host]
