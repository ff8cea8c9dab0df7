"""Where and when documents come from: the host of a URL and the year of a date, a batch at a time.

Both come back as codes into a short list of names, so that counting by them needs no work per
document.
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

from lowbg.arrays import bools, column_of, strings_of, to_numpy
from lowbg.text.dates import FIRST_YEAR, Dates

UNKNOWN_YEAR = "unknown"
NO_HOST = "(no url)"

_MAX_HOST = 253  # RFC 1035; what is longer is not a host, and must not fill a report.

# "//" after an optional scheme, then everything up to the path.
_NETLOC = r"^[\t\n\f\r ]*(?:[A-Za-z][A-Za-z0-9+.\-]*:)?//(?P<netloc>[^/?#]*)"
# Credentials are skipped, the port is cut off; "[::1]" keeps its brackets, and one that isn't
# closed begins no host. A backslash is a slash to browsers and crawlers (WHATWG URL): what follows
# it is no host.
_HOST = re.compile(r"(?:[^?#\\]*@)?+(\[[^\]?#\\]*\]|(?!\[)[^:?#\\\s]+)")
# What isn't simply lower-case labels and dots.
_ODD_NETLOC = r"[^a-z0-9.\-_]|\.$|^(?:www\.)?$"

# What Arrow reads them as.
_ONE_NETLOC = re.compile(_NETLOC)
_ONE_ODD_NETLOC = re.compile(_ODD_NETLOC)

_FEW = 64
"""Up to so many URLs are looked at one by one: a pass over all has its price, however few."""


class Coded(Struct, frozen=True):
    """A name for every document: `names[codes[i]]`; names are distinct."""

    codes: NDArray[np.int64]
    names: list[str]


def hosts(urls: pa.StringArray) -> Coded:
    """The lower-cased host of each URL, without "www.", credentials and port.

    What has no host (null, a relative path, plain text) is `NO_HOST`.
    """
    if urls.null_count == len(urls):
        return Coded(np.zeros(len(urls), np.int64), [NO_HOST] if len(urls) else [])
    if len(urls) <= _FEW:
        return _hosts_one_by_one(urls)
    import pyarrow.compute as pc

    usual = bools(pc.or_(pc.starts_with(urls, "https://"), pc.starts_with(urls, "http://")))
    if usual.all():
        return _hosts_of(_netlocs(urls))
    # A regular expression costs ten times as much, so only what is unusual gets one.
    netlocs = np.full(len(urls), None, object)
    if usual.any():
        netlocs[usual] = _netlocs(urls.filter(column_of(usual))).to_pylist()
    odd = pc.struct_field(pc.extract_regex(urls.filter(column_of(~usual)), _NETLOC), [0])
    netlocs[~usual] = odd.to_pylist()
    return _hosts_of(strings_of(netlocs.tolist(), pa.string()))


def _hosts_one_by_one(urls: pa.StringArray) -> Coded:
    """The same, in less time where there are few."""
    slots: dict[str, int] = {}
    codes = [slots.setdefault(_host_of(url), len(slots)) for url in urls.to_pylist()]
    return Coded(np.array(codes, np.int64), list(slots))


def _host_of(url: str | None) -> str:
    netloc = None
    if url is not None and url.startswith(("https://", "http://")):
        netloc = url.split("/", 3)[2]
    elif url is not None and (match := _ONE_NETLOC.match(url)):
        netloc = match["netloc"]
    if not netloc or _ONE_ODD_NETLOC.search(netloc):
        return _host_name(netloc)
    return without_www(netloc)[:_MAX_HOST]


def _netlocs(urls: pa.StringArray) -> pa.StringArray:
    """What stands between "//" and the next slash."""
    import pyarrow.compute as pc

    parts = pc.split_pattern(urls, "/", max_splits=3)
    # Not by `list_element`: its index is a scalar, and to make one imports pandas.
    return parts.values.take(column_of(to_numpy(parts.offsets)[:-1] + np.int32(2)))


def _hosts_of(netlocs: pa.StringArray) -> Coded:
    import pyarrow.compute as pc

    found = netlocs.dictionary_encode(null_encoding="encode")
    codes, values = to_numpy(found.indices).astype(np.int64), found.dictionary.to_pylist()
    odd = bools(pc.match_substring_regex(found.dictionary, _ODD_NETLOC), null=True)
    names = [without_www(value)[:_MAX_HOST] if value else NO_HOST for value in values]
    for i in np.flatnonzero(odd).tolist():
        names[i] = _host_name(values[i])
    return _merge_equal(codes, names)


def _host_name(netloc: str | None) -> str:
    match = _HOST.match(netloc) if netloc else None
    if match is None:
        return NO_HOST
    return without_www(match[1].lower().rstrip("."))[:_MAX_HOST] or NO_HOST


def without_www(host: str) -> str:
    """The host without "www.", unless just a top-level domain would be left, as of `www.com`."""
    bare = host.removeprefix("www.")
    return bare if "." in bare else host


def years(dates: Dates) -> Coded:
    """The year of each date, `UNKNOWN_YEAR` where there is none."""
    codes = np.maximum(dates.years() - (FIRST_YEAR - 1), 0)
    present = np.flatnonzero(np.bincount(codes))
    names = [str(FIRST_YEAR - 1 + code) if code else UNKNOWN_YEAR for code in present.tolist()]
    return Coded(np.searchsorted(present, codes), names)


def _merge_equal(codes: NDArray[np.int64], names: list[str]) -> Coded:
    """Names made distinct, in the order in which documents first carry them."""
    if len(set(names)) == len(names):
        return Coded(codes, names)
    slots: dict[str, int] = {}
    moved = [slots.setdefault(name, len(slots)) for name in names]
    return Coded(np.asarray(moved, np.int64)[codes], list(slots))
