"""The rules: each looks at evidence and gives findings.

A share is compared with its limit exactly where all documents were judged and the policy asks for
`raw` or `estimate`. Under a sample, and for `upper`, its 95 % interval decides: it passes when
the whole interval keeps to the limit, fails when none of it does, and is undecided in between.
Intervals of shares of documents are Wilson's; those of shares of words are Wilson's too, of the
effective number of documents (Σw)²/Σw² (Kish 1965; Korn & Graubard 1998).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lowbg.amounts import count_text, counted, share_text
from lowbg.config import Gate, GateGroup, GateStatistic
from lowbg.errors import ConfigError
from lowbg.jobs.gate.evidence import Evidence, Part
from lowbg.jobs.gate.findings import Finding, GateResult, Place, Status
from lowbg.report.counting import CountTable
from lowbg.report.estimate import Estimate, ShareEstimator, keeps_to, share, wilson
from lowbg.report.sections.unscored import by_language
from lowbg.report.statistics import MEASURES
from lowbg.scorers.phrases.patterns import categories
from lowbg.text.origins import NO_HOST

Interval = Sequence[float]
"""The lower and the upper end."""

_PLACES: Final = 3
_REST: Final = "(other)"
_ENOUGH: Final = 100_000_000
"""More documents than this are no advice."""


def check_gate(gate: Gate) -> None:
    """Raises `ConfigError` for a gate that limits nothing, or a category that there isn't."""
    if gate.empty:
        raise ConfigError(
            "nothing to judge by: give limits under [gate] in the policy, such as "
            "`gate.max_ai_share=0.05`"
        )
    known = categories() if gate.max_phrase_hits else ()
    for category in gate.max_phrase_hits:
        if category not in known:
            nearest = difflib.get_close_matches(category, known, 1, cutoff=0.0)
            raise ConfigError(
                f"gate.max_phrase_hits.{category}: no such category; did you mean {nearest[0]!r}? "
                f"There are: {', '.join(known)}"
            )


def judge(gate: Gate, evidence: Evidence) -> GateResult:
    """Every rule's findings. Raises `ConfigError` as `check_gate` does."""
    check_gate(gate)
    findings = [finding for rule in RULES for finding in rule(gate, evidence)]
    return GateResult(
        evidence.subject,
        tuple(findings),
        evidence.records,
        int(evidence.statistics.scored()[0]),
        evidence.sample,
        evidence.left_out,
        by_language(evidence.statistics),
        evidence.models,
    )


def _whole_inputs(gate: Gate, evidence: Evidence) -> list[Finding]:
    if not evidence.broken:
        return _readable_records(gate, evidence)
    broken = len(evidence.broken)
    return [
        Finding(
            rule="whole_inputs",
            status=Status.ERROR,
            limit=0,
            value=broken,
            is_share=False,
            reason=f"{broken} of the {len(evidence.shards)} inputs could not be read whole",
            places=tuple(Place(message) for message in evidence.broken[:_PLACES]),
        )
    ]


def _readable_records(gate: Gate, evidence: Evidence) -> list[Finding]:
    """Where no record at all could be read, there is nothing to judge."""
    lost = evidence.statistics.documents()["quarantined"]
    if not lost or lost < evidence.records:
        return _readable_inputs(gate, evidence)
    reasons = ", ".join(sorted(evidence.statistics.rejected.names))
    return [
        Finding(
            rule="readable_records", status=Status.ERROR, limit=1, value=0, is_share=False,
            is_minimum=True, reason=f"no record can be read ({reasons})",
        )
    ]  # fmt: skip


def _readable_inputs(gate: Gate, evidence: Evidence) -> list[Finding]:
    """What an input holds of which nothing could be read, none of the other rules sees.

    A limit on the quarantined share says how much of that may be.
    """
    unreadable = evidence.unreadable
    if not unreadable or gate.max_quarantined_share is not None:
        return []
    return [
        Finding(
            rule="readable_inputs", status=Status.ERROR, limit=0, value=len(unreadable),
            is_share=False,
            reason=f"no record of {count_text(len(unreadable))} of the {len(evidence.shards)} "
            "inputs can be read; max_quarantined_share says how many may be",
            places=tuple(Place(part.name, part.path) for part in unreadable[:_PLACES]),
        )
    ]  # fmt: skip


def _left_out(gate: Gate, evidence: Evidence) -> list[Finding]:
    """What may be data and wasn't read, none of the other rules sees."""
    found = [each for each in evidence.left_out if each.kind.may_be_data]
    if not found:
        return []
    failed = len(found) > gate.max_left_out_files
    return [
        Finding(
            rule="max_left_out_files",
            status=Status.FAIL if failed else Status.PASS,
            limit=gate.max_left_out_files,
            value=len(found),
            is_share=False,
            reason="not judged: give them in a form that is read, or leave them out with `exclude`",
            places=tuple(Place(each.text, each.path) for each in found[:_PLACES]),
        )
    ]


