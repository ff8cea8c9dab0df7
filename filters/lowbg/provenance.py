"""What is known of documents by where they come from: dates, fields and sources, not text.

A document of a denied source is AI whatever else is known of it: who denies a source doesn't
believe its dates either. Otherwise a date before the cut-off, a trusted field or an allowed source
makes it human, and is what is said of it, in this order.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lowbg.config import Policy
from lowbg.errors import ConfigError
from lowbg.origins import NO_HOST, hosts
from lowbg.records import Metadata

_SCHEME = re.compile(r"[a-z][a-z0-9+.\-]*://", re.IGNORECASE)
_WILD = re.compile(r"[*?\[]")
_MAX_VALUE = 100


@dataclass(frozen=True, slots=True)
class KnownOrigin:
    """What provenance says of a batch's documents.

    `trusted` and `denied` exclude each other. `rules` indexes `names`, −1 where nothing is known:
    the rule that told, as reasons and the report spell it.
    """

    trusted: NDArray[np.bool_]
    denied: NDArray[np.bool_]
    rules: NDArray[np.int32]
    names: Sequence[str]

    def reason(self, i: int) -> str:
        """The rule that told of document i."""
        return str(self.names[self.rules[i]])


class SourcePatterns:
    """A list of sources: which hosts and addresses are on it.

    A plain host stands for itself and the hosts below it: `example.org`, also `blog.example.org`.
    With `*`, `?` or `[…]` it is a glob of whole hosts. A pattern with a slash is a glob of host and
    path, `example.org/blog/*`; one that ends with a slash stands for all that begins so. Schemes,
    `www.` and the case of hosts don't matter. Raises `ConfigError` for a pattern that is none.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._hosts: set[str] = set()
        globs: list[tuple[str, re.Pattern[str]]] = []
        addresses: list[tuple[str, re.Pattern[str]]] = []
        for given in patterns:
            pattern = _plain(given)
            host, slash, path = pattern.partition("/")
            if slash:
                glob = f"{pattern}*" if pattern.endswith("/") else pattern
                addresses.append((f"{host}/{path}", _compiled(glob)))
            elif _WILD.search(pattern):
                globs.append((pattern, _compiled(pattern)))
            else:
                self._hosts.add(pattern)
        self._globs = tuple(globs)
        self._addresses = tuple(addresses)
        self._of_host = lru_cache(maxsize=1 << 16)(self._match_host)

    def __bool__(self) -> bool:
        return bool(self._hosts or self._globs or self._addresses)

    def match(self, urls: pa.StringArray) -> list[str | None]:
        """The pattern that each URL is on the list by; null where it isn't."""
        coded = hosts(urls)
        by_host = [self._of_host(name) for name in coded.names]
        found = [by_host[code] for code in coded.codes.tolist()]
        if self._addresses:
            for i, url in enumerate(urls.to_pylist()):
                host = coded.names[coded.codes[i]]
                if found[i] is None and url and host != NO_HOST:
                    found[i] = self._match_address(host + _path(url))
        return found

    def _match_host(self, host: str) -> str | None:
        name = host
        while name:
            if name in self._hosts:
                return name
            name = name.partition(".")[2]
        return next((p for p, glob in self._globs if glob.match(host)), None)

    def _match_address(self, address: str) -> str | None:
        return next((p for p, glob in self._addresses if glob.match(address)), None)


def _plain(given: str) -> str:
    pattern = _SCHEME.sub("", given.strip(), count=1)
    host, slash, path = pattern.partition("/")
    host = host.lower().removeprefix("www.").rstrip(".")
    if not host or any(c.isspace() for c in host):
        raise ConfigError(
            f"{given!r} is no source; write a host, a glob (*.example.org) or host/path"
        )
    return f"{host}{slash}{path}"


def _compiled(glob: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(glob))


def _path(url: str) -> str:
    rest = url.strip().partition("//")[2]
    slash = rest.find("/")
    return rest[slash:] if slash >= 0 else "/"


