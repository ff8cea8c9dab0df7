"""What a causal LM was asked, what it cost, and what it changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt

from lowbg.amounts import count_text, counted, share_text
from lowbg.report.estimate import share, wilson
from lowbg.report.naming import for_pages
from lowbg.report.sections.base import Block, Facts, Line, Material, Note, Section
from lowbg.storage.typed import Count, Open, Seconds, Share

_REASONS = {
    "sent_all": "every document",
    "sent_uncertain": "near the threshold",
    "sent_too_short": "too short for the tables",
    "sent_low": "a random part of the low scores",
    "sent_source": "pages of sources at the border",
}


class Missed(Open, frozen=True):
    """Documents that the LM would have called AI beside those it read: how many, with a 95 %
    interval. `unread` are those that it stands for: low scores, and too short ones."""

    unread: Count
    documents: Count
    low: Count
    high: Count


class SecondLook(Open, frozen=True, kw_only=True, omit_defaults=True):
    """Documents `sent` to a causal LM, their share of all, and by reason; what became of them.

    On `without_say` of them it had no say. `changed` verdicts are by what they were and became.
    `missed`: under a budget, what a random part says of the rest; null where nothing was drawn.
    """

    sent: Count
    share: Share | None
    reasons: dict[str, Count]
    without_say: Count
    tokens: Count
    seconds: Seconds
    changed: dict[str, Count]
    missed: Missed | None = None


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
        missed=missed_of(counts),
    )


def missed_of(counts: Mapping[str, int]) -> Missed | None:
    """What the drawn documents say of those that they were drawn from.

    A draw is one kind at one share: its documents stand alike for what wasn't read of it, and
    shares of several are added up, each with Wilson's interval. The distances of the ends are the
    root of the sum of their squares (Zou & Donner 2008). A draw of which none was read says
    nothing: none to all of it.
    """
    draws: dict[str, dict[str, int]] = {}
    for name, count in counts.items():
        key, slash, what = name.rpartition("/")
        if slash:
            draws.setdefault(key, {})[what] = count
    unread, estimate, below, above = 0, 0.0, 0.0, 0.0
    for draw in draws.values():
        documents, read, found = (draw.get(n, 0) for n in ("documents", "read", "found"))
        rest = documents - read
        low, high = wilson(found, read) or (0.0, 1.0)
        part = found / read if read else 0.0
        unread += rest
        estimate += rest * part
        below += (rest * (part - low)) ** 2
        above += (rest * (high - part)) ** 2
    if not draws:
        return None
    return Missed(
        unread=unread,
        documents=round(estimate),
        low=max(0, round(estimate - sqrt(below))),
        high=min(unread, round(estimate + sqrt(above))),
    )


def _facts(look: SecondLook) -> list[tuple[str, str]]:
    speed = f", {look.tokens / look.seconds:,.0f} a second" if look.seconds else ""
    changed = sum(look.changed.values())
    kinds = [f"{count_text(n)} {name.replace('_', ' ')}" for name, n in look.changed.items()]
    facts = [
        ("Read by the LM", f"{count_text(look.sent)} documents ({share_text(look.share)})"),
        ("Why", ", ".join(f"{count_text(n)} {_REASONS[k]}" for k, n in look.reasons.items())),
        ("Cost", f"{count_text(look.tokens)} tokens in {look.seconds:,.1f} s{speed}"),
        ("Without a say on", f"{count_text(look.without_say)} of them (language or length)"),
        ("Verdicts changed", f"{count_text(changed)}{': ' * bool(kinds)}{', '.join(kinds)}"),
    ]
    if look.missed is not None:
        facts.append(("Missed, about", _told(look.missed)))
    return facts


def _told(missed: Missed) -> str:
    return (
        f"{count_text(missed.documents)} more documents would be called AI if the LM read the "
        f"other {count_text(missed.unread)} low scores and short texts "
        f"(95 % interval {count_text(missed.low)} to {count_text(missed.high)})"
    )


_SILENT = for_pages(
    "The LM's metrics are reported and changed no verdict: the policy holds no calibration for "
    "this LM, and the languages and lengths that it read. "
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
    if look.missed is not None:
        missed = [
            f"about {counted(look.missed.documents, 'AI document')} more",
            f"95 %: {count_text(look.missed.low)} – {count_text(look.missed.high)}",
            f"of {count_text(look.missed.unread)} low scores and short texts",
        ]
        lines.append(Line("not read", missed))
    if _is_silent(look):
        lines.append(
            Line("LM", ["not calibrated: changes no verdict", "see lowbg calibrate"], "warning")
        )
    return lines


SECTION = Section(95, "second_look", "Second look", _collect, _blocks, _lines)