def _scored_documents(gate: Gate, evidence: Evidence) -> list[Finding]:
    if not gate.min_scored_documents:
        return []
    found = evidence.statistics.documents()
    scored = int(evidence.statistics.scored()[0])
    status, reason = Status.PASS, ""
    if scored < gate.min_scored_documents:
        unscored, lost = found["unscored"], found["quarantined"]
        others = f"{count_text(unscored)} unscored, {count_text(lost)} in quarantine"
        status, reason = Status.FAIL, f"too few documents could be scored ({others})"
        if evidence.sample is not None:
            status = Status.UNDECIDED
            reason = f"the sample is too small: {count_text(scored)} of its documents were scored"
    return [
        Finding(
            rule="min_scored_documents", status=status, limit=gate.min_scored_documents,
            value=scored, is_share=False, is_minimum=True, documents=scored, reason=reason,
        )
    ]  # fmt: skip


def _ai_share(gate: Gate, evidence: Evidence) -> list[Finding]:
    if gate.max_ai_share is None:
        return []
    ai = evidence.statistics.documents()["ai"]
    whole = Part("", int(evidence.statistics.scored()[0]) - ai, ai)
    estimate = ShareEstimator(evidence.statistics).overall()
    return [
        _share_finding(
            gate, evidence, "max_ai_share", gate.max_ai_share, whole, estimate, _worst_of(evidence)
        )
    ]


def _ai_share_by(gate: Gate, evidence: Evidence) -> list[Finding]:
    estimator = ShareEstimator(evidence.statistics)
    findings = []
    for group, limit in gate.max_ai_share_by.items():
        parts = _parts(evidence, group)
        large = [part for part in parts if _whole_size(part, evidence) >= gate.min_group_documents]
        rule = f"max_ai_share_by.{group}"
        findings += [
            _share_finding(gate, evidence, rule, limit, part, _estimate(estimator, group, part), ())
            for part in sorted(large, key=_most_ai)
        ]
        if not large:
            largest = max((_whole_size(part, evidence) for part in parts), default=0)
            findings.append(_no_part(gate, rule, limit, group, largest))
    return findings


def _whole_size(part: Part, evidence: Evidence) -> float:
    """The part's scored documents; of a sample those that it stands for in the data set."""
    sample = evidence.sample
    return part.scored if sample is None else part.scored * sample.documents / sample.size


def _estimate(estimator: ShareEstimator, group: GateGroup, part: Part) -> Estimate | None:
    if group is GateGroup.LANGUAGE:
        return estimator.language(part.name)
    if group is GateGroup.YEAR:
        return estimator.year(part.name)
    if group is GateGroup.HOST:
        return estimator.host(part.name)
    return None


def _no_part(gate: Gate, rule: str, limit: float, group: GateGroup, largest: float) -> Finding:
    """A group without parts that are large enough to be judged."""
    return Finding(
        rule=rule, status=Status.PASS, limit=limit, value=None, is_share=True,
        statistic=gate.statistic,
        reason=f"no {group} has {count_text(gate.min_group_documents)} scored documents "
        f"(min_group_documents); the largest has {count_text(int(largest))}",
    )  # fmt: skip


def _share_finding(
    gate: Gate,
    evidence: Evidence,
    rule: str,
    limit: float,
    part: Part,
    estimate: Estimate | None,
    places: tuple[Place, ...],
) -> Finding:
    """A part's AI share against its limit, by the statistic that the gate asks for."""
    value = part.ai_share
    interval: Interval | None = wilson(part.ai, part.scored)
    statistic, lacking = GateStatistic.RAW, ""
    if gate.statistic is not GateStatistic.RAW and estimate is not None:
        if estimate.estimate is not None:
            statistic = GateStatistic.ESTIMATE
            value, interval = estimate.estimate, estimate.interval
        elif gate.statistic is GateStatistic.ESTIMATE:
            lacking = f"there is no estimate: {estimate.reason}"
    if value is None or interval is None:
        lacking = "no document was scored"
    status, reason = Status.UNDECIDED, lacking
    if not lacking:
        assert value is not None
        assert interval is not None
        by_interval = gate.statistic is GateStatistic.UPPER or evidence.sample is not None
        status = at_most(limit, value, interval if by_interval else None)
        if status is Status.UNDECIDED:
            reason = _advice(limit, part, evidence, statistic)
        elif status is Status.FAIL:
            reason = f"{_named(statistic)} is above the limit"
            if by_interval:
                reason = f"all of its 95 % interval is above the limit ({_named(statistic)})"
    return Finding(
        rule=rule, status=status, limit=limit, value=None if lacking else value, is_share=True,
        part=part.name, path=part.path, interval=None if lacking else interval,
        statistic=statistic, documents=part.scored, reason=reason,
        of=f"{count_text(part.scored)} scored" if part.name else "",
        places=places if status in (Status.FAIL, Status.UNDECIDED) else (),
    )  # fmt: skip


