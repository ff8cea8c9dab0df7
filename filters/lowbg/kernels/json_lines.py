"""Which lines of a block are plain JSON, and where their wanted values stand.

This need not understand every line, but must be right about those that it calls plain: such a line
is one object of valid JSON and UTF-8 that orjson reads, and the values found are those that orjson
gives. What is valid and rare may be left to the caller: an odd value of a wanted field, equal keys,
deep nesting, long numbers (`FieldScanner` says all of it).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.arrays import Pointer, Rows, Text
from lowbg.kernels.compiler import inlined, kernel, part
from lowbg.kernels.json_bytes import (
    BACKSLASH,
    LINE_END,
    QUOTE,
    WIDTH,
    backslashes,
    copy,
    line_ends,
    not_ascii,
    special,
    wrong_utf8,
)
from lowbg.kernels.vectors import lowest, ones, pointer

Bytes: TypeAlias = NDArray[np.uint8]
Table: TypeAlias = Rows[np.int64]
Places: TypeAlias = NDArray[np.int64]

MAX_DEPTH = 64
"""The deepest nesting of a plain line: a bit each in a word (orjson's limit is 1,024)."""

MAX_NUMBER = 64
"""Characters of the longest number of a plain line. With two digits of exponent it is finite."""

MAX_ID_DIGITS = 18
"""Digits of the longest integer of a plain line that is wanted: all have 64 bits."""

# What a value is. A big integer is one that orjson may read as a float.
STRING, INTEGER, BIG, FLOAT, BOOLEAN, NULL, CONTAINER, INVALID = range(8)

# Of the rules of a column: the kinds (as bits) that it keeps as they are written, and those that
# are null in it. A line with a value of another kind isn't plain.
KEEPS, NULLS = 0, 1

# Of the tree of wanted paths. A node that leads to no column has one of the marks instead.
PARENT, KEY_FROM, KEY_TO, COLUMN = range(4)
NO_COLUMN, NOT_PLAIN = -1, -2

MINUS, PLUS, POINT, COMMA, COLON = b"-+.,:"
OPEN_OBJECT, CLOSE_OBJECT, OPEN_LIST, CLOSE_LIST = b"{}[]"
ZERO, NINE, LOWER_E, LOWER_F, LOWER_U = b"09efu"
TRUE, ALSE, IS_NULL = (int.from_bytes(word, "little") for word in (b"true", b"alse", b"null"))

_SIMPLE_ESCAPES = np.zeros(256, np.uint8)
_SIMPLE_ESCAPES[np.frombuffer(b'"\\/bfnrt', np.uint8)] = np.frombuffer(b'"\\/\b\f\n\r\t', np.uint8)

_HEX = np.full(256, -1, np.int32)
for _digit in b"0123456789abcdefABCDEF":
    _HEX[_digit] = int(chr(_digit), 16)


# Each of these begins at a place in the data, and says where what it reads ends. A line end is
# valid in none of them, so that none leaves its line.


@part
def _line_end(data: Pointer, at: int) -> Any:
    """The place of the next line end."""
    found = line_ends(data, at)
    while not found:
        at += WIDTH
        found = line_ends(data, at)
    return at + lowest(found)


@part
def behind_space(data: Pointer, at: int) -> Any:
    """The place of the next byte that is no white space."""
    while data[at] == 32 or data[at] == 9 or data[at] == 13:
        at += 1
    return at


@part
def _hex4(data: Pointer, at: int) -> Any:
    """The number that four hexadecimal digits spell; negative where one is none."""
    high = _HEX[data[at]] << 12 | _HEX[data[at + 1]] << 8
    return np.int64(high | _HEX[data[at + 2]] << 4 | _HEX[data[at + 3]])


@part
def escaped(data: Pointer, at: int) -> Any:
    """The character that the escape at `at` stands for, and the place behind it.

    Negative and -1 where it is no escape, or half of a surrogate pair.
    """
    c = data[at + 1]
    if c != LOWER_U:
        if _SIMPLE_ESCAPES[c] == 0:
            return -1, -1
        return np.int64(_SIMPLE_ESCAPES[c]), at + 2
    unit = _hex4(data, at + 2)
    if unit < 0:
        return -1, -1
    if unit < 0xD800 or unit > 0xDFFF:
        return unit, at + 6
    if unit > 0xDBFF or data[at + 6] != BACKSLASH or data[at + 7] != LOWER_U:
        return -1, -1
    low = _hex4(data, at + 8)
    if low < 0xDC00 or low > 0xDFFF:
        return -1, -1
    return 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00), at + 12


@part
def _string_end(data: Pointer, at: int) -> Any:
    """The place of the quote that ends the string whose first character is at `at`."""
    while True:
        found = special(data, at)
        if not found:
            at += WIDTH
            continue
        at += lowest(found)
        if data[at] == QUOTE:
            return at
        if data[at] != BACKSLASH:
            return -1
        # Escapes mostly come alone in ASCII, and in a row where a script is all escaped.
        while data[at] == BACKSLASH:
            _, at = escaped(data, at)
            if at < 0:
                return -1


