from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from lowbg.jobs.gate.evidence import Evidence, Part, Sample
from lowbg.report.statistics import Statistics, StatisticsBatch
from lowbg.text.dates import read_dates

MakeEvidence = Callable[..., Evidence]


def counted(
    human: int, ai: int, unscored: int, language: str, host: str, phrases: list[str], words: int
) -> Statistics:
    """Documents of one language and host, `words` words each; AI ones hold `phrases`."""
    n = human + ai + unscored
    verdicts = np.repeat(np.array([0, 1, 2], np.int8), [human, ai, unscored])
    statistics = Statistics()
    statistics.add(
        StatisticsBatch(
            verdicts=verdicts,
            words=np.full(n, words),
            sizes=np.full(n, 1_000, np.int64),
            languages=np.zeros(n, np.int8),
            codes=(language,),
            dates=read_dates(pa.array(["2024-01-01"] * n)),
            urls=pa.array([f"https://{host}/{i}" for i in range(n)]),
            trusted=np.zeros(n, np.bool_),
            called_ai=verdicts == 1,
            columns={
                "ai_score": pa.array(np.where(verdicts == 1, 0.9, 0.1), mask=verdicts == 2),
                "phrases": pa.array(
                    [phrases if v == 1 else [] for v in verdicts], pa.list_(pa.string())
                ),
            },
        )
    )
    return statistics


@pytest.fixture
def evidence() -> MakeEvidence:
    """Makes evidence of one shard."""

    def make(
        human: int = 900,
        ai: int = 100,
        unscored: int = 0,
        quarantined: int = 0,
        language: str = "en",
        host: str = "example.com",
        phrases: tuple[str, ...] = ("refusal:I cannot",),
        words: int = 100,
        sample_of: int | None = None,
        broken: tuple[str, ...] = (),
        sources: tuple[Part, ...] | None = None,
    ) -> Evidence:
        statistics = counted(human, ai, unscored, language, host, list(phrases), words)
        if quarantined:
            statistics.add_quarantined("invalid_json", quarantined, 10 * quarantined)
        n = human + ai + unscored
        return Evidence(
            subject="corpus",
            statistics=statistics,
            records=(sample_of or n) + quarantined,
            shards=(Part("a.jsonl", human, ai, "in/a.jsonl"),),
            sources=sources,
            sample=None if sample_of is None else Sample(n, sample_of, 7),
            squared_words=n * words * words,
            broken=broken,
        )

    return make
