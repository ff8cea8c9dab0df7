"""Where and when documents come from: the host of a URL and the year of a date, a batch at a time.

Both come back as codes into a short list of names, in the order of their first appearance, so
that counting by them needs no work per document.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lowbg.arrays import bools, encoded, to_numpy

UNKNOWN_YEAR = "unknown"
NO_HOST = "(no url)"

_MAX_HOST = 253  # RFC 1035; what is longer is not a host, and must not fill a report.

# "//" after an optional scheme, then everything up to the path.
_NETLOC = r"^\s*(?:[A-Za-z][A-Za-z0-9+.\-]*:)?//(?P<netloc>[^/?#]*)"
# Credentials are skipped, the port is cut off; "[::1]" keeps its brackets. A backslash is a slash
# to browsers and crawlers (WHATWG URL): what follows it is no host.
_HOST = re.compile(r"(?:[^?#\\]*@)?(\[[^\]?#\\]*\]|[^:?#\\\s]+)")
# What isn't simply lower-case labels and dots.
_ODD_NETLOC = r"[^a-z0-9.\-_]|\.$|^(?:www\.)?$"
_PLAIN_YEAR = re.compile(r"(?:19|20)\d\d(?!\d)", re.ASCII)
_ANY_YEAR = r"(?:^|[^0-9])(?P<year>(?:19|20)[0-9]{2})(?:[^0-9]|$)"
_DIGITS = r"^[0-9]{6,19}(?:\.[0-9]*)?$"
_COMPACT = (
    r"^(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:(?:0[1-9]|[12][0-9]|3[01])(?:[0-9]{4}(?:[0-9]{2})?)?)?$"
)


@dataclass(frozen=True, slots=True)
class Coded:
    """A name for every document: `names[codes[i]]`; names are distinct, first come first."""

    codes: NDArray[np.int64]
    names: list[str]


def hosts(urls: pa.StringArray) -> Coded:
    """The lower-cased host of each URL, without "www.", credentials and port.

    What has no host (null, a relative path, plain text) is `NO_HOST`.
    """
    usual = bools(pc.or_(pc.starts_with(urls, "https://"), pc.starts_with(urls, "http://")))
    if usual.all():
        return _hosts_of(_netlocs(urls))
    # A regular expression costs ten times as much, so only what is unusual gets one.
    netlocs = np.full(len(urls), None, object)
    if usual.any():
        netlocs[usual] = _netlocs(urls.filter(pa.array(usual))).to_numpy(zero_copy_only=False)
    odd = pc.struct_field(pc.extract_regex(urls.filter(pa.array(~usual)), _NETLOC), [0])
    netlocs[~usual] = odd.to_numpy(zero_copy_only=False)
    return _hosts_of(pa.array(netlocs, pa.string()))


def _netlocs(urls: pa.StringArray) -> pa.StringArray:
    """What stands between "//" and the next slash."""
    # A plain 2 makes Arrow look on disk for pandas, as `to_numpy` would.
    return pc.list_element(pc.split_pattern(urls, "/", max_splits=3), pa.scalar(2))


def _hosts_of(netlocs: pa.StringArray) -> Coded:
    codes, values = encoded(netlocs)
    odd = bools(pc.match_substring_regex(pa.array(values, pa.string()), _ODD_NETLOC), null=True)
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


def years(dates: pa.StringArray) -> Coded:
    """The four-digit year, 1900 … 2099, of each date; `UNKNOWN_YEAR` where there is none.

    Read are dates that start with their year (ISO 8601), compact ones (YYYYMM, YYYYMMDD,
    YYYYMMDDhhmm, YYYYMMDDhhmmss), Unix times in s, ms, µs or ns, and text that holds a year
    ("15 Nov 1994"). Of twelve digits, those that make a compact date are one.
    """
    # Five characters tell an ISO date, and there are few distinct ones in a batch.
    codes, heads = encoded(pc.utf8_slice_codeunits(dates, 0, 5))
    names = [_plain_year(head) for head in heads]
    rest = np.array([name is None for name in names], np.bool_)[codes]
    filled = [name or UNKNOWN_YEAR for name in names]
    if rest.any():
        known = len(filled)
        spelled = _odd_years(dates.filter(pa.array(rest)))
        filled += spelled.names
        codes = codes.copy()
        codes[rest] = known + spelled.codes
    return _merge_equal(codes, filled)


def _plain_year(head: str | None) -> str | None:
    """The year at the start of `head`, unknown for null, null where more must be looked at."""
    if head is None:
        return UNKNOWN_YEAR
    match = _PLAIN_YEAR.match(head)
    return match.group() if match else None


def _odd_years(dates: pa.StringArray) -> Coded:
    """The years of dates that don't start with a year and something that is no digit."""
    result = np.full(len(dates), UNKNOWN_YEAR, object)
    digits = bools(pc.match_substring_regex(dates, _DIGITS))
    if digits.any():
        whole = pc.list_element(pc.split_pattern(dates.filter(pa.array(digits)), "."), 0)
        compact = bools(pc.match_substring_regex(whole, _COMPACT))
        lengths = to_numpy(pc.utf8_length(whole)).astype(np.int64)
        numbers = to_numpy(pc.cast(whole, pa.uint64()))
        spelled = np.asarray(pc.utf8_slice_codeunits(whole, 0, 4).to_numpy(zero_copy_only=False))
        result[digits] = np.where(compact, spelled.astype(str), _epoch_years(numbers, lengths))
    if not digits.all():
        text = dates.filter(pa.array(~digits))
        found = pc.struct_field(pc.extract_regex(text, _ANY_YEAR), [0])
        result[~digits] = pc.fill_null(found, UNKNOWN_YEAR).to_numpy(zero_copy_only=False)
    codes, names = encoded(pa.array(result, pa.string()))
    return Coded(codes, [name or UNKNOWN_YEAR for name in names])


def _epoch_years(numbers: NDArray[np.uint64], lengths: NDArray[np.int64]) -> NDArray[np.str_]:
    """The years of Unix times whose unit is told by their number of digits."""
    # From 1973-03 (s) and 1970-04 (ms, µs, ns) to 2286, the digits tell the units apart.
    power = np.select([lengths <= 10, lengths <= 13, lengths <= 16], [0, 3, 6], 9)
    seconds = (numbers // np.uint64(10) ** power.astype(np.uint64)).astype(np.int64)
    year = seconds.astype("datetime64[s]").astype("datetime64[Y]").astype(np.int64) + 1970
    good = (lengths >= 9) & (year >= 1900) & (year <= 2099)
    return np.where(good, year.astype(str), UNKNOWN_YEAR)


def _merge_equal(codes: NDArray[np.int64], names: list[str]) -> Coded:
    """Names made distinct, in the order in which documents first carry them."""
    if len(set(names)) == len(names):
        return Coded(codes, names)
    slots: dict[str, int] = {}
    moved = [slots.setdefault(name, len(slots)) for name in names]
    return Coded(np.asarray(moved, np.int64)[codes], list(slots))
