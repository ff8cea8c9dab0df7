"""The labels file: what was drawn, then a line a label, appended and made durable at once.

It holds no text: a document is known by its file in the output and its place there.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from lowbg.errors import ConfigError, OutputError, cause
from lowbg.storage.objects import is_object_url
from lowbg.storage.typed import SCHEMA_KEY, Closed, Count, FileType, line, to_plain
from lowbg.storage.whole_files import add_to_object, address, read_bytes, store_of

_log = logging.getLogger(__name__)

Label = Literal["human", "ai", "unsure", "skip"]
LABELS: Final[tuple[Label, ...]] = ("human", "ai", "unsure", "skip")


class Stratum(Closed, frozen=True):
    """Documents of a verdict whose evidence lies equally near the threshold: how many there are."""

    name: str
    verdict: Literal["human", "ai"]
    documents: Count


class Drawn(Closed, frozen=True, kw_only=True):
    """A document that was drawn: `file` in the output, `record` there from 0, its stratum's place.

    `score` is its `ai_score`; null where it has none.
    """

    file: str
    record: Count
    stratum: Count
    language: str | None
    score: float | None


class Design(Closed, frozen=True, kw_only=True, tag="lowbg.labels/1", tag_field=SCHEMA_KEY):
    """What was drawn: without replacement, and within a stratum each with the same chance.

    `documents` are in the order in which they are shown. `content` is the digest of the run's
    manifest, `policy` that of its policy.
    """

    content: str
    policy: str
    strata: list[Stratum]
    documents: list[Drawn]


class LabelLine(Closed, frozen=True, kw_only=True):
    """A label of a document, by its place in the design.

    `again`: the reviewer had labelled it before, and wasn't told so. `blind`: neither verdict nor
    shading had been shown. `undo`: it takes back the reviewer's last label of it.
    """

    document: Count
    label: Label
    reviewer: str
    again: bool = False
    blind: bool = True
    undo: bool = False
    at: str = ""


DESIGN: Final[FileType[Design]] = FileType(
    Design, "a file of labels", ConfigError, "Name another file: `labels`", line
)


class LabelsFile:
    """A design and its labels, on disk at `path`; labels are added at its end."""

    def __init__(self, path: Path, design: Design, labels: Sequence[LabelLine], size: int) -> None:
        self.path = path
        self.design = design
        self.labels = list(labels)
        self._size = size

    @classmethod
    def create(cls, path: Path, design: Design) -> LabelsFile:
        """A new file. Raises `OutputError` where there is one."""
        data = DESIGN.encode(design)
        try:
            if is_object_url(path):
                store, name = store_of(path)
                store.create(name, data)
                return cls(path, design, [], len(data))
            with path.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"{address(path)}: cannot be written ({cause(error)})") from error
        return cls(path, design, [], len(data))

    @classmethod
    def open(cls, path: Path) -> LabelsFile:
        """What is there; a last line that was cut off is left out, and told.

        Raises `ConfigError` for anything else, with its line.
        """
        try:
            data = read_bytes(path)
        except OSError as error:
            raise ConfigError(f"{address(path)}: cannot be read ({cause(error)})") from error
        where = address(path)
        head, *rest = data.split(b"\n")
        design = DESIGN.decode(head, where)
        tail = rest.pop() if rest else b""
        if tail:
            _log.warning("%s: its last line was cut off, and is left out", where)
        labels = []
        for number, each in enumerate(rest, 2):
            try:
                label = msgspec.json.decode(each, type=LabelLine)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ConfigError(f"{where}:{number}: no label ({error})") from error
            if label.document >= len(design.documents):
                raise ConfigError(f"{where}:{number}: document {label.document} was not drawn")
            labels.append(label)
        return cls(path, design, labels, len(data) - len(tail))

    def add(self, label: LabelLine) -> None:
        """Appends a label, durably. Raises `OutputError`."""
        data = line(to_plain(label))
        if is_object_url(self.path):
            add_to_object(self.path, data)
            self.labels.append(label)
            return
        try:
            with self.path.open("r+b") as file:
                file.truncate(self._size)  # A line that was cut off would swallow this one.
                file.seek(self._size)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be appended to ({cause(error)})") from error
        self._size += len(data)
        self.labels.append(label)

    def standing(self) -> list[LabelLine]:
        """The labels that were not taken back, in order."""
        kept: list[LabelLine] = []
        for label in self.labels:
            if not label.undo:
                kept.append(label)
                continue
            for i in reversed(range(len(kept))):
                same = (kept[i].reviewer, kept[i].document, kept[i].again)
                if same == (label.reviewer, label.document, label.again):
                    del kept[i]
                    break
        return kept
