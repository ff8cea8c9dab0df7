"""A teacher that knows most of the truth stands in for a causal LM: what it makes of the dumps."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from examples.make_language import make_texts
from numpy.typing import NDArray
from tests.lowbg.jobs.learn.test_learning import SITES, config_of, dumps, is_ai

from lowbg.config import LmSettings
from lowbg.errors import ConfigError
from lowbg.jobs.learn.config import LearnConfig
from lowbg.jobs.learn.gather import NEW, Dumps, gather
from lowbg.jobs.learn.grown import Base
from lowbg.jobs.learn.learn import Learned, learn
from lowbg.jobs.learn.teacher import TwoWays, ask, sample
from lowbg.jobs.train.log_odds import Weights
from lowbg.models import open_folder

__all__ = ("dumps",)

BUDGET = 400


class StandIn:
    """Log-odds about `level` of an assistant's texts, and about −`level` of others."""

    def __init__(self, level: float = 2.0) -> None:
        self.ai = {*make_texts("assistant", 10 * SITES)}
        self._level = level
        self.tokens = 0

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        self.tokens += sum(len(text.split()) for text in texts)
        return np.array(
            [
                random.Random(text).gauss(self._level if text in self.ai else -self._level, 1.0)
                for text in texts
            ]
        )


def taught_config(folder: Path, output: Path, new: str = "new") -> LearnConfig:
    config = config_of(folder, output, new)
    return dataclasses.replace(config, teacher=LmSettings("x"), teacher_documents=BUDGET)


@pytest.fixture(scope="module")
def taught(dumps: Path, tmp_path_factory: pytest.TempPathFactory) -> Learned:
    config = taught_config(dumps, tmp_path_factory.mktemp("tables"))
    return learn(config, teacher=StandIn())


@pytest.fixture(scope="module")
def elsewhere(dumps: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same dumps, the human text of before from other sites than the new."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in ("old", "between", "new", "human"):
        text = (dumps / f"{name}.jsonl").read_text()
        moved = text if name in ("new", "human") else text.replace("https://", "https://other-")
        (folder / f"{name}.jsonl").write_text(moved)
    return folder


@pytest.mark.slow
def test_a_sample_teaches_tables_of_everything(taught: Learned) -> None:
    assert taught.refused == []
    assert taught.taught is not None
    ai, new = is_ai(taught), taught.dumps.part == NEW
    read = taught.taught.read
    assert read.sum() == BUDGET
    unread = ai & ~read
    assert unread.sum() > 10
    assert taught.called_ai[unread].mean() > 0.9
    assert taught.called_ai[new & ~ai].mean() < 0.02
    assert taught.taught.share.low < ai[new & read].mean() < taught.taught.share.high
    assert taught.taught.human_called.estimate < 0.03


@pytest.mark.slow
def test_both_ways_check_one_another(taught: Learned) -> None:
    ways = taught.ways
    assert ways is not None
    assert ways.agree > 0.95
    assert ways.kappa > 0.9
    told = open_folder(taught.path.parent)["eo"].metadata["learned"]["teacher"]
    assert told["read"] == {"new": 300, "human": 100}
    assert told["dumps_alone"]["documents"] == ways.documents
    assert told["confident"]["ai"] == ways.teacher


@pytest.mark.slow
def test_tables_are_taught_where_the_dumps_alone_say_nothing(
    elsewhere: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"only 0 old documents are of a source that both"):
        learn(config_of(elsewhere, tmp_path))
    found = learn(taught_config(elsewhere, tmp_path), teacher=StandIn())
    again = learn(taught_config(elsewhere, tmp_path / "again"), teacher=StandIn())
    assert found.refused == []
    assert found.ways is None
    ai, new = is_ai(found), found.dumps.part == NEW
    assert found.called_ai[ai].mean() > 0.9
    assert found.called_ai[new & ~ai].mean() < 0.03
    assert again.path.read_bytes() == found.path.read_bytes()


@pytest.mark.slow
def test_nothing_is_taught_where_there_is_no_ai_text(dumps: Path, tmp_path: Path) -> None:
    found = learn(taught_config(dumps, tmp_path / "out", "human"), teacher=StandIn())
    assert any(reason.startswith("no AI text shows") for reason in found.refused)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sites", "why"),
    [(("1",), "the rate doesn't hold"), (("1", "5", "9", "13", "17", "21"), "no AI text shows")],
)
def test_a_rate_that_does_not_hold_is_refused(
    dumps: Path, tmp_path: Path, sites: tuple[str, ...], why: str
) -> None:
    """People on some sites write as what is taken for AI text: one by surprise, or many, so that
    no threshold that spares them finds anything."""
    texts = iter(make_texts("assistant", 26 * SITES)[10 * SITES :])
    lines = (dumps / "between.jsonl").read_text().splitlines()
    for i, line in enumerate(lines):
        if line.split("https://site-")[1].partition(".")[0] in sites:
            own = line.split('"text": "')[1].split('"')[0]
            lines[i] = line.replace(own, next(texts))
    path = tmp_path / "between.jsonl"
    path.write_text("\n".join(lines) + "\n")
    config = dataclasses.replace(taught_config(dumps, tmp_path / "out"), holdout=(path,))
    found = learn(config, teacher=StandIn())
    assert any(reason.startswith(why) for reason in found.refused)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def gathered(dumps: Path, tmp_path_factory: pytest.TempPathFactory) -> Dumps:
    return gather(taught_config(dumps, tmp_path_factory.mktemp("unused")))


