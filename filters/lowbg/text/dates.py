"""The day of each document's date: one reader for every use, a batch at a time.

ISO days and numbers are read in arrays. Of everything else the time of day is cut off first, so
that a batch has few distinct values left, which are read one by one and remembered.
"""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

from lowbg.arrays import bools, encoded

FIRST_YEAR: Final = 1900
LAST_YEAR: Final = 2099

STATES: Final = ("absent", "read", "placeholder", "not_understood")
ABSENT, READ, PLACEHOLDER, NOT_UNDERSTOOD = range(len(STATES))
"""What became of a date. A placeholder is a day that systems write where they know none."""

Days = NDArray[np.int64]


def _ordinal(year: int, month: int, day: int) -> int:
    return dt.date(year, month, day).toordinal() - _EPOCH


_EPOCH = dt.date(1970, 1, 1).toordinal()
_PLACEHOLDERS = np.array(
    # The Unix epoch, also as it is west of Greenwich, and the first day that SQL and Excel know.
    [_ordinal(1970, 1, 1), _ordinal(1969, 12, 31), _ordinal(1900, 1, 1)]
)
_FIRST, _LAST = _ordinal(FIRST_YEAR, 1, 1), _ordinal(LAST_YEAR, 12, 31)
_NO_DAY = np.int64(-(1 << 40))
_MONTH_DAYS = np.array([31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])

_ZONE = r"(?:Z|z|[A-Z]{2,5}|(?:UTC|GMT)?[+-][0-9]{1,2}(?::?[0-9]{2})?|\[[A-Za-z_/+-]+\])"
_TIME = r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?: ?[AaPp]\.?[Mm]\.?)?"
_CUT = (
    rf"^([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})(?:(?:[Tt]|[Tt]? ){_TIME}"
    rf"|[Tt][0-9]{{2}}(?:[0-9]{{2}}){{0,2}}(?:\.[0-9]+)?)?(?: ?{_ZONE}){{0,3}}$"
    rf"|^([0-9]{{8}})[Tt][0-9]{{4}}(?:[0-9]{{2}})?(?:\.[0-9]+)?(?:{_ZONE})?$"
    r"|^([0-9]{9,19})\.[0-9]*$"
)
"""What is left of them is in one of the groups."""
_CLOCK = rf"(?:^|[T\s,]+(?:at\s+)?){_TIME}(?: ?{_ZONE}){{0,3}}(?: ?\([A-Za-z ]+\))?"

_NUMBER_LENGTHS = (4, 6, 8, 9, 10, 12, 13, 14, 15, 16, 17, 18, 19)
_DIGIT = ord("0")
_SHAPES = np.zeros(256, np.uint8)
_SHAPES[np.frombuffer(b"0123456789", np.uint8)] = _DIGIT
_SHAPES[np.frombuffer(b"-:TtZz ", np.uint8)] = np.frombuffer(b"-:TTZZT", np.uint8)
"""Characters by what they do in a date."""
_ISO_SHAPES = {
    len(shape): np.frombuffer(shape, np.uint8)
    for shape in (b"0000-00-00", b"0000-00-00T00:00:00", b"0000-00-00T00:00:00Z")
}
_LONGEST = 21
"""A length that none of these has stands for all that are longer."""

_MONTH_NAMES = (
    "january february march april may june july august september october november december"
)
_MONTHS = {
    name[:length]: month
    for month, name in enumerate(_MONTH_NAMES.split(), 1)
    for length in (3, 4, len(name))
}
_MONTH = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\.?"
_WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?\.?,?\s+)?"
_YEAR, _DAY = r"(?P<year>[0-9]{4})", r"(?P<day>[0-9]{1,2})"
_APART = r"[\s,.\-/]+"
_FORMS: Final = tuple(
    re.compile(form, re.ASCII | re.IGNORECASE)
    for form in (
        rf"{_YEAR}\s*(?:[-/.]|年)\s*(?P<month>[0-9]{{1,2}})(?:\s*(?:[-/.]|月)\s*{_DAY}日?|月)?",
        rf"{_YEAR}[-/.](?P<month>[0-9]{{1,2}})",
        rf"(?P<month>[0-9]{{1,2}})[-/.]{_YEAR}",
        rf"{_WEEKDAY}{_DAY}(?:st|nd|rd|th)?(?:\s+of)?(?:{_APART})?{_MONTH}(?:{_APART})?{_YEAR}",
        rf"{_WEEKDAY}{_MONTH}{_APART}{_DAY}(?:st|nd|rd|th)?{_APART}{_YEAR}",
        rf"{_MONTH}{_APART}{_YEAR}",
        rf"{_YEAR}{_APART}{_MONTH}(?:{_APART}{_DAY})?",
        rf"{_YEAR}-?W(?P<week>[0-9]{{2}})(?:-?(?P<weekday>[1-7]))?",
        rf"{_YEAR}-(?P<of_year>[0-9]{{3}})",
        rf"(?P<first>[0-9]{{1,2}})(?P<mark>[-/.])(?P<second>[0-9]{{1,2}})(?P=mark){_YEAR}",
    )
)