class ProvenanceJudge:
    """Applies a policy's provenance to batches."""

    def __init__(self, policy: Policy) -> None:
        self._before = policy.trust_before
        provenance = policy.provenance
        self._fields = {
            name: [(f"{name}={glob}", _compiled(glob)) for glob in globs]
            for name, globs in provenance.fields.items()
        }
        self._allowed = SourcePatterns(provenance.allow_sources)
        self._denied = SourcePatterns(provenance.deny_sources)

    def know(self, metadata: Metadata | None, n: int) -> KnownOrigin:
        """What is known of `n` documents; of documents without metadata, nothing."""
        rules = np.full(n, -1, np.int32)
        denied = np.zeros(n, np.bool_)
        names: dict[str, int] = {}
        if metadata is not None and n:
            if self._denied:
                _apply(rules, names, "denied source: {}", self._denied.match(metadata.url))
                denied = rules >= 0
            if self._before is not None:
                dated = trusted_by_date(metadata, self._before, n) & (rules < 0)
                rules[dated] = names.setdefault(f"dated before {self._before}", len(names))
            for name, globs in self._fields.items():
                if name in metadata.others:
                    found = _by_value(metadata.others[name], globs)
                    _apply(rules, names, "{}", found)
            if self._allowed:
                _apply(rules, names, "allowed source: {}", self._allowed.match(metadata.url))
        return KnownOrigin((rules >= 0) & ~denied, denied, rules, list(names))


def _by_value(
    column: pa.StringArray, globs: Sequence[tuple[str, re.Pattern[str]]]
) -> list[str | None]:
    """The first rule whose glob each value matches; null where none does."""
    encoded = column.dictionary_encode()
    by_value = [
        next((rule for rule, glob in globs if glob.match(value)), None)
        for value in encoded.dictionary.to_pylist()
    ]
    return [None if code is None else by_value[code] for code in encoded.indices.to_pylist()]


def _apply(
    rules: NDArray[np.int32], names: dict[str, int], form: str, found: Sequence[str | None]
) -> None:
    """Notes what was found where nothing is known yet."""
    for i, name in enumerate(found):
        if name is not None and rules[i] < 0:
            rules[i] = names.setdefault(form.format(name), len(names))


def trusted_by_date(metadata: Metadata | None, before: dt.date | None, n: int) -> NDArray[np.bool_]:
    """Which documents are dated earlier than `before`: human by provenance.

    A date counts when it starts with YYYY-MM-DD (ISO 8601), or YYYY-MM or YYYY, which stand for
    their last day; anything else is not trusted.
    """
    if before is None or metadata is None:
        return np.zeros(n, np.bool_)
    iso = pc.fill_null(
        pc.extract_regex(
            metadata.date, r"^(?P<date>(?:19|20)\d\d(?:-\d\d(?:-\d\d)?)?)(?:[T ].*)?$"
        ).field("date"),
        "",
    )
    # "2022" and "2022-11" stand for their last day. Comparing text compares dates.
    lengths = pc.utf8_length(iso)
    full = pc.case_when(
        pc.make_struct(pc.equal(lengths, 4), pc.equal(lengths, 7)),
        pc.binary_join_element_wise(iso, "12-31", "-"),
        pc.binary_join_element_wise(iso, "31", "-"),
        iso,
    )
    is_date = pc.greater(lengths, 0)
    earlier = pc.less(full, before.isoformat())
    return np.asarray(pc.and_(is_date, earlier).to_numpy(zero_copy_only=False), np.bool_)


def counted_values(metadata: Metadata | None, fields: Sequence[str]) -> dict[str, list[str]]:
    """By field, each document's value as the report spells it: cut at 100 characters."""
    if metadata is None:
        return {}
    return {
        name: [
            f"{name} is absent" if value is None else f"{name} = {value[:_MAX_VALUE]}"
            for value in metadata.others[name].to_pylist()
        ]
        for name in fields
        if name in metadata.others
    }
