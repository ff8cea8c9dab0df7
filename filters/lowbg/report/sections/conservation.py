"""Whether every record that came in went somewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowbg.config import OUTCOMES
from lowbg.report.sections.base import Block, Material, Note, Section, count_text


def _collect(material: Material) -> dict[str, Any]:
    counted = material.statistics.documents()
    records = sum(shard["records"] for shard in material.shards)
    unbalanced = [shard["shard"] for shard in material.shards if not shard["balanced"]]
    return {
        "records_in": records,
        **{verdict: counted[verdict] for verdict in OUTCOMES},
        "balanced": records == sum(counted.values()) and not unbalanced,
        "unbalanced_shards": unbalanced,
    }


def _blocks(check: Any) -> Sequence[Block]:
    parts = " + ".join(f"{count_text(check[verdict])} {verdict}" for verdict in OUTCOMES)
    sign = "=" if check["balanced"] else "≠"
    text = f"{count_text(check['records_in'])} records in {sign} {parts}"
    if check["balanced"]:
        return (Note(f"{text}, in total and in every shard.", "good"),)
    shards = ", ".join(check["unbalanced_shards"][:10])
    return (Note(f"{text}. This is a defect of lowbg. Shards: {shards}", "warning"),)


SECTION = Section(110, "conservation", "Nothing lost", _collect, _blocks)
