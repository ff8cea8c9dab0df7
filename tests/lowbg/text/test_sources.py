from __future__ import annotations

import pyarrow as pa
import pytest

from lowbg.errors import ConfigError
from lowbg.records import Metadata
from lowbg.text.sources import SourceBy, registered_domain

URLS = (
    "https://a.b.example.co.uk/x/y?z",
    "http://foo.github.io/p/q/r",
    "http://www.github.io/",
    "https://1.2.3.4/x",
    None,
    "https://München.de/a#b",
    "//h.org/a/b",
    "junk",
    "https://www.foo.com",
)


def named(by: str) -> list[str | None]:
    nulls = pa.nulls(len(URLS), pa.string())
    author = pa.array(["ann", "(object)", "", None, *("bob" for _ in URLS[4:])], pa.string())
    metadata = Metadata(nulls, nulls, nulls, pa.array(URLS, pa.string()), {"author": author})
    found = SourceBy.parse(by).of(metadata)
    assert len(set(found.names)) == len(found.names)
    return [None if code < 0 else found.names[code] for code in found.codes.tolist()]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        (
            "domain",
            ["example.co.uk", "foo.github.io", "github.io", "1.2.3.4", None, "münchen.de",
             "h.org", None, "foo.com"],
        ),
        (
            "host",
            ["a.b.example.co.uk", "foo.github.io", "github.io", "1.2.3.4", None, "münchen.de",
             "h.org", None, "foo.com"],
        ),
        (
            "path:1",
            ["a.b.example.co.uk/x", "foo.github.io/p", "github.io", "1.2.3.4/x", None,
             "münchen.de/a", "h.org/a", None, "foo.com"],
        ),
        (
            "path:2",
            ["a.b.example.co.uk/x/y", "foo.github.io/p/q", "github.io", "1.2.3.4/x", None,
             "münchen.de/a", "h.org/a/b", None, "foo.com"],
        ),
        ("field:author", ["ann", None, None, None, *("bob" for _ in URLS[4:])]),
    ],
)  # fmt: skip
def test_documents_have_sources(by: str, expected: list[str | None]) -> None:
    assert named(by) == expected
    assert SourceBy.parse(SourceBy.parse(by).spelled) == SourceBy.parse(by)


@pytest.mark.parametrize("by", ["", "domains", "host:1", "path", "path:0", "path:x", "field:"])
def test_anything_else_is_refused(by: str) -> None:
    with pytest.raises(ConfigError, match="must be domain, host, path:N"):
        SourceBy.parse(by)


def test_private_suffixes_are_suffixes() -> None:
    assert registered_domain("a.b.blogspot.com") == "b.blogspot.com"
    assert registered_domain("a.b.example.com") == "example.com"
    assert registered_domain("[::1]") == "[::1]"