def _named(statistic: GateStatistic) -> str:
    return "the estimate" if statistic is GateStatistic.ESTIMATE else "the raw share"


def at_most(limit: float, value: float, interval: Interval | None) -> Status:
    """Whether a figure keeps to its limit: by its interval where there is one."""
    kept = keeps_to(limit, value, interval)
    if kept is None:
        return Status.UNDECIDED
    return Status.PASS if kept else Status.FAIL


def at_least(limit: float, value: float, interval: Interval | None) -> Status:
    """The same for a figure that must not be below its limit."""
    return at_most(-limit, -value, None if interval is None else (-interval[1], -interval[0]))


def _advice(limit: float, part: Part, evidence: Evidence, statistic: GateStatistic) -> str:
    """Why an interval doesn't decide, and what would."""
    text = "too few documents to decide: the limit lies within the 95 % interval"
    needed = None
    if statistic is GateStatistic.RAW and part.ai_share is not None:
        needed = documents_needed(limit, part.ai_share)
    sample = evidence.sample
    if needed is None:
        return f"{text}; judge without `sample`" if sample is not None else text
    if sample is None:
        return f"{text}; were the share the same, {count_text(needed)} scored ones would"
    draw = int(needed * sample.size / part.scored) + 1
    if draw >= sample.documents:
        return f"{text}; judge without `sample`"
    return f"{text}; were the share the same, `sample={draw}` would"


