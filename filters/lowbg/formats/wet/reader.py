"""Reads WARC records: where they end and what they hold, by their headers.

FastWARC parses the headers. Where records begin and end is looked after here: its iterator passes
over what is cut or broken without a word, and no byte of an input may get lost.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

import pyarrow as pa
from fastwarc.warc import HeaderMap

from lowbg.config import RunConfig
from lowbg.errors import FormatError
from lowbg.formats.base import Format, Opened
from lowbg.formats.blocks import Blank, BlockReader, Broken, Found, Short, Whole
from lowbg.formats.wet import FORMAT
from lowbg.records import Batch, BytesPayload, Metadata, Payload
from lowbg.text import languages

HEADER_BYTES: Final = 32 << 10
"""The longest header that FastWARC reads."""

FIELDS: Final = {
    "id": "WARC-Record-ID",
    "url": "WARC-Target-URI",
    "date": "WARC-Date",
    "language": "WARC-Identified-Content-Language",
    "digest": "WARC-Block-Digest",
}
"""Fields that are called otherwise than their header; any other field is a header's name."""

TEXT: Final = "text"

_BEGINNING_BYTES: Final = 64 << 10
_HINT_RECORDS: Final = 100
_VERSION: Final = b"WARC/"
_END: Final = b"\r\n\r\n"
_GAP = re.compile(rb"[\r\n]+")
_BEGINNING = re.compile(rb"\nWARC/[01]\.")
_PAGES: Final = (b"request", b"response", b"resource", b"revisit", b"continuation")


class WetReader(BlockReader):
    """The `conversion` records of one WARC, in their order, with their texts as UTF-8.

    Records of other types (`warcinfo`, `metadata`) belong to every output. Raises `FormatError`
    where the text field isn't `text`, and where the file holds pages as they were crawled: such a
    record ends reading, too.
    """

    format: Format = FORMAT
    kind: object = FORMAT.name
    encoding = "warc"

    def __init__(self, source: Opened, config: RunConfig) -> None:
        super().__init__(source, config)
        if self.fields.text != TEXT:
            raise FormatError(
                f"{self.name}: no field {self.fields.text!r}; a WET record's text is the field "
                f"{TEXT!r}, beside {', '.join(FIELDS)} and its headers by their names"
            )
        self.seen_fields.update(dict.fromkeys((TEXT, *FIELDS), 0))
        self._check_beginning()

    def _check_beginning(self) -> None:
        """Raises `FormatError` for crawled pages before anything is written."""
        data, at = self._stream.peek(_BEGINNING_BYTES), 0
        while at < len(data):
            found = self.find(data, at, False)
            if isinstance(found, Blank) or (isinstance(found, Whole) and found.text is None):
                at = found.end
            else:
                return

    def __iter__(self) -> Iterator[Batch]:
        yield from super().__iter__()
        if self._offset and not self._record:
            self.notes = (
                f"{self.name}: holds no text: none of its WARC records is of type 'conversion'",
            )

    def find(self, data: bytes, at: int, final: bool) -> Found:
        """The record that begins there: its header, as long a content as it says, an end mark."""
        gap = _GAP.match(data, at)
        if gap is not None:
            return Short() if gap.end() == len(data) and not final else Blank(gap.end())
        if not data.startswith(_VERSION, at):
            is_prefix = _VERSION.startswith(data[at : at + len(_VERSION)])
            return Short() if is_prefix else Broken("no WARC record begins here")
        content = data.find(_END, at, at + HEADER_BYTES) + len(_END)
        if content < len(_END):
            if len(data) - at < HEADER_BYTES:
                return Short()
            return Broken(f"its header has no end within {HEADER_BYTES} bytes")
        headers = HeaderMap()
        try:
            headers.parse(io.BytesIO(data[at:content]))
        except (OSError, ValueError) as error:
            return Broken(f"its header cannot be read ({error})")
        length = (headers.get_bytes(b"Content-Length") or b"").strip()
        if not length.isdigit() or len(length) > 18:
            return Broken("its header says no Content-Length that is a number of bytes")
        kind = (headers.get_bytes(b"WARC-Type") or b"").strip().lower()
        if kind in _PAGES:
            raise FormatError(
                f"{self.name}: holds crawled pages (a record of type {kind.decode()!r} at byte "
                f"{self._offset + at}), not their text. Extract the text first, with Resiliparse "
                "or trafilatura for instance, or take the crawl's WET files"
            )
        end = content + int(length) + len(_END)
        if end > len(data):
            return Short(end - at)
        if data[end - len(_END) : end] != _END:
            return Broken(f"it does not end after the {int(length)} bytes of its Content-Length")
        if kind != b"conversion":
            return Whole(end, None)
        return Whole(end, (content, end - len(_END)), headers)

    def resume(self, data: bytes, at: int) -> int:
        """The next line that begins as a record does."""
        found = _BEGINNING.search(data, max(0, at - 1))
        return -1 if found is None else found.start() + 1

    def metadata(self, documents: Sequence[Whole]) -> Metadata:
        """Fields from headers; of several languages the first, the most frequent one."""
        headers = [document.what for document in documents]
        for each in headers[: max(0, _HINT_RECORDS - self.hinted)]:
            self.seen_fields.update(dict.fromkeys(each.keys(), 0))
            self.hinted += 1
        fields = self.fields
        return Metadata(
            id=_column(headers, fields.id),
            language=_column(headers, fields.language),
            date=_column(headers, fields.date),
            url=_column(headers, fields.url),
            others={name: _column(headers, name) for name in fields.others},
        )


def _column(headers: Sequence[HeaderMap], field: str) -> pa.StringArray:
    name = FIELDS.get(field, field).encode()
    values = [each.get_bytes(name) for each in headers]
    if field == "language":
        return pa.array([_language(value) if value else None for value in values], pa.string())
    decoded = [None if value is None else value.decode("utf-8", "replace") for value in values]
    return pa.array(decoded, pa.string())


@lru_cache(4096)
def _language(codes: bytes) -> str:
    """The first code, in lowbg's spelling where it has the language: "eng,fra" → "en"."""
    first = codes.decode("utf-8", "replace").partition(",")[0].strip()
    return languages.normalise(first) or first


def objects(payload: Payload) -> Iterator[dict[str, Any]]:
    """Each document's headers by their names, and `FIELDS`; all as strings."""
    assert isinstance(payload, BytesPayload)
    for i, (start, end) in enumerate(zip(payload.starts, payload.ends, strict=True)):
        if payload.documents is not None and not payload.documents[i]:
            continue
        headers = HeaderMap()
        content = payload.buffer.index(_END, start, end) + len(_END)
        headers.parse(io.BytesIO(payload.buffer[start:content]))
        own = {field: value for field in FIELDS if (value := _column([headers], field)[0].as_py())}
        text = payload.buffer[content : end - len(_END)].decode("utf-8")
        yield {**headers.to_dict(), **own, TEXT: text}
