"""Every form in which data sets write a date, and what is none."""

from __future__ import annotations

import datetime as dt
from email.utils import format_datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowbg.text.dates import STATES, read_dates
from lowbg.text.origins import UNKNOWN_YEAR, years

CUT_OFF = dt.date(2022, 11, 30)

FIRST_OF_2021 = [
    "2021-01-01",
    "2021-1-1",
    "2021-01-01T00:00:00Z",
    "2021-01-01t00:00:00z",
    "2021-01-01 23:59:59",
    "2021-01-01T00:00:00.123456+00:00",
    "2021-01-01T00:00",
    "2021-01-01T00:00+01:00[Europe/Berlin]",
    "2021-01-01 00:00:00 +0000 UTC",
    "2021-01-01 10:00 PM",
    "2021-01-01T101500Z",
    "2021-01-01Z",
    " 2021-01-01 ",
    "2020-W53-5",
    "2021-001",
    "2021/01/01",
    "2021/1/1 10:00",
    "2021.01.01",
    "2021年1月1日",
    "20210101",
    "202101011200",
    "20210101120000",
    "20210101120000000",
    "20210101T120000Z",
    "1609459200",
    "1609459200.25",
    "1.6094592e9",
    "1609459200000",
    "1609459200000000",
    "1609459200000000000",
    "Fri, 01 Jan 2021 00:00:00 GMT",
    "Fri, 1 Jan 2021 00:00:00 +0000 (UTC)",
    "Fri Jan  1 00:00:00 2021",
    "Fri Jan 01 00:00:00 +0000 2021",
    "Friday, 01-Jan-2021 00:00:00 GMT",
    "1 January 2021",
    "1st of January 2021",
    "01-Jan-2021",
    "1. Jan. 2021",
    "January 1, 2021",
    "Jan 1st, 2021 at 5:03 PM",
    "2021 January 1",
    "01/01/2021",
    "1.1.2021",
]


def days(*written: str | None) -> list[str | None]:
    """The day of each, in ISO form; null where it is none."""
    found = read_dates(pa.array(written, pa.string()))
    known = found.states == STATES.index("read")
    return [
        str(np.datetime64(day, "D")) if ok else None
        for day, ok in zip(found.days.tolist(), known.tolist(), strict=True)
    ]


@pytest.mark.parametrize("written", FIRST_OF_2021)
def test_a_day_in_every_form(written: str) -> None:
    assert days(written) == ["2021-01-01"]


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2021", "2021-12-31"),  # some day of 2021
        ("2021-02", "2021-02-28"),
        ("2024/02", "2024-02-29"),
        ("202102", "2021-02-28"),
        ("02/2021", "2021-02-28"),
        ("February 2021", "2021-02-28"),
        ("2021年2月", "2021-02-28"),
        ("2021-W05", "2021-02-07"),
        ("01/02/2021", "2021-02-01"),  # or 2 January
        ("13/02/2021", "2021-02-13"),
        ("02/13/2021", "2021-02-13"),
        ("1.2.2021", "2021-02-01"),
        ("2000-02-29", "2000-02-29"),
        ("1999999999", "2033-05-18"),
        ("Sept 3, 2021", "2021-09-03"),
    ],
)
def test_what_leaves_a_day_open_stands_for_the_last_one(written: str, day: str) -> None:
    assert days(written) == [day]


@pytest.mark.parametrize(
    ("written", "state"),
    [
        (None, "absent"),
        ("", "absent"),
        (" \t", "absent"),
        ("1970-01-01", "placeholder"),
        ("1970-01-01T00:00:00Z", "placeholder"),
        ("Thu, 01 Jan 1970 00:00:00 GMT", "placeholder"),
        ("1969-12-31T16:00:00-08:00", "placeholder"),
        ("1900-01-01", "placeholder"),
        ("0", "placeholder"),
        ("0.0", "placeholder"),
        *(
            (written, "not_understood")
            for written in (
                "2021-99-99", "2021-02-29", "2100-02-29", "1900-02-29", "2021-06-31", "2021-00-10",
                "2021-13", "20211301", "202113", "31 February 2021", "13/13/2021",
                "2.13.2021", "2021-W54", "2021-366", "0000-00-00", "1850-01-01", "2100-01-01",
                "9999-12-31", "99999999", "1", "-1609459200", "12345678901", "16094592000000000001",
                "2021-01-01x", "2021-01-01/2023-01-01", "2021-01-01T00:00/2023-01-01",
                "2021-01-01 10:00 - 2023-01-01", "1 January 21", "soon", "NaT", "00:00:00",
                "May", "(object)", "Winter 2021", "٢٠٢١-٠١-٠١", "2021-01-01\n2023-01-01", "\ud7ff",
            )
        ),
    ],
)  # fmt: skip
def test_impossible_days_and_the_epoch_are_no_dates(written: str | None, state: str) -> None:
    found = read_dates(pa.array([written], pa.string()))
    assert STATES[found.states[0]] == state
    assert not found.before(dt.date(2200, 1, 1)).any()
    named = years(found)
    assert named.names[named.codes[0]] == UNKNOWN_YEAR


@pytest.mark.parametrize(
    ("written", "before"),
    [
        ("2022-11-29T23:59:59Z", True),
        ("2022-11-30", False),
        ("2021", True),
        ("2022", False),
        ("2022-10", True),
        ("2022-11", False),
        ("20221129", True),
        ("11/12/2022", False),
        ("10/11/2022", True),
        ("1669766399", True),
        ("1669766400", False),
    ],
)
def test_a_date_lies_before_when_all_of_it_does(written: str, before: bool) -> None:
    assert read_dates(pa.array([written])).before(CUT_OFF).tolist() == [before]


@given(st.lists(st.sampled_from([*FIRST_OF_2021, None, "", "soon", "2021-99-99", "0"]) | st.text()))
def test_a_date_never_depends_on_the_others(written: list[str | None]) -> None:
    together = read_dates(pa.array(["x", *written], pa.string()).slice(1))
    alone = [read_dates(pa.array([each], pa.string())) for each in written]
    assert together.states.tolist() == [int(each.states[0]) for each in alone]
    for i, each in enumerate(alone):
        if STATES[together.states[i]] == "read":
            assert together.days[i] == each.days[0]


@given(st.dates(dt.date(1973, 3, 4), dt.date(2099, 12, 31)))
def test_all_forms_of_a_day_are_that_day(day: dt.date) -> None:
    midnight = dt.datetime.combine(day, dt.time(), dt.UTC)
    seconds = int(midnight.timestamp())
    forms = [
        day.isoformat(), midnight.isoformat(), f"{day:%Y%m%d}", f"{day:%Y/%m/%d}", str(seconds),
        str(seconds * 1000), format_datetime(midnight), f"{day.day} {day:%B %Y}",
    ]  # fmt: skip
    assert days(*forms) == [day.isoformat()] * len(forms)


def test_years_are_named_once() -> None:
    found = years(read_dates(pa.array(["2021-05-01", None, "1 May 2021", "1999", "soon"])))
    assert [found.names[code] for code in found.codes] == [
        "2021", UNKNOWN_YEAR, "2021", "1999", UNKNOWN_YEAR,
    ]  # fmt: skip
    assert len(found.names) == len(set(found.names))
