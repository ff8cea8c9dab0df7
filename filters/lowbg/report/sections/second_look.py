"""What a causal LM was asked, what it cost, and what it changed."""

from __future__ import annotations

from collections.abc import Sequence

from lowbg.amounts import count_text, share_text
from lowbg.report.estimate import share
from lowbg.report.naming import for_pages
from lowbg.report.sections.base import Block, Facts, Line, Material, Note, Section
from lowbg.storage.typed import Count, Open, Seconds, Share

_REASONS = {
    "sent_all": "every document",
    "sent_band": "ai_score in the band",
    "sent_too_short": "too short for the tables",
}


class SecondLook(Open, frozen=True):
    """Documents `sent` to a causal LM, their share of all, and by reason; what became of them.

    On `without_say` of them it had no say. `changed` verdicts are by what they were and became.
    """

    sent: Count
    share: Share | None
    reasons: dict[str, Count]
    without_say: Count
    tokens: Count
    seconds: Seconds
    changed: dict[str, Count]


def _collect(material: Material) -> SecondLook | None:
    counts = {name: row[0] for name, row in material.statistics.second_look.to_dict().items()}
    if not counts:
        return None
    documents = sum(material.statistics.documents().values())
    sent = sum(counts.get(name, 0) for name in _REASONS)
    return SecondLook(
        sent=sent,
        share=share(sent, documents),
        reasons={name: counts[name] for name in _REASONS if name in counts},
        without_say=counts.get("without_say", 0),
        tokens=counts.get("tokens", 0),
        seconds=sum(shard.lm_seconds for shard in material.shards),
        changed={name: n for name, n in sorted(counts.items()) if "_to_" in name},
    )


def _facts(look: SecondLook) -> list[tuple[str, str]]:
    speed = f", {look.tokens / look.seconds:,.0f} a second" if look.seconds else ""
    changed = sum(look.changed.values())
    kinds = [f"{count_text(n)} {name.replace('_', ' ')}" for name, n in look.changed.items()]
    return [
        ("Read by the LM", f"{count_text(look.sent)} documents ({share_text(look.share)})"),
        ("Why", ", ".join(f"{count_text(n)} {_REASONS[k]}" for k, n in look.reasons.items())),
        ("Cost", f"{count_text(look.tokens)} tokens in {look.seconds:,.1f} s{speed}"),
        ("Without a say on", f"{count_text(look.without_say)} of them (language or length)"),
        ("Verdicts changed", f"{count_text(changed)}{': ' * bool(kinds)}{', '.join(kinds)}"),
    ]


_SILENT = for_pages(
    "The LM's figures are reported and changed no verdict: the policy holds no calibration for "
    "this LM, this band, and the languages and lengths that it read. "
    "lowbg calibrate with `extras.lm.model` makes one."
)


def _blocks(look: SecondLook | None) -> Sequence[Block]:
    if look is None:
        return (Note("No causal LM ran."),)
    notes = (Note(_SILENT, "warning"),) if _is_silent(look) else ()
    return (Facts(_facts(look)), *notes)


def _is_silent(look: SecondLook) -> bool:
    return bool(look.sent) and look.without_say == look.sent


def _lines(look: SecondLook | None) -> Sequence[Line]:
    if look is None:
        return ()
    changed = sum(look.changed.values())
    items = [
        f"{count_text(look.sent)} documents ({share_text(look.share)})",
        f"{count_text(look.tokens)} tokens in {look.seconds:,.1f} s",
        f"{count_text(changed)} verdicts changed",
    ]
    lines = [Line("read by LM", items)]
    if _is_silent(look):
        lines.append(
            Line("LM", ["not calibrated: changes no verdict", "see lowbg calibrate"], "warning")
        )
    return lines


SECTION = Section(95, "second_look", "Second look", _collect, _blocks, _lines)
