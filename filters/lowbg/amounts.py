"""Numbers for people: counts with their noun, shares, bytes and times, the same everywhere."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def count_text(value: int) -> str:
    """1234567 → 1,234,567."""
    return f"{value:,}"


def counted(count: int, noun: str) -> str:
    """A count with its noun: `1 record`, `2,000 records`."""
    return f"{count_text(count)} {noun}{'s' * (count != 1)}"


def share_text(value: float | None) -> str:
    """0.1234 → 12.3 %; small shares keep two digits; a dash for None."""
    if value is None:
        return "–"
    percent = 100 * value
    if 0 < percent < 0.01:
        return "<0.01 %"
    return f"{percent:.2f} %" if 0 < percent < 1 else f"{percent:.1f} %"


def bytes_text(value: float, *, three_digits: bool = False) -> str:
    """Bytes in decimal units: 1500000 → 1.5 MB.

    With `three_digits` 1.50 MB, for a line that is written again and again.
    """
    full = 999.5 if three_digits else 1000.0
    unit = 0
    while value >= full and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    if unit == 0:
        digits = 0
    elif three_digits:
        digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    else:
        digits = 0 if value >= 100 else 1
    return f"{value:.{digits}f} {_UNITS[unit]}"


def duration_text(seconds: float, *, tenths: bool = False) -> str:
    """Hours, minutes and seconds: 0:07, 12:30, 3:05:00; with `tenths` 7.3 s below a minute."""
    if tenths and seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