@part
def behind_digits(data: Pointer, at: int) -> Any:
    """The place of the next byte that is no digit."""
    while ZERO <= data[at] <= NINE:
        at += 1
    return at


@part
def _number(data: Pointer, at: int) -> Any:
    """The kind of the number at `at`, and the place behind it."""
    begin = at
    negative = data[at] == MINUS
    first = at + negative
    at = behind_digits(data, first)
    digits = at - first
    if digits == 0 or (data[first] == ZERO and digits > 1):
        return INVALID, at
    kind = INTEGER
    if digits > MAX_ID_DIGITS or (negative and data[first] == ZERO):
        kind = BIG
    if data[at] == POINT:
        kind = FLOAT
        point = at
        at = behind_digits(data, at + 1)
        if at == point + 1:
            return INVALID, at
    if data[at] | 0x20 == LOWER_E:
        kind = FLOAT
        at += 1
        if data[at] == PLUS or data[at] == MINUS:
            at += 1
        exponent = at
        at = behind_digits(data, at)
        if not 1 <= at - exponent <= 2:
            return INVALID, at
    if at - begin > MAX_NUMBER:
        return INVALID, at
    return kind, at


@part
def four(data: Pointer, at: int) -> Any:
    """Four bytes as a number, the first one lowest."""
    return (
        np.int64(data[at])
        | np.int64(data[at + 1]) << 8
        | np.int64(data[at + 2]) << 16
        | np.int64(data[at + 3]) << 24
    )


@part
def _scalar(data: Pointer, at: int) -> Any:
    """The kind of a value that is neither object nor list, where it begins, ends, and is passed."""
    c = data[at]
    if c == QUOTE:
        stop = _string_end(data, at + 1)
        if stop < 0:
            return INVALID, at, at, at
        return STRING, at + 1, stop, stop + 1
    if c == MINUS or ZERO <= c <= NINE:
        kind, stop = _number(data, at)
    elif four(data, at) == IS_NULL:
        kind, stop = NULL, at + 4
    elif four(data, at) == TRUE:
        kind, stop = BOOLEAN, at + 4
    elif c == LOWER_F and four(data, at + 1) == ALSE:
        kind, stop = BOOLEAN, at + 5
    else:
        kind, stop = INVALID, at
    return kind, at, stop, stop


@part
def _is_utf8(data: Pointer, at: int, end: int) -> Any:
    """Whether the object in `data[at:end]`, which a line end follows, is valid UTF-8.

    Its first two characters are ASCII: a brace and what can follow it. False may be a mistake where
    the block begins with it and the third is not.
    """
    at += 2
    if at == 2:
        if data[2] >= 0x80:
            return False
        at = 3
    while at <= end:
        if not_ascii(data, at):
            wrong = wrong_utf8(data, at)
            if wrong and at + lowest(wrong) <= end:
                return False
        at += WIDTH
    return True


@inlined
def _child(data: Pointer, begin: int, end: int, node: int, tree: Places, keys: Pointer) -> Any:
    """The node below `node` whose key is `data[begin:end]`; `NO_COLUMN` where none is wanted.

    `NOT_PLAIN` where escapes leave it open.
    """
    for k in range(begin, end):
        if data[k] == BACKSLASH:
            return NOT_PLAIN
    for m in range(1, len(tree)):
        if tree[m, PARENT] == node and tree[m, KEY_TO] - tree[m, KEY_FROM] == end - begin:
            k = begin
            key = tree[m, KEY_FROM] - begin
            while k < end and data[k] == keys[key + k]:
                k += 1
            if k == end:
                return m
    return NO_COLUMN


