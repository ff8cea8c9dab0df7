from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pytest

from lowbg.errors import ProblemKind
from lowbg.report import Report, collect
from lowbg.report.results import Problem, RunInfo, ShardResult
from lowbg.report.statistics import Statistics, StatisticsBatch
from lowbg.schema import Bins, Columns
from lowbg.storage.files import WrittenFile
from lowbg.text.dates import read_dates

EVIL = '<script>alert("x")</script>\x1b[31m\u202e'
"""What data may hold: markup, a terminal escape, a bidirectional override."""


COLUMNS = Columns()
"""Those that every run has."""


def make_statistics(
    human: int = 6, ai: int = 3, unscored: int = 2, trusted: int = 0, called: int = 0,
    host: str = "example.com",
) -> Statistics:  # fmt: skip
    """`trusted` documents of 2020, of which the score calls `called` AI; the others are of 2024."""
    n = human + ai + unscored + trusted
    verdicts = np.repeat(np.array([0, 1, 2, 0], np.int8), [human, ai, unscored, trusted])
    is_trusted = np.arange(n) >= n - trusted
    scores = np.where(verdicts == 1, 0.9, 0.1).astype(np.float32)
    statistics = Statistics()
    statistics.add(
        StatisticsBatch(
            verdicts=verdicts,
            words=np.full(n, 100),
            sizes=np.full(n, 1_000, np.int64),
            languages=np.zeros(n, np.int8),
            codes=("en",),
            dates=read_dates(pa.array(["2020-01-01" if t else "2024-01-01" for t in is_trusted])),
            urls=pa.array([f"https://{host}/{i}" for i in range(n)]),
            trusted=is_trusted,
            called_ai=(verdicts == 1) | (np.arange(n) >= n - called),
            columns={
                "ai_score": pa.array(scores, mask=verdicts == 2),
                "phrases": pa.array(
                    [["refusal:I cannot"] if v == 1 else [] for v in verdicts],
                    pa.list_(pa.string()),
                ),
            },
            unscored_codes=np.where(verdicts == 2, 0, -1).astype(np.int8),
            unscored_names=("too_short",),
            bins=COLUMNS.bins,
        )
    )
    return statistics


def make_shard(
    name: str = "a.jsonl.zst",
    statistics: Statistics | None = None,
    problems: tuple[Problem, ...] = (),
    seen_fields: tuple[str, ...] = (),
) -> ShardResult:
    statistics = statistics or make_statistics()
    documents = statistics.documents()
    human = documents["human"] + documents["unscored"]
    return ShardResult(
        shard=name, source=f"/in/{name}", format="jsonl", compression="zstd",
        records=sum(documents.values()), complete=True, statistics=statistics,
        outputs=(
            WrittenFile(f"human/{name}", human, 500, "aa" * 32),
            WrittenFile(f"ai/{name}", documents["ai"], 400, "bb" * 32),
        ),
        problems=problems, read_bytes=5_000, text_bytes=11_000, lenient=0, blank=0, seconds=0.5,
        cpu_seconds=0.25, seen_fields=seen_fields,
    )  # fmt: skip


def make_info(policy_sha256: str = "cc" * 32) -> RunInfo:
    return RunInfo(
        version="0.1.0", command="lowbg filter in -o out", started="2026-01-01T00:00:00+00:00",
        finished="2026-01-01T00:00:02+00:00", seconds=2.0, workers=1, executor="serial",
        configuration={"batch_bytes": 1}, policy={"target_fpr": 0.01},
        policy_sha256=policy_sha256, models={"en": "dd" * 32}, scorers={"phrases": 1},
        machine={"python": "3.11"}, skipped=("notes.txt",),
    )  # fmt: skip


@pytest.fixture
def build() -> Callable[..., Report]:
    """Makes a report of shards."""

    def make(
        *shards: ShardResult,
        policy_sha256: str = "cc" * 32,
        earlier_runs: Sequence[RunInfo] = (),
        bins: Mapping[str, Bins] = COLUMNS.bins,
    ) -> Report:
        return collect(make_info(policy_sha256), shards or [make_shard()], bins, earlier_runs)

    return make


@pytest.fixture
def shard() -> Callable[..., ShardResult]:
    return make_shard


@pytest.fixture
def statistics() -> Callable[..., Statistics]:
    return make_statistics


@pytest.fixture
def evil_report(build: Callable[..., Report]) -> Report:
    """A report whose every name from data is hostile."""
    counted = make_statistics(host=EVIL)
    counted.hosts.add([EVIL], np.array([[0, 0, 0, 4, 4, 4, 0, 0, 0]]))
    counted.phrases.add([f"refusal:{EVIL}"], np.array([[0, 9, 0]]))
    counted.artifacts.add([EVIL], np.array([[0, 9, 0]]))
    counted.add_quarantined(EVIL, 1, 10)
    problem = Problem(ProblemKind.MISSING_TEXT, f"{EVIL}: no text\nnext", 1)
    return build(make_shard(EVIL, counted, (problem,), (EVIL,)))
