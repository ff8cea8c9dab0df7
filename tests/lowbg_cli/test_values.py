from __future__ import annotations

import datetime as dt

import pytest
import typer

from lowbg_cli.values import parse_date, parse_size, parse_whole


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1), ("65536", 65536), ("64k", 65536), ("64K", 65536), ("64KiB", 65536),
        ("64kB", 64000), ("1.5M", 1572864), ("2 GB", 2 * 10**9), ("1Ti", 1 << 40), ("7B", 7),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "0.1", "1e6", "64Q", "MB"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_size(text)


def test_days() -> None:
    assert parse_date("2022-11-30") == dt.date(2022, 11, 30)
    for text in ("30.11.2022", "2022-13-01", "yesterday"):
        with pytest.raises(typer.BadParameter, match="2022-11-30"):
            parse_date(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("1924", 1924), ("1,924", 1924), ("-1", -1), ("12,345,678", 12345678), (" 7 ", 7)],
)
def test_whole_numbers_are_read_as_they_are_written(text: str, number: int) -> None:
    assert parse_whole(text) == number


@pytest.mark.parametrize("text", ["", "x", "1.5", "1,92", "1,9244", ",924", "1,,924", "1e3", "1_0"])
def test_no_whole_numbers(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no whole number"):
        parse_whole(text)
