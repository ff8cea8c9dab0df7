"""AI share by language and year."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lowbg.report.estimate import share
from lowbg.report.sections.base import Block, Grid, Material, Note, Section
from lowbg.report.statistics import TRUST_COUNTS
from lowbg.storage.typed import Count, Open, Share
from lowbg.text.origins import UNKNOWN_YEAR

_ROWS = 12
_COLUMNS = 12


class LanguageYear(Open, frozen=True):
    """Scored documents of a language and year that no denied source gave, and AI ones of them."""

    language: str
    year: str
    scored: Count
    ai: Count
    ai_share_of_scored: Share | None


def _collect(material: Material) -> list[LanguageYear]:
    rows = []
    for name, counts in material.statistics.trust.to_dict().items():
        language, _, year = name.partition("/")
        of = dict(zip(TRUST_COUNTS, counts, strict=True))
        scored = of["scored"] + of["trusted_scored"]
        if scored:
            rows.append(LanguageYear(language, year, scored, of["ai"], share(of["ai"], scored)))
    return rows


def _blocks(cells: list[LanguageYear]) -> Sequence[Block]:
    if not cells:
        return (Note("No document was scored."),)
    by_language: Counter[str] = Counter()
    for cell in cells:
        by_language[cell.language] += cell.scored
    languages = sorted(by_language, key=lambda name: (-by_language[name], name))
    years = sorted({cell.year for cell in cells}, key=lambda year: (year == UNKNOWN_YEAR, year))
    shown = years[-_COLUMNS:]
    found = {
        (cell.language, cell.year): (cell.ai_share_of_scored or 0.0, cell.scored) for cell in cells
    }
    grid = Grid(
        "Language", shown, languages[:_ROWS],
        [[found.get((name, year)) for year in shown] for name in languages[:_ROWS]],
    )  # fmt: skip
    more = []
    if len(languages) > _ROWS or len(years) > len(shown):
        more = [Note("Earlier years and further languages are in report.json.")]
    return (grid, *more)


SECTION = Section(
    52, "language_years", "AI share by language and year", _collect, _blocks,
    weak="A cell of few documents says little: 3 of 20 is anything from 5 to 36 %.",
)  # fmt: skip
