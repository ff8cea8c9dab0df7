"""What is wrong with lines that are no records, as Python's json and `jsonl.objects` say it.

Like `json_lines` this need not understand every line, but must be right about those that it does:
the others (`UNKNOWN`) are looked at one by one. These are lines that hold a record after all, and
faults that depend on Python's limits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lowbg.kernels.arrays import Pointer, Text
from lowbg.kernels.compiler import part, seldom
from lowbg.kernels.json_bytes import BACKSLASH, LINE_END, QUOTE
from lowbg.kernels.json_lines import (
    ALSE,
    CLOSE_LIST,
    CLOSE_OBJECT,
    COLON,
    COMMA,
    IS_NULL,
    LOWER_E,
    LOWER_F,
    LOWER_U,
    MAX_DEPTH,
    MAX_NUMBER,
    MINUS,
    NINE,
    OPEN_LIST,
    OPEN_OBJECT,
    PLUS,
    POINT,
    TRUE,
    ZERO,
    Places,
    behind_digits,
    behind_space,
    escaped,
    four,
)
from lowbg.kernels.vectors import pointer

# What is wrong. With a fault of JSON goes its column, with `WRONG_UTF8` the column and the byte,
# with `NOT_AN_OBJECT` and `TEXT_IS` what stands there instead.
UNKNOWN, BLANK, WRONG_UTF8, NOT_AN_OBJECT, NO_TEXT, TEXT_IS = range(6)
NO_VALUE, NO_KEY, NO_COLON, NO_COMMA, CONTROL, UNTERMINATED, ESCAPE, EXTRA = range(6, 14)
COMMA_IN_OBJECT, COMMA_IN_LIST = 14, 15

ABSENT, NULL, BOOLEAN, NUMBER, STRING, LIST, OBJECT = range(7)
"""What a value is."""

_FINE = -1
_SPACE, _TAB, _RETURN, _UPPER_I, _UPPER_N = b" \t\rIN"
_MARK = 0xEF


@part
def _is_blank(data: Pointer, at: int, end: int) -> Any:
    """Whether there is nothing but what `bytes.strip` takes away."""
    while at < end and (data[at] == _SPACE or _TAB <= data[at] <= _RETURN):
        at += 1
    return at == end


@part
def _wrong_utf8(data: Pointer, at: int, end: int) -> Any:
    """The place of the first byte of what is no UTF-8 (Unicode, table 3-7); `end` if all is."""
    while at < end:
        c = data[at]
        if c < 0x80:
            at += 1
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= c <= 0xDF:
            more = 1
        elif 0xE0 <= c <= 0xEF:
            more = 2
            low = 0xA0 if c == 0xE0 else low
            high = 0x9F if c == 0xED else high
        elif 0xF0 <= c <= 0xF4:
            more = 3
            low = 0x90 if c == 0xF0 else low
            high = 0x8F if c == 0xF4 else high
        else:
            return at
        # A line end is none of them: this doesn't leave the line.
        for k in range(1, more + 1):
            if not low <= data[at + k] <= high:
                return at
            low, high = 0x80, 0xBF
        at += more + 1
    return end


@part
def _string(data: Pointer, at: int) -> Any:
    """The fault of the string whose first character is at `at`, and its place; `_FINE`, and the
    place behind its closing quote."""
    begin = at - 1
    while True:
        c = data[at]
        if c == QUOTE:
            return _FINE, at + 1
        if c == LINE_END:
            return UNTERMINATED, begin
        if c < 0x20:
            return CONTROL, at
        if c != BACKSLASH:
            at += 1
            continue
        if data[at + 1] == LINE_END:
            return UNTERMINATED, begin
        _, behind = escaped(data, at)
        if data[at + 1] == LOWER_U:
            # Python reads half of a pair, and wants a character behind four digits.
            if behind < 0 or data[behind] == LINE_END:
                return UNKNOWN, at
        elif behind < 0:
            return ESCAPE, at
        at = behind


@part
def _number_end(data: Pointer, at: int) -> Any:
    """The place behind the number at `at`; -1 where there is none."""
    if data[at] == MINUS:
        at += 1
    if not ZERO <= data[at] <= NINE:
        return -1
    at = at + 1 if data[at] == ZERO else behind_digits(data, at)
    if data[at] == POINT and ZERO <= data[at + 1] <= NINE:
        at = behind_digits(data, at + 1)
    if data[at] | 0x20 == LOWER_E:
        digits = at + 1
        if data[digits] == MINUS or data[digits] == PLUS:
            digits += 1
        if ZERO <= data[digits] <= NINE:
            at = behind_digits(data, digits)
    return at


@part
def _scalar(data: Pointer, at: int) -> Any:
    """What the value at `at` is, which is neither object nor list, and the place behind it.

    Where there is none, its fault below zero (`-1 - fault`), and that one's place.
    """
    c = data[at]
    if c == QUOTE:
        fault, at = _string(data, at + 1)
        return (STRING if fault == _FINE else -1 - fault), at
    if four(data, at) == IS_NULL:
        return NULL, at + 4
    if four(data, at) == TRUE:
        return BOOLEAN, at + 4
    if c == LOWER_F and four(data, at + 1) == ALSE:
        return BOOLEAN, at + 5
    behind = _number_end(data, at)
    if behind < 0:
        first = data[at + 1] if c == MINUS else c
        # NaN or Infinity, maybe: Python reads them.
        is_name = first == _UPPER_I or first == _UPPER_N
        return -1 - (UNKNOWN if is_name else NO_VALUE), at
    if behind - at > MAX_NUMBER:
        return -1 - UNKNOWN, at
    return NUMBER, behind


@part
def _is_key(data: Pointer, begin: int, end: int, key: Pointer, length: int) -> Any:
    """Whether `data[begin:end]` is the key; 2 where an escape leaves it open."""
    is_equal = end - begin == length
    for k in range(end - begin):
        if data[begin + k] == BACKSLASH:
            return 2
        is_equal = is_equal and data[begin + k] == key[k]
    return 1 if is_equal else 0


@part
def _fault(data: Pointer, at: int, key: Pointer, length: int, names_comma: int) -> Any:
    """The fault of a line that isn't blank and whose UTF-8 is valid, and where it is, or of what.

    As in `json_lines` a turn of the loop reads a key (in an object), a value, the brackets that
    close behind it, and the comma; `kinds` has a bit for every open bracket, 1 for an object.
    """
    at = behind_space(data, at)
    kinds = np.uint64(0)
    depth = 0
    outer, text, is_open = ABSENT, ABSENT, length < 0
    while True:
        is_text = False
        if depth > 0 and kinds & np.uint64(1):
            if data[at] != QUOTE:
                return NO_KEY, at
            begin = at + 1
            fault, at = _string(data, begin)
            if fault != _FINE:
                return fault, at
            if depth == 1 and not is_open:
                found = _is_key(data, begin, at - 1, key, length)
                is_text, is_open = found == 1, found == 2
            at = behind_space(data, at)
            if data[at] != COLON:
                return NO_COLON, at
            at = behind_space(data, at + 1)
        opens = data[at] == OPEN_OBJECT or data[at] == OPEN_LIST
        if opens:
            kind = OBJECT if data[at] == OPEN_OBJECT else LIST
            at = behind_space(data, at + 1)
        else:
            kind, at = _scalar(data, at)
            if kind < 0:
                return -1 - kind, at
        if depth == 0:
            outer = kind
        if is_text:
            text = kind
        if opens:
            if data[at] == (CLOSE_OBJECT if kind == OBJECT else CLOSE_LIST):
                at += 1
            elif depth == MAX_DEPTH:
                return UNKNOWN, at
            else:
                depth += 1
                kinds = kinds << np.uint64(1) | np.uint64(kind == OBJECT)
                continue
        while True:
            at = behind_space(data, at)
            if depth == 0:
                if data[at] != LINE_END:
                    return EXTRA, at
                if outer != OBJECT:
                    return NOT_AN_OBJECT, outer
                if is_open or text == STRING:
                    return UNKNOWN, at
                return (NO_TEXT if text == ABSENT else TEXT_IS), text
            closer = CLOSE_OBJECT if kinds & np.uint64(1) else CLOSE_LIST
            if data[at] != closer:
                break
            at += 1
            depth -= 1
            kinds >>= np.uint64(1)
        if data[at] != COMMA:
            return NO_COMMA, at
        comma = at
        at = behind_space(data, at + 1)
        if data[at] == closer and names_comma:
            return (COMMA_IN_OBJECT if closer == CLOSE_OBJECT else COMMA_IN_LIST), comma
        if data[at] == closer:
            return (NO_KEY if closer == CLOSE_OBJECT else NO_VALUE), at


@seldom
def find(
    block: Text,
    starts: Places,
    ends: Places,
    key: Text,
    names_key: int,
    names_comma: int,
    faults: Places,
    details: Places,
) -> None:
    """The fault of each line `block[starts[i]:ends[i]]`, behind which a line end stands, and more.

    The text is the value of `key`, or elsewhere where `names_key` is 0. With `names_comma` one too
    many is a fault of its own, as in Python from 3.13 on.
    """
    data = pointer(block)
    name = pointer(key)
    length = len(key) if names_key else -1
    for i in range(len(starts)):
        start, end = starts[i], ends[i]
        details[i] = 0
        if _is_blank(data, start, end):
            faults[i] = BLANK
            continue
        if data[start] == _MARK:
            faults[i] = UNKNOWN
            continue
        at = _wrong_utf8(data, start, end)
        if at < end:
            faults[i] = WRONG_UTF8
            details[i] = (at - start + 1) << 8 | np.int64(data[at])
            continue
        fault, at = _fault(data, start, name, length, names_comma)
        faults[i] = fault
        details[i] = at
        if fault >= NO_VALUE:
            column = 1
            for k in range(start, at):
                column += data[k] & 0xC0 != 0x80
            details[i] = column
