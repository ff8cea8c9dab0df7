"""What is known of documents by where they come from: dates, fields and sources, not text.

A document of a denied source is AI whatever else is known of it: who denies a source doesn't
believe its dates either. Otherwise a date before the cut-off, a trusted field or an allowed source
makes it human, and is what is said of it, in this order.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.config import Policy
from lowbg.errors import ConfigError
from lowbg.records import KnownOrigin, Metadata
from lowbg.text.dates import Dates
from lowbg.text.origins import NO_HOST, Coded, hosts, without_www

_SCHEME = re.compile(r"[a-z][a-z0-9+.\-]*://", re.IGNORECASE)
_SCHEMELESS = re.compile(r"\s*[\w\-]+(?:\.[\w\-]+)+\.?(?::\d+)?(?:[/?#]|\s*$)")
_AFTER_HOST = re.compile(r"[/\\?#]")
_WILD = re.compile(r"[*?\[]")
_HOST_PATTERN = re.compile(r"[\w.\-*?\[\]!]+")
_IPV6 = re.compile(r"\[[0-9a-f:.]*:[0-9a-f:.]*\]")
_DOTS = re.compile("[.\u3002\uff0e\uff61]")
"""What separates labels, before they are in ASCII (RFC 3490, 3.1)."""

_MAX_VALUE = 100


class SourcePatterns:
    """A list of sources: which hosts and addresses are on it.

    A plain host stands for itself and the hosts below it: `example.org`, also `blog.example.org`.
    With `*`, `?` or `[…]` it is a glob of whole hosts. A pattern with a slash is a glob of a host
    and one of the path, `example.org/blog/*`; one that ends with a slash stands for all that begins
    so. Schemes, ports, user names, `www.`, the case of hosts and their spelling in Unicode or ASCII
    don't matter, and a URL may lack its scheme. What has no URL is on no list. Raises `ConfigError`
    for a pattern that is none.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._hosts: set[str] = set()
        globs: list[tuple[str, re.Pattern[str]]] = []
        addresses: list[tuple[str, re.Pattern[str], re.Pattern[str]]] = []
        for given in patterns:
            host, path = _plain(given)
            if path:
                glob = f"{path}*" if path.endswith("/") else path
                addresses.append((host + path, _compiled(host), _compiled(glob)))
            elif _WILD.search(host) and not _IPV6.fullmatch(host):
                globs.append((host, _compiled(host)))
            else:
                self._hosts.add(host)
        self._globs = tuple(globs)
        self._addresses = tuple(addresses)
        self._of_host = lru_cache(maxsize=1 << 16)(self._match_host)

    def __bool__(self) -> bool:
        return bool(self._hosts or self._globs or self._addresses)

    def match(self, urls: pa.StringArray) -> list[str | None]:
        """The pattern that each URL is on the list by; null where it isn't."""
        urls, coded = _with_hosts(urls)
        by_host = [self._of_host(name) for name in coded.names]
        found = [by_host[code] for code in coded.codes.tolist()]
        if self._addresses:
            spelled = [_in_ascii(name) for name in coded.names]
            for i, url in enumerate(urls.to_pylist()):
                code = coded.codes[i]
                if found[i] is None and url and coded.names[code] != NO_HOST:
                    found[i] = self._match_address(spelled[code], _path(url))
        return found

    def _match_host(self, host: str) -> str | None:
        if host == NO_HOST:
            return None
        name = host = _in_ascii(host)
        while name:
            if name in self._hosts:
                return name
            name = name.partition(".")[2]
        return next((p for p, glob in self._globs if glob.match(host)), None)

    def _match_address(self, host: str, path: str) -> str | None:
        spellings = {path, unquote(path)}
        return next(
            (
                pattern
                for pattern, of_host, of_path in self._addresses
                if of_host.match(host) and any(of_path.match(spelled) for spelled in spellings)
            ),
            None,
        )


def _plain(given: str) -> tuple[str, str]:
    """A pattern's host, as URLs' hosts are compared, and its path; empty where it has none."""
    host, slash, path = _SCHEME.sub("", given.strip(), count=1).partition("/")
    host = without_www(host.lower().strip("."))
    if not (_HOST_PATTERN.fullmatch(host) or _IPV6.fullmatch(host)):
        raise ConfigError(
            f"{given!r} is no source; write a host, a glob (*.example.org) or host/path, without "
            "a port or user name, one at a time"
        )
    return _in_ascii(host), slash + path


def _compiled(glob: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(glob))


def _with_hosts(urls: pa.StringArray) -> tuple[pa.StringArray, Coded]:
    """URLs and their hosts; what lacks just the scheme, `example.org/a`, gets slashes."""
    coded = hosts(urls)
    if NO_HOST not in coded.names:
        return urls, coded
    bare = coded.codes == coded.names.index(NO_HOST)
    spelled = [
        f"//{url.strip()}" if bare[i] and url and _SCHEMELESS.match(url) else url
        for i, url in enumerate(urls.to_pylist())
    ]
    completed = pa.array(spelled, pa.string())
    return completed, hosts(completed)


def _in_ascii(host: str) -> str:
    """The host with its labels in ASCII (IDNA), as far as that can be."""
    return ".".join(map(_label_in_ascii, _DOTS.split(unquote(host))))


def _label_in_ascii(label: str) -> str:
    if label.isascii():
        return label.lower()
    try:
        return label.encode("idna").decode("ascii")
    except UnicodeError:
        return label


def _path(url: str) -> str:
    """Path and query of a URL with a host, with a slash in front."""
    rest = url.partition("//")[2]
    end = _AFTER_HOST.search(rest)
    return "/" + rest[end.start() :].lstrip("/\\") if end else "/"


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

    def know(self, metadata: Metadata | None, dates: Dates) -> KnownOrigin:
        """What is known of documents with these dates; of those without metadata, nothing."""
        n = len(dates)
        rules = np.full(n, -1, np.int32)
        denied = np.zeros(n, np.bool_)
        names: dict[str, int] = {}
        if metadata is not None and n:
            if self._denied:
                _apply(rules, names, "denied source: {}", self._denied.match(metadata.url))
                denied = rules >= 0
            if self._before is not None:
                dated = dates.before(self._before) & (rules < 0)
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
