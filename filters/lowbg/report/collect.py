"""From shard results to a report.

A report holds, beside its schema, one entry a section (`sections/`, whose structs say what is in
them), and `counters`, the exact sums that they are made of (hosts cut to the largest `HOSTS_KEPT`),
from which reports are merged. Within version 1, keys are added and never change meaning: what a
report has and this version doesn't know is passed over. `report.schema.json` beside this file
describes it for machines; `benchmarks/report_schema.py` makes it of the structs.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from lowbg.errors import FormatError
from lowbg.report.estimate import share, wilson
from lowbg.report.examples import Examples
from lowbg.report.results import ByVerdict, RunInfo, ShardResult, ShardRow
from lowbg.report.sections import sections
from lowbg.report.sections.base import Material, Own, Section
from lowbg.report.sections.documents import SECTION as DOCUMENTS
from lowbg.report.sections.histograms import SECTION as HISTOGRAMS
from lowbg.report.sections.hosts import largest_hosts
from lowbg.report.sections.runs import SECTION as RUNS
from lowbg.report.sections.shards import SECTION as SHARDS
from lowbg.report.statistics import Counters, Statistics, largest_host_languages, merged
from lowbg.schema import Bins
from lowbg.storage.typed import SCHEMA_KEY, FileType, Open, indented

SCHEMA: Final = "lowbg.report/1"
HOSTS_KEPT: Final = 1_000
HOST_LANGUAGES_KEPT: Final = 300
"""Hosts (by language) that a report's counters keep apart; a merge of reports knows no others."""


class Report(Open, frozen=True, kw_only=True):
    """The report of a run of lowbg, or of several as one.

    Shares are 0 to 1, null where there is nothing to share; intervals are [low, high] at 95 %. Keys
    may be added within version 1.
    """

    counters: Counters

    def __getitem__(self, section: Section[Own]) -> Own:
        """A section's data."""
        data: Own = getattr(self, section.key)
        return data


@functools.cache
def report_type(*, whole: bool) -> type[Report]:
    """The struct of a report with all sections; `whole`: none may be lacking.

    A stored report may lack those that there were none of when it was written.
    """
    needed = [section for section in sections() if whole or section in (HISTOGRAMS, RUNS, SHARDS)]
    fields: list[Any] = [
        (s.key, Annotated[s.type, msgspec.Meta(description=f"{s.title}.")])
        if s in needed
        else (s.key, s.type | UnsetType, UNSET)
        for s in sections()
    ]
    made: type[Any] = msgspec.defstruct(
        "Report", fields, bases=(Report,), namespace={"__doc__": Report.__doc__},
        module=__name__, frozen=True, kw_only=True, tag=SCHEMA, tag_field=SCHEMA_KEY,
    )  # fmt: skip
    return made


@functools.cache
def report_file() -> FileType[Report]:
    """How a report is stored: JSON, keys sorted, two spaces."""
    return FileType(
        report_type(whole=False), "a lowbg report", FormatError,
        "Give the report.json of a finished run, or run the job again", indented, _writers,
    )  # fmt: skip


def _writers(plain: Any) -> Iterable[Any]:
    return [run["version"] for run in plain["runs"]]