@inlined
def _is_plain(
    data: Pointer,
    at: int,
    line: int,
    tree: Places,
    keys: Pointer,
    rules: Places,
    seen: Places,
    row: int,
    begins: Places,
    ends: Places,
) -> Any:
    """Whether the line at `at` is plain, but for its UTF-8.

    Then `row` of `begins` and `ends` has its spans.

    A turn of the loop reads a key (in an object), a value, the brackets that close behind it, and
    the comma. `kinds` has a bit for every bracket that is open, the innermost lowest: 1 for an
    object. `node` is the wanted path that leads to the innermost object of `path_depth`; in deeper
    ones nothing is wanted.
    """
    at = behind_space(data, at)
    if data[at] != OPEN_OBJECT:
        return False
    at = behind_space(data, at + 1)
    kinds = np.uint64(1)
    depth, path_depth, node = 1, 1, 0
    while True:
        found = NO_COLUMN
        in_object = kinds & np.uint64(1) == 1
        if in_object:
            if data[at] != QUOTE:
                return False
            stop = _string_end(data, at + 1)
            if stop < 0:
                return False
            if depth == path_depth:
                found = _child(data, at + 1, stop, node, tree, keys)
            if found != NO_COLUMN:
                # Of two equal keys the last counts, whatever it holds; that is not for here.
                if found == NOT_PLAIN or seen[found] == line:
                    return False
                seen[found] = line
            at = behind_space(data, stop + 1)
            if data[at] != COLON:
                return False
            at = behind_space(data, at + 1)
        c = data[at]
        opens = c == OPEN_OBJECT or c == OPEN_LIST
        if opens:
            if depth == MAX_DEPTH:
                return False
            kind, begin, end, at = CONTAINER, at, at, behind_space(data, at + 1)
        else:
            kind, begin, end, at = _scalar(data, at)
            if kind == INVALID:
                return False
        if found != NO_COLUMN:
            column = tree[found, COLUMN]
            if column == NOT_PLAIN:
                return False
            if column != NO_COLUMN:
                if rules[column, KEEPS] >> kind & 1:
                    begins[row, column], ends[row, column] = begin, end
                elif not rules[column, NULLS] >> kind & 1:
                    return False
        if opens:
            closer = CLOSE_OBJECT if c == OPEN_OBJECT else CLOSE_LIST
            if data[at] == closer:
                at += 1
            else:
                depth += 1
                kinds = kinds << np.uint64(1) | np.uint64(c == OPEN_OBJECT)
                if found != NO_COLUMN:  # Were it a list: the keys within are deeper than this.
                    node, path_depth = found, depth
                continue
        while True:
            at = behind_space(data, at)
            c = data[at]
            at += 1
            if c == COMMA:
                break
            if c != (CLOSE_OBJECT if kinds & np.uint64(1) else CLOSE_LIST):
                return False
            if depth == 1:
                return data[behind_space(data, at)] == LINE_END
            if depth == path_depth:
                node, path_depth = tree[node, PARENT], depth - 1
            depth -= 1
            kinds >>= np.uint64(1)
        at = behind_space(data, at)


@kernel
def count_ends(block: Text, size: int) -> Any:
    """How many line ends there are in `block[:size]`, which has `WIDTH` bytes more."""
    data = pointer(block)
    count = 0
    at: Any = np.int64(0)
    while at + WIDTH <= size:
        count += ones(line_ends(data, at))
        at += WIDTH
    rest = line_ends(data, at) & np.uint32((1 << (size - at)) - 1)
    return count + ones(rest)


@kernel
def scan(
    block: Text,
    tree: Table,
    keys: Text,
    rules: Table,
    max_line: int,
    seen: Places,
    lines: Places,
    plain: NDArray[np.bool_],
    begins: Table,
    ends: Table,
) -> Any:
    """Finds the lines, which of them are plain, and the wanted values of these; says how many.

    `lines` gets the place of each line's end, and `plain` whether it is. `begins` and `ends`
    (plain lines × columns) get the span of each wanted value in `block`, -1 where it is null; they
    have a row more than there are lines. Column 0 is the text. `seen` (-1, an entry a node of
    `tree`) is for the scan's own use.
    """
    data = pointer(block)
    names = pointer(keys)
    row = 0
    at: Any = np.int64(0)  # Not the literal: each kind of argument is compiled for itself.
    for line in range(len(lines)):
        end = _line_end(data, at)
        lines[line] = end
        for column in range(len(rules)):
            begins[row, column] = -1
            ends[row, column] = -1
        is_plain = end - at <= max_line and _is_plain(
            data, at, line, tree, names, rules, seen, row, begins, ends
        )
        is_plain = is_plain and begins[row, 0] >= 0 and _is_utf8(data, at, end)
        plain[line] = is_plain
        row += is_plain
        at = end + 1
    return row


@part
def _put(out: Pointer, to: int, character: int) -> Any:
    """Writes a character in UTF-8; the place behind it."""
    if character < 0x80:
        out[to] = character
        return to + 1
    if character < 0x800:
        out[to] = 0xC0 | character >> 6
        out[to + 1] = 0x80 | character & 0x3F
        return to + 2
    if character < 0x10000:
        out[to] = 0xE0 | character >> 12
        out[to + 1] = 0x80 | character >> 6 & 0x3F
        out[to + 2] = 0x80 | character & 0x3F
        return to + 3
    out[to] = 0xF0 | character >> 18
    out[to + 1] = 0x80 | character >> 12 & 0x3F
    out[to + 2] = 0x80 | character >> 6 & 0x3F
    out[to + 3] = 0x80 | character & 0x3F
    return to + 4


@kernel
def unescape(block: Text, begins: Places, ends: Places, values: Bytes, offsets: Places) -> None:
    """Writes the values of these spans to `values`, end to end, and the n + 1 `offsets` of them.

    `values` holds the sum of the spans and `WIDTH` bytes; an escape is never shorter than what it
    stands for.
    """
    data = pointer(block)
    out = pointer(values)
    to = 0
    for i in range(len(begins)):
        offsets[i] = to
        at, end = begins[i], ends[i]
        while at < end:
            copy(out, to, data, at)
            found = backslashes(data, at)
            step = min(lowest(found) if found else WIDTH, end - at)
            at += step
            to += step
            while at < end and data[at] == BACKSLASH:
                character, at = escaped(data, at)
                to = _put(out, to, character)
    offsets[len(begins)] = to