def test_sources_take_turns_in_a_sample(gathered: Dumps) -> None:
    chosen = sample(gathered, 240)
    assert chosen.tolist() == sample(gathered, 240).tolist()
    new = gathered.part[chosen] == NEW
    assert new.sum() == 140
    for side in (new, ~new):
        counts = np.unique(gathered.source[chosen[side]], return_counts=True)[1]
        assert len(counts) == SITES
        assert counts.max() - counts.min() <= 1
    assert {*sample(gathered, 160).tolist()} <= {*chosen.tolist()}
    assert len(sample(gathered, 10_000)) == len(gathered.rows)


def test_a_sample_needs_human_text(gathered: Dumps) -> None:
    """Not all of a hundred human documents get a verdict."""

    class Silent(StandIn):
        def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
            found = super().__call__(texts)
            found[0] = np.nan
            return found

    with pytest.raises(ConfigError, match=r"read 9[0-9] documents that are known to be human"):
        ask(gathered, Silent(), 300, 1)


def test_confidence_is_told_from_the_dumps(gathered: Dumps) -> None:
    """What adds to all log-odds changes no verdict: they mean what they do in these dumps."""
    truth = StandIn()

    class Shifted(StandIn):
        def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
            return super().__call__(texts) + 7.0

    found, moved = (ask(gathered, judge, BUDGET, 1) for judge in (truth, Shifted()))
    assert found.is_ai.sum() > 10
    assert found.is_ai.tolist() == moved.is_ai.tolist()
    assert found.tokens == truth.tokens > 0
    sure = found.confident(gathered)
    assert not sure[gathered.known].any()
    assert sure.sum() < found.read.sum()


def test_other_tables_have_an_equal_say(gathered: Dumps) -> None:
    """In what the teacher says, and in tables that grow on them."""
    random = np.random.default_rng(3)
    n = len(gathered.rows)
    truth = np.array([row.text in StandIn().ai for row in gathered.rows])
    noise, signal = random.normal(0, 50, n), np.where(truth, 200.0, 0.0) + random.normal(0, 50, n)
    weak = StandIn(level=0.6)
    alone, helped = (ask(gathered, weak, BUDGET, 1, other) for other in (None, signal))
    new = alone.read & ~gathered.known
    right = [((each.probability >= 0.5) == truth)[new].mean() for each in (alone, helped)]
    assert right[1] > right[0] + 0.05
    own = Weights(random.normal(0, 0.01, n), random.normal(0, 0.02, n))
    base = Base("", np.zeros(4, np.uint32), Weights(np.ones(4), np.ones(4)), Weights(noise, signal))
    scaled = base.scaled(own, gathered)
    known = gathered.known
    assert scaled.documents.naive_bayes[known].std() == pytest.approx(0.01, rel=0.1)
    assert scaled.documents.logistic[known].std() == pytest.approx(0.02, rel=0.1)
    assert scaled.weights.naive_bayes[0] == pytest.approx(
        scaled.documents.naive_bayes[0] / noise[0]
    )


def test_agreement_is_beyond_chance() -> None:
    assert TwoWays(100, 30, 30, 30).kappa == 1.0
    assert TwoWays(100, 50, 50, 25).kappa == 0.0
    assert TwoWays(100, 50, 50, 25).agree == 0.5
    assert TwoWays(100, 0, 0, 0).as_json["kappa"] is None
