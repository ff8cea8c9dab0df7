"""Whether every record that came in went somewhere."""

from __future__ import annotations

from collections.abc import Sequence

from lowbg.amounts import count_text
from lowbg.config import OUTCOMES
from lowbg.report.sections.base import Block, Material, Note, Section
from lowbg.storage.typed import Count, Open


class Conservation(Open, frozen=True):
    """Records in, and where they went; `balanced` where none is missing, in all or in a shard."""

    records_in: Count
    human: Count
    ai: Count
    unscored: Count
    quarantined: Count
    balanced: bool
    unbalanced_shards: list[str]


def _collect(material: Material) -> Conservation:
    counted = material.statistics.documents()
    records = sum(shard.records for shard in material.shards)
    unbalanced = [shard.shard for shard in material.shards if not shard.balanced]
    return Conservation(
        records_in=records,
        human=counted["human"],
        ai=counted["ai"],
        unscored=counted["unscored"],
        quarantined=counted["quarantined"],
        balanced=records == sum(counted.values()) and not unbalanced,
        unbalanced_shards=unbalanced,
    )


def _blocks(check: Conservation) -> Sequence[Block]:
    parts = " + ".join(f"{count_text(getattr(check, verdict))} {verdict}" for verdict in OUTCOMES)
    sign = "=" if check.balanced else "≠"
    text = f"{count_text(check.records_in)} records in {sign} {parts}"
    if check.balanced:
        return (Note(f"{text}, in total and in every shard.", "good"),)
    shards = ", ".join(check.unbalanced_shards[:10])
    return (Note(f"{text}. This is a defect of lowbg. Shards: {shards}", "warning"),)


SECTION = Section(110, "conservation", "Nothing lost", _collect, _blocks)
