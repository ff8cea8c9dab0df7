"""Which source a document is of: a registered domain, a host, a path prefix, or a field's value."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.arrays import encoded
from lowbg.errors import ConfigError
from lowbg.records import LIST, OBJECT, Metadata
from lowbg.text.origins import NO_HOST, Coded, hosts

DOMAIN: Final = "domain"
HOST: Final = "host"
PATH: Final = "path"
FIELD: Final = "field"

MAX_NAME: Final = 300
"""Characters of a source's name; what is longer is cut."""

_DOMAINS_REMEMBERED: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class SourceBy:
    """What makes documents be of one source; `spelled` as a policy has it.

    `segments` of a path belong to the name after the host; `field` is the record's field.
    """

    kind: str
    segments: int = 0
    field: str = ""

    @classmethod
    def parse(cls, text: str) -> SourceBy:
        """`domain`, `host`, `path:N` or `field:NAME`. Raises `ConfigError` for anything else."""
        kind, colon, rest = text.partition(":")
        if kind in (DOMAIN, HOST) and not colon:
            return cls(kind)
        if kind == PATH and rest.isdecimal() and 1 <= int(rest) <= 20:
            return cls(kind, segments=int(rest))
        if kind == FIELD and rest.strip():
            return cls(kind, field=rest.strip())
        raise ConfigError(
            f"sources.by is {text!r}; it must be domain, host, path:N (N from 1 to 20) or "
            "field:NAME",
            key="sources.by",
        )

    @property
    def spelled(self) -> str:
        """As `parse` takes it."""
        if self.kind == PATH:
            return f"{PATH}:{self.segments}"
        return f"{FIELD}:{self.field}" if self.kind == FIELD else self.kind

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that have to be read beside the URL."""
        return (self.field,) if self.kind == FIELD else ()

    def of(self, metadata: Metadata) -> Coded:
        """The source of every document, the code −1 where it has none.

        A registered domain is the public suffix and one label more: private suffixes (blog hosts)
        count as suffixes; an address in numbers, or a host that is itself a suffix, is its own
        source. A value that is no single one is no source.
        """
        if self.kind == FIELD:
            return _named(metadata.others[self.field])
        found = hosts(metadata.url)
        if self.kind == PATH:
            return _with_paths(found, metadata.url, self.segments)
        if self.kind == HOST:
            return _without(found, NO_HOST)
        names = [name if name == NO_HOST else registered_domain(name) for name in found.names]
        return _without(_joined(found.codes, names), NO_HOST)


def _named(column: pa.StringArray) -> Coded:
    codes, values = encoded(column)
    none = (None, "", OBJECT, LIST)
    names = [NO_HOST if value in none else str(value)[:MAX_NAME] for value in values]
    return _without(_joined(codes, names), NO_HOST)


def _with_paths(found: Coded, urls: pa.StringArray, segments: int) -> Coded:
    """Host and the first segments of the path, without a query."""
    import pyarrow.compute as pc

    bare = pc.replace_substring_regex(urls, r"[?#].*$", "")
    parts = pc.split_pattern(bare, "/", max_splits=3 + segments)
    lengths = pc.list_value_length(parts)
    path: pa.StringArray = pa.array([""] * len(urls), pa.string())
    for i in range(3, 3 + segments):
        there = pc.greater(lengths, i)
        # A list that is too short would be an error: it is asked for an element that it has.
        own = pc.if_else(there, parts, pa.scalar([""] * (i + 1), parts.type))
        segment = pc.fill_null(pc.list_element(own, pa.scalar(i)), "")
        joined = pc.binary_join_element_wise(path, segment, "/")
        path = pc.if_else(pc.equal(segment, ""), path, joined)
    codes, paths = encoded(path)
    keys = found.codes * len(paths) + codes
    distinct, own_codes = np.unique(keys, return_inverse=True)
    names = []
    for key in distinct.tolist():
        host, at = found.names[key // len(paths)], paths[key % len(paths)]
        names.append(NO_HOST if host == NO_HOST else f"{host}{at or ''}"[:MAX_NAME])
    return _without(_joined(own_codes.astype(np.int64), names), NO_HOST)


def _joined(codes: NDArray[np.int64], names: list[str]) -> Coded:
    """Names made distinct."""
    slots: dict[str, int] = {}
    moved = [slots.setdefault(name, len(slots)) for name in names]
    return Coded(np.asarray(moved, np.int64)[codes] if moved else codes, list(slots))


def _without(found: Coded, none: str) -> Coded:
    """With −1 for the documents that have no name."""
    if none not in found.names:
        return found
    at = found.names.index(none)
    codes = np.where(found.codes == at, -1, found.codes - (found.codes > at))
    return Coded(codes, [name for name in found.names if name != none])


_domains: dict[str, str] = {}


def registered_domain(host: str) -> str:
    """The registered domain of a host by the public suffix list; remembered."""
    known = _domains.get(host)
    if known is None:
        if len(_domains) >= _DOMAINS_REMEMBERED:
            _domains.clear()
        known = _domains[host] = _look_up(host)
    return known


def _look_up(host: str) -> str:
    if host.startswith("[") or host.rpartition(".")[2].isdecimal():
        return host
    spelled = host if host.isascii() else _in_ascii(host)
    found = _suffixes().privatesuffix(spelled)
    if found is None:
        return host
    # As many labels of the host as it was written.
    return ".".join(host.split(".")[-(found.count(".") + 1) :])


def _in_ascii(host: str) -> str:
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


class _Suffixes(Protocol):
    def privatesuffix(self, domain: str) -> str | None: ...


@cache
def _suffixes() -> _Suffixes:
    """The list, as the package has it: nothing is fetched."""
    from publicsuffixlist import PublicSuffixList

    made: _Suffixes = PublicSuffixList()
    return made


def suffix_list_version() -> str:
    """The version of the public suffix list that the package holds."""
    from importlib.metadata import version

    return version("publicsuffixlist")
