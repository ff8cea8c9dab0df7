from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
import typer
from typer.testing import Result

from lowbg.settings import SHARE
from lowbg_cli.option_tables import commands
from lowbg_cli.values import (
    parse_date,
    parse_output,
    parse_place,
    parse_rate,
    parse_share,
    parse_size,
    parse_whole,
    parser_of,
)


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


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("0.01", Fraction(1, 100)), ("1%", Fraction(1, 100)), ("1 %", Fraction(1, 100)),
        ("1/100", Fraction(1, 100)), ("1e-2", Fraction(1, 100)), ("2.3%", Fraction(23, 1000)),
        (".5", Fraction(1, 2)), ("0", Fraction(0)), ("150%", Fraction(3, 2)),
        ("1/3", Fraction(1, 3)),
    ],
)  # fmt: skip
def test_shares(text: str, share: Fraction) -> None:
    assert parse_share(text) == share
    assert parse_rate(text) == float(share)


@pytest.mark.parametrize(
    "text", ["", "x", "%", "1%%", "%1", "1,5", "1/0", "1/", "nan", "inf", "1e999", "1e999999999"]
)
def test_no_shares(text: str) -> None:
    for parse in (parse_share, parse_rate):
        with pytest.raises(typer.BadParameter, match=r"write it like 0\.01, 1% or 1/100"):
            parse(text)


def test_every_share_of_a_command_line_may_be_in_per_cent() -> None:
    options = [option for command in commands().values() for option in command.options]
    shares = {o.flag: o.own for o in options if o.setting.unit == SHARE}
    assert {parser_of(own)("5%") for own in shares.values()} == {0.05, Fraction(1, 20)}  # type: ignore[misc]
    known = {
        *("--target-fpr", "--fail-above", "--max-ai-share", "--max-quarantined-share"),
        *("--min-human-token-share", "--min-human", "--max-ai-share-rise"),
    }
    assert shares.keys() >= known
    named = {o.flag for o in options if re.search(r"share|fpr|rate", o.flag)}
    assert named - shares.keys() == {"--max-ai-share-by", "--fpr-bound"}


def test_shares_in_per_cent_do_what_the_others_do(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    shard = tmp_path / "a.jsonl"
    shard.write_text('{"text": "Short."}\n')
    for share in ("0.5", "50%", "1/2"):
        got = run("filter", shard, "--discard-ai", "--dry-run", "--target-fpr", share)
        assert ("policy.target_fpr                  0.5" in got.stdout, got.exit_code) == (True, 0)
        got = run("gate", shard, "--max-ai-share-by", f"language={share}", "--max-ai-share", share)
        assert got.exit_code != 2, got.stderr
    got = run("gate", shard, "--max-ai-share", "101%")
    assert (got.exit_code, "1.01 is not between 0 and 1" in got.stderr) == (2, True)


@pytest.mark.parametrize("url", ["s3://", "gs:", "az:///"])
def test_an_output_without_a_bucket_says_so(url: str) -> None:
    with pytest.raises(typer.BadParameter, match="names no bucket"):
        parse_place(url)


@pytest.mark.parametrize("parse", [parse_output, parse_place])
def test_an_output_without_a_name_is_not_the_current_directory(
    parse: Callable[[str], Path],
) -> None:
    with pytest.raises(typer.BadParameter, match="it is empty"):
        parse("")
    assert parse(".") == Path()
