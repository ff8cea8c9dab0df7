"""From shard results to a report: a plain-JSON structure, versioned as `lowbg.report/1`.

A report holds, beside `schema`, one entry a section (`sections/`, whose `collect` functions say
what is in them): `totals`, `problems`, `estimate`, `years`, `languages`, `hosts`, `phrases`,
`histograms`, `unscored`, `rejected`, `conservation`, `throughput`, `shards`, `inputs`, `outputs`
and `runs`; and `counters`, the exact sums that they are made of (`Statistics.to_dict`, hosts cut
to the largest `HOSTS_KEPT`), from which reports are merged. Shares are numbers from 0 to 1, null
where there is nothing to share; intervals are [low, high] at 95 %. `report.schema.json` beside
this file describes it for machines. Within version 1, keys are added and never change meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from lowbg import __version__
from lowbg.config import OUTCOMES, as_dict
from lowbg.errors import FormatError
from lowbg.report.estimate import share, wilson
from lowbg.report.results import RunInfo, ShardResult
from lowbg.report.sections import sections
from lowbg.report.sections.base import Material
from lowbg.report.sections.hosts import largest_hosts
from lowbg.report.statistics import MEASURES, Statistics, largest_host_languages
from lowbg.schema import Bins

Report = dict[str, Any]
"""Plain JSON values, as the docstring of `lowbg.report.collect` says."""

SCHEMA: Final = "lowbg.report/1"
HOSTS_KEPT: Final = 1_000
HOST_LANGUAGES_KEPT: Final = 300
"""Hosts (by language) that a report's counters keep apart; a merge of reports knows no others."""


def collect(
    info: RunInfo,
    shards: Sequence[ShardResult],
    bins: Mapping[str, Bins],
    earlier_runs: Sequence[Mapping[str, Any]] = (),
) -> Report:
    """The report of a run; its shards stay in their order. `bins` are those of its columns.

    The run's entry says how many records and text bytes it dealt with itself.
    `earlier_runs` are the entries "runs" of a report that this one goes on from.
    """
    statistics = Statistics()
    try:
        for shard in shards:
            statistics.merge(shard.statistics)
        statistics.expect(bins)
    except ValueError as error:
        raise FormatError(f"{error}. Start the run over.") from error
    rows = [_shard_row(shard) for shard in shards]
    run = {
        **as_dict(info),
        "records": sum(shard.records - shard.earlier_records for shard in shards),
        "text_bytes": sum(shard.text_bytes - shard.earlier_text_bytes for shard in shards),
    }
    return _build(Material([*earlier_runs, run], rows, statistics, bins))


def merge_reports(reports: Sequence[Mapping[str, Any]]) -> Report:
    """One report of several finished runs: counters added up, shards and runs one after another.

    Counts are exact. Hosts beyond the largest `HOSTS_KEPT` of a run stay in its "(other)". A column
    that only some runs have is counted of these. Raises `FormatError` where something isn't a
    report of this version, and where two counted a column by different bins.
    """
    statistics = Statistics()
    runs: list[Mapping[str, Any]] = []
    shards: list[Mapping[str, Any]] = []
    bins: dict[str, Bins] = {}
    for i, given in enumerate(reports):
        name = f"report {i + 1} of {len(reports)}"
        report = check(given, name)
        for column, own in _bins_of(report).items():
            if bins.setdefault(column, own).edges != own.edges:
                raise FormatError(
                    f"{name}: it counts {column!r} by other bins than those before it: another "
                    "version of the scorer. Merge runs of one version, or run it again."
                )
        statistics.merge(Statistics.from_dict(report["counters"]))
        runs += report["runs"]
        shards += report["shards"]
    statistics.expect(bins)
    return _build(Material(runs, shards, statistics, bins))


def check(report: object, name: str) -> Report:
    """The report, if it is one that this version reads; raises `FormatError` if not.

    Sections that it lacks, since there were none of them when it was written, are made of its
    counters; where these lack something, too, the version that wrote it is named.
    """
    if not isinstance(report, dict) or not isinstance(report.get("schema"), str):
        raise FormatError(f"{name}: not a lowbg report. Give the report.json of a finished run.")
    if report["schema"] != SCHEMA:
        raise FormatError(
            f"{name}: a report of the form {report['schema']!r}; this version reads {SCHEMA}. "
            "Use the version of lowbg that wrote it, or run the job again."
        )
    missing = [key for key in ("counters", "histograms", "runs", "shards") if key not in report]
    if missing:
        raise FormatError(f"{name}: {', '.join(missing)} missing; the report is damaged.")
    try:
        uncounted = Statistics.uncounted(report["counters"])
        if uncounted:
            writers = sorted({str(run["version"]) for run in report["runs"]})
            raise FormatError(
                f"{name}: it lacks counts that lowbg {__version__} needs ({', '.join(uncounted)}); "
                f"lowbg {', '.join(writers)} wrote it. Read it with that, or run the job again."
            )
        statistics = Statistics.from_dict(report["counters"])
        bins = _bins_of(report)
        statistics.expect(bins)
        material = Material(report["runs"], report["shards"], statistics, bins)
        later = [section for section in sections() if section.key not in report]
        return {**report, **{section.key: section.collect(material) for section in later}}
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"{name}: its counters are damaged ({error!r}).") from error


def _bins_of(report: Mapping[str, Any]) -> dict[str, Bins]:
    """The bins of a report's histograms."""
    return {
        name: Bins(histogram["title"], tuple(histogram["edges"]), histogram["scale"])
        for name, histogram in report["histograms"].items()
    }


def _build(material: Material) -> Report:
    report: Report = {"schema": SCHEMA}
    for section in sections():
        report[section.key] = section.collect(material)
    hosts = largest_hosts(material.statistics.hosts, HOSTS_KEPT)
    scored = largest_host_languages(material.statistics.host_languages, HOST_LANGUAGES_KEPT)
    report["counters"] = {
        **material.statistics.to_dict(),
        "hosts": hosts.to_dict(),
        "host_languages": scored.to_dict(),
    }
    return report


def _shard_row(shard: ShardResult) -> dict[str, Any]:
    """A row of the section "shards": all that is known of a shard but what was found in it."""
    measured = shard.statistics.measured()
    documents = shard.statistics.documents()
    scored = documents["human"] + documents["ai"]
    return {
        "shard": shard.shard,
        "source": shard.source,
        "format": shard.format,
        "compression": shard.compression,
        "complete": shard.complete,
        "records": shard.records,
        **{name: {v: measured[v][name] for v in OUTCOMES} for name in MEASURES},
        "ai_share_of_scored": share(documents["ai"], scored),
        "ai_share_of_scored_interval": wilson(documents["ai"], scored),
        "balanced": shard.records == sum(documents.values()),
        "read_bytes": shard.read_bytes,
        "text_bytes": shard.text_bytes,
        "lenient": shard.lenient,
        "blank": shard.blank,
        "seconds": shard.seconds,
        "cpu_seconds": shard.cpu_seconds,
        "lm_seconds": shard.lm_seconds,
        "input_sha256": shard.input_sha256,
        "seen_fields": list(shard.seen_fields),
        "outputs": [as_dict(output) for output in shard.outputs],
        "problems": [as_dict(problem) for problem in shard.problems],
    }
