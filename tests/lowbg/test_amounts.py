from __future__ import annotations

import pytest

from lowbg import amounts


def test_counts_and_their_nouns() -> None:
    assert [amounts.counted(n, "record") for n in (0, 1, 2_000)] == [
        "0 records", "1 record", "2,000 records",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "–"), (0.0, "0.0 %"), (0.00005, "<0.01 %"), (0.0012, "0.12 %"), (0.1234, "12.3 %"),
        (1.0, "100.0 %"),
    ],
)  # fmt: skip
def test_shares(share: float | None, text: str) -> None:
    assert amounts.share_text(share) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_900, "99.9 kB"), (100_400, "100 kB"),
        (118_400_000, "118 MB"), (2 * 10**15, "2.0 PB"),
    ],
)  # fmt: skip
def test_bytes(count: int, text: str) -> None:
    assert amounts.bytes_text(count) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (9_994, "9.99 kB"), (9_996, "10.0 kB"),
        (99_960, "100 kB"), (118_400_000, "118 MB"), (999_600, "1.00 MB"), (10**18, "1000 PB"),
    ],
)  # fmt: skip
def test_bytes_in_three_digits(count: int, text: str) -> None:
    assert amounts.bytes_text(count, three_digits=True) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (-1, "0:00")],
)
def test_durations(seconds: float, text: str) -> None:
    assert amounts.duration_text(seconds) == text


def test_short_durations_in_tenths() -> None:
    assert amounts.duration_text(7.34, tenths=True) == "7.3 s"
    assert amounts.duration_text(754, tenths=True) == "12:34"
