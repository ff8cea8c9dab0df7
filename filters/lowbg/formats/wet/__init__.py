"""Common Crawl's WET, and the `conversion` records of any WARC: texts with their addresses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowbg.errors import ConfigError
from lowbg.formats.base import Format, Opened, Output, Reader, Writer

if TYPE_CHECKING:
    from types import ModuleType

    from lowbg.config import RunConfig
    from lowbg.records import Payload


class WetFormat:
    """A document is a `conversion` record; a file's own description goes into every output."""

    name = "wet"
    title = "WET"
    endings: tuple[str, ...] = (".warc.wet", ".wet", ".warc")
    wrapped = True
    pack_codec = "gzip"
    takes_stream = False

    def sniff(self, head: bytes, name: str) -> bool:
        """By the version that every record begins with."""
        return head.startswith(b"WARC/")

    def open_reader(self, source: Opened, config: RunConfig) -> Reader:
        """Records by their headers. Raises `FormatError` for a WARC of pages that are no text."""
        reader: Reader = _reading(source.name).WetReader(source, config)
        return reader

    def open_writer(self, reader: Reader, output: Output) -> Writer:
        """Records, each compressed by itself as Common Crawl has them."""
        from lowbg.formats.wet.writer import WetWriter

        return WetWriter(output)

    def count(self, path: Path) -> int:
        """Documents, and what is broken."""
        from lowbg.formats.blocks import count_by_reading

        return count_by_reading(self, path)

    def objects(self, payload: Payload) -> Iterator[dict[str, Any]]:
        """Each document's headers by their names, with the fields that are called otherwise."""
        objects: Iterator[dict[str, Any]] = _reading("WET").objects(payload)
        return objects


def _reading(name: str) -> ModuleType:
    try:
        from lowbg.formats.wet import reader
    except ImportError as error:
        raise ConfigError(
            f"{name}: a WARC file, which needs the package fastwarc ({error}); install it with: "
            "pip install 'lowbg[warc]'"
        ) from error
    return reader


FORMAT: Format = WetFormat()