class Dates(Struct, frozen=True):
    """The dates of a batch's documents, one entry each.

    `days` counts from 1970-01-01: the last day that a date may stand for ("2022-11": the 30th;
    "01/02/2021": 1 February), a number without meaning where `states` is not `READ`. `written` is
    what the records say.
    """

    days: Days
    states: NDArray[np.int8]
    written: pa.StringArray

    def __len__(self) -> int:
        return len(self.days)

    def part(self, own: slice) -> Dates:
        """Those of some documents."""
        return Dates(self.days[own], self.states[own], self.written[own])

    def before(self, day: dt.date) -> NDArray[np.bool_]:
        """Which are dates that lie before `day` for certain."""
        cut_off = day.toordinal() - _EPOCH
        return np.asarray((self.states == READ) & (self.days < cut_off), np.bool_)

    def years(self) -> NDArray[np.int64]:
        """The year of each date; 0 where there is none."""
        years = self.days.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
        return np.where(self.states == READ, years, 0)


def read_dates(written: pa.StringArray) -> Dates:
    """The dates that records give, from 1900 to 2099.

    Read are ISO 8601 (a day, month, year, week or day of the year, with or without a time), days
    with slashes or dots, compact ones (YYYYMM, YYYYMMDD and a time behind it), Unix times in s, ms,
    µs or ns, RFC 2822, and months written in English. The day is the one that is written, whatever
    the time zone; a Unix time's is in UTC. Of twelve digits, those that make a compact date are
    one. What may be one of two days, such as 01/02/2021, counts as the later.
    """
    states = np.full(len(written), ABSENT, np.int8)
    if written.null_count == len(written):
        return Dates(np.full(len(written), _NO_DAY), states, written)
    days, is_odd = _plain_days(written)
    if is_odd.any():
        days[is_odd] = _odd_days(written.filter(pa.array(is_odd)))
    good = (days >= _FIRST) & (days <= _LAST)
    states[good] = READ
    states[np.isin(days, _PLACEHOLDERS)] = PLACEHOLDER
    if not good.all():
        import pyarrow.compute as pc

        blank = pc.or_kleene(pc.is_null(written), pc.match_substring_regex(written, r"^\s*$"))
        states[~good & ~bools(blank)] = NOT_UNDERSTOOD
    return Dates(days, states, written)


def _plain_days(written: pa.StringArray) -> tuple[Days, NDArray[np.bool_]]:
    """The days of plain ISO dates and plain numbers, and which values are neither."""
    days = np.full(len(written), _NO_DAY, np.int64)
    offsets = np.frombuffer(written.buffers()[1], np.int32)
    offsets = offsets[written.offset : written.offset + len(written) + 1].astype(np.int64)
    lengths = np.diff(offsets)
    data = np.frombuffer(written.buffers()[2] or b"", np.uint8)
    is_odd = lengths > 0
    for length in np.flatnonzero(np.bincount(np.minimum(lengths, _LONGEST))).tolist():
        template = _ISO_SHAPES.get(length)
        if template is None and length not in _NUMBER_LENGTHS:
            continue
        own = np.flatnonzero(lengths == length)
        characters = data[offsets[own][:, None] + np.arange(length)]
        shapes = _SHAPES[characters]
        if template is not None:
            like = (shapes == template).all(axis=1)
            days[own[like]] = _iso_days(characters[like, :10].astype(np.int64) - ord("0"))
            is_odd[own[like]] = False
        like = (shapes == _DIGIT).all(axis=1)
        if like.any() and length in _NUMBER_LENGTHS:
            powers = np.uint64(10) ** np.arange(length - 1, -1, -1, dtype=np.uint64)
            numbers = (characters[like] - np.uint8(ord("0"))).astype(np.uint64) @ powers
            days[own[like]] = _number_days(numbers, length)
            is_odd[own[like]] = False
    return days, is_odd


def _iso_days(digits: Days) -> Days:
    """The days of rows of ten characters, YYYY-MM-DD, less "0"."""
    return _days(
        digits[:, :4] @ np.array([1000, 100, 10, 1]),
        digits[:, 5:7] @ np.array([10, 1]),
        digits[:, 8:10] @ np.array([10, 1]),
    )


def _days(year: Days, month: Days, day: Days) -> Days:
    """Days since 1970-01-01; `_NO_DAY` where there is no such day."""
    first = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month - 1)
    days = first.astype("datetime64[D]").astype(np.int64) + day - 1
    good = (month >= 1) & (month <= 12) & (day >= 1)
    good &= day <= _MONTH_DAYS[np.clip(month, 1, 12) - 1]
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    good &= leap | (month != 2) | (day <= 28)
    return np.where(good, days, _NO_DAY)


