"""WET files made by warcio, as Common Crawl has them, and read again by it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from warcio.archiveiterator import ArchiveIterator
from warcio.warcwriter import WARCWriter


@dataclass(frozen=True)
class Page:
    """What a conversion record is made of."""

    text: bytes
    url: str = "https://example.org/"
    date: str = "2023-11-28T12:00:00Z"
    languages: str | None = None


def wet(pages: Sequence[Page], *, gzip: bool = False, kind: str = "conversion") -> bytes:
    """A `warcinfo` record, and a record of `kind` a page."""
    out = io.BytesIO()
    writer = WARCWriter(out, gzip=gzip)
    info = {"software": "a test", "publisher": "nobody"}
    described = writer.create_warcinfo_record("a.warc.wet.gz", info)
    described.rec_headers.replace_header("WARC-Record-ID", f"<urn:uuid:{9:032d}>")
    described.rec_headers.replace_header("WARC-Date", "2023-12-01T00:00:00Z")
    writer.write_record(described)
    for i, page in enumerate(pages):
        headers = {
            "WARC-Date": page.date,
            "WARC-Record-ID": f"<urn:uuid:{i:032d}>",
            "WARC-Refers-To": f"<urn:uuid:{i:030d}99>",
        }
        if page.languages is not None:
            headers["WARC-Identified-Content-Language"] = page.languages
        record = writer.create_warc_record(
            page.url, kind, io.BytesIO(page.text), len(page.text), "text/plain", headers, None
        )
        writer.write_record(record)
    return out.getvalue()


def read_again(stored: bytes) -> list[tuple[str, dict[str, str], bytes]]:
    """Type, headers and content of each record, as warcio reads them."""
    found = []
    for record in ArchiveIterator(io.BytesIO(stored), check_digests="raise"):
        headers = dict(record.rec_headers.headers)
        found.append((record.rec_type, headers, record.content_stream().read()))
    return found