def collect(
    info: RunInfo,
    shards: Sequence[ShardResult],
    bins: Mapping[str, Bins],
    earlier_runs: Sequence[RunInfo] = (),
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
        raise FormatError(f"counters.{error}. Start the run over.") from error
    if not info.configuration.get("examples", True):
        statistics.examples = Examples()  # An earlier run may have kept some.
    run = msgspec.structs.replace(
        info,
        records=sum(shard.records - shard.earlier_records for shard in shards),
        text_bytes=sum(shard.text_bytes - shard.earlier_text_bytes for shard in shards),
    )
    rows = [_shard_row(shard) for shard in shards]
    return _build(Material([*earlier_runs, run], rows, statistics, bins))


def merge_reports(
    reports: Sequence[Report], results: Sequence[ShardResult] | None = None
) -> Report:
    """One report of several finished runs: counters added up, shards and runs one after another.

    Counts are exact. Hosts beyond the largest `HOSTS_KEPT` of a run stay in its "(other)", unless
    `results` has all of the runs' shards: then it is what one run over these, in their order, would
    have told. A column that only some runs have is counted of these. Raises `FormatError` where two
    runs counted one by different bins.
    """
    bins: dict[str, Bins] = {}
    for i, report in enumerate(reports):
        for name, own in _bins_of(report).items():
            if bins.setdefault(name, own).edges != own.edges:
                raise FormatError(
                    f"report {i + 1} of {len(reports)}: histograms.{name}: other bins than in "
                    "those before it, so of another version of the scorer. Merge runs of one "
                    "version, or run it again."
                )
    if results is None:
        statistics = merged(Statistics.from_plain(report.counters) for report in reports)
        shards = [shard for report in reports for shard in report[SHARDS]]
    else:
        statistics = merged(result.statistics for result in results)
        shards = [_shard_row(result) for result in results]
    # As the reports show them; without what a run was told not to show.
    statistics.examples = Examples()
    for report in reports:
        statistics.examples.merge(Examples.of(report[DOCUMENTS]))
    statistics.expect(bins)
    runs = [run for report in reports for run in report[RUNS]]
    return _build(Material(runs, shards, statistics, bins))


def decode(data: bytes, name: str) -> Report:
    """A stored report. Raises `FormatError` for anything that this version doesn't read.

    Sections that it lacks, since there were none of them when it was written, are made of its
    counters.
    """
    report = report_file().decode(data, name)
    counters = report.counters
    # Documents were trusted by their dates before rules of provenance were counted.
    if counters.rules is UNSET and any(counts[0] for counts in counters.trust.values()):
        writers = ", ".join(sorted({run.version for run in report[RUNS]}))
        raise FormatError(
            f"{name}: counters.rules: missing; lowbg {writers} wrote it. Read it with that, or run "
            "the job again."
        )
    bins = _bins_of(report)
    try:
        statistics = Statistics.from_plain(counters)
        statistics.expect(bins)
    except ValueError as error:
        raise FormatError(f"{name}: counters.{error}. Run the job again.") from error
    runs, shards = report[RUNS], report[SHARDS]
    material = Material(runs, shards, statistics, bins)
    lacking = [section for section in sections() if report[section] is UNSET]
    added = {section.key: section.collect(material) for section in lacking}
    return msgspec.structs.replace(report, **added)


def _bins_of(report: Report) -> dict[str, Bins]:
    """The bins of a report's histograms."""
    return {
        name: Bins(histogram.title, tuple(histogram.edges), histogram.scale)
        for name, histogram in report[HISTOGRAMS].items()
    }


def _build(material: Material) -> Report:
    hosts = largest_hosts(material.statistics.hosts, HOSTS_KEPT)
    scored = largest_host_languages(material.statistics.host_languages, HOST_LANGUAGES_KEPT)
    return report_type(whole=False)(
        **{section.key: section.collect(material) for section in sections()},
        counters=msgspec.structs.replace(
            material.statistics.to_plain(),
            hosts=hosts.to_dict(),
            examples=UNSET,  # They are in the section of theirs.
            hosts_without_score=material.statistics.hosts_without_score.only(hosts).to_dict(),
            host_languages=scored.to_dict(),
        ),
    )


def _shard_row(shard: ShardResult) -> ShardRow:
    """A row of the section "shards": all that is known of a shard but what was found in it."""
    documents, sizes, words = (ByVerdict(*row) for row in shard.statistics.totals.T.tolist())
    scored = int(shard.statistics.scored()[0])
    return ShardRow(
        shard=shard.shard,
        source=shard.source,
        format=shard.format,
        compression=shard.compression,
        complete=shard.complete,
        records=shard.records,
        documents=documents,
        bytes=sizes,
        words=words,
        scored=scored,
        ai_share_of_scored=share(documents.ai, scored),
        ai_share_of_scored_interval=wilson(documents.ai, scored),
        balanced=shard.records == sum(msgspec.structs.astuple(documents)),
        read_bytes=shard.read_bytes,
        text_bytes=shard.text_bytes,
        lenient=shard.lenient,
        blank=shard.blank,
        seconds=shard.seconds,
        cpu_seconds=shard.cpu_seconds,
        lm_seconds=shard.lm_seconds,
        input_sha256=shard.input_sha256,
        seen_fields=list(shard.seen_fields),
        outputs=list(shard.outputs),
        problems=list(shard.problems),
    )
