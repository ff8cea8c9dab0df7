"""How findings are spelled, the same in every rendering."""

from __future__ import annotations

from typing import Final

from lowbg.amounts import count_text, counted, share_text
from lowbg.config import GateStatistic
from lowbg.jobs.gate.findings import Finding, GateResult, Status
from lowbg.report.sections.unscored import named

VERDICTS: Final = {
    Status.PASS: "passed",
    Status.UNDECIDED: "undecided",
    Status.FAIL: "failed",
    Status.ERROR: "could not be judged",
}
_NAMED: Final = 3


def found_text(finding: Finding) -> str:
    """What was found, of what, and its interval; a dash for nothing.

    Such as "6.1 % of 900 scored (5.7 % – 6.5 %)", "estimate 7.4 % of 900 scored (…)", "3".
    """
    if finding.value is None:
        return "–"
    if finding.is_share:
        value = share_text(finding.value)
        if finding.statistic is GateStatistic.ESTIMATE:
            value = f"estimate {value}"
        if finding.of:
            value = f"{value} of {finding.of}"
        if finding.interval is None:
            return value
        low, high = finding.interval
        return f"{value} ({share_text(low)} – {share_text(high)})"
    value = count_text(int(finding.value))
    if finding.interval is None:
        return value
    return f"{value} (up to {count_text(int(finding.interval[1]))})"


def limit_text(finding: Finding) -> str:
    """The limit: "at most 5.0 %", "at least 500"."""
    limit = share_text(finding.limit) if finding.is_share else count_text(int(finding.limit))
    return f"at {'least' if finding.is_minimum else 'most'} {limit}"


def sentence(finding: Finding) -> str:
    """A finding in one line, with its reason, without its places."""
    reason = f": {finding.reason}" if finding.reason else ""
    return f"{finding.name} is {found_text(finding)}, {limit_text(finding)}{reason}"


def subject_text(result: GateResult) -> str:
    """What was judged: its name, records, and how many documents were scored."""
    text = f"{result.subject}: {counted(result.records, 'record')}"
    sample = result.sample
    if sample is not None:
        text += (
            f", sample of {count_text(sample.size)} out of {count_text(sample.documents)} documents"
            f" (seed {sample.seed})"
        )
    text += f", {count_text(result.scored)} scored"
    if result.untabled:
        text += f", no tables for {', '.join(named(result.untabled))}"
    left_out = sum(each.kind.may_be_data for each in result.left_out)
    if left_out:
        text += f", {counted(left_out, 'file')} left out"
    return text


def summary(result: GateResult) -> str:
    """The whole result in one line."""
    if result.status is Status.PASS:
        return f"gate passed: {subject_text(result)}; {counted(len(result.findings), 'check')}"
    worst = result.of(result.status)
    named = "; ".join(f"{f.name} {found_text(f)}, {limit_text(f)}" for f in worst[:_NAMED])
    more = f"; and {len(worst) - _NAMED:,} more" if len(worst) > _NAMED else ""
    return (
        f"gate {VERDICTS[result.status]}: {subject_text(result)}; {len(worst):,} of "
        f"{counted(len(result.findings), 'check')}: {named}{more}"
    )
