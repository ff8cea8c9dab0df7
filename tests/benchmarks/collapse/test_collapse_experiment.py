"""The experiment in its smallest form, on made text: what is stored, resumed, shown, refused."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from benchmarks.collapse import plots, rendering, run
from benchmarks.collapse.human_text import MINORITY, Sizes, read_corpus, supply
from benchmarks.collapse.regimes import REGIMES
from tests.benchmarks.collapse.made_text import DOCUMENTS, SMALLEST, write_data

from lowbg.errors import ConfigError

CHOSEN = [
    each
    for each in REGIMES
    if each.name in ("human", "replace", "accumulate", "crawl60_oracle", "ample60_floor50")
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("collapse"))


def experiment(data: Path, work: Path, sizes: Sizes = SMALLEST) -> dict[str, Any]:
    return run.experiment(
        data / "labelled" / "train", work, family="ngram", sizes=sizes, top_p=0.9,
        regimes=CHOSEN, workers=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def result(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return experiment(data, tmp_path_factory.mktemp("work"))


@pytest.mark.slow
def test_human_text_is_shared_out_once_and_alike(data: Path) -> None:
    corpus = read_corpus(data / "labelled" / "train", SMALLEST.tokens)
    own = supply(corpus, SMALLEST, 1)
    parts = [own.original, *own.fresh, own.holdout, own.minority_holdout, own.calibration]
    texts = [each.text for part in parts for each in part]
    assert len(texts) == len(set(texts)) == 4 * 40 + 20 + 5
    for part in (own.original, *own.fresh):
        counts = [sum(each.dataset == name for each in part) for name in corpus.documents]
        assert (sum(counts), counts[-1]) == (40, 4)
        assert max(counts[:-1]) - min(counts[:-1]) <= 1
    assert {each.dataset for each in own.minority_holdout} == {MINORITY}
    assert [each.text for each in supply(corpus, SMALLEST, 2).original] != texts[:40]
    with pytest.raises(ConfigError, match=f"{DOCUMENTS} documents of 80 tokens are too few"):
        supply(corpus, dataclasses.replace(SMALLEST, generations=30), 1)


@pytest.mark.slow
def test_a_loop_loses_what_human_text_keeps(result: dict[str, Any]) -> None:
    regimes = result["regimes"]
    assert regimes.keys() == {each.name for each in CHOSEN}
    last = {name: {k: v[-1] for k, v in r["figures"].items()} for name, r in regimes.items()}
    # Beyond the spread of the seeds, as intervals at 95 %: of two seeds they are wide.
    assert last["replace"]["unique_tokens"][0] < 0.7 * last["human"]["unique_tokens"][0]
    assert last["replace"]["perplexity"][0] > last["accumulate"]["perplexity"][0]
    assert last["replace"]["perplexity"][0] > last["human"]["perplexity"][0]
    assert last["replace"]["entropy_unigrams"][0] < last["human"]["entropy_unigrams"][0]
    assert last["replace"]["self_similarity"][0] > last["human"]["self_similarity"][0]
    assert regimes["replace"]["seeds"] == 2
    values = regimes["replace"]["figures"]["perplexity"]
    assert len(values) == 4
    assert values[0][0] == regimes["human"]["figures"]["perplexity"][0][0]
    assert len(regimes["replace"]["histogram"]) == 4
    oracle = regimes["crawl60_oracle"]["sifted"]
    assert [(row["precision"], row["recall"], row["human_dropped"]) for row in oracle] == 3 * [
        (1.0, 1.0, 0.0)
    ]
    assert oracle[0]["documents"] == 16
    # Of 40 human documents and 60 generated ones 40 each pass, or nearly (a floor is one of
    # tokens), of which 40 are drawn.
    ample = regimes["ample60_floor50"]["sifted"]
    assert (ample[0]["human_arrived"], ample[0]["documents"]) == (80, 40)
    assert 20 < ample[0]["dropped"] <= 44
    assert ample[0]["human_dropped"] == 0
    assert regimes["replace"]["alerts"]["unique tokens < 85 %"]["fired"] == 2


@pytest.mark.slow
def test_what_is_done_stays(data: Path, result: dict[str, Any], tmp_path: Path) -> None:
    """A run that is stopped goes on where it was, and comes to the same."""
    first = experiment(data, tmp_path, dataclasses.replace(SMALLEST, seeds=1))
    stored = sorted(tmp_path.glob("seed-0/replace/*.json"))
    assert [path.stem for path in stored] == ["1", "2", "3"]
    assert not list(tmp_path.glob("seed-0/replace/*.texts.gz")), "the chain is whole"
    before = stored[0].stat().st_mtime_ns
    both = experiment(data, tmp_path)
    assert stored[0].stat().st_mtime_ns == before
    assert first["regimes"]["replace"]["seeds"] == 1
    assert _without_times(both) == _without_times(result)
    with pytest.raises(ConfigError, match="another experiment's; give another --work"):
        experiment(data, tmp_path, dataclasses.replace(SMALLEST, holdout=10))


def _without_times(result: dict[str, Any]) -> str:
    return re.sub(r'"cpu_seconds_a_generation": [\d.]+', "", json.dumps(result))


@pytest.mark.slow
def test_tables_show_every_regime(result: dict[str, Any]) -> None:
    page = rendering.page(result)
    for regime in CHOSEN:
        assert f"| {regime.title} | 2 |" in page
    assert "nan" not in page
    found = re.search(r"\| replace \| 2 \| ([\d,]+) \|", page)
    assert found is not None
    value = result["regimes"]["replace"]["figures"]["perplexity"][0][0]
    assert found[1] == f"{value:,.0f}"
    assert "| 60 % generated: oracle filter | 100 % | 100 % | 100 % | 100 % | 0 of 96 |" in page


@pytest.mark.slow
def test_plots_are_drawn(result: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pip install -r benchmarks/collapse/requirements.txt")
    assert plots.draw(tmp_path, "ngram", result, run.run_toys())
    assert {path.name for path in tmp_path.iterdir()} == {
        "ngram-perplexity.svg", "ngram-tail_coverage.svg", "ngram-unique_tokens.svg",
        "ngram-log-probabilities.svg", "toys.svg",
    }  # fmt: skip


def test_the_stored_tables_are_those_of_the_stored_results() -> None:
    docs = (run.HERE.parents[1] / "docs" / "collapse.md").read_text(encoding="utf-8")
    least = {"ngram": 5, "ngram-top-p-1": 1, "transformer": 3}
    for name, seeds in least.items():
        stored = json.loads((run.HERE / "results" / f"{name}.json").read_bytes())
        page = (run.HERE / "results" / f"{name}.md").read_text(encoding="utf-8")
        assert page == rendering.page(stored), "run benchmarks.collapse.run again"
        assert stored["settings"]["seeds"] >= seeds
        if name != "ngram-top-p-1":
            for mark, table in run.tables_of(name, stored).items():
                first, last = (each.format(mark) for each in run.MARKS)
                assert f"{first}\n{table}{last}" in docs


def test_data_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="DATA has to hold labelled/train/en2_openstax"):
        read_corpus(tmp_path, 10)