def documents_needed(limit: float, found: float) -> int | None:
    """How many scored documents tell a share `found` from `limit`; null where none would."""
    if found == limit:
        return None
    n = 1
    while True:
        interval = wilson(found * n, n)
        assert interval is not None
        if at_most(limit, found, interval) is not Status.UNDECIDED:
            return n
        n += max(1, n // 20)
        if n > _ENOUGH:
            return None


def _parts(evidence: Evidence, group: GateGroup) -> list[Part]:
    """The parts of a group. What is left over of hosts and sources is no part of its own."""
    if group is GateGroup.SHARD:
        return list(evidence.shards)
    if group is GateGroup.SOURCE:
        # Without counts by source nothing may pass for judged.
        if evidence.sources is None:
            raise ConfigError("gate.max_ai_share_by.source: nothing was counted by source")
        return [part for part in evidence.sources if part.name != _REST]
    statistics = evidence.statistics
    tables = {
        GateGroup.LANGUAGE: (statistics.languages, statistics.languages_without_score),
        GateGroup.YEAR: (statistics.years, statistics.years_without_score),
        GateGroup.HOST: (statistics.hosts, statistics.hosts_without_score),
    }
    return [part for part in _rows(*tables[group]) if part.name != _REST]


def _rows(table: CountTable, without_score: CountTable) -> Iterable[Part]:
    width = len(MEASURES)
    counts: NDArray[np.int64] = table.counts
    for name, row in zip(table.names, counts.tolist(), strict=True):
        yield Part(name, row[0] - int(without_score.row(name)[0]), row[width])


def _most_ai(part: Part) -> tuple[int, str]:
    return (-part.ai, part.name)


def _worst_of(evidence: Evidence) -> tuple[Place, ...]:
    """Where most AI documents lie: shards, then languages, then hosts."""
    places = []
    groups = (("", GateGroup.SHARD), ("language ", GateGroup.LANGUAGE), ("", GateGroup.HOST))
    for label, group in groups:
        # One document from a host says nothing of the host.
        least = 2 if group is GateGroup.HOST else 1
        parts = [p for p in _parts(evidence, group) if p.ai >= least and p.name != NO_HOST]
        for part in sorted(parts, key=_most_ai)[:_PLACES]:
            text = (
                f"{label}{part.name}: {count_text(part.ai)} of {count_text(part.scored)} "
                f"({share_text(part.ai_share)})"
            )
            places.append(Place(text, part.path))
    return tuple(places)


def _phrase_hits(gate: Gate, evidence: Evidence) -> list[Finding]:
    found = evidence.statistics.phrase_categories.to_dict()
    read = evidence.statistics.documents()
    judged = read["human"] + read["ai"] + read["unscored"]
    findings = []
    for category, limit in gate.max_phrase_hits.items():
        hits = sum(found.get(category, ()))
        interval, status = None, at_most(limit, hits, None)
        reason = "" if status is Status.PASS else "more documents hold such a phrase than may"
        sample = evidence.sample
        if sample is not None:
            # What the sample holds, the data set holds; what more it may hold is the interval's.
            share_of_all = wilson(hits, judged) or (0.0, 1.0)
            interval = (float(hits), max(float(hits), share_of_all[1] * sample.documents))
            status = at_most(limit, hits, interval)
            if status is Status.UNDECIDED:
                reason = (
                    f"too few documents to decide: the data set may hold up to "
                    f"{count_text(int(interval[1]))}; judge without `sample`"
                )
        findings.append(
            Finding(
                rule=f"max_phrase_hits.{category}", status=status, limit=limit, value=hits,
                is_share=False, interval=interval, documents=judged, reason=reason,
                places=_hit_places(evidence, category) if status is Status.FAIL else (),
            )
        )  # fmt: skip
    return findings


def _hit_places(evidence: Evidence, category: str) -> tuple[Place, ...]:
    examples = [example for example in evidence.examples if example.category == category]
    if examples:
        return tuple(
            Place(f"{e.shard}, record {count_text(e.record)}: {e.phrase}", e.path, e.record)
            for e in examples
        )
    phrases = evidence.statistics.phrases.to_dict()
    rows = [(sum(n), name) for name, n in phrases.items() if name.startswith(f"{category}:")]
    rows.sort(key=lambda row: (-row[0], row[1]))
    return tuple(Place(f"{name} in {count_text(n)} documents") for n, name in rows[:_PLACES])


def _quarantined_share(gate: Gate, evidence: Evidence) -> list[Finding]:
    limit = gate.max_quarantined_share
    if limit is None:
        return []
    lost = evidence.statistics.documents()["quarantined"]
    value = share(lost, evidence.records)
    if value is None:
        return [_nothing("max_quarantined_share", limit, "there are no records")]
    status = at_most(limit, value, None)
    places: tuple[Place, ...] = ()
    if status is Status.FAIL:
        reasons = evidence.statistics.rejected.to_dict().items()
        ranked = sorted(reasons, key=lambda row: (-row[1][0], row[0]))
        places = tuple(Place(f"{name}: {count_text(n)}") for name, (n, _) in ranked[:_PLACES])
    return [
        Finding(
            rule="max_quarantined_share", status=status, limit=limit, value=value, is_share=True,
            documents=evidence.records, of=counted(evidence.records, "record"), places=places,
            reason=f"{count_text(lost)} of {count_text(evidence.records)} records cannot be read"
            if status is Status.FAIL else "",
        )
    ]  # fmt: skip


def _human_token_share(gate: Gate, evidence: Evidence) -> list[Finding]:
    limit = gate.min_human_token_share
    if limit is None:
        return []
    rule = "min_human_token_share"
    words = {verdict: row["words"] for verdict, row in evidence.statistics.measured().items()}
    whole = sum(words.values())
    value = share(words["human"], whole)
    if value is None:
        return [_nothing(rule, limit, "there are no words", is_minimum=True)]
    interval = None
    if evidence.sample is not None:
        effective = whole * whole / evidence.squared_words
        interval = wilson(value * effective, effective)
        assert interval is not None
    status = at_least(limit, value, interval)
    reasons = {
        Status.PASS: "",
        Status.FAIL: f"{count_text(words['ai'])} words are in AI documents, "
        f"{count_text(words['unscored'])} in unscored ones",
        Status.UNDECIDED: "too few documents to decide: the limit lies within the 95 % interval",
    }
    documents = evidence.statistics.documents()
    return [
        Finding(
            rule=rule, status=status, limit=limit, value=value, is_share=True, is_minimum=True,
            interval=interval, of=counted(whole, "word"), reason=reasons[status],
            documents=sum(documents.values()) - documents["quarantined"],
        )
    ]  # fmt: skip


def _nothing(rule: str, limit: float, reason: str, *, is_minimum: bool = False) -> Finding:
    return Finding(
        rule=rule, status=Status.UNDECIDED, limit=limit, value=None, is_share=True,
        is_minimum=is_minimum, reason=reason,
    )  # fmt: skip


RULES: Final[tuple[Callable[[Gate, Evidence], list[Finding]], ...]] = (
    _whole_inputs,
    _left_out,
    _scored_documents,
    _ai_share,
    _ai_share_by,
    _phrase_hits,
    _quarantined_share,
    _human_token_share,
)
