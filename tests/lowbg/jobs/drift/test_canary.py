from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lowbg.errors import ConfigError, InputError
from lowbg.jobs.drift.canary import compare_scores, read_scores
from lowbg.jobs.drift.settings import Limits
from lowbg.runs.inputs import Shard, discover


def rows(perplexity: Sequence[float | None]) -> list[dict[str, object]]:
    return [
        {"shard": "held.jsonl", "record": i, "lm_perplexity": p, "words": 90}
        for i, p in enumerate(perplexity)
    ]


def write(path: Path, perplexity: Sequence[float | None]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(perplexity)))
    return path


def spread(rise: float, noise: float, n: int = 100) -> list[float | None]:
    """Perplexities of very different documents, each up by about `rise`."""
    rng = np.random.default_rng(1)
    level = np.exp(rng.normal(4.0, 1.0, n))
    return [float(v) for v in level * (1 + rise) * np.exp(rng.normal(0.0, noise, n))]


@pytest.mark.parametrize(
    ("rise", "noise", "alert"),
    [(0.2, 0.05, True), (0.05, 0.05, False), (0.2, 1.5, False), (-0.2, 0.05, False)],
)
def test_alerts_on_a_certain_rise(tmp_path: Path, rise: float, noise: float, alert: bool) -> None:
    before = read_scores(discover([str(write(tmp_path / "a.jsonl", spread(0.0, 0.0)))]))
    now = read_scores(discover([str(write(tmp_path / "b.jsonl", spread(rise, noise)))]))
    change = compare_scores(before, now, Limits())
    assert change.alert is alert
    assert change.low is not None
    assert change.high is not None
    # Paired: documents differ by a factor of e, their changes by the noise alone.
    assert np.log((1 + change.high) / (1 + change.low)) == pytest.approx(
        2 * 1.96 * noise / 10, rel=0.25
    )


def test_parquet_and_unscored_documents(tmp_path: Path) -> None:
    values = [None, *spread(0.0, 0.0, 30)]
    pq.write_table(pa.Table.from_pylist(rows(values)), tmp_path / "a.parquet")
    one = read_scores(discover([str(tmp_path / "a.parquet")]))
    two = read_scores(discover([str(write(tmp_path / "a.jsonl", values))]))
    assert len(one) == 30
    assert one.digest == two.digest
    assert compare_scores(one, two, Limits()).change == 0.0


def test_other_documents_are_refused(tmp_path: Path) -> None:
    one = read_scores(discover([str(write(tmp_path / "a.jsonl", spread(0.0, 0.0, 30)))]))
    two = read_scores(discover([str(write(tmp_path / "b.jsonl", spread(0.0, 0.0, 31)))]))
    with pytest.raises(ConfigError, match=r"1 are scored on one side only .*held\.jsonl:30"):
        compare_scores(one, two, Limits())


def test_other_texts_under_the_same_names_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", spread(0.0, 0.0, 30))
    one = read_scores(discover([str(path)]))
    scores = path.read_text()
    for text in (
        scores.replace('"record": 7, ', '"record": 7, "id": "x", '),
        scores.replace('"words": 90', '"words": 91'),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"are others than the baseline's .*held\.jsonl:"):
            compare_scores(one, read_scores(discover([str(path)])), Limits())


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 0.0, -1.0])
def test_a_checkpoint_that_diverged_is_no_pass(tmp_path: Path, value: float) -> None:
    values = [*spread(0.0, 0.0, 30), value]
    pq.write_table(pa.Table.from_pylist(rows(values)), tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match=r"row 31 has the lm_perplexity .* no finite number"):
        read_scores(discover([str(tmp_path / "a.parquet")]))


def test_few_documents_are_refused(tmp_path: Path) -> None:
    few = read_scores(discover([str(write(tmp_path / "a.jsonl", spread(0.0, 0.0, 19)))]))
    with pytest.raises(ConfigError, match="too few"):
        compare_scores(few, few, Limits())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"shard": "a", "record": 0}\n', "row 1 has no shard, record or lm_perplexity"),
        ("nonsense\n", "not rows of scores"),
        ("[]\n[]\n", "an array, not an object"),
        ("", "no row has lm_perplexity"),
        ('{"shard": "a", "record": 0, "lm_perplexity": 9.0}\n' * 2, "which another row did"),
        ('{"shard": "a", "record": 0, "lm_perplexity": "9"}\n', "row 1 has the lm_perplexity '9'"),
    ],
)
def test_what_is_no_score_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_scores(discover([str(path)]))


def test_a_file_that_cannot_be_read_is_an_input_error(tmp_path: Path) -> None:
    gone = Shard(str(tmp_path / "gone.jsonl"), "gone.jsonl", 0)
    with pytest.raises(InputError, match=r"gone\.jsonl: cannot be opened \(No such file"):
        read_scores([gone])
