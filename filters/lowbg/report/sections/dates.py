"""How many documents have a date, and what of those that are not understood looks like."""

from __future__ import annotations

from collections.abc import Sequence

from lowbg.amounts import count_text, counted
from lowbg.report.sections.base import Block, Column, Line, Material, Note, Section, Table
from lowbg.report.statistics import Statistics
from lowbg.storage.typed import Count, Open
from lowbg.text.dates import ABSENT, NOT_UNDERSTOOD, PLACEHOLDER, READ, STATES

KEPT = 20


class UnreadDate(Open, frozen=True):
    """A date that was not understood, cut at 40 characters, and how many documents have it."""

    written: str
    documents: Count


class Dates(Open, frozen=True):
    """Documents by what became of their date.

    `placeholder`: a day that stands for an unknown one, such as the Unix epoch. `examples`: the
    most frequent of those that were `not_understood`; neither counts as a date.
    """

    read: Count
    absent: Count
    placeholder: Count
    not_understood: Count
    examples: list[UnreadDate]


def _collect(material: Material) -> Dates:
    return _dates(material.statistics)


def _dates(statistics: Statistics) -> Dates:
    counts = [int(statistics.dates.row(state)[0]) for state in STATES]
    unread = statistics.unread_dates
    named = [(name, row[0]) for name, row in unread.to_dict().items() if name != unread.other]
    return Dates(
        read=counts[READ],
        absent=counts[ABSENT],
        placeholder=counts[PLACEHOLDER],
        not_understood=counts[NOT_UNDERSTOOD],
        examples=[UnreadDate(*row) for row in sorted(named, key=lambda row: (-row[1], row[0]))][
            :KEPT
        ],
    )


def _blocks(dates: Dates) -> Sequence[Block]:
    lines = _told(dates)
    blocks: list[Block] = [
        Note(
            f"{count_text(dates.read)} documents have a date, {count_text(dates.absent)} give none."
        )
    ]
    if lines:
        blocks.append(Note(f"{' '.join(lines)} Their documents count as undated.", "warning"))
    if dates.examples:
        columns = (Column("Not understood", "code"), Column("Documents", "count"))
        blocks.append(Table(columns, [(row.written, row.documents) for row in dates.examples]))
    return blocks


def told(statistics: Statistics) -> list[str]:
    """What there is to say of the dates that were counted: a sentence a kind that is no date."""
    return _told(_dates(statistics))


def _told(dates: Dates) -> list[str]:
    """What there is to say of documents whose date is none: a sentence a kind."""
    found = []
    if dates.not_understood:
        example = f", such as {dates.examples[0].written!r}" if dates.examples else ""
        found.append(f"{counted(dates.not_understood, 'date')} not understood{example}.")
    if dates.placeholder:
        default = "left at a default (1970-01-01 or 1900-01-01)"
        found.append(f"{counted(dates.placeholder, 'date')} {default}.")
    return found


def _lines(dates: Dates) -> Sequence[Line]:
    return [Line("dates", [text], "warning") for text in _told(dates)]


SECTION = Section(45, "dates", "Dates", _collect, _blocks, _lines)