def _last_of_month(year: Days, month: Days) -> Days:
    behind = np.where(month == 12, 1, month + 1)
    days = _days(year + (month == 12), behind, np.ones_like(year)) - 1
    return np.where((month >= 1) & (month <= 12), days, _NO_DAY)


def _odd_days(written: pa.StringArray) -> Days:
    """The days of other values, none of them null; `_NO_DAY` where there is none."""
    import pyarrow.compute as pc

    days = np.full(len(written), _NO_DAY, np.int64)
    bare = pc.utf8_trim_whitespace(written)
    # Of an ISO date the day is left, and of a number its whole part.
    bare = pc.replace_substring_regex(bare, _CUT, r"\1\2\3")
    days, is_odd = _plain_days(bare)
    if is_odd.any():
        rest = pc.replace_substring_regex(bare.filter(pa.array(is_odd)), _CLOCK, " ")
        codes, values = encoded(pc.utf8_trim_whitespace(rest))
        days[is_odd] = np.array([_day_of(value or "") for value in values], np.int64)[codes]
    return days


def _number_days(numbers: NDArray[np.uint64], length: int) -> Days:
    """The days of compact dates, and of Unix times whose unit is told by their digits."""

    def part(begin: int, end: int) -> Days:
        """The digits from `begin` up to `end`, as numbers."""
        power = np.uint64(10) ** np.uint64(length - end)
        return (numbers // power % np.uint64(10 ** (end - begin))).astype(np.int64)

    no_day = np.full(len(numbers), _NO_DAY, np.int64)
    if length == 4:
        return _days(part(0, 4), np.full_like(no_day, 12), np.full_like(no_day, 31))
    if length == 6:
        return _last_of_month(part(0, 4), part(4, 6))
    compact = no_day
    if length in (8, 12, 14, 17):  # YYYYMMDD, with hhmm, with ss, with ms.
        compact = _days(part(0, 4), part(4, 6), part(6, 8))
        year, ends = part(0, 4), (10, 12, 14)
        good = (year >= FIRST_YEAR) & (year <= LAST_YEAR)
        for end, most in zip(ends, (23, 59, 60), strict=True):
            if end <= length:
                good &= part(end - 2, end) <= most
        compact = np.where(good, compact, _NO_DAY)
    # From 1973 (s, ms) and 1970-04 (µs, ns) to 2286, the digits tell the units apart.
    power = {9: 0, 10: 0, 12: 3, 13: 3, 15: 6, 16: 6, 18: 9, 19: 9}.get(length)
    if power is None:
        return compact
    seconds = (numbers // np.uint64(10**power)).astype(np.int64)
    return np.where(compact != _NO_DAY, compact, seconds // 86_400)


@lru_cache(1 << 16)
def _day_of(bare: str) -> int:
    """The last day that text without a time of day may stand for; `_NO_DAY` where it is none."""
    for form in _FORMS:
        if found := form.fullmatch(bare):
            # What none of a form's readings is a day of may be one by another form.
            days = [_ordinal(day.year, day.month, day.day) for day in _readings(found.groupdict())]
            if days:
                return max(days)
    return _day_of_number(bare)


def _readings(parts: dict[str, str | None]) -> Iterator[dt.date]:
    """The last days that the parts of a date may stand for, if there are such."""
    year = int(parts["year"] or 0)
    first, second = parts.get("first"), parts.get("second")
    month, day = parts.get("month"), parts.get("day")
    with suppress(ValueError):
        if first and second:
            yield dt.date(year, int(second), int(first))
        elif week := parts.get("week"):
            yield dt.date.fromisocalendar(year, int(week), int(parts.get("weekday") or 7))
        elif number := parts.get("of_year"):
            found = dt.date(year, 1, 1) + dt.timedelta(int(number) - 1)
            if found.year == year:
                yield found
        elif month:
            numbered = _MONTHS.get(month.lower()) or int(month)
            if day:
                yield dt.date(year, numbered, int(day))
            else:
                yield dt.date(year, numbered, calendar.monthrange(year, numbered)[1])
    if first and second and parts.get("mark") != ".":
        with suppress(ValueError):
            yield dt.date(year, int(first), int(second))


def _day_of_number(bare: str) -> int:
    """The day of a number in a rare notation: the epoch, signs, exponents."""
    if not re.fullmatch(r"[+-]?[0-9]{1,20}(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,2})?", bare):
        return int(_NO_DAY)
    number = float(bare)
    if number == 0:
        return 0
    whole = f"{number:.0f}"
    if not re.fullmatch(r"[0-9]{9,19}", whole):
        return int(_NO_DAY)
    return int(_number_days(np.array([int(whole)], np.uint64), len(whole))[0])
