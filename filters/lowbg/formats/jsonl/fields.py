"""The wanted values of JSON lines, straight from a block of bytes into Arrow arrays.

Two compiled passes over a block, and no Python object a record: the first (`json_lines.scan`)
finds the plain lines and notes where their wanted values stand; the second (`unescape`) copies one
column's values into its Arrow buffer.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

from lowbg.config import FieldNames
from lowbg.formats.paths import has_lists
from lowbg.kernels.json_bytes import LINE_END, WIDTH
from lowbg.kernels.json_lines import (
    BOOLEAN,
    CONTAINER,
    FLOAT,
    INTEGER,
    NO_COLUMN,
    NOT_PLAIN,
    NULL,
    STRING,
    Bytes,
    Places,
    count_ends,
    scan,
    unescape,
)
from lowbg.records import DATE_BOXES, LIST, OBJECT, Metadata

MAX_BYTES = (1 << 31) - 1
"""The most bytes of a metadata column of one batch."""


def _kinds(*kinds: int) -> int:
    return sum(1 << kind for kind in kinds)


# What a column keeps, and what is null in it: `json_lines.KEEPS` and `NULLS`.
_TEXT = (_kinds(STRING), 0)
_METADATA = (_kinds(STRING, INTEGER), _kinds(FLOAT, BOOLEAN, NULL, CONTAINER))
_OTHER = (_kinds(STRING, INTEGER, BOOLEAN), _kinds(NULL))
_DATE = (_kinds(STRING, INTEGER, FLOAT, BOOLEAN, CONTAINER), _kinds(NULL))
_BOXED = (_kinds(STRING, INTEGER, FLOAT), _kinds(BOOLEAN, NULL, CONTAINER))


def _text(data: Bytes, begins: Places, ends: Places) -> pa.LargeStringArray:
    """The values of these spans, of which there are none that are null."""
    offsets, values = _values(data, begins, ends)
    return pa.LargeStringArray.from_buffers(len(begins), pa.py_buffer(offsets), values)


def _strings(data: Bytes, begins: Places, ends: Places) -> pa.StringArray:
    """The values of these spans; null where a span is negative.

    Raises `OverflowError` where Arrow's 32 bits don't reach.
    """
    offsets, values = _values(data, begins, ends)
    if len(values) > MAX_BYTES:
        raise OverflowError(f"a metadata field of one batch has more than {MAX_BYTES} bytes")
    valid = begins >= 0
    nulls = len(valid) - int(np.count_nonzero(valid))
    bits = pa.py_buffer(np.packbits(valid, bitorder="little")) if nulls else None
    return pa.StringArray.from_buffers(
        len(valid), pa.py_buffer(offsets.astype(np.int32)), values, bits, nulls
    )


def _values(data: Bytes, begins: Places, ends: Places) -> tuple[Places, pa.Buffer]:
    """The n + 1 offsets of the values of these spans, and their bytes end to end."""
    out = np.empty(int((ends - begins).sum()) + WIDTH, np.uint8)
    offsets = np.empty(len(begins) + 1, np.int64)
    unescape(data, begins, ends, out, offsets)
    return offsets, pa.py_buffer(out).slice(0, int(offsets[-1]))


class Lines(Struct, frozen=True):
    """The lines of a block, and the records of those that are plain, in order.

    `ends` holds the place of each line's end in the block (without it), and `plain` which of them
    `text` and `metadata` have a row of.
    """

    ends: Places
    plain: NDArray[np.bool_]
    text: pa.LargeStringArray
    metadata: Metadata


class FieldScanner:
    """Reads the fields that `fields` names from blocks of JSON lines."""

    def __init__(self, fields: FieldNames) -> None:
        self._fields = fields
        wanted = [(fields.text, _TEXT)]
        wanted += [(name, _METADATA) for name in (fields.id, fields.language)]
        wanted += [(fields.date, _DATE), (fields.url, _METADATA)]
        boxed = [f"{fields.date}.{box}" for box in DATE_BOXES]
        wanted += [(name, _OTHER) for name in fields.others]
        named = {name for name, _ in wanted}
        self._boxed = [name for name in boxed if name not in named]
        wanted += [(name, _BOXED) for name in self._boxed]
        # A field that is wanted twice follows both rules: what they make the same of is plain.
        rules: dict[str, tuple[int, int]] = {}
        for name, (keeps, nulls) in wanted:
            before = rules.get(name, (keeps, nulls))
            rules[name] = keeps & before[0], nulls & before[1]
        self._columns = {name: column for column, name in enumerate(rules)}
        self._rules = np.array(list(rules.values()), np.int64)
        self._tree, self._keys = _tree(list(rules), named)

    def scan(self, block: bytes, size: int, max_line: int) -> Lines:
        """The lines in the first `size` bytes of `block`, behind which `PADDING` stands.

        The last need not have its end. Not plain, beside what isn't a record: a wanted field that
        is there twice, or that an escaped key may name; a line that is longer than `max_line` or
        nested deeper than `MAX_DEPTH`; lone surrogates; a long number; the literal key of a dotted
        path; and values that are neither string nor integer, where they aren't null.
        """
        data = np.frombuffer(block, np.uint8)
        count = count_ends(data, size) + (size > 0 and block[size - 1] != LINE_END)
        lines = np.empty(count, np.int64)
        plain = np.empty(count, np.bool_)
        begins = np.empty((count + 1, len(self._rules)), np.int64)
        ends = np.empty_like(begins)
        seen = np.full(len(self._tree), -1, np.int64)
        rows = scan(
            data, self._tree, self._keys, self._rules, max_line, seen, lines, plain, begins, ends
        )

        def spans(name: str) -> tuple[Bytes, Places, Places]:
            column = self._columns[name]
            return data, begins[:rows, column].copy(), ends[:rows, column].copy()

        fields = self._fields
        metadata = Metadata(
            id=_strings(*spans(fields.id)),
            language=_strings(*spans(fields.language)),
            date=_dates(*spans(fields.date), *map(spans, self._boxed)),
            url=_strings(*spans(fields.url)),
            others={name: _strings(*spans(name)) for name in fields.others},
        )
        return Lines(lines, plain, _text(*spans(fields.text)), metadata)


@lru_cache(maxsize=4)
def scanner_of(fields: FieldNames) -> FieldScanner:
    """The scanner for these fields, which many readers share: it changes nothing of its own."""
    return FieldScanner(fields)


def _dates(
    data: Bytes, begins: Places, ends: Places, *boxed: tuple[Bytes, Places, Places]
) -> pa.StringArray:
    """The dates of these spans, those in boxes taken out; `OBJECT` or `LIST` for another one."""
    for _, inner, stops in boxed:
        found = inner >= 0
        begins[found], ends[found] = inner[found], stops[found]
    dates = _strings(data, begins, ends)
    # A string without a character begins at the quote behind it.
    empty = np.flatnonzero((begins == ends) & (begins >= 0))
    for opening, name in ((ord("{"), OBJECT), (ord("["), LIST)):
        own = empty[data[begins[empty]] == opening]
        if len(own):
            import pyarrow.compute as pc

            mask = np.zeros(len(begins), np.bool_)
            mask[own] = True
            dates = pc.if_else(pa.array(mask), name, dates)
    return dates


def _tree(paths: list[str], named: set[str]) -> tuple[Places, Bytes]:
    """The tree of the wanted paths, path i leading to column i, and the bytes of its keys.

    Node 0 is the record. A key that is itself a dotted path goes before the path through objects,
    and then the line isn't plain, where the path is one of those `named`. Nor is any line where the
    text lies in lists: no path leads there.
    """
    nodes = [(-1, "", NO_COLUMN)]

    def below(parent: int, key: str) -> int:
        found = [i for i, node in enumerate(nodes) if node[:2] == (parent, key)]
        if not found:
            nodes.append((parent, key, NO_COLUMN))
        return found[0] if found else len(nodes) - 1

    def lead(node: int, column: int) -> None:
        nodes[node] = (*nodes[node][:2], column)

    for column, path in enumerate(paths):
        parts = path.split(".")
        if (len(parts) > 1 or has_lists(path)) and path in named:
            lead(below(0, path), NOT_PLAIN)
        if has_lists(path):
            continue
        node = 0
        for part in parts:
            node = below(node, part)
        lead(node, column)
    # A name with lone surrogates is in no valid line.
    keys = [key.encode("utf-8", "surrogatepass") for _, key, _ in nodes]
    stops = np.cumsum([len(key) for key in keys])
    rows = [
        (parent, stop - len(key), stop, column)
        for (parent, _, column), key, stop in zip(nodes, keys, stops.tolist(), strict=True)
    ]
    return np.array(rows, np.int64), np.frombuffer(b"".join(keys), np.uint8)
